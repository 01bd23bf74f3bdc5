package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	bolt "go.etcd.io/bbolt"

	"github.com/fengsui/fengsui/firmware/wire"
)

// A place is a lane of a stream.
type place struct {
	stream wire.StreamID
	lane   wire.Lane
}

func (p place) String() string { return p.stream.String() + "/" + p.lane.String() }

func (p place) bucket() []byte { return []byte("lane/" + p.String()) }

func (p place) head() []byte { return []byte("head/" + p.String()) }

func key(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

// number is the inverse of key; 0, which no event has, for anything else.
func number(b []byte) uint64 {
	if len(b) != 8 {
		return 0
	}
	return binary.BigEndian.Uint64(b)
}

// checksum is CRC32C (RFC 3720, appendix B.4).
func checksum(bucket, key, data []byte) uint32 {
	t := crc32.MakeTable(crc32.Castagnoli)
	return crc32.Update(crc32.Update(crc32.Checksum(bucket, t), t, key), t, data)
}

func pack(bucket, key, data []byte) []byte {
	v := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(data)), checksum(bucket, key, data))
	return append(v, data...)
}

// unpack returns a value without its checksum, if that is right.
func unpack(bucket, key, v []byte) ([]byte, bool) {
	if len(v) < 4 || binary.BigEndian.Uint32(v) != checksum(bucket, key, v[4:]) {
		return nil, false
	}
	return v[4:], true
}

// readStreams returns the former streams, the oldest first, and the current.
func readStreams(meta *bolt.Bucket) ([]wire.StreamID, error) {
	var ids []wire.StreamID
	n := len(wire.StreamID{})
	v, ok := unpack(bucketMeta, keyFormer, meta.Get(keyFormer))
	if !ok || len(v)%n != 0 {
		return nil, fmt.Errorf("%w: former streams", ErrDamaged)
	}
	for ; len(v) > 0; v = v[n:] {
		ids = append(ids, wire.StreamID(v[:n]))
	}
	id, ok := unpack(bucketMeta, keyStream, meta.Get(keyStream))
	if !ok || len(id) != n {
		return nil, fmt.Errorf("%w: stream id", ErrDamaged)
	}
	return append(ids, wire.StreamID(id)), nil
}

// putStreams is the inverse of readStreams.
func putStreams(meta *bolt.Bucket, ids []wire.StreamID) error {
	var former []byte
	for _, id := range ids[:len(ids)-1] {
		former = append(former, id[:]...)
	}
	id := ids[len(ids)-1]
	return errors.Join(
		meta.Put(keyFormer, pack(bucketMeta, keyFormer, former)),
		meta.Put(keyStream, pack(bucketMeta, keyStream, id[:])),
	)
}

func putHead(meta *bolt.Bucket, p place, st *laneState) error {
	k := p.head()
	v := append(append(key(st.next), key(st.kept)...), st.prev[:]...)
	return meta.Put(k, pack(bucketMeta, k, v))
}

func readHead(meta *bolt.Bucket, p place) (*laneState, error) {
	v, ok := unpack(bucketMeta, p.head(), meta.Get(p.head()))
	st := new(laneState)
	if !ok || !st.parse(v) {
		return nil, fmt.Errorf("%w: head of lane %v", ErrDamaged, p)
	}
	return st, nil
}

// parse is the inverse of what putHead packs.
func (st *laneState) parse(v []byte) bool {
	if len(v) != 16+len(st.prev) {
		return false
	}
	st.next, st.kept = number(v[:8]), number(v[8:16])
	copy(st.prev[:], v[16:])
	return true
}

func putEvent(tx *bolt.Tx, p place, seq uint64, msg []byte, hash wire.Hash) error {
	b := tx.Bucket(p.bucket())
	b.FillPercent = fill
	k := key(seq)
	if err := b.Put(k, pack(p.bucket(), k, msg)); err != nil {
		return err
	}
	meta := tx.Bucket(bucketMeta)
	st, err := readHead(meta, p)
	if err != nil {
		return err
	}
	if seq >= st.next {
		st.next, st.prev = seq+1, hash
	}
	return putHead(meta, p, st)
}

func putState(tx *bolt.Tx, state []KV) error {
	b := tx.Bucket(bucketState)
	for _, kv := range state {
		var err error
		if k := []byte(kv.Key); len(kv.Value) == 0 {
			err = b.Delete(k)
		} else {
			err = b.Put(k, pack(bucketState, k, kv.Value))
		}
		if err != nil {
			return fmt.Errorf("state %q: %w", kv.Key, err)
		}
	}
	return nil
}

// readEvents returns copies of the events from a number up to but without
// next, and the numbers among them that cannot be read.
func readEvents(tx *bolt.Tx, p place, from, next uint64, records, bytes int) (out []Record, lost []span) {
	if from >= next || records <= 0 {
		return nil, nil
	}
	bucket := p.bucket()
	b := tx.Bucket(bucket)
	if b == nil { // a former stream that was done with
		return nil, nil
	}
	c := b.Cursor()
	size := 0
	for k, v := c.Seek(key(from)); k != nil; k, v = c.Next() {
		seq := number(k)
		if seq < from {
			continue // not a number
		}
		if seq >= next {
			break
		}
		if seq > from {
			lost = append(lost, span{from, seq - 1})
		}
		from = seq + 1
		data, ok := unpack(bucket, k, v)
		if !ok {
			lost = append(lost, span{seq, seq})
			continue
		}
		if size += len(data); size > bytes && len(out) > 0 {
			return out, lost
		}
		if out = append(out, Record{seq, append([]byte(nil), data...)}); len(out) == records {
			return out, lost
		}
	}
	if from < next {
		lost = append(lost, span{from, next - 1})
	}
	return out, lost
}
