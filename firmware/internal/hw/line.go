package hw

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"periph.io/x/conn/v3/gpio"
	"periph.io/x/conn/v3/gpio/gpioreg"
	"periph.io/x/host/v3"
	"periph.io/x/host/v3/gpioioctl"
)

var initHost = sync.OnceValue(func() error {
	_, err := host.Init()
	return err
})

// Line returns a GPIO line by its name, number or alias, such as "GPIO17", or
// by CHIP:NUMBER where lines have no names, such as "9030000.pl061:4"; a chip
// is called by its label or its kernel name. The error wraps [ErrNoLine] and
// names what there is.
//
// A line that was set up stays so when the process ends, until the kernel
// takes it back.
func Line(name string) (gpio.PinIO, error) {
	if err := initHost(); err != nil {
		return nil, fmt.Errorf("GPIO: %w", err)
	}
	if p := gpioreg.ByName(name); p != nil {
		return p, nil
	}
	if chip, number, ok := chipLine(name); ok {
		for _, c := range gpioioctl.Chips {
			if c.Label() != chip && c.Name() != chip {
				continue
			}
			if number >= c.LineCount() {
				return nil, fmt.Errorf("%w: %q: want a line from 0 to %d of chip %s", ErrNoLine, name, c.LineCount()-1, chip)
			}
			return named{c.ByNumber(number), name}, nil
		}
	}
	return nil, missing(name, present())
}

// named gives a nameless line the name by which it was asked for.
type named struct {
	gpio.PinIO
	name string
}

func (n named) Name() string   { return n.name }
func (n named) String() string { return n.name }

// chipLine splits CHIP:NUMBER.
func chipLine(name string) (chip string, number int, ok bool) {
	i := strings.LastIndexByte(name, ':')
	if i < 1 {
		return "", 0, false
	}
	n, err := strconv.ParseUint(name[i+1:], 10, 16)
	return name[:i], int(n), err == nil
}

// present lists the names that Line takes on this host: chips with nameless
// lines as "LABEL:0 to 7".
func present() []string {
	var names []string
	for _, p := range gpioreg.All() {
		names = append(names, p.Name())
	}
	for _, c := range gpioioctl.Chips {
		if slices.ContainsFunc(c.Lines(), func(l *gpioioctl.GPIOLine) bool { return l.Name() == "" }) {
			names = append(names, fmt.Sprintf("%s:0 to %d", c.Label(), c.LineCount()-1))
		}
	}
	return names
}

const fewNames = 12

// missing tells that there is no line of a name, and which names are most like
// it: those that share the longest beginning.
func missing(name string, names []string) error {
	if len(names) == 0 {
		return fmt.Errorf("%w: %q: this host shows no GPIO lines", ErrNoLine, name)
	}
	alike := func(s string) (n int) {
		for n < len(s) && n < len(name) && strings.EqualFold(s[n:n+1], name[n:n+1]) {
			n++
		}
		return n
	}
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(alike(b)-alike(a), len(a)-len(b), strings.Compare(a, b))
	})
	few := names[:min(len(names), fewNames)]
	return fmt.Errorf("%w: %q: this host has %d, such as %s", ErrNoLine, name, len(names), strings.Join(few, ", "))
}
