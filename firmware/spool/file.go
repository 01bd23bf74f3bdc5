package spool

import (
	"errors"
	"fmt"
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
