package incident

import (
	"slices"
	"time"

	"github.com/fengsui/fengsui/firmware/wire"
)

// A UnitState is how far a unit has got with an incident that it was sent to.
type UnitState string

// The states of a unit, in their order.
const (
	UnitSent      UnitState = "sent"      // nothing is known of it
	UnitShown     UnitState = "shown"     // its screen shows the incident
	UnitAccepted  UnitState = "accepted"  // its people have taken it
	UnitEnRoute   UnitState = "en_route"  // it moves
	UnitOnScene   UnitState = "on_scene"  // it is there
	UnitChecked   UnitState = "checked"   // it has seen what there was to see
	UnitRefused   UnitState = "refused"   // its people cannot go
	UnitWithdrawn UnitState = "withdrawn" // it was taken back
)

// progressStates are the states in which a unit may be, in their order.
var progressStates = [...]UnitState{UnitSent, UnitShown, UnitAccepted, UnitEnRoute, UnitOnScene, UnitChecked}

func (s UnitState) rank() int { return slices.Index(progressStates[:], s) }

// incident is the state of an incident that a unit in state s makes.
func (s UnitState) incident() State {
	switch s {
	case UnitEnRoute:
		return EnRoute
	case UnitOnScene:
		return OnScene
	case UnitChecked:
		return Checked
	}
	return Dispatched
}

// A Unit is one that was sent.
type Unit struct {
	Name      string    `json:"name"`
	Device    string    `json:"device,omitempty"` // that tells it and answers for it; "": it has none
	By        string    `json:"by"`
	At        time.Time `json:"at"`                  // when it was sent
	Reached   UnitState `json:"reached"`             // the furthest that it said
	Declined  bool      `json:"declined,omitempty"`  // it said last that it cannot go
	Withdrawn bool      `json:"withdrawn,omitempty"` // by the desk
	Said      []Said    `json:"said,omitempty"`
}

// Live reports whether the unit is on the incident.
func (u *Unit) Live() bool { return u.State() != UnitRefused && u.State() != UnitWithdrawn }

// State returns how far it has got.
func (u *Unit) State() UnitState {
	switch {
	case u.Withdrawn:
		return UnitWithdrawn
	case u.Declined && u.Reached.rank() < UnitOnScene.rank():
		return UnitRefused // who has been there does not refuse to go
	}
	return u.Reached
}

// A Progress is a step that a unit was the first to take.
type Progress struct {
	Unit     string    `json:"unit"`
	By       string    `json:"by"`
	At       time.Time `json:"at,omitzero"` // when it was said; zero: what the clocks tell of it cannot be
	Received time.Time `json:"received"`    // when the centre had it
}

// A Help says that a unit needs help. At is at the latest when it said so.
type Help struct {
	Unit string    `json:"unit"`
	By   string    `json:"by"`
	At   time.Time `json:"at"`
}

// An Answer is what the people of a unit said at its device.
type Answer struct {
	Device   string
	By       string // the officer who was signed on, or the device's id
	Where    string // the device's position; may be empty
	Answer   wire.Answer
	Code     Code // of AnswerClosed
	Note     string
	Given    time.Time     // when, as well as the clocks tell; zero: none does
	Within   time.Duration // ± of Given
	Received time.Time
	Ref      int64  // names it for [Incident.Redate]; 0: it is never dated anew
	Stream   int64  // with Boot and Mono: where it stands among what the device has said
	Boot     uint64 // 0: not known
	Mono     time.Duration
}

// what is what an entry of the timeline calls an answer.
func what(a wire.Answer) string {
	switch a {
	case wire.AnswerShown:
		return WhatUnitShown
	case wire.AnswerAccepted:
		return WhatUnitAccepted
	case wire.AnswerRefused:
		return WhatUnitRefused
	case wire.AnswerEnRoute:
		return WhatEnRoute
	case wire.AnswerOnScene:
		return WhatOnScene
	case wire.AnswerNeedHelp:
		return WhatNeedHelp
	case wire.AnswerChecked:
		return WhatChecked
	case wire.AnswerClosed:
		return WhatUnitClosed
	}
	return a.String()
}

// Answer takes what a unit said. Answers may come in any order and any time
// later; each is in the timeline with the time when it was given. It is not an
// error when one has no effect: the unit was not sent or was taken back, or the
// incident is closed.
func (i *Incident) Answer(a Answer) {
	log := func(what, detail string, given time.Time) {
		i.Timeline = append(i.Timeline, Entry{
			At: a.Received, What: what, By: a.By, Detail: detail, Given: given, Screen: ScreenUnit, Where: a.Where, Ref: a.Ref,
		})
	}
	aside := func(what, detail string) { // it changes nothing
		log(what, detail, i.Heard(Redating{Ref: a.Ref, What: a.Answer.String(), By: a.By, Told: a.Given, Within: a.Within}, a.Received))
	}
	// The newest sending counts: a unit may have been taken back and sent again.
	var u *Unit
	for n := range i.Units {
		if i.Units[n].Device == a.Device && a.Device != "" {
			u = &i.Units[n]
		}
	}
	if u == nil {
		aside(WhatStranger, a.Answer.String()+" of "+a.Device+", which was not sent")
		return
	}
	detail := u.Name
	if a.Note != "" {
		detail += ": " + a.Note
	}
	s := Said{
		Ref: a.Ref, Answer: a.Answer, By: a.By, Stream: a.Stream, Boot: a.Boot, Mono: a.Mono,
		Given: a.Given, Within: a.Within, Received: a.Received,
	}
	const back = " (it was taken back before)"
	switch {
	case u.Withdrawn, a.Answer == wire.AnswerClosed && i.past(u, &s):
		aside(what(a.Answer), detail+back)
	case a.Answer != wire.AnswerClosed:
		said := i.say(u, s)
		if said.Past {
			detail += back
		}
		log(what(a.Answer), detail, said.At)
		i.follow(a.Received)
	case i.State == Closed || !slices.Contains(Codes(), a.Code):
		aside(WhatUnitClosed, detail+" ("+string(a.Code)+")")
	default: // it closes the incident with the unit's word
		s.Ends = true
		said := i.say(u, s)
		i.end(a.By, a.Code, a.Note, said.when())
		last := &i.Timeline[len(i.Timeline)-1]
		last.At, last.Given, last.Screen, last.Where, last.Ref = a.Received, said.At, ScreenUnit, a.Where, a.Ref
	}
}

// follow brings the incident's state to what its units have said: it is that of
// the furthest that is on it, and the first that is on it is the one named as
// coming. Units that refuse bring it back.
func (i *Incident) follow(at time.Time) {
	var first *Unit
	best := -1
	for n := range i.Units {
		if u := &i.Units[n]; u.Live() {
			best = max(best, u.Reached.rank())
			if first == nil {
				first = u
			}
		}
	}
	with := slices.Contains(withUnit(), i.State)
	switch {
	case first == nil && (i.State == Dispatched || i.State == EnRoute):
		i.Dispatched, i.Since, i.State = nil, at, Acknowledged
		i.Rev++
	case first != nil && (i.State == Acknowledged || with):
		to, named := progressStates[best].incident(), Dispatch{first.Name, first.By, first.At}
		if to != i.State || i.Dispatched == nil || *i.Dispatched != named {
			i.State, i.Dispatched = to, &named
			i.Rev++
		}
	}
}

// sent adds a unit.
func (i *Incident) sent(u Unit) {
	u.Reached = UnitSent
	i.Units = append(i.Units, u)
	if i.FirstSent.IsZero() {
		i.FirstSent = u.At
	}
}

// withdraw takes all units back.
func (i *Incident) withdraw() {
	for n := range i.Units {
		i.Units[n].Withdrawn = true
	}
	i.Dispatched = nil
}

// unit returns the first unit of which is is true, or nil.
func (i *Incident) unit(is func(*Unit) bool) *Unit {
	for n := range i.Units {
		if is(&i.Units[n]) {
			return &i.Units[n]
		}
	}
	return nil
}
