package ledger

import (
	"fmt"
	"math"
	"slices"
	"sort"
	"time"
)

// An Event is a row of the desk's database, as far as accounting needs it.
type Event struct {
	Device, Stream, Lane string
	Seq, Boot            uint64
	Mono                 time.Duration // since the boot
	Type                 string        // as the API names it: "alarm_raised", …
	Button               string        // of an alarm_raised
	By                   string        // of an alarm_cleared: "centre" or "officer"
	Fixes                []Fix         // of a track_batch; only Time, Lat, Lon
	Jumped               int           // of them are marked as not believed
}

// Counts is the account of one kind of entry.
type Counts struct {
	Captured   int `json:"captured"`   // injected so that the device had to capture it
	Stored     int `json:"stored"`     // of those, in the desk's database
	Lost       int `json:"lost"`       // of those, not there
	Waiting    int `json:"waiting"`    // of those, not there because their device cannot reach the desk now
	Duplicated int `json:"duplicated"` // events that no injection explains: shown twice, or out of nothing
	// Uncertain counts what may have been captured or not, such as a press cut
	// off by a power failure before any lamp promised anything.
	Uncertain int `json:"uncertain"`
	// Thinned counts fixes that stand for their neighbours by the device's rule.
	Thinned int `json:"thinned,omitempty"`
}

// Holds reports whether nothing was lost and nothing is there twice.
func (c Counts) Holds() bool { return c.Lost == 0 && c.Duplicated == 0 }

// Complete reports whether it holds and nothing waits on a device.
func (c Counts) Complete() bool { return c.Holds() && c.Waiting == 0 }

func (c *Counts) add(o Counts) {
	c.Captured += o.Captured
	c.Stored += o.Stored
	c.Lost += o.Lost
	c.Waiting += o.Waiting
	c.Duplicated += o.Duplicated
	c.Uncertain += o.Uncertain
	c.Thinned += o.Thinned
}

// An Account compares a ledger with the desk.
type Account struct {
	Counts            // the sum of the three
	Presses  Counts   `json:"presses"`
	Fingers  Counts   `json:"fingers"`
	Fixes    Counts   `json:"fixes"`
	Findings []string `json:"findings"` // what was lost or is there twice, for people; at most 20
}

func (a *Account) find(format string, v ...any) {
	if len(a.Findings) < 20 {
		a.Findings = append(a.Findings, fmt.Sprintf(format, v...))
	}
}

// The rules of what a device has to capture. They are wider than the
// firmware's own times, so that what counts as captured would be captured by
// any box that keeps its promises.
const (
	// ready is how long after its agent's start a device has to watch its buttons.
	ready = 500 * time.Millisecond
	// held is how long a contact must rest closed.
	held = 150 * time.Millisecond
	// apart is how long a contact must have been open before.
	apart = 150 * time.Millisecond
	// lying is how long a finger must lie, with the reader ready.
	lying = 500 * time.Millisecond
	// before and after bound how far from its injection an event may say that it
	// was captured.
	before = 500 * time.Millisecond
	after  = 5 * time.Second
	// settling is how long after its start a device may still have to find its
	// sensor, open its receiver's port, or learn the date.
	settling = 2 * time.Second
)

// A Judge knows what else the account depends on.
type Judge struct {
	Until     time.Duration              // what was injected at this time or later may explain an event, but is not counted
	Track     func(device string) Policy // the device's track policy
	Reachable func(device string) bool   // whether it has power and a link now
}

// Policy is what a device's configuration says of its track.
type Policy struct {
	Batch int           // fixes that may be in memory only
	Still time.Duration // between fixes while standing
}

// Reconcile compares what was injected with all events of the desk, which must
// have been fetched before the entries were taken.
func Reconcile(e Entries, events []Event, j Judge) Account {
	a := Account{Findings: []string{}}
	events = a.once(events)
	a.presses(e, events, j)
	a.fingers(e, events, j)
	a.fixes(e, events, j)
	a.add(a.Presses)
	a.add(a.Fingers)
	a.add(a.Fixes)
	return a
}

// once drops rows of the same stream, lane and number, which must not be.
func (a *Account) once(events []Event) []Event {
	type id struct {
		device, stream, lane string
		seq                  uint64
	}
	seen := make(map[id]bool)
	return slices.DeleteFunc(slices.Clone(events), func(e Event) bool {
		k := id{e.Device, e.Stream, e.Lane, e.Seq}
		if seen[k] {
			a.Duplicated++
			a.find("%s: %s %d of stream %s is stored twice", e.Device, e.Lane, e.Seq, e.Stream)
			return true
		}
		seen[k] = true
		return false
	})
}

// run returns the run of a device that was alive at a time, or nil.
func (e *Entries) run(device string, at time.Duration) *Run {
	for i := range e.Runs {
		if r := &e.Runs[i]; r.Device == device && r.Began <= at && (r.Ended == 0 || at < r.Ended) {
			return r
		}
	}
	return nil
}

// Captured returns when an event says that it was captured; false when its run
// is not in the ledger.
func (e *Entries) Captured(ev *Event) (time.Duration, bool) {
	for i := range e.Runs {
		if r := &e.Runs[i]; r.Device == ev.Device && r.Boot == ev.Boot && (r.Stream == ev.Stream || slices.Contains(r.Later, ev.Stream)) {
			return r.Began + ev.Mono, true
		}
	}
	return 0, false
}

// A claim is an injection that an event may explain.
type claim struct {
	device string
	what   string
	at     time.Duration
	until  time.Duration // the latest capture
	owed   bool
}

// settle pairs claims with captures in their order and counts.
func (a *Account) settle(c *Counts, claims []claim, captures []time.Duration, what string, j Judge) {
	slices.Sort(captures)
	used := make([]bool, len(captures))
	pair := func(cl claim) bool {
		for i, t := range captures {
			if !used[i] && t >= cl.at-before && t <= cl.until {
				used[i] = true
				return true
			}
		}
		return false
	}
	for _, owed := range []bool{true, false} { // what is owed chooses first
		for _, cl := range claims {
			switch {
			case cl.owed != owed:
			case cl.at >= j.Until:
				pair(cl)
			case !owed:
				c.Uncertain++
				pair(cl)
			case pair(cl):
				c.Captured++
				c.Stored++
			case !j.Reachable(cl.device):
				c.Captured++
				c.Waiting++
			default:
				c.Captured++
				c.Lost++
				a.find("lost: %s", cl.what)
			}
		}
	}
	for i, t := range captures {
		if !used[i] {
			c.Duplicated++
			a.find("%s at %v that nothing explains", what, t.Round(time.Millisecond))
		}
	}
}

func (a *Account) presses(e Entries, events []Event, j Judge) {
	type button struct{ device, name string }
	claims := make(map[button][]claim)
	opened := make(map[button]time.Duration)
	for _, p := range e.Presses {
		k := button{p.Device, p.Button}
		last, again := opened[k]
		opened[k] = p.Released
		r := e.run(p.Device, p.At)
		cl := claim{device: p.Device, what: fmt.Sprintf("%s: press of %s at %v", p.Device, p.Button, p.At.Round(time.Millisecond)), at: p.At, until: p.Rest + after}
		switch {
		case r == nil && (p.Released == 0 || e.run(p.Device, p.Released) == nil):
			continue // no device saw it
		case r == nil, again && p.At-last < apart:
		default:
			closed := p.Released == 0 || p.Released-p.Rest >= held
			alive := r.Ended == 0 || r.Ended-p.Rest >= held
			cl.owed = closed && alive && p.At-r.Began >= ready
		}
		claims[k] = append(claims[k], cl)
	}
	for _, f := range e.Fingers {
		if cl, seen := e.claimOf(f); f.Duress && seen {
			k := button{f.Device, "duress"}
			claims[k] = append(claims[k], cl)
		}
	}
	captures := make(map[button][]time.Duration)
	for i := range events {
		if ev := &events[i]; ev.Type == "alarm_raised" {
			if t, ok := e.Captured(ev); ok {
				k := button{ev.Device, ev.Button}
				captures[k] = append(captures[k], t)
			}
		}
	}
	keys := make(map[button]bool)
	for k := range claims {
		keys[k] = true
	}
	for k := range captures {
		keys[k] = true
	}
	for k := range keys {
		a.settle(&a.Presses, claims[k], captures[k], fmt.Sprintf("%s: an alarm of %s", k.device, k.name), j)
	}
}

// reaction is how long one finger's events may be apart: who relieves another
// signs him off first, and one finger resets several alarms.
const reaction = 500 * time.Millisecond

// claimOf returns what a finger may explain, unless no device saw it.
func (e Entries) claimOf(f Finger) (cl claim, seen bool) {
	r := e.run(f.Device, f.At)
	if r == nil {
		return cl, false
	}
	lay := f.Until == 0 || f.Until-f.At >= lying
	alive := r.Ended == 0 || r.Ended-f.At >= after
	return claim{
		device: f.Device,
		what:   fmt.Sprintf("%s: finger %d at %v", f.Device, f.Slot, f.At.Round(time.Millisecond)), at: f.At, until: f.At + after,
		owed: lay && alive && f.At-r.Began >= settling,
	}, true
}

func (a *Account) fingers(e Entries, events []Event, j Judge) {
	claims := make(map[string][]claim)
	for _, f := range e.Fingers {
		if cl, seen := e.claimOf(f); seen {
			claims[f.Device] = append(claims[f.Device], cl)
		}
	}
	captures := make(map[string][]time.Duration)
	for i := range events {
		ev := &events[i]
		switch {
		case ev.Type == "sign_on", ev.Type == "sign_off", ev.Type == "sign_refused", ev.Type == "alarm_cleared" && ev.By == "officer":
			if t, ok := e.Captured(ev); ok {
				captures[ev.Device] = append(captures[ev.Device], t)
			}
		}
	}
	for device, times := range captures {
		slices.Sort(times)
		captures[device] = slices.CompactFunc(times, func(x, y time.Duration) bool { return (y - x).Abs() < reaction })
	}
	devices := make(map[string]bool)
	for d := range claims {
		devices[d] = true
	}
	for d := range captures {
		devices[d] = true
	}
	for d := range devices {
		a.settle(&a.Fingers, claims[d], captures[d], d+": a sign-on or refusal", j)
	}
}

// Distances in metres within which a stored fix stands for an injected one.
const (
	same  = 1.0  // of the same epoch: the wire's rounding
	still = 20.0 // of a car that stands
	near  = 100.0
)

// fixes checks that the stored track covers every injected fix: by the fix
// itself, by one of the same second or so, or, while standing, by an earlier
// one of the same place.
func (a *Account) fixes(e Entries, events []Event, j Judge) {
	stored := make(map[string][]Fix)
	for i := range events {
		if ev := &events[i]; ev.Type == "track_batch" {
			if _, ok := e.Captured(ev); ok {
				stored[ev.Device] = append(stored[ev.Device], ev.Fixes...)
			}
		}
	}
	injected := make(map[string]map[int64]int) // device → Unix ms → how often
	for _, f := range e.Fixes {
		if injected[f.Device] == nil {
			injected[f.Device] = make(map[int64]int)
		}
		injected[f.Device][f.Time.UnixMilli()]++
	}
	for device, fixes := range stored {
		slices.SortFunc(fixes, func(x, y Fix) int { return x.Time.Compare(y.Time) })
		n := make(map[int64]int)
		for _, f := range fixes {
			ms := f.Time.UnixMilli()
			if n[ms]++; n[ms] > max(1, injected[device][ms]) {
				a.Fixes.Duplicated++
				a.find("%s: the fix of %s is stored twice", device, f.Time.UTC().Format(time.RFC3339Nano))
			}
		}
	}
	unsure := uncertainFixes(e, j.Track)
	for i, f := range e.Fixes {
		exact, covered := cover(stored[f.Device], f, j.Track(f.Device).Still)
		switch {
		case f.At >= j.Until:
			continue
		case unsure[i]:
			a.Fixes.Uncertain++
			continue
		case exact:
		case covered:
			a.Fixes.Thinned++
		case !j.Reachable(f.Device):
			a.Fixes.Captured++
			a.Fixes.Waiting++
			continue
		default:
			a.Fixes.Captured++
			a.Fixes.Lost++
			a.find("lost: %s: the fix of %s at %.6f, %.6f", f.Device, f.Time.UTC().Format(time.RFC3339Nano), f.Lat, f.Lon)
			continue
		}
		a.Fixes.Captured++
		a.Fixes.Stored++
	}
}

// uncertainFixes returns the indexes of fixes that a device need not have
// kept: without power, just after its start, or in memory only when it ended.
func uncertainFixes(e Entries, policy func(string) Policy) map[int]bool {
	unsure := make(map[int]bool)
	of := make(map[*Run][]int)
	for i, f := range e.Fixes {
		r := e.run(f.Device, f.At)
		switch {
		case r == nil || f.At-r.Began < settling:
			unsure[i] = true
		case r.Ended != 0:
			of[r] = append(of[r], i)
		}
	}
	for r, ended := range of {
		for _, i := range ended[max(0, len(ended)-policy(r.Device).Batch):] {
			unsure[i] = true
		}
	}
	return unsure
}

// cover reports whether the stored fixes, in the order of their times, have a
// fix itself, or one that stands for it.
func cover(stored []Fix, f Fix, rest time.Duration) (exact, covered bool) {
	const around = 1500 * time.Millisecond
	from := sort.Search(len(stored), func(i int) bool { return !stored[i].Time.Before(f.Time.Add(-rest - around)) })
	for _, s := range stored[from:] {
		d, m := s.Time.Sub(f.Time), metres(s, f)
		switch {
		case d > around:
			return false, covered
		case d.Abs() < time.Millisecond && m <= same:
			return true, true
		case d.Abs() < time.Millisecond: // the epoch is there, elsewhere
		case d.Abs() <= around && m <= near, d < 0 && m <= still:
			covered = true
		}
	}
	return false, covered
}

func metres(a, b Fix) float64 {
	const degree = 111_195 // on a sphere of 6,371 km
	dy := (b.Lat - a.Lat) * degree
	dx := (b.Lon - a.Lon) * degree * math.Cos(a.Lat*math.Pi/180)
	return math.Hypot(dx, dy)
}
