package diskfault

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/fengsui/fengsui/firmware/spool"
	"github.com/fengsui/fengsui/firmware/wire"
	"github.com/fengsui/fengsui/sim/torture"
)

const (
	storerArg = "__storer"
	appends   = 60 // about 200 writes
	tries     = 5
)

var key = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{3}, 32))

// store is the child: it stores events and says which are stored. One thread
// does it all, so that k counts its calls.
func store(path string, out io.Writer) int {
	runtime.LockOSThread()
	s, err := spool.Open(path, spool.Options{})
	if err != nil {
		fmt.Fprintln(out, "closed", err)
		return 0
	}
	for i := range appends {
		l := wire.Lanes()[i%3]
		var hash wire.Hash
		err := spool.ErrSuspect
		for n := 0; n < tries && errors.Is(err, spool.ErrSuspect) || n == 0; n++ {
			var seq uint64
			seq, err = s.Append(l, func(at spool.Slot) ([]byte, error) {
				msg, err := wire.Seal(&wire.Event{
					Device: "box-1", Stream: at.Stream, Lane: l, Seq: at.Seq, Prev: at.Prev, Boot: at.Boot, Body: &wire.Fault{Code: "rig", Detail: fmt.Sprint(i)},
				}, key)
				hash = wire.HashOf(msg)
				return msg, err
			})
			if err == nil {
				fmt.Fprintln(out, "stored", s.Stream(), uint64(l), seq, hash)
			}
		}
		if err != nil {
			fmt.Fprintln(out, "refused", err)
		}
	}
	fmt.Fprintln(out, "closed", s.Close())
	return 0
}

// A spool whose k-th write, sync, cut or reservation fails: it tells an error,
// or the event is there.
func TestSpool(t *testing.T) {
	t.Parallel()
	strace, err := exec.LookPath("strace")
	torture.Need(t, err == nil, "strace, which makes system calls fail")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(torture.Seed(t), 5))
	faults := spread(rng, []string{"pwrite64", "fdatasync", "ftruncate", "fallocate", "fsync"}, torture.N(20, 920))
	var v torture.Verdict
	hit, stored, refused, unopened := 0, 0, 0, 0
	for _, f := range faults {
		dir := t.TempDir()
		path, trace := filepath.Join(dir, "spool.db"), filepath.Join(dir, "trace")
		cmd := exec.CommandContext(t.Context(), strace, "-f", "--seccomp-bpf", "-qq", "-o", trace, "-e", "trace="+f.call, "-e", "signal=none",
			"-e", fmt.Sprintf("inject=%s:error=%s:when=%d", f.call, f.errno, f.k), self, storerArg, path)
		out, err := cmd.CombinedOutput()
		if err != nil {
			v.Wrong = append(v.Wrong, fmt.Sprintf("%v: %v: %s", f, err, out))
			break
		}
		log, err := os.ReadFile(trace)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(log), "(INJECTED)") {
			hit++
		}
		said := make(map[string]string) // hash by place
		for sc := bufio.NewScanner(bytes.NewReader(out)); sc.Scan(); {
			w := strings.Fields(sc.Text())
			switch {
			case w[0] == "stored":
				stored++
				place := strings.Join(w[1:4], " ")
				if said[place] != "" {
					v.Twice = append(v.Twice, fmt.Sprintf("%v: %s is stored twice", f, place))
				}
				said[place] = w[4]
			case w[0] == "refused":
				refused++
			}
		}
		if len(said) == 0 {
			unopened++
		}
		found(t, f, path, said, &v)
	}
	v.Report(t, "%d faults of a spool, %d hit: %d stored, %d refused, %d not opened", len(faults), hit, stored, refused, unopened)
	if v.Clean() && (hit < len(faults)/4 || stored < len(faults)*appends/4) {
		t.Error("too little failed, or was stored, to prove anything")
	}
}

// found compares what a spool has, opened without faults, with what was said.
func found(t *testing.T, f fault, path string, said map[string]string, v *torture.Verdict) {
	t.Helper()
	s, err := spool.Open(path, spool.Options{})
	if err != nil {
		v.Lost = append(v.Lost, fmt.Sprintf("%v: it does not open: %v", f, err))
		return
	}
	has := make(map[string]string)
	for _, part := range s.Parts() {
		for _, l := range wire.Lanes() {
			recs, err := part.Read(l, 0, 1<<20, 1<<30)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range recs {
				has[fmt.Sprint(part.Stream(), " ", uint64(l), " ", r.Seq)] = wire.HashOf(r.Data).String()
			}
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for place, hash := range said {
		if has[place] != hash {
			v.Lost = append(v.Lost, fmt.Sprintf("%v: %s is %q, was stored as %s", f, place, has[place], hash))
		}
	}
}
