package button

import "time"

// A Kind is what happened to the line.
type Kind uint8

// What can happen.
const (
	Pressed  Kind = iota + 1 // a confirmed press
	Released                 // the end of one
	Stuck                    // pressed for longer than Timing.Stuck, or at the start
	Freed                    // a stuck line was released
	Noisy                    // changes faster, or for longer, than a hand can make it; nothing it does counts
	Quiet                    // a noisy line has rested, and counts again
	Cut                      // a supervised cable is cut
	Shorted                  // a supervised cable is shorted
	Unread                   // a supervised cable cannot be measured
	Mended                   // it is sound again, and can be
)

// String returns the kind's name.
func (k Kind) String() string {
	return [...]string{"none", "pressed", "released", "stuck", "freed", "noisy", "quiet", "cut", "shorted", "unread", "mended", "unknown"}[min(k, 11)]
}

// Timing holds the times of the state machine. The zero value of a member
// stands for the default.
type Timing struct {
	// Sample is the time between reads while a change is being confirmed:
	// default 4 ms.
	Sample time.Duration
	// Confirm is how long the line must keep its new level, over at least four
	// reads: default 20 ms. Measured switches bounce for 1.6 ms on average and
	// 6.2 ms at worst, one odd switch left aside (J. Ganssle, "A Guide to
	// Debouncing", 2004/2014); it is short beside the 80 ms and more that a
	// finger stays on a button.
	Confirm time.Duration
	// Stuck is how long a press may last: default 60 s.
	Stuck time.Duration
	// Poll is how often the line is read when no edge comes: default 50 ms. A
	// press whose edges are all lost is still seen when it lasts for Poll,
	// Confirm and a Sample, 74 ms.
	Poll time.Duration
}

func (t Timing) withDefaults() Timing {
	for _, d := range []struct {
		v *time.Duration
		d time.Duration
	}{{&t.Sample, 4 * time.Millisecond}, {&t.Confirm, 20 * time.Millisecond}, {&t.Stuck, time.Minute}, {&t.Poll, 50 * time.Millisecond}} {
		if *d.v <= 0 {
			*d.v = d.d
		}
	}
	return t
}

const (
	// agree is how many reads in a row make a level certain: a single one may
	// have failed, or two with a busy processor between them.
	agree = 4
	// A hand that hammers makes six or seven presses a second, and soon tires:
	// more than burst presses within window come from a loose wire.
	burst  = 100
	window = 10 * time.Second
	// rest is how long a noisy line must be released before it counts again.
	rest = 2 * time.Second
)

// A Debouncer is the state machine without the pin: it is fed reads.
type Debouncer struct {
	t Timing

	last    time.Duration // of the last read
	reads   int           // in a row that agree; 0 before the first
	raw     bool          // the last read
	since   time.Duration // when raw last changed
	calm    time.Duration // when the line was last certain
	began   bool          // a first level is certain
	level   bool          // the certain level: pressed
	pressed time.Duration // when the press began
	stuck   bool
	noisy   bool
	recent  []time.Duration // the latest presses, at most burst
}

// NewDebouncer returns a state machine that has seen no read.
func NewDebouncer(t Timing) *Debouncer { return &Debouncer{t: t.withDefaults()} }

// Read takes the line's level at a time that never goes back, and returns what
// it proves, or 0. After it, Settling says whether to read again soon.
func (d *Debouncer) Read(at time.Duration, pressed bool) Kind {
	if gap := at - d.last; d.reads > 0 && gap > window/agree {
		d.calm += gap // whoever stood still has seen no chatter meanwhile
	}
	d.last = at
	switch {
	case d.reads == 0:
		d.raw, d.since, d.calm, d.reads = pressed, at, at, 1
	case pressed != d.raw:
		d.raw, d.since, d.reads = pressed, at, 1
	default:
		d.reads = min(d.reads+1, agree)
	}
	certain := d.reads == agree && at-d.since >= d.t.Confirm
	if certain {
		d.calm = at
	}
	switch {
	case d.noisy:
		return d.rest(at, certain)
	case at-d.calm >= window:
		return d.disturb()
	case !certain:
		return 0
	case !d.began:
		d.began, d.level, d.stuck = true, d.raw, d.raw
		if d.stuck {
			return Stuck
		}
		return 0
	case d.raw != d.level:
		return d.change(at)
	case d.level && !d.stuck && at-d.pressed >= d.t.Stuck:
		d.stuck = true
		return Stuck
	}
	return 0
}

// change takes a new certain level.
func (d *Debouncer) change(at time.Duration) Kind {
	d.level = d.raw
	switch {
	case d.level:
		d.pressed = d.since
		if len(d.recent) == burst {
			if at-d.recent[0] < window {
				return d.disturb()
			}
			d.recent = d.recent[1:]
		}
		d.recent = append(d.recent, at)
		return Pressed
	case d.stuck:
		d.stuck = false
		return Freed
	}
	return Released
}

// disturb gives a line up as noisy. A stuck one is that already, and stays so
// until it is freed.
func (d *Debouncer) disturb() Kind {
	d.noisy, d.began, d.recent = true, true, nil
	if d.stuck {
		return 0
	}
	return Noisy
}

// rest waits for a noisy line to come to rest.
func (d *Debouncer) rest(at time.Duration, certain bool) Kind {
	if !certain || d.raw || at-d.since < rest {
		return 0
	}
	d.noisy, d.level = false, false
	if d.stuck {
		d.stuck = false
		return Freed
	}
	return Quiet
}

// Settling reports whether the last read differs from the certain level, so
// that the next read should come after Timing.Sample.
func (d *Debouncer) Settling() bool { return !d.began || d.raw != d.level }
