package store_test

import (
	"slices"
	"testing"

	"github.com/fengsui/fengsui/firmware/wire"
)

// The newest report counts, in whatever order they come.
func TestCommissioned(t *testing.T) {
	s := fresh(t)
	if c := device(t, s, "car-01").Commissioned; c != nil {
		t.Errorf("never commissioned: %+v", c)
	}
	duty := lane(t, "car-01", wire.Duty)
	bad := duty.next(&wire.Commissioned{Verdict: wire.CommissionFail, Passed: 3, Failed: 1, Problems: []string{"gps"}, Report: [32]byte{1}, Firmware: "1"})
	good := duty.next(&wire.Commissioned{Verdict: wire.CommissionPass, Passed: 4, Absent: 2, Report: [32]byte{2}, By: "P-7", SelfTest: true, Firmware: "2"})
	commit(t, s, good)
	commit(t, s, bad)
	c := device(t, s, "car-01").Commissioned
	if c == nil || c.Verdict != "pass" || c.Passed != 4 || c.Absent != 2 || len(c.Problems) != 0 || c.Report[0] != 2 || c.By != "P-7" || !c.SelfTest || c.Firmware != "2" || c.At.IsZero() {
		t.Errorf("got %+v", c)
	}
	commit(t, s, duty.next(&wire.Commissioned{Verdict: wire.CommissionFail, Failed: 2, Problems: []string{"gps", "siren"}, Firmware: "2"}))
	if c := device(t, s, "car-01").Commissioned; c == nil || c.Verdict != "fail" || !slices.Equal(c.Problems, []string{"gps", "siren"}) {
		t.Errorf("after a failure: %+v", c)
	}
}
