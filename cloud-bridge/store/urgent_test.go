package store_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/fengsui/fengsui/cloud-bridge/store"
	"github.com/fengsui/fengsui/firmware/wire"
)

// Urgent events end a batch, and are in its transaction.
func TestUrgent(t *testing.T) {
	for asked, want := range []store.Committed{{Stored: 1, Rest: 3}, {Stored: 2, Rest: 2}, {Stored: 3, Rest: 1}, {Stored: 4, Rest: 0}} {
		s := fresh(t)
		car, box := lane(t, "car-01", wire.Duty), lane(t, "box-01", wire.Alarm)
		b := store.Batch{Arrivals: []store.Arrival{car.next(&wire.SignOff{}), car.next(&wire.SignOff{}), car.next(&wire.SignOff{})}}
		b.Greetings = []store.Greeting{{Hello: &wire.Hello{Device: "box-01", Stream: one, Boot: 1}, Received: noon}}
		n := 0
		b.Urgent = func() []store.Arrival {
			if n++; n <= asked {
				return nil
			}
			return []store.Arrival{box.next(raised(1))}
		}
		got, err := s.Commit(t.Context(), b)
		if err != nil || got.Stored != want.Stored || got.Rest != want.Rest || got.Duplicates != 0 || n != asked+1 {
			t.Fatalf("%d, %+v, %v: want %+v", n, got, err, want)
		}
		only(t, s)
		for _, a := range got.Acks {
			if a.Device == "box-01" && a.Ack.UpTo[wire.Alarm] != 1 || a.Device == "car-01" && a.Ack.UpTo[wire.Duty] != uint64(asked) {
				t.Errorf("after %d: %+v", asked, a)
			}
		}
		if rest := commit(t, s, b.Arrivals[asked:]...); rest.Stored != got.Rest {
			t.Errorf("the rest: %+v", rest)
		}
	}
}

// The log is moved into the database beside the writer, and does not grow.
func TestLogStaysShort(t *testing.T) {
	file := filepath.Join(t.TempDir(), "centre.db")
	s := open(t, file)
	ctx, stop := context.WithCancel(t.Context())
	guarded := make(chan struct{})
	go func() { s.Guard(ctx); close(guarded) }()
	size := func(of string) int64 {
		st, err := os.Stat(of)
		if err != nil {
			t.Fatal(err)
		}
		return st.Size()
	}
	src := lane(t, "car-01", wire.Duty)
	const lap = 16 << 20
	for range 6 {
		before := size(file)
		var as []store.Arrival
		for range 300 {
			as = append(as, src.next(&wire.UnknownBody{BodyType: 99, Raw: append([]byte{0x59, 0xf0, 0}, make([]byte, 0xf000)...)}))
		}
		for n := 0; n < len(as); n += 30 {
			commit(t, s, as[n:n+30]...)
		}
		for as = nil; size(file) < before+lap; time.Sleep(10 * time.Millisecond) {
			// The lap may need a little more.
			commit(t, s, src.next(&wire.SignOff{}))
		}
	}
	if n := size(file + "-wal"); n > 3*lap {
		t.Errorf("the log has %d bytes after six laps of %d", n, lap)
	}
	stop()
	<-guarded
	if got, err := s.Events(t.Context(), "car-01", store.EventQuery{Lane: wire.Duty}); err != nil || len(got) < 900 {
		t.Errorf("%d events, %v", len(got), err)
	}
}
