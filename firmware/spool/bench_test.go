//go:build linux

package spool_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/fengsui/fengsui/firmware/spool"
	"github.com/fengsui/fengsui/firmware/spool/spooltest"
	"github.com/fengsui/fengsui/firmware/wire"
)

// BenchmarkAppend tells an Append's time with sealing, its ratio to the floor
// that any durable store has, writing 4 KiB in place and waiting for the disk,
// turn by turn on the same file system, and the bytes that each writes. Each event is acknowledged ten events later, as on a link that works.
func BenchmarkAppend(b *testing.B) {
	dir := b.TempDir()
	s := open(b, filepath.Join(dir, "s"), spool.Options{})
	f, err := os.Create(filepath.Join(dir, "floor"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	page := bytes.Repeat([]byte{0xa5}, 4096)
	for range 256 { // the floor is to write, not to grow
		if _, err := f.Write(page); err != nil {
			b.Fatal(err)
		}
	}
	if err := f.Sync(); err != nil {
		b.Fatal(err)
	}
	build := seal(wire.Alarm, "x")
	var ours, floor time.Duration
	var wrote, floorWrote int64
	for i := 0; b.Loop(); i++ {
		from, at := written(b), time.Now()
		seq, err := s.Append(wire.Alarm, build)
		if err != nil {
			b.Fatal(err)
		}
		ours += time.Since(at)
		wrote += written(b) - from
		if seq > 10 {
			if err := spooltest.Ack(s, wire.Alarm, seq-10); err != nil {
				b.Fatal(err)
			}
		}
		from, at = written(b), time.Now()
		if _, err := f.WriteAt(page, int64(i%256)*4096); err != nil {
			b.Fatal(err)
		}
		if err := syscall.Fdatasync(int(f.Fd())); err != nil {
			b.Fatal(err)
		}
		floor += time.Since(at)
		floorWrote += written(b) - from
	}
	n := float64(b.N)
	b.ReportMetric(float64(ours.Microseconds())/n, "append-µs/op")
	b.ReportMetric(float64(floor.Microseconds())/n, "floor-µs/op")
	b.ReportMetric(float64(ours)/float64(floor), "x-floor")
	b.ReportMetric(float64(wrote)/n, "written-B/event")
	b.ReportMetric(float64(floorWrote)/n, "floor-B/op")
}

// written returns the bytes that this process has handed to write(2) and its
// kin (proc(5), /proc/pid/io, wchar). write_bytes would seem the better judge,
// but counts a whole large folio for each page of it that is written.
func written(b *testing.B) (n int64) {
	b.Helper()
	io, err := os.ReadFile("/proc/self/io")
	if err != nil {
		b.Skipf("bytes written are not known here: %v", err)
	}
	i := bytes.Index(io, []byte("\nwchar: "))
	if _, err := fmt.Sscanf(string(io[i+1:]), "wchar: %d", &n); err != nil {
		b.Fatal(err)
	}
	return n
}
