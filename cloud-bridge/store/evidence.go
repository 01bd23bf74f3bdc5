package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/fengsui/fengsui/firmware/wire"
)

// A SignedEvent is an event as it came.
type SignedEvent struct {
	Device   string
	Message  []byte // what the device signed
	Received time.Time
}

// EventsOf returns the events about an incident as they came, in the order of
// their storing: those of its alarm and what units and other boxes said of it.
func (s *Store) EventsOf(ctx context.Context, id int64) ([]SignedEvent, error) {
	rows, err := s.query(ctx, `SELECT d.id, e.message, e.received_at FROM events e JOIN devices d ON d.device = e.device
		WHERE e.event IN (
			SELECT a.event FROM incidents i JOIN events a ON a.device = i.device AND a.alarm = i.alarm WHERE i.incident = ?1
			UNION SELECT a.event FROM incidents i JOIN events a ON a.device = i.device AND a.stream = i.press_stream
				AND a.lane = ?2 AND a.seq = i.press_seq WHERE i.incident = ?1 AND i.kind = 'tamper'
			UNION SELECT event FROM incident_events WHERE incident = ?1) ORDER BY e.event`, id, wire.Duty)
	if err != nil {
		return nil, err
	}
	var out []SignedEvent
	return out, each(rows, func(scan func(...any) error) (bool, error) {
		var e SignedEvent
		var at sql.NullInt64
		err := scan(&e.Device, &e.Message, &at)
		e.Received = fromMillis(at)
		out = append(out, e)
		return true, err
	})
}
