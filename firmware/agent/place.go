package agent

import (
	"encoding/json"
	"fmt"
	"math"
	"time"

	"github.com/fengsui/fengsui/firmware/config"
	"github.com/fengsui/fengsui/firmware/gps"
	"github.com/fengsui/fengsui/firmware/spool"
	"github.com/fengsui/fengsui/firmware/wire"
)

// A whereabouts is what the device knows of its own place. A box that stands
// somewhere has been given its surveyed place, or learns it; all others go by
// the newest believed fix.
type whereabouts struct {
	believe gps.Believer
	survey  gps.Survey
	learned *gps.Place // nil: not yet
	saved   *gps.Place // as the spool has it
	jumps   int        // fixes running that were not believed
}

// placeState is the key of the learned place in the spool's state. It rides on
// the heartbeat's commit.
const placeState = "place"

const (
	// jumpFor is how many fixes running must be disbelieved before that is a
	// fault: a single one is only marked.
	jumpFor = 3
	// elsewhere is how far in metres from a surveyed place the receiver may be.
	elsewhere = 200
)

func (a *Agent) fixedPlace() bool { return a.cfg.Profile == config.AlarmBox }

// place takes a fix at its time, and reports whether it is believed.
func (a *Agent) place(f gps.Fix, at time.Duration) bool {
	w := &a.where
	ok, distance := w.believe.Take(f, at)
	if !ok {
		if w.jumps++; w.jumps == jumpFor {
			a.faultBegan(faultJump, fmt.Sprintf("the receiver is suddenly %.1f km away, faster than anything on a road: not believed", distance/1000))
		}
		return false
	}
	w.jumps = 0
	a.faultEnded(faultJump)
	if !a.fixedPlace() {
		return true
	}
	if g := a.cfg.Place; g != nil {
		switch d := gps.Distance(gps.Fix{Lat: g.Lat, Lon: g.Lon}, f); {
		case d > elsewhere:
			a.faultBegan(faultElsewhere, fmt.Sprintf("the receiver is %.1f km from the surveyed place", d/1000))
		case d < elsewhere/2:
			a.faultEnded(faultElsewhere)
		}
		return true
	}
	if p := w.survey.Take(f, at); p != nil {
		a.log.Info("place learned", "lat", p.Lat, "lon", p.Lon, "spread_m", math.Round(p.Spread))
		w.learned = p
	} else if w.learned != nil {
		w.learned = w.survey.Place(at)
	}
	return true
}

// restorePlace reads back what was learned before a restart.
func (a *Agent) restorePlace(v []byte) error {
	if v == nil || !a.fixedPlace() || a.cfg.Place != nil {
		return nil
	}
	p := new(gps.Place)
	if err := json.Unmarshal(v, p); err != nil {
		return fmt.Errorf("learned place: %w", err)
	}
	a.where.learned, a.where.saved = p, p
	a.where.survey.Resume(*p)
	return nil
}

// placeKV returns the learned place where the spool should have it anew: each
// change costs a commit no more, but a page.
func (a *Agent) placeKV() (kv []spool.KV) {
	p, was := a.where.learned, a.where.saved
	if p == nil || was != nil && gps.Distance(gps.Fix{Lat: p.Lat, Lon: p.Lon}, gps.Fix{Lat: was.Lat, Lon: was.Lon}) < 1 {
		return nil
	}
	v, err := json.Marshal(p)
	if err != nil {
		panic(fmt.Sprintf("agent: place: %v", err)) // a struct of plain members
	}
	a.where.saved = p
	return []spool.KV{{Key: placeState, Value: v}}
}

// position returns where the device is, as well as it knows, or nil.
func (a *Agent) position() *wire.Position {
	place := func(lat, lon, spread float64, source wire.PositionSource) *wire.Position {
		return &wire.Position{LatE7: e7(lat), LonE7: e7(lon), Source: source, Spread: uint64(math.Ceil(spread))}
	}
	switch g, l := a.cfg.Place, a.where.learned; {
	case g != nil:
		return place(g.Lat, g.Lon, 0, wire.PositionGiven)
	case l != nil:
		return place(l.Lat, l.Lon, l.Spread, wire.PositionLearned)
	}
	f, at, ok := a.where.believe.Last()
	if !ok {
		return nil
	}
	p := place(f.Lat, f.Lon, 0, wire.PositionFix)
	if a.where.believe.Jumped() {
		p.Source = wire.PositionHeld
	}
	p.AgeMs, p.HDOP = uint64((a.clock.Mono() - at).Milliseconds()), uint64(math.Round(f.HDOP*10))
	return p
}

func e7(degrees float64) int64 { return int64(math.Round(degrees * 1e7)) }
