package store_test

import (
	"bytes"
	"crypto/ed25519"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pressly/goose/v3"

	"github.com/fengsui/fengsui/cloud-bridge/incident"
	"github.com/fengsui/fengsui/cloud-bridge/store"
	"github.com/fengsui/fengsui/firmware/wire"
)

// old makes a database as the first version did, and fills it by SQL: a box with four
// incidents in the states that there were, a car that is signed on and has a track, a
// number that never came and one that broke the chain, and a device with nothing. It
// returns the next arrival of the box's alarm lane, which joins what is stored.
func old(t *testing.T, file string, version int64) *source {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+file+"?_pragma=foreign_keys(1)&_pragma=journal_mode(WAL)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	p, err := goose.NewProvider(goose.DialectSQLite3, db, os.DirFS("migrations"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.UpTo(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	exec := func(query string, args ...any) {
		t.Helper()
		if _, err := db.ExecContext(t.Context(), query, args...); err != nil {
			t.Fatalf("%s: %v", query, err)
		}
	}
	pub := []byte(key.Public().(ed25519.PublicKey))
	exec(`INSERT INTO devices (device, id, kind, name, key, lat, lon, heard_at, firmware) VALUES (1, 'box-01', 'alarm-box', 'old box', ?, 30.1, 103.1, ?, '0.1.0')`, pub, noon.UnixMilli())
	exec(`INSERT INTO devices (device, id, kind, name, key, heard_at, duty_stream, duty_seq, officer, fix_at, fix_lat_e6, fix_lon_e6, fix_alt, fix_speed, fix_course, fix_hdop, fix_flags)
		VALUES (2, 'car-01', 'patrol-car', 'old car', ?, ?, 2, 1, 'P-1001', ?, 30100000, 103100000, 0, 0, 0, 0, 1)`, pub, noon.UnixMilli(), noon.UnixMilli())
	exec(`INSERT INTO devices (device, id, kind, name, key) VALUES (3, 'box-02', 'alarm-box', 'never heard', ?)`, pub)
	exec(`INSERT INTO streams (stream, device, id) VALUES (1, 1, ?), (2, 2, ?)`, one[:], one[:])
	put := func(stream int64, a store.Arrival, alarm any) int64 {
		t.Helper()
		e, hash := a.Event, wire.HashOf(a.Message)
		exec(`INSERT INTO events (device, stream, lane, seq, boot, mono, wall, wall_source, type, alarm, received_at, prev, hash, message) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?)`,
			stream, stream, int(e.Lane), int64(e.Seq), int64(e.Boot), e.Mono.Milliseconds(), e.Wall.UnixMilli, int(e.Wall.Source), int(e.Body.Type()), alarm, a.Received.UnixMilli(), e.Prev[:], hash[:], a.Message)
		var id int64
		if err := db.QueryRowContext(t.Context(), `SELECT max(event) FROM events`).Scan(&id); err != nil {
			t.Fatal(err)
		}
		return id
	}
	box := lane(t, "box-01", wire.Alarm)
	for n, state := range []string{"open", "acknowledged", "dispatched", "closed"} {
		alarm := wire.AlarmID{byte(n + 1)}
		a := box.next(&wire.AlarmRaised{Alarm: alarm, Kind: wire.Panic, Button: "panic", Press: 1})
		put(1, a, alarm[:])
		var by, unit, code any
		var ack, sent, shut any
		if n > 0 {
			by, ack = "wang", a.Received.Add(10*time.Second).UnixMilli()
		}
		if n == 2 {
			unit, sent = "car-01", a.Received.Add(20*time.Second).UnixMilli()
		}
		if n == 3 {
			code, shut = "false_alarm", a.Received.Add(time.Minute).UnixMilli()
		}
		exec(`INSERT INTO incidents (incident, device, alarm, rev, state, kind, silent, drill, priority, presses, press_stream, press_seq, pressed_at, pressed_source, pressed_uncert,
			received_at, lat, lon, position_source, position_age, officer, acknowledged_by, acknowledged_at, dispatched_unit, dispatched_by, dispatched_at, closed_code, closed_by, closed_note, closed_at)
			VALUES (?,1,?,?,?,'panic',0,?,1,1,1,?,?,?,50,?,30.1,103.1,'surveyed',0,'',?,?,?,?,?,?,?,?,?)`,
			n+1, alarm[:], n+1, state, n == 1, int64(a.Event.Seq), a.Event.Wall.UnixMilli, int(wire.WallGNSS), a.Received.UnixMilli(), by, ack, unit, by, sent, code, by, "old note", shut)
		exec(`INSERT INTO timeline (incident, at, what, by, detail) VALUES (?, ?, 'opened', 'box-01', 'panic')`, n+1, a.Received.UnixMilli())
		if n > 0 {
			exec(`INSERT INTO timeline (incident, at, what, by, detail) VALUES (?, ?, 'acknowledged', 'wang', '')`, n+1, ack)
			exec(`INSERT INTO notices (incident, device, alarm, rev, state, unit, since) VALUES (?, 1, ?, ?, 1, '', ?)`, n+1, alarm[:], n+1, ack)
		}
	}
	exec(`INSERT INTO lanes (stream, lane, up_to, highest) VALUES (1, 1, 4, 4), (2, ?, 1, 1), (2, ?, 3, 3)`, int(wire.Duty), int(wire.Track))
	put(2, lane(t, "car-01", wire.Duty).next(&wire.SignOn{Officer: "P-1001"}), nil)
	track := lane(t, "car-01", wire.Track)
	track.seq = 2 // 1 and 2 are gone
	a := track.next(&wire.TrackBatch{Fixes: []wire.TrackFix{{Time: noon.UnixMilli(), LatE6: 30_100_000, LonE6: 103_100_000, Flags: wire.Fix3D}}})
	id := put(2, a, nil)
	exec(`INSERT INTO fixes (device, at, event, n, lat_e6, lon_e6, alt, speed, course, hdop, flags) VALUES (2, ?, ?, 0, 30100000, 103100000, 0, 0, 0, 0, 1)`, noon.UnixMilli(), id)
	exec(`INSERT INTO gaps (stream, lane, from_seq, to_seq, why) VALUES (2, ?, 1, 2, 'the device no longer holds them'), (1, 1, 3, 3, 'hash chain broken')`, int(wire.Track))
	exec(`INSERT INTO faults (device, code, stream, seq, active, detail, since) VALUES (1, 'gps_lost', 1, 1, 1, 'd', ?)`, noon.UnixMilli())
	exec(`INSERT INTO refused (at, topic, reason, detail, size) VALUES (?, 't', 'bad topic', 'd', 9)`, noon.UnixMilli())
	exec(`INSERT INTO refused_counts (reason, n) VALUES ('bad topic', 1)`)
	if version > 1 {
		if _, err := p.UpTo(t.Context(), version); err != nil {
			t.Fatal(err)
		}
	}
	return box
}

// A database that the first version filled is whole and usable in this one, at once or by
// way of any version between.
func TestAnOldDatabaseIsWholeAndUsable(t *testing.T) {
	for _, by := range []int64{1, 2, 3, 4, 5, 6, 7, 20, 30, 34} {
		t.Run(fmt.Sprint(by), func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "centre.db")
			box := old(t, file, by)
			now := noon.Add(time.Hour)
			s, err := store.Open(t.Context(), file, func() time.Time { return now })
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := s.Shut(); err != nil {
					t.Error(err)
				}
			}()
			list, err := s.Incidents(t.Context(), store.Filter{})
			if err != nil || len(list) != 4 {
				t.Fatalf("%d incidents, %v: want 4", len(list), err)
			}
			for n, state := range []incident.State{incident.Open, incident.Acknowledged, incident.Dispatched, incident.Closed} {
				i, err := s.Incident(t.Context(), int64(n+1))
				if err != nil {
					t.Fatal(err)
				}
				if i.State != state || i.Device != "box-01" || i.Rev != uint64(n+1) || i.Presses != 1 || i.Drill != (n == 1) || i.Alarm != (wire.AlarmID{byte(n + 1)}) ||
					!i.Received.Equal(noon.Add(time.Duration(n+1)*time.Second)) || !i.Pressed.Time.Equal(i.Received) || i.Pressed.Source != wire.WallGNSS ||
					i.Position == nil || i.Position.Lat != 30.1 || len(i.Timeline) != 1+min(n, 1) {
					t.Errorf("incident %d: %+v", n+1, i)
				}
				if n > 0 && (i.Acknowledged == nil || i.Acknowledged.By != "wang" || i.Owner != "wang" || !i.Acknowledged.At.Equal(i.Received.Add(10*time.Second))) {
					t.Errorf("incident %d: acknowledged %+v by %q", n+1, i.Acknowledged, i.Owner)
				}
				if n == 2 && (i.Dispatched == nil || i.Dispatched.Unit != "car-01" || len(i.Units) != 1 || !i.FirstSent.Equal(i.Received.Add(20*time.Second))) {
					t.Errorf("sent: %+v, %+v, first %v", i.Dispatched, i.Units, i.FirstSent)
				}
				if n == 3 && (i.Closed == nil || i.Closed.Code != incident.FalseAlarm || i.Closed.Note != "old note") {
					t.Errorf("closed: %+v", i.Closed)
				}
			}
			rows, err := s.Events(t.Context(), "box-01", store.EventQuery{})
			if err != nil || len(rows) != 4 || rows[0].Event.Body.(*wire.AlarmRaised).Press != 1 {
				t.Errorf("%d events of the box, %v: want 4", len(rows), err)
			}
			if p, err := s.Pending(t.Context(), "box-01"); err != nil || len(p) != 3 {
				t.Errorf("%d notices, %v: want 3 that the box has not answered", len(p), err)
			}
			car := device(t, s, "car-01")
			if car.Officer != "P-1001" || car.LastFix == nil || car.LastFix.Lat != 30.1 || len(car.Gaps) != 1 || car.Gaps[0].To != 2 || car.Gaps[0].Why != store.WhyNever {
				t.Errorf("the car: officer %q, fix %+v, gaps %+v", car.Officer, car.LastFix, car.Gaps)
			}
			if fixes, err := s.Track(t.Context(), "car-01", noon.Add(-time.Hour), now, 10); err != nil || len(fixes) != 1 {
				t.Errorf("track %+v, %v: want its fix", fixes, err)
			}
			if d := device(t, s, "box-01"); len(d.Faults) != 1 || len(d.Gaps) != 1 || d.Gaps[0].Why != store.WhyChain || d.Streams[0].Lanes[wire.Alarm].UpTo != 4 {
				t.Errorf("the box: faults %+v, gaps %+v", d.Faults, d.Gaps)
			}
			if r, err := s.Refused(t.Context()); err != nil || r.Total != 1 || len(r.Recent) != 1 {
				t.Errorf("refusals %+v, %v", r, err)
			}

			// It goes on: what is sent again is known, what is new joins.
			again := rows[0]
			if c := commit(t, s, store.Arrival{Event: again.Event, Message: again.Message, Received: now}); c.Duplicates != 1 || c.Stored != 0 {
				t.Errorf("sent again: %+v", c)
			}
			commit(t, s, box.next(&wire.AlarmRaised{Alarm: wire.AlarmID{1}, Kind: wire.Panic, Button: "panic", Press: 2}))
			commit(t, s, box.next(&wire.AlarmRaised{Alarm: wire.AlarmID{4}, Kind: wire.Panic, Button: "panic", Press: 2}))
			if d := device(t, s, "box-01"); len(d.Gaps) != 1 || d.Streams[0].Lanes[wire.Alarm].UpTo != 6 {
				t.Errorf("the lane does not go on: %+v", d.Streams[0].Lanes[wire.Alarm])
			}
			if i, err := s.Incident(t.Context(), 1); err != nil || i.Presses != 2 {
				t.Errorf("pressed again: %+v, %v", i, err)
			}
			if i, err := s.Incident(t.Context(), 5); err != nil || i.State != incident.Open || i.Alarm != (wire.AlarmID{4}) {
				t.Errorf("pressed again after it was closed: %+v, %v", i, err)
			}
			for _, step := range []struct {
				id   int64
				step incident.Step
			}{
				{1, incident.Step{Name: incident.StepAcknowledge}},
				{2, incident.Step{Name: incident.StepDispatch, Unit: "car-01"}},
				{3, incident.Step{Name: incident.StepOnScene}},
				{3, incident.Step{Name: incident.StepClose, Code: incident.Real}},
			} {
				if _, err := s.Take(t.Context(), step.id, li, step.step); err != nil {
					t.Errorf("incident %d, %s: %v", step.id, step.step.Name, err)
				}
			}
			if told := level[*wire.Assignment](t, s, "car-01"); len(told) != 1 || told[0].Incident != 2 {
				t.Errorf("the car is told %+v: want the incident that it was sent to now", told)
			}
		})
	}
}

// A database of a newer version is refused in words, and not one byte of it changes.
func TestANewerDatabaseIsRefusedUntouched(t *testing.T) {
	file := filepath.Join(t.TempDir(), "centre.db")
	s := open(t, file)
	if err := s.Shut(); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", file)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.ExecContext(t.Context(), `INSERT INTO goose_db_version (version_id, is_applied) VALUES (99001, 1)`); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	_, err = store.Open(t.Context(), file, nil)
	if !errors.Is(err, store.ErrNewer) || !strings.Contains(err.Error(), "99001") || !strings.Contains(err.Error(), file) {
		t.Fatalf("opened: %v: want an error with the file and both versions", err)
	}
	after, err := os.ReadFile(file)
	if err != nil || !bytes.Equal(before, after) {
		t.Errorf("the file has changed: %d bytes, then %d, %v", len(before), len(after), err)
	}
}
