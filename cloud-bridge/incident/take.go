package incident

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/fengsui/fengsui/firmware/wire"
)

// An Actor is who does something, and from where.
type Actor struct {
	Name   string // a person's name, or a device's id
	Screen string // one of the constants below
	Where  string // the address of the screen, or the device's position; may be empty
}

// The screens from which steps are taken.
const (
	ScreenDesk    = "desk"    // the dispatcher's page, or a program that uses its API
	ScreenUnit    = "unit"    // a unit's device
	ScreenDevice  = "device"  // any device's buttons
	ScreenCommand = "command" // the command line at the centre
	ScreenCentre  = "centre"  // nobody: the centre itself
)

// A Step is one that a person takes at a desk. Which fields it needs follows
// from its name.
type Step struct {
	Name   string // one of the constants below
	Unit   string // which unit, of dispatch, add_unit, en_route, on_scene and checked ("": the first sent)
	Device string // the unit's device, or "" when it has none; of dispatch and add_unit
	Code   Code   // of close
	Note   string // of close and checked; the text of a note; the reason of the rest
	From   string // of take_over: who has it now, as the person saw it
	Rev    uint64 // unless 0: the revision that the person saw; another one refuses the step
}

// The names of the steps.
const (
	StepAcknowledge = "acknowledge"
	StepTakeOver    = "take_over"
	StepDispatch    = "dispatch"
	StepAddUnit     = "add_unit"
	StepEnRoute     = "en_route"
	StepOnScene     = "on_scene"
	StepChecked     = "checked"
	StepClose       = "close"
	StepNote        = "note"
	StepCancel      = "cancel"  // asks
	StepSuspend     = "suspend" // asks
	StepReturn      = "return"  // asks
	StepApprove     = "approve"
	StepDeny        = "deny"
	StepResume      = "resume"
)

// Steps lists the names of all steps.
func Steps() []string {
	return []string{
		StepAcknowledge, StepTakeOver, StepDispatch, StepAddUnit, StepEnRoute, StepOnScene, StepChecked, StepClose,
		StepNote, StepCancel, StepSuspend, StepReturn, StepApprove, StepDeny, StepResume,
	}
}

// Take takes a step. The error is a [StateError] or a [FieldError], and then
// nothing has changed.
func (i *Incident) Take(s Step, by Actor, at time.Time) error {
	if s.Rev != 0 && s.Rev != i.Rev {
		return &StateError{Step: s.Name, State: i.State, By: i.Owner, Why: "somebody else has changed it meanwhile", Code: RefusedChanged}
	}
	begun := len(i.Timeline)
	if err := i.take(s, by.Name, at); err != nil {
		return err
	}
	for n := begun; n < len(i.Timeline); n++ {
		i.Timeline[n].Screen, i.Timeline[n].Where = by.Screen, by.Where
	}
	return nil
}

func (i *Incident) take(s Step, by string, at time.Time) error {
	switch s.Name {
	case StepAcknowledge:
		return i.Acknowledge(by, at)
	case StepTakeOver:
		return i.takeOver(by, s.From, at)
	case StepDispatch:
		return i.send(by, s.Unit, s.Device, at)
	case StepAddUnit:
		return i.addUnit(by, s.Unit, s.Device, at)
	case StepEnRoute, StepOnScene, StepChecked:
		return i.progress(s, by, at)
	case StepClose:
		return i.Close(by, s.Code, s.Note, at)
	case StepNote:
		if err := errors.Join(text("by", by, MaxName, true), text("note", s.Note, MaxNote, true)); err != nil {
			return err
		}
		i.log(at, WhatNote, by, s.Note)
		return nil
	case StepCancel, StepSuspend, StepReturn:
		return i.Ask(s.Name, by, s.Note, at)
	case StepApprove:
		return i.Approve(by, at)
	case StepDeny:
		return i.Deny(by, s.Note, at)
	case StepResume:
		return i.resume(by, s.Note, at)
	}
	return &FieldError{Field: "step", Value: s.Name, Want: strings.Join(Steps(), ", ")}
}

// inHand are the states in which somebody has the incident.
func inHand() []State { return []State{Acknowledged, Dispatched, EnRoute, OnScene, Checked, Suspended} }

// withUnit are the states in which a unit was sent.
func withUnit() []State { return []State{Dispatched, EnRoute, OnScene, Checked} }

// takeOver puts the incident into another person's hands. It names whom the
// person believes to have it, so that of two who take it over at once the
// second is told.
func (i *Incident) takeOver(by, from string, at time.Time) error {
	if err := i.may(StepTakeOver, inHand()...); err != nil {
		return err
	}
	if err := text("by", by, MaxName, true); err != nil {
		return err
	}
	switch {
	case from != i.Owner:
		return &StateError{Step: StepTakeOver, State: i.State, By: i.Owner, Why: "it is in the hands of " + quoted(i.Owner) + ", not of " + quoted(from), Code: RefusedOwner}
	case by == i.Owner:
		return &StateError{Step: StepTakeOver, State: i.State, By: i.Owner, Why: "it is in the hands of " + quoted(i.Owner) + " already", Code: RefusedOwn}
	}
	i.Owner = by
	i.log(at, WhatTakenOver, by, "from "+from)
	return nil
}

// addUnit sends one more unit to where one is.
func (i *Incident) addUnit(by, unit, device string, at time.Time) error {
	if err := i.may(StepAddUnit, withUnit()...); err != nil {
		return err
	}
	if err := errors.Join(text("by", by, MaxName, true), text("unit", unit, MaxName, true)); err != nil {
		return err
	}
	if slices.ContainsFunc(i.Units, func(u Unit) bool { return u.Live() && u.Name == unit }) {
		return &FieldError{"unit", unit, "a unit that was not sent to it already", RefusedSentTwice}
	}
	i.sent(Unit{Name: unit, Device: device, By: by, At: at})
	for n := range i.Units {
		for k := range i.Units[n].Said {
			i.Units[n].Said[k].Met = i.Units[n].Said[k].Met || i.Units[n].Said[k].Answer == wire.AnswerNeedHelp
		}
	}
	i.derive(nil)
	i.log(at, WhatUnitAdded, by, unit)
	return nil
}

// progress records what the desk heard of a unit by radio.
func (i *Incident) progress(s Step, by string, at time.Time) error {
	allowed := map[string][]State{
		StepEnRoute: {Dispatched},
		StepOnScene: {Dispatched, EnRoute},
		StepChecked: {Dispatched, EnRoute, OnScene},
	}
	if err := i.may(s.Name, allowed[s.Name]...); err != nil {
		return err
	}
	// What was seen at the scene is the evidence that the state stands for.
	if err := errors.Join(text("by", by, MaxName, true), text("note", s.Note, MaxNote, s.Name == StepChecked)); err != nil {
		return err
	}
	u := i.unit(func(u *Unit) bool { return u.Live() && (s.Unit == "" || u.Name == s.Unit) })
	if u == nil {
		return &FieldError{"unit", s.Unit, "a unit that was sent to it", RefusedNotSent}
	}
	answer := map[string]wire.Answer{StepEnRoute: wire.AnswerEnRoute, StepOnScene: wire.AnswerOnScene, StepChecked: wire.AnswerChecked}[s.Name]
	i.say(u, Said{Answer: answer, By: by, Desk: true, Given: at, Received: at})
	detail := u.Name
	if s.Note != "" {
		detail += ": " + s.Note
	}
	i.step(UnitState(answer.String()).incident(), at, s.Name, by, detail) // the step's name is the entry's
	return nil
}

// A Request waits for a second person.
type Request struct {
	What   string // StepCancel, StepSuspend or StepReturn
	By     string
	Reason string
	At     time.Time
}

// Ask asks for a second person's approval of cancelling the incident, of
// suspending it or of taking its units back. What is asked changes nothing
// until then. One thing may be asked at a time.
func (i *Incident) Ask(what, by, reason string, at time.Time) error {
	allowed := map[string][]State{
		StepCancel:  append([]State{Open}, inHand()...),
		StepSuspend: append([]State{Acknowledged}, withUnit()...),
		StepReturn:  withUnit(),
	}
	if err := i.may(what, allowed[what]...); err != nil {
		return err
	}
	if err := errors.Join(text("by", by, MaxName, true), text("reason", reason, MaxNote, true)); err != nil {
		return err
	}
	if r := i.Request; r != nil {
		return &StateError{
			Step: what, State: i.State, By: i.Owner, Why: quoted(r.By) + " has asked to " + r.What + " it, and that is not decided yet",
			Code: RefusedPending, Asked: r.What, Who: r.By,
		}
	}
	i.Request = &Request{what, by, reason, at}
	i.log(at, WhatAsked, by, what+": "+reason)
	return nil
}

// Approve does what was asked. It must be another person.
func (i *Incident) Approve(by string, at time.Time) error {
	r, err := i.pending(StepApprove, by)
	if err != nil {
		return err
	}
	if strings.EqualFold(strings.TrimSpace(by), strings.TrimSpace(r.By)) {
		return &FieldError{"by", by, "another person than who asked", RefusedOneself}
	}
	i.Request = nil
	i.log(at, WhatApproved, by, r.What+", which "+r.By+" asked: "+r.Reason)
	switch r.What {
	case StepCancel:
		i.withdraw()
		i.end(r.By, Cancelled, r.Reason, at)
	case StepSuspend:
		i.withdraw()
		i.step(Suspended, at, WhatSuspended, r.By, r.Reason)
	case StepReturn:
		i.withdraw()
		i.Since = at
		i.step(Acknowledged, at, WhatReturned, r.By, r.Reason)
	}
	return nil
}

// Deny refuses what was asked. Who asked may take it back so.
func (i *Incident) Deny(by, reason string, at time.Time) error {
	r, err := i.pending(StepDeny, by)
	if err != nil {
		return err
	}
	if err := text("reason", reason, MaxNote, true); err != nil {
		return err
	}
	i.Request = nil
	i.log(at, WhatDenied, by, r.What+", which "+r.By+" asked: "+reason)
	return nil
}

func (i *Incident) pending(step, by string) (*Request, error) {
	if i.Request == nil {
		return nil, &StateError{Step: step, State: i.State, By: i.Owner, Why: "nothing is asked", Code: RefusedNotAsked}
	}
	return i.Request, text("by", by, MaxName, true)
}

// resume takes a suspended incident up again.
func (i *Incident) resume(by, reason string, at time.Time) error {
	if err := i.may(StepResume, Suspended); err != nil {
		return err
	}
	if err := errors.Join(text("by", by, MaxName, true), text("reason", reason, MaxNote, false)); err != nil {
		return err
	}
	i.Since, i.Request = at, nil
	i.step(Acknowledged, at, WhatResumed, by, reason)
	return nil
}

func quoted(name string) string {
	if name == "" {
		return "nobody"
	}
	return "“" + name + "”"
}
