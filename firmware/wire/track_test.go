package wire_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/fengsui/fengsui/firmware/wire"
)

// Any fix that the contract allows comes back as it was, whatever its
// neighbours are.
func TestTrackRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		fix := rapid.Custom(func(t *rapid.T) wire.TrackFix {
			n := func(name string, lo, hi int64) int64 { return rapid.Int64Range(lo, hi).Draw(t, name) }
			return wire.TrackFix{
				Time: n("time", 0, 253402300799999), LatE6: n("lat", -90e6, 90e6), LonE6: n("lon", -180e6, 180e6),
				Alt: n("alt", -1e5, 1e5), Speed: n("speed", 0, 1e5), Course: n("course", 0, 359), HDOP: n("hdop", 0, 1e5),
				Flags: wire.TrackFlag(n("flags", 0, 255)),
			}
		})
		e := event(wire.Track, &wire.TrackBatch{Fixes: rapid.SliceOfN(fix, 1, 70).Draw(t, "fixes")})
		msg, err := wire.Seal(e, deviceKey)
		if err != nil {
			t.Fatal(err)
		}
		back, err := wire.Open(msg, pub(deviceKey))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(e, back); d != "" {
			t.Fatal(d)
		}
	})
}

// drive is a car's 1 Hz log as a receiver would give it: bends, changes of
// speed, and receiver noise of the given sigma in metres. It is seeded.
func drive(n int, sigma float64) []wire.TrackFix {
	r := rand.New(rand.NewPCG(1, 2))
	fixes := make([]wire.TrackFix, n)
	lat, lon, speed, course, alt := 30.12, 103.12, 12.0, 80.0, 512.0
	noiseN, noiseE := 0.0, 0.0
	for i := range fixes {
		speed = math.Max(3, math.Min(25, speed+r.NormFloat64()*0.8))
		course = math.Mod(course+r.NormFloat64()*6+360, 360)
		alt += r.NormFloat64() * 0.4
		rad := course * math.Pi / 180
		lat += speed * math.Cos(rad) / 111_320
		lon += speed * math.Sin(rad) / (111_320 * math.Cos(lat*math.Pi/180))
		// Receiver noise wanders: most of it is shared with the second before.
		noiseN = 0.9*noiseN + 0.44*sigma*r.NormFloat64()
		noiseE = 0.9*noiseE + 0.44*sigma*r.NormFloat64()
		fixes[i] = wire.TrackFix{
			Time:  1_795_435_200_000 + int64(i)*1000,
			LatE6: int64(math.Round((lat + noiseN/111_320) * 1e6)), LonE6: int64(math.Round((lon + noiseE/111_320) * 1e6)),
			Alt: int64(math.Round(alt)), Speed: int64(math.Round(speed * 10)), Course: int64(math.Round(course)) % 360,
			HDOP: 9 + int64(i/40%3), Flags: 0x1f,
		}
	}
	return fixes
}

func bytesPerFix(tb testing.TB, fixes []wire.TrackFix) float64 {
	tb.Helper()
	total := 0
	for at := 0; at < len(fixes); at += 60 {
		e := event(wire.Track, &wire.TrackBatch{Fixes: fixes[at:min(at+60, len(fixes))]})
		e.Device, e.Officer, e.Seq, e.Boot = "car-0001", "P-1001", 123_456, 300
		msg, err := wire.Seal(e, deviceKey)
		if err != nil {
			tb.Fatal(err)
		}
		total += len(msg)
	}
	return float64(total) / float64(len(fixes))
}

// The bound of the contract: at most 8 bytes a fix, envelope included, for a
// car's 1 Hz log in batches of 60, nothing thinned.
func TestTrackBytesPerFix(t *testing.T) {
	for _, sigma := range []float64{0, 1, 3} {
		got := bytesPerFix(t, drive(3600, sigma))
		t.Logf("receiver noise %g m: %.2f bytes a fix", sigma, got)
		if got > 8 {
			t.Errorf("receiver noise %g m: %.2f bytes a fix, want at most 8", sigma, got)
		}
	}
}

func BenchmarkTrackBytesPerFix(b *testing.B) {
	fixes := drive(3600, 1)
	var got float64
	for b.Loop() {
		got = bytesPerFix(b, fixes)
	}
	b.ReportMetric(got, "bytes/fix")
}
