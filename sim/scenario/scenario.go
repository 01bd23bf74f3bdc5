// Package scenario reads scenarios: a district of devices, a timeline of what
// is done to them, and what is expected to come of it. The format is described
// in this comment; the files in sim/scenarios are examples of all of it.
//
// It runs nothing: package play does.
//
// # A scenario
//
//	name: one press        # required
//	about: why it is run   # optional, for people
//	seed: 7                # of everything random, such as bounces; default 1
//	limit: 90s             # it fails when it lasts longer; default 2m
//	supervise: {suspect: 7s, offline: 11s, grace: 12s}   # how the centre judges silence; default 1m, 1m25s, 2m
//	devices: {…}           # id → device; without it, the demonstration's district
//	timeline: […]          # required: the steps, in the order of their times
//
// # A device
//
//	box-01:
//	  kind: alarm-box                  # required: alarm-box, patrol-car or patrol-motorcycle
//	  name: 石桥村口                    # at the desk; default: the id
//	  at: {lat: 31.1, lon: 103.4}      # where it was surveyed to stand, or where the car starts
//	  buttons:                         # name → button; an alarm-box has one or more
//	    panic: {kind: panic}           # panic, fire or medical
//	    hush: {kind: panic, silent: true}
//	    fire: {kind: fire, supervised: true}   # at the end of a supervised cable
//	  inputs: [tamper, mains, battery-low, test-key, check-in]   # contacts that tell of the box itself; default none
//	  siren: true                      # default false
//	  fingers: {1: P-1001}             # a fingerprint reader: slot → officer
//	  pins: {P-1001: "284913"}         # a screen for the officer, who may sign on by PIN there
//	  duress: {6: P-1001}              # beside fingers: slot → whose duress finger that is
//	  gps: true                        # a receiver; a vehicle has one always
//	  gps_patience: 10s                # without a fix until that is a fault; default the firmware's, 2m
//	  drive: {route: [{lat: …, lon: …}, …], speed: 12}   # from the start on; metres a second
//	  modem: true                      # a cellular modem, for SMS; then the centre has one, too
//	  group: shiqiao-10                # boxes of one group hear each other without the centre
//	  drill: true                      # everything from it belongs to an exercise
//	  track: {batch: 60, close_after: 5s, still_every: 30s}
//	  health: 30s                      # between heartbeats
//	  clock: in 1970                   # its system clock, see set clock; default right
//	  board: virt                      # the very image, on QEMU's virtual board; default sim, a process. It has three
//	                                   # buttons at most and no inputs, and its clock cannot be set
//
// # A step
//
// A step does something or expects something. Its time, at, counts from the
// moment at which every device was in touch with the desk; a step without it
// has the time of the step before. A device: all stands for every device where
// the table says so.
//
//	do               needs                  takes
//	press            device, button         bounce: true, for: 200ms, hold: true
//	release          device, button         bounce: true
//	wire cut         device, button
//	wire short       device, button
//	wire mend        device, button
//	trip             device, input
//	restore          device, input
//	finger           device, slot           for: 700ms
//	reader unplug    device
//	reader plug      device
//	link cut         device (or all)
//	link restore     device (or all)
//	link black hole  device (or all)
//	sms cut          device
//	sms restore      device
//	power cut        device (or all)
//	power restore    device (or all)
//	twin start       device
//	twin end         device
//	drive            device, route          speed: 12
//	park             device
//	lose fix         device
//	antenna open     device                 maker: u-blox
//	antenna short    device                 maker: u-blox
//	antenna mend     device                 maker: u-blox
//	teleport         device, to             for: 5s
//	replay           device, log            speed: 1
//	set clock        device, clock
//	acknowledge      device                 by, kind
//	dispatch         device, unit           by, kind
//	close            device, code           by, kind, note
//	centre kill
//	centre start
//
// The steps of one device are done one after another, and so are those of the
// centre. press closes the button's contact and opens it again after for
// (default 200ms), or keeps it closed until a release when hold is true; with
// bounce the contact bounces for up to 20 ms at each change; a press that
// follows another of the same button waits until that is over. wire cut and wire short
// do that to the cable of a supervised button, whose presses nobody sees until
// wire mend. trip opens the
// box (input: tamper), takes its mains away (mains), drains its battery
// (battery-low), turns the technician's key (test-key) or closes a guard round's
// switch (check-in); restore undoes that.
// finger lays a finger on the
// reader and lifts it after for; slot 0 is a finger that the reader does not
// know; no finger may be laid between reader unplug and reader plug. park stops a car where it is; lose fix blinds its receiver, until
// the next drive or park. antenna open and antenna short have the receiver say with each epoch, in the words of
// its maker (u-blox, casic or quectel), that its antenna is unplugged or crushed, until antenna mend; whether it has
// a fix then is a matter of lose fix. teleport has a receiver that drives or is parked say for a while (default 5s) that it is
// at to, however far that is; replay
// feeds the receiver's log of that path (relative to the scenario's file) at
// speed times its own pace, and when it ends the receiver falls silent.
// set clock sets the device's system clock: right (kept by a time server), free
// (right, but nothing vouches for it), in 1970 or in 2080 (nothing vouches for
// it, and each start begins in that year), hour ahead or hour behind (kept by a
// time server that is wrong).
// acknowledge, dispatch and close act at the desk on the device's newest
// incident that is not closed (of that kind, when it is given), and wait up to
// 5 s for it; code is real, false_alarm, test, drill, duplicate or unfounded.
// sms cut takes the network of a device's modem away, and leaves the link alone.
// link cut resets the device's connections and refuses new ones; in a link
// black hole they stay open, new ones are accepted, and no byte passes either
// way. twin start copies the device's card as it is then and starts a second
// device on the copy, with the same key, behind the same link, that has no
// receiver, reader or screen, and that nobody presses; twin end ends it. centre kill is a SIGKILL of the centre's process, broker, database and
// desk; centre start starts it on the same data and addresses. Who kills the
// centre starts it again: without it nothing can be judged.
//
//	expect            needs                     takes
//	incident          device, within            kind, state, presses, silent, drill, officer, sms, count, position, near, source, corrected, dated
//	lamp              device, shows, within     style
//	siren             device, sounds, within
//	officer           device, signed, within    officer
//	link              device, link, within
//	track             device, fixes, within     jumped
//	place             device, near, within
//	fault             device, fault, active, within
//	all events stored                           within: 30s
//
// An expectation holds when it comes true in the time from at to at + within.
// Lamps are judged by the times of the edges of their lines.
//
// incident wants an incident of the device that was opened since the timeline
// began and is all that the step says: kind; state (open, acknowledged,
// dispatched, closed); presses, exactly; silent; drill; officer, who was signed
// on; sms, whether a press of it came by SMS; position, how its place
// is known (surveyed, gnss, given, learned or held, the last one that the device believed); near: {lat, lon}, that its place is
// at most 500 m from there; source, whose time of day dates the press (none, gnss, ntp, rtc, centre);
// corrected, whether that is not what the device said; dated: 2s, that it is not
// further than that from a press that there was. What the centre found itself is
// none, unless kind is offline, twin or tamper. With count, exactly so many are all that, and count: 0 wants none for the
// whole of within. lamp wants the lamps to show idle, stored, centre_has,
// acknowledged, unit_coming, fault, drill_mode, visit_stored or visit_held, in the style
// plain, silent or drill where given. siren wants it to sound (sounds: true) or not. officer wants the desk
// to have an event of a sign-on, sign-off, refusal or check-in (signed: on, off,
// refused, came by) since at, of that officer where given; a check-in by a
// switch is of nobody. link wants the centre to judge that it
// hears the device (live), or that it does not (suspect, offline), that it never
// did (never), or that it cannot tell (unsure). track wants at least so many fixes at
// the desk since the timeline began, and jumped, that so many of them are marked as not believed. place wants
// the desk to have the device's last fix at most 500 m from near. fault wants the desk to list a fault of that
// code (active: true), or not to. all events stored wants everything that
// was injected until at to be in the desk's database exactly once.
package scenario

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fengsui/fengsui/boards/strictyaml"
)

// Duration is a time written as "5s" or "200ms".
type Duration = strictyaml.Duration

// ErrFile means that a scenario's file cannot be read.
var ErrFile = errors.New("scenario")

// All is the device name that stands for every device.
const All = "all"

// A Scenario is one file.
type Scenario struct {
	Name  string   `yaml:"name" required:"true" want:"a name for people"`
	About string   `yaml:"about"`
	Seed  uint64   `yaml:"seed"`
	Limit Duration `yaml:"limit" min:"1s" max:"24h"`

	Supervise Supervise         `yaml:"supervise"`
	Devices   map[string]Device `yaml:"devices"` // filled with the demonstration's district when the file has none
	Timeline  []Step            `yaml:"timeline" required:"true" want:"a list of steps"`

	// Dir is the folder of the file, from which logs are found.
	Dir string

	district map[string]Device
	there    func(log string) bool
}

// LogPath returns where a replay's log is.
func (s *Scenario) LogPath(log string) string {
	if filepath.IsAbs(log) {
		return log
	}
	return filepath.Join(s.Dir, log)
}

// A Device is an alarm box or a patrol car of the simulated district.
type Device struct {
	Kind     string            `yaml:"kind" required:"true" oneof:"alarm-box|patrol-car|patrol-motorcycle"`
	Name     string            `yaml:"name" max:"64" want:"a name of at most 64 bytes"`
	At       *Place            `yaml:"at"`
	Buttons  map[string]Button `yaml:"buttons"`
	Inputs   []string          `yaml:"inputs" oneof:"tamper|mains|battery-low|test-key|check-in"`
	Siren    bool              `yaml:"siren"`
	Fingers  map[int]string    `yaml:"fingers"` // slot → officer; nil: no reader
	Duress   map[int]string    `yaml:"duress"`  // slot → whose duress finger it is
	PINs     map[string]string `yaml:"pins"`    // officer → PIN at the device's screen; nil: no screen
	GPS      bool              `yaml:"gps"`
	Patience Duration          `yaml:"gps_patience" min:"10s" max:"1h"`
	Drive    *Drive            `yaml:"drive"`
	Modem    bool              `yaml:"modem"`
	Group    string            `yaml:"group"` // boxes of one name hear each other on the local network
	Drill    bool              `yaml:"drill"`
	Track    Track             `yaml:"track"`
	Health   Duration          `yaml:"health" min:"5s" max:"10m"`
	Clock    string            `yaml:"clock" oneof:"right|free|in 1970|in 2080|hour ahead|hour behind"`
	Board    string            `yaml:"board" oneof:"sim|virt"` // "": sim
}

// Virtual reports whether the device is an image on a virtual board.
func (d *Device) Virtual() bool { return d.Board == "virt" }

// Supervise says how the centre judges the silence of devices; zero: its own
// defaults. Devices say hello every 30 s and a heartbeat as often as health
// says, which are signs of life both.
type Supervise struct {
	Suspect Duration `yaml:"suspect" min:"1s" max:"1h"`
	Offline Duration `yaml:"offline" min:"1s" max:"1h"`
	Grace   Duration `yaml:"grace" min:"1s" max:"1h"`
}

// A Place is a point in degrees, WGS 84.
type Place struct {
	Lat float64 `yaml:"lat" required:"true" min:"-90" max:"90"`
	Lon float64 `yaml:"lon" required:"true" min:"-180" max:"180"`
}

// A Button is one button of a device.
type Button struct {
	Kind   string `yaml:"kind" required:"true" oneof:"panic|fire|medical"`
	Silent bool   `yaml:"silent"`

	Supervised bool `yaml:"supervised"`
}

// A Drive is a closed way that a car goes round and round.
type Drive struct {
	Route []Place `yaml:"route" required:"true" want:"two or more places {lat, lon}"`
	Speed float64 `yaml:"speed" min:"0.1" max:"100"` // metres a second
}

// Track says how a device batches its positions; zero: the firmware's default.
type Track struct {
	Batch      int      `yaml:"batch" min:"1" max:"600"`
	CloseAfter Duration `yaml:"close_after" min:"1s" max:"5m"`
	StillEvery Duration `yaml:"still_every" min:"1s" max:"10m"`
}

// A Step does one thing or expects one. Members that the file does not have are nil.
type Step struct {
	At     *Duration `yaml:"at" min:"0s" max:"24h"`
	Do     string    `yaml:"do" oneof:"press|release|wire cut|wire short|wire mend|trip|restore|finger|reader unplug|reader plug|link cut|link restore|link black hole|sms cut|sms restore|power cut|power restore|twin start|twin end|drive|park|lose fix|antenna open|antenna short|antenna mend|teleport|replay|set clock|acknowledge|dispatch|close|centre kill|centre start"`
	Expect string    `yaml:"expect" oneof:"incident|lamp|siren|officer|link|track|place|fault|all events stored"`

	Device *string   `yaml:"device"`
	Button *string   `yaml:"button"`
	Bounce *bool     `yaml:"bounce"`
	Hold   *bool     `yaml:"hold"`
	For    *Duration `yaml:"for" min:"1ms" max:"10m"`
	Input  *string   `yaml:"input" oneof:"tamper|mains|battery-low|test-key|check-in"`
	Slot   *int      `yaml:"slot" min:"0" max:"65535"`
	Route  []Place   `yaml:"route" want:"two or more places {lat, lon}"`
	Speed  *float64  `yaml:"speed" min:"0.1" max:"100000"`
	Log    *string   `yaml:"log"`
	Maker  *string   `yaml:"maker" oneof:"u-blox|casic|quectel"`
	To     *Place    `yaml:"to"`
	By     *string   `yaml:"by" min:"1" max:"64" want:"a name of 1 to 64 bytes"`
	Unit   *string   `yaml:"unit" min:"1" max:"64" want:"a unit's name of 1 to 64 bytes"`
	Code   *string   `yaml:"code" oneof:"real|false_alarm|test|drill|duplicate|unfounded"`
	Note   *string   `yaml:"note" max:"2000"`
	Clock  *string   `yaml:"clock" oneof:"right|free|in 1970|in 2080|hour ahead|hour behind"`

	Within  *Duration `yaml:"within" min:"1ms" max:"24h"`
	Kind    *string   `yaml:"kind" oneof:"panic|fire|medical|duress|offline|twin|tamper"`
	State   *string   `yaml:"state" oneof:"open|acknowledged|dispatched|closed"`
	Presses *uint64   `yaml:"presses"`
	Silent  *bool     `yaml:"silent"`
	Drill   *bool     `yaml:"drill"`
	Officer *string   `yaml:"officer"`
	SMS     *bool     `yaml:"sms"`
	Count   *int      `yaml:"count" min:"0" max:"1000000"`
	Shows   *string   `yaml:"shows" oneof:"idle|stored|centre_has|acknowledged|unit_coming|fault|drill_mode|visit_stored|visit_held"`
	Style   *string   `yaml:"style" oneof:"plain|silent|drill"`
	Sounds  *bool     `yaml:"sounds"`
	Signed  *string   `yaml:"signed" oneof:"on|off|refused|came by"`
	Link    *string   `yaml:"link" oneof:"never|live|suspect|offline|unsure"`
	Fault   *string   `yaml:"fault" min:"1" max:"64" want:"a fault's code, such as mains_lost"`
	Active  *bool     `yaml:"active"`
	Fixes   *int      `yaml:"fixes" min:"1" max:"1000000"`
	Jumped  *int      `yaml:"jumped" min:"1" max:"1000000"`
	Near    *Place    `yaml:"near"`

	Position *string `yaml:"position" oneof:"surveyed|gnss|given|learned|held"`

	Source    *string   `yaml:"source" oneof:"none|gnss|ntp|rtc|centre"`
	Corrected *bool     `yaml:"corrected"`
	Dated     *Duration `yaml:"dated" min:"1ms" max:"24h"`
}

// Start returns the step's time.
func (s *Step) Start() time.Duration { return time.Duration(*s.At) }

// String returns the step in a line, as people say it.
func (s *Step) String() string {
	var b strings.Builder
	b.WriteString(s.Do)
	if s.Expect != "" {
		b.WriteString("expect " + s.Expect)
	}
	add := func(format string, a ...any) { fmt.Fprintf(&b, " "+format, a...) }
	for _, f := range s.fields() {
		switch {
		case !f.set || f.name == "at" || f.name == "route":
		case f.name == "device" || f.name == "button" || f.name == "shows":
			add("%v", f.value())
		default:
			add("%s: %v", f.name, f.value())
		}
	}
	return b.String()
}

// Load reads and checks a file. Where it names no devices, district stands in.
func Load(path string, district map[string]Device) (*Scenario, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s: no such file: want a YAML file such as those in sim/scenarios", ErrFile, path)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFile, err)
	}
	return parse(path, b, district, func(log string) bool {
		st, err := os.Stat(log)
		return err == nil && st.Mode().IsRegular()
	})
}

// Parse checks a document, but not whether the logs that it names are there;
// path stands for the file in errors, and logs are found from its folder. The
// error is a *strictyaml.Error.
func Parse(path string, data []byte, district map[string]Device) (*Scenario, error) {
	return parse(path, data, district, func(string) bool { return true })
}

func parse(path string, data []byte, district map[string]Device, there func(log string) bool) (*Scenario, error) {
	s := &Scenario{Seed: 1, Limit: Duration(2 * time.Minute), Dir: filepath.Dir(path), district: district, there: there}
	if err := strictyaml.Decode(path, data, s); err != nil {
		return nil, err
	}
	return s, nil
}

// A districtFile is a file with devices only.
type districtFile struct {
	Devices map[string]Device `yaml:"devices" required:"true"`
}

// Validate checks the devices' ids.
func (d *districtFile) Validate(r *strictyaml.Report) { validIDs(r, d.Devices) }

// ParseDistrict reads a file with devices only, written as in a scenario. The
// error is a *strictyaml.Error.
func ParseDistrict(path string, data []byte) (map[string]Device, error) {
	var d districtFile
	if err := strictyaml.Decode(path, data, &d); err != nil {
		return nil, err
	}
	return d.Devices, nil
}
