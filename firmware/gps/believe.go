package gps

import (
	"math"
	"time"
)

// A Believer tells a jump from a movement. A receiver under a bad sky, one that
// is jammed or one that is lied to says places that nothing on a road can have
// reached: such fixes are kept and marked, and an alarm keeps the last believed
// place with its age.
//
// What lasts is believed in the end: when as many as [BelieveAfter] fixes over
// at least [BelieveFor] agree with each other, and not with the believed one, it
// was the believed one that was wrong, or the box has been carried while it was
// off. The zero value has seen nothing, and believes the first fix.
type Believer struct {
	last     Fix // believed
	at       time.Duration
	any      bool
	other    Fix // the newest that was not
	otherAt  time.Duration
	since    time.Duration // of the first that agrees with other
	agreeing int           // 0: none waits
}

// The limits of a Believer.
const (
	// MaxMoving is the speed in metres a second that a car on a road does not
	// exceed: 250 km/h.
	MaxMoving = 70
	// MaxWander is how far in metres a receiver's place may wander in no time:
	// multipath between walls makes tens of metres of a car park.
	MaxWander = 150
	// BelieveAfter and BelieveFor are how many fixes, and over how long, make a
	// place that was not believed one that is.
	BelieveAfter = 10
	BelieveFor   = 10 * time.Second
)

// Take takes a fix at a monotonic time, and reports whether it is believed. The
// distance is from the last believed fix, in metres.
func (b *Believer) Take(f Fix, at time.Duration) (believed bool, distance float64) {
	distance = Distance(b.last, f)
	switch {
	case !b.any, reachable(distance, at-b.at):
		b.agreeing = 0
	case b.agreeing > 0 && reachable(Distance(b.other, f), at-b.otherAt):
		b.agreeing++
		b.other, b.otherAt = f, at
		if b.agreeing < BelieveAfter || at-b.since < BelieveFor {
			return false, distance
		}
		b.agreeing = 0
	default:
		b.other, b.otherAt, b.since, b.agreeing = f, at, at, 1
		return false, distance
	}
	b.last, b.at, b.any = f, at, true
	return true, distance
}

// Last returns the last believed fix and when it came; false: there is none.
func (b *Believer) Last() (f Fix, at time.Duration, ok bool) { return b.last, b.at, b.any }

// Jumped reports whether the newest fix was not believed.
func (b *Believer) Jumped() bool { return b.agreeing > 0 }

// reachable reports whether something on a road can have come so far in a while.
func reachable(metres float64, while time.Duration) bool {
	return metres <= MaxWander+MaxMoving*while.Seconds()
}

// earth is the radius in metres of a sphere of the earth's volume.
const earth = 6_371_000

// Distance returns the metres between two places on a sphere (haversine).
func Distance(a, b Fix) float64 {
	rad := math.Pi / 180
	s, t := math.Sin((b.Lat-a.Lat)*rad/2), math.Sin((b.Lon-a.Lon)*rad/2)
	h := s*s + math.Cos(a.Lat*rad)*math.Cos(b.Lat*rad)*t*t
	return 2 * earth * math.Asin(math.Sqrt(min(1, h)))
}
