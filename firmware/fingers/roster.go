// Package fingers knows whose finger is in which slot of a device's fingerprint
// sensor, and who may change that.
//
// Officers and technicians enrol themselves, here, under the eyes of somebody
// who may allow it; nothing else is known of them than an id. What a finger
// looks like never leaves the sensor (package fingerprint), and this package
// talks to the sensor only through a fingerprint.Reader. It decides nothing
// about sign-on or alarms: package agent does.
package fingers

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/fengsui/fengsui/firmware/internal/durable"
)

// A Role is what a finger may do.
type Role string

// The roles. Supervisors and technicians let others be enrolled and deleted.
const (
	Officer    Role = "officer"
	Supervisor Role = "supervisor"
	Technician Role = "technician"
)

// Roles lists all roles.
func Roles() []Role { return []Role{Officer, Supervisor, Technician} }

// ParseRole returns the role of that name.
func ParseRole(s string) (Role, error) {
	for _, r := range Roles() {
		if string(r) == s {
			return r, nil
		}
	}
	return "", fmt.Errorf("role %q: want officer, supervisor or technician", s)
}

// MayEnrol reports whether the role lets others be enrolled and deleted.
func (r Role) MayEnrol() bool { return r == Supervisor || r == Technician }

// A Finger is one that is enrolled.
type Finger struct {
	Officer string `json:"officer"`
	Role    Role   `json:"role"`
	// Duress is set of a finger that signs on like any other and raises a silent
	// alarm beside. Show it only to who may enrol, and has just laid a finger.
	Duress bool   `json:"duress,omitempty"`
	By     string `json:"by"` // whose finger allowed it, or one of the constants below
}

// Who else may allow a change.
const (
	ByConfig  = "config"   // the configuration names it
	ByLocal   = "local"    // the command on the device itself
	ByTestKey = "test_key" // the technician's key switch, while nobody is enrolled who may
)

// Validate says what is wrong with it.
func (f Finger) Validate() error {
	if strings.TrimSpace(f.Officer) == "" || len(f.Officer) > 64 {
		return fmt.Errorf("officer %q: want an officer's id of 1 to 64 bytes", f.Officer)
	}
	_, err := ParseRole(string(f.Role))
	return err
}

// A Change is one of the roster that the centre is to be told.
type Change struct {
	N       uint64 `json:"n"` // from 1, without holes
	Deleted bool   `json:"deleted,omitempty"`
	Slot    int    `json:"slot"`
	Finger  Finger `json:"finger"` // By is who allowed this change
}

// Errors of a roster.
var (
	// ErrBusy means that another program has the roster: the device is running.
	ErrBusy = errors.New("another program has the list of fingers open: stop the device first")
	// ErrRoster means that the file of the roster is not sound.
	ErrRoster = errors.New("the list of fingers cannot be read")
	// ErrConfigured means that the configuration names the slot: it is changed there.
	ErrConfigured = errors.New("the configuration names this slot: change it there")
	// ErrNoFinger means that nobody is enrolled in the slot.
	ErrNoFinger = errors.New("nobody is enrolled in this slot")
)

// Errors of a change on a running device.
var (
	// ErrNoReader means that the device has no fingerprint reader, or that its
	// list of fingers cannot be read.
	ErrNoReader = errors.New("no fingerprint reader here that fingers can be enrolled at")
	// ErrEnrolling means that somebody else is changing fingers at the moment.
	ErrEnrolling = errors.New("fingers are being changed already")
	// ErrNotAuthorised means that no finger that may allow it was laid in time.
	ErrNotAuthorised = errors.New("nobody who may allow it laid a finger in time")
	// ErrNobodyMay means that nobody is enrolled who may allow it: turn the
	// technician's key, or use the command on the device, and enrol a technician.
	ErrNobodyMay = errors.New("no technician or supervisor is enrolled here yet")
	// ErrNotReplaced means that the sensor is this device's own.
	ErrNotReplaced = errors.New("the sensor was not replaced")
	// ErrKeyNotTurned means that only the technician's key allows it.
	ErrKeyNotTurned = errors.New("turn the technician's key first")
)

const (
	rosterFile   = "fingers.json"
	lockFile     = "fingers.lock"
	passwordFile = "fingerprint.password"
)

// A Roster is the list of enrolled fingers, kept in a file of its own with mode
// 0600. Its methods may be called from any goroutine.
type Roster struct {
	dir        string
	configured map[int]string
	lock       *os.File

	mu   sync.Mutex
	list list
}

type list struct {
	Fingers map[int]Finger `json:"fingers"` // by slot
	Changes []Change       `json:"changes"` // that the centre may not know yet
	Last    uint64         `json:"last"`    // number of the last change
}

// Open opens the roster in a device's data folder, and holds it until Close.
// Configured are the slots that the configuration names, and whose they are;
// one of them counts until the roster has the slot itself. The error wraps
// ErrBusy, ErrRoster or is that of the file. A file that is not sound is never
// replaced: it says who may open what.
func Open(dir string, configured map[int]string) (*Roster, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("fingers: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("fingers: %w", err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = ErrBusy
		}
		return nil, errors.Join(fmt.Errorf("fingers: %w", err), lock.Close())
	}
	r := &Roster{dir: dir, configured: configured, lock: lock}
	if r.list, err = load(filepath.Join(dir, rosterFile)); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return r, nil
}

func load(path string) (list, error) {
	l := list{Fingers: make(map[int]Finger)}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return l, nil
	}
	if err != nil {
		return l, fmt.Errorf("fingers: %w", err)
	}
	if err := json.Unmarshal(b, &l); err != nil {
		return l, fmt.Errorf("fingers: %w: %s: %w", ErrRoster, path, err)
	}
	for slot, f := range l.Fingers {
		if err := f.Validate(); err != nil {
			return l, fmt.Errorf("fingers: %w: %s: slot %d: %w", ErrRoster, path, slot, err)
		}
	}
	return l, nil
}

// Close lets another program have it.
func (r *Roster) Close() error { return r.lock.Close() }

// Lookup returns whose finger is in a slot.
func (r *Roster) Lookup(slot int) (Finger, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f, ok := r.list.Fingers[slot]
	if !ok {
		f, ok = r.byConfig(slot)
	}
	return f, ok
}

func (r *Roster) byConfig(slot int) (Finger, bool) {
	o, ok := r.configured[slot]
	return Finger{Officer: o, Role: Officer, By: ByConfig}, ok
}

// All returns whose finger is in which slot.
func (r *Roster) All() map[int]Finger {
	r.mu.Lock()
	defer r.mu.Unlock()
	m := maps.Clone(r.list.Fingers)
	for slot := range r.configured {
		if _, ok := m[slot]; !ok {
			m[slot], _ = r.byConfig(slot)
		}
	}
	return m
}

// AnyMayEnrol reports whether anybody is enrolled who may let others be.
func (r *Roster) AnyMayEnrol() bool {
	for _, f := range r.All() {
		if f.Role.MayEnrol() {
			return true
		}
	}
	return false
}

// Add enters a finger; it is on the disk before Add returns. Who had the slot
// before is deleted.
func (r *Roster) Add(slot int, f Finger) error {
	if err := f.Validate(); err != nil {
		return fmt.Errorf("fingers: %w", err)
	}
	return r.change(func(l *list) error {
		if old, ok := l.Fingers[slot]; ok {
			l.remove(slot, old, f.By)
		}
		l.Fingers[slot] = f
		l.note(Change{Slot: slot, Finger: f})
		return nil
	})
}

// Remove deletes a finger's entry; that is on the disk before Remove returns.
// The error wraps ErrConfigured or ErrNoFinger.
func (r *Roster) Remove(slot int, by string) error {
	return r.change(func(l *list) error {
		f, ok := l.Fingers[slot]
		switch _, configured := r.configured[slot]; {
		case !ok && configured:
			return fmt.Errorf("fingers: slot %d: %w", slot, ErrConfigured)
		case !ok:
			return fmt.Errorf("fingers: slot %d: %w", slot, ErrNoFinger)
		}
		l.remove(slot, f, by)
		return nil
	})
}

// Clear deletes all entries, as for another sensor, and lets the next sensor
// that has the configuration's password be given ours.
func (r *Roster) Clear(by string) error {
	err := r.change(func(l *list) error {
		for slot, f := range l.Fingers {
			l.remove(slot, f, by)
		}
		return nil
	})
	if err != nil {
		return err
	}
	s, err := r.readPassword()
	if err != nil || s == nil {
		return err
	}
	return r.writePassword(s.Password, false)
}

func (l *list) remove(slot int, f Finger, by string) {
	delete(l.Fingers, slot)
	f.By = by
	l.note(Change{Deleted: true, Slot: slot, Finger: f})
}

func (l *list) note(c Change) {
	l.Last++
	c.N = l.Last
	l.Changes = append(l.Changes, c)
}

// change makes one change, in memory only when it is on the disk.
func (r *Roster) change(f func(*list) error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	next := list{Fingers: maps.Clone(r.list.Fingers), Changes: append([]Change(nil), r.list.Changes...), Last: r.list.Last}
	if err := f(&next); err != nil {
		return err
	}
	b, err := json.MarshalIndent(next, "", "  ")
	if err != nil {
		return fmt.Errorf("fingers: %w", err)
	}
	if err := durable.WriteFile(filepath.Join(r.dir, rosterFile), append(b, '\n')); err != nil {
		return fmt.Errorf("fingers: %w", err)
	}
	r.list = next
	return nil
}

// Untold returns the changes behind a number, in their order.
func (r *Roster) Untold(after uint64) (changes []Change) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.list.Changes {
		if c.N > after {
			changes = append(changes, c)
		}
	}
	return changes
}

// Told forgets the changes up to a number, of which the spool has the events.
func (r *Roster) Told(upTo uint64) error {
	r.mu.Lock()
	old := len(r.list.Changes) > 0 && r.list.Changes[0].N <= upTo
	r.mu.Unlock()
	if !old {
		return nil
	}
	return r.change(func(l *list) error {
		for len(l.Changes) > 0 && l.Changes[0].N <= upTo {
			l.Changes = l.Changes[1:]
		}
		return nil
	})
}
