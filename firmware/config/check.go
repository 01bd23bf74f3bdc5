package config

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fengsui/fengsui/boards"
	"github.com/fengsui/fengsui/boards/strictyaml"
	"github.com/fengsui/fengsui/firmware/gps"
	"github.com/fengsui/fengsui/firmware/wire"
)

const (
	defaultSiren   = Duration(3 * time.Minute)
	defaultPause   = Duration(10 * time.Minute)
	defaultRounds  = 5
	defaultGPSBaud = 9600
	// A cold start takes up to two minutes under a poor sky.
	defaultPatience  = Duration(2 * time.Minute)
	defaultFPBaud    = 57600
	defaultMinScore  = 50
	defaultLockAfter = 5
	defaultLockFor   = Duration(time.Minute)
	defaultLockMax   = Duration(15 * time.Minute)
	defaultSupply    = 3300
	defaultTamper    = Duration(100 * time.Millisecond)
	defaultHold      = Duration(10 * time.Second)
)

// defaultSpeech is where an image keeps what is said.
const defaultSpeech = "/etc/fengsui/speech"

// The sensor's speed is 9600 baud times 1 to 12 (ZFM-20 user manual, system
// parameters, baud rate control).
const fpBaudUnit, fpBaudTimes = 9600, 12

const (
	wantLine = "a GPIO line such as GPIO17, or a board that has one for this role"
	wantPort = "a serial port's path, or a board that has one"
)

// Validate checks what concerns several fields, and fills defaults of parts
// that are there.
func (c *Config) Validate(r *strictyaml.Report) {
	if wire.ValidDevice(c.Device) != nil {
		r.Add("device", c.Device, "a device id: 1 to 32 of a-z, 0-9 and '-', not beginning with '-'")
	}
	if len(c.Centre.Servers) == 0 {
		r.Add("centre.servers", "", "one or more of mqtt://host:port")
	}
	for i, s := range c.Centre.Servers {
		if first := slices.Index(c.Centre.Servers, s); first < i {
			r.Add("centre.servers."+strconv.Itoa(i), s, "another server than centre.servers."+strconv.Itoa(first))
		}
	}
	board := c.fromBoard(r)
	c.defaults()
	c.lines(r, board)
	c.ports(r)
	if c.Terminal != nil {
		c.Terminal.check(r)
	}
	switch c.Profile {
	case AlarmBox:
		if len(c.Buttons) == 0 {
			r.Add("buttons", "", "at least one button on an alarm-box")
		}
	case PatrolCar, PatrolMotorcycle:
		if c.GPS == nil {
			r.Add("gps", "", "a receiver on a "+c.Profile)
		}
	}
	if c.needsLamps() && len(c.Lamps.ByName()) < 3 {
		r.Add("lamps", "", "red, amber and green beside a button: the presser must see three things")
	}
}

// needsLamps reports whether somebody presses here and must be told.
func (c *Config) needsLamps() bool { return len(c.Buttons) > 0 || c.Profile == AlarmBox }

// defaults fills what was left out of parts that are there.
func (c *Config) defaults() {
	for name, b := range c.Buttons {
		b.Active, b.Pull = or(b.Active, "low"), or(b.Pull, "up")
		if s := b.Supervised; s != nil {
			s.Inside = or(s.Inside, "high")
			if s.Supply == 0 {
				s.Supply = defaultSupply
			}
		}
		c.Buttons[name] = b
	}
	for role, in := range c.Inputs {
		in.Active, in.Pull = or(in.Active, "low"), or(in.Pull, "up")
		if in.Hold == 0 && !quick(role) {
			in.Hold = defaultHold
			if role == Tamper {
				in.Hold = defaultTamper
			}
		}
		c.Inputs[role] = in
	}
	for _, l := range c.Lamps.ByName() {
		l.Active = or(l.Active, "high")
	}
	if s := c.Siren; s != nil {
		s.Active = or(s.Active, "high")
		if s.Limit == 0 {
			s.Limit = defaultSiren
		}
		if s.Pause == 0 {
			s.Pause = defaultPause
		}
		if s.Rounds == 0 {
			s.Rounds = defaultRounds
		}
	}
	if v := c.Audio; v != nil {
		v.Lang, v.Dir = or(v.Lang, "zh-CN"), or(v.Dir, defaultSpeech)
	}
	c.Modem.defaults()
	c.Group.defaults()
	if g := c.GPS; g != nil {
		if g.Baud == 0 {
			g.Baud = defaultGPSBaud
		}
		if g.Rate == 0 {
			g.Rate = 1
		}
		g.Antenna = or(g.Antenna, "active")
		if g.Patience == 0 {
			g.Patience = defaultPatience
		}
	}
	if f := c.Fingerprint; f != nil {
		if f.Baud == 0 {
			f.Baud = defaultFPBaud
		}
		if f.MinScore == 0 {
			f.MinScore = defaultMinScore
		}
		yes := true
		if f.OwnPassword == nil {
			f.OwnPassword = &yes
		}
		if f.Ring == nil {
			f.Ring = &yes
		}
		if f.Lockout.After == 0 {
			f.Lockout.After = defaultLockAfter
		}
		if f.Lockout.For == 0 {
			f.Lockout.For = defaultLockFor
		}
		if f.Lockout.Max == 0 {
			f.Lockout.Max = max(defaultLockMax, f.Lockout.For)
		}
	}
}

// lines checks that each line is there, and used once: neither by two of them
// nor by a serial port that comes out at its header pin.
func (c *Config) lines(r *strictyaml.Report, board *boards.Board) {
	used := c.portLines(board)
	line := func(field, name string) {
		switch other := used[name]; {
		case strings.TrimSpace(name) == "":
			r.Add(field, name, wantLine)
		case other != "":
			r.Add(field, name, "a line that is not used by "+other)
		default:
			used[name] = field
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Buttons)) {
		if wire.ValidDevice(name) != nil {
			r.Add("buttons."+name, name, "a button's name: 1 to 32 of a-z, 0-9 and '-', not beginning with '-'")
		}
		at, b := "buttons."+name, c.Buttons[name]
		switch s := b.Supervised; {
		case s == nil:
			line(at+".line", b.Line)
		case (s.ADC == "") == (s.Window == ""):
			r.Add(at+".supervised", s.ADC, "either adc, an analogue input, or window, a GPIO line")
		case s.ADC != "":
			if b.Line != "" {
				r.Add(at+".line", b.Line, "no line beside supervised.adc: the analogue input tells all")
			}
			if !strings.Contains(s.ADC, "/in_voltage") {
				r.Add(at+".supervised.adc", s.ADC, "DEVICE/CHANNEL, such as iio:device0/in_voltage0")
			}
			line(at+".supervised.adc", s.ADC)
		default:
			line(at+".line", b.Line)
			line(at+".supervised.window", s.Window)
		}
	}
	for _, role := range slices.Sorted(maps.Keys(c.Inputs)) {
		at := "inputs." + role
		if !slices.Contains(InputRoles(), role) {
			r.Add(at, role, "one of "+strings.Join(InputRoles(), ", "))
		}
		if quick(role) && c.Inputs[role].Hold != 0 {
			r.Add(at+".hold", c.Inputs[role].Hold, "no hold here: it counts as fast as a button does")
		}
		line(at+".line", c.Inputs[role].Line)
	}
	lamps := c.Lamps.ByName()
	for _, name := range slices.Sorted(maps.Keys(lamps)) {
		line("lamps."+name+".line", lamps[name].Line)
	}
	if c.Siren != nil {
		line("siren.line", c.Siren.Line)
	}
}

// quick reports whether an input is followed as a button is.
func quick(role string) bool { return role == TestKey || role == CheckIn }

// portLines returns the lines that the board's serial ports take, where they
// are in use.
func (c *Config) portLines(board *boards.Board) map[string]string {
	used := make(map[string]string)
	take := func(field, port string) {
		for _, u := range board.UARTs {
			if u.Port != port {
				continue
			}
			for _, pin := range []string{u.TX, u.RX} {
				label, ok := board.At(pin)
				if !ok {
					continue
				}
				used[label] = field
				for _, l := range board.Lines { // where Linux calls it otherwise than the header
					if l.Label == label {
						used[l.Line] = field
					}
				}
			}
		}
	}
	if board != nil && c.GPS != nil {
		take("gps.port", c.GPS.Port)
	}
	if board != nil && c.Modem != nil {
		take("modem.port", c.Modem.Port)
	}
	if board != nil && c.Fingerprint != nil {
		take("fingerprint.port", c.Fingerprint.Port)
	}
	return used
}

// ports checks what stands behind serial ports.
func (c *Config) ports(r *strictyaml.Report) {
	if c.GPS != nil && strings.TrimSpace(c.GPS.Port) == "" {
		r.Add("gps.port", c.GPS.Port, wantPort)
	}
	c.receiver(r)
	if c.Place != nil && c.Profile != AlarmBox {
		r.Add("place", c.Profile, "no place on what moves: only an alarm-box has one")
	}
	c.second(r)
	f := c.Fingerprint
	if f == nil {
		return
	}
	if strings.TrimSpace(f.Port) == "" {
		r.Add("fingerprint.port", f.Port, wantPort)
	} else if c.GPS != nil && c.GPS.Port == f.Port {
		r.Add("fingerprint.port", f.Port, "a port that is not used by gps.port")
	}
	if n := f.Baud / fpBaudUnit; f.Baud%fpBaudUnit != 0 || n < 1 || n > fpBaudTimes {
		r.Add("fingerprint.baud", f.Baud, fmt.Sprintf("%d times 1 to %d", fpBaudUnit, fpBaudTimes))
	}
	if f.Lockout.Max < f.Lockout.For {
		r.Add("fingerprint.lockout.max", time.Duration(f.Lockout.Max), "no less than fingerprint.lockout.for")
	}
	for _, slot := range slices.Sorted(maps.Keys(f.Officers)) {
		at := "fingerprint.officers." + strconv.Itoa(slot)
		if slot < 0 || slot > 65535 { // a page id has two bytes
			r.Add(at, slot, "a slot from 0 to 65535")
		}
		if o := f.Officers[slot]; strings.TrimSpace(o) == "" || len(o) > 64 {
			r.Add(at, o, "an officer's id of 1 to 64 bytes")
		}
	}
}

// epochBits is what a receiver sends of one fix: RMC, GGA and a GSA of each of
// two systems are under 300 bytes, of ten bits on the line.
const epochBits = 3000

// receiver checks that a receiver can do what it is to be told.
func (c *Config) receiver(r *strictyaml.Report) {
	g := c.GPS
	if g == nil {
		return
	}
	if g.Receiver == "" {
		if g.Rate != 1 {
			r.Add("gps.rate", g.Rate, "no rate without gps.receiver: it is told nothing")
		}
		return
	}
	v := gps.ReceiverByName(g.Receiver)
	switch {
	case v == nil:
		r.Add("gps.receiver", g.Receiver, "one of "+strings.Join(gps.Receivers(), ", "))
	case !slices.Contains(v.Rates(), g.Rate):
		r.Add("gps.rate", g.Rate, fmt.Sprintf("one of %v", v.Rates()))
	case !slices.Contains(v.Speeds(), g.Baud):
		r.Add("gps.baud", g.Baud, fmt.Sprintf("one of %v with gps.receiver %s", v.Speeds(), g.Receiver))
	case g.Baud < g.Rate*epochBits:
		r.Add("gps.baud", g.Baud, fmt.Sprintf("%d or more for %d fixes a second", g.Rate*epochBits, g.Rate))
	}
}

// fromBoard fills lines and ports that are not named: a button's, a lamp's and
// the siren's by the board's line of the same role, and the lamps that must be
// there. It returns nil where no board is named.
func (c *Config) fromBoard(r *strictyaml.Report) *boards.Board {
	if c.Board == "" {
		return nil
	}
	b, err := boards.Load(c.Board)
	if err != nil {
		r.Add("board", c.Board, "one of "+strings.Join(boards.Names(), ", "))
		return nil
	}
	for name, button := range c.Buttons {
		if s := button.Supervised; s != nil && s.ADC != "" {
			continue
		}
		if l, ok := b.Lines[name]; ok && button.Line == "" && slices.Contains(boards.InputRoles(), name) {
			button.Line, button.Active, button.Pull = l.Line, or(button.Active, l.Active), or(button.Pull, l.Pull)
			c.Buttons[name] = button
		}
	}
	for role, in := range c.Inputs {
		if l, ok := b.Lines[role]; ok && in.Line == "" && slices.Contains(boards.InputRoles(), role) {
			in.Line, in.Active, in.Pull = l.Line, or(in.Active, l.Active), or(in.Pull, l.Pull)
			c.Inputs[role] = in
		}
	}
	for name, lamp := range map[string]**Line{"red": &c.Lamps.Red, "amber": &c.Lamps.Amber, "green": &c.Lamps.Green} {
		l, ok := b.Lines[name]
		if !ok {
			continue
		}
		if *lamp == nil && c.needsLamps() {
			*lamp = new(Line)
		}
		if p := *lamp; p != nil && p.Line == "" {
			p.Line, p.Active = l.Line, or(p.Active, l.Active)
		}
	}
	if s, l := c.Siren, b.Lines["siren"]; s != nil && s.Line == "" {
		s.Line, s.Active = l.Line, or(s.Active, l.Active)
	}
	if c.GPS != nil {
		c.GPS.Port = or(c.GPS.Port, b.UARTs["gps"].Port)
	}
	if c.Modem != nil {
		c.Modem.Port = or(c.Modem.Port, b.UARTs["modem"].Port)
	}
	if c.Fingerprint != nil {
		c.Fingerprint.Port = or(c.Fingerprint.Port, b.UARTs["fingerprint"].Port)
	}
	return b
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
