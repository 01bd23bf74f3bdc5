package button

import (
	"context"
	"time"

	"periph.io/x/conn/v3/gpio"
)

// A LoopState is what a supervised loop shows.
type LoopState uint8

// What a loop can show. Only Alarm is a press: a cable that is cut or crushed
// is a fault, and is told before somebody needs the button.
const (
	LoopNormal LoopState = iota + 1 // the end-of-line resistor
	LoopAlarm                       // the resistor of the closed contact beside it
	LoopOpen                        // neither: the cable is cut
	LoopShort                       // no resistor: the cable is crushed, or bridged
)

// String returns the state's name.
func (s LoopState) String() string {
	return [...]string{"unknown", "normal", "alarm", "open", "short", "unknown"}[min(s, 5)]
}

// A Loop is a button at the end of a supervised cable.
//
//	supply ──[ 2.2 kΩ ]──┬───────────── cable ─────────────┬───────────┐
//	                     │                                 │           │
//	                   measured                            │       [ 1.2 kΩ ]
//	                     │                             [ 4.7 kΩ ]      │
//	                  [ 100 nF ]                           │        contact
//	                     │                                 │           │
//	ground ──────────────┴───────────── cable ─────────────┴───────────┘
//
// The three resistors, of 5 % or better, are 2.2 kΩ at the board, and at the
// button 4.7 kΩ across the cable (the end of the line) and 1.2 kΩ in series with
// the contact, which closes. Of the supply the loop shows 68 % at rest and 30 %
// pressed, all of it when the cable is cut and nothing when it is shorted;
// [WindowOf] has the limits between. 100 Ω of cable, 10 kΩ of wet cable and
// 2 kΩ of a tarnished contact do not matter. Put a 3.3 V clamp (two Schottky
// diodes) at the input, and a surge arrester where the cable leaves the house.
//
// A GPIO line knows two levels and cannot tell the four. There are two ways:
// an analogue input ([Analog]), or two GPIO lines behind three comparators of
// an LM339 ([Pair]) that compare with 15 %, 50 % and 84 % of the supply.
type Loop interface {
	// State returns what the loop shows now. The error says why that cannot be
	// told.
	State() (LoopState, error)
	// Wait returns when the state may have changed, and after d at the latest.
	Wait(d time.Duration)
}

// The limits between the states, as parts of the supply.
const (
	shortBelow  = 0.15
	alarmBelow  = 0.50
	normalBelow = 0.84
)

// WindowOf returns the state that a voltage means, as a part of the supply.
func WindowOf(part float64) LoopState {
	switch {
	case part < shortBelow:
		return LoopShort
	case part < alarmBelow:
		return LoopAlarm
	case part < normalBelow:
		return LoopNormal
	}
	return LoopOpen
}

// Analog is a Loop that is measured.
type Analog struct {
	Read   func() (millivolts float64, err error)
	Supply float64 // millivolts
}

// State measures the loop.
func (a Analog) State() (LoopState, error) {
	mv, err := a.Read()
	if err != nil {
		return 0, err
	}
	return WindowOf(mv / a.Supply), nil
}

// analogEvery is how often a loop without edges is measured.
const analogEvery = 10 * time.Millisecond

// Wait waits for as long as a measurement may be old.
func (a Analog) Wait(d time.Duration) { time.Sleep(min(d, analogEvery)) }

// Pair is a Loop behind three comparators. Contact tells the lower half of the
// voltages (pressed or shorted) from the upper (at rest or cut) and has edges;
// Window tells the voltages between 15 % and 84 % from those outside.
type Pair struct {
	Contact, Window gpio.PinIn
	Low             gpio.Level // the level of Contact in the lower half
	Inside          gpio.Level // the level of Window between the limits
}

// State reads both lines.
func (p Pair) State() (LoopState, error) {
	low, inside := p.Contact.Read() == p.Low, p.Window.Read() == p.Inside
	switch {
	case inside && low:
		return LoopAlarm, nil
	case inside:
		return LoopNormal, nil
	case low:
		return LoopShort, nil
	}
	return LoopOpen, nil
}

// Wait waits for an edge of the contact.
func (p Pair) Wait(d time.Duration) { p.Contact.WaitForEdge(d) }

// loopHold is how long a cut, a short or a failing measurement must last, and
// loopMend for how long the loop must be sound again.
const (
	loopHold = 300 * time.Millisecond
	loopMend = time.Second
)

// A LoopDebouncer is the state machine of a loop: that of a button, and one for
// its cable.
type LoopDebouncer struct {
	press *Debouncer
	reads int       // in a row that agree
	raw   LoopState // the last read; 0: it failed
	since time.Duration
	bad   Kind // what was told of the cable, or 0
}

// NewLoopDebouncer returns a state machine that has seen no read.
func NewLoopDebouncer(t Timing) *LoopDebouncer { return &LoopDebouncer{press: NewDebouncer(t)} }

// Read takes the loop's state, 0 when it could not be told, at a time that never
// goes back. It returns what that proves of the button and of the cable, each
// of them or 0.
func (d *LoopDebouncer) Read(at time.Duration, s LoopState) (button, cable Kind) {
	if s != d.raw || d.reads == 0 {
		d.raw, d.since, d.reads = s, at, 0
	}
	d.reads = min(d.reads+1, agree)
	if s != 0 { // a measurement that fails releases no button
		button = d.press.Read(at, s == LoopAlarm)
	}
	kind := map[LoopState]Kind{0: Unread, LoopOpen: Cut, LoopShort: Shorted}[s]
	lasts := at - d.since
	switch {
	case d.reads < agree || kind == d.bad:
	case kind == 0 && lasts >= loopMend:
		d.bad, cable = 0, Mended
	case kind != 0 && lasts >= loopHold:
		d.bad, cable = kind, kind
	}
	return button, cable
}

// Settling reports whether the next read should come soon.
func (d *LoopDebouncer) Settling() bool { return d.press.Settling() || d.reads < agree }

// WatchLoop reads a loop until ctx ends, and calls tell with what the button and
// its cable did, from one goroutine. A new fault of the cable takes the place of
// the one before it. failed, if set, is called with each measurement's error.
func WatchLoop(ctx context.Context, l Loop, t Timing, tell func(Kind), failed func(error)) {
	d := NewLoopDebouncer(t)
	t = t.withDefaults()
	start := time.Now()
	for ctx.Err() == nil {
		read := time.Now()
		s, err := l.State()
		if err != nil {
			s = 0
			if failed != nil {
				failed(err)
			}
		}
		button, cable := d.Read(read.Sub(start), s)
		for _, k := range []Kind{cable, button} {
			if k != 0 {
				tell(k)
			}
		}
		if !d.Settling() {
			l.Wait(t.Poll)
		}
		sleep(ctx, t.Sample-time.Since(read))
	}
}
