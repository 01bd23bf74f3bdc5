// Package spool keeps a device's events in a bbolt file until the centre has
// them. An event is numbered, chained to the one before it in its lane, sealed
// and committed with one fsync before Append returns.
//
// The package sends nothing and judges no event: Append takes what the caller
// seals, Ack deletes what the caller says the centre has. Deletions are
// batched, since to repeat an event is harmless and to wear out a flash card is
// not. It does not repair a damaged file: a damaged event is given up and
// counted, a file that cannot be opened is the caller's to [SetAside].
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
	"sync"
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
	// ErrStream means that an Ack is for another stream.
	ErrStream = errors.New("ack for another stream")
	// ErrBeyond means that an Ack covers events that this spool never made: the
	// file was rolled back to an older state, or the device has a twin. Nothing
	// was deleted, since the centre holds other events under these numbers.
	ErrBeyond = errors.New("ack beyond the newest event")
	// ErrClosed means that Close was called.
	ErrClosed = errors.New("spool is closed")
	// ErrInUse means that another process has the file open.
	ErrInUse = errors.New("spool is in use")
	// ErrFormat means that the file is not a spool of this version.
	ErrFormat = errors.New("not a spool")
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
	// trimBatch is how many acknowledged events are deleted in one commit. An
	// alarm waits for at most one such commit.
	trimBatch = 1024
	// trimRide is how many of them go with the commit of an Append.
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
	Damaged uint64 // events and state values found damaged since Open
	Used    int64  // bytes of the file that hold something, at the last Append
	MaxSize int64  // bytes that the file may have
}

// A Spool is an open file. It is safe for concurrent use.
type Spool struct {
	path   string
	opt    Options
	log    *slog.Logger
	stream wire.StreamID // as boot, never changes after Open
	boot   uint64

	changed chan struct{}
	trimNow chan struct{}
	closing chan struct{}
	trimmed sync.WaitGroup // the goroutine that deletes

	write sync.Mutex // one commit, opening or closing at a time; taken before mu
	// Only touched under write.
	file     *os.File // the database's
	reserved int64    // bytes that the disk has set aside for it
	short    bool     // the disk had no more to set aside

	mu     sync.RWMutex // of what follows; never held over a commit
	db     *bolt.DB     // nil: closed or suspect
	closed bool
	lanes  map[wire.Lane]*laneState
	status Status
}

// Open opens the spool at path, or creates it with a new stream, and counts
// the boot. The folder must exist. The error may wrap [ErrInUse], and
// [ErrDamaged] or [ErrFormat], after which the caller may [SetAside] the file
// and open a new one.
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
	if err := s.open(true); err != nil {
		return nil, fmt.Errorf("spool %s: %w", path, err)
	}
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

// Append stores an event: build seals it for its slot, and the sealed bytes
// and the state are committed together. It returns the event's number once
// they are on the disk. The error wraps what build returned, or [ErrFull],
// [ErrSuspect] or [ErrClosed]; the number then stays free. build must not call
// Append.
func (s *Spool) Append(l wire.Lane, build func(Slot) ([]byte, error), state ...KV) (uint64, error) {
	s.write.Lock()
	defer s.write.Unlock()
	db, err := s.ready()
	if err != nil {
		return 0, err
	}
	s.mu.RLock()
	st, ok := s.lanes[l]
	slot := Slot{Stream: s.stream, Boot: s.boot}
	if ok {
		slot.Seq, slot.Prev = st.next, st.prev
	}
	s.mu.RUnlock()
	if !ok {
		return 0, errLane(l)
	}
	for _, kv := range state {
		if kv.Key == "" {
			return 0, errors.New("spool: state key \"\": want a name")
		}
	}
	msg, err := build(slot)
	if err != nil {
		return 0, err
	}
	hash := wire.HashOf(msg)
	err = s.store(db, l, slot.Seq, msg, hash, state)
	for errors.Is(err, ErrFull) && s.dirty() {
		// What the centre has need not be in the way.
		if _, ferr := s.flush(); ferr != nil {
			return 0, errors.Join(err, ferr)
		}
		err = s.store(db, l, slot.Seq, msg, hash, state)
	}
	if errors.Is(err, ErrSuspect) {
		// The failed commit may be on the disk all the same: look. To open the file
		// takes a commit, so that what is seen then is durable.
		if _, again := s.ready(); again != nil || s.lanes[l].prev != hash {
			return 0, err
		}
		s.log.Warn("the failed commit is on the disk", "lane", l, "seq", slot.Seq)
	} else if err != nil {
		return 0, err
	}
	select {
	case s.changed <- struct{}{}:
	default:
	}
	return slot.Seq, nil
}

// store commits an event and the state, and deletes a little on the way. The
// caller holds write.
func (s *Spool) store(db *bolt.DB, l wire.Lane, seq uint64, msg []byte, hash wire.Hash, state []KV) error {
	var used int64
	var cuts map[wire.Lane]uint64
	err := s.commit(db, s.limit(l), func(tx *bolt.Tx) (err error) {
		used = inUse(db, tx)
		if most := mostUsed(s.opt.MaxSize); l != wire.Alarm && used > most {
			return fmt.Errorf("%w: %d bytes in use: want at most %d for lane %v", ErrFull, used, most, l)
		}
		if err := putEvent(tx, l, seq, msg, hash); err != nil {
			return err
		}
		if err := putState(tx, state); err != nil {
			return err
		}
		cuts, err = s.deleteAcked(tx, trimRide)
		return err
	})
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.lanes[l].next, s.lanes[l].prev = seq+1, hash
	s.status.Used = used
	s.cut(cuts)
	s.mu.Unlock()
	s.keepReserve()
	return nil
}

func errLane(l wire.Lane) error {
	return fmt.Errorf("spool: lane %v: want alarm, duty or track", l)
}

// Ack notes that the centre has a lane up to a number. It waits for no disk:
// the deletion goes with an Append, or comes after Options.AckDelay. It is
// idempotent. The error wraps [ErrStream] or [ErrBeyond]; nothing is deleted
// then.
func (s *Spool) Ack(stream wire.StreamID, l wire.Lane, upTo uint64) error {
	if stream != s.stream {
		return fmt.Errorf("%w: %v: want %v", ErrStream, stream, s.stream)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.lanes[l]
	switch {
	case st == nil:
		return errLane(l)
	case upTo >= st.next:
		return fmt.Errorf("%w: lane %v up to %d: want at most %d", ErrBeyond, l, upTo, st.next-1)
	}
	st.ack(upTo)
	if st.oldest-st.kept >= trimBatch {
		select {
		case s.trimNow <- struct{}{}:
		default:
		}
	}
	return nil
}

// Read returns stored events of a lane from a number on, in order, at most
// records of them and, after the first, at most bytes of them. An event whose
// checksum is wrong, or that is missing, is left out, logged and counted in
// [Status]; once everything before it is acknowledged, Window leaves it out
// too. The error may wrap [ErrDamaged].
func (s *Spool) Read(l wire.Lane, from uint64, records, bytes int) ([]Record, error) {
	s.mu.RLock()
	if s.db == nil {
		s.mu.RUnlock()
		s.write.Lock()
		_, err := s.ready()
		s.write.Unlock()
		if err != nil {
			return nil, err
		}
		s.mu.RLock()
	}
	db, st := s.db, s.lanes[l]
	if db == nil || st == nil {
		s.mu.RUnlock()
		if db == nil {
			return nil, ErrSuspect
		}
		return nil, errLane(l)
	}
	var out []Record
	var lost []span
	err := guard(func() error {
		return db.View(func(tx *bolt.Tx) error {
			out, lost = readEvents(tx, l, max(from, st.oldest), st.next, records, bytes)
			return nil
		})
	})
	s.mu.RUnlock()
	if err != nil {
		return nil, fmt.Errorf("spool: read lane %v: %w", l, err)
	}
	if len(lost) > 0 {
		s.lose(l, lost)
	}
	return out, nil
}

func (s *Spool) lose(l wire.Lane, lost []span) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sp := range lost {
		if news := s.lanes[l].lose(sp); news > 0 {
			s.status.Damaged += news
			s.log.Error("stored events are damaged", "lane", l, "from", sp.first, "to", sp.last)
		}
	}
}

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

// Window returns the numbers of each lane that no Ack covers.
func (s *Spool) Window() map[wire.Lane]wire.Window {
	s.mu.RLock()
	defer s.mu.RUnlock()
	m := make(map[wire.Lane]wire.Window)
	for l, st := range s.lanes {
		m[l] = wire.Window{Oldest: st.oldest, Next: st.next}
	}
	return m
}

// Depth returns how many events of each lane no Ack covers.
func (s *Spool) Depth() map[wire.Lane]uint64 {
	m := make(map[wire.Lane]uint64)
	for l, w := range s.Window() {
		m[l] = w.Next - w.Oldest
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

// Stream returns the spool's stream.
func (s *Spool) Stream() wire.StreamID { return s.stream }

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
		more, ferr = s.flush()
		err = errors.Join(err, ferr)
	}
	s.mu.Lock()
	db := s.db
	s.db, s.closed = nil, true
	s.mu.Unlock()
	if db != nil {
		err = errors.Join(err, db.Close())
	}
	s.write.Unlock()
	close(s.closing)
	s.trimmed.Wait()
	return err
}
