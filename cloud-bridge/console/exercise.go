package console

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/fengsui/fengsui/cloud-bridge/store"
)

// Exercise is one of a group of boxes, and what became of it.
type Exercise struct {
	ID      string          `json:"id"`
	Group   string          `json:"group"`
	Name    string          `json:"name"`
	By      string          `json:"by"`
	At      Time            `json:"at"`
	Until   Time            `json:"until"`
	Ended   Time            `json:"ended"`
	Boxes   []ExerciseBox   `json:"boxes"`
	Presses []ExercisePress `json:"presses"`
}

// ExerciseBox is a box that was in the group.
type ExerciseBox struct {
	Device  string `json:"device"`
	Name    string `json:"name"`
	Told    Time   `json:"told"`
	Ended   Time   `json:"ended"`
	EndedBy string `json:"ended_by"`
}

// ExercisePress is a press at one of the boxes, and what became of it at the others.
type ExercisePress struct {
	Incident string  `json:"incident"`
	Device   string  `json:"device"`
	Name     string  `json:"name"`
	Kind     string  `json:"kind"`
	At       Time    `json:"at"`
	Drill    bool    `json:"drill"`
	Others   []Heard `json:"others"`
}

// Heard is what became of one of the other boxes.
type Heard struct {
	Device   string   `json:"device"`
	Name     string   `json:"name"`
	State    string   `json:"state"`
	At       Time     `json:"at"`
	AfterS   *float64 `json:"after_s"`
	Reported Time     `json:"reported"`
	Why      string   `json:"why"`
	Faults   []string `json:"faults"`
}

func viewExercise(e *store.Exercise) Exercise {
	v := Exercise{
		ID: formatID(e.ID), Group: e.Group, Name: e.Name, By: e.By, At: Time{e.At}, Until: Time{e.Until}, Ended: Time{e.Ended},
		Boxes: []ExerciseBox{}, Presses: []ExercisePress{},
	}
	for _, b := range e.Boxes {
		v.Boxes = append(v.Boxes, ExerciseBox{b.Device, b.Name, Time{b.Told}, Time{b.Ended}, b.EndedBy})
	}
	for _, p := range e.Presses {
		press := ExercisePress{formatID(p.Incident), p.Device, p.Name, string(p.Kind), Time{p.At}, p.Drill, []Heard{}}
		for _, h := range p.Others {
			heard := Heard{Device: h.Device, Name: h.Name, State: h.State, At: Time{h.At}, Reported: Time{h.Reported}, Why: h.Why, Faults: append([]string{}, h.Faults...)}
			if h.State == store.HeardSounded {
				after := h.After.Seconds()
				heard.AfterS = &after
			}
			press.Others = append(press.Others, heard)
		}
		v.Presses = append(v.Presses, press)
	}
	return v
}

func (c *Console) listExercises(r *http.Request, _ http.ResponseWriter) (any, error) {
	if _, err := query(r); err != nil {
		return nil, err
	}
	list, err := c.exercises(r.Context(), 0, 20)
	if err != nil {
		return nil, err
	}
	answer := struct {
		Exercises []Exercise `json:"exercises"`
	}{make([]Exercise, 0, len(list))}
	for i := range list {
		answer.Exercises = append(answer.Exercises, viewExercise(&list[i]))
	}
	return answer, nil
}

// exercises are those that the account may see: a group stands together, and its first box
// says where.
func (c *Console) exercises(ctx context.Context, id int64, limit int) ([]store.Exercise, error) {
	list, err := c.options.Store.Exercises(ctx, id, limit)
	if err != nil {
		return nil, err
	}
	return only(ctx, c, list, func(e *store.Exercise) (string, *store.Point) { return e.Boxes[0].Device, nil })
}

// exercise reads the one that the path names.
func (c *Console) exercise(r *http.Request) (Exercise, error) {
	if _, err := query(r); err != nil {
		return Exercise{}, err
	}
	id, err := numberOf(r, "exercise")
	if err != nil {
		return Exercise{}, err
	}
	list, err := c.exercises(r.Context(), id, 1)
	if err == nil && len(list) == 0 {
		err = fmt.Errorf("%w: exercise %d", store.ErrNotFound, id)
	}
	if err != nil {
		return Exercise{}, err
	}
	return viewExercise(&list[0]), nil
}

func (c *Console) getExercise(r *http.Request, _ http.ResponseWriter) (any, error) {
	return c.exercise(r)
}

// getExerciseCSV is the report as a table: a line for each press and each of the other boxes,
// and one for an exercise in which nobody pressed.
func (c *Console) getExerciseCSV(w http.ResponseWriter, r *http.Request) {
	e, err := c.exercise(r)
	if err != nil {
		c.refuse(w, r, err)
		return
	}
	t := newTable()
	t.line("exercise", "group", "name", "by", "at", "until", "ended", "incident", "pressed", "pressed_name", "kind", "pressed_at", "drill",
		"device", "device_name", "told", "state", "sounded_at", "after_s", "reported", "why", "faults")
	told := make(map[string]Time)
	for _, x := range e.Boxes {
		told[x.Device] = x.Told
	}
	head := []any{e.ID, e.Group, e.Name, e.By, e.At, e.Until, e.Ended}
	for _, p := range e.Presses {
		press := append(head[:len(head):len(head)], p.Incident, p.Device, p.Name, p.Kind, p.At, p.Drill)
		for _, h := range p.Others {
			t.line(append(press[:len(press):len(press)], h.Device, h.Name, told[h.Device], h.State, h.At, h.AfterS, h.Reported, h.Why, strings.Join(h.Faults, " "))...)
		}
	}
	if len(e.Presses) == 0 {
		for _, x := range e.Boxes {
			t.line(append(head[:len(head):len(head)], "", "", "", "", "", "", x.Device, x.Name, x.Told, "", "", "", "", "", "")...)
		}
	}
	t.send(w, "exercise-"+e.ID+".csv")
}
