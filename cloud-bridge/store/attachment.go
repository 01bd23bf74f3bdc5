package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"fmt"

	"github.com/fengsui/fengsui/firmware/wire"
)

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

const attachmentQuery = `SELECT t.attachment, d.id, t.whole, t.size, t.count, t.mime, t.incident, t.state, t.at,
	(SELECT count(*) FROM attachment_parts p WHERE p.attachment = t.attachment)
	FROM attachments t JOIN devices d ON d.device = t.device `

func scanAttachment(scan func(...any) error) (a Attachment, num int64, err error) {
	var at sql.NullInt64
	err = scan(&num, &a.Device, &a.Whole, &a.Size, &a.Count, &a.MIME, &a.Incident, &a.State, &at, &a.Parts)
	a.At = fromMillis(at)
	copy(a.ID[:], a.Whole)
	return a, num, err
}

// Attachments returns the files of an incident, in the order of their coming.
func (s *Store) Attachments(ctx context.Context, id int64) ([]Attachment, error) {
	rows, err := s.query(ctx, attachmentQuery+`WHERE t.incident = ? ORDER BY t.attachment`, id)
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
	body, err := readParts(func(text string, args []any, f func(func(...any) error) (bool, error)) error {
		rows, err := s.query(ctx, text, args...)
		if err != nil {
			return err
		}
		return each(rows, f)
	}, num)
	return found, body, err
}
