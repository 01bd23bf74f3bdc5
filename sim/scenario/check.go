package scenario

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/fengsui/fengsui/boards/strictyaml"
	"github.com/fengsui/fengsui/firmware/config"
	"github.com/fengsui/fengsui/firmware/pin"
	"github.com/fengsui/fengsui/firmware/wire"
)

// maxDevices bounds a district: each device is a process.
const maxDevices = 200

// A rule says which keys a verb or an expectation goes with.
type rule struct{ needs, takes []string }

func words(s string) []string { return strings.Fields(s) }

// verbs returns the table of the package comment.
func verbs() map[string]rule {
	return map[string]rule{
		"press":           {words("device button"), words("bounce for hold")},
		"release":         {words("device button"), words("bounce")},
		"wire cut":        {words("device button"), nil},
		"wire short":      {words("device button"), nil},
		"wire mend":       {words("device button"), nil},
		"trip":            {words("device input"), nil},
		"restore":         {words("device input"), nil},
		"finger":          {words("device slot"), words("for")},
		"reader unplug":   {words("device"), nil},
		"reader plug":     {words("device"), nil},
		"link cut":        {words("device"), nil},
		"link restore":    {words("device"), nil},
		"link black hole": {words("device"), nil},
		"sms cut":         {words("device"), nil},
		"sms restore":     {words("device"), nil},
		"power cut":       {words("device"), nil},
		"power restore":   {words("device"), nil},
		"twin start":      {words("device"), nil},
		"twin end":        {words("device"), nil},
		"drive":           {words("device route"), words("speed")},
		"park":            {words("device"), nil},
		"lose fix":        {words("device"), nil},
		"antenna open":    {words("device"), words("maker")},
		"antenna short":   {words("device"), words("maker")},
		"antenna mend":    {words("device"), words("maker")},
		"teleport":        {words("device to"), words("for")},
		"replay":          {words("device log"), words("speed")},
		"set clock":       {words("device clock"), nil},
		"acknowledge":     {words("device"), words("by kind")},
		"dispatch":        {words("device unit"), words("by kind")},
		"close":           {words("device code"), words("by kind note")},
		"centre kill":     {nil, nil},
		"centre start":    {nil, nil},
	}
}

func expectations() map[string]rule {
	return map[string]rule{
		"incident":          {words("device within"), words("kind state presses silent drill officer sms count position near source corrected dated")},
		"lamp":              {words("device shows within"), words("style")},
		"siren":             {words("device sounds within"), nil},
		"officer":           {words("device signed within"), words("officer")},
		"link":              {words("device link within"), nil},
		"track":             {words("device fixes within"), words("jumped")},
		"place":             {words("device near within"), nil},
		"fault":             {words("device fault active within"), nil},
		"all events stored": {nil, words("within")},
	}
}

// A field is one key of a step.
type field struct {
	name  string
	set   bool
	value func() any
}

func fieldOf[T any](name string, p *T) field {
	return field{name, p != nil, func() any { return *p }}
}

// fields returns all keys but do and expect.
func (s *Step) fields() []field {
	return []field{
		fieldOf("at", s.At), fieldOf("device", s.Device), fieldOf("button", s.Button), fieldOf("bounce", s.Bounce), fieldOf("hold", s.Hold),
		fieldOf("for", s.For), fieldOf("input", s.Input), fieldOf("slot", s.Slot),
		{"route", s.Route != nil, func() any { return s.Route }},
		fieldOf("speed", s.Speed),
		fieldOf("log", s.Log), fieldOf("by", s.By), fieldOf("unit", s.Unit), fieldOf("code", s.Code), fieldOf("note", s.Note),
		fieldOf("kind", s.Kind), fieldOf("state", s.State), fieldOf("presses", s.Presses), fieldOf("silent", s.Silent),
		fieldOf("drill", s.Drill), fieldOf("shows", s.Shows), fieldOf("style", s.Style), fieldOf("sounds", s.Sounds),
		fieldOf("sms", s.SMS), fieldOf("signed", s.Signed), fieldOf("link", s.Link), fieldOf("officer", s.Officer), fieldOf("fault", s.Fault), fieldOf("active", s.Active), fieldOf("fixes", s.Fixes), fieldOf("jumped", s.Jumped), fieldOf("maker", s.Maker), fieldOf("to", s.To), fieldOf("near", s.Near), fieldOf("position", s.Position), fieldOf("count", s.Count),
		fieldOf("clock", s.Clock), fieldOf("source", s.Source), fieldOf("corrected", s.Corrected), fieldOf("dated", s.Dated),
		fieldOf("within", s.Within),
	}
}

// Validate checks what concerns several keys of a device.
func (d *Device) Validate(r *strictyaml.Report) {
	switch d.Kind {
	case config.AlarmBox:
		if len(d.Buttons) == 0 {
			r.Add("buttons", "", "one or more buttons on an alarm-box, such as {panic: {kind: panic}}")
		}
	case config.PatrolCar, config.PatrolMotorcycle:
		d.GPS = true
	}
	for _, name := range slices.Sorted(maps.Keys(d.Buttons)) {
		if wire.ValidDevice(name) != nil {
			r.Add("buttons."+name, name, "a button's name: 1 to 32 of a-z, 0-9 and '-'")
		}
	}
	for _, slot := range slices.Sorted(maps.Keys(d.Fingers)) {
		at := fmt.Sprintf("fingers.%d", slot)
		if slot < 1 || slot > 999 {
			r.Add(at, slot, "a slot from 1 to 999; 0 is the finger that nobody knows")
		}
		if o := d.Fingers[slot]; o == "" || len(o) > 64 {
			r.Add(at, o, "an officer's id of 1 to 64 bytes")
		}
	}
	for _, officer := range slices.Sorted(maps.Keys(d.PINs)) {
		if pin.Valid(d.PINs[officer]) != nil {
			r.Add("pins."+officer, d.PINs[officer], "a PIN in quotes: 6 to 12 digits, not all alike and not in a row")
		}
	}
	if d.Virtual() && d.PINs != nil {
		r.Add("pins", len(d.PINs), "no screen on the virtual board")
	}
	for _, slot := range slices.Sorted(maps.Keys(d.Duress)) {
		at := fmt.Sprintf("duress.%d", slot)
		switch o, taken := d.Fingers[slot]; {
		case d.Fingers == nil:
			r.Add(at, slot, "a duress finger only where there is a reader: fingers: {…}")
		case slot < 1 || slot > 999:
			r.Add(at, slot, "a slot from 1 to 999")
		case taken:
			r.Add(at, slot, "another slot than that of "+o+" in fingers")
		case d.Virtual():
			r.Add(at, slot, "none on the virtual board: nobody has enrolled there")
		}
		if o := d.Duress[slot]; o == "" || len(o) > 64 {
			r.Add(at, o, "an officer's id of 1 to 64 bytes")
		}
	}
	if d.Virtual() && len(d.Buttons) > 3 {
		r.Add("buttons", len(d.Buttons), "three buttons at most on the virtual board")
	}
	for name, b := range d.Buttons {
		if d.Virtual() && b.Supervised {
			r.Add("buttons."+name+".supervised", true, "none on the virtual board: its lines are taken")
		}
	}
	if d.Virtual() && len(d.Inputs) > 0 {
		r.Add("inputs", d.Inputs, "none on the virtual board: its lines are taken")
	}
	if d.Virtual() && d.Clock != "" && d.Clock != "right" {
		r.Add("clock", d.Clock, "none on the virtual board: its clock cannot be set")
	}
	if d.Patience != 0 && !d.GPS {
		r.Add("gps_patience", d.Patience, "it only where there is a receiver: gps: true")
	}
	if d.Drive != nil && !d.GPS {
		r.Add("drive", "", "a drive only where there is a receiver: gps: true")
	}
}

// Validate checks the route and fills the speed.
func (d *Drive) Validate(r *strictyaml.Report) {
	if len(d.Route) < 2 {
		r.Add("route", fmt.Sprintf("%d places", len(d.Route)), "two or more places {lat, lon}")
	}
	if d.Speed == 0 {
		d.Speed = DefaultSpeed
	}
}

// What a step has when the file does not say.
const (
	DefaultSpeed  = 12.0 // metres a second
	DefaultPress  = 200 * time.Millisecond
	DefaultFinger = 700 * time.Millisecond
	DefaultStored = 30 * time.Second // for all events stored
	DefaultAstray = 5 * time.Second  // a teleport lasts
	DefaultMaker  = "u-blox"         // of a receiver
	DefaultBy     = "sim"            // who acts at the desk
)

func validIDs(r *strictyaml.Report, devices map[string]Device) {
	if n := len(devices); n == 0 || n > maxDevices {
		r.Add("devices", fmt.Sprintf("%d devices", n), fmt.Sprintf("1 to %d devices", maxDevices))
	}
	for _, id := range slices.Sorted(maps.Keys(devices)) {
		if wire.ValidDevice(id) != nil || id == All {
			r.Add("devices."+id, id, "a device id: 1 to 32 of a-z, 0-9 and '-', not beginning with '-', and not all")
		}
	}
}

// Validate checks the timeline against the devices, and gives every step its time.
func (s *Scenario) Validate(r *strictyaml.Report) {
	if strings.TrimSpace(s.Name) == "" {
		r.Add("name", s.Name, "a name for people")
	}
	if s.Devices == nil {
		s.Devices = s.district
	}
	validIDs(r, s.Devices)
	if len(s.Timeline) == 0 {
		r.Add("timeline", "0 steps", "one or more steps")
	}
	last, killed := Duration(0), -1
	for i := range s.Timeline {
		c := check{r, s, fmt.Sprintf("timeline.%d.", i), &s.Timeline[i]}
		c.times(last)
		last = *c.step.At
		c.keys()
		c.names()
		switch c.step.Do {
		case "centre kill":
			killed = i
		case "centre start":
			killed = -1
		}
	}
	s.second(r)
	if killed >= 0 {
		r.Add(fmt.Sprintf("timeline.%d.do", killed), "centre kill", "a centre start after it: without the centre nothing can be judged")
	}
}

// A check is that of one step.
type check struct {
	r    *strictyaml.Report
	s    *Scenario
	path string
	step *Step
}

func (c check) bad(field string, value any, want string) {
	c.r.Add(strings.TrimSuffix(c.path+field, "."), value, want)
}

func (c check) times(last Duration) {
	st := c.step
	if st.At == nil {
		at := last
		st.At = &at
	}
	switch {
	case *st.At < last:
		c.bad("at", *st.At, fmt.Sprintf("a time of %v or later: the steps stand in the order of their times", last))
	case *st.At >= c.s.Limit:
		c.bad("at", *st.At, fmt.Sprintf("a time below the scenario's limit of %v", c.s.Limit))
	}
	if st.Expect == "all events stored" && st.Within == nil {
		w := Duration(DefaultStored)
		st.Within = &w
	}
}

// keys checks that the step has what its verb needs and no more.
func (c check) keys() {
	st := c.step
	var ru rule
	var word string
	switch {
	case st.Do != "" && st.Expect != "":
		c.bad("expect", st.Expect, "either do or expect in one step")
		return
	case st.Do != "":
		ru, word = verbs()[st.Do], st.Do
	case st.Expect != "":
		ru, word = expectations()[st.Expect], "expect "+st.Expect
	default:
		c.bad("", "", "do or expect in every step")
		return
	}
	for _, f := range st.fields() {
		needed := slices.Contains(ru.needs, f.name)
		switch {
		case needed && !f.set:
			c.bad(f.name, "", fmt.Sprintf("%s: %s needs it", hint(f.name), word))
		case f.set && !needed && f.name != "at" && !slices.Contains(ru.takes, f.name):
			takes := strings.Join(append(slices.Clone(ru.needs), ru.takes...), ", ")
			if takes == "" {
				takes = "no key but at"
			}
			c.bad(f.name, f.value(), fmt.Sprintf("no such key here: %s takes %s", word, takes))
		}
	}
	if st.Do == "drive" && st.Route != nil && len(st.Route) < 2 {
		c.bad("route", fmt.Sprintf("%d places", len(st.Route)), "two or more places {lat, lon}")
	}
	if st.Do == "drive" && st.Speed != nil && *st.Speed > 100 {
		c.bad("speed", *st.Speed, "a speed from 0.1 to 100 metres a second")
	}
	if st.Hold != nil && *st.Hold && st.For != nil {
		c.bad("for", *st.For, "either hold: true, until a release, or for")
	}
}

// hint says what a key is for.
func hint(name string) string {
	h, ok := map[string]string{
		"device": "a device's id", "button": "a button's name", "input": "tamper, mains, battery-low, test-key or check-in",
		"fault": "a fault's code, such as mains_lost", "active": "true or false", "slot": "a finger's slot, 0 for an unknown one",
		"route": "two or more places {lat, lon}", "to": "a place {lat, lon}", "near": "a place {lat, lon}", "log": "the path of a receiver's log", "unit": "the unit that comes",
		"code": "real, false_alarm, test, drill, duplicate or unfounded", "within": "a duration such as 1s",
		"shows": "idle, stored, centre_has, acknowledged, unit_coming, fault, drill_mode, visit_stored or visit_held", "sounds": "true or false",
		"link": "never, live, suspect, offline or unsure", "signed": "on, off, refused or came by", "fixes": "a number of fixes",
		"clock": "right, free, in 1970, in 2080, hour ahead or hour behind",
	}[name]
	if !ok {
		return "a value"
	}
	return h
}

// names checks that what the step names is there.
func (c check) names() {
	st := c.step
	if st.Device == nil {
		return
	}
	ids := slices.Sorted(maps.Keys(c.s.Devices))
	if *st.Device == All {
		if !strings.HasPrefix(st.Do, "link") && !strings.HasPrefix(st.Do, "power") {
			c.bad("device", All, "one device: "+list(ids))
		}
		return
	}
	d, ok := c.s.Devices[*st.Device]
	if !ok {
		c.bad("device", *st.Device, "one of "+list(ids))
		return
	}
	if st.Button != nil {
		if _, ok := d.Buttons[*st.Button]; !ok {
			want := "one of " + list(slices.Sorted(maps.Keys(d.Buttons)))
			if len(d.Buttons) == 0 {
				want = "a device with buttons: " + *st.Device + " has none"
			}
			c.bad("button", *st.Button, want)
		} else if strings.HasPrefix(st.Do, "wire") && !d.Buttons[*st.Button].Supervised {
			c.bad("button", *st.Button, "a button with supervised: true")
		}
	}
	if st.Log != nil && !c.s.there(c.s.LogPath(*st.Log)) {
		c.bad("log", *st.Log, "the path of a receiver's log, from the scenario's folder: there is no file "+c.s.LogPath(*st.Log))
	}
	without := func(part, why string) {
		c.bad("device", *st.Device, fmt.Sprintf("a device with %s: %s", part, why))
	}
	switch {
	case st.Input != nil && !slices.Contains(d.Inputs, *st.Input):
		without("the input "+*st.Input, "it is not in its inputs")
	case (st.Do == "finger" || strings.HasPrefix(st.Do, "reader")) && d.Fingers == nil:
		without("a fingerprint reader", "it has no fingers")
	case slices.Contains([]string{"drive", "park", "lose fix", "antenna open", "antenna short", "antenna mend", "teleport", "replay"}, st.Do) && !d.GPS:
		without("a receiver", "it has no gps: true")
	case strings.HasPrefix(st.Do, "sms") && !d.Modem:
		without("a modem", "it has no modem: true")
	case st.Expect == "siren" && !d.Siren:
		without("a siren", "it has no siren: true")
	case (st.Expect == "track" || st.Expect == "place") && !d.GPS:
		without("a receiver", "it has no gps: true")
	case st.Expect == "lamp" && len(d.Buttons) == 0:
		without("lamps", "only a device with buttons has them")
	}
}

// list joins names, not too many.
func list(names []string) string {
	if len(names) > 20 {
		names = append(slices.Clone(names[:20]), "…")
	}
	return strings.Join(names, ", ")
}

// second checks the ways beside the one to the centre.
func (s *Scenario) second(r *strictyaml.Report) {
	count := make(map[string]int)
	for _, d := range s.Devices {
		count[d.Group]++
	}
	for _, id := range slices.Sorted(maps.Keys(s.Devices)) {
		d := s.Devices[id]
		at := "devices." + id
		switch {
		case d.Virtual() && d.Modem:
			r.Add(at+".modem", true, "no modem on a virtual board")
		case d.Virtual() && d.Group != "":
			r.Add(at+".group", d.Group, "no group on a virtual board: it is on no local network")
		case d.Group != "" && wire.ValidDevice(d.Group) != nil:
			r.Add(at+".group", d.Group, "1 to 32 of a-z, 0-9 and '-', not beginning with '-'")
		case d.Group != "" && count[d.Group] < 2:
			r.Add(at+".group", d.Group, "a group of two devices or more")
		}
	}
}
