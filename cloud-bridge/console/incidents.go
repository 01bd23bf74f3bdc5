package console

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fengsui/fengsui/cloud-bridge/account"
	"github.com/fengsui/fengsui/cloud-bridge/incident"
	"github.com/fengsui/fengsui/cloud-bridge/store"
)

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

func incidentID(r *http.Request) (int64, error) { return numberOf(r, "incident") }

// numberOf reads the number in a path.
func numberOf(r *http.Request, what string) (int64, error) {
	text := r.PathValue("id")
	id, err := strconv.ParseInt(text, 10, 64)
	if err != nil || id < 1 || strconv.FormatInt(id, 10) != text {
		p := problemf(http.StatusNotFound, "there is no %s %q: ids are decimal numbers", what, shorten(text))
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
		return nil, badField("by", sent, strconv.Quote(by)+", who is signed in, or no such member").coded(codeSigned)
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
