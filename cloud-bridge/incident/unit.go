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
	Newest    time.Time `json:"newest,omitzero"`     // when it last said that it goes, or is there
	Refused   time.Time `json:"refused,omitzero"`    // when it last said that it cannot
	Withdrawn bool      `json:"withdrawn,omitempty"` // by the desk
}

// Live reports whether the unit is on the incident.
func (u *Unit) Live() bool { return u.State() != UnitRefused && u.State() != UnitWithdrawn }

// State returns how far it has got.
func (u *Unit) State() UnitState {
	switch {
	case u.Withdrawn:
		return UnitWithdrawn
	case !u.Refused.IsZero() && !u.Newest.After(u.Refused) && u.Reached.rank() < UnitOnScene.rank():
		return UnitRefused // who has been there does not refuse to go
	}
	return u.Reached
}

func (u *Unit) reach(to UnitState, given time.Time) {
	if to.rank() > u.Reached.rank() {
		u.Reached = to
	}
	if to.rank() >= UnitAccepted.rank() && given.After(u.Newest) {
		u.Newest = given
	}
}

// A Progress is a step that a unit was the first to take.
type Progress struct {
	Unit     string    `json:"unit"`
	By       string    `json:"by"`
	At       time.Time `json:"at"`       // when it was said
	Received time.Time `json:"received"` // when the centre had it
}

// A Help says that a unit needs help.
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
	Given    time.Time // when, as well as the centre knows; zero: not known
	Received time.Time
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
	given := a.Given
	if given.IsZero() || given.After(a.Received) { // nothing is said before it is said
		given = a.Received
	}
	say := func(what, detail string) {
		i.Timeline = append(i.Timeline, Entry{
			At: a.Received, What: what, By: a.By, Detail: detail, Given: given, Screen: ScreenUnit, Where: a.Where,
		})
	}
	// The newest sending counts: a unit may have been taken back and sent again.
	var u *Unit
	for n := range i.Units {
		if i.Units[n].Device == a.Device {
			u = &i.Units[n]
		}
	}
	if u == nil || a.Device == "" {
		say(WhatStranger, a.Answer.String()+" of "+a.Device+", which was not sent")
		return
	}
	detail := u.Name
	if a.Note != "" {
		detail += ": " + a.Note
	}
	if u.Withdrawn {
		say(what(a.Answer), detail+" (it was taken back before)")
		return
	}
	switch a.Answer {
	case wire.AnswerClosed:
		i.answerClosed(a, say, detail)
		return
	case wire.AnswerNeedHelp:
		if i.State != Closed && (i.Help == nil || given.After(i.Help.At)) {
			i.Help = &Help{u.Name, a.By, given}
		}
	case wire.AnswerRefused:
		if given.After(u.Refused) {
			u.Refused = given
		}
	case wire.AnswerShown:
		u.reach(UnitShown, given)
	case wire.AnswerAccepted:
		u.reach(UnitAccepted, given)
	case wire.AnswerEnRoute, wire.AnswerOnScene, wire.AnswerChecked:
		to := UnitState(a.Answer.String())
		u.reach(to, given)
		if i.Closed == nil || !given.After(i.Closed.At) {
			i.reached(to, Progress{Unit: u.Name, By: a.By, At: given, Received: a.Received})
		}
	}
	say(what(a.Answer), detail)
	i.follow(a.Received)
}

// answerClosed closes the incident with a unit's word, unless it is closed.
func (i *Incident) answerClosed(a Answer, say func(what, detail string), detail string) {
	if i.State == Closed || !slices.Contains(Codes(), a.Code) {
		say(WhatUnitClosed, detail+" ("+string(a.Code)+")")
		return
	}
	at := a.Given
	if at.IsZero() || at.After(a.Received) {
		at = a.Received
	}
	i.end(a.By, a.Code, a.Note, at)
	last := &i.Timeline[len(i.Timeline)-1]
	last.At, last.Given, last.Screen, last.Where = a.Received, at, ScreenUnit, a.Where
}

// reached keeps who was the first to take a step.
func (i *Incident) reached(to UnitState, p Progress) {
	keep := func(have **Progress) {
		if *have == nil || p.At.Before((*have).At) {
			*have = &p
		}
	}
	switch to {
	case UnitEnRoute:
		keep(&i.EnRoute)
	case UnitOnScene:
		keep(&i.OnScene)
	case UnitChecked:
		keep(&i.Checked)
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
