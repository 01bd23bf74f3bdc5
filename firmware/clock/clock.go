// Package clock keeps a device's two times apart: the monotonic time since
// the agent's start, by which events are ordered, and the time of day, which
// carries its source and its uncertainty because a board without a battery may
// boot in 1970 or in 2080.
//
// The time of day comes from three sources. A satellite receiver counts once
// three of its times in a row agree and are plausible: not before the
// firmware's build or the last stored time, and not years after it; a date
// that is 1,024 or 2,048 weeks old (IS-GPS-200, section 20.3.3.3.1.1) is
// corrected if that brings it there. The system's clock counts while the kernel
// says that it is disciplined. The centre's clock counts when it answers a
// hello of ours, to within half the round trip. Each is held on the monotonic
// clock, with an uncertainty that grows by the crystal's drift, so that a
// source that goes away, or a system clock that is stepped, moves nothing.
//
// The most certain of the sources that agree is told. The centre's word is
// signed, so that the others are measured by it. A source that contradicts
// what it said before is not followed for a quarter of an hour, and then only
// if no other source vouches for what it said before.
//
// The package sets no clock, reads no receiver, and corrects no past event: the
// centre does that from the (boot, monotonic) order.
package clock

import (
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fengsui/fengsui/firmware/wire"
)

const (
	// driftPPM bounds the drift of a board's clock that nothing corrects. An
	// AT-cut crystal of the consumer class is sold as ±30 ppm at 25 °C, ±50 ppm
	// over -40 to 85 °C, and some ppm a year of aging.
	driftPPM = 100
	// leap is by how much two clocks differ that treat a leap second differently:
	// by stepping, by smearing it over a day, or by not yet knowing of it.
	leap = time.Second
	// settle is for how long a source must repeat what contradicts its earlier
	// word. A receiver has the leap seconds of a cold start right after at most
	// 12.5 minutes, the length of the message (IS-GPS-200, section 20.3.2).
	settle = 15 * time.Minute
	// maxRoundTrip is how long an answer may take of which the time is used.
	maxRoundTrip = 10 * time.Second
	// horizon is how long after the last time that is known to have passed a
	// time is plausible. It is shorter than the 1,024 weeks of a receiver's
	// calendar, so that only one reading of a date can be right.
	horizon = 10 * 365 * 24 * time.Hour
)

// Options adjust a Clock; the zero value is right for a device.
type Options struct {
	// Earliest is the earliest plausible time of day: the build time.
	Earliest time.Time
	// Now reads the system's clock; nil means time.Now. The monotonic time does
	// not come from it.
	Now func() time.Time
	// Disciplined reports whether something keeps the system's clock right, and
	// within what; nil asks the kernel (adjtimex(2)).
	Disciplined func() (bool, time.Duration)
}

// A Clock tells both times. It is safe for concurrent use.
type Clock struct {
	opt   Options
	start time.Time // with Go's monotonic reading

	mu       sync.Mutex
	stored   time.Time // known to have passed, from an earlier start
	receiver receiver
	sources  map[wire.WallSource]*source
}

// New starts a clock whose monotonic time is zero now.
func New(opt Options) *Clock {
	if opt.Now == nil {
		opt.Now = time.Now
	}
	if opt.Disciplined == nil {
		opt.Disciplined = disciplined
	}
	return &Clock{opt: opt, start: time.Now(), sources: map[wire.WallSource]*source{
		wire.WallCentre: {}, wire.WallNTP: {}, wire.WallGNSS: {},
	}}
}

// trust orders the sources where they are equally certain, and where two
// contradict each other: the centre signs its word, a time server is one of
// several that the system compares, and a receiver is alone under an open sky.
var trust = [...]wire.WallSource{wire.WallCentre, wire.WallNTP, wire.WallGNSS}

// Mono returns the time since New; it never goes back.
func (c *Clock) Mono() time.Duration { return time.Since(c.start) }

// RaiseEarliest takes a time that an earlier start was certain had passed:
// what a receiver says is not plausible before it. The centre may overrule it.
func (c *Clock) RaiseEarliest(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t.After(c.stored) {
		c.stored = t
	}
}

// earliest is the latest time that is known to have passed.
func (c *Clock) earliest() time.Time {
	if c.stored.After(c.opt.Earliest) {
		return c.stored
	}
	return c.opt.Earliest
}

// OfferGNSS takes the time of a valid receiver fix (RMC status A) that has
// just arrived.
func (c *Clock) OfferGNSS(utc time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	utc, ok := rollover(utc, c.earliest())
	if !ok {
		c.receiver.run = 0
		return
	}
	now := c.Mono()
	if e, ok := c.receiver.take(utc, now); ok {
		c.offer(wire.WallGNSS, e, now)
	}
}

// Date tells the time of day of a moment of this start for which a receiver
// said utc: that time with its weeks put right, if the clock believes it now.
// For the zero time, when the receiver said nothing, it is the clock's own. ok
// is false when there is none to believe, and t is utc.
func (c *Clock) Date(mono time.Duration, utc time.Time) (t time.Time, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.Mono()
	c.system(now)
	from, best := c.best(now)
	switch {
	case best == nil:
		return utc, false
	case utc.IsZero():
		return best.time(mono), true
	}
	t, ok = rollover(utc, c.earliest())
	said := estimate{time.Duration(t.UnixNano()) - mono, gnssUncertainty, mono}
	if !ok || !c.sources[from].held.agrees(&said, mono) {
		return utc, false
	}
	return t, true
}

// FromCentre takes the centre's clock from the answer to a hello: the answer
// was made between sent and received, both times of this clock's Mono. It
// reports whether the answer is used; one that took too long, or cannot be, is
// not. What the centre sends unasked has no place here: nothing says how long
// it was on its way.
func (c *Clock) FromCentre(centre time.Time, sent, received time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.Mono()
	if sent < 0 || sent > received || received > now || received-sent > maxRoundTrip ||
		centre.Before(c.opt.Earliest) || centre.Sub(c.earliest()) > horizon {
		return false
	}
	e := estimate{
		offset: time.Duration(centre.UnixNano()) - (sent+received)/2,
		within: (received-sent)/2 + time.Millisecond, // the wire's resolution
		at:     received,
	}
	s := c.sources[wire.WallCentre]
	if s.known && s.held.agrees(&e, now) && s.held.by(now) < e.by(now) {
		return true
	}
	s.held, s.known = e, true // its newest word, also where it has changed its mind
	if e.time(now).Add(e.by(now)).Before(c.stored) {
		c.stored = time.Time{} // an earlier start was deceived
	}
	return true
}

// Wall returns the time of day now, its source and its uncertainty.
func (c *Clock) Wall() wire.Wall {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.Mono()
	c.system(now)
	from, best := c.best(now)
	if best == nil {
		return wire.Wall{UnixMilli: min(max(c.opt.Now().UnixMilli(), 0), maxWall)}
	}
	return wire.Wall{
		UnixMilli: max(best.time(now).UnixMilli(), 0), Source: from,
		Uncertainty: best.by(now).Round(time.Millisecond),
	}
}

// maxWall is the end of the year 9999 in Unix milliseconds, the wire's bound.
const maxWall = 253402300799999

// Passed returns a time that has certainly passed, to be stored for
// RaiseEarliest; ok is false while nothing is certain.
func (c *Clock) Passed() (t time.Time, ok bool) {
	w := c.Wall()
	return w.Time().Add(-w.Uncertainty), w.Source != wire.WallNone
}

// System returns by how much the system's clock differs from the time of day
// that Wall tells, while something claims to keep it right. A difference beyond
// the uncertainty of both says that its time server is wrong.
func (c *Clock) System() (ahead, within time.Duration, ok bool) {
	ok, within = c.opt.Disciplined()
	w := c.Wall()
	if !ok || w.Source == wire.WallNone {
		return 0, 0, false
	}
	return c.opt.Now().Sub(w.Time()), within + w.Uncertainty, true
}

// system takes a reading of the system's clock while it is disciplined.
func (c *Clock) system(now time.Duration) {
	ok, within := c.opt.Disciplined()
	if !ok {
		return
	}
	t := c.opt.Now()
	if t.Before(time.Unix(0, 0)) || t.After(time.UnixMilli(maxWall/40)) {
		return
	}
	if nearLeap(t) {
		within += leap // whether it steps or smears is not known
	}
	c.offer(wire.WallNTP, estimate{offset: time.Duration(t.UnixNano()) - now, within: within, at: now}, now)
}

// nearLeap reports whether a leap second may be less than a day away: they are
// at the end of June or December, UTC (ITU-R TF.460-6, section 2.1 prefers
// these).
func nearLeap(t time.Time) bool {
	before, after := t.UTC().Add(-24*time.Hour).Month(), t.UTC().Add(24*time.Hour).Month()
	return before != after && (after == time.July || after == time.January)
}

// disciplined asks the kernel whether its clock is synchronised, and for the
// maximum error that it knows (adjtimex(2): STA_UNSYNC, maxerror).
func disciplined() (bool, time.Duration) {
	var tx unix.Timex
	state, err := unix.Adjtimex(&tx)
	if err != nil || state == unix.TIME_ERROR || tx.Status&unix.STA_UNSYNC != 0 {
		return false, 0
	}
	return true, time.Duration(tx.Maxerror) * time.Microsecond
}
