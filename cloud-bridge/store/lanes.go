package store

import (
	"fmt"

	"github.com/fengsui/fengsui/firmware/wire"
)

// stream is a stream of a device within a transaction.
type stream struct {
	num   int64
	owner int64 // the device's number
	id    wire.StreamID
	lanes map[wire.Lane]*lane
	kept  []wire.Hash // of events that came in this transaction and took no number
}

// lane is how far a lane has come in.
type lane struct {
	upTo, highest uint64
	hash          []byte // of the event at upTo; nil when none is stored there
	fresh         bool   // changed in this transaction
}

func (s *stream) lane(l wire.Lane) *lane {
	if s.lanes[l] == nil {
		s.lanes[l] = new(lane)
	}
	return s.lanes[l]
}

// stream finds a stream of a device, or begins it.
func (t *tx) stream(d *device, id wire.StreamID) (*stream, error) {
	if st := d.streams[id]; st != nil {
		return st, nil
	}
	st := &stream{owner: d.num, id: id, lanes: make(map[wire.Lane]*lane)}
	found, err := t.row(`SELECT stream FROM streams WHERE device = ? AND id = ?`, []any{d.num, id[:]}, []any{&st.num})
	if err != nil {
		return nil, err
	}
	if found {
		err = t.rows(`SELECT lane, up_to, highest, hash FROM lanes WHERE stream = ?`, []any{st.num}, func(scan func(...any) error) (bool, error) {
			var n wire.Lane
			var l lane
			err := scan(&n, &l.upTo, &l.highest, &l.hash)
			st.lanes[n] = &l
			return true, err
		})
	} else if r, e := t.run(`INSERT INTO streams (device, id) VALUES (?,?)`, d.num, id[:]); e != nil {
		err = e
	} else if st.num, e = r.LastInsertId(); e != nil {
		err = fmt.Errorf("store: %w", e)
	}
	if err != nil {
		return nil, err
	}
	d.streams[id] = st
	return st, nil
}

// advance moves up-to over all that is stored right behind it, and writes the
// lane back.
func (t *tx) advance(st *stream, n wire.Lane, l *lane) error {
	l.hash = nil
	err := t.rows(`SELECT seq, hash FROM events WHERE device = ? AND stream = ? AND lane = ? AND seq >= ? ORDER BY seq`,
		[]any{st.owner, st.num, n, int64(l.upTo)}, func(scan func(...any) error) (bool, error) {
			var seq uint64
			var hash []byte
			if err := scan(&seq, &hash); err != nil || seq > l.upTo+1 {
				return false, err
			}
			l.upTo, l.hash = seq, hash
			return true, nil
		})
	if err != nil {
		return err
	}
	return t.exec(`INSERT INTO lanes (stream, lane, up_to, highest, hash) VALUES (?,?,?,?,?)
		ON CONFLICT (stream, lane) DO UPDATE SET up_to = excluded.up_to, highest = excluded.highest, hash = excluded.hash`,
		st.num, n, int64(l.upTo), int64(l.highest), l.hash)
}

// chain compares the hashes of a new event and its stored neighbours, and
// notes a break at the later of the two.
func (t *tx) chain(e *wire.Event, st *stream, hash wire.Hash) error {
	var broken []uint64
	if e.Seq == 1 && e.Prev != (wire.Hash{}) {
		broken = append(broken, 1)
	}
	err := t.rows(`SELECT seq, hash, prev FROM events WHERE device = ? AND stream = ? AND lane = ? AND seq IN (?, ?)`,
		[]any{st.owner, st.num, e.Lane, int64(e.Seq) - 1, int64(e.Seq) + 1}, func(scan func(...any) error) (bool, error) {
			var seq uint64
			var its, prev []byte
			if err := scan(&seq, &its, &prev); err != nil {
				return false, err
			}
			if seq < e.Seq && wire.Hash(its) != e.Prev {
				broken = append(broken, e.Seq)
			} else if seq > e.Seq && wire.Hash(prev) != hash {
				broken = append(broken, seq)
			}
			return true, nil
		})
	if err != nil {
		return err
	}
	for _, seq := range broken {
		if err := t.gap(st.num, e.Lane, seq, seq, WhyChain); err != nil {
			return err
		}
	}
	return nil
}

func (t *tx) gap(stream int64, l wire.Lane, from, to uint64, why string) error {
	return t.exec(`INSERT INTO gaps (stream, lane, from_seq, to_seq, why) VALUES (?,?,?,?,?) ON CONFLICT DO NOTHING`,
		stream, l, int64(from), int64(to), why)
}

// never notes what is not stored of from … to as a gap that nothing will fill.
func (t *tx) never(st *stream, l wire.Lane, from, to uint64) error {
	var holes []Gap
	err := t.rows(`SELECT seq FROM events WHERE device = ? AND stream = ? AND lane = ? AND seq BETWEEN ? AND ? ORDER BY seq`,
		[]any{st.owner, st.num, l, int64(from), int64(to)}, func(scan func(...any) error) (bool, error) {
			var seq uint64
			if err := scan(&seq); err != nil {
				return false, err
			}
			if seq > from {
				holes = append(holes, Gap{From: from, To: seq - 1})
			}
			from = seq + 1
			return true, nil
		})
	if err != nil {
		return err
	}
	if from <= to {
		holes = append(holes, Gap{From: from, To: to})
	}
	for _, h := range holes {
		if err := t.gap(st.num, l, h.From, h.To, WhyNever); err != nil {
			return err
		}
	}
	return nil
}

// fill takes a number that came after all out of the gap it was in.
func (t *tx) fill(stream int64, l wire.Lane, seq uint64) error {
	var num int64
	var from, to uint64
	found, err := t.row(`SELECT gap, from_seq, to_seq FROM gaps
		WHERE stream = ?1 AND lane = ?2 AND why = ?3 AND from_seq <= ?4 AND to_seq >= ?4`,
		[]any{stream, l, WhyNever, int64(seq)}, []any{&num, &from, &to})
	if err != nil || !found {
		return err
	}
	if err := t.exec(`DELETE FROM gaps WHERE gap = ?`, num); err != nil {
		return err
	}
	if from < seq {
		if err := t.gap(stream, l, from, seq-1, WhyNever); err != nil {
			return err
		}
	}
	if seq < to {
		return t.gap(stream, l, seq+1, to, WhyNever)
	}
	return nil
}
