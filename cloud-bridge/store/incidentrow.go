package store

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/fengsui/fengsui/cloud-bridge/incident"
	"github.com/fengsui/fengsui/firmware/wire"
)

// incidentQuery selects what scanIncident scans; a WHERE clause may follow.
const incidentQuery = `SELECT i.incident, coalesce(i.device, 0), coalesce(d.id, ''), coalesce(d.name, ''), i.alarm, i.rev, i.state, i.kind, i.silent, i.drill,
	i.priority, i.presses, i.press_stream, i.press_seq, i.pressed_at, i.pressed_source, i.pressed_uncert, i.received_at,
	i.lat, i.lon, i.position_source, i.position_age, i.position_spread, i.officer,
	i.acknowledged_by, i.acknowledged_at, i.dispatched_unit, i.dispatched_by, i.dispatched_at,
	i.closed_code, i.closed_by, i.closed_note, i.closed_at, i.cleared_by, i.cleared_at,
	i.shown_rev, i.shown_state, i.shown_at, i.press_boot, i.press_mono, i.told_at, i.told_source, i.told_uncert, i.corrected, i.sms_at, i.press_sms,
	i.owner, i.tier, i.cell, i.village, i.township, i.district, i.work
	FROM incidents i LEFT JOIN devices d ON d.device = i.device `

func scanIncident(scan func(...any) error) (*record, error) {
	r := new(record)
	var (
		alarm                                         []byte
		pressed, received                             sql.NullInt64
		uncert                                        int64
		lat, lon                                      *float64
		source                                        sql.NullString
		age, spread                                   sql.NullInt64
		ackBy, disUnit, disBy, code, clsBy, note      sql.NullString
		ackAt, disAt, clsAt, clrAt, shownRev, shownAt sql.NullInt64
		clrBy, shownState                             sql.NullString
		mono, toldWithin                              int64
		corrected                                     bool
		smsAt                                         sql.NullInt64
		more                                          string
	)
	err := scan(&r.ID, &r.key.device, &r.Device, &r.DeviceName, &alarm, &r.Rev, &r.State, &r.Kind, &r.Silent, &r.Drill,
		&r.Priority, &r.Presses, &r.pressedAt.stream, &r.pressedAt.seq, &pressed, &r.Pressed.Source, &uncert, &received,
		&lat, &lon, &source, &age, &spread, &r.Officer,
		&ackBy, &ackAt, &disUnit, &disBy, &disAt, &code, &clsBy, &note, &clsAt, &clrBy, &clrAt,
		&shownRev, &shownState, &shownAt, &r.pressBoot, &mono, &r.told.UnixMilli, &r.told.Source, &toldWithin, &corrected, &smsAt, &r.pressSMS,
		&r.Owner, &r.Tier, &r.Place.Cell, &r.Place.Village, &r.Place.Township, &r.Place.District, &more)
	if err != nil {
		return nil, err
	}
	r.Alarm = wire.AlarmID(alarm)
	r.key.alarm = r.Alarm
	r.Pressed.Time, r.Pressed.Uncertainty = fromMillis(pressed), time.Duration(uncert)*time.Millisecond
	r.Received = fromMillis(received)
	r.pressMono, r.told.Uncertainty = time.Duration(mono)*time.Millisecond, time.Duration(toldWithin)*time.Millisecond
	if corrected {
		told := r.told
		r.Pressed.Original = &told
	}
	if p := point(lat, lon); p != nil {
		r.Position = &incident.Position{
			Lat: p.Lat, Lon: p.Lon, Source: incident.PositionSource(source.String),
			Age: time.Duration(age.Int64) * time.Millisecond, Spread: spread.Int64,
		}
	}
	if ackAt.Valid {
		r.Acknowledged = &incident.Acknowledgement{By: ackBy.String, At: fromMillis(ackAt)}
	}
	if disAt.Valid {
		r.Dispatched = &incident.Dispatch{Unit: disUnit.String, By: disBy.String, At: fromMillis(disAt)}
	}
	if clsAt.Valid {
		r.Closed = &incident.Closing{Code: incident.Code(code.String), By: clsBy.String, Note: note.String, At: fromMillis(clsAt)}
	}
	if clrAt.Valid {
		r.Cleared = &incident.Clearing{By: clrBy.String, At: fromMillis(clrAt)}
	}
	if shownAt.Valid {
		r.Shown = &incident.Receipt{Rev: uint64(shownRev.Int64), State: incident.State(shownState.String), At: fromMillis(shownAt)}
	}
	if smsAt.Valid {
		r.text(fromMillis(smsAt))
	}
	if more != "" {
		var w work
		if err := errors.Join(json.Unmarshal([]byte(more), &w), w.before(more)); err != nil {
			return nil, fmt.Errorf("incident %d: %w", r.ID, err)
		}
		w.give(&r.Incident)
	}
	r.loaded = loaded{r.Rev, r.State, r.Position != nil, place(r.Position)}
	if r.Pressed.Source == wire.WallNone {
		r.Missing = append(r.Missing, incident.MissingTime)
	}
	if r.Position == nil && r.Kind.Pressed() {
		r.Missing = append(r.Missing, incident.MissingPosition)
	}
	if r.Place.District != "" && r.Place.Cell == "" && r.Position != nil && r.Kind.Pressed() {
		r.Missing = append(r.Missing, incident.MissingCell)
	}
	return r, nil
}

// incident reads an incident once in a transaction, or returns nil.
func (t *tx) incident(where string, args ...any) (*record, error) {
	var r *record
	err := t.rows(incidentQuery+where, args, func(scan func(...any) error) (bool, error) {
		var err error
		r, err = scanIncident(scan)
		return false, err
	})
	if err != nil || r == nil {
		return nil, err
	}
	switch have := t.incidents[r.key]; {
	case have != nil && have.ID == r.ID:
		return have, nil
	case have != nil: // of an alarm that was pressed again after its first incident was closed
		if err := t.saveIncident(have); err != nil {
			return nil, err
		}
	}
	t.incidents[r.key] = r
	return r, nil
}

func (t *tx) insertIncident(r *record) error {
	res, err := t.run(`INSERT INTO incidents (device, alarm, rev, state, kind, silent, drill, priority, presses,
		press_stream, press_seq, pressed_source, pressed_uncert, received_at, officer)
		VALUES (nullif(?, 0),?,0,'','',0,0,0,0,0,0,0,0,?,'')`, r.key.device, r.key.alarm[:], r.Received.UnixMilli())
	if err != nil {
		return err
	}
	if r.ID, err = res.LastInsertId(); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	t.touch(r)
	return nil
}

// saveIncident writes back a changed incident and the entries that were added
// to its timeline.
func (t *tx) saveIncident(r *record) error {
	if !r.changed {
		return nil
	}
	if err := errors.Join(t.redatings(r), t.settle(r)); err != nil {
		return err
	}
	for _, e := range r.Timeline[r.logged:] {
		if e.Screen == "" {
			e.Screen = incident.ScreenDevice
			if e.By == "centre" {
				e.Screen = incident.ScreenCentre
			}
		}
		if err := t.exec(`INSERT INTO timeline (incident, at, what, by, detail, given, screen, place, said) VALUES (?,?,?,?,?,?,?,?,?)`,
			r.ID, e.At.UnixMilli(), e.What, e.By, e.Detail, millis(e.Given), e.Screen, e.Where, e.Ref); err != nil {
			return err
		}
		if err := t.auditEntry(r, &e); err != nil {
			return err
		}
	}
	r.logged = len(r.Timeline)
	more, err := json.Marshal(workOf(&r.Incident))
	if err != nil {
		return fmt.Errorf("incident %d: %w", r.ID, err)
	}
	args := []any{
		int64(r.Rev), r.State, r.Kind, r.Silent, r.Drill, r.Priority, int64(min(r.Presses, 1<<62)),
		r.pressedAt.stream, r.pressedAt.seq, millis(r.Pressed.Time), r.Pressed.Source,
		r.Pressed.Uncertainty.Milliseconds(), r.Officer,
	}
	if p := r.Position; p != nil {
		args = append(args, p.Lat, p.Lon, p.Source, p.Age.Milliseconds(), p.Spread)
	} else {
		args = append(args, nil, nil, nil, nil, nil)
	}
	if a := r.Acknowledged; a != nil {
		args = append(args, a.By, a.At.UnixMilli())
	} else {
		args = append(args, nil, nil)
	}
	if d := r.Dispatched; d != nil {
		args = append(args, d.Unit, d.By, d.At.UnixMilli())
	} else {
		args = append(args, nil, nil, nil)
	}
	if c := r.Closed; c != nil {
		args = append(args, c.Code, c.By, c.Note, c.At.UnixMilli())
	} else {
		args = append(args, nil, nil, nil, nil)
	}
	if c := r.Cleared; c != nil {
		args = append(args, c.By, c.At.UnixMilli())
	} else {
		args = append(args, nil, nil)
	}
	if s := r.Shown; s != nil {
		args = append(args, int64(min(s.Rev, 1<<62)), s.State, s.At.UnixMilli())
	} else {
		args = append(args, nil, nil, nil)
	}
	args = append(args, int64(r.pressBoot), r.pressMono.Milliseconds(), r.told.UnixMilli, r.told.Source,
		r.told.Uncertainty.Milliseconds(), r.Pressed.Original != nil, doubted(r.Pressed))
	if r.SMS != nil {
		args = append(args, r.SMS.At.UnixMilli())
	} else {
		args = append(args, nil)
	}
	args = append(args, int64(r.pressSMS),
		r.Owner, r.Tier, r.Place.Cell, r.Place.Village, r.Place.Township, r.Place.District, string(more))
	return t.exec(`UPDATE incidents SET rev = ?, state = ?, kind = ?, silent = ?, drill = ?, priority = ?, presses = ?,
		press_stream = ?, press_seq = ?, pressed_at = ?, pressed_source = ?, pressed_uncert = ?, officer = ?,
		lat = ?, lon = ?, position_source = ?, position_age = ?, position_spread = ?, acknowledged_by = ?, acknowledged_at = ?,
		dispatched_unit = ?, dispatched_by = ?, dispatched_at = ?, closed_code = ?, closed_by = ?, closed_note = ?, closed_at = ?,
		cleared_by = ?, cleared_at = ?, shown_rev = ?, shown_state = ?, shown_at = ?,
		press_boot = ?, press_mono = ?, told_at = ?, told_source = ?, told_uncert = ?, corrected = ?, doubted = ?, sms_at = ?, press_sms = ?,
		owner = ?, tier = ?, cell = ?, village = ?, township = ?, district = ?, work = ? WHERE incident = ?`, append(args, r.ID)...)
}
