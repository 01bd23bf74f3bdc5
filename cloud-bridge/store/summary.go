package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"
)

// A DeviceSummary is of a device what a list or a map of thousands shows.
type DeviceSummary struct {
	ID, Name  string
	Kind      DeviceKind
	At        *Point // surveyed
	Fix       *Fix
	LastHeard time.Time
	Link      Link
	LinkSince time.Time
	Officer   string
	Queue     uint64 // events not yet acknowledged, as the last heartbeat said
	Faults    int    // active ones
}

const summaryQuery = `SELECT d.id, d.name, d.kind, d.lat, d.lon, d.heard_at, d.link, d.link_since, d.officer,
	coalesce(d.queue_alarm, 0) + coalesce(d.queue_duty, 0) + coalesce(d.queue_track, 0),
	(SELECT count(*) FROM faults f WHERE f.device = d.device AND f.active), ` + fixColumns + ` FROM devices d `

// Summary returns devices by id, or all when none is named: one query, whatever
// their number. An id that is not registered is left out.
func (s *Store) Summary(ctx context.Context, ids ...string) ([]DeviceSummary, error) {
	var rows *sql.Rows
	var err error
	if len(ids) == 0 {
		rows, err = s.query(ctx, summaryQuery+`ORDER BY d.id`)
	} else {
		var list []byte
		if list, err = json.Marshal(ids); err != nil {
			return nil, fmt.Errorf("store: %w", err)
		}
		rows, err = s.query(ctx, summaryQuery+`WHERE d.id IN (SELECT value FROM json_each(?)) ORDER BY d.id`, string(list))
	}
	if err != nil {
		return nil, err
	}
	var out []DeviceSummary
	return out, each(rows, func(scan func(...any) error) (bool, error) {
		var d DeviceSummary
		var lat, lon *float64
		var heard, since sql.NullInt64
		var queue int64
		var fix nullFix
		err := scan(append([]any{&d.ID, &d.Name, &d.Kind, &lat, &lon, &heard, &d.Link, &since, &d.Officer, &queue, &d.Faults}, fix.into()...)...)
		d.At, d.LastHeard, d.LinkSince, d.Queue = point(lat, lon), fromMillis(heard), fromMillis(since), uint64(max(queue, 0))
		if w := fix.wire(); w != nil {
			f := fixOf(w)
			d.Fix = &f
		}
		out = append(out, d)
		return true, err
	})
}
