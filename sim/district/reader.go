package district

import (
	"context"
	"io"
	"slices"
	"sync"

	"github.com/fengsui/fengsui/firmware/fingerprint/fingerprinttest"
)

// A reader plays a fingerprint sensor on a serial port; what it has enrolled
// outlives its power, as flash does.
type reader struct {
	sensor *fingerprinttest.Sensor
	slots  []int
	port   *powered
	stop   context.CancelFunc
	done   chan struct{}
}

// newReader starts a sensor; it serves until the port is closed.
func newReader(slots []int, port io.ReadWriter) *reader {
	ctx, stop := context.WithCancel(context.Background())
	r := &reader{
		sensor: fingerprinttest.New(fingerprinttest.Options{Slots: slots, Library: 1000}),
		slots:  slots, port: &powered{ReadWriter: port}, stop: stop, done: make(chan struct{}),
	}
	go func() {
		defer close(r.done)
		_ = r.sensor.Serve(ctx, r.port) // it ends with the port
	}()
	return r
}

// lay lays a finger; one that is in no slot is a stranger's.
func (r *reader) lay(slot int) {
	if !slices.Contains(r.slots, slot) {
		slot = fingerprinttest.Stranger
	}
	r.sensor.Lay(slot)
}

func (r *reader) lift() { r.sensor.Lift() }

func (r *reader) power(on bool) {
	r.port.set(on)
	if !on {
		r.sensor.PowerOff()
	}
}

// wait ends the sensor, whose port must be closed.
func (r *reader) wait() {
	r.stop()
	<-r.done
}

// A powered port loses what is written to it without power.
type powered struct {
	io.ReadWriter
	mu sync.Mutex
	on bool
}

func (p *powered) set(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.on = on
}

// Write passes bytes on while there is power.
func (p *powered) Write(b []byte) (int, error) {
	p.mu.Lock()
	on := p.on
	p.mu.Unlock()
	if !on {
		return len(b), nil
	}
	return p.ReadWriter.Write(b)
}
