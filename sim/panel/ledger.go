package panel

import (
	"net/http"
	"time"

	"github.com/fengsui/fengsui/sim/mono"
)

// ledger answers with what was injected, in the order in which it happened,
// with times of day. Fixes are counted, not listed.
func (p *Panel) ledger(w http.ResponseWriter, _ *http.Request) {
	type press struct {
		Device   string     `json:"device"`
		Button   string     `json:"button"`
		At       time.Time  `json:"at"`
		Released *time.Time `json:"released"` // null while it is pressed
	}
	type finger struct {
		Device string     `json:"device"`
		Slot   int        `json:"slot"`
		At     time.Time  `json:"at"`
		Lifted *time.Time `json:"lifted"`
	}
	type run struct {
		Device string     `json:"device"`
		Stream string     `json:"stream"`
		Boot   uint64     `json:"boot"`
		Began  time.Time  `json:"began"`
		Ended  *time.Time `json:"ended"`
	}
	type fixes struct {
		Count int        `json:"count"`
		Last  *time.Time `json:"last"` // when the newest was injected
	}
	now, at := time.Now().UTC(), mono.Now()
	day := func(t time.Duration) time.Time { return now.Add(t - at).Truncate(time.Microsecond) }
	maybe := func(t time.Duration) *time.Time {
		if t == 0 {
			return nil
		}
		d := day(t)
		return &d
	}
	a := struct {
		Presses []press           `json:"presses"`
		Fingers []finger          `json:"fingers"`
		Fixes   map[string]*fixes `json:"fixes"`
		Runs    []run             `json:"runs"`
	}{[]press{}, []finger{}, make(map[string]*fixes), []run{}}
	e := p.d.Ledger.Entries()
	for _, x := range e.Presses {
		a.Presses = append(a.Presses, press{x.Device, x.Button, day(x.At), maybe(x.Released)})
	}
	for _, x := range e.Fingers {
		a.Fingers = append(a.Fingers, finger{x.Device, x.Slot, day(x.At), maybe(x.Until)})
	}
	for _, x := range e.Fixes {
		f := a.Fixes[x.Device]
		if f == nil {
			f = new(fixes)
			a.Fixes[x.Device] = f
		}
		f.Count++
		f.Last = maybe(x.At)
	}
	for _, x := range e.Runs {
		a.Runs = append(a.Runs, run{x.Device, x.Stream, x.Boot, day(x.Began), maybe(x.Ended)})
	}
	writeJSON(w, "application/json", http.StatusOK, a)
}
