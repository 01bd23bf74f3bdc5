package kill

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/fengsui/fengsui/cloud-bridge/bridge"
	"github.com/fengsui/fengsui/sim/district"
	"github.com/fengsui/fengsui/sim/lampwatch"
	"github.com/fengsui/fengsui/sim/scenario"
	"github.com/fengsui/fengsui/sim/torture"
	"github.com/fengsui/fengsui/sim/torture/witness"
)

// counts are what a round has done and judged.
type counts struct {
	devices, centre     int // kills
	presses             int
	reds                int // presses after which the red lamp was seen to be lit
	logged              int // alarms that a log called stored
	compared            int // spools of killed devices, against the database of a killed centre
	events, incidents   int // at the centre in the end
	captured, uncertain int
	unseen              int // presses that a box should have seen, and gave no sign of
}

func (c *counts) add(o counts) {
	c.devices += o.devices
	c.centre += o.centre
	c.presses += o.presses
	c.reds += o.reds
	c.logged += o.logged
	c.compared += o.compared
	c.events += o.events
	c.incidents += o.incidents
	c.captured += o.captured
	c.uncertain += o.uncertain
	c.unseen += o.unseen
}

func boxes() map[string]scenario.Device {
	m := make(map[string]scenario.Device)
	for i := range 4 {
		m[fmt.Sprintf("box-%02d", i+1)] = scenario.Device{
			Kind: "alarm-box", Health: scenario.Duration(5 * time.Second),
			Buttons: map[string]scenario.Button{"panic": {Kind: "panic"}, "fire": {Kind: "fire"}, "medical": {Kind: "medical"}},
		}
	}
	m["car-01"] = scenario.Device{
		Kind: "patrol-car", GPS: true, Track: scenario.Track{Batch: 2, CloseAfter: scenario.Duration(time.Second), StillEvery: scenario.Duration(time.Second)},
		Drive: &scenario.Drive{Route: []scenario.Place{{Lat: 30, Lon: 103}, {Lat: 30.01, Lon: 103}, {Lat: 30.01, Lon: 103.01}}, Speed: 15},
	}
	return m
}

// A red is a press after which the red lamp of an idle box was seen.
type red struct {
	device, button string
	at, lit        time.Duration // of package mono
}

// A rig is one district under torture.
type rig struct {
	d    *district.District
	data string
	v    *torture.Verdict

	lit     chan string            // boxes whose centre-has lamp has just been lit after a press
	touched chan string            // boxes that were just pressed
	holding map[string]*sync.Mutex // held by who has killed the device

	mu  sync.Mutex
	n   counts
	all []red
}

// round runs one district until n devices and n centres have been killed, lets
// it drain, and judges.
func round(t *testing.T, seed uint64, n int, v *torture.Verdict) counts {
	t.Helper()
	self, err := district.Self()
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{
		data: t.TempDir(), v: v, lit: make(chan string), touched: make(chan string), holding: make(map[string]*sync.Mutex),
	}
	r.d, err = district.Start(t.Context(), district.Options{
		Data: r.data, Devices: boxes(), DeskAddr: "127.0.0.1:0", Seed: seed, Starter: self,
		Centre: func(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
			return bridge.Run(ctx, "test", args, stdin, stdout, stderr)
		},
		Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := r.d.Close(); err != nil {
			t.Error(err)
		}
	}()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	limited, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if err := r.d.Ready(limited); err != nil {
		t.Fatal(err)
	}
	var flow, killers sync.WaitGroup
	for i, id := range r.d.IDs() {
		r.holding[id] = new(sync.Mutex)
		if len(boxes()[id].Buttons) > 0 {
			flow.Go(func() { r.press(ctx, id, rand.New(rand.NewPCG(seed, uint64(i)))) })
		}
	}
	flow.Go(func() { r.dispatch(ctx) })
	killers.Go(func() { r.killDevices(ctx, n, rand.New(rand.NewPCG(seed, 100))) })
	killers.Go(func() { r.killCentre(ctx, n, rand.New(rand.NewPCG(seed, 101))) })
	killers.Wait()
	stop()
	flow.Wait()
	r.drain(t)
	r.judge(t)
	return r.n
}

func (r *rig) lost(format string, a ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.v.Lost = append(r.v.Lost, fmt.Sprintf(format, a...))
}

func (r *rig) clean() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.v.Clean()
}

func (r *rig) count(f func(*counts)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f(&r.n)
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

func upTo(rng *rand.Rand, d time.Duration) time.Duration { return time.Duration(rng.Int64N(int64(d))) }

const (
	// dark is how long a box must have been idle before a press lights its lamp.
	dark = 300 * time.Millisecond
	// confirm is less than a button takes to be believed.
	confirm = 10 * time.Millisecond
)

// press presses a box's buttons, like several people, until ctx ends.
func (r *rig) press(ctx context.Context, id string, rng *rand.Rand) {
	dev, err := r.d.Device(id)
	if err != nil {
		r.lost("%v", err)
		return
	}
	buttons := slices.Sorted(maps.Keys(dev.Spec.Buttons))
	seen, unwatch := r.d.Watch()
	defer unwatch()
	for ; ctx.Err() == nil; pause(ctx, upTo(rng, 150*time.Millisecond)) {
		v := dev.View()
		if v.Queue == nil {
			pause(ctx, 20*time.Millisecond) // it is down or starts
			continue
		}
		if rng.IntN(3) > 0 { // only the red lamp of an idle box promises something
			for deadline := time.Now().Add(time.Second); (v.Lamps.Shows != "idle" || v.Lamps.ForMS <= 300) && v.Queue != nil && time.Now().Before(deadline); v = dev.View() {
				pause(ctx, 20*time.Millisecond)
			}
		}
		button := buttons[rng.IntN(len(buttons))]
		at, err := dev.Press(ctx, button, district.PressOptions{Bounce: rng.IntN(2) == 0, For: 60*time.Millisecond + upTo(rng, 200*time.Millisecond)})
		if err != nil {
			continue // the round is over
		}
		r.count(func(c *counts) { c.presses++ })
		offer(r.touched, id)
		// A lamp that goes out or comes back of itself is none that a press lights.
		if was, _ := dev.Lamps(at); was[0].Certain() != lampwatch.Idle || was[0].Since > at-dark {
			continue
		}
		// The red lamp comes within some 30 ms, or the box is killed; amber follows
		// when the centre has it.
		for deadline := time.After(time.Second); ; {
			lit, ok := dev.Red(at + confirm)
			v := dev.View()
			if ok && (v.Lamps.Amber.Lit || v.Queue == nil) || v.Queue == nil {
				if ok {
					r.saw(red{id, button, at, lit})
				}
				offer(r.lit, id)
				break
			}
			select {
			case <-seen:
				continue
			case <-ctx.Done():
			case <-deadline:
			}
			if ok {
				r.saw(red{id, button, at, lit})
			}
			break
		}
	}
}

func (r *rig) saw(s red) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, s)
}

// offer tells whoever waits just now.
func offer(c chan string, id string) {
	select {
	case c <- id:
	default:
	}
}

// dispatch closes incidents, so that boxes become idle again, until ctx ends.
func (r *rig) dispatch(ctx context.Context) {
	for ; ctx.Err() == nil; pause(ctx, 100*time.Millisecond) {
		open, err := r.d.Desk.Incidents(ctx)
		if err != nil {
			continue // the centre is dead
		}
		for _, i := range open {
			if i.State != "closed" {
				_ = r.d.Desk.CloseIncident(ctx, i.ID, "rig", "test", "") // or the centre has just died
			}
		}
	}
}

// moment waits for the moment of a kill: any, some time after a press, or the
// very moment at which a box shows that the centre has its alarm.
func (r *rig) moment(ctx context.Context, rng *rand.Rand, id string) string {
	switch rng.IntN(3) {
	case 0:
		pause(ctx, upTo(rng, 300*time.Millisecond))
	case 1:
		select {
		case pressed := <-r.touched:
			if id != "" {
				id = pressed
			}
		case <-time.After(2 * time.Second):
		case <-ctx.Done():
		}
		pause(ctx, upTo(rng, 60*time.Millisecond))
	default:
		select {
		case lit := <-r.lit:
			if id != "" {
				id = lit
			}
		case <-time.After(2 * time.Second):
		case <-ctx.Done():
		}
	}
	return id
}

// killDevices kills n devices, one after another.
func (r *rig) killDevices(ctx context.Context, n int, rng *rand.Rand) {
	ids := r.d.IDs()
	for i := 0; i < n && r.clean(); i++ {
		id := r.moment(ctx, rng, ids[rng.IntN(len(ids))])
		r.down(id, func(dev *district.Device) { pause(ctx, upTo(rng, 80*time.Millisecond)) })
		pause(ctx, upTo(rng, 200*time.Millisecond))
	}
}

// down kills a device, does something, and starts it again.
func (r *rig) down(id string, f func(*district.Device)) {
	r.holding[id].Lock()
	defer r.holding[id].Unlock()
	dev, err := r.d.Device(id)
	if err == nil {
		dev.PowerCut()
		r.count(func(c *counts) { c.devices++ })
		f(dev)
		err = dev.PowerRestore()
	}
	if err != nil {
		r.lost("%s does not start: %v", id, err)
	}
}

// killCentre kills the centre n times. After some it kills a device as well and
// compares what the two have.
func (r *rig) killCentre(ctx context.Context, n int, rng *rand.Rand) {
	ids := r.d.IDs()
	for i := 0; i < n && r.clean(); i++ {
		r.moment(ctx, rng, "")
		r.d.Centre.Kill()
		r.count(func(c *counts) { c.centre++ })
		if rng.IntN(2) == 0 {
			r.compare(ctx, ids[rng.IntN(len(ids))])
		} else {
			pause(ctx, upTo(rng, 50*time.Millisecond))
		}
		if err := r.d.Centre.Start(ctx); err != nil {
			r.lost("after kill %d: %v", i+1, err)
			return
		}
		// Some kills hit the start; most hit the flow after it.
		if rng.IntN(4) == 0 {
			continue
		}
		for deadline := time.Now().Add(3 * time.Second); time.Now().Before(deadline) && ctx.Err() == nil && r.clean(); pause(ctx, 20*time.Millisecond) {
			if r.connected() >= 2 {
				break
			}
		}
	}
}

func (r *rig) connected() (n int) {
	for _, id := range r.d.IDs() {
		if dev, err := r.d.Device(id); err == nil && dev.Connected() {
			n++
		}
	}
	return n
}

// compare kills a device and compares its spool with the dead centre's database.
func (r *rig) compare(ctx context.Context, id string) {
	r.down(id, func(*district.Device) {
		centre, err := witness.ReadCentre(ctx, filepath.Join(r.data, "centre"))
		var held witness.Spool
		if err == nil {
			held, err = witness.ReadSpool(id, filepath.Join(r.data, id))
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		if err != nil {
			r.v.Wrong = append(r.v.Wrong, err.Error())
			return
		}
		r.n.compared++
		centre.Deleted(held, r.v)
	})
}

// drain waits until the last press is over and no device has anything that
// waits.
func (r *rig) drain(t *testing.T) {
	t.Helper()
	time.Sleep(time.Second) // the last contact opens, and every device has told its queue
	for deadline := time.Now().Add(60 * time.Second); r.clean(); time.Sleep(100 * time.Millisecond) {
		var waiting []string
		for _, id := range r.d.IDs() {
			dev, err := r.d.Device(id)
			if err != nil {
				t.Fatal(err)
			}
			if q := dev.View().Queue; q == nil || !dev.Connected() || q["alarm"]+q["duty"] > 0 || q["track"] > 1 { // a car drives on
				waiting = append(waiting, fmt.Sprintf("%s %v", id, q))
			}
		}
		if len(waiting) == 0 {
			return
		}
		if time.Now().After(deadline) {
			r.lost("not drained within a minute: %v", waiting)
			return
		}
	}
}
