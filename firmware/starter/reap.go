package starter

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// children are the processes that this one started and waits for itself.
type children struct {
	mu   sync.Mutex
	pids map[int]bool
}

// start starts a child; ended takes its status.
func (c *children) start(cmd *exec.Cmd) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	err := cmd.Start()
	if err == nil {
		c.pids[cmd.Process.Pid] = true
	}
	return err
}

func (c *children) ended(cmd *exec.Cmd) error {
	err := cmd.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.pids, cmd.Process.Pid)
	return err
}

// reapEvery is how often orphans are looked for; there are few.
const reapEvery = 30 * time.Second

// reap takes the status of processes that lost their parent, as is process 1's
// duty, until ctx ends.
func (c *children) reap(ctx context.Context) {
	tick := time.NewTicker(reapEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			c.reapOnce(os.Getpid())
		}
	}
}

func (c *children) reapOnce(parent int) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return // the pattern is right
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, path := range stats {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // it has just gone
		}
		pid, state, of, err := parseStat(b)
		if err == nil && state == 'Z' && of == parent && !c.pids[pid] {
			_, _ = unix.Wait4(pid, nil, unix.WNOHANG, nil)
		}
	}
}

// parseStat reads the beginning of proc(5)'s stat: pid (comm) state ppid; the
// name in brackets may hold anything.
func parseStat(b []byte) (pid int, state byte, parent int, err error) {
	open, end := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
	if open < 1 || end < open {
		return 0, 0, 0, fmt.Errorf("stat %q: want pid (name) state parent", b)
	}
	pid, err = strconv.Atoi(string(bytes.TrimSpace(b[:open])))
	rest := bytes.Fields(b[end+1:])
	if err != nil || len(rest) < 2 || len(rest[0]) != 1 {
		return 0, 0, 0, fmt.Errorf("stat %q: want pid (name) state parent", b)
	}
	parent, err = strconv.Atoi(string(rest[1]))
	return pid, rest[0][0], parent, err
}
