package store_test

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fengsui/fengsui/cloud-bridge/incident"
	"github.com/fengsui/fengsui/cloud-bridge/store"
	"github.com/fengsui/fengsui/firmware/wire"
)

var (
	key   = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, 32))
	noon  = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	one   = wire.StreamID{1}
	two   = wire.StreamID{2}
	fire1 = wire.AlarmID{0xf1}
)

func registration(id string, kind store.DeviceKind) store.Registration {
	return store.Registration{ID: id, Kind: kind, Name: "name of " + id, Key: key.Public().(ed25519.PublicKey)}
}

// open opens a store with one box and one car and closes it after the test.
func open(t testing.TB, file string) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), file, func() time.Time { return noon })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Shut(); err != nil {
			t.Error(err)
		}
	})
	box := registration("box-01", store.AlarmBox)
	box.At = &store.Point{Lat: 30.1, Lon: 103.1}
	if err := s.Register(t.Context(), box, registration("car-01", store.PatrolCar)); err != nil {
		t.Fatal(err)
	}
	return s
}

func fresh(t testing.TB) *store.Store { return open(t, filepath.Join(t.TempDir(), "centre.db")) }

// A lane of a device that makes events in order.
type source struct {
	t      testing.TB
	device string
	stream wire.StreamID
	lane   wire.Lane
	seq    uint64
	prev   wire.Hash
	edit   func(*wire.Event)
}

func (s *source) next(b wire.Body) store.Arrival {
	s.t.Helper()
	s.seq++
	e := &wire.Event{
		Device: s.device, Stream: s.stream, Lane: s.lane, Seq: s.seq, Prev: s.prev, Boot: 1,
		Mono: time.Duration(s.seq) * time.Second,
		Wall: wire.Wall{UnixMilli: noon.UnixMilli() + int64(s.seq)*1000, Source: wire.WallGNSS, Uncertainty: 50 * time.Millisecond},
		Body: b,
	}
	if s.edit != nil {
		s.edit(e)
	}
	msg, err := wire.Seal(e, key)
	if err != nil {
		s.t.Fatal(err)
	}
	s.prev = wire.HashOf(msg)
	return store.Arrival{Event: e, Message: msg, Received: noon.Add(time.Duration(s.seq) * time.Second)}
}

func lane(t testing.TB, device string, l wire.Lane) *source {
	return &source{t: t, device: device, stream: one, lane: l}
}

func commit(t testing.TB, s *store.Store, as ...store.Arrival) store.Committed {
	t.Helper()
	c, err := s.Commit(t.Context(), store.Batch{Arrivals: as})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func hello(t testing.TB, s *store.Store, device string, stream wire.StreamID, w map[wire.Lane]wire.Window) store.Committed {
	t.Helper()
	c, err := s.Commit(t.Context(), store.Batch{Greetings: []store.Greeting{{
		Hello: &wire.Hello{Device: device, Stream: stream, Boot: 1, Firmware: "1.2.3", Window: w}, Received: noon,
	}}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func device(t testing.TB, s *store.Store, id string) *store.Device {
	t.Helper()
	d, err := s.Device(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// gaps returns a device's gaps without when they were noticed.
func gaps(t testing.TB, s *store.Store, id string) []store.Gap {
	t.Helper()
	out := device(t, s, id).Gaps
	for i := range out {
		if out[i].Since.IsZero() {
			t.Errorf("gap %+v: since nothing", out[i])
		}
		out[i].Since = time.Time{}
	}
	return out
}

func only(t testing.TB, s *store.Store) *incident.Incident {
	t.Helper()
	is, err := s.Incidents(t.Context(), store.Filter{})
	if err != nil || len(is) != 1 {
		t.Fatalf("%d incidents, %v: want one", len(is), err)
	}
	i, err := s.Incident(t.Context(), is[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func raised(press uint64) *wire.AlarmRaised {
	return &wire.AlarmRaised{Alarm: fire1, Kind: wire.Fire, Button: "fire", Press: press}
}

func wants[T any](t testing.TB, what string, got, want T) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

func TestAlarmToClose(t *testing.T) {
	s := fresh(t)
	ctx := t.Context()
	alarm, duty := lane(t, "box-01", wire.Alarm), lane(t, "box-01", wire.Duty)
	alarm.edit = func(e *wire.Event) { e.Officer, e.Drill = "P-1", true }
	c := commit(t, s, alarm.next(raised(1)), alarm.next(raised(2)))
	wants(t, "acks", c.Acks, []store.DeviceAck{{Device: "box-01", Ack: wire.Ack{
		Stream: one, UpTo: map[wire.Lane]uint64{wire.Alarm: 2, wire.Duty: 0, wire.Track: 0},
		Hash: map[wire.Lane]wire.Hash{wire.Alarm: alarm.prev},
	}}})
	i := only(t, s)
	want := &incident.Incident{
		ID: i.ID, Rev: 1, State: incident.Open, Kind: "fire", Drill: true, Priority: incident.Kind("fire").Priority(),
		Device: "box-01", DeviceName: "name of box-01", Alarm: fire1, Presses: 2,
		Pressed:  incident.Moment{Time: noon.Add(time.Second), Source: wire.WallGNSS, Uncertainty: 50 * time.Millisecond},
		Received: noon.Add(time.Second),
		Position: &incident.Position{Lat: 30.1, Lon: 103.1, Source: incident.Surveyed}, Officer: "P-1", Tier: incident.District,
		Timeline: []incident.Entry{
			{At: noon.Add(time.Second), What: "opened", By: "box-01", Detail: "fire", Screen: "device"},
			{At: noon.Add(2 * time.Second), What: "pressed", By: "box-01", Detail: "press 2", Screen: "device"},
		},
	}
	wants(t, "incident", i, want)

	if _, err := s.Dispatch(ctx, i.ID, "li", "car-01"); !errors.Is(err, incident.ErrState) {
		t.Errorf("dispatch of an open incident: %v: want ErrState", err)
	}
	if _, err := s.Acknowledge(ctx, i.ID+1, "li"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("acknowledge of another incident: %v: want ErrNotFound", err)
	}
	if _, err := s.Acknowledge(ctx, i.ID, ""); !errors.Is(err, incident.ErrField) {
		t.Errorf("acknowledge by nobody: %v: want ErrField", err)
	}
	i, err := s.Acknowledge(ctx, i.ID, "li")
	if err != nil || i.Rev != 2 || i.State != incident.Acknowledged || i.Acknowledged.By != "li" || !i.Acknowledged.At.Equal(noon) {
		t.Fatalf("acknowledged: %+v, %v", i, err)
	}
	if i, err = s.Dispatch(ctx, i.ID, "li", "car-01"); err != nil || i.Rev != 3 {
		t.Fatalf("dispatched: %+v, %v", i, err)
	}
	p, err := s.Pending(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	wants(t, "pending", p, []store.PendingNotice{{
		Device: "box-01", Since: noon,
		Notice: wire.Notice{Alarm: fire1, Rev: 3, State: wire.NoticeDispatched, Unit: "car-01"},
	}})
	commit(t, s, duty.next(&wire.NoticeShown{Alarm: fire1, Rev: 2, State: wire.NoticeAcknowledged}))
	if p, _ := s.Pending(ctx, "box-01"); len(p) != 1 {
		t.Errorf("an older receipt ended the notice")
	}
	commit(t, s, duty.next(&wire.NoticeShown{Alarm: fire1, Rev: 3, State: wire.NoticeDispatched}))
	if p, _ := s.Pending(ctx, "box-01"); len(p) != 0 {
		t.Errorf("pending after the receipt: %v", p)
	}
	if _, err = s.CloseIncident(ctx, i.ID, "li", incident.Drill, "as planned"); err != nil {
		t.Fatal(err)
	}
	commit(t, s, alarm.next(&wire.AlarmCleared{Alarm: fire1, By: wire.ClearedByCentre}))
	i = only(t, s)
	var whats []string
	for _, e := range i.Timeline {
		whats = append(whats, e.What)
	}
	wants(t, "timeline", whats, []string{"opened", "pressed", "acknowledged", "dispatched", "shown", "shown", "closed", "cleared"})
	wants(t, "shown", i.Shown, &incident.Receipt{Rev: 3, State: incident.Dispatched, At: noon.Add(2 * time.Second)})
	wants(t, "cleared", i.Cleared, &incident.Clearing{By: "centre", At: noon.Add(3 * time.Second)})
	open, err := s.Incidents(ctx, store.Filter{States: []incident.State{incident.Open, incident.Acknowledged}})
	if err != nil || len(open) != 0 {
		t.Errorf("open incidents: %v, %v: want none", open, err)
	}
}

// Somebody presses again before the box hears that the desk has closed the
// incident: that is not lost in the closed one.
func TestPressAfterClose(t *testing.T) {
	s := fresh(t)
	ctx := t.Context()
	alarm := lane(t, "box-01", wire.Alarm)
	one, two, three := alarm.next(raised(1)), alarm.next(raised(2)), alarm.next(raised(3))
	commit(t, s, one, three)
	first := only(t, s)
	if _, err := s.CloseIncident(ctx, first.ID, "li", incident.FalseAlarm, ""); err != nil {
		t.Fatal(err)
	}
	commit(t, s, two) // late, but older than what was known at the closing
	if i := only(t, s); i.State != incident.Closed || i.Rev != 2 {
		t.Errorf("a late press: %s, rev %d", i.State, i.Rev)
	}
	commit(t, s, alarm.next(raised(4)), alarm.next(raised(5)))
	is, err := s.Incidents(ctx, store.Filter{States: []incident.State{incident.Open}})
	if err != nil || len(is) != 1 || is[0].ID == first.ID || is[0].Rev != 3 || is[0].Presses != 5 {
		t.Fatalf("open incidents %+v, %v: want another one", is, err)
	}
	if p, err := s.Pending(ctx, ""); err != nil || len(p) != 0 {
		t.Errorf("pending %v, %v: want the closing taken back", p, err)
	}
	if _, err := s.Acknowledge(ctx, is[0].ID, "li"); err != nil {
		t.Fatal(err)
	}
	p, err := s.Pending(ctx, "box-01")
	if err != nil || len(p) != 1 || p[0].Notice.Rev != 4 {
		t.Errorf("pending %v, %v: want a notice of revision 4", p, err)
	}
	commit(t, s, alarm.next(&wire.AlarmCleared{Alarm: fire1, By: wire.ClearedByOfficer}))
	if i, err := s.Incident(ctx, is[0].ID); err != nil || i.Cleared == nil {
		t.Errorf("cleared %+v, %v", i, err)
	}
	if i, err := s.Incident(ctx, first.ID); err != nil || i.Cleared != nil || i.State != incident.Closed {
		t.Errorf("the closed one: %+v, %v", i, err)
	}
}

// What follows from a set of events does not depend on the order in which
// they come.
func TestOutOfOrder(t *testing.T) {
	s := fresh(t)
	alarm, duty := lane(t, "car-01", wire.Alarm), lane(t, "car-01", wire.Duty)
	alarm.edit = func(e *wire.Event) {
		if e.Seq == 1 {
			e.Wall = wire.Wall{Source: wire.WallNone}
		}
	}
	first := alarm.next(raised(1))
	second := alarm.next(&wire.AlarmRaised{
		Alarm: fire1, Kind: wire.Fire, Button: "fire", Press: 2,
		Position: &wire.Position{LatE7: 300000000, LonE7: 1030000000, AgeMs: 1500},
	})
	cleared := alarm.next(&wire.AlarmCleared{Alarm: fire1, By: wire.ClearedByOfficer, Officer: "P-9"})
	shown := duty.next(&wire.NoticeShown{Alarm: fire1, Rev: 2, State: wire.NoticeAcknowledged})
	on, off := duty.next(&wire.SignOn{Officer: "P-1"}), duty.next(&wire.SignOff{Officer: "P-1", Reason: "finger"})

	c := commit(t, s, off, shown, cleared)
	wants(t, "acks", c.Acks[0].Ack.UpTo, map[wire.Lane]uint64{wire.Alarm: 0, wire.Duty: 1, wire.Track: 0})
	commit(t, s, second)
	i := only(t, s)
	if i.Cleared == nil || i.Cleared.By != "P-9" || i.Shown == nil || i.Presses != 2 || i.Position == nil ||
		i.Position.Age != 1500*time.Millisecond || i.Position.Source != incident.GNSS || len(i.Missing) != 0 {
		t.Errorf("incident after the second press: %+v", i)
	}
	wants(t, "gaps", gaps(t, s, "car-01"), []store.Gap{
		{Stream: one, Lane: wire.Alarm, From: 1, To: 1, Why: store.WhyNotYet},
		{Stream: one, Lane: wire.Duty, From: 2, To: 2, Why: store.WhyNotYet},
	})
	c = commit(t, s, on, first)
	wants(t, "acks", c.Acks[0].Ack.UpTo, map[wire.Lane]uint64{wire.Alarm: 3, wire.Duty: 3, wire.Track: 0})
	i = only(t, s)
	if p := i.Pressed; p.Original == nil || p.Original.Source != wire.WallNone || !p.Time.Equal(noon.Add(time.Second)) || i.Presses != 2 {
		t.Errorf("the first press did not count, or was not dated by its boot: %+v", i)
	}
	wants(t, "missing", i.Missing, []string{"position"})
	d := device(t, s, "car-01")
	if d.Officer != "" || len(d.Gaps) != 0 {
		t.Errorf("officer %q, gaps %v: want nobody and none", d.Officer, d.Gaps)
	}
}

func TestDuplicates(t *testing.T) {
	s := fresh(t)
	alarm := lane(t, "box-01", wire.Alarm)
	a := alarm.next(raised(1))
	if c := commit(t, s, a, a); c.Stored != 1 || c.Duplicates != 1 {
		t.Errorf("%+v: want 1 stored, 1 duplicate", c)
	}
	c := commit(t, s, a)
	if c.Stored != 0 || c.Duplicates != 1 || len(c.Acks) != 1 || c.Acks[0].Ack.UpTo[wire.Alarm] != 1 {
		t.Errorf("%+v: want a duplicate that is acknowledged again", c)
	}
	if i := only(t, s); len(i.Timeline) != 1 {
		t.Errorf("timeline %v: want one entry", i.Timeline)
	}
}

// A number that another event has: the second is kept aside, and its alarm
// counts.
func TestTwoEventsOfOneNumber(t *testing.T) {
	s := fresh(t)
	commit(t, s, lane(t, "box-01", wire.Alarm).next(raised(1)))
	other := *raised(1)
	other.Alarm = wire.AlarmID{2}
	again := lane(t, "box-01", wire.Alarm).next(&other)
	for range 2 { // its device is told that it is kept, each time that it comes
		wants(t, "kept", commit(t, s, again).Acks[0].Ack.Kept, []wire.Hash{wire.HashOf(again.Message)})
	}
	is, err := s.Incidents(t.Context(), store.Filter{Device: "box-01"})
	if err != nil || len(is) != 2 {
		t.Errorf("%d incidents, %v: want 2", len(is), err)
	}
	wants(t, "gaps", gaps(t, s, "box-01"), []store.Gap{{Stream: one, Lane: wire.Alarm, From: 1, To: 1, Why: store.WhyTwice}})
}

// A hello says what will never come; what comes after all leaves the gap.
func TestNever(t *testing.T) {
	s := fresh(t)
	duty := lane(t, "box-01", wire.Duty)
	var as []store.Arrival
	for range 12 {
		as = append(as, duty.next(&wire.SignRefused{Reason: "no_match"}))
	}
	window := func(oldest, next uint64) map[wire.Lane]wire.Window {
		return map[wire.Lane]wire.Window{wire.Duty: {Oldest: oldest, Next: next}, 9: {Oldest: 5, Next: 5}}
	}
	upTo := func(c store.Committed) uint64 { return c.Acks[0].Ack.UpTo[wire.Duty] }
	gap := func(from, to uint64) store.Gap {
		return store.Gap{Stream: one, Lane: wire.Duty, From: from, To: to, Why: store.WhyNever}
	}
	if got := upTo(commit(t, s, as[3], as[7], as[10])); got != 0 {
		t.Errorf("up to %d: want 0", got)
	}
	// The 8th is stored, so 7 and 8 follow from oldest = 7.
	if got := upTo(hello(t, s, "box-01", one, window(7, 13))); got != 6 {
		t.Errorf("up to %d: want 6", got)
	}
	if got := upTo(commit(t, s, as[6])); got != 8 {
		t.Errorf("up to %d: want 8", got)
	}
	wants(t, "gaps", gaps(t, s, "box-01"), []store.Gap{
		gap(1, 3), gap(5, 6),
		{Stream: one, Lane: wire.Duty, From: 9, To: 10, Why: store.WhyNotYet},
	})
	commit(t, s, as[1], as[5])
	wants(t, "gaps", gaps(t, s, "box-01")[:3], []store.Gap{gap(1, 1), gap(3, 3), gap(5, 5)})
	commit(t, s, as[0], as[2], as[4])
	if got := upTo(hello(t, s, "box-01", one, window(7, 13))); got != 8 {
		t.Errorf("an older hello moved up-to to %d", got)
	}
	if got := upTo(commit(t, s, as[8], as[9])); got != 11 {
		t.Errorf("up to %d: want 11", got)
	}
	d := device(t, s, "box-01")
	wants(t, "gaps at the end", d.Gaps, nil)
	wants(t, "streams", d.Streams, []store.Stream{{ID: one, Heard: noon.Add(4 * time.Second), Lanes: map[wire.Lane]store.LaneState{
		wire.Duty: {UpTo: 11, Highest: 11, Expected: 12, Stored: 11, Waiting: 1},
	}}})
	if d.Firmware != "1.2.3" {
		t.Errorf("firmware %q", d.Firmware)
	}
	// The whole number space is only a range.
	if got := upTo(hello(t, s, "box-01", two, window(1<<62, 1<<62))); got != 1<<62-1 {
		t.Errorf("up to %d: want %d", got, uint64(1<<62-1))
	}
}

// An acknowledgement names the event that it reaches up to, unless none is
// stored under that number, whatever else comes.
func TestAckHash(t *testing.T) {
	s := fresh(t)
	duty := lane(t, "box-01", wire.Duty)
	var as []store.Arrival
	for range 6 {
		as = append(as, duty.next(&wire.SignRefused{Reason: "no_match"}))
	}
	check := func(what string, c store.Committed, upTo uint64) {
		t.Helper()
		want := wire.Ack{Stream: one, UpTo: map[wire.Lane]uint64{wire.Alarm: 0, wire.Duty: upTo, wire.Track: 0}}
		if upTo > 0 && what != "a gap" {
			want.Hash = map[wire.Lane]wire.Hash{wire.Duty: wire.HashOf(as[upTo-1].Message)}
		}
		for i := range c.Acks {
			c.Acks[i].Ack.Kept = nil // see TestTwoEventsOfOneNumber
		}
		wants(t, what, c.Acks, []store.DeviceAck{{Device: "box-01", Ack: want}})
		got, err := s.Ack(t.Context(), "box-01", one)
		if err != nil {
			t.Fatal(err)
		}
		got.UpTo[wire.Alarm] = 0
		wants(t, what+", asked for", got, want)
	}
	check("nothing", hello(t, s, "box-01", one, nil), 0)
	check("one", commit(t, s, as[0]), 1)
	check("one beyond a hole", commit(t, s, as[2]), 1)
	check("again", commit(t, s, as[0]), 1)
	check("the hole", commit(t, s, as[1]), 3)
	window := map[wire.Lane]wire.Window{wire.Duty: {Oldest: 6, Next: 7}}
	check("a gap", hello(t, s, "box-01", one, window), 5)
	check("a gap", commit(t, s, as[3]), 5)
	check("the gap's last", commit(t, s, as[4]), 5)
	check("the next", commit(t, s, as[5]), 6)
	// Another event under that number does not change what was acknowledged.
	other := lane(t, "box-01", wire.Duty)
	other.seq = 5
	check("another of that number", commit(t, s, other.next(&wire.SignRefused{Reason: "timeout"})), 6)
}

func TestHashChain(t *testing.T) {
	for _, order := range [][]int{{0, 1, 2}, {2, 1, 0}, {1, 0, 2}} {
		s := fresh(t)
		duty := lane(t, "box-01", wire.Duty)
		as := []store.Arrival{duty.next(&wire.SignRefused{Reason: "no_match"})}
		duty.prev = wire.Hash{1}
		as = append(as, duty.next(&wire.SignRefused{Reason: "no_match"}), duty.next(&wire.SignRefused{Reason: "no_match"}))
		for _, n := range order {
			commit(t, s, as[n])
		}
		wants(t, "gaps", gaps(t, s, "box-01"), []store.Gap{{Stream: one, Lane: wire.Duty, From: 2, To: 2, Why: store.WhyChain}})
	}
}

// A second stream is newer than the first, whatever its numbers.
func TestSecondStream(t *testing.T) {
	s := fresh(t)
	old, renewed := lane(t, "car-01", wire.Duty), lane(t, "car-01", wire.Duty)
	renewed.stream = two
	commit(t, s, old.next(&wire.SignOn{Officer: "P-1"}), old.next(&wire.SignOn{Officer: "P-2"}))
	late := old.next(&wire.SignOn{Officer: "P-3"})
	c := commit(t, s, renewed.next(&wire.SignOn{Officer: "P-4"}), late)
	if len(c.Acks) != 2 {
		t.Errorf("acks %v: want one for each stream", c.Acks)
	}
	if d := device(t, s, "car-01"); d.Officer != "P-4" || len(d.Streams) != 2 || d.Streams[1].ID != two {
		t.Errorf("officer %q, streams %v", d.Officer, d.Streams)
	}
}

func TestFaultsAndHealth(t *testing.T) {
	s := fresh(t)
	duty := lane(t, "box-01", wire.Duty)
	begin := duty.next(&wire.Fault{Code: "gps_lost", Active: true, Detail: "no data"})
	health := wire.NewHealth(time.Minute, "9.9", map[wire.Lane]uint64{wire.Track: 7})
	health.Faults = []string{"gps_lost"}
	h := duty.next(health)
	again := duty.next(&wire.Fault{Code: "gps_lost", Active: true, Detail: "still"})
	end := duty.next(&wire.Fault{Code: "gps_lost"})
	commit(t, s, begin, h, again)
	d := device(t, s, "box-01")
	wants(t, "faults", d.Faults, []store.Fault{{Code: "gps_lost", Detail: "still", Since: noon.Add(time.Second)}})
	wants(t, "queue", d.Queue, map[wire.Lane]uint64{wire.Alarm: 0, wire.Duty: 0, wire.Track: 7})
	if d.Firmware != "9.9" || !d.LastHeard.Equal(noon.Add(3*time.Second)) {
		t.Errorf("firmware %q, heard %v", d.Firmware, d.LastHeard)
	}
	commit(t, s, end)
	wants(t, "faults", device(t, s, "box-01").Faults, nil)

	s = fresh(t)
	commit(t, s, end, again)
	wants(t, "faults after an older one came late", device(t, s, "box-01").Faults, nil)

	// A heartbeat knows what a restart or a gap has hidden.
	s = fresh(t)
	duty = lane(t, "box-01", wire.Duty)
	stuck := duty.next(&wire.Fault{Code: "button_stuck", Active: true})
	heartbeat := duty.next(&wire.Health{Faults: []string{"gps_lost"}})
	wantFaults := []store.Fault{{Code: "gps_lost", Since: noon.Add(2 * time.Second)}}
	commit(t, s, stuck, heartbeat)
	wants(t, "faults after a heartbeat", device(t, s, "box-01").Faults, wantFaults)
	s = fresh(t)
	commit(t, s, heartbeat, stuck)
	wants(t, "faults after a heartbeat that came first", device(t, s, "box-01").Faults, wantFaults)
}

// A device whose spool went back in time has other events under numbers that
// are stored. What follows them is not acknowledged before they are here.
func TestNoAckPastAFork(t *testing.T) {
	s := fresh(t)
	first, other := lane(t, "box-01", wire.Duty), lane(t, "box-01", wire.Duty)
	upTo := func(a store.Arrival) uint64 { return commit(t, s, a).Acks[0].Ack.UpTo[wire.Duty] }
	if got := upTo(first.next(&wire.SignRefused{Reason: "no_match"})); got != 1 {
		t.Errorf("up to %d: want 1", got)
	}
	one, two, three := other.next(&wire.SignRefused{Reason: "timeout"}), other.next(&wire.SignRefused{Reason: "a"}), other.next(&wire.SignRefused{Reason: "b"})
	for _, a := range []store.Arrival{two, three} {
		if got := upTo(a); got != 1 {
			t.Errorf("up to %d with a number missing that is taken: want 1", got)
		}
	}
	if got := upTo(one); got != 3 {
		t.Errorf("up to %d with all of them here: want 3", got)
	}
}
