package store_test

import (
	"slices"
	"testing"

	"github.com/fengsui/fengsui/cloud-bridge/incident"
	"github.com/fengsui/fengsui/firmware/wire"
)

// A box that is opened is an incident, one for as long as nobody has closed
// it, whether its reports come together or one by one; no notice goes to the
// device, and it does not close itself.
func TestTamper(t *testing.T) {
	for _, together := range []bool{true, false} {
		s := fresh(t)
		duty := lane(t, "box-01", wire.Duty)
		begin := duty.next(&wire.Fault{Code: "tamper", Active: true, Detail: "open"})
		end := duty.next(&wire.Fault{Code: "tamper"})
		again := duty.next(&wire.Fault{Code: "tamper", Active: true})
		if together {
			commit(t, s, begin, end, again)
		} else {
			commit(t, s, begin)
			commit(t, s, end)
			commit(t, s, again)
		}
		commit(t, s, begin) // sent again
		is := listed(t, s)
		if len(is) != 1 || is[0].Kind != incident.Tamper || is[0].Priority != 2 || is[0].State != incident.Open || is[0].Pressed.Time.IsZero() || is[0].Position == nil {
			t.Fatalf("together %v: %+v, want one open tamper of priority 2, dated and placed", together, is)
		}
		id := is[0].ID
		i, err := s.Incident(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		var what []string
		for _, e := range i.Timeline {
			what = append(what, e.What)
		}
		if want := []string{incident.WhatOpened, incident.WhatShut, incident.WhatTampered}; !slices.Equal(what, want) {
			t.Errorf("together %v: timeline %v, want %v", together, what, want)
		}
		if _, err := s.CloseIncident(t.Context(), id, "li", incident.Test, ""); err != nil {
			t.Fatal(err)
		}
		if p, err := s.Pending(t.Context(), ""); err != nil || len(p) != 0 {
			t.Errorf("notices %v, %v: want none", p, err)
		}
		commit(t, s, duty.next(&wire.Fault{Code: "tamper"}))
		commit(t, s, duty.next(&wire.Fault{Code: "tamper", Active: true}))
		if is := listed(t, s, incident.Open); len(is) != 1 || is[0].ID == id {
			t.Errorf("together %v: %+v, want another after the first was closed", together, is)
		}
	}
}
