// Package units says what state each unit is in, and which of them is nearest
// to an incident.
//
// Distances are great circles: there is no map of roads here, and the desk says
// so. A position is as good as its age: a unit whose fix is older than the
// limit is never among the near ones, however near it was.
//
// It is pure.
package units

import (
	"cmp"
	"slices"
	"time"

	"github.com/paulmach/orb"
	"github.com/paulmach/orb/geo"
)

// A State is what a unit is doing.
type State string

// The states. Whoever cannot be heard is silent, whatever else is known; what
// the desk has set or the unit said of itself, the newest of the two, comes next, then what the unit is sent to, then whether
// somebody is signed on.
const (
	Available    State = "available"      // signed on, and sent nowhere
	EnRoute      State = "en_route"       // sent to an incident
	OnScene      State = "on_scene"       // at one
	Busy         State = "busy"           // with something else, as its people or the desk said
	OffDuty      State = "off_duty"       // nobody is signed on, or so the desk said
	OutOfService State = "out_of_service" // as its people or the desk said
	Silent       State = "silent"         // the centre cannot hear it
)

// States lists all.
func States() []State {
	return []State{Available, EnRoute, OnScene, Busy, OffDuty, OutOfService, Silent}
}

// Settable lists the states that the desk may set; "" leaves it to what is
// known of the unit.
func Settable() []State { return []State{"", Available, Busy, OffDuty, OutOfService} }

// A Unit is what is known of one.
type Unit struct {
	Device   string
	Name     string
	Officer  string // who is signed on, or ""
	Heard    bool   // the centre can hear it
	Set      State  // one of Settable: by the desk, or the unit's own word
	Incident int64  // that it is sent to; 0: none
	There    bool   // and it is there
	At       *Fix   // nil: never known
}

// A Fix is where a unit was.
type Fix struct {
	Lat, Lon float64
	Time     time.Time
}

// State returns what the unit is doing.
func (u *Unit) State() State {
	switch {
	case !u.Heard:
		return Silent
	case u.Set == OutOfService || u.Set == OffDuty:
		return u.Set
	case u.Incident != 0 && u.There:
		return OnScene
	case u.Incident != 0:
		return EnRoute
	case u.Set != "":
		return u.Set
	case u.Officer == "":
		return OffDuty
	}
	return Available
}

// offered are the states in which a unit may be sent, the best first.
var offered = []State{Available, EnRoute, OnScene, Busy}

// A Choice is a unit as seen from a place.
type Choice struct {
	Unit
	State    State
	Distance float64       // metres, a great circle; 0 when there is no fix
	Age      time.Duration // of the fix
}

// Choices are the units as seen from a place.
type Choices struct {
	Near  []Choice // may be sent: by state, then by distance
	Stale []Choice // may be sent, but their fix is too old, or there is none: the youngest first
	Not   []Choice // cannot be sent: by name
}

// Rank sorts units as seen from a place, which may be nil: then nobody is near.
// A fix from the future is as old as one that is just too old: the time of one
// of the two clocks is wrong.
func Rank(all []Unit, place *Fix, now time.Time, limit time.Duration) Choices {
	var c Choices
	for _, u := range all {
		n := Choice{Unit: u, State: u.State()}
		usable := false
		if u.At != nil {
			n.Age = now.Sub(u.At.Time)
			usable = n.Age <= limit && n.Age >= -limit
			n.Age = max(n.Age, 0)
			if place != nil {
				n.Distance = geo.DistanceHaversine(orb.Point{place.Lon, place.Lat}, orb.Point{u.At.Lon, u.At.Lat})
			}
		}
		switch {
		case !slices.Contains(offered, n.State):
			c.Not = append(c.Not, n)
		case usable && place != nil:
			c.Near = append(c.Near, n)
		default:
			c.Stale = append(c.Stale, n)
		}
	}
	slices.SortStableFunc(c.Near, func(a, b Choice) int {
		return cmp.Or(slices.Index(offered, a.State)-slices.Index(offered, b.State), cmp.Compare(a.Distance, b.Distance), cmp.Compare(a.Device, b.Device))
	})
	slices.SortStableFunc(c.Stale, func(a, b Choice) int {
		if (a.At == nil) != (b.At == nil) {
			if a.At == nil {
				return 1
			}
			return -1
		}
		return cmp.Or(cmp.Compare(a.Age, b.Age), cmp.Compare(a.Device, b.Device))
	})
	slices.SortStableFunc(c.Not, func(a, b Choice) int { return cmp.Compare(a.Device, b.Device) })
	return c
}
