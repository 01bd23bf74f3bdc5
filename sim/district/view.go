package district

import (
	"maps"
	"time"

	"github.com/fengsui/fengsui/sim/lampwatch"
	"github.com/fengsui/fengsui/sim/mono"
)

// A View is a device as the simulator's API shows it.
type View struct {
	ID      string            `json:"id"`
	Kind    string            `json:"kind"`
	Name    string            `json:"name"`
	Drill   bool              `json:"drill"`
	Power   string            `json:"power"` // on, off, or failed: its process does not run
	Link    string            `json:"link"`  // up, cut or black_holed
	SMS     *bool             `json:"sms"`   // its modem has a network; null without one
	Desk    bool              `json:"desk"`  // in touch with the desk, as the agent says
	Lamps   *Lamps            `json:"lamps"` // null without lamps
	Siren   *bool             `json:"siren"` // sounds; null without one
	Buttons map[string]Button `json:"buttons"`
	Inputs  map[string]bool   `json:"inputs"`  // role → tripped
	Fingers map[int]string    `json:"fingers"` // slot → officer, with a sign behind a duress finger's; null without a reader
	Screen  string            `json:"screen"`  // address of the officer's screen, with its token; "" without one
	PINs    map[string]string `json:"pins"`    // officer → PIN there
	Officer string            `json:"officer"` // signed on, as the agent says
	Queue   map[string]uint64 `json:"queue"`   // events that wait, by lane, as the agent says; null when it says nothing
	Fix     *Fix              `json:"fix"`     // the newest, as the agent says
	GPS     string            `json:"gps"`     // what the receiver does; "" without one
	Route   bool              `json:"route"`   // it has a way to drive
	Faults  []string          `json:"faults"`  // active, as the agent says
	Crashes int               `json:"crashes"` // how often its process ended by itself
}

// Lamps are a box's lamps, judged by the edges of their lines.
type Lamps struct {
	Red   Lamp   `json:"red"`
	Amber Lamp   `json:"amber"`
	Green Lamp   `json:"green"`
	Shows string `json:"shows"` // idle, stored, centre_has, acknowledged, unit_coming, fault, drill_mode, visit_stored, visit_held; unknown while that is not certain
	Style string `json:"style"` // plain, silent, drill: the plainest that it may be; "" while what it shows is not certain
	ForMS int64  `json:"for_ms"`
}

// A Lamp is one lamp.
type Lamp struct {
	Lit     bool   `json:"lit"`     // now
	Pattern string `json:"pattern"` // off, steady, blinking, flashing, winking, or changing
}

// A Button is a button and what a hand does to it.
type Button struct {
	Kind    string `json:"kind"`
	Silent  bool   `json:"silent"`
	Pressed bool   `json:"pressed"` // its contact is closed
	Wire    *Wire  `json:"wire"`    // of a supervised one: "" when sound, cut, short; null of others
}

// A Fix is where the device knows itself to be.
type Fix struct {
	Lat   float64    `json:"lat"`
	Lon   float64    `json:"lon"`
	Time  *time.Time `json:"time"`
	Speed *float64   `json:"speed"`
	AgeMS int64      `json:"age_ms"`
}

// View returns the device as it is now.
func (d *Device) View() View {
	state := d.link.State()
	gps := ""
	if d.gps != nil {
		gps = d.gps.doing()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	now := mono.Now()
	v := View{
		ID: d.ID, Kind: d.Spec.Kind, Name: d.Spec.Name, Drill: d.Spec.Drill, Power: "off", Screen: d.screen, PINs: maps.Clone(d.Spec.PINs), Link: string(state), GPS: gps, Route: d.Spec.Drive != nil,
		Buttons: make(map[string]Button), Inputs: make(map[string]bool), Fingers: maps.Clone(d.Spec.Fingers), Faults: []string{}, Crashes: d.crashes,
	}
	for slot, officer := range d.Spec.Duress {
		v.Fingers[slot] = officer + " ⚠" // of a duress finger
	}
	if v.Name == "" {
		v.Name = d.ID
	}
	switch {
	case d.power && d.proc == nil:
		v.Power = "failed"
	case d.power:
		v.Power = "on"
	}
	for name, b := range d.Spec.Buttons {
		button := Button{Kind: b.Kind, Silent: b.Silent, Pressed: d.buttons[name].closed}
		if b.Supervised {
			wire := d.buttons[name].wire
			button.Wire = &wire
		}
		v.Buttons[name] = button
	}
	for _, role := range d.Spec.Inputs {
		v.Inputs[role] = d.tripped[role]
	}
	if len(d.Spec.Buttons) > 0 {
		v.Lamps = lamps(d.out.watch.View(now), now)
	}
	if d.Spec.Siren {
		on := d.out.sounds()
		v.Siren = &on
	}
	if d.modem != nil {
		up := d.modem.Served()
		v.SMS = &up
	}
	if s := d.status; s != nil {
		v.Desk, v.Officer, v.Queue = s.Heard, s.Officer, s.Queue
		v.Faults = append(v.Faults, s.Faults...)
		if f := s.Fix; f != nil {
			v.Fix = &Fix{Lat: f.Lat, Lon: f.Lon, Speed: f.Speed, AgeMS: (s.FixAge + now - d.seen).Milliseconds()}
			if t, err := time.Parse(time.RFC3339Nano, f.Time); err == nil {
				v.Fix.Time = &t
			}
		}
	}
	return v
}

func lamps(v lampwatch.View, now time.Duration) *Lamps {
	lamp := func(bit uint8) Lamp { return Lamp{v.Lit&bit != 0, v.Lamp(bit)} }
	l := &Lamps{
		Red: lamp(lampwatch.Red), Amber: lamp(lampwatch.Amber), Green: lamp(lampwatch.Green),
		Shows: string(v.Certain()), ForMS: (now - v.Since).Milliseconds(),
	}
	if v.Certain() != lampwatch.Unknown {
		l.Style = string(v.Style())
	}
	return l
}
