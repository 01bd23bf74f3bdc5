package modem_test

import (
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fengsui/fengsui/firmware/modem"
	"github.com/fengsui/fengsui/firmware/modem/modemtest"
)

const (
	cardA = "89860012345678901234"
	cardB = "8986001234567890999" // of 19 digits
)

// A card is a SIM in an emulated modem.
type card struct {
	PIN, Card string
	Counts    bool
}

// tries is a memory of PINs that outlives a Modem.
type tries struct {
	mu    sync.Mutex
	cards map[string]string
}

func (p *tries) set(card, state string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cards[card] = state
}

func (p *tries) of(card string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cards[card]
}

func (p *tries) May(card string) bool { return p.of(card) != "refused" }
func (p *tries) Giving(card string)   { p.set(card, "given") }
func (p *tries) Accepted(card string) { p.set(card, "accepted") }
func (p *tries) Refused(card string)  { p.set(card, "refused") }

// The PIN is given each time that the SIM asks, and a wrong one once only.
func TestPIN(t *testing.T) {
	for name, c := range map[string]struct {
		modem card
		pin   string
		wrong int           // tries before
		slow  time.Duration // the SIM's answer
		then  func(r *rig)
		sim   string
		given int
		kept  string
	}{
		"right":                      {modem: card{PIN: "4321"}, pin: "4321", sim: modem.SIMReady, given: 1, kept: "accepted"},
		"right, and slow":            {modem: card{PIN: "4321", Card: cardA}, pin: "4321", slow: 12 * time.Second, sim: modem.SIMReady, given: 1, kept: "accepted"},
		"right, its answer is lost":  {modem: card{PIN: "4321", Card: cardA}, pin: "4321", slow: 22 * time.Second, sim: modem.SIMReady, given: 1, kept: "accepted"},
		"right, with one try left":   {modem: card{PIN: "4321", Card: cardA, Counts: true}, pin: "4321", wrong: 2, sim: modem.SIMPIN},
		"right, with two":            {modem: card{PIN: "4321", Card: cardA, Counts: true}, pin: "4321", wrong: 1, sim: modem.SIMReady, given: 1, kept: "accepted"},
		"wrong":                      {modem: card{PIN: "4321", Card: cardA}, pin: "1111", sim: modem.SIMPIN, given: 1, kept: "refused"},
		"wrong, and the port is new": {modem: card{PIN: "4321", Card: cardA}, pin: "1111", then: (*rig).replug, sim: modem.SIMPIN, given: 1, kept: "refused"},
		"wrong, and the modem restarts": {
			modem: card{PIN: "4321", Card: cardA}, pin: "1111", then: func(r *rig) { r.emu.Restart() },
			sim: modem.SIMPIN, given: 1, kept: "refused",
		},
		"wrong, without a number of the SIM": {modem: card{PIN: "4321"}, pin: "1111", then: (*rig).replug, sim: modem.SIMPIN, given: 1, kept: "refused"},
		"the modem restarts":                 {modem: card{PIN: "4321", Card: cardA}, pin: "4321", then: func(r *rig) { r.emu.Restart() }, sim: modem.SIMReady, given: 2, kept: "accepted"},
		"another SIM of the same PIN":        {modem: card{PIN: "4321", Card: cardA}, pin: "4321", then: func(r *rig) { r.emu.Change(cardB, "4321") }, sim: modem.SIMReady, given: 2, kept: "accepted"},
		"another SIM of another PIN":         {modem: card{PIN: "4321", Card: cardA}, pin: "4321", then: func(r *rig) { r.emu.Change(cardB, "9999") }, sim: modem.SIMPIN, given: 2, kept: "accepted"},
		"another SIM without PIN":            {modem: card{PIN: "4321", Card: cardA}, pin: "1111", then: func(r *rig) { r.emu.Change(cardB, "") }, sim: modem.SIMReady, given: 1, kept: "refused"},
		"back to the right SIM": {
			modem: card{PIN: "9999", Card: cardB}, pin: "4321", then: func(r *rig) { r.emu.Change(cardA, "4321") },
			sim: modem.SIMReady, given: 2, kept: "refused",
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				memory := &tries{cards: make(map[string]string)}
				r := newRig(t, modem.Options{PIN: c.pin, PINs: memory}, func(m *modemtest.Modem) {
					m.PIN, m.Card, m.Counts = c.modem.PIN, c.modem.Card, c.modem.Counts
					m.Wrong(c.wrong)
					m.Set(modemtest.Faults{SlowPIN: c.slow})
				})
				r.pass(time.Hour)
				if c.then != nil {
					c.then(r)
					r.pass(time.Hour)
				}
				if s := r.m.State(); s.SIM != c.sim || len(r.emu.PINs()) != c.given {
					t.Errorf("SIM %q after the PINs %q: want %q after %d", s.SIM, r.emu.PINs(), c.sim, c.given)
				}
				if c.kept != "" && memory.of(c.modem.Card) != c.kept {
					t.Errorf("remembered %q, want %q", memory.of(c.modem.Card), c.kept)
				}
				again := newRig(t, modem.Options{PIN: c.pin, PINs: memory}, func(m *modemtest.Modem) { m.PIN, m.Card = c.modem.PIN, c.modem.Card })
				again.pass(time.Hour)
				want := []string{c.pin}
				if c.kept == "refused" {
					want = nil
				}
				if got := again.emu.PINs(); !slices.Equal(got, want) {
					t.Errorf("after a restart of the device the PINs %q are given, want %q", got, want)
				}
			})
		})
	}
}

// replug unplugs the modem and plugs it again.
func (r *rig) replug() {
	r.stop()
	r.emu.Restart()
	r.plug()
}

// A modem that has restarted behind an open port is told again how to work.
func TestTheModemRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, modem.Options{}, nil)
		r.pass(time.Minute)
		before := len(r.emu.Log())
		r.emu.Restart()
		r.pass(time.Minute)
		log := r.emu.Log()[before:]
		for _, cmd := range []string{"E0", "+CMEE=1", "+CMGF=0", "+CNMI=2,1,0,0,0"} {
			if n := len(slices.DeleteFunc(slices.Clone(log), func(c string) bool { return c != cmd })); n != 1 {
				t.Errorf("%d times AT%s after a restart, want one: %q", n, cmd, log)
			}
		}
		if s := r.m.State(); s.Err() != nil {
			t.Errorf("%+v", s)
		}
	})
}
