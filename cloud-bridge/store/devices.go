package store

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/fengsui/fengsui/firmware/wire"
)

// What [Store.Devices] reads; %[1]s is where a WHERE clause may stand.
const (
	devicesQuery = `SELECT d.device, d.id, d.kind, d.name, d.key, d.lat, d.lon, d.heard_at, d.link, d.link_since, d.firmware, d.gps, d.officer,
		d.started, d.started_at, d.temperature, d.supply, d.queue_alarm, d.queue_duty, d.queue_track, d.cell_operator, d.cell_rat, d.cell_dbm,
		d.wifi, d.wifi_ssid, d.wifi_dbm, ` + fixColumns + ` FROM devices d %[1]s ORDER BY d.id`
	streamsQuery = `SELECT s.device, s.stream, s.id, s.heard_at, t.previous, t.why, t.alarm, t.duty, t.track, t.detail,
		t.wall, t.wall_source, t.wall_uncert, t.received_at FROM devices d JOIN streams s ON s.device = d.device
		LEFT JOIN starts t ON t.stream = s.stream %[1]s ORDER BY s.stream`
	faultsQuery = `SELECT f.device, f.code, f.detail, f.since FROM devices d JOIN faults f ON f.device = d.device AND f.active
		%[1]s ORDER BY f.since, f.code`
	lanesQuery = `SELECT l.stream, l.lane, l.up_to, l.highest, l.known, l.told, l.oldest, l.duplicates
		FROM devices d JOIN streams s ON s.device = d.device JOIN lanes l ON l.stream = s.stream %[1]s`
	holesQuery = `SELECT h.stream, h.lane, h.from_seq, h.to_seq, h.since
		FROM devices d JOIN streams s ON s.device = d.device JOIN holes h ON h.stream = s.stream %[1]s
		ORDER BY h.stream, h.lane, h.from_seq`
	droppedQuery = `SELECT o.stream, o.lane, o.from_seq, o.to_seq, o.why, o.events, o.fixes, o.first_at, o.last_at, o.since
		FROM devices d JOIN streams s ON s.device = d.device JOIN dropped o ON o.stream = s.stream %[1]s
		ORDER BY o.stream, o.lane, o.from_seq, o.to_seq, o.why`
	wrongQuery = `SELECT b.stream, b.lane, b.seq, b.since, '` + WhyChain + `'
			FROM devices d JOIN streams s ON s.device = d.device JOIN breaks b ON b.stream = s.stream %[1]s
		UNION ALL
		SELECT w.stream, w.lane, w.seq, min(w.received_at), '` + WhyTwice + `'
			FROM devices d JOIN streams s ON s.device = d.device JOIN twice w ON w.stream = s.stream %[1]s
			GROUP BY w.stream, w.lane, w.seq`
)

// devices reads one device or, for "", all, in one snapshot.
func (s *Store) devices(ctx context.Context, id string) ([]Device, error) {
	where, args := "", []any(nil)
	if id != "" {
		where, args = "WHERE d.id = ?1", []any{id}
	}
	var texts []string
	for _, q := range []string{devicesQuery, faultsQuery, streamsQuery, lanesQuery, holesQuery, droppedQuery, wrongQuery, commissionedQuery} {
		texts = append(texts, fmt.Sprintf(q, where))
	}
	r := deviceReader{at: make(map[int64]int), streams: make(map[int64]*streamReader)}
	err := s.snapshot(ctx, texts, func(query func(int, ...any) (*sql.Rows, error)) error {
		for n, row := range []func(scan func(...any) error) error{r.device, r.fault, r.stream, r.lane, r.hole, r.dropped, r.wrong, r.commissioned} {
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
	r.finish()
	return r.out, err
}

// deviceReader puts devices together from their rows.
type deviceReader struct {
	out     []Device
	at      map[int64]int // device number → index in out
	streams map[int64]*streamReader
	order   []*streamReader
}

func (r *deviceReader) device(scan func(...any) error) error {
	var d Device
	var num int64
	var lat, lon *float64
	var key []byte
	var heard, since, started, temperature, supply sql.NullInt64
	var queue [3]sql.NullInt64
	var operator, rat, wifi, ssid sql.NullString
	var dbm, wifiDBm sql.NullInt64
	var fix nullFix
	err := scan(append([]any{
		&num, &d.ID, &d.Kind, &d.Name, &key, &lat, &lon, &heard, &d.Link, &since, &d.Firmware, &d.GPS, &d.Officer,
		&d.Started, &started, &temperature, &supply, &queue[0], &queue[1], &queue[2], &operator, &rat, &dbm,
		&wifi, &ssid, &wifiDBm,
	}, fix.into()...)...)
	d.StartedAt = fromMillis(started)
	if temperature.Valid {
		d.Temperature = new(float64(temperature.Int64) / 10)
	}
	if supply.Valid {
		d.Supply = new(wire.Supply(supply.Int64))
	}
	d.Key, d.At, d.LastHeard, d.LinkSince = key, point(lat, lon), fromMillis(heard), fromMillis(since)
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
	if operator.Valid {
		d.Cellular = &Cellular{operator.String, rat.String, int(dbm.Int64)}
	}
	if wifi.Valid {
		d.Wireless = &Wireless{wifi.String, ssid.String, int(wifiDBm.Int64)}
	}
	r.at[num] = len(r.out)
	r.out = append(r.out, d)
	return err
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
