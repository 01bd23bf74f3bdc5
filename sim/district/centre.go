package district

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/fengsui/fengsui/sim/ledger"
	"github.com/fengsui/fengsui/sim/mono"
)

// ErrCentre means that the centre did not start; its log says why.
var ErrCentre = errors.New("the centre does not start")

// startTimeout bounds how long the centre takes to say that it is ready.
const startTimeout = 30 * time.Second

// A Centre is the centre's process.
type Centre struct {
	log     *slog.Logger
	spawn   *spawner
	command func(http, mqtt string) *exec.Cmd
	logPath string
	ledger  *ledger.Ledger

	mu   sync.Mutex
	http string // host:port of the desk
	proc *process
	url  string // of the desk
	mqtt string // host:port of the broker
}

// Start starts the process and returns when it is ready. It listens where it
// listened before. While it runs, Start does nothing.
func (c *Centre) Start(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.proc != nil {
		return nil
	}
	mqtt := c.mqtt
	if mqtt == "" {
		mqtt = "127.0.0.1:0"
	}
	ready := make(chan string, 1)
	p, err := c.spawn.start(c.command(c.http, mqtt), c.logPath, func(out io.Reader) {
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			if rest, ok := strings.CutPrefix(lines.Text(), "ready "); ok {
				select {
				case ready <- rest:
				default:
				}
			}
		}
		_, _ = io.Copy(io.Discard, out)
	})
	if err != nil {
		return err
	}
	timeout := time.NewTimer(startTimeout)
	defer timeout.Stop()
	fail := func(why any) error {
		p.kill()
		return fmt.Errorf("%w: %v; see %s", ErrCentre, why, c.logPath)
	}
	select {
	case line := <-ready:
		desk, mqtt := field(line, "desk="), field(line, "mqtt=")
		u, uerr := url.Parse(desk)
		if _, _, err := net.SplitHostPort(mqtt); err != nil || uerr != nil || u.Port() == "" {
			return fail(fmt.Sprintf("its ready line is %q: want desk=URL mqtt=HOST:PORT", line))
		}
		c.proc, c.url, c.http, c.mqtt = p, desk, u.Host, mqtt
		c.ledger.Linked(ledger.Link{At: mono.Now(), Up: true})
		go func() {
			<-p.exited
			c.mu.Lock()
			defer c.mu.Unlock()
			if c.proc == p {
				c.proc = nil
				c.ledger.Linked(ledger.Link{At: mono.Now()})
				c.log.Error("the centre's process ended by itself", "err", p.err, "log", c.logPath)
			}
		}()
		return nil
	case <-p.exited:
		return fail(p.err)
	case <-timeout.C:
		return fail("it is not ready after " + startTimeout.String())
	case <-ctx.Done():
		return fail(ctx.Err())
	}
}

func field(line, key string) string {
	for _, w := range strings.Fields(line) {
		if v, ok := strings.CutPrefix(w, key); ok {
			return v
		}
	}
	return ""
}

// Kill kills the process with SIGKILL, and waits. When none runs it does
// nothing.
func (c *Centre) Kill() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.proc == nil {
		return
	}
	at := mono.Now()
	c.proc.kill()
	c.proc = nil
	c.ledger.Linked(ledger.Link{At: at})
	c.log.Info("centre killed")
}

// Running reports whether the process runs.
func (c *Centre) Running() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.proc != nil
}

// stop asks it to end, and kills when giveUp is closed.
func (c *Centre) stop(giveUp <-chan struct{}) {
	c.mu.Lock()
	p := c.proc
	c.proc = nil
	c.mu.Unlock()
	if p != nil {
		p.ask(giveUp)
	}
}

// URL returns the desk's address; it stays when the centre is started again.
func (c *Centre) URL() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.url
}

// dial connects to the broker.
func (c *Centre) dial(ctx context.Context) (net.Conn, error) {
	c.mu.Lock()
	mqtt := c.mqtt
	c.mu.Unlock()
	return new(net.Dialer).DialContext(ctx, "tcp", mqtt)
}
