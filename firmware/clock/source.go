package clock

import (
	"time"

	"github.com/fengsui/fengsui/firmware/wire"
)

// An estimate is the time of day tied to the monotonic time.
type estimate struct {
	offset time.Duration // Unix time minus Mono
	within time.Duration // ±, when it was made
	at     time.Duration // Mono when it was made
}

// time returns the time of day at a Mono.
func (e *estimate) time(mono time.Duration) time.Time {
	return time.Unix(0, int64(e.offset+mono)).UTC()
}

// by returns the uncertainty at a Mono.
func (e *estimate) by(mono time.Duration) time.Duration {
	return e.within + (mono-e.at).Abs()*driftPPM/1_000_000
}

// agrees reports whether two estimates can both be right.
func (e *estimate) agrees(f *estimate, now time.Duration) bool {
	return (e.offset - f.offset).Abs() <= e.by(now)+f.by(now)+leap
}

// A source is what one source says, and what it says otherwise since.
type source struct {
	held  estimate
	known bool

	rival    estimate // contradicts held
	rivalled bool
	since    time.Duration // Mono since which it says that
}

// offer takes a new reading of a source.
func (c *Clock) offer(from wire.WallSource, e estimate, now time.Duration) {
	s := c.sources[from]
	if !s.known || s.held.agrees(&e, now) {
		if !s.known || e.by(now) <= s.held.by(now) {
			s.held, s.known = e, true
		}
		s.rivalled = false
		return
	}
	if !s.rivalled || !s.rival.agrees(&e, now) {
		s.rivalled, s.since = true, now
	}
	s.rival = e
	vouched, denied := false, false // what it said before, by other sources
	for _, other := range trust {
		if o := c.sources[other]; other != from && o.known {
			before, after := o.held.agrees(&s.held, now), o.held.agrees(&e, now)
			vouched, denied = vouched || before && !after, denied || after && !before
		}
	}
	if denied && !vouched || !vouched && now-s.since >= settle {
		s.held, s.rivalled = e, false
	}
}

// best returns the most certain of the estimates that agree with the centre's,
// or nil when there is none. Where a receiver and the system's clock contradict
// each other and the centre has not spoken, neither is certain of more than
// their difference.
func (c *Clock) best(now time.Duration) (from wire.WallSource, best *estimate) {
	var rest []*estimate
	for _, src := range trust {
		s := c.sources[src]
		centre := c.sources[wire.WallCentre]
		if !s.known || centre.known && !centre.held.agrees(&s.held, now) {
			continue
		}
		e := s.held
		rest = append(rest, &e)
		if best == nil || best.agrees(&e, now) && e.by(now) < best.by(now) {
			from, best = src, &e
		}
	}
	for _, e := range rest {
		if !best.agrees(e, now) {
			best.within += (best.offset - e.offset).Abs()
		}
	}
	return from, best
}

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
	// window is for how long the least late sentence stands for the rest.
	window = time.Minute
)

// A receiver is the run of times that a satellite receiver gives.
type receiver struct {
	run    int           // in a row that agreed
	offset time.Duration // Unix time minus Mono, of the newest
	least  [2]time.Duration
	began  time.Duration // of the window of least[0]; least[1] is that before
}

// take adds a time, and returns what the run says once it is long enough.
// Sentences only ever arrive late, so the largest offset of the last minute or
// two is the nearest to the truth; a leap second shrinks it after that.
func (r *receiver) take(utc time.Time, now time.Duration) (estimate, bool) {
	offset := time.Duration(utc.UnixNano()) - now
	if r.run > 0 && (offset-r.offset).Abs() <= tolerance {
		r.run = min(r.run+1, agreeing)
	} else {
		r.run = 1
		r.least, r.began = [2]time.Duration{offset, offset}, now
	}
	r.offset = offset
	if now-r.began >= window {
		r.least[1], r.least[0], r.began = r.least[0], offset, now
	}
	r.least[0] = max(r.least[0], offset)
	return estimate{max(r.least[0], r.least[1]), gnssUncertainty, now}, r.run == agreeing
}

// rollover brings a receiver's date that is one or two cycles of 1,024 weeks
// old to where it is plausible. ok is false where nothing does.
func rollover(utc, earliest time.Time) (_ time.Time, ok bool) {
	const cycle = 1024 * 7 * 24 * time.Hour
	for n := range time.Duration(3) {
		t := utc.Add(n * cycle)
		if !t.Before(earliest) && t.Sub(earliest) <= horizon {
			return t, true
		}
	}
	return utc, false
}
