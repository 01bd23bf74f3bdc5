package store

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/fengsui/fengsui/cloud-bridge/audit"
	"github.com/fengsui/fengsui/cloud-bridge/incident"
)

// subject is what the audit record calls an incident.
func subject(id int64) string { return fmt.Sprintf("incident/%d", id) }

// auditTail is the end of the record within a transaction.
type auditTail struct {
	seq  int64
	hash audit.Hash
}

// audit appends an entry; its number is filled in.
func (t *tx) audit(e audit.Entry) error {
	if t.audited == nil {
		tail := new(auditTail)
		var hash []byte
		// The sequence knows of entries that somebody may have taken out.
		if _, err := t.row(`SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1`, nil, []any{&tail.seq, &hash}); err != nil {
			return err
		}
		copy(tail.hash[:], hash)
		t.audited = tail
	}
	e.Seq = t.audited.seq + 1
	hash := audit.Next(t.audited.hash, e.Sum())
	if err := t.exec(`INSERT INTO audit (seq, at, given, who, screen, place, what, subject, detail, before, hash)
		VALUES (?,?,?,?,?,?,?,?,?,?,?)`, e.Seq, e.At, e.Given, e.Who, e.Screen, e.Where, e.What, e.Subject, e.Detail,
		t.audited.hash[:], hash[:]); err != nil {
		return err
	}
	t.audited.seq, t.audited.hash = e.Seq, hash
	return nil
}

// auditEntry appends what a line of an incident's timeline says.
func (t *tx) auditEntry(r *record, e *incident.Entry) error {
	given := int64(0)
	if !e.Given.IsZero() {
		given = e.Given.UnixMilli()
	}
	return t.audit(audit.Entry{
		At: e.At.UnixMilli(), Given: given, Who: e.By, Screen: e.Screen, Where: e.Where,
		What: e.What, Subject: subject(r.ID), Detail: e.Detail,
	})
}

// did appends what somebody at a screen has done now.
func (t *tx) did(by incident.Actor, what, subject, detail string) error {
	return t.audit(audit.Entry{
		At: t.at.UnixMilli(), Who: by.Name, Screen: by.Screen, Where: by.Where, What: what, Subject: subject, Detail: detail,
	})
}

// Audit appends an entry to the audit record: what somebody has done that is no
// step of an incident, such as "signed_in" to "account/li".
func (s *Store) Audit(ctx context.Context, by incident.Actor, what, subject, detail string) error {
	return s.update(ctx, func(t *tx) error { return t.did(by, what, subject, detail) })
}

const auditColumns = `seq, at, given, who, screen, place, what, subject, detail, before, hash`

func scanAudit(scan func(...any) error) (audit.Line, error) {
	e := new(audit.Entry)
	var before, hash []byte
	err := scan(&e.Seq, &e.At, &e.Given, &e.Who, &e.Screen, &e.Where, &e.What, &e.Subject, &e.Detail, &before, &hash)
	l := audit.Line{Entry: e}
	copy(l.Before[:], before)
	copy(l.Hash[:], hash)
	return l, err
}

// AuditLog calls f for each entry of the record from number from on, in order,
// in one snapshot.
func (s *Store) AuditLog(ctx context.Context, from int64, f func(audit.Line) error) error {
	rows, err := s.query(ctx, `SELECT `+auditColumns+` FROM audit WHERE seq >= ? ORDER BY seq`, from)
	if err != nil {
		return err
	}
	return each(rows, func(scan func(...any) error) (bool, error) {
		l, err := scanAudit(scan)
		if err == nil {
			err = f(l)
		}
		return true, err
	})
}

// AuditOf is like AuditLog for the entries of one subject, of which those in
// between are left out: see [audit.Line].
func (s *Store) AuditOf(ctx context.Context, subject string, f func(audit.Line) error) error {
	var first, last sql.NullInt64
	if _, err := s.queryRow(ctx, `SELECT min(seq), max(seq) FROM audit WHERE subject = ?`, []any{subject}, []any{&first, &last}); err != nil {
		return err
	}
	rows, err := s.query(ctx, `SELECT `+auditColumns+` FROM audit WHERE seq >= ? AND seq <= ? ORDER BY seq`, first.Int64, last.Int64)
	if err != nil {
		return err
	}
	return each(rows, func(scan func(...any) error) (bool, error) {
		l, err := scanAudit(scan)
		if err != nil {
			return false, err
		}
		if l.Subject != subject {
			sum := l.Entry.Sum()
			l = audit.Line{LeftOut: l.Seq, Sum: &sum, Before: l.Before, Hash: l.Hash}
		}
		return true, f(l)
	})
}

// CheckAudit checks the whole record, and that its end was not taken off. The
// error wraps [audit.ErrChain] when it is not what was written.
func (s *Store) CheckAudit(ctx context.Context) (audit.Chain, error) {
	var c audit.Chain
	err := s.AuditLog(ctx, 0, func(l audit.Line) error { return c.Add(&l) })
	if err != nil {
		return c, err
	}
	var last sql.NullInt64
	if _, err := s.queryRow(ctx, `SELECT seq FROM sqlite_sequence WHERE name = 'audit'`, nil, []any{&last}); err != nil {
		return c, err
	}
	switch {
	case c.Entries > 0 && c.First != 1:
		return c, fmt.Errorf("%w: it begins with entry %d: want 1", audit.ErrChain, c.First)
	case last.Int64 != c.Last:
		return c, fmt.Errorf("%w: it ends with entry %d, and %d were written", audit.ErrChain, c.Last, last.Int64)
	}
	return c, nil
}
