//go:build linux

package spool_test

import (
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fengsui/fengsui/firmware/spool"
	"github.com/fengsui/fengsui/firmware/spool/spooltest"
	"github.com/fengsui/fengsui/firmware/wire"
)

// fillLane appends until the spool is full and returns how many it took.
func fillLane(t *testing.T, s *spool.Spool, l wire.Lane) (n uint64) {
	t.Helper()
	build := seal(l, strings.Repeat("x", 200)) // small, so that the list of free pages is long
	for ; n < 50_000; n++ {
		_, err := s.Append(l, build)
		if errors.Is(err, spool.ErrFull) {
			return n
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Fatalf("lane %v never fills", l)
	return n
}

func TestFullLeavesRoomForAlarms(t *testing.T) {
	path := filepath.Join(memory(t), "s")
	s := open(t, path, spool.Options{MaxSize: 4 << 20})
	var n [4]uint64
	n[wire.Track] = fillLane(t, s, wire.Track)
	n[wire.Duty] = fillLane(t, s, wire.Duty)
	if n[wire.Alarm] = fillLane(t, s, wire.Alarm); n[wire.Alarm] < 100 {
		t.Errorf("%d alarms fit into a full spool, want 100 or more", n[wire.Alarm])
	}
	if st, err := os.Stat(path); err != nil || st.Size() > 4<<20 {
		t.Errorf("file of %d bytes, %v: want at most 4 MiB", st.Size(), err)
	}
	for _, l := range wire.Lanes() { // room for the deletions themselves must be left
		if err := spooltest.Ack(s, l, n[l]); err != nil {
			t.Fatal(err)
		}
	}
	for _, l := range []wire.Lane{wire.Track, wire.Duty, wire.Alarm} {
		if _, err := s.Append(l, seal(l, "again")); err != nil {
			t.Errorf("lane %v after room was made: %v", l, err)
		}
	}
}

// Whatever lies where in the file, a spool that was full can be emptied.
func TestFullInAnyOrderCanBeEmptied(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	s := open(t, filepath.Join(memory(t), "s"), spool.Options{MaxSize: 4 << 20, AckDelay: time.Hour})
	full := 0
	for lanes := wire.Lanes(); full < 10; {
		l := lanes[r.IntN(len(lanes))]
		seq, err := s.Append(l, padded(l, "x", r.IntN(800)))
		switch {
		case errors.Is(err, spool.ErrFull):
			full++
		case err != nil:
			t.Fatal(err)
		case l == wire.Track && r.IntN(50) == 0: // holes between pages that stay
			if err := spooltest.Ack(s, l, seq); err != nil {
				t.Fatal(err)
			}
		}
	}
	for l, w := range s.Window() {
		if err := spooltest.Ack(s, l, w.Next-1); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatalf("a full spool cannot be emptied: %v", err)
	}
}

// Others have filled the disk: an alarm is stored all the same, in room that
// was set aside before.
func TestAlarmOnAFullDisk(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("not root: a full disk is not tested")
	}
	for name, lanes := range map[string][]wire.Lane{"alarms only": {wire.Alarm}, "after the others": {wire.Track, wire.Duty, wire.Alarm}} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=16m"); err != nil {
				t.Skipf("no file system can be mounted here, a full disk is not tested: %v", err)
			}
			defer syscall.Unmount(dir, syscall.MNT_DETACH)
			s, err := spool.Open(filepath.Join(dir, "s"), spool.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if _, err := s.Append(wire.Alarm, seal(wire.Alarm, "first")); err != nil {
				t.Fatal(err)
			}
			f, err := os.Create(filepath.Join(dir, "log of another program"))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if _, err := io.Copy(f, zeros{}); !errors.Is(err, syscall.ENOSPC) {
				t.Fatalf("filled the disk: %v", err)
			}
			var n uint64
			for _, l := range lanes {
				n = fillLane(t, s, l)
			}
			if n < 100 {
				t.Errorf("%d alarms on a full disk, want 100 or more", n)
			}
			if err := f.Truncate(0); err != nil {
				t.Fatal(err)
			}
			for _, l := range lanes { // once an alarm got through, the disk is asked again
				if _, err := s.Append(wire.Alarm, seal(wire.Alarm, "room")); err != nil {
					t.Fatal(err)
				}
				if _, err := s.Append(l, seal(l, "room")); err != nil {
					t.Errorf("lane %v when the disk has room again: %v", l, err)
				}
			}
			spooltest.Check(t, s)
		})
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }
