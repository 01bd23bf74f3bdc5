package gps

import (
	"context"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fengsui/fengsui/boards/strictyaml"
)

//go:embed receivers.yaml
var receiversYAML []byte

// A Receiver is what receivers.yaml says of one.
type Receiver struct {
	Manual string          `yaml:"manual" required:"true"`
	Ack    string          `yaml:"ack" oneof:"each|none"`
	Baud   []int           `yaml:"baud" required:"true"` // of the factory
	Setup  []Command       `yaml:"setup" required:"true"`
	Rate   map[int]Command `yaml:"rate" required:"true"`  // by fixes a second
	Speed  map[int]Command `yaml:"speed" required:"true"` // by baud
}

// A Command is one message to a receiver: either UBX or NMEA.
type Command struct {
	UBX     Hex    `yaml:"ubx"`  // class, id, payload
	NMEA    string `yaml:"nmea"` // between $ and *
	Section string `yaml:"section" required:"true"`
}

// A Hex is bytes, written as hexadecimal digits with spaces.
type Hex []byte

// UnmarshalText parses the digits.
func (h *Hex) UnmarshalText(b []byte) (err error) {
	*h, err = hex.DecodeString(strings.Join(strings.Fields(string(b)), ""))
	if err != nil || len(*h) < 2 {
		return errors.New("a UBX class, id and payload in hexadecimal")
	}
	return nil
}

// Bytes returns the message as it is sent, with its checksum.
func (c Command) Bytes() []byte {
	if len(c.UBX) == 0 {
		return fmt.Appendf(nil, "$%s*%02X\r\n", c.NMEA, checksum(c.NMEA))
	}
	n := len(c.UBX) - 2 // UBX-13003221, "UBX Frame Structure"
	b := []byte{0xb5, 0x62, c.UBX[0], c.UBX[1], byte(n), byte(n >> 8)}
	b = append(b, c.UBX[2:]...)
	x, y := fletcher(b[2:])
	return append(b, x, y)
}

// id is how an answer names the command.
func (c Command) id() string {
	if len(c.UBX) > 0 {
		return hex.EncodeToString(c.UBX[:2])
	}
	name, _, _ := strings.Cut(c.NMEA, ",")
	return name
}

type receivers struct {
	Receivers map[string]*Receiver `yaml:"receivers" required:"true"`
}

// Validate checks that each command is one message.
func (r *receivers) Validate(rep *strictyaml.Report) {
	for name, v := range r.Receivers {
		all := slices.Concat(v.Setup, slices.Collect(maps.Values(v.Rate)), slices.Collect(maps.Values(v.Speed)))
		for _, c := range all {
			if (c.NMEA == "") == (len(c.UBX) == 0) {
				rep.Add("receivers."+name, c.Section, "a command with either ubx or nmea")
			}
		}
	}
}

var shipped = sync.OnceValue(func() map[string]*Receiver {
	r := new(receivers)
	if err := strictyaml.Decode("receivers.yaml", receiversYAML, r); err != nil {
		panic(err) // a test reads the same bytes
	}
	return r.Receivers
})

// Receivers returns the names of the receivers that can be set up.
func Receivers() []string { return slices.Sorted(maps.Keys(shipped())) }

// ReceiverByName returns one of [Receivers], or nil.
func ReceiverByName(name string) *Receiver { return shipped()[name] }

// Rates returns the fixes a second that the receiver can be set to.
func (r *Receiver) Rates() []int { return slices.Sorted(maps.Keys(r.Rate)) }

// Speeds returns the baud rates that the receiver can be set to.
func (r *Receiver) Speeds() []int { return slices.Sorted(maps.Keys(r.Speed)) }

// Commands returns what the receiver is told at the start, in order.
func (r *Receiver) Commands(rate int) []Command {
	out := slices.Clone(r.Setup)
	if c, ok := r.Rate[rate]; ok {
		out = append(out, c)
	}
	return out
}

const (
	answerWithin = 1200 * time.Millisecond
	tries        = 3
	apart        = 150 * time.Millisecond // of commands that nothing answers
)

// SetUp sends the commands on a port whose answers somebody else hears (see
// [NewListener]) and passes on in answers. Each is sent again until it is
// answered, three times at most; a receiver that answers nothing is sent each
// once. It returns the commands that were refused or not answered, those of
// them that the receiver understood none the less having done their work. The
// error is that of the port, or of ctx.
func (r *Receiver) SetUp(ctx context.Context, w io.Writer, rate int, answers <-chan Answer) (failed []Command, err error) {
	for _, c := range r.Commands(rate) {
		ok, err := r.send(ctx, w, c, answers)
		if err != nil {
			return failed, err
		}
		if !ok {
			failed = append(failed, c)
		}
	}
	return failed, nil
}

func (r *Receiver) send(ctx context.Context, w io.Writer, c Command, answers <-chan Answer) (bool, error) {
	for range tries {
		if _, err := w.Write(c.Bytes()); err != nil {
			return false, fmt.Errorf("gps: %s: %w", c.Section, err)
		}
		if r.Ack == "none" {
			return true, wait(ctx, apart)
		}
		t := time.NewTimer(answerWithin)
		for late := false; !late; {
			select {
			case a := <-answers:
				if a.To == c.id() {
					t.Stop()
					return a.OK, nil
				}
			case <-t.C:
				late = true
			case <-ctx.Done():
				t.Stop()
				return false, ctx.Err()
			}
		}
	}
	return false, nil
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// ErrMute means that a receiver is heard at no speed.
var ErrMute = errors.New("gps: nothing is heard at any speed: is the receiver's TX on our RX, and has it power?")

// listenFor is how long a receiver is listened to at one speed: all say
// something each second.
const listenFor = 2500 * time.Millisecond

// Hurry finds a receiver at one of the speeds that it may have as it comes from
// the factory, and sets it to another. The function open opens its port at a
// speed; each port is closed again. It returns the speed at which it was found;
// the error wraps [ErrMute] where it was not.
func (r *Receiver) Hurry(ctx context.Context, open func(ctx context.Context, baud int) (io.ReadWriteCloser, error), to int) (found int, err error) {
	for _, baud := range r.Baud {
		if baud == to {
			continue
		}
		port, err := open(ctx, baud)
		if err != nil {
			return 0, err
		}
		heard := Hears(ctx, port, listenFor)
		if heard {
			_, err = port.Write(r.Speed[to].Bytes())
			err = errors.Join(err, wait(ctx, apart)) // until it is out of our buffers
		}
		err = errors.Join(err, port.Close())
		switch {
		case err != nil:
			return 0, fmt.Errorf("gps: %w", err)
		case heard:
			return baud, nil
		case ctx.Err() != nil:
			return 0, ctx.Err()
		}
	}
	return 0, ErrMute
}

// Hears reports whether a sentence whose checksum is right comes within a
// while. It closes the port when the while is over and a Read still waits.
func Hears(ctx context.Context, port io.ReadCloser, within time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	var heard atomic.Bool
	defer context.AfterFunc(ctx, func() { port.Close() })()
	d := NewListener(&untilReader{port, func() bool { return heard.Load() || ctx.Err() != nil }}, func(h Heard) {
		if h.Sentence != "" {
			heard.Store(true)
		}
	})
	for {
		if _, err := d.Next(); err != nil {
			return heard.Load()
		}
	}
}

// An untilReader ends when it is over.
type untilReader struct {
	r    io.Reader
	over func() bool
}

func (u *untilReader) Read(p []byte) (int, error) {
	if u.over() {
		return 0, io.EOF
	}
	return u.r.Read(p)
}
