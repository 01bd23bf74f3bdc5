package store

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/fengsui/fengsui/cloud-bridge/incident"
	"github.com/fengsui/fengsui/firmware/wire"
)

// work is what of an incident is read with it and never asked for alone.
type work struct {
	Format    int                `json:"format"` // workFormat; 0: before units had a list of what they said
	Units     []incident.Unit    `json:"units,omitempty"`
	EnRoute   *incident.Progress `json:"en_route,omitempty"`
	OnScene   *incident.Progress `json:"on_scene,omitempty"`
	Checked   *incident.Progress `json:"checked,omitempty"`
	Request   *incident.Request  `json:"request,omitempty"`
	Help      *incident.Help     `json:"help,omitempty"`
	Overruns  incident.Overruns  `json:"overruns,omitzero"`
	Since     time.Time          `json:"since,omitzero"`
	FirstSent time.Time          `json:"first_sent,omitzero"`
}

const workFormat = 1

func workOf(i *incident.Incident) work {
	return work{workFormat, i.Units, i.EnRoute, i.OnScene, i.Checked, i.Request, i.Help, i.Overruns, i.Since, i.FirstSent}
}

func (w *work) give(i *incident.Incident) {
	i.Units, i.EnRoute, i.OnScene, i.Checked, i.Request, i.Help = w.Units, w.EnRoute, w.OnScene, w.Checked, w.Request, w.Help
	i.Overruns, i.Since, i.FirstSent = w.Overruns, w.Since, w.FirstSent
}

// before makes of what an earlier version wrote the list of what each unit
// said, as far as it was kept. It is never dated anew.
func (w *work) before(text string) error {
	if w.Format >= workFormat {
		return nil
	}
	var old struct {
		Units []struct {
			Newest  time.Time `json:"newest"`
			Refused time.Time `json:"refused"`
		} `json:"units"`
	}
	if err := json.Unmarshal([]byte(text), &old); err != nil {
		return err
	}
	for n := range w.Units {
		u := &w.Units[n]
		say := func(a wire.Answer, by string, at, received time.Time) {
			u.Said = append(u.Said, incident.Said{Answer: a, By: by, Desk: true, Given: at, Received: received, At: at})
		}
		for a, p := range map[wire.Answer]*incident.Progress{
			wire.AnswerEnRoute: w.EnRoute, wire.AnswerOnScene: w.OnScene, wire.AnswerChecked: w.Checked,
		} {
			if p != nil && p.Unit == u.Name {
				say(a, p.By, p.At, p.Received)
			}
		}
		if h := w.Help; h != nil && h.Unit == u.Name {
			say(wire.AnswerNeedHelp, h.By, h.At, h.At)
		}
		newest, refused := old.Units[n].Newest, old.Units[n].Refused
		reached := map[incident.UnitState]wire.Answer{
			incident.UnitShown: wire.AnswerShown, incident.UnitAccepted: wire.AnswerAccepted, incident.UnitEnRoute: wire.AnswerEnRoute,
			incident.UnitOnScene: wire.AnswerOnScene, incident.UnitChecked: wire.AnswerChecked,
		}[u.Reached]
		if !newest.IsZero() {
			say(wire.AnswerAccepted, u.By, newest, newest)
		}
		if reached != 0 && !slices.ContainsFunc(u.Said, func(s incident.Said) bool { return s.Answer == reached }) {
			say(reached, u.By, later(newest, u.At), later(newest, u.At))
		}
		if !refused.IsZero() {
			say(wire.AnswerRefused, u.By, refused, refused)
			u.Declined = !newest.After(refused)
		}
	}
	return nil
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
