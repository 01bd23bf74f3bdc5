// Package boards holds what is known of each board as data: which GPIO line
// and header pin serves which role, which serial port, which binary runs. One
// folder a board, read by a strict loader.
//
// It drives nothing and picks nothing: a device's configuration names a board,
// and takes from it the lines that it does not name itself.
package boards

import (
	"embed"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/fengsui/fengsui/boards/strictyaml"
)

//go:embed */board.yaml
var files embed.FS

// ErrUnknown means that there is no board of that name; the error lists them.
var ErrUnknown = errors.New("unknown board")

// A Board is what a board.yaml says.
type Board struct {
	Name    string          `yaml:"name" required:"true"`
	Arch    string          `yaml:"arch" required:"true" oneof:"arm|arm64|amd64"`
	ARM     int             `yaml:"goarm" min:"6" max:"7"` // with arch arm
	Support string          `yaml:"support" required:"true" oneof:"run here|built|described"`
	Header  int             `yaml:"header_pins" min:"1" max:"200"` // pins that Lines may name
	Lines   map[string]Line `yaml:"lines" required:"true"`         // by role
	UARTs   map[string]UART `yaml:"uarts"`                         // by role: gps, fingerprint
	Sources []string        `yaml:"sources" required:"true"`       // where the values come from
}

// A Line is a GPIO line and the header pin that it comes out at.
type Line struct {
	Line string `yaml:"line" required:"true"`
	Pin  int    `yaml:"pin" required:"true" min:"1" max:"200"`
}

// A UART is a serial port and the header pins that it comes out at; zero pins
// mean a plug, such as a USB adapter's.
type UART struct {
	Port string `yaml:"port" required:"true"`
	TX   int    `yaml:"tx_pin"`
	RX   int    `yaml:"rx_pin"`
}

// roles are those that a line may have.
var roles = []string{"panic", "fire", "medical", "tamper", "mains", "battery-low", "red", "amber", "green", "siren"}

// Validate checks what concerns several fields.
func (b *Board) Validate(r *strictyaml.Report) {
	lines, pins := make(map[string]string), make(map[int]string)
	take := func(field string, pin int) {
		switch other := pins[pin]; {
		case pin == 0:
		case pin > b.Header:
			r.Add(field, pin, fmt.Sprintf("a pin from 1 to %d", b.Header))
		case other != "":
			r.Add(field, pin, "a pin that is not used by "+other)
		}
		pins[pin] = field
	}
	for _, role := range slices.Sorted(maps.Keys(b.Lines)) {
		l := b.Lines[role]
		field := "lines." + role
		if !slices.Contains(roles, role) {
			r.Add(field, role, "a role: "+strings.Join(roles, ", "))
		}
		if other := lines[l.Line]; other != "" {
			r.Add(field+".line", l.Line, "a line that is not used by "+other)
		}
		lines[l.Line] = field
		take(field+".pin", l.Pin)
	}
	for _, role := range slices.Sorted(maps.Keys(b.UARTs)) {
		take("uarts."+role+".tx_pin", b.UARTs[role].TX)
		take("uarts."+role+".rx_pin", b.UARTs[role].RX)
	}
	if (b.Arch == "arm") != (b.ARM != 0) {
		r.Add("goarm", b.ARM, "6 or 7 with arch arm, and none with others")
	}
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
