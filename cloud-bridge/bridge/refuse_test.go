package bridge_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/fengsui/fengsui/cloud-bridge/incident"
	"github.com/fengsui/fengsui/cloud-bridge/store"
	"github.com/fengsui/fengsui/firmware/wire"
)

// need skips a test for want of a part, or fails it where all parts must be there.
func need(t *testing.T, have bool, what string) {
	t.Helper()
	if have {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("not run: %s", what)
	}
	t.Skipf("not run: %s", what)
}

// process is a centre in a process of its own.
type process struct {
	t          testing.TB
	cmd        *exec.Cmd
	desk, mqtt string
	log        string // the file that it logs to
}

func startProcess(t testing.TB, data string, more ...string) *process {
	t.Helper()
	known := grant(t, []string{"--data", data})
	p := &process{t: t, log: filepath.Join(t.TempDir(), "log")}
	p.cmd = exec.Command(os.Args[0], append([]string{"serve", "--data", data, "--http-addr", "127.0.0.1:0", "--mqtt-addr", "127.0.0.1:0"}, more...)...)
	p.cmd.Env = append(os.Environ(), asCentre+"=1")
	log, err := os.Create(p.log)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	p.cmd.Stderr = log
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	line, err := bufio.NewReader(out).ReadString('\n')
	if _, serr := fmt.Sscanf(line, "ready desk=%s mqtt=%s\n", &p.desk, &p.mqtt); err != nil || serr != nil {
		t.Fatalf("no ready line but %q, %v: %s", line, err, p.logged())
	}
	known(p.desk)
	return p
}

// kill is SIGKILL; the second is harmless.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

func (p *process) logged() string {
	b, err := os.ReadFile(p.log)
	if err != nil {
		p.t.Error(err)
	}
	return string(b)
}

// get returns the status of an answer, and its body decoded.
func (p *process) get(path string, into any) int {
	p.t.Helper()
	r, err := http.Get(p.desk + path)
	if err != nil {
		p.t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err == nil && into != nil {
		err = json.Unmarshal(b, into)
	}
	if err != nil {
		p.t.Fatalf("%s: %v: %s", path, err, b)
	}
	return r.StatusCode
}

// upTo returns how far the centre's own database has a device's alarms.
func (p *process) upTo(device string) uint64 {
	p.t.Helper()
	var d struct {
		Streams []struct {
			Lanes map[string]struct {
				UpTo uint64 `json:"up_to"`
			}
		}
	}
	if status := p.get("/api/v1/devices/"+device, &d); status != 200 || len(d.Streams) > 1 {
		p.t.Fatalf("device %s: status %d, %+v", device, status, d)
	}
	if len(d.Streams) == 0 {
		return 0
	}
	return d.Streams[0].Lanes["alarm"].UpTo
}

// memoryKiB is what the process has in memory (proc(5), VmRSS).
func (p *process) memoryKiB() int {
	p.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		p.t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); f[0] == "VmRSS:" {
			n, err := strconv.Atoi(f[1])
			if err != nil {
				p.t.Fatal(err)
			}
			return n
		}
	}
	p.t.Fatal("no VmRSS")
	return 0
}

// storage follows what the desk is told of whether events can be stored.
func (p *process) storage(ctx context.Context) <-chan string {
	p.t.Helper()
	req, err := http.NewRequestWithContext(ctx, "GET", p.desk+"/api/v1/stream", nil)
	if err != nil {
		p.t.Fatal(err)
	}
	r, err := http.DefaultClient.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	told := make(chan string, 1000)
	go func() {
		defer r.Body.Close()
		defer close(told)
		lines := bufio.NewScanner(r.Body)
		lines.Buffer(nil, 1<<20)
		for event := ""; lines.Scan(); {
			if name, ok := strings.CutPrefix(lines.Text(), "event: "); ok {
				event = name
			}
			data, ok := strings.CutPrefix(lines.Text(), "data: ")
			if !ok || event != "storage" {
				continue
			}
			var s struct {
				OK    bool
				Cause string
			}
			if json.Unmarshal([]byte(data), &s) != nil || s.OK != (s.Cause == "") {
				told <- "nonsense: " + data
			} else {
				told <- s.Cause
			}
		}
	}()
	return told
}

// refusal is a way in which the centre's disk or database refuses.
type refusal struct {
	data      string // the centre's folder
	cause     store.Cause
	then      store.Cause // what it may soon be besides, or ""
	begin     func(p *process)
	end       func(p *process)
	restarted bool // end leaves no running centre
}

// is reports whether a cause is one that it may be.
func (r *refusal) is(cause string) bool {
	return cause != "" && (cause == string(r.cause) || cause == string(r.then))
}

// A centre that cannot store goes on answering but acknowledges nothing that
// it has not committed, says why in /readyz and to the desks, and takes up
// where it was when it can again. The devices press on meanwhile and keep what
// is not acknowledged: in the end everything is there, once.
func (r *refusal) run(t *testing.T) {
	centreKey, err := hex.DecodeString(strings.TrimSpace(must(t, "key", "--data", r.data)))
	if err != nil {
		t.Fatal(err)
	}
	senders := []*sender{{id: "box-01"}, {id: "box-02"}, {id: "box-03"}}
	for _, s := range senders {
		must(t, "device", "add", "--data", r.data, "--id", s.id, "--kind", "alarm-box", "--key", publicHex(deviceKey))
	}
	p := startProcess(t, r.data)
	line := connect(t, p, senders, centreKey)
	press := true
	turn := func() (left int) {
		for n, s := range senders {
			if press {
				s.make(n == 0)
			}
			left += s.send(line.client)
		}
		time.Sleep(20 * time.Millisecond) // the devices' own pace
		return left
	}
	acked := func() (n uint64) {
		for _, s := range senders {
			s.mu.Lock()
			n += s.acked
			s.mu.Unlock()
		}
		return n
	}
	within := func(what string, done func() bool) {
		t.Helper()
		for end := time.Now().Add(3 * patience); ; turn() {
			if done() {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("%s: not within %v; log: %s", what, 3*patience, p.logged())
			}
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	told := p.storage(ctx)
	if first := <-told; first != "" {
		t.Fatalf("the desk is told %q at first", first)
	}
	within("events are acknowledged", func() bool { return acked() > 50 })
	if status := p.get("/readyz", nil); status != 200 {
		t.Fatalf("readyz %d before anything is wrong", status)
	}

	r.begin(p)
	var problem struct{ Type, Cause, Detail string }
	within("not ready for "+string(r.cause), func() bool {
		return p.get("/readyz", &problem) == 503 && r.is(problem.Cause)
	})
	if problem.Type != "urn:fengsui:problem:storage" || !strings.Contains(problem.Detail, store.Cause(problem.Cause).String()) {
		t.Errorf("readyz says %+v: want %v", problem, r.cause)
	}
	for cause, late := "", time.After(patience); !r.is(cause); {
		select {
		case cause = <-told:
		case <-late:
			t.Fatalf("the desk is told %q: want %q", cause, string(r.cause))
		}
	}
	if status := p.get("/healthz", nil); status != 200 {
		t.Errorf("healthz %d", status)
	}
	// The devices press on, and come anew.
	memory := p.memoryKiB()
	line.close()
	line = connect(t, p, senders, centreKey)
	before := acked()
	for end := time.Now().Add(2 * time.Second); time.Now().Before(end); {
		turn()
	}
	for _, s := range senders {
		s.mu.Lock()
		upTo := s.acked
		s.mu.Unlock()
		if have := p.upTo(s.id); upTo > have {
			t.Errorf("%s: acknowledged up to %d, stored up to %d", s.id, upTo, have)
		}
	}
	if after := acked(); after > before+20 {
		t.Errorf("%d events acknowledged while nothing can be stored", after-before)
	}
	if status := p.get("/readyz", &problem); status != 503 {
		t.Errorf("readyz %d while it lasts", status)
	}
	// What was to be verified waits in queues of a fixed size.
	if now := p.memoryKiB(); now > memory+100<<10 {
		t.Errorf("%d KiB in memory after %d KiB", now, memory)
	}
	if n := len(p.logged()); n > 64<<10 {
		t.Errorf("%d bytes of log: %.2000s", n, p.logged())
	}

	r.end(p)
	if r.restarted {
		line.close()
		p = startProcess(t, r.data)
		line = connect(t, p, senders, centreKey)
		told = p.storage(ctx)
	}
	within("ready again", func() bool { return p.get("/readyz", nil) == 200 })
	press = false
	within("everything is acknowledged", func() bool { return turn() == 0 })
	for cause, late := "?", time.After(patience); cause != ""; {
		select {
		case cause = <-told:
		case <-late:
			t.Fatalf("the desk is still told %q", cause)
		}
	}
	line.close()
	p.kill()
	compare(t, r.data, senders)
}

// link is the devices' connection to the broker.
type link struct{ client mqtt.Client }

func connect(t *testing.T, p *process, senders []*sender, centreKey ed25519.PublicKey) *link {
	t.Helper()
	client := mqtt.NewClient(mqtt.NewClientOptions().AddBroker("tcp://" + p.mqtt).SetClientID("devices").
		SetAutoReconnect(false).SetConnectTimeout(patience))
	if tok := client.Connect(); !tok.WaitTimeout(patience) || tok.Error() != nil {
		t.Fatalf("connect: %v; log: %s", tok.Error(), p.logged())
	}
	l := &link{client}
	for _, s := range senders {
		tok := client.Subscribe(wire.DownTopic(s.id), 0, func(_ mqtt.Client, m mqtt.Message) { s.take(m.Payload(), centreKey) })
		if !tok.WaitTimeout(patience) || tok.Error() != nil {
			t.Fatalf("subscribe: %v; log: %s", tok.Error(), p.logged())
		}
	}
	return l
}

func (l *link) close() { l.client.Disconnect(0) }

// compare holds what the centre's database has to what the devices made.
func compare(t *testing.T, data string, senders []*sender) {
	t.Helper()
	st, err := store.Open(t.Context(), filepath.Join(data, "centre.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer st.Shut()
	made := 0
	for _, s := range senders {
		if s.wrong != nil {
			t.Error(s.wrong)
		}
		made += len(s.all)
		n := 0
		for after := int64(0); ; {
			rows, err := st.Events(t.Context(), s.id, store.EventQuery{After: after})
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range rows {
				after = r.ID
				if i := int(r.Event.Seq) - 1; i >= len(s.all) || wire.HashOf(r.Message) != s.all[i] {
					t.Fatalf("%s: event %d is not what was sent", s.id, r.Event.Seq)
				}
				n++
			}
			if len(rows) == 0 {
				break
			}
		}
		if d, err := st.Device(t.Context(), s.id); err != nil || n != len(s.all) || len(d.Gaps) != 0 {
			t.Errorf("%s: %d events stored, gaps %v, %v: want %d and none", s.id, n, d.Gaps, err, len(s.all))
		}
	}
	is, err := st.Incidents(t.Context(), store.Filter{})
	is = slices.DeleteFunc(is, func(i incident.Incident) bool { return !i.Kind.Pressed() }) // a device may have been silent
	if err != nil || len(is) != len(senders[0].all) {
		t.Errorf("%d incidents, %v: want %d", len(is), err, len(senders[0].all))
	}
	t.Logf("%d events", made)
}

// mount mounts a file system of its own until the end of the test.
func mount(t *testing.T, args ...string) (dir string) {
	t.Helper()
	need(t, os.Geteuid() == 0, "mounting a file system needs root")
	dir = filepath.Join(t.TempDir(), "disk")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mount", append(args, dir)...).CombinedOutput(); err != nil {
		need(t, false, fmt.Sprintf("mount %v: %v: %s", args, err, out))
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", "-l", dir).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
		}
	})
	return dir
}

// fill takes all the room that there is.
func fill(t *testing.T, file string) {
	t.Helper()
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for size := 1 << 20; size > 0; {
		if _, err := f.Write(make([]byte, size)); errors.Is(err, syscall.ENOSPC) {
			size /= 2
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

func TestDiskFull(t *testing.T) {
	t.Parallel()
	for name, disk := range map[string]func(t *testing.T) string{
		"tmpfs": func(t *testing.T) string { return mount(t, "-t", "tmpfs", "-o", "size=32m", "tmpfs") },
		"ext4":  func(t *testing.T) string { dir, _ := ext4(t, 48<<20); return dir },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := disk(t)
			data := filepath.Join(dir, "centre")
			ballast := filepath.Join(dir, "ballast")
			r := refusal{data: data, cause: store.DiskFull}
			r.begin = func(*process) { fill(t, ballast) }
			r.end = func(*process) {
				if err := os.Remove(ballast); err != nil {
					t.Fatal(err)
				}
			}
			r.run(t)
		})
	}
}

// A centre that is killed on a full disk and started again on it answers, says
// what it cannot do, and has lost nothing that it acknowledged.
func TestKilledOnFullDisk(t *testing.T) {
	t.Parallel()
	dir := mount(t, "-t", "tmpfs", "-o", "size=32m", "tmpfs")
	data, ballast := filepath.Join(dir, "centre"), filepath.Join(dir, "ballast")
	centreKey, err := hex.DecodeString(strings.TrimSpace(must(t, "key", "--data", data)))
	if err != nil {
		t.Fatal(err)
	}
	s := &sender{id: "box-01"}
	devices := filepath.Join(t.TempDir(), "devices.yaml")
	entry := fmt.Sprintf("devices:\n- {id: %s, kind: alarm-box, key: %q}\n", s.id, publicHex(deviceKey))
	if err := os.WriteFile(devices, []byte(entry), 0o600); err != nil {
		t.Fatal(err)
	}
	// life runs the centre until done says so, then kills it.
	life := func(what string, done func(p *process, left int) bool) {
		t.Helper()
		p := startProcess(t, data, "--devices", devices)
		defer p.kill()
		line := connect(t, p, []*sender{s}, centreKey)
		defer line.close()
		for end := time.Now().Add(3 * patience); !done(p, s.send(line.client)); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s: not within %v; log: %s", what, 3*patience, p.logged())
			}
		}
	}
	full := func(p *process, _ int) bool {
		for range 5 {
			s.make(true)
		}
		var problem struct{ Cause string }
		return p.get("/readyz", &problem) == 503 && problem.Cause == string(store.DiskFull)
	}
	for range 300 {
		s.make(true)
	}
	life("all acknowledged", func(_ *process, left int) bool { return left == 0 })
	fill(t, ballast)
	for range 3 {
		life("the disk is full", full)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	life("all acknowledged again", func(_ *process, left int) bool { return left == 0 })
	compare(t, data, []*sender{s})
}

// ext4 makes a small ext4 file system in a file and mounts it.
func ext4(t *testing.T, size int64) (dir, image string) {
	t.Helper()
	need(t, os.Geteuid() == 0, "mounting a file system needs root")
	if _, err := exec.LookPath("mkfs.ext4"); err != nil {
		need(t, false, "mkfs.ext4 is not installed: apt-get install e2fsprogs")
	}
	image = filepath.Join(t.TempDir(), "image")
	f, err := os.Create(image)
	if err == nil {
		err = errors.Join(f.Truncate(size), f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mkfs.ext4", "-q", "-F", "-m", "0", image).CombinedOutput(); err != nil {
		t.Fatalf("mkfs.ext4: %v: %s", err, out)
	}
	return mount(t, "-o", "loop", image), image
}

// Another process holds the database, as a copying tool may.
func TestDatabaseLocked(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	r := refusal{data: data, cause: store.Locked}
	var conn *sql.Conn
	r.begin = func(*process) {
		db, err := sql.Open("sqlite", filepath.Join(data, "centre.db"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { db.Close() })
		if conn, err = db.Conn(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.ExecContext(t.Context(), `PRAGMA busy_timeout = 20000; BEGIN EXCLUSIVE`); err != nil {
			t.Fatal(err)
		}
	}
	r.end = func(*process) {
		if _, err := conn.ExecContext(t.Context(), `ROLLBACK`); err != nil {
			t.Fatal(err)
		}
	}
	r.run(t)
}

// The database turns read-only under the running centre.
func TestDatabaseReadOnly(t *testing.T) {
	t.Parallel()
	dir, _ := ext4(t, 64<<20)
	data := filepath.Join(dir, "centre")
	r := refusal{data: data, cause: store.ReadOnly}
	chattr := func(attribute string) func(*process) {
		return func(*process) { // not even root writes to it then (chattr(1))
			out, err := exec.Command("chattr", attribute, filepath.Join(data, "centre.db"), filepath.Join(data, "centre.db-wal")).CombinedOutput()
			if err != nil {
				t.Fatalf("chattr %s: %v: %s", attribute, err, out)
			}
		}
	}
	r.begin, r.end = chattr("+i"), chattr("-i")
	t.Cleanup(func() { _ = exec.Command("chattr", "-R", "-i", dir).Run() }) // for a run that ended early
	r.run(t)
}

// The file system shuts down, as after a power cut or an error that it found
// in itself. What is there can be read; the centre has to be started again, on
// what the disk had got by then.
func TestDiskGoes(t *testing.T) {
	t.Parallel()
	dir, image := ext4(t, 64<<20)
	r := refusal{data: filepath.Join(dir, "centre"), cause: store.IOError, then: store.ReadOnly, restarted: true}
	r.begin = func(*process) {
		// ext4(5), abort: for testing what a found error does.
		out, err := exec.Command("mount", "-o", "remount,abort", dir).CombinedOutput()
		t.Logf("remount,abort: %v %s", err, out)
	}
	r.end = func(p *process) {
		p.kill()
		// Another mount namespace of the machine may hold on to the old one.
		again := image + "-again"
		for _, c := range [][]string{{"umount", dir}, {"cp", "--sparse=always", image, again}, {"fsck.ext4", "-fy", again}, {"mount", "-o", "loop", again, dir}} {
			out, err := exec.Command(c[0], c[1:]...).CombinedOutput()
			if exit := (*exec.ExitError)(nil); err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 1 || c[0] != "fsck.ext4") {
				t.Fatalf("%v: %v: %s", c, err, out) // but for 1, with which fsck says that it mended something
			}
		}
	}
	r.run(t)
}

// Writes and syncs fail with EIO.
func TestDiskErrors(t *testing.T) {
	t.Parallel()
	strace, err := exec.LookPath("strace")
	if err != nil {
		need(t, false, "strace is not installed: apt-get install strace")
	}
	need(t, os.Geteuid() == 0, "attaching strace to the centre needs root")
	for _, call := range []string{"pwrite64", "fdatasync,fsync"} {
		t.Run(call, func(t *testing.T) {
			t.Parallel()
			data := t.TempDir()
			r := refusal{data: data, cause: store.IOError}
			var tracer *exec.Cmd
			var said bytes.Buffer
			var ended sync.WaitGroup
			r.begin = func(p *process) {
				tracer = exec.Command(strace, "-f", "-q", "-p", strconv.Itoa(p.cmd.Process.Pid), "-o", "/dev/null",
					"-P", filepath.Join(data, "centre.db-wal"), "-e", "trace="+call, "-e", "inject="+call+":error=EIO")
				tracer.Stderr = &said
				if err := tracer.Start(); err != nil {
					t.Fatal(err)
				}
				ended.Go(func() { _ = tracer.Wait() })
			}
			r.end = func(*process) {
				if err := tracer.Process.Signal(os.Interrupt); err != nil { // it detaches
					t.Fatalf("strace: %v: %s", err, said.String())
				}
				ended.Wait()
			}
			t.Cleanup(func() {
				if tracer != nil {
					_ = tracer.Process.Kill()
				}
				ended.Wait()
			})
			r.run(t)
		})
	}
}
