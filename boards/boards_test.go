package boards_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/fengsui/fengsui/boards"
)

// What the loader checks is checked here over all boards: lines and pins used
// once, lines where the header has them, profiles complete, sources named.
func TestEveryBoard(t *testing.T) {
	names := boards.Names()
	for _, want := range []string{"sim", "virt", "rpi-zero-w", "rpi-zero-2w"} {
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
	}
}

// The Zero W and the Zero 2 W have one header and one wiring.
func TestTheZerosAreWiredAlike(t *testing.T) {
	a, err := boards.Load("rpi-zero-w")
	if err != nil {
		t.Fatal(err)
	}
	b, err := boards.Load("rpi-zero-2w")
	if err != nil {
		t.Fatal(err)
	}
	if len(a.Header) != 40 || !slices.Equal(a.Header, b.Header) {
		t.Error("the headers differ")
	}
	for role, l := range a.Lines {
		if b.Lines[role] != l {
			t.Errorf("%s: %+v and %+v", role, l, b.Lines[role])
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
header: [A, B, C, D, E, GND]
lines:
  panic: {line: A, pin: 1}
  red: {line: B, pin: 2, reset: down}
  amber: {line: C, pin: 3}
  green: {line: D, pin: 4}
  siren: {line: E, pin: 5}
uarts: {gps: {port: /dev/x}}
sources: {arch: s, boot: s, header: s, lines: s, uarts: s}
`
	if _, err := boards.Parse("b", []byte(good)); err != nil {
		t.Fatal(err)
	}
	for _, c := range [][3]string{
		{"line: B", "line: A", `b:10: field "lines.red.line": value "A": want a line that is not used by lines.panic`},
		{"line: B", "line: C", `b:10: field "lines.red.line": value "C": want B, which is at pin 2`},
		{"pin: 2", "pin: 1", `b:10: field "lines.red.pin": value "1": want a pin that is not used by lines.panic.pin`},
		{"pin: 2", "pin: 41", `b:10: field "lines.red.pin": value "41": want one of the header's 6 pins`},
		{"B, pin: 2", "B", `b:10: field "lines.red.pin": value "": want the header's pin of this line`},
		{"reset: down", "reset: up", `b:10: field "lines.red.reset": value "up": want a line that rests dark`},
		{"reset: down", "reset: down, active: low", `b:10: field "lines.red.reset": value "down": want a line that rests dark`},
		{"reset: down", "pull: up", `b:10: field "lines.red.pull": value "up": want no pull on an output`},
		{"goarm: 7\n", "", `field "goarm": value "0": want 6 or 7 with arch arm`},
		{"arch: arm\n", "arch: arm64\n", `b:3: field "goarm": value "7": want 6 or 7 with arch arm, and none with others`},
		{"{package: {deb: armhf}}", "{}", `b:6: field "boot": value "": want an image or a package`},
		{"deb: armhf", "deb: arm64", `b:6: field "boot.package.deb": value "arm64": want armhf with arch arm`},
		{"red:", "rot:", `b:10: field "lines.rot": value "rot": want a role: panic, fire, medical, tamper, mains, battery-low, test-key, red, amber, green, siren`},
		{"  siren: {line: E, pin: 5}\n", "", `b:5: field "profiles.0": value "alarm-box": want a profile that this board has all lines for; it has none for siren`},
		{"[alarm-box]", "[patrol-car]", `b:5: field "profiles.0": value "patrol-car": want a profile that this board has all serial ports for; it has none for fingerprint`},
		{"[alarm-box]", "[boat]", `b:5: field "profiles.0": value "boat": want one of alarm-box, patrol-car`},
		{"gps: {port: /dev/x}", "lora: {port: /dev/x}", `b:14: field "uarts.lora": value "lora": want a role: gps, fingerprint`},
		{"/dev/x}", "/dev/x, rx_pin: 1}", `b:14: field "uarts.gps.rx_pin": value "1": want a pin that is not used by lines.panic.pin`},
		{"header: s, ", "", `b:15: field "sources.header": value "": want where the values of header come from`},
		{"arch: s,", "arch: s, watchdog: s,", `b:15: field "sources.watchdog": value "watchdog": want a part that this file has`},
		{"built", "great", `b:4: field "support": value "great": want one of run here, built, described`},
	} {
		_, err := boards.Parse("b", []byte(strings.Replace(good, c[0], c[1], 1)))
		if err == nil || !strings.Contains(err.Error(), c[2]) {
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
