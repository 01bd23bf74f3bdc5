//go:build linux

package spool_test

import (
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	_ "modernc.org/sqlite" // the driver "sqlite", for comparison

	"github.com/fengsui/fengsui/firmware/spool"
	"github.com/fengsui/fengsui/firmware/spool/spooltest"
	"github.com/fengsui/fengsui/firmware/wire"
)

// BenchmarkWear tells the bytes that reach the block device for each event
// which is stored durably and given up ten events later: of the spool, of
// SQLite with a synced WAL, and of a log that is only appended to, and never
// gives the room back. Everything that the device is told to write counts, the
// file system's own journal too: each runs on an ext4 of its own in a loop
// device, and what the kernel counts there is read (Documentation/block/stat.rst,
// field 7). Without root it is what the process has handed over, which knows
// nothing of the journal: the unit then says so.
//
//	go test -run '^$' -bench Wear -benchtime 2000x ./firmware/spool
func BenchmarkWear(b *testing.B) {
	ratio := make(map[string]float64)
	for _, lane := range []struct {
		name   string
		lane   wire.Lane
		detail int // bytes
	}{{"alarm", wire.Alarm, 60}, {"track", wire.Track, 400}} {
		for _, subject := range []struct {
			name string
			open func(b *testing.B, dir string, l wire.Lane, detail string) (put func(i int), done func())
		}{{"log", appended}, {"spool", spooled}, {"sqlite", walled}} {
			b.Run(lane.name+"/"+subject.name, func(b *testing.B) {
				dir, wrote, unit := ground(b)
				put, done := subject.open(b, dir, lane.lane, strings.Repeat("x", lane.detail))
				syscall.Sync()
				from := wrote()
				for i := range b.N {
					put(i)
				}
				done()
				syscall.Sync() // the journal's own write-back
				each := float64(wrote()-from) / float64(b.N)
				b.ReportMetric(each, unit)
				b.ReportMetric(float64(len(sealed(b, lane.lane, strings.Repeat("x", lane.detail)))), "event-B")
				if ratio[subject.name] = each; ratio["log"] > 0 {
					b.ReportMetric(each/ratio["log"], "x-log")
				}
			})
		}
	}
}

// ground returns a folder, what tells how many bytes were written there, and
// the unit of that.
func ground(b *testing.B) (dir string, wrote func() int64, unit string) {
	b.Helper()
	dir, device, err := loop(b)
	if err != nil {
		b.Logf("no ext4 in a loop device: %v", err)
		return b.TempDir(), func() int64 { return written(b) }, "handed-over-B/event"
	}
	return dir, func() int64 {
		stat, err := os.ReadFile(filepath.Join("/sys/block", filepath.Base(device), "stat"))
		if err != nil {
			b.Fatal(err)
		}
		var n int64
		if _, err := fmt.Sscan(strings.Fields(string(stat))[6], &n); err != nil {
			b.Fatal(err)
		}
		return n * 512
	}, "device-B/event"
}

func loop(b *testing.B) (dir, device string, err error) {
	if os.Geteuid() != 0 {
		return "", "", errors.New("that needs root")
	}
	dir = b.TempDir()
	image := filepath.Join(dir, "image")
	run := func(name string, args ...string) (string, error) {
		out, err := exec.CommandContext(b.Context(), name, args...).CombinedOutput()
		if err != nil {
			err = fmt.Errorf("%s: %w: %s", name, err, out)
		}
		return strings.TrimSpace(string(out)), err
	}
	f, err := os.Create(image)
	if err == nil {
		err = errors.Join(f.Truncate(256<<20), f.Close())
	}
	if err != nil {
		return "", "", err
	}
	if _, err := run("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", image); err != nil {
		return "", "", err
	}
	if device, err = run("losetup", "--find", "--show", image); err != nil {
		return "", "", err
	}
	b.Cleanup(func() { _ = exec.Command("losetup", "--detach", device).Run() })
	mounted := filepath.Join(dir, "mounted")
	if err := os.Mkdir(mounted, 0o700); err != nil {
		return "", "", err
	}
	if _, err := run("mount", "-t", "ext4", device, mounted); err != nil {
		return "", "", err
	}
	b.Cleanup(func() {
		if err := syscall.Unmount(mounted, 0); err != nil {
			b.Errorf("unmount: %v", err)
		}
	})
	return mounted, device, nil
}

// spooled is the spool as it ships, acknowledged as by a centre that is ten
// events behind.
func spooled(b *testing.B, dir string, l wire.Lane, detail string) (put func(int), done func()) {
	s, err := spool.Open(filepath.Join(dir, "s"), spool.Options{})
	if err != nil {
		b.Fatal(err)
	}
	build := seal(l, detail)
	return func(int) {
			seq, err := s.Append(l, build)
			if err == nil && seq > 10 {
				err = spooltest.Ack(s, l, seq-10)
			}
			if err != nil {
				b.Fatal(err)
			}
		}, func() {
			if err := s.Close(); err != nil {
				b.Fatal(err)
			}
		}
}

// sealed is an event such as the spool gets, for its size.
func sealed(b *testing.B, l wire.Lane, detail string) []byte {
	msg, err := seal(l, detail)(spool.Slot{Stream: wire.NewStreamID(), Seq: 1000, Prev: wire.Hash{1}, Boot: 1})
	if err != nil {
		b.Fatal(err)
	}
	return msg
}

// walled is a table in SQLite: an insertion is synced, and what was given up is
// deleted with a later one, 64 rows at a time.
func walled(b *testing.B, dir string, l wire.Lane, detail string) (put func(int), done func()) {
	db, err := sql.Open("sqlite", filepath.Join(dir, "q")+"?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)")
	if err != nil {
		b.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	if _, err := db.Exec(`CREATE TABLE queue (seq INTEGER PRIMARY KEY, message BLOB NOT NULL)`); err != nil {
		b.Fatal(err)
	}
	msg := sealed(b, l, detail)
	return func(i int) {
			tx, err := db.Begin()
			if err != nil {
				b.Fatal(err)
			}
			_, err = tx.Exec(`INSERT INTO queue (seq, message) VALUES (?, ?)`, i+1, msg)
			if err == nil && i%64 == 63 {
				_, err = tx.Exec(`DELETE FROM queue WHERE seq <= ?`, i+1-10)
			}
			if err = errors.Join(err, tx.Commit()); err != nil {
				b.Fatal(err)
			}
		}, func() {
			if err := db.Close(); err != nil {
				b.Fatal(err)
			}
		}
}

// appended is a file that only grows, each event synced with fdatasync.
func appended(b *testing.B, dir string, l wire.Lane, detail string) (put func(int), done func()) {
	f, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		b.Fatal(err)
	}
	msg := sealed(b, l, detail)
	return func(int) {
			if _, err := f.Write(msg); err != nil {
				b.Fatal(err)
			}
			if err := syscall.Fdatasync(int(f.Fd())); err != nil {
				b.Fatal(err)
			}
		}, func() {
			if err := f.Close(); err != nil {
				b.Fatal(err)
			}
		}
}
