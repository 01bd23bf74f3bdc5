//go:build linux

package spool_test

import (
	"bufio"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/fengsui/fengsui/firmware/spool"
	"github.com/fengsui/fengsui/firmware/spool/spooltest"
	"github.com/fengsui/fengsui/firmware/wire"
)

// ledgerRounds is how many events a storer stores in each lane.
const ledgerRounds = 12

// TestStorer is not a test but the child of those below: it stores events with
// some state and acknowledges some, and writes on its output what it was told.
func TestStorer(t *testing.T) {
	path := os.Getenv("SPOOL_STORER")
	if path == "" {
		t.Skip("the child of other tests")
	}
	runtime.LockOSThread() // strace counts calls by thread
	s, err := spool.Open(path, spool.Options{AckDelay: 1 << 40})
	if err != nil {
		fmt.Println("not opened:", err)
		return
	}
	lanes := wire.Lanes()
	for i := range ledgerRounds * len(lanes) {
		l := lanes[i%len(lanes)]
		what := fmt.Sprintf("%v-%d", l, i)
		for try := 0; try < 3; try++ {
			seq, err := s.Append(l, seal(l, what), spool.KV{Key: "latch", Value: []byte(what)})
			if err == nil {
				fmt.Printf("stored %v %d %s\n", l, seq, what)
				break
			}
			fmt.Printf("refused %s: suspect %v, full %v: %v\n", what, errors.Is(err, spool.ErrSuspect), errors.Is(err, spool.ErrFull), err)
		}
		if w := s.Window()[l]; i%7 == 6 && w.Next > 3 {
			if err := spooltest.Ack(s, l, w.Next-3); err == nil {
				fmt.Printf("acked %v %d -\n", l, w.Next-3)
			}
		}
	}
	fmt.Println("closed:", s.Close())
}

// A ledger is what a storer was told, kept outside of it.
type ledger struct {
	stored map[wire.Lane]map[uint64]string
	acked  map[wire.Lane]uint64
	latch  []string // that may be the state: the last stored and what came after
	lines  []string
}

// storer runs the child behind a command and reads its ledger.
func storer(t *testing.T, path string, stop func(lines int) bool, wrap ...string) *ledger {
	t.Helper()
	args := append(wrap, os.Args[0], "-test.run=^TestStorer$")
	cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "SPOOL_STORER="+path)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	g := &ledger{stored: map[wire.Lane]map[uint64]string{}, acked: map[wire.Lane]uint64{}, latch: []string{""}}
	for sc := bufio.NewScanner(out); sc.Scan(); {
		g.lines = append(g.lines, sc.Text())
		var verb, lane, what string
		var seq uint64
		fmt.Sscanf(sc.Text(), "%s %s %d %s", &verb, &lane, &seq, &what)
		l, _ := wire.ParseLane(lane)
		switch verb {
		case "stored":
			if g.stored[l] == nil {
				g.stored[l] = map[uint64]string{}
			}
			g.stored[l][seq] = what
			g.latch = []string{what}
		case "acked":
			g.acked[l] = seq
		case "refused":
			g.latch = append(g.latch, strings.TrimSuffix(lane, ":"))
		}
		if stop != nil && stop(len(g.lines)) {
			cmd.Process.Kill()
		}
	}
	if err := cmd.Wait(); err != nil && stop == nil {
		t.Errorf("child: %v", err)
	}
	return g
}

// judge opens what a storer left and compares it with the ledger.
func (g *ledger) judge(t *testing.T, path string) {
	t.Helper()
	s := open(t, path, spool.Options{})
	for l, w := range s.Window() {
		if w.Oldest > g.acked[l]+1 {
			t.Errorf("lane %v begins at %d, acknowledged were %d", l, w.Oldest, g.acked[l])
		}
		held, seen := map[uint64]string{}, map[string]uint64{}
		recs, err := s.Read(l, 0, 1<<30, 1<<30)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range recs {
			e, err := wire.Peek(r.Data)
			if err != nil {
				t.Fatal(err)
			}
			what := e.Body.(*wire.Fault).Detail
			if seen[what] != 0 && !g.cutShort() {
				t.Errorf("lane %v holds %q twice, as %d and %d", l, what, seen[what], r.Seq)
			}
			held[r.Seq], seen[what] = what, r.Seq
		}
		for seq, what := range g.stored[l] {
			if seq >= w.Oldest && held[seq] != what {
				t.Errorf("lane %v seq %d: the ledger has %q, the file %q", l, seq, what, held[seq])
			}
		}
	}
	state, err := s.State()
	if err != nil {
		t.Fatal(err)
	}
	// The state belongs to the last event, or to one that was being stored.
	if !slices.Contains(g.latch, string(state["latch"])) && !g.cutShort() {
		t.Errorf("the state is of %q, want that of %q or of one refused after it", state["latch"], g.latch[0])
	}
	if t.Failed() {
		t.Logf("ledger:\n%s", strings.Join(g.lines[max(0, len(g.lines)-20):], "\n"))
	}
}

// cutShort reports whether the child was killed, perhaps between storing an
// event and saying so.
func (g *ledger) cutShort() bool {
	return len(g.lines) == 0 || !strings.HasPrefix(g.lines[len(g.lines)-1], "closed:") && !strings.HasPrefix(g.lines[len(g.lines)-1], "PASS")
}

// A child stores and is killed at some moment; all that it said it had stored
// must be in the file. The ledger is here, outside of what is killed.
func TestKilledInMidAppend(t *testing.T) {
	total := 0
	for range 15 {
		path := filepath.Join(t.TempDir(), "s")
		at := 1 + rand.IntN(ledgerRounds*3)
		t.Run(fmt.Sprintf("after %d lines", at), func(t *testing.T) {
			g := storer(t, path, func(n int) bool { return n == at })
			total += len(g.lines)
			g.judge(t, path)
		})
	}
	if total < 100 {
		t.Errorf("%d lines from 15 children: want 100 or more", total)
	}
}

// The k-th system call that writes fails, once or from then on. What was
// reported stored is in the file, whatever was reported otherwise; a single
// failure is got over.
func TestDiskFaults(t *testing.T) {
	strace := findStrace(t)
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d", seed)
	calls := []struct {
		name string
		k    int // of them, roughly, in a run
	}{{"pwrite64", 80}, {"fdatasync", 70}, {"ftruncate", 2}, {"fsync", 3}}
	found, faults := 0, 0
	for _, call := range calls {
		for _, errno := range []string{"EIO", "ENOSPC"} {
			for n := range 3 {
				k := 1 + r.IntN(call.k)
				when, ever := fmt.Sprint(k), ""
				if n == 2 {
					when, ever = when+"+", " and all after"
				}
				t.Run(fmt.Sprintf("%s %d%s %s", call.name, k, ever, errno), func(t *testing.T) {
					path := filepath.Join(t.TempDir(), "s")
					g := storer(t, path, nil, strace, "-f", "-qq", "-o", os.DevNull, "-e", "trace="+call.name,
						"-e", fmt.Sprintf("inject=%s:error=%s:when=%s", call.name, errno, when))
					all := strings.Join(g.lines, "\n")
					faults += strings.Count(all, "refused") + strings.Count(all, "not opened")
					n := 0
					for _, m := range g.stored {
						n += len(m)
					}
					// A fault that the file survives costs no event: each was tried again.
					if ever == "" && n != ledgerRounds*3 && !strings.Contains(all, "not opened") {
						t.Errorf("%d events stored, want all %d", n, ledgerRounds*3)
					}
					found += n
					g.judge(t, path)
				})
			}
		}
	}
	if faults < 5 || found < 100 {
		t.Errorf("%d faults met and %d events stored: the faults were not injected", faults, found)
	}
}

// TestGivesUp is not a test but the child of the next: it stores an event with
// a state and, when that is refused, goes on with another and no state.
func TestGivesUp(t *testing.T) {
	path := os.Getenv("SPOOL_GIVES_UP")
	if path == "" {
		t.Skip("the child of another test")
	}
	runtime.LockOSThread() // strace counts calls by thread
	s, err := spool.Open(path, spool.Options{AckDelay: 1 << 40})
	if err != nil {
		fmt.Println("not opened:", err)
		return
	}
	for _, what := range []string{"a", "b", "c"} {
		_, err := s.Append(wire.Alarm, seal(wire.Alarm, what), spool.KV{Key: what, Value: []byte(what)})
		fmt.Printf("%s stored %v full %v\n", what, err == nil, errors.Is(err, spool.ErrFull))
	}
	fmt.Println("closed:", s.Close())
}

// A disk that is full only at the last sync of a commit has taken it all the
// same: what is refused as full must leave neither event nor state behind.
func TestFullMeansNothingStored(t *testing.T) {
	strace := findStrace(t)
	full := 0
	for k := 1; k <= 10; k++ {
		path := filepath.Join(t.TempDir(), "s")
		cmd := exec.CommandContext(t.Context(), strace, "-f", "-qq", "-o", os.DevNull, "-e", "trace=fdatasync",
			"-e", fmt.Sprintf("inject=fdatasync:error=ENOSPC:when=%d", k), os.Args[0], "-test.run=^TestGivesUp$")
		cmd.Env = append(os.Environ(), "SPOOL_GIVES_UP="+path)
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("sync %d: %v\n%s", k, err, out)
		}
		if strings.Contains(string(out), "not opened") {
			continue
		}
		s := open(t, path, spool.Options{})
		state, err := s.State()
		if err != nil {
			t.Fatal(err)
		}
		recs, err := s.Read(wire.Alarm, 0, 10, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		held := map[string]bool{}
		for _, r := range recs {
			e, err := wire.Peek(r.Data)
			if err != nil {
				t.Fatal(err)
			}
			held[e.Body.(*wire.Fault).Detail] = true
		}
		for _, what := range []string{"a", "b", "c"} {
			switch {
			case strings.Contains(string(out), what+" stored true"):
				if !held[what] || string(state[what]) != what {
					t.Errorf("sync %d: %s was stored; event %v, state %q", k, what, held[what], state[what])
				}
			case strings.Contains(string(out), what+" stored false full true"):
				full++
				if held[what] || state[what] != nil {
					t.Errorf("sync %d: %s was refused as full; event %v, state %q", k, what, held[what], state[what])
				}
			}
		}
	}
	if full == 0 {
		t.Error("nothing was refused as full: the faults were not injected")
	}
}

func findStrace(t *testing.T) string {
	t.Helper()
	strace, err := exec.LookPath("strace")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("strace is not installed, and CI must test failing disks")
		}
		t.Skip("strace is not installed: failing disks not tested")
	}
	if out, err := exec.Command(strace, "-qq", "-o", os.DevNull, "true").CombinedOutput(); err != nil {
		t.Skipf("strace may not trace here, failing disks not tested: %v: %s", err, out)
	}
	return strace
}

// Seen from outside, the disk is told to keep each event, data and then the
// page that makes them valid, before Append says that it is stored; and, before
// the first, the folder's entries of both files.
func TestEveryAppendIsSynced(t *testing.T) {
	strace := findStrace(t)
	dir := t.TempDir()
	trace := filepath.Join(dir, "trace")
	g := storer(t, filepath.Join(dir, "s"), nil, strace, "-f", "-qq", "-y", "-s", "64", "-o", trace, "-e", "trace=fdatasync,fsync,ftruncate,pwrite64,write")
	b, err := os.ReadFile(trace)
	if err != nil {
		t.Fatal(err)
	}
	stored, synced, folder, grown, dirty := 0, 0, 0, 0, true
	for line := range strings.Lines(string(b)) {
		switch {
		case strings.Contains(line, "ftruncate("): // it grows, and its new size is to last before anything is in it
			grown, dirty = grown+1, true
		case strings.Contains(line, "pwrite64("):
			if grown == 0 && strings.Contains(line, "/s>") && stored > 0 {
				t.Fatalf("written before the file was made to grow: %s", line)
			}
			dirty = true
		case strings.Contains(line, "fsync(") && strings.Contains(line, "<"+dir+">"):
			folder++
		case strings.Contains(line, "fdatasync("), strings.Contains(line, "fsync("):
			synced++
			dirty = false
		case strings.Contains(line, "write(1<") && strings.Contains(line, `"stored`):
			if folder < 2 {
				t.Fatalf("the folder was synced %d times before %s: want once for each file", folder, line)
			}
			if stored++; synced < 2 || dirty {
				t.Errorf("%d syncs before %s (something written after the last: %v): want 2 or more, the last thing", synced, line, dirty)
			}
			synced = 0
		}
	}
	if stored != ledgerRounds*3 {
		t.Errorf("%d events in the trace, %d lines in the ledger: want %d", stored, len(g.lines), ledgerRounds*3)
	}
}
