package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/fengsui/fengsui/cloud-bridge/account"
)

// The store keeps accounts for package account, whose rules they follow.
var _ account.Keeper = (*Store)(nil)

const (
	bookRevQuery  = `SELECT rev FROM account_book`
	accountsQuery = `SELECT account, name, role, scope, password, must_change, until, issuer, subject, disabled, epoch, made_at, changed_at FROM accounts`
	tokensQuery   = `SELECT token, account, label, role, digest, made_at, ends_at, revoked FROM account_tokens`
	sessionsQuery = `SELECT session, account, epoch, digest, made_at, seen_at, ends_at, address, agent FROM account_sessions`
)

// Book implements [account.Keeper].
func (s *Store) Book(ctx context.Context) (account.Book, []account.Session, error) {
	b := account.Book{Accounts: make(map[int64]*account.Account), Tokens: make(map[int64]*account.Token)}
	var sessions []account.Session
	readers := []func(scan func(...any) error) error{
		func(scan func(...any) error) error { return scan(&b.Rev) },
		func(scan func(...any) error) error {
			var a account.Account
			var scope []byte
			var until, made, changed sql.NullInt64
			if err := scan(&a.ID, &a.Name, &a.Role, &scope, &a.Password, &a.MustChange, &until, &a.Issuer, &a.Subject, &a.Disabled, &a.Epoch, &made, &changed); err != nil {
				return err
			}
			if err := json.Unmarshal(scope, &a.Scope); err != nil {
				return fmt.Errorf("scope of account %d: %w", a.ID, err)
			}
			a.Until, a.Made, a.Changed = fromMillis(until), fromMillis(made), fromMillis(changed)
			b.Accounts[a.ID] = &a
			return nil
		},
		func(scan func(...any) error) error {
			var t account.Token
			var digest []byte
			var made, ends sql.NullInt64
			if err := scan(&t.ID, &t.Account, &t.Label, &t.Role, &digest, &made, &ends, &t.Revoked); err != nil {
				return err
			}
			t.Made, t.Ends = fromMillis(made), fromMillis(ends)
			b.Tokens[t.ID] = &t
			return digestOf(&t.Digest, digest)
		},
		func(scan func(...any) error) error {
			var x account.Session
			var digest []byte
			var made, seen, ends sql.NullInt64
			if err := scan(&x.ID, &x.Account, &x.Epoch, &digest, &made, &seen, &ends, &x.Address, &x.Agent); err != nil {
				return err
			}
			x.Made, x.Seen, x.Ends = fromMillis(made), fromMillis(seen), fromMillis(ends)
			if err := digestOf(&x.Digest, digest); err != nil {
				return err
			}
			sessions = append(sessions, x)
			return nil
		},
	}
	texts := []string{bookRevQuery, accountsQuery, tokensQuery, sessionsQuery}
	err := s.snapshot(ctx, texts, func(query func(int, ...any) (*sql.Rows, error)) error {
		for n, read := range readers {
			rows, err := query(n)
			if err != nil {
				return err
			}
			if err := each(rows, func(scan func(...any) error) (bool, error) { return true, read(scan) }); err != nil {
				return err
			}
		}
		return nil
	})
	return b, sessions, err
}

func digestOf(into *account.Digest, b []byte) error {
	if copy(into[:], b) != len(into) {
		return errors.New("a digest of another length than SHA-256's")
	}
	return nil
}

// BookRev implements [account.Keeper].
func (s *Store) BookRev(ctx context.Context) (rev int64, err error) {
	found, err := s.queryRow(ctx, bookRevQuery, nil, []any{&rev})
	if err == nil && !found {
		err = errors.New("store: the book of accounts has no number")
	}
	return rev, err
}

// EditBook implements [account.Keeper].
func (s *Store) EditBook(ctx context.Context, e account.Edit) error {
	return s.update(ctx, func(t *tx) error {
		r, err := t.run(`UPDATE account_book SET rev = rev + 1 WHERE rev = ?`, e.Rev)
		if err != nil {
			return err
		}
		if n, err := r.RowsAffected(); err != nil || n != 1 {
			return errors.Join(err, account.ErrStale)
		}
		for _, a := range e.Accounts {
			if err := t.putAccount(a); err != nil {
				return err
			}
		}
		for _, k := range e.Tokens {
			var id any
			if k.ID != 0 {
				id = k.ID
			}
			if err := t.exec(`INSERT INTO account_tokens (token, account, label, role, digest, made_at, ends_at, revoked)
				VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (token) DO UPDATE SET revoked = ?8`,
				id, k.Account, k.Label, k.Role, k.Digest[:], millis(k.Made), millis(k.Ends), k.Revoked); err != nil {
				return err
			}
		}
		return t.exec(`DELETE FROM account_sessions WHERE epoch <> (SELECT epoch FROM accounts a WHERE a.account = account_sessions.account)`)
	})
}

func (t *tx) putAccount(a *account.Account) error {
	scope, err := json.Marshal(a.Scope)
	if err != nil {
		return err
	}
	var id any
	if a.ID != 0 {
		id = a.ID
	}
	return t.exec(`INSERT INTO accounts (account, name, role, scope, password, must_change, until, issuer, subject, disabled, epoch, made_at, changed_at)
		VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)
		ON CONFLICT (account) DO UPDATE SET role = ?3, scope = ?4, password = ?5, must_change = ?6, until = ?7,
			issuer = ?8, subject = ?9, disabled = ?10, epoch = ?11, changed_at = ?13`,
		id, a.Name, a.Role, string(scope), a.Password, a.MustChange, millis(a.Until), a.Issuer, a.Subject, a.Disabled, a.Epoch, millis(a.Made), millis(a.Changed))
}

// KeepSession implements [account.Keeper].
func (s *Store) KeepSession(ctx context.Context, x *account.Session) (id int64, err error) {
	err = s.update(ctx, func(t *tx) error {
		if id = x.ID; id != 0 {
			return t.exec(`UPDATE account_sessions SET seen_at = ? WHERE session = ?`, millis(x.Seen), x.ID)
		}
		r, err := t.run(`INSERT INTO account_sessions (account, epoch, digest, made_at, seen_at, ends_at, address, agent) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
			x.Account, x.Epoch, x.Digest[:], millis(x.Made), millis(x.Seen), millis(x.Ends), x.Address, x.Agent)
		if err == nil {
			id, err = r.LastInsertId()
		}
		return err
	})
	return id, err
}

// DropSessions implements [account.Keeper].
func (s *Store) DropSessions(ctx context.Context, ids ...int64) error {
	return s.update(ctx, func(t *tx) error {
		for _, id := range ids {
			if err := t.exec(`DELETE FROM account_sessions WHERE session = ?`, id); err != nil {
				return err
			}
		}
		return nil
	})
}
