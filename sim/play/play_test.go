package play

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/fengsui/fengsui/sim/desk"
	"github.com/fengsui/fengsui/sim/lampwatch"
	"github.com/fengsui/fengsui/sim/ledger"
)

const ms1 = time.Millisecond

func TestLatencyByNearestRank(t *testing.T) {
	var sample []time.Duration
	for i := range 200 {
		sample = append(sample, time.Duration(200-i)*ms1)
	}
	if got, want := latency(sample), (Latency{N: 200, P50MS: 100, P99MS: 198, MaxMS: 200}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got, want := latency([]time.Duration{1500 * time.Microsecond}), (Latency{1, 1.5, 1.5, 1.5}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := latency(nil); got != (Latency{}) {
		t.Errorf("of nothing: %+v", got)
	}
}

// Whether a span shows what is wanted between 1 s and 2 s.
func TestShown(t *testing.T) {
	span := func(since, until time.Duration, shows ...lampwatch.Shows) lampwatch.Span {
		return lampwatch.Span{View: lampwatch.View{Shows: shows, Styles: []lampwatch.Style{lampwatch.Plain, lampwatch.Drill}, Since: since * ms1}, Until: until * ms1}
	}
	drill := string(lampwatch.Drill)
	silent := string(lampwatch.Silent)
	for name, c := range map[string]struct {
		s           lampwatch.Span
		want        lampwatch.Shows
		style       *string
		now         time.Duration
		yes, unsure bool
	}{
		"began in time":              {span(1500, 0, lampwatch.Stored), lampwatch.Stored, nil, 1600, true, false},
		"for a moment":               {span(1500, 1501, lampwatch.Stored), lampwatch.Stored, nil, 1600, true, false},
		"since before":               {span(500, 0, lampwatch.Stored), lampwatch.Stored, nil, 1600, true, false},
		"over before":                {span(500, 900, lampwatch.Stored), lampwatch.Stored, nil, 1600, false, false},
		"too late":                   {span(2001, 0, lampwatch.Stored), lampwatch.Stored, nil, 2600, false, false},
		"something else":             {span(1500, 0, lampwatch.Stored), lampwatch.Acknowledged, nil, 1600, false, false},
		"not certain yet":            {span(1500, 0, lampwatch.CentreHas, lampwatch.Acknowledged), lampwatch.Acknowledged, nil, 1600, false, true},
		"never certain, but it was":  {span(1500, 1700, lampwatch.CentreHas, lampwatch.Acknowledged), lampwatch.Acknowledged, nil, 1800, true, true},
		"style not certain yet":      {span(1500, 0, lampwatch.Stored), lampwatch.Stored, &drill, 1600, false, true},
		"another style":              {span(1500, 0, lampwatch.Stored), lampwatch.Stored, &silent, 1600, false, false},
		"idle":                       {span(1500, 0, lampwatch.Idle), lampwatch.Idle, nil, 1800, true, false},
		"dark, perhaps for a moment": {span(1500, 0, lampwatch.Idle), lampwatch.Idle, nil, 1600, false, true},
		"the gap of a change":        {span(1500, 1580, lampwatch.Idle), lampwatch.Idle, nil, 1800, false, false},
	} {
		if yes, unsure := shown(c.s, c.want, c.style, 1000*ms1, 2000*ms1, c.now*ms1); yes != c.yes || unsure != c.unsure {
			t.Errorf("%s: %v, %v, want %v, %v", name, yes, unsure, c.yes, c.unsure)
		}
	}
}

func TestEntry(t *testing.T) {
	e, err := entry("car", desk.Event{
		Stream: "s", Lane: "track", Seq: 3, Boot: 2, MonoMS: 1500, Type: "track_batch",
		Body: json.RawMessage(`{"fixes":[{"time":"2026-11-20T06:00:00.250Z","lat":30.5,"lon":103,"mode":3}]}`),
	})
	want := time.Date(2026, 11, 20, 6, 0, 0, 250e6, time.UTC)
	if err != nil || len(e.Fixes) != 1 || !e.Fixes[0].Time.Equal(want) || e.Fixes[0].Lat != 30.5 || e.Mono != 1500*ms1 {
		t.Errorf("got %+v, %v", e, err)
	}
	if _, err := entry("car", desk.Event{ID: "7", Body: json.RawMessage(`{"fixes":"many"}`)}); err == nil || !strings.Contains(err.Error(), "event 7 of car") {
		t.Errorf("got %v", err)
	}
}

func TestReportText(t *testing.T) {
	r := Report{Scenario: "x", Seed: 4}
	r.Account = ledger.Account{Counts: ledger.Counts{Captured: 3, Stored: 2, Lost: 1}, Findings: []string{"lost: box: press"}}
	r.Latency.PressToDesk = Latency{3, 10, 20, 20}
	var b strings.Builder
	if err := r.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"x: FAILED (seed 4)", "captured 3  stored 2  lost 1", "lost: box: press", "press to desk                  n 3    p50     10.0 ms"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("lacks %q:\n%s", want, b.String())
		}
	}
	b.Reset()
	if err := r.WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	var back map[string]any
	if err := json.Unmarshal([]byte(b.String()), &back); err != nil || back["captured"] != 3.0 || back["lost"] != 1.0 || back["presses"] == nil {
		t.Errorf("%v: %s", err, b.String())
	}
}
