package sim_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.yaml.in/yaml/v4"
	"periph.io/x/conn/v3/gpio"

	"github.com/fengsui/fengsui/firmware/agent"
	"github.com/fengsui/fengsui/sim"
	"github.com/fengsui/fengsui/sim/child"
	"github.com/fengsui/fengsui/sim/line"
	"github.com/fengsui/fengsui/sim/mono"
	"github.com/fengsui/fengsui/sim/play"
	"github.com/fengsui/fengsui/sim/tty"
)

// A realBoard stands for a board on the bench: the shipping agent in a process
// that the simulator did not start, behind jumpers and crossed serial cables.
type realBoard struct {
	t      *testing.T
	dir    string
	key    string
	inputs map[string]string // a line of the bench → the board's line that it closes
	bank   *line.Bank        // the bench's lines that see the board's
	seen   map[string]string // the board's line → the line of the bench
	config map[string]any

	relay   string     // the bench's line of the relay in its supply; "": it has power always
	closes  line.Drive // … and what closes that
	changed chan struct{}

	mu    sync.Mutex
	stdin io.Writer // nil: the board does not run
	moved map[string]line.Drive
	power bool
	cuts  int       // of the power
	cmd   *exec.Cmd // nil: the board does not run
}

func newRealBoard(t *testing.T, config map[string]any) *realBoard {
	b := &realBoard{t: t, dir: t.TempDir(), config: config, moved: make(map[string]line.Drive), changed: make(chan struct{}, 1)}
	b.bank = line.NewBank(mono.Now, func(string, gpio.Level, time.Duration) {})
	key, err := agent.LoadOrCreateKey(b.dir)
	if err != nil {
		t.Fatal(err)
	}
	b.key = hex.EncodeToString(key.Public().(ed25519.PublicKey))
	return b
}

// A jumper is a line of the bench that ends at an input of the board.
type jumper struct {
	*line.Line
	drive func(line.Drive)
}

func (j jumper) Out(l gpio.Level) error {
	j.drive(map[gpio.Level]line.Drive{gpio.Low: line.Low, gpio.High: line.High}[l])
	return nil
}

func (j jumper) In(gpio.Pull, gpio.Edge) error { j.drive(line.Open); return nil }

// open is the bench's opener of lines.
func (b *realBoard) open(name string) (gpio.PinIO, error) {
	if far, ok := b.inputs[name]; ok {
		return jumper{b.bank.Line(name), func(d line.Drive) { b.drive(far, d) }}, nil
	}
	if name == b.relay {
		return jumper{b.bank.Line(name), b.supply}, nil
	}
	for _, near := range b.seen {
		if near == name {
			return b.bank.Line(name), nil
		}
	}
	return nil, fmt.Errorf("no such line: %q", name)
}

// supply is what the relay does: without power the process is gone at once, as
// a board is.
func (b *realBoard) supply(d line.Drive) {
	b.mu.Lock()
	defer b.mu.Unlock()
	was := b.power
	b.power = d == b.closes
	if was && !b.power && b.cmd != nil {
		b.cuts++
		_ = syscall.Kill(-b.cmd.Process.Pid, syscall.SIGKILL) // it may have ended just now
	}
	select {
	case b.changed <- struct{}{}:
	default:
	}
}

// powered waits for power; false: ctx has ended.
func (b *realBoard) powered(ctx context.Context) bool {
	for {
		b.mu.Lock()
		on := b.power || b.relay == ""
		b.mu.Unlock()
		if on {
			return ctx.Err() == nil
		}
		select {
		case <-b.changed:
		case <-ctx.Done():
			return false
		}
	}
}

func (b *realBoard) drive(far string, d line.Drive) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.moved[far] = d
	if b.stdin != nil {
		b.send(child.Command{Line: far, Train: line.Contact(d)})
	}
}

// send writes a command; the caller holds b.mu.
func (b *realBoard) send(c child.Command) {
	_ = json.NewEncoder(b.stdin).Encode(c) // a board that has ended shows in the report
}

// cable returns the two ends of a crossed serial cable.
func cable(t *testing.T) (bench, board string) {
	t.Helper()
	ends := make([]*tty.Port, 2)
	for i := range ends {
		p, err := tty.Open()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = p.Close() })
		ends[i] = p
	}
	go func() { _, _ = io.Copy(ends[0], ends[1]) }()
	go func() { _, _ = io.Copy(ends[1], ends[0]) }()
	return ends[0].Path(), ends[1].Path()
}

// run is the board on the configuration that the bench asked for, whenever it
// has power, until ctx ends.
func (b *realBoard) run(ctx context.Context, server, key string) error {
	b.config["data"] = b.dir
	b.config["centre"] = map[string]any{"servers": []string{server}, "key": key}
	y, err := yaml.Marshal(b.config)
	if err != nil {
		return err
	}
	path := filepath.Join(b.t.TempDir(), "device.yaml")
	if err := os.WriteFile(path, y, 0o600); err != nil {
		return err
	}
	for b.powered(ctx) {
		if err := b.boot(ctx, path); err != nil || b.relay == "" {
			return err
		}
	}
	return nil
}

// boot is one start of the board, until its power or ctx ends.
func (b *realBoard) boot(ctx context.Context, path string) error {
	cmd := exec.Command(os.Args[0], "__device", "--config", path)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var stderr safeBuffer
	cmd.Stderr = &stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	b.mu.Lock()
	b.stdin, b.cmd = stdin, cmd
	if b.relay != "" && !b.power { // it went in the meantime
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	}
	for far, d := range b.moved {
		b.send(child.Command{Line: far, Train: line.Contact(d)})
	}
	b.send(child.Command{Start: true})
	b.mu.Unlock()
	stop := context.AfterFunc(ctx, func() { _ = stdin.Close() })
	defer stop()
	for dec := json.NewDecoder(stdout); ; {
		var r child.Report
		if err := dec.Decode(&r); err != nil {
			break
		}
		if near, ok := b.seen[r.Line]; ok {
			d := line.Low
			if r.High {
				d = line.High
			}
			if err := b.bank.Line(near).Drive(d); err != nil {
				return err
			}
		}
	}
	err = cmd.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stdin, b.cmd = nil, nil
	for _, near := range b.seen { // without a board nothing is driven
		err = errors.Join(err, b.bank.Line(near).Drive(line.Low))
	}
	if killed := new(exec.ExitError); errors.As(err, &killed) && b.relay != "" && !b.power {
		return nil
	}
	if err != nil {
		return fmt.Errorf("the board: %w: %s", err, stderr.String())
	}
	return nil
}

// asked matches what the bench wants in the device's configuration.
var asked = regexp.MustCompile(`servers: \["(mqtt://[^"]+)"\]\s+key: ([0-9a-f]{64})`)

// playBench plays a scenario to the board with a wiring.
func (b *realBoard) playBench(scenario, wiring string) (play.Report, error) {
	b.t.Helper()
	ctx, cancel := context.WithCancel(b.t.Context())
	defer cancel()
	report := filepath.Join(b.t.TempDir(), "out.json")
	out, in := io.Pipe()
	var told, stderr safeBuffer
	board := make(chan error, 1)
	go func() {
		buf := make([]byte, 4096)
		started := false
		for {
			n, err := out.Read(buf)
			_, _ = told.Write(buf[:n])
			if m := asked.FindStringSubmatch(told.String()); m != nil && !started && strings.Contains(told.String(), "waiting for") {
				started = true
				go func() { board <- b.run(ctx, m[1], m[2]) }()
			}
			if err != nil {
				if !started {
					board <- nil
				}
				return
			}
		}
	}()
	err := sim.Bench(ctx, "test", []string{
		scenario, "--wiring", write(b.t, "wiring.yaml", wiring), "--mqtt-addr", "127.0.0.1:0",
		"--data", b.t.TempDir(), "--report", report, "--wait", "1m",
	}, in, &stderr, b.open)
	_ = in.Close()
	cancel()
	if err := <-board; err != nil {
		b.t.Error(err)
	}
	b.t.Logf("%s%s", stderr.String(), told.String())
	var r play.Report
	if text, rerr := os.ReadFile(report); rerr == nil {
		if err := json.Unmarshal(text, &r); err != nil {
			b.t.Error(err)
		}
	}
	return r, err
}

func lineOf(name string) map[string]any { return map[string]any{"line": name} }

// aBox is an alarm box on the bench, with what its wiring says of lines.
func aBox(t *testing.T) (*realBoard, string) {
	b := newRealBoard(t, map[string]any{
		"device": "box-01", "profile": "alarm-box",
		"buttons": map[string]any{"panic": map[string]any{"line": "GPIO17", "active": "low", "pull": "up", "kind": "panic"}},
		"lamps":   map[string]any{"red": lineOf("GPIO5"), "amber": lineOf("GPIO6"), "green": lineOf("GPIO13")},
		"siren":   lineOf("GPIO19"),
	})
	b.inputs = map[string]string{"jumper:0": "GPIO17"}
	b.seen = map[string]string{"GPIO5": "jumper:4", "GPIO6": "jumper:5", "GPIO13": "jumper:6", "GPIO19": "jumper:7"}
	return b, fmt.Sprintf(`
device: box-01
key: %s
lines: {panic: {line: "jumper:0"}}
lamps: {red: {line: "jumper:4"}, amber: {line: "jumper:5"}, green: {line: "jumper:6"}, siren: {line: "jumper:7"}}
`, b.key)
}

func holds(t *testing.T, r play.Report, err error) {
	t.Helper()
	if err != nil || !r.Passed || r.Captured == 0 || r.Stored != r.Captured {
		t.Errorf("%v; passed %v, captured %d, stored %d", err, r.Passed, r.Captured, r.Stored)
	}
}

// The shipped scenarios hold on the bench: the agent runs in a process that the
// simulator touches by lines and serial ports only.
func TestBenchDevice(t *testing.T) {
	t.Parallel()
	t.Run("one-press", func(t *testing.T) {
		t.Parallel()
		b, wiring := aBox(t)
		r, err := b.playBench("scenarios/one-press.yaml", wiring)
		holds(t, r, err)
	})
	for name, relay := range map[string]struct {
		closes line.Drive
		active string
	}{"power-cut": {line.High, ""}, "power-cut by an active low relay": {line.Low, ", active: low"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, wiring := aBox(t)
			b.relay, b.closes = "jumper:3", relay.closes
			r, err := b.playBench("scenarios/power-cut.yaml", wiring+`power: {line: "jumper:3"`+relay.active+"}\n")
			holds(t, r, err)
			b.mu.Lock()
			defer b.mu.Unlock()
			if b.cuts != 1 && b.cuts != 2 || b.power { // the second is the bench's end
				t.Errorf("the power was cut %d times, and is on at the end: %v", b.cuts, b.power)
			}
		})
	}
	t.Run("tamper-and-test", func(t *testing.T) {
		t.Parallel()
		b, wiring := aBox(t)
		contact := func(l string) map[string]any {
			return map[string]any{"line": l, "active": "high", "pull": "up"} // closed while all is well
		}
		b.config["inputs"] = map[string]any{"tamper": contact("GPIO22"), "mains": contact("GPIO23"), "test-key": contact("GPIO24")}
		for near, far := range map[string]string{"jumper:8": "GPIO22", "jumper:9": "GPIO23", "jumper:10": "GPIO24"} {
			b.inputs[near] = far
		}
		r, err := b.playBench("scenarios/tamper-and-test.yaml", strings.Replace(wiring, "lines: {",
			`lines: {tamper: {line: "jumper:8"}, mains: {line: "jumper:9"}, test-key: {line: "jumper:10"}, `, 1))
		holds(t, r, err)
	})
	t.Run("officer", func(t *testing.T) {
		t.Parallel()
		b, wiring := aBox(t)
		near, far := cable(t)
		b.config["fingerprint"] = map[string]any{"port": far, "officers": map[int]string{1: "P-1001"}}
		r, err := b.playBench("scenarios/officer.yaml", wiring+"finger: "+near+"\n")
		holds(t, r, err)
	})
	t.Run("drive", func(t *testing.T) {
		t.Parallel()
		near, far := cable(t)
		b := newRealBoard(t, map[string]any{"device": "car-01", "profile": "patrol-car", "gps": map[string]any{"port": far}})
		r, err := b.playBench("scenarios/drive.yaml", fmt.Sprintf("device: car-01\nkey: %s\ngps: %s\n", b.key, near))
		holds(t, r, err)
	})
	// The control: a press on a jumper that ends nowhere is no press.
	t.Run("loose jumper", func(t *testing.T) {
		t.Parallel()
		b, wiring := aBox(t)
		b.inputs["jumper:0"] = "GPIO27"
		r, err := b.playBench("scenarios/one-press.yaml", wiring)
		if err == nil || r.Passed || r.Presses.Lost != 1 {
			t.Errorf("%v; passed %v, presses %+v: want one lost", err, r.Passed, r.Presses)
		}
	})
}

// What cannot be done on a bench, and what is wired wrong, is named before
// anything starts.
func TestBenchDeviceRefuses(t *testing.T) {
	t.Parallel()
	const key = "1111111111111111111111111111111111111111111111111111111111111111"
	const lamps = `lamps: {red: {line: "a:4"}, amber: {line: "a:5"}, green: {line: "a:6"}, siren: {line: "a:7"}}` + "\n"
	box := "device: box-01\nkey: " + key + "\n"
	for name, c := range map[string]struct{ scenario, wiring, want string }{
		"a line twice":   {"one-press", box + `lines: {panic: {line: "a:1"}, fire: {line: "a:1"}}`, `wiring.yaml:3: field "lines.panic.line": value "a:1": want another line: that is the one of lines.fire`},
		"power's line":   {"one-press", box + lamps + `power: {line: "a:4"}`, `field "power.line": value "a:4": want another line: that is the one of lamps.red`},
		"no port":        {"drive", "device: car-01\nkey: " + key + "\ngps: /dev/ttyUSB99\n", `field "gps": value "/dev/ttyUSB99": want the path of a serial port that is there`},
		"a port twice":   {"officer", box + "gps: /dev/null\nfinger: /dev/null\n", `field "finger": value "/dev/null": want another port than that of gps`},
		"unknown role":   {"one-press", box + lamps + `lines: {panic: {line: "a:1"}, bell: {line: "a:2"}}`, `field "lines.bell": want a button or an input of box-01: fire, panic`},
		"unknown lamp":   {"one-press", box + `lamps: {blue: {line: "a:1"}}`, `field "lamps.blue": value "blue": want one of red, amber, green, siren`},
		"unknown device": {"one-press", "device: box-09\nkey: " + key + "\n", `field "device": value "box-09": want a device of the scenario: box-01`},
		"bad key":        {"one-press", "device: box-01\nkey: abc\n", `field "key": value "abc": want the device's public key, 64 hexadecimal digits`},
		"unknown field":  {"one-press", box + "gpss: x\n", `field "gpss": want a known key`},
		"not wired":      {"one-press", box + lamps, `step 2 of the scenario (press box-01 panic): no line closes it: want lines.panic`},
		"unseen":         {"one-press", box + `lines: {panic: {line: "a:1"}}`, `step 1 of the scenario (expect lamp box-01 idle within: 1s): nothing sees it: want lamps.red`},
		"no sensor":      {"officer", box + lamps + `lines: {panic: {line: "a:1"}}`, `(finger box-01 slot: 1): want finger in the wiring`},
		"no power":       {"power-cut", box + lamps + `lines: {panic: {line: "a:1"}}`, `(power cut box-01): want power, a relay's line, in the wiring`},
		"its clock":      {"wrong-clock", box + lamps, `device box-01 of the scenario has clock: its clock is its own`},
		"its card":       {"twins", box + lamps, `(twin start box-01): it cannot be done to a real device: want a scenario without it`},
		"no line":        {"one-press", box + lamps + `lines: {panic: {line: "a:1"}}`, `bench: lines.panic: no such line: "a:1"`},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			err := sim.Bench(t.Context(), "test", []string{
				"scenarios/" + c.scenario + ".yaml", "--wiring", write(t, "wiring.yaml", c.wiring), "--mqtt-addr", "127.0.0.1:0", "--data", t.TempDir(),
			}, &out, &out, func(name string) (gpio.PinIO, error) { return nil, fmt.Errorf("no such line: %q", name) })
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
		})
	}
	for _, args := range []string{
		"bench", "bench x.yaml", "bench x.yaml --wiring w", "bench x.yaml --wiring w --data d", "bench x.yaml --wiring w --data d --mqtt-addr 0.0.0.0:1883",
	} {
		var out, errs bytes.Buffer
		if code := sim.Run(t.Context(), "test", strings.Fields(args), strings.NewReader(""), &out, &errs); code != 2 {
			t.Errorf("%s: exit %d: %s", args, code, errs.String())
		}
	}
}
