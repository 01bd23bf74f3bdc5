package ledger_test

import (
	"strings"
	"testing"
	"time"

	"github.com/fengsui/fengsui/sim/ledger"
)

const (
	ms  = time.Millisecond
	sec = time.Second
)

// judge takes everything into account, for devices that can reach the desk.
func judge() ledger.Judge {
	return ledger.Judge{
		Until:     1 << 62,
		Track:     func(string) ledger.Policy { return ledger.Policy{Batch: 5, Still: 30 * sec} },
		Reachable: func(device string) bool { return device != "far" },
	}
}

func run(device string, began, ended time.Duration, boot uint64) ledger.Run {
	return ledger.Run{Device: device, Stream: "s", Boot: boot, Began: began, Ended: ended}
}

func press(device string, at, lasts time.Duration) ledger.Press {
	return ledger.Press{Device: device, Button: "panic", At: at, Rest: at, Released: at + lasts}
}

var seq uint64

// alarm is the event of a press that was captured at mono after the boot.
func alarm(device string, boot uint64, mono time.Duration) ledger.Event {
	seq++
	return ledger.Event{Device: device, Stream: "s", Lane: "alarm", Seq: seq, Boot: boot, Mono: mono, Type: "alarm_raised", Button: "panic"}
}

func duty(kind string, mono time.Duration) ledger.Event {
	e := alarm("b", 1, mono)
	e.Type, e.Lane, e.Button = kind, "duty", ""
	return e
}

func TestPresses(t *testing.T) {
	twice := alarm("b", 1, 5*sec)
	for name, c := range map[string]struct {
		e      ledger.Entries
		events []ledger.Event
		want   ledger.Counts
	}{
		"stored": {
			ledger.Entries{Runs: []ledger.Run{run("b", 10*sec, 0, 1)}, Presses: []ledger.Press{press("b", 15*sec, 200*ms)}},
			[]ledger.Event{alarm("b", 1, 5*sec+25*ms)},
			ledger.Counts{Captured: 1, Stored: 1},
		},
		"lost": {
			ledger.Entries{Runs: []ledger.Run{run("b", 10*sec, 0, 1)}, Presses: []ledger.Press{press("b", 15*sec, 200*ms)}},
			nil,
			ledger.Counts{Captured: 1, Lost: 1},
		},
		"waits behind a cut link": {
			ledger.Entries{Runs: []ledger.Run{run("far", 10*sec, 0, 1)}, Presses: []ledger.Press{press("far", 15*sec, 200*ms)}},
			nil,
			ledger.Counts{Captured: 1, Waiting: 1},
		},
		"two events for one press": {
			ledger.Entries{Runs: []ledger.Run{run("b", 10*sec, 0, 1)}, Presses: []ledger.Press{press("b", 15*sec, 200*ms)}},
			[]ledger.Event{alarm("b", 1, 5*sec+25*ms), alarm("b", 1, 5*sec+40*ms)},
			ledger.Counts{Captured: 1, Stored: 1, Duplicated: 1},
		},
		"one lost and another twice do not cancel out": {
			ledger.Entries{Runs: []ledger.Run{run("b", 10*sec, 0, 1)}, Presses: []ledger.Press{press("b", 15*sec, 200*ms), press("b", 25*sec, 200*ms)}},
			[]ledger.Event{alarm("b", 1, 5*sec+25*ms), alarm("b", 1, 5*sec+40*ms)},
			ledger.Counts{Captured: 2, Stored: 1, Lost: 1, Duplicated: 1},
		},
		"the same row twice": {
			ledger.Entries{Runs: []ledger.Run{run("b", 10*sec, 0, 1)}, Presses: []ledger.Press{press("b", 15*sec, 200*ms)}},
			[]ledger.Event{twice, twice},
			ledger.Counts{Captured: 1, Stored: 1},
		},
		"out of nothing": {
			ledger.Entries{Runs: []ledger.Run{run("b", 10*sec, 0, 1)}},
			[]ledger.Event{alarm("b", 1, 5*sec)},
			ledger.Counts{Duplicated: 1},
		},
		"another button's": {
			ledger.Entries{Runs: []ledger.Run{run("b", 10*sec, 0, 1)}, Presses: []ledger.Press{{Device: "b", Button: "fire", At: 15 * sec, Rest: 15 * sec}}},
			[]ledger.Event{alarm("b", 1, 5*sec)},
			ledger.Counts{Captured: 1, Lost: 1, Duplicated: 1},
		},
		"too short to owe": {
			ledger.Entries{Runs: []ledger.Run{run("b", 10*sec, 0, 1)}, Presses: []ledger.Press{press("b", 15*sec, 30*ms), press("b", 20*sec, 30*ms)}},
			[]ledger.Event{alarm("b", 1, 5*sec+25*ms)},
			ledger.Counts{Uncertain: 2},
		},
		"cut off by a power failure": {
			ledger.Entries{Runs: []ledger.Run{run("b", 10*sec, 15*sec+100*ms, 1), run("b", 20*sec, 0, 2)}, Presses: []ledger.Press{press("b", 15*sec, 200*ms)}},
			nil,
			ledger.Counts{Uncertain: 1},
		},
		"stored before the power failed": {
			ledger.Entries{Runs: []ledger.Run{run("b", 10*sec, 15*sec+300*ms, 1), run("b", 20*sec, 0, 2)}, Presses: []ledger.Press{press("b", 15*sec, 200*ms)}},
			[]ledger.Event{alarm("b", 1, 5*sec+25*ms)},
			ledger.Counts{Captured: 1, Stored: 1},
		},
		"without power nothing is owed, and an event is out of nothing": {
			ledger.Entries{Runs: []ledger.Run{run("b", 10*sec, 12*sec, 1), run("b", 20*sec, 0, 2)}, Presses: []ledger.Press{press("b", 15*sec, 200*ms)}},
			[]ledger.Event{alarm("b", 2, 4*sec)},
			ledger.Counts{Duplicated: 1},
		},
		"held while the power comes back": {
			ledger.Entries{Runs: []ledger.Run{run("b", 20*sec, 0, 2)}, Presses: []ledger.Press{press("b", 15*sec, 10*sec)}},
			nil,
			ledger.Counts{Uncertain: 1},
		},
		"just after the start": {
			ledger.Entries{Runs: []ledger.Run{run("b", 10*sec, 0, 1)}, Presses: []ledger.Press{press("b", 10*sec+100*ms, 200*ms)}},
			nil,
			ledger.Counts{Uncertain: 1},
		},
		"a run that nobody knows": {
			ledger.Entries{Runs: []ledger.Run{run("b", 10*sec, 0, 1)}},
			[]ledger.Event{alarm("b", 7, 5*sec)},
			ledger.Counts{},
		},
	} {
		got := ledger.Reconcile(c.e, c.events, judge())
		if got.Presses != c.want {
			t.Errorf("%s:\n got %+v\nwant %+v\n%v", name, got.Presses, c.want, got.Findings)
		}
		if bad := c.want.Lost+c.want.Duplicated > 0; bad == got.Presses.Holds() || bad && len(got.Findings) == 0 {
			t.Errorf("%s: holds %v, findings %v", name, got.Presses.Holds(), got.Findings)
		}
	}
}

func TestTheSameRowTwiceIsTold(t *testing.T) {
	e := alarm("b", 1, 5*sec)
	a := ledger.Reconcile(ledger.Entries{Runs: []ledger.Run{run("b", 10*sec, 0, 1)}, Presses: []ledger.Press{press("b", 15*sec, 200*ms)}}, []ledger.Event{e, e}, judge())
	if a.Duplicated != 1 || !strings.Contains(strings.Join(a.Findings, ""), "is stored twice") {
		t.Errorf("got %+v", a)
	}
}

func TestWhatComesLaterExplainsButDoesNotCount(t *testing.T) {
	j := judge()
	j.Until = 20 * sec
	a := ledger.Reconcile(ledger.Entries{
		Runs:    []ledger.Run{run("b", 10*sec, 0, 1)},
		Presses: []ledger.Press{press("b", 15*sec, 200*ms), press("b", 25*sec, 200*ms), press("b", 30*sec, 200*ms)},
	}, []ledger.Event{alarm("b", 1, 5*sec), alarm("b", 1, 15*sec)}, j)
	if want := (ledger.Counts{Captured: 1, Stored: 1}); a.Counts != want {
		t.Errorf("got %+v, want %+v", a.Counts, want)
	}
}

func TestFingers(t *testing.T) {
	finger := func(at, lies time.Duration) ledger.Finger {
		return ledger.Finger{Device: "b", Slot: 1, At: at, Until: at + lies}
	}
	cleared := duty("alarm_cleared", 45*sec)
	cleared.By = "officer"
	byCentre := duty("alarm_cleared", 60*sec)
	byCentre.By = "centre"
	for name, c := range map[string]struct {
		fingers []ledger.Finger
		events  []ledger.Event
		want    ledger.Counts
	}{
		"on, off, refused, and a reset": {
			[]ledger.Finger{finger(15*sec, 700*ms), finger(25*sec, 700*ms), finger(35*sec, 700*ms), finger(54*sec, 700*ms)},
			[]ledger.Event{duty("sign_on", 5*sec+200*ms), duty("sign_off", 15*sec+200*ms), duty("sign_refused", 25*sec+200*ms), cleared, byCentre, duty("health", 70*sec)},
			ledger.Counts{Captured: 4, Stored: 4},
		},
		"relieved: two events, one finger": {
			[]ledger.Finger{finger(15*sec, 700*ms)},
			[]ledger.Event{duty("sign_off", 5*sec+200*ms), duty("sign_on", 5*sec+210*ms)},
			ledger.Counts{Captured: 1, Stored: 1},
		},
		"lost":          {[]ledger.Finger{finger(15*sec, 700*ms)}, nil, ledger.Counts{Captured: 1, Lost: 1}},
		"just a touch":  {[]ledger.Finger{finger(15*sec, 100*ms)}, nil, ledger.Counts{Uncertain: 1}},
		"nobody's":      {nil, []ledger.Event{duty("sign_on", 5*sec)}, ledger.Counts{Duplicated: 1}},
		"without power": {[]ledger.Finger{finger(5*sec, 700*ms)}, nil, ledger.Counts{}},
	} {
		e := ledger.Entries{Runs: []ledger.Run{run("b", 10*sec, 0, 1)}, Fingers: c.fingers}
		if got := ledger.Reconcile(e, c.events, judge()); got.Fingers != c.want {
			t.Errorf("%s: got %+v, want %+v: %v", name, got.Fingers, c.want, got.Findings)
		}
	}
}

func TestFixes(t *testing.T) {
	day := time.Date(2026, 11, 20, 6, 0, 0, 0, time.UTC)
	// fix is the i-th second's, x hundredths of a degree (about 1.1 km) to the north.
	fix := func(i int, x float64) ledger.Fix {
		return ledger.Fix{Device: "b", At: 20*sec + time.Duration(i)*sec, Time: day.Add(time.Duration(i) * sec), Lat: 30 + x/100, Lon: 103}
	}
	batch := func(fixes ...ledger.Fix) ledger.Event {
		e := duty("track_batch", 10*sec)
		e.Lane, e.Fixes = "track", fixes
		return e
	}
	moving := []ledger.Fix{fix(0, 0), fix(1, 1), fix(2, 2), fix(3, 3)}
	standing := []ledger.Fix{fix(0, 0), fix(1, 0), fix(2, 0.001), fix(20, 0)}
	for name, c := range map[string]struct {
		fixes  []ledger.Fix
		ended  time.Duration
		events []ledger.Event
		want   ledger.Counts
	}{
		"all stored":             {moving, 0, []ledger.Event{batch(moving[:2]...), batch(moving[2:]...)}, ledger.Counts{Captured: 4, Stored: 4}},
		"one lost while moving":  {moving, 0, []ledger.Event{batch(moving[0], moving[1], moving[3])}, ledger.Counts{Captured: 4, Stored: 3, Lost: 1}},
		"thinned while standing": {standing, 0, []ledger.Event{batch(standing[0])}, ledger.Counts{Captured: 4, Stored: 4, Thinned: 3}},
		"stood too long":         {[]ledger.Fix{fix(0, 0), fix(40, 0)}, 0, []ledger.Event{batch(fix(0, 0))}, ledger.Counts{Captured: 2, Stored: 1, Lost: 1}},
		"elsewhere":              {moving[:1], 0, []ledger.Event{batch(fix(0, 5))}, ledger.Counts{Captured: 1, Lost: 1}},
		"one fix twice":          {moving, 0, []ledger.Event{batch(moving...), batch(moving[3])}, ledger.Counts{Captured: 4, Stored: 4, Duplicated: 1}},
		"in memory at the cut":   {moving, 24 * sec, []ledger.Event{batch(moving[0])}, ledger.Counts{Uncertain: 4}},
		"before the agent is up": {[]ledger.Fix{{Device: "b", At: 11 * sec, Time: day}}, 0, nil, ledger.Counts{Uncertain: 1}},
		"a receiver at five a second": {
			[]ledger.Fix{fix(0, 0), {Device: "b", At: 20*sec + 200*ms, Time: day.Add(200 * ms), Lat: 30, Lon: 103}},
			0,
			[]ledger.Event{batch(fix(0, 0))},
			ledger.Counts{Captured: 2, Stored: 2, Thinned: 1},
		},
	} {
		e := ledger.Entries{Runs: []ledger.Run{run("b", 10*sec, c.ended, 1)}, Fixes: c.fixes}
		if got := ledger.Reconcile(e, c.events, judge()); got.Fixes != c.want {
			t.Errorf("%s: got %+v, want %+v: %v", name, got.Fixes, c.want, got.Findings)
		}
	}
}

func TestOutage(t *testing.T) {
	e := ledger.Entries{
		Runs: []ledger.Run{run("b", 10*sec, 50*sec, 1)},
		Links: []ledger.Link{
			{At: 1 * sec, Up: true},
			{Device: "b", At: 20 * sec},
			{Device: "c", At: 5 * sec},
			{Device: "b", At: 30 * sec, Up: true},
			{At: 40 * sec},
			{Device: "b", At: 42 * sec, Up: true},
			{At: 44 * sec, Up: true},
		},
	}
	for _, c := range []struct {
		from, to time.Duration
		want     bool
	}{{11 * sec, 12 * sec, false}, {19 * sec, 21 * sec, true}, {22 * sec, 23 * sec, true}, {22 * sec, 31 * sec, true}, {31 * sec, 32 * sec, false}, {39 * sec, 41 * sec, true}, {41 * sec, 41500 * ms, true}, {43 * sec, 43500 * ms, true}, {43 * sec, 45 * sec, true}, {45 * sec, 46 * sec, false}, {49 * sec, 51 * sec, true}, {5 * sec, 12 * sec, true}} {
		if got := e.Outage("b", c.from, c.to); got != c.want {
			t.Errorf("from %v to %v: %v, want %v", c.from, c.to, got, c.want)
		}
	}
}

func TestTheLedgerKeepsWhatItWasTold(t *testing.T) {
	l := ledger.New(10)
	for i := range time.Duration(50) {
		l.Pressed(ledger.Press{Device: "b", Button: "panic", At: i * sec})
		l.Released("b", "panic", i*sec+1)
		l.Released("b", "panic", i*sec+2) // once only
	}
	l.RunBegan(run("b", 1, 0, 1))
	l.RunEnded("b", 5)
	l.Laid(ledger.Finger{Device: "b", At: 1})
	l.Lifted("b", 2)
	l.Lifted("c", 3)
	e := l.Entries()
	if n := len(e.Presses); n < 10 || n > 20 || e.Presses[n-1].Released != 49*sec+1 {
		t.Errorf("%d presses, the last %+v", n, e.Presses[n-1])
	}
	if e.Runs[0].Ended != 5 || e.Fingers[0].Until != 2 {
		t.Errorf("got %+v", e)
	}
}
