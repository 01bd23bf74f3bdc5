// Package group is how the boxes of one group hear each other on the local
// network, without the centre: UDP datagrams to a multicast address, and to
// single addresses where multicast is not passed on, each with one signed
// [wire.GroupAlarm].
//
// A [Guard] believes a packet only from a member that the configuration names,
// by its key, and only once: it is past everything that was heard of its sender
// before, whatever the clocks say. Nothing that is heard is passed on, so that
// no storm can come of it. The package sounds nothing and stores nothing.
package group

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/fengsui/fengsui/firmware/wire"
)

// Errors of a packet. What package wire says of one is passed on.
var (
	ErrBusy   = errors.New("too many packets")          // it was not looked at
	ErrGroup  = errors.New("a packet of another group") //
	ErrReplay = errors.New("a packet that was heard")   // it, or a later one of its sender
	ErrOld    = errors.New("a packet of long ago")      // by the press's age, or by two clocks that are known
	errOwn    = errors.New("a packet of this device")   //
)

// The Guard's bounds.
const (
	// oldest is how long after a press another box may begin to sound.
	oldest = 10 * time.Minute
	// apart is how far two known clocks may be apart, beyond what both admit.
	apart = 5 * time.Minute
	// Packets that are verified: so many at once, and so many a second.
	burst, rate = 64, 32
	keptStreams = 8 // of a member that went before its current one
	keptAlarms  = 16
)

// A Mark is what was heard of a member. Kept over a restart, it keeps what was
// recorded before from being believed after.
type Mark struct {
	Stream wire.StreamID   `json:"stream"`
	Boot   uint64          `json:"boot"`
	N      uint64          `json:"n"`
	Past   []wire.StreamID `json:"past,omitempty"` // streams before; the newest last
	Alarms []Heard         `json:"alarms,omitempty"`
}

// Heard is an alarm that was heard, and up to which press.
type Heard struct {
	Alarm wire.AlarmID `json:"alarm"`
	Press uint64       `json:"press"`
}

// A Guard decides which packets are believed. It is not safe for concurrent use.
type Guard struct {
	Device  string
	Group   string
	Members map[string]ed25519.PublicKey
	Now     func() time.Duration // monotonic
	Wall    func() wire.Wall
	Marks   map[string]*Mark // by member

	tokens float64
	filled time.Duration
}

// Accept returns what a packet says, if it is to be believed, and whether the
// alarm, or the press, is new. The error wraps one of those above, or of package
// wire.
func (g *Guard) Accept(msg []byte) (p *wire.GroupAlarm, fresh bool, err error) {
	now := g.Now()
	if g.filled == 0 {
		g.tokens = burst
	}
	g.tokens = min(burst, g.tokens+(now-g.filled).Seconds()*rate)
	g.filled = max(now, 1)
	if g.tokens < 1 {
		return nil, false, ErrBusy
	}
	own := false
	p, err = wire.OpenGroup(msg, func(device string) ed25519.PublicKey {
		own = device == g.Device
		if key := g.Members[device]; key != nil {
			g.tokens-- // a verification, which a stranger's packet does not cost
			return key
		}
		return nil
	})
	switch {
	case own:
		return nil, false, errOwn // multicast comes back
	case err != nil:
		return nil, false, err
	case p.Group != g.Group:
		return nil, false, fmt.Errorf("%w: %q", ErrGroup, p.Group)
	}
	m := g.Marks[p.Device]
	if m == nil {
		m = new(Mark)
	}
	next, err := m.past(p)
	if err != nil {
		return nil, false, err
	}
	if p.On && time.Duration(p.AgeMs)*time.Millisecond > oldest {
		return nil, false, fmt.Errorf("%w: the press was %d s ago", ErrOld, p.AgeMs/1000)
	}
	if err := g.clocks(p); err != nil {
		return nil, false, err
	}
	fresh = next.hear(p)
	if g.Marks == nil {
		g.Marks = make(map[string]*Mark)
	}
	g.Marks[p.Device] = next
	return p, fresh, nil
}

// Note notes that an alarm of a member was heard of another way: its first press
// is not new when the member tells of it, too. Who is no member is not noted.
func (g *Guard) Note(device string, alarm wire.AlarmID) {
	if g.Members[device] == nil {
		return
	}
	m := g.Marks[device]
	if m == nil {
		m = new(Mark)
		if g.Marks == nil {
			g.Marks = make(map[string]*Mark)
		}
		g.Marks[device] = m
	}
	m.hear(&wire.GroupAlarm{Alarm: alarm, Press: 1})
}

// past returns the mark after a packet, unless it is not past the one before.
func (m *Mark) past(p *wire.GroupAlarm) (*Mark, error) {
	next := *m
	next.Past, next.Alarms = slices.Clone(m.Past), slices.Clone(m.Alarms)
	switch {
	case p.Stream == m.Stream && m.Boot != 0:
		if p.Boot < m.Boot || p.Boot == m.Boot && p.N <= m.N {
			return nil, fmt.Errorf("%w: boot %d, number %d after %d, %d", ErrReplay, p.Boot, p.N, m.Boot, m.N)
		}
	case slices.Contains(m.Past, p.Stream):
		return nil, fmt.Errorf("%w: of the former stream %s", ErrReplay, p.Stream)
	case m.Boot != 0:
		next.Past = append(next.Past, m.Stream)
		next.Past = next.Past[max(0, len(next.Past)-keptStreams):]
	}
	next.Stream, next.Boot, next.N = p.Stream, p.Boot, p.N
	return &next, nil
}

// hear notes an alarm and reports whether it, or its press, is new.
func (m *Mark) hear(p *wire.GroupAlarm) (fresh bool) {
	i := slices.IndexFunc(m.Alarms, func(h Heard) bool { return h.Alarm == p.Alarm })
	switch {
	case i >= 0 && p.Press <= m.Alarms[i].Press:
		return false
	case i >= 0:
		m.Alarms[i].Press = p.Press
	default:
		m.Alarms = append(m.Alarms, Heard{p.Alarm, p.Press})
		m.Alarms = m.Alarms[max(0, len(m.Alarms)-keptAlarms):]
	}
	return true
}

// clocks refuses what was sent at another time than now, where both sides know
// the time. A clock that nothing vouches for is not asked.
func (g *Guard) clocks(p *wire.GroupAlarm) error {
	theirs, ours := p.Sent(), g.Wall()
	known := func(w wire.Wall) bool {
		return w.Source == wire.WallGNSS || w.Source == wire.WallNTP || w.Source == wire.WallCentre
	}
	if !known(theirs) || !known(ours) {
		return nil
	}
	off := time.Duration(ours.UnixMilli-theirs.UnixMilli) * time.Millisecond
	if off.Abs() > apart+ours.Uncertainty+theirs.Uncertainty {
		return fmt.Errorf("%w: sent %v ago", ErrOld, off)
	}
	return nil
}
