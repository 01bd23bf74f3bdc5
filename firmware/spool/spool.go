// Package spool keeps a device's events in a bbolt file until the centre has
// them. An event is numbered, chained to the one before it in its lane, sealed
// and committed with one fsync before Append returns.
//
// The package sends nothing and judges no event: Append takes what the caller
// seals, Ack deletes what the caller says the centre has, Swap gives up what
// the caller chooses. Deletions are batched, since to repeat an event is
// harmless and to wear out a flash card is not.
//
// Alarms that no Ack covers have a second home, a log in a file of its own: both
// meta pages of a bbolt file can share one page of a flash card. A file that is
// damaged is set aside and what can be read of it is salvaged, see [Recover]. A
// file that went back in time is told by its second home or by an Ack, and its
// stream is ended, see [Spool.Restart]. What is saved of former streams keeps
// its numbers and waits for its Acks beside the current stream's, see [Part].
//
// On a commit error that is not a full disk the spool stops accepting, closes
// the file, opens it again and finds out what is really there: a commit that
// returned an error may still be on the disk.
package spool

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/fengsui/fengsui/firmware/wire"
)

// Errors of the spool. Each may come wrapped.
var (
	// ErrFull means that there is no room: in the size limit or on the disk. A
	// tenth of the first and a MiB of the second are for alarms. Nothing was
	// stored and nothing lost.
	ErrFull = errors.New("spool is full")
	// ErrSuspect means that a commit failed and the file could not be opened
	// again yet. Nothing is known to be stored; the next call tries again.
	ErrSuspect = errors.New("spool is suspect after a failed commit")
	// ErrOther means that an Ack is for other events than this spool has under
	// these numbers: the file was rolled back to an older state, or the device has
	// a twin. Nothing was deleted.
	ErrOther = errors.New("ack of other events")
	// ErrClosed means that Close was called.
	ErrClosed = errors.New("spool is closed")
	// ErrInUse means that another process has the file open.
	ErrInUse = errors.New("spool is in use")
	// ErrFormat means that the file is not a spool of this version.
	ErrFormat = errors.New("not a spool")
	// ErrRefused means that the system refused something that a check needs, which
	// says nothing of the file.
	ErrRefused = errors.New("the system refuses")
	// ErrDamaged means that the file, or the part of it that was needed, does not
	// hold what was written.
	ErrDamaged = errors.New("spool is damaged")
)

const (
	defaultMaxSize = 64 << 20
	// maxSize32 bounds Options.MaxSize where addresses have 32 bits: bbolt maps
	// the file and doubles the mapping.
	maxSize32 = 128 << 20
	// minMaxSize leaves room for something besides the reserves.
	minMaxSize = 4 * allocSize
	// trimBatch is how many acknowledged events are deleted in one commit, and
	// trimLeast how many when an Append waits for its end.
	trimBatch = 4096
	trimLeast = 64
	// trimRide is how many of them go with the commit of an Append without an
	// alarm.
	trimRide = 64
)

// Options adjust a spool; the zero value is right for a device.
type Options struct {
	MaxSize int64        // of the file, in bytes; 0: 64 MiB
	Log     *slog.Logger // nil: discarded
	// AckDelay is how long a deletion may wait to be batched with others or to
	// ride on an Append; 0: one minute.
	AckDelay time.Duration
}

// A Slot is the place that an event is about to take.
type Slot struct {
	Stream wire.StreamID
	Seq    uint64
	Prev   wire.Hash // of the sealed event before it in its lane; zero at Seq 1
	Boot   uint64
}

// A KV is a piece of the caller's state; an empty value deletes the key.
type KV struct {
	Key   string
	Value []byte
}

// A Record is a stored event.
type Record struct {
	Seq  uint64
	Data []byte // the sealed message
}

// A Status is a snapshot of the spool's condition.
type Status struct {
	Suspect bool   // a commit failed and the file is not open again yet
	Alone   bool   // alarms have no second home: its file cannot be written
	Damaged uint64 // events and state values found damaged since Open
	Used    int64  // bytes of the file that hold something, at the last Append
	MaxSize int64  // bytes that the file may have
}

// A Spool is an open file. It is safe for concurrent use.
type Spool struct {
	path string
	opt  Options
	log  *slog.Logger
	boot uint64 // never changes after Open

	changed chan struct{}
	trimNow chan struct{}
	closing chan struct{}
	trimmed sync.WaitGroup // the goroutine that deletes

	write   sync.Mutex   // one commit, opening or closing at a time; taken before mu
	waiting atomic.Int32 // Appends that want it
	// Only touched under write.
	file     *os.File // the database's
	reserved int64    // bytes that the disk has set aside for it
	short    bool     // the disk had no more to set aside
	home     *home    // of alarms; nil: it could not be opened

	mu     sync.RWMutex // of what follows; never held over a commit
	db     *bolt.DB     // nil: closed or suspect
	closed bool
	lanes  map[place]*laneState
	status Status
	alarm  time.Time // when one was last stored

	streams []wire.StreamID // former ones, the oldest first, and the current
	given   []wire.DroppedRange
}

// Open opens the spool at path, or creates it with a new stream, and counts
// the boot. The folder must exist. The error may wrap [ErrInUse], and
// [ErrDamaged] or [ErrFormat], which [Recover] deals with.
func Open(path string, opt Options) (*Spool, error) {
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	if opt.MaxSize == 0 {
		opt.MaxSize = defaultMaxSize
	}
	if opt.MaxSize < minMaxSize {
		return nil, fmt.Errorf("spool %s: size limit %d: want %d or more", path, opt.MaxSize, minMaxSize)
	}
	if strconv.IntSize == 32 {
		opt.MaxSize = min(opt.MaxSize, maxSize32)
	}
	if opt.AckDelay == 0 {
		opt.AckDelay = time.Minute
	}
	s := &Spool{
		path: path, opt: opt, log: opt.Log, status: Status{MaxSize: opt.MaxSize},
		changed: make(chan struct{}, 1), trimNow: make(chan struct{}, 1), closing: make(chan struct{}),
	}
	s.home = openHome(path+homeSuffix, s.log)
	if err := s.open(true); err != nil {
		s.home.close()
		return nil, fmt.Errorf("spool %s: %w", path, err)
	}
	s.status.Alone = s.home.failed()
	s.trimmed.Go(s.trim)
	return s, nil
}

// ready returns the open file, opening it again after a failed commit. The
// caller holds write.
func (s *Spool) ready() (*bolt.DB, error) {
	s.mu.RLock()
	db, closed := s.db, s.closed
	s.mu.RUnlock()
	switch {
	case closed:
		return nil, ErrClosed
	case db != nil:
		return db, nil
	}
	if err := s.open(false); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSuspect, err)
	}
	s.log.Warn("spool opened again after a failed commit")
	return s.db, nil
}

func errLane(l wire.Lane) error {
	return fmt.Errorf("spool: lane %v: want alarm, duty or track", l)
}

// current returns the stream that is appended to. The caller holds mu.
func (s *Spool) current() wire.StreamID { return s.streams[len(s.streams)-1] }

func (s *Spool) part() Part { return Part{s, s.Stream()} }

// Read is [Part.Read] of the current stream.
func (s *Spool) Read(l wire.Lane, from uint64, records, bytes int) ([]Record, error) {
	return s.part().Read(l, from, records, bytes)
}

// Window is [Part.Window] of the current stream.
func (s *Spool) Window() map[wire.Lane]wire.Window { return s.part().Window() }

// State returns a copy of the caller's state. A damaged value is left out,
// logged and counted in [Status].
func (s *Spool) State() (map[string][]byte, error) {
	s.write.Lock()
	defer s.write.Unlock()
	db, err := s.ready()
	if err != nil {
		return nil, err
	}
	m := make(map[string][]byte)
	err = guard(func() error {
		return db.View(func(tx *bolt.Tx) error {
			return tx.Bucket(bucketState).ForEach(func(k, v []byte) error {
				if strings.HasPrefix(string(k), ownState) {
					return nil
				}
				if v, ok := unpack(bucketState, k, v); ok {
					m[string(k)] = append([]byte(nil), v...)
					return nil
				}
				s.log.Error("stored state is damaged", "key", string(k))
				s.mu.Lock()
				s.status.Damaged++
				s.mu.Unlock()
				return nil
			})
		})
	})
	if err != nil {
		return nil, fmt.Errorf("spool: read state: %w", err)
	}
	return m, nil
}

// Depth returns how many events of each lane no Ack covers, of all streams.
func (s *Spool) Depth() map[wire.Lane]uint64 {
	m := make(map[wire.Lane]uint64)
	for _, l := range wire.Lanes() {
		m[l] = 0
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	for p, st := range s.lanes {
		m[p.lane] += st.next - st.oldest
	}
	return m
}

// Status returns a snapshot of the spool's condition.
func (s *Spool) Status() Status {
	s.mu.RLock()
	defer s.mu.RUnlock()
	st := s.status
	st.Suspect = s.db == nil && !s.closed
	return st
}

// Stream returns the stream that is appended to.
func (s *Spool) Stream() wire.StreamID {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.current()
}

// Boot returns which opening of the spool this is, from 1.
func (s *Spool) Boot() uint64 { return s.boot }

// Changed returns a channel that receives after an Append; one receive may
// stand for several.
func (s *Spool) Changed() <-chan struct{} { return s.changed }

// Close deletes what was acknowledged and closes the file.
func (s *Spool) Close() error {
	s.write.Lock()
	s.mu.RLock()
	closed := s.closed
	s.mu.RUnlock()
	if closed {
		s.write.Unlock()
		return nil
	}
	var err error
	for more := true; more; {
		var ferr error
		more, ferr = s.flush(nil)
		err = errors.Join(err, ferr)
	}
	s.mu.Lock()
	db := s.db
	s.db, s.closed = nil, true
	s.mu.Unlock()
	if db != nil {
		err = errors.Join(err, db.Close())
	}
	err = errors.Join(err, s.home.close())
	s.write.Unlock()
	close(s.closing)
	s.trimmed.Wait()
	return err
}
