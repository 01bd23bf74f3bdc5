package boards

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/fengsui/fengsui/boards/strictyaml"
)

// Validate checks what concerns several fields, and fills the defaults of the
// lines.
func (b *Board) Validate(r *strictyaml.Report) {
	b.boots(r)
	b.headers(r)
	used := b.lines(r)
	b.ports(r, used)
	b.complete(r)
	b.sourced(r)
}

// boots checks the architecture, and how the board starts.
func (b *Board) boots(r *strictyaml.Report) {
	if (b.Arch == "arm") != (b.ARM != 0) {
		r.Add("goarm", b.ARM, "6 or 7 with arch arm, and none with others")
	}
	deb := map[string]string{"arm": "armhf", "any": "none"}
	if want := cmp.Or(deb[b.Arch], b.Arch); b.Boot.Package != nil && b.Boot.Package.Deb != want {
		r.Add("boot.package.deb", b.Boot.Package.Deb, want+" with arch "+b.Arch)
	}
	if none := b.Boot.Image == nil && b.Boot.Package == nil; none != (b.Arch == "any") {
		r.Add("boot", "", "an image or a package, and none with arch any")
	}
}

func (b *Board) headers(r *strictyaml.Report) {
	for i, h := range b.Headers {
		at := fmt.Sprintf("headers.%d", i)
		if first := slices.IndexFunc(b.Headers, func(o Header) bool { return o.Name == h.Name }); first < i {
			r.Add(at+".name", h.Name, fmt.Sprintf("another name than headers.%d", first))
		}
		if strings.ContainsAny(h.Name, ". ") {
			r.Add(at+".name", h.Name, "a name without full stop and space")
		}
		if len(h.Pins)%2 != 0 {
			r.Add(at+".pins", len(h.Pins), "an even number of pins")
		}
	}
}

// lines checks each line, fills its defaults, and returns the pins that are
// taken, each with the field that took it.
func (b *Board) lines(r *strictyaml.Report) map[string]string {
	lines, pins := make(map[string]string), make(map[string]string)
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
		l = l.withDefaults(isOutput)
		l.Chip = b.chipOf(r, field, l)
		b.take(r, pins, field+".pin", l.Pin)
		if len(b.Headers) > 0 && l.Pin == "" {
			r.Add(field+".pin", "", "the header's pin of this line")
		}
		if at, ok := b.At(l.Pin); ok && at != l.Label {
			r.Add(field+".line", l.Label, fmt.Sprintf("%s, which is at pin %s", at, l.Pin))
		}
		b.is(r, field+".ground", l.Ground, "GND")
		if isOutput && l.Pull != "" {
			r.Add(field+".pull", l.Pull, "no pull on an output")
		}
		if isOutput && (l.Active == "high" && l.Reset == "up" || l.Active == "low" && l.Reset == "down") {
			r.Add(field+".reset", l.Reset, "a line that rests dark: before the agent runs this lamp would say what is not so")
		}
		b.Lines[role] = l
	}
	return pins
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
	l.Label = cmp.Or(l.Label, l.Line)
	return l
}

// chipOf checks a line's chip and its number there, and returns the chip.
func (b *Board) chipOf(r *strictyaml.Report, field string, l Line) string {
	if len(b.Chips) == 0 {
		return l.Chip
	}
	labels := slices.Sorted(maps.Keys(b.Chips))
	if i := strings.LastIndexByte(l.Line, ':'); i > 0 {
		chip := l.Line[:i]
		n, err := strconv.ParseUint(l.Line[i+1:], 10, 16)
		switch {
		case l.Chip != "" && l.Chip != chip:
			r.Add(field+".chip", l.Chip, chip+", as in its line, or nothing")
		case b.Chips[chip] == 0:
			r.Add(field+".line", l.Line, "CHIP:NUMBER with one of the board's chips: "+strings.Join(labels, ", "))
		case err != nil || int(n) >= b.Chips[chip]:
			r.Add(field+".line", l.Line, fmt.Sprintf("a number from 0 to %d", b.Chips[chip]-1))
		}
		return chip
	}
	switch {
	case l.Chip == "" && len(labels) == 1:
		return labels[0]
	case b.Chips[l.Chip] == 0:
		r.Add(field+".chip", l.Chip, "one of the board's chips: "+strings.Join(labels, ", "))
	}
	return l.Chip
}

// take notes that a pin is used.
func (b *Board) take(r *strictyaml.Report, pins map[string]string, field, pin string) {
	if pin == "" {
		return
	}
	if other := pins[pin]; other != "" {
		r.Add(field, pin, "a pin that is not used by "+other)
	} else if _, ok := b.At(pin); !ok {
		r.Add(field, pin, b.wantPin())
	}
	pins[pin] = field
}

// is checks that a pin, if there is one, is what it is taken for.
func (b *Board) is(r *strictyaml.Report, field, pin, what string) {
	if pin == "" {
		return
	}
	at, ok := b.At(pin)
	switch {
	case !ok:
		r.Add(field, pin, b.wantPin())
	case what == "GND" && at != "GND" || what == "power" && at != "3V3" && at != "5V":
		r.Add(field, pin, fmt.Sprintf("a pin of %s; %s is at this one", what, at))
	}
}

func (b *Board) wantPin() string {
	switch len(b.Headers) {
	case 0:
		return "no pin: the board has no header"
	case 1:
		return fmt.Sprintf("one of the header's %d pins", len(b.Headers[0].Pins))
	}
	var names []string
	for _, h := range b.Headers {
		names = append(names, fmt.Sprintf("%s.1 to %s.%d", h.Name, h.Name, len(h.Pins)))
	}
	return "a pin: " + strings.Join(names, ", ")
}

// ports checks the serial ports.
func (b *Board) ports(r *strictyaml.Report, pins map[string]string) {
	ports := make(map[string]string)
	for _, role := range slices.Sorted(maps.Keys(b.UARTs)) {
		u, field := b.UARTs[role], "uarts."+role
		if !slices.Contains(UARTRoles(), role) {
			r.Add(field, role, "a role: "+strings.Join(UARTRoles(), ", "))
		}
		if other := ports[u.Port]; other != "" {
			r.Add(field+".port", u.Port, "a port that is not used by "+other)
		}
		ports[u.Port] = field
		b.take(r, pins, field+".tx_pin", u.TX)
		b.take(r, pins, field+".rx_pin", u.RX)
		b.is(r, field+".power_pin", u.Power, "power")
		b.is(r, field+".ground_pin", u.Ground, "GND")
		if (u.TX == "") != (u.RX == "") {
			r.Add(field+".rx_pin", u.RX, "both pins or none")
		}
	}
}

// complete checks that each profile has all of its roles.
func (b *Board) complete(r *strictyaml.Report) {
	for i, profile := range b.Profiles {
		at := fmt.Sprintf("profiles.%d", i)
		lines, uarts := Roles(profile)
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
	parts := map[string]bool{
		"arch": true, "boot": b.Arch != "any", "chips": len(b.Chips) > 0, "headers": len(b.Headers) > 0,
		"lines": len(b.Lines) > 0, "uarts": len(b.UARTs) > 0, "watchdog": b.Watchdog != nil,
		"temperature": b.Temperature != nil, "limits": b.Limits != nil, "radio": b.Radio != nil,
	}
	entry := make(map[string]bool)
	for role := range b.Lines {
		entry["lines."+role] = true
	}
	for role := range b.UARTs {
		entry["uarts."+role] = true
	}
	for _, h := range b.Headers {
		entry["headers."+h.Name] = true
	}
	var has []string
	for _, key := range slices.Sorted(maps.Keys(parts)) {
		if !parts[key] {
			continue
		}
		has = append(has, key)
		if strings.TrimSpace(b.Sources[key]) == "" {
			r.Add("sources."+key, "", "where the values of "+key+" come from")
		}
	}
	for _, key := range slices.Sorted(maps.Keys(b.Sources)) {
		if !parts[key] && !entry[key] {
			r.Add("sources."+key, key, "a part that this file has: "+strings.Join(has, ", ")+", or PART.ENTRY")
		}
	}
}
