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

	"github.com/fengsui/fengsui/cloud-bridge/account"
	"github.com/fengsui/fengsui/cloud-bridge/incident"
	"github.com/fengsui/fengsui/cloud-bridge/store"
	"github.com/fengsui/fengsui/firmware/wire"
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
		return badField(bad.Field, bad.Value, bad.Want), true
	}
	if state, ok := errors.AsType[*incident.StateError](err); ok {
		p := problemf(http.StatusConflict, "%v", state)
		p.Type, p.State, p.By = "urn:fengsui:problem:state", string(state.State), state.By
		return p, true
	}
	if p := deskProblem(err); p != nil {
		return p, true
	}
	if f, ok := errors.AsType[*store.Failure](err); ok {
		return storageProblem(f, "not done"), true
	}
	if errors.Is(err, store.ErrNotFound) {
		return problemf(http.StatusNotFound, "%v", err), true
	}
	return nil, false
}

// storageProblem is a 503 that names why nothing can be stored.
func storageProblem(f *store.Failure, what string) *Problem {
	p := problemf(http.StatusServiceUnavailable, "%s: events cannot be stored: %v", what, f)
	p.Type, p.Cause = "urn:fengsui:problem:storage", string(f.Cause)
	return p
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

func (c *Console) listIncidents(r *http.Request, _ http.ResponseWriter) (any, error) {
	values, err := query(r, "state", "area", "drill", "since", "until", "limit")
	if err != nil {
		return nil, err
	}
	limit, err := number(values, "limit", 1, 1000, 200)
	if err != nil {
		return nil, err
	}
	filter := store.Filter{Limit: int(limit), Area: values.Get("area")}
	if filter.Since, err = moment(values, "since", time.Time{}); err != nil {
		return nil, err
	}
	if filter.Until, err = moment(values, "until", time.Time{}); err != nil {
		return nil, err
	}
	if values.Has("drill") {
		switch values.Get("drill") {
		case "true":
			filter.Drill = store.OnlyDrills
		case "false":
			filter.Drill = store.NoDrills
		default:
			return nil, badField("drill", values.Get("drill"), "true or false")
		}
	}
	if values.Has("state") {
		for name := range strings.SplitSeq(values.Get("state"), ",") {
			state, err := incident.ParseState(name)
			if err != nil {
				return nil, err
			}
			filter.States = append(filter.States, state)
		}
	}
	bound := !actorOf(r.Context()).Scope.Whole()
	if bound {
		filter.Limit = 0 // it counts what the actor sees
	}
	list, err := c.options.Store.Incidents(r.Context(), filter)
	if err == nil && bound {
		list, err = only(r.Context(), c, list, whereIncident)
		list = newest(list, int(limit))
	}
	if err != nil {
		return nil, err
	}
	answer := struct {
		Incidents []*Incident `json:"incidents"`
	}{make([]*Incident, 0, len(list))}
	for i := range list {
		answer.Incidents = append(answer.Incidents, viewIncident(&list[i]))
	}
	return answer, nil
}

// newest keeps the limit newest incidents, in their order.
func newest(list []incident.Incident, limit int) []incident.Incident {
	if len(list) <= limit {
		return list
	}
	ids := make([]int64, 0, len(list))
	for i := range list {
		ids = append(ids, list[i].ID)
	}
	slices.Sort(ids)
	oldest := ids[len(ids)-limit]
	return slices.DeleteFunc(list, func(i incident.Incident) bool { return i.ID < oldest })
}

func incidentID(r *http.Request) (int64, error) {
	text := r.PathValue("id")
	id, err := strconv.ParseInt(text, 10, 64)
	if err != nil || id < 1 || strconv.FormatInt(id, 10) != text {
		p := problemf(http.StatusNotFound, "there is no incident %q: ids are decimal numbers", shorten(text))
		p.Field, p.Value, p.Want = "id", shorten(text), "a decimal number"
		return 0, p
	}
	return id, nil
}

func (c *Console) getIncident(r *http.Request, _ http.ResponseWriter) (any, error) {
	id, err := incidentID(r)
	if err != nil {
		return nil, err
	}
	if _, err := query(r); err != nil {
		return nil, err
	}
	i, err := c.incident(r.Context(), id)
	if err != nil {
		return nil, err
	}
	return viewIncident(i), nil
}

// whereIncident is what decides who sees an incident.
func whereIncident(i *incident.Incident) (string, *store.Point) {
	if i.Device == "" && i.Position != nil {
		return "", &store.Point{Lat: i.Position.Lat, Lon: i.Position.Lon}
	}
	return i.Device, nil
}

func whereDevice(d *store.Device) (string, *store.Point) { return d.ID, nil }

// incident is one that the actor sees; for any other the error is as if there were none.
func (c *Console) incident(ctx context.Context, id int64) (*incident.Incident, error) {
	i, err := c.options.Store.Incident(ctx, id)
	if err == nil {
		device, at := whereIncident(i)
		err = c.sees(ctx, device, at)
	}
	if errors.Is(err, store.ErrNotFound) {
		err = fmt.Errorf("%w: incident %d", store.ErrNotFound, id)
	}
	return i, err
}

// seesDevice is nil when the actor sees a device; for any other the error is as if there
// were none.
func (c *Console) seesDevice(ctx context.Context, id string) error {
	err := c.sees(ctx, id, nil)
	if errors.Is(err, store.ErrNotFound) {
		err = fmt.Errorf("%w: device %q", store.ErrNotFound, id)
	}
	return err
}

// step reads the request of one of an incident's steps and takes it.
func (c *Console) step(r *http.Request, w http.ResponseWriter, known []string, take func(id int64, by string, members map[string]string) (*incident.Incident, error)) (any, error) {
	id, err := incidentID(r)
	if err != nil {
		return nil, err
	}
	if _, err := query(r); err != nil {
		return nil, err
	}
	members, err := readMembers(w, r, append([]string{"by"}, known...)...)
	if err != nil {
		return nil, err
	}
	by := actorOf(r.Context()).Name
	if sent, given := members["by"]; given && account.NameKey(sent) != account.NameKey(by) {
		return nil, badField("by", sent, strconv.Quote(by)+", who is signed in, or no such member")
	}
	if _, err := c.incident(r.Context(), id); err != nil {
		return nil, err
	}
	i, err := take(id, by, members)
	if err != nil {
		return nil, err
	}
	c.log.InfoContext(r.Context(), "incident step", "incident", id, "state", string(i.State), "by", by)
	return viewIncident(i), nil
}

func (c *Console) acknowledge(r *http.Request, w http.ResponseWriter) (any, error) {
	return c.step(r, w, nil, func(id int64, _ string, _ map[string]string) (*incident.Incident, error) {
		return c.take(r, id, incident.Step{Name: incident.StepAcknowledge})
	})
}

func (c *Console) dispatch(r *http.Request, w http.ResponseWriter) (any, error) {
	return c.step(r, w, []string{"unit", "note"}, func(id int64, _ string, members map[string]string) (*incident.Incident, error) {
		unit, err := nameOf(members, "unit")
		if err != nil {
			return nil, err
		}
		note, err := noteOf(members, "note")
		if err != nil {
			return nil, err
		}
		return c.take(r, id, incident.Step{Name: incident.StepDispatch, Unit: unit, Note: note})
	})
}

func (c *Console) closeIncident(r *http.Request, w http.ResponseWriter) (any, error) {
	return c.step(r, w, []string{"code", "note"}, func(id int64, _ string, members map[string]string) (*incident.Incident, error) {
		note, err := noteOf(members, "note")
		if err != nil {
			return nil, err
		}
		return c.take(r, id, incident.Step{Name: incident.StepClose, Code: incident.Code(members["code"]), Note: note})
	})
}

func (c *Console) listDevices(r *http.Request, _ http.ResponseWriter) (any, error) {
	if _, err := query(r); err != nil {
		return nil, err
	}
	list, err := c.options.Store.Devices(r.Context())
	if err == nil {
		list, err = only(r.Context(), c, list, whereDevice)
	}
	if err != nil {
		return nil, err
	}
	answer := struct {
		Devices []*Device `json:"devices"`
	}{make([]*Device, 0, len(list))}
	now := time.Now()
	for i := range list {
		answer.Devices = append(answer.Devices, viewDevice(&list[i], now))
	}
	return answer, nil
}

func (c *Console) getDevice(r *http.Request, _ http.ResponseWriter) (any, error) {
	if _, err := query(r); err != nil {
		return nil, err
	}
	if err := c.seesDevice(r.Context(), r.PathValue("id")); err != nil {
		return nil, err
	}
	d, err := c.options.Store.Device(r.Context(), r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	return viewDevice(d, time.Now()), nil
}

func (c *Console) listEvents(r *http.Request, _ http.ResponseWriter) (any, error) {
	values, err := query(r, "lane", "after", "limit")
	if err != nil {
		return nil, err
	}
	var q store.EventQuery
	if values.Has("lane") {
		if q.Lane, err = wire.ParseLane(values.Get("lane")); err != nil {
			return nil, badField("lane", values.Get("lane"), "alarm, duty or track")
		}
	}
	if q.After, err = number(values, "after", 0, 1<<62, 0); err != nil {
		return nil, err
	}
	limit, err := number(values, "limit", 1, store.MaxEvents, 100)
	if err != nil {
		return nil, err
	}
	q.Limit = int(limit)
	if err := c.seesDevice(r.Context(), r.PathValue("id")); err != nil {
		return nil, err
	}
	rows, err := c.options.Store.Events(r.Context(), r.PathValue("id"), q)
	if err != nil {
		return nil, err
	}
	answer := struct {
		Events []*Event `json:"events"`
		Next   string   `json:"next"`
	}{make([]*Event, 0, len(rows)), strconv.FormatInt(q.After, 10)}
	for i := range rows {
		e, err := viewEvent(&rows[i])
		if err != nil {
			return nil, err
		}
		answer.Events, answer.Next = append(answer.Events, e), e.ID
	}
	return answer, nil
}

// shownFingers is how many events of a reader are told.
const shownFingers = 50

func (c *Console) listFingers(r *http.Request, _ http.ResponseWriter) (any, error) {
	if err := c.seesDevice(r.Context(), r.PathValue("id")); err != nil {
		return nil, err
	}
	rows, err := c.options.Store.FingerEvents(r.Context(), r.PathValue("id"), shownFingers)
	if err != nil {
		return nil, err
	}
	answer := struct {
		Events []*Event `json:"events"`
	}{make([]*Event, 0, len(rows))}
	for i := range rows {
		e, err := viewEvent(&rows[i])
		if err != nil {
			return nil, err
		}
		answer.Events = append(answer.Events, e)
	}
	return answer, nil
}

type (
	featureCollection struct {
		Type     string    `json:"type"`
		Features []feature `json:"features"`
	}
	feature struct {
		Type       string          `json:"type"`
		Geometry   geometry        `json:"geometry"`
		Properties trackProperties `json:"properties"`
	}
	geometry struct {
		Type        string `json:"type"`
		Coordinates any    `json:"coordinates"`
	}
	trackProperties struct {
		Device        string  `json:"device"`
		Times         []Time  `json:"times"`
		UncertaintyMS []int64 `json:"uncertainty_ms"`
		Jumped        int     `json:"jumped"`
	}
)

func (c *Console) getTrack(r *http.Request, w http.ResponseWriter) (any, error) {
	values, err := query(r, "from", "to")
	if err != nil {
		return nil, err
	}
	to, err := moment(values, "to", time.Now())
	if err != nil {
		return nil, err
	}
	from, err := moment(values, "from", to.Add(-time.Hour))
	if err != nil {
		return nil, err
	}
	if !from.Before(to) {
		return nil, badField("from", from.UTC().Format(time.RFC3339), "a time before to")
	}
	device := r.PathValue("id")
	if err := c.seesDevice(r.Context(), device); err != nil {
		return nil, err
	}
	fixes, err := c.options.Store.Track(r.Context(), device, from, to, maxTrack)
	if err != nil {
		return nil, err
	}
	answer := featureCollection{Type: "FeatureCollection", Features: []feature{}}
	f := feature{Type: "Feature", Properties: trackProperties{Device: device}}
	fixes = slices.DeleteFunc(fixes, func(fix store.Fix) bool {
		if fix.Jumped { // to a place where the device was not
			f.Properties.Jumped++
		}
		return fix.Jumped
	})
	if len(fixes) > 0 {
		line := make([][]float64, 0, len(fixes))
		for _, fix := range fixes {
			at := []float64{fix.Lon, fix.Lat} // RFC 7946, section 3.1.1: longitude first
			if fix.Alt != nil {
				at = append(at, *fix.Alt)
			}
			line = append(line, at)
			f.Properties.Times = append(f.Properties.Times, Time{fix.Time})
			f.Properties.UncertaintyMS = append(f.Properties.UncertaintyMS, fix.Within.Milliseconds())
		}
		f.Geometry = geometry{"LineString", line}
		if len(line) == 1 { // A line has two points or more (section 3.1.4).
			f.Geometry = geometry{"Point", line[0]}
		}
		answer.Features = append(answer.Features, f)
	}
	w.Header().Set("Content-Type", "application/geo+json")
	return answer, nil
}

func (c *Console) getRefused(r *http.Request, _ http.ResponseWriter) (any, error) {
	if _, err := query(r); err != nil {
		return nil, err
	}
	refused, err := c.options.Store.Refused(r.Context())
	if err != nil {
		return nil, err
	}
	return viewRefused(refused), nil
}

// health is the answer of healthz and readyz.
type health struct {
	Status  string `json:"status"`
	Version string `json:"version"`
}

func (c *Console) healthz(*http.Request, http.ResponseWriter) (any, error) {
	return health{"ok", c.options.Version}, nil
}

func (c *Console) readyz(r *http.Request, _ http.ResponseWriter) (any, error) {
	if c.options.Ready != nil {
		if err := c.options.Ready(r.Context()); err != nil {
			if f, ok := errors.AsType[*store.Failure](err); ok {
				return nil, storageProblem(f, "not ready")
			}
			return nil, problemf(http.StatusServiceUnavailable, "not ready: %v", err)
		}
	}
	return health{"ok", c.options.Version}, nil
}

func serveOpenAPI(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/yaml")
	w.Header().Set("Cache-Control", "no-cache")
	_, _ = w.Write(openAPI) // The reader may have gone; there is nobody to tell.
}
