package agent_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
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
