package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"time"

	"periph.io/x/conn/v3/gpio"

	"github.com/fengsui/fengsui/firmware/agent"
	"github.com/fengsui/fengsui/firmware/config"
	"github.com/fengsui/fengsui/sim/line"
	"github.com/fengsui/fengsui/sim/mono"
)

const (
	// edgeWait is how long one wait for an edge lasts: so late a rig may end, and
	// so late a level is read again that had no edge.
	edgeWait = 50 * time.Millisecond
	// pollEvery is how often a line is read that has no interrupts.
	pollEvery = 5 * time.Millisecond
	// waiting is how many trains may wait for a contact.
	waiting = 64
)

// A Rig is an opened wiring: a district.Rig. Make it with Open.
type Rig struct {
	gps, finger io.ReadWriteCloser // nil: none
	contacts    map[string]*contact
	power       *contact // nil: none
	lamps       map[string]*lamp
	done        chan struct{} // closed by Close
	wg          sync.WaitGroup
	tell        sync.Mutex // keeps the order of edges of several lines

	mu     sync.Mutex
	closed bool
	err    error // the first failure to drive a line
}

type contact struct {
	name  string
	pin   gpio.PinIO
	high  bool // closed by a high level
	queue chan line.Train
}

// set closes or opens the contact.
func (c *contact) set(closed bool) error {
	var err error
	switch {
	case c.high:
		err = c.pin.Out(gpio.Level(closed))
	case closed:
		err = c.pin.Out(gpio.Low)
	default:
		err = c.pin.In(gpio.PullNoChange, gpio.NoEdge)
	}
	if err != nil {
		return fmt.Errorf("bench: %s: line %s: %w", c.name, c.pin.Name(), err)
	}
	return nil
}

type lamp struct {
	pin   gpio.PinIO
	on    gpio.Level
	polls bool // it has no interrupts
}

// Open opens all lines and ports of a wiring, the contacts open. The function
// lines returns a line by its name; nil means this machine's. The caller closes
// the rig.
func Open(ctx context.Context, w *Wiring, lines func(name string) (gpio.PinIO, error)) (_ *Rig, err error) {
	r := &Rig{contacts: make(map[string]*contact), lamps: make(map[string]*lamp), done: make(chan struct{})}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.Close())
		}
	}()
	for _, role := range slices.Sorted(maps.Keys(w.Lines)) {
		c, err := openContact("lines."+role, w.Lines[role], "low", lines)
		if err != nil {
			return nil, err
		}
		r.contacts[role] = c
	}
	if w.Power != nil {
		if r.power, err = openContact("power", *w.Power, "high", lines); err != nil {
			return nil, err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(w.Lamps)) {
		if r.lamps[name], err = openLamp("lamps."+name, w.Lamps[name], lines); err != nil {
			return nil, err
		}
	}
	ports, err := agent.OpenPorts(&config.Config{
		GPS:         &config.GPS{Port: w.GPS, Baud: w.GPSBaud},
		Fingerprint: &config.Fingerprint{Port: w.Finger, Baud: w.FingerBaud},
	}, lines)
	if err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	if w.GPS != "" {
		if r.gps, err = ports.GPS(ctx); err != nil {
			return nil, fmt.Errorf("bench: gps: %w", err)
		}
	}
	if w.Finger != "" {
		if r.finger, err = ports.Fingerprint(ctx, w.FingerBaud); err != nil {
			return nil, fmt.Errorf("bench: finger: %w", err)
		}
	}
	for _, c := range r.contacts {
		r.wg.Go(func() { r.play(c) })
	}
	return r, nil
}

// openLine opens a line by the firmware's hardware layer, without setting it up.
func openLine(field, name string, lines func(name string) (gpio.PinIO, error)) (gpio.PinIO, error) {
	ports, err := agent.OpenPorts(&config.Config{Lamps: config.Lamps{Red: &config.Line{Line: name}}}, lines)
	if err != nil {
		return nil, fmt.Errorf("bench: %s: %w", field, errors.Unwrap(err))
	}
	pin, ok := ports.Lamps["red"].(gpio.PinIO)
	if !ok {
		return nil, fmt.Errorf("bench: %s: line %s cannot be both an input and an output", field, name)
	}
	return pin, nil
}

func openContact(field string, c Contact, active string, lines func(name string) (gpio.PinIO, error)) (*contact, error) {
	pin, err := openLine(field, c.Line, lines)
	if err != nil {
		return nil, err
	}
	if c.Active != "" {
		active = c.Active
	}
	opened := &contact{name: field, pin: pin, high: active == "high", queue: make(chan line.Train, waiting)}
	return opened, opened.set(false)
}

func openLamp(field string, l Lamp, lines func(name string) (gpio.PinIO, error)) (*lamp, error) {
	pin, err := openLine(field, l.Line, lines)
	if err != nil {
		return nil, err
	}
	pull := map[string]gpio.Pull{"up": gpio.PullUp, "down": gpio.PullDown}
	p, ok := pull[l.Pull]
	if !ok {
		p = gpio.Float
	}
	opened := &lamp{pin: pin, on: gpio.Level(l.Active != "low")}
	if err := pin.In(p, gpio.BothEdges); err != nil {
		opened.polls = true
		if err := pin.In(p, gpio.NoEdge); err != nil {
			return nil, fmt.Errorf("bench: %s: line %s as an input: %w", field, l.Line, err)
		}
	}
	return opened, nil
}

// GPS returns the far end of the receiver's port; nil: none.
func (r *Rig) GPS() io.ReadWriter { return far(r.gps) }

// Finger returns the far end of the sensor's port; nil: none.
func (r *Rig) Finger() io.ReadWriter { return far(r.finger) }

func far(port io.ReadWriteCloser) io.ReadWriter {
	if port == nil {
		return nil
	}
	return port
}

// Play moves the contact of a role, after what was asked of it before.
func (r *Rig) Play(role string, t line.Train) {
	if c := r.contacts[role]; c != nil {
		select {
		case c.queue <- t:
		case <-r.done:
		}
	}
}

// play moves a contact as the trains say, until the rig ends.
func (r *Rig) play(c *contact) {
	for {
		select {
		case t := <-c.queue:
			start := time.Now()
			for _, m := range t {
				if !r.sleep(m.After - time.Since(start)) {
					return
				}
				r.failed(c.set(m.Drive == line.Low))
			}
		case <-r.done:
			return
		}
	}
}

// sleep returns false when the rig has ended.
func (r *Rig) sleep(lasts time.Duration) bool {
	t := time.NewTimer(max(lasts, 0))
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-r.done:
		return false
	}
}

// failed keeps the first error.
func (r *Rig) failed(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil {
		r.err = err
	}
}

// Power closes or opens the relay of the supply, if there is one.
func (r *Rig) Power(on bool) {
	if r.power != nil {
		r.failed(r.power.set(on))
	}
}

// Watch tells what the lamps and the siren show, now and at each change.
func (r *Rig) Watch(edge func(output string, on bool, at time.Duration)) {
	for name, l := range r.lamps {
		r.wg.Go(func() {
			last := false
			for !r.ended() {
				r.tell.Lock()
				if on := l.pin.Read() == l.on; on != last {
					last = on
					edge(name, on, mono.Now())
				}
				r.tell.Unlock()
				if l.polls {
					_ = r.sleep(pollEvery)
				} else {
					l.pin.WaitForEdge(edgeWait)
				}
			}
		})
	}
}

func (r *Rig) ended() bool {
	select {
	case <-r.done:
		return true
	default:
		return false
	}
}

// Close opens all contacts and closes the ports. A second call does nothing.
func (r *Rig) Close() error {
	r.mu.Lock()
	closed := r.closed
	r.closed = true
	r.mu.Unlock()
	if closed {
		return nil
	}
	close(r.done)
	var err error
	for _, port := range []io.Closer{r.gps, r.finger} {
		if port != nil {
			err = errors.Join(err, port.Close())
		}
	}
	r.wg.Wait()
	for _, c := range r.contacts {
		err = errors.Join(err, c.set(false))
	}
	if r.power != nil {
		err = errors.Join(err, r.power.set(false))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return errors.Join(r.err, err)
}
