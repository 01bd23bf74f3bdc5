package drain_test

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fengsui/fengsui/cloud-bridge/bridge"
	"github.com/fengsui/fengsui/firmware/agent"
	"github.com/fengsui/fengsui/sim/desk"
	"github.com/fengsui/fengsui/sim/district"
	"github.com/fengsui/fengsui/sim/link"
	"github.com/fengsui/fengsui/sim/mono"
	"github.com/fengsui/fengsui/sim/scenario"
)

// BenchmarkButtonOnBacklog tells how long a press takes as people would measure
// it: from the touch of the contact, through the shipping agent (20 ms of
// debouncing are a part of that), a link, and the shipping centre, to the
// stream that a desk listens to. One car has nothing to send but its own track;
// another, of the same kind, is let loose with 100,000 batches queued. Rounds of
// presses on the one and on the other take turns, a few at a time, so that a slow
// moment of the machine meets both; in the rounds of the first the other has no
// link.
//
//	go test -run '^$' -bench ButtonOnBacklog -benchtime 1x ./sim/drain
func BenchmarkButtonOnBacklog(b *testing.B) {
	const rounds, presses, fixes = 16, 30, 8
	buttons := []string{"a", "b", "c", "d"} // in turn: a contact takes a while to come to rest
	car := scenario.Device{Kind: "patrol-car", GPS: true, Buttons: make(map[string]scenario.Button)}
	for _, name := range buttons {
		car.Buttons[name] = scenario.Button{Kind: "panic"}
	}
	data := b.TempDir()
	key, err := agent.LoadOrCreateKey(filepath.Join(data, "full"))
	if err != nil {
		b.Fatal(err)
	}
	fillTrack(b, "full", key, filepath.Join(data, "full", "spool.db"), *backlog, fixes)
	self, err := district.Self()
	if err != nil {
		b.Fatal(err)
	}
	d, err := district.Start(b.Context(), district.Options{
		Data: data, Devices: map[string]scenario.Device{"idle": car, "full": car}, DeskAddr: "127.0.0.1:0", Seed: 1, Starter: self,
		Centre: func(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
			return bridge.Run(ctx, "test", args, stdin, stdout, stderr)
		},
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := d.Close(); err != nil {
			b.Error(err)
		}
	})
	idle, full := device(b, d, "idle"), device(b, d, "full")
	if err := full.Link(link.Cut); err != nil {
		b.Fatal(err)
	}
	db, err := sql.Open("sqlite", "file:"+filepath.Join(data, "centre", "centre.db")+"?mode=ro&_pragma=busy_timeout(5000)")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { db.Close() })
	stored := func() (n int) {
		if err := db.QueryRow(`SELECT coalesce(max(up_to), 0) FROM lanes JOIN streams USING (stream) JOIN devices USING (device) WHERE lane = 3 AND devices.id = 'full'`).Scan(&n); err != nil {
			b.Fatal(err)
		}
		return n
	}
	told := listen(b, d.Desk)
	press := func(dev *district.Device, n int) time.Duration {
		time.Sleep(rand.N(60 * time.Millisecond)) // in no step with anything
		button := buttons[n%len(buttons)]
		at, err := dev.Press(b.Context(), button, district.PressOptions{Hold: true}) // a finger that waits: no machine is too slow for it
		if err != nil {
			b.Fatal(err)
		}
		defer func() {
			if err := dev.Release(button, false); err != nil {
				b.Error(err)
			}
			time.Sleep(20 * time.Millisecond)
		}()
		for late := time.After(20 * time.Second); ; {
			select {
			case t := <-told:
				if t.device == dev.ID {
					return t.at - at
				}
			case <-late:
				all, err := d.Desk.Incidents(b.Context())
				b.Fatalf("press %d on %s did not reach the desk: %+v %v, %+v", n, dev.ID, all, err, dev.View())
			}
		}
	}
	await := func(what string, f func() bool) {
		for end := time.Now().Add(60 * time.Second); !f(); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				b.Fatal(what)
			}
		}
	}
	await("the cars are not in touch", idle.Connected)
	for n := range 2 * len(buttons) { // the first is another way: an incident is begun
		press(idle, n)
	}
	var quiet, loud []time.Duration
	var sent int
	var sending time.Duration
	for b.Loop() {
		for n := 0; n < rounds && stored() < *backlog*9/10; n++ {
			for i := range presses {
				quiet = append(quiet, press(idle, i))
			}
			from := stored()
			if err := full.Link(link.Up); err != nil {
				b.Fatal(err)
			}
			await("the backlog does not drain", func() bool { return stored() >= from+200 })
			if n == 0 {
				for i := range 2 * len(buttons) {
					press(full, i)
				}
			}
			from, began := stored(), time.Now()
			for i := range presses {
				loud = append(loud, press(full, i))
			}
			sent, sending = sent+stored()-from, sending+time.Since(began)
			if err := full.Link(link.Cut); err != nil {
				b.Fatal(err)
			}
			time.Sleep(300 * time.Millisecond) // for what is on the way
		}
	}
	ms := func(ds []time.Duration, q float64) float64 {
		ds = slices.Sorted(slices.Values(ds))
		return float64(ds[int(q*float64(len(ds)-1))].Microseconds()) / 1000
	}
	var line strings.Builder
	for _, at := range []struct {
		name string
		q    float64
	}{{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}} {
		fmt.Fprintf(&line, " %s idle %.1f ms, backlog %.1f ms, ratio %.2f;", at.name, ms(quiet, at.q), ms(loud, at.q), ms(loud, at.q)/ms(quiet, at.q))
		if at.q != 0.9 {
			b.ReportMetric(ms(quiet, at.q), "idle-"+at.name+"-ms")
			b.ReportMetric(ms(loud, at.q), "backlog-"+at.name+"-ms")
			b.ReportMetric(ms(loud, at.q)/ms(quiet, at.q), at.name+"-ratio")
		}
	}
	b.ReportMetric(float64(sent)/sending.Seconds(), "drained-events/s")
	b.Logf("button to desk, %d presses each:%s %d of %d events left", len(quiet), line.String(), *backlog-stored(), *backlog)
}

func device(b *testing.B, d *district.District, id string) *district.Device {
	b.Helper()
	dev, err := d.Device(id)
	if err != nil {
		b.Fatal(err)
	}
	return dev
}

// A telling is a press that the desk's stream told of.
type telling struct {
	device string
	at     time.Duration // of package mono
}

// listen listens to the desk's stream. Each press is told once.
func listen(b *testing.B, c *desk.Client) <-chan telling {
	b.Helper()
	told, ready := make(chan telling, 1000), make(chan struct{})
	ctx, stop := context.WithCancel(b.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		presses := make(map[string]uint64)
		_ = c.Watch(ctx, func() { close(ready) }, func(i desk.Incident) {
			now := mono.Now()
			for ; presses[i.ID] < i.Presses; presses[i.ID]++ {
				told <- telling{i.Device, now}
			}
		})
	}()
	b.Cleanup(func() { stop(); <-ended })
	select {
	case <-ready:
	case <-time.After(20 * time.Second):
		b.Fatal("the desk's stream does not begin")
	}
	return told
}
