package account

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
)

// account returns a copy of an account that may be changed and given to an Edit.
func (b *Book) account(id int64) (*Account, error) {
	a := b.Accounts[id]
	if a == nil {
		return nil, fmt.Errorf("%w: account %d", ErrNotFound, id)
	}
	c := *a
	c.Scope = slices.Clone(a.Scope)
	return &c, nil
}

// edit makes a change by f and keeps it, again when another process was faster. Whatever
// the change, an enabled admin remains where there was one.
func (s *Service) edit(ctx context.Context, f func(b *Book, e *Edit) error) error {
	for range 5 {
		s.mu.Lock()
		b := s.book
		e := Edit{Rev: b.Rev}
		err := f(&b, &e)
		before, after := b.admins(), after(&b, e.Accounts)
		s.mu.Unlock()
		if err != nil {
			return err
		}
		if before > 0 && after == 0 {
			return ErrLastAdmin
		}
		if err = s.keep.EditBook(ctx, e); err == nil {
			return s.reload(context.WithoutCancel(ctx)) // The change may have ended the request's own session.
		}
		if !errors.Is(err, ErrStale) {
			return fmt.Errorf("account: %w", err)
		}
		if err := s.reload(ctx); err != nil {
			return err
		}
	}
	return ErrStale
}

// after counts the enabled admins that a change leaves.
func after(b *Book, changed []*Account) int {
	n := b.admins()
	for _, a := range changed {
		if old := b.Accounts[a.ID]; old != nil && old.keeps() {
			n--
		}
		if a.keeps() {
			n++
		}
	}
	return n
}

// Accounts returns all accounts in the order of their making.
func (s *Service) Accounts() []Account {
	s.mu.Lock()
	defer s.mu.Unlock()
	return sorted(s.book.Accounts)
}

// Account returns one. The error wraps [ErrNotFound].
func (s *Service) Account(id int64) (Account, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, err := s.book.account(id)
	if err != nil {
		return Account{}, err
	}
	return *a, nil
}

// ByName returns the account of a name. The error wraps [ErrNotFound].
func (s *Service) ByName(name string) (Account, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.book.byName(name); a != nil {
		return *a, nil
	}
	return Account{}, fmt.Errorf("%w: account %q", ErrNotFound, name)
}

// How a new account is opened.
type Opening struct {
	Password  string // a password that its owner has chosen; or
	TokenOnly bool   // none at all; or neither: a one-time password is made
}

// Create makes an account, and returns its one-time password where it has one. The error is
// a [*FieldError] for anything that is wrong with it. by is who does it.
func (s *Service) Create(ctx context.Context, by Actor, name string, role Role, scope Scope, open Opening) (a Account, oneTime string, err error) {
	if name, err = ParseName(name); err != nil {
		return a, "", err
	}
	if role, err = ParseRole(string(role)); err != nil {
		return a, "", err
	}
	if scope, err = ParseScope(scope); err != nil {
		return a, "", err
	}
	now := s.now()
	a = Account{Name: name, Role: role, Scope: scope, Epoch: 1, Made: now, Changed: now}
	switch {
	case open.TokenOnly:
	case open.Password != "":
		if err := CheckPassword(name, open.Password); err != nil {
			return a, "", err
		}
		a.Password, err = s.hashed(ctx, open.Password)
	default:
		oneTime = OneTimePassword()
		a.MustChange, a.Until = true, now.Add(OneTimeFor)
		a.Password, err = s.hashed(ctx, oneTime)
	}
	if err != nil {
		return a, "", err
	}
	if err := s.insert(ctx, a); err != nil {
		return a, "", err
	}
	s.tell(Record{What: DidCreate, Account: name, By: by.Name, Screen: by.Screen, Detail: detail(role, scope)})
	a, err = s.ByName(name)
	return a, oneTime, err
}

func (s *Service) insert(ctx context.Context, a Account) error {
	return s.edit(ctx, func(b *Book, e *Edit) error {
		if have := b.byName(a.Name); have != nil {
			return &FieldError{"name", a.Name, fmt.Sprintf("another name: account %d is called %q", have.ID, have.Name)}
		}
		e.Accounts = append(e.Accounts, &a)
		return nil
	})
}

func detail(role Role, scope Scope) string { return string(role) + " at " + strings.Join(scope, ", ") }

func (s *Service) hashed(ctx context.Context, password string) (hash string, err error) {
	err = s.hash.do(ctx, func() error {
		hash, err = Hash(password, s.hash.cost)
		return err
	})
	return hash, err
}

// FirstAdmin makes the account "admin" with a one-time password when there is no account at
// all; name is "" when there was one.
func (s *Service) FirstAdmin(ctx context.Context) (name, oneTime string, err error) {
	if err := s.refresh(ctx); err != nil {
		return "", "", err
	}
	if len(s.Accounts()) > 0 {
		return "", "", nil
	}
	a, oneTime, err := s.Create(ctx, Actor{Name: "system"}, "admin", Admin, Scope{Everywhere}, Opening{})
	return a.Name, oneTime, err
}

// change changes an account; with cut, all its sessions end.
func (s *Service) change(ctx context.Context, id int64, cut bool, f func(*Account, *Book, *Edit) error) (Account, error) {
	err := s.edit(ctx, func(b *Book, e *Edit) error {
		a, err := b.account(id)
		if err != nil {
			return err
		}
		if err := f(a, b, e); err != nil {
			return err
		}
		if cut {
			a.Epoch++
		}
		e.Accounts = append(e.Accounts, a)
		return nil
	})
	if err != nil {
		return Account{}, err
	}
	return s.Account(id)
}

// Assign gives an account a role and a scope. Where either changes, its sessions end, so that
// none goes on with what it may no longer do. It is idempotent.
func (s *Service) Assign(ctx context.Context, by Actor, id int64, role Role, scope Scope) (Account, error) {
	role, err := ParseRole(string(role))
	if err != nil {
		return Account{}, err
	}
	if scope, err = ParseScope(scope); err != nil {
		return Account{}, err
	}
	a, err := s.Account(id)
	if err != nil || a.Role == role && equal(a.Scope, scope) {
		return a, err
	}
	a, err = s.change(ctx, id, true, func(a *Account, _ *Book, _ *Edit) error {
		a.Role, a.Scope = role, scope
		return nil
	})
	if err == nil {
		s.tell(Record{What: DidChange, Account: a.Name, By: by.Name, Screen: by.Screen, Detail: detail(role, scope)})
	}
	return a, err
}

// Disable shuts an account: its sessions and tokens stop at once. It is idempotent.
func (s *Service) Disable(ctx context.Context, by Actor, id int64) (Account, error) {
	a, err := s.change(ctx, id, true, func(a *Account, _ *Book, _ *Edit) error {
		a.Disabled = true
		return nil
	})
	if err == nil {
		s.tell(Record{What: DidDisable, Account: a.Name, By: by.Name, Screen: by.Screen})
	}
	return a, err
}

// Enable opens a disabled account again; its old sessions stay ended. It is idempotent.
func (s *Service) Enable(ctx context.Context, by Actor, id int64) (Account, error) {
	a, err := s.change(ctx, id, false, func(a *Account, _ *Book, _ *Edit) error {
		a.Disabled = false
		return nil
	})
	if err == nil {
		s.tell(Record{What: DidEnable, Account: a.Name, By: by.Name, Screen: by.Screen})
	}
	return a, err
}

// Reset gives an account a one-time password, ends its sessions and revokes its tokens: it
// is what is done when a password has become known. An account that an OpenID provider
// vouches for becomes a local one.
func (s *Service) Reset(ctx context.Context, by Actor, id int64) (a Account, oneTime string, err error) {
	oneTime = OneTimePassword()
	hash, err := s.hashed(ctx, oneTime)
	if err != nil {
		return a, "", err
	}
	a, err = s.change(ctx, id, true, func(a *Account, b *Book, e *Edit) error {
		a.Password, a.MustChange, a.Until, a.Changed = hash, true, s.now().Add(OneTimeFor), s.now()
		a.Issuer, a.Subject = "", ""
		for _, t := range b.Tokens {
			if t.Account == id && !t.Revoked {
				c := *t
				c.Revoked = true
				e.Tokens = append(e.Tokens, &c)
			}
		}
		return nil
	})
	if err == nil {
		s.tell(Record{What: DidReset, Account: a.Name, By: by.Name, Screen: by.Screen})
	}
	return a, oneTime, err
}

// ChangePassword takes the owner's new password, ends all the account's sessions and begins
// a new one for this browser. The error wraps [ErrRefused] when the old one is wrong.
func (s *Service) ChangePassword(ctx context.Context, by Actor, old, fresh string, from From) (Secret, *Session, error) {
	key := NameKey(by.Name)
	if wait := s.throttle.Take(s.now(), key, from.Address); wait > 0 {
		return "", nil, &ThrottledError{wait}
	}
	a, err := s.Account(by.Account)
	if err != nil {
		return "", nil, err
	}
	if a.Password == "" {
		return "", nil, &FieldError{Field: "old", Want: "an account with a password: this one is opened otherwise"}
	}
	same, hash := false, ""
	err = s.hash.do(ctx, func() (err error) {
		if same, _, err = verify(a.Password, old, s.hash.cost); err != nil || !same {
			return err
		}
		if err := CheckPassword(a.Name, fresh); err != nil {
			return err
		}
		if again, _, err := verify(a.Password, fresh, s.hash.cost); err != nil || again {
			return errors.Join(err, &FieldError{Field: "password", Want: "another one than before"})
		}
		hash, err = Hash(fresh, s.hash.cost)
		return err
	})
	if same || err != nil {
		s.throttle.Succeeded(key, from.Address)
	}
	if err != nil {
		return "", nil, err
	}
	if !same {
		return "", nil, ErrRefused
	}
	if _, err = s.change(ctx, a.ID, true, func(a *Account, _ *Book, _ *Edit) error {
		a.Password, a.MustChange, a.Until, a.Changed = hash, false, time.Time{}, s.now()
		return nil
	}); err != nil {
		return "", nil, err
	}
	s.tell(Record{What: DidPassword, Account: a.Name, By: by.Name, Screen: by.Screen})
	return s.begin(context.WithoutCancel(ctx), a.ID, from, "")
}

// MaxTokens is how many tokens an account may have that are not revoked.
const MaxTokens = 20

// MakeToken makes a token of an account that may do what both its role and the account's
// may, for so long (0: until it is revoked). The secret is told once.
func (s *Service) MakeToken(ctx context.Context, by Actor, id int64, label string, role Role, lasts time.Duration) (Token, Secret, error) {
	label = strings.TrimSpace(label)
	if label == "" || len(label) > MaxName || strings.ContainsFunc(label, func(c rune) bool { return !unicode.IsPrint(c) }) {
		return Token{}, "", &FieldError{"label", label, fmt.Sprintf("1 to %d bytes of printable text that say what the token is for", MaxName)}
	}
	role, err := ParseRole(string(role))
	if err != nil {
		return Token{}, "", err
	}
	secret := NewSecret(TokenPrefix)
	now := s.now()
	t := Token{Account: id, Label: label, Role: role, Digest: secret.Digest(), Made: now}
	if lasts > 0 {
		t.Ends = now.Add(lasts)
	}
	name := ""
	err = s.edit(ctx, func(b *Book, e *Edit) error {
		a, err := b.account(id)
		if err != nil {
			return err
		}
		if !a.Role.Covers(role) {
			return &FieldError{"role", string(role), fmt.Sprintf("no more than the account's own role, %s", a.Role)}
		}
		n := 0
		for _, have := range b.Tokens {
			if have.Account == id && !have.Revoked {
				n++
			}
		}
		if n >= MaxTokens {
			return &FieldError{"label", label, fmt.Sprintf("at most %d tokens: revoke one first", MaxTokens)}
		}
		name = a.Name
		e.Tokens = append(e.Tokens, &t)
		return nil
	})
	if err != nil {
		return Token{}, "", err
	}
	s.tell(Record{What: DidToken, Account: name, By: by.Name, Screen: by.Screen, Detail: label})
	s.mu.Lock()
	defer s.mu.Unlock()
	if kept := s.tokens[t.Digest]; kept != nil {
		return *kept, secret, nil
	}
	return Token{}, "", ErrStale
}

// Tokens returns an account's tokens that are not revoked, in the order of their making.
func (s *Service) Tokens(id int64) []Token {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(sorted(s.book.Tokens), func(t Token) bool { return t.Account != id || t.Revoked })
}

// RevokeToken ends a token of an account. The error wraps [ErrNotFound].
func (s *Service) RevokeToken(ctx context.Context, by Actor, account, id int64) error {
	var t Token
	err := s.edit(ctx, func(b *Book, e *Edit) error {
		have := b.Tokens[id]
		if have == nil || have.Account != account || have.Revoked {
			return fmt.Errorf("%w: token %d", ErrNotFound, id)
		}
		t = *have
		t.Revoked = true
		e.Tokens = append(e.Tokens, &t)
		return nil
	})
	if err == nil {
		a, _ := s.Account(account) // It has just been there; without it the record is merely poorer.
		s.tell(Record{What: DidRevoke, Account: a.Name, By: by.Name, Screen: by.Screen, Detail: t.Label})
	}
	return err
}

// A Claim is what an OpenID provider vouches for.
type Claim struct {
	Issuer, Subject string
	Name            string
	Role            Role
	Scope           Scope
}

// SignInClaim begins a session for whom an OpenID provider vouches, and makes the account at
// the first time. The provider's word on role and scope is taken at each sign-in. The error
// wraps [ErrRefused] when the account is disabled, and is a [*FieldError] when its name
// belongs to another account.
func (s *Service) SignInClaim(ctx context.Context, c Claim, from From, old Secret) (Secret, *Session, error) {
	name, err := ParseName(c.Name)
	if err != nil {
		return "", nil, err
	}
	find := func() (a Account, ok bool) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if p := s.book.bySubject(c.Issuer, c.Subject); p != nil {
			return *p, true
		}
		return a, false
	}
	by := Actor{Name: name, Screen: from.Screen()}
	a, ok := find()
	if !ok {
		role, err := ParseRole(string(c.Role))
		if err != nil {
			return "", nil, err
		}
		scope, err := ParseScope(c.Scope)
		if err != nil {
			return "", nil, err
		}
		fresh := Account{Name: name, Role: role, Scope: scope, Issuer: c.Issuer, Subject: c.Subject, Epoch: 1, Made: s.now(), Changed: s.now()}
		if err := s.insert(ctx, fresh); err != nil {
			return "", nil, err
		}
		s.tell(Record{What: DidCreate, Account: name, By: c.Issuer, Screen: by.Screen, Detail: detail(role, scope)})
		if a, ok = find(); !ok {
			return "", nil, ErrStale
		}
	}
	if a.Disabled {
		s.tell(Record{What: DidRefuse, Account: a.Name, Screen: by.Screen, Detail: "the account is disabled"})
		return "", nil, ErrRefused
	}
	if a, err = s.Assign(ctx, by, a.ID, c.Role, c.Scope); err != nil {
		return "", nil, err
	}
	return s.begin(ctx, a.ID, from, old)
}
