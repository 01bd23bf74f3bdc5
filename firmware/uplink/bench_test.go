package uplink_test

import (
	"context"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/listeners"

	"github.com/fengsui/fengsui/firmware/spool"
	"github.com/fengsui/fengsui/firmware/uplink"
	"github.com/fengsui/fengsui/firmware/wire"
)

// BenchmarkDrain tells how fast a backlog of full track batches leaves the
// device, over TCP on this machine, past a broker in this process and a centre
// in memory that verifies and acknowledges each event by itself; and how long
// an alarm takes from Append's return to the centre's while it drains.
func BenchmarkDrain(b *testing.B) {
	c := newCentre()
	br := newBroker(b, c)
	defer br.Close()
	tcp := listeners.NewTCP(listeners.Config{ID: "tcp", Address: "127.0.0.1:0"})
	if err := br.AddListener(tcp); err != nil {
		b.Fatal(err)
	}
	go tcp.Serve(br.EstablishConnection)
	s, err := spool.Open(filepath.Join(b.TempDir(), "s"), spool.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	r := &rig{t: b, s: s, n: map[wire.Lane]int{}, pad: 480}
	r.append(wire.Track, b.N)
	r.pad = 0
	alarm := make(chan struct{}, 1)
	done := make(chan struct{})
	u, err := uplink.New(uplink.Options{
		Device: "box-01", Boot: s.Boot(), Servers: []string{tcp.Address()}, Key: deviceKey, CentreKey: pub(centreKey), Store: uplink.Of(s),
		Dial: func(ctx context.Context, a string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", a)
		},
		OnAck: func(_ wire.StreamID, l wire.Lane, upTo uint64) {
			switch w := s.Window(); {
			case l == wire.Alarm && upTo == 1:
				select {
				case alarm <- struct{}{}:
				default:
				}
			case l == wire.Track && upTo == uint64(b.N) && w[l].Oldest == w[l].Next:
				select {
				case done <- struct{}{}:
				default:
				}
			}
		},
	})
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(b.Context())
	ended := make(chan error)
	b.ResetTimer()
	go func() { ended <- u.Run(ctx) }()
	if b.N > 1000 {
		for s.Window()[wire.Track].Oldest < uint64(b.N/4) {
			time.Sleep(time.Millisecond)
		}
		r.append(wire.Alarm, 1)
		at := time.Now()
		<-alarm
		b.ReportMetric(float64(time.Since(at).Microseconds())/1000, "alarm-ms")
	}
	<-done
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
	stop()
	if err := <-ended; err != nil {
		b.Error(err)
	}
}
