package doctor

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"periph.io/x/conn/v3/gpio"

	"github.com/fengsui/fengsui/boards"
	"github.com/fengsui/fengsui/firmware/config"
)

// Bare returns the configuration of a board on which nothing is set up yet: a
// button, lamp and siren at each line of their role, and a folder for what is
// written meanwhile. It has a centre that is never asked (see Options.Bare). The
// error is a *strictyaml.Error.
func Bare(board, data string) (*config.Config, error) {
	b, err := boards.Load(board)
	if err != nil {
		return nil, err
	}
	var buttons []string
	for _, kind := range []string{"panic", "fire", "medical"} {
		if _, ok := b.Lines[kind]; ok {
			buttons = append(buttons, fmt.Sprintf("%s: {kind: %[1]s}", kind))
		}
	}
	siren := ""
	if _, ok := b.Lines["siren"]; ok {
		siren = "siren: {}\n"
	}
	return config.Parse("board "+board, []byte(fmt.Sprintf(`device: doctor
profile: alarm-box
board: %s
data: %q
centre: {servers: [mqtt://localhost], key: %064d}
buttons: {%s}
spool: {limit_mib: 4}
%s`, board, data, 0, strings.Join(buttons, ", "), siren)))
}

// Emulated returns lines that are not there: each goes where it is pulled, or to
// what it was last driven. They serve the board called sim.
func Emulated() func(name string) (gpio.PinIO, error) {
	var mu sync.Mutex
	lines := make(map[string]*emulated)
	return func(name string) (gpio.PinIO, error) {
		mu.Lock()
		defer mu.Unlock()
		if lines[name] == nil {
			lines[name] = &emulated{PinIO: gpio.INVALID, name: name}
		}
		return lines[name], nil
	}
}

type emulated struct {
	gpio.PinIO
	name string

	mu    sync.Mutex
	level gpio.Level
}

func (e *emulated) Name() string   { return e.name }
func (e *emulated) String() string { return e.name }

func (e *emulated) In(pull gpio.Pull, _ gpio.Edge) error { return e.Out(pull == gpio.PullUp) }

func (e *emulated) Read() gpio.Level {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.level
}

// WaitForEdge sees none: nobody touches these lines.
func (e *emulated) WaitForEdge(timeout time.Duration) bool {
	time.Sleep(timeout)
	return false
}

func (e *emulated) Out(l gpio.Level) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.level = l
	return nil
}
