package store

import (
	"database/sql"
	"errors"
	"slices"
	"time"

	"github.com/fengsui/fengsui/cloud-bridge/incident"
	"github.com/fengsui/fengsui/firmware/wire"
)

// saying is when something was said at a device that others depend on: an
// answer, a note, or somebody's coming by on a guard round.
type saying struct {
	ref      int64
	boot     uint64
	mono     time.Duration
	told     wire.Wall // by the device
	received time.Time

	given  time.Time // as well as is known; zero: nothing tells
	within time.Duration

	incident int64 // 0: of none
	event    int64 // of a check-in; else 0
}

// at is when it was, or when it came.
func (s *saying) at(received time.Time) time.Time {
	if s.given.IsZero() || s.given.After(received) {
		return received
	}
	return s.given
}

// date dates it by what is known of its stream's boots. It reports whether that
// is something else than before, and whether it may become better.
func (s *saying) date(b *boots) (changed, doubt bool) {
	m := b.moment(s.boot, s.mono, s.told, s.received)
	given := fromMillis(sql.NullInt64{Int64: m.Time.UnixMilli(), Valid: !m.Time.IsZero()})
	within := time.Duration(m.Uncertainty.Milliseconds()) * time.Millisecond
	if given.IsZero() {
		within = 0
	}
	changed = !given.Equal(s.given) || within != s.within
	s.given, s.within = given, within
	return changed, doubted(m)
}

// say keeps when an event was, as well as is known now, so that it can be dated
// anew: it belongs to an incident, or is a check-in.
func (t *tx) say(st *stream, a *Arrival, incident, event int64) (*saying, error) {
	all, err := readBoots(t.rows, `c.stream = ?1`, `own.stream = ?1`, st.num)
	if err != nil {
		return nil, err
	}
	e := a.Event
	s := &saying{boot: e.Boot, mono: e.Mono, told: e.Wall, received: a.Received, incident: incident, event: event}
	_, doubt := s.date(all[st.num])
	res, err := t.run(`INSERT INTO said (stream, boot, mono, told_at, told_source, told_uncert, received, given, within, doubted, incident, event)
		VALUES (?,?,?,?,?,?,?,?,?,?,nullif(?, 0),nullif(?, 0))`,
		st.num, int64(s.boot), s.mono.Milliseconds(), s.told.UnixMilli, s.told.Source, s.told.Uncertainty.Milliseconds(),
		s.received.UnixMilli(), millis(s.given), s.within.Milliseconds(), doubt, incident, event)
	if err != nil {
		return nil, err
	}
	s.ref, err = res.LastInsertId()
	return s, err
}

// when returns when an event happened, as well as is known now; its arrival
// when nothing is.
func (t *tx) when(st *stream, a *Arrival) (time.Time, error) {
	all, err := readBoots(t.rows, `c.stream = ?1`, `own.stream = ?1`, st.num)
	s := saying{boot: a.Event.Boot, mono: a.Event.Mono, told: a.Event.Wall, received: a.Received}
	s.date(all[st.num])
	return s.at(a.Received), err
}

// saying reads one.
func (t *tx) saying(ref int64) (*saying, error) {
	s := &saying{ref: ref}
	var mono, uncert, within int64
	var received, given sql.NullInt64
	_, err := t.row(`SELECT boot, mono, told_at, told_source, told_uncert, received, given, within, coalesce(incident, 0), coalesce(event, 0)
		FROM said WHERE said = ?`, []any{ref}, []any{
		&s.boot, &mono, &s.told.UnixMilli, &s.told.Source, &uncert, &received, &given, &within, &s.incident, &s.event,
	})
	s.mono, s.told.Uncertainty = time.Duration(mono)*time.Millisecond, time.Duration(uncert)*time.Millisecond
	s.received, s.given, s.within = fromMillis(received), fromMillis(given), time.Duration(within)*time.Millisecond
	return s, err
}

// redateSaying dates one anew, and what depends on it.
func (t *tx) redateSaying(ref int64, b *boots) error {
	s, err := t.saying(ref)
	if err != nil {
		return err
	}
	was := s.at(s.received)
	changed, doubt := s.date(b)
	if err := t.exec(`UPDATE said SET given = ?, within = ?, doubted = ? WHERE said = ?`,
		millis(s.given), s.within.Milliseconds(), doubt, ref); err != nil || !changed {
		return err
	}
	if s.event != 0 {
		return t.redateCheckIn(s, was)
	}
	r, err := t.byID(s.incident)
	if err != nil {
		return err
	}
	line := incident.Redating{Ref: ref, Told: s.given, Within: s.within}
	var given sql.NullInt64
	if _, err := t.row(`SELECT what, by, given FROM timeline WHERE said = ?`, []any{ref}, []any{&line.What, &line.By, &given}); err != nil {
		return err
	}
	line.Was = fromMillis(given)
	r.Redate(line, s.received, t.at)
	t.touch(r)
	return nil
}

// redateCheckIn moves a check-in to when it was, and what follows for the
// rounds.
func (t *tx) redateCheckIn(s *saying, was time.Time) error {
	at := s.at(s.received)
	if at.Equal(was) {
		return nil
	}
	var id, officer string
	if _, err := t.row(`SELECT d.id, c.officer FROM check_ins c JOIN devices d ON d.device = c.device WHERE c.event = ?`,
		[]any{s.event}, []any{&id, &officer}); err != nil {
		return err
	}
	if err := t.exec(`UPDATE check_ins SET at = ? WHERE event = ?`, at.UnixMilli(), s.event); err != nil {
		return err
	}
	r := incident.Redating{What: "check_in", By: id, Was: was, At: at, Told: s.given, Within: s.within}
	if officer != "" {
		r.By += " by " + officer
	}
	e, _ := r.Entry(t.at)
	t.change(Change{Kind: RoundChanged, Device: id})
	if err := t.did(incident.Actor{Name: e.By, Screen: e.Screen}, e.What, "device/"+id, e.Detail); err != nil {
		return err
	}
	t.later = append(t.later, func() error { // once all of them have moved
		return errors.Join(t.note(was.Add(-2*reach), was.Add(reach)), t.note(at.Add(-2*reach), at.Add(reach)))
	})
	return nil
}

// redatings puts what has moved of an incident's record where it was: in the
// timeline, and beside it in the audit record, which is never changed.
func (t *tx) redatings(r *record) error {
	var moved []incident.Redating // each once, by all that the transaction has brought
	for _, m := range r.Redatings {
		n := slices.IndexFunc(moved, func(o incident.Redating) bool { return o.Ref == m.Ref && o.What == m.What })
		if n < 0 {
			moved = append(moved, m)
			continue
		}
		m.Was = moved[n].Was
		moved[n] = m
	}
	r.Redatings = nil
	fresh := len(r.Timeline)
	for n := range moved {
		m := &moved[n]
		if m.At.Equal(m.Was) && !m.At.IsZero() {
			continue
		}
		pending := false
		for k := r.logged; k < fresh; k++ {
			if e := &r.Timeline[k]; m.Ref != 0 && e.Ref == m.Ref { // nobody has seen it yet
				e.Given, pending = m.At, true
			}
		}
		e, worth := m.Entry(t.at)
		switch {
		case pending && !m.At.IsZero():
			continue
		case !pending && m.Ref != 0:
			if err := t.exec(`UPDATE timeline SET given = ? WHERE said = ?`, millis(m.At), m.Ref); err != nil {
				return err
			}
		}
		if worth {
			r.Timeline = append(r.Timeline, e)
		} else if err := t.auditEntry(r, &e); err != nil {
			return err
		}
	}
	return nil
}
