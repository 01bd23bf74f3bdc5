package wire

import (
	"crypto/ed25519"
	"time"
	"unicode/utf8"

	"github.com/fxamacker/cbor/v2"
)

// A WallSource says where a device's idea of the time of day came from.
type WallSource uint8

// The sources of wall time.
const (
	WallNone   WallSource = 0 // a clock that nothing has set: do not believe it
	WallGNSS   WallSource = 1 // a satellite receiver's time
	WallNTP    WallSource = 2 // the system's clock, disciplined over the network
	WallRTC    WallSource = 3 // a battery-backed clock, set some time ago
	WallCentre WallSource = 4 // the centre's clock, from its answer to a hello
)

// String returns "none", "gnss", "ntp", "rtc", "centre" or "source(n)".
func (s WallSource) String() string {
	return name("source", uint64(s), "none", "gnss", "ntp", "rtc", "centre")
}

// Wall is a time of day with its source and its uncertainty.
type Wall struct {
	UnixMilli   int64         // milliseconds since 1970-01-01T00:00:00Z, without leap seconds
	Source      WallSource    // where it came from
	Uncertainty time.Duration // the true time is within ± this; whole milliseconds on the wire
}

// Time returns the wall time in UTC.
func (w Wall) Time() time.Time { return time.UnixMilli(w.UnixMilli).UTC() }

// An Event is one thing that happened at a device. Device, Stream, Lane and
// Seq together name it for ever.
type Event struct {
	Device  string        // see [ValidDevice]
	Stream  StreamID      // the spool that numbered it
	Lane    Lane          // the way it takes
	Seq     uint64        // from 1, without holes, in its stream and lane
	Prev    Hash          // of the sealed event Seq-1 of this stream and lane; zero at 1
	Boot    uint64        // counts the agent's starts within the stream, from 1
	Mono    time.Duration // since that start; whole milliseconds on the wire
	Wall    Wall          // the time of day, as well as the device knew it
	Officer string        // who was signed on when it was captured, or ""
	Drill   bool          // it belongs to an exercise
	Body    Body          // what happened
	Extra   Extra         // entries of a later version
}

type eventMap struct {
	Device  string          `cbor:"1,keyasint"`
	Stream  []byte          `cbor:"2,keyasint"`
	Lane    uint64          `cbor:"3,keyasint"`
	Seq     uint64          `cbor:"4,keyasint"`
	Prev    []byte          `cbor:"5,keyasint"`
	Boot    uint64          `cbor:"6,keyasint"`
	Mono    uint64          `cbor:"7,keyasint"`
	Wall    int64           `cbor:"8,keyasint"`
	Source  uint64          `cbor:"9,keyasint"`
	Uncert  uint64          `cbor:"10,keyasint"`
	Officer string          `cbor:"11,keyasint,omitempty"`
	Drill   bool            `cbor:"12,keyasint,omitempty"`
	Type    BodyType        `cbor:"13,keyasint"`
	Body    cbor.RawMessage `cbor:"14,keyasint"`
}

// Seal encodes and signs an event. The error wraps [ErrMessage] when a field
// breaks the contract.
func Seal(e *Event, key ed25519.PrivateKey) ([]byte, error) {
	if e.Body == nil {
		return nil, bad("body", "nil", "a body")
	}
	body, err := encodeBody(e.Body)
	if err != nil {
		return nil, err
	}
	m := eventMap{
		e.Device, e.Stream[:], uint64(e.Lane), e.Seq, e.Prev[:], e.Boot, uint64(e.Mono.Milliseconds()),
		e.Wall.UnixMilli, uint64(e.Wall.Source), uint64(e.Wall.Uncertainty.Milliseconds()),
		e.Officer, e.Drill, e.Body.Type(), body,
	}
	if err := m.validate(); err != nil {
		return nil, err
	}
	return seal(m, e.Extra, aadEvent, key)
}

// Open verifies a sealed event with the device's public key and decodes it.
// The error wraps [ErrEnvelope], [ErrSignature] or [ErrMessage].
func Open(msg []byte, pub ed25519.PublicKey) (*Event, error) {
	if len(pub) != ed25519.PublicKeySize {
		return nil, ErrSignature
	}
	return openEvent(msg, pub)
}

// Peek decodes a sealed event without verifying it. It is for looking into a
// device's own spool; whatever came over a network goes through [Open].
func Peek(msg []byte) (*Event, error) { return openEvent(msg, nil) }

func openEvent(msg []byte, pub ed25519.PublicKey) (*Event, error) {
	payload, err := unseal(msg, aadEvent, pub)
	if err != nil {
		return nil, err
	}
	var m eventMap
	extra, err := decodeMap(payload, &m)
	if err != nil {
		return nil, err
	}
	if err := m.validate(); err != nil {
		return nil, err
	}
	body, err := decodeBody(m.Type, m.Body)
	if err != nil {
		return nil, err
	}
	return &Event{
		Device: m.Device, Stream: StreamID(m.Stream), Lane: Lane(m.Lane), Seq: m.Seq, Prev: Hash(m.Prev),
		Boot: m.Boot, Mono: time.Duration(m.Mono) * time.Millisecond,
		Wall:    Wall{m.Wall, WallSource(m.Source), time.Duration(m.Uncert) * time.Millisecond},
		Officer: m.Officer, Drill: m.Drill, Body: body, Extra: extra,
	}, nil
}

// maxMilli bounds durations on the wire so that they fit a time.Duration, and
// wall time to years that time.Time prints with four digits.
const (
	maxMilli = 1 << 43         // 278 years
	maxWall  = 253402300799999 // 9999-12-31T23:59:59.999Z
)

func (m *eventMap) validate() error {
	if err := ValidDevice(m.Device); err != nil {
		return bad("device (1)", m.Device, err.Error())
	}
	switch {
	case len(m.Stream) != len(StreamID{}):
		return bad("stream (2) of length", len(m.Stream), "8 bytes")
	case m.Lane < uint64(Alarm) || m.Lane > uint64(Track):
		return bad("lane (3)", m.Lane, "1, 2 or 3")
	case m.Seq == 0 || m.Seq >= 1<<63:
		return bad("seq (4)", m.Seq, "1 to 2^63-1")
	case len(m.Prev) != len(Hash{}):
		return bad("prev (5) of length", len(m.Prev), "16 bytes")
	case m.Boot == 0 || m.Boot >= 1<<63:
		return bad("boot (6)", m.Boot, "1 to 2^63-1")
	case m.Mono > maxMilli:
		return bad("mono (7)", m.Mono, "0 to 2^43 milliseconds")
	case m.Wall < 0 || m.Wall > maxWall:
		return bad("wall (8)", m.Wall, "0 to 253402300799999 milliseconds since 1970")
	case m.Source > 255:
		return bad("wall source (9)", m.Source, "0 to 255")
	case m.Uncert > maxMilli:
		return bad("wall uncertainty (10)", m.Uncert, "0 to 2^43 milliseconds")
	case m.Type == 0:
		return bad("body type (13)", m.Type, "1 or more")
	case len(m.Body) == 0:
		return bad("body (14)", "absent", "a body")
	}
	return text("officer (11)", m.Officer, 64)
}

// text checks a string of a person's or a device's making: UTF-8, bounded.
func text(field, s string, maxBytes int) error {
	if len(s) > maxBytes || !utf8.ValidString(s) {
		return bad(field, "of "+itoa(len(s))+" bytes", "UTF-8 of at most "+itoa(maxBytes)+" bytes")
	}
	return nil
}
