package console_test

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fengsui/fengsui/cloud-bridge/account"
	"github.com/fengsui/fengsui/cloud-bridge/console"
	"github.com/fengsui/fengsui/cloud-bridge/store"
	"github.com/fengsui/fengsui/firmware/wire"
)

// Every route is described, and nothing is described that is no route; every route has a
// rule, and every rule a route; and the document names the role that the rule wants.
func TestOpenAPIDescribesEveryRoute(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var all, routes []string
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?:api|HandleFunc|Handle)\("([A-Z]+ /[^"]*)"`).FindAllStringSubmatch(string(source), -1) {
			all = append(all, m[1])
			if _, path, _ := strings.Cut(m[1], " "); strings.HasPrefix(path, "/api/") || slices.Contains([]string{"/healthz", "/readyz", "/metrics"}, path) {
				routes = append(routes, m[1])
			}
		}
	}
	rules := console.Rules()
	slices.Sort(all)
	if ruled := slices.Sorted(maps.Keys(rules)); !slices.Equal(all, ruled) {
		t.Errorf("routes %q\nrules  %q", all, ruled)
	}
	var described []string
	for path, item := range readDocument(t).at("paths") {
		for method, operation := range item.(map[string]any) {
			if method == "parameters" {
				continue
			}
			route := strings.ToUpper(method) + " " + path
			described = append(described, route)
			op := operation.(map[string]any)
			role, _ := op["x-role"].(string)
			whole, _ := op["x-whole-district"].(bool)
			open := op["security"] != nil
			if r := rules[route]; string(r.Least) != role || r.Whole != whole || open != (role == "") {
				t.Errorf("%s: the document says role %q, whole %v, open %v; the rule is %+v", route, role, whole, open, r)
			}
		}
	}
	slices.Sort(routes)
	slices.Sort(described)
	if len(routes) < 10 || !slices.Equal(routes, described) {
		t.Errorf("routes %q\ndescribed %q", routes, described)
	}
}

// What the desk really answers is what the document says, members, types and all.
func TestOpenAPIAnswers(t *testing.T) {
	d := readDocument(t)
	w := newWorld(t, func(o *console.Options) {
		o.Key = key
		o.Metrics = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			_, _ = fmt.Fprintln(w, "up 1")
		})
		o.SMS = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = fmt.Fprintln(w, `{"result":"stored","to":"+8613800000001","answer":"AA=="}`)
		})
	})
	seedBusy(w)
	sendEverything(w)
	photo := sendPhoto(w, "car-01", 1)
	called := make(map[string]bool)
	call := func(method, path, target, body string, header ...string) {
		t.Helper()
		answer, raw := w.do(method, target, body, header...)
		operation := d.at("paths", path, strings.ToLower(method))
		responses := d.deref(operation["responses"])
		status := fmt.Sprint(answer.StatusCode)
		if responses[status] == nil {
			status = "default"
		}
		media, _, _ := strings.Cut(answer.Header.Get("Content-Type"), ";")
		content := d.deref(d.deref(responses[status])["content"])
		if content[media] == nil {
			t.Errorf("%s %s: %s of %s is not described", method, target, answer.Status, media)
			return
		}
		if schema := content[media].(map[string]any)["schema"]; strings.HasSuffix(media, "json") {
			d.valid(method+" "+target+" "+answer.Status, schema, raw)
		}
		if answer.StatusCode == http.StatusOK {
			called[method+" "+path] = true
		}
	}
	const v1 = "/api/v1"
	call("GET", v1+"/incidents", v1+"/incidents", "")
	call("GET", v1+"/incidents", v1+"/incidents?state=closed&limit=1", "")
	call("GET", v1+"/incidents", v1+"/incidents?state=x", "")
	for id := range 8 {
		call("GET", v1+"/incidents/{id}", fmt.Sprintf("%s/incidents/%d", v1, id), "")
	}
	call("POST", v1+"/incidents/{id}/dispatch", v1+"/incidents/1/dispatch", `{"by":"Li","unit":"car-01"}`)
	call("POST", v1+"/incidents/{id}/acknowledge", v1+"/incidents/1/acknowledge", `{"by":"Li"}`)
	call("POST", v1+"/incidents/{id}/dispatch", v1+"/incidents/1/dispatch", `{"by":"Li","unit":"car-01"}`)
	for _, step := range []struct{ name, members string }{
		{"take_over", `"from":"nobody"`},
		{"take_over", `"from":"Li"`},
		{"en_route", ``},
		{"add_unit", `"unit":"car-02","note":"by the school"`},
		{"on_scene", `"unit":"car-01"`},
		{"checked", `"note":"a cooker"`},
		{"note", `"note":"x"`},
		{"return", `"reason":"x"`},
		{"deny", `"reason":"x"`},
		{"suspend", `"reason":"x"`},
		{"approve", ``},
		{"resume", ``},
		{"sound", ``},
		{"hush", ``},
		{"return", `"reason":"x"`},
		{"cancel", `"reason":"x"`},
	} {
		by := "Sun"
		if step.name == "approve" {
			by = "Zhou"
		}
		members := `{"by":"` + by + `"`
		if step.members != "" {
			members += "," + step.members
		}
		if step.name == "sound" {
			call("PUT", v1+"/groups/{id}", v1+"/groups/ten", `{"by":"Li","name":"x","automatic":true,"devices":["box-01","box-02","box-03","box-04","box-05","box-06"]}`)
			call("GET", v1+"/groups", v1+"/groups", "")
		}
		call("POST", v1+"/incidents/{id}/"+step.name, v1+"/incidents/1/"+step.name, members+"}")
		if step.name == "return" { // asked for a moment only
			call("POST", v1+"/incidents/{id}/return", v1+"/incidents/1/return", members+"}")
		}
	}
	for id := range 8 { // the first is a silent one
		call("POST", v1+"/incidents/{id}/sound", fmt.Sprintf("%s/incidents/%d/sound", v1, id), `{"by":"Li"}`)
	}
	for _, path := range []string{"sounds", "units", "attachments", "audit"} {
		call("GET", v1+"/incidents/{id}/"+path, v1+"/incidents/1/"+path, "")
		call("GET", v1+"/incidents/{id}/"+path, v1+"/incidents/999/"+path, "")
	}
	call("GET", v1+"/incidents/{id}/evidence", v1+"/incidents/1/evidence", "")
	call("GET", v1+"/attachments/{id}", v1+"/attachments/"+photo, "")
	call("GET", v1+"/attachments/{id}", v1+"/attachments/0", "")
	call("GET", v1+"/audit", v1+"/audit", "")
	call("DELETE", v1+"/groups/{id}", v1+"/groups/ten", "")
	call("DELETE", v1+"/groups/{id}", v1+"/groups/ten", "")
	call("GET", v1+"/units", v1+"/units", "")
	call("POST", v1+"/units/{id}/state", v1+"/units/car-02/state", `{"by":"Li","state":"busy","reason":"fuel"}`)
	call("POST", v1+"/units/{id}/state", v1+"/units/box-01/state", `{"by":"Li","state":"busy"}`)
	call("GET", v1+"/grid", v1+"/grid", "")
	call("PUT", v1+"/grid", v1+"/grid", readFile(t, "../../sim/grid.geojson"))
	call("PUT", v1+"/grid", v1+"/grid", `{"type":"FeatureCollection"}`)
	call("GET", v1+"/grid", v1+"/grid", "")
	call("POST", v1+"/drills", v1+"/drills", `{"by":"Li","on":true,"minutes":30,"devices":["box-01"]}`)
	call("POST", v1+"/drills", v1+"/drills", `{"by":"Li","on":true}`)
	call("GET", v1+"/drills", v1+"/drills", "")
	call("PUT", v1+"/groups/{id}", v1+"/groups/twelve", `{"by":"Li","name":"Twelve","automatic":true,"devices":["box-01","box-02","box-03"]}`)
	call("POST", v1+"/drills", v1+"/drills", `{"by":"Li","on":true,"minutes":30,"group":"twelve"}`)
	w.press("box-01", wire.Panic, 0)
	call("GET", v1+"/exercises", v1+"/exercises", "")
	call("GET", v1+"/exercises/{id}", v1+"/exercises/1", "")
	call("GET", v1+"/exercises/{id}", v1+"/exercises/2", "")
	call("GET", v1+"/exercises/{id}/csv", v1+"/exercises/1/csv", "")
	call("DELETE", v1+"/groups/{id}", v1+"/groups/twelve", "")
	call("GET", v1+"/roster", v1+"/roster", "")
	call("PUT", v1+"/roster", v1+"/roster", `{"zone":"UTC","people":[{"id":"P-7","name":"x","kind":"officer"}],
		"shifts":[{"who":"P-7","from":"00:00","to":"00:00"}],
		"rounds":[{"id":"r","name":"r","who":["P-7"],"points":["box-01"],"at":["00:00","06:00","12:00","18:00"],"within":"5h"}]}`)
	call("GET", v1+"/roster", v1+"/roster", "")
	call("GET", v1+"/duty", v1+"/duty", "")
	call("GET", v1+"/rounds", v1+"/rounds", "")
	call("GET", v1+"/policy", v1+"/policy", "")
	call("GET", v1+"/stats", v1+"/stats?per=day&tier=village&zone=Asia/Shanghai", "")
	call("GET", v1+"/stats", v1+"/stats?per=hour", "")
	call("GET", v1+"/stats.csv", v1+"/stats.csv", "")
	call("GET", v1+"/summary", v1+"/summary", "")
	call("GET", v1+"/incidents", v1+"/incidents?area=d&drill=false&since=2020-01-01T00:00:00Z", "")
	call("POST", v1+"/incidents/{id}/close", v1+"/incidents/1/close", `{"by":"Li"}`)
	call("POST", v1+"/incidents/{id}/close", v1+"/incidents/1/close", `{"by":"Li","code":"real","note":"x"}`)
	call("POST", v1+"/sms", v1+"/sms", `{"from":"+8613800000001","data":"AA=="}`)
	call("GET", v1+"/devices", v1+"/devices", "")
	for _, p := range places {
		call("GET", v1+"/devices/{id}", v1+"/devices/"+p.id, "")
		call("GET", v1+"/devices/{id}/gaps", v1+"/devices/"+p.id+"/gaps", "")
		call("GET", v1+"/devices/{id}/fingers", v1+"/devices/"+p.id+"/fingers", "")
		call("GET", v1+"/devices/{id}/events", v1+"/devices/"+p.id+"/events?limit=1000", "")
		call("GET", v1+"/devices/{id}/track", v1+"/devices/"+p.id+"/track", "")
	}
	call("GET", v1+"/devices/{id}", v1+"/devices/none", "")
	call("GET", v1+"/devices/{id}/gaps", v1+"/devices/none/gaps", "")
	call("GET", v1+"/devices/{id}/fingers", v1+"/devices/none/fingers", "")
	call("GET", v1+"/gaps", v1+"/gaps", "")
	call("GET", v1+"/gaps", v1+"/gaps?device=box-05&lane=duty&why=not_yet,never&final=false&limit=1", "")
	call("GET", v1+"/gaps", v1+"/gaps?why=lost", "")
	call("GET", v1+"/refused", v1+"/refused", "")
	p := func(path string) string { return strings.NewReplacer("{id}", "3").Replace(path) }
	for _, c := range []struct{ path, body string }{
		{"/session", ""}, {"/sessions", ""}, {"/tokens", ""}, {"/accounts", ""}, {"/accounts/{id}", ""},
	} {
		call("GET", v1+c.path, v1+p(c.path), c.body)
	}
	if _, err := w.session("Mei", account.Admin); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ path, body string }{
		{"/session", `{"name":"Mei","password":"wrong"}`},
		{"/session", `{"name":"Mei"}`},
		{"/session", `{"name":"Mei","password":"` + password + `"}`},
		{"/tokens", `{"label":"x","days":"3","role":"viewer"}`},
		{"/tokens", `{"label":""}`},
		{"/tokens/{id}/revoke", ""},
		{"/accounts", `{"name":"Wang","role":"viewer","scope":"*"}`},
		{"/accounts", `{"name":"Wang","role":"viewer","scope":"*"}`},
		{"/accounts/{id}/assign", `{"role":"viewer","scope":"a,b"}`},
		{"/accounts/{id}/reset", ""},
		{"/accounts/{id}/disable", `{}`},
		{"/accounts/{id}/enable", `{"x":"y"}`},
		{"/accounts/{id}/enable", ""},
		{"/session/password", `{"old":"x","password":"y"}`},
		{"/session/end", ""},
	} {
		call("POST", v1+c.path, v1+p(c.path), c.body)
	}
	newest := w.accounts.Tokens(w.account("tester"))
	call("POST", v1+"/tokens/{id}/revoke", fmt.Sprintf("%s/tokens/%d/revoke", v1, newest[len(newest)-1].ID), "")
	// What concerns a browser's own session.
	secret, err := w.session("Mei", account.Admin)
	if err != nil {
		t.Fatal(err)
	}
	cookie := "fengsui-loopback=" + string(secret)
	call("GET", v1+"/sessions", v1+"/sessions", "", "Cookie", cookie)
	call("GET", v1+"/session", v1+"/session", "", "Cookie", cookie)
	call("POST", v1+"/session/password", v1+"/session/password", `{"old":"`+password+`","password":"eleven wet umbrellas"}`, "Cookie", cookie)
	if secret, _, err = w.accounts.SignIn(t.Context(), "Mei", "eleven wet umbrellas", account.From{}, ""); err != nil {
		t.Fatal(err)
	}
	mine := w.accounts.Sessions(w.account("Mei"))[0].ID
	call("POST", v1+"/sessions/{id}/end", fmt.Sprintf("%s/sessions/s%d/end", v1, mine), "", "Cookie", "fengsui-loopback="+string(secret))
	call("GET", v1+"/openapi.yaml", v1+"/openapi.yaml", "")
	call("GET", "/healthz", "/healthz", "")
	call("GET", "/readyz", "/readyz", "")
	call("GET", "/metrics", "/metrics", "")
	for path, item := range d.at("paths") {
		for method := range item.(map[string]any) {
			name := strings.ToUpper(method) + " " + path
			if method != "parameters" && !called[name] && path != v1+"/stream" {
				t.Errorf("%s was never answered with 200", name)
			}
		}
	}
}

// sendEverything makes a device send every type of body, one unknown among them.
func sendEverything(w *world) {
	alarm := w.press("box-01", wire.Panic, 0)
	for _, body := range []wire.Body{
		&wire.SignOn{Officer: "P-7", Slot: 1, Score: 99},
		&wire.SignOff{Officer: "P-7", Reason: "finger"},
		&wire.SignRefused{Reason: "no_match"},
		&wire.Fault{Code: "gps_lost", Active: true},
		&wire.Commissioned{Verdict: wire.CommissionFail, Passed: 9, Failed: 1, Problems: []string{"gps"}, By: "P-7", Firmware: "1"},
		&wire.NoticeShown{Alarm: alarm, Rev: 1, State: wire.NoticeAcknowledged},
		&wire.Dropped{Ranges: []wire.DroppedRange{
			{Stream: wire.StreamID{1, 2, 3, 4, 5, 6, 7, 8}, Lane: wire.Track, From: 3, To: 9, Why: wire.DropFull, Events: 7, Fixes: 70, First: 1, Last: 2},
		}},
		&wire.StreamStarted{Previous: wire.StreamID{9}, Why: wire.StartRolledBack, Salvaged: map[wire.Lane]uint64{wire.Alarm: 1}, Detail: "x"},
		&wire.Sounded{Alarm: alarm, Rev: 1, On: true, By: wire.SoundedByCentre, Device: "box-02"},
		&wire.CheckIn{By: wire.CheckInButton, Button: "round", Position: &wire.Position{LatE7: 1, LonE7: 2}},
		&wire.ModeSet{Rev: 1, Drill: true},
		&wire.UnitAnswer{Incident: 1, Rev: 1, Answer: wire.AnswerClosed, Code: wire.CloseTest, Attachments: []wire.Hash{{1}}},
		&wire.UnitAnswer{Incident: 9999, Rev: 1, Answer: wire.AnswerAccepted},
		&wire.Note{Incident: 1, Text: "x"},
		&wire.UnknownBody{BodyType: 4711, Raw: []byte{0xa1, 0x01, 0x02}},
	} {
		w.send("box-01", wire.Duty, 0, body)
	}
	w.send("box-01", wire.Alarm, 0, &wire.AlarmCleared{Alarm: alarm, By: wire.ClearedByOfficer, Officer: "P-7"})
	w.send("box-01", wire.Track, 0, &wire.TrackBatch{Fixes: []wire.TrackFix{{Time: time.Now().UnixMilli(), LatE6: 1, LonE6: 2}}})
}

// sendPhoto makes a car send a file in two parts, and returns its id.
func sendPhoto(w *world, device string, incident uint64) string {
	body := append([]byte("\xff\xd8\xff\xe0"), make([]byte, 20_000)...)
	whole := sha256.Sum256(body)
	for n, part := range [][]byte{body[:16<<10], body[16<<10:]} {
		w.send(device, wire.Track, 0, &wire.AttachmentPart{
			Whole: whole[:], Size: uint64(len(body)), Index: uint64(n), Count: 2, Bytes: part, MIME: "image/jpeg", Incident: incident,
		})
	}
	return wire.Hash(whole[:16]).String()
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// The stream's events are what the document says.
func TestOpenAPIStream(t *testing.T) {
	d := readDocument(t)
	w := newWorld(t, nil)
	events := follow(t, w.served())
	want := map[string]string{"hello": "Hello", "incident": "Incident", "device": "Device", "refused": "Refused", "beat": "Hello", "storage": "Storage"}
	go func() {
		w.press("box-01", wire.Panic, 0)
		_, err := w.db.Commit(t.Context(), store.Batch{Refusals: []store.Refusal{{At: time.Now(), Topic: "x", Reason: "r", Size: 1}}})
		if err != nil {
			t.Error(err)
		}
	}()
	for e := range events {
		if name := want[e.name]; name != "" {
			d.valid(e.name, d.at("components", "schemas", name), []byte(e.data))
			delete(want, e.name)
		}
		if len(want) == 1 && want["beat"] != "" || len(want) == 0 {
			return // A beat has hello's shape, and 5 s are long.
		}
	}
	t.Errorf("the stream ended without %v", slices.Collect(maps.Keys(want)))
}

// An outside judge says whether the document is OpenAPI 3.1.
func TestOpenAPIIsValid(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		absent(t, "node is not installed: apt-get install nodejs")
	}
	if _, err := os.Stat("web/node_modules/@seriousme/openapi-schema-validator"); err != nil {
		absent(t, "@seriousme/openapi-schema-validator is not installed: run npm ci in cloud-bridge/console/web")
	}
	run := exec.CommandContext(t.Context(), node, "openapi.mjs", "../openapi.yaml")
	run.Dir = "web"
	if out, err := run.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}
