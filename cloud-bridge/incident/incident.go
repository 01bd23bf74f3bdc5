// Package incident is what the centre knows of one alarm and the steps that
// people take with it:
//
//	open → acknowledged → dispatched → en_route → on_scene → checked → closed
//
// Any state but closed may be closed with a code. To cancel, to suspend and to
// return an incident one person asks with a reason and another one approves:
// see [Incident.Ask]. Steps are taken at the desk ([Incident.Take]) or by the
// people of a unit ([Incident.Answer]); the latter may arrive late and in any
// order, and lead to the same incident in every one.
//
// What should have been done by now is counted from the press, not from its
// arrival: see [Policy] and [Incident.Overrun].
//
// It is pure: no clock, no database, no network. It does not decide which
// alarm belongs to which incident (package store does, in the transaction that
// stores the event) and does not tell the device (package ingest does).
package incident

import (
	"time"

	"github.com/fengsui/fengsui/firmware/wire"
)

// A State is how far the centre has got with an incident.
type State string

// The states, in their order.
const (
	Open         State = "open"         // nobody has taken it yet
	Acknowledged State = "acknowledged" // a person has taken it
	Dispatched   State = "dispatched"   // a named unit is sent
	EnRoute      State = "en_route"     // it moves
	OnScene      State = "on_scene"     // it is there
	Checked      State = "checked"      // what there was to see was seen
	Suspended    State = "suspended"    // nobody goes for now, with a reason that two people agreed on
	Closed       State = "closed"       // done, with a code; final
)

// States lists all states in their order.
func States() []State {
	return []State{Open, Acknowledged, Dispatched, EnRoute, OnScene, Checked, Suspended, Closed}
}

// ParseState returns the state of that name. The error wraps [ErrField].
func ParseState(s string) (State, error) {
	for _, st := range States() {
		if string(st) == s {
			return st, nil
		}
	}
	return "", &FieldError{Field: "state", Value: s, Want: "open, acknowledged, dispatched, en_route, on_scene, checked, suspended or closed"}
}

// Notice returns what the device's lamps are to say of the state. There is
// nothing to say of an open incident: ok is false.
func (s State) Notice() (n wire.NoticeState, ok bool) {
	switch s {
	case Acknowledged, Suspended:
		return wire.NoticeAcknowledged, true
	case Dispatched, EnRoute, OnScene, Checked:
		return wire.NoticeDispatched, true
	case Closed:
		return wire.NoticeClosed, true
	}
	return 0, false
}

// A Code says what a closed incident turned out to be.
type Code string

// The codes.
const (
	Real       Code = "real"
	FalseAlarm Code = "false_alarm"
	Test       Code = "test"
	Drill      Code = "drill"
	Duplicate  Code = "duplicate"
	Unfounded  Code = "unfounded"
	// Restored is the centre's own: what it found amiss is in order again, and
	// nobody had taken it yet.
	Restored Code = "restored"
	// Cancelled is that of an incident that two people agreed to cancel.
	Cancelled Code = "cancelled"
)

// Codes lists the codes that people choose from.
func Codes() []Code { return []Code{Real, FalseAlarm, Test, Drill, Duplicate, Unfounded} }

// A Kind is what help was asked for: "panic", "medical", "fire", "duress", or
// "kind(n)" for one that this version does not know.
type Kind string

// KindOf returns the kind of an alarm.
func KindOf(k wire.AlarmKind) Kind { return Kind(k.String()) }

// The kinds that no button has opened: a box reported the first of a contact,
// the centre found the others itself.
const (
	Tamper           Kind = "tamper"             // somebody opens a box, or tears it off
	DistrictLinkLost Kind = "district_link_lost" // the centre cannot be reached by many devices, or by any
	Offline          Kind = "offline"            // one device is silent
	Twin             Kind = "twin"               // two devices have one identity
)

// Pressed reports whether somebody asked for help.
func (k Kind) Pressed() bool {
	return k != Tamper && k != DistrictLinkLost && k != Offline && k != Twin
}

// Priority returns 1 for the most urgent kinds; what the centre found itself
// comes after all that somebody has pressed. Who opens a box may be about to
// take it from those who need it: that is as urgent as a fire. A kind that this version does not know is as
// urgent as the most urgent: somebody pressed a button.
func (k Kind) Priority() int {
	switch k {
	case Kind(wire.Medical.String()), Kind(wire.Fire.String()), Tamper:
		return 2
	case DistrictLinkLost:
		return 3
	case Offline, Twin:
		return 4
	}
	return 1
}

// What an [Incident.Missing] list may name.
const (
	MissingTime     = "time"     // the device did not know the time of day
	MissingCell     = "cell"     // it lies outside every cell of the grid
	MissingPosition = "position" // neither a surveyed nor a measured position
)

// An Incident is one latched alarm and what was done about it. Rev rises by
// one with each step of its State; it begins with 1 or, when the alarm had an
// incident before that was closed, behind that one's last.
type Incident struct {
	ID         int64
	Rev        uint64
	State      State
	Kind       Kind
	Silent     bool // the device makes no sound
	Drill      bool // part of an exercise
	Priority   int  // 1 is the most urgent
	Device     string
	DeviceName string // from the register
	Alarm      wire.AlarmID
	Presses    uint64 // how often the button was pressed while the alarm was latched
	Pressed    Moment // of the first press known
	Received   time.Time
	Position   *Position // nil when unknown
	Officer    string    // signed on at the device when it was pressed
	Missing    []string  // what the device could not say

	SMS          *SMS   // nil: nothing of it came by SMS
	Place        Area   // which part of the grid it lies in
	Tier         Tier   // who has to act: rises with each overrun
	Owner        string // who has it in hand, or ""
	Acknowledged *Acknowledgement
	Dispatched   *Dispatch // nil when the unit was taken back
	Units        []Unit    // all that were sent, in that order
	EnRoute      *Progress // the first that moved
	OnScene      *Progress // the first that was there
	Checked      *Progress
	Request      *Request // waits for a second person; or nil
	Help         *Help    // a unit needs help and no other was sent since; or nil
	Overruns     Overruns
	Since        time.Time // the timers of the unit count from here when it is later than the press
	FirstSent    time.Time // when the first unit was sent; zero: none yet
	Closed       *Closing
	Cleared      *Clearing // the latch was reset at the device
	Shown        *Receipt  // the device's newest receipt of a notice
	Timeline     []Entry   // in the order of the steps

	// Redatings are the things that were not said when they were taken to have
	// been, since somebody last took them from here.
	Redatings []Redating
}

// A Moment is when something happened at a device, as well as the centre knows
// it now. A time that the centre has put right comes from another moment of the
// same boot whose time of day is known, or, with the source centre, from the
// centre's own clock.
type Moment struct {
	Time        time.Time // zero when Source is none
	Source      wire.WallSource
	Uncertainty time.Duration // the true time is within ± this
	Original    *wire.Wall    // what the device said, if that is something else; nil: the above is its word
}

// A Position is where an incident is.
type Position struct {
	Lat, Lon float64        // degrees, WGS 84
	Source   PositionSource // where it came from
	Age      time.Duration  // from the fix to the press; 0 when surveyed, given or learned
	Spread   int64          // metres from a learned place within which two thirds of its fixes lay; 0: not measured
}

// A PositionSource says where a position came from.
type PositionSource string

// The sources of a position.
const (
	Surveyed PositionSource = "surveyed" // the register of devices
	GNSS     PositionSource = "gnss"     // the device's receiver
	Given    PositionSource = "given"    // the device's configuration: a surveyed place
	Learned  PositionSource = "learned"  // the mean of its receiver's fixes over a long time
	Held     PositionSource = "held"     // its receiver's newest fix before it jumped, which it does not believe
)

// An SMS says that a press came by SMS, because the centre had not acknowledged
// the event of it.
type SMS struct {
	At   time.Time // received at the centre
	Only bool      // the event has not come yet: who was signed on, and the button, are not known
}

// An Acknowledgement says who took the incident.
type Acknowledgement struct {
	By string
	At time.Time
}

// A Dispatch says which unit was sent.
type Dispatch struct {
	Unit, By string
	At       time.Time
}

// A Closing says what it turned out to be.
type Closing struct {
	Code     Code
	By, Note string
	At       time.Time
}

// A Clearing says that the latch was reset at the device.
type Clearing struct {
	By string    // "centre", or the officer's id ("officer" when the device gave none)
	At time.Time // received at the centre
}

// A Receipt says that the device's lamps show a notice.
type Receipt struct {
	Rev   uint64 // of the incident, as the notice gave it
	State State
	At    time.Time // received at the centre
}

// What a timeline entry reports.
const (
	WhatOpened       = "opened"
	WhatPressed      = "pressed" // again, while latched
	WhatAcknowledged = "acknowledged"
	WhatDispatched   = "dispatched"
	WhatClosed       = "closed"
	WhatCleared      = "cleared"
	WhatShown        = "shown"
	WhatSilent       = "silent"   // again, while the incident of it is not closed
	WhatRestored     = "restored" // what the centre found amiss is in order again
	WhatTampered     = "tampered" // again, while the incident of it is not closed
	WhatShut         = "shut"     // the box was shut again
	WhatTexted       = "texted"   // a press came by SMS
	WhatFollowed     = "followed" // the event of such a press came, too

	WhatTakenOver = "taken_over" // another person has it in hand now
	WhatUnitAdded = "unit_added"
	WhatNote      = "note"
	WhatAsked     = "asked" // cancel, suspend or return, which wait for a second person
	WhatApproved  = "approved"
	WhatDenied    = "denied"
	WhatSuspended = "suspended"
	WhatResumed   = "resumed"
	WhatReturned  = "returned"
	WhatEscalated = "escalated"

	WhatUnitShown    = "unit_shown" // the unit's screen shows it
	WhatUnitAccepted = "unit_accepted"
	WhatUnitRefused  = "unit_refused"
	WhatEnRoute      = "en_route"
	WhatOnScene      = "on_scene"
	WhatChecked      = "checked"
	WhatNeedHelp     = "need_help"
	WhatUnitClosed   = "unit_closed" // a unit's word, after the incident was closed already
	WhatStranger     = "stranger"    // an answer of a device that was not sent

	WhatSoundAsked = "sound_asked" // another box of the group is to sound
	WhatSounded    = "sounded"     // … and does
	WhatNotSounded = "not_sounded" // … and cannot
	WhatSoundOff   = "sound_off"
	WhatAttachment = "attachment" // a file of a unit has come in whole

	WhatRedated = "redated" // something was said at another time than was believed
	WhatDoubted = "doubted" // when something was said is not known: what its device says cannot be
)

// An Entry is one line of an incident's history. Entries are appended; nothing
// of them is changed but Given, and then another entry says so.
type Entry struct {
	At     time.Time // the centre's clock
	What   string    // one of the constants above
	By     string    // a person, or the device's id
	Detail string    // for people, in English; may be empty
	Given  time.Time // when it was said at a device, as well as the centre knows; zero: At, or not known
	Screen string    // see [Actor]
	Where  string
	Ref    int64 // of what was said at a device: see [Said]; 0: nothing was
}

// When returns when it happened: Given, or At.
func (e *Entry) When() time.Time {
	if e.Given.IsZero() {
		return e.At
	}
	return e.Given
}

// log appends to the timeline.
func (i *Incident) log(at time.Time, what, by, detail string) {
	i.Timeline = append(i.Timeline, Entry{At: at, What: what, By: by, Detail: detail})
}
