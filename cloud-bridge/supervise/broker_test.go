package supervise_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"fmt"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/fengsui/fengsui/cloud-bridge/broker"
	"github.com/fengsui/fengsui/cloud-bridge/incident"
	"github.com/fengsui/fengsui/cloud-bridge/ingest"
	"github.com/fengsui/fengsui/cloud-bridge/store"
	"github.com/fengsui/fengsui/cloud-bridge/supervise"
	"github.com/fengsui/fengsui/firmware/wire"
)

const patience = 10 * time.Second

// Hellos come through the embedded broker and ingest into the store; then the
// device says no more, and time is handed in. Recorded hellos do not help it.
// When the broker goes, one incident says so.
func TestThroughTheBroker(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	dir := t.TempDir()
	st, err := store.Open(t.Context(), filepath.Join(dir, "centre.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer st.Shut()
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, 32))
	for _, id := range []string{"box-01", "box-02"} { // the second is never heard
		r := store.Registration{ID: id, Kind: store.AlarmBox, Key: key.Public().(ed25519.PublicKey), At: &store.Point{Lat: 30.1, Lon: 103.1}}
		if err := st.Register(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	b, err := broker.Start(filepath.Join(dir, "broker"), "127.0.0.1:0", log)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Stop()
	source, err := ingest.NewNATS(b)
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	in := ingest.New(ingest.Options{Store: st, Source: source, Key: key, Registry: prometheus.NewRegistry(), Log: log})
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- in.Run(ctx, b.Accept) }()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	device := mqtt.NewClient(mqtt.NewClientOptions().AddBroker("tcp://" + b.Address()).SetClientID("box-01").SetConnectTimeout(patience).SetAutoReconnect(false))
	if tok := device.Connect(); !tok.WaitTimeout(patience) || tok.Error() != nil {
		t.Fatalf("connect: %v", tok.Error())
	}
	hello := func(mono time.Duration) {
		t.Helper()
		msg, err := wire.SealHello(&wire.Hello{Device: "box-01", Stream: wire.StreamID{7}, Boot: 1, MonoMs: uint64(mono.Milliseconds())}, key)
		if err != nil {
			t.Fatal(err)
		}
		if tok := device.Publish(wire.HelloTopic("box-01"), 1, false, msg); !tok.WaitTimeout(patience) || tok.Error() != nil {
			t.Fatalf("publish: %v", tok.Error())
		}
	}
	signs := func() []store.Sign {
		t.Helper()
		signs, _, err := st.Signs(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return signs
	}
	// heard waits for a sign of life after a moment.
	heard := func(after time.Time) time.Time {
		t.Helper()
		for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(time.Millisecond) {
			if at := signs()[0].Alive; at.After(after) {
				return at
			}
		}
		t.Fatal("no sign of life")
		return time.Time{}
	}
	hello(time.Second)
	first := heard(time.Time{})
	time.Sleep(2 * time.Millisecond) // times are kept in milliseconds
	hello(31 * time.Second)
	last := heard(first)
	for range 3 {
		hello(31 * time.Second)
		hello(time.Second)
	}

	s := supervise.New(supervise.DefaultLimits(), last.Add(-5*time.Minute), signs(), false)
	// judge lets the silence last until d, and returns what is not closed.
	at := last.Add(-5 * time.Minute)
	judge := func(until time.Duration) string {
		t.Helper()
		for ; !at.After(last.Add(until)); at = at.Add(2 * time.Second) {
			hearing := supervise.Hears
			if source.Ready() != nil {
				hearing = supervise.NoBroker
			}
			if out := s.Judge(at, signs(), hearing); !out.Empty() {
				if err := st.Supervise(t.Context(), out); err != nil {
					t.Fatal(err)
				}
			}
		}
		is, err := st.Incidents(t.Context(), store.Filter{States: []incident.State{incident.Open}})
		if err != nil {
			t.Fatal(err)
		}
		text := string(signs()[0].Link)
		for _, i := range is {
			text += fmt.Sprintf(" %s %q", i.Kind, i.Device)
		}
		return text
	}
	for _, step := range []struct {
		until time.Duration
		want  string
	}{
		{58 * time.Second, "live"},
		{62 * time.Second, "suspect"},
		{84 * time.Second, "suspect"},
		{90 * time.Second, `offline offline "box-01"`},
		{time.Hour, `offline offline "box-01"`},
	} {
		if got := judge(step.until); got != step.want {
			t.Errorf("silent for %v: %s, want %s", step.until, got, step.want)
		}
	}
	if d := signs()[1]; d.Link != store.LinkNever {
		t.Errorf("the device that was never heard is %s", d.Link)
	}

	b.Stop()
	for end := time.Now().Add(patience); source.Ready() == nil && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	if got, want := judge(2*time.Hour), `offline district_link_lost "" offline "box-01"`; got != want {
		t.Errorf("without the broker: %s, want %s", got, want)
	}
}
