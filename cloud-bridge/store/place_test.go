package store_test

import (
	"testing"
	"time"

	"github.com/fengsui/fengsui/cloud-bridge/incident"
	"github.com/fengsui/fengsui/cloud-bridge/store"
	"github.com/fengsui/fengsui/firmware/wire"
)

// How a device knows its position is kept with the incident.
func TestPositionSources(t *testing.T) {
	for told, want := range map[wire.PositionSource]incident.PositionSource{
		wire.PositionFix: incident.GNSS, wire.PositionGiven: incident.Given, wire.PositionLearned: incident.Learned,
		wire.PositionHeld: incident.Held, 9: incident.GNSS,
	} {
		s := fresh(t)
		commit(t, s, lane(t, "car-01", wire.Alarm).next(&wire.AlarmRaised{
			Alarm: fire1, Kind: wire.Fire, Button: "fire", Press: 1,
			Position: &wire.Position{LatE7: 300000000, LonE7: 1030000000, AgeMs: 1500, Source: told, Spread: 4},
		}))
		if p := only(t, s).Position; p == nil || p.Source != want || p.Age != 1500*time.Millisecond || p.Spread != 4 {
			t.Errorf("%v: %+v, want %s", told, p, want)
		}
	}
}

// A unit is told how sure the place is that it is sent to.
func TestAUnitIsToldTheSpread(t *testing.T) {
	s := fresh(t)
	if err := s.Register(t.Context(), registration("box-04", store.AlarmBox)); err != nil { // without a place
		t.Fatal(err)
	}
	commit(t, s, lane(t, "box-04", wire.Alarm).next(&wire.AlarmRaised{
		Alarm: fire1, Kind: wire.Fire, Button: "fire", Press: 1,
		Position: &wire.Position{LatE7: 300000000, LonE7: 1030000000, Source: wire.PositionLearned, Spread: 4},
	}))
	for _, step := range []incident.Step{{Name: incident.StepAcknowledge}, {Name: incident.StepDispatch, Unit: "name of car-01"}} {
		if _, err := s.Take(t.Context(), only(t, s).ID, li, step); err != nil {
			t.Fatal(err)
		}
	}
	told := level[*wire.Assignment](t, s, "car-01")
	if len(told) != 1 || told[0].Place == nil || told[0].Place.Within != 4 || told[0].Place.Source != wire.PlaceGNSS {
		t.Errorf("told %+v", told)
	}
}

// A fix that the device itself does not believe is in its track, marked, and is
// not where it was last.
func TestAJumpMovesNothing(t *testing.T) {
	s := fresh(t)
	at := func(n int64, lat int64, flags wire.TrackFlag) wire.TrackFix {
		return wire.TrackFix{Time: noon.UnixMilli() + 1000*n, LatE6: lat, Flags: flags}
	}
	src := lane(t, "car-01", wire.Track)
	commit(t, s, src.next(&wire.TrackBatch{Fixes: []wire.TrackFix{at(0, 30e6, 0), at(1, 34e6, wire.Jumped)}}))
	if f := device(t, s, "car-01").LastFix; f == nil || f.Lat != 30 || f.Jumped {
		t.Errorf("last fix %+v", f)
	}
	fs, err := s.Track(t.Context(), "car-01", time.Time{}, time.Time{}, 0)
	if err != nil || len(fs) != 2 || fs[0].Jumped || !fs[1].Jumped {
		t.Errorf("track %+v, %v", fs, err)
	}
}
