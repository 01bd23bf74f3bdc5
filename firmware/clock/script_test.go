package clock_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/fengsui/fengsui/firmware/clock"
	"github.com/fengsui/fengsui/firmware/wire"
)

// A script is a device's clock in a bubble, with a system clock that can be
// set and a truth that nothing but the test knows.
type script struct {
	t      *testing.T
	c      *clock.Clock
	began  time.Time
	truth  time.Time     // at began
	system time.Duration // the system's clock minus the truth
	ntp    bool
	within time.Duration
}

func play(t *testing.T, truth time.Time, system time.Duration, f func(*script)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &script{t: t, began: time.Now(), truth: truth, system: system, within: 10 * time.Millisecond}
		s.boot()
		f(s)
	})
}

// boot starts the clock anew, as after a power cut.
func (s *script) boot() {
	s.c = clock.New(clock.Options{
		Earliest:    built,
		Now:         func() time.Time { return s.now().Add(s.system) },
		Disciplined: func() (bool, time.Duration) { return s.ntp, s.within },
	})
}

func (s *script) now() time.Time { return s.truth.Add(time.Since(s.began)) }

// receive has the receiver say its times for a while, once a second, off by
// something from the truth.
func (s *script) receive(d, off time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(time.Second) {
		s.c.OfferGNSS(s.now().Add(off))
		s.c.Wall()
	}
}

// wait lets time pass, with the system's clock read once a second.
func (s *script) wait(d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(time.Second) {
		s.c.Wall()
	}
}

// answer has the centre answer a hello after a round trip, off by something.
func (s *script) answer(way, off time.Duration) bool {
	sent := s.c.Mono()
	time.Sleep(way / 2)
	at := s.now().Add(off)
	time.Sleep(way - way/2)
	return s.c.FromCentre(at, sent, s.c.Mono())
}

// want checks the source, that the truth is within the uncertainty, and that
// the uncertainty is at most so much.
func (s *script) want(what string, from wire.WallSource, most time.Duration) {
	s.t.Helper()
	w, off := s.c.Wall(), time.Duration(0)
	off = w.Time().Sub(s.now())
	switch {
	case w.Source != from:
		s.t.Errorf("%s: source %v, want %v", what, w.Source, from)
	case from != wire.WallNone && off.Abs() > w.Uncertainty+time.Millisecond:
		s.t.Errorf("%s: off by %v, which is more than the ±%v it claims", what, off, w.Uncertainty)
	case w.Uncertainty > most:
		s.t.Errorf("%s: ±%v, want at most %v", what, w.Uncertainty, most)
	}
}

const (
	hour  = time.Hour
	week  = 7 * 24 * time.Hour
	cycle = 1024 * week
)

func TestScripts(t *testing.T) {
	since1970, until2080 := -truth.Sub(time.Unix(0, 0)), time.Date(2080, 1, 1, 0, 0, 0, 0, time.UTC).Sub(truth)
	for _, c := range []struct {
		name   string
		truth  time.Time
		system time.Duration
		f      func(*script)
	}{
		{"boot in 1970, then a receiver", truth, since1970, func(s *script) {
			s.want("at first", wire.WallNone, 0)
			s.receive(5*time.Second, 0)
			s.want("after three times", wire.WallGNSS, 1100*time.Millisecond)
		}},
		{"boot in 2080, then the centre", truth, until2080, func(s *script) {
			s.want("at first", wire.WallNone, 0)
			s.answer(200*time.Millisecond, 0)
			s.want("after the answer", wire.WallCentre, 102*time.Millisecond)
		}},
		{"boot in 1970, then a time server sets the clock", truth, since1970, func(s *script) {
			s.wait(10 * time.Second)
			s.system, s.ntp = 0, true
			s.want("after it", wire.WallNTP, 10*time.Millisecond)
		}},
		{"a receiver 1,024 weeks behind", truth, since1970, func(s *script) {
			s.receive(5*time.Second, -cycle)
			s.want("corrected", wire.WallGNSS, 1100*time.Millisecond)
			if got, ok := s.c.Date(s.c.Mono(), s.now().Add(-cycle)); !ok || !got.Equal(s.now()) {
				t.Errorf("a fix of it is dated %v, %v: want %v", got, ok, s.now())
			}
		}},
		{"a receiver 2,048 weeks behind", truth, since1970, func(s *script) {
			s.receive(5*time.Second, -2*cycle)
			s.want("corrected", wire.WallGNSS, 1100*time.Millisecond)
		}},
		{"a receiver 1,024 weeks ahead", truth, since1970, func(s *script) {
			s.receive(5*time.Second, cycle)
			s.want("not believed", wire.WallNone, 0)
		}},
		{"a receiver whose weeks roll over in mid-boot", truth, since1970, func(s *script) {
			s.receive(time.Minute, 0)
			s.receive(time.Minute, -cycle)
			s.want("after it", wire.WallGNSS, 1100*time.Millisecond)
		}},
		{"a receiver that jumps by a day", truth, since1970, func(s *script) {
			s.receive(time.Minute, 0)
			s.receive(10*time.Minute, 24*hour)
			s.want("not followed", wire.WallGNSS, 1200*time.Millisecond)
			if _, ok := s.c.Date(s.c.Mono(), s.now().Add(24*hour)); ok {
				t.Error("a fix of a day ahead is believed")
			}
			s.receive(time.Minute, 0)
			s.want("right again", wire.WallGNSS, 1100*time.Millisecond)
		}},
		{"a receiver that was wrong at first", truth, since1970, func(s *script) {
			s.receive(time.Minute, 17*time.Second)
			s.receive(16*time.Minute, 0)
			s.want("followed after a quarter of an hour", wire.WallGNSS, 1100*time.Millisecond)
		}},
		{"a receiver that lies, and the centre", truth, since1970, func(s *script) {
			s.receive(time.Minute, 300*24*hour)
			s.answer(300*time.Millisecond, 0)
			s.want("the centre overrules", wire.WallCentre, 152*time.Millisecond)
			s.receive(20*time.Minute, 300*24*hour)
			s.want("for good", wire.WallCentre, 400*time.Millisecond)
			s.receive(5*time.Second, 0)
			if _, ok := s.c.Date(s.c.Mono(), s.now()); !ok {
				t.Error("a true fix is not believed")
			}
		}},
		{"a receiver and a time server that contradict each other", truth, 0, func(s *script) {
			s.ntp, s.system = true, hour
			s.receive(time.Minute, 0)
			s.want("neither is certain", wire.WallNTP, 2*hour)
		}},
		{"the system's clock is stepped by an hour, undisciplined since", truth, 0, func(s *script) {
			s.ntp = true
			s.wait(time.Minute)
			s.ntp, s.system = false, hour
			s.want("held", wire.WallNTP, 20*time.Millisecond)
			s.wait(hour)
			s.want("held, drifting", wire.WallNTP, 400*time.Millisecond)
		}},
		{"the system's clock is stepped by an hour, disciplined", truth, 0, func(s *script) {
			s.ntp = true
			s.receive(time.Minute, 0)
			s.system = -hour
			s.receive(hour, 0)
			s.want("the receiver vouches for what it was", wire.WallNTP, 400*time.Millisecond)
			s.system = 0
			s.receive(time.Minute, 0)
			s.want("stepped back", wire.WallNTP, 10*time.Millisecond)
		}},
		{"the system's clock was an hour off and is put right", truth, hour, func(s *script) {
			s.ntp = true
			s.wait(time.Minute)
			s.system = 0
			s.wait(16 * time.Minute)
			s.want("followed after a quarter of an hour", wire.WallNTP, 10*time.Millisecond)
		}},
		{"a leap second on a receiver", time.Date(2026, 12, 31, 23, 58, 0, 0, time.UTC), since1970, func(s *script) {
			s.receive(2*time.Minute, 0)
			// 23:59:60 is 00:00:00 of Unix time, which comes twice.
			s.truth = s.truth.Add(-time.Second)
			s.receive(10*time.Second, 0)
			s.want("just after it", wire.WallGNSS, 1100*time.Millisecond)
			s.receive(3*time.Minute, 0)
			if off := s.c.Wall().Time().Sub(s.now()).Abs(); off > 10*time.Millisecond {
				t.Errorf("minutes after the leap second the time is off by %v", off)
			}
		}},
		{"a leap second that the system's clock steps", time.Date(2026, 12, 31, 23, 58, 0, 0, time.UTC), 0, func(s *script) {
			s.ntp = true
			s.wait(2 * time.Minute)
			s.truth = s.truth.Add(-time.Second)
			s.system = time.Second
			s.want("not stepped yet", wire.WallNTP, 1100*time.Millisecond)
			s.system = 0
			s.want("stepped", wire.WallNTP, 1100*time.Millisecond)
		}},
		{"a leap second that the system's clock smears", time.Date(2026, 12, 31, 12, 0, 0, 0, time.UTC), 0, func(s *script) {
			s.ntp = true
			for n := range 48 { // linear over a day, half of it before
				if n == 24 {
					s.truth, s.system = s.truth.Add(-time.Second), s.system+time.Second
				}
				s.wait(30 * time.Minute)
				s.system -= time.Second / 48
				s.want("smeared", wire.WallNTP, 1100*time.Millisecond)
			}
		}},
		{"an answer that took too long", truth, since1970, func(s *script) {
			if s.answer(11*time.Second, 0) {
				t.Error("it is used")
			}
			s.want("nothing", wire.WallNone, 0)
		}},
		{"an answer to a hello that was never sent", truth, since1970, func(s *script) {
			for _, sent := range []time.Duration{-time.Second, s.c.Mono() + time.Second} {
				if s.c.FromCentre(s.now(), sent, s.c.Mono()) {
					t.Errorf("sent at %v: it is used", sent)
				}
			}
		}},
		{"a centre whose clock is in 1970", truth, since1970, func(s *script) {
			s.answer(100*time.Millisecond, since1970)
			s.want("not believed", wire.WallNone, 0)
		}},
		{"a centre whose clock is put right", truth, since1970, func(s *script) {
			s.answer(100*time.Millisecond, 3*hour)
			s.answer(200*time.Millisecond, 0)
			s.want("its newest word", wire.WallCentre, 102*time.Millisecond)
		}},
		{"a slow answer after a fast one", truth, since1970, func(s *script) {
			s.answer(20*time.Millisecond, 0)
			s.answer(8*time.Second, 0)
			s.want("the fast one is kept", wire.WallCentre, 20*time.Millisecond)
		}},
		{"the source goes away", truth, since1970, func(s *script) {
			s.receive(time.Minute, 0)
			s.wait(24 * hour)
			s.want("100 ppm of a day", wire.WallGNSS, 10*time.Second)
			if w := s.c.Wall(); w.Uncertainty < 9*time.Second {
				t.Errorf("±%v after a day without a source: want 8.64 s more than at first", w.Uncertainty)
			}
		}},
		{"a cut between two clocks", truth, since1970, func(s *script) {
			s.receive(time.Minute, 0)
			passed, ok := s.c.Passed()
			if !ok || passed.After(s.now()) {
				t.Errorf("stored %v, %v: want a time before %v", passed, ok, s.now())
			}
			s.boot()
			s.c.RaiseEarliest(passed)
			s.want("nothing", wire.WallNone, 0)
			s.receive(5*time.Second, -hour)
			s.want("a receiver before what was stored", wire.WallNone, 0)
			s.answer(100*time.Millisecond, 0)
			s.want("the centre", wire.WallCentre, 52*time.Millisecond)
		}},
		{"a lie that was stored", truth, since1970, func(s *script) {
			s.c.RaiseEarliest(s.now().Add(5 * 365 * 24 * hour))
			s.receive(5*time.Second, 0)
			s.want("the truth is before it", wire.WallNone, 0)
			s.answer(100*time.Millisecond, 0)
			s.receive(5*time.Second, 0)
			if _, ok := s.c.Date(s.c.Mono(), s.now()); !ok {
				t.Error("the receiver is not believed after the centre's word")
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) { play(t, c.truth, c.system, func(s *script) { s.t = t; c.f(s) }) })
	}
}
