// Package spool keeps a device's events in a bbolt file until the centre has
// them. An event is numbered, chained to the one before it in its lane, sealed
// and committed with one fsync before Append returns.
//
// The package sends nothing and judges no event: Append takes what the caller
// seals, Ack deletes what the caller says the centre has. Deletions are
// batched, since to repeat an event is harmless and to wear out a flash card is
// not.
//
// On a commit error that is not a full disk the spool stops accepting, closes
// the file, opens it again and finds out what is really there: a commit that
// returned an error may still be on the disk.
package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/fengsui/fengsui/firmware/wire"
)

// Errors of the spool. Each may come wrapped.
var (
	// ErrFull means that there is no room: of the size limit for duty and track,
	// of all for an alarm. Nothing was stored and nothing lost.
	ErrFull = errors.New("spool is full")
	// ErrSuspect means that a commit failed and the file could not be opened
	// again yet. Nothing is known to be stored; the next call tries again.
	ErrSuspect = errors.New("spool is suspect after a failed commit")
	// ErrStream means that an Ack is for another stream.
	ErrStream = errors.New("ack for another stream")
	// ErrClosed means that Close was called.
	ErrClosed = errors.New("spool is closed")
	// ErrFormat means that the file is not a spool of this version.
	ErrFormat = errors.New("not a spool")
)

const (
	defaultMaxSize = 64 << 20
	// MaxSize bounds Options.MaxSize where addresses have 32 bits: bbolt maps
	// the file and doubles the mapping.
	maxSize32 = 128 << 20
	// allocSize is by how much the file grows. bbolt refuses to grow when the new
	// end and one more allocSize would pass MaxSize.
	allocSize = 1 << 20
	// fill is how full a leaf page may get. Numbers only rise, so that a page
	// which was split is not written again: bbolt's 0.5 would waste half.
	fill = 0.95
)

// Options adjust a spool; the zero value is right for a device.
type Options struct {
	MaxSize int64        // of the file, in bytes; 0: 64 MiB
	Log     *slog.Logger // nil: discarded
	// AckDelay is how long a deletion may wait to be batched; 0: one second.
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

var (
	bucketMeta  = []byte("meta")
	bucketState = []byte("state")
	keyVersion  = []byte("version")
	keyStream   = []byte("stream")
	keyBoot     = []byte("boot")
)

const version = "1"

func laneBucket(l wire.Lane) []byte { return []byte("lane/" + l.String()) }

// castagnoli is the CRC32C of RFC 3720, appendix B.4.
func checksum(key, data []byte) uint32 {
	t := crc32.MakeTable(crc32.Castagnoli)
	return crc32.Update(crc32.Checksum(key, t), t, data)
}

// A laneState is what the spool knows of a lane without asking the file.
type laneState struct {
	oldest uint64 // the lowest number that no Ack covers
	next   uint64
	prev   wire.Hash
	kept   uint64 // the lowest number that is still in the file
}

// A Spool is an open file. It is safe for concurrent use.
type Spool struct {
	path string
	opt  Options
	log  *slog.Logger

	changed chan struct{}
	closing chan struct{}
	trimmed sync.WaitGroup // the goroutine that deletes

	mu     sync.Mutex
	db     *bolt.DB // nil: closed or suspect
	closed bool
	stream wire.StreamID
	boot   uint64
	lanes  map[wire.Lane]*laneState
}

// Open opens the spool at path, or creates it with a new stream, and counts
// the boot. The folder must exist.
func Open(path string, opt Options) (*Spool, error) {
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	if opt.MaxSize == 0 {
		opt.MaxSize = defaultMaxSize
	}
	if strconv.IntSize == 32 {
		opt.MaxSize = min(opt.MaxSize, maxSize32)
	}
	if opt.AckDelay == 0 {
		opt.AckDelay = time.Second
	}
	s := &Spool{
		path: path, opt: opt, log: opt.Log,
		changed: make(chan struct{}, 1), closing: make(chan struct{}),
	}
	if err := s.open(true); err != nil {
		return nil, err
	}
	s.trimmed.Go(s.trim)
	return s, nil
}

// open opens the file and reads what is in it; boot counts a boot as well.
func (s *Spool) open(boot bool) error {
	_, statErr := os.Stat(s.path)
	db, err := bolt.Open(s.path, 0o600, &bolt.Options{
		Timeout:      2 * time.Second,
		FreelistType: bolt.FreelistArrayType,
		MaxSize:      int(s.opt.MaxSize),
	})
	if err != nil {
		return fmt.Errorf("spool %s: %w", s.path, err)
	}
	db.AllocSize = allocSize
	err = db.Update(func(tx *bolt.Tx) error { return s.load(tx, boot) })
	if err == nil && errors.Is(statErr, os.ErrNotExist) {
		err = syncDir(filepath.Dir(s.path))
	}
	if err != nil {
		return errors.Join(fmt.Errorf("spool %s: %w", s.path, err), db.Close())
	}
	s.db = db
	return nil
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// load makes what is missing and reads the rest.
func (s *Spool) load(tx *bolt.Tx, boot bool) error {
	meta, err := tx.CreateBucketIfNotExists(bucketMeta)
	if err != nil {
		return err
	}
	if _, err := tx.CreateBucketIfNotExists(bucketState); err != nil {
		return err
	}
	switch v := string(meta.Get(keyVersion)); v {
	case version:
	case "":
		id := wire.NewStreamID()
		if err := errors.Join(meta.Put(keyVersion, []byte(version)), meta.Put(keyStream, id[:])); err != nil {
			return err
		}
	default:
		return fmt.Errorf("%w: version %q: want %q", ErrFormat, v, version)
	}
	if n := copy(s.stream[:], meta.Get(keyStream)); n != len(s.stream) {
		return fmt.Errorf("%w: stream id of %d bytes: want %d", ErrFormat, n, len(s.stream))
	}
	s.boot = number(meta.Get(keyBoot))
	if boot {
		s.boot++
		if err := meta.Put(keyBoot, key(s.boot)); err != nil {
			return err
		}
	}
	lanes := make(map[wire.Lane]*laneState)
	for _, l := range wire.Lanes() {
		b, err := tx.CreateBucketIfNotExists(laneBucket(l))
		if err != nil {
			return err
		}
		st, err := readHead(meta, l)
		if err != nil {
			return err
		}
		st.kept = st.next
		if k, _ := b.Cursor().First(); k != nil {
			st.kept = number(k)
		}
		// An Ack survives only as deletions: what it covered besides is sent again.
		st.oldest = st.kept
		if old := s.lanes[l]; old != nil {
			st.oldest = max(st.oldest, min(old.oldest, st.next))
		}
		lanes[l] = st
	}
	s.lanes = lanes
	return nil
}

// head is a lane's next number and last hash, under "head/"+lane in meta.
func headKey(l wire.Lane) []byte { return []byte("head/" + l.String()) }

func readHead(meta *bolt.Bucket, l wire.Lane) (*laneState, error) {
	v := meta.Get(headKey(l))
	if v == nil {
		return &laneState{next: 1}, nil
	}
	st := &laneState{next: number(v)}
	if len(v) != 8+len(st.prev) || st.next == 0 {
		return nil, fmt.Errorf("%w: head of lane %v of %d bytes: want %d", ErrFormat, l, len(v), 8+len(st.prev))
	}
	copy(st.prev[:], v[8:])
	return st, nil
}

func key(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

func number(b []byte) uint64 {
	if len(b) < 8 {
		return 0
	}
	return binary.BigEndian.Uint64(b)
}

// ready returns the open file, opening it again after a failed commit. The
// caller holds mu.
func (s *Spool) ready() (*bolt.DB, error) {
	switch {
	case s.closed:
		return nil, ErrClosed
	case s.db != nil:
		return s.db, nil
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
// [ErrSuspect] or [ErrClosed]; the number then stays free.
func (s *Spool) Append(l wire.Lane, build func(Slot) ([]byte, error), state ...KV) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	db, err := s.ready()
	if err != nil {
		return 0, err
	}
	st := s.lanes[l]
	if st == nil {
		return 0, fmt.Errorf("spool: lane %v: want alarm, duty or track", l)
	}
	slot := Slot{Stream: s.stream, Seq: st.next, Prev: st.prev, Boot: s.boot}
	msg, err := build(slot)
	if err != nil {
		return 0, err
	}
	hash := wire.HashOf(msg)
	err = s.commit(db, func(tx *bolt.Tx) error {
		if used := inUse(db, tx); l != wire.Alarm && used > (s.opt.MaxSize-2*allocSize)*9/10 {
			// The rest is for alarms, and for the free pages that a commit needs.
			return fmt.Errorf("%w: %d of %d bytes are in use", ErrFull, used, s.opt.MaxSize)
		}
		b := tx.Bucket(laneBucket(l))
		b.FillPercent = fill
		k := key(slot.Seq)
		v := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(msg)), checksum(k, msg))
		if err := b.Put(k, append(v, msg...)); err != nil {
			return err
		}
		if err := tx.Bucket(bucketMeta).Put(headKey(l), append(key(slot.Seq+1), hash[:]...)); err != nil {
			return err
		}
		for _, kv := range state {
			if err := putState(tx, kv); err != nil {
				return err
			}
		}
		return s.deleteAcked(tx)
	})
	if errors.Is(err, ErrSuspect) {
		// The failed commit may be on the disk all the same: look.
		if _, again := s.ready(); again == nil && s.lanes[l].prev == hash {
			s.log.Warn("the failed commit is on the disk", "lane", l, "seq", slot.Seq)
			return slot.Seq, nil
		}
	}
	if err != nil {
		return 0, err
	}
	st.next, st.prev = slot.Seq+1, hash
	select {
	case s.changed <- struct{}{}:
	default:
	}
	return slot.Seq, nil
}

func putState(tx *bolt.Tx, kv KV) error {
	b := tx.Bucket(bucketState)
	if len(kv.Value) == 0 {
		return b.Delete([]byte(kv.Key))
	}
	return b.Put([]byte(kv.Key), kv.Value)
}

// inUse returns the bytes of the pages that hold something.
func inUse(db *bolt.DB, tx *bolt.Tx) int64 {
	st := db.Stats()
	return tx.Size() - int64(st.FreePageN+st.PendingPageN)*int64(db.Info().PageSize)
}

// commit runs f in a transaction. After an error that leaves the file in
// doubt, it is closed, and opened again to see what is there.
func (s *Spool) commit(db *bolt.DB, f func(*bolt.Tx) error) error {
	err := db.Update(f)
	switch {
	case err == nil:
		s.deleted()
		return nil
	case errors.Is(err, ErrFull):
		return err
	case errors.Is(err, berrors.ErrMaxSizeReached), errors.Is(err, syscall.ENOSPC):
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	s.log.Error("spool commit failed", "err", err)
	s.db = nil
	if cerr := db.Close(); cerr != nil {
		s.log.Error("spool close failed", "err", cerr)
	}
	return fmt.Errorf("%w: %w", ErrSuspect, err)
}

// deleteAcked deletes what Acks cover and the file still holds.
func (s *Spool) deleteAcked(tx *bolt.Tx) error {
	for l, st := range s.lanes {
		if st.kept >= st.oldest {
			continue
		}
		c := tx.Bucket(laneBucket(l)).Cursor()
		for k, _ := c.First(); k != nil && number(k) < st.oldest; k, _ = c.First() {
			if err := c.Delete(); err != nil {
				return err
			}
		}
	}
	return nil
}

// deleted notes that a commit has deleted what was acknowledged.
func (s *Spool) deleted() {
	for _, st := range s.lanes {
		st.kept = max(st.kept, st.oldest)
	}
}

// Ack notes that the centre has a lane up to a number. The deletion goes with
// the next Append, or comes after Options.AckDelay. The error is [ErrStream]
// when the Ack is for another stream.
func (s *Spool) Ack(stream wire.StreamID, l wire.Lane, upTo uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if stream != s.stream {
		return fmt.Errorf("%w: %v: want %v", ErrStream, stream, s.stream)
	}
	if st := s.lanes[l]; st != nil && upTo >= st.oldest {
		st.oldest = min(upTo, st.next-1) + 1
	}
	return nil
}

// trim deletes what was acknowledged while nothing is appended.
func (s *Spool) trim() {
	t := time.NewTicker(s.opt.AckDelay)
	defer t.Stop()
	for {
		select {
		case <-s.closing:
			return
		case <-t.C:
			s.mu.Lock()
			if err := s.flush(); err != nil {
				s.log.Warn("acknowledged events not deleted yet", "err", err)
			}
			s.mu.Unlock()
		}
	}
}

// flush deletes what was acknowledged, if anything was. The caller holds mu.
func (s *Spool) flush() error {
	dirty := false
	for _, st := range s.lanes {
		dirty = dirty || st.kept < st.oldest
	}
	if !dirty {
		return nil
	}
	db, err := s.ready()
	if err != nil {
		return err
	}
	return s.commit(db, s.deleteAcked)
}

// Read returns stored events of a lane from a number on, in order, at most
// records of them and, after the first, at most bytes of them. A record whose
// checksum is wrong is left out and reported in the log.
func (s *Spool) Read(l wire.Lane, from uint64, records, bytes int) ([]Record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	db, err := s.ready()
	if err != nil {
		return nil, err
	}
	st := s.lanes[l]
	if st == nil {
		return nil, fmt.Errorf("spool: lane %v: want alarm, duty or track", l)
	}
	var out []Record
	err = db.View(func(tx *bolt.Tx) error {
		c := tx.Bucket(laneBucket(l)).Cursor()
		size := 0
		for k, v := c.Seek(key(max(from, st.oldest))); k != nil && len(out) < records; k, v = c.Next() {
			data, ok := checked(k, v)
			if !ok {
				s.log.Error("stored event is damaged", "lane", l, "seq", number(k))
				continue
			}
			if size += len(data); size > bytes && len(out) > 0 {
				return nil
			}
			out = append(out, Record{number(k), append([]byte(nil), data...)})
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("spool: read lane %v: %w", l, err)
	}
	return out, nil
}

// checked returns a record's message if its checksum is right.
func checked(k, v []byte) ([]byte, bool) {
	if len(k) != 8 || len(v) < 4 {
		return nil, false
	}
	return v[4:], binary.BigEndian.Uint32(v) == checksum(k, v[4:])
}

// State returns a copy of the caller's state.
func (s *Spool) State() (map[string][]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	db, err := s.ready()
	if err != nil {
		return nil, err
	}
	m := make(map[string][]byte)
	err = db.View(func(tx *bolt.Tx) error {
		return tx.Bucket(bucketState).ForEach(func(k, v []byte) error {
			m[string(k)] = append([]byte(nil), v...)
			return nil
		})
	})
	return m, err
}

// Window returns the numbers of each lane that no Ack covers.
func (s *Spool) Window() map[wire.Lane]wire.Window {
	s.mu.Lock()
	defer s.mu.Unlock()
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

// Stream returns the spool's stream.
func (s *Spool) Stream() wire.StreamID { s.mu.Lock(); defer s.mu.Unlock(); return s.stream }

// Boot returns which opening of the spool this is, from 1.
func (s *Spool) Boot() uint64 { s.mu.Lock(); defer s.mu.Unlock(); return s.boot }

// Changed returns a channel that receives after an Append; one receive may
// stand for several.
func (s *Spool) Changed() <-chan struct{} { return s.changed }

// Close deletes what was acknowledged and closes the file.
func (s *Spool) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	err := s.flush()
	s.closed = true
	if s.db != nil {
		err = errors.Join(err, s.db.Close())
		s.db = nil
	}
	s.mu.Unlock()
	close(s.closing)
	s.trimmed.Wait()
	return err
}
