package store_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fengsui/fengsui/cloud-bridge/audit"
	"github.com/fengsui/fengsui/cloud-bridge/incident"
	"github.com/fengsui/fengsui/cloud-bridge/store"
	"github.com/fengsui/fengsui/cloud-bridge/units"
	"github.com/fengsui/fengsui/firmware/wire"
)

var li = incident.Actor{Name: "li", Screen: incident.ScreenDesk, Where: "10.0.0.7"}

// at opens a store whose clock the test sets.
func at(t *testing.T, file string, now *time.Time) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), file, func() time.Time { return *now })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Shut() }) // a second time where the test has shut it
	box := registration("box-01", store.AlarmBox)
	box.At = &store.Point{Lat: 30.2612, Lon: 103.1385} // in a cell of the simulator's grid
	if err := s.Register(t.Context(), box, registration("box-02", store.AlarmBox),
		registration("box-03", store.AlarmBox), registration("car-01", store.PatrolCar)); err != nil {
		t.Fatal(err)
	}
	return s
}

func level[T wire.DownBody](t *testing.T, s *store.Store, device string) (out []T) {
	t.Helper()
	ls, err := s.Levels(t.Context(), device)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range ls {
		if b, ok := l.Body.(T); ok {
			if _, err := wire.SealDown(&wire.Down{Device: device, Body: b}, ed25519.NewKeyFromSeed(make([]byte, 32))); err != nil {
				t.Errorf("what is to be told cannot be: %v", err)
			}
			out = append(out, b)
		}
	}
	return out
}

// The timers count from the press, escalate tier by tier, and a restart neither
// forgets nor repeats an overrun.
func TestEscalationSurvivesARestart(t *testing.T) {
	file := filepath.Join(t.TempDir(), "centre.db")
	now := noon.Add(2 * time.Second)
	s := at(t, file, &now)
	commit(t, s, lane(t, "box-01", wire.Alarm).next(raised(1)))
	i := only(t, s)
	policy := incident.DefaultPolicy()
	step := func(after time.Duration, level int, tier incident.Tier) {
		t.Helper()
		now = i.Began().Add(after)
		for range 2 { // looking again changes nothing
			if _, err := s.Escalate(t.Context(), policy); err != nil {
				t.Fatal(err)
			}
		}
		if got := only(t, s); got.Level() != level || got.Tier != tier {
			t.Errorf("%v after the press: level %d, %s; want %d, %s", after, got.Level(), got.Tier, level, tier)
		}
	}
	body, err := os.ReadFile("../../sim/grid.geojson")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.LoadGrid(t.Context(), li, body); err != nil {
		t.Fatal(err)
	}
	step(14*time.Second, 0, incident.Village)
	step(15*time.Second, 1, incident.Township)
	if err := s.Shut(); err != nil {
		t.Fatal(err)
	}
	s = at(t, file, &now)
	step(29*time.Second, 1, incident.Township)
	step(30*time.Second, 2, incident.District)
	if i = only(t, s); i.Place.Cell != "c-shiqiao-1" || i.Place.Township != "t-north" {
		t.Errorf("it lies in %+v", i.Place)
	}
	next, err := s.Escalate(t.Context(), policy)
	if err != nil || !next.Equal(i.Began().Add(45*time.Second)) {
		t.Errorf("next %v, %v: want 45 s after the press", next, err)
	}
}

// A unit's device is told what it is sent to until it answers; what it answers
// moves the incident, and what came late stands where it was said.
func TestAssignment(t *testing.T) {
	now := noon.Add(3 * time.Second)
	s := at(t, filepath.Join(t.TempDir(), "centre.db"), &now)
	commit(t, s, lane(t, "box-01", wire.Alarm).next(raised(1)))
	id := only(t, s).ID
	take := func(step incident.Step) {
		t.Helper()
		if _, err := s.Take(t.Context(), id, li, step); err != nil {
			t.Fatal(err)
		}
	}
	take(incident.Step{Name: incident.StepAcknowledge})
	take(incident.Step{Name: incident.StepDispatch, Unit: "name of car-01", Note: "second house"})
	told := level[*wire.Assignment](t, s, "car-01")
	if len(told) != 1 || told[0].State != wire.Assigned || told[0].Note != "second house" || told[0].Device != "box-01" || told[0].Place == nil || told[0].Pressed == nil {
		t.Fatalf("told %+v", *told[0])
	}
	lat, lon := float64(told[0].Place.LatE7)/1e7, float64(told[0].Place.LonE7)/1e7
	for name, at := range map[string]store.Point{"Mill": {Lat: lat + 0.01, Lon: lon}, "Ford": {Lat: lat, Lon: lon - 0.001}, "Far": {Lat: lat + 0.1, Lon: lon}} {
		r := registration("box-"+strings.ToLower(name), store.AlarmBox)
		r.Name, r.At = name, &at
		if err := s.Register(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	told = level[*wire.Assignment](t, s, "car-01")
	var near []string
	for _, l := range told[0].Near {
		near = append(near, l.Name)
	}
	wants(t, "the boxes around, the nearest first", near, []string{"Ford", "Mill"})
	car := lane(t, "car-01", wire.Duty)
	car.seq = 4 // a second after it was sent
	answer := func(a wire.Answer, code wire.CloseCode) store.Arrival {
		at := &wire.Position{LatE7: 302612000, LonE7: 1031385000, AgeMs: 4200, HDOP: 9}
		return car.next(&wire.UnitAnswer{Incident: uint64(id), Rev: told[0].Rev, Answer: a, Code: code, Note: "n", Position: at})
	}
	route, scene := answer(wire.AnswerEnRoute, 0), answer(wire.AnswerOnScene, 0)
	commit(t, s, scene)
	commit(t, s, route)
	i := only(t, s)
	if i.State != incident.OnScene || i.EnRoute == nil || i.OnScene == nil || i.EnRoute.At.IsZero() || !i.EnRoute.At.Before(i.OnScene.At) || len(i.Units) != 1 || i.Units[0].Device != "car-01" {
		t.Errorf("%s, %+v, %+v", i.State, i.EnRoute, i.OnScene)
	}
	var whats []string
	for _, e := range i.Timeline {
		if e.Screen == incident.ScreenUnit {
			if want := "30.26120,103.13850, 4.2 s old, hdop 0.9"; e.Where != want {
				t.Errorf("%s at %q, want %q", e.What, e.Where, want)
			}
			whats = append(whats, e.What)
		}
	}
	wants(t, "in the order of saying", whats, []string{"en_route", "on_scene"})
	// What it shows now has changed: it is told until it answers that.
	if told = level[*wire.Assignment](t, s, "car-01"); len(told) != 1 || told[0].Stage != "on_scene" {
		t.Fatalf("told %+v", told)
	}
	commit(t, s, answer(wire.AnswerShown, 0))
	if left := level[*wire.Assignment](t, s, "car-01"); len(left) != 0 {
		t.Errorf("answered, and told again: %+v", left[0])
	}
	commit(t, s, answer(wire.AnswerClosed, wire.CloseFalseAlarm))
	if i = only(t, s); i.State != incident.Closed || i.Closed.Code != incident.FalseAlarm {
		t.Errorf("%s %+v", i.State, i.Closed)
	}
	if told = level[*wire.Assignment](t, s, "car-01"); len(told) != 1 || told[0].State != wire.AssignmentEnded || told[0].Device != "" || told[0].Code != "false_alarm" || told[0].By == "" || told[0].Near != nil {
		t.Errorf("closed: told %+v", *told[0])
	}
	if p, err := s.Pending(t.Context(), "box-01"); err != nil || len(p) != 1 || p[0].Notice.State != wire.NoticeClosed {
		t.Errorf("the box is told %+v, %v", p, err)
	}
}

// What a unit says of itself and what the desk sets: the newest word counts, also when it
// comes late, and who said it is known.
func TestAUnitSaysWhatItDoes(t *testing.T) {
	now := noon
	s := at(t, filepath.Join(t.TempDir(), "centre.db"), &now)
	car := lane(t, "car-01", wire.Duty)
	car.edit = func(e *wire.Event) { e.Officer = "P-1001" }
	says := func(d wire.Doing, reason string) store.Arrival {
		return car.next(&wire.UnitState{Doing: d, Reason: reason})
	}
	want := func(what string, state units.State, by, screen string, after time.Duration) {
		t.Helper()
		list, err := s.Units(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if u := list[0]; u.Set != state || u.By != by || u.Screen != screen || !u.SetAt.Equal(noon.Add(after)) {
			t.Errorf("%s: %q by %q at the %s at %v", what, u.Set, u.By, u.Screen, u.SetAt.Sub(noon))
		}
	}
	one, two, three, four := says(wire.DoingBusy, "escort"), says(wire.DoingOutOfService, "tyre"), says(wire.DoingNothing, ""), says(9, "")
	commit(t, s, two)
	want("it said so", units.OutOfService, "P-1001", incident.ScreenUnit, 2*time.Second)
	commit(t, s, one)
	want("what it said before", units.OutOfService, "P-1001", incident.ScreenUnit, 2*time.Second)
	now = noon.Add(10 * time.Second)
	if err := s.SetUnit(t.Context(), li, "car-01", units.Busy, "court"); err != nil {
		t.Fatal(err)
	}
	three.Received = noon.Add(time.Minute)
	commit(t, s, three)
	want("what it said before the desk", units.Busy, "li", incident.ScreenDesk, 10*time.Second)
	commit(t, s, four)
	want("a later version's word", units.Busy, "li", incident.ScreenDesk, 10*time.Second)
	car.seq = 20
	commit(t, s, says(wire.DoingNothing, ""))
	want("and after", "", "P-1001", incident.ScreenUnit, 21*time.Second)
	commit(t, s, lane(t, "box-01", wire.Duty).next(&wire.UnitState{Doing: wire.DoingBusy})) // no unit: nothing happens
}

// A press sounds the others of its group, and not where it is silent; each that
// answers is in the timeline, and who did not is known.
func TestGroupSounds(t *testing.T) {
	now := noon.Add(3 * time.Second)
	s := at(t, filepath.Join(t.TempDir(), "centre.db"), &now)
	ten := store.Group{ID: "ten", Name: "十户", Automatic: true, Sounds: time.Minute, Devices: []string{"box-01", "box-02", "box-03"}}
	if err := s.PutGroup(t.Context(), li, ten); err != nil {
		t.Fatal(err)
	}
	for field, bad := range map[string]store.Group{
		"id":      {ID: "X", Name: "x", Sounds: time.Minute, Devices: []string{"box-01", "box-02"}},
		"devices": {ID: "x", Name: "x", Sounds: time.Minute, Devices: []string{"box-01", "box-01"}},
		"sounds":  {ID: "x", Name: "x", Devices: []string{"box-01", "box-02"}},
		`"ten"`:   {ID: "x", Name: "x", Sounds: time.Minute, Devices: []string{"box-01", "box-02"}},
	} {
		if err := s.PutGroup(t.Context(), li, bad); !errors.Is(err, store.ErrGroup) || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v", field, err)
		}
	}
	commit(t, s, lane(t, "box-01", wire.Alarm).next(raised(1)))
	id := only(t, s).ID
	told := level[*wire.Sound](t, s, "box-02")
	if len(told) != 1 || !told[0].On || told[0].Device != "box-01" || told[0].Until != now.Add(time.Minute).UnixMilli() || len(level[*wire.Sound](t, s, "box-01")) != 0 {
		t.Fatalf("told %+v", told)
	}
	commit(t, s, lane(t, "box-02", wire.Duty).next(&wire.Sounded{Alarm: told[0].Alarm, Rev: told[0].Rev, On: true, By: wire.SoundedByCentre, Device: "box-01"}))
	if len(level[*wire.Sound](t, s, "box-02")) != 0 || len(level[*wire.Sound](t, s, "box-03")) != 1 {
		t.Error("who has answered is told again, or who has not is not")
	}
	what, err := s.Soundings(t.Context(), id)
	if err != nil || len(what) != 2 || what[0].Sounded.IsZero() || !what[1].Sounded.IsZero() {
		t.Errorf("%+v, %v: want box-02 sounded and box-03 not", what, err)
	}
	if _, err := s.CloseIncident(t.Context(), id, "li", incident.Real, ""); err != nil {
		t.Fatal(err)
	}
	if off := level[*wire.Sound](t, s, "box-02"); len(off) != 1 || off[0].On {
		t.Errorf("closed: told %+v", off)
	}
	now = now.Add(time.Hour)
	duress := raised(1)
	duress.Alarm, duress.Kind, duress.Silent = wire.AlarmID{9}, wire.Duress, true
	commit(t, s, lane(t, "box-03", wire.Alarm).next(duress))
	for _, l := range append(level[*wire.Sound](t, s, "box-01"), level[*wire.Sound](t, s, "box-02")...) {
		if l.Device == "box-03" {
			t.Error("a silent alarm sounds elsewhere")
		}
	}
}

func TestDrillMode(t *testing.T) {
	now := noon
	s := at(t, filepath.Join(t.TempDir(), "centre.db"), &now)
	if err := s.SetDrill(t.Context(), li, []string{"box-01", "box-02"}, true, now.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	told := level[*wire.Mode](t, s, "box-01")
	if len(told) != 1 || !told[0].Drill {
		t.Fatalf("told %+v", told)
	}
	commit(t, s, lane(t, "box-01", wire.Duty).next(&wire.ModeSet{Rev: told[0].Rev, Drill: true}))
	if len(level[*wire.Mode](t, s, "box-01")) != 0 || len(level[*wire.Mode](t, s, "box-02")) != 1 {
		t.Error("who has answered is told again, or who has not is not")
	}
	if now = now.Add(2 * time.Hour); len(level[*wire.Mode](t, s, "box-02")) != 0 {
		t.Error("an exercise that is over is told")
	}
	if err := s.SetDrill(t.Context(), li, []string{"box-01", "box-99"}, false, now); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("an unknown device: %v", err)
	}
}

// Nothing changes the record: not by SQL, and not below it without being found.
func TestAuditIsNeverChanged(t *testing.T) {
	file := filepath.Join(t.TempDir(), "centre.db")
	now := noon
	s := at(t, file, &now)
	commit(t, s, lane(t, "box-01", wire.Alarm).next(raised(1)))
	if _, err := s.Take(t.Context(), only(t, s).ID, li, incident.Step{Name: incident.StepAcknowledge}); err != nil {
		t.Fatal(err)
	}
	if err := s.Audit(t.Context(), li, "signed_out", "account/li", ""); err != nil {
		t.Fatal(err)
	}
	c, err := s.CheckAudit(t.Context())
	if err != nil || c.Entries < 3 {
		t.Fatalf("%+v, %v", c, err)
	}
	found := false
	if err := s.AuditLog(t.Context(), 1, func(l audit.Line) error {
		found = found || l.What == "acknowledged" && l.Who == "li" && l.Screen == "desk" && l.Where == "10.0.0.7" && l.Subject == "incident/1"
		return nil
	}); err != nil || !found {
		t.Errorf("who acknowledged, where and from which screen is not there: %v", err)
	}
	db, err := sql.Open("sqlite", file)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, q := range []string{`UPDATE audit SET who = 'wang'`, `DELETE FROM audit`} {
		if _, err := db.Exec(q); err == nil || !strings.Contains(err.Error(), "never") {
			t.Errorf("%s: %v", q, err)
		}
	}
	for _, q := range []string{`DROP TRIGGER audit_no_delete`, `DELETE FROM audit WHERE seq = (SELECT max(seq) FROM audit)`} {
		if _, err := db.Exec(q); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.CheckAudit(t.Context()); !errors.Is(err, audit.ErrChain) {
		t.Errorf("the end was taken off: %v, want ErrChain", err)
	}
	for _, q := range []string{`DROP TRIGGER audit_no_update`, `UPDATE audit SET who = 'wang' WHERE seq = 1`} {
		if _, err := db.Exec(q); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.CheckAudit(t.Context()); !errors.Is(err, audit.ErrChain) || !strings.Contains(err.Error(), "entry 1") {
		t.Errorf("the first was changed: %v, want ErrChain of entry 1", err)
	}
}

// Parts in any order, twice and of two incidents make the file once.
func TestAttachment(t *testing.T) {
	now := noon
	s := at(t, filepath.Join(t.TempDir(), "centre.db"), &now)
	commit(t, s, lane(t, "box-01", wire.Alarm).next(raised(1)))
	body := bytes.Repeat([]byte("jpeg"), 10_000)
	whole := sha256.Sum256(body)
	car := lane(t, "car-01", wire.Track)
	var parts []store.Arrival
	for n := range 3 {
		parts = append(parts, car.next(&wire.AttachmentPart{
			Whole: whole[:], Size: uint64(len(body)), Index: uint64(n), Count: 3, Bytes: body[n*15_000 : min((n+1)*15_000, len(body))], MIME: "image/jpeg", Incident: 1,
		}))
	}
	commit(t, s, parts[2], parts[0], parts[0])
	id := wire.Hash(whole[:16])
	if _, _, err := s.Attachment(t.Context(), id); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a part is missing: %v", err)
	}
	commit(t, s, parts[1])
	_, got, err := s.Attachment(t.Context(), id)
	if err != nil || !bytes.Equal(got, body) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	events, err := s.EventsOf(t.Context(), 1)
	if err != nil || len(events) != 4 {
		t.Errorf("%d events belong to the incident, %v: want the press and three parts", len(events), err)
	}
}

// The same bytes sent for two incidents are a file of both, whether the second
// is named before or after the file has come, and for both with the events that
// brought it.
func TestAttachmentOfTwoIncidents(t *testing.T) {
	now := noon
	s := at(t, filepath.Join(t.TempDir(), "centre.db"), &now)
	for _, box := range []string{"box-01", "box-02", "box-03"} {
		commit(t, s, lane(t, box, wire.Alarm).next(raised(1)))
	}
	body := bytes.Repeat([]byte("jpeg"), 5000)
	whole := sha256.Sum256(body)
	id := wire.Hash(whole[:16])
	car, duty := lane(t, "car-01", wire.Track), lane(t, "car-01", wire.Duty)
	part := func(n int, of uint64) store.Arrival {
		return car.next(&wire.AttachmentPart{
			Whole: whole[:], Size: uint64(len(body)), Index: uint64(n), Count: 2, Bytes: body[n*10_000 : (n+1)*10_000], MIME: "image/jpeg", Incident: of,
		})
	}
	commit(t, s, part(0, 1))
	commit(t, s, duty.next(&wire.Note{Incident: 2, Attachments: []wire.Hash{id}}))
	commit(t, s, duty.next(&wire.Note{Incident: 99, Attachments: []wire.Hash{id}})) // of another centre
	if list, err := s.Attachments(t.Context(), 2); err != nil || len(list) != 1 || list[0].State != store.AttachmentComing {
		t.Errorf("%+v, %v: want the file that is coming", list, err)
	}
	commit(t, s, part(1, 1))
	commit(t, s, part(0, 3), part(1, 3))
	for i := int64(1); i <= 3; i++ {
		list, err := s.Attachments(t.Context(), i)
		if err != nil || len(list) != 1 || list[0].ID != id || list[0].State != store.AttachmentWhole {
			t.Errorf("incident %d: %+v, %v", i, list, err)
		}
		events, err := s.EventsOf(t.Context(), i)
		parts := map[uint64]bool{}
		for _, e := range events {
			m, err := wire.Peek(e.Message)
			if err != nil {
				t.Fatal(err)
			}
			if b, ok := m.Body.(*wire.AttachmentPart); ok {
				parts[b.Index] = true
			}
		}
		if err != nil || len(parts) != 2 {
			t.Errorf("incident %d: the events of %d parts, %v", i, len(parts), err)
		}
		one, err := s.Incident(t.Context(), i)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, e := range one.Timeline {
			if e.What == incident.WhatAttachment {
				n++
			}
		}
		if n != 1 {
			t.Errorf("incident %d: its history tells %d times that the file is here", i, n)
		}
	}
	file, got, err := s.Attachment(t.Context(), id)
	if err != nil || !bytes.Equal(got, body) || !slices.Equal(file.Incidents, []int64{1, 2, 3}) {
		t.Errorf("%+v, %d bytes, %v", file, len(got), err)
	}
}
