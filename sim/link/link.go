// Package link is a TCP proxy that stands for a device's way to the centre, so
// that the way can be cut, black-holed and restored.
//
// It moves bytes and looks at none; it models no delay, no loss of single
// packets and no limit of speed.
package link

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"

	"golang.org/x/sys/unix"
)

// A State is what the link does.
type State string

// The states of a link.
const (
	Up         State = "up"
	Cut        State = "cut"         // connections are reset, new ones refused
	BlackHoled State = "black_holed" // connections stay open and are accepted, and no byte passes
)

// Dial opens a connection to the far end.
type Dial func(ctx context.Context) (net.Conn, error)

// A Link is a proxy on a port of this machine. Make it with Listen.
type Link struct {
	dial Dial
	host netip.Addr
	port int
	hold int           // a bound socket that never listens: it keeps the port while the link is cut
	done chan struct{} // closed by Close
	wg   sync.WaitGroup

	mu     sync.Mutex
	state  State
	closed bool
	ln     net.Listener
	conns  map[net.Conn]struct{}
	open   chan struct{} // closed while bytes may pass
}

// Listen starts a link that is up, on a free port of the loopback interface.
// The caller closes it.
func Listen(dial Dial) (*Link, error) {
	return ListenAt(netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 0), dial)
}

// ListenAt is Listen on an IPv4 address of this machine; port 0 is a free one.
func ListenAt(at netip.AddrPort, dial Dial) (*Link, error) {
	if !at.Addr().Is4() {
		return nil, fmt.Errorf("link: address %s: want an IPv4 address of this machine", at)
	}
	fd, port, err := reserve(at)
	if err != nil {
		return nil, fmt.Errorf("link: reserve a port of %s: %w", at, err)
	}
	l := &Link{
		dial: dial, host: at.Addr(), port: port, hold: fd, done: make(chan struct{}),
		state: Cut, conns: make(map[net.Conn]struct{}), open: make(chan struct{}),
	}
	if err := l.Set(Up); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// reserve binds a port without listening on it: connecting to it is refused,
// and nobody else is given it.
func reserve(at netip.AddrPort) (fd, port int, err error) {
	fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, 0, err
	}
	err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrInet4{Addr: at.Addr().As4(), Port: int(at.Port())})
	}
	var sa unix.Sockaddr
	if err == nil {
		sa, err = unix.Getsockname(fd)
	}
	if err != nil {
		return 0, 0, errors.Join(err, unix.Close(fd))
	}
	return fd, sa.(*unix.SockaddrInet4).Port, nil
}

// Addr returns the address to connect to, host:port. It never changes.
func (l *Link) Addr() string { return fmt.Sprintf("%s:%d", l.host, l.port) }

// State returns what the link does.
func (l *Link) State() State {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.state
}

// Set changes what the link does; to set the state that it is in does nothing.
func (l *Link) Set(s State) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return net.ErrClosed
	}
	if s == l.state {
		return nil
	}
	switch s {
	case Up, BlackHoled:
		if l.ln == nil {
			if err := l.listen(); err != nil {
				return err
			}
		}
		if l.state == BlackHoled || l.state == Cut && s == Up {
			close(l.open)
		} else if s == BlackHoled && l.state == Up {
			l.open = make(chan struct{})
		}
	case Cut:
		if l.state == Up {
			l.open = make(chan struct{})
		}
		l.reset()
	default:
		return fmt.Errorf("link state %q: want %s, %s or %s", s, Up, Cut, BlackHoled)
	}
	l.state = s
	return nil
}

// listen opens the port and accepts on it. The caller holds l.mu.
func (l *Link) listen() error {
	cfg := net.ListenConfig{Control: reusePort}
	ln, err := cfg.Listen(context.Background(), "tcp4", l.Addr())
	if err != nil {
		return fmt.Errorf("link: %w", err)
	}
	l.ln = ln
	l.wg.Go(func() {
		for {
			near, err := ln.Accept()
			if err != nil {
				return // it was closed
			}
			l.wg.Go(func() { l.serve(near) })
		}
	})
	return nil
}

// reset closes the listener and resets all connections. The caller holds l.mu.
func (l *Link) reset() {
	if l.ln != nil {
		_ = l.ln.Close()
		l.ln = nil
	}
	for c := range l.conns {
		abort(c)
	}
}

// abort closes a connection with a TCP reset where there is TCP.
func abort(c net.Conn) {
	if tc, ok := c.(*net.TCPConn); ok {
		_ = tc.SetLinger(0)
	}
	_ = c.Close()
}

// keep takes a connection into the set that a cut resets; false: the link is
// cut or closed already.
func (l *Link) keep(c net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state == Cut || l.closed {
		abort(c)
		return false
	}
	l.conns[c] = struct{}{}
	return true
}

func (l *Link) drop(c net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, c)
	l.end(c)
}

// end closes a connection, with a reset when it ends because the link was cut.
// The caller holds l.mu.
func (l *Link) end(c net.Conn) {
	if l.state == Cut || l.closed {
		abort(c)
	} else {
		_ = c.Close()
	}
}

// serve carries one connection.
func (l *Link) serve(near net.Conn) {
	if !l.keep(near) {
		return
	}
	defer l.drop(near)
	if !l.pass() {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	stop := make(chan struct{})
	go func() {
		defer cancel()
		select {
		case <-l.done:
		case <-stop:
		}
	}()
	far, err := l.dial(ctx)
	close(stop)
	if err != nil {
		abort(near) // the centre is not there: what a refused connection looks like from here
		return
	}
	if !l.keep(far) {
		return
	}
	defer l.drop(far)
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.pump(near, far)
	}()
	l.pump(far, near)
	<-done
}

// pass waits until bytes may pass; false: the link was closed.
func (l *Link) pass() bool {
	for {
		l.mu.Lock()
		open := l.open
		l.mu.Unlock()
		select {
		case <-open:
		case <-l.done:
			return false
		}
		l.mu.Lock()
		same := open == l.open
		l.mu.Unlock()
		if same {
			return true
		}
	}
}

// pump copies from src to dst until either ends, then closes both.
func (l *Link) pump(dst, src net.Conn) {
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.end(dst)
		l.end(src)
	}()
	buf := make([]byte, 16<<10)
	for l.pass() {
		n, err := src.Read(buf)
		if n > 0 {
			if !l.pass() {
				return
			}
			if _, err := dst.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// Close resets all connections, frees the port, and waits for all to end.
func (l *Link) Close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil
	}
	l.closed = true
	close(l.done)
	l.reset()
	l.mu.Unlock()
	l.wg.Wait()
	return unix.Close(l.hold)
}
