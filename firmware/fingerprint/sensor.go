package fingerprint

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/fengsui/fengsui/firmware/fingerprint/internal/zfm"
)

const (
	// DefaultAddress is the module address of a sensor that was never given
	// another one (R503 user manual 1.2.2, chapter IV).
	DefaultAddress = 0xFFFFFFFF
	// DefaultTimeout bounds one exchange. Capture and search take less than a
	// second each on every sensor of the family.
	DefaultTimeout = 2 * time.Second

	// maxReply is more than any acknowledgement that we ask for: a longer packet
	// is noise or a data packet, and is not waited for.
	maxReply = 64
	// grace is how long an answer is still awaited after damaged bytes came,
	// which most likely were the answer.
	grace = 150 * time.Millisecond
	// pause is the wait after a Read that returned nothing, for ports whose Read
	// does not wait by itself.
	pause = 5 * time.Millisecond
	// connectTries is how often Connect starts over: an answer to an earlier
	// program's command may still be in the line.
	connectTries = 2
)

// Parameters are what a sensor says of itself (ReadSysPara).
type Parameters struct {
	Status     uint16 // status register: bit 0 busy, 1 finger matched, 2 password verified, 3 image in the buffer
	System     uint16 // system identifier code
	Library    int    // number of slots, numbered from 0
	Security   int    // matching threshold of the sensor, 1 (loose) to 5 (strict)
	Address    uint32 // module address
	PacketSize int    // bytes in a data packet: 32, 64, 128 or 256; 0: unknown code
	Baud       int    // baud rate that the sensor is set to
}

// A Match is a finger that the sensor found in its library.
type Match struct {
	Slot  int // the template's number, 0 to Parameters.Library-1
	Score int // the sensor's match score, 0 to 65535; its scale is the maker's
}

// Stats count what came over the line and was no answer, since New.
type Stats struct {
	Stray   uint64 // well-formed packets that answered nothing
	Damaged uint64 // packets with a wrong sum, length or identifier
	Skipped uint64 // bytes that belonged to no packet
}

// A Sensor talks to a sensor through a port. Its methods are for one
// goroutine; Close alone may be called from any.
type Sensor struct {
	address  uint32
	password uint32
	timeout  time.Duration

	port    io.ReadWriteCloser // written by send, read by pump, closed by Close, named nowhere else
	in      chan []byte        // from pump; closed when reading ended
	readErr error              // why reading ended; read it only after in was closed
	closed  chan struct{}
	close   func() error

	// The rest is only touched by the goroutine that calls the methods.
	dec    zfm.Decoder
	behind bool       // answers to earlier commands may still come
	params Parameters // as of the last ReadSysPara
	stats  Stats
}

// New takes over a port and starts to read it. Close ends that, and closes the
// port; closing must end a Read in progress, as it does for serial ports,
// terminals and connections. Of the options, Address, Password and Timeout
// matter here.
func New(port io.ReadWriteCloser, opt Options) *Sensor {
	opt = opt.withDefaults()
	s := &Sensor{
		address:  opt.Address,
		password: opt.Password,
		timeout:  opt.Timeout,
		port:     port,
		in:       make(chan []byte, 16),
		closed:   make(chan struct{}),
		dec:      zfm.Decoder{MaxPayload: maxReply},
		behind:   true, // who knows what ran here before us
	}
	s.close = sync.OnceValue(func() error {
		close(s.closed)
		return s.port.Close()
	})
	go s.pump()
	return s
}

// Close closes the port and waits until nothing reads it any more. It is
// idempotent.
func (s *Sensor) Close() error {
	err := s.close()
	for range s.in { // until pump has ended
	}
	return err
}

// pump reads the port until it fails, whether its Read waits for ever or
// returns 0, nil after a while.
func (s *Sensor) pump() {
	defer close(s.in)
	wait := time.NewTimer(pause)
	defer wait.Stop()
	for {
		buf := make([]byte, 64)
		n, err := s.port.Read(buf)
		if n > 0 {
			select {
			case s.in <- buf[:n]:
			case <-s.closed:
				s.readErr = io.ErrClosedPipe
				return
			}
		}
		if err != nil {
			s.readErr = err
			return
		}
		if n == 0 {
			wait.Reset(pause)
			select {
			case <-wait.C:
			case <-s.closed: // whatever the port goes on to say
				s.readErr = io.ErrClosedPipe
				return
			}
		}
	}
}

// Connect verifies the password and reads the system parameters, which also
// shows that the sensor answers in step with our commands. It is the first
// thing to do with a sensor. Errors are *Error and wrap a Code (ErrPassword),
// ErrTimeout, ErrPort, ErrAnswer or the context's error.
func (s *Sensor) Connect(ctx context.Context) (Parameters, error) {
	var err error
	for range connectTries {
		if err = s.VerifyPassword(ctx); err == nil {
			if err = s.catchUp(ctx); err == nil {
				return s.params, nil
			}
		}
		if ctx.Err() != nil || errors.Is(err, ErrPort) || errors.Is(err, ErrPassword) {
			break
		}
	}
	return Parameters{}, err
}

// VerifyPassword shows the password to the sensor. A sensor without a password
// takes 0. The error wraps ErrPassword when it is wrong.
func (s *Sensor) VerifyPassword(ctx context.Context) error {
	// Before the password is verified the sensor may refuse to read its
	// parameters, so this one instruction is not preceded by catchUp.
	_, err := s.exchange(ctx, OpVfyPwd, binary.BigEndian.AppendUint32(nil, s.password), false)
	return err
}

// TemplateCount returns how many templates the library holds.
func (s *Sensor) TemplateCount(ctx context.Context) (int, error) {
	b, err := s.do(ctx, OpTemplateCount)
	if err != nil {
		return 0, err
	}
	return int(binary.BigEndian.Uint16(b)), nil
}

// GenImg captures an image of the finger into the sensor's image buffer. The
// error wraps ErrNoFinger when there is none. On an R503 a capture also spoils
// the feature files, so nothing may come between Img2Tz and Search.
func (s *Sensor) GenImg(ctx context.Context) error {
	_, err := s.do(ctx, OpGenImg)
	return err
}

// Img2Tz makes a feature file of the image in feature buffer 1 or 2. The error
// wraps ErrDisordered, ErrFewFeatures or another Code when the image is bad.
func (s *Sensor) Img2Tz(ctx context.Context, buffer byte) error {
	_, err := s.do(ctx, OpImg2Tz, buffer)
	return err
}

// Search searches the whole library for the feature file in a feature buffer.
// The error wraps ErrNotFound when nothing matches, ErrSlotRange when the
// sensor names a slot that it cannot have, and ErrUnsolicited when there were
// more answers than commands: then it cannot be known which one is meant.
// Connect must have been called before.
func (s *Sensor) Search(ctx context.Context, buffer byte) (Match, error) {
	stray := s.stats.Stray
	args := []byte{buffer, 0, 0}
	args = binary.BigEndian.AppendUint16(args, uint16(s.params.Library))
	b, err := s.do(ctx, OpSearch, args...)
	if err != nil {
		return Match{}, err
	}
	m := Match{Slot: int(binary.BigEndian.Uint16(b)), Score: int(binary.BigEndian.Uint16(b[2:]))}
	// A match lets somebody in: believe it only if it was the only answer.
	if err := s.catchUp(ctx); err != nil {
		return m, err
	}
	if n := s.stats.Stray - stray; n > 0 {
		return m, &Error{OpSearch, fmt.Errorf("%w: %d besides slot %d, score %d", ErrUnsolicited, n, m.Slot, m.Score)}
	}
	if m.Slot >= s.params.Library {
		return m, &Error{OpSearch, fmt.Errorf("%w: slot %d: want 0 to %d", ErrSlotRange, m.Slot, s.params.Library-1)}
	}
	return m, nil
}

// Stats returns the counts of what was no answer.
func (s *Sensor) Stats() Stats {
	st := s.stats
	st.Skipped += s.dec.Skipped()
	return st
}

// do is an exchange that starts in step with the sensor. It returns what
// follows the confirmation code.
func (s *Sensor) do(ctx context.Context, op Opcode, args ...byte) ([]byte, error) {
	if s.behind {
		if err := s.catchUp(ctx); err != nil {
			return nil, err
		}
	}
	return s.exchange(ctx, op, args, false)
}

// catchUp brings us in step with the sensor: answers carry no number, but a
// sensor answers in order, and the answer to ReadSysPara has a length of its
// own. Whatever comes before it answers earlier commands, or nothing.
func (s *Sensor) catchUp(ctx context.Context) error {
	b, err := s.exchange(ctx, OpReadSysPara, nil, true)
	if err != nil {
		return err
	}
	p := Parameters{
		Status:   binary.BigEndian.Uint16(b),
		System:   binary.BigEndian.Uint16(b[2:]),
		Library:  int(binary.BigEndian.Uint16(b[4:])),
		Security: int(binary.BigEndian.Uint16(b[6:])),
		Address:  binary.BigEndian.Uint32(b[8:]),
		Baud:     int(binary.BigEndian.Uint16(b[14:])) * 9600,
	}
	if size := binary.BigEndian.Uint16(b[12:]); size <= 3 {
		p.PacketSize = 32 << size
	}
	if p.Library == 0 {
		return &Error{OpReadSysPara, fmt.Errorf("%w: library of 0 slots: want at least 1", ErrAnswer)}
	}
	s.params = p
	return nil
}

// exchange sends an instruction and waits for its acknowledgement, in all for
// at most the timeout. It returns what follows the confirmation code OK. Strict
// means that only an acknowledgement of full length is an answer; otherwise
// one that is only a code other than OK is too.
func (s *Sensor) exchange(ctx context.Context, op Opcode, args []byte, strict bool) ([]byte, error) {
	s.drain()
	limited, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	s.behind = s.behind || op.Allowed()
	if err := s.send(limited, op, args); err != nil {
		return nil, &Error{op, s.cause(ctx, err)}
	}
	shape, _ := op.shape()
	var seen error // what came instead of an answer
	for {
		p, err := s.receive(limited, &seen)
		if err != nil {
			if errors.Is(err, context.DeadlineExceeded) {
				err = ErrTimeout
			}
			if seen != nil {
				err = fmt.Errorf("%w: %w", err, seen)
			}
			return nil, &Error{op, s.cause(ctx, err)}
		}
		n := len(p.Payload)
		if p.PID != zfm.Ack || p.Address != s.address || n == 0 || n != shape.reply && (strict || n != 1 || Code(p.Payload[0]) == OK) {
			s.stats.Stray++
			seen = stray(p, s.address)
			continue
		}
		s.behind = false
		if c := Code(p.Payload[0]); c != OK {
			return nil, &Error{op, c}
		}
		return p.Payload[1:], nil
	}
}

// cause prefers the caller's own reason to stop.
func (s *Sensor) cause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

func stray(p zfm.Packet, want uint32) error {
	switch {
	case p.Address != want:
		return fmt.Errorf("%w: from address %08X: want %08X", ErrUnsolicited, p.Address, want)
	case p.PID != zfm.Ack || len(p.Payload) == 0:
		return fmt.Errorf("%w: packet 0x%02X of %d bytes", ErrUnsolicited, byte(p.PID), len(p.Payload))
	}
	// The code is told but not wrapped: it is not what became of our instruction.
	return fmt.Errorf("%w: acknowledgement of %d bytes, %s", ErrUnsolicited, len(p.Payload), Code(p.Payload[0]).Error())
}

// send is the only way to write to a sensor, and what is not on the allow-list
// does not get past its first lines. A Write that blocks is ended by closing
// the port when ctx ends: nothing else ends it.
func (s *Sensor) send(ctx context.Context, op Opcode, args []byte) error {
	shape, ok := op.shape()
	if !ok {
		return fmt.Errorf("%w: 0x%02X", ErrForbidden, byte(op))
	}
	if len(args) != shape.args {
		return fmt.Errorf("%w: %d argument bytes: want %d", ErrForbidden, len(args), shape.args)
	}
	b, err := zfm.Packet{Address: s.address, PID: zfm.Command, Payload: append([]byte{byte(op)}, args...)}.Append(nil)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { s.close() })
	_, err = s.port.Write(b)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrPort, err)
	}
	return nil
}

// receive returns the next well-formed packet. After damaged bytes it waits for
// only a little longer; *damage then says what was wrong with them.
func (s *Sensor) receive(ctx context.Context, damage *error) (zfm.Packet, error) {
	var late <-chan time.Time
	for {
		p, err := s.dec.Next()
		switch {
		case err == nil:
			return p, nil
		case !errors.Is(err, zfm.ErrIncomplete):
			if late == nil {
				late = time.After(grace)
			}
			s.stats.Damaged++
			*damage = err
			continue
		}
		select {
		case b, ok := <-s.in:
			if !ok {
				return zfm.Packet{}, fmt.Errorf("%w: %w", ErrPort, s.readErr)
			}
			s.dec.Feed(b)
		case <-late:
			return zfm.Packet{}, context.DeadlineExceeded
		case <-ctx.Done():
			return zfm.Packet{}, ctx.Err()
		}
	}
}

// drain drops what has come since the last exchange: it answers nothing that
// will be asked. Packets among it are counted.
func (s *Sensor) drain() {
	for {
		select {
		case b, ok := <-s.in:
			if ok {
				s.dec.Feed(b)
				continue
			}
		default:
		}
		break
	}
	for {
		switch _, err := s.dec.Next(); {
		case err == nil:
			s.stats.Stray++
		case errors.Is(err, zfm.ErrIncomplete):
			s.stats.Skipped += uint64(s.dec.Reset())
			return
		default:
			s.stats.Damaged++
		}
	}
}
