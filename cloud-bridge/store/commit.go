package store

import (
	"context"
	"fmt"
	"time"

	"github.com/fengsui/fengsui/firmware/wire"
)

// Commit stores a batch, or as much of it as [Batch] says, in one transaction,
// durably, or returns an error and nothing of it may be acknowledged.
// Committing the same again is harmless. The devices must be registered; the
// error wraps [ErrNotFound] for one that is not.
func (s *Store) Commit(ctx context.Context, b Batch) (Committed, error) {
	var done Committed
	var worked time.Time
	err := s.update(ctx, func(t *tx) error {
		begun := time.Now()
		arrive := func(as []Arrival) error {
			for i := range as {
				stored, err := t.arrive(&as[i])
				if err != nil {
					return err
				}
				if stored {
					done.Stored++
				} else {
					done.Duplicates++
				}
			}
			return nil
		}
		for i := 0; ; i++ {
			if b.Urgent != nil {
				if urgent := b.Urgent(); len(urgent) > 0 {
					done.Rest = len(b.Arrivals) - i
					if err := arrive(urgent); err != nil {
						return err
					}
					break
				}
			}
			if i == len(b.Arrivals) || i > 0 && b.Work > 0 && time.Since(begun) > b.Work {
				done.Rest = len(b.Arrivals) - i
				break
			}
			if err := arrive(b.Arrivals[i : i+1]); err != nil {
				return err
			}
		}
		for i := range b.Greetings {
			if err := t.greet(&b.Greetings[i]); err != nil {
				return err
			}
		}
		if err := t.refuse(b.Refusals); err != nil {
			return err
		}
		if err := t.redate(); err != nil {
			return err
		}
		acks, err := t.acks()
		done.Acks, worked = acks, time.Now()
		return err
	})
	done.Synced = time.Since(worked)
	if err != nil {
		return Committed{}, fmt.Errorf("commit of %d events: %w", len(b.Arrivals), err)
	}
	return done, nil
}

// arrive stores an event and all that follows from it, unless it is stored
// already.
func (t *tx) arrive(a *Arrival) (stored bool, err error) {
	e := a.Event
	d, err := t.device(e.Device)
	if err != nil {
		return false, err
	}
	st, err := t.stream(d, e.Stream, a.Received)
	if err != nil {
		return false, err
	}
	hash := wire.HashOf(a.Message)
	r, err := t.run(`INSERT INTO events
		(device, stream, lane, seq, boot, mono, wall, wall_source, type, alarm, received_at, prev, hash, message)
		VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT (device, stream, lane, seq) DO NOTHING`,
		d.num, st.num, e.Lane, int64(e.Seq), int64(e.Boot), e.Mono.Milliseconds(), e.Wall.UnixMilli, e.Wall.Source,
		int64(e.Body.Type()), alarmOf(e.Body), a.Received.UnixMilli(), e.Prev[:], hash[:], a.Message)
	if err != nil {
		return false, err
	}
	n, err := r.RowsAffected()
	if err != nil {
		return false, fmt.Errorf("store: %w", err)
	}
	if n == 0 {
		st.kept = append(st.kept, hash)
		fresh, err := t.duplicate(a, d, st, hash)
		if err != nil {
			return false, err
		}
		if !fresh {
			l := st.lane(e.Lane)
			l.duplicates++
			l.changed = true
			return false, nil
		}
		// Another event under a number that is taken: a spool that went back in
		// time, or two devices with one key. What it says may be an alarm, and what
		// comes after it may have waited for it.
		l := st.lane(e.Lane)
		l.fresh, l.changed = true, true
		return true, t.apply(a, d, st, 0)
	}
	row, err := r.LastInsertId()
	if err != nil {
		return false, fmt.Errorf("store: %w", err)
	}
	if err := t.arrived(st, e, hash, a.Received); err != nil {
		return false, err
	}
	if err := t.clue(st, e, a.Received); err != nil {
		return false, err
	}
	if m := st.said; m == nil || e.Boot > m.boot || e.Boot == m.boot && uint64(e.Mono.Milliseconds()) > m.mono {
		d.alive(a.Received)
	}
	return true, t.apply(a, d, st, row)
}

// duplicate tells an event that came again from another one under its number,
// which it keeps aside: fresh is true when that was not known.
func (t *tx) duplicate(a *Arrival, d *device, st *stream, hash wire.Hash) (fresh bool, err error) {
	e := a.Event
	var have []byte
	if _, err := t.row(`SELECT hash FROM events WHERE device = ? AND stream = ? AND lane = ? AND seq = ?`,
		[]any{d.num, st.num, e.Lane, int64(e.Seq)}, []any{&have}); err != nil {
		return false, err
	}
	if wire.Hash(have) == hash {
		return false, nil
	}
	r, err := t.run(`INSERT INTO twice (device, stream, lane, seq, hash, received_at, message)
		VALUES (?,?,?,?,?,?,?) ON CONFLICT DO NOTHING`,
		d.num, st.num, e.Lane, int64(e.Seq), hash[:], a.Received.UnixMilli(), a.Message)
	if err != nil {
		return false, err
	}
	n, err := r.RowsAffected()
	return n > 0, err
}

// apply draws the consequences of a newly stored event. row is its number in
// the events table, or 0 when it was kept aside.
func (t *tx) apply(a *Arrival, d *device, st *stream, row int64) error {
	d.heard(a.Received)
	t.change(Change{Kind: DeviceChanged, Device: d.id})
	at := order{st.num, int64(a.Event.Seq)}
	switch b := a.Event.Body.(type) {
	case *wire.AlarmRaised:
		return t.raised(a, d, st, b)
	case *wire.AlarmCleared:
		return t.noted(d, b.Alarm, a)
	case *wire.NoticeShown:
		return t.noted(d, b.Alarm, a)
	case *wire.SignOn:
		d.signed(at, b.Officer)
		if d.kind == AlarmBox && row != 0 { // who lays a finger there has been there
			t.checkIn(a, d, st, &wire.CheckIn{By: wire.CheckInFinger, Officer: b.Officer}, row)
		}
	case *wire.SignOff:
		d.signed(at, "")
	case *wire.Health:
		return t.health(d, at, b, a.Received)
	case *wire.Commissioned:
		return t.commissioned(d, at, b, a.Received)
	case *wire.Dropped:
		return t.dropped(d, b, a.Received)
	case *wire.StreamStarted:
		if err := t.superseded(d, b.Previous); err != nil {
			return err
		}
		return t.started(a, st, b)
	case *wire.Fault:
		if b.Code == faultTamper {
			if err := t.tampered(a, d, st, b); err != nil {
				return err
			}
		}
		return t.fault(d, at, b, a.Received)
	case *wire.TrackBatch:
		if row != 0 {
			return t.track(d, st, a, b, row)
		}
	case *wire.UnitAnswer:
		t.answered(a, d, st, b, row)
	case *wire.Note:
		t.noteOf(a, d, st, b, row)
	case *wire.UnitState:
		t.unitSays(a, d, st, b)
	case *wire.AttachmentPart:
		if row != 0 {
			return t.part(a, d, b, row)
		}
	case *wire.Sounded:
		return t.sounded(a, d, st, b, row)
	case *wire.ModeSet:
		return t.modeSet(d, b)
	case *wire.CheckIn:
		if row != 0 {
			t.checkIn(a, d, st, b, row)
		}
	}
	return nil
}

// greet notes what a device will never send and, from a hello that is no old
// one, that it is alive.
func (t *tx) greet(g *Greeting) error {
	h := g.Hello
	d, err := t.device(h.Device)
	if err != nil {
		return err
	}
	st, err := t.stream(d, h.Stream, g.Received)
	if err != nil {
		return err
	}
	if err := t.helloClue(st, h, g.Received); err != nil {
		return err
	}
	news, err := t.news(st, h)
	if err != nil {
		return err
	}
	if !news {
		if err := t.behind(d, st, moment{h.Boot, h.MonoMs}, g.Received); err != nil {
			return err
		}
	} else {
		t.trailOf(st).ahead(*st.said)
		d.heard(g.Received)
		d.alive(g.Received)
		if err := t.runs(d, run{h.Stream, h.Boot}, g.Received); err != nil {
			return err
		}
		d.firmware = h.Firmware
		t.change(Change{Kind: DeviceChanged, Device: d.id})
	}
	for _, lane := range wire.Lanes() {
		if w, ok := h.Window[lane]; ok {
			if err := t.window(st, lane, w, g.Received); err != nil {
				return err
			}
			if st.lane(lane).changed {
				t.change(Change{Kind: DeviceChanged, Device: d.id})
			}
		}
	}
	return nil
}

// acks brings every touched lane up to date and returns what is now true.
func (t *tx) acks() ([]DeviceAck, error) {
	var out []DeviceAck
	for _, d := range t.devices {
		for _, st := range d.streams {
			ack := newAck(st.id)
			ack.Kept = st.kept
			for _, lane := range wire.Lanes() {
				l := st.lane(lane)
				if l.fresh {
					if err := t.advance(st, lane, l); err != nil {
						return nil, err
					}
				}
				if l.changed {
					if err := t.saveLane(st, lane, l); err != nil {
						return nil, err
					}
				}
				addLane(&ack, lane, l.upTo, l.hash)
			}
			out = append(out, DeviceAck{d.id, ack})
		}
	}
	return out, nil
}

func newAck(stream wire.StreamID) wire.Ack {
	return wire.Ack{Stream: stream, UpTo: make(map[wire.Lane]uint64)}
}

func addLane(a *wire.Ack, l wire.Lane, upTo uint64, hash []byte) {
	a.UpTo[l] = upTo
	if len(hash) == len(wire.Hash{}) {
		if a.Hash == nil {
			a.Hash = make(map[wire.Lane]wire.Hash)
		}
		a.Hash[l] = wire.Hash(hash)
	}
}

func (t *tx) refuse(rs []Refusal) error {
	if len(rs) == 0 {
		return nil
	}
	for _, r := range rs {
		if err := t.exec(`INSERT INTO refused (at, topic, reason, detail, size) VALUES (?,?,?,?,?)`,
			r.At.UnixMilli(), r.Topic, r.Reason, r.Detail, r.Size); err != nil {
			return err
		}
		if err := t.exec(`INSERT INTO refused_counts (reason, n) VALUES (?, 1)
			ON CONFLICT (reason) DO UPDATE SET n = n + 1`, r.Reason); err != nil {
			return err
		}
	}
	t.change(Change{Kind: RefusedChanged})
	return t.exec(`DELETE FROM refused WHERE refused <= (SELECT max(refused) FROM refused) - ?`, KeptRefusals)
}

// save writes back what the transaction has changed in memory.
func (t *tx) save() error {
	for _, d := range t.devices {
		if err := t.saveDevice(d); err != nil {
			return err
		}
	}
	for _, r := range t.incidents {
		if err := t.saveIncident(r); err != nil {
			return err
		}
	}
	return nil
}

// order is where an event stands among those of its device and lane: streams
// by when the centre first heard of them, then by number.
type order struct{ stream, seq int64 }

func (o order) after(p order) bool {
	return o.stream > p.stream || o.stream == p.stream && o.seq > p.seq
}

// alarmOf returns the alarm that an event is about, or nil.
func alarmOf(b wire.Body) any {
	switch b := b.(type) {
	case *wire.AlarmRaised:
		return b.Alarm[:]
	case *wire.AlarmCleared:
		return b.Alarm[:]
	case *wire.NoticeShown:
		return b.Alarm[:]
	case *wire.Sounded:
		return b.Alarm[:]
	}
	return nil
}
