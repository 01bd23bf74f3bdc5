package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"fmt"
	"time"

	"github.com/fengsui/fengsui/cloud-bridge/incident"
	"github.com/fengsui/fengsui/firmware/wire"
)

// An Attachment is a file of a unit. It is kept once for each device that sent
// it, and belongs to every incident that an event of the device names it for.
type Attachment struct {
	ID        wire.Hash // the first half of Whole
	Device    string
	Whole     []byte // SHA-256
	Size      int64
	MIME      string  // as the device said: believe nothing of it
	Incidents []int64 // from [Store.Attachment] only: whose it is; none: of none
	State     string  // one of the constants below
	Parts     int     // that are here
	Count     int     // of all
	At        time.Time
}

// The states of an attachment.
const (
	AttachmentComing  = "coming"  // parts are missing
	AttachmentWhole   = "whole"   // all are here, and are what the device signed
	AttachmentDamaged = "damaged" // all are here, and are not what they should be
)

// part takes a part of a file.
func (t *tx) part(a *Arrival, d *device, b *wire.AttachmentPart, row int64) error {
	var num, size, count int64
	var state string
	find := func() (bool, error) {
		return t.row(`SELECT attachment, size, count, state FROM attachments WHERE device = ? AND whole = ?`,
			[]any{d.num, b.Whole}, []any{&num, &size, &count, &state})
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
	if err := t.named(a, d, int64(b.Incident), b.ID()); err != nil {
		return err
	}
	if state != AttachmentComing || size != int64(b.Size) || count != int64(b.Count) {
		return nil // the file is here, or is cut into other parts: the first cut counts
	}
	if err := t.exec(`INSERT INTO attachment_parts (attachment, part, event) VALUES (?,?,?) ON CONFLICT DO NOTHING`,
		num, int64(b.Index), row); err != nil {
		return err
	}
	id := b.ID()
	if err := t.exec(`INSERT INTO incident_events (incident, event) SELECT incident, ?1 FROM attachment_names WHERE device = ?2 AND id = ?3
		ON CONFLICT DO NOTHING`, row, d.num, id[:]); err != nil {
		return err
	}
	var have int64
	if _, err := t.row(`SELECT count(*) FROM attachment_parts WHERE attachment = ?`, []any{num}, []any{&have}); err != nil || have < count {
		return err
	}
	return t.joinParts(a, d, b, num)
}

// joinParts judges a file whose parts are all here, and tells its incidents.
func (t *tx) joinParts(a *Arrival, d *device, b *wire.AttachmentPart, num int64) error {
	body, err := readParts(t.rows, num)
	if err != nil {
		return err
	}
	state := AttachmentWhole
	if !sound(body, b.Whole) {
		state = AttachmentDamaged
	}
	if err := t.exec(`UPDATE attachments SET state = ?, at = ? WHERE attachment = ?`, state, a.Received.UnixMilli(), num); err != nil {
		return err
	}
	file := b.ID()
	var ids []int64
	if err := t.rows(`SELECT incident FROM attachment_names WHERE device = ? AND id = ?`, []any{d.num, file[:]}, func(scan func(...any) error) (bool, error) {
		var id int64
		err := scan(&id)
		ids = append(ids, id)
		return true, err
	}); err != nil {
		return err
	}
	for _, id := range ids {
		r, err := t.byID(id)
		if err != nil {
			return err
		}
		t.hasFile(r, a, file, state, int64(len(body)))
	}
	return nil
}

// hasFile tells in an incident's history that a file of it is here.
func (t *tx) hasFile(r *record, a *Arrival, file wire.Hash, state string, size int64) {
	r.Timeline = append(r.Timeline, incident.Entry{
		At: a.Received, What: incident.WhatAttachment, By: whoAt(a.Event), Detail: fmt.Sprintf("%s %s, %d bytes", file, state, size),
		Screen: incident.ScreenUnit,
	})
	t.touch(r)
}

// named notes that an event of a device names a file for an incident. The file
// may have come already, for another incident, may be on its way, or come later.
func (t *tx) named(a *Arrival, d *device, id int64, file wire.Hash) error {
	if id == 0 {
		return nil
	}
	r, err := t.incident(`WHERE i.incident = ?`, id)
	if err != nil || r == nil { // of a centre that had another database
		return err
	}
	res, err := t.run(`INSERT INTO attachment_names (incident, device, id) VALUES (?,?,?) ON CONFLICT DO NOTHING`, id, d.num, file[:])
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return err
	}
	if err := t.exec(`INSERT INTO incident_events (incident, event) SELECT ?1, p.event FROM attachments t
		JOIN attachment_parts p ON p.attachment = t.attachment WHERE t.device = ?2 AND substr(t.whole, 1, 16) = ?3 ON CONFLICT DO NOTHING`,
		id, d.num, file[:]); err != nil {
		return err
	}
	var state string
	var size int64
	found, err := t.row(`SELECT state, size FROM attachments WHERE device = ? AND substr(whole, 1, 16) = ?`, []any{d.num, file[:]}, []any{&state, &size})
	if err == nil && found && state != AttachmentComing {
		t.hasFile(r, a, file, state, size)
	}
	return err
}

// readParts puts a file together from the events that brought it.
func readParts(rows func(text string, args []any, f func(func(...any) error) (bool, error)) error, attachment int64) ([]byte, error) {
	var body []byte
	return body, rows(`SELECT e.message FROM attachment_parts p JOIN events e ON e.event = p.event WHERE p.attachment = ? ORDER BY p.part`,
		[]any{attachment}, func(scan func(...any) error) (bool, error) {
			var msg []byte
			if err := scan(&msg); err != nil {
				return false, err
			}
			e, err := wire.Peek(msg)
			if err != nil {
				return false, err
			}
			b, ok := e.Body.(*wire.AttachmentPart)
			if !ok {
				return false, fmt.Errorf("event %d is no part of a file", e.Seq)
			}
			body = append(body, b.Bytes...)
			return true, nil
		})
}

// sound reports whether a file is what its hash says.
func sound(body, whole []byte) bool {
	sum := sha256.Sum256(body)
	return bytes.Equal(sum[:], whole)
}

const attachmentQuery = `SELECT t.attachment, d.id, t.whole, t.size, t.count, t.mime, t.state, t.at,
	(SELECT count(*) FROM attachment_parts p WHERE p.attachment = t.attachment)
	FROM attachments t JOIN devices d ON d.device = t.device `

func scanAttachment(scan func(...any) error) (a Attachment, num int64, err error) {
	var at sql.NullInt64
	err = scan(&num, &a.Device, &a.Whole, &a.Size, &a.Count, &a.MIME, &a.State, &at, &a.Parts)
	a.At = fromMillis(at)
	copy(a.ID[:], a.Whole)
	return a, num, err
}

// Attachments returns the files that belong to an incident, in the order of
// their coming.
func (s *Store) Attachments(ctx context.Context, id int64) ([]Attachment, error) {
	rows, err := s.query(ctx, attachmentQuery+`JOIN attachment_names n ON n.device = t.device AND n.id = substr(t.whole, 1, 16)
		WHERE n.incident = ? ORDER BY t.attachment`, id)
	if err != nil {
		return nil, err
	}
	var out []Attachment
	return out, each(rows, func(scan func(...any) error) (bool, error) {
		a, _, err := scanAttachment(scan)
		out = append(out, a)
		return true, err
	})
}

// Attachment returns a file that is here as a whole, with its bytes. The error
// wraps [ErrNotFound] when it is not, or not yet.
func (s *Store) Attachment(ctx context.Context, id wire.Hash) (*Attachment, []byte, error) {
	rows, err := s.query(ctx, attachmentQuery+`WHERE substr(t.whole, 1, 16) = ? AND t.state = ? LIMIT 1`, id[:], AttachmentWhole)
	if err != nil {
		return nil, nil, err
	}
	var found *Attachment
	var num int64
	if err := each(rows, func(scan func(...any) error) (bool, error) {
		a, n, err := scanAttachment(scan)
		found, num = &a, n
		return false, err
	}); err != nil {
		return nil, nil, err
	}
	if found == nil {
		return nil, nil, fmt.Errorf("%w: attachment %s", ErrNotFound, id)
	}
	rows, err = s.query(ctx, `SELECT DISTINCT incident FROM attachment_names WHERE id = ? ORDER BY incident`, id[:])
	if err != nil {
		return nil, nil, err
	}
	if err := each(rows, func(scan func(...any) error) (bool, error) {
		var i int64
		err := scan(&i)
		found.Incidents = append(found.Incidents, i)
		return true, err
	}); err != nil {
		return nil, nil, err
	}
	body, err := readParts(func(text string, args []any, f func(func(...any) error) (bool, error)) error {
		rows, err := s.query(ctx, text, args...)
		if err != nil {
			return err
		}
		return each(rows, f)
	}, num)
	return found, body, err
}
