package store_test

import (
	"testing"
	"time"

	"github.com/fengsui/fengsui/cloud-bridge/store"
	"github.com/fengsui/fengsui/firmware/wire"
)

// What a heartbeat says of the board is the newest that was heard; why the
// device started stays until the next start.
func TestTheBoardOfADevice(t *testing.T) {
	s := fresh(t)
	duty := lane(t, "box-01", wire.Duty)
	first := duty.next(&wire.Health{Started: wire.StartedWatchdog, Temperature: new(int64(483)), Supply: new(wire.UnderVoltageWas)})
	at := noon.Add(time.Second)
	later := duty.next(&wire.Health{Temperature: new(int64(-51)), Supply: new(wire.Supply(0))})
	silent := duty.next(&wire.Health{})
	check := func(when string, want *float64, supply *wire.Supply) {
		t.Helper()
		d := device(t, s, "box-01")
		wants(t, when+": temperature", d.Temperature, want)
		wants(t, when+": supply", d.Supply, supply)
		if d.Started != wire.StartedWatchdog || !d.StartedAt.Equal(at) {
			t.Errorf("%s: started %q at %v, want watchdog at %v", when, d.Started, d.StartedAt, at)
		}
	}
	if d := device(t, s, "box-01"); d.Started != "" || !d.StartedAt.IsZero() || d.Temperature != nil || d.Supply != nil {
		t.Errorf("before it said anything: %+v", d)
	}
	commit(t, s, []store.Arrival{first}...)
	check("the first", new(48.3), new(wire.UnderVoltageWas))
	commit(t, s, later)
	check("a later one", new(-5.1), new(wire.Supply(0)))
	commit(t, s, silent)
	check("one without sensors", nil, nil)
}
