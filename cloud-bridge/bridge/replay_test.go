package bridge_test

import (
	"crypto/ed25519"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/fengsui/fengsui/firmware/wire"
)

// packet is a message on its topic.
type packet struct {
	topic string
	msg   []byte
}

// history is a device that makes events of every sort, and hellos.
type history struct {
	t       testing.TB
	device  string
	seq     map[wire.Lane]uint64
	prev    map[wire.Lane]wire.Hash
	n       int
	alarm   wire.AlarmID
	presses uint64
	began   time.Time // its boot
	mono    time.Duration

	alarms, fixes, entries, events int // of what it made: incidents, fixes, timeline entries, events
}

func newHistory(t testing.TB, device string) *history {
	return &history{t: t, device: device, seq: make(map[wire.Lane]uint64), prev: make(map[wire.Lane]wire.Hash), began: time.Now()}
}

// next makes the next message. Every hundredth is a hello.
func (h *history) next() packet {
	h.n++
	h.mono = max(time.Since(h.began), h.mono+10*time.Microsecond).Truncate(10 * time.Microsecond)
	if h.n%100 == 0 {
		w := make(map[wire.Lane]wire.Window)
		for _, l := range wire.Lanes() {
			w[l] = wire.Window{Oldest: 1, Next: h.seq[l] + 1}
		}
		msg, err := wire.SealHello(&wire.Hello{
			Device: h.device, Stream: wire.StreamID{7}, Boot: 1, MonoMs: uint64(h.mono.Milliseconds()), Firmware: fmt.Sprint("0.", h.n), Window: w,
		}, deviceKey)
		if err != nil {
			h.t.Fatal(err)
		}
		return packet{wire.HelloTopic(h.device), msg}
	}
	now := h.began.Add(h.mono).UnixMilli()
	lane, body := wire.Track, wire.Body(nil)
	switch h.n % 20 {
	case 1:
		lane, h.alarm, h.presses = wire.Alarm, wire.NewAlarmID(), 1
		h.alarms++
		h.entries++
		body = &wire.AlarmRaised{Alarm: h.alarm, Kind: wire.Fire, Button: "b", Press: 1}
	case 2:
		lane = wire.Alarm
		h.presses++
		h.entries++
		body = &wire.AlarmRaised{Alarm: h.alarm, Kind: wire.Fire, Button: "b", Press: h.presses}
	case 3:
		lane = wire.Alarm
		h.entries++
		body = &wire.AlarmCleared{Alarm: h.alarm, By: wire.ClearedByOfficer, Officer: "P-1"}
	case 4:
		lane, body = wire.Duty, &wire.SignOn{Officer: fmt.Sprint("P-", h.n)}
	case 5:
		lane, body = wire.Duty, &wire.Fault{Code: "gps_lost", Active: h.n%40 == 5}
	case 6:
		lane, body = wire.Duty, wire.NewHealth(time.Duration(h.n)*time.Second, "1.0", map[wire.Lane]uint64{wire.Track: uint64(h.n)})
	case 7:
		lane, body = wire.Duty, &wire.Dropped{Ranges: []wire.DroppedRange{
			{Stream: wire.StreamID{6}, Lane: wire.Track, From: uint64(h.n), To: uint64(h.n) + 3, Why: wire.DropFull, Events: 4, Fixes: 9},
		}}
	case 8:
		lane, body = wire.Duty, &wire.StreamStarted{Previous: wire.StreamID{6}, Why: wire.StartDamaged}
	default:
		h.fixes += 2
		body = &wire.TrackBatch{Fixes: []wire.TrackFix{{Time: now - 500, LatE6: 30e6, LonE6: 103e6, Flags: wire.Fix3D}, {Time: now, LatE6: 30e6, LonE6: 103e6}}}
	}
	h.seq[lane]++
	h.events++
	e := &wire.Event{
		Device: h.device, Stream: wire.StreamID{7}, Lane: lane, Seq: h.seq[lane], Prev: h.prev[lane], Boot: 1, Mono: h.mono,
		Wall: wire.Wall{UnixMilli: now, Source: wire.WallGNSS, Uncertainty: time.Second}, Body: body,
	}
	msg, err := wire.Seal(e, deviceKey)
	if err != nil {
		h.t.Fatal(err)
	}
	h.prev[lane] = wire.HashOf(msg)
	return packet{wire.UpTopic(h.device, lane), msg}
}

// rows is what the centre's database holds: of each table the number of rows
// and a digest of them. How often something came again is left out, and what
// follows from silence: a slow run is longer than a device may be silent.
func rows(t *testing.T, data string) (counts map[string]int, digests map[string]string) {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(data, "centre.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var tables []string
	list, err := db.QueryContext(t.Context(), `SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' AND name NOT IN ('probe', 'goose_db_version')`)
	if err != nil {
		t.Fatal(err)
	}
	for list.Next() {
		var name string
		if err := list.Scan(&name); err != nil {
			t.Fatal(err)
		}
		tables = append(tables, name)
	}
	counts, digests = make(map[string]int), make(map[string]string)
	for _, table := range tables {
		text := `SELECT * FROM ` + table
		switch table {
		case "incidents":
			text += ` WHERE kind = 'fire'`
		case "timeline":
			text += ` WHERE incident IN (SELECT incident FROM incidents WHERE kind = 'fire')`
		}
		all, err := db.QueryContext(t.Context(), text)
		if err != nil {
			t.Fatal(err)
		}
		columns, err := all.Columns()
		if err != nil {
			t.Fatal(err)
		}
		var lines []string
		for all.Next() {
			values, into := make([]any, len(columns)), make([]any, len(columns))
			for i := range values {
				into[i] = &values[i]
			}
			if err := all.Scan(into...); err != nil {
				t.Fatal(err)
			}
			for i, column := range columns {
				switch table + "." + column {
				case "lanes.duplicates", "devices.link", "devices.link_since":
					values[i] = nil
				}
			}
			lines = append(lines, fmt.Sprint(values...))
		}
		if err := all.Err(); err != nil {
			t.Fatal(err)
		}
		slices.Sort(lines)
		counts[table], digests[table] = len(lines), fmt.Sprintf("%x", sha256.Sum256([]byte(strings.Join(lines, "\n"))))
	}
	counts["fixes"] = counts["undated"]
	batches, err := db.QueryContext(t.Context(), `SELECT e.message FROM tracks t JOIN events e ON e.event = t.event`)
	if err != nil {
		t.Fatal(err)
	}
	for batches.Next() {
		var msg []byte
		if err := batches.Scan(&msg); err != nil {
			t.Fatal(err)
		}
		e, err := wire.Peek(msg)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range e.Body.(*wire.TrackBatch).Fixes {
			if f.Flags&wire.DoubtTime == 0 {
				counts["fixes"]++
			}
		}
	}
	if err := batches.Err(); err != nil {
		t.Fatal(err)
	}
	return counts, digests
}

// Ten thousand messages that somebody on the broker has recorded and sends
// again add nothing and refresh nothing: in their order, in none, among live
// ones, and after the desk has closed what they were about.
func TestReplay(t *testing.T) {
	t.Parallel()
	drawn := *seed
	if drawn == 0 {
		drawn = rand.Uint64()
	}
	t.Logf("-seed %d", drawn)
	random := rand.New(rand.NewPCG(drawn, 2))
	data := t.TempDir()
	centreKey, err := hex.DecodeString(strings.TrimSpace(must(t, "key", "--data", data)))
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"car-01", "box-02", "box-03"} {
		must(t, "device", "add", "--data", data, "--id", id, "--kind", "patrol-car", "--key", publicHex(deviceKey))
	}
	// What the centre's own timers add to the timelines would be counted, too.
	p := startProcess(t, data, "--ack-within", "0", "--dispatch-within", "0", "--arrive-within", "0")
	client := func(id string) mqtt.Client {
		c := mqtt.NewClient(mqtt.NewClientOptions().AddBroker("tcp://" + p.mqtt).SetClientID(id).SetConnectTimeout(patience))
		if tok := c.Connect(); !tok.WaitTimeout(patience) || tok.Error() != nil {
			t.Fatalf("connect: %v", tok.Error())
		}
		t.Cleanup(func() { c.Disconnect(0) })
		return c
	}
	// Somebody listens.
	var mu sync.Mutex
	var recorded []packet
	spy := client("spy")
	if tok := spy.Subscribe("fs/v1/+/up/+", 1, func(_ mqtt.Client, m mqtt.Message) {
		mu.Lock()
		defer mu.Unlock()
		recorded = append(recorded, packet{m.Topic(), slices.Clone(m.Payload())})
	}); !tok.WaitTimeout(patience) || tok.Error() != nil {
		t.Fatal(tok.Error())
	}
	heard := func() int { mu.Lock(); defer mu.Unlock(); return len(recorded) }

	publish := func(c mqtt.Client, ps []packet) {
		t.Helper()
		for _, pk := range ps {
			if tok := c.Publish(pk.topic, 1, false, pk.msg); !tok.WaitTimeout(patience) || tok.Error() != nil {
				t.Fatalf("publish: %v", tok.Error())
			}
		}
	}
	// taken is how many events the centre has stored or refused as duplicates.
	taken := func() (stored, duplicates uint64) {
		var a struct {
			Totals map[string]struct{ Stored, Duplicates uint64 }
		}
		if status := p.get("/api/v1/gaps?limit=1", &a); status != 200 {
			t.Fatalf("gaps: status %d", status)
		}
		for _, l := range a.Totals {
			stored += l.Stored
			duplicates += l.Duplicates
		}
		return stored, duplicates
	}
	until := func(what string, done func() bool) {
		t.Helper()
		for end := time.Now().Add(3 * patience); !done(); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(end) {
				stored, duplicates := taken()
				t.Fatalf("never: %s; %d stored, %d duplicates", what, stored, duplicates)
			}
		}
	}

	const total, chunk = 10_000, 500
	devices := client("devices")
	car, box := newHistory(t, "car-01"), newHistory(t, "box-03")
	for range total / 2 / (chunk / 2) {
		var ps []packet
		for range chunk / 2 {
			ps = append(ps, car.next(), box.next())
		}
		publish(devices, ps)
		until("stored", func() bool { stored, _ := taken(); return stored == uint64(car.events+box.events) })
	}
	until("recorded", func() bool { return heard() == total })
	if tok := spy.Unsubscribe("fs/v1/+/up/+"); !tok.WaitTimeout(patience) || tok.Error() != nil {
		t.Fatal(tok.Error())
	}
	// The desk closes some of the incidents: a press that comes again must not
	// open others.
	for id := 1; id <= 20; id++ {
		body := strings.NewReader(`{"by":"Li","code":"test"}`)
		r, err := http.Post(fmt.Sprintf("%s/api/v1/incidents/%d/close", p.desk, id), "application/json", body)
		if err != nil {
			t.Fatal(err)
		}
		r.Body.Close()
		if r.StatusCode != 200 {
			t.Fatalf("close %d: %s", id, r.Status)
		}
	}
	counts, before := rows(t, data)
	if counts["events"] != car.events+box.events || counts["incidents"] != car.alarms+box.alarms || counts["fixes"] != car.fixes+box.fixes ||
		counts["timeline"] != car.entries+box.entries+20 {
		t.Fatalf("rows %v: want %d events, %d incidents, %d fixes", counts, car.events+box.events, car.alarms+box.alarms, car.fixes+box.fixes)
	}
	type state struct {
		LastHeard string `json:"last_heard"`
		Firmware  string
		Officer   string
		LastFix   json.RawMessage `json:"last_fix"`
	}
	look := func(id string) (s state) {
		p.get("/api/v1/devices/"+id, &s)
		var fix map[string]any
		if json.Unmarshal(s.LastFix, &fix) == nil {
			delete(fix, "age_s")
		}
		s.LastFix, _ = json.Marshal(fix)
		return s
	}
	boxBefore := look("box-03")

	// replay sends what was recorded, and what follows(i) adds at each place.
	clone := client("clone")
	replay := func(ps []packet, follows func(i int) []packet) {
		t.Helper()
		_, had := taken()
		sent := uint64(0)
		for at := 0; at < len(ps); at += chunk {
			for i, pk := range ps[at:min(at+chunk, len(ps))] {
				publish(clone, []packet{pk})
				if !strings.HasSuffix(pk.topic, wire.HelloKind) {
					sent++
				}
				if follows != nil {
					publish(devices, follows(at+i))
				}
			}
			until("taken as duplicates", func() bool { _, duplicates := taken(); return duplicates == had+sent })
		}
	}
	same := func(what string) {
		t.Helper()
		after, digests := rows(t, data)
		for table := range digests {
			if digests[table] != before[table] {
				t.Errorf("%s: table %s has changed: %d rows, and %d before", what, table, after[table], counts[table])
			}
		}
	}
	replay(recorded, nil)
	same("replayed in order")
	shuffled := slices.Clone(recorded)
	random.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
	replay(shuffled, nil)
	same("replayed in no order")

	// Among live ones, of a device that is replayed and of one that is not.
	acked := make(chan wire.Ack, 10_000)
	listen(t, devices, centreKey, "car-01", acked)
	other := newHistory(t, "box-02")
	was := *car
	replay(shuffled, func(i int) []packet {
		if i%10 != 0 {
			return nil
		}
		return []packet{car.next(), other.next()}
	})
	until("live ones stored", func() bool { stored, _ := taken(); return stored == uint64(car.events+box.events+other.events) })
	after, digests := rows(t, data)
	for table, n := range map[string]int{
		"events": car.events - was.events + other.events, "incidents": car.alarms - was.alarms + other.alarms,
		"timeline": car.entries - was.entries + other.entries, "fixes": car.fixes - was.fixes + other.fixes, "twice": 0, "breaks": 0, "holes": 0,
	} {
		if after[table] != counts[table]+n {
			t.Errorf("replayed among live ones: %d rows of %s: want %d", after[table], table, counts[table]+n)
		}
	}
	if digests["events"] == before["events"] {
		t.Error("nothing live was stored")
	}
	if now := look("box-03"); fmt.Sprint(now) != fmt.Sprint(boxBefore) {
		t.Errorf("a replay refreshed the device: %+v, before %+v", now, boxBefore)
	}
	// The real device's own events are acknowledged meanwhile, to its last one.
	devices.Publish(wire.HelloTopic("car-01"), 1, false, hello(t, "car-01", uint64(time.Since(car.began).Milliseconds())+1, car.seq))
	for late := time.After(patience); ; {
		select {
		case a := <-acked:
			if a.UpTo[wire.Alarm] > car.seq[wire.Alarm] || a.UpTo[wire.Track] > car.seq[wire.Track] {
				t.Fatalf("acknowledged %v, made %v", a.UpTo, car.seq)
			}
			if a.UpTo[wire.Alarm] < car.seq[wire.Alarm] || a.UpTo[wire.Duty] < car.seq[wire.Duty] || a.UpTo[wire.Track] < car.seq[wire.Track] {
				continue
			}
			if a.Hash[wire.Track] != car.prev[wire.Track] {
				t.Errorf("the last ack names another event")
			}
		case <-late:
			t.Fatal("no ack up to the last event")
		}
		break
	}
}

// hello seals one of a device that holds nothing.
func hello(t *testing.T, device string, mono uint64, seq map[wire.Lane]uint64) []byte {
	t.Helper()
	w := make(map[wire.Lane]wire.Window)
	for _, l := range wire.Lanes() {
		w[l] = wire.Window{Oldest: seq[l] + 1, Next: seq[l] + 1}
	}
	msg, err := wire.SealHello(&wire.Hello{Device: device, Stream: wire.StreamID{7}, Boot: 1, MonoMs: mono, Window: w}, deviceKey)
	if err != nil {
		t.Fatal(err)
	}
	return msg
}

// listen passes on the acknowledgements of a device's stream 7.
func listen(t *testing.T, c mqtt.Client, centreKey ed25519.PublicKey, device string, acks chan<- wire.Ack) {
	t.Helper()
	tok := c.Subscribe(wire.DownTopic(device), 0, func(_ mqtt.Client, m mqtt.Message) {
		d, err := wire.OpenDown(m.Payload(), centreKey, device)
		if err != nil {
			t.Error(err)
			return
		}
		if a, ok := d.Body.(*wire.Ack); ok && a.Stream == (wire.StreamID{7}) {
			select {
			case acks <- *a:
			default: // the last is asked for by a hello
			}
		}
	})
	if !tok.WaitTimeout(patience) || tok.Error() != nil {
		t.Fatal(tok.Error())
	}
}
