package store

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"

	"github.com/fengsui/fengsui/firmware/wire"
)

// number returns a device's number.
func (s *Store) number(ctx context.Context, id string) (int64, error) {
	var num int64
	found, err := s.queryRow(ctx, `SELECT device FROM devices WHERE id = ?`, []any{id}, []any{&num})
	if err == nil && !found {
		err = fmt.Errorf("%w: device %q", ErrNotFound, id)
	}
	return num, err
}

// Events returns a device's events in the order of their storing. The error
// wraps [ErrNotFound] when there is no such device.
func (s *Store) Events(ctx context.Context, device string, q EventQuery) ([]EventRow, error) {
	num, err := s.number(ctx, device)
	if err != nil {
		return nil, err
	}
	if q.Limit <= 0 || q.Limit > MaxEvents {
		q.Limit = MaxEvents
	}
	rows, err := s.query(ctx, `SELECT event, received_at, message FROM events INDEXED BY events_by_device
		WHERE device = ?1 AND event > ?2 AND (?3 = 0 OR lane = ?3) ORDER BY event LIMIT ?4`, num, q.After, q.Lane, q.Limit)
	if err != nil {
		return nil, err
	}
	return s.eventRows(ctx, num, rows)
}

// maxFaults is how many faults and others FingerEvents looks through.
const maxFaults = 1000

// FingerEvents returns what happened at a device's reader, the newest first:
// fingers enrolled, deleted and refused, and the reader's faults. The error
// wraps [ErrNotFound] when there is no such device.
func (s *Store) FingerEvents(ctx context.Context, device string, limit int) ([]EventRow, error) {
	num, err := s.number(ctx, device)
	if err != nil {
		return nil, err
	}
	rows, err := s.query(ctx, `SELECT event, received_at, message FROM events INDEXED BY events_of_fingers
		WHERE device = ? AND type IN (18, 19, 24) ORDER BY event DESC LIMIT ?`, num, maxFaults)
	if err != nil {
		return nil, err
	}
	all, err := s.eventRows(ctx, num, rows)
	all = slices.DeleteFunc(all, func(r EventRow) bool {
		f, ok := r.Event.Body.(*wire.Fault)
		return ok && !strings.HasPrefix(f.Code, "fingerprint_")
	})
	return all[:min(limit, len(all))], err
}

// eventRows reads rows of event, received_at and message of one device.
func (s *Store) eventRows(ctx context.Context, num int64, rows *sql.Rows) ([]EventRow, error) {
	var out []EventRow
	err := each(rows, func(scan func(...any) error) (bool, error) {
		var r EventRow
		var at sql.NullInt64
		if err := scan(&r.ID, &at, &r.Message); err != nil {
			return false, err
		}
		e, err := wire.Peek(r.Message)
		if err != nil {
			return false, fmt.Errorf("event %d: %w", r.ID, err)
		}
		r.Event, r.Received = e, fromMillis(at)
		out = append(out, r)
		return true, nil
	})
	if err != nil || len(out) == 0 {
		return out, err
	}
	boots, err := s.boots(ctx, num)
	for i := range out {
		e := out[i].Event
		out[i].When = boots[e.Stream].moment(e.Boot, e.Mono, e.Wall, out[i].Received)
	}
	return out, err
}

// Refused returns what was not accepted.
func (s *Store) Refused(ctx context.Context) (Refusals, error) {
	out := Refusals{ByReason: make(map[string]uint64)}
	rows, err := s.query(ctx, `SELECT reason, n FROM refused_counts`)
	if err != nil {
		return out, err
	}
	if err := each(rows, func(scan func(...any) error) (bool, error) {
		var reason string
		var n uint64
		err := scan(&reason, &n)
		out.ByReason[reason] = n
		out.Total += n
		return true, err
	}); err != nil {
		return out, err
	}
	rows, err = s.query(ctx, `SELECT at, topic, reason, detail, size FROM refused ORDER BY refused DESC LIMIT ?`, KeptRefusals)
	if err != nil {
		return out, err
	}
	return out, each(rows, func(scan func(...any) error) (bool, error) {
		var r Refusal
		var at sql.NullInt64
		err := scan(&at, &r.Topic, &r.Reason, &r.Detail, &r.Size)
		r.At = fromMillis(at)
		out.Recent = append(out.Recent, r)
		return true, err
	})
}

// Ack returns how far a stream has come, for every lane. An unknown stream
// has come to 0.
func (s *Store) Ack(ctx context.Context, device string, stream wire.StreamID) (wire.Ack, error) {
	ack := newAck(stream)
	for _, l := range wire.Lanes() {
		ack.UpTo[l] = 0
	}
	rows, err := s.query(ctx, `SELECT l.lane, l.up_to, l.hash FROM devices d JOIN streams s ON s.device = d.device AND s.id = ?
		JOIN lanes l ON l.stream = s.stream WHERE d.id = ?`, stream[:], device)
	if err != nil {
		return ack, err
	}
	return ack, each(rows, func(scan func(...any) error) (bool, error) {
		var l wire.Lane
		var upTo uint64
		var hash []byte
		err := scan(&l, &upTo, &hash)
		addLane(&ack, l, upTo, hash)
		return true, err
	})
}
