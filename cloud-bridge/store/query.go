package store

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"slices"
	"time"

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
	var out []EventRow
	err = each(rows, func(scan func(...any) error) (bool, error) {
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
	return out, err
}

// Track returns a device's fixes by their own time, from ≤ time < to; a zero
// time is no bound. At most limit fixes (0: all), the latest. The error wraps
// [ErrNotFound].
func (s *Store) Track(ctx context.Context, device string, from, to time.Time, limit int) ([]Fix, error) {
	num, err := s.number(ctx, device)
	if err != nil {
		return nil, err
	}
	lo, hi, n := int64(math.MinInt64), int64(math.MaxInt64), int64(-1)
	if !from.IsZero() {
		lo = from.UnixMilli()
	}
	if !to.IsZero() {
		hi = to.UnixMilli()
	}
	if limit > 0 {
		n = int64(limit)
	}
	rows, err := s.query(ctx, `SELECT at, lat_e6, lon_e6, alt, speed, course, hdop, flags FROM fixes
		WHERE device = ? AND at >= ? AND at < ? ORDER BY at DESC, event DESC, n DESC LIMIT ?`, num, lo, hi, n)
	if err != nil {
		return nil, err
	}
	var out []Fix
	err = each(rows, func(scan func(...any) error) (bool, error) {
		var f wire.TrackFix
		err := scan(&f.Time, &f.LatE6, &f.LonE6, &f.Alt, &f.Speed, &f.Course, &f.HDOP, &f.Flags)
		out = append(out, fixOf(&f))
		return true, err
	})
	slices.Reverse(out)
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
