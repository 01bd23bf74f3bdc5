package config_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fengsui/fengsui/boards"
	"github.com/fengsui/fengsui/firmware/config"
	"github.com/fengsui/fengsui/firmware/wire"
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
	// The values that it shows are the defaults, and the board's.
	d, err := config.Parse("c", []byte(`device: box-01
profile: alarm-box
data: /perm/fengsui
board: rpi-zero-2w
centre: {servers: [mqtt://10.20.0.1, mqtt://10.20.0.2], key: `+key+`}
buttons: {panic: {kind: panic}, fire: {kind: fire}, hush: {line: GPIO22, kind: panic, silent: true}}
inputs: {tamper: {active: high}, mains: {}, battery-low: {}, test-key: {line: GPIO5}, check-in: {line: GPIO6}}
siren: {}
gps: {}
modem: {pin: "1234", centre: [+8613900000009]}
group:
  name: shiqiao-10
  members: {box-02: 8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c}
  interface: eth0
  peers: [10.20.0.12:7083]
fingerprint: {officers: {1: P-1001, 2: P-1002}}
`))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(d, c); diff != "" {
		t.Error(diff)
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
buttons: {panic: {kind: panic, active: high}, fire: {line: GPIO5, kind: fire}}
lamps: {amber: {active: low}}
siren: {}
gps: {}
`))
	if err != nil {
		t.Fatal(err)
	}
	if c.Buttons["panic"] != (config.Button{Line: "GPIO17", Active: "high", Pull: "up", Kind: config.AlarmKind(wire.Panic)}) ||
		c.Buttons["fire"].Line != "GPIO5" || c.Lamps.Green.Line != "GPIO26" || c.Lamps.Green.Active != "high" ||
		*c.Lamps.Amber != (config.Line{Line: "GPIO16", Active: "low"}) || c.Siren.Line != "GPIO13" || c.GPS.Port != "/dev/ttyAMA0" {
		t.Errorf("got %+v", c)
	}
	car := strings.NewReplacer("alarm-box", "patrol-car", "data: /perm", "data: /perm\nboard: virt\ngps: {}", "line: A, ", "").Replace(minimal)
	if c, err = config.Parse("c", []byte(car)); err != nil {
		t.Fatal(err)
	}
	if b := c.Buttons["panic"]; b.Active != "high" || b.Pull != "none" || b.Line != "9030000.pl061:4" || c.GPS.Port != "/dev/ttyS0" {
		t.Errorf("got %+v", b)
	}
}

// The profiles of the boards are those of the configuration, and a board's
// profile needs nothing but the board.
func TestEveryBoardServesItsProfiles(t *testing.T) {
	for _, name := range boards.Names() {
		b, err := boards.Load(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, profile := range b.Profiles {
			doc := "device: d\nprofile: " + profile + "\nboard: " + name + "\ndata: /perm\ncentre: {servers: [mqtt://c], key: " + key + "}\n"
			switch profile {
			case config.AlarmBox:
				doc += "buttons: {panic: {kind: panic}}\nsiren: {}\n"
			case config.PatrolCar:
				doc += "gps: {}\nfingerprint: {officers: {1: x}}\n"
			case config.PatrolMotorcycle:
				doc += "gps: {}\n"
			}
			if _, err := config.Parse("c", []byte(doc)); err != nil {
				t.Errorf("%s as %s: %v", name, profile, err)
			}
		}
	}
}

const keys = "device, profile, data, board, drill, centre, buttons, inputs, lamps, siren, audio, gps, place, fingerprint, modem, group, terminal, track, health, spool"

// Every message, word for word.
func TestRefusals(t *testing.T) {
	const fp = "data: /perm\nfingerprint: "
	for name, c := range map[string]struct{ old, new, want string }{
		"unknown key":        {"data: /perm", "data: /perm\nbutons: {}", `c:4: field "butons": want a known key: ` + keys + `; the nearest is buttons`},
		"no device":          {"device: box-01\n", "", `c:1: field "device": want a device id: 1 to 32 of a-z, 0-9 and '-'; the key is missing`},
		"device":             {"box-01", "Box_01", `c:1: field "device": value "Box_01": want a device id: 1 to 32 of a-z, 0-9 and '-', not beginning with '-'`},
		"profile":            {"alarm-box", "toaster", `c:2: field "profile": value "toaster": want one of alarm-box, patrol-car, patrol-motorcycle`},
		"profile nearly":     {"alarm-box", "alarmbox", `c:2: field "profile": value "alarmbox": want one of alarm-box, patrol-car, patrol-motorcycle; the nearest is alarm-box`},
		"no data":            {"data: /perm\n", "", `c:1: field "data": want a folder for the spool and the key; the key is missing`},
		"empty data":         {"/perm", "''", `c:3: field "data": value "": want a folder for the spool and the key`},
		"no centre":          {"centre: {servers: [mqtt://c], key: " + key + "}\n", "", `c:1: field "centre": want a value; the key is missing`},
		"drill":              {"data: /perm", "data: /perm\ndrill: maybe", `c:4: field "drill": value "maybe": want true or false`},
		"scheme":             {"mqtt://c", "tcp://c", `c:4: field "centre.servers.0": value "tcp://c": want one or more of mqtt://host:port`},
		"port":               {"mqtt://c", "mqtt://c:99999", `c:4: field "centre.servers.0": value "mqtt://c:99999": want one or more of mqtt://host:port`},
		"path":               {"mqtt://c", "mqtt://c/a", `c:4: field "centre.servers.0": value "mqtt://c/a": want one or more of mqtt://host:port`},
		"password":           {"mqtt://c", "mqtt://u:p@c", `c:4: field "centre.servers.0": value "mqtt://u:p@c": want one or more of mqtt://host:port`},
		"fragment":           {"mqtt://c", "mqtt://c#x", `c:4: field "centre.servers.0": value "mqtt://c#x": want one or more of mqtt://host:port`},
		"no servers":         {"[mqtt://c]", "[]", `c:4: field "centre.servers": value "": want one or more of mqtt://host:port`},
		"one server twice":   {"[mqtt://c]", "[mqtt://c, mqtt://c:1883]", `c:4: field "centre.servers.1": value "c:1883": want another server than centre.servers.0`},
		"one server":         {"[mqtt://c]", "mqtt://c", `c:4: field "centre.servers": value "mqtt://c": want one or more of mqtt://host:port`},
		"short key":          {key, "abcd", `c:4: field "centre.key": value "abcd": want the centre's Ed25519 public key, 64 hexadecimal digits`},
		"kind":               {"kind: panic", "kind: flood", `c:5: field "buttons.panic.kind": value "flood": want panic, fire or medical`},
		"no kind":            {", kind: panic", "", `c:5: field "buttons.panic.kind": want panic, fire or medical; the key is missing`},
		"button's name":      {"{panic:", "{Panic!:", `c:5: field "buttons.Panic!": value "Panic!": want a button's name: 1 to 32 of a-z, 0-9 and '-', not beginning with '-'`},
		"active":             {"line: A", "line: A, active: up", `c:5: field "buttons.panic.active": value "up": want one of high, low`},
		"pull":               {"line: A", "line: A, pull: high", `c:5: field "buttons.panic.pull": value "high": want one of up, down, none`},
		"no line":            {"{line: R}", "{}", `c:6: field "lamps.red.line": value "": want a GPIO line such as GPIO17, or a board that has one for this role`},
		"unknown board":      {"data: /perm", "data: /perm\nboard: toaster", `c:4: field "board": value "toaster": want one of ` + strings.Join(boards.Names(), ", ")},
		"no port":            {"data: /perm", "data: /perm\ngps: {}", `c:4: field "gps.port": value "": want a serial port's path, or a board that has one`},
		"line twice":         {"{line: Y}", "{line: A}", `c:6: field "lamps.amber.line": value "A": want a line that is not used by buttons.panic.line`},
		"two ways":           {"line: A", "line: A, supervised: {adc: a/in_voltage0, window: W}", `c:5: field "buttons.panic.supervised": value "a/in_voltage0": want either adc, an analogue input, or window, a GPIO line`},
		"no way":             {"line: A", "line: A, supervised: {}", `c:5: field "buttons.panic.supervised": value "": want either adc, an analogue input, or window, a GPIO line`},
		"a line beside it":   {"line: A", "line: A, supervised: {adc: a/in_voltage0}", `c:5: field "buttons.panic.line": value "A": want no line beside supervised.adc: the analogue input tells all`},
		"no channel":         {"line: A", "supervised: {adc: a}", `c:5: field "buttons.panic.supervised.adc": value "a": want DEVICE/CHANNEL, such as iio:device0/in_voltage0`},
		"window's line":      {"line: A", "line: A, supervised: {window: R}", `c:6: field "lamps.red.line": value "R": want a line that is not used by buttons.panic.supervised.window`},
		"no line beside it":  {"line: A", "supervised: {window: W}", `c:5: field "buttons.panic.line": value "": want a GPIO line such as GPIO17, or a board that has one for this role`},
		"the supply":         {"line: A", "supervised: {adc: a/in_voltage0, supply_mv: 12}", `c:5: field "buttons.panic.supervised.supply_mv": value "12": want an integer from 1000 to 5500`},
		"input's role":       {"data: /perm", "data: /perm\ninputs: {door: {line: D}}", `c:4: field "inputs.door": value "door": want one of tamper, mains, battery-low, test-key, check-in`},
		"input's line":       {"data: /perm", "data: /perm\ninputs: {mains: {line: A}}", `c:4: field "inputs.mains.line": value "A": want a line that is not used by buttons.panic.line`},
		"no input's line":    {"data: /perm", "data: /perm\ninputs: {mains: {}}", `c:4: field "inputs.mains.line": value "": want a GPIO line such as GPIO17, or a board that has one for this role`},
		"input's hold":       {"data: /perm", "data: /perm\ninputs: {mains: {line: M, hold: 1ms}}", `c:4: field "inputs.mains.hold": value "1ms": want a duration from 20ms to 10m`},
		"key's hold":         {"data: /perm", "data: /perm\ninputs: {test-key: {line: K, hold: 1s}}", `c:4: field "inputs.test-key.hold": value "1s": want no hold here: it counts as fast as a button does`},
		"round's hold":       {"data: /perm", "data: /perm\ninputs: {check-in: {line: K, hold: 1s}}", `c:4: field "inputs.check-in.hold": value "1s": want no hold here: it counts as fast as a button does`},
		"siren's line":       {"data: /perm", "data: /perm\nsiren: {line: R}", `c:4: field "siren.line": value "R": want a line that is not used by lamps.red.line`},
		"siren's limit":      {"data: /perm", "data: /perm\nsiren: {line: S, limit: 1h}", `c:4: field "siren.limit": value "1h": want a duration from 1s to 15m`},
		"siren's pause":      {"data: /perm", "data: /perm\nsiren: {line: S, pause: 1s}", `c:4: field "siren.pause": value "1s": want a duration from 1m to 24h`},
		"siren's rounds":     {"data: /perm", "data: /perm\nsiren: {line: S, rounds: 0}", `c:4: field "siren.rounds": value "0": want an integer from 1 to 20`},
		"a UART's line":      {"data: /perm", "data: /perm\nboard: rpi-zero-w\ngps: {}\nsiren: {line: GPIO15}", `c:6: field "siren.line": value "GPIO15": want a line that is not used by gps.port`},
		"lamp missing":       {", green: {line: G}", "", `c:6: field "lamps": value "": want red, amber and green beside a button: the presser must see three things`},
		"an output's role":   {"buttons: {panic: {line: A,", "board: sim\nbuttons: {siren: {", `c:6: field "buttons.siren.line": value "": want a GPIO line such as GPIO17, or a board that has one for this role`},
		"no button":          {"buttons: {panic: {line: A, kind: panic}}\n", "", `c:1: field "buttons": value "": want at least one button on an alarm-box`},
		"pull on a lamp":     {"{line: R}", "{line: R, pull: up}", `c:6: field "lamps.red.pull": want a known key: line, active`},
		"motorcycle":         {"alarm-box", "patrol-motorcycle", `c:1: field "gps": value "": want a receiver on a patrol-motorcycle`},
		"car without gps":    {"alarm-box", "patrol-car", `c:1: field "gps": value "": want a receiver on a patrol-car`},
		"track batch":        {"data: /perm", "data: /perm\ntrack: {batch: 0}", `c:4: field "track.batch": value "0": want an integer from 1 to 600`},
		"track close":        {"data: /perm", "data: /perm\ntrack: {close_after: 5}", `c:4: field "track.close_after": value "5": want a duration such as "5s", "1m30s" or "80ms"`},
		"track still":        {"data: /perm", "data: /perm\ntrack: {still_every: 1ms}", `c:4: field "track.still_every": value "1ms": want a duration from 1s to 10m`},
		"health":             {"data: /perm", "data: /perm\nhealth: {every: 1h}", `c:4: field "health.every": value "1h": want a duration from 5s to 10m`},
		"baud":               {"data: /perm", "data: /perm\ngps: {port: p, baud: fast}", `c:4: field "gps.baud": value "fast": want an integer from 1200 to 921600`},
		"sensor's baud":      {"data: /perm", fp + "{port: p, baud: 10000, officers: {}}", `c:4: field "fingerprint.baud": value "10000": want 9600 times 1 to 12`},
		"sensor's password":  {"data: /perm", fp + "{port: p, password: -1, officers: {}}", `c:4: field "fingerprint.password": value "-1": want an integer from 0 to 4294967295`},
		"score":              {"data: /perm", fp + "{port: p, min_score: 0, officers: {}}", `c:4: field "fingerprint.min_score": value "0": want an integer from 1 to 1000`},
		"lockout":            {"data: /perm", fp + "{port: p, lockout: {after: 1}}", `c:4: field "fingerprint.lockout.after": value "1": want an integer from 3 to 100`},
		"lockout's max":      {"data: /perm", fp + "{port: p, lockout: {for: 2m, max: 1m}}", `c:4: field "fingerprint.lockout.max": value "1m0s": want no less than fingerprint.lockout.for`},
		"ring":               {"data: /perm", fp + "{port: p, ring: blue}", `c:4: field "fingerprint.ring": value "blue": want true or false`},
		"officer's slot":     {"data: /perm", fp + "{port: p, officers: {-1: x}}", `c:4: field "fingerprint.officers.-1": value "-1": want a slot from 0 to 65535`},
		"officer's id":       {"data: /perm", fp + "{port: p, officers: {1: ' '}}", `c:4: field "fingerprint.officers.1": value " ": want an officer's id of 1 to 64 bytes`},
		"sensor's port":      {"data: /perm", fp + "{officers: {1: x}}", `c:4: field "fingerprint.port": value "": want a serial port's path, or a board that has one`},
		"receiver":           {"data: /perm", "data: /perm\ngps: {port: p, receiver: sirf}", `c:4: field "gps.receiver": value "sirf": want one of casic, quectel-l76, quectel-lc, ublox-m10, ublox-m8, ublox-m9`},
		"rate":               {"data: /perm", "data: /perm\ngps: {port: p, receiver: casic, rate: 7}", `c:4: field "gps.rate": value "7": want one of [1 5 10]`},
		"rate alone":         {"data: /perm", "data: /perm\ngps: {port: p, rate: 10}", `c:4: field "gps.rate": value "10": want no rate without gps.receiver: it is told nothing`},
		"slow for the rate":  {"data: /perm", "data: /perm\ngps: {port: p, receiver: casic, rate: 10}", `c:4: field "gps.baud": value "9600": want 30000 or more for 10 fixes a second`},
		"receiver's baud":    {"data: /perm", "data: /perm\ngps: {port: p, baud: 19200, receiver: casic}", `c:4: field "gps.baud": value "19200": want one of [9600 38400 115200] with gps.receiver casic`},
		"patience":           {"data: /perm", "data: /perm\ngps: {port: p, patience: 5s}", `c:4: field "gps.patience": value "5s": want a duration from 10s to 1h`},
		"antenna":            {"data: /perm", "data: /perm\ngps: {port: p, antenna: big}", `c:4: field "gps.antenna": value "big": want one of active, passive`},
		"place":              {"data: /perm", "data: /perm\nplace: {lat: 91, lon: 0}", `c:4: field "place.lat": value "91": want a number from -90 to 90`},
		"place of a car":     {"alarm-box\ndata: /perm", "patrol-car\ngps: {port: p}\nplace: {lat: 1, lon: 2}\ndata: /perm", `c:4: field "place": value "patrol-car": want no place on what moves: only an alarm-box has one`},
		"no number":          {"data: /perm", "data: /perm\nmodem: {port: p, centre: [13900000009]}", `c:4: field "modem.centre.0": value "13900000009": want one or more numbers such as +8613900000009`},
		"no numbers":         {"data: /perm", "data: /perm\nmodem: {port: p, centre: []}", `c:4: field "modem.centre": value "": want one or more numbers such as +8613900000009`},
		"number twice":       {"data: /perm", "data: /perm\nmodem: {port: p, centre: [+8613900000009, +8613900000009]}", `c:4: field "modem.centre.1": value "+8613900000009": want another number than modem.centre.0`},
		"PIN":                {"data: /perm", "data: /perm\nmodem: {port: p, pin: \"12\", centre: [+8613900000009]}", `c:4: field "modem.pin": value "**": want 4 to 8 digits, in quotes`},
		"soon":               {"data: /perm", "data: /perm\nmodem: {port: p, after: 1ms, centre: [+8613900000009]}", `c:4: field "modem.after": value "1ms": want a duration from 1s to 10m`},
		"modem's port":       {"data: /perm", "data: /perm\ngps: {port: p}\nmodem: {port: p, centre: [+8613900000009]}", `c:5: field "modem.port": value "p": want a port that is not used by gps.port`},
		"itself a neighbour": {"data: /perm", "data: /perm\ngroup: {name: x, members: {box-01: " + key + "}}", `c:4: field "group.members.box-01": value "box-01": want the others only`},
		"no neighbour":       {"data: /perm", "data: /perm\ngroup: {name: x, members: {}}", `c:4: field "group.members": value "0": want 1 to 64 others`},
		"group's name":       {"data: /perm", "data: /perm\ngroup: {name: X, members: {box-02: " + key + "}}", `c:4: field "group.name": value "X": want 1 to 32 of a-z, 0-9 and '-', not beginning with '-'`},
		"no multicast":       {"data: /perm", "data: /perm\ngroup: {name: x, address: \"10.0.0.1:7083\", members: {box-02: " + key + "}}", `c:4: field "group.address": value "10.0.0.1:7083": want a multicast address, such as 239.255.70.83:7083; others belong into group.peers`},
		"no peer":            {"data: /perm", "data: /perm\ngroup: {name: x, peers: [box-02], members: {box-02: " + key + "}}", `c:4: field "group.peers.0": value "box-02": want an IP address and a port, such as 10.20.0.12:7083`},
		"one port for both":  {"data: /perm", "data: /perm\ngps: {port: p}\nfingerprint: {port: p, officers: {1: x}}", `c:5: field "fingerprint.port": value "p": want a port that is not used by gps.port`},
	} {
		if !strings.Contains(minimal, c.old) {
			t.Fatalf("%s: nothing to replace", name)
		}
		_, err := config.Parse("c", []byte(strings.Replace(minimal, c.old, c.new, 1)))
		if got := fmt.Sprint(err); err == nil && c.want != "" || err != nil && got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, c.want)
		}
	}
}

func TestSeveralMistakesAtOnce(t *testing.T) {
	_, err := config.Parse("c", []byte(strings.NewReplacer("box-01", "Box", "line: Y", "line: R", "mqtt://c", "mqtt://c, mqtt://c").Replace(minimal)))
	const want = `c:1: field "device": value "Box": want a device id: 1 to 32 of a-z, 0-9 and '-', not beginning with '-'
c:4: field "centre.servers.1": value "c:1883": want another server than centre.servers.0
c:6: field "lamps.red.line": value "R": want a line that is not used by lamps.amber.line`
	if fmt.Sprint(err) != want {
		t.Errorf("got %v\nwant %s", err, want)
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

// What is accepted is whole: every part has its line or port, none twice.
func FuzzParse(f *testing.F) {
	f.Add([]byte(minimal))
	b, err := os.ReadFile("example.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, in []byte) {
		c, err := config.Parse("c", in)
		if err != nil {
			return
		}
		used := make(map[string]bool)
		line := func(l, active string) {
			if l == "" || used[l] || active != "low" && active != "high" {
				t.Errorf("line %q, active %q, used %v", l, active, used[l])
			}
			used[l] = true
		}
		for _, b := range c.Buttons {
			line(b.Line, b.Active)
		}
		for _, l := range c.Lamps.ByName() {
			line(l.Line, l.Active)
		}
		if c.Siren != nil {
			line(c.Siren.Line, c.Siren.Active)
			if c.Siren.Limit <= 0 {
				t.Errorf("siren's limit %v", c.Siren.Limit)
			}
		}
		if len(c.Buttons) > 0 && len(c.Lamps.ByName()) < 3 || wire.ValidDevice(c.Device) != nil || c.Data == "" ||
			len(c.Centre.Servers) == 0 || len(c.Centre.Key) != 32 || c.GPS != nil && (c.GPS.Port == "" || c.GPS.Baud < 1200) ||
			c.Fingerprint != nil && (c.Fingerprint.Port == "" || c.Fingerprint.Baud < 9600) || c.Track.Batch < 1 || c.Health.Every <= 0 {
			t.Errorf("accepted %+v", c)
		}
	})
}
