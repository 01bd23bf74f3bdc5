package store

import (
	"crypto/rand"

	"github.com/fengsui/fengsui/cloud-bridge/incident"
	"github.com/fengsui/fengsui/firmware/wire"
)

// faultTamper is the code of the fault that a box reports of its contact.
const faultTamper = "tamper"

// tampered opens an incident for a box that says that somebody opens it, or
// adds to the one that is not closed.
func (t *tx) tampered(a *Arrival, d *device, st *stream, b *wire.Fault) error {
	r, err := t.standing(d.num, incident.Tamper)
	for _, now := range t.incidents { // opened in this transaction
		if now.key.device == d.num && now.Kind == incident.Tamper && now.State != incident.Closed {
			r = now
		}
	}
	switch {
	case err != nil || r == nil && !b.Active:
		return err
	case r == nil:
		return t.raiseTamper(a, d, st)
	case b.Active:
		r.Tampered(a.Received)
	default:
		r.Shut(a.Received)
	}
	t.touch(r)
	return nil
}

func (t *tx) raiseTamper(a *Arrival, d *device, st *stream) error {
	r := &record{pressedAt: order{st.num, int64(a.Event.Seq)}}
	r.key.device, r.Device = d.num, d.id
	rand.Read(r.key.alarm[:])
	r.Alarm, r.Kind, r.Priority, r.Received = r.key.alarm, incident.Tamper, incident.Tamper.Priority(), a.Received
	r.Drill, r.Position = a.Event.Drill, d.place(a.Received)
	t.pressed(r, a.Event)
	r.Tampered(a.Received)
	t.incidents[r.key] = r
	return t.insertIncident(r)
}
