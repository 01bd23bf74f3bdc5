package console_test

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fengsui/fengsui/cloud-bridge/account"
	"github.com/fengsui/fengsui/cloud-bridge/console"
	"github.com/fengsui/fengsui/cloud-bridge/store"
	"github.com/fengsui/fengsui/firmware/wire"
)

// absent skips a test for want of a part, or fails it where all parts must be there.
func absent(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s", what)
	}
	t.Skip(what)
}

// TestBrowser runs web/desk.browser.mjs in Chromium against a desk over a seeded store.
// Its screenshots are in .build/screenshots at the top of the repository.
func TestBrowser(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		absent(t, "node is not installed: apt-get install nodejs")
	}
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		absent(t, "chromium is not installed: apt-get install chromium")
	}
	if _, err := os.Stat("web/node_modules/playwright-core"); err != nil {
		absent(t, "playwright-core is not installed: run npm ci in cloud-bridge/console/web")
	}
	if _, err := os.Stat("dist/maplibre/maplibre-gl.mjs"); err != nil {
		absent(t, "the map's files are not built: run npm run build in cloud-bridge/console/web")
	}
	shots, err := filepath.Abs("../../.build/screenshots")
	if err != nil {
		t.Fatal(err)
	}
	s := newStage(t)
	run := exec.CommandContext(t.Context(), node, "desk.browser.mjs", s.desk.URL, s.control.URL, shots)
	run.Dir = "web"
	run.Env = append(os.Environ(), "CHROMIUM="+chromium)
	out, err := run.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Errorf("the browser's run: %v", err)
	}
}

// stage is one address of a desk whose world can be exchanged, and whose link can be cut.
type stage struct {
	t             *testing.T
	desk, control *httptest.Server

	mu    sync.Mutex
	world *world
	cut   bool
	conns map[net.Conn]bool
	box   string

	unlock func()
	move   chan struct{} // closed: the large district's cars stand
	moving sync.WaitGroup
}

func newStage(t *testing.T) *stage {
	s := &stage{t: t, world: newWorld(t, nil), conns: make(map[net.Conn]bool)}
	s.desk = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		desk := s.world.desk
		s.mu.Unlock()
		desk.ServeHTTP(w, r)
	}))
	s.desk.Config.ConnState = func(c net.Conn, state http.ConnState) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.conns[c] = state != http.StateClosed
		if s.cut && state == http.StateNew {
			_ = c.Close() // As if nobody listened.
		}
	}
	s.desk.Start()
	s.control = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := s.do(w, r); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
		}
	}))
	t.Cleanup(func() {
		_ = s.world.desk.Close()
		s.desk.Close()
		s.control.Close()
	})
	return s
}

// do takes one of the world's verbs.
func (s *stage) do(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	s.mu.Lock()
	world := s.world
	s.mu.Unlock()
	switch r.URL.Path {
	case "/reset": // a new, quiet world with cars on the road; perhaps with a map from elsewhere
		fresh := newWorld(s.t, func(o *console.Options) {
			if q.Has("style") {
				o.MapStyle = s.control.URL + "/style.json"
			}
		})
		seedCalm(fresh)
		s.mu.Lock()
		s.world = fresh
		s.mu.Unlock()
		return world.desk.Close() // Its readers come back to the new one.
	case "/busy":
		seedBusy(world)
	case "/redated":
		seedRedated(world)
	case "/hostile":
		return seedHostile(world)
	case "/gaps":
		seedGaps(world)
	case "/reader": // somebody was enrolled and taken away at a box, others were refused
		for _, b := range []wire.Body{
			&wire.FingerChanged{Action: wire.FingerEnrolled, Slot: 4, Officer: "P-1002", Role: wire.RoleOfficer, By: "test_key"},
			&wire.FingerChanged{Action: wire.FingerDeleted, Slot: 4, Officer: "P-1002", Role: wire.RoleOfficer, By: "P-0007"},
			&wire.SignRefused{Reason: "no_match", Slot: 7},
			&wire.Fault{Code: "fingerprint_locked", Active: true},
			&wire.SignRefused{Reason: "locked"},
			&wire.Fault{Code: "fingerprint_locked"},
			&wire.SignRefused{Reason: "bad_pin"},
		} {
			world.send("box-01", wire.Duty, 0, b)
		}
	case "/learned": // a box that nobody has surveyed
		return seedLearned(world)
	case "/late": // the three that car-02's report awaits
		world.lanes["car-02/track"].seq = 8
		for range 3 {
			world.fix("car-02", time.Minute, 30.0991, 103.1290, 45)
		}
	case "/scale": // a large district, whose cars move once a second until the next world
		fleet := seedScale(world)
		s.move = make(chan struct{})
		s.moving.Go(func() {
			tick := time.NewTicker(time.Second)
			defer tick.Stop()
			for {
				select {
				case <-s.move:
					return
				case <-tick.C:
					fleet.move()
				}
			}
		})
	case "/rest":
		close(s.move)
		s.moving.Wait()
	case "/lock":
		s.unlock = world.lock()
		// As an event would find out. An answer may be a second old.
		for world.db.Writable(r.Context()) == nil && r.Context().Err() == nil {
			time.Sleep(50 * time.Millisecond)
		}
	case "/unlock": // and something is stored again
		s.unlock()
		world.health("box-01", nil)
	case "/press":
		kind, err := wire.ParseAlarmKind(q.Get("kind"))
		if err != nil {
			return err
		}
		age, _ := strconv.Atoi(q.Get("age"))
		s.box = q.Get("device")
		world.press(q.Get("device"), kind, time.Duration(age)*time.Second)
	case "/shown": // the last box says that its lamps show what it was told
		pending, err := world.db.Pending(r.Context(), s.box)
		if err != nil {
			return err
		}
		for _, p := range pending {
			world.send(p.Device, wire.Duty, 0, &wire.NoticeShown{Alarm: p.Notice.Alarm, Rev: p.Notice.Rev, State: p.Notice.State})
		}
	case "/session": // a browser's, of somebody who is signed in
		secret, err := world.session(q.Get("name"), account.Role(q.Get("role")))
		if err == nil {
			_, err = io.WriteString(w, string(secret))
		}
		return err
	case "/account": // a new one, with its one-time password
		_, oneTime, err := world.accounts.Create(r.Context(), account.Actor{}, q.Get("name"), account.Role(q.Get("role")), account.Scope{account.Everywhere}, account.Opening{})
		if err == nil {
			_, err = io.WriteString(w, oneTime)
		}
		return err
	case "/cut", "/restore":
		s.mu.Lock()
		defer s.mu.Unlock()
		s.cut = r.URL.Path == "/cut"
		for c, open := range s.conns {
			if s.cut && open {
				_ = c.Close()
			}
		}
	case "/style.json": // a map style of another origin
		w.Header().Set("Access-Control-Allow-Origin", "*")
		_, err := io.WriteString(w, `{"version":8,"sources":{},"layers":[{"id":"sea","type":"background","paint":{"background-color":"#204060"}}]}`)
		return err
	default:
		return errors.New("no verb " + r.URL.Path)
	}
	return nil
}

// seedCalm lets boxes beat and cars drive; one car's last fix is old.
func seedCalm(w *world) {
	for _, p := range places {
		if p.id != "box-06" {
			w.health(p.id, map[wire.Lane]uint64{wire.Alarm: 0, wire.Duty: 0, wire.Track: uint64(len(p.name))})
		}
	}
	queue := map[wire.Lane]uint64{wire.Alarm: 0, wire.Duty: 0, wire.Track: 3}
	for id, h := range map[string]wire.Health{ // of networks
		"box-02": {WiFi: "joined", SSID: "石桥村", RadioDBm: -61},
		"box-03": {WiFi: "refused", SSID: "Shiqiao village, by the river 12", Operator: "中国移动", RAT: "lte", SignalDBm: -97},
	} {
		h.UptimeMs, h.Firmware, h.Queue = 3_600_000, "0.2.0", queue
		w.send(id, wire.Duty, 0, &h)
	}
	w.fix("car-01", 40*time.Second, 30.1080, 103.1180, 200)
	w.fix("car-01", time.Second, 30.1052, 103.1168, 212)
	w.fix("car-02", 28*time.Second, 30.0991, 103.1290, 45)
	w.fix("car-03", 14*time.Minute, 30.1023, 103.1207, 90) // beside box-01, a quarter of an hour ago
	w.send("car-01", wire.Duty, 0, &wire.SignOn{Officer: "P-1001", Slot: 1, Score: 140})
}

// seedRedated adds an alarm of a box that learned the time of day after it, to which a car
// was sent that says it was there ten minutes before that.
func seedRedated(w *world) {
	seedCalm(w)
	other := func(e *wire.Event) { e.Stream = wire.StreamID{9} } // of which nothing else is known
	w.send("box-05", wire.Alarm, 40*time.Second, &wire.AlarmRaised{Alarm: wire.NewAlarmID(), Kind: wire.Panic, Button: "panic", Press: 1},
		other, func(e *wire.Event) { e.Wall = wire.Wall{} })
	w.want(200, "POST", "/api/v1/incidents/1/acknowledge", `{"by":"李梅"}`, nil)
	w.want(200, "POST", "/api/v1/incidents/1/dispatch", `{"by":"李梅","unit":"car-01"}`, nil)
	w.send("car-01", wire.Duty, 10*time.Minute, &wire.UnitAnswer{Incident: 1, Rev: 1, Answer: wire.AnswerOnScene})
	w.send("box-05", wire.Duty, 0, &wire.SignRefused{Reason: "no_match"}, other)
}

// seedLearned adds a box that the register gives no place, and its alarm.
func seedLearned(w *world) error {
	err := w.db.Register(w.t.Context(), store.Registration{ID: "box-77", Kind: store.AlarmBox, Name: "New Hamlet", Key: key.Public().(ed25519.PublicKey)})
	if err == nil {
		w.send("box-77", wire.Alarm, 0, &wire.AlarmRaised{
			Alarm: wire.NewAlarmID(), Kind: wire.Panic, Button: "panic", Press: 1,
			Position: &wire.Position{LatE7: 301_055_000, LonE7: 1_031_170_000, Source: wire.PositionLearned, Spread: 7},
		})
	}
	return err
}

// seedBusy adds incidents of every sort and devices with every trouble.
func seedBusy(w *world) {
	seedCalm(w)
	w.press("box-01", wire.Panic, 42*time.Second, func(a *wire.AlarmRaised) { a.Silent = true })
	fire := wire.NewAlarmID()
	for press := range uint64(3) {
		w.send("box-02", wire.Alarm, 95*time.Second, &wire.AlarmRaised{Alarm: fire, Kind: wire.Fire, Button: "fire", Press: press + 1})
	}
	w.send("box-05", wire.Alarm, 0, &wire.AlarmRaised{Alarm: wire.NewAlarmID(), Kind: wire.Medical, Button: "medical", Press: 1},
		func(e *wire.Event) { e.Wall, e.Stream = wire.Wall{}, wire.StreamID{9} }) // of which nothing else is known
	w.press("box-03", wire.Medical, 21*time.Minute)
	w.send("box-04", wire.Alarm, 5*time.Second, &wire.AlarmRaised{Alarm: wire.NewAlarmID(), Kind: wire.Panic, Button: "panic", Press: 1},
		func(e *wire.Event) { e.Drill, e.Boot, e.Wall.Uncertainty = true, 2, 90*time.Second })
	w.send("car-02", wire.Alarm, 20*time.Second, &wire.AlarmRaised{
		Alarm: wire.NewAlarmID(), Kind: wire.Panic, Button: "panic", Press: 1,
		Position: &wire.Position{LatE7: 300_991_000, LonE7: 1_031_290_000, AgeMs: 4000, HDOP: 9},
	},
		func(e *wire.Event) { e.Officer = "P-1002" })
	w.press("box-06", wire.Fire, 50*time.Minute)
	// A box that was started in 1970 by its clock, and one whose first boot somebody cut.
	w.send("box-05", wire.Alarm, 4*time.Minute, &wire.AlarmRaised{Alarm: wire.NewAlarmID(), Kind: wire.Fire, Button: "fire", Press: 1},
		func(e *wire.Event) { e.Wall = wire.Wall{UnixMilli: e.Mono.Milliseconds()} })
	w.send("box-06", wire.Alarm, 0, &wire.AlarmRaised{Alarm: wire.NewAlarmID(), Kind: wire.Medical, Button: "medical", Press: 1},
		func(e *wire.Event) {
			e.Boot, e.Mono, e.Wall = 2, 3*time.Second, wire.Wall{UnixMilli: 3_471_292_800_000}
		})
	step := func(id int, verb, body string) {
		w.want(200, "POST", fmt.Sprintf("/api/v1/incidents/%d/%s", id, verb), body, nil)
	}
	step(4, "acknowledge", `{"by":"李梅"}`)
	step(6, "acknowledge", `{"by":"王建国"}`)
	step(6, "dispatch", `{"by":"王建国","unit":"car-01"}`)
	step(7, "acknowledge", `{"by":"李梅"}`)
	step(7, "close", `{"by":"李梅","code":"false_alarm","note":"粮库测试烟感"}`)
	w.send("box-03", wire.Duty, 0, &wire.Fault{Code: "button_stuck:panic", Active: true, Detail: "low for 60 s"})
	w.send("car-03", wire.Duty, 0, &wire.Fault{Code: "gps_lost", Active: true})
	w.send("box-05", wire.Duty, 0, wire.NewHealth(time.Minute, "0.2.0", map[wire.Lane]uint64{wire.Duty: 12}), func(e *wire.Event) { e.Seq += 40 })
	_, err := w.db.Commit(w.t.Context(), store.Batch{Refusals: []store.Refusal{
		{At: time.Now(), Topic: "fs/v1/box-99/up/alarm", Reason: "unknown device", Detail: "no device box-99 is registered", Size: 311},
		{At: time.Now(), Topic: "fs/v1/box-01/up/duty", Reason: "bad signature", Detail: strings.Repeat("x", 60), Size: 1204},
	}})
	if err != nil {
		w.t.Error(err)
	}
}
