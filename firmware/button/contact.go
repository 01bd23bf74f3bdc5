package button

import (
	"context"
	"time"

	"periph.io/x/conn/v3/gpio"
)

// A Contact is the state machine of a line that tells of a state and not of a
// press: a tamper switch, a mains relay, a battery's low-voltage output. It is
// fed reads.
//
// It counts the time for which the line was active, takes away the time for
// which it was not, and changes over when the count reaches either end: a
// flicker is nothing, and a contact that chatters is what it mostly is. At the
// start a line counts as inactive until it is found to be active.
type Contact struct {
	hold  time.Duration
	began bool
	at    time.Duration // of the last read
	raw   bool          // what it gave
	count time.Duration // 0 to hold
	on    bool
}

// NewContact returns a state machine that has seen no read. A change counts
// when it has lasted for hold, and over at least four reads.
func NewContact(hold time.Duration) *Contact { return &Contact{hold: hold} }

// Read takes the line's level at a time that never goes back, and reports
// whether that changes the state.
func (c *Contact) Read(at time.Duration, active bool) (changed bool) {
	same, passed := c.began && active == c.raw, at-c.at
	c.began, c.at, c.raw = true, at, active
	if !same {
		return false // somewhere between the two reads it changed
	}
	passed = min(passed, c.hold/(agree-1)+1) // a process that stood still has seen nothing in between
	if active {
		c.count = min(c.count+passed, c.hold)
	} else {
		c.count = max(c.count-passed, 0)
	}
	if c.on && c.count == 0 || !c.on && c.count == c.hold {
		c.on = !c.on
		return true
	}
	return false
}

// On returns the state.
func (c *Contact) On() bool { return c.on }

// Settling reports whether the next read should come soon.
func (c *Contact) Settling() bool {
	return !c.began || c.raw != c.on || c.on && c.count < c.hold || !c.on && c.count > 0
}

// WatchContact reads a line until ctx ends, and calls tell with each change of
// its state, from one goroutine. The pin must have been set up as for [Watch].
func WatchContact(ctx context.Context, pin gpio.PinIn, active gpio.Level, hold time.Duration, tell func(on bool)) {
	c := NewContact(hold)
	t := Timing{}.withDefaults()
	sample := min(max(hold/20, t.Sample), t.Poll)
	start := time.Now()
	for ctx.Err() == nil {
		read := time.Now()
		if c.Read(read.Sub(start), pin.Read() == active) {
			tell(c.On())
		}
		if !c.Settling() {
			pin.WaitForEdge(t.Poll)
		}
		sleep(ctx, sample-time.Since(read))
	}
}
