package console_test

import (
	"encoding/json"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/oauth2-proxy/mockoidc"

	"github.com/fengsui/fengsui/cloud-bridge/account"
	"github.com/fengsui/fengsui/cloud-bridge/console"
)

// People sign in at a real OpenID provider, over HTTP: code flow with PKCE, state and nonce;
// its word on their roles counts at each sign-in, and what is forged is refused.
func TestOIDC(t *testing.T) {
	provider, err := mockoidc.Run()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = provider.Shutdown() })
	var w *world
	server := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) { w.desk.ServeHTTP(out, r) }))
	defer server.Close()
	o := console.NewOIDC(console.OIDCOptions{
		Label: "County ID", Issuer: provider.Issuer(), ClientID: provider.Config().ClientID, ClientSecret: provider.Config().ClientSecret,
		RedirectURL: server.URL + "/oidc/callback", Scopes: []string{"profile", "groups"}, RoleClaim: "groups", Scope: []string{account.Everywhere},
		Roles: []console.RoleOf{{Value: "chiefs", Role: account.Supervisor}, {Value: "desk", Role: account.Dispatcher}},
	})
	w = newWorld(t, func(options *console.Options) { options.OIDC = o })
	browser := func() *http.Client {
		jar, err := cookiejar.New(nil)
		if err != nil {
			t.Fatal(err)
		}
		return &http.Client{Jar: jar}
	}
	user := func(subject, name string, groups ...string) {
		provider.QueueUser(&mockoidc.MockUser{Subject: subject, PreferredUsername: name, Groups: groups})
	}
	// in signs in and returns where the browser ends.
	in := func(b *http.Client) string {
		t.Helper()
		answer, err := b.Get(server.URL + "/oidc/start?next=" + url.QueryEscape("/account"))
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		return answer.Request.URL.RequestURI()
	}
	me := func(b *http.Client) (m console.Me, status int) {
		t.Helper()
		answer, err := b.Get(server.URL + "/api/v1/session")
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		_ = json.NewDecoder(answer.Body).Decode(&m) // of a refusal there is nothing
		return m, answer.StatusCode
	}
	b := browser()
	user("s-1", "李梅", "villagers", "desk")
	if at := in(b); at != "/account" {
		t.Fatalf("the browser ends at %s", at)
	}
	if m, _ := me(b); m.Name != "李梅" || m.Role != "dispatcher" || m.Scope != "*" {
		t.Errorf("%+v", m)
	}
	// Promoted at the provider: the former session ends with the new one.
	again := browser()
	user("s-1", "Li Mei", "desk", "chiefs")
	in(again)
	if m, _ := me(again); m.Role != "supervisor" || m.Name != "李梅" {
		t.Errorf("%+v: the account is the subject's, whatever he is called now", m)
	}
	if _, status := me(b); status != 401 {
		t.Errorf("the session of the former role: %d", status)
	}
	// Known to the provider, and nobody here; and one who bears the name of another.
	for name, groups := range map[string]string{"Wang": "villagers", "李梅": "desk"} {
		user("other-"+groups, name, groups)
		stranger := browser()
		if at := in(stranger); at != "/login?oidc=refused" {
			t.Errorf("%s ends at %s", name, at)
		}
		if _, status := me(stranger); status != 401 {
			t.Errorf("%s: %d", name, status)
		}
	}
	// Disabled here.
	if _, err := w.accounts.Disable(t.Context(), account.Actor{}, w.account("李梅")); err != nil {
		t.Fatal(err)
	}
	user("s-1", "李梅", "desk")
	if at := in(browser()); at != "/login?oidc=refused" {
		t.Errorf("a disabled account ends at %s", at)
	}
	// A password opens no such account.
	if answer := w.login("李梅", "", "", ""); answer.StatusCode == 303 {
		t.Error("an empty password opens it")
	}

	// A callback that this browser has not asked for, with another's state, or used twice.
	step := func(b *http.Client) (callback string) {
		t.Helper()
		b.CheckRedirect = func(r *http.Request, _ []*http.Request) error {
			if strings.HasPrefix(r.URL.Path, "/oidc/callback") {
				return http.ErrUseLastResponse
			}
			return nil
		}
		user("s-2", "Bo", "desk")
		answer, err := b.Get(server.URL + "/oidc/start")
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		return answer.Header.Get("Location")
	}
	end := func(b *http.Client, callback string) string {
		t.Helper()
		b.CheckRedirect = nil
		answer, err := b.Get(callback)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		return answer.Request.URL.RequestURI()
	}
	victim, attacker := browser(), browser()
	stolen := step(attacker)
	if at := end(victim, stolen); at != "/login?oidc=failed" {
		t.Errorf("a callback that was not asked for ends at %s", at)
	}
	step(victim)
	if at := end(victim, stolen); at != "/login?oidc=failed" {
		t.Errorf("another's state ends at %s", at)
	}
	own := browser()
	callback := step(own)
	if at := end(own, callback); at != "/" {
		t.Errorf("one's own ends at %s", at)
	}
	if at := end(own, callback); at != "/login?oidc=failed" {
		t.Errorf("the second use ends at %s", at)
	}
	// The verifier of another sign-in does not open the code (PKCE).
	pkce := browser()
	callback = step(pkce)
	at, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range pkce.Jar.Cookies(at) {
		if strings.Contains(c.Name, "fengsui-oidc") {
			parts := strings.Split(c.Value, ".")
			parts[2] = strings.Repeat("x", len(parts[2]))
			pkce.Jar.SetCookies(at, []*http.Cookie{{Name: c.Name, Value: strings.Join(parts, "."), Path: "/", Secure: strings.HasPrefix(c.Name, "__Host-")}})
		}
	}
	if where := end(pkce, callback); where != "/login?oidc=failed" {
		t.Errorf("with another verifier it ends at %s", where)
	}
	_, page := w.do("GET", "/login", "")
	if !strings.Contains(string(page), "County ID") {
		t.Error("the page does not offer the provider")
	}
}
