package store

import (
	"math"
	"slices"
	"time"

	"github.com/fengsui/fengsui/cloud-bridge/incident"
	"github.com/fengsui/fengsui/firmware/wire"
)

// A clue says what the time of day was at a moment of a boot. All its members
// are milliseconds.
type clue struct {
	mono   int64
	offset int64 // the time of day minus the monotonic time
	within int64 // ±, at mono
}

// A clue's source is one of the wire's that can be trusted, or one of these.
const (
	helloClue = -1 // the earliest arrival of a hello, measured by its own time
	boundClue = -2 // offset: the boot did not begin later, by any clock's drift; mono: it lasted at least so long
)

const (
	// driftPPM bounds the drift of a device's clock: see package clock of the
	// firmware.
	driftPPM = 100
	// helloLate is how late a hello may be that came over a live link: a device
	// gives a connection up after 15 s without an answer, and a write after 5 s.
	helloLate = 20_000
	// leapMs is by how much clocks differ around a leap second, or were written
	// down in whole milliseconds.
	leapMs = 1000
	// vague is from which uncertainty on a time that is twice as certain is
	// preferred to a device's own.
	vague = 5000
	// restartMs is how close to the start of a later stream a boot of an earlier
	// one is taken for one that only says hello for it.
	restartMs = 30_000
)

func drift(ms int64) int64 {
	if ms < 0 {
		ms = -ms
	}
	return ms * driftPPM / 1_000_000
}

// trusted reports whether a source of wall time ties a boot to the time of day.
func trusted(s wire.WallSource) bool {
	return s == wire.WallGNSS || s == wire.WallNTP || s == wire.WallCentre
}

// better reports whether a clue tells more of what came before it than another
// does. It is a total order, so that what is kept does not depend on the order
// of arrival.
func (c clue) better(d clue) bool {
	// The drift back to the start of the boot is part of it.
	if x, y := c.within*1_000_000+c.mono*driftPPM, d.within*1_000_000+d.mono*driftPPM; x != y {
		return x < y
	}
	if c.mono != d.mono {
		return c.mono < d.mono
	}
	return c.offset < d.offset
}

// earlier is better's counterpart for hellos, which are never early.
func (c clue) earlier(d clue) bool {
	if x, y := c.offset*1_000_000+c.mono*driftPPM, d.offset*1_000_000+d.mono*driftPPM; x != y {
		return x < y
	}
	return c.mono < d.mono
}

// clues are those of one boot, by source.
type clues map[int]clue

// A timing is a moment with its uncertainty, in milliseconds.
type timing struct {
	at, within int64
	source     wire.WallSource
}

func (c clue) timing(mono int64, source int) timing {
	t := timing{c.offset + mono, c.within + drift(mono-c.mono), wire.WallCentre}
	if source > 0 {
		t.source = wire.WallSource(source)
	}
	return t
}

func (t timing) agrees(at, within int64) bool {
	d := t.at - at
	return max(d, -d) <= t.within+within+leapMs
}

// reference is the clue of the centre's own clock.
func (cs clues) reference() (c clue, source int, ok bool) {
	for _, source := range []int{int(wire.WallCentre), helloClue} {
		if c, ok := cs[source]; ok {
			return c, source, true
		}
	}
	return clue{}, 0, false
}

// best returns when a moment of the boot was, from the most certain clue that
// the centre's own clock does not contradict.
func (cs clues) best(mono int64) (best timing, ok bool) {
	ref, from, has := cs.reference()
	bound, bounded := cs[boundClue]
	for _, source := range []int{int(wire.WallCentre), int(wire.WallNTP), int(wire.WallGNSS), helloClue} {
		c, given := cs[source]
		if !given || bounded && c.offset-c.within-leapMs > bound.offset {
			continue // that boot would have begun after it was heard of
		}
		if has && !ref.timing(c.mono, from).agrees(c.offset+c.mono, c.within) {
			continue
		}
		if t := c.timing(mono, source); !ok || t.within < best.within {
			best, ok = t, true
		}
	}
	return best, ok
}

// denies reports whether the centre's own clock contradicts what a device said
// of a moment of the boot.
func (cs clues) denies(mono, at, within int64) bool {
	ref, source, has := cs.reference()
	return has && !ref.timing(mono, source).agrees(at, within)
}

// liar reports whether it contradicts one of the boot's sources.
func (cs clues) liar() bool {
	for source, c := range cs {
		if source > 0 && cs.denies(c.mono, c.offset+c.mono, c.within) {
			return true
		}
	}
	return false
}

// boots are the clues of all boots of a stream.
type boots struct {
	by    map[uint64]clues
	order []uint64
	until int64 // the device began another stream in this one's place then; or MaxInt64
}

func newBoots() *boots { return &boots{by: make(map[uint64]clues), until: math.MaxInt64} }

func (b *boots) add(boot uint64, source int, c clue) {
	if b.by[boot] == nil {
		b.by[boot] = make(clues)
		b.order = append(b.order, boot)
	}
	b.by[boot][source] = c
}

// end sorts the boots and takes out what belongs to a later stream's: a device
// that saved events of this one says hello for it with its own new times.
func (b *boots) end() {
	slices.Sort(b.order)
	if b.until == math.MaxInt64 {
		return
	}
	for _, cs := range b.by {
		if h, ok := cs[helloClue]; ok && h.offset >= b.until-restartMs {
			delete(cs, helloClue)
		}
	}
}

// between returns when a moment of a boot must have been that has no clue of
// its own: after the boots before it and before those after it.
func (b *boots) between(boot uint64, mono int64) (timing, bool) {
	i, found := slices.BinarySearch(b.order, boot)
	if !found {
		return timing{}, false
	}
	own := b.by[boot][boundClue]
	lo, lasted := int64(math.MinInt64), int64(0)
	for _, n := range slices.Backward(b.order[:i]) {
		highest := b.by[n][boundClue].mono
		if t, ok := b.by[n].best(highest); ok {
			lo = t.at - t.within + lasted + mono - drift(lasted+mono)
			break
		}
		lasted += highest
	}
	rest := own.mono - mono // of this boot
	hi := own.offset + mono
	if b.until != math.MaxInt64 { // it may have gone on in the same run
		hi = min(hi, b.until+mono+drift(mono))
	}
	for _, n := range b.order[i+1:] {
		cs := b.by[n]
		if c, ok := cs[boundClue]; ok {
			hi = min(hi, c.offset-rest+drift(rest))
			rest += c.mono
		}
	}
	if lo == math.MinInt64 || lo > hi {
		return timing{}, false
	}
	return timing{lo + (hi-lo)/2, (hi - lo + 1) / 2, wire.WallCentre}, true
}

// moment returns when something happened as well as is known now: the device's
// own word, or something better with that word beside it. It is never later
// than its arrival.
func (b *boots) moment(boot uint64, mono time.Duration, told wire.Wall, received time.Time) incident.Moment {
	m := incident.Moment{Source: told.Source, Uncertainty: told.Uncertainty}
	if told.Source != wire.WallNone {
		m.Time = told.Time()
	}
	var cs clues
	if b != nil {
		cs = b.by[boot]
	}
	ms, within := mono.Milliseconds(), told.Uncertainty.Milliseconds()
	best, ok := cs.best(ms)
	future := fromFuture(told, received)
	denied := cs.denies(ms, told.UnixMilli, within)
	if told.Source != wire.WallNone && told.Source != wire.WallRTC && !future && !denied &&
		!(ok && within >= vague && best.within < within/2) {
		return m
	}
	if !ok && b != nil {
		best, ok = b.between(boot, ms)
	}
	switch {
	case ok:
		m.Time = time.UnixMilli(min(best.at, received.UnixMilli())).UTC()
		m.Source, m.Uncertainty = best.source, time.Duration(best.within)*time.Millisecond
		m.Original = &told
	case future:
		m = incident.Moment{Original: &told} // it cannot have been then
	}
	return m
}

// fromFuture reports whether a device's word is of after its arrival, and so
// cannot be.
func fromFuture(w wire.Wall, received time.Time) bool {
	return w.Source != wire.WallNone && w.UnixMilli-w.Uncertainty.Milliseconds() > received.UnixMilli()+leapMs
}

// doubted reports whether a later clue may make a moment better.
func doubted(m incident.Moment) bool { return m.Original != nil || !trusted(m.Source) }
