package spool

import (
	"errors"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/fengsui/fengsui/firmware/wire"
)

// trim deletes what was acknowledged and rode on no Append.
func (s *Spool) trim() {
	t := time.NewTicker(s.opt.AckDelay)
	defer t.Stop()
	for {
		select {
		case <-s.closing:
			return
		case <-t.C:
		case <-s.trimNow:
		}
		for more := true; more; {
			var err error
			s.write.Lock()
			more, err = s.flush()
			s.write.Unlock()
			if err != nil && !errors.Is(err, ErrClosed) {
				s.log.Warn("acknowledged events not deleted yet", "err", err)
			}
		}
	}
}

// flush deletes a batch of what was acknowledged and reports whether there is
// more. The caller holds write.
func (s *Spool) flush() (more bool, err error) {
	if !s.dirty() {
		return false, nil
	}
	db, err := s.ready()
	if err != nil {
		return false, err
	}
	var cuts map[wire.Lane]uint64
	if err := s.commit(db, s.opt.MaxSize, func(tx *bolt.Tx) error {
		cuts, err = s.deleteAcked(tx, trimBatch)
		return err
	}); err != nil {
		return false, err
	}
	s.mu.Lock()
	s.cut(cuts)
	s.mu.Unlock()
	return s.dirty(), nil
}

// dirty reports whether the file holds events that it need not.
func (s *Spool) dirty() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, st := range s.lanes {
		if st.kept < st.oldest {
			return true
		}
	}
	return false
}

// cut notes what a commit deleted. The caller holds mu.
func (s *Spool) cut(cuts map[wire.Lane]uint64) {
	for l, kept := range cuts {
		s.lanes[l].kept = max(s.lanes[l].kept, kept)
	}
}

// deleteAcked deletes at most so many of the events that the file need not
// hold, the most urgent lane first, and returns how far it came.
func (s *Spool) deleteAcked(tx *bolt.Tx, most int) (map[wire.Lane]uint64, error) {
	s.mu.RLock()
	oldest := make(map[wire.Lane]uint64)
	for l, st := range s.lanes {
		if st.kept < st.oldest {
			oldest[l] = st.oldest
		}
	}
	s.mu.RUnlock()
	meta := tx.Bucket(bucketMeta)
	cuts := make(map[wire.Lane]uint64)
	for _, l := range wire.Lanes() {
		if oldest[l] == 0 {
			continue
		}
		c := tx.Bucket(laneBucket(l)).Cursor()
		k, _ := c.First()
		for ; k != nil && number(k) < oldest[l] && most > 0; most-- {
			if err := c.Delete(); err != nil {
				return nil, err
			}
			k, _ = c.First()
		}
		cuts[l] = oldest[l]
		if k != nil {
			cuts[l] = min(cuts[l], number(k))
		}
		st, err := readHead(meta, l)
		if err != nil {
			return nil, err
		}
		st.kept = max(st.kept, cuts[l])
		if err := putHead(meta, l, st); err != nil {
			return nil, err
		}
	}
	return cuts, nil
}
