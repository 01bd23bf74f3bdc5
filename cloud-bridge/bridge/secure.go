package bridge

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/fengsui/fengsui/boards/strictyaml"
	"github.com/fengsui/fengsui/cloud-bridge/account"
	"github.com/fengsui/fengsui/cloud-bridge/console"
)

// A certificate is read from its files, and again when they have changed: whoever renews it
// need not restart the centre. One that cannot be read leaves the former in use.
type certificate struct {
	cert, key string
	log       *slog.Logger

	mu     sync.Mutex
	looked time.Time
	stamp  [2]time.Time
	got    *tls.Certificate
}

// loadCertificate reads the files, or says which is wrong.
func loadCertificate(cert, key string, log *slog.Logger) (*certificate, error) {
	c := &certificate{cert: cert, key: key, log: log}
	return c, c.read()
}

func (c *certificate) read() error {
	var stamp [2]time.Time
	for i, file := range []string{c.cert, c.key} {
		st, err := os.Stat(file)
		if err != nil {
			return fmt.Errorf("certificate: %w", err)
		}
		stamp[i] = st.ModTime()
	}
	if c.got != nil && stamp == c.stamp {
		return nil
	}
	pair, err := tls.LoadX509KeyPair(c.cert, c.key)
	if err != nil {
		return fmt.Errorf("certificate %s with key %s: %w", c.cert, c.key, err)
	}
	c.got, c.stamp = &pair, stamp
	return nil
}

// get returns the certificate; it looks at the files once a minute.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := time.Now(); now.Sub(c.looked) > time.Minute {
		c.looked = now
		if err := c.read(); err != nil {
			c.log.Warn("the renewed certificate cannot be read; the former one stays in use", "err", err)
		}
	}
	return c.got, nil
}

// parseProxies reads addresses and prefixes, separated by commas.
func parseProxies(s string) (out []netip.Prefix, err error) {
	for part := range strings.SplitSeq(s, ",") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		p, err := netip.ParsePrefix(part)
		if at, aerr := netip.ParseAddr(part); err != nil && aerr == nil {
			p, err = at.Prefix(at.BitLen())
		}
		if err != nil {
			return nil, fmt.Errorf("%w: --proxy %q: want addresses or prefixes such as 127.0.0.1,10.1.0.0/16", errUsage, part)
		}
		out = append(out, p.Masked())
	}
	return out, nil
}

// openID is the file of serve --oidc.
type openID struct {
	Label            string   `yaml:"label" max:"64" want:"at most 64 bytes"`
	Issuer           string   `yaml:"issuer" required:"true"`
	ClientID         string   `yaml:"client_id" required:"true"`
	ClientSecretFile string   `yaml:"client_secret_file"`
	RedirectURL      string   `yaml:"redirect_url" required:"true"`
	Scopes           []string `yaml:"scopes"`
	NameClaim        string   `yaml:"name_claim"`
	RoleClaim        string   `yaml:"role_claim" required:"true"`
	Roles            []roleOf `yaml:"roles" required:"true"`
	ScopeClaim       string   `yaml:"scope_claim"`
	Scope            []string `yaml:"scope"`
}

type roleOf struct {
	Value string `yaml:"value" required:"true"`
	Role  string `yaml:"role" required:"true" oneof:"viewer|dispatcher|supervisor|technician|admin"`
}

// Validate checks what concerns several fields, and the addresses.
func (o *openID) Validate(r *strictyaml.Report) {
	if o.Issuer != "" && !webAddress(o.Issuer, "") {
		r.Add("issuer", o.Issuer, "an https address such as https://id.example (http on loopback alone)")
	}
	if o.RedirectURL != "" && !webAddress(o.RedirectURL, "/oidc/callback") {
		r.Add("redirect_url", o.RedirectURL, "the https address of this desk, ending in /oidc/callback (http on loopback alone)")
	}
	if o.ScopeClaim != "" && len(o.Scope) > 0 {
		r.Add("scope", strings.Join(o.Scope, ","), "scope or scope_claim, not both")
	}
	if len(o.Scope) > 0 {
		if _, err := account.ParseScope(o.Scope); err != nil {
			r.Add("scope", strings.Join(o.Scope, ","), "ids of grid nodes, or * alone")
		}
	}
}

// webAddress reports whether s is an address that a secret may be sent to, with
// that path; path "": with any.
func webAddress(s, path string) bool {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || path != "" && u.Path != path {
		return false
	}
	ip, err := netip.ParseAddr(u.Hostname())
	return u.Scheme == "https" || u.Scheme == "http" && (u.Hostname() == "localhost" || err == nil && ip.IsLoopback())
}

// openProvider reads the file. The provider itself is not asked yet.
func openProvider(path string) (*console.OIDC, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("OpenID provider: %w", err)
	}
	var o openID
	if err := strictyaml.Decode(path, b, &o); err != nil {
		return nil, err
	}
	options := console.OIDCOptions{
		Label: o.Label, Issuer: o.Issuer, ClientID: o.ClientID, RedirectURL: o.RedirectURL, Scopes: o.Scopes,
		NameClaim: o.NameClaim, RoleClaim: o.RoleClaim, ScopeClaim: o.ScopeClaim, Scope: o.Scope,
	}
	if len(options.Scope) == 0 && o.ScopeClaim == "" {
		options.Scope = []string{account.Everywhere}
	}
	if len(options.Scopes) == 0 {
		options.Scopes = []string{"profile"}
	}
	for _, r := range o.Roles {
		options.Roles = append(options.Roles, console.RoleOf{Value: r.Value, Role: account.Role(r.Role)})
	}
	if o.ClientSecretFile != "" {
		secret, err := os.ReadFile(o.ClientSecretFile)
		if err != nil {
			return nil, fmt.Errorf("OpenID provider: client_secret_file: %w", err)
		}
		options.ClientSecret = strings.TrimSpace(string(secret))
	}
	return console.NewOIDC(options), nil
}
