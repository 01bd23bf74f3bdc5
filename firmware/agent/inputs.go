package agent

import (
	"context"
	"fmt"
	"time"

	"periph.io/x/conn/v3/gpio"

	"github.com/fengsui/fengsui/firmware/button"
	"github.com/fengsui/fengsui/firmware/config"
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

// watchInput follows one input until ctx ends.
func (a *Agent) watchInput(ctx context.Context, role string) {
	in := a.cfg.Inputs[role]
	pin, active := a.ports.Inputs[role], gpio.Level(in.Active == "high")
	if role == config.TestKey {
		a.watchTestKey(ctx, pin, active)
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
