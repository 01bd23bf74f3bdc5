package witness

import (
	"bytes"
	"crypto/ed25519"
	"testing"
	"time"

	"github.com/fengsui/fengsui/firmware/wire"
	"github.com/fengsui/fengsui/sim/torture"
)

var key = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, 32))

// stored is n presses of an alarm, as a centre has them that lost nothing.
func stored(t *testing.T, n int) *Centre {
	t.Helper()
	c := &Centre{UpTo: make(map[Place]uint64)}
	var prev wire.Hash
	alarm := wire.NewAlarmID()
	for i := range uint64(n) {
		e := &wire.Event{
			Device: "box-1", Stream: wire.StreamID{1}, Lane: wire.Alarm, Seq: i + 1, Prev: prev, Boot: 1, Mono: time.Duration(i) * time.Second,
			Body: &wire.AlarmRaised{Alarm: alarm, Kind: wire.Panic, Button: "panic", Press: i + 1},
		}
		msg, err := wire.Seal(e, key)
		if err != nil {
			t.Fatal(err)
		}
		prev = wire.HashOf(msg)
		p := Place{e.Device, e.Stream, e.Lane}
		c.Events = append(c.Events, Event{p, e.Seq, prev, e})
		c.UpTo[p] = e.Seq
	}
	c.Incidents = []Incident{{Device: "box-1", Alarm: alarm.String(), Kind: "panic", Presses: uint64(n)}}
	return c
}

func TestJudge(t *testing.T) {
	type found struct{ lost, twice, disorder, wrong bool }
	for name, c := range map[string]struct {
		spoil func(*Centre)
		want  found
	}{
		"as it should be":                        {func(*Centre) {}, found{}},
		"a hole":                                 {func(c *Centre) { c.Events = append(c.Events[:1], c.Events[2:]...) }, found{lost: true}},
		"the last is acknowledged and not there": {func(c *Centre) { c.Events = c.Events[:2]; c.Incidents[0].Presses = 2 }, found{lost: true}},
		"a row twice":                            {func(c *Centre) { c.Events = append(c.Events, c.Events[1]) }, found{twice: true, disorder: true}},
		"stored across":                          {func(c *Centre) { c.Events[0], c.Events[1] = c.Events[1], c.Events[0] }, found{disorder: true}},
		"another chain":                          {func(c *Centre) { c.Events[0].Hash[0]++ }, found{wrong: true}},
		"no incident":                            {func(c *Centre) { c.Incidents = nil }, found{lost: true}},
		"two incidents":                          {func(c *Centre) { c.Incidents = append(c.Incidents, c.Incidents[0]) }, found{twice: true}},
		"closed, and pressed again": {func(c *Centre) {
			first := c.Incidents[0]
			first.Presses, first.Closed = 2, true
			c.Incidents = []Incident{first, c.Incidents[0]}
		}, found{}},
		"a press too few": {func(c *Centre) { c.Incidents[0].Presses = 2 }, found{lost: true}},
		"an incident of no alarm": {func(c *Centre) {
			c.Incidents = append(c.Incidents, Incident{Device: "box-1", Alarm: "00", Kind: "panic"})
		}, found{wrong: true}},
		"two devices with one key": {func(c *Centre) { c.Incidents = append(c.Incidents, Incident{Device: "box-1", Kind: "twin"}) }, found{wrong: true}},
		"silence":                  {func(c *Centre) { c.Incidents = append(c.Incidents, Incident{Device: "box-1", Kind: "offline"}) }, found{}},
	} {
		centre := stored(t, 3)
		c.spoil(centre)
		var v torture.Verdict
		centre.Judge(&v)
		centre.InOrder(&v)
		if got := (found{len(v.Lost) > 0, len(v.Twice) > 0, len(v.Disorder) > 0, len(v.Wrong) > 0}); got != c.want {
			t.Errorf("%s: got %+v, want %+v: %+v", name, got, c.want, v)
		}
	}
}

func TestPromises(t *testing.T) {
	c := stored(t, 3)
	b := c.Events[1].Body.(*wire.AlarmRaised)
	var v torture.Verdict
	c.Promised([]Stored{{"box-1", "panic", b.Alarm.String(), 2, 2}}, &v)
	c.Deleted(Spool{c.Events[0].Place: {Oldest: 4, Next: 4}}, &v)
	if !v.Clean() {
		t.Errorf("all is there: %+v", v)
	}
	c.Promised([]Stored{{"box-1", "panic", b.Alarm.String(), 4, 4}, {"box-1", "panic", b.Alarm.String(), 2, 3}}, &v)
	c.Deleted(Spool{c.Events[0].Place: {Oldest: 5, Next: 5}}, &v)
	if len(v.Lost) != 3 {
		t.Errorf("three are missing: %+v", v)
	}
}
