package store

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/fengsui/fengsui/firmware/wire"
)

// Of a device whose sources are right within what they claim, however its
// crystal drifts and however late its messages come, every moment is dated
// within what is claimed for it, never after its arrival, and a device's own
// word is kept where it is not what is shown.
func TestHonestDevicesAreDatedRightly(t *testing.T) {
	epoch := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	dated, corrected := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		ms := func(what string, most time.Duration) time.Duration {
			return time.Duration(rapid.Int64Range(0, most.Milliseconds()).Draw(t, what)) * time.Millisecond
		}
		type moment struct {
			boot            uint64
			mono            time.Duration
			truth, received time.Time
			told            wire.Wall
		}
		all := newBoots()
		var moments []moment
		at := epoch // the truth
		for n := range uint64(rapid.IntRange(1, 4).Draw(t, "boots")) {
			at = at.Add(ms("off", time.Hour))
			start := at
			ppm := rapid.Int64Range(-driftPPM, driftPPM).Draw(t, "drift")
			b := &boot{clues: make(clues), changed: make(map[int]bool)}
			for range rapid.IntRange(1, 6).Draw(t, "messages") {
				at = at.Add(ms("between", 48*time.Hour))
				real := at.Sub(start)
				mono := (real + real*time.Duration(ppm)/1_000_000).Truncate(time.Millisecond)
				if rapid.Bool().Draw(t, "hello") && mono > 0 {
					b.hello(mono.Milliseconds(), at.Add(ms("late", helloLate*time.Millisecond)).UnixMilli())
					continue
				}
				m := moment{n + 1, mono, at, at.Add(ms("late", 100*time.Hour)), wire.Wall{UnixMilli: mono.Milliseconds()}}
				if rapid.Bool().Draw(t, "dated") {
					m.told.Source = rapid.SampledFrom([]wire.WallSource{wire.WallGNSS, wire.WallNTP, wire.WallCentre}).Draw(t, "source")
					m.told.Uncertainty = ms("within", 10*time.Second)
					off := time.Duration(rapid.Int64Range(-m.told.Uncertainty.Milliseconds(), m.told.Uncertainty.Milliseconds()).Draw(t, "off"))
					m.told.UnixMilli = at.UnixMilli() + int64(off)
				}
				b.event(m.mono, m.told, m.received)
				moments = append(moments, m)
			}
			for source, c := range b.clues {
				all.add(n+1, source, c)
			}
		}
		all.end()
		for _, m := range moments {
			got := all.moment(m.boot, m.mono, m.told, m.received)
			what := fmt.Sprintf("boot %d, mono %v, said %v %v ±%v", m.boot, m.mono, m.told.Time(), m.told.Source, m.told.Uncertainty)
			if (got.Original != nil) != (got.Source != m.told.Source || got.Source != wire.WallNone && !got.Time.Equal(m.told.Time())) && got.Original == nil {
				t.Fatalf("%s: %+v: the device's word is not kept", what, got)
			}
			if got.Source == wire.WallNone {
				continue
			}
			dated++
			if got.Original != nil {
				corrected++
				if got.Time.After(m.received) {
					t.Fatalf("%s: dated %v, after its arrival at %v", what, got.Time, m.received)
				}
			}
			// Milliseconds are cut off at the device and at the centre.
			if off := got.Time.Sub(m.truth).Abs(); off > got.Uncertainty+leapMs*time.Millisecond {
				t.Fatalf("%s: dated %v ±%v %v, off by %v", what, got.Time, got.Uncertainty, got.Source, off)
			}
		}
	})
	t.Logf("%d moments dated, %d of them by the centre", dated, corrected)
}
