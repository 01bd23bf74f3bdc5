package spool_test

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/fengsui/fengsui/firmware/spool"
	"github.com/fengsui/fengsui/firmware/wire"
)

var signer = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, 32))

// seal makes a real event for a slot; detail tells events apart.
func seal(l wire.Lane, detail string) func(spool.Slot) ([]byte, error) {
	return func(s spool.Slot) ([]byte, error) {
		return wire.Seal(&wire.Event{
			Device: "box-01", Stream: s.Stream, Lane: l, Seq: s.Seq, Prev: s.Prev, Boot: s.Boot,
			Body: &wire.Fault{Code: "test", Detail: detail},
		}, signer)
	}
}

func open(t testing.TB, path string, opt spool.Options) *spool.Spool {
	t.Helper()
	s, err := spool.Open(path, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		check(t, s)
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

type fataler interface {
	Helper()
	Errorf(string, ...any)
}

// check is what holds of every spool at any time: no holes, checksums right,
// each event chained to the one before it, depths that agree.
func check(t fataler, s *spool.Spool) {
	t.Helper()
	depth := s.Depth()
	for l, w := range s.Window() {
		recs, err := s.Read(l, 0, 1<<30, 1<<30)
		if errors.Is(err, spool.ErrClosed) {
			return
		}
		if err != nil {
			t.Errorf("lane %v: %v", l, err)
			return
		}
		if uint64(len(recs)) != w.Next-w.Oldest || depth[l] != w.Next-w.Oldest {
			t.Errorf("lane %v: %d records, depth %d, window %v", l, len(recs), depth[l], w)
			return
		}
		for i, r := range recs {
			e, err := wire.Peek(r.Data)
			if err != nil {
				t.Errorf("lane %v seq %d: %v", l, r.Seq, err)
				continue
			}
			if r.Seq != w.Oldest+uint64(i) || e.Seq != r.Seq || e.Stream != s.Stream() || e.Lane != l {
				t.Errorf("lane %v: record %d has seq %d, event %v %v %d", l, i, r.Seq, e.Stream, e.Lane, e.Seq)
			}
			if i > 0 && e.Prev != wire.HashOf(recs[i-1].Data) {
				t.Errorf("lane %v seq %d is not chained to the one before", l, r.Seq)
			}
		}
	}
}

func details(t fataler, s *spool.Spool, l wire.Lane) []string {
	recs, err := s.Read(l, 0, 1<<30, 1<<30)
	if err != nil {
		t.Errorf("%v", err)
	}
	var got []string
	for _, r := range recs {
		if e, err := wire.Peek(r.Data); err == nil {
			got = append(got, e.Body.(*wire.Fault).Detail)
		}
	}
	return got
}

func TestSurvivesReopening(t *testing.T) {
	path := filepath.Join(t.TempDir(), "spool.db")
	s := open(t, path, spool.Options{})
	for i := range 3 {
		seq, err := s.Append(wire.Alarm, seal(wire.Alarm, fmt.Sprint(i)), spool.KV{Key: "latch", Value: []byte{byte(i)}})
		if err != nil || seq != uint64(i+1) {
			t.Fatalf("append %d: %d, %v", i, seq, err)
		}
	}
	select {
	case <-s.Changed():
	default:
		t.Error("no wake-up after an append")
	}
	stream := s.Stream()
	if err := s.Ack(stream, wire.Alarm, 2); err != nil {
		t.Fatal(err)
	}
	if err := s.Ack(wire.StreamID{9}, wire.Alarm, 3); !errors.Is(err, spool.ErrStream) {
		t.Errorf("another stream's ack: %v", err)
	}
	if err := s.Ack(stream, wire.Duty, 50); err != nil { // beyond what exists
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Append(wire.Duty, seal(wire.Duty, "late")); !errors.Is(err, spool.ErrClosed) {
		t.Errorf("append after close: %v", err)
	}
	again := open(t, path, spool.Options{})
	if got := details(t, again, wire.Alarm); len(got) != 1 || got[0] != "2" {
		t.Errorf("left %v, want only 2", got)
	}
	if again.Stream() != stream || again.Boot() != 2 {
		t.Errorf("stream %v boot %d, want %v and 2", again.Stream(), again.Boot(), stream)
	}
	if state, err := again.State(); err != nil || string(state["latch"]) != "\x02" {
		t.Errorf("state %v, %v", state, err)
	}
	if seq, err := again.Append(wire.Duty, seal(wire.Duty, "x"), spool.KV{Key: "latch"}); err != nil || seq != 1 {
		t.Errorf("first of duty: %d, %v", seq, err)
	}
	if state, _ := again.State(); len(state) != 0 {
		t.Errorf("state %v, want the key gone", state)
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
}

func TestBuildErrorTakesNoNumber(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "s"), spool.Options{})
	boom := errors.New("boom")
	if _, err := s.Append(wire.Duty, func(spool.Slot) ([]byte, error) { return nil, boom }); !errors.Is(err, boom) {
		t.Errorf("%v", err)
	}
	if seq, err := s.Append(wire.Duty, seal(wire.Duty, "a")); seq != 1 || err != nil {
		t.Errorf("%d, %v: want 1", seq, err)
	}
}

func TestAckIsDeletedWithoutAnAppend(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	s := open(t, path, spool.Options{AckDelay: time.Millisecond})
	for range 100 {
		if _, err := s.Append(wire.Track, seal(wire.Track, "x")); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Ack(s.Stream(), wire.Track, 100); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := spool.List(path, &b); err != nil || strings.Contains(b.String(), "track") {
		t.Errorf("%v\n%s", err, b.String())
	}
}

func TestFullLeavesRoomForAlarms(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "s"), spool.Options{MaxSize: 4 << 20})
	filler := strings.Repeat("x", 500)
	n := 0
	for ; ; n++ {
		if _, err := s.Append(wire.Track, seal(wire.Track, filler)); err != nil {
			if !errors.Is(err, spool.ErrFull) {
				t.Fatal(err)
			}
			break
		}
		if n > 20_000 {
			t.Fatal("4 MiB never fill")
		}
	}
	if _, err := s.Append(wire.Duty, seal(wire.Duty, filler)); !errors.Is(err, spool.ErrFull) {
		t.Errorf("duty on a full spool: %v, want ErrFull", err)
	}
	for range 100 {
		if _, err := s.Append(wire.Alarm, seal(wire.Alarm, "fire")); err != nil {
			t.Fatalf("alarm on a full spool: %v", err)
		}
	}
	if err := s.Ack(s.Stream(), wire.Track, uint64(n)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Append(wire.Alarm, seal(wire.Alarm, "again")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Append(wire.Track, seal(wire.Track, filler)); err != nil {
		t.Errorf("track after room was made: %v", err)
	}
}

func TestDamagedRecordIsLeftOut(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	s, err := spool.Open(path, spool.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{"first", "middle", "last"} {
		if _, err := s.Append(wire.Duty, seal(wire.Duty, d)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b = bytes.ReplaceAll(b, []byte("middle"), []byte("muddle"))
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err = spool.Open(path, spool.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if got := details(t, s, wire.Duty); fmt.Sprint(got) != "[first last]" {
		t.Errorf("read %v, want the damaged one left out", got)
	}
}

func TestListTellsWhatIsWrong(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "s")
	s := open(t, path, spool.Options{})
	if _, err := s.Append(wire.Alarm, seal(wire.Alarm, "x")); err != nil {
		t.Fatal(err)
	}
	garbage := filepath.Join(dir, "garbage")
	if err := os.WriteFile(garbage, bytes.Repeat([]byte("not a spool "), 4000), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		path: "in use", garbage: "not a spool", dir: "want a file", filepath.Join(dir, "none"): "no such file",
	} {
		if err := spool.List(path, io.Discard); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := spool.List(path, &b); err != nil || !strings.Contains(b.String(), "alarm  1    ") || !strings.Contains(b.String(), "fault") {
		t.Errorf("%v\n%s", err, b.String())
	}
}

// A spool behaves as three lists in memory do, across crashes (the file as a
// cut would leave it: copied between commits) and orderly restarts.
func TestAgainstAModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp("", "spool")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		path := filepath.Join(dir, "s0")
		opt := spool.Options{AckDelay: time.Hour}
		s, err := spool.Open(path, opt)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { s.Close() }()
		type lane struct {
			all   []string // ever appended
			acked int
		}
		model := map[wire.Lane]*lane{wire.Alarm: {}, wire.Duty: {}, wire.Track: {}}
		lanes := rapid.SampledFrom([]wire.Lane{wire.Alarm, wire.Duty, wire.Track})
		generation := 0
		t.Repeat(map[string]func(*rapid.T){
			"append": func(t *rapid.T) {
				l := lanes.Draw(t, "lane")
				d := fmt.Sprintf("%v %d", l, len(model[l].all))
				seq, err := s.Append(l, seal(l, d))
				model[l].all = append(model[l].all, d)
				if err != nil || seq != uint64(len(model[l].all)) {
					t.Fatalf("append: %d, %v; want %d", seq, err, len(model[l].all))
				}
			},
			"ack": func(t *rapid.T) {
				l := lanes.Draw(t, "lane")
				upTo := rapid.IntRange(0, len(model[l].all)+2).Draw(t, "up to")
				if err := s.Ack(s.Stream(), l, uint64(upTo)); err != nil {
					t.Fatal(err)
				}
				model[l].acked = max(model[l].acked, min(upTo, len(model[l].all)))
			},
			"restart": func(t *rapid.T) {
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				if s, err = spool.Open(path, opt); err != nil {
					t.Fatal(err)
				}
			},
			"crash": func(t *rapid.T) {
				b, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				s.Close()
				generation++
				path = filepath.Join(dir, fmt.Sprintf("s%d", generation))
				if err := os.WriteFile(path, b, 0o600); err != nil {
					t.Fatal(err)
				}
				if s, err = spool.Open(path, opt); err != nil {
					t.Fatal(err)
				}
				for l, m := range model { // an ack may be forgotten, never an event
					w := s.Window()[l]
					if w.Oldest > uint64(m.acked)+1 {
						t.Fatalf("lane %v begins at %d, acknowledged were %d", l, w.Oldest, m.acked)
					}
					m.acked = int(w.Oldest) - 1
				}
			},
			"": func(t *rapid.T) {
				check(t, s)
				for l, m := range model {
					if got, want := details(t, s, l), m.all[m.acked:]; fmt.Sprint(got) != fmt.Sprint(want) {
						t.Fatalf("lane %v holds %v, want %v", l, got, want)
					}
				}
			},
		})
	})
}

// A child appends and says so; it is killed at some moment. All that it said
// must be in the file. The ledger is here, outside of what is killed.
func TestKilledInMidAppend(t *testing.T) {
	if path := os.Getenv("SPOOL_KILLED"); path != "" {
		s, err := spool.Open(path, spool.Options{})
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; ; i++ {
			seq, err := s.Append(wire.Alarm, seal(wire.Alarm, fmt.Sprint(i)))
			if err != nil {
				t.Fatal(err)
			}
			fmt.Printf("stored %d\n", seq)
		}
	}
	path := filepath.Join(t.TempDir(), "spool.db")
	ledger := uint64(0)
	for round := range 15 {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKilledInMidAppend$")
		cmd.Env = append(os.Environ(), "SPOOL_KILLED="+path)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); n++ {
			fmt.Sscanf(lines.Text(), "stored %d", &ledger)
			if n == 3+round*7 {
				if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
					t.Fatal(err)
				}
			}
		}
		cmd.Wait()
		s, err := spool.Open(path, spool.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if w := s.Window()[wire.Alarm]; w.Next-1 < ledger || w.Next-1 > ledger+1 {
			t.Errorf("round %d: %d events in the file, the ledger says %d", round, w.Next-1, ledger)
		}
		check(t, s)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if ledger < 100 {
		t.Errorf("only %d events: the child did not run", ledger)
	}
}

// BenchmarkAppend tells an Append's time, and as a ratio to the floor that any
// durable store has: writing 4 KiB and waiting for the disk.
func BenchmarkAppend(b *testing.B) {
	dir := b.TempDir()
	s := open(b, filepath.Join(dir, "s"), spool.Options{MaxSize: 512 << 20})
	f, err := os.Create(filepath.Join(dir, "floor"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	page := make([]byte, 4096)
	var ours, floor time.Duration
	for i := 0; b.Loop(); i++ {
		at := time.Now()
		if _, err := s.Append(wire.Alarm, seal(wire.Alarm, "x")); err != nil {
			b.Fatal(err)
		}
		ours += time.Since(at)
		at = time.Now()
		if _, err := f.WriteAt(page, int64(i%1024)*4096); err != nil {
			b.Fatal(err)
		}
		if err := syscall.Fdatasync(int(f.Fd())); err != nil {
			b.Fatal(err)
		}
		floor += time.Since(at)
	}
	b.ReportMetric(float64(ours.Microseconds())/float64(b.N), "append-µs/op")
	b.ReportMetric(float64(floor.Microseconds())/float64(b.N), "floor-µs/op")
	b.ReportMetric(float64(ours)/float64(floor), "x-floor")
}
