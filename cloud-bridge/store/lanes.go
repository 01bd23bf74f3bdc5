package store

import (
	"bytes"
	"database/sql"
	"fmt"
	"time"

	"github.com/fengsui/fengsui/firmware/wire"
)

// stream is a stream of a device within a transaction.
type stream struct {
	num   int64
	owner int64 // the device's number
	id    wire.StreamID
	lanes map[wire.Lane]*lane
	said  *moment     // the latest that a hello named; nil before the first
	kept  []wire.Hash // of events that came in this transaction and took no number
}

// moment is one of a device's clock, which no later boot goes behind.
type moment struct{ boot, mono uint64 }

// news says whether a hello is later than every one before it of its stream,
// and remembers it. One that is not may be a recording.
func (t *tx) news(st *stream, h *wire.Hello) (bool, error) {
	if m := st.said; m != nil && (h.Boot < m.boot || h.Boot == m.boot && h.MonoMs <= m.mono) {
		return false, nil
	}
	st.said = &moment{h.Boot, h.MonoMs}
	return true, t.exec(`UPDATE streams SET said_boot = ?, said_mono = ? WHERE stream = ?`,
		int64(h.Boot), int64(h.MonoMs), st.num)
}

// lane is how far a lane has come in. All of it follows from which events are
// stored and what the device said, not from the order in which they came.
type lane struct {
	upTo, highest uint64
	hash          []byte // of the event at upTo; nil when none is stored there
	known         uint64 // each number up to here is stored or in a hole
	told          uint64 // the highest number that the device has given an event
	oldest        uint64 // the device holds nothing below; 0: not told
	droppedTo     uint64 // the highest number of the ranges that the device gave up as a whole
	duplicates    uint64 // arrivals that were stored already
	fresh         bool   // upTo may have to move
	changed       bool
}

func (s *stream) lane(l wire.Lane) *lane {
	if s.lanes[l] == nil {
		s.lanes[l] = new(lane)
	}
	return s.lanes[l]
}

// stream finds a stream of a device, or begins it.
func (t *tx) stream(d *device, id wire.StreamID, received time.Time) (*stream, error) {
	if st := d.streams[id]; st != nil {
		return st, nil
	}
	st := &stream{owner: d.num, id: id, lanes: make(map[wire.Lane]*lane)}
	var boot, mono sql.NullInt64
	found, err := t.row(`SELECT stream, said_boot, said_mono FROM streams WHERE device = ? AND id = ?`, []any{d.num, id[:]}, []any{&st.num, &boot, &mono})
	if err != nil {
		return nil, err
	}
	if boot.Valid {
		st.said = &moment{uint64(boot.Int64), uint64(mono.Int64)}
	}
	if found {
		err = t.rows(`SELECT lane, up_to, highest, hash, known, told, oldest, dropped_to, duplicates FROM lanes WHERE stream = ?`,
			[]any{st.num}, func(scan func(...any) error) (bool, error) {
				var n wire.Lane
				var l lane
				err := scan(&n, &l.upTo, &l.highest, &l.hash, &l.known, &l.told, &l.oldest, &l.droppedTo, &l.duplicates)
				st.lanes[n] = &l
				return true, err
			})
	} else if r, e := t.run(`INSERT INTO streams (device, id, heard_at) VALUES (?,?,?)`, d.num, id[:], received.UnixMilli()); e != nil {
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

// arrived takes the number of a newly stored event into its lane, and looks
// at how it joins its neighbours.
func (t *tx) arrived(st *stream, e *wire.Event, hash wire.Hash, received time.Time) error {
	l := st.lane(e.Lane)
	l.changed = true
	if e.Seq == l.known+1 && l.upTo == l.known && l.highest <= l.known && l.droppedTo <= l.known {
		// In order, which is the rule: nothing needs to be read.
		if before := l.hash; e.Seq == 1 && e.Prev != (wire.Hash{}) || before != nil && wire.Hash(before) != e.Prev {
			l.fresh = true
			l.highest, l.known, l.told = e.Seq, e.Seq, max(l.told, e.Seq)
			return t.broken(st, e.Lane, e.Seq, received)
		}
		l.upTo, l.highest, l.known, l.told, l.hash = e.Seq, e.Seq, e.Seq, max(l.told, e.Seq), hash[:]
		return nil
	}
	if err := t.chain(e, st, hash, received); err != nil {
		return err
	}
	l.fresh = true
	if e.Seq <= l.known {
		if err := t.fill(st, e.Lane, e.Seq); err != nil {
			return err
		}
	} else if err := t.know(st, e.Lane, e.Seq-1, received); err != nil {
		return err
	}
	l.known, l.told, l.highest = max(l.known, e.Seq), max(l.told, e.Seq), max(l.highest, e.Seq)
	return nil
}

// window takes what a device still holds of a lane.
func (t *tx) window(st *stream, n wire.Lane, w wire.Window, received time.Time) error {
	l := st.lane(n)
	if w.Next-1 > l.told {
		l.told, l.changed = w.Next-1, true
	}
	if w.Oldest <= max(l.oldest, 1) {
		return nil
	}
	l.oldest, l.fresh, l.changed = w.Oldest, true, true
	return t.know(st, n, w.Oldest-1, received)
}

// know notes that the numbers up to that one exist: those that were not known
// are a hole.
func (t *tx) know(st *stream, n wire.Lane, to uint64, received time.Time) error {
	l := st.lane(n)
	if to <= l.known {
		return nil
	}
	from := l.known + 1
	l.known, l.told, l.changed = to, max(l.told, to), true
	// A hole that ends there grows.
	var first, last uint64
	found, err := t.row(`SELECT from_seq, to_seq FROM holes WHERE stream = ? AND lane = ? AND from_seq < ? ORDER BY from_seq DESC LIMIT 1`,
		[]any{st.num, n, int64(from)}, []any{&first, &last})
	if err != nil {
		return err
	}
	if found && last+1 == from {
		return t.exec(`UPDATE holes SET to_seq = ? WHERE stream = ? AND lane = ? AND from_seq = ?`, int64(to), st.num, n, int64(first))
	}
	return t.hole(st, n, from, to, received.UnixMilli())
}

func (t *tx) hole(st *stream, n wire.Lane, from, to uint64, since int64) error {
	return t.exec(`INSERT INTO holes (stream, lane, from_seq, to_seq, since) VALUES (?,?,?,?,?)`,
		st.num, n, int64(from), int64(to), since)
}

// fill takes a number out of the hole it was in.
func (t *tx) fill(st *stream, n wire.Lane, seq uint64) error {
	var from, to uint64
	var since int64
	found, err := t.row(`SELECT from_seq, to_seq, since FROM holes WHERE stream = ? AND lane = ? AND from_seq <= ? ORDER BY from_seq DESC LIMIT 1`,
		[]any{st.num, n, int64(seq)}, []any{&from, &to, &since})
	if err != nil || !found || to < seq {
		return err
	}
	if from == seq {
		err = t.exec(`DELETE FROM holes WHERE stream = ? AND lane = ? AND from_seq = ?`, st.num, n, int64(from))
	} else {
		err = t.exec(`UPDATE holes SET to_seq = ? WHERE stream = ? AND lane = ? AND from_seq = ?`, int64(seq-1), st.num, n, int64(from))
	}
	if err == nil && seq < to {
		err = t.hole(st, n, seq+1, to, since)
	}
	return err
}

// advance moves up-to over all that is stored or will never come, but not past
// an event that does not join the one before it: an acknowledgement of it would
// acknowledge, to a device whose spool went back in time, another event of that
// number, which may not have come yet.
func (t *tx) advance(st *stream, n wire.Lane, l *lane) error {
	// What the device gave up right behind what is known is known with it.
	for l.droppedTo > l.known {
		to, err := t.droppedOver(st, n, l.known+1)
		if err != nil {
			return err
		}
		if to <= l.known {
			break
		}
		if err := t.know(st, n, to, t.at); err != nil {
			return err
		}
	}
	was := l.upTo
	for settled := true; settled && l.upTo < l.known; {
		from, to, err := t.holeFrom(st, n, l.upTo+1)
		if err != nil {
			return err
		}
		if from == 0 {
			l.upTo = l.known
			break
		}
		l.upTo = max(l.upTo, from-1)
		for settled && l.upTo < to {
			over := l.upTo
			if l.upTo+1 < l.oldest {
				over = l.oldest - 1
			} else if l.droppedTo > l.upTo {
				if over, err = t.droppedOver(st, n, l.upTo+1); err != nil {
					return err
				}
			}
			settled = over > l.upTo
			l.upTo = max(l.upTo, min(over, to))
		}
	}
	if l.upTo > was {
		to, err := t.joined(st, n, l, was, l.upTo)
		if err != nil {
			return err
		}
		l.upTo = to
	}
	if l.upTo != was || l.hash == nil {
		l.hash, l.changed = nil, true
		_, err := t.row(`SELECT hash FROM events WHERE device = ? AND stream = ? AND lane = ? AND seq = ?`,
			[]any{st.owner, st.num, n, int64(l.upTo)}, []any{&l.hash})
		return err
	}
	return nil
}

// joined returns how far from … to holds no break of the chain that leads to an
// event which is not here.
func (t *tx) joined(st *stream, n wire.Lane, l *lane, from, to uint64) (uint64, error) {
	var breaks []uint64
	err := t.rows(`SELECT seq FROM breaks WHERE stream = ? AND lane = ? AND seq > ? AND seq <= ? ORDER BY seq`,
		[]any{st.num, n, int64(from), int64(to)}, func(scan func(...any) error) (bool, error) {
			var seq uint64
			err := scan(&seq)
			breaks = append(breaks, seq)
			return true, err
		})
	if err != nil {
		return 0, err
	}
	for _, seq := range breaks {
		ok, err := t.rejoins(st, n, l, seq)
		if err != nil {
			return 0, err
		}
		if !ok {
			return seq - 1, nil
		}
	}
	return to, nil
}

// rejoins follows the chain of a stored event back, over events that were kept
// aside, until it joins the stored ones, or numbers that the device no longer
// holds.
func (t *tx) rejoins(st *stream, n wire.Lane, l *lane, seq uint64) (bool, error) {
	var prev []byte
	if _, err := t.row(`SELECT prev FROM events WHERE device = ? AND stream = ? AND lane = ? AND seq = ?`,
		[]any{st.owner, st.num, n, int64(seq)}, []any{&prev}); err != nil {
		return false, err
	}
	for seq--; seq >= max(l.oldest, 1); seq-- {
		var have, aside []byte
		if found, err := t.row(`SELECT hash FROM events WHERE device = ? AND stream = ? AND lane = ? AND seq = ?`,
			[]any{st.owner, st.num, n, int64(seq)}, []any{&have}); err != nil {
			return false, err
		} else if !found || bytes.Equal(have, prev) {
			return true, nil
		}
		found, err := t.row(`SELECT message FROM twice WHERE stream = ? AND lane = ? AND seq = ? AND hash = ?`,
			[]any{st.num, n, int64(seq), prev}, []any{&aside})
		if err != nil || !found {
			return false, err
		}
		e, err := wire.Peek(aside)
		if err != nil {
			return false, err
		}
		prev = e.Prev[:]
	}
	return true, nil
}

// holeFrom returns the hole that holds a number or is the next after it; from
// is 0 when there is none.
func (t *tx) holeFrom(st *stream, n wire.Lane, seq uint64) (from, to uint64, err error) {
	found, err := t.row(`SELECT from_seq, to_seq FROM holes WHERE stream = ? AND lane = ? AND from_seq <= ? ORDER BY from_seq DESC LIMIT 1`,
		[]any{st.num, n, int64(seq)}, []any{&from, &to})
	if err != nil || found && to >= seq {
		return from, to, err
	}
	from = 0
	_, err = t.row(`SELECT from_seq, to_seq FROM holes WHERE stream = ? AND lane = ? AND from_seq > ? ORDER BY from_seq LIMIT 1`,
		[]any{st.num, n, int64(seq)}, []any{&from, &to})
	return from, to, err
}

// droppedOver returns how far the ranges that the device gave up as a whole
// reach over a number; 0: it is in none.
func (t *tx) droppedOver(st *stream, n wire.Lane, seq uint64) (to uint64, err error) {
	_, err = t.row(`SELECT coalesce(max(to_seq), 0) FROM dropped
		WHERE stream = ?1 AND lane = ?2 AND from_seq <= ?3 AND to_seq >= ?3 AND events = to_seq - from_seq + 1`,
		[]any{st.num, n, int64(seq)}, []any{&to})
	return to, err
}

// dropped takes what a device says that it gave up, of whichever of its
// streams. The same said again changes nothing. A range of which not every
// number was given up, as where a device has summed ranges up, names a reason
// only: the device may still hold others of it, until a hello says no.
func (t *tx) dropped(d *device, b *wire.Dropped, received time.Time) error {
	for i := range b.Ranges {
		r := &b.Ranges[i]
		st, err := t.stream(d, r.Stream, received)
		if err != nil {
			return err
		}
		if err := t.exec(`INSERT INTO dropped (stream, lane, from_seq, to_seq, why, events, fixes, first_at, last_at, since)
			VALUES (?,?,?,?,?,?,?,?,?,?) ON CONFLICT (stream, lane, from_seq, to_seq, why) DO UPDATE SET
				events = max(events, excluded.events), fixes = max(fixes, excluded.fixes),
				first_at = max(first_at, excluded.first_at), last_at = max(last_at, excluded.last_at)`,
			st.num, r.Lane, int64(r.From), int64(r.To), int64(min(r.Why, 1<<62)), int64(r.Events), int64(min(r.Fixes, 1<<62)),
			r.First, r.Last, received.UnixMilli()); err != nil {
			return err
		}
		l := st.lane(r.Lane)
		if r.Events == r.To-r.From+1 {
			l.droppedTo, l.fresh = max(l.droppedTo, r.To), true
		}
		l.told, l.changed = max(l.told, r.To), true
	}
	return nil
}

// started takes why a stream began; its first word about it counts.
func (t *tx) started(a *Arrival, st *stream, b *wire.StreamStarted) error {
	e := a.Event
	salvaged := func(l wire.Lane) int64 { return int64(min(b.Salvaged[l], 1<<62)) }
	return t.exec(`INSERT INTO starts (stream, seq, previous, why, alarm, duty, track, detail, wall, wall_source, wall_uncert, received_at)
		VALUES (?,?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT (stream) DO UPDATE SET
			seq = excluded.seq, previous = excluded.previous, why = excluded.why, alarm = excluded.alarm, duty = excluded.duty,
			track = excluded.track, detail = excluded.detail, wall = excluded.wall, wall_source = excluded.wall_source,
			wall_uncert = excluded.wall_uncert, received_at = excluded.received_at
		WHERE excluded.seq < seq`,
		st.num, int64(e.Seq), b.Previous[:], int64(min(b.Why, 1<<62)), salvaged(wire.Alarm), salvaged(wire.Duty), salvaged(wire.Track), b.Detail,
		e.Wall.UnixMilli, e.Wall.Source, e.Wall.Uncertainty.Milliseconds(), a.Received.UnixMilli())
}

// saveLane writes a lane back.
func (t *tx) saveLane(st *stream, n wire.Lane, l *lane) error {
	return t.exec(`INSERT INTO lanes (stream, lane, up_to, highest, hash, known, told, oldest, dropped_to, duplicates) VALUES (?,?,?,?,?,?,?,?,?,?)
		ON CONFLICT (stream, lane) DO UPDATE SET up_to = excluded.up_to, highest = excluded.highest, hash = excluded.hash,
			known = excluded.known, told = excluded.told, oldest = excluded.oldest, dropped_to = excluded.dropped_to, duplicates = excluded.duplicates`,
		st.num, n, int64(l.upTo), int64(l.highest), l.hash, int64(l.known), int64(l.told), int64(l.oldest), int64(l.droppedTo), int64(l.duplicates))
}

// chain compares the hashes of a new event and its stored neighbours, and
// notes a break at the later of the two.
func (t *tx) chain(e *wire.Event, st *stream, hash wire.Hash, received time.Time) error {
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
		if err := t.broken(st, e.Lane, seq, received); err != nil {
			return err
		}
	}
	return nil
}

func (t *tx) broken(st *stream, n wire.Lane, seq uint64, received time.Time) error {
	return t.exec(`INSERT INTO breaks (stream, lane, seq, since) VALUES (?,?,?,?) ON CONFLICT DO NOTHING`,
		st.num, n, int64(seq), received.UnixMilli())
}
