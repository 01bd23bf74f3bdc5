package account

import (
	"net/netip"
	"sync"
	"time"
)

// A Rate is how many attempts may fail at once, and how long each takes to be forgotten.
type Rate struct {
	Burst int
	Each  time.Duration
}

// Rates bound failed sign-ins. The one for a name from everywhere is wide: nobody must be
// able to keep a dispatcher out of the desk by failing under his name from elsewhere.
type Rates struct {
	NameAtAddress Rate // of one name from one address
	Address       Rate // of one address (IPv6: its /64)
	Name          Rate // of one name from everywhere
}

// DefaultRates let a person mistype five times, and a room of them thirty.
func DefaultRates() Rates {
	return Rates{
		NameAtAddress: Rate{5, 30 * time.Second},
		Address:       Rate{30, 10 * time.Second},
		Name:          Rate{60, 30 * time.Second},
	}
}

// maxKeys bounds what a Throttle remembers.
const maxKeys = 50_000

// A Throttle counts failed sign-ins. Its methods may be called from any goroutine.
type Throttle struct {
	rates Rates

	mu   sync.Mutex
	full map[string]time.Time // when a key's failures will all be forgotten
}

// NewThrottle returns a Throttle that has seen nothing.
func NewThrottle(r Rates) *Throttle { return &Throttle{rates: r, full: make(map[string]time.Time)} }

type throttled struct {
	key  string
	rate Rate
}

func (t *Throttle) keys(name string, from netip.Addr) []throttled {
	if from = from.Unmap(); from.Is6() {
		if p, err := from.Prefix(64); err == nil {
			from = p.Addr()
		}
	}
	at := from.WithZone("").String()
	return []throttled{{"both " + at + " " + name, t.rates.NameAtAddress}, {"from " + at, t.rates.Address}, {"name " + name, t.rates.Name}}
}

// Take counts an attempt as failed before it is judged, so that many at once cannot slip
// through. wait is 0, or how long to wait: then nothing is counted.
func (t *Throttle) Take(now time.Time, name string, from netip.Addr) (wait time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	keys := t.keys(name, from)
	for _, k := range keys {
		// The generic cell rate algorithm (ITU-T I.371, annex A), as a virtual schedule.
		room := time.Duration(k.rate.Burst) * k.rate.Each
		if over := later(t.full[k.key], now).Sub(now) + k.rate.Each - room; over > 0 {
			wait = max(wait, over)
		}
	}
	if wait > 0 {
		return wait
	}
	if len(t.full)+len(keys) > maxKeys {
		t.forget(now)
	}
	for _, k := range keys {
		t.full[k.key] = later(t.full[k.key], now).Add(k.rate.Each)
	}
	return 0
}

// Succeeded takes an attempt back that Take has counted, and forgets the failures of that
// name at that address.
func (t *Throttle) Succeeded(name string, from netip.Addr) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, k := range t.keys(name, from) {
		if full, ok := t.full[k.key]; i == 0 {
			delete(t.full, k.key)
		} else if ok {
			t.full[k.key] = full.Add(-k.rate.Each)
		}
	}
}

// forget drops what is over, and all when that is not enough: to forget costs an attacker
// who has so many addresses little, and to refuse everybody would cost the district much.
func (t *Throttle) forget(now time.Time) {
	for key, full := range t.full {
		if !full.After(now) {
			delete(t.full, key)
		}
	}
	if len(t.full) > maxKeys/2 {
		clear(t.full)
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
