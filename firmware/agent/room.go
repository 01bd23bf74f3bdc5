package agent

import (
	"errors"
	"slices"
	"time"

	"github.com/fengsui/fengsui/firmware/spool"
	"github.com/fengsui/fengsui/firmware/wire"
)

const (
	// thinMost is the most fixes of which one is kept before track is dropped.
	thinMost = 16
	// dropEvents is how many duty events, or track events that are thin enough
	// already, are dropped in one step.
	dropEvents = 64
	// roomSteps bounds how long one event may make room for itself.
	roomSteps = 64
)

// withRoom stores something, and makes room for it when the spool is full.
func (a *Agent) withRoom(store func() error) error {
	err := store()
	for range roomSteps {
		if !errors.Is(err, spool.ErrFull) {
			return err
		}
		made, giveErr := a.makeRoom()
		if giveErr != nil {
			return errors.Join(err, giveErr)
		}
		if !made {
			return err
		}
		err = store()
	}
	return err
}

// makeRoom gives up what matters least: of the oldest track every second fix,
// then every second of those that were left, and so on; then the oldest track;
// then the oldest duty. Alarms are never given up. It reports whether there was
// anything.
func (a *Agent) makeRoom() (bool, error) {
	for _, l := range []wire.Lane{wire.Track, wire.Duty} {
		for _, p := range a.spool.Parts() {
			w := p.Window()[l]
			recs, err := p.Read(l, w.Oldest, dropEvents, 1<<20)
			if err != nil {
				return false, err
			}
			if len(recs) > 0 {
				return true, a.giveUp(p, l, w.Oldest, recs)
			}
		}
	}
	return false, nil
}

// giveUp gives up events from the oldest on.
func (a *Agent) giveUp(p spool.Part, l wire.Lane, oldest uint64, recs []spool.Record) error {
	give := wire.DroppedRange{Stream: p.Stream(), Lane: l, From: oldest, Why: wire.DropFull}
	var again []wire.DroppedRange
	var entries []spool.Entry
	var thin thinner
	for _, r := range recs {
		e, err := wire.Peek(r.Data)
		if err != nil {
			a.log.Error("event of the spool is none", "lane", l, "seq", r.Seq, "err", err)
		} else {
			if b, ok := e.Body.(*wire.TrackBatch); ok && !thin.take(e, b) {
				break
			}
			switch b := e.Body.(type) {
			case *wire.Dropped:
				again = append(again, b.Ranges...)
			case *wire.StreamStarted:
				entries = append(entries, spool.Entry{Lane: l, Build: a.seal(a.stampOf(e), l, b)})
			case *wire.AttachmentPart:
				a.partDropped(b)
			}
			seen(&give, e)
		}
		give.To = r.Seq
		give.Events++
	}
	give.Fixes = uint64(len(thin.fixes))
	if b := thin.batch(p.Stream() == a.spool.Stream()); b != nil {
		give.Why = wire.DropThinned
		give.Fixes -= uint64(len(b.Fixes))
		entries = append(entries, spool.Entry{Lane: l, Build: a.seal(a.stampOf(thin.last), l, b)})
	}
	a.log.Warn("spool is full: giving up", "lane", l, "from", give.From, "to", give.To, "why", give.Why, "fixes", give.Fixes)
	return a.spool.Swap(give, again, entries...)
}

// stampOf returns the moment of a stored event, for another one that stands in
// its place. Boots are counted within a stream: of another one the moment is
// that of now, wall time and all, since the two date each other.
func (a *Agent) stampOf(e *wire.Event) stamp {
	if e.Stream == a.spool.Stream() {
		return stamp{e.Boot, e.Mono, e.Wall, e.Officer, e.Drill}
	}
	at := a.stamp()
	at.officer = e.Officer
	return at
}

// seen widens the times of a range by those of an event.
func seen(r *wire.DroppedRange, e *wire.Event) {
	first, last := e.Wall.UnixMilli, e.Wall.UnixMilli
	if b, ok := e.Body.(*wire.TrackBatch); ok {
		if f := b.Fixes[0]; f.Flags&wire.DoubtTime == 0 {
			first = f.Time
		}
		if f := b.Fixes[len(b.Fixes)-1]; f.Flags&wire.DoubtTime == 0 {
			last = f.Time
		}
	}
	if r.First == 0 || first < r.First {
		r.First = first
	}
	r.Last = max(r.Last, last)
}

// A thinner makes one batch of several.
type thinner struct {
	boot  uint64
	level uint64 // of one in how many the fixes are
	fixes []wire.TrackFix
	last  *wire.Event
}

// take takes a batch in, unless it does not go with the others.
func (t *thinner) take(e *wire.Event, b *wire.TrackBatch) bool {
	level := max(b.Thinned, 1)
	if len(t.fixes) > 0 && (level != t.level || e.Boot != t.boot || len(t.fixes)+len(b.Fixes) > 2*wire.MaxTrackFixes) {
		return false
	}
	t.level, t.boot, t.last = level, e.Boot, e
	t.fixes = append(t.fixes, b.Fixes...)
	return true
}

// batch returns every second fix, or nil when there are too few of them or they
// were thinned enough. A fix of another stream whose only time is that of its
// boot is not one of them.
func (t *thinner) batch(ours bool) *wire.TrackBatch {
	if len(t.fixes) < 2 || 2*t.level > thinMost {
		return nil
	}
	b := &wire.TrackBatch{Thinned: 2 * t.level}
	for i := 0; i < len(t.fixes); i += 2 {
		if f := t.fixes[i]; ours || f.Flags&wire.DoubtTime == 0 {
			b.Fixes = append(b.Fixes, f)
		}
	}
	if len(b.Fixes) == 0 {
		return nil
	}
	return b
}

// tellGiven tells the centre, once it hears us, what was given up.
func (a *Agent) tellGiven() {
	if !a.uplink.Status().Heard || len(a.spool.Given()) == 0 {
		return
	}
	at := a.stamp()
	err := a.withRoom(func() error {
		return a.spool.Tell(func(s spool.Slot, given []wire.DroppedRange) ([]byte, error) {
			return a.seal(at, wire.Duty, &wire.Dropped{Ranges: slices.Clone(given)})(s)
		})
	})
	if err != nil {
		a.log.Error("what was given up is not told yet", "err", err)
	}
}

// tellStarted tells why the stream began in another one's place.
func (a *Agent) tellStarted() {
	started, err := a.spool.Started()
	if err != nil || started == nil {
		if err != nil {
			a.log.Error("why the stream began cannot be told", "err", err)
		}
		return
	}
	at := a.stamp()
	err = a.withRoom(func() error { return a.spool.TellStarted(a.seal(at, wire.Duty, started)) })
	if err != nil {
		a.log.Error("why the stream began is not told yet", "err", err)
	}
	a.faultBegan(faultDamage, started.Detail)
}

// rolledBack begins another stream: the centre has other events than the spool
// under the numbers of this one.
func (a *Agent) rolledBack(stream wire.StreamID, detail string) {
	if a.spool.Stream() != stream {
		return // done already
	}
	const pause = time.Hour // another stream does not help with a centre that is confused
	if now := a.clock.Mono(); a.restarted != 0 && now-a.restarted < pause {
		return
	} else {
		a.restarted = now
	}
	a.log.Error("the spool went back in time, or this device has a twin: beginning another stream", "detail", detail)
	if err := a.spool.Restart(wire.StartRolledBack, detail); err != nil {
		a.log.Error("no other stream begun", "err", err)
		return
	}
	a.tellStarted()
}

// checkSpool makes a fault of what is wrong with the spool's files.
func (a *Agent) checkSpool() {
	if st := a.spool.Status(); st.Alone {
		a.faultBegan(faultSecond, "the second home of alarms cannot be written")
	} else {
		a.faultEnded(faultSecond)
	}
}
