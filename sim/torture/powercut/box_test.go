//go:build linux

package powercut_test

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fengsui/fengsui/cloud-bridge/account"
	"github.com/fengsui/fengsui/cloud-bridge/bridge"
	"github.com/fengsui/fengsui/firmware/agent"
	"github.com/fengsui/fengsui/sim/child"
	"github.com/fengsui/fengsui/sim/desk"
	"github.com/fengsui/fengsui/sim/line"
	"github.com/fengsui/fengsui/sim/link"
)

// The box of the rig, its lines by button and lamp.
const boxID = "box-01"

const redLine = "GPIO12"

func buttonLines() map[string]string {
	return map[string]string{"panic": "GPIO17", "fire": "GPIO27", "medical": "GPIO22", "back-door": "GPIO23"}
}

// A site is an alarm box on a disk that is cut, and a centre on one that is not.
type site struct {
	sim    string // the simulator's binary: its children are box and centre
	config string // the box's
	link   *link.Link
	desk   *desk.Client
	url    string
}

// newSite starts a centre that knows the box, whose data are in a folder of
// the disk.
func newSite(t *testing.T, sim, data string) *site {
	t.Helper()
	key, err := agent.LoadOrCreateKey(data)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	pub := hex.EncodeToString(key.Public().(ed25519.PublicKey))
	register := write(t, dir, "devices.yaml", fmt.Sprintf("devices:\n  - {id: %s, kind: alarm-box, key: %s, name: the rig's}\n", boxID, pub))
	s := &site{sim: sim}
	mqtt := s.centre(t, dir, register)
	out, err := exec.CommandContext(t.Context(), sim, "__centre", "key", "--data", filepath.Join(dir, "centre")).Output()
	if err != nil {
		t.Fatal(err)
	}
	s.link, err = link.Listen(func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", mqtt)
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.link.Close() })
	var buttons strings.Builder
	for name, l := range buttonLines() {
		fmt.Fprintf(&buttons, "  %s: {line: %s, active: low, pull: up, kind: panic}\n", name, l)
	}
	s.config = write(t, dir, "box.yaml", fmt.Sprintf(`device: %s
profile: alarm-box
data: %s
centre: {servers: ["mqtt://%s"], key: %s}
lamps: {red: {line: %s}, amber: {line: GPIO16}, green: {line: GPIO26}}
health: {every: 5s}
buttons:
%s`, boxID, data, s.link.Addr(), strings.TrimSpace(string(out)), redLine, buttons.String()))
	return s
}

func write(t *testing.T, dir, name, content string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// centre starts the centre and returns its broker's address.
func (s *site) centre(t *testing.T, dir, register string) (mqtt string) {
	t.Helper()
	log, err := os.Create(filepath.Join(dir, "centre.log"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "centre"), 0o700); err != nil {
		t.Fatal(err)
	}
	// An account that is there keeps the centre from telling of its first admin.
	if _, err := bridge.Grant(t.Context(), filepath.Join(dir, "centre"), account.Supervisor, desk.Reader); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), s.sim, "__centre", "serve", "--data", filepath.Join(dir, "centre"),
		"--http-addr", "127.0.0.1:0", "--mqtt-addr", "127.0.0.1:0", "--devices", register)
	cmd.Stderr = log
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait()
		_ = log.Close()
	})
	ready, err := bufio.NewReader(out).ReadString('\n')
	if _, serr := fmt.Sscanf(ready, "ready desk=%s mqtt=%s", &s.url, &mqtt); serr != nil {
		b, _ := os.ReadFile(log.Name())
		t.Fatalf("the centre is not ready: %q, %v\n%s", ready, err, b)
	}
	s.desk = desk.New(s.url, func(ctx context.Context, name string) (string, error) {
		tokens, err := bridge.Grant(ctx, filepath.Join(dir, "centre"), account.Supervisor, name)
		return tokens[name], err
	})
	t.Cleanup(s.desk.Close)
	go func() { _, _ = io.Copy(io.Discard, out) }() // until the centre ends
	return mqtt
}

// A run is one life of the box's process.
type run struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out sync.WaitGroup // readers of its output

	mu     sync.Mutex
	red    bool
	lit    int // times that red was lit
	status *agent.Status
	log    []string
}

// start starts the box.
func (s *site) start(t *testing.T) *run {
	t.Helper()
	r := &run{cmd: exec.CommandContext(t.Context(), s.sim, "__device", "--config", s.config)}
	var err error
	if r.in, err = r.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := r.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	log, err := r.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r.out.Go(func() { r.reports(out) })
	r.out.Go(func() {
		for lines := bufio.NewScanner(log); lines.Scan(); {
			r.mu.Lock()
			r.log = append(r.log, lines.Text())
			r.mu.Unlock()
		}
	})
	r.send(child.Command{Start: true})
	return r
}

func (r *run) reports(out io.Reader) {
	for dec := json.NewDecoder(bufio.NewReader(out)); ; {
		var rep child.Report
		if err := dec.Decode(&rep); err != nil {
			return // a killed process leaves half a line
		}
		r.mu.Lock()
		switch {
		case rep.Status != nil:
			r.status = rep.Status
		case rep.Line == redLine:
			r.red = rep.High
			if rep.High {
				r.lit++
			}
		}
		r.mu.Unlock()
	}
}

// send tells the process; one that has ended hears nothing.
func (r *run) send(c child.Command) { _ = json.NewEncoder(r.in).Encode(c) }

// press presses a button for as long as a hurried finger does.
func (r *run) press(button string) {
	r.send(child.Command{Line: buttonLines()[button], Train: line.Train{{After: 0, Drive: line.Low}, {After: 90 * time.Millisecond, Drive: line.Open}}})
}

// wait waits until something is so, and reports whether it came to be.
func (r *run) wait(most time.Duration, so func() bool) bool {
	for end := time.Now().Add(most); ; time.Sleep(2 * time.Millisecond) {
		r.mu.Lock()
		yes := so()
		r.mu.Unlock()
		if yes || time.Now().After(end) {
			return yes
		}
	}
}

// kill ends the process.
func (r *run) kill() { _ = r.cmd.Process.Kill() }

// end waits for the process, and returns what it wrote in its log.
func (r *run) end(t *testing.T) []string {
	t.Helper()
	r.out.Wait()
	err := r.cmd.Wait()
	if ps := r.cmd.ProcessState; ps == nil || ps.Exited() && !errors.As(err, new(*exec.ExitError)) {
		t.Fatalf("the box ended by itself: %v\n%s", err, strings.Join(r.log, "\n"))
	}
	return r.log
}
