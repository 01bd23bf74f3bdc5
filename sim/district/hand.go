package district

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/fengsui/fengsui/firmware/config"
	"github.com/fengsui/fengsui/firmware/gps/gpstest"
	"github.com/fengsui/fengsui/sim/child"
	"github.com/fengsui/fengsui/sim/lampwatch"
	"github.com/fengsui/fengsui/sim/ledger"
	"github.com/fengsui/fengsui/sim/line"
	"github.com/fengsui/fengsui/sim/link"
	"github.com/fengsui/fengsui/sim/mono"
	"github.com/fengsui/fengsui/sim/scenario"
)

// between is how long a contact stays open between two presses.
const between = 200 * time.Millisecond

// A contact is a button's outside.
type contact struct {
	turn   chan struct{} // holds a token while nobody uses the button
	closed bool          // guarded by Device.mu
	wire   Wire          // guarded by Device.mu
}

// A Wire is the state of a supervised button's cable.
type Wire string

// The states of a cable; the zero value is sound.
const (
	Sound   Wire = ""
	Cut     Wire = "cut"
	Shorted Wire = "short"
)

// A PressOptions says how a button is pressed.
type PressOptions struct {
	Bounce bool
	Hold   bool          // until Release
	For    time.Duration // 0: scenario.DefaultPress
}

// Press closes a button's contact and returns when it was touched. The contact
// opens by itself unless it is held. A press that follows another waits until
// that is over, or ctx ends.
func (d *Device) Press(ctx context.Context, button string, o PressOptions) (time.Duration, error) {
	c := d.buttons[button]
	if c == nil {
		return 0, fmt.Errorf("%w: %s has no button %q", ErrNoButton, d.ID, button)
	}
	if o.For == 0 {
		o.For = scenario.DefaultPress
	}
	if err := d.take(ctx, c.turn); err != nil {
		return 0, err
	}
	at, rest, moved, err := d.move(button, c, true, o.Bounce)
	if err == nil && !moved {
		err = fmt.Errorf("%w: %s of %s; release it first", ErrHeld, button, d.ID)
	}
	if err != nil || o.Hold {
		c.turn <- struct{}{}
		return at, err
	}
	d.later(rest+o.For, func() {
		if _, rest, moved, err := d.move(button, c, false, o.Bounce); err == nil && moved {
			d.sleep(rest + between)
		}
		c.turn <- struct{}{}
	})
	return at, nil
}

// take waits for a token.
func (d *Device) take(ctx context.Context, token <-chan struct{}) error {
	select {
	case <-token:
		return nil
	case <-d.quit:
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Release opens a button's contact; an open one stays so.
func (d *Device) Release(button string, bounce bool) error {
	c := d.buttons[button]
	if c == nil {
		return fmt.Errorf("%w: %s has no button %q", ErrNoButton, d.ID, button)
	}
	_, _, _, err := d.move(button, c, false, bounce)
	return err
}

// move opens or closes a contact; it returns when that began, how long the
// contact takes to rest, and whether it moved at all.
func (d *Device) move(button string, c *contact, closed, bounce bool) (at, rest time.Duration, moved bool, err error) {
	to, other := line.Open, line.Low
	if closed {
		to, other = other, to
	}
	train := line.Contact(to)
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.closed:
		return 0, 0, false, ErrClosed
	case c.closed == closed:
		return mono.Now(), 0, false, nil
	}
	if bounce {
		train = line.Bounce(to, other, d.rng)
	}
	c.closed = closed
	at = mono.Now()
	switch {
	case c.wire != Sound: // the contact moves, and nobody can see it
		d.changed()
		return at, 0, true, nil
	case closed:
		d.ledger.Pressed(ledger.Press{Device: d.ID, Button: button, At: at, Rest: at + train.Lasts()})
	default:
		d.ledger.Released(d.ID, button, at)
	}
	d.send(child.Command{Line: d.lines[button], Train: train})
	d.changed()
	return at, train.Lasts(), true, nil
}

// Wire cuts, shorts or mends the cable of a supervised button. What is pressed
// at that moment is let go.
func (d *Device) Wire(button string, w Wire) error {
	c := d.buttons[button]
	if c == nil || !d.Spec.Buttons[button].Supervised {
		return fmt.Errorf("%w: %s has no supervised button %q", ErrNoButton, d.ID, button)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return ErrClosed
	}
	if c.closed {
		c.closed = false
		d.ledger.Released(d.ID, button, mono.Now())
	}
	c.wire = w
	d.sendButton(button, c)
	d.log.Info("cable", "button", button, "wire", w)
	d.changed()
	return nil
}

// sendButton drives a button's lines as they are now: behind the comparators of
// a supervised one, a short is below both limits, and a cut above both. The
// caller holds d.mu.
func (d *Device) sendButton(name string, c *contact) {
	to := line.Open
	if c.closed && c.wire == Sound || c.wire == Shorted {
		to = line.Low
	}
	d.send(child.Command{Line: d.lines[name], Train: line.Contact(to)})
	if !d.Spec.Buttons[name].Supervised {
		return
	}
	to = line.Open
	if c.wire != Sound {
		to = line.Low
	}
	d.send(child.Command{Line: windowLine(name), Train: line.Contact(to)})
}

// Trip trips an input, or restores it: a word of the scenario's verb "trip".
func (d *Device) Trip(role string, tripped bool) error {
	if !slices.Contains(d.Spec.Inputs, role) {
		return fmt.Errorf("%w: %s has no input %q", ErrNoPart, d.ID, role)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return ErrClosed
	}
	d.tripped[role] = tripped
	if role == config.TestKey {
		d.out.watch.Allow(lampwatch.Drill)
	}
	d.send(d.inputCommand(role))
	d.log.Info("input", "role", role, "tripped", tripped)
	d.changed()
	return nil
}

// inputCommand drives an input's line as it is now. The caller holds d.mu.
func (d *Device) inputCommand(role string) child.Command {
	to := line.Low
	if d.tripped[role] {
		to = line.Open
	}
	return child.Command{Line: inputLine(role), Train: line.Contact(to)}
}

// apart is how long a reader stays free between two fingers.
const apart = 300 * time.Millisecond

// Finger lays a finger for a while and returns when. Slot 0 is a finger that
// the reader does not know. A finger that follows another waits until that was
// lifted, or ctx ends.
func (d *Device) Finger(ctx context.Context, slot int, lies time.Duration) (time.Duration, error) {
	if d.finger == nil {
		return 0, fmt.Errorf("%w: %s has no fingerprint reader", ErrNoPart, d.ID)
	}
	if lies == 0 {
		lies = scenario.DefaultFinger
	}
	if err := d.take(ctx, d.lying); err != nil {
		return 0, err
	}
	at := mono.Now()
	_, duress := d.Spec.Duress[slot]
	d.ledger.Laid(ledger.Finger{Device: d.ID, Slot: slot, Duress: duress, At: at})
	d.finger.lay(slot)
	d.later(lies, func() {
		d.ledger.Lifted(d.ID, mono.Now())
		d.finger.lift()
		d.sleep(apart)
		d.lying <- struct{}{}
	})
	return at, nil
}

// PlugReader plugs the reader in, or unplugs it. Lay no finger meanwhile: the
// ledger would wait for what comes of it.
func (d *Device) PlugReader(in bool) error {
	if d.finger == nil {
		return fmt.Errorf("%w: %s has no fingerprint reader", ErrNoPart, d.ID)
	}
	d.finger.sensor.Plug(in)
	d.log.Info("reader", "plugged", in)
	return nil
}

// Link cuts, black-holes or restores the way to the centre.
func (d *Device) Link(s link.State) error {
	err := d.link.Set(s)
	d.ledger.Linked(ledger.Link{Device: d.ID, At: mono.Now(), Up: s == link.Up})
	d.log.Info("link", "state", s, "err", err)
	d.changed()
	return err
}

// Drive lets a car go round a route.
func (d *Device) Drive(route scenario.Drive) error {
	return d.feed(func() error { d.gps.drive(route); return nil })
}

// Park lets it stand where it is.
func (d *Device) Park() error { return d.feed(func() error { d.gps.park(); return nil }) }

// SetClock sets its system clock: a word of the scenario's verb "set clock".
func (d *Device) SetClock(word string) error {
	if d.Spec.Virtual() || d.rig != nil {
		return fmt.Errorf("%w: %s has a clock of its own", ErrNoPart, d.ID)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return ErrClosed
	}
	d.clock = word
	d.send(child.Command{Clock: word})
	d.log.Info("system clock", "shows", word)
	return nil
}

// LoseFix blinds its receiver.
func (d *Device) LoseFix() error { return d.feed(func() error { d.gps.blind(); return nil }) }

// Antenna has its receiver say, as its maker's do, that its antenna is OK, OPEN
// or SHORT.
func (d *Device) Antenna(maker, state string) error {
	return d.feed(func() error { d.gps.setAntenna(gpstest.AntennaAs(maker, state)); return nil })
}

// Teleport has its receiver say for a while that it is elsewhere.
func (d *Device) Teleport(to scenario.Place, lasts time.Duration) error {
	return d.feed(func() error { d.gps.teleport(gpstest.Point(to), lasts); return nil })
}

// Replay feeds its receiver a log, at speed times the log's own pace.
func (d *Device) Replay(path string, speed float64) error {
	return d.feed(func() error { return d.gps.replay(path, speed) })
}

func (d *Device) feed(f func() error) error {
	if d.gps == nil {
		return fmt.Errorf("%w: %s has no receiver", ErrNoPart, d.ID)
	}
	err := f()
	d.changed()
	return err
}
