package spool

import (
	"errors"
	"maps"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/fengsui/fengsui/firmware/wire"
)

// trimRest is when the deletion goes on that ended for an Append: a mutex knows
// no order.
const trimRest = 10 * time.Millisecond

// trimSwarm is how long after an alarm nothing is deleted, unless it is much:
// alarms come in swarms.
const trimSwarm = 2 * time.Second

// swarm reports whether an alarm has come lately and the deletion can wait.
func (s *Spool) swarm() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	much := func(st *laneState) bool { return st.oldest-st.kept >= 4*trimBatch }
	return time.Since(s.alarm) < trimSwarm && !slices.ContainsFunc(slices.Collect(maps.Values(s.lanes)), much)
}

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
			if s.swarm() {
				continue // at the next Ack, or with the next tick
			}
		}
		for more := true; more; {
			var err error
			s.write.Lock()
			more, err = s.flush(func() bool { return s.waiting.Load() > 0 })
			s.write.Unlock()
			if err != nil && !errors.Is(err, ErrClosed) {
				s.log.Warn("acknowledged events not deleted yet", "err", err)
			}
			if more && s.waiting.Load() > 0 {
				time.Sleep(trimRest)
			}
		}
	}
}

// flush deletes a batch of what was acknowledged, a small one when hurried, and
// reports whether there is more. The caller holds write.
func (s *Spool) flush(hurried func() bool) (more bool, err error) {
	if !s.dirty() {
		return false, nil
	}
	db, err := s.ready()
	if err != nil {
		return false, err
	}
	var cuts map[place]uint64
	if err := s.commit(db, s.opt.MaxSize, func(tx *bolt.Tx) error {
		cuts, err = s.deleteAcked(tx, trimBatch, hurried)
		return err
	}); err != nil {
		return false, err
	}
	s.mu.Lock()
	s.cut(cuts)
	s.mu.Unlock()
	s.home.trim(s)
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
func (s *Spool) cut(cuts map[place]uint64) {
	for p, kept := range cuts {
		s.lanes[p].kept = max(s.lanes[p].kept, kept)
	}
	left := s.streams[:0:0]
	for i, id := range s.streams {
		if i < len(s.streams)-1 && s.isDone(id, cuts) {
			for _, l := range wire.Lanes() {
				delete(s.lanes, place{id, l})
			}
			continue
		}
		left = append(left, id)
	}
	s.streams = left
}

// isDone reports whether a stream, after the deletions in cuts, has nothing left
// in the file. The caller holds mu.
func (s *Spool) isDone(id wire.StreamID, cuts map[place]uint64) bool {
	for _, l := range wire.Lanes() {
		p := place{id, l}
		if st := s.lanes[p]; st != nil && max(st.kept, cuts[p]) < st.next {
			return false
		}
	}
	return true
}

// deleteAcked deletes at most so many of the events that the file need not
// hold, the most urgent lane first, and the former streams that have nothing
// more. With trimLeast of them it ends when hurried, unless nil, says so. It
// returns how far it came.
func (s *Spool) deleteAcked(tx *bolt.Tx, most int, hurried func() bool) (map[place]uint64, error) {
	s.mu.RLock()
	oldest := make(map[place]uint64)
	for p, st := range s.lanes {
		if st.kept < st.oldest {
			oldest[p] = st.oldest
		}
	}
	streams := s.streams
	s.mu.RUnlock()
	meta := tx.Bucket(bucketMeta)
	cuts := make(map[place]uint64)
	n := 0
	enough := func() bool { return n >= most || n >= trimLeast && hurried != nil && hurried() }
	for _, l := range wire.Lanes() {
		for _, id := range streams {
			p := place{id, l}
			if oldest[p] == 0 {
				continue
			}
			c := tx.Bucket(p.bucket()).Cursor()
			k, _ := c.First()
			for ; k != nil && number(k) < oldest[p] && !enough(); n++ {
				if err := c.Delete(); err != nil {
					return nil, err
				}
				k, _ = c.First()
			}
			cuts[p] = oldest[p]
			if k != nil {
				cuts[p] = min(cuts[p], number(k))
			}
			if err := raiseKept(meta, p, cuts[p]); err != nil {
				return nil, err
			}
		}
	}
	if len(streams) == 1 || len(cuts) == 0 {
		return cuts, nil
	}
	left := streams[:0:0]
	for i, id := range streams {
		s.mu.RLock()
		done := i < len(streams)-1 && s.isDone(id, cuts)
		s.mu.RUnlock()
		if !done {
			left = append(left, id)
			continue
		}
		for _, l := range wire.Lanes() {
			p := place{id, l}
			if err := errors.Join(tx.DeleteBucket(p.bucket()), meta.Delete(p.head())); err != nil {
				return nil, err
			}
		}
	}
	return cuts, putStreams(meta, left)
}

// deleteThrough deletes the events of a lane up to a number.
func deleteThrough(tx *bolt.Tx, p place, to uint64) error {
	c := tx.Bucket(p.bucket()).Cursor()
	for k, _ := c.First(); k != nil && number(k) <= to; k, _ = c.First() {
		if err := c.Delete(); err != nil {
			return err
		}
	}
	return raiseKept(tx.Bucket(bucketMeta), p, to+1)
}

func raiseKept(meta *bolt.Bucket, p place, kept uint64) error {
	st, err := readHead(meta, p)
	if err != nil {
		return err
	}
	st.kept = max(st.kept, min(kept, st.next))
	return putHead(meta, p, st)
}
