package agent

import (
	"github.com/fengsui/fengsui/firmware/fingerprint"
	"github.com/fengsui/fengsui/firmware/spool"
	"github.com/fengsui/fengsui/firmware/wire"
)

// officerState is the key of the signed-on officer in the spool's state.
const officerState = "officer"

// finger takes what happened at the reader. A match resets the alarms that are
// latched; with none latched it signs the officer on, or off at the second
// match.
func (a *Agent) finger(e fingerprint.Event) {
	switch e.Kind {
	case fingerprint.Ready:
		a.faultEnded(faultFingerprint)
	case fingerprint.Matched:
		a.matched(e.Match)
	case fingerprint.NoMatch:
		a.refuse("no_match", e.Match)
	case fingerprint.Weak:
		a.refuse("weak_match", e.Match)
	case fingerprint.Unreadable:
		a.refuse("unreadable", e.Match)
	case fingerprint.Refused:
		a.log.Warn("fingerprint reader's answer not believed", "err", e.Err)
		a.refuse("not_believed", e.Match)
	case fingerprint.Stuck:
		a.faultBegan(faultFinger, "something lies on the reader")
	case fingerprint.Freed:
		a.faultEnded(faultFinger)
	}
}

func (a *Agent) matched(m fingerprint.Match) {
	officer, known := a.cfg.Fingerprint.Officers[m.Slot]
	switch {
	case !known:
		a.refuse("unknown_slot", m)
	case len(a.latches) > 0:
		for button, p := range a.latches {
			a.clear(button, &wire.AlarmCleared{Alarm: p.Alarm, By: wire.ClearedByOfficer, Officer: officer})
		}
	case officer == a.officer:
		a.signOff("finger")
	default:
		if a.officer != "" {
			a.signOff("relieved")
		}
		a.signOn(officer, m)
	}
}

func (a *Agent) refuse(reason string, m fingerprint.Match) {
	a.store(a.stamp(), wire.Duty, &wire.SignRefused{Reason: reason, Slot: uint64(max(m.Slot, 0)), Score: uint64(max(m.Score, 0))}, nil)
}

func (a *Agent) signOn(officer string, m fingerprint.Match) {
	a.officer = officer // the event's own stamp names the officer already
	a.store(a.stamp(), wire.Duty, &wire.SignOn{Officer: officer, Slot: uint64(m.Slot), Score: uint64(m.Score)}, nil,
		spool.KV{Key: officerState, Value: []byte(officer)})
	a.showTasks()
}

func (a *Agent) signOff(reason string) {
	a.store(a.stamp(), wire.Duty, &wire.SignOff{Officer: a.officer, Reason: reason}, nil, spool.KV{Key: officerState})
	a.officer = ""
}

// duressButton is the name under which a sign-on under duress is an alarm. It
// is never latched: nothing here may tell of it.
const duressButton = "duress"

// duress tells the centre, and nobody here, that somebody was made to sign on.
func (a *Agent) duress() {
	a.store(a.stamp(), wire.Alarm, &wire.AlarmRaised{
		Alarm: wire.NewAlarmID(), Kind: wire.Duress, Silent: true, Button: duressButton, Press: 1, Position: a.position(),
	}, nil)
}
