package spool_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/fengsui/fengsui/firmware/spool"
	"github.com/fengsui/fengsui/firmware/spool/spooltest"
	"github.com/fengsui/fengsui/firmware/wire"
)

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(out, in); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
}

func appendAll(t *testing.T, s *spool.Spool, l wire.Lane, details ...string) {
	t.Helper()
	for _, d := range details {
		if _, err := s.Append(l, seal(l, d), spool.KV{Key: "latch", Value: []byte(d)}); err != nil {
			t.Fatal(err)
		}
	}
}

// waiting returns the details of a lane over all parts.
func waiting(t *testing.T, s *spool.Spool, l wire.Lane) (got []string) {
	t.Helper()
	for _, p := range s.Parts() {
		recs, err := p.Read(l, 0, 1<<20, 1<<30)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range recs {
			e, err := wire.Peek(r.Data)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, e.Body.(*wire.Fault).Detail)
		}
	}
	return got
}

// The database is gone, or gone back in time: the alarms and the latch are not,
// and numbers are not used twice.
func TestAlarmsHaveASecondHome(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(t *testing.T, path, old string)
		why   wire.StartWhy // 0: the stream goes on, or nothing is known of one before
	}{
		"nothing":        {func(*testing.T, string, string) {}, 0},
		"gone":           {func(t *testing.T, path, _ string) { os.Remove(path) }, 0},
		"back in time":   {func(t *testing.T, path, old string) { copyFile(t, old, path) }, wire.StartRolledBack},
		"emptied":        {func(t *testing.T, path, _ string) { os.Truncate(path, 0) }, 0},
		"without a home": {func(t *testing.T, path, _ string) { os.Remove(path + ".alarms") }, 0},
		"home of noise": {func(t *testing.T, path, _ string) {
			os.WriteFile(path+".alarms", []byte("FSH1 and so on, which is none"), 0o600)
		}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path, old := filepath.Join(dir, "s"), filepath.Join(dir, "old")
			s, err := spool.Open(path, spool.Options{})
			if err != nil {
				t.Fatal(err)
			}
			appendAll(t, s, wire.Alarm, "1", "2")
			if err := spooltest.Ack(s, wire.Alarm, 1); err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			copyFile(t, path, old)
			s, err = spool.Open(path, spool.Options{})
			if err != nil {
				t.Fatal(err)
			}
			appendAll(t, s, wire.Alarm, "3", "4")
			was := s.Stream()
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			c.spoil(t, path, old)
			s = spooltest.Recover(t, path, spool.Options{}, spool.Check)
			got := fmt.Sprint(waiting(t, s, wire.Alarm))
			// An alarm that was acknowledged may come again; none may be missing.
			if got != "[2 3 4]" && got != "[1 2 3 4]" {
				t.Errorf("alarms %v, want 2, 3 and 4", got)
			}
			started, err := s.Started()
			if err != nil || (started != nil) != (c.why != 0) || started != nil && (started.Why != c.why || started.Previous != was) {
				t.Errorf("started %+v, %v: want %v", started, err, c.why)
			}
			if state, err := s.State(); err != nil || string(state["latch"]) != "4" {
				t.Errorf("state %q, %v: want 4", state, err)
			}
			if st := s.Status(); st.Alone {
				t.Error("alone")
			}
			seq, err := s.Append(wire.Alarm, seal(wire.Alarm, "5"))
			if err != nil || s.Stream() == was && seq != 5 || s.Stream() != was && seq != 1 {
				t.Errorf("the next is %d of %v, %v; before: %v", seq, s.Stream(), err, was)
			}
		})
	}
}

// A cut between the database's commit and the log's leaves an alarm with one
// home: the next start gives it its second.
func TestSecondHomeIsCompleted(t *testing.T) {
	dir := t.TempDir()
	path, old := filepath.Join(dir, "s"), filepath.Join(dir, "old")
	run := func(details ...string) {
		t.Helper()
		s, err := spool.Open(path, spool.Options{})
		if err != nil {
			t.Fatal(err)
		}
		appendAll(t, s, wire.Alarm, details...)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	run("1")
	copyFile(t, path+".alarms", old)
	run("2")
	copyFile(t, old, path+".alarms") // the log's write was cut off
	run()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	s := spooltest.Open(t, path, spool.Options{})
	if got := fmt.Sprint(waiting(t, s, wire.Alarm)); got != "[1 2]" {
		t.Errorf("alarms %v, want 1 and 2", got)
	}
	if state, err := s.State(); err != nil || string(state["latch"]) != "2" {
		t.Errorf("state %q, %v: want 2", state, err)
	}
}

// Salvage finds some alarms and nothing that says where their lane began: those
// before come from their second home.
func TestSecondHomeBelowWhatIsSalvaged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	s, err := spool.Open(path, spool.Options{})
	if err != nil {
		t.Fatal(err)
	}
	appendAll(t, s, wire.Alarm, "first", "second", "third", "fourth")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	damage(t, path, "head/", "h.ad/")
	damage(t, path, "first", "f....")
	damage(t, path, "second", "s.....")
	s = spooltest.Recover(t, path, spool.Options{}, spool.Check)
	if got := fmt.Sprint(waiting(t, s, wire.Alarm)); got != "[first second third fourth]" {
		t.Errorf("alarms %v, want all four", got)
	}
}

// The log is cut anywhere: what is before the cut holds, and nothing else.
func TestSecondHomeCutAnywhere(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "s")
	s, err := spool.Open(path, spool.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var ends []int64
	for i := range 3 {
		appendAll(t, s, wire.Alarm, fmt.Sprint(i))
		ends = append(ends, logEnd(t, path+".alarms"))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path + ".alarms")
	if err != nil {
		t.Fatal(err)
	}
	for cut := int64(0); cut <= ends[2]; cut += 5 {
		to := filepath.Join(t.TempDir(), "s")
		torn := append([]byte(nil), b...)
		for i := cut; i < int64(len(torn)); i++ {
			torn[i] = 0xa5
		}
		if err := os.WriteFile(to+".alarms", torn, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := spool.Open(to, spool.Options{})
		if err != nil {
			t.Fatal(err)
		}
		want := 0
		for _, end := range ends {
			if cut >= end {
				want++
			}
		}
		if got := waiting(t, s, wire.Alarm); len(got) != want {
			t.Errorf("cut at %d: %v, want %d alarms", cut, got, want)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// logEnd returns where the zeroes begin that end a file.
func logEnd(t *testing.T, path string) int64 {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	n := len(b)
	for n > 0 && b[n-1] == 0 {
		n--
	}
	return int64(n)
}

// The log does not grow with the years.
func TestSecondHomeStaysSmall(t *testing.T) {
	path := filepath.Join(memory(t), "s")
	s := open(t, path, spool.Options{})
	for i := range 3000 {
		appendAll(t, s, wire.Alarm, fmt.Sprint(i))
		if i%100 == 50 {
			if err := spooltest.Ack(s, wire.Alarm, uint64(i)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if st, err := os.Stat(path + ".alarms"); err != nil || st.Size() > 300<<10 {
		t.Errorf("%v bytes, %v: want less than 300 KiB", st.Size(), err)
	}
}

// An ended stream keeps what waits in it, under its numbers, until the centre
// has it; then nothing is left of it.
func TestRestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	s, err := spool.Open(path, spool.Options{})
	if err != nil {
		t.Fatal(err)
	}
	appendAll(t, s, wire.Alarm, "1", "2", "3")
	appendAll(t, s, wire.Duty, "4")
	was := s.Stream()
	if err := s.Restart(wire.StartRolledBack, "so it is"); err != nil {
		t.Fatal(err)
	}
	appendAll(t, s, wire.Alarm, "5")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, path, spool.Options{})
	parts := s.Parts()
	if len(parts) != 2 || parts[0].Stream() != was || s.Stream() == was || fmt.Sprint(waiting(t, s, wire.Alarm)) != "[1 2 3 5]" {
		t.Fatalf("%d parts with %v", len(parts), waiting(t, s, wire.Alarm))
	}
	if err := s.TellStarted(seal(wire.Duty, "started")); err != nil {
		t.Fatal(err)
	}
	if started, err := s.Started(); err != nil || started != nil {
		t.Errorf("started %+v, %v: told already", started, err)
	}
	old := parts[0]
	if err := old.Ack(wire.Alarm, 9, &wire.Hash{1}); !errors.Is(err, spool.ErrOther) {
		t.Errorf("ack beyond: %v", err)
	}
	old.Kept(wire.Alarm, 2)
	if got := fmt.Sprint(waiting(t, s, wire.Alarm)); got != "[1 3 5]" {
		t.Errorf("%s wait, want 1, 3 and 5", got)
	}
	for _, seq := range []uint64{1, 3} {
		old.Kept(wire.Alarm, seq)
	}
	old.Kept(wire.Duty, 1)
	if n := len(s.Parts()); n != 1 {
		t.Errorf("%d parts, want the current one", n)
	}
	if w := old.Window()[wire.Alarm]; w.Oldest != w.Next {
		t.Errorf("window %v of a stream that is done with", w)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, path, spool.Options{})
	if got := fmt.Sprint(waiting(t, s, wire.Alarm), waiting(t, s, wire.Duty)); got != "[5] [started]" || len(s.Parts()) != 1 {
		t.Errorf("%s in %d parts", got, len(s.Parts()))
	}
	if recs, err := old.Read(wire.Alarm, 0, 10, 1000); len(recs) != 0 || err == nil {
		t.Errorf("%v, %v of a closed spool", recs, err)
	}
}

// What is given up makes room, is tallied, and the tally is told once.
func TestSwap(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	s, err := spool.Open(path, spool.Options{})
	if err != nil {
		t.Fatal(err)
	}
	appendAll(t, s, wire.Track, "1", "2", "3", "4", "5")
	give := wire.DroppedRange{Stream: s.Stream(), Lane: wire.Track, From: 1, To: 2, Why: wire.DropThinned, Events: 2, Fixes: 7, First: 100, Last: 200}
	for _, bad := range []wire.DroppedRange{
		{Stream: s.Stream(), Lane: wire.Track, From: 2, To: 3},
		{Stream: s.Stream(), Lane: wire.Track, From: 1, To: 6},
		{Stream: wire.StreamID{1}, Lane: wire.Track, From: 1, To: 1},
		{Stream: s.Stream(), Lane: 9, From: 1, To: 1},
	} {
		if err := s.Swap(bad, nil); err == nil {
			t.Errorf("gave up %+v", bad)
		}
	}
	if err := s.Swap(give, nil, spool.Entry{Lane: wire.Track, Build: seal(wire.Track, "1+2")}); err != nil {
		t.Fatal(err)
	}
	more := wire.DroppedRange{Stream: s.Stream(), Lane: wire.Track, From: 3, To: 3, Why: wire.DropThinned, Events: 1, Fixes: 1, First: 150, Last: 300}
	old := wire.DroppedRange{Stream: wire.StreamID{7}, Lane: wire.Duty, From: 9, To: 9, Why: wire.DropFull, Events: 1}
	if err := s.Swap(more, []wire.DroppedRange{old}); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(details(t, s, wire.Track)); got != "[4 5 1+2]" {
		t.Errorf("left %v", got)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, path, spool.Options{})
	both := give
	both.To, both.Events, both.Fixes, both.Last = 3, 3, 8, 300
	given := map[wire.DroppedRange]bool{both: true, old: true}
	for _, g := range s.Given() {
		if !given[g] {
			t.Errorf("tallied %+v", g)
		}
		delete(given, g)
	}
	if len(given) > 0 {
		t.Errorf("not tallied: %+v", given)
	}
	told := 0
	for range 2 {
		if err := s.Tell(func(at spool.Slot, g []wire.DroppedRange) ([]byte, error) {
			told += len(g)
			return seal(wire.Duty, "told")(at)
		}); err != nil {
			t.Fatal(err)
		}
	}
	if told != 2 || len(s.Given()) != 0 || fmt.Sprint(details(t, s, wire.Duty)) != "[told]" {
		t.Errorf("%d ranges told, %v left, %v", told, s.Given(), details(t, s, wire.Duty))
	}
}

// A tally never names more ranges than a message may carry.
func TestTallyIsBounded(t *testing.T) {
	var tally []wire.DroppedRange
	events := uint64(0)
	for i := range uint64(2000) {
		from := 3 * i * i / 7 * 2
		r := wire.DroppedRange{Lane: wire.Track, From: from + 1, To: from + 1, Why: wire.DropDamaged, Events: 1}
		if tally = spool.MergeDropped(tally, r); len(tally) > wire.MaxDroppedRanges {
			t.Fatalf("%d ranges", len(tally))
		}
	}
	for i, r := range tally {
		events += r.Events
		if r.Events > r.To-r.From+1 || i > 0 && r.From <= tally[i-1].To {
			t.Errorf("range %+v", r)
		}
	}
	if events != 2000-1 { // the first two have one number
		t.Errorf("%d events, want 1999", events)
	}
}
