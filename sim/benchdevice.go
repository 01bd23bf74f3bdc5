package sim

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"

	"periph.io/x/conn/v3/gpio"

	"github.com/fengsui/fengsui/sim/bench"
	"github.com/fengsui/fengsui/sim/district"
	"github.com/fengsui/fengsui/sim/play"
	"github.com/fengsui/fengsui/sim/scenario"
)

// benchWait is how long a real device may take to say hello.
const benchWait = 10 * time.Minute

// Bench plays a scenario against a real device: the command bench, whose errors
// it returns. The function lines returns a GPIO line by its name; nil means this
// machine's.
func Bench(ctx context.Context, version string, args []string, stdout, stderr io.Writer, lines func(name string) (gpio.PinIO, error)) (err error) {
	std := streams{stdout, stderr}
	var wiringPath, report, deskAddr, mqttAddr, data string
	wait := benchWait
	rest, err := parse(args, func(f *flag.FlagSet) {
		f.StringVar(&wiringPath, "wiring", "", "")
		f.StringVar(&report, "report", "", "")
		f.StringVar(&deskAddr, "desk-addr", "127.0.0.1:0", "")
		f.StringVar(&mqttAddr, "mqtt-addr", "", "")
		f.StringVar(&data, "data", "", "")
		f.DurationVar(&wait, "wait", benchWait, "")
	})
	switch {
	case err != nil:
		return err
	case len(rest) != 1:
		return fmt.Errorf("%w: bench wants one scenario, got %d", errUsage, len(rest))
	case wiringPath == "":
		return fmt.Errorf("%w: bench wants --wiring FILE", errUsage)
	case data == "":
		return fmt.Errorf("%w: bench wants --data DIR: the centre's key stays there, and the device has to know it", errUsage)
	}
	at, err := netip.ParseAddrPort(mqttAddr)
	if err != nil || !at.Addr().Is4() || at.Addr().IsUnspecified() {
		return fmt.Errorf("%w: --mqtt-addr %q: want an IPv4 address of this machine that the device reaches, and a port, such as 192.168.1.10:1883", errUsage, mqttAddr)
	}
	devices, err := demo()
	if err != nil {
		return err
	}
	s, err := scenario.Load(rest[0], devices)
	if err != nil {
		return err
	}
	w, err := bench.Load(wiringPath)
	if err != nil {
		return err
	}
	if err := w.Check(s); err != nil {
		return err
	}
	if err := errors.Join(free("desk-addr", deskAddr), free("mqtt-addr", mqttAddr)); err != nil {
		return err
	}
	if st, err := os.Stat(filepath.Dir(report)); err != nil || !st.IsDir() {
		return fmt.Errorf("--report %q: want a file in a folder that is there", report)
	}
	dir, _, err := dataFolder(data)
	if err != nil {
		return err
	}
	rig, err := bench.Open(ctx, w, lines)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rig.Close()) }()
	o := district.Options{Data: dir, Devices: s.Devices, Supervise: s.Supervise, DeskAddr: deskAddr, Seed: s.Seed}
	o.Bench = &district.Bench{Device: w.Device, Key: w.Key, Addr: at, Rig: rig, Told: func(desk, server, key string) {
		fmt.Fprint(std.out, deviceConfig(w.Device, s.Devices[w.Device], server, key))
		fmt.Fprintf(std.out, "waiting for %s to say hello; the desk: %s\n", w.Device, desk)
	}}
	d, err := startDistrict(ctx, o, version, std)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	waiting, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	if err := d.Ready(waiting); err != nil {
		return err
	}
	r, err := play.Run(ctx, s, d, std.err)
	if err != nil {
		return err
	}
	return conclude(r, report, std)
}

// deviceConfig returns what has to stand in a real device's configuration, as
// YAML; lines and ports are its board's.
func deviceConfig(id string, d scenario.Device, server, key string) string {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# the device's configuration has to say, beside its board's lines and ports:\n")
	fmt.Fprintf(&b, "device: %s\nprofile: %s\ncentre:\n  servers: [\"mqtt://%s\"]\n  key: %s\n", id, d.Kind, server, key)
	if d.Drill {
		fmt.Fprintf(&b, "drill: true\n")
	}
	if len(d.Buttons) > 0 {
		fmt.Fprintf(&b, "buttons:\n")
	}
	for _, name := range slices.Sorted(maps.Keys(d.Buttons)) {
		fmt.Fprintf(&b, "  %s: {kind: %s, silent: %t}\n", name, d.Buttons[name].Kind, d.Buttons[name].Silent)
	}
	if len(d.Inputs) > 0 {
		fmt.Fprintf(&b, "# inputs, closed while all is well: %v\n", d.Inputs)
	}
	if d.Fingers != nil {
		fmt.Fprintf(&b, "fingerprint:\n  officers:\n")
	}
	for _, slot := range slices.Sorted(maps.Keys(d.Fingers)) {
		fmt.Fprintf(&b, "    %d: %q\n", slot, d.Fingers[slot])
	}
	if t := d.Track; t != (scenario.Track{}) {
		fmt.Fprintf(&b, "# track as in the scenario: batch %d, close_after %s, still_every %s; 0 is the default\n", t.Batch, t.CloseAfter, t.StillEvery)
	}
	return b.String()
}
