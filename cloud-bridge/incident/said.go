package incident

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/fengsui/fengsui/firmware/wire"
)

// A Said is one thing that a unit's people said, or that the desk heard of it
// by radio. Everything that depends on when it was said follows from the list
// of them, so that it can be dated anew when more is known of a device's clock:
// see [Incident.Redate].
type Said struct {
	Ref      int64         `json:"ref,omitempty"` // names it; 0: it is never dated anew
	Answer   wire.Answer   `json:"answer"`
	By       string        `json:"by"`
	Stream   int64         `json:"stream,omitempty"` // with Boot and Mono: where it stands among what the device has said
	Boot     uint64        `json:"boot,omitempty"`   // 0: not known
	Mono     time.Duration `json:"mono,omitempty"`   // since that boot began
	Desk     bool          `json:"desk,omitempty"`   // the desk's word
	Given    time.Time     `json:"given,omitzero"`   // by the clocks; zero: no clock tells
	Within   time.Duration `json:"within,omitempty"` // Given is within ± this
	Received time.Time     `json:"received"`
	At       time.Time     `json:"at,omitzero"`    // when it was said; zero: what the clocks tell cannot be
	Met      bool          `json:"met,omitempty"`  // another unit was sent since it asked for help
	Ends     bool          `json:"ends,omitempty"` // it closed the incident
	Past     bool          `json:"past,omitempty"` // the unit was taken back since, and sent again: it counts no more
}

const (
	// skew is by how much two clocks that are both right may differ.
	skew = time.Second
	// sure is up to which uncertainty what the clocks tell is moved to the
	// nearest moment that can be. Beyond, it is the middle of those.
	sure = 5 * time.Second
)

// Dated returns when something was said of which the clocks tell given ± within
// and which cannot have been before the one time nor after the other: what they
// tell or, where that cannot be, the best that can. ok is false when nothing can.
// The zero time of given means that no clock tells: then latest is all that is
// known.
func Dated(given time.Time, within time.Duration, earliest, latest time.Time) (at time.Time, ok bool) {
	if latest.Before(earliest) {
		earliest = latest
	}
	if given.IsZero() {
		return latest, true
	}
	lo, hi := later(given.Add(-within-skew), earliest), sooner(given.Add(within+skew), latest)
	switch {
	case hi.Before(lo):
		return time.Time{}, false
	case !given.Before(earliest) && !given.After(latest):
		return given, true
	case within >= sure:
		return lo.Add(hi.Sub(lo) / 2).Truncate(time.Millisecond), true
	case given.Before(earliest):
		return earliest, true
	}
	return latest, true
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

func sooner(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// when is At or, where that is not known, the latest that it can have been.
func (s *Said) when() time.Time {
	if s.At.IsZero() {
		return s.Received
	}
	return s.At
}

// follows reports whether a thing was said after another one of the same unit: by
// its device's own time since its start where that tells, else by time of day.
func (s *Said) follows(o *Said) bool {
	if s.Boot != 0 && o.Boot != 0 {
		return s.order(o) > 0
	}
	return s.when().After(o.when())
}

func (s *Said) order(o *Said) int {
	return cmp.Or(cmp.Compare(s.Stream, o.Stream), cmp.Compare(s.Boot, o.Boot), cmp.Compare(s.Mono, o.Mono))
}

// goes reports whether it says that the unit takes the incident.
func (s *Said) goes() bool {
	switch s.Answer {
	case wire.AnswerAccepted, wire.AnswerEnRoute, wire.AnswerOnScene, wire.AnswerChecked:
		return true
	}
	return false
}

// say adds what was said and draws the consequences. It returns what it has
// become, with its time.
func (i *Incident) say(u *Unit, s Said) *Said {
	at := len(u.Said)
	for ; at > 0 && s.before(&u.Said[at-1]); at-- { // the same list in whichever order they come
	}
	u.Said = slices.Insert(u.Said, at, s)
	i.derive(&u.Said[at])
	return &u.Said[at]
}

func (s *Said) before(o *Said) bool {
	return cmp.Or(s.order(o), s.Given.Compare(o.Given), cmp.Compare(s.Answer, o.Answer)) < 0
}

// Redate says that more is known of when r.Ref was said: the clocks tell r.Told
// now. r says what it was and when it was taken to have been. What moves by that
// is in Redatings then, and the incident's times and state are those that follow.
func (i *Incident) Redate(r Redating, received, at time.Time) {
	for n := range i.Units {
		for k := range i.Units[n].Said {
			if s := &i.Units[n].Said[k]; s.Ref == r.Ref && r.Ref != 0 {
				s.Given, s.Within = r.Told, r.Within
				i.derive(nil)
				i.follow(at)
				return
			}
		}
	}
	if r.At, _ = Dated(r.Told, r.Within, i.Received, received); !r.At.Equal(r.Was) {
		i.Redatings = append(i.Redatings, r)
	}
}

// Heard returns when something was said at a device, of which the clocks tell
// r.Told, that has no effect on the incident but a line of its timeline. It
// cannot have been before the incident was there, nor after it came.
func (i *Incident) Heard(r Redating, received time.Time) time.Time {
	if r.At, _ = Dated(r.Told, r.Within, i.Received, received); r.At.IsZero() {
		i.Redatings = append(i.Redatings, r)
	}
	return r.At
}

// derive works out all that depends on when units said what. fresh is what has
// just been added, or nil: that is not dated anew.
func (i *Incident) derive(fresh *Said) {
	for n := range i.Units {
		i.date(&i.Units[n], fresh)
		i.Units[n].derive()
	}
	if _, ends := i.ends(); ends != nil && i.Closed != nil {
		i.Closed.At = ends.when()
	}
	i.EnRoute = i.first(wire.AnswerEnRoute)
	i.OnScene = i.first(wire.AnswerOnScene)
	i.Checked = i.first(wire.AnswerChecked)
	i.Help = nil
	for n := range i.Units {
		for _, s := range i.Units[n].Said {
			if i.Closed == nil && s.Answer == wire.AnswerNeedHelp && !s.Met && !s.Past && (i.Help == nil || s.when().After(i.Help.At)) {
				i.Help = &Help{i.Units[n].Name, s.By, s.when()}
			}
		}
	}
}

// date works out when each thing was said by a unit: not before it was sent,
// and not after it came nor after what its device said later.
func (i *Incident) date(u *Unit, fresh *Said) {
	order := make([]*Said, 0, len(u.Said))
	for k := range u.Said {
		order = append(order, &u.Said[k])
	}
	slices.SortStableFunc(order, func(a, b *Said) int { return b.order(a) })
	var next time.Time // the soonest of what was said later
	for _, s := range order {
		if s.Desk {
			s.At = s.Given
			continue
		}
		latest := s.Received
		if s.Boot != 0 && !next.IsZero() {
			latest = sooner(latest, next)
		}
		was, earliest := s.At, u.At
		if s.Past = !s.Ends && i.past(u, s); s.Past {
			earliest = i.Received
		}
		s.At, _ = Dated(s.Given, s.Within, earliest, latest)
		if s.Boot != 0 && !s.At.IsZero() {
			next = s.At
		}
		if s != fresh && !s.At.Equal(was) || s == fresh && s.At.IsZero() {
			i.Redatings = append(i.Redatings, Redating{
				Ref: s.Ref, What: s.Answer.String(), By: s.By, Was: was, At: s.At, Told: s.Given, Within: s.Within,
			})
		}
	}
}

// past reports whether something was said before its unit was sent, and when the
// same unit had been sent before: not of the one sending, but of the other.
func (i *Incident) past(u *Unit, s *Said) bool {
	if _, ok := Dated(s.Given, s.Within, u.At, s.Received); ok {
		return false
	}
	for n := range i.Units {
		o := &i.Units[n]
		if _, ok := Dated(s.Given, s.Within, o.At, s.Received); ok && o.Device == u.Device && o.At.Before(u.At) {
			return true
		}
	}
	return false
}

// derive works out how far the unit has got.
func (u *Unit) derive() {
	u.Reached = UnitSent
	var no *Said // its last refusal
	for k := range u.Said {
		s := &u.Said[k]
		if s.Past {
			continue
		}
		if to := UnitState(s.Answer.String()); to.rank() > u.Reached.rank() {
			u.Reached = to
		}
		if s.Answer == wire.AnswerRefused && (no == nil || s.follows(no)) {
			no = s
		}
	}
	u.Declined = no != nil && !slices.ContainsFunc(u.Said, func(s Said) bool { return !s.Past && s.goes() && s.follows(no) })
}

// first returns who was the first to take a step, of those who took it before
// the incident was closed. One whose time is not known counts where there is no
// other.
func (i *Incident) first(step wire.Answer) *Progress {
	var best *Progress
	for n := range i.Units {
		for k := range i.Units[n].Said {
			s := &i.Units[n].Said[k]
			if s.Answer != step || s.Past || i.Closed != nil && i.afterClosing(&i.Units[n], s) {
				continue
			}
			p := &Progress{Unit: i.Units[n].Name, By: s.By, At: s.At, Received: s.Received}
			if best == nil || p.sooner(best) {
				best = p
			}
		}
	}
	return best
}

// ends returns what closed the incident, and whose word that was; nil when it
// was not a unit's.
func (i *Incident) ends() (*Unit, *Said) {
	for n := range i.Units {
		for k := range i.Units[n].Said {
			if s := &i.Units[n].Said[k]; s.Ends {
				return &i.Units[n], s
			}
		}
	}
	return nil, nil
}

// afterClosing reports whether a unit said something after the incident was
// closed. Where it is not known when it was said, its arrival counts, or the
// device's own time if the same one closed the incident.
func (i *Incident) afterClosing(u *Unit, s *Said) bool {
	if by, ends := i.ends(); s.At.IsZero() && ends != nil {
		return u == by && s.follows(ends) || u != by && s.Received.After(ends.Received)
	}
	return s.when().After(i.Closed.At)
}

func (p *Progress) sooner(q *Progress) bool {
	if p.At.IsZero() != q.At.IsZero() {
		return q.At.IsZero()
	}
	return cmp.Or(p.At.Compare(q.At), p.Received.Compare(q.Received), cmp.Compare(p.By, q.By)) < 0
}

// A Redating says that something was not said when it was taken to have been.
type Redating struct {
	Ref    int64
	What   string // the name of the answer, or of an entry of the timeline
	By     string
	Was    time.Time // zero: not known
	At     time.Time // zero: not known, for what the clocks tell cannot be
	Told   time.Time // what they tell
	Within time.Duration
}

// Entry is what the record says of it. Worth reports whether the timeline is to
// say so, too: whether anybody could see the difference.
func (r *Redating) Entry(at time.Time) (e Entry, worth bool) {
	e = Entry{At: at, What: WhatRedated, By: centre, Screen: ScreenCentre}
	who := fmt.Sprintf("%s of %s: ", r.What, r.By)
	told := stamp(r.Told)
	if r.Within >= time.Millisecond {
		told += " ± " + r.Within.Round(time.Millisecond).String()
	}
	was := "not known before"
	if !r.Was.IsZero() {
		was = "before: " + stamp(r.Was)
	}
	switch {
	case r.At.IsZero():
		e.What, e.Detail = WhatDoubted, who+"its device says "+told+", which cannot be"
		return e, true
	case r.At.Equal(r.Told):
		e.Detail = who + told + ", " + was
	default:
		e.Detail = who + stamp(r.At) + ", " + was
	}
	return e, r.Was.IsZero() || r.At.Sub(r.Was).Abs() >= time.Second
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }
