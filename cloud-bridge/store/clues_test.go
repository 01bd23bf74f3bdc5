package store_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fengsui/fengsui/cloud-bridge/incident"
	"github.com/fengsui/fengsui/cloud-bridge/store"
	"github.com/fengsui/fengsui/firmware/wire"
)

var none = wire.Wall{UnixMilli: 12_000, Source: wire.WallNone}

// say is what a device says in a timed history: true time, boot, monotonic
// time and what it takes for the time of day.
type say struct {
	at    time.Duration // truth, after noon
	boot  uint64
	mono  time.Duration
	wall  wire.Wall
	hello bool
	press bool
	late  time.Duration // until it arrives
}

func sourced(at time.Duration, from wire.WallSource, within time.Duration) wire.Wall {
	return wire.Wall{UnixMilli: noon.Add(at).UnixMilli(), Source: from, Uncertainty: within}
}

// tell makes commits of a history, one each, in the order of arrival.
func tell(t testing.TB, says []say) []store.Batch {
	alarm, duty := lane(t, "box-01", wire.Alarm), lane(t, "box-01", wire.Duty)
	var out []store.Batch
	for _, w := range says {
		received := noon.Add(w.at + w.late)
		if w.hello {
			out = append(out, store.Batch{Greetings: []store.Greeting{{
				Hello: &wire.Hello{Device: "box-01", Stream: one, Boot: w.boot, MonoMs: uint64(w.mono.Milliseconds())}, Received: received,
			}}})
			continue
		}
		from, body := duty, wire.Body(&wire.SignRefused{Reason: "no_match"})
		if w.press {
			from, body = alarm, &wire.AlarmRaised{Alarm: wire.AlarmID{byte(len(out))}, Kind: wire.Panic, Button: "b", Press: 1}
		}
		from.edit = func(e *wire.Event) { e.Boot, e.Mono, e.Wall = w.boot, w.mono, w.wall }
		a := from.next(body)
		a.Received = received
		out = append(out, store.Batch{Arrivals: []store.Arrival{a}})
	}
	return out
}

// pressed returns how the presses of a history are dated: minutes and seconds
// after noon, source, uncertainty, and what the device said.
func pressed(t testing.TB, s *store.Store) (out []string) {
	t.Helper()
	is, err := s.Incidents(t.Context(), store.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(is, func(a, b incident.Incident) int { return slices.Compare(a.Alarm[:], b.Alarm[:]) })
	for _, i := range is {
		text := "no time"
		if p := i.Pressed; p.Source != wire.WallNone {
			text = fmt.Sprintf("%v %v ±%v", p.Time.Sub(noon).Round(time.Millisecond), p.Source, p.Uncertainty)
		}
		if o := i.Pressed.Original; o != nil {
			text += fmt.Sprintf(", said %v %v", o.Time().Format("2006-01-02T15:04:05"), o.Source)
		}
		out = append(out, text)
	}
	return out
}

// Presses are dated by what else is known of their boot, and of the boots
// before and after it.
func TestPressesAreDated(t *testing.T) {
	const m, sec, h = time.Minute, time.Second, time.Hour
	wrong := func(at time.Duration) wire.Wall { return sourced(at, wire.WallGNSS, sec) }
	for _, c := range []struct {
		name string
		says []say
		want []string
	}{
		{"an event of the same boot is dated later", []say{
			{at: m, boot: 1, mono: 10 * sec, wall: none, press: true},
			{at: 2 * m, boot: 1, mono: 70 * sec, wall: sourced(2*m, wire.WallGNSS, sec)},
		}, []string{"1m0s gnss ±1.006s, said 1970-01-01T00:00:12 none"}},
		{"…and came first", []say{
			{at: 2 * m, boot: 1, mono: 70 * sec, wall: sourced(2*m, wire.WallGNSS, sec)},
			{at: m, boot: 1, mono: 10 * sec, wall: none, press: true, late: 5 * m},
		}, []string{"1m0s gnss ±1.006s, said 1970-01-01T00:00:12 none"}},
		{"a later event of the same boot is not dated", []say{
			{at: m, boot: 1, mono: 10 * sec, wall: sourced(m, wire.WallNTP, 20*time.Millisecond)},
			{at: h, boot: 1, mono: 10*sec + 59*m, wall: none, press: true},
		}, []string{"1h0m0s ntp ±374ms, said 1970-01-01T00:00:12 none"}},
		{"only a hello came", []say{
			{at: m, boot: 1, mono: 10 * sec, wall: none, press: true, late: 20 * m},
			{at: 20 * m, boot: 1, mono: 19*m + 10*sec, hello: true, late: 5 * sec},
			{at: 21 * m, boot: 1, mono: 20*m + 10*sec, hello: true, late: 100 * time.Millisecond},
			{at: 22 * m, boot: 1, mono: 21*m + 10*sec, hello: true, late: 9 * sec},
		}, []string{"1m0.1s centre ±20.12s, said 1970-01-01T00:00:12 none"}},
		{"the device knows the centre's time after a hello", []say{
			{at: m, boot: 1, mono: 10 * sec, wall: none, press: true, late: 20 * m},
			{at: 20 * m, boot: 1, mono: 19*m + 10*sec, hello: true, late: 5 * sec},
			{at: 21 * m, boot: 1, mono: 20*m + 10*sec, wall: sourced(21*m, wire.WallCentre, 50*time.Millisecond)},
		}, []string{"1m0s centre ±170ms, said 1970-01-01T00:00:12 none"}},
		{"2080 is no time either", []say{
			{at: m, boot: 1, mono: 10 * sec, wall: wire.Wall{UnixMilli: 3471292800000}, press: true},
			{at: 2 * m, boot: 1, mono: 70 * sec, wall: sourced(2*m, wire.WallGNSS, sec)},
		}, []string{"1m0s gnss ±1.006s, said 2080-01-01T00:00:00 none"}},
		{"between two boots that are dated", []say{
			{at: m, boot: 1, mono: 10 * sec, wall: sourced(m, wire.WallNTP, 20*time.Millisecond)},
			{at: 3 * m, boot: 2, mono: 30 * sec, wall: none, press: true, late: 10 * m},
			{at: 10 * m, boot: 3, mono: 10 * sec, wall: sourced(10*m, wire.WallNTP, 20*time.Millisecond)},
		}, []string{"5m39.989s centre ±4m10.012s, said 1970-01-01T00:00:12 none"}},
		{"a cut between two clocks, then the centre's", []say{
			{at: m, boot: 1, mono: 10 * sec, wall: sourced(m, wire.WallGNSS, sec)},
			{at: 3 * m, boot: 2, mono: 30 * sec, wall: none, press: true, late: 10 * m},
			{at: 13 * m, boot: 2, mono: 10*m + 30*sec, wall: sourced(13*m, wire.WallCentre, 20*time.Millisecond)},
		}, []string{"3m0s centre ±80ms, said 1970-01-01T00:00:12 none"}},
		{"nothing is known before it", []say{
			{at: 3 * m, boot: 1, mono: 30 * sec, wall: none, press: true},
			{at: 10 * m, boot: 2, mono: 10 * sec, wall: sourced(10*m, wire.WallNTP, 20*time.Millisecond)},
		}, []string{"no time"}},
		{"a time that is after its arrival", []say{
			{at: m, boot: 1, mono: 10 * sec, wall: wrong(h), press: true},
		}, []string{"no time, said 2026-11-23T13:00:00 gnss"}},
		{"…and the centre's clock", []say{
			{at: 0, boot: 1, mono: sec, hello: true},
			{at: m, boot: 1, mono: m + sec, wall: wrong(h), press: true},
			{at: 2 * m, boot: 1, mono: 2*m + sec, wall: wrong(h + m)},
		}, []string{"1m0s centre ±20.006s, said 2026-11-23T13:00:00 gnss"}},
		{"a receiver an hour behind, and the centre", []say{
			{at: m, boot: 1, mono: 10 * sec, wall: wrong(m - h), press: true, late: m},
			{at: 2 * m, boot: 1, mono: 70 * sec, wall: sourced(2*m, wire.WallCentre, 50*time.Millisecond)},
		}, []string{"1m0s centre ±56ms, said 2026-11-23T11:01:00 gnss"}},
		{"two sources and nobody to say which", []say{
			{at: m, boot: 1, mono: 10 * sec, wall: wrong(m - h), press: true},
			{at: 2 * m, boot: 1, mono: 70 * sec, wall: sourced(2*m, wire.WallNTP, 50*time.Millisecond)},
		}, []string{"-59m0s gnss ±1s"}},
		{"a leap second between clocks is no contradiction", []say{
			{at: m, boot: 1, mono: 10 * sec, wall: sourced(m+sec, wire.WallNTP, 20*time.Millisecond), press: true, late: 2 * sec},
			{at: 2 * m, boot: 1, mono: 70 * sec, wall: sourced(2*m, wire.WallCentre, 20*time.Millisecond)},
		}, []string{"1m1s ntp ±20ms"}},
		{"a clock that drifted for days, and the centre", []say{
			{at: h, boot: 1, mono: h, wall: sourced(h-20*sec, wire.WallGNSS, 27*sec), press: true},
			{at: h + m, boot: 1, mono: h + m, wall: sourced(h+m, wire.WallCentre, 20*time.Millisecond)},
		}, []string{"1h0m0s centre ±26ms, said 2026-11-23T12:59:40 gnss"}},
		{"never after its arrival", []say{
			{at: 0, boot: 1, mono: sec, hello: true, late: 15 * sec},
			{at: m, boot: 1, mono: m + sec, wall: none, press: true},
		}, []string{"1m0s centre ±20.006s, said 1970-01-01T00:00:12 none"}},
		{"a hello that somebody kept of a boot that is over", []say{
			{at: m, boot: 2, mono: 10 * sec, wall: sourced(m, wire.WallNTP, 20*time.Millisecond)},
			{at: 2 * m, boot: 1, mono: 10 * sec, hello: true},
			{at: -m, boot: 1, mono: 5 * sec, wall: none, press: true, late: 5 * m},
		}, []string{"no time"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := fresh(t)
			for _, b := range tell(t, c.says) {
				if _, err := s.Commit(t.Context(), b); err != nil {
					t.Fatal(err)
				}
			}
			wants(t, "presses", pressed(t, s), c.want)
			rows, err := s.Events(t.Context(), "box-01", store.EventQuery{Lane: wire.Alarm})
			if err != nil || len(rows) != len(c.want) {
				t.Fatalf("%d alarm events, %v: want %d", len(rows), err, len(c.want))
			}
			is, _ := s.Incidents(t.Context(), store.Filter{})
			for i := range rows {
				wants(t, "the event and its incident", rows[i].When, is[i].Pressed)
			}
		})
	}
}

// What is known of the times does not depend on how the messages are joined to
// commits, nor, but for hellos of boots that are over, on their order.
func TestDatingDoesNotDependOnTheOrder(t *testing.T) {
	const m, sec = time.Minute, time.Second
	says := []say{
		{at: m, boot: 1, mono: 10 * sec, wall: none, press: true, late: 30 * m},
		{at: 2 * m, boot: 1, mono: 70 * sec, wall: sourced(2*m, wire.WallGNSS, sec), late: 30 * m},
		{at: 3 * m, boot: 1, mono: 130 * sec, wall: sourced(3*m, wire.WallGNSS, sec), late: 30 * m},
		{at: 5 * m, boot: 2, mono: 30 * sec, wall: none, press: true, late: 30 * m},
		{at: 20 * m, boot: 3, mono: 30 * sec, wall: none, press: true, late: 30 * m},
		{at: 31 * m, boot: 3, mono: 11*m + 30*sec, wall: sourced(31*m, wire.WallCentre, sec/10), late: m},
		{at: 32 * m, boot: 3, mono: 12*m + 30*sec, wall: sourced(32*m, wire.WallCentre, sec/10)},
	}
	batches := tell(t, says)
	var want []string
	for n := range 20 {
		s := fresh(t)
		for _, b := range batches {
			if _, err := s.Commit(t.Context(), b); err != nil {
				t.Fatal(err)
			}
		}
		got := pressed(t, s)
		if n == 0 {
			want = got
			continue
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Fatalf("in another order (-first +this):\n%s", d)
		}
		rand.Shuffle(len(batches), func(i, j int) { batches[i], batches[j] = batches[j], batches[i] })
	}
	t.Logf("%q", want)
}

// A device that saved events of a stream says hello for it with the times of
// the stream that took its place.
func TestHellosForASavedStream(t *testing.T) {
	s := fresh(t)
	old := lane(t, "box-01", wire.Alarm)
	old.edit = func(e *wire.Event) { e.Boot, e.Mono, e.Wall = 1, 10*time.Second, none }
	press := old.next(raised(1))
	press.Received = noon.Add(time.Hour)
	began := lane(t, "box-01", wire.Duty)
	began.stream = two
	began.edit = func(e *wire.Event) { e.Boot, e.Mono, e.Wall = 1, time.Second, none }
	start := began.next(&wire.StreamStarted{Previous: one, Why: wire.StartDamaged})
	start.Received = noon.Add(time.Hour)
	for n, stream := range []wire.StreamID{one, two} {
		if _, err := s.Commit(t.Context(), store.Batch{Greetings: []store.Greeting{{
			Hello: &wire.Hello{Device: "box-01", Stream: stream, Boot: 1, MonoMs: 5000}, Received: noon.Add(time.Hour + time.Duration(n)*time.Millisecond),
		}}}); err != nil {
			t.Fatal(err)
		}
	}
	commit(t, s, press)
	commit(t, s, start)
	wants(t, "press", pressed(t, s), []string{"no time"})
}

// A fix that the device doubts is dated by its boot, and the track is in the
// order of capture.
func TestDoubtedFixesAreDated(t *testing.T) {
	s := fresh(t)
	src := lane(t, "car-01", wire.Track)
	src.edit = func(e *wire.Event) { e.Mono, e.Wall = 20*time.Second, none }
	bad := wire.DoubtTime | wire.Fix3D
	ahead := noon.Add(300 * 24 * time.Hour).UnixMilli()
	a := src.next(&wire.TrackBatch{Fixes: []wire.TrackFix{
		{Time: ahead, LatE6: 1, Flags: bad, Mono: 18_000},
		{Time: ahead + 1000, LatE6: 2, Flags: bad, Mono: 19_000},
	}})
	a.Received = noon.Add(30 * time.Second)
	commit(t, s, a)
	track := func() (out []string) {
		t.Helper()
		fs, err := s.Track(t.Context(), "car-01", time.Time{}, time.Time{}, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range fs {
			out = append(out, fmt.Sprintf("%.6f %v ±%v", f.Lat, f.Time.Sub(noon), f.Within))
		}
		return out
	}
	wants(t, "track while nothing dates it", track(), nil)
	if f := device(t, s, "car-01").LastFix; f != nil {
		t.Errorf("last fix %v: want none", f)
	}
	src.edit = func(e *wire.Event) {
		e.Mono, e.Wall = 22*time.Second, sourced(22*time.Second, wire.WallGNSS, time.Second)
	}
	b := src.next(&wire.TrackBatch{Fixes: []wire.TrackFix{
		{Time: ahead + 2000, LatE6: 3, Flags: bad, Mono: 20_000},
		{Time: noon.Add(21 * time.Second).UnixMilli(), LatE6: 4},
		{Time: noon.Add(20 * time.Second).UnixMilli(), LatE6: 5},
	}})
	b.Received = noon.Add(30 * time.Second)
	commit(t, s, b)
	wants(t, "track", track(), []string{"0.000001 18s ±1s", "0.000002 19s ±1s", "0.000003 20s ±1s", "0.000004 21s ±0s", "0.000005 20s ±0s"})
	fs, err := s.Track(t.Context(), "car-01", noon.Add(19*time.Second), noon.Add(21*time.Second), 2)
	if err != nil || len(fs) != 2 {
		t.Errorf("%d fixes of 19 to 21 s, %v: want 2", len(fs), err)
	}
	if f := device(t, s, "car-01").LastFix; f == nil || !f.Time.Equal(noon.Add(21*time.Second)) {
		t.Errorf("last fix %v: want that of 21 s", f)
	}
}
