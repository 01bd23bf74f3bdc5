package agent_test

import (
	"log/slog"
	"testing"

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
