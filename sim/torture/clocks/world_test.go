package clocks_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"periph.io/x/conn/v3/gpio"
	"periph.io/x/conn/v3/gpio/gpiotest"

	"github.com/fengsui/fengsui/cloud-bridge/incident"
	"github.com/fengsui/fengsui/cloud-bridge/ingest"
	"github.com/fengsui/fengsui/cloud-bridge/store"
	"github.com/fengsui/fengsui/firmware/agent"
	"github.com/fengsui/fengsui/firmware/clock"
	"github.com/fengsui/fengsui/firmware/config"
	"github.com/fengsui/fengsui/firmware/gps/gpstest"
	"github.com/fengsui/fengsui/firmware/uplink/uplinktest"
	"github.com/fengsui/fengsui/firmware/wire"
	"github.com/fengsui/fengsui/sim/torture"
)

var centreKey = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{2}, 32))

// built is when the firmware of these devices was.
var built = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

// A world is one car, one centre, and the truth, which is the bubble's time.
// At first there is no link between the two.
type world struct {
	t   *testing.T
	cfg *config.Config

	system time.Duration // the device's system clock minus the truth, at the next start; see set
	ntp    bool          // something keeps it right

	pins map[string]*gpiotest.Pin
	gps  *io.PipeWriter
	stop context.CancelFunc
	done chan error

	broker *uplinktest.Broker
	mu     sync.Mutex
	way    time.Duration // of a message from the centre

	store *store.Store
	down  context.CancelFunc
	idle  chan struct{}

	start     time.Time // of the first fix's count
	elsewhere bool      // the places do not count
	presses   []time.Time
}

// script plays a case at a truth of its own and judges it.
func script(t *testing.T, truth time.Time, built time.Time, play func(*world), want ...press) {
	t.Helper()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(truth))
		w := newWorld(t, dir)
		w.system = -truth.Sub(time.Unix(0, 0)) // a board without a battery
		w.centre()
		defer w.close()
		w.begin(built)
		play(w)
		w.link(true)
		time.Sleep(2 * time.Minute)
		w.off()
		w.judge(want)
	})
}

func newWorld(t *testing.T, dir string) *world {
	t.Helper()
	cfg, err := config.Parse("test", fmt.Appendf(nil, `device: car-01
profile: patrol-car
data: %s
centre: {servers: [mqtt://centre], key: %x}
buttons: {panic: {line: P, kind: panic}}
lamps: {red: {line: R}, amber: {line: Y}, green: {line: G}}
gps: {port: none}
`, filepath.Join(dir, "device"), centreKey.Public()))
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, cfg: cfg, start: time.Now(), pins: map[string]*gpiotest.Pin{
		"P": {N: "P", L: gpio.High, EdgesChan: make(chan gpio.Level, 8)}, "R": {N: "R"}, "Y": {N: "Y"}, "G": {N: "G"},
	}}
	if w.store, err = store.Open(t.Context(), filepath.Join(dir, "centre.db"), nil); err != nil {
		t.Fatal(err)
	}
	w.broker = uplinktest.New(t)
	w.broker.Link(false)
	key, err := agent.LoadOrCreateKey(cfg.Data)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.store.Register(t.Context(), store.Registration{
		ID: cfg.Device, Kind: store.PatrolCar, Name: "car", Key: key.Public().(ed25519.PublicKey),
	}); err != nil {
		t.Fatal(err)
	}
	return w
}

// The world is the centre's way to the broker.
func (w *world) Subscribe(f func(topic string, payload []byte)) error {
	return w.broker.Subscribe(f)
}

func (w *world) Publish(topic string, payload []byte) error {
	w.mu.Lock()
	way := w.way
	w.mu.Unlock()
	go func() {
		time.Sleep(way)
		_ = w.broker.Publish(topic, payload)
	}()
	return nil
}

func (w *world) Ready() error { return nil }

func (w *world) centre() {
	in := ingest.New(ingest.Options{Store: w.store, Source: w, Key: centreKey, Registry: prometheus.NewRegistry(), Log: slog.New(slog.DiscardHandler)})
	ctx, stop := context.WithCancel(context.Background())
	w.down, w.idle = stop, make(chan struct{})
	go func() {
		defer close(w.idle)
		if err := in.Run(ctx, func() {}); err != nil {
			w.t.Error(err)
		}
	}()
	synctest.Wait()
}

func (w *world) close() {
	w.link(false)
	w.down()
	<-w.idle
	time.Sleep(w.way) // of what it has sent
	w.broker.Close()
	if err := w.store.Shut(); err != nil {
		w.t.Error(err)
	}
}

// begin starts the device; its firmware was built then.
func (w *world) begin(built time.Time) {
	w.t.Helper()
	r, out := io.Pipe()
	w.gps = out
	ports, err := agent.OpenPorts(w.cfg, func(name string) (gpio.PinIO, error) { return w.pins[name], nil })
	if err != nil {
		w.t.Fatal(err)
	}
	ports.Dial = w.broker.Dial
	ports.Clock = clock.Options{
		Earliest:    built,
		Now:         func() time.Time { w.mu.Lock(); defer w.mu.Unlock(); return time.Now().Add(w.system) },
		Disciplined: func() (bool, time.Duration) { w.mu.Lock(); defer w.mu.Unlock(); return w.ntp, 10 * time.Millisecond },
	}
	ports.GPS = func(context.Context) (io.ReadWriteCloser, error) {
		return struct {
			io.Reader
			io.Writer
			io.Closer
		}{r, io.Discard, r}, nil
	}
	a, err := agent.New(w.cfg, ports, agent.Options{Version: "test"})
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	w.stop, w.done = stop, make(chan error, 1)
	go func() { w.done <- a.Run(ctx) }()
	time.Sleep(time.Second)
}

func (w *world) off() {
	w.t.Helper()
	w.stop()
	if err := <-w.done; err != nil {
		w.t.Error(err)
	}
}

// cut is a cut of the power: the device starts again, its system clock where
// it was at its first start.
func (w *world) cut(without time.Duration) {
	w.t.Helper()
	w.off()
	time.Sleep(without)
	w.set(-time.Since(time.Unix(0, 0)), false)
	w.begin(built)
}

// set sets the device's system clock.
func (w *world) set(off time.Duration, ntp bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.system, w.ntp = off, ntp
}

func (w *world) link(up bool) { w.broker.Link(up) }

// press presses the button and notes the truth.
func (w *world) press() {
	w.presses = append(w.presses, time.Now())
	w.pins["P"].EdgesChan <- gpio.Low
	time.Sleep(300 * time.Millisecond)
	w.pins["P"].EdgesChan <- gpio.High
	time.Sleep(700 * time.Millisecond)
}

// say has the receiver say sentences.
func (w *world) say(sentences string) {
	if _, err := io.WriteString(w.gps, sentences); err != nil {
		w.t.Error(err)
	}
}

// drive has the receiver tell its times, off by something, once a second. The
// places count the seconds since the start, so that the judge knows the truth.
func (w *world) drive(d, off time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(time.Second) {
		n := time.Since(w.start).Seconds()
		w.say(gpstest.Sentences(time.Now().Add(off), gpstest.Point{Lat: 30 + n*1e-4, Lon: 103}, 11, 0))
	}
}

// press is how the desk must show one of the presses.
type press struct {
	from      wire.WallSource // whose time of day
	within    time.Duration   // at most
	corrected bool            // it is not what the device said
}

// judge compares what the centre has with the truth.
func (w *world) judge(want []press) {
	w.t.Helper()
	var v torture.Verdict
	is, err := w.store.Incidents(context.Background(), store.Filter{})
	if err != nil {
		w.t.Fatal(err)
	}
	byAlarm := make(map[wire.AlarmID]*incident.Incident)
	for i := range is {
		byAlarm[is[i].Alarm] = &is[i]
	}
	rows, err := w.store.Events(context.Background(), w.cfg.Device, store.EventQuery{})
	if err != nil {
		w.t.Fatal(err)
	}
	slices.SortStableFunc(rows, func(a, b store.EventRow) int {
		if a.Event.Boot != b.Event.Boot {
			return int(a.Event.Boot) - int(b.Event.Boot)
		}
		return int((a.Event.Mono - b.Event.Mono).Milliseconds())
	})
	n, seq := 0, uint64(0)
	for i := range rows {
		e := rows[i].Event
		if when := rows[i].When; when.Source != wire.WallNone && when.Time.After(rows[i].Received.Add(when.Uncertainty+time.Second)) {
			v.Wrong = append(v.Wrong, fmt.Sprintf("%v %d is of %v, after its arrival at %v", e.Lane, e.Seq, when.Time, rows[i].Received))
		}
		body, ok := e.Body.(*wire.AlarmRaised)
		if !ok {
			continue
		}
		if e.Seq < seq {
			v.Disorder = append(v.Disorder, fmt.Sprintf("press %d of (boot %d, mono %v) is number %d, behind %d", n+1, e.Boot, e.Mono, e.Seq, seq))
		}
		seq = e.Seq
		if n >= len(want) || n >= len(w.presses) {
			v.Wrong = append(v.Wrong, fmt.Sprintf("press %d too many", n+1))
			break
		}
		v.Wrong = append(v.Wrong, compare(n+1, rows[i].When, w.presses[n], want[n])...)
		if in := byAlarm[body.Alarm]; body.Press == 1 && (in == nil || !in.Pressed.Time.Equal(rows[i].When.Time) || in.Pressed.Source != rows[i].When.Source) {
			v.Wrong = append(v.Wrong, fmt.Sprintf("press %d: the incident is not of the time of its event: %+v", n+1, in))
		}
		w.t.Logf("press %d: %v %v ±%v (original %v), truth %v", n+1, rows[i].When.Time.Format(time.RFC3339Nano), rows[i].When.Source, rows[i].When.Uncertainty,
			e.Wall.Time().Format("2006-01-02T15:04:05"), w.presses[n].UTC().Format(time.RFC3339Nano))
		n++
	}
	if n < len(want) {
		v.Lost = append(v.Lost, fmt.Sprintf("%d presses of %d", n, len(want)))
	}
	fixes, err := w.store.Track(context.Background(), w.cfg.Device, time.Time{}, time.Time{}, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	before := 0.0
	for _, f := range fixes {
		if w.elsewhere {
			if off := f.Time.Sub(w.start); off < 0 || off > time.Minute {
				v.Wrong = append(v.Wrong, fmt.Sprintf("a fix is of %v: want the minute after %v", f.Time, w.start.UTC()))
			}
			continue
		}
		if f.Lat < before {
			v.Disorder = append(v.Disorder, fmt.Sprintf("the fix of second %.0f comes behind that of %.0f", (f.Lat-30)*1e4, (before-30)*1e4))
		}
		before = f.Lat
		truth := w.start.Add(time.Duration((f.Lat - 30) * 1e4 * float64(time.Second)))
		if off := f.Time.Sub(truth).Abs(); off > f.Within+2500*time.Millisecond { // the clock's tolerance of a receiver
			v.Wrong = append(v.Wrong, fmt.Sprintf("the fix of %v is of %v ±%v", truth.UTC(), f.Time, f.Within))
		}
	}
	v.Report(w.t, "%d presses and %d fixes", n, len(fixes))
}

func compare(n int, got incident.Moment, truth time.Time, want press) (wrong []string) {
	bad := func(format string, args ...any) {
		wrong = append(wrong, fmt.Sprintf("press %d: ", n)+fmt.Sprintf(format, args...))
	}
	if got.Source != want.from {
		bad("source %v, want %v", got.Source, want.from)
	}
	if (got.Original != nil) != want.corrected {
		bad("original %v, want one: %v", got.Original, want.corrected)
	}
	if got.Source == wire.WallNone {
		return wrong
	}
	// A press counts a debounce after the finger.
	const debounce = 200 * time.Millisecond
	if off := got.Time.Sub(truth).Abs(); off > got.Uncertainty+debounce {
		bad("off by %v, which is more than the ±%v it claims", off, got.Uncertainty)
	}
	if got.Uncertainty > want.within {
		bad("±%v, want at most %v", got.Uncertainty, want.within)
	}
	return wrong
}
