// Package settings is what the card of one device is given beside the image that
// all devices of its kind share: a one-time token to join the centre with, and
// how to reach the network. board image puts the file on the card's boot
// partition; the device takes it at its next start, keeps it where nobody else
// reads, and erases it there.
//
//	join: 7QK4-…                     # a one-time token from the centre
//	ethernet: {address: 10.20.0.7/24, gateway: 10.20.0.1, dns: [10.20.0.1]}   # else by DHCP
//	wifi: {ssid: 石桥村, passphrase: …, country: CN}
//	cellular:
//	  port: /dev/ttyUSB3              # the modem's second AT port
//	  apn: cmnet
//	  commands: ['+QCFG="usbnet",1']  # what makes it a network card, by its manual
//
// It reads the file and knows nothing of networks. The device's key is no part of
// it: that is made on the device.
package settings

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/fengsui/fengsui/boards/strictyaml"
)

// File is the file's name on the boot partition.
const File = "fengsui.yml"

// Settings are the file's content. Zero members are not there.
type Settings struct {
	Join     string    `yaml:"join"` // a one-time token from the centre
	Ethernet *Ethernet `yaml:"ethernet"`
	WiFi     *WiFi     `yaml:"wifi"`
	Cellular *Cellular `yaml:"cellular"`
}

// Ethernet is the wired network: by DHCP unless an address is given.
type Ethernet struct {
	Interface string   `yaml:"interface"` // by default eth0
	Address   string   `yaml:"address"`   // with the network's size: 192.168.8.20/24
	Gateway   string   `yaml:"gateway"`
	DNS       []string `yaml:"dns"`
}

// WiFi is a wireless network of WPA2 by passphrase, or an open one, by DHCP; its
// name may be hidden. The card of an image that was built without the radio's files
// cannot join one, and says so.
type WiFi struct {
	Interface  string `yaml:"interface"` // by default wlan0
	SSID       string `yaml:"ssid" required:"true" want:"a network's name of 1 to 32 bytes"`
	Passphrase string `yaml:"passphrase"` // 8 to 63 printable ASCII characters; none: an open network
	// Country says by whose rules the radio sends (ISO 3166-1 alpha-2).
	Country string `yaml:"country" required:"true" want:"two capital letters, the code of the country where the box hangs, such as CN"`
}

// Cellular is a modem that shows itself as a network card (ECM or NCM), by
// DHCP.
type Cellular struct {
	Interface string `yaml:"interface"` // by default usb0
	// Port is an AT port that nobody else uses: the modem's second one.
	Port     string   `yaml:"port" required:"true" want:"the path of the modem's second AT port"`
	APN      string   `yaml:"apn" required:"true" want:"the network's access point name"`
	User     string   `yaml:"user"`
	Password string   `yaml:"password"`
	Commands []string `yaml:"commands"` // further AT commands, without AT; the modem's manual has them
}

// Parse checks a file; name stands for it in errors, which are
// *strictyaml.Error.
func Parse(name string, data []byte) (*Settings, error) {
	s := new(Settings)
	if err := strictyaml.Decode(name, data, s); err != nil {
		return nil, err
	}
	return s, nil
}

// Validate checks what concerns several members, and fills defaults.
func (s *Settings) Validate(r *strictyaml.Report) {
	if len(s.Join) > 512 || strings.ContainsFunc(s.Join, func(c rune) bool { return c <= ' ' || c > '~' }) {
		r.Add("join", "", "a token of at most 512 printable characters")
	}
	if e := s.Ethernet; e != nil {
		e.validate(r)
	}
	if w := s.WiFi; w != nil {
		w.validate(r)
	}
	if c := s.Cellular; c != nil {
		c.validate(r)
	}
}

func (e *Ethernet) validate(r *strictyaml.Report) {
	if e.Interface == "" {
		e.Interface = "eth0"
	}
	name(r, "ethernet.interface", e.Interface)
	if e.Address == "" {
		if e.Gateway != "" || len(e.DNS) > 0 {
			r.Add("ethernet.address", "", "an address beside gateway and dns, or none of the three for DHCP")
		}
		return
	}
	p, err := netip.ParsePrefix(e.Address)
	if err != nil || !p.Addr().Is4() || p.Bits() < 8 || p.Bits() > 30 {
		r.Add("ethernet.address", e.Address, "an IPv4 address with the network's size, such as 192.168.8.20/24")
	}
	if g := e.Gateway; g != "" {
		if a, err := netip.ParseAddr(g); err != nil || !p.Contains(a) || a == p.Addr() {
			r.Add("ethernet.gateway", g, "another address of the same network")
		}
	}
	for i, d := range e.DNS {
		if a, err := netip.ParseAddr(d); err != nil || !a.Is4() {
			r.Add(fmt.Sprintf("ethernet.dns.%d", i), d, "an IPv4 address")
		}
	}
}

func (w *WiFi) validate(r *strictyaml.Report) {
	if w.Interface == "" {
		w.Interface = "wlan0"
	}
	name(r, "wifi.interface", w.Interface)
	if len(w.SSID) < 1 || len(w.SSID) > 32 {
		r.Add("wifi.ssid", w.SSID, "a network's name of 1 to 32 bytes")
	}
	if n := len(w.Passphrase); n != 0 && (n < 8 || n > 63) {
		r.Add("wifi.passphrase", "", fmt.Sprintf("8 to 63 characters, not %d", n))
	} else if strings.ContainsFunc(w.Passphrase, func(c rune) bool { return c < ' ' || c > '~' }) {
		r.Add("wifi.passphrase", "", "printable ASCII characters only (IEEE 802.11, annex J)")
	}
	if len(w.Country) != 2 || strings.ContainsFunc(w.Country, func(c rune) bool { return c < 'A' || c > 'Z' }) {
		r.Add("wifi.country", w.Country, "two capital letters, the code of the country where the box hangs, such as CN")
	}
}

func (c *Cellular) validate(r *strictyaml.Report) {
	if c.Interface == "" {
		c.Interface = "usb0"
	}
	name(r, "cellular.interface", c.Interface)
	for field, v := range map[string]string{"apn": c.APN, "user": c.User, "password": c.Password} {
		if len(v) > 100 || strings.ContainsFunc(v, func(c rune) bool { return c < ' ' || c > '~' || c == '"' }) {
			r.Add("cellular."+field, "", `at most 100 printable characters without "`)
		}
	}
	for i, cmd := range c.Commands {
		if cmd == "" || len(cmd) > 200 || strings.ContainsFunc(cmd, func(c rune) bool { return c < ' ' || c > '~' }) || strings.HasPrefix(strings.ToUpper(cmd), "AT") {
			r.Add(fmt.Sprintf("cellular.commands.%d", i), cmd, `an AT command without AT, such as +QCFG="usbnet",1`)
		}
	}
}

// name checks the name of a network card (Linux: 15 bytes at most).
func name(r *strictyaml.Report, field, v string) {
	if v == "" || len(v) > 15 || strings.ContainsAny(v, "/ \t\n") || v == "." || v == ".." {
		r.Add(field, v, "a network card's name of 1 to 15 bytes, such as eth0")
	}
}
