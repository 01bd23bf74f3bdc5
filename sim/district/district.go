// Package district is a simulated district: a centre, alarm boxes and patrol
// cars, each in a process of its own that runs the code that ships, and the
// world around them, which this process holds: serial ports, satellite
// receivers, fingerprint readers, the outsides of lines, and links.
//
// It decides nothing about when things happen (packages play and panel do) and
// judges nothing (package ledger does).
package district

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fengsui/fengsui/cloud-bridge/account"
	"github.com/fengsui/fengsui/cloud-bridge/bridge"
	"github.com/fengsui/fengsui/firmware/agent"
	"github.com/fengsui/fengsui/firmware/fingers"
	"github.com/fengsui/fengsui/firmware/modem/modemtest"
	"github.com/fengsui/fengsui/firmware/terminal"
	"github.com/fengsui/fengsui/sim/child"
	"github.com/fengsui/fengsui/sim/desk"
	"github.com/fengsui/fengsui/sim/ledger"
	"github.com/fengsui/fengsui/sim/link"
	"github.com/fengsui/fengsui/sim/mono"
	"github.com/fengsui/fengsui/sim/scenario"
	"github.com/fengsui/fengsui/sim/tty"
)

// Options say what a district is made of.
type Options struct {
	Data      string // the folder of everything that outlives a process
	Devices   map[string]scenario.Device
	Supervise scenario.Supervise // how the centre judges silence
	DeskAddr  string             // where the desk listens, host:port
	Seed      uint64             // of bounces
	Keep      int                // entries of a kind in the ledger; 0: all
	Centre    child.Main         // the centre's program, for its key; serve runs in a child
	Starter   Starter            // of the children
	Image     Imager             // of virtual boards; nil: there are none
	Bench     *Bench             // says which device is a real one; nil: none
	Log       *slog.Logger
}

// An Imager builds the image of a board with a configuration.
type Imager func(ctx context.Context, board string, config []byte, out string) error

// A District is a running district. Make it with Start.
type District struct {
	Centre  *Centre
	Ledger  *ledger.Ledger
	Desk    *desk.Client
	devices map[string]*Device
	spawn   *spawner
	second  *second
	started time.Time

	mu       sync.Mutex
	watchers map[chan struct{}]struct{}
}

// Start makes a district in a folder, or takes up the one that is there, and
// returns when its processes run. The caller closes it.
func Start(ctx context.Context, o Options) (_ *District, err error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Data, err = filepath.Abs(o.Data); err != nil {
		return nil, fmt.Errorf("district: %w", err)
	}
	d := &District{
		Ledger: ledger.New(o.Keep), devices: make(map[string]*Device), spawn: newSpawner(),
		watchers: make(map[chan struct{}]struct{}), started: time.Now(),
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.Close())
		}
	}()
	centreData := filepath.Join(o.Data, "centre")
	if err := os.MkdirAll(centreData, 0o700); err != nil {
		return nil, fmt.Errorf("district: %w", err)
	}
	key, err := centreKey(ctx, o.Centre, centreData)
	if err != nil {
		return nil, err
	}
	if d.second, err = newSecond(o); err != nil {
		return nil, err
	}
	registerPath := filepath.Join(o.Data, "devices.yaml")
	serve := append([]string{"serve", "--data", centreData, "--devices", registerPath}, judging(o.Supervise)...)
	serve = slices.Clip(append(serve, d.second.flags()...))
	d.Centre = &Centre{
		log: o.Log, spawn: d.spawn, logPath: filepath.Join(o.Data, "centre.log"),
		http: o.DeskAddr, ledger: d.Ledger,
		command: func(http, mqtt string) *exec.Cmd {
			return o.Starter("__centre", append(serve, "--http-addr", http, "--mqtt-addr", mqtt)...)
		},
	}
	keys := make(map[string]string)
	for i, id := range slices.Sorted(maps.Keys(o.Devices)) {
		dev, pub, err := d.newDevice(ctx, id, o, key, uint64(i))
		if err != nil {
			return nil, err
		}
		d.devices[id], keys[id] = dev, pub
	}
	reg, err := register(o.Devices, keys)
	if err != nil {
		return nil, err
	}
	if _, err := writeFile(o.Data, "devices.yaml", reg); err != nil {
		return nil, err
	}
	tokens, err := bridge.Grant(ctx, centreData, account.Supervisor, desk.Reader, scenario.DefaultBy)
	if err != nil {
		return nil, fmt.Errorf("district: %w", err)
	}
	if err := d.Centre.Start(ctx); err != nil {
		return nil, err
	}
	d.Desk = desk.New(d.Centre.URL(), func(ctx context.Context, name string) (string, error) {
		if tokens[name] != "" {
			return tokens[name], nil
		}
		more, err := bridge.Grant(ctx, centreData, account.Supervisor, name)
		return more[name], err
	})
	for _, id := range d.IDs() {
		if err := d.devices[id].PowerRestore(); err != nil {
			return nil, err
		}
	}
	if b := o.Bench; b != nil {
		dev := d.devices[b.Device]
		dev.wg.Go(func() { d.follow(dev) })
		if b.Told != nil {
			b.Told(d.Centre.URL(), dev.link.Addr(), key)
		}
	}
	return d, nil
}

// judging returns the centre's flags for how it judges silence.
func judging(s scenario.Supervise) (flags []string) {
	for name, d := range map[string]scenario.Duration{"--suspect": s.Suspect, "--offline": s.Offline, "--grace": s.Grace} {
		if d > 0 {
			flags = append(flags, name, d.String())
		}
	}
	return flags
}

// centreKey asks the centre's program for its public key.
func centreKey(ctx context.Context, main child.Main, data string) (string, error) {
	var out, errs bytes.Buffer
	if code := main(ctx, []string{"key", "--data", data}, strings.NewReader(""), &out, &errs); code != 0 {
		return "", fmt.Errorf("%w: key: %s", ErrCentre, strings.TrimSpace(errs.String()))
	}
	return strings.TrimSpace(out.String()), nil
}

// newDevice makes a device's folder, key, configuration and surroundings. It
// has no power yet.
func (d *District) newDevice(ctx context.Context, id string, o Options, centreKey string, i uint64) (_ *Device, pub string, err error) {
	spec := o.Devices[id]
	dir := filepath.Join(o.Data, id)
	dev := &Device{
		ID: id, Spec: spec, log: o.Log.With("device", id), logPath: filepath.Join(o.Data, id+".log"),
		spawn: d.spawn, starter: o.Starter, ledger: d.Ledger, changed: d.poke, lines: buttonLines(spec),
		buttons: make(map[string]*contact), tripped: make(map[string]bool), rng: rand.New(rand.NewPCG(o.Seed, i)), out: newOutputs(spec, mono.Now()),
		key: make(chan string, 1), lying: make(chan struct{}, 1), quit: make(chan struct{}), clock: spec.Clock,
	}
	dev.lying <- struct{}{}
	d.devices[id] = dev // so that it is closed when the rest fails
	for name := range spec.Buttons {
		dev.buttons[name] = &contact{turn: make(chan struct{}, 1)}
		dev.buttons[name].turn <- struct{}{}
	}
	if b := o.Bench; b != nil && b.Device == id {
		return dev, b.Key, dev.wire(b, filepath.Join(o.Data, id+".reader.json"), d)
	}
	if dev.link, err = link.Listen(d.Centre.dial); err != nil {
		return nil, "", err
	}
	w := wiring{data: dir, server: dev.link.Addr(), centreKey: centreKey}
	port := func() (*tty.Port, error) {
		p, err := tty.Open()
		if err == nil {
			dev.ports = append(dev.ports, p)
		}
		return p, err
	}
	if spec.GPS {
		p, err := port()
		if err != nil {
			return nil, "", err
		}
		dev.wg.Go(func() { _, _ = io.Copy(io.Discard, p) }) // what the device says to its receiver; it ends when the port closes
		w.gps = p.Path()
		dev.gps = newReceiver(id, p, spec.At, d.Ledger)
		if spec.Drive != nil {
			dev.gps.drive(*spec.Drive)
		} else {
			dev.gps.park()
		}
	}
	if spec.Modem {
		p, err := port()
		if err != nil {
			return nil, "", err
		}
		w.modem = p.Path()
		dev.modem = modemtest.New(fmt.Sprintf("+86138%08d", i+1), d.second.network)
		serve(dev.modem, p)
	}
	if spec.Group != "" {
		w.group = d.second.group(id, o.Devices)
	}
	if spec.Fingers != nil {
		p, err := port()
		if err != nil {
			return nil, "", err
		}
		w.reader = p.Path()
		slots := append(slices.Sorted(maps.Keys(spec.Fingers)), slices.Sorted(maps.Keys(spec.Duress))...)
		if dev.finger, err = newReader(slots, filepath.Join(o.Data, id+".reader.json"), p, dev.log); err != nil {
			return nil, "", err
		}
		if err := enrolDuress(dir, spec.Duress); err != nil {
			return nil, "", fmt.Errorf("district: %s: %w", id, err)
		}
	}
	if spec.PINs != nil {
		token, err := terminal.LoadOrCreateToken(dir)
		if err != nil {
			return nil, "", fmt.Errorf("district: %s: %w", id, err)
		}
		if w.screen, err = freeAddress(); err != nil {
			return nil, "", fmt.Errorf("district: %s: %w", id, err)
		}
		dev.screen = "http://" + w.screen + "/?token=" + token
	}
	if spec.Virtual() {
		pub, err = dev.makeBoard(ctx, o, w)
		return dev, pub, err
	}
	key, err := agent.LoadOrCreateKey(dir)
	if err != nil {
		return nil, "", fmt.Errorf("district: %s: %w", id, err)
	}
	yaml, err := configuration(id, spec, w)
	if err != nil {
		return nil, "", err
	}
	path, err := writeFile(o.Data, id+".yaml", yaml)
	if err != nil {
		return nil, "", err
	}
	dev.args = []string{"__device", "--config", path}
	if err := dev.makeTwin(o.Data, w); err != nil {
		return nil, "", err
	}
	return dev, hex.EncodeToString(key.Public().(ed25519.PublicKey)), nil
}

// freeAddress returns a loopback address that nobody listens at now.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// IDs returns the devices' ids in their order.
func (d *District) IDs() []string { return slices.Sorted(maps.Keys(d.devices)) }

// Device returns a device. The error wraps [ErrNoDevice].
func (d *District) Device(id string) (*Device, error) {
	dev := d.devices[id]
	if dev == nil {
		return nil, fmt.Errorf("%w: %q", ErrNoDevice, id)
	}
	return dev, nil
}

// Ready waits until the desk has heard from every device and every device from
// the centre.
func (d *District) Ready(ctx context.Context) error {
	for tick := time.NewTicker(50 * time.Millisecond); ; {
		var missing []string
		for _, id := range d.IDs() {
			if !d.devices[id].Connected() {
				missing = append(missing, id)
			}
		}
		if len(missing) == 0 {
			tick.Stop()
			return nil
		}
		select {
		case <-ctx.Done():
			tick.Stop()
			return fmt.Errorf("district: not in touch with the desk: %s: %w", strings.Join(missing, ", "), context.Cause(ctx))
		case <-tick.C:
		}
	}
}

// Watch returns a channel that gets a token when something can be seen that
// could not before, and a function that ends it.
func (d *District) Watch() (<-chan struct{}, func()) {
	c := make(chan struct{}, 1)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.watchers[c] = struct{}{}
	return c, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.watchers, c)
	}
}

func (d *District) poke() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for c := range d.watchers {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

// patience is how long children have to end by themselves.
const patience = 5 * time.Second

// Close ends all processes and waits for them. Data stay.
func (d *District) Close() error {
	giveUp := make(chan struct{})
	timer := time.AfterFunc(patience, func() { close(giveUp) })
	defer timer.Stop()
	errs := make(chan error, len(d.devices))
	for _, dev := range d.devices {
		go func() { errs <- dev.close(giveUp) }()
	}
	var err error
	for range d.devices {
		err = errors.Join(err, <-errs)
	}
	if d.Centre != nil {
		d.Centre.stop(giveUp)
	}
	if d.Desk != nil {
		d.Desk.Close()
	}
	err = errors.Join(err, d.second.close())
	d.spawn.close()
	return err
}

// enrolDuress makes the device's list of fingers, unless it has one, as its
// technician would have left it.
func enrolDuress(dir string, duress map[int]string) error {
	if len(duress) == 0 {
		return nil
	}
	r, err := fingers.Open(dir, nil)
	if err != nil {
		return err
	}
	for _, slot := range slices.Sorted(maps.Keys(duress)) {
		if _, there := r.Lookup(slot); !there && err == nil {
			err = r.Add(slot, fingers.Finger{Officer: duress[slot], Role: fingers.Officer, Duress: true, By: fingers.ByLocal})
		}
	}
	return errors.Join(err, r.Close())
}
