package sim_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/fengsui/fengsui/sim"
	"github.com/fengsui/fengsui/sim/play"
)

// The test binary is also the simulator's children.
func TestMain(m *testing.M) {
	if sim.IsChild(os.Args[1:]) {
		os.Exit(sim.Run(context.Background(), "test", os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
	// The scenarios mostly wait: eight at a time keep two processors half idle.
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	testscript.Main(m, map[string]func(){
		"sim": func() {
			os.Exit(sim.Run(context.Background(), "test", os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
		},
	})
}

func TestCommand(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{Dir: "testdata"})
}

// play runs a scenario and returns its report and exit status.
func playScenario(t *testing.T, path string) (play.Report, int) {
	t.Helper()
	out := filepath.Join(t.TempDir(), "out.json")
	var stdout, stderr bytes.Buffer
	code := sim.Run(t.Context(), "test", []string{"run", path, "--report", out}, strings.NewReader(""), &stdout, &stderr)
	t.Logf("%s%s", stderr.String(), stdout.String())
	var r play.Report
	if b, err := os.ReadFile(out); err == nil && len(b) > 0 {
		if err := json.Unmarshal(b, &r); err != nil {
			t.Errorf("the report is no JSON: %v", err)
		}
	}
	return r, code
}

// Every shipped scenario holds, on a real centre and real agents.
func TestShippedScenarios(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("scenarios/*.yaml")
	if err != nil || len(files) < 6 {
		t.Fatalf("%d scenarios, %v: want at least six", len(files), err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".yaml"), func(t *testing.T) {
			t.Parallel()
			r, code := playScenario(t, f)
			if code != 0 || !r.Passed || r.Captured == 0 || r.Stored != r.Captured {
				t.Errorf("exit %d, passed %v, captured %d, stored %d", code, r.Passed, r.Captured, r.Stored)
			}
			for i, s := range r.Steps {
				if s.Step != i+1 || s.What == "" {
					t.Errorf("step %d reports as %+v", i+1, s)
				}
			}
		})
	}
}

// Receivers' own logs go from the port to the desk without a loss.
func TestReplayOfRealLogs(t *testing.T) {
	t.Parallel()
	const logs = "../../shared/nmea"
	if _, err := os.Stat(logs); err != nil {
		t.Skip("the receivers' logs are not here: " + logs)
	}
	for _, name := range []string{"neo-m8n", "st-teseo-liv3f", "mt3339"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			log, err := filepath.Abs(filepath.Join(logs, name+".log"))
			if err != nil {
				t.Fatal(err)
			}
			r, code := playScenario(t, write(t, "replay.yaml", fmt.Sprintf(`
name: %s
devices: {car-01: {kind: patrol-car, track: {close_after: 1s}}}
timeline:
  - {do: lose fix, device: car-01}
  - {at: 500ms, do: replay, device: car-01, log: %s, speed: 25}
  - {at: 6s, expect: all events stored}
`, name, log)))
			if code != 0 || r.Fixes.Stored < 20 {
				t.Errorf("exit %d, %d fixes stored, want 20 or more", code, r.Fixes.Stored)
			}
		})
	}
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// A scenario that does not hold says so, and which step.
func TestScenarioThatFails(t *testing.T) {
	t.Parallel()
	r, code := playScenario(t, write(t, "bad.yaml", `
name: nobody presses
devices:
  box-01: {kind: alarm-box, buttons: {panic: {kind: panic}}, siren: true}
  car-01: {kind: patrol-car, fingers: {1: P-1}}
timeline:
  - {expect: incident, device: box-01, within: 300ms}
  - {expect: lamp, device: box-01, shows: stored, within: 300ms}
  - {expect: siren, device: box-01, sounds: true, within: 300ms}
  - {expect: officer, device: car-01, signed: on, within: 300ms}
  - {expect: track, device: car-01, fixes: 1000, within: 300ms}
  - {expect: lamp, device: box-01, shows: idle, within: 300ms}
  - {at: 500ms, do: press, device: box-01, button: panic}
  - {expect: incident, device: box-01, count: 0, within: 1s}
  - {at: 1s, do: acknowledge, device: car-01}
  - {at: 2s, do: link cut, device: box-01}
  - {do: press, device: box-01, button: panic}
  - {at: 2500ms, expect: all events stored, within: 1s}
`))
	if code != 1 || r.Passed {
		t.Errorf("exit %d, passed %v: want 1, false", code, r.Passed)
	}
	var failed []int
	for _, s := range r.Steps {
		if !s.OK {
			failed = append(failed, s.Step)
			if s.Detail == "" {
				t.Errorf("step %d does not say why", s.Step)
			}
		}
	}
	if got, want := fmt.Sprint(failed), "[1 2 3 4 5 8 9 12]"; got != want {
		t.Errorf("steps %s failed, want %s", got, want)
	}
	if r.Presses.Waiting != 1 || r.Presses.Lost != 0 {
		t.Errorf("presses %+v: the one behind the cut link waits, and is not lost", r.Presses)
	}
}

// The demonstration: ready, press, incident within a second, lamps, the page,
// and an end that leaves nothing behind.
func TestUp(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	data := t.TempDir()
	out, in := io.Pipe()
	var stderr safeBuffer
	ended := make(chan int, 1)
	go func() {
		ended <- sim.Run(ctx, "test", []string{"up", "--desk-addr", "127.0.0.1:0", "--sim-addr", "127.0.0.1:0", "--data", data}, strings.NewReader(""), in, &stderr)
		_ = in.Close()
	}()
	lines := bufio.NewReader(out)
	line, err := lines.ReadString('\n')
	if err != nil {
		t.Fatalf("no ready line: %v\n%s", err, stderr.String())
	}
	var desk, url string
	if n, err := fmt.Sscanf(line, "ready desk=%s sim=%s\n", &desk, &url); n != 2 || err != nil {
		t.Fatalf("the ready line is %q", line)
	}
	var name, password string
	_, told, _ := strings.Cut(stderr.String(), "sign in: ")
	if n, err := fmt.Sscanf(told, "name=%s password=%s\n", &name, &password); n != 2 || err != nil || len(password) < 20 {
		t.Fatalf("no line to sign in:\n%s", stderr.String())
	}
	var devices struct{ Devices []json.RawMessage }
	get(t, url+"/devices", &devices)
	if len(devices.Devices) != 9 {
		t.Errorf("%d devices, want 9", len(devices.Devices))
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	browser := &http.Client{Jar: jar}
	ask := func(path string, body any) {
		t.Helper()
		b, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := browser.Post(desk+path, "application/json", bytes.NewReader(b))
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%s: %v, %v", path, resp, err)
		}
		_ = resp.Body.Close()
	}
	ask("/api/v1/session", map[string]string{"name": name, "password": password})
	press(t, url+"/devices/box-02/button/fire/press?bounce=true")
	eventually(t, time.Second, func() bool {
		var a struct {
			Incidents []struct{ Device, Kind, State string }
		}
		resp, err := browser.Get(desk + "/api/v1/incidents")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if err := json.NewDecoder(resp.Body).Decode(&a); err != nil || resp.StatusCode != http.StatusOK {
			t.Fatal(resp.Status, err)
		}
		return len(a.Incidents) == 1 && a.Incidents[0].Device == "box-02" && a.Incidents[0].Kind == "fire" && a.Incidents[0].State == "open"
	})
	ask("/api/v1/incidents/1/acknowledge", map[string]string{"by": name})
	eventually(t, 3*time.Second, func() bool {
		var v struct{ Lamps struct{ Shows string } }
		get(t, url+"/devices/box-02", &v)
		return v.Lamps.Shows == "acknowledged"
	})
	cancel()
	select {
	case code := <-ended:
		if code != 0 {
			t.Errorf("exit %d: %s", code, stderr.String())
		}
	case <-time.After(20 * time.Second):
		t.Fatal("it does not end")
	}
	if _, err := http.Get(desk + "/healthz"); err == nil {
		t.Error("the centre is still there")
	}
	if _, err := os.Stat(filepath.Join(data, "box-02", "spool.db")); err != nil {
		t.Error("a data folder that was asked for must stay:", err)
	}
}

func get(t *testing.T, url string, v any) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s", url, resp.Status)
	}
	if err := json.NewDecoder(resp.Body).Decode(v); err != nil {
		t.Fatal(err)
	}
}

func press(t *testing.T, url string) {
	t.Helper()
	resp, err := http.Post(url, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		b, err := io.ReadAll(resp.Body)
		t.Fatal(resp.Status, string(b), err)
	}
}

func eventually(t *testing.T, within time.Duration, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(within); !f(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v", within)
		}
	}
}

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func TestUsageIsAnError(t *testing.T) {
	for _, args := range [][]string{{}, {"dance"}, {"up", "more"}, {"up", "--nothing"}, {"run"}, {"run", "a", "b"}, {"check"}} {
		var stdout, stderr bytes.Buffer
		if code := sim.Run(t.Context(), "test", args, strings.NewReader(""), &stdout, &stderr); code != 2 || !strings.Contains(stderr.String(), "sim: ") {
			t.Errorf("%q: exit %d, %s", args, code, stderr.String())
		}
	}
}
