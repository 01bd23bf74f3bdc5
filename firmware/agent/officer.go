package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/fengsui/fengsui/firmware/config"
	"github.com/fengsui/fengsui/firmware/fingerprint"
	"github.com/fengsui/fengsui/firmware/fingers"
	"github.com/fengsui/fengsui/firmware/spool"
	"github.com/fengsui/fengsui/firmware/wire"
)

// Keys of the spool's state.
const (
	officerState    = "officer"      // who is signed on
	fingerLockState = "finger_lock"  // see lockState
	fingerToldState = "fingers_told" // number of the last change of the roster that is an event
)

// fingerState is what the loop keeps of fingers.
type fingerState struct {
	lock   fingers.Lock
	told   uint64        // as fingerToldState, or about to be
	asked  chan<- string // somebody waits for a finger that may allow a change; nil: nobody
	permit string        // who allowed changes last
	until  time.Duration // when that ends
	broken error         // why there is no roster; set by Run before the loop
}

// lockState is the lock's state on the disk, as JSON.
type lockState struct {
	Fails  int  `json:"fails"`
	Times  int  `json:"times"`
	Locked bool `json:"locked"`
}

// openFingers opens the roster and makes the reader; it returns what closes
// them. A device whose roster cannot be read still takes alarms: then no finger
// counts.
func (a *Agent) openFingers() func() {
	f := a.cfg.Fingerprint
	opt := fingerprint.Options{Password: f.Password, MinScore: f.MinScore, NoRing: !*f.Ring, Log: a.log}
	roster, err := fingers.Open(a.cfg.Data, f.Officers)
	if err == nil {
		a.roster = roster
		if *f.OwnPassword {
			opt.Secret, err = roster.Secret()
		}
	}
	if err != nil {
		a.log.Error("fingers", "err", err)
		a.finger.broken = err
	}
	a.reader = fingerprint.NewReader(opt)
	if roster != nil {
		a.clerk.Store(&fingers.Clerk{Reader: a.reader, Roster: roster})
	}
	return func() {
		a.clerk.Store(nil)
		if roster != nil {
			_ = roster.Close() // nothing is unwritten
		}
	}
}

// startFingers goes on where the last start ended.
func (a *Agent) startFingers() {
	if a.reader == nil {
		return
	}
	if err := a.finger.broken; err != nil {
		a.faultBegan(faultRoster, err.Error())
	}
	l := a.cfg.Fingerprint.Lockout
	a.finger.lock = fingers.Lock{After: l.After, For: time.Duration(l.For), Max: time.Duration(l.Max)}
	state, err := a.spool.State()
	if err != nil {
		a.log.Error("fingers: state not read", "err", err)
		return
	}
	var s lockState
	if err := json.Unmarshal(state[fingerLockState], &s); err == nil {
		a.finger.lock.Restore(s.Fails, s.Times, s.Locked, a.clock.Mono())
	}
	if a.finger.lock.Locked(a.clock.Mono()) {
		a.locked()
	}
	a.finger.told, _ = strconv.ParseUint(string(state[fingerToldState]), 10, 64)
	if a.roster != nil {
		if err := a.roster.Told(a.finger.told); err != nil {
			a.log.Warn("fingers", "err", err)
		}
		a.tellFingers()
	}
}

// watchFingerprint runs the reader until ctx ends. One that is silent at the
// configured speed is looked for at others.
func (a *Agent) watchFingerprint(ctx context.Context) {
	configured := a.cfg.Fingerprint.Baud
	baud := configured
	open := func(ctx context.Context) (io.ReadWriteCloser, error) { return a.ports.Fingerprint(ctx, baud) }
	a.reopen(ctx, open, func(err error) {
		a.post(ctx, a.other, func() { a.fingerLost(err) })
	}, func(port io.ReadWriteCloser) error {
		ready := false
		err := a.reader.Run(ctx, port, func(e fingerprint.Event) {
			to := a.other
			switch e.Kind {
			case fingerprint.Ready:
				ready = true
				now := baud
				a.post(ctx, a.other, func() { a.atBaud(now, configured) })
			case fingerprint.Matched:
				to = a.urgent // it may be under duress
			}
			a.post(ctx, to, func() { a.fingerEvent(e) })
		})
		if !ready && errors.Is(err, fingerprint.ErrTimeout) {
			if found, ferr := fingerprint.FindBaud(ctx, a.ports.Fingerprint, baud, fingerprint.Options{Password: a.cfg.Fingerprint.Password}); ferr == nil {
				baud = found
			}
		}
		return err
	})
}

// atBaud tells a sensor that was found at another speed.
func (a *Agent) atBaud(baud, configured int) {
	if baud == configured {
		a.faultEnded(faultBaud)
		return
	}
	a.faultBegan(faultBaud, fmt.Sprintf("the sensor answers at %d baud, and not at %d as configured: it works; write baud: %d", baud, configured, baud))
}

// fingerLost tells why there is no sensor.
func (a *Agent) fingerLost(err error) {
	code := faultFingerprint
	switch {
	case errors.Is(err, fingerprint.ErrForeign):
		code = faultReplaced
	case errors.Is(err, fingerprint.ErrPassword):
		code = faultPassword
	}
	for _, other := range []string{faultFingerprint, faultReplaced, faultPassword} {
		if other != code {
			a.faultEnded(other)
		}
	}
	a.faultBegan(code, err.Error())
}

// fingerEvent takes what happened at the reader.
func (a *Agent) fingerEvent(e fingerprint.Event) {
	switch e.Kind {
	case fingerprint.Ready:
		for _, code := range []string{faultFingerprint, faultReplaced, faultPassword} {
			a.faultEnded(code)
		}
	case fingerprint.Matched:
		a.matched(e.Match)
	case fingerprint.NoMatch:
		a.failed("no_match", e.Match)
	case fingerprint.Weak:
		a.failed("weak_match", e.Match)
	case fingerprint.Unreadable:
		a.refuse("unreadable", e.Match) // dirt is no attempt
	case fingerprint.Refused:
		a.log.Warn("fingerprint reader's answer not believed", "err", e.Err)
		a.failed("not_believed", e.Match)
	case fingerprint.Stuck:
		a.faultBegan(faultFinger, "something lies on the reader")
	case fingerprint.Freed:
		a.faultEnded(faultFinger)
	}
}

// matched takes a finger that the sensor knows. It resets the alarms that are
// latched; with none latched it signs the officer on, or off at the second
// match, which at a box is a check-in of a guard round, too: the centre counts
// a sign-on there as one by itself. A duress finger does all that, and raises its alarm first, whatever
// else becomes of it.
func (a *Agent) matched(m fingerprint.Match) {
	var f fingers.Finger
	known := false
	if a.roster != nil {
		f, known = a.roster.Lookup(m.Slot)
	}
	if known && f.Duress {
		a.duress(f.Officer)
	}
	switch {
	case a.finger.lock.Locked(a.clock.Mono()):
		a.refuse("locked", m)
		return
	case !known:
		a.failed("unknown_slot", m)
		return
	}
	before := a.lockKV()
	a.finger.lock.Matched()
	var kv []spool.KV
	if after := a.lockKV(); string(after.Value) != string(before.Value) {
		kv = append(kv, after)
	}
	if a.finger.asked != nil {
		if !f.Role.MayEnrol() {
			a.refuse("not_authorised", m, kv...)
			return
		}
		a.reader.Show(fingerprint.SignalDone)
		a.allow(f.Officer)
		return
	}
	a.reader.Show(fingerprint.SignalDone)
	reset := false
	for button, p := range a.latches {
		if !hidden(button) {
			reset = true
			a.clear(button, &wire.AlarmCleared{Alarm: p.Alarm, By: wire.ClearedByOfficer, Officer: f.Officer}, kv...)
		}
	}
	switch {
	case reset:
	case f.Officer == a.officer:
		if a.cfg.Profile == config.AlarmBox {
			a.checkIn(a.stamp(), &wire.CheckIn{By: wire.CheckInFinger, Officer: f.Officer})
		}
		a.signOff("finger", kv...)
	default:
		if a.officer != "" {
			a.signOff("relieved")
		}
		a.signOn(f.Officer, m, kv...)
	}
}

// failed refuses a finger, and counts it.
func (a *Agent) failed(reason string, m fingerprint.Match) {
	now := a.clock.Mono()
	if a.finger.lock.Locked(now) {
		a.refuse("locked", m)
		return
	}
	locked := a.finger.lock.Failed(now)
	a.refuse(reason, m, a.lockKV())
	if locked {
		a.locked()
	}
}

// locked tells that no finger counts for a while.
func (a *Agent) locked() {
	left := (a.finger.lock.Until - a.clock.Mono()).Round(time.Second)
	a.faultBegan(faultLocked, fmt.Sprintf("too many fingers were refused: none counts for %v", left))
	a.reader.Show(fingerprint.SignalLocked)
}

// checkFingerLock ends a lock whose time has come.
func (a *Agent) checkFingerLock() {
	if a.reader != nil && a.finger.lock.Ended(a.clock.Mono()) {
		a.faultEnded(faultLocked, a.lockKV())
		a.reader.Show(fingerprint.SignalReady)
	}
}

func (a *Agent) lockKV() spool.KV {
	l := &a.finger.lock
	v, err := json.Marshal(lockState{l.Fails, l.Times, l.Locked(a.clock.Mono())})
	if err != nil {
		panic(fmt.Sprintf("agent: finger lock: %v", err)) // a struct of plain members
	}
	return spool.KV{Key: fingerLockState, Value: v}
}

func (a *Agent) refuse(reason string, m fingerprint.Match, state ...spool.KV) {
	a.reader.Show(fingerprint.SignalRefused)
	a.store(a.stamp(), wire.Duty, &wire.SignRefused{Reason: reason, Slot: uint64(max(m.Slot, 0)), Score: uint64(max(m.Score, 0))}, nil, state...)
}

func (a *Agent) signOn(officer string, m fingerprint.Match, state ...spool.KV) {
	a.officer = officer // the event's own stamp names the officer already
	a.store(a.stamp(), wire.Duty, &wire.SignOn{Officer: officer, Slot: uint64(m.Slot), Score: uint64(m.Score)}, a.showVisit,
		append(state, spool.KV{Key: officerState, Value: []byte(officer)})...)
	a.showTasks()
}

func (a *Agent) signOff(reason string, state ...spool.KV) {
	if a.doing.Doing == wire.DoingBusy { // who was busy leaves; who comes is not
		a.setDoing(wire.DoingNothing, "")
	}
	a.store(a.stamp(), wire.Duty, &wire.SignOff{Officer: a.officer, Reason: reason}, nil, append(state, spool.KV{Key: officerState})...)
	a.officer = ""
}
