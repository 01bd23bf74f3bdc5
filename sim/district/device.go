package district

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/fengsui/fengsui/firmware/agent"
	"github.com/fengsui/fengsui/firmware/config"
	"github.com/fengsui/fengsui/firmware/modem/modemtest"
	"github.com/fengsui/fengsui/sim/child"
	"github.com/fengsui/fengsui/sim/lampwatch"
	"github.com/fengsui/fengsui/sim/ledger"
	"github.com/fengsui/fengsui/sim/line"
	"github.com/fengsui/fengsui/sim/link"
	"github.com/fengsui/fengsui/sim/mono"
	"github.com/fengsui/fengsui/sim/scenario"
	"github.com/fengsui/fengsui/sim/tty"
)

// Errors of what a hand can do to a device.
var (
	ErrNoDevice = errors.New("no such device")
	ErrNoButton = errors.New("no such button")
	ErrNoPart   = errors.New("the device has no such part")
	ErrHeld     = errors.New("the button is held")
	ErrClosed   = errors.New("the district is closed")
)

const (
	// between is how long a contact stays open between two presses.
	between = 200 * time.Millisecond
	// respawn is how long a device whose process ended by itself is down, as
	// systemd would have it.
	respawn = time.Second
)

// A Device is one device of the district: its process, and the world around it.
type Device struct {
	ID   string
	Spec scenario.Device

	args    []string // of its process
	screen  string   // address of the officer's, with its token; "": none
	dir     string   // of its data, its card; "" on a virtual board
	twin    twin
	rig     Rig // plays the outsides of a real device; nil: the device is a process of ours
	real    realRun
	sockets string      // folder of a virtual board's; "": none
	key     chan string // gets the public key that a virtual board has made
	log     *slog.Logger
	logPath string
	spawn   *spawner
	starter Starter
	ledger  *ledger.Ledger
	changed func() // tells that something can be seen
	lines   map[string]string
	link    *link.Link
	gps     *receiver        // nil: none
	finger  *reader          // nil: none
	modem   *modemtest.Modem // nil: none
	ports   []*tty.Port
	buttons map[string]*contact
	tripped map[string]bool // inputs, by role; guarded by mu
	lying   chan struct{}   // holds a token while no finger lies on the reader
	quit    chan struct{}   // closed by close
	wg      sync.WaitGroup
	supply  sync.Mutex // one change of the power at a time

	mu      sync.Mutex
	rng     *rand.Rand
	clock   string // what its system clock shows; "": right
	closed  bool
	power   bool
	proc    *process
	crashes int
	out     *outputs
	status  *agent.Status
	seen    time.Duration // when the status was told
}

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

// sleep returns early when the device is closed.
func (d *Device) sleep(lasts time.Duration) {
	t := time.NewTimer(lasts)
	defer t.Stop()
	select {
	case <-t.C:
	case <-d.quit:
	}
}

// later does something after a while, or when the device is closed.
func (d *Device) later(after time.Duration, f func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return
	}
	d.wg.Go(func() {
		d.sleep(after)
		f()
	})
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

// send writes a command to the process, if there is one. The caller holds d.mu.
func (d *Device) send(c child.Command) {
	if d.rig != nil {
		d.sendRig(c)
		return
	}
	if d.proc == nil {
		return // no power: the contact moves, and nobody sees it
	}
	if err := json.NewEncoder(d.proc.stdin).Encode(c); err != nil {
		d.log.Debug("command not sent", "err", err) // the process has just ended
	}
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

// PowerCut kills the process as a power cut does, the receiver and the reader
// with it. Without power it does nothing.
func (d *Device) PowerCut() {
	d.supply.Lock()
	defer d.supply.Unlock()
	d.mu.Lock()
	p := d.proc
	was := d.power
	d.power, d.proc = false, nil
	at := mono.Now()
	if p != nil {
		p.die()
	}
	if d.rig != nil && was {
		d.rig.Power(false)
		d.real.over = true
	}
	d.mu.Unlock()
	if !was {
		return
	}
	d.log.Info("power cut")
	if d.gps != nil {
		d.gps.power(false)
	}
	if d.finger != nil {
		d.finger.power(false)
	}
	if p != nil {
		<-p.exited
	}
	d.ended(at)
}

// ended enters that the process is gone since a time.
func (d *Device) ended(at time.Duration) {
	d.ledger.RunEnded(d.ID, at)
	d.mu.Lock()
	d.out.dark(at)
	d.status = nil
	d.mu.Unlock()
	d.changed()
}

// PowerRestore starts a process on the same data. With power it does nothing.
func (d *Device) PowerRestore() error {
	d.supply.Lock()
	defer d.supply.Unlock()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.power || d.closed {
		return nil
	}
	d.log.Info("power restored")
	d.power = true
	return d.boot()
}

// boot starts the process. The caller holds d.mu.
func (d *Device) boot() error {
	if d.rig != nil {
		d.bootRig()
		return nil
	}
	for _, p := range d.ports {
		if err := p.Reset(); err != nil {
			return err
		}
	}
	p, err := d.spawn.start(d.starter(d.args[0], d.args[1:]...), d.logPath, d.read)
	if err != nil {
		d.power = false
		return err
	}
	d.proc = p
	for name, c := range d.buttons {
		if c.closed || c.wire != Sound {
			d.sendButton(name, c)
		}
	}
	for _, role := range d.Spec.Inputs {
		d.send(d.inputCommand(role))
	}
	if d.clock != "" {
		d.send(child.Command{Clock: d.clock})
	}
	if d.modem != nil {
		d.modem.Restart()
	}
	d.send(child.Command{Start: true})
	if d.gps != nil {
		d.gps.power(true)
	}
	if d.finger != nil {
		d.finger.power(true)
	}
	d.wg.Go(func() { d.mind(p) })
	return nil
}

// mind starts the process again when it ends by itself.
func (d *Device) mind(p *process) {
	<-p.exited
	d.mu.Lock()
	mine := d.proc == p && !d.closed
	if mine {
		d.proc = nil
		d.crashes++
	}
	d.mu.Unlock()
	if !mine {
		return
	}
	d.log.Error("the device's process ended by itself", "err", p.err, "log", d.logPath)
	d.ended(mono.Now())
	d.sleep(respawn)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.power && d.proc == nil && !d.closed {
		if err := d.boot(); err != nil {
			d.log.Error("the device does not start again", "err", err)
		}
	}
}

// read takes a process's reports until its output ends.
func (d *Device) read(out io.Reader) {
	for dec := json.NewDecoder(bufio.NewReader(out)); ; {
		var r child.Report
		if err := dec.Decode(&r); err != nil {
			_, _ = io.Copy(io.Discard, out) // a killed process leaves half a line
			return
		}
		if r.Key != "" {
			select {
			case d.key <- r.Key:
			default: // it is known already
			}
		}
		if r.Began {
			d.ledger.RunEnded(d.ID, r.At) // of one that the board itself started again
			d.ledger.RunBegan(ledger.Run{Device: d.ID, Began: r.At, Stream: r.Status.Stream, Boot: r.Status.Boot})
		}
		if r.Status != nil && !r.Began {
			d.ledger.StreamBegan(d.ID, r.Status.Stream)
		}
		d.mu.Lock()
		if r.Status != nil {
			d.status, d.seen = r.Status, r.At
		} else {
			d.out.edge(r)
		}
		d.mu.Unlock()
		d.changed()
	}
}

// Crashes returns how often the process ended by itself.
func (d *Device) Crashes() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.crashes
}

// Lamps returns what the lamps tell now, and told since a time; and what they
// may tell instead.
func (d *Device) Lamps(since time.Duration) ([]lampwatch.Span, []lampwatch.View) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := mono.Now()
	return d.out.watch.History(since, now), d.out.watch.Doubts(now)
}

// Red returns the first edge at or after a time that lit the red lamp.
func (d *Device) Red(since time.Duration) (time.Duration, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.out.redAfter(since)
}

// Siren returns when the siren first sounded, or was silent, at or after a time.
func (d *Device) Siren(sounds bool, since time.Duration) (time.Duration, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.out.sounded(sounds, since)
}

// Connected reports whether the agent has heard the centre on its connection.
func (d *Device) Connected() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.status != nil && d.status.Heard
}

// Reachable reports whether the device has power and a link.
func (d *Device) Reachable() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.power && d.link.State() == link.Up
}

// close ends everything of the device.
func (d *Device) close(giveUp <-chan struct{}) error {
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return nil
	}
	d.closed = true
	close(d.quit)
	p, second := d.proc, d.twin.proc
	d.proc, d.twin.proc = nil, nil
	d.mu.Unlock()
	if second != nil {
		second.ask(giveUp)
	}
	if p != nil {
		p.ask(giveUp)
		d.ledger.RunEnded(d.ID, mono.Now())
	}
	if d.gps != nil {
		d.gps.halt()
	}
	var err error
	if d.link != nil {
		err = d.link.Close()
	}
	for _, port := range d.ports {
		err = errors.Join(err, port.Close())
	}
	if d.rig != nil {
		err = errors.Join(err, d.rig.Close())
	}
	if d.sockets != "" {
		err = errors.Join(err, os.RemoveAll(d.sockets))
	}
	if d.finger != nil {
		d.finger.wait()
	}
	d.wg.Wait()
	return err
}

// writeFile writes a file that only the owner reads.
func writeFile(dir, name string, b []byte) (string, error) {
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		return "", fmt.Errorf("district: %w", err)
	}
	return path, nil
}
