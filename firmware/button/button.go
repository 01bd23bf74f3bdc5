// Package button turns the level of a push-button's line into presses.
//
// A press is confirmed by several reads in a row that agree, so that contact
// bounce, a lost edge or a failed read (which periph reports as Low) makes no
// alarm; one press is one event however it bounces. A line that stays pressed
// is a fault, not a stream of alarms, and so is one that chatters as no hand
// can. A line that is found pressed at the start is a fault until it has been
// released, and no alarm: nobody saw it being pressed, and a jammed button must
// not raise a new alarm at each start.
//
// A button at the end of a long cable is read through a [Loop], which tells a
// cut or a shorted cable from a press.
//
// The kernel could debounce as well (the GPIO character device, v2, has a line
// attribute for it), but periph's gpioioctl sets none and keeps the line's
// request to itself. Nothing is lost by that: an edge only wakes the reader, and
// the state machine believes levels that it has read.
//
// The package raises no alarm and keeps no latch; it tells what the line did. A
// press that begins and ends while the process does not run leaves no trace.
package button

import (
	"context"
	"time"

	"periph.io/x/conn/v3/gpio"
)

// Watch reads a line until ctx ends and calls tell with what it did, from one
// goroutine. The pin must have been set up with gpio.PinIn.In and both edges.
//
// Only bounded positive timeouts are given to WaitForEdge: its other values
// mean different things to different drivers.
func Watch(ctx context.Context, pin gpio.PinIn, active gpio.Level, t Timing, tell func(Kind)) {
	d := NewDebouncer(t)
	start := time.Now()
	for ctx.Err() == nil {
		read := time.Now()
		if k := d.Read(read.Sub(start), pin.Read() == active); k != 0 {
			tell(k)
		}
		if !d.Settling() {
			pin.WaitForEdge(d.t.Poll)
		}
		// The line is read every Sample and no faster: not while it bounces, not
		// on a line that makes edges without end, and not with a driver that
		// returns at once.
		sleep(ctx, d.t.Sample-time.Since(read))
	}
}

func sleep(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
