package agent_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fengsui/fengsui/firmware/spool"
	"github.com/fengsui/fengsui/firmware/wire"
)

// A disk that refuses every start: the box shows that, keeps what is pressed
// in memory, tries again, and tells the centre when it could.
func TestDiskThatRefusesTheStart(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		inTheWay := filepath.Join(dir, "spool.db")
		if err := os.Mkdir(inTheWay, 0o700); err != nil { // no file opens there
			t.Fatal(err)
		}
		w := newWorld(t, dir, "")
		w.power()
		amber := 0
		for range 800 { // eight seconds
			switch got := w.lamps(); got {
			case "-Y--":
				amber++
			case "----":
			default:
				t.Fatalf("lamps %s: want amber at most", got)
			}
			time.Sleep(10 * time.Millisecond)
		}
		if amber == 0 {
			t.Error("amber is dark for eight seconds: want the pattern of a fault")
		}
		if st := w.a.Status(); !slices.Contains(st.Faults, "storage_refused") {
			t.Errorf("status %+v: want storage_refused", st)
		}
		pressed := time.Now()
		w.press("P")
		time.Sleep(time.Second)
		if got := w.lamps(); strings.ContainsAny(got, "RGS") {
			t.Errorf("lamps %s, and nothing is stored", got)
		}
		if err := os.Remove(inTheWay); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute) // twice the longest pause
		if got := w.a.Status().Step; got != "centre_has" {
			t.Errorf("step %s: want the press at the centre", got)
		}
		if n := len(bodies[*wire.AlarmRaised](w)); n != 1 {
			t.Errorf("%d alarms at the centre: want one", n)
		}
		for _, e := range w.events {
			if late := time.UnixMilli(e.Wall.UnixMilli).Sub(pressed); e.Lane == wire.Alarm && (late < 0 || late > 100*time.Millisecond) {
				t.Errorf("the alarm is dated %v after its press", late)
			}
		}
		if got := w.faults("storage_refused"); !slices.Equal(got, []string{"storage_refused true"}) {
			t.Errorf("faults told %q: want that of the disk", got)
		}
		w.off()
		w.link(false)
		w.broker.Close()
	})
}

// What no waiting helps against ends the start, with a word.
func TestStartThatCannotSucceed(t *testing.T) {
	dir := t.TempDir()
	w := newWorld(t, dir, "")
	s, err := spool.Open(filepath.Join(dir, "spool.db"), spool.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	w.power()
	if err := <-w.done; !errors.Is(err, spool.ErrInUse) {
		t.Errorf("error %v: want that another process has the spool", err)
	}
	w.broker.Close()
}

// Whoever watches a box whose disk refuses is told, in time for each next word, that
// it lives: started again, it would lose the press that it holds. With systemd's
// starting limit of five minutes it would not live for half an hour otherwise.
func TestADiskThatRefusesForLong(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		inTheWay := filepath.Join(dir, "spool.db")
		if err := os.Mkdir(inTheWay, 0o700); err != nil {
			t.Fatal(err)
		}
		w := newWorld(t, dir, "")
		var seen watcher
		due := time.Now().Add(5 * time.Minute)
		w.opt.Notify, w.opt.NotifyEvery = func(state string) error {
			for line := range strings.Lines(state) {
				if usec, ok := strings.CutPrefix(strings.TrimSpace(line), "EXTEND_TIMEOUT_USEC="); ok {
					n, err := strconv.Atoi(usec)
					if err != nil || time.Now().After(due) {
						t.Errorf("%q at %v, due until %v", line, time.Now(), due)
					}
					due = time.Now().Add(time.Duration(n) * time.Microsecond)
				}
			}
			return seen.notify(state)
		}, 10*time.Second
		w.power()
		w.press("P")
		time.Sleep(30 * time.Minute)
		if now := time.Now(); now.After(due) {
			t.Errorf("it is %v, and a word was due until %v", now, due)
		}
		told := strings.Join(seen.said, "|")
		if !strings.Contains(told, "STATUS=the disk refuses the start: ") || strings.Contains(told, "READY") || strings.Contains(told, "WATCHDOG") {
			t.Errorf("told %.300s: want what is wrong, and not that it is ready", told)
		}
		if n := len(seen.said); n < 60 || n > 80 {
			t.Errorf("told %d times in half an hour: want one after each try", n)
		}
		if err := os.Remove(inTheWay); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if !slices.Contains(seen.said, "READY=1") || seen.silent() > 10*time.Second {
			t.Errorf("the disk takes it, and it is not ready: %q", seen.said[len(seen.said)-1])
		}
		if n := len(bodies[*wire.AlarmRaised](w)); n != 1 {
			t.Errorf("%d alarms at the centre: want the one of half an hour ago", n)
		}
		w.off()
		w.link(false)
		w.broker.Close()
	})
}

// A try that hangs gives no sign of life, not even at its beginning.
func TestAStartThatHangsIsNotAlive(t *testing.T) {
	dir := t.TempDir()
	w := newWorld(t, dir, "")
	s, err := spool.Open(filepath.Join(dir, "spool.db"), spool.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	fifo := filepath.Join(t.TempDir(), "hangs")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	var seen watcher
	w.opt.Notify, w.opt.NotifyEvery = seen.notify, 10*time.Second
	w.opt.CheckSpool = []string{"sh", "-c", "echo > " + fifo + "; exec sleep 1000"}
	w.power()
	if _, err := os.ReadFile(fifo); err != nil { // the check runs now
		t.Fatal(err)
	}
	w.off()
	for _, said := range seen.said {
		if strings.Contains(said, "EXTEND") || strings.Contains(said, "READY") || strings.Contains(said, "WATCHDOG") {
			t.Errorf("told %q: no try has ended", said)
		}
	}
	w.broker.Close()
}
