package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/fengsui/fengsui/cloud-bridge/stats"
)

// Outages returns of each device, by its id, since when it is watched and when
// it could not be heard within from ≤ time < to. One that could be heard all the
// time has no outages; one that was never heard is not named.
func (s *Store) Outages(ctx context.Context, from, to time.Time) (map[string]stats.Watch, error) {
	rows, err := s.query(ctx, `SELECT d.id, coalesce((SELECT min(heard_at) FROM streams WHERE device = d.device), d.heard_at), o.from_, o.to_
		FROM devices d LEFT JOIN outages o ON o.device = d.device AND o.from_ < ? AND coalesce(o.to_, 1 << 62) >= ?
		WHERE d.heard_at IS NOT NULL ORDER BY d.id, o.from_`, to.UnixMilli(), from.UnixMilli())
	if err != nil {
		return nil, err
	}
	out := make(map[string]stats.Watch)
	return out, each(rows, func(scan func(...any) error) (bool, error) {
		var id string
		var since, begin, end sql.NullInt64
		err := scan(&id, &since, &begin, &end)
		w := out[id]
		w.Since = fromMillis(since)
		if begin.Valid {
			w.Outages = append(w.Outages, stats.Outage{From: fromMillis(begin), To: fromMillis(end)})
		}
		out[id] = w
		return true, err
	})
}
