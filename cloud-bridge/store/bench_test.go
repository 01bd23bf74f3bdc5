package store_test

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/fengsui/fengsui/cloud-bridge/store"
	"github.com/fengsui/fengsui/firmware/wire"
)

// How many events a second the store takes in, by how many share a commit,
// beside a floor: the same bytes into a bare table of the same SQLite with the
// same settings.
//
//	go test -run '^$' -bench Commit ./cloud-bridge/store
func BenchmarkCommit(b *testing.B) {
	for _, n := range []int{1, 16, 256} {
		b.Run(fmt.Sprintf("store/batch=%d", n), func(b *testing.B) {
			s := fresh(b)
			src := lane(b, "box-01", wire.Duty)
			batches := make([]store.Batch, b.N)
			for i := range batches {
				for range n {
					batches[i].Arrivals = append(batches[i].Arrivals, src.next(&wire.SignRefused{Reason: "no_match"}))
				}
			}
			b.ResetTimer()
			for _, batch := range batches {
				if _, err := s.Commit(b.Context(), batch); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N*n)/b.Elapsed().Seconds(), "events/s")
		})
		b.Run(fmt.Sprintf("floor/batch=%d", n), func(b *testing.B) {
			db, err := sql.Open("sqlite", filepath.Join(b.TempDir(), "floor.db")+
				"?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=wal_autocheckpoint(2000)")
			if err != nil {
				b.Fatal(err)
			}
			defer db.Close()
			db.SetMaxOpenConns(1)
			if _, err := db.Exec(`CREATE TABLE events (event INTEGER PRIMARY KEY, message BLOB NOT NULL)`); err != nil {
				b.Fatal(err)
			}
			insert, err := db.Prepare(`INSERT INTO events (message) VALUES (?)`)
			if err != nil {
				b.Fatal(err)
			}
			msg := lane(b, "box-01", wire.Duty).next(&wire.SignRefused{Reason: "no_match"}).Message
			for b.Loop() {
				tx, err := db.Begin()
				if err != nil {
					b.Fatal(err)
				}
				in := tx.Stmt(insert)
				for range n {
					if _, err := in.Exec(msg); err != nil {
						b.Fatal(err)
					}
				}
				if err := tx.Commit(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N*n)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

// How many fixes a second the store takes in, in batches of 60.
func BenchmarkTrack(b *testing.B) {
	s := fresh(b)
	src := lane(b, "car-01", wire.Track)
	as := make([]store.Arrival, b.N)
	at := noon.UnixMilli()
	for i := range as {
		batch := new(wire.TrackBatch)
		for n := range int64(60) {
			at += 1000
			batch.Fixes = append(batch.Fixes, wire.TrackFix{Time: at, LatE6: 30e6 + n*50, LonE6: 103e6, Speed: 50, Flags: wire.Fix3D | wire.HasSpeed})
		}
		as[i] = src.next(batch)
	}
	b.ResetTimer()
	for _, a := range as {
		if _, err := s.Commit(b.Context(), store.Batch{Arrivals: []store.Arrival{a}}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N*60)/b.Elapsed().Seconds(), "fixes/s")
}
