package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/fengsui/fengsui/cloud-bridge/incident"
	"github.com/fengsui/fengsui/cloud-bridge/roster"
	"github.com/fengsui/fengsui/firmware/wire"
)

// A CheckIn says that somebody on a guard round came by a device.
type CheckIn struct {
	Device   string
	At       time.Time // as well as the centre knows
	Received time.Time
	Officer  string // whose finger, or "" for a button
	Button   string
	Drill    bool
	Point    *Point // of a device that moves
}

// checkIn takes a check-in.
func (t *tx) checkIn(a *Arrival, d *device, st *stream, b *wire.CheckIn, row int64) {
	t.later = append(t.later, func() error {
		s, err := t.say(st, a, 0, row)
		if err != nil {
			return err
		}
		at := s.at(a.Received)
		var lat, lon any
		if b.Position != nil {
			lat, lon = b.Position.Lat(), b.Position.Lon()
		}
		t.change(Change{Kind: RoundChanged, Device: d.id})
		if err := t.exec(`INSERT INTO check_ins (event, device, at, received, officer, button, drill, lat, lon) VALUES (?,?,?,?,?,?,?,?,?)
			ON CONFLICT DO NOTHING`, row, d.num, at.UnixMilli(), a.Received.UnixMilli(), b.Officer, b.Button, a.Event.Drill, lat, lon); err != nil {
			return err
		}
		return t.came(d.num, at)
	})
}

// CheckIns returns check-ins of from ≤ time < to, in the order of time. A
// finger laid on the reader of a box to sign on is one as well.
func (s *Store) CheckIns(ctx context.Context, from, to time.Time) ([]CheckIn, error) {
	return readCheckIns(s.reader(ctx), from, to)
}

func readCheckIns(rows rowsOf, from, to time.Time) (out []CheckIn, err error) {
	return out, rows(`SELECT d.id, c.at, c.received, c.officer, c.button, c.drill, c.lat, c.lon
		FROM check_ins c JOIN devices d ON d.device = c.device WHERE c.at >= ? AND c.at < ? ORDER BY c.at, c.event`,
		[]any{from.UnixMilli(), to.UnixMilli()}, func(scan func(...any) error) (bool, error) {
			var c CheckIn
			var at, received sql.NullInt64
			var lat, lon *float64
			err := scan(&c.Device, &at, &received, &c.Officer, &c.Button, &c.Drill, &lat, &lon)
			c.At, c.Received, c.Point = fromMillis(at), fromMillis(received), point(lat, lon)
			out = append(out, c)
			return true, err
		})
}

// Roster returns the plan, or nil when none was loaded.
func (s *Store) Roster(ctx context.Context) (*roster.Roster, *Document, error) {
	d, err := s.document(ctx, documentRoster)
	if errors.Is(err, ErrNotFound) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	r, err := roster.Parse(d.Body)
	return r, d, err
}

// LoadRoster checks a plan and puts it in the place of the one before. The
// error wraps [roster.ErrRoster] for a bad one, and [ErrNotFound] when it names
// a point that is no device.
func (s *Store) LoadRoster(ctx context.Context, by incident.Actor, body []byte) (*roster.Roster, error) {
	r, err := roster.Parse(body)
	if err != nil {
		return nil, err
	}
	for _, n := range r.Rounds {
		for _, p := range n.Points {
			if _, err := s.number(ctx, p); err != nil {
				return nil, fmt.Errorf("rounds: %s: points: %w", n.ID, err)
			}
		}
	}
	return r, s.load(ctx, by, documentRoster, body, func(t *tx) error {
		t.change(Change{Kind: RosterChanged})
		return t.exec(`INSERT INTO plans (rev, at, body) SELECT rev, at, body FROM documents WHERE name = ?
			AND body IS NOT (SELECT body FROM plans ORDER BY rev DESC LIMIT 1)`, documentRoster)
	})
}
