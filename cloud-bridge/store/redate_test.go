package store_test

import (
	"database/sql"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fengsui/fengsui/cloud-bridge/audit"
	"github.com/fengsui/fengsui/cloud-bridge/incident"
	"github.com/fengsui/fengsui/cloud-bridge/stats"
	"github.com/fengsui/fengsui/cloud-bridge/store"
	"github.com/fengsui/fengsui/firmware/wire"
)

// offline is a car that was sent to an alarm and has neither a clock nor a link.
type offline struct {
	*testing.T
	s    *store.Store
	now  time.Time // at the centre
	id   int64
	car  *source
	boot uint64
	up   time.Duration // when the boot began, after noon
}

func newOffline(t *testing.T) *offline {
	o := &offline{T: t, now: noon.Add(time.Second), car: lane(t, "car-01", wire.Duty), boot: 7, up: -10 * time.Minute}
	o.s = at(t, filepath.Join(t.TempDir(), "centre.db"), &o.now)
	press := lane(t, "box-01", wire.Alarm)
	press.edit = func(e *wire.Event) { e.Mono, e.Wall = time.Hour, sourced(0, wire.WallGNSS, 50*time.Millisecond) }
	commit(t, o.s, press.next(raised(1)))
	o.id = only(t, o.s).ID
	o.now = noon.Add(10 * time.Second)
	o.take(incident.Step{Name: incident.StepAcknowledge})
	o.now = noon.Add(time.Minute)
	o.take(incident.Step{Name: incident.StepDispatch, Unit: "car-01"})
	return o
}

func (o *offline) take(step incident.Step) {
	o.Helper()
	if _, err := o.s.Take(o.Context(), o.id, li, step); err != nil {
		o.Fatal(err)
	}
}

// says makes what the car says so long after noon; it comes later.
func (o *offline) says(after time.Duration, w wire.Wall, b wire.Body) store.Arrival {
	o.Helper()
	o.car.edit = func(e *wire.Event) { e.Boot, e.Mono, e.Wall, e.Officer = o.boot, after-o.up, w, "P-7" }
	return o.car.next(b)
}

func (o *offline) answer(after time.Duration, w wire.Wall, a wire.Answer) store.Arrival {
	o.Helper()
	b := &wire.UnitAnswer{Incident: uint64(o.id), Rev: 1, Answer: a}
	if a == wire.AnswerClosed {
		b.Code = wire.CloseReal
	}
	return o.says(after, w, b)
}

// arrive brings what was said to the centre, so long after noon.
func (o *offline) arrive(after time.Duration, as ...store.Arrival) {
	o.Helper()
	o.now = noon.Add(after)
	for i := range as {
		as[i].Received = o.now
	}
	commit(o, o.s, as...)
}

// lines are those of the timeline of what was said at the car: when, what, and
// when it came; and what the centre says of its times.
func (o *offline) lines() (out []string) {
	o.Helper()
	for _, e := range only(o, o.s).Timeline {
		given := "?"
		if !e.Given.IsZero() {
			given = e.Given.Sub(noon).String()
		}
		switch {
		case e.Screen == incident.ScreenUnit:
			out = append(out, given+" "+e.What+" "+e.At.Sub(noon).String())
		case e.What == incident.WhatRedated || e.What == incident.WhatDoubted:
			out = append(out, e.What+" "+e.Detail)
		}
	}
	return out
}

// audited are the entries of the audit record about the incident that are of a
// unit's, or of times.
func (o *offline) audited() (out []string) {
	o.Helper()
	if err := o.s.AuditOf(o.Context(), "incident/1", func(l audit.Line) error {
		if l.LeftOut == 0 && l.Screen == incident.ScreenUnit {
			given := "?"
			if l.Given != 0 {
				given = time.UnixMilli(l.Given).Sub(noon).String()
			}
			out = append(out, l.What+" "+given)
		} else if l.LeftOut == 0 && (l.What == incident.WhatRedated || l.What == incident.WhatDoubted) {
			out = append(out, l.What)
		}
		return nil
	}); err != nil {
		o.Fatal(err)
	}
	if _, err := o.s.CheckAudit(o.Context()); err != nil {
		o.Error(err)
	}
	return out
}

func (o *offline) arrived() stats.Delay {
	o.Helper()
	row, ok := stats.RowOf(only(o, o.s))
	if !ok {
		o.Fatal("the incident does not count")
	}
	return stats.Sum([]stats.Row{row}, incident.DefaultPolicy())[0].Arrive
}

// A car without a clock answers where no link is. The centre dates that at its
// arrival; once the car has the time of day all of it becomes right: the units'
// progress, the closing, the timeline, the statistics. The audit record keeps
// what it said and says what has changed.
func TestAnswersAreDatedAnew(t *testing.T) {
	const m = time.Minute
	o := newOffline(t)
	said := []store.Arrival{
		o.answer(2*m, none, wire.AnswerAccepted),
		o.answer(3*m, none, wire.AnswerEnRoute),
		o.answer(11*m, none, wire.AnswerOnScene),
		o.answer(12*m, none, wire.AnswerNeedHelp),
		o.says(13*m, none, &wire.Note{Incident: uint64(o.id), Text: "smoke"}),
	}
	o.arrive(40*m, said[3], said[1], said[4], said[0], said[2])
	i := only(t, o.s)
	if i.State != incident.OnScene || !i.OnScene.At.Equal(o.now) || i.Help == nil || o.arrived().P50 != 40*m {
		t.Errorf("while nothing dates it: %s, %+v, %+v, %+v", i.State, i.OnScene, i.Help, o.arrived())
	}
	before := o.audited()
	wants(t, "audited at first", before, []string{"need_help 40m0s", "en_route 40m0s", "note 40m0s", "unit_accepted 40m0s", "on_scene 40m0s"})
	rest := []store.Arrival{
		o.answer(20*m, none, wire.AnswerChecked), o.answer(25*m, none, wire.AnswerClosed),
		o.says(41*m, sourced(41*m, wire.WallGNSS, time.Second), &wire.SignRefused{Reason: "no_match"}),
	}
	o.arrive(41*m, rest[:2]...)
	o.arrive(42*m, rest[2])
	i = only(t, o.s)
	for name, c := range map[string][2]time.Time{
		"en route": {i.EnRoute.At, noon.Add(3 * m)}, "on scene": {i.OnScene.At, noon.Add(11 * m)},
		"checked": {i.Checked.At, noon.Add(20 * m)}, "closed": {i.Closed.At, noon.Add(25 * m)},
		"it came": {i.OnScene.Received, noon.Add(40 * m)},
	} {
		if !c[0].Equal(c[1]) {
			t.Errorf("%s at %v, want %v", name, c[0], c[1])
		}
	}
	if d := o.arrived(); d.Count != 1 || d.P50 != 11*m || d.Within != 1 {
		t.Errorf("the statistics %+v: want 11 m", d)
	}
	lines := o.lines()
	wants(t, "timeline", lines[:7], []string{
		"2m0s unit_accepted 40m0s", "3m0s en_route 40m0s", "11m0s on_scene 40m0s", "12m0s need_help 40m0s", "13m0s note 40m0s",
		"20m0s checked 41m0s", "25m0s closed 41m0s",
	})
	if len(lines) != 14 || !strings.Contains(strings.Join(lines[7:], "\n"), "redated on_scene of P-7: 2026-11-23T12:11:00.000Z ± 1.18s, before: 2026-11-23T12:40:00.000Z") {
		t.Errorf("the timeline says %q", lines[7:])
	}
	after := o.audited()
	wants(t, "audited then", after, append(before, "checked 41m0s", "closed 41m0s",
		"redated", "redated", "redated", "redated", "redated", "redated", "redated"))
}

// What cannot be is not shown, nor counted: a clock by which the car was there
// before it was sent gives no time at all, and the timeline says so, until more
// is known.
func TestContradictedTimesAreNotShown(t *testing.T) {
	const m = time.Minute
	o := newOffline(t)
	said := []store.Arrival{
		o.answer(2*m, none, wire.AnswerEnRoute), o.answer(10*m, none, wire.AnswerOnScene), o.answer(12*m, none, wire.AnswerClosed),
		o.says(14*m, sourced(4*m, wire.WallGNSS, time.Second), &wire.SignRefused{Reason: "no_match"}), // ten minutes behind
		o.says(15*m, sourced(15*m, wire.WallCentre, time.Second/10), &wire.SignRefused{Reason: "no_match"}),
	}
	o.arrive(13*m, said[:3]...)
	o.arrive(14*m, said[3])
	i := only(t, o.s)
	if i.State != incident.Closed || i.OnScene == nil || !i.OnScene.At.IsZero() || !i.EnRoute.At.IsZero() || i.OnScene.Received.IsZero() {
		t.Errorf("%s, %+v: want that it is not known when", i.State, i.OnScene)
	}
	// It was closed at 2 m by that clock, a minute after the unit was sent: that may be.
	if !i.Closed.At.Equal(noon.Add(2 * m)) {
		t.Errorf("closed %v", i.Closed.At)
	}
	if d := o.arrived(); d.Count != 0 || d.Never != 0 || d.Unsure != 1 {
		t.Errorf("the statistics %+v: want no figure", d)
	}
	lines := o.lines()
	text := strings.Join(lines, "\n")
	for _, want := range []string{
		"? on_scene 13m0s", "? en_route 13m0s", "2m0s closed 13m0s",
		"doubted on_scene of P-7: its device says 2026-11-23T12:00:00.000Z ± 1.024s, which cannot be",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the timeline does not say %q:\n%s", want, text)
		}
	}
	o.arrive(15*m, said[4]) // the centre's clock tells who is right
	if i = only(t, o.s); !i.OnScene.At.Equal(noon.Add(10*m)) || !i.Closed.At.Equal(noon.Add(12*m)) {
		t.Errorf("%+v, %+v", i.OnScene, i.Closed)
	}
	if d := o.arrived(); d.Count != 1 || d.P50 != 10*m {
		t.Errorf("the statistics %+v", d)
	}
	o.audited()
}

// What comes with such a clock at once is not shown either; and what is known no
// better than within hours lies where it can have been.
func TestTimesThatCanBe(t *testing.T) {
	const m = time.Minute
	o := newOffline(t)
	o.arrive(5*m, o.answer(4*m, sourced(-m, wire.WallGNSS, time.Second), wire.AnswerEnRoute))
	if i := only(t, o.s); i.State != incident.EnRoute || !i.EnRoute.At.IsZero() {
		t.Errorf("%s, %+v", i.State, i.EnRoute)
	}
	wants(t, "timeline", o.lines(), []string{
		"? en_route 5m0s", "doubted en_route of P-7: its device says 2026-11-23T11:59:00.000Z ± 1s, which cannot be",
	})
	// Half a second before it was sent, by a clock that is right to a second.
	o = newOffline(t)
	o.arrive(2*m, o.answer(m, sourced(m-time.Second/2, wire.WallGNSS, time.Second), wire.AnswerAccepted))
	wants(t, "timeline", o.lines(), []string{"1m0s unit_accepted 2m0s"})
	// A boot that nothing dates ended before the next one began, which is dated.
	o = newOffline(t)
	o.arrive(20*m, o.answer(2*m, none, wire.AnswerEnRoute))
	o.boot, o.up = 8, 8*m
	o.arrive(21*m, o.answer(9*m, sourced(9*m, wire.WallGNSS, time.Second), wire.AnswerOnScene))
	i := only(t, o.s)
	if i.EnRoute.At.After(i.OnScene.At) || !i.OnScene.At.Equal(noon.Add(9*m)) {
		t.Errorf("en route %v, on scene %v", i.EnRoute, i.OnScene)
	}
	if lines := o.lines(); len(lines) != 3 || lines[0] != "9m0s en_route 20m0s" {
		t.Errorf("the timeline %q", lines)
	}
}

// A press that is dated anew leaves its word in the record, too.
func TestAPressDatedAnewIsAudited(t *testing.T) {
	const m = time.Minute
	now := noon.Add(10 * m)
	s := at(t, filepath.Join(t.TempDir(), "centre.db"), &now)
	says := tell(t, []say{
		{at: m, boot: 1, mono: 10 * time.Second, wall: none, press: true, late: 9 * m},
		{at: 2 * m, boot: 1, mono: 70 * time.Second, wall: sourced(2*m, wire.WallGNSS, time.Second), late: 9 * m},
	})
	for _, b := range says {
		if _, err := s.Commit(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	last := only(t, s).Timeline[1]
	if last.What != incident.WhatRedated || last.Detail != "press of box-01: 2026-11-23T12:01:00.000Z ± 1.006s, not known before" {
		t.Errorf("the timeline says %+v", last)
	}
}

// An answer is of the incident that it names, also where its alarm was pressed
// again after that was closed, and both come at once.
func TestAnAnswerIsOfItsIncident(t *testing.T) {
	o := newOffline(t)
	if _, err := o.s.CloseIncident(t.Context(), o.id, "li", incident.Real, ""); err != nil {
		t.Fatal(err)
	}
	again := raised(2)
	press := lane(t, "box-01", wire.Alarm)
	press.seq, press.edit = 1, func(e *wire.Event) { e.Mono = 2 * time.Hour }
	answer := o.answer(90*time.Second, sourced(90*time.Second, wire.WallGNSS, time.Second), wire.AnswerEnRoute)
	o.arrive(2*time.Minute, press.next(again), answer)
	for id, want := range map[int64]int{1: 1, 2: 0} {
		i, err := o.s.Incident(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, e := range i.Timeline {
			if e.Screen == incident.ScreenUnit {
				n++
			}
		}
		if n != want {
			t.Errorf("incident %d has %d answers, want %d", id, n, want)
		}
	}
}

// Somebody who came by a box that had no clock and no link came in time, once
// its clock is known; who is shown to have come another day has missed it.
func TestCheckInsAreDatedAnew(t *testing.T) {
	r := newRounds(t, strings.Replace(nightPlan, `, "23:30"`, "", 1))
	r.look(-time.Hour)
	undated := func(box string, boot uint64, after, late time.Duration) store.Arrival {
		a := r.event(box, "V-1", after, late)
		r.of[box].seq--
		r.of[box].edit = func(e *wire.Event) { e.Boot, e.Mono, e.Wall = boot, 10*time.Hour+after, none }
		a = r.of[box].next(&wire.CheckIn{By: wire.CheckInFinger, Officer: "V-1"})
		a.Received = night.Add(after + late)
		return a
	}
	clock := func(box string, boot uint64, after, off time.Duration) store.Arrival {
		r.of[box].edit = func(e *wire.Event) {
			e.Boot, e.Mono, e.Wall = boot, 10*time.Hour+after, sourced(night.Add(after+off).Sub(noon), wire.WallGNSS, time.Second)
		}
		a := r.of[box].next(&wire.SignRefused{Reason: "no_match"})
		a.Received = night.Add(after)
		return a
	}
	r.look(5 * time.Hour)
	commit(t, r.s, undated("box-01", 1, 20*time.Minute, 5*time.Hour))
	r.want("by its arrival", "30 22:00 box-01 missed", "30 22:00 box-02 missed")
	commit(t, r.s, clock("box-01", 1, 6*time.Hour, 0))
	r.want("dated", "30 22:00 box-01 kept V-1", "30 22:00 box-02 missed")
	// It came at once and counted; then the clock says that the finger was kept for
	// an hour.
	r2 := newRounds(t, strings.Replace(nightPlan, `, "23:30"`, "", 1))
	r = r2
	r.look(-time.Hour)
	commit(t, r.s, undated("box-02", 1, -55*time.Minute, 75*time.Minute))
	r.look(5 * time.Hour)
	r.want("by its arrival", "30 22:00 box-01 missed", "30 22:00 box-02 kept V-1")
	r.look(50 * time.Hour)
	commit(t, r.s, clock("box-02", 1, 50*time.Hour, 0))
	r.want("dated days later", "30 22:00 box-01 missed", "30 22:00 box-02 missed")
	if n := r.audited(); n[len(n)-1] != "round_missed box-02 due 2026-11-30T14:00:00Z" {
		t.Errorf("noted %q", n)
	}
	var moved []string
	if err := r.s.AuditLog(t.Context(), 1, func(l audit.Line) error {
		if l.What == incident.WhatRedated {
			moved = append(moved, l.Subject+" "+l.Detail)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if len(moved) != 1 || !strings.HasPrefix(moved[0], "device/box-02 check_in of box-02 by V-1: 2026-11-30T13:05:00.000Z") {
		t.Errorf("audited %q", moved)
	}
}

// What a centre of before the lists of sayings has written goes on as it was.
func TestUnitsOfAnEarlierVersion(t *testing.T) {
	file := filepath.Join(t.TempDir(), "centre.db")
	now := noon.Add(time.Second)
	s := at(t, file, &now)
	commit(t, s, lane(t, "box-01", wire.Alarm).next(raised(1)))
	for _, step := range []incident.Step{{Name: incident.StepAcknowledge}, {Name: incident.StepDispatch, Unit: "car-01"}, {Name: incident.StepAddUnit, Unit: "car-02"}} {
		now = now.Add(time.Second)
		if _, err := s.Take(t.Context(), 1, li, step); err != nil {
			t.Fatal(err)
		}
	}
	db, err := sql.Open("sqlite", file)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(`UPDATE incidents SET state = 'en_route', work = ? WHERE incident = 1`, `{
		"units": [{"name": "car-01", "device": "car-01", "by": "li", "at": "2026-11-23T12:00:03Z", "reached": "en_route", "newest": "2026-11-23T12:02:00Z"},
			{"name": "car-02", "by": "li", "at": "2026-11-23T12:00:04Z", "reached": "accepted", "newest": "2026-11-23T12:01:00Z", "refused": "2026-11-23T12:03:00Z"}],
		"en_route": {"unit": "car-01", "by": "P-7", "at": "2026-11-23T12:02:00Z", "received": "2026-11-23T12:02:30Z"},
		"help": {"unit": "car-01", "by": "P-7", "at": "2026-11-23T12:04:00Z"},
		"first_sent": "2026-11-23T12:00:03Z"}`); err != nil {
		t.Fatal(err)
	}
	check := func(why string) {
		t.Helper()
		i := only(t, s)
		if i.EnRoute == nil || !i.EnRoute.At.Equal(noon.Add(2*time.Minute)) || !i.EnRoute.Received.Equal(noon.Add(150*time.Second)) || i.EnRoute.By != "P-7" ||
			i.Help == nil || !i.Help.At.Equal(noon.Add(4*time.Minute)) || i.Units[1].State() != incident.UnitRefused || !i.FirstSent.Equal(noon.Add(3*time.Second)) {
			t.Errorf("%s: %+v, %+v, %+v", why, i.EnRoute, i.Help, i.Units)
		}
	}
	check("as it was written")
	car := lane(t, "car-01", wire.Duty)
	car.edit = func(e *wire.Event) { e.Mono, e.Wall = time.Hour, sourced(10*time.Minute, wire.WallGNSS, time.Second) }
	scene := car.next(&wire.UnitAnswer{Incident: 1, Rev: 1, Answer: wire.AnswerOnScene})
	scene.Received = noon.Add(11 * time.Minute)
	commit(t, s, scene)
	check("one more answer")
	if i := only(t, s); i.State != incident.OnScene || !i.OnScene.At.Equal(noon.Add(10*time.Minute)) {
		t.Errorf("%s, %+v", i.State, i.OnScene)
	}
}
