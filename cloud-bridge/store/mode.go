package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/fengsui/fengsui/cloud-bridge/incident"
	"github.com/fengsui/fengsui/firmware/wire"
)

// A Drill is an exercise that a device is to take part in.
type Drill struct {
	Device string
	On     bool
	Until  time.Time // zero when it is not on
	By     string
	At     time.Time
	Told   bool // the device has said that it is in this mode
}

// SetDrill begins an exercise at devices, until a time, or ends it. All or none
// are told. The error wraps [ErrNotFound].
func (s *Store) SetDrill(ctx context.Context, by incident.Actor, devices []string, on bool, until time.Time) error {
	return s.update(ctx, func(t *tx) error {
		for _, id := range devices {
			if _, _, err := t.setDrill(by, id, on, until); err != nil {
				return err
			}
		}
		return nil
	})
}

// setDrill does that at one device; rev is of the mode that it is told.
func (t *tx) setDrill(by incident.Actor, id string, on bool, until time.Time) (device, rev int64, err error) {
	d, err := t.device(id)
	if err != nil {
		return 0, 0, err
	}
	end := int64(0)
	if on {
		end = until.UnixMilli()
	}
	if err := t.exec(`INSERT INTO modes (device, rev, drill, until, by, at) VALUES (?,1,?,?,?,?)
		ON CONFLICT (device) DO UPDATE SET rev = rev + 1, drill = excluded.drill, until = excluded.until, by = excluded.by, at = excluded.at`,
		d.num, on, end, by.Name, t.at.UnixMilli()); err != nil {
		return 0, 0, err
	}
	if err := t.exec(`UPDATE exercise_boxes SET ended_at = ?1, ended_by = ?2 WHERE device = ?3 AND ended_at IS NULL
		AND exercise IN (SELECT exercise FROM exercises WHERE until > ?1)`, t.at.UnixMilli(), by.Name, d.num); err != nil {
		return 0, 0, err
	}
	t.change(Change{Kind: NoticeChanged, Device: id})
	t.change(Change{Kind: DrillChanged, Device: id})
	what, detail := "drill_ended", ""
	if on {
		what, detail = "drill_begun", "until "+until.UTC().Format(time.RFC3339)
	}
	if err := t.did(by, what, "device/"+id, detail); err != nil {
		return 0, 0, err
	}
	_, err = t.row(`SELECT rev FROM modes WHERE device = ?`, []any{d.num}, []any{&rev})
	return d.num, rev, err
}

// modeSet takes that a device is in a mode.
func (t *tx) modeSet(d *device, b *wire.ModeSet) error {
	t.change(Change{Kind: NoticeChanged, Device: d.id})
	t.change(Change{Kind: DrillChanged, Device: d.id})
	rev := int64(min(b.Rev, 1<<62))
	if b.Drill {
		if err := t.exec(`UPDATE exercise_boxes SET told_at = ? WHERE device = ? AND rev = ? AND told_at IS NULL`, t.at.UnixMilli(), d.num, rev); err != nil {
			return err
		}
	}
	return t.exec(`UPDATE modes SET answered = max(answered, ?) WHERE device = ?`, rev, d.num)
}

// Drills returns the exercises that are on, and those that a device has not
// yet heard the end of.
func (s *Store) Drills(ctx context.Context) ([]Drill, error) {
	rows, err := s.query(ctx, `SELECT d.id, m.drill, m.until, m.by, m.at, m.answered >= m.rev FROM modes m JOIN devices d ON d.device = m.device
		WHERE m.drill AND m.until > ? OR NOT m.drill AND m.answered < m.rev ORDER BY d.id`, s.now().UnixMilli())
	if err != nil {
		return nil, err
	}
	var out []Drill
	return out, each(rows, func(scan func(...any) error) (bool, error) {
		var x Drill
		var until, at sql.NullInt64
		err := scan(&x.Device, &x.On, &until, &x.By, &at, &x.Told)
		if x.At = fromMillis(at); x.On {
			x.Until = fromMillis(until)
		}
		out = append(out, x)
		return true, err
	})
}

func (s *Store) modes(ctx context.Context, device string, out *[]Level) error {
	rows, err := s.query(ctx, `SELECT d.id, m.rev, m.drill, m.until, m.at FROM modes m JOIN devices d ON d.device = m.device
		WHERE m.answered < m.rev AND (NOT m.drill OR m.until > ?2) AND (?1 = '' OR d.id = ?1) ORDER BY d.id`, device, s.now().UnixMilli())
	if err != nil {
		return err
	}
	return each(rows, func(scan func(...any) error) (bool, error) {
		var l Level
		b := new(wire.Mode)
		var at sql.NullInt64
		err := scan(&l.Device, &b.Rev, &b.Drill, &b.Until, &at)
		l.Key, l.Rev, l.Body, l.Since = "mode", b.Rev, b, fromMillis(at)
		*out = append(*out, l)
		return true, err
	})
}
