package uplink

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/fengsui/fengsui/firmware/wire"
)

var (
	errLost    = errors.New("connection lost")
	errStalled = errors.New("the centre acknowledges nothing")
	errHome    = errors.New("time to try the first server again")
)

// A lane's part of a connection.
type flight struct {
	next  uint64 // the number to send next
	acked uint64 // the highest number that the centre acknowledged on this connection
}

// A session is one connection to a broker. All of it is touched by Run's
// goroutine only; paho's goroutines hand over through the channels.
type session struct {
	u        *Uplink
	client   mqtt.Client
	conn     net.Conn
	down     chan []byte
	lost     chan error
	lanes    map[wire.Lane]*flight
	progress time.Time // of the last Ack that moved something, or of the connection
	resent   time.Time
}

// connection dials a broker, runs a session on it, and says why that ended.
func (u *Uplink) connection(ctx context.Context, address string, first bool) error {
	s := &session{u: u, down: make(chan []byte, 64), lost: make(chan error, 1), lanes: make(map[wire.Lane]*flight)}
	if err := s.connect(ctx, address); err != nil {
		return err
	}
	defer s.client.Disconnect(0)
	u.change(func(st *Status) { st.Connected, st.Server = true, address })
	u.log.Info("uplink connected", "server", address)
	if err := s.begin(); err != nil {
		return err
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	home := time.NewTimer(homeAfter)
	defer home.Stop()
	for {
		more, err := s.pump()
		if err != nil {
			return err
		}
		var again <-chan time.Time
		if more { // look at the channels, then go on at once
			again = time.After(0)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-s.lost:
			return err
		case msg := <-s.down:
			s.receive(msg)
		case <-u.opt.Store.Changed():
		case <-again:
		case <-home.C:
			if !first {
				return errHome
			}
		case <-tick.C:
			u.checkSilent()
			if err := s.checkProgress(); err != nil {
				return err
			}
		}
	}
}

// connect makes a new paho client, which lives for one connection only.
func (s *session) connect(ctx context.Context, address string) error {
	opt := mqtt.NewClientOptions().
		AddBroker("tcp://" + address).
		SetClientID("fs-" + s.u.opt.Device).
		SetProtocolVersion(4).
		SetCleanSession(true).
		SetAutoReconnect(false).
		SetConnectRetry(false).
		SetConnectTimeout(dialTimeout).
		SetWriteTimeout(writeTimeout).
		SetPingTimeout(writeTimeout).
		SetKeepAlive(keepAlive).
		SetOrderMatters(false).
		SetStore(mqtt.NewMemoryStore()).
		SetConnectionLostHandler(func(_ mqtt.Client, err error) {
			select {
			case s.lost <- fmt.Errorf("%w: %w", errLost, err):
			default:
			}
		}).
		SetCustomOpenConnectionFn(func(*url.URL, mqtt.ClientOptions) (net.Conn, error) {
			dctx, stop := context.WithTimeout(ctx, dialTimeout)
			defer stop()
			conn, err := s.u.opt.Dial(dctx, address)
			if err != nil {
				return nil, err
			}
			// paho waits for CONNACK without a limit of its own; connect lifts this.
			s.conn = conn
			if err := conn.SetReadDeadline(time.Now().Add(dialTimeout)); err != nil {
				return nil, errors.Join(err, conn.Close())
			}
			return conn, nil
		})
	s.client = mqtt.NewClient(opt)
	if err := wait(ctx, s.client.Connect(), 2*dialTimeout); err != nil {
		s.client.Disconnect(0)
		return fmt.Errorf("connect: %w", err)
	}
	if err := s.conn.SetReadDeadline(time.Time{}); err != nil {
		s.client.Disconnect(0)
		return fmt.Errorf("connect: %w", err)
	}
	return nil
}

// wait waits for a paho token, but not for ever.
func wait(ctx context.Context, t mqtt.Token, limit time.Duration) error {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-t.Done():
		return t.Error()
	case <-timer.C:
		return errors.New("no answer")
	case <-ctx.Done():
		return ctx.Err()
	}
}

// begin subscribes, says hello and puts the window at the oldest event.
func (s *session) begin() error {
	o := &s.u.opt
	t := s.client.Subscribe(wire.DownTopic(o.Device), 0, func(_ mqtt.Client, m mqtt.Message) {
		select {
		case s.down <- m.Payload():
		default: // everything on the downlink is repeated
		}
	})
	if err := wait(context.Background(), t, dialTimeout); err != nil {
		return fmt.Errorf("subscribe: %w", err)
	}
	s.progress = time.Now()
	return s.restart()
}

// restart says hello and sends everything from the oldest event on again.
func (s *session) restart() error {
	s.resent = time.Now()
	windows := s.u.opt.Store.Window()
	for l, w := range windows {
		s.lanes[l] = &flight{next: w.Oldest, acked: w.Oldest - 1}
	}
	o := &s.u.opt
	msg, err := wire.SealHello(&wire.Hello{Device: o.Device, Stream: o.Stream, Boot: o.Boot, Firmware: o.Firmware, Window: windows}, o.Key)
	if err != nil {
		return fmt.Errorf("hello: %w", err)
	}
	return s.publish(wire.HelloTopic(o.Device), msg)
}

// publish hands a packet to paho and does not wait for a PUBACK.
func (s *session) publish(topic string, msg []byte) error {
	t := s.client.Publish(topic, 1, false, msg)
	select {
	case <-t.Done():
		if err := t.Error(); err != nil {
			return fmt.Errorf("publish: %w", err)
		}
	default:
	}
	return nil
}

// pump sends one chunk of the most urgent lane that has something to send and
// room in its window. It reports whether there may be more.
func (s *session) pump() (bool, error) {
	windows := s.u.opt.Store.Window()
	for _, l := range wire.Lanes() {
		f, w := s.lanes[l], windows[l]
		f.acked = max(f.acked, w.Oldest-1)
		f.next = max(f.next, w.Oldest)
		room := int(windowRecords - (f.next - 1 - f.acked))
		if f.next >= w.Next || room <= 0 {
			continue
		}
		recs, err := s.u.opt.Store.Read(l, f.next, min(room, chunkRecords), chunkBytes)
		if err != nil {
			return false, fmt.Errorf("read lane %v: %w", l, err)
		}
		if len(recs) == 0 { // the rest of the lane is damaged and was left out
			f.next = w.Next
			continue
		}
		for _, r := range recs {
			if err := s.publish(wire.UpTopic(s.u.opt.Device, l), r.Data); err != nil {
				return false, err
			}
			f.next = r.Seq + 1
		}
		return true, nil
	}
	return false, nil
}

// receive takes a message of the downlink.
func (s *session) receive(msg []byte) {
	u := s.u
	d, err := wire.OpenDown(msg, u.opt.CentreKey, u.opt.Device)
	if err != nil {
		u.change(func(st *Status) { st.Refused++ })
		u.log.Warn("downlink message refused", "err", err)
		return
	}
	switch b := d.Body.(type) {
	case *wire.Ack:
		s.ack(b)
	case *wire.Notice:
		if u.opt.OnNotice != nil {
			u.opt.OnNotice(b)
		}
	default:
		u.log.Info("downlink message of an unknown type ignored", "type", b.DownType())
	}
}

func (s *session) ack(a *wire.Ack) {
	u := s.u
	if a.Stream != u.opt.Stream {
		u.change(func(st *Status) { st.Refused++ })
		u.log.Warn("ack for another stream ignored", "stream", a.Stream)
		return
	}
	before := u.opt.Store.Window()
	for _, l := range wire.Lanes() {
		upTo, ok := a.UpTo[l]
		if !ok {
			continue
		}
		if err := u.opt.Store.Ack(a.Stream, l, upTo); err != nil {
			u.log.Error("ack not taken", "lane", l, "up_to", upTo, "err", err)
			continue
		}
		if u.opt.OnAck != nil {
			u.opt.OnAck(l, upTo)
		}
	}
	moved, waits := false, false
	for l, w := range u.opt.Store.Window() {
		moved = moved || w.Oldest > before[l].Oldest
		waits = waits || w.Oldest < w.Next
	}
	u.change(func(st *Status) { st.Heard, st.LastAck = true, time.Now() })
	if moved || !waits {
		s.progress = time.Now()
		u.progressed()
	}
}

// checkProgress sends again, or gives the connection up, when what is in
// flight is not acknowledged.
func (s *session) checkProgress() error {
	inFlight := false
	for l, w := range s.u.opt.Store.Window() {
		inFlight = inFlight || s.lanes[l].next > w.Oldest
	}
	now := time.Now()
	switch {
	case !inFlight:
		s.progress = now
	case now.Sub(s.progress) >= redialAfter:
		return errStalled
	case now.Sub(s.progress) >= resendAfter && now.Sub(s.resent) >= resendAfter:
		s.u.log.Info("no progress: sending again")
		return s.restart()
	}
	return nil
}
