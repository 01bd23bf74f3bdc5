// Package lamp shows a device's state on three lamps and a siren.
//
// The lamps are a bar that fills, so that a colour-blind villager can tell the
// steps apart by count and by position:
//
//	red                      stored on the box
//	red, amber blinking      the centre has it in its database
//	red, amber               a person at the centre has taken it
//	red, amber, green        a named unit is coming
//
// A silent alarm shows the same lamps in short flashes; a drill lets all of
// them wink; a fault without an alarm flashes amber three times. A change of
// step that lights no new lamp begins with a short dark gap, so that the
// change itself is seen.
//
// The package decides nothing: whoever calls Show says what is true. It cannot
// tell whether a lamp glows, only whether its line could be driven.
package lamp

import (
	"fmt"
	"time"
)

// A Step is how far an alarm has come.
type Step uint8

// The steps, in their order.
const (
	Idle         Step = iota // no alarm
	Stored                   // durable on the box
	CentreHas                // committed at the centre
	Acknowledged             // a person at the centre has taken it
	UnitComing               // a named unit is on its way
)

// String returns the step's name.
func (s Step) String() string {
	names := [...]string{"idle", "stored", "centre_has", "acknowledged", "unit_coming"}
	if int(s) < len(names) {
		return names[s]
	}
	return fmt.Sprintf("step(%d)", uint8(s))
}

// A State is all that the lamps and the siren tell.
type State struct {
	Step   Step
	Silent bool // discreet: short flashes, and never the siren
	Drill  bool
	Fault  bool // shown only while Step is Idle
	Siren  bool // sound it, within its limit
	// Press counts presses: while Siren is set, one more sounds the siren anew
	// for its whole limit.
	Press uint64
}

// A look is the part of a state that the lamps tell.
type look struct {
	step                 Step
	silent, drill, fault bool
}

// look leaves out what does not show, so that a change of it disturbs no
// pattern.
func (s State) look() look {
	if s.Step == Idle {
		return look{fault: s.Fault}
	}
	return look{step: s.Step, silent: s.Silent, drill: s.Drill && !s.Silent}
}

// Lamps in a pattern.
const (
	red = 1 << iota
	amber
	green
)

// A phase lights some lamps for a while; a pattern repeats its phases.
type phase struct {
	lit   uint8
	lasts time.Duration
}

const steady = time.Hour

// pattern returns the phases that show s.
func pattern(s look) []phase {
	var bar []phase
	switch {
	case s.step == Stored:
		bar = []phase{{red, steady}}
	case s.step == CentreHas:
		bar = []phase{{red | amber, 500 * time.Millisecond}, {red, 500 * time.Millisecond}}
	case s.step == Acknowledged:
		bar = []phase{{red | amber, steady}}
	case s.step == UnitComing:
		bar = []phase{{red | amber | green, steady}}
	case s.fault:
		const on, off = 80 * time.Millisecond, 160 * time.Millisecond
		return []phase{{amber, on}, {0, off}, {amber, on}, {0, off}, {amber, on}, {0, 4*time.Second - 3*on - 2*off}}
	default:
		return []phase{{0, steady}}
	}
	switch {
	case s.silent && s.step == CentreHas:
		// Amber comes with every other flash: the blink, slowed down.
		return []phase{{red | amber, flash}, {0, 4*time.Second - flash}, {red, flash}, {0, 4*time.Second - flash}}
	case s.silent:
		return []phase{{bar[0].lit, flash}, {0, 4*time.Second - flash}}
	case s.drill && s.step == CentreHas:
		return append(bar, phase{red | amber, 500 * time.Millisecond}, phase{red, 400 * time.Millisecond}, phase{0, 100 * time.Millisecond})
	case s.drill:
		return []phase{{bar[0].lit, 1900 * time.Millisecond}, {0, 100 * time.Millisecond}}
	}
	return bar
}

const (
	flash = 60 * time.Millisecond
	gap   = 80 * time.Millisecond
)
