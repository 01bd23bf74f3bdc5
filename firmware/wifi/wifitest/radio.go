// Package wifitest emulates a radio and the access points around it, for tests of
// what uses package wifi. An association takes a second, a search two.
package wifitest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/fengsui/fengsui/firmware/wifi"
)

// An AP is an access point.
type AP struct {
	SSID, Passphrase string
	MHz, SignalDBm   int
	Hidden           bool
}

// A Radio is emulated hardware: nothing is in it at first but its driver and an
// interface. All methods may be called from any goroutine.
type Radio struct {
	mu       sync.Mutex
	noDriver bool
	gone     bool
	dumb     error // of each call of a station
	aps      map[string]AP
	at       string // the access point it is associated with
	joining  *time.Timer
	opens    int
	tries    []time.Time
	country  string
}

// New returns a radio.
func New() *Radio { return &Radio{aps: make(map[string]AP)} }

// Driver says whether the driver is there, and Interface whether its interface is.
func (r *Radio) Driver(there bool) { r.set(func() { r.noDriver = !there }) }

// Interface says whether the interface is there. One that goes ends a Station.
func (r *Radio) Interface(there bool) { r.set(func() { r.gone = !there; r.at = "" }) }

// Fail lets each call of a Station fail; nil ends that.
func (r *Radio) Fail(err error) { r.set(func() { r.dumb = err }) }

// Put switches an access point on, or changes it; whoever was associated with it is
// not any more.
func (r *Radio) Put(bssid string, ap AP) { r.set(func() { r.aps[bssid] = ap; r.lose(bssid) }) }

// Remove switches an access point off.
func (r *Radio) Remove(bssid string) { r.set(func() { delete(r.aps, bssid); r.lose(bssid) }) }

// Roam moves the association to another access point, as radios do by themselves.
func (r *Radio) Roam(bssid string) { r.set(func() { r.at = bssid }) }

// Signal changes an access point's strength, without a break.
func (r *Radio) Signal(bssid string, dBm int) {
	r.set(func() { ap := r.aps[bssid]; ap.SignalDBm = dBm; r.aps[bssid] = ap })
}

func (r *Radio) lose(bssid string) {
	if r.at == bssid {
		r.at = ""
	}
}

func (r *Radio) set(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
}

// Tries returns when the radio was told to join, Opens how often it was opened, and
// Country the country that it was opened for last.
func (r *Radio) Tries() []time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]time.Time(nil), r.tries...)
}

// Opens returns how often Open was called.
func (r *Radio) Opens() int { r.mu.Lock(); defer r.mu.Unlock(); return r.opens }

// Country returns the country of the last Open.
func (r *Radio) Country() string { r.mu.Lock(); defer r.mu.Unlock(); return r.country }

// At returns the access point that the radio is associated with, or "".
func (r *Radio) At() string { r.mu.Lock(); defer r.mu.Unlock(); return r.at }

// Open implements [wifi.Radio].
func (r *Radio) Open(_ context.Context, country string) (wifi.Station, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.opens++
	r.country = country
	switch {
	case r.noDriver:
		return nil, fmt.Errorf("%w: brcmfmac is missing", wifi.ErrNoDriver)
	case r.gone:
		return nil, wifi.ErrNoInterface
	}
	return station{r}, nil
}

type station struct{ r *Radio }

var errGone = errors.New("no such device")

func (s station) do(f func()) error {
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	switch {
	case s.r.dumb != nil:
		return s.r.dumb
	case s.r.gone || s.r.noDriver:
		return errGone
	}
	f()
	return nil
}

func (s station) Link() (l wifi.Link, err error) {
	err = s.do(func() {
		if ap, ok := s.r.aps[s.r.at]; ok {
			l = wifi.Link{Associated: true, SSID: ap.SSID, BSSID: s.r.at, MHz: ap.MHz, SignalDBm: ap.SignalDBm}
		}
	})
	return l, err
}

// Join finds the strongest access point of that name a second later.
func (s station) Join(n wifi.Network) error {
	return s.do(func() {
		s.r.tries = append(s.r.tries, time.Now())
		s.r.joining = time.AfterFunc(time.Second, func() {
			s.r.set(func() {
				best := ""
				for bssid, ap := range s.r.aps {
					if ap.SSID == n.SSID && (best == "" || ap.SignalDBm > s.r.aps[best].SignalDBm) {
						best = bssid
					}
				}
				if best != "" && s.r.aps[best].Passphrase == n.Passphrase && !s.r.gone {
					s.r.at = best
				}
			})
		})
	})
}

func (s station) Leave() error {
	return s.do(func() {
		s.r.at = ""
		if s.r.joining != nil {
			s.r.joining.Stop()
		}
	})
}

func (s station) Heard(ctx context.Context, ssid string) (heard bool, err error) {
	select {
	case <-time.After(2 * time.Second):
	case <-ctx.Done():
		return false, ctx.Err()
	}
	err = s.do(func() {
		for _, ap := range s.r.aps {
			heard = heard || ap.SSID == ssid && !ap.Hidden
		}
	})
	return heard, err
}

func (s station) Close() error { return nil }
