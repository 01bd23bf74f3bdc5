package store

import (
	"context"
	"sync/atomic"

	"modernc.org/sqlite"
)

// The log, SQLite's WAL, is moved into the database beside the writer, in
// passive checkpoints on another connection, so that no commit waits for that.
// Only what is left when little was written meanwhile is moved while the
// writer waits, for the log begins anew only when all of it is moved.
//
// All in frames of the log, of 4 KiB.
const (
	walLap   = 4096  // when the log is moved
	walCalm  = 256   // when nothing else is to be done
	walShort = 64    // what the writer may wait for
	walMost  = 65536 // when the writer moves it itself, because nobody else does: see [Store.Guard]
)

// wal is how much there is to move.
type wal struct {
	frames atomic.Int64  // since the last checkpoint began
	full   chan struct{} // receives when they are a lap
}

// logged notes what the last transaction wrote. The caller holds mu.
func (s *Store) logged() {
	n := 0
	if err := s.writer.conn.Raw(func(c any) (err error) {
		if st, ok := c.(sqlite.DBStatus); ok {
			n, _, err = st.Status(sqlite.DBStatusCacheWrite, true)
		}
		return err
	}); err != nil || s.wal.frames.Add(int64(n)) < walLap {
		return
	}
	select {
	case s.wal.full <- struct{}{}:
	default:
	}
}

// checkpoint moves the log into the database. What fails is tried again at the
// next time; trouble with the disk is noticed by the writer.
func (s *Store) checkpoint(ctx context.Context) {
	for range 5 {
		s.wal.frames.Store(0)
		if !s.move(ctx) {
			return
		}
		switch n := s.wal.frames.Load(); {
		case n == 0:
			return
		case n <= walShort:
			s.mu.Lock()
			defer s.mu.Unlock()
			s.move(ctx)
			s.wal.frames.Store(0)
			return
		}
	}
}

// move runs a passive checkpoint, and reports whether it moved all that it
// found. It waits for nobody.
func (s *Store) move(ctx context.Context) bool {
	var busy, frames, moved int
	err := s.read.QueryRowContext(ctx, `PRAGMA wal_checkpoint(PASSIVE)`).Scan(&busy, &frames, &moved)
	return err == nil && busy == 0 && moved == frames
}
