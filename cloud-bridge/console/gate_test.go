package console_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fengsui/fengsui/cloud-bridge/account"
	"github.com/fengsui/fengsui/cloud-bridge/console"
	"github.com/fengsui/fengsui/cloud-bridge/store"
	"github.com/fengsui/fengsui/firmware/wire"
)

// bearer is a header that carries a token.
func bearer(secret account.Secret) []string {
	return []string{"Authorization", "Bearer " + string(secret)}
}

// cookie is a header that carries a session.
func cookie(secret account.Secret) []string {
	return []string{"Cookie", "fengsui-loopback=" + string(secret)}
}

// bodies are what routes that want members are asked with; all others with none.
var bodies = map[string]string{
	"POST /api/v1/session/password":           `{"old":"x","password":"y"}`,
	"POST /api/v1/tokens":                     `{"label":"t","role":"viewer"}`,
	"POST /api/v1/accounts":                   `{"name":"N","role":"viewer","scope":"*"}`,
	"POST /api/v1/accounts/{id}/assign":       `{"role":"viewer","scope":"*"}`,
	"POST /api/v1/incidents/{id}/acknowledge": `{}`,
	"POST /api/v1/incidents/{id}/dispatch":    `{"unit":"car-01"}`,
	"POST /api/v1/incidents/{id}/close":       `{"code":"test"}`,
}

// Every role, and nobody, against every route: who may is let through to the route, whatever
// it says then, and who may not is told why.
func TestEveryRoleAgainstEveryRoute(t *testing.T) {
	w := newWorld(t, func(o *console.Options) { o.Metrics, o.SMS = http.NotFoundHandler(), http.NotFoundHandler() })
	w.press("box-01", wire.Panic, 0)
	holders := make(map[account.Role]account.Secret)
	for _, role := range account.Roles() {
		holders[role] = w.grant("a "+string(role), role, account.Scope{account.Everywhere})
	}
	bound := w.grant("a bound admin", account.Admin, account.Scope{"village-1"})
	disabled := w.grant("disabled", account.Admin, account.Scope{account.Everywhere})
	if _, err := w.accounts.Disable(t.Context(), account.Actor{}, w.account("disabled")); err != nil {
		t.Fatal(err)
	}
	_, oneTime, err := w.accounts.Create(t.Context(), account.Actor{}, "new", account.Admin, account.Scope{account.Everywhere}, account.Opening{})
	if err != nil {
		t.Fatal(err)
	}
	fresh, _, err := w.accounts.SignIn(t.Context(), "new", oneTime, account.From{}, "")
	if err != nil {
		t.Fatal(err)
	}
	// What a step or a change is tried on; a fresh one each time would say no more.
	ids := strings.NewReplacer("/incidents/{id}", "/incidents/1", "/devices/{id}", "/devices/box-01", "/accounts/{id}", fmt.Sprintf("/accounts/%d", w.account("disabled")),
		"/tokens/{id}", "/tokens/9999", "/sessions/{id}", "/sessions/s9999", "{hash}/{path...}", "0/x", "{$}", "")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	cancel() // a stream ends at once, having been let in
	tried := 0
	for _, route := range slices.Sorted(maps.Keys(console.Rules())) {
		rule := console.Rules()[route]
		method, path, _ := strings.Cut(route, " ")
		if strings.HasPrefix(path, "/oidc/") { // TestOIDC
			continue
		}
		ask := func(header ...string) (int, console.Problem, http.Header) {
			t.Helper()
			r := httptest.NewRequestWithContext(ctx, method, ids.Replace(path), strings.NewReader(bodies[route]))
			if bodies[route] != "" {
				r.Header.Set("Content-Type", "application/json")
			}
			for i := 0; i < len(header); i += 2 {
				r.Header.Set(header[i], header[i+1])
			}
			answer := httptest.NewRecorder()
			w.desk.ServeHTTP(answer, local(r))
			var p console.Problem
			_ = json.Unmarshal(answer.Body.Bytes(), &p) // a page is none
			tried++
			return answer.Code, p, answer.Header()
		}
		closed := func(who string, header ...string) {
			t.Helper()
			status, p, h := ask(header...)
			switch {
			case rule.Least == "":
				if status == 401 || p.Type == "urn:fengsui:problem:signed-out" {
					t.Errorf("%s: %s: %d %+v: it is open to all", route, who, status, p)
				}
			case rule.Page && method == "GET":
				if status != 303 || !strings.HasPrefix(h.Get("Location"), "/login?next=") {
					t.Errorf("%s: %s: %d to %q: want to be sent to sign in", route, who, status, h.Get("Location"))
				}
			case status != 401 || p.Type != "urn:fengsui:problem:signed-out" || h.Get("WWW-Authenticate") == "":
				t.Errorf("%s: %s: %d %+v: want 401", route, who, status, p)
			}
		}
		if route != "POST /api/v1/session" && route != "POST /login" { // they refuse what they are given, which is another thing
			closed("nobody")
			closed("an unknown token", bearer("fengsui_0000")...)
			closed("an unknown session", cookie("0000")...)
			closed("a token as a cookie", cookie(holders[account.Admin])...)
			closed("basic", "Authorization", "Basic YWRtaW46YWRtaW4=")
			closed("disabled", bearer(disabled)...)
		}
		if rule.Least == "" {
			continue
		}
		for _, role := range account.Roles() {
			status, p, _ := ask(bearer(holders[role])...)
			switch let := role.Covers(rule.Least); {
			case let && (status == 401 || status == 403):
				t.Errorf("%s: a %s: %d %+v: want to be let in", route, role, status, p)
			case !let && (status != 403 || p.Type != "urn:fengsui:problem:role" || p.Value != string(role) || p.Want != string(rule.Least)):
				t.Errorf("%s: a %s: %d %+v: want 403", route, role, status, p)
			}
		}
		if status, p, _ := ask(bearer(bound)...); (p.Type == "urn:fengsui:problem:scope" && status == 403) != rule.Whole {
			t.Errorf("%s: an admin of a village: %d %+v: whole is %v", route, status, p, rule.Whole)
		}
		if rule.Early {
			continue // it ends or changes the session that is used here: tested below
		}
		status, p, h := ask(cookie(fresh)...)
		if rule.Page && (status != 303 || h.Get("Location") != "/password") || !rule.Page && (status != 403 || p.Type != "urn:fengsui:problem:password-change") {
			t.Errorf("%s: with a one-time password: %d %+v", route, status, p)
		}
	}
	if tried < 400 {
		t.Errorf("only %d tried: the table is broken", tried)
	}
	t.Logf("%d requests", tried)
}

// parts is a grid for tests: which devices lie in which node.
type parts map[string][]string

func (p parts) Within(_ context.Context, nodes []string, device string, _ *store.Point) (bool, error) {
	for _, n := range nodes {
		if slices.Contains(p[n], device) {
			return true, nil
		}
	}
	return false, nil
}

// A dispatcher of a village sees its incidents and devices in lists, single answers and the
// stream, acts on them, and finds nothing elsewhere.
func TestBoundToAPartOfTheGrid(t *testing.T) {
	w := newWorld(t, func(o *console.Options) { o.Grid = parts{"village-1": {"box-01", "car-01"}, "village-2": {"box-02"}} })
	w.press("box-01", wire.Panic, 0)
	w.press("box-02", wire.Fire, 0)
	w.press("box-03", wire.Fire, 0)
	one := bearer(w.grant("one", account.Dispatcher, account.Scope{"village-1"}))
	nowhere := bearer(w.grant("nowhere", account.Dispatcher, account.Scope{"village-9"}))
	ask := func(status int, method, target, body string, header []string) string {
		t.Helper()
		answer, all := w.do(method, target, body, header...)
		if answer.StatusCode != status {
			t.Errorf("%s %s: %s %s: want %d", method, target, answer.Status, all, status)
		}
		return string(all)
	}
	const v1 = "/api/v1"
	for _, target := range []string{"/incidents", "/devices", "/gaps"} {
		for who, header := range map[string][]string{"one": one, "nowhere": nowhere} {
			got := ask(200, "GET", v1+target, "", header)
			for device, want := range map[string]bool{"box-01": who == "one", "box-02": false, "box-03": false} {
				if target != "/gaps" && strings.Contains(got, `"`+device+`"`) != want {
					t.Errorf("%s of %s: %s there is %v", target, who, device, !want)
				}
			}
		}
	}
	// The limit counts what is seen: the two newer incidents are elsewhere.
	if got := ask(200, "GET", v1+"/incidents?limit=1", "", one); !strings.Contains(got, `"box-01"`) {
		t.Errorf("limit 1: %s", got)
	}
	for _, target := range []string{"/incidents/2", "/devices/box-02", "/devices/box-02/gaps", "/devices/box-02/events", "/devices/box-02/track", "/gaps?device=box-02"} {
		there := strings.NewReplacer("box-02", "box-01", "/2", "/1").Replace(target)
		ask(200, "GET", v1+there, "", one)
		hidden := ask(404, "GET", v1+target, "", one)
		// The answer is that of what is not there at all.
		missing := strings.NewReplacer("box-02", "box-99", "/2", "/99").Replace(target)
		if none := ask(404, "GET", v1+missing, "", one); strings.NewReplacer("box-99", "box-02", "incident 99", "incident 2").Replace(none) != hidden {
			t.Errorf("%s: %s tells more than %s", target, hidden, none)
		}
	}
	for _, verb := range []string{"acknowledge", "dispatch", "close"} {
		body := bodies["POST /api/v1/incidents/{id}/"+verb]
		ask(404, "POST", v1+"/incidents/2/"+verb, body, one)
		ask(404, "POST", v1+"/incidents/1/"+verb, body, nowhere)
	}
	ask(200, "POST", v1+"/incidents/1/acknowledge", `{}`, one)
	ask(403, "GET", v1+"/refused", "", one)

	server := httptest.NewServer(w.desk)
	defer server.Close()
	defer w.desk.Close()
	events := w.stream(server.URL, one)
	<-events
	w.press("box-02", wire.Medical, 0)
	w.health("box-03", nil)
	w.press("box-01", wire.Medical, 0)
	for e := range events {
		if strings.Contains(e.data, "box-02") || strings.Contains(e.data, "box-03") {
			t.Errorf("the stream tells of %s", e.data)
		}
		if e.name == "incident" && strings.Contains(e.data, `"medical"`) {
			return
		}
	}
	t.Error("the stream did not tell of box-01")
}

// stream follows the stream as somebody, until either side ends it.
func (w *world) stream(url string, header []string) <-chan event {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), "GET", url+"/api/v1/stream", nil)
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set(header[0], header[1])
	answer, err := http.DefaultClient.Do(r)
	if err != nil || answer.StatusCode != 200 {
		w.t.Fatalf("stream: %v, %v", answer, err)
	}
	w.t.Cleanup(func() { answer.Body.Close() })
	events := make(chan event, 1000)
	go func() {
		defer close(events)
		var e event
		for lines := bufio.NewScanner(answer.Body); lines.Scan(); {
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
	return events
}

// What ends a session ends its open streams at once, in every browser, and nothing else.
func TestSessionsEndEverywhere(t *testing.T) {
	for name, end := range map[string]func(w *world, id int64, one []string){
		"sign out": func(w *world, _ int64, one []string) {
			if answer, body := w.do("POST", "/logout", "", one...); answer.StatusCode != 303 || answer.Header.Get("Location") != "/login" {
				w.t.Errorf("%s %s", answer.Status, body)
			}
		},
		"API": func(w *world, _ int64, one []string) { w.ask(200, "POST", "/api/v1/session/end", "", one) },
		"demotion": func(w *world, id int64, _ []string) {
			w.want(200, "POST", fmt.Sprintf("/api/v1/accounts/%d/assign", id), `{"role":"viewer","scope":"*"}`, nil)
		},
		"smaller scope": func(w *world, id int64, _ []string) {
			w.want(200, "POST", fmt.Sprintf("/api/v1/accounts/%d/assign", id), `{"role":"dispatcher","scope":"village-1"}`, nil)
		},
		"disabling": func(w *world, id int64, _ []string) {
			w.want(200, "POST", fmt.Sprintf("/api/v1/accounts/%d/disable", id), "", nil)
		},
		"reset": func(w *world, id int64, _ []string) {
			w.want(200, "POST", fmt.Sprintf("/api/v1/accounts/%d/reset", id), "", nil)
		},
		"password": func(w *world, _ int64, one []string) {
			w.ask(200, "POST", "/api/v1/session/password", `{"old":"`+password+`","password":"eleven wet umbrellas"}`, one)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, nil)
			server := httptest.NewServer(w.desk)
			defer server.Close()
			defer w.desk.Close()
			var holders [2][]string
			var streams [2]<-chan event
			for i := range holders {
				secret, err := w.session("Mei", account.Dispatcher)
				if err != nil {
					t.Fatal(err)
				}
				holders[i] = cookie(secret)
				streams[i] = w.stream(server.URL, holders[i])
				<-streams[i]
			}
			other, err := w.session("Bo", account.Dispatcher)
			if err != nil {
				t.Fatal(err)
			}
			otherStream := w.stream(server.URL, cookie(other))
			<-otherStream
			end(w, w.account("Mei"), holders[0])
			for i := range holders {
				for range streams[i] {
				} // ends, or the test's time does
				w.ask(401, "GET", "/api/v1/incidents", "", holders[i])
			}
			w.ask(200, "GET", "/api/v1/incidents", "", cookie(other))
			w.press("box-01", wire.Panic, 0)
			for e := range otherStream {
				if e.name == "incident" {
					return
				}
			}
			t.Error("another's stream ended")
		})
	}
}

func (w *world) ask(status int, method, target, body string, header []string) string {
	w.t.Helper()
	answer, all := w.do(method, target, body, header...)
	if answer.StatusCode != status {
		w.t.Errorf("%s %s: %s %s: want %d", method, target, answer.Status, all, status)
	}
	return string(all)
}

// A token that is revoked, or whose account may do less than before, ends its streams.
func TestTokensEnd(t *testing.T) {
	w := newWorld(t, nil)
	secret := w.grant("wall", account.Dispatcher, account.Scope{account.Everywhere})
	server := httptest.NewServer(w.desk)
	defer server.Close()
	defer w.desk.Close()
	id := w.account("wall")
	for _, end := range []func(){
		func() {
			w.want(200, "POST", fmt.Sprintf("/api/v1/accounts/%d/assign", id), `{"role":"viewer","scope":"*"}`, nil)
		},
		func() {
			err := w.accounts.RevokeToken(t.Context(), account.Actor{}, id, w.accounts.Tokens(id)[0].ID)
			if err != nil {
				t.Error(err)
			}
		},
	} {
		events := w.stream(server.URL, bearer(secret))
		<-events
		end()
		for range events {
		}
	}
	w.ask(401, "GET", "/api/v1/incidents", "", bearer(secret))
}

// login posts the page's form from somewhere.
func (w *world) login(name, pass, carried, from string) *http.Response {
	w.t.Helper()
	form := url.Values{"name": {name}, "password": {pass}, "next": {"/#incident=7"}}
	r := local(httptest.NewRequestWithContext(w.t.Context(), "POST", "/login", strings.NewReader(form.Encode())))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if carried != "" {
		r.Header.Set("Cookie", carried)
	}
	if from != "" {
		r.RemoteAddr, r.Host = "127.0.0.1:4", "desk.example"
		r.Header.Set("X-Forwarded-Proto", "https")
		r.Header.Set("X-Forwarded-For", from)
	}
	answer := httptest.NewRecorder()
	w.desk.ServeHTTP(answer, r)
	return answer.Result()
}

func sessionIn(answer *http.Response) map[string]*http.Cookie {
	out := make(map[string]*http.Cookie)
	for _, c := range answer.Cookies() {
		out[c.Name] = c
	}
	return out
}

// The cookies are what they must be, and a session that the browser carried before, whoever
// put it there, is not the one that goes on.
func TestSessionCookie(t *testing.T) {
	w := newWorld(t, func(o *console.Options) { o.Proxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")} })
	planted, err := w.session("Mei", account.Viewer)
	if err != nil {
		t.Fatal(err)
	}
	answer := w.login("Mei", password, "__Host-fengsui="+string(planted), "")
	got := sessionIn(answer)
	if answer.StatusCode != 303 || answer.Header.Get("Location") != "/#incident=7" {
		t.Fatalf("%s to %s", answer.Status, answer.Header.Get("Location"))
	}
	host, loop := got["__Host-fengsui"], got["fengsui-loopback"]
	if host == nil || !host.Secure || !host.HttpOnly || host.Path != "/" || host.Domain != "" || host.SameSite != http.SameSiteLaxMode || len(host.Value) != 64 {
		t.Errorf("%+v", host)
	}
	if loop == nil || loop.Secure || !loop.HttpOnly || loop.Value != host.Value {
		t.Errorf("on the loopback interface: %+v", loop)
	}
	if host.Value == string(planted) {
		t.Error("the session that was there goes on")
	}
	w.ask(401, "GET", "/api/v1/session", "", cookie(planted))
	w.ask(200, "GET", "/api/v1/session", "", cookie(account.Secret(host.Value)))
	w.ask(401, "GET", "/api/v1/session", "", cookie("chosen-by-somebody"))
	// Behind a proxy with TLS there is the one cookie, and the other is not taken.
	proxied := sessionIn(w.login("Mei", password, "", "203.0.113.9"))
	if proxied["__Host-fengsui"] == nil || proxied["fengsui-loopback"] != nil {
		t.Errorf("behind a proxy: %v", proxied)
	}
	r := httptest.NewRequestWithContext(t.Context(), "GET", "https://desk.example/api/v1/session", nil)
	r.RemoteAddr = "203.0.113.9:7"
	r.Header.Set("Cookie", "fengsui-loopback="+proxied["__Host-fengsui"].Value)
	out := httptest.NewRecorder()
	w.desk.ServeHTTP(out, r)
	if out.Code != 401 {
		t.Errorf("the loopback's cookie from elsewhere: %d", out.Code)
	}
}

// Nothing secret goes over a connection that others can read.
func TestPlainHTTP(t *testing.T) {
	w := newWorld(t, nil)
	token := w.token("tester")
	for _, c := range []struct {
		remote, host string
		forwarded    string
		status       int
	}{
		{"127.0.0.1:9", "127.0.0.1:8080", "", 200},
		{"127.0.0.1:9", "localhost:8080", "", 200},
		{"[::1]:9", "[::1]:8080", "", 200},
		{"127.0.0.1:9", "desk.example", "", 403},
		{"127.0.0.1:9", "desk.example", "https", 403}, // no proxy of ours
		{"203.0.113.9:9", "127.0.0.1:8080", "", 403},
		{"203.0.113.9:9", "desk.example", "", 403},
	} {
		r := httptest.NewRequestWithContext(t.Context(), "GET", "/api/v1/session", nil)
		r.RemoteAddr, r.Host = c.remote, c.host
		r.Header.Set("Authorization", "Bearer "+string(token))
		if c.forwarded != "" {
			r.Header.Set("X-Forwarded-Proto", c.forwarded)
		}
		answer := httptest.NewRecorder()
		w.desk.ServeHTTP(answer, r)
		if answer.Code != c.status {
			t.Errorf("%+v: %d %s", c, answer.Code, answer.Body)
		}
	}
}

// Failed attempts are slowed for a name at an address, and that keeps nobody out elsewhere.
func TestSignInRates(t *testing.T) {
	w := newWorld(t, func(o *console.Options) { o.Proxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")} })
	if _, err := w.session("Mei", account.Viewer); err != nil {
		t.Fatal(err)
	}
	for n := range 7 {
		answer := w.login("Mei", "wrong", "", "203.0.113.9")
		want := 401
		if n >= 5 {
			want = 429
		}
		if answer.StatusCode != want || (want == 429) != (answer.Header.Get("Retry-After") != "") {
			t.Errorf("attempt %d: %s, Retry-After %q", n+1, answer.Status, answer.Header.Get("Retry-After"))
		}
	}
	if answer := w.login("Mei", password, "", "203.0.113.9"); answer.StatusCode != 429 {
		t.Errorf("the right password in between: %s", answer.Status)
	}
	if answer := w.login("Mei", password, "", "198.51.100.2"); answer.StatusCode != 303 {
		t.Errorf("from elsewhere: %s", answer.Status)
	}
	// Another proxy's word counts only when it is ours: what the client itself says does not.
	if answer := w.login("Mei", password, "", "198.51.100.2, 203.0.113.9"); answer.StatusCode != 429 {
		t.Errorf("with a forged hop before: %s", answer.Status)
	}
	slow := 0
	for n := range 40 {
		if w.login(fmt.Sprintf("name %d", n), "wrong", "", "192.0.2.77").StatusCode == 429 {
			slow++
		}
	}
	if slow < 5 {
		t.Errorf("%d of 40 attempts under as many names from one address were slowed", slow)
	}
	var p console.Problem
	for range 6 {
		answer, body := w.do("POST", "/api/v1/session", `{"name":"Bo","password":"x"}`)
		_ = json.Unmarshal(body, &p)
		if answer.StatusCode == 429 && answer.Header.Get("Retry-After") == "" {
			t.Error("no Retry-After")
		}
	}
	if p.Type != "urn:fengsui:problem:slow-down" {
		t.Errorf("%+v", p)
	}
}

// A page of another origin reads nothing with a dispatcher's cookie, the stream least of all,
// signs nobody in and nobody out.
func TestForeignPages(t *testing.T) {
	w := newWorld(t, nil)
	secret, err := w.session("Mei", account.Admin)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		method, target string
		header         []string
		status         int
	}{
		{"GET", "/api/v1/stream", []string{"Origin", "https://elsewhere.example"}, 403},
		{"GET", "/api/v1/stream", []string{"Origin", "null"}, 403},
		{"GET", "/api/v1/stream", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "cors"}, 403},
		{"GET", "/api/v1/stream", []string{"Sec-Fetch-Site", "same-site"}, 403},
		{"GET", "/api/v1/incidents", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors"}, 403},
		{"GET", "/api/v1/incidents", []string{"Origin", "http://127.0.0.1:8080"}, 200},
		{"GET", "/api/v1/incidents", []string{"Origin", "null", "Sec-Fetch-Site", "same-origin"}, 200},
		{"GET", "/", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}, 200},
		{"GET", "/", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe"}, 403},
		{"POST", "/login", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{"POST", "/logout", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{"POST", "/password", []string{"Origin", "https://elsewhere.example"}, 403},
		{"POST", "/api/v1/accounts", []string{"Sec-Fetch-Site", "same-site"}, 403},
	} {
		answer, body := w.do(c.method, c.target, "", append(cookie(secret), c.header...)...)
		if answer.StatusCode != c.status {
			t.Errorf("%s %s %v: %s %.100s: want %d", c.method, c.target, c.header, answer.Status, body, c.status)
		}
	}
	w.ask(200, "GET", "/api/v1/session", "", cookie(secret))
}

// After signing in a browser goes to a path of ours, and nowhere else.
func TestNext(t *testing.T) {
	w := newWorld(t, nil)
	for next, want := range map[string]string{
		"/account": "/account", "/?x=1#incident=2": "/?x=1#incident=2", "": "/", "https://elsewhere.example": "/", "//elsewhere.example": "/",
		"/\\elsewhere.example": "/", "javascript:alert(1)": "/", "/%0d%0aSet-Cookie:x=1": "/%0d%0aSet-Cookie:x=1", "\t//elsewhere.example": "/", "/login": "/", "/logout": "/", "account": "/", "///elsewhere.example": "/",
	} {
		_, body := w.do("GET", "/login?next="+url.QueryEscape(next), "")
		page := strings.ReplaceAll(string(body), "&#43;", "+")
		if !strings.Contains(page, `name="next" value="`+want+`"`) {
			t.Errorf("%q: no %q in the page", next, want)
		}
	}
}
