package uplink

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/fengsui/fengsui/firmware/spool"
	"github.com/fengsui/fengsui/firmware/wire"
)

var (
	errLost    = errors.New("connection lost")
	errStalled = errors.New("the centre acknowledges nothing")
	errHome    = errors.New("the first server can be reached again")
)

// A session is one connection to a broker. It is touched by Run's goroutine
// only; paho's goroutines hand over through the link's channels.
type session struct {
	u        *Uplink
	link     *link
	lanes    map[wire.Lane]*flight
	progress time.Time // of the last Ack that moved something, or since when something is in flight
}

// connection dials a broker, runs a session on it, and says why that ended.
func (u *Uplink) connection(ctx context.Context, server int) (err error) {
	address := u.opt.Servers[server]
	k, err := dial(ctx, &u.opt, address)
	if err != nil {
		return err
	}
	// A link that is lost or stalled cannot take a DISCONNECT.
	defer func() { k.close(ctx.Err() != nil || errors.Is(err, errHome)) }()
	u.change(func(st *Status) { st.Connected, st.Server, st.Since = true, address, time.Now() })
	u.log.Info("uplink connected", "server", address)
	s := &session{u: u, link: k, lanes: make(map[wire.Lane]*flight), progress: time.Now()}
	for _, l := range wire.Lanes() {
		s.lanes[l] = newFlight(l)
		s.lanes[l].restart(u.opt.Store.Window()[l].Oldest, time.Now())
	}
	if err := s.hello(); err != nil {
		return err
	}
	return s.run(ctx, server)
}

func (s *session) run(ctx context.Context, server int) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	home, stop := s.seekHome(ctx, server)
	defer stop()
	ready := make(chan struct{})
	close(ready)
	for {
		more, err := s.pump()
		if err != nil {
			return err
		}
		again := ready
		if !more {
			again = nil
		}
		select { // what came in goes before what goes out
		case <-ctx.Done():
			return ctx.Err()
		case err := <-s.link.lost:
			return fmt.Errorf("%w: %w", errLost, err)
		case msg := <-s.link.down:
			s.receive(msg)
			continue
		default:
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-s.link.lost:
			return fmt.Errorf("%w: %w", errLost, err)
		case msg := <-s.link.down:
			s.receive(msg)
		case <-s.u.opt.Store.Changed():
		case <-home:
			return errHome
		case <-tick.C:
			s.u.checkSilent()
			if err := s.checkProgress(); err != nil {
				return err
			}
		case <-again:
		}
	}
}

// seekHome tries the first server from time to time while another one serves,
// and sends when it can be reached. A working connection is not given up for
// less. stop waits for the goroutine.
func (s *session) seekHome(ctx context.Context, server int) (home <-chan struct{}, stop func()) {
	if server == 0 {
		return nil, func() {}
	}
	o := &s.u.opt
	found := make(chan struct{}, 1)
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		t := time.NewTicker(homeAfter)
		defer t.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-t.C:
			}
			dctx, done := context.WithTimeout(ctx, dialTimeout)
			conn, err := o.Dial(dctx, o.Servers[0])
			done()
			if err != nil {
				continue
			}
			conn.Close()
			found <- struct{}{}
			return
		}
	})
	return found, func() { cancel(); wg.Wait() }
}

// hello tells the centre what the store holds.
func (s *session) hello() error {
	o := &s.u.opt
	windows := o.Store.Window()
	for l, w := range windows {
		s.lanes[l].told = w.Oldest
	}
	msg, err := wire.SealHello(&wire.Hello{Device: o.Device, Stream: o.Stream, Boot: o.Boot, Firmware: o.Firmware, Window: windows}, o.Key)
	if err != nil {
		return fmt.Errorf("hello: %w", err)
	}
	return s.link.publish(wire.HelloTopic(o.Device), msg)
}

// pump sends one chunk of the most urgent lane that has something to send and
// room in its window. It reports whether there may be more.
func (s *session) pump() (more bool, err error) {
	windows := s.u.opt.Store.Window()
	defer s.count()
	now := time.Now()
	skipped := false
	for _, l := range wire.Lanes() {
		f, w := s.lanes[l], windows[l]
		f.landed(w.Oldest, now)
		skipped = skipped || w.Oldest > f.told
	}
	if skipped { // the store has given something up: only a hello can say so
		if err := s.hello(); err != nil {
			return false, err
		}
	}
	for _, l := range wire.Lanes() {
		f := s.lanes[l]
		records, bytes := f.room()
		if f.next >= windows[l].Next || records <= 0 || now.Before(f.blocked) {
			continue
		}
		recs, err := s.u.opt.Store.Read(l, f.next, min(records, chunkRecords), min(bytes, chunkBytes))
		if err != nil { // the other lanes must not suffer
			s.u.log.Error("uplink cannot read a lane", "lane", l, "err", err)
			f.blocked = now.Add(resendAfter)
			continue
		}
		if len(recs) == 0 { // what is left of the lane is damaged
			f.next = windows[l].Next
			continue
		}
		return true, s.send(f, recs)
	}
	return false, nil
}

// send publishes events, and stops between two of them for an alarm.
func (s *session) send(f *flight, recs []spool.Record) error {
	for _, r := range recs {
		if err := s.link.publish(wire.UpTopic(s.u.opt.Device, f.lane), r.Data); err != nil {
			return err
		}
		now := time.Now()
		if s.inFlight() == 0 {
			s.progress = now
		}
		f.sent(r.Seq, len(r.Data), now)
		s.u.tried(f.lane, now)
		if alarms := s.lanes[wire.Alarm]; f != alarms && alarms.next < s.u.opt.Store.Window()[wire.Alarm].Next {
			return nil
		}
	}
	return nil
}

func (s *session) inFlight() (n int) {
	for _, f := range s.lanes {
		n += len(f.fly)
	}
	return n
}

func (s *session) count() {
	if n := s.inFlight(); n != s.u.Status().InFlight {
		s.u.change(func(st *Status) { st.InFlight = n })
	}
}

// receive takes a message of the downlink.
func (s *session) receive(msg []byte) {
	u := s.u
	d, err := wire.OpenDown(msg, u.opt.CentreKey, u.opt.Device)
	if err != nil {
		u.refuse("downlink message refused", err)
		return
	}
	if u.opt.OnCentreTime != nil && d.CentreTime > 0 {
		u.opt.OnCentreTime(time.UnixMilli(d.CentreTime).UTC())
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
		u.refuse("ack refused", fmt.Errorf("stream %v: want %v", a.Stream, u.opt.Stream))
		return
	}
	before := u.opt.Store.Window()
	for _, l := range wire.Lanes() {
		upTo, ok := a.UpTo[l]
		if !ok {
			continue
		}
		switch err := u.opt.Store.Ack(a.Stream, l, upTo); {
		case errors.Is(err, spool.ErrBeyond):
			u.change(func(st *Status) { st.Twin = true })
			u.refuse("ack refused", err)
			continue
		case err != nil:
			u.log.Error("ack not taken", "lane", l, "up_to", upTo, "err", err)
			continue
		}
		s.lanes[l].told = max(s.lanes[l].told, upTo+1)
		if u.opt.OnAck != nil {
			u.opt.OnAck(l, upTo)
		}
	}
	now := time.Now()
	moved, waits := false, false
	for l, w := range u.opt.Store.Window() {
		moved = moved || w.Oldest > before[l].Oldest
		waits = waits || w.Oldest < w.Next
		s.lanes[l].landed(w.Oldest, now)
	}
	u.change(func(st *Status) { st.Heard, st.LastAck = true, now })
	if moved || !waits {
		s.progress = now
		u.progressed()
	}
}

// checkProgress sends a lane again, or gives the connection up, when what is
// in flight is not acknowledged.
func (s *session) checkProgress() error {
	now := time.Now()
	switch alarms := s.lanes[wire.Alarm]; {
	case s.inFlight() == 0:
		s.progress = now
		return nil
	case now.Sub(s.progress) >= redialAfter, len(alarms.fly) > 0 && now.Sub(alarms.moved) >= redialAfter:
		return errStalled
	}
	windows := s.u.opt.Store.Window()
	again := false
	for l, f := range s.lanes {
		if f.stalled(now) {
			s.u.log.Info("no progress: sending again", "lane", l, "from", windows[l].Oldest)
			f.restart(windows[l].Oldest, now)
			f.resends++
			again = true
		}
	}
	if again {
		return s.hello()
	}
	return nil
}
