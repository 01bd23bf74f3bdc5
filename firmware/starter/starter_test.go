package starter

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// TestMain is also the child of the tests below, which STARTER_CHILD makes it.
func TestMain(m *testing.M) {
	if os.Getenv("STARTER_CHILD") == "" {
		os.Exit(m.Run())
	}
	fmt.Printf("born was=%q\n", os.Getenv(WasVariable))
	say := func(s string) {
		c, err := net.Dial("unixgram", os.Getenv("NOTIFY_SOCKET"))
		if err == nil {
			_, err = c.Write([]byte(s))
		}
		if err != nil {
			fmt.Println(err)
			os.Exit(3)
		}
	}
	switch os.Getenv("STARTER_CHILD") {
	case "hangs": // as soon as it is ready
		say("STATUS=up\nREADY=1\n")
		hang()
	case "never ready":
		hang()
	case "ends":
		os.Exit(7)
	case "done":
		os.Exit(done)
	case "refused": // by its disk, for a while
		say("STATUS=the disk refuses\nEXTEND_TIMEOUT_USEC=60000000\n")
		for range time.Tick(50 * time.Millisecond) {
			say("EXTEND_TIMEOUT_USEC=60000000")
		}
	case "lives":
		for range time.Tick(50 * time.Millisecond) {
			say("WATCHDOG=1")
		}
	}
}

// hang does not return. The runtime would end a process all of whose goroutines
// wait for nothing.
func hang() {
	for range time.Tick(time.Hour) {
	}
}

// A tail keeps what children write, and tells of each line.
type tail struct {
	mu    sync.Mutex
	rest  string
	lines chan string
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rest += string(b)
	for {
		line, rest, ok := strings.Cut(t.rest, "\n")
		if !ok {
			return len(b), nil
		}
		t.rest = rest
		t.lines <- line
	}
}

// patience is for what must come on a busy machine.
const patience = 30 * time.Second

func (t *tail) next(tt *testing.T, want string) {
	tt.Helper()
	late := time.After(patience)
	for {
		select {
		case line := <-t.lines:
			if strings.HasPrefix(line, want) {
				return
			}
		case <-late:
			tt.Fatalf("no line %q within %v", want, patience)
		}
	}
}

// startChild supervises a child of that kind until the test ends.
func startChild(t *testing.T, kind string, p *program) (*tail, *children) {
	t.Helper()
	t.Setenv("STARTER_CHILD", kind)
	out := &tail{lines: make(chan string, 10_000)}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p.name, p.path, p.out, p.children = kind, self, out, &children{pids: make(map[int]bool)}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); p.supervise(ctx, slog.New(slog.NewTextHandler(t.Output(), nil))) }()
	t.Cleanup(func() { stop(); <-ended })
	return out, p.children
}

func TestAHungProgramIsStartedAgain(t *testing.T) {
	fed := make(chan struct{}, 100)
	out, _ := startChild(t, "hangs", &program{startLimit: patience, feedLimit: 200 * time.Millisecond, fed: func() { fed <- struct{}{} }})
	out.next(t, `born was=""`)
	<-fed
	out.next(t, "SIGABRT")     // it says where it stood
	out.next(t, `born was="h`) // and is told what became of it
	<-fed
}

func TestAProgramThatIsNeverReadyIsStartedAgain(t *testing.T) {
	out, _ := startChild(t, "never ready", &program{startLimit: 200 * time.Millisecond, feedLimit: patience})
	out.next(t, `born was=""`)
	out.next(t, `born was="hung"`)
}

func TestAProgramThatEndsIsStartedAgain(t *testing.T) {
	out, c := startChild(t, "ends", &program{})
	out.next(t, `born was=""`)
	out.next(t, `born was=""`)
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.pids) > 1 {
		t.Errorf("children %v are waited for, want one at most", c.pids)
	}
}

func TestAProgramMayBeDone(t *testing.T) {
	t.Setenv("STARTER_CHILD", "done")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &program{path: self, out: new(bytes.Buffer), children: &children{pids: make(map[int]bool)}}
	p.supervise(t.Context(), slog.New(slog.DiscardHandler)) // it returns
}

func TestAProgramThatLivesIsLeftAlone(t *testing.T) {
	fed := make(chan struct{}, 1000)
	out, _ := startChild(t, "lives", &program{startLimit: patience, feedLimit: 5 * time.Second, fed: func() { fed <- struct{}{} }})
	out.next(t, "born")
	for range 10 {
		<-fed
	}
	select {
	case line := <-out.lines:
		t.Errorf("it says %q", line)
	default:
	}
}

func TestAProgramWhoseDiskRefusesIsLeftAlone(t *testing.T) {
	fed := make(chan struct{}, 1000)
	out, _ := startChild(t, "refused", &program{startLimit: patience, feedLimit: time.Millisecond, fed: func() { fed <- struct{}{} }})
	out.next(t, "born")
	for range 10 {
		<-fed
	}
	select {
	case line := <-out.lines:
		t.Errorf("it says %q", line)
	default:
	}
}

func TestOrphansAreReaped(t *testing.T) {
	b, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		t.Skip("not run: no proc here:", err)
	}
	pid, state, parent, err := parseStat(b)
	if err != nil || pid != os.Getpid() || parent != os.Getppid() || state != 'R' && state != 'S' {
		t.Errorf("%d %c %d %v, want %d R %d", pid, state, parent, err, os.Getpid(), os.Getppid())
	}
	for _, bad := range []string{"", "1", "1 (a b", "(a) S 1", "x (a) S 1", "1 (a) S", "1 (a) SS 1", ") 1 (", "1 (a) S x"} {
		if _, _, _, err := parseStat([]byte(bad)); err == nil {
			t.Errorf("%q accepted", bad)
		}
	}
	if pid, state, parent, err := parseStat([]byte("12 (a) b) (c) Z 7 1 1")); err != nil || pid != 12 || state != 'Z' || parent != 7 {
		t.Errorf("a name with brackets: %d %c %d %v", pid, state, parent, err)
	}
	// A zombie that nobody of ours waits for is taken; one that somebody does is left.
	mine, orphan := fork(t), fork(t)
	c := &children{pids: map[int]bool{mine: true}}
	c.reapOnce(os.Getpid())
	if err := syscall.Kill(orphan, 0); err == nil {
		t.Error("the orphan is still there")
	}
	var ws syscall.WaitStatus
	if got, err := syscall.Wait4(mine, &ws, 0, nil); err != nil || got != mine {
		t.Errorf("our own child's status is gone: %d %v", got, err)
	}
}

// fork starts a process that has ended when fork returns, and waits for none.
func fork(t *testing.T) int {
	t.Helper()
	pid, err := syscall.ForkExec("/bin/true", []string{"true"}, nil)
	if err != nil {
		t.Skip("not run:", err)
	}
	for state := byte(0); state != 'Z'; {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			t.Fatal(err)
		}
		if _, state, _, err = parseStat(b); err != nil {
			t.Fatal(err)
		}
	}
	return pid
}

// A dog counts when it was fed.
type dog struct{ last time.Time }

func (d *dog) Feed() error { d.last = time.Now(); return nil }

func TestTheBoardIsFedWhileTheFirmwareLives(t *testing.T) {
	for name, c := range map[string]struct {
		lives, gives time.Duration // since the start: the last sign of life, and when it is given up; 0: never
		fed          time.Duration // about when the last food is due
	}{
		"it lives for an hour":   {lives: time.Hour, fed: time.Hour + silence},
		"it never lives":         {fed: silence},
		"it does not even die":   {lives: time.Hour, gives: 20 * time.Minute, fed: 20 * time.Minute},
		"it begins late to live": {lives: silence - time.Minute, fed: 2*silence - time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				d := new(dog)
				w := &boardWatch{dog: d, every: boardLimit / 4, log: slog.New(slog.DiscardHandler), began: began}
				ran := make(chan struct{})
				go func() {
					for time.Sleep(silence / 2); time.Since(began) < c.lives; {
						w.fed()
						select {
						case <-time.After(10 * time.Second):
						case <-ran:
							return
						}
					}
				}()
				if c.gives > 0 {
					time.AfterFunc(c.gives, w.giveUp)
				}
				w.run(t.Context())
				close(ran)
				got := d.last.Sub(began)
				if got < c.fed-2*boardLimit || got > c.fed+boardLimit {
					t.Errorf("fed until %v, want about %v", got, c.fed)
				}
				if late := time.Since(d.last); late > boardLimit {
					t.Errorf("it ran for %v without feeding", late)
				}
			})
		})
	}
}
