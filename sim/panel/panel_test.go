package panel_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/fengsui/fengsui/cloud-bridge/bridge"
	"github.com/fengsui/fengsui/sim"
	"github.com/fengsui/fengsui/sim/district"
	"github.com/fengsui/fengsui/sim/panel"
	"github.com/fengsui/fengsui/sim/scenario"
)

func TestMain(m *testing.M) {
	if sim.IsChild(os.Args[1:]) {
		os.Exit(sim.Run(context.Background(), "test", os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// serve serves a district of a box and a car.
func serve(t *testing.T) string {
	t.Helper()
	self, err := district.Self()
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	d, err := district.Start(t.Context(), district.Options{
		Data: t.TempDir(), DeskAddr: "127.0.0.1:0", Seed: 1, Starter: self, Log: log,
		Devices: map[string]scenario.Device{
			"box-1": {Kind: "alarm-box", Name: `<b>"村口"</b>`, Siren: true, Buttons: map[string]scenario.Button{"panic": {Kind: "panic"}, "hush": {Kind: "panic", Silent: true}}},
			"car-1": {Kind: "patrol-car", GPS: true, Fingers: map[int]string{1: "P-1"}, At: &scenario.Place{Lat: 30, Lon: 103}},
		},
		Centre: func(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
			return bridge.Run(ctx, "test", args, stdin, stdout, stderr)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	p, err := panel.New(d, log)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(p)
	t.Cleanup(func() {
		p.Close()
		s.Close()
	})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := d.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	return s.URL
}

func do(t *testing.T, method, url, body string) (int, http.Header, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if strings.HasPrefix(body, "{") || strings.HasPrefix(body, "[") {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, b
}

func TestVerbs(t *testing.T) {
	url := serve(t)
	view := func() (v district.View) {
		_, _, b := do(t, "GET", url+"/devices/box-1", "")
		if err := json.Unmarshal(b, &v); err != nil {
			t.Fatal(err)
		}
		return v
	}
	post := func(path, body string) {
		t.Helper()
		if code, _, b := do(t, "POST", url+path, body); code != http.StatusOK {
			t.Fatalf("%s: %d %s", path, code, b)
		}
	}
	eventually := func(what string, f func() bool) {
		t.Helper()
		for deadline := time.Now().Add(10 * time.Second); !f(); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("not within 10 s: %s: %+v", what, view())
			}
		}
	}
	post("/devices/box-1/button/panic/press?hold=true&bounce=true", "")
	if !view().Buttons["panic"].Pressed {
		t.Error("the held button is not pressed")
	}
	eventually("the centre has it", func() bool { v := view(); return v.Lamps.Shows == "centre_has" && *v.Siren && v.Lamps.Red.Lit })
	post("/devices/box-1/button/panic/release", `{"bounce": true}`)
	if view().Buttons["panic"].Pressed {
		t.Error("the released button is pressed")
	}
	post("/devices/box-1/button/hush/press", `{"for": "300ms", "bounce": false}`)
	post("/devices/box-1/link/cut", "")
	if view().Link != "cut" {
		t.Error("the link is not cut")
	}
	post("/devices/box-1/link/blackhole", "")
	post("/devices/box-1/link/restore", "")
	post("/devices/box-1/power/cut", "")
	if v := view(); v.Power != "off" || v.Lamps.Red.Lit || *v.Siren {
		t.Errorf("without power: %+v", v)
	}
	post("/devices/box-1/power/restore", "")
	post("/devices/car-1/finger/1?for=700ms", "")
	post("/devices/car-1/finger/unknown", "")
	post("/devices/car-1/gps/lose", "")
	post("/devices/car-1/gps/park", "")
	for _, c := range []struct{ verb, says string }{{"kill", "false"}, {"kill", "false"}, {"start", "true"}, {"start", "true"}} {
		post("/centre/"+c.verb, "")
		if _, _, b := do(t, "GET", url+"/centre", ""); strings.TrimSpace(string(b)) != `{"running":`+c.says+`}` {
			t.Errorf("after %s: %s", c.verb, b)
		}
	}

	var l struct {
		Presses []struct{ Device, Button string }
		Fingers []struct{ Slot int }
		Runs    []struct{ Ended *string }
	}
	_, _, b := do(t, "GET", url+"/ledger", "")
	if err := json.Unmarshal(b, &l); err != nil || len(l.Presses) != 2 || len(l.Fingers) != 2 || l.Fingers[1].Slot != 0 {
		t.Errorf("the ledger: %v %s", err, b)
	}
}

func TestProblems(t *testing.T) {
	url := serve(t)
	for _, c := range []struct {
		method, path, body string
		status             int
		detail             string
	}{
		{"POST", "/devices/box-9/button/panic/press", "", 404, `device "box-9": want one of box-1, car-1`},
		{"GET", "/devices/box-9", "", 404, `device "box-9": want one of box-1, car-1`},
		{"POST", "/devices/box-1/button/flood/press", "", 404, `button "flood": want one of hush, panic`},
		{"POST", "/devices/car-1/button/panic/press", "", 404, `button "panic": want a device with buttons: car-1 has none`},
		{"POST", "/devices/box-1/button/panic/push", "", 404, `verb "push": want press or release`},
		{"POST", "/devices/box-1/button/panic/press?bounce=maybe", "", 422, `bounce "maybe": want true or false`},
		{"POST", "/devices/box-1/button/panic/press?for=5", "", 422, `for "5": want a duration from 1ms to 10m, such as 200ms`},
		{"POST", "/devices/box-1/button/panic/press?for=1h", "", 422, `for "1h": want a duration from 1ms to 10m, such as 200ms`},
		{"POST", "/devices/box-1/button/panic/press?hold=true&for=1s", "", 422, `for "1s": want either hold=true, until release, or for`},
		{"POST", "/devices/box-1/button/panic/press?hold=true&hold=true", "", 422, `hold "true, true": want the parameter once`},
		{"POST", "/devices/box-1/button/panic/press?hold=true", `{"hold": true}`, 422, `hold "true": want it in the query or in the body, not in both`},
		{"POST", "/devices/box-1/button/panic/press", `{"gently": true}`, 422, `gently "true": want one of the options bounce, hold, for`},
		{"POST", "/devices/box-1/button/panic/press", `[1]`, 400, `body "[1]": want one JSON object`},
		{"POST", "/devices/box-1/button/panic/press", `bounce`, 415, `Content-Type "": want application/json`},
		{"POST", "/devices/box-1/button/panic/release?hold=true", "", 422, `hold "": want no option of release but bounce`},
		{"POST", "/devices/car-1/finger/thumb", "", 422, `slot "thumb": want a slot's number, or unknown for a finger that the reader does not know`},
		{"POST", "/devices/box-1/finger/1", "", 404, `device "box-1": want a device that has this part: the device has no such part: box-1 has no fingerprint reader`},
		{"POST", "/devices/box-1/link/fold", "", 404, `verb "fold": want cut, restore or blackhole`},
		{"POST", "/devices/box-1/power/down", "", 404, `verb "down": want cut or restore`},
		{"POST", "/devices/car-1/gps/drive", "", 404, `device "car-1": want a device that has a route to drive`},
		{"GET", "/devices/box-1/power/cut", "", 405, `method "GET": want POST`},
		{"POST", "/centre/stop", "", 404, `verb "stop": want kill or start`},
		{"POST", "/centre", "", 405, `method "POST": want GET`},
		{"POST", "/devices", "", 405, `method "POST": want GET`},
		{"GET", "/nothing", "", 404, `path "/nothing": want a path of the simulator, such as /devices`},
		{"GET", "/static/nothing.js", "", 404, `path "/static/nothing.js": want a part of the page`},
		{"POST", "/devices/box-1/power/cut?now=1", "", 422, `now "1": want no options here`},
	} {
		code, h, b := do(t, c.method, url+c.path, c.body)
		var p struct {
			Status              int
			Detail, Type, Title string
		}
		if err := json.Unmarshal(b, &p); err != nil || h.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s %s: %v, %s %s", c.method, c.path, err, h.Get("Content-Type"), b)
		}
		if code != c.status || p.Status != c.status || p.Detail != c.detail || p.Title == "" || p.Type == "" {
			t.Errorf("%s %s:\n got %d %s\nwant %d %s", c.method, c.path, code, p.Detail, c.status, c.detail)
		}
	}
	req, err := http.NewRequest("POST", url+"/devices/box-1/power/cut", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Sec-Fetch-Site", "cross-site")
	resp, err := http.DefaultClient.Do(req)
	if err != nil || resp.StatusCode != http.StatusForbidden {
		t.Errorf("a foreign page's press: %v, %v", resp, err)
	}
	_ = resp.Body.Close()
}

func TestStream(t *testing.T) {
	url := serve(t)
	resp, err := http.Get(url + "/stream")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	next := func() (event, data string) {
		for lines.Scan() {
			switch name, v, _ := strings.Cut(lines.Text(), ": "); name {
			case "event":
				event = v
			case "data":
				return event, v
			}
		}
		t.Fatal("the stream ended:", lines.Err())
		return "", ""
	}
	if e, data := next(); e != "hello" || !strings.Contains(data, `"desk":"http://`) {
		t.Errorf("first %s %s, want hello with the desk's address", e, data)
	}
	if code, _, b := do(t, "POST", url+"/devices/box-1/button/panic/press", ""); code != http.StatusOK {
		t.Fatal(code, string(b))
	}
	lit := regexp.MustCompile(`"id":"box-1".*"red":{"lit":true`)
	for range 200 {
		if e, data := next(); e == "device" && lit.MatchString(data) {
			return
		}
	}
	t.Error("200 events, and none of a lit red lamp")
}

func TestPage(t *testing.T) {
	url := serve(t)
	for query, want := range map[string]string{"?lang=zh-CN": "模拟器", "?lang=zh": "报警柱", "?lang=en": "Alarm boxes", "": "Alarm boxes", "?lang=tlh": "Alarm boxes"} {
		code, h, b := do(t, "GET", url+"/"+query, "")
		csp := h.Get("Content-Security-Policy")
		if code != http.StatusOK || !strings.Contains(string(b), want) {
			t.Errorf("%s: %d, without %q", query, code, want)
		}
		if !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") {
			t.Errorf("policy %q", csp)
		}
		if found := regexp.MustCompile(`(?i)<style|<[^>]+ style="|<[^>]+ on[a-z]+="|<script>|<script type="text`).Find(b); found != nil {
			t.Errorf("%s: something inline: %s", query, found)
		}
		for _, ref := range regexp.MustCompile(`(?:src|href)="(/[^"]+)"`).FindAllStringSubmatch(string(b), -1) {
			if code, _, _ := do(t, "GET", url+ref[1], ""); code != http.StatusOK {
				t.Errorf("%s: %d", ref[1], code)
			}
		}
	}
}

// Both languages have the same words, and the script asks for no other.
func TestWords(t *testing.T) {
	b, err := os.ReadFile("words.json")
	if err != nil {
		t.Fatal(err)
	}
	var words map[string]map[string]string
	if err := json.Unmarshal(b, &words); err != nil {
		t.Fatal(err)
	}
	for key := range words["en"] {
		if _, ok := words["zh-CN"][key]; !ok {
			t.Errorf("zh-CN lacks %q", key)
		}
	}
	for key, text := range words["zh-CN"] {
		if _, ok := words["en"][key]; !ok {
			t.Errorf("en lacks %q", key)
		}
		if strings.ContainsAny(text, ",;:?!") && !strings.Contains(text, "HTTP") {
			t.Errorf("zh-CN %q: %q has a half-width mark", key, text)
		}
	}
	script, err := os.ReadFile("static/panel.js")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile("t\\([\"`]([a-z][^\"`$]*)[\"`]\\)").FindAllStringSubmatch(string(script), -1) {
		if _, ok := words["en"][m[1]]; !ok {
			t.Errorf("the script asks for %q", m[1])
		}
	}
}
