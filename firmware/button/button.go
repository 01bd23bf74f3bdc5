// Package button turns the level of a push-button's line into presses.
//
// A press is confirmed by several reads in a row that agree, so that contact
// bounce, a lost edge or a single failed read (which periph reports as Low)
// makes no alarm; one press is one event however it bounces. A line that stays
// pressed is a fault, not a stream of alarms, and a line that is found pressed
// at the start is a fault until it has been released: nobody saw it being
// pressed.
//
// The package raises no alarm and keeps no latch; it tells what the line did.
package button

import (
	"context"
	"time"

	"periph.io/x/conn/v3/gpio"
)

// A Kind is what happened to the line.
type Kind uint8

// What can happen.
const (
	Pressed  Kind = iota + 1 // a confirmed press
	Released                 // the end of one
	Stuck                    // pressed for longer than Timing.Stuck, or at the start
	Freed                    // a stuck line was released
)

// String returns the kind's name.
func (k Kind) String() string {
	return [...]string{"none", "pressed", "released", "stuck", "freed"}[min(k, 4)]
}

// Timing holds the times of the state machine. The zero value of a member
// stands for the default.
type Timing struct {
	// Sample is the time between reads while a change is being confirmed:
	// default 4 ms.
	Sample time.Duration
	// Confirm is how long the line must keep its new level: default 20 ms.
	// Measured switches bounce for 1.6 ms on average and 6.2 ms at worst, one
	// odd switch left aside (J. Ganssle, "A Guide to Debouncing", 2004/2014).
	Confirm time.Duration
	// Stuck is how long a press may last: default 60 s.
	Stuck time.Duration
	// Poll is how often the line is read when no edge comes: default 250 ms. It
	// bounds what a lost edge costs.
	Poll time.Duration
}

func (t Timing) withDefaults() Timing {
	for _, d := range []struct {
		v *time.Duration
		d time.Duration
	}{{&t.Sample, 4 * time.Millisecond}, {&t.Confirm, 20 * time.Millisecond}, {&t.Stuck, time.Minute}, {&t.Poll, 250 * time.Millisecond}} {
		if *d.v <= 0 {
			*d.v = d.d
		}
	}
	return t
}

// A Debouncer is the state machine without the pin: it is fed reads.
type Debouncer struct {
	t Timing

	began   bool          // a first level has been confirmed
	level   bool          // the confirmed level: pressed
	raw     bool          // the last read
	since   time.Duration // when raw last changed
	pressed time.Duration // when the confirmed press began
	stuck   bool
}

// NewDebouncer returns a state machine that has seen no read.
func NewDebouncer(t Timing) *Debouncer { return &Debouncer{t: t.withDefaults()} }

// Read takes the line's level at a time that never goes back, and returns what
// it proves, or 0. After it, Settling says whether to read again soon.
func (d *Debouncer) Read(at time.Duration, pressed bool) Kind {
	if pressed != d.raw {
		d.raw, d.since = pressed, at
	}
	confirmed := at-d.since >= d.t.Confirm
	switch {
	case !d.began && confirmed:
		d.began, d.level, d.stuck = true, d.raw, d.raw
		if d.stuck {
			return Stuck
		}
	case !d.began:
	case confirmed && d.raw != d.level:
		d.level = d.raw
		switch {
		case d.level:
			d.pressed = d.since
			return Pressed
		case d.stuck:
			d.stuck = false
			return Freed
		default:
			return Released
		}
	case d.level && d.raw && !d.stuck && at-d.pressed >= d.t.Stuck:
		d.stuck = true
		return Stuck
	}
	return 0
}

// Settling reports whether the last read differs from the confirmed level, so
// that the next read should come after Timing.Sample.
func (d *Debouncer) Settling() bool { return !d.began || d.raw != d.level }

// Watch reads a line until ctx ends and calls tell with what it did, from one
// goroutine. The pin must have been set up with gpio.PinIn.In and both edges.
//
// Only bounded positive timeouts are given to WaitForEdge: its other values
// mean different things to different drivers.
func Watch(ctx context.Context, pin gpio.PinIn, active gpio.Level, t Timing, tell func(Kind)) {
	d := NewDebouncer(t)
	start := time.Now()
	for ctx.Err() == nil {
		if k := d.Read(time.Since(start), pin.Read() == active); k != 0 {
			tell(k)
		}
		if d.Settling() {
			// A bouncing line makes edges faster than they are worth: sleep.
			sleep(ctx, d.t.Sample)
			continue
		}
		asked := time.Now()
		if !pin.WaitForEdge(d.t.Poll) && time.Since(asked) < d.t.Sample {
			sleep(ctx, d.t.Sample) // a driver that returns at once must not spin
		}
	}
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
