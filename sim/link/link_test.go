package link_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fengsui/fengsui/sim/link"
)

// echo answers each line with itself until the test ends.
func echo(t *testing.T) link.Dial {
	t.Helper()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
			}()
		}
	}()
	return func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp4", ln.Addr().String())
	}
}

func listen(t *testing.T, d link.Dial) *link.Link {
	t.Helper()
	l, err := link.Listen(d)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func set(t *testing.T, l *link.Link, s link.State) {
	t.Helper()
	if err := l.Set(s); err != nil {
		t.Fatal(err)
	}
	if l.State() != s {
		t.Fatalf("the link is %s, want %s", l.State(), s)
	}
}

type client struct {
	net.Conn
	r *bufio.Reader
}

func connect(t *testing.T, l *link.Link) client {
	t.Helper()
	c, err := net.Dial("tcp4", l.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return client{c, bufio.NewReader(c)}
}

// ask sends a line and returns the answer that comes within d.
func (c client) ask(line string, d time.Duration) (string, error) {
	_ = c.SetDeadline(time.Now().Add(d))
	if _, err := io.WriteString(c, line+"\n"); err != nil {
		return "", err
	}
	s, err := c.r.ReadString('\n')
	return strings.TrimSpace(s), err
}

func TestCutAndRestore(t *testing.T) {
	l := listen(t, echo(t))
	c := connect(t, l)
	if got, err := c.ask("up", 5*time.Second); got != "up" || err != nil {
		t.Fatalf("got %q, %v", got, err)
	}
	for range 3 {
		set(t, l, link.Cut)
		set(t, l, link.Cut)
		if _, err := c.ask("cut", 5*time.Second); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("after a cut: %v, want a reset", err)
		}
		if _, err := net.Dial("tcp4", l.Addr()); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("a new connection: %v, want refused", err)
		}
		set(t, l, link.Up)
		c = connect(t, l)
		if got, err := c.ask("again", 5*time.Second); got != "again" || err != nil {
			t.Fatalf("after restoring: got %q, %v", got, err)
		}
	}
}

func TestBlackHole(t *testing.T) {
	l := listen(t, echo(t))
	c := connect(t, l)
	if _, err := c.ask("up", 5*time.Second); err != nil {
		t.Fatal(err)
	}
	set(t, l, link.BlackHoled)
	if _, err := c.ask("lost", 100*time.Millisecond); !errors.Is(err, context.DeadlineExceeded) && !isTimeout(err) {
		t.Errorf("got %v, want nothing to come", err)
	}
	d := connect(t, l)
	if _, err := d.ask("new", 100*time.Millisecond); !isTimeout(err) {
		t.Errorf("a new connection: %v, want nothing to come", err)
	}
	set(t, l, link.Up)
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	if got, err := c.r.ReadString('\n'); got != "lost\n" || err != nil {
		t.Errorf("after restoring: got %q, %v", got, err)
	}
	set(t, l, link.BlackHoled)
	set(t, l, link.Cut)
	set(t, l, link.BlackHoled)
	set(t, l, link.Up)
	e := connect(t, l)
	if got, err := e.ask("again", 5*time.Second); got != "again" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

func TestFarEndAbsent(t *testing.T) {
	l := listen(t, func(context.Context) (net.Conn, error) { return nil, errors.New("not there") })
	conn, err := net.Dial("tcp4", l.Addr())
	if err == nil {
		defer conn.Close()
		_, err = client{conn, bufio.NewReader(conn)}.ask("x", 5*time.Second)
	}
	if err == nil || isTimeout(err) {
		t.Errorf("got %v, want a reset", err)
	}
}

func TestUnknownStateAndClosed(t *testing.T) {
	l := listen(t, echo(t))
	if err := l.Set("sideways"); err == nil || !strings.Contains(err.Error(), `"sideways": want up, cut or black_holed`) {
		t.Errorf("got %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := l.Set(link.Cut); !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v, want net.ErrClosed", err)
	}
}
