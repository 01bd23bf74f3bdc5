package spool

import (
	"fmt"

	bolt "go.etcd.io/bbolt"

	"github.com/fengsui/fengsui/firmware/wire"
)

// A Part is what a spool holds of one stream. It stays valid when the stream is
// done with: it then holds nothing.
type Part struct {
	s      *Spool
	stream wire.StreamID
}

// Parts returns the former streams of which something waits, the oldest first,
// and the current one last.
func (s *Spool) Parts() []Part {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var parts []Part
	for i, id := range s.streams {
		waits := i == len(s.streams)-1
		for _, l := range wire.Lanes() {
			st := s.lanes[place{id, l}]
			waits = waits || st.oldest < st.next
		}
		if waits {
			parts = append(parts, Part{s, id})
		}
	}
	return parts
}

// Stream returns the part's stream.
func (p Part) Stream() wire.StreamID { return p.stream }

// Window returns the numbers of each lane that no Ack covers. It is empty when
// the stream is done with.
func (p Part) Window() map[wire.Lane]wire.Window {
	p.s.mu.RLock()
	defer p.s.mu.RUnlock()
	m := make(map[wire.Lane]wire.Window)
	for _, l := range wire.Lanes() {
		if st := p.s.lanes[place{p.stream, l}]; st != nil {
			m[l] = wire.Window{Oldest: st.oldest, Next: st.next}
		}
	}
	return m
}

// Read returns stored events of a lane from a number on, in order, at most
// records of them and, after the first, at most bytes of them. An event whose
// checksum is wrong, or that is missing, is left out, logged, counted in
// [Status] and given up; once everything before it is acknowledged, Window
// leaves it out too. The error may wrap [ErrDamaged].
func (p Part) Read(l wire.Lane, from uint64, records, bytes int) ([]Record, error) {
	s := p.s
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
	db, st := s.db, s.lanes[place{p.stream, l}]
	if db == nil || st == nil {
		s.mu.RUnlock()
		switch {
		case db == nil:
			return nil, ErrSuspect
		case l < wire.Alarm || l > wire.Track:
			return nil, errLane(l)
		}
		return nil, nil
	}
	var out []Record
	var lost []span
	err := guard(func() error {
		return db.View(func(tx *bolt.Tx) error {
			out, lost = readEvents(tx, place{p.stream, l}, max(from, st.oldest), st.next, records, bytes)
			return nil
		})
	})
	kept := out[:0]
	for _, r := range out {
		if !st.isLost(r.Seq) {
			kept = append(kept, r)
		}
	}
	s.mu.RUnlock()
	if err != nil {
		return nil, fmt.Errorf("spool: read lane %v: %w", l, err)
	}
	for _, sp := range lost {
		s.lose(place{p.stream, l}, sp)
	}
	if len(kept) == 0 && len(out) > 0 { // the centre has all of these
		return p.Read(l, out[len(out)-1].Seq+1, records, bytes)
	}
	return kept, nil
}

// lose gives up events that cannot be read.
func (s *Spool) lose(p place, sp span) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.lanes[p]
	if st == nil {
		return
	}
	news := st.lose(sp)
	if news == 0 {
		return
	}
	s.status.Damaged += news
	s.given = MergeDropped(s.given, wire.DroppedRange{
		Stream: p.stream, Lane: p.lane, From: sp.first, To: sp.last, Why: wire.DropDamaged, Events: news,
	})
	s.log.Error("stored events are damaged", "lane", p, "from", sp.first, "to", sp.last)
}

// Ack notes that the centre has a lane up to a number, and which event it has
// there: nil where it has none, because the device once said that there is
// none. It waits for no disk: the deletion goes with an Append, or comes after
// Options.AckDelay. It is idempotent. The error wraps [ErrOther]; nothing is
// deleted then.
func (p Part) Ack(l wire.Lane, upTo uint64, hash *wire.Hash) error {
	s, pl := p.s, place{p.stream, l}
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.lanes[pl]
	switch {
	case l < wire.Alarm || l > wire.Track:
		return errLane(l)
	case st == nil || upTo < st.oldest:
		return nil
	case upTo >= st.next:
		return fmt.Errorf("%w: lane %v up to %d: want at most %d", ErrOther, pl, upTo, st.next-1)
	case s.db == nil:
		return ErrSuspect
	}
	own := st.prev
	if upTo != st.next-1 {
		var recs []Record
		if err := guard(func() error {
			return s.db.View(func(tx *bolt.Tx) error {
				recs, _ = readEvents(tx, pl, upTo, upTo+1, 1, 1)
				return nil
			})
		}); err != nil {
			return err
		}
		if len(recs) == 0 { // damaged: there is nothing to compare, and nothing to lose
			hash = &own
		} else {
			own = wire.HashOf(recs[0].Data)
		}
	}
	if hash == nil || *hash != own {
		return fmt.Errorf("%w: lane %v, number %d", ErrOther, pl, upTo)
	}
	st.ack(upTo)
	s.trimSoon(st)
	return nil
}

// Kept notes that the centre keeps an event beside another one of its number.
// It is forgotten at the next Open, and the event sent again.
func (p Part) Kept(l wire.Lane, seq uint64) {
	s := p.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if st := s.lanes[place{p.stream, l}]; st != nil && seq >= st.oldest && seq < st.next {
		st.lose(span{seq, seq})
		s.trimSoon(st)
	}
}

// trimSoon wakes the goroutine that deletes, when that is worth a commit. The
// caller holds mu.
func (s *Spool) trimSoon(st *laneState) {
	if st.oldest-st.kept >= trimBatch {
		select {
		case s.trimNow <- struct{}{}:
		default:
		}
	}
}
