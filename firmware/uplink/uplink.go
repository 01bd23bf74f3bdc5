// Package uplink carries a spool's events to the centre over MQTT 3.1.1, and
// the centre's answers back.
//
// The spool is the only buffer: a bounded window of each lane is in flight,
// and an event leaves the spool only when a signed Ack from the centre covers
// it. A PUBACK means nothing here, and a paho token neither. The alarm lane
// always goes first. The connection loop is this package's own, with full
// jitter, because paho's dials at a fixed interval and brings a whole fleet
// back in step.
//
// The package makes no events and lights no lamps; it tells its owner of
// notices and progress through callbacks.
package uplink

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync/atomic"
	"time"

	"github.com/fengsui/fengsui/firmware/spool"
	"github.com/fengsui/fengsui/firmware/wire"
)

// A Store is where events wait.
type Store interface {
	// Parts returns the streams of which something waits, the oldest first, and
	// last the one that is appended to.
	Parts() []Part
	// Changed receives after an event was stored.
	Changed() <-chan struct{}
}

// A Part is the events of one stream. Its methods are those of [spool.Part].
type Part interface {
	Stream() wire.StreamID
	// Read returns events of a lane from a number on, in order.
	Read(l wire.Lane, from uint64, records, bytes int) ([]spool.Record, error)
	// Ack notes that the centre has a lane up to a number, and the hash of its
	// event of that number, if it has one. It is idempotent. The error wraps
	// [spool.ErrOther] when the store has another event there.
	Ack(l wire.Lane, upTo uint64, hash *wire.Hash) error
	// Kept notes that the centre keeps an event, though no Ack may ever cover it.
	Kept(l wire.Lane, seq uint64)
	// Window returns what waits in each lane.
	Window() map[wire.Lane]wire.Window
}

// Of returns a spool as a Store.
func Of(s *spool.Spool) Store { return store{s} }

type store struct{ *spool.Spool }

func (s store) Parts() (parts []Part) {
	for _, p := range s.Spool.Parts() {
		parts = append(parts, p)
	}
	return parts
}

// A Dialer reaches a broker at host:port.
type Dialer func(ctx context.Context, address string) (net.Conn, error)

// Options describe a device's uplink.
type Options struct {
	Device    string
	Boot      uint64
	Mono      func() time.Duration // since the start of the boot; nil: since New
	Firmware  string
	Servers   []string // host:port, tried in order
	Key       ed25519.PrivateKey
	CentreKey ed25519.PublicKey
	Store     Store
	Dial      Dialer       // nil: TCP
	Log       *slog.Logger // nil: discarded

	// The callbacks run on the uplink's goroutine and must not block for long;
	// each may be nil.
	OnNotice func(*wire.Notice)
	// OnSound and OnMode get what is left of the time that the message names.
	OnSound      func(b *wire.Sound, left time.Duration)
	OnMode       func(b *wire.Mode, left time.Duration)
	OnAssignment func(*wire.Assignment)
	OnAck        func(stream wire.StreamID, l wire.Lane, upTo uint64)
	// OnSilent reports that for a minute the centre has acknowledged nothing
	// although something waits, or nothing of a lane that was sent; and when it
	// does again.
	OnSilent func(bool)
	// OnCentreTime reports the centre's clock at its answer to a hello of this
	// connection, and how long ago that hello was sent.
	OnCentreTime func(at time.Time, roundTrip time.Duration)
	// OnOther reports that the centre holds other events of the current stream
	// than the store does: the store went back in time, or this device has a twin.
	// It is reported for each such Ack, until the store has begun another stream.
	OnOther func(detail string)
}

// The uplink's times and bounds. They are constants, not options: a device in
// the field has no reason for others, and tests run in a bubble of fake time.
const (
	dialTimeout    = 5 * time.Second
	connectTimeout = 8 * time.Second  // with CONNACK, from the start of the dial
	writeTimeout   = 5 * time.Second  // of a packet: a black-holed link shows so
	keepAlive      = 10 * time.Second // between packets (MQTT 3.1.1, section 3.1.2.10)
	helloEvery     = 30 * time.Second // the heartbeat
	resendAfter    = 5 * time.Second  // without progress of a lane: hello, and its events again
	redialAfter    = 15 * time.Second // without progress at all, or of alarms: another connection
	silentAfter    = 60 * time.Second // without progress: a fault that people see
	backoffFirst   = time.Second
	backoffLimit   = 60 * time.Second
	alarmLimit     = 8 * time.Second // of the backoff while an alarm waits
	homeAfter      = 5 * time.Minute // on another server: see whether the first is back
	chunkRecords   = 8               // read at once, before more urgent lanes are looked at again
	chunkBytes     = 4 << 10
)

// A Status is a snapshot of the uplink.
type Status struct {
	Connected bool      // a broker accepted us; says nothing of the centre
	Since     time.Time // when it did
	Server    string    // the broker's address
	Heard     bool      // the centre has answered on this connection
	LastAck   time.Time // of the centre; zero: never since the start
	InFlight  int       // events sent and not acknowledged
	Silent    bool      // see Options.OnSilent
	Refused   uint64    // downlink messages that were not the centre's word to us
	Err       error     // why the last connection did not come about, or ended; nil while one stands
}

// A wait is how long a lane has waited for the centre.
type wait struct {
	oldest uint64
	since  time.Time // when oldest changed, or the lane was first sent
	tried  bool      // something of it was sent
}

// An Uplink is one device's connection. Make it with New.
type Uplink struct {
	opt    Options
	log    *slog.Logger
	status atomic.Pointer[Status]

	// Only touched by Run's goroutine.
	waiting  time.Time       // since when something waits without progress; zero: nothing waits
	waits    map[place]*wait // of what waits
	failures int             // rounds through the servers since the last Ack
}

// A place is a lane of a stream.
type place struct {
	stream wire.StreamID
	lane   wire.Lane
}

// New returns an uplink that does nothing until Run.
func New(opt Options) (*Uplink, error) {
	if err := wire.ValidDevice(opt.Device); err != nil {
		return nil, fmt.Errorf("uplink: %w", err)
	}
	switch {
	case len(opt.Servers) == 0:
		return nil, errors.New("uplink: no server: want one or more of host:port")
	case len(opt.Key) != ed25519.PrivateKeySize:
		return nil, fmt.Errorf("uplink: the device's key has %d bytes: want %d", len(opt.Key), ed25519.PrivateKeySize)
	case len(opt.CentreKey) != ed25519.PublicKeySize:
		return nil, fmt.Errorf("uplink: the centre's key has %d bytes: want %d", len(opt.CentreKey), ed25519.PublicKeySize)
	case opt.Store == nil:
		return nil, errors.New("uplink: no store: want one")
	}
	for _, address := range opt.Servers {
		if _, _, err := net.SplitHostPort(address); err != nil {
			return nil, fmt.Errorf("uplink: server %q: want host:port: %w", address, err)
		}
	}
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	if opt.Dial == nil {
		opt.Dial = func(ctx context.Context, address string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", address)
		}
	}
	if opt.Mono == nil {
		start := time.Now()
		opt.Mono = func() time.Duration { return time.Since(start) }
	}
	u := &Uplink{opt: opt, log: opt.Log, waits: make(map[place]*wait)}
	u.status.Store(&Status{})
	return u, nil
}

// Status returns a snapshot; any goroutine may ask.
func (u *Uplink) Status() Status { return *u.status.Load() }

func (u *Uplink) change(f func(*Status)) {
	s := u.Status()
	f(&s)
	u.status.Store(&s)
}

// refuse counts a downlink message that is not the centre's word to us.
func (u *Uplink) refuse(what string, err error) {
	u.change(func(s *Status) { s.Refused++ })
	u.log.Warn(what, "err", err)
}

// Run keeps a connection until ctx ends, then returns nil when everything that
// it started has stopped: at once, or after a few seconds if the link is dead.
func (u *Uplink) Run(ctx context.Context) error {
	for server := 0; ctx.Err() == nil; {
		address := u.opt.Servers[server]
		err := u.connection(ctx, server)
		healthy := u.Status().Heard && errors.Is(err, errLost)
		u.change(func(s *Status) { s.Connected, s.Heard, s.InFlight, s.Err = false, false, 0, err })
		u.checkSilent()
		if ctx.Err() != nil {
			break
		}
		// In order, and after the last one, or a good one that broke, back to the
		// first. Only then a pause: a server that answers is not to wait for one
		// that does not.
		server++
		pause := healthy || server == len(u.opt.Servers)
		if pause || errors.Is(err, errHome) {
			server = 0
		}
		if !pause || errors.Is(err, errHome) {
			u.log.Info("uplink changes server", "from", address, "to", u.opt.Servers[server], "err", err)
			continue
		}
		u.log.Warn("uplink down", "server", address, "err", err)
		u.pause(ctx)
		u.failures++
	}
	return nil
}

// backoff draws a pause with full jitter: between nothing and a bound that
// doubles with each failure.
func backoff(failures int, limit time.Duration) time.Duration {
	if failures < 7 {
		limit = min(backoffFirst<<failures, limit)
	}
	return rand.N(limit)
}

// pause waits for the backoff, and keeps an eye on the minute without an Ack.
// An alarm that waits, or comes meanwhile, shortens it.
func (u *Uplink) pause(ctx context.Context) {
	until := time.Now().Add(backoff(u.failures, backoffLimit))
	urgent := false
	for ctx.Err() == nil {
		if !urgent && u.alarmWaits() {
			urgent = true
			if t := time.Now().Add(backoff(u.failures, alarmLimit)); t.Before(until) {
				until = t
			}
		}
		left := time.Until(until)
		if left <= 0 {
			return
		}
		t := time.NewTimer(min(left, time.Second))
		select {
		case <-ctx.Done():
		case <-u.opt.Store.Changed():
		case <-t.C:
		}
		t.Stop()
		u.checkSilent()
	}
}

func (u *Uplink) alarmWaits() bool {
	for _, p := range u.opt.Store.Parts() {
		if w := p.Window()[wire.Alarm]; w.Oldest < w.Next {
			return true
		}
	}
	return false
}

// tried notes that something of a lane was sent.
func (u *Uplink) tried(at place, now time.Time) {
	w := u.waits[at]
	if w == nil {
		w = new(wait)
		u.waits[at] = w
	}
	if !w.tried {
		w.tried, w.since = true, now
	}
}

// checkSilent keeps the times since when something waits in vain.
func (u *Uplink) checkSilent() {
	now := time.Now()
	waits, stuck := false, false
	was := u.waits
	u.waits = make(map[place]*wait)
	for _, p := range u.opt.Store.Parts() {
		for l, win := range p.Window() {
			if win.Oldest == win.Next {
				continue
			}
			at := place{p.Stream(), l}
			w := was[at]
			if w == nil || win.Oldest != w.oldest {
				w = &wait{win.Oldest, now, w != nil && w.tried}
			}
			u.waits[at] = w
			waits = true
			stuck = stuck || w.tried && now.Sub(w.since) >= silentAfter
		}
	}
	switch {
	case !waits:
		u.waiting = time.Time{}
	case u.waiting.IsZero():
		u.waiting = now
	}
	u.setSilent(stuck || waits && now.Sub(u.waiting) >= silentAfter)
}

func (u *Uplink) setSilent(silent bool) {
	if u.Status().Silent == silent {
		return
	}
	u.change(func(s *Status) { s.Silent = silent })
	if u.opt.OnSilent != nil {
		u.opt.OnSilent(silent)
	}
}

// progressed notes an Ack that moved something, or that found nothing waiting.
func (u *Uplink) progressed() {
	u.failures = 0
	u.waiting = time.Time{}
	u.checkSilent()
}
