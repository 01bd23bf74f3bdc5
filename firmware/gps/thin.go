package gps

import (
	"cmp"
	"math"
	"time"
)

// A Thinner keeps a track's shape with fewer fixes: at most one an Interval
// while moving, and one every Still while standing. The first fix after moving
// again is kept. The zero value works with the defaults.
//
// It moves no fix and joins none, and believes each: a jump is a movement.
type Thinner struct {
	Interval time.Duration // between fixes while moving, default 1 s
	Still    time.Duration // between fixes while standing, default 30 s
	MinSpeed float64       // metres a second from which on it moves, default 0.8
	MinStep  float64       // metres from the newest kept fix from which on it moves, default 15

	kept    Fix // the newest fix that was kept
	any     bool
	resting bool
}

// The defaults of a Thinner. A receiver that stands still wanders, but slower
// and less far than that.
const (
	defaultInterval = time.Second
	defaultStill    = 30 * time.Second
	defaultMinSpeed = 0.8
	defaultMinStep  = 15

	jitter   = 0.05            // of an interval: receivers' times wander
	flapping = 2 * time.Second // sentences of one epoch with other times
	degree   = 111_195         // metres of a degree of latitude on a sphere of 6,371 km
)

// Keep reports whether a fix belongs into the track. A fix that is a little
// older than the newest one kept does not; one that is much older does, since
// the clock was set.
func (t *Thinner) Keep(f Fix) bool {
	interval := time.Duration(float64(cmp.Or(t.Interval, defaultInterval)) * (1 - jitter))
	since := f.Time.Sub(t.kept.Time)
	moving := distance(t.kept, f) > cmp.Or(t.MinStep, defaultMinStep) ||
		f.HasSpeed && f.Speed > cmp.Or(t.MinSpeed, defaultMinSpeed)
	switch {
	case !t.any, since < -flapping, since >= cmp.Or(t.Still, defaultStill):
	case since < interval:
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
	dx := math.Remainder(b.Lon-a.Lon, 360) * degree * math.Cos(a.Lat*math.Pi/180)
	return math.Hypot(dx, dy)
}
