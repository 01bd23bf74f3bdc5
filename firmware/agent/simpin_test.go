package agent_test

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/fengsui/fengsui/firmware/agent"
	"github.com/fengsui/fengsui/firmware/config"
	"github.com/fengsui/fengsui/firmware/modem"
)

// No number of restarts, power cuts and changed SIMs gives a card a wrong PIN three
// times, and a right one is given at each start.
func TestSIMTries(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(open func(pin string) modem.PINs)
		pin  string
		card string
		may  bool
	}{
		"never tried":              {func(func(string) modem.PINs) {}, "1234", "a", true},
		"refused":                  {func(open func(string) modem.PINs) { give(open("1234"), "a").Refused("a") }, "1234", "a", false},
		"another PIN":              {func(open func(string) modem.PINs) { give(open("1234"), "a").Refused("a") }, "4321", "a", true},
		"another SIM":              {func(open func(string) modem.PINs) { give(open("1234"), "a").Refused("a") }, "1234", "b", true},
		"of no number":             {func(open func(string) modem.PINs) { give(open("1234"), "").Refused("") }, "1234", "", false},
		"one cut short":            {func(open func(string) modem.PINs) { give(open("1234"), "a") }, "1234", "a", true},
		"two cut short":            {func(open func(string) modem.PINs) { give(open("1234"), "a"); give(open("1234"), "a") }, "1234", "a", false},
		"cut short, then accepted": {func(open func(string) modem.PINs) { give(open("1234"), "a"); give(open("1234"), "a").Accepted("a") }, "1234", "a", true},
		"accepted a hundred times": {func(open func(string) modem.PINs) {
			for range 100 {
				give(open("1234"), "a").Accepted("a")
			}
		}, "1234", "a", true},
		"accepted, but another not": {func(open func(string) modem.PINs) {
			give(open("1234"), "b").Refused("b")
			give(open("1234"), "a").Accepted("a")
		}, "1234", "b", false},
		"of another PIN, accepted": {func(open func(string) modem.PINs) {
			give(open("1234"), "a").Refused("a")
			give(open("4321"), "a").Accepted("a")
		}, "1234", "a", true},
	} {
		dir := t.TempDir()
		open := func(pin string) modem.PINs {
			return agent.SIMTries(&config.Config{Data: dir, Modem: &config.Modem{PIN: pin}}, slog.New(slog.DiscardHandler))
		}
		c.do(open)
		if may := open(c.pin).May(c.card); may != c.may {
			t.Errorf("%s: may %v, want %v", name, may, c.may)
		}
	}
}

func give(p modem.PINs, card string) modem.PINs {
	p.Giving(card)
	return p
}

// An alarm goes by SMS although the modem restarts and asks its PIN anew; another
// SIM, whose PIN is another one, is told as a fault, gets the wrong one once over
// any number of restarts, and does no harm to the right one.
func TestThePINOverRestarts(t *testing.T) {
	const right, other = "89860012345678901234", "89860012345678905678"
	part := strings.Replace(withModem, "port: m,", `port: m, pin: "4321",`, 1)
	inTextedOf(t, part, func(w *world, p *postbox) {
		p.emu.Change(right, "4321")
		time.Sleep(time.Minute)
		w.link(false)
		w.press("P")
		time.Sleep(5 * time.Second)
		p.emu.Restart()
		time.Sleep(time.Minute)
		if n := p.count(); n == 0 {
			t.Error("no SMS after a restart of the modem")
		}
		p.emu.Change(other, "9999")
		before := len(p.emu.PINs())
		for range 5 {
			time.Sleep(time.Minute)
			w.off()
			w.power()
		}
		time.Sleep(time.Minute)
		if n := len(p.emu.PINs()) - before; n != 1 {
			t.Errorf("the other SIM was given %d PINs, want one", n)
		}
		p.emu.Change(right, "4321")
		sent := p.count()
		w.press("P")
		time.Sleep(2 * time.Minute)
		if p.count() == sent {
			t.Error("no SMS with the right SIM in again")
		}
		w.link(true)
		time.Sleep(2 * time.Minute)
		if got := w.faults("sim_locked"); len(got) == 0 || !strings.Contains(fmt.Sprint(got[0]), "true") || strings.Contains(fmt.Sprint(got[len(got)-1]), "true") {
			t.Errorf("faults %q: want sim_locked, and its end", got)
		}
	})
}
