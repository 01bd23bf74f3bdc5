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

// A Store is where events wait. Its methods are those of *spool.Spool.
type Store interface {
	// Read returns events of a lane from a number on, in order.
	Read(l wire.Lane, from uint64, records, bytes int) ([]spool.Record, error)
	// Ack notes that the centre has a lane up to a number. It is idempotent.
	Ack(stream wire.StreamID, l wire.Lane, upTo uint64) error
	// Window returns what waits in each lane.
	Window() map[wire.Lane]wire.Window
	// Changed receives after an event was stored.
	Changed() <-chan struct{}
}

// A Dialer reaches a broker at host:port.
type Dialer func(ctx context.Context, address string) (net.Conn, error)

// Options describe a device's uplink.
type Options struct {
	Device    string
	Stream    wire.StreamID
	Boot      uint64
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
	OnAck    func(l wire.Lane, upTo uint64)
	// OnSilent reports that the centre has acknowledged nothing for SilentAfter
	// although something waits, and when it does again.
	OnSilent func(bool)
}

// The uplink's times and bounds. They are constants, not options: a device in
// the field has no reason for others, and tests run in a bubble of fake time.
const (
	dialTimeout   = 5 * time.Second  // for the TCP connection, and again for CONNACK
	writeTimeout  = 5 * time.Second  // of a packet: a black-holed link shows so
	keepAlive     = 10 * time.Second // between packets (MQTT 3.1.1, section 3.1.2.10)
	resendAfter   = 5 * time.Second  // without progress: hello, and all in flight again
	redialAfter   = 15 * time.Second // without progress: another connection
	silentAfter   = 60 * time.Second // without progress: a fault that people see
	backoffFirst  = 500 * time.Millisecond
	backoffLimit  = 60 * time.Second
	homeAfter     = 5 * time.Minute // on another server: try the first again
	windowRecords = 64              // of a lane in flight
	chunkRecords  = 8               // written before more urgent lanes are looked at again
	chunkBytes    = 4 << 10
)

// A Status is a snapshot of the uplink.
type Status struct {
	Connected bool      // a broker accepted us; says nothing of the centre
	Server    string    // the broker's address
	Heard     bool      // the centre has answered on this connection
	LastAck   time.Time // of the centre; zero: never since the start
	Silent    bool      // nothing acknowledged for a minute though something waits
	Refused   uint64    // downlink messages that were not the centre's word to us
}

// An Uplink is one device's connection. Make it with New.
type Uplink struct {
	opt    Options
	log    *slog.Logger
	status atomic.Pointer[Status]

	// Only touched by Run's goroutine.
	waiting  time.Time // since when something waits without progress; zero: nothing waits
	attempts int       // failed connections since the last Ack
}

// New returns an uplink that does nothing until Run.
func New(opt Options) (*Uplink, error) {
	switch {
	case len(opt.Servers) == 0:
		return nil, errors.New("uplink: no server: want one or more of host:port")
	case len(opt.CentreKey) != ed25519.PublicKeySize:
		return nil, fmt.Errorf("uplink: the centre's key has %d bytes: want %d", len(opt.CentreKey), ed25519.PublicKeySize)
	}
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	if opt.Dial == nil {
		opt.Dial = func(ctx context.Context, address string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", address)
		}
	}
	u := &Uplink{opt: opt, log: opt.Log}
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

// Run keeps a connection until ctx ends, then returns nil when everything that
// it started has stopped.
func (u *Uplink) Run(ctx context.Context) error {
	server := 0
	for ctx.Err() == nil {
		address := u.opt.Servers[server]
		err := u.connection(ctx, address, server == 0)
		u.change(func(s *Status) { s.Connected, s.Heard = false, false })
		if ctx.Err() != nil {
			break
		}
		u.checkSilent()
		if errors.Is(err, errHome) {
			server = 0
			continue
		}
		wait := backoff(u.attempts)
		u.attempts++
		u.log.Warn("uplink down", "server", address, "err", err, "retry_in", wait.Round(time.Millisecond))
		server = (server + 1) % len(u.opt.Servers)
		u.sleep(ctx, wait)
	}
	return nil
}

// backoff draws a wait with full jitter: between zero and a bound that doubles
// with each failure.
func backoff(failures int) time.Duration {
	limit := backoffLimit
	if failures < 7 {
		limit = min(backoffFirst<<failures, backoffLimit)
	}
	return time.Duration(rand.Int64N(int64(limit))) + 10*time.Millisecond
}

// sleep waits, and keeps an eye on the minute without an Ack.
func (u *Uplink) sleep(ctx context.Context, d time.Duration) {
	until := time.Now().Add(d)
	for left := d; left > 0 && ctx.Err() == nil; left = time.Until(until) {
		t := time.NewTimer(min(left, time.Second))
		select {
		case <-ctx.Done():
		case <-t.C:
		}
		t.Stop()
		u.checkSilent()
	}
}

// checkSilent keeps the time since when something waits in vain.
func (u *Uplink) checkSilent() {
	waits := false
	for _, w := range u.opt.Store.Window() {
		waits = waits || w.Oldest < w.Next
	}
	switch {
	case !waits:
		u.waiting = time.Time{}
	case u.waiting.IsZero():
		u.waiting = time.Now()
	}
	u.setSilent(waits && time.Since(u.waiting) >= silentAfter)
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
	u.attempts = 0
	u.waiting = time.Time{}
	u.setSilent(false)
}
