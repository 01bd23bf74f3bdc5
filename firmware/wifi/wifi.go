// Package wifi keeps a station in one wireless network: it opens the radio, joins
// the network, sees that it is still there, and joins again, with a pause that
// grows and is drawn at random, whatever went wrong before. It gives up nothing
// and asks nobody.
//
// It knows neither Linux nor a driver: the radio is an interface, which package hw
// implements and package wifitest emulates. It gets no address; whoever runs it is
// told when the network is there. It joins WPA2 networks by passphrase and open
// ones, hidden or not, and no others: no WPA3 alone, no 802.1X.
package wifi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"
)

// Errors of opening a radio. Whoever opens one wraps them.
var (
	// ErrNoDriver means that the driver, or the radio's own program, is missing or
	// does not start.
	ErrNoDriver = errors.New("no driver")
	// ErrNoInterface means that the driver is there and no radio is.
	ErrNoInterface = errors.New("no wireless interface")
)

// A Network is what a station joins.
type Network struct {
	SSID       string
	Passphrase string // WPA2's; "": an open network
	Country    string // ISO 3166-1 alpha-2: which channels and powers are allowed
}

// A Link is what a radio says of its association. The zero Link is none.
type Link struct {
	Associated bool
	SSID       string
	BSSID      string // the access point's address
	MHz        int
	SignalDBm  int // received power; 0: not known
}

// A Radio can be opened for a country. Open loads what must be loaded, waits until
// the interface is there, and sets it up; it may be called again after an error.
// The error wraps [ErrNoDriver] or [ErrNoInterface], or is the system's.
type Radio interface {
	Open(ctx context.Context, country string) (Station, error)
}

// A Station is an open radio. An error of any method means that it is to be opened
// anew. Only one goroutine uses it.
type Station interface {
	Link() (Link, error)
	// Join begins to join and does not wait: Link tells.
	Join(n Network) error
	// Leave ends an association, and a joining; there may be none.
	Leave() error
	// Heard reports whether an access point of that name is within reach. It takes
	// a few seconds. A hidden one is not heard.
	Heard(ctx context.Context, ssid string) (bool, error)
	Close() error
}

// A Condition is how it stands with the network.
type Condition string

// The conditions. A receiver may meet words that it does not know.
const (
	Joining     Condition = "joining"      // it tries, and nothing speaks against it
	Joined      Condition = "joined"       // it is in the network
	Away        Condition = "away"         // no access point of that name can be heard; a hidden one never is
	Refused     Condition = "refused"      // one can be heard, and does not take it in: most often a wrong passphrase
	NoDriver    Condition = "no_driver"    // see ErrNoDriver
	NoInterface Condition = "no_interface" // see ErrNoInterface
	Failed      Condition = "failed"       // the system refused something
)

// A State is what is told of a network.
type State struct {
	Condition Condition `json:"condition"`
	SSID      string    `json:"ssid"`
	BSSID     string    `json:"bssid,omitempty"`
	MHz       int       `json:"mhz,omitempty"`
	SignalDBm int       `json:"signal_dbm,omitempty"`
	Error     string    `json:"error,omitempty"` // the newest that went wrong; "" while joined
}

// The times of Run.
const (
	pollLink     = 5 * time.Second        // while joined
	pollJoin     = 500 * time.Millisecond // while joining
	joinLimit    = 15 * time.Second       // with the search for the access point, and four messages
	heardLimit   = 10 * time.Second       // of a search
	backoffFirst = time.Second
	backoffLimit = 30 * time.Second
)

// Run keeps the network until ctx ends. tell is called on Run's goroutine with each
// state that differs from the one before, but not for the signal alone more than
// once in a poll; joined is called each time that the station has come into the
// network, or to another access point of it: what was leased before may not hold.
func Run(ctx context.Context, radio Radio, n Network, tell func(State), joined func(Link), log *slog.Logger) {
	k := &keeper{n: n, tell: tell, joined: joined, log: log}
	k.say(State{Condition: Joining, SSID: n.SSID})
	for ctx.Err() == nil {
		st, err := radio.Open(ctx, n.Country)
		if err == nil {
			err = errors.Join(k.keep(ctx, st), st.Close())
		}
		if ctx.Err() != nil {
			return
		}
		k.failed(ctx, condition(err), err)
	}
}

func condition(err error) Condition {
	switch {
	case errors.Is(err, ErrNoDriver):
		return NoDriver
	case errors.Is(err, ErrNoInterface):
		return NoInterface
	}
	return Failed
}

// A keeper is a Run.
type keeper struct {
	n        Network
	tell     func(State)
	joined   func(Link)
	log      *slog.Logger
	failures int
	heard    bool // at the end of the try before: an access point may have come on during this one
	last     State
}

// keep joins and stays until the radio fails, or ctx ends.
func (k *keeper) keep(ctx context.Context, st Station) error {
	defer func() {
		if ctx.Err() != nil {
			_ = st.Leave() // the access point need not wait for us; the radio is not asked again
		}
	}()
	at, polls := "", 0 // the access point, once joined told of it, and how often it was found there since
	for ctx.Err() == nil {
		link, err := st.Link()
		if err != nil {
			return fmt.Errorf("link: %w", err)
		}
		if link.Associated {
			if polls++; polls > 1 {
				k.failures, k.heard = 0, false
			}
			k.say(State{Condition: Joined, SSID: k.n.SSID, BSSID: link.BSSID, MHz: link.MHz, SignalDBm: link.SignalDBm})
			if link.BSSID != at {
				at = link.BSSID
				k.joined(link)
			}
			wait(ctx, pollLink)
			continue
		}
		if at != "" {
			k.log.Warn("the wireless network is lost", "ssid", k.n.SSID, "access_point", at)
			if polls == 1 { // or it would be asked again and again without a pause
				k.failed(ctx, Refused, fmt.Errorf("access point %s has taken it in, and dropped it within %v", at, pollLink))
			}
			at, polls = "", 0
		}
		if err := k.join(ctx, st); err != nil {
			return err
		}
	}
	return nil
}

// join tries once, and after a vain try says why and waits. The error is the
// radio's.
func (k *keeper) join(ctx context.Context, st Station) error {
	if k.last.Condition == Joined {
		k.say(State{Condition: Joining, SSID: k.n.SSID})
	}
	if err := st.Join(k.n); err != nil {
		return fmt.Errorf("join: %w", err)
	}
	for began := time.Now(); time.Since(began) < joinLimit; {
		wait(ctx, pollJoin)
		if ctx.Err() != nil {
			return nil
		}
		link, err := st.Link()
		if err != nil {
			return fmt.Errorf("link: %w", err)
		}
		if link.Associated {
			return nil
		}
	}
	if err := st.Leave(); err != nil {
		return fmt.Errorf("leave: %w", err)
	}
	sctx, stop := context.WithTimeout(ctx, heardLimit)
	heard, err := st.Heard(sctx, k.n.SSID)
	stop()
	before := k.heard
	k.heard = heard
	switch {
	case ctx.Err() != nil:
		return nil
	case err != nil && !errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("search: %w", err)
	case heard && !before:
		k.failed(ctx, Joining, nil)
	case heard:
		k.failed(ctx, Refused, fmt.Errorf("no association within %v, and an access point named %q can be heard: is the passphrase right, and does it speak WPA2?", joinLimit, k.n.SSID))
	default:
		k.failed(ctx, Away, fmt.Errorf("no access point named %q can be heard", k.n.SSID))
	}
	return nil
}

// failed says what went wrong, and waits: between half of a bound and all of it,
// which doubles with each failure, so that boxes that lost the same access point
// do not come back in step.
func (k *keeper) failed(ctx context.Context, c Condition, err error) {
	bound := backoffLimit
	if k.failures < 5 {
		bound = backoffFirst << k.failures
	}
	k.failures++
	s := State{Condition: c, SSID: k.n.SSID}
	if err != nil {
		s.Error = err.Error()
	}
	k.say(s)
	wait(ctx, bound/2+rand.N(bound/2))
}

// say tells of a state that differs from the last.
func (k *keeper) say(s State) {
	if s == k.last {
		return
	}
	if s.Condition != k.last.Condition || s.Error != k.last.Error || s.BSSID != k.last.BSSID {
		k.log.Info("wireless network", "ssid", s.SSID, "condition", s.Condition, "access_point", s.BSSID, "dbm", s.SignalDBm, "err", s.Error)
	}
	k.last = s
	k.tell(s)
}

func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
