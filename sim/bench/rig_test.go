package bench_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
	"periph.io/x/conn/v3/gpio"
	"periph.io/x/conn/v3/gpio/gpiotest"

	"github.com/fengsui/fengsui/sim/bench"
	"github.com/fengsui/fengsui/sim/line"
	"github.com/fengsui/fengsui/sim/tty"
)

// A pin notes how it is driven, and may fail to be.
type pin struct {
	*gpiotest.Pin
	mu     sync.Mutex
	says   []string
	dead   bool
	noEdge bool
	pull   gpio.Pull
}

func (p *pin) say(s string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dead {
		return errors.New("no such device")
	}
	p.says = append(p.says, s)
	return nil
}

func (p *pin) said() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.says)
}

func (p *pin) Out(l gpio.Level) error { return p.say(l.String()) }

func (p *pin) In(pull gpio.Pull, edge gpio.Edge) error {
	if p.noEdge && edge != gpio.NoEdge {
		return errors.New("no interrupts")
	}
	p.pull = pull
	return p.say("open")
}

func (p *pin) WaitForEdge(d time.Duration) bool { time.Sleep(d); return false }

// load writes a wiring's file and reads it.
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

func lines(names ...string) map[string]*pin {
	pins := make(map[string]*pin)
	for _, n := range names {
		pins[n] = &pin{Pin: &gpiotest.Pin{N: n}}
	}
	return pins
}

func opener(pins map[string]*pin) func(string) (gpio.PinIO, error) {
	return func(name string) (gpio.PinIO, error) {
		if p := pins[name]; p != nil {
			return p, nil
		}
		return nil, fmt.Errorf("no such line: %q", name)
	}
}

// Contacts and the power's relay begin and end open, and each closes by the level
// that its wiring says.
func TestContactsAndPower(t *testing.T) {
	for name, c := range map[string]struct {
		wiring       string
		panic, power []string
	}{
		"as it comes": {"lines: {panic: {line: a}}\npower: {line: b}\n", []string{"open", "Low", "open", "open"}, []string{"Low", "High", "Low", "Low"}},
		"boards of relays": {
			"lines: {panic: {line: a, active: high}}\npower: {line: b, active: low}\n",
			[]string{"Low", "High", "Low", "Low"},
			[]string{"open", "Low", "open", "open"},
		},
		"no relay": {"lines: {panic: {line: a, active: low}}\n", []string{"open", "Low", "open", "open"}, nil},
	} {
		w := load(t, c.wiring)
		synctest.Test(t, func(t *testing.T) {
			pins := lines("a", "b")
			r, err := bench.Open(t.Context(), w, opener(pins))
			if err != nil {
				t.Fatal(name, err)
			}
			r.Power(true)
			r.Play("panic", line.Train{{After: 0, Drive: line.Low}, {After: time.Second, Drive: line.Open}})
			r.Play("none", line.Train{{Drive: line.Low}}) // a role that is not wired
			time.Sleep(2 * time.Second)
			r.Power(false)
			for range 2 { // the second does nothing
				if err := r.Close(); err != nil {
					t.Error(name, err)
				}
			}
			if got := pins["a"].said(); !slices.Equal(got, c.panic) {
				t.Errorf("%s: the contact was %q, want %q", name, got, c.panic)
			}
			if got := pins["b"].said(); !slices.Equal(got, c.power) {
				t.Errorf("%s: the relay was %q, want %q", name, got, c.power)
			}
		})
	}
}

// A line that cannot be driven, or an adapter that is pulled out, fails the run
// with its name.
func TestALineThatFails(t *testing.T) {
	for _, dead := range []string{"a", "b"} {
		w := load(t, "lines: {panic: {line: a}}\npower: {line: b}\n")
		synctest.Test(t, func(t *testing.T) {
			pins := lines("a", "b")
			r, err := bench.Open(t.Context(), w, opener(pins))
			if err != nil {
				t.Fatal(err)
			}
			pins[dead].mu.Lock()
			pins[dead].dead = true
			pins[dead].mu.Unlock()
			r.Power(true)
			r.Play("panic", line.Contact(line.Low))
			time.Sleep(time.Second)
			if err := r.Close(); err == nil || !strings.Contains(err.Error(), "line "+dead+": no such device") {
				t.Errorf("%v: want that of line %s", err, dead)
			}
		})
		pins := lines("a", "b")
		pins[dead].dead = true
		if _, err := bench.Open(t.Context(), w, opener(pins)); err == nil || !strings.Contains(err.Error(), "line "+dead+": no such device") {
			t.Errorf("%v: want that of line %s", err, dead)
		}
	}
}

// A lamp is on at its level, is pulled as its wiring says, and is seen with and
// without interrupts.
func TestLamps(t *testing.T) {
	w := load(t, `lamps:
  red: {line: a}
  amber: {line: b, active: low, pull: up}
  green: {line: c, active: high, pull: down}
  siren: {line: d, active: low, pull: none}
`)
	synctest.Test(t, func(t *testing.T) {
		pins := lines("a", "b", "c", "d")
		pins["b"].noEdge = true
		r, err := bench.Open(t.Context(), w, opener(pins))
		if err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]gpio.Pull{"a": gpio.Float, "b": gpio.PullUp, "c": gpio.PullDown, "d": gpio.Float} {
			if pins[name].pull != want {
				t.Errorf("line %s is pulled %v, want %v", name, pins[name].pull, want)
			}
		}
		set := func(name string, l gpio.Level) {
			if err := pins[name].Pin.Out(l); err != nil {
				t.Error(err)
			}
		}
		set("b", gpio.High)
		set("d", gpio.High)
		var mu sync.Mutex
		var seen []string
		r.Watch(func(output string, on bool, _ time.Duration) {
			mu.Lock()
			defer mu.Unlock()
			seen = append(seen, fmt.Sprint(output, " ", on))
		})
		for _, c := range []struct {
			line  string
			level gpio.Level
		}{{"a", gpio.High}, {"b", gpio.Low}, {"c", gpio.High}, {"d", gpio.Low}, {"b", gpio.High}, {"a", gpio.Low}} {
			time.Sleep(time.Second)
			set(c.line, c.level)
		}
		time.Sleep(time.Second)
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		want := []string{"red true", "amber true", "green true", "siren true", "amber false", "red false"}
		if !slices.Equal(seen, want) {
			t.Errorf("seen %q, want %q", seen, want)
		}
	})
}

// The ports are opened at the speeds of the wiring, and are closed with it.
func TestPorts(t *testing.T) {
	gps, finger := terminal(t), terminal(t)
	r, err := bench.Open(t.Context(), load(t, "gps: "+gps.Path()+"\ngps_baud: 38400\nfinger: "+finger.Path()+"\nfinger_baud: 115200\n"), nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, p := range map[string]*tty.Port{gps.Path(): gps, finger.Path(): finger} {
		f, err := os.OpenFile(name, os.O_RDWR|unix.O_NOCTTY, 0)
		if err != nil {
			t.Fatal(err)
		}
		tio, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
		if want := map[*tty.Port]uint32{gps: unix.B38400, finger: unix.B115200}[p]; err != nil || tio.Cflag&unix.CBAUD != want {
			t.Errorf("%s has the speed %o, want %o: %v", name, tio.Cflag&unix.CBAUD, want, err)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
	if r.GPS() == nil || r.Finger() == nil {
		t.Error("a port is missing")
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	r, err = bench.Open(t.Context(), load(t, ""), nil)
	if err != nil {
		t.Fatal(err)
	}
	if r.GPS() != nil || r.Finger() != nil {
		t.Error("there are ports that nobody wired")
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

func terminal(t *testing.T) *tty.Port {
	t.Helper()
	p, err := tty.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}
