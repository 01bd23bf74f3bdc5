package fuzz

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/fengsui/fengsui/sim/torture"
)

const (
	root = "../../.."
	// The memory in KiB that a target's processes may have, each: what a box has
	// for all its programs. The fuzzer's own part is about a quarter.
	memory = 512 << 10

	envGreedy = "FENGSUI_FUZZ_GREEDY" // this process takes more memory than that
)

// mustHave names what comes from outside, by the folder and target that stand
// for it.
var mustHave = map[string]target{
	"NMEA":                {"firmware/gps", "FuzzDecoder"},
	"fingerprint packets": {"firmware/fingerprint/internal/zfm", "FuzzDecoder"},
	"a sensor's answers":  {"firmware/fingerprint", "FuzzDriver"},
	"wire events":         {"firmware/wire", "FuzzEvent"},
	"hellos":              {"firmware/wire", "FuzzHello"},
	"acknowledgements":    {"firmware/wire", "FuzzDown"},
	"configuration":       {"firmware/config", "FuzzParse"},
	"scenarios":           {"sim/scenario", "FuzzParse"},
}

type target struct{ folder, name string }

func TestMain(m *testing.M) {
	if os.Getenv(envGreedy) != "" {
		b := make([]byte, memory<<10)
		for i := 0; i < len(b); i += 4096 {
			b[i] = 1
		}
		runtime.KeepAlive(b)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// TestTargets is rig 8.
func TestTargets(t *testing.T) {
	all := targets(t)
	for what, want := range mustHave {
		if !slices.Contains(all, want) {
			t.Errorf("%s: no %s in %s", what, want.name, want.folder)
		}
	}
	if !torture.Long() {
		all = slices.Collect(maps.Values(mustHave)) // the others cost more to build than to run
	}
	n := torture.N(1000, 1_000_000)
	var v torture.Verdict
	ran, executions, bins := 0, 0, make(map[string]string)
	for _, at := range all {
		if m := torture.Mutant(); m == "length-off" && at.folder != mustHave["fingerprint packets"].folder {
			continue // not touched by it
		}
		if bins[at.folder] == "" {
			var flags []string
			if torture.Long() {
				flags = []string{"-fuzz=."} // with instrumentation
			}
			bins[at.folder] = torture.BuildTest(t, "./"+at.folder, flags...)
		}
		cmd := bounded(t, bins[at.folder], "-test.run=^$", "-test.fuzz=^"+at.name+"$", "-test.fuzztime="+strconv.Itoa(n)+"x",
			"-test.fuzzminimizetime=2s", "-test.parallel=1", "-test.fuzzcachedir="+filepath.Join(t.TempDir(), "cache"))
		cmd.Dir = filepath.Join(root, filepath.FromSlash(at.folder))
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		done, peak := count(string(out)), uint64(0)
		if u, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
			peak = uint64(u.Maxrss) >> 10
		}
		t.Logf("%s %s: %d executions, at most %d MiB", at.folder, at.name, done, peak)
		ran, executions = ran+1, executions+done
		switch {
		case err != nil:
			v.Wrong = append(v.Wrong, fmt.Sprintf("%s %s: %v\n%s", at.folder, at.name, err, tail(out)))
		case done < n:
			v.Lost = append(v.Lost, fmt.Sprintf("%s %s: %d executions: want %d\n%s", at.folder, at.name, done, n, tail(out)))
		}
	}
	v.Report(t, "%d targets, %d executions", ran, executions)
}

func TestWithoutLength(t *testing.T) { torture.Mutate(t, "length-off", "TestTargets") }

// What bounds the memory of the targets does bound it.
func TestGreedIsNoticed(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		cmd  *exec.Cmd
		ends bool
	}{
		"bounded": {bounded(t, exe), true},
		"free":    {exec.CommandContext(t.Context(), exe), false},
	} {
		c.cmd.Env = append(os.Environ(), envGreedy+"=1")
		out, err := c.cmd.CombinedOutput()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		if (err != nil) != c.ends { // how the runtime says it is not always in words
			t.Errorf("%s: %v\n%s", name, err, out[:min(len(out), 1000)])
		}
	}
}

// Each target has a committed corpus to start from.
func TestCorpora(t *testing.T) {
	for _, at := range targets(t) {
		dir := filepath.Join(root, at.folder)
		files, err := filepath.Glob(filepath.Join(dir, "testdata", "fuzz", at.name, "*"))
		if err != nil {
			t.Fatal(err)
		}
		if len(files) == 0 {
			t.Errorf("%s: nothing in testdata/fuzz/%s", at.folder, at.name)
		}
	}
}

// bounded is a command whose processes have no more than memory each.
func bounded(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	torture.Need(t, runtime.GOOS == "linux", "a bound on private memory: Linux (RLIMIT_DATA)")
	script := fmt.Sprintf(`ulimit -d %d && exec nice -n 5 "$@"`, memory)
	return exec.CommandContext(t.Context(), "sh", append([]string{"-c", script, "sh"}, args...)...)
}

var (
	declared = regexp.MustCompile(`(?m)^func (Fuzz\w+)\(\w+ \*testing\.F\)`)
	execs    = regexp.MustCompile(`execs: (\d+)`)
)

// targets returns every fuzz target of the module.
func targets(t *testing.T) (all []target) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != root && (d.Name() == "node_modules" || d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".")):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(path, "_test.go"):
			return nil
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		folder, err := filepath.Rel(root, filepath.Dir(path))
		for _, m := range declared.FindAllSubmatch(b, -1) {
			all = append(all, target{filepath.ToSlash(folder), string(m[1])})
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// count returns the executions that the fuzzer told of last.
func count(out string) int {
	all := execs.FindAllStringSubmatch(out, -1)
	if len(all) == 0 {
		return 0
	}
	n, _ := strconv.Atoi(all[len(all)-1][1])
	return n
}

func tail(out []byte) string {
	const most = 2000
	if len(out) > most {
		out = out[len(out)-most:]
	}
	return string(out)
}
