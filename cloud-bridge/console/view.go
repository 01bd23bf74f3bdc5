package console

import (
	"encoding/hex"
	"encoding/json"
	"math"
	"strconv"
	"time"

	"github.com/fengsui/fengsui/cloud-bridge/incident"
	"github.com/fengsui/fengsui/cloud-bridge/store"
	"github.com/fengsui/fengsui/firmware/wire"
)

// The types below are the API's JSON, as openapi.yaml describes it.

// Time is a moment, written as RFC 3339 in UTC with milliseconds; the zero time is null.
type Time struct{ time.Time }

// timeLayout always has three decimals.
const timeLayout = "2006-01-02T15:04:05.000Z"

// MarshalJSON implements json.Marshaler.
func (t Time) MarshalJSON() ([]byte, error) {
	if t.IsZero() {
		return []byte("null"), nil
	}
	return json.Marshal(t.UTC().Format(timeLayout))
}

// Stamp is a time as a device knew it. Time is null when the device had no clock to trust.
type Stamp struct {
	Time          Time   `json:"time"`
	Source        string `json:"source"`
	UncertaintyMS int64  `json:"uncertainty_ms"`
}

// Moment is when something happened at a device, as well as the centre knows it now.
// Original is what the device said, where the centre has put that right.
type Moment struct {
	Stamp
	Corrected bool   `json:"corrected"`
	Original  *Stamp `json:"original"`
}

// Delay is from a press to its arrival; it is never negative, whatever the clocks say.
type Delay struct {
	MS            int64 `json:"ms"`
	UncertaintyMS int64 `json:"uncertainty_ms"`
}

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

// Device is a registered device and what is known of it.
type Device struct {
	ID           string        `json:"id"`
	Kind         string        `json:"kind"`
	Name         string        `json:"name"`
	Position     *Point        `json:"position"`
	LastFix      *Fix          `json:"last_fix"`
	LastHeard    Time          `json:"last_heard"`
	HeardAgeS    *float64      `json:"heard_age_s"`
	Link         Link          `json:"link"`
	Queue        *Queue        `json:"queue"`
	Gaps         []Gap         `json:"gaps"`
	GapCount     GapCount      `json:"gap_count"`
	Cellular     *Network      `json:"cellular"`
	Officer      string        `json:"officer"`
	Faults       []Fault       `json:"faults"`
	Firmware     string        `json:"firmware"`
	Board        Board         `json:"board"`
	Commissioned *Commissioned `json:"commissioned"`
	Streams      []Stream      `json:"streams"`
}

// Commissioned is the summary of a device's newest commissioning report, a page
// that is signed by the device and that the technician has.
type Commissioned struct {
	At       Time     `json:"at"`
	Verdict  string   `json:"verdict"`
	Passed   uint64   `json:"passed"`
	Failed   uint64   `json:"failed"`
	Skipped  uint64   `json:"skipped"`
	Absent   uint64   `json:"absent"`
	Problems []string `json:"problems"`
	Report   string   `json:"report"`
	By       string   `json:"by"`
	SelfTest bool     `json:"self_test"`
	Firmware string   `json:"firmware"`
}

// Board is what a device says of its board, and of its last start.
type Board struct {
	Started     string   `json:"started"` // why; "" when it has not said
	StartedAt   Time     `json:"started_at"`
	Temperature *float64 `json:"temperature_c"`
	Supply      *Supply  `json:"supply"` // null when the board does not watch it
}

// Supply is what a board's supply did to it, now and since the power came.
type Supply struct {
	UnderVoltage    bool `json:"under_voltage"`
	UnderVoltageWas bool `json:"under_voltage_was"`
	Throttled       bool `json:"throttled"`
	ThrottledWas    bool `json:"throttled_was"`
}

// Link says whether a device can be heard, and since when that is so: its last sign of
// life, or for a live one when it was heard again.
type Link struct {
	State string `json:"state"`
	Since Time   `json:"since"`
}

// Network is how a device's cellular modem is received. DBm is null when it is not known.
type Network struct {
	Operator string `json:"operator"`
	RAT      string `json:"rat"`
	DBm      *int   `json:"dbm"`
}

// Point is a place in degrees, WGS 84.
type Point struct {
	Lat float64 `json:"lat"`
	Lon float64 `json:"lon"`
}

// Fix is a satellite fix, in gpsd's names and units (metres, metres a second, degrees).
type Fix struct {
	Lat   float64  `json:"lat"`
	Lon   float64  `json:"lon"`
	Alt   *float64 `json:"alt"`
	Time  Time     `json:"time"`
	AgeS  float64  `json:"age_s"`
	Speed *float64 `json:"speed"`
	Track *float64 `json:"track"`
	Mode  int      `json:"mode"`
	HDOP  *float64 `json:"hdop"`
}

// Queue is how many events wait on a device, as it last said.
type Queue struct {
	Alarm uint64 `json:"alarm"`
	Duty  uint64 `json:"duty"`
	Track uint64 `json:"track"`
}

// Gap is a run of sequence numbers that are missing, or something wrong with them. Only
// one that is not final may close.
type Gap struct {
	Stream string `json:"stream"`
	Lane   string `json:"lane"`
	From   uint64 `json:"from"`
	To     uint64 `json:"to"`
	Why    string `json:"why"`
	Final  bool   `json:"final"`
	Since  Time   `json:"since"`
}

// GapCount sums up a device's gaps, in numbers: NotYet may still come, Lost is gone without
// the device's will, Dropped was given up for want of room, Wrong is stored but not sound.
type GapCount struct {
	NotYet  uint64 `json:"not_yet"`
	Lost    uint64 `json:"lost"`
	Dropped uint64 `json:"dropped"`
	Wrong   uint64 `json:"wrong"`
}

// Fault is a fault that stands.
type Fault struct {
	Code   string `json:"code"`
	Since  Time   `json:"since"`
	Detail string `json:"detail"`
}

// Stream is one life of a device's spool.
type Stream struct {
	Stream string          `json:"stream"`
	Lanes  map[string]Lane `json:"lanes"`
}

// Lane is how far a lane of a stream has come.
type Lane struct {
	UpTo    uint64 `json:"up_to"`
	Highest uint64 `json:"highest"`
}

// Event is one event as it was stored.
type Event struct {
	ID         string          `json:"id"`
	Stream     string          `json:"stream"`
	Lane       string          `json:"lane"`
	Seq        uint64          `json:"seq"`
	Boot       uint64          `json:"boot"`
	MonoMS     int64           `json:"mono_ms"`
	Wall       Stamp           `json:"wall"`
	OccurredAt Moment          `json:"occurred_at"`
	Officer    string          `json:"officer"`
	Drill      bool            `json:"drill"`
	Type       string          `json:"type"`
	Body       json.RawMessage `json:"body"`
	ReceivedAt Time            `json:"received_at"`
}

// Refused counts what ingest did not accept.
type Refused struct {
	Total    uint64            `json:"total"`
	ByReason map[string]uint64 `json:"by_reason"`
	Recent   []Refusal         `json:"recent"`
}

// Refusal is one message that was not accepted. Size is in
// bytes; Reason is short and stable, Detail is for people.
type Refusal struct {
	At     Time   `json:"at"`
	Topic  string `json:"topic"`
	Reason string `json:"reason"`
	Detail string `json:"detail"`
	Size   int    `json:"size"`
}

// Storage says whether the centre can store events. Cause, Since and Detail are of the
// trouble that keeps it from it.
type Storage struct {
	OK     bool   `json:"ok"`
	Cause  string `json:"cause"`
	Since  Time   `json:"since"`
	Detail string `json:"detail"`
}

func viewStorage(t *store.Trouble) Storage {
	if t == nil {
		return Storage{OK: true}
	}
	return Storage{Cause: string(t.Cause), Since: Time{t.Since}, Detail: t.Error()}
}

// Hello is the data of the stream's hello and beat.
type Hello struct {
	Time    Time   `json:"time"`
	Version string `json:"version"`
}

// shownGaps is how many gaps a Device carries at most; its GapReport has all.
const shownGaps = 100

// ageS is the seconds since t, or nil for the zero time; a clock that runs ahead is no age.
func ageS(t, now time.Time) *float64 {
	if t.IsZero() {
		return nil
	}
	age := max(0, now.Sub(t).Seconds())
	age = math.Round(age*1000) / 1000
	return &age
}

func viewMoment(m incident.Moment) Moment {
	v := Moment{Stamp: Stamp{Time{m.Time}, m.Source.String(), m.Uncertainty.Milliseconds()}}
	if o := m.Original; o != nil {
		v.Corrected = true
		v.Original = &Stamp{Time{o.Time()}, o.Source.String(), o.Uncertainty.Milliseconds()}
	}
	return v
}

func delay(pressed *incident.Moment, received time.Time) *Delay {
	if pressed.Time.IsZero() {
		return nil
	}
	return &Delay{max(received.Sub(pressed.Time).Milliseconds(), 0), pressed.Uncertainty.Milliseconds()}
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

func viewDevice(d *store.Device, now time.Time) *Device {
	v := &Device{
		ID: d.ID, Kind: string(d.Kind), Name: d.Name, LastHeard: Time{d.LastHeard}, HeardAgeS: ageS(d.LastHeard, now),
		Link: Link{string(d.Link), Time{d.LinkSince}},
		Gaps: []Gap{}, Officer: d.Officer, Faults: []Fault{}, Firmware: d.Firmware, Streams: []Stream{},
		Board: Board{string(d.Started), Time{d.StartedAt}, d.Temperature, viewSupply(d.Supply)},
	}
	if c := d.Cellular; c != nil {
		v.Cellular = &Network{Operator: c.Operator, RAT: c.RAT}
		if c.DBm != 0 {
			v.Cellular.DBm = &c.DBm
		}
	}
	if c := d.Commissioned; c != nil {
		v.Commissioned = &Commissioned{
			Time{c.At},
			c.Verdict, c.Passed, c.Failed, c.Skipped, c.Absent, append([]string{}, c.Problems...),
			hex.EncodeToString(c.Report), c.By, c.SelfTest, c.Firmware,
		}
	}
	if d.At != nil {
		v.Position = &Point{d.At.Lat, d.At.Lon}
	}
	if f := d.LastFix; f != nil {
		v.LastFix = &Fix{f.Lat, f.Lon, f.Alt, Time{f.Time}, *ageS(f.Time, now), f.Speed, f.Course, f.Mode, f.HDOP}
	}
	if d.Queue != nil {
		v.Queue = &Queue{d.Queue[wire.Alarm], d.Queue[wire.Duty], d.Queue[wire.Track]}
	}
	for i := range d.Gaps[:min(len(d.Gaps), shownGaps)] {
		v.Gaps = append(v.Gaps, viewGap(&d.Gaps[i]))
	}
	for _, f := range d.Faults {
		v.Faults = append(v.Faults, Fault{f.Code, Time{f.Since}, f.Detail})
	}
	for _, s := range d.Streams {
		lanes := make(map[string]Lane, len(s.Lanes))
		for lane, l := range s.Lanes {
			lanes[lane.String()] = Lane{l.UpTo, l.Highest}
			v.GapCount.NotYet += l.Open
			v.GapCount.Lost += l.Never + l.Damaged + l.Other
			v.GapCount.Dropped += l.Thinned + l.Full
			v.GapCount.Wrong += l.Twice + l.Breaks
		}
		v.Streams = append(v.Streams, Stream{s.ID.String(), lanes})
	}
	return v
}

func viewSupply(s *wire.Supply) *Supply {
	if s == nil {
		return nil
	}
	has := func(bit wire.Supply) bool { return *s&bit != 0 }
	return &Supply{has(wire.UnderVoltage), has(wire.UnderVoltageWas), has(wire.Throttled), has(wire.ThrottledWas)}
}

func viewRefused(r store.Refusals) *Refused {
	v := &Refused{Total: r.Total, ByReason: map[string]uint64{}, Recent: []Refusal{}}
	for reason, n := range r.ByReason {
		v.ByReason[reason] = n
	}
	for _, x := range r.Recent {
		v.Recent = append(v.Recent, Refusal{Time{x.At}, x.Topic, x.Reason, x.Detail, x.Size})
	}
	return v
}
