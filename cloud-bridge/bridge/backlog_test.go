package bridge_test

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/fengsui/fengsui/firmware/wire"
)

var queued = flag.Int("queued", 100_000, "events of the cars' backlog in BenchmarkBacklog, at its end")

// BenchmarkBacklog tells how long a press takes to the desk's stream, and its
// Ack back to the box, when nothing else happens and while fifty cars send
// queued batches of 60 fixes as fast as they are acknowledged: 200,000 at first,
// and never less than 100,000. Idle and busy rounds take turns, so that a slow
// moment of the disk meets both. The centre is a process of its own.
//
//	go test -run '^$' -bench Backlog -benchtime 1x ./cloud-bridge/bridge
func BenchmarkBacklog(b *testing.B) {
	const cars, rounds, presses = 50, 10, 60
	data := b.TempDir()
	raw, err := hex.DecodeString(strings.TrimSpace(must(b, "key", "--data", data)))
	if err != nil {
		b.Fatal(err)
	}
	var register strings.Builder
	fmt.Fprintf(&register, "devices:\n- {id: box-01, kind: alarm-box, key: %q}\n", publicHex(deviceKey))
	fleet := make([]*car, cars)
	for i := range fleet {
		fleet[i] = &car{id: fmt.Sprintf("car-%02d", i), news: make(chan struct{}, 1)}
		fmt.Fprintf(&register, "- {id: %s, kind: patrol-car, key: %q}\n", fleet[i].id, publicHex(deviceKey))
	}
	file := filepath.Join(b.TempDir(), "devices.yaml")
	if err := os.WriteFile(file, []byte(register.String()), 0o600); err != nil {
		b.Fatal(err)
	}
	p := startProcess(b, data, "--devices", file)
	var making sync.WaitGroup
	for _, c := range fleet {
		making.Go(func() { c.fill(b, 2**queued/cars) })
	}
	making.Wait()
	for _, c := range fleet {
		c.connect(b, p.mqtt, raw)
	}
	box := newPresser(b, p, raw)
	var idle, busy timings
	start, taken := time.Duration(0), 0
	for b.Loop() {
		for n := 0; n < rounds && left(fleet) >= *queued; n++ {
			for range presses {
				box.press(b, &idle)
			}
			ctx, stop := context.WithCancel(b.Context())
			var sending sync.WaitGroup
			from, at := left(fleet), time.Now()
			for _, c := range fleet {
				sending.Go(func() { c.send(ctx) })
			}
			for left(fleet) > from-len(fleet) {
				time.Sleep(time.Millisecond)
			}
			for range presses {
				box.press(b, &busy)
			}
			start, taken = start+time.Since(at), taken+from-left(fleet)
			stop()
			sending.Wait()
			for _, c := range fleet { // what is in flight
				c.settle(b)
			}
		}
	}
	b.Logf("idle:    %v\nbacklog: %v, %d of %d events left", &idle, &busy, left(fleet), 2**queued)
	for i, name := range []string{"desk", "ack"} {
		for at, q := range map[string]float64{"p50": 0.5, "p99": 0.99} {
			quiet, loud := quantile(idle[i], q), quantile(busy[i], q)
			b.ReportMetric(quiet, fmt.Sprintf("%s-idle-%s-ms", name, at))
			b.ReportMetric(loud, fmt.Sprintf("%s-backlog-%s-ms", name, at))
			b.ReportMetric(loud/quiet, fmt.Sprintf("%s-%s-ratio", name, at))
		}
	}
	b.ReportMetric(float64(taken)/start.Seconds(), "drained-events/s")
}

// timings are of presses: to the desk, and of the Ack back.
type timings [2][]time.Duration

func (t *timings) String() string {
	s := fmt.Sprintf("%d presses", len(t[0]))
	for i, name := range []string{"desk", "ack"} {
		s += fmt.Sprintf(", %s p50 %.2f p90 %.2f p99 %.2f ms", name, quantile(t[i], 0.5), quantile(t[i], 0.9), quantile(t[i], 0.99))
	}
	return s
}

// quantile returns a quantile in milliseconds.
func quantile(ds []time.Duration, q float64) float64 {
	ds = slices.Sorted(slices.Values(ds))
	return float64(ds[int(q*float64(len(ds)-1))].Microseconds()) / 1000
}

// A presser is an alarm box with a desk that listens.
type presser struct {
	client mqtt.Client
	down   <-chan wire.DownBody
	told   chan string // alarms that the desk's stream tells of
	seq    uint64
	prev   []byte
}

func newPresser(b *testing.B, p *process, centreKey ed25519.PublicKey) *presser {
	s := &presser{told: make(chan string, 100)}
	s.client, s.down = (&centre{mqtt: p.mqtt}).connect(b, centreKey)
	b.Cleanup(func() { s.client.Disconnect(0) })
	r, err := http.Get(p.desk + "/api/v1/stream")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { r.Body.Close() })
	go func() {
		lines := bufio.NewScanner(r.Body)
		lines.Buffer(nil, 1<<20)
		for of := ""; lines.Scan(); {
			if kind, ok := strings.CutPrefix(lines.Text(), "event: "); ok {
				of = kind
			} else if _, alarm, ok := strings.Cut(lines.Text(), `"alarm":"`); ok && of == "incident" {
				s.told <- alarm[:16]
			}
		}
	}()
	return s
}

func (s *presser) press(b *testing.B, into *timings) {
	time.Sleep(rand.N(20 * time.Millisecond)) // in no step with the commits
	s.seq++
	id := wire.NewAlarmID()
	e := &wire.Event{
		Device: "box-01", Stream: wire.StreamID{7}, Lane: wire.Alarm, Seq: s.seq, Boot: 1, Mono: time.Duration(s.seq) * time.Second,
		Wall: wire.Wall{UnixMilli: time.Now().UnixMilli(), Source: wire.WallNTP, Uncertainty: 50 * time.Millisecond},
		Body: &wire.AlarmRaised{Alarm: id, Kind: wire.Panic, Button: "b", Press: 1},
	}
	if s.prev != nil {
		e.Prev = wire.HashOf(s.prev)
	}
	var err error
	if s.prev, err = wire.Seal(e, deviceKey); err != nil {
		b.Fatal(err)
	}
	start := time.Now()
	s.client.Publish(wire.UpTopic("box-01", wire.Alarm), 1, false, s.prev)
	for late, desk, ack := time.After(patience), false, false; !desk || !ack; {
		select {
		case alarm := <-s.told:
			if !desk && alarm == id.String() {
				desk, into[0] = true, append(into[0], time.Since(start))
			}
		case body := <-s.down:
			if a, ok := body.(*wire.Ack); ok && !ack && a.UpTo[wire.Alarm] == s.seq {
				ack, into[1] = true, append(into[1], time.Since(start))
			}
		case <-late:
			b.Fatalf("press %d: desk %v, ack %v after %v", s.seq, desk, ack, patience)
		}
	}
}

// A car has a track to send, and does it as the contract wants: in order, at
// most a window ahead of what is acknowledged, when half of it is free, and again
// when nothing moves.
type car struct {
	id     string
	queue  [][]byte
	client mqtt.Client
	news   chan struct{}

	mu    sync.Mutex
	acked int
	next  int // index in queue
}

func (c *car) fill(b *testing.B, n int) {
	const size = 60
	random := rand.New(rand.NewPCG(1, uint64(len(c.id))))
	lat, lon, at := 30e6+random.Int64N(1e6), 103e6+random.Int64N(1e6), int64(1790000000000)
	var prev wire.Hash
	for seq := range n {
		batch := &wire.TrackBatch{Fixes: make([]wire.TrackFix, size)}
		for i := range batch.Fixes {
			at, lat, lon = at+1000, lat+random.Int64N(201)-100, lon+random.Int64N(201)-100
			batch.Fixes[i] = wire.TrackFix{
				Time: at, LatE6: lat, LonE6: lon, Alt: 500 + random.Int64N(3), Speed: 100 + random.Int64N(20),
				Course: random.Int64N(8), HDOP: 9, Flags: wire.Fix3D | wire.HasAlt | wire.HasSpeed | wire.HasCourse | wire.HasHDOP,
			}
		}
		e := &wire.Event{
			Device: c.id, Stream: wire.StreamID{1}, Lane: wire.Track, Seq: uint64(seq + 1), Prev: prev, Boot: 1,
			Mono: time.Duration(seq*size) * time.Second, Wall: wire.Wall{UnixMilli: at, Source: wire.WallGNSS, Uncertainty: time.Second}, Body: batch,
		}
		msg, err := wire.Seal(e, deviceKey)
		if err != nil {
			b.Error(err)
			return
		}
		prev = wire.HashOf(msg)
		c.queue = append(c.queue, msg)
	}
}

func (c *car) connect(b *testing.B, server string, centreKey ed25519.PublicKey) {
	c.client = mqtt.NewClient(mqtt.NewClientOptions().AddBroker("tcp://" + server).SetClientID(c.id).SetConnectTimeout(patience))
	if tok := c.client.Connect(); !tok.WaitTimeout(patience) || tok.Error() != nil {
		b.Fatalf("connect: %v", tok.Error())
	}
	b.Cleanup(func() { c.client.Disconnect(0) })
	c.client.Subscribe(wire.DownTopic(c.id), 0, func(_ mqtt.Client, m mqtt.Message) {
		d, err := wire.OpenDown(m.Payload(), centreKey, c.id)
		if err != nil {
			b.Error(err)
			return
		}
		if a, ok := d.Body.(*wire.Ack); ok {
			c.mu.Lock()
			c.acked = max(c.acked, int(a.UpTo[wire.Track]))
			c.mu.Unlock()
			select {
			case c.news <- struct{}{}:
			default:
			}
		}
	}).WaitTimeout(patience)
}

// send sends until ctx is done.
func (c *car) send(ctx context.Context) {
	const window = 32
	again := time.NewTimer(patience)
	defer again.Stop()
	for {
		c.mu.Lock()
		acked := c.acked
		c.mu.Unlock()
		c.next = max(c.next, acked)
		end := min(acked+window, len(c.queue))
		if c.next-acked > window/2 {
			end = c.next
		}
		for ; c.next < end; c.next++ {
			c.client.Publish(wire.UpTopic(c.id, wire.Track), 1, false, c.queue[c.next])
		}
		again.Reset(patience / 2)
		select {
		case <-ctx.Done():
			return
		case <-c.news:
		case <-again.C:
			c.next = acked
		}
	}
}

// settle waits until what was sent is acknowledged.
func (c *car) settle(b *testing.B) {
	for late := time.After(2 * patience); ; {
		c.mu.Lock()
		acked := c.acked
		c.mu.Unlock()
		if acked >= c.next {
			return
		}
		select {
		case <-c.news:
		case <-time.After(patience / 2):
			c.next = acked
		case <-late:
			b.Fatalf("%s: %d of %d acknowledged", c.id, acked, c.next)
		}
	}
}

func left(fleet []*car) (n int) {
	for _, c := range fleet {
		c.mu.Lock()
		n += len(c.queue) - c.acked
		c.mu.Unlock()
	}
	return n
}
