// Package stats counts how well the centre does, from the rows that the
// database holds. It is pure.
//
// # What is counted
//
// An incident counts in the period that it was received in, whatever is learned
// later of the time of its press and whenever it ends, and when somebody
// pressed a button for it; what a contact or the centre found counts nowhere.
// One alarm that was pressed again after it was closed is two incidents. An
// incident is of the real ones unless it is an exercise (pressed with the drill
// flag, or closed as a drill) or a test (closed as one): the three are never
// added up. An incident closed as duplicate counts as such and in nothing else.
//
//	acknowledge  from the press to the first acknowledgement
//	dispatch     from the press to the first unit that was sent
//	arrive       from the press to the first unit on scene, by its own word or the desk's
//
// The press is its corrected time, or the arrival where it is not known; what a
// unit said is counted from when it said so, corrected likewise. Each delay is
// over the incidents that got so far; those that did not, and are closed, are
// told beside it, and so are those that did at a time that is not known, for the
// clocks contradict each other: there is no figure for them. A percentile is the
// nearest rank: of n delays in rising order the ⌈p·n/100⌉-th, one that really
// was, never between two. Within is how many kept the target of their priority.
//
//	false-alarm rate  false_alarm and unfounded, of all real ones closed with real, false_alarm or unfounded
//	availability      the part of the period in which the centre could hear a device: of what has passed
//	                  of it, since the device was first heard; one that was never heard is not counted.
//	                  Of an area: the times of its devices added up. While the centre itself did not
//	                  run or hear, a device counts as it did before
//	rounds kept       visits kept, of those whose time ended in the period and is over; late and missed
//	                  ones are told beside them, and exercises are none
//
// An incident is of the areas that it lies in, a device of those where it was
// surveyed or, a car, was last, and a visit of those of its point. What lies in
// none of a tier's areas is counted by itself.
package stats

import (
	"math"
	"slices"
	"time"

	"github.com/fengsui/fengsui/cloud-bridge/incident"
)

// A Row is one incident.
type Row struct {
	Area         incident.Area
	Priority     int
	Drill        bool
	Code         incident.Code // "" while it is not closed
	Pressed      time.Time     // the clock began: see [incident.Incident.Began]
	Acknowledged time.Time     // zero: never
	Sent         time.Time     // the first unit; zero: none
	Arrived      time.Time     // the first on scene; zero: none, or not known when
	Unsure       bool          // one was on scene, and it is not known when
}

// RowOf returns the row of an incident, and false for one that counts nowhere.
func RowOf(i *incident.Incident) (Row, bool) {
	r := Row{Area: i.Place, Priority: i.Priority, Drill: i.Drill, Pressed: i.Began(), Sent: i.FirstSent}
	if a := i.Acknowledged; a != nil {
		r.Acknowledged = a.At
	}
	for _, p := range []*incident.Progress{i.OnScene, i.Checked} { // who has checked has been there
		if p != nil && !p.At.IsZero() && (r.Arrived.IsZero() || p.At.Before(r.Arrived)) {
			r.Arrived = p.At
		}
	}
	// Who was there first is not known where one of them is not: a figure of
	// the checking alone would be too late.
	if p := i.OnScene; p != nil && p.At.IsZero() {
		r.Arrived = time.Time{}
	}
	r.Unsure = r.Arrived.IsZero() && (i.OnScene != nil || i.Checked != nil)
	if c := i.Closed; c != nil {
		r.Code = c.Code
	}
	return r, i.Kind.Pressed()
}

// A Class is one of those that are never added up.
type Class string

// The classes.
const (
	Real  Class = "real"
	Drill Class = "drill"
	Test  Class = "test"
)

// Classes lists them.
func Classes() []Class { return []Class{Real, Drill, Test} }

// Class returns which one the row is of.
func (r *Row) Class() Class {
	switch {
	case r.Drill || r.Code == incident.Drill:
		return Drill
	case r.Code == incident.Test:
		return Test
	}
	return Real
}

// A Delay sums up one kind of delay.
type Delay struct {
	Count  int           // incidents that got so far, and it is known when
	Never  int           // closed without
	Unsure int           // got so far, and it is not known when
	P50    time.Duration // 0 when Count is 0
	P90    time.Duration
	Target time.Duration // of the most urgent priority that has one; 0: none
	Within int           // of those with a target, how many kept it
	Judged int           // how many have a target
}

// A Group sums up the incidents of one class.
type Group struct {
	Class       Class
	Count       int
	Open        int // not closed yet
	Duplicates  int
	ByCode      map[incident.Code]int
	FalseRate   float64 // 0 when FalseOf is 0
	FalseOf     int     // how many it is of
	Acknowledge Delay
	Dispatch    Delay
	Arrive      Delay
}

// Sum sums up rows by class, in the order of [Classes].
func Sum(rows []Row, p incident.Policy) []Group {
	out := make([]Group, 0, 3)
	for _, class := range Classes() {
		var own []Row
		for _, r := range rows {
			if r.Class() == class {
				own = append(own, r)
			}
		}
		out = append(out, sum(class, own, p))
	}
	return out
}

func sum(class Class, rows []Row, p incident.Policy) Group {
	g := Group{Class: class, Count: len(rows), ByCode: make(map[incident.Code]int)}
	var timed []Row
	for _, r := range rows {
		if r.Code == "" {
			g.Open++
		} else {
			g.ByCode[r.Code]++
		}
		if r.Code == incident.Duplicate {
			g.Duplicates++
			continue
		}
		timed = append(timed, r)
	}
	wrong := g.ByCode[incident.FalseAlarm] + g.ByCode[incident.Unfounded]
	if g.FalseOf = wrong + g.ByCode[incident.Real]; g.FalseOf > 0 {
		g.FalseRate = float64(wrong) / float64(g.FalseOf)
	}
	sure := func(*Row) bool { return false } // by the centre's own clock
	g.Acknowledge = delays(timed, func(r *Row) time.Time { return r.Acknowledged }, sure, func(n int) time.Duration { return p[n].Acknowledge })
	g.Dispatch = delays(timed, func(r *Row) time.Time { return r.Sent }, sure, func(n int) time.Duration { return p[n].Dispatch })
	g.Arrive = delays(timed, func(r *Row) time.Time { return r.Arrived }, func(r *Row) bool { return r.Unsure }, func(n int) time.Duration { return p[n].Arrive })
	return g
}

func delays(rows []Row, at func(*Row) time.Time, unsure func(*Row) bool, target func(priority int) time.Duration) Delay {
	var d Delay
	var all []time.Duration
	first := math.MaxInt
	for i := range rows {
		r := &rows[i]
		limit := target(r.Priority)
		if limit > 0 && r.Priority < first {
			first, d.Target = r.Priority, limit
		}
		if at(r).IsZero() {
			switch {
			case unsure(r):
				d.Unsure++
			case r.Code != "":
				d.Never++
			}
			continue
		}
		took := at(r).Sub(r.Pressed)
		if took < 0 {
			d.Unsure++
			continue
		}
		all = append(all, took)
		if limit > 0 {
			d.Judged++
			if took <= limit {
				d.Within++
			}
		}
	}
	slices.Sort(all)
	d.Count, d.P50, d.P90 = len(all), percentile(all, 50), percentile(all, 90)
	return d
}

// percentile returns the nearest rank of sorted delays.
func percentile(sorted []time.Duration, p int) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	rank := (p*len(sorted) + 99) / 100
	return sorted[max(rank, 1)-1]
}

// An Outage is when a device could not be heard. To is zero while it cannot.
type Outage struct{ From, To time.Time }

// A Watch is what is known of a device's link: since when there is anything to
// be said of it, and its outages in the order of their beginning.
type Watch struct {
	Since   time.Time
	Outages []Outage
}

// Heard returns for how long of from ≤ time < to a device could be heard, and of
// how much of it there is anything to be said: of what has passed of it, since
// the device was first heard.
func (w *Watch) Heard(from, to, now time.Time) (heard, of time.Duration) {
	from, to = latest(from, w.Since), earliest(to, now)
	if of = to.Sub(from); of <= 0 {
		return 0, 0
	}
	heard = of
	upTo := from // no moment is taken off twice
	for _, o := range w.Outages {
		begin, end := latest(upTo, o.From), to
		if !o.To.IsZero() {
			end = earliest(to, o.To)
		}
		if begin.Before(end) {
			heard -= end.Sub(begin)
			upTo = end
		}
	}
	return heard, of
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

func earliest(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
