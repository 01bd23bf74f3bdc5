package console

import (
	"strconv"

	"github.com/fengsui/fengsui/cloud-bridge/incident"
)

// Incident is one alarm and what was done about it.
type Incident struct {
	ID           string    `json:"id"`
	Rev          uint64    `json:"rev"`
	State        string    `json:"state"`
	Kind         string    `json:"kind"`
	Silent       bool      `json:"silent"`
	Drill        bool      `json:"drill"`
	Priority     int       `json:"priority"`
	Device       string    `json:"device"`
	DeviceName   string    `json:"device_name"`
	Alarm        string    `json:"alarm"`
	Presses      uint64    `json:"presses"`
	PressedAt    Moment    `json:"pressed_at"`
	ReceivedAt   Time      `json:"received_at"`
	Delay        *Delay    `json:"delay"`
	Position     *Place    `json:"position"`
	Officer      string    `json:"officer"`
	Missing      []string  `json:"missing"`
	SMS          *SMS      `json:"sms"`
	Area         Area      `json:"area"`
	Tier         string    `json:"tier"`
	Level        int       `json:"level"`
	BeganAt      Time      `json:"began_at"`
	Since        Time      `json:"since"`
	Owner        string    `json:"owner"`
	Acknowledged *Step     `json:"acknowledged"`
	Dispatched   *Dispatch `json:"dispatched"`
	Units        []Sent    `json:"units"`
	EnRoute      *Progress `json:"en_route"`
	OnScene      *Progress `json:"on_scene"`
	Checked      *Progress `json:"checked"`
	Request      *Request  `json:"request"`
	Help         *Help     `json:"help"`
	Closed       *Closing  `json:"closed"`
	Cleared      *Step     `json:"cleared"`
	Shown        *Receipt  `json:"shown"`
	Timeline     []Entry   `json:"timeline,omitempty"`
}

// SMS says that a press came by SMS. Only is true until its event has come, too.
type SMS struct {
	At   Time `json:"at"`
	Only bool `json:"only"`
}

// Place is where an incident is. AgeS is nil for a surveyed place.
type Place struct {
	Lat    float64  `json:"lat"`
	Lon    float64  `json:"lon"`
	Source string   `json:"source"`
	AgeS   *float64 `json:"age_s"`
	Spread *int64   `json:"spread_m"`
}

// Step is who did something, and when.
type Step struct {
	By string `json:"by"`
	At Time   `json:"at"`
}

// Dispatch is which unit was sent.
type Dispatch struct {
	Unit string `json:"unit"`
	By   string `json:"by"`
	At   Time   `json:"at"`
}

// Closing is how an incident ended.
type Closing struct {
	Code string `json:"code"`
	By   string `json:"by"`
	At   Time   `json:"at"`
	Note string `json:"note"`
}

// Receipt is a box's word that its lamps show a state.
type Receipt struct {
	Rev   uint64 `json:"rev"`
	State string `json:"state"`
	At    Time   `json:"at"`
}

// Entry is one line of an incident's timeline.
type Entry struct {
	At      Time   `json:"at"`
	GivenAt Time   `json:"given_at"`
	What    string `json:"what"`
	By      string `json:"by"`
	Detail  string `json:"detail"`
	Screen  string `json:"screen"`
	Where   string `json:"where"`
}

// Area is where an incident lies in the grid; empty where nothing is known.
type Area struct {
	Cell     string `json:"cell"`
	Village  string `json:"village"`
	Township string `json:"township"`
	District string `json:"district"`
}

// Sent is a unit that was sent.
type Sent struct {
	Unit   string `json:"unit"`
	Device string `json:"device"`
	State  string `json:"state"`
	By     string `json:"by"`
	At     Time   `json:"at"`
}

// Progress is a step that a unit was the first to take.
type Progress struct {
	Unit       string `json:"unit"`
	By         string `json:"by"`
	At         Time   `json:"at"`
	ReceivedAt Time   `json:"received_at"`
}

// Request waits for a second person.
type Request struct {
	What   string `json:"what"`
	By     string `json:"by"`
	Reason string `json:"reason"`
	At     Time   `json:"at"`
}

// Help says that a unit needs help.
type Help struct {
	Unit string `json:"unit"`
	By   string `json:"by"`
	At   Time   `json:"at"`
}

func viewIncident(i *incident.Incident) *Incident {
	v := &Incident{
		ID: strconv.FormatInt(i.ID, 10), Rev: i.Rev, State: string(i.State), Kind: string(i.Kind),
		Silent: i.Silent, Drill: i.Drill, Priority: i.Priority,
		Device: i.Device, DeviceName: i.DeviceName, Alarm: i.Alarm.String(), Presses: i.Presses,
		PressedAt: viewMoment(i.Pressed), ReceivedAt: Time{i.Received}, Delay: delay(&i.Pressed, i.Received), Officer: i.Officer, Missing: append([]string{}, i.Missing...),
	}
	if !i.Kind.Pressed() { // no device has latched it
		v.Alarm = ""
		if i.Kind != incident.Tamper {
			v.Delay = nil
		}
	}
	if p := i.Position; p != nil {
		v.Position = &Place{Lat: p.Lat, Lon: p.Lon, Source: string(p.Source)}
		if p.Source == incident.GNSS || p.Source == incident.Held {
			age := p.Age.Seconds()
			v.Position.AgeS = &age
		}
		if p.Spread > 0 {
			v.Position.Spread = &p.Spread
		}
	}
	if s := i.SMS; s != nil {
		v.SMS = &SMS{Time{s.At}, s.Only}
	}
	if a := i.Acknowledged; a != nil {
		v.Acknowledged = &Step{a.By, Time{a.At}}
	}
	if d := i.Dispatched; d != nil {
		v.Dispatched = &Dispatch{d.Unit, d.By, Time{d.At}}
	}
	v.Area = Area(i.Place)
	v.Tier, v.Level, v.Owner, v.BeganAt, v.Since = string(i.Tier), i.Level(), i.Owner, Time{i.Began()}, Time{i.Since}
	v.Units = make([]Sent, 0, len(i.Units))
	for n := range i.Units {
		u := &i.Units[n]
		v.Units = append(v.Units, Sent{u.Name, u.Device, string(u.State()), u.By, Time{u.At}})
	}
	v.EnRoute, v.OnScene, v.Checked = viewProgress(i.EnRoute), viewProgress(i.OnScene), viewProgress(i.Checked)
	if r := i.Request; r != nil {
		v.Request = &Request{r.What, r.By, r.Reason, Time{r.At}}
	}
	if h := i.Help; h != nil {
		v.Help = &Help{h.Unit, h.By, Time{h.At}}
	}
	if c := i.Closed; c != nil {
		v.Closed = &Closing{string(c.Code), c.By, Time{c.At}, c.Note}
	}
	if c := i.Cleared; c != nil {
		v.Cleared = &Step{c.By, Time{c.At}}
	}
	if s := i.Shown; s != nil {
		v.Shown = &Receipt{s.Rev, string(s.State), Time{s.At}}
	}
	for _, e := range i.Timeline {
		v.Timeline = append(v.Timeline, Entry{Time{e.At}, Time{e.Given}, e.What, e.By, e.Detail, e.Screen, e.Where})
	}
	return v
}

func viewProgress(p *incident.Progress) *Progress {
	if p == nil {
		return nil
	}
	return &Progress{p.Unit, p.By, Time{p.At}, Time{p.Received}}
}
