package agent_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"periph.io/x/conn/v3/gpio"

	"github.com/fengsui/fengsui/firmware/fingerprint"
	"github.com/fengsui/fengsui/firmware/fingerprint/fingerprinttest"
	"github.com/fengsui/fengsui/firmware/fingers"
	"github.com/fengsui/fengsui/firmware/wire"
)

const withReader = `inputs: {test-key: {line: K, pull: none}}
fingerprint: {port: nothing, lockout: {after: 3, for: 30s, max: 2m}}
`

// atReader runs f with a box that has a reader, and sees that nothing was sent
// to the sensor that moves a template.
func atReader(t *testing.T, sensor fingerprinttest.Options, roster map[int]fingers.Finger, more string, f func(*world)) {
	t.Helper()
	dir := t.TempDir()
	if roster != nil {
		r, err := fingers.Open(dir, nil)
		if err != nil {
			t.Fatal(err)
		}
		for slot, finger := range roster {
			if err := r.Add(slot, finger); err != nil {
				t.Fatal(err)
			}
			sensor.Slots = append(sensor.Slots, slot)
		}
		r.Close()
	}
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, dir, more)
		w.sensor = fingerprinttest.New(sensor)
		w.power()
		time.Sleep(5 * time.Second)
		f(w)
		w.off()
		w.link(false)
		w.broker.Close()
		for _, op := range w.sensor.Instructions() {
			if !op.Allowed() || op >= fingerprint.OpLoadChar && op <= fingerprint.OpDownImage {
				t.Errorf("%v was sent", op)
			}
		}
		if got := w.lamps(); got != "----" {
			t.Errorf("lamps %s after the end", got)
		}
	})
}

// lay lays a finger for a second.
func (w *world) lay(finger int) {
	w.sensor.Lay(finger)
	time.Sleep(time.Second)
	w.sensor.Lift()
	time.Sleep(time.Second)
}

// duty returns in a word each what the centre has of fingers.
func (w *world) duty() (got []string) {
	for _, b := range bodies[wire.Body](w) {
		switch b := b.(type) {
		case *wire.SignOn:
			got = append(got, fmt.Sprint("on ", b.Officer))
		case *wire.SignOff:
			got = append(got, fmt.Sprint("off ", b.Officer))
		case *wire.SignRefused:
			got = append(got, b.Reason)
		case *wire.FingerChanged:
			s := fmt.Sprintf("%v %d %s %v by %s", b.Action, b.Slot, b.Officer, b.Role, b.By)
			if b.Duress {
				s += " duress"
			}
			got = append(got, s)
		}
	}
	return got
}

func (w *world) wantDuty(want ...string) {
	w.t.Helper()
	time.Sleep(2 * time.Second)
	if got := w.duty(); !slices.Equal(got, want) {
		w.t.Errorf("the centre has\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

var (
	technician = fingers.Finger{Officer: "P-0007", Role: fingers.Technician, By: fingers.ByLocal}
	officer    = fingers.Finger{Officer: "P-1001", Role: fingers.Officer, By: "P-0007"}
	duress     = fingers.Finger{Officer: "P-1001", Role: fingers.Officer, By: "P-0007", Duress: true}
)

// hand does what an enrolment asks for, with the fingers of a technician and
// of whoever is enrolled.
func (w *world) hand(allows, enrolled int) func(fingerprint.Progress) {
	return func(p fingerprint.Progress) {
		var f func()
		switch p.Step {
		case fingerprint.StepAuthorise:
			f = func() { w.sensor.Lay(allows) }
		case fingerprint.StepPlace, fingerprint.StepAgain:
			f = func() { w.sensor.Lay(enrolled) }
		case fingerprint.StepLift:
			f = w.sensor.Lift
		default:
			return
		}
		time.AfterFunc(time.Second, f)
	}
}

func TestEnrolOnTheRunningDevice(t *testing.T) {
	atReader(t, fingerprinttest.Options{}, nil, withReader, func(w *world) {
		f := w.a.Fingers()
		enrol := func(q fingers.Request, finger int) (int, error) {
			slot, err := f.Enrol(w.t.Context(), q, w.hand(40, finger))
			w.sensor.Lift()
			time.Sleep(time.Second)
			return slot, err
		}
		first := fingers.Request{Slot: fingers.AnySlot, Officer: "P-0007", Role: fingers.Technician}
		if _, err := enrol(first, 40); !errors.Is(err, fingers.ErrNobodyMay) {
			t.Fatalf("nobody is enrolled, the key is not turned: %v, want ErrNobodyMay", err)
		}
		w.set("K", gpio.Low)
		time.Sleep(time.Second)
		if slot, err := enrol(first, 40); err != nil || slot != 1 {
			t.Fatalf("slot %d, %v", slot, err)
		}
		w.set("K", gpio.High)
		time.Sleep(time.Second)
		if slot, err := enrol(fingers.Request{Slot: 9, Officer: "P-1001", Role: fingers.Officer}, 50); err != nil || slot != 9 {
			t.Fatalf("slot %d, %v", slot, err)
		}
		// One finger allows both of the officer's.
		if slot, err := enrol(fingers.Request{Slot: fingers.AnySlot, Officer: "P-1001", Role: fingers.Officer, Duress: true}, 51); err != nil || slot != 2 {
			t.Fatalf("slot %d, %v", slot, err)
		}
		if _, err := enrol(fingers.Request{Slot: 10, Officer: "P-1002", Role: fingers.Officer}, 50); !errors.Is(err, fingerprint.ErrEnrolled) {
			t.Errorf("a finger twice: %v, want ErrEnrolled", err)
		}
		w.lay(50)
		time.Sleep(4 * time.Minute) // the permit is over
		go w.lay(50)
		if err := f.Delete(w.t.Context(), 2, nil); !errors.Is(err, fingers.ErrNotAuthorised) {
			t.Errorf("with an officer's finger: %v, want ErrNotAuthorised", err)
		}
		if err := f.Delete(w.t.Context(), 2, w.hand(40, 0)); err != nil {
			t.Error(err)
		}
		w.sensor.Lift()
		list, err := f.List(w.t.Context())
		if err != nil || len(list.Fingers) != 2 || list.Fingers[9].Officer != "P-1001" || len(list.Nobodys)+len(list.Empty) != 0 {
			t.Errorf("%+v, %v", list, err)
		}
		w.wantDuty(
			"enrolled 1 P-0007 technician by test_key", "enrolled 9 P-1001 officer by P-0007", "enrolled 2 P-1001 officer by P-0007 duress",
			"on P-1001", "not_authorised", "deleted 2 P-1001 officer by P-0007 duress")
		w.off()
		w.power()
		time.Sleep(10 * time.Second)
		w.lay(50)
		w.wantDuty(
			"enrolled 1 P-0007 technician by test_key", "enrolled 9 P-1001 officer by P-0007", "enrolled 2 P-1001 officer by P-0007 duress",
			"on P-1001", "not_authorised", "deleted 2 P-1001 officer by P-0007 duress", "off P-1001")
	})
}

// What a presser, or whoever stands beside them, could tell the two by.
type outside struct {
	lamps  string
	light  fingerprint.Light
	status string
}

func (w *world) outside() outside {
	o := outside{lamps: w.lamps(), light: w.sensor.Light()}
	st := w.a.Status()
	st.Stream, st.Queue["duty"] = "", 0
	o.status = fmt.Sprint(st.Step, st.Officer, st.Faults, st.Queue)
	return o
}

// A duress finger looks like any other, to the moment, and its alarm reaches
// the centre, also after a power cut in between.
func TestDuressLooksLikeNothing(t *testing.T) {
	roster := map[int]fingers.Finger{1: technician, 5: officer, 6: duress}
	var seen [2][]outside
	for i, finger := range []int{5, 6} {
		atReader(t, fingerprinttest.Options{}, roster, withReader, func(w *world) {
			w.link(false)
			w.sensor.Lay(finger)
			for range 8 {
				time.Sleep(250 * time.Millisecond)
				seen[i] = append(seen[i], w.outside())
			}
			w.sensor.Lift()
			time.Sleep(3 * time.Second)
			w.off()
			w.power()
			time.Sleep(5 * time.Second)
			seen[i] = append(seen[i], w.outside())
			w.link(true)
			time.Sleep(30 * time.Second)
			seen[i] = append(seen[i], w.outside())
			raised := bodies[*wire.AlarmRaised](w)
			if finger == 5 {
				if len(raised) != 0 {
					t.Errorf("an ordinary finger raised %+v", raised)
				}
				return
			}
			if len(raised) != 1 || raised[0].Kind != wire.Duress || !raised[0].Silent || raised[0].Button != "duress" {
				t.Fatalf("raised %+v", raised)
			}
			if e := w.events[eventKey(wire.Alarm, 1)]; e.Officer != "P-1001" {
				t.Errorf("the alarm names %q, want the officer whose finger it is", e.Officer)
			}
			// Nothing of what the centre says of it shows, and no finger resets it.
			alarm := raised[0].Alarm
			w.down(&wire.Notice{Alarm: alarm, Rev: 1, State: wire.NoticeAcknowledged})
			time.Sleep(time.Second)
			w.down(&wire.Notice{Alarm: alarm, Rev: 2, State: wire.NoticeDispatched, Unit: "car-02"})
			time.Sleep(2 * time.Second)
			if got := w.outside(); got.lamps != "----" || strings.Contains(got.status, "unit") {
				t.Errorf("dispatched: %+v", got)
			}
			w.lay(6) // signs off, and asks again
			if raised = bodies[*wire.AlarmRaised](w); len(raised) != 2 || raised[1].Alarm != alarm || raised[1].Press != 2 {
				t.Errorf("again: %+v", raised)
			}
			w.press("P")
			w.lay(5) // resets what can be seen
			if c := bodies[*wire.AlarmCleared](w); len(c) != 1 || c[0].Alarm == alarm {
				t.Errorf("cleared %+v, want the pressed alarm alone", c)
			}
			w.down(&wire.Notice{Alarm: alarm, Rev: 3, State: wire.NoticeClosed})
			time.Sleep(2 * time.Second)
			if c := bodies[*wire.AlarmCleared](w); len(c) != 2 || c[1].Alarm != alarm || c[1].By != wire.ClearedByCentre {
				t.Errorf("cleared %+v", c)
			}
			var revs []uint64
			for _, b := range bodies[*wire.NoticeShown](w) {
				revs = append(revs, b.Rev)
			}
			if !slices.Equal(revs, []uint64{1, 2, 3}) {
				t.Errorf("the centre's notices are answered %v, want 1 2 3", revs)
			}
		})
	}
	for i := range seen[0] {
		if seen[0][i] != seen[1][i] {
			t.Errorf("look %d: %+v without, %+v under duress", i, seen[0][i], seen[1][i])
		}
	}
}

func TestLockout(t *testing.T) {
	roster := map[int]fingers.Finger{1: technician, 5: officer, 6: duress}
	atReader(t, fingerprinttest.Options{Slots: []int{30}}, roster, withReader, func(w *world) {
		told := []string{"enrolled 1", "enrolled 5", "enrolled 6"} // whose order is the map's
		since := func() []string { return w.duty()[len(told):] }
		want := func(when string, want ...string) {
			t.Helper()
			time.Sleep(2 * time.Second)
			if got := since(); !slices.Equal(got, want) {
				t.Errorf("%s: %q, want %q", when, got, want)
			}
		}
		w.lay(fingerprinttest.Stranger)
		w.lay(30) // a template that is nobody's
		w.lay(fingerprinttest.Smudge)
		w.lay(5) // a good one ends the count
		w.lay(fingerprinttest.Stranger)
		w.lay(fingerprinttest.Stranger)
		want("before", "no_match", "unknown_slot", "unreadable", "on P-1001", "no_match", "no_match")
		w.lay(fingerprinttest.Stranger)
		w.lay(5)
		want("locked", "no_match", "unknown_slot", "unreadable", "on P-1001", "no_match", "no_match", "no_match", "locked")
		if got := w.faults("fingerprint_locked"); !slices.Equal(got, []string{"fingerprint_locked true"}) {
			t.Errorf("faults %q", got)
		}
		if w.sensor.Light() != fingerprint.Lights()[fingerprint.SignalLocked] {
			t.Errorf("the ring shows %+v", w.sensor.Light())
		}
		w.lay(6) // looks like all others, and is heard
		if r := bodies[*wire.AlarmRaised](w); len(r) != 1 || r[0].Kind != wire.Duress {
			t.Errorf("under duress while locked: %+v", r)
		}
		time.Sleep(25 * time.Second)
		w.lay(5)
		if got := since(); got[len(got)-1] != "off P-1001" {
			t.Errorf("after 30 s: %q", got)
		}
		if got := w.faults("fingerprint_locked"); !slices.Equal(got, []string{"fingerprint_locked true", "fingerprint_locked false"}) {
			t.Errorf("faults %q", got)
		}
		// A power cut shortens no lock.
		for range 3 {
			w.lay(fingerprinttest.Stranger)
		}
		time.Sleep(20 * time.Second)
		w.off()
		w.power()
		time.Sleep(15 * time.Second)
		w.lay(5)
		time.Sleep(time.Second)
		if got := since(); got[len(got)-1] != "locked" {
			t.Errorf("after a power cut: %q, want it locked still", got)
		}
		time.Sleep(20 * time.Second)
		w.lay(5)
		time.Sleep(time.Second)
		if got := since(); got[len(got)-1] != "on P-1001" {
			t.Errorf("in the end: %q", got)
		}
	})
}

// A sensor that is unplugged, or has another speed or password, is a fault,
// and none once it is right again.
func TestReaderFaults(t *testing.T) {
	atReader(t, fingerprinttest.Options{Baud: 115200}, map[int]fingers.Finger{5: officer}, withReader, func(w *world) {
		time.Sleep(20 * time.Second)
		w.lay(5)
		codes := []string{"fingerprint_lost", "fingerprint_baud", "fingerprint_password", "fingerprint_replaced"}
		want := func(want ...string) {
			t.Helper()
			time.Sleep(time.Second)
			if got := w.faults(codes...); !slices.Equal(got, want) {
				t.Errorf("faults %q, want %q", got, want)
			}
		}
		want("fingerprint_lost true", "fingerprint_baud true", "fingerprint_lost false")
		w.wantDuty("enrolled 5 P-1001 officer by P-0007", "on P-1001")
		w.sensor.Plug(false)
		time.Sleep(time.Minute)
		w.sensor.Plug(true)
		time.Sleep(time.Minute)
		w.lay(5)
		w.wantDuty("enrolled 5 P-1001 officer by P-0007", "on P-1001", "off P-1001")
		was := []string{"fingerprint_lost true", "fingerprint_baud true", "fingerprint_lost false", "fingerprint_lost true", "fingerprint_lost false"}
		want(was...)
		own := w.sensor.Password()
		if own == 0 {
			t.Fatal("the sensor has no password")
		}
		// Another sensor, fresh from its box: it may know any finger as slot 5.
		w.sensor.SetPassword(0)
		w.sensor.Plug(false)
		time.Sleep(time.Second)
		w.sensor.Plug(true)
		time.Sleep(time.Minute)
		was = append(was, "fingerprint_lost true", "fingerprint_replaced true", "fingerprint_lost false")
		got := w.faults(codes...)
		slices.Sort(got[len(was)-2:])
		slices.Sort(was[len(was)-2:])
		if !slices.Equal(got, was) {
			t.Errorf("faults %q, want %q", got, was)
		}
		w.lay(5)
		w.wantDuty("enrolled 5 P-1001 officer by P-0007", "on P-1001", "off P-1001")
		if w.sensor.Password() != 0 {
			t.Error("another sensor was given our password")
		}
		w.sensor.SetPassword(own)
		time.Sleep(time.Minute)
		w.lay(5)
		w.wantDuty("enrolled 5 P-1001 officer by P-0007", "on P-1001", "off P-1001", "on P-1001")
	})
}

// An alarm box whose list of fingers is damaged is still an alarm box.
func TestADamagedRoster(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "fingers.json"), []byte(`{"fingers": {"1": {"officer": ""}}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, dir, withReader)
		w.sensor = fingerprinttest.New(fingerprinttest.Options{Slots: []int{1}})
		w.power()
		w.press("P")
		time.Sleep(5 * time.Second)
		w.lay(1)
		time.Sleep(5 * time.Second)
		if len(bodies[*wire.AlarmRaised](w)) != 1 || !slices.Equal(w.faults("fingerprint_roster"), []string{"fingerprint_roster true"}) {
			t.Errorf("alarms %d, faults %q", len(bodies[*wire.AlarmRaised](w)), w.faults("fingerprint_roster"))
		}
		w.wantDuty("unknown_slot")
		if _, err := w.a.Fingers().Enrol(w.t.Context(), fingers.Request{}, nil); !errors.Is(err, fingers.ErrNoReader) {
			t.Errorf("%v, want ErrNoReader", err)
		}
		w.off()
		w.link(false)
		w.broker.Close()
	})
}

// Each finger of a guard round at a box is one visit at the centre, which
// counts a sign-on there as one: a sign-off comes with one of its own. A
// finger that resets an alarm, or is refused, is none.
func TestGuardRoundByFinger(t *testing.T) {
	roster := map[int]fingers.Finger{5: officer, 7: {Officer: "V-2001", Role: fingers.Officer, By: "P-0007"}}
	atReader(t, fingerprinttest.Options{}, roster, withReader, func(w *world) {
		visits := func() (got []string) {
			for _, b := range bodies[wire.Body](w) {
				switch b := b.(type) {
				case *wire.SignOn:
					got = append(got, b.Officer)
				case *wire.CheckIn:
					if b.By != wire.CheckInFinger || b.Position != nil {
						w.t.Errorf("%+v", b)
					}
					got = append(got, b.Officer)
				}
			}
			return got
		}
		w.lay(5)
		if got := w.green(); got != "steady" {
			t.Errorf("green %s after a finger, want it steady: the centre has the visit", got)
		}
		w.lay(7) // relieves the other
		w.lay(7) // signs off
		w.lay(5)
		w.lay(fingerprinttest.Stranger)
		w.press("P")
		w.lay(5)
		time.Sleep(2 * time.Second)
		if got, want := visits(), []string{"P-1001", "V-2001", "V-2001", "P-1001"}; !slices.Equal(got, want) {
			w.t.Errorf("visits of %q, want %q", got, want)
		}
	})
}
