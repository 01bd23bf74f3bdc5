// Package lamp shows a device's state on three lamps and a siren.
//
// The lamps are a bar that fills, so that a colour-blind villager can tell the
// steps apart by count and by position:
//
//	red                      stored on the box
//	red, amber blinking      the centre has it in its database
//	red, amber               a person at the centre has taken it
//	red, amber, green        a named unit is coming
//
// A silent alarm shows the same lamps in short flashes; a drill lets all of
// them wink; a fault without an alarm flashes amber three times. A change of
// step that lights no new lamp begins with a short dark gap, so that the
// change itself is seen.
//
// The package decides nothing: whoever calls Show says what is true.
package lamp

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"periph.io/x/conn/v3/gpio"
)

// A Step is how far an alarm has come.
type Step uint8

// The steps, in their order.
const (
	Idle         Step = iota // no alarm
	Stored                   // durable on the box
	CentreHas                // committed at the centre
	Acknowledged             // a person at the centre has taken it
	UnitComing               // a named unit is on its way
)

// String returns the step's name.
func (s Step) String() string {
	names := [...]string{"idle", "stored", "centre_has", "acknowledged", "unit_coming"}
	if int(s) < len(names) {
		return names[s]
	}
	return fmt.Sprintf("step(%d)", uint8(s))
}

// A State is all that the lamps and the siren tell.
type State struct {
	Step   Step
	Silent bool // discreet: short flashes
	Drill  bool
	Fault  bool // shown only while Step is Idle
	Siren  bool // sound it, within its limit
}

// Outputs are the lines to drive; a nil pin is absent.
type Outputs struct {
	Red, Amber, Green Output
	Siren             Output
	SirenLimit        time.Duration // it falls silent after so long, until the next rise of State.Siren
}

// An Output is a pin and its sense.
type Output struct {
	Pin       gpio.PinOut
	ActiveLow bool
}

// Lamps in a pattern.
const (
	red = 1 << iota
	amber
	green
)

// A phase lights some lamps for a while; a pattern repeats its phases.
type phase struct {
	lit   uint8
	lasts time.Duration
}

const steady = time.Hour

// pattern returns the phases that show s.
func pattern(s State) []phase {
	var bar []phase
	switch {
	case s.Step == Stored:
		bar = []phase{{red, steady}}
	case s.Step == CentreHas:
		bar = []phase{{red | amber, 500 * time.Millisecond}, {red, 500 * time.Millisecond}}
	case s.Step == Acknowledged:
		bar = []phase{{red | amber, steady}}
	case s.Step == UnitComing:
		bar = []phase{{red | amber | green, steady}}
	case s.Fault:
		const on, off = 80 * time.Millisecond, 160 * time.Millisecond
		return []phase{{amber, on}, {0, off}, {amber, on}, {0, off}, {amber, on}, {0, 4*time.Second - 3*on - 2*off}}
	default:
		return []phase{{0, steady}}
	}
	switch {
	case s.Silent && s.Step == CentreHas:
		// Amber comes with every other flash: the blink, slowed down.
		return []phase{{red | amber, flash}, {0, 4*time.Second - flash}, {red, flash}, {0, 4*time.Second - flash}}
	case s.Silent:
		return []phase{{bar[0].lit, flash}, {0, 4*time.Second - flash}}
	case s.Drill && s.Step == CentreHas:
		return append(bar, phase{red | amber, 500 * time.Millisecond}, phase{red, 400 * time.Millisecond}, phase{0, 100 * time.Millisecond})
	case s.Drill:
		return []phase{{bar[0].lit, 1900 * time.Millisecond}, {0, 100 * time.Millisecond}}
	}
	return bar
}

const (
	flash = 60 * time.Millisecond
	gap   = 80 * time.Millisecond
)

// A Driver drives the outputs. Make it with New.
type Driver struct {
	out Outputs
	log *slog.Logger

	mu   sync.Mutex
	want State
	wake chan struct{}

	failed map[string]bool // only touched by Run: outputs whose failure was reported
}

// New returns a driver that shows Idle once Run runs.
func New(out Outputs, log *slog.Logger) *Driver {
	return &Driver{out: out, log: log, wake: make(chan struct{}, 1), failed: make(map[string]bool)}
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
	next := time.NewTimer(steady)    // the end of the phase that shows
	silence := time.NewTimer(steady) // the end of the siren's time
	defer next.Stop()
	defer silence.Stop()
	defer d.dark()
	d.dark()
	var shown State
	phases, i := pattern(shown), 0
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-silence.C:
			d.siren(false)
		case <-next.C:
			i = (i + 1) % len(phases)
			d.light(phases[i].lit)
			next.Reset(phases[i].lasts)
		case <-d.wake:
			d.mu.Lock()
			want := d.want
			d.mu.Unlock()
			if want.Siren != shown.Siren {
				d.siren(want.Siren)
				silence.Reset(steady)
				if want.Siren && d.out.SirenLimit > 0 {
					silence.Reset(d.out.SirenLimit)
				}
			}
			before := phases[i].lit
			phases, i = pattern(want), 0
			if want.Step != shown.Step && want.Step != Idle && phases[0].lit&^before == 0 {
				d.light(0)
				i = len(phases) - 1 // so that the first phase follows the gap
				next.Reset(gap)
			} else {
				d.light(phases[0].lit)
				next.Reset(phases[0].lasts)
			}
			shown = want
		}
	}
}

func (d *Driver) dark() {
	d.light(0)
	d.siren(false)
}

func (d *Driver) light(lit uint8) {
	d.set("red", d.out.Red, lit&red != 0)
	d.set("amber", d.out.Amber, lit&amber != 0)
	d.set("green", d.out.Green, lit&green != 0)
}

func (d *Driver) siren(on bool) { d.set("siren", d.out.Siren, on) }

// set drives one output; a failure is logged when it begins.
func (d *Driver) set(name string, o Output, on bool) {
	if o.Pin == nil {
		return
	}
	err := o.Pin.Out(gpio.Level(on != o.ActiveLow))
	if (err != nil) != d.failed[name] {
		d.failed[name] = err != nil
		if err != nil {
			d.log.Error("output failed", "output", name, "pin", o.Pin.Name(), "err", err)
		} else {
			d.log.Info("output works again", "output", name, "pin", o.Pin.Name())
		}
	}
}
