package clocks_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/fengsui/fengsui/firmware/gps/gpstest"
	"github.com/fengsui/fengsui/firmware/wire"
	"github.com/fengsui/fengsui/sim/torture"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

const (
	ms    = time.Millisecond
	sec   = time.Second
	day   = 24 * time.Hour
	cycle = 1024 * 7 * day
)

// Each case says what happens, and how the desk must show each press: whose
// time it is, how certain at least, and whether it is not what the box said.
func TestWrongClocks(t *testing.T) {
	in2080 := time.Date(2080, 1, 1, 0, 0, 0, 0, time.UTC).Sub(noon)
	for _, c := range []struct {
		name  string
		truth time.Time
		play  func(*world)
		want  []press
	}{
		{"boot in 1970 without a link, then the centre", noon, func(w *world) {
			w.press()
			time.Sleep(10 * time.Minute)
			w.press()
			w.link(true)
			time.Sleep(2 * time.Minute)
			w.press()
		}, []press{{wire.WallCentre, sec, true}, {wire.WallCentre, sec, true}, {wire.WallCentre, sec, false}}},
		{"boot in 2080 without a link, then a receiver", noon, func(w *world) {
			w.set(in2080, false)
			w.press()
			w.drive(time.Minute, 0)
			w.press()
		}, []press{{wire.WallCentre, sec, true}, {wire.WallGNSS, 1100 * ms, false}}},
		{"boot in 2080 and a receiver that is there at once", noon, func(w *world) {
			w.set(in2080, false)
			w.drive(time.Minute, 0)
			w.press()
		}, []press{{wire.WallGNSS, 1100 * ms, false}}},
		{"a receiver whose week count rolled over", noon, func(w *world) {
			w.drive(time.Minute, -cycle)
			w.press()
		}, []press{{wire.WallGNSS, 1100 * ms, false}}},
		{"a week count that rolls over in the midst of a drive", noon, func(w *world) {
			w.drive(time.Minute, 0)
			w.press()
			w.drive(time.Minute, -cycle)
			w.press()
		}, []press{{wire.WallGNSS, 1100 * ms, false}, {wire.WallGNSS, 1100 * ms, false}}},
		{"the system's clock is an hour ahead from the midst of a boot on", noon, func(w *world) {
			w.set(0, true)
			w.press()
			w.set(time.Hour, true)
			time.Sleep(5 * time.Minute)
			w.press()
			w.link(true)
			time.Sleep(time.Hour)
			w.press()
		}, []press{{wire.WallNTP, 20 * ms, false}, {wire.WallNTP, 100 * ms, false}, {wire.WallCentre, sec, false}}},
		{"the system's clock is an hour behind from the midst of a boot on, and a receiver is there", noon, func(w *world) {
			w.set(0, true)
			w.drive(time.Minute, 0)
			w.press()
			w.set(-time.Hour, true)
			w.drive(time.Minute, 0)
			w.press()
		}, []press{{wire.WallNTP, 20 * ms, false}, {wire.WallNTP, 100 * ms, false}}},
		{"the system's clock was an hour ahead all the time", noon, func(w *world) {
			w.set(time.Hour, true)
			w.press()
			w.link(true)
			time.Sleep(2 * time.Minute)
			w.press()
		}, []press{{wire.WallCentre, sec, true}, {wire.WallCentre, sec, false}}},
		{"somebody sets the clock an hour back", noon, func(w *world) {
			w.set(0, true)
			w.press()
			w.set(-time.Hour, false)
			time.Sleep(10 * time.Minute)
			w.press()
		}, []press{{wire.WallNTP, 20 * ms, false}, {wire.WallNTP, 100 * ms, false}}},
		{"a leap second that the receiver tells", time.Date(2026, 12, 31, 23, 58, 30, 0, time.UTC), func(w *world) {
			w.drive(90*sec, 0)
			w.press()
			// 23:59:60, then a second behind the clock that does not know of it.
			n := time.Since(w.start).Seconds()
			leap := gpstest.Sentences(time.Date(2026, 12, 31, 23, 59, 59, 0, time.UTC), gpstest.Point{Lat: 30 + n*1e-4, Lon: 103}, 11, 0)
			w.say(sixty(leap))
			time.Sleep(sec)
			w.drive(time.Minute, -sec)
			w.press()
		}, []press{{wire.WallGNSS, 1100 * ms, false}, {wire.WallGNSS, 1100 * ms, false}}},
		{"a leap second that the system's clock steps, and the centre's does not", time.Date(2026, 12, 31, 23, 59, 0, 0, time.UTC), func(w *world) {
			w.set(0, true)
			w.press()
			time.Sleep(59 * sec)
			w.set(-sec, true)
			w.press()
			w.link(true)
			time.Sleep(time.Minute)
			w.press()
		}, []press{{wire.WallNTP, 1100 * ms, false}, {wire.WallNTP, 1100 * ms, false}, {wire.WallCentre, sec, false}}},
		{"a cut between two clocks", noon, func(w *world) {
			w.link(true)
			w.drive(time.Minute, 0)
			w.press()
			w.link(false)
			w.cut(5 * time.Minute)
			w.press()
			time.Sleep(10 * time.Minute)
			w.link(true)
			time.Sleep(2 * time.Minute)
			w.press()
		}, []press{{wire.WallCentre, sec, false}, {wire.WallCentre, sec, true}, {wire.WallCentre, sec, false}}},
		{"a boot that never had a clock between two that had", noon, func(w *world) {
			w.link(true)
			w.drive(time.Minute, 0)
			w.press()
			w.link(false)
			w.cut(time.Minute)
			w.press()
			w.cut(4 * time.Minute)
			w.press()
		}, []press{{wire.WallCentre, sec, false}, {wire.WallCentre, 3 * time.Minute, true}, {wire.WallCentre, sec, true}}},
		{"a receiver behind the time that was stored before a cut", noon, func(w *world) {
			w.drive(2*time.Minute, 0)
			w.cut(time.Minute)
			w.drive(time.Minute, -10*time.Minute)
			w.press()
			w.link(true)
			w.drive(time.Minute, -10*time.Minute)
		}, []press{{wire.WallCentre, sec, true}}},
		{"a receiver 1,024 weeks behind after a cut", noon, func(w *world) {
			w.drive(2*time.Minute, 0)
			w.cut(time.Minute)
			w.drive(time.Minute, -cycle)
			w.press()
		}, []press{{wire.WallGNSS, 1100 * ms, false}}},
		{"a receiver that jumps by a day", noon, func(w *world) {
			w.drive(time.Minute, 0)
			w.press()
			w.drive(5*time.Minute, day)
			w.press()
			w.drive(time.Minute, 0)
			w.press()
		}, []press{{wire.WallGNSS, 1100 * ms, false}, {wire.WallGNSS, 1200 * ms, false}, {wire.WallGNSS, 1100 * ms, false}}},
		{"a receiver that lies from the start, and the centre", noon, func(w *world) {
			w.drive(time.Minute, 100*day)
			w.press()
			w.link(true)
			w.drive(2*time.Minute, 100*day)
			w.press()
		}, []press{{wire.WallCentre, sec, true}, {wire.WallCentre, sec, false}}},
		{"a receiver an hour behind from the start, and the centre", noon, func(w *world) {
			w.drive(time.Minute, -time.Hour)
			w.press()
			w.link(true)
			w.drive(2*time.Minute, -time.Hour)
			w.press()
		}, []press{{wire.WallCentre, sec, true}, {wire.WallCentre, sec, false}}},
		{"a slow link: half the round trip is the uncertainty", noon, func(w *world) {
			w.mu.Lock()
			w.way = 4 * sec
			w.mu.Unlock()
			w.link(true)
			time.Sleep(2 * time.Minute)
			w.press()
		}, []press{{wire.WallCentre, 2100 * ms, false}}},
		{"answers that come too late are no clock, and a hello is one", noon, func(w *world) {
			w.mu.Lock()
			w.way = 12 * sec
			w.mu.Unlock()
			w.link(true)
			time.Sleep(2 * time.Minute)
			w.press()
			time.Sleep(time.Minute)
		}, []press{{wire.WallCentre, 21 * sec, true}}},
	} {
		t.Run(c.name, func(t *testing.T) { script(t, c.truth, built, c.play, c.want...) })
	}
}

// sixty makes the second of sentences a leap second.
func sixty(sentences string) string {
	var out strings.Builder
	for _, s := range strings.SplitAfter(sentences, "\r\n") {
		if body, _, ok := strings.Cut(strings.TrimPrefix(s, "$"), "*"); ok {
			out.WriteString(sealed(strings.ReplaceAll(body, "235959.00", "235960.00")))
		}
	}
	return out.String()
}

// sealed makes a sentence of its body.
func sealed(body string) string {
	var sum byte
	for i := range len(body) {
		sum ^= body[i]
	}
	return fmt.Sprintf("$%s*%02X\r\n", body, sum)
}

// The log of a real receiver that the rollover of April 2019 struck: one usable
// fix, of August 1999. One is not believed; when it goes on like that, it is,
// in April 2019.
func TestTheReceiverOfApril2019(t *testing.T) {
	const log = "../../../../shared/nmea/april6_2019.log"
	raw, err := os.ReadFile(log)
	torture.Need(t, err == nil, "the log "+log+" is not there")
	var lines []string
	for l := range strings.Lines(string(raw)) {
		if strings.HasPrefix(l, "$") {
			lines = append(lines, l)
		}
	}
	truth := time.Date(2019, 4, 7, 0, 2, 31, 0, time.UTC)
	script(t, truth, time.Date(2019, 3, 1, 0, 0, 0, 0, time.UTC), func(w *world) {
		w.elsewhere = true
		w.say(strings.Join(lines, ""))
		w.press()
		last, _, _ := strings.Cut(strings.TrimPrefix(lines[len(lines)-1], "$"), "*")
		for range 10 {
			now := time.Now().UTC().Format("150405.00")
			w.say(sealed(strings.Replace(last, "000231.42", now, 1)))
			time.Sleep(sec)
		}
		w.press()
	}, press{wire.WallCentre, sec, true}, press{wire.WallGNSS, 1100 * ms, false})
}

// Without what this is about the rig must find something.
func TestMutants(t *testing.T) {
	torture.Mutate(t, "clock-follows", "TestWrongClocks$/^a_receiver_that_jumps_by_a_day")
	torture.Mutate(t, "correction-off", "TestWrongClocks$/^a_cut_between_two_clocks")
}
