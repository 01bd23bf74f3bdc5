package console_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/fengsui/fengsui/cloud-bridge/console"
	"github.com/fengsui/fengsui/cloud-bridge/store"
	"github.com/fengsui/fengsui/firmware/wire"
)

func TestIncidentFromPressToClose(t *testing.T) {
	w := newWorld(t, nil)
	alarm := w.press("box-01", wire.Fire, 3*time.Second)

	var list struct{ Incidents []console.Incident }
	w.want(200, "GET", "/api/v1/incidents?state=open,acknowledged", "", &list)
	if len(list.Incidents) != 1 {
		t.Fatalf("%d incidents: want 1", len(list.Incidents))
	}
	i := list.Incidents[0]
	if i.State != "open" || i.Kind != "fire" || i.Device != "box-01" || i.DeviceName != "青石桥村口" || i.Alarm != alarm.String() || i.Timeline != nil {
		t.Errorf("listed %+v", i)
	}
	if i.Position == nil || i.Position.Source != "surveyed" || i.Position.AgeS != nil || i.PressedAt.Source != "gnss" || i.PressedAt.UncertaintyMS != 40 {
		t.Errorf("listed %+v, pressed %+v", i.Position, i.PressedAt)
	}

	at := "/api/v1/incidents/" + i.ID
	w.want(200, "POST", at+"/acknowledge", `{"by":" 李梅 "}`, &i)
	if i.State != "acknowledged" || i.Acknowledged == nil || i.Acknowledged.By != "李梅" {
		t.Errorf("acknowledged: %+v %+v", i, i.Acknowledged)
	}
	w.send("box-01", wire.Duty, 0, &wire.NoticeShown{Alarm: alarm, Rev: i.Rev, State: wire.NoticeAcknowledged})
	w.want(200, "GET", at, "", &i)
	if i.Shown == nil || i.Shown.State != "acknowledged" {
		t.Errorf("shown: %+v", i.Shown)
	}
	w.want(200, "POST", at+"/dispatch", `{"by":"李梅","unit":"car-01"}`, &i)
	if i.State != "dispatched" || i.Dispatched == nil || i.Dispatched.Unit != "car-01" {
		t.Errorf("dispatched: %+v", i.Dispatched)
	}
	w.want(200, "POST", at+"/close", `{"by":"李梅","code":"real","note":"line one\nline two"}`, &i)
	if i.State != "closed" || i.Closed == nil || i.Closed.Code != "real" || i.Closed.Note != "line one\nline two" {
		t.Errorf("closed: %+v", i.Closed)
	}
	if len(i.Timeline) != 5 {
		t.Errorf("timeline %+v: want five entries", i.Timeline)
	}
	w.want(200, "GET", "/api/v1/incidents?state=open,acknowledged,dispatched", "", &list)
	if len(list.Incidents) != 0 {
		t.Errorf("%d incidents are not closed: want none", len(list.Incidents))
	}
}

func TestIncidentWithoutTimeOrPlace(t *testing.T) {
	w := newWorld(t, nil)
	w.send("car-01", wire.Alarm, 0, &wire.AlarmRaised{Alarm: wire.NewAlarmID(), Kind: 77, Silent: true, Button: "b", Press: 1},
		func(e *wire.Event) { e.Wall = wire.Wall{}; e.Drill = true; e.Officer = "P-1001" })
	_, body := w.do("GET", "/api/v1/incidents", "")
	for _, want := range []string{
		`"pressed_at":{"time":null,"source":"none","uncertainty_ms":0,"corrected":false,"original":null}`, `"delay":null`, `"position":null`, `"missing":["time","position"]`,
		`"kind":"kind(77)"`, `"silent":true`, `"drill":true`, `"officer":"P-1001"`, `"acknowledged":null`, `"cleared":null`,
	} {
		if !strings.Contains(string(body), want) {
			t.Errorf("no %s in %s", want, body)
		}
	}
}

// The desk is told how sure a learned place is, and of no other.
func TestALearnedPlaceHasASpread(t *testing.T) {
	w := newWorld(t, nil)
	if err := seedLearned(w); err != nil {
		t.Fatal(err)
	}
	w.press("box-01", wire.Fire, 0)
	var list struct{ Incidents []console.Incident }
	w.want(200, "GET", "/api/v1/incidents", "", &list)
	for _, i := range list.Incidents {
		switch p := i.Position; {
		case p == nil, i.Device == "box-01" && p.Spread != nil:
			t.Errorf("%s: %+v", i.Device, p)
		case i.Device == "box-77" && (p.Source != "learned" || p.AgeS != nil || p.Spread == nil || *p.Spread != 7):
			t.Errorf("%s: %+v", i.Device, p)
		}
	}
	if len(list.Incidents) != 2 {
		t.Errorf("%d incidents: want 2", len(list.Incidents))
	}
}

func TestDevices(t *testing.T) {
	w := newWorld(t, nil)
	w.fix("car-01", 30*time.Second, 30.1, 103.1, 90)
	w.fix("car-01", 2*time.Second, 30.2, 103.2, 91)
	w.health("car-01", map[wire.Lane]uint64{wire.Track: 7})
	w.send("car-01", wire.Duty, 0, &wire.SignOn{Officer: "P-1001", Slot: 3, Score: 120})
	w.send("car-01", wire.Duty, 0, &wire.Fault{Code: "gps_lost", Active: true, Detail: "no sentence for 10 s"})
	w.send("box-02", wire.Duty, 0, wire.NewHealth(time.Second, "0.2.0", nil), func(e *wire.Event) { e.Seq = 9 })

	var list struct{ Devices []console.Device }
	w.want(200, "GET", "/api/v1/devices", "", &list)
	if len(list.Devices) != len(places) {
		t.Fatalf("%d devices: want %d", len(list.Devices), len(places))
	}
	var d console.Device
	w.want(200, "GET", "/api/v1/devices/car-01", "", &d)
	if d.Kind != "patrol-car" || d.Officer != "P-1001" || d.Firmware != "0.2.0" || d.Queue == nil || d.Queue.Track != 7 || d.Position != nil {
		t.Errorf("car: %+v", d)
	}
	if f := d.LastFix; f == nil || f.Lat != 30.2 || f.Mode != 3 || *f.Speed != 8.3 || *f.Track != 91 || f.AgeS < 2 || f.AgeS > 60 {
		t.Errorf("fix: %+v", f)
	}
	if len(d.Faults) != 1 || d.Faults[0].Code != "gps_lost" || d.HeardAgeS == nil || *d.HeardAgeS > 60 {
		t.Errorf("faults %+v, heard %v", d.Faults, d.HeardAgeS)
	}
	w.want(200, "GET", "/api/v1/devices/box-02", "", &d)
	if len(d.Gaps) != 1 || d.Gaps[0].From != 1 || d.Gaps[0].To != 8 || d.Gaps[0].Lane != "duty" {
		t.Errorf("gaps: %+v", d.Gaps)
	}
	d = console.Device{}
	w.want(200, "GET", "/api/v1/devices/box-06", "", &d)
	if d.HeardAgeS != nil || d.Queue != nil || d.LastFix != nil || d.Position == nil || d.Streams == nil {
		t.Errorf("a device that was never heard: %+v", d)
	}
}

func TestEventsByPages(t *testing.T) {
	w := newWorld(t, nil)
	w.press("box-01", wire.Panic, 0)
	for range 4 {
		w.health("box-01", map[wire.Lane]uint64{wire.Duty: 1})
	}
	var page struct {
		Events []console.Event
		Next   string
	}
	var types []string
	next := "0"
	for range 4 {
		w.want(200, "GET", "/api/v1/devices/box-01/events?limit=2&after="+next, "", &page)
		for _, e := range page.Events {
			types = append(types, e.Lane+" "+e.Type)
		}
		next = page.Next
	}
	if got, want := fmt.Sprint(types), "[alarm alarm_raised duty health duty health duty health duty health]"; got != want {
		t.Errorf("events %s: want %s", got, want)
	}
	w.want(200, "GET", "/api/v1/devices/box-01/events?lane=alarm", "", &page)
	var body map[string]any
	if err := json.Unmarshal(page.Events[0].Body, &body); err != nil || len(page.Events) != 1 || body["kind"] != "panic" {
		t.Errorf("alarm lane: %s, %v", page.Events[0].Body, err)
	}
}

func TestTrack(t *testing.T) {
	w := newWorld(t, nil)
	get := func(query string) (kind string, points int) {
		var c struct {
			Features []struct {
				Geometry struct {
					Type        string
					Coordinates []json.RawMessage
				}
				Properties struct{ Times []time.Time }
			}
		}
		w.want(200, "GET", "/api/v1/devices/car-01/track"+query, "", &c)
		if len(c.Features) == 0 {
			return "", 0
		}
		return c.Features[0].Geometry.Type, len(c.Features[0].Properties.Times)
	}
	if kind, n := get(""); kind != "" || n != 0 {
		t.Errorf("empty track: %s of %d", kind, n)
	}
	w.fix("car-01", 2*time.Minute, 30.1, 103.1, 90)
	if kind, n := get(""); kind != "Point" || n != 1 {
		t.Errorf("track of one fix: %s of %d", kind, n)
	}
	w.fix("car-01", time.Minute, 30.2, 103.1, 90)
	if kind, n := get(""); kind != "LineString" || n != 2 {
		t.Errorf("track of two fixes: %s of %d", kind, n)
	}
	w.send("car-01", wire.Track, 30*time.Second, &wire.TrackBatch{Fixes: []wire.TrackFix{
		{Time: time.Now().Add(-30 * time.Second).UnixMilli(), LatE6: 35e6, LonE6: 103e6, Flags: wire.Jumped},
	}})
	if kind, n := get(""); kind != "LineString" || n != 2 {
		t.Errorf("track of two fixes and a jump: %s of %d", kind, n)
	}
	if kind, n := get("?to=" + time.Now().Add(-90*time.Second).UTC().Format(time.RFC3339)); kind != "Point" || n != 1 {
		t.Errorf("track up to 90 s ago: %s of %d", kind, n)
	}
}

func TestRefused(t *testing.T) {
	w := newWorld(t, nil)
	_, err := w.db.Commit(t.Context(), store.Batch{Refusals: []store.Refusal{
		{At: time.Now(), Topic: "fs/v1/box-99/up/alarm", Reason: "unknown device", Detail: "no device box-99", Size: 311},
	}})
	if err != nil {
		t.Fatal(err)
	}
	var refused console.Refused
	w.want(200, "GET", "/api/v1/refused", "", &refused)
	if refused.Total != 1 || refused.ByReason["unknown device"] != 1 || len(refused.Recent) != 1 || refused.Recent[0].Size != 311 {
		t.Errorf("refused: %+v", refused)
	}
}

// Every bad request is answered with a problem document that says what is wrong.
func TestProblems(t *testing.T) {
	w := newWorld(t, func(o *console.Options) {
		o.Ready = func(context.Context) error { return errors.New("the disk is full") }
	})
	w.press("box-01", wire.Panic, 0)
	w.press("box-02", wire.Panic, 0)
	w.want(200, "POST", "/api/v1/incidents/2/close", `{"by":"Li","code":"test"}`, nil)
	long := strings.Repeat("长", 30)

	const api = "/api/v1"
	for _, c := range []struct {
		name, method, target, body string
		status                     int
		field, detail              string // the detail contains this
	}{
		{"nothing there", "GET", "/nothing", "", 404, "", "/nothing"},
		{"nothing in the API", "GET", api + "/nothing", "", 404, "", "/api/v1/nothing"},
		{"wrong method", "DELETE", api + "/incidents/1", "", 405, "method", "GET"},
		{"wrong method of a step", "GET", api + "/incidents/1/close", "", 405, "method", "POST"},
		{"no such incident", "GET", api + "/incidents/99", "", 404, "", "99"},
		{"id of another kind", "GET", api + "/incidents/abc", "", 404, "id", "abc"},
		{"id with a zero before", "GET", api + "/incidents/01", "", 404, "id", "01"},
		{"id beyond all", "GET", api + "/incidents/99999999999999999999", "", 404, "id", "decimal"},
		{"step of no incident", "POST", api + "/incidents/99/acknowledge", `{"by":"Li"}`, 404, "", "99"},
		{"unknown state", "GET", api + "/incidents?state=open,lost", "", 422, "state", "lost"},
		{"empty state", "GET", api + "/incidents?state=", "", 422, "state", "open"},
		{"limit 0", "GET", api + "/incidents?limit=0", "", 422, "limit", "1 to 1000"},
		{"limit of letters", "GET", api + "/incidents?limit=x", "", 422, "limit", "1 to 1000"},
		{"unknown parameter", "GET", api + "/incidents?stat=open", "", 422, "stat", "state, area, drill, since, until, limit"},
		{"parameter twice", "GET", api + "/incidents?limit=1&limit=2", "", 422, "limit", "once"},
		{"parameter where none is", "GET", api + "/devices?x=1", "", 422, "x", "no parameters"},
		{"bad query", "GET", api + "/incidents?limit=%zz", "", 400, "", "query"},
		{"no such device", "GET", api + "/devices/box-99", "", 404, "", "box-99"},
		{"events of no device", "GET", api + "/devices/box-99/events", "", 404, "", "box-99"},
		{"track of no device", "GET", api + "/devices/box-99/track", "", 404, "", "box-99"},
		{"unknown lane", "GET", api + "/devices/box-01/events?lane=x", "", 422, "lane", "alarm, duty or track"},
		{"bad cursor", "GET", api + "/devices/box-01/events?after=-1", "", 422, "after", "-1"},
		{"bad from", "GET", api + "/devices/box-01/track?from=yesterday", "", 422, "from", "RFC 3339"},
		{"from after to", "GET", api + "/devices/box-01/track?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", "", 422, "from", "before to"},
		{"stream with a parameter", "GET", api + "/stream?x=1", "", 422, "x", "only devices"},
		{"not JSON", "POST", api + "/incidents/1/acknowledge", `by=Li`, 400, "body", "not JSON"},
		{"cut short", "POST", api + "/incidents/1/acknowledge", `{"by":"Li"`, 400, "body", "not JSON"},
		{"cut shorter", "POST", api + "/incidents/1/acknowledge", `{"by"`, 400, "body", "not JSON"},
		{"array", "POST", api + "/incidents/1/acknowledge", `["Li"]`, 400, "body", "no object"},
		{"two objects", "POST", api + "/incidents/1/acknowledge", `{"by":"Li"}{}`, 400, "body", "follows"},
		{"not UTF-8", "POST", api + "/incidents/1/acknowledge", "{\"by\":\"\xff\"}", 400, "body", "UTF-8"},
		{"unknown member", "POST", api + "/incidents/1/acknowledge", `{"by":"Li","unit":"car-01"}`, 422, "unit", "takes by"},
		{"member of another case", "POST", api + "/incidents/1/acknowledge", `{"By":"Li"}`, 422, "By", "takes by"},
		{"member twice", "POST", api + "/incidents/1/acknowledge", `{"by":"Li","by":"Wang"}`, 422, "by", "once"},
		{"number for a name", "POST", api + "/incidents/1/acknowledge", `{"by":7}`, 422, "by", "a string"},
		{"null for a name", "POST", api + "/incidents/1/acknowledge", `{"by":null}`, 422, "by", "a string"},
		{"somebody else", "POST", api + "/incidents/1/acknowledge", `{"by":"centre"}`, 422, "by", `"tester", who is signed in`},
		{"blank", "POST", api + "/incidents/1/acknowledge", `{"by":"  "}`, 422, "by", "who is signed in"},
		{"name too long", "POST", api + "/incidents/1/acknowledge", `{"by":"` + long + `"}`, 422, "by", "who is signed in"},
		{"name of two lines", "POST", api + "/incidents/1/acknowledge", `{"by":"a\nb"}`, 422, "by", "who is signed in"},
		{"name that turns the line", "POST", api + "/incidents/1/acknowledge", `{"by":"a\u202eb"}`, 422, "by", "who is signed in"},
		{"no unit", "POST", api + "/incidents/1/dispatch", `{"by":"Li"}`, 422, "unit", "1 to 64 bytes"},
		{"no code", "POST", api + "/incidents/1/close", `{"by":"Li"}`, 422, "code", "false_alarm"},
		{"unknown code", "POST", api + "/incidents/1/close", `{"by":"Li","code":"whatever"}`, 422, "code", "false_alarm"},
		{"note too long", "POST", api + "/incidents/1/close", `{"by":"Li","code":"real","note":"` + strings.Repeat("x", 2001) + `"}`, 422, "note", "2000"},
		{"note with a bell", "POST", api + "/incidents/1/close", `{"by":"Li","code":"real","note":"\u0007"}`, 422, "note", "control"},
		{"huge body", "POST", api + "/incidents/1/acknowledge", `{"by":"` + strings.Repeat("x", 17<<10) + `"}`, 413, "body", "16384"},
		{"dispatch before acknowledge", "POST", api + "/incidents/1/dispatch", `{"by":"Li","unit":"car-01"}`, 409, "", "is open"},
		{"acknowledge when closed", "POST", api + "/incidents/2/acknowledge", `{"by":"Li"}`, 409, "", "is closed"},
		{"close twice", "POST", api + "/incidents/2/close", `{"by":"Li","code":"real"}`, 409, "", "is closed"},
		{"old asset", "GET", "/assets/0000/static/desk.js", "", 404, "", "load it again"},
		{"not ready", "GET", "/readyz", "", 503, "", "the disk is full"},
		{"no metrics given", "GET", "/metrics", "", 404, "", "/metrics"},
	} {
		t.Run(c.name, func(t *testing.T) {
			answer, body := w.do(c.method, c.target, c.body)
			var p console.Problem
			if err := json.Unmarshal(body, &p); err != nil {
				t.Fatalf("%s %s: %v", answer.Status, body, err)
			}
			if answer.StatusCode != c.status || p.Status != c.status || p.Field != c.field || !strings.Contains(p.Detail, c.detail) || p.Title == "" || p.Type == "" {
				t.Errorf("%s %s\nwant status %d, field %q, detail with %q", answer.Status, body, c.status, c.field, c.detail)
			}
			if got := answer.Header.Get("Content-Type"); got != "application/problem+json" {
				t.Errorf("Content-Type %q", got)
			}
			if c.status == 405 && answer.Header.Get("Allow") == "" {
				t.Error("no Allow")
			}
			if c.status == 409 && p.State == "" {
				t.Error("no state")
			}
		})
	}
	var i console.Incident
	w.want(200, "GET", api+"/incidents/1", "", &i)
	if i.Rev != 1 || i.State != "open" {
		t.Errorf("a refused request changed the incident: %+v", i)
	}
}

func TestContentType(t *testing.T) {
	w := newWorld(t, nil)
	w.press("box-01", wire.Panic, 0)
	for _, c := range []struct {
		contentType string
		status      int
	}{
		{"", 415},
		{"text/plain", 415},
		{"application/x-www-form-urlencoded", 415},
		{"application/json; charset", 415},
		{"application/json; charset=utf-8", 200},
	} {
		answer, body := w.do("POST", "/api/v1/incidents/1/acknowledge", `{"by":"Li"}`, "Content-Type", c.contentType)
		if answer.StatusCode != c.status {
			t.Errorf("%q: %s %s: want %d", c.contentType, answer.Status, body, c.status)
		}
	}
}

// A page of another origin cannot make a dispatcher's browser take a step.
func TestCrossOrigin(t *testing.T) {
	w := newWorld(t, nil)
	w.press("box-01", wire.Panic, 0)
	for _, c := range []struct {
		header []string
		status int
	}{
		{[]string{"Sec-Fetch-Site", "cross-site"}, 403},
		{[]string{"Sec-Fetch-Site", "same-site"}, 403},
		{[]string{"Origin", "https://elsewhere.example"}, 403},
		{[]string{"Sec-Fetch-Site", "same-origin"}, 200},
	} {
		answer, body := w.do("POST", "/api/v1/incidents/1/acknowledge", `{"by":"Li"}`, c.header...)
		if answer.StatusCode != c.status {
			t.Errorf("%v: %s %s: want %d", c.header, answer.Status, body, c.status)
		}
		if c.status == 403 && answer.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%v: %s", c.header, answer.Header.Get("Content-Type"))
		}
	}
}

func TestServiceEndpoints(t *testing.T) {
	w := newWorld(t, func(o *console.Options) {
		o.Metrics = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprintln(w, "fengsui_up 1") })
	})
	for target, want := range map[string]string{
		"/healthz":             `{"status":"ok","version":"test"}`,
		"/readyz":              `{"status":"ok","version":"test"}`,
		"/metrics":             "fengsui_up 1",
		"/api/v1/openapi.yaml": "openapi: 3.1",
	} {
		answer, body := w.do("GET", target, "")
		if answer.StatusCode != 200 || !strings.Contains(string(body), want) {
			t.Errorf("%s: %s %.80s: want %s", target, answer.Status, body, want)
		}
	}
}

// The store's own failures are told to the log, not to the caller.
func TestInternalError(t *testing.T) {
	w := newWorld(t, nil)
	w.press("box-01", wire.Panic, 0)
	broken, err := console.New(console.Options{Store: failing{w.db}, Accounts: w.accounts})
	if err != nil {
		t.Fatal(err)
	}
	w.desk = broken
	answer, body := w.do("GET", "/api/v1/devices", "")
	if answer.StatusCode != 500 || strings.Contains(string(body), "secret") {
		t.Errorf("%s %s", answer.Status, body)
	}
}

type failing struct{ console.Store }

func (failing) Devices(context.Context) ([]store.Device, error) {
	return nil, errors.New("secret path")
}

func TestNewRefusesBadOptions(t *testing.T) {
	w := newWorld(t, nil)
	if _, err := console.New(console.Options{Accounts: w.accounts}); err == nil {
		t.Error("no store: no error")
	}
	if _, err := console.New(console.Options{Store: w.db}); err == nil {
		t.Error("no accounts: no error")
	}
	for _, style := range []string{"map.json", "ftp://x/y", "https://", "http://a;b/style.json", "https://x y/"} {
		if _, err := console.New(console.Options{Store: w.db, Accounts: w.accounts, MapStyle: style}); err == nil || !strings.Contains(err.Error(), "want the http or https URL") {
			t.Errorf("map style %q: %v", style, err)
		}
	}
}
