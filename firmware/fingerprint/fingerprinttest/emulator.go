// Package fingerprinttest plays a fingerprint sensor of the ZFM, R30x and R503
// family: it answers on a stream as the sensor does, byte for byte, and can be
// made to answer wrongly. It is for tests and for the simulator.
//
// It has no pictures and no templates: a finger is a number, and an enrolled
// finger is the number of its slot. What would move a template or an image
// over the wire it refuses with a confirmation code, and its log shows every
// instruction that it was sent.
package fingerprinttest

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/fengsui/fengsui/firmware/fingerprint"
	"github.com/fengsui/fengsui/firmware/fingerprint/internal/zfm"
)

// Fingers that are in no slot.
const (
	NoFinger = -1 // nothing lies on the sensor
	Stranger = -2 // a finger that is not enrolled
	Smudge   = -3 // a finger of which no features can be taken
)

// A Fault is a way to answer wrongly, once or until it is changed.
type Fault uint8

// The faults.
const (
	None        Fault = iota
	Silent            // no answer
	WrongSum          // the sum is off by one
	HugeLength        // the length says 64 KiB
	Cut               // half of the answer
	Slow              // a byte a second
	Unsolicited       // before the answer, a match of slot 1 that nobody asked for
	SlotRange         // a match names a slot that the library does not have
	Noise             // bytes that are no packet before the answer
)

// Options describe the sensor.
type Options struct {
	Slots    []int  // the enrolled slots
	Library  int    // number of slots; 0: 200
	Password uint32 // 0: any VfyPwd with 0 is taken
	Score    int    // of a match; 0: 120
}

// A Sensor is an emulated sensor. Its methods may be called from any
// goroutine.
type Sensor struct {
	mu       sync.Mutex
	opt      Options
	finger   int
	fault    Fault
	once     bool
	verified bool
	image    int // the finger whose image was captured
	features int // the finger whose features are in buffer 1 or 2
	log      []fingerprint.Opcode
}

// New returns a sensor with no finger on it.
func New(opt Options) *Sensor {
	if opt.Library == 0 {
		opt.Library = 200
	}
	if opt.Score == 0 {
		opt.Score = 120
	}
	return &Sensor{opt: opt, finger: NoFinger, image: NoFinger, features: NoFinger}
}

// Lay lays a finger on the sensor: an enrolled slot, [Stranger] or [Smudge].
func (s *Sensor) Lay(finger int) { s.with(func() { s.finger = finger }) }

// Lift takes the finger away.
func (s *Sensor) Lift() { s.with(func() { s.finger = NoFinger }) }

// Break makes the answers wrong; once restores the sensor after one answer.
func (s *Sensor) Break(f Fault, once bool) { s.with(func() { s.fault, s.once = f, once }) }

// PowerOff forgets what a sensor keeps in memory that needs power: images,
// features, and that the password was verified. The library stays.
func (s *Sensor) PowerOff() {
	s.with(func() { s.verified, s.image, s.features = false, NoFinger, NoFinger })
}

// Instructions returns every instruction that was received, in order.
func (s *Sensor) Instructions() (log []fingerprint.Opcode) {
	s.with(func() { log = slices.Clone(s.log) })
	return log
}

func (s *Sensor) with(f func()) { s.mu.Lock(); defer s.mu.Unlock(); f() }

// Serve answers on a port until ctx ends, the port's Read fails, or the port
// ends; the latter is no error. A Read that returns 0, nil is tried again.
func (s *Sensor) Serve(ctx context.Context, port io.ReadWriter) error {
	var dec zfm.Decoder
	buf := make([]byte, 512)
	for ctx.Err() == nil {
		n, err := port.Read(buf)
		dec.Feed(buf[:n])
		for {
			p, perr := dec.Next()
			if errors.Is(perr, zfm.ErrIncomplete) {
				break
			}
			if errors.Is(perr, zfm.ErrSum) {
				if _, err := port.Write(ack([]byte{byte(fingerprint.ErrPacket)})); err != nil {
					return unlessEnded(err)
				}
			}
			if perr != nil {
				continue // what is no packet is not answered
			}
			if err := s.answer(ctx, port, p); err != nil {
				return unlessEnded(err)
			}
		}
		if err != nil {
			return unlessEnded(err)
		}
	}
	return nil
}

// unlessEnded is nil when the port ended, at the next Read or in mid-answer.
func unlessEnded(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrClosedPipe) {
		return nil
	}
	return err
}

func (s *Sensor) answer(ctx context.Context, w io.Writer, p zfm.Packet) error {
	if p.PID != zfm.Command || len(p.Payload) == 0 || p.Address != fingerprint.DefaultAddress {
		return nil
	}
	s.mu.Lock()
	op := fingerprint.Opcode(p.Payload[0])
	s.log = append(s.log, op)
	code, data := s.carryOut(op, p.Payload[1:])
	fault := s.fault
	if s.once {
		s.fault, s.once = None, false
	}
	s.mu.Unlock()
	out := ack(append([]byte{byte(code)}, data...))
	switch fault {
	case Silent:
		return nil
	case WrongSum:
		out[len(out)-1]++
	case HugeLength:
		binary.BigEndian.PutUint16(out[7:], 0xFFFF)
	case Cut:
		out = out[:len(out)/2]
	case Unsolicited:
		out = append(ack(binary.BigEndian.AppendUint16([]byte{0, 0, 1}, uint16(s.opt.Score))), out...)
	case Noise:
		out = append([]byte{0xEF, 0x00, 0xFF, 0xEF, 0x01, 0xAA}, out...)
	case Slow:
		for _, c := range out {
			t := time.NewTimer(time.Second)
			select {
			case <-t.C:
			case <-ctx.Done():
				t.Stop()
				return nil
			}
			if _, err := w.Write([]byte{c}); err != nil {
				return err
			}
		}
		return nil
	}
	_, err := w.Write(out)
	return err
}

func ack(payload []byte) []byte {
	b, err := zfm.Packet{Address: fingerprint.DefaultAddress, PID: zfm.Ack, Payload: payload}.Append(nil)
	if err != nil {
		panic(err) // our own answers are short
	}
	return b
}

// Instructions that public drivers send at their start, and this project's
// driver does not.
const (
	opMatch     fingerprint.Opcode = 0x03
	opReadIndex fingerprint.Opcode = 0x1F // ReadIndexTable
	opAura      fingerprint.Opcode = 0x35 // AuraLedConfig, R503
	opHandshake fingerprint.Opcode = 0x40
	opCheck     fingerprint.Opcode = 0x36 // CheckSensor, R503
)

// carryOut does what an instruction asks for. The caller holds mu.
func (s *Sensor) carryOut(op fingerprint.Opcode, arg []byte) (fingerprint.Code, []byte) {
	if op != fingerprint.OpVfyPwd && op != opHandshake && s.opt.Password != 0 && !s.verified {
		return fingerprint.ErrUnverified, nil
	}
	switch op {
	case fingerprint.OpVfyPwd:
		if len(arg) != 4 {
			return fingerprint.ErrPacket, nil
		}
		if s.verified = binary.BigEndian.Uint32(arg) == s.opt.Password; !s.verified {
			return fingerprint.ErrPassword, nil
		}
		return fingerprint.OK, nil
	case opHandshake, opAura, opCheck:
		return fingerprint.OK, nil
	case fingerprint.OpReadSysPara:
		return fingerprint.OK, s.parameters()
	case fingerprint.OpTemplateCount:
		return fingerprint.OK, binary.BigEndian.AppendUint16(nil, uint16(len(s.opt.Slots)))
	case opReadIndex:
		return s.index(arg)
	case fingerprint.OpGenImg:
		if s.image, s.features = s.finger, NoFinger; s.finger == NoFinger {
			return fingerprint.ErrNoFinger, nil
		}
		return fingerprint.OK, nil
	case fingerprint.OpImg2Tz:
		switch {
		case len(arg) != 1 || arg[0] < 1 || arg[0] > 2:
			return fingerprint.ErrPacket, nil
		case s.image == NoFinger:
			return fingerprint.ErrNoImage, nil
		case s.image == Smudge:
			return fingerprint.ErrFewFeatures, nil
		}
		s.features = s.image
		return fingerprint.OK, nil
	case fingerprint.OpSearch:
		return s.search(arg)
	case opMatch:
		return fingerprint.ErrMismatch, make([]byte, 2)
	case fingerprint.OpUpChar, fingerprint.OpDownChar:
		return fingerprint.ErrUpChar, nil
	case fingerprint.OpUpImage, fingerprint.OpDownImage:
		return fingerprint.ErrUpImage, nil
	case fingerprint.OpLoadChar:
		return fingerprint.ErrReadTemplate, nil
	}
	return fingerprint.ErrInstr, nil
}

// search answers a search of a page of the library: buffer, start, count.
func (s *Sensor) search(arg []byte) (fingerprint.Code, []byte) {
	if len(arg) != 5 {
		return fingerprint.ErrPacket, nil
	}
	none := make([]byte, 4)
	start, count := int(binary.BigEndian.Uint16(arg[1:])), int(binary.BigEndian.Uint16(arg[3:]))
	found := s.features >= start && s.features < start+count && slices.Contains(s.opt.Slots, s.features)
	if !found {
		return fingerprint.ErrNotFound, none
	}
	slot := s.features
	if s.fault == SlotRange {
		slot = s.opt.Library + 7
	}
	return fingerprint.OK, binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, uint16(slot)), uint16(s.opt.Score))
}

// parameters are the 16 bytes of ReadSysPara (R503 user manual 1.2.2, chapter
// IV, "System parameters"): status, system id, library size, security level,
// address, packet size code, baud rate in units of 9600.
func (s *Sensor) parameters() []byte {
	var status uint16
	if s.verified {
		status |= 1 << 2
	}
	if s.image != NoFinger {
		status |= 1 << 3
	}
	b := binary.BigEndian.AppendUint16(nil, status)
	b = binary.BigEndian.AppendUint16(b, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(s.opt.Library))
	b = binary.BigEndian.AppendUint16(b, 3)
	b = binary.BigEndian.AppendUint32(b, fingerprint.DefaultAddress)
	b = binary.BigEndian.AppendUint16(b, 2) // 128 bytes
	return binary.BigEndian.AppendUint16(b, 6)
}

// index answers ReadIndexTable: a bit a slot of the page of 256, the lowest
// slot first, in the lowest bit of the first byte.
func (s *Sensor) index(arg []byte) (fingerprint.Code, []byte) {
	if len(arg) != 1 || arg[0] > 3 {
		return fingerprint.ErrPacket, nil
	}
	b := make([]byte, 32)
	for _, slot := range s.opt.Slots {
		if slot/256 == int(arg[0]) {
			b[slot%256/8] |= 1 << (slot % 8)
		}
	}
	return fingerprint.OK, b
}
