package terminal_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fengsui/fengsui/firmware/terminal"
	"github.com/fengsui/fengsui/firmware/wire"
)

const token = "0123456789abcdef0123456789abcdef"

// car is a device that remembers what it was told.
type car struct {
	mu      sync.Mutex
	view    terminal.View
	answers []terminal.Answer
	notes   []string
	photos  [][]byte
	helps   int
	screens int
	err     error
}

func (c *car) View(context.Context) (terminal.View, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.view, nil
}

func (c *car) tell(f func()) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return c.err
	}
	f()
	return nil
}

func (c *car) Shows(_ context.Context, n int) error { return c.tell(func() { c.screens = n }) }

func (c *car) SignOn(_ context.Context, number, pin string) error {
	if number != "1001" || pin != "284913" {
		return terminal.ErrPIN
	}
	return c.tell(func() { c.view.Officer = "P-1001" })
}

func (c *car) SignOff(context.Context) error { return c.tell(func() { c.view.Officer = "" }) }

func (c *car) Answer(_ context.Context, a terminal.Answer) error {
	return c.tell(func() { c.answers = append(c.answers, a) })
}

func (c *car) PutAway(_ context.Context, incident uint64) error {
	return c.tell(func() {
		c.view.Tasks = slices.DeleteFunc(c.view.Tasks, func(t terminal.Task) bool { return t.Assignment.Incident == incident })
	})
}

func (c *car) SetDoing(_ context.Context, d wire.Doing, reason string) error {
	return c.tell(func() { c.view.Doing = &terminal.Doing{State: d.String(), Reason: reason, At: c.view.Now} })
}

func (c *car) Help(context.Context) error { return c.tell(func() { c.helps++ }) }

func (c *car) Note(_ context.Context, _ uint64, text string) error {
	return c.tell(func() { c.notes = append(c.notes, text) })
}

func (c *car) Photo(_ context.Context, _ uint64, jpeg []byte) (string, error) {
	return "00112233445566778899aabbccddeeff", c.tell(func() { c.photos = append(c.photos, jpeg) })
}

// busy is a car that is sent somewhere, with an officer's name in all places
// that have one.
func busy() *car {
	return &car{view: terminal.View{
		Device: "car-01", Officer: "P-1001", Reader: true, PIN: true, Now: time.Date(2026, 11, 26, 4, 0, 0, 0, time.UTC), ClockSource: "gnss",
		Heard: true, Connected: true, Receiver: true, Fix: &terminal.Fix{Lat: 30, Lon: 103, Age: time.Second, Mode: 3, HDOP: 0.9},
		Tasks: []terminal.Task{{
			Assignment: wire.Assignment{
				Incident: 17, Rev: 3, State: wire.Assigned, Kind: "panic", Priority: 1, Device: "box-01", Name: "Well Lane",
				Place: &wire.Place{LatE7: 300100000, LonE7: 1030000000, Source: wire.PlaceSurveyed}, Note: "two men",
			},
			Said: []terminal.Said{{Answer: "accepted", Officer: "P-1001"}},
		}},
		Photos: []terminal.Photo{{ID: "aa", Incident: 17, Parts: 9, Sent: 2}},
	}}
}

// serve serves a device's screen and returns a browser that has its token.
func serve(t *testing.T, d terminal.Device) (*httptest.Server, *http.Client) {
	t.Helper()
	return serveWith(t, terminal.Options{Device: d})
}

func serveWith(t *testing.T, opt terminal.Options) (*httptest.Server, *http.Client) {
	t.Helper()
	opt.Token = token
	screen, err := terminal.New(opt)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(screen)
	t.Cleanup(s.Close)
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	c := &http.Client{Jar: jar}
	if got := status(t, c, "GET", s.URL+"/?token="+token, ""); got != 200 {
		t.Fatalf("with the token: %d", got)
	}
	return s, c
}

func send(t *testing.T, c *http.Client, method, url, body string, header ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			r.Host = header[i+1]
		}
		r.Header.Set(header[i], header[i+1])
	}
	a, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	b, err := io.ReadAll(a.Body)
	if err != nil {
		t.Fatal(err)
	}
	return a, string(b)
}

func status(t *testing.T, c *http.Client, method, url, body string, header ...string) int {
	t.Helper()
	a, _ := send(t, c, method, url, body, header...)
	return a.StatusCode
}

func TestOnlyABrowserWithTheTokenGetsIn(t *testing.T) {
	s, c := serve(t, busy())
	stranger := new(http.Client)
	for _, path := range []string{"/", "/api/state", "/api/stream", "/static/terminal.js", "/?token=", "/?token=" + strings.Repeat("0", 32)} {
		if got := status(t, stranger, "GET", s.URL+path, ""); got != 401 && got != 403 {
			t.Errorf("a stranger at %s: %d: want 401 or 403", path, got)
		}
	}
	if got := status(t, stranger, "POST", s.URL+"/api/help", "{}"); got != 401 {
		t.Errorf("a stranger calls for help: %d: want 401", got)
	}
	if got := status(t, c, "GET", s.URL+"/api/state", "", "Host", "evil.example"); got != 421 {
		t.Errorf("a name that was pointed here: %d: want 421", got)
	}
	if got := status(t, c, "POST", s.URL+"/api/help", "{}", "Sec-Fetch-Site", "cross-site"); got != 403 {
		t.Errorf("a page of another origin: %d: want 403", got)
	}
	for range 12 {
		status(t, stranger, "GET", s.URL+"/?token=ffff", "")
	}
	if got := status(t, stranger, "GET", s.URL+"/?token="+token, ""); got != 429 {
		t.Errorf("after guessing: %d: want 429", got)
	}
}

func TestNothingPersonalBeforeSignOn(t *testing.T) {
	d := busy()
	d.view.Officer = ""
	s, c := serve(t, d)
	_, state := send(t, c, "GET", s.URL+"/api/state", "")
	for _, personal := range []string{"P-1001", "Well Lane", "box-01", "two men", "panic"} {
		if strings.Contains(state, personal) {
			t.Errorf("with nobody signed on the page is told %q", personal)
		}
	}
	if !strings.Contains(state, `"waiting":1`) || !strings.Contains(state, `"duty":null`) {
		t.Errorf("state %s: want one waiting assignment, and no duty", state)
	}
	if got := status(t, c, "POST", s.URL+"/api/sign-on", `{"number":"1001","pin":"000000"}`); got != 403 {
		t.Errorf("a wrong PIN: %d: want 403", got)
	}
	if got := status(t, c, "POST", s.URL+"/api/sign-on", `{"number":"1001","pin":"284913"}`); got != 200 {
		t.Errorf("the PIN: %d: want 200", got)
	}
	if _, state := send(t, c, "GET", s.URL+"/api/state", ""); !strings.Contains(state, "Well Lane") {
		t.Error("signed on, the assignment is not shown")
	}
}

func TestDistanceAndBearing(t *testing.T) {
	d := busy()
	s, c := serve(t, d)
	read := func() (m, b *float64) {
		_, body := send(t, c, "GET", s.URL+"/api/state", "")
		var v struct {
			Duty struct {
				Tasks []struct{ Metres, Bearing *float64 }
			}
		}
		if err := json.Unmarshal([]byte(body), &v); err != nil {
			t.Fatal(err)
		}
		return v.Duty.Tasks[0].Metres, v.Duty.Tasks[0].Bearing
	}
	// A hundredth of a degree of latitude is 1,111.95 m on the sphere of the
	// Earth's mean radius.
	if m, b := read(); m == nil || *m < 1111 || *m > 1113 || *b != 0 {
		t.Errorf("metres %v, bearing %v: want 1112 to the north", m, b)
	}
	d.mu.Lock()
	d.view.Fix.Age = 2 * time.Minute
	d.mu.Unlock()
	if m, b := read(); m != nil || b != nil {
		t.Errorf("from a fix of two minutes ago: metres %v, bearing %v: want none", m, b)
	}
}

func TestNightIsTheSuns(t *testing.T) {
	d := busy()
	s, c := serve(t, d)
	for at, want := range map[string]bool{"2026-11-26T04:00:00Z": false, "2026-11-26T16:00:00Z": true} { // noon and midnight at 103° E
		when, err := time.Parse(time.RFC3339, at)
		if err != nil {
			t.Fatal(err)
		}
		d.mu.Lock()
		d.view.Now = when
		d.mu.Unlock()
		if _, body := send(t, c, "GET", s.URL+"/api/state", ""); strings.Contains(body, `"night":true`) != want {
			t.Errorf("at %s: night is not %v", at, want)
		}
	}
}

func TestAnswers(t *testing.T) {
	d := busy()
	s, c := serve(t, d)
	for _, x := range []struct {
		path, body string
		want       int
		field      string
	}{
		{"/api/tasks/17/answer", `{"answer":"on_scene"}`, 200, ""},
		{"/api/tasks/17/answer", `{"answer":"closed","code":"real","note":"好"}`, 200, ""},
		{"/api/tasks/17/answer", `{"answer":"closed"}`, 422, "code"},
		{"/api/tasks/17/answer", `{"answer":"on_scene","code":"real"}`, 422, "code"},
		{"/api/tasks/17/answer", `{"answer":"shown"}`, 422, "answer"},
		{"/api/tasks/17/answer", `{"answer":"fly"}`, 422, "answer"},
		{"/api/tasks/17/answer", `{"answer":"checked","extra":1}`, 422, "body"},
		{"/api/tasks/17/answer", `{"answer":"checked"} {}`, 422, "body"},
		{"/api/tasks/17/answer", `nonsense`, 422, "body"},
		{"/api/tasks/x/answer", `{"answer":"checked"}`, 422, "incident"},
		{"/api/tasks/-1/answer", `{"answer":"checked"}`, 422, "incident"},
		{"/api/tasks/17/answer", `{"answer":"checked","note":"` + strings.Repeat("x", 2001) + `"}`, 422, "note"},
		{"/api/tasks/17/note", `{"text":"  "}`, 422, "text"},
		{"/api/tasks/17/note", `{"text":"ok"}`, 200, ""},
		{"/api/tasks/17/answer", strings.Repeat(" ", 20000), 413, "body"},
	} {
		a, body := send(t, c, "POST", s.URL+x.path, x.body)
		var p struct{ Field, Want string }
		if a.StatusCode != 200 {
			if err := json.Unmarshal([]byte(body), &p); err != nil {
				t.Fatal(err)
			}
		}
		if a.StatusCode != x.want || p.Field != x.field || x.field != "" && p.Want == "" {
			t.Errorf("%s %.40s: %d %s: want %d, field %q", x.path, x.body, a.StatusCode, body, x.want, x.field)
		}
	}
	if len(d.answers) != 2 || d.answers[0].Answer != wire.AnswerOnScene || d.answers[1].Code != wire.CloseReal || d.answers[1].Note != "好" {
		t.Errorf("answers %+v", d.answers)
	}
	d.err = terminal.ErrSignedOff
	if a, body := send(t, c, "POST", s.URL+"/api/tasks/17/answer", `{"answer":"on_scene"}`); a.StatusCode != 403 || !strings.Contains(body, "signed_off") {
		t.Errorf("with nobody signed on: %d %s", a.StatusCode, body)
	}
	d.err = errors.New("incident 17: this unit is not sent there")
	if got := status(t, c, "POST", s.URL+"/api/tasks/17/answer", `{"answer":"on_scene"}`); got != 409 {
		t.Errorf("another unit's: %d: want 409", got)
	}
}

// What is over is told with how and by whom, and is put away; since when the
// centre is not heard comes from the device; the path and landmarks are told to
// who is signed on only.
func TestOverPathAndLoss(t *testing.T) {
	c := busy()
	c.view.Heard, c.view.Lost = false, 90*time.Second
	c.view.Path = []terminal.Step{{Lat: 30.1, Lon: 103.1, Age: 44 * time.Second}}
	a := &c.view.Tasks[0].Assignment
	a.State, a.By, a.Code = wire.AssignmentEnded, "李梅", "false_alarm"
	a.Near = []wire.Landmark{{Name: "Mill", LatE7: 300200000, LonE7: 1030100000}}
	c.view.Tasks[0].Over = c.view.Now
	s, browser := serve(t, c)
	_, body := send(t, browser, "GET", s.URL+"/api/state", "")
	for _, want := range []string{
		`"lost_s":90`, `"lost_since":"2026-11-26T03:58:30Z"`, `"path":[30.1,103.1,40]`, `"near":[{"name":"Mill","lat":30.02,"lon":103.01}]`,
		`"by":"李梅"`, `"code":"false_alarm"`, `"over":"2026-11-26T04:00:00Z"`,
	} {
		if !strings.Contains(body, want) {
			t.Errorf("%s\nwant %s in it", body, want)
		}
	}
	if got := status(t, browser, "POST", s.URL+"/api/tasks/17/put-away", "{}"); got != 200 && got != 204 {
		t.Errorf("put away: %d", got)
	}
	if len(c.view.Tasks) != 0 {
		t.Error("it is still there")
	}
	if got := status(t, browser, "POST", s.URL+"/api/tasks/x/put-away", "{}"); got < 400 || got >= 500 {
		t.Errorf("put away x: %d", got)
	}
	c.view.Officer = ""
	if _, body := send(t, browser, "GET", s.URL+"/api/state", ""); strings.Contains(body, "103.1") {
		t.Errorf("with nobody signed on: %s", body)
	}
}

func TestTheUnitSaysWhatItDoes(t *testing.T) {
	s, browser := serve(t, busy())
	for body, want := range map[string]int{
		`{"state":"busy","reason":"escort"}`: 200,
		`{"state":"on_scene"}`:               422,
		`{"state":"busy","reason":"` + strings.Repeat("x", wire.MaxReason+1) + `"}`: 422,
		`{"state":"busy","x":1}`: 422,
	} {
		if got := status(t, browser, "POST", s.URL+"/api/doing", body); got != want {
			t.Errorf("%.60s: %d, want %d", body, got, want)
		}
	}
}

func TestPhotos(t *testing.T) {
	d := busy()
	s, c := serve(t, d)
	jpeg := "\xff\xd8\xff\xe0 picture \xff\xd9"
	for body, want := range map[string]int{
		jpeg: 200, "\x89PNG": 415, "\xff\xd8\xff cut": 415, "": 415,
		"\xff\xd8\xff" + strings.Repeat("x", wire.MaxAttachment): 413,
	} {
		if got := status(t, c, "POST", s.URL+"/api/tasks/17/photo", body); got != want {
			t.Errorf("a file %.6q of %d bytes: %d: want %d", body, len(body), got, want)
		}
	}
	if len(d.photos) != 1 || string(d.photos[0]) != jpeg {
		t.Errorf("%d photos were kept: want the one", len(d.photos))
	}
}

func TestAScreenCountsWhileItsStreamRuns(t *testing.T) {
	d := busy()
	s, c := serve(t, d)
	ctx, stop := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, "GET", s.URL+"/api/stream", nil)
	if err != nil {
		t.Fatal(err)
	}
	a, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	line, err := bufio.NewReader(a.Body).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "data: {") {
		t.Fatalf("stream: %q, %v", line, err)
	}
	screens := func() int {
		d.mu.Lock()
		defer d.mu.Unlock()
		return d.screens
	}
	if n := screens(); n != 1 {
		t.Errorf("%d screens while one looks", n)
	}
	stop()
	for end := time.Now().Add(10 * time.Second); screens() != 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the screen still counts after it has gone")
		}
	}
}

func TestTokenIsKept(t *testing.T) {
	dir := t.TempDir()
	first, err := terminal.LoadOrCreateToken(dir)
	if err != nil {
		t.Fatal(err)
	}
	again, err := terminal.LoadOrCreateToken(dir)
	if err != nil || again != first || len(first) != 32 {
		t.Errorf("token %q, then %q (%v)", first, again, err)
	}
	path := filepath.Join(dir, "terminal.token")
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v (%v): want 0600", st.Mode(), err)
	}
	if err := os.WriteFile(path, []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := terminal.LoadOrCreateToken(dir); err == nil {
		t.Error("a damaged token is taken")
	}
}

// Every word that the page and its script ask for is there, in each language,
// and no other.
func TestWords(t *testing.T) {
	used := make(map[string]bool)
	prefixes := map[string][]string{
		"code": {"real", "false_alarm", "test", "drill", "duplicate", "unfounded", "restored", "cancelled"}, "wind": {"0", "1", "2", "3", "4", "5", "6", "7"},
		"link": {"live", "connected", "none"}, "do": {"accepted", "en_route", "on_scene", "checked", "closed", "refused"},
		"sheet": {"checked", "closed", "refused"}, "task": {"withdrawn", "ended"},
		"error": {
			"pin", "signed_off", "full", "locked", "not_authorised", "nobody_may", "key_not_turned", "enrolling", "no_reader", "configured",
			"no_such_finger", "not_replaced", "enrolled", "mismatch", "nobody_laid", "library_full",
		},
		"doing": {"available", "busy", "out_of_service"},
		"role":  {"officer", "supervisor", "technician"},
		"help":  {"idle", "stored", "centre_has", "acknowledged", "unit_coming"},
	}
	for a := wire.AnswerShown; a <= wire.AnswerClosed; a++ {
		prefixes["answer"] = append(prefixes["answer"], a.String())
	}
	for p, values := range prefixes {
		for _, v := range values {
			used[p+"."+v] = true
		}
	}
	for _, which := range append(prefixes["sheet"], "doing") {
		for _, n := range []string{"1", "2", "3"} {
			used["phrase."+which+"."+n] = true
		}
	}
	for _, file := range []string{"page.html", "static/base.js", "static/fingers.js", "static/map.js", "static/terminal.js"} {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`\bt ?\(?"([a-z_.0-9]+)"`).FindAllStringSubmatch(string(b), -1) {
			if !strings.HasSuffix(m[1], ".") {
				used[m[1]] = true
			}
		}
	}
	open := regexp.MustCompile(`^(kind|fault|stage)\.`) // what has no word shows itself
	for _, lang := range terminal.Languages() {
		b, err := os.ReadFile("i18n/" + lang + ".json")
		if err != nil {
			t.Fatal(err)
		}
		words := make(map[string]string)
		if err := json.Unmarshal(b, &words); err != nil {
			t.Fatal(err)
		}
		for _, key := range slices.Sorted(maps.Keys(used)) {
			if words[key] == "" {
				t.Errorf("%s: no words for %q", lang, key)
			}
		}
		for _, key := range slices.Sorted(maps.Keys(words)) {
			if !used[key] && !open.MatchString(key) {
				t.Errorf("%s: nothing asks for %q", lang, key)
			}
		}
	}
}

// The page and its script answer in each language, under a policy without
// inline script.
func TestPage(t *testing.T) {
	s, c := serve(t, busy())
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	for lang, want := range map[string]string{"zh-CN": "请在指纹仪上按指纹", "en": "Lay a finger on the reader"} {
		a, body := send(t, c, "GET", u.String()+"/?lang="+lang, "")
		if !strings.Contains(body, want) || !strings.Contains(body, `lang="`+lang+`"`) {
			t.Errorf("%s: the page is not in it", lang)
		}
		if p := a.Header.Get("Content-Security-Policy"); !strings.Contains(p, "default-src 'none'") || strings.Contains(p, "unsafe") {
			t.Errorf("policy %q", p)
		}
		if bytes.Contains([]byte(body), []byte(" onclick=")) {
			t.Error("inline script")
		}
	}
}
