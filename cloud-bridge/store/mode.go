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
		end := int64(0)
		if on {
			end = until.UnixMilli()
		}
		for _, id := range devices {
			d, err := t.device(id)
			if err != nil {
				return err
			}
			if err := t.exec(`INSERT INTO modes (device, rev, drill, until, by, at) VALUES (?,1,?,?,?,?)
				ON CONFLICT (device) DO UPDATE SET rev = rev + 1, drill = excluded.drill, until = excluded.until, by = excluded.by, at = excluded.at`,
				d.num, on, end, by.Name, t.at.UnixMilli()); err != nil {
				return err
			}
			t.change(Change{Kind: NoticeChanged, Device: id})
			t.change(Change{Kind: DrillChanged, Device: id})
			what, detail := "drill_ended", ""
			if on {
				what, detail = "drill_begun", "until "+until.UTC().Format(time.RFC3339)
			}
			if err := t.did(by, what, "device/"+id, detail); err != nil {
				return err
			}
		}
		return nil
	})
}

// modeSet takes that a device is in a mode.
func (t *tx) modeSet(d *device, b *wire.ModeSet) error {
	t.change(Change{Kind: NoticeChanged, Device: d.id})
	t.change(Change{Kind: DrillChanged, Device: d.id})
	return t.exec(`UPDATE modes SET answered = max(answered, ?) WHERE device = ?`, int64(min(b.Rev, 1<<62)), d.num)
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
