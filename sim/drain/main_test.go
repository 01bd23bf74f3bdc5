package drain_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fengsui/fengsui/cloud-bridge/account"
	"github.com/fengsui/fengsui/cloud-bridge/bridge"
	"github.com/fengsui/fengsui/firmware/spool"
	"github.com/fengsui/fengsui/firmware/uplink"
	"github.com/fengsui/fengsui/firmware/wire"
	"github.com/fengsui/fengsui/sim"
)

// as makes this test's program the centre or a device.
const as = "FENGSUI_DRAIN_AS"

var deviceKey = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, 32))

func TestMain(m *testing.M) {
	if sim.IsChild(os.Args[1:]) { // of a district
		os.Exit(sim.Run(context.Background(), "test", os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	switch os.Getenv(as) {
	case "centre":
		os.Exit(bridge.Run(ctx, "test", os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	case "device":
		if err := runDevice(ctx, os.Args[1], os.Args[2], os.Args[3], os.Args[4]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

var options = spool.Options{MaxSize: 512 << 20} // a hundred thousand full batches

// runDevice runs a spool with its uplink. It obeys the words go, stop and press.
func runDevice(ctx context.Context, id, file, server, centre string) error {
	key, err := hex.DecodeString(centre)
	if err != nil {
		return err
	}
	s, err := spool.Open(file, options)
	if err != nil {
		return err
	}
	defer s.Close()
	stop := func() {}
	defer func() { stop() }()
	start := time.Now()
	for words := bufio.NewScanner(os.Stdin); words.Scan(); {
		switch words.Text() {
		case "go":
			u, err := uplink.New(uplink.Options{
				Device: id, Boot: s.Boot(), Servers: []string{server}, Key: deviceKey, CentreKey: key, Store: uplink.Of(s),
			})
			if err != nil {
				return err
			}
			running, cancel := context.WithCancel(ctx)
			ended := make(chan struct{})
			go func() {
				_ = u.Run(running) // nil
				close(ended)
			}()
			stop = func() { cancel(); <-ended }
		case "stop":
			stop()
			stop = func() {}
		case "press":
			if _, err := s.Append(wire.Alarm, func(slot spool.Slot) ([]byte, error) {
				return wire.Seal(&wire.Event{
					Device: id, Stream: slot.Stream, Lane: wire.Alarm, Seq: slot.Seq, Prev: slot.Prev, Boot: slot.Boot, Mono: time.Since(start),
					Wall: wire.Wall{UnixMilli: time.Now().UnixMilli(), Source: wire.WallNTP, Uncertainty: 50 * time.Millisecond},
					Body: &wire.AlarmRaised{Alarm: wire.NewAlarmID(), Kind: wire.Panic, Button: "b", Press: 1},
				}, deviceKey)
			}); err != nil {
				return err
			}
		}
		fmt.Println("done")
	}
	return nil
}

// fill makes a spool that holds a car's track: n full batches.
func fill(b *testing.B, id, file string, n int) { fillTrack(b, id, deviceKey, file, n, 60) }

// fillTrack makes a spool that holds n batches of so many fixes each. It is made
// in memory, where it takes no sync, and copied.
func fillTrack(b *testing.B, id string, key ed25519.PrivateKey, file string, n, size int) {
	b.Helper()
	dir := "/dev/shm"
	if st, err := os.Stat(dir); err != nil || !st.IsDir() {
		dir = b.TempDir()
	}
	dir, err := os.MkdirTemp(dir, "drain")
	if err != nil {
		b.Fatal(err)
	}
	defer os.RemoveAll(dir)
	s, err := spool.Open(filepath.Join(dir, "s"), options)
	if err != nil {
		b.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	lat, lon, at := int64(30e6), int64(103e6), time.Now().Add(-time.Duration(n*size)*time.Second).UnixMilli()
	for i := range n {
		batch := &wire.TrackBatch{Fixes: make([]wire.TrackFix, size)}
		for k := range batch.Fixes {
			at, lat, lon = at+1000, lat+random.Int64N(201)-100, lon+random.Int64N(201)-100
			batch.Fixes[k] = wire.TrackFix{
				Time: at, LatE6: lat, LonE6: lon, Alt: 500 + random.Int64N(3), Speed: 100 + random.Int64N(20),
				Course: random.Int64N(8), HDOP: 9, Flags: wire.Fix3D | wire.HasAlt | wire.HasSpeed | wire.HasCourse | wire.HasHDOP,
			}
		}
		if _, err := s.Append(wire.Track, func(slot spool.Slot) ([]byte, error) {
			return wire.Seal(&wire.Event{
				Device: id, Stream: slot.Stream, Lane: wire.Track, Seq: slot.Seq, Prev: slot.Prev, Boot: slot.Boot, Mono: time.Duration((i+1)*size) * time.Second,
				Wall: wire.Wall{UnixMilli: at, Source: wire.WallGNSS, Uncertainty: time.Second}, Body: batch,
			}, key)
		}); err != nil {
			b.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	for _, part := range []string{"", ".alarms"} {
		from, err := os.ReadFile(filepath.Join(dir, "s") + part)
		if err == nil {
			err = os.WriteFile(file+part, from, 0o600)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	syscall.Sync()
}

// A child is a process that can be killed.
type child struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func start(b *testing.B, cmd *exec.Cmd) *child {
	b.Helper()
	c := &child{cmd: cmd}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	c.in, c.out = in, bufio.NewReader(out)
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(c.kill)
	return c
}

// kill is SIGKILL; the second is harmless.
func (c *child) kill() {
	_ = c.cmd.Process.Kill()
	_ = c.cmd.Wait()
}

// say has a device do something, and returns when it is done.
func (c *child) say(b *testing.B, word string) {
	b.Helper()
	if _, err := fmt.Fprintln(c.in, word); err != nil {
		b.Fatal(err)
	}
	if _, err := c.out.ReadString('\n'); err != nil {
		b.Fatalf("the device does not %s: %v", word, err)
	}
}

func self(what string, args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), as+"="+what)
	return cmd
}

// A centre is the shipping one, in a process, always at the same addresses.
type centre struct {
	*child
	data, mqtt, desk, key, token string
}

func newCentre(b *testing.B, devices ...string) *centre {
	b.Helper()
	c := &centre{data: b.TempDir(), mqtt: free(b)}
	run := func(args ...string) string {
		var out, errs bytes.Buffer
		if status := bridge.Run(b.Context(), "test", args, strings.NewReader(""), &out, &errs); status != 0 {
			b.Fatal(errs.String())
		}
		return strings.TrimSpace(out.String())
	}
	tokens, err := bridge.Grant(b.Context(), c.data, account.Viewer, "bench")
	if err != nil {
		b.Fatal(err)
	}
	c.token = tokens["bench"]
	c.key = run("key", "--data", c.data)
	for _, id := range devices {
		run("device", "add", "--data", c.data, "--id", id, "--kind", "patrol-car", "--key", hex.EncodeToString(deviceKey.Public().(ed25519.PublicKey)))
	}
	c.start(b)
	return c
}

func (c *centre) start(b *testing.B) {
	b.Helper()
	c.child = start(b, self("centre", "serve", "--data", c.data, "--http-addr", "127.0.0.1:0", "--mqtt-addr", c.mqtt))
	line, err := c.out.ReadString('\n')
	if _, serr := fmt.Sscanf(line, "ready desk=%s mqtt=", &c.desk); err != nil || serr != nil && c.desk == "" {
		b.Fatalf("no ready line but %q, %v", line, err)
	}
}
