package district

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// ErrCentre means that the centre did not start; its log says why.
var ErrCentre = errors.New("the centre does not start")

// startTimeout bounds how long the centre takes to say that it is ready.
const startTimeout = 30 * time.Second

// A Centre is the centre's process.
type Centre struct {
	log     *slog.Logger
	spawn   *spawner
	command func(mqtt string) *exec.Cmd
	logPath string

	mu   sync.Mutex
	proc *process
	url  string // of the desk
	mqtt string // host:port of the broker
}

// Start starts the process and returns when it is ready.
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
	p, err := c.spawn.start(c.command(mqtt), c.logPath, func(out io.Reader) {
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
		url, mqtt := field(line, "desk="), field(line, "mqtt=")
		if _, _, err := net.SplitHostPort(mqtt); err != nil || url == "" {
			return fail(fmt.Sprintf("its ready line is %q: want desk=URL mqtt=HOST:PORT", line))
		}
		c.proc, c.url, c.mqtt = p, url, mqtt
		go func() {
			<-p.exited
			c.mu.Lock()
			defer c.mu.Unlock()
			if c.proc == p {
				c.proc = nil
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
