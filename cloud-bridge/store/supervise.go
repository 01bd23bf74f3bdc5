package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"fmt"
	"time"

	"github.com/fengsui/fengsui/cloud-bridge/incident"
	"github.com/fengsui/fengsui/firmware/wire"
)

// A Link says whether a device can be heard.
type Link string

// The links.
const (
	LinkNever   Link = "never"   // it was never heard
	LinkLive    Link = "live"    // it said something lately
	LinkSuspect Link = "suspect" // silent for longer than it should be
	LinkOffline Link = "offline" // silent for so long that an incident says so
	LinkUnsure  Link = "unsure"  // the centre itself could not hear, or many are silent at once
)

// A Sign is a device's last sign of life and what is made of it.
type Sign struct {
	Device    string
	Kind      DeviceKind
	Alive     time.Time // zero: never
	Link      Link
	LinkSince time.Time
}

// A LinkChange is a new link of a device. Since is its last sign of life, or
// for a live one when that came.
type LinkChange struct {
	Device string
	Kind   DeviceKind
	Link   Link
	Since  time.Time
}

// A DistrictChange says that the link of the whole district was lost, or came
// back.
type DistrictChange struct {
	Lost       bool
	Since      time.Time
	Silent, Of int // devices; 0 when it is the broker that cannot be reached
}

// A Supervision is what a judgement of the devices has changed.
type Supervision struct {
	Links    []LinkChange
	District *DistrictChange
}

// Empty reports whether nothing has changed.
func (s *Supervision) Empty() bool { return len(s.Links) == 0 && s.District == nil }

// Add adds a later one.
func (s *Supervision) Add(later Supervision) {
	s.Links = append(s.Links, later.Links...)
	if later.District != nil {
		s.District = later.District
	}
}

// Signs returns the last sign of life of each registered device, by id, and
// whether an incident that is not closed says that the district's link is lost.
// A sign of life is a hello that is younger, by boot and monotonic time, than
// all before it of its stream, or a new event that is younger than the last of
// them: what is sent again is none.
func (s *Store) Signs(ctx context.Context) (signs []Sign, district bool, err error) {
	rows, err := s.query(ctx, `SELECT id, kind, alive_at, link, link_since FROM devices ORDER BY id`)
	if err != nil {
		return nil, false, err
	}
	if err := each(rows, func(scan func(...any) error) (bool, error) {
		var d Sign
		var alive, since sql.NullInt64
		err := scan(&d.Device, &d.Kind, &alive, &d.Link, &since)
		d.Alive, d.LinkSince = fromMillis(alive), fromMillis(since)
		signs = append(signs, d)
		return true, err
	}); err != nil {
		return nil, false, err
	}
	var n int
	_, err = s.queryRow(ctx, `SELECT count(*) FROM incidents WHERE kind = ? AND state <> ?`,
		[]any{incident.DistrictLinkLost, incident.Closed}, []any{&n})
	return signs, n > 0, err
}

// Supervise keeps what has changed, and opens and closes the incidents that
// follow from it.
func (s *Store) Supervise(ctx context.Context, sv Supervision) error {
	return s.update(ctx, func(t *tx) error {
		for _, c := range sv.Links {
			d, err := t.device(c.Device)
			if err != nil {
				return err
			}
			if err := t.exec(`UPDATE devices SET link = ?, link_since = ? WHERE device = ?`, c.Link, millis(c.Since), d.num); err != nil {
				return err
			}
			t.change(Change{Kind: DeviceChanged, Device: d.id})
			if err := t.outage(d, c); err != nil {
				return err
			}
			switch c.Link {
			case LinkOffline:
				err = t.offline(d, c.Since)
			case LinkLive:
				err = t.back(d)
			}
			if err != nil {
				return err
			}
		}
		if c := sv.District; c != nil {
			return t.districtLink(c)
		}
		return nil
	})
}

// outage notes when a device could not be heard: from its last sign of life
// before it counted as offline, until it was heard again.
func (t *tx) outage(d *device, c LinkChange) error {
	switch c.Link {
	case LinkOffline:
		return t.exec(`INSERT INTO outages (device, from_) SELECT ?1, ?2 WHERE NOT EXISTS
			(SELECT 1 FROM outages WHERE device = ?1 AND to_ IS NULL) ON CONFLICT DO NOTHING`, d.num, c.Since.UnixMilli())
	case LinkLive:
		return t.exec(`UPDATE outages SET to_ = max(from_, ?) WHERE device = ? AND to_ IS NULL`, c.Since.UnixMilli(), d.num)
	}
	return nil
}

// standing finds the incident of a kind that is not closed, of a device or, for
// 0, of the district; or nil.
func (t *tx) standing(device int64, kind incident.Kind) (*record, error) {
	r, err := t.incident(`WHERE coalesce(i.device, 0) = ? AND i.kind = ? AND i.state <> ? ORDER BY i.incident DESC LIMIT 1`,
		device, kind, incident.Closed)
	if r != nil && r.State == incident.Closed { // in this transaction
		r = nil
	}
	return r, err
}

// raise opens an incident that no button has opened.
func (t *tx) raise(d *device, kind incident.Kind, priority int, since time.Time, detail string) error {
	r := &record{}
	if d != nil {
		r.key.device, r.Device = d.num, d.id
		r.Position = d.place(since)
	}
	rand.Read(r.key.alarm[:])
	r.Alarm, r.Kind, r.Priority, r.Received = r.key.alarm, kind, priority, t.at
	r.Pressed = incident.Moment{Time: since, Source: wire.WallCentre, Uncertainty: helloEvery}
	r.told = wire.Wall{UnixMilli: since.UnixMilli(), Source: wire.WallCentre, Uncertainty: helloEvery}
	r.Found(t.at, detail)
	t.incidents[r.key] = r
	return t.insertIncident(r)
}

// helloEvery is how often a device with a connection says hello: what is known
// to have begun after its last sign of life began within so long.
const helloEvery = 30 * time.Second

// place is where a device is or was last, or nil.
func (d *device) place(at time.Time) *incident.Position {
	switch {
	case d.kind == AlarmBox && d.at != nil:
		return &incident.Position{Lat: d.at.Lat, Lon: d.at.Lon, Source: incident.Surveyed}
	case d.fix != nil:
		age := at.Sub(time.UnixMilli(d.fix.Time))
		return &incident.Position{Lat: d.fix.Lat(), Lon: d.fix.Lon(), Source: incident.GNSS, Age: max(age, 0)}
	}
	return nil
}

func (t *tx) offline(d *device, since time.Time) error {
	r, err := t.standing(d.num, incident.Offline)
	if err != nil {
		return err
	}
	if r != nil { // it has come and gone while people had it in hand
		r.SilentAgain(t.at)
		t.touch(r)
		return nil
	}
	priority := incident.Offline.Priority()
	if d.kind != AlarmBox {
		priority++
	}
	return t.raise(d, incident.Offline, priority, since, "")
}

func (t *tx) back(d *device) error {
	r, err := t.standing(d.num, incident.Offline)
	if err != nil || r == nil {
		return err
	}
	r.Restore(t.at)
	t.touch(r)
	return nil
}

func (t *tx) districtLink(c *DistrictChange) error {
	r, err := t.standing(0, incident.DistrictLinkLost)
	switch {
	case err != nil:
		return err
	case c.Lost && r == nil:
		detail := "the broker cannot be reached"
		if c.Silent > 0 {
			detail = fmt.Sprintf("%d of %d devices fell silent together", c.Silent, c.Of)
		}
		return t.raise(nil, incident.DistrictLinkLost, incident.DistrictLinkLost.Priority(), c.Since, detail)
	case !c.Lost && r != nil:
		r.Restore(t.at)
		t.touch(r)
	}
	return nil
}
