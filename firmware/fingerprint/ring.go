package fingerprint

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"
)

// A Light is what the ring of light around an R503 shows: the four arguments
// of AuraLedConfig (R503 user manual 1.2.2, "Aura control").
type Light struct {
	Control byte // 1 breathing, 2 flashing, 3 on, 4 off, 5 going on, 6 going off
	Speed   byte // of breathing and flashing: the smaller, the faster
	Colour  byte // 1 red, 2 blue, 3 purple, which every revision has
	Times   byte // 0: for ever
}

// A Signal is something that the ring can tell.
type Signal uint32

// The signals.
const (
	SignalNone    Signal = iota
	SignalReady          // lay a finger
	SignalLocked         // after too many failures: no finger counts for a while
	SignalDone           // the finger was taken
	SignalRefused        // the finger was not taken
	SignalPlace          // enrolment: lay the finger
	SignalLift           // enrolment: lift the finger
)

// Lights are the patterns. They differ in rhythm as well as in colour.
func Lights() map[Signal]Light {
	return map[Signal]Light{
		SignalReady:   {1, 0xC0, 2, 0},
		SignalLocked:  {1, 0x40, 1, 0},
		SignalDone:    {3, 0, 2, 0},
		SignalRefused: {2, 0x20, 1, 3},
		SignalPlace:   {1, 0x60, 3, 0},
		SignalLift:    {2, 0x30, 3, 0},
	}
}

// moment is how long SignalDone and SignalRefused stay.
const moment = 1500 * time.Millisecond

// Show makes the ring tell something, as soon as the loop comes to it:
// SignalDone and SignalRefused for a moment, others until the next. Any
// goroutine may call it. A sensor without a ring ignores it.
func (r *Reader) Show(s Signal) {
	if s == SignalDone || s == SignalRefused {
		r.ring.brief.Store(uint32(s))
	} else {
		r.ring.steady.Store(uint32(s))
	}
}

// A ring follows what is to be shown.
type ring struct {
	steady, brief atomic.Uint32 // Signals; zero: Ready, and none

	// Only touched by the loop.
	there bool
	shows Signal
	until time.Time // what is brief ends
}

func (r *ring) begin(there bool) { r.there, r.shows, r.until = there, SignalNone, time.Time{} }

// update lights the ring anew when it is to show something else.
func (r *ring) update(ctx context.Context, s *Sensor, log *slog.Logger) {
	want := Signal(r.brief.Swap(0))
	if want != SignalNone {
		r.until = time.Now().Add(moment)
		r.shows = SignalNone // the same again is shown again
	} else if time.Now().Before(r.until) {
		return
	} else if want = Signal(r.steady.Load()); want == SignalNone {
		want = SignalReady
	}
	r.show(ctx, s, want, log)
}

// show lights the ring. A sensor that cannot is not asked again in this Run:
// the ring is only an ornament to the lamps.
func (r *ring) show(ctx context.Context, s *Sensor, want Signal, log *slog.Logger) {
	if !r.there || want == r.shows {
		return
	}
	if err := s.Light(ctx, Lights()[want]); err != nil {
		r.there = false
		log.Info("fingerprint reader: no light ring", "err", err)
		return
	}
	r.shows = want
}

// Light lights the ring. The error wraps ErrInstr, or another Code, when the
// sensor has none.
func (s *Sensor) Light(ctx context.Context, l Light) error {
	_, err := s.do(ctx, OpAura, l.Control, l.Speed, l.Colour, l.Times)
	return err
}
