package incident

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Errors of a step. A step that fails changes nothing.
var (
	// ErrState means that the incident's state does not allow the step; the
	// error is a *[StateError].
	ErrState = errors.New("the state does not allow it")
	// ErrField means that a value given with the step is wrong; the error is a
	// *[FieldError].
	ErrField = errors.New("bad field")
)

// A StateError names the step, the state and the states that would allow it.
type StateError struct {
	Step    string // the name of a [Step]
	State   State
	Allowed []State
	By      string // who has the incident in hand, or ""
	Why     string // what else is in the way, where it is not the state
	Code    string // … by one of the codes below; "": it is the state
	Asked   string // with [RefusedPending]: the step that waits for a second person
	Who     string // … who asked for it
}

// Error says all three.
func (e *StateError) Error() string {
	if e.Why != "" {
		return fmt.Sprintf("cannot %s: %s", e.Step, e.Why)
	}
	allowed := make([]string, len(e.Allowed))
	for i, s := range e.Allowed {
		allowed[i] = string(s)
	}
	by := ""
	if e.By != "" {
		by = ", in the hands of " + strconv.Quote(e.By)
	}
	return fmt.Sprintf("cannot %s: the incident is %s%s: want %s", e.Step, e.State, by, strings.Join(allowed, " or "))
}

// Unwrap returns [ErrState].
func (e *StateError) Unwrap() error { return ErrState }

// A FieldError names the field, its value and what would be right. Code is one
// of the codes below, or "".
type FieldError struct{ Field, Value, Want, Code string }

// Codes of what is in the way of a step: a screen has words of its own for each.
const (
	RefusedChanged   = "changed"        // somebody else has changed it meanwhile
	RefusedOwner     = "other_owner"    // it is in other hands than was believed
	RefusedOwn       = "own_already"    // it is in one's own hands
	RefusedPending   = "pending"        // something is asked, and not decided
	RefusedNotAsked  = "not_asked"      // nothing is
	RefusedMissing   = "missing"        // a text is
	RefusedLong      = "too_long"       // a text is
	RefusedCode      = "bad_code"       // of closing
	RefusedSentTwice = "unit_sent"      // the unit is on it
	RefusedNotSent   = "unit_not_sent"  // the unit is not
	RefusedOneself   = "second_person"  // who asked may not approve
	RefusedUnitState = "bad_unit_state" // no state that a desk sets
)

// RefusalCodes lists them.
func RefusalCodes() []string {
	return []string{
		RefusedChanged, RefusedOwner, RefusedOwn, RefusedPending, RefusedNotAsked, RefusedMissing, RefusedLong, RefusedCode,
		RefusedSentTwice, RefusedNotSent, RefusedOneself, RefusedUnitState,
	}
}

// Error says all three.
func (e *FieldError) Error() string {
	return fmt.Sprintf("%s %s: want %s", e.Field, strconv.Quote(e.Value), e.Want)
}

// Unwrap returns [ErrField].
func (e *FieldError) Unwrap() error { return ErrField }

// Limits of what people type, in bytes of UTF-8.
const (
	MaxName = 64   // of a person or a unit
	MaxNote = 2000 // of a closing note
)

// Acknowledge records who took the incident. It must be open: of two who take
// it at once the second gets a [StateError] that names the first.
func (i *Incident) Acknowledge(by string, at time.Time) error {
	if err := i.may("acknowledge", Open); err != nil {
		return err
	}
	if err := text("by", by, MaxName, true); err != nil {
		return err
	}
	i.Acknowledged, i.Owner = &Acknowledgement{by, at}, by
	i.step(Acknowledged, at, WhatAcknowledged, by, "")
	return nil
}

// Dispatch records which unit was sent. It must be acknowledged.
func (i *Incident) Dispatch(by, unit string, at time.Time) error {
	return i.send(by, unit, "", at)
}

func (i *Incident) send(by, unit, device string, at time.Time) error {
	if err := i.may("dispatch", Acknowledged); err != nil {
		return err
	}
	if err := errors.Join(text("by", by, MaxName, true), text("unit", unit, MaxName, true)); err != nil {
		return err
	}
	i.Dispatched = &Dispatch{unit, by, at}
	i.sent(Unit{Name: unit, Device: device, By: by, At: at})
	i.step(Dispatched, at, WhatDispatched, by, unit)
	return nil
}

// Close ends the incident with a code. It may be in any state but closed: a
// false alarm needs no unit.
func (i *Incident) Close(by string, code Code, note string, at time.Time) error {
	if err := i.may("close", States()[:len(States())-1]...); err != nil {
		return err
	}
	err := errors.Join(text("by", by, MaxName, true), text("note", note, MaxNote, false))
	if !slices.Contains(Codes(), code) {
		err = errors.Join(err, &FieldError{"code", string(code), "real, false_alarm, test, drill, duplicate or unfounded", RefusedCode})
	}
	if err != nil {
		return err
	}
	i.end(by, code, note, at)
	return nil
}

func (i *Incident) end(by string, code Code, note string, at time.Time) {
	i.Closed = &Closing{code, by, note, at}
	detail := string(code)
	if note != "" {
		detail += ": " + note
	}
	i.Request = nil
	i.derive(nil) // what units said after that counts no more
	i.step(Closed, at, WhatClosed, by, detail)
}

// Opened begins the timeline. The caller has filled in what the alarm said.
func (i *Incident) Opened(at time.Time) {
	i.State, i.Rev, i.Presses = Open, 1, max(i.Presses, 1)
	i.log(at, WhatOpened, i.Device, string(i.Kind))
}

// centre is who does what nobody does.
const centre = "centre"

// Found begins the timeline of what the centre found itself.
func (i *Incident) Found(at time.Time, detail string) {
	i.State, i.Rev = Open, 1
	if detail != "" {
		detail = ": " + detail
	}
	i.log(at, WhatOpened, centre, string(i.Kind)+detail)
}

// SilentAgain records that a device which had come back is silent again.
func (i *Incident) SilentAgain(at time.Time) { i.log(at, WhatSilent, centre, "") }

// Tampered records that the box was opened, for the first time or again, as
// its contact said.
func (i *Incident) Tampered(at time.Time) {
	if i.State != "" {
		i.log(at, WhatTampered, i.Device, "")
		return
	}
	i.State, i.Rev = Open, 1
	i.log(at, WhatOpened, i.Device, string(i.Kind))
}

// Shut records that the box was shut again. Somebody was at it: the incident
// stays for a person to close.
func (i *Incident) Shut(at time.Time) { i.log(at, WhatShut, i.Device, "") }

// Restore records that what the centre found is in order again. That closes the
// incident if nobody has taken it yet; else it is for them to close.
func (i *Incident) Restore(at time.Time) {
	i.log(at, WhatRestored, centre, "")
	if i.State == Open {
		i.end(centre, Restored, "", at)
	}
}

// Reopens says that the alarm was pressed again after an incident of it was
// closed. Revisions count on, because the device ignores lower ones.
func (i *Incident) Reopens(closed *Incident) {
	i.Rev = closed.Rev + 1
	i.Timeline[len(i.Timeline)-1].Detail += fmt.Sprintf(": pressed again, incident %d is closed", closed.ID)
}

// Press records one more press of the latched alarm, the n-th. Presses may
// arrive in any order.
func (i *Incident) Press(n uint64, at time.Time) {
	i.Presses = max(i.Presses, n)
	i.log(at, WhatPressed, i.Device, "press "+strconv.FormatUint(n, 10))
}

// Texted records that a press came by SMS.
func (i *Incident) Texted(at time.Time, press uint64) {
	i.log(at, WhatTexted, i.Device, "press "+strconv.FormatUint(press, 10))
}

// Followed records that the event of a press came that had come by SMS.
func (i *Incident) Followed(at time.Time, press uint64) {
	i.log(at, WhatFollowed, i.Device, "press "+strconv.FormatUint(press, 10))
}

// Clear records that the latch was reset at the device.
func (i *Incident) Clear(by string, at time.Time) {
	i.Cleared = &Clearing{by, at}
	i.log(at, WhatCleared, by, "")
}

// Show records the device's receipt of a notice. An older receipt than the
// one known changes nothing but the timeline.
func (i *Incident) Show(rev uint64, state State, at time.Time) {
	if i.Shown == nil || rev > i.Shown.Rev {
		i.Shown = &Receipt{rev, state, at}
	}
	i.log(at, WhatShown, i.Device, string(state))
}

func (i *Incident) may(step string, allowed ...State) error {
	if slices.Contains(allowed, i.State) {
		return nil
	}
	return &StateError{Step: step, State: i.State, Allowed: allowed, By: i.Owner}
}

func (i *Incident) step(to State, at time.Time, what, by, detail string) {
	if to != i.State {
		i.State = to
		i.Rev++
	}
	i.log(at, what, by, detail)
}

func text(field, s string, limit int, required bool) error {
	want := fmt.Sprintf("text of at most %d bytes", limit)
	if required {
		want = fmt.Sprintf("text of 1 to %d bytes", limit)
	}
	switch {
	case required && strings.TrimSpace(s) == "", !utf8.ValidString(s):
		return &FieldError{field, s, want, RefusedMissing}
	case len(s) > limit:
		return &FieldError{field, s[:limit] + "…", want, RefusedLong}
	}
	return nil
}
