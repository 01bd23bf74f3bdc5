package store_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fengsui/fengsui/cloud-bridge/store"
	"github.com/fengsui/fengsui/firmware/wire"
)

const commits = 20

// TestCommitter is the child of another test: it commits, and says so.
func TestCommitter(t *testing.T) {
	path := os.Getenv("STORE_COMMITTER")
	if path == "" {
		t.Skip("the child of another test")
	}
	s := open(t, path)
	box := &source{t: t, device: "box-01", stream: one, lane: wire.Duty}
	for i := range commits {
		done, err := s.Commit(t.Context(), store.Batch{Arrivals: []store.Arrival{box.next(&wire.Fault{Code: "x", Detail: fmt.Sprint(i)})}})
		if err != nil || done.Stored != 1 {
			t.Fatal(done, err)
		}
		fmt.Println("committed", i)
	}
}

// Seen from outside, the disk is told to keep what a commit has written before
// Commit returns, and acknowledgements are made of what it returned.
func TestEveryCommitIsSynced(t *testing.T) {
	strace, err := exec.LookPath("strace")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("strace is not installed: apt-get install strace")
		}
		t.Skip("strace is not installed: syncs are not tested")
	}
	dir := t.TempDir()
	db, trace := filepath.Join(dir, "centre.db"), filepath.Join(dir, "trace")
	cmd := exec.CommandContext(t.Context(), strace, "-f", "-qq", "-y", "-s", "64", "-o", trace,
		"-e", "trace=fdatasync,fsync,pwrite64,write", os.Args[0], "-test.run=^TestCommitter$")
	cmd.Env = append(os.Environ(), "STORE_COMMITTER="+db)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	b, err := os.ReadFile(trace)
	if err != nil {
		t.Fatal(err)
	}
	said, written, dirty := 0, 0, false
	for line := range strings.Lines(string(b)) {
		log := strings.Contains(line, "<"+db+"-wal>")
		switch {
		case log && strings.Contains(line, "write"):
			dirty = true
			written++
		case log && strings.Contains(line, "sync("):
			dirty = false
		case strings.Contains(line, `"committed`):
			if said++; dirty || written == 0 {
				t.Errorf("%d writes to the log before %s (unsynced: %v): want some, and synced", written, line, dirty)
			}
			written = 0
		}
	}
	if said != commits {
		t.Errorf("%d commits in the trace: want %d", said, commits)
	}
}
