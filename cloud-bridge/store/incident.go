package store

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fengsui/fengsui/cloud-bridge/incident"
	"github.com/fengsui/fengsui/firmware/wire"
)

// alarmKey names an alarm: what joins its events to one incident.
type alarmKey struct {
	device int64
	alarm  wire.AlarmID
}

// record is an incident within a transaction.
type record struct {
	incident.Incident
	key       alarmKey
	pressedAt order // of the press that Pressed, Position … come from
	pressBoot uint64
	pressMono time.Duration
	told      wire.Wall // what that event says of the time of day
	pressSMS  uint64    // … if it is not an event yet, but the SMS of that press
	logged    int       // entries of the timeline that are in the database
	changed   bool
	loaded    loaded
}

// loaded is what a record was in the database.
type loaded struct {
	rev    uint64
	state  incident.State
	placed bool // it has a position
	at     Point
}

func place(p *incident.Position) Point {
	if p == nil {
		return Point{}
	}
	return Point{p.Lat, p.Lon}
}

// Take takes a step of an incident and returns it as it is then, with its
// timeline; what the device is to be told of it is told. The error wraps
// [ErrNotFound], [incident.ErrState] or [incident.ErrField].
func (s *Store) Take(ctx context.Context, id int64, by incident.Actor, step incident.Step) (*incident.Incident, error) {
	var then *incident.Incident
	err := s.update(ctx, func(t *tx) error {
		r, err := t.byID(id)
		if err != nil {
			return err
		}
		if step.Unit != "" && (step.Name == incident.StepDispatch || step.Name == incident.StepAddUnit) {
			if step.Device, err = t.unitDevice(step.Unit); err != nil {
				return err
			}
		}
		if err := r.Take(step, by, t.at); err != nil {
			return fmt.Errorf("incident %d: %w", id, err)
		}
		t.touch(r)
		if step.Device != "" && step.Note != "" {
			t.notes[noteKey{r.ID, step.Device}] = step.Note
		}
		// It is read before anybody else can take the next step.
		if err := t.saveIncident(r); err != nil {
			return err
		}
		r.changed = false
		then, err = t.snapshot(r)
		return err
	})
	return then, err
}

// snapshot returns an incident as it is in the transaction, with its timeline.
func (t *tx) snapshot(r *record) (*incident.Incident, error) {
	i := r.Incident
	i.Units, i.Timeline = slices.Clone(r.Units), nil
	return &i, t.rows(timelineQuery, []any{r.ID}, func(scan func(...any) error) (bool, error) { return true, addEntry(&i, scan) })
}

const timelineQuery = `SELECT at, what, by, detail, given, screen, place, said FROM timeline WHERE incident = ? ORDER BY entry`

// addEntry scans a line of timelineQuery and puts it where it was said.
func addEntry(i *incident.Incident, scan func(...any) error) error {
	var e incident.Entry
	var at, given sql.NullInt64
	err := scan(&at, &e.What, &e.By, &e.Detail, &given, &e.Screen, &e.Where, &e.Ref)
	e.At, e.Given = fromMillis(at), fromMillis(given)
	n := len(i.Timeline)
	for ; !e.Given.IsZero() && n > 0 && i.Timeline[n-1].When().After(e.Given); n-- { // it was said before those
	}
	i.Timeline = slices.Insert(i.Timeline, n, e)
	return err
}

func (t *tx) byID(id int64) (*record, error) {
	r, err := t.incident(`WHERE i.incident = ?`, id)
	if err == nil && r == nil {
		err = fmt.Errorf("%w: incident %d", ErrNotFound, id)
	}
	return r, err
}

// Acknowledge takes that step for somebody at a desk.
func (s *Store) Acknowledge(ctx context.Context, id int64, by string) (*incident.Incident, error) {
	return s.Take(ctx, id, incident.Actor{Name: by, Screen: incident.ScreenDesk}, incident.Step{Name: incident.StepAcknowledge})
}

// Dispatch is like [Store.Acknowledge].
func (s *Store) Dispatch(ctx context.Context, id int64, by, unit string) (*incident.Incident, error) {
	return s.Take(ctx, id, incident.Actor{Name: by, Screen: incident.ScreenDesk}, incident.Step{Name: incident.StepDispatch, Unit: unit})
}

// CloseIncident is like [Store.Acknowledge].
func (s *Store) CloseIncident(ctx context.Context, id int64, by string, code incident.Code, note string) (*incident.Incident, error) {
	return s.Take(ctx, id, incident.Actor{Name: by, Screen: incident.ScreenDesk},
		incident.Step{Name: incident.StepClose, Code: code, Note: note})
}

// settle draws the consequences of what has changed of an incident: where it
// lies, and what devices are to be told.
func (t *tx) settle(r *record) error {
	if at := place(r.Position); r.Place.District == "" || r.loaded.placed != (r.Position != nil) || r.loaded.at != at {
		if err := t.locate(r); err != nil {
			return err
		}
	}
	if r.Rev != r.loaded.rev {
		if state, ok := r.State.Notice(); ok && r.Kind.Pressed() {
			unit := ""
			if r.Dispatched != nil && state == wire.NoticeDispatched {
				unit = r.Dispatched.Unit
			}
			t.change(Change{Kind: NoticeChanged, Device: r.Device})
			if err := t.exec(`INSERT INTO notices (incident, device, alarm, rev, state, unit, since) VALUES (?,?,?,?,?,?,?)
				ON CONFLICT (incident) DO UPDATE SET rev = excluded.rev, state = excluded.state, unit = excluded.unit, since = excluded.since`,
				r.ID, r.key.device, r.key.alarm[:], int64(r.Rev), state, unit, t.at.UnixMilli()); err != nil {
				return err
			}
		}
	}
	if r.State == incident.Closed && r.loaded.state != incident.Closed {
		if err := t.soundOff(r); err != nil {
			return err
		}
	}
	if err := t.assign(r); err != nil {
		return err
	}
	r.loaded = loaded{r.Rev, r.State, r.Position != nil, place(r.Position)}
	return nil
}

// Incidents returns incidents without their timelines: the most urgent first,
// then the oldest.
func (s *Store) Incidents(ctx context.Context, f Filter) ([]incident.Incident, error) {
	var where []string
	var args []any
	if len(f.States) > 0 {
		where = append(where, "i.state IN (?"+strings.Repeat(",?", len(f.States)-1)+")")
		for _, st := range f.States {
			args = append(args, st)
		}
	}
	if f.Device != "" {
		where, args = append(where, "d.id = ?"), append(args, f.Device)
	}
	if f.Area != "" {
		where = append(where, "? IN (i.cell, i.village, i.township, i.district)")
		args = append(args, f.Area)
	}
	if !f.Since.IsZero() {
		where, args = append(where, "i.received_at >= ?"), append(args, f.Since.UnixMilli())
	}
	if !f.Until.IsZero() {
		where, args = append(where, "i.received_at < ?"), append(args, f.Until.UnixMilli())
	}
	switch f.Drill {
	case OnlyDrills:
		where = append(where, "i.drill")
	case NoDrills:
		where = append(where, "NOT i.drill")
	}
	q := ""
	if len(where) > 0 {
		q = "WHERE " + strings.Join(where, " AND ")
	}
	if f.Limit > 0 {
		q += " ORDER BY i.incident DESC LIMIT ?"
		args = append(args, f.Limit)
	}
	q = "SELECT * FROM (" + incidentQuery + q + ") ORDER BY priority, received_at, incident"
	rows, err := s.query(ctx, q, args...)
	if err != nil {
		return nil, err
	}
	var out []incident.Incident
	err = each(rows, func(scan func(...any) error) (bool, error) {
		r, err := scanIncident(scan)
		if err == nil {
			out = append(out, r.Incident)
		}
		return true, err
	})
	return out, err
}

// Incident returns one with its timeline, in the order in which things were
// said, wherever. The error wraps [ErrNotFound].
func (s *Store) Incident(ctx context.Context, id int64) (*incident.Incident, error) {
	var found *incident.Incident
	err := s.snapshot(ctx, []string{
		incidentQuery + `WHERE i.incident = ?`,
		timelineQuery,
	}, func(query func(int, ...any) (*sql.Rows, error)) error {
		rows, err := query(0, id)
		if err != nil {
			return err
		}
		if err := each(rows, func(scan func(...any) error) (bool, error) {
			r, err := scanIncident(scan)
			if err == nil {
				found = &r.Incident
			}
			return true, err
		}); err != nil {
			return err
		}
		if found == nil {
			return fmt.Errorf("%w: incident %d", ErrNotFound, id)
		}
		if rows, err = query(1, id); err != nil {
			return err
		}
		return each(rows, func(scan func(...any) error) (bool, error) {
			return true, addEntry(found, scan)
		})
	})
	if err != nil {
		return nil, err
	}
	return found, nil
}

// Pending returns the notices that devices have not answered, of one device
// or, for "", of all.
func (s *Store) Pending(ctx context.Context, device string) ([]PendingNotice, error) {
	rows, err := s.query(ctx, `SELECT d.id, n.alarm, n.rev, n.state, n.unit, n.since
		FROM notices n JOIN devices d ON d.device = n.device WHERE ?1 = '' OR d.id = ?1 ORDER BY n.incident`, device)
	if err != nil {
		return nil, err
	}
	var out []PendingNotice
	err = each(rows, func(scan func(...any) error) (bool, error) {
		var p PendingNotice
		var alarm []byte
		var since sql.NullInt64
		if err := scan(&p.Device, &alarm, &p.Notice.Rev, &p.Notice.State, &p.Notice.Unit, &since); err != nil {
			return false, err
		}
		p.Notice.Alarm, p.Since = wire.AlarmID(alarm), fromMillis(since)
		out = append(out, p)
		return true, nil
	})
	return out, err
}

func (t *tx) touch(r *record) {
	r.changed = true
	t.change(Change{Kind: IncidentChanged, Incident: r.ID})
}
