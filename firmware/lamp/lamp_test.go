package lamp_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
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
	broken atomic.Bool
	tries  int
}

func (p *pin) Out(l gpio.Level) error {
	p.tries++
	if p.broken.Load() {
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
		Sounds: lamp.Rounds{Limit: 3 * time.Minute, Pause: 10 * time.Minute, Times: 2},
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
		"siren's limit":          {10 * time.Minute, func(d *lamp.Driver) { d.Show(lamp.State{Step: lamp.Stored, Siren: true}) }, "0s red+ 0s siren+ 3m0s siren-"},
		"silent, the centre has it": {
			13 * time.Second, func(d *lamp.Driver) { d.Show(lamp.State{Step: lamp.CentreHas, Silent: true}) },
			"0s red+ 0s amber+ 60ms red- 60ms amber- 4s red+ 4.06s red- 8s red+ 8s amber+ 8.06s red- 8.06s amber- 12s red+ 12.06s red-",
		},
		"silent, a unit is coming": {
			4 * time.Second, func(d *lamp.Driver) { d.Show(lamp.State{Step: lamp.UnitComing, Silent: true}) },
			"0s red+ 0s amber+ 0s green+ 60ms red- 60ms amber- 60ms green- 4s red+ 4s amber+ 4s green+",
		},
		"silent, acknowledged within the flash": {
			4 * time.Second, func(d *lamp.Driver) {
				d.Show(lamp.State{Step: lamp.CentreHas, Silent: true})
				time.Sleep(20 * time.Millisecond)
				d.Show(lamp.State{Step: lamp.Acknowledged, Silent: true})
			},
			"0s red+ 0s amber+ 20ms red- 20ms amber- 100ms red+ 100ms amber+ 160ms red- 160ms amber-",
		},
		"drill, the centre has it": {
			2600 * time.Millisecond, func(d *lamp.Driver) { d.Show(lamp.State{Step: lamp.CentreHas, Drill: true}) },
			"0s red+ 0s amber+ 500ms amber- 1s amber+ 1.5s amber- 1.9s red- 2s red+ 2s amber+ 2.5s amber-",
		},
		"drill, a unit is coming": {
			2 * time.Second, func(d *lamp.Driver) { d.Show(lamp.State{Step: lamp.UnitComing, Drill: true}) },
			"0s red+ 0s amber+ 0s green+ 1.9s red- 1.9s amber- 1.9s green- 2s red+ 2s amber+ 2s green+",
		},
		"a second alarm goes back": {
			2 * time.Second, func(d *lamp.Driver) {
				d.Show(lamp.State{Step: lamp.UnitComing})
				time.Sleep(time.Second)
				d.Show(lamp.State{Step: lamp.Stored})
			},
			"0s red+ 0s amber+ 0s green+ 1s red- 1s amber- 1s green- 1.08s red+",
		},
		"two steps within one gap": {
			time.Second, func(d *lamp.Driver) {
				d.Show(lamp.State{Step: lamp.CentreHas})
				time.Sleep(100 * time.Millisecond)
				d.Show(lamp.State{Step: lamp.Acknowledged})
				time.Sleep(50 * time.Millisecond)
				d.Show(lamp.State{Step: lamp.UnitComing})
			},
			"0s red+ 0s amber+ 100ms red- 100ms amber- 150ms red+ 150ms amber+ 150ms green+",
		},
		"what does not show disturbs no pattern": {
			1200 * time.Millisecond, func(d *lamp.Driver) {
				for i := range 12 {
					d.Show(lamp.State{Step: lamp.CentreHas, Fault: i%2 == 0, Siren: i > 5, Press: uint64(i)})
					time.Sleep(90 * time.Millisecond)
				}
			},
			"0s red+ 0s amber+ 500ms amber- 540ms siren+ 1s amber+",
		},
		"a fault after the alarm": {
			1200 * time.Millisecond, func(d *lamp.Driver) {
				d.Show(lamp.State{Step: lamp.UnitComing, Fault: true, Drill: true})
				time.Sleep(time.Second)
				d.Show(lamp.State{Fault: true, Drill: true})
			},
			"0s red+ 0s amber+ 0s green+ 1s red- 1s green- 1.08s amber-",
		},
		"a visit of a guard round, until the centre has it": {3 * time.Second, func(d *lamp.Driver) {
			d.Show(lamp.State{Visit: lamp.Stored, Fault: true, Drilling: true})
			time.Sleep(1700 * time.Millisecond)
			d.Show(lamp.State{Visit: lamp.CentreHas, Fault: true, Drilling: true})
			time.Sleep(time.Second)
			d.Show(lamp.State{})
		}, "0s green+ 500ms green- 1s green+ 1.5s green- 1.7s green+ 2.7s green-"},
		"an alarm hides a visit": {2 * time.Second, func(d *lamp.Driver) {
			d.Show(lamp.State{Visit: lamp.CentreHas})
			time.Sleep(time.Second)
			d.Show(lamp.State{Visit: lamp.CentreHas, Step: lamp.Stored})
		}, "0s green+ 1s red+ 1s green-"},
		"silent means silent": {10 * time.Minute, func(d *lamp.Driver) {
			d.Show(lamp.State{Fault: true, Siren: true, Silent: true})
			time.Sleep(time.Second)
			d.Show(lamp.State{})
		}, "0s amber+ 80ms amber- 240ms amber+ 320ms amber- 480ms amber+ 560ms amber-"},
		"one more press sounds it anew": {20 * time.Minute, func(d *lamp.Driver) {
			d.Show(lamp.State{Step: lamp.Stored, Siren: true, Press: 1})
			time.Sleep(2 * time.Minute)
			d.Show(lamp.State{Step: lamp.Stored, Siren: true, Press: 2})
			time.Sleep(8 * time.Minute)
			d.Show(lamp.State{Step: lamp.Stored, Siren: true, Press: 3})
		}, "0s red+ 0s siren+ 5m0s siren- 10m0s siren+ 13m0s siren-"},
		"the siren pauses, and sounds again": {time.Hour, func(d *lamp.Driver) {
			d.Show(lamp.State{Step: lamp.Stored, Siren: true, Press: 1})
		}, "0s red+ 0s siren+ 3m0s siren- 13m0s siren+ 16m0s siren-"},
		"one more press begins its rounds anew": {50 * time.Minute, func(d *lamp.Driver) {
			d.Show(lamp.State{Step: lamp.Stored, Siren: true, Press: 1})
			time.Sleep(14 * time.Minute)
			d.Show(lamp.State{Step: lamp.Stored, Siren: true, Press: 2})
		}, "0s red+ 0s siren+ 3m0s siren- 13m0s siren+ 17m0s siren- 27m0s siren+ 30m0s siren-"},
		"no round after the reset": {time.Hour, func(d *lamp.Driver) {
			d.Show(lamp.State{Step: lamp.Stored, Siren: true, Press: 1})
			time.Sleep(5 * time.Minute)
			d.Show(lamp.State{})
		}, "0s red+ 0s siren+ 3m0s siren- 5m0s red-"},
		"no round of what is silent now": {time.Hour, func(d *lamp.Driver) {
			d.Show(lamp.State{Step: lamp.UnitComing, Siren: true, Press: 1})
			time.Sleep(5 * time.Minute)
			d.Show(lamp.State{Step: lamp.UnitComing, Press: 1})
		}, "0s red+ 0s amber+ 0s green+ 0s siren+ 3m0s siren-"},
		"a reset within a round, then another alarm": {10 * time.Minute, func(d *lamp.Driver) {
			d.Show(lamp.State{Step: lamp.Stored, Siren: true, Press: 1})
			time.Sleep(time.Minute)
			d.Show(lamp.State{})
			time.Sleep(time.Minute)
			d.Show(lamp.State{Step: lamp.Stored, Siren: true, Press: 1})
		}, "0s red+ 0s siren+ 1m0s red- 1m0s siren- 2m0s red+ 2m0s siren+ 5m0s siren-"},
		"an exercise is on": {4300 * time.Millisecond, func(d *lamp.Driver) { d.Show(lamp.State{Drilling: true, Fault: true}) }, "0s green+ 80ms green- 240ms green+ 320ms green- 4s green+ 4.08s green- 4.24s green+"},
		"an alarm in it":    {time.Second, func(d *lamp.Driver) { d.Show(lamp.State{Drilling: true, Step: lamp.Stored}) }, "0s red+"},
		"siren stops at reset": {time.Minute, func(d *lamp.Driver) {
			d.Show(lamp.State{Step: lamp.Stored, Siren: true})
			time.Sleep(time.Second)
			d.Show(lamp.State{})
		}, "0s red+ 0s siren+ 1s red- 1s siren-"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := run(t, all, c.length, c.show); got != c.want {
				t.Errorf("\n got %s\nwant %s", got, c.want)
			}
		})
	}
}

// Without limits of its own, the siren still has them: 15 minutes in all.
func TestTheSirenAlwaysHasALimit(t *testing.T) {
	got := run(t, func(b *board) lamp.Outputs {
		o := all(b)
		o.Sounds = lamp.Rounds{}
		return o
	}, 24*time.Hour, func(d *lamp.Driver) { d.Show(lamp.State{Step: lamp.Stored, Siren: true}) })
	want := "0s red+ 0s siren+ 3m0s siren- 13m0s siren+ 16m0s siren- 26m0s siren+ 29m0s siren- 39m0s siren+ 42m0s siren- 52m0s siren+ 55m0s siren-"
	if got != want {
		t.Errorf("got %s", got)
	}
}

// A line that cannot be driven stops no other, is told once, and is tried again.
func TestABrokenLamp(t *testing.T) {
	var told []string
	var p *pin
	got := run(t, func(b *board) lamp.Outputs {
		o := all(b)
		p = o.Red.Pin.(*pin)
		p.broken.Store(true)
		o.Siren.Pin = nil
		o.Failed = func(output string, err error) {
			told = append(told, fmt.Sprint(time.Since(b.start), " ", output, " ", err))
		}
		return o
	}, 20*time.Second, func(d *lamp.Driver) {
		d.Show(lamp.State{Step: lamp.UnitComing, Siren: true})
		time.Sleep(9500 * time.Millisecond)
		p.broken.Store(false)
	})
	if got != "0s amber+ 0s green+ 10s red+" {
		t.Errorf("got %s", got)
	}
	if want := []string{"0s red broken", "10s red <nil>"}; !slices.Equal(told, want) {
		t.Errorf("told %q, want %q", told, want)
	}
	if p.tries > 15 {
		t.Errorf("tried %d times in 20 s", p.tries)
	}
}

// Nothing is lit, and low-active lines are high, from Run's start to its first
// state and after its end, whatever was shown before.
func TestDarkAtBothEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		red, amber := &gpiotest.Pin{N: "R", L: gpio.High}, &gpiotest.Pin{N: "Y", L: gpio.Low}
		d := lamp.New(lamp.Outputs{Red: lamp.Output{Pin: red}, Amber: lamp.Output{Pin: amber, ActiveLow: true}}, slog.New(slog.DiscardHandler))
		dark := func(when string) {
			t.Helper()
			if red.Read() || !amber.Read() {
				t.Errorf("%s: red %v, amber %v", when, red.Read(), amber.Read())
			}
		}
		for range 2 { // Run may be called again
			ctx, stop := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			wg.Go(func() { d.Run(ctx) })
			synctest.Wait()
			dark("at the start")
			d.Show(lamp.State{Step: lamp.Acknowledged})
			synctest.Wait()
			if !red.Read() || amber.Read() {
				t.Error("not lit")
			}
			stop()
			wg.Wait()
			dark("at the end")
			d.Show(lamp.State{})
			dark("afterwards")
		}
	})
}
