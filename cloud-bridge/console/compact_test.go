package console_test

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"reflect"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/fengsui/fengsui/cloud-bridge/account"
	"github.com/fengsui/fengsui/cloud-bridge/console"
	"github.com/fengsui/fengsui/cloud-bridge/store"
	"github.com/fengsui/fengsui/firmware/wire"
)

// held is what a reader of the compact stream knows of a device, at its precision.
type held struct {
	Link, Officer string
	Heard         int64 // ms since 1970; 0: never
	Faults        int
	Queue         int64
	Fixed         int64 // when; 0: never
	Lat, Lon      float64
	Speed, Course float64 // -1: unknown
}

func round1(v *float64) float64 {
	if v == nil {
		return -1
	}
	return math.Round(*v*10) / 10
}

// heldOf is the same of a whole device.
func heldOf(d *console.Device) held {
	h := held{Link: d.Link.State, Officer: d.Officer, Faults: len(d.Faults), Speed: -1, Course: -1}
	if !d.LastHeard.IsZero() {
		h.Heard = d.LastHeard.UnixMilli()
	}
	if d.Queue != nil {
		h.Queue = int64(d.Queue.Alarm + d.Queue.Duty + d.Queue.Track)
	}
	if f := d.LastFix; f != nil {
		h.Fixed, h.Speed, h.Course = f.Time.UnixMilli(), round1(f.Speed), round1(f.Track)
		h.Lat, h.Lon = math.Round(f.Lat*1e5)/1e5, math.Round(f.Lon*1e5)/1e5
	}
	return h
}

// A reader keeps devices as the desk's page does: it fetches all at each hello, and then
// applies what the compact stream tells.
type reader struct {
	w       *world
	secret  account.Secret
	devices map[string]held
	events  <-chan event
	stop    context.CancelFunc
	raw     strings.Builder // all that the stream has told
	gone    int
	judge   func(moves []byte) // holds them to the document; nil: nobody does
}

// open connects to a desk at url.
func (r *reader) open(url string) {
	r.w.t.Helper()
	ctx, stop := context.WithCancel(r.w.t.Context())
	r.stop = stop
	q, err := http.NewRequestWithContext(ctx, "GET", url+"/api/v1/stream?devices=compact", nil)
	if err != nil {
		r.w.t.Fatal(err)
	}
	q.Header.Set("Authorization", "Bearer "+string(r.secret))
	answer, err := http.DefaultClient.Do(q)
	if err != nil {
		r.w.t.Fatal(err)
	}
	if answer.StatusCode != 200 {
		r.w.t.Fatal(answer.Status)
	}
	events := make(chan event, 1000)
	r.events = events
	go func() {
		defer close(events)
		defer answer.Body.Close()
		var e event
		lines := bufio.NewScanner(answer.Body)
		lines.Buffer(nil, 4<<20)
		for lines.Scan() {
			switch name, value, _ := strings.Cut(lines.Text(), ": "); name {
			case "event":
				e.name = value
			case "data":
				e.data = value
			case "":
				events <- e
				e = event{}
			}
		}
	}()
	for e := range events {
		if e.name == "hello" {
			r.devices = r.all()
			return
		}
	}
	r.w.t.Fatal("the stream ended before hello")
}

// all is what the full API says.
func (r *reader) all() map[string]held {
	r.w.t.Helper()
	answer, raw := r.w.do("GET", "/api/v1/devices", "", "Authorization", "Bearer "+string(r.secret))
	var list struct{ Devices []console.Device }
	if err := json.Unmarshal(raw, &list); err != nil || answer.StatusCode != 200 {
		r.w.t.Fatalf("%s %v", answer.Status, err)
	}
	out := make(map[string]held)
	for i := range list.Devices {
		out[list.Devices[i].ID] = heldOf(&list.Devices[i])
	}
	return out
}

// take applies an event.
func (r *reader) take(e event) {
	r.w.t.Helper()
	r.raw.WriteString(e.data)
	if e.name != "moves" {
		if e.name == "device" {
			r.w.t.Error("the compact stream tells a whole device")
		}
		return
	}
	var m struct {
		At    time.Time
		Moves [][]any
		Gone  []string
	}
	if err := json.Unmarshal([]byte(e.data), &m); err != nil {
		r.w.t.Fatalf("%v in %s", err, e.data)
	}
	if r.judge != nil {
		r.judge([]byte(e.data))
	}
	at := m.At.UnixMilli()
	number := func(v any) float64 {
		if v == nil {
			return -1
		}
		return v.(float64)
	}
	for _, row := range m.Moves {
		h := r.devices[row[0].(string)]
		h.Link, h.Officer, h.Faults, h.Queue = row[1].(string), row[3].(string), int(row[4].(float64)), int64(row[5].(float64))
		if row[2] != nil {
			h.Heard = at - int64(row[2].(float64))
		}
		h.Speed, h.Course = number(row[9]), number(row[10])
		if row[6] != nil {
			h.Fixed, h.Lat, h.Lon = at-int64(row[6].(float64)), row[7].(float64), row[8].(float64)
		}
		r.devices[row[0].(string)] = h
	}
	for _, id := range m.Gone {
		delete(r.devices, id)
		r.gone++
	}
}

// same fails unless what the reader holds becomes what the full API says.
func (r *reader) same(when string) {
	r.w.t.Helper()
	limit := time.After(20 * time.Second)
	for {
		want := r.all()
		if reflect.DeepEqual(r.devices, want) {
			return
		}
		select {
		case e, open := <-r.events:
			if !open {
				r.w.t.Fatalf("%s: the stream ended", when)
			}
			r.take(e)
		case <-limit:
			for id, h := range want {
				if got, has := r.devices[id]; !has || got != h {
					r.w.t.Errorf("%s: %s is %+v, the reader has %+v", when, id, h, got)
				}
			}
			for id := range r.devices {
				if _, has := want[id]; !has {
					r.w.t.Errorf("%s: the reader has %s, which it does not see", when, id)
				}
			}
			return
		}
	}
}

// restart ends the centre and starts it anew on the same database.
func (w *world) restart() {
	w.t.Helper()
	if err := w.desk.Close(); err != nil {
		w.t.Fatal(err)
	}
	if err := w.db.Shut(); err != nil {
		w.t.Fatal(err)
	}
	var err error
	if w.db, err = store.Open(w.t.Context(), w.file, nil); err != nil {
		w.t.Fatal(err)
	}
	if w.accounts, err = account.New(w.t.Context(), account.Options{Keeper: w.db, Cost: cheap}); err != nil {
		w.t.Fatal(err)
	}
	if w.desk, err = console.New(console.Options{Store: w.db, Accounts: w.accounts, Grid: w.db, Version: "test"}); err != nil {
		w.t.Fatal(err)
	}
}

// stir lets something happen to some device.
func (w *world) stir(random *rand.Rand, n int) {
	w.t.Helper()
	id := places[random.IntN(len(places))].id
	age := time.Duration(random.IntN(60_000)) * time.Millisecond
	switch random.IntN(9) {
	case 0, 1, 2:
		w.fix(id, age, 30+random.Float64(), 103+random.Float64(), int64(random.IntN(360)))
	case 3:
		w.health(id, map[wire.Lane]uint64{wire.Alarm: uint64(random.IntN(3)), wire.Track: uint64(random.IntN(900))})
	case 4:
		w.send(id, wire.Duty, 0, &wire.Fault{Code: fmt.Sprintf("f%d", random.IntN(3)), Active: random.IntN(2) == 0})
	case 5:
		w.send(id, wire.Duty, 0, &wire.SignOn{Officer: fmt.Sprintf("<P-%d> \"警\"", random.IntN(9)), Slot: 1, Score: 9})
	case 6:
		w.send(id, wire.Duty, 0, &wire.SignOff{Officer: "P", Reason: "finger"})
	case 7:
		link := []store.Link{store.LinkSuspect, store.LinkOffline, store.LinkLive}[random.IntN(3)]
		if err := w.db.Supervise(w.t.Context(), store.Supervision{Links: []store.LinkChange{{Device: id, Link: link, Since: time.Now()}}}); err != nil {
			w.t.Error(err)
		}
	case 8:
		if err := w.db.Register(w.t.Context(), store.Registration{ID: fmt.Sprintf("new-%d", n), Kind: store.AlarmBox, Key: make([]byte, 32)}); err != nil {
			w.t.Error(err)
		}
	}
}

// Whoever applies the compact stream holds what the full API says, from whichever moment on,
// and after each reconnection and each restart of the centre.
func TestCompactStreamHoldsWhatTheAPISays(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	w := newWorld(t, nil)
	r := &reader{w: w, secret: w.token("tester")}
	url := w.served()
	n := 0
	some := func() {
		for range 1 + random.IntN(30) {
			n++
			w.stir(random, n)
		}
	}
	some()
	r.open(url)
	r.same("at first")
	for _, what := range []string{"with the stream", "with the stream", "reconnected", "restarted"} {
		switch what {
		case "reconnected":
			r.stop()
			some()
			r.open(url)
		case "restarted":
			w.restart()
			for range r.events { // ended by the centre
			}
			some()
			url = w.served()
			r.open(url)
		}
		some()
		r.same(what)
	}
	r.stop()
}

// A reader who is bound to a part of the grid is told of that part alone: also when a car
// comes into it or leaves it, when the grid changes, and when the reader's scope does.
func TestCompactStreamIsBounded(t *testing.T) {
	w := newWorld(t, func(o *console.Options) { o.Grid = o.Store.(*store.Store) })
	if _, raw := w.do("PUT", "/api/v1/grid", gridOf("Inside", "Outside"), "Content-Type", "application/geo+json"); !strings.Contains(string(raw), `"cell":2`) {
		t.Fatalf("grid: %s", raw)
	}
	for id, lon := range map[string]float64{"box-in": 0.005, "box-out": 0.015} {
		if err := w.db.Register(t.Context(), store.Registration{ID: id, Kind: store.AlarmBox, At: &store.Point{Lat: 0.5, Lon: lon}, Key: key.Public().(ed25519.PublicKey)}); err != nil {
			t.Fatal(err)
		}
	}
	const inside, outside = 0.004, 0.016
	drive := func(car string, lon float64) { w.fix(car, 0, 0.5, lon, 90) }
	drive("car-01", inside)
	drive("car-02", outside)
	drive("car-03", outside)
	r := &reader{w: w, secret: w.grant("a bound viewer", account.Viewer, account.Scope{"v-0"})}
	d := readDocument(t)
	r.judge = func(moves []byte) { d.valid("moves", d.at("components", "schemas", "Moves"), moves) }
	url := w.served()
	r.open(url)
	sees := func(when string, ids ...string) {
		t.Helper()
		r.same(when)
		if len(r.devices) != len(ids) {
			t.Errorf("%s: the reader has %v: want %v", when, r.devices, ids)
		}
		for _, id := range ids {
			if _, has := r.devices[id]; !has {
				t.Errorf("%s: the reader does not have %s", when, id)
			}
		}
	}
	sees("at first", "box-in", "car-01")
	drive("car-01", inside+0.001)
	drive("car-02", outside+0.001)
	w.health("box-out", nil)
	w.health("box-in", nil)
	sees("all have moved", "box-in", "car-01")
	drive("car-02", inside)
	sees("one has come", "box-in", "car-01", "car-02")
	drive("car-01", outside)
	sees("one has left", "box-in", "car-02")
	drive("car-01", outside+0.001)
	drive("car-02", inside+0.002)
	sees("that one moves on", "box-in", "car-02")
	drive("car-01", inside)
	sees("it has come back", "box-in", "car-01", "car-02")
	if r.gone != 1 {
		t.Errorf("%d devices were told to be gone: want 1", r.gone)
	}
	for _, other := range []string{"box-out", "car-03"} {
		if strings.Contains(r.raw.String(), other) {
			t.Errorf("the reader was told of %s", other)
		}
	}
	// Another scope ends the stream; the next one has the other part.
	w.want(200, "POST", fmt.Sprintf("/api/v1/accounts/%d/assign", w.account("a bound viewer")), `{"role":"viewer","scope":"v-1"}`, nil)
	for range r.events {
	}
	r.open(url)
	sees("with another scope", "box-out", "car-03")
	drive("car-03", outside+0.002)
	sees("and it moves", "box-out", "car-03")
	r.stop()
}

// BenchmarkStream measures what one reader of a large district's stream costs, in bytes and
// in the centre's processor time a second, both of the compact stream and of the one with
// whole devices: 5,000 boxes, and 300 cars that move once a second. The time is that of the
// whole process, the reader's end of the connection included, less what moving the cars
// takes with no reader. "ratio" is to the stream with whole devices.
func BenchmarkStream(b *testing.B) {
	w := newWorld(b, nil)
	fleet := seedScale(w)
	url := w.served()
	const seconds = 8
	// run returns bytes and processor time a second.
	run := func(b *testing.B, path string) (bytes, cpu float64) {
		var n atomic.Int64
		ctx, stop := context.WithCancel(b.Context())
		defer stop()
		if path != "" {
			q, err := http.NewRequestWithContext(ctx, "GET", url+path, nil)
			if err != nil {
				b.Fatal(err)
			}
			answer, err := http.DefaultClient.Do(q)
			if err != nil {
				b.Fatal(err)
			}
			defer answer.Body.Close()
			go func() {
				p := make([]byte, 64<<10)
				for {
					got, err := answer.Body.Read(p)
					if n.Add(int64(got)); err != nil {
						return
					}
				}
			}()
		}
		fleet.move()
		time.Sleep(time.Second)
		n.Store(0)
		before := processorTime(b)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for range seconds {
			fleet.move()
			<-tick.C
		}
		return float64(n.Load()) / seconds, (processorTime(b) - before).Seconds() / seconds
	}
	for b.Loop() {
		_, idle := run(b, "")
		bytes, cpu := run(b, "/api/v1/stream")
		small, less := run(b, "/api/v1/stream?devices=compact")
		b.ReportMetric(bytes/1024, "whole-KiB/s")
		b.ReportMetric(small/1024, "compact-KiB/s")
		b.ReportMetric(small/bytes, "bytes-ratio")
		b.ReportMetric((cpu-idle)*1000, "whole-cpu-ms/s")
		b.ReportMetric((less-idle)*1000, "compact-cpu-ms/s")
		b.ReportMetric((less-idle)/(cpu-idle), "cpu-ratio")
	}
}

// processorTime is what this process has used.
func processorTime(t testing.TB) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
