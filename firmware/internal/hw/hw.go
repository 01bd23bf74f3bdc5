// Package hw is the only package that touches device paths and the host's
// GPIO: it opens lines by name through periph and serial ports by path through
// go.bug.st/serial. It knows nothing of what is connected to them.
package hw

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"time"

	"go.bug.st/serial"
	"periph.io/x/conn/v3/gpio"
	"periph.io/x/conn/v3/gpio/gpioreg"
	"periph.io/x/host/v3"
)

// ErrNoLine means that this host has no GPIO line of that name.
var ErrNoLine = errors.New("no such GPIO line")

var initHost = sync.OnceValue(func() error {
	_, err := host.Init()
	return err
})

// Line returns a GPIO line by its name, number or alias, such as "GPIO17". The
// error wraps [ErrNoLine] and names what there is.
func Line(name string) (gpio.PinIO, error) {
	if err := initHost(); err != nil {
		return nil, fmt.Errorf("GPIO: %w", err)
	}
	if p := gpioreg.ByName(name); p != nil {
		return p, nil
	}
	var names []string
	for _, p := range gpioreg.All() {
		names = append(names, p.Name())
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("%w: %q: this host shows no GPIO lines", ErrNoLine, name)
	}
	slices.Sort(names)
	return nil, fmt.Errorf("%w: %q: want one of %s", ErrNoLine, name, strings.Join(names[:min(len(names), 40)], ", "))
}

// readTimeout bounds every Read of a serial port, so that whoever reads can
// notice that it should stop.
const readTimeout = 100 * time.Millisecond

// Serial opens a serial port, 8 data bits, no parity, one stop bit, no flow
// control. A Read returns 0, nil when nothing came within 100 ms. Closing the
// port ends a Read in progress.
func Serial(_ context.Context, path string, baud int) (io.ReadWriteCloser, error) {
	p, err := serial.Open(path, &serial.Mode{BaudRate: baud, DataBits: 8, Parity: serial.NoParity, StopBits: serial.OneStopBit})
	if err != nil {
		return nil, fmt.Errorf("serial port %s at %d baud: %w", path, baud, explain(err))
	}
	if err := p.SetReadTimeout(readTimeout); err != nil {
		return nil, errors.Join(fmt.Errorf("serial port %s: read timeout: %w", path, err), p.Close())
	}
	return p, nil
}

// explain turns the library's codes into what a technician can act on.
func explain(err error) error {
	var pe *serial.PortError
	if !errors.As(err, &pe) {
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%w: is the adapter plugged in?", err)
		}
		return err
	}
	switch pe.Code() {
	case serial.PortNotFound:
		return fmt.Errorf("%w: is the adapter plugged in?", err)
	case serial.PermissionDenied:
		return fmt.Errorf("%w: is the user in the group dialout?", err)
	case serial.PortBusy:
		return fmt.Errorf("%w: does another program have it open?", err)
	}
	return err
}
