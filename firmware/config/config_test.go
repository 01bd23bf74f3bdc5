package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fengsui/fengsui/firmware/config"
)

const key = "8139770ea87d175f56a35466c34c7ecccb8d8a91b4ee37a25df60f5b8fc9b394"

const minimal = `device: box-01
profile: alarm-box
data: /perm
centre: {servers: [mqtt://c], key: ` + key + `}
buttons: {panic: {line: A, kind: panic}}
lamps: {red: {line: R}, amber: {line: Y}, green: {line: G}}
`

func TestExampleLoads(t *testing.T) {
	c, err := config.Load("example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if c.Centre.Servers[1] != "10.20.0.2:1883" || !c.Buttons["hush"].Silent || c.Fingerprint.Officers[2] != "P-1002" {
		t.Errorf("got %+v", c)
	}
}

func TestDefaults(t *testing.T) {
	c, err := config.Parse("c", []byte(minimal+"siren: {line: S}\ngps: {port: p}\nfingerprint: {port: q, officers: {1: P-1}}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if c.Buttons["panic"].Active != "low" || c.Buttons["panic"].Pull != "up" || c.Lamps.Red.Active != "high" ||
		c.Siren.Limit != config.Duration(3*time.Minute) || c.GPS.Baud != 9600 || c.Fingerprint.Baud != 57600 ||
		c.Track.Batch != 60 || c.Track.CloseAfter != config.Duration(5*time.Second) ||
		c.Health.Every != config.Duration(30*time.Second) || c.Centre.Servers[0] != "c:1883" {
		t.Errorf("got %+v", c)
	}
}

func TestLinesFromTheBoard(t *testing.T) {
	c, err := config.Parse("c", []byte(`device: box-01
profile: alarm-box
board: rpi-zero-2w
data: /perm
centre: {servers: [mqtt://c], key: `+key+`}
buttons: {panic: {kind: panic}, fire: {line: GPIO26, kind: fire}}
lamps: {red: {}, amber: {active: low}, green: {}}
siren: {}
gps: {}
`))
	if err != nil {
		t.Fatal(err)
	}
	if c.Buttons["panic"].Line != "GPIO17" || c.Buttons["fire"].Line != "GPIO26" || c.Lamps.Green.Line != "GPIO13" ||
		c.Siren.Line != "GPIO19" || c.GPS.Port != "/dev/serial0" {
		t.Errorf("got %+v", c)
	}
}

func TestRefusals(t *testing.T) {
	for name, c := range map[string]struct{ old, new, want string }{
		"unknown key":       {"data: /perm", "data: /perm\nbutons: {}", `c:4: field "butons": want a known key: device, profile`},
		"device":            {"box-01", "Box_01", `c:1: field "device": value "Box_01": want a device id`},
		"profile":           {"alarm-box", "toaster", `c:2: field "profile": value "toaster": want one of alarm-box, patrol-car`},
		"no data":           {"data: /perm\n", "", `field "data": want a folder`},
		"scheme":            {"mqtt://c", "tcp://c", `field "centre.servers.0": value "tcp://c": want`},
		"port":              {"mqtt://c", "mqtt://c:99999", `value "mqtt://c:99999": want`},
		"no servers":        {"[mqtt://c]", "[]", `field "centre.servers": value "": want one or more of mqtt://host:port`},
		"short key":         {key, "abcd", `field "centre.key": value "abcd": want the centre's Ed25519 public key`},
		"kind":              {"kind: panic", "kind: flood", `field "buttons.panic.kind": value "flood": want panic, fire or medical`},
		"no line":           {"{line: R}", "{}", `field "lamps.red.line": value "": want a GPIO line such as GPIO17, or a board`},
		"unknown board":     {"data: /perm", "data: /perm\nboard: toaster", `field "board": value "toaster": want one of rpi-zero-2w, rpi-zero-w`},
		"no port":           {"data: /perm", "data: /perm\ngps: {}", `field "gps.port": value "": want a serial port's path`},
		"line twice":        {"{line: Y}", "{line: A}", `field "lamps.amber.line": value "A": want a line that is not used by buttons.panic.line`},
		"lamp missing":      {", green: {line: G}", "", `field "lamps": value "": want red, amber and green`},
		"no button":         {"buttons: {panic: {line: A, kind: panic}}\n", "", `field "buttons": value "": want at least one`},
		"pull on a lamp":    {"{line: R}", "{line: R, pull: up}", `field "lamps.red.pull": value "up": want no pull`},
		"car without gps":   {"alarm-box", "patrol-car", `field "gps": value "": want a receiver`},
		"track batch":       {"data: /perm", "data: /perm\ntrack: {batch: 0}", `field "track.batch": value "0": want an integer from 1 to 600`},
		"health":            {"data: /perm", "data: /perm\nhealth: {every: 1h}", `want a duration from 5s to 10m`},
		"baud":              {"data: /perm", "data: /perm\ngps: {port: p, baud: fast}", `field "gps.baud": value "fast": want an integer from 1200 to 921600`},
		"officer's slot":    {"data: /perm", "data: /perm\nfingerprint: {port: p, officers: {-1: x}}", `field "fingerprint.officers.-1": value "-1": want a slot`},
		"one port for both": {"data: /perm", "data: /perm\ngps: {port: p}\nfingerprint: {port: p, officers: {1: x}}", `field "fingerprint.port": value "p": want a port`},
	} {
		_, err := config.Parse("c", []byte(strings.Replace(minimal, c.old, c.new, 1)))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s:\n got %v\nwant %s", name, err, c.want)
		}
	}
}

func TestLoadNamesTheFile(t *testing.T) {
	_, err := config.Load(filepath.Join(t.TempDir(), "none.yaml"))
	if err == nil || !strings.Contains(err.Error(), "none.yaml: no such file") {
		t.Errorf("got %v", err)
	}
	if _, err := config.Load(t.TempDir()); err == nil {
		t.Error("a folder loads")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(minimal))
	b, err := os.ReadFile("example.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, in []byte) {
		c, err := config.Parse("c", in)
		if err == nil && (c.Device == "" || len(c.Centre.Servers) == 0 || len(c.Centre.Key) != 32) {
			t.Errorf("accepted %+v", c)
		}
	})
}
