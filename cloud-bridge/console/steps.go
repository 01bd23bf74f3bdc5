package console

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/fengsui/fengsui/cloud-bridge/account"
	"github.com/fengsui/fengsui/cloud-bridge/grid"
	"github.com/fengsui/fengsui/cloud-bridge/incident"
	"github.com/fengsui/fengsui/cloud-bridge/roster"
	"github.com/fengsui/fengsui/cloud-bridge/store"
)

// actor is who makes a request, as the audit record names them.
func (c *Console) actor(r *http.Request) incident.Actor {
	a := actorOf(r.Context())
	return incident.Actor{Name: a.Name, Screen: incident.ScreenDesk, Where: a.Screen}
}

// signs checks a "by" that came with a request: it may be left out, and names nobody but who
// is signed in.
func signs(r *http.Request, by string) error {
	name := actorOf(r.Context()).Name
	if by != "" && account.NameKey(by) != account.NameKey(name) {
		return badField("by", by, strconv.Quote(name)+", who is signed in, or no such member").coded(codeSigned)
	}
	return nil
}

// deskProblem is the problem that an error of a document, a group or a sound stands for,
// or nil.
func deskProblem(err error) *Problem {
	for bad, field := range map[error]string{grid.ErrGrid: "grid", roster.ErrRoster: "roster"} {
		if errors.Is(err, bad) {
			p := problemf(http.StatusUnprocessableEntity, "%v", err).coded(codeDocument + field)
			p.Type, p.Field = "urn:fengsui:problem:bad-field", field
			return p
		}
	}
	if bad, ok := errors.AsType[*store.GroupError](err); ok {
		p := problemf(http.StatusUnprocessableEntity, "%v", bad).coded(bad.Code)
		p.Type, p.Field, p.Value, p.Want = "urn:fengsui:problem:bad-field", bad.Field, shorten(bad.Value), bad.Want
		return p
	}
	if bad, ok := errors.AsType[*store.SoundError](err); ok {
		p := problemf(http.StatusConflict, "%v", bad).coded(bad.Code)
		p.Type = "urn:fengsui:problem:state"
		return p
	}
	return nil
}

// take takes a step for the person who asks.
func (c *Console) take(r *http.Request, id int64, step incident.Step) (*incident.Incident, error) {
	return c.options.Store.Take(r.Context(), id, c.actor(r), step)
}

// stepWith makes a handler of a step that takes these members beside "by".
func (c *Console) stepWith(name string, known ...string) func(*http.Request, http.ResponseWriter) (any, error) {
	return func(r *http.Request, w http.ResponseWriter) (any, error) {
		return c.step(r, w, known, func(id int64, _ string, members map[string]string) (*incident.Incident, error) {
			step := incident.Step{Name: name, Unit: strings.TrimSpace(members["unit"])}
			if from, given := members["from"]; given {
				step.From = strings.TrimSpace(from)
			}
			for _, field := range []string{"note", "reason"} {
				if _, given := members[field]; !given {
					continue
				}
				var err error
				if step.Note, err = noteOf(members, field); err != nil {
					return nil, err
				}
			}
			return c.take(r, id, step)
		})
	}
}

// addUnit sends one more unit to where one is.
func (c *Console) addUnit(r *http.Request, w http.ResponseWriter) (any, error) {
	return c.step(r, w, []string{"unit", "note"}, func(id int64, _ string, members map[string]string) (*incident.Incident, error) {
		unit, err := nameOf(members, "unit")
		if err != nil {
			return nil, err
		}
		note, err := noteOf(members, "note")
		if err != nil {
			return nil, err
		}
		return c.take(r, id, incident.Step{Name: incident.StepAddUnit, Unit: unit, Note: note})
	})
}

// sound makes a handler that has the boxes of the group sound, or stop.
func (c *Console) sound(on bool) func(*http.Request, http.ResponseWriter) (any, error) {
	return func(r *http.Request, w http.ResponseWriter) (any, error) {
		return c.step(r, w, nil, func(id int64, _ string, _ map[string]string) (*incident.Incident, error) {
			return c.options.Store.Sound(r.Context(), id, c.actor(r), on)
		})
	}
}

// Sounding is what became of a box that was to sound for another's alarm.
type Sounding struct {
	Device    string `json:"device"`
	Name      string `json:"name"`
	On        bool   `json:"on"`
	Until     Time   `json:"until"`
	AskedAt   Time   `json:"asked_at"`
	SoundedAt Time   `json:"sounded_at"`
	StoppedAt Time   `json:"stopped_at"`
	Why       string `json:"why"`
}

func (c *Console) listSounds(r *http.Request, _ http.ResponseWriter) (any, error) {
	id, err := c.incidentOf(r)
	if err != nil {
		return nil, err
	}
	list, err := c.options.Store.Soundings(r.Context(), id)
	if err != nil {
		return nil, err
	}
	answer := struct {
		Sounds []Sounding `json:"sounds"`
	}{make([]Sounding, 0, len(list))}
	for _, s := range list {
		answer.Sounds = append(answer.Sounds, Sounding{
			s.Device, s.Name, s.On, Time{s.Until}, Time{s.Asked}, Time{s.Sounded}, Time{s.Stopped}, s.Why,
		})
	}
	return answer, nil
}

// incidentOf reads the id of a request about an incident, which must be there.
func (c *Console) incidentOf(r *http.Request) (int64, error) {
	id, err := incidentID(r)
	if err != nil {
		return 0, err
	}
	if _, err := query(r); err != nil {
		return 0, err
	}
	_, err = c.incident(r.Context(), id)
	return id, err
}

// maxDocument is the largest document that is taken, in bytes.
const maxDocument = 8 << 20

// readBody reads a request's body of one of the media types.
func readBody(w http.ResponseWriter, r *http.Request, most int64, media ...string) ([]byte, error) {
	ct := r.Header.Get("Content-Type")
	got, _, err := mime.ParseMediaType(ct)
	fits := false
	for _, m := range media {
		fits = fits || got == m
	}
	if err != nil || !fits {
		p := problemf(http.StatusUnsupportedMediaType, "Content-Type %q: want %s", shorten(ct), strings.Join(media, " or "))
		p.Field, p.Value, p.Want = "Content-Type", shorten(ct), strings.Join(media, " or ")
		return nil, p
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, most))
	if tooBig, ok := errors.AsType[*http.MaxBytesError](err); ok {
		p := problemf(http.StatusRequestEntityTooLarge, "the body is larger than %d bytes", tooBig.Limit)
		p.Field, p.Want = "body", fmt.Sprintf("at most %d bytes", tooBig.Limit)
		return nil, p
	}
	if err != nil {
		return nil, problemf(http.StatusBadRequest, "the body could not be read: %v", err)
	}
	if !utf8.Valid(body) {
		p := problemf(http.StatusBadRequest, "the body is not UTF-8: want UTF-8")
		p.Field, p.Want = "body", "UTF-8"
		return nil, p
	}
	return body, nil
}

// readObject reads a JSON object into a struct all of whose members are known.
func readObject(w http.ResponseWriter, r *http.Request, into any) error {
	body, err := readBody(w, r, maxBody*16, "application/json")
	if err != nil {
		return err
	}
	d := json.NewDecoder(strings.NewReader(string(body)))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		if bad, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
			return badField(bad.Field, bad.Value, "a "+bad.Type.String())
		}
		if name, found := strings.CutPrefix(err.Error(), "json: unknown field "); found {
			return badField(strings.Trim(name, `"`), "", "a member that is described")
		}
		return malformed(fmt.Sprintf("the body is not JSON (%v)", err))
	}
	if d.More() {
		return malformed("something follows the object")
	}
	return nil
}

// byOf is who asks, where the query may say so.
func (c *Console) byOf(r *http.Request) (incident.Actor, error) {
	values, err := query(r, "by")
	if err == nil {
		err = signs(r, values.Get("by"))
	}
	return c.actor(r), err
}
