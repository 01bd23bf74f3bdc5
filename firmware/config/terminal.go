package config

import (
	"errors"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/fengsui/fengsui/boards/strictyaml"
	"github.com/fengsui/fengsui/firmware/pin"
)

// Terminal is the officer's screen: a page that the device serves to a browser
// that has its token.
type Terminal struct {
	Listen   Address             `yaml:"listen"`                    // by default 127.0.0.1:8088
	Diagonal int                 `yaml:"diagonal" min:"4" max:"32"` // of the screen, inches; by default 7
	PINs     map[string]pin.Hash `yaml:"pins"`                      // of officers by id, as `fengsui pin` prints them
	Duress   map[string]pin.Hash `yaml:"duress_pins"`               // typed under duress: all looks the same, and the centre learns it
}

const (
	defaultListen   = "127.0.0.1:8088"
	defaultDiagonal = 7
)

// An Address is one that the screen is served at: of this machine alone, or of
// a private network.
type Address string

// UnmarshalText parses IP:PORT.
func (a *Address) UnmarshalText(b []byte) error {
	want := errors.New("an address IP:PORT of the loopback or of a private network, such as 127.0.0.1:8088")
	host, port, err := net.SplitHostPort(string(b))
	ip := net.ParseIP(host)
	if err != nil || ip == nil || !ip.IsLoopback() && !ip.IsPrivate() && !ip.IsLinkLocalUnicast() {
		return want
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		return want
	}
	*a = Address(b)
	return nil
}

func (t *Terminal) check(r *strictyaml.Report) {
	t.Listen = Address(or(string(t.Listen), defaultListen))
	if t.Diagonal == 0 {
		t.Diagonal = defaultDiagonal
	}
	numbers := make(map[string]string)
	for _, id := range slices.Sorted(maps.Keys(t.PINs)) {
		n := number(id)
		switch other := numbers[n]; {
		case len(id) > 64 || n == "":
			r.Add("terminal.pins."+id, id, "an officer's id of at most 64 bytes with digits in it: they are typed at the screen")
		case other != "":
			r.Add("terminal.pins."+id, id, "an id whose digits are not those of "+other)
		}
		numbers[n] = id
	}
	for _, id := range slices.Sorted(maps.Keys(t.Duress)) {
		if _, ok := t.PINs[id]; !ok {
			r.Add("terminal.duress_pins."+id, id, "an officer who is in pins too")
		}
	}
}

// number is what an officer types at the screen: the digits of the id.
func number(id string) string {
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, id)
}

// Check returns the officer whose number and PIN these are, or "", and whether
// the PIN is the one for duress. It takes as long for whoever is not known.
func (t *Terminal) Check(num, typed string) (officer string, duress bool) {
	var h, d pin.Hash
	for id, hash := range t.PINs {
		if number(id) == number(num) && number(num) != "" {
			officer, h, d = id, hash, t.Duress[id]
		}
	}
	plain, duress := h.Match(typed), d.Match(typed)
	if !plain && !duress {
		return "", false
	}
	return officer, duress
}
