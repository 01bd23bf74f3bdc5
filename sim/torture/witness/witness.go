// Package witness reads what a centre's database file and devices' spools hold,
// from copies of the files, and judges it: each event once, each lane whole and
// in order, one incident for each alarm, nothing deleted by a device that the
// centre lacks.
//
// It believes neither the centre's queries nor its columns: events are decoded
// from what the devices signed. It is for rigs; it changes no file.
package witness

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	_ "modernc.org/sqlite" // the driver

	"github.com/fengsui/fengsui/firmware/spool"
	"github.com/fengsui/fengsui/firmware/wire"
	"github.com/fengsui/fengsui/sim/torture"
)

// A Place is a lane of a stream of a device.
type Place struct {
	Device string
	Stream wire.StreamID
	Lane   wire.Lane
}

func (p Place) String() string { return fmt.Sprintf("%s %s/%v", p.Device, p.Stream, p.Lane) }

// An Event is a row of the events table, in the order of its storing.
type Event struct {
	Place
	Seq  uint64
	Hash wire.Hash
	*wire.Event
}

// An Incident is a row of the incidents table.
type Incident struct {
	Device, Alarm, Kind string // Alarm in hex
	Presses             uint64 // the number of the latest press
	Closed              bool
}

// A Centre is what a centre's database holds.
type Centre struct {
	Events    []Event
	Incidents []Incident
	UpTo      map[Place]uint64 // what was or may have been acknowledged
}

// ReadCentre reads the database of a centre's data folder, whether the centre
// runs or not.
func ReadCentre(ctx context.Context, data string) (_ *Centre, err error) {
	dir, err := os.MkdirTemp("", "witness")
	if err != nil {
		return nil, fmt.Errorf("witness: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	file := filepath.Join(dir, "centre.db")
	for _, suffix := range []string{"", "-wal"} {
		if err := copyFile(filepath.Join(data, "centre.db"+suffix), file+suffix); err != nil {
			return nil, err
		}
	}
	db, err := sql.Open("sqlite", file)
	if err != nil {
		return nil, fmt.Errorf("witness: %w", err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	c := &Centre{UpTo: make(map[Place]uint64)}
	if err := errors.Join(c.events(ctx, db), c.incidents(ctx, db), c.lanes(ctx, db)); err != nil {
		return nil, fmt.Errorf("witness: %s: %w", data, err)
	}
	return c, nil
}

// copyFile copies a file; one that is not there is none.
func copyFile(from, to string) error {
	b, err := os.ReadFile(from)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = os.WriteFile(to, b, 0o600)
	}
	if err != nil {
		return fmt.Errorf("witness: %w", err)
	}
	return nil
}

func each(ctx context.Context, db *sql.DB, query string, row func(scan func(...any) error) error) error {
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := row(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}

func (c *Centre) events(ctx context.Context, db *sql.DB) error {
	return each(ctx, db, `SELECT message FROM events ORDER BY event`, func(scan func(...any) error) error {
		var msg []byte
		if err := scan(&msg); err != nil {
			return err
		}
		e, err := wire.Peek(msg)
		if err != nil {
			return fmt.Errorf("event %d: %w", len(c.Events)+1, err)
		}
		c.Events = append(c.Events, Event{Place{e.Device, e.Stream, e.Lane}, e.Seq, wire.HashOf(msg), e})
		return nil
	})
}

func (c *Centre) incidents(ctx context.Context, db *sql.DB) error {
	return each(ctx, db, `SELECT coalesce(d.id, ''), hex(i.alarm), i.kind, i.presses, i.state = 'closed' FROM incidents i LEFT JOIN devices d ON d.device = i.device ORDER BY i.incident`, func(scan func(...any) error) error {
		var i Incident
		if err := scan(&i.Device, &i.Alarm, &i.Kind, &i.Presses, &i.Closed); err != nil {
			return err
		}
		i.Alarm = strings.ToLower(i.Alarm)
		c.Incidents = append(c.Incidents, i)
		return nil
	})
}

func (c *Centre) lanes(ctx context.Context, db *sql.DB) error {
	return each(ctx, db, `SELECT d.id, s.id, l.lane, l.up_to FROM lanes l JOIN streams s ON s.stream = l.stream JOIN devices d ON d.device = s.device`, func(scan func(...any) error) error {
		var p Place
		var id []byte
		var lane, upTo uint64
		if err := scan(&p.Device, &id, &lane, &upTo); err != nil {
			return err
		}
		copy(p.Stream[:], id)
		p.Lane = wire.Lane(lane)
		c.UpTo[p] = upTo
		return nil
	})
}

// Judge finds what is there twice, missing within a lane, numbered against the
// order of time, or of no alarm.
func (c *Centre) Judge(v *torture.Verdict) {
	type number struct {
		Place
		seq uint64
	}
	type press struct {
		device string
		alarm  wire.AlarmID
		n      uint64
	}
	numbers, presses := make(map[number]wire.Hash), make(map[press]uint64)
	type alarm struct{ device, id, kind string }
	alarms := make(map[alarm]uint64) // presses
	for i := range c.Events {
		e := &c.Events[i]
		k := number{e.Place, e.Seq}
		if _, twice := numbers[k]; twice {
			v.Twice = append(v.Twice, fmt.Sprintf("%v seq %d is stored twice", e.Place, e.Seq))
			continue
		}
		numbers[k] = e.Hash
		if b, ok := e.Body.(*wire.AlarmRaised); ok {
			p := press{e.Place.Device, b.Alarm, b.Press}
			if was, twice := presses[p]; twice {
				v.Twice = append(v.Twice, fmt.Sprintf("press %d of alarm %v of %s is seq %d and %d", p.n, p.alarm, p.device, was, e.Seq))
			}
			presses[p] = e.Seq
			alarms[alarm{e.Place.Device, b.Alarm.String(), b.Kind.String()}]++
		}
	}
	c.chains(v)
	// A press of an alarm that somebody has closed meanwhile opens another
	// incident of it.
	newest := make(map[alarm]Incident)
	for _, i := range c.Incidents {
		k := alarm{i.Device, i.Alarm, i.Kind}
		was, again := newest[k]
		newest[k] = i
		switch {
		case i.Kind == "offline" || i.Kind == "district_link_lost": // nobody pressed; a rig may well take so long
		case alarms[k] == 0:
			v.Wrong = append(v.Wrong, fmt.Sprintf("an incident %+v of no stored alarm", i))
		case again && (!was.Closed || i.Presses <= was.Presses):
			v.Twice = append(v.Twice, fmt.Sprintf("incident %+v beside %+v", i, was))
		}
	}
	for k, n := range alarms {
		if i, ok := newest[k]; !ok || i.Presses != n {
			v.Lost = append(v.Lost, fmt.Sprintf("alarm %+v has %d presses, its newest incident is %+v", k, n, i))
		}
	}
}

// InOrder finds events that were stored after later ones of their lane. A
// centre whose store refuses some events may well do that; then it acknowledges
// nothing beyond the hole.
func (c *Centre) InOrder(v *torture.Verdict) {
	last := make(map[Place]uint64)
	for _, e := range c.Events {
		if was := last[e.Place]; e.Seq < was {
			v.Disorder = append(v.Disorder, fmt.Sprintf("%v seq %d was stored after %d", e.Place, e.Seq, was))
		}
		last[e.Place] = e.Seq
	}
}

// chains finds holes in the numbers, and events that do not follow the one
// before by hash or by time.
func (c *Centre) chains(v *torture.Verdict) {
	lanes := make(map[Place][]Event)
	for _, e := range c.Events {
		lanes[e.Place] = append(lanes[e.Place], e)
	}
	for p, list := range lanes {
		slices.SortStableFunc(list, func(a, b Event) int { return cmp.Compare(a.Seq, b.Seq) })
		list = slices.CompactFunc(list, func(a, b Event) bool { return a.Seq == b.Seq })
		next := uint64(1)
		var was *Event
		for i := range list {
			e := &list[i]
			if e.Seq != next {
				v.Lost = append(v.Lost, fmt.Sprintf("%v has a hole from %d to %d", p, next, e.Seq-1))
			}
			if was != nil && e.Seq == next {
				if e.Prev != was.Hash {
					v.Wrong = append(v.Wrong, fmt.Sprintf("%v seq %d does not follow the stored %d", p, e.Seq, was.Seq))
				}
				if e.Boot < was.Boot || e.Boot == was.Boot && e.Mono < was.Mono {
					v.Disorder = append(v.Disorder, fmt.Sprintf("%v seq %d is of boot %d at %v, the one before of boot %d at %v", p, e.Seq, e.Boot, e.Mono, was.Boot, was.Mono))
				}
			}
			was, next = e, e.Seq+1
		}
		if upTo := c.UpTo[p]; upTo >= next {
			v.Lost = append(v.Lost, fmt.Sprintf("%v is acknowledged up to %d, stored up to %d", p, upTo, next-1))
		}
	}
}

// Has returns the numbers that are stored.
func (c *Centre) Has() map[Place]map[uint64]bool {
	m := make(map[Place]map[uint64]bool)
	for _, e := range c.Events {
		if m[e.Place] == nil {
			m[e.Place] = make(map[uint64]bool)
		}
		m[e.Place][e.Seq] = true
	}
	return m
}

// A Spool is what a device's spool holds: the oldest number not deleted and the
// next to be given, of each lane.
type Spool map[Place]wire.Window

// ReadSpool reads the spool in the data folder of a device whose process is
// dead. A spool that was not made yet is empty.
func ReadSpool(device, data string) (_ Spool, err error) {
	dir, err := os.MkdirTemp("", "witness")
	if err != nil {
		return nil, fmt.Errorf("witness: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	for _, name := range []string{"spool.db", "spool.db.alarms"} {
		if err := copyFile(filepath.Join(data, name), filepath.Join(dir, name)); err != nil {
			return nil, err
		}
	}
	s, err := spool.Open(filepath.Join(dir, "spool.db"), spool.Options{})
	if err != nil {
		return nil, fmt.Errorf("witness: %s: %w", device, err)
	}
	held := make(Spool)
	for _, part := range s.Parts() {
		for l, w := range part.Window() {
			held[Place{device, part.Stream(), l}] = w
		}
	}
	return held, s.Close()
}

// Deleted finds what a spool has deleted and the centre does not have.
func (c *Centre) Deleted(s Spool, v *torture.Verdict) {
	has := c.Has()
	for p, w := range s {
		for n := uint64(1); n < w.Oldest; n++ {
			if !has[p][n] {
				v.Lost = append(v.Lost, fmt.Sprintf("%v seq %d: the device has deleted it, the centre does not have it", p, n))
			}
		}
	}
}

// A Stored is an alarm that a device's log calls stored.
type Stored struct {
	Device, Button, Alarm string
	Press, Seq            uint64
}

var storedLine = regexp.MustCompile(`msg="alarm stored".* button=(\S+) alarm=(\S+) press=(\d+) seq=(\d+)`)

// ReadLog returns what the log of a device's process calls stored.
func ReadLog(device, path string) ([]Stored, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("witness: %w", err)
	}
	var list []Stored
	for line := range strings.Lines(string(b)) {
		if m := storedLine.FindStringSubmatch(line); m != nil {
			press, perr := strconv.ParseUint(m[3], 10, 64)
			seq, serr := strconv.ParseUint(m[4], 10, 64)
			if err := errors.Join(perr, serr); err != nil {
				return nil, fmt.Errorf("witness: %s: %w", path, err)
			}
			list = append(list, Stored{device, m[1], m[2], press, seq})
		}
	}
	return list, nil
}

// Promised finds alarms that a log called stored and that the centre lacks, or
// has under another number.
func (c *Centre) Promised(list []Stored, v *torture.Verdict) {
	have := make(map[Stored]bool)
	for _, e := range c.Events {
		if b, ok := e.Body.(*wire.AlarmRaised); ok {
			have[Stored{e.Place.Device, b.Button, hex.EncodeToString(b.Alarm[:]), b.Press, e.Seq}] = true
		}
	}
	for _, s := range list {
		if !have[s] {
			v.Lost = append(v.Lost, fmt.Sprintf("called stored and not at the centre: %+v", s))
		}
	}
}
