package ingest_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/fengsui/fengsui/cloud-bridge/broker"
	"github.com/fengsui/fengsui/cloud-bridge/incident"
	"github.com/fengsui/fengsui/cloud-bridge/ingest"
	"github.com/fengsui/fengsui/cloud-bridge/store"
	"github.com/fengsui/fengsui/firmware/wire"
)

var (
	deviceKey = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, 32))
	otherKey  = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{3}, 32))
	centreKey = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{2}, 32))
	stream    = wire.StreamID{1, 2, 3}
)

func public(k ed25519.PrivateKey) ed25519.PublicKey { return k.Public().(ed25519.PublicKey) }

const patience = 10 * time.Second // for what must come; what must not come is not waited for

// A rig is an ingester over a real store and a real broker, and a device.
type rig struct {
	t      *testing.T
	st     *store.Store
	broker *refusing
	device mqtt.Client
	acks   chan *wire.Ack
	notes  chan *wire.Notice
}

// refusing is a store whose commits can be made to fail.
type refusing struct {
	*store.Store
	fail atomic.Bool
}

func (r *refusing) Commit(ctx context.Context, b store.Batch) (store.Committed, error) {
	if r.fail.Load() {
		return store.Committed{}, errors.New("disk full")
	}
	return r.Store.Commit(ctx, b)
}

func newRig(t *testing.T, source ingest.Source, address string) *rig {
	t.Helper()
	st, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"box-01", "box-02"} {
		key := public(deviceKey)
		if id == "box-02" {
			key = public(otherKey)
		}
		if err := st.Register(t.Context(), store.Registration{ID: id, Kind: store.AlarmBox, Key: key}); err != nil {
			t.Fatal(err)
		}
	}
	r := &rig{t: t, st: st, broker: &refusing{Store: st}, acks: make(chan *wire.Ack, 1000), notes: make(chan *wire.Notice, 1000)}
	in := ingest.New(ingest.Options{Store: r.broker, Source: source, Key: centreKey, Registry: prometheus.NewRegistry(), Log: slog.New(slog.DiscardHandler)})
	ctx, stop := context.WithCancel(context.Background())
	started, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- in.Run(ctx, func() { close(started) }) }()
	select {
	case <-started:
	case err := <-done:
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		source.(interface{ Close() }).Close()
		if err := st.Shut(); err != nil {
			t.Error(err)
		}
	})
	r.device = mqtt.NewClient(mqtt.NewClientOptions().AddBroker("tcp://" + address).SetClientID("box-01").SetConnectTimeout(patience))
	if tok := r.device.Connect(); !tok.WaitTimeout(patience) || tok.Error() != nil {
		t.Fatalf("connect: %v", tok.Error())
	}
	t.Cleanup(func() { r.device.Disconnect(100) })
	if tok := r.device.Subscribe(wire.DownTopic("box-01"), 0, func(_ mqtt.Client, m mqtt.Message) {
		d, err := wire.OpenDown(m.Payload(), public(centreKey), "box-01")
		if err != nil {
			t.Error(err)
			return
		}
		switch b := d.Body.(type) {
		case *wire.Ack:
			r.acks <- b
		case *wire.Notice:
			r.notes <- b
		}
	}); !tok.WaitTimeout(patience) || tok.Error() != nil {
		t.Fatalf("subscribe: %v", tok.Error())
	}
	return r
}

func sealed(t *testing.T, l wire.Lane, seq uint64, prev []byte, body wire.Body) []byte {
	t.Helper()
	e := &wire.Event{Device: "box-01", Stream: stream, Lane: l, Seq: seq, Boot: 1, Mono: time.Duration(seq) * time.Second, Body: body}
	if prev != nil {
		e.Prev = wire.HashOf(prev)
	}
	msg, err := wire.Seal(e, deviceKey)
	if err != nil {
		t.Fatal(err)
	}
	return msg
}

func (r *rig) send(topic string, msg []byte) {
	r.t.Helper()
	if tok := r.device.Publish(topic, 1, false, msg); !tok.WaitTimeout(patience) || tok.Error() != nil {
		r.t.Fatalf("publish: %v", tok.Error())
	}
}

// acked waits for an ack that covers a lane up to a number, and fails on one
// that covers more.
func (r *rig) acked(l wire.Lane, upTo uint64) {
	r.t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case a := <-r.acks:
			switch got := a.UpTo[l]; {
			case a.Stream != stream || got > upTo:
				r.t.Fatalf("ack %v %v, want at most %d", a.Stream, a.UpTo, upTo)
			case got == upTo:
				return
			}
		case <-deadline:
			r.t.Fatalf("no ack of lane %v up to %d", l, upTo)
		}
	}
}

func (r *rig) refused(reason string) {
	r.t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		got, err := r.st.Refused(r.t.Context())
		if err != nil {
			r.t.Fatal(err)
		}
		if got.ByReason[reason] > 0 {
			return
		}
		w := r.st.Watch(1)
		select {
		case <-w.Changes():
		case <-time.After(50 * time.Millisecond):
		}
		w.Close()
	}
	r.t.Errorf("nothing refused for %q", reason)
}

var alarm = wire.AlarmID{9, 9}

func suite(t *testing.T, source func(t *testing.T) (ingest.Source, string)) {
	start := func(t *testing.T) *rig {
		s, address := source(t)
		return newRig(t, s, address)
	}
	raised := func(t *testing.T) []byte {
		return sealed(t, wire.Alarm, 1, nil, &wire.AlarmRaised{Alarm: alarm, Kind: wire.Fire, Button: "fire", Press: 1})
	}
	t.Run("an alarm is committed, then acknowledged", func(t *testing.T) {
		r := start(t)
		r.send("fs/v1/box-01/up/alarm", raised(t))
		r.acked(wire.Alarm, 1)
		got, err := r.st.Incidents(t.Context(), store.Filter{})
		if err != nil || len(got) != 1 {
			t.Fatalf("%d incidents, %v", len(got), err)
		}
	})
	t.Run("the same again is acknowledged again, and stored once", func(t *testing.T) {
		r := start(t)
		for range 3 {
			for range 5 { // they may share a commit, and an ack
				r.send("fs/v1/box-01/up/alarm", raised(t))
			}
			r.acked(wire.Alarm, 1)
		}
		got, err := r.st.Events(t.Context(), "box-01", store.EventQuery{})
		if err != nil || len(got) != 1 {
			t.Errorf("%d events, %v: want 1", len(got), err)
		}
	})
	t.Run("a hello is answered with its own times and the last event's hash", func(t *testing.T) {
		r := start(t)
		r.send("fs/v1/box-01/up/alarm", raised(t))
		r.acked(wire.Alarm, 1)
		msg, err := wire.SealHello(&wire.Hello{Device: "box-01", Stream: stream, Boot: 3, MonoMs: 1234}, deviceKey)
		if err != nil {
			t.Fatal(err)
		}
		r.send("fs/v1/box-01/up/hello", msg)
		select {
		case a := <-r.acks:
			if a.Echo == nil || *a.Echo != (wire.Echo{Boot: 3, MonoMs: 1234}) || a.Hash[wire.Alarm] != wire.HashOf(raised(t)) {
				t.Errorf("%+v: want boot 3, 1234 ms and the hash of alarm 1", a)
			}
		case <-time.After(patience):
			t.Error("no answer")
		}
		r.send("fs/v1/box-01/up/alarm", raised(t))
		select {
		case a := <-r.acks:
			if a.Echo != nil {
				t.Errorf("an event is answered with the echo %+v", a.Echo)
			}
		case <-time.After(patience):
			t.Error("no answer")
		}
	})
	t.Run("a hole is not acknowledged over", func(t *testing.T) {
		r := start(t)
		first := sealed(t, wire.Duty, 1, nil, &wire.Fault{Code: "a"})
		second := sealed(t, wire.Duty, 2, first, &wire.Fault{Code: "b"})
		third := sealed(t, wire.Duty, 3, second, &wire.Fault{Code: "c"})
		r.send("fs/v1/box-01/up/duty", third)
		r.acked(wire.Duty, 0)
		r.send("fs/v1/box-01/up/duty", first)
		r.acked(wire.Duty, 1)
		r.send("fs/v1/box-01/up/duty", second)
		r.acked(wire.Duty, 3)
	})
	t.Run("a hello is answered, and tells what never comes", func(t *testing.T) {
		r := start(t)
		msg, err := wire.SealHello(&wire.Hello{Device: "box-01", Stream: stream, Boot: 1, Window: map[wire.Lane]wire.Window{wire.Alarm: {Oldest: 5, Next: 6}}}, deviceKey)
		if err != nil {
			t.Fatal(err)
		}
		r.send(wire.HelloTopic("box-01"), msg)
		r.acked(wire.Alarm, 4)
		d, err := r.st.Device(t.Context(), "box-01")
		if err != nil || len(d.Gaps) != 1 || d.Gaps[0].From != 1 || d.Gaps[0].To != 4 {
			t.Errorf("gaps %+v, %v: want 1 to 4", d.Gaps, err)
		}
	})
	t.Run("what is refused is counted and not acknowledged", func(t *testing.T) {
		r := start(t)
		good := sealed(t, wire.Duty, 1, nil, &wire.Fault{Code: "a"})
		forged, err := wire.Seal(&wire.Event{Device: "box-01", Stream: stream, Lane: wire.Duty, Seq: 1, Boot: 1, Body: &wire.Fault{Code: "x"}}, otherKey)
		if err != nil {
			t.Fatal(err)
		}
		for reason, c := range map[string]struct {
			topic string
			msg   []byte
		}{
			"bad topic":                       {"fs/v1/box-01/up/gossip", good},
			"unknown device":                  {"fs/v1/box-99/up/duty", good},
			"bad signature":                   {"fs/v1/box-01/up/duty", forged},
			"bad envelope":                    {"fs/v1/box-01/up/duty", []byte("hello")},
			"topic of another device or lane": {"fs/v1/box-01/up/alarm", good},
		} {
			r.send(c.topic, c.msg)
			r.refused(reason)
		}
		got, err := r.st.Events(t.Context(), "box-01", store.EventQuery{})
		if err != nil || len(got) != 0 || len(r.acks) != 0 {
			t.Errorf("%d events, %d acks, %v: want none", len(got), len(r.acks), err)
		}
	})
	t.Run("no ack while commits fail", func(t *testing.T) {
		r := start(t)
		r.broker.fail.Store(true)
		r.send("fs/v1/box-01/up/alarm", raised(t))
		select {
		case a := <-r.acks:
			t.Fatalf("acknowledged %v without a commit", a.UpTo)
		case <-time.After(500 * time.Millisecond):
		}
		r.broker.fail.Store(false)
		r.acked(wire.Alarm, 1)
	})
	t.Run("a notice repeats until it is answered", func(t *testing.T) {
		r := start(t)
		first := raised(t)
		r.send("fs/v1/box-01/up/alarm", first)
		r.acked(wire.Alarm, 1)
		is, err := r.st.Incidents(t.Context(), store.Filter{States: []incident.State{incident.Open}})
		if err != nil || len(is) != 1 {
			t.Fatal(len(is), err)
		}
		if _, err := r.st.Acknowledge(t.Context(), is[0].ID, "desk"); err != nil {
			t.Fatal(err)
		}
		var n *wire.Notice
		for i := range 3 {
			select {
			case n = <-r.notes:
				if n.Alarm != alarm || n.State != wire.NoticeAcknowledged {
					t.Fatalf("notice %+v", n)
				}
			case <-time.After(patience):
				t.Fatalf("notice %d does not come", i+1)
			}
		}
		r.send("fs/v1/box-01/up/duty", sealed(t, wire.Duty, 1, nil, &wire.NoticeShown{Alarm: alarm, Rev: n.Rev, State: n.State}))
		r.acked(wire.Duty, 1)
		if left, err := r.st.Pending(t.Context(), ""); err != nil || len(left) != 0 {
			t.Errorf("%d notices wait, %v: want none", len(left), err)
		}
	})
}

func TestNATS(t *testing.T) {
	suite(t, func(t *testing.T) (ingest.Source, string) {
		b, err := broker.Start(t.TempDir(), "127.0.0.1:0", slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(b.Stop)
		b.Accept()
		s, err := ingest.NewNATS(b)
		if err != nil {
			t.Fatal(err)
		}
		return s, b.Address()
	})
}

// mosquitto starts a real broker at an address, or at a free port for "".
func mosquitto(t *testing.T, address string) (at string, kill func()) {
	t.Helper()
	path := "/usr/sbin/mosquitto"
	if _, err := os.Stat(path); err != nil {
		if path, err = exec.LookPath("mosquitto"); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatal("mosquitto is not installed, and CI must test against it")
			}
			t.Skip("mosquitto is not installed: not tested against a real broker")
		}
	}
	if address == "" {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		address = l.Addr().String()
		l.Close()
	}
	_, port, _ := net.SplitHostPort(address)
	cmd := exec.Command(path, "-p", port)
	cmd.Stdout, cmd.Stderr = io.Discard, io.Discard
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill = sync.OnceFunc(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	t.Cleanup(kill)
	return address, kill
}

func newMQTT(t *testing.T, address, id string) *ingest.MQTT {
	t.Helper()
	s, err := ingest.NewMQTT("mqtt://"+address, id, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestMosquitto(t *testing.T) {
	suite(t, func(t *testing.T) (ingest.Source, string) {
		address, _ := mosquitto(t, "")
		return newMQTT(t, address, "test"), address
	})
}

// The source finds its broker again, by itself.
func TestMosquittoRestarts(t *testing.T) {
	address, kill := mosquitto(t, "")
	source := newMQTT(t, address, "test")
	got := make(chan string, 1000)
	if err := source.Subscribe(func(topic string, _ []byte) { got <- topic }); err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	if err := source.Subscribe(func(string, []byte) {}); err == nil {
		t.Error("subscribed twice")
	}
	ready := func(want bool) {
		t.Helper()
		for deadline := time.Now().Add(2 * patience); (source.Ready() == nil) != want; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("ready: %v: want %v", source.Ready(), want)
			}
		}
	}
	ready(true)
	kill()
	ready(false)
	if err := source.Publish("fs/v1/box-01/down", []byte("x")); err == nil {
		t.Error("published without a broker")
	}
	mosquitto(t, address)
	ready(true)
	device := mqtt.NewClient(mqtt.NewClientOptions().AddBroker("tcp://" + address).SetClientID("box-01"))
	if tok := device.Connect(); !tok.WaitTimeout(patience) || tok.Error() != nil {
		t.Fatal(tok.Error())
	}
	defer device.Disconnect(0)
	device.Publish("fs/v1/box-01/up/alarm", 1, false, []byte("x"))
	select {
	case topic := <-got:
		if topic != "fs/v1/box-01/up/alarm" {
			t.Errorf("topic %s", topic)
		}
	case <-time.After(patience):
		t.Error("nothing arrives after the broker's restart")
	}
}

// Two programs of one centre share the messages: each goes to one of them.
func sharing(t *testing.T, address string, sources ...ingest.Source) {
	const n = 200
	got := make(chan string, 10*n)
	for _, s := range sources {
		if err := s.Subscribe(func(_ string, payload []byte) { got <- string(payload) }); err != nil {
			t.Fatal(err)
		}
	}
	device := mqtt.NewClient(mqtt.NewClientOptions().AddBroker("tcp://" + address).SetClientID("box-01"))
	if tok := device.Connect(); !tok.WaitTimeout(patience) || tok.Error() != nil {
		t.Fatal(tok.Error())
	}
	defer device.Disconnect(0)
	for i := range n {
		device.Publish("fs/v1/box-01/up/track", byte(i%2), false, fmt.Sprint(i)).WaitTimeout(patience)
	}
	device.Publish("fs/v1/box-01/down", 0, false, "not for the centre").WaitTimeout(patience)
	seen := make(map[string]bool)
	for range n {
		select {
		case m := <-got:
			if seen[m] || m == "not for the centre" {
				t.Errorf("message %q twice, or not for the centre", m)
			}
			seen[m] = true
		case <-time.After(patience):
			t.Fatalf("%d of %d messages", len(seen), n)
		}
	}
	for _, s := range sources {
		s.(interface{ Close() }).Close()
	}
	if len(got) > 0 {
		t.Errorf("%d more messages than were sent", len(got))
	}
}

func TestSharing(t *testing.T) {
	t.Run("NATS", func(t *testing.T) {
		b, err := broker.Start(t.TempDir(), "127.0.0.1:0", slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(b.Stop)
		b.Accept()
		var sources []ingest.Source
		for range 2 {
			s, err := ingest.NewNATS(b)
			if err != nil {
				t.Fatal(err)
			}
			sources = append(sources, s)
		}
		sharing(t, b.Address(), sources...)
	})
	t.Run("mosquitto", func(t *testing.T) {
		address, _ := mosquitto(t, "")
		sharing(t, address, newMQTT(t, address, "a"), newMQTT(t, address, "b"))
	})
}

func TestNewMQTTRefuses(t *testing.T) {
	for _, url := range []string{"", "host:1883", "tcp://h:1", "mqtt://"} {
		if _, err := ingest.NewMQTT(url, "x", slog.New(slog.DiscardHandler)); err == nil {
			t.Errorf("%q is taken", url)
		}
	}
}
