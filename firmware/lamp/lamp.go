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
// them wink; a fault without an alarm flashes amber three times, an exercise
// that is on flashes green twice. Who comes by on a guard round sees green for
// a moment: blinking while the visit is stored on the box only, steady once the
// centre has it. A change of step that lights no new lamp begins with a short
// dark gap, so that the change itself is seen. All of this is data:
// patterns.yaml.
//
// The siren sounds for a while, pauses, and sounds again while the alarm is
// latched, so many times and no more.
//
// For a neighbour's alarm it sounds in pulses of half a second instead, so that
// everybody hears that it is not this box's.
//
// The package decides nothing: whoever calls Show says what is true. It cannot
// tell whether a lamp glows, only whether its line could be driven.
package lamp

import "fmt"

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
	Drill  bool // the alarm belongs to an exercise
	Fault  bool // shown only while Step is Idle
	// Drilling says that an exercise is on: who presses takes part in it. It is
	// shown only while Step is Idle.
	Drilling bool
	// Visit is how far the check-in of a guard round that has just come by is:
	// Idle (there is none), Stored or CentreHas. It is shown only while Step is
	// Idle.
	Visit Step
	Siren bool // sound it, within its limits
	// Neighbour says that another box's alarm is to be heard here: the siren
	// sounds in pulses, for as long as it is set, unless it sounds for Siren.
	Neighbour bool
	// Press counts presses: while Siren is set, one more sounds the siren anew,
	// from its first round.
	Press uint64
}

// A look is the part of a state that the lamps tell.
type look struct {
	step            Step
	silent, drill   bool
	fault, drilling bool
	visit           Step
}

// loud reports whether the siren sounds in rounds.
func (s State) loud() bool { return s.Siren && !s.Silent }

// pulses reports whether it sounds for a neighbour.
func (s State) pulses() bool { return s.Neighbour && !s.loud() && !s.Silent }

// look leaves out what does not show, so that a change of it disturbs no
// pattern.
func (s State) look() look {
	if s.Step == Idle {
		return look{fault: s.Fault, drilling: s.Drilling, visit: s.Visit}
	}
	return look{step: s.Step, silent: s.Silent, drill: s.Drill && !s.Silent}
}
