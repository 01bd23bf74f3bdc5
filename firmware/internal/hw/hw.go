// Package hw is the only package that touches device paths and the host's
// GPIO: it opens lines by name through periph, serial ports by path through
// go.bug.st/serial, and analogue inputs through Linux's industrial I/O. It knows nothing of what is connected to them, and keeps
// no list of what it opened.
package hw

import "errors"

var (
	// ErrNoLine means that this host has no GPIO line of that name.
	ErrNoLine = errors.New("no such GPIO line")
	// ErrGone means that a serial port was there and no longer is: its adapter
	// was unplugged.
	ErrGone = errors.New("the port is gone, is the adapter still plugged in?")
)
