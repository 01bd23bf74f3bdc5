package supervise_test

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/fengsui/fengsui/cloud-bridge/store"
	"github.com/fengsui/fengsui/cloud-bridge/supervise"
)

var begin = time.Date(2026, 11, 23, 3, 0, 0, 0, time.UTC)

// A world is a district whose devices say hello every half minute.
type world struct {
	s     *supervise.Supervisor
	signs []store.Sign
	now   time.Time
	next  []time.Time // hellos
	mute  []bool
	down  bool // the broker
	full  bool // the disk

	links    map[string]store.Link
	offline  []string // in the order in which they were told
	toldAt   map[string]time.Time
	quiet    map[string]time.Duration // for how long it was silent then
	district []store.DistrictChange
}

func newWorld(boxes, cars int) *world {
	w := &world{now: begin, links: make(map[string]store.Link), toldAt: make(map[string]time.Time), quiet: make(map[string]time.Duration)}
	for i := range boxes + cars {
		d := store.Sign{Device: fmt.Sprintf("box-%04d", i), Kind: store.AlarmBox}
		if i >= boxes { // their ids come first
			d = store.Sign{Device: fmt.Sprintf("a-car-%04d", i), Kind: store.PatrolCar}
		}
		w.signs = append(w.signs, d)
		w.next = append(w.next, begin.Add(time.Duration(i%30)*time.Second))
		w.mute = append(w.mute, false)
	}
	w.restart()
	return w
}

// restart is a start of the centre.
func (w *world) restart() {
	district := len(w.district) > 0 && w.district[len(w.district)-1].Lost
	w.s = supervise.New(supervise.DefaultLimits(), w.now, w.signs, district)
}

// run lets time pass, second by second.
func (w *world) run(d time.Duration) {
	every := supervise.DefaultLimits().Every
	for end := w.now.Add(d); w.now.Before(end); w.now = w.now.Add(time.Second) {
		for i := range w.signs {
			if w.next[i].After(w.now) {
				continue
			}
			w.next[i] = w.now.Add(30 * time.Second)
			if !w.mute[i] && !w.down && !w.full {
				w.signs[i].Alive = w.now
			}
		}
		if w.now.Sub(begin)%every != 0 {
			continue
		}
		hearing := supervise.Hears
		switch {
		case w.down:
			hearing = supervise.NoBroker
		case w.full:
			hearing = supervise.NoStore
		}
		out := w.s.Judge(w.now, w.signs, hearing)
		for _, c := range out.Links {
			w.links[c.Device] = c.Link
			for i := range w.signs {
				if w.signs[i].Device == c.Device {
					w.signs[i].Link, w.signs[i].LinkSince = c.Link, c.Since
					if c.Link == store.LinkOffline {
						w.quiet[c.Device] = w.now.Sub(w.signs[i].Alive)
					}
				}
			}
			if c.Link == store.LinkOffline {
				w.offline = append(w.offline, c.Device)
				w.toldAt[c.Device] = w.now
			}
		}
		if out.District != nil {
			w.district = append(w.district, *out.District)
		}
	}
}

func TestOneDeviceFallsSilent(t *testing.T) {
	w := newWorld(20, 5)
	w.run(10 * time.Minute)
	cut := w.now
	w.mute[3], w.mute[22] = true, true // a box and a car, whose id comes first
	for w.now.Sub(w.signs[3].Alive) < 64*time.Second {
		w.run(time.Second)
	}
	if w.links["box-0003"] != store.LinkSuspect {
		t.Errorf("after a minute: %v", w.links["box-0003"])
	}
	w.run(92*time.Second - w.now.Sub(cut))
	if len(w.offline) != 2 || len(w.district) != 0 {
		t.Fatalf("offline %v, district %v: want the two", w.offline, w.district)
	}
	for _, id := range w.offline {
		if late := w.toldAt[id].Sub(cut); late > 90*time.Second {
			t.Errorf("%s told after %v: want 90 s at most", id, late)
		}
	}
	w.mute[3] = false
	w.run(32 * time.Second)
	if w.links["box-0003"] != store.LinkLive || w.links["a-car-0022"] != store.LinkOffline {
		t.Errorf("back: %v, %v", w.links["box-0003"], w.links["a-car-0022"])
	}
	w.run(time.Hour)
	if len(w.offline) != 2 {
		t.Errorf("offline %v: the car is told once", w.offline)
	}
}

func TestBoxesBeforeCars(t *testing.T) {
	w := newWorld(30, 30)
	w.run(5 * time.Minute)
	w.next[0], w.next[40] = w.now, w.now // the same last sign of life
	w.run(time.Second)
	w.mute[0], w.mute[40] = true, true
	w.run(2 * time.Minute)
	if fmt.Sprint(w.offline) != "[box-0000 a-car-0040]" {
		t.Errorf("offline %v: want the box first", w.offline)
	}
}

// What was never heard is not missed.
func TestNeverHeard(t *testing.T) {
	w := newWorld(10, 0)
	w.mute[7] = true
	w.run(time.Hour)
	if w.links["box-0007"] != store.LinkNever && w.links["box-0007"] != "" || len(w.offline) != 0 {
		t.Errorf("%v, offline %v", w.links["box-0007"], w.offline)
	}
}

// A thousand devices, and not one false alarm: over a start of the centre, and
// over a time without the broker, for which one trouble stands.
func TestTheCentresOwnSilence(t *testing.T) {
	w := newWorld(900, 100)
	w.run(5 * time.Minute)
	w.now = w.now.Add(20 * time.Minute) // the centre is off
	w.restart()
	w.run(10 * time.Minute)
	if len(w.offline) != 0 || len(w.district) != 0 {
		t.Fatalf("after a start: %d offline, district %v", len(w.offline), w.district)
	}
	w.down = true
	w.run(10 * time.Minute)
	if len(w.offline) != 0 || len(w.district) != 1 || !w.district[0].Lost {
		t.Fatalf("without the broker: %d offline, district %v", len(w.offline), w.district)
	}
	if w.links["box-0005"] != store.LinkUnsure {
		t.Errorf("a device without the broker is %v", w.links["box-0005"])
	}
	w.restart() // the centre forgets nothing of it
	w.run(2 * time.Minute)
	w.down = false
	w.mute[5], w.mute[950] = true, true
	w.run(10 * time.Minute)
	if len(w.district) != 2 || w.district[1].Lost {
		t.Errorf("district %v: want it back", w.district)
	}
	if fmt.Sprint(w.offline) != "[box-0005 a-car-0950]" && fmt.Sprint(w.offline) != "[a-car-0950 box-0005]" {
		t.Errorf("offline %v: want those that stayed silent", w.offline)
	}
}

// What the centre cannot store it has not heard; the desk has that trouble from
// elsewhere.
func TestAFullDisk(t *testing.T) {
	w := newWorld(900, 100)
	w.run(5 * time.Minute)
	w.full = true
	w.run(30 * time.Minute)
	if w.links["box-0005"] != store.LinkUnsure {
		t.Errorf("a device while nothing can be stored is %v", w.links["box-0005"])
	}
	w.full = false
	w.mute[5] = true
	w.run(10 * time.Minute)
	if fmt.Sprint(w.offline) != "[box-0005]" || len(w.district) != 0 {
		t.Errorf("offline %v, district %v: want only the one that stayed silent", w.offline, w.district)
	}
}

// The centre's clock is set, or it stands still for a while: no device is at
// fault, and those that are silent then are told all the same.
func TestTheCentresClock(t *testing.T) {
	for what, step := range map[string]time.Duration{
		"an hour ahead": time.Hour, "an hour back": -time.Hour, "a minute of standstill": time.Minute, "two minutes back": -2 * time.Minute,
	} {
		w := newWorld(90, 10)
		w.run(5 * time.Minute)
		w.mute[5] = true
		w.now = w.now.Add(step)
		for i := range w.next {
			w.next[i] = w.next[i].Add(step)
		}
		w.run(10 * time.Minute)
		if fmt.Sprint(w.offline) != "[box-0005]" || len(w.district) != 0 {
			t.Errorf("%s: offline %v, district %v: want only the one that stayed silent", what, w.offline, w.district)
		}
	}
}

// Three of three that fall silent within their pause are one trouble, at
// whatever moments they said hello before.
func TestTheLeastDistrict(t *testing.T) {
	for spread := range 30 {
		w := newWorld(3, 0)
		w.next[1], w.next[2] = begin.Add(time.Duration(spread)*time.Second), begin.Add(29*time.Second)
		w.run(5 * time.Minute)
		for i := range w.mute {
			w.mute[i] = true
		}
		w.run(5 * time.Minute)
		if len(w.offline) != 0 || len(w.district) != 1 {
			t.Errorf("%d s apart: offline %v, district %v: want one trouble", spread, w.offline, w.district)
		}
	}
}

func TestLimits(t *testing.T) {
	good := supervise.DefaultLimits()
	if err := good.Validate(); err != nil || good.Offline+good.Every > 90*time.Second || good.Grace < 90*time.Second {
		t.Errorf("%+v: %v", good, err)
	}
	for want, spoil := range map[string]func(*supervise.Limits){
		"every 0s":     func(l *supervise.Limits) { l.Every = 0 },
		"suspect 1s":   func(l *supervise.Limits) { l.Suspect = time.Second },
		"offline 1m0s": func(l *supervise.Limits) { l.Offline = time.Minute },
		"grace 10s":    func(l *supervise.Limits) { l.Grace = 10 * time.Second },
		"least 0":      func(l *supervise.Limits) { l.Least = 0 },
		"share 0:":     func(l *supervise.Limits) { l.Share = 0 },
		"share 1.5":    func(l *supervise.Limits) { l.Share = 1.5 },
		"share NaN":    func(l *supervise.Limits) { l.Share = math.NaN() },
	} {
		l := good
		spoil(&l)
		if err := l.Validate(); !errors.Is(err, supervise.ErrLimits) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: want ErrLimits that says %q", err, want)
		}
	}
}

// A third of the devices fall silent together: one trouble, and the rest of them
// one by one when the others are back.
func TestADistrictLink(t *testing.T) {
	w := newWorld(60, 0)
	w.run(5 * time.Minute)
	for i := range 20 {
		w.mute[i] = true
	}
	w.run(5 * time.Minute)
	if len(w.offline) != 0 || len(w.district) != 1 || w.district[0].Silent != 20 || w.district[0].Of != 60 {
		t.Fatalf("%d offline, district %+v", len(w.offline), w.district)
	}
	for i := range 18 {
		w.mute[i] = false
	}
	w.run(5 * time.Minute)
	if len(w.district) != 2 || w.district[1].Lost || len(w.offline) != 2 {
		t.Errorf("offline %v, district %+v: want two, one by one", w.offline, w.district)
	}
}

// Whatever happens: no device is told offline that spoke within the last 80 s,
// none while the broker is away or in a grace, and one that is silent for ten
// minutes with everything else in order is told, by itself or with the district.
func TestAnyHistory(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(rapid.IntRange(1, 30).Draw(t, "boxes"), rapid.IntRange(0, 5).Draw(t, "cars"))
		w.run(3 * time.Minute)
		since, away := begin, begin // when the centre began to listen, and when the broker went
		for range rapid.IntRange(1, 12).Draw(t, "steps") {
			switch rapid.IntRange(0, 4).Draw(t, "what") {
			case 0, 1:
				i := rapid.IntRange(0, len(w.mute)-1).Draw(t, "device")
				w.mute[i] = !w.mute[i]
			case 2:
				w.down = !w.down
				if w.down {
					away = w.now
				} else if w.now.Sub(away) >= supervise.DefaultLimits().Every { // a shorter one it need not see
					since = w.now
				}
			case 3:
				w.now = w.now.Add(time.Duration(rapid.IntRange(0, 600).Draw(t, "off")) * time.Second).Truncate(2 * time.Second)
				since = w.now
				w.restart()
			case 4:
				mute := rapid.Bool().Draw(t, "mute")
				for i := range w.mute {
					w.mute[i] = mute
				}
			}
			told := len(w.offline)
			w.run(time.Duration(rapid.IntRange(1, 200).Draw(t, "seconds")) * time.Second)
			for _, id := range w.offline[told:] {
				if w.down || w.quiet[id] < 80*time.Second || w.toldAt[id].Sub(since) < 118*time.Second {
					t.Fatalf("%s told at %v, silent for %v, the centre listens since %v", id, w.toldAt[id], w.quiet[id], since)
				}
			}
		}
		w.down = false
		w.run(10 * time.Minute)
		lost := len(w.district) > 0 && w.district[len(w.district)-1].Lost
		for i, d := range w.signs {
			if w.mute[i] && !d.Alive.IsZero() && w.links[d.Device] != store.LinkOffline && !lost {
				t.Fatalf("%s is silent since %v and %v", d.Device, d.Alive, w.links[d.Device])
			}
			if !w.mute[i] && w.links[d.Device] != store.LinkLive {
				t.Fatalf("%s speaks and is %v", d.Device, w.links[d.Device])
			}
		}
	})
}
