// Package clock keeps a device's two times apart: the monotonic time since
// the agent's start, by which events are ordered, and the time of day, which
// carries its source and its uncertainty because a board without a battery may
// boot in 1970 or in 2080.
//
// The time of day comes from a satellite receiver once three of its times in a
// row agree and are plausible, else from the system's clock when the kernel
// says that it is disciplined, else it is the system's clock marked as
// unsourced. This package sets no clock and corrects no past event: the centre
// does that from the (boot, monotonic) order.
package clock

import (
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fengsui/fengsui/firmware/wire"
)

const (
	// agreeing is how many receiver times in a row must agree.
	agreeing = 3
	// tolerance is how far two agreeing receiver times may be apart, after the
	// monotonic time between them is taken off. Serial delivery wanders by up
	// to a second on slow receivers.
	tolerance = 1200 * time.Millisecond
	// gnssUncertainty is that of a receiver's time when its sentence has
	// arrived: sentences come up to a second after their epoch.
	gnssUncertainty = time.Second
	// driftPPM bounds the drift of a board's crystal over temperature.
	driftPPM = 100
	// lifetime is how long after Earliest a receiver's time is plausible: within
	// one 1,024-week cycle of the GPS week number (IS-GPS-200, section 20.3.3.3.1.1).
	lifetime = 1024 * 7 * 24 * time.Hour
)

// Options adjust a Clock; the zero value is right for a device.
type Options struct {
	// Earliest is the earliest plausible time of day, such as the build time or
	// the last time that was stored.
	Earliest time.Time
	// Now reads the system's clock; nil means time.Now.
	Now func() time.Time
	// Disciplined reports whether something keeps the system's clock right, and
	// within what; nil asks the kernel (adjtimex(2)).
	Disciplined func() (bool, time.Duration)
}

// A Clock tells both times. It is safe for concurrent use.
type Clock struct {
	opt   Options
	start time.Time // with Go's monotonic reading

	mu     sync.Mutex
	run    int           // receiver times in a row that agreed
	offset time.Duration // Unix time minus Mono, by the newest of them
	setAt  time.Duration // Mono at which offset was last confirmed by a full run
	set    bool          // a full run has been seen
	agreed time.Duration // offset that was confirmed
}

// New starts a clock whose monotonic time is zero now.
func New(opt Options) *Clock {
	if opt.Now == nil {
		opt.Now = time.Now
	}
	if opt.Disciplined == nil {
		opt.Disciplined = disciplined
	}
	return &Clock{opt: opt, start: opt.Now()}
}

// Mono returns the time since New; it never goes back.
func (c *Clock) Mono() time.Duration { return c.opt.Now().Sub(c.start) }

// RaiseEarliest makes nothing before t plausible any more.
func (c *Clock) RaiseEarliest(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t.After(c.opt.Earliest) {
		c.opt.Earliest = t
	}
}

// OfferGNSS takes the time of a valid receiver fix (RMC status A) that has
// just arrived. It reports whether the receiver's time is believed now.
func (c *Clock) OfferGNSS(utc time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if utc.Before(c.opt.Earliest) || utc.Sub(c.opt.Earliest) > lifetime {
		c.run = 0
		return false
	}
	now := c.Mono()
	offset := time.Duration(utc.UnixNano()) - now
	if c.run > 0 && (offset-c.offset).Abs() <= tolerance {
		c.run = min(c.run+1, agreeing)
	} else {
		c.run = 1
	}
	c.offset = offset
	if c.run == agreeing {
		// Sentences only ever arrive late, so the largest offset is the nearest
		// to the truth; it may shrink again with the crystal's drift.
		if !c.set || offset > c.agreed || c.agreed-offset > tolerance+c.drift(now) {
			c.agreed, c.setAt = offset, now
		}
		c.set = true
	}
	return c.run == agreeing
}

// Wall returns the time of day now, its source and its uncertainty.
func (c *Clock) Wall() wire.Wall {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.Mono()
	if c.set {
		return wire.Wall{
			UnixMilli:   (c.agreed + now).Milliseconds(),
			Source:      wire.WallGNSS,
			Uncertainty: gnssUncertainty + c.drift(now),
		}
	}
	w := wire.Wall{UnixMilli: max(c.opt.Now().UnixMilli(), 0)}
	if ok, within := c.opt.Disciplined(); ok {
		w.Source, w.Uncertainty = wire.WallNTP, within
	}
	return w
}

// drift is how far the board's crystal may have gone since the offset was set.
func (c *Clock) drift(now time.Duration) time.Duration { return (now - c.setAt) * driftPPM / 1_000_000 }

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
