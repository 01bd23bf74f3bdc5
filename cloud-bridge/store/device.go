package store

import (
	"context"
	"crypto/ed25519"
	"database/sql"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/fengsui/fengsui/firmware/wire"
)

// device is a row of the devices table within a transaction.
type device struct {
	num      int64
	id       string
	kind     DeviceKind
	at       *Point
	streams  map[wire.StreamID]*stream
	heardAt  sql.NullInt64
	firmware string
	healthAt order
	queue    [3]sql.NullInt64 // by lane
	gps      string
	signedAt order
	officer  string
	fix      *wire.TrackFix
	aliveAt  sql.NullInt64

	// Which run of it is live, and the one before; see runs.
	run, runBefore run
	returns        int
	returnedAt     int64
}

// device reads a device once in a transaction.
func (t *tx) device(id string) (*device, error) {
	if d := t.devices[id]; d != nil {
		return d, nil
	}
	d := &device{id: id, streams: make(map[wire.StreamID]*stream)}
	var lat, lon *float64
	var fix nullFix
	var stream, before []byte
	found, err := t.row(`SELECT device, kind, lat, lon, heard_at, firmware, health_stream, health_seq,
		queue_alarm, queue_duty, queue_track, gps, duty_stream, duty_seq, officer,
		alive_at, run_stream, run_boot, before_stream, before_boot, returns, returned_at, `+fixColumns+`
		FROM devices WHERE id = ?`, []any{id}, append([]any{
		&d.num, &d.kind, &lat, &lon, &d.heardAt, &d.firmware, &d.healthAt.stream, &d.healthAt.seq,
		&d.queue[0], &d.queue[1], &d.queue[2], &d.gps, &d.signedAt.stream, &d.signedAt.seq, &d.officer,
		&d.aliveAt, &stream, &d.run.boot, &before, &d.runBefore.boot, &d.returns, &d.returnedAt,
	}, fix.into()...))
	switch {
	case err != nil:
		return nil, err
	case !found:
		return nil, fmt.Errorf("%w: device %q", ErrNotFound, id)
	}
	d.at, d.fix = point(lat, lon), fix.wire()
	copy(d.run.stream[:], stream)
	copy(d.runBefore.stream[:], before)
	t.devices[id] = d
	return d, nil
}

func (t *tx) saveDevice(d *device) error {
	args := []any{
		d.heardAt, d.firmware, d.healthAt.stream, d.healthAt.seq, d.queue[0], d.queue[1], d.queue[2], d.gps,
		d.signedAt.stream, d.signedAt.seq, d.officer, d.aliveAt,
		d.run.stream[:], int64(d.run.boot), d.runBefore.stream[:], int64(d.runBefore.boot), d.returns, d.returnedAt,
	}
	if f := d.fix; f != nil {
		args = append(args, f.Time, f.LatE6, f.LonE6, f.Alt, f.Speed, f.Course, f.HDOP, f.Flags)
	} else {
		args = append(args, nil, nil, nil, nil, nil, nil, nil, nil)
	}
	return t.exec(`UPDATE devices SET heard_at = ?, firmware = ?, health_stream = ?, health_seq = ?,
		queue_alarm = ?, queue_duty = ?, queue_track = ?, gps = ?, duty_stream = ?, duty_seq = ?, officer = ?,
		alive_at = ?, run_stream = ?, run_boot = ?, before_stream = ?, before_boot = ?, returns = ?, returned_at = ?,
		fix_at = ?, fix_lat_e6 = ?, fix_lon_e6 = ?, fix_alt = ?, fix_speed = ?, fix_course = ?, fix_hdop = ?, fix_flags = ?
		WHERE device = ?`, append(args, d.num)...)
}

func (d *device) heard(at time.Time) {
	d.heardAt = sql.NullInt64{Int64: max(d.heardAt.Int64, at.UnixMilli()), Valid: true}
}

func (d *device) signed(at order, officer string) {
	if at.after(d.signedAt) {
		d.signedAt, d.officer = at, officer
	}
}

// health takes a heartbeat, unless a newer one is known. It lists the active
// faults, so that one ends that a restart of the device or a gap left open.
func (t *tx) health(d *device, at order, b *wire.Health, received time.Time) error {
	if !at.after(d.healthAt) {
		return nil
	}
	d.healthAt, d.firmware, d.gps = at, b.Firmware, b.GPS
	var supply *int64
	if b.Supply != nil {
		supply = new(int64(*b.Supply & math.MaxInt64))
	}
	if err := t.exec(`UPDATE devices SET temperature = ?, supply = ? WHERE device = ?`, b.Temperature, supply, d.num); err != nil {
		return err
	}
	if b.Started != "" {
		if err := t.exec(`UPDATE devices SET started = ?, started_at = ? WHERE device = ?`, string(b.Started), received.UnixMilli(), d.num); err != nil {
			return err
		}
	}
	if err := t.cellular(d, b); err != nil {
		return err
	}
	if err := t.wireless(d, b); err != nil {
		return err
	}
	for i, l := range wire.Lanes() {
		d.queue[i] = sql.NullInt64{Int64: int64(min(b.Queue[l], 1<<62)), Valid: true}
	}
	var known []wire.Fault
	if err := t.rows(`SELECT code, detail FROM faults WHERE device = ? AND active`, []any{d.num}, func(scan func(...any) error) (bool, error) {
		f := wire.Fault{Active: true}
		err := scan(&f.Code, &f.Detail)
		known = append(known, f)
		return true, err
	}); err != nil {
		return err
	}
	for _, f := range known {
		f.Active = slices.Contains(b.Faults, f.Code)
		if err := t.putFault(d, at, &f, received); err != nil {
			return err
		}
	}
	for _, code := range b.Faults {
		if !slices.ContainsFunc(known, func(f wire.Fault) bool { return f.Code == code }) {
			if err := t.putFault(d, at, &wire.Fault{Code: code, Active: true}, received); err != nil {
				return err
			}
		}
	}
	return nil
}

// cellular keeps what a heartbeat says of the cellular network.
func (t *tx) cellular(d *device, b *wire.Health) error {
	if b.Operator == "" && b.SignalDBm == 0 {
		return t.exec(`UPDATE devices SET cell_operator = NULL, cell_rat = NULL, cell_dbm = NULL WHERE device = ? AND cell_operator IS NOT NULL`, d.num)
	}
	return t.exec(`UPDATE devices SET cell_operator = ?, cell_rat = ?, cell_dbm = ? WHERE device = ?`, b.Operator, b.RAT, b.SignalDBm, d.num)
}

// wireless keeps what a heartbeat says of the wireless network.
func (t *tx) wireless(d *device, b *wire.Health) error {
	if b.WiFi == "" {
		return t.exec(`UPDATE devices SET wifi = NULL, wifi_ssid = NULL, wifi_dbm = NULL WHERE device = ? AND wifi IS NOT NULL`, d.num)
	}
	return t.exec(`UPDATE devices SET wifi = ?, wifi_ssid = ?, wifi_dbm = ? WHERE device = ?`, b.WiFi, b.SSID, b.RadioDBm, d.num)
}

// fault notes that a fault began or ended. A newer heartbeat knows better.
func (t *tx) fault(d *device, at order, b *wire.Fault, received time.Time) error {
	if d.healthAt.after(at) {
		var msg []byte
		if _, err := t.row(`SELECT message FROM events WHERE device = ? AND stream = ? AND lane = ? AND seq = ?`,
			[]any{d.num, d.healthAt.stream, wire.Duty, d.healthAt.seq}, []any{&msg}); err != nil {
			return err
		}
		if e, err := wire.Peek(msg); err == nil {
			if h, ok := e.Body.(*wire.Health); ok && slices.Contains(h.Faults, b.Code) != b.Active {
				return nil
			}
		}
	}
	return t.putFault(d, at, b, received)
}

func (t *tx) putFault(d *device, at order, b *wire.Fault, received time.Time) error {
	return t.exec(`INSERT INTO faults (device, code, stream, seq, active, detail, since) VALUES (?,?,?,?,?,?,?)
		ON CONFLICT (device, code) DO UPDATE SET
			since = CASE WHEN active AND excluded.active THEN since ELSE excluded.since END,
			stream = excluded.stream, seq = excluded.seq, active = excluded.active, detail = excluded.detail
		WHERE excluded.stream > stream OR excluded.stream = stream AND excluded.seq > seq`,
		d.num, b.Code, at.stream, at.seq, b.Active, b.Detail, received.UnixMilli())
}

// Register adds devices to the register, or replaces what it says of them.
// All or none are registered. The error wraps [ErrRegister] for a bad one.
func (s *Store) Register(ctx context.Context, rs ...Registration) error {
	for i := range rs {
		if err := rs[i].Validate(); err != nil {
			return err
		}
	}
	// What is registered already needs no room on the disk.
	have, err := s.Devices(ctx)
	if err != nil {
		return err
	}
	rs = slices.DeleteFunc(slices.Clone(rs), func(r Registration) bool {
		return slices.ContainsFunc(have, func(d Device) bool { return r.equal(&d.Registration) })
	})
	if len(rs) == 0 {
		return nil
	}
	return s.update(ctx, func(t *tx) error {
		for _, r := range rs {
			var lat, lon any
			if r.At != nil {
				lat, lon = r.At.Lat, r.At.Lon
			}
			if err := t.exec(`INSERT INTO devices (id, kind, name, key, lat, lon) VALUES (?,?,?,?,?,?)
				ON CONFLICT (id) DO UPDATE SET kind = excluded.kind, name = excluded.name, key = excluded.key,
					lat = excluded.lat, lon = excluded.lon`,
				r.ID, r.Kind, r.Name, []byte(r.Key), lat, lon); err != nil {
				return err
			}
			t.change(Change{Kind: DeviceChanged, Device: r.ID})
		}
		return nil
	})
}

// Key returns the public key of a registered device. The error wraps
// [ErrNotFound].
func (s *Store) Key(ctx context.Context, id string) (ed25519.PublicKey, error) {
	var key []byte
	found, err := s.queryRow(ctx, `SELECT key FROM devices WHERE id = ?`, []any{id}, []any{&key})
	if err == nil && !found {
		err = fmt.Errorf("%w: device %q", ErrNotFound, id)
	}
	return key, err
}

// Devices returns all registered devices by id.
func (s *Store) Devices(ctx context.Context) ([]Device, error) { return s.devices(ctx, "") }

// Device returns one. The error wraps [ErrNotFound].
func (s *Store) Device(ctx context.Context, id string) (*Device, error) {
	ds, err := s.devices(ctx, id)
	if err != nil {
		return nil, err
	}
	if len(ds) == 0 {
		return nil, fmt.Errorf("%w: device %q", ErrNotFound, id)
	}
	return &ds[0], nil
}

const fixColumns = `fix_at, fix_lat_e6, fix_lon_e6, fix_alt, fix_speed, fix_course, fix_hdop, fix_flags`

// nullFix scans fixColumns, which are all NULL or none.
type nullFix [8]sql.NullInt64

func (n *nullFix) into() []any {
	out := make([]any, len(n))
	for i := range n {
		out[i] = &n[i]
	}
	return out
}

func (n *nullFix) wire() *wire.TrackFix {
	if !n[0].Valid {
		return nil
	}
	return &wire.TrackFix{
		Time: n[0].Int64, LatE6: n[1].Int64, LonE6: n[2].Int64, Alt: n[3].Int64,
		Speed: n[4].Int64, Course: n[5].Int64, HDOP: n[6].Int64, Flags: wire.TrackFlag(n[7].Int64),
	}
}

// fixOf brings a fix from the units of the wire into those of the API.
func fixOf(w *wire.TrackFix) Fix {
	f := Fix{Time: time.UnixMilli(w.Time).UTC(), Point: Point{w.Lat(), w.Lon()}, Mode: 2, Jumped: w.Flags&wire.Jumped != 0}
	if w.Flags&wire.Fix3D != 0 {
		f.Mode = 3
	}
	given := func(flag wire.TrackFlag, v float64) *float64 {
		if w.Flags&flag == 0 {
			return nil
		}
		return &v
	}
	f.Alt = given(wire.HasAlt, float64(w.Alt))
	f.Speed = given(wire.HasSpeed, float64(w.Speed)/10)
	f.Course = given(wire.HasCourse, float64(w.Course))
	f.HDOP = given(wire.HasHDOP, float64(w.HDOP)/10)
	return f
}

func point(lat, lon *float64) *Point {
	if lat == nil || lon == nil {
		return nil
	}
	return &Point{*lat, *lon}
}
