package store

import (
	"errors"
	"time"

	"github.com/fengsui/fengsui/cloud-bridge/incident"
	"github.com/fengsui/fengsui/firmware/wire"
)

// raised takes the event of a press.
func (t *tx) raised(a *Arrival, d *device, st *stream, b *wire.AlarmRaised) error {
	return t.press(a, d, order{st.num, int64(a.Event.Seq)}, b, false)
}

// press opens an incident for an alarm, or joins the one that is there. sms says
// that the press came by SMS, and its event has not come yet.
//
// A press that the people who closed that one cannot have known of opens
// another: the box was still latched, because the news of the closing had not
// reached it, and somebody pressed again.
func (t *tx) press(a *Arrival, d *device, at order, b *wire.AlarmRaised, sms bool) error {
	newest, err := t.alarm(d, b.Alarm)
	if err != nil {
		return err
	}
	if newest != nil {
		older, err := t.older(newest, b.Press)
		if err != nil || older {
			return errors.Join(err, t.pressOlder(a, d, newest, at, b, sms))
		}
	}
	again := newest != nil && newest.State == incident.Closed && b.Press > newest.Presses
	if newest != nil && !again {
		return t.pressAgain(a, d, newest, at, b, sms)
	}
	r := &record{key: alarmKey{d.num, b.Alarm}}
	r.Device, r.Alarm, r.Received, r.Presses = d.id, b.Alarm, a.Received, b.Press
	t.takePress(r, a, d, at, b, sms)
	r.Opened(a.Received)
	if again {
		r.Reopens(&newest.Incident)
		// The box must not be told any more to reset what was pressed again.
		if err := t.exec(`DELETE FROM notices WHERE incident = ?`, newest.ID); err != nil {
			return err
		}
		t.change(Change{Kind: NoticeChanged, Device: d.id})
		if err := t.saveIncident(newest); err != nil {
			return err
		}
		newest.changed = false
	}
	if sms {
		r.text(a.Received)
		r.Texted(a.Received, b.Press)
	}
	t.incidents[r.key] = r
	if err := t.insertIncident(r); err != nil {
		return err
	}
	if err := t.soundAtOnce(r); err != nil || again {
		return err
	}
	// What came before it through another lane, or out of order.
	return t.early(d, r)
}

// takePress lets a press say what an incident knows of its beginning.
func (t *tx) takePress(r *record, a *Arrival, d *device, at order, b *wire.AlarmRaised, sms bool) {
	r.pressedAt, r.pressSMS = at, 0
	if sms {
		r.pressSMS = b.Press
	}
	if r.SMS != nil {
		r.SMS.Only = sms
	}
	r.firstPress(a.Event, d, b)
	t.pressed(r, a.Event)
}

// pressAgain adds a press to an incident.
func (t *tx) pressAgain(a *Arrival, d *device, r *record, at order, b *wire.AlarmRaised, sms bool) error {
	if r.knowsLess(at, b.Press, sms) {
		t.takePress(r, a, d, at, b, sms)
	}
	switch known, err := t.wasTexted(d, b); {
	case err != nil:
		return err
	case sms:
		r.text(a.Received)
		r.Presses = max(r.Presses, b.Press)
		r.Texted(a.Received, b.Press)
	case known:
		r.text(a.Received)
		r.Presses = max(r.Presses, b.Press)
		r.Followed(a.Received, b.Press)
	default:
		r.Press(b.Press, a.Received)
	}
	t.touch(r)
	return nil
}

// knowsLess reports whether a press is to say what an incident knows of its
// beginning, in place of the one that does: the earliest one, and an event
// rather than an SMS.
func (r *record) knowsLess(at order, press uint64, sms bool) bool {
	switch {
	case sms:
		return press < r.pressSMS
	case r.pressSMS != 0:
		return press <= r.pressSMS
	}
	return r.pressedAt.after(at)
}

// older reports whether a press belongs to an incident of the alarm that was
// closed before the newest one was opened.
func (t *tx) older(newest *record, press uint64) (bool, error) {
	var n int
	_, err := t.row(`SELECT count(*) FROM incidents WHERE device = ? AND alarm = ? AND incident < ? AND presses >= ?`,
		[]any{newest.key.device, newest.key.alarm[:], newest.ID, int64(min(press, 1<<62))}, []any{&n})
	return n > 0, err
}

// pressOlder adds a press to the incident that it belongs to, which is not the
// newest one of its alarm.
func (t *tx) pressOlder(a *Arrival, d *device, newest *record, at order, b *wire.AlarmRaised, sms bool) error {
	// A transaction has one incident of an alarm at hand at a time.
	if err := t.saveIncident(newest); err != nil {
		return err
	}
	delete(t.incidents, newest.key)
	r, err := t.incident(`WHERE i.device = ? AND i.alarm = ? AND i.presses >= ? ORDER BY i.incident LIMIT 1`,
		newest.key.device, newest.key.alarm[:], int64(min(b.Press, 1<<62)))
	if err != nil {
		return err
	}
	if err := t.pressAgain(a, d, r, at, b, sms); err != nil {
		return err
	}
	if err := t.saveIncident(r); err != nil {
		return err
	}
	delete(t.incidents, r.key)
	return nil
}

// alarm finds the newest incident of an alarm, or nil.
func (t *tx) alarm(d *device, alarm wire.AlarmID) (*record, error) {
	if r := t.incidents[alarmKey{d.num, alarm}]; r != nil {
		return r, nil
	}
	return t.incident(`WHERE i.device = ? AND i.alarm = ? ORDER BY i.incident DESC LIMIT 1`, d.num, alarm[:])
}

// firstPress fills in what the first press says.
func (r *record) firstPress(e *wire.Event, d *device, b *wire.AlarmRaised) {
	r.Kind = incident.KindOf(b.Kind)
	r.Priority = r.Kind.Priority()
	r.Silent, r.Drill, r.Officer = b.Silent, e.Drill, e.Officer
	r.Position = nil
	switch {
	case d.kind == AlarmBox && d.at != nil:
		r.Position = &incident.Position{Lat: d.at.Lat, Lon: d.at.Lon, Source: incident.Surveyed}
	case b.Position != nil:
		p := b.Position
		r.Position = &incident.Position{
			Lat: p.Lat(), Lon: p.Lon(), Source: positionSource(p.Source), Age: time.Duration(p.AgeMs) * time.Millisecond,
			Spread: int64(p.Spread),
		}
	}
}

// positionSource returns how a device knows its position, in the centre's words.
func positionSource(s wire.PositionSource) incident.PositionSource {
	switch s {
	case wire.PositionGiven:
		return incident.Given
	case wire.PositionLearned:
		return incident.Learned
	case wire.PositionHeld:
		return incident.Held
	}
	return incident.GNSS
}

// early applies the events about an alarm that were stored before it.
func (t *tx) early(d *device, r *record) error {
	var found []Arrival
	err := t.rows(`SELECT message, received_at FROM events WHERE device = ? AND alarm = ? ORDER BY event`,
		[]any{d.num, r.key.alarm[:]}, func(scan func(...any) error) (bool, error) {
			var msg []byte
			var at int64
			if err := scan(&msg, &at); err != nil {
				return false, err
			}
			e, err := wire.Peek(msg)
			found = append(found, Arrival{e, msg, time.UnixMilli(at).UTC()})
			return true, err
		})
	if err != nil {
		return err
	}
	for i := range found {
		if _, ok := found[i].Event.Body.(*wire.AlarmRaised); !ok {
			if err := t.noted(d, r.key.alarm, &found[i]); err != nil {
				return err
			}
		}
	}
	return t.earlySounds(r)
}

// earlySounds applies what other boxes said of having sounded for an alarm,
// before it came itself.
func (t *tx) earlySounds(r *record) error {
	var found []Arrival
	var events []int64
	err := t.rows(`SELECT event, message, received_at FROM events WHERE type = 26 AND alarm = ? ORDER BY event`,
		[]any{r.key.alarm[:]}, func(scan func(...any) error) (bool, error) {
			var msg []byte
			var event, at int64
			if err := scan(&event, &msg, &at); err != nil {
				return false, err
			}
			e, err := wire.Peek(msg)
			found, events = append(found, Arrival{e, msg, time.UnixMilli(at).UTC()}), append(events, event)
			return true, err
		})
	for i := range found {
		b, ok := found[i].Event.Body.(*wire.Sounded)
		if err != nil || !ok || b.Device != r.Device {
			continue
		}
		var d *device
		var st *stream
		if d, err = t.device(found[i].Event.Device); err == nil {
			st, err = t.stream(d, found[i].Event.Stream, found[i].Received)
		}
		if err == nil {
			err = t.sounded(&found[i], d, st, b, events[i])
		}
	}
	return err
}

// noted brings what a device reports of an alarm into its incident, if there
// is one already.
func (t *tx) noted(d *device, alarm wire.AlarmID, a *Arrival) error {
	r, err := t.alarm(d, alarm)
	if err != nil || r == nil {
		return err
	}
	switch b := a.Event.Body.(type) {
	case *wire.AlarmCleared:
		by := b.By.String()
		if b.By == wire.ClearedByOfficer && b.Officer != "" {
			by = b.Officer
		}
		r.Clear(by, a.Received)
	case *wire.NoticeShown:
		r.Show(b.Rev, incident.State(b.State.String()), a.Received)
		if err := t.exec(`DELETE FROM notices WHERE incident = ? AND rev <= ?`, r.ID, int64(min(b.Rev, 1<<62))); err != nil {
			return err
		}
		t.change(Change{Kind: NoticeChanged, Device: d.id})
	}
	t.touch(r)
	return nil
}
