package bridge_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fengsui/fengsui/cloud-bridge/audit"
	"github.com/fengsui/fengsui/cloud-bridge/bridge"
	"github.com/fengsui/fengsui/cloud-bridge/store"
)

func TestAccountCommand(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	in := func(stdin string, args ...string) (int, string, string) {
		var out, errs bytes.Buffer
		status := bridge.Run(t.Context(), "test", append([]string{"account"}, args...), strings.NewReader(stdin), &out, &errs)
		return status, out.String(), errs.String()
	}
	at := func(verb string, more ...string) []string { return append([]string{verb, "--data", data}, more...) }
	for _, c := range []struct {
		stdin  string
		args   []string
		status int
		stdout string
		stderr string
	}{
		{"", []string{"dance"}, 2, "", "account add, account list"},
		{"", at("add"), 2, "", "--name NAME is missing"},
		{"", at("add", "--name", "li"), 1, "", "role: want viewer, dispatcher"},
		{"", at("add", "--name", "centre", "--role", "viewer"), 1, "", "the centre's own"},
		{"", at("add", "--name", "li", "--role", "viewer", "--scope", "a,,b"), 1, "", "scope"},
		{"short\n", at("add", "--name", "li", "--role", "viewer", "--password-stdin"), 1, "", "12 to 128 characters"},
		{"", at("add", "--name", "li", "--role", "viewer", "--password-stdin"), 1, "", "no password on standard input"},
		{"", at("add", "--name", "li", "--role", "admin"), 0, "li\t", ""},
		{"", at("add", "--name", "LI", "--role", "admin"), 1, "", "another name"},
		{"seven quiet lanterns\n", at("add", "--name", "王芳", "--role", "dispatcher", "--scope", "village-2,village-1", "--password-stdin"), 0, "", ""},
		{"", at("list"), 0, "王芳  dispatcher  village-1,village-2  password  enabled\n", ""},
		{"", at("disable", "--name", "li"), 1, "", "at least one enabled admin"},
		{"", at("disable", "--name", "nobody"), 1, "", `account "nobody"`},
		{"", at("token", "--name", "王芳", "--role", "supervisor"), 1, "", "no more than the account's own role"},
		{"", at("token", "--name", "王芳", "--days", "3"), 0, "王芳\tfengsui_", ""},
		{"", at("assign", "--name", "王芳", "--role", "viewer"), 0, "", ""},
		{"", at("disable", "--name", "王芳"), 0, "", ""},
		{"", at("reset", "--name", "王芳"), 0, "王芳\t", ""},
		{"", at("list"), 0, "王芳  viewer  *  one-time  disabled\n", ""},
		{"", at("enable", "--name", "王芳"), 0, "", ""},
	} {
		status, stdout, stderr := in(c.stdin, c.args...)
		if status != c.status || !strings.Contains(stdout, c.stdout) || !strings.Contains(stderr, c.stderr) || c.stderr == "" && stderr != "" {
			t.Errorf("%q: status %d, stdout %q, stderr %q: want %d, %q, %q", c.args, status, stdout, stderr, c.status, c.stdout, c.stderr)
		}
	}
}

// certificateFor makes a certificate for the loopback address.
func certificateFor(t *testing.T, dir string) (cert, key string, roots *x509.CertPool) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "desk"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	roots = x509.NewCertPool()
	for name, block := range map[string]*pem.Block{"cert.pem": {Type: "CERTIFICATE", Bytes: der}, "key.pem": {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	roots.AppendCertsFromPEM(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	return filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), roots
}

// The first start over TLS: one admin with a one-time password, which opens nothing but its
// own change; the second start tells of none.
func TestFirstAdminOverTLS(t *testing.T) {
	dir := t.TempDir()
	cert, key, roots := certificateFor(t, dir)
	start := func() (lines []string, stop func()) {
		ctx, cancel := context.WithCancel(t.Context())
		out, in := io.Pipe()
		var errs bytes.Buffer
		ended := make(chan int, 1)
		go func() {
			ended <- bridge.Run(ctx, "test", []string{
				"serve", "--data", filepath.Join(dir, "data"), "--http-addr", "127.0.0.1:0", "--mqtt-addr", "127.0.0.1:0",
				"--tls-cert", cert, "--tls-key", key,
			}, strings.NewReader(""), in, &errs)
			in.Close()
		}()
		for r := bufio.NewScanner(out); r.Scan(); {
			lines = append(lines, r.Text())
			if strings.HasPrefix(r.Text(), "ready ") {
				break
			}
		}
		return lines, func() {
			cancel()
			go io.Copy(io.Discard, out)
			if status := <-ended; status != 0 {
				t.Errorf("status %d: %s", status, errs.String())
			}
		}
	}
	lines, stop := start()
	var name, oneTime, desk, mqtt string
	if len(lines) != 2 {
		t.Fatalf("%q", lines)
	}
	if _, err := fmt.Sscanf(lines[0], "first admin: name=%s one-time-password=%s", &name, &oneTime); err != nil {
		t.Fatalf("%q: %v", lines[0], err)
	}
	if _, err := fmt.Sscanf(lines[1], "ready desk=%s mqtt=%s", &desk, &mqtt); err != nil || !strings.HasPrefix(desk, "https://") {
		t.Fatalf("%q: %v", lines[1], err)
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
	defer client.CloseIdleConnections()
	answer, err := client.Post(desk+"/api/v1/session", "application/json", strings.NewReader(fmt.Sprintf(`{"name":%q,"password":%q}`, name, oneTime)))
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(answer.Body)
	answer.Body.Close()
	if answer.StatusCode != 200 || !strings.Contains(string(body), `"must_change_password":true`) || answer.Header.Get("Strict-Transport-Security") == "" {
		t.Errorf("%s %s", answer.Status, body)
	}
	cookies := answer.Cookies()
	if len(cookies) != 1 || cookies[0].Name != "__Host-fengsui" || !cookies[0].Secure {
		t.Errorf("over TLS: %v", cookies)
	}
	r, err := http.NewRequestWithContext(t.Context(), "GET", desk+"/api/v1/incidents", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.AddCookie(cookies[0])
	if answer, err = client.Do(r); err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != 403 {
		t.Errorf("with a one-time password: %s", answer.Status)
	}
	stop()
	if lines, stop = start(); len(lines) != 1 {
		t.Errorf("the second start says %q", lines)
	}
	stop()
}

// Over the shipping centre: an account that is bound to a village sees its boxes and nothing
// else, and what happens to accounts is in the audit record, whose chain holds.
func TestBoundAccountAndAudit(t *testing.T) {
	data := t.TempDir()
	for id, lon := range map[string]string{"box-01": "103.05", "box-02": "103.15"} {
		must(t, "device", "add", "--data", data, "--id", id, "--kind", "alarm-box", "--key", publicHex(deviceKey), "--lat", "30.05", "--lon", lon)
	}
	c := serve(t, "--data", data)
	square := func(id, level, parent string, west, east float64) string {
		return fmt.Sprintf(`{"type":"Feature","properties":{"id":%q,"level":%q,"parent":%q,"name":%q},"geometry":{"type":"Polygon","coordinates":[[[%[5]v,30],[%[6]v,30],[%[6]v,30.1],[%[5]v,30.1],[%[5]v,30]]]}}`, id, level, parent, id, west, east)
	}
	area := `{"type":"FeatureCollection","features":[` + strings.Join([]string{
		`{"type":"Feature","properties":{"id":"d","level":"district","name":"d"},"geometry":null}`,
		`{"type":"Feature","properties":{"id":"t","level":"township","parent":"d","name":"t"},"geometry":null}`,
		`{"type":"Feature","properties":{"id":"v-1","level":"village","parent":"t","name":"v-1"},"geometry":null}`,
		`{"type":"Feature","properties":{"id":"v-2","level":"village","parent":"t","name":"v-2"},"geometry":null}`,
		square("c-1", "cell", "v-1", 103, 103.1), square("c-2", "cell", "v-2", 103.1, 103.2),
	}, ",") + `]}`
	call := func(method, path, body, token string) (int, string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, c.desk+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		if strings.HasSuffix(path, "/grid") {
			r.Header.Set("Content-Type", "application/geo+json")
		}
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		b, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		return answer.StatusCode, string(b)
	}
	if status, body := call("PUT", "/api/v1/grid", area, ""); status != 200 {
		t.Fatalf("grid: %d %s", status, body)
	}
	must(t, "account", "add", "--data", data, "--name", "village", "--role", "viewer", "--scope", "v-1", "--token-only")
	_, token, _ := strings.Cut(strings.TrimSpace(must(t, "account", "token", "--data", data, "--name", "village")), "\t")
	if status, body := call("GET", "/api/v1/devices", "", token); status != 200 || !strings.Contains(body, "box-01") || strings.Contains(body, "box-02") {
		t.Errorf("the village's devices: %d %s", status, body)
	}
	if status, _ := call("GET", "/api/v1/devices/box-01", "", token); status != 200 {
		t.Errorf("its own: %d", status)
	}
	if status, _ := call("GET", "/api/v1/devices/box-02", "", token); status != 404 {
		t.Errorf("the other village's: %d", status)
	}
	call("POST", "/api/v1/session", `{"name":"village","password":"guessed"}`, "-")
	if status, log := c.stop(); status != 0 {
		t.Errorf("%d: %s", status, log)
	}
	st, err := store.Open(t.Context(), filepath.Join(data, "centre.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer st.Shut()
	var did []string
	if err := st.AuditOf(t.Context(), "account/village", func(l audit.Line) error {
		if l.Entry != nil {
			did = append(did, l.Entry.What)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(did, " "); got != "account_created token_made sign_in_refused" {
		t.Errorf("the record tells %q", got)
	}
	if _, err := st.CheckAudit(t.Context()); err != nil {
		t.Error(err)
	}
}
