package sim_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fengsui/fengsui/cloud-bridge/sms"
	"github.com/fengsui/fengsui/cloud-bridge/store"
	"github.com/fengsui/fengsui/firmware/modem/modemtest"
	"github.com/fengsui/fengsui/firmware/wire"
)

// The centre's own modem, on the emulated one: what comes is stored, answered
// and deleted, whatever else is on the SIM; a modem that went comes back.
func TestCentreModem(t *testing.T) {
	const box, centre = "+8613800000001", "+8613900000009"
	deviceKey := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, 32))
	centreKey := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{2}, 32))
	pub := func(k ed25519.PrivateKey) ed25519.PublicKey { return k.Public().(ed25519.PublicKey) }
	alarm := func(key ed25519.PrivateKey, press uint64) []byte {
		msg, err := wire.SealSMSAlarm(&wire.SMSAlarm{
			Device: "box-01", Stream: wire.StreamID{1}, Seq: press, Alarm: wire.AlarmID{7}, Kind: wire.Panic, Press: press, Boot: 1, Mono: time.Second,
		}, key)
		if err != nil {
			t.Fatal(err)
		}
		return msg
	}
	s, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "centre.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Shut(); err != nil {
			t.Error(err)
		}
	}()
	if err := s.Register(t.Context(), store.Registration{ID: "box-01", Kind: store.AlarmBox, Key: pub(deviceKey), At: &store.Point{Lat: 30, Lon: 103}}); err != nil {
		t.Fatal(err)
	}
	d := sms.New(sms.Options{Store: s, Key: centreKey, Registry: prometheus.NewRegistry(), Log: slog.New(slog.DiscardHandler)})

	network := modemtest.NewNetwork()
	emu := modemtest.New(centre, network)
	answers := make(chan []byte, 10)
	network.Attach(box, func(_ string, data []byte) { answers <- data })
	opened := make(chan io.Closer, 10)
	open := func(context.Context) (io.ReadWriteCloser, error) {
		near, far := net.Pipe()
		emu.Restart()
		go func() { _ = emu.Serve(far); far.Close() }()
		opened <- far
		return near, nil
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { d.RunModem(ctx, sms.Modem{Open: open}); close(ended) }()
	first := <-opened
	send := func(data []byte) {
		t.Helper()
		if err := network.Send(box, centre, data); err != nil {
			t.Fatal(err)
		}
	}
	send([]byte("an advertisement"))
	send(alarm(centreKey, 1)) // not its key
	network.Twice(true)
	send(alarm(deviceKey, 1))
	for range 2 {
		if a, err := wire.OpenSMSAnswer(<-answers, "box-01", pub(centreKey)); err != nil || a.Press != 1 {
			t.Errorf("answer %+v, %v", a, err)
		}
	}
	network.Twice(false)
	first.Close() // unplugged
	<-opened
	send(alarm(deviceKey, 2))
	for {
		a, err := wire.OpenSMSAnswer(<-answers, "box-01", pub(centreKey))
		if err != nil || a.Press > 2 {
			t.Fatalf("answer %+v, %v", a, err)
		}
		if a.Press == 2 { // what was on the modem when it was unplugged is answered again
			break
		}
	}
	if is, err := s.Incidents(t.Context(), store.Filter{}); err != nil || len(is) != 1 || is[0].Presses != 2 {
		t.Errorf("%+v, %v: want one incident of two presses", is, err)
	}
	cancel()
	<-ended
}

// The centre's modem gets its PIN at each of its restarts, a wrong one once, and
// what keeps it from its work is in the metrics.
func TestCentreModemPIN(t *testing.T) {
	const cardA, cardB = "89860012345678901234", "89860012345678905678"
	for name, c := range map[string]struct {
		card, real string // of the SIM
		pin        string
		counts     bool
		tried      int // wrong PINs before
		faults     modemtest.Faults
		then       func(emu *modemtest.Modem, unplug func())
		state      sms.ModemState
		given      int // PINs
		later      int // … and after a restart of the centre
	}{
		"no PIN":                  {state: sms.ModemReady},
		"right":                   {real: "4321", pin: "4321", state: sms.ModemReady, given: 1, later: 2},
		"right, and slow":         {real: "4321", pin: "4321", faults: modemtest.Faults{SlowPIN: 15 * time.Second}, state: sms.ModemReady, given: 1, later: 2},
		"right, its answer lost":  {real: "4321", pin: "4321", faults: modemtest.Faults{SlowPIN: 22 * time.Second}, state: sms.ModemReady, given: 1, later: 2},
		"none given":              {card: cardA, real: "4321", state: sms.ModemPIN},
		"wrong":                   {card: cardA, real: "4321", pin: "1111", state: sms.ModemPIN, given: 1, later: 1},
		"wrong, no number":        {real: "4321", pin: "1111", state: sms.ModemPIN, given: 1, later: 1},
		"one try left":            {card: cardA, real: "4321", pin: "4321", counts: true, tried: 2, state: sms.ModemPIN},
		"the last, untold":        {card: cardA, real: "4321", pin: "1111", tried: 2, state: sms.ModemPUK, given: 1, later: 1},
		"no SIM":                  {faults: modemtest.Faults{SIM: "absent"}, state: sms.ModemNoSIM},
		"locked":                  {pin: "4321", faults: modemtest.Faults{SIM: "puk"}, state: sms.ModemPUK},
		"no network":              {faults: modemtest.Faults{NoNetwork: true}, state: sms.ModemNoNetwork},
		"mute":                    {faults: modemtest.Faults{Mute: true}, state: sms.ModemLost},
		"unplugged and plugged":   {card: cardA, real: "4321", pin: "4321", then: func(_ *modemtest.Modem, unplug func()) { unplug() }, state: sms.ModemReady, given: 2, later: 3},
		"it restarts":             {card: cardA, real: "4321", pin: "4321", then: func(m *modemtest.Modem, _ func()) { m.Restart() }, state: sms.ModemReady, given: 2, later: 3},
		"it restarts, no PIN":     {then: func(m *modemtest.Modem, _ func()) { m.Restart() }, state: sms.ModemReady},
		"another SIM, wrong":      {card: cardA, real: "4321", pin: "4321", then: func(m *modemtest.Modem, _ func()) { m.Change(cardB, "9999") }, state: sms.ModemPIN, given: 2, later: 2},
		"the right SIM after all": {card: cardB, real: "9999", pin: "4321", then: func(m *modemtest.Modem, _ func()) { m.Change(cardA, "4321") }, state: sms.ModemReady, given: 2, later: 3},
		"wrong, and a restart":    {card: cardA, real: "4321", pin: "1111", then: func(m *modemtest.Modem, _ func()) { m.Restart() }, state: sms.ModemPIN, given: 1, later: 1},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "tries")
			synctest.Test(t, func(t *testing.T) {
				emu := modemtest.New("+8613900000009", modemtest.NewNetwork())
				emu.Card, emu.PIN, emu.Counts = c.card, c.real, c.counts
				emu.Wrong(c.tried)
				emu.Set(c.faults)
				var port io.Closer
				run := func(during func(*sms.Desk, *prometheus.Registry)) {
					registry := prometheus.NewRegistry()
					d := sms.New(sms.Options{Registry: registry, Log: slog.New(slog.DiscardHandler)})
					ctx, cancel := context.WithCancel(t.Context())
					ended := make(chan struct{})
					go func() {
						defer close(ended)
						d.RunModem(ctx, sms.Modem{PIN: c.pin, Tries: path, Open: func(context.Context) (io.ReadWriteCloser, error) {
							near, far := net.Pipe()
							port = far
							go func() { _ = emu.Serve(far); far.Close() }()
							return near, nil
						}})
					}()
					time.Sleep(10 * time.Minute)
					during(d, registry)
					cancel()
					time.Sleep(time.Minute) // the emulator notices
					<-ended
				}
				run(func(d *sms.Desk, registry *prometheus.Registry) {
					if c.then != nil {
						c.then(emu, func() { emu.Restart(); port.Close() })
						time.Sleep(10 * time.Minute)
					}
					if d.ModemState() != c.state || len(emu.PINs()) != c.given {
						t.Errorf("state %q after the PINs %q: want %q after %d", d.ModemState(), emu.PINs(), c.state, c.given)
					}
					families, err := registry.Gather()
					if err != nil {
						t.Fatal(err)
					}
					for _, f := range families {
						for _, m := range f.GetMetric() {
							if is := m.GetLabel()[0].GetValue() == string(c.state); f.GetName() == "fengsui_sms_modem" && is != (m.GetGauge().GetValue() == 1) {
								t.Errorf("metric %v", m)
							}
						}
					}
				})
				emu.Restart()
				run(func(*sms.Desk, *prometheus.Registry) {
					if len(emu.PINs()) != c.later {
						t.Errorf("after a restart of the centre the PINs %q: want %d", emu.PINs(), c.later)
					}
				})
			})
		})
	}
}

// A centre that cannot store an alarm leaves it on its modem's SIM unanswered, and
// takes it once it can, also after a restart. What the network delivers twice and
// what comes again is answered and shown once.
func TestCentreModemWithoutStore(t *testing.T) {
	const box, centre = "+8613800000001", "+8613900000009"
	deviceKey := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, 32))
	centreKey := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{2}, 32))
	pub := func(k ed25519.PrivateKey) ed25519.PublicKey { return k.Public().(ed25519.PublicKey) }
	path := filepath.Join(t.TempDir(), "centre.db")
	network := modemtest.NewNetwork()
	emu := modemtest.New(centre, network)
	answers := make(chan []byte, 10)
	network.Attach(box, func(_ string, data []byte) { answers <- data })
	kept := make(chan struct{}, 1)
	log := slog.New(slog.NewTextHandler(writer(func(line []byte) {
		if bytes.Contains(line, []byte("it stays on the SIM")) {
			select {
			case kept <- struct{}{}:
			default:
			}
		}
	}), nil))
	run := func(s *store.Store) (stop func()) {
		d := sms.New(sms.Options{Store: s, Key: centreKey, Registry: prometheus.NewRegistry(), Log: log})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			d.RunModem(ctx, sms.Modem{Open: func(context.Context) (io.ReadWriteCloser, error) {
				near, far := net.Pipe()
				emu.Restart()
				go func() { _ = emu.Serve(far); far.Close() }()
				return near, nil
			}})
		}()
		return func() { cancel(); <-ended }
	}
	open := func() *store.Store {
		s, err := store.Open(t.Context(), path, nil)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := open()
	if err := s.Register(t.Context(), store.Registration{ID: "box-01", Kind: store.AlarmBox, Key: pub(deviceKey), At: &store.Point{Lat: 30, Lon: 103}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Shut(); err != nil {
		t.Fatal(err)
	}
	msg, err := wire.SealSMSAlarm(&wire.SMSAlarm{
		Device: "box-01", Stream: wire.StreamID{1}, Seq: 1, Alarm: wire.AlarmID{7}, Kind: wire.Panic, Press: 1, Boot: 1, Mono: time.Second,
	}, deviceKey)
	if err != nil {
		t.Fatal(err)
	}
	stop := run(s)
	network.Twice(true)
	if err := network.Send(box, centre, msg); err != nil {
		t.Fatal(err)
	}
	<-kept // it has tried
	stop()
	if emu.Kept() == 0 || len(answers) != 0 {
		t.Errorf("%d messages on the SIM, %d answers: want them kept, and none", emu.Kept(), len(answers))
	}
	network.Twice(false)
	s = open()
	stop = run(s)
	for range 2 {
		if a, err := wire.OpenSMSAnswer(<-answers, "box-01", pub(centreKey)); err != nil || a.Press != 1 {
			t.Errorf("answer %+v, %v", a, err)
		}
	}
	if is, err := s.Incidents(t.Context(), store.Filter{}); err != nil || len(is) != 1 || is[0].Presses != 1 {
		t.Errorf("%+v, %v: want one incident of one press", is, err)
	}
	stop()
	if n := emu.Kept(); n > 1 { // the last may be deleted just after its answer
		t.Errorf("%d messages are left on the SIM", n)
	}
	if err := s.Shut(); err != nil {
		t.Error(err)
	}
}

// A writer is told each line of a log.
type writer func(line []byte)

func (w writer) Write(b []byte) (int, error) { w(b); return len(b), nil }
