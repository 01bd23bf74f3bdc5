package store_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/fengsui/fengsui/cloud-bridge/incident"
	"github.com/fengsui/fengsui/cloud-bridge/store"
	"github.com/fengsui/fengsui/firmware/wire"
)

// wayKey names a lane of a stream.
type wayKey struct {
	device string
	stream wire.StreamID
	lane   wire.Lane
}

// model is the plainest store that there can be: sets of numbers.
type model struct {
	stored, never map[wayKey]map[uint64]bool
}

func (m *model) set(of map[wayKey]map[uint64]bool, k wayKey, seq uint64) {
	if of[k] == nil {
		of[k] = make(map[uint64]bool)
	}
	of[k][seq] = true
}

func (m *model) upTo(k wayKey) uint64 {
	n := uint64(0)
	for m.stored[k][n+1] || m.never[k][n+1] {
		n++
	}
	return n
}

// gaps are the numbers that are not stored below the highest that is stored or
// will never come.
func (m *model) gaps(k wayKey) (out []uint64) {
	top := uint64(0)
	for _, set := range []map[uint64]bool{m.stored[k], m.never[k]} {
		for seq := range set {
			top = max(top, seq)
		}
	}
	for seq := uint64(1); seq <= top; seq++ {
		if !m.stored[k][seq] {
			out = append(out, seq)
		}
	}
	return out
}

// history draws the events of one lane, valid ones in their order.
func history(t *rapid.T, tb testing.TB, device string, stream wire.StreamID, l wire.Lane) []store.Arrival {
	src := &source{t: tb, device: device, stream: stream, lane: l}
	alarms := []wire.AlarmID{{1}, {2}}
	officers := []string{"P-1", "P-2"}
	presses, shown, cleared := make(map[wire.AlarmID]uint64), uint64(0), make(map[wire.AlarmID]bool)
	at := noon.UnixMilli()
	var out []store.Arrival
	for range rapid.IntRange(0, 12).Draw(t, "events of "+l.String()) {
		alarm := rapid.SampledFrom(alarms).Draw(t, "alarm")
		var b wire.Body
		switch l {
		case wire.Alarm:
			if presses[alarm] > 0 && !cleared[alarm] && rapid.Bool().Draw(t, "clear") {
				cleared[alarm] = true
				b = &wire.AlarmCleared{Alarm: alarm, By: wire.ClearedByOfficer, Officer: "P-1"}
				break
			}
			presses[alarm]++
			b = &wire.AlarmRaised{Alarm: alarm, Kind: wire.Panic, Button: "b", Press: presses[alarm]}
		case wire.Duty:
			officer := rapid.SampledFrom(officers).Draw(t, "officer")
			switch rapid.IntRange(0, 4).Draw(t, "duty") {
			case 0:
				b = &wire.SignOn{Officer: officer}
			case 1:
				b = &wire.SignOff{Officer: officer, Reason: "finger"}
			case 2:
				b = &wire.Fault{Code: officer, Active: rapid.Bool().Draw(t, "active")}
			case 3:
				h := &wire.Health{Queue: map[wire.Lane]uint64{wire.Track: src.seq}, Firmware: officer}
				h.Faults = rapid.SliceOfNDistinct(rapid.SampledFrom(officers), 0, 2, rapid.ID).Draw(t, "faults")
				b = h
			case 4:
				shown++
				b = &wire.NoticeShown{Alarm: alarm, Rev: shown, State: wire.NoticeAcknowledged}
			}
		case wire.Track:
			at += 1000
			b = &wire.TrackBatch{Fixes: []wire.TrackFix{{Time: at, LatE6: at % 90e6}, {Time: at + 500, Flags: wire.Fix3D}}}
		}
		out = append(out, src.next(b))
	}
	return out
}

// Whatever the order, the repetitions and the restarts: each event is stored
// once, an acknowledgement covers what is stored or will never come and
// nothing else, gaps are what is missing, and what follows from the events is
// what follows from them in order.
func TestCommitAgainstModel(t *testing.T) {
	template := filepath.Join(t.TempDir(), "empty.db")
	s := quietly(t, template)
	if err := s.Register(t.Context(), registration("box-01", store.AlarmBox), registration("car-01", store.PatrolCar)); err != nil {
		t.Fatal(err)
	}
	if err := s.Shut(); err != nil {
		t.Fatal(err)
	}
	empty, err := os.ReadFile(template) // making one takes longer than a history
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(rt *rapid.T) {
		var pool []store.Arrival
		for _, device := range []string{"box-01", "car-01"} {
			for _, l := range wire.Lanes() {
				pool = append(pool, history(rt, t, device, one, l)...)
			}
		}
		// A second stream, without what would depend on which came first.
		src := &source{t: t, device: "box-01", stream: two, lane: wire.Alarm}
		for range rapid.IntRange(0, 6).Draw(rt, "second stream") {
			pool = append(pool, src.next(&wire.UnknownBody{BodyType: 77, Raw: []byte{1}}))
		}
		dir, err := os.MkdirTemp(filepath.Dir(template), "")
		if err != nil {
			rt.Fatal(err)
		}
		for _, name := range []string{"a.db", "b.db"} {
			if err := os.WriteFile(filepath.Join(dir, name), empty, 0o600); err != nil {
				rt.Fatal(err)
			}
		}
		s := quietly(t, filepath.Join(dir, "a.db"))
		m := &model{make(map[wayKey]map[uint64]bool), make(map[wayKey]map[uint64]bool)}
		check := func(c store.Committed) {
			for _, a := range c.Acks {
				for l, got := range a.Ack.UpTo {
					if want := m.upTo(wayKey{a.Device, a.Ack.Stream, l}); got != want {
						rt.Fatalf("%s %v %v is acknowledged up to %d: want %d", a.Device, a.Ack.Stream, l, got, want)
					}
				}
			}
		}
		play := func(as []store.Arrival) {
			c, err := s.Commit(t.Context(), store.Batch{Arrivals: as})
			if err != nil {
				rt.Fatal(err)
			}
			fresh := 0
			for _, a := range as {
				k := wayKey{a.Event.Device, a.Event.Stream, a.Event.Lane}
				if !m.stored[k][a.Event.Seq] {
					fresh++
				}
				m.set(m.stored, k, a.Event.Seq)
			}
			if c.Stored != fresh || c.Duplicates != len(as)-fresh {
				rt.Fatalf("%+v: want %d stored of %d", c, fresh, len(as))
			}
			check(c)
		}
		rest := rapid.Permutation(pool).Draw(rt, "order")
		for len(rest) > 0 {
			switch rapid.IntRange(0, 9).Draw(rt, "step") {
			case 0: // restart
				if err := s.Shut(); err != nil {
					rt.Fatal(err)
				}
				s = quietly(t, filepath.Join(dir, "a.db"))
			case 1: // again what came before, and what did not
				play(rapid.SliceOfN(rapid.SampledFrom(pool), 1, 5).Draw(rt, "again"))
			case 2: // a hello
				k := wayKey{"box-01", two, wire.Alarm}
				oldest := rapid.Uint64Range(1, 5).Draw(rt, "oldest")
				for seq := uint64(1); seq < oldest; seq++ {
					m.set(m.never, k, seq)
				}
				check(hello(t, s, "box-01", two, map[wire.Lane]wire.Window{wire.Alarm: {Oldest: oldest, Next: 9}}))
			default:
				n := rapid.IntRange(1, len(rest)).Draw(rt, "batch")
				play(rest[:n])
				rest = rest[n:]
			}
			for _, d := range []string{"box-01", "car-01"} {
				compareGaps(rt, t, s, m, d)
			}
		}
		if err := s.Shut(); err != nil {
			rt.Fatal(err)
		}
		s = quietly(t, filepath.Join(dir, "a.db"))
		defer s.Shut()
		inOrder := quietly(t, filepath.Join(dir, "b.db"))
		defer inOrder.Shut()
		commit(t, inOrder, pool...)
		for _, d := range []string{"box-01", "car-01"} {
			want, got := summary(t, inOrder, d), summary(t, s, d)
			if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
				rt.Fatalf("%s in another order (-in order +got):\n%s", d, diff)
			}
		}
	})
}

// quietly opens a store that the caller shuts.
func quietly(t *testing.T, file string) *store.Store {
	s, err := store.Open(t.Context(), file, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func compareGaps(rt *rapid.T, t *testing.T, s *store.Store, m *model, id string) {
	got := make(map[wayKey][]uint64)
	for _, g := range device(t, s, id).Gaps {
		k := wayKey{id, g.Stream, g.Lane}
		for seq := g.From; seq <= g.To; seq++ {
			got[k] = append(got[k], seq)
		}
	}
	for _, stream := range []wire.StreamID{one, two} {
		for _, l := range wire.Lanes() {
			k := wayKey{id, stream, l}
			if diff := cmp.Diff(m.gaps(k), got[k], cmpopts.EquateEmpty()); diff != "" {
				rt.Fatalf("gaps of %v (-want +got):\n%s", k, diff)
			}
		}
	}
}

// all is everything about a device that may not depend on the order in which
// its events came.
type all struct {
	Device    store.Device
	Incidents []incident.Incident
	Events    []string
	Track     []store.Fix
}

func summary(t *testing.T, s *store.Store, id string) all {
	d := *device(t, s, id)
	d.Streams, d.Gaps = nil, nil // compared with the model
	if id == "box-01" {
		d.LastHeard, d.Firmware = noon, "" // a hello may have had the last word
	}
	for i := range d.Faults {
		d.Faults[i].Since, d.Faults[i].Detail = noon, "" // of the event that the centre heard of first
	}
	slices.SortFunc(d.Faults, func(a, b store.Fault) int { return strings.Compare(a.Code, b.Code) })
	out := all{Device: d}
	is, err := s.Incidents(t.Context(), store.Filter{Device: id})
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range is {
		i.ID, i.Received = 0, noon
		out.Incidents = append(out.Incidents, i)
	}
	slices.SortFunc(out.Incidents, func(a, b incident.Incident) int { return strings.Compare(a.Alarm.String(), b.Alarm.String()) })
	rows, err := s.Events(t.Context(), id, store.EventQuery{})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		out.Events = append(out.Events, wire.HashOf(r.Message).String())
	}
	slices.Sort(out.Events)
	if out.Track, err = s.Track(t.Context(), id, noon, noon.AddDate(1, 0, 0), 0); err != nil {
		t.Fatal(err)
	}
	return out
}
