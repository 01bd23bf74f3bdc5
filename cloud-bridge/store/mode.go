package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/fengsui/fengsui/cloud-bridge/incident"
	"github.com/fengsui/fengsui/firmware/wire"
)

// A Drill is an exercise that a device is to take part in.
type Drill struct {
	Device string
	On     bool
	Until  time.Time // zero when it is not on
	By     string
	At     time.Time
	Told   bool // the device has said that it is in this mode
}

// SetDrill begins an exercise at devices, until a time, or ends it. All or none
// are told. The error wraps [ErrNotFound].
func (s *Store) SetDrill(ctx context.Context, by incident.Actor, devices []string, on bool, until time.Time) error {
	return s.update(ctx, func(t *tx) error {
		end := int64(0)
		if on {
			end = until.UnixMilli()
		}
		for _, id := range devices {
			d, err := t.device(id)
			if err != nil {
				return err
			}
			if err := t.exec(`INSERT INTO modes (device, rev, drill, until, by, at) VALUES (?,1,?,?,?,?)
				ON CONFLICT (device) DO UPDATE SET rev = rev + 1, drill = excluded.drill, until = excluded.until, by = excluded.by, at = excluded.at`,
				d.num, on, end, by.Name, t.at.UnixMilli()); err != nil {
				return err
			}
			t.change(Change{Kind: NoticeChanged, Device: id})
			t.change(Change{Kind: DrillChanged, Device: id})
			what, detail := "drill_ended", ""
			if on {
				what, detail = "drill_begun", "until "+until.UTC().Format(time.RFC3339)
			}
			if err := t.did(by, what, "device/"+id, detail); err != nil {
				return err
			}
		}
		return nil
	})
}

// modeSet takes that a device is in a mode.
func (t *tx) modeSet(d *device, b *wire.ModeSet) error {
	t.change(Change{Kind: NoticeChanged, Device: d.id})
	t.change(Change{Kind: DrillChanged, Device: d.id})
	return t.exec(`UPDATE modes SET answered = max(answered, ?) WHERE device = ?`, int64(min(b.Rev, 1<<62)), d.num)
}

// Drills returns the exercises that are on, and those that a device has not
// yet heard the end of.
func (s *Store) Drills(ctx context.Context) ([]Drill, error) {
	rows, err := s.query(ctx, `SELECT d.id, m.drill, m.until, m.by, m.at, m.answered >= m.rev FROM modes m JOIN devices d ON d.device = m.device
		WHERE m.drill AND m.until > ? OR NOT m.drill AND m.answered < m.rev ORDER BY d.id`, s.now().UnixMilli())
	if err != nil {
		return nil, err
	}
	var out []Drill
	return out, each(rows, func(scan func(...any) error) (bool, error) {
		var x Drill
		var until, at sql.NullInt64
		err := scan(&x.Device, &x.On, &until, &x.By, &at, &x.Told)
		if x.At = fromMillis(at); x.On {
			x.Until = fromMillis(until)
		}
		out = append(out, x)
		return true, err
	})
}

func (s *Store) modes(ctx context.Context, device string, out *[]Level) error {
	rows, err := s.query(ctx, `SELECT d.id, m.rev, m.drill, m.until, m.at FROM modes m JOIN devices d ON d.device = m.device
		WHERE m.answered < m.rev AND (NOT m.drill OR m.until > ?2) AND (?1 = '' OR d.id = ?1) ORDER BY d.id`, device, s.now().UnixMilli())
	if err != nil {
		return err
	}
	return each(rows, func(scan func(...any) error) (bool, error) {
		var l Level
		b := new(wire.Mode)
		var at sql.NullInt64
		err := scan(&l.Device, &b.Rev, &b.Drill, &b.Until, &at)
		l.Key, l.Rev, l.Body, l.Since = "mode", b.Rev, b, fromMillis(at)
		*out = append(*out, l)
		return true, err
	})
}

// An Attachment is a file of a unit.
type Attachment struct {
	ID       wire.Hash // the first half of Whole
	Device   string
	Whole    []byte // SHA-256
	Size     int64
	MIME     string // as the device said: believe nothing of it
	Incident int64  // 0: of none
	State    string // one of the constants below
	Parts    int    // that are here
	Count    int    // of all
	At       time.Time
}

// The states of an attachment.
const (
	AttachmentComing  = "coming"  // parts are missing
	AttachmentWhole   = "whole"   // all are here, and are what the device signed
	AttachmentDamaged = "damaged" // all are here, and are not what they should be
)

// part takes a part of a file.
func (t *tx) part(a *Arrival, d *device, b *wire.AttachmentPart, row int64) error {
	var num, size, count, id int64
	var state string
	find := func() (bool, error) {
		return t.row(`SELECT attachment, size, count, state, incident FROM attachments WHERE device = ? AND whole = ?`,
			[]any{d.num, b.Whole}, []any{&num, &size, &count, &state, &id})
	}
	found, err := find()
	if err != nil {
		return err
	}
	if !found {
		if err := t.exec(`INSERT INTO attachments (device, whole, size, count, mime, incident, state, at) VALUES (?,?,?,?,?,?,?,?)`,
			d.num, b.Whole, int64(b.Size), int64(b.Count), b.MIME, int64(b.Incident), AttachmentComing, a.Received.UnixMilli()); err != nil {
			return err
		}
		if _, err := find(); err != nil {
			return err
		}
	}
	if state != AttachmentComing || size != int64(b.Size) || count != int64(b.Count) {
		return nil // the file is here, or is cut into other parts: the first cut counts
	}
	if err := t.exec(`INSERT INTO attachment_parts (attachment, part, event) VALUES (?,?,?) ON CONFLICT DO NOTHING`,
		num, int64(b.Index), row); err != nil {
		return err
	}
	if id != 0 {
		var there int64
		if _, err := t.row(`SELECT count(*) FROM incidents WHERE incident = ?`, []any{id}, []any{&there}); err != nil || there == 0 {
			return err
		}
		if err := t.belongs(id, row); err != nil {
			return err
		}
	}
	var have int64
	if _, err := t.row(`SELECT count(*) FROM attachment_parts WHERE attachment = ?`, []any{num}, []any{&have}); err != nil || have < count {
		return err
	}
	return t.joinParts(a, d, b, num, id)
}

// joinParts judges a file whose parts are all here.
func (t *tx) joinParts(a *Arrival, d *device, b *wire.AttachmentPart, num, id int64) error {
	body, err := readParts(t.rows, num)
	if err != nil {
		return err
	}
	state := AttachmentWhole
	if !sound(body, b.Whole) {
		state = AttachmentDamaged
	}
	if err := t.exec(`UPDATE attachments SET state = ?, at = ? WHERE attachment = ?`, state, a.Received.UnixMilli(), num); err != nil || id == 0 {
		return err
	}
	r, err := t.byID(id)
	if err != nil {
		return err
	}
	r.Timeline = append(r.Timeline, incident.Entry{
		At: a.Received, What: incident.WhatAttachment, By: whoAt(a.Event), Detail: fmt.Sprintf("%s %s, %d bytes", b.ID(), state, len(body)),
		Screen: incident.ScreenUnit,
	})
	t.touch(r)
	return nil
}
