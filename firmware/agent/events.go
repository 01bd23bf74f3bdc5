package agent

import (
	"errors"
	"strings"
	"time"

	"github.com/fengsui/fengsui/firmware/spool"
	"github.com/fengsui/fengsui/firmware/wire"
)

// A stamp is what an event says of the moment that it was captured, taken
// before anything waits for a disk.
type stamp struct {
	boot    uint64 // 0: this one
	mono    time.Duration
	wall    wire.Wall
	officer string
	drill   bool
}

func (a *Agent) stamp() stamp {
	return stamp{mono: a.clock.Mono(), wall: a.clock.Wall(), officer: a.officer, drill: a.drilling()}
}

// store makes an event durable, together with the state that goes with it, and
// then calls done with its sequence number. An event that cannot be stored now
// is kept in memory and tried again, in order, before any later one; done and
// whatever it shows wait until it is on the disk.
func (a *Agent) store(at stamp, l wire.Lane, body wire.Body, done func(seq uint64), state ...spool.KV) {
	try := func() error {
		var seq uint64
		var msg []byte
		build := a.seal(at, l, body)
		err := a.withRoom(func() (err error) {
			seq, err = a.spool.Append(l, func(s spool.Slot) ([]byte, error) {
				var err error
				msg, err = build(s)
				return msg, err
			}, state...)
			return err
		})
		if err != nil {
			return err
		}
		a.stored = a.clock.Mono()
		if done != nil {
			done(seq)
		}
		a.textSoon(msg)
		return nil
	}
	queue := &a.unsaved.other
	if l == wire.Alarm {
		queue = &a.unsaved.alarms
	}
	if len(*queue) > 0 { // keep the order
		a.keep(queue, try)
		return
	}
	if err := try(); err != nil {
		a.log.Error("event not stored yet", "lane", l, "body", body.Type(), "err", err)
		if errors.Is(err, wire.ErrMessage) {
			return // it breaks the contract and never will be: a fault of ours, not of the disk
		}
		a.keep(queue, try)
		a.faultBegan(faultStorage, err.Error())
	}
}

// seal returns what makes an event of a body.
func (a *Agent) seal(at stamp, l wire.Lane, body wire.Body) func(spool.Slot) ([]byte, error) {
	return func(s spool.Slot) ([]byte, error) {
		if at.boot != 0 {
			s.Boot = at.boot
		}
		return wire.Seal(&wire.Event{
			Device: a.cfg.Device, Stream: s.Stream, Lane: l, Seq: s.Seq, Prev: s.Prev, Boot: s.Boot,
			Mono: at.mono, Wall: at.wall, Officer: at.officer, Drill: at.drill, Body: body,
		}, a.key)
	}
}

// unsaved is what a disk that refuses has not taken yet. Alarms do not wait
// for the rest, nor the rest for them.
type unsaved struct{ alarms, other []func() error }

// maxUnsaved bounds what waits in memory; alarms are few, so that what is
// given up is track and duty.
const maxUnsaved = 4096

func (a *Agent) keep(queue *[]func() error, try func() error) {
	if len(*queue) >= maxUnsaved {
		a.log.Error("event given up: the spool refuses and memory is full", "waiting", len(*queue))
		return
	}
	*queue = append(*queue, try)
}

func (a *Agent) retryUnsaved() {
	for _, queue := range []*[]func() error{&a.unsaved.alarms, &a.unsaved.other} {
		for len(*queue) > 0 && (*queue)[0]() == nil {
			*queue = (*queue)[1:]
		}
	}
	if len(a.unsaved.alarms)+len(a.unsaved.other) == 0 {
		a.faultEnded(faultStorage)
	}
}

// Fault codes. A code may carry what it concerns behind a colon.
const (
	faultStorage     = "storage"
	faultSecond      = "storage_second"  // alarms have no second home
	faultDamage      = "storage_damaged" // stays until the next start
	faultRefused     = "storage_refused" // the start, again and again; stays until the next one
	faultButton      = "button_stuck"
	faultLamp        = "lamp_failed"   // or the siren: its line cannot be driven
	faultGPS         = "gps_lost"      // nothing is heard of it
	faultNoFix       = "gps_no_fix"    // it is heard, and searches
	faultAntenna     = "gps_antenna"   // :open or :short
	faultJump        = "gps_jump"      // its fixes are not believed
	faultVoice       = "voice_failed"  // a prompt could not be said
	faultElsewhere   = "gps_elsewhere" // the box is not where it was surveyed
	faultGPSSetup    = "gps_setup"     // it did not take its start-up commands
	faultFingerprint = "fingerprint_lost"
	faultFinger      = "fingerprint_stuck"
	faultLocked      = "fingerprint_locked"
	faultPassword    = "fingerprint_password" // the sensor has another than ours
	faultReplaced    = "fingerprint_replaced" // it is another sensor
	faultBaud        = "fingerprint_baud"     // it answers, at another speed than configured
	faultRoster      = "fingerprint_roster"   // whose finger is whose cannot be read; until the next start
	faultCentre      = "centre_silent"
	faultLoopCut     = "button_open"
	faultLoopShort   = "button_short"
	faultLoopUnread  = "button_lost"
	faultTamper      = "tamper"
	faultMains       = "mains_lost"
	faultBattery     = "battery_low"
	faultTestKey     = "test_key_stuck"
	faultVoltage     = "under_voltage"
	faultTerminal    = "terminal_lost" // the officer's screen cannot be served
)

func (a *Agent) faultBegan(code, detail string) {
	if _, known := a.faults[code]; known {
		return
	}
	a.log.Warn("fault", "code", code, "detail", detail)
	a.faults[code] = detail
	a.storeFault(code, true, detail)
}

func (a *Agent) faultEnded(code string, state ...spool.KV) {
	if _, known := a.faults[code]; !known {
		return
	}
	a.log.Info("fault ended", "code", code)
	delete(a.faults, code)
	a.storeFault(code, false, "", state...)
}

func (a *Agent) storeFault(code string, active bool, detail string, state ...spool.KV) {
	const longest = 200 // bytes, far below the contract's bound
	detail = strings.ToValidUTF8(detail[:min(len(detail), longest)], "")
	a.store(a.stamp(), wire.Duty, &wire.Fault{Code: code, Active: active, Detail: detail}, nil, state...)
}
