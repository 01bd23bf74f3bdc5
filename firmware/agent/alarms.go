package agent

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fengsui/fengsui/firmware/lamp"
	"github.com/fengsui/fengsui/firmware/spool"
	"github.com/fengsui/fengsui/firmware/wire"
)

// A latch is an alarm that has been pressed and not reset. It is kept in the
// spool's state as JSON under latchState+button.
type latch struct {
	Alarm  wire.AlarmID   `json:"alarm"`
	Kind   wire.AlarmKind `json:"kind"`
	Silent bool           `json:"silent"`
	Drill  bool           `json:"drill"`            // of all its events, whenever it is pressed again
	Press  uint64         `json:"press"`            // presses so far
	Rev    uint64         `json:"rev"`              // of the newest notice that was shown
	Step   lamp.Step      `json:"step"`             // Idle until the disk has it; on the disk, CentreHas may still say Stored
	Unit   string         `json:"unit"`             // who is coming
	Texted uint64         `json:"texted,omitempty"` // presses that the centre has by SMS
	At     int64          `json:"at,omitempty"`     // of the last press, Unix milliseconds; 0: the clock did not know
	// Of the event that latched it, while it waits for its Ack.
	stream wire.StreamID
	seq    uint64
}

const latchState = "latch/"

// An answer names a notice that was answered for an alarm that is no longer
// latched here.
type answer struct {
	alarm wire.AlarmID
	rev   uint64
}

// duressLatch stands for a button where a duress finger or PIN latched an
// alarm; no button can have its name. It is hidden: no lamp, siren, screen or
// status tells of it, and no finger resets it.
const duressLatch = "*duress"

func hidden(button string) bool { return button == duressLatch }

// A place is an event's, in the alarm lane.
type place struct {
	stream wire.StreamID
	seq    uint64
}

// pressed takes a confirmed press of a button, which was at a moment.
func (a *Agent) pressed(button string, at stamp) {
	b := a.cfg.Buttons[button]
	a.press(button, wire.AlarmKind(b.Kind), b.Silent, at)
}

// press latches an alarm under a button's name, or counts a press of the one
// that is latched.
func (a *Agent) press(button string, kind wire.AlarmKind, silent bool, at stamp) {
	at.officer, at.drill = a.officer, a.drilling()
	a.raise(button, kind, silent, at)
}

// duress raises the alarm of an officer who was made to use their finger or
// their PIN. The event names that officer, whoever was signed on before.
func (a *Agent) duress(officer string) {
	at := a.stamp()
	at.officer = officer
	a.raise(duressLatch, wire.Duress, true, at)
}

// raise does what press does, at a moment whose officer is known.
func (a *Agent) raise(button string, kind wire.AlarmKind, silent bool, at stamp) {
	p := a.latches[button]
	if p == nil || p.Drill && !at.drill { // a drill that the disk has not let end yet
		p = &latch{Alarm: wire.NewAlarmID(), Kind: kind, Silent: silent, Drill: at.drill}
		a.latches[button] = p
	}
	p.Press++
	if p.At = 0; at.wall.Source != wire.WallNone {
		p.At = at.wall.UnixMilli
	}
	at.drill = p.Drill
	kept := *p
	kept.Step = max(kept.Step, lamp.Stored) // so it is once it is kept
	body := &wire.AlarmRaised{
		Alarm: p.Alarm, Kind: p.Kind, Silent: p.Silent, Button: strings.TrimPrefix(button, "*"), Press: p.Press, Position: a.position(),
	}
	a.store(at, wire.Alarm, body, func(seq uint64) {
		if body.Press == 1 {
			p.stream, p.seq, p.Step = a.spool.Stream(), seq, lamp.Stored
		}
		if hidden(button) {
			a.veiled = append(a.veiled, place{a.spool.Stream(), seq})
			return
		}
		a.tellOf(p)
		a.log.Info("alarm stored", "button", button, "alarm", p.Alarm, "press", body.Press, "seq", seq)
	}, latchKV(button, &kept))
}

// committed takes the centre's word that its database holds a lane of a stream
// up to a number.
func (a *Agent) committed(stream wire.StreamID, l wire.Lane, upTo uint64) {
	switch l {
	case wire.Track:
		a.sendPhotos()
		return
	case wire.Duty:
		a.visitCommitted(stream, upTo)
		return
	}
	a.textsCommitted(stream, upTo)
	a.veiled = slices.DeleteFunc(a.veiled, func(e place) bool { return e.stream == stream && e.seq <= upTo })
	for _, p := range a.latches {
		if p.Step == lamp.Stored && p.stream == stream && p.seq <= upTo {
			p.Step = lamp.CentreHas
		}
	}
}

// notice takes the centre's word on an alarm. Every notice is answered by an
// event, once for each revision.
func (a *Agent) notice(n *wire.Notice) {
	button := a.buttonOf(n.Alarm)
	if button == "" {
		k := answer{n.Alarm, n.Rev}
		if a.answered[k] {
			return
		}
		if len(a.answered) > 1000 { // only a hint: forgetting costs one more event
			clear(a.answered)
		}
		a.answered[k] = true
		a.shown(n, nil)
		return
	}
	p := a.latches[button]
	if n.Rev <= p.Rev {
		return // its answer is in the spool already
	}
	next := *p
	next.Rev = n.Rev
	switch n.State {
	case wire.NoticeAcknowledged:
		next.Step, next.Unit = lamp.Acknowledged, ""
	case wire.NoticeDispatched:
		next.Step, next.Unit = lamp.UnitComing, n.Unit
	case wire.NoticeClosed:
		// First the latch, then the answer: after a cut between the two the
		// notice comes again and is answered as that of an unknown alarm.
		a.clear(button, &wire.AlarmCleared{Alarm: n.Alarm, By: wire.ClearedByCentre})
		a.answered[answer{n.Alarm, n.Rev}] = true
		a.shown(n, nil)
		return
	default:
		a.log.Warn("notice of an unknown state", "alarm", n.Alarm, "state", n.State)
		return
	}
	*p = next
	a.show() // the lamp first: the event says that it shows
	a.shown(n, func() spool.KV { return latchKV(button, p) })
}

// shown stores the answer to a notice.
func (a *Agent) shown(n *wire.Notice, state func() spool.KV) {
	var kv []spool.KV
	if state != nil {
		kv = append(kv, state())
	}
	a.store(a.stamp(), wire.Duty, &wire.NoticeShown{Alarm: n.Alarm, Rev: n.Rev, State: n.State}, nil, kv...)
}

// clear resets a latched alarm.
func (a *Agent) clear(button string, body *wire.AlarmCleared, state ...spool.KV) {
	at, p := a.stamp(), a.latches[button]
	at.drill = p.Drill
	a.store(at, wire.Alarm, body, func(seq uint64) {
		if a.latches[button] == p {
			delete(a.latches, button)
		}
		if hidden(button) {
			a.veiled = append(a.veiled, place{a.spool.Stream(), seq})
			return
		}
		a.log.Info("alarm reset", "button", button, "alarm", body.Alarm, "by", body.By)
	}, append(state, spool.KV{Key: latchState + button})...)
}

func (a *Agent) buttonOf(alarm wire.AlarmID) string {
	for button, p := range a.latches {
		if p.Alarm == alarm {
			return button
		}
	}
	return ""
}

func latchKV(button string, p *latch) spool.KV {
	v, err := json.Marshal(p)
	if err != nil {
		panic(fmt.Sprintf("agent: latch: %v", err)) // a struct of plain members
	}
	return spool.KV{Key: latchState + button, Value: v}
}

// restore reads back what the loop had before a power cut.
func (a *Agent) restore() error {
	state, err := a.spool.State()
	if err != nil {
		return err
	}
	a.officer = string(state[officerState])
	if err := a.restorePlace(state[placeState]); err != nil {
		a.log.Error("the learned place is learned anew", "err", err)
	}
	if ms, err := strconv.ParseInt(string(state[wallState]), 10, 64); err == nil {
		a.clock.RaiseEarliest(time.UnixMilli(ms))
	}
	if err := a.restoreTasks(state); err != nil {
		return err
	}
	if err := a.restoreDoing(state); err != nil {
		return err
	}
	if err := a.restorePhotos(state); err != nil {
		return err
	}
	if n, err := strconv.ParseUint(string(state[pinState]), 10, 32); err == nil {
		a.pins.fails = n
		a.pins.lock(a.clock.Mono())
	}
	a.restoreNeighbours(state)
	for key, v := range state {
		button, ok := strings.CutPrefix(key, latchState)
		if !ok {
			continue
		}
		p := new(latch)
		if err := json.Unmarshal(v, p); err != nil {
			return fmt.Errorf("latch of button %q: %w", button, err)
		}
		p.Drill = p.Drill || a.cfg.Drill
		a.latches[button] = p
	}
	if len(a.latches) == 0 && a.cfg.Modem == nil {
		return nil
	}
	// An alarm whose event is no longer in the spool was acknowledged by the
	// centre before the cut.
	waiting := make(map[wire.AlarmID]*latch)
	for _, part := range a.spool.Parts() {
		for from := uint64(0); ; {
			recs, err := part.Read(wire.Alarm, from, 100, 1<<20)
			if err != nil {
				return err
			}
			if len(recs) == 0 {
				break
			}
			for _, r := range recs {
				if e, err := wire.Peek(r.Data); err == nil {
					b, ok := e.Body.(*wire.AlarmRaised)
					if ok && b.Press == 1 {
						waiting[b.Alarm] = &latch{stream: part.Stream(), seq: r.Seq}
					}
					if ok && a.cfg.Modem != nil && !a.texted(b) {
						a.addText(e, r.Data)
					}
					if ok && b.Kind == wire.Duress {
						a.veiled = append(a.veiled, place{part.Stream(), r.Seq})
					}
				}
				from = r.Seq + 1
			}
		}
	}
	for _, p := range a.latches {
		if w := waiting[p.Alarm]; w != nil {
			p.stream, p.seq = w.stream, w.seq
		} else if p.Step == lamp.Stored {
			p.Step = lamp.CentreHas
		}
	}
	return nil
}

// texted reports whether the centre has a press by SMS.
func (a *Agent) texted(b *wire.AlarmRaised) bool {
	for _, p := range a.latches {
		if p.Alarm == b.Alarm {
			return b.Press <= p.Texted
		}
	}
	return false
}

// show makes the lamps tell the state: of the alarm that is least far on, where
// several are latched.
func (a *Agent) show() {
	s := lamp.State{Fault: len(a.faults) > 0, Drilling: a.drilling(), Visit: a.visitStep(), Drill: true}
	there := 0
	for button, p := range a.latches {
		if !hidden(button) {
			there++
			s.Drill = s.Drill && p.Drill
		}
	}
	loud := false
	for button, p := range a.latches {
		if hidden(button) {
			continue
		}
		if p.Drill && !s.Drill {
			continue // beside a real alarm an exercise is nothing
		}
		if !p.Silent && p.Kind != wire.Duress { // duress makes no sound, whatever a state that was kept says
			loud = true
			s.Press += p.Press // one more sounds a siren that has fallen silent
		}
		if p.Step != lamp.Idle && (s.Step == lamp.Idle || p.Step < s.Step) {
			s.Step = p.Step
		}
	}
	s.Drill = s.Drill && there > 0
	s.Silent = there > 0 && !loud
	s.Siren = loud
	s.Neighbour = len(a.sounds) > 0
	a.lamps.Show(s)
	a.say()
	a.publish(s.Step)
}
