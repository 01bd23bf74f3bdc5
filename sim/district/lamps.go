package district

import (
	"time"

	"github.com/fengsui/fengsui/sim/child"
	"github.com/fengsui/fengsui/sim/lampwatch"
	"github.com/fengsui/fengsui/sim/scenario"
)

// outputs follows what a device's output lines do. Its owner locks.
type outputs struct {
	lamp  map[string]uint8 // line → bit
	horn  string           // the siren's line
	watch *lampwatch.Watcher
	lit   uint8
	last  time.Duration // of the newest edge
	red   []time.Duration
	siren []sirenEdge
}

type sirenEdge struct {
	at time.Duration
	on bool
}

// maxEdges bounds the edges that are kept.
const maxEdges = 4096

func newOutputs(d scenario.Device, at time.Duration) *outputs {
	var styles []lampwatch.Style
	for _, b := range d.Buttons {
		if b.Silent {
			styles = append(styles, lampwatch.Silent)
		}
	}
	if d.Drill {
		styles = append(styles, lampwatch.Drill)
	}
	red, amber, green, siren := outputLines(d)
	return &outputs{
		lamp:  map[string]uint8{red: lampwatch.Red, amber: lampwatch.Amber, green: lampwatch.Green},
		horn:  siren,
		watch: lampwatch.New(at, styles...), last: at,
	}
}

// edge takes a report of an output line.
func (o *outputs) edge(r child.Report) {
	at := max(r.At, o.last)
	o.last = at
	if r.Line == o.horn {
		o.siren = append(trim(o.siren), sirenEdge{at, r.High})
		return
	}
	bit := o.lamp[r.Line]
	if r.High {
		o.lit |= bit
	} else {
		o.lit &^= bit
	}
	if bit == lampwatch.Red && r.High {
		o.red = append(trim(o.red), at)
	}
	o.watch.Edge(o.lit, at)
}

// dark is what a power cut does to the outputs.
func (o *outputs) dark(at time.Duration) {
	at = max(at, o.last)
	o.last, o.lit = at, 0
	o.watch.Edge(0, at)
	if o.sounds() {
		o.siren = append(trim(o.siren), sirenEdge{at, false})
	}
}

func (o *outputs) sounds() bool { return len(o.siren) > 0 && o.siren[len(o.siren)-1].on }

// redAfter returns the first edge that lit the red lamp at or after a time.
func (o *outputs) redAfter(at time.Duration) (time.Duration, bool) {
	for _, t := range o.red {
		if t >= at {
			return t, true
		}
	}
	return 0, false
}

// sounded returns when the siren first was in a state at or after a time.
func (o *outputs) sounded(on bool, from time.Duration) (time.Duration, bool) {
	state := false
	for _, e := range o.siren {
		if e.at >= from && state == on {
			return from, true
		}
		state = e.on
		if e.at >= from && state == on {
			return e.at, true
		}
	}
	return from, state == on
}

func trim[T any](s []T) []T {
	if len(s) >= maxEdges {
		return append([]T(nil), s[maxEdges/2:]...)
	}
	return s
}
