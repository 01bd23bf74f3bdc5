package account

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"time"
)

// Options are what a Service is made of. Its zero values stand for the defaults.
type Options struct {
	Keeper Keeper           // required
	Now    func() time.Time // [time.Now]
	Cost   Cost             // [DefaultCost]
	Rates  Rates            // [DefaultRates]
	Idle   time.Duration    // a session without request or open stream ends after it: 1 h
	Life   time.Duration    // a session ends after it, whatever happens: 24 h
	Record func(Record)     // is told what happened to accounts; nil: nobody is
	Log    *slog.Logger     // nil: discarded
}

// The defaults of [Options].
const (
	DefaultIdle = time.Hour
	DefaultLife = 24 * time.Hour
	// OneTimeFor is how long a one-time password opens an account.
	OneTimeFor = 7 * 24 * time.Hour
)

// A Record is one thing that happened to an account.
type Record struct {
	At      time.Time
	What    string // one of the Did constants
	Account string // its name, as it was given where there is no such account
	By      string // the name of who did it; "" where that is not known
	Screen  string // the address and program that it came from
	Detail  string // such as the new role
}

// What a [Record] tells.
const (
	DidSignIn   = "signed_in"
	DidRefuse   = "sign_in_refused"
	DidSignOut  = "signed_out"
	DidCreate   = "account_created"
	DidChange   = "account_changed"
	DidReset    = "account_reset"
	DidDisable  = "account_disabled"
	DidEnable   = "account_enabled"
	DidPassword = "password_changed"
	DidToken    = "token_made"
	DidRevoke   = "token_revoked"
)

// A Service knows who is signed in. Its methods may be called from any goroutine.
type Service struct {
	keep     Keeper
	now      func() time.Time
	idle     time.Duration
	life     time.Duration
	record   func(Record)
	log      *slog.Logger
	hash     *hasher
	throttle *Throttle

	mu       sync.Mutex
	book     Book
	sessions map[Digest]*Session
	tokens   map[Digest]*Token // of book
	uses     map[*use]struct{}
	undone   map[int64]bool // ended sessions that could not be deleted yet
}

// A use is one request, or one open stream.
type use struct {
	session *Session // or
	token   *Token
	actor   Actor
	cancel  context.CancelCauseFunc
}

// New reads the accounts and returns a Service. Call [Service.Run] beside it, so that it
// notices time and other processes.
func New(ctx context.Context, o Options) (*Service, error) {
	s := &Service{
		keep: o.Keeper, now: o.Now, idle: o.Idle, life: o.Life, record: o.Record, log: o.Log,
		sessions: make(map[Digest]*Session), uses: make(map[*use]struct{}), undone: make(map[int64]bool),
	}
	if s.now == nil {
		s.now = time.Now
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.idle <= 0 {
		s.idle = DefaultIdle
	}
	if s.life <= 0 {
		s.life = DefaultLife
	}
	if o.Cost == (Cost{}) {
		o.Cost = DefaultCost
	}
	if o.Rates == (Rates{}) {
		o.Rates = DefaultRates()
	}
	var err error
	if s.hash, err = newHasher(o.Cost, 2, 30); err != nil {
		return nil, fmt.Errorf("account: %w", err)
	}
	s.throttle = NewThrottle(o.Rates)
	book, sessions, err := s.keep.Book(ctx)
	if err != nil {
		return nil, fmt.Errorf("account: %w", err)
	}
	s.take(book)
	for _, x := range sessions {
		s.sessions[x.Digest] = &x
	}
	return s, nil
}

// take puts a book in place. The caller holds mu, or is New.
func (s *Service) take(b Book) {
	s.book = b
	s.tokens = make(map[Digest]*Token, len(b.Tokens))
	for _, t := range b.Tokens {
		s.tokens[t.Digest] = t
	}
}

// reload reads the book anew, and cuts off whom it no longer lets in.
func (s *Service) reload(ctx context.Context) error {
	b, _, err := s.keep.Book(ctx)
	if err != nil {
		return fmt.Errorf("account: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if b.Rev >= s.book.Rev {
		s.take(b)
	}
	s.judge()
	return nil
}

// refresh reloads the book when another process has changed it.
func (s *Service) refresh(ctx context.Context) error {
	rev, err := s.keep.BookRev(ctx)
	if err != nil {
		return fmt.Errorf("account: %w", err)
	}
	s.mu.Lock()
	known := s.book.Rev
	s.mu.Unlock()
	if rev == known {
		return nil
	}
	return s.reload(ctx)
}

// live returns the account of a session that lasts, or nil. The caller holds mu.
func (s *Service) live(x *Session, now time.Time) *Account {
	a := s.book.Accounts[x.Account]
	if a == nil || a.Disabled || a.Epoch != x.Epoch || !now.Before(x.Ends) || now.Sub(x.Seen) >= s.idle {
		return nil
	}
	return a
}

// valid returns the account of a token that lasts, or nil. The caller holds mu.
func (s *Service) valid(t *Token, now time.Time) *Account {
	kept := s.book.Tokens[t.ID]
	a := s.book.Accounts[t.Account]
	if kept == nil || kept.Revoked || a == nil || a.Disabled || !t.Ends.IsZero() && !now.Before(t.Ends) {
		return nil
	}
	return a
}

// judge ends the sessions that no longer last and cancels what they do. The caller holds mu.
func (s *Service) judge() {
	now := s.now()
	for digest, x := range s.sessions {
		if s.live(x, now) == nil {
			delete(s.sessions, digest)
			if x.ID != 0 {
				s.undone[x.ID] = true
			}
		}
	}
	for u := range s.uses {
		var a *Account
		if u.session != nil && s.sessions[u.session.Digest] == u.session {
			a = s.live(u.session, now)
		} else if u.token != nil {
			a = s.valid(u.token, now)
		}
		if a == nil || u.token != nil && (a.Role.And(u.token.Role) != u.actor.Role || !equal(a.Scope, u.actor.Scope)) {
			u.cancel(ErrSignedOut)
			delete(s.uses, u)
		}
	}
}

func equal(a, b Scope) bool { return strings.Join(a, ",") == strings.Join(b, ",") }

// Enter lets in whoever holds a session's secret, or a token. The returned context ends
// with the session; leave says that the request is over. The error is [ErrSignedOut].
func (s *Service) Enter(ctx context.Context, secret Secret, screen string) (_ context.Context, _ Actor, leave func(), err error) {
	digest := secret.Digest()
	if strings.HasPrefix(string(secret), TokenPrefix) && !s.knows(digest) {
		// Another process may have made it just now.
		if err := s.refresh(ctx); err != nil {
			s.log.WarnContext(ctx, "accounts cannot be read", "err", err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	u := &use{session: s.sessions[digest], token: s.tokens[digest]}
	switch {
	case u.session != nil:
		a := s.live(u.session, now)
		if a == nil {
			return ctx, Actor{}, nil, ErrSignedOut
		}
		u.session.Seen = now
		u.actor = actor(a, fmt.Sprintf("s%d", u.session.ID), screen)
		u.actor.Ends = u.session.Ends
	case u.token != nil:
		a := s.valid(u.token, now)
		if a == nil {
			return ctx, Actor{}, nil, ErrSignedOut
		}
		u.actor = actor(a, fmt.Sprintf("t%d", u.token.ID), screen)
		u.actor.Role = a.Role.And(u.token.Role)
		u.actor.Ends = u.token.Ends
		u.actor.MustChange = false // that is about the password
	default:
		return ctx, Actor{}, nil, ErrSignedOut
	}
	ctx, u.cancel = context.WithCancelCause(WithActor(ctx, u.actor))
	s.uses[u] = struct{}{}
	return ctx, u.actor, func() {
		u.cancel(nil)
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.uses, u)
	}, nil
}

func (s *Service) knows(d Digest) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tokens[d] != nil
}

func actor(a *Account, session, screen string) Actor {
	return Actor{Account: a.ID, Name: a.Name, Role: a.Role, Scope: a.Scope, Session: session, Screen: screen, MustChange: a.MustChange}
}

// A ThrottledError says how long to wait before the next attempt.
type ThrottledError struct{ Wait time.Duration }

func (e *ThrottledError) Error() string {
	return fmt.Sprintf("too many failed attempts: try again in %v", e.Wait.Round(time.Second))
}

// From is where a request comes from.
type From struct {
	Address netip.Addr
	Agent   string // the browser's own word
}

// Screen is a From in one line.
func (f From) Screen() string {
	agent := strings.ToValidUTF8(f.Agent, "\uFFFD")
	if r := []rune(agent); len(r) > 160 {
		agent = string(r[:160]) + "…"
	}
	return strings.TrimSpace(f.Address.String() + " " + agent)
}

// SignIn checks a name and a password and begins a session; old, unless "", is one that the
// browser still carried, and ends. A wrong name costs the same time as a wrong password.
// The error is a [*ThrottledError], or wraps [ErrRefused] or [ErrBusy].
func (s *Service) SignIn(ctx context.Context, name, password string, from From, old Secret) (Secret, *Session, error) {
	key := NameKey(name)
	if wait := s.throttle.Take(s.now(), key, from.Address); wait > 0 {
		// Not recorded: a flood of attempts must not become a flood of writes.
		s.log.InfoContext(ctx, "a sign-in was put off", "account", name, "screen", from.Screen(), "wait", wait)
		return "", nil, &ThrottledError{wait}
	}
	s.mu.Lock()
	var found Account
	if a := s.book.byName(name); a != nil {
		found = *a
	}
	s.mu.Unlock()
	hash := found.Password
	if hash == "" {
		hash = s.hash.nobody
	}
	var same, outdated bool
	err := s.hash.do(ctx, func() (err error) {
		same, outdated, err = verify(hash, password, s.hash.cost)
		return err
	})
	if err != nil {
		s.throttle.Succeeded(key, from.Address) // nothing was learnt
		return "", nil, err
	}
	late := !found.Until.IsZero() && !s.now().Before(found.Until)
	if !same || found.Password == "" || found.Disabled || late {
		why := "wrong name or password"
		switch {
		case same && found.Disabled:
			why = "the account is disabled"
		case same && late:
			why = "the one-time password has ended"
		}
		s.tell(Record{What: DidRefuse, Account: name, Screen: from.Screen(), Detail: why})
		return "", nil, ErrRefused
	}
	s.throttle.Succeeded(key, from.Address)
	if outdated {
		s.rehash(ctx, found.ID, password)
	}
	return s.begin(ctx, found.ID, from, old)
}

// rehash keeps a password at today's cost; when it cannot, the next sign-in will.
func (s *Service) rehash(ctx context.Context, id int64, password string) {
	err := s.hash.do(ctx, func() error {
		hash, err := Hash(password, s.hash.cost)
		if err != nil {
			return err
		}
		return s.edit(ctx, func(b *Book, e *Edit) error {
			a, err := b.account(id)
			if err != nil {
				return err
			}
			a.Password = hash
			e.Accounts = append(e.Accounts, a)
			return nil
		})
	})
	if err != nil {
		s.log.WarnContext(ctx, "a password could not be hashed anew", "account", id, "err", err)
	}
}

// begin makes a session of an account. One that cannot be kept lasts until the centre's next
// start: a full disk must not keep a dispatcher from the alarms.
func (s *Service) begin(ctx context.Context, id int64, from From, old Secret) (Secret, *Session, error) {
	secret := NewSecret("")
	now := s.now()
	s.mu.Lock()
	a := s.book.Accounts[id]
	if a == nil || a.Disabled {
		s.mu.Unlock()
		return "", nil, ErrRefused
	}
	x := &Session{Account: id, Epoch: a.Epoch, Digest: secret.Digest(), Made: now, Seen: now, Ends: now.Add(s.life), Address: from.Address.String(), Agent: from.Agent}
	name := a.Name
	s.mu.Unlock()
	if old != "" {
		if err := s.EndSession(ctx, old); err != nil && !errors.Is(err, ErrSignedOut) {
			s.log.WarnContext(ctx, "an older session could not be deleted yet", "err", err)
		}
	}
	if n, err := s.keep.KeepSession(ctx, x); err != nil {
		s.log.WarnContext(ctx, "a session could not be kept: it ends with the process", "account", name, "err", err)
	} else {
		x.ID = n
	}
	s.mu.Lock()
	s.sessions[x.Digest] = x
	s.judge() // the account may have changed meanwhile
	s.mu.Unlock()
	s.tell(Record{What: DidSignIn, Account: name, By: name, Screen: from.Screen()})
	return secret, x, nil
}

func (s *Service) tell(r Record) {
	r.At = s.now()
	s.log.Info("account", "what", r.What, "account", r.Account, "by", r.By, "screen", r.Screen, "detail", r.Detail)
	if s.record != nil {
		s.record(r)
	}
}
