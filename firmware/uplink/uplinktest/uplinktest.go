// Package uplinktest is a broker for tests: it is in this process and is reached
// over net.Pipe, so that it works inside a bubble of testing/synctest, with a
// link that can be cut. What stands behind it, a centre, is each test's own.
package uplinktest

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"testing"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/auth"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/fengsui/fengsui/firmware/wire"
)

// ErrCut means that the link is cut.
var ErrCut = errors.New("the link is cut")

// A Broker is one. Its link is whole at first.
type Broker struct {
	*mochi.Server

	mu    sync.Mutex
	cut   bool
	conns []net.Conn // the devices' ends
}

// New starts a broker that the hooks guard; without any it lets everybody in.
// The test closes it.
func New(t testing.TB, hooks ...mochi.Hook) *Broker {
	t.Helper()
	if len(hooks) == 0 {
		hooks = []mochi.Hook{new(auth.AllowHook)}
	}
	b := &Broker{Server: mochi.New(&mochi.Options{InlineClient: true, Logger: slog.New(slog.DiscardHandler)})}
	for _, h := range hooks {
		if err := b.AddHook(h, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Serve(); err != nil {
		t.Fatal(err)
	}
	return b
}

// Subscribe calls take for whatever devices publish from now on.
func (b *Broker) Subscribe(take func(topic string, payload []byte)) error {
	return b.Server.Subscribe(wire.UpFilter, 1, func(_ *mochi.Client, _ packets.Subscription, p packets.Packet) { take(p.TopicName, p.Payload) })
}

// Publish publishes at QoS 0. It does not wait, so that take may call it.
func (b *Broker) Publish(topic string, payload []byte) error {
	go b.Server.Publish(topic, payload, false, 0)
	return nil
}

// Ready is nil: with Subscribe and Publish the Broker is a centre's source.
func (*Broker) Ready() error { return nil }

// Dial connects a device; the error is [ErrCut]. It is an uplink's Dialer.
func (b *Broker) Dial(context.Context, string) (net.Conn, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.cut {
		return nil, ErrCut
	}
	near, far := net.Pipe()
	b.conns = append(b.conns, near)
	go func() { _ = b.EstablishConnection("pipe", far) }() // it ends with the connection
	return near, nil
}

// Link cuts the link, with the connections that there are, or restores it.
func (b *Broker) Link(up bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.cut = !up; b.cut {
		for _, c := range b.conns {
			c.Close()
		}
		b.conns = nil
	}
}
