package agent

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/fengsui/fengsui/firmware/group"
	"github.com/fengsui/fengsui/firmware/spool"
	"github.com/fengsui/fengsui/firmware/wire"
)

// Local mutual alarm: this box tells the others of its group of its alarms, and
// sounds for theirs, as it hears of them from themselves or from the centre. It
// sounds once for an alarm, whichever comes first, and says so in events.

const (
	heardState = "heard/" // a group.Mark by member
	soundState = "sound/" // a sounding by alarm

	tellFirst = time.Second      // from the first packet to the next
	tellLast  = 10 * time.Second // between packets, in the end
	overTimes = 5                // packets that say that it is over
)

// An alarmOf names another's alarm. Whose it is belongs to the name, so that no
// member of a group can speak for another.
type alarmOf struct {
	alarm  wire.AlarmID
	device string
}

// state is the key under which a sounding is kept.
func (n alarmOf) state() string { return soundState + n.alarm.String() + "/" + n.device }

// A sounding is another's alarm for which this box sounds, or has.
type sounding struct {
	Device string         `json:"device"`
	By     wire.SoundedBy `json:"by"`
	Rev    uint64         `json:"rev"` // of the newest Sound that was answered
	Drill  bool           `json:"drill"`
	until  time.Duration  // Mono
}

// A telling is an alarm of this box that its group is told of.
type telling struct {
	latch latch
	since time.Duration // Mono of the last press, or of the start if that was before
	again bool          // … which it was
	next  time.Duration
	pause time.Duration
	over  int // packets that are still to say so; 0: it stands
}

func (a *Agent) newGuard() *group.Guard {
	members := make(map[string]ed25519.PublicKey)
	for id, key := range a.cfg.Group.Members {
		members[id] = ed25519.PublicKey(key)
	}
	return &group.Guard{
		Device: a.cfg.Device, Group: a.cfg.Group.Name, Members: members,
		Now: a.clock.Mono, Wall: a.clock.Wall, Marks: a.marks,
	}
}

// watchGroup listens to the group until ctx ends.
func (a *Agent) watchGroup(ctx context.Context) {
	open := a.ports.Air
	if open == nil {
		open = a.listenGroup
	}
	const first, limit = time.Second, 30 * time.Second
	for pause := first; ctx.Err() == nil; pause = min(2*pause, limit) {
		c, err := open()
		if err == nil {
			pause = first
			a.air.Store(&c)
			a.post(ctx, a.other, func() { a.faultEnded(faultGroup) })
			err = c.Run(ctx, func(msg []byte) { a.post(ctx, a.other, func() { a.heard(msg) }) })
			a.air.Store(nil)
		}
		if ctx.Err() != nil {
			return
		}
		a.post(ctx, a.other, func() { a.faultBegan(faultGroup, err.Error()) })
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
		}
	}
}

func (a *Agent) listenGroup() (Air, error) {
	var peers []string
	for _, p := range a.cfg.Group.Peers {
		peers = append(peers, string(p))
	}
	return group.Listen(string(a.cfg.Group.Address), a.cfg.Group.Interface, peers)
}

// faultGroup is that the local network cannot be used.
const faultGroup = "group_lost"

// loud reports whether a kind may be heard at other boxes: one that this version
// knows, and that is not silent.
func loud(k wire.AlarmKind) bool { return k >= wire.Panic && k <= wire.Medical }

// tellOf begins to tell the group of an alarm, now that it is stored. Nothing
// that is silent is told, nor a kind that this version does not know.
func (a *Agent) tellOf(p *latch) {
	if a.guard == nil || p.Silent || !loud(p.Kind) {
		return
	}
	now := a.clock.Mono()
	a.tells[p.Alarm] = &telling{latch: *p, since: now, next: now, pause: tellFirst}
	a.tellGroup()
}

// tellAgain goes on telling, after a restart, of what stands. What is reset
// from here on is told to be over, as ever.
func (a *Agent) tellAgain() {
	for button, p := range a.latches {
		if hidden(button) {
			continue
		}
		a.tellOf(p)
		if t := a.tells[p.Alarm]; t != nil {
			t.since, t.again = 0, true
		}
	}
}

// age is how long ago the last press was, or at least that where a restart was
// between and one of the two clocks did not know the time.
func (a *Agent) age(t *telling) time.Duration {
	age := a.clock.Mono() - t.since
	if now := a.clock.Wall(); t.again && t.latch.At != 0 && now.Source != wire.WallNone {
		age = max(age, time.Duration(now.UnixMilli-t.latch.At)*time.Millisecond)
	}
	return age
}

// tellGroup sends what is due: often at first, and no longer than the others
// sound.
func (a *Agent) tellGroup() {
	now := a.clock.Mono()
	for alarm, t := range a.tells {
		if t.over == 0 && a.buttonOf(alarm) == "" {
			t.over, t.next, t.pause = overTimes, now, tellFirst
		}
		if t.over == 0 && a.age(t) > time.Duration(a.cfg.Group.Limit) {
			delete(a.tells, alarm)
		}
		if a.tells[alarm] == nil || now < t.next {
			continue
		}
		a.tellOnce(t)
		t.next, t.pause = now+t.pause, min(2*t.pause, tellLast)
		switch {
		case t.over > 1:
			t.over--
		case t.over == 1:
			delete(a.tells, alarm)
		}
	}
}

func (a *Agent) tellOnce(t *telling) {
	air := a.air.Load()
	if air == nil {
		return
	}
	a.packets++
	wall := a.clock.Wall()
	msg, err := wire.SealGroup(&wire.GroupAlarm{
		Device: a.cfg.Device, Group: a.cfg.Group.Name, Stream: a.spool.Stream(), Boot: a.spool.Boot(), N: a.packets,
		Alarm: t.latch.Alarm, Kind: t.latch.Kind, Press: t.latch.Press, On: t.over == 0, Drill: t.latch.Drill,
		AgeMs: uint64(a.age(t).Milliseconds()),
		Wall:  wall.UnixMilli, Source: wall.Source, Within: uint64(wall.Uncertainty.Milliseconds()),
	}, a.key)
	if err == nil {
		err = (*air).Send(msg)
	}
	if err != nil {
		a.log.Debug("the group is not told", "err", err)
	}
}

// heard takes a packet.
func (a *Agent) heard(msg []byte) {
	p, fresh, err := a.guard.Accept(msg)
	if err != nil {
		a.log.Debug("packet not believed", "err", err)
		return
	}
	name := alarmOf{p.Alarm, p.Device}
	s := a.sounds[name]
	switch {
	case !p.On && s != nil:
		a.endSound(name, s)
	case !p.On || !fresh:
	case !loud(p.Kind):
		a.log.Warn("a member tells of an alarm that makes no sound", "member", p.Device, "kind", p.Kind)
	case s != nil: // pressed again
		a.beginSound(name, s, time.Duration(a.cfg.Group.Limit))
	case a.heardThen(name, time.Duration(p.AgeMs)*time.Millisecond): // the press was heard
	default:
		a.beginSound(name, &sounding{Device: p.Device, By: wire.SoundedByGroup, Drill: p.Drill}, time.Duration(a.cfg.Group.Limit))
	}
}

// heardThen reports whether this box has sounded for an alarm, and fell silent
// after a press of so long ago.
func (a *Agent) heardThen(name alarmOf, ago time.Duration) bool {
	at, sounded := a.silenced[name]
	return sounded && a.clock.Mono()-ago <= at
}

// soundFor takes the centre's word that this box is to sound for another's
// alarm, or to stop. It is answered, once for each revision.
func (a *Agent) soundFor(b *wire.Sound, left time.Duration) {
	name := alarmOf{b.Alarm, b.Device}
	s := a.sounds[name]
	if s != nil && b.Rev <= s.Rev || a.soundRevs[name] >= b.Rev {
		return // its answer is in the spool already
	}
	if len(a.soundRevs) > 1000 { // only a hint: forgetting costs one more event
		clear(a.soundRevs)
	}
	a.soundRevs[name] = b.Rev
	var kv []spool.KV
	answer := &wire.Sounded{Alarm: b.Alarm, Rev: b.Rev, By: wire.SoundedByCentre, Device: b.Device}
	switch {
	case !b.On && s != nil:
		s.Rev, s.By = b.Rev, wire.SoundedByCentre
		a.endSound(name, s)
		return
	case !b.On: // nor when the group tells of it after this
		a.note(b)
		kv = a.markKV(b.Device)
	case a.cfg.Siren == nil:
		answer.Why = "no_siren"
	case b.Kind == wire.Duress: // no word makes that be heard
		answer.Why = "silent"
	case s != nil: // it sounds already, for the group or an earlier word
		s.Rev = b.Rev
		s.until = max(s.until, a.clock.Mono()+min(left, a.soundLimit()))
		answer.On = true
		kv = []spool.KV{soundKV(name, s)}
	case left <= 0:
		answer.Why = "expired"
	case b.Rev == 1 && a.heardOf(b.Device, b.Alarm): // a later one asks for more
		answer.Why = "sounded_before"
	default:
		a.note(b)
		a.beginSound(name, &sounding{Device: b.Device, By: wire.SoundedByCentre, Rev: b.Rev, Drill: b.Drill}, min(left, a.soundLimit()))
		return
	}
	a.store(a.stamp(), wire.Duty, answer, nil, kv...)
}

// note keeps an alarm of which the centre told from sounding once more when the
// group tells of it.
func (a *Agent) note(b *wire.Sound) {
	if a.guard != nil {
		a.guard.Note(b.Device, b.Alarm)
	}
}

// soundLimit is how long the siren sounds for another's alarm.
func (a *Agent) soundLimit() time.Duration {
	if a.cfg.Group != nil {
		return time.Duration(a.cfg.Group.Limit)
	}
	return time.Duration(a.cfg.Siren.Limit)
}

// heardOf reports whether an alarm of a member of the group was heard before,
// whichever way.
func (a *Agent) heardOf(device string, alarm wire.AlarmID) bool {
	if a.guard == nil || a.guard.Marks[device] == nil {
		return false
	}
	for _, h := range a.guard.Marks[device].Alarms {
		if h.Alarm == alarm {
			return true
		}
	}
	return false
}

// beginSound sounds for another's alarm, or goes on, and says so.
func (a *Agent) beginSound(name alarmOf, s *sounding, lasts time.Duration) {
	body := &wire.Sounded{Alarm: name.alarm, Rev: s.Rev, By: s.By, Device: s.Device, On: true}
	kv := a.markKV(s.Device)
	if a.cfg.Siren == nil {
		body.On, body.Why = false, "no_siren"
	} else {
		s.until = a.clock.Mono() + lasts
		a.sounds[name] = s
		a.show() // at once; the disk comes after
		kv = append(kv, soundKV(name, s))
	}
	a.log.Info("a neighbour's alarm", "of", s.Device, "alarm", name.alarm, "by", s.By, "sounds", body.On)
	at := a.stamp()
	at.drill = at.drill || s.Drill
	a.store(at, wire.Duty, body, nil, kv...)
}

func soundKV(name alarmOf, s *sounding) spool.KV {
	v, err := json.Marshal(s)
	if err != nil {
		panic(fmt.Sprintf("agent: sounding: %v", err)) // a struct of plain members
	}
	return spool.KV{Key: name.state(), Value: v}
}

// endSound falls silent, and says so.
func (a *Agent) endSound(name alarmOf, s *sounding) {
	delete(a.sounds, name)
	if len(a.silenced) > 1000 { // as soundRevs
		clear(a.silenced)
	}
	a.silenced[name] = a.clock.Mono()
	at := a.stamp()
	at.drill = at.drill || s.Drill
	a.log.Info("a neighbour's alarm is over, or has sounded for long enough", "of", s.Device, "alarm", name.alarm)
	a.store(at, wire.Duty, &wire.Sounded{Alarm: name.alarm, Rev: s.Rev, By: s.By, Device: s.Device}, nil,
		append(a.markKV(s.Device), spool.KV{Key: name.state()})...)
}

// endSounds ends those that have sounded for long enough.
func (a *Agent) endSounds() {
	for name, s := range a.sounds {
		if a.clock.Mono() >= s.until {
			a.endSound(name, s)
		}
	}
}

// markKV keeps what was heard of a member, so that a recording of it is not
// believed after a restart.
func (a *Agent) markKV(device string) []spool.KV {
	if a.guard == nil || a.guard.Marks[device] == nil {
		return nil
	}
	v, err := json.Marshal(a.guard.Marks[device])
	if err != nil {
		panic(fmt.Sprintf("agent: mark: %v", err)) // a struct of plain members
	}
	return []spool.KV{{Key: heardState + device, Value: v}}
}

// restoreNeighbours reads back what concerns the neighbours, and the mode.
func (a *Agent) restoreNeighbours(state map[string][]byte) {
	a.marks = make(map[string]*group.Mark)
	var errs error
	for key, v := range state {
		if device, ok := strings.CutPrefix(key, heardState); ok {
			m := new(group.Mark)
			if err := json.Unmarshal(v, m); err != nil {
				errs = errors.Join(errs, err)
				continue
			}
			a.marks[device] = m
		}
		if rest, ok := strings.CutPrefix(key, soundState); ok {
			s := new(sounding)
			id, _, _ := strings.Cut(rest, "/")
			var alarm wire.AlarmID
			if err := json.Unmarshal(v, s); err != nil || !parseAlarm(id, &alarm) {
				errs = errors.Join(errs, err)
				continue
			}
			name := alarmOf{alarm, s.Device}
			a.sounds[name], a.soundRevs[name] = s, s.Rev
		}
	}
	errs = errors.Join(errs, a.restoreMode(state[modeState]))
	if errs != nil {
		a.log.Error("what was heard of neighbours is forgotten", "err", errs)
	}
}

// soundsBefore says of what sounded before a restart that it does no more.
func (a *Agent) soundsBefore() {
	for name, s := range a.sounds {
		a.endSound(name, s)
	}
}

func parseAlarm(s string, id *wire.AlarmID) bool {
	b, err := hex.DecodeString(s)
	return err == nil && copy(id[:], b) == len(id) && len(b) == len(id)
}
