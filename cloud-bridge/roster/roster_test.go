package roster_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/fengsui/fengsui/cloud-bridge/roster"
)

const plan = `
zone: Asia/Shanghai
people:
  - {id: P-1001, name: 王警官, kind: officer}
  - {id: V-1, name: 护村队, kind: patrol}
shifts:
  - {who: P-1001, unit: car-01, area: t-north, from: "20:00", to: "08:00"}
rounds:
  - {id: night, name: 夜巡, who: [V-1], points: [box-01, box-02], days: [mon], at: ["22:00", "23:30"], within: 45m}
`

func parsed(t *testing.T) *roster.Roster {
	t.Helper()
	r, err := roster.Parse([]byte(plan))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// monday is 22:00 in the roster's zone.
var monday = time.Date(2026, 11, 23, 14, 0, 0, 0, time.UTC)

func TestPlan(t *testing.T) {
	r := parsed(t)
	d := r.Duties(monday, monday.Add(time.Hour))
	if len(d) != 1 || d[0].Who != "P-1001" || !d[0].From.Equal(monday.Add(-2*time.Hour)) || !d[0].To.Equal(monday.Add(10*time.Hour)) {
		t.Errorf("on duty at night: %+v", d)
	}
	if d := r.Duties(monday.Add(-4*time.Hour), monday.Add(-3*time.Hour)); len(d) != 0 {
		t.Errorf("on duty at 18:00: %+v", d)
	}
	v := r.Visits(monday.Add(-24*time.Hour), monday.Add(48*time.Hour))
	if len(v) != 4 || !v[0].Due.Equal(monday) || v[0].Point != "box-01" || !v[3].Until.Equal(monday.Add(135*time.Minute)) {
		t.Errorf("visits %+v: want two points twice, on Monday only", v)
	}
}

func TestJudge(t *testing.T) {
	v := parsed(t).Visits(monday, monday.Add(24*time.Hour))
	at := func(d time.Duration, point, officer string) roster.CheckIn {
		return roster.CheckIn{Point: point, At: monday.Add(d), Officer: officer}
	}
	now := monday.Add(100 * time.Minute) // 23:40: the second round is under way
	got := roster.Judge(v, []roster.CheckIn{
		at(10*time.Minute, "box-01", "V-1"),  // kept
		at(11*time.Minute, "box-01", "V-1"),  // once more: of no use to another visit
		at(60*time.Minute, "box-02", ""),     // late, by a button
		at(95*time.Minute, "box-01", "P-99"), // a stranger to the round
	}, now)
	var states []string
	for _, j := range got {
		states = append(states, j.Point+" "+j.State)
	}
	if s := strings.Join(states, ", "); s != "box-01 kept, box-02 late, box-01 due, box-02 due" {
		t.Error(s)
	}
	got = roster.Judge(v, nil, monday.Add(24*time.Hour))
	for _, j := range got {
		if j.State != roster.Missed {
			t.Errorf("%+v: want missed", j)
		}
	}
	// What is late for one round is in time for the next.
	got = roster.Judge(v, []roster.CheckIn{at(90*time.Minute, "box-01", "")}, monday.Add(24*time.Hour))
	if got[0].State != roster.Missed || got[2].State != roster.Kept {
		t.Errorf("%+v", got)
	}
}

func TestParseNamesEachMistake(t *testing.T) {
	for change, want := range map[string][2]string{
		"zone":   {"Asia/Shanghai", "Mars/Olympus"},
		"who":    {"who: [V-1]", "who: [V-9]"},
		"days":   {"days: [mon]", "days: [monday]"},
		"at":     {`"22:00"`, `"25:00"`},
		"within": {"45m", "45"},
		"kind":   {"kind: patrol", "kind: king"},
		"from":   {`from: "20:00"`, `from: "8 pm"`},
		"colour": {"zone:", "colour: red\nzone:"},
	} {
		_, err := roster.Parse([]byte(strings.Replace(plan, want[0], want[1], 1)))
		if !errors.Is(err, roster.ErrRoster) || !strings.Contains(err.Error(), change) {
			t.Errorf("%s: %v", change, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(plan))
	f.Add([]byte(`{"zone":"UTC","people":[]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := roster.Parse(b)
		if (r == nil) != (err != nil) {
			t.Fatal(r, err)
		}
		if r != nil {
			roster.Judge(r.Visits(monday, monday.Add(48*time.Hour)), nil, monday)
			r.Duties(monday, monday.Add(48*time.Hour))
		}
	})
}
