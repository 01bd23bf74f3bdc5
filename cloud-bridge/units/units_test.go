package units_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/fengsui/fengsui/cloud-bridge/units"
)

var now = time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)

func TestState(t *testing.T) {
	for _, c := range []struct {
		unit units.Unit
		want units.State
	}{
		{units.Unit{}, units.Silent},
		{units.Unit{Heard: true}, units.OffDuty},
		{units.Unit{Heard: true, Officer: "P-1"}, units.Available},
		{units.Unit{Heard: true, Officer: "P-1", Set: units.Busy}, units.Busy},
		{units.Unit{Heard: true, Officer: "P-1", Set: units.OutOfService, Incident: 7}, units.OutOfService},
		{units.Unit{Heard: true, Officer: "P-1", Incident: 7}, units.EnRoute},
		{units.Unit{Heard: true, Set: units.Busy, Incident: 7, There: true}, units.OnScene},
		{units.Unit{Set: units.Available}, units.Silent},
		{units.Unit{Heard: true, Set: units.Available}, units.Available},
	} {
		if got := c.unit.State(); got != c.want {
			t.Errorf("%+v is %s, want %s", c.unit, got, c.want)
		}
	}
}

func TestDistance(t *testing.T) {
	c := units.Rank([]units.Unit{{Device: "car-01", Heard: true, Officer: "P-1", At: &units.Fix{Lat: 31, Lon: 103, Time: now}}},
		&units.Fix{Lat: 30, Lon: 103}, now, time.Minute)
	// One degree of latitude, 2πR/360 with the mean radius 6,371.0 km: 111.2 km.
	if len(c.Near) != 1 || c.Near[0].Distance < 111_000 || c.Near[0].Distance > 111_400 {
		t.Errorf("%+v: want 111 km", c.Near)
	}
}

// Whatever the units: each is in one list, none near has an old fix or cannot
// be sent, and the near ones are in order.
func TestRank(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var all []units.Unit
		for n := range rapid.IntRange(0, 12).Draw(t, "units") {
			u := units.Unit{
				Device: string(rune('a' + n)), Heard: rapid.Bool().Draw(t, "heard"), Officer: rapid.SampledFrom([]string{"", "P-1"}).Draw(t, "officer"),
				Set: rapid.SampledFrom(units.Settable()).Draw(t, "set"), Incident: int64(rapid.IntRange(0, 1).Draw(t, "incident")), There: rapid.Bool().Draw(t, "there"),
			}
			if rapid.Bool().Draw(t, "fix") {
				age := time.Duration(rapid.IntRange(-300, 300).Draw(t, "age")) * time.Second
				u.At = &units.Fix{Lat: rapid.Float64Range(29, 31).Draw(t, "lat"), Lon: 103, Time: now.Add(-age)}
			}
			all = append(all, u)
		}
		var place *units.Fix
		if rapid.Bool().Draw(t, "place") {
			place = &units.Fix{Lat: 30, Lon: 103}
		}
		c := units.Rank(all, place, now, 2*time.Minute)
		if len(c.Near)+len(c.Stale)+len(c.Not) != len(all) {
			t.Fatalf("%d, %d and %d of %d", len(c.Near), len(c.Stale), len(c.Not), len(all))
		}
		order := map[units.State]int{units.Available: 0, units.EnRoute: 1, units.OnScene: 2, units.Busy: 3}
		for i, n := range c.Near {
			if n.At == nil || n.Age > 2*time.Minute || now.Sub(n.At.Time) < -2*time.Minute || place == nil {
				t.Fatalf("near with %+v, age %v", n.At, n.Age)
			}
			if _, ok := order[n.State]; !ok {
				t.Fatalf("near and %s", n.State)
			}
			if i > 0 {
				b := c.Near[i-1]
				if order[b.State] > order[n.State] || b.State == n.State && b.Distance > n.Distance {
					t.Fatalf("%s %.0f before %s %.0f", b.State, b.Distance, n.State, n.Distance)
				}
			}
		}
		for _, n := range c.Not {
			if _, ok := order[n.State]; ok {
				t.Fatalf("%s cannot be sent", n.State)
			}
		}
	})
}
