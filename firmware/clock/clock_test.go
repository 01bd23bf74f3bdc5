package clock_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/fengsui/fengsui/firmware/clock"
	"github.com/fengsui/fengsui/firmware/wire"
)

var (
	built = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	truth = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
)

func free() (bool, time.Duration) { return false, 0 }

func TestGNSSNeedsThreeAgreeing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clock.New(clock.Options{Earliest: built, Disciplined: free})
		at := truth
		for i, want := range []bool{false, false, true, true} {
			c.OfferGNSS(at)
			if _, got := c.Date(c.Mono(), at); got != want {
				t.Errorf("fix %d believed: %v, want %v", i+1, got, want)
			}
			time.Sleep(time.Second)
			at = at.Add(time.Second)
		}
		w := c.Wall()
		if w.Source != wire.WallGNSS || w.UnixMilli != at.UnixMilli() {
			t.Errorf("wall %v from %v, want %v from gnss", w.Time(), w.Source, at)
		}
	})
}

func TestGNSSRefusesWhatCannotBe(t *testing.T) {
	for name, utc := range map[string]time.Time{
		"500 weeks ago": truth.Add(-500 * 7 * 24 * time.Hour),
		"before build":  built.Add(-time.Minute),
		"1980":          time.Date(1980, 1, 6, 0, 0, 0, 0, time.UTC),
		"2080":          time.Date(2080, 1, 1, 0, 0, 0, 0, time.UTC),
	} {
		synctest.Test(t, func(t *testing.T) {
			c := clock.New(clock.Options{Earliest: built, Disciplined: free})
			for i := range 5 {
				c.OfferGNSS(utc.Add(time.Duration(i) * time.Second))
				time.Sleep(time.Second)
			}
			if w := c.Wall(); w.Source != wire.WallNone {
				t.Errorf("%s: source %v, want none", name, w.Source)
			}
		})
	}
}

func TestGNSSJumpIsNotBelievedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clock.New(clock.Options{Earliest: built, Disciplined: free})
		for i := range 3 {
			c.OfferGNSS(truth.Add(time.Duration(i) * time.Second))
			time.Sleep(time.Second)
		}
		c.OfferGNSS(truth.Add(time.Hour))
		if _, ok := c.Date(c.Mono(), truth.Add(time.Hour)); ok {
			t.Error("one fix an hour ahead is believed")
		}
		if w := c.Wall(); w.UnixMilli != truth.Add(3*time.Second).UnixMilli() {
			t.Errorf("wall %v after the jump, want %v", w.Time(), truth.Add(3*time.Second))
		}
	})
}

// Late sentences must not drag the time of day back and forth.
func TestLateSentencesDoNotMoveTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clock.New(clock.Options{Earliest: built, Disciplined: free})
		for i := range 20 {
			late := time.Duration(i%3) * 200 * time.Millisecond
			time.Sleep(late)
			c.OfferGNSS(truth.Add(time.Duration(i) * time.Second))
			time.Sleep(time.Second - late)
		}
		if w, want := c.Wall(), truth.Add(20*time.Second); w.UnixMilli != want.UnixMilli() {
			t.Errorf("wall %v, want %v", w.Time(), want)
		}
	})
}

func TestSourcesWithoutGNSS(t *testing.T) {
	c := clock.New(clock.Options{Disciplined: func() (bool, time.Duration) { return true, 30 * time.Millisecond }})
	if w := c.Wall(); w.Source != wire.WallNTP || w.Uncertainty != 30*time.Millisecond {
		t.Errorf("disciplined: %+v, want ntp within 30 ms", w)
	}
	c = clock.New(clock.Options{Disciplined: free, Now: func() time.Time { return time.Date(1960, 1, 1, 0, 0, 0, 0, time.UTC) }})
	if w := c.Wall(); w.Source != wire.WallNone || w.UnixMilli != 0 {
		t.Errorf("before 1970: %+v, want 0 from none", w)
	}
}

func TestMonoIgnoresTheSystemClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clock.New(clock.Options{})
		time.Sleep(90 * time.Second)
		if got := c.Mono(); got != 90*time.Second {
			t.Errorf("mono %v, want 90s", got)
		}
	})
}
