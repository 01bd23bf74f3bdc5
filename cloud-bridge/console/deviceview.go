package console

import (
	"encoding/hex"
	"time"

	"github.com/fengsui/fengsui/cloud-bridge/store"
	"github.com/fengsui/fengsui/firmware/wire"
)

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
	Wireless     *Wireless     `json:"wireless"`
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

// Wireless is how it stands with a device's wireless network. DBm is null when it is
// not known, or in none.
type Wireless struct {
	State string `json:"state"`
	SSID  string `json:"ssid"`
	DBm   *int   `json:"dbm"`
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

// shownGaps is how many gaps a Device carries at most; its GapReport has all.
const shownGaps = 100

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
	if c := d.Wireless; c != nil {
		v.Wireless = &Wireless{State: c.State, SSID: c.SSID}
		if c.DBm != 0 {
			v.Wireless.DBm = &c.DBm
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
