package console

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/fengsui/fengsui/cloud-bridge/account"
	"github.com/fengsui/fengsui/cloud-bridge/store"
)

// A rule says who may use a route.
type rule struct {
	least account.Role // the least that is needed; "": everybody, signed in or not
	early bool         // allowed before a one-time password was changed
	page  bool         // a person's page: who is not signed in is sent to sign in
	// whole routes are of the whole district: an account that is bound to a part of the grid
	// may not use them. All others show and do only what lies within the account's scope.
	whole bool
}

// rules has a line for every route; one without a line is refused, and a test fails.
var rules = map[string]rule{
	"GET /{$}":                     {least: account.Viewer, page: true},
	"GET /account":                 {least: account.Viewer, page: true},
	"GET /duty":                    {least: account.Viewer, page: true},
	"GET /stats":                   {least: account.Viewer, page: true},
	"GET /assets/{hash}/{path...}": {},
	"GET /healthz":                 {},
	"GET /readyz":                  {},
	"GET /metrics":                 {},
	"GET /login":                   {},
	"POST /login":                  {},
	"POST /logout":                 {least: account.Viewer, early: true, page: true},
	"GET /password":                {least: account.Viewer, early: true, page: true},
	"POST /password":               {least: account.Viewer, early: true, page: true},
	"GET /oidc/start":              {},
	"GET /oidc/callback":           {},

	"GET /api/v1/openapi.yaml":                {},
	"POST /api/v1/sms":                        {}, // a gateway signs what it sends
	"POST /api/v1/session":                    {},
	"GET /api/v1/session":                     {least: account.Viewer, early: true},
	"POST /api/v1/session/end":                {least: account.Viewer, early: true},
	"POST /api/v1/session/password":           {least: account.Viewer, early: true},
	"GET /api/v1/sessions":                    {least: account.Viewer},
	"POST /api/v1/sessions/{id}/end":          {least: account.Viewer},
	"GET /api/v1/tokens":                      {least: account.Viewer},
	"POST /api/v1/tokens":                     {least: account.Viewer},
	"POST /api/v1/tokens/{id}/revoke":         {least: account.Viewer},
	"GET /api/v1/accounts":                    {least: account.Admin, whole: true},
	"POST /api/v1/accounts":                   {least: account.Admin, whole: true},
	"GET /api/v1/accounts/{id}":               {least: account.Admin, whole: true},
	"POST /api/v1/accounts/{id}/assign":       {least: account.Admin, whole: true},
	"POST /api/v1/accounts/{id}/reset":        {least: account.Admin, whole: true},
	"POST /api/v1/accounts/{id}/disable":      {least: account.Admin, whole: true},
	"POST /api/v1/accounts/{id}/enable":       {least: account.Admin, whole: true},
	"GET /api/v1/incidents":                   {least: account.Viewer},
	"GET /api/v1/incidents/{id}":              {least: account.Viewer},
	"POST /api/v1/incidents/{id}/acknowledge": {least: account.Dispatcher},
	"POST /api/v1/incidents/{id}/dispatch":    {least: account.Dispatcher},
	"POST /api/v1/incidents/{id}/close":       {least: account.Dispatcher},
	"POST /api/v1/incidents/{id}/take_over":   {least: account.Dispatcher},
	"POST /api/v1/incidents/{id}/add_unit":    {least: account.Dispatcher},
	"POST /api/v1/incidents/{id}/en_route":    {least: account.Dispatcher},
	"POST /api/v1/incidents/{id}/on_scene":    {least: account.Dispatcher},
	"POST /api/v1/incidents/{id}/checked":     {least: account.Dispatcher},
	"POST /api/v1/incidents/{id}/note":        {least: account.Dispatcher},
	"POST /api/v1/incidents/{id}/cancel":      {least: account.Dispatcher},
	"POST /api/v1/incidents/{id}/suspend":     {least: account.Dispatcher},
	"POST /api/v1/incidents/{id}/return":      {least: account.Dispatcher},
	"POST /api/v1/incidents/{id}/deny":        {least: account.Dispatcher},
	"POST /api/v1/incidents/{id}/resume":      {least: account.Dispatcher},
	"POST /api/v1/incidents/{id}/sound":       {least: account.Dispatcher},
	"POST /api/v1/incidents/{id}/hush":        {least: account.Dispatcher},
	"POST /api/v1/incidents/{id}/approve":     {least: account.Supervisor},
	"GET /api/v1/incidents/{id}/sounds":       {least: account.Viewer},
	"GET /api/v1/incidents/{id}/units":        {least: account.Viewer},
	"GET /api/v1/incidents/{id}/attachments":  {least: account.Viewer},
	"GET /api/v1/incidents/{id}/audit":        {least: account.Supervisor},
	"GET /api/v1/incidents/{id}/evidence":     {least: account.Supervisor},
	"GET /api/v1/attachments/{id}":            {least: account.Viewer},
	"GET /api/v1/audit":                       {least: account.Supervisor, whole: true},
	"GET /api/v1/units":                       {least: account.Viewer},
	"POST /api/v1/units/{id}/state":           {least: account.Dispatcher},
	"GET /api/v1/grid":                        {least: account.Viewer},
	"PUT /api/v1/grid":                        {least: account.Supervisor, whole: true},
	"GET /api/v1/groups":                      {least: account.Viewer},
	"PUT /api/v1/groups/{id}":                 {least: account.Supervisor, whole: true},
	"DELETE /api/v1/groups/{id}":              {least: account.Supervisor, whole: true},
	"GET /api/v1/drills":                      {least: account.Viewer},
	"POST /api/v1/drills":                     {least: account.Supervisor, whole: true},
	"GET /api/v1/exercises":                   {least: account.Viewer},
	"GET /api/v1/exercises/{id}":              {least: account.Viewer},
	"GET /api/v1/exercises/{id}/csv":          {least: account.Viewer},
	"GET /api/v1/roster":                      {least: account.Viewer},
	"PUT /api/v1/roster":                      {least: account.Supervisor, whole: true},
	"GET /api/v1/duty":                        {least: account.Viewer},
	"GET /api/v1/rounds":                      {least: account.Viewer},
	"GET /api/v1/policy":                      {least: account.Viewer},
	"GET /api/v1/stats":                       {least: account.Viewer, whole: true},
	"GET /api/v1/stats.csv":                   {least: account.Viewer, whole: true},
	"GET /api/v1/summary":                     {least: account.Viewer},
	"GET /api/v1/devices":                     {least: account.Viewer},
	"GET /api/v1/devices/{id}":                {least: account.Viewer},
	"GET /api/v1/devices/{id}/gaps":           {least: account.Viewer},
	"GET /api/v1/devices/{id}/fingers":        {least: account.Viewer},
	"GET /api/v1/devices/{id}/events":         {least: account.Viewer},
	"GET /api/v1/devices/{id}/track":          {least: account.Viewer},
	"GET /api/v1/gaps":                        {least: account.Viewer},
	"GET /api/v1/refused":                     {least: account.Viewer, whole: true},
	"GET /api/v1/stream":                      {least: account.Viewer},
}

// gate lets a request through to its route, or answers why not.
func (c *Console) gate(w http.ResponseWriter, r *http.Request, pattern string) {
	rule, known := rules[pattern]
	if !known {
		c.log.ErrorContext(r.Context(), "a route without a rule", "route", pattern)
		writeProblem(w, problemf(http.StatusForbidden, "nobody may use this yet"))
		return
	}
	if rule.least == "" {
		c.mux.ServeHTTP(w, r)
		return
	}
	if p := c.plain(r); p != nil {
		writeProblem(w, p)
		return
	}
	secret, byCookie := credential(r)
	if byCookie && foreign(r) {
		writeProblem(w, foreignProblem(r))
		return
	}
	ctx, actor, leave, err := c.options.Accounts.Enter(r.Context(), secret, c.from(r).Screen())
	if err != nil {
		if rule.page && r.Method == http.MethodGet {
			seeOther(w, r, "/login?next="+url.QueryEscape(r.URL.RequestURI()))
			return
		}
		w.Header().Set("WWW-Authenticate", `Bearer realm="fengsui"`) // RFC 6750, section 3
		p := problemf(http.StatusUnauthorized, "not signed in: want a session's cookie or Authorization: Bearer TOKEN")
		p.Type = "urn:fengsui:problem:signed-out"
		writeProblem(w, p)
		return
	}
	defer leave()
	if actor.MustChange && !rule.early {
		if rule.page {
			seeOther(w, r, "/password")
			return
		}
		p := problemf(http.StatusForbidden, "a one-time password opens nothing: change it first, at /password")
		p.Type = "urn:fengsui:problem:password-change"
		writeProblem(w, p)
		return
	}
	if !actor.Role.Covers(rule.least) {
		p := problemf(http.StatusForbidden, "a %s may not do this: want a %s", actor.Role, rule.least).coded(codeRole)
		p.Type, p.Field, p.Value, p.Want = "urn:fengsui:problem:role", "role", string(actor.Role), string(rule.least)
		writeProblem(w, p)
		return
	}
	if rule.whole && !actor.Scope.Whole() {
		p := problemf(http.StatusForbidden, "this is of the whole district, and %s is bound to a part of it", actor.Name).coded(codeScope)
		p.Type, p.Field, p.Want = "urn:fengsui:problem:scope", "scope", account.Everywhere
		writeProblem(w, p)
		return
	}
	c.mux.ServeHTTP(w, r.WithContext(ctx))
}

// actorOf is who makes the request; behind the gate there is always one.
func actorOf(ctx context.Context) account.Actor {
	a, _ := account.ActorOf(ctx)
	return a
}

// The names of the session's cookie. A browser takes the first only over a connection that
// it holds for secure, sends it to this host alone, and lets no other page or subdomain set
// it (RFC 6265bis, section 4.1.3.2). Browsers that do not hold the loopback interface for
// secure, and programs, need the second, which the centre takes on the loopback interface
// only.
const (
	sessionCookie  = "__Host-fengsui"
	loopbackCookie = "fengsui-loopback"
)

// credential is the token or the session's secret that a request carries.
func credential(r *http.Request) (_ account.Secret, byCookie bool) {
	if scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok && strings.EqualFold(scheme, "Bearer") {
		if token = strings.TrimSpace(token); strings.HasPrefix(token, account.TokenPrefix) {
			return account.Secret(token), false
		}
		return "", false
	}
	secret := sessionOf(r)
	if strings.HasPrefix(string(secret), account.TokenPrefix) {
		return "", true // a token is no cookie
	}
	return secret, true
}

// sessionOf is the secret in a session's cookie, or "".
func sessionOf(r *http.Request) account.Secret {
	names := []string{sessionCookie}
	if r.TLS == nil && loopback(r) {
		names = append(names, loopbackCookie)
	}
	for _, name := range names {
		if cookie, err := r.Cookie(name); err == nil && cookie.Value != "" {
			return account.Secret(cookie.Value)
		}
	}
	return ""
}

// setSession gives the browser a session's cookie, or takes it away where secret is "".
func setSession(w http.ResponseWriter, r *http.Request, secret account.Secret, ends time.Time) {
	cookie := http.Cookie{
		Name: sessionCookie, Value: string(secret), Path: "/", Expires: ends,
		Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	}
	if secret == "" {
		cookie.Expires, cookie.MaxAge = time.Time{}, -1
	}
	http.SetCookie(w, &cookie)
	if r.TLS == nil && loopback(r) {
		cookie.Name, cookie.Secure = loopbackCookie, false
		http.SetCookie(w, &cookie)
	}
}

// loopback reports whether the request came over this machine's loopback interface, and was
// meant to.
func loopback(r *http.Request) bool {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || !peer.Addr().Unmap().IsLoopback() {
		return false
	}
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	at, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && at.IsLoopback()
}

// trusted reports whether the other end of the connection is a proxy of ours.
func (c *Console) trusted(at netip.Addr) bool {
	for _, p := range c.options.Proxies {
		if p.Contains(at.Unmap()) {
			return true
		}
	}
	return false
}

func peer(r *http.Request) netip.Addr {
	at, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return at.Addr().Unmap()
}

// plain is why a secret may not travel over this connection, nil where it may: over TLS, over
// a trusted proxy that has TLS, and over the loopback interface.
func (c *Console) plain(r *http.Request) *Problem {
	if r.TLS != nil || loopback(r) || c.trusted(peer(r)) && strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https") {
		return nil
	}
	p := problemf(http.StatusForbidden, "this connection is not encrypted: passwords and sessions travel over https only")
	p.Type, p.Field, p.Value, p.Want = "urn:fengsui:problem:insecure", "scheme", "http", "https (serve --tls-cert and --tls-key, or --proxy), or the loopback address"
	return p
}

// from is where a request comes from: the peer, or what a trusted proxy says of it, which
// is the last address in X-Forwarded-For that is no proxy of ours.
func (c *Console) from(r *http.Request) account.From {
	at := peer(r)
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0 && c.trusted(at); i-- {
		hop, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			break
		}
		at = hop.Unmap()
	}
	return account.From{Address: at, Agent: r.UserAgent()}
}

// foreign reports whether a browser says that a page of another origin makes the request.
// net/http's CrossOriginProtection lets reading requests pass; this holds for them too, the
// stream above all.
func foreign(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "none", "same-origin":
		return false
	case "":
	default:
		// A person may follow a link to a page from anywhere.
		return r.Header.Get("Sec-Fetch-Mode") != "navigate" || r.Method != http.MethodGet || r.Header.Get("Sec-Fetch-Dest") != "document"
	}
	origin := r.Header.Get("Origin")
	if origin == "" {
		return false
	}
	u, err := url.Parse(origin)
	return err != nil || !strings.EqualFold(u.Host, r.Host)
}

func foreignProblem(r *http.Request) *Problem {
	p := problemf(http.StatusForbidden, "a page of another origin may not do this")
	p.Field, p.Value, p.Want = "Origin", shorten(r.Header.Get("Origin")), "the desk's own origin"
	return p
}

// A Grid says what lies in which part of the district.
type Grid interface {
	// Within reports whether a device, or where there is none ("") a position, lies in one
	// of the nodes.
	Within(ctx context.Context, nodes []string, device string, at *store.Point) (bool, error)
}

// sees returns nil when the actor may see what belongs to a device, or where there is none
// lies at a position; otherwise store.ErrNotFound, for to a bounded account what is
// elsewhere is not there.
func (c *Console) sees(ctx context.Context, device string, at *store.Point) error {
	actor := actorOf(ctx)
	if actor.Scope.Whole() {
		return nil
	}
	if c.options.Grid == nil {
		return store.ErrNotFound
	}
	in, err := c.options.Grid.Within(ctx, actor.Scope, device, at)
	if err == nil && !in {
		err = store.ErrNotFound
	}
	return err
}

// only keeps those of a list that the actor sees.
func only[T any](ctx context.Context, c *Console, list []T, of func(*T) (device string, at *store.Point)) ([]T, error) {
	if actorOf(ctx).Scope.Whole() {
		return list, nil
	}
	out := list[:0]
	for i := range list {
		device, at := of(&list[i])
		switch err := c.sees(ctx, device, at); {
		case err == nil:
			out = append(out, list[i])
		case !errors.Is(err, store.ErrNotFound):
			return nil, err
		}
	}
	return out, nil
}

// retryAfter sets the header of that name, in whole seconds, rounded up.
func retryAfter(w http.ResponseWriter, wait time.Duration) {
	w.Header().Set("Retry-After", strconv.Itoa(max(1, int((wait+time.Second-1)/time.Second))))
}

// seeOther sends a browser to a path of ours.
func seeOther(w http.ResponseWriter, r *http.Request, to string) {
	w.Header().Set("Cache-Control", "no-store")
	http.Redirect(w, r, to, http.StatusSeeOther)
}
