// Package modem drives a cellular modem by AT commands (3GPP TS 27.007 and
// 27.005): its SIM, its network, how well that is received, and SMS of 8-bit
// data in both directions. The AT engine is github.com/warthog618/modem.
//
// It opens no port (firmware/internal/hw does), makes no data connection (the
// system does: PPP, ECM or RNDIS), and knows nothing of what the messages say.
// Whatever else comes to the SIM is deleted unread, so that its few places stay
// free.
package modem

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/warthog618/modem/at"
	"github.com/warthog618/modem/gsm"
)

// Errors of a modem.
var (
	// ErrLost means that the modem does not answer, or its port is gone.
	ErrLost = errors.New("the modem is lost")
	// ErrNoSIM means that there is no SIM, or that it has failed.
	ErrNoSIM = errors.New("no SIM")
	// ErrPIN means that the SIM wants a PIN that is not configured, or refused
	// the one that is.
	ErrPIN = errors.New("the SIM wants another PIN")
	// ErrPUK means that the SIM is locked: its owner's PUK unlocks it.
	ErrPUK = errors.New("the SIM is locked and wants its PUK")
	// ErrNotRegistered means that no network has taken the modem.
	ErrNotRegistered = errors.New("not registered with a network")
	// ErrRefused means that the modem or the network refused a message; the
	// error says how.
	ErrRefused = errors.New("SMS refused")
)

// The states of a SIM.
const (
	SIMReady  = "ready"
	SIMAbsent = "absent" // none, or it has failed
	SIMPIN    = "pin"    // it wants a PIN
	SIMPUK    = "puk"    // it is locked
)

// A State is what a modem last said.
type State struct {
	SIM        string // one of the constants above; "": not known yet
	Registered bool
	Roaming    bool   // with a network that is not the SIM's own
	Operator   string // by name, or by number where it has none
	RAT        string // "gsm", "umts", "lte", "nr"; "": not known
	SignalDBm  int    // received power; 0: not known
}

// Err says what keeps the modem from sending, or nil.
func (s *State) Err() error {
	switch {
	case s.SIM == SIMAbsent:
		return ErrNoSIM
	case s.SIM == SIMPIN:
		return ErrPIN
	case s.SIM == SIMPUK:
		return ErrPUK
	case !s.Registered:
		return ErrNotRegistered
	}
	return nil
}

// Options describe a modem's use. The callbacks run on Run's goroutine and
// must not block for long; each may be nil.
type Options struct {
	PIN     string // of the SIM; "": none is given to it
	Log     *slog.Logger
	OnState func(State) // after each look at the modem
	// OnSMS takes a message of 8-bit data; it is deleted from the SIM when OnSMS
	// has returned true, and comes again otherwise.
	OnSMS func(number string, data []byte) bool
	// PINs remembers the tries of the PIN beyond this Modem; nil: nothing does.
	PINs PINs
}

// PINs remembers which SIM was given a PIN that it did not accept: the third
// that is wrong locks a SIM, and only its owner's PUK unlocks it. A card is the
// SIM's number (ICCID), "" where the modem does not tell it.
type PINs interface {
	// May reports whether the PIN may be given to a card.
	May(card string) bool
	// Giving is called before it is given, Accepted and Refused when that is known.
	Giving(card string)
	Accepted(card string)
	Refused(card string)
}

// The times of the driver.
const (
	answerWithin = 5 * time.Second  // of a command
	pinWithin    = 20 * time.Second // of a PIN: the SIM itself answers
	sendWithin   = 60 * time.Second // of a message, with its way to the network
	lookEvery    = 30 * time.Second
	lookSoon     = 5 * time.Second // while something is amiss
	simWithin    = 15 * time.Second
	most         = 3 // commands in a row that are not answered
)

// A Modem is driven by Run, again and again when its port is opened anew. Make
// it with New.
type Modem struct {
	o       Options
	log     *slog.Logger
	outbox  chan message
	state   atomic.Pointer[State]
	refused map[string]bool // the cards that did not accept the PIN; only touched by Run
}

type message struct {
	number string
	data   []byte
	done   chan error
}

// New returns a modem that does nothing until Run.
func New(o Options) *Modem {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	m := &Modem{o: o, log: o.Log, outbox: make(chan message), refused: make(map[string]bool)}
	m.state.Store(&State{})
	return m
}

// State returns what the modem last said; any goroutine may ask. It is zero
// while none answers.
func (m *Modem) State() State { return *m.state.Load() }

// Send sends one SMS of 8-bit data and returns when the network has taken it.
// The error wraps [ErrRefused], one of those of [State.Err], [ErrLost], or that
// of ctx, in which case it may have been sent.
func (m *Modem) Send(ctx context.Context, number string, data []byte) error {
	if len(data) == 0 || len(data) > maxData {
		return fmt.Errorf("SMS of %d bytes: want 1 to %d", len(data), maxData)
	}
	msg := message{number, data, make(chan error, 1)}
	select {
	case m.outbox <- msg:
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrLost, ctx.Err())
	}
	select {
	case err := <-msg.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// A session is one use of a port. Its goroutine is Run's.
type session struct {
	*Modem
	gsm      *gsm.GSM
	incoming chan struct{} // the SIM has a message
	direct   chan []string // a message that did not go to the SIM
	missed   int           // commands in a row that were not answered
	garbled  map[int]int   // how often a message at a place of the SIM could not be read
	told     State
}

// Run drives a modem on an open port until ctx ends or the modem is lost, and
// closes the port. The error wraps [ErrLost], or is nil after ctx ended.
func (m *Modem) Run(ctx context.Context, port io.ReadWriteCloser) error {
	engine := at.New(patient{port}, at.WithTimeout(answerWithin))
	defer func() {
		m.state.Store(&State{})
		port.Close()
		<-engine.Closed() // its goroutines are gone with the port
	}()
	s := &session{
		Modem: m, gsm: gsm.New(engine, gsm.WithNumericErrors),
		incoming: make(chan struct{}, 1), direct: make(chan []string, 16), garbled: make(map[int]int),
	}
	// The engine cannot be interrupted, but its port can be closed.
	defer context.AfterFunc(ctx, func() { port.Close() })()
	err := s.run(ctx)
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrLost, err)
}

// patient reads until something comes: a port whose Read returns nothing from
// time to time must not look as if it were broken.
type patient struct{ io.ReadWriter }

func (p patient) Read(b []byte) (n int, err error) {
	for n == 0 && err == nil && len(b) > 0 {
		n, err = p.ReadWriter.Read(b)
	}
	return n, err
}

func (s *session) run(ctx context.Context) error {
	if err := s.start(); err != nil {
		return err
	}
	next := time.NewTimer(0) // the first look
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.gsm.Closed():
			return io.ErrUnexpectedEOF
		case info := <-s.direct:
			s.received(info)
		case <-s.incoming:
			if err := s.collect(); err != nil {
				return err
			}
		case msg := <-s.outbox:
			err := s.send(msg)
			msg.done <- err
			if errors.Is(err, ErrLost) {
				return err
			}
		case <-next.C:
			if err := s.look(ctx); err != nil {
				return err
			}
			every := lookEvery
			if s.told.Err() != nil {
				every = lookSoon
			}
			next.Reset(every)
		}
	}
}

// start brings the modem into a known state.
func (s *session) start() error {
	err := s.gsm.AddIndication("+CMTI:", func([]string) { s.poke() })
	if err == nil {
		err = s.gsm.AddIndication("+CMT:", func(info []string) {
			select {
			case s.direct <- info:
			default: // the sender says it again
			}
		}, at.WithTrailingLine)
	}
	if err != nil {
		return err
	}
	return s.reset()
}

// reset turns echo off and has errors told by number. A modem that is in the
// middle of something may miss the first command.
func (s *session) reset() error {
	for try := 0; ; try++ {
		err := s.gsm.AT.Init(at.WithCmds("Z", "E0"))
		if err == nil {
			break
		}
		if try == 2 || errors.Is(err, at.ErrClosed) {
			return err
		}
	}
	return s.must("+CMEE=1")
}

func (s *session) poke() {
	select {
	case s.incoming <- struct{}{}:
	default:
	}
}

// must gives a command that every modem takes.
func (s *session) must(cmd string) error {
	_, err := s.ask(cmd)
	return err
}

// ask gives a command. The error is the modem's refusal, or wraps [ErrLost]
// once it has not answered several times.
func (s *session) ask(cmd string, options ...at.CommandOption) ([]string, error) {
	info, err := s.gsm.Command(cmd, options...)
	return info, s.judge(cmd, err)
}

func (s *session) judge(cmd string, err error) error {
	switch {
	case errors.Is(err, at.ErrClosed):
		return fmt.Errorf("%w: its port is closed", ErrLost)
	case errors.Is(err, at.ErrDeadlineExceeded):
		if s.missed++; s.missed >= most {
			return fmt.Errorf("%w: %d commands are not answered, the last was AT%s", ErrLost, s.missed, cmd)
		}
		return fmt.Errorf("AT%s: %w", cmd, err)
	}
	s.missed = 0
	if err != nil {
		return fmt.Errorf("AT%s: %w", cmd, err)
	}
	return nil
}
