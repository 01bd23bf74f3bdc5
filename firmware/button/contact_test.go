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

	"github.com/fengsui/fengsui/firmware/button"
)

// contact moves an active-high line and returns when its state changed, such as
// "1.5s on".
func contact(t *testing.T, hold time.Duration, level gpio.Level, move func(set func(gpio.Level))) []string {
	t.Helper()
	var got []string
	synctest.Test(t, func(t *testing.T) {
		p := newIoctlPin(level)
		ctx, stop := context.WithCancel(t.Context())
		start := time.Now()
		var wg sync.WaitGroup
		wg.Go(func() {
			button.WatchContact(ctx, p, gpio.High, hold, func(on bool) {
				got = append(got, fmt.Sprintf("%v %s", time.Since(start).Round(500*ms), map[bool]string{true: "on", false: "off"}[on]))
			})
		})
		move(func(l gpio.Level) { p.set(l, true) })
		stop()
		wg.Wait()
		if p.reads > int(time.Since(start)/(4*ms))+10 {
			t.Errorf("%d reads in %v", p.reads, time.Since(start))
		}
	})
	return got
}

func TestContact(t *testing.T) {
	const s = time.Second
	pulses := func(set func(gpio.Level), n int, high, low time.Duration) {
		for range n {
			set(gpio.High)
			time.Sleep(high)
			set(gpio.Low)
			time.Sleep(low)
		}
	}
	for name, c := range map[string]struct {
		hold  time.Duration
		level gpio.Level
		move  func(set func(gpio.Level))
		want  []string
	}{
		"at rest":       {10 * s, gpio.Low, func(func(gpio.Level)) { time.Sleep(time.Hour) }, nil},
		"at the start":  {10 * s, gpio.High, func(func(gpio.Level)) { time.Sleep(time.Hour) }, []string{"10s on"}},
		"mains flicker": {10 * s, gpio.Low, func(set func(gpio.Level)) { pulses(set, 100, 2*s, 3*s) }, nil},
		"mains lost, then back": {10 * s, gpio.Low, func(set func(gpio.Level)) {
			time.Sleep(5 * s)
			set(gpio.High)
			time.Sleep(60 * s)
			set(gpio.Low)
			time.Sleep(60 * s)
		}, []string{"15s on", "1m15s off"}},
		"a blink of it does not end it": {10 * s, gpio.High, func(set func(gpio.Level)) {
			time.Sleep(20 * s)
			set(gpio.Low)
			time.Sleep(9 * s)
			set(gpio.High)
			time.Sleep(60 * s)
		}, []string{"10s on"}},
		"mostly lost is lost": {10 * s, gpio.Low, func(set func(gpio.Level)) { pulses(set, 20, 9*s, s) }, []string{"12s on"}},
		"tamper":              {100 * ms, gpio.Low, func(set func(gpio.Level)) { time.Sleep(s); set(gpio.High); time.Sleep(s) }, []string{"1s on"}},
		"a knock on the box":  {100 * ms, gpio.Low, func(set func(gpio.Level)) { pulses(set, 20, 15*ms, 200*ms) }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			if got := contact(t, c.hold, c.level, c.move); !slices.Equal(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

// A process that stood still between two reads has not seen the line all that
// while: two reads are no proof, however far apart.
func TestContactWantsFourReads(t *testing.T) {
	c := button.NewContact(10 * time.Second)
	reads := 0
	for at := time.Duration(0); !c.Read(at, true); at += time.Hour {
		reads++
	}
	if reads != 3 {
		t.Errorf("on after %d reads before the last, want 3", reads)
	}
}
