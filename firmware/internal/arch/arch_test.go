package arch_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/fengsui/fengsui/firmware/internal/arch"
)

const root = "../../.."

func TestTheTree(t *testing.T) {
	files, err := arch.Load(root)
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 50 {
		t.Fatalf("%d Go files: not the whole tree", len(files))
	}
	for _, line := range arch.Check(files) {
		t.Error(line)
	}
}

// The top level is fixed by the project's owner.
func TestTheTopLevel(t *testing.T) {
	want := []string{"LICENSE", "Makefile", "README.md", "boards", "cloud-bridge", "dist", "firmware", "go.mod", "go.sum", "sim"}
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") && !slices.Contains(want, e.Name()) {
			t.Errorf("%s at the top level: want only %v and dot-files", e.Name(), want)
		}
	}
}

// Each rule finds what it forbids, and lets the like of it pass.
func TestTheRules(t *testing.T) {
	for name, c := range map[string]struct {
		path, src string
		want      int
	}{
		"the bridge takes the contract":  {"cloud-bridge/a.go", `package a; import "github.com/fengsui/fengsui/firmware/wire"`, 0},
		"the bridge takes the spool":     {"cloud-bridge/a.go", `package a; import "github.com/fengsui/fengsui/firmware/spool"`, 1},
		"a bridge test takes the spool":  {"cloud-bridge/a_test.go", `package a; import "github.com/fengsui/fengsui/firmware/spool"`, 1},
		"firmware takes the simulator":   {"firmware/a.go", `package a; import "github.com/fengsui/fengsui/sim/line"`, 1},
		"the simulator takes itself":     {"sim/a.go", `package a; import "github.com/fengsui/fengsui/sim/line"`, 0},
		"firmware takes the bridge":      {"firmware/a.go", `package a; import "github.com/fengsui/fengsui/cloud-bridge/store"`, 1},
		"boards take firmware":           {"boards/a.go", `package a; import "github.com/fengsui/fengsui/firmware/wire"`, 1},
		"the contract takes the spool":   {"firmware/wire/a.go", `package a; import "github.com/fengsui/fengsui/firmware/spool"`, 1},
		"the agent takes periph's host":  {"firmware/agent/a.go", `package a; import "periph.io/x/host/v3/sysfs"`, 1},
		"hw takes periph's host":         {"firmware/internal/hw/a.go", `package a; import "periph.io/x/host/v3"`, 0},
		"the agent takes a serial port":  {"firmware/agent/a.go", `package a; import "go.bug.st/serial"`, 1},
		"the agent names a device":       {"firmware/agent/a.go", `package a; const p = "/dev/ttyS0"`, 1},
		"a test names a device":          {"firmware/agent/a_test.go", `package a; const p = "/dev/ttyS0"`, 0},
		"an init function":               {"sim/a.go", `package a; func init() {}`, 1},
		"a method called init":           {"sim/a.go", `package a; type t int; func (t) init() {}`, 0},
		"a package whose name begins so": {"sim/a.go", `package a; import "github.com/fengsui/fengsui/simple"`, 0},
	} {
		f, err := arch.Parse(c.path, []byte(c.src))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := arch.Check([]arch.File{f}); len(got) != c.want {
			t.Errorf("%s: %v, want %d", name, got, c.want)
		}
	}
}
