// Package config reads a device's configuration: one strict YAML file. Every
// mistake is reported with file, line, field, value and what would be right.
//
// It opens no port: a line is a name that the hardware layer understands, given
// here or taken from the board. Secrets are not in the configuration; the device's key is
// made on the device.
package config

import (
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fengsui/fengsui/boards"
	"github.com/fengsui/fengsui/boards/strictyaml"
	"github.com/fengsui/fengsui/firmware/wire"
)

// Duration is a time written as "5s" or "1m30s".
type Duration = strictyaml.Duration

// The profiles of a device.
const (
	AlarmBox  = "alarm-box"
	PatrolCar = "patrol-car"
)

// A Config is a device's configuration.
type Config struct {
	Device      string            `yaml:"device" required:"true" want:"a device id: 1 to 32 of a-z, 0-9 and '-'"`
	Profile     string            `yaml:"profile" required:"true" oneof:"alarm-box|patrol-car"`
	Data        string            `yaml:"data" required:"true" want:"a folder for the spool and the key"`
	Board       string            `yaml:"board"` // where to take lines and ports from that are not named here
	Drill       bool              `yaml:"drill"` // everything from this device belongs to an exercise
	Centre      Centre            `yaml:"centre" required:"true"`
	Buttons     map[string]Button `yaml:"buttons"`
	Lamps       Lamps             `yaml:"lamps"`
	Siren       *Siren            `yaml:"siren"`
	GPS         *GPS              `yaml:"gps"`
	Fingerprint *Fingerprint      `yaml:"fingerprint"`
	Track       Track             `yaml:"track"`
	Health      Health            `yaml:"health"`
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
	if err != nil || u.Scheme != "mqtt" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || strings.Trim(u.Path, "/") != "" {
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

// A Line is a GPIO line and its sense.
type Line struct {
	Line   string `yaml:"line"`
	Active string `yaml:"active" oneof:"high|low"` // the level of pressed, or lit
	Pull   string `yaml:"pull" oneof:"up|down|none"`
}

// A Button is an input that raises an alarm.
type Button struct {
	Line   string    `yaml:"line"`
	Active string    `yaml:"active" oneof:"high|low"`
	Pull   string    `yaml:"pull" oneof:"up|down|none"`
	Kind   AlarmKind `yaml:"kind" required:"true" want:"panic, fire or medical"`
	Silent bool      `yaml:"silent"` // no siren, and discreet lamps
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

// Siren is the siren's driver.
type Siren struct {
	Line   string   `yaml:"line"`
	Active string   `yaml:"active" oneof:"high|low"`
	Limit  Duration `yaml:"limit" min:"1s" max:"15m"` // it pauses after sounding for so long
}

// GPS is a satellite receiver that speaks NMEA 0183.
type GPS struct {
	Port string `yaml:"port"`
	Baud int    `yaml:"baud" min:"1200" max:"921600"`
}

// Fingerprint is a ZFM/R30x/R503 sensor.
type Fingerprint struct {
	Port     string         `yaml:"port"`
	Baud     int            `yaml:"baud" min:"9600" max:"115200"`
	Password uint32         `yaml:"password"`                     // 0: the sensor checks none
	MinScore int            `yaml:"min_score" min:"1" max:"1000"` // a weaker match is refused
	Officers map[int]string `yaml:"officers" required:"true"`     // slot → officer id
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

// Load reads and checks a file.
func Load(path string) (*Config, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("config %s: no such file: want a YAML file as in the README", path)
	}
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
	}
	if err := strictyaml.Decode(name, data, c); err != nil {
		return nil, err
	}
	return c, nil
}

const (
	defaultSiren    = Duration(3 * time.Minute)
	defaultGPSBaud  = 9600
	defaultFPBaud   = 57600
	defaultMinScore = 50
)

// Validate checks what concerns several fields, and fills defaults of parts
// that are there.
func (c *Config) Validate(r *strictyaml.Report) {
	if wire.ValidDevice(c.Device) != nil {
		r.Add("device", c.Device, "a device id: 1 to 32 of a-z, 0-9 and '-', not beginning with '-'")
	}
	if strings.TrimSpace(c.Data) == "" {
		r.Add("data", c.Data, "a folder for the spool and the key")
	}
	if len(c.Centre.Servers) == 0 {
		r.Add("centre.servers", "", "one or more of mqtt://host:port")
	}
	c.fromBoard(r)
	used := make(map[string]string)
	line := func(field, name string) {
		switch other := used[name]; {
		case strings.TrimSpace(name) == "":
			r.Add(field, name, "a GPIO line such as GPIO17, or a board that has one for this role")
		case other != "":
			r.Add(field, name, "a line that is not used by "+other)
		default:
			used[name] = field
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Buttons)) {
		if wire.ValidDevice(name) != nil {
			r.Add("buttons."+name, name, "a button's name: 1 to 32 of a-z, 0-9 and '-'")
		}
		b := c.Buttons[name]
		b.Active, b.Pull = or(b.Active, "low"), or(b.Pull, "up")
		c.Buttons[name] = b
		line("buttons."+name+".line", b.Line)
	}
	lamps := c.Lamps.ByName()
	for _, name := range slices.Sorted(maps.Keys(lamps)) {
		lamps[name].Active = or(lamps[name].Active, "high")
		if lamps[name].Pull != "" {
			r.Add("lamps."+name+".pull", lamps[name].Pull, "no pull on an output")
		}
		line("lamps."+name+".line", lamps[name].Line)
	}
	if c.Siren != nil {
		c.Siren.Active = or(c.Siren.Active, "high")
		if c.Siren.Limit == 0 {
			c.Siren.Limit = defaultSiren
		}
		line("siren.line", c.Siren.Line)
	}
	if c.GPS != nil && c.GPS.Baud == 0 {
		c.GPS.Baud = defaultGPSBaud
	}
	if f := c.Fingerprint; f != nil {
		if f.Baud == 0 {
			f.Baud = defaultFPBaud
		}
		if f.MinScore == 0 {
			f.MinScore = defaultMinScore
		}
		for slot, officer := range f.Officers {
			at := "fingerprint.officers." + strconv.Itoa(slot)
			if slot < 0 || slot > 65535 {
				r.Add(at, slot, "a slot from 0 to 65535")
			}
			if officer == "" || len(officer) > 64 {
				r.Add(at, officer, "an officer's id of 1 to 64 bytes")
			}
		}
		if c.GPS != nil && c.GPS.Port == f.Port && f.Port != "" {
			r.Add("fingerprint.port", f.Port, "a port that is not used by gps.port")
		}
	}
	if c.GPS != nil && c.GPS.Port == "" {
		r.Add("gps.port", "", "a serial port's path, or a board that has one")
	}
	if c.Fingerprint != nil && c.Fingerprint.Port == "" {
		r.Add("fingerprint.port", "", "a serial port's path, or a board that has one")
	}
	switch c.Profile {
	case AlarmBox:
		if len(c.Buttons) == 0 {
			r.Add("buttons", "", "at least one button on an alarm-box")
		}
		if len(lamps) < 3 {
			r.Add("lamps", "", "red, amber and green on an alarm-box: the presser must see three things")
		}
	case PatrolCar:
		if c.GPS == nil {
			r.Add("gps", "", "a receiver on a patrol-car")
		}
	}
	if len(c.Buttons) > 0 && c.Profile == PatrolCar && len(lamps) < 3 {
		r.Add("lamps", "", "red, amber and green beside a button: the presser must see three things")
	}
}

// fromBoard fills lines and ports that are not named: a button's, a lamp's and
// the siren's by the board's line of the same role.
func (c *Config) fromBoard(r *strictyaml.Report) {
	if c.Board == "" {
		return
	}
	b, err := boards.Load(c.Board)
	if err != nil {
		r.Add("board", c.Board, "one of "+strings.Join(boards.Names(), ", "))
		return
	}
	for name, button := range c.Buttons {
		button.Line = or(button.Line, b.Lines[name].Line)
		c.Buttons[name] = button
	}
	for name, l := range c.Lamps.ByName() {
		l.Line = or(l.Line, b.Lines[name].Line)
	}
	if c.Siren != nil {
		c.Siren.Line = or(c.Siren.Line, b.Lines["siren"].Line)
	}
	if c.GPS != nil {
		c.GPS.Port = or(c.GPS.Port, b.UARTs["gps"].Port)
	}
	if c.Fingerprint != nil {
		c.Fingerprint.Port = or(c.Fingerprint.Port, b.UARTs["fingerprint"].Port)
	}
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
