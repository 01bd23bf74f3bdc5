package agent_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fengsui/fengsui/firmware/config"
	"github.com/fengsui/fengsui/firmware/gps/gpstest"
	"github.com/fengsui/fengsui/firmware/wire"
)

// says makes the receiver say something each second for a while.
func (w *world) says(lasts time.Duration, what func(at time.Time) string) {
	w.t.Helper()
	for end := time.Now().Add(lasts); time.Now().Before(end); time.Sleep(time.Second) {
		if _, err := io.WriteString(w.gps, what(time.Now())); err != nil {
			w.t.Fatal(err)
		}
	}
}

func stands(lat float64) func(time.Time) string {
	return func(at time.Time) string {
		return gpstest.Sentences(at.Truncate(10*time.Millisecond), gpstest.Point{Lat: lat, Lon: 103}, 0, 0)
	}
}

// A teleport is marked in the track, is a fault that ends, and an alarm keeps
// the place from before it, with its age.
func TestAJumpIsMarkedAndNotBelieved(t *testing.T) {
	inWorld(t, "", func(w *world) {
		w.says(20*time.Second, stands(30))
		w.says(8*time.Second, stands(34.5)) // 500 km
		w.press("P")
		w.says(8*time.Second, stands(30))
		w.press("H")
		w.says(20*time.Second, stands(34.5)) // this one lasts
		w.off()
		w.power()
		time.Sleep(10 * time.Second)
		raised := bodies[*wire.AlarmRaised](w)
		if len(raised) != 2 {
			t.Fatalf("%d alarms", len(raised))
		}
		if p := raised[0].Position; p == nil || math.Abs(p.Lat()-30) > 1e-6 || p.Source != wire.PositionHeld || p.AgeMs < 7000 || p.AgeMs > 10_000 {
			t.Errorf("during the jump: %+v", p)
		}
		if p := raised[1].Position; p == nil || math.Abs(p.Lat()-30) > 1e-6 || p.Source != wire.PositionFix || p.AgeMs > 2000 {
			t.Errorf("after it: %+v", p)
		}
		marked, believed, last := 0, 0, wire.TrackFix{}
		for _, b := range bodies[*wire.TrackBatch](w) {
			for _, f := range b.Fixes {
				if last = f; f.Flags&wire.Jumped != 0 {
					marked++
				} else if f.Lat() > 34 {
					believed++
				}
			}
		}
		if marked < 2 || marked > 19 || believed != 1 || last.Flags&wire.Jumped != 0 || last.Lat() < 34 {
			t.Errorf("%d fixes are marked, %d there are not; the last is %+v", marked, believed, last)
		}
		if got := w.faults("gps_jump"); !slices.Equal(got, []string{"gps_jump true", "gps_jump false", "gps_jump true", "gps_jump false"}) {
			t.Errorf("faults %q", got)
		}
	})
}

// What the receiver says of its antenna is a fault that begins and ends; a long
// search is another one, and so is silence.
func TestReceiversTroubles(t *testing.T) {
	inWorld(t, "", func(w *world) {
		w.says(10*time.Second, stands(30))
		with := func(state string) func(time.Time) string {
			return func(at time.Time) string { return gpstest.NoFix(at) + gpstest.Antenna(state) }
		}
		w.says(2*time.Second, with("OPEN")) // too short to count
		w.says(5*time.Second, with("OK"))
		w.says(10*time.Second, with("OPEN"))
		w.says(10*time.Second, with("SHORT"))
		w.says(130*time.Second, with("OK"))
		w.says(10*time.Second, stands(30))
		time.Sleep(3 * time.Minute)
		w.says(10*time.Second, stands(30))
		got := w.faults("gps_antenna:open", "gps_antenna:short", "gps_no_fix", "gps_lost")
		want := []string{
			"gps_antenna:open true", "gps_antenna:open false", "gps_antenna:short true", "gps_antenna:short false",
			"gps_no_fix true", "gps_no_fix false", "gps_lost true", "gps_lost false",
		}
		if !slices.Equal(got, want) {
			t.Errorf("faults\n%q, want\n%q", got, want)
		}
		for _, f := range bodies[*wire.Fault](w) {
			if f.Code == "gps_no_fix" && f.Active && !strings.Contains(f.Detail, "without a fix for 2m") {
				t.Errorf("no fix: %q", f.Detail)
			}
		}
	})
}

// How long a search may last is the configuration's.
func TestPatience(t *testing.T) {
	inWorldOf(t, "", func(w *world) { w.cfg.GPS.Patience = config.Duration(20 * time.Second) }, func(w *world) {
		w.says(10*time.Second, stands(30))
		w.says(18*time.Second, gpstest.NoFix)
		if got := w.faults("gps_no_fix"); len(got) != 0 {
			t.Errorf("faults %q within the patience", got)
		}
		w.says(5*time.Second, gpstest.NoFix)
		w.says(5*time.Second, stands(30))
		if got := w.faults("gps_no_fix"); !slices.Equal(got, []string{"gps_no_fix true", "gps_no_fix false"}) {
			t.Errorf("faults %q", got)
		}
	})
}

func TestAPassiveAntennaIsNoFault(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, dir, "")
		w.cfg.GPS.Antenna = "passive"
		w.power()
		w.says(10*time.Second, func(at time.Time) string { return stands(30)(at) + gpstest.Antenna("OPEN") })
		w.says(10*time.Second, func(at time.Time) string { return stands(30)(at) + gpstest.Antenna("SHORT") })
		if got := w.faults("gps_antenna:open", "gps_antenna:short"); !slices.Equal(got, []string{"gps_antenna:short true"}) {
			t.Errorf("faults %q", got)
		}
		w.off()
		w.link(false)
		w.broker.Close()
	})
}

// A box learns its place and keeps it over a restart, without a fix.
func TestABoxLearnsWhereItStands(t *testing.T) {
	inWorld(t, "", func(w *world) {
		n := 0
		w.says(16*time.Minute, func(at time.Time) string {
			n++
			return stands(30 + float64(n%7-3)*5e-5)(at) // ± 17 m
		})
		w.press("P")
		time.Sleep(time.Minute) // the place rides on a heartbeat
		w.off()
		w.power()
		w.press("H")
		time.Sleep(10 * time.Second)
		for i, a := range bodies[*wire.AlarmRaised](w) {
			if p := a.Position; p == nil || p.Source != wire.PositionLearned || math.Abs(p.Lat()-30) > 1e-5 || p.AgeMs != 0 || p.Spread < 9 || p.Spread > 13 {
				t.Errorf("alarm %d: %+v", i+1, p)
			}
		}
	})
}

// A surveyed box says that place, and that its receiver is elsewhere.
func TestASurveyedBox(t *testing.T) {
	inWorld(t, "place: {lat: 30.01, lon: 103}\n", func(w *world) {
		w.press("P")
		w.says(20*time.Second, stands(30))
		w.says(60*time.Second, stands(30.0101))
		time.Sleep(10 * time.Second)
		raised := bodies[*wire.AlarmRaised](w)
		if len(raised) != 1 || raised[0].Position == nil || raised[0].Position.Source != wire.PositionGiven || raised[0].Position.LatE7 != 30_0100000 {
			t.Errorf("alarms %+v", raised)
		}
		if got := w.faults("gps_elsewhere"); !slices.Equal(got, []string{"gps_elsewhere true", "gps_elsewhere false"}) {
			t.Errorf("faults %q", got)
		}
	})
}

// A slowChip speaks at 9600 baud until it is told 38400.
type slowChip struct {
	at   int // its speed
	port int // ours
	told []string
	n    int
	shut bool
}

func (c *slowChip) Close() error { c.shut = true; return nil }

func (c *slowChip) Write(p []byte) (int, error) {
	if c.port == c.at {
		c.told = append(c.told, strings.TrimSpace(string(p)))
		if bytes.HasPrefix(p, []byte("$PCAS01,3*")) {
			c.at = 38400
		}
	}
	return len(p), nil
}

func (c *slowChip) Read(p []byte) (int, error) {
	time.Sleep(100 * time.Millisecond)
	if c.shut {
		return 0, fs.ErrClosed
	}
	if c.n++; c.n%10 != 0 {
		return 0, nil
	}
	n := copy(p, stands(30)(time.Now()))
	for i := range p[:n] {
		if c.port != c.at {
			p[i] |= 0x80
		}
	}
	return n, nil
}

// A receiver as it comes from the factory is found at its own speed and told
// ours, the rate and the systems.
func TestAReceiverAtAnotherSpeed(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, dir, "")
		w.cfg.GPS.Receiver, w.cfg.GPS.Rate, w.cfg.GPS.Baud = "casic", 10, 38400
		c := &slowChip{at: 9600}
		w.gpsAt = func(_ context.Context, baud int) (io.ReadWriteCloser, error) {
			c.port, c.shut = baud, false
			return c, nil
		}
		w.power()
		time.Sleep(time.Minute)
		if got := w.a.Status(); got.Fix == nil || got.FixAge > 2*time.Second || len(got.Faults) != 0 {
			t.Errorf("after a minute: fix %+v, faults %v", got.Fix, got.Faults)
		}
		if got := fmt.Sprint(c.told); got != "[$PCAS01,3*1F $PCAS04,3*1A $PCAS03,1,0,1,0,1,0,0,1*02 $PCAS02,100*1E]" {
			t.Errorf("told %s", got)
		}
		w.off()
		w.link(false)
		w.broker.Close()
	})
}
