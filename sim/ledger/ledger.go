// Package ledger keeps account of what the simulator injected into devices
// (presses, fingers, fixes) and compares it with what the desk has stored. It
// does not ask the agent what it captured: what should have been captured
// follows from what was injected, how long, and whether the device had power.
//
// It injects nothing and fetches nothing.
package ledger

import (
	"slices"
	"sync"
	"time"
)

// A Press is a contact that was closed. Times are of package mono.
type Press struct {
	Device, Button string
	At             time.Duration // the first touch of the contact
	Rest           time.Duration // when it rested, after its bounces
	Released       time.Duration // the first touch of its opening; 0: it is closed still
}

// A Finger is a finger that lay on a reader.
type Finger struct {
	Device string
	Slot   int  // 0: a finger that is not enrolled
	Duress bool // a duress finger: it raises an alarm of the name "duress" as well
	At     time.Duration
	Until  time.Duration // when it was lifted; 0: it lies still
}

// A Fix is an epoch that a receiver reported with a position.
type Fix struct {
	Device   string
	At       time.Duration // when it was written to the port
	Time     time.Time     // as the receiver says, UTC
	Lat, Lon float64
}

// A Run is the life of one device process: from the agent's start to its end.
type Run struct {
	Device string
	Began  time.Duration // the agent's clock starts
	Ended  time.Duration // 0: it runs still
	Stream string        // of its spool; "" while unknown
	Boot   uint64
	Later  []string // streams that it began in its course
}

// A Link is a change of a device's way to the centre.
type Link struct {
	Device string // "": of every device's, since the centre itself went or came
	At     time.Duration
	Up     bool
}

// Entries are all that a ledger holds, in the order in which it happened.
type Entries struct {
	Presses []Press
	Fingers []Finger
	Fixes   []Fix
	Runs    []Run
	Links   []Link
}

// A Ledger takes entries. It is safe for concurrent use.
type Ledger struct {
	keep int

	mu sync.Mutex
	e  Entries
}

// New returns an empty ledger that forgets the oldest entries of a kind beyond
// keep of them; 0 keeps all.
func New(keep int) *Ledger { return &Ledger{keep: keep} }

func add[T any](l *Ledger, to *[]T, e T) {
	*to = append(*to, e)
	if l.keep > 0 && len(*to) > 2*l.keep {
		*to = slices.Clone((*to)[len(*to)-l.keep:])
	}
}

// Pressed enters a press.
func (l *Ledger) Pressed(p Press) {
	l.mu.Lock()
	defer l.mu.Unlock()
	add(l, &l.e.Presses, p)
}

// Released enters the end of the newest press of a button.
func (l *Ledger) Released(device, button string, at time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := len(l.e.Presses) - 1; i >= 0; i-- {
		if p := &l.e.Presses[i]; p.Device == device && p.Button == button {
			if p.Released == 0 {
				p.Released = at
			}
			return
		}
	}
}

// Laid enters a finger.
func (l *Ledger) Laid(f Finger) {
	l.mu.Lock()
	defer l.mu.Unlock()
	add(l, &l.e.Fingers, f)
}

// Lifted enters the end of the newest finger on a device.
func (l *Ledger) Lifted(device string, at time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := len(l.e.Fingers) - 1; i >= 0; i-- {
		if f := &l.e.Fingers[i]; f.Device == device {
			if f.Until == 0 {
				f.Until = at
			}
			return
		}
	}
}

// Fixed enters a fix.
func (l *Ledger) Fixed(f Fix) {
	l.mu.Lock()
	defer l.mu.Unlock()
	add(l, &l.e.Fixes, f)
}

// RunBegan enters the start of a device's agent.
func (l *Ledger) RunBegan(r Run) {
	l.mu.Lock()
	defer l.mu.Unlock()
	add(l, &l.e.Runs, r)
}

// RunDated corrects when a run began, of which only a latest time was known; a
// later time, or another run, changes nothing.
func (l *Ledger) RunDated(device, stream string, boot uint64, latest time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.e.Runs {
		if r := &l.e.Runs[i]; r.Device == device && r.Boot == boot && (r.Stream == stream || slices.Contains(r.Later, stream)) {
			r.Began = min(r.Began, latest)
		}
	}
}

// StreamBegan enters another stream of a device's newest run.
func (l *Ledger) StreamBegan(device, stream string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := len(l.e.Runs) - 1; i >= 0; i-- {
		if r := &l.e.Runs[i]; r.Device == device {
			if r.Stream != stream && !slices.Contains(r.Later, stream) {
				r.Later = append(slices.Clip(r.Later), stream)
			}
			return
		}
	}
}

// RunEnded enters the end of a device's newest run.
func (l *Ledger) RunEnded(device string, at time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := len(l.e.Runs) - 1; i >= 0; i-- {
		if r := &l.e.Runs[i]; r.Device == device {
			if r.Ended == 0 {
				r.Ended = at
			}
			return
		}
	}
}

// Linked enters a change of a link.
func (l *Ledger) Linked(k Link) {
	l.mu.Lock()
	defer l.mu.Unlock()
	add(l, &l.e.Links, k)
}

// Entries returns a copy of all entries.
func (l *Ledger) Entries() Entries {
	l.mu.Lock()
	defer l.mu.Unlock()
	return Entries{slices.Clone(l.e.Presses), slices.Clone(l.e.Fingers), slices.Clone(l.e.Fixes), slices.Clone(l.e.Runs), slices.Clone(l.e.Links)}
}

// Outage reports whether a device was without link or power at any time
// between two moments.
func (e Entries) Outage(device string, from, to time.Duration) bool {
	link, centre := true, true
	for _, l := range e.Links {
		up := &link
		switch {
		case l.Device != device && l.Device != "" || l.At > to:
			continue
		case l.At >= from && (!link || !centre || !l.Up):
			return true
		case l.Device == "":
			up = &centre
		}
		*up = l.Up
	}
	r := e.run(device, from)
	return !link || !centre || r == nil || r.Ended != 0 && r.Ended <= to
}
