package console

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fengsui/fengsui/cloud-bridge/incident"
	"github.com/fengsui/fengsui/cloud-bridge/store"
)

// Store is what the desk reads and acts on; *store.Store is one.
type Store interface {
	Incidents
	Dispatcher
	Devices
	History
	Changes
	Desk
	Record
}

// Incidents reads incidents.
type Incidents interface {
	// Incidents returns those that f chooses, without timelines.
	Incidents(ctx context.Context, f store.Filter) ([]incident.Incident, error)
	// Incident returns one with its timeline, or an error that wraps store.ErrNotFound.
	Incident(ctx context.Context, id int64) (*incident.Incident, error)
}

// Dispatcher takes an incident's steps and returns it as it is then.
type Dispatcher interface {
	// Take takes one step. The errors wrap store.ErrNotFound, incident.ErrState or
	// incident.ErrField. No step is idempotent: the second of two is an incident.ErrState.
	Take(ctx context.Context, id int64, by incident.Actor, step incident.Step) (*incident.Incident, error)
	// Sound has the other boxes of the incident's group sound, or stop. The errors wrap
	// store.ErrNotFound or store.ErrSound.
	Sound(ctx context.Context, id int64, by incident.Actor, on bool) (*incident.Incident, error)
	// Soundings returns what became of those boxes.
	Soundings(ctx context.Context, id int64) ([]store.Sounding, error)
}

// Devices reads devices, and what was refused.
type Devices interface {
	// Devices returns all registered devices by id.
	Devices(ctx context.Context) ([]store.Device, error)
	// Summary returns the devices of these ids, or all, in one query.
	Summary(ctx context.Context, ids ...string) ([]store.DeviceSummary, error)
	// Device returns one, or an error that wraps store.ErrNotFound.
	Device(ctx context.Context, id string) (*store.Device, error)
	// Refused returns what was not accepted.
	Refused(ctx context.Context) (store.Refusals, error)
}

// History reads what devices sent. The errors wrap store.ErrNotFound.
type History interface {
	// Events returns a device's events in the order of their storing.
	Events(ctx context.Context, device string, q store.EventQuery) ([]store.EventRow, error)
	// FingerEvents returns what happened at a device's reader, the newest first.
	FingerEvents(ctx context.Context, device string, limit int) ([]store.EventRow, error)
	// Track returns at most limit fixes, the latest, from ≤ time < to.
	Track(ctx context.Context, device string, from, to time.Time, limit int) ([]store.Fix, error)
}

// Changes tells what has changed.
type Changes interface {
	// Trouble returns why nothing can be stored now, or nil.
	Trouble() *store.Trouble
	// Watch returns a watcher, to be closed by the caller. One that falls more than buffer
	// changes behind is cut off.
	Watch(buffer int) *store.Watcher
}

// maxTrack is the most fixes in one answer.
const maxTrack = 20000

// api makes a handler of a function that answers with something for JSON or an error; a
// *Problem is the caller's fault, what the store says is translated, the rest is ours.
func (c *Console) api(answer func(*http.Request, http.ResponseWriter) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		value, err := answer(r, w)
		if err == nil {
			c.writeJSON(w, r, value)
			return
		}
		if r.Context().Err() != nil {
			return // Nobody waits for the answer.
		}
		if p, ok := problemOf(err); ok {
			writeProblem(w, p)
			return
		}
		if p := accountProblem(w, err); p != nil {
			writeProblem(w, p)
			return
		}
		c.internal(w, r, err)
	}
}

// problemOf is the problem that an error of ours or the store's stands for; ok is false
// where the error is the centre's own fault.
func problemOf(err error) (p *Problem, ok bool) {
	if p, ok := errors.AsType[*Problem](err); ok {
		return p, true
	}
	if bad, ok := errors.AsType[*incident.FieldError](err); ok {
		return badField(bad.Field, bad.Value, bad.Want).coded(bad.Code), true
	}
	if state, ok := errors.AsType[*incident.StateError](err); ok {
		p := problemf(http.StatusConflict, "%v", state)
		p.Type, p.State, p.By, p.Step = "urn:fengsui:problem:state", string(state.State), state.By, state.Step
		p.Code, p.Asked, p.Who = state.Code, state.Asked, state.Who
		return p, true
	}
	if p := deskProblem(err); p != nil {
		return p, true
	}
	if f, ok := errors.AsType[*store.Failure](err); ok {
		return storageProblem(f, "not done"), true
	}
	if errors.Is(err, store.ErrNotFound) {
		return problemf(http.StatusNotFound, "%s", shorten(err.Error())).coded(codeNotFound), true
	}
	return nil, false
}

// storageProblem is a 503 that names why nothing can be stored.
func storageProblem(f *store.Failure, what string) *Problem {
	p := problemf(http.StatusServiceUnavailable, "%s: events cannot be stored: %v", what, f)
	p.Type, p.Cause = "urn:fengsui:problem:storage", string(f.Cause)
	return p
}

// refuse answers with the problem that an error is, or says that the centre failed.
func (c *Console) refuse(w http.ResponseWriter, r *http.Request, err error) {
	p, ok := problemOf(err)
	if !ok {
		c.internal(w, r, err)
		return
	}
	writeProblem(w, p)
}

// internal tells the log what happened, and the caller that something did.
func (c *Console) internal(w http.ResponseWriter, r *http.Request, err error) {
	c.log.ErrorContext(r.Context(), "request failed", "method", r.Method, "path", r.URL.Path, "err", err)
	writeProblem(w, problemf(http.StatusInternalServerError, "the centre could not do this; its log says why"))
}

func (c *Console) writeJSON(w http.ResponseWriter, r *http.Request, value any) {
	body, err := json.Marshal(value)
	if err != nil {
		c.internal(w, r, err)
		return
	}
	header := w.Header()
	if header.Get("Content-Type") == "" {
		header.Set("Content-Type", "application/json")
	}
	header.Set("Cache-Control", "no-store")
	_, _ = w.Write(append(body, '\n')) // The reader may have gone; there is nobody to tell.
}

// query reads the parameters, each of which must be in known and appear once.
func query(r *http.Request, known ...string) (url.Values, error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, problemf(http.StatusBadRequest, "the query cannot be read: %v", err)
	}
	for name, list := range values {
		if !slices.Contains(known, name) {
			want := "no parameters"
			if len(known) > 0 {
				want = "only " + strings.Join(known, ", ")
			}
			return nil, badField(shorten(name), list[0], want)
		}
		if len(list) > 1 {
			return nil, badField(name, strings.Join(list, " and "), "it once")
		}
	}
	return values, nil
}

// number reads a decimal parameter between least and most; absent is otherwise.
func number(values url.Values, name string, least, most, otherwise int64) (int64, error) {
	text := values.Get(name)
	if !values.Has(name) {
		return otherwise, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < least || n > most {
		return 0, badField(name, text, fmt.Sprintf("a whole number from %d to %d", least, most))
	}
	return n, nil
}

// moment reads an RFC 3339 time; absent is otherwise.
func moment(values url.Values, name string, otherwise time.Time) (time.Time, error) {
	if !values.Has(name) {
		return otherwise, nil
	}
	t, err := time.Parse(time.RFC3339, values.Get(name))
	if err != nil {
		return time.Time{}, badField(name, values.Get(name), "an RFC 3339 time such as 2026-01-02T15:04:05Z")
	}
	return t, nil
}

// health is the answer of healthz and readyz.
type health struct {
	Status  string `json:"status"`
	Version string `json:"version"`
	// SMSModem is the state of the centre's own modem: without it alarms come by
	// the devices' own way all the same, which is why it is no reason of readyz.
	SMSModem string `json:"sms_modem,omitempty"`
}

func (c *Console) health() health {
	h := health{Status: "ok", Version: c.options.Version}
	if c.options.SMSModem != nil {
		h.SMSModem = c.options.SMSModem()
	}
	return h
}

func (c *Console) healthz(*http.Request, http.ResponseWriter) (any, error) { return c.health(), nil }

func (c *Console) readyz(r *http.Request, _ http.ResponseWriter) (any, error) {
	if c.options.Ready != nil {
		if err := c.options.Ready(r.Context()); err != nil {
			if f, ok := errors.AsType[*store.Failure](err); ok {
				return nil, storageProblem(f, "not ready")
			}
			return nil, problemf(http.StatusServiceUnavailable, "not ready: %v", err)
		}
	}
	return c.health(), nil
}

func serveOpenAPI(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/yaml")
	w.Header().Set("Cache-Control", "no-cache")
	_, _ = w.Write(openAPI) // The reader may have gone; there is nobody to tell.
}
