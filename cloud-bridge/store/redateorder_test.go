package store_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/fengsui/fengsui/cloud-bridge/incident"
	"github.com/fengsui/fengsui/cloud-bridge/store"
	"github.com/fengsui/fengsui/firmware/wire"
)

// told is something that a car or a box says in a drawn history.
type told struct {
	device string
	boot   uint64
	mono   time.Duration
	wall   wire.Wall
	body   func(incident int64) wire.Body
	came   time.Time
	clock  bool // it tells nothing but the time of day
}

// arrivals makes the messages of a history, in the order of saying, with other
// devices' names.
func arrivals(t testing.TB, says []told, id int64, name func(string) string) []store.Arrival {
	lanes := make(map[string]*source)
	var out []store.Arrival
	for _, w := range says {
		d := name(w.device)
		if lanes[d] == nil {
			lanes[d] = lane(t, d, wire.Duty)
		}
		lanes[d].edit = func(e *wire.Event) { e.Boot, e.Mono, e.Wall, e.Officer = w.boot, w.mono, w.wall, "P-7" }
		a := lanes[d].next(w.body(id))
		a.Received = w.came
		out = append(out, a)
	}
	return out
}

// drawHistory draws what two cars say of an incident that they were sent to, each in up to
// three boots of which none had a clock at first, and some had one later.
func drawHistory(t *rapid.T) (out []told) {
	ends := false
	for _, device := range []string{"car-1", "car-2"} {
		now := 2 * time.Minute // after noon
		for boot := range uint64(rapid.IntRange(1, 2).Draw(t, "boots")) {
			up := now
			tick := func() time.Duration {
				now += time.Duration(rapid.IntRange(1, 300_000).Draw(t, "ms")) * time.Millisecond
				return now
			}
			say := func(w wire.Wall, clock bool, body func(int64) wire.Body) {
				out = append(out, told{device: device, boot: boot + 1, mono: tick() - up, wall: w, body: body, clock: clock})
			}
			for range rapid.IntRange(0, 4).Draw(t, "answers") {
				a := wire.Answer(rapid.IntRange(1, 9).Draw(t, "answer"))
				switch {
				case a == 9:
					say(none, false, func(id int64) wire.Body { return &wire.Note{Incident: uint64(id), Text: "n"} })
					continue
				case a == wire.AnswerClosed && ends:
					continue // of two closings the first to arrive counts
				case a == wire.AnswerClosed:
					ends = true
				}
				say(none, false, func(id int64) wire.Body {
					b := &wire.UnitAnswer{Incident: uint64(id), Rev: 1, Answer: a}
					if a == wire.AnswerClosed {
						b.Code = wire.CloseReal
					}
					return b
				})
			}
			for range rapid.IntRange(0, 2).Draw(t, "clocks") {
				off := time.Duration(rapid.SampledFrom([]int{0, 0, 0, -1, -3}).Draw(t, "wrong by minutes")) * time.Minute
				at := now + time.Millisecond
				w := sourced(at+off, wire.WallGNSS, time.Duration(rapid.IntRange(1, 2000).Draw(t, "within"))*time.Millisecond)
				if rapid.Bool().Draw(t, "by the centre") {
					w = sourced(at, wire.WallCentre, 100*time.Millisecond)
				}
				now = at - time.Millisecond
				out = append(out, told{device: device, boot: boot + 1, mono: at - up, wall: w, clock: true, body: func(int64) wire.Body {
					return &wire.SignRefused{Reason: "no_match"}
				}})
				now = at
			}
			now += time.Second
		}
	}
	for i := range out {
		out[i].came = noon.Add(2*time.Hour + time.Duration(i)*time.Second)
	}
	return out
}

// outcome is what an incident has become, but for the numbers of its revisions
// and of its devices, and the lines about times that were put right.
func outcome(t testing.TB, s *store.Store, id int64, real func(string) string) []string {
	t.Helper()
	i, err := s.Incident(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	at := func(t time.Time) string {
		if t.IsZero() {
			return "?"
		}
		return t.Sub(noon).String()
	}
	out := []string{"since " + at(i.Since), string(i.State)}
	if d := i.Dispatched; d != nil && i.Closed == nil { // then nobody is coming
		out = append(out, "coming "+d.Unit)
	}
	for _, u := range i.Units {
		out = append(out, u.Name+" "+string(u.State())+" "+string(u.Reached))
		for _, s := range u.Said {
			out = append(out, fmt.Sprintf("%s %d %v %v %s ±%v", u.Name, s.Boot, s.Mono, s.Answer, at(s.At), s.Within))
			if !s.At.IsZero() && (s.At.Before(u.At) || s.At.After(s.Received)) {
				t.Errorf("%+v: before it was sent at %v, or after it came", s, u.At)
			}
		}
	}
	for n, p := range []*incident.Progress{i.EnRoute, i.OnScene, i.Checked} {
		if p != nil {
			out = append(out, fmt.Sprintf("first %d %s %s, came %s", n, p.Unit, at(p.At), at(p.Received)))
		}
	}
	if h := i.Help; h != nil {
		out = append(out, "help "+h.Unit+" "+at(h.At))
	}
	if c := i.Closed; c != nil {
		out = append(out, "closed "+string(c.Code)+" "+at(c.At))
	}
	var lines []string
	for _, e := range i.Timeline {
		if e.Screen == incident.ScreenUnit {
			lines = append(lines, at(e.Given)+" "+e.What+" "+strings.Split(e.Detail, ":")[0]+" came "+at(e.At))
		}
	}
	out = append(out, slices.Sorted(slices.Values(lines))...)
	for n := range out {
		for _, d := range []string{"car-1", "car-2"} {
			out[n] = strings.ReplaceAll(out[n], real(d), d)
		}
	}
	return out
}

// In whichever order answers and clocks come, the incident becomes what it would
// have been had the clocks been known from the start.
func TestDatingAnewIsAsIfTheClockHadBeenKnown(t *testing.T) {
	now := noon
	s := at(t, filepath.Join(t.TempDir(), "centre.db"), &now)
	made := 0
	// incidentOf opens an incident that two new cars are sent to.
	incidentOf := func() (int64, func(string) string) {
		made++
		n := made
		name := func(d string) string { return fmt.Sprintf("%s-%d", d, n) }
		if err := s.Register(t.Context(), registration(name("box"), store.AlarmBox),
			registration(name("car-1"), store.PatrolCar), registration(name("car-2"), store.PatrolCar)); err != nil {
			t.Fatal(err)
		}
		now = noon.Add(time.Second)
		press := lane(t, name("box"), wire.Alarm).next(raised(1))
		press.Received = now
		commit(t, s, press)
		is, err := s.Incidents(t.Context(), store.Filter{Device: name("box")})
		if err != nil || len(is) != 1 {
			t.Fatal(is, err)
		}
		for _, step := range []incident.Step{
			{Name: incident.StepAcknowledge},
			{Name: incident.StepDispatch, Unit: name("car-1")},
			{Name: incident.StepAddUnit, Unit: name("car-2")},
		} {
			now = now.Add(time.Second)
			if _, err := s.Take(t.Context(), is[0].ID, li, step); err != nil {
				t.Fatal(err)
			}
		}
		return is[0].ID, name
	}
	rapid.Check(t, func(rt *rapid.T) {
		says := drawHistory(rt)
		order := rapid.Permutation(says).Draw(rt, "order")
		index := make([]int, len(says)) // of the order
		for i := range order {
			index[i] = slices.IndexFunc(says, func(w told) bool { return w.came.Equal(order[i].came) })
		}
		split := rapid.IntRange(2, 8).Draw(rt, "messages a commit")
		play := func(index []int) []string {
			id, name := incidentOf()
			all := arrivals(t, says, id, name)
			now = noon.Add(3 * time.Hour)
			var batch []store.Arrival
			for n, i := range index {
				batch = append(batch, all[i])
				if len(batch) == split || n == len(index)-1 {
					commit(t, s, batch...)
					batch = nil
				}
			}
			return outcome(t, s, id, name)
		}
		got := play(index)
		slices.SortStableFunc(index, func(a, b int) int { // what tells the time comes first
			switch x, y := says[a].clock, says[b].clock; {
			case x == y:
				return 0
			case x:
				return -1
			}
			return 1
		})
		if d := cmp.Diff(play(index), got); d != "" {
			rt.Fatalf("-the clocks were known from the start +they came in this order\n%s", d)
		}
		if rapid.Bool().Draw(rt, "only the clocks") {
			return
		}
		slices.Sort(index) // nothing was late: but for when it turned out that nobody goes
		inOrder := play(index)
		if d := cmp.Diff(inOrder[1:], got[1:]); d != "" {
			rt.Fatalf("-in the order of saying +in this order\n%s", d)
		}
	})
	if _, err := s.CheckAudit(t.Context()); err != nil {
		t.Error(err)
	}
}

// In whichever order check-ins and clocks come, the same becomes of the visits, and
// the audit record says the same last.
func TestRoundsDatedAnewAreAsIfTheClockHadBeenKnown(t *testing.T) {
	r := newRounds(t, nightPlan)
	var boxes []string
	for n := range 120 {
		boxes = append(boxes, fmt.Sprintf("post-%d", n))
	}
	var list []store.Registration
	for _, b := range boxes {
		list = append(list, registration(b, store.AlarmBox))
	}
	if err := r.s.Register(t.Context(), list...); err != nil {
		t.Fatal(err)
	}
	r.load(strings.Replace(nightPlan, "box-01, box-02", strings.Join(boxes, ", "), 1))
	r.look(5 * time.Hour) // all are missed
	rapid.Check(t, func(rt *rapid.T) {
		if len(boxes) < 2 {
			return // enough was played
		}
		var says []told
		now := -30 * time.Minute // after 22:00
		for boot := range uint64(rapid.IntRange(1, 2).Draw(rt, "boots")) {
			up := now
			say := func(w func(time.Duration) wire.Wall, clock bool, b wire.Body) {
				now += time.Duration(rapid.IntRange(1, 2400).Draw(rt, "seconds")) * time.Second
				says = append(says, told{
					device: "box", boot: boot + 1, mono: now - up, wall: w(now), clock: clock, body: func(int64) wire.Body { return b },
					came: night.Add(6*time.Hour + time.Duration(len(says))*time.Second),
				})
			}
			for range rapid.IntRange(0, 3).Draw(rt, "check-ins") {
				say(func(time.Duration) wire.Wall { return none }, false, &wire.CheckIn{By: wire.CheckInFinger, Officer: rapid.SampledFrom([]string{"V-1", "V-1", "V-2"}).Draw(rt, "who")})
			}
			if rapid.IntRange(0, 3).Draw(rt, "has a clock") > 0 {
				say(func(at time.Duration) wire.Wall {
					return sourced(night.Add(at).Sub(noon), wire.WallGNSS, time.Second)
				}, true, &wire.SignRefused{Reason: "no_match"})
			}
			now += time.Second
		}
		play := func(says []store.Arrival, box string) (out []string) {
			r.now = night.Add(7 * time.Hour)
			for _, a := range says {
				commit(t, r.s, a)
			}
			judged, err := r.s.Rounds(t.Context(), night.Add(-12*time.Hour), night.Add(12*time.Hour))
			if err != nil {
				t.Fatal(err)
			}
			said := make(map[string]string)
			for _, l := range r.audited() {
				if f := strings.Fields(l); f[1] == box {
					said[strings.TrimSuffix(f[3], ":")] = strings.TrimPrefix(f[0], "round_")
				}
			}
			for _, j := range judged {
				if j.Point == box {
					out = append(out, fmt.Sprint(j.Due.Sub(night), " ", j.State, " ", j.At.Sub(night), " ", j.By))
					if s := said[j.Due.UTC().Format(time.RFC3339)]; s != j.State {
						rt.Errorf("due %v: %s, the audit record says %s", j.Due, j.State, s)
					}
				}
			}
			return out
		}
		order := rapid.Permutation(says).Draw(rt, "order")
		var results [][]string
		for _, first := range []bool{true, false} { // the clocks come first, or in that order
			box := boxes[0]
			boxes = boxes[1:]
			all := arrivals(t, says, 0, func(string) string { return box })
			var sorted []store.Arrival
			for _, pass := range []bool{true, false} {
				for _, w := range order {
					if !first && pass || first && w.clock != pass {
						continue
					}
					sorted = append(sorted, all[slices.IndexFunc(says, func(o told) bool { return o.came.Equal(w.came) })])
				}
			}
			results = append(results, play(sorted, box))
		}
		if d := cmp.Diff(results[0], results[1]); d != "" {
			rt.Fatalf("-the clocks were known from the start +they came in this order\n%s", d)
		}
	})
}
