// Package config reads a device's configuration: one strict YAML file. Every
// mistake is reported with file, line, field, value and what would be right.
//
// It opens no port: a line is a name that the hardware layer understands, given
// here or taken from the board. Secrets are not in the configuration; the
// device's key is made on the device.
package config

import (
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/fengsui/fengsui/boards/strictyaml"
	"github.com/fengsui/fengsui/firmware/wire"
)

// Duration is a time written as "5s" or "1m30s".
type Duration = strictyaml.Duration

// The profiles of a device. A motorcycle is a patrol car whose officer may wear
// gloves: it needs a receiver, and a finger sensor is welcome, not needed.
const (
	AlarmBox         = "alarm-box"
	PatrolCar        = "patrol-car"
	PatrolMotorcycle = "patrol-motorcycle"
)

// A Config is a device's configuration.
type Config struct {
	Device      string            `yaml:"device" required:"true" want:"a device id: 1 to 32 of a-z, 0-9 and '-'"`
	Profile     string            `yaml:"profile" required:"true" oneof:"alarm-box|patrol-car|patrol-motorcycle"`
	Data        string            `yaml:"data" required:"true" want:"a folder for the spool and the key"`
	Board       string            `yaml:"board"` // where to take lines and ports from that are not named here
	Drill       bool              `yaml:"drill"` // everything from this device belongs to an exercise
	Centre      Centre            `yaml:"centre" required:"true"`
	Buttons     map[string]Button `yaml:"buttons"`
	Inputs      map[string]Input  `yaml:"inputs"` // by role, see Input
	Lamps       Lamps             `yaml:"lamps"`
	Siren       *Siren            `yaml:"siren"`
	Audio       *Audio            `yaml:"audio"`
	GPS         *GPS              `yaml:"gps"`
	Place       *Place            `yaml:"place"` // where a box stands, surveyed; without it a box learns
	Fingerprint *Fingerprint      `yaml:"fingerprint"`
	Modem       *Modem            `yaml:"modem"`
	Group       *Group            `yaml:"group"`
	Terminal    *Terminal         `yaml:"terminal"`
	Track       Track             `yaml:"track"`
	Health      Health            `yaml:"health"`
	Spool       Spool             `yaml:"spool"`
}

// Centre is where the device reports to.
type Centre struct {
	Servers []Server  `yaml:"servers" required:"true" want:"one or more of mqtt://host:port"` // tried in order
	Key     PublicKey `yaml:"key" required:"true" want:"the centre's Ed25519 public key, 64 hexadecimal digits"`
}

// A Server is an MQTT broker's address, host:port.
type Server string

// UnmarshalText parses mqtt://host[:port]; the port is 1883 by default
// (MQTT 3.1.1, appendix: IANA registration).
func (s *Server) UnmarshalText(b []byte) error {
	want := errors.New("mqtt://host:port")
	u, err := url.Parse(string(b))
	if err != nil || u.Scheme != "mqtt" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.Trim(u.Path, "/") != "" {
		return want
	}
	port := u.Port()
	if port == "" {
		port = "1883"
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		return want
	}
	*s = Server(net.JoinHostPort(u.Hostname(), port))
	return nil
}

// A PublicKey is an Ed25519 public key, written as 64 hexadecimal digits.
type PublicKey ed25519.PublicKey

// UnmarshalText parses the hexadecimal digits.
func (k *PublicKey) UnmarshalText(b []byte) error {
	raw, err := hex.DecodeString(string(b))
	if err != nil || len(raw) != ed25519.PublicKeySize {
		return errors.New("an Ed25519 public key, 64 hexadecimal digits")
	}
	*k = raw
	return nil
}

// A Line is a GPIO line that is driven, and its sense.
type Line struct {
	Line   string `yaml:"line"`
	Active string `yaml:"active" oneof:"high|low"` // the level of lit
}

// A Button is an input that raises an alarm.
type Button struct {
	Line   string    `yaml:"line"`
	Active string    `yaml:"active" oneof:"high|low"`
	Pull   string    `yaml:"pull" oneof:"up|down|none"`
	Kind   AlarmKind `yaml:"kind" required:"true" want:"panic, fire or medical"`
	Silent bool      `yaml:"silent"` // no siren, and discreet lamps

	Supervised *Supervised `yaml:"supervised"`
}

// Supervised says how a button at the end of a supervised cable is read, one
// way or the other; package button has the circuit. Behind comparators the
// button's own line tells the lower half of the voltages from the upper, and
// Window those between 15 % and 84 % of the supply from those outside.
type Supervised struct {
	ADC    string `yaml:"adc"`                             // an analogue input of Linux, DEVICE/CHANNEL
	Supply int    `yaml:"supply_mv" min:"1000" max:"5500"` // of the loop, in millivolts; by default 3300
	Window string `yaml:"window"`                          // a GPIO line
	Inside string `yaml:"inside" oneof:"high|low"`         // its level between the limits; by default high
}

// The roles of inputs.
const (
	Tamper     = "tamper"      // the box is open, or torn off its wall
	Mains      = "mains"       // the mains is lost
	BatteryLow = "battery-low" // the battery will not last
	TestKey    = "test-key"    // the technician's key switch: presses are test alarms while it is on
	CheckIn    = "check-in"    // a guard round's button or key switch: each press is a visit
)

// InputRoles returns the roles that an input may have.
func InputRoles() []string { return []string{Tamper, Mains, BatteryLow, TestKey, CheckIn} }

// An Input is a contact that tells of the box itself, or of a guard round. Wire it so that a cut
// wire is told as well: a tamper contact that closes to ground while the box is
// shut, with active high; a relay or an opto-coupler that pulls the line down
// while there is mains, with active high.
type Input struct {
	Line   string   `yaml:"line"`
	Active string   `yaml:"active" oneof:"high|low"` // the level of: open, lost, low, turned, pressed
	Pull   string   `yaml:"pull" oneof:"up|down|none"`
	Hold   Duration `yaml:"hold" min:"20ms" max:"10m"` // shorter changes are nothing; by default 100 ms for tamper, 10 s for mains and battery-low; not for test-key and check-in
}

// AlarmKind is a wire.AlarmKind, written by name.
type AlarmKind wire.AlarmKind

// UnmarshalText parses the kind's name.
func (k *AlarmKind) UnmarshalText(b []byte) error {
	v, err := wire.ParseAlarmKind(string(b))
	if err != nil {
		return errors.New("panic, fire or medical")
	}
	*k = AlarmKind(v)
	return nil
}

// Lamps are the three lamps that tell the presser.
type Lamps struct {
	Red   *Line `yaml:"red"`
	Amber *Line `yaml:"amber"`
	Green *Line `yaml:"green"`
}

// ByName returns the lamps that are configured.
func (l Lamps) ByName() map[string]*Line {
	m := map[string]*Line{"red": l.Red, "amber": l.Amber, "green": l.Green}
	maps.DeleteFunc(m, func(_ string, l *Line) bool { return l == nil })
	return m
}

// Siren is the siren's driver. It sounds for limit, pauses, and sounds again
// while an alarm is latched, rounds times in all.
type Siren struct {
	Line   string   `yaml:"line"`
	Active string   `yaml:"active" oneof:"high|low"`
	Limit  Duration `yaml:"limit" min:"1s" max:"15m"`
	Pause  Duration `yaml:"pause" min:"1m" max:"24h"`
	Rounds int      `yaml:"rounds" min:"1" max:"20"`
}

// Audio is a loudspeaker on a sound card of Linux, that says prompts. A silent
// alarm has none.
type Audio struct {
	Card string `yaml:"card"` // its number or a part of its name; "": the first one
	Lang string `yaml:"lang" oneof:"zh-CN|en"`
	Dir  string `yaml:"dir"` // of the sound files, LANG/PROMPT.wav; an image has its own
}

// GPS is a satellite receiver that speaks NMEA 0183.
type GPS struct {
	Port     string   `yaml:"port"`
	Baud     int      `yaml:"baud" min:"1200" max:"921600"`
	Receiver string   `yaml:"receiver"`                       // one of gps.Receivers, to be set up at the start; "": told nothing
	Rate     int      `yaml:"rate"`                           // fixes a second, with receiver; by default 1
	Patience Duration `yaml:"patience" min:"10s" max:"1h"`    // how long it may be silent, or without a fix, until that is a fault; by default 2m
	Antenna  string   `yaml:"antenna" oneof:"active|passive"` // of a passive one it means nothing that a receiver calls it open
}

// Passive is the antenna without an amplifier.
const Passive = "passive"

// A Place is where a box was surveyed to stand, in degrees, WGS 84.
type Place struct {
	Lat float64 `yaml:"lat" required:"true" min:"-90" max:"90"`
	Lon float64 `yaml:"lon" required:"true" min:"-180" max:"180"`
}

// Fingerprint is a ZFM/R30x/R503 sensor.
type Fingerprint struct {
	Port     string         `yaml:"port"`
	Baud     int            `yaml:"baud"`
	Password uint32         `yaml:"password"`                                                             // that the sensor came with; 0: it checks none
	MinScore int            `yaml:"min_score" min:"1" max:"1000"`                                         // a weaker match is refused
	Officers map[int]string `yaml:"officers" want:"officers' ids of 1 to 64 bytes, each behind its slot"` // slot → officer id, of those that were enrolled elsewhere

	OwnPassword *bool   `yaml:"own_password"` // the device gives the sensor a password of its own; by default it does
	Ring        *bool   `yaml:"ring"`         // the sensor's light ring is used, if it has one; by default it is
	Lockout     Lockout `yaml:"lockout"`
}

// Lockout says when no finger counts for a while, since too many were refused
// in a row: for so long at first, twice as long each time that it happens again.
type Lockout struct {
	After int      `yaml:"after" min:"3" max:"100"` // refused fingers in a row
	For   Duration `yaml:"for" min:"10s" max:"15m"` // the first time
	Max   Duration `yaml:"max" min:"10s" max:"1h"`  // at most
}

// Track says how positions are batched.
type Track struct {
	Batch      int      `yaml:"batch" min:"1" max:"600"`        // fixes in a full batch
	CloseAfter Duration `yaml:"close_after" min:"1s" max:"5m"`  // with the link up, a batch closes after so long
	Still      Duration `yaml:"still_every" min:"1s" max:"10m"` // while standing still, a fix so often
}

// Health says how often the device reports itself.
type Health struct {
	Every Duration `yaml:"every" min:"5s" max:"10m"`
}

// Spool says how much the device may keep for the centre.
type Spool struct {
	// LimitMiB is the most that its file may take; 128 at most where addresses
	// have 32 bits.
	LimitMiB int `yaml:"limit_mib" min:"4" max:"4096"`
}

// Load reads and checks a file. The error is that of the file, or a
// *strictyaml.Error.
func Load(path string) (*Config, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("config %s: no such file: want a YAML file as in the README", path)
	}
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, strictyaml.MaxSize+1)) // a device would have no end
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	return Parse(path, b)
}

// Parse checks a document; name stands for the file in errors.
func Parse(name string, data []byte) (*Config, error) {
	c := &Config{
		Track:  Track{Batch: 60, CloseAfter: Duration(5 * time.Second), Still: Duration(30 * time.Second)},
		Health: Health{Every: Duration(30 * time.Second)},
		Spool:  Spool{LimitMiB: 64},
	}
	if err := strictyaml.Decode(name, data, c); err != nil {
		return nil, err
	}
	return c, nil
}
