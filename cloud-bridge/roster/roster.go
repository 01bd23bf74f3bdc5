// Package roster is the plan of who is on duty and of the guard rounds, and
// judges what was done against it.
//
// The plan is a YAML (or JSON) file that a person writes; times of day are in
// its own zone, and a shift or round that ends before it begins ends on the
// next day. It names officers and village patrols who have agreed to it, never
// residents. The package is pure.
package roster

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // a centre may run where the system has none

	"github.com/fengsui/fengsui/boards/strictyaml"
)

// ErrRoster means that a file is no roster; the error names each field, its
// value and what would be right.
var ErrRoster = errors.New("bad roster")

// A Roster is the plan.
type Roster struct {
	Zone   string   `yaml:"zone" required:"true"` // of all times of day: "Asia/Shanghai"
	People []Person `yaml:"people" required:"true"`
	Shifts []Shift  `yaml:"shifts"`
	Rounds []Round  `yaml:"rounds"`

	zone *time.Location
}

// A Person is an officer or somebody of a village patrol.
type Person struct {
	ID   string `yaml:"id" required:"true" max:"64" want:"an id of 1 to 64 bytes, as the readers know it"`
	Name string `yaml:"name" required:"true" max:"64" want:"a name of 1 to 64 bytes"`
	Kind string `yaml:"kind" required:"true" oneof:"officer|patrol"`
}

// A Shift is when somebody is on duty.
type Shift struct {
	Who  string   `yaml:"who" required:"true"`
	Unit string   `yaml:"unit" max:"64" want:"a unit's name of at most 64 bytes"`
	Area string   `yaml:"area" max:"64" want:"an id of the grid of at most 64 bytes"`
	Days []string `yaml:"days"` // "mon" to "sun"; empty: each day
	From string   `yaml:"from" required:"true"`
	To   string   `yaml:"to" required:"true"`
}

// A Round is a guard round: points that are to be passed within a time.
type Round struct {
	ID     string   `yaml:"id" required:"true" max:"64" want:"an id of 1 to 64 bytes"`
	Name   string   `yaml:"name" required:"true" max:"64" want:"a name of 1 to 64 bytes"`
	Who    []string `yaml:"who" required:"true"`    // any of these people
	Points []string `yaml:"points" required:"true"` // devices
	Days   []string `yaml:"days"`
	At     []string `yaml:"at" required:"true"` // when it begins
	Within string   `yaml:"within" required:"true"`

	within time.Duration
}

var days = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

// Validate checks what concerns several fields.
func (r *Roster) Validate(rep *strictyaml.Report) {
	var err error
	if r.zone, err = time.LoadLocation(r.Zone); err != nil || r.Zone == "" || r.Zone == "Local" {
		rep.Add("zone", r.Zone, "a time zone such as Asia/Shanghai")
		r.zone = time.UTC
	}
	known := make(map[string]bool)
	for i, p := range r.People {
		if known[p.ID] {
			rep.Add("people."+strconv.Itoa(i)+".id", p.ID, "each person once")
		}
		known[p.ID] = true
	}
	person := func(at, id string) {
		if !known[id] {
			rep.Add(at, id, "the id of one of the people")
		}
	}
	day := func(at string, list []string) {
		for _, d := range list {
			if !slices.Contains(days, d) {
				rep.Add(at, d, "sun, mon, tue, wed, thu, fri or sat")
			}
		}
	}
	clock := func(at, s string) {
		if _, err := minutes(s); err != nil {
			rep.Add(at, s, "a time of day such as 20:30")
		}
	}
	for i, s := range r.Shifts {
		at := "shifts." + strconv.Itoa(i)
		person(at+".who", s.Who)
		day(at+".days", s.Days)
		clock(at+".from", s.From)
		clock(at+".to", s.To)
	}
	rounds := make(map[string]bool)
	for i := range r.Rounds {
		n := &r.Rounds[i]
		at := "rounds." + strconv.Itoa(i)
		if rounds[n.ID] {
			rep.Add(at+".id", n.ID, "each round once")
		}
		rounds[n.ID] = true
		for _, w := range n.Who {
			person(at+".who", w)
		}
		if len(n.Points) == 0 || len(n.At) == 0 || len(n.Who) == 0 {
			rep.Add(at, n.ID, "at least one of who, points and at")
		}
		day(at+".days", n.Days)
		for _, s := range n.At {
			clock(at+".at", s)
		}
		if n.within, err = time.ParseDuration(n.Within); err != nil || n.within < time.Minute || n.within > 12*time.Hour {
			rep.Add(at+".within", n.Within, "a duration from 1m to 12h")
		}
	}
}

// minutes reads a time of day.
func minutes(s string) (int, error) {
	t, err := time.Parse("15:04", s)
	return t.Hour()*60 + t.Minute(), err
}

// Parse reads and checks a roster. The error wraps [ErrRoster].
func Parse(b []byte) (*Roster, error) {
	r := new(Roster)
	if err := strictyaml.Decode("roster", b, r); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRoster, err)
	}
	return r, nil
}

// Person returns the person of that id, or nil.
func (r *Roster) Person(id string) *Person {
	for i := range r.People {
		if r.People[i].ID == id {
			return &r.People[i]
		}
	}
	return nil
}

// each calls f with the beginning of each day, in the roster's zone, that may
// touch from ≤ time < to.
func (r *Roster) each(from, to time.Time, list []string, f func(midnight time.Time)) {
	y, m, d := from.In(r.zone).Date()
	for n := -1; ; n++ {
		at := time.Date(y, m, d+n, 0, 0, 0, 0, r.zone)
		if !at.Before(to) {
			return
		}
		if len(list) == 0 || slices.Contains(list, days[at.Weekday()]) {
			f(at)
		}
	}
}

// on returns a time of day of a day, by the clock on the wall.
func on(midnight time.Time, clock string) time.Time {
	n, _ := minutes(clock) // checked
	y, m, d := midnight.Date()
	return time.Date(y, m, d, n/60, n%60, 0, 0, midnight.Location())
}

// A Duty is one shift of one day.
type Duty struct {
	Who, Unit, Area string
	From, To        time.Time
}

// Duties returns the shifts that touch from ≤ time < to, by their beginning.
func (r *Roster) Duties(from, to time.Time) []Duty {
	var out []Duty
	for _, s := range r.Shifts {
		r.each(from, to, s.Days, func(midnight time.Time) {
			d := Duty{s.Who, s.Unit, s.Area, on(midnight, s.From), on(midnight, s.To)}
			if !d.To.After(d.From) {
				d.To = on(midnight.AddDate(0, 0, 1), s.To)
			}
			if d.From.Before(to) && d.To.After(from) {
				out = append(out, d)
			}
		})
	}
	slices.SortStableFunc(out, func(a, b Duty) int { return cmp.Or(a.From.Compare(b.From), strings.Compare(a.Who, b.Who)) })
	return out
}

// A Visit is a point of a round that is to be passed.
type Visit struct {
	Round, Name string
	Who         []string
	Point       string
	Due, Until  time.Time
}

// Visits returns those that are to be made before a time of from ≤ time < to.
func (r *Roster) Visits(from, to time.Time) []Visit {
	var out []Visit
	for _, n := range r.Rounds {
		for _, at := range n.At {
			r.each(from, to, n.Days, func(midnight time.Time) {
				due := on(midnight, at)
				until := due.Add(n.within)
				if until.Before(from) || !until.Before(to) {
					return
				}
				for _, p := range n.Points {
					out = append(out, Visit{n.ID, n.Name, n.Who, p, due, until})
				}
			})
		}
	}
	slices.SortStableFunc(out, func(a, b Visit) int {
		return cmp.Or(a.Until.Compare(b.Until), strings.Compare(a.Round, b.Round), strings.Compare(a.Point, b.Point))
	})
	return out
}

// A CheckIn is that somebody came by a point.
type CheckIn struct {
	Point   string
	At      time.Time
	Officer string // whose finger; "": a button or a key switch
}

// What became of a visit.
const (
	Kept   = "kept"   // in time
	Late   = "late"   // after its time, by no more than that time again
	Missed = "missed" // not at all
	Due    = "due"    // there is time left
)

// A Judgement is what became of a visit.
type Judgement struct {
	Visit
	State string
	At    time.Time // of the check-in
	By    string    // the officer, or "" for a button
}

// Judge matches check-ins with visits. Each check-in counts for one visit, in
// time rather than late, so that as many visits as can be are made and the
// earliest of those. A finger counts when it is of one of the round's people; a
// button counts as theirs. Both ends of a visit's time are within it.
func Judge(visits []Visit, checkIns []CheckIn, now time.Time) []Judgement {
	out := make([]Judgement, len(visits))
	at := make(map[string][]int) // by point, in the order of time
	for i := range checkIns {
		at[checkIns[i].Point] = append(at[checkIns[i].Point], i)
	}
	for _, list := range at {
		slices.SortStableFunc(list, func(a, b int) int { return checkIns[a].At.Compare(checkIns[b].At) })
	}
	for n := range visits {
		out[n] = Judgement{Visit: visits[n], State: Missed}
		if !now.After(visits[n].Until) {
			out[n].State = Due
		}
	}
	settled := make([]bool, len(checkIns))
	for _, pass := range []string{Kept, Late} {
		m := matching{of: make(map[int]int), fits: func(n int) []int {
			v := &visits[n]
			from, to := v.Due, v.Until
			if pass == Late {
				from, to = v.Until, v.Until.Add(v.Until.Sub(v.Due))
			}
			list := at[v.Point]
			begin, _ := slices.BinarySearchFunc(list, from, func(i int, t time.Time) int { return checkIns[i].At.Compare(t) })
			var out []int
			for _, i := range list[begin:] {
				c := &checkIns[i]
				if c.At.After(to) {
					break
				}
				if !settled[i] && (c.Officer == "" || slices.Contains(v.Who, c.Officer)) {
					out = append(out, i)
				}
			}
			return out
		}}
		for n := range visits {
			if out[n].State != Kept {
				m.add(n, make(map[int]bool))
			}
		}
		for i, n := range m.of {
			settled[i] = true
			out[n].State, out[n].At, out[n].By = pass, checkIns[i].At, checkIns[i].Officer
		}
	}
	return out
}

// matching gives each visit one check-in that fits it: a greatest matching, by
// augmenting paths, in which a visit that has one keeps one.
type matching struct {
	of   map[int]int           // visit by check-in
	fits func(visit int) []int // check-ins, the earliest first
}

// add finds a check-in for a visit; others may get another one for that.
func (m *matching) add(visit int, tried map[int]bool) bool {
	fit := m.fits(visit)
	for _, i := range fit {
		if _, taken := m.of[i]; !taken {
			m.of[i] = visit
			return true
		}
	}
	for _, i := range fit {
		if tried[i] {
			continue
		}
		tried[i] = true
		if m.add(m.of[i], tried) {
			m.of[i] = visit
			return true
		}
	}
	return false
}
