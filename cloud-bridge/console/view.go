package console

import (
	"encoding/json"
	"math"
	"time"

	"github.com/fengsui/fengsui/cloud-bridge/incident"
	"github.com/fengsui/fengsui/cloud-bridge/store"
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
