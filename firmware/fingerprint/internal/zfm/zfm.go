// Package zfm frames and unframes the packets of the ZFM, R30x and R503
// fingerprint sensors: header EF01, module address, packet identifier, length,
// content, sum (R503 user manual 1.2.2, chapter IV "Data package format").
//
// It knows neither commands nor confirmation codes, and it reads and writes no
// port: both ends of the line, the driver and the emulator, use it on bytes
// that they have read themselves. It is internal to firmware/fingerprint so
// that nothing else can make a packet for a sensor.
package zfm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// A PID tells what a packet is.
type PID byte

// The packet identifiers.
const (
	Command PID = 0x01
	Data    PID = 0x02 // only ever follows a command or an acknowledgement
	Ack     PID = 0x07
	EndData PID = 0x08 // the last packet of data
)

const (
	// MaxPayload is the largest content of a packet, in bytes.
	MaxPayload = 256

	headerLen = 9 // EF01, address, identifier, length
	sumLen    = 2
)

var header = [2]byte{0xEF, 0x01}

// A Packet is one packet without its framing.
type Packet struct {
	Address uint32 // of the module; FFFFFFFF unless it was changed
	PID     PID
	Payload []byte // 0 to MaxPayload bytes
}

// Append appends the packet's bytes to b. It fails only for a payload that is
// longer than MaxPayload.
func (p Packet) Append(b []byte) ([]byte, error) {
	if len(p.Payload) > MaxPayload {
		return b, fmt.Errorf("payload of %d bytes: want at most %d", len(p.Payload), MaxPayload)
	}
	b = append(b, header[:]...)
	b = binary.BigEndian.AppendUint32(b, p.Address)
	start := len(b)
	b = append(b, byte(p.PID))
	b = binary.BigEndian.AppendUint16(b, uint16(len(p.Payload)+sumLen))
	b = append(b, p.Payload...)
	return binary.BigEndian.AppendUint16(b, sum(b[start:])), nil
}

// sum is the arithmetic sum over identifier, length and content; bits over 16
// are dropped.
func sum(b []byte) (s uint16) {
	for _, c := range b {
		s += uint16(c)
	}
	return s
}

// Errors of Decoder.Next.
var (
	// ErrIncomplete means that more bytes are needed for a packet.
	ErrIncomplete = errors.New("packet is incomplete")
	// ErrSum means that a packet's sum is wrong.
	ErrSum = errors.New("wrong packet sum")
	// ErrLength means that a packet claims a length that no packet may have.
	ErrLength = errors.New("wrong packet length")
	// ErrPID means that a packet has an unknown identifier.
	ErrPID = errors.New("unknown packet identifier")
)

// A Decoder finds packets in a stream of bytes. After anything that is no
// packet it goes on behind the two bytes that looked like a header, so that a
// true packet is never swallowed by the ruins of another. The zero value is
// ready; it never holds more than one packet's bytes after Next has returned
// ErrIncomplete.
type Decoder struct {
	// MaxPayload is the largest payload that is believed; 0 stands for the
	// format's own limit. The smaller it is, the sooner a broken length is
	// noticed.
	MaxPayload int

	buf     []byte
	skipped uint64
}

// Feed adds bytes that were received.
func (d *Decoder) Feed(b []byte) { d.buf = append(d.buf, b...) }

// Reset forgets a packet that is incomplete. It returns the number of bytes
// that were forgotten.
func (d *Decoder) Reset() int {
	n := len(d.buf)
	d.buf = d.buf[:0]
	return n
}

// Skipped returns how many bytes have been skipped so far because they belong
// to no packet.
func (d *Decoder) Skipped() uint64 { return d.skipped }

// Next returns the next packet, whose payload is the caller's to keep. Call it
// until it returns ErrIncomplete; after any other error there may be more
// packets. Errors wrap ErrIncomplete, ErrSum, ErrLength or ErrPID.
func (d *Decoder) Next() (Packet, error) {
	d.seek()
	if len(d.buf) < headerLen {
		return Packet{}, ErrIncomplete
	}
	pid := PID(d.buf[6])
	switch pid {
	case Command, Data, Ack, EndData:
	default:
		d.skip(len(header))
		return Packet{}, fmt.Errorf("%w: 0x%02X", ErrPID, byte(pid))
	}
	limit := MaxPayload
	if d.MaxPayload > 0 {
		limit = min(limit, d.MaxPayload)
	}
	length := int(binary.BigEndian.Uint16(d.buf[7:]))
	if length < sumLen || length > limit+sumLen {
		d.skip(len(header))
		return Packet{}, fmt.Errorf("%w: %d: want %d to %d", ErrLength, length, sumLen, limit+sumLen)
	}
	whole := headerLen + length
	if len(d.buf) < whole {
		return Packet{}, ErrIncomplete
	}
	end := whole - sumLen
	if got, want := binary.BigEndian.Uint16(d.buf[end:]), sum(d.buf[6:end]); got != want {
		d.skip(len(header))
		return Packet{}, fmt.Errorf("%w: 0x%04X: want 0x%04X", ErrSum, got, want)
	}
	p := Packet{
		Address: binary.BigEndian.Uint32(d.buf[2:]),
		PID:     pid,
		Payload: bytes.Clone(d.buf[headerLen:end]),
	}
	d.drop(whole)
	return p, nil
}

// seek skips what stands before the next header, or before a last byte that
// may be the start of one.
func (d *Decoder) seek() {
	i := bytes.Index(d.buf, header[:])
	if i < 0 {
		i = len(d.buf)
		if i > 0 && d.buf[i-1] == header[0] {
			i--
		}
	}
	d.skip(i)
}

func (d *Decoder) skip(n int) {
	d.skipped += uint64(n)
	d.drop(n)
}

func (d *Decoder) drop(n int) {
	d.buf = d.buf[:copy(d.buf, d.buf[n:])]
}
