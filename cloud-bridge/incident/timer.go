package incident

import (
	"fmt"
	"slices"
	"time"
)

// A Tier is one of the three levels that may have to act.
type Tier string

// The tiers, from below.
const (
	Village  Tier = "village"
	Township Tier = "township"
	District Tier = "district"
)

// Tiers lists them from below.
func Tiers() []Tier { return []Tier{Village, Township, District} }

// Above returns the next tier; the district has none above it.
func (t Tier) Above() Tier {
	all := Tiers()
	return all[min(slices.Index(all, t)+1, len(all)-1)]
}

// An Area is where something lies in the grid: ids of its features. All but
// the district are empty outside every cell.
type Area struct {
	Cell, Village, Township, District string
}

// Tier returns who has to act first.
func (a Area) Tier() Tier {
	switch {
	case a.Village != "":
		return Village
	case a.Township != "":
		return Township
	}
	return District
}

// Targets are how long things may take, from the press. 0 is no limit.
type Targets struct {
	Acknowledge time.Duration // until somebody has taken it
	Dispatch    time.Duration // until a unit was sent
	Arrive      time.Duration // until one is there
}

// A Policy is the targets of each priority; a priority that it does not name
// has none.
type Policy map[int]Targets

// DefaultPolicy is that of a centre that was told nothing else.
func DefaultPolicy() Policy {
	return Policy{
		1: {15 * time.Second, time.Minute, 15 * time.Minute},
		2: {15 * time.Second, time.Minute, 20 * time.Minute},
	}
}

// MaxOverruns is how often one timer overruns: at its limit, at twice and at
// three times the limit.
const MaxOverruns = 3

// Overruns are how often each timer has overrun.
type Overruns struct {
	Acknowledge int `json:"acknowledge,omitempty"`
	Dispatch    int `json:"dispatch,omitempty"`
	Arrive      int `json:"arrive,omitempty"`
}

// Began returns when the clock of the incident began: at the press, or when
// that is not known, or is later than its arrival, when it arrived.
func (i *Incident) Began() time.Time {
	if t := i.Pressed.Time; !t.IsZero() && t.Before(i.Received) {
		return t
	}
	return i.Received
}

// a timer runs in some states and overruns at each multiple of its limit.
type timer struct {
	name  string
	limit time.Duration
	from  time.Time
	count *int
	runs  bool
}

func (i *Incident) timers(p Policy) [3]timer {
	t := p[i.Priority]
	began := i.Began()
	unit := began
	if i.Since.After(unit) {
		unit = i.Since
	}
	waits := i.State == Open || i.State == Acknowledged
	return [3]timer{
		{"unacknowledged", t.Acknowledge, began, &i.Overruns.Acknowledge, i.State == Open},
		{"no unit sent", t.Dispatch, unit, &i.Overruns.Dispatch, waits},
		{"no unit on scene", t.Arrive, unit, &i.Overruns.Arrive, waits || i.State == Dispatched || i.State == EnRoute},
	}
}

// Due returns when a timer overruns next; ok is false when none does.
func (i *Incident) Due(p Policy) (next time.Time, ok bool) {
	for _, t := range i.timers(p) {
		if !t.runs || t.limit <= 0 || *t.count >= MaxOverruns {
			continue
		}
		at := t.from.Add(time.Duration(*t.count+1) * t.limit)
		if !ok || at.Before(next) {
			next, ok = at, true
		}
	}
	return next, ok
}

// Overrun counts what has overrun by now, in the order of time: each time the
// next tier has to act. It returns whether anything has.
func (i *Incident) Overrun(p Policy, now time.Time) bool {
	any := false
	for {
		next, ok := i.Due(p)
		if !ok || next.After(now) {
			return any
		}
		for _, t := range i.timers(p) {
			if !t.runs || t.limit <= 0 || *t.count >= MaxOverruns || !t.from.Add(time.Duration(*t.count+1)*t.limit).Equal(next) {
				continue
			}
			*t.count++
			any = true
			if i.Tier == "" {
				i.Tier = i.Place.Tier()
			}
			i.Tier = i.Tier.Above()
			i.Timeline = append(i.Timeline, Entry{
				At: now, What: WhatEscalated, By: centre, Screen: ScreenCentre,
				Detail: fmt.Sprintf("%s after %s: %s", t.name, time.Duration(*t.count)*t.limit, i.Tier),
			})
		}
	}
}

// MaxLevel is the loudest.
const MaxLevel = 9

// Level is how loudly the incident rings: 0 at first, and one more with each
// overrun of a timer that still runs. A unit that needs help rings loudest.
func (i *Incident) Level() int {
	if i.Help != nil {
		return MaxLevel
	}
	n := 0
	for _, t := range i.timers(nil) {
		if t.runs {
			n += *t.count
		}
	}
	return min(n, MaxLevel)
}
