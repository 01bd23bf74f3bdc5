package store_test

import (
	"crypto/ed25519"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fengsui/fengsui/cloud-bridge/audit"
	"github.com/fengsui/fengsui/cloud-bridge/incident"
	"github.com/fengsui/fengsui/cloud-bridge/store"
	"github.com/fengsui/fengsui/firmware/wire"
)

// Nobody missed what was not asked: a plan that was loaded just now judges none
// of the visits that were due before.
func TestANewPlanMissesNothingOfTheDayBefore(t *testing.T) {
	db, err := store.Open(t.Context(), t.TempDir()+"/centre.db", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Shut(); err != nil {
			t.Error(err)
		}
	})
	box := store.Registration{ID: "box-01", Kind: store.AlarmBox, Key: make(ed25519.PublicKey, ed25519.PublicKeySize)}
	if err := db.Register(t.Context(), box); err != nil {
		t.Fatal(err)
	}
	plan := `zone: UTC
people: [{id: V-1, name: patrol, kind: patrol}]
rounds: [{id: n, name: night, who: [V-1], points: [box-01], at: ["00:00", "06:00", "12:00", "18:00"], within: 1h}]
`
	if _, err := db.LoadRoster(t.Context(), incident.Actor{Name: "li", Screen: incident.ScreenDesk}, []byte(plan)); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	judged, err := db.Rounds(t.Context(), now.Add(-72*time.Hour), now.Add(24*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if len(judged) < 3 {
		t.Fatalf("%d visits within the day that comes: want four or so", len(judged))
	}
	for _, j := range judged {
		if j.Due.Before(now.Add(-time.Minute)) && j.State != "due" {
			t.Errorf("the visit due at %v is %s", j.Due, j.State)
		}
	}
}

// rounds is a store with a plan, whose clock the test sets, and what its boxes
// say.
type rounds struct {
	*testing.T
	s   *store.Store
	now time.Time
	of  map[string]*source
}

// night is 22:00 of a Monday in the plan's zone.
var night = time.Date(2026, 11, 30, 14, 0, 0, 0, time.UTC)

const nightPlan = `zone: Asia/Shanghai
people: [{id: V-1, name: patrol, kind: patrol}, {id: V-2, name: other, kind: patrol}]
rounds:
- {id: n, name: night, who: [V-1], points: [box-01, box-02], at: ["22:00", "23:30"], within: 45m}
`

func newRounds(t *testing.T, plan string) *rounds {
	r := &rounds{T: t, now: night.Add(-time.Hour), of: make(map[string]*source)}
	r.s = at(t, filepath.Join(t.TempDir(), "centre.db"), &r.now)
	r.load(plan)
	return r
}

func (r *rounds) load(plan string) {
	r.Helper()
	if _, err := r.s.LoadRoster(r.Context(), li, []byte(plan)); err != nil {
		r.Fatal(err)
	}
}

// event is a check-in at a box, so long after 22:00 and so late at the centre.
func (r *rounds) event(box, officer string, after, late time.Duration) store.Arrival {
	r.Helper()
	if r.of[box] == nil {
		r.of[box] = lane(r, box, wire.Duty)
	}
	when := night.Add(after)
	r.of[box].edit = func(e *wire.Event) {
		e.Mono, e.Wall = 10*time.Hour+after, wire.Wall{UnixMilli: when.UnixMilli(), Source: wire.WallNTP, Uncertainty: 50 * time.Millisecond}
	}
	b := &wire.CheckIn{By: wire.CheckInButton, Button: "check-in"}
	if officer != "" {
		b = &wire.CheckIn{By: wire.CheckInFinger, Officer: officer}
	}
	a := r.of[box].next(b)
	a.Received = when.Add(late)
	return a
}

// look lets so long after 22:00 pass and notes what was missed.
func (r *rounds) look(after time.Duration) (next time.Time) {
	r.Helper()
	r.now = night.Add(after)
	for range 2 { // looking again changes nothing
		var err error
		if next, err = r.s.MissedRounds(r.Context()); err != nil {
			r.Fatal(err)
		}
	}
	return next
}

// want compares what became of the visits of the night with what the desk
// shows, and with what the audit record says last of each that it names.
func (r *rounds) want(why string, want ...string) {
	r.Helper()
	judged, err := r.s.Rounds(r.Context(), night.Add(-12*time.Hour), night.Add(24*time.Hour))
	if err != nil {
		r.Fatal(err)
	}
	said := make(map[string]string)
	if err := r.s.AuditLog(r.Context(), 1, func(l audit.Line) error {
		if state, ok := strings.CutPrefix(l.What, "round_"); ok {
			f := strings.Fields(l.Detail)
			said[l.Subject+" "+f[0]+" "+strings.TrimSuffix(f[2], ":")] = state
		}
		return nil
	}); err != nil {
		r.Fatal(err)
	}
	var got []string
	for _, j := range judged {
		line := j.Due.In(time.FixedZone("", 8*3600)).Format("02 15:04 ") + j.Point + " " + j.State
		if j.By != "" {
			line += " " + j.By
		}
		got = append(got, line)
		k := "round/" + j.Round + " " + j.Point + " " + j.Due.UTC().Format(time.RFC3339)
		if s, there := said[k]; there && s != j.State {
			r.Errorf("%s: %s: the desk shows %s, the audit record says %s", why, k, j.State, s)
		}
	}
	wants(r.T, why, got, want)
}

// audited are the entries about rounds.
func (r *rounds) audited() (out []string) {
	r.Helper()
	if err := r.s.AuditLog(r.Context(), 1, func(l audit.Line) error {
		if strings.HasPrefix(l.Subject, "round/") {
			out = append(out, l.What+" "+l.Detail)
		}
		return nil
	}); err != nil {
		r.Fatal(err)
	}
	if _, err := r.s.CheckAudit(r.Context()); err != nil {
		r.Error(err)
	}
	return out
}

// Visits are kept, late and missed; what was missed is noted once, and by a
// centre that starts anew, too.
func TestRounds(t *testing.T) {
	r := newRounds(t, nightPlan)
	if next := r.look(-time.Hour); !next.Equal(night.Add(45*time.Minute + time.Millisecond)) {
		t.Errorf("it looks again at %v", next)
	}
	commit(t, r.s, r.event("box-01", "V-1", 10*time.Minute, time.Second))
	r.now = night.Add(20 * time.Minute)
	r.want("under way", "30 22:00 box-01 kept V-1", "30 22:00 box-02 due", "30 23:30 box-01 due", "30 23:30 box-02 due")
	r.look(45 * time.Minute)
	r.want("its last moment", "30 22:00 box-01 kept V-1", "30 22:00 box-02 due", "30 23:30 box-01 due", "30 23:30 box-02 due")
	r.look(45*time.Minute + time.Millisecond)
	r.want("over", "30 22:00 box-01 kept V-1", "30 22:00 box-02 missed", "30 23:30 box-01 due", "30 23:30 box-02 due")
	r.look(50 * time.Minute)
	missed := "round_missed box-02 due 2026-11-30T14:00:00Z"
	wants(t, "noted", r.audited(), []string{missed})
	commit(t, r.s, r.event("box-02", "", 60*time.Minute, time.Second))
	r.want("late", "30 22:00 box-01 kept V-1", "30 22:00 box-02 late", "30 23:30 box-01 due", "30 23:30 box-02 due")
	late := "round_late box-02 due 2026-11-30T14:00:00Z: it was noted as missed, and somebody came at 2026-11-30T15:00:00Z"
	wants(t, "noted", r.audited(), []string{missed, late})
	r.look(20 * time.Hour)
	r.want("the next day", "30 22:00 box-01 kept V-1", "30 22:00 box-02 late", "30 23:30 box-01 missed", "30 23:30 box-02 missed")
	if n := r.audited(); len(n) != 4 {
		t.Errorf("noted %q: want the two of 23:30 after those", n)
	}
}

// A box that had no link tells later who came by: then nobody has missed it, and
// the record says so.
func TestALateWordKeepsAVisit(t *testing.T) {
	r := newRounds(t, nightPlan)
	offline := r.event("box-01", "V-1", 20*time.Minute, 5*time.Hour)
	r.look(5 * time.Hour)
	if n := r.audited(); len(n) != 4 {
		t.Fatalf("noted %q", n)
	}
	commit(t, r.s, offline)
	commit(t, r.s, offline) // twice
	r.want("it came", "30 22:00 box-01 kept V-1", "30 22:00 box-02 missed", "30 23:30 box-01 missed", "30 23:30 box-02 missed")
	if n := r.audited(); len(n) != 5 || n[4] != "round_kept box-01 due 2026-11-30T14:00:00Z: it was noted as missed, and V-1 came at 2026-11-30T14:20:00Z" {
		t.Errorf("noted %q", n)
	}
	r.look(6 * time.Hour)
	if n := r.audited(); len(n) != 5 {
		t.Errorf("noted again: %q", n)
	}
}

// A centre that was down for days notes what was missed meanwhile.
func TestRoundsMissedWhileTheCentreWasDown(t *testing.T) {
	r := newRounds(t, nightPlan)
	r.look(-time.Hour)
	r.look(73 * time.Hour)
	if n := r.audited(); len(n) != 4*3+2 {
		t.Errorf("%d noted, %q: want those of three nights and the first two of the fourth", len(n), n)
	}
}

// A plan that is loaded between a visit's beginning and its end hides no miss,
// be it the same plan or another; and asks nobody for what was due before it.
func TestAPlanLoadedWithinAVisit(t *testing.T) {
	for name, plan := range map[string]string{
		"the same": nightPlan, "with a comment": "# anew\n" + nightPlan,
		"without it": strings.Replace(nightPlan, `"22:00", `, "", 1),
		"longer":     strings.Replace(nightPlan, "45m", "1h", 1),
	} {
		t.Run(name, func(t *testing.T) {
			r := newRounds(t, nightPlan)
			r.look(-time.Hour)
			r.now = night.Add(20 * time.Minute)
			r.load(plan)
			r.load(plan)
			if next := r.look(21 * time.Minute); !next.Equal(night.Add(45*time.Minute + time.Millisecond)) {
				t.Errorf("it looks again at %v", next)
			}
			r.look(46 * time.Minute)
			r.want("loaded at 22:20", "30 22:00 box-01 missed", "30 22:00 box-02 missed", "30 23:30 box-01 due", "30 23:30 box-02 due")
			if n := r.audited(); len(n) != 2 {
				t.Errorf("noted %q", n)
			}
		})
	}
	r := newRounds(t, strings.Replace(nightPlan, `"22:00", `, "", 1))
	r.now = night.Add(20 * time.Minute)
	r.load(nightPlan)
	commit(t, r.s, r.event("box-02", "V-1", 30*time.Minute, time.Second))
	r.look(46 * time.Minute)
	r.want("asked at 22:20", "30 22:00 box-02 kept V-1", "30 23:30 box-01 due", "30 23:30 box-02 due")
	if n := r.audited(); len(n) != 0 {
		t.Errorf("noted %q: nobody had asked for it", n)
	}
}

// Who comes at the first or the last moment has come in time; the last moment
// of a late one is as long after.
func TestCheckInsAtTheBounds(t *testing.T) {
	const end = 45 * time.Minute
	for after, want := range map[time.Duration]string{
		-time.Millisecond: "missed", 0: "kept V-1", end: "kept V-1", end + time.Millisecond: "late V-1",
		2 * end: "late V-1", 2*end + time.Millisecond: "missed",
	} {
		r := newRounds(t, strings.Replace(nightPlan, `, "23:30"`, "", 1))
		commit(t, r.s, r.event("box-01", "V-1", after, 0))
		r.look(2 * time.Hour)
		r.want(after.String(), "30 22:00 box-01 "+want, "30 22:00 box-02 missed")
	}
}

// A round that begins before midnight and the month's end in the plan's zone
// ends after both, and is of the day on which it begins.
func TestRoundsAcrossMidnight(t *testing.T) {
	r := newRounds(t, strings.NewReplacer(`"22:00", "23:30"`, `"23:45"`, "[box-01, box-02]", "[box-01, box-02], days: [mon]").Replace(nightPlan))
	commit(t, r.s, r.event("box-01", "V-1", 2*time.Hour+10*time.Minute, 0)) // 00:10 of 1 December, a Tuesday
	r.look(23 * time.Hour)
	r.want("at 00:10", "30 23:45 box-01 kept V-1", "30 23:45 box-02 missed")
	// By the day on which they end: neither lost nor twice where two days meet.
	midnight := night.Add(2 * time.Hour)
	for _, c := range []struct {
		from, to time.Time
		n        int
	}{{midnight.Add(-24 * time.Hour), midnight, 0}, {midnight, midnight.Add(24 * time.Hour), 2}} {
		if judged, err := r.s.Rounds(t.Context(), c.from, c.to); err != nil || len(judged) != c.n {
			t.Errorf("%v to %v: %d visits, %v: want %d", c.from, c.to, len(judged), err, c.n)
		}
	}
}

// Two patrols pass the same box: each finger counts for its own round, each
// press of the button for one, and nobody's way is lost to the other's.
func TestTwoPatrolsAtOneBox(t *testing.T) {
	plan := strings.Replace(nightPlan, `, at: ["22:00", "23:30"]`, `, at: ["22:00"]`, 1) +
		`- {id: o, name: other, who: [V-1, V-2], points: [box-01], at: ["22:00"], within: 40m}
`
	for name, c := range map[string]struct {
		who  []string
		want []string
	}{
		"both":               {[]string{"V-1", "V-2"}, []string{"30 22:00 box-01 kept V-2", "30 22:00 box-01 kept V-1"}},
		"one":                {[]string{"V-2"}, []string{"30 22:00 box-01 kept V-2", "30 22:00 box-01 missed"}},
		"one by the button":  {[]string{""}, []string{"30 22:00 box-01 kept", "30 22:00 box-01 missed"}},
		"both by the button": {[]string{"", ""}, []string{"30 22:00 box-01 kept", "30 22:00 box-01 kept"}},
	} {
		r := newRounds(t, plan)
		for n, who := range c.who {
			a := r.event("box-01", who, time.Duration(10+n)*time.Minute, 0)
			commit(t, r.s, a)
			commit(t, r.s, a) // delivered twice: it counts once
		}
		r.look(2 * time.Hour)
		r.want(name, append(c.want, "30 22:00 box-02 missed")...)
	}
}

// When a device could not be heard is counted, once for each time, also over a
// restart of the centre.
func TestOutagesAreCounted(t *testing.T) {
	file := filepath.Join(t.TempDir(), "centre.db")
	now := noon
	s := at(t, file, &now)
	commit(t, s, lane(t, "box-01", wire.Duty).next(&wire.SignRefused{Reason: "no_match"}))
	link := func(after time.Duration, to store.Link) {
		t.Helper()
		now = noon.Add(after)
		for range 2 {
			if err := s.Supervise(t.Context(), store.Supervision{Links: []store.LinkChange{{Device: "box-01", Link: to, Since: now}}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	link(6*time.Minute, store.LinkOffline)
	if err := s.Shut(); err != nil {
		t.Fatal(err)
	}
	s = at(t, file, &now)
	link(12*time.Minute, store.LinkLive)
	link(30*time.Minute, store.LinkOffline)
	out, err := s.Outages(t.Context(), noon, noon.Add(time.Hour))
	if err != nil || len(out) != 1 || len(out["box-01"].Outages) != 2 {
		t.Fatalf("%v, %v: want two of the only device that was heard", out, err)
	}
	w := out["box-01"]
	if heard, of := w.Heard(noon, noon.Add(time.Hour), noon.Add(40*time.Minute)); heard != 24*time.Minute-time.Second || of != 40*time.Minute-time.Second {
		t.Errorf("heard for %v of %v: want 24 of 40 minutes, without the second before it was first heard", heard, of)
	}
	if out, err = s.Outages(t.Context(), noon.Add(13*time.Minute), noon.Add(30*time.Minute)); err != nil || len(out["box-01"].Outages) != 0 {
		t.Errorf("between the two: %v, %v", out, err)
	}
}
