package incident_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/fengsui/fengsui/cloud-bridge/incident"
	"github.com/fengsui/fengsui/firmware/wire"
)

// plain is what the sentence says, written down as a table and nothing
// else: from which states which step leads where. "" stays.
var plain = map[string]map[incident.State]incident.State{
	"acknowledge": {"open": "acknowledged"},
	"dispatch":    {"acknowledged": "dispatched"},
	"add_unit":    {"dispatched": "", "en_route": "", "on_scene": "", "checked": ""},
	"en_route":    {"dispatched": "en_route"},
	"on_scene":    {"dispatched": "on_scene", "en_route": "on_scene"},
	"checked":     {"dispatched": "checked", "en_route": "checked", "on_scene": "checked"},
	"close": {
		"open": "closed", "acknowledged": "closed", "dispatched": "closed", "en_route": "closed",
		"on_scene": "closed", "checked": "closed", "suspended": "closed",
	},
	"note": {
		"open": "", "acknowledged": "", "dispatched": "", "en_route": "", "on_scene": "", "checked": "", "suspended": "", "closed": "",
	},
	"cancel": {
		"open": "closed", "acknowledged": "closed", "dispatched": "closed", "en_route": "closed",
		"on_scene": "closed", "checked": "closed", "suspended": "closed",
	},
	"suspend": {
		"acknowledged": "suspended", "dispatched": "suspended", "en_route": "suspended", "on_scene": "suspended", "checked": "suspended",
	},
	"return":    {"dispatched": "acknowledged", "en_route": "acknowledged", "on_scene": "acknowledged", "checked": "acknowledged"},
	"resume":    {"suspended": "acknowledged"},
	"take_over": {"acknowledged": "", "dispatched": "", "en_route": "", "on_scene": "", "checked": "", "suspended": ""},
}

type model struct {
	state incident.State
	rev   uint64
	owner string
	asked string // what
	asker string
	fresh int // units sent, ever
}

// step returns whether the plain model takes the step.
func (m *model) step(s incident.Step, by string) bool {
	switch s.Name {
	case "approve", "deny":
		if m.asked == "" || s.Name == "approve" && by == m.asker {
			return false
		}
		what := m.asked
		m.asked = ""
		if s.Name == "approve" {
			to, ok := plain[what][m.state]
			if !ok { // the state has moved on since it was asked
				to = map[string]incident.State{"cancel": "closed", "suspend": "suspended", "return": "acknowledged"}[what]
			}
			m.to(to)
		}
		return true
	}
	to, ok := plain[s.Name][m.state]
	if !ok {
		return false
	}
	switch s.Name {
	case "cancel", "suspend", "return":
		if m.asked != "" {
			return false
		}
		m.asked, m.asker = s.Name, by
		return true
	case "take_over":
		if s.From != m.owner || by == m.owner {
			return false
		}
		m.owner = by
	case "acknowledge":
		m.owner = by
	case "dispatch", "add_unit":
		m.fresh++
	case "resume", "close":
		m.asked = ""
	}
	m.to(to)
	return true
}

func (m *model) to(s incident.State) {
	if s != "" && s != m.state {
		m.state = s
		m.rev++
		if s == incident.Closed {
			m.asked = ""
		}
	}
}

// Any steps by any people: the machine and the table agree on what is allowed
// and where it leads; what is refused changes nothing; each step is stamped.
func TestStepsAgainstAPlainModel(t *testing.T) {
	people := []string{"li", "wang", "zhao"}
	rapid.Check(t, func(t *rapid.T) {
		i := opened()
		m := model{state: incident.Open, rev: 1}
		now := at
		for n := range rapid.IntRange(1, 40).Draw(t, "steps") {
			by := rapid.SampledFrom(people).Draw(t, "by")
			s := incident.Step{
				Name: rapid.SampledFrom(incident.Steps()).Draw(t, "step"), Code: incident.Real, Note: "because",
				From: rapid.SampledFrom(people).Draw(t, "from"), Unit: fmt.Sprintf("car-%d", n),
			}
			if s.Name != "dispatch" && s.Name != "add_unit" {
				s.Unit = ""
			}
			now = now.Add(time.Second)
			before := *i
			before.Timeline = nil
			units := append([]incident.Unit(nil), i.Units...)
			lines := len(i.Timeline)
			err := i.Take(s, incident.Actor{Name: by, Screen: incident.ScreenDesk, Where: "10.0.0.7"}, now)
			if want := m.step(s, by); want != (err == nil) {
				t.Fatalf("%s by %s in %s: %v, the plain model says %v", s.Name, by, before.State, err, want)
			}
			if err != nil {
				after := *i
				after.Timeline = nil
				if d := cmp.Diff(before, after); d != "" || len(i.Timeline) != lines || cmp.Diff(units, i.Units) != "" {
					t.Fatalf("%s was refused (%v) and changed the incident: %s", s.Name, err, d)
				}
				if !errors.Is(err, incident.ErrState) && !errors.Is(err, incident.ErrField) {
					t.Fatalf("%s: %v is neither", s.Name, err)
				}
				continue
			}
			if i.State != m.state || i.Rev != m.rev || i.Owner != m.owner || (i.Request != nil) != (m.asked != "") || len(i.Units) != m.fresh {
				t.Fatalf("after %s: %s rev %d owner %q, %+v, %d units; want %+v", s.Name, i.State, i.Rev, i.Owner, i.Request, len(i.Units), m)
			}
			if len(i.Timeline) == lines {
				t.Fatalf("%s left no line", s.Name)
			}
			for _, e := range i.Timeline[lines:] {
				if e.By == "" || !e.At.Equal(now) || e.Screen != incident.ScreenDesk || e.Where != "10.0.0.7" {
					t.Fatalf("%s is stamped %+v", s.Name, e)
				}
			}
			if (i.Closed != nil) != (i.State == incident.Closed) {
				t.Fatalf("%s with closing %+v", i.State, i.Closed)
			}
			switch n, ok := i.State.Notice(); {
			case i.State == incident.Open && ok, i.State != incident.Open && !ok:
				t.Fatalf("%s tells the lamps %v, %v", i.State, n, ok)
			case n == wire.NoticeDispatched && i.Dispatched == nil:
				t.Fatalf("the lamps say that a unit is coming, and none is: %s", i.State)
			}
		}
	})
}

// What units say leads to the same incident in whichever order it arrives.
func TestAnswersInAnyOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cars := []string{"car-01", "car-02"}
		var said []incident.Answer
		closed := false
		for n := range rapid.IntRange(1, 7).Draw(t, "answers") {
			a := incident.Answer{
				Device: rapid.SampledFrom(append(cars, "car-99")).Draw(t, "device"), By: "P-7",
				Answer: wire.Answer(rapid.IntRange(1, 8).Draw(t, "answer")), Note: "n",
				Given: at.Add(time.Duration(n) * time.Minute), Received: at.Add(time.Hour),
			}
			if a.Answer == wire.AnswerClosed {
				if closed || a.Device == "car-99" {
					continue // of two closings the first to arrive counts
				}
				closed, a.Code = true, incident.FalseAlarm
			}
			said = append(said, a)
		}
		arrive := func(said []incident.Answer) *incident.Incident {
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
			for _, a := range said {
				i.Answer(a)
			}
			return i
		}
		want := arrive(said)
		got := arrive(rapid.Permutation(said).Draw(t, "order"))
		if got.State != want.State || !cmp.Equal(got.Units, want.Units) || len(got.Timeline) != len(want.Timeline) {
			t.Fatalf("%s %+v\n%s %+v", want.State, want.Units, got.State, got.Units)
		}
		if got.State != incident.Closed && !cmp.Equal(got.Dispatched, want.Dispatched) {
			t.Fatalf("%+v is named as coming, in the order of giving %+v", got.Dispatched, want.Dispatched)
		}
		for n, p := range [][2]*incident.Progress{{got.EnRoute, want.EnRoute}, {got.OnScene, want.OnScene}, {got.Checked, want.Checked}} {
			if !cmp.Equal(p[0], p[1]) {
				t.Fatalf("progress %d: %+v, in the order of giving %+v", n, p[0], p[1])
			}
		}
		for _, e := range got.Timeline[len(got.Timeline)-len(said):] {
			if e.Given.IsZero() || !e.At.Equal(at.Add(time.Hour)) {
				t.Fatalf("%+v: want when it was given and when it came", e)
			}
		}
	})
}

func TestTwoPeople(t *testing.T) {
	i := opened()
	li, wang := incident.Actor{Name: "Li"}, incident.Actor{Name: "wang"}
	take := func(s incident.Step, by incident.Actor) error { t.Helper(); return i.Take(s, by, at) }
	var field *incident.FieldError
	if err := take(incident.Step{Name: "cancel"}, li); !errors.As(err, &field) || field.Field != "reason" {
		t.Errorf("without a reason: %v", err)
	}
	if err := take(incident.Step{Name: "cancel", Note: "pressed by a child"}, li); err != nil {
		t.Fatal(err)
	}
	if err := take(incident.Step{Name: "approve"}, incident.Actor{Name: " li "}); !errors.As(err, &field) || field.Field != "by" {
		t.Errorf("who asked approves: %v", err)
	}
	if err := take(incident.Step{Name: "cancel", Note: "x"}, wang); err == nil || !strings.Contains(err.Error(), "Li") {
		t.Errorf("asked twice: %v: want an error that names who asked first", err)
	}
	if i.State != incident.Open {
		t.Fatalf("what is only asked has led to %s", i.State)
	}
	if err := take(incident.Step{Name: "approve"}, wang); err != nil || i.State != incident.Closed || i.Closed.Code != incident.Cancelled || i.Closed.By != "Li" {
		t.Errorf("%v, %s, %+v", err, i.State, i.Closed)
	}
	if n, ok := i.State.Notice(); n != wire.NoticeClosed || !ok {
		t.Errorf("the lamps are told %v", n)
	}
}

func TestTheSecondOfTwoIsTold(t *testing.T) {
	i := opened()
	if err := i.Take(incident.Step{Name: "acknowledge"}, incident.Actor{Name: "li"}, at); err != nil {
		t.Fatal(err)
	}
	var se *incident.StateError
	err := i.Take(incident.Step{Name: "acknowledge"}, incident.Actor{Name: "wang"}, at)
	if !errors.As(err, &se) || se.By != "li" || !strings.Contains(err.Error(), "li") {
		t.Errorf("%v: want who has it", err)
	}
	if err := i.Take(incident.Step{Name: "take_over", From: "li"}, incident.Actor{Name: "wang"}, at); err != nil || i.Owner != "wang" {
		t.Errorf("%v, owner %q", err, i.Owner)
	}
	if err := i.Take(incident.Step{Name: "take_over", From: "li"}, incident.Actor{Name: "zhao"}, at); !errors.As(err, &se) || se.By != "wang" {
		t.Errorf("%v: want who was faster", err)
	}
	if err := i.Take(incident.Step{Name: "note", Note: "x", Rev: 99}, incident.Actor{Name: "zhao"}, at); !errors.As(err, &se) {
		t.Errorf("a revision that is not: %v", err)
	}
}

// The clock starts at the press. Each overrun reaches the next tier.
func TestTimers(t *testing.T) {
	p := incident.DefaultPolicy()
	i := opened()
	i.Priority, i.Received = 1, at
	i.Pressed = incident.Moment{Time: at.Add(-10 * time.Second), Source: wire.WallGNSS}
	i.Place = incident.Area{Cell: "c", Village: "v", Township: "t", District: "d"}
	if due, ok := i.Due(p); !ok || !due.Equal(at.Add(5*time.Second)) {
		t.Fatalf("due %v, %v: want 15 s after the press", due, ok)
	}
	for _, step := range []struct {
		after time.Duration // since it came
		tier  incident.Tier
		level int
	}{{4 * time.Second, "", 0}, {5 * time.Second, incident.Township, 1}, {20 * time.Second, incident.District, 2}, {49 * time.Second, incident.District, 3}, {50 * time.Second, incident.District, 4}} {
		i.Overrun(p, at.Add(step.after))
		if i.Tier != step.tier || i.Level() != step.level {
			t.Errorf("after %v: %q, level %d: want %q, %d", step.after, i.Tier, i.Level(), step.tier, step.level)
		}
	}
	if err := i.Acknowledge("li", at.Add(time.Minute)); err != nil || i.Level() != 1 || i.Tier != incident.District {
		t.Errorf("taken: level %d, %s: want what is still to be done", i.Level(), i.Tier)
	}
	if due, _ := i.Due(p); !due.Equal(at.Add(110 * time.Second)) {
		t.Errorf("due %v: want the second minute without a unit", due)
	}
	late := opened() // an hour in a dead zone
	late.Priority, late.Received, late.Pressed = 1, at, incident.Moment{Time: at.Add(-time.Hour), Source: wire.WallGNSS}
	late.Overrun(p, at)
	if late.Level() != 9 || late.Tier != incident.District {
		t.Errorf("an hour late: level %d, %q", late.Level(), late.Tier)
	}
	if _, ok := late.Due(p); ok {
		t.Error("the timers do not end")
	}
	low := opened()
	low.Kind, low.Priority = incident.Offline, 4
	if low.Overrun(p, at.Add(time.Hour)) {
		t.Error("a device that is offline rings")
	}
}
