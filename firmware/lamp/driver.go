package lamp

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"periph.io/x/conn/v3/gpio"
)

// Outputs are the lines to drive; a nil pin is absent.
type Outputs struct {
	Red, Amber, Green Output
	Siren             Output
	Sounds            Rounds
	// Failed, if set, is called by Run when a line cannot be driven, and with a
	// nil error when it can again. The output is red, amber, green or siren.
	Failed func(output string, err error)
}

// An Output is a pin and its sense.
type Output struct {
	Pin       gpio.PinOut
	ActiveLow bool
}

// Rounds are how the siren sounds while an alarm is latched: for Limit, then
// again after each Pause, Times in all. EN 50131-1 lets a warning device sound
// for 90 s to 15 min where no local rule says otherwise; the defaults are 3 min
// of that, five times, each after 10 min of quiet in which people can talk.
type Rounds struct {
	Limit, Pause time.Duration // 0: the default
	Times        int
}

func (r Rounds) withDefaults() Rounds {
	if r.Limit <= 0 {
		r.Limit = 3 * time.Minute
	}
	if r.Pause <= 0 {
		r.Pause = 10 * time.Minute
	}
	if r.Times <= 0 {
		r.Times = 5
	}
	return r
}

// retry is how often lines that failed are tried again.
const retry = time.Second

// pulse is how long the siren is on, and off, for a neighbour's alarm.
const pulse = 500 * time.Millisecond

// A Driver drives the outputs. Make it with New.
type Driver struct {
	out   Outputs
	log   *slog.Logger
	table *table

	mu   sync.Mutex
	want State
	wake chan struct{}

	// Only touched by Run:
	lit    uint8 // the lamps that are to be lit now
	sounds bool
	rounds int             // that have begun
	failed map[string]bool // outputs whose failure was told
}

// New returns a driver that shows Idle once Run runs.
func New(out Outputs, log *slog.Logger) *Driver {
	out.Sounds = out.Sounds.withDefaults()
	return &Driver{out: out, log: log, table: shipped(), wake: make(chan struct{}, 1), failed: make(map[string]bool)}
}

// Show changes what is shown, at once. It may be called from any goroutine,
// before, during and after Run.
func (d *Driver) Show(s State) {
	d.mu.Lock()
	changed := d.want != s
	d.want = s
	d.mu.Unlock()
	if changed {
		select {
		case d.wake <- struct{}{}:
		default:
		}
	}
}

// Run drives the outputs until ctx ends, then switches all of them off. It
// returns nil.
func (d *Driver) Run(ctx context.Context) error {
	next := time.NewTimer(steady)  // the end of the phase that shows
	turn := time.NewTimer(steady)  // the end of a round of the siren, or of its pause
	again := time.NewTimer(steady) // when to try failed lines again
	defer next.Stop()
	defer turn.Stop()
	beat := time.NewTimer(steady) // the end of a pulse for a neighbour, or of its gap
	defer again.Stop()
	defer beat.Stop()
	defer d.set(0, false)
	d.set(0, false)
	var shown State
	phases, i := d.phases(shown), 0
	for {
		again.Reset(steady)
		if len(d.failed) > 0 {
			again.Reset(retry)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-again.C:
			d.set(d.lit, d.sounds)
		case <-turn.C:
			if shown.loud() {
				d.turn(turn, shown)
			}
		case <-beat.C:
			if shown.pulses() {
				d.set(d.lit, !d.sounds)
				beat.Reset(pulse)
			}
		case <-next.C:
			i = (i + 1) % len(phases)
			d.set(phases[i].lit, d.sounds)
			next.Reset(phases[i].lasts)
		case <-d.wake:
			d.mu.Lock()
			want := d.want
			d.mu.Unlock()
			loud := want.loud()
			sounds := d.sounds && (loud && shown.loud() || want.pulses() && shown.pulses())
			if want.pulses() && !shown.pulses() {
				sounds = true
				beat.Reset(pulse)
			}
			if loud && (!shown.Siren || shown.Silent || want.Press > shown.Press) {
				sounds, d.rounds = true, 1
				turn.Reset(d.out.Sounds.Limit)
			}
			lit := d.lit
			if want.look() != shown.look() {
				phases, i = d.phases(want), 0
				lit = phases[0].lit
				if want.Step != shown.Step && want.Step != Idle && lit&^d.lit == 0 {
					// No new lamp: a dark gap shows that something changed.
					lit, i = 0, len(phases)-1 // the first phase follows
					next.Reset(time.Duration(d.table.Gap))
				} else {
					next.Reset(phases[0].lasts)
				}
			}
			d.set(lit, sounds)
			shown = want
		}
	}
}

// phases returns what shows a state.
func (d *Driver) phases(s State) []phase {
	return d.table.Patterns[d.table.pick(s.look())].phases()
}

// turn ends a round of the siren, or begins the next one.
func (d *Driver) turn(t *time.Timer, shown State) {
	switch r := d.out.Sounds; {
	case d.sounds:
		d.set(d.lit, false)
		t.Reset(r.Pause)
	case shown.Siren && !shown.Silent && d.rounds < r.Times:
		d.rounds++
		d.set(d.lit, true)
		t.Reset(r.Limit)
	}
}

// set drives all outputs, the siren last.
func (d *Driver) set(lit uint8, sounds bool) {
	d.lit, d.sounds = lit, sounds
	d.drive("red", d.out.Red, lit&red != 0)
	d.drive("amber", d.out.Amber, lit&amber != 0)
	d.drive("green", d.out.Green, lit&green != 0)
	d.drive("siren", d.out.Siren, sounds)
}

// drive drives one output; a failure is told when it begins and when it ends.
func (d *Driver) drive(name string, o Output, on bool) {
	if o.Pin == nil {
		return
	}
	err := o.Pin.Out(gpio.Level(on != o.ActiveLow))
	if (err != nil) == d.failed[name] {
		return
	}
	if err != nil {
		d.failed[name] = true
		d.log.Error("output failed", "output", name, "pin", o.Pin.Name(), "err", err)
	} else {
		delete(d.failed, name)
		d.log.Info("output works again", "output", name, "pin", o.Pin.Name())
	}
	if d.out.Failed != nil {
		d.out.Failed(name, err)
	}
}
