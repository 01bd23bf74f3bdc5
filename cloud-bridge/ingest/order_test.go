package ingest_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/fengsui/fengsui/cloud-bridge/ingest"
	"github.com/fengsui/fengsui/cloud-bridge/store"
	"github.com/fengsui/fengsui/firmware/wire"
)

// pipe is a source without a broker: up is what a device sends, down what it
// would get.
type pipe struct {
	up func(topic string, payload []byte)

	mu   sync.Mutex
	sent []*wire.Down
	at   []time.Time
}

func (p *pipe) Subscribe(f func(string, []byte)) error { p.up = f; return nil }
func (p *pipe) Ready() error                           { return nil }

func (p *pipe) Publish(topic string, payload []byte) error {
	device := strings.Split(topic, "/")[2]
	d, err := wire.OpenDown(payload, public(centreKey), device)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sent, p.at = append(p.sent, d), append(p.at, time.Now())
	return nil
}

// taken returns what was sent since the last call.
func (p *pipe) taken() (sent []*wire.Down, at []time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	sent, at = p.sent, p.at
	p.sent, p.at = nil, nil
	return sent, at
}

// shelf is a store in memory whose commits the test holds up or refuses. It
// remembers what shared a commit.
type shelf struct {
	gated   bool
	gate    chan struct{} // a commit takes one when gated
	joins   bool          // a commit asks for urgent events after its first, and takes another from the gate before
	refuses func(store.Batch) error

	mu      sync.Mutex
	batches [][]string
	pending []store.PendingNotice
	watch   func(int) *store.Watcher
}

func (s *shelf) Key(_ context.Context, device string) (ed25519.PublicKey, error) {
	if device == "stranger" {
		return nil, store.ErrNotFound
	}
	return public(deviceKey), nil
}

func (s *shelf) Commit(_ context.Context, b store.Batch) (store.Committed, error) {
	if len(b.Arrivals)+len(b.Greetings) == 0 {
		return store.Committed{}, nil // refusals only
	}
	if s.gated {
		<-s.gate
	}
	var done store.Committed
	if s.joins && b.Urgent != nil {
		<-s.gate
		if urgent := b.Urgent(); len(urgent) > 0 {
			done.Rest = len(b.Arrivals) - 1
			b.Arrivals = append(b.Arrivals[:1:1], urgent...)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuses != nil {
		if err := s.refuses(b); err != nil {
			return store.Committed{}, err
		}
	}
	var names []string
	for _, a := range b.Arrivals {
		e := a.Event
		names = append(names, fmt.Sprintf("%v %d", e.Lane, e.Seq))
		done.Stored++
		done.Acks = append(done.Acks, store.DeviceAck{Device: e.Device, Ack: wire.Ack{Stream: e.Stream, UpTo: map[wire.Lane]uint64{e.Lane: e.Seq}}})
	}
	for _, g := range b.Greetings {
		names = append(names, "hello")
		done.Acks = append(done.Acks, store.DeviceAck{Device: g.Hello.Device, Ack: wire.Ack{Stream: g.Hello.Stream}})
	}
	s.batches = append(s.batches, names)
	return done, nil
}

func (s *shelf) Levels(context.Context, string) ([]store.Level, error) { return nil, nil }

func (s *shelf) Pending(_ context.Context, device string) (out []store.PendingNotice, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.pending {
		if device == "" || p.Device == device {
			out = append(out, p)
		}
	}
	return out, nil
}

func (s *shelf) Watch(n int) *store.Watcher { return s.watch(n) }

func (s *shelf) committed() [][]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.batches
	s.batches = nil
	return out
}

// bubble runs f with an ingester in a synctest bubble.
func bubble(t *testing.T, s *shelf, f func(t *testing.T, p *pipe, in *ingest.Ingester, metrics *prometheus.Registry)) {
	synctest.Test(t, func(t *testing.T) {
		if s.watch == nil {
			s.watch = new(store.Store).Watch // it never tells of a change
		}
		s.gate = make(chan struct{}, 100)
		p, metrics := new(pipe), prometheus.NewRegistry()
		in := ingest.New(ingest.Options{Source: p, Store: s, Key: centreKey, Registry: metrics, Log: slog.New(slog.DiscardHandler)})
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- in.Run(ctx, func() {}) }()
		synctest.Wait()
		f(t, p, in, metrics)
		stop()
		close(s.gate)
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func (p *pipe) send(t *testing.T, l wire.Lane, seq uint64) {
	t.Helper()
	p.up(wire.UpTopic("box-01", l), sealed(t, l, seq, nil, &wire.UnknownBody{BodyType: 99, Raw: []byte{1}}))
}

// An alarm waits for the commit that is under way and for nothing else.
func TestAlarmsFirst(t *testing.T) {
	s := &shelf{gated: true}
	bubble(t, s, func(t *testing.T, p *pipe, _ *ingest.Ingester, _ *prometheus.Registry) {
		p.send(t, wire.Track, 1)
		synctest.Wait() // its commit is under way
		for seq := uint64(2); seq < 3000; seq++ {
			p.send(t, wire.Track, seq)
		}
		p.send(t, wire.Duty, 1)
		p.send(t, wire.Alarm, 1)
		p.send(t, wire.Alarm, 2)
		synctest.Wait()
		s.gate <- struct{}{}
		s.gate <- struct{}{}
		synctest.Wait()
		if diff := cmp.Diff([][]string{{"track 1"}, {"alarm 1", "alarm 2"}}, s.committed()); diff != "" {
			t.Errorf("commits (-want +got):\n%s", diff)
		}
		s.gate <- struct{}{}
		synctest.Wait()
		got := s.committed()
		if len(got) != 1 || len(got[0]) < 100 || len(got[0]) > 256 {
			t.Errorf("%d commits, %d messages: want one of at most 256", len(got), len(got[0]))
		}
	})
}

// An alarm that comes while a batch is written joins it, and what had no place
// any more is the first of the next.
func TestAlarmsJoin(t *testing.T) {
	for name, fails := range map[string]bool{"and all is well": false, "and the commit fails": true} {
		t.Run(name, func(t *testing.T) {
			s := &shelf{gated: true, joins: true}
			s.refuses = func(b store.Batch) error {
				if fails && len(b.Arrivals) > 1 {
					fails = false
					return errors.New("once")
				}
				return nil
			}
			bubble(t, s, func(t *testing.T, p *pipe, _ *ingest.Ingester, _ *prometheus.Registry) {
				p.send(t, wire.Track, 1)
				synctest.Wait()
				for seq := uint64(2); seq < 6; seq++ {
					p.send(t, wire.Track, seq)
				}
				synctest.Wait()
				for range 3 { // the first alone, and the others begin
					s.gate <- struct{}{}
				}
				synctest.Wait()
				p.send(t, wire.Alarm, 1)
				p.send(t, wire.Alarm, 2)
				synctest.Wait()
				for range 20 {
					s.gate <- struct{}{}
				}
				synctest.Wait()
				time.Sleep(time.Minute)
				got := s.committed()
				if !strings.Contains(name, "fails") {
					if diff := cmp.Diff([][]string{{"track 1"}, {"track 2", "alarm 1", "alarm 2"}, {"track 3", "track 4", "track 5"}}, got); diff != "" {
						t.Errorf("commits (-want +got):\n%s", diff)
					}
					return
				}
				all := slices.Sorted(slices.Values(slices.Concat(got...)))
				if diff := cmp.Diff([]string{"alarm 1", "alarm 2", "track 1", "track 2", "track 3", "track 4", "track 5"}, all); diff != "" {
					t.Errorf("committed (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// A batch of large messages is not as long as a batch of small ones.
func TestBatchesAreBoundedByBytes(t *testing.T) {
	s := &shelf{gated: true}
	bubble(t, s, func(t *testing.T, p *pipe, _ *ingest.Ingester, _ *prometheus.Registry) {
		large := &wire.UnknownBody{BodyType: 99, Raw: append([]byte{0x59, 0x20, 0}, make([]byte, 0x2000)...)}
		for seq := uint64(1); seq < 50; seq++ {
			p.up(wire.UpTopic("box-01", wire.Track), sealed(t, wire.Track, seq, nil, large))
		}
		synctest.Wait()
		s.gate <- struct{}{} // the first alone
		s.gate <- struct{}{}
		synctest.Wait()
		if got := s.committed(); len(got) != 2 || len(got[1]) != 8 {
			t.Errorf("commits %v: want 8 of 8 KiB in the second", got)
		}
	})
}

// What does not fit is dropped and counted; alarms still get in.
func TestOverflow(t *testing.T) {
	s := &shelf{gated: true}
	bubble(t, s, func(t *testing.T, p *pipe, _ *ingest.Ingester, metrics *prometheus.Registry) {
		for seq := uint64(1); seq < 10_000; seq++ {
			p.send(t, wire.Track, seq)
		}
		synctest.Wait()
		p.send(t, wire.Alarm, 1)
		synctest.Wait()
		s.gate <- struct{}{}
		s.gate <- struct{}{}
		synctest.Wait()
		if got := s.committed(); len(got) != 2 || got[1][0] != "alarm 1" {
			t.Errorf("commits %v: want the alarm second", got)
		}
		if n := values(t, metrics, "fengsui_messages_overflow_total")[""]; n < 1000 {
			t.Errorf("%v dropped: want some thousand", n)
		}
	})
}

// values returns a counter's values by the value of its label.
func values(t *testing.T, g prometheus.Gatherer, name string) map[string]float64 {
	t.Helper()
	all, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string]float64)
	for _, f := range all {
		if f.GetName() == name {
			for _, m := range f.GetMetric() {
				label := ""
				for _, l := range m.GetLabel() {
					label = l.GetValue()
				}
				out[label] = m.GetCounter().GetValue()
			}
		}
	}
	return out
}

// One message that cannot be stored does not hold up the rest, and is not
// acknowledged.
func TestOneBadMessage(t *testing.T) {
	s := &shelf{gated: true, refuses: func(b store.Batch) error {
		for _, a := range b.Arrivals {
			if a.Event.Lane == wire.Duty && a.Event.Seq == 3 {
				return errors.New("constraint failed")
			}
		}
		return nil
	}}
	bubble(t, s, func(t *testing.T, p *pipe, in *ingest.Ingester, _ *prometheus.Registry) {
		p.send(t, wire.Duty, 1)
		synctest.Wait()
		for seq := uint64(2); seq < 8; seq++ {
			p.send(t, wire.Duty, seq)
		}
		synctest.Wait()
		for range 100 {
			s.gate <- struct{}{}
		}
		time.Sleep(time.Minute)
		p.send(t, wire.Alarm, 1)
		time.Sleep(time.Second)
		stored := make(map[string]int)
		for _, b := range s.committed() {
			for _, name := range b {
				stored[name]++
			}
		}
		want := map[string]int{"duty 1": 1, "duty 2": 1, "duty 4": 1, "duty 5": 1, "duty 6": 1, "duty 7": 1, "alarm 1": 1}
		if diff := cmp.Diff(want, stored); diff != "" {
			t.Errorf("stored (-want +got):\n%s", diff)
		}
		sent, _ := p.taken()
		for _, d := range sent {
			if d.Body.(*wire.Ack).UpTo[wire.Duty] == 3 {
				t.Error("acknowledged what was not stored")
			}
		}
		if err := in.Ready(); err != nil {
			t.Errorf("not ready: %v", err)
		}
	})
}

// While nothing can be stored the centre says so, acknowledges nothing and
// keeps trying; then all that was waiting is stored.
func TestStoreFails(t *testing.T) {
	full := true
	s := &shelf{refuses: func(store.Batch) error {
		if full {
			return errors.New("database or disk is full")
		}
		return nil
	}}
	bubble(t, s, func(t *testing.T, p *pipe, in *ingest.Ingester, _ *prometheus.Registry) {
		p.send(t, wire.Track, 1)
		p.send(t, wire.Alarm, 1)
		time.Sleep(10 * time.Minute)
		p.send(t, wire.Alarm, 2)
		synctest.Wait()
		if err := in.Ready(); err == nil || !strings.Contains(err.Error(), "disk is full") {
			t.Errorf("ready: %v: want the disk to be full", err)
		}
		if sent, _ := p.taken(); len(sent) != 0 {
			t.Errorf("sent %d messages without a commit", len(sent))
		}
		s.mu.Lock()
		full = false
		s.mu.Unlock()
		time.Sleep(5 * time.Second)
		n := 0
		for _, b := range s.committed() {
			n += len(b)
		}
		if n != 3 {
			t.Errorf("%d stored: want 3", n)
		}
		if err := in.Ready(); err != nil {
			t.Errorf("not ready: %v", err)
		}
		if sent, _ := p.taken(); len(sent) == 0 {
			t.Error("nothing acknowledged")
		}
	})
}

// While the store refuses everything, neither a batch nor what waits for one
// grows, it is not tried more often, and the log is not filled; alarms are the
// first that are stored afterwards.
func TestRefusingIsBounded(t *testing.T) {
	full, tries, largest := true, 0, 0
	s := &shelf{refuses: func(b store.Batch) error {
		if !full {
			return nil
		}
		tries++
		largest = max(largest, len(b.Arrivals))
		return fmt.Errorf("commit: %w", &store.Failure{Cause: store.DiskFull, Err: errors.New("SQLITE_FULL")})
	}}
	bubble(t, s, func(t *testing.T, p *pipe, in *ingest.Ingester, metrics *prometheus.Registry) {
		for seq := uint64(1); seq <= 3000; seq++ { // ten minutes
			p.send(t, wire.Track, seq)
			if seq%10 == 0 {
				p.send(t, wire.Alarm, seq)
			}
			time.Sleep(200 * time.Millisecond)
		}
		synctest.Wait()
		s.mu.Lock()
		if largest > 256 || tries < 300 || tries > 700 { // every 2 s, the alarms and then all
			t.Errorf("tried %d times, with at most %d events: want 300 to 700 times and at most 256", tries, largest)
		}
		full = false
		s.mu.Unlock()
		if f, ok := errors.AsType[*store.Failure](in.Ready()); !ok || f.Cause != store.DiskFull {
			t.Errorf("ready: %v: want the disk to be full", in.Ready())
		}
		time.Sleep(5 * time.Second)
		first := s.committed()[0]
		if len(first) != 256 || first[0] != "alarm 10" {
			t.Errorf("%d events stored first, beginning with %v", len(first), first[:3])
		}
		if err := in.Ready(); err != nil {
			t.Errorf("not ready: %v", err)
		}
	})
}

// A notice goes out at once and after 1, 2, 4 … 30 seconds; a hello has it
// sent at once and begins anew; an answer ends it.
func TestNoticeSchedule(t *testing.T) {
	notice := wire.Notice{Alarm: alarm, Rev: 2, State: wire.NoticeAcknowledged}
	s := &shelf{pending: []store.PendingNotice{{Device: "box-01", Notice: notice}, {Device: "box-02", Notice: notice}}}
	bubble(t, s, func(t *testing.T, p *pipe, _ *ingest.Ingester, _ *prometheus.Registry) {
		start := time.Now()
		gaps := func() (out []int) {
			sent, at := p.taken()
			last := start
			for n, d := range sent {
				if _, ok := d.Body.(*wire.Notice); ok && d.Device == "box-01" {
					out = append(out, int(at[n].Sub(last).Round(time.Second)/time.Second))
					last = at[n]
				}
			}
			return out
		}
		time.Sleep(100 * time.Second)
		if diff := cmp.Diff([]int{0, 1, 2, 4, 8, 16, 30, 30}, gaps()); diff != "" {
			t.Errorf("seconds between notices (-want +got):\n%s", diff)
		}
		start = time.Now()
		hello, err := wire.SealHello(&wire.Hello{Device: "box-01", Stream: stream, Boot: 1}, deviceKey)
		if err != nil {
			t.Fatal(err)
		}
		p.up(wire.HelloTopic("box-01"), hello)
		time.Sleep(4 * time.Second)
		if diff := cmp.Diff([]int{0, 1, 2}, gaps()); diff != "" {
			t.Errorf("seconds between notices after a hello (-want +got):\n%s", diff)
		}
	})
}

// Refusals are counted by reason whatever came.
func TestRefusals(t *testing.T) {
	bubble(t, new(shelf), func(t *testing.T, p *pipe, _ *ingest.Ingester, metrics *prometheus.Registry) {
		good := sealed(t, wire.Duty, 1, nil, &wire.Fault{Code: "a"})
		for _, m := range []struct {
			topic string
			msg   []byte
		}{
			{"fs/v1/box-01/up/gossip", good},
			{"fs/v1//up/duty", good},
			{strings.Repeat("\xff", 70_000), good},
			{"fs/v1/stranger/up/duty", good},
			{"fs/v1/box-01/up/duty", nil},
			{"fs/v1/box-01/up/duty", make([]byte, wire.MaxMessage+1)},
			{"fs/v1/box-01/up/hello", good},
			{"fs/v1/box-01/up/track", good},
			{"fs/v1/box-02/up/duty", good},
		} {
			p.up(m.topic, m.msg)
		}
		time.Sleep(time.Second)
		want := map[string]float64{
			"bad envelope": 2, "bad signature": 1, "bad topic": 3, "topic of another device or lane": 2, "unknown device": 1,
		}
		if diff := cmp.Diff(want, values(t, metrics, "fengsui_messages_refused_total")); diff != "" {
			t.Errorf("refused (-want +got):\n%s", diff)
		}
	})
}
