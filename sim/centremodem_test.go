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
