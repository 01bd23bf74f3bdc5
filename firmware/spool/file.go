package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"runtime/debug"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/fengsui/fengsui/firmware/wire"
)

// The file has a bucket "meta" with version, stream, boot, the former streams
// and, for each lane of each stream, a head: the next number, the lowest that
// the lane still holds and the hash of the last event. "state" is the caller's.
// A bucket for each lane of each stream holds events by number (8 bytes,
// big-endian). Every value but the version begins with a CRC32C over the
// bucket's name, the key and the rest of the value: bbolt itself has checksums
// on two pages only.
var (
	bucketMeta  = []byte("meta")
	bucketState = []byte("state")
	keyVersion  = []byte("version")
	keyStream   = []byte("stream")
	keyFormer   = []byte("former") // ids, the oldest first
	keyBoot     = []byte("boot")
)

const (
	version = "3"
	// pageSize is bbolt's, the same on every machine that may read the file.
	pageSize = 4096
	// allocSize is by how much the file grows. bbolt refuses to grow when the new
	// end and one more allocSize would pass its limit.
	allocSize = 1 << 20
	// fill is how full a leaf page may get. Numbers only rise, so that a page
	// which was split is not written again: bbolt's 0.5 would waste half.
	fill = 0.95
)

// limitOf is how far the file may grow for an event. The steps between lanes
// and below the limit are reserves: bbolt writes its list of free pages in one
// piece, and pages scattered over the file make no piece. Deletions, which may
// grow it up to the limit itself, must never fail for want of room.
func limitOf(l wire.Lane, maxSize int64) int64 {
	if l == wire.Alarm {
		return maxSize - allocSize
	}
	return maxSize - allocSize - max(allocSize/2, maxSize/20)
}

// mostUsed is how many bytes may be in use before duty and track are refused:
// nine tenths of what the file can hold. The rest is for alarms.
func mostUsed(maxSize int64) int64 { return (maxSize - 2*allocSize) / 10 * 9 }

// inUse returns the bytes of the pages that hold something.
func inUse(db *bolt.DB, tx *bolt.Tx) int64 {
	st := db.Stats()
	return tx.Size() - int64(st.FreePageN+st.PendingPageN)*int64(db.Info().PageSize)
}

// A place is a lane of a stream.
type place struct {
	stream wire.StreamID
	lane   wire.Lane
}

func (p place) String() string { return p.stream.String() + "/" + p.lane.String() }

func (p place) bucket() []byte { return []byte("lane/" + p.String()) }

func (p place) head() []byte { return []byte("head/" + p.String()) }

func key(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

// number is the inverse of key; 0, which no event has, for anything else.
func number(b []byte) uint64 {
	if len(b) != 8 {
		return 0
	}
	return binary.BigEndian.Uint64(b)
}

// checksum is CRC32C (RFC 3720, appendix B.4).
func checksum(bucket, key, data []byte) uint32 {
	t := crc32.MakeTable(crc32.Castagnoli)
	return crc32.Update(crc32.Update(crc32.Checksum(bucket, t), t, key), t, data)
}

func pack(bucket, key, data []byte) []byte {
	v := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(data)), checksum(bucket, key, data))
	return append(v, data...)
}

// unpack returns a value without its checksum, if that is right.
func unpack(bucket, key, v []byte) ([]byte, bool) {
	if len(v) < 4 || binary.BigEndian.Uint32(v) != checksum(bucket, key, v[4:]) {
		return nil, false
	}
	return v[4:], true
}

// guard runs f and returns its panics as [ErrDamaged]: that is what bbolt does
// on a page that makes no sense. A wild pointer into the mapping would end the
// process past any recover; it is made a panic like the others.
func guard(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", ErrDamaged, r)
		}
	}()
	return f()
}

// openFile opens a bbolt file, which the database closes. The error may wrap
// [ErrInUse] or [ErrDamaged].
func openFile(path string, opt bolt.Options) (db *bolt.DB, file *os.File, err error) {
	opt.PageSize = pageSize
	opt.OpenFile = func(name string, flag int, mode os.FileMode) (*os.File, error) {
		f, err := os.OpenFile(name, flag, mode)
		file = f
		return f, err
	}
	err = guard(func() (err error) {
		db, err = bolt.Open(path, 0o600, &opt)
		return err
	})
	var system syscall.Errno
	switch {
	case err == nil:
		return db, file, nil
	case errors.Is(err, ErrDamaged):
		// A panic leaves it open and mapped, and the mapping keeps the lock.
		if file != nil {
			unlock(file)
			file.Close()
		}
		return nil, nil, err
	case errors.Is(err, berrors.ErrTimeout):
		return nil, nil, fmt.Errorf("%w: another process has the file open", ErrInUse)
	case errors.As(err, &system):
		return nil, nil, err
	}
	return nil, nil, fmt.Errorf("%w: %w", ErrDamaged, err)
}

// open opens the file and reads what is in it; boot counts a boot as well. It
// commits in any case, so that what it has read is durable even if the commit
// before it failed. The caller holds write, or has s to itself.
func (s *Spool) open(boot bool) error {
	db, file, err := openFile(s.path, bolt.Options{
		Timeout:      2 * time.Second,
		FreelistType: bolt.FreelistArrayType,
		MaxSize:      int(s.opt.MaxSize),
	})
	if err != nil {
		return err
	}
	db.AllocSize = allocSize
	var lanes map[place]*laneState
	err = guard(func() error {
		return db.Update(func(tx *bolt.Tx) error {
			lanes, err = s.load(tx, boot)
			return err
		})
	})
	if err == nil {
		// Always: an earlier process may have died between creating and this.
		err = syncDir(filepath.Dir(s.path))
	}
	if err == nil && s.home != nil && s.home.found != nil {
		err = guard(func() error {
			return db.View(func(tx *bolt.Tx) error { s.home.complete(tx, s); return nil })
		})
	}
	if err != nil {
		return errors.Join(err, db.Close())
	}
	s.mu.Lock()
	s.db, s.lanes = db, lanes
	s.mu.Unlock()
	s.file, s.reserved = file, 0
	s.keepReserve()
	return nil
}

// keepReserve has the disk set aside room for the file as it is, which bbolt
// leaves with holes, and for it to grow once. When it cannot, because others
// have filled the disk, only alarms may grow the file. The caller holds write,
// or has s to itself.
func (s *Spool) keepReserve() {
	st, err := s.file.Stat()
	if err != nil || !s.short && st.Size()+allocSize <= s.reserved {
		return
	}
	err = reserve(s.file, st.Size()+allocSize)
	if err == nil {
		s.reserved = st.Size() + allocSize
	}
	if short := errors.Is(err, syscall.ENOSPC); short != s.short {
		s.short = short
		s.log.Warn("disk is full, or no longer", "full", short)
	}
}

// limit is how far a commit may grow the file for an event.
func (s *Spool) limit(l wire.Lane) int64 {
	most := limitOf(l, s.opt.MaxSize)
	if st, err := s.file.Stat(); s.short && l != wire.Alarm && err == nil {
		most = min(most, st.Size())
	}
	return most
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// load makes what is missing and reads the rest.
func (s *Spool) load(tx *bolt.Tx, boot bool) (map[place]*laneState, error) {
	meta := tx.Bucket(bucketMeta)
	created := meta == nil
	if created {
		if err := create(tx); err != nil {
			return nil, err
		}
		meta = tx.Bucket(bucketMeta)
	}
	if v := string(meta.Get(keyVersion)); v != version {
		return nil, fmt.Errorf("%w: version %q: want %q", ErrFormat, v, version)
	}
	ids, err := readStreams(meta)
	if err != nil {
		return nil, err
	}
	count, ok := unpack(bucketMeta, keyBoot, meta.Get(keyBoot))
	if !ok || len(count) != 8 {
		return nil, fmt.Errorf("%w: boot counter", ErrDamaged)
	}
	if boot {
		s.boot = number(count) + 1
		if err := meta.Put(keyBoot, pack(bucketMeta, keyBoot, key(s.boot))); err != nil {
			return nil, err
		}
	} else if number(count) != s.boot {
		return nil, fmt.Errorf("%w: boot %d in place of %d", ErrDamaged, number(count), s.boot)
	}
	if tx.Bucket(bucketState) == nil {
		return nil, fmt.Errorf("%w: no state", ErrDamaged)
	}
	lanes := make(map[place]*laneState)
	for _, id := range ids {
		for _, l := range wire.Lanes() {
			p := place{id, l}
			st, err := readHead(meta, p)
			if err != nil {
				return nil, err
			}
			if tx.Bucket(p.bucket()) == nil {
				return nil, fmt.Errorf("%w: no lane %v", ErrDamaged, p)
			}
			// An Ack survives only as deletions: what it covered besides is sent again.
			st.oldest = st.kept
			if old := s.lanes[p]; old != nil {
				st.oldest = max(st.oldest, min(old.oldest, st.next))
				st.lost = old.lost
			}
			lanes[p] = st
		}
	}
	s.mu.Lock()
	s.streams = ids
	s.mu.Unlock()
	if !boot {
		return lanes, nil
	}
	s.lanes = lanes
	s.given, err = readGiven(tx)
	if err != nil {
		return nil, err
	}
	if s.home != nil {
		changed, err := s.home.settle(tx, s, created)
		if err != nil {
			return nil, err
		}
		if !changed {
			// Before the file is written to: the next cut may cost it. What only the log
			// has must be in the file first.
			s.home.complete(tx, s)
		}
	}
	// A former stream may have holes, which were told of when they were made.
	for _, id := range s.streams[:len(s.streams)-1] {
		for _, l := range wire.Lanes() {
			p := place{id, l}
			if s.lanes[p].lost, err = holesIn(tx, p, s.lanes[p]); err != nil {
				return nil, err
			}
			s.lanes[p].skip()
		}
	}
	return s.lanes, nil
}

// readStreams returns the former streams, the oldest first, and the current.
func readStreams(meta *bolt.Bucket) ([]wire.StreamID, error) {
	var ids []wire.StreamID
	n := len(wire.StreamID{})
	v, ok := unpack(bucketMeta, keyFormer, meta.Get(keyFormer))
	if !ok || len(v)%n != 0 {
		return nil, fmt.Errorf("%w: former streams", ErrDamaged)
	}
	for ; len(v) > 0; v = v[n:] {
		ids = append(ids, wire.StreamID(v[:n]))
	}
	id, ok := unpack(bucketMeta, keyStream, meta.Get(keyStream))
	if !ok || len(id) != n {
		return nil, fmt.Errorf("%w: stream id", ErrDamaged)
	}
	return append(ids, wire.StreamID(id)), nil
}

// putStreams is the inverse of readStreams.
func putStreams(meta *bolt.Bucket, ids []wire.StreamID) error {
	var former []byte
	for _, id := range ids[:len(ids)-1] {
		former = append(former, id[:]...)
	}
	id := ids[len(ids)-1]
	return errors.Join(
		meta.Put(keyFormer, pack(bucketMeta, keyFormer, former)),
		meta.Put(keyStream, pack(bucketMeta, keyStream, id[:])),
	)
}

// create fills an empty file.
func create(tx *bolt.Tx) error {
	if k, _ := tx.Cursor().First(); k != nil {
		return fmt.Errorf("%w: holds %q", ErrFormat, k)
	}
	meta, err := tx.CreateBucket(bucketMeta)
	if err != nil {
		return err
	}
	id := wire.NewStreamID()
	err = errors.Join(
		meta.Put(keyVersion, []byte(version)),
		meta.Put(keyBoot, pack(bucketMeta, keyBoot, key(0))),
		putStreams(meta, []wire.StreamID{id}),
		createLanes(tx, id),
	)
	if _, e := tx.CreateBucket(bucketState); e != nil {
		err = errors.Join(err, e)
	}
	return err
}

func createLanes(tx *bolt.Tx, id wire.StreamID) (err error) {
	for _, l := range wire.Lanes() {
		p := place{id, l}
		_, e := tx.CreateBucket(p.bucket())
		err = errors.Join(err, e, putHead(tx.Bucket(bucketMeta), p, &laneState{next: 1, kept: 1}))
	}
	return err
}

func putHead(meta *bolt.Bucket, p place, st *laneState) error {
	k := p.head()
	v := append(append(key(st.next), key(st.kept)...), st.prev[:]...)
	return meta.Put(k, pack(bucketMeta, k, v))
}

func readHead(meta *bolt.Bucket, p place) (*laneState, error) {
	v, ok := unpack(bucketMeta, p.head(), meta.Get(p.head()))
	st := new(laneState)
	if !ok || !st.parse(v) {
		return nil, fmt.Errorf("%w: head of lane %v", ErrDamaged, p)
	}
	return st, nil
}

// parse is the inverse of what putHead packs.
func (st *laneState) parse(v []byte) bool {
	if len(v) != 16+len(st.prev) {
		return false
	}
	st.next, st.kept = number(v[:8]), number(v[8:16])
	copy(st.prev[:], v[16:])
	return true
}

func putEvent(tx *bolt.Tx, p place, seq uint64, msg []byte, hash wire.Hash) error {
	b := tx.Bucket(p.bucket())
	b.FillPercent = fill
	k := key(seq)
	if err := b.Put(k, pack(p.bucket(), k, msg)); err != nil {
		return err
	}
	meta := tx.Bucket(bucketMeta)
	st, err := readHead(meta, p)
	if err != nil {
		return err
	}
	if seq >= st.next {
		st.next, st.prev = seq+1, hash
	}
	return putHead(meta, p, st)
}

func putState(tx *bolt.Tx, state []KV) error {
	b := tx.Bucket(bucketState)
	for _, kv := range state {
		var err error
		if k := []byte(kv.Key); len(kv.Value) == 0 {
			err = b.Delete(k)
		} else {
			err = b.Put(k, pack(bucketState, k, kv.Value))
		}
		if err != nil {
			return fmt.Errorf("state %q: %w", kv.Key, err)
		}
	}
	return nil
}

// readEvents returns copies of the events from a number up to but without
// next, and the numbers among them that cannot be read.
func readEvents(tx *bolt.Tx, p place, from, next uint64, records, bytes int) (out []Record, lost []span) {
	if from >= next || records <= 0 {
		return nil, nil
	}
	bucket := p.bucket()
	b := tx.Bucket(bucket)
	if b == nil { // a former stream that was done with
		return nil, nil
	}
	c := b.Cursor()
	size := 0
	for k, v := c.Seek(key(from)); k != nil; k, v = c.Next() {
		seq := number(k)
		if seq < from {
			continue // not a number
		}
		if seq >= next {
			break
		}
		if seq > from {
			lost = append(lost, span{from, seq - 1})
		}
		from = seq + 1
		data, ok := unpack(bucket, k, v)
		if !ok {
			lost = append(lost, span{seq, seq})
			continue
		}
		if size += len(data); size > bytes && len(out) > 0 {
			return out, lost
		}
		if out = append(out, Record{seq, append([]byte(nil), data...)}); len(out) == records {
			return out, lost
		}
	}
	if from < next {
		lost = append(lost, span{from, next - 1})
	}
	return out, lost
}

// commit runs f in a transaction that may grow the file up to a limit. After
// an error that leaves the file in doubt, it is closed; ready opens it again.
// The caller holds write.
func (s *Spool) commit(db *bolt.DB, limit int64, f func(*bolt.Tx) error) error {
	db.MaxSize = int(limit)
	var before error // of f: nothing was written yet
	var id int
	err := guard(func() error {
		return db.Update(func(tx *bolt.Tx) error {
			id = tx.ID()
			before = f(tx)
			return before
		})
	})
	switch {
	case err == nil:
		return nil
	case before != nil:
		return err
	case errors.Is(err, berrors.ErrMaxSizeReached), errors.Is(err, syscall.ENOSPC) && !written(db, id):
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	s.log.Error("spool commit failed", "err", err)
	s.mu.Lock()
	s.db = nil
	s.mu.Unlock()
	if cerr := db.Close(); cerr != nil {
		s.log.Error("spool close failed", "err", cerr)
	}
	return fmt.Errorf("%w: %w", ErrSuspect, err)
}

// written reports whether the page that makes a transaction valid is in the
// file, or may be: a disk may be full only when that page is to be synced.
func written(db *bolt.DB, id int) bool {
	seen := true
	err := guard(func() error {
		return db.View(func(tx *bolt.Tx) error { seen = tx.ID() >= id; return nil })
	})
	return err != nil || seen
}
