package agent

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/fengsui/fengsui/firmware/spool"
	"github.com/fengsui/fengsui/firmware/terminal"
	"github.com/fengsui/fengsui/firmware/wire"
)

// A task is an incident that the centre has sent this unit to, and what its
// people have said to that. It is kept in the spool's state as CBOR under
// taskState+incident, in the commit of the event that changed it.
type task struct {
	Assignment wire.Assignment
	Shown      uint64 // the newest revision that was answered as shown
	Said       []said
	Photos     []string      // ids, taken for it
	over       time.Duration // Mono at which it was withdrawn or ended
	overAt     time.Time     // … by the device's clock
}

// A said is an answer that was given, and the event that carries it.
type said struct {
	terminal.Said
	Stream wire.StreamID
	Seq    uint64
}

const (
	taskState = "task/"
	// overFor is how long a task that is over stays on the screen.
	overFor = 10 * time.Minute
)

// assigned takes the centre's word on an incident that this unit is sent to.
func (a *Agent) assigned(b *wire.Assignment) {
	t := a.tasks[b.Incident]
	if t != nil && b.Rev <= t.Assignment.Rev {
		return // the answer, if one can be given, is in the spool or on its way there
	}
	next := &task{Assignment: *b}
	if t != nil {
		next.Shown, next.Said, next.Photos = t.Shown, t.Said, t.Photos
	}
	if b.State != wire.Assigned {
		next.over = a.clock.Mono()
		if w := a.clock.Wall(); w.Source != wire.WallNone {
			next.overAt = w.Time()
		}
		if t != nil { // which one it was, so that who was sent knows what is over
			was := t.Assignment
			was.Rev, was.State, was.Code, was.By, was.Near, was.Note = b.Rev, b.State, b.Code, b.By, nil, ""
			next.Assignment = was
		}
	}
	a.tasks[b.Incident] = next
	a.log.Info("assignment", "incident", b.Incident, "rev", b.Rev, "state", b.State)
	a.showTasks()
}

// showTasks answers the assignments that a screen shows to somebody who is
// signed on; an assignment that nobody can see is not answered, and the desk
// sees so. What is over needs no eyes.
func (a *Agent) showTasks() {
	for _, t := range a.tasks {
		seen := a.screens > 0 && a.officer != ""
		if t.Shown >= t.Assignment.Rev || !seen && t.Assignment.State == wire.Assigned {
			continue
		}
		t.Shown = t.Assignment.Rev
		a.storeAnswer(t, &wire.UnitAnswer{Incident: t.Assignment.Incident, Rev: t.Assignment.Rev, Answer: wire.AnswerShown}, nil)
	}
}

// storeAnswer stores an answer together with the task's state.
func (a *Agent) storeAnswer(t *task, b *wire.UnitAnswer, s *said) {
	at := a.stamp()
	if t.Assignment.Drill {
		at.drill = true
	}
	b.Position = a.position()
	if s != nil {
		// What it will be, so that it is in the same commit.
		s.Stream, s.Seq = a.spool.Stream(), a.spool.Window()[wire.Duty].Next
		t.Said = append(t.Said, *s)
		if n := len(t.Said) - maxSaid; n > 0 {
			t.Said = slices.Delete(t.Said, 0, n)
		}
	}
	n := len(t.Said) - 1
	a.store(at, wire.Duty, b, func(seq uint64) {
		if s != nil {
			t.Said[n].Stream, t.Said[n].Seq = a.spool.Stream(), seq
		}
	}, taskKV(t))
}

// maxSaid bounds what is remembered of what was said; the events are all kept.
const maxSaid = 100

// taskMode writes times with their parts of a second.
var taskMode = func() cbor.EncMode {
	m, err := cbor.EncOptions{Time: cbor.TimeRFC3339NanoUTC}.EncMode()
	if err != nil {
		panic(err) // the options are right
	}
	return m
}()

func taskKV(t *task) spool.KV {
	v, err := taskMode.Marshal(t)
	if err != nil {
		panic(fmt.Sprintf("agent: task: %v", err)) // a struct of plain members
	}
	return spool.KV{Key: taskState + strconv.FormatUint(t.Assignment.Incident, 10), Value: v}
}

// restoreTasks reads back what the loop had before a power cut. One that was
// over is forgotten.
func (a *Agent) restoreTasks(state map[string][]byte) error {
	for key, v := range state {
		id, ok := strings.CutPrefix(key, taskState)
		if !ok || len(v) == 0 {
			continue
		}
		t := new(task)
		if err := cbor.Unmarshal(v, t); err != nil {
			return fmt.Errorf("task %s: %w", id, err)
		}
		if t.Assignment.State == wire.Assigned {
			a.tasks[t.Assignment.Incident] = t
		}
	}
	return nil
}

// forgetTasks takes from the screen what has been over for long enough. Its
// state goes with the next heartbeat's commit: see overKVs.
func (a *Agent) forgetTasks() {
	for id, t := range a.tasks {
		if t.over > 0 && a.clock.Mono()-t.over >= overFor && t.Shown >= t.Assignment.Rev {
			delete(a.tasks, id)
			a.overTasks = append(a.overTasks, id)
		}
	}
}

// putAway takes a task that is over from the screen at once.
func (a *Agent) putAway(incident uint64) error {
	t := a.tasks[incident]
	switch {
	case a.officer == "":
		return terminal.ErrSignedOff
	case t == nil:
		return nil // it is away
	case t.Assignment.State == wire.Assigned:
		return &terminal.FieldError{Field: "incident", Value: strconv.FormatUint(incident, 10), Want: "a task that is over"}
	}
	delete(a.tasks, incident)
	a.overTasks = append(a.overTasks, incident)
	return nil
}

// overKVs are the states of forgotten tasks, to be deleted.
func (a *Agent) overKVs() (kv []spool.KV) {
	for _, id := range a.overTasks {
		kv = append(kv, spool.KV{Key: taskState + strconv.FormatUint(id, 10)})
	}
	a.overTasks = nil
	return kv
}

// errNoTask means that an answer is to an incident that this unit does not have.
var errNoTask = errors.New("this unit is not sent there")

// answer stores what somebody who is signed on says to an assignment.
func (a *Agent) answer(w terminal.Answer) error {
	if a.officer == "" {
		return terminal.ErrSignedOff
	}
	t := a.tasks[w.Incident]
	if t == nil || t.Assignment.State != wire.Assigned {
		return fmt.Errorf("incident %d: %w", w.Incident, errNoTask)
	}
	b := &wire.UnitAnswer{Incident: w.Incident, Rev: t.Assignment.Rev, Answer: w.Answer, Code: w.Code, Note: w.Note}
	for _, id := range w.Photos {
		raw, err := hex.DecodeString(id)
		if err != nil || !slices.Contains(t.Photos, id) {
			return &terminal.FieldError{Field: "photos", Value: id, Want: "a photo that was taken for this incident"}
		}
		b.Attachments = append(b.Attachments, wire.Hash(raw))
	}
	t.Shown = max(t.Shown, t.Assignment.Rev)
	a.storeAnswer(t, b, &said{Said: terminal.Said{
		Answer: w.Answer.String(), Code: codeName(w.Code), Note: w.Note, Photos: w.Photos, Officer: a.officer, At: a.clock.Wall().Time(),
	}})
	if w.Answer == wire.AnswerNeedHelp {
		a.press(helpButton, wire.Panic, false, a.stamp())
	}
	return nil
}

func codeName(c wire.CloseCode) string {
	if c == 0 {
		return ""
	}
	return c.String()
}

// helpButton is the name under which the screen's call for help is an alarm.
const helpButton = "screen"

// acked reports whether the centre has an event, or will never have it.
func (a *Agent) acked(stream wire.StreamID, l wire.Lane, seq uint64) bool {
	if seq == 0 {
		return false // not stored yet
	}
	for _, p := range a.spool.Parts() {
		if p.Stream() == stream {
			w, ok := p.Window()[l]
			return !ok || seq < w.Oldest
		}
	}
	return true
}

// viewTasks lists the tasks: what is assigned first, then by number.
func (a *Agent) viewTasks() []terminal.Task {
	var out []terminal.Task
	for _, t := range a.tasks {
		v := terminal.Task{Assignment: t.Assignment, Photos: t.Photos, Over: t.overAt}
		for _, s := range t.Said {
			s.Said.Sent = a.acked(s.Stream, wire.Duty, s.Seq)
			v.Said = append(v.Said, s.Said)
		}
		out = append(out, v)
	}
	slices.SortFunc(out, func(x, y terminal.Task) int {
		if c := int(x.Assignment.State) - int(y.Assignment.State); c != 0 {
			return c
		}
		return int(x.Assignment.Incident) - int(y.Assignment.Incident)
	})
	return out
}
