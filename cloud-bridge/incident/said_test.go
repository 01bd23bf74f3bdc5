package incident_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/fengsui/fengsui/cloud-bridge/incident"
	"github.com/fengsui/fengsui/firmware/wire"
)

// What the clocks tell is taken where it can be, moved to the nearest moment
// that can, and given up where none can.
func TestDated(t *testing.T) {
	const s, m = time.Second, time.Minute
	sent, came := at, at.Add(10*m)
	for _, c := range []struct {
		given, within, want time.Duration
		unknown             bool
	}{
		{given: 5 * m, want: 5 * m},
		{given: 0, want: 0},
		{given: 10 * m, want: 10 * m},
		{given: -s, want: 0},                                  // two clocks that are both right
		{given: -s - time.Millisecond, unknown: true},         // it was not sent yet
		{given: -3 * s, within: 2 * s, want: 0},               // it may have been then
		{given: -4 * s, within: 2 * s, unknown: true},         // it cannot
		{given: 10*m + s, want: 10 * m},                       // it came a second before it was said
		{given: 12 * m, within: m, unknown: true},             // …
		{given: -3 * m, within: 5*m - s, want: m},             // the middle of what can be, not its edge
		{given: -30 * m, within: 10 * time.Hour, want: 5 * m}, // nothing is known but that it was between
		{given: 30 * m, within: 25*m - s, want: 7*m + 30*s},   // the same at the other end
		{given: 10*m + 3*s, within: 2*s - s/2, unknown: true},
	} {
		got, ok := incident.Dated(at.Add(c.given), c.within, sent, came)
		if ok == c.unknown || ok && !got.Equal(at.Add(c.want)) {
			t.Errorf("%v ± %v: %v, %v; want %v", c.given, c.within, got.Sub(at), ok, c.want)
		}
	}
	if got, ok := incident.Dated(time.Time{}, 0, sent, came); !ok || !got.Equal(came) {
		t.Errorf("no clock tells: %v, %v: want when it came", got, ok)
	}
}

// Whatever the clocks of two cars tell, and however often they change their
// minds: no time is before the unit was sent or after the word of it came, what
// one car said first was not later than what it said next, and the state is the
// one that was said.
func TestRedatedTimesCanAlwaysBe(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		i := opened()
		for _, s := range []incident.Step{
			{Name: "acknowledge"},
			{Name: "dispatch", Unit: "one", Device: "car-01"},
			{Name: "add_unit", Unit: "two", Device: "car-02"},
		} {
			if err := i.Take(s, incident.Actor{Name: "li"}, at); err != nil {
				t.Fatal(err)
			}
		}
		clock := func() (time.Time, time.Duration) {
			if rapid.IntRange(0, 3).Draw(t, "tells") == 0 {
				return time.Time{}, 0
			}
			return at.Add(time.Duration(rapid.IntRange(-600, 1200).Draw(t, "given")) * time.Second), time.Duration(rapid.IntRange(0, 300).Draw(t, "within")) * time.Second
		}
		var received []time.Time
		for n := range rapid.IntRange(1, 8).Draw(t, "answers") {
			given, within := clock()
			received = append(received, at.Add(time.Duration(rapid.IntRange(1, 900).Draw(t, "came"))*time.Second))
			i.Answer(incident.Answer{
				Device: rapid.SampledFrom([]string{"car-01", "car-02"}).Draw(t, "device"), By: "P-7", Code: incident.Real,
				Answer: wire.Answer(rapid.IntRange(1, 8).Draw(t, "answer")), Given: given, Within: within, Received: received[n],
				Ref: int64(n + 1), Stream: 1, Boot: uint64(rapid.IntRange(1, 2).Draw(t, "boot")), Mono: time.Duration(n) * time.Second,
			})
		}
		for range rapid.IntRange(0, 8).Draw(t, "redatings") {
			ref := rapid.IntRange(1, len(received)).Draw(t, "ref")
			given, within := clock()
			i.Redate(incident.Redating{Ref: int64(ref), What: "x", By: "P-7", Told: given, Within: within}, received[ref-1], at.Add(time.Hour))
		}
		for _, u := range i.Units {
			var last incident.Said
			for _, s := range u.Said {
				if !s.At.IsZero() && (s.At.Before(u.At) || s.At.After(s.Received)) {
					t.Fatalf("%+v: not between %v and its arrival", s, u.At)
				}
				if !s.At.IsZero() && !last.At.IsZero() && s.At.Before(last.At) {
					t.Fatalf("%+v: before %+v", s, last)
				}
				if !s.At.IsZero() {
					last = s
				}
			}
		}
		for n, p := range []*incident.Progress{i.EnRoute, i.OnScene, i.Checked} {
			if p != nil && !p.At.IsZero() && (p.At.Before(at) || i.Closed != nil && p.At.After(i.Closed.At)) {
				t.Fatalf("progress %d at %v, closed %+v", n, p.At, i.Closed)
			}
		}
		if i.Closed != nil && i.Closed.At.Before(at) || (i.Closed != nil) != (i.State == incident.Closed) {
			t.Fatalf("%s, %+v", i.State, i.Closed)
		}
	})
}

// Who was taken back and sent again has said before that what it said before,
// also when that turns out only later.
func TestSentAgain(t *testing.T) {
	answer := func(given, came time.Duration, ref int64) incident.Answer {
		a := incident.Answer{Device: "car-01", By: "P-7", Answer: wire.AnswerOnScene, Received: at.Add(came), Ref: ref, Stream: 1, Boot: 1, Mono: given}
		if given != 0 {
			a.Given = at.Add(given)
		}
		return a
	}
	for name, later := range map[string]bool{"its clock is known": false, "its clock is known later": true} {
		i := opened()
		for n, s := range []incident.Step{
			{Name: "acknowledge"},
			{Name: "dispatch", Unit: "one", Device: "car-01"},
			{Name: "return", Note: "x"},
			{Name: "approve"},
			{Name: "dispatch", Unit: "one", Device: "car-01"},
		} {
			who := incident.Actor{Name: "li"}
			if s.Name == "approve" {
				who.Name = "wang"
			}
			if err := i.Take(s, who, at.Add(time.Duration(n)*time.Minute)); err != nil {
				t.Fatal(err)
			}
		}
		a := answer(90*time.Second, time.Hour, 1)
		if later {
			a.Given = time.Time{}
		}
		i.Answer(a)
		if later {
			if i.State != incident.OnScene {
				t.Errorf("%s: %s at first", name, i.State)
			}
			i.Redate(incident.Redating{Ref: 1, What: incident.WhatOnScene, By: "P-7", Was: at.Add(time.Hour), Told: at.Add(90 * time.Second)}, a.Received, at.Add(2*time.Hour))
			if r := i.Redatings; len(r) != 1 || !r[0].At.Equal(at.Add(90*time.Second)) {
				t.Errorf("%s: %+v", name, r)
			}
		}
		// The clock was wrong after all: it is there, for the second time.
		wrong := *i
		wrong.Units = append([]incident.Unit(nil), i.Units...)
		wrong.Units[1].Said = append([]incident.Said(nil), i.Units[1].Said...)
		wrong.Redate(incident.Redating{Ref: 1, What: incident.WhatOnScene, By: "P-7", Told: at.Add(10 * time.Minute)}, a.Received, at.Add(3*time.Hour))
		if wrong.State != incident.OnScene || !wrong.OnScene.At.Equal(at.Add(10*time.Minute)) {
			t.Errorf("%s: %s, %+v: want that it is there", name, wrong.State, wrong.OnScene)
		}
		if i.State != incident.Dispatched || i.OnScene != nil {
			t.Errorf("%s: %s, %+v: want that it is on its way", name, i.State, i.OnScene)
		}
	}
}
