package kill

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fengsui/fengsui/firmware/wire"
	"github.com/fengsui/fengsui/sim/ledger"
	"github.com/fengsui/fengsui/sim/mono"
	"github.com/fengsui/fengsui/sim/torture/witness"
)

// judge compares what was pressed and seen with what the desk tells and with
// what the database holds.
func (r *rig) judge(t *testing.T) {
	t.Helper()
	until := mono.Now()
	var stored []witness.Stored
	for _, id := range r.d.IDs() {
		list, err := witness.ReadLog(id, filepath.Join(r.data, id+".log"))
		if err != nil {
			t.Fatal(err)
		}
		stored = append(stored, list...)
		if dev, err := r.d.Device(id); err != nil || dev.Crashes() > 0 {
			r.v.Wrong = append(r.v.Wrong, fmt.Sprintf("%s ended by itself %d times, %v", id, dev.Crashes(), err))
		}
	}
	events := r.told(t)
	incidents, err := r.d.Desk.Incidents(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	devices, err := r.d.Desk.Devices(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	centre, err := witness.ReadCentre(t.Context(), filepath.Join(r.data, "centre"))
	if err != nil {
		t.Fatal(err)
	}
	centre.Judge(r.v)
	centre.InOrder(r.v)
	for _, d := range devices {
		for _, g := range d.Gaps {
			r.v.Lost = append(r.v.Lost, fmt.Sprintf("%s: the desk tells of a gap %+v", d.ID, g))
		}
	}
	r.n.logged = len(stored)
	centre.Promised(stored, r.v)

	// What the desk tells is what the database holds; the car drives on meanwhile.
	has := make(map[string]bool)
	key := func(device, stream, lane string, seq uint64) string {
		return fmt.Sprintf("%s %s/%s seq %d", device, stream, lane, seq)
	}
	for _, e := range centre.Events {
		has[key(e.Place.Device, e.Place.Stream.String(), e.Place.Lane.String(), e.Seq)] = true
	}
	alarms := 0
	for _, e := range events {
		if k := key(e.Device, e.Stream, e.Lane, e.Seq); !has[k] {
			r.v.Wrong = append(r.v.Wrong, fmt.Sprintf("the desk tells of %s, which the database lacks", k))
		}
		if e.Type == "alarm_raised" {
			alarms++
		}
	}
	raised := 0
	for _, e := range centre.Events {
		if _, ok := e.Body.(*wire.AlarmRaised); ok {
			raised++
		}
	}
	if alarms != raised || len(incidents) != len(centre.Incidents) {
		r.v.Wrong = append(r.v.Wrong, fmt.Sprintf("the desk tells of %d presses and %d incidents, the database has %d and %d", alarms, len(incidents), raised, len(centre.Incidents)))
	}
	r.n.events, r.n.incidents = len(centre.Events), len(centre.Incidents)
	r.account(t, events, until)
}

// account compares the ledger of all presses, and the red lamps that were seen,
// with the events.
func (r *rig) account(t *testing.T, events []ledger.Event, until time.Duration) {
	entries := r.d.Ledger.Entries()
	entries.Fixes = nil // package powercut and the scenarios judge tracks
	var presses []ledger.Event
	for _, e := range events {
		if e.Type == "alarm_raised" {
			presses = append(presses, e)
		}
	}
	a := ledger.Reconcile(entries, presses, ledger.Judge{
		Until: until, Track: func(string) ledger.Policy { return ledger.Policy{} }, Reachable: func(string) bool { return true },
	})
	// Only what a lamp or a log promised is owed: on a busy machine a box may miss
	// what another would see. But an event that no press explains is wrong.
	for _, f := range a.Findings {
		if rest, unseen := strings.CutPrefix(f, "lost: "); unseen {
			t.Logf("not seen by the box: %s", rest)
		} else {
			r.v.Wrong = append(r.v.Wrong, f)
		}
	}
	r.n.captured, r.n.uncertain, r.n.unseen = a.Captured, a.Uncertain, a.Lost
	for _, s := range r.all {
		// Only the lamp of the very life in which somebody pressed: the next life
		// lights it for what stood before.
		if !slices.ContainsFunc(entries.Runs, func(run ledger.Run) bool {
			return run.Device == s.device && run.Began <= s.at-dark && (run.Ended == 0 || run.Ended > s.lit)
		}) {
			continue
		}
		r.n.reds++
		found := false
		for i := range presses {
			e := &presses[i]
			at, ok := entries.Captured(e)
			// Of any button: one that was pressed just before may have lit it.
			found = found || ok && e.Device == s.device && at > s.lit-time.Second && at < s.lit+500*time.Millisecond
		}
		if !found {
			r.v.Lost = append(r.v.Lost, fmt.Sprintf("%s: %s was pressed at %v, red was lit at %v, and the desk has no such press", s.device, s.button, s.at, s.lit))
		}
	}
}

// told returns all events that the desk tells of.
func (r *rig) told(t *testing.T) []ledger.Event {
	t.Helper()
	var all []ledger.Event
	for _, id := range r.d.IDs() {
		for after := ""; ; {
			page, next, err := r.d.Desk.Events(t.Context(), id, after)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range page {
				var b struct{ Button string }
				if err := json.Unmarshal(e.Body, &b); err != nil {
					t.Fatal(err)
				}
				all = append(all, ledger.Event{
					Device: id, Stream: e.Stream, Lane: e.Lane, Seq: e.Seq, Boot: e.Boot,
					Mono: time.Duration(e.MonoMS) * time.Millisecond, Type: e.Type, Button: b.Button,
				})
			}
			if len(page) == 0 || next == after {
				break
			}
			after = next
		}
	}
	return all
}
