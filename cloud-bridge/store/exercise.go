package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/fengsui/fengsui/cloud-bridge/incident"
)

// An Exercise is one of a group, and what became of it.
type Exercise struct {
	ID          int64
	Group, Name string // of the group, as it was called then
	By          string
	At, Until   time.Time
	Ended       time.Time // of the last box, if it was before Until; zero: it was not
	Boxes       []ExerciseBox
	Presses     []ExercisePress // in the order of time
}

// An ExerciseBox is a box that was in the group.
type ExerciseBox struct {
	Device, Name string
	Told         time.Time // it said that it takes part; zero: it has not
	Ended        time.Time // before Until; zero: it was not
	EndedBy      string
}

// An ExercisePress is a press at one of the boxes meanwhile.
type ExercisePress struct {
	Incident     int64
	Device, Name string
	Kind         incident.Kind
	At           time.Time // see [incident.Incident.Began]
	Drill        bool      // false: the box did not know of the exercise, and it was taken for real
	Others       []Heard
}

// What became of a box that another one's alarm was to be heard at.
const (
	HeardSounded  = "sounded"   // it says so
	HeardCannot   = "cannot"    // it says that it does not, and why
	HeardSilent   = "silent"    // nothing of a silent alarm is heard anywhere
	HeardNotAsked = "not_asked" // nobody let it sound, neither the group's setting nor the desk
	HeardOffline  = "offline"   // it could not be heard when the button was pressed
	HeardNothing  = "no_answer" // it was asked and has not answered
)

// Heards lists them.
func Heards() []string {
	return []string{HeardSounded, HeardCannot, HeardSilent, HeardNotAsked, HeardOffline, HeardNothing}
}

// Heard is what became of one of the other boxes.
type Heard struct {
	Device, Name string
	State        string
	At           time.Time     // when it began, by its own word; zero unless it sounded
	After        time.Duration // the press
	Reported     time.Time     // when the centre had its word
	Why          string        // its own: "no_siren" …
	Faults       []string      // that it had when the button was pressed, and still has
}

// BeginExercise begins an exercise at the boxes of a group, until a time, and
// keeps who was in it. The error wraps [ErrNotFound] when there is no such group.
func (s *Store) BeginExercise(ctx context.Context, by incident.Actor, group string, until time.Time) error {
	return s.update(ctx, func(t *tx) error {
		var name string
		found, err := t.row(`SELECT name FROM groups WHERE id = ?`, []any{group}, []any{&name})
		if err == nil && !found {
			err = fmt.Errorf("%w: group %q", ErrNotFound, group)
		}
		var boxes []string
		if err == nil {
			err = t.rows(`SELECT d.id FROM members m JOIN devices d ON d.device = m.device WHERE m.group_id = ? ORDER BY d.id`, []any{group},
				func(scan func(...any) error) (bool, error) {
					var id string
					err := scan(&id)
					boxes = append(boxes, id)
					return true, err
				})
		}
		if err != nil {
			return err
		}
		res, err := t.run(`INSERT INTO exercises (group_id, name, by, at, until) VALUES (?,?,?,?,?)`, group, name, by.Name, t.at.UnixMilli(), until.UnixMilli())
		if err != nil {
			return err
		}
		id, err := res.LastInsertId()
		if err != nil {
			return fmt.Errorf("store: %w", err)
		}
		for _, box := range boxes {
			device, rev, err := t.setDrill(by, box, true, until)
			if err != nil {
				return err
			}
			if err := t.exec(`INSERT INTO exercise_boxes (exercise, device, rev) VALUES (?,?,?)`, id, device, rev); err != nil {
				return err
			}
		}
		return t.did(by, "exercise_begun", "group/"+group, "until "+until.UTC().Format(time.RFC3339))
	})
}

// MaxExercises is the most that one query returns.
const MaxExercises = 100

// Exercises returns the newest ones, at most so many; or, unless id is 0, that
// one: the error wraps [ErrNotFound] when there is none.
func (s *Store) Exercises(ctx context.Context, id int64, limit int) ([]Exercise, error) {
	var out []Exercise
	at := make(map[int64]int)
	err := s.snapshot(ctx, []string{exercisesQuery, exercisePressesQuery}, func(query func(int, ...any) (*sql.Rows, error)) error {
		rows, err := query(0, id, min(max(limit, 1), MaxExercises))
		if err != nil {
			return err
		}
		if err := each(rows, func(scan func(...any) error) (bool, error) {
			var e Exercise
			var b ExerciseBox
			var begun, until, told, ended sql.NullInt64
			err := scan(&e.ID, &e.Group, &e.Name, &e.By, &begun, &until, &b.Device, &b.Name, &told, &ended, &b.EndedBy)
			if n := len(out); n == 0 || out[n-1].ID != e.ID {
				e.At, e.Until = fromMillis(begun), fromMillis(until)
				at[e.ID] = n
				out = append(out, e)
			}
			b.Told, b.Ended = fromMillis(told), fromMillis(ended)
			last := &out[len(out)-1]
			last.Boxes = append(last.Boxes, b)
			return true, err
		}); err != nil || len(out) == 0 {
			return err
		}
		rows, err = query(1, out[len(out)-1].ID, out[0].ID)
		if err != nil {
			return err
		}
		return each(rows, func(scan func(...any) error) (bool, error) {
			id, p, h, err := scanHeard(scan)
			if err != nil || !p.Kind.Pressed() {
				return true, err
			}
			e := &out[at[id]]
			if n := len(e.Presses); n == 0 || e.Presses[n-1].Incident != p.Incident {
				e.Presses = append(e.Presses, p)
			}
			if h.Device != "" {
				last := &e.Presses[len(e.Presses)-1]
				last.Others = append(last.Others, h)
			}
			return true, nil
		})
	})
	if err == nil && id != 0 && len(out) == 0 {
		err = fmt.Errorf("%w: exercise %d", ErrNotFound, id)
	}
	for i := range out {
		out[i].end()
	}
	return out, err
}

// end says when it ended, if all of its boxes were let go before its time.
func (e *Exercise) end() {
	if !slices.ContainsFunc(e.Boxes, func(b ExerciseBox) bool { return b.Ended.IsZero() }) {
		e.Ended = slices.MaxFunc(e.Boxes, func(a, b ExerciseBox) int { return a.Ended.Compare(b.Ended) }).Ended
	}
}

const exercisesQuery = `SELECT e.exercise, e.group_id, e.name, e.by, e.at, e.until, d.id, d.name, x.told_at, x.ended_at, x.ended_by
	FROM (SELECT * FROM exercises WHERE ?1 IN (0, exercise) ORDER BY exercise DESC LIMIT ?2) e
	JOIN exercise_boxes x ON x.exercise = e.exercise JOIN devices d ON d.device = x.device ORDER BY e.exercise DESC, d.id`

// exercisePressesQuery has a row for each press and each of the other boxes. A
// box that has not heard of the end goes on with the exercise until its time; a
// press is of the newest one that its box was in.
const exercisePressesQuery = `
WITH pressed AS (
	SELECT x.exercise, i.incident, i.device, i.kind, i.drill, i.silent, min(coalesce(i.pressed_at, i.received_at), i.received_at) AS began,
		e.at, e.until, x.ended_at
	FROM exercises e JOIN exercise_boxes x ON x.exercise = e.exercise JOIN incidents i ON i.device = x.device
	WHERE e.exercise BETWEEN ?1 AND ?2
), own AS (
	SELECT * FROM pressed p WHERE p.began >= p.at AND p.began <= CASE WHEN p.drill THEN p.until ELSE min(coalesce(p.ended_at, p.until), p.until) END
	AND NOT EXISTS (SELECT 1 FROM exercise_boxes y JOIN exercises f ON f.exercise = y.exercise
		WHERE y.device = p.device AND f.exercise > p.exercise AND f.at <= p.began)
), others AS (
	SELECT o.exercise, o.incident, y.device FROM own o JOIN exercise_boxes y ON y.exercise = o.exercise AND y.device <> o.device
	UNION SELECT o.exercise, o.incident, s.device FROM own o JOIN sounds s ON s.incident = o.incident
)
SELECT o.exercise, o.incident, d.id, d.name, o.kind, o.silent, o.drill, o.began, coalesce(b.id, ''), coalesce(b.name, ''),
	s.asked_at, s.sounded_at, s.sounded_when, coalesce(s.why, ''),
	EXISTS (SELECT 1 FROM outages a WHERE a.device = b.device AND a.from_ <= o.began AND coalesce(a.to_, 1 << 62) > o.began) OR b.heard_at IS NULL,
	coalesce((SELECT json_group_array(f.code) FROM faults f WHERE f.device = b.device AND f.active AND f.since <= o.began), '[]')
FROM own o JOIN devices d ON d.device = o.device
LEFT JOIN others n ON n.exercise = o.exercise AND n.incident = o.incident LEFT JOIN devices b ON b.device = n.device
LEFT JOIN sounds s ON s.incident = o.incident AND s.device = b.device
ORDER BY o.exercise, o.began, o.incident, b.id`

func scanHeard(scan func(...any) error) (exercise int64, p ExercisePress, h Heard, err error) {
	var began, asked, sounded, when sql.NullInt64
	var silent, offline bool
	var faults string
	if err = scan(&exercise, &p.Incident, &p.Device, &p.Name, &p.Kind, &silent, &p.Drill, &began, &h.Device, &h.Name,
		&asked, &sounded, &when, &h.Why, &offline, &faults); err != nil {
		return exercise, p, h, err
	}
	p.At = fromMillis(began)
	r := record{Incident: incident.Incident{Kind: p.Kind, Silent: silent}}
	switch {
	case sounded.Valid:
		h.State, h.At, h.Reported, h.Why = HeardSounded, fromMillis(when), fromMillis(sounded), ""
		h.After = max(h.At.Sub(p.At), 0)
	case h.Why != "":
		h.State = HeardCannot
	case !r.maySound():
		h.State = HeardSilent
	case !asked.Valid:
		h.State = HeardNotAsked
	case offline:
		h.State = HeardOffline
	default:
		h.State = HeardNothing
	}
	err = json.Unmarshal([]byte(faults), &h.Faults)
	slices.Sort(h.Faults)
	return exercise, p, h, err
}
