package store

import (
	"database/sql"
	"fmt"
	"slices"
	"time"

	"github.com/fengsui/fengsui/cloud-bridge/incident"
	"github.com/fengsui/fengsui/firmware/wire"
)

// alive notes a sign of life. A later one counts, even if the centre's clock
// was set back in between.
func (d *device) alive(at time.Time) {
	d.aliveAt = sql.NullInt64{Int64: at.UnixMilli(), Valid: true}
}

// A run is one start of a device with one stream.
type run struct {
	stream wire.StreamID
	boot   uint64
}

// twinReturns is how often a run must come back after another one of the same
// device was heard before that means two devices: a run that was replaced never
// comes back, but one hello may be late.
const (
	twinReturns = 3
	twinWithin  = 10 * time.Minute
)

// runs follows which run of a device is live, and raises an incident when two
// are.
func (t *tx) runs(d *device, now run, at time.Time) error {
	switch {
	case now == d.run:
		return nil
	case now != d.runBefore:
		d.run, d.runBefore, d.returns = now, d.run, 0
		return nil
	}
	d.run, d.runBefore = now, d.run
	if at.Sub(time.UnixMilli(d.returnedAt)) > twinWithin {
		d.returns = 0
	}
	d.returns++
	d.returnedAt = at.UnixMilli()
	if d.returns < twinReturns {
		return nil
	}
	d.returns = 0
	return t.twin(d, d.runBefore, d.run, at)
}

func (t *tx) twin(d *device, a, b run, at time.Time) error {
	r, err := t.standing(d.num, incident.Twin)
	if err != nil || r != nil {
		return err
	}
	return t.raise(d, incident.Twin, incident.Twin.Priority(), at,
		fmt.Sprintf("streams %v (boot %d) and %v (boot %d) are both live", a.stream, a.boot, b.stream, b.boot))
}

// A trail is what lately came of one stream. It is kept in memory only: what
// was replayed leaves nothing in the database, and twins go on.
type trail struct {
	recent [32]moment // which hellos named; what names one of them again was sent again
	next   int
	shadow *shadow
}

// A shadow is a run behind the one that is live, of the same stream: a copy of a
// device goes on from the copied moment, beside the original.
type shadow struct {
	first, last moment
	at          time.Time // when the first came
	hellos      int
	front       moment // of the live run at that time
}

// A run behind another is live as well when it said so many hellos over such a
// time, each as much later than the first by its own clock as by the centre's,
// while the other one went on too. Messages that are played back follow no
// clock; a device that was set back in time has no other beside it.
const (
	shadowHellos = 3
	shadowFor    = 45 * time.Second
	shadowPace   = 5 * time.Second
)

// trailOf returns the trail of a stream.
func (t *tx) trailOf(st *stream) *trail {
	if t.trails[st.num] == nil {
		t.trails[st.num] = new(trail)
	}
	return t.trails[st.num]
}

// ahead notes a hello that is later than all before it.
func (tr *trail) ahead(m moment) {
	tr.recent[tr.next%len(tr.recent)] = m
	tr.next++
}

// behind takes a hello that is not later than those before it of its stream,
// and raises an incident when it is of a second device.
func (t *tx) behind(d *device, st *stream, m moment, at time.Time) error {
	tr := t.trailOf(st)
	if m.mono == 0 || slices.Contains(tr.recent[:], m) {
		return nil
	}
	sh := tr.shadow
	switch {
	case sh != nil && m == sh.last:
		return nil
	case sh == nil || m.boot != sh.first.boot || m.mono < sh.last.mono || (at.Sub(sh.at)-m.after(sh.first)).Abs() > shadowPace:
		tr.shadow = &shadow{first: m, last: m, at: at, hellos: 1, front: *st.said}
		return nil
	}
	sh.last = m
	sh.hellos++
	if sh.hellos < shadowHellos || m.after(sh.first) < shadowFor || *st.said == sh.front {
		return nil
	}
	tr.shadow = nil
	return t.twin(d, run{st.id, m.boot}, run{st.id, st.said.boot}, at)
}

// after is the time from a moment to a later one of the same boot.
func (m moment) after(earlier moment) time.Duration {
	return time.Duration(m.mono-earlier.mono) * time.Millisecond
}
