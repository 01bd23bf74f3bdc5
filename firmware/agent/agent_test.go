package agent_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"periph.io/x/conn/v3/gpio"
	"periph.io/x/conn/v3/gpio/gpiotest"

	"github.com/fengsui/fengsui/firmware/agent"
	"github.com/fengsui/fengsui/firmware/config"
	"github.com/fengsui/fengsui/firmware/fingerprint/fingerprinttest"
	"github.com/fengsui/fengsui/firmware/gps/gpstest"
	"github.com/fengsui/fengsui/firmware/uplink/uplinktest"
	"github.com/fengsui/fengsui/firmware/voice"
	"github.com/fengsui/fengsui/firmware/wire"
)

var centreKey = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{2}, 32))

func public(k ed25519.PrivateKey) ed25519.PublicKey { return k.Public().(ed25519.PublicKey) }

// A world is a box in a bubble: its lines, a broker, and a centre that keeps
// what it is sent.
type world struct {
	t      *testing.T
	cfg    *config.Config
	pins   map[string]*gpiotest.Pin
	broken string // the pin that cannot be driven
	opt    agent.Options
	gps    *io.PipeWriter
	gpsR   *io.PipeReader
	voice  voice.Player
	gpsAt  func(context.Context, int) (io.ReadWriteCloser, error) // in place of gps; nil: none
	sensor *fingerprinttest.Sensor                                // of a configured reader

	modem agent.Opener // of a configured modem
	air   agent.Air    // of a configured group
	knows bool         // the system's clock is kept right

	broker *uplinktest.Broker
	mu     sync.Mutex
	events map[string]*wire.Event // by lane and seq: each once
	upTo   map[wire.Lane]uint64
	last   map[wire.Lane]wire.Hash // of the event that upTo names
	pub    ed25519.PublicKey

	stop func()
	done chan error
	a    *agent.Agent
}

func newWorld(t *testing.T, dir, more string) *world {
	t.Helper()
	cfg, err := config.Parse("test", []byte(fmt.Sprintf(`device: box-01
profile: alarm-box
data: %s
centre: {servers: [mqtt://centre], key: %x}
buttons: {panic: {line: P, kind: panic}, hush: {line: H, kind: panic, silent: true}}
lamps: {red: {line: R}, amber: {line: Y}, green: {line: G}}
siren: {line: S}
gps: {port: none}
%s`, dir, public(centreKey), more)))
	if err != nil {
		t.Fatal(err)
	}
	w := &world{
		t: t, cfg: cfg, opt: agent.Options{Version: "test", BoardRoot: filepath.Join(dir, "board")}, pins: make(map[string]*gpiotest.Pin),
		events: make(map[string]*wire.Event), upTo: make(map[wire.Lane]uint64), last: make(map[wire.Lane]wire.Hash),
	}
	for _, n := range []string{"P", "H", "R", "Y", "G", "S", "T", "M", "B", "K", "C"} {
		w.pins[n] = &gpiotest.Pin{N: n, EdgesChan: make(chan gpio.Level, 8)}
	}
	for _, n := range []string{"P", "H", "K", "C"} { // pulled up
		w.pins[n].L = gpio.High
	}
	w.broker = uplinktest.New(t)
	if err := w.broker.Subscribe(w.receive); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) receive(topic string, msg []byte) {
	_, kind, _ := wire.ParseUpTopic(topic)
	w.mu.Lock()
	defer w.mu.Unlock()
	var stream wire.StreamID
	if kind == wire.HelloKind {
		h, err := wire.OpenHello(msg, w.pub)
		if err != nil {
			w.t.Error(err)
			return
		}
		stream = h.Stream
		for l, win := range h.Window {
			if win.Oldest-1 > w.upTo[l] {
				w.upTo[l] = win.Oldest - 1
				delete(w.last, l)
			}
		}
	} else {
		e, err := wire.Open(msg, w.pub)
		if err != nil {
			w.t.Error(err)
			return
		}
		w.events[eventKey(e.Lane, e.Seq)] = e
		if e.Seq == w.upTo[e.Lane]+1 {
			w.upTo[e.Lane]++
			w.last[e.Lane] = wire.HashOf(msg)
		}
		stream = e.Stream
	}
	upTo := map[wire.Lane]uint64{}
	for l, n := range w.upTo {
		upTo[l] = n
	}
	w.down(&wire.Ack{Stream: stream, UpTo: upTo, Hash: maps.Clone(w.last)})
}

func eventKey(l wire.Lane, seq uint64) string { return fmt.Sprintf("%v %06d", l, seq) }

func (w *world) down(b wire.DownBody) {
	msg, err := wire.SealDown(&wire.Down{Device: "box-01", Body: b}, centreKey)
	if err != nil {
		w.t.Error(err)
	}
	_ = w.broker.Publish(wire.DownTopic("box-01"), msg) // it does not fail
}

func (w *world) link(up bool) { w.broker.Link(up) }

type readWriter struct {
	io.Reader
	io.Writer
	io.Closer
}

// power starts the agent on the same data; it returns at once.
func (w *world) power() {
	w.t.Helper()
	w.gpsR, w.gps = io.Pipe()
	r := w.gpsR
	ports, err := agent.OpenPorts(w.cfg, func(name string) (gpio.PinIO, error) { return lampPin{w.pins[name], w}, nil })
	if err != nil {
		w.t.Fatal(err)
	}
	ports.Dial, ports.Terminal = w.broker.Dial, nil
	ports.Clock.Disciplined = func() (bool, time.Duration) { return w.knows, 0 }
	ports.Clock.Earliest = time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC) // a bubble begins in 2000
	if w.cfg.Fingerprint != nil {
		ports.Fingerprint = w.sensor.Open
	}
	ports.GPS = func(context.Context) (io.ReadWriteCloser, error) { return readWriter{r, io.Discard, r}, nil }
	ports.Voice, ports.Modem = w.voice, w.modem
	ports.Air = func() (agent.Air, error) { return w.air, nil }
	if ports.GPSAt = w.gpsAt; w.gpsAt != nil {
		ports.GPS = func(ctx context.Context) (io.ReadWriteCloser, error) { return w.gpsAt(ctx, w.cfg.GPS.Baud) }
	}
	key, err := agent.LoadOrCreateKey(w.cfg.Data)
	if err != nil {
		w.t.Fatal(err)
	}
	w.pub = public(key)
	w.a, err = agent.New(w.cfg, ports, w.opt)
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(w.t.Context())
	w.stop, w.done = stop, make(chan error, 1)
	go func() { w.done <- w.a.Run(ctx) }()
	time.Sleep(500 * time.Millisecond)
}

func (w *world) off() {
	w.t.Helper()
	w.stop()
	if err := <-w.done; err != nil {
		w.t.Error(err)
	}
}

func (w *world) press(line string) {
	w.pins[line].EdgesChan <- gpio.Low
	time.Sleep(300 * time.Millisecond)
	w.pins[line].EdgesChan <- gpio.High
	time.Sleep(300 * time.Millisecond)
}

// lamps tells which outputs are on: "RYGS", a dash for each that is off.
func (w *world) lamps() string {
	synctest.Wait()
	s := ""
	for _, n := range []string{"R", "Y", "G", "S"} {
		p := w.pins[n]
		p.Lock()
		if p.L {
			s += n
		} else {
			s += "-"
		}
		p.Unlock()
	}
	return s
}

// bodies returns what arrived of a type, in order.
func bodies[B wire.Body](w *world) []B {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	var keys []string
	for k := range w.events {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	var out []B
	for _, k := range keys {
		if b, ok := w.events[k].Body.(B); ok {
			out = append(out, b)
		}
	}
	return out
}

func inWorld(t *testing.T, more string, f func(*world)) {
	t.Helper()
	inWorldOf(t, more, func(*world) {}, f)
}

// inWorldOf is inWorld with something to be done before the power comes.
func inWorldOf(t *testing.T, more string, prepare, f func(*world)) {
	t.Helper()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, dir, more)
		prepare(w)
		w.power()
		f(w)
		w.off()
		w.link(false)
		w.broker.Close()
		if got := w.lamps(); got != "----" {
			t.Errorf("lamps %s after the end", got)
		}
	})
}

func TestThePresserSeesThreeThings(t *testing.T) {
	inWorld(t, "", func(w *world) {
		w.link(false)
		w.press("P")
		if got := w.lamps(); got != "R--S" {
			t.Errorf("stored: %s, want R--S", got)
		}
		w.link(true)
		time.Sleep(20 * time.Second)
		raised := bodies[*wire.AlarmRaised](w)
		if len(raised) != 1 || raised[0].Kind != wire.Panic || raised[0].Button != "panic" || raised[0].Press != 1 {
			t.Fatalf("the centre has %+v", raised)
		}
		if got := w.a.Status().Step; got != "centre_has" {
			t.Errorf("step %s, want centre_has", got)
		}
		alarm := raised[0].Alarm
		w.down(&wire.Notice{Alarm: alarm, Rev: 1, State: wire.NoticeAcknowledged})
		time.Sleep(time.Second)
		if got := w.lamps(); got != "RY-S" {
			t.Errorf("acknowledged: %s, want RY-S", got)
		}
		w.down(&wire.Notice{Alarm: alarm, Rev: 2, State: wire.NoticeDispatched, Unit: "car-01"})
		w.down(&wire.Notice{Alarm: alarm, Rev: 1, State: wire.NoticeAcknowledged}) // late, and again
		time.Sleep(time.Second)
		if got := w.lamps(); got != "RYGS" {
			t.Errorf("dispatched: %s, want RYGS", got)
		}
		w.down(&wire.Notice{Alarm: alarm, Rev: 3, State: wire.NoticeClosed})
		w.down(&wire.Notice{Alarm: alarm, Rev: 3, State: wire.NoticeClosed})
		time.Sleep(time.Second)
		if got := w.lamps(); got != "----" {
			t.Errorf("closed: %s, want ----", got)
		}
		var revs []uint64
		for _, b := range bodies[*wire.NoticeShown](w) {
			revs = append(revs, b.Rev)
		}
		if !slices.Equal(revs, []uint64{1, 2, 3}) {
			t.Errorf("answered revisions %v, want 1 2 3, each once", revs)
		}
		if c := bodies[*wire.AlarmCleared](w); len(c) != 1 || c[0].By != wire.ClearedByCentre {
			t.Errorf("cleared %+v, want once by the centre", c)
		}
	})
}

func TestALatchSurvivesPowerCuts(t *testing.T) {
	inWorld(t, "", func(w *world) {
		w.link(false)
		w.press("P")
		w.off()
		w.power()
		if got := w.lamps(); got != "R--S" {
			t.Errorf("after the cut: %s, want R--S", got)
		}
		w.press("P") // again, while latched
		w.link(true)
		time.Sleep(20 * time.Second)
		raised := bodies[*wire.AlarmRaised](w)
		if len(raised) != 2 || raised[0].Alarm != raised[1].Alarm || raised[1].Press != 2 {
			t.Fatalf("got %+v, want one alarm pressed twice", raised)
		}
		w.down(&wire.Notice{Alarm: raised[0].Alarm, Rev: 5, State: wire.NoticeDispatched, Unit: "car-01"})
		time.Sleep(time.Second)
		w.off()
		w.power()
		if got := w.lamps(); got != "RYGS" {
			t.Errorf("after the second cut: %s, want RYGS", got)
		}
	})
}

func TestAnAlarmTheCentreHadBeforeTheCut(t *testing.T) {
	inWorld(t, "", func(w *world) {
		time.Sleep(5 * time.Second)
		w.press("P")
		time.Sleep(5 * time.Second) // acknowledged, and deleted from the spool
		w.off()
		w.link(false)
		w.power()
		if got := w.a.Status().Step; got != "centre_has" {
			t.Errorf("step %s, want centre_has", got)
		}
	})
}

func TestSilentMakesNoSound(t *testing.T) {
	inWorld(t, "", func(w *world) {
		w.press("H")
		for range 100 {
			if strings.Contains(w.lamps(), "S") {
				t.Fatal("the siren sounds")
			}
			time.Sleep(100 * time.Millisecond)
		}
		if raised := bodies[*wire.AlarmRaised](w); len(raised) != 1 || !raised[0].Silent {
			t.Errorf("got %+v, want one silent alarm", raised)
		}
	})
}

// The siren pauses after its limit; who presses again is heard again, who
// presses silently is not.
func TestTheSirenPausesAndSoundsAnew(t *testing.T) {
	inWorld(t, "", func(w *world) {
		for i := range 2 {
			w.press("P")
			if got := w.lamps(); got[3] != 'S' {
				t.Errorf("press %d: %s, no siren", i+1, got)
			}
			time.Sleep(4 * time.Minute)
			if got := w.lamps(); got[3] != '-' {
				t.Errorf("after press %d and its limit: %s, still a siren", i+1, got)
			}
		}
		w.press("H")
		if got := w.lamps(); got[3] != '-' {
			t.Errorf("after a silent press: %s, a siren", got)
		}
	})
}

func TestALampThatCannotBeDrivenIsAFault(t *testing.T) {
	inWorld(t, "", func(w *world) {
		w.off()
		fail := func(pin string) { w.mu.Lock(); w.broken = pin; w.mu.Unlock() }
		fail("G")
		w.power()
		time.Sleep(time.Minute)
		fail("")
		time.Sleep(time.Minute)
		var got []string
		for _, f := range bodies[*wire.Fault](w) {
			if strings.HasPrefix(f.Code, "lamp_failed") {
				got = append(got, fmt.Sprint(f.Code, " ", f.Active, " ", f.Detail))
			}
		}
		if want := []string{"lamp_failed:green true burnt out", "lamp_failed:green false "}; !slices.Equal(got, want) {
			t.Errorf("faults %q, want %q", got, want)
		}
	})
}

// lampPin is a pin that can break.
type lampPin struct {
	*gpiotest.Pin
	w *world
}

func (p lampPin) Out(l gpio.Level) error {
	p.w.mu.Lock()
	broken := p.w.broken == p.N
	p.w.mu.Unlock()
	if broken {
		return errors.New("burnt out")
	}
	return p.Pin.Out(l)
}

func TestAStuckLineIsAFault(t *testing.T) {
	inWorld(t, "", func(w *world) {
		w.pins["P"].EdgesChan <- gpio.Low
		time.Sleep(10 * time.Minute)
		if raised := bodies[*wire.AlarmRaised](w); len(raised) != 1 {
			t.Errorf("%d alarms, want 1", len(raised))
		}
		faults := bodies[*wire.Fault](w)
		if len(faults) == 0 || !slices.ContainsFunc(faults, func(f *wire.Fault) bool { return f.Code == "button_stuck:panic" && f.Active }) {
			t.Errorf("faults %v, want button_stuck:panic", faults)
		}
	})
}

func TestTrackAndTime(t *testing.T) {
	inWorld(t, "", func(w *world) {
		time.Sleep(5 * time.Second) // the link comes up
		route := gpstest.Route{Points: []gpstest.Point{{Lat: 30, Lon: 103}, {Lat: 30.1, Lon: 103}}, Speed: 15}
		drive := func(d time.Duration) {
			ctx, stop := context.WithTimeout(w.t.Context(), d)
			defer stop()
			if err := route.Drive(ctx, w.gps, nil); err != nil {
				t.Error(err)
			}
			time.Sleep(time.Second)
		}
		drive(time.Minute)
		first := bodies[*wire.TrackBatch](w)
		if len(first) < 9 || len(first) > 13 {
			t.Errorf("%d batches in a minute with the link up, want one every five seconds", len(first))
		}
		w.link(false)
		drive(5 * time.Minute)
		w.press("P")
		w.link(true)
		time.Sleep(time.Minute)
		all := bodies[*wire.TrackBatch](w)
		n := 0
		for _, b := range all {
			n += len(b.Fixes)
		}
		if n < 340 {
			t.Errorf("%d fixes in six minutes, want nearly 360", n)
		}
		if later := len(all) - len(first); later > 9 {
			t.Errorf("%d batches of the five minutes without a link, want full ones", later)
		}
		raised := bodies[*wire.AlarmRaised](w)
		if len(raised) != 1 || raised[0].Position == nil || raised[0].Position.Lat() < 30 || raised[0].Position.AgeMs > 5000 {
			t.Errorf("the alarm's position: %+v", raised)
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		e := w.events["alarm 000001"]
		if off := e.Wall.Time().Sub(time.Now().Add(-time.Minute)).Abs(); e.Wall.Source != wire.WallGNSS || off > 3*time.Second {
			t.Errorf("wall %v from %v, off by %v", e.Wall.Time(), e.Wall.Source, off)
		}
	})
}

func TestHealth(t *testing.T) {
	inWorld(t, "health: {every: 10s}\n", func(w *world) {
		time.Sleep(5 * time.Minute)
		hs := bodies[*wire.Health](w)
		if len(hs) < 28 || len(hs) > 32 {
			t.Errorf("%d heartbeats in five minutes", len(hs))
		}
		last := hs[len(hs)-1]
		if last.Firmware != "test" || last.GPS != "searching" || last.MemoryKiB == 0 || last.DiskFreeKiB == 0 || !slices.Contains(last.Faults, "gps_lost") {
			t.Errorf("got %+v, want a receiver that searches and its fault", last)
		}
	})
}

// A damaged spool costs what was in it, not the box.
func TestADamagedSpoolIsSetAside(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "spool.db")
	if err := os.WriteFile(path, bytes.Repeat([]byte("not a database "), 5000), 0o600); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, dir, "")
		w.power()
		w.press("P")
		time.Sleep(10 * time.Second)
		if raised := bodies[*wire.AlarmRaised](w); len(raised) != 1 {
			t.Errorf("%d alarms, want 1", len(raised))
		}
		faults := bodies[*wire.Fault](w)
		if !slices.ContainsFunc(faults, func(f *wire.Fault) bool {
			return f.Code == "storage_damaged" && f.Active && strings.Contains(f.Detail, "spool.db.corrupt-1")
		}) {
			t.Errorf("faults %+v, want storage_damaged that names the file", faults)
		}
		w.off()
		w.link(false)
		w.broker.Close()
	})
	if b, err := os.ReadFile(path + ".corrupt-1"); err != nil || !bytes.HasPrefix(b, []byte("not a database")) {
		t.Errorf("set aside: %v", err)
	}
}

func TestNewRefusesWhatCannotRun(t *testing.T) {
	cfg, err := config.Load("../config/example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := agent.New(cfg, agent.Ports{}, agent.Options{}); err == nil || !strings.Contains(err.Error(), "has no port") {
		t.Errorf("no ports: %v", err)
	}
	_, err = agent.OpenPorts(cfg, func(name string) (gpio.PinIO, error) { return nil, os.ErrNotExist })
	if !errors.Is(err, os.ErrNotExist) || !(strings.Contains(err.Error(), "button") || strings.Contains(err.Error(), "lamp")) {
		t.Errorf("no lines: %v", err)
	}
}
