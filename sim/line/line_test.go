package line_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"periph.io/x/conn/v3/gpio"

	"github.com/fengsui/fengsui/sim/line"
)

type edge struct {
	name  string
	level gpio.Level
}

func bank(t *testing.T) (*line.Bank, func() []edge) {
	t.Helper()
	var edges []edge
	start := time.Now()
	return line.NewBank(func() time.Duration { return time.Since(start) }, func(name string, l gpio.Level, _ time.Duration) {
		edges = append(edges, edge{name, l})
	}), func() []edge { return edges }
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestWaitForEdgeIsTheDrivers(t *testing.T) {
	for name, c := range map[string]struct {
		timeout time.Duration
		press   time.Duration // when the edge comes; 0: never
		want    bool
		took    time.Duration
	}{
		"an edge in time":              {time.Second, 300 * time.Millisecond, true, 300 * time.Millisecond},
		"no edge":                      {time.Second, 0, false, time.Second},
		"0 waits for ever":             {0, time.Hour, true, time.Hour},
		"negative returns at once":     {-1, 0, false, 0},
		"negative ignores the waiting": {-1, -1, false, 0},
		"a waiting edge":               {time.Second, -1, true, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, _ := bank(t)
				l := b.Line("GPIO17")
				must(t, l.In(gpio.PullUp, gpio.BothEdges))
				if c.press < 0 {
					must(t, l.Drive(line.Low))
				} else if c.press > 0 {
					go func() {
						time.Sleep(c.press)
						_ = l.Drive(line.Low)
					}()
				}
				start := time.Now()
				if got := l.WaitForEdge(c.timeout); got != c.want || time.Since(start) != c.took {
					t.Errorf("got %v after %v, want %v after %v", got, time.Since(start), c.want, c.took)
				}
			})
		})
	}
}

func TestHaltEndsAWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _ := bank(t)
		l := b.Line("A")
		must(t, l.In(gpio.PullUp, gpio.FallingEdge))
		go func() {
			time.Sleep(time.Second)
			_ = l.Halt()
		}()
		if l.WaitForEdge(0) {
			t.Error("an edge, want none")
		}
		must(t, l.Halt()) // without a wait it does nothing
	})
}

func TestNoEdgesNoWait(t *testing.T) {
	b, _ := bank(t)
	l := b.Line("A")
	if l.WaitForEdge(0) {
		t.Error("an edge on a line that was not set up")
	}
	must(t, l.In(gpio.PullUp, gpio.NoEdge))
	if l.WaitForEdge(0) {
		t.Error("an edge on a line without edges")
	}
}

func TestLevels(t *testing.T) {
	b, edges := bank(t)
	l := b.Line("A")
	must(t, l.In(gpio.PullUp, gpio.NoEdge))
	if l.Read() != gpio.High {
		t.Error("open and pulled up: want high")
	}
	must(t, l.Drive(line.Low))
	if l.Read() != gpio.Low {
		t.Error("driven low: want low")
	}
	must(t, l.Drive(line.Open))
	must(t, l.In(gpio.PullDown, gpio.NoEdge))
	if l.Read() != gpio.Low {
		t.Error("open and pulled down: want low")
	}
	must(t, l.Drive(line.High))
	if l.Read() != gpio.High {
		t.Error("driven high: want high")
	}
	if len(edges()) != 0 {
		t.Errorf("inputs made output edges: %v", edges())
	}
	if err := l.Drive("sideways"); !errors.Is(err, line.ErrDrive) {
		t.Errorf("got %v, want ErrDrive", err)
	}
}

func TestOutputEdges(t *testing.T) {
	b, edges := bank(t)
	l := b.Line("GPIO5")
	for _, level := range []gpio.Level{gpio.Low, gpio.High, gpio.High, gpio.Low, gpio.High} {
		must(t, l.Out(level))
	}
	// Reading an output turns it into an input that is pulled up; driving it
	// again goes through low.
	if l.Read() != gpio.High {
		t.Error("the pull-up is not there")
	}
	must(t, l.Out(gpio.High))
	want := []gpio.Level{gpio.High, gpio.Low, gpio.High, gpio.Low, gpio.High}
	got := edges()
	if len(got) != len(want) {
		t.Fatalf("got %v, want the levels %v", got, want)
	}
	for i, w := range want {
		if got[i] != (edge{"GPIO5", w}) {
			t.Errorf("edge %d is %v, want %v", i, got[i], w)
		}
	}
}

func TestSixteenEdgesWait(t *testing.T) {
	b, _ := bank(t)
	l := b.Line("A")
	must(t, l.In(gpio.PullUp, gpio.BothEdges))
	for range 20 {
		must(t, l.Drive(line.Low))
		must(t, l.Drive(line.Open))
	}
	n := 0
	for l.WaitForEdge(time.Millisecond) {
		n++
	}
	if n != 16 {
		t.Errorf("%d edges waited, want 16", n)
	}
}

func TestBounceRests(t *testing.T) {
	for seed := range uint64(200) {
		train := line.Bounce(line.Low, line.Open, rand.New(rand.NewPCG(seed, 0)))
		last := time.Duration(-1)
		for i, m := range train {
			if m.After <= last || i > 0 && m.Drive == train[i-1].Drive {
				t.Fatalf("seed %d: move %d of %v does not go on", seed, i, train)
			}
			last = m.After
		}
		if train[len(train)-1].Drive != line.Low || train.Lasts() > 20*time.Millisecond {
			t.Fatalf("seed %d: %v does not rest low within 20 ms", seed, train)
		}
	}
}

func TestPlayKeepsTheTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _ := bank(t)
		l := b.Line("A")
		must(t, l.In(gpio.PullUp, gpio.BothEdges))
		start := time.Now()
		go func() {
			_ = l.Play(t.Context(), line.Train{{0, line.Low}, {time.Millisecond, line.Open}, {time.Second, line.Low}})
		}()
		for i, want := range []time.Duration{0, time.Millisecond, time.Second} {
			if !l.WaitForEdge(0) || time.Since(start) != want {
				t.Errorf("edge %d after %v, want %v", i, time.Since(start), want)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := l.Play(ctx, line.Train{{time.Hour, line.Low}}); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want the context's error", err)
		}
	})
}
