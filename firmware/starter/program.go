package starter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A program is a child that is started again whenever it ends.
type program struct {
	name, path string
	args       []string
	env        []string // beside that of this process
	out        io.Writer
	children   *children

	// Both 0: the program is not watched. Otherwise it must say READY=1 within
	// startLimit, or before that is over EXTEND_TIMEOUT_USEC=, in time for each next
	// word; and WATCHDOG=1 at least every feedLimit after READY=1.
	startLimit, feedLimit time.Duration
	fed                   func() // when it said so
	stuck                 func() // it does not die: the kernel holds it, waiting for a disk

	was string // what is known of its run before; the next one is told
}

// done is the status of a program of gokrazy's that does not want to be started
// again.
const done = 125

const (
	// dump is how long a hung program has to write where its goroutines stand.
	dump = 2 * time.Second
	// dieLimit is how long one may take to die that was killed.
	dieLimit = 5 * time.Second
)

// WasVariable is the environment's word to the firmware of its run before:
// "hung", or "watchdog" where that has started the board.
const WasVariable = "FENGSUI_WAS"

// supervise runs the program again and again until ctx ends.
func (p *program) supervise(ctx context.Context, log *slog.Logger) {
	for ctx.Err() == nil {
		err := p.run(ctx, log)
		p.was = ""
		if errors.Is(err, errHung) {
			p.was = "hung"
		}
		var exit *exec.ExitError
		if errors.As(err, &exit) && exit.ExitCode() == done {
			return
		}
		if ctx.Err() != nil {
			return
		}
		log.Error("the program ended; it is started again", "err", err)
		wait(ctx, respawn)
	}
}

func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// errHung means that a program was silent for too long.
var errHung = errors.New("it hangs")

// run runs the program once, and returns why it ended. When ctx ends the
// program is asked to end, and killed when it does not.
func (p *program) run(ctx context.Context, log *slog.Logger) error {
	cmd := exec.Command(p.path, p.args...)
	cmd.Stdout, cmd.Stderr = p.out, p.out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // what it starts dies with it
	var said <-chan string
	if p.feedLimit > 0 {
		c, err := listenNotify()
		if err != nil {
			return err
		}
		defer c.close()
		said = c.said
		cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+c.address(), "WATCHDOG_USEC="+strconv.FormatInt(p.feedLimit.Microseconds(), 10))
	}
	cmd.Env = append(cmd.Environ(), p.env...)
	if p.was != "" {
		cmd.Env = append(cmd.Env, WasVariable+"="+p.was)
	}
	if err := p.children.start(cmd); err != nil {
		return fmt.Errorf("start: %w", err)
	}
	log.Info("started", "pid", cmd.Process.Pid)
	ended := make(chan error, 1)
	go func() { ended <- p.children.ended(cmd) }()
	kill := func(first syscall.Signal, grace time.Duration) error {
		_ = cmd.Process.Signal(first) // it may have ended just now
		t := time.NewTimer(grace)
		defer t.Stop()
		select {
		case err := <-ended:
			return err
		case <-t.C:
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		}
		t.Reset(dieLimit)
		select {
		case err := <-ended:
			return err
		case <-t.C:
			log.Error("the program does not die")
			if p.stuck != nil {
				p.stuck()
			}
			return <-ended
		}
	}
	life := newLife(p.startLimit, p.feedLimit)
	defer life.stop()
	for {
		select {
		case err := <-ended:
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // what it has left behind
			return err
		case <-ctx.Done():
			return kill(syscall.SIGTERM, stopLimit)
		case <-life.late():
			return errors.Join(errHung, kill(syscall.SIGABRT, dump))
		case s := <-said:
			if life.sign(s) && p.fed != nil {
				p.fed()
			}
		}
	}
}

// stopLimit is how long a program has to end when it is asked to.
const stopLimit = 10 * time.Second

// A notifySocket receives what a child says about itself.
type notifySocket struct {
	conn *net.UnixConn
	said chan string
	quit chan struct{}
}

// listenNotify opens a datagram socket with an abstract address, which no file
// system needs to hold.
func listenNotify() (*notifySocket, error) {
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram"})
	if err != nil {
		return nil, fmt.Errorf("notify socket: %w", err)
	}
	n := &notifySocket{conn: conn, said: make(chan string), quit: make(chan struct{})}
	go n.read()
	return n, nil
}

// address returns the socket's address as NOTIFY_SOCKET has it.
func (n *notifySocket) address() string { return n.conn.LocalAddr().String() }

func (n *notifySocket) read() {
	buf := make([]byte, 4096)
	for {
		k, err := n.conn.Read(buf)
		if err != nil {
			return
		}
		for line := range strings.Lines(string(buf[:k])) {
			select {
			case n.said <- strings.TrimSuffix(line, "\n"):
			case <-n.quit:
				return
			}
		}
	}
}

func (n *notifySocket) close() {
	close(n.quit)
	_ = n.conn.Close()
}
