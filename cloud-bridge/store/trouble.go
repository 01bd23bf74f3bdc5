package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// A Cause says, shortly and stably, why nothing can be stored.
type Cause string

// The causes.
const (
	DiskFull Cause = "disk_full"
	Locked   Cause = "locked"    // another process holds the database
	ReadOnly Cause = "read_only" // the file, or the file system
	IOError  Cause = "io_error"  // the disk does not do what it is told
	Damaged  Cause = "damaged"   // the file is no sound database
)

// Causes are all of them.
func Causes() []Cause { return []Cause{DiskFull, Locked, ReadOnly, IOError, Damaged} }

// String says it for people.
func (c Cause) String() string {
	switch c {
	case DiskFull:
		return "the disk is full"
	case Locked:
		return "another process has locked the database"
	case ReadOnly:
		return "the database is read-only"
	case IOError:
		return "the disk reports errors"
	case Damaged:
		return "the database is damaged"
	}
	return string(c)
}

// A Failure is an error of the database itself, whatever it was to store:
// waiting, and trying again, may help; another request will not.
type Failure struct {
	Cause Cause
	Err   error
}

// Error implements error.
func (f *Failure) Error() string { return fmt.Sprintf("%v: %v", f.Cause, f.Err) }

// Unwrap returns the database's own error.
func (f *Failure) Unwrap() error { return f.Err }

// Trouble is what keeps the store from storing now.
type Trouble struct {
	Failure
	Since time.Time // of the first failure of that cause
}

const (
	// roomNeeded is what must be free on a disk that was full before it counts as
	// having room: a small write may fit in where events do not.
	roomNeeded = 1 << 20
	// fullBelow tells an error for want of room from another one, where the
	// database does not.
	fullBelow = 256 << 10

	// How old the last write may be when nothing else is written.
	guardCalm    = 5 * time.Second
	guardTrouble = time.Second
)

// health is what the latest writes came to.
type health struct {
	mu      sync.Mutex
	trouble *Trouble
	tried   time.Time // when the last one ended; zero: none did
}

// failure returns the Failure that an error of the database is, or the error
// itself when it is none.
func (s *Store) failure(err error) error {
	e, ok := errors.AsType[*sqlite.Error](err)
	if !ok {
		return err
	}
	switch e.Code() & 0xff { // the rest are finer distinctions
	case sqlite3.SQLITE_FULL:
		return &Failure{DiskFull, err}
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL:
		return &Failure{Locked, err}
	case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM:
		return &Failure{ReadOnly, err}
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return &Failure{Damaged, err}
	case sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN:
		switch free, readOnly, known := diskState(s.dir); {
		case known && readOnly:
			return &Failure{ReadOnly, err}
		case known && free < fullBelow:
			return &Failure{DiskFull, err}
		}
		return &Failure{IOError, err}
	}
	return err
}

// judge takes the outcome of a transaction into the store's health, and names
// the cause of an error that is the database's own.
func (s *Store) judge(err error) error {
	f, failed := (*Failure)(nil), false
	if err != nil {
		err = s.failure(err)
		if f, failed = errors.AsType[*Failure](err); !failed {
			return err // the request's own fault
		}
	}
	s.health.mu.Lock()
	defer s.health.mu.Unlock()
	s.health.tried = s.now()
	was := s.health.trouble
	switch {
	case failed && was != nil && was.Cause == f.Cause:
		return err
	case failed:
		s.health.trouble = &Trouble{*f, s.now()}
	case was == nil:
		return nil
	default:
		if was.Cause == DiskFull {
			if free, _, known := diskState(s.dir); known && free < roomNeeded {
				return nil
			}
		}
		s.health.trouble = nil
	}
	s.watchers.tell([]Change{{Kind: TroubleChanged}})
	return err
}

// Trouble returns why nothing can be stored, as far as the latest write told,
// or nil.
func (s *Store) Trouble() *Trouble {
	s.health.mu.Lock()
	defer s.health.mu.Unlock()
	return s.health.trouble
}

// lately says whether a write ended within d.
func (s *Store) lately(d time.Duration) bool {
	s.health.mu.Lock()
	defer s.health.mu.Unlock()
	return !s.health.tried.IsZero() && s.now().Sub(s.health.tried).Abs() < d
}

// Guard writes a row now and then when nothing else is written, so that
// trouble is noticed before there is an event to store, and its end too. And
// it keeps the database's log short, out of the writer's way. It returns when
// ctx is done.
func (s *Store) Guard(ctx context.Context) {
	var parts sync.WaitGroup
	defer parts.Wait()
	parts.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-s.wal.full:
				s.checkpoint(ctx)
			}
		}
	})
	t := time.NewTicker(guardTrouble)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		if s.Trouble() != nil || !s.lately(guardTrouble) && s.wal.frames.Load() >= walCalm {
			select { // a short log needs less of a full disk
			case s.wal.full <- struct{}{}:
			default:
			}
		}
		age := guardCalm
		if s.Trouble() != nil {
			age = guardTrouble
		}
		if !s.lately(age) {
			_ = s.probe(ctx) // judged, which is all that is wanted
		}
	}
}

// Writable returns nil when a transaction can be written and synced now, or
// the [Failure] that it cannot be for. The answer may be a second old, so that
// asking often does not hold up events, and that of trouble a few seconds, so
// that nobody waits for an answer that is known.
func (s *Store) Writable(ctx context.Context) error {
	age := probeEvery
	if s.Trouble() != nil {
		age = guardCalm
	}
	if !s.lately(age) {
		if err := s.probe(ctx); err != nil {
			return err
		}
	}
	if t := s.Trouble(); t != nil {
		return &t.Failure
	}
	return nil
}

func (s *Store) probe(ctx context.Context) error {
	return s.update(ctx, func(t *tx) error {
		return t.exec(`INSERT INTO probe (probe, at) VALUES (1, ?) ON CONFLICT (probe) DO UPDATE SET at = excluded.at`, t.at.UnixMilli())
	})
}
