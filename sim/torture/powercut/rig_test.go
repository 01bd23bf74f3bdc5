//go:build linux

package powercut_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/fengsui/fengsui/sim/torture"
	"github.com/fengsui/fengsui/sim/torture/powercut"
)

// A life is a running subject. Its lines come over said, which is closed when
// its output has ended.
type life struct {
	cmd   *exec.Cmd
	limit *time.Timer
	stdin io.Closer
	said  chan report
	errs  *tailWriter
}

// lifeLimit is far longer than a life lasts, and than a check of a spool may.
const lifeLimit = 45 * time.Second

func begin(t *testing.T, path string, seed uint64) *life {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", subjectArg, "-spool", path, "-seed", fmt.Sprint(seed))
	l := &life{cmd: cmd, said: make(chan report, 1<<16), errs: new(tailWriter)}
	cmd.Stderr = l.errs
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	l.stdin = in
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// A life that neither goes on nor ends tells where it hangs.
	l.limit = time.AfterFunc(lifeLimit, func() { _ = cmd.Process.Signal(syscall.SIGQUIT) })
	go func() {
		defer close(l.said)
		for r := bufio.NewReader(out); ; {
			b, err := r.ReadBytes('\n')
			if err != nil {
				return // what follows the last newline was not said
			}
			var m report
			if err := json.Unmarshal(b, &m); err != nil {
				m = report{What: fmt.Sprintf("%q: %v", b, err)}
			}
			l.said <- m
		}
	}()
	return l
}

// kill ends the process; what it had said by then is still in said.
func (l *life) kill() { _ = l.cmd.Process.Kill() }

// end lets the judge hear the rest, and waits for the process.
func (l *life) end(t *testing.T, j *judge) {
	t.Helper()
	for m := range l.said {
		if m.What != saysFailed { // the power is off: the next life will tell
			j.hear(m)
		}
	}
	_ = l.stdin.Close()
	err := l.cmd.Wait()
	if !l.limit.Stop() {
		j.find(&j.Lost, "it hangs:\n%s", l.errs)
		return
	}
	if ws := l.cmd.ProcessState; ws == nil || ws.Exited() && ws.ExitCode() != 1 {
		t.Fatalf("the subject ended by itself: %v\n%s", err, l.errs)
	}
}

// tailWriter keeps the end of what was written.
type tailWriter struct{ b []byte }

func (w *tailWriter) Write(p []byte) (int, error) {
	if w.b = append(w.b, p...); len(w.b) > 8000 {
		w.b = w.b[len(w.b)-8000:]
	}
	return len(p), nil
}

func (w *tailWriter) String() string { return string(w.b) }

// Power cuts under flow: the spool of a process on ext4 is cut off at some
// moment of opening, storing or deleting, again and again. All that it ever
// called stored and the centre does not have is there afterwards.
func TestSpoolOnExt4(t *testing.T) {
	t.Parallel()
	disk := newExt4(t)
	rng := rand.New(rand.NewPCG(torture.Seed(t), 0))
	j := newJudge()
	cuts := torture.N(40, 1000)
	for i := 0; i < cuts && j.Clean(); i++ {
		l := begin(t, filepath.Join(disk.Dir(), "spool.db"), rng.Uint64())
		wait(l, j, rng)
		cut := []func(){l.kill, func() {
			if err := disk.Cut(); err != nil {
				t.Fatal(err)
			}
		}}
		if rng.IntN(2) == 0 { // the process sees its disk go, and must not call anything stored then
			cut[0], cut[1] = cut[1], cut[0]
		}
		cut[0]()
		time.Sleep(time.Duration(rng.IntN(3)) * time.Millisecond)
		cut[1]()
		l.end(t, j)
		if err := disk.Restore(); err != nil {
			t.Fatal(err)
		}
	}
	last(t, filepath.Join(disk.Dir(), "spool.db"), j, cuts)
}

// Torn and reordered writes: the power goes in the midst of some change, and
// what was not synced by then gets to the disk in part, in any order, torn.
func TestSpoolOnFlash(t *testing.T) {
	t.Parallel()
	j := newJudge()
	cutOnFlash(t, j, powercut.FlashOptions{}, torture.N(60, 2000))
}

func cutOnFlash(t *testing.T, j *judge, opt powercut.FlashOptions, cuts int) {
	t.Helper()
	opt.Seed = torture.Seed(t)
	disk := newFlash(t, opt)
	rng := rand.New(rand.NewPCG(opt.Seed, 0))
	path := filepath.Join(disk.Dir(), "spool.db")
	for i := 0; i < cuts && j.Clean(); i++ {
		gone := disk.CutAfter(1 + rng.IntN(400))
		l := begin(t, path, rng.Uint64())
		l.until(gone, j)
		l.kill()
		l.end(t, j)
		if err := disk.Restore(); err != nil {
			t.Fatal(err)
		}
	}
	last(t, path, j, cuts)
	tally := disk.Tally()
	t.Logf("%+v", tally)
	if j.Clean() && tally.Torn < cuts/10 {
		t.Errorf("%+v in %d cuts: too few to prove anything", tally, cuts)
	}
}

func newFlash(t *testing.T, opt powercut.FlashOptions) *powercut.Flash {
	t.Helper()
	disk, err := powercut.NewFlash(t.TempDir(), opt)
	if errors.Is(err, errors.ErrUnsupported) {
		torture.Need(t, false, fmt.Sprintf("root and FUSE, for torn writes: %v", err))
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := disk.Close(); err != nil {
			t.Error(err)
		}
	})
	return disk
}

// Both together: an ext4 on the disk that tears and reorders. What the spool
// syncs passes through the journal and the flushes of a real file system.
func TestSpoolOnExt4OnFlash(t *testing.T) {
	t.Parallel()
	if !torture.Long() {
		t.Skip("only in the long rigs: a cut takes a second")
	}
	seed := torture.Seed(t)
	disk := newFlash(t, powercut.FlashOptions{Seed: seed})
	fs := ext4On(t, disk.Dir(), 24<<20)
	rng := rand.New(rand.NewPCG(seed, 0))
	j := newJudge()
	cuts := 300
	path := filepath.Join(fs.Dir(), "spool.db")
	for i := 0; i < cuts && j.Clean(); i++ {
		gone := disk.CutAfter(1 + rng.IntN(800))
		l := begin(t, path, rng.Uint64())
		l.until(gone, j)
		l.kill()
		l.end(t, j)
		if err := errors.Join(fs.Unmount(), disk.Restore(), fs.Mount()); err != nil {
			t.Fatal(err)
		}
	}
	last(t, path, j, cuts)
	t.Logf("%+v", disk.Tally())
}

// until lets a life go on until the power has gone.
func (l *life) until(gone <-chan struct{}, j *judge) {
	for {
		select {
		case <-gone:
			return
		case m, ok := <-l.said:
			if !ok {
				return
			}
			select {
			case <-gone:
				if m.What == saysFailed {
					return // no wonder
				}
			default:
			}
			j.hear(m)
		}
	}
}

func newExt4(t *testing.T) *powercut.Ext4 {
	t.Helper()
	return ext4On(t, t.TempDir(), 96<<20)
}

// ext4On makes an ext4 of an image in a folder.
func ext4On(t *testing.T, dir string, size int64) *powercut.Ext4 {
	t.Helper()
	disk, err := powercut.NewExt4(filepath.Join(dir, "ext4.img"), filepath.Join(t.TempDir(), "ext4"), size)
	if errors.Is(err, errors.ErrUnsupported) {
		torture.Need(t, false, fmt.Sprintf("root, loop devices and ext4, for power cuts: %v", err))
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := disk.Close(); err != nil {
			t.Error(err)
		}
	})
	return disk
}

// wait lets a life go on until the moment of its cut, which is at its start,
// while it opens, or after some events.
func wait(l *life, j *judge, rng *rand.Rand) {
	if rng.IntN(8) == 0 {
		time.Sleep(time.Duration(rng.IntN(60)) * time.Millisecond)
		return
	}
	for n := 1 + rng.IntN(60); n > 0; {
		m, ok := <-l.said
		if !ok {
			return
		}
		j.hear(m)
		if m.What == saysStored {
			n--
		}
	}
	time.Sleep(time.Duration(rng.IntN(4000)) * time.Microsecond)
}

// last judges what is there after the last cut and gives the verdict.
func last(t *testing.T, path string, j *judge, cuts int) {
	t.Helper()
	if j.Clean() {
		l := begin(t, path, 0)
		for m := range l.said {
			j.hear(m)
			if m.What == saysReady {
				break
			}
		}
		l.kill()
		l.end(t, j)
	}
	t.Logf("%d lives, %d events stored, %d acks, %d found again, %d of them stored but not yet said so", j.life, j.stored, j.acked, j.held, j.survivors)
	j.Report(t, "%d power cuts", cuts)
	if j.Clean() && (j.stored < cuts || j.held < cuts) {
		t.Errorf("%d events stored and %d found in %d cuts: too few to prove anything", j.stored, j.held, cuts)
	}
}

func TestSpoolOnExt4WithoutSync(t *testing.T) {
	t.Parallel()
	newExt4(t) // without it the rig is not run, and nothing is controlled
	torture.Mutate(t, "fsync-off", "TestSpoolOnExt4")
}

func TestSpoolOnFlashWithoutSync(t *testing.T) {
	t.Parallel()
	newFlash(t, powercut.FlashOptions{})
	torture.Mutate(t, "fsync-off", "TestSpoolOnFlash")
}

func TestSpoolOnExt4OnFlashWithoutSync(t *testing.T) {
	t.Parallel()
	if !torture.Long() {
		t.Skip("only in the long rigs")
	}
	ext4On(t, newFlash(t, powercut.FlashOptions{}).Dir(), 24<<20)
	torture.Mutate(t, "fsync-off", "TestSpoolOnExt4OnFlash")
}
