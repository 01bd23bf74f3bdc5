package doctor

import (
	"context"
	"encoding/hex"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/fengsui/fengsui/firmware/spool"
	"github.com/fengsui/fengsui/firmware/uplink"
	"github.com/fengsui/fengsui/firmware/wire"
)

// A centreLink is the device's way to the centre, as the agent has it, and what
// was heard on it.
type centreLink struct {
	stop  context.CancelFunc
	done  chan struct{}
	since time.Time

	uplink *uplink.Uplink

	mu     sync.Mutex
	heard  bool          // a signed answer has come
	answer time.Duration // from the start to the first
	upTo   map[wire.Lane]uint64
	news   chan struct{} // closed, and made anew, when something changes
}

func (l *centreLink) close() {
	l.stop()
	<-l.done
}

// note changes what was heard, and wakes whoever waits for it.
func (l *centreLink) note(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f()
	close(l.news)
	l.news = make(chan struct{})
}

// wait waits until something is so, or ctx ends.
func (l *centreLink) wait(ctx context.Context, so func() bool) bool {
	for {
		l.mu.Lock()
		is, news := so(), l.news
		l.mu.Unlock()
		if is {
			return true
		}
		select {
		case <-news:
		case <-ctx.Done():
			return false
		}
	}
}

// reach dials one of the centre's addresses.
func (s *session) reach(ctx context.Context, server string) outcome {
	dial := s.Dial
	if dial == nil {
		dial = func(ctx context.Context, address string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", address)
		}
	}
	began := time.Now()
	conn, err := dial(ctx, server)
	if err != nil {
		return failed("server_unreached", err)
	}
	took := time.Since(began)
	if err := conn.Close(); err != nil {
		return failed("server_unreached", err)
	}
	s.near = true
	return found(Pass, "server_reached", "ms", ms(took))
}

// open starts the uplink on the spool.
func (s *session) openLink() error {
	ctx, stop := context.WithCancel(context.Background()) // it lasts for several checks; close ends it
	l := &centreLink{stop: stop, done: make(chan struct{}), since: time.Now(), upTo: make(map[wire.Lane]uint64), news: make(chan struct{})}
	var servers []string
	for _, server := range s.Config.Centre.Servers {
		servers = append(servers, string(server))
	}
	u, err := uplink.New(uplink.Options{
		Device: s.Config.Device, Boot: s.spool.Boot(), Mono: s.clock.Mono, Firmware: s.Version, Servers: servers, Key: s.key,
		CentreKey: []byte(s.Config.Centre.Key), Store: uplink.Of(s.spool), Dial: s.Dial, Log: s.Log,
		OnAck: func(stream wire.StreamID, lane wire.Lane, upTo uint64) {
			if stream == s.spool.Stream() {
				l.note(func() { l.upTo[lane] = max(l.upTo[lane], upTo) })
			}
		},
		OnCentreTime: func(at time.Time, roundTrip time.Duration) {
			now := s.clock.Mono()
			s.clock.FromCentre(at, now-roundTrip, now)
			l.note(func() {
				if !l.heard {
					l.heard, l.answer = true, time.Since(l.since)
				}
			})
		},
	})
	if err != nil {
		stop()
		return err
	}
	l.uplink = u
	s.link = l
	go func() {
		defer close(l.done)
		if err := u.Run(ctx); err != nil && ctx.Err() == nil {
			s.Log.Error("uplink", "err", err)
		}
	}()
	return nil
}

// answered waits for the centre's signed answer to a hello.
func (s *session) answered(ctx context.Context) outcome {
	if s.key == nil || s.spool == nil || !s.near {
		return found(Skip, "not_possible")
	}
	if err := s.openLink(); err != nil {
		return failed("centre_silent", err)
	}
	if !s.link.wait(ctx, func() bool { return s.link.heard }) {
		switch st := s.link.uplink.Status(); {
		case st.Refused > 0:
			return found(Fail, "centre_other", "key", hex.EncodeToString(s.Config.Centre.Key))
		case st.Err != nil: // not even the broker took us
			return failed("centre_refuses", st.Err)
		}
		return found(Fail, "centre_silent", "error", "no signed answer", "key", hexKey(s.key))
	}
	return found(Pass, "centre_answers", "ms", ms(s.link.answer))
}

// heard reports whether the centre has answered on this link.
func (s *session) heard() bool {
	if s.link == nil {
		return false
	}
	s.link.mu.Lock()
	defer s.link.mu.Unlock()
	return s.link.heard
}

// store makes an event durable in the spool, marked as a drill.
func (s *session) store(lane wire.Lane, body wire.Body) (seq uint64, err error) {
	mono, wall := s.clock.Mono(), s.clock.Wall()
	return s.spool.Append(lane, func(at spool.Slot) ([]byte, error) {
		return wire.Seal(&wire.Event{
			Device: s.Config.Device, Stream: at.Stream, Lane: lane, Seq: at.Seq, Prev: at.Prev, Boot: at.Boot,
			Mono: mono, Wall: wall, Drill: true, Body: body,
		}, s.key)
	})
}

// testButton is the button that a test alarm names: no box has one of that name,
// and the desk shows it.
const testButton = "doctor"

// testAlarm sends an alarm that is marked as a drill, waits for the signed
// acknowledgement that names it, and resets it.
func (s *session) testAlarm(ctx context.Context) outcome {
	if !s.heard() {
		return found(Skip, "not_possible")
	}
	kinds := []wire.AlarmKind{wire.Panic}
	for _, b := range s.Config.Buttons {
		kinds = append(kinds, wire.AlarmKind(b.Kind))
	}
	id, began := wire.NewAlarmID(), time.Now()
	seq, err := s.store(wire.Alarm, &wire.AlarmRaised{Alarm: id, Kind: slices.Min(kinds), Silent: true, Button: testButton, Press: 1})
	if err != nil {
		return failed("spool_bad", err)
	}
	stored := time.Since(began)
	acked := s.link.wait(ctx, func() bool { return s.link.upTo[wire.Alarm] >= seq })
	took := time.Since(began)
	if _, err := s.store(wire.Alarm, &wire.AlarmCleared{Alarm: id, By: wire.ClearedByDrillEnd}); err != nil {
		return failed("spool_bad", err)
	}
	if !acked {
		return found(Fail, "alarm_unacknowledged", "alarm", id.String(), "seq", fmt.Sprint(seq))
	}
	return found(Pass, "alarm_acknowledged", "alarm", id.String(), "seq", fmt.Sprint(seq), "stored_ms", ms(stored), "ms", ms(took))
}

// tellCentre stores the report's summary and waits a little for its
// acknowledgement. What is not acknowledged waits in the spool for the agent.
func (s *session) tellCentre(ctx context.Context, body *wire.Commissioned) (stored, acked bool, err error) {
	if s.spool == nil || s.key == nil {
		return false, false, nil
	}
	seq, err := s.store(wire.Duty, body)
	if err != nil || !s.heard() {
		return err == nil, false, err
	}
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	return true, s.link.wait(ctx, func() bool { return s.link.upTo[wire.Duty] >= seq }), nil
}
