// Package lampwatch reads a box's lamps as a villager does: it is fed the edges
// of the lamps' lines and says which pattern they show, and since when.
//
// It knows the patterns as they are promised to the villager, not the code that
// makes them. It looks at edges and their times only, so what it says of a time
// may become certain later: a blink looks steady for its first half second.
// What is not certain yet is reported as such.
package lampwatch

import (
	"slices"
	"time"
)

// Shows is what the lamps tell.
type Shows string

// What the lamps can tell.
const (
	Idle         Shows = "idle"         // dark
	Stored       Shows = "stored"       // red: stored on the box
	CentreHas    Shows = "centre_has"   // red, amber blinking: the centre has it
	Acknowledged Shows = "acknowledged" // red, amber: a person has taken it
	UnitComing   Shows = "unit_coming"  // red, amber, green: a named unit is coming
	Fault        Shows = "fault"        // amber flashes three times: a fault, and no alarm
	DrillMode    Shows = "drill_mode"   // green flashes twice: whoever presses now takes part in an exercise
	VisitStored  Shows = "visit_stored" // green blinking: a guard round's visit is stored on the box
	VisitHeld    Shows = "visit_held"   // green: the centre has it
	Unknown      Shows = "unknown"      // none of the promised patterns
)

// A Style is how a pattern is shown.
type Style string

// The styles.
const (
	Plain  Style = "plain"
	Silent Style = "silent" // short flashes every 4 s
	Drill  Style = "drill"  // winks off for 100 ms every 2 s
)

// The lamps, as bits.
const (
	Red uint8 = 1 << iota
	Amber
	Green
)

// Bit returns a lamp's bit, 0 for an unknown name.
func Bit(lamp string) uint8 {
	switch lamp {
	case "red":
		return Red
	case "amber":
		return Amber
	case "green":
		return Green
	}
	return 0
}

// A phase lights some lamps for a while; 0 is for ever.
type phase struct {
	lit   uint8
	lasts time.Duration
}

type pattern struct {
	shows  Shows
	style  Style
	phases []phase
}

const (
	flash  = 60 * time.Millisecond
	blink  = 500 * time.Millisecond
	period = 4 * time.Second
	wink   = 100 * time.Millisecond
)

// patterns returns all that is promised.
func patterns() []pattern {
	const r, ra, rag = Red, Red | Amber, Red | Amber | Green
	p := []pattern{
		{Idle, Plain, []phase{{0, 0}}},
		{CentreHas, Plain, []phase{{ra, blink}, {r, blink}}},
		{CentreHas, Silent, []phase{{ra, flash}, {0, period - flash}, {r, flash}, {0, period - flash}}},
		{CentreHas, Drill, []phase{{ra, blink}, {r, blink}, {ra, blink}, {r, blink - wink}, {0, wink}}},
		{Fault, Plain, []phase{
			{Amber, 80 * time.Millisecond},
			{0, 160 * time.Millisecond},
			{Amber, 80 * time.Millisecond},
			{0, 160 * time.Millisecond},
			{Amber, 80 * time.Millisecond},
			{0, period - 560*time.Millisecond},
		}},
		{VisitStored, Plain, []phase{{Green, blink}, {0, blink}}},
		{VisitHeld, Plain, []phase{{Green, 0}}},
		{DrillMode, Plain, []phase{{Green, 80 * time.Millisecond}, {0, 160 * time.Millisecond}, {Green, 80 * time.Millisecond}, {0, period - 320*time.Millisecond}}},
	}
	for _, s := range []struct {
		shows Shows
		lit   uint8
	}{{Stored, r}, {Acknowledged, ra}, {UnitComing, rag}} {
		p = append(p,
			pattern{s.shows, Plain, []phase{{s.lit, 0}}},
			pattern{s.shows, Silent, []phase{{s.lit, flash}, {0, period - flash}}},
			pattern{s.shows, Drill, []phase{{s.lit, 2*time.Second - wink}, {0, wink}}},
		)
	}
	return p
}

// The tolerances. A lamp's timer is late on a busy machine, hardly early.
const (
	early = 25 * time.Millisecond
	late  = 250 * time.Millisecond
	// between bounds how long the lamps may show a mixture of two phases: they
	// are switched one after the other.
	between = 30 * time.Millisecond
)

// overdue is how much longer than lasts a phase may take. A short phase may
// not be stretched to a multiple: a gap is no flash that failed to end.
func overdue(lasts time.Duration) time.Duration { return min(late, max(between, lasts)) }

// A candidate is a pattern that explains all edges since a time.
type candidate struct {
	*pattern
	since time.Duration // the edge that began its first phase
	at    int           // the phase that shows
	from  time.Duration // since when
	mixed time.Duration // since when a mixture shows; 0: none
}

// phase returns the phase that shows.
func (c *candidate) phase() phase { return c.phases[c.at] }

// possible reports whether the candidate still holds at a time without an edge.
func (c *candidate) possible(now time.Duration) bool {
	if c.mixed != 0 && now-c.mixed > between {
		return false
	}
	p := c.phase()
	return p.lasts == 0 || now-c.from <= p.lasts+overdue(p.lasts)
}

// edge takes a change of the lamps; false: the pattern is refuted.
func (c *candidate) edge(lit uint8, at time.Duration) bool {
	if !c.possible(at) {
		return false
	}
	p := c.phase()
	if lit == p.lit { // only after a mixture: a glitch of the lamps
		c.mixed = 0
		return true
	}
	if p.lasts == 0 {
		return false
	}
	begun := at
	if c.mixed != 0 {
		begun = c.mixed
	}
	if begun-c.from < p.lasts-early {
		return false
	}
	next := c.phases[(c.at+1)%len(c.phases)]
	switch {
	case lit == next.lit:
		c.at, c.from, c.mixed = (c.at+1)%len(c.phases), begun, 0
		return true
	case (lit^p.lit)&^(p.lit^next.lit) == 0: // only lamps that change between the phases have changed
		if c.mixed == 0 {
			c.mixed = at
		}
		return true
	}
	return false
}

// A View is what the lamps tell at a time.
type View struct {
	// Shows lists what they may tell, as far as the edges say; one member means
	// that it is certain.
	Shows []Shows
	// Styles lists the styles that they may be shown in.
	Styles []Style
	Since  time.Duration // the edge that began it
	Lit    uint8         // the lamps that are lit now
}

// Certain returns the one thing that the lamps tell, or Unknown.
func (v View) Certain() Shows {
	if len(v.Shows) == 1 {
		return v.Shows[0]
	}
	return Unknown
}

// The ways in which a single lamp burns.
const (
	Off      = "off"
	Steady   = "steady"
	Blinking = "blinking" // slowly: 500 ms on, 500 ms off
	Flashing = "flashing" // shortly, every few seconds
	Winking  = "winking"  // on, but for a moment every 2 s
	Changing = "changing" // not certain yet, or none of these
)

// Style returns the plainest style that the lamps may be showing: a drill's
// wink and a silent alarm's flash are seen within 2 s.
func (v View) Style() Style {
	for _, s := range []Style{Plain, Drill} {
		if slices.Contains(v.Styles, s) {
			return s
		}
	}
	return Silent
}

// Lamp returns how one lamp burns, given by its bit, in the plainest style.
func (v View) Lamp(bit uint8) string {
	how := ""
	for _, p := range patterns() {
		if !slices.Contains(v.Shows, p.shows) || p.style != v.Style() {
			continue
		}
		if h := p.lamp(bit); how == "" {
			how = h
		} else if how != h {
			return Changing
		}
	}
	if how == "" {
		return Changing
	}
	return how
}

func (p pattern) lamp(bit uint8) string {
	on, off := 0, 0
	for _, ph := range p.phases {
		if ph.lit&bit != 0 {
			on++
		} else {
			off++
		}
	}
	switch {
	case on == 0:
		return Off
	case off == 0:
		return Steady
	case p.style == Silent || p.shows == Fault || p.shows == DrillMode:
		return Flashing
	case p.style == Drill && (p.shows != CentreHas || bit == Red):
		return Winking
	}
	return Blinking
}

// A Span is a view that is over, or the present one, whose Until is 0.
type Span struct {
	View
	Until time.Duration
}

// maxSpans bounds the history that a Watcher keeps.
const maxSpans = 4096

// A Watcher follows the lamps of one box. It is not safe for concurrent use.
type Watcher struct {
	patterns []*pattern // those that the box may show
	lit      uint8
	cands    []candidate
	spans    []Span
	last     View
	began    time.Duration // of the lit set that shows
}

// New returns a watcher of lamps that are dark since a time. styles are those
// that the box may show beside the plain one: a box without a silent button
// shows no silent alarm.
func New(at time.Duration, styles ...Style) *Watcher {
	w := new(Watcher)
	w.Allow(append(styles, Plain)...)
	w.spawn(at)
	w.began = at
	w.last = w.view()
	return w
}

// Allow adds styles that the box may show from the next edge on.
func (w *Watcher) Allow(styles ...Style) {
	for _, p := range patterns() {
		known := slices.ContainsFunc(w.patterns, func(q *pattern) bool { return q.style == p.style && q.shows == p.shows })
		if slices.Contains(styles, p.style) && !known {
			w.patterns = append(w.patterns, &p)
		}
	}
}

// spawn adds a candidate for every pattern that may begin with what is lit.
func (w *Watcher) spawn(at time.Duration) {
	for _, p := range w.patterns {
		known := slices.ContainsFunc(w.cands, func(c candidate) bool { return c.pattern == p && c.at == 0 && c.from == at })
		if p.phases[0].lit == w.lit && !known {
			w.cands = append(w.cands, candidate{pattern: p, since: at, from: at})
		}
	}
}

// Edge takes the lamps' new state at a time that never goes back.
func (w *Watcher) Edge(lit uint8, at time.Duration) {
	w.settle(at)
	if lit == w.lit {
		return
	}
	w.lit, w.began = lit, at
	kept := w.cands[:0]
	for _, c := range w.cands {
		if c.edge(lit, at) {
			kept = append(kept, c)
		}
	}
	w.cands = kept
	w.spawn(at)
	w.note(at)
}

// settle drops the candidates that the time without an edge refutes.
func (w *Watcher) settle(now time.Duration) {
	n := len(w.cands)
	w.cands = slices.DeleteFunc(w.cands, func(c candidate) bool { return !c.possible(now) })
	if len(w.cands) != n {
		w.note(now)
	}
}

// view returns what the candidates with the oldest beginning say: the longest
// explanation wins.
func (w *Watcher) view() View {
	v := View{Since: w.began, Lit: w.lit}
	if len(w.cands) == 0 {
		v.Shows = []Shows{Unknown}
		return v
	}
	v.Since = slices.MinFunc(w.cands, func(a, b candidate) int { return int(a.since - b.since) }).since
	for _, c := range w.cands {
		if c.since != v.Since {
			continue
		}
		if !slices.Contains(v.Shows, c.shows) {
			v.Shows = append(v.Shows, c.shows)
		}
		if !slices.Contains(v.Styles, c.style) {
			v.Styles = append(v.Styles, c.style)
		}
	}
	return v
}

// note keeps the history when the view has changed.
func (w *Watcher) note(now time.Duration) {
	v := w.view()
	if v.Since != w.last.Since {
		w.spans = append(w.spans, Span{w.last, v.Since})
		if len(w.spans) > maxSpans {
			w.spans = slices.Delete(w.spans, 0, maxSpans/4)
		}
	}
	w.last = v
}

// View returns what the lamps tell now.
func (w *Watcher) View(now time.Duration) View {
	w.settle(now)
	v := w.last
	v.Lit = w.lit
	return v
}

// Doubts returns what the lamps may tell instead of what View says, should the
// pattern that View sees break off: a silent alarm that is reset in its dark
// phase looks like a silent alarm until its next flash is due.
func (w *Watcher) Doubts(now time.Duration) []View {
	w.settle(now)
	var views []View
	for _, c := range w.cands {
		if c.since > w.last.Since {
			views = append(views, View{Shows: []Shows{c.shows}, Styles: []Style{c.style}, Since: c.since, Lit: w.lit})
		}
	}
	return views
}

// History returns the spans that did not end before a time, oldest first, the
// present one last.
func (w *Watcher) History(from, now time.Duration) []Span {
	v := w.View(now)
	i := len(w.spans)
	for i > 0 && w.spans[i-1].Until >= from {
		i--
	}
	return append(slices.Clone(w.spans[i:]), Span{View: v})
}
