package district

import (
	"context"
	"io"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/fengsui/fengsui/firmware/agent"
	"github.com/fengsui/fengsui/sim/child"
	"github.com/fengsui/fengsui/sim/desk"
	"github.com/fengsui/fengsui/sim/ledger"
	"github.com/fengsui/fengsui/sim/line"
	"github.com/fengsui/fengsui/sim/link"
	"github.com/fengsui/fengsui/sim/mono"
)

// A Rig touches a real device from outside. The district closes it.
type Rig interface {
	// Play moves the contact of a button or input; a role without a line is
	// ignored. It does not wait for the train's end.
	Play(role string, t line.Train)
	// Watch calls edge for what the outputs red, amber, green and siren show now
	// and for each change, in the order of their times, until the rig is closed.
	Watch(edge func(output string, on bool, at time.Duration))
	// Power switches the supply; without a line for it, it does nothing.
	Power(on bool)
	// GPS and Finger are the far ends of the device's serial ports; nil: none.
	GPS() io.ReadWriter
	Finger() io.ReadWriter
	// Close opens all contacts and ends Watch and reads of the ports. The error
	// tells of what could not be driven in between, too.
	Close() error
}

// A Bench says that one device of the district is a real one, somewhere else.
type Bench struct {
	Device string
	Key    string         // public, in hexadecimal digits
	Addr   netip.AddrPort // where the device reaches the centre, through its link
	Rig    Rig
	// Told is called when the device can be set up: with the desk's address, the
	// server's and the centre's key.
	Told func(desk, server, key string)
}

// A realRun is the run of a real device that the desk has last told of. Guarded
// by Device.mu.
type realRun struct {
	stream string
	boot   uint64
	known  bool
	over   bool // its power was cut
}

// wire puts the world around a real device.
func (d *Device) wire(b *Bench, flash string, all *District) (err error) {
	d.rig = b.Rig
	if d.link, err = link.ListenAt(b.Addr, all.Centre.dial); err != nil {
		return err
	}
	if port := b.Rig.GPS(); port != nil {
		d.wg.Go(func() { _, _ = io.Copy(io.Discard, port) }) // it ends when the port closes
		d.gps = newReceiver(d.ID, port, d.Spec.At, d.ledger)
		if d.Spec.Drive != nil {
			d.gps.drive(*d.Spec.Drive)
		} else {
			d.gps.park()
		}
	}
	if port := b.Rig.Finger(); port != nil {
		if d.finger, err = newReader(slices.Sorted(maps.Keys(d.Spec.Fingers)), flash, port, d.log); err != nil {
			return err
		}
	}
	red, amber, green, siren := outputLines(d.Spec)
	lines := map[string]string{"red": red, "amber": amber, "green": green, "siren": siren}
	b.Rig.Watch(func(output string, on bool, at time.Duration) {
		d.mu.Lock()
		d.out.edge(child.Report{At: at, Line: lines[output], High: on})
		d.mu.Unlock()
		d.changed()
	})
	return nil
}

// sendRig moves a contact; what a rig cannot do was refused before the start.
// The caller holds d.mu.
func (d *Device) sendRig(c child.Command) {
	for name, l := range d.lines {
		if l == c.Line {
			d.rig.Play(name, c.Train)
		}
	}
	for _, role := range d.Spec.Inputs {
		if inputLine(role) == c.Line {
			d.rig.Play(role, c.Train)
		}
	}
}

// bootRig gives a real device power, with its contacts as they are. The caller
// holds d.mu.
func (d *Device) bootRig() {
	for name, c := range d.buttons {
		d.sendButton(name, c)
	}
	for _, role := range d.Spec.Inputs {
		d.send(d.inputCommand(role))
	}
	d.rig.Power(true)
	if d.gps != nil {
		d.gps.power(true)
	}
	if d.finger != nil {
		d.finger.power(true)
	}
}

// followEvery is how often the desk is asked what it has of a real device.
const followEvery = 300 * time.Millisecond

// follow learns from the desk which run of a real device it hears, and when
// that began at the latest: an event cannot have been captured after it was
// received. It ends when the device is closed.
func (d *District) follow(dev *Device) {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	dev.wg.Go(func() { <-dev.quit; stop() })
	cursor := ""
	for tick := time.NewTicker(followEvery); ; {
		page, next, err := d.Desk.Events(ctx, dev.ID, cursor)
		if err == nil { // a centre that is away comes back
			if len(page) > 0 {
				cursor = next
			}
			d.heard(ctx, dev, page)
		}
		select {
		case <-ctx.Done():
			tick.Stop()
			return
		case <-tick.C:
		}
	}
}

// heard takes what the desk has got of a real device.
func (d *District) heard(ctx context.Context, dev *Device, page []desk.Event) {
	began := func(e desk.Event) time.Duration {
		return mono.Now() - time.Since(e.ReceivedAt) - time.Duration(e.MonoMS)*time.Millisecond
	}
	var newest *desk.Event
	for i := range page { // a later boot ends an earlier one; what waited of those comes first
		if e := &page[i]; newest == nil || e.Boot >= newest.Boot {
			newest = e
		}
	}
	live := false
	devices, err := d.Desk.Devices(ctx)
	if err == nil {
		live = slices.ContainsFunc(devices, func(v desk.Device) bool { return v.ID == dev.ID && v.Link.State == "live" })
	}
	dev.mu.Lock()
	r := &dev.real
	switch {
	case newest == nil || r.known && newest.Boot < r.boot:
	case r.known && newest.Boot == r.boot:
		d.Ledger.StreamBegan(dev.ID, newest.Stream)
	default:
		d.Ledger.RunEnded(dev.ID, mono.Now())
		d.Ledger.RunBegan(ledger.Run{Device: dev.ID, Began: began(*newest), Stream: newest.Stream, Boot: newest.Boot})
		*r = realRun{stream: newest.Stream, boot: newest.Boot, known: true}
	}
	dev.status = nil
	if r.known && !r.over && err == nil {
		dev.status = &agent.Status{Device: dev.ID, Stream: r.stream, Boot: r.boot, Connected: live, Heard: live}
	}
	dev.mu.Unlock()
	for _, e := range page {
		d.Ledger.RunDated(dev.ID, e.Stream, e.Boot, began(e))
	}
	dev.changed()
}
