package store

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/fengsui/fengsui/firmware/wire"
)

// What [Store.Devices] reads; %[1]s is where a WHERE clause may stand.
const (
	devicesQuery = `SELECT d.device, d.id, d.kind, d.name, d.key, d.lat, d.lon, d.heard_at, d.firmware, d.gps, d.officer,
		d.queue_alarm, d.queue_duty, d.queue_track, ` + fixColumns + ` FROM devices d %[1]s ORDER BY d.id`
	streamsQuery = `SELECT s.device, s.id, l.lane, l.up_to, l.highest FROM devices d JOIN streams s ON s.device = d.device
		LEFT JOIN lanes l ON l.stream = s.stream %[1]s ORDER BY s.stream, l.lane`
	faultsQuery = `SELECT f.device, f.code, f.detail, f.since FROM devices d JOIN faults f ON f.device = d.device AND f.active
		%[1]s ORDER BY f.since, f.code`
	// What is missing between up-to and the highest is a gap for now: each
	// event that does not follow the one before it ends one.
	gapsQuery = `SELECT s.device, s.id, g.lane, g.from_seq, g.to_seq, g.why
			FROM devices d JOIN streams s ON s.device = d.device JOIN gaps g ON g.stream = s.stream %[1]s
		UNION ALL
		SELECT device, id, lane, before + 1, seq - 1, '` + WhyNotYet + `' FROM (
			SELECT s.device, s.id, l.lane, e.seq, lag(e.seq, 1, l.up_to) OVER (PARTITION BY l.stream, l.lane ORDER BY e.seq) AS before
			FROM (SELECT * FROM devices d %[1]s) d JOIN streams s ON s.device = d.device
			JOIN lanes l ON l.stream = s.stream AND l.highest > l.up_to
			JOIN events e ON e.device = s.device AND e.stream = l.stream AND e.lane = l.lane AND e.seq > l.up_to)
		WHERE seq > before + 1
		ORDER BY 1, 2, 3, 4`
)

// devices reads one device or, for "", all, in one snapshot.
func (s *Store) devices(ctx context.Context, id string) ([]Device, error) {
	where, args := "", []any(nil)
	if id != "" {
		where, args = "WHERE d.id = ?1", []any{id}
	}
	var texts []string
	for _, q := range []string{devicesQuery, streamsQuery, faultsQuery, gapsQuery} {
		texts = append(texts, fmt.Sprintf(q, where))
	}
	r := deviceReader{at: make(map[int64]int)}
	err := s.snapshot(ctx, texts, func(query func(int, ...any) (*sql.Rows, error)) error {
		for n, row := range []func(scan func(...any) error) error{r.device, r.stream, r.fault, r.gap} {
			rows, err := query(n, args...)
			if err != nil {
				return err
			}
			if err := each(rows, func(scan func(...any) error) (bool, error) { return true, row(scan) }); err != nil {
				return err
			}
		}
		return nil
	})
	return r.out, err
}

// deviceReader puts devices together from their rows.
type deviceReader struct {
	out []Device
	at  map[int64]int // device number → index in out
}

func (r *deviceReader) device(scan func(...any) error) error {
	var d Device
	var num int64
	var lat, lon *float64
	var key []byte
	var heard sql.NullInt64
	var queue [3]sql.NullInt64
	var fix nullFix
	err := scan(append([]any{
		&num, &d.ID, &d.Kind, &d.Name, &key, &lat, &lon, &heard, &d.Firmware, &d.GPS, &d.Officer,
		&queue[0], &queue[1], &queue[2],
	}, fix.into()...)...)
	d.Key, d.At, d.LastHeard = key, point(lat, lon), fromMillis(heard)
	if f := fix.wire(); f != nil {
		last := fixOf(f)
		d.LastFix = &last
	}
	for i, l := range wire.Lanes() {
		if queue[i].Valid {
			if d.Queue == nil {
				d.Queue = make(map[wire.Lane]uint64)
			}
			d.Queue[l] = uint64(queue[i].Int64)
		}
	}
	r.at[num] = len(r.out)
	r.out = append(r.out, d)
	return err
}

func (r *deviceReader) stream(scan func(...any) error) error {
	var num int64
	var id []byte
	var lane, upTo, highest sql.NullInt64
	if err := scan(&num, &id, &lane, &upTo, &highest); err != nil {
		return err
	}
	d, st := &r.out[r.at[num]], wire.StreamID(id)
	if n := len(d.Streams); n == 0 || d.Streams[n-1].ID != st {
		d.Streams = append(d.Streams, Stream{st, make(map[wire.Lane]LaneState)})
	}
	if lane.Valid {
		d.Streams[len(d.Streams)-1].Lanes[wire.Lane(lane.Int64)] = LaneState{uint64(upTo.Int64), uint64(highest.Int64)}
	}
	return nil
}

func (r *deviceReader) fault(scan func(...any) error) error {
	var num int64
	var f Fault
	var since sql.NullInt64
	if err := scan(&num, &f.Code, &f.Detail, &since); err != nil {
		return err
	}
	f.Since = fromMillis(since)
	d := &r.out[r.at[num]]
	d.Faults = append(d.Faults, f)
	return nil
}

func (r *deviceReader) gap(scan func(...any) error) error {
	var num int64
	var id []byte
	var g Gap
	if err := scan(&num, &id, &g.Lane, &g.From, &g.To, &g.Why); err != nil {
		return err
	}
	g.Stream = wire.StreamID(id)
	d := &r.out[r.at[num]]
	d.Gaps = append(d.Gaps, g)
	return nil
}
