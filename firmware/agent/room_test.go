package agent_test

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fengsui/fengsui/firmware/agent"
	"github.com/fengsui/fengsui/firmware/spool"
	"github.com/fengsui/fengsui/firmware/wire"
)

// fillSpool stores events of a lane until no more fits, and returns how many
// events and fixes that was. Track is of one fix in so many.
func fillSpool(t *testing.T, dir string, size int64, l wire.Lane, thinned uint64) (events uint64, fixes int) {
	t.Helper()
	key, err := agent.LoadOrCreateKey(dir)
	if err != nil {
		t.Fatal(err)
	}
	s, err := spool.Open(filepath.Join(dir, "spool.db"), spool.Options{MaxSize: size})
	if err != nil {
		t.Fatal(err)
	}
	for {
		b := &wire.TrackBatch{Thinned: thinned}
		for range 60 {
			n := int64(fixes + len(b.Fixes))
			b.Fixes = append(b.Fixes, wire.TrackFix{Time: 1_800_000_000_000 + n*1000, LatE6: 30e6 + n%7919*n%997, LonE6: 103e6 + n*n%4999})
		}
		seq, err := s.Append(l, func(at spool.Slot) ([]byte, error) {
			e := &wire.Event{Device: "box-01", Stream: at.Stream, Lane: l, Seq: at.Seq, Prev: at.Prev, Boot: at.Boot, Body: b}
			if l == wire.Duty {
				e.Body = &wire.Fault{Code: "filler", Detail: strings.Repeat("x", 400)}
			}
			return wire.Seal(e, key)
		})
		if errors.Is(err, spool.ErrFull) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		events++
		if seq != events {
			t.Fatalf("event %d has number %d", events, seq)
		}
		if l == wire.Track {
			fixes += len(b.Fixes)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return events, fixes
}

// A full spool takes what comes: its oldest track gives way, thinned before it
// is cut off, then its oldest duty; alarms are kept, and the centre is told
// exactly what it will not get.
func TestAFullSpoolGivesUpWhatMattersLeast(t *testing.T) {
	for name, c := range map[string]struct {
		lane    wire.Lane
		thinned uint64
		why     wire.DropWhy
	}{
		"track":        {wire.Track, 0, wire.DropThinned},
		"sparse track": {wire.Track, 16, wire.DropFull},
		"duty":         {wire.Duty, 0, wire.DropFull},
	} {
		t.Run(name, func(t *testing.T) {
			const mib = 4
			dir := t.TempDir()
			events, fixes := fillSpool(t, dir, mib<<20, c.lane, c.thinned)
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, dir, "spool: {limit_mib: 4}\n")
				w.link(false)
				w.power()
				for range 20 { // each brings faults, health and an alarm's events
					w.press("P")
					time.Sleep(time.Minute)
				}
				if faults := w.a.Status().Faults; slices.Contains(faults, "storage") {
					t.Errorf("faults %v: a full spool is not one", faults)
				}
				w.link(true)
				time.Sleep(2 * time.Minute)
				judgeRoom(t, w, c.lane, c.why, events, fixes)
				w.off()
				w.link(false)
				w.broker.Close()
			})
		})
	}
}

func judgeRoom(t *testing.T, w *world, l wire.Lane, why wire.DropWhy, events uint64, fixes int) {
	t.Helper()
	if q := w.a.Status().Queue; q["alarm"]+q["duty"]+q["track"] != 0 {
		t.Errorf("%v wait", q)
	}
	if n := len(bodies[*wire.AlarmRaised](w)); n != 20 {
		t.Errorf("%d presses came, want 20", n)
	}
	arrived := 0
	for _, b := range bodies[*wire.TrackBatch](w) {
		arrived += len(b.Fixes)
		for i := 1; i < len(b.Fixes); i++ {
			if d := b.Fixes[i].Time - b.Fixes[i-1].Time; why == wire.DropThinned && d != int64(max(b.Thinned, 1))*1000 {
				t.Errorf("one fix of %d: a step of %d ms", b.Thinned, d)
			}
		}
	}
	told, gone, came := 0, uint64(0), uint64(0)
	for _, d := range bodies[*wire.Dropped](w) {
		for _, r := range d.Ranges {
			if r.Lane != l || r.Why != why || l == wire.Track && (r.First == 0 || r.Last <= r.First) {
				t.Errorf("told %+v", r)
			}
			told += int(r.Fixes)
			gone += r.Events
		}
	}
	w.mu.Lock()
	for seq := range events {
		if w.events[eventKey(l, seq+1)] != nil {
			came++
		}
	}
	w.mu.Unlock()
	if gone == 0 || arrived+told != fixes || came+gone != events {
		t.Errorf("of %d events %d came and %d are told of; of %d fixes %d came and %d are told of", events, came, gone, fixes, arrived, told)
	}
	t.Logf("of %d events %d were given up, of %d fixes %d", events, gone, fixes, told)
}
