// Package boards holds what is known of each board as data: how it boots, which
// GPIO line and header pin serves which role, which serial port, watchdog and
// sensor, and how much current a pin may carry. One folder a board, read by a
// strict loader; board.schema.json is the same format for other readers. Each
// part of a file names the source that it comes from.
//
// It drives nothing and picks nothing: a device's configuration names a board,
// and takes from it the lines that it does not name itself. Package wiring draws
// what is here, the board command shows it.
package boards

import (
	"embed"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/fengsui/fengsui/boards/strictyaml"
)

//go:embed */board.yaml
var files embed.FS

// ErrUnknown means that there is no board of that name; the error lists them.
var ErrUnknown = errors.New("unknown board")

// How far a board is supported.
const (
	RunHere   = "run here"  // every test run runs the firmware on it
	Built     = "built"     // every test run builds its package; nobody has run it on the board
	Described = "described" // from documents alone
)

// A Board is what a board.yaml says.
type Board struct {
	Name        string            `yaml:"name" required:"true"`
	Arch        string            `yaml:"arch" required:"true" oneof:"arm|arm64|amd64|any"`
	ARM         int               `yaml:"goarm" min:"6" max:"7"` // with arch arm
	Support     string            `yaml:"support" required:"true" oneof:"run here|built|described"`
	Profiles    []string          `yaml:"profiles" required:"true" oneof:"alarm-box|patrol-car|patrol-motorcycle"` // those that it has all roles for
	Boot        Boot              `yaml:"boot"`
	Chips       map[string]int    `yaml:"chips" min:"1" max:"512"` // GPIO chips by their label, and how many lines each has
	Headers     []Header          `yaml:"headers"`                 // where lines and ports come out
	Lines       map[string]Line   `yaml:"lines"`                   // by role, see InputRoles and OutputRoles
	UARTs       map[string]UART   `yaml:"uarts"`                   // by role, see UARTRoles
	Watchdog    *Watchdog         `yaml:"watchdog"`
	Temperature *Temperature      `yaml:"temperature"`
	Radio       *Radio            `yaml:"radio"`
	Limits      *Limits           `yaml:"limits"`                  // of pins that are driven
	Notes       []Text            `yaml:"notes"`                   // what else a technician must know
	Sources     map[string]string `yaml:"sources" required:"true"` // by the key above that they are for, or by KEY.ENTRY for one entry of it
}

// Boot says how a board comes to run the firmware: from a card that is written
// with an image, or from a Debian system that a package is installed in.
type Boot struct {
	Image   *Image   `yaml:"image"`
	Package *Package `yaml:"package"`
}

// An Image is what an image for the board is made of.
type Image struct {
	Kernel   string   `yaml:"kernel" required:"true"`  // Go package of gokrazy's kernel
	Firmware string   `yaml:"firmware"`                // Go package of the boot loader's files; none where the machine has its own
	Console  string   `yaml:"console" required:"true"` // the kernel's, such as ttyAMA0,115200, or disabled
	Config   []string `yaml:"config"`                  // further lines of the boot loader's config.txt
}

// A Package is a Debian package.
type Package struct {
	Deb string `yaml:"deb" required:"true" oneof:"armhf|arm64|amd64"` // its architecture
}

// A Header is a row of pairs of pins: odd numbers in one column, even ones in
// the other.
type Header struct {
	Name string   `yaml:"name" required:"true" min:"1" max:"16"` // as printed on the board
	Pins []string `yaml:"pins" required:"true" min:"1" max:"32"` // what the vendor calls pin 1, 2, 3 …
}

// A Line is a GPIO line: the name that Linux gives it, or CHIP:NUMBER where
// lines have no names.
type Line struct {
	Line   string   `yaml:"line" required:"true"`
	Chip   string   `yaml:"chip"`                                 // its chip's label; by default the board's only chip
	Label  string   `yaml:"label"`                                // what the header calls it; by default as the line
	Pin    string   `yaml:"pin"`                                  // where it comes out: NUMBER, or HEADER.NUMBER where there are several
	Ground string   `yaml:"ground"`                               // the pin for its return wire
	Active string   `yaml:"active" oneof:"high|low"`              // the level of pressed, or lit: by default low for an input, high for an output
	Pull   string   `yaml:"pull" oneof:"up|down|none"`            // of an input, by default up
	Reset  string   `yaml:"reset" oneof:"up|down|float"`          // the pull from power-on until the agent sets the line up
	Notes  []string `yaml:"notes" oneof:"pull-up|pull-down|opto"` // wiring notes of this line besides those of its role
}

// A UART is a serial port and the header pins that it comes out at; no pins
// mean a plug, such as a USB adapter's.
type UART struct {
	Port   string   `yaml:"port" required:"true"`
	TX     string   `yaml:"tx_pin"` // the board's output, to the module's RX
	RX     string   `yaml:"rx_pin"`
	Power  string   `yaml:"power_pin"` // that can feed the module
	Ground string   `yaml:"ground_pin"`
	Enable string   `yaml:"enable"` // what makes the port appear on the vendor's system; an image has it set
	Notes  []string `yaml:"notes" oneof:"usb|usb-order|console"`
}

// A Watchdog is the board's hardware watchdog.
type Watchdog struct {
	Device string `yaml:"device" required:"true"`
	Driver string `yaml:"driver" required:"true"` // Linux's
	MaxS   int    `yaml:"max_s" min:"1" max:"86400"`
}

// A Temperature is a sensor of the SoC; its file holds thousandths of 1 °C.
type Temperature struct {
	Path string `yaml:"path" required:"true"`
	Zone string `yaml:"zone" required:"true"` // what the zone's file "type" must say
}

// A Radio is a wireless card on the board, as an image drives it; a Debian system
// finds its own way. What the driver sends to it is not ours to pass on: it comes
// from the technician's machine.
type Radio struct {
	Modules  []string `yaml:"modules" required:"true"`  // of the kernel, in the order in which they are loaded
	Machine  string   `yaml:"machine" required:"true"`  // the first name in the device tree's "compatible", which files of one board have in theirs
	Firmware []string `yaml:"firmware" required:"true"` // of each chip that the board may have: below /lib/firmware, without .bin
}

// Files returns the files below /lib/firmware that the driver looks for, one of
// each list: first that of the board, then that of the chip (Linux,
// drivers/net/wireless/broadcom/brcm80211/brcmfmac/firmware.c). They are its
// program, what it may do in which country, and how the board is wired to it.
func (r *Radio) Files() [][]string {
	var out [][]string
	for _, chip := range r.Firmware {
		for _, kind := range []string{".bin", ".clm_blob", ".txt"} {
			out = append(out, []string{chip + "." + r.Machine + kind, chip + kind})
		}
	}
	return out
}

// Limits are currents that a board bears for years, in milliamperes.
type Limits struct {
	Volts   string  `yaml:"volts" required:"true" oneof:"3.3|1.8|5"` // of its lines
	PinMA   float64 `yaml:"pin_ma" required:"true" min:"0.5" max:"40"`
	TotalMA float64 `yaml:"total_ma" required:"true" min:"1" max:"500"`
}

// A Text is a sentence in both languages.
type Text struct {
	EN string `yaml:"en" required:"true"`
	ZH string `yaml:"zh-CN" required:"true"`
}

// InputRoles returns the roles of lines that are read.
func InputRoles() []string {
	return []string{"panic", "fire", "medical", "tamper", "mains", "battery-low", "test-key", "check-in"}
}

// OutputRoles returns the roles of lines that are driven.
func OutputRoles() []string { return []string{"red", "amber", "green", "siren"} }

// UARTRoles returns the roles of serial ports.
func UARTRoles() []string { return []string{"gps", "fingerprint", "modem"} }

// Roles returns the lines and the UARTs that a profile must have. A patrol car
// signs its officers on by a finger; on a motorcycle, in gloves and rain, the
// sensor is optional.
func Roles(profile string) (lines, uarts []string) {
	switch profile {
	case "alarm-box":
		return []string{"panic", "red", "amber", "green", "siren"}, nil
	case "patrol-car":
		return nil, []string{"gps", "fingerprint"}
	case "patrol-motorcycle":
		return nil, []string{"gps"}
	}
	return nil, nil
}

// At returns what the board's headers have at a pin, as a Line or a UART names
// it: "11", or "P9.11" where there are several headers.
func (b *Board) At(pin string) (string, bool) {
	h, n, ok := b.pin(pin)
	if !ok {
		return "", false
	}
	return b.Headers[h].Pins[n-1], true
}

// pin finds a pin: the header's place and the number, from 1.
func (b *Board) pin(name string) (header, number int, ok bool) {
	digits := name
	if len(b.Headers) > 1 {
		var of string
		of, digits, _ = strings.Cut(name, ".")
		header = slices.IndexFunc(b.Headers, func(h Header) bool { return h.Name == of })
	}
	n, err := strconv.ParseUint(digits, 10, 16)
	if err != nil || header < 0 || header >= len(b.Headers) || n < 1 || int(n) > len(b.Headers[header].Pins) || digits[0] == '0' || digits[0] == '+' {
		return 0, 0, false
	}
	return header, int(n), true
}

// Names lists the boards.
func Names() []string {
	entries, err := files.ReadDir(".")
	if err != nil {
		panic(err) // the folder is part of the program
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// Load returns a board by its name. The error wraps [ErrUnknown] or is a
// *strictyaml.Error.
func Load(name string) (*Board, error) {
	data, err := files.ReadFile(name + "/board.yaml")
	if err != nil {
		return nil, fmt.Errorf("%w %q: want one of %s", ErrUnknown, name, strings.Join(Names(), ", "))
	}
	return Parse(name+"/board.yaml", data)
}

// Parse checks a board's document; file stands for it in errors.
func Parse(file string, data []byte) (*Board, error) {
	b := new(Board)
	if err := strictyaml.Decode(file, data, b); err != nil {
		return nil, err
	}
	return b, nil
}
