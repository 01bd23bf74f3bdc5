package bridge_test

import (
	"fmt"
	"net"
	"net/http"
	"net/http/cookiejar"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/oauth2-proxy/mockoidc"
)

// freePort is a port of loopback that nobody listens on.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// The centre starts though the OpenID provider does not answer, says so to who would sign in
// there, and signs people in when it does: as the file says, over a real provider.
func TestProviderLater(t *testing.T) {
	provider, err := mockoidc.NewServer(nil)
	if err != nil {
		t.Fatal(err)
	}
	dir, at, desk := t.TempDir(), freePort(t), freePort(t)
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	file := write("oidc.yaml", fmt.Sprintf(`label: County ID
issuer: http://%s/oidc
client_id: %s
client_secret_file: %s
redirect_url: http://%s/oidc/callback
scopes: [profile, groups]
role_claim: groups
roles: [{value: chiefs, role: supervisor}, {value: desk, role: dispatcher}]
`, at, provider.ClientID, write("secret", provider.ClientSecret+"\n"), desk))
	c := serve(t, "--data", t.TempDir(), "--http-addr", desk, "--oidc", file)
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	browser := &http.Client{Jar: jar}
	defer browser.CloseIdleConnections()
	begin := func() string {
		t.Helper()
		answer, err := browser.Get("http://" + desk + "/oidc/start?next=%2Faccount")
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		return answer.Request.URL.RequestURI()
	}
	if where := begin(); where != "/login?oidc=unreachable" {
		t.Errorf("without the provider the browser ends at %s", where)
	}
	l, err := net.Listen("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	if err := provider.Start(l, nil); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = provider.Shutdown() }()
	provider.QueueUser(&mockoidc.MockUser{Subject: "s-1", PreferredUsername: "李梅", Groups: []string{"desk"}})
	if where := begin(); where != "/account" {
		t.Errorf("with the provider the browser ends at %s", where)
	}
	answer, err := browser.Get("http://" + desk + "/api/v1/session")
	if err != nil {
		t.Fatal(err)
	}
	body := make([]byte, 4096)
	n, _ := answer.Body.Read(body)
	answer.Body.Close()
	if s := string(body[:n]); !strings.Contains(s, "李梅") || !strings.Contains(s, `"dispatcher"`) {
		t.Errorf("%s %s", answer.Status, s)
	}
	if status, log := c.stop(); status != 0 {
		t.Errorf("status %d: %s", status, log)
	}
}

// What is wrong in the file is said at the start, with the field.
func TestProviderFile(t *testing.T) {
	const good = "issuer: https://id.example\nclient_id: fengsui\nredirect_url: https://desk.example/oidc/callback\n" +
		"role_claim: groups\nroles: [{value: desk, role: dispatcher}]\n"
	for _, c := range []struct{ from, to, want string }{
		{"issuer: https://id.example\n", "", "issuer"},
		{"https://id.example", "http://id.example", `"issuer": value "http://id.example"`},
		{"https://id.example", "id.example", `"issuer": value "id.example"`},
		{"/oidc/callback", "/callback", `"redirect_url": value "https://desk.example/callback"`},
		{"https://desk.example", "http://desk.example", "redirect_url"},
		{"role: dispatcher", "role: king", `"king"`},
		{"role_claim: groups", "role_claim: groups\nscope_claim: grid\nscope: [v-1]", "scope or scope_claim"},
		{"client_id: fengsui", "client_id: fengsui\nclient_secret_file: /nowhere/secret", "client_secret_file"},
		{"role_claim", "role_clam", "role_clam"},
	} {
		path := filepath.Join(t.TempDir(), "oidc.yaml")
		if err := os.WriteFile(path, []byte(strings.Replace(good, c.from, c.to, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		status, _, errs := call(t, "serve", "--data", t.TempDir(), "--http-addr", "127.0.0.1:0", "--mqtt-addr", "127.0.0.1:0", "--oidc", path)
		if status == 0 || !strings.Contains(errs, c.want) {
			t.Errorf("%q for %q: status %d, %q: want it to name %s", c.to, c.from, status, errs, c.want)
		}
	}
}
