// Package line emulates GPIO lines in a process: the inside is a periph
// gpio.PinIO that the shipping agent drives, the outside is what a person's
// hand or a lamp would be.
//
// The inside behaves as periph's gpioioctl driver does, its surprises
// included: WaitForEdge(0) waits for ever, a negative timeout returns at once,
// reading an output turns it into an input, and setting an output up drives it
// low for a moment. Where the driver leans on the kernel, the emulation does
// as the kernel's line requests do: 16 edges wait for a reader, and the oldest
// is dropped for a newer one (Linux, GPIO character device userspace API v2).
//
// The package has no electrical model but one switch and one pull a line, no
// PWM, and no debouncing in the kernel.
package line

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"periph.io/x/conn/v3/gpio"
	"periph.io/x/conn/v3/physic"
	"periph.io/x/conn/v3/pin"
)

// A Drive is what the outside does to a line.
type Drive string

// The drives. An open line follows its pull.
const (
	Open Drive = "open"
	Low  Drive = "low"
	High Drive = "high"
)

// ErrDrive means that a drive is none of open, low, high.
var ErrDrive = errors.New("want open, low or high")

// backlog is how many edges the kernel keeps for a reader of one line.
const backlog = 16

// A Bank is a set of lines, made as they are first named.
type Bank struct {
	now  func() time.Duration
	edge func(name string, level gpio.Level, at time.Duration)

	mu    sync.Mutex
	lines map[string]*Line
}

// NewBank returns an empty bank. edge is called for every change of an output's
// level, in its order, with the time at which it happened; it must not block
// and must not call into the bank.
func NewBank(now func() time.Duration, edge func(name string, level gpio.Level, at time.Duration)) *Bank {
	return &Bank{now: now, edge: edge, lines: make(map[string]*Line)}
}

// Line returns the line of a name.
func (b *Bank) Line(name string) *Line {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.lines[name]
	if l == nil {
		l = &Line{bank: b, name: name, number: len(b.lines), outside: Open, queue: make(chan struct{}, backlog)}
		b.lines[name] = l
	}
	return l
}

// A Line is one emulated GPIO line. It implements gpio.PinIO.
type Line struct {
	bank   *Bank
	name   string
	number int
	queue  chan struct{} // edges that nobody has waited for yet

	mu      sync.Mutex
	dir     direction
	edge    gpio.Edge
	pull    gpio.Pull
	outside Drive
	out     gpio.Level // what the output drives
	last    gpio.Level // what an unpulled, undriven line keeps
	halt    chan struct{}
}

type direction uint8

const (
	unset direction = iota
	input
	output
)

// level returns what a voltmeter shows. The caller holds l.mu.
func (l *Line) level() gpio.Level {
	switch {
	case l.dir == output:
		return l.out
	case l.outside == High:
		return gpio.High
	case l.outside == Low:
		return gpio.Low
	case l.pull == gpio.PullUp:
		return gpio.High
	case l.pull == gpio.PullDown:
		return gpio.Low
	}
	return l.last
}

// change runs f and tells of the edge that it made. The caller holds l.mu.
func (l *Line) change(f func()) {
	before := l.level()
	f()
	after := l.level()
	l.last = after
	if after == before {
		return
	}
	if l.dir == output {
		l.bank.edge(l.name, after, l.bank.now())
		return
	}
	if l.edge == gpio.BothEdges || l.edge == gpio.RisingEdge && bool(after) || l.edge == gpio.FallingEdge && !bool(after) {
		for {
			select {
			case l.queue <- struct{}{}:
				return
			default:
			}
			select {
			case <-l.queue: // the oldest makes room
			default:
			}
		}
	}
}

// Drive moves the outside of the line. The error is [ErrDrive].
func (l *Line) Drive(d Drive) error {
	if d != Open && d != Low && d != High {
		return fmt.Errorf("drive %q of line %s: %w", d, l.name, ErrDrive)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.change(func() { l.outside = d })
	return nil
}

// In sets the line up as an input. Edges that wait stay, as they do in the
// kernel when a request is reconfigured.
func (l *Line) In(pull gpio.Pull, edge gpio.Edge) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	// The voltage may change here, but the kernel reports no edge for it.
	l.dir, l.edge, l.pull = input, edge, pull
	l.last = l.level()
	return nil
}

// Read returns the level. A line that is no input becomes one, pulled up and
// without edges: the driver does so.
func (l *Line) Read() gpio.Level {
	l.mu.Lock()
	isInput := l.dir == input
	l.mu.Unlock()
	if !isInput {
		if err := l.In(gpio.PullUp, gpio.NoEdge); err != nil {
			return gpio.Low
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.level()
}

// WaitForEdge waits for an edge: for ever when timeout is 0, not at all when
// it is negative. It returns false at once on a line without edges.
func (l *Line) WaitForEdge(timeout time.Duration) bool {
	l.mu.Lock()
	if l.dir == unset || l.edge == gpio.NoEdge {
		l.mu.Unlock()
		return false
	}
	halt := make(chan struct{})
	l.halt = halt
	l.mu.Unlock()
	if timeout < 0 {
		return false // a deadline in the past wins over edges that wait
	}
	var expired <-chan time.Time
	if timeout > 0 {
		t := time.NewTimer(timeout)
		defer t.Stop()
		expired = t.C
	}
	select {
	case <-l.queue:
		return true
	case <-halt:
	case <-expired:
	}
	return false
}

// Halt ends a WaitForEdge in progress.
func (l *Line) Halt() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.halt != nil {
		close(l.halt)
		l.halt = nil
	}
	return nil
}

// Out drives the line. The first call after it was something else drives it
// low for a moment: the driver sets the line up before it sets the value.
func (l *Line) Out(level gpio.Level) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dir != output {
		l.dir, l.edge, l.pull = output, gpio.NoEdge, gpio.PullNoChange
		// An unset line counts as low, so that a lamp is dark before it is driven.
		l.out = l.last
		l.change(func() { l.out = gpio.Low })
	}
	l.change(func() { l.out = level })
	return nil
}

// PWM is not there, as in the driver.
func (l *Line) PWM(gpio.Duty, physic.Frequency) error {
	return errors.New("PWM() not implemented")
}

// Name returns the line's name.
func (l *Line) Name() string { return l.name }

// Number returns the order in which lines were named, from 0.
func (l *Line) Number() int { return l.number }

// String returns the line's name.
func (l *Line) String() string { return l.name }

// Pull returns the pull that In was given.
func (l *Line) Pull() gpio.Pull {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.pull
}

// DefaultPull returns gpio.PullNoChange: the kernel's interface does not tell.
func (l *Line) DefaultPull() gpio.Pull { return gpio.PullNoChange }

// Function returns Func's text.
//
// Deprecated: periph wants it in a pin.
func (l *Line) Function() string { return string(l.Func()) }

// Func returns the line's direction and level.
func (l *Line) Func() pin.Func {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.dir == input && bool(l.level()):
		return gpio.IN_HIGH
	case l.dir == input:
		return gpio.IN_LOW
	case l.dir == output && bool(l.level()):
		return gpio.OUT_HIGH
	case l.dir == output:
		return gpio.OUT_LOW
	}
	return pin.FuncNone
}

var _ gpio.PinIO = (*Line)(nil)
