package hw

import (
	"errors"
	"testing"

	"periph.io/x/conn/v3/gpio"
	"periph.io/x/host/v3/bcm283x"
	"periph.io/x/host/v3/orangepi"
	"periph.io/x/host/v3/rpi"

	"github.com/fengsui/fengsui/boards"
)

func TestChipLine(t *testing.T) {
	for in, want := range map[string]struct {
		chip   string
		number int
		ok     bool
	}{
		"9030000.pl061:4": {"9030000.pl061", 4, true},
		"gpiochip0:0":     {"gpiochip0", 0, true},
		"a:b:12":          {"a:b", 12, true},
		"GPIO17":          {"", 0, false},
		":4":              {"", 0, false},
		"a:":              {"a", 0, false},
		"a:-1":            {"a", 0, false},
		"a:70000":         {"a", 65535, false},
	} {
		chip, number, ok := chipLine(in)
		if chip != want.chip || ok != want.ok || ok && number != want.number {
			t.Errorf("%s: %s, %d, %v", in, chip, number, ok)
		}
	}
}

func TestMissingNamesTheLikes(t *testing.T) {
	err := missing("gpio17x", []string{"ID_SDA", "GPIO2", "GPIO17", "GPIO18", "SDA"})
	const want = `no such GPIO line: "gpio17x": this host has 5, such as GPIO17, GPIO18, GPIO2, SDA, ID_SDA`
	if err.Error() != want || !errors.Is(err, ErrNoLine) {
		t.Errorf("got %v\nwant %s", err, want)
	}
}

// The judge of the Raspberry Pi boards: periph's tables of the header, and of
// the pulls that the SoC has after reset.
func TestRaspberryPiHeaders(t *testing.T) {
	header := []interface{ Name() string }{
		rpi.P1_1, rpi.P1_2, rpi.P1_3, rpi.P1_4, rpi.P1_5, rpi.P1_6, rpi.P1_7, rpi.P1_8, rpi.P1_9, rpi.P1_10,
		rpi.P1_11, rpi.P1_12, rpi.P1_13, rpi.P1_14, rpi.P1_15, rpi.P1_16, rpi.P1_17, rpi.P1_18, rpi.P1_19, rpi.P1_20,
		rpi.P1_21, rpi.P1_22, rpi.P1_23, rpi.P1_24, rpi.P1_25, rpi.P1_26, rpi.P1_27, rpi.P1_28, rpi.P1_29, rpi.P1_30,
		rpi.P1_31, rpi.P1_32, rpi.P1_33, rpi.P1_34, rpi.P1_35, rpi.P1_36, rpi.P1_37, rpi.P1_38, rpi.P1_39, rpi.P1_40,
	}
	pulls := make(map[string]gpio.Pull)
	for _, p := range header {
		if p, ok := p.(*bcm283x.Pin); ok {
			pulls[p.Name()] = p.DefaultPull()
		}
	}
	same := map[string]string{"3.3V": "3V3", "GROUND": "GND"}
	reset := map[string]gpio.Pull{"up": gpio.PullUp, "down": gpio.PullDown, "float": gpio.Float}
	for _, name := range []string{"rpi-zero-w", "rpi-zero-2w", "rpi-3b-plus", "rpi-4b", "rpi-cm4", "rpi-5"} {
		b, err := boards.Load(name)
		if err != nil {
			t.Fatal(err)
		}
		if len(b.Headers) != 1 || len(b.Headers[0].Pins) != len(header) {
			t.Fatalf("%s: %+v", name, b.Headers)
		}
		for i, p := range header {
			want := p.Name()
			if s := same[want]; s != "" {
				want = s
			}
			if got := b.Headers[0].Pins[i]; got != want {
				t.Errorf("%s: pin %d is %s, want %s", name, i+1, got, want)
			}
		}
		for role, l := range b.Lines {
			if l.Reset != "" && reset[l.Reset] != pulls[l.Label] {
				t.Errorf("%s: %s at %s: after reset %s, want %v", name, role, l.Line, l.Reset, pulls[l.Label])
			}
		}
		for _, role := range boards.OutputRoles() {
			if b.Lines[role].Reset == "" {
				t.Errorf("%s: %s says nothing of its pull after reset", name, role)
			}
		}
	}
}

// The judge of the Orange Pi Zero: periph's table of its header.
func TestOrangePiHeader(t *testing.T) {
	b, err := boards.Load("orangepi-zero")
	if err != nil {
		t.Fatal(err)
	}
	same := map[string]string{"DC_IN": "3V3", "5V": "5V", "GROUND": "GND"}
	for i, p := range []interface{ Name() string }{
		orangepi.PA1_1, orangepi.PA1_2, orangepi.PA1_3, orangepi.PA1_4, orangepi.PA1_5, orangepi.PA1_6, orangepi.PA1_7,
		orangepi.PA1_8, orangepi.PA1_9, orangepi.PA1_10, orangepi.PA1_11, orangepi.PA1_12, orangepi.PA1_13,
		orangepi.PA1_14, orangepi.PA1_15, orangepi.PA1_16, orangepi.PA1_17, orangepi.PA1_18, orangepi.PA1_19,
		orangepi.PA1_20, orangepi.PA1_21, orangepi.PA1_22, orangepi.PA1_23, orangepi.PA1_24, orangepi.PA1_25, orangepi.PA1_26,
	} {
		want := p.Name()
		if s := same[want]; s != "" {
			want = s
		}
		if got := b.Headers[0].Pins[i]; got != want {
			t.Errorf("pin %d is %s, want %s", i+1, got, want)
		}
	}
}
