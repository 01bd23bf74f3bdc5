// Package boards holds what is known of each board as data: which GPIO line
// and header pin serves which role, which serial port, which binary runs. One
// folder a board, read by a strict loader; each part of a file names the
// source that it comes from.
//
// It drives nothing and picks nothing: a device's configuration names a board,
// and takes from it the lines that it does not name itself.
package boards

import (
	"cmp"
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
	Name     string            `yaml:"name" required:"true"`
	Arch     string            `yaml:"arch" required:"true" oneof:"arm|arm64|amd64|any"`
	ARM      int               `yaml:"goarm" min:"6" max:"7"` // with arch arm
	Support  string            `yaml:"support" required:"true" oneof:"run here|built|described"`
	Profiles []string          `yaml:"profiles" required:"true" oneof:"alarm-box|patrol-car"` // those that it has all roles for
	Boot     Boot              `yaml:"boot"`
	Header   []string          `yaml:"header"`                  // what is at pins 1, 2, 3 …
	Lines    map[string]Line   `yaml:"lines"`                   // by role
	UARTs    map[string]UART   `yaml:"uarts"`                   // by role: gps, fingerprint
	Sources  map[string]string `yaml:"sources" required:"true"` // by the key above that they are for
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

// A Line is a GPIO line: its name, or CHIP:NUMBER where lines have no names.
type Line struct {
	Line   string `yaml:"line" required:"true"`
	Pin    int    `yaml:"pin" min:"1" max:"200"`       // where it comes out, on a board with a header
	Active string `yaml:"active" oneof:"high|low"`     // the level of pressed, or lit: by default low for an input, high for an output
	Pull   string `yaml:"pull" oneof:"up|down|none"`   // of an input, by default up
	Reset  string `yaml:"reset" oneof:"up|down|float"` // the pull from power-on until the agent sets the line up
}

// A UART is a serial port and the header pins that it comes out at; no pins
// mean a plug, such as a USB adapter's.
type UART struct {
	Port string `yaml:"port" required:"true"`
	TX   int    `yaml:"tx_pin" min:"1" max:"200"`
	RX   int    `yaml:"rx_pin" min:"1" max:"200"`
}

// InputRoles returns the roles of lines that are read.
func InputRoles() []string {
	return []string{"panic", "fire", "medical", "tamper", "mains", "battery-low", "test-key"}
}

// OutputRoles returns the roles of lines that are driven.
func OutputRoles() []string { return []string{"red", "amber", "green", "siren"} }

// roles returns the lines and the UARTs that a profile must have.
func roles(profile string) (lines, uarts []string) {
	switch profile {
	case "alarm-box":
		return []string{"panic", "red", "amber", "green", "siren"}, nil
	case "patrol-car":
		return nil, []string{"gps", "fingerprint"}
	}
	return nil, nil
}

// Validate checks what concerns several fields, and fills the defaults of the
// lines.
func (b *Board) Validate(r *strictyaml.Report) {
	lines, pins := make(map[string]string), make(map[int]string)
	take := func(field string, pin int) {
		if pin == 0 {
			return
		}
		if other := pins[pin]; other != "" {
			r.Add(field, pin, "a pin that is not used by "+other)
		} else if pin > len(b.Header) {
			r.Add(field, pin, fmt.Sprintf("one of the header's %d pins", len(b.Header)))
		}
		pins[pin] = field
	}
	outputs := OutputRoles()
	all := append(InputRoles(), outputs...)
	for _, role := range slices.Sorted(maps.Keys(b.Lines)) {
		l, field := b.Lines[role], "lines."+role
		isOutput := slices.Contains(outputs, role)
		if !slices.Contains(all, role) {
			r.Add(field, role, "a role: "+strings.Join(all, ", "))
		}
		if other := lines[l.Line]; other != "" {
			r.Add(field+".line", l.Line, "a line that is not used by "+other)
		}
		lines[l.Line] = field
		take(field+".pin", l.Pin)
		if len(b.Header) > 0 && l.Pin == 0 {
			r.Add(field+".pin", "", "the header's pin of this line")
		}
		if l.Pin > 0 && l.Pin <= len(b.Header) && b.Header[l.Pin-1] != l.Line {
			r.Add(field+".line", l.Line, fmt.Sprintf("%s, which is at pin %d", b.Header[l.Pin-1], l.Pin))
		}
		if isOutput && l.Pull != "" {
			r.Add(field+".pull", l.Pull, "no pull on an output")
		}
		b.Lines[role] = l.withDefaults(isOutput)
		if l := b.Lines[role]; isOutput && (l.Active == "high" && l.Reset == "up" || l.Active == "low" && l.Reset == "down") {
			r.Add(field+".reset", l.Reset, "a line that rests dark: before the agent runs this lamp would say what is not so")
		}
	}
	for _, role := range slices.Sorted(maps.Keys(b.UARTs)) {
		if role != "gps" && role != "fingerprint" {
			r.Add("uarts."+role, role, "a role: gps, fingerprint")
		}
		take("uarts."+role+".tx_pin", b.UARTs[role].TX)
		take("uarts."+role+".rx_pin", b.UARTs[role].RX)
	}
	if (b.Arch == "arm") != (b.ARM != 0) {
		r.Add("goarm", b.ARM, "6 or 7 with arch arm, and none with others")
	}
	if deb := map[string]string{"arm": "armhf"}; b.Boot.Package != nil && b.Boot.Package.Deb != cmp.Or(deb[b.Arch], b.Arch) {
		r.Add("boot.package.deb", b.Boot.Package.Deb, cmp.Or(deb[b.Arch], b.Arch)+" with arch "+b.Arch)
	}
	if none := b.Boot.Image == nil && b.Boot.Package == nil; none != (b.Arch == "any") {
		r.Add("boot", "", "an image or a package, and none with arch any")
	}
	b.complete(r)
	b.sourced(r)
}

func (l Line) withDefaults(output bool) Line {
	switch {
	case l.Active == "" && output:
		l.Active = "high"
	case l.Active == "":
		l.Active = "low"
	}
	if l.Pull == "" && !output {
		l.Pull = "up"
	}
	return l
}

// complete checks that each profile has all of its roles.
func (b *Board) complete(r *strictyaml.Report) {
	for i, profile := range b.Profiles {
		at := fmt.Sprintf("profiles.%d", i)
		lines, uarts := roles(profile)
		for _, role := range lines {
			if _, ok := b.Lines[role]; !ok {
				r.Add(at, profile, "a profile that this board has all lines for; it has none for "+role)
			}
		}
		for _, role := range uarts {
			if _, ok := b.UARTs[role]; !ok {
				r.Add(at, profile, "a profile that this board has all serial ports for; it has none for "+role)
			}
		}
	}
}

// sourced checks that all that is said has a source, and nothing else.
func (b *Board) sourced(r *strictyaml.Report) {
	need := map[string]bool{"arch": true, "boot": b.Arch != "any", "lines": len(b.Lines) > 0, "header": len(b.Header) > 0, "uarts": len(b.UARTs) > 0}
	for _, key := range slices.Sorted(maps.Keys(need)) {
		if need[key] && strings.TrimSpace(b.Sources[key]) == "" {
			r.Add("sources."+key, "", "where the values of "+key+" come from")
		}
	}
	for _, key := range slices.Sorted(maps.Keys(b.Sources)) {
		if !need[key] {
			r.Add("sources."+key, key, "a part that this file has: arch, boot, header, lines, uarts")
		}
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
