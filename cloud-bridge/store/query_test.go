package store_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/fengsui/fengsui/cloud-bridge/store"
	"github.com/fengsui/fengsui/firmware/wire"
)

func TestTrack(t *testing.T) {
	s := fresh(t)
	src := lane(t, "car-01", wire.Track)
	at := func(sec int64) wire.TrackFix {
		return wire.TrackFix{
			Time: noon.UnixMilli() + sec*1000, LatE6: 30e6 + sec, LonE6: 103e6, Alt: 500, Speed: 123, HDOP: 9,
			Flags: wire.Fix3D | wire.HasSpeed | wire.HasHDOP,
		}
	}
	early := src.next(&wire.TrackBatch{Fixes: []wire.TrackFix{at(1), at(2)}})
	late := src.next(&wire.TrackBatch{Fixes: []wire.TrackFix{at(3), at(4), at(40_000)}})
	commit(t, s, late)
	commit(t, s, early)
	speed, hdop := 12.3, 0.9
	d := device(t, s, "car-01")
	wants(t, "last fix", d.LastFix, &store.Fix{
		Time: noon.Add(4 * time.Second), Point: store.Point{Lat: 30.000004, Lon: 103}, Mode: 3, Speed: &speed, HDOP: &hdop,
	})
	for _, c := range []struct {
		from, to time.Time
		limit    int
		want     []int
	}{
		{want: []int{1, 2, 3, 4, 40_000}},
		{from: noon.Add(2 * time.Second), to: noon.Add(4 * time.Second), want: []int{2, 3}},
		{limit: 2, want: []int{4, 40_000}},
	} {
		fs, err := s.Track(t.Context(), "car-01", c.from, c.to, c.limit)
		if err != nil {
			t.Fatal(err)
		}
		var got []int
		for _, f := range fs {
			got = append(got, int(f.Time.Sub(noon)/time.Second))
		}
		wants(t, "track", got, c.want)
	}
	if _, err := s.Track(t.Context(), "car-02", time.Time{}, time.Time{}, 0); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("track of nobody: %v: want ErrNotFound", err)
	}
}

// All fixes of a batch are there, however many they are.
func TestTrackSizes(t *testing.T) {
	s := fresh(t)
	src := lane(t, "car-01", wire.Track)
	want := 0
	for _, size := range []int{1, 4, 5, 19, 20, 27, wire.MaxTrackFixes} {
		b := new(wire.TrackBatch)
		for range size {
			b.Fixes = append(b.Fixes, wire.TrackFix{Time: int64(want) * 1000, Alt: int64(want), Flags: wire.HasAlt})
			want++
		}
		commit(t, s, src.next(b))
	}
	fs, err := s.Track(t.Context(), "car-01", time.Time{}, time.Time{}, 0)
	if err != nil || len(fs) != want {
		t.Fatalf("%d fixes, %v: want %d", len(fs), err, want)
	}
	for n, f := range fs {
		if *f.Alt != float64(n) {
			t.Fatalf("fix %d is that of %v", n, *f.Alt)
		}
	}
}

// Whatever came is there as it came, what this version knows or not.
func TestEvents(t *testing.T) {
	s := fresh(t)
	alarm, duty := lane(t, "box-01", wire.Alarm), lane(t, "box-01", wire.Duty)
	as := []store.Arrival{
		duty.next(&wire.UnknownBody{BodyType: 99, Raw: []byte{0xa1, 1, 2}}), alarm.next(raised(1)),
		duty.next(&wire.SignOn{Officer: "P-1", Extra: wire.Extra{uint64(70): []byte{5}}}),
	}
	commit(t, s, as...)
	rows, err := s.Events(t.Context(), "box-01", store.EventQuery{})
	if err != nil || len(rows) != 3 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	for n, r := range rows {
		wants(t, "message", r.Message, as[n].Message)
		wants(t, "event", r.Event, as[n].Event)
		wants(t, "received", r.Received, as[n].Received)
	}
	rows, err = s.Events(t.Context(), "box-01", store.EventQuery{Lane: wire.Duty, After: rows[0].ID, Limit: 1})
	if err != nil || len(rows) != 1 || rows[0].Event.Seq != 2 {
		t.Errorf("duty lane after the first: %v, %v", rows, err)
	}
}

// What happened at the reader, the newest first, and no other fault.
func TestFingerEvents(t *testing.T) {
	s := fresh(t)
	duty := lane(t, "box-01", wire.Duty)
	as := []store.Arrival{
		duty.next(&wire.FingerChanged{Action: wire.FingerEnrolled, Slot: 2, Officer: "P-1001", Role: wire.RoleOfficer, By: "P-0007"}),
		duty.next(&wire.SignOn{Officer: "P-1001", Slot: 2}),
		duty.next(&wire.Fault{Code: "tamper", Active: true}),
		duty.next(&wire.SignRefused{Reason: "no_match"}),
		duty.next(&wire.Fault{Code: "fingerprint_locked", Active: true}),
		duty.next(&wire.Fault{Code: "mains_lost", Active: true}),
	}
	commit(t, s, as...)
	rows, err := s.FingerEvents(t.Context(), "box-01", 50)
	var got []uint64
	for _, r := range rows {
		got = append(got, r.Event.Seq)
	}
	wants(t, "numbers", got, []uint64{5, 4, 1})
	if rows, err2 := s.FingerEvents(t.Context(), "box-01", 2); err != nil || err2 != nil || len(rows) != 2 || rows[0].Event.Seq != 5 {
		t.Errorf("%v, %v: %d rows", err, err2, len(rows))
	}
	if _, err := s.FingerEvents(t.Context(), "none", 2); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("%v, want ErrNotFound", err)
	}
}

func TestRefused(t *testing.T) {
	s := fresh(t)
	var b store.Batch
	for n := range store.KeptRefusals + 50 {
		b.Refusals = append(b.Refusals, store.Refusal{At: noon, Topic: "fs/v1/x/up/alarm", Reason: "signature", Detail: "bad", Size: n})
	}
	if _, err := s.Commit(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	r, err := s.Refused(t.Context())
	if err != nil || r.Total != 250 || r.ByReason["signature"] != 250 || len(r.Recent) != store.KeptRefusals || r.Recent[0].Size != 249 {
		t.Errorf("total %d, %v, %d recent, %v", r.Total, r.ByReason, len(r.Recent), err)
	}
}

func TestRegister(t *testing.T) {
	s := fresh(t)
	good := registration("box-02", store.AlarmBox)
	for name, edit := range map[string]func(*store.Registration){
		"id":   func(r *store.Registration) { r.ID = "Box" },
		"kind": func(r *store.Registration) { r.Kind = "boat" },
		"key":  func(r *store.Registration) { r.Key = r.Key[:31] },
		"lat":  func(r *store.Registration) { r.At = &store.Point{Lat: 90.1} },
		"lon":  func(r *store.Registration) { r.At = &store.Point{Lon: -181} },
	} {
		bad := good
		edit(&bad)
		if err := s.Register(t.Context(), good, bad); !errors.Is(err, store.ErrRegister) {
			t.Errorf("%s: %v: want ErrRegister", name, err)
		}
	}
	if _, err := s.Device(t.Context(), "box-02"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a bad list was registered in part: %v", err)
	}
	c := lane(t, "nobody", wire.Duty).next(&wire.SignRefused{})
	if _, err := s.Commit(t.Context(), store.Batch{Arrivals: []store.Arrival{c}}); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("an event of nobody: %v: want ErrNotFound", err)
	}
	commit(t, s, lane(t, "box-01", wire.Alarm).next(raised(1)))
	moved := registration("box-01", store.AlarmBox)
	moved.Name = "moved"
	if err := s.Register(t.Context(), moved); err != nil {
		t.Fatal(err)
	}
	if i := only(t, s); i.DeviceName != "moved" {
		t.Errorf("name %q", i.DeviceName)
	}
	w := s.Watch(10)
	if err := s.Register(t.Context(), moved, good); err != nil {
		t.Fatal(err)
	}
	w.Close()
	var changed []string
	for c := range w.Changes() {
		changed = append(changed, c.Device)
	}
	wants(t, "written of one that is known and one that is not", changed, []string{"box-02"})
}

// A probe that failed is believed for a second.
func TestWritable(t *testing.T) {
	now := noon
	s, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "centre.db"), func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Writable(t.Context()); err != nil {
		t.Errorf("not writable: %v", err)
	}
	if err := s.Shut(); err != nil {
		t.Fatal(err)
	}
	if err := s.Writable(t.Context()); err != nil {
		t.Errorf("asked again within a second: %v", err)
	}
	now = now.Add(time.Second)
	if err := s.Writable(t.Context()); err == nil {
		t.Error("writable after the end")
	}
}

func TestWatch(t *testing.T) {
	s := fresh(t)
	all, slow := s.Watch(10), s.Watch(1)
	commit(t, s, lane(t, "box-01", wire.Alarm).next(raised(1)))
	i := only(t, s)
	if _, err := s.Acknowledge(t.Context(), i.ID, "li"); err != nil {
		t.Fatal(err)
	}
	all.Close()
	all.Close()
	var got []store.Change
	for c := range all.Changes() {
		got = append(got, c)
	}
	wants(t, "changes", got, []store.Change{
		{Kind: store.DeviceChanged, Device: "box-01"},
		{Kind: store.IncidentChanged, Incident: i.ID},
		{Kind: store.IncidentChanged, Incident: i.ID},
		{Kind: store.NoticeChanged, Device: "box-01"},
	})
	n := 0
	for range slow.Changes() { // ends: it fell behind and was cut off
		n++
	}
	if n != 1 {
		t.Errorf("a watcher of one got %d", n)
	}
}

// A commit is there after the database is opened anew, and an event that was
// committed before is a duplicate then.
func TestReopen(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a b%20?.db")
	ctx := context.Background()
	a := lane(t, "box-01", wire.Alarm).next(raised(1))
	for n := range 3 {
		s, err := store.Open(ctx, file, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Register(ctx, registration("box-01", store.AlarmBox)); err != nil {
			t.Fatal(err)
		}
		if err := s.Writable(ctx); err != nil {
			t.Error(err)
		}
		if c := commit(t, s, a); c.Stored != map[bool]int{true: 1}[n == 0] || c.Acks[0].Ack.UpTo[wire.Alarm] != 1 {
			t.Errorf("opened %d times: %+v", n+1, c)
		}
		ack, err := s.Ack(ctx, "box-01", one)
		if err != nil || ack.UpTo[wire.Alarm] != 1 || len(ack.UpTo) != 3 {
			t.Errorf("ack %v, %v", ack, err)
		}
		if err := s.Shut(); err != nil {
			t.Error(err)
		}
	}
}
