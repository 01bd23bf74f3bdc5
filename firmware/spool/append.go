package spool

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/fengsui/fengsui/firmware/wire"
)

// An Entry is an event to be stored: Build seals it for its slot.
type Entry struct {
	Lane  wire.Lane
	Build func(Slot) ([]byte, error)
}

// Append stores an event: build seals it for its slot, and the sealed bytes
// and the state are committed together. It returns the event's number once
// they are on the disk. The error wraps what build returned, or [ErrFull],
// [ErrSuspect] or [ErrClosed]; the number then stays free. build must not call
// Append.
func (s *Spool) Append(l wire.Lane, build func(Slot) ([]byte, error), state ...KV) (uint64, error) {
	s.waiting.Add(1)
	defer s.waiting.Add(-1)
	s.write.Lock()
	defer s.write.Unlock()
	c := &change{entries: []Entry{{l, build}}, state: state}
	if err := s.put(c); err != nil {
		return 0, err
	}
	return c.slots[0].Seq, nil
}

// Try finds out whether the file takes a commit, by one that changes nothing.
// The error wraps [ErrFull], [ErrSuspect] or [ErrClosed].
func (s *Spool) Try() error {
	s.write.Lock()
	defer s.write.Unlock()
	db, err := s.ready()
	if err != nil {
		return err
	}
	return s.commit(db, s.opt.MaxSize, func(*bolt.Tx) error { return nil })
}

// A change is what one commit does.
type change struct {
	entries []Entry
	state   []KV
	give    *wire.DroppedRange  // gone with this commit; or nil
	again   []wire.DroppedRange // to be told again
	told    bool                // the entry tells of all that was given up
	own     []KV                // state of the spool's own

	slots []Slot
	msgs  [][]byte
	given []wire.DroppedRange // the tally after it
}

// urgent reports whether an alarm is among the entries.
func (c *change) urgent() bool {
	return slices.ContainsFunc(c.entries, func(e Entry) bool { return e.Lane == wire.Alarm })
}

// put does a change. The caller holds write.
func (s *Spool) put(c *change) error {
	db, err := s.ready()
	if err != nil {
		return err
	}
	for _, kv := range c.state {
		if kv.Key == "" || strings.HasPrefix(kv.Key, ownState) {
			return fmt.Errorf("spool: state key %q: want a name that does not begin with %q", kv.Key, ownState)
		}
	}
	if err := s.build(c); err != nil {
		return err
	}
	err = s.store(db, c)
	for errors.Is(err, ErrFull) && s.dirty() {
		// What the centre has need not be in the way.
		if _, ferr := s.flush(nil); ferr != nil {
			return errors.Join(err, ferr)
		}
		err = s.store(db, c)
	}
	if errors.Is(err, ErrSuspect) {
		// The failed commit may be on the disk all the same: look. To open the file
		// takes a commit, so that what is seen then is durable.
		if _, again := s.ready(); again != nil || !s.holds(c) {
			return err
		}
		s.log.Warn("the failed commit is on the disk")
		s.mu.Lock()
		s.done(c)
		s.mu.Unlock()
	} else if err != nil {
		return err
	}
	s.home.append(s, c)
	s.home.trim(s)
	s.mu.Lock()
	s.status.Alone = s.home.failed()
	if c.urgent() {
		s.alarm = time.Now()
	}
	s.mu.Unlock()
	select {
	case s.changed <- struct{}{}:
	default:
	}
	return nil
}

// build seals the entries of a change.
func (s *Spool) build(c *change) error {
	s.mu.RLock()
	stream := s.current()
	next := make(map[wire.Lane]Slot)
	for _, l := range wire.Lanes() {
		st := s.lanes[place{stream, l}]
		next[l] = Slot{Stream: stream, Boot: s.boot, Seq: st.next, Prev: st.prev}
	}
	c.given = s.given
	s.mu.RUnlock()
	for _, e := range c.entries {
		slot, ok := next[e.Lane]
		if !ok {
			return errLane(e.Lane)
		}
		msg, err := e.Build(slot)
		if err != nil {
			return err
		}
		c.slots, c.msgs = append(c.slots, slot), append(c.msgs, msg)
		next[e.Lane] = Slot{Stream: stream, Boot: s.boot, Seq: slot.Seq + 1, Prev: wire.HashOf(msg)}
	}
	if c.told {
		c.given = c.given[min(len(c.given), wire.MaxDroppedRanges):]
	}
	if c.give != nil {
		c.given = MergeDropped(c.given, *c.give)
	}
	for _, r := range c.again {
		c.given = MergeDropped(c.given, r)
	}
	return nil
}

// holds reports whether the file that was opened again has a change. The
// caller holds write.
func (s *Spool) holds(c *change) bool {
	last := len(c.entries) - 1
	s.mu.RLock()
	defer s.mu.RUnlock()
	if last < 0 {
		return s.lanes[place{c.give.Stream, c.give.Lane}].kept > c.give.To
	}
	return s.lanes[place{c.slots[last].Stream, c.entries[last].Lane}].prev == wire.HashOf(c.msgs[last])
}

// store commits a change, and deletes a little on the way. The caller holds
// write.
func (s *Spool) store(db *bolt.DB, c *change) error {
	var used int64
	var cuts map[place]uint64
	limit, most := s.opt.MaxSize, s.opt.MaxSize
	if c.give == nil {
		l := c.entries[0].Lane
		if limit = s.limit(l); l != wire.Alarm {
			most = mostUsed(s.opt.MaxSize)
		}
	}
	err := s.commit(db, limit, func(tx *bolt.Tx) (err error) {
		if used = inUse(db, tx); used > most {
			return fmt.Errorf("%w: %d bytes in use: want at most %d", ErrFull, used, most)
		}
		for i, e := range c.entries {
			p := place{c.slots[i].Stream, e.Lane}
			if err := putEvent(tx, p, c.slots[i].Seq, c.msgs[i], wire.HashOf(c.msgs[i])); err != nil {
				return err
			}
		}
		if err := putState(tx, c.state); err != nil {
			return err
		}
		if err := putState(tx, c.own); err != nil {
			return err
		}
		if c.told || c.give != nil {
			if err := putGiven(tx, c.given); err != nil {
				return err
			}
		}
		if c.give != nil {
			if err := deleteThrough(tx, place{c.give.Stream, c.give.Lane}, c.give.To); err != nil {
				return err
			}
		}
		if !c.urgent() {
			cuts, err = s.deleteAcked(tx, trimRide, nil)
		}
		return err
	})
	if err != nil {
		return err
	}
	s.mu.Lock()
	for i, e := range c.entries {
		st := s.lanes[place{c.slots[i].Stream, e.Lane}]
		st.next, st.prev = c.slots[i].Seq+1, wire.HashOf(c.msgs[i])
	}
	s.status.Used = used
	s.done(c)
	s.cut(cuts)
	s.mu.Unlock()
	s.keepReserve()
	return nil
}

// done notes what a change gave up. The caller holds mu.
func (s *Spool) done(c *change) {
	if c.told || c.give != nil {
		s.given = c.given
	}
	if r := c.give; r != nil {
		st := s.lanes[place{r.Stream, r.Lane}]
		st.ack(r.To)
		st.kept = max(st.kept, r.To+1)
	}
}
