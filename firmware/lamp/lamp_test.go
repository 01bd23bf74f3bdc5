package lamp_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"periph.io/x/conn/v3/gpio"
	"periph.io/x/conn/v3/gpio/gpiotest"

	"github.com/fengsui/fengsui/firmware/lamp"
)

// board records what the lamps do.
type board struct {
	start time.Time
	mu    sync.Mutex
	on    map[string]bool
	log   []string // "120ms red+": edges, in order
}

type pin struct {
	gpiotest.Pin
	b      *board
	name   string
	low    bool
	broken bool
}

func (p *pin) Out(l gpio.Level) error {
	if p.broken {
		return errors.New("broken")
	}
	p.b.mu.Lock()
	defer p.b.mu.Unlock()
	on := bool(l) != p.low
	if p.b.on[p.name] != on {
		p.b.on[p.name] = on
		p.b.log = append(p.b.log, fmt.Sprintf("%v %s%s", time.Since(p.b.start).Round(time.Millisecond), p.name, map[bool]string{true: "+", false: "-"}[on]))
	}
	return nil
}

// run shows states at times and returns the edges of each lamp until the end.
func run(t *testing.T, out func(*board) lamp.Outputs, length time.Duration, show func(*lamp.Driver)) string {
	t.Helper()
	var edges string
	synctest.Test(t, func(t *testing.T) {
		b := &board{start: time.Now(), on: map[string]bool{}}
		d := lamp.New(out(b), slog.New(slog.DiscardHandler))
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); d.Run(ctx) }()
		synctest.Wait()
		go func() { show(d) }()
		time.Sleep(length)
		synctest.Wait()
		b.mu.Lock()
		edges = strings.Join(b.log, " ")
		b.mu.Unlock()
		stop()
		<-done
		for name, on := range b.on {
			if on {
				t.Errorf("%s stays lit after Run has ended", name)
			}
		}
		time.Sleep(2 * time.Hour) // the show function must have ended as well
	})
	return edges
}

func all(b *board) lamp.Outputs {
	return lamp.Outputs{
		Red: lamp.Output{Pin: &pin{b: b, name: "red"}}, Amber: lamp.Output{Pin: &pin{b: b, name: "amber", low: true}, ActiveLow: true},
		Green: lamp.Output{Pin: &pin{b: b, name: "green"}}, Siren: lamp.Output{Pin: &pin{b: b, name: "siren"}},
		SirenLimit: 3 * time.Minute,
	}
}

func TestWaveforms(t *testing.T) {
	for name, c := range map[string]struct {
		length time.Duration
		show   func(*lamp.Driver)
		want   string
	}{
		"idle": {time.Minute, func(d *lamp.Driver) { d.Show(lamp.State{}) }, ""},
		"the bar fills": {8 * time.Second, func(d *lamp.Driver) {
			d.Show(lamp.State{Step: lamp.Stored})
			time.Sleep(time.Second)
			d.Show(lamp.State{Step: lamp.CentreHas})
			time.Sleep(1200 * time.Millisecond)
			d.Show(lamp.State{Step: lamp.Acknowledged})
			time.Sleep(time.Second)
			d.Show(lamp.State{Step: lamp.UnitComing})
			time.Sleep(time.Second)
			d.Show(lamp.State{})
		}, "0s red+ 1s amber+ 1.5s amber- 2s amber+ 2.2s red- 2.2s amber- 2.28s red+ 2.28s amber+ 3.2s green+ 4.2s red- 4.2s amber- 4.2s green-"},
		"acknowledged while amber is dark": {3 * time.Second, func(d *lamp.Driver) {
			d.Show(lamp.State{Step: lamp.CentreHas})
			time.Sleep(700 * time.Millisecond)
			d.Show(lamp.State{Step: lamp.Acknowledged})
		}, "0s red+ 0s amber+ 500ms amber- 700ms amber+"},
		"the same state again does not disturb": {1200 * time.Millisecond, func(d *lamp.Driver) {
			d.Show(lamp.State{Step: lamp.CentreHas})
			for range 10 {
				time.Sleep(100 * time.Millisecond)
				d.Show(lamp.State{Step: lamp.CentreHas})
			}
		}, "0s red+ 0s amber+ 500ms amber- 1s amber+"},
		"silent": {
			9 * time.Second, func(d *lamp.Driver) { d.Show(lamp.State{Step: lamp.Stored, Silent: true}) },
			"0s red+ 60ms red- 4s red+ 4.06s red- 8s red+ 8.06s red-",
		},
		"fault":                  {4100 * time.Millisecond, func(d *lamp.Driver) { d.Show(lamp.State{Fault: true}) }, "0s amber+ 80ms amber- 240ms amber+ 320ms amber- 480ms amber+ 560ms amber- 4s amber+ 4.08s amber-"},
		"an alarm hides a fault": {time.Second, func(d *lamp.Driver) { d.Show(lamp.State{Fault: true, Step: lamp.Stored}) }, "0s red+"},
		"drill":                  {2500 * time.Millisecond, func(d *lamp.Driver) { d.Show(lamp.State{Drill: true, Step: lamp.Stored}) }, "0s red+ 1.9s red- 2s red+"},
		"siren's limit":          {10 * time.Minute, func(d *lamp.Driver) { d.Show(lamp.State{Step: lamp.Stored, Siren: true}) }, "0s siren+ 0s red+ 3m0s siren-"},
		"siren stops at reset": {time.Minute, func(d *lamp.Driver) {
			d.Show(lamp.State{Step: lamp.Stored, Siren: true})
			time.Sleep(time.Second)
			d.Show(lamp.State{})
		}, "0s siren+ 0s red+ 1s siren- 1s red-"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := run(t, all, c.length, c.show); got != c.want {
				t.Errorf("\n got %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestABrokenLampDoesNotStopTheOthers(t *testing.T) {
	got := run(t, func(b *board) lamp.Outputs {
		o := all(b)
		o.Red.Pin.(*pin).broken = true
		o.Siren.Pin = nil
		return o
	}, time.Second, func(d *lamp.Driver) { d.Show(lamp.State{Step: lamp.UnitComing, Siren: true}) })
	if got != "0s amber+ 0s green+" {
		t.Errorf("got %s", got)
	}
}
