package console

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/fengsui/fengsui/cloud-bridge/account"
)

// OIDCOptions say which OpenID provider vouches for people, and what its word means here.
type OIDCOptions struct {
	Label        string // on the button; "": the issuer
	Issuer       string
	ClientID     string
	ClientSecret string
	RedirectURL  string   // of this desk: https://…/oidc/callback
	Scopes       []string // beside openid
	NameClaim    string   // "": preferred_username
	RoleClaim    string   // a string or a list of strings
	// Roles maps values of RoleClaim to roles; the first that a person has counts.
	Roles []RoleOf
	// ScopeClaim names the claim with the grid's nodes, a string or a list; "": Scope is
	// everybody's.
	ScopeClaim string
	Scope      []string
}

// RoleOf says what a value of the role's claim means.
type RoleOf struct {
	Value string
	Role  account.Role
}

// OIDC signs people in at an OpenID provider (authorization code flow with PKCE; OpenID
// Connect Core 1.0, section 3.1; RFC 7636). The provider is first asked how it is used when
// somebody signs in there: the centre starts and takes alarms whether it answers or not.
type OIDC struct {
	o OIDCOptions

	mu       sync.Mutex
	provider *oidc.Provider // nil until it has answered
}

// errClaims means that the provider knows the person, and nothing that it says of him gives
// a role here.
var errClaims = errors.New("the OpenID provider's claims give no account here")

// NewOIDC returns a provider that was not asked yet.
func NewOIDC(o OIDCOptions) *OIDC { return &OIDC{o: o} }

// use asks the provider how it is used, unless it has said so before (OpenID Connect
// Discovery 1.0, section 4).
func (o *OIDC) use(ctx context.Context) (*oidc.IDTokenVerifier, *oauth2.Config, error) {
	o.mu.Lock()
	provider := o.provider
	o.mu.Unlock()
	if provider == nil {
		var err error
		if provider, err = oidc.NewProvider(ctx, o.o.Issuer); err != nil {
			return nil, nil, fmt.Errorf("OpenID provider: %w", err)
		}
		o.mu.Lock()
		o.provider = provider
		o.mu.Unlock()
	}
	return provider.Verifier(&oidc.Config{ClientID: o.o.ClientID}), &oauth2.Config{
		ClientID: o.o.ClientID, ClientSecret: o.o.ClientSecret, Endpoint: provider.Endpoint(), RedirectURL: o.o.RedirectURL,
		Scopes: append([]string{oidc.ScopeOpenID}, o.o.Scopes...),
	}, nil
}

// Label is what stands on the button.
func (o *OIDC) Label() string {
	if o.o.Label != "" {
		return o.o.Label
	}
	return o.o.Issuer
}

const (
	oidcCookie = "__Host-fengsui-oidc"
	// oidcLoopback takes its place where a browser does not hold loopback for secure.
	oidcLoopback = "fengsui-oidc-loopback"
	oidcFor      = 10 * time.Minute
	oidcPatience = 10 * time.Second
)

// setOIDC keeps state, nonce, verifier and the way on in the browser until it comes back.
func setOIDC(w http.ResponseWriter, r *http.Request, value string) {
	cookie := http.Cookie{Name: oidcCookie, Value: value, Path: "/", MaxAge: int(oidcFor.Seconds()), Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode}
	if value == "" {
		cookie.MaxAge = -1
	}
	http.SetCookie(w, &cookie)
	if r.TLS == nil && loopback(r) {
		cookie.Name, cookie.Secure = oidcLoopback, false
		http.SetCookie(w, &cookie)
	}
}

func (c *Console) startOIDC(w http.ResponseWriter, r *http.Request) {
	if p := c.plain(r); p != nil {
		writeProblem(w, p)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), oidcPatience)
	defer cancel()
	_, oauth, err := c.options.OIDC.use(ctx)
	if err != nil {
		c.log.Warn("sign-in at the OpenID provider cannot begin", "remote", c.from(r).Screen(), "err", err)
		seeOther(w, r, "/login?oidc=unreachable")
		return
	}
	state, nonce, verifier := rand.Text(), rand.Text(), oauth2.GenerateVerifier()
	next := nextOf(r.URL.Query().Get("next"))
	setOIDC(w, r, strings.Join([]string{state, nonce, verifier, encodeNext(next)}, "."))
	seeOther(w, r, oauth.AuthCodeURL(state, oidc.Nonce(nonce), oauth2.S256ChallengeOption(verifier)))
}

// finishOIDC takes what the provider sent the browser back with.
func (c *Console) finishOIDC(w http.ResponseWriter, r *http.Request) {
	if p := c.plain(r); p != nil {
		writeProblem(w, p)
		return
	}
	var kept []string
	for _, name := range []string{oidcCookie, oidcLoopback} {
		if cookie, err := r.Cookie(name); err == nil && (name == oidcCookie || r.TLS == nil && loopback(r)) {
			kept = strings.Split(cookie.Value, ".")
			break
		}
	}
	setOIDC(w, r, "") // whatever comes of it, it is used up
	fail := func(how string, err error) {
		c.log.Warn("sign-in at the OpenID provider failed", "remote", c.from(r).Screen(), "err", err)
		seeOther(w, r, "/login?oidc="+how)
	}
	q := r.URL.Query()
	switch {
	case len(kept) != 4:
		fail("failed", errors.New("no sign-in was begun in this browser"))
		return
	case subtle.ConstantTimeCompare([]byte(kept[0]), []byte(q.Get("state"))) != 1:
		fail("failed", errors.New("state is not the one that was sent"))
		return
	case q.Get("code") == "":
		fail("failed", fmt.Errorf("the provider says %q", shorten(q.Get("error"))))
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), oidcPatience)
	defer cancel()
	claim, err := c.options.OIDC.claim(ctx, q.Get("code"), kept[1], kept[2])
	if err == nil {
		var secret account.Secret
		var s *account.Session
		if secret, s, err = c.options.Accounts.SignInClaim(r.Context(), claim, c.from(r), sessionOf(r)); err == nil {
			setSession(w, r, secret, s.Ends)
			seeOther(w, r, decodeNext(kept[3]))
			return
		}
	}
	if _, bad := errors.AsType[*account.FieldError](err); bad || errors.Is(err, errClaims) || errors.Is(err, account.ErrRefused) || errors.Is(err, account.ErrLastAdmin) {
		fail("refused", err)
		return
	}
	fail("failed", err)
}

// claim exchanges the code and reads what the provider vouches for.
func (o *OIDC) claim(ctx context.Context, code, nonce, verifier string) (account.Claim, error) {
	verify, oauth, err := o.use(ctx)
	if err != nil {
		return account.Claim{}, err
	}
	token, err := oauth.Exchange(ctx, code, oauth2.VerifierOption(verifier))
	if err != nil {
		return account.Claim{}, err
	}
	raw, ok := token.Extra("id_token").(string)
	if !ok {
		return account.Claim{}, errors.New("the provider sent no id_token")
	}
	id, err := verify.Verify(ctx, raw)
	if err != nil {
		return account.Claim{}, err
	}
	if subtle.ConstantTimeCompare([]byte(id.Nonce), []byte(nonce)) != 1 {
		return account.Claim{}, errors.New("nonce is not the one that was sent")
	}
	var claims map[string]any
	if err := id.Claims(&claims); err != nil {
		return account.Claim{}, err
	}
	out := account.Claim{Issuer: id.Issuer, Subject: id.Subject, Scope: o.o.Scope}
	name := o.o.NameClaim
	if name == "" {
		name = "preferred_username"
	}
	if out.Name, ok = claims[name].(string); !ok {
		return out, fmt.Errorf("%w: no claim %s", errClaims, name)
	}
	have := texts(claims[o.o.RoleClaim])
	for _, r := range o.o.Roles {
		if slices.Contains(have, r.Value) {
			out.Role = r.Role
			break
		}
	}
	if out.Role == "" {
		return out, fmt.Errorf("%w: %s of %s is %q", errClaims, o.o.RoleClaim, out.Name, have)
	}
	if o.o.ScopeClaim != "" {
		out.Scope = texts(claims[o.o.ScopeClaim])
	}
	return out, nil
}

// texts is a claim that is a string or a list of them.
func texts(claim any) (out []string) {
	switch v := claim.(type) {
	case string:
		return []string{v}
	case []any:
		for _, x := range v {
			if s, ok := x.(string); ok {
				out = append(out, s)
			}
		}
	}
	return out
}
