// Package torture has what the rigs in its folders share: how long to run, by
// which seed, what to do without a part, how to give a verdict, and how to show
// that a rig can fail at all.
//
// A rig drives the shipping code and judges by a ledger of its own. It runs a
// short cut in `make test` and its full counts in `make torture`. Its negative
// control is the same rig on a mutant: the shipping source with one named
// protection taken out by a build overlay, so that the source itself needs no
// hook for it. The rig must then find that something was lost, twice or wrong.
//
// It is for tests only; it drives nothing itself.
package torture

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// Names in the environment.
const (
	envLong   = "FENGSUI_TORTURE" // "long": the full counts
	envSeed   = "FENGSUI_SEED"
	envMutant = "FENGSUI_MUTANT" // the mutation that the process runs with
)

// Long reports whether the full counts are to be run.
func Long() bool { return os.Getenv(envLong) == "long" }

// N returns long where [Long], else short.
func N(short, long int) int {
	if Long() {
		return long
	}
	return short
}

// Seed returns the seed in FENGSUI_SEED, or else a new one, and logs it.
func Seed(t testing.TB) uint64 {
	t.Helper()
	if s := os.Getenv(envSeed); s != "" {
		seed, err := strconv.ParseUint(s, 0, 64)
		if err != nil {
			t.Fatalf("%s %q: want a number of 64 bits", envSeed, s)
		}
		t.Logf("seed=%d", seed)
		return seed
	}
	var b [8]byte
	rand.Read(b[:])
	seed := binary.LittleEndian.Uint64(b[:])
	t.Logf("seed=%d (again with %s=%d)", seed, envSeed, seed)
	return seed
}

// Need ends a test whose rig lacks a part: it was not run, which is no pass.
// In continuous integration that is a failure. what says which part, and how to
// get it.
func Need(t testing.TB, ok bool, what string) {
	t.Helper()
	switch {
	case ok:
	case os.Getenv("CI") == "true":
		t.Fatalf("not run: %s", what)
	default:
		t.Skipf("not run: %s", what)
	}
}

// A Verdict is what a judge found: each list has a line for every finding.
type Verdict struct {
	Lost     []string // was promised and is not there
	Twice    []string // is there more than once
	Disorder []string // is there in the wrong order
	Wrong    []string // is there and should not be, or with other content
}

// Clean reports whether nothing was found.
func (v *Verdict) Clean() bool {
	return len(v.Lost)+len(v.Twice)+len(v.Disorder)+len(v.Wrong) == 0
}

// guilty begins the line of a verdict that is not clean. A negative control
// looks for it: a mutant that only crashes proves nothing.
const guilty = "verdict: guilty:"

// Report logs the verdict with what was judged, and fails the test unless it
// is clean.
func (v *Verdict) Report(t testing.TB, judged string, args ...any) {
	t.Helper()
	counts := fmt.Sprintf("lost %d, twice %d, disorder %d, wrong %d", len(v.Lost), len(v.Twice), len(v.Disorder), len(v.Wrong))
	judged = fmt.Sprintf(judged, args...)
	if v.Clean() {
		t.Logf("verdict: clean: %s: %s", judged, counts)
		return
	}
	var b strings.Builder
	for _, list := range [][]string{v.Lost, v.Twice, v.Disorder, v.Wrong} {
		for i, line := range list {
			if i == 10 {
				fmt.Fprintf(&b, "\n  … and %d more", len(list)-i)
				break
			}
			b.WriteString("\n  " + line)
		}
	}
	t.Errorf("%s %s: %s%s", guilty, judged, counts, b.String())
}

// root returns the folder of go.mod.
func root(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		up := filepath.Dir(dir)
		if up == dir {
			t.Fatal("no go.mod above the test")
		}
		dir = up
	}
}
