package store

import (
	"cmp"
	"context"
	"crypto/sha256"
	"database/sql"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/fengsui/fengsui/cloud-bridge/incident"
	"github.com/fengsui/fengsui/firmware/wire"
)

// noteKey names what the desk says to a unit with an incident.
type noteKey struct {
	incident int64
	device   string
}

// unitDevice returns the device that a unit's name means: the id of a patrol
// car or motorcycle or, if only one of them has it, its name; or "".
func (t *tx) unitDevice(unit string) (string, error) {
	var ids []string
	err := t.rows(`SELECT id FROM devices WHERE kind IN (?,?) AND (id = ? OR name = ?) ORDER BY id <> ?, id LIMIT 2`,
		[]any{PatrolCar, PatrolMotorcycle, unit, unit, unit}, func(scan func(...any) error) (bool, error) {
			var id string
			err := scan(&id)
			ids = append(ids, id)
			return true, err
		})
	if err != nil || len(ids) == 0 || len(ids) > 1 && ids[0] != unit {
		return "", err
	}
	return ids[0], nil
}

// assign brings what the units' devices are to be told to what the incident is
// now: a new revision whenever that says something else.
func (t *tx) assign(r *record) error {
	told := make(map[string]bool)
	for n := len(r.Units) - 1; n >= 0; n-- { // the newest sending of a unit counts
		u := &r.Units[n]
		if u.Device == "" || told[u.Device] {
			continue
		}
		told[u.Device] = true
		if err := t.assignUnit(r, u); err != nil {
			return err
		}
	}
	return nil
}

func (t *tx) assignUnit(r *record, u *incident.Unit) error {
	state := wire.Assigned
	switch {
	case u.Withdrawn || u.State() == incident.UnitRefused:
		state = wire.Withdrawn
	case r.State == incident.Closed:
		state = wire.AssignmentEnded
	}
	var num, rev int64
	var note string
	var given int64
	var said []byte
	if _, err := t.row(`SELECT device FROM devices WHERE id = ?`, []any{u.Device}, []any{&num}); err != nil {
		return err
	}
	if _, err := t.row(`SELECT rev, note, given, said FROM assignments WHERE incident = ? AND device = ?`,
		[]any{r.ID, num}, []any{&rev, &note, &given, &said}); err != nil {
		return err
	}
	if given != u.At.UnixMilli() { // it was sent anew
		note = ""
	}
	if now, ok := t.notes[noteKey{r.ID, u.Device}]; ok {
		note = now
	}
	a := assignment(&r.Incident, 1, state, note, u.At.UnixMilli())
	flat, place, pressed := *a, wire.Place{}, wire.PressTime{} // no pointers: what they point to counts
	if flat.Place != nil {
		place = *flat.Place
	}
	if flat.Pressed != nil {
		pressed = *flat.Pressed
	}
	flat.Place, flat.Pressed = nil, nil
	what := sha256.Sum256(fmt.Appendf(nil, "%+v %+v %+v", flat, place, pressed))
	if string(said) == string(what[:]) {
		return nil
	}
	t.change(Change{Kind: NoticeChanged, Device: u.Device})
	t.change(Change{Kind: UnitChanged, Device: u.Device})
	return t.exec(`INSERT INTO assignments (incident, device, rev, state, note, given, said, since) VALUES (?,?,?,?,?,?,?,?)
		ON CONFLICT (incident, device) DO UPDATE SET rev = excluded.rev, state = excluded.state, note = excluded.note,
			given = excluded.given, said = excluded.said, since = excluded.since`,
		r.ID, num, rev+1, state, note, u.At.UnixMilli(), what[:], t.at.UnixMilli())
}

// assignment is what a unit's device is told of an incident.
func assignment(i *incident.Incident, rev uint64, state wire.AssignmentState, note string, given int64) *wire.Assignment {
	a := &wire.Assignment{
		Incident: uint64(i.ID), Rev: rev, State: state, Kind: clip(string(i.Kind), 32),
	}
	if state != wire.Assigned { // nothing of it is the unit's business any more
		return a
	}
	a.Stage, a.Alarm, a.Priority, a.Drill, a.Silent = string(i.State), i.Alarm, uint64(i.Priority), i.Drill, i.Silent
	a.Device, a.Name, a.Note, a.Given = i.Device, clip(i.DeviceName, 64), clip(note, wire.MaxNote), given
	if !i.Kind.Pressed() {
		a.Alarm = wire.AlarmID{}
	}
	if p := i.Position; p != nil {
		a.Place = &wire.Place{LatE7: int64(math.Round(p.Lat * 1e7)), LonE7: int64(math.Round(p.Lon * 1e7)), Source: wire.PlaceSurveyed}
		if p.Source != incident.Surveyed && p.Source != incident.Given {
			a.Place.Source, a.Place.AgeMs = wire.PlaceGNSS, uint64(max(p.Age.Milliseconds(), 0))
		}
		a.Place.Within = uint64(max(p.Spread, 0))
	}
	if m := i.Pressed; !m.Time.IsZero() {
		a.Pressed = &wire.PressTime{UnixMilli: max(m.Time.UnixMilli(), 0), Source: m.Source, WithinMs: uint64(max(m.Uncertainty.Milliseconds(), 0))}
	}
	return a
}

// clip shortens a text to so many bytes, between characters.
func clip(s string, most int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= most {
		return s
	}
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most]
}

// A Level is what a device is to be told until it answers; see [wire.Sound].
type Level struct {
	Device string
	Key    string // names it among the device's
	Rev    uint64 // of Body
	Body   wire.DownBody
	Since  time.Time
}

// Levels returns what devices have not answered, of one device or, for "", of
// all: sounds, assignments and modes. What has ended by itself is not told.
func (s *Store) Levels(ctx context.Context, device string) (out []Level, err error) {
	for _, read := range []func(context.Context, string, *[]Level) error{s.sounds, s.assignments, s.modes} {
		if err := read(ctx, device, &out); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (s *Store) assignments(ctx context.Context, device string, out *[]Level) error {
	type row struct {
		device   string
		incident int64
		level    wire.Assignment
		since    time.Time
	}
	var found []row
	rows, err := s.query(ctx, `SELECT d.id, a.incident, a.rev, a.state, a.note, a.given, a.since
		FROM assignments a JOIN devices d ON d.device = a.device
		WHERE a.answered < a.rev AND (?1 = '' OR d.id = ?1) ORDER BY a.incident`, device)
	if err != nil {
		return err
	}
	if err := each(rows, func(scan func(...any) error) (bool, error) {
		var r row
		var since sql.NullInt64
		err := scan(&r.device, &r.incident, &r.level.Rev, &r.level.State, &r.level.Note, &r.level.Given, &since)
		r.since = fromMillis(since)
		found = append(found, r)
		return true, err
	}); err != nil {
		return err
	}
	for _, r := range found {
		i, err := s.Incident(ctx, r.incident)
		if err != nil {
			return err
		}
		a := assignment(i, r.level.Rev, r.level.State, r.level.Note, r.level.Given)
		if a.State != wire.Assigned {
			over(a, i)
		} else if a.Near, err = s.near(ctx, i); err != nil {
			return err
		}
		*out = append(*out, Level{r.device, "assignment/" + fmt.Sprint(r.incident), r.level.Rev, a, r.since})
	}
	return nil
}

// over says who withdrew or ended an assignment, and with which code.
func over(a *wire.Assignment, i *incident.Incident) {
	if c := i.Closed; c != nil {
		a.By, a.Code = clip(c.By, 64), clip(string(c.Code), 32)
		return
	}
	for n := len(i.Timeline) - 1; n >= 0; n-- {
		switch e := &i.Timeline[n]; e.What {
		case incident.WhatReturned, incident.WhatSuspended, incident.WhatUnitRefused:
			a.By = clip(e.By, 64)
			return
		}
	}
}

// Around an incident's place, for the map of a unit.
const (
	nearMost = 12
	nearFar  = 5000.0 // metres
)

// near returns the boxes around an incident, the nearest first. Distances are
// those of a plane, which is good enough to choose by.
func (s *Store) near(ctx context.Context, i *incident.Incident) ([]wire.Landmark, error) {
	if i.Position == nil {
		return nil, nil
	}
	const metre = 1 / 111_320.0 // in degrees of latitude
	lat, lon := i.Position.Lat, i.Position.Lon
	shrink := max(math.Cos(lat*math.Pi/180), 0.01)
	high, wide := nearFar*metre, nearFar*metre/shrink
	rows, err := s.query(ctx, `SELECT coalesce(nullif(name, ''), id), lat, lon FROM devices
		WHERE kind = ? AND id <> ? AND lat BETWEEN ? AND ? AND lon BETWEEN ? AND ?
		ORDER BY id LIMIT 2000`, AlarmBox, i.Device, lat-high, lat+high, lon-wide, lon+wide)
	if err != nil {
		return nil, err
	}
	var out []wire.Landmark
	err = each(rows, func(scan func(...any) error) (bool, error) {
		var name string
		var at Point
		err := scan(&name, &at.Lat, &at.Lon)
		out = append(out, wire.Landmark{Name: clip(name, 64), LatE7: int64(math.Round(at.Lat * 1e7)), LonE7: int64(math.Round(at.Lon * 1e7))})
		return true, err
	})
	far := func(l wire.Landmark) float64 {
		return math.Hypot(float64(l.LatE7)/1e7-lat, (float64(l.LonE7)/1e7-lon)*shrink)
	}
	slices.SortStableFunc(out, func(a, b wire.Landmark) int { return cmp.Compare(far(a), far(b)) })
	return out[:min(len(out), nearMost)], err
}

// answered takes what a unit's people say of an assignment.
func (t *tx) answered(a *Arrival, d *device, st *stream, b *wire.UnitAnswer, row int64) {
	t.later = append(t.later, func() error {
		r, err := t.incident(`WHERE i.incident = ?`, int64(b.Incident))
		if err != nil || r == nil { // of a centre that had another database
			return err
		}
		if err := t.belongs(r.ID, row); err != nil {
			return err
		}
		if err := t.exec(`UPDATE assignments SET answered = max(answered, ?) WHERE incident = ? AND device = ?`,
			int64(min(b.Rev, 1<<62)), r.ID, d.num); err != nil {
			return err
		}
		s, err := t.say(st, a, r.ID, 0)
		if err != nil {
			return err
		}
		r.Answer(incident.Answer{
			Device: d.id, By: whoAt(a.Event), Where: whereAt(b.Position), Answer: b.Answer,
			Code: codeOf(b.Code), Note: b.Note, Given: s.given, Within: s.within, Received: a.Received,
			Ref: s.ref, Stream: st.num, Boot: a.Event.Boot, Mono: a.Event.Mono,
		})
		t.touch(r)
		t.change(Change{Kind: NoticeChanged, Device: d.id})
		t.change(Change{Kind: UnitChanged, Device: d.id})
		for _, h := range b.Attachments {
			if err := t.named(a, d, r.ID, h); err != nil {
				return err
			}
		}
		return nil
	})
}

// noteOf takes what somebody at a device wrote down.
func (t *tx) noteOf(a *Arrival, d *device, st *stream, b *wire.Note, row int64) {
	if b.Incident == 0 {
		return
	}
	t.later = append(t.later, func() error {
		r, err := t.incident(`WHERE i.incident = ?`, int64(b.Incident))
		if err != nil || r == nil {
			return err
		}
		if err := t.belongs(r.ID, row); err != nil {
			return err
		}
		s, err := t.say(st, a, r.ID, 0)
		if err != nil {
			return err
		}
		detail := b.Text
		for _, h := range b.Attachments {
			detail += " [" + h.String() + "]"
		}
		r.Timeline = append(r.Timeline, incident.Entry{
			At: a.Received, What: incident.WhatNote, By: whoAt(a.Event), Detail: strings.TrimSpace(detail),
			Given:  r.Heard(incident.Redating{Ref: s.ref, What: incident.WhatNote, By: whoAt(a.Event), Told: s.given, Within: s.within}, a.Received),
			Screen: incident.ScreenUnit, Where: whereAt(b.Position), Ref: s.ref,
		})
		t.touch(r)
		for _, h := range b.Attachments {
			if err := t.named(a, d, r.ID, h); err != nil {
				return err
			}
		}
		return nil
	})
}

// belongs notes that an event belongs to an incident.
func (t *tx) belongs(id, row int64) error {
	if row == 0 {
		return nil
	}
	return t.exec(`INSERT INTO incident_events (incident, event) VALUES (?, ?) ON CONFLICT DO NOTHING`, id, row)
}

// whoAt is who was at a device: the officer who was signed on, or the device.
func whoAt(e *wire.Event) string {
	if e.Officer != "" {
		return e.Officer
	}
	return e.Device
}

// whereAt writes where a device was when something was said at it, with how old
// and how good that is: "30.26120,103.13850, 4.2 s old, hdop 0.9", or with
// ", given", ", learned" or ", held" where it is no fix of that moment.
func whereAt(p *wire.Position) string {
	if p == nil {
		return ""
	}
	s := fmt.Sprintf("%.5f,%.5f", p.Lat(), p.Lon())
	if p.Source == wire.PositionFix || p.Source == wire.PositionHeld {
		s += fmt.Sprintf(", %.1f s old", float64(p.AgeMs)/1000)
	}
	if p.HDOP > 0 {
		s += fmt.Sprintf(", hdop %.1f", float64(p.HDOP)/10)
	}
	if p.Source != wire.PositionFix {
		s += ", " + p.Source.String()
	}
	return s
}

func codeOf(c wire.CloseCode) incident.Code { return incident.Code(c.String()) }
