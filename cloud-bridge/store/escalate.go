package store

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fengsui/fengsui/cloud-bridge/incident"
	"github.com/fengsui/fengsui/cloud-bridge/units"
	"github.com/fengsui/fengsui/firmware/wire"
)

// Escalate counts what has overrun by now, and returns when the next thing
// will; zero when nothing will by itself. What has been counted is kept, so
// that a restart neither forgets nor repeats it.
func (s *Store) Escalate(ctx context.Context, p incident.Policy) (next time.Time, err error) {
	standing, err := s.Incidents(ctx, Filter{States: slices.DeleteFunc(incident.States(), func(st incident.State) bool {
		return st == incident.Closed || st == incident.Suspended
	})})
	if err != nil {
		return next, err
	}
	now := s.now()
	sooner := func(i *incident.Incident) (due bool) {
		at, ok := i.Due(p)
		if ok && !at.After(now) {
			return true
		}
		if ok && (next.IsZero() || at.Before(next)) {
			next = at
		}
		return false
	}
	var late []int64
	for n := range standing {
		if sooner(&standing[n]) {
			late = append(late, standing[n].ID)
		}
	}
	if len(late) == 0 {
		return next, nil
	}
	return next, s.update(ctx, func(t *tx) error {
		for _, id := range late {
			r, err := t.byID(id)
			if err != nil {
				return err
			}
			if r.Overrun(p, now) {
				t.touch(r)
			}
			sooner(&r.Incident)
		}
		return nil
	})
}

// A UnitRow is a unit and what the desk has set of it.
type UnitRow struct {
	units.Unit
	Reason string // of Set
	By     string
	SetAt  time.Time // when it was said, as well as the centre knew
	Told   time.Time // when the centre had it
	Screen string    // see [incident.Actor]: the desk's, or the unit's own
	Link   Link
	Course *float64 // degrees from true north
	Speed  *float64 // metres a second
}

// Units returns all patrol cars and motorcycles by id: one query, whatever their number.
func (s *Store) Units(ctx context.Context) ([]UnitRow, error) {
	rows, err := s.query(ctx, `SELECT d.id, d.name, d.officer, d.link, coalesce(u.state, ''), coalesce(u.reason, ''), coalesce(u.by, ''), u.at, u.told, coalesce(u.screen, ''),
		`+fixColumns+` FROM devices d LEFT JOIN unit_states u ON u.device = d.device WHERE d.kind IN (?,?) ORDER BY d.id`, PatrolCar, PatrolMotorcycle)
	if err != nil {
		return nil, err
	}
	var out []UnitRow
	if err := each(rows, func(scan func(...any) error) (bool, error) {
		var u UnitRow
		var at, told sql.NullInt64
		var fix nullFix
		err := scan(append([]any{&u.Device, &u.Name, &u.Officer, &u.Link, &u.Set, &u.Reason, &u.By, &at, &told, &u.Screen}, fix.into()...)...)
		u.SetAt, u.Told = fromMillis(at), fromMillis(told)
		u.Heard = u.Link == LinkLive || u.Link == LinkSuspect
		if w := fix.wire(); w != nil {
			f := fixOf(w)
			u.At = &units.Fix{Lat: f.Lat, Lon: f.Lon, Time: f.Time}
			u.Course, u.Speed = f.Course, f.Speed
		}
		out = append(out, u)
		return true, err
	}); err != nil {
		return nil, err
	}
	standing, err := s.Incidents(ctx, Filter{States: []incident.State{incident.Dispatched, incident.EnRoute, incident.OnScene, incident.Checked}})
	if err != nil {
		return nil, err
	}
	at := make(map[string]*UnitRow, len(out))
	for n := range out {
		at[out[n].Device] = &out[n]
	}
	for n := range standing {
		for _, u := range standing[n].Units {
			if row := at[u.Device]; row != nil && u.Live() {
				row.Incident = standing[n].ID
				row.There = u.Reached == incident.UnitOnScene || u.Reached == incident.UnitChecked
			}
		}
	}
	return out, nil
}

// SetUnit sets what a unit is doing, for the desk knows better; "" leaves it to
// what the centre knows. The error wraps [ErrNotFound], or is a
// *[incident.FieldError].
func (s *Store) SetUnit(ctx context.Context, by incident.Actor, device string, state units.State, reason string) error {
	if !slices.Contains(units.Settable(), state) {
		return &incident.FieldError{Field: "state", Value: string(state), Want: "available, busy, off_duty, out_of_service, or nothing", Code: incident.RefusedUnitState}
	}
	return s.update(ctx, func(t *tx) error {
		d, err := t.device(device)
		if err != nil {
			return err
		}
		if !d.kind.Patrols() {
			return fmt.Errorf("%w: device %q is no unit", ErrNotFound, device)
		}
		t.change(Change{Kind: UnitChanged, Device: device})
		return t.setUnit(by, d, state, reason, t.at, t.at)
	})
}

// setUnit keeps what a unit does, unless something newer was said.
func (t *tx) setUnit(by incident.Actor, d *device, state units.State, reason string, at, told time.Time) error {
	if err := t.exec(`INSERT INTO unit_states (device, state, reason, by, at, told, screen) VALUES (?,?,?,?,?,?,?)
		ON CONFLICT (device) DO UPDATE SET state = excluded.state, reason = excluded.reason, by = excluded.by, at = excluded.at,
			told = excluded.told, screen = excluded.screen WHERE excluded.at >= at`,
		d.num, state, reason, by.Name, at.UnixMilli(), told.UnixMilli(), by.Screen); err != nil {
		return err
	}
	return t.did(by, "unit_set", "device/"+d.id, strings.TrimSpace(string(state)+" "+reason))
}

// unitSays takes what a unit's people say that it does. What they said without
// a link counts from when they said it: the desk may have set something since.
func (t *tx) unitSays(a *Arrival, d *device, st *stream, b *wire.UnitState) {
	state, known := map[wire.Doing]units.State{wire.DoingNothing: "", wire.DoingBusy: units.Busy, wire.DoingOutOfService: units.OutOfService}[b.Doing]
	if !known || !d.kind.Patrols() { // of a later version, or no unit: the event is kept
		return
	}
	t.later = append(t.later, func() error {
		given, err := t.when(st, a)
		if err != nil {
			return err
		}
		t.change(Change{Kind: UnitChanged, Device: d.id})
		return t.setUnit(incident.Actor{Name: whoAt(a.Event), Screen: incident.ScreenUnit, Where: whereAt(b.Position)}, d, state, b.Reason, given, a.Received)
	})
}
