package console

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/fengsui/fengsui/cloud-bridge/store"
	"github.com/fengsui/fengsui/firmware/wire"
)

// maxGaps is the most gaps in one answer.
const maxGaps = 10000

// Account accounts for the numbers that a device has given to events: Expected is Stored,
// Waiting, Missing and Dropped together, and ByWhy shares Missing and Dropped out.
type Account struct {
	Expected    uint64  `json:"expected"`
	Stored      uint64  `json:"stored"`
	Waiting     uint64  `json:"waiting"`
	Missing     uint64  `json:"missing"`
	Dropped     uint64  `json:"dropped"`
	ByWhy       Reasons `json:"by_why"`
	Fixes       uint64  `json:"fixes_given_up"`
	Duplicates  uint64  `json:"duplicates"`
	Twice       uint64  `json:"twice"`
	ChainBreaks uint64  `json:"chain_breaks"`
}

// Reasons counts numbers that are not stored by why they are not.
type Reasons struct {
	NotYet  uint64 `json:"not_yet"`
	Never   uint64 `json:"never"`
	Damaged uint64 `json:"damaged"`
	Other   uint64 `json:"other"`
	Thinned uint64 `json:"thinned"`
	Full    uint64 `json:"full"`
}

// add takes a lane of a stream into the account.
func (a *Account) add(l store.LaneState) {
	a.Expected += l.Expected
	a.Stored += l.Stored
	a.Waiting += l.Waiting
	a.Missing += l.Open + l.Never + l.Damaged + l.Other
	a.Dropped += l.Thinned + l.Full
	a.ByWhy.NotYet += l.Open
	a.ByWhy.Never += l.Never
	a.ByWhy.Damaged += l.Damaged
	a.ByWhy.Other += l.Other
	a.ByWhy.Thinned += l.Thinned
	a.ByWhy.Full += l.Full
	a.Fixes += l.Fixes
	a.Duplicates += l.Duplicates
	a.Twice += l.Twice
	a.ChainBreaks += l.Breaks
}

// Totals is an account of each lane.
type Totals struct {
	Alarm Account `json:"alarm"`
	Duty  Account `json:"duty"`
	Track Account `json:"track"`
}

func (t *Totals) add(d *store.Device, only wire.Lane) {
	for _, s := range d.Streams {
		for lane, l := range s.Lanes {
			if only != 0 && lane != only {
				continue
			}
			switch lane {
			case wire.Alarm:
				t.Alarm.add(l)
			case wire.Duty:
				t.Duty.add(l)
			case wire.Track:
				t.Track.add(l)
			}
		}
	}
}

// GapReport is what is missing of a device's events, why, and what it said of that.
type GapReport struct {
	Device  string         `json:"device"`
	Name    string         `json:"name"`
	Totals  Totals         `json:"totals"`
	Streams []StreamReport `json:"streams"`
	Gaps    []Gap          `json:"gaps"`
	Dropped []Dropped      `json:"dropped"`
}

// StreamReport is the account of one stream.
type StreamReport struct {
	Stream     string                `json:"stream"`
	HeardAt    Time                  `json:"heard_at"`
	Start      *Start                `json:"start"`
	ReplacedBy []string              `json:"replaced_by"`
	Lanes      map[string]LaneReport `json:"lanes"`
}

// Start is what a device said of the beginning of a stream. Previous is empty when the
// device could not tell.
type Start struct {
	Previous   string `json:"previous"`
	Why        string `json:"why"`
	Detail     string `json:"detail"`
	Salvaged   Queue  `json:"salvaged"`
	At         Stamp  `json:"at"`
	ReceivedAt Time   `json:"received_at"`
}

// LaneReport is the account of one lane of one stream.
type LaneReport struct {
	Lane
	Account Account `json:"account"`
}

// Dropped is what a device said that it gave up, in its own words.
type Dropped struct {
	Stream     string `json:"stream"`
	Lane       string `json:"lane"`
	From       uint64 `json:"from"`
	To         uint64 `json:"to"`
	Why        string `json:"why"`
	Events     uint64 `json:"events"`
	Fixes      uint64 `json:"fixes"`
	First      Time   `json:"first"`
	Last       Time   `json:"last"`
	ReceivedAt Time   `json:"received_at"`
}

func viewGap(g *store.Gap) Gap {
	return Gap{Stream: g.Stream.String(), Lane: g.Lane.String(), From: g.From, To: g.To, Why: g.Why, Final: g.Why != store.WhyNotYet, Since: Time{g.Since}}
}

func viewGapReport(d *store.Device) *GapReport {
	v := &GapReport{Device: d.ID, Name: d.Name, Streams: []StreamReport{}, Gaps: []Gap{}, Dropped: []Dropped{}}
	v.Totals.add(d, 0)
	for _, s := range d.Streams {
		r := StreamReport{Stream: s.ID.String(), HeardAt: Time{s.Heard}, ReplacedBy: []string{}, Lanes: make(map[string]LaneReport, len(s.Lanes))}
		for lane, l := range s.Lanes {
			report := LaneReport{Lane: Lane{l.UpTo, l.Highest}}
			report.Account.add(l)
			r.Lanes[lane.String()] = report
		}
		if b := s.Start; b != nil {
			r.Start = &Start{
				Why: b.Why.String(), Detail: b.Detail, At: viewWall(b.Wall), ReceivedAt: Time{b.Received},
				Salvaged: Queue{b.Salvaged[wire.Alarm], b.Salvaged[wire.Duty], b.Salvaged[wire.Track]},
			}
			if b.Previous != (wire.StreamID{}) {
				r.Start.Previous = b.Previous.String()
			}
		}
		for _, other := range d.Streams {
			if other.Start != nil && other.Start.Previous == s.ID && other.ID != s.ID {
				r.ReplacedBy = append(r.ReplacedBy, other.ID.String())
			}
		}
		v.Streams = append(v.Streams, r)
	}
	for i := range d.Gaps {
		v.Gaps = append(v.Gaps, viewGap(&d.Gaps[i]))
	}
	for _, o := range d.Dropped {
		v.Dropped = append(v.Dropped, Dropped{
			Stream: o.Stream.String(), Lane: o.Lane.String(), From: o.From, To: o.To, Why: o.Why.String(),
			Events: o.Events, Fixes: o.Fixes, First: orNull(o.First), Last: orNull(o.Last), ReceivedAt: Time{o.Received},
		})
	}
	return v
}

// orNull is a time of the wire's records, in which 0 is none.
func orNull(ms int64) Time {
	if ms == 0 {
		return Time{}
	}
	return Time{time.UnixMilli(ms)}
}

func (c *Console) getDeviceGaps(r *http.Request, _ http.ResponseWriter) (any, error) {
	if _, err := query(r); err != nil {
		return nil, err
	}
	if err := c.seesDevice(r.Context(), r.PathValue("id")); err != nil {
		return nil, err
	}
	d, err := c.options.Store.Device(r.Context(), r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	return viewGapReport(d), nil
}

// DeviceGap is a gap and whose it is.
type DeviceGap struct {
	Device string `json:"device"`
	Gap
}

// gapFilter chooses gaps; its zero value chooses all.
type gapFilter struct {
	lane  wire.Lane
	why   []string
	final string // "true", "false" or ""
}

func (f *gapFilter) takes(g *store.Gap) bool {
	return (f.lane == 0 || g.Lane == f.lane) && (len(f.why) == 0 || slices.Contains(f.why, g.Why)) &&
		(f.final == "" || (g.Why != store.WhyNotYet) == (f.final == "true"))
}

func (c *Console) listGaps(r *http.Request, _ http.ResponseWriter) (any, error) {
	values, err := query(r, "device", "lane", "why", "final", "limit")
	if err != nil {
		return nil, err
	}
	var f gapFilter
	if values.Has("lane") {
		if f.lane, err = wire.ParseLane(values.Get("lane")); err != nil {
			return nil, badField("lane", values.Get("lane"), "alarm, duty or track")
		}
	}
	if values.Has("why") {
		known := store.Whys()
		for why := range strings.SplitSeq(values.Get("why"), ",") {
			if !slices.Contains(known, why) {
				return nil, badField("why", why, "some of "+strings.Join(known, ", "))
			}
			f.why = append(f.why, why)
		}
	}
	if f.final = values.Get("final"); values.Has("final") && f.final != "true" && f.final != "false" {
		return nil, badField("final", f.final, "true or false")
	}
	limit, err := number(values, "limit", 1, maxGaps, maxGaps)
	if err != nil {
		return nil, err
	}
	var list []store.Device
	if values.Has("device") {
		if err := c.seesDevice(r.Context(), values.Get("device")); err != nil {
			return nil, err
		}
		d, err := c.options.Store.Device(r.Context(), values.Get("device"))
		if err != nil {
			return nil, err
		}
		list = append(list, *d)
	} else if list, err = c.options.Store.Devices(r.Context()); err != nil {
		return nil, err
	}
	if list, err = only(r.Context(), c, list, whereDevice); err != nil {
		return nil, err
	}
	answer := struct {
		Totals  Totals      `json:"totals"`
		Count   uint64      `json:"count"`
		Numbers uint64      `json:"numbers"`
		Gaps    []DeviceGap `json:"gaps"`
	}{Gaps: []DeviceGap{}}
	for i := range list {
		d := &list[i]
		answer.Totals.add(d, f.lane)
		for n := range d.Gaps {
			g := &d.Gaps[n]
			if !f.takes(g) {
				continue
			}
			answer.Count++
			answer.Numbers += g.To - g.From + 1
			if len(answer.Gaps) < int(limit) {
				answer.Gaps = append(answer.Gaps, DeviceGap{d.ID, viewGap(g)})
			}
		}
	}
	return answer, nil
}
