package uplink_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fengsui/fengsui/firmware/spool"
	"github.com/fengsui/fengsui/firmware/uplink"
	"github.com/fengsui/fengsui/firmware/wire"
)

// A waiting store has events that never go.
type waiting struct {
	window  map[wire.Lane]wire.Window
	changed chan struct{}
}

func (w waiting) Read(wire.Lane, uint64, int, int) ([]spool.Record, error) { return nil, nil }
func (w waiting) Ack(wire.Lane, uint64, *wire.Hash) error                  { return nil }
func (w waiting) Kept(wire.Lane, uint64)                                   {}
func (w waiting) Stream() wire.StreamID                                    { return wire.StreamID{1} }

func (w waiting) Parts() []uplink.Part              { return []uplink.Part{w} }
func (w waiting) Window() map[wire.Lane]wire.Window { return w.window }
func (w waiting) Changed() <-chan struct{}          { return w.changed }

// Devices that lose the centre at once do not come back in step: in no second
// after the first minute do more than a tenth of them dial, or two fifths while
// all of them have an alarm.
func TestAFleetDoesNotComeBackInStep(t *testing.T) {
	const devices = 2000
	for name, c := range map[string]struct {
		lane wire.Lane
		most int
		wait time.Duration // at most, between two dials of a device
	}{"track": {wire.Track, devices / 10, time.Minute}, "alarms": {wire.Alarm, devices * 2 / 5, 8 * time.Second}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var mu sync.Mutex
				dials := map[int64]int{}
				start := time.Now()
				longest := time.Duration(0)
				dial := func(last *time.Time) uplink.Dialer {
					return func(context.Context, string) (net.Conn, error) {
						mu.Lock()
						defer mu.Unlock()
						dials[int64(time.Since(start)/time.Second)]++
						longest = max(longest, time.Since(*last))
						*last = time.Now()
						return nil, errors.New("refused")
					}
				}
				window := map[wire.Lane]wire.Window{wire.Alarm: {Oldest: 1, Next: 1}, wire.Duty: {Oldest: 1, Next: 1}, wire.Track: {Oldest: 1, Next: 1}}
				window[c.lane] = wire.Window{Oldest: 1, Next: 9}
				ctx, stop := context.WithTimeout(t.Context(), 3*time.Minute)
				defer stop()
				var wg sync.WaitGroup
				for i := range devices {
					last := start
					u, err := uplink.New(uplink.Options{
						Device: fmt.Sprintf("box-%d", i), Servers: one, Key: deviceKey, CentreKey: pub(centreKey),
						Store: waiting{window, make(chan struct{})}, Dial: dial(&last),
					})
					if err != nil {
						t.Fatal(err)
					}
					wg.Go(func() { u.Run(ctx) })
				}
				wg.Wait()
				worst, total := 0, 0
				for second, n := range dials {
					if total += n; second >= 60 {
						worst = max(worst, n)
					}
				}
				t.Logf("worst second: %d of %d devices, %d dials in three minutes", worst, devices, total)
				if longest > c.wait {
					t.Errorf("a device waited %v between two dials: want %v at most", longest, c.wait)
				}
				if worst > c.most {
					t.Errorf("%d of %d devices dialled in one second: want at most %d", worst, devices, c.most)
				}
			})
		})
	}
}

func TestNewRefuses(t *testing.T) {
	good := uplink.Options{Device: "box-01", Servers: one, Key: deviceKey, CentreKey: pub(centreKey), Store: waiting{}}
	if _, err := uplink.New(good); err != nil {
		t.Fatal(err)
	}
	for want, spoil := range map[string]func(*uplink.Options){
		`device "Box 1"`:             func(o *uplink.Options) { o.Device = "Box 1" },
		"no server":                  func(o *uplink.Options) { o.Servers = nil },
		`server "centre": want host`: func(o *uplink.Options) { o.Servers = []string{"a:1", "centre"} },
		"device's key has 3 bytes":   func(o *uplink.Options) { o.Key = ed25519.PrivateKey("abc") },
		"centre's key has 0 bytes":   func(o *uplink.Options) { o.CentreKey = nil },
		"no store":                   func(o *uplink.Options) { o.Store = nil },
	} {
		o := good
		spoil(&o)
		if _, err := uplink.New(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: want it to say %s", err, want)
		}
	}
}

// The centre's time is taken only from an answer to this connection's newest
// hello, with the time that this took.
func TestCentreTime(t *testing.T) {
	inBubble(t, nil, func(r *rig, b *broker, c *centre) {
		time.Sleep(time.Second)
		r.append(wire.Alarm, 1) // its Ack answers no hello
		time.Sleep(time.Second)
		c.with(func() {
			old := &wire.Echo{Boot: 1, MonoMs: c.hellos[0].MonoMs + 1}
			c.ack("box-01", r.s.Stream(), centreKey, old)                                             // of another hello
			c.ack("box-01", r.s.Stream(), deviceKey, &wire.Echo{Boot: 1, MonoMs: c.hellos[0].MonoMs}) // not the centre's
		})
		time.Sleep(time.Second)
		synctest.Wait()
		if len(r.times) != 1 || r.times[0].UnixMilli() != centreTime || r.ways[0] < 0 || r.ways[0] > time.Second {
			t.Errorf("times %v after %v, want one", r.times, r.ways)
		}
	})
}
