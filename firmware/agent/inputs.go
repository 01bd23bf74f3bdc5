package agent

import (
	"context"
	"fmt"
	"time"

	"periph.io/x/conn/v3/gpio"

	"github.com/fengsui/fengsui/firmware/button"
	"github.com/fengsui/fengsui/firmware/config"
	"github.com/fengsui/fengsui/firmware/internal/hw"
	"github.com/fengsui/fengsui/firmware/lamp"
	"github.com/fengsui/fengsui/firmware/wire"
)

// openInputs sets up the lines of the inputs.
func openInputs(cfg *config.Config, line func(name string) (gpio.PinIO, error)) (map[string]gpio.PinIn, error) {
	pins := make(map[string]gpio.PinIn)
	for role, in := range cfg.Inputs {
		pin, err := input(line, in.Line, in.Pull)
		if err != nil {
			return nil, fmt.Errorf("input %q: %w", role, err)
		}
		pins[role] = pin
	}
	return pins, nil
}

// input sets up one line to be read.
func input(line func(name string) (gpio.PinIO, error), name, pull string) (gpio.PinIn, error) {
	pin, err := line(name)
	if err != nil {
		return nil, err
	}
	pulls := map[string]gpio.Pull{"up": gpio.PullUp, "down": gpio.PullDown, "none": gpio.Float}
	if err := pin.In(pulls[pull], gpio.BothEdges); err != nil {
		return nil, fmt.Errorf("line %s as an input with pull %s: %w", name, pull, err)
	}
	return pin, nil
}

// openLoop opens a supervised button.
func openLoop(b config.Button, line func(name string) (gpio.PinIO, error)) (button.Loop, error) {
	s := b.Supervised
	if s.ADC != "" {
		read, err := hw.ADC(s.ADC)
		if err != nil {
			return nil, err
		}
		return button.Analog{Read: read, Supply: float64(s.Supply)}, nil
	}
	contact, err := input(line, b.Line, b.Pull)
	if err != nil {
		return nil, err
	}
	window, err := input(line, s.Window, b.Pull)
	if err != nil {
		return nil, fmt.Errorf("supervised: %w", err)
	}
	return button.Pair{Contact: contact, Window: window, Low: b.Active == "high", Inside: s.Inside == "high"}, nil
}

// watchLoop follows a supervised button until ctx ends: a cable that is not
// sound is one fault at a time.
func (a *Agent) watchLoop(ctx context.Context, name string, l button.Loop, tell func(button.Kind)) {
	faults := map[button.Kind]struct{ code, detail string }{
		button.Cut:     {faultLoopCut + ":" + name, "the cable is cut, or its end-of-line resistor is gone"},
		button.Shorted: {faultLoopShort + ":" + name, "the cable is shorted"},
		button.Unread:  {faultLoopUnread + ":" + name, "the analogue input cannot be read"},
	}
	button.WatchLoop(ctx, l, button.Timing{}, func(k button.Kind) {
		if _, cable := faults[k]; !cable && k != button.Mended {
			tell(k)
			return
		}
		a.post(ctx, a.other, func() {
			for other, f := range faults {
				if other != k {
					a.faultEnded(f.code)
				}
			}
			if f, bad := faults[k]; bad {
				a.faultBegan(f.code, f.detail)
			}
		})
	}, func(err error) { a.log.Debug("button not measured", "button", name, "err", err) })
}

// watchInput follows one input until ctx ends.
func (a *Agent) watchInput(ctx context.Context, role string) {
	in := a.cfg.Inputs[role]
	pin, active := a.ports.Inputs[role], gpio.Level(in.Active == "high")
	if role == config.TestKey {
		a.watchTestKey(ctx, pin, active)
		return
	}
	if role == config.CheckIn {
		a.watchCheckIn(ctx, pin, active)
		return
	}
	fault := map[string]struct{ code, detail string }{
		config.Tamper:     {faultTamper, "the box is open, or its tamper loop is cut"},
		config.Mains:      {faultMains, "the mains is lost: it runs on its battery"},
		config.BatteryLow: {faultBattery, "the battery will not last"},
	}[role]
	button.WatchContact(ctx, pin, active, time.Duration(in.Hold), func(on bool) {
		a.post(ctx, a.other, func() {
			if on {
				a.faultBegan(fault.code, fault.detail)
			} else {
				a.faultEnded(fault.code)
			}
		})
	})
}

// testKeyLimit is how long the technician's key makes tests of presses. A key
// that is forgotten in its switch must not make a drill of somebody's need.
const testKeyLimit = 30 * time.Minute

// watchTestKey follows the key switch as a button is followed: it counts as
// soon as a press does, goes the same way to the loop, and one that is found
// turned, or stays so, or chatters, makes no tests.
func (a *Agent) watchTestKey(ctx context.Context, pin gpio.PinIn, active gpio.Level) {
	button.Watch(ctx, pin, active, button.Timing{Stuck: testKeyLimit}, func(k button.Kind) {
		a.post(ctx, a.urgent, func() {
			switch k {
			case button.Pressed:
				a.setDrill(func() { a.testKey = true })
			case button.Released:
				a.setDrill(func() { a.testKey = false })
			case button.Stuck, button.Noisy:
				a.setDrill(func() { a.testKey = false })
				a.faultBegan(faultTestKey, "the key was turned for too long, or before the start: presses are real alarms")
			case button.Freed, button.Quiet:
				a.faultEnded(faultTestKey)
			}
		})
	})
}

// roundApart is how long after a check-in the switch makes no other: who
// presses twice has come by once.
const roundApart = 10 * time.Second

// watchCheckIn follows a guard round's button or key switch. A visit is
// durable before it is told or shown, as everything is. One more press of the
// same visit shows anew how far that is.
func (a *Agent) watchCheckIn(ctx context.Context, pin gpio.PinIn, active gpio.Level) {
	const code = faultButton + ":" + config.CheckIn
	last := -roundApart // when it made the last; the loop's
	button.Watch(ctx, pin, active, button.Timing{}, func(k button.Kind) {
		at := stamp{mono: a.clock.Mono(), wall: a.clock.Wall()} // before anything waits for the loop
		a.post(ctx, a.other, func() {
			switch k {
			case button.Pressed:
				if at.mono-last >= roundApart {
					last = at.mono
					at.officer, at.drill = a.officer, a.drilling()
					a.checkIn(at, &wire.CheckIn{By: wire.CheckInButton, Button: config.CheckIn})
				} else {
					a.visit.until = a.clock.Mono() + visitShown
				}
			case button.Stuck, button.Noisy:
				a.faultBegan(code, "the guard round's switch stays closed, or chatters")
			case button.Freed, button.Quiet:
				a.faultEnded(code)
			}
		})
	})
}

// checkIn stores that somebody on a guard round came by, and of a device that
// moves where that was.
func (a *Agent) checkIn(at stamp, b *wire.CheckIn) {
	if a.cfg.Profile != config.AlarmBox {
		b.Position = a.position()
	}
	a.store(at, wire.Duty, b, a.showVisit)
}

// visitShown is for how long the lamps tell of a visit, from its storing, and
// again from the centre's word: who comes by waits no longer.
const visitShown = 8 * time.Second

// A visit of a guard round is what the lamps tell of.
type visit struct {
	event place
	step  lamp.Step     // Idle: of none
	until time.Duration // Mono
}

// showVisit has a box's lamps tell of the visit whose event was just stored.
func (a *Agent) showVisit(seq uint64) {
	if a.cfg.Profile == config.AlarmBox {
		a.visit = visit{place{a.spool.Stream(), seq}, lamp.Stored, a.clock.Mono() + visitShown}
	}
}

// visitCommitted takes that the centre's database holds the duty lane of a
// stream up to a number.
func (a *Agent) visitCommitted(stream wire.StreamID, upTo uint64) {
	if v := &a.visit; v.step == lamp.Stored && v.event.stream == stream && v.event.seq <= upTo {
		v.step = lamp.CentreHas
		if now := a.clock.Mono(); now < v.until { // somebody may still look
			v.until = now + visitShown
		}
	}
}

// visitStep is what the lamps tell of a visit now.
func (a *Agent) visitStep() lamp.Step {
	if a.clock.Mono() >= a.visit.until {
		return lamp.Idle
	}
	return a.visit.step
}
