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

// track notes when a batch's fixes were, and moves the device to the latest. The
// fixes themselves are read from the event. A fix that claims to be from the
// future moves nothing: it would stand as the latest for ever. Nor does one that
// the device itself does not believe, a jump. One whose time the
// device doubts is dated by its boot, and moves nothing while that cannot be.
func (t *tx) track(d *device, st *stream, a *Arrival, b *wire.TrackBatch, row int64) error {
	const ahead = 10 * time.Minute
	newest := func(f wire.TrackFix) {
		if f.Flags&wire.Jumped != 0 { // the device does not believe it
			return
		}
		if f.Time <= a.Received.Add(ahead).UnixMilli() && (d.fix == nil || f.Time >= d.fix.Time) {
			d.fix = &f
		}
	}
	own, err := t.boot(st.num, a.Event.Boot)
	if err != nil {
		return err
	}
	denied := deniedBy(own.clues, a.Event) || fromFuture(a.Event.Wall, a.Received)
	first, last := believed(b)
	for n := range b.Fixes {
		f := b.Fixes[n]
		if f.Flags&wire.DoubtTime == 0 && !denied {
			newest(f)
			continue
		}
		mono, err := t.putUndated(d.num, st.num, row, n, a.Event, f)
		if err != nil {
			return err
		}
		if at, ok := own.clues.best(mono); ok {
			f.Time = min(at.at, a.Received.UnixMilli())
			newest(f)
		}
	}
	if first > last || denied {
		return nil
	}
	return t.exec(`INSERT INTO tracks (device, last, first, event) VALUES (?,?,?,?)`, d.num, last, first, row)
}

// believed returns from when to when those fixes of a batch were whose times
// the device believed: first is later than last when there are none.
func believed(b *wire.TrackBatch) (first, last int64) {
	first, last = math.MaxInt64, math.MinInt64
	for i := range b.Fixes {
		if f := &b.Fixes[i]; f.Flags&wire.DoubtTime == 0 {
			first, last = min(first, f.Time), max(last, f.Time)
		}
	}
	return first, last
}

// deniedBy reports whether the time of day of an event is contradicted by the
// centre's own clock, and so that of the fixes in it.
func deniedBy(cs clues, e *wire.Event) bool {
	return e.Wall.Source != wire.WallNone && cs.denies(e.Mono.Milliseconds(), e.Wall.UnixMilli, e.Wall.Uncertainty.Milliseconds())
}

// putUndated stores a fix whose time is not to be believed, and returns when it
// was in its boot.
func (t *tx) putUndated(device, stream, row int64, n int, e *wire.Event, f wire.TrackFix) (mono int64, err error) {
	mono = f.Mono
	if f.Flags&wire.DoubtTime == 0 { // it is by the clock that the event is by
		mono = e.Mono.Milliseconds() - (e.Wall.UnixMilli - f.Time)
	}
	return mono, t.exec(`INSERT INTO undated (device, stream, boot, mono, event, n, said, lat_e6, lon_e6, alt, speed, course, hdop, flags)
		VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT DO NOTHING`, device, stream, int64(e.Boot), mono, row, n, f.Time,
		f.LatE6, f.LonE6, f.Alt, f.Speed, f.Course, f.HDOP, f.Flags)
}

// disbelieve takes the times from the fixes of those batches of a boot that
// the centre's own clock contradicts. That is rare, and reads the whole lane.
func (t *tx) disbelieve(k bootKey, cs clues) error {
	type batch struct {
		row, device int64
		event       *wire.Event
	}
	var denied []batch
	err := t.rows(`SELECT e.event, e.device, e.message FROM streams s JOIN events e ON e.device = s.device AND e.stream = s.stream
		WHERE s.stream = ? AND e.lane = ? AND e.boot = ?`, []any{k.stream, wire.Track, int64(k.boot)},
		func(scan func(...any) error) (bool, error) {
			var b batch
			var msg []byte
			err := scan(&b.row, &b.device, &msg)
			if err == nil {
				b.event, err = wire.Peek(msg)
			}
			if err == nil && deniedBy(cs, b.event) {
				denied = append(denied, b)
			}
			return true, err
		})
	if err != nil {
		return err
	}
	for _, b := range denied {
		body, ok := b.event.Body.(*wire.TrackBatch)
		if !ok {
			continue
		}
		_, last := believed(body)
		if err := t.exec(`DELETE FROM tracks WHERE device = ? AND last = ? AND event = ?`, b.device, last, b.row); err != nil {
			return err
		}
		for n, f := range body.Fixes {
			if f.Flags&wire.DoubtTime != 0 {
				continue
			}
			if _, err := t.putUndated(b.device, k.stream, b.row, n, b.event, f); err != nil {
				return err
			}
		}
	}
	return nil
}

// A placed fix is one with its place in the order of capture.
type placed struct {
	Fix
	stream int64
	boot   uint64
	mono   int64 // of the event
	seq    uint64
	n      int
}

// Track returns a device's fixes of from ≤ time < to; a zero time is no bound.
// At most limit fixes (0: all), the latest by their time. They are in the
// order of their capture: by the streams' age, then by boot and monotonic time
// within a stream, whatever their times say. The error wraps [ErrNotFound].
func (s *Store) Track(ctx context.Context, device string, from, to time.Time, limit int) ([]Fix, error) {
	num, err := s.number(ctx, device)
	if err != nil {
		return nil, err
	}
	lo, hi := int64(math.MinInt64), int64(math.MaxInt64)
	if !from.IsZero() {
		lo = from.UnixMilli()
	}
	if !to.IsZero() {
		hi = to.UnixMilli()
	}
	all, err := s.dated(ctx, num, lo, hi, limit)
	if err != nil {
		return nil, err
	}
	more, err := s.undated(ctx, num)
	if err != nil {
		return nil, err
	}
	for _, p := range more {
		if at := p.Time.UnixMilli(); at >= lo && at < hi {
			all = append(all, p)
		}
	}
	all = latest(all, limit)
	slices.SortFunc(all, placed.compare)
	out := make([]Fix, len(all))
	for i := range all {
		out[i] = all[i].Fix
	}
	return out, nil
}

// latest returns the limit latest fixes, or all for 0.
func latest(all []placed, limit int) []placed {
	if limit <= 0 || len(all) <= limit {
		return all
	}
	slices.SortFunc(all, func(a, b placed) int {
		if c := a.Time.Compare(b.Time); c != 0 {
			return c
		}
		return a.compare(b)
	})
	return all[len(all)-limit:]
}

// dated returns the latest fixes, whose times the device believed, of
// lo ≤ time < hi: at least limit of them, if there are (0: all).
func (s *Store) dated(ctx context.Context, device, lo, hi int64, limit int) ([]placed, error) {
	rows, err := s.query(ctx, `SELECT t.last, e.stream, e.boot, e.mono, e.seq, e.message FROM tracks t JOIN events e ON e.event = t.event
		WHERE t.device = ? AND t.last >= ? AND t.first < ? ORDER BY t.last DESC, t.event DESC`, device, lo, hi)
	if err != nil {
		return nil, err
	}
	var all []placed
	oldest := int64(math.MinInt64) // of the limit latest
	err = each(rows, func(scan func(...any) error) (bool, error) {
		var p placed
		var last int64
		var msg []byte
		if err := scan(&last, &p.stream, &p.boot, &p.mono, &p.seq, &msg); err != nil {
			return false, err
		}
		if last < oldest {
			return false, nil // and so is all that follows
		}
		e, err := wire.Peek(msg)
		if err != nil {
			return false, err
		}
		b, ok := e.Body.(*wire.TrackBatch)
		if !ok {
			return false, fmt.Errorf("event %d of stream %d has no track", p.seq, p.stream)
		}
		for n := range b.Fixes {
			if f := &b.Fixes[n]; f.Flags&wire.DoubtTime == 0 && f.Time >= lo && f.Time < hi {
				p.Fix, p.n = fixOf(f), n
				all = append(all, p)
			}
		}
		if limit > 0 && len(all) >= limit {
			all = latest(all, limit)
			oldest = slices.MinFunc(all, func(a, b placed) int { return a.Time.Compare(b.Time) }).Time.UnixMilli()
		}
		return true, nil
	})
	return all, err
}

func (p placed) compare(q placed) int {
	for _, d := range [...]int64{p.stream - q.stream, int64(p.boot) - int64(q.boot), p.mono - q.mono, int64(p.seq) - int64(q.seq), int64(p.n) - int64(q.n)} {
		if d != 0 {
			return int(d>>63) | 1
		}
	}
	return 0
}

// undated returns the fixes whose times the device doubted, those that can be
// dated.
func (s *Store) undated(ctx context.Context, device int64) ([]placed, error) {
	rows, err := s.query(ctx, `SELECT u.stream, st.id, u.boot, e.mono, e.seq, u.n, u.mono, e.received_at,
		u.lat_e6, u.lon_e6, u.alt, u.speed, u.course, u.hdop, u.flags
		FROM undated u JOIN streams st ON st.stream = u.stream JOIN events e ON e.event = u.event WHERE u.device = ?`, device)
	if err != nil {
		return nil, err
	}
	var all []placed
	var streams []wire.StreamID
	var monos []time.Duration
	var received []sql.NullInt64
	err = each(rows, func(scan func(...any) error) (bool, error) {
		var p placed
		var f wire.TrackFix
		var id []byte
		var mono int64
		var at sql.NullInt64
		if err := scan(&p.stream, &id, &p.boot, &p.mono, &p.seq, &p.n, &mono, &at,
			&f.LatE6, &f.LonE6, &f.Alt, &f.Speed, &f.Course, &f.HDOP, &f.Flags); err != nil {
			return false, err
		}
		p.Fix = fixOf(&f)
		all, streams = append(all, p), append(streams, wire.StreamID(id))
		monos, received = append(monos, time.Duration(mono)*time.Millisecond), append(received, at)
		return true, nil
	})
	if err != nil || len(all) == 0 {
		return nil, err
	}
	boots, err := s.boots(ctx, device)
	if err != nil {
		return nil, err
	}
	kept := all[:0]
	for i, p := range all {
		m := boots[streams[i]].moment(p.boot, monos[i], wire.Wall{}, fromMillis(received[i]))
		if m.Source == wire.WallNone {
			continue
		}
		p.Time, p.Within = m.Time, m.Uncertainty
		kept = append(kept, p)
	}
	return kept, nil
}
