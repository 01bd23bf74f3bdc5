package config_test

import (
	"strings"
	"testing"

	"github.com/fengsui/fengsui/firmware/config"
	"github.com/fengsui/fengsui/firmware/pin"
)

func hash(t *testing.T, p string) string {
	t.Helper()
	h, err := pin.New(p)
	if err != nil {
		t.Fatal(err)
	}
	return `"` + h.String() + `"`
}

const car = `device: car-01
profile: patrol-car
data: /var/lib/fengsui
centre: {servers: ["mqtt://127.0.0.1"], key: 8139770ea87d175f56a35466c34c7ecccb8d8a91b4ee37a25df60f5b8fc9b394}
gps: {port: /dev/ttyS0}
`

func TestTerminal(t *testing.T) {
	c, err := config.Parse("c", []byte(car+"terminal: {pins: {P-1001: "+hash(t, "284913")+", P-1002: "+hash(t, "775310")+
		"}, duress_pins: {P-1001: "+hash(t, "319482")+"}}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if c.Terminal.Listen != "127.0.0.1:8088" || c.Terminal.Diagonal != 7 {
		t.Errorf("defaults: %+v", c.Terminal)
	}
	for _, x := range []struct {
		number, pin, officer string
		duress               bool
	}{
		{"1001", "284913", "P-1001", false},
		{"P-1001", "284913", "P-1001", false},
		{"1001", "319482", "P-1001", true},
		{"1002", "775310", "P-1002", false},
		{"1002", "284913", "", false},
		{"1002", "319482", "", false},
		{"1003", "284913", "", false},
		{"", "284913", "", false},
		{"1001", "", "", false},
	} {
		if officer, duress := c.Terminal.Check(x.number, x.pin); officer != x.officer || duress != x.duress {
			t.Errorf("number %q, PIN %q: %q, duress %v: want %q, %v", x.number, x.pin, officer, duress, x.officer, x.duress)
		}
	}
}

func TestTerminalRefusals(t *testing.T) {
	h := hash(t, "284913")
	for in, want := range map[string]string{
		`{listen: "0.0.0.0:80"}`:                  `field "terminal.listen": value "0.0.0.0:80": want an address IP:PORT of the loopback or of a private network`,
		`{listen: "8.8.8.8:80"}`:                  `field "terminal.listen"`,
		`{listen: "127.0.0.1"}`:                   `field "terminal.listen"`,
		`{diagonal: 1}`:                           `field "terminal.diagonal"`,
		`{pins: {P-1: "284913"}}`:                 `field "terminal.pins.P-1": value "284913": want the line that`,
		`{pins: {Li: ` + h + `}}`:                 `field "terminal.pins.Li": value "Li": want an officer's id of at most 64 bytes with digits in it`,
		`{pins: {P-1: ` + h + `, Q1: ` + h + `}}`: `field "terminal.pins.Q1": value "Q1": want an id whose digits are not those of P-1`,
		`{duress_pins: {P-1: ` + h + `}}`:         `field "terminal.duress_pins.P-1": value "P-1": want an officer who is in pins too`,
	} {
		_, err := config.Parse("c", []byte(car+"terminal: "+in+"\n"))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v: want %s", in, err, want)
		}
	}
}
