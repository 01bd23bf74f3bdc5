package wire

import "errors"

// MaxTrackFixes is the most fixes that one batch carries.
const MaxTrackFixes = 600

// A TrackFlag says which members of a TrackFix the receiver gave, and whether
// its Time is believed.
type TrackFlag uint8

// The flags of a fix. A bit that this version does not know is kept.
const (
	Fix3D     TrackFlag = 1 << iota // a three-dimensional fix; else two-dimensional
	HasAlt                          // Alt is given
	HasSpeed                        // Speed is given
	HasCourse                       // Course is given
	HasHDOP                         // HDOP is given
	DoubtTime                       // Time is only what the receiver said, and is not believed; Mono tells when it was
	Jumped                          // nothing on a road can have come there: the place is not believed
)

// A TrackFix is one position of a track, in the units of the wire.
type TrackFix struct {
	Time   int64     // UTC, Unix milliseconds; see DoubtTime
	LatE6  int64     // degrees × 10⁶ (0.11 m), north positive, WGS 84
	LonE6  int64     // degrees × 10⁶, east positive, WGS 84
	Alt    int64     // metres above mean sea level
	Speed  int64     // decimetres a second over ground
	Course int64     // whole degrees from true north, 0 to 359
	HDOP   int64     // horizontal dilution of precision × 10
	Flags  TrackFlag // which of the above were given
	Mono   int64     // with DoubtTime: of the fix, milliseconds since the start of the event's boot; else not sent
}

// Lat returns the latitude in degrees.
func (f *TrackFix) Lat() float64 { return float64(f.LatE6) / 1e6 }

// Lon returns the longitude in degrees.
func (f *TrackFix) Lon() float64 { return float64(f.LonE6) / 1e6 }

// A TrackBatch is a run of fixes in the order of their capture.
type TrackBatch struct {
	Fixes []TrackFix
	// Thinned is n when the device had to give fixes up and kept one of n; 0
	// when it has kept all.
	Thinned uint64
	Extra   Extra
}

// Type returns [TypeTrackBatch].
func (*TrackBatch) Type() BodyType { return TypeTrackBatch }

// Columns of a batch, in their order on the wire.
const (
	colFlags = iota
	colTime
	colLat
	colLon
	colAlt
	colSpeed
	colCourse
	colHDOP
	columns
)

// trackMap is a batch on the wire. First holds the first fix, a value a
// column. Rest holds the other fixes column by column, as a string of bits,
// most significant first: each column begins with one bit for the order of
// its differences (0: the difference to the value before; 1: the difference
// to the difference before, which is 0 at first) and five bits for the Rice
// parameter k; then each difference d, zigzag-mapped to u = 2d or -2d-1, as
// q = u>>k one-bits, a zero-bit and the low k bits of u. Twenty one-bits, with
// no zero-bit behind them, announce u itself in 64 bits. The differences of
// the course are taken modulo 360 into -180 … 179, of both orders. The string
// is padded with fewer than eight zero-bits.
//
// Rice codes: R. F. Rice, JPL Publication 79-22, 1979.
type trackMap struct {
	N       uint64  `cbor:"1,keyasint"`
	First   []int64 `cbor:"2,keyasint"`
	Rest    []byte  `cbor:"3,keyasint"`
	Thinned uint64  `cbor:"4,keyasint,omitempty"`
	Mono    []int64 `cbor:"5,keyasint,omitempty"` // of the fixes with DoubtTime, in order: the first, then differences
}

const (
	riceEscape = 20
	maxRiceK   = 31
	fullTurn   = 360
)

func (f *TrackFix) row() [columns]int64 {
	return [columns]int64{int64(f.Flags), f.Time, f.LatE6, f.LonE6, f.Alt, f.Speed, f.Course, f.HDOP}
}

func (b *TrackBatch) validate() error {
	if len(b.Fixes) == 0 || len(b.Fixes) > MaxTrackFixes {
		return bad("fixes (1)", len(b.Fixes), "1 to 600")
	}
	for i := range b.Fixes {
		f := &b.Fixes[i]
		switch {
		case f.Time < 0 || f.Time > maxWall:
			return bad("fix time", f.Time, "0 to 253402300799999 milliseconds since 1970")
		case f.LatE6 < -90e6 || f.LatE6 > 90e6:
			return bad("fix latitude", f.LatE6, "-90000000 to 90000000")
		case f.LonE6 < -180e6 || f.LonE6 > 180e6:
			return bad("fix longitude", f.LonE6, "-180000000 to 180000000")
		case f.Alt < -100_000 || f.Alt > 100_000:
			return bad("fix altitude", f.Alt, "-100000 to 100000 metres")
		case f.Speed < 0 || f.Speed > 100_000:
			return bad("fix speed", f.Speed, "0 to 100000 dm/s")
		case f.Course < 0 || f.Course >= fullTurn:
			return bad("fix course", f.Course, "0 to 359 degrees")
		case f.HDOP < 0 || f.HDOP > 100_000:
			return bad("fix hdop", f.HDOP, "0 to 100000 tenths")
		case f.Mono < 0 || f.Mono > maxMilli:
			return bad("fix mono", f.Mono, "0 to 2^43 milliseconds")
		}
	}
	return nil
}

func (b *TrackBatch) pack() trackMap {
	first := b.Fixes[0].row()
	m := trackMap{N: uint64(len(b.Fixes)), First: first[:], Thinned: b.Thinned}
	mono := int64(0)
	for i := range b.Fixes {
		if f := &b.Fixes[i]; f.Flags&DoubtTime != 0 {
			m.Mono = append(m.Mono, f.Mono-mono)
			mono = f.Mono
		}
	}
	var w bitWriter
	diffs := make([]uint64, len(b.Fixes)-1)
	for c := range columns {
		order, k, best := 0, 0, -1
		for o := range 2 {
			b.differences(c, o, diffs)
			for kk := 0; kk <= maxRiceK; kk++ {
				if n := riceBits(diffs, kk); best < 0 || n < best {
					order, k, best = o, kk, n
				}
			}
		}
		b.differences(c, order, diffs)
		w.write(uint64(order), 1)
		w.write(uint64(k), 5)
		for _, u := range diffs {
			w.rice(u, k)
		}
	}
	m.Rest = w.bytes
	return m
}

// differences fills out with the zigzag-mapped differences of column c.
func (b *TrackBatch) differences(c, order int, out []uint64) {
	before := b.Fixes[0].row()[c]
	var step int64
	for i := range out {
		v := b.Fixes[i+1].row()[c]
		d := v - before
		if c == colCourse {
			d = halfTurn(d)
		}
		before = v
		e := d
		if order == 1 {
			e = d - step
			if c == colCourse {
				e = halfTurn(e)
			}
			step = d
		}
		out[i] = uint64(e)<<1 ^ uint64(e>>63)
	}
}

// halfTurn brings an angle in degrees into -180 … 179.
func halfTurn(d int64) int64 { return ((d+180)%fullTurn+fullTurn)%fullTurn - 180 }

func decodeTrack(raw []byte) (*TrackBatch, error) {
	var m trackMap
	extra, err := decodeMap(raw, &m)
	if err != nil {
		return nil, err
	}
	if m.N == 0 || m.N > MaxTrackFixes {
		return nil, bad("fixes (1)", m.N, "1 to 600")
	}
	if len(m.First) != columns {
		return nil, bad("first (2) of length", len(m.First), "8 values")
	}
	rows := make([][columns]int64, m.N)
	rows[0] = [columns]int64(m.First)
	r := bitReader{bytes: m.Rest}
	for c := range columns {
		order := r.read(1)
		k := int(r.read(5))
		v, step := rows[0][c], int64(0)
		for i := 1; i < len(rows); i++ {
			u := r.rice(k)
			d := int64(u>>1) ^ -int64(u&1)
			if order == 1 {
				d += step
				if c == colCourse {
					d = halfTurn(d)
				}
				step = d
			}
			v += d
			if c == colCourse {
				v = (v%fullTurn + fullTurn) % fullTurn
			}
			rows[i][c] = v
		}
	}
	if err := r.end(); err != nil {
		return nil, bad("rest (3)", err, "eight columns of fixes-1 Rice codes and fewer than eight zero-bits")
	}
	b := &TrackBatch{Fixes: make([]TrackFix, m.N), Thinned: m.Thinned, Extra: extra}
	mono, doubted := int64(0), 0
	for i, v := range rows {
		if v[colFlags] < 0 || v[colFlags] > 255 {
			return nil, bad("fix flags", v[colFlags], "0 to 255")
		}
		b.Fixes[i] = TrackFix{
			Time: v[colTime], LatE6: v[colLat], LonE6: v[colLon], Alt: v[colAlt],
			Speed: v[colSpeed], Course: v[colCourse], HDOP: v[colHDOP], Flags: TrackFlag(v[colFlags]),
		}
		if b.Fixes[i].Flags&DoubtTime == 0 {
			continue
		}
		if doubted++; doubted > len(m.Mono) {
			break
		}
		mono += m.Mono[doubted-1]
		b.Fixes[i].Mono = mono
	}
	if doubted != len(m.Mono) {
		return nil, bad("mono (5) of length", len(m.Mono), "one for each fix with flag 32")
	}
	return b, b.validate()
}

// riceBits returns how many bits the values take with parameter k.
func riceBits(us []uint64, k int) int {
	n := 0
	for _, u := range us {
		if q := u >> k; q < riceEscape {
			n += int(q) + 1 + k
		} else {
			n += riceEscape + 64
		}
	}
	return n
}

type bitWriter struct {
	bytes []byte
	used  int // bits used of the last byte, 0 when it is full
}

func (w *bitWriter) write(v uint64, bits int) {
	for i := bits - 1; i >= 0; i-- {
		if w.used == 0 {
			w.bytes = append(w.bytes, 0)
		}
		w.bytes[len(w.bytes)-1] |= byte(v>>i&1) << (7 - w.used)
		w.used = (w.used + 1) % 8
	}
}

func (w *bitWriter) rice(u uint64, k int) {
	q := u >> k
	if q >= riceEscape {
		w.write(1<<riceEscape-1, riceEscape)
		w.write(u, 64)
		return
	}
	w.write((1<<q-1)<<1, int(q)+1)
	w.write(u, k)
}

// bitReader reads bits; past the end it reads zeros and remembers it.
type bitReader struct {
	bytes []byte
	pos   int // in bits
}

func (r *bitReader) read(bits int) uint64 {
	var v uint64
	for range bits {
		v <<= 1
		if i := r.pos / 8; i < len(r.bytes) {
			v |= uint64(r.bytes[i] >> (7 - r.pos%8) & 1)
		}
		r.pos++
	}
	return v
}

func (r *bitReader) rice(k int) uint64 {
	q := uint64(0)
	for q < riceEscape && r.read(1) == 1 {
		q++
	}
	if q == riceEscape {
		return r.read(64)
	}
	return q<<k | r.read(k)
}

// end reports whether the bits were used up but for the padding.
func (r *bitReader) end() error {
	left := len(r.bytes)*8 - r.pos
	switch {
	case left < 0:
		return errors.New("bits are missing")
	case left >= 8 || r.read(left) != 0:
		return errors.New("bits are left over")
	}
	return nil
}
