package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/fengsui/fengsui/cloud-bridge/grid"
	"github.com/fengsui/fengsui/cloud-bridge/incident"
)

// A Document is something that people load as a whole.
type Document struct {
	Name string // "grid" or "roster"
	Rev  int64  // counts the loadings, from 1
	At   time.Time
	By   string
	Body []byte
}

// The names of documents.
const (
	documentGrid   = "grid"
	documentRoster = "roster"
)

// gridCache is the parsed grid of a revision. Another process may load one.
type gridCache struct {
	mu  sync.Mutex
	rev int64
	g   *grid.Grid
}

// parse returns the grid of a document that was valid when it was loaded.
func (c *gridCache) parse(rev int64, body func() ([]byte, error)) (*grid.Grid, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if rev == c.rev {
		return c.g, nil
	}
	b, err := body()
	if err != nil {
		return nil, err
	}
	g, err := grid.Parse(b)
	if err != nil {
		return nil, fmt.Errorf("store: the grid that was loaded: %w", err)
	}
	c.rev, c.g = rev, g
	return g, nil
}

// area returns the grid within a transaction, or nil.
func (t *tx) area() (*grid.Grid, error) {
	if t.gridRead {
		return t.grid, nil
	}
	var rev int64
	found, err := t.row(`SELECT rev FROM documents WHERE name = ?`, []any{documentGrid}, []any{&rev})
	if err != nil {
		return nil, err
	}
	t.gridRead = true
	if found {
		t.grid, err = t.known.parse(rev, func() (b []byte, err error) {
			_, err = t.row(`SELECT body FROM documents WHERE name = ?`, []any{documentGrid}, []any{&b})
			return b, err
		})
	}
	return t.grid, err
}

// locate says where an incident lies and, once, who has to act first.
func (t *tx) locate(r *record) error {
	g, err := t.area()
	if err != nil {
		return err
	}
	if r.Place = g.Nowhere(); r.Position != nil {
		r.Place = g.Locate(r.Position.Lat, r.Position.Lon)
	}
	if r.Tier == "" || r.Overruns == (incident.Overruns{}) {
		r.Tier = r.Place.Tier()
	}
	return nil
}

// Grid returns the grid, or nil when none was loaded.
func (s *Store) Grid(ctx context.Context) (*grid.Grid, *Document, error) {
	d, err := s.document(ctx, documentGrid)
	if errors.Is(err, ErrNotFound) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	g, err := s.grid.parse(d.Rev, func() ([]byte, error) { return d.Body, nil })
	return g, d, err
}

// LoadGrid checks a grid and puts it in the place of the one before; incidents
// that are not closed are looked up in it anew. The error wraps
// [grid.ErrGrid] for a bad one.
func (s *Store) LoadGrid(ctx context.Context, by incident.Actor, body []byte) (*grid.Grid, error) {
	g, err := grid.Parse(body)
	if err != nil {
		return nil, err
	}
	err = s.load(ctx, by, documentGrid, body, func(t *tx) error {
		t.grid, t.gridRead = g, true
		ids, err := t.standingIDs()
		if err != nil {
			return err
		}
		for _, id := range ids {
			r, err := t.byID(id)
			if err != nil {
				return err
			}
			if err := t.locate(r); err != nil {
				return err
			}
			t.touch(r)
		}
		t.change(Change{Kind: GridChanged})
		return nil
	})
	return g, err
}

func (t *tx) standingIDs() (ids []int64, err error) {
	err = t.rows(`SELECT incident FROM incidents WHERE state <> ?`, []any{incident.Closed}, func(scan func(...any) error) (bool, error) {
		var id int64
		err := scan(&id)
		ids = append(ids, id)
		return true, err
	})
	return ids, err
}

// load puts a document in the place of the one before.
func (s *Store) load(ctx context.Context, by incident.Actor, name string, body []byte, then func(*tx) error) error {
	return s.update(ctx, func(t *tx) error {
		if err := t.exec(`INSERT INTO documents (name, rev, at, by, body) VALUES (?, 1, ?, ?, ?)
			ON CONFLICT (name) DO UPDATE SET rev = rev + 1, at = excluded.at, by = excluded.by, body = excluded.body`,
			name, t.at.UnixMilli(), by.Name, body); err != nil {
			return err
		}
		if err := t.did(by, name+"_loaded", name, fmt.Sprintf("%d bytes", len(body))); err != nil {
			return err
		}
		return then(t)
	})
}

// document returns a document. The error wraps [ErrNotFound].
func (s *Store) document(ctx context.Context, name string) (*Document, error) {
	d := &Document{Name: name}
	var at sql.NullInt64
	found, err := s.queryRow(ctx, `SELECT rev, at, by, body FROM documents WHERE name = ?`, []any{name}, []any{&d.Rev, &at, &d.By, &d.Body})
	if err == nil && !found {
		err = fmt.Errorf("%w: no %s was loaded", ErrNotFound, name)
	}
	d.At = fromMillis(at)
	return d, err
}

// Within reports whether a device, or where there is none ("") a position, lies
// in one of these areas of the grid. A box is where it was surveyed, a car
// where it was last, and also where it is the responsible unit. What is of no
// place is the district's.
func (s *Store) Within(ctx context.Context, nodes []string, device string, at *Point) (bool, error) {
	var rev int64
	if found, err := s.queryRow(ctx, `SELECT rev FROM documents WHERE name = ?`, []any{documentGrid}, []any{&rev}); err != nil || !found {
		return false, err
	}
	g, err := s.grid.parse(rev, func() ([]byte, error) {
		d, err := s.document(ctx, documentGrid)
		if err != nil {
			return nil, err
		}
		return d.Body, nil
	})
	if err != nil {
		return false, err
	}
	if device != "" {
		for _, n := range nodes {
			if f := g.Feature(n); f != nil && f.Unit == device {
				return true, nil
			}
		}
		if at, err = s.lies(ctx, device); err != nil {
			return false, err
		}
	}
	a := g.Nowhere()
	if at != nil {
		a = g.Locate(at.Lat, at.Lon)
	}
	for _, n := range nodes {
		if n != "" && (n == a.Cell || n == a.Village || n == a.Township || n == a.District) {
			return true, nil
		}
	}
	return false, nil
}

// lies returns where a device is or was last, or nil.
func (s *Store) lies(ctx context.Context, device string) (*Point, error) {
	list, err := s.Summary(ctx, device)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("%w: device %q", ErrNotFound, device)
	}
	switch d := &list[0]; {
	case d.Kind == AlarmBox && d.At != nil:
		return d.At, nil
	case d.Fix != nil:
		return &d.Fix.Point, nil
	default:
		return d.At, nil
	}
}
