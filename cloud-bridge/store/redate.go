package store

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/fengsui/fengsui/cloud-bridge/incident"
	"github.com/fengsui/fengsui/firmware/wire"
)

// boot is what is known of a boot within a transaction.
type boot struct {
	clues   clues
	changed map[int]bool // by source: to be saved
	better  bool         // something that dates its moments has come
	sooner  bool         // it is known to have begun sooner
	longer  bool         // it is known to have lasted longer
}

type bootKey struct {
	stream int64
	boot   uint64
}

// boot reads a boot once in a transaction.
func (t *tx) boot(stream int64, n uint64) (*boot, error) {
	k := bootKey{stream, n}
	if b := t.boots[k]; b != nil {
		return b, nil
	}
	b := &boot{clues: make(clues), changed: make(map[int]bool)}
	err := t.rows(`SELECT source, mono, offset, within FROM clues WHERE stream = ? AND boot = ?`, []any{stream, int64(n)},
		func(scan func(...any) error) (bool, error) {
			var source int
			var c clue
			err := scan(&source, &c.mono, &c.offset, &c.within)
			b.clues[source] = c
			return true, err
		})
	if err != nil {
		return nil, err
	}
	t.boots[k] = b
	return b, nil
}

func (b *boot) put(source int, c clue) { b.clues[source], b.changed[source] = c, true }

// bound takes that a moment of the boot was not after it was heard of.
func (b *boot) bound(mono, received int64) {
	c, ok := b.clues[boundClue]
	next := clue{mono: max(c.mono, mono), offset: received - mono + drift(mono)}
	if ok {
		next.offset = min(c.offset, next.offset)
	}
	if !ok || next != c {
		b.put(boundClue, next)
		b.sooner = b.sooner || !ok || next.offset < c.offset
		b.longer = b.longer || next.mono > c.mono
	}
}

// clue takes what a newly stored event tells of its boot.
func (t *tx) clue(st *stream, e *wire.Event, received time.Time) error {
	b, err := t.boot(st.num, e.Boot)
	if err != nil {
		return err
	}
	b.event(e.Mono, e.Wall, received)
	return nil
}

// event takes what an event says of the time of day.
func (b *boot) event(since time.Duration, w wire.Wall, received time.Time) {
	mono := since.Milliseconds()
	b.bound(mono, received.UnixMilli())
	c := clue{mono, w.UnixMilli - mono, w.Uncertainty.Milliseconds()}
	if !trusted(w.Source) || fromFuture(w, received) {
		return
	}
	if old, ok := b.clues[int(w.Source)]; !ok || c.better(old) {
		b.put(int(w.Source), c)
		b.better = true
	}
}

// hello takes the arrival of a hello.
func (b *boot) hello(mono, received int64) {
	b.bound(mono, received)
	c := clue{mono, received - mono, helloLate}
	if old, ok := b.clues[helloClue]; !ok || c.earlier(old) {
		b.put(helloClue, c)
		b.better = true
	}
}

// helloClue takes what a hello tells of its boot. One of a boot that is over
// comes from somebody who kept it, or is of another stream's boot: see boots.end.
func (t *tx) helloClue(st *stream, h *wire.Hello, received time.Time) error {
	if h.MonoMs == 0 || h.Boot == 0 || h.Boot >= 1<<63 {
		return nil
	}
	var newest int64
	if _, err := t.row(`SELECT coalesce(max(boot), 0) FROM clues WHERE stream = ?`, []any{st.num}, []any{&newest}); err != nil {
		return err
	}
	if h.Boot < uint64(newest) {
		return nil
	}
	b, err := t.boot(st.num, h.Boot)
	if err != nil {
		return err
	}
	b.hello(int64(h.MonoMs), received.UnixMilli())
	return nil
}

// pressed dates the press that an incident began with, once all that the
// transaction brings has come.
func (t *tx) pressed(r *record, e *wire.Event) {
	r.told, r.pressBoot, r.pressMono = e.Wall, e.Boot, e.Mono
	r.Pressed = (*boots)(nil).moment(e.Boot, e.Mono, e.Wall, r.Received)
	if r.pressedAt.stream != 0 { // of an SMS, the stream may not be known yet
		t.undated[r.pressedAt.stream] = true
	}
}

// superseded notes that a stream ended before another one began.
func (t *tx) superseded(d *device, id wire.StreamID) error {
	var stream int64
	found, err := t.row(`SELECT stream FROM streams WHERE device = ? AND id = ?`, []any{d.num, id[:]}, []any{&stream})
	if found {
		t.undated[stream] = true
	}
	return err
}

// undatedOf are what is to be dated anew of a stream.
type undatedOf struct {
	incidents, sayings map[int64]bool
}

// redate saves the clues and dates anew what they may date better; what came
// with them follows then.
func (t *tx) redate() error {
	if err := t.redateAll(); err != nil {
		return err
	}
	for len(t.later) > 0 {
		f := t.later[0]
		t.later = t.later[1:]
		if err := f(); err != nil {
			return err
		}
	}
	return nil
}

// redateAll saves the clues and dates anew what they may date better: the
// presses of incidents, what people said at devices, and the fixes of a clock
// that turns out to have been wrong. Everything else is dated when it is read.
func (t *tx) redateAll() error {
	found := make(map[int64]*undatedOf) // by stream
	of := func(stream int64) *undatedOf {
		if found[stream] == nil {
			found[stream] = &undatedOf{make(map[int64]bool), make(map[int64]bool)}
		}
		return found[stream]
	}
	into := func(ids map[int64]bool) func(func(...any) error) (bool, error) {
		return func(scan func(...any) error) (bool, error) {
			var id int64
			err := scan(&id)
			ids[id] = true
			return true, err
		}
	}
	find := func(stream int64, where string, boot ...any) error {
		u, args := of(stream), append([]any{stream}, boot...)
		return errors.Join(
			t.rows(`SELECT incident FROM incidents WHERE press_stream = ? AND `+strings.ReplaceAll(where, "{boot}", "press_boot"), args, into(u.incidents)),
			t.rows(`SELECT said FROM said WHERE stream = ? AND `+strings.ReplaceAll(where, "{boot}", "boot"), args, into(u.sayings)),
		)
	}
	for k, b := range t.boots {
		for source := range b.changed {
			c := b.clues[source]
			if err := t.exec(`INSERT INTO clues (stream, boot, source, mono, offset, within) VALUES (?,?,?,?,?,?)
				ON CONFLICT DO UPDATE SET mono = excluded.mono, offset = excluded.offset, within = excluded.within`,
				k.stream, int64(k.boot), source, c.mono, c.offset, c.within); err != nil {
				return err
			}
		}
		var err error
		if b.better {
			err = errors.Join(find(k.stream, `doubted`), find(k.stream, `{boot} = ?`, int64(k.boot)))
			if err == nil && b.clues.liar() {
				err = t.disbelieve(k, b.clues)
			}
		} else {
			if b.sooner { // those before it
				err = find(k.stream, `doubted AND {boot} <= ?`, int64(k.boot))
			}
			if b.longer { // those on both sides of it, which have less room between their neighbours
				err = errors.Join(err, find(k.stream, `doubted AND EXISTS (SELECT 1 FROM clues c WHERE c.stream = ?1 AND c.boot > ?2)`, int64(k.boot)))
			}
		}
		if err != nil {
			return err
		}
		clear(b.changed)
		b.better, b.sooner, b.longer = false, false, false
	}
	for stream := range t.undated {
		if err := find(stream, `doubted`); err != nil {
			return err
		}
		for _, r := range t.incidents { // not saved yet
			if r.pressedAt.stream == stream {
				of(stream).incidents[r.ID] = true
			}
		}
	}
	clear(t.undated)
	for _, stream := range slices.Sorted(maps.Keys(found)) {
		if err := t.redateStream(stream, found[stream]); err != nil {
			return err
		}
	}
	return nil
}

// redateStream dates anew what is of a stream.
func (t *tx) redateStream(stream int64, u *undatedOf) error {
	known, err := readBoots(t.rows, `c.stream = ?1`, `own.stream = ?1`, stream)
	if err != nil {
		return err
	}
	for _, id := range slices.Sorted(maps.Keys(u.incidents)) {
		r, err := t.incident(`WHERE i.incident = ?`, id)
		if err != nil {
			return err
		}
		if r == nil {
			continue
		}
		m := known[stream].moment(r.pressBoot, r.pressMono, r.told, r.Received)
		if sameMoment(m, r.Pressed) {
			continue
		}
		if was := r.Pressed; r.loaded.rev != 0 && !m.Time.Equal(was.Time) { // somebody may have seen it
			r.Redatings = append(r.Redatings, incident.Redating{
				What: "press", By: r.Device, Was: was.Time, At: m.Time, Told: m.Time, Within: m.Uncertainty,
			})
		}
		r.Pressed = m
		t.touch(r)
	}
	for _, ref := range slices.Sorted(maps.Keys(u.sayings)) {
		if err := t.redateSaying(ref, known[stream]); err != nil {
			return err
		}
	}
	return nil
}

func sameMoment(a, b incident.Moment) bool {
	return a.Time.Equal(b.Time) && a.Source == b.Source && a.Uncertainty == b.Uncertainty && (a.Original == nil) == (b.Original == nil)
}

// readBoots reads the boots of those streams whose clues c and whose rows own
// satisfy the conditions, by the stream's number.
func readBoots(rows rowsOf, ofClues, ofStreams string, arg any) (map[int64]*boots, error) {
	out := make(map[int64]*boots)
	err := rows(`SELECT c.stream, c.boot, c.source, c.mono, c.offset, c.within FROM clues c WHERE `+ofClues, []any{arg},
		func(scan func(...any) error) (bool, error) {
			var stream int64
			var n uint64
			var source int
			var c clue
			err := scan(&stream, &n, &source, &c.mono, &c.offset, &c.within)
			if out[stream] == nil {
				out[stream] = newBoots()
			}
			out[stream].add(n, source, c)
			return true, err
		})
	if err != nil {
		return nil, err
	}
	// Streams that another one has taken the place of, and since when at most.
	err = rows(`SELECT own.stream, n.offset FROM starts t JOIN streams later ON later.stream = t.stream
		JOIN streams own ON own.device = later.device AND own.id = t.previous
		JOIN clues n ON n.stream = later.stream AND n.source = -2 WHERE `+ofStreams, []any{arg},
		func(scan func(...any) error) (bool, error) {
			var stream int64
			var offset int64
			err := scan(&stream, &offset)
			if b := out[stream]; b != nil {
				b.until = min(b.until, offset)
			}
			return true, err
		})
	for _, b := range out {
		b.end()
	}
	return out, err
}

// boots reads the boots of a device's streams, by the streams' names.
func (s *Store) boots(ctx context.Context, device int64) (map[wire.StreamID]*boots, error) {
	rows := s.reader(ctx)
	numbered, err := readBoots(rows, `c.stream IN (SELECT stream FROM streams WHERE device = ?1)`, `own.device = ?1`, device)
	if err != nil {
		return nil, err
	}
	named := make(map[wire.StreamID]*boots)
	return named, rows(`SELECT stream, id FROM streams WHERE device = ?`, []any{device}, func(scan func(...any) error) (bool, error) {
		var n int64
		var id []byte
		err := scan(&n, &id)
		if b := numbered[n]; b != nil && err == nil {
			named[wire.StreamID(id)] = b
		}
		return true, err
	})
}
