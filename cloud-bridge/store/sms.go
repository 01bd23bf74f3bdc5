package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/fengsui/fengsui/cloud-bridge/incident"
	"github.com/fengsui/fengsui/firmware/wire"
)

// The routes of an SMS.
const (
	RouteModem   = "modem"   // of the centre itself
	RouteWebhook = "webhook" // a gateway that calls it
)

// A Text is a verified alarm that came by SMS.
type Text struct {
	Alarm    *wire.SMSAlarm
	Message  []byte // as the device signed it
	Sender   string // its number, as the network gave it
	Route    string // one of the constants above
	Received time.Time
}

// A Texted says what a text did.
type Texted struct {
	Fresh  bool // it had not come before
	Answer wire.SMSAnswer
}

// Text stores an alarm that came by SMS in one transaction, durably, and
// returns the answer to it, which is true then. It opens the alarm's incident,
// or joins the one that is there; the event of the same press, which may have
// come before or comes later, joins the same one. Neither a stream nor a gap
// follows from a text: it is no event. The error wraps [ErrNotFound] when the
// device is not registered.
func (s *Store) Text(ctx context.Context, x Text) (Texted, error) {
	done := Texted{Answer: wire.SMSAnswer{Device: x.Alarm.Device, Alarm: x.Alarm.Alarm, Press: x.Alarm.Press}}
	err := s.update(ctx, func(t *tx) error {
		d, err := t.device(x.Alarm.Device)
		if err != nil {
			return err
		}
		if done.Fresh, err = t.keepText(d, &x); err != nil {
			return err
		}
		if done.Fresh {
			if err := t.texted(d, &x); err != nil {
				return err
			}
			if err := t.redate(); err != nil {
				return err
			}
		}
		r, err := t.alarm(d, x.Alarm.Alarm)
		if err != nil || r == nil {
			return err
		}
		done.Answer.CentreTime = t.at.UnixMilli()
		if state, ok := r.State.Notice(); ok {
			done.Answer.State, done.Answer.Rev = state, r.Rev
			if r.Dispatched != nil {
				done.Answer.Unit = r.Dispatched.Unit
			}
		}
		return nil
	})
	if err != nil {
		return Texted{}, fmt.Errorf("SMS of %s: %w", x.Alarm.Device, err)
	}
	return done, nil
}

// keepText keeps a text, unless it is kept already.
func (t *tx) keepText(d *device, x *Text) (fresh bool, err error) {
	a := x.Alarm
	var times int64
	_, err = t.row(`INSERT INTO texts (device, alarm, press, stream, seq, received_at, sender, route, message) VALUES (?,?,?,?,?,?,?,?,?)
		ON CONFLICT (device, alarm, press, stream, seq) DO UPDATE SET times = times + 1, sender = excluded.sender, route = excluded.route
		RETURNING times`,
		[]any{d.num, a.Alarm[:], int64(a.Press), a.Stream[:], int64(a.Seq), x.Received.UnixMilli(), x.Sender, x.Route, x.Message},
		[]any{&times})
	return times == 1, err
}

// texted draws the consequences of a text that has not come before.
func (t *tx) texted(d *device, x *Text) error {
	e := x.Alarm.Event()
	b := e.Body.(*wire.AlarmRaised)
	// A stream that only a text has told of is none yet: no numbers are awaited
	// of it.
	var stream int64
	if _, err := t.row(`SELECT stream FROM streams WHERE device = ? AND id = ?`, []any{d.num, e.Stream[:]}, []any{&stream}); err != nil {
		return err
	}
	var stored int
	if stream != 0 {
		if _, err := t.row(`SELECT count(*) FROM events WHERE device = ? AND stream = ? AND lane = ? AND seq = ? AND alarm = ?`,
			[]any{d.num, stream, wire.Alarm, int64(e.Seq), b.Alarm[:]}, []any{&stored}); err != nil {
			return err
		}
	}
	r, err := t.alarm(d, b.Alarm)
	if err != nil {
		return err
	}
	if r != nil && stored > 0 { // the press is known, all of it
		r.text(x.Received)
		r.Texted(x.Received, b.Press)
		t.touch(r)
		return nil
	}
	at := order{stream, int64(e.Seq)}
	return t.press(&Arrival{Event: e, Received: x.Received}, d, at, b, true)
}

// text notes that something of the incident came by SMS.
func (r *record) text(at time.Time) {
	if r.SMS == nil {
		r.SMS = &incident.SMS{At: at}
	}
	r.SMS.Only = r.pressSMS != 0
}

// wasTexted reports whether a press came by SMS before.
func (t *tx) wasTexted(d *device, b *wire.AlarmRaised) (bool, error) {
	var n int
	_, err := t.row(`SELECT count(*) FROM texts WHERE device = ? AND alarm = ? AND press = ?`,
		[]any{d.num, b.Alarm[:], int64(min(b.Press, 1<<16-1))}, []any{&n})
	return n > 0, err
}

// A PendingText is a notice that its device has not answered, of an alarm that
// came by SMS: where the SMS came from is where the notice may go as well.
type PendingText struct {
	PendingNotice
	Press         uint64 // the highest that came by SMS
	Sender, Route string // of the newest text
}

// PendingTexts returns the notices that may go by SMS.
func (s *Store) PendingTexts(ctx context.Context) ([]PendingText, error) {
	rows, err := s.query(ctx, `SELECT d.id, n.alarm, n.rev, n.state, n.unit, n.since, x.press, x.sender, x.route
		FROM notices n JOIN devices d ON d.device = n.device
		JOIN texts x ON x.text = (SELECT text FROM texts WHERE device = n.device AND alarm = n.alarm ORDER BY press DESC, text DESC LIMIT 1)
		ORDER BY n.incident`)
	if err != nil {
		return nil, err
	}
	var out []PendingText
	err = each(rows, func(scan func(...any) error) (bool, error) {
		var p PendingText
		var alarm []byte
		var since sql.NullInt64
		if err := scan(&p.Device, &alarm, &p.Notice.Rev, &p.Notice.State, &p.Notice.Unit, &since, &p.Press, &p.Sender, &p.Route); err != nil {
			return false, err
		}
		p.Notice.Alarm, p.Since = wire.AlarmID(alarm), fromMillis(since)
		out = append(out, p)
		return true, nil
	})
	return out, err
}

// Tags returns the registered devices by the tags that stand for them in an
// SMS. Two of one tag are both there.
func (s *Store) Tags(ctx context.Context) (map[wire.SMSTag][]string, error) {
	rows, err := s.query(ctx, `SELECT id FROM devices ORDER BY id`)
	if err != nil {
		return nil, err
	}
	tags := make(map[wire.SMSTag][]string)
	err = each(rows, func(scan func(...any) error) (bool, error) {
		var id string
		err := scan(&id)
		tag := wire.SMSTagOf(id)
		tags[tag] = append(tags[tag], id)
		return true, err
	})
	return tags, err
}
