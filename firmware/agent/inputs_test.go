package agent_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"periph.io/x/conn/v3/gpio"

	"github.com/fengsui/fengsui/firmware/config"
	"github.com/fengsui/fengsui/firmware/wire"
)

// The fake's pins go where they are pulled.
const withInputs = `inputs:
  tamper: {line: T, active: high, pull: down}
  mains: {line: M, active: high, pull: down}
  battery-low: {line: B, active: high, pull: down}
  test-key: {line: K, pull: none}
`

func (w *world) set(line string, l gpio.Level) { w.pins[line].EdgesChan <- l }

// faults returns what the centre was told of faults of these codes.
func (w *world) faults(codes ...string) (got []string) {
	for _, f := range bodies[*wire.Fault](w) {
		if slices.Contains(codes, f.Code) {
			got = append(got, fmt.Sprint(f.Code, " ", f.Active))
		}
	}
	return got
}

func TestInputsAreFaults(t *testing.T) {
	inWorld(t, withInputs, func(w *world) {
		time.Sleep(5 * time.Second)
		w.set("T", gpio.High)
		w.set("M", gpio.High)
		time.Sleep(8 * time.Second)
		if got := w.faults("tamper", "mains_lost"); !slices.Equal(got, []string{"tamper true"}) {
			t.Errorf("after 8 s: %q", got)
		}
		time.Sleep(8 * time.Second)
		w.set("B", gpio.High)
		time.Sleep(20 * time.Second)
		for _, n := range []string{"T", "M", "B"} {
			w.set(n, gpio.Low)
		}
		time.Sleep(20 * time.Second)
		want := []string{"tamper true", "mains_lost true", "battery_low true", "tamper false", "mains_lost false", "battery_low false"}
		got := w.faults("tamper", "mains_lost", "battery_low")
		if slices.Sort(got[min(4, len(got)):]); len(got) == 6 {
			slices.Sort(want[4:])
		}
		if !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		if n := len(bodies[*wire.AlarmRaised](w)); n != 0 {
			t.Errorf("%d alarms that nobody pressed", n)
		}
	})
}

// presses returns for each press that the centre has: its alarm, by the order
// in which they came, its number, and whether it is a drill.
func (w *world) presses() (got []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	alarms := make(map[wire.AlarmID]int)
	for seq := uint64(1); w.events[eventKey(wire.Alarm, seq)] != nil; seq++ {
		e := w.events[eventKey(wire.Alarm, seq)]
		switch b := e.Body.(type) {
		case *wire.AlarmRaised:
			if alarms[b.Alarm] == 0 {
				alarms[b.Alarm] = len(alarms) + 1
			}
			got = append(got, fmt.Sprintf("%d.%d drill %v", alarms[b.Alarm], b.Press, e.Drill))
		case *wire.AlarmCleared:
			got = append(got, fmt.Sprintf("%d reset by %v drill %v", alarms[b.Alarm], b.By, e.Drill))
		}
	}
	return got
}

func TestTheTestKeyMakesTestsOfPresses(t *testing.T) {
	inWorld(t, withInputs, func(w *world) {
		time.Sleep(5 * time.Second)
		w.set("K", gpio.Low)
		time.Sleep(100 * time.Millisecond)
		w.press("P")
		w.press("P")
		w.set("K", gpio.High)
		time.Sleep(100 * time.Millisecond)
		if got := w.lamps(); got != "----" {
			t.Errorf("after the test: %s, want ----", got)
		}
		w.press("P") // and this one means it
		w.set("K", gpio.Low)
		time.Sleep(100 * time.Millisecond)
		w.press("P") // of the alarm that is latched
		time.Sleep(5 * time.Second)
		want := []string{"1.1 drill true", "1.2 drill true", "1 reset by drill_end drill true", "2.1 drill false", "2.2 drill false"}
		if got := w.presses(); !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// A key that is forgotten in its switch, or was found turned at the start,
// makes a drill of nobody's need.
func TestAForgottenTestKey(t *testing.T) {
	inWorld(t, withInputs, func(w *world) {
		time.Sleep(5 * time.Second)
		w.set("K", gpio.Low)
		time.Sleep(time.Minute)
		w.press("P")
		time.Sleep(30 * time.Minute)
		w.press("P")
		w.off()
		w.power() // the key is still turned
		w.press("P")
		time.Sleep(30 * time.Second)
		want := []string{"1.1 drill true", "1 reset by drill_end drill true", "2.1 drill false", "2.2 drill false"}
		if got := w.presses(); !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		if got := w.faults("test_key_stuck"); !slices.Equal(got, []string{"test_key_stuck true", "test_key_stuck true"}) {
			t.Errorf("faults %q", got)
		}
	})
}

// A cut in the middle of a test leaves no latch for a real press to join.
func TestATestThatEndsInAPowerCut(t *testing.T) {
	inWorld(t, withInputs, func(w *world) {
		w.link(false)
		w.set("K", gpio.Low)
		time.Sleep(100 * time.Millisecond)
		w.press("P")
		w.off()
		w.set("K", gpio.High)
		w.pins["K"].L = <-w.pins["K"].EdgesChan // nobody waits for it
		w.power()
		w.press("P")
		w.link(true)
		time.Sleep(30 * time.Second)
		want := []string{"1.1 drill true", "1 reset by drill_end drill true", "2.1 drill false"}
		if got := w.presses(); !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// A cable that is cut or shorted is a fault of that button, one at a time, and
// no alarm; a press of a sound one is an alarm as ever.
func TestASupervisedButton(t *testing.T) {
	inWorld(t, "", func(w *world) {
		w.off()
		b := w.cfg.Buttons["panic"]
		b.Supervised = &config.Supervised{Window: "T", Inside: "low"}
		w.cfg.Buttons["panic"] = b
		contact := func(l gpio.Level) { w.pins["P"].EdgesChan <- l }
		window := func(l gpio.Level) { w.pins["T"].Lock(); w.pins["T"].L = l; w.pins["T"].Unlock() }
		w.power()
		window(gpio.Low)
		time.Sleep(5 * time.Second)
		window(gpio.High) // cut
		time.Sleep(5 * time.Second)
		contact(gpio.Low) // shorted
		time.Sleep(5 * time.Second)
		contact(gpio.High)
		window(gpio.Low)
		time.Sleep(5 * time.Second)
		w.press("P")
		time.Sleep(5 * time.Second)
		raised := bodies[*wire.AlarmRaised](w)
		if len(raised) != 1 || raised[0].Button != "panic" || raised[0].Press != 1 {
			t.Errorf("alarms %+v, want one", raised)
		}
		// The first one is the fake's own, until the window was brought low.
		got := w.faults("button_open:panic", "button_short:panic", "button_lost:panic", "button_stuck:panic")
		want := []string{"button_open:panic true", "button_open:panic false", "button_open:panic true", "button_open:panic false", "button_short:panic true", "button_short:panic false"}
		if !slices.Equal(got, want) {
			t.Errorf("faults %q, want %q", got, want)
		}
	})
}

// visits returns the check-ins that the centre has.
func (w *world) visits() (got []string) {
	for _, b := range bodies[*wire.CheckIn](w) {
		s := b.By.String() + " " + b.Officer + b.Button
		if b.Position != nil {
			s += " at a place"
		}
		got = append(got, s)
	}
	return got
}

// Each press of the guard round's switch is one visit, also without a link and
// after a power cut; one that is forgotten in its place is a fault, and none.
func TestGuardRoundBySwitch(t *testing.T) {
	inWorld(t, "inputs: {check-in: {line: C, pull: none}}\n", func(w *world) {
		time.Sleep(5 * time.Second)
		w.link(false)
		w.press("C")
		w.press("C") // in a hurry
		time.Sleep(20 * time.Second)
		w.press("C")
		time.Sleep(time.Second)
		w.off()
		w.power()
		time.Sleep(5 * time.Second)
		w.press("C")
		w.link(true)
		time.Sleep(30 * time.Second)
		want := []string{"button check-in", "button check-in", "button check-in"}
		if got := w.visits(); !slices.Equal(got, want) {
			t.Errorf("visits %q, want %q", got, want)
		}
		w.set("C", gpio.Low)
		time.Sleep(3 * time.Minute)
		w.set("C", gpio.High)
		time.Sleep(5 * time.Second)
		if got := w.visits(); len(got) != 4 {
			t.Errorf("%d visits, want 4", len(got))
		}
		if got := w.faults("button_stuck:check-in"); !slices.Equal(got, []string{"button_stuck:check-in true", "button_stuck:check-in false"}) {
			t.Errorf("faults %q", got)
		}
		if n := len(bodies[*wire.AlarmRaised](w)); n != 0 || w.lamps() != "----" {
			t.Errorf("%d alarms, lamps %s: want none", n, w.lamps())
		}
	})
}

// green returns how the green lamp burns for three seconds: "steady", "blinks" or "dark".
func (w *world) green() string {
	lit := 0
	for range 30 {
		if w.lamps()[2] == 'G' {
			lit++
		}
		time.Sleep(100 * time.Millisecond)
	}
	switch lit {
	case 0:
		return "dark"
	case 30:
		return "steady"
	}
	return "blinks"
}

// Who comes by on a guard round sees that the visit is stored, and that the
// centre has it, for a while; a second press shows it again and is no other
// visit. An alarm goes before it.
func TestGuardRoundShows(t *testing.T) {
	inWorld(t, "inputs: {check-in: {line: C, pull: none}}\n", func(w *world) {
		shows := func(when, want string) {
			t.Helper()
			if got := w.green(); got != want {
				t.Errorf("%s: green %s, want %s", when, got, want)
			}
		}
		time.Sleep(5 * time.Second)
		w.press("C")
		shows("with a link", "steady")
		time.Sleep(10 * time.Second)
		shows("when who came by is gone", "dark")
		w.link(false)
		time.Sleep(5 * time.Second)
		w.press("C")
		shows("without a link", "blinks")
		time.Sleep(5 * time.Second)
		w.press("C")
		shows("at the second press", "blinks")
		time.Sleep(7 * time.Second)
		shows("later", "dark")
		w.link(true)
		time.Sleep(30 * time.Second)
		shows("when the centre has it at last", "dark")
		w.press("C")
		w.press("P")
		time.Sleep(time.Second)
		if got := w.lamps(); got[0] != 'R' || got[2] != '-' {
			t.Errorf("lamps %s, want those of an alarm", got)
		}
		time.Sleep(5 * time.Second)
		if got := w.visits(); len(got) != 3 {
			t.Errorf("visits %q, want 3", got)
		}
	})
}
