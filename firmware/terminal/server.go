package terminal

import (
	"bytes"
	"context"
	"crypto/subtle"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/fengsui/fengsui/firmware/fingers"
	"github.com/fengsui/fengsui/firmware/wire"
)

//go:embed page.html
var pageSource string

//go:embed static
var staticFiles embed.FS

// Options are what a Terminal is made of.
type Options struct {
	Device  Device
	Fingers Fingers // nil: there is no reader
	Token   string  // that the browser must have
	Inches  float64 // the screen's diagonal; 0: 7
	Log     *slog.Logger
}

// A Terminal serves the page. It is safe for concurrent use.
type Terminal struct {
	opt     Options
	pages   map[string]*template.Template // by language
	words   map[string]map[string]string
	handler http.Handler
	guesses limiter
	fingers clerk

	mu      sync.Mutex
	screens int
}

// New makes a Terminal.
func New(opt Options) (*Terminal, error) {
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	if opt.Inches == 0 {
		opt.Inches = 7
	}
	t := &Terminal{opt: opt}
	var err error
	if t.words, err = loadWords(); err != nil {
		return nil, fmt.Errorf("terminal: %w", err)
	}
	t.pages = make(map[string]*template.Template)
	for lang, words := range t.words {
		t.pages[lang], err = template.New("page").Funcs(template.FuncMap{"t": func(key string) string { return words[key] }}).Parse(pageSource)
		if err != nil {
			return nil, fmt.Errorf("terminal: %w", err)
		}
	}
	static, err := fs.Sub(staticFiles, "static")
	if err != nil {
		return nil, fmt.Errorf("terminal: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", t.servePage)
	mux.Handle("GET /static/", http.StripPrefix("/static/", http.FileServerFS(static)))
	mux.HandleFunc("GET /api/stream", t.stream)
	mux.HandleFunc("GET /api/state", t.getState)
	mux.HandleFunc("POST /api/sign-on", t.signOn)
	mux.HandleFunc("POST /api/sign-off", t.do(func(r *http.Request, _ []byte) (any, error) { return nil, opt.Device.SignOff(r.Context()) }))
	mux.HandleFunc("POST /api/doing", t.do(t.setDoing))
	mux.HandleFunc("POST /api/help", t.do(func(r *http.Request, _ []byte) (any, error) { return nil, opt.Device.Help(r.Context()) }))
	mux.HandleFunc("POST /api/tasks/{incident}/answer", t.do(t.answer))
	mux.HandleFunc("POST /api/tasks/{incident}/note", t.do(t.note))
	mux.HandleFunc("POST /api/tasks/{incident}/photo", t.photo)
	mux.HandleFunc("POST /api/tasks/{incident}/put-away", t.do(t.putAway))
	t.handleFingers(mux)
	t.handler = t.protect(http.NewCrossOriginProtection().Handler(mux))
	return t, nil
}

// ServeHTTP implements http.Handler.
func (t *Terminal) ServeHTTP(w http.ResponseWriter, r *http.Request) { t.handler.ServeHTTP(w, r) }

// Serve serves on a listener until ctx ends; then it returns nil.
func (t *Terminal) Serve(ctx context.Context, l net.Listener) error {
	server := &http.Server{
		Handler: t, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: time.Minute, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10,
		ErrorLog: slog.NewLogLogger(t.opt.Log.Handler(), slog.LevelWarn), BaseContext: func(net.Listener) context.Context { return ctx },
	}
	stopped := context.AfterFunc(ctx, func() { _ = server.Close() }) // streams do not end by themselves
	defer stopped()
	if err := server.Serve(l); ctx.Err() == nil {
		return err
	}
	return nil
}

const cookie = "fengsui_terminal"

// protect lets only a browser with the token in, by an address that this is:
// a page elsewhere whose name was pointed here has another Host.
func (t *Terminal) protect(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		host, _, err := net.SplitHostPort(r.Host)
		if err != nil {
			host = r.Host
		}
		if host != "localhost" && net.ParseIP(strings.Trim(host, "[]")) == nil {
			refuse(w, http.StatusMisdirectedRequest, "host", host, "this device's own address")
			return
		}
		if token := r.URL.Query().Get("token"); token != "" && r.URL.Path == "/" {
			if !t.guesses.allow(time.Now()) {
				refuse(w, http.StatusTooManyRequests, "token", "", "the right one; wait a minute")
				return
			}
			if !same(token, t.opt.Token) {
				refuse(w, http.StatusForbidden, "token", "", "the one that `fengsui terminal` prints")
				return
			}
			t.guesses.forget()
			http.SetCookie(w, &http.Cookie{Name: cookie, Value: token, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode, MaxAge: 10 * 365 * 24 * 3600})
			http.Redirect(w, r, "/", http.StatusSeeOther)
			return
		}
		c, err := r.Cookie(cookie)
		if err != nil || !same(c.Value, t.opt.Token) {
			refuse(w, http.StatusUnauthorized, "token", "", "open the address that `fengsui terminal` prints")
			return
		}
		next.ServeHTTP(w, r)
	})
}

func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// A limiter allows ten tries a minute.
type limiter struct {
	mu    sync.Mutex
	since time.Time
	tries int
}

func (l *limiter) allow(now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Sub(l.since) > time.Minute {
		l.since, l.tries = now, 0
	}
	l.tries++
	return l.tries <= 10
}

func (l *limiter) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tries = 0
}

// A problem is an RFC 9457 problem document.
type problem struct {
	Status int    `json:"status"`
	Title  string `json:"title"`
	Detail string `json:"detail"`
	Code   string `json:"code,omitempty"` // what the page knows words for
	LeftS  int    `json:"left_s,omitempty"`
	Field  string `json:"field,omitempty"`
	Value  string `json:"value,omitempty"`
	Want   string `json:"want,omitempty"`
}

func (p problem) write(w http.ResponseWriter) {
	p.Title = http.StatusText(p.Status)
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // the reader may have gone
}

func refuse(w http.ResponseWriter, status int, field, value, want string) {
	detail := field + ": want " + want
	if value != "" {
		detail = (&FieldError{field, value, want}).Error()
	}
	problem{Status: status, Detail: detail, Field: field, Value: value, Want: want}.write(w)
}

// fail answers with what went wrong.
func (t *Terminal) fail(w http.ResponseWriter, r *http.Request, err error) {
	var field *FieldError
	var locked *LockedError
	switch {
	case r.Context().Err() != nil:
		return // nobody waits
	case errors.As(err, &field):
		refuse(w, http.StatusUnprocessableEntity, field.Field, field.Value, field.Want)
	case errors.As(err, &locked):
		problem{Status: http.StatusTooManyRequests, Detail: err.Error(), Code: "locked", LeftS: int(locked.Left.Seconds()) + 1}.write(w)
	case errors.Is(err, ErrPIN):
		problem{Status: http.StatusForbidden, Detail: err.Error(), Code: "pin"}.write(w)
	case errors.Is(err, ErrSignedOff):
		problem{Status: http.StatusForbidden, Detail: err.Error(), Code: "signed_off"}.write(w)
	case errors.Is(err, ErrFull):
		problem{Status: http.StatusInsufficientStorage, Detail: err.Error(), Code: "full"}.write(w)
	default:
		if code, status := fingerCode(err); code != "" {
			problem{Status: status, Detail: err.Error(), Code: code}.write(w)
			return
		}
		t.opt.Log.Warn("terminal: not done", "path", r.URL.Path, "err", err)
		problem{Status: http.StatusConflict, Detail: err.Error()}.write(w)
	}
}

// maxBody bounds a request but for a photo.
const maxBody = 16 << 10

// do reads a request's body and answers with what f returns.
func (t *Terminal) do(f func(r *http.Request, body []byte) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
		if err != nil {
			refuse(w, http.StatusRequestEntityTooLarge, "body", "", fmt.Sprintf("at most %d bytes", maxBody))
			return
		}
		v, err := f(r, body)
		if err != nil {
			t.fail(w, r, err)
			return
		}
		if v == nil {
			v = struct{}{}
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v) // the reader may have gone
	}
}

// members reads a JSON object of known members.
func members(body []byte, v any) error {
	if !utf8.Valid(body) {
		return &FieldError{"body", shorten(string(body)), "UTF-8"}
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return &FieldError{"body", shorten(string(body)), "a JSON object: " + err.Error()}
	}
	if d.More() {
		return &FieldError{"body", shorten(string(body)), "one JSON object"}
	}
	return nil
}

func shorten(s string) string {
	const most = 80
	if len(s) <= most {
		return strings.ToValidUTF8(s, "\uFFFD")
	}
	return strings.ToValidUTF8(s[:most], "\uFFFD") + "…"
}

func incidentOf(r *http.Request) (uint64, error) {
	s := r.PathValue("incident")
	id, err := strconv.ParseUint(s, 10, 63)
	if err != nil {
		return 0, &FieldError{"incident", shorten(s), "an incident's number"}
	}
	return id, nil
}

func (t *Terminal) signOn(w http.ResponseWriter, r *http.Request) {
	t.do(func(r *http.Request, body []byte) (any, error) {
		var m struct{ Number, PIN string }
		if err := members(body, &m); err != nil {
			return nil, &FieldError{"body", "", `a JSON object {"number": …, "pin": …}`} // a PIN is not repeated
		}
		return nil, t.opt.Device.SignOn(r.Context(), m.Number, m.PIN)
	})(w, r)
}

func (t *Terminal) setDoing(r *http.Request, body []byte) (any, error) {
	var m struct{ State, Reason string }
	if err := members(body, &m); err != nil {
		return nil, err
	}
	for n := wire.DoingNothing; n <= wire.DoingOutOfService; n++ {
		if n.String() != m.State {
			continue
		}
		if len(m.Reason) > wire.MaxReason {
			return nil, &FieldError{"reason", shorten(m.Reason), fmt.Sprintf("at most %d bytes", wire.MaxReason)}
		}
		return nil, t.opt.Device.SetDoing(r.Context(), n, m.Reason)
	}
	return nil, &FieldError{"state", shorten(m.State), "available, busy or out_of_service"}
}

func (t *Terminal) putAway(r *http.Request, _ []byte) (any, error) {
	id, err := incidentOf(r)
	if err != nil {
		return nil, err
	}
	return nil, t.opt.Device.PutAway(r.Context(), id)
}

func (t *Terminal) answer(r *http.Request, body []byte) (any, error) {
	id, err := incidentOf(r)
	if err != nil {
		return nil, err
	}
	var m struct {
		Answer, Code, Note string
		Photos             []string
	}
	if err := members(body, &m); err != nil {
		return nil, err
	}
	a := Answer{Incident: id, Note: m.Note, Photos: m.Photos}
	// Shown is no person's answer.
	for n := wire.AnswerAccepted; n <= wire.AnswerClosed; n++ {
		if n.String() == m.Answer {
			a.Answer = n
		}
	}
	for n := wire.CloseReal; n <= wire.CloseUnfounded; n++ {
		if n.String() == m.Code {
			a.Code = n
		}
	}
	switch {
	case a.Answer == 0:
		return nil, &FieldError{"answer", shorten(m.Answer), "accepted, refused, en_route, on_scene, need_help, checked or closed"}
	case (a.Answer == wire.AnswerClosed) != (a.Code != 0):
		return nil, &FieldError{"code", shorten(m.Code), "real, false_alarm, test, drill, duplicate or unfounded with closed, and none otherwise"}
	case len(m.Photos) > wire.MaxNoteAttachments:
		return nil, &FieldError{"photos", strconv.Itoa(len(m.Photos)), fmt.Sprintf("at most %d", wire.MaxNoteAttachments)}
	}
	if err := textOf("note", m.Note); err != nil {
		return nil, err
	}
	return nil, t.opt.Device.Answer(r.Context(), a)
}

func textOf(field, s string) error {
	if len(s) > wire.MaxNote {
		return &FieldError{field, shorten(s), fmt.Sprintf("at most %d bytes", wire.MaxNote)}
	}
	return nil
}

func (t *Terminal) note(r *http.Request, body []byte) (any, error) {
	id, err := incidentOf(r)
	if err != nil {
		return nil, err
	}
	var m struct{ Text string }
	if err := members(body, &m); err != nil {
		return nil, err
	}
	if strings.TrimSpace(m.Text) == "" {
		return nil, &FieldError{"text", shorten(m.Text), "a text"}
	}
	if err := textOf("text", m.Text); err != nil {
		return nil, err
	}
	return nil, t.opt.Device.Note(r.Context(), id, m.Text)
}

func (t *Terminal) photo(w http.ResponseWriter, r *http.Request) {
	id, err := incidentOf(r)
	if err != nil {
		t.fail(w, r, err)
		return
	}
	jpeg, err := io.ReadAll(http.MaxBytesReader(w, r.Body, wire.MaxAttachment))
	if err != nil {
		refuse(w, http.StatusRequestEntityTooLarge, "photo", "", fmt.Sprintf("a JPEG file of at most %d bytes", wire.MaxAttachment))
		return
	}
	// A JPEG file begins with SOI and the next marker (ITU-T T.81, B.1.1.3) and
	// ends with EOI; cameras may append something.
	if !bytes.HasPrefix(jpeg, []byte{0xff, 0xd8, 0xff}) || !bytes.Contains(jpeg, []byte{0xff, 0xd9}) {
		refuse(w, http.StatusUnsupportedMediaType, "photo", "", "a whole JPEG file")
		return
	}
	name, err := t.opt.Device.Photo(r.Context(), id, jpeg)
	if err != nil {
		t.fail(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]string{"id": name}) // the reader may have gone
}

func (t *Terminal) getState(w http.ResponseWriter, r *http.Request) {
	b, err := t.state(r.Context())
	if err != nil {
		t.fail(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(b) // the reader may have gone
}

// lookEvery is how often a stream looks whether there is something new to show.
const lookEvery = 500 * time.Millisecond

// stream tells the page all of its state, at least once a second, until it
// goes (HTML Standard, section 9.2). As long as it runs a screen shows the
// device.
func (t *Terminal) stream(w http.ResponseWriter, r *http.Request) {
	out := http.NewResponseController(w)
	if err := out.SetReadDeadline(time.Time{}); err != nil && !errors.Is(err, http.ErrNotSupported) {
		t.opt.Log.Debug("terminal: stream", "err", err)
	}
	if err := t.shows(r.Context(), +1); err != nil {
		t.fail(w, r, err)
		return
	}
	defer func() {
		ctx, stop := context.WithTimeout(context.WithoutCancel(r.Context()), 5*time.Second)
		defer stop()
		if err := t.shows(ctx, -1); err != nil {
			t.opt.Log.Debug("terminal: stream", "err", err)
		}
	}()
	w.Header().Set("Content-Type", "text/event-stream")
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	var last []byte
	var told time.Time
	for {
		b, err := t.state(r.Context())
		if err != nil {
			return
		}
		if !bytes.Equal(b, last) || time.Since(told) >= time.Second {
			last, told = b, time.Now()
			if err := out.SetWriteDeadline(time.Now().Add(10 * time.Second)); err != nil && !errors.Is(err, http.ErrNotSupported) {
				return
			}
			if _, err := fmt.Fprintf(w, "data: %s\n\n", b); err != nil || out.Flush() != nil {
				return
			}
		}
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return
		}
	}
}

func (t *Terminal) shows(ctx context.Context, change int) error {
	t.mu.Lock()
	t.screens += change
	n := t.screens
	t.mu.Unlock()
	if n == 0 && t.opt.Fingers != nil { // nobody sees any more what was allowed
		if err := t.closeFingers(ctx); err != nil {
			return err
		}
	}
	return t.opt.Device.Shows(ctx, n)
}

func (t *Terminal) servePage(w http.ResponseWriter, r *http.Request) {
	lang := t.language(w, r)
	words, err := json.Marshal(t.words[lang])
	if err == nil {
		var b bytes.Buffer
		err = t.pages[lang].Execute(&b, map[string]any{"Lang": lang, "Words": template.JS(words), "Inches": t.opt.Inches, "Codes": codes(), "Doings": doings(), "Roles": fingers.Roles()})
		if err == nil {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			_, _ = w.Write(b.Bytes()) // the reader may have gone
			return
		}
	}
	t.fail(w, r, err)
}

func doings() []string {
	return []string{wire.DoingNothing.String(), wire.DoingBusy.String(), wire.DoingOutOfService.String()}
}

func codes() (names []string) {
	for n := wire.CloseReal; n <= wire.CloseUnfounded; n++ {
		names = append(names, n.String())
	}
	return names
}
