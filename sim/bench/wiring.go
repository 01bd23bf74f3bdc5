// Package bench lets the simulator touch a real device: it closes the contacts
// of its buttons and inputs, watches its lamps and siren, and is the far end of
// its serial ports, by lines and ports of this machine.
//
// Serial ports and lines are opened by the firmware's own hardware layer, so
// what names a line in a device's configuration names it here: GPIO17, or
// CHIP:NUMBER where lines have no names.
//
// # A wiring
//
//	device: box-01            # required: the id in the scenario of the device under test
//	key: 5f0c…                # required: its public key, 64 hexadecimal digits (fengsui key)
//	gps: /dev/ttyUSB0         # goes, crossed, to the device's port for its receiver
//	gps_baud: 9600            # as the device's configuration has it; default 9600
//	finger: /dev/ttyUSB1      # … and to its port for the fingerprint sensor
//	finger_baud: 57600        # default 57600
//	lines:                    # a button of the device, or an input → the line that closes its contact
//	  panic: {line: "cp2112_gpio:0", active: low}
//	lamps:                    # red, amber, green, siren → the line that sees it
//	  red: {line: "cp2112_gpio:4", active: high, pull: none}
//	power: {line: "cp2112_gpio:7", active: high}   # of a relay in the device's supply
//
// A line of lines with active: low (the default) is driven low while the
// contact is closed and high-impedance while it is open, as an open drain is:
// it may go to an input of the same voltage that is pulled up, or to an
// optocoupler. With active: high it is driven high while closed and low while
// open, for an opto or relay board. power is closed while there is power, and
// by default active high. A lamp is on at its active level, by default high;
// pull (up, down, none) is by default none. All contacts begin and end open, that
// of the power too: a device behind a relay has power from when the centre is
// ready for it until the bench ends.
//
// What the bench cannot do is refused before anything starts, see Check. It
// does not know that two names may be one line; no voltage is checked. Lines
// without interrupts are read every 5 ms.
package bench

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/fengsui/fengsui/boards/strictyaml"
	"github.com/fengsui/fengsui/firmware/wire"
	"github.com/fengsui/fengsui/sim/scenario"
)

// ErrWiring means that a wiring's file cannot be read, or does not fit the
// scenario.
var ErrWiring = errors.New("wiring")

// The outputs of a device, as lamps names them.
const siren = "siren"

func outputs() []string { return []string{"red", "amber", "green", siren} }

// A Wiring is one file.
type Wiring struct {
	Device     string             `yaml:"device" required:"true"`
	Key        string             `yaml:"key" required:"true" want:"the device's public key, 64 hexadecimal digits: fengsui key --config FILE prints it"`
	GPS        string             `yaml:"gps"`
	GPSBaud    int                `yaml:"gps_baud" min:"1200" max:"921600"`
	Finger     string             `yaml:"finger"`
	FingerBaud int                `yaml:"finger_baud" min:"9600" max:"115200"`
	Lines      map[string]Contact `yaml:"lines"`
	Lamps      map[string]Lamp    `yaml:"lamps"`
	Power      *Contact           `yaml:"power"`

	path string
}

// A Contact is a line of this machine that closes a contact of the device.
type Contact struct {
	Line   string `yaml:"line" required:"true" want:"a line of this machine, by its name or CHIP:NUMBER"`
	Active string `yaml:"active" oneof:"high|low"` // the level that closes it
}

// A Lamp is a line of this machine that sees an output of the device.
type Lamp struct {
	Line   string `yaml:"line" required:"true" want:"a line of this machine, by its name or CHIP:NUMBER"`
	Active string `yaml:"active" oneof:"high|low"`
	Pull   string `yaml:"pull" oneof:"up|down|none"`
}

// Load reads and checks a file. The error wraps [ErrWiring] when it cannot be
// read, and is a *strictyaml.Error when it is wrong.
func Load(path string) (*Wiring, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %q: no such file: want a YAML file as go doc github.com/fengsui/fengsui/sim/bench describes", ErrWiring, path)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrWiring, err)
	}
	w := &Wiring{GPSBaud: 9600, FingerBaud: 57600, path: path}
	if err := strictyaml.Decode(path, b, w); err != nil {
		return nil, err
	}
	return w, nil
}

// Validate checks what concerns several keys.
func (w *Wiring) Validate(r *strictyaml.Report) {
	if w.Device != "" && wire.ValidDevice(w.Device) != nil {
		r.Add("device", w.Device, "a device id of the scenario")
	}
	if b, err := hex.DecodeString(w.Key); w.Key != "" && (err != nil || len(b) != 32) {
		r.Add("key", w.Key, "the device's public key, 64 hexadecimal digits: fengsui key --config FILE prints it")
	}
	if w.GPS != "" && w.GPS == w.Finger {
		r.Add("finger", w.Finger, "another port than that of gps")
	}
	for _, p := range []struct{ field, path string }{{"gps", w.GPS}, {"finger", w.Finger}} {
		if p.path == "" {
			continue
		}
		if st, err := os.Stat(p.path); err != nil || st.Mode()&fs.ModeCharDevice == 0 {
			r.Add(p.field, p.path, "the path of a serial port that is there; dmesg tells what an adapter is called")
		}
	}
	taken := make(map[string]string)
	take := func(field, line string) {
		if by, there := taken[line]; there && line != "" {
			r.Add(field+".line", line, "another line: that is the one of "+by)
		}
		taken[line] = field
	}
	for _, name := range slices.Sorted(maps.Keys(w.Lines)) {
		take("lines."+name, w.Lines[name].Line)
	}
	for _, name := range slices.Sorted(maps.Keys(w.Lamps)) {
		if !slices.Contains(outputs(), name) {
			r.Add("lamps."+name, name, "one of "+strings.Join(outputs(), ", "))
		}
		take("lamps."+name, w.Lamps[name].Line)
	}
	if w.Power != nil {
		take("power", w.Power.Line)
	}
}

// Check says what of a scenario cannot be done or seen with this wiring, all at
// once; the error wraps [ErrWiring] and names fields and steps.
func (w *Wiring) Check(s *scenario.Scenario) error {
	var errs []error
	add := func(format string, a ...any) {
		errs = append(errs, fmt.Errorf("%w: %s: %s", ErrWiring, w.path, fmt.Sprintf(format, a...)))
	}
	d, there := s.Devices[w.Device]
	if !there {
		add("field \"device\": value %q: want a device of the scenario: %s", w.Device, strings.Join(slices.Sorted(maps.Keys(s.Devices)), ", "))
		return errors.Join(errs...)
	}
	roles := slices.Concat(slices.Sorted(maps.Keys(d.Buttons)), d.Inputs)
	for _, name := range slices.Sorted(maps.Keys(w.Lines)) {
		if _, button := d.Buttons[name]; button && slices.Contains(d.Inputs, name) {
			add("field \"lines.%s\": %s has a button and an input of that name: want another name for the button", name, w.Device)
		}
		if !slices.Contains(roles, name) {
			add("field \"lines.%s\": want a button or an input of %s: %s", name, w.Device, strings.Join(roles, ", "))
		}
	}
	for _, part := range []struct {
		there bool
		what  string
	}{
		{d.Virtual(), "board: virt: that is no real device"},
		{d.Modem, "modem: no modem is played on a bench"},
		{d.Group != "", "group: no neighbours are played on a bench"},
		{d.Duress != nil, "duress: a technician enrols such a finger at the device itself"},
		{d.Clock != "" && d.Clock != "right", "clock: its clock is its own"},
		{w.GPS != "" && !d.GPS, "no gps, and the wiring has a port for it"},
		{w.Finger != "" && d.Fingers == nil, "no fingers, and the wiring has a port for a sensor"},
	} {
		if part.there {
			add("device %s of the scenario has %s", w.Device, part.what)
		}
	}
	for i := range s.Timeline {
		st := &s.Timeline[i]
		if st.Device == nil || *st.Device != w.Device && *st.Device != scenario.All {
			continue
		}
		if why := w.cannot(st); why != "" {
			add("step %d of the scenario (%s): %s", i+1, st, why)
		}
	}
	return errors.Join(errs...)
}

// cannot returns why a step cannot be played to the real device; "": it can.
func (w *Wiring) cannot(st *scenario.Step) string {
	contact := func(role string) string {
		if _, wired := w.Lines[role]; !wired {
			return "no line closes it: want lines." + role
		}
		return ""
	}
	missing := func(there bool, want string) string {
		if there {
			return ""
		}
		return "want " + want + " in the wiring"
	}
	switch st.Do {
	case "press", "release":
		return contact(*st.Button)
	case "trip", "restore":
		return contact(*st.Input)
	case "finger", "reader unplug", "reader plug":
		return missing(w.Finger != "", "finger")
	case "drive", "park", "lose fix", "antenna open", "antenna short", "antenna mend", "teleport", "replay":
		return missing(w.GPS != "", "gps")
	case "power cut", "power restore":
		return missing(w.Power != nil, "power, a relay's line,")
	case "wire cut", "wire short", "wire mend", "sms cut", "sms restore", "twin start", "twin end", "set clock":
		return "it cannot be done to a real device: want a scenario without it"
	}
	for _, o := range outputs() {
		_, seen := w.Lamps[o]
		if !seen && (st.Expect == "siren" && o == siren || st.Expect == "lamp" && o != siren) {
			return "nothing sees it: want lamps." + o
		}
	}
	return missing(st.Expect != "track" && st.Expect != "place" || w.GPS != "", "gps")
}
