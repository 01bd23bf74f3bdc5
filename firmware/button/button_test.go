package button_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"periph.io/x/conn/v3/gpio"
	"periph.io/x/conn/v3/gpio/gpiotest"
	"pgregory.net/rapid"

	"github.com/fengsui/fengsui/firmware/button"
)

const ms = time.Millisecond

// feed reads a line whose level changes at the given times, every step, and
// returns what the state machine said.
func feed(d *button.Debouncer, step, end time.Duration, changes ...time.Duration) []button.Kind {
	var got []button.Kind
	level, next := false, 0
	for at := time.Duration(0); at <= end; at += step {
		for next < len(changes) && changes[next] <= at {
			level, next = !level, next+1
		}
		if k := d.Read(at, level); k != 0 {
			got = append(got, k)
		}
	}
	return got
}

func TestDebouncer(t *testing.T) {
	for name, c := range map[string]struct {
		end     time.Duration
		changes []time.Duration
		want    []button.Kind
	}{
		"nothing":                 {time.Second, nil, nil},
		"a clean press":           {time.Second, []time.Duration{100 * ms, 300 * ms}, []button.Kind{button.Pressed, button.Released}},
		"a glitch is no press":    {time.Second, []time.Duration{100 * ms, 108 * ms}, nil},
		"bounce at both ends":     {time.Second, []time.Duration{100 * ms, 104 * ms, 108 * ms, 112 * ms, 116 * ms, 400 * ms, 404 * ms, 408 * ms}, []button.Kind{button.Pressed, button.Released}},
		"a dip does not release":  {time.Second, []time.Duration{100 * ms, 300 * ms, 312 * ms, 600 * ms}, []button.Kind{button.Pressed, button.Released}},
		"stuck, then freed":       {70 * time.Second, []time.Duration{100 * ms, 65 * time.Second}, []button.Kind{button.Pressed, button.Stuck, button.Freed}},
		"pressed at the start":    {3 * time.Second, []time.Duration{0, time.Second}, []button.Kind{button.Stuck, button.Freed}},
		"a press after a release": {2 * time.Second, []time.Duration{100 * ms, 200 * ms, 300 * ms, 400 * ms}, []button.Kind{button.Pressed, button.Released, button.Pressed, button.Released}},
	} {
		if got := feed(button.NewDebouncer(button.Timing{}), 4*ms, c.end, c.changes...); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// One press is one press however it bounces for up to 15 ms at each end, and
// whenever the line is read.
func TestOnePressIsOneEvent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var changes []time.Duration
		at := 100 * ms
		presses := rapid.IntRange(1, 5).Draw(t, "presses")
		bounce := func(name string) {
			n := rapid.IntRange(0, 8).Draw(t, name) * 2
			for range n {
				changes = append(changes, at)
				at += time.Duration(rapid.IntRange(50, 900).Draw(t, "µs")) * time.Microsecond
			}
			changes = append(changes, at)
		}
		for range presses {
			bounce("down")
			at += time.Duration(rapid.IntRange(60, 2000).Draw(t, "held ms")) * ms
			bounce("up")
			at += time.Duration(rapid.IntRange(60, 2000).Draw(t, "free ms")) * ms
		}
		step := time.Duration(rapid.IntRange(500, 6000).Draw(t, "read every µs")) * time.Microsecond
		got := feed(button.NewDebouncer(button.Timing{}), step, at, changes...)
		var want []button.Kind
		for range presses {
			want = append(want, button.Pressed, button.Released)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%v, want %d presses", got, presses)
		}
	})
}

// ioctlPin waits as periph's gpioioctl does: 0 waits for ever, a negative
// timeout returns at once. gpiotest's own pin follows the contract instead.
type ioctlPin struct {
	gpiotest.Pin
	mu    sync.Mutex
	level gpio.Level
	edges chan struct{}
	reads int
}

func (p *ioctlPin) Read() gpio.Level {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reads++
	return p.level
}

func (p *ioctlPin) set(l gpio.Level, edge bool) {
	p.mu.Lock()
	p.level = l
	p.mu.Unlock()
	if edge {
		select {
		case p.edges <- struct{}{}:
		default:
		}
	}
}

func (p *ioctlPin) WaitForEdge(d time.Duration) bool {
	if d < 0 {
		return false
	}
	var expired <-chan time.Time
	if d > 0 {
		expired = time.After(d)
	}
	select {
	case <-p.edges:
		return true
	case <-expired:
		return false
	}
}

func TestWatch(t *testing.T) {
	for _, edges := range []bool{true, false} {
		t.Run(fmt.Sprintf("edges reported %v", edges), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &ioctlPin{level: gpio.High, edges: make(chan struct{}, 1)}
				var got []button.Kind
				ctx, stop := context.WithCancel(t.Context())
				done := make(chan struct{})
				go func() {
					defer close(done)
					button.Watch(ctx, p, gpio.Low, button.Timing{}, func(k button.Kind) { got = append(got, k) })
				}()
				time.Sleep(time.Second)
				for range 3 { // bounce, then hold for half a second
					p.set(gpio.Low, edges)
					time.Sleep(ms)
					p.set(gpio.High, edges)
					time.Sleep(ms)
				}
				p.set(gpio.Low, edges)
				time.Sleep(500 * ms)
				p.set(gpio.High, edges)
				time.Sleep(time.Hour)
				stop()
				<-done
				if want := []button.Kind{button.Pressed, button.Released}; !slices.Equal(got, want) {
					t.Errorf("%v, want %v", got, want)
				}
				if p.reads > 3600*4+200 {
					t.Errorf("%d reads in an hour: the loop spins", p.reads)
				}
			})
		})
	}
}

func TestWatchWithPeriphsFake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &gpiotest.Pin{N: "GPIO17", L: gpio.High, EdgesChan: make(chan gpio.Level, 8)}
		if err := p.In(gpio.PullUp, gpio.BothEdges); err != nil {
			t.Fatal(err)
		}
		var got []button.Kind
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			button.Watch(ctx, p, gpio.Low, button.Timing{}, func(k button.Kind) { got = append(got, k) })
		}()
		time.Sleep(time.Second)
		p.EdgesChan <- gpio.Low
		time.Sleep(time.Second)
		p.EdgesChan <- gpio.High
		time.Sleep(time.Second)
		stop()
		<-done
		if want := []button.Kind{button.Pressed, button.Released}; !slices.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
	})
}
