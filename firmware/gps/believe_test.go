package gps_test

import (
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/fengsui/fengsui/firmware/gps"
)

func north(metres float64) gps.Fix { return gps.Fix{Lat: 30 + metres/111_195, Lon: 103} }

// A teleport is not believed until it has lasted.
func TestATeleportIsNotBelieved(t *testing.T) {
	var b gps.Believer
	at := time.Duration(0)
	take := func(f gps.Fix) bool { at += time.Second; ok, _ := b.Take(f, at); return ok }
	for n := range 60 {
		if !take(north(float64(30 * n))) {
			t.Fatalf("fix %d of a car at 108 km/h is not believed", n)
		}
	}
	home := 30.0 * 59
	for range 5 {
		if take(north(500_000)) || !b.Jumped() {
			t.Fatal("500 km in a second were believed")
		}
	}
	if !take(north(home)) || b.Jumped() {
		t.Fatal("back where it was, and not believed")
	}
	if f, _, _ := b.Last(); gps.Distance(f, north(home)) > 1 {
		t.Fatalf("the last believed is %v", f)
	}
	for n := range 11 { // it moves on from there, and so does what is believed
		if got := take(north(500_000 + 20*float64(n))); got != (n == 10) {
			t.Fatalf("fix %d of a place that lasts: %v", n, got)
		}
	}
	for n := range 100 { // wild fixes agree with nothing
		if take(gps.Fix{Lat: float64(n%50) - 20, Lon: float64(n * 3)}) {
			t.Fatalf("wild fix %d was believed", n)
		}
	}
	at += 3 * time.Hour // nothing for three hours: a car can be 500 km away
	if !take(north(0)) {
		t.Fatal("500 km in three hours were not believed")
	}
}

// At ten fixes a second it lasts ten seconds all the same.
func TestManyFixesDoNotHurryIt(t *testing.T) {
	var b gps.Believer
	b.Take(north(0), 0)
	for n := range 99 {
		if ok, _ := b.Take(north(9000), time.Second+time.Duration(n)*100*time.Millisecond); ok {
			t.Fatalf("believed at fix %d", n)
		}
	}
}

// Real drives and walks have no jumps.
func TestRealLogsAreBelieved(t *testing.T) {
	logs, _ := filepath.Glob(filepath.Join(shared, "*.log"))
	if len(logs) == 0 {
		t.Skipf("skipped: no logs at %s", shared)
	}
	total, doubted := 0, map[string]int{}
	for _, path := range logs {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		d := gps.NewDecoder(f)
		var b gps.Believer
		var last time.Time
		mono := time.Duration(0)
		for {
			fix, err := d.Next()
			if err != nil {
				break
			}
			total++
			// The logs have holes: what lies between two fixes is what they say.
			if at := fix.Time; !at.IsZero() && !last.IsZero() && at.After(last) {
				mono += at.Sub(last)
			} else {
				mono += time.Second
				if at.Before(last) { // two recordings were put together
					b = gps.Believer{}
				}
			}
			last = fix.Time
			if ok, _ := b.Take(fix, mono); !ok {
				doubted[filepath.Base(path)]++
			}
		}
		f.Close()
	}
	t.Logf("%d fixes, not believed: %v", total, doubted)
	if len(doubted) > 0 {
		t.Errorf("of %d fixes these were not believed: %v", total, doubted)
	}
}

// A box learns where it stands, to a tenth of what its fixes are spread by, and
// learns anew when it has been carried off.
func TestABoxLearnsItsPlace(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var s gps.Survey
	at := time.Duration(0)
	learn := func(metres float64, fixes int) (after int, p *gps.Place) {
		for n := range fixes {
			at += 100 * time.Millisecond // ten a second, of which one counts
			f := north(metres + 5*rng.NormFloat64())
			f.Lon += 5 * rng.NormFloat64() / 96_300
			if got := s.Take(f, at); got != nil {
				if p != nil {
					t.Fatalf("learned twice, at %d and %d", after, n)
				}
				after, p = n, got
			}
		}
		return after, p
	}
	after, p := learn(0, 20_000)
	if p == nil || after < 9000 || after > 9100 {
		t.Fatalf("learned at fix %d: %+v", after, p)
	}
	if d := gps.Distance(gps.Fix{Lat: p.Lat, Lon: p.Lon}, north(0)); d > 0.7 || math.Abs(p.Spread-7.07) > 0.5 {
		t.Errorf("off by %.2f m, spread %.2f m, want 7.07", d, p.Spread)
	}
	if _, p := learn(3000, 8000); p != nil {
		t.Errorf("learned %+v after a quarter of an hour's two thirds elsewhere", p)
	}
	if _, p := learn(0, 1000); p != nil || s.Place(at) == nil {
		t.Error("what was learned is gone after an excursion")
	}
	after, p = learn(3000, 20_000)
	if p == nil || gps.Distance(gps.Fix{Lat: p.Lat, Lon: p.Lon}, north(3000)) > 1 {
		t.Errorf("elsewhere: at fix %d %+v", after, p)
	}
	var again gps.Survey
	again.Resume(*p)
	again.Take(north(3000), at)
	if q := again.Place(at); q == nil || gps.Distance(gps.Fix{Lat: q.Lat, Lon: q.Lon}, gps.Fix{Lat: p.Lat, Lon: p.Lon}) > 1 || math.Abs(q.Spread-p.Spread) > 0.5 {
		t.Errorf("after a restart %+v, before it %+v", q, p)
	}
}
