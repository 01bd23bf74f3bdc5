package store_test

import (
	"crypto/ed25519"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/fengsui/fengsui/cloud-bridge/incident"
	"github.com/fengsui/fengsui/cloud-bridge/store"
	"github.com/fengsui/fengsui/firmware/wire"
)

// textOf is the SMS of a press.
func textOf(t testing.TB, a store.Arrival) store.Text {
	t.Helper()
	x, err := wire.SMSAlarmOf(a.Event, a.Message)
	if err != nil {
		t.Fatal(err)
	}
	msg, err := wire.SealSMSAlarm(x, key)
	if err != nil {
		t.Fatal(err)
	}
	opened, err := wire.OpenSMSAlarm(msg, x.Device, key.Public().(ed25519.PublicKey))
	if err != nil {
		t.Fatal(err)
	}
	return store.Text{Alarm: opened, Message: msg, Sender: "+8613800000001", Route: store.RouteModem, Received: a.Received.Add(-time.Second)}
}

func text(t testing.TB, s *store.Store, x store.Text) store.Texted {
	t.Helper()
	done, err := s.Text(t.Context(), x)
	if err != nil {
		t.Fatal(err)
	}
	return done
}

func whats(i *incident.Incident) (out []string) {
	for _, e := range i.Timeline {
		out = append(out, e.What)
	}
	return out
}

func press(src *source, alarm wire.AlarmID, n uint64) store.Arrival {
	return src.next(&wire.AlarmRaised{Alarm: alarm, Kind: wire.Fire, Button: "fire", Press: n})
}

// The two ways of one press make one incident, whichever comes first, and the
// event fills in what the SMS lacks.
func TestSMSAndEvent(t *testing.T) {
	src := lane(t, "box-01", wire.Alarm)
	src.edit = func(e *wire.Event) { e.Officer = "P-1001" }
	a := press(src, fire1, 1)
	x := textOf(t, a)

	s := fresh(t)
	done := text(t, s, x)
	if !done.Fresh || done.Answer.Alarm != fire1 || done.Answer.Press != 1 || done.Answer.State != 0 {
		t.Errorf("answer %+v: want a fresh one, stored and no more", done)
	}
	i := only(t, s)
	if i.SMS == nil || !i.SMS.Only || !i.SMS.At.Equal(x.Received) || i.Kind != "fire" || i.Position == nil || i.Officer != "" ||
		!i.Pressed.Time.Equal(a.Event.Wall.Time()) || i.Pressed.Source != wire.WallGNSS {
		t.Errorf("by SMS: %+v", i)
	}
	if d := device(t, s, "box-01"); len(d.Streams) != 0 || len(d.Gaps) != 0 {
		t.Errorf("an SMS makes streams %v and gaps %v", d.Streams, d.Gaps)
	}
	if again := text(t, s, x); again.Fresh || again.Answer.Press != 1 {
		t.Errorf("the same SMS again: %+v", again)
	}
	commit(t, s, a)
	text(t, s, x)
	commit(t, s, a)
	i = only(t, s)
	if i.SMS == nil || i.SMS.Only || i.Officer != "P-1001" || i.Presses != 1 {
		t.Errorf("after the event: %+v", i)
	}
	if want := []string{"opened", "texted", "followed"}; !slices.Equal(whats(i), want) {
		t.Errorf("timeline %q, want %q", whats(i), want)
	}

	s = fresh(t)
	commit(t, s, a)
	text(t, s, x)
	i = only(t, s)
	if i.SMS == nil || i.SMS.Only || i.Officer != "P-1001" || i.Presses != 1 {
		t.Errorf("the SMS after the event: %+v", i)
	}
	if want := []string{"opened", "texted"}; !slices.Equal(whats(i), want) {
		t.Errorf("timeline %q, want %q", whats(i), want)
	}
}

// The answer says what became of the alarm, and a notice may go by SMS until
// the box has answered it.
func TestSMSAnswerAndNotice(t *testing.T) {
	s := fresh(t)
	src := lane(t, "box-01", wire.Alarm)
	x := textOf(t, press(src, fire1, 1))
	text(t, s, x)
	i := only(t, s)
	if _, err := s.Acknowledge(t.Context(), i.ID, "li"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Dispatch(t.Context(), i.ID, "li", "car-01"); err != nil {
		t.Fatal(err)
	}
	want := wire.SMSAnswer{Device: "box-01", Alarm: fire1, Press: 1, State: wire.NoticeDispatched, Rev: 3, CentreTime: noon.UnixMilli(), Unit: "car-01"}
	if d := cmp.Diff(want, text(t, s, x).Answer); d != "" {
		t.Errorf("answer (-want +got):\n%s", d)
	}
	ps, err := s.PendingTexts(t.Context())
	if err != nil || len(ps) != 1 || ps[0].Device != "box-01" || ps[0].Sender != x.Sender || ps[0].Notice.Rev != 3 || ps[0].Press != 1 {
		t.Errorf("pending %+v, %v", ps, err)
	}
	commit(t, s, lane(t, "box-01", wire.Duty).next(&wire.NoticeShown{Alarm: fire1, Rev: 3, State: wire.NoticeDispatched}))
	if ps, err := s.PendingTexts(t.Context()); err != nil || len(ps) != 0 {
		t.Errorf("pending %+v, %v after the box has answered", ps, err)
	}
	if _, err := s.Text(t.Context(), store.Text{Alarm: &wire.SMSAlarm{Device: "nobody", Press: 1, Seq: 1}}); err == nil {
		t.Error("an SMS of a device that is not registered is stored")
	}
}

// A press that comes by SMS after the incident was closed opens another; when
// the events of both come, each finds its own.
func TestSMSReopens(t *testing.T) {
	s := fresh(t)
	src := lane(t, "box-01", wire.Alarm)
	src.edit = func(e *wire.Event) { e.Officer = map[uint64]string{1: "P-1", 2: "P-2", 3: "P-3"}[e.Seq] }
	a1, a2, a3 := press(src, fire1, 1), press(src, fire1, 2), press(src, fire1, 3)
	text(t, s, textOf(t, a1))
	if _, err := s.CloseIncident(t.Context(), only(t, s).ID, "li", incident.FalseAlarm, ""); err != nil {
		t.Fatal(err)
	}
	text(t, s, textOf(t, a1)) // again: nothing
	text(t, s, textOf(t, a2))
	commit(t, s, a1, a2, a3)
	text(t, s, textOf(t, a3))
	is, err := s.Incidents(t.Context(), store.Filter{})
	if err != nil || len(is) != 2 {
		t.Fatalf("%d incidents, %v: want two", len(is), err)
	}
	slices.SortFunc(is, func(a, b incident.Incident) int { return int(a.ID - b.ID) })
	if is[0].State != incident.Closed || is[0].Presses != 1 || is[0].Officer != "P-1" || is[0].SMS.Only {
		t.Errorf("the closed one: %+v", is[0])
	}
	if is[1].State != incident.Open || is[1].Presses != 3 || is[1].Officer != "P-2" || is[1].SMS.Only || is[1].Rev <= is[0].Rev {
		t.Errorf("the open one: %+v", is[1])
	}
}

// Whatever comes by which way, in which order, how often, and with restarts of
// the centre in between: an incident for each time that somebody's press was
// not known when its alarm was closed, and in the end nothing is otherwise than
// if only the events had come.
func TestSMSAgainstModel(t *testing.T) {
	template := filepath.Join(t.TempDir(), "empty.db")
	s := quietly(t, template)
	if err := s.Register(t.Context(), registration("box-01", store.AlarmBox), registration("car-01", store.PatrolCar)); err != nil {
		t.Fatal(err)
	}
	if err := s.Shut(); err != nil {
		t.Fatal(err)
	}
	empty, err := os.ReadFile(template)
	if err != nil {
		t.Fatal(err)
	}
	begin := func(rt *rapid.T, name string) (string, *store.Store) {
		file := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(file, empty, 0o600); err != nil {
			rt.Fatal(err)
		}
		return file, quietly(t, file)
	}
	checks := 0
	rapid.Check(t, func(rt *rapid.T) {
		if checks++; checks > 40 && os.Getenv("FENGSUI_TORTURE") == "" {
			return // each is a database
		}
		// All know the time: without it, when a press was depends on when it came.
		src := &source{t: t, device: "box-01", stream: one, lane: wire.Alarm}
		counts := make(map[wire.AlarmID]uint64)
		var history []store.Arrival
		for range rapid.IntRange(1, 6).Draw(rt, "presses") {
			alarm := rapid.SampledFrom([]wire.AlarmID{{1}, {2}}).Draw(rt, "alarm")
			counts[alarm]++
			history = append(history, press(src, alarm, counts[alarm]))
		}
		file, s := begin(rt, "both.db")
		defer func() { _ = s.Shut() }()
		type known struct {
			presses uint64
			closed  bool
		}
		model := make(map[wire.AlarmID][]known)
		closings := rapid.Bool().Draw(rt, "closings")
		sms := false
		take := func(a store.Arrival, bySMS bool) {
			b := a.Event.Body.(*wire.AlarmRaised)
			if sms = sms || bySMS; bySMS {
				text(t, s, textOf(t, a))
			} else {
				commit(t, s, a)
			}
			is := model[b.Alarm]
			switch {
			case slices.ContainsFunc(is, func(k known) bool { return k.presses >= b.Press }):
			case len(is) == 0 || is[len(is)-1].closed:
				model[b.Alarm] = append(is, known{presses: b.Press})
			default:
				is[len(is)-1].presses = b.Press
			}
		}
		check := func() {
			is, err := s.Incidents(t.Context(), store.Filter{})
			if err != nil {
				rt.Fatal(err)
			}
			slices.SortFunc(is, func(a, b incident.Incident) int { return int(a.ID - b.ID) })
			got := make(map[wire.AlarmID][]known)
			for _, i := range is {
				got[i.Alarm] = append(got[i.Alarm], known{i.Presses, i.State == incident.Closed})
			}
			if d := cmp.Diff(model, got, cmp.AllowUnexported(known{})); d != "" {
				rt.Fatalf("incidents (-want +got):\n%s", d)
			}
		}
		for range rapid.IntRange(0, 16).Draw(rt, "steps") {
			switch what := rapid.IntRange(0, 9).Draw(rt, "step"); {
			case what == 0:
				if err := s.Shut(); err != nil {
					rt.Fatal(err)
				}
				s = quietly(t, file)
			case what == 1 && closings:
				is, err := s.Incidents(t.Context(), store.Filter{States: []incident.State{incident.Open}})
				if err != nil || len(is) == 0 {
					continue
				}
				i := rapid.SampledFrom(is).Draw(rt, "incident")
				if _, err := s.CloseIncident(t.Context(), i.ID, "li", incident.Real, ""); err != nil {
					rt.Fatal(err)
				}
				k := model[i.Alarm]
				k[len(k)-1].closed = true
			default:
				take(rapid.SampledFrom(history).Draw(rt, "press"), rapid.Bool().Draw(rt, "by SMS"))
			}
			check()
		}
		for _, a := range history {
			take(a, false)
		}
		check()
		if closings {
			return
		}
		_, plain := begin(rt, "plain.db")
		defer func() { _ = plain.Shut() }()
		commit(t, plain, history...)
		same := cmp.Options{
			cmpopts.IgnoreFields(incident.Incident{}, "ID", "Received", "SMS", "Timeline"),
			cmpopts.SortSlices(func(a, b incident.Incident) bool { return a.Alarm.String() < b.Alarm.String() }),
		}
		want, _ := plain.Incidents(t.Context(), store.Filter{})
		got, _ := s.Incidents(t.Context(), store.Filter{})
		if d := cmp.Diff(want, got, same); d != "" {
			rt.Errorf("incidents otherwise than by events alone (-alone +both):\n%s", d)
		}
		for i := range got {
			if got[i].SMS != nil && got[i].SMS.Only {
				rt.Errorf("incident %d still says that its event has not come", got[i].ID)
			}
		}
		device := func(s *store.Store) *store.Device {
			d, err := s.Device(t.Context(), "box-01")
			if err != nil {
				rt.Fatal(err)
			}
			for _, st := range d.Streams { // events come again in the one and not in the other
				for l, state := range st.Lanes {
					state.Duplicates = 0
					st.Lanes[l] = state
				}
			}
			return d
		}
		if d := cmp.Diff(device(plain), device(s), cmpopts.IgnoreFields(store.Stream{}, "Heard"), cmpopts.IgnoreFields(store.Device{}, "LinkSince")); d != "" {
			rt.Errorf("the device and its gaps otherwise than by events alone (-alone +both):\n%s", d)
		}
	})
}

// A box may say that it sounded before the alarm that it sounded for has come.
func TestSoundedBeforeTheAlarm(t *testing.T) {
	s := fresh(t)
	commit(t, s, lane(t, "car-01", wire.Duty).next(&wire.Sounded{Alarm: fire1, On: true, By: wire.SoundedByGroup, Device: "box-01"}))
	commit(t, s, press(lane(t, "box-01", wire.Alarm), fire1, 1))
	if i := only(t, s); !slices.Contains(whats(i), incident.WhatSounded) {
		t.Errorf("timeline %q: want that the other sounded", whats(i))
	}
}
