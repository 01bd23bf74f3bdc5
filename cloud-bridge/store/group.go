package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fengsui/fengsui/cloud-bridge/incident"
	"github.com/fengsui/fengsui/firmware/wire"
)

// ErrGroup means that a group is wrong; the error names the field, the value
// and what would be right.
var ErrGroup = errors.New("bad group")

// A Group are households that look out for each other: when one of their boxes
// is pressed the others sound and say whose it is.
type Group struct {
	ID        string // 1 to 32 of a-z, 0-9 and '-'
	Name      string
	Automatic bool          // the others sound at once; else a dispatcher lets them
	Sounds    time.Duration // how long
	Devices   []string      // of one group at most
}

// A GroupError names the field of a group, its value and what would be right.
type GroupError struct{ Group, Field, Value, Want, Code string }

// GroupCodes lists the codes of a [GroupError].
func GroupCodes() []string {
	return []string{"group_id", "group_name", "group_sounds", "group_size", "group_twice", "group_not_box", "group_other"}
}

// Error says it in words.
func (e *GroupError) Error() string {
	return fmt.Sprintf("%v: group %q: %s %q: want %s", ErrGroup, e.Group, e.Field, e.Value, e.Want)
}

// Unwrap returns [ErrGroup].
func (e *GroupError) Unwrap() error { return ErrGroup }

// Limits of a group.
const (
	MaxGroup   = 50 // devices
	LeastSound = 10 * time.Second
	MostSound  = 30 * time.Minute
)

// Validate checks every field. The error wraps [ErrGroup].
func (g *Group) Validate() error {
	bad := func(field, value, want, code string) error {
		return &GroupError{clip(g.ID, 80), field, value, want, code}
	}
	switch {
	case wire.ValidDevice(g.ID) != nil:
		return bad("id", clip(g.ID, 80), "1 to 32 of a-z, 0-9 and '-', not beginning with '-'", "group_id")
	case strings.TrimSpace(g.Name) == "" || !oneLine(g.Name):
		return bad("name", clip(g.Name, 80), "1 to 64 bytes of UTF-8 on one line", "group_name")
	case g.Sounds < LeastSound || g.Sounds > MostSound:
		return bad("sounds", g.Sounds.String(), "10s to 30m", "group_sounds")
	case len(g.Devices) < 2 || len(g.Devices) > MaxGroup:
		return bad("devices", strconv.Itoa(len(g.Devices)), "2 to 50 boxes", "group_size")
	}
	for i, d := range g.Devices {
		if slices.Contains(g.Devices[:i], d) {
			return bad("devices", d, "each once", "group_twice")
		}
	}
	return nil
}

// PutGroup makes a group, or puts it in the place of the one with that id. The
// error wraps [ErrGroup] or [ErrNotFound].
func (s *Store) PutGroup(ctx context.Context, by incident.Actor, g Group) error {
	if err := g.Validate(); err != nil {
		return err
	}
	return s.update(ctx, func(t *tx) error {
		if err := t.exec(`INSERT INTO groups (id, name, automatic, seconds) VALUES (?,?,?,?)
			ON CONFLICT (id) DO UPDATE SET name = excluded.name, automatic = excluded.automatic, seconds = excluded.seconds`,
			g.ID, g.Name, g.Automatic, int64(g.Sounds.Seconds())); err != nil {
			return err
		}
		if err := t.exec(`DELETE FROM members WHERE group_id = ?`, g.ID); err != nil {
			return err
		}
		for _, id := range g.Devices {
			d, err := t.device(id)
			if err != nil {
				return err
			}
			if d.kind != AlarmBox {
				return &GroupError{g.ID, "devices", id, "alarm boxes", "group_not_box"}
			}
			var other string
			if found, err := t.row(`SELECT group_id FROM members WHERE device = ?`, []any{d.num}, []any{&other}); err != nil || found {
				if err == nil {
					err = &GroupError{g.ID, "devices", id, "one of no other group: it is in " + strconv.Quote(other), "group_other"}
				}
				return err
			}
			if err := t.exec(`INSERT INTO members (device, group_id) VALUES (?, ?)`, d.num, g.ID); err != nil {
				return err
			}
		}
		t.change(Change{Kind: GroupChanged})
		return t.did(by, "group_put", "group/"+g.ID, strings.Join(g.Devices, " "))
	})
}

// DropGroup takes a group away. The error wraps [ErrNotFound].
func (s *Store) DropGroup(ctx context.Context, by incident.Actor, id string) error {
	return s.update(ctx, func(t *tx) error {
		r, err := t.run(`DELETE FROM groups WHERE id = ?`, id)
		if err != nil {
			return err
		}
		if n, err := r.RowsAffected(); err != nil || n == 0 {
			return errors.Join(err, fmt.Errorf("%w: group %q", ErrNotFound, id))
		}
		t.change(Change{Kind: GroupChanged})
		return t.did(by, "group_dropped", "group/"+id, "")
	})
}

// Groups returns all groups by id.
func (s *Store) Groups(ctx context.Context) ([]Group, error) {
	rows, err := s.query(ctx, `SELECT g.id, g.name, g.automatic, g.seconds, coalesce(d.id, '') FROM groups g
		LEFT JOIN members m ON m.group_id = g.id LEFT JOIN devices d ON d.device = m.device ORDER BY g.id, d.id`)
	if err != nil {
		return nil, err
	}
	var out []Group
	return out, each(rows, func(scan func(...any) error) (bool, error) {
		var g Group
		var seconds int64
		var device string
		err := scan(&g.ID, &g.Name, &g.Automatic, &seconds, &device)
		g.Sounds = time.Duration(seconds) * time.Second
		if len(out) == 0 || out[len(out)-1].ID != g.ID {
			out = append(out, g)
		}
		if last := &out[len(out)-1]; device != "" {
			last.Devices = append(last.Devices, device)
		}
		return true, err
	})
}

// group returns the group of a device and the numbers and ids of its other
// devices; found is false when it is in none.
func (t *tx) group(device int64) (g Group, others map[int64]string, found bool, err error) {
	var seconds int64
	found, err = t.row(`SELECT g.id, g.name, g.automatic, g.seconds FROM members m JOIN groups g ON g.id = m.group_id WHERE m.device = ?`,
		[]any{device}, []any{&g.ID, &g.Name, &g.Automatic, &seconds})
	if err != nil || !found {
		return g, nil, false, err
	}
	g.Sounds = time.Duration(seconds) * time.Second
	others = make(map[int64]string)
	return g, others, true, t.rows(`SELECT d.device, d.id FROM members m JOIN devices d ON d.device = m.device
		WHERE m.group_id = ? AND m.device <> ? ORDER BY d.id`, []any{g.ID, device}, func(scan func(...any) error) (bool, error) {
		var num int64
		var id string
		err := scan(&num, &id)
		others[num] = id
		return true, err
	})
}

// maySound reports whether an incident may be heard at other boxes: nothing of
// a silent alarm may.
func (r *record) maySound() bool {
	return r.Kind.Pressed() && !r.Silent && r.Kind != incident.KindOf(wire.Duress)
}

// soundAtOnce has the others of the group sound for a new incident, if that is
// their setting.
func (t *tx) soundAtOnce(r *record) error {
	if r.key.device == 0 || !r.maySound() {
		return nil
	}
	g, others, found, err := t.group(r.key.device)
	if err != nil || !found || !g.Automatic {
		return err
	}
	return t.soundOn(r, incident.Actor{Name: "centre", Screen: incident.ScreenCentre}, g, others)
}

func (t *tx) soundOn(r *record, by incident.Actor, g Group, others map[int64]string) error {
	for num, id := range others {
		if err := t.exec(`INSERT INTO sounds (incident, device, rev, on_, until, asked_at) VALUES (?,?,1,1,?,?)
			ON CONFLICT (incident, device) DO UPDATE SET rev = rev + 1, on_ = 1, until = excluded.until, why = ''`,
			r.ID, num, t.at.Add(g.Sounds).UnixMilli(), t.at.UnixMilli()); err != nil {
			return err
		}
		t.change(Change{Kind: NoticeChanged, Device: id})
	}
	r.Timeline = append(r.Timeline, incident.Entry{
		At: t.at, What: incident.WhatSoundAsked, By: by.Name, Detail: fmt.Sprintf("%d boxes of %s, for %s", len(others), g.Name, g.Sounds),
		Screen: by.Screen, Where: by.Where,
	})
	t.touch(r)
	return nil
}

// soundOff has the boxes stop that sound for an incident.
func (t *tx) soundOff(r *record) error {
	var devices []string
	if err := t.rows(`SELECT d.id FROM sounds s JOIN devices d ON d.device = s.device WHERE s.incident = ? AND s.on_`, []any{r.ID},
		func(scan func(...any) error) (bool, error) {
			var id string
			err := scan(&id)
			devices = append(devices, id)
			return true, err
		}); err != nil || len(devices) == 0 {
		return err
	}
	for _, id := range devices {
		t.change(Change{Kind: NoticeChanged, Device: id})
	}
	return t.exec(`UPDATE sounds SET rev = rev + 1, on_ = 0, until = 0 WHERE incident = ? AND on_`, r.ID)
}

// ErrSound means that the boxes of a group cannot be let sound; the error is a
// *[SoundError].
var ErrSound = errors.New("the others cannot sound for it")

// A SoundError says why the boxes of a group cannot be let sound.
type SoundError struct {
	Code     string // "sound_closed", "sound_silent" or "sound_no_group"
	Incident int64
	Device   string
}

// SoundCodes lists the codes of a [SoundError].
func SoundCodes() []string { return []string{"sound_closed", "sound_silent", "sound_no_group"} }

// Error says it in words.
func (e *SoundError) Error() string {
	why := fmt.Sprintf("device %s is in no group", e.Device)
	switch e.Code {
	case "sound_closed":
		why = fmt.Sprintf("incident %d is closed", e.Incident)
	case "sound_silent":
		why = fmt.Sprintf("incident %d is silent, or nobody pressed a button", e.Incident)
	}
	return ErrSound.Error() + ": " + why
}

// Unwrap returns [ErrSound].
func (e *SoundError) Unwrap() error { return ErrSound }

// Sound has the other boxes of an incident's group sound, or stop. The error
// wraps [ErrNotFound] or [ErrSound].
func (s *Store) Sound(ctx context.Context, id int64, by incident.Actor, on bool) (*incident.Incident, error) {
	err := s.update(ctx, func(t *tx) error {
		r, err := t.byID(id)
		if err != nil {
			return err
		}
		if !on {
			if err := t.soundOff(r); err != nil {
				return err
			}
			r.Timeline = append(r.Timeline, incident.Entry{At: t.at, What: incident.WhatSoundOff, By: by.Name, Screen: by.Screen, Where: by.Where})
			t.touch(r)
			return nil
		}
		g, others, found, err := t.group(r.key.device)
		switch {
		case err != nil:
			return err
		case r.State == incident.Closed:
			return &SoundError{"sound_closed", id, r.Device}
		case !r.maySound():
			return &SoundError{"sound_silent", id, r.Device}
		case !found:
			return &SoundError{"sound_no_group", id, r.Device}
		}
		return t.soundOn(r, by, g, others)
	})
	if err != nil {
		return nil, err
	}
	return s.Incident(ctx, id)
}

// sounded takes that a box sounds for another one's alarm, has stopped, or
// cannot.
func (t *tx) sounded(a *Arrival, d *device, st *stream, b *wire.Sounded, row int64) error {
	r, err := t.incident(`WHERE d.id = ? AND i.alarm = ? ORDER BY i.incident DESC LIMIT 1`, b.Device, b.Alarm[:])
	if err != nil || r == nil { // its alarm has not come yet, or never will
		return err
	}
	if err := t.belongs(r.ID, row); err != nil {
		return err
	}
	what, detail := incident.WhatSounded, "over the centre"
	if b.By == wire.SoundedByGroup {
		detail = "over the neighbours' own network"
	}
	switch {
	case b.Why != "":
		what, detail = incident.WhatNotSounded, b.Why
	case !b.On:
		what = incident.WhatSoundOff
	}
	if err := t.exec(`INSERT INTO sounds (incident, device, rev, on_, until, asked_at) VALUES (?,?,0,0,0,?) ON CONFLICT DO NOTHING`,
		r.ID, d.num, a.Received.UnixMilli()); err != nil {
		return err
	}
	at := a.Received.UnixMilli()
	given, err := t.when(st, a)
	if err != nil {
		return err
	}
	if err := t.exec(`UPDATE sounds SET answered = max(answered, ?1), why = CASE WHEN ?1 >= answered THEN ?2 ELSE why END,
		sounded_at = CASE WHEN ?3 THEN coalesce(sounded_at, ?4) ELSE sounded_at END,
		sounded_when = CASE WHEN ?3 THEN coalesce(sounded_when, ?7) ELSE sounded_when END,
		stopped_at = CASE WHEN ?3 THEN NULL WHEN sounded_at IS NOT NULL THEN ?4 ELSE stopped_at END
		WHERE incident = ?5 AND device = ?6`,
		int64(min(b.Rev, 1<<62)), b.Why, b.On, at, r.ID, d.num, given.UnixMilli()); err != nil {
		return err
	}
	r.Timeline = append(r.Timeline, incident.Entry{At: a.Received, What: what, By: d.id, Detail: detail, Screen: incident.ScreenDevice})
	t.touch(r)
	t.change(Change{Kind: NoticeChanged, Device: d.id})
	return nil
}

// A Sounding is what became of one box that was to sound for another.
type Sounding struct {
	Device, Name string
	On           bool
	Until        time.Time
	Asked        time.Time
	Sounded      time.Time // first; zero: it has not said so
	Stopped      time.Time
	Why          string // it cannot
}

// Soundings returns what became of the boxes that were to sound for an
// incident, by device.
func (s *Store) Soundings(ctx context.Context, id int64) ([]Sounding, error) {
	rows, err := s.query(ctx, `SELECT d.id, d.name, s.on_, s.until, s.asked_at, s.sounded_at, s.stopped_at, s.why
		FROM sounds s JOIN devices d ON d.device = s.device WHERE s.incident = ? ORDER BY d.id`, id)
	if err != nil {
		return nil, err
	}
	var out []Sounding
	return out, each(rows, func(scan func(...any) error) (bool, error) {
		var x Sounding
		var until, asked, sounded, stopped sql.NullInt64
		err := scan(&x.Device, &x.Name, &x.On, &until, &asked, &sounded, &stopped, &x.Why)
		if until.Valid = until.Int64 != 0; until.Valid {
			x.Until = fromMillis(until)
		}
		x.Asked, x.Sounded, x.Stopped = fromMillis(asked), fromMillis(sounded), fromMillis(stopped)
		out = append(out, x)
		return true, err
	})
}

func (s *Store) sounds(ctx context.Context, device string, out *[]Level) error {
	rows, err := s.query(ctx, `SELECT d.id, s.rev, s.on_, s.until, s.asked_at, i.alarm, i.kind, i.drill, o.id, o.name
		FROM sounds s JOIN devices d ON d.device = s.device JOIN incidents i ON i.incident = s.incident JOIN devices o ON o.device = i.device
		WHERE s.answered < s.rev AND (NOT s.on_ OR s.until > ?2) AND (?1 = '' OR d.id = ?1) ORDER BY s.incident`, device, s.now().UnixMilli())
	if err != nil {
		return err
	}
	return each(rows, func(scan func(...any) error) (bool, error) {
		l := Level{}
		b := new(wire.Sound)
		var alarm []byte
		var since sql.NullInt64
		var kind incident.Kind
		err := scan(&l.Device, &b.Rev, &b.On, &b.Until, &since, &alarm, &kind, &b.Drill, &b.Device, &b.Name)
		b.Alarm, b.Name, b.Kind = wire.AlarmID(alarm), clip(b.Name, 64), wireKind(kind)
		l.Key, l.Rev, l.Body, l.Since = "sound/"+b.Alarm.String(), b.Rev, b, fromMillis(since)
		*out = append(*out, l)
		return true, err
	})
}

// wireKind is the inverse of [incident.KindOf].
func wireKind(k incident.Kind) wire.AlarmKind {
	if kind, err := wire.ParseAlarmKind(string(k)); err == nil {
		return kind
	}
	var n uint64
	if _, err := fmt.Sscanf(string(k), "kind(%d)", &n); err == nil && n > 0 {
		return wire.AlarmKind(n)
	}
	return wire.Panic
}
