package supervise_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fengsui/fengsui/cloud-bridge/incident"
	"github.com/fengsui/fengsui/cloud-bridge/store"
	"github.com/fengsui/fengsui/cloud-bridge/supervise"
	"github.com/fengsui/fengsui/firmware/wire"
)

// A centre is a store that is supervised, on a file that outlives it. It runs in
// a bubble.
type centre struct {
	t       *testing.T
	file    string
	devices int
	hearing atomic.Int32 // supervise.Hearing
	mute    []bool
	began   time.Time

	store *store.Store
	stop  func()
}

// start opens the store and supervises it.
func (c *centre) start() {
	c.t.Helper()
	var err error
	if c.store, err = store.Open(context.Background(), c.file, nil); err != nil {
		c.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var parts sync.WaitGroup
	parts.Go(func() {
		supervise.Run(ctx, c.store, supervise.DefaultLimits(), func() supervise.Hearing { return supervise.Hearing(c.hearing.Load()) }, slog.New(slog.DiscardHandler))
	})
	c.stop = func() {
		cancel()
		parts.Wait()
		if err := c.store.Shut(); err != nil {
			c.t.Error(err)
		}
	}
}

func (c *centre) register() {
	c.t.Helper()
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, 32)).Public().(ed25519.PublicKey)
	var rs []store.Registration
	for i := range c.devices {
		kind := store.AlarmBox
		if i%10 == 9 {
			kind = store.PatrolCar
		}
		rs = append(rs, store.Registration{ID: name(i), Kind: kind, Key: key})
	}
	if err := c.store.Register(context.Background(), rs...); err != nil {
		c.t.Fatal(err)
	}
}

func name(i int) string { return fmt.Sprintf("d-%04d", i) }

// run lets time pass in which the devices say hello every 30 s, in thirds.
func (c *centre) run(d time.Duration) {
	c.t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(time.Second) {
		now := time.Now()
		second := int(now.Sub(c.began) / time.Second)
		if second%10 != 0 || supervise.Hearing(c.hearing.Load()) != supervise.Hears {
			continue
		}
		var b store.Batch
		for i := range c.devices {
			if i%3 == second/10%3 && !c.mute[i] {
				b.Greetings = append(b.Greetings, store.Greeting{Received: now, Hello: &wire.Hello{
					Device: name(i), Stream: wire.StreamID{byte(i), byte(i >> 8)}, Boot: 1, MonoMs: uint64(now.Sub(c.began).Milliseconds()) + 1,
				}})
			}
		}
		if _, err := c.store.Commit(context.Background(), b); err != nil {
			c.t.Fatal(err)
		}
	}
}

// incidents counts those of each kind and state.
func (c *centre) incidents() map[string]int {
	c.t.Helper()
	is, err := c.store.Incidents(context.Background(), store.Filter{})
	if err != nil {
		c.t.Fatal(err)
	}
	n := make(map[string]int)
	for _, i := range is {
		n[string(i.Kind)+" "+string(i.State)]++
	}
	return n
}

// A thousand devices with the real store: a start of the centre opens nothing,
// a broker that is away opens one incident, which closes, and who stays silent
// after it is told within a time.
func TestAThousandDevices(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &centre{t: t, file: filepath.Join(t.TempDir(), "centre.db"), devices: 1000, mute: make([]bool, 1000), began: time.Now()}
		c.start()
		defer func() { c.stop() }()
		c.register()
		c.run(5 * time.Minute)

		c.stop()
		time.Sleep(15 * time.Minute)
		c.start()
		c.run(5 * time.Minute)
		if n := c.incidents(); len(n) != 0 {
			t.Fatalf("after a start of the centre: %v", n)
		}

		c.mute[9], c.mute[10] = true, true // a car and a box
		c.run(121 * time.Second)           // their last hello is up to 30 s old
		if n := c.incidents(); n["offline open"] != 2 || len(n) != 1 {
			t.Fatalf("two fell silent: %v", n)
		}
		is, err := c.store.Incidents(context.Background(), store.Filter{States: []incident.State{incident.Open}})
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range is {
			if told := i.Received.Sub(i.Pressed.Time); told > 90*time.Second || told < 80*time.Second {
				t.Errorf("%s told after %v: want 80 to 90 s", i.Device, told)
			}
		}
		if is[0].Device != name(10) {
			t.Errorf("%s stands before the box", is[0].Device)
		}
		c.mute[9], c.mute[10] = false, false
		c.run(time.Minute)
		if n := c.incidents(); n["offline closed"] != 2 || len(n) != 1 {
			t.Fatalf("both are back: %v", n)
		}

		c.hearing.Store(int32(supervise.NoBroker))
		c.run(10 * time.Minute)
		if n := c.incidents(); n["district_link_lost open"] != 1 || n["offline open"] != 0 {
			t.Fatalf("without the broker: %v", n)
		}
		c.hearing.Store(int32(supervise.Hears))
		c.mute[20] = true
		c.run(10 * time.Minute)
		if n := c.incidents(); n["district_link_lost closed"] != 1 || n["offline open"] != 1 || n["offline closed"] != 2 {
			t.Fatalf("with the broker again: %v", n)
		}
	})
}
