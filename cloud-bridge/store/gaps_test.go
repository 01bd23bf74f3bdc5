package store_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/fengsui/fengsui/cloud-bridge/store"
	"github.com/fengsui/fengsui/firmware/wire"
)

func dropped(rs ...wire.DroppedRange) *wire.Dropped { return &wire.Dropped{Ranges: rs} }

// What a device gave up is named with the reason that it gave, whichever of
// its two words came first, and none of it holds up what follows.
func TestDropped(t *testing.T) {
	track := lane(t, "car-01", wire.Track)
	var as []store.Arrival
	for range 10 {
		as = append(as, track.next(&wire.TrackBatch{Fixes: []wire.TrackFix{{Time: noon.UnixMilli()}}}))
	}
	duty := lane(t, "car-01", wire.Duty)
	word := duty.next(dropped(
		wire.DroppedRange{Stream: one, Lane: wire.Track, From: 1, To: 4, Why: wire.DropThinned, Events: 4, Fixes: 30, First: 5, Last: 9},
		wire.DroppedRange{Stream: one, Lane: wire.Track, From: 4, To: 5, Why: wire.DropFull, Events: 2, Fixes: 20},
		wire.DroppedRange{Stream: one, Lane: wire.Track, From: 8, To: 8, Why: wire.DropDamaged, Events: 1},
	))
	gap := func(from, to uint64, why string) store.Gap {
		return store.Gap{Stream: one, Lane: wire.Track, From: from, To: to, Why: why}
	}
	events := func(s *store.Store) {
		commit(t, s, as[8], as[1]) // numbers 9 and 2, which had come after all
	}
	words := func(s *store.Store) { commit(t, s, word, word) }
	greeting := func(s *store.Store) {
		hello(t, s, "car-01", one, map[wire.Lane]wire.Window{wire.Track: {Oldest: 7, Next: 12}})
	}
	for name, steps := range map[string][]func(*store.Store){
		"word, hello, events": {words, greeting, events},
		"hello, word, events": {greeting, words, events},
		"events, hello, word": {events, greeting, words},
		"word, events, hello": {words, events, greeting},
	} {
		t.Run(name, func(t *testing.T) {
			s := fresh(t)
			for _, step := range steps {
				step(s)
				step(s)
			}
			wants(t, "gaps", gaps(t, s, "car-01"), []store.Gap{
				gap(1, 1, store.WhyThinned), gap(3, 3, store.WhyThinned), gap(4, 5, store.WhyFull), gap(6, 6, store.WhyNever),
				gap(7, 7, store.WhyNotYet), gap(8, 8, store.WhyDamaged),
			})
			got := device(t, s, "car-01").Streams[0].Lanes[wire.Track]
			wants(t, "account", got, store.LaneState{
				UpTo: 6, Highest: 9, Expected: 11, Stored: 2, Open: 1, Waiting: 2, Never: 1, Thinned: 2, Full: 2, Damaged: 1,
				Fixes: 50, Duplicates: got.Duplicates,
			})
			if got.Duplicates < 2 {
				t.Errorf("%d duplicates: want those of the second time", got.Duplicates)
			}
			// The open one comes, and the acknowledgement passes over the damaged one.
			if c := commit(t, s, as[6]); c.Acks[0].Ack.UpTo[wire.Track] != 9 {
				t.Errorf("up to %d: want 9", c.Acks[0].Ack.UpTo[wire.Track])
			}
			// So do others that were thought lost, and nothing remains but what is.
			commit(t, s, as[0], as[2], as[3], as[5], as[7], as[9])
			wants(t, "gaps at the end", gaps(t, s, "car-01"), []store.Gap{gap(5, 5, store.WhyFull)})
			if words := device(t, s, "car-01").Dropped; len(words) != 3 || words[0].Fixes != 30 || words[0].First != 5 || words[2].Why != wire.DropDamaged {
				t.Errorf("what it said: %+v", words)
			}
		})
	}
}

// Numbers that the device gave up are named before anything behind them came,
// and those before them are awaited, not missing.
func TestDroppedAhead(t *testing.T) {
	s := fresh(t)
	duty := lane(t, "car-01", wire.Duty)
	c := commit(t, s, duty.next(dropped(
		wire.DroppedRange{Stream: two, Lane: wire.Track, From: 1, To: 3, Why: wire.DropFull, Events: 3},
		wire.DroppedRange{Stream: two, Lane: wire.Track, From: 6, To: 7, Why: 9, Events: 2},
	)))
	for _, a := range c.Acks {
		if a.Ack.Stream == two && a.Ack.UpTo[wire.Track] != 3 {
			t.Errorf("up to %d: want 3", a.Ack.UpTo[wire.Track])
		}
	}
	wants(t, "gaps", gaps(t, s, "car-01"), []store.Gap{
		{Stream: two, Lane: wire.Track, From: 1, To: 3, Why: store.WhyFull},
		{Stream: two, Lane: wire.Track, From: 6, To: 7, Why: store.WhyOther},
	})
	wants(t, "account", device(t, s, "car-01").Streams[1].Lanes[wire.Track],
		store.LaneState{UpTo: 3, Expected: 7, Waiting: 2, Full: 3, Other: 2})
}

// A range that was not given up as a whole is summed up from others: what lies
// between them may still come, and is not acknowledged before it does.
func TestDroppedInPart(t *testing.T) {
	s := fresh(t)
	track := lane(t, "car-01", wire.Track)
	var as []store.Arrival
	for range 6 {
		as = append(as, track.next(&wire.TrackBatch{Fixes: []wire.TrackFix{{Time: noon.UnixMilli()}}}))
	}
	word := lane(t, "car-01", wire.Duty).next(dropped(
		wire.DroppedRange{Stream: one, Lane: wire.Track, From: 2, To: 5, Why: wire.DropDamaged, Events: 2},
	))
	if c := commit(t, s, word, as[0], as[5]); c.Acks[0].Ack.UpTo[wire.Track] != 1 {
		t.Errorf("up to %d: want 1", c.Acks[0].Ack.UpTo[wire.Track])
	}
	wants(t, "gaps", gaps(t, s, "car-01"), []store.Gap{{Stream: one, Lane: wire.Track, From: 2, To: 5, Why: store.WhyNotYet}})
	commit(t, s, as[2])
	hello(t, s, "car-01", one, map[wire.Lane]wire.Window{wire.Track: {Oldest: 4, Next: 7}})
	wants(t, "gaps", gaps(t, s, "car-01"), []store.Gap{
		{Stream: one, Lane: wire.Track, From: 2, To: 2, Why: store.WhyDamaged},
		{Stream: one, Lane: wire.Track, From: 4, To: 5, Why: store.WhyNotYet},
	})
}

// A stream says once why it began; it may be the second that the centre hears.
func TestStreamStarted(t *testing.T) {
	s := fresh(t)
	old := lane(t, "box-01", wire.Duty)
	renewed := lane(t, "box-01", wire.Duty)
	renewed.stream = two
	first := renewed.next(&wire.StreamStarted{Previous: one, Why: wire.StartDamaged, Salvaged: map[wire.Lane]uint64{wire.Alarm: 2}, Detail: "page 3"})
	second := renewed.next(&wire.StreamStarted{Previous: two, Why: wire.StartRolledBack})
	commit(t, s, old.next(&wire.SignRefused{Reason: "no_match"}), second)
	commit(t, s, first)
	commit(t, s, second)
	streams := device(t, s, "box-01").Streams
	if len(streams) != 2 || streams[0].Start != nil || streams[0].Heard.IsZero() {
		t.Fatalf("streams %+v", streams)
	}
	wants(t, "start", streams[1].Start, &store.Start{
		StreamStarted: wire.StreamStarted{
			Previous: one, Why: wire.StartDamaged, Detail: "page 3",
			Salvaged: map[wire.Lane]uint64{wire.Alarm: 2, wire.Duty: 0, wire.Track: 0},
		},
		Wall: first.Event.Wall, Received: first.Received,
	})
}

// count is an account of one lane that is as plain as can be: one look at
// each number.
type count struct {
	stored, twice map[uint64]bool
	highest       uint64
	told, oldest  uint64
	ranges        []wire.DroppedRange
	duplicates    uint64
}

func (c *count) reason(n uint64) string {
	var why wire.DropWhy
	for _, r := range c.ranges {
		// The device may still hold others of a range that it did not give up as a whole.
		if r.From <= n && n <= r.To && (n < c.oldest || r.Events == r.To-r.From+1) {
			why = max(why, r.Why)
		}
	}
	switch {
	case c.stored[n]:
		return ""
	case why > 0:
		return map[wire.DropWhy]string{1: store.WhyThinned, 2: store.WhyFull, 3: store.WhyDamaged, 4: store.WhyOther}[why]
	case n < c.oldest:
		return store.WhyNever
	case n < c.highest:
		return store.WhyNotYet
	}
	return "waiting"
}

// report is what the store should say of the lane.
func (c *count) report() (store.LaneState, map[uint64]string) {
	told := max(c.told, c.highest)
	if c.oldest > 0 {
		told = max(told, c.oldest-1)
	}
	for _, r := range c.ranges {
		told = max(told, r.To)
	}
	l := store.LaneState{Highest: c.highest, Expected: told, Duplicates: c.duplicates, Twice: uint64(len(c.twice))}
	missing := make(map[uint64]string)
	open := false
	for n := uint64(1); n <= told; n++ {
		why := c.reason(n)
		if why != "" && why != "waiting" {
			missing[n] = why
		}
		switch why {
		case "":
			l.Stored++
		case "waiting":
			l.Waiting++
		case store.WhyNotYet:
			l.Open++
		case store.WhyNever:
			l.Never++
		case store.WhyThinned:
			l.Thinned++
		case store.WhyFull:
			l.Full++
		case store.WhyDamaged:
			l.Damaged++
		case store.WhyOther:
			l.Other++
		}
		if open = open || why == "waiting" || why == store.WhyNotYet; !open {
			l.UpTo = n
		}
	}
	for i, r := range c.ranges { // each once, and none that is within another
		if !slices.ContainsFunc(c.ranges[:i], func(o wire.DroppedRange) bool { return o == r }) &&
			!slices.ContainsFunc(c.ranges, func(o wire.DroppedRange) bool {
				return o.Why == r.Why && o != r && o.From <= r.From && r.To <= o.To
			}) {
			l.Fixes += r.Fixes
		}
	}
	return l, missing
}

// The report of what is missing is that of a plain count outside the store,
// after each of any events, repetitions, hellos, records of what was given up
// and restarts, in any order; and it is the same whatever that order was.
func TestGapsAgainstCount(t *testing.T) {
	template := filepath.Join(t.TempDir(), "empty.db")
	s := quietly(t, template)
	if err := s.Register(t.Context(), registration("car-01", store.PatrolCar)); err != nil {
		t.Fatal(err)
	}
	if err := s.Shut(); err != nil {
		t.Fatal(err)
	}
	empty, err := os.ReadFile(template)
	if err != nil {
		t.Fatal(err)
	}
	type key struct {
		stream wire.StreamID
		lane   wire.Lane
	}
	type step struct {
		arrivals []store.Arrival
		greeting *store.Greeting
	}
	rapid.Check(t, func(rt *rapid.T) {
		streams, lanes := []wire.StreamID{one, two}, []wire.Lane{wire.Duty, wire.Track}
		aRange := rapid.Custom(func(rt *rapid.T) wire.DroppedRange {
			from := rapid.Uint64Range(1, 14).Draw(rt, "from")
			to := from + rapid.Uint64Range(0, 6).Draw(rt, "more")
			why := wire.DropWhy(rapid.Uint64Range(1, 4).Draw(rt, "why"))
			// The same range is told of in the same words.
			events := to - from + 1
			if (from+to)%3 == 0 && from < to {
				events--
			}
			return wire.DroppedRange{
				Stream: rapid.SampledFrom(streams).Draw(rt, "of stream"), Lane: rapid.SampledFrom(lanes).Draw(rt, "of lane"),
				From: from, To: to, Why: why, Events: events, Fixes: from * to,
			}
		})
		var pool []store.Arrival
		for _, stream := range streams {
			for _, n := range lanes {
				src := &source{t: t, device: "car-01", stream: stream, lane: n}
				for range rapid.IntRange(0, 14).Draw(rt, "events") {
					b := wire.Body(&wire.SignRefused{Reason: "no_match"})
					if n == wire.Duty && rapid.IntRange(0, 2).Draw(rt, "drops") == 0 {
						b = dropped(rapid.SliceOfN(aRange, 1, 3).Draw(rt, "ranges")...)
					}
					pool = append(pool, src.next(b))
				}
			}
		}
		dir, err := os.MkdirTemp(filepath.Dir(template), "")
		if err != nil {
			rt.Fatal(err)
		}
		file := filepath.Join(dir, "a.db")
		for _, name := range []string{"a.db", "b.db"} {
			if err := os.WriteFile(filepath.Join(dir, name), empty, 0o600); err != nil {
				rt.Fatal(err)
			}
		}
		counts := make(map[key]*count)
		of := func(k key) *count {
			if counts[k] == nil {
				counts[k] = &count{stored: make(map[uint64]bool), twice: make(map[uint64]bool)}
			}
			return counts[k]
		}
		note := func(a *store.Arrival) {
			e := a.Event
			c := of(key{e.Stream, e.Lane})
			if c.stored[e.Seq] {
				c.duplicates++
				return
			}
			c.stored[e.Seq], c.highest = true, max(c.highest, e.Seq)
			if b, ok := e.Body.(*wire.Dropped); ok {
				for _, r := range b.Ranges {
					c := of(key{r.Stream, r.Lane})
					c.ranges = append(c.ranges, r)
				}
			}
		}
		check := func(s *store.Store) {
			d := device(t, s, "car-01")
			got := make(map[key]map[uint64]string)
			for _, g := range d.Gaps {
				k := key{g.Stream, g.Lane}
				if got[k] == nil {
					got[k] = make(map[uint64]string)
				}
				for n := g.From; n <= g.To; n++ {
					if got[k][n] != "" {
						rt.Fatalf("%v: number %d is in two gaps", k, n)
					}
					got[k][n] = g.Why
				}
			}
			states := make(map[key]store.LaneState)
			for _, st := range d.Streams {
				for n, l := range st.Lanes {
					states[key{st.ID, n}] = l
				}
			}
			for k, c := range counts {
				want, missing := c.report()
				if diff := cmp.Diff(want, states[k]); diff != "" {
					rt.Fatalf("account of %v (-counted +reported):\n%s", k, diff)
				}
				if diff := cmp.Diff(missing, got[k], cmpopts.EquateEmpty()); diff != "" {
					rt.Fatalf("missing of %v (-counted +reported):\n%s", k, diff)
				}
				ack, err := s.Ack(t.Context(), "car-01", k.stream)
				if err != nil {
					rt.Fatal(err)
				}
				if _, named := ack.Hash[k.lane]; ack.UpTo[k.lane] != want.UpTo || named != c.stored[want.UpTo] {
					rt.Fatalf("ack of %v: %+v: want up to %d, named: %t", k, ack, want.UpTo, c.stored[want.UpTo])
				}
			}
		}
		play := func(s *store.Store, st step) {
			b := store.Batch{Arrivals: st.arrivals}
			if st.greeting != nil {
				b.Greetings = []store.Greeting{*st.greeting}
			}
			if _, err := s.Commit(t.Context(), b); err != nil {
				rt.Fatal(err)
			}
		}
		s := quietly(t, file)
		var played []step
		rest := rapid.Permutation(pool).Draw(rt, "order")
		for len(rest) > 0 {
			var st step
			switch rapid.IntRange(0, 7).Draw(rt, "step") {
			case 0: // restart
				if err := s.Shut(); err != nil {
					rt.Fatal(err)
				}
				s = quietly(t, file)
			case 1: // again what came before, and what did not
				st.arrivals = rapid.SliceOfN(rapid.SampledFrom(pool), 1, 4).Draw(rt, "again")
			case 2: // lost on the way, or given up
				rest = rest[rapid.IntRange(0, min(3, len(rest))).Draw(rt, "lost"):]
			case 3: // a hello, perhaps an old one
				stream := rapid.SampledFrom(streams).Draw(rt, "stream")
				n := rapid.SampledFrom(lanes).Draw(rt, "lane")
				oldest := rapid.Uint64Range(1, 12).Draw(rt, "oldest")
				next := oldest + rapid.Uint64Range(0, 9).Draw(rt, "held")
				st.greeting = &store.Greeting{Received: noon, Hello: &wire.Hello{
					Device: "car-01", Stream: stream, Boot: 1, Window: map[wire.Lane]wire.Window{n: {Oldest: oldest, Next: next}},
				}}
				c := of(key{stream, n})
				c.oldest, c.told = max(c.oldest, oldest), max(c.told, next-1)
			default:
				n := rapid.IntRange(1, len(rest)).Draw(rt, "batch")
				st.arrivals, rest = rest[:n], rest[n:]
			}
			for i := range st.arrivals {
				note(&st.arrivals[i])
			}
			play(s, st)
			played = append(played, st)
			check(s)
		}
		if err := s.Shut(); err != nil {
			rt.Fatal(err)
		}
		again := quietly(t, filepath.Join(dir, "b.db"))
		defer again.Shut()
		for _, st := range rapid.Permutation(played).Draw(rt, "in another order") {
			play(again, st)
		}
		check(again)
	})
}

// A gap is as old as the first word of what came behind it.
func TestGapsSince(t *testing.T) {
	s := fresh(t)
	duty := lane(t, "box-01", wire.Duty)
	var as []store.Arrival
	for range 6 {
		as = append(as, duty.next(&wire.SignRefused{Reason: "no_match"}))
	}
	commit(t, s, as[0], as[3]) // received at noon and 4 s
	commit(t, s, as[5])
	for i, want := range []time.Duration{4, 6} {
		if got := device(t, s, "box-01").Gaps[i]; !got.Since.Equal(noon.Add(want * time.Second)) {
			t.Errorf("%+v: want since %v after noon", got, want*time.Second)
		}
	}
	commit(t, s, as[1]) // what is left of the first is as old as it was
	if got := device(t, s, "box-01").Gaps[0]; got.From != 3 || !got.Since.Equal(noon.Add(4*time.Second)) {
		t.Errorf("%+v: want 3, since 4 s after noon", got)
	}
}
