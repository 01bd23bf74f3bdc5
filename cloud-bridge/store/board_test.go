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

// How it stands with a device's networks is what its newest heartbeat said.
func TestTheNetworksOfADevice(t *testing.T) {
	s := fresh(t)
	duty := lane(t, "box-01", wire.Duty)
	both := duty.next(&wire.Health{SignalDBm: -87, Operator: "CMCC", RAT: "lte", WiFi: "joined", SSID: "石桥村", RadioDBm: -61})
	away := duty.next(&wire.Health{WiFi: "away", SSID: "石桥村"})
	none := duty.next(&wire.Health{})
	for _, c := range []struct {
		when     string
		arrival  store.Arrival
		cellular *store.Cellular
		wireless *store.Wireless
	}{
		{"both", both, &store.Cellular{Operator: "CMCC", RAT: "lte", DBm: -87}, &store.Wireless{State: "joined", SSID: "石桥村", DBm: -61}},
		{"a radio out of reach", away, nil, &store.Wireless{State: "away", SSID: "石桥村"}},
		{"neither", none, nil, nil},
	} {
		commit(t, s, c.arrival)
		d := device(t, s, "box-01")
		wants(t, c.when+": cellular", d.Cellular, c.cellular)
		wants(t, c.when+": wireless", d.Wireless, c.wireless)
	}
}
