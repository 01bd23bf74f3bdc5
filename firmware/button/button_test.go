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
		"held, but not stuck":     {61 * time.Second, []time.Duration{100 * ms, 60 * time.Second}, []button.Kind{button.Pressed, button.Released}},
		"stuck once":              {10 * time.Minute, []time.Duration{100 * ms}, []button.Kind{button.Pressed, button.Stuck}},
		"stuck from the start":    {10 * time.Minute, []time.Duration{0}, []button.Kind{button.Stuck}},
		"bounces at the start":    {3 * time.Second, []time.Duration{0, 8 * ms, 16 * ms, time.Second}, []button.Kind{button.Stuck, button.Freed}},
		"a press after a fault":   {70 * time.Second, []time.Duration{0, time.Second, 2 * time.Second, 3 * time.Second}, []button.Kind{button.Stuck, button.Freed, button.Pressed, button.Released}},
		"a press after a release": {2 * time.Second, []time.Duration{100 * ms, 200 * ms, 300 * ms, 400 * ms}, []button.Kind{button.Pressed, button.Released, button.Pressed, button.Released}},
	} {
		if got := feed(button.NewDebouncer(button.Timing{}), 4*ms, c.end, c.changes...); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// train returns the changes of a line that toggles at even steps.
func train(from, step time.Duration, n int) (changes []time.Duration) {
	for i := range n {
		changes = append(changes, from+time.Duration(i)*step)
	}
	return changes
}

// A loose wire is a fault, and no stream of alarms.
func TestNoise(t *testing.T) {
	const second = time.Second
	count := func(got []button.Kind) map[button.Kind]int {
		n := make(map[button.Kind]int)
		for _, k := range got {
			n[k]++
		}
		return n
	}
	// 20 presses a second for a minute, then rest, then one press.
	changes := append(train(second, 25*ms, 2*20*60), 70*second, 71*second)
	got := feed(button.NewDebouncer(button.Timing{}), 4*ms, 80*second, changes...)
	if n := count(got); n[button.Pressed] != 100+1 || n[button.Noisy] != 1 || n[button.Quiet] != 1 ||
		!slices.Equal(got[len(got)-3:], []button.Kind{button.Quiet, button.Pressed, button.Released}) {
		t.Errorf("fast presses: %v … %v", n, got[len(got)-3:])
	}
	// It never rests long enough to be a press, not even at the start.
	for _, from := range []time.Duration{0, second} {
		changes = append(train(from, 10*ms, 6000), 70*second, 71*second)
		want := []button.Kind{button.Noisy, button.Quiet, button.Pressed, button.Released}
		if got := feed(button.NewDebouncer(button.Timing{}), 4*ms, 80*second, changes...); !slices.Equal(got, want) {
			t.Errorf("chatter from %v: %v, want %v", from, got, want)
		}
	}
	// A stuck line that begins to chatter stays one fault until it rests.
	changes = append([]time.Duration{second}, train(90*second, 10*ms, 2001)...)
	want := []button.Kind{button.Pressed, button.Stuck, button.Freed}
	if got := feed(button.NewDebouncer(button.Timing{}), 4*ms, 150*second, changes...); !slices.Equal(got, want) {
		t.Errorf("stuck, then chatter: %v, want %v", got, want)
	}
	// A hand that hammers, six times a second, is believed.
	got = feed(button.NewDebouncer(button.Timing{}), 4*ms, 70*second, train(second, second/12, 12*60)...)
	if n := count(got); n[button.Pressed] != 360 || n[button.Noisy] != 0 {
		t.Errorf("hammering: %v", n)
	}
}

// A process that stands still in the middle of a press loses it to no suspicion
// of noise.
func TestAStandstillIsNoNoise(t *testing.T) {
	for _, still := range []time.Duration{3 * time.Second, 10 * time.Second, 40 * time.Second} {
		d := button.NewDebouncer(button.Timing{})
		var got []button.Kind
		at := time.Duration(0)
		read := func(pressed bool, n int) {
			for range n {
				if k := d.Read(at, pressed); k != 0 {
					got = append(got, k)
				}
				at += 4 * ms
			}
		}
		read(false, 10)
		read(true, 2)
		at += still
		read(true, 20)
		read(false, 20)
		if want := presses(1); !slices.Equal(got, want) {
			t.Errorf("standing still for %v: %v, want %v", still, got, want)
		}
	}
}

// A read that fails is Low, which is pressed on most boards: a few of them in a
// row, however the processor stumbles between, are no press.
func TestFailedReadsAreNoPress(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := button.NewDebouncer(button.Timing{})
		at := time.Duration(0)
		read := func(pressed bool) {
			if k := d.Read(at, pressed); k != 0 {
				t.Fatalf("at %v: %v", at, k)
			}
			at += time.Duration(rapid.IntRange(1, 100).Draw(t, "ms to the next read")) * ms
		}
		for range 30 {
			read(false)
		}
		for range rapid.IntRange(1, 20).Draw(t, "failures") {
			for range rapid.IntRange(1, 3).Draw(t, "in a row") {
				read(true)
			}
			for range rapid.IntRange(4, 20).Draw(t, "good reads") {
				read(false)
			}
		}
	})
}

// bouncing returns the changes of a line that is pressed some times, bouncing
// for up to 15 ms at each end, and the end of the trace.
func bouncing(t *rapid.T, presses int) (changes []time.Duration, end time.Duration) {
	at := 100 * ms
	bounce := func(name string) {
		n := rapid.IntRange(0, 8).Draw(t, name) * 2
		for range n {
			changes = append(changes, at)
			at += time.Duration(rapid.IntRange(5, 900).Draw(t, "µs")) * time.Microsecond
		}
		changes = append(changes, at)
	}
	for range presses {
		bounce("down")
		at += time.Duration(rapid.IntRange(80, 2000).Draw(t, "held ms")) * ms
		bounce("up")
		at += time.Duration(rapid.IntRange(80, 2000).Draw(t, "free ms")) * ms
	}
	return changes, at
}

func presses(n int) (want []button.Kind) {
	for range n {
		want = append(want, button.Pressed, button.Released)
	}
	return want
}

// One press is one press however it bounces, and whenever the line is read.
func TestOnePressIsOneEvent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 5).Draw(t, "presses")
		changes, end := bouncing(t, n)
		step := time.Duration(rapid.IntRange(500, 6000).Draw(t, "read every µs")) * time.Microsecond
		if got := feed(button.NewDebouncer(button.Timing{}), step, end, changes...); !slices.Equal(got, presses(n)) {
			t.Fatalf("%v, want %d presses", got, n)
		}
	})
}

// The same through the pin loop, with edges that are lost.
func TestOnePressIsOneEventThroughThePin(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(1, 3).Draw(rt, "presses")
		changes, end := bouncing(rt, n)
		lost := rapid.IntRange(0, 10).Draw(rt, "tenths of the edges lost")
		lose := rapid.SliceOfN(rapid.IntRange(0, 9), len(changes), len(changes)).Draw(rt, "losses")
		var got []button.Kind
		synctest.Test(t, func(t *testing.T) {
			p := newIoctlPin(gpio.High)
			got = watch(t.Context(), p, func() {
				start, level := time.Now(), gpio.High
				for i, at := range changes {
					time.Sleep(at - time.Since(start))
					level = !level
					p.set(level, lose[i] >= lost)
				}
				time.Sleep(end - time.Since(start))
			})
		})
		if !slices.Equal(got, presses(n)) {
			rt.Fatalf("%v, want %d presses", got, n)
		}
	})
}

// ioctlPin waits as periph's gpioioctl does: 0 waits for ever, a negative
// timeout returns at once, and 16 edges wait for a reader. gpiotest's own pin
// follows the contract instead.
type ioctlPin struct {
	gpiotest.Pin
	mu    sync.Mutex
	level gpio.Level
	edges chan struct{}
	reads int
}

func newIoctlPin(l gpio.Level) *ioctlPin {
	return &ioctlPin{level: l, edges: make(chan struct{}, 16)}
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

// watch runs Watch on an active-low pin while hand moves it, and returns what
// was told.
func watch(ctx context.Context, p gpio.PinIn, hand func()) []button.Kind {
	var got []button.Kind
	ctx, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		button.Watch(ctx, p, gpio.Low, button.Timing{}, func(k button.Kind) { got = append(got, k) })
	})
	hand()
	stop()
	wg.Wait()
	return got
}

func TestWatch(t *testing.T) {
	for _, edges := range []bool{true, false} {
		t.Run(fmt.Sprintf("edges reported %v", edges), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newIoctlPin(gpio.High)
				got := watch(t.Context(), p, func() {
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
				})
				if want := presses(1); !slices.Equal(got, want) {
					t.Errorf("%v, want %v", got, want)
				}
				if p.reads > 3600*20+200 {
					t.Errorf("%d reads in an hour: the loop spins", p.reads)
				}
			})
		})
	}
}

// A press is told as soon as it is certain, and a line whose edges have no end,
// or whose driver does not wait, costs no more than a read every 4 ms.
func TestWatchIsPromptAndBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newIoctlPin(gpio.High)
		var told time.Time
		ctx, stop := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			button.Watch(ctx, p, gpio.Low, button.Timing{}, func(button.Kind) { told = time.Now() })
		})
		time.Sleep(time.Second)
		pressed := time.Now()
		p.set(gpio.Low, true)
		time.Sleep(time.Second)
		if after := told.Sub(pressed); after > 25*ms {
			t.Errorf("told after %v", after)
		}
		p.reads = 0
		for range 10000 { // edges that leave the level alone
			p.set(gpio.Low, true)
			time.Sleep(100 * time.Microsecond)
		}
		if p.reads > 260 {
			t.Errorf("%d reads in a second of edges", p.reads)
		}
		stop()
		wg.Wait()
	})
	synctest.Test(t, func(t *testing.T) {
		p := &hasty{newIoctlPin(gpio.High)}
		watch(t.Context(), p, func() { time.Sleep(time.Second) })
		if p.reads > 260 {
			t.Errorf("%d reads in a second of a driver that does not wait", p.reads)
		}
	})
}

// hasty is a driver whose line cannot wait.
type hasty struct{ *ioctlPin }

func (hasty) WaitForEdge(time.Duration) bool { return false }

func TestWatchWithPeriphsFake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &gpiotest.Pin{N: "GPIO17", L: gpio.High, EdgesChan: make(chan gpio.Level, 8)}
		if err := p.In(gpio.PullUp, gpio.BothEdges); err != nil {
			t.Fatal(err)
		}
		got := watch(t.Context(), p, func() {
			time.Sleep(time.Second)
			p.EdgesChan <- gpio.Low
			time.Sleep(time.Second)
			p.EdgesChan <- gpio.High
			time.Sleep(time.Second)
		})
		if want := presses(1); !slices.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
	})
}
