package ingest_test

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fengsui/fengsui/cloud-bridge/ingest"
	"github.com/fengsui/fengsui/cloud-bridge/store"
	"github.com/fengsui/fengsui/firmware/wire"
)

// deaf is a pipe whose answers get lost.
type deaf struct {
	pipe
	lost atomic.Int64
}

func (d *deaf) Publish(string, []byte) error {
	d.lost.Add(1)
	return errors.New("the link is gone")
}

// The commit is done and its answer lost, the centre with it: what the device
// sends again makes no second row, and is acknowledged.
func TestAnswerLost(t *testing.T) {
	st, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer st.Shut()
	if err := st.Register(t.Context(), store.Registration{ID: "box-01", Kind: store.AlarmBox, Key: public(deviceKey)}); err != nil {
		t.Fatal(err)
	}
	run := func(source ingest.Source) (metrics *prometheus.Registry, stop func()) {
		metrics = prometheus.NewRegistry()
		in := ingest.New(ingest.Options{Store: st, Source: source, Key: centreKey, Registry: metrics, Log: slog.New(slog.DiscardHandler)})
		ctx, cancel := context.WithCancel(context.Background())
		started, done := make(chan struct{}), make(chan error, 1)
		go func() { done <- in.Run(ctx, func() { close(started) }) }()
		<-started
		return metrics, func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	}
	until := func(what string, done func() bool) {
		t.Helper()
		for end := time.Now().Add(patience); !done(); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("never: %s", what)
			}
		}
	}
	const n = 20
	var msgs [][]byte
	for seq := uint64(1); seq <= n; seq++ {
		var prev []byte
		if seq > 1 {
			prev = msgs[seq-2]
		}
		msgs = append(msgs, sealed(t, wire.Alarm, seq, prev, &wire.AlarmRaised{Alarm: wire.AlarmID{byte(seq)}, Kind: wire.Fire, Button: "b", Press: 1}))
	}
	up := func(source *pipe) {
		for _, m := range msgs {
			source.up(wire.UpTopic("box-01", wire.Alarm), m)
		}
	}
	upTo := func() uint64 {
		a, err := st.Ack(t.Context(), "box-01", stream)
		if err != nil {
			t.Fatal(err)
		}
		return a.UpTo[wire.Alarm]
	}

	lossy := new(deaf)
	_, stop := run(lossy)
	up(&lossy.pipe)
	until("all are committed, and answers lost", func() bool { return upTo() == n && lossy.lost.Load() > 0 })
	stop()

	p := new(pipe)
	metrics, stop := run(p)
	defer stop()
	up(p)
	until("the last one is acknowledged", func() bool {
		sent, _ := p.taken()
		for _, d := range sent {
			if a, ok := d.Body.(*wire.Ack); ok && a.UpTo[wire.Alarm] == n && a.Hash[wire.Alarm] == wire.HashOf(msgs[n-1]) {
				return true
			}
		}
		return false
	})
	until("each is a duplicate", func() bool { return values(t, metrics, "fengsui_events_duplicate_total")[""] == n })
	if got := values(t, metrics, "fengsui_events_stored_total")[""]; got != 0 {
		t.Errorf("%v stored again", got)
	}
	rows, err := st.Events(t.Context(), "box-01", store.EventQuery{})
	if err != nil || len(rows) != n {
		t.Errorf("%d events, %v: want %d", len(rows), err, n)
	}
	is, err := st.Incidents(t.Context(), store.Filter{})
	if err != nil || len(is) != n {
		t.Errorf("%d incidents, %v: want %d", len(is), err, n)
	}
	d, err := st.Device(t.Context(), "box-01")
	if err != nil || d.Streams[0].Lanes[wire.Alarm].Duplicates != n {
		t.Errorf("%+v, %v: want %d duplicates reported", d.Streams, err, n)
	}
}
