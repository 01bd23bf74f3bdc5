package bench_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"periph.io/x/conn/v3/gpio"
	"periph.io/x/conn/v3/gpio/gpiotest"

	"github.com/fengsui/fengsui/sim/bench"
	"github.com/fengsui/fengsui/sim/line"
	"github.com/fengsui/fengsui/sim/tty"
)

// An adapter is a machine's lines, and what was done to each.
type adapter struct {
	mu    sync.Mutex
	lines map[string]*pin
	deaf  bool // no line has interrupts
	fails string
}

type pin struct {
	gpiotest.Pin
	a   *adapter
	did []string
}

func (a *adapter) open(name string) (gpio.PinIO, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.lines[name] == nil {
		p := &pin{Pin: gpiotest.Pin{N: name}, a: a}
		if !a.deaf {
			p.EdgesChan = make(chan gpio.Level, 16)
		}
		if a.lines == nil {
			a.lines = make(map[string]*pin)
		}
		a.lines[name] = p
	}
	return a.lines[name], nil
}

func (p *pin) note(format string, args ...any) error {
	p.a.mu.Lock()
	defer p.a.mu.Unlock()
	if p.a.fails == p.N {
		return errors.New("the adapter is unplugged")
	}
	p.did = append(p.did, fmt.Sprintf(format, args...))
	return nil
}

func (p *pin) Out(l gpio.Level) error {
	return errors.Join(p.note("%v", l), p.Pin.Out(l))
}

func (p *pin) In(pull gpio.Pull, edge gpio.Edge) error {
	return errors.Join(p.Pin.In(pull, edge), p.note("in %v %v", pull, edge))
}

func (a *adapter) did(name string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return fmt.Sprint(a.lines[name].did)
}

func load(t *testing.T, text string) *bench.Wiring {
	t.Helper()
	path := filepath.Join(t.TempDir(), "wiring.yaml")
	if err := os.WriteFile(path, []byte("device: box-01\nkey: "+strings.Repeat("1", 64)+"\n"+text), 0o600); err != nil {
		t.Fatal(err)
	}
	w, err := bench.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func open(t *testing.T, a *adapter, text string) *bench.Rig {
	t.Helper()
	r, err := bench.Open(t.Context(), load(t, text), a.open)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Each contact and the relay, by each level, begin and end open.
func TestContacts(t *testing.T) {
	a := new(adapter)
	r := open(t, a, `
lines: {panic: {line: L}, fire: {line: M, active: low}, medical: {line: H, active: high}}
power: {line: P}
`)
	if a.did("P") != "[Low]" {
		t.Errorf("the relay before anything: %s", a.did("P"))
	}
	press := append(line.Contact(line.Low), line.Contact(line.Open)...)
	for _, role := range []string{"panic", "fire", "medical"} {
		r.Play(role, press)
	}
	r.Play("bell", press) // no line: ignored
	r.Power(true)
	r.Power(false)
	r.Power(true)
	closed := func(name string) bool { return strings.Count(a.did(name), " ") >= 2 }
	for !closed("L") || !closed("M") || !closed("H") {
		time.Sleep(time.Millisecond)
	}
	if err := errors.Join(r.Close(), r.Close()); err != nil {
		t.Error(err)
	}
	const free = "in PullNoChange NoEdge"
	for name, want := range map[string]string{
		"L": "[" + free + " Low " + free + " " + free + "]", "M": "[" + free + " Low " + free + " " + free + "]",
		"H": "[Low High Low Low]", "P": "[Low High Low High Low]",
	} {
		if got := a.did(name); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}

	a = new(adapter)
	r = open(t, a, "power: {line: P, active: low}\n")
	r.Power(true)
	if err := r.Close(); err != nil || a.did("P") != "["+free+" Low "+free+"]" {
		t.Errorf("a relay that low closes: %s, %v", a.did("P"), err)
	}
	r = open(t, new(adapter), "") // no relay: nobody's supply is switched
	r.Power(true)
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

// A lamp is on at its level, with the pull that is asked for; a line without
// interrupts is read.
func TestLamps(t *testing.T) {
	for _, deaf := range []bool{false, true} {
		a := &adapter{deaf: deaf}
		r := open(t, a, `
lamps: {red: {line: R}, amber: {line: Y, active: low, pull: up}, siren: {line: S, pull: down}}
`)
		edges := make(chan string, 16)
		r.Watch(func(output string, on bool, _ time.Duration) { edges <- fmt.Sprint(output, " ", on) })
		for _, step := range []struct {
			line string
			to   gpio.Level
			want string
		}{{"R", gpio.High, "red true"}, {"Y", gpio.Low, "amber true"}, {"Y", gpio.High, "amber false"}, {"S", gpio.High, "siren true"}, {"R", gpio.Low, "red false"}} {
			p := a.lines[step.line]
			if deaf {
				p.Lock()
				p.L = step.to
				p.Unlock()
			} else {
				p.EdgesChan <- step.to
			}
			select {
			case got := <-edges:
				if got != step.want {
					t.Errorf("deaf %v: %s, want %s", deaf, got, step.want)
				}
			case <-time.After(10 * time.Second):
				t.Fatalf("deaf %v: nothing, want %s", deaf, step.want)
			}
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		for name, want := range map[string]string{"R": "in Float BothEdges", "Y": "in PullUp BothEdges", "S": "in PullDown BothEdges"} {
			if got := a.did(name); !deaf && got != "["+want+"]" || deaf && !strings.HasSuffix(got, "NoEdge]") {
				t.Errorf("deaf %v: %s: %s, want %s", deaf, name, got, want)
			}
		}
	}
}

// What cannot be driven is told by its field: at the start, or at the end.
func TestFailures(t *testing.T) {
	for line, text := range map[string]string{"L": "lines: {panic: {line: L}}\n", "P": "power: {line: P}\n", "R": "lamps: {red: {line: R}}\n"} {
		_, err := bench.Open(t.Context(), load(t, text), (&adapter{fails: line}).open)
		field := map[string]string{"L": "lines.panic", "P": "power", "R": "lamps.red"}[line]
		if err == nil || !strings.Contains(err.Error(), "bench: "+field+": line "+line) {
			t.Errorf("%s: %v", line, err)
		}
	}
	a := new(adapter)
	r := open(t, a, "power: {line: P}\n")
	a.mu.Lock()
	a.fails = "P"
	a.mu.Unlock()
	r.Power(true)
	a.mu.Lock()
	a.fails = ""
	a.mu.Unlock()
	if err := r.Close(); err == nil || !strings.Contains(err.Error(), "bench: power: line P: the adapter is unplugged") {
		t.Errorf("at the end: %v", err)
	}
}

// The serial ports have the speeds that the wiring says.
func TestPorts(t *testing.T) {
	for text, want := range map[string][2]uint32{
		"": {unix.B9600, unix.B57600}, "gps_baud: 38400\nfinger_baud: 115200\n": {unix.B38400, unix.B115200},
	} {
		var ports [2]*tty.Port
		for i := range ports {
			p, err := tty.Open()
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			ports[i] = p
		}
		r := open(t, new(adapter), fmt.Sprintf("%sgps: %s\nfinger: %s\n", text, ports[0].Path(), ports[1].Path()))
		if r.GPS() == nil || r.Finger() == nil {
			t.Fatal("a port is not there")
		}
		for i, p := range ports {
			f, err := os.OpenFile(p.Path(), os.O_RDWR|unix.O_NOCTTY, 0)
			if errors.Is(err, unix.EBUSY) {
				t.Skip("the port is for one alone")
			} else if err != nil {
				t.Fatal(err)
			}
			set, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
			if err != nil || set.Cflag&unix.CBAUD != want[i] {
				t.Errorf("%q: port %d: %#o, %v; want %#o", text, i, set.Cflag&unix.CBAUD, err, want[i])
			}
			f.Close()
		}
		if _, err := r.GPS().Write([]byte("$GP")); err != nil {
			t.Error(err)
		}
		b := make([]byte, 3)
		if n, err := ports[0].Read(b); err != nil || string(b[:n]) != "$GP" {
			t.Errorf("read %q, %v", b[:n], err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	if r := open(t, new(adapter), ""); r.GPS() != nil || r.Finger() != nil || r.Close() != nil {
		t.Error("ports that nobody asked for")
	}
}

// Each key of a wiring that is out of its bounds is named.
func TestKeys(t *testing.T) {
	for text, want := range map[string]string{
		"gps_baud: 300":                         `field "gps_baud": value "300"`,
		"finger_baud: 230400":                   `field "finger_baud": value "230400"`,
		"lines: {panic: {line: a, active: up}}": `field "lines.panic.active": value "up": want one of high, low`,
		"lines: {panic: {active: low}}":         `field "lines.panic.line"`,
		"lamps: {red: {line: a, pull: hard}}":   `field "lamps.red.pull": value "hard"`,
		"lamps: {red: {line: a, active: on}}":   `field "lamps.red.active"`,
		"power: {line: a, active: both}":        `field "power.active": value "both"`,
		"power: {}":                             `field "power.line"`,
		"power: {line: a, pull: up}":            `field "power.pull"`,
	} {
		path := filepath.Join(t.TempDir(), "wiring.yaml")
		if err := os.WriteFile(path, []byte("device: box-01\nkey: "+strings.Repeat("1", 64)+"\n"+text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := bench.Load(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
	if _, err := bench.Load("nowhere.yaml"); !errors.Is(err, bench.ErrWiring) {
		t.Error(err)
	}
}
