package config

import (
	"errors"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fengsui/fengsui/boards/strictyaml"
	"github.com/fengsui/fengsui/firmware/wire"
)

// Modem is a cellular modem that speaks AT, by which an alarm goes as an SMS when
// the centre has not acknowledged it.
type Modem struct {
	Port   string   `yaml:"port"`
	Baud   int      `yaml:"baud" min:"1200" max:"921600"`
	PIN    string   `yaml:"pin"`                                                                      // of the SIM; "": it has none
	Centre []Number `yaml:"centre" required:"true" want:"one or more numbers such as +8613900000009"` // where the centre takes SMS; tried in order
	After  Duration `yaml:"after" min:"1s" max:"10m"`                                                 // without an acknowledgement
}

// A Number is a telephone number in international form.
type Number string

// UnmarshalText parses + and 5 to 15 digits (ITU-T E.164).
func (n *Number) UnmarshalText(b []byte) error {
	digits, ok := strings.CutPrefix(string(b), "+")
	if !ok || len(digits) < 5 || len(digits) > 15 || strings.Trim(digits, "0123456789") != "" {
		return errors.New("a number such as +8613900000009")
	}
	*n = Number(b)
	return nil
}

// Group is the boxes that hear each other on the local network.
type Group struct {
	Name      string               `yaml:"name" required:"true"` // all of them have the same
	Members   map[string]PublicKey `yaml:"members" required:"true" want:"the others' public keys, 64 hexadecimal digits, each behind its id"`
	Address   Endpoint             `yaml:"address"`                  // the multicast address and port; by default 239.255.70.83:7083
	Interface string               `yaml:"interface"`                // on which that is heard and sent; "": the system's choice
	Peers     []Endpoint           `yaml:"peers"`                    // told one by one, where multicast is not passed on
	Limit     Duration             `yaml:"limit" min:"5s" max:"15m"` // the siren sounds so long for another's alarm
}

// An Endpoint is an IP address and a UDP port.
type Endpoint string

// UnmarshalText parses ADDRESS:PORT.
func (e *Endpoint) UnmarshalText(b []byte) error {
	a, err := netip.ParseAddrPort(string(b))
	if err != nil || a.Port() == 0 {
		return errors.New("an IP address and a port, such as 10.20.0.12:7083")
	}
	*e = Endpoint(a.String())
	return nil
}

const (
	defaultModemBaud = 115200
	defaultAfter     = Duration(10 * time.Second)
	defaultGroup     = Endpoint("239.255.70.83:7083") // site-local (RFC 2365, section 6)
	defaultLimit     = Duration(3 * time.Minute)
	maxMembers       = 64
)

// defaults fills what was left out.
func (m *Modem) defaults() {
	if m == nil {
		return
	}
	if m.Baud == 0 {
		m.Baud = defaultModemBaud
	}
	if m.After == 0 {
		m.After = defaultAfter
	}
}

func (g *Group) defaults() {
	if g == nil {
		return
	}
	if g.Address == "" {
		g.Address = defaultGroup
	}
	if g.Limit == 0 {
		g.Limit = defaultLimit
	}
}

// second checks the ways beside the one to the centre.
func (c *Config) second(r *strictyaml.Report) {
	if c.Modem != nil {
		c.modem(r)
	}
	if c.Group != nil {
		c.group(r)
	}
}

func (c *Config) modem(r *strictyaml.Report) {
	m := c.Modem
	others := make(map[string]string)
	if c.GPS != nil {
		others[c.GPS.Port] = "gps.port"
	}
	if c.Fingerprint != nil {
		others[c.Fingerprint.Port] = "fingerprint.port"
	}
	switch other := others[m.Port]; {
	case strings.TrimSpace(m.Port) == "":
		r.Add("modem.port", m.Port, wantPort)
	case other != "":
		r.Add("modem.port", m.Port, "a port that is not used by "+other)
	}
	if m.PIN != "" && (len(m.PIN) < 4 || len(m.PIN) > 8 || strings.Trim(m.PIN, "0123456789") != "") {
		r.Add("modem.pin", strings.Repeat("*", len(m.PIN)), "4 to 8 digits, in quotes")
	}
	if len(m.Centre) == 0 {
		r.Add("modem.centre", "", "one or more numbers such as +8613900000009")
	}
	for i, n := range m.Centre {
		if first := slices.Index(m.Centre, n); first < i {
			r.Add("modem.centre."+strconv.Itoa(i), n, "another number than modem.centre."+strconv.Itoa(first))
		}
	}
}

func (c *Config) group(r *strictyaml.Report) {
	g := c.Group
	if wire.ValidDevice(g.Name) != nil {
		r.Add("group.name", g.Name, "1 to 32 of a-z, 0-9 and '-', not beginning with '-'")
	}
	if len(g.Members) == 0 || len(g.Members) > maxMembers {
		r.Add("group.members", len(g.Members), "1 to "+strconv.Itoa(maxMembers)+" others")
	}
	for _, id := range slices.Sorted(maps.Keys(g.Members)) {
		switch {
		case wire.ValidDevice(id) != nil:
			r.Add("group.members."+id, id, "a device id: 1 to 32 of a-z, 0-9 and '-', not beginning with '-'")
		case id == c.Device:
			r.Add("group.members."+id, id, "the others only")
		}
	}
	if a, err := netip.ParseAddrPort(string(g.Address)); err == nil && !a.Addr().IsMulticast() {
		r.Add("group.address", g.Address, "a multicast address, such as 239.255.70.83:7083; others belong into group.peers")
	}
	for i, p := range g.Peers {
		if host, _, err := net.SplitHostPort(string(p)); err == nil && net.ParseIP(host).IsMulticast() {
			r.Add("group.peers."+strconv.Itoa(i), p, "the address of one box")
		}
	}
}
