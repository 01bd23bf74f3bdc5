package spool

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"

	bolt "go.etcd.io/bbolt"

	"github.com/fengsui/fengsui/firmware/wire"
)

// homeSuffix is what the name of the second home adds to the spool's.
const homeSuffix = ".alarms"

// A home is the second home of the alarms that no Ack covers, and of the state
// that was ever stored with one: a log beside the database, written and synced
// after each commit that concerns it, and begun anew at its start when it has
// grown or when no alarm waits. A failure of it costs nothing but the second
// home.
//
// The log is a run of entries: "FSH1", a random number that all entries since
// the log's beginning share, the length of the payload, and a CRC32C over the
// latter two and the payload, each in 4 bytes, big-endian; then the payload,
// which is a run of items: kind, length in 4 bytes, data. The data of an event
// is its sealed message, that of a state the length of its key in 2 bytes, the
// key and the value.
type home struct {
	log   *slog.Logger
	f     *os.File
	run   uint32            // the number of its entries
	end   int64             // where the next entry goes
	most  int64             // the log begins anew before it grows past this
	held  int               // alarms in the log
	state map[string][]byte // what the log says of the state; nil values: deleted
	found []homeEvent       // at open
	bad   bool              // the last write failed
	parts int               // streams that the log may tell of
}

type homeEvent struct {
	place
	seq uint64
	msg []byte
}

const (
	homeMagic  = "FSH1"
	homeHead   = 16
	homeSize   = 256 << 10 // set aside for it on the disk
	homeBounds = 16 << 20  // more than this is not read

	itemEvent = 1
	itemState = 2
)

// openHome opens or creates a second home. It returns nil, which is a home that
// does nothing, when it cannot.
func openHome(path string, log *slog.Logger) *home {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		log.Error("alarms have no second home", "err", err)
		return nil
	}
	h := &home{log: log, f: f, state: make(map[string][]byte), most: homeSize}
	if err := reserve(f, homeSize); err != nil {
		log.Warn("no room set aside for the second home of alarms", "err", err)
	}
	b, err := io.ReadAll(io.NewSectionReader(f, 0, homeBounds))
	if err != nil {
		log.Error("second home of alarms not read", "err", err)
	}
	h.parse(b)
	return h
}

// parse reads the log, up to the first entry that is not one.
func (h *home) parse(b []byte) {
	for at := 0; len(b)-at >= homeHead && string(b[at:at+4]) == homeMagic; {
		run, n := binary.BigEndian.Uint32(b[at+4:]), binary.BigEndian.Uint32(b[at+8:])
		if at > 0 && run != h.run || int64(n) > int64(len(b)-at-homeHead) {
			break
		}
		payload := b[at+homeHead : at+homeHead+int(n)]
		if binary.BigEndian.Uint32(b[at+12:]) != homeSum(b[at+4:at+12], payload) {
			break
		}
		h.run = run
		h.items(payload)
		at += homeHead + int(n)
		h.end = int64(at)
	}
}

func homeSum(head, payload []byte) uint32 {
	t := crc32.MakeTable(crc32.Castagnoli)
	return crc32.Update(crc32.Checksum(head, t), t, payload)
}

func (h *home) items(b []byte) {
	for len(b) >= 5 {
		kind, n := b[0], binary.BigEndian.Uint32(b[1:])
		if b = b[5:]; uint64(n) > uint64(len(b)) { // an int of 32 bits would be negative
			return
		}
		data := b[:n]
		b = b[n:]
		switch kind {
		case itemEvent:
			if e, err := wire.Peek(data); err == nil {
				h.found = append(h.found, homeEvent{place{e.Stream, e.Lane}, e.Seq, data})
				h.held++
			}
		case itemState:
			if len(data) < 2 {
				continue
			}
			if k := int(binary.BigEndian.Uint16(data)); k <= len(data)-2 {
				h.state[string(data[2:2+k])] = data[2+k:]
			}
		}
	}
}

// settle puts into a file that has just been opened what it lacks, and reports
// whether that was anything. An alarm of the current stream that it lacks means
// that it went back in time. One that is fresh lacks the state as well.
func (h *home) settle(tx *bolt.Tx, s *Spool, fresh bool) (changed bool, err error) {
	started, err := readStarted(tx)
	if err != nil {
		return false, err
	}
	fresh = fresh || started != nil
	current := s.current()
	defer func() { h.parts = len(s.streams) }()
	var missing []homeEvent
	back := false
	for _, e := range h.found {
		st := s.lanes[e.place]
		switch {
		case st == nil:
			fresh = true
		case e.seq < st.kept && (started == nil || e.stream == current || st.kept == st.next):
			continue // acknowledged; but where a lane that was salvaged begins may be a guess
		case e.seq < st.next:
			k := key(e.seq)
			if _, ok := unpack(e.bucket(), k, tx.Bucket(e.bucket()).Get(k)); ok {
				continue
			}
		case e.stream == current:
			back = true
		}
		missing = append(missing, e)
	}
	if back || fresh {
		for k, v := range h.state {
			if !back && tx.Bucket(bucketState).Get([]byte(k)) != nil {
				continue // the file is younger than that
			}
			if err := putState(tx, []KV{{k, v}}); err != nil {
				return false, err
			}
			changed = true
		}
	}
	if len(missing) == 0 {
		return changed, nil
	}
	s.log.Error("alarms were missing and come from their second home", "alarms", len(missing), "went_back", back)
	ids := s.streams
	if back {
		ids = append(ids[:len(ids):len(ids)], wire.NewStreamID())
		err := begin(tx, ids, &wire.StreamStarted{
			Previous: current, Why: wire.StartRolledBack,
			Detail: fmt.Sprintf("alarms found only in their second home: %d", len(missing)),
		})
		if err != nil {
			return false, err
		}
		s.begun(ids)
	}
	for _, e := range missing {
		if s.lanes[e.place] == nil {
			ids = append([]wire.StreamID{e.stream}, ids...)
			if err := createLanes(tx, e.stream); err != nil {
				return false, err
			}
			for _, l := range wire.Lanes() {
				s.lanes[place{e.stream, l}] = &laneState{oldest: 1, next: 1, kept: 1}
			}
		}
		if err := adopt(tx, s.lanes[e.place], e.place, e.seq, e.msg); err != nil {
			return false, err
		}
	}
	s.streams = ids
	return true, putStreams(tx.Bucket(bucketMeta), ids)
}

// complete begins the log anew when it lacks an alarm that waits, or the state
// that goes with one: a cut came between the database's commit and the log's,
// or tore the log. Which state goes with such an alarm is not known: all does.
func (h *home) complete(tx *bolt.Tx, s *Spool) {
	found := make(map[place]map[uint64]bool)
	for _, e := range h.found {
		if found[e.place] == nil {
			found[e.place] = make(map[uint64]bool)
		}
		found[e.place][e.seq] = true
	}
	state := make(map[string][]byte)
	_ = tx.Bucket(bucketState).ForEach(func(k, v []byte) error {
		if v, ok := unpack(bucketState, k, v); ok && !strings.HasPrefix(string(k), ownState) {
			state[string(k)] = bytes.Clone(v)
		}
		return nil
	})
	lacks := h.end == 0 && len(state) > 0
	var msgs [][]byte
	for _, id := range s.streams {
		p := place{id, wire.Alarm}
		recs, _ := readEvents(tx, p, s.lanes[p].oldest, s.lanes[p].next, math.MaxInt, math.MaxInt)
		for _, r := range recs {
			msgs = append(msgs, r.Data)
			lacks = lacks || !found[p][r.Seq]
		}
	}
	differs := lacks
	for k, v := range h.state {
		differs = differs || !bytes.Equal(v, state[k])
		h.state[k] = state[k]
	}
	if lacks {
		maps.Copy(h.state, state)
	}
	// What was read is not durable when the process before this was killed.
	if differs && tx.DB().Sync() == nil {
		h.renew(msgs)
	}
	h.found = nil
}

// adopt stores an event of a former stream.
func adopt(tx *bolt.Tx, st *laneState, p place, seq uint64, msg []byte) error {
	meta := tx.Bucket(bucketMeta)
	if st.next == st.kept { // the first of its lane
		st.kept, st.oldest, st.next = seq, seq, seq
	}
	if seq < st.kept {
		st.kept, st.oldest = seq, seq
	}
	if err := putHead(meta, p, st); err != nil {
		return err
	}
	hash := wire.HashOf(msg)
	if err := putEvent(tx, p, seq, msg, hash); err != nil {
		return err
	}
	if seq >= st.next {
		st.next, st.prev = seq+1, hash
	}
	return nil
}

// append writes what a change says of alarms. The caller holds the spool's
// write.
func (h *home) append(s *Spool, c *change) {
	if h == nil {
		return
	}
	var payload []byte
	events := 0
	for i, e := range c.entries {
		if e.Lane == wire.Alarm {
			payload = item(payload, itemEvent, c.msgs[i])
			events++
		}
	}
	for _, kv := range c.state {
		if _, known := h.state[kv.Key]; known || events > 0 {
			h.state[kv.Key] = kv.Value
			payload = stateItem(payload, kv.Key, kv.Value)
		}
	}
	switch {
	case len(payload) == 0:
	case h.bad || h.end == 0 || h.end+int64(len(payload)) > h.most:
		h.begin(s)
	default:
		h.held += events
		h.write(payload)
	}
}

// trim begins the log anew when no alarm waits any more, or a stream is done
// with. The caller holds the spool's write.
func (h *home) trim(s *Spool) {
	if h == nil {
		return
	}
	s.mu.RLock()
	n := len(s.streams)
	s.mu.RUnlock()
	if n < h.parts || h.held > 0 && s.Depth()[wire.Alarm] == 0 {
		h.begin(s)
	}
	h.parts = n
}

// begin begins the log anew with all that waits.
func (h *home) begin(s *Spool) {
	var msgs [][]byte
	for _, p := range s.Parts() {
		recs, err := p.Read(wire.Alarm, 0, math.MaxInt, math.MaxInt)
		if err != nil { // what is there is better than less
			h.log.Error("second home of alarms not renewed", "err", err)
			return
		}
		for _, r := range recs {
			msgs = append(msgs, r.Data)
		}
	}
	h.renew(msgs)
}

// renew begins the log anew with the state and these alarms.
func (h *home) renew(msgs [][]byte) {
	var payload []byte
	for k, v := range maps.All(h.state) {
		if len(v) == 0 {
			delete(h.state, k)
			continue
		}
		payload = stateItem(payload, k, v)
	}
	for _, m := range msgs {
		payload = item(payload, itemEvent, m)
	}
	h.held = len(msgs)
	h.run, h.end = rand.Uint32(), 0
	h.most = max(homeSize, 2*int64(len(payload)))
	h.write(payload)
}

func item(b []byte, kind byte, data []byte) []byte {
	return append(binary.BigEndian.AppendUint32(append(b, kind), uint32(len(data))), data...)
}

func stateItem(b []byte, k string, v []byte) []byte {
	data := binary.BigEndian.AppendUint16(nil, uint16(len(k)))
	return item(b, itemState, append(append(data, k...), v...))
}

func (h *home) write(payload []byte) {
	b := binary.BigEndian.AppendUint32([]byte(homeMagic), h.run)
	b = binary.BigEndian.AppendUint32(b, uint32(len(payload)))
	b = append(binary.BigEndian.AppendUint32(b, homeSum(b[4:12], payload)), payload...)
	_, err := h.f.WriteAt(b, h.end)
	if err == nil {
		err = h.f.Sync()
	}
	if err != nil {
		h.log.Error("alarms have no second home now", "err", err)
		h.bad = true
		return
	}
	h.bad = false
	h.end += int64(len(b))
}

// failed reports whether the last thing to write is not there.
func (h *home) failed() bool { return h == nil || h.bad }

func (h *home) close() error {
	if h == nil {
		return nil
	}
	if err := h.f.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return fmt.Errorf("spool: second home: %w", err)
	}
	return nil
}
