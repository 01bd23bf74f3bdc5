package agent_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fengsui/fengsui/firmware/modem/modemtest"
	"github.com/fengsui/fengsui/firmware/wire"
)

const (
	boxNumber    = "+8613800000001"
	centreNumber = "+8613900000009"
	withModem    = "modem: {port: m, centre: [" + centreNumber + "]}\n"
)

// A postbox is the centre's end of the SMS.
type postbox struct {
	w   *world
	net *modemtest.Network
	emu *modemtest.Modem
	mu  sync.Mutex
	got []*wire.SMSAlarm
	// answer says whether they are answered.
	answer bool
}

func (p *postbox) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.got)
}

// inTexted runs f with a box that has a modem, and a centre that takes SMS.
func inTexted(t *testing.T, f func(w *world, p *postbox)) { inTextedOf(t, withModem, f) }

func inTextedOf(t *testing.T, part string, f func(w *world, p *postbox)) {
	var p *postbox
	inWorldOf(t, part, func(w *world) {
		p = &postbox{w: w, net: modemtest.NewNetwork()}
		p.emu = modemtest.New(boxNumber, p.net)
		p.net.Attach(centreNumber, p.take)
		w.modem = func(context.Context) (io.ReadWriteCloser, error) {
			near, far := net.Pipe()
			p.emu.Restart()
			go func() { _ = p.emu.Serve(far); far.Close() }()
			return near, nil
		}
	}, func(w *world) { f(w, p) })
}

func (p *postbox) take(from string, data []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	x, err := wire.OpenSMSAlarm(data, "box-01", p.w.pub)
	if err != nil || from != boxNumber {
		p.w.t.Errorf("SMS from %s: %v", from, err)
		return
	}
	p.got = append(p.got, x)
	if p.answer {
		p.say(&wire.SMSAnswer{Device: "box-01", Alarm: x.Alarm, Press: x.Press})
	}
}

func (p *postbox) say(a *wire.SMSAnswer) {
	msg, err := wire.SealSMSAnswer(a, centreKey)
	if err == nil {
		err = p.net.Send(centreNumber, boxNumber, msg)
	}
	if err != nil {
		p.w.t.Error(err)
	}
}

// An alarm that the centre does not acknowledge goes by SMS after ten seconds,
// and again until it is answered; the answer is the second lamp, and what the
// desk did can come the same way.
func TestAnAlarmGoesBySMS(t *testing.T) {
	inTexted(t, func(w *world, p *postbox) {
		time.Sleep(5 * time.Second)
		w.link(false)
		w.press("P")
		time.Sleep(8 * time.Second)
		if n := p.count(); n != 0 {
			t.Errorf("%d SMS after 9 s: want none yet", n)
		}
		time.Sleep(4 * time.Second)
		if n := p.count(); n != 1 {
			t.Fatalf("%d SMS after 13 s: want one", n)
		}
		if got := w.lamps()[:3]; got != "R--" {
			t.Errorf("lamps %s without an answer: want red", got)
		}
		time.Sleep(2 * time.Minute)
		if n := p.count(); n < 3 || n > 5 {
			t.Errorf("%d SMS after two minutes without an answer: want a few", n)
		}
		x := p.got[0]
		if x.Kind != wire.Panic || x.Press != 1 || x.Seq != 1 || x.Silent {
			t.Errorf("SMS %+v", x)
		}
		p.say(&wire.SMSAnswer{Device: "box-01", Alarm: x.Alarm, Press: 1})
		time.Sleep(10 * time.Second)
		amber := false
		for range 20 {
			amber = amber || w.lamps()[:3] == "RY-"
			time.Sleep(100 * time.Millisecond)
		}
		if !amber {
			t.Error("the centre's answer lights no amber lamp")
		}
		before := p.count()
		p.say(&wire.SMSAnswer{Device: "box-01", Alarm: x.Alarm, Press: 1, State: wire.NoticeDispatched, Rev: 3, Unit: "car-01"})
		time.Sleep(30 * time.Minute)
		if got := w.lamps()[:3]; got != "RYG" {
			t.Errorf("lamps %s: want a unit coming", got)
		}
		if n := p.count(); n != before {
			t.Errorf("%d SMS after the answer", n-before)
		}
		w.off() // and a restart sends none
		w.power()
		time.Sleep(time.Minute)
		if n := p.count(); n != before {
			t.Errorf("%d SMS after the answer and a restart", n-before)
		}
		w.link(true)
		time.Sleep(2 * time.Minute)
		if got := bodies[*wire.SecondPath](w); len(got) != 1 || !got[0].Answered || got[0].Sent != uint64(before) || got[0].Alarm != x.Alarm {
			t.Errorf("reported %+v", got)
		}
	})
}

// Nothing goes by SMS that the centre acknowledges in time, and nothing more
// once it does; a press that waits for a network goes when there is one, also
// after a restart.
func TestSMSOnlyWhereItIsNeeded(t *testing.T) {
	inTexted(t, func(w *world, p *postbox) {
		time.Sleep(5 * time.Second)
		w.press("P")
		time.Sleep(time.Minute)
		if n := p.count(); n != 0 {
			t.Errorf("%d SMS of an alarm that was acknowledged", n)
		}
		w.link(false)
		p.emu.Set(modemtest.Faults{NoNetwork: true})
		w.press("P")
		time.Sleep(2 * time.Minute)
		w.off()
		w.power()
		time.Sleep(time.Minute)
		if n := p.count(); n != 0 {
			t.Errorf("%d SMS without a network", n)
		}
		p.emu.Set(modemtest.Faults{})
		time.Sleep(20 * time.Second)
		if n := p.count(); n != 1 || p.got[0].Press != 2 {
			t.Errorf("%d SMS: want that of the second press", n)
		}
		w.link(true)
		time.Sleep(time.Minute)
		before := p.count()
		time.Sleep(30 * time.Minute)
		if n := p.count(); n != before {
			t.Errorf("%d SMS after the acknowledgement", n-before)
		}
		if got := w.faults("not_registered"); fmt.Sprint(got) != "[not_registered true not_registered false]" && fmt.Sprint(got) != "[not_registered true not_registered true not_registered false]" {
			t.Errorf("faults %q", got)
		}
		if got := bodies[*wire.Health](w); got[len(got)-1].Operator != "CMCC" || got[len(got)-1].SignalDBm != -87 {
			t.Errorf("health %+v", got[len(got)-1])
		}
	})
}

// A silent alarm goes the same way, and nothing here tells of it: no line of the
// log, no report, no message that stays on the SIM.
func TestSilentBySMSLeavesNoTrace(t *testing.T) {
	inTexted(t, func(w *world, p *postbox) {
		w.off()
		var log bytes.Buffer
		w.opt.Log = slog.New(slog.NewTextHandler(&log, nil))
		w.power()
		p.answer = true
		time.Sleep(5 * time.Second)
		w.link(false)
		log.Reset()
		w.press("H")
		time.Sleep(20 * time.Second)
		if n := p.count(); n != 1 || !p.got[0].Silent {
			t.Fatalf("%d SMS: want a silent one", n)
		}
		time.Sleep(time.Minute)
		if p.emu.Kept() != 0 || strings.Contains(log.String(), "SMS sent") || strings.Contains(log.String(), "sent by SMS") {
			t.Errorf("%d messages stay on the SIM; the log: %s", p.emu.Kept(), &log)
		}
		w.link(true)
		time.Sleep(2 * time.Minute)
		if got := bodies[*wire.SecondPath](w); len(got) != 0 {
			t.Errorf("reported %+v", got)
		}
	})
}

// The centre lets a box sound for another's alarm: in pulses, no longer than it
// says, once, and each revision is answered.
func TestSoundFromTheCentre(t *testing.T) {
	inWorld(t, "", func(w *world) {
		time.Sleep(5 * time.Second)
		pulses := func(lasts time.Duration) (on, off int) {
			for range lasts / (100 * time.Millisecond) {
				if w.lamps()[3] == 'S' {
					on++
				} else {
					off++
				}
				time.Sleep(100 * time.Millisecond)
			}
			return on, off
		}
		sound := func(rev uint64, on bool, lasts time.Duration) *wire.Sound {
			b := &wire.Sound{Alarm: wire.AlarmID{7}, Rev: rev, On: on, Device: "box-02", Kind: wire.Fire}
			if on {
				b.Until = lasts.Milliseconds() // w.down says that it is 1970 at the centre
			}
			return b
		}
		w.down(sound(1, true, 30*time.Second))
		if on, off := pulses(10 * time.Second); on < 30 || off < 30 {
			t.Errorf("siren on %d and off %d times of 100: want pulses", on, off)
		}
		w.down(sound(1, true, 30*time.Second)) // again: a level
		time.Sleep(30 * time.Second)
		if on, _ := pulses(5 * time.Second); on != 0 {
			t.Error("the siren sounds after its time")
		}
		w.down(sound(1, true, 30*time.Second))
		if on, _ := pulses(5 * time.Second); on != 0 {
			t.Error("the siren sounds again for the same revision")
		}
		w.down(sound(2, true, time.Minute))
		time.Sleep(3 * time.Second)
		w.press("P") // one's own alarm comes first: no pulses
		time.Sleep(2 * time.Second)
		if _, off := pulses(5 * time.Second); off != 0 {
			t.Error("the siren pulses beside its own alarm")
		}
		w.down(sound(3, false, 0))
		time.Sleep(10 * time.Second)
		var got []string
		for _, b := range bodies[*wire.Sounded](w) {
			got = append(got, fmt.Sprintf("%d %v %q", b.Rev, b.On, b.Why))
		}
		if want := `[1 true "" 1 false "" 2 true "" 3 false ""]`; fmt.Sprint(got) != want {
			t.Errorf("reported %v, want %s", got, want)
		}
	})
}

// The desk begins an exercise: presses belong to it, over a restart, until its
// time is over.
func TestExerciseFromTheDesk(t *testing.T) {
	inWorld(t, "", func(w *world) {
		time.Sleep(5 * time.Second)
		w.down(&wire.Mode{Rev: 1, Drill: true, Until: (10 * time.Minute).Milliseconds()})
		time.Sleep(5 * time.Second)
		w.press("P")
		time.Sleep(time.Minute)
		w.off()
		w.power()
		time.Sleep(10 * time.Second)
		w.press("P")
		time.Sleep(10 * time.Minute)
		w.press("P")
		time.Sleep(5 * time.Second)
		want := "[1.1 drill true 1.2 drill true 1 reset by drill_end drill true 2.1 drill false]"
		if got := w.presses(); fmt.Sprint(got) != want {
			t.Errorf("got %q, want %s", got, want)
		}
		var modes []string
		for _, b := range bodies[*wire.ModeSet](w) {
			modes = append(modes, fmt.Sprintf("%d %v", b.Rev, b.Drill))
		}
		if fmt.Sprint(modes) != "[1 true 1 false]" {
			t.Errorf("reported %q", modes)
		}
		w.down(&wire.Mode{Rev: 1, Drill: true, Until: (10 * time.Minute).Milliseconds()}) // an old word
		time.Sleep(5 * time.Second)
		w.down(&wire.Mode{Rev: 2, Drill: true, Until: (10 * time.Minute).Milliseconds()})
		time.Sleep(5 * time.Second)
		w.down(&wire.Mode{Rev: 3})
		time.Sleep(5 * time.Second)
		w.press("P")
		time.Sleep(5 * time.Second)
		if got := w.presses(); got[len(got)-1] != "2.2 drill false" {
			t.Errorf("got %q", got)
		}
	})
}
