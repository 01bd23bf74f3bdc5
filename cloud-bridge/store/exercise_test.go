package store_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fengsui/fengsui/cloud-bridge/store"
	"github.com/fengsui/fengsui/firmware/wire"
)

// One report says of an exercise of a group who began it, who pressed, which boxes sounded
// how soon after, and why the others did not, also when the group has changed since.
func TestExerciseReport(t *testing.T) {
	now := noon
	s := at(t, filepath.Join(t.TempDir(), "centre.db"), &now)
	for _, id := range []string{"box-04", "box-05", "box-06"} {
		if err := s.Register(t.Context(), registration(id, store.AlarmBox)); err != nil {
			t.Fatal(err)
		}
	}
	lanes := make(map[string]*source)
	// tell stores what a box said at a time of its own; it comes now.
	tell := func(box string, l wire.Lane, at time.Time, drill bool, b wire.Body) {
		t.Helper()
		k := box + l.String()
		if lanes[k] == nil {
			lanes[k] = lane(t, box, l)
		}
		lanes[k].edit = func(e *wire.Event) {
			e.Mono, e.Drill = at.Sub(noon)+time.Minute, drill
			e.Wall = wire.Wall{UnixMilli: at.UnixMilli(), Source: wire.WallGNSS, Uncertainty: 50 * time.Millisecond}
		}
		a := lanes[k].next(b)
		a.Received = now
		commit(t, s, a)
	}
	for n := range 6 {
		box := fmt.Sprintf("box-%02d", n+1)
		if n != 5 { // box-06 was never heard
			tell(box, wire.Duty, now, false, wire.NewHealth(time.Minute, "1", nil))
		}
	}
	tell("box-03", wire.Alarm, now, false, &wire.Fault{Code: "siren", Active: true})
	ten := store.Group{ID: "ten", Name: "十户", Automatic: true, Sounds: time.Minute, Devices: []string{"box-01", "box-02", "box-03", "box-04", "box-05", "box-06"}}
	if err := s.PutGroup(t.Context(), li, ten); err != nil {
		t.Fatal(err)
	}
	if err := s.BeginExercise(t.Context(), li, "eleven", now.Add(time.Hour)); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a group that is not there: %v", err)
	}
	begun := now.Add(time.Minute)
	now = begun
	if err := s.BeginExercise(t.Context(), li, "ten", begun.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	for _, box := range []string{"box-01", "box-03", "box-04"} {
		told := level[*wire.Mode](t, s, box)
		if len(told) != 1 || !told[0].Drill {
			t.Fatalf("%s is told %+v", box, told)
		}
		tell(box, wire.Duty, now, false, &wire.ModeSet{Rev: told[0].Rev, Drill: true})
	}
	now = begun.Add(10 * time.Minute)
	if err := s.Supervise(t.Context(), store.Supervision{Links: []store.LinkChange{{Device: "box-04", Link: store.LinkOffline, Since: now.Add(-3 * time.Minute)}}}); err != nil {
		t.Fatal(err)
	}
	pressed := now
	now = now.Add(time.Second)
	press := func(box string, alarm byte, drill bool, kind wire.AlarmKind) {
		t.Helper()
		tell(box, wire.Alarm, pressed, drill, &wire.AlarmRaised{Alarm: wire.AlarmID{alarm}, Kind: kind, Button: "b", Press: 1})
	}
	press("box-01", 1, true, wire.Panic)
	now = pressed.Add(20 * time.Second) // its neighbours' own network was quicker than the centre
	tell("box-02", wire.Duty, pressed.Add(1500*time.Millisecond), false, &wire.Sounded{Alarm: wire.AlarmID{1}, On: true, By: wire.SoundedByGroup, Device: "box-01"})
	tell("box-02", wire.Duty, pressed.Add(4*time.Second), false, &wire.Sounded{Alarm: wire.AlarmID{1}, Rev: 1, On: true, By: wire.SoundedByCentre, Device: "box-01"})
	tell("box-03", wire.Duty, pressed.Add(4*time.Second), false, &wire.Sounded{Alarm: wire.AlarmID{1}, Rev: 1, By: wire.SoundedByCentre, Device: "box-01", Why: "no_siren"})

	report := func(id int64) string {
		t.Helper()
		list, err := s.Exercises(t.Context(), id, 10)
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		for _, e := range list {
			fmt.Fprintf(&b, "%d %s %s by %s at %s until %s", e.ID, e.Group, e.Name, e.By, e.At.Sub(begun), e.Until.Sub(begun))
			if !e.Ended.IsZero() {
				fmt.Fprintf(&b, " ended %s", e.Ended.Sub(begun))
			}
			for _, x := range e.Boxes {
				fmt.Fprintf(&b, " %s", x.Device)
				if !x.Told.IsZero() {
					b.WriteString("+")
				}
			}
			b.WriteString("\n")
			for _, p := range e.Presses {
				fmt.Fprintf(&b, " %s %s drill %v at %s:", p.Device, p.Kind, p.Drill, p.At.Sub(pressed))
				for _, h := range p.Others {
					fmt.Fprintf(&b, " %s %s%s", h.Device, h.State, h.Why)
					if h.State == store.HeardSounded {
						fmt.Fprintf(&b, " %s/%s", h.After, h.Reported.Sub(pressed))
					}
					if len(h.Faults) > 0 {
						fmt.Fprintf(&b, " %v", h.Faults)
					}
				}
				b.WriteString("\n")
			}
		}
		return b.String()
	}
	want := "1 ten 十户 by li at 0s until 1h0m0s box-01+ box-02 box-03+ box-04+ box-05 box-06\n" +
		" box-01 panic drill true at 0s: box-02 sounded 1.5s/20s box-03 cannotno_siren [siren] box-04 offline box-05 no_answer box-06 offline\n"
	if got := report(0); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}

	// The group changes; a box that did not know of the exercise raises a real alarm; one is silent.
	ten.Devices, ten.Automatic = []string{"box-01", "box-02", "box-05"}, false
	if err := s.PutGroup(t.Context(), li, ten); err != nil {
		t.Fatal(err)
	}
	pressed = now.Add(time.Minute)
	now = pressed
	press("box-05", 2, false, wire.Fire)
	press("box-01", 3, true, wire.Duress)
	want = strings.Replace(want, "at 0s: box-02 sounded 1.5s/20s", "at -1m20s: box-02 sounded 1.5s/-1m0s", 1) + // times are to the newest press
		" box-05 fire drill false at 0s: box-01 not_asked box-02 not_asked box-03 not_asked [siren] box-04 not_asked box-06 not_asked\n" +
		" box-01 duress drill true at 0s: box-02 silent box-03 silent [siren] box-04 silent box-05 silent box-06 silent\n"
	if got := report(1); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}

	// What comes after another one has begun is of that one; the first ended with it.
	now = pressed.Add(time.Minute)
	second := now
	if err := s.BeginExercise(t.Context(), li, "ten", now.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	pressed = now.Add(time.Minute)
	now = pressed
	press("box-02", 4, true, wire.Panic)
	now = now.Add(time.Minute)
	if err := s.SetDrill(t.Context(), li, []string{"box-01", "box-02", "box-05"}, false, now); err != nil {
		t.Fatal(err)
	}
	got := report(2)
	want = fmt.Sprintf("2 ten 十户 by li at %s until %s ended %s box-01 box-02 box-05\n box-02 panic drill true at 0s: box-01 not_asked box-05 not_asked\n",
		second.Sub(begun), second.Sub(begun)+time.Hour, now.Sub(begun))
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if first := report(1); strings.Count(first, "\n") != 4 {
		t.Errorf("the first has what is the second's:\n%s", first)
	}
	if _, err := s.Exercises(t.Context(), 3, 1); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("one that is not there: %v", err)
	}
}
