package button_test

import (
	"encoding/json"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"periph.io/x/conn/v3/gpio"

	"github.com/fengsui/fengsui/firmware/button"
)

// A corpus is testdata/bounce.json.
type corpus struct {
	Source     string `json:"source"`
	Recordings []struct {
		Switch  string          `json:"switch"`
		Edge    string          `json:"edge"`
		Changes []time.Duration `json:"changes_us"` // each turns the contact over; the first is the edge
	} `json:"recordings"`
	Switches []struct {
		Switch  string             `json:"switch"`
		Closing [][2]time.Duration `json:"closing_us"` // from when to when it bounces
		Opening [][2]time.Duration `json:"opening_us"`
	} `json:"switches"`
}

func loadCorpus(t *testing.T) *corpus {
	t.Helper()
	b, err := os.ReadFile("testdata/bounce.json")
	if err != nil {
		t.Fatal(err)
	}
	c := new(corpus)
	if err := json.Unmarshal(b, c); err != nil {
		t.Fatal(err)
	}
	for _, r := range c.Recordings {
		if len(r.Changes)%2 != 1 || !slices.IsSorted(r.Changes) || r.Edge != "closing" && r.Edge != "opening" {
			t.Fatalf("recording %+v: want an odd number of changes, in order, of a closing or an opening", r)
		}
	}
	return c
}

// seeded returns a generator whose seed is told, and taken from FENGSUI_SEED.
func seeded(t *testing.T) *rand.Rand {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("FENGSUI_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatalf("FENGSUI_SEED: %v", err)
		}
	}
	t.Logf("FENGSUI_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

const µs = time.Microsecond

// edge returns the changes of one edge: a recording, one in the way of a switch
// that was measured, or one of any length up to the worst of the switches in J.
// Ganssle's "A Guide to Debouncing" (1.6 ms on average, 6.2 ms at worst, an odd
// one left aside).
func (c *corpus) edge(rng *rand.Rand, kind string) []time.Duration {
	within := func(bursts [][2]time.Duration, most time.Duration) (changes []time.Duration) {
		changes = []time.Duration{0}
		for _, b := range bursts {
			at := max(b[0], changes[len(changes)-1]+1)
			for {
				at += 2*µs + time.Duration(rng.Int64N(int64(most)))
				back := at + 2*µs + time.Duration(rng.Int64N(int64(most)))
				if back > b[1] {
					break
				}
				changes = append(changes, at, back)
				at = back
			}
		}
		return changes
	}
	switch rng.IntN(5) {
	case 0:
		for {
			if r := c.Recordings[rng.IntN(len(c.Recordings))]; r.Edge == kind {
				changes := make([]time.Duration, len(r.Changes))
				for i, us := range r.Changes {
					changes[i] = us * µs
				}
				return changes
			}
		}
	case 1:
		length := min(time.Duration(rng.ExpFloat64()*1600)*µs, 6200*µs)
		return within([][2]time.Duration{{0, length}}, 500*µs)
	}
	s := c.Switches[rng.IntN(len(c.Switches))]
	bursts := s.Closing
	if kind == "opening" {
		bursts = s.Opening
	}
	scaled := make([][2]time.Duration, len(bursts))
	for i, b := range bursts {
		scaled[i] = [2]time.Duration{b[0] * µs, b[1] * µs}
	}
	return within(scaled, 100*µs)
}

// press returns the changes of one press, and the end of its trace.
func (c *corpus) press(rng *rand.Rand) (changes []time.Duration, end time.Duration) {
	at := 50*ms + time.Duration(rng.Int64N(int64(50*ms)))
	add := func(edge []time.Duration) {
		for _, d := range edge {
			changes = append(changes, at+d)
		}
		at = changes[len(changes)-1]
	}
	add(c.edge(rng, "closing"))
	at += 80*ms + time.Duration(rng.Int64N(int64(time.Second)))
	add(c.edge(rng, "opening"))
	return changes, at + 200*ms
}

// Ten thousand presses of switches as they were measured make ten thousand
// events, whenever and however fast the line is read.
func TestTenThousandTracesAreOnePressEach(t *testing.T) {
	c, rng := loadCorpus(t), seeded(t)
	twice := 0
	for i := range 10_000 {
		changes, end := c.press(rng)
		step := 500*µs + time.Duration(rng.Int64N(int64(5500*µs)))
		if got := feed(button.NewDebouncer(button.Timing{}), step, end, changes...); !slices.Equal(got, presses(1)) {
			t.Fatalf("trace %d, read every %v: %v, want one press\n%v", i, step, got, changes)
		}
		// The control: without its time the same machine is fooled.
		if i < 1000 {
			hasty := button.NewDebouncer(button.Timing{Confirm: 1})
			if got := feed(hasty, 2*µs, changes[0]+10*ms, changes...); len(got) > 1 {
				twice++
			}
		}
	}
	if twice < 300 {
		t.Errorf("only %d of 1,000 closings fool a machine without debouncing: the traces do not bounce", twice)
	}
}

// Every recording, as it is, at both ends of a press.
func TestEveryRecordingIsOnePress(t *testing.T) {
	c := loadCorpus(t)
	for _, down := range c.Recordings {
		for _, up := range c.Recordings {
			if down.Edge != "closing" || up.Edge != "opening" {
				continue
			}
			var changes []time.Duration
			for _, us := range down.Changes {
				changes = append(changes, 100*ms+us*µs)
			}
			for _, us := range up.Changes {
				changes = append(changes, 250*ms+us*µs)
			}
			for _, step := range []time.Duration{500 * µs, ms, 4 * ms, 6 * ms} {
				if got := feed(button.NewDebouncer(button.Timing{}), step, time.Second, changes...); !slices.Equal(got, presses(1)) {
					t.Errorf("%s, then %s, read every %v: %v", down.Switch, up.Switch, step, got)
				}
			}
		}
	}
}

// A part of them through the loop that reads a pin, edges and all.
func TestTracesThroughThePin(t *testing.T) {
	c, rng := loadCorpus(t), seeded(t)
	for i := range 500 {
		changes, end := c.press(rng)
		synctest.Test(t, func(t *testing.T) {
			p := newIoctlPin(gpio.High)
			got := watch(t.Context(), p, func() {
				start, level := time.Now(), gpio.High
				for _, at := range changes {
					time.Sleep(at - time.Since(start))
					level = !level
					p.set(level, true)
				}
				time.Sleep(end - time.Since(start))
			})
			if !slices.Equal(got, presses(1)) {
				t.Fatalf("trace %d: %v, want one press\n%v", i, got, changes)
			}
		})
	}
}
