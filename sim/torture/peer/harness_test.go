package peer

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/auth"
	mochipackets "github.com/mochi-mqtt/server/v2/packets"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/fengsui/fengsui/cloud-bridge/ingest"
	"github.com/fengsui/fengsui/cloud-bridge/store"
	"github.com/fengsui/fengsui/firmware/spool"
	"github.com/fengsui/fengsui/firmware/uplink"
	"github.com/fengsui/fengsui/firmware/wire"
	"github.com/fengsui/fengsui/sim/torture"
)

var (
	deviceKey = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, 32))
	centreKey = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{2}, 32))
)

func public(k ed25519.PrivateKey) ed25519.PublicKey { return k.Public().(ed25519.PublicKey) }

// A rig is a device and a centre in a bubble. It must be made in it, from a
// folder that was made outside.
type rig struct {
	t      *testing.T
	spool  *spool.Spool
	up     *uplink.Uplink
	store  *store.Store
	broker *mochi.Server
	proxy  *proxy
	listen func() // starts the centre
	stop   func()

	made  map[wire.Hash]string // every event that Append said is stored
	order []wire.Hash
}

func newRig(t *testing.T, dir string, r *rand.Rand, opt spool.Options) *rig {
	t.Helper()
	g := &rig{t: t, made: make(map[wire.Hash]string)}
	var err error
	if g.spool, err = spool.Open(filepath.Join(dir, "spool.db"), opt); err != nil {
		t.Fatal(err)
	}
	if g.store, err = store.Open(t.Context(), filepath.Join(dir, "centre.db"), nil); err != nil {
		t.Fatal(err)
	}
	reg := store.Registration{ID: "box-01", Kind: store.AlarmBox, Name: "x", Key: public(deviceKey)}
	if err := g.store.Register(t.Context(), reg); err != nil {
		t.Fatal(err)
	}
	g.broker = mochi.New(&mochi.Options{InlineClient: true, Logger: slog.New(slog.DiscardHandler)})
	if err := errors.Join(g.broker.AddHook(new(auth.AllowHook), nil), g.broker.Serve()); err != nil {
		t.Fatal(err)
	}
	in := ingest.New(ingest.Options{
		Store: g.store, Source: source{g.broker}, Key: centreKey, Registry: prometheus.NewRegistry(), Log: slog.New(slog.DiscardHandler),
	})
	g.proxy = &proxy{broker: g.broker, r: r}
	g.up, err = uplink.New(uplink.Options{
		Device: "box-01", Boot: g.spool.Boot(), Servers: []string{"centre:1883"}, Key: deviceKey, CentreKey: public(centreKey),
		Store: uplink.Of(g.spool), Dial: g.proxy.dial,
		OnOther: func(detail string) { t.Errorf("the centre has other events: %s", detail) },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var parts sync.WaitGroup
	g.listen = func() {
		started := make(chan struct{})
		parts.Go(func() {
			if err := in.Run(ctx, func() { close(started) }); err != nil {
				t.Error(err)
			}
		})
		<-started
	}
	parts.Go(func() {
		if err := g.up.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	g.stop = func() {
		cancel()
		g.proxy.set(cut)
		parts.Wait()
		if err := errors.Join(g.broker.Close(), g.spool.Close(), g.store.Shut()); err != nil {
			t.Error(err)
		}
	}
	return g
}

// source is the broker, as ingest sees it.
type source struct{ broker *mochi.Server }

func (s source) Subscribe(handle func(topic string, payload []byte)) error {
	return s.broker.Subscribe(wire.UpFilter, 1, func(_ *mochi.Client, _ mochipackets.Subscription, p mochipackets.Packet) {
		handle(p.TopicName, p.Payload)
	})
}

func (s source) Publish(topic string, payload []byte) error {
	return s.broker.Publish(topic, payload, false, 0)
}
func (s source) Ready() error { return nil }

// append stores an event of a lane.
func (g *rig) append(l wire.Lane, body wire.Body) {
	g.t.Helper()
	var hash wire.Hash
	seq, err := g.spool.Append(l, func(at spool.Slot) ([]byte, error) {
		msg, err := wire.Seal(&wire.Event{
			Device: "box-01", Stream: at.Stream, Lane: l, Seq: at.Seq, Prev: at.Prev, Boot: at.Boot, Mono: time.Duration(len(g.made)) * time.Millisecond, Body: body,
		}, deviceKey)
		hash = wire.HashOf(msg)
		return msg, err
	})
	if err != nil {
		g.t.Fatalf("append: %v", err)
	}
	g.made[hash] = fmt.Sprintf("%v %d", l, seq)
	g.order = append(g.order, hash)
}

func (g *rig) waiting() (n uint64) {
	for _, d := range g.spool.Depth() {
		n += d
	}
	return n
}

// judge compares the centre's rows with what was stored.
func (g *rig) judge(v *torture.Verdict) {
	rows := make(map[wire.Hash]int)
	last := make(map[wire.Lane]uint64)
	for after := int64(0); ; {
		got, err := g.store.Events(g.t.Context(), "box-01", store.EventQuery{After: after})
		if err != nil {
			g.t.Fatal(err)
		}
		for _, r := range got {
			h := wire.HashOf(r.Message)
			if rows[h]++; g.made[h] == "" {
				v.Wrong = append(v.Wrong, fmt.Sprintf("%v %d was never stored at the device", r.Event.Lane, r.Event.Seq))
			}
			last[r.Event.Lane] = max(last[r.Event.Lane], r.Event.Seq)
			after = r.ID
		}
		if len(got) < store.MaxEvents {
			break
		}
	}
	for _, h := range g.order {
		switch n := rows[h]; {
		case n == 0:
			v.Lost = append(v.Lost, g.made[h])
		case n > 1:
			v.Twice = append(v.Twice, fmt.Sprintf("%s: %d rows", g.made[h], n))
		}
	}
}

// A mode is a way of the proxy to behave.
type mode int

const (
	pass    mode = iota
	cut          // no connection
	hole         // nothing is read any more, and nothing said
	swallow      // PUBACKs what comes and passes nothing on
	deny         // as swallow, for events only: what an ACL does that PUBACKs
	drop         // ends the connection at a PUBLISH, before its PUBACK
	late         // passes a PUBLISH on and ends the connection before the PUBACK
	twice        // passes each PUBLISH on twice
	shuffle      // passes PUBLISHes on in another order
	deaf         // loses what the centre says
	torn         // ends the connection within a packet
	garble       // changes a byte now and then
	modes
)

func (m mode) String() string {
	return []string{"pass", "cut", "hole", "swallow", "deny", "drop", "late", "twice", "shuffle", "deaf", "torn", "garble"}[m]
}

// A proxy stands between the device and the broker.
type proxy struct {
	broker *mochi.Server

	mu    sync.Mutex
	r     *rand.Rand
	mode  mode
	dials int
	open  map[net.Conn]bool
}

// set changes the mode; a connection may end with that.
func (p *proxy) set(m mode) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mode = m
	if m == cut {
		for c := range p.open {
			c.Close()
		}
		p.open = nil
	}
}

func (p *proxy) chance(n int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.r.IntN(n) == 0
}

func (p *proxy) now() mode { p.mu.Lock(); defer p.mu.Unlock(); return p.mode }

func (p *proxy) dialled() int { p.mu.Lock(); defer p.mu.Unlock(); return p.dials }

func (p *proxy) dial(context.Context, string) (net.Conn, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dials++
	if p.mode == cut {
		return nil, errors.New("refused")
	}
	device, near := net.Pipe()
	far, broker := net.Pipe()
	if p.open == nil {
		p.open = make(map[net.Conn]bool)
	}
	p.open[near], p.open[far] = true, true
	go p.broker.EstablishConnection("proxy", broker)
	done := func() {
		near.Close()
		far.Close()
		p.mu.Lock()
		delete(p.open, near)
		delete(p.open, far)
		p.mu.Unlock()
	}
	go func() { defer done(); p.uplink(near, far) }()
	go func() { defer done(); p.downlink(far, near) }()
	return turns{device, make(chan struct{}, 1)}, nil
}

// turns lets one writer after the other write. A pipe does so with a mutex, and
// the bubble's clock stands still while anybody waits for a mutex.
type turns struct {
	net.Conn
	turn chan struct{}
}

func (c turns) Write(b []byte) (int, error) {
	c.turn <- struct{}{}
	defer func() { <-c.turn }()
	return c.Conn.Write(b)
}

// uplink carries what the device sends.
func (p *proxy) uplink(from, to net.Conn) {
	var held []packets.ControlPacket
	for {
		for p.now() == hole {
			time.Sleep(time.Second)
			if err := from.SetReadDeadline(time.Time{}); err != nil {
				return
			}
		}
		cp, err := packets.ReadPacket(from)
		if err != nil {
			return
		}
		m := p.now()
		pub, isPublish := cp.(*packets.PublishPacket)
		if !isPublish {
			if m == swallow {
				if _, ping := cp.(*packets.PingreqPacket); ping {
					if packets.NewControlPacket(packets.Pingresp).Write(from) != nil {
						return
					}
					continue
				}
			}
			if cp.Write(to) != nil {
				return
			}
			continue
		}
		hello := bytes.HasSuffix([]byte(pub.TopicName), []byte("/hello"))
		switch {
		case m == swallow, m == deny && !hello:
			ack := packets.NewControlPacket(packets.Puback).(*packets.PubackPacket)
			ack.MessageID = pub.MessageID
			if ack.Write(from) != nil {
				return
			}
			continue
		case m == drop && p.chance(3):
			return
		case m == late && p.chance(3):
			_ = cp.Write(to)
			time.Sleep(10 * time.Millisecond)
			return
		case m == torn && p.chance(3):
			var b bytes.Buffer
			_ = cp.Write(&b)
			_, _ = to.Write(b.Bytes()[:b.Len()/2])
			return
		case m == garble && p.chance(3):
			pub.Payload = bytes.Clone(pub.Payload)
			p.mu.Lock()
			pub.Payload[p.r.IntN(len(pub.Payload))] ^= 1 << p.r.IntN(8)
			p.mu.Unlock()
		case m == twice:
			if cp.Write(to) != nil {
				return
			}
		case m == shuffle:
			held = append(held, cp)
			if len(held) < 5 && !p.chance(4) {
				continue
			}
			p.mu.Lock()
			p.r.Shuffle(len(held), func(i, j int) { held[i], held[j] = held[j], held[i] })
			p.mu.Unlock()
			for _, cp := range held {
				if cp.Write(to) != nil {
					return
				}
			}
			held = nil
			continue
		}
		if cp.Write(to) != nil {
			return
		}
	}
}

// downlink carries what the broker sends.
func (p *proxy) downlink(from, to net.Conn) {
	for {
		cp, err := packets.ReadPacket(from)
		if err != nil {
			return
		}
		_, isPublish := cp.(*packets.PublishPacket)
		switch m := p.now(); {
		case m == hole, m == deaf && isPublish, m == swallow && isPublish:
			continue
		case m == twice && isPublish:
			if cp.Write(to) != nil {
				return
			}
		case m == garble && isPublish && p.chance(3):
			pub := cp.(*packets.PublishPacket)
			pub.Payload = bytes.Clone(pub.Payload)
			pub.Payload[len(pub.Payload)/2] ^= 1
		}
		if err := cp.Write(to); err != nil {
			if !errors.Is(err, io.ErrClosedPipe) {
				return
			}
			return
		}
	}
}
