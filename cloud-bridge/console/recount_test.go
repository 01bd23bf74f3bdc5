package console_test

import (
	"cmp"
	"container/heap"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/fengsui/fengsui/cloud-bridge/console"
	"github.com/fengsui/fengsui/cloud-bridge/incident"
	"github.com/fengsui/fengsui/cloud-bridge/store"
	"github.com/fengsui/fengsui/firmware/wire"
)

// history is six weeks of a district, played into a real database by its public methods
// with a clock of its own. It is over long before now.
type history struct {
	t     *testing.T
	rand  *rand.Rand
	db    *store.Store
	now   time.Time
	queue schedule
	lanes map[string]*lane
	said  map[string]int // what was done, by its name: each must happen
}

// A schedule is what is still to be done.
type schedule []planned

type planned struct {
	at time.Time
	n  int // in which order it was planned
	do func()
}

func (s schedule) Len() int { return len(s) }
func (s schedule) Less(i, j int) bool {
	return cmp.Or(s[i].at.Compare(s[j].at), s[i].n-s[j].n) < 0
}
func (s schedule) Swap(i, j int) { s[i], s[j] = s[j], s[i] }
func (s *schedule) Push(x any)   { *s = append(*s, x.(planned)) }
func (s *schedule) Pop() any {
	last := (*s)[len(*s)-1]
	*s = (*s)[:len(*s)-1]
	return last
}

func (h *history) plan(at time.Time, do func()) {
	if at.Before(h.now) {
		at = h.now
	}
	heap.Push(&h.queue, planned{at, len(h.queue) + 1000*h.said["planned"], do})
	h.said["planned"]++
}

func (h *history) play() {
	for len(h.queue) > 0 {
		p := heap.Pop(&h.queue).(planned)
		h.now = p.at
		p.do()
	}
}

// chance is true in n of a hundred.
func (h *history) chance(n int) bool { return h.rand.IntN(100) < n }

// within is a time of 0 ≤ d < most, in whole milliseconds.
func (h *history) within(most time.Duration) time.Duration {
	return time.Duration(h.rand.Int64N(most.Milliseconds())) * time.Millisecond
}

func pick[T any](h *history, of ...T) T { return of[h.rand.IntN(len(of))] }

func (h *history) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

// tells stores what a device captured so long ago. clock: it knows the time of day.
func (h *history) tells(device string, l wire.Lane, ago time.Duration, clock, drill bool, body wire.Body) {
	h.t.Helper()
	name := device + "/" + l.String()
	if h.lanes[name] == nil {
		h.lanes[name] = &lane{stream: wire.StreamID{7, 7, 7, 7}}
	}
	at := h.lanes[name]
	at.seq++
	captured := h.now.Add(-ago)
	e := &wire.Event{
		Device: device, Stream: at.stream, Lane: l, Seq: at.seq, Prev: at.prev, Boot: 1, Mono: captured.Sub(began.Add(-48 * time.Hour)),
		Drill: drill, Body: body,
	}
	e.Wall = wire.Wall{UnixMilli: e.Mono.Milliseconds()}
	if clock {
		e.Wall = wire.Wall{UnixMilli: captured.UnixMilli(), Source: wire.WallGNSS, Uncertainty: 40 * time.Millisecond}
	}
	message, err := wire.Seal(e, key)
	h.must(err)
	at.prev = wire.HashOf(message)
	_, err = h.db.Commit(h.t.Context(), store.Batch{Arrivals: []store.Arrival{{Event: e, Message: message, Received: h.now}}})
	h.must(err)
}

var (
	// 28 July 2025, a Monday, at midnight in Asia/Shanghai; 1 September is one as well.
	began = time.Date(2025, 7, 27, 16, 0, 0, 0, time.UTC)
	ended = began.AddDate(0, 0, 42)
)

// square is a cell of the recount's grid: west, south, east, north.
type square struct {
	id, village              string
	west, south, east, north float64
}

var squares = []square{
	{"c-1", "v-1", 103.0, 30.0, 103.1, 30.1},
	{"c-2", "v-1", 103.1, 30.0, 103.2, 30.1},
	{"c-3", "v-2", 103.0, 30.1, 103.1, 30.2},
	{"c-4", "v-3", 103.1, 30.1, 103.2, 30.2},
}

// townshipOf is where a village belongs.
var townshipOf = map[string]string{"v-1": "t-1", "v-2": "t-1", "v-3": "t-2"}

func squareGrid(moved bool) []byte {
	out := `{"type":"FeatureCollection","features":[{"type":"Feature","properties":{"id":"d","level":"district","name":"District"},"geometry":null}`
	for _, p := range [][3]string{{"t-1", "township", "d"}, {"t-2", "township", "d"}, {"v-1", "village", "t-1"}, {"v-2", "village", "t-1"}, {"v-3", "village", "t-2"}} {
		out += fmt.Sprintf(`,{"type":"Feature","properties":{"id":%q,"level":%q,"name":"=名 %s","parent":%q},"geometry":null}`, p[0], p[1], p[0], p[2])
	}
	for _, s := range squares {
		village := s.village
		if moved && s.id == "c-2" {
			village = "v-3"
		}
		out += fmt.Sprintf(`,{"type":"Feature","properties":{"id":%q,"level":"cell","name":%q,"parent":%q},"geometry":{"type":"Polygon","coordinates":[[[%[4]v,%[5]v],[%[6]v,%[5]v],[%[6]v,%[7]v],[%[4]v,%[7]v],[%[4]v,%[5]v]]]}}`,
			s.id, s.id, village, s.west, s.south, s.east, s.north)
	}
	return []byte(out + `]}`)
}

// yards are the devices of the history. b-5 stands outside every cell, b-7 is never heard,
// b-6 is first heard in the middle.
var yards = []store.Registration{
	{ID: "b-1", Kind: store.AlarmBox, At: &store.Point{Lat: 30.05, Lon: 103.05}},
	{ID: "b-2", Kind: store.AlarmBox, At: &store.Point{Lat: 30.05, Lon: 103.15}},
	{ID: "b-3", Kind: store.AlarmBox, At: &store.Point{Lat: 30.15, Lon: 103.05}},
	{ID: "b-4", Kind: store.AlarmBox, At: &store.Point{Lat: 30.15, Lon: 103.15}},
	{ID: "b-5", Kind: store.AlarmBox, At: &store.Point{Lat: 31, Lon: 104}},
	{ID: "b-6", Kind: store.AlarmBox, At: &store.Point{Lat: 30.16, Lon: 103.16}},
	{ID: "b-7", Kind: store.AlarmBox, At: &store.Point{Lat: 30.17, Lon: 103.17}},
	{ID: "u-1", Kind: store.PatrolCar},
	{ID: "u-2", Kind: store.PatrolCar},
}

// playHistory makes a database of it.
func playHistory(t *testing.T, seed uint64, incidents int) (db *store.Store, file string) {
	h := &history{t: t, rand: rand.New(rand.NewPCG(seed, 1)), now: began.Add(-24 * time.Hour), lanes: make(map[string]*lane), said: make(map[string]int)}
	file = filepath.Join(t.TempDir(), "history.db")
	db, err := store.Open(t.Context(), file, func() time.Time { return h.now })
	h.must(err)
	t.Cleanup(func() {
		if err := db.Shut(); err != nil {
			t.Error(err)
		}
	})
	h.db = db
	for _, r := range yards {
		r.Key, r.Name = key.Public().(ed25519.PublicKey), "name of "+r.ID
		h.must(db.Register(t.Context(), r))
	}
	li := incident.Actor{Name: "li", Screen: incident.ScreenDesk}
	_, err = db.LoadGrid(t.Context(), li, squareGrid(false))
	h.must(err)
	h.plan(began.AddDate(0, 0, 21), func() {
		_, err := db.LoadGrid(t.Context(), li, squareGrid(true))
		h.must(err)
	})
	for _, r := range yards {
		first := h.now
		switch r.ID {
		case "b-7":
			continue
		case "b-6":
			first = began.AddDate(0, 0, 17).Add(7 * time.Hour)
		}
		h.plan(first, func() {
			h.tells(r.ID, wire.Duty, 0, true, false, wire.NewHealth(time.Hour, "1", nil))
			if r.Kind == store.PatrolCar && r.ID == "u-1" { // u-2 never says where it is
				h.tells(r.ID, wire.Track, 0, true, false, &wire.TrackBatch{Fixes: []wire.TrackFix{{Time: h.now.UnixMilli(), LatE6: 30_150_000, LonE6: 103_150_000, Flags: wire.Fix3D}}})
			}
		})
	}
	h.outages()
	h.rounds()
	for range incidents {
		at := began.Add(-12 * time.Hour).Add(h.within(ended.Sub(began) + 24*time.Hour))
		if h.chance(15) { // about midnight of the end of a week or a month
			at = pick(h, began, began.AddDate(0, 0, 7), began.AddDate(0, 0, 4), began.AddDate(0, 0, 35), ended)
			if h.chance(70) {
				at = at.Add(h.within(20*time.Minute) - 10*time.Minute)
			}
		}
		h.plan(at, h.press)
	}
	for range 12 { // what nobody pressed counts nowhere
		h.plan(began.Add(h.within(ended.Sub(began))), func() {
			h.tells("b-3", wire.Alarm, 0, true, false, &wire.Fault{Code: "tamper", Active: true})
		})
	}
	h.play()
	for _, what := range []string{
		"drill", "no clock", "late", "pressed again", "reopened", "cancelled", "returned", "suspended", "left open", "left acknowledged",
		"never sent", "on scene", "said late", "refused", "unit closed", "closed real", "closed false_alarm", "closed test", "closed drill",
		"closed duplicate", "closed unfounded", "desk on scene", "checked only", "a drill was sent to",
	} {
		if h.said[what] == 0 {
			t.Fatalf("seed %d: nothing was %q: %v", seed, what, h.said)
		}
	}
	return db, file
}

// outages lets devices fall silent and come back, at whole minutes.
func (h *history) outages() {
	for _, id := range []string{"b-1", "b-2", "b-5", "b-6", "u-1"} {
		at := began.Add(-6 * time.Hour)
		if id == "b-6" {
			at = began.AddDate(0, 0, 18)
		}
		for {
			at = at.Add(time.Duration(h.rand.IntN(9*24*60)) * time.Minute)
			from := at
			if from.After(ended) {
				break
			}
			h.plan(from.Add(85*time.Second), func() {
				h.must(h.db.Supervise(h.t.Context(), store.Supervision{Links: []store.LinkChange{{Device: id, Link: store.LinkOffline, Since: from}}}))
			})
			at = at.Add(time.Duration(2+h.rand.IntN(3*24*60)) * time.Minute)
			if to := at; id != "b-2" || to.Before(ended.AddDate(0, 0, -7)) { // b-2 stays away
				h.plan(to, func() {
					h.must(h.db.Supervise(h.t.Context(), store.Supervision{Links: []store.LinkChange{{Device: id, Link: store.LinkLive, Since: to}}}))
				})
			} else {
				break
			}
		}
	}
}

const recountPlan = `zone: Asia/Shanghai
people: [{id: V-1, name: a, kind: patrol}, {id: V-2, name: b, kind: patrol}]
rounds:
  - {id: evening, name: "@evening", who: [V-1], points: [b-1, b-3], at: ["20:00"], within: 30m}
  - {id: night, name: night, who: [V-1, V-2], points: [b-2, b-5], at: ["23:50"], within: 30m}
`

// rounds lets patrols come by, in time, late, as a drill, with the wrong finger, or not.
func (h *history) rounds() {
	_, err := h.db.LoadRoster(h.t.Context(), incident.Actor{Name: "li"}, []byte(recountPlan))
	h.must(err)
	for day := range 44 {
		midnight := began.AddDate(0, 0, day-1)
		for point, due := range map[string]time.Duration{"b-1": 20 * time.Hour, "b-3": 20 * time.Hour, "b-2": 23*time.Hour + 50*time.Minute, "b-5": 23*time.Hour + 50*time.Minute} {
			b := &wire.CheckIn{By: wire.CheckInButton, Button: "round"}
			drill := false
			switch h.rand.IntN(8) {
			case 0:
				continue
			case 1:
				drill = true
			case 2:
				*b = wire.CheckIn{By: wire.CheckInFinger, Officer: "V-1"}
			case 3:
				*b = wire.CheckIn{By: wire.CheckInFinger, Officer: "V-9"} // of no round
			}
			h.plan(midnight.Add(due).Add(h.within(59*time.Minute)), func() { h.tells(point, wire.Duty, 0, true, drill, b) })
		}
	}
}

// press begins an incident and plans its way.
func (h *history) press() {
	device := pick(h, "b-1", "b-2", "b-3", "b-4", "b-5", "u-1", "u-2")
	drill := h.chance(20)
	body := &wire.AlarmRaised{
		Alarm: wire.NewAlarmID(), Kind: pick(h, wire.Panic, wire.Panic, wire.Medical, wire.Fire, wire.Duress), Button: "b", Press: 1,
	}
	if device == "u-1" && h.chance(70) {
		body.Position = &wire.Position{LatE7: 300_500_000, LonE7: 1_030_500_000, AgeMs: 900}
	}
	ago := h.within(3 * time.Second)
	if h.chance(10) {
		h.said["late"]++
		ago = h.within(20 * time.Hour)
	}
	clock := !h.chance(15)
	if !clock {
		h.said["no clock"]++
	}
	if drill {
		h.said["drill"]++
	}
	h.tells(device, wire.Alarm, ago, clock, drill, body)
	list, err := h.db.Incidents(h.t.Context(), store.Filter{Device: device})
	h.must(err)
	id := slices.MaxFunc(list, func(a, b incident.Incident) int { return int(a.ID - b.ID) }).ID
	if h.chance(15) {
		h.said["pressed again"]++
		h.plan(h.now.Add(h.within(10*time.Second)), func() {
			again := *body
			again.Press = 2
			h.tells(device, wire.Alarm, 0, clock, drill, &again)
		})
	}
	h.way(id, drill, h.now.Add(-ago))
	if h.chance(6) { // the box is still latched when it was closed, and somebody presses
		h.plan(h.now.Add(10*time.Hour+h.within(time.Hour)), func() {
			if i, err := h.db.Incident(h.t.Context(), id); err == nil && i.State == incident.Closed {
				h.said["reopened"]++
				again := *body
				again.Press = 3
				h.tells(device, wire.Alarm, 0, clock, drill, &again)
			}
		})
	}
}

// take takes a step that the state may not allow any more.
func (h *history) take(id int64, by string, s incident.Step) bool {
	_, err := h.db.Take(h.t.Context(), id, incident.Actor{Name: by, Screen: incident.ScreenDesk}, s)
	if err != nil && !errors.Is(err, incident.ErrState) && !errors.Is(err, incident.ErrField) {
		h.t.Fatal(err)
	}
	return err == nil
}

// way plans what is done with an incident.
func (h *history) way(id int64, drill bool, pressed time.Time) {
	at := h.now
	after := func(most time.Duration) time.Time { at = at.Add(time.Millisecond + h.within(most)); return at }
	step := func(most time.Duration, s incident.Step, what string) {
		h.plan(after(most), func() {
			if h.take(id, "li", s) && what != "" {
				h.said[what]++
			}
		})
	}
	if h.chance(7) {
		h.said["left open"]++
		return
	}
	if limit := pressed.Add(15 * time.Second); h.chance(8) && limit.After(at) { // at the limit is in time
		at = limit
		h.plan(limit, func() { h.take(id, "li", incident.Step{Name: incident.StepAcknowledge}) })
	} else if h.chance(95) {
		step(30*time.Second, incident.Step{Name: incident.StepAcknowledge}, "")
	}
	if h.chance(6) {
		h.said["left acknowledged"]++
		return
	}
	unit := ""
	if h.chance(75) {
		unit = pick(h, "u-1", "u-2", "name of u-2", "民兵三组")
		step(90*time.Second, incident.Step{Name: incident.StepDispatch, Unit: unit}, "")
		if drill {
			h.said["a drill was sent to"]++
		}
		h.unit(id, unit, after)
	} else {
		h.said["never sent"]++
	}
	switch h.rand.IntN(12) {
	case 0: // two agree to give it up
		step(time.Minute, incident.Step{Name: incident.StepCancel, Note: "why"}, "")
		h.plan(after(time.Minute), func() {
			if h.take(id, "wang", incident.Step{Name: incident.StepApprove}) {
				h.said["cancelled"]++
			}
		})
		return
	case 1, 2: // back, and sent again
		what := pick(h, incident.StepReturn, incident.StepSuspend)
		step(time.Minute, incident.Step{Name: what, Note: "why"}, "")
		h.plan(after(time.Minute), func() {
			if h.take(id, "wang", incident.Step{Name: incident.StepApprove}) {
				h.said[map[string]string{incident.StepReturn: "returned", incident.StepSuspend: "suspended"}[what]]++
			}
		})
		step(time.Minute, incident.Step{Name: incident.StepResume}, "")
		step(time.Minute, incident.Step{Name: incident.StepDispatch, Unit: "u-1"}, "")
		h.unit(id, "u-1", after)
	}
	if h.chance(92) {
		code := pick(h, append(incident.Codes(), incident.Real, incident.Real, incident.FalseAlarm)...)
		step(3*time.Hour, incident.Step{Name: incident.StepClose, Code: code, Note: "n: m"}, "closed "+string(code))
	}
}

// unit plans what a unit says, some of it a long time after.
func (h *history) unit(id int64, unit string, after func(time.Duration) time.Time) {
	device := map[string]string{"u-1": "u-1", "u-2": "u-2", "name of u-2": "u-2"}[unit]
	answer := func(most time.Duration, a wire.Answer, code wire.CloseCode, note, what string) {
		given, late := after(most), time.Duration(0)
		if h.chance(15) {
			late = h.within(4 * time.Hour)
			h.said["said late"]++
		}
		h.plan(given.Add(late), func() {
			h.said[what]++
			h.tells(device, wire.Duty, h.now.Sub(given), true, false, &wire.UnitAnswer{Incident: uint64(id), Rev: 1, Answer: a, Code: code, Note: note})
		})
	}
	desk := func(s incident.Step, what string) {
		h.plan(after(15*time.Minute), func() {
			if h.take(id, "li", s) {
				h.said[what]++
			}
		})
	}
	switch {
	case device == "" && h.chance(70):
		desk(incident.Step{Name: incident.StepOnScene}, "desk on scene")
	case device == "" || h.chance(15):
		desk(incident.Step{Name: incident.StepChecked, Note: "seen"}, "checked only")
	case h.chance(15):
		answer(time.Minute, wire.AnswerRefused, 0, "no", "refused")
	case h.chance(80):
		answer(time.Minute, wire.AnswerAccepted, 0, "", "accepted")
		answer(2*time.Minute, wire.AnswerEnRoute, 0, "", "en route")
		answer(25*time.Minute, wire.AnswerOnScene, 0, "", "on scene")
		if h.chance(50) {
			answer(25*time.Minute, wire.AnswerChecked, 0, "seen", "checked")
		}
		if h.chance(20) {
			answer(25*time.Minute, wire.AnswerClosed, wire.CloseReal, "", "unit closed")
		}
	}
}

// historyDesk is a desk on that database.
func historyDesk(t *testing.T, db *store.Store) *world {
	return newWorld(t, func(o *console.Options) {
		o.Store, o.Ready = db, func(context.Context) error { return nil }
	})
}

// A visit that was made does not count as kept while those beside it may still be missed.
func TestRoundsOfTheFutureDoNotCount(t *testing.T) {
	w := newWorld(t, nil)
	now := time.Now().UTC()
	due := now.Add(-2 * time.Minute)
	plan := fmt.Sprintf("zone: UTC\npeople: [{id: V-1, name: a, kind: patrol}]\nrounds: [{id: n, name: n, who: [V-1], points: [box-01, box-02], at: [%q], within: 1h}]\n", due.Format("15:04"))
	if _, err := w.db.LoadRoster(t.Context(), incident.Actor{Name: "li"}, []byte(plan)); err != nil {
		t.Fatal(err)
	}
	w.send("box-01", wire.Duty, 0, &wire.CheckIn{By: wire.CheckInButton, Button: "round"})
	at := url.Values{"from": {now.Add(-time.Hour).Format(time.RFC3339)}, "to": {now.Add(6 * time.Hour).Format(time.RFC3339)}}.Encode()
	var rounds struct{ Visits []console.Visit }
	w.want(200, "GET", "/api/v1/rounds?"+at, "", &rounds)
	if len(rounds.Visits) != 2 || rounds.Visits[0].State != "kept" || rounds.Visits[1].State != "due" {
		t.Fatalf("%+v: want one visit kept and one due", rounds.Visits)
	}
	var s console.Statistics
	w.want(200, "GET", "/api/v1/stats?"+at, "", &s)
	if len(s.Rounds) != 0 || len(s.Areas) != 1 || s.Areas[0].Kept != 0 {
		t.Errorf("%+v %+v: want no rounds yet", s.Rounds, s.Areas)
	}
}
