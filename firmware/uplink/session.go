package uplink

import (
	"context"
	"errors"
	"fmt"
	"slices"
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
	flights  map[place]*flight
	progress time.Time // of the last Ack that moved something, or since when something is in flight
	greeted  time.Time // when the newest hello was sent
	echo     wire.Echo // of the newest hello of the current stream
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
	u.change(func(st *Status) { st.Connected, st.Server, st.Since, st.Err = true, address, time.Now(), nil })
	u.log.Info("uplink connected", "server", address)
	s := &session{u: u, link: k, flights: make(map[place]*flight), progress: time.Now()}
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
			if time.Since(s.greeted) >= helloEvery {
				if err := s.hello(); err != nil {
					return err
				}
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

// A part is a Part at a moment, with its flights.
type part struct {
	Part
	stream  wire.StreamID
	windows map[wire.Lane]wire.Window
	flights map[wire.Lane]*flight
	fresh   bool // the centre has had no hello of it on this connection
	current bool // it is appended to
}

// parts returns what waits now, and forgets the flights of streams that are
// done with.
func (s *session) parts() []part {
	var ps []part
	flights := make(map[place]*flight)
	for _, p := range s.u.opt.Store.Parts() {
		pt := part{Part: p, stream: p.Stream(), windows: p.Window(), flights: make(map[wire.Lane]*flight)}
		for _, l := range wire.Lanes() {
			at := place{pt.stream, l}
			f := s.flights[at]
			if f == nil {
				f, pt.fresh = newFlight(at), true
				f.restart(pt.windows[l].Oldest, time.Now())
			}
			flights[at], pt.flights[l] = f, f
		}
		ps = append(ps, pt)
	}
	ps[len(ps)-1].current = true
	s.flights = flights
	return ps
}

// hello tells the centre what the store holds: it is the heartbeat, too.
func (s *session) hello() error {
	for _, p := range s.parts() {
		if err := s.greet(p); err != nil {
			return err
		}
	}
	s.greeted = time.Now()
	return nil
}

// greet says one hello: of one stream.
func (s *session) greet(p part) error {
	o := &s.u.opt
	for l, w := range p.windows {
		p.flights[l].told = w.Oldest
	}
	h := &wire.Hello{
		Device: o.Device, Stream: p.stream, Boot: o.Boot, Firmware: o.Firmware, Window: p.windows,
	}
	if p.current { // what waits of a former stream is no sign of life
		h.MonoMs = uint64(o.Mono().Milliseconds())
	}
	msg, err := wire.SealHello(h, o.Key)
	if err != nil {
		return fmt.Errorf("hello: %w", err)
	}
	if p.current {
		s.echo = wire.Echo{Boot: h.Boot, MonoMs: h.MonoMs}
	}
	return s.link.publish(wire.HelloTopic(o.Device), msg)
}

// pump sends one chunk of the most urgent lane that has something to send and
// room in its window. It reports whether there may be more.
func (s *session) pump() (more bool, err error) {
	parts := s.parts()
	defer s.count()
	now := time.Now()
	for _, p := range parts {
		tell := p.fresh
		for l, f := range p.flights {
			f.landed(p.windows[l].Oldest, now)
			tell = tell || p.windows[l].Oldest > f.told // the store has given something up: only a hello can say so
		}
		if tell {
			if err := s.greet(p); err != nil {
				return false, err
			}
		}
	}
	for _, l := range wire.Lanes() {
		for _, p := range parts {
			f, w := p.flights[l], p.windows[l]
			records, bytes := f.room()
			if f.next >= w.Next || records <= 0 || now.Before(f.blocked) {
				continue
			}
			recs, err := p.Read(l, f.next, min(records, chunkRecords), min(bytes, chunkBytes))
			if err != nil { // the other lanes must not suffer
				s.u.log.Error("uplink cannot read a lane", "lane", l, "err", err)
				f.blocked = now.Add(resendAfter)
				continue
			}
			if len(recs) == 0 { // what is left of the lane is damaged
				f.next = w.Next
				continue
			}
			return true, s.send(f, recs)
		}
	}
	return false, nil
}

// send publishes events, and stops between two of them for an alarm.
func (s *session) send(f *flight, recs []spool.Record) error {
	for _, r := range recs {
		if err := s.link.publish(wire.UpTopic(s.u.opt.Device, f.at.lane), r.Data); err != nil {
			return err
		}
		now := time.Now()
		if s.inFlight() == 0 {
			s.progress = now
		}
		f.sent(r, now)
		s.u.tried(f.at, now)
		if f.at.lane != wire.Alarm && s.alarmToSend() {
			return nil
		}
	}
	return nil
}

// alarmToSend reports whether an alarm has come that was not sent.
func (s *session) alarmToSend() bool {
	for _, p := range s.u.opt.Store.Parts() {
		if f := s.flights[place{p.Stream(), wire.Alarm}]; f == nil || f.next < p.Window()[wire.Alarm].Next {
			return true
		}
	}
	return false
}

func (s *session) inFlight() (n int) {
	for _, f := range s.flights {
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
	switch b := d.Body.(type) {
	case *wire.Ack:
		if u.opt.OnCentreTime != nil && d.CentreTime > 0 && b.Echo != nil && *b.Echo == s.echo {
			sent := time.Duration(s.echo.MonoMs) * time.Millisecond
			u.opt.OnCentreTime(time.UnixMilli(d.CentreTime).UTC(), u.opt.Mono()-sent)
		}
		s.ack(b)
	case *wire.Notice:
		if u.opt.OnNotice != nil {
			u.opt.OnNotice(b)
		}
	case *wire.Sound:
		if u.opt.OnSound != nil {
			u.opt.OnSound(b, d.Left(b.Until))
		}
	case *wire.Mode:
		if u.opt.OnMode != nil {
			u.opt.OnMode(b, d.Left(b.Until))
		}
	case *wire.Assignment:
		if u.opt.OnAssignment != nil {
			u.opt.OnAssignment(b)
		}
	default:
		u.log.Info("downlink message of an unknown type ignored", "type", b.DownType())
	}
}

func (s *session) ack(a *wire.Ack) {
	u := s.u
	parts := s.parts()
	n := slices.IndexFunc(parts, func(p part) bool { return p.stream == a.Stream })
	if n < 0 { // perhaps of a former stream that is done with
		u.refuse("ack refused", fmt.Errorf("stream %v: want one that waits", a.Stream))
		return
	}
	p := parts[n]
	for _, l := range wire.Lanes() {
		s.keep(p, l, a.Kept)
		upTo, ok := a.UpTo[l]
		if !ok {
			continue
		}
		var hash *wire.Hash
		if h, ok := a.Hash[l]; ok {
			hash = &h
		}
		switch err := p.Ack(l, upTo, hash); {
		case errors.Is(err, spool.ErrOther):
			if n == len(parts)-1 {
				u.refuse("ack refused", err)
				if u.opt.OnOther != nil {
					u.opt.OnOther(err.Error())
				}
			}
			continue
		case err != nil:
			u.log.Error("ack not taken", "lane", l, "up_to", upTo, "err", err)
			continue
		}
		p.flights[l].told = max(p.flights[l].told, upTo+1)
		if u.opt.OnAck != nil {
			u.opt.OnAck(a.Stream, l, upTo)
		}
	}
	now := time.Now()
	moved, waits := false, false
	for l, w := range p.Window() {
		moved = moved || w.Oldest > p.windows[l].Oldest
		p.flights[l].landed(w.Oldest, now)
	}
	for _, q := range u.opt.Store.Parts() {
		for _, w := range q.Window() {
			waits = waits || w.Oldest < w.Next
		}
	}
	if !u.Status().Heard {
		u.log.Info("the centre answers", "server", u.Status().Server)
	}
	u.change(func(st *Status) { st.Heard, st.LastAck = true, now })
	if moved || !waits {
		s.progress = now
		u.progressed()
	}
}

// keep notes which events in flight the centre keeps, by their hashes.
func (s *session) keep(p part, l wire.Lane, kept []wire.Hash) {
	if len(kept) == 0 {
		return
	}
	for _, e := range p.flights[l].fly {
		if slices.Contains(kept, e.hash) {
			p.Kept(l, e.seq)
		}
	}
}

// checkProgress sends a lane again, or gives the connection up, when what is
// in flight is not acknowledged.
func (s *session) checkProgress() error {
	now := time.Now()
	if s.inFlight() == 0 {
		s.progress = now
		return nil
	}
	again := false
	for _, p := range s.parts() {
		if alarms := p.flights[wire.Alarm]; len(alarms.fly) > 0 && now.Sub(alarms.moved) >= redialAfter {
			return errStalled
		}
		for l, f := range p.flights {
			if f.stalled(now) {
				s.u.log.Info("no progress: sending again", "lane", l, "from", p.windows[l].Oldest)
				f.restart(p.windows[l].Oldest, now)
				f.resends++
				again = true
			}
		}
	}
	if now.Sub(s.progress) >= redialAfter {
		return errStalled
	}
	if again {
		return s.hello()
	}
	return nil
}
