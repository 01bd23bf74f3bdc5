package store_test

import (
	"testing"
	"time"

	"github.com/fengsui/fengsui/cloud-bridge/incident"
	"github.com/fengsui/fengsui/cloud-bridge/store"
	"github.com/fengsui/fengsui/firmware/wire"
)

// beat commits a hello of a run of box-01.
func beat(t *testing.T, s *store.Store, stream wire.StreamID, boot, mono uint64, at time.Time) {
	t.Helper()
	if _, err := s.Commit(t.Context(), store.Batch{Greetings: []store.Greeting{{Hello: &wire.Hello{Device: "box-01", Stream: stream, Boot: boot, MonoMs: mono}, Received: at}}}); err != nil {
		t.Fatal(err)
	}
}

func sign(t *testing.T, s *store.Store, id string) store.Sign {
	t.Helper()
	signs, _, err := s.Signs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range signs {
		if d.Device == id {
			return d
		}
	}
	t.Fatalf("no device %s", id)
	return store.Sign{}
}

func listed(t *testing.T, s *store.Store, states ...incident.State) []incident.Incident {
	t.Helper()
	is, err := s.Incidents(t.Context(), store.Filter{States: states})
	if err != nil {
		t.Fatal(err)
	}
	return is
}

func supervised(t *testing.T, s *store.Store, sv store.Supervision) {
	t.Helper()
	if err := s.Supervise(t.Context(), sv); err != nil {
		t.Fatal(err)
	}
}

func TestSignsOfLife(t *testing.T) {
	s := fresh(t)
	at := time.Date(2026, 11, 23, 3, 0, 0, 0, time.UTC)
	if d := sign(t, s, "box-01"); !d.Alive.IsZero() || d.Link != store.LinkNever {
		t.Errorf("before all: %+v", d)
	}
	beat(t, s, one, 3, 30_000, at)
	for what, c := range map[string]struct{ boot, mono uint64 }{"again": {3, 30_000}, "an older one": {3, 1000}, "an older boot": {2, 90_000}} {
		beat(t, s, one, c.boot, c.mono, at.Add(time.Hour))
		if d := sign(t, s, "box-01"); !d.Alive.Equal(at) {
			t.Errorf("%s: alive at %v, want %v", what, d.Alive, at)
		}
	}
	beat(t, s, one, 4, 0, at.Add(time.Minute))
	if d := sign(t, s, "box-01"); !d.Alive.Equal(at.Add(time.Minute)) {
		t.Errorf("the next boot: alive at %v", d.Alive)
	}
}

// An offline device has one incident, which closes itself if nobody has taken it;
// no notice goes to the device.
func TestOfflineIncident(t *testing.T) {
	s := fresh(t)
	since := time.Date(2026, 11, 23, 3, 0, 0, 0, time.UTC)
	change := func(l store.Link) {
		supervised(t, s, store.Supervision{Links: []store.LinkChange{{Device: "box-01", Kind: store.AlarmBox, Link: l, Since: since}}})
	}
	change(store.LinkSuspect)
	if n := len(listed(t, s)); n != 0 {
		t.Fatalf("%d incidents of a suspect", n)
	}
	change(store.LinkOffline)
	is := listed(t, s, incident.Open)
	if len(is) != 1 {
		t.Fatalf("%d incidents, want 1", len(is))
	}
	i := is[0]
	if i.Kind != incident.Offline || i.Device != "box-01" || !i.Pressed.Time.Equal(since) || i.Priority != 4 || len(i.Missing) != 0 {
		t.Errorf("%+v", i)
	}
	change(store.LinkLive)
	if is = listed(t, s, incident.Closed); len(is) != 1 || is[0].Closed.Code != incident.Restored {
		t.Errorf("closed: %+v", is)
	}
	change(store.LinkOffline)
	open := listed(t, s, incident.Open)
	if len(open) != 1 || open[0].ID == i.ID {
		t.Fatalf("the second time: %+v", open)
	}
	if _, err := s.Acknowledge(t.Context(), open[0].ID, "Li"); err != nil {
		t.Fatal(err)
	}
	for range 3 { // it flaps in the hands of a person
		change(store.LinkLive)
		change(store.LinkOffline)
	}
	got, err := s.Incident(t.Context(), open[0].ID)
	if err != nil || got.State != incident.Acknowledged || len(listed(t, s)) != 2 || len(got.Timeline) != 2+6 {
		t.Errorf("%v, %v of %d incidents, with %d entries", err, got.State, len(listed(t, s)), len(got.Timeline))
	}
	if p, err := s.Pending(t.Context(), ""); err != nil || len(p) != 0 {
		t.Errorf("notices %v, %v: want none", p, err)
	}
}

func TestDistrictIncident(t *testing.T) {
	s := fresh(t)
	lost := store.Supervision{District: &store.DistrictChange{Lost: true, Since: time.Date(2026, 11, 23, 3, 0, 0, 0, time.UTC), Silent: 7, Of: 9}}
	supervised(t, s, lost)
	supervised(t, s, lost)
	if _, district, err := s.Signs(t.Context()); err != nil || !district {
		t.Errorf("district %v, %v", district, err)
	}
	is := listed(t, s)
	if len(is) != 1 || is[0].Device != "" || is[0].Kind != incident.DistrictLinkLost || is[0].Priority != 3 {
		t.Fatalf("%+v", is)
	}
	got, err := s.Incident(t.Context(), is[0].ID)
	if err != nil || got.Timeline[0].Detail != "district_link_lost: 7 of 9 devices fell silent together" {
		t.Errorf("%+v, %v", got, err)
	}
	supervised(t, s, store.Supervision{District: &store.DistrictChange{}})
	if _, district, err := s.Signs(t.Context()); err != nil || district || listed(t, s)[0].State != incident.Closed {
		t.Errorf("district %v, %v, %v", district, err, listed(t, s)[0].State)
	}
}

// Two devices with one key: their runs come back again and again. One device
// that starts anew, gets a new stream, or whose hello is late, is no twin.
func TestTwins(t *testing.T) {
	two := wire.StreamID{2}
	at := time.Date(2026, 11, 23, 3, 0, 0, 0, time.UTC)
	type hello struct {
		stream     wire.StreamID
		boot, mono uint64
	}
	for name, c := range map[string]struct {
		hellos []hello
		twin   bool
	}{
		"one device that starts anew": {[]hello{{one, 1, 30}, {one, 1, 60}, {one, 2, 1}, {one, 2, 30}, {one, 3, 1}}, false},
		"a new stream":                {[]hello{{one, 9, 30}, {two, 1, 5}, {one, 1, 0}, {two, 1, 35}, {one, 1, 0}, {two, 1, 65}}, false},
		"a new stream in a run":       {[]hello{{one, 9, 30}, {one, 9, 0}, {two, 9, 31}, {one, 9, 0}, {two, 9, 61}, {one, 10, 0}, {two, 10, 1}, {one, 10, 0}, {two, 10, 31}}, false},
		"one hello is late":           {[]hello{{one, 9, 30}, {two, 1, 5}, {one, 9, 60}, {two, 1, 35}, {two, 1, 65}, {two, 1, 95}}, false},
		"twins":                       {[]hello{{one, 9, 30}, {two, 1, 5}, {one, 9, 60}, {two, 1, 35}, {one, 9, 90}, {two, 1, 65}}, true},
		"a copy that starts anew":     {[]hello{{one, 9, 30}, {one, 10, 5}, {one, 9, 60}, {one, 10, 35}, {one, 9, 90}, {one, 10, 65}, {one, 9, 120}}, true},
		"a copy in the same boot":     {[]hello{{one, 9, 3000}, {one, 9, 31}, {one, 9, 3030}, {one, 9, 61}, {one, 9, 3060}, {one, 9, 91}}, true},
		"set back in time":            {[]hello{{one, 9, 3000}, {one, 9, 31}, {one, 9, 46}, {one, 9, 61}, {one, 9, 76}, {one, 9, 91}, {one, 9, 106}}, false},
		"a recording at full speed":   {[]hello{{one, 9, 3000}, {one, 9, 31}, {one, 9, 3030}, {one, 9, 91}, {one, 9, 3060}, {one, 9, 151}, {one, 9, 3090}, {one, 9, 211}}, false},
		"a recording at its own pace": {[]hello{{one, 9, 30}, {one, 9, 45}, {one, 9, 30}, {one, 9, 75}, {one, 9, 45}, {one, 9, 105}, {one, 9, 75}, {one, 9, 135}, {one, 9, 105}}, false},
		"twins that replay":           {[]hello{{one, 9, 30}, {two, 1, 5}, {one, 9, 30}, {two, 1, 5}, {one, 9, 30}, {two, 1, 5}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := fresh(t)
			for i, h := range c.hellos {
				beat(t, s, h.stream, h.boot, h.mono*1000, at.Add(time.Duration(i)*15*time.Second))
			}
			is := listed(t, s)
			if c.twin != (len(is) == 1) || len(is) > 1 {
				t.Fatalf("%+v, want a twin: %v", is, c.twin)
			}
			if c.twin && (is[0].Kind != incident.Twin || is[0].Device != "box-01") {
				t.Errorf("%+v", is[0])
			}
		})
	}
}
