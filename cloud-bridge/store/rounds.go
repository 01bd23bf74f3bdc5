package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/fengsui/fengsui/cloud-bridge/incident"
	"github.com/fengsui/fengsui/cloud-bridge/roster"
	"github.com/fengsui/fengsui/firmware/wire"
)

// A CheckIn says that somebody on a guard round came by a device.
type CheckIn struct {
	Device   string
	At       time.Time // as well as the centre knew when it came
	Received time.Time
	Officer  string // whose finger, or "" for a button
	Button   string
	Drill    bool
	Point    *Point // of a device that moves
}

// checkIn takes a check-in.
func (t *tx) checkIn(a *Arrival, d *device, st *stream, b *wire.CheckIn, row int64) {
	t.later = append(t.later, func() error {
		at, err := t.when(st, a)
		if err != nil {
			return err
		}
		var lat, lon any
		if b.Position != nil {
			lat, lon = b.Position.Lat(), b.Position.Lon()
		}
		t.change(Change{Kind: RoundChanged, Device: d.id})
		return t.exec(`INSERT INTO check_ins (event, device, at, received, officer, button, drill, lat, lon) VALUES (?,?,?,?,?,?,?,?,?)
			ON CONFLICT DO NOTHING`, row, d.num, at.UnixMilli(), a.Received.UnixMilli(), b.Officer, b.Button, a.Event.Drill, lat, lon)
	})
}

// CheckIns returns check-ins of from ≤ time < to, in the order of time. A
// finger laid on the reader of a box to sign on is one as well.
func (s *Store) CheckIns(ctx context.Context, from, to time.Time) ([]CheckIn, error) {
	rows, err := s.query(ctx, `SELECT d.id, c.at, c.received, c.officer, c.button, c.drill, c.lat, c.lon
		FROM check_ins c JOIN devices d ON d.device = c.device WHERE c.at >= ? AND c.at < ? ORDER BY c.at, c.event`,
		from.UnixMilli(), to.UnixMilli())
	if err != nil {
		return nil, err
	}
	var out []CheckIn
	return out, each(rows, func(scan func(...any) error) (bool, error) {
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
		return nil
	})
}

// lookBack is how long after its time a visit is still said to be missed, if
// the centre was down meanwhile.
const lookBack = 24 * time.Hour

// Rounds returns the visits whose time ended at from ≤ time < to, and what
// became of each.
func (s *Store) Rounds(ctx context.Context, from, to time.Time) ([]roster.Judgement, error) {
	r, d, err := s.Roster(ctx)
	if err != nil || r == nil {
		return nil, err
	}
	noted, err := s.notedMissed(ctx, from.Add(-lookBack))
	if err != nil {
		return nil, err
	}
	visits := r.Visits(from, to)
	if len(visits) == 0 {
		return nil, nil
	}
	// What is late for one visit may be in time for the next: both are judged.
	const most = 12 * time.Hour
	came, err := s.CheckIns(ctx, from.Add(-most), to.Add(most))
	if err != nil {
		return nil, err
	}
	all := r.Visits(from.Add(-most), to.Add(most))
	var passed []roster.CheckIn
	for _, c := range came {
		if c.Drill {
			continue // an exercise is no round
		}
		passed = append(passed, roster.CheckIn{Point: c.Device, At: c.At, Officer: c.Officer})
	}
	return slices.DeleteFunc(roster.Judge(all, passed, s.now()), func(j roster.Judgement) bool {
		// Nobody missed what was not asked: before this plan was loaded only that
		// counts as missed which was noted then.
		return j.Until.Before(from) || !j.Until.Before(to) || j.State == roster.Missed && j.Due.Before(d.At) && !noted[missedKey(&j)]
	}), nil
}

func missedKey(j *roster.Judgement) string {
	return fmt.Sprint(j.Round, "\n", j.Due.UnixMilli(), "\n", j.Point)
}

// notedMissed are the visits due since a time that were noted as missed.
func (s *Store) notedMissed(ctx context.Context, since time.Time) (map[string]bool, error) {
	rows, err := s.query(ctx, `SELECT round, due, point FROM missed WHERE due >= ?`, since.UnixMilli())
	if err != nil {
		return nil, err
	}
	have := make(map[string]bool)
	return have, each(rows, func(scan func(...any) error) (bool, error) {
		var j roster.Judgement
		var due int64
		err := scan(&j.Round, &due, &j.Point)
		j.Due = time.UnixMilli(due)
		have[missedKey(&j)] = true
		return true, err
	})
}

// MissedRounds notes the visits that were missed and not noted yet, and
// returns when the time of the next one ends; zero when there is none.
func (s *Store) MissedRounds(ctx context.Context) (next time.Time, err error) {
	r, d, err := s.Roster(ctx)
	if err != nil || r == nil {
		return next, err
	}
	now := s.now()
	if v := r.Visits(now, now.Add(lookBack)); len(v) > 0 {
		next = v[0].Until.Add(time.Millisecond)
	}
	from := now.Add(-lookBack)
	if d.At.After(from) {
		from = d.At // nobody missed what was not asked
	}
	judged, err := s.Rounds(ctx, from, now)
	if err != nil {
		return next, err
	}
	judged = slices.DeleteFunc(judged, func(j roster.Judgement) bool { return j.State != roster.Missed })
	have, err := s.notedMissed(ctx, from.Add(-lookBack))
	if err != nil {
		return next, err
	}
	judged = slices.DeleteFunc(judged, func(j roster.Judgement) bool { return have[missedKey(&j)] })
	if len(judged) == 0 {
		return next, nil
	}
	return next, s.update(ctx, func(t *tx) error {
		for _, j := range judged {
			if err := t.exec(`INSERT INTO missed (round, due, point, at) VALUES (?,?,?,?) ON CONFLICT DO NOTHING`,
				j.Round, j.Due.UnixMilli(), j.Point, t.at.UnixMilli()); err != nil {
				return err
			}
			if err := t.did(incident.Actor{Name: "centre", Screen: incident.ScreenCentre}, "round_missed", "round/"+j.Round,
				j.Point+" due "+j.Due.UTC().Format(time.RFC3339)); err != nil {
				return err
			}
			t.change(Change{Kind: RoundChanged, Device: j.Point})
		}
		return nil
	})
}
