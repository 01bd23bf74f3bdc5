package spool

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fxamacker/cbor/v2"
	bolt "go.etcd.io/bbolt"

	"github.com/fengsui/fengsui/firmware/wire"
)

const (
	newSuffix     = ".new"
	corruptSuffix = ".corrupt-"
	// keptAside is how many damaged files are kept for people to look at.
	keptAside = 3
	// salvageBatch is how many events are adopted in one commit.
	salvageBatch = 512
)

// Recover opens the spool at path as [Open] does, on any file: check says
// whether it is in order (see [CheckIn]). One that is not is set aside as
// path.corrupt-N, and a fresh one takes its place, with a new stream and with
// every event whose checksum holds, under its own stream and number; see
// [Spool.Started] and [Spool.Given]. A cut at any moment loses nothing of that.
// The error may wrap [ErrInUse].
func Recover(path string, opt Options, check func(path string) error) (*Spool, error) {
	if err := finish(path); err != nil {
		return nil, err
	}
	err := check(path)
	if err == nil {
		var s *Spool
		if s, err = Open(path, opt); err == nil {
			return s, nil
		}
	}
	if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrFormat) {
		return nil, err
	}
	if opt.Log != nil {
		opt.Log.Error("spool is damaged: setting it aside", "err", err)
	}
	if err := replace(path, opt, err); err != nil {
		return nil, err
	}
	return Open(path, opt)
}

// finish ends a replacement that a cut has interrupted. The new file is
// complete only when the old one is out of the way.
func finish(path string) error {
	fresh := path + newSuffix
	if _, err := os.Lstat(fresh); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	var err error
	if _, err = os.Lstat(path); errors.Is(err, os.ErrNotExist) {
		err = os.Rename(fresh, path)
	} else if err == nil {
		err = os.Remove(fresh)
	}
	if err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	return syncDir(filepath.Dir(path))
}

// replace puts a fresh spool, with what can be salvaged, in the place of a
// damaged one.
func replace(path string, opt Options, damage error) error {
	aside, err := tidyAside(path)
	if err != nil {
		return err
	}
	found, err := scan(path)
	if err != nil {
		return fmt.Errorf("spool: salvage: %w", err)
	}
	detail := fmt.Sprintf("%s: %v", filepath.Base(aside), damage)
	if err := refill(path, opt, found, detail); err != nil {
		// Better without what was found than not at all.
		if err := refill(path, opt, &findings{}, "nothing salvaged: "+err.Error()+"; "+detail); err != nil {
			return fmt.Errorf("spool: salvage: %w", err)
		}
	}
	if err := os.Rename(path, aside); err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	if err := syncDir(filepath.Dir(path)); err != nil {
		return err
	}
	return finish(path)
}

// refill makes the fresh spool that is to replace a damaged one.
func refill(path string, opt Options, found *findings, detail string) error {
	fresh := path + newSuffix
	for _, name := range []string{fresh, fresh + homeSuffix} {
		if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	s, err := Open(fresh, opt)
	if err != nil {
		return err
	}
	err = errors.Join(s.adopt(path, found, detail), s.Close())
	return errors.Join(err, os.Remove(fresh+homeSuffix))
}

// tidyAside deletes the oldest of the files that were set aside and returns the
// name for the next one.
func tidyAside(path string) (next string, err error) {
	names, err := filepath.Glob(path + corruptSuffix + "*")
	if err != nil {
		return "", fmt.Errorf("spool: %w", err)
	}
	var ns []int
	for _, name := range names {
		if n, err := strconv.Atoi(strings.TrimPrefix(name, path+corruptSuffix)); err == nil {
			ns = append(ns, n)
		}
	}
	slices.Sort(ns)
	for len(ns) >= keptAside {
		if err := os.Remove(path + corruptSuffix + strconv.Itoa(ns[0])); err != nil {
			return "", fmt.Errorf("spool: %w", err)
		}
		ns = ns[1:]
	}
	n := 1
	if len(ns) > 0 {
		n = ns[len(ns)-1] + 1
	}
	return path + corruptSuffix + strconv.Itoa(n), nil
}

// A find is an event in a damaged file whose checksum holds.
type find struct {
	place
	seq  uint64
	made order // of two events of one number, the later one is the one that counted
	at   int64 // of the sealed message
	size int
}

// An order is a moment in a stream.
type order struct {
	boot uint64
	mono time.Duration
}

func (o order) before(p order) bool {
	return o.boot < p.boot || o.boot == p.boot && o.mono < p.mono
}

// findings are what a scan has found.
type findings struct {
	events []find // by stream, lane and number, each once
	// heads has the highest of each lane that was found: what is below its kept
	// was acknowledged or given up.
	heads map[place]laneState
}

// sealed is how every sealed message begins: the tag of COSE_Sign1, an array of
// four, the protected header {1: -8}, an empty map (RFC 9052, section 4.2).
var sealed = []byte{0xd2, 0x84, 0x43, 0xa1, 0x01, 0x27, 0xa0}

// scan looks for events through all bytes of a file, whatever its structure is:
// bbolt keeps a key and its value side by side and a value in one piece. It
// finds events that were deleted, too, where their bytes are still there; those
// below a head's kept are left out.
func scan(path string) (*findings, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	fs := &findings{heads: make(map[place]laneState)}
	events := make(map[place]map[uint64]find)
	worn := &wornFile{f: f}
	r := bufio.NewReaderSize(worn, 1<<20)
	const ahead = 4 + 8 + wire.MaxMessage // of a message's beginning, and behind it
	for at := int64(0); ; {
		b, err := r.Peek(r.Size())
		if err != nil && err != io.EOF {
			return nil, err
		}
		end := len(b) // up to here things may begin
		if err == nil {
			end -= ahead
		}
		fs.headsIn(b)
		for i := 0; ; i++ {
			n := bytes.Index(b[i:], sealed)
			if n < 0 || i+n >= end {
				break
			}
			i += n
			e, size, ok := eventAt(b, i)
			if !ok {
				continue
			}
			p := place{e.Stream, e.Lane}
			if events[p] == nil {
				events[p] = make(map[uint64]find)
			}
			made := order{e.Boot, e.Mono}
			if old, ok := events[p][e.Seq]; !ok || old.made.before(made) {
				events[p][e.Seq] = find{p, e.Seq, made, at + int64(i), size}
			}
		}
		if err == io.EOF {
			break
		}
		step := end - 12 // what begins before a message is looked at with it
		if _, err := r.Discard(step); err != nil {
			return nil, err
		}
		at += int64(step)
	}
	if worn.unread != nil && !worn.read { // not a worn card, but a disk that is not there
		return nil, worn.unread
	}
	for p, m := range events {
		for seq, e := range m {
			if seq >= fs.heads[p].kept {
				fs.events = append(fs.events, e)
			}
		}
	}
	slices.SortFunc(fs.events, func(a, b find) int {
		return cmp.Or(cmp.Compare(a.lane, b.lane), bytes.Compare(a.stream[:], b.stream[:]), cmp.Compare(a.seq, b.seq))
	})
	return fs, nil
}

// A wornFile reads a file from its beginning, with zeros for the pages that the
// disk cannot read.
type wornFile struct {
	f      io.ReaderAt
	at     int64
	read   bool  // something could be read
	unread error // why something could not
}

func (w *wornFile) Read(b []byte) (int, error) {
	n, err := w.f.ReadAt(b, w.at)
	if err != nil && err != io.EOF {
		n, err = w.f.ReadAt(b[:min(len(b), pageSize-int(w.at%pageSize))], w.at)
	}
	w.read = w.read || n > 0
	if n > 0 || err == nil || err == io.EOF {
		w.at += int64(n)
		return n, err
	}
	if w.unread = err; !w.read && w.at >= 1<<20 {
		return 0, err // it will not get better
	}
	n = min(len(b), pageSize-int(w.at%pageSize))
	clear(b[:n])
	w.at += int64(n)
	return n, nil
}

// eventAt returns the event whose message begins at b[i], if key and checksum
// stand before it and hold.
func eventAt(b []byte, i int) (e *wire.Event, size int, ok bool) {
	if i < 12 {
		return nil, 0, false
	}
	var raw cbor.RawMessage
	rest, err := cbor.UnmarshalFirst(b[i:min(len(b), i+wire.MaxMessage)], &raw)
	if err != nil {
		return nil, 0, false
	}
	size = min(len(b), i+wire.MaxMessage) - i - len(rest)
	e, err = wire.Peek(b[i : i+size])
	if err != nil {
		return nil, 0, false
	}
	p := place{e.Stream, e.Lane}
	_, ok = unpack(p.bucket(), key(e.Seq), b[i-4:i+size])
	return e, size, ok && number(b[i-12:i-4]) == e.Seq
}

// headsIn takes in the heads of lanes that stand in b.
func (fs *findings) headsIn(b []byte) {
	prefix := []byte("head/")
	for i := 0; ; i++ {
		n := bytes.Index(b[i:], prefix)
		if n < 0 {
			return
		}
		i += n
		for _, l := range wire.Lanes() {
			p := place{lane: l}
			k := len(p.head())
			v := 4 + 16 + len(wire.Hash{})
			if i+k+v > len(b) {
				continue
			}
			var id string
			if _, err := fmt.Sscanf(string(b[i:i+k]), "head/%16s", &id); err != nil {
				continue
			}
			if _, err := fmt.Sscanf(id, "%16x", &id); err != nil || len(id) != len(p.stream) {
				continue
			}
			p.stream = wire.StreamID([]byte(id))
			var st laneState
			data, ok := unpack(bucketMeta, p.head(), b[i+k:i+k+v])
			if ok && string(b[i:i+k]) == string(p.head()) && st.parse(data) && st.next >= fs.heads[p].next {
				st.kept = max(st.kept, fs.heads[p].kept)
				fs.heads[p] = st
			}
		}
	}
}

// adopt takes what was found in another file into an empty spool: alarms first,
// should there not be room for all.
func (s *Spool) adopt(path string, found *findings, detail string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	s.write.Lock()
	defer s.write.Unlock()
	db, err := s.ready()
	if err != nil {
		return err
	}
	note := &wire.StreamStarted{Why: wire.StartDamaged, Salvaged: make(map[wire.Lane]uint64)}
	lanes := make(map[place]*laneState)
	full := false
	for batch := range slices.Chunk(found.events, salvageBatch) {
		err := s.commit(db, s.limit(wire.Alarm), func(tx *bolt.Tx) error {
			for _, e := range batch {
				if err := adoptFind(tx, f, lanes, found, e); err != nil {
					return err
				}
			}
			return nil
		})
		if errors.Is(err, ErrFull) {
			full = true
			break
		}
		if err != nil {
			return err
		}
		for _, e := range batch {
			note.Salvaged[e.lane]++
		}
	}
	if full {
		detail = "no room for all; " + detail
	}
	const longest = 400 // bytes, below the contract's bound
	note.Detail = strings.ToValidUTF8(detail[:min(len(detail), longest)], "")
	var last uint64
	for p, st := range lanes { // the stream that got furthest was the last one
		if st.next >= last {
			last, note.Previous = st.next, p.stream
		}
	}
	return s.commit(db, s.opt.MaxSize, func(tx *bolt.Tx) error {
		streams, err := readStreams(tx.Bucket(bucketMeta))
		if err != nil {
			return err
		}
		given, err := gaps(tx, lanes)
		if err != nil {
			return err
		}
		former := make(map[wire.StreamID]bool)
		for p := range lanes {
			former[p.stream] = true
		}
		ids := slices.SortedFunc(maps.Keys(former), func(a, b wire.StreamID) int { return bytes.Compare(a[:], b[:]) })
		return errors.Join(
			putStreams(tx.Bucket(bucketMeta), append(ids, streams[len(streams)-1])),
			putGiven(tx, given),
			putStarted(tx, note),
		)
	})
}

// adoptFind takes one event in, and its stream if it is the first.
func adoptFind(tx *bolt.Tx, f io.ReaderAt, lanes map[place]*laneState, found *findings, e find) error {
	meta := tx.Bucket(bucketMeta)
	if lanes[e.place] == nil {
		if err := createLanes(tx, e.stream); err != nil {
			return err
		}
		for _, l := range wire.Lanes() {
			p := place{e.stream, l}
			st := laneState{next: 1, kept: 1}
			if h, ok := found.heads[p]; ok {
				st = h
			}
			lanes[p] = &st
			if err := putHead(meta, p, &st); err != nil {
				return err
			}
		}
	}
	st := lanes[e.place]
	if _, ok := found.heads[e.place]; !ok && st.next == 1 { // nobody knows what was before it
		st.next, st.kept = e.seq, e.seq
		if err := putHead(meta, e.place, st); err != nil {
			return err
		}
	}
	msg := make([]byte, e.size)
	if _, err := f.ReadAt(msg, e.at); err != nil {
		return err
	}
	if err := putEvent(tx, e.place, e.seq, msg, wire.HashOf(msg)); err != nil {
		return err
	}
	st.next = max(st.next, e.seq+1)
	return nil
}

// gaps returns what the adopted lanes lack between their lowest and their
// highest number.
func gaps(tx *bolt.Tx, lanes map[place]*laneState) (given []wire.DroppedRange, err error) {
	for p, st := range lanes {
		holes, err := holesIn(tx, p, st)
		if err != nil {
			return nil, err
		}
		for _, h := range holes {
			given = MergeDropped(given, wire.DroppedRange{
				Stream: p.stream, Lane: p.lane, From: h.first, To: h.last, Why: wire.DropDamaged, Events: h.last - h.first + 1,
			})
		}
	}
	return given, nil
}

// holesIn returns the numbers that a lane lacks of those that it should hold.
func holesIn(tx *bolt.Tx, p place, st *laneState) (holes []span, err error) {
	from := st.kept
	err = tx.Bucket(p.bucket()).ForEach(func(k, _ []byte) error {
		if seq := number(k); seq >= from {
			if seq > from {
				holes = append(holes, span{from, seq - 1})
			}
			from = seq + 1
		}
		return nil
	})
	if from < st.next {
		holes = append(holes, span{from, st.next - 1})
	}
	return holes, err
}
