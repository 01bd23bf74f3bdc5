package store

import (
	"context"
	"database/sql"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/fengsui/fengsui/firmware/wire"
)

// track stores a batch's fixes and moves the device to the latest. A fix that
// claims to be from the future is stored but moves nothing: it would stand as
// the latest for ever. One whose time the device doubts is dated by its boot,
// and moves nothing while that cannot be.
func (t *tx) track(d *device, st *stream, a *Arrival, b *wire.TrackBatch, row int64) error {
	const ahead = 10 * time.Minute
	newest := func(f wire.TrackFix) {
		if f.Time <= a.Received.Add(ahead).UnixMilli() && (d.fix == nil || f.Time >= d.fix.Time) {
			d.fix = &f
		}
	}
	own, err := t.boot(st.num, a.Event.Boot)
	if err != nil {
		return err
	}
	denied := deniedBy(own.clues, a.Event) || fromFuture(a.Event.Wall, a.Received)
	var dated []int
	for n := range b.Fixes {
		f := b.Fixes[n]
		if f.Flags&wire.DoubtTime == 0 && !denied {
			dated = append(dated, n)
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
	// A statement is dearer than a row, and each number of rows is another
	// statement to prepare.
	for _, size := range []int{20, 5, 1} {
		text := `INSERT INTO fixes (device, at, event, n, lat_e6, lon_e6, alt, speed, course, hdop, flags) VALUES ` +
			strings.Repeat(",(?,?,?,?,?,?,?,?,?,?,?)", size)[1:]
		for len(dated) >= size {
			var args []any
			for _, n := range dated[:size] {
				f := &b.Fixes[n]
				args = append(args, d.num, f.Time, row, n, f.LatE6, f.LonE6, f.Alt, f.Speed, f.Course, f.HDOP, f.Flags)
			}
			dated = dated[size:]
			if err := t.exec(text, args...); err != nil {
				return err
			}
		}
	}
	return nil
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
		for n, f := range body.Fixes {
			if f.Flags&wire.DoubtTime != 0 {
				continue
			}
			if err := t.exec(`DELETE FROM fixes WHERE device = ? AND at = ? AND event = ? AND n = ?`, b.device, f.Time, b.row, n); err != nil {
				return err
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
	rows, err := s.query(ctx, `SELECT e.stream, e.boot, e.mono, e.seq, f.n, f.at, f.lat_e6, f.lon_e6, f.alt, f.speed, f.course, f.hdop, f.flags
		FROM (SELECT * FROM fixes WHERE device = ? AND at >= ? AND at < ? ORDER BY at DESC, event DESC, n DESC LIMIT ?) f
		JOIN events e ON e.event = f.event`, num, lo, hi, n)
	if err != nil {
		return nil, err
	}
	var all []placed
	err = each(rows, func(scan func(...any) error) (bool, error) {
		var p placed
		var f wire.TrackFix
		err := scan(&p.stream, &p.boot, &p.mono, &p.seq, &p.n, &f.Time, &f.LatE6, &f.LonE6, &f.Alt, &f.Speed, &f.Course, &f.HDOP, &f.Flags)
		p.Fix = fixOf(&f)
		all = append(all, p)
		return true, err
	})
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
	if limit > 0 && len(all) > limit {
		slices.SortFunc(all, func(a, b placed) int { return a.Time.Compare(b.Time) })
		all = all[len(all)-limit:]
	}
	slices.SortFunc(all, placed.compare)
	out := make([]Fix, len(all))
	for i := range all {
		out[i] = all[i].Fix
	}
	return out, nil
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
