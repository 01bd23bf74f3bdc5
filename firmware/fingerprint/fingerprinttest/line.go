package fingerprinttest

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
)

// ErrUnplugged is what Open returns while the sensor is unplugged.
var ErrUnplugged = errors.New("unplugged")

// Plug plugs the sensor in, or unplugs it: its power goes with it, and lines
// that Open has opened end.
func (s *Sensor) Plug(in bool) {
	var ends []io.Closer
	s.with(func() {
		if s.unplugged = !in; !in {
			s.forget()
			ends, s.lines = s.lines, nil
		}
	})
	for _, l := range ends {
		_ = l.Close()
	}
}

// Open opens a line to the sensor at a speed, as a serial port is opened. At
// another speed than its own, both sides hear garbage. It serves until the
// line is closed; close it before the test ends.
func (s *Sensor) Open(ctx context.Context, baud int) (io.ReadWriteCloser, error) {
	var gone, wrong bool
	s.with(func() { gone, wrong = s.unplugged, baud != s.opt.Baud })
	if gone {
		return nil, ErrUnplugged
	}
	near, far := net.Pipe()
	s.with(func() { s.lines = append(s.lines, far) })
	l := &line{Conn: near, sent: newInbox(), served: make(chan struct{})}
	go func() {
		defer close(l.served)
		defer far.Close()
		// The sensor takes what comes while it is still answering, as a UART
		// does; that the line has ended it learns from its own end.
		go func() {
			_, _ = io.Copy(io.Discard, far)
			l.sent.end()
		}()
		var port io.ReadWriter = struct {
			io.Reader
			io.Writer
		}{l.sent, far}
		if wrong {
			port = garbled{port}
		}
		_ = s.Serve(ctx, port)
	}()
	return l, nil
}

// A line is one whose far end has gone when it is closed.
type line struct {
	net.Conn
	sent   *inbox
	served chan struct{} // closed when nobody serves the far end any more
	once   sync.Once
}

// Write never waits.
func (l *line) Write(b []byte) (int, error) { return l.sent.write(b) }

// An inbox holds what was sent and not read yet.
type inbox struct {
	mu    sync.Mutex
	more  sync.Cond
	bytes []byte
	ended bool
}

func newInbox() *inbox {
	i := new(inbox)
	i.more.L = &i.mu
	return i
}

func (i *inbox) write(b []byte) (int, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.ended {
		return 0, io.ErrClosedPipe
	}
	i.bytes = append(i.bytes, b...)
	i.more.Signal()
	return len(b), nil
}

// Read waits for bytes, or returns io.EOF at the end.
func (i *inbox) Read(b []byte) (int, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for len(i.bytes) == 0 && !i.ended {
		i.more.Wait()
	}
	if len(i.bytes) == 0 {
		return 0, io.EOF
	}
	n := copy(b, i.bytes)
	i.bytes = i.bytes[n:]
	return n, nil
}

func (i *inbox) end() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.ended = true
	i.more.Broadcast()
}

func (l *line) Close() (err error) {
	l.once.Do(func() {
		err = l.Conn.Close()
		l.sent.end()
		<-l.served
	})
	return err
}

// garbled is a line whose ends run at different speeds.
type garbled struct{ io.ReadWriter }

func (g garbled) Read(b []byte) (int, error) {
	n, err := g.ReadWriter.Read(b)
	garble(b[:n])
	return n, err
}

func (g garbled) Write(b []byte) (int, error) {
	c := append([]byte(nil), b...)
	garble(c)
	return g.ReadWriter.Write(c)
}

// garble makes of bytes what a receiver at half the speed sees of them.
func garble(b []byte) {
	for i, c := range b {
		b[i] = c<<4&0xF0 | c&0x0F>>1 ^ 0x99
	}
}
