package spool

import (
	"encoding/json"
	"fmt"

	bolt "go.etcd.io/bbolt"

	"github.com/fengsui/fengsui/firmware/wire"
)

// Restart ends the current stream and begins another: the centre has other
// events under its numbers. What waits keeps its numbers, see [Part].
func (s *Spool) Restart(why wire.StartWhy, detail string) error {
	s.write.Lock()
	defer s.write.Unlock()
	db, err := s.ready()
	if err != nil {
		return err
	}
	s.mu.RLock()
	ids := append(s.streams[:len(s.streams):len(s.streams)], wire.NewStreamID())
	s.mu.RUnlock()
	if err := s.commit(db, s.opt.MaxSize, func(tx *bolt.Tx) error {
		return begin(tx, ids, &wire.StreamStarted{Previous: ids[len(ids)-2], Why: why, Detail: detail})
	}); err != nil {
		return err
	}
	s.mu.Lock()
	s.begun(ids)
	s.mu.Unlock()
	s.home.trim(s)
	select {
	case s.changed <- struct{}{}:
	default:
	}
	return nil
}

// begin makes the last of some streams the current one.
func begin(tx *bolt.Tx, ids []wire.StreamID, started *wire.StreamStarted) error {
	if err := createLanes(tx, ids[len(ids)-1]); err != nil {
		return err
	}
	if err := putStarted(tx, started); err != nil {
		return err
	}
	return putStreams(tx.Bucket(bucketMeta), ids)
}

// begun notes what begin did. The caller holds mu, or has s to itself.
func (s *Spool) begun(ids []wire.StreamID) {
	s.streams = ids
	for _, l := range wire.Lanes() {
		s.lanes[place{s.current(), l}] = &laneState{oldest: 1, next: 1, kept: 1}
	}
}

// Started returns why the current stream began in another one's place, until
// [Spool.TellStarted] has told it; nil when it did not.
func (s *Spool) Started() (*wire.StreamStarted, error) {
	s.write.Lock()
	defer s.write.Unlock()
	db, err := s.ready()
	if err != nil {
		return nil, err
	}
	var started *wire.StreamStarted
	err = guard(func() error {
		return db.View(func(tx *bolt.Tx) (err error) {
			started, err = readStarted(tx)
			return err
		})
	})
	return started, err
}

// TellStarted stores an event that tells what [Spool.Started] returns, and
// forgets it in the same commit.
func (s *Spool) TellStarted(build func(Slot) ([]byte, error)) error {
	s.write.Lock()
	defer s.write.Unlock()
	return s.put(&change{entries: []Entry{{wire.Duty, build}}, own: []KV{{Key: string(keyStarted)}}})
}

// started is a [wire.StreamStarted] in the state.
type started struct {
	Previous wire.StreamID
	Why      wire.StartWhy
	Salvaged map[wire.Lane]uint64
	Detail   string
}

func readStarted(tx *bolt.Tx) (*wire.StreamStarted, error) {
	v := tx.Bucket(bucketState).Get(keyStarted)
	if v == nil {
		return nil, nil
	}
	v, ok := unpack(bucketState, keyStarted, v)
	var st started
	if !ok || json.Unmarshal(v, &st) != nil {
		return nil, fmt.Errorf("%w: why the stream began", ErrDamaged)
	}
	return &wire.StreamStarted{Previous: st.Previous, Why: st.Why, Salvaged: st.Salvaged, Detail: st.Detail}, nil
}

func putStarted(tx *bolt.Tx, st *wire.StreamStarted) error {
	v, err := json.Marshal(started{st.Previous, st.Why, st.Salvaged, st.Detail})
	if err != nil {
		return err
	}
	return tx.Bucket(bucketState).Put(keyStarted, pack(bucketState, keyStarted, v))
}
