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
	for _, line := range slices.Concat(arch.Check(files), arch.Undocumented(files)) {
		t.Error(line)
	}
}

func TestTheTopLevel(t *testing.T) {
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	for _, line := range arch.TopLevel(names) {
		t.Error(line)
	}
	if got := arch.TopLevel(slices.Concat(names, []string{"docs", ".x", "dist"})); len(got) != 1 || !strings.HasPrefix(got[0], "docs: want") {
		t.Errorf("one folder too many: %v", got)
	}
	names = slices.DeleteFunc(names, func(n string) bool { return n == "boards" })
	if got := arch.TopLevel(names); !slices.Equal(got, []string{"boards: missing at the top level"}) {
		t.Errorf("one too few: %v", got)
	}
}

// Each rule finds what it forbids, alone, and lets the like of it pass.
func TestTheRules(t *testing.T) {
	const m = `package a; import "github.com/fengsui/fengsui/`
	broken := make(map[string]bool)
	for name, c := range map[string]struct {
		path, src string
		reason    string // how the reason of the rule that it breaks begins
	}{
		"the bridge takes the contract":           {"cloud-bridge/a.go", m + `firmware/wire"`, ""},
		"the bridge takes the YAML reader":        {"cloud-bridge/a.go", m + `boards/strictyaml"`, ""},
		"the bridge takes the spool":              {"cloud-bridge/a.go", m + `firmware/spool"`, "cloud-bridge knows"},
		"the bridge takes a part of wire":         {"cloud-bridge/a.go", m + `firmware/wire/x"`, "cloud-bridge knows"},
		"a bridge test takes the spool":           {"cloud-bridge/a_test.go", m + `firmware/spool"`, "cloud-bridge knows"},
		"by another name":                         {"cloud-bridge/b/a.go", `package a; import _ "github.com/fengsui/fengsui/firmware/agent"`, "cloud-bridge knows"},
		"firmware takes the simulator":            {"firmware/a.go", m + `sim/line"`, "nothing imports sim"},
		"a test takes the simulator":              {"boards/a_test.go", m + `sim"`, "nothing imports sim"},
		"the simulator takes itself":              {"sim/a.go", m + `sim/line"`, ""},
		"the simulator takes the bridge":          {"sim/a.go", m + `cloud-bridge/bridge"`, ""},
		"a package whose name begins so":          {"firmware/a.go", m + `simple"`, ""},
		"firmware takes the bridge":               {"firmware/a.go", m + `cloud-bridge/store"`, "firmware runs without"},
		"boards take firmware":                    {"boards/a.go", m + `firmware/wire"`, "boards are data"},
		"the board command checks configurations": {"boards/cli/a.go", m + `firmware/config"`, ""},
		"the board command runs the agent":        {"boards/cli/a.go", m + `firmware/agent"`, "boards are data"},
		"boards check configurations":             {"boards/image/a.go", m + `firmware/config"`, "boards are data"},
		"boards take the bridge":                  {"boards/x/a.go", m + `cloud-bridge/store"`, "boards are data"},
		"the contract takes the spool":            {"firmware/wire/a.go", m + `firmware/spool"`, "the contract stands alone"},
		"the contract's test takes a lot":         {"firmware/wire/a_test.go", m + `firmware/spool"`, ""},
		"the agent takes periph's host":           {"firmware/agent/a.go", `package a; import "periph.io/x/host/v3/sysfs"`, "only firmware/internal/hw touches periph"},
		"a test takes periph's host":              {"boards/a_test.go", `package a; import "periph.io/x/host/v3"`, "only firmware/internal/hw touches periph"},
		"the agent takes periph's pins":           {"firmware/agent/a.go", `package a; import "periph.io/x/conn/v3/gpio"`, ""},
		"hw takes periph's host":                  {"firmware/internal/hw/a.go", `package a; import "periph.io/x/host/v3"`, ""},
		"the agent takes a serial port":           {"firmware/agent/a.go", `package a; import "go.bug.st/serial"`, "the ports are opened"},
		"the starter takes the radio":             {"firmware/starter/a.go", `package a; import "github.com/mdlayher/wifi"`, "only firmware/internal/hw speaks"},
		"hw takes the radio":                      {"firmware/internal/hw/a.go", `package a; import "github.com/mdlayher/wifi"`, ""},
		"a test takes a serial port":              {"firmware/agent/a_test.go", `package a; import "go.bug.st/serial"`, ""},
		"the agent names a device":                {"firmware/agent/a.go", `package a; const p = "/dev/ttyS0"`, "only firmware/internal/hw touches device"},
		"and in a raw string":                     {"sim/a.go", "package a; const p = `in /dev/x`", "only firmware/internal/hw touches device"},
		"and in another internal package":         {"firmware/internal/x/a.go", `package a; const p = "/dev/ttyS0"`, "only firmware/internal/hw touches device"},
		"a comment names a device":                {"firmware/agent/a.go", "package a // /dev/ttyS0", ""},
		"a test names a device":                   {"firmware/agent/a_test.go", `package a; const p = "/dev/ttyS0"`, ""},
		"hw names a device":                       {"firmware/internal/hw/a.go", `package a; const p = "/dev/ttyS0"`, ""},
		"an init function":                        {"sim/a.go", `package a; func init() {}`, "no init function"},
		"in a test as well":                       {"sim/a_test.go", `package a; func init() {}`, "no init function"},
		"a method called init":                    {"sim/a.go", `package a; type t int; func (t) init() {}`, ""},
		"main exits":                              {"sim/cmd/a.go", `package main; func main() { os.Exit(1) }`, ""},
		"a library exits":                         {"sim/a.go", `package a; func f() { os.Exit(1) }`, "only a program's main"},
		"a library is fatal":                      {"sim/a.go", `package a; func f() { log.Fatalf("") }`, "only a program's main"},
		"a fatal test":                            {"sim/a_test.go", `package a; func f(t *testing.T) { t.Fatal() }`, ""},
		"a context in a struct":                   {"sim/a.go", `package a; type t struct { n int; ctx context.Context }`, "no Context"},
		"embedded":                                {"sim/a.go", `package a; type t struct { context.Context }`, "no Context"},
		"a function that takes one":               {"sim/a.go", `package a; type t struct { f func(context.Context) }`, ""},
	} {
		f, err := arch.Parse(c.path, []byte(c.src))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got := arch.Check([]arch.File{f})
		if c.reason == "" && len(got) != 0 || c.reason != "" && (len(got) != 1 || !strings.HasPrefix(got[0], c.path+": "+c.reason)) {
			t.Errorf("%s: %q, want %q", name, got, c.reason)
		}
		for _, line := range got {
			broken[strings.TrimPrefix(line, c.path+": ")] = true
		}
	}
	for _, r := range arch.Rules {
		if !broken[r.Reason] {
			t.Errorf("no case breaks %q", r.Reason)
		}
	}
}

func TestUndocumented(t *testing.T) {
	var files []arch.File
	for p, src := range map[string]string{
		"a/a.go": "// Package a does a.\npackage a", "a/b.go": "package a", "b/b.go": "package b",
		"b/b_test.go": "// A comment.\npackage b", "c/c.go": "// Package c does c.\n\npackage c", "d/d_test.go": "package d",
	} {
		f, err := arch.Parse(p, []byte(src))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	got := arch.Undocumented(files)
	if len(got) != 2 || !strings.HasPrefix(got[0], "b: ") || !strings.HasPrefix(got[1], "c: ") {
		t.Errorf("got %q, want b, and c whose comment stands apart", got)
	}
}

func TestParseRefusesWhatIsNotGo(t *testing.T) {
	if _, err := arch.Parse("a.go", []byte("package")); err == nil {
		t.Error("accepted")
	}
}
