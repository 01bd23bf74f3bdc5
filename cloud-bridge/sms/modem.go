package sms

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/warthog618/modem/at"
	"github.com/warthog618/modem/gsm"
	"github.com/warthog618/sms/encoding/pdumode"
	"github.com/warthog618/sms/encoding/tpdu"
	"go.bug.st/serial"

	"github.com/fengsui/fengsui/cloud-bridge/store"
)

// errModem means that the modem does not answer, or refuses what it must do.
var errModem = errors.New("modem")

const (
	lookEvery = 10 * time.Second // at the SIM; an indication of a new message makes it look at once
	sendLimit = 60 * time.Second // of an SMS
	reopen    = 5 * time.Second
	garbleds  = 3 // looks at a message that cannot be read, before it is deleted
)

// A Modem is the centre's own, behind a serial port.
type Modem struct {
	Open func(ctx context.Context) (io.ReadWriteCloser, error)
	// PIN is that of its SIM; it is given each time that the modem asks, and to a
	// SIM that did not accept it never again.
	PIN string
	// Tries is the file that remembers which did not; "": nothing does beyond this
	// process.
	Tries string
}

// Serial returns what opens a serial port.
func Serial(path string, baud int) func(ctx context.Context) (io.ReadWriteCloser, error) {
	return func(context.Context) (io.ReadWriteCloser, error) {
		p, err := serial.Open(path, &serial.Mode{BaudRate: baud, DataBits: 8, Parity: serial.NoParity, StopBits: serial.OneStopBit})
		if err != nil {
			return nil, fmt.Errorf("serial port %s: %w", path, err)
		}
		return &guarded{ReadWriteCloser: p}, nil
	}
}

// guarded keeps a Write from a port that is being closed: the library writes
// without looking, and the number of the port's descriptor may by then be that
// of another file, such as the database.
type guarded struct {
	io.ReadWriteCloser
	mu     sync.Mutex
	closed bool
}

func (g *guarded) Write(b []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return 0, io.ErrClosedPipe
	}
	return g.ReadWriteCloser.Write(b)
}

func (g *guarded) Close() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return nil
	}
	g.closed = true
	return g.ReadWriteCloser.Close()
}

// outgoing is a message for the modem.
type outgoing struct {
	number string
	data   []byte
	done   chan error
}

// modem is one use of the port.
type modem struct {
	*Desk
	gsm     *gsm.GSM
	comes   chan struct{} // a message
	out     chan outgoing
	garbled map[int]int
}

// RunModem takes alarms from a modem and answers them until ctx ends. The port
// is opened again when it fails.
func (d *Desk) RunModem(ctx context.Context, m Modem) {
	out := make(chan outgoing)
	d.route(store.RouteModem, func(ctx context.Context, number string, data []byte) error {
		ctx, cancel := context.WithTimeout(ctx, sendLimit)
		defer cancel()
		o := outgoing{number, data, make(chan error, 1)}
		select {
		case out <- o:
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", errModem, ctx.Err())
		}
		select {
		case err := <-o.done:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	said := ""
	pins := newTries(m.PIN, m.Tries, d.o.Log)
	d.modemIs(ModemLost)
	for {
		state, err := d.useModem(ctx, &m, pins, out)
		if ctx.Err() != nil {
			return
		}
		d.modemIs(state)
		if s := err.Error(); s != said { // not at every try
			said = s
			d.o.Log.Error("the SMS modem is lost", "error", err)
		}
		if !sleep(ctx, reopen) {
			return
		}
	}
}

// useModem opens the port and uses it until it fails or ctx ends; the state is
// what is then known of the modem.
func (d *Desk) useModem(ctx context.Context, m *Modem, pins *tries, out chan outgoing) (ModemState, error) {
	port, err := m.Open(ctx)
	if err != nil {
		return ModemLost, err
	}
	engine := at.New(patient{port}, at.WithTimeout(5*time.Second))
	defer func() { port.Close(); <-engine.Closed() }()
	defer context.AfterFunc(ctx, func() { port.Close() })() // which is what ends a command
	s := &modem{Desk: d, gsm: gsm.New(engine, gsm.WithNumericErrors), comes: make(chan struct{}, 1), out: out, garbled: make(map[int]int)}
	if state, err := s.start(ctx, pins); err != nil {
		return state, fmt.Errorf("%w: %w", errModem, err)
	}
	d.o.Log.Info("the SMS modem is ready")
	look := time.NewTimer(0)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return ModemLost, nil
		case <-engine.Closed():
			return ModemLost, fmt.Errorf("%w: its port is closed", errModem)
		case o := <-out:
			o.done <- s.submit(o.number, o.data)
			continue
		case <-s.comes:
		case <-look.C:
			look.Reset(lookEvery)
			if err := s.restarted(); err != nil {
				return ModemLost, fmt.Errorf("%w: %w", errModem, err)
			}
			d.modemIs(s.network())
		}
		if err := s.collect(ctx); err != nil {
			return ModemLost, fmt.Errorf("%w: %w", errModem, err)
		}
	}
}

// patient reads until something comes.
type patient struct{ io.ReadWriter }

func (p patient) Read(b []byte) (n int, err error) {
	for n == 0 && err == nil && len(b) > 0 {
		n, err = p.ReadWriter.Read(b)
	}
	return n, err
}

// start brings the modem to where it keeps messages and tells of them
// (3GPP TS 27.005, 3.2.3 and 3.4.1). The state tells why it does not get there.
func (s *modem) start(ctx context.Context, pins *tries) (ModemState, error) {
	if err := s.gsm.AddIndication("+CMTI:", func([]string) {
		select {
		case s.comes <- struct{}{}:
		default:
		}
	}); err != nil {
		return ModemLost, err
	}
	if err := s.gsm.AT.Init(at.WithCmds("Z", "E0")); err != nil {
		return ModemLost, err
	}
	if _, err := s.gsm.Command("+CMEE=1"); err != nil {
		return ModemLost, fmt.Errorf("AT+CMEE: %w", err)
	}
	if state, err := s.unlock(ctx, pins); err != nil {
		return state, err
	}
	for _, cmd := range []string{"+CMGF=0", "+CNMI=2,1,0,0,0"} {
		if _, err := s.gsm.Command(cmd); err != nil {
			return ModemLost, fmt.Errorf("AT%s: %w", cmd, err)
		}
	}
	return ModemReady, nil
}

func (s *modem) submit(number string, data []byte) error {
	tp, err := tpdu.NewSubmit(tpdu.WithDA(tpdu.NewAddress(tpdu.FromNumber(number))), tpdu.Dcs8BitData)
	if err != nil {
		return err
	}
	tp.SetUD(data)
	b, err := tp.MarshalBinary()
	if err != nil {
		return fmt.Errorf("SMS to %q: %w", number, err)
	}
	_, err = s.gsm.SendPDU(b, at.WithTimeout(sendLimit/2))
	return err
}

// collect takes all messages that the SIM has. One is deleted when it is stored
// and answered, or refused; one that the centre cannot store stays there.
func (s *modem) collect(ctx context.Context) error {
	info, err := s.gsm.Command("+CMGL=4")
	if err != nil {
		return fmt.Errorf("AT+CMGL: %w", err)
	}
	for i, line := range info {
		list, ok := strings.CutPrefix(line, "+CMGL:")
		if !ok {
			continue
		}
		f := strings.Split(list, ",")
		place, err := strconv.Atoi(strings.TrimSpace(f[0]))
		if err != nil {
			continue
		}
		sender, data, whole := find(info[i+1:], strings.TrimSpace(f[len(f)-1]))
		if !whole {
			if s.garbled[place]++; s.garbled[place] < garbleds { // noise: it may read better
				continue
			}
		} else if data != nil {
			answer, err := s.Take(ctx, store.RouteModem, sender, data)
			if err != nil && !errors.Is(err, ErrRefused) {
				s.o.Log.Error("SMS not stored; it stays on the SIM", "error", err)
				continue
			}
			if err == nil {
				_ = s.answer(sender, answer) // counted and logged; the device asks again
			}
		}
		delete(s.garbled, place)
		if _, err := s.gsm.Command("+CMGD=" + strconv.Itoa(place)); err != nil {
			return fmt.Errorf("AT+CMGD: %w", err)
		}
	}
	return nil
}

// answer sends from the goroutine that has the modem.
func (s *modem) answer(number string, data []byte) error {
	err := s.submit(number, data)
	result := "sent"
	if err != nil {
		result = "failed"
		s.o.Log.Warn("SMS not sent", "route", store.RouteModem, "to", number, "error", err)
	}
	s.answered.WithLabelValues(store.RouteModem, result).Inc()
	return err
}

// find returns the message behind a line of +CMGL. It is whole when it is as
// long as that says; data is nil when it is none of 8-bit data in one part.
func find(info []string, length string) (sender string, data []byte, whole bool) {
	for _, line := range info {
		if strings.HasPrefix(line, "+CMGL") {
			break
		}
		p, err := pdumode.UnmarshalHexString(strings.TrimSpace(line))
		if err != nil || strconv.Itoa(len(p.TPDU)) != length {
			continue
		}
		var tp tpdu.TPDU // from the network: SMS-DELIVER
		if tp.UnmarshalBinary(p.TPDU) != nil || tp.SmsType() != tpdu.SmsDeliver {
			return "", nil, true
		}
		if a, err := tp.Alphabet(); err != nil || a != tpdu.Alpha8Bit || len(tp.UDH) > 0 {
			return "", nil, true
		}
		return tp.OA.Number(), tp.UD, true
	}
	return "", nil, false
}
