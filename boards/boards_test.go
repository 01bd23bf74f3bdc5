package boards_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/fengsui/fengsui/boards"
)

func TestEveryBoard(t *testing.T) {
	names := boards.Names()
	if len(names) == 0 {
		t.Fatal("no boards")
	}
	for _, name := range names {
		b, err := boards.Load(name)
		if err != nil {
			t.Error(err)
			continue
		}
		for _, role := range []string{"panic", "red", "amber", "green", "siren"} { // an alarm box
			if b.Lines[role].Line == "" {
				t.Errorf("%s: no line for %s", name, role)
			}
		}
		if len(b.Sources) == 0 {
			t.Errorf("%s: no sources", name)
		}
	}
}

func TestRefusals(t *testing.T) {
	const good = "name: x\narch: arm\ngoarm: 7\nsupport: built\nheader_pins: 40\nlines: {panic: {line: A, pin: 1}, red: {line: B, pin: 2}}\nsources: [s]\n"
	if _, err := boards.Parse("b", []byte(good)); err != nil {
		t.Fatal(err)
	}
	for _, c := range [][3]string{
		{"line: B", "line: A", `field "lines.red.line": value "A": want a line that is not used by lines.panic`},
		{"pin: 2", "pin: 1", `field "lines.red.pin": value "1": want a pin that is not used by lines.panic.pin`},
		{"pin: 2", "pin: 41", `want a pin from 1 to 40`},
		{"goarm: 7\n", "", `field "goarm": value "0": want 6 or 7 with arch arm`},
		{"red:", "rot:", `field "lines.rot": value "rot": want a role`},
		{"built", "great", `field "support": value "great": want one of run here, built, described`},
	} {
		_, err := boards.Parse("b", []byte(strings.Replace(good, c[0], c[1], 1)))
		if err == nil || !strings.Contains(err.Error(), c[2]) {
			t.Errorf("%s → %s: %v, want %s", c[0], c[1], err, c[2])
		}
	}
	if _, err := boards.Load("toaster"); !errors.Is(err, boards.ErrUnknown) || !strings.Contains(err.Error(), "rpi-zero-w") {
		t.Errorf("toaster: %v", err)
	}
	if _, err := boards.Load("../boards"); !errors.Is(err, boards.ErrUnknown) {
		t.Errorf("../boards: %v", err)
	}
}
