package spool_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"hash/crc32"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fengsui/fengsui/firmware/spool"
	"github.com/fengsui/fengsui/firmware/spool/spooltest"
	"github.com/fengsui/fengsui/firmware/wire"
)

// A stock is every event that was stored, by lane and number.
type stock map[wire.Lane]map[uint64][]byte

// fill makes a spool with events in all lanes, of which the first few are
// acknowledged and deleted, and returns what waits.
func fill(t *testing.T, path string, each int) (stream wire.StreamID, made, waits stock) {
	t.Helper()
	s, err := spool.Open(path, spool.Options{})
	if err != nil {
		t.Fatal(err)
	}
	made, waits = make(stock), make(stock)
	for _, l := range wire.Lanes() {
		made[l], waits[l] = make(map[uint64][]byte), make(map[uint64][]byte)
	}
	for i := range each {
		for _, l := range wire.Lanes() {
			var msg []byte
			seq, err := s.Append(l, func(at spool.Slot) (b []byte, err error) {
				msg, err = padded(l, fmt.Sprint(i), i%700)(at)
				return msg, err
			}, spool.KV{Key: "latch", Value: fmt.Append(nil, i)})
			if err != nil {
				t.Fatal(err)
			}
			made[l][seq] = msg
		}
	}
	for _, l := range wire.Lanes() {
		if err := spooltest.Ack(s, l, uint64(each/10)); err != nil {
			t.Fatal(err)
		}
		for seq, msg := range made[l] {
			if seq > uint64(each/10) {
				waits[l][seq] = msg
			}
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return s.Stream(), made, waits
}

// readable returns the events of a stock whose bytes are in a file, whole and
// behind their key and checksum: what a salvage owes.
func readable(file []byte, stream wire.StreamID, led stock) stock {
	got := make(stock)
	table := crc32.MakeTable(crc32.Castagnoli)
	for l, m := range led {
		got[l] = make(map[uint64][]byte)
		for seq, msg := range m {
			k := binary.BigEndian.AppendUint64(nil, seq)
			sum := crc32.Checksum(fmt.Appendf(nil, "lane/%v/%v", stream, l), table)
			sum = crc32.Update(crc32.Update(sum, table, k), table, msg)
			if bytes.Contains(file, append(binary.BigEndian.AppendUint32(k, sum), msg...)) {
				got[l][seq] = msg
			}
		}
	}
	return got
}

// held returns what a part holds.
func held(t *testing.T, p spool.Part) stock {
	t.Helper()
	led := make(stock)
	for _, l := range wire.Lanes() {
		recs, err := p.Read(l, 0, math.MaxInt, math.MaxInt)
		if err != nil {
			t.Fatal(err)
		}
		led[l] = make(map[uint64][]byte)
		for _, r := range recs {
			led[l][r.Seq] = r.Data
		}
	}
	return led
}

func sizes(led stock) (n [3]int) {
	for i, l := range wire.Lanes() {
		n[i] = len(led[l])
	}
	return n
}

// However the file is damaged, what is still readable in it is salvaged, alarms
// are all there, what is missing is told, and nothing else appears.
func TestRecoverSalvages(t *testing.T) {
	const page = 4096
	for name, hurt := range map[string]func(r *rand.Rand, b []byte) []byte{
		"both metas":   func(_ *rand.Rand, b []byte) []byte { clear(b[:2*page]); return b },
		"cut short":    func(_ *rand.Rand, b []byte) []byte { return b[:len(b)/2] },
		"zeroed pages": func(r *rand.Rand, b []byte) []byte { return hurtPages(r, b, 8, func(p []byte) { clear(p) }) },
		"page headers": func(r *rand.Rand, b []byte) []byte {
			return hurtPages(r, b, 12, func(p []byte) { binary.BigEndian.PutUint64(p[8:], r.Uint64()) })
		},
		"flipped bits": func(r *rand.Rand, b []byte) []byte {
			return hurtPages(r, b, 40, func(p []byte) { p[r.IntN(len(p))] ^= 1 << r.IntN(8) })
		},
		"noise": func(r *rand.Rand, b []byte) []byte {
			for i := range b {
				b[i] = byte(r.Uint32())
			}
			return b
		},
	} {
		t.Run(name, func(t *testing.T) {
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			path := filepath.Join(memory(t), "s")
			stream, made, led := fill(t, path, 300)
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			b = hurt(rand.New(rand.NewPCG(seed, 0)), b)
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			want := readable(b, stream, led)
			maps.Copy(want[wire.Alarm], led[wire.Alarm]) // they have a second home
			damaged := checkInChild(path)
			s := spooltest.Recover(t, path, spool.Options{}, checkInChild)
			if damaged == nil {
				t.Skip("the damage is where nothing is") // a seed in many
			}
			parts := s.Parts()
			if len(parts) != 2 || parts[0].Stream() != stream || parts[1].Stream() == stream {
				t.Fatalf("%d parts, want the old stream and a new one", len(parts))
			}
			got := held(t, parts[0])
			for _, l := range wire.Lanes() {
				for seq, msg := range got[l] {
					if !bytes.Equal(msg, made[l][seq]) {
						t.Errorf("%v %d is not what was stored", l, seq)
					}
				}
				for seq := range want[l] {
					if got[l][seq] == nil {
						t.Errorf("%v %d can be read in the file and is not salvaged", l, seq)
					}
				}
			}
			started, err := s.Started()
			if err != nil || started == nil || started.Why != wire.StartDamaged || !strings.Contains(started.Detail, "s.corrupt-1") {
				t.Errorf("started %+v, %v", started, err)
			}
			for _, l := range wire.Lanes() { // each number that is between and not there is told
				w, told := parts[0].Window()[l], uint64(0)
				for _, g := range s.Given() {
					if g.Lane == l && g.Why == wire.DropDamaged && g.Stream == stream {
						told += g.Events
					}
				}
				if lack := w.Next - w.Oldest - uint64(len(got[l])); told < lack {
					t.Errorf("%v: %d of %v are missing, %d are told", l, lack, w, told)
				}
			}
			t.Logf("%v of %v salvaged: %v", sizes(got), sizes(led), damaged)
			if state, err := s.State(); err != nil || string(state["latch"]) != "299" {
				t.Errorf("state %q, %v: want the latch out of the second home", state, err)
			}
			if _, err := s.Append(wire.Alarm, seal(wire.Alarm, "new")); err != nil {
				t.Error(err)
			}
		})
	}
}

func hurtPages(r *rand.Rand, b []byte, n int, hurt func([]byte)) []byte {
	const page = 4096
	for range n {
		at := (2 + r.IntN(len(b)/page-2)) * page
		hurt(b[at : at+page])
	}
	return b
}

// A cut while a damaged file is being replaced: the next start ends it.
func TestRecoverIsFinished(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "s")
	stream, _, led := fill(t, path, 50)
	want := sizes(led)
	check := func(what string) {
		t.Helper()
		s, err := spool.Recover(path, spool.Options{}, spool.Check)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		defer s.Close()
		if p := s.Parts()[0]; p.Stream() != stream || sizes(held(t, p)) != want {
			t.Errorf("%s: %v with %v, want %v with %v", what, p.Stream(), sizes(held(t, p)), stream, want)
		}
		if _, err := os.Stat(path + ".new"); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: the new file is left: %v", what, err)
		}
	}
	// The new one was being made.
	if err := os.WriteFile(path+".new", []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	check("half made")
	// The old one was out of the way, the new one not in its place.
	if err := os.Rename(path, path+".new"); err != nil {
		t.Fatal(err)
	}
	check("half renamed")
}

// Damaged files do not fill the disk.
func TestRecoverKeepsFewFilesAside(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "s")
	for range 6 {
		if err := os.WriteFile(path, bytes.Repeat([]byte("no spool "), 2000), 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := spool.Recover(path, spool.Options{}, spool.Check)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	names, _ := filepath.Glob(path + ".corrupt-*")
	slices.Sort(names)
	if want := []string{path + ".corrupt-4", path + ".corrupt-5", path + ".corrupt-6"}; !slices.Equal(names, want) {
		t.Errorf("%v, want %v", names, want)
	}
}

// A check reads every value: what stands there whole but with other bytes, it
// finds, in an event, in the state and in a lane's head.
func TestCheckReadsAll(t *testing.T) {
	for what, change := range map[string][2]string{
		"nothing": {"", ""}, "an event": {"the detail of it", "the detail oF it"},
		"the state": {"lit by an alarm", "lit by an alarN"}, "a head": {"head/", "heaD/"},
	} {
		path := filepath.Join(memory(t), "s")
		s, err := spool.Open(path, spool.Options{})
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range wire.Lanes() {
			if _, err := s.Append(l, seal(l, "the detail of it"), spool.KV{Key: "lamp", Value: []byte("lit by an alarm")}); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if what == "nothing" {
			if err := spool.Check(path); err != nil {
				t.Errorf("with nothing changed: %v", err)
			}
			continue
		}
		damage(t, path, change[0], change[1])
		if err := spool.Check(path); !errors.Is(err, spool.ErrDamaged) {
			t.Errorf("with %s changed: %v, want ErrDamaged", what, err)
		}
	}
}

// A value that stands under another key, in the same bucket or in another one, is
// not the one that was stored there, though all its bytes are right.
func TestValueUnderAnotherKey(t *testing.T) {
	for _, other := range []wire.Lane{wire.Duty, wire.Track} { // the second event of its lane, or the first of another
		path := filepath.Join(memory(t), "s")
		s, err := spool.Open(path, spool.Options{})
		if err != nil {
			t.Fatal(err)
		}
		value := func(l wire.Lane, seq uint64, msg []byte) []byte {
			table := crc32.MakeTable(crc32.Castagnoli)
			k := binary.BigEndian.AppendUint64(nil, seq)
			sum := crc32.Checksum(fmt.Appendf(nil, "lane/%v/%v", s.Stream(), l), table)
			sum = crc32.Update(crc32.Update(sum, table, k), table, msg)
			return append(binary.BigEndian.AppendUint32(nil, sum), msg...)
		}
		var values [][]byte
		for _, l := range []wire.Lane{wire.Duty, other} {
			seq, err := s.Append(l, func(at spool.Slot) ([]byte, error) {
				msg, err := seal(l, "as long as the other")(at)
				values = append(values, value(l, at.Seq, msg))
				return msg, err
			})
			if err != nil || seq > 2 {
				t.Fatal(seq, err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		one, two := bytes.Index(b, values[0]), bytes.Index(b, values[1])
		if one < 0 || two < 0 || len(values[0]) != len(values[1]) {
			t.Fatalf("values of %d and %d bytes at %d and %d", len(values[0]), len(values[1]), one, two)
		}
		copy(b[one:], values[1])
		copy(b[two:], values[0])
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := spool.Check(path); !errors.Is(err, spool.ErrDamaged) {
			t.Errorf("%v changed about with duty: %v, want ErrDamaged", other, err)
		}
	}
}

// checkInChild checks as the agent does: bbolt may end the process that does it.
func checkInChild(path string) error {
	return spool.CheckIn(context.Background(), []string{os.Args[0], "-test.run=^TestChecker$"}, path)
}

func TestChecker(t *testing.T) {
	if flag.NArg() == 0 {
		t.Skip("the child of other tests")
	}
	os.Exit(spool.CheckMain(flag.Arg(0), os.Stderr))
}

// What a check in a process of its own may come to.
func TestCheckIn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	fill(t, path, 5)
	short, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	for name, c := range map[string]struct {
		ctx     context.Context
		command []string
		want    error
	}{
		"in order":        {t.Context(), []string{"true"}, nil},
		"dies":            {t.Context(), []string{"sh", "-c", "kill -SEGV $$"}, spool.ErrDamaged},
		"finds damage":    {t.Context(), []string{"false"}, spool.ErrDamaged},
		"in use":          {t.Context(), []string{"sh", "-c", "exit 4"}, spool.ErrInUse},
		"hangs":           {short, []string{"sh", "-c", "exec sleep 60"}, spool.ErrDamaged},
		"is refused":      {t.Context(), []string{"sh", "-c", "exit 5"}, spool.ErrRefused},
		"is not there":    {t.Context(), []string{"/nowhere/check"}, nil},
		"was not ordered": {t.Context(), nil, nil},
	} {
		if err := spool.CheckIn(c.ctx, c.command, path); !errors.Is(err, c.want) || err != nil && c.want == nil {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	stopped, stop := context.WithCancel(t.Context())
	stop()
	if err := spool.CheckIn(stopped, []string{"sleep", "60"}, path); !errors.Is(err, context.Canceled) {
		t.Errorf("at a stop: %v: want no judgement", err)
	}
	var said bytes.Buffer
	if code := spool.CheckMain(filepath.Join(t.TempDir(), "none"), &said); code != 0 || said.Len() > 0 {
		t.Errorf("an absent file: %d %q", code, said.String())
	}
}
