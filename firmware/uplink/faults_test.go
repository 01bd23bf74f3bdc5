package uplink_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/fengsui/fengsui/firmware/uplink"
	"github.com/fengsui/fengsui/firmware/wire"
)

// A liar is a broker that PUBACKs and then does something else with what the
// device published.
type liar struct {
	mochi.HookBase
	mu    sync.Mutex
	tells func(p packets.Packet) (packets.Packet, error)
}

func (*liar) ID() string           { return "liar" }
func (*liar) Provides(b byte) bool { return b == mochi.OnPublish }
func (l *liar) OnPublish(cl *mochi.Client, p packets.Packet) (packets.Packet, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if cl.Net.Inline || l.tells == nil {
		return p, nil
	}
	return l.tells(p)
}

func (l *liar) set(f func(p packets.Packet) (packets.Packet, error)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tells = f
}

// One alarm is lost on its way while other lanes flow: it must not wait for
// them to stop.
func TestALostAlarmIsSentAgainWhileTrackFlows(t *testing.T) {
	l := new(liar)
	inBubble(t, []mochi.Hook{l}, func(r *rig, _ *broker, c *centre) {
		time.Sleep(time.Second)
		lost := false
		l.set(func(p packets.Packet) (packets.Packet, error) {
			if p.TopicName == wire.UpTopic("box-01", wire.Alarm) && !lost {
				lost = true
				return p, packets.CodeSuccessIgnore
			}
			return p, nil
		})
		r.append(wire.Alarm, 1)
		for range 10 {
			time.Sleep(time.Second)
			r.append(wire.Track, 1)
		}
		time.Sleep(500 * time.Millisecond)
		r.settled(c)
	})
}

// A lane that an ACL denies is a fault although the others flow, and does not
// stop them.
func TestADeniedLaneIsSilent(t *testing.T) {
	l := new(liar)
	inBubble(t, []mochi.Hook{l}, func(r *rig, _ *broker, c *centre) {
		l.set(func(p packets.Packet) (packets.Packet, error) {
			if p.TopicName == wire.UpTopic("box-01", wire.Duty) {
				return p, packets.CodeSuccessIgnore
			}
			return p, nil
		})
		r.append(wire.Duty, 100)
		for range 90 {
			time.Sleep(time.Second)
			r.append(wire.Track, 1)
		}
		time.Sleep(5 * time.Second)
		if n := r.s.Depth()[wire.Track]; n > 0 {
			t.Errorf("%d tracks wait behind the denied lane", n)
		}
		if !r.u.Status().Silent {
			t.Error("no fault although duty was not acknowledged for 90 s")
		}
		l.set(nil)
		time.Sleep(2 * time.Minute)
		r.settled(c)
		if r.u.Status().Silent {
			t.Error("the fault stays")
		}
	})
}

// An alarm that waits when the link returns after a long outage goes out within
// 30 s, whatever the backoff has come to.
func TestAlarmAfterALongOutage(t *testing.T) {
	for range 5 {
		inBubble(t, nil, func(r *rig, b *broker, c *centre) {
			b.set(true, false)
			time.Sleep(time.Hour)
			r.append(wire.Alarm, 1)
			time.Sleep(time.Second)
			b.set(false, false)
			time.Sleep(29 * time.Second)
			r.settled(c)
			if t.Failed() {
				t.Logf("status %+v, %d dials, centre %+v", r.u.Status(), b.dialed(), c)
			}
		})
	}
}

// A peer that never reads blocks even the CONNECT, one that stops reading
// blocks every write after it. Both are left for the second server within 20 s,
// and Run still ends.
func TestAPeerThatDoesNotRead(t *testing.T) {
	for name, after := range map[string]time.Duration{"never": 0, "no longer": time.Minute} {
		t.Run(name, func(t *testing.T) {
			c := newCentre()
			var b *broker
			stuck := new(atomic.Bool)
			bubble(t, []string{"stuck:1", "good:2"}, func(t *testing.T) uplink.Dialer {
				stuck.Store(after == 0)
				b = newBroker(t, c)
				return func(ctx context.Context, a string) (net.Conn, error) {
					conn, err := b.dial(ctx, a)
					if a == "stuck:1" && err == nil {
						conn = &clogged{Conn: conn, stuck: stuck, closed: make(chan struct{})}
					}
					return conn, err
				}
			}, func(r *rig) {
				time.Sleep(after)
				stuck.Store(true)
				r.append(wire.Alarm, 1)
				time.Sleep(20 * time.Second)
				r.settled(c)
				if s := r.u.Status().Server; s != "good:2" {
					t.Errorf("on %q, want the second server", s)
				}
				// End while the connection to the clogged server blocks.
				b.set(true, false)
				b.set(false, false)
				r.append(wire.Track, 200)
				time.Sleep(2 * time.Second)
				r.stop()
				b.set(true, false)
				b.Close()
			})
		})
	}
}

// Run ends within seconds although a write blocks, and leaves nothing behind.
func TestRunEndsOnADeadLink(t *testing.T) {
	var b *broker
	stuck := new(atomic.Bool)
	bubble(t, one, func(t *testing.T) uplink.Dialer {
		b = newBroker(t, newCentre())
		return func(ctx context.Context, a string) (net.Conn, error) {
			conn, err := b.dial(ctx, a)
			return &clogged{Conn: conn, stuck: stuck, closed: make(chan struct{})}, err
		}
	}, func(r *rig) {
		time.Sleep(time.Second)
		stuck.Store(true)
		r.append(wire.Track, 1)
		time.Sleep(time.Second)
		at := time.Now()
		r.stop()
		if d := time.Since(at); d > 5*time.Second {
			t.Errorf("Run ended after %v, want 5 s at most", d)
		}
		b.set(true, false)
		b.Close()
	})
}

// clogged is a connection whose writes block once it is stuck.
type clogged struct {
	net.Conn
	stuck  *atomic.Bool
	once   sync.Once
	closed chan struct{}

	mu       sync.Mutex
	deadline time.Time
}

func (c *clogged) Write(p []byte) (int, error) {
	if !c.stuck.Load() {
		return c.Conn.Write(p)
	}
	c.mu.Lock()
	d := c.deadline
	c.mu.Unlock()
	var limit <-chan time.Time
	if !d.IsZero() {
		limit = time.After(time.Until(d))
	}
	select {
	case <-limit:
		return 0, os.ErrDeadlineExceeded
	case <-c.closed:
		return 0, net.ErrClosed
	}
}

func (c *clogged) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline = t
	return c.Conn.SetWriteDeadline(t)
}

func (c *clogged) SetDeadline(t time.Time) error {
	return errors.Join(c.SetWriteDeadline(t), c.SetReadDeadline(t))
}

func (c *clogged) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

// Bytes in flight are bounded: on a link of 10 kbit/s an alarm overtakes what
// waits in the spool and is behind a few seconds' worth of track only.
func TestAlarmOnASlowLink(t *testing.T) {
	var b *broker
	c := newCentre()
	bubble(t, one, func(t *testing.T) uplink.Dialer {
		b = newBroker(t, c)
		return func(ctx context.Context, a string) (net.Conn, error) {
			conn, err := b.dial(ctx, a)
			if err != nil {
				return nil, err
			}
			return newSlow(conn, 1250), nil
		}
	}, func(r *rig) {
		r.pad = 500 // a full batch of track
		r.append(wire.Track, 400)
		r.pad = 0
		time.Sleep(time.Minute)
		before := 0
		c.with(func() { before = len(c.order) })
		r.append(wire.Alarm, 1)
		time.Sleep(6 * time.Second)
		c.with(func() {
			if c.got["alarm 1"] == 0 {
				t.Errorf("the alarm is not there after 6 s; %d events were, %d came since", before, len(c.order)-before)
			}
			for what, n := range c.got {
				if n > 2 {
					t.Errorf("%s was sent %d times over the slow link", what, n)
				}
			}
		})
		b.set(true, false)
		b.Close()
	})
}

// slow is a link with a deep buffer, as a modem's: writes return at once, bytes
// leave at a rate.
type slow struct {
	net.Conn
	out  chan []byte
	once sync.Once
	done chan struct{}
}

func newSlow(c net.Conn, bytesPerSecond int) *slow {
	s := &slow{Conn: c, out: make(chan []byte, 10_000), done: make(chan struct{})}
	go func() {
		for {
			select {
			case p := <-s.out:
				select {
				case <-time.After(time.Duration(len(p)) * time.Second / time.Duration(bytesPerSecond)):
				case <-s.done:
					return
				}
				if _, err := s.Conn.Write(p); err != nil {
					return
				}
			case <-s.done:
				return
			}
		}
	}()
	return s
}

func (s *slow) Write(p []byte) (int, error) {
	select {
	case <-s.done:
		return 0, net.ErrClosed
	case s.out <- append([]byte(nil), p...):
		return len(p), nil
	}
}

func (s *slow) SetWriteDeadline(time.Time) error { return nil }
func (s *slow) SetDeadline(t time.Time) error    { return s.Conn.SetReadDeadline(t) }
func (s *slow) Close() error {
	s.once.Do(func() { close(s.done) })
	return s.Conn.Close()
}

// A broker that delivers twice, late and out of order: everything arrives once
// each is put in its place, and leaves the spool.
func TestABrokerThatRepeatsAndReorders(t *testing.T) {
	l := new(liar)
	inBubble(t, []mochi.Hook{l}, func(r *rig, b *broker, c *centre) {
		var held []packets.Packet
		l.set(func(p packets.Packet) (packets.Packet, error) {
			if _, kind, _ := wire.ParseUpTopic(p.TopicName); kind == wire.HelloKind {
				return p, nil
			}
			if held = append(held, p); len(held) < 7 {
				return p, packets.CodeSuccessIgnore
			}
			out := held
			held = nil
			go func() {
				for i := len(out) - 1; i >= 0; i-- {
					time.Sleep(50 * time.Millisecond)
					for range 2 {
						b.Publish(out[i].TopicName, out[i].Payload, false, 1)
					}
				}
			}()
			return p, packets.CodeSuccessIgnore
		})
		r.append(wire.Alarm, 20)
		r.append(wire.Duty, 30)
		r.append(wire.Track, 60)
		time.Sleep(30 * time.Minute)
		l.set(nil)
		time.Sleep(5 * time.Minute)
		r.settled(c)
	})
}

// A broker that PUBACKs and discards everything for an hour is a fault, costs
// nothing, and is left in peace between attempts.
func TestABrokerThatDiscards(t *testing.T) {
	l := new(liar)
	inBubble(t, []mochi.Hook{l}, func(r *rig, b *broker, c *centre) {
		l.set(func(p packets.Packet) (packets.Packet, error) { return p, packets.CodeSuccessIgnore })
		r.append(wire.Alarm, 3)
		r.append(wire.Track, 50)
		time.Sleep(time.Hour)
		if n := b.dialed(); n > 400 {
			t.Errorf("%d connections in an hour", n)
		}
		if !r.u.Status().Silent || r.s.Depth()[wire.Alarm] != 3 {
			t.Errorf("%+v, %v wait: want a fault and everything kept", r.u.Status(), r.s.Depth())
		}
		l.set(nil)
		time.Sleep(time.Minute)
		r.settled(c)
	})
}

// The centre holds events that this spool never made: nothing may be deleted
// on that word. The stream is ended; what waits in it arrives beside the other
// events of its numbers, and what is made from now on under numbers of its own.
func TestASpoolThatWasRolledBack(t *testing.T) {
	inBubble(t, nil, func(r *rig, _ *broker, c *centre) {
		was := r.s.Stream()
		c.with(func() {
			c.answers = false
			b := c.box(was)
			for seq := range uint64(50) {
				b.have[wire.Alarm][seq+1] = wire.Hash{1, byte(seq)}
			}
			b.settle()
		})
		r.append(wire.Alarm, 2)
		time.Sleep(time.Second)
		if n := r.s.Depth()[wire.Alarm]; n != 2 {
			t.Errorf("%d alarms wait, want 2", n)
		}
		c.with(func() { c.answers = true })
		time.Sleep(20 * time.Second)
		r.append(wire.Alarm, 1)
		time.Sleep(20 * time.Second)
		if r.s.Stream() == was || r.s.Depth()[wire.Alarm] != 0 || r.u.Status().Silent {
			t.Errorf("stream %v after %v, %v wait, %+v: want another one and nothing left", r.s.Stream(), was, r.s.Depth(), r.u.Status())
		}
		c.with(func() {
			for n := 1; n <= 3; n++ {
				if c.got[fmt.Sprintf("alarm %d", n)] == 0 {
					t.Errorf("alarm %d has not come", n)
				}
			}
			if got := c.box(r.s.Stream()).upTo[wire.Alarm]; got != 1 {
				t.Errorf("%d alarms of the new stream, want 1", got)
			}
		})
	})
}

// The heartbeat: a hello each half minute, each younger than the one before.
func TestHelloBeats(t *testing.T) {
	inBubble(t, nil, func(r *rig, _ *broker, c *centre) {
		time.Sleep(5*time.Minute + time.Second)
		c.with(func() {
			if n := len(c.hellos); n != 11 {
				t.Errorf("%d hellos in five minutes, want 11", n)
			}
			for i, h := range c.hellos {
				if want := uint64(i * 30_000); h.MonoMs < want || h.MonoMs > want+1000 {
					t.Errorf("hello %d at %d ms, want %d", i, h.MonoMs, want)
				}
			}
		})
	})
}

// A damaged event in the middle of a lane is passed over: the hello tells the
// centre that it will never come.
func TestADamagedEventIsPassedOver(t *testing.T) {
	c := newCentre()
	var b *broker
	bubble(t, one, func(t *testing.T) uplink.Dialer {
		b = newBroker(t, c)
		b.set(true, false)
		return b.dial
	}, func(r *rig) {
		r.append(wire.Alarm, 9)
		r.store.lose(wire.Alarm, 4)
		b.set(false, false)
		time.Sleep(time.Minute)
		r.settled(c)
		c.with(func() {
			if c.got["alarm 4"] != 0 || c.got["alarm 9"] == 0 {
				t.Errorf("got %v", c.got)
			}
		})
		b.set(true, false)
		b.Close()
	})
}

// A lane that cannot be read does not stop the others.
func TestAnUnreadableLane(t *testing.T) {
	inBubble(t, nil, func(r *rig, _ *broker, c *centre) {
		r.store.fail(wire.Duty, errors.New("bad page"))
		r.append(wire.Duty, 3)
		r.append(wire.Alarm, 3)
		r.append(wire.Track, 3)
		time.Sleep(30 * time.Second)
		if d := r.s.Depth(); d[wire.Alarm] != 0 || d[wire.Track] != 0 || d[wire.Duty] != 3 {
			t.Errorf("%v wait, want only duty", d)
		}
		r.store.fail(wire.Duty, nil)
		time.Sleep(10 * time.Second)
		r.settled(c)
	})
}
