package district

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/fengsui/fengsui/firmware/agent"
	"github.com/fengsui/fengsui/firmware/modem/modemtest"
	"github.com/fengsui/fengsui/sim/child"
	"github.com/fengsui/fengsui/sim/lampwatch"
	"github.com/fengsui/fengsui/sim/ledger"
	"github.com/fengsui/fengsui/sim/link"
	"github.com/fengsui/fengsui/sim/mono"
	"github.com/fengsui/fengsui/sim/scenario"
	"github.com/fengsui/fengsui/sim/tty"
)

// Errors of what a hand can do to a device.
var (
	ErrNoDevice = errors.New("no such device")
	ErrNoButton = errors.New("no such button")
	ErrNoPart   = errors.New("the device has no such part")
	ErrHeld     = errors.New("the button is held")
	ErrClosed   = errors.New("the district is closed")
)

// A Device is one device of the district: its process, and the world around it.
type Device struct {
	ID   string
	Spec scenario.Device

	args    []string // of its process
	screen  string   // address of the officer's, with its token; "": none
	dir     string   // of its data, its card; "" on a virtual board
	twin    twin
	rig     Rig // plays the outsides of a real device; nil: the device is a process of ours
	real    realRun
	sockets string      // folder of a virtual board's; "": none
	key     chan string // gets the public key that a virtual board has made
	log     *slog.Logger
	logPath string
	spawn   *spawner
	starter Starter
	ledger  *ledger.Ledger
	changed func() // tells that something can be seen
	lines   map[string]string
	link    *link.Link
	gps     *receiver        // nil: none
	finger  *reader          // nil: none
	modem   *modemtest.Modem // nil: none
	ports   []*tty.Port
	buttons map[string]*contact
	tripped map[string]bool // inputs, by role; guarded by mu
	lying   chan struct{}   // holds a token while no finger lies on the reader
	quit    chan struct{}   // closed by close
	wg      sync.WaitGroup
	supply  sync.Mutex // one change of the power at a time

	mu      sync.Mutex
	rng     *rand.Rand
	clock   string // what its system clock shows; "": right
	closed  bool
	power   bool
	proc    *process
	crashes int
	out     *outputs
	status  *agent.Status
	seen    time.Duration // when the status was told
}

// sleep returns early when the device is closed.
func (d *Device) sleep(lasts time.Duration) {
	t := time.NewTimer(lasts)
	defer t.Stop()
	select {
	case <-t.C:
	case <-d.quit:
	}
}

// later does something after a while, or when the device is closed.
func (d *Device) later(after time.Duration, f func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return
	}
	d.wg.Go(func() {
		d.sleep(after)
		f()
	})
}

// send writes a command to the process, if there is one. The caller holds d.mu.
func (d *Device) send(c child.Command) {
	if d.rig != nil {
		d.sendRig(c)
		return
	}
	if d.proc == nil {
		return // no power: the contact moves, and nobody sees it
	}
	if err := json.NewEncoder(d.proc.stdin).Encode(c); err != nil {
		d.log.Debug("command not sent", "err", err) // the process has just ended
	}
}

// Crashes returns how often the process ended by itself.
func (d *Device) Crashes() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.crashes
}

// Lamps returns what the lamps tell now, and told since a time; and what they
// may tell instead.
func (d *Device) Lamps(since time.Duration) ([]lampwatch.Span, []lampwatch.View) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := mono.Now()
	return d.out.watch.History(since, now), d.out.watch.Doubts(now)
}

// Red returns the first edge at or after a time that lit the red lamp.
func (d *Device) Red(since time.Duration) (time.Duration, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.out.redAfter(since)
}

// Siren returns when the siren first sounded, or was silent, at or after a time.
func (d *Device) Siren(sounds bool, since time.Duration) (time.Duration, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.out.sounded(sounds, since)
}

// Connected reports whether the agent has heard the centre on its connection.
func (d *Device) Connected() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.status != nil && d.status.Heard
}

// Reachable reports whether the device has power and a link.
func (d *Device) Reachable() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.power && d.link.State() == link.Up
}

// writeFile writes a file that only the owner reads.
func writeFile(dir, name string, b []byte) (string, error) {
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		return "", fmt.Errorf("district: %w", err)
	}
	return path, nil
}
