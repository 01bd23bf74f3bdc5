package boards_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/fengsui/fengsui/boards"
)

// What the loader checks is checked here over all boards: lines and pins used
// once, lines where the header has them, profiles complete, sources named.
func TestEveryBoard(t *testing.T) {
	names := boards.Names()
	for _, want := range []string{
		"beaglebone-black", "generic-amd64", "generic-arm64", "nanopi-neo", "orangepi-zero", "rock-3a",
		"rpi-3b-plus", "rpi-4b", "rpi-5", "rpi-cm4", "rpi-zero-2w", "rpi-zero-w", "sim", "virt",
	} {
		if !slices.Contains(names, want) {
			t.Errorf("no board %s", want)
		}
	}
	for _, name := range names {
		b, err := boards.Load(name)
		if err != nil {
			t.Error(err)
			continue
		}
		for _, role := range boards.OutputRoles() {
			if l, ok := b.Lines[role]; ok && (l.Active == "" || l.Pull != "") {
				t.Errorf("%s: %s is %+v", name, role, l)
			}
		}
		for _, role := range boards.InputRoles() {
			if l, ok := b.Lines[role]; ok && (l.Active == "" || l.Pull == "") {
				t.Errorf("%s: %s is %+v", name, role, l)
			}
		}
		if len(b.Headers) == 0 {
			continue
		}
		// What is wired to a header tells all that the wiring wants.
		if b.Limits == nil || b.Watchdog == nil || len(b.Chips) == 0 {
			t.Errorf("%s: has a header, and no limits, watchdog or chips", name)
		}
		for role, l := range b.Lines {
			if l.Ground == "" {
				t.Errorf("%s: %s has no ground", name, role)
			}
		}
		for role, u := range b.UARTs {
			if u.TX != "" && (u.Ground == "" || u.Power == "" || u.Enable == "") {
				t.Errorf("%s: %s wants ground, power and what enables it", name, role)
			}
		}
	}
}

// An output that no resistor of the SoC holds dark has one outside.
func TestOutputsRestDark(t *testing.T) {
	for _, name := range boards.Names() {
		b, err := boards.Load(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, role := range boards.OutputRoles() {
			if l := b.Lines[role]; l.Reset == "float" && !slices.Contains(l.Notes, "pull-down") {
				t.Errorf("%s: %s floats until the agent runs", name, role)
			}
		}
	}
}

// The judge of every header: the vendor's pin table and Linux's names, copied
// from the documents that each file in testdata/pins names.
func TestVendorsPinTables(t *testing.T) {
	for _, name := range boards.Names() {
		b, err := boards.Load(name)
		if err != nil {
			t.Fatal(err)
		}
		if len(b.Headers) == 0 {
			continue
		}
		data, err := os.ReadFile(filepath.Join("testdata/pins", name+".txt"))
		if err != nil {
			t.Error(err)
			continue
		}
		table := make(map[string][]string) // pin → name, chip, number, line
		for row := range strings.Lines(string(data)) {
			if f := strings.SplitN(strings.TrimSpace(row), " ", 5); f[0] != "" && f[0] != "#" {
				table[f[0]] = f[1:]
			}
		}
		pins := 0
		for _, h := range b.Headers {
			for i := range h.Pins {
				pin := fmt.Sprint(i + 1)
				if len(b.Headers) > 1 {
					pin = h.Name + "." + pin
				}
				pins++
				if at, _ := b.At(pin); len(table[pin]) == 0 || at != table[pin][0] {
					t.Errorf("%s: %s is at pin %s, in the vendor's table %q", name, at, pin, table[pin])
				}
			}
		}
		if pins != len(table) {
			t.Errorf("%s: %d pins, the vendor's table has %d", name, pins, len(table))
		}
		for role, l := range b.Lines {
			row := table[l.Pin]
			if len(row) < 3 {
				t.Errorf("%s: %s at pin %s is no line: %q", name, role, l.Pin, row)
				continue
			}
			want := []string{row[1] + ":" + row[2]}
			if len(row) == 4 {
				want = append(want, row[3])
			}
			if !slices.Contains(want, l.Line) || l.Chip != row[1] {
				t.Errorf("%s: %s is line %s of %s, Linux has %s of %s at pin %s", name, role, l.Line, l.Chip, want, row[1], l.Pin)
			}
		}
	}
}

// Allwinner's banks A and G tell of edges, bank C does not (H3 datasheet,
// section 3.2): a button there would never be seen.
func TestInputsTellEdges(t *testing.T) {
	for _, name := range []string{"orangepi-zero", "nanopi-neo"} {
		b, err := boards.Load(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, role := range boards.InputRoles() {
			if l, ok := b.Lines[role]; ok && !strings.HasPrefix(l.Label, "PA") && !strings.HasPrefix(l.Label, "PG") {
				t.Errorf("%s: %s at %s", name, role, l.Label)
			}
		}
	}
}

// What the BeagleBone's eMMC, HDMI and boot switches use is nobody else's
// (System Reference Manual, section 7.1).
func TestBeagleBonesTakenPins(t *testing.T) {
	b, err := boards.Load("beaglebone-black")
	if err != nil {
		t.Fatal(err)
	}
	for role, l := range b.Lines {
		var n int
		if _, err := fmt.Sscanf(l.Pin, "P8.%d", &n); err == nil && (n >= 3 && n <= 6 || n >= 20 && n <= 25 || n >= 27) {
			t.Errorf("%s at %s, which is taken", role, l.Pin)
		}
		if _, err := fmt.Sscanf(l.Pin, "P9.%d", &n); err == nil && (n == 19 || n == 20 || n == 25 || n == 28 || n == 29 || n == 31) {
			t.Errorf("%s at %s, which is taken", role, l.Pin)
		}
	}
}

// All Raspberry Pi have one header and one wiring.
func TestRaspberryPisAreWiredAlike(t *testing.T) {
	first, err := boards.Load("rpi-zero-w")
	if err != nil {
		t.Fatal(err)
	}
	if len(first.Headers) != 1 || len(first.Headers[0].Pins) != 40 {
		t.Fatal("want one header of 40 pins")
	}
	for _, name := range []string{"rpi-zero-2w", "rpi-3b-plus", "rpi-4b", "rpi-cm4", "rpi-5"} {
		b, err := boards.Load(name)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(first.Headers, b.Headers) {
			t.Errorf("%s: the headers differ", name)
		}
		for role, l := range b.Lines {
			want := first.Lines[role]
			want.Chip, want.Line = l.Chip, l.Line
			if !reflect.DeepEqual(l, want) {
				t.Errorf("%s: %s: %+v and %+v", name, role, l, want)
			}
		}
	}
}

// On a Raspberry Pi 5 a line's name would lead periph to an older board's
// registers: see the file.
func TestRaspberryPi5ByNumber(t *testing.T) {
	b, err := boards.Load("rpi-5")
	if err != nil {
		t.Fatal(err)
	}
	for role, l := range b.Lines {
		if want := "pinctrl-rp1:" + strings.TrimPrefix(l.Label, "GPIO"); l.Line != want {
			t.Errorf("%s: %s, want %s", role, l.Line, want)
		}
	}
}

func TestAt(t *testing.T) {
	bone, err := boards.Load("beaglebone-black")
	if err != nil {
		t.Fatal(err)
	}
	pi, err := boards.Load("rpi-5")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		b         *boards.Board
		pin, want string
	}{
		{bone, "P9.11", "P9_11"},
		{bone, "P8.46", "P8_46"},
		{bone, "P8.47", ""},
		{bone, "P8.0", ""},
		{bone, "P8.07", ""},
		{bone, "P8.+7", ""},
		{bone, "P8.", ""},
		{bone, "P7.1", ""},
		{bone, "11", ""},
		{pi, "8", "GPIO14"},
		{pi, "GPIO.8", ""},
		{pi, "41", ""},
		{pi, "", ""},
		{new(boards.Board), "1", ""},
	} {
		if got, ok := c.b.At(c.pin); got != c.want || ok != (c.want != "") {
			t.Errorf("%s: %q, %v; want %q", c.pin, got, ok, c.want)
		}
	}
}

func TestRefusals(t *testing.T) {
	const good = `name: x
arch: arm
goarm: 7
support: built
profiles: [alarm-box]
boot: {package: {deb: armhf}}
headers: [{name: J1, pins: [A, B, C, D, E, GND, 3V3, F]}]
lines:
  panic: {line: A, pin: 1}
  red: {line: B, pin: 2, reset: down}
  amber: {line: C, pin: 3}
  green: {line: D, pin: 4}
  siren: {line: E, pin: 5}
uarts: {gps: {port: /dev/x}}
sources: {arch: s, boot: s, headers: s, lines: s, uarts: s, lines.red: s}
`
	if _, err := boards.Parse("b", []byte(good)); err != nil {
		t.Fatal(err)
	}
	for _, c := range [][3]string{
		{"line: B", "line: A", `b:10: field "lines.red.line": value "A": want a line that is not used by lines.panic`},
		{"line: B", "line: C", `b:10: field "lines.red.line": value "C": want B, which is at pin 2`},
		{"line: B", "line: C, label: B", `b:10: field "lines.red.line": value "C": want a line that is not used by lines.amber`},
		{"line: B", "line: X, label: Y", `b:10: field "lines.red.line": value "Y": want B, which is at pin 2`},
		{"pin: 2", "pin: 1", `b:10: field "lines.red.pin": value "1": want a pin that is not used by lines.panic.pin`},
		{"pin: 2", "pin: 41", `b:10: field "lines.red.pin": value "41": want one of the header's 8 pins`},
		{"pin: 2", "pin: J1.2", `b:10: field "lines.red.pin": value "J1.2": want one of the header's 8 pins`},
		{"B, pin: 2", "B", `b:10: field "lines.red.pin": value "": want the header's pin of this line`},
		{"pin: 1}", "pin: 1, ground: 7}", `b:9: field "lines.panic.ground": value "7": want a pin of GND; 3V3 is at this one`},
		{"pin: 1}", "pin: 1, ground: 70}", `b:9: field "lines.panic.ground": value "70": want one of the header's 8 pins`},
		{"reset: down", "reset: up", `b:10: field "lines.red.reset": value "up": want a line that rests dark`},
		{"reset: down", "reset: down, active: low", `b:10: field "lines.red.reset": value "down": want a line that rests dark`},
		{"reset: down", "pull: up", `b:10: field "lines.red.pull": value "up": want no pull on an output`},
		{"goarm: 7\n", "", `field "goarm": value "0": want 6 or 7 with arch arm`},
		{"arch: arm\n", "arch: arm64\n", `b:3: field "goarm": value "7": want 6 or 7 with arch arm, and none with others`},
		{"{package: {deb: armhf}}", "{}", `b:6: field "boot": value "": want an image or a package`},
		{"deb: armhf", "deb: arm64", `b:6: field "boot.package.deb": value "arm64": want armhf with arch arm`},
		{"}]", "}, {name: J1, pins: [A, B]}]", `b:7: field "headers.1.name": value "J1": want another name than headers.0`},
		{"}]", "}, {name: J2, pins: [A]}]", `b:7: field "headers.1.pins": value "1": want an even number of pins`},
		{"}]", "}, {name: J2, pins: [A, B]}]", `b:9: field "lines.panic.pin": value "1": want a pin: J1.1 to J1.8, J2.1 to J2.2`},
		{"J1", "J.1", `b:7: field "headers.0.name": value "J.1": want a name without full stop and space`},
		{"lines:", "chips: {c: 4}\nlines:", `field "sources.chips": value "": want where the values of chips come from`},
		{"lines:", "chips: {c: 4, d: 4}\nlines:", `field "lines.panic.chip": value "": want one of the board's chips: c, d`},
		{"line: A, pin", "line: \"c:4\", label: A, pin", ``},
		{"red:", "rot:", `b:10: field "lines.rot": value "rot": want a role: panic, fire, medical, tamper, mains, battery-low, test-key, check-in, red, amber, green, siren`},
		{"  siren: {line: E, pin: 5}\n", "", `b:5: field "profiles.0": value "alarm-box": want a profile that this board has all lines for; it has none for siren`},
		{"[alarm-box]", "[patrol-car]", `b:5: field "profiles.0": value "patrol-car": want a profile that this board has all serial ports for; it has none for fingerprint`},
		{"[alarm-box]", "[boat]", `b:5: field "profiles.0": value "boat": want one of alarm-box, patrol-car, patrol-motorcycle`},
		{"gps: {port: /dev/x}", "lora: {port: /dev/x}", `b:14: field "uarts.lora": value "lora": want a role: gps, fingerprint, modem`},
		{"/dev/x}", "/dev/x, tx_pin: 8, rx_pin: 1}", `b:14: field "uarts.gps.rx_pin": value "1": want a pin that is not used by lines.panic.pin`},
		{"/dev/x}", "/dev/x, tx_pin: 8}", `b:14: field "uarts.gps.rx_pin": value "": want both pins or none`},
		{"/dev/x}", "/dev/x, power_pin: 6}", `b:14: field "uarts.gps.power_pin": value "6": want a pin of power; GND is at this one`},
		{"/dev/x}", "/dev/x}, modem: {port: /dev/x}", `b:14: field "uarts.modem.port": value "/dev/x": want a port that is not used by uarts.gps`},
		{"headers: s, ", "", `b:15: field "sources.headers": value "": want where the values of headers come from`},
		{"arch: s,", "arch: s, watchdog: s,", `b:15: field "sources.watchdog": value "watchdog": want a part that this file has`},
		{"lines.red: s", "lines.blue: s", `b:15: field "sources.lines.blue": value "lines.blue": want a part that this file has`},
		{"built", "great", `b:4: field "support": value "great": want one of run here, built, described`},
	} {
		_, err := boards.Parse("b", []byte(strings.Replace(good, c[0], c[1], 1)))
		if c[2] == "" {
			if err != nil {
				t.Errorf("%s → %s: %v", c[0], c[1], err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), c[2]) {
			t.Errorf("%s → %s:\n got %v\nwant %s", c[0], c[1], err, c[2])
		}
	}
	chips := strings.NewReplacer("headers: [", "chips: {c: 4, d: 2}\nheaders: [", "boot: s,", "boot: s, chips: s,", "{line:", "{chip: c, line:").Replace(good)
	if _, err := boards.Parse("b", []byte(chips)); err != nil {
		t.Fatal(err)
	}
	for _, c := range [][3]string{
		{"chip: c, line: A", "line: 'd:1', label: A", ``},
		{"chip: c, line: A", "line: 'd:2', label: A", `b:10: field "lines.panic.line": value "d:2": want a number from 0 to 1`},
		{"chip: c, line: A", "line: 'e:1', label: A", `b:10: field "lines.panic.line": value "e:1": want CHIP:NUMBER with one of the board's chips: c, d`},
		{"chip: c, line: A", "chip: c, line: 'd:1', label: A", `b:10: field "lines.panic.chip": value "c": want d, as in its line, or nothing`},
		{"chip: c, line: A", "chip: e, line: A", `b:10: field "lines.panic.chip": value "e": want one of the board's chips: c, d`},
	} {
		_, err := boards.Parse("b", []byte(strings.Replace(chips, c[0], c[1], 1)))
		if (err == nil) != (c[2] == "") || err != nil && !strings.Contains(err.Error(), c[2]) {
			t.Errorf("%s → %s:\n got %v\nwant %s", c[0], c[1], err, c[2])
		}
	}
	if _, err := boards.Load("toaster"); !errors.Is(err, boards.ErrUnknown) || !strings.Contains(err.Error(), "rpi-zero-w") {
		t.Errorf("toaster: %v", err)
	}
	if _, err := boards.Load("../boards"); !errors.Is(err, boards.ErrUnknown) {
		t.Errorf("../boards: %v", err)
	}
}
