package button_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"periph.io/x/conn/v3/gpio"
	"pgregory.net/rapid"

	"github.com/fengsui/fengsui/firmware/button"
)

// The circuit of the package's drawing, in kΩ: with every resistor 5 % off to
// the worse side, 100 Ω of cable, 10 kΩ of wet cable beside it and a contact of
// 2 kΩ, each state stays in its window.
func TestTheCircuitKeepsItsWindows(t *testing.T) {
	const up, end, series = 2.2, 4.7, 1.2
	parallel := func(a, b float64) float64 { return a * b / (a + b) }
	for _, tol := range []float64{0.95, 1, 1.05} {
		for _, cable := range []float64{0, 0.1} {
			for _, wet := range []float64{10, 1e9} {
				for _, contact := range []float64{0, 2} {
					part := func(load float64) float64 {
						load = parallel(load+cable, wet)
						return load / (load + up/tol)
					}
					for what, c := range map[string]struct {
						load float64
						want button.LoopState
					}{
						"at rest": {end * tol, button.LoopNormal},
						"pressed": {parallel(end*tol, series*tol+contact), button.LoopAlarm},
						"short":   {0, button.LoopShort},
					} {
						if got := button.WindowOf(part(c.load)); got != c.want {
							t.Errorf("%s, resistors × %v, cable %v, wet %v, contact %v: %.2f of the supply is %v", what, tol, cable, wet, contact, part(c.load), got)
						}
					}
				}
			}
		}
	}
	for cut, want := range map[float64]button.LoopState{1e9: button.LoopOpen, 20: button.LoopOpen} { // 20 kΩ of a wet end
		if got := button.WindowOf(cut / (cut + up)); got != want {
			t.Errorf("cut, %v kΩ: %v", cut, got)
		}
	}
}

// loopBench is an analogue loop that a hand changes.
type loopBench struct {
	mu    sync.Mutex
	mv    float64
	err   error
	reads int
}

func (b *loopBench) set(mv float64, err error) { b.mu.Lock(); b.mv, b.err = mv, err; b.mu.Unlock() }

func (b *loopBench) read() (float64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reads++
	return b.mv, b.err
}

// What the drawing's circuit shows of 3.3 V.
const rest, pressed, cut, short = 2248, 1000, 3300, 0

func watchLoop(t *testing.T, l button.Loop, hand func()) []button.Kind {
	var got []button.Kind
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		button.WatchLoop(ctx, l, button.Timing{}, func(k button.Kind) { got = append(got, k) }, nil)
	})
	hand()
	stop()
	wg.Wait()
	return got
}

func TestLoop(t *testing.T) {
	broken := errors.New("no answer from the converter")
	type move struct {
		mv    float64
		err   error
		lasts time.Duration
	}
	for name, c := range map[string]struct {
		moves []move
		want  []button.Kind
	}{
		"at rest":            {[]move{{rest, nil, time.Hour}}, nil},
		"a press":            {[]move{{rest, nil, time.Second}, {pressed, nil, 100 * ms}, {rest, nil, time.Second}}, []button.Kind{button.Pressed, button.Released}},
		"a glitch":           {[]move{{rest, nil, time.Second}, {pressed, nil, 8 * ms}, {rest, nil, time.Second}}, nil},
		"cut, and mended":    {[]move{{rest, nil, time.Second}, {cut, nil, time.Minute}, {rest, nil, time.Minute}}, []button.Kind{button.Cut, button.Mended}},
		"cut at the start":   {[]move{{cut, nil, time.Second}}, []button.Kind{button.Cut}},
		"short is no press":  {[]move{{rest, nil, time.Second}, {short, nil, time.Minute}}, []button.Kind{button.Shorted}},
		"a tug at the cable": {[]move{{rest, nil, time.Second}, {cut, nil, 200 * ms}, {rest, nil, time.Second}}, nil},
		"cut, then shorted":  {[]move{{rest, nil, time.Second}, {cut, nil, time.Second}, {short, nil, time.Second}, {rest, nil, 2 * time.Second}}, []button.Kind{button.Cut, button.Shorted, button.Mended}},
		"pressed, then cut off": {
			[]move{{rest, nil, time.Second}, {pressed, nil, 100 * ms}, {cut, nil, time.Second}},
			[]button.Kind{button.Pressed, button.Released, button.Cut},
		},
		"a press while the cable's fault stands": {
			[]move{{cut, nil, time.Second}, {rest, nil, 100 * ms}, {pressed, nil, 100 * ms}, {rest, nil, 2 * time.Second}},
			[]button.Kind{button.Cut, button.Pressed, button.Released, button.Mended},
		},
		"measurements that fail release no button": {
			[]move{{rest, nil, time.Second}, {pressed, nil, 100 * ms}, {0, broken, time.Second}, {pressed, nil, 2 * time.Second}, {rest, nil, 2 * time.Second}},
			[]button.Kind{button.Pressed, button.Unread, button.Mended, button.Released},
		},
		"one that fails is nothing": {[]move{{rest, nil, time.Second}, {0, broken, 50 * ms}, {rest, nil, time.Second}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &loopBench{mv: c.moves[0].mv, err: c.moves[0].err}
				start := time.Now()
				got := watchLoop(t, button.Analog{Read: b.read, Supply: 3300}, func() {
					for _, m := range c.moves {
						b.set(m.mv, m.err)
						time.Sleep(m.lasts)
					}
				})
				if !slices.Equal(got, c.want) {
					t.Errorf("got %v, want %v", got, c.want)
				}
				if most := int(time.Since(start)/(4*ms)) + 10; b.reads > most {
					t.Errorf("%d reads in %v", b.reads, time.Since(start))
				}
			})
		})
	}
}

// Bounce between rest and pressed is one press, whatever the cable does later,
// and whichever way the loop is read.
func TestABouncingLoopIsOnePress(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(1, 3).Draw(rt, "presses")
		changes, end := bouncing(rt, n)
		pair := rapid.Bool().Draw(rt, "behind comparators")
		var got []button.Kind
		synctest.Test(t, func(t *testing.T) {
			b := &loopBench{mv: rest}
			contact, window := newIoctlPin(gpio.High), newIoctlPin(gpio.High)
			var l button.Loop = button.Analog{Read: b.read, Supply: 3300}
			if pair {
				l = button.Pair{Contact: contact, Window: window, Low: gpio.Low, Inside: gpio.High}
			}
			got = watchLoop(t, l, func() {
				start, down := time.Now(), false
				for _, at := range changes {
					time.Sleep(at - time.Since(start))
					down = !down
					contact.set(gpio.Level(!down), true)
					b.set(map[bool]float64{true: pressed, false: rest}[down], nil)
				}
				time.Sleep(end - time.Since(start))
				contact.set(gpio.Low, true) // a short: below both limits
				window.set(gpio.Low, false)
				b.set(short, nil)
				time.Sleep(time.Second)
			})
		})
		if want := append(presses(n), button.Shorted); !slices.Equal(got, want) {
			rt.Fatalf("pair %v: %v, want %v", pair, got, want)
		}
	})
}

func TestPair(t *testing.T) {
	for _, c := range []struct {
		contact, window gpio.Level
		want            button.LoopState
	}{
		{gpio.High, gpio.High, button.LoopNormal},
		{gpio.Low, gpio.High, button.LoopAlarm},
		{gpio.High, gpio.Low, button.LoopOpen},
		{gpio.Low, gpio.Low, button.LoopShort},
	} {
		p := button.Pair{Contact: newIoctlPin(c.contact), Window: newIoctlPin(c.window), Low: gpio.Low, Inside: gpio.High}
		if got, err := p.State(); got != c.want || err != nil {
			t.Errorf("contact %v, window %v: %v, %v", c.contact, c.window, got, err)
		}
	}
}
