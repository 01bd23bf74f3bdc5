package stats_test

import (
	"math"
	"sort"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/fengsui/fengsui/cloud-bridge/incident"
	"github.com/fengsui/fengsui/cloud-bridge/stats"
)

var at = time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)

// Each number again, counted another way: one incident after the other, and
// percentiles by asking how many are not above.
func TestSumAgainstACount(t *testing.T) {
	policy := incident.DefaultPolicy()
	rapid.Check(t, func(t *rapid.T) {
		var rows []stats.Row
		codes := append(incident.Codes(), "", incident.Cancelled)
		for range rapid.IntRange(0, 30).Draw(t, "rows") {
			r := stats.Row{
				Priority: rapid.IntRange(1, 4).Draw(t, "priority"), Drill: rapid.IntRange(0, 3).Draw(t, "drill") == 0,
				Code: rapid.SampledFrom(codes).Draw(t, "code"), Pressed: at,
			}
			for _, when := range []*time.Time{&r.Acknowledged, &r.Sent, &r.Arrived} {
				if rapid.Bool().Draw(t, "got there") {
					*when = at.Add(time.Duration(rapid.IntRange(-5, 100).Draw(t, "seconds")) * time.Second)
				}
			}
			rows = append(rows, r)
		}
		groups := stats.Sum(rows, policy)
		total := 0
		for _, g := range groups {
			total += g.Count
			var n, wrong, of, never, unsure, within int
			var took []float64
			for _, r := range rows {
				drill := r.Drill || r.Code == "drill"
				test := !drill && r.Code == "test"
				if map[stats.Class]bool{"drill": drill, "test": test, "real": !drill && !test}[g.Class] == false {
					continue
				}
				n++
				switch r.Code {
				case "real":
					of++
				case "false_alarm", "unfounded":
					of++
					wrong++
				case "duplicate":
					continue
				}
				if r.Acknowledged.IsZero() {
					if r.Code != "" {
						never++
					}
					continue
				}
				s := r.Acknowledged.Sub(r.Pressed).Seconds()
				if s < 0 { // two clocks contradict each other
					unsure++
					continue
				}
				took = append(took, s)
				if r.Priority <= 2 && s <= 15 {
					within++
				}
			}
			if g.Count != n || g.FalseOf != of || g.Acknowledge.Never != never || g.Acknowledge.Unsure != unsure || g.Acknowledge.Count != len(took) || g.Acknowledge.Within != within {
				t.Fatalf("%s: %+v; counted %d, %d, never %d, %d times, %d within", g.Class, g, n, of, never, len(took), within)
			}
			if of > 0 && math.Abs(g.FalseRate-float64(wrong)/float64(of)) > 1e-9 {
				t.Fatalf("%s: false-alarm rate %v, counted %d of %d", g.Class, g.FalseRate, wrong, of)
			}
			sort.Float64s(took)
			for p, got := range map[int]time.Duration{50: g.Acknowledge.P50, 90: g.Acknowledge.P90} {
				want := 0.0
				for _, s := range took { // the smallest that so many do not exceed
					notAbove := 0
					for _, o := range took {
						if o <= s {
							notAbove++
						}
					}
					if 100*notAbove >= p*len(took) {
						want = s
						break
					}
				}
				if got.Seconds() != want {
					t.Fatalf("%s: p%d %v, counted %v s of %v", g.Class, p, got, want, took)
				}
			}
		}
		if total != len(rows) {
			t.Fatalf("%d of %d are in a class", total, len(rows))
		}
	})
}

func TestHeard(t *testing.T) {
	h := func(n int) time.Time { return at.Add(time.Duration(n) * time.Hour) }
	long := h(-1000)
	for _, c := range []struct {
		name      string
		since     time.Time
		outages   []stats.Outage
		now       time.Time
		heard, of time.Duration // hours
	}{
		{"always", long, nil, h(10), 10, 10},
		{"an hour of ten", long, []stats.Outage{{h(2), h(3)}}, h(10), 9, 10},
		{"began before", long, []stats.Outage{{h(-5), h(1)}}, h(10), 9, 10},
		{"still away", long, []stats.Outage{{h(9), time.Time{}}}, h(20), 9, 10},
		{"half of it has passed", long, []stats.Outage{{h(0), h(1)}}, h(5), 4, 5},
		{"two that overlap", long, []stats.Outage{{h(1), h(3)}, {h(2), h(4)}}, h(10), 7, 10},
		{"one within another", long, []stats.Outage{{h(1), h(5)}, {h(2), h(3)}}, h(10), 6, 10},
		{"another day", long, []stats.Outage{{h(-9), h(-8)}, {h(11), h(12)}}, h(20), 10, 10},
		{"new", h(6), []stats.Outage{{h(8), h(9)}}, h(20), 3, 4},
		{"not there yet", h(11), nil, h(20), 0, 0},
		{"nothing of it has passed", long, nil, h(-1), 0, 0},
	} {
		w := stats.Watch{Since: c.since, Outages: c.outages}
		if heard, of := w.Heard(h(0), h(10), c.now); heard != c.heard*time.Hour || of != c.of*time.Hour {
			t.Errorf("%s: %v of %v: want %d h of %d h", c.name, heard, of, c.heard, c.of)
		}
	}
}
