package hw

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"

	nl80211 "github.com/mdlayher/wifi"
	"golang.org/x/sys/unix"

	"github.com/fengsui/fengsui/firmware/wifi"
)

const (
	// radioAppears is how long a radio may take until its interface is there: its
	// own program is sent to it before.
	radioAppears = 15 * time.Second
	// netlinkLimit is how long the kernel may take to answer.
	netlinkLimit = 5 * time.Second
	// freshBSS is how old what was heard may be.
	freshBSS = 20 * time.Second
)

// A Radio is this machine's wireless card under Linux's nl80211. It implements
// [wifi.Radio]. The driver must do WPA2's four-way handshake itself
// (NL80211_EXT_FEATURE_4WAY_HANDSHAKE_STA_PSK), as brcmfmac does with radios whose
// program has a supplicant of its own.
type Radio struct {
	Interface string // such as wlan0
	Modules   []string
	// Firmware are the files below lib/firmware that the driver sends to the radio:
	// one of each list.
	Firmware [][]string
	// Warn is told what does not keep the radio from working; nil: nobody is.
	Warn func(error)

	kernel Modules // for tests
}

// Open loads the driver, waits for the interface, sets the country and sets the
// interface up. Where the driver is and the interface is not, the driver is loaded
// anew once: it may have been too quick for its vendor's part, or the radio's
// program may have crashed. Without modules nothing is loaded or waited for.
func (r *Radio) Open(ctx context.Context, country string) (wifi.Station, error) {
	if err := r.files(); err != nil {
		return nil, fmt.Errorf("%w: %w", wifi.ErrNoDriver, err)
	}
	if len(r.Modules) > 0 {
		if err := r.kernel.Load(r.Modules...); err != nil {
			return nil, fmt.Errorf("%w: %w", wifi.ErrNoDriver, err)
		}
	}
	s, err := r.appears(ctx)
	if errors.Is(err, wifi.ErrNoInterface) && len(r.Modules) > 0 && ctx.Err() == nil {
		r.warn(r.kernel.Unload(r.Modules...))
		if err := r.kernel.Load(r.Modules...); err != nil {
			return nil, fmt.Errorf("%w: %w", wifi.ErrNoDriver, err)
		}
		s, err = r.appears(ctx)
	}
	if err != nil {
		return nil, err
	}
	if err := s.begin(country); err != nil {
		r.warn(err)
	}
	if err := setUp(r.Interface); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: set it up: %w", r.Interface, err), s.Close())
	}
	return s, nil
}

func (r *Radio) warn(err error) {
	if err != nil && r.Warn != nil {
		r.Warn(err)
	}
}

// files checks that the radio's own program is there: without it the driver loads,
// and nothing appears.
func (r *Radio) files() error {
	for _, names := range r.Firmware {
		there := false
		for _, name := range names {
			_, err := os.Stat(filepath.Join("/", r.kernel.Root, "lib/firmware", name))
			there = there || err == nil
		}
		if !there {
			return fmt.Errorf("the radio's program is missing: want in /lib/firmware %s: %w", strings.Join(names, " or "), fs.ErrNotExist)
		}
	}
	return nil
}

// appears waits for the interface.
func (r *Radio) appears(ctx context.Context) (*station, error) {
	var last error
	for began := time.Now(); ; {
		s, err := openStation(r.Interface)
		if err == nil {
			return s, nil
		}
		last = err
		if time.Since(began) > radioAppears || len(r.Modules) == 0 {
			break
		}
		t := time.NewTimer(250 * time.Millisecond)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return nil, ctx.Err()
		}
	}
	return nil, last
}

// A station is an interface that is there.
type station struct {
	c   *nl80211.Client
	ifi *nl80211.Interface
}

// openStation finds an interface, or the first one where name is "". The error
// wraps [wifi.ErrNoInterface] where there is none, and where the kernel has no
// nl80211.
func openStation(name string) (*station, error) {
	c, err := nl80211.New()
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.EPROTONOSUPPORT) || errors.Is(err, unix.EAFNOSUPPORT) {
		return nil, fmt.Errorf("%w: the kernel has no nl80211", wifi.ErrNoInterface)
	}
	if err != nil {
		return nil, fmt.Errorf("nl80211: %w", err)
	}
	s := &station{c: c}
	s.limit()
	all, err := c.Interfaces()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("nl80211: interfaces: %w", err), c.Close())
	}
	for _, i := range all {
		// A device of point-to-point links has no name.
		if i.Name != "" && (i.Name == name || name == "" && i.Type == nl80211.InterfaceTypeStation) {
			s.ifi = i
			return s, nil
		}
	}
	return nil, errors.Join(fmt.Errorf("%w: %s", wifi.ErrNoInterface, name), c.Close())
}

// limit gives the kernel until then for what is asked next.
func (s *station) limit() { _ = s.c.SetDeadline(time.Now().Add(netlinkLimit)) } // a socket takes deadlines

// begin tells the kernel which country it is in. It looked for the rules of the
// countries before there was a file system.
func (s *station) begin(country string) error {
	s.limit()
	if err := s.c.ReloadRegulatoryDatabase(); err != nil {
		return fmt.Errorf("regulatory.db: %w; the radio keeps to what is allowed everywhere", err)
	}
	if err := s.c.SetRegulatoryRegion(country, nl80211.RegulatoryHintUser); err != nil {
		return fmt.Errorf("country %s: %w; the radio keeps to what is allowed everywhere", country, err)
	}
	return nil
}

// Link implements [wifi.Station].
func (s *station) Link() (wifi.Link, error) {
	s.limit()
	bss, err := s.c.BSS(s.ifi)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return wifi.Link{}, nil
	case err != nil:
		return wifi.Link{}, fmt.Errorf("%s: %w", s.ifi.Name, err)
	case bss.Status != nl80211.BSSStatusAssociated:
		return wifi.Link{}, nil
	}
	l := wifi.Link{Associated: true, SSID: bss.SSID, BSSID: bss.BSSID.String(), MHz: bss.Frequency, SignalDBm: dBm(int(math.Round(float64(bss.Signal) / 100)))}
	// What was received last is newer than the beacon of a search.
	if all, err := s.c.StationInfo(s.ifi); err == nil {
		for _, info := range all {
			if info.HardwareAddr.String() == l.BSSID && dBm(info.Signal) != 0 {
				l.SignalDBm = info.Signal
			}
		}
	}
	return l, nil
}

// dBm returns a power that a receiver can have, or 0.
func dBm(n int) int {
	if n < -130 || n > 0 {
		return 0
	}
	return n
}

// Join implements [wifi.Station].
func (s *station) Join(n wifi.Network) error {
	s.limit()
	var err error
	if n.Passphrase == "" {
		err = s.c.Connect(s.ifi, n.SSID)
	} else {
		err = s.c.ConnectWPAPSK(s.ifi, n.SSID, n.Passphrase)
	}
	switch {
	case errors.Is(err, unix.EALREADY): // it joins, or has
		return nil
	case errors.Is(err, nl80211.ErrNotSupported):
		return fmt.Errorf("%s: the radio's program does not do WPA2's handshake itself: %w", s.ifi.Name, err)
	}
	return err
}

// Leave implements [wifi.Station].
func (s *station) Leave() error {
	s.limit()
	err := s.c.Disconnect(s.ifi)
	if errors.Is(err, unix.ENOTCONN) || errors.Is(err, unix.EINVAL) {
		return nil // there was nothing to leave
	}
	return err
}

// Heard implements [wifi.Station].
func (s *station) Heard(ctx context.Context, ssid string) (bool, error) {
	// A search that cannot be made now, or does not end, leaves what was heard
	// before; only an interface that is gone or down is an error.
	if err := s.c.Scan(ctx, s.ifi); errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENETDOWN) {
		return false, fmt.Errorf("%s: search: %w", s.ifi.Name, err)
	}
	s.limit()
	all, err := s.c.AccessPoints(s.ifi)
	if err != nil {
		return false, fmt.Errorf("%s: %w", s.ifi.Name, err)
	}
	for _, bss := range all {
		if bss.SSID == ssid && bss.LastSeen < freshBSS {
			return true, nil
		}
	}
	return false, nil
}

// Close implements [wifi.Station].
func (s *station) Close() error { return s.c.Close() }

// Wireless returns how it stands with the network that this machine's first wireless
// interface is in, whoever joined it; nil where it is in none, which may be as
// somebody wants it.
func Wireless() (*wifi.State, error) {
	s, err := openStation("")
	if errors.Is(err, wifi.ErrNoInterface) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	l, err := s.Link()
	if err = errors.Join(err, s.Close()); err != nil || !l.Associated {
		return nil, err
	}
	return &wifi.State{Condition: wifi.Joined, SSID: l.SSID, BSSID: l.BSSID, MHz: l.MHz, SignalDBm: l.SignalDBm}, nil
}

// setUp sets an interface up (netdevice(7)).
func setUp(name string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	req, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, req); err != nil {
		return err
	}
	if req.Uint16()&unix.IFF_UP != 0 {
		return nil
	}
	req.SetUint16(req.Uint16() | unix.IFF_UP)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, req)
}
