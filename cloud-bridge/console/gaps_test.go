package console_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fengsui/fengsui/cloud-bridge/console"
	"github.com/fengsui/fengsui/cloud-bridge/store"
	"github.com/fengsui/fengsui/firmware/wire"
)

// skip leaves out numbers of a lane, as if their events were lost.
func (w *world) skip(device string, l wire.Lane, n uint64) {
	w.lanes[device+"/"+l.String()].seq += n
}

// seedGaps gives car-02 every sort of gap in its track, and a stream that replaced another.
func seedGaps(w *world) {
	for l := w.lanes["car-02/track"]; l == nil || l.seq < 3; l = w.lanes["car-02/track"] {
		w.fix("car-02", time.Minute, 30, 103, 0)
	}
	w.skip("car-02", wire.Track, 8) // 4 to 11: some given up, some gone, two awaited
	w.fix("car-02", time.Minute, 30, 103, 0)
	w.fix("car-02", time.Second, 30, 103, 0)
	stream := wire.StreamID{1, 2, 3, 4, 5, 6, 7, 8}
	w.send("car-02", wire.Duty, 0, &wire.Dropped{Ranges: []wire.DroppedRange{
		{Stream: stream, Lane: wire.Track, From: 2, To: 6, Why: wire.DropThinned, Events: 5, Fixes: 40, First: time.Now().Add(-time.Hour).UnixMilli(), Last: time.Now().UnixMilli()},
		{Stream: stream, Lane: wire.Track, From: 7, To: 7, Why: wire.DropDamaged, Events: 1},
	}})
	w.send("car-02", wire.Duty, time.Minute, &wire.StreamStarted{
		Previous: wire.StreamID{0xaa}, Why: wire.StartDamaged, Salvaged: map[wire.Lane]uint64{wire.Alarm: 2}, Detail: "page 3: checksum",
	})
	h := &wire.Hello{Device: "car-02", Stream: stream, Boot: 1, Window: map[wire.Lane]wire.Window{wire.Track: {Oldest: 9, Next: 17}}}
	if _, err := w.db.Commit(w.t.Context(), store.Batch{Greetings: []store.Greeting{{Hello: h, Received: time.Now()}}}); err != nil {
		w.t.Error(err)
	}
}

func TestGapReport(t *testing.T) {
	w := newWorld(t, nil)
	seedGaps(w)
	var r console.GapReport
	w.want(200, "GET", "/api/v1/devices/car-02/gaps", "", &r)
	got := make([]string, 0)
	for _, g := range r.Gaps {
		got = append(got, fmt.Sprintf("%s %d-%d %s %t", g.Lane, g.From, g.To, g.Why, g.Final))
	}
	want := []string{"track 4-6 thinned true", "track 7-7 damaged true", "track 8-8 never true", "track 9-11 not_yet false"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("gaps (-want +got):\n%s", diff)
	}
	account := console.Account{
		Expected: 16, Stored: 5, Waiting: 3, Missing: 5, Dropped: 3, Fixes: 40,
		ByWhy: console.Reasons{NotYet: 3, Never: 1, Damaged: 1, Thinned: 3},
	}
	if diff := cmp.Diff(account, r.Totals.Track); diff != "" {
		t.Errorf("track (-want +got):\n%s", diff)
	}
	if s := r.Streams[0]; s.Start == nil || s.Start.Previous != "aa00000000000000" || s.Start.Why != "damaged" || s.Start.Salvaged.Alarm != 2 {
		t.Errorf("stream %+v, start %+v", s, s.Start)
	}
	if len(r.Dropped) != 2 || r.Dropped[0].Fixes != 40 || r.Dropped[0].First.IsZero() || !r.Dropped[1].First.IsZero() {
		t.Errorf("dropped %+v", r.Dropped)
	}

	// Somebody outside counts the events that the API lists.
	var page struct{ Events []console.Event }
	w.want(200, "GET", "/api/v1/devices/car-02/events?lane=track&limit=1000", "", &page)
	seen := make(map[uint64]bool)
	for _, e := range page.Events {
		seen[e.Seq] = true
	}
	for n := uint64(1); n <= r.Streams[0].Lanes["track"].Highest; n++ {
		inGap := false
		for _, g := range r.Gaps {
			inGap = inGap || g.Lane == "track" && g.From <= n && n <= g.To
		}
		if inGap == seen[n] {
			t.Errorf("number %d: listed as an event: %t, as missing: %t", n, seen[n], inGap)
		}
	}

	var d console.Device
	w.want(200, "GET", "/api/v1/devices/car-02", "", &d)
	if diff := cmp.Diff(console.GapCount{NotYet: 3, Lost: 2, Dropped: 3}, d.GapCount); diff != "" || len(d.Gaps) != 4 {
		t.Errorf("device: %d gaps, count (-want +got):\n%s", len(d.Gaps), diff)
	}

	for target, numbers := range map[string]uint64{
		"":                                  8,
		"?device=car-02":                    8,
		"?device=car-01":                    0,
		"?lane=duty":                        0,
		"?lane=track&final=true":            5,
		"?final=false":                      3,
		"?why=thinned,damaged":              4,
		"?why=never":                        1,
		"?why=chain,twice":                  0,
		"?device=car-02&why=never&limit=1":  1,
		"?why=thinned,damaged,full&limit=1": 4,
	} {
		var a struct {
			Count, Numbers uint64
			Gaps           []console.DeviceGap
			Totals         console.Totals
		}
		w.want(200, "GET", "/api/v1/gaps"+target, "", &a)
		if a.Numbers != numbers || len(a.Gaps) > int(a.Count) || numbers > 0 && a.Gaps[0].Device != "car-02" {
			t.Errorf("%s: %+v: want %d numbers", target, a, numbers)
		}
		if wantTrack := target != "?lane=duty" && target != "?device=car-01"; (a.Totals.Track.Expected == 16) != wantTrack {
			t.Errorf("%s: totals %+v", target, a.Totals.Track)
		}
	}

	// What comes after all closes its gap.
	w.lanes["car-02/track"].seq = 8
	for range 3 {
		w.fix("car-02", time.Minute, 30, 103, 0)
	}
	w.want(200, "GET", "/api/v1/devices/car-02", "", &d)
	if d.GapCount.NotYet != 0 {
		t.Errorf("after they came: %+v", d.GapCount)
	}
}

func TestGapFilterRefuses(t *testing.T) {
	w := newWorld(t, nil)
	for target, field := range map[string]string{
		"?why=lost": "why", "?why=": "why", "?lane=x": "lane", "?final=yes": "final", "?final=": "final", "?limit=0": "limit", "?limit=10001": "limit", "?x=1": "x",
	} {
		var p console.Problem
		w.want(422, "GET", "/api/v1/gaps"+target, "", &p)
		if p.Field != field || p.Want == "" {
			t.Errorf("%s: %+v", target, p)
		}
	}
	w.want(404, "GET", "/api/v1/gaps?device=none", "", nil)
	w.want(404, "GET", "/api/v1/devices/none/gaps", "", nil)
}
