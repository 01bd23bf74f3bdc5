package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/fengsui/fengsui/cloud-bridge/stats"
)

// Outages returns when each device could not be heard within from ≤ time < to,
// by its id; a device that could be heard all the time has none, one that was
// never heard is not named.
func (s *Store) Outages(ctx context.Context, from, to time.Time) (map[string][]stats.Outage, error) {
	rows, err := s.query(ctx, `SELECT d.id, o.from_, o.to_ FROM devices d
		LEFT JOIN outages o ON o.device = d.device AND o.from_ < ? AND coalesce(o.to_, 1 << 62) >= ?
		WHERE d.heard_at IS NOT NULL ORDER BY d.id, o.from_`, to.UnixMilli(), from.UnixMilli())
	if err != nil {
		return nil, err
	}
	out := make(map[string][]stats.Outage)
	return out, each(rows, func(scan func(...any) error) (bool, error) {
		var id string
		var begin, end sql.NullInt64
		err := scan(&id, &begin, &end)
		list := out[id]
		if begin.Valid {
			list = append(list, stats.Outage{From: fromMillis(begin), To: fromMillis(end)})
		}
		out[id] = list
		return true, err
	})
}
