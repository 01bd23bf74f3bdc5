package play

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"time"

	"github.com/fengsui/fengsui/sim/lampwatch"
	"github.com/fengsui/fengsui/sim/ledger"
)

// A Report is what came of a scenario. Times in milliseconds.
type Report struct {
	Scenario   string    `json:"scenario"`
	Seed       uint64    `json:"seed"`
	Passed     bool      `json:"passed"` // every step did, nothing was lost, nothing is there twice
	Started    time.Time `json:"started"`
	DurationMS float64   `json:"duration_ms"`
	ledger.Account
	Latency Latencies               `json:"latency"`
	Steps   []StepReport            `json:"steps"`
	Devices map[string]DeviceReport `json:"devices"`
}

// Latencies are measured outside of the agent.
type Latencies struct {
	// PressToDurable: from the first touch of a contact to the edge that lit the
	// red lamp, at the line; of presses of a box that was idle.
	PressToDurable Latency `json:"press_to_durable"`
	// PressToDesk: from the first touch to the desk's stream telling of it; of
	// presses with link and power throughout.
	PressToDesk Latency `json:"press_to_desk"`
	// PressToDeskAfterOutage: the same, of all other presses.
	PressToDeskAfterOutage Latency `json:"press_to_desk_after_outage"`
	// AcknowledgeToLamp: from the request at the desk to the edge with which the
	// lamps begin to show it.
	AcknowledgeToLamp Latency `json:"acknowledge_to_lamp"`
}

// A Latency sums up a sample; its percentiles are by nearest rank.
type Latency struct {
	N     int     `json:"n"`
	P50MS float64 `json:"p50_ms"`
	P99MS float64 `json:"p99_ms"`
	MaxMS float64 `json:"max_ms"`
}

// A StepReport is how one step ended.
type StepReport struct {
	Step   int     `json:"step"` // from 1
	At     string  `json:"at"`
	What   string  `json:"what"`
	OK     bool    `json:"ok"`
	TookMS float64 `json:"took_ms"` // until it was done, or until what was expected was known
	Detail string  `json:"detail,omitempty"`
}

// A DeviceReport is about one device.
type DeviceReport struct {
	Crashes int `json:"crashes"` // how often its process ended by itself
	Gaps    int `json:"gaps"`    // runs of sequence numbers that the desk misses
}

func ms(d time.Duration) float64 { return math.Round(float64(d)/float64(time.Microsecond)) / 1000 }

func latency(sample []time.Duration) Latency {
	if len(sample) == 0 {
		return Latency{}
	}
	slices.Sort(sample)
	rank := func(p float64) float64 {
		return ms(sample[max(int(math.Ceil(p*float64(len(sample))))-1, 0)])
	}
	return Latency{len(sample), rank(0.5), rank(0.99), ms(sample[len(sample)-1])}
}

// finish fills the report.
func (r *Report) finish(p *player, a ledger.Account, gaps map[string]int, end time.Duration) {
	r.Account = a
	r.DurationMS = ms(end - p.zero)
	r.Devices = make(map[string]DeviceReport)
	crashes := 0
	for _, id := range p.d.IDs() {
		if dev, err := p.d.Device(id); err == nil {
			r.Devices[id] = DeviceReport{dev.Crashes(), gaps[id]}
			crashes += dev.Crashes()
		}
	}
	r.Latency = p.latencies()
	r.Passed = p.failed == 0 && a.Holds() && crashes == 0
}

func (p *player) latencies() Latencies {
	e := p.d.Ledger.Entries()
	arrived := p.arrivals()
	var durable, desk, outage, lamp []time.Duration
	for _, press := range e.Presses {
		if t, ok := p.durable(press); ok {
			durable = append(durable, t-press.At)
		}
		b := p.s.Devices[press.Device].Buttons[press.Button]
		k := alarm{press.Device, b.Kind, b.Silent}
		for i, t := range arrived[k] {
			if t >= press.At {
				arrived[k] = arrived[k][i+1:]
				if e.Outage(press.Device, press.At, t) {
					outage = append(outage, t-press.At)
				} else {
					desk = append(desk, t-press.At)
				}
				break
			}
		}
	}
	for _, a := range p.acks {
		if t, ok := p.acknowledged(a); ok {
			lamp = append(lamp, t-a.at)
		}
	}
	return Latencies{latency(durable), latency(desk), latency(outage), latency(lamp)}
}

// An alarm is what presses and incidents have in common.
type alarm struct {
	device, kind string
	silent       bool
}

// arrivals returns when the desk told of each press, in order.
func (p *player) arrivals() map[alarm][]time.Duration {
	m := make(map[alarm][]time.Duration)
	for _, i := range p.desk.all() {
		k := alarm{i.Device, i.Kind, i.Silent}
		m[k] = append(m[k], i.presses...)
	}
	for _, times := range m {
		slices.Sort(times)
	}
	return m
}

// durable returns the edge with which an idle box says that a press is stored.
func (p *player) durable(press ledger.Press) (time.Duration, bool) {
	dev, err := p.d.Device(press.Device)
	if err != nil {
		return 0, false
	}
	spans, _ := dev.Lamps(press.At)
	if first := spans[0]; first.Since > press.At || first.Certain() != lampwatch.Idle && first.Certain() != lampwatch.Fault {
		return 0, false // an alarm stood already
	}
	t, ok := dev.Red(press.At)
	return t, ok && t < press.At+5*time.Second
}

// acknowledged returns the edge with which the lamps say so.
func (p *player) acknowledged(a ack) (time.Duration, bool) {
	dev, err := p.d.Device(a.device)
	if err != nil {
		return 0, false
	}
	spans, _ := dev.Lamps(a.at)
	for _, s := range spans {
		if s.Since >= a.at && s.Since < a.at+10*time.Second && slices.Contains(s.Shows, lampwatch.Acknowledged) {
			return s.Since, true
		}
	}
	return 0, false
}

// WriteJSON writes the report, indented.
func (r *Report) WriteJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(r)
}

// WriteText writes a summary for people.
func (r *Report) WriteText(w io.Writer) error {
	word := "passed"
	if !r.Passed {
		word = "FAILED"
	}
	_, err := fmt.Fprintf(w, "%s: %s (seed %d)\n  captured %d  stored %d  lost %d  duplicated %d  waiting %d  uncertain %d\n",
		r.Scenario, word, r.Seed, r.Captured, r.Stored, r.Lost, r.Duplicated, r.Waiting, r.Uncertain)
	for _, f := range r.Findings {
		if err == nil {
			_, err = fmt.Fprintf(w, "  %s\n", f)
		}
	}
	for _, l := range []struct {
		name string
		l    Latency
	}{{"press to durable", r.Latency.PressToDurable}, {"press to desk", r.Latency.PressToDesk}, {"press to desk after an outage", r.Latency.PressToDeskAfterOutage}, {"acknowledge to lamp", r.Latency.AcknowledgeToLamp}} {
		if err == nil && l.l.N > 0 {
			_, err = fmt.Fprintf(w, "  %-30s n %-4d p50 %8.1f ms  p99 %8.1f ms  max %8.1f ms\n", l.name, l.l.N, l.l.P50MS, l.l.P99MS, l.l.MaxMS)
		}
	}
	return err
}
