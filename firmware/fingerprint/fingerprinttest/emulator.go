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
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/fengsui/fengsui/firmware/fingerprint"
	"github.com/fengsui/fengsui/firmware/fingerprint/internal/zfm"
)

// Fingers that are no finger that can be enrolled, or not well. Any number
// from 0 on is a finger; so is Stranger.
const (
	NoFinger = -1 // nothing lies on the sensor
	Stranger = -2 // a finger that no test enrols
	Smudge   = -3 // of which too few features can be taken
	Dry      = -4
	Wet      = -5
	Messy    = -6
	Blurred  = -7 // of which no image can be captured
)

// spoilt are the confirmation codes of the fingers that cannot be read.
func spoilt(finger int) (code fingerprint.Code, bad bool) {
	code, bad = map[int]fingerprint.Code{
		Smudge: fingerprint.ErrFewFeatures, Dry: fingerprint.ErrTooDry, Wet: fingerprint.ErrTooWet, Messy: fingerprint.ErrDisordered,
	}[finger]
	return code, bad
}

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
	Garbage           // other bytes, as of a wrong speed
	FlashFails        // Store, DeletChar and SetPwd fail
)

// Options describe the sensor.
type Options struct {
	Slots    []int  // the enrolled slots; in slot n is finger n
	Library  int    // number of slots; 0: 200
	Password uint32 // that it has at the start
	Score    int    // of a match; 0: 120
	Baud     int    // its speed, for Open; 0: 57600
	NoRing   bool   // it has no light, and knows no AuraLedConfig
	// Changed is called, by whoever serves, when the library or the password has
	// changed; nil: nobody wants to know.
	Changed func(Flash)
}

// Flash is what a sensor keeps without power.
type Flash struct {
	Library  map[int]int `json:"library"` // slot → finger
	Password uint32      `json:"password"`
}

// A Sensor is an emulated sensor. Its methods may be called from any
// goroutine.
type Sensor struct {
	mu        sync.Mutex
	opt       Options
	finger    int
	fault     Fault
	once      bool
	denied    map[fingerprint.Opcode]fingerprint.Code
	unplugged bool
	lines     []io.Closer // far ends of Open's
	library   map[int]int // slot → finger; it stays without power, as the password does
	password  uint32
	verified  bool
	image     int    // the finger whose image was captured
	buffers   [3]int // the fingers whose features are in buffers 1 and 2
	fresh     bool   // no capture since the features were taken: only then can they be searched for
	light     fingerprint.Light
	log       []fingerprint.Opcode
}

// New returns a sensor with no finger on it.
func New(opt Options) *Sensor {
	if opt.Library == 0 {
		opt.Library = 200
	}
	if opt.Score == 0 {
		opt.Score = 120
	}
	if opt.Baud == 0 {
		opt.Baud = 57600
	}
	s := &Sensor{opt: opt, finger: NoFinger, library: make(map[int]int), password: opt.Password}
	for _, slot := range opt.Slots {
		s.library[slot] = slot
	}
	s.forget()
	return s
}

// forget is what a loss of power does.
func (s *Sensor) forget() {
	s.verified, s.image, s.buffers = false, NoFinger, [3]int{NoFinger, NoFinger, NoFinger}
}

// Restore gives it what another life of it kept.
func (s *Sensor) Restore(f Flash) {
	s.with(func() {
		s.password = f.Password
		clear(s.library)
		maps.Copy(s.library, f.Library)
	})
}

// Lay lays a finger on the sensor.
func (s *Sensor) Lay(finger int) { s.with(func() { s.finger = finger }) }

// Lift takes the finger away.
func (s *Sensor) Lift() { s.with(func() { s.finger = NoFinger }) }

// Break makes the answers wrong; once restores the sensor after one answer.
func (s *Sensor) Break(f Fault, once bool) { s.with(func() { s.fault, s.once = f, once }) }

// Deny has an instruction answered with a code, and not carried out; fingerprint.OK
// has it carried out again.
func (s *Sensor) Deny(op fingerprint.Opcode, code fingerprint.Code) {
	s.with(func() {
		if s.denied == nil {
			s.denied = make(map[fingerprint.Opcode]fingerprint.Code)
		}
		if s.denied[op] = code; code == fingerprint.OK {
			delete(s.denied, op)
		}
	})
}

// PowerOff forgets what a sensor keeps in memory that needs power: images,
// features, and that the password was verified. The library and the password
// stay.
func (s *Sensor) PowerOff() { s.with(s.forget) }

// Library returns which finger is in which slot.
func (s *Sensor) Library() (fingers map[int]int) {
	s.with(func() { fingers = maps.Clone(s.library) })
	return fingers
}

// Password returns the password that it has now.
func (s *Sensor) Password() (p uint32) {
	s.with(func() { p = s.password })
	return p
}

// SetPassword gives it another password, as another program would.
func (s *Sensor) SetPassword(p uint32) { s.with(func() { s.password, s.verified = p, false }) }

// Light returns what the ring shows.
func (s *Sensor) Light() (l fingerprint.Light) {
	s.with(func() { l = s.light })
	return l
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
	before := Flash{maps.Clone(s.library), s.password}
	if s.unplugged {
		s.mu.Unlock()
		return nil
	}
	code, data := fingerprint.OK, []byte(nil)
	if c, denied := s.denied[op]; denied {
		code = c
	} else {
		code, data = s.carryOut(op, p.Payload[1:])
	}
	fault := s.fault
	if s.once {
		s.fault, s.once = None, false
	}
	now := Flash{maps.Clone(s.library), s.password}
	s.mu.Unlock()
	if s.opt.Changed != nil && (now.Password != before.Password || !maps.Equal(now.Library, before.Library)) {
		s.opt.Changed(now)
	}
	out := ack(append([]byte{byte(code)}, data...))
	if op == opSoftReset {
		out = append(out, handshake)
	}
	switch fault {
	case Silent:
		return nil
	case WrongSum:
		out[len(out)-1]++
	case HugeLength:
		binary.BigEndian.PutUint16(out[7:], 0xFFFF)
	case Garbage:
		garble(out)
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
