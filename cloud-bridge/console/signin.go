package console

import (
	"bytes"
	_ "embed"
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/fengsui/fengsui/cloud-bridge/account"
)

//go:embed signin.html
var signinSource string

//go:embed account.html
var accountSource string

// signinData fills signin.html, which is both the page to sign in and the one to change a
// password. It has no script.
type signinData struct {
	Lang, Assets string
	Languages    []pageLanguage
	Change       bool // a password
	OneTime      bool // that must be changed
	OIDC         string
	Next         string
	Name         string
	Message      string // key of what went wrong; "": nothing
	Wait         int    // seconds
	Least        int    // characters of a password
}

func (c *Console) language(w http.ResponseWriter, r *http.Request) (string, []pageLanguage) {
	lang, explicit := chooseLanguage(r)
	if explicit {
		http.SetCookie(w, &http.Cookie{Name: langCookie, Value: lang, Path: "/", MaxAge: 365 * 24 * 3600, HttpOnly: true, SameSite: http.SameSiteLaxMode})
	}
	var list []pageLanguage
	for _, l := range [...]pageLanguage{{Tag: "zh-CN", Name: "中文"}, {Tag: "en", Name: "English"}} {
		l.Current = l.Tag == lang
		list = append(list, l)
	}
	return lang, list
}

// show writes a page in a language.
func (c *Console) show(w http.ResponseWriter, r *http.Request, page *template.Template, lang string, status int, data any) {
	var out bytes.Buffer
	if err := page.Execute(&out, data); err != nil {
		c.internal(w, r, err)
		return
	}
	header := w.Header()
	header.Set("Content-Type", "text/html; charset=utf-8")
	header.Set("Content-Language", lang)
	header.Set("Cache-Control", "no-store")
	header.Set("Vary", "Accept-Language, Cookie")
	w.WriteHeader(status)
	_, _ = w.Write(out.Bytes()) // The reader may have gone; there is nobody to tell.
}

func (c *Console) signinPage(w http.ResponseWriter, r *http.Request, status int, d signinData) {
	d.Lang, d.Languages = c.language(w, r)
	d.Assets, d.Least = c.assets.root, account.MinPassword
	if c.options.OIDC != nil {
		d.OIDC = c.options.OIDC.Label()
	}
	if d.Wait > 0 {
		w.Header().Set("Retry-After", fmt.Sprint(d.Wait))
	}
	c.show(w, r, c.signin[d.Lang], d.Lang, status, d)
}

// nextOf is where a browser goes after signing in: a path of ours, never elsewhere.
func nextOf(s string) string {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil || !strings.HasPrefix(u.Path, "/") || strings.HasPrefix(s, "//") ||
		strings.ContainsAny(s, "\\\x00\r\n\t") || strings.HasPrefix(u.Path, "//") || strings.HasPrefix(u.Path, "/log") {
		return "/"
	}
	if u.Fragment != "" {
		return u.RequestURI() + "#" + u.EscapedFragment()
	}
	return u.RequestURI()
}

func (c *Console) getLogin(w http.ResponseWriter, r *http.Request) {
	d := signinData{Next: nextOf(r.URL.Query().Get("next"))}
	if c.plain(r) != nil {
		d.Message = "signin.insecure"
		c.signinPage(w, r, http.StatusForbidden, d)
		return
	}
	switch r.URL.Query().Get("oidc") {
	case "refused":
		d.Message = "signin.oidc_refused"
	case "failed":
		d.Message = "signin.oidc_failed"
	case "unreachable":
		d.Message = "signin.oidc_unreachable"
	}
	c.signinPage(w, r, http.StatusOK, d)
}

// form reads a form of a page of ours; ok is false when it has answered already.
func form(w http.ResponseWriter, r *http.Request) (ok bool) {
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	if err := r.ParseForm(); err != nil {
		writeProblem(w, problemf(http.StatusBadRequest, "the form cannot be read: %v", err))
		return false
	}
	return true
}

func (c *Console) postLogin(w http.ResponseWriter, r *http.Request) {
	if !form(w, r) {
		return
	}
	d := signinData{Next: nextOf(r.PostForm.Get("next")), Name: r.PostForm.Get("name")}
	if c.plain(r) != nil {
		d.Message = "signin.insecure"
		c.signinPage(w, r, http.StatusForbidden, d)
		return
	}
	secret, session, err := c.options.Accounts.SignIn(r.Context(), d.Name, r.PostForm.Get("password"), c.from(r), sessionOf(r))
	if err != nil {
		status := c.failed(r, &d, err, "signin.refused")
		c.signinPage(w, r, status, d)
		return
	}
	setSession(w, r, secret, session.Ends)
	seeOther(w, r, d.Next)
}

// failed puts into words why a password was not taken.
func (c *Console) failed(r *http.Request, d *signinData, err error, refused string) (status int) {
	if slow, ok := errors.AsType[*account.ThrottledError](err); ok {
		d.Message, d.Wait = "signin.slow", max(1, int((slow.Wait+time.Second-1)/time.Second))
		return http.StatusTooManyRequests
	}
	if bad, ok := errors.AsType[*account.FieldError](err); ok {
		d.Message = "password.weak"
		switch {
		case bad.Field != "password":
			d.Message = "password.none"
		case strings.HasPrefix(bad.Want, "another"):
			d.Message = "password.same"
		case strings.Contains(bad.Want, "characters"):
			d.Message = "password.length"
		}
		return http.StatusUnprocessableEntity
	}
	switch {
	case errors.Is(err, account.ErrRefused):
		d.Message = refused
		return http.StatusUnauthorized
	case errors.Is(err, account.ErrBusy):
		d.Message, d.Wait = "signin.busy", 2
		return http.StatusServiceUnavailable
	}
	c.log.ErrorContext(r.Context(), "request failed", "method", r.Method, "path", r.URL.Path, "err", err)
	d.Message = "signin.failed"
	return http.StatusServiceUnavailable
}

func (c *Console) postLogout(w http.ResponseWriter, r *http.Request) {
	err := c.options.Accounts.SignOut(r.Context(), actorOf(r.Context()))
	setSession(w, r, "", time.Time{})
	if err != nil { // It has ended, and is deleted when the disk can.
		c.log.Warn("ended sessions could not be deleted yet", "err", err)
	}
	seeOther(w, r, "/login")
}

func (c *Console) getPassword(w http.ResponseWriter, r *http.Request) {
	actor := actorOf(r.Context())
	c.signinPage(w, r, http.StatusOK, signinData{Change: true, OneTime: actor.MustChange, Name: actor.Name})
}

func (c *Console) postPassword(w http.ResponseWriter, r *http.Request) {
	if !form(w, r) {
		return
	}
	actor := actorOf(r.Context())
	d := signinData{Change: true, OneTime: actor.MustChange, Name: actor.Name}
	if r.PostForm.Get("password") != r.PostForm.Get("again") {
		d.Message = "password.differ"
		c.signinPage(w, r, http.StatusUnprocessableEntity, d)
		return
	}
	secret, session, err := c.options.Accounts.ChangePassword(r.Context(), actor, r.PostForm.Get("old"), r.PostForm.Get("password"), c.from(r))
	if err != nil {
		status := c.failed(r, &d, err, "password.wrong")
		c.signinPage(w, r, status, d)
		return
	}
	setSession(w, r, secret, session.Ends)
	seeOther(w, r, "/")
}

// encodeNext and decodeNext bring a path of ours into a cookie and back.
func encodeNext(path string) string { return base64.RawURLEncoding.EncodeToString([]byte(path)) }

func decodeNext(s string) string {
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		return "/"
	}
	return nextOf(string(b))
}
