package agent

import (
	"math"
	"slices"
	"time"

	"github.com/fengsui/fengsui/firmware/terminal"
)

// A path is where the device was in the last hour, for its own screen: in
// memory only, and thinned, since the track lane has all of it.
type path []step

type step struct {
	lat, lon float64
	at       time.Duration // Mono
}

const (
	pathFor   = time.Hour
	pathEvery = 10 * time.Second
	pathApart = 15.0 // metres: less is standing
)

// add takes a fix that is believed.
func (p *path) add(lat, lon float64, now time.Duration) {
	p.forget(now)
	if n := len(*p); n > 0 {
		last := (*p)[n-1]
		// On a plane: over some metres that is exact enough.
		const degree = 111_320.0 // metres of latitude
		moved := math.Hypot((lat-last.lat)*degree, (lon-last.lon)*degree*math.Cos(lat*math.Pi/180))
		if now-last.at < pathEvery || moved < pathApart {
			return
		}
	}
	*p = append(*p, step{lat, lon, now})
}

// forget drops what is older than an hour.
func (p *path) forget(now time.Duration) {
	*p = slices.DeleteFunc(*p, func(s step) bool { return now-s.at > pathFor })
}

func (p *path) view(now time.Duration) []terminal.Step {
	p.forget(now)
	out := make([]terminal.Step, 0, len(*p))
	for _, s := range *p {
		out = append(out, terminal.Step{Lat: s.lat, Lon: s.lon, Age: now - s.at})
	}
	return out
}

// hearCentre notes that the centre is heard now, so that a screen can say since
// when it is not.
func (a *Agent) hearCentre() {
	if a.uplink.Status().Heard {
		a.lost = a.clock.Mono()
	}
}
