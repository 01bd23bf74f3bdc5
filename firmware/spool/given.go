package spool

import (
	"encoding/json"
	"fmt"
	"slices"
	"sort"

	bolt "go.etcd.io/bbolt"

	"github.com/fengsui/fengsui/firmware/wire"
)

// ownState begins the keys of the state that are the spool's own.
const ownState = "spool/"

var (
	keyGiven   = []byte(ownState + "given")
	keyStarted = []byte(ownState + "started")
)

// Given returns what was given up and not told yet: by [Spool.Swap], as damaged
// by Read, and as not salvaged.
func (s *Spool) Given() []wire.DroppedRange {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Clone(s.given)
}

// Swap gives up all events of a range, which must begin with the oldest of its
// lane, stores entries in their place, and tallies what is gone, in one commit.
// It tallies also what the given-up events told of, if they were such a record.
// It may use the room that is kept free for deletions. The error is that of
// Append.
func (s *Spool) Swap(give wire.DroppedRange, told []wire.DroppedRange, entries ...Entry) error {
	s.write.Lock()
	defer s.write.Unlock()
	s.mu.RLock()
	st := s.lanes[place{give.Stream, give.Lane}]
	ok := st != nil && give.From <= st.oldest && give.From <= give.To && give.To < st.next
	s.mu.RUnlock()
	if !ok {
		return fmt.Errorf("spool: give up %d to %d of %v/%v: want numbers from the oldest on", give.From, give.To, give.Stream, give.Lane)
	}
	return s.put(&change{entries: entries, give: &give, again: told})
}

// Tell stores an event that tells of everything that was given up, and clears
// the tally in the same commit. build gets what [Spool.Given] returns; Tell does
// nothing when that is empty.
func (s *Spool) Tell(build func(Slot, []wire.DroppedRange) ([]byte, error)) error {
	s.write.Lock()
	defer s.write.Unlock()
	given := s.Given()
	if len(given) == 0 {
		return nil
	}
	given = given[:min(len(given), wire.MaxDroppedRanges)]
	c := &change{told: true, entries: []Entry{{wire.Duty, func(slot Slot) ([]byte, error) { return build(slot, given) }}}}
	return s.put(c)
}

// MergeDropped adds a range to a tally. Ranges that touch, of one lane and for
// one reason, become one. When there are more than a [wire.Dropped] can name,
// the two of a lane and a reason that lie nearest to each other become one, and
// Events says that not all of its numbers were given up.
func MergeDropped(tally []wire.DroppedRange, r wire.DroppedRange) []wire.DroppedRange {
	out := append(slices.Clone(tally), r)
	sort.SliceStable(out, func(i, j int) bool { return less(&out[i], &out[j]) })
	for i := 0; i+1 < len(out); {
		if like(&out[i], &out[i+1]) && out[i+1].From <= out[i].To+1 {
			out = join(out, i)
		} else {
			i++
		}
	}
	for len(out) > wire.MaxDroppedRanges {
		at, least := -1, uint64(0)
		for i := range len(out) - 1 {
			if d := out[i+1].From - out[i].To; like(&out[i], &out[i+1]) && (at < 0 || d < least) {
				at, least = i, d
			}
		}
		if at < 0 {
			return out
		}
		out = join(out, at)
	}
	return out
}

func like(a, b *wire.DroppedRange) bool {
	return a.Stream == b.Stream && a.Lane == b.Lane && a.Why == b.Why
}

func less(a, b *wire.DroppedRange) bool {
	switch {
	case a.Stream != b.Stream:
		return string(a.Stream[:]) < string(b.Stream[:])
	case a.Lane != b.Lane:
		return a.Lane < b.Lane
	case a.Why != b.Why:
		return a.Why < b.Why
	}
	return a.From < b.From
}

// join makes the ranges i and i+1 one.
func join(rs []wire.DroppedRange, i int) []wire.DroppedRange {
	a, b := &rs[i], rs[i+1]
	a.To = max(a.To, b.To)
	a.Events = min(a.Events+b.Events, a.To-a.From+1)
	a.Fixes += b.Fixes
	if a.First == 0 || b.First != 0 && b.First < a.First {
		a.First = b.First
	}
	a.Last = max(a.Last, b.Last)
	return append(rs[:i+1], rs[i+2:]...)
}

func readGiven(tx *bolt.Tx) ([]wire.DroppedRange, error) {
	v := tx.Bucket(bucketState).Get(keyGiven)
	if v == nil {
		return nil, nil
	}
	v, ok := unpack(bucketState, keyGiven, v)
	var given []wire.DroppedRange
	if !ok || json.Unmarshal(v, &given) != nil {
		return nil, fmt.Errorf("%w: tally of what was given up", ErrDamaged)
	}
	return given, nil
}

func putGiven(tx *bolt.Tx, given []wire.DroppedRange) error {
	if len(given) == 0 {
		return tx.Bucket(bucketState).Delete(keyGiven)
	}
	v, err := json.Marshal(given)
	if err != nil {
		return err
	}
	return tx.Bucket(bucketState).Put(keyGiven, pack(bucketState, keyGiven, v))
}
