// Package store keeps what the centre knows in one SQLite database: every
// event with the bytes that the device signed, and what follows from them —
// incidents, devices, tracks, faults, gaps.
//
// [Store.Commit] is the only way in for events and is one transaction, synced
// to the disk before it returns; only then may anything be acknowledged.
// Events may come in any order and any number of times: what follows from
// them depends on which were stored, not on when.
//
// It verifies no signature (package ingest does), talks to no device and
// serves nothing.
package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path/filepath"
	"sync"
	"time"

	"github.com/pressly/goose/v3"
	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/fengsui/fengsui/cloud-bridge/grid"
)

//go:embed migrations/*.sql
var migrations embed.FS

// readers is how many queries may run at once beside the writer.
const readers = 4

// lockWait is how long a transaction waits for another process that holds the
// database, such as one that registers a device.
const lockWait = 2 * time.Second

// probeEvery is how old an answer of [Store.Writable] may be.
const probeEvery = time.Second

// A Store is the open database. Its methods may be called from any goroutine.
type Store struct {
	now      func() time.Time
	watchers watchers
	read     *sql.DB
	write    *sql.DB  // one connection
	queries  sync.Map // text → *sql.Stmt of read

	dir    string // of the file
	health health
	wal    wal

	mu     sync.Mutex       // held by the writer
	writer *writer          // nil until needed, and after a failure
	trails map[int64]*trail // of streams
	grid   gridCache
	plans  planCache
}

// writer is the one connection that writes, with its prepared statements.
type writer struct {
	conn  *sql.Conn
	stmts map[string]*sql.Stmt
}

// ErrNewer means that a newer version of the program has written the database:
// this one does not know what stands in it, and leaves it as it is.
var ErrNewer = errors.New("the database is of a newer version")

// Open opens the database file and creates or migrates it as needed. now is
// the centre's clock; nil is [time.Now]. The error wraps [ErrNewer] when this
// version is too old for the file.
func Open(ctx context.Context, file string, now func() time.Time) (*Store, error) {
	abs, err := filepath.Abs(file)
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	if now == nil {
		now = time.Now
	}
	dsn := func(extra ...string) string {
		q := url.Values{"_pragma": append([]string{
			fmt.Sprintf("busy_timeout(%d)", lockWait.Milliseconds()), "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)",
		}, extra...)}
		return (&url.URL{Scheme: "file", Path: abs, RawQuery: q.Encode()}).String()
	}
	s := &Store{now: now, dir: filepath.Dir(abs), wal: wal{full: make(chan struct{}, 1)}, trails: make(map[int64]*trail)}
	if s.write, err = sql.Open("sqlite", dsn("cache_size(-16384)", fmt.Sprintf("wal_autocheckpoint(%d)", walMost))); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	s.write.SetMaxOpenConns(1)
	if err := s.migrate(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open store %s: %w", file, s.failure(err)), s.write.Close())
	}
	if s.read, err = sql.Open("sqlite", dsn("query_only(1)")); err != nil {
		return nil, errors.Join(fmt.Errorf("open store: %w", err), s.write.Close())
	}
	s.read.SetMaxOpenConns(readers + 1) // one for checkpoints
	s.read.SetMaxIdleConns(readers + 1)
	return s, nil
}

func (s *Store) migrate(ctx context.Context) error {
	dir, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, s.write, dir)
	if err != nil {
		return err
	}
	known := int64(0)
	for _, m := range p.ListSources() {
		known = max(known, m.Version)
	}
	var there bool
	if err := s.write.QueryRowContext(ctx, `SELECT count(*) FROM sqlite_master WHERE name = 'goose_db_version'`).Scan(&there); err != nil {
		return err
	}
	if there {
		var version int64
		if err := s.write.QueryRowContext(ctx, `SELECT coalesce(max(version_id), 0) FROM goose_db_version WHERE is_applied`).Scan(&version); err != nil {
			return err
		}
		if version > known {
			return fmt.Errorf("%w: it is at %d, this program knows up to %d: start a newer one, or restore a backup from before the update", ErrNewer, version, known)
		}
	}
	_, err = p.Up(ctx)
	return err
}

// Shut closes the database and cuts off all watchers. It waits for a running
// transaction.
func (s *Store) Shut() error {
	s.watchers.close()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.discard()
	return errors.Join(s.read.Close(), s.write.Close())
}

// prepare returns the prepared statement of a reading query, whose text is one
// of a few.
func (s *Store) prepare(ctx context.Context, text string) (*sql.Stmt, error) {
	if v, ok := s.queries.Load(text); ok {
		return v.(*sql.Stmt), nil
	}
	made, err := s.read.PrepareContext(ctx, text)
	if err != nil {
		return nil, fmt.Errorf("store: %w", s.failure(err))
	}
	if v, ok := s.queries.LoadOrStore(text, made); ok {
		made.Close()
		return v.(*sql.Stmt), nil
	}
	return made, nil
}

// query runs a reading query.
func (s *Store) query(ctx context.Context, text string, args ...any) (*sql.Rows, error) {
	st, err := s.prepare(ctx, text)
	if err != nil {
		return nil, err
	}
	rows, err := st.QueryContext(ctx, args...)
	if err != nil {
		return nil, fmt.Errorf("store: %w", s.failure(err))
	}
	return rows, nil
}

// rowsOf runs a query and calls f for each row until it returns false or an
// error: within a transaction, or beside it.
type rowsOf func(text string, args []any, f func(scan func(...any) error) (bool, error)) error

// reader returns what runs reading queries.
func (s *Store) reader(ctx context.Context) rowsOf {
	return func(text string, args []any, f func(scan func(...any) error) (bool, error)) error {
		rows, err := s.query(ctx, text, args...)
		if err != nil {
			return err
		}
		return each(rows, f)
	}
}

// snapshot calls f with the n-th of the queries as they are in one snapshot of
// the database. They are prepared before it begins: a transaction that waited
// for a second connection could wait for ever.
func (s *Store) snapshot(ctx context.Context, texts []string, f func(query func(n int, args ...any) (*sql.Rows, error)) error) error {
	var stmts []*sql.Stmt
	for _, text := range texts {
		st, err := s.prepare(ctx, text)
		if err != nil {
			return err
		}
		stmts = append(stmts, st)
	}
	in, err := s.read.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	defer func() { _ = in.Rollback() }() // it only read
	return f(func(n int, args ...any) (*sql.Rows, error) {
		rows, err := in.StmtContext(ctx, stmts[n]).QueryContext(ctx, args...)
		if err != nil {
			return nil, fmt.Errorf("store: %w", err)
		}
		return rows, nil
	})
}

// queryRow scans one row; found is false when there is none.
func (s *Store) queryRow(ctx context.Context, text string, args, into []any) (found bool, err error) {
	rows, err := s.query(ctx, text, args...)
	if err != nil {
		return false, err
	}
	err = each(rows, func(scan func(...any) error) (bool, error) {
		found = true
		return false, scan(into...)
	})
	return found, err
}

// tx is one transaction of the writer and what it has read so far. It is
// short and, once begun, not interrupted.
type tx struct {
	w         *writer
	at        time.Time // the centre's clock at its beginning
	devices   map[string]*device
	incidents map[alarmKey]*record
	boots     map[bootKey]*boot
	undated   map[int64]bool // streams with presses to be dated
	trails    map[int64]*trail
	changes   []Change
	notes     map[noteKey]string // what the desk says to a unit
	later     []func() error     // once all moments that the transaction brings are dated
	audited   *auditTail
	grid      *grid.Grid // once asked for
	gridRead  bool
	known     *gridCache
	plans     *planCache
}

// update runs f in a transaction. When f, or the commit, fails, nothing is
// changed, and the writer's connection is made anew for the next. An error of
// the database itself is a [Failure].
func (s *Store) update(ctx context.Context, f func(*tx) error) error {
	return s.judge(s.transact(ctx, f))
}

func (s *Store) transact(ctx context.Context, f func(*tx) error) (err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	if s.writer == nil {
		conn, err := s.write.Conn(ctx)
		if err != nil {
			return fmt.Errorf("store: %w", err)
		}
		s.writer = &writer{conn, make(map[string]*sql.Stmt)}
	}
	t := &tx{
		w: s.writer, at: s.now(),
		devices: make(map[string]*device), incidents: make(map[alarmKey]*record),
		boots: make(map[bootKey]*boot), undated: make(map[int64]bool), trails: s.trails,
		notes: make(map[noteKey]string), known: &s.grid, plans: &s.plans,
	}
	if err = t.exec(`BEGIN IMMEDIATE`); err != nil {
		s.discard()
		return err
	}
	if err = f(t); err == nil {
		err = t.save()
	}
	if err == nil {
		err = t.exec(`COMMIT`)
	}
	if err != nil {
		if _, ours := errors.AsType[*Failure](s.failure(err)); ours || t.exec(`ROLLBACK`) != nil {
			s.discard()
		}
		return err
	}
	s.logged()
	s.watchers.tell(t.changes)
	return nil
}

// discard closes the writer's connection, which rolls back what it has begun.
// What it knew of the file may be wrong by now. The caller holds mu.
func (s *Store) discard() {
	if s.writer == nil {
		return
	}
	for _, st := range s.writer.stmts {
		st.Close()
	}
	// A connection that is only closed goes back to its pool.
	_ = s.writer.conn.Raw(func(any) error { return driver.ErrBadConn })
	s.writer.conn.Close()
	s.writer = nil
}

func (t *tx) stmt(query string) (*sql.Stmt, error) {
	if st := t.w.stmts[query]; st != nil {
		return st, nil
	}
	st, err := t.w.conn.PrepareContext(context.Background(), query)
	if err != nil {
		return nil, fmt.Errorf("store: prepare: %w", err)
	}
	t.w.stmts[query] = st
	return st, nil
}

func (t *tx) exec(query string, args ...any) error {
	_, err := t.run(query, args...)
	return err
}

func (t *tx) run(query string, args ...any) (sql.Result, error) {
	st, err := t.stmt(query)
	if err != nil {
		return nil, err
	}
	r, err := st.ExecContext(context.Background(), args...)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	return r, nil
}

// row scans one row; found is false when there is none.
func (t *tx) row(query string, args, into []any) (found bool, err error) {
	st, err := t.stmt(query)
	if err != nil {
		return false, err
	}
	switch err := st.QueryRowContext(context.Background(), args...).Scan(into...); {
	case errors.Is(err, sql.ErrNoRows):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("store: %w", err)
	}
	return true, nil
}

// rows calls f for each row until it returns false or an error.
func (t *tx) rows(query string, args []any, f func(scan func(...any) error) (bool, error)) error {
	st, err := t.stmt(query)
	if err != nil {
		return err
	}
	rows, err := st.QueryContext(context.Background(), args...)
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	return each(rows, f)
}

func each(rows *sql.Rows, f func(scan func(...any) error) (bool, error)) error {
	defer rows.Close()
	for rows.Next() {
		if more, err := f(rows.Scan); err != nil {
			return fmt.Errorf("store: %w", err)
		} else if !more {
			return nil
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	return nil
}

func (t *tx) change(c Change) {
	for _, have := range t.changes {
		if have == c {
			return
		}
	}
	t.changes = append(t.changes, c)
}

// millis and fromMillis bring times into the database and back; the zero time
// is NULL.
func millis(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UnixMilli()
}

func fromMillis(ms sql.NullInt64) time.Time {
	if !ms.Valid {
		return time.Time{}
	}
	return time.UnixMilli(ms.Int64).UTC()
}
