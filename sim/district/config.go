package district

import (
	"fmt"
	"maps"
	"slices"

	"go.yaml.in/yaml/v4"

	"github.com/fengsui/fengsui/firmware/config"
	"github.com/fengsui/fengsui/firmware/pin"
	"github.com/fengsui/fengsui/sim/scenario"
	"github.com/fengsui/fengsui/sim/virtboard"
)

// The lines of every device's outputs; buttons take those of buttonLine.
const (
	lineRed   = "GPIO5"
	lineAmber = "GPIO6"
	lineGreen = "GPIO13"
	lineSiren = "GPIO19"
)

// buttonLine returns the line of the i-th button in the order of their names.
func buttonLine(i int) string {
	first := []string{"GPIO17", "GPIO27", "GPIO22", "GPIO23"}
	if i < len(first) {
		return first[i]
	}
	return fmt.Sprintf("EXP%d", i-len(first)) // an expander's
}

// windowLine returns the line of the window comparator of a supervised button.
func windowLine(name string) string { return "WINDOW-" + name }

// inputLine returns the line of an input. Its wiring is that of a box that
// tells of a cut wire as well: a contact to ground that opens.
func inputLine(role string) string {
	return map[string]string{config.Tamper: "GPIO16", config.Mains: "GPIO20", config.BatteryLow: "GPIO21", config.TestKey: "GPIO26", config.CheckIn: "GPIO25"}[role]
}

// buttonLines returns the line of each button.
func buttonLines(d scenario.Device) map[string]string {
	lines := make(map[string]string)
	for i, name := range slices.Sorted(maps.Keys(d.Buttons)) {
		if d.Virtual() {
			lines[name] = virtboard.LineName([]int{4, 0, 1}[i])
		} else {
			lines[name] = buttonLine(i)
		}
	}
	return lines
}

// outputLines returns the lines of red, amber, green and the siren.
func outputLines(d scenario.Device) (red, amber, green, siren string) {
	if d.Virtual() {
		return virtboard.LineName(5), virtboard.LineName(6), virtboard.LineName(7), virtboard.LineName(2)
	}
	return lineRed, lineAmber, lineGreen, lineSiren
}

// A wiring is what the configuration says of the world around a device.
type wiring struct {
	data, server, centreKey string
	gps, reader, modem      string // paths of the serial ports
	group                   map[string]any
	screen                  string // where the officer's screen is served
}

// configuration returns a device's YAML file, as its technician would write it.
func configuration(id string, d scenario.Device, w wiring) ([]byte, error) {
	line := func(name string) map[string]any { return map[string]any{"line": name} }
	c := map[string]any{
		"device": id, "profile": d.Kind, "data": w.data, "drill": d.Drill,
		"centre": map[string]any{"servers": []string{"mqtt://" + w.server}, "key": w.centreKey},
	}
	red, amber, green, siren := outputLines(d)
	active, pull := "low", "up"
	if d.Virtual() {
		c["board"] = d.Board
		active, pull = "high", "none"
	}
	if len(d.Buttons) > 0 {
		lines, buttons := buttonLines(d), make(map[string]any)
		for name, b := range d.Buttons {
			button := map[string]any{"line": lines[name], "active": active, "pull": pull, "kind": b.Kind, "silent": b.Silent}
			if b.Supervised {
				button["supervised"] = map[string]any{"window": windowLine(name)}
			}
			buttons[name] = button
		}
		c["buttons"] = buttons
		c["lamps"] = map[string]any{"red": line(red), "amber": line(amber), "green": line(green)}
	}
	if len(d.Inputs) > 0 {
		inputs := make(map[string]any)
		for _, role := range d.Inputs {
			inputs[role] = map[string]any{"line": inputLine(role), "active": "high", "pull": "up"}
		}
		c["inputs"] = inputs
	}
	if d.Siren {
		c["siren"] = line(siren)
	}
	if d.GPS {
		g := map[string]any{"port": w.gps}
		if d.Patience > 0 {
			g["patience"] = d.Patience.String()
		}
		c["gps"] = g
	}
	if d.Fingers != nil {
		c["fingerprint"] = map[string]any{"port": w.reader, "officers": d.Fingers}
	}
	if d.Modem {
		c["modem"] = map[string]any{"port": w.modem, "centre": []string{centreNumber}}
	}
	if w.group != nil {
		c["group"] = w.group
	}
	if d.PINs != nil {
		pins := make(map[string]string)
		for officer, p := range d.PINs {
			h, err := pin.New(p)
			if err != nil {
				return nil, fmt.Errorf("district: %s: PIN of %s: %w", id, officer, err)
			}
			pins[officer] = h.String()
		}
		c["terminal"] = map[string]any{"listen": w.screen, "pins": pins}
	}
	track := make(map[string]any)
	if t := d.Track; t.Batch > 0 {
		track["batch"] = t.Batch
	}
	if t := d.Track; t.CloseAfter > 0 {
		track["close_after"] = t.CloseAfter.String()
	}
	if t := d.Track; t.StillEvery > 0 {
		track["still_every"] = t.StillEvery.String()
	}
	if len(track) > 0 {
		c["track"] = track
	}
	if d.Health > 0 {
		c["health"] = map[string]any{"every": d.Health.String()}
	}
	b, err := yaml.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("district: %s: %w", id, err)
	}
	return b, nil
}

// register returns the centre's register of devices.
func register(devices map[string]scenario.Device, keys map[string]string) ([]byte, error) {
	var list []map[string]any
	for _, id := range slices.Sorted(maps.Keys(devices)) {
		d := devices[id]
		e := map[string]any{"id": id, "kind": d.Kind, "key": keys[id], "name": id}
		if d.Name != "" {
			e["name"] = d.Name
		}
		if d.At != nil && d.Kind == "alarm-box" {
			e["lat"], e["lon"] = d.At.Lat, d.At.Lon
		}
		list = append(list, e)
	}
	b, err := yaml.Marshal(map[string]any{"devices": list})
	if err != nil {
		return nil, fmt.Errorf("district: register: %w", err)
	}
	return b, nil
}
