package gps

import (
	"math"
	"time"
)

// A Survey learns where a receiver stands that never moves: the mean of its
// fixes, one a second at most, and their spread. When the receiver settles
// elsewhere, for as long as a place takes to be learned, it begins anew there:
// the box has been carried off.
type Survey struct {
	mean sum
	away sum // of the fixes that lie elsewhere, since the last that did not
	last time.Duration
	any  bool
}

// The limits of a Survey.
const (
	// LearnFixes and LearnFor are how many fixes, over how long, make a place
	// learned. A receiver's error wanders over minutes: more fixes in less time
	// would be the same error again.
	LearnFixes = 600
	LearnFor   = 15 * time.Minute
	// LearnSpread is the most in metres by which the fixes may be spread.
	LearnSpread = 25
	// Elsewhere is how far in metres from the mean, and at the least, a fix lies
	// elsewhere; it is six times the spread where that is more.
	Elsewhere = 100
	// mostFixes is for how many fixes the mean counts: later ones change it
	// slowly, and never cease to.
	mostFixes = 100_000
)

// A sum is the running mean of places and their spread (Welford's method), in
// degrees and in metres.
type sum struct {
	n        float64
	lat, lon float64
	spread2  float64 // the mean square of the distance from the mean, times n
	since    time.Duration
}

func (s *sum) add(f Fix, at time.Duration) {
	if s.n == 0 {
		*s = sum{n: 1, lat: f.Lat, lon: f.Lon, since: at}
		return
	}
	before := Distance(s.fix(), f)
	if s.n < mostFixes {
		s.n++
	} else {
		s.spread2 -= s.spread2 / s.n
	}
	s.lat += (f.Lat - s.lat) / s.n
	s.lon += math.Remainder(f.Lon-s.lon, 360) / s.n
	s.spread2 += before * Distance(s.fix(), f)
}

func (s *sum) fix() Fix { return Fix{Lat: s.lat, Lon: math.Remainder(s.lon, 360)} }

func (s *sum) spread() float64 {
	if s.n < 2 {
		return 0
	}
	return math.Sqrt(max(s.spread2, 0) / (s.n - 1))
}

func (s *sum) learned(at time.Duration) bool {
	return s.n >= LearnFixes && at-s.since >= LearnFor && s.spread() <= LearnSpread
}

// A Place is where a box stands.
type Place struct {
	Lat    float64 `json:"lat"` // degrees, WGS 84
	Lon    float64 `json:"lon"`
	Spread float64 `json:"spread"` // metres: two thirds of the fixes lay within; 0: not measured
}

// Take takes a believed fix at a monotonic time. It returns the place when it
// is newly learned, else nil; from then on the mean goes on in Place.
func (s *Survey) Take(f Fix, at time.Duration) *Place {
	if s.any && at-s.last < time.Second*95/100 {
		return nil
	}
	s.last, s.any = at, true
	if s.mean.n > 60 && Distance(s.mean.fix(), f) > max(Elsewhere, 6*s.mean.spread()) {
		s.away.add(f, at)
		if !s.away.learned(at) {
			return nil
		}
		s.mean, s.away = s.away, sum{}
		return s.place()
	}
	s.away = sum{}
	was := s.mean.learned(at - 1)
	s.mean.add(f, at)
	if now := s.mean.learned(at); !now || was {
		return nil
	}
	return s.place()
}

// Place returns what has been learned, or nil.
func (s *Survey) Place(at time.Duration) *Place {
	if !s.mean.learned(at) {
		return nil
	}
	return s.place()
}

func (s *Survey) place() *Place {
	f := s.mean.fix()
	return &Place{f.Lat, f.Lon, s.mean.spread()}
}

// Resume goes on from a place that was learned before a restart.
func (s *Survey) Resume(p Place) {
	s.mean = sum{n: LearnFixes, lat: p.Lat, lon: p.Lon, spread2: p.Spread * p.Spread * (LearnFixes - 1), since: -LearnFor}
}
