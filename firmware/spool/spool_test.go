package spool_test

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
	"pgregory.net/rapid"

	"github.com/fengsui/fengsui/firmware/spool"
	"github.com/fengsui/fengsui/firmware/spool/spooltest"
	"github.com/fengsui/fengsui/firmware/wire"
)

var signer = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, 32))

// seal makes a real event for a slot; detail tells events apart.
func seal(l wire.Lane, detail string) func(spool.Slot) ([]byte, error) { return padded(l, detail, 0) }

// padded is seal with an event that is longer by about so many bytes.
func padded(l wire.Lane, detail string, n int) func(spool.Slot) ([]byte, error) {
	return func(s spool.Slot) ([]byte, error) {
		e := &wire.Event{
			Device: "box-01", Stream: s.Stream, Lane: l, Seq: s.Seq, Prev: s.Prev, Boot: s.Boot,
			Body: &wire.Fault{Code: "test", Detail: detail},
		}
		if n > 0 {
			raw, err := cbor.Marshal(make([]byte, n))
			if err != nil {
				return nil, err
			}
			e.Extra = wire.Extra{uint64(99): raw}
		}
		return wire.Seal(e, signer)
	}
}

var open = spooltest.Open

func details(t spooltest.TB, s *spool.Spool, l wire.Lane) []string {
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

// memory returns a folder in memory, where a sync costs nothing, for tests that
// store much and in which nothing fails below the file.
func memory(t *testing.T) string {
	t.Helper()
	if st, err := os.Stat("/dev/shm"); err != nil || !st.IsDir() {
		return t.TempDir()
	}
	dir, err := os.MkdirTemp("/dev/shm", "fengsui-spool")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
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
	if err := spooltest.Ack(s, wire.Alarm, 2); err != nil {
		t.Fatal(err)
	}
	for _, hash := range []*wire.Hash{nil, {9}} { // none, or another one's
		if err := s.Parts()[0].Ack(wire.Alarm, 3, hash); !errors.Is(err, spool.ErrOther) {
			t.Errorf("an ack of another event: %v", err)
		}
	}
	// The centre has alarms that this file never made: to delete the one that now
	// has the number would lose it.
	if err := spooltest.Ack(s, wire.Alarm, 4); !errors.Is(err, spool.ErrOther) {
		t.Errorf("ack beyond the newest: %v", err)
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
	if err := spooltest.Ack(s, wire.Track, 100); err != nil {
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

// damage changes bytes of a closed spool's file.
func damage(t *testing.T, path string, old, new string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	d := bytes.ReplaceAll(b, []byte(old), []byte(new))
	if bytes.Equal(b, d) {
		t.Fatalf("%q is not in the file", old)
	}
	if err := os.WriteFile(path, d, 0o600); err != nil {
		t.Fatal(err)
	}
}

// A damaged event is neither returned nor in the way of those behind it.
func TestDamagedRecordIsLeftOut(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	s := open(t, path, spool.Options{})
	for _, d := range []string{"first", "middle", "other", "last"} {
		if _, err := s.Append(wire.Duty, seal(wire.Duty, d)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Append(wire.Duty, seal(wire.Duty, "x"), spool.KV{Key: "latch", Value: []byte("on fire")}, spool.KV{Key: "good", Value: []byte("1")}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	damage(t, path, "middle", "muddle")
	damage(t, path, "other", "otter")
	damage(t, path, "on fire", "on hire")
	s, err := spool.Open(path, spool.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for range 2 { // counted once
		if got := details(t, s, wire.Duty); fmt.Sprint(got) != "[first last x]" {
			t.Errorf("read %v, want the damaged ones left out", got)
		}
	}
	if w := s.Window()[wire.Duty]; w.Oldest != 1 || s.Status().Damaged != 2 {
		t.Errorf("window %v, %+v: want 1 to 6 and 2 damaged", w, s.Status())
	}
	// The centre can never acknowledge 2 and 3: the window must pass them.
	if err := spooltest.Ack(s, wire.Duty, 1); err != nil {
		t.Fatal(err)
	}
	if w := s.Window()[wire.Duty]; w.Oldest != 4 {
		t.Errorf("oldest %d after an ack up to the damage: want 4", w.Oldest)
	}
	if state, err := s.State(); err != nil || len(state) != 1 || string(state["good"]) != "1" {
		t.Errorf("state %q, %v: want the damaged value left out", state, err)
	}
}

// What is damaged beyond an event is told at Open, which works again when the
// file was set aside.
func TestDamagedFile(t *testing.T) {
	for name, hurt := range map[string]func(t *testing.T, path string){
		"head": func(t *testing.T, path string) { damage(t, path, "head/", "haed/") },
		"both metas": func(t *testing.T, path string) {
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if _, err := f.WriteAt(make([]byte, 8192), 0); err != nil {
				t.Fatal(err)
			}
		},
		"cut short": func(t *testing.T, path string) {
			if err := os.Truncate(path, 8192); err != nil {
				t.Fatal(err)
			}
		},
		"zeroed": func(t *testing.T, path string) {
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if _, err := f.WriteAt(make([]byte, 24576), 8192); err != nil {
				t.Fatal(err)
			}
		},
		"no file of ours": func(t *testing.T, path string) {
			if err := os.WriteFile(path, bytes.Repeat([]byte("not a spool "), 4000), 0o600); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "s")
			s, err := spool.Open(path, spool.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.Append(wire.Alarm, seal(wire.Alarm, "x")); err != nil {
				t.Fatal(err)
			}
			was := s.Stream()
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			hurt(t, path)
			if err := spool.List(path, io.Discard); err == nil {
				t.Log("listed all the same") // what is gone need not show
			}
			if _, err := spool.Open(path, spool.Options{}); !errors.Is(err, spool.ErrDamaged) {
				t.Fatalf("open: %v, want ErrDamaged", err)
			}
			s = spooltest.Recover(t, path, spool.Options{}, spool.Check)
			if _, err := os.Stat(path + ".corrupt-1"); err != nil {
				t.Errorf("set aside: %v", err)
			}
			if s.Stream() == was {
				t.Errorf("stream %v: want a new one", s.Stream())
			}
			parts := s.Parts() // the alarm, out of its second home if need be
			if w := parts[0].Window()[wire.Alarm]; len(parts) != 2 || parts[0].Stream() != was || w != (wire.Window{Oldest: 1, Next: 2}) {
				t.Errorf("%d parts, the first %v with %v", len(parts), parts[0].Stream(), w)
			}
		})
	}
}

func TestOpenRefuses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	open(t, path, spool.Options{})
	if _, err := spool.Open(path, spool.Options{}); !errors.Is(err, spool.ErrInUse) {
		t.Errorf("second opening: %v, want ErrInUse", err)
	}
	if _, err := spool.Open(filepath.Join(path, "s"), spool.Options{}); err == nil || errors.Is(err, spool.ErrDamaged) {
		t.Errorf("no folder: %v", err)
	}
	if _, err := spool.Open(path, spool.Options{MaxSize: 1 << 20}); err == nil || !strings.Contains(err.Error(), "want 4194304 or more") {
		t.Errorf("too small: %v", err)
	}
}

func TestAppendRefuses(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "s"), spool.Options{})
	if _, err := s.Append(9, seal(wire.Alarm, "x")); err == nil {
		t.Error("a lane 9")
	}
	if _, err := s.Append(wire.Alarm, seal(wire.Alarm, "x"), spool.KV{Value: []byte("x")}); err == nil {
		t.Error("a state without a name")
	}
	long := spool.KV{Key: strings.Repeat("k", 40_000), Value: []byte("x")} // bbolt refuses it
	if _, err := s.Append(wire.Alarm, seal(wire.Alarm, "x"), long); err == nil || errors.Is(err, spool.ErrSuspect) {
		t.Errorf("too long a key: %v: want an error that leaves the file alone", err)
	}
	if seq, err := s.Append(wire.Alarm, seal(wire.Alarm, "y")); seq != 1 || err != nil {
		t.Errorf("after refusals: %d, %v", seq, err)
	}
}

// Acks and reads do not wait for the disk of an Append.
func TestAckDuringAppend(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "s"), spool.Options{})
	if _, err := s.Append(wire.Alarm, seal(wire.Alarm, "1")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Append(wire.Alarm, func(sl spool.Slot) ([]byte, error) {
		if recs, err := s.Read(wire.Alarm, 1, 9, 9999); err != nil || len(recs) != 1 {
			t.Errorf("read: %d, %v", len(recs), err)
		}
		return seal(wire.Alarm, "2")(sl)
	}); err != nil {
		t.Fatal(err)
	}
	if err := spooltest.Ack(s, wire.Alarm, 1); err != nil {
		t.Fatal(err)
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
		path: "in use", garbage: "damaged", dir: "want a file", filepath.Join(dir, "none"): "no such file",
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
	all := memory(t)
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp(all, "spool")
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
				err := spooltest.Ack(s, l, uint64(upTo))
				if upTo > len(model[l].all) {
					if !errors.Is(err, spool.ErrOther) {
						t.Fatalf("ack beyond the newest: %v", err)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				model[l].acked = max(model[l].acked, upTo)
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
				spooltest.Check(t, s)
				for l, m := range model {
					if got, want := details(t, s, l), m.all[m.acked:]; fmt.Sprint(got) != fmt.Sprint(want) {
						t.Fatalf("lane %v holds %v, want %v", l, got, want)
					}
				}
			},
		})
	})
}
