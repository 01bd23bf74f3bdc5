package diskfault

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fengsui/fengsui/cloud-bridge/bridge"
	"github.com/fengsui/fengsui/sim/district"
	"github.com/fengsui/fengsui/sim/scenario"
	"github.com/fengsui/fengsui/sim/torture"
	"github.com/fengsui/fengsui/sim/torture/witness"
)

// A fault is the k-th call of a kind, of each thread, that fails.
type fault struct {
	call, errno string
	k           int
}

func (f fault) String() string { return fmt.Sprintf("%s %d %s", f.call, f.k, f.errno) }

// spread returns the faults of a run: all, or n that chance picks, those that
// come early more often.
func spread(rng *rand.Rand, calls []string, n int) (all []fault) {
	for _, call := range calls {
		most := 200
		if call != "pwrite64" && call != "fdatasync" {
			most = 20 // more than any life makes
		}
		for _, errno := range []string{"EIO", "ENOSPC"} {
			for k := 1; k <= most; k++ {
				all = append(all, fault{call, errno, k})
			}
		}
	}
	rng.Shuffle(len(all), func(i, k int) { all[i], all[k] = all[k], all[i] })
	if n < len(all) {
		all = all[:n]
		for i := range all { // what a short life makes, and mostly what its start makes
			makes := map[string]int{"pwrite64": 40, "fdatasync": 25, "ftruncate": 2, "fallocate": 2, "fsync": 3}[all[i].call]
			x := rng.Float64()
			all[i].k = 1 + int(x*x*float64(makes))
		}
	}
	return all
}

// counts are what a rig has done and judged.
type counts struct {
	faults    int // armed
	hit       int // of those, that failed one call or more
	calls     int // that failed
	ended     int // processes that ended by themselves with a fault
	refused   int // starts that did not come up with a fault
	presses   int
	logged    int // alarms that a log called stored
	told      int // storage faults that devices told of
	compared  int // spools compared with a dead centre's database
	events    int
	incidents int
}

// A rig is a district whose processes can be started with faults.
type rig struct {
	d      *district.District
	data   string
	v      torture.Verdict
	strace string

	mu    sync.Mutex
	armed map[string]fault // by device, or theCentre
	n     counts
}

const theCentre = "centre"

func boxes(n int) map[string]scenario.Device {
	m := make(map[string]scenario.Device)
	for i := range n {
		m[fmt.Sprintf("box-%02d", i+1)] = scenario.Device{
			Kind: "alarm-box", Health: scenario.Duration(5 * time.Second),
			Buttons: map[string]scenario.Button{"panic": {Kind: "panic"}, "fire": {Kind: "fire"}, "medical": {Kind: "medical"}},
		}
	}
	return m
}

// newRig starts a district without faults.
func newRig(t *testing.T, n int, seed uint64) *rig {
	t.Helper()
	strace, err := exec.LookPath("strace")
	torture.Need(t, err == nil, "strace, which makes system calls fail")
	self, err := district.Self()
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{data: t.TempDir(), strace: strace, armed: make(map[string]fault)}
	r.d, err = district.Start(t.Context(), district.Options{
		Data: r.data, Devices: boxes(n), DeskAddr: "127.0.0.1:0", Seed: seed, Starter: r.starter(self),
		Centre: func(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
			return bridge.Run(ctx, "test", args, stdin, stdout, stderr)
		},
		Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := r.d.Ready(ctx); err != nil {
		t.Fatal(errors.Join(err, r.d.Close()))
	}
	return r
}

func (r *rig) close(t *testing.T) {
	t.Helper()
	if err := r.d.Close(); err != nil {
		t.Error(err)
	}
}

// starter puts strace before a process that is armed.
func (r *rig) starter(self district.Starter) district.Starter {
	return func(what string, args ...string) *exec.Cmd {
		cmd := self(what, args...)
		name := theCentre
		if what == "__device" {
			name = strings.TrimSuffix(filepath.Base(args[len(args)-1]), ".yaml")
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		f, ok := r.armed[name]
		if !ok {
			return cmd
		}
		return exec.Command(r.strace, append([]string{
			"-f", "--seccomp-bpf", "-qq", "-A", "-o", r.trace(name), "-e", "trace=" + f.call, "-e", "signal=none",
			"-e", fmt.Sprintf("inject=%s:error=%s:when=%d", f.call, f.errno, f.k),
		}, cmd.Args...)...)
	}
}

func (r *rig) trace(name string) string { return filepath.Join(r.data, name+".strace") }

// arm makes the next starts of a process meet a fault.
func (r *rig) arm(name string, f fault) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.armed[name] = f
	r.n.faults++
}

// disarm ends that, once the process is dead, and counts what failed.
func (r *rig) disarm(t *testing.T, name string) (failed int) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.armed, name)
	b, err := os.ReadFile(r.trace(name))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(r.trace(name)); err != nil {
		t.Fatal(err)
	}
	failed = strings.Count(string(b), "(INJECTED)")
	r.n.calls += failed
	if failed > 0 {
		r.n.hit++
	}
	return failed
}

func (r *rig) find(list *[]string, format string, a ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	*list = append(*list, fmt.Sprintf(format, a...))
}

// press presses the buttons of a box for a while.
func (r *rig) press(t *testing.T, id string, lasts time.Duration, rng *rand.Rand) {
	dev, err := r.d.Device(id)
	if err != nil {
		t.Error(err)
		return
	}
	buttons := slices.Sorted(maps.Keys(dev.Spec.Buttons))
	for end := time.Now().Add(lasts); time.Now().Before(end); time.Sleep(time.Duration(20+rng.IntN(60)) * time.Millisecond) {
		if _, err := dev.Press(t.Context(), buttons[rng.IntN(len(buttons))], district.PressOptions{For: 70 * time.Millisecond}); err != nil {
			t.Error(err)
			return
		}
		r.mu.Lock()
		r.n.presses++
		r.mu.Unlock()
	}
}

// closeAll closes all incidents, as far as the centre lets it.
func (r *rig) closeAll(t *testing.T) {
	open, err := r.d.Desk.Incidents(t.Context())
	if err != nil {
		return
	}
	for _, i := range open {
		if i.State != "closed" {
			_ = r.d.Desk.CloseIncident(t.Context(), i.ID, "rig", "test", "")
		}
	}
}

// up waits until a device tells its status.
func (r *rig) up(dev *district.Device, most time.Duration) bool {
	return wait(most, func() bool { return dev.View().Queue != nil })
}

func wait(most time.Duration, so func() bool) bool {
	for end := time.Now().Add(most); ; time.Sleep(20 * time.Millisecond) {
		yes := so()
		if yes || time.Now().After(end) {
			return yes
		}
	}
}

// drained waits until no device has anything that waits.
func (r *rig) drained() {
	time.Sleep(time.Second) // every device has told its queue
	var waiting []string
	if !wait(90*time.Second, func() bool {
		waiting = nil
		for _, id := range r.d.IDs() {
			dev, err := r.d.Device(id)
			if err != nil {
				return false
			}
			if q := dev.View().Queue; q == nil || !dev.Connected() || q["alarm"]+q["duty"] > 0 {
				waiting = append(waiting, fmt.Sprintf("%s %v", id, q))
			}
		}
		return len(waiting) == 0
	}) {
		r.find(&r.v.Lost, "not drained within 90 s: %v", waiting)
	}
}

// judge compares what logs promised with what the centre has in the end.
func (r *rig) judge(t *testing.T) {
	t.Helper()
	var promised []witness.Stored
	for _, id := range r.d.IDs() {
		list, err := witness.ReadLog(id, filepath.Join(r.data, id+".log"))
		if err != nil {
			t.Fatal(err)
		}
		promised = append(promised, list...)
	}
	centre, err := witness.ReadCentre(t.Context(), filepath.Join(r.data, "centre"))
	if err != nil {
		t.Fatal(err)
	}
	centre.Judge(&r.v)
	centre.Promised(promised, &r.v)
	devices, err := r.d.Desk.Devices(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range devices {
		for _, g := range d.Gaps {
			r.v.Lost = append(r.v.Lost, fmt.Sprintf("%s: the desk tells of a gap %+v", d.ID, g))
		}
	}
	r.n.logged, r.n.events, r.n.incidents = len(promised), len(centre.Events), len(centre.Incidents)
}
