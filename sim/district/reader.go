package district

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"sync"

	"github.com/fengsui/fengsui/firmware/fingerprint/fingerprinttest"
)

// A reader plays a fingerprint sensor on a serial port; what it has in its
// flash outlives its power, and the simulator as well.
type reader struct {
	sensor *fingerprinttest.Sensor
	port   *powered
	stop   context.CancelFunc
	done   chan struct{}
}

// newReader starts a sensor that keeps its flash in a file; it serves until the
// port is closed. In a new sensor, finger n is in slot n of slots.
func newReader(slots []int, file string, port io.ReadWriter, log *slog.Logger) (*reader, error) {
	ctx, stop := context.WithCancel(context.Background())
	r := &reader{
		sensor: fingerprinttest.New(fingerprinttest.Options{Slots: slots, Library: 1000, Changed: func(f fingerprinttest.Flash) {
			if err := keepFlash(file, f); err != nil {
				log.Error("the reader's flash", "err", err)
			}
		}}),
		port: &powered{ReadWriter: port}, stop: stop, done: make(chan struct{}),
	}
	b, err := os.ReadFile(file)
	if err == nil {
		var f fingerprinttest.Flash
		if err = json.Unmarshal(b, &f); err == nil {
			r.sensor.Restore(f)
		}
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		stop()
		return nil, fmt.Errorf("district: the reader's flash %s: %w", file, err)
	}
	go func() {
		defer close(r.done)
		_ = r.sensor.Serve(ctx, r.port) // it ends with the port
	}()
	return r, nil
}

func keepFlash(file string, f fingerprinttest.Flash) error {
	b, err := json.Marshal(f)
	if err != nil {
		return err
	}
	if err := os.WriteFile(file+".new", b, 0o600); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}

// lay lays a finger; 0 is one that nobody enrols.
func (r *reader) lay(finger int) {
	if finger == 0 {
		finger = fingerprinttest.Stranger
	}
	r.sensor.Lay(finger)
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
