package district

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"os"
	"time"

	"github.com/fengsui/fengsui/sim/child"
	"github.com/fengsui/fengsui/sim/ledger"
	"github.com/fengsui/fengsui/sim/mono"
)

// respawn is how long a device whose process ended by itself is down, as
// systemd would have it.
const respawn = time.Second

// PowerCut kills the process as a power cut does, the receiver and the reader
// with it. Without power it does nothing.
func (d *Device) PowerCut() {
	d.supply.Lock()
	defer d.supply.Unlock()
	d.mu.Lock()
	p := d.proc
	was := d.power
	d.power, d.proc = false, nil
	at := mono.Now()
	if p != nil {
		p.die()
	}
	if d.rig != nil && was {
		d.rig.Power(false)
		d.real.over = true
	}
	d.mu.Unlock()
	if !was {
		return
	}
	d.log.Info("power cut")
	if d.gps != nil {
		d.gps.power(false)
	}
	if d.finger != nil {
		d.finger.power(false)
	}
	if p != nil {
		<-p.exited
	}
	d.ended(at)
}

// ended enters that the process is gone since a time.
func (d *Device) ended(at time.Duration) {
	d.ledger.RunEnded(d.ID, at)
	d.mu.Lock()
	d.out.dark(at)
	d.status = nil
	d.mu.Unlock()
	d.changed()
}

// PowerRestore starts a process on the same data. With power it does nothing.
func (d *Device) PowerRestore() error {
	d.supply.Lock()
	defer d.supply.Unlock()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.power || d.closed {
		return nil
	}
	d.log.Info("power restored")
	d.power = true
	return d.boot()
}

// boot starts the process. The caller holds d.mu.
func (d *Device) boot() error {
	if d.rig != nil {
		d.bootRig()
		return nil
	}
	for _, p := range d.ports {
		if err := p.Reset(); err != nil {
			return err
		}
	}
	p, err := d.spawn.start(d.starter(d.args[0], d.args[1:]...), d.logPath, d.read)
	if err != nil {
		d.power = false
		return err
	}
	d.proc = p
	for name, c := range d.buttons {
		if c.closed || c.wire != Sound {
			d.sendButton(name, c)
		}
	}
	for _, role := range d.Spec.Inputs {
		d.send(d.inputCommand(role))
	}
	if d.clock != "" {
		d.send(child.Command{Clock: d.clock})
	}
	if d.modem != nil {
		d.modem.Restart()
	}
	d.send(child.Command{Start: true})
	if d.gps != nil {
		d.gps.power(true)
	}
	if d.finger != nil {
		d.finger.power(true)
	}
	d.wg.Go(func() { d.mind(p) })
	return nil
}

// mind starts the process again when it ends by itself.
func (d *Device) mind(p *process) {
	<-p.exited
	d.mu.Lock()
	mine := d.proc == p && !d.closed
	if mine {
		d.proc = nil
		d.crashes++
	}
	d.mu.Unlock()
	if !mine {
		return
	}
	d.log.Error("the device's process ended by itself", "err", p.err, "log", d.logPath)
	d.ended(mono.Now())
	d.sleep(respawn)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.power && d.proc == nil && !d.closed {
		if err := d.boot(); err != nil {
			d.log.Error("the device does not start again", "err", err)
		}
	}
}

// read takes a process's reports until its output ends.
func (d *Device) read(out io.Reader) {
	for dec := json.NewDecoder(bufio.NewReader(out)); ; {
		var r child.Report
		if err := dec.Decode(&r); err != nil {
			_, _ = io.Copy(io.Discard, out) // a killed process leaves half a line
			return
		}
		if r.Key != "" {
			select {
			case d.key <- r.Key:
			default: // it is known already
			}
		}
		if r.Began {
			d.ledger.RunEnded(d.ID, r.At) // of one that the board itself started again
			d.ledger.RunBegan(ledger.Run{Device: d.ID, Began: r.At, Stream: r.Status.Stream, Boot: r.Status.Boot})
		}
		if r.Status != nil && !r.Began {
			d.ledger.StreamBegan(d.ID, r.Status.Stream)
		}
		d.mu.Lock()
		if r.Status != nil {
			d.status, d.seen = r.Status, r.At
		} else {
			d.out.edge(r)
		}
		d.mu.Unlock()
		d.changed()
	}
}

// close ends everything of the device.
func (d *Device) close(giveUp <-chan struct{}) error {
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return nil
	}
	d.closed = true
	close(d.quit)
	p, second := d.proc, d.twin.proc
	d.proc, d.twin.proc = nil, nil
	d.mu.Unlock()
	if second != nil {
		second.ask(giveUp)
	}
	if p != nil {
		p.ask(giveUp)
		d.ledger.RunEnded(d.ID, mono.Now())
	}
	if d.gps != nil {
		d.gps.halt()
	}
	var err error
	if d.link != nil {
		err = d.link.Close()
	}
	for _, port := range d.ports {
		err = errors.Join(err, port.Close())
	}
	if d.rig != nil {
		err = errors.Join(err, d.rig.Close())
	}
	if d.sockets != "" {
		err = errors.Join(err, os.RemoveAll(d.sockets))
	}
	if d.finger != nil {
		d.finger.wait()
	}
	d.wg.Wait()
	return err
}
