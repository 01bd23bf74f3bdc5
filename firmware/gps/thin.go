package gps

import (
	"math"
	"time"
)

// A Thinner keeps a track's shape with fewer fixes: at most one a second while
// moving, and one every Still while standing.
//
// It moves no fix and joins none. A fix that follows a kept one by more than
// MinStep in metres, or at more than MinSpeed, counts as moving.
type Thinner struct {
	Still time.Duration // between fixes while standing; default 30 s

	kept    Fix // the newest fix that was kept
	any     bool
	resting bool
}

const (
	minInterval = 950 * time.Millisecond // of a 1 Hz receiver that wanders
	minSpeed    = 0.8                    // m/s: a receiver that stands wanders at less
	minStep     = 15                     // m: a receiver that stands wanders within
	degree      = 111_195                // m of a degree of latitude on a sphere of 6,371 km
)

// Keep reports whether a fix belongs into the track.
func (t *Thinner) Keep(f Fix) bool {
	still := t.Still
	if still == 0 {
		still = 30 * time.Second
	}
	since := f.Time.Sub(t.kept.Time)
	moving := distance(t.kept, f) > minStep || f.HasSpeed && f.Speed > minSpeed
	switch {
	case !t.any, since < 0, since >= still:
	case since < minInterval:
		return false
	case !moving && t.resting:
		return false
	}
	t.resting = t.any && !moving
	t.kept, t.any = f, true
	return true
}

// distance is that of two near points, in metres, on a plane that touches.
func distance(a, b Fix) float64 {
	dy := (b.Lat - a.Lat) * degree
	dx := (b.Lon - a.Lon) * degree * math.Cos(a.Lat*math.Pi/180)
	return math.Hypot(dx, dy)
}
