package hw

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"
	"time"

	"go.bug.st/serial"
)

const (
	// readTimeout bounds every Read of a serial port, so that whoever reads can
	// notice that it should stop.
	readTimeout = 100 * time.Millisecond
	// writeGrace is how long Close waits for a Write in progress.
	writeGrace = time.Second
)

// Serial opens a serial port, 8 data bits, no parity, one stop bit, no flow
// control. DTR and RTS are as the kernel leaves them: raised while the port is
// open.
//
// A Read returns 0, nil when nothing came within 100 ms; its error wraps
// [ErrGone] when the port has vanished. One goroutine may read while another
// writes, and any may call Close, which ends a Read in progress; a Write that
// the far end holds up for longer than a second is left behind with an error
// and ends when the far end takes it or goes. A Read or a Write after Close
// fails with fs.ErrClosed.
func Serial(ctx context.Context, path string, baud int) (io.ReadWriteCloser, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("serial port %s: %w", path, err)
	}
	s, err := serial.Open(path, &serial.Mode{BaudRate: baud, DataBits: 8, Parity: serial.NoParity, StopBits: serial.OneStopBit})
	if err != nil {
		return nil, fmt.Errorf("serial port %s at %d baud: %w", path, baud, explain(err))
	}
	if err := s.SetReadTimeout(readTimeout); err != nil {
		return nil, errors.Join(fmt.Errorf("serial port %s: read timeout: %w", path, err), s.Close())
	}
	p := &port{path: path, s: s, closing: make(chan struct{}), read: make(chan struct{}, 1), write: make(chan struct{}, 1)}
	p.read <- struct{}{}
	p.write <- struct{}{}
	return p, nil
}

// A port keeps the library's calls apart. The library closes the descriptor
// before its readers have left, and writes without looking whether the port is
// still open: a late write could reach whatever file was given the descriptor's
// number next, such as the spool.
type port struct {
	path    string
	s       serial.Port
	once    sync.Once
	closing chan struct{} // closed by Close
	read    chan struct{} // holds a token while nobody reads
	write   chan struct{} // holds a token while nobody writes
}

// take gets a token, and reports whether the port is still open.
func (p *port) take(token chan struct{}) bool {
	select {
	case <-token:
	case <-p.closing:
		return false
	}
	select {
	case <-p.closing:
		token <- struct{}{}
		return false
	default:
		return true
	}
}

func (p *port) Read(b []byte) (int, error) {
	if !p.take(p.read) {
		return 0, p.wrap("read", fs.ErrClosed)
	}
	n, err := p.s.Read(b)
	p.read <- struct{}{}
	if err != nil {
		return n, p.wrap("read", lost(err))
	}
	return n, nil
}

func (p *port) Write(b []byte) (int, error) {
	if !p.take(p.write) {
		return 0, p.wrap("write", fs.ErrClosed)
	}
	defer func() { p.write <- struct{}{} }()
	for sent := 0; ; {
		n, err := p.s.Write(b[sent:])
		sent += n
		switch {
		case err != nil:
			return sent, p.wrap("write", lost(err))
		case sent == len(b):
			return sent, nil
		case n == 0:
			return sent, p.wrap("write", io.ErrNoProgress)
		}
	}
}

// Close is idempotent.
func (p *port) Close() (err error) {
	p.once.Do(func() {
		close(p.closing)
		<-p.read // within the read timeout
		select {
		case <-p.write:
		default:
			// Whoever writes is held up by a far end that takes nothing. A UART
			// lets go when its buffer is dropped, a pty does not.
			flushed := p.s.ResetOutputBuffer()
			t := time.NewTimer(writeGrace)
			defer t.Stop()
			select {
			case <-p.write:
			case <-t.C:
				err = errors.Join(p.wrap("write held up", context.DeadlineExceeded), flushed)
			}
		}
		if cerr := p.s.Close(); cerr != nil {
			err = errors.Join(err, p.wrap("close", cerr))
		}
	})
	return err
}

func (p *port) wrap(what string, err error) error {
	return fmt.Errorf("serial port %s: %s: %w", p.path, what, err)
}

// lost tells a port that vanished; the library says of it that it was closed.
func lost(err error) error {
	var pe *serial.PortError
	if errors.As(err, &pe) && pe.Code() == serial.PortClosed {
		return ErrGone
	}
	return err
}

// explain turns the library's codes into what a technician can act on.
func explain(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: is the adapter plugged in?", err)
	}
	var pe *serial.PortError
	if !errors.As(err, &pe) {
		return err
	}
	switch pe.Code() {
	case serial.PortNotFound:
		return fmt.Errorf("%w: is the adapter plugged in?", err)
	case serial.PermissionDenied:
		return fmt.Errorf("%w: is the user in the group dialout?", err)
	case serial.PortBusy:
		return fmt.Errorf("%w: does another program have it open?", err)
	case serial.InvalidSerialPort:
		return fmt.Errorf("%w: want a serial port that has hardware behind it", err)
	case serial.InvalidSpeed:
		return fmt.Errorf("%w: want a speed that this port can have, such as 9600 or 57600", err)
	}
	return err
}
