package district

import (
	"context"
	"io"
)

// A reader is a fingerprint sensor on a serial port; what it has enrolled
// outlives its power, as flash does.
type reader struct {
	lay_, lift_ func(slot int)
	stop        context.CancelFunc
	done        chan struct{}
}

func newReader(slots []int, port io.ReadWriter) *reader {
	_, cancel := context.WithCancel(context.Background())
	r := &reader{stop: cancel, done: make(chan struct{})}
	close(r.done)
	return r
}

func (r *reader) lay(slot int)  {}
func (r *reader) lift(slot int) {}
func (r *reader) power(on bool) {}
func (r *reader) wait()         { r.stop(); <-r.done }
