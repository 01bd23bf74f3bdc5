package store_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/fengsui/fengsui/cloud-bridge/incident"
	"github.com/fengsui/fengsui/cloud-bridge/store"
	"github.com/fengsui/fengsui/cloud-bridge/units"
	"github.com/fengsui/fengsui/firmware/wire"
)

// A motorcycle is a unit as a car is: it is listed, sent by its name, told, and says what
// it does; the desk may set it.
func TestAMotorcycleIsAUnit(t *testing.T) {
	now := noon.Add(3 * time.Second)
	s := at(t, filepath.Join(t.TempDir(), "centre.db"), &now)
	if err := s.Register(t.Context(), registration("moto-01", store.PatrolMotorcycle)); err != nil {
		t.Fatal(err)
	}
	state := func(want units.State) {
		t.Helper()
		all, err := s.Units(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(all) != 2 || all[1].Device != "moto-01" || all[1].Set != want {
			t.Errorf("units %+v: want the motorcycle, %q", all, want)
		}
	}
	state("")
	commit(t, s, lane(t, "moto-01", wire.Duty).next(&wire.UnitState{Doing: wire.DoingBusy, Reason: "a fallen tree"}))
	state(units.Busy)
	if err := s.SetUnit(t.Context(), li, "moto-01", units.OutOfService, "a flat tyre"); err != nil {
		t.Fatal(err)
	}
	state(units.OutOfService)

	commit(t, s, lane(t, "box-01", wire.Alarm).next(raised(1)))
	id := only(t, s).ID
	for _, step := range []incident.Step{
		{Name: incident.StepAcknowledge},
		{Name: incident.StepDispatch, Unit: "name of moto-01"},
	} {
		if _, err := s.Take(t.Context(), id, li, step); err != nil {
			t.Fatal(err)
		}
	}
	if u := only(t, s).Units; len(u) != 1 || u[0].Device != "moto-01" {
		t.Errorf("sent %+v", u)
	}
	if told := level[*wire.Assignment](t, s, "moto-01"); len(told) != 1 || told[0].State != wire.Assigned {
		t.Errorf("told %+v", told)
	}
}
