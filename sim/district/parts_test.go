package district

import (
	"encoding/hex"
	"io"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/fengsui/fengsui/firmware/config"
	"github.com/fengsui/fengsui/firmware/gps/gpstest"
	"github.com/fengsui/fengsui/sim/child"
	"github.com/fengsui/fengsui/sim/ledger"
	"github.com/fengsui/fengsui/sim/scenario"
)

// What the simulator writes, the firmware reads, and understands the same.
func TestConfigurationIsTheFirmwares(t *testing.T) {
	key := hex.EncodeToString(make([]byte, 32))
	w := wiring{data: "/x", server: "127.0.0.1:1", centreKey: key, gps: "/p/1", reader: "/p/2"}
	d := scenario.Device{
		Kind: "alarm-box", Name: "石桥: 村口", Siren: true, GPS: true, Drill: true,
		Buttons: map[string]scenario.Button{
			"panic": {Kind: "panic"}, "hush": {Kind: "panic", Silent: true}, "fire": {Kind: "fire"},
			"medical": {Kind: "medical"}, "other": {Kind: "panic"}, "more": {Kind: "fire"},
		},
		Fingers: map[int]string{3: "P: #3"},
		Track:   scenario.Track{Batch: 7, CloseAfter: scenario.Duration(2 * time.Second), StillEvery: scenario.Duration(9 * time.Second)},
		Health:  scenario.Duration(11 * time.Second),
	}
	b, err := configuration("box-1", d, w)
	if err != nil {
		t.Fatal(err)
	}
	c, err := config.Parse("x", b)
	if err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	if !c.Buttons["hush"].Silent || c.Fingerprint.Officers[3] != "P: #3" || c.Track.Batch != 7 || !c.Drill || c.Siren == nil ||
		time.Duration(c.Health.Every) != 11*time.Second || c.GPS.Port != "/p/1" || c.Lamps.Green.Line != lineGreen {
		t.Errorf("got %+v from\n%s", c, b)
	}
	for name, line := range buttonLines(d) {
		if c.Buttons[name].Line != line {
			t.Errorf("button %s is on %s, want %s", name, c.Buttons[name].Line, line)
		}
	}
	car, err := configuration("car-1", scenario.Device{Kind: "patrol-car", GPS: true}, w)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := config.Parse("x", car); err != nil {
		t.Error(err)
	}
}

func TestRMCScanner(t *testing.T) {
	at := time.Date(2026, 11, 20, 6, 30, 1, 250e6, time.UTC)
	text := "noise $GNRMC,\x00\xff" + gpstest.Sentences(at, gpstest.Point{Lat: -30.5, Lon: -103.25}, 10, 90) + gpstest.NoFix(at) +
		strings.Replace(gpstest.Sentences(at, gpstest.Point{Lat: 1, Lon: 1}, 0, 0), "RMC,063001", "RMC,063002", 1) // a wrong sum
	var s rmcScanner
	var got []ledger.Fix
	for i := range len(text) { // byte by byte, as a port may give it
		got = append(got, s.scan([]byte{text[i]})...)
	}
	if len(got) != 1 || !got[0].Time.Equal(at) || math.Abs(got[0].Lat+30.5) > 1e-6 || math.Abs(got[0].Lon+103.25) > 1e-6 {
		t.Errorf("got %+v, want one fix at %v", got, at)
	}
}

func FuzzRMCScanner(f *testing.F) {
	f.Add([]byte(gpstest.Sentences(time.Unix(1.8e9, 0), gpstest.Point{Lat: 30, Lon: 103}, 1, 2)))
	f.Add([]byte("$GPRMC,,A,,,,,,,*00\n$GPRMC,000000,A,9959.9,N,18100,E,,,010100*00\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var s rmcScanner
		for _, fix := range s.scan(b) {
			if math.Abs(fix.Lat) > 90 || math.Abs(fix.Lon) > 180 || fix.Time.IsZero() {
				t.Errorf("%q: %+v", b, fix)
			}
		}
		if len(s.rest) > maxSentence {
			t.Errorf("%d bytes are kept", len(s.rest))
		}
	})
}

func TestOutputs(t *testing.T) {
	const s = time.Second
	o := newOutputs(scenario.Device{}, 0)
	o.edge(child.Report{At: 1 * s, Line: lineRed, High: true})
	o.edge(child.Report{At: 1 * s, Line: lineSiren, High: true})
	o.edge(child.Report{At: 3 * s, Line: lineAmber, High: true})
	if at, ok := o.redAfter(0); !ok || at != 1*s {
		t.Errorf("red at %v, %v", at, ok)
	}
	if _, ok := o.redAfter(2 * s); ok {
		t.Error("red again?")
	}
	o.dark(5 * s)
	for _, c := range []struct {
		on   bool
		from time.Duration
		at   time.Duration
		ok   bool
	}{{true, 0, 1 * s, true}, {true, 2 * s, 2 * s, true}, {false, 0, 0, true}, {false, 2 * s, 5 * s, true}, {true, 6 * s, 6 * s, false}, {false, 6 * s, 6 * s, true}} {
		if at, ok := o.sounded(c.on, c.from); ok != c.ok || ok && at != c.at {
			t.Errorf("sounded(%v, %v): %v, %v, want %v, %v", c.on, c.from, at, ok, c.at, c.ok)
		}
	}
	if o.lit != 0 || o.watch.View(6*s).Lit != 0 {
		t.Error("lamps burn without power")
	}
}

func TestReceiverWithoutPowerIsNotHeard(t *testing.T) {
	var out strings.Builder
	l := ledger.New(0)
	r := newReceiver("car", &out, nil, l)
	text := gpstest.Sentences(time.Unix(1.8e9, 0), gpstest.Point{Lat: 30, Lon: 103}, 1, 2)
	for _, on := range []bool{false, true, false} {
		r.power(on)
		if n, err := io.WriteString(r, text); n != len(text) || err != nil {
			t.Fatal(n, err)
		}
	}
	if out.String() != text || len(l.Entries().Fixes) != 1 {
		t.Errorf("heard %q, entered %d fixes: want one epoch", out.String(), len(l.Entries().Fixes))
	}
	if p := r.place(); math.Abs(p.Lat-30) > 1e-6 {
		t.Errorf("the car is at %+v: it moves without power too", p)
	}
}
