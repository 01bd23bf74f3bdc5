package district

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/fengsui/fengsui/sim/child"
)

// A twin is a second device with a device's key and a copy of its card. Its
// lines are its own, and nobody presses or sees them; the ledger knows nothing of
// it.
type twin struct {
	dir, config, log string
	proc             *process // nil: it does not run; guarded by Device.mu
}

// Twin copies the device's card as it is now and starts a second device on the
// copy, or ends that. A twin that was started is a new copy.
func (d *Device) Twin(runs bool) error {
	if d.twin.dir == "" {
		return fmt.Errorf("%w: %s has a card of its own, which is not copied", ErrNoPart, d.ID)
	}
	d.supply.Lock()
	defer d.supply.Unlock()
	d.mu.Lock()
	p, closed := d.twin.proc, d.closed
	d.twin.proc = nil
	d.mu.Unlock()
	if p != nil {
		p.kill()
	}
	if closed {
		return ErrClosed
	}
	d.log.Info("twin", "runs", runs)
	if !runs {
		return nil
	}
	if err := errors.Join(os.RemoveAll(d.twin.dir), os.CopyFS(d.twin.dir, os.DirFS(d.dir))); err != nil {
		return fmt.Errorf("district: %s: copy the card: %w", d.ID, err)
	}
	if err := os.Chmod(filepath.Join(d.twin.dir, "device.key"), 0o600); err != nil {
		return fmt.Errorf("district: %s: copy the card: %w", d.ID, err)
	}
	p, err := d.spawn.start(d.starter("__device", "--config", d.twin.config), d.twin.log, func(out io.Reader) {
		_, _ = io.Copy(io.Discard, bufio.NewReader(out))
	})
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.twin.proc = p
	return json.NewEncoder(p.stdin).Encode(child.Command{Start: true})
}

// makeTwin writes the configuration of a device's twin, which has no
// receiver, reader and screen: a port has one end.
func (d *Device) makeTwin(data string, w wiring) error {
	spec := d.Spec
	spec.GPS, spec.Fingers, spec.PINs = false, nil, nil
	d.dir, w.data = w.data, w.data+".twin"
	yaml, err := configuration(d.ID, spec, w)
	if err != nil {
		return err
	}
	path, err := writeFile(data, d.ID+".twin.yaml", yaml)
	d.twin = twin{dir: w.data, config: path, log: filepath.Join(data, d.ID+".twin.log")}
	return err
}
