package console

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/fengsui/fengsui/cloud-bridge/account"
)

// Me is who is signed in.
type Me struct {
	Account            string `json:"account"`
	Name               string `json:"name"`
	Role               string `json:"role"`
	Scope              string `json:"scope"`
	Session            string `json:"session"`
	EndsAt             Time   `json:"ends_at"`
	MustChangePassword bool   `json:"must_change_password"`
}

// Person is an account as an admin sees it. OneTimePassword stands only in the answer to
// the request that made it.
type Person struct {
	ID              string `json:"id"`
	Name            string `json:"name"`
	Role            string `json:"role"`
	Scope           string `json:"scope"`
	Opens           string `json:"opens"`
	Disabled        bool   `json:"disabled"`
	MadeAt          Time   `json:"made_at"`
	Sessions        int    `json:"sessions"`
	Tokens          int    `json:"tokens"`
	OneTimePassword string `json:"one_time_password,omitempty"`
}

// Session is one browser that is signed in.
type Session struct {
	ID      string `json:"id"`
	MadeAt  Time   `json:"made_at"`
	SeenAt  Time   `json:"seen_at"`
	EndsAt  Time   `json:"ends_at"`
	Address string `json:"address"`
	Agent   string `json:"agent"`
	This    bool   `json:"this"`
}

// Token lets a program act. Secret stands only in the answer to the request that made it.
type Token struct {
	ID     string `json:"id"`
	Label  string `json:"label"`
	Role   string `json:"role"`
	MadeAt Time   `json:"made_at"`
	EndsAt Time   `json:"ends_at"`
	Secret string `json:"secret,omitempty"`
}

// accountRoutes are the routes of signing in and of accounts.
func (c *Console) accountRoutes(mux *http.ServeMux, api func(string, func(*http.Request, http.ResponseWriter) (any, error))) {
	mux.HandleFunc("GET /login", c.getLogin)
	mux.HandleFunc("POST /login", c.postLogin)
	mux.HandleFunc("POST /logout", c.postLogout)
	mux.HandleFunc("GET /password", c.getPassword)
	mux.HandleFunc("POST /password", c.postPassword)
	mux.HandleFunc("GET /account", c.getAccountPage)
	if c.options.OIDC != nil {
		mux.HandleFunc("GET /oidc/start", c.startOIDC)
		mux.HandleFunc("GET /oidc/callback", c.finishOIDC)
	}
	api("POST /api/v1/session", c.postSession)
	api("GET /api/v1/session", c.getSession)
	api("POST /api/v1/session/end", c.endSession)
	api("POST /api/v1/session/password", c.changePassword)
	api("GET /api/v1/sessions", c.listSessions)
	api("POST /api/v1/sessions/{id}/end", c.endOneSession)
	api("GET /api/v1/tokens", c.listTokens)
	api("POST /api/v1/tokens", c.makeToken)
	api("POST /api/v1/tokens/{id}/revoke", c.revokeToken)
	api("GET /api/v1/accounts", c.listAccounts)
	api("POST /api/v1/accounts", c.createAccount)
	api("GET /api/v1/accounts/{id}", c.getAccount)
	api("POST /api/v1/accounts/{id}/assign", c.onAccount([]string{"role", "scope"}, c.assign))
	api("POST /api/v1/accounts/{id}/reset", c.onAccount(nil, c.reset))
	api("POST /api/v1/accounts/{id}/disable", c.onAccount(nil, c.disable))
	api("POST /api/v1/accounts/{id}/enable", c.onAccount(nil, c.enable))
}

func decimal(n int64) string { return strconv.FormatInt(n, 10) }

// scopeText is a scope as the API writes it: nodes separated by commas.
func scopeText(s account.Scope) string { return strings.Join(s, ",") }

func viewMe(a account.Actor) *Me {
	return &Me{decimal(a.Account), a.Name, string(a.Role), scopeText(a.Scope), a.Session, Time{a.Ends}, a.MustChange}
}

func (c *Console) viewAccount(a *account.Account) *Person {
	return &Person{
		ID: decimal(a.ID), Name: a.Name, Role: string(a.Role), Scope: scopeText(a.Scope), Opens: a.Opens(), Disabled: a.Disabled, MadeAt: Time{a.Made},
		Sessions: len(c.options.Accounts.Sessions(a.ID)), Tokens: len(c.options.Accounts.Tokens(a.ID)),
	}
}

func viewToken(t *account.Token) *Token {
	return &Token{ID: decimal(t.ID), Label: t.Label, Role: string(t.Role), MadeAt: Time{t.Made}, EndsAt: Time{t.Ends}}
}

// accountProblem is the problem that an error of package account stands for, nil where it
// is none of its own.
func accountProblem(w http.ResponseWriter, err error) *Problem {
	if slow, ok := errors.AsType[*account.ThrottledError](err); ok {
		retryAfter(w, slow.Wait)
		p := problemf(http.StatusTooManyRequests, "%v", slow).coded(codeSlow)
		p.Type = "urn:fengsui:problem:slow-down"
		return p
	}
	if bad, ok := errors.AsType[*account.FieldError](err); ok {
		p := badField(bad.Field, bad.Value, bad.Want)
		p.Detail, p.Code = shorten(bad.Error()), codeAccount+bad.Field
		return p
	}
	switch {
	case errors.Is(err, account.ErrRefused):
		p := problemf(http.StatusUnauthorized, "%v", account.ErrRefused)
		p.Type = "urn:fengsui:problem:refused"
		return p
	case errors.Is(err, account.ErrBusy):
		retryAfter(w, 2*time.Second)
		return problemf(http.StatusServiceUnavailable, "%v", account.ErrBusy)
	case errors.Is(err, account.ErrLastAdmin):
		p := problemf(http.StatusConflict, "%v", account.ErrLastAdmin).coded(codeAdmin)
		p.Type = "urn:fengsui:problem:last-admin"
		return p
	case errors.Is(err, account.ErrStale):
		retryAfter(w, time.Second)
		return problemf(http.StatusConflict, "%v: try again", account.ErrStale).coded(codeStale)
	case errors.Is(err, account.ErrNotFound):
		return problemf(http.StatusNotFound, "%v", err).coded(codeNotFound)
	}
	return nil
}

// begun answers with who is signed in from now on, and gives the browser its cookie.
func (c *Console) begun(r *http.Request, w http.ResponseWriter, secret account.Secret, s *account.Session) (any, error) {
	_, actor, leave, err := c.options.Accounts.Enter(r.Context(), secret, c.from(r).Screen())
	if err != nil {
		return nil, account.ErrRefused // it was disabled in that moment
	}
	leave()
	setSession(w, r, secret, s.Ends)
	return viewMe(actor), nil
}

func (c *Console) postSession(r *http.Request, w http.ResponseWriter) (any, error) {
	if p := c.plain(r); p != nil {
		return nil, p
	}
	if _, err := query(r); err != nil {
		return nil, err
	}
	m, err := readMembers(w, r, "name", "password")
	if err != nil {
		return nil, err
	}
	for _, field := range []string{"name", "password"} {
		if m[field] == "" {
			return nil, badField(field, "", "the account's "+field)
		}
	}
	secret, session, err := c.options.Accounts.SignIn(r.Context(), m["name"], m["password"], c.from(r), sessionOf(r))
	if err != nil {
		return nil, err
	}
	return c.begun(r, w, secret, session)
}

func (c *Console) getSession(r *http.Request, _ http.ResponseWriter) (any, error) {
	if _, err := query(r); err != nil {
		return nil, err
	}
	return viewMe(actorOf(r.Context())), nil
}

// done is the answer of what leaves nothing to be shown.
type done struct {
	Done bool `json:"done"`
}

func (c *Console) endSession(r *http.Request, w http.ResponseWriter) (any, error) {
	if _, err := query(r); err != nil {
		return nil, err
	}
	if err := noMembers(w, r); err != nil {
		return nil, err
	}
	if err := c.options.Accounts.SignOut(r.Context(), actorOf(r.Context())); err != nil {
		c.log.Warn("ended sessions could not be deleted yet", "err", err)
	}
	setSession(w, r, "", time.Time{})
	return done{true}, nil
}

func (c *Console) changePassword(r *http.Request, w http.ResponseWriter) (any, error) {
	if _, err := query(r); err != nil {
		return nil, err
	}
	m, err := readMembers(w, r, "old", "password")
	if err != nil {
		return nil, err
	}
	secret, session, err := c.options.Accounts.ChangePassword(r.Context(), actorOf(r.Context()), m["old"], m["password"], c.from(r))
	if errors.Is(err, account.ErrRefused) {
		return nil, badField("old", "", "the present password")
	}
	if err != nil {
		return nil, err
	}
	return c.begun(r, w, secret, session)
}

func (c *Console) listSessions(r *http.Request, _ http.ResponseWriter) (any, error) {
	if _, err := query(r); err != nil {
		return nil, err
	}
	actor := actorOf(r.Context())
	answer := struct {
		Sessions []Session `json:"sessions"`
	}{[]Session{}}
	for _, s := range c.options.Accounts.Sessions(actor.Account) {
		id := fmt.Sprintf("s%d", s.ID)
		answer.Sessions = append(answer.Sessions, Session{id, Time{s.Made}, Time{s.Seen}, Time{s.Ends}, s.Address, s.Agent, id == actor.Session})
	}
	return answer, nil
}

func (c *Console) endOneSession(r *http.Request, w http.ResponseWriter) (any, error) {
	if _, err := query(r); err != nil {
		return nil, err
	}
	if err := noMembers(w, r); err != nil {
		return nil, err
	}
	actor, id := actorOf(r.Context()), r.PathValue("id")
	if err := c.options.Accounts.EndOne(r.Context(), actor.Account, id); err != nil {
		return nil, err
	}
	if id == actor.Session {
		setSession(w, r, "", time.Time{})
	}
	return done{true}, nil
}

func (c *Console) listTokens(r *http.Request, _ http.ResponseWriter) (any, error) {
	if _, err := query(r); err != nil {
		return nil, err
	}
	answer := struct {
		Tokens []*Token `json:"tokens"`
	}{[]*Token{}}
	for _, t := range c.options.Accounts.Tokens(actorOf(r.Context()).Account) {
		answer.Tokens = append(answer.Tokens, viewToken(&t))
	}
	return answer, nil
}

func (c *Console) makeToken(r *http.Request, w http.ResponseWriter) (any, error) {
	if _, err := query(r); err != nil {
		return nil, err
	}
	m, err := readMembers(w, r, "label", "role", "days")
	if err != nil {
		return nil, err
	}
	actor := actorOf(r.Context())
	var lasts time.Duration
	if text, given := m["days"]; given {
		days, err := strconv.Atoi(text)
		if err != nil || days < 1 || days > 3660 {
			return nil, badField("days", text, "a whole number from 1 to 3660, as a string; without it the token lasts until it is revoked")
		}
		lasts = time.Duration(days) * 24 * time.Hour
	}
	role := account.Role(m["role"])
	if role == "" {
		role = actor.Role
	}
	if !actor.Role.Covers(role) { // A bounded token must not make a wider one.
		if role, err = account.ParseRole(string(role)); err == nil {
			err = &account.FieldError{Field: "role", Value: string(role), Want: "no more than your own role, " + string(actor.Role)}
		}
		return nil, err
	}
	t, secret, err := c.options.Accounts.MakeToken(r.Context(), actor, actor.Account, m["label"], role, lasts)
	if err != nil {
		return nil, err
	}
	view := viewToken(&t)
	view.Secret = string(secret)
	return view, nil
}

func pathID(r *http.Request, what string) (int64, error) {
	text := r.PathValue("id")
	id, err := strconv.ParseInt(text, 10, 64)
	if err != nil || id < 1 || decimal(id) != text {
		p := problemf(http.StatusNotFound, "there is no %s %q: ids are decimal numbers", what, shorten(text))
		p.Field, p.Value, p.Want = "id", shorten(text), "a decimal number"
		return 0, p
	}
	return id, nil
}

func (c *Console) revokeToken(r *http.Request, w http.ResponseWriter) (any, error) {
	id, err := pathID(r, "token")
	if err != nil {
		return nil, err
	}
	if _, err := query(r); err != nil {
		return nil, err
	}
	if err := noMembers(w, r); err != nil {
		return nil, err
	}
	actor := actorOf(r.Context())
	if err := c.options.Accounts.RevokeToken(r.Context(), actor, actor.Account, id); err != nil {
		return nil, err
	}
	return done{true}, nil
}

func (c *Console) listAccounts(r *http.Request, _ http.ResponseWriter) (any, error) {
	if _, err := query(r); err != nil {
		return nil, err
	}
	answer := struct {
		Accounts []*Person `json:"accounts"`
	}{[]*Person{}}
	for _, a := range c.options.Accounts.Accounts() {
		answer.Accounts = append(answer.Accounts, c.viewAccount(&a))
	}
	return answer, nil
}

func (c *Console) getAccount(r *http.Request, _ http.ResponseWriter) (any, error) {
	id, err := pathID(r, "account")
	if err != nil {
		return nil, err
	}
	if _, err := query(r); err != nil {
		return nil, err
	}
	a, err := c.options.Accounts.Account(id)
	if err != nil {
		return nil, err
	}
	return c.viewAccount(&a), nil
}

func (c *Console) createAccount(r *http.Request, w http.ResponseWriter) (any, error) {
	if _, err := query(r); err != nil {
		return nil, err
	}
	m, err := readMembers(w, r, "name", "role", "scope")
	if err != nil {
		return nil, err
	}
	a, oneTime, err := c.options.Accounts.Create(r.Context(), actorOf(r.Context()), m["name"], account.Role(m["role"]), strings.Split(m["scope"], ","), account.Opening{})
	if err != nil {
		return nil, err
	}
	view := c.viewAccount(&a)
	view.OneTimePassword = oneTime
	return view, nil
}

// noMembers takes no body, or an empty object.
func noMembers(w http.ResponseWriter, r *http.Request) error {
	if r.ContentLength == 0 {
		return nil
	}
	_, err := readMembers(w, r)
	return err
}

// onAccount makes a handler of a change of one account.
func (c *Console) onAccount(known []string, change func(r *http.Request, id int64, m map[string]string) (account.Account, string, error)) func(*http.Request, http.ResponseWriter) (any, error) {
	return func(r *http.Request, w http.ResponseWriter) (any, error) {
		id, err := pathID(r, "account")
		if err != nil {
			return nil, err
		}
		if _, err := query(r); err != nil {
			return nil, err
		}
		var m map[string]string
		if known == nil {
			err = noMembers(w, r)
		} else {
			m, err = readMembers(w, r, known...)
		}
		if err != nil {
			return nil, err
		}
		a, oneTime, err := change(r, id, m)
		if err != nil {
			return nil, err
		}
		view := c.viewAccount(&a)
		view.OneTimePassword = oneTime
		return view, nil
	}
}

func (c *Console) assign(r *http.Request, id int64, m map[string]string) (account.Account, string, error) {
	a, err := c.options.Accounts.Assign(r.Context(), actorOf(r.Context()), id, account.Role(m["role"]), strings.Split(m["scope"], ","))
	return a, "", err
}

func (c *Console) reset(r *http.Request, id int64, _ map[string]string) (account.Account, string, error) {
	return c.options.Accounts.Reset(r.Context(), actorOf(r.Context()), id)
}

func (c *Console) disable(r *http.Request, id int64, _ map[string]string) (account.Account, string, error) {
	a, err := c.options.Accounts.Disable(r.Context(), actorOf(r.Context()), id)
	return a, "", err
}

func (c *Console) enable(r *http.Request, id int64, _ map[string]string) (account.Account, string, error) {
	a, err := c.options.Accounts.Enable(r.Context(), actorOf(r.Context()), id)
	return a, "", err
}

// getAccountPage is where everybody finds his sessions and tokens, and an admin all
// accounts.
func (c *Console) getAccountPage(w http.ResponseWriter, r *http.Request) {
	c.serveOf(w, r, "account", c.account)
}
