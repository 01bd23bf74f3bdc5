package peer

import (
	"math/rand/v2"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fengsui/fengsui/firmware/spool"
	"github.com/fengsui/fengsui/firmware/wire"
	"github.com/fengsui/fengsui/sim/torture"
)

// fault is a body that tells one event from another.
func fault(r *rand.Rand) wire.Body { return &wire.Fault{Code: "x", Active: r.IntN(2) == 0} }

// TestMisbehavingPeer is rig 5: after any run of misbehaviours every event is in
// the database exactly once, and a minute without an Ack was a fault that people
// see.
func TestMisbehavingPeer(t *testing.T) {
	seed := torture.Seed(t)
	var v torture.Verdict
	rounds, events := torture.N(5, 200), 0
	for round := range rounds {
		dir := t.TempDir()
		r := rand.New(rand.NewPCG(seed, uint64(round)))
		synctest.Test(t, func(t *testing.T) {
			g := newRig(t, dir, r, spool.Options{})
			g.listen()
			for range 12 {
				m := mode(r.IntN(int(modes)))
				g.proxy.set(m)
				// Alarms and others come while it lasts.
				for range 1 + r.IntN(8) {
					g.append(wire.Lanes()[r.IntN(3)], fault(r))
					time.Sleep(time.Duration(r.IntN(12_000)) * time.Millisecond)
				}
				if m == swallow || m == cut || m == hole || m == deaf {
					if g.append(wire.Alarm, fault(r)); g.waiting() > 0 {
						time.Sleep(66 * time.Second)
						if !g.up.Status().Silent {
							v.Wrong = append(v.Wrong, m.String()+": a minute without an Ack, and no fault")
						}
					}
				}
			}
			g.proxy.set(pass)
			time.Sleep(3 * time.Minute)
			if n := g.waiting(); n > 0 {
				v.Lost = append(v.Lost, "some never leave the device")
				t.Logf("%d wait: %v", n, g.spool.Depth())
			}
			if g.up.Status().Silent {
				v.Wrong = append(v.Wrong, "the fault does not end")
			}
			g.judge(&v)
			events += len(g.made)
			g.stop()
		})
	}
	v.Report(t, "%d rounds of 12 modes, %d events", rounds, events)
}

func TestPeerWithoutUniqueIndex(t *testing.T) {
	torture.Mutate(t, "unique-index-off", "TestMisbehavingPeer")
}

func TestPeerWithoutLaneOrder(t *testing.T) {
	torture.Mutate(t, "lane-order-off", "TestMisbehavingPeer")
}

// TestLongOutage is rig 6: three days without a link while events flow, then a
// thousand connections that break at any point, until all is there.
func TestLongOutage(t *testing.T) {
	seed := torture.Seed(t)
	hours, reconnects := torture.N(8, 72), torture.N(60, 1000)
	dir := t.TempDir()
	var v torture.Verdict
	events := 0
	synctest.Test(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(seed, 6))
		g := newRig(t, dir, r, spool.Options{})
		g.proxy.set(cut)
		for range hours * 60 / 10 { // a heartbeat and some track each ten minutes, an alarm now and then
			g.append(wire.Duty, fault(r))
			for range 3 {
				g.append(wire.Track, fault(r))
			}
			if r.IntN(30) == 0 {
				g.append(wire.Alarm, fault(r))
			}
			time.Sleep(10 * time.Minute)
		}
		// A dial a minute at most, or each eight seconds with an alarm.
		if n, most := g.proxy.dialled(), hours*3600/2; n > most || n < hours*60/2 {
			v.Wrong = append(v.Wrong, "dials of the outage")
			t.Errorf("%d dials in %d hours", n, hours)
		}
		if !g.up.Status().Silent {
			v.Wrong = append(v.Wrong, "three days, and no fault")
		}
		g.listen()
		runtime.GC()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		tasks := runtime.NumGoroutine()
		for i := range reconnects {
			g.proxy.set(pass)
			dials := g.proxy.dialled()
			for g.proxy.dialled() == dials {
				time.Sleep(time.Second)
			}
			time.Sleep(time.Duration(r.IntN(40)) * time.Millisecond)
			g.proxy.set(cut)
			if i%10 == 0 {
				g.append(wire.Lanes()[r.IntN(3)], fault(r))
			}
			time.Sleep(time.Duration(r.IntN(20)) * time.Second)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		if n := runtime.NumGoroutine(); n > tasks+20 {
			v.Wrong = append(v.Wrong, "goroutines are left")
			t.Errorf("%d goroutines, %d before the reconnects", n, tasks)
		}
		if after.HeapAlloc > before.HeapAlloc+32<<20 {
			v.Wrong = append(v.Wrong, "memory is left")
			t.Errorf("heap of %d bytes, %d before the reconnects", after.HeapAlloc, before.HeapAlloc)
		}
		g.proxy.set(pass)
		time.Sleep(10 * time.Minute)
		if n := g.waiting(); n > 0 {
			v.Lost = append(v.Lost, "some never leave the device")
			t.Logf("%d wait: %v", n, g.spool.Depth())
		}
		g.judge(&v)
		events = len(g.made)
		g.stop()
	})
	v.Report(t, "%d hours without a link, %d reconnects, %d events", hours, reconnects, events)
}
