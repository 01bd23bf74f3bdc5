package district

import (
	"crypto/ed25519"
	"encoding/hex"
	"fmt"
	"maps"
	"net"
	"path/filepath"
	"slices"

	"github.com/fengsui/fengsui/firmware/agent"
	"github.com/fengsui/fengsui/firmware/modem/modemtest"
	"github.com/fengsui/fengsui/sim/scenario"
	"github.com/fengsui/fengsui/sim/tty"
)

// centreNumber is where the centre takes SMS.
const centreNumber = "+8613900000000"

// A second is the ways beside the one to the centre: the network that carries
// SMS, and the local network of the groups.
type second struct {
	network *modemtest.Network
	port    *tty.Port // the centre's modem; nil: no device has one
	address string    // of the groups, multicast
	keys    map[string]string
}

// newSecond makes the centre's modem and the keys of the boxes of groups, as
// far as there are any.
func newSecond(o Options) (*second, error) {
	s := &second{network: modemtest.NewNetwork(), keys: make(map[string]string)}
	for _, id := range slices.Sorted(maps.Keys(o.Devices)) {
		spec := o.Devices[id]
		if spec.Modem && s.port == nil {
			p, err := tty.Open()
			if err != nil {
				return nil, err
			}
			s.port = p
			serve(modemtest.New(centreNumber, s.network), p)
		}
		if spec.Group == "" {
			continue
		}
		key, err := agent.LoadOrCreateKey(filepath.Join(o.Data, id))
		if err != nil {
			return nil, fmt.Errorf("district: %s: %w", id, err)
		}
		s.keys[id] = hex.EncodeToString(key.Public().(ed25519.PublicKey))
		if s.address == "" { // a port of this district's own
			l, err := net.ListenPacket("udp4", "127.0.0.1:0")
			if err != nil {
				return nil, fmt.Errorf("district: %w", err)
			}
			_, port, _ := net.SplitHostPort(l.LocalAddr().String())
			s.address = net.JoinHostPort("239.255.70.83", port)
			l.Close()
		}
	}
	return s, nil
}

// serve answers at a port until that is closed.
func serve(m *modemtest.Modem, p *tty.Port) { go func() { _ = m.Serve(p) }() }

// flags are the centre's.
func (s *second) flags() []string {
	if s.port == nil {
		return nil
	}
	return []string{"--sms-modem", s.port.Path()}
}

func (s *second) close() error {
	if s == nil || s.port == nil {
		return nil
	}
	return s.port.Close()
}

// group returns a box's part of the configuration.
func (s *second) group(id string, devices map[string]scenario.Device) map[string]any {
	members := make(map[string]string)
	for other, d := range devices {
		if other != id && d.Group == devices[id].Group {
			members[other] = s.keys[other]
		}
	}
	return map[string]any{"name": devices[id].Group, "members": members, "address": s.address, "interface": "lo"}
}

// SMS cuts or restores a device's service for SMS; its link is another matter.
func (d *Device) SMS(up bool) error {
	if d.modem == nil {
		return fmt.Errorf("%w: %s has no modem", ErrNoPart, d.ID)
	}
	d.modem.Set(modemtest.Faults{NoNetwork: !up})
	d.log.Info("SMS", "up", up)
	d.changed()
	return nil
}
