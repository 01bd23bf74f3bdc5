package uplink_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
	"github.com/fxamacker/cbor/v2"
	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/auth"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/fengsui/fengsui/firmware/spool"
	"github.com/fengsui/fengsui/firmware/uplink"
	"github.com/fengsui/fengsui/firmware/wire"
)

var (
	deviceKey = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, 32))
	centreKey = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{2}, 32))
)

func pub(k ed25519.PrivateKey) ed25519.PublicKey { return k.Public().(ed25519.PublicKey) }

// A centre keeps what arrived, in memory, and acknowledges it.
type centre struct {
	mu      sync.Mutex
	send    func(topic string, msg []byte)
	answers bool           // whether it acknowledges at all
	got     map[string]int // "lane detail" → how often it was delivered
	order   []string       // first deliveries, in order
	boxes   map[wire.StreamID]*inbox
	hellos  []wire.Hello
}

// An inbox is what a centre has of a stream.
type inbox struct {
	have map[wire.Lane]map[uint64]wire.Hash
	upTo map[wire.Lane]uint64
}

func newCentre() *centre {
	return &centre{answers: true, got: map[string]int{}, boxes: map[wire.StreamID]*inbox{}}
}

func (c *centre) box(id wire.StreamID) *inbox {
	if c.boxes[id] == nil {
		b := &inbox{map[wire.Lane]map[uint64]wire.Hash{}, map[wire.Lane]uint64{}}
		for _, l := range wire.Lanes() {
			b.have[l] = map[uint64]wire.Hash{}
		}
		c.boxes[id] = b
	}
	return c.boxes[id]
}

// settle moves the acknowledged numbers over what is there without a hole.
func (b *inbox) settle() {
	for l, have := range b.have {
		for have[b.upTo[l]+1] != (wire.Hash{}) {
			b.upTo[l]++
		}
	}
}

func (c *centre) receive(topic string, msg []byte) {
	_, kind, err := wire.ParseUpTopic(topic)
	if err != nil {
		panic(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var stream wire.StreamID
	var echo *wire.Echo
	var kept []wire.Hash
	if kind == wire.HelloKind {
		h, err := wire.OpenHello(msg, pub(deviceKey))
		if err != nil {
			panic(err)
		}
		stream, echo = h.Stream, &wire.Echo{Boot: h.Boot, MonoMs: h.MonoMs}
		c.hellos = append(c.hellos, *h)
		b := c.box(stream)
		for l, w := range h.Window {
			b.upTo[l] = max(b.upTo[l], w.Oldest-1)
		}
		b.settle()
	} else {
		e, err := wire.Open(msg, pub(deviceKey))
		if err != nil {
			panic(err)
		}
		stream = e.Stream
		what := e.Lane.String() + " " + e.Body.(*wire.Fault).Detail
		if c.got[what]++; c.got[what] == 1 {
			c.order = append(c.order, what)
		}
		b := c.box(stream)
		if b.have[e.Lane][e.Seq] != (wire.Hash{}) {
			kept = append(kept, wire.HashOf(msg))
		} else {
			b.have[e.Lane][e.Seq] = wire.HashOf(msg)
		}
		b.settle()
	}
	if !c.answers {
		return
	}
	c.ack("box-01", stream, centreKey, echo, kept...)
}

func (c *centre) ack(device string, stream wire.StreamID, key ed25519.PrivateKey, echo *wire.Echo, kept ...wire.Hash) {
	a := &wire.Ack{Stream: stream, UpTo: map[wire.Lane]uint64{}, Hash: map[wire.Lane]wire.Hash{}, Echo: echo, Kept: kept}
	b := c.box(stream)
	for l, n := range b.upTo {
		a.UpTo[l] = n
		if h := b.have[l][n]; h != (wire.Hash{}) {
			a.Hash[l] = h
		}
	}
	down, err := wire.SealDown(&wire.Down{Device: device, CentreTime: centreTime, Body: a}, key)
	if err != nil {
		panic(err)
	}
	go c.send(wire.DownTopic(device), down)
}

func (c *centre) with(f func()) { c.mu.Lock(); defer c.mu.Unlock(); f() }

// A broker is mochi, reached over net.Pipe, with a centre behind it.
type broker struct {
	*mochi.Server
	mu    sync.Mutex
	down  bool       // refuses connections
	hole  bool       // new and open connections swallow what is written
	conns []net.Conn // the device's ends
	dials int
}

type swallow struct {
	net.Conn
	b *broker
}

// A black hole keeps the connection open, reads nothing and says nothing.
func (s swallow) Write(p []byte) (int, error) {
	s.b.mu.Lock()
	hole := s.b.hole
	s.b.mu.Unlock()
	if hole {
		return len(p), nil // into the socket's buffer
	}
	return s.Conn.Write(p)
}

func newBroker(t testing.TB, c *centre, hooks ...mochi.Hook) *broker {
	t.Helper()
	b := &broker{Server: mochi.New(&mochi.Options{InlineClient: true, Logger: slog.New(slog.DiscardHandler)})}
	for _, h := range append(hooks, new(auth.AllowHook)) {
		if err := b.AddHook(h, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Serve(); err != nil {
		t.Fatal(err)
	}
	if c != nil {
		c.send = func(topic string, msg []byte) { b.Publish(topic, msg, false, 0) }
		if err := b.Subscribe(wire.UpFilter, 1, func(_ *mochi.Client, _ packets.Subscription, p packets.Packet) { c.receive(p.TopicName, p.Payload) }); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

func (b *broker) dial(context.Context, string) (net.Conn, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.dials++
	if b.down {
		return nil, errors.New("refused")
	}
	near, far := net.Pipe()
	b.conns = append(b.conns, near)
	go b.EstablishConnection("pipe", far)
	return swallow{near, b}, nil
}

func (b *broker) dialed() int { b.mu.Lock(); defer b.mu.Unlock(); return b.dials }

func (b *broker) set(down, hole bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.down, b.hole = down, hole
	if down {
		for _, c := range b.conns {
			c.Close()
		}
		b.conns = nil
	}
}

// A rig is a spool and an uplink in a bubble.
type rig struct {
	t     testing.TB
	s     *spool.Spool
	u     *uplink.Uplink
	notes []*wire.Notice
	n     map[wire.Lane]int
	pad   int // bytes that each event is longer than it need be
	store *flawed
	times []time.Time // what OnCentreTime said
	ways  []time.Duration
	stop  func() // ends Run and waits for it
}

// centreTime is what the centre's clock says, Unix milliseconds.
const centreTime = 1_795_435_200_005

// A flawed store is a spool that can be made to fail.
type flawed struct {
	uplink.Store
	mu   sync.Mutex
	errs map[wire.Lane]error
	lost map[wire.Lane]uint64
	read func(l wire.Lane, recs []spool.Record) // called with what a Read returns; or nil
}

func (f *flawed) fail(l wire.Lane, err error)  { f.mu.Lock(); defer f.mu.Unlock(); f.errs[l] = err }
func (f *flawed) lose(l wire.Lane, seq uint64) { f.mu.Lock(); defer f.mu.Unlock(); f.lost[l] = seq }

// A flawedPart is a part of it.
type flawedPart struct {
	uplink.Part
	f *flawed
}

func (f *flawed) Parts() (parts []uplink.Part) {
	for _, p := range f.Store.Parts() {
		parts = append(parts, flawedPart{p, f})
	}
	return parts
}

func (p flawedPart) Read(l wire.Lane, from uint64, records, bytes int) ([]spool.Record, error) {
	f := p.f
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.errs[l]; err != nil {
		return nil, err
	}
	recs, err := p.Part.Read(l, from, records, bytes)
	if f.read != nil {
		f.read(l, recs)
	}
	return slices.DeleteFunc(recs, func(r spool.Record) bool { return r.Seq == f.lost[l] }), err
}

// Window passes a lost event as a spool does that found it damaged.
func (p flawedPart) Window() map[wire.Lane]wire.Window {
	f := p.f
	f.mu.Lock()
	defer f.mu.Unlock()
	m := p.Part.Window()
	for l, seq := range f.lost {
		if w := m[l]; seq != 0 && w.Oldest == seq {
			m[l] = wire.Window{Oldest: seq + 1, Next: w.Next}
		}
	}
	return m
}

func bubble(t *testing.T, servers []string, setup func(*testing.T) uplink.Dialer, f func(*rig)) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	synctest.Test(t, func(t *testing.T) {
		dial := setup(t)
		s, err := spool.Open(path, spool.Options{})
		if err != nil {
			t.Fatal(err)
		}
		r := &rig{t: t, s: s, n: map[wire.Lane]int{}, store: &flawed{Store: uplink.Of(s), errs: map[wire.Lane]error{}, lost: map[wire.Lane]uint64{}}}
		r.u, err = uplink.New(uplink.Options{
			Device: "box-01", Boot: s.Boot(), Servers: servers, Key: deviceKey, CentreKey: pub(centreKey),
			Store: r.store, Dial: dial,
			OnCentreTime: func(at time.Time, way time.Duration) { r.times, r.ways = append(r.times, at), append(r.ways, way) },
			OnOther: func(detail string) {
				if err := s.Restart(wire.StartRolledBack, detail); err != nil {
					t.Error(err)
				}
			},
			OnNotice: func(n *wire.Notice) { r.notes = append(r.notes, n) },
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- r.u.Run(ctx) }()
		r.stop = sync.OnceFunc(func() {
			stop()
			if err := <-done; err != nil {
				t.Error(err)
			}
			synctest.Wait() // for the last steps of what has been told to stop
			left := make([]byte, 1<<20)
			if left = left[:runtime.Stack(left, true)]; bytes.Contains(left, []byte("eclipse/paho")) {
				t.Errorf("paho outlives Run:\n%s", left)
			}
		})
		f(r)
		r.stop()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

func (r *rig) append(l wire.Lane, times int) {
	r.t.Helper()
	for range times {
		r.n[l]++
		if _, err := r.s.Append(l, func(s spool.Slot) ([]byte, error) {
			return wire.Seal(&wire.Event{
				Device: "box-01", Stream: s.Stream, Lane: l, Seq: s.Seq, Prev: s.Prev, Boot: s.Boot,
				Body:  &wire.Fault{Code: "test", Detail: fmt.Sprint(r.n[l])},
				Extra: padding(r.pad),
			}, deviceKey)
		}); err != nil {
			r.t.Fatal(err)
		}
	}
}

func padding(n int) wire.Extra {
	if n == 0 {
		return nil
	}
	raw, err := cbor.Marshal(make([]byte, n))
	if err != nil {
		panic(err)
	}
	return wire.Extra{uint64(99): raw}
}

// settled checks that everything has arrived and left the spool.
func (r *rig) settled(c *centre) {
	r.t.Helper()
	synctest.Wait()
	for l, n := range r.s.Depth() {
		if n != 0 {
			r.t.Errorf("lane %v: %d events wait", l, n)
		}
	}
	c.with(func() {
		for l, n := range r.n {
			if got := c.box(r.s.Stream()).upTo[l]; got != uint64(n) {
				r.t.Errorf("lane %v: the centre has %d of %d", l, got, n)
			}
		}
	})
}

var one = []string{"a:1883"}

func inBubble(t *testing.T, hooks []mochi.Hook, f func(*rig, *broker, *centre)) {
	t.Helper()
	var b *broker
	c := newCentre()
	bubble(t, one, func(t *testing.T) uplink.Dialer {
		b = newBroker(t, c, hooks...)
		return b.dial
	}, func(r *rig) {
		f(r, b, c)
		b.set(true, false)
		b.Close()
	})
}

func TestDelivery(t *testing.T) {
	inBubble(t, nil, func(r *rig, _ *broker, c *centre) {
		r.append(wire.Alarm, 3)
		r.append(wire.Track, 200)
		time.Sleep(20 * time.Second)
		r.settled(c)
		if s := r.u.Status(); !s.Connected || !s.Heard || s.LastAck.IsZero() {
			t.Errorf("status %+v", s)
		}
	})
}

func TestAlarmOvertakesABacklog(t *testing.T) {
	inBubble(t, nil, func(r *rig, b *broker, c *centre) {
		b.set(true, false)
		r.append(wire.Track, 300)
		r.append(wire.Duty, 100)
		r.append(wire.Alarm, 1)
		b.set(false, false)
		time.Sleep(3 * time.Minute)
		r.settled(c)
		if c.order[0] != "alarm 1" {
			t.Errorf("first came %q, want the alarm", c.order[0])
		}
		// Track may flow only once the window of duty is full.
		for i := 1; i <= 16; i++ {
			if want := fmt.Sprintf("duty %d", i); c.order[i] != want {
				t.Errorf("place %d: %q, want %q", i, c.order[i], want)
			}
		}
	})
}

// An alarm that comes while a chunk of a backlog is being sent waits for one event
// of it, not for the rest.
func TestAlarmInMidChunk(t *testing.T) {
	inBubble(t, nil, func(r *rig, b *broker, c *centre) {
		b.set(true, false)
		r.append(wire.Track, 100)
		first := uint64(0)
		r.store.mu.Lock()
		r.store.read = func(l wire.Lane, recs []spool.Record) {
			if l == wire.Track && first == 0 && len(recs) >= 4 {
				first = recs[0].Seq
				r.append(wire.Alarm, 1)
			}
		}
		r.store.mu.Unlock()
		b.set(false, false)
		time.Sleep(3 * time.Minute)
		r.settled(c)
		if first == 0 {
			t.Fatal("no chunk of four or more was read")
		}
		track, alarm := slices.Index(c.order, fmt.Sprintf("track %d", first)), slices.Index(c.order, "alarm 1")
		if alarm < 0 || alarm > track+1 {
			t.Errorf("the alarm came %d places after the first event of the chunk: want at the next place at the latest", alarm-track)
		}
	})
}

func TestTenMinutesOfOutage(t *testing.T) {
	inBubble(t, nil, func(r *rig, b *broker, c *centre) {
		time.Sleep(5 * time.Second)
		b.set(true, false)
		for range 600 {
			time.Sleep(time.Second)
			r.append(wire.Track, 1)
		}
		r.append(wire.Alarm, 1)
		if !r.u.Status().Silent {
			t.Error("no fault after ten minutes without the centre")
		}
		if n := b.dialed(); n > 60 {
			t.Errorf("%d dials in ten minutes", n)
		}
		b.set(false, false)
		time.Sleep(2 * time.Minute)
		r.settled(c)
		if r.u.Status().Silent {
			t.Error("the fault stays although the centre answers")
		}
	})
}

func TestBlackHoleIsNoticedAndReplaced(t *testing.T) {
	inBubble(t, nil, func(r *rig, b *broker, c *centre) {
		time.Sleep(time.Minute)
		dials := b.dialed()
		b.set(false, true)
		r.append(wire.Alarm, 1)
		time.Sleep(20 * time.Second)
		if b.dialed() == dials {
			t.Error("no new connection within 20 s of the black hole")
		}
		b.set(false, false)
		time.Sleep(30 * time.Second)
		r.settled(c)
	})
}

// A black hole at any moment, also with nothing to send: another connection is
// tried within 20 s, and where a second server can be reached, an alarm that was
// pressed meanwhile is there within 30 s.
func TestABlackHoleAtAnyMoment(t *testing.T) {
	for at := time.Duration(0); at < 31*time.Second; at += 700 * time.Millisecond {
		var first, second *broker
		c := newCentre()
		bubble(t, []string{"first:1", "second:2"}, func(t *testing.T) uplink.Dialer {
			second = newBroker(t, c)
			first = &broker{Server: second.Server}
			return func(ctx context.Context, a string) (net.Conn, error) {
				if a == "first:1" {
					return first.dial(ctx, a)
				}
				return second.dial(ctx, a)
			}
		}, func(r *rig) {
			time.Sleep(time.Minute + at)
			dials := first.dialed() + second.dialed()
			first.set(false, true)
			if int(at/time.Millisecond)%1400 == 0 {
				time.Sleep(time.Second)
				r.append(wire.Alarm, 1)
			}
			time.Sleep(20 * time.Second)
			if first.dialed()+second.dialed() == dials {
				r.t.Errorf("a hole at %v: no other connection within 20 s", at)
			}
			time.Sleep(10 * time.Second)
			if n := r.s.Depth()[wire.Alarm]; n != 0 {
				r.t.Errorf("a hole at %v: the alarm is not there after 30 s", at)
			}
			first.set(true, false)
			second.set(true, false)
			second.Close()
		})
	}
}

func TestACentreThatNeverAnswers(t *testing.T) {
	inBubble(t, nil, func(r *rig, b *broker, c *centre) {
		c.with(func() { c.answers = false })
		r.append(wire.Alarm, 1)
		time.Sleep(50 * time.Second)
		if r.u.Status().Silent {
			t.Error("a fault before a minute has passed")
		}
		time.Sleep(20 * time.Second)
		if !r.u.Status().Silent || r.s.Depth()[wire.Alarm] != 1 {
			t.Errorf("silent %v, %d alarms wait: want a fault and the alarm kept, PUBACK or not", r.u.Status().Silent, r.s.Depth()[wire.Alarm])
		}
		c.with(func() { c.answers = true })
		time.Sleep(2 * time.Minute)
		r.settled(c)
	})
}

// dropper is a broker that closes the connection in place of a PUBACK.
type dropper struct {
	mochi.HookBase
	mu   sync.Mutex
	left int
}

func (*dropper) ID() string           { return "dropper" }
func (*dropper) Provides(b byte) bool { return b == mochi.OnPublish }
func (d *dropper) OnPublish(cl *mochi.Client, p packets.Packet) (packets.Packet, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if cl.Net.Inline || d.left == 0 {
		return p, nil
	}
	d.left--
	cl.Stop(errors.New("dropped"))
	return p, packets.ErrRejectPacket
}

func TestABrokerThatDropsBeforePuback(t *testing.T) {
	inBubble(t, []mochi.Hook{&dropper{left: 20}}, func(r *rig, _ *broker, c *centre) {
		r.append(wire.Alarm, 5)
		time.Sleep(30 * time.Minute)
		r.settled(c)
	})
}

func TestSecondServer(t *testing.T) {
	var first, second *broker
	c := newCentre()
	bubble(t, []string{"first:1", "second:2"}, func(t *testing.T) uplink.Dialer {
		second = newBroker(t, c)
		first = &broker{Server: second.Server, down: true}
		return func(ctx context.Context, a string) (net.Conn, error) {
			if a == "first:1" {
				return first.dial(ctx, a)
			}
			return second.dial(ctx, a)
		}
	}, func(r *rig) {
		r.append(wire.Alarm, 1)
		time.Sleep(10 * time.Second)
		r.settled(c)
		if s := r.u.Status(); s.Server != "second:2" {
			t.Errorf("on %s, want the second server", s.Server)
		}
		first.set(false, false)
		time.Sleep(6 * time.Minute)
		if s := r.u.Status(); s.Server != "first:1" || !s.Connected {
			t.Errorf("on %q, want the return to the first server", s.Server)
		}
		first.set(true, false)
		second.set(true, false)
		second.Close()
	})
}

func TestForgedAnswersDeleteNothing(t *testing.T) {
	inBubble(t, nil, func(r *rig, br *broker, c *centre) {
		c.with(func() { c.answers = false })
		r.append(wire.Alarm, 1)
		time.Sleep(time.Second)
		c.with(func() {
			b := c.box(r.s.Stream())
			b.upTo[wire.Alarm] = 1
			c.ack("box-01", r.s.Stream(), deviceKey, nil)             // not the centre's key
			c.ack("box-01", wire.StreamID{9}, centreKey, nil)         // another stream
			go br.Publish("fs/v1/box-01/down", []byte("x"), false, 0) // noise
		})
		time.Sleep(time.Second)
		if n := r.s.Depth()[wire.Alarm]; n != 1 {
			t.Errorf("%d alarms wait, want 1", n)
		}
		if n := r.u.Status().Refused; n != 3 {
			t.Errorf("%d refused, want 3", n)
		}
	})
}

func TestNoticesReachTheOwner(t *testing.T) {
	inBubble(t, nil, func(r *rig, _ *broker, c *centre) {
		time.Sleep(time.Second)
		msg, err := wire.SealDown(&wire.Down{Device: "box-01", Body: &wire.Notice{Rev: 2, State: wire.NoticeDispatched, Unit: "car-01"}}, centreKey)
		if err != nil {
			t.Fatal(err)
		}
		c.send("fs/v1/box-01/down", msg)
		time.Sleep(time.Second)
		synctest.Wait()
		if len(r.notes) != 1 || r.notes[0].Unit != "car-01" {
			t.Errorf("got %v", r.notes)
		}
	})
}

// The same against a real broker, over TCP.
func TestMosquitto(t *testing.T) {
	path := "/usr/sbin/mosquitto"
	if _, err := os.Stat(path); err != nil {
		if path, err = exec.LookPath("mosquitto"); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatal("mosquitto is not installed, and CI must test against it")
			}
			t.Skip("mosquitto is not installed: not tested against a real broker")
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_, port, _ := net.SplitHostPort(address)
	l.Close()
	cmd := exec.CommandContext(t.Context(), path, "-p", port)
	cmd.Stdout, cmd.Stderr = io.Discard, io.Discard
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { cmd.Process.Kill(); cmd.Wait() }()

	c := newCentre()
	cl := paho.NewClient(paho.NewClientOptions().AddBroker("tcp://" + address).SetClientID("centre").SetConnectRetry(true).SetConnectRetryInterval(50 * time.Millisecond))
	if tok := cl.Connect(); !tok.WaitTimeout(10*time.Second) || tok.Error() != nil {
		t.Fatalf("mosquitto does not answer: %v", tok.Error())
	}
	defer cl.Disconnect(0)
	c.send = func(topic string, msg []byte) { cl.Publish(topic, 0, false, msg) }
	if tok := cl.Subscribe(wire.UpFilter, 1, func(_ paho.Client, m paho.Message) { c.receive(m.Topic(), m.Payload()) }); !tok.WaitTimeout(5*time.Second) || tok.Error() != nil {
		t.Fatal(tok.Error())
	}
	s, err := spool.Open(filepath.Join(t.TempDir(), "s"), spool.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	acked := make(chan uint64, 1000)
	u, err := uplink.New(uplink.Options{
		Device: "box-01", Boot: 1, Servers: []string{address}, Key: deviceKey, CentreKey: pub(centreKey), Store: uplink.Of(s),
		OnAck: func(_ wire.StreamID, l wire.Lane, upTo uint64) {
			if l == wire.Alarm {
				acked <- upTo
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(t.Context(), 30*time.Second)
	defer stop()
	done := make(chan error)
	go func() { done <- u.Run(ctx) }()
	r := &rig{t: t, s: s, n: map[wire.Lane]int{}}
	r.append(wire.Alarm, 100)
	for n := uint64(0); n < 100; {
		select {
		case n = <-acked:
		case <-ctx.Done():
			t.Fatalf("the centre acknowledged %d of 100", n)
		}
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	for what, n := range c.got {
		if n > 1 {
			t.Logf("%s was delivered %d times", what, n)
		}
	}
	if d := s.Depth()[wire.Alarm]; d != 0 {
		t.Errorf("%d alarms wait", d)
	}
}
