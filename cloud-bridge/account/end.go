package account

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// EndSession ends the session of a secret. The error is [ErrSignedOut] when there is none;
// when it could not be deleted from the disk, it has ended nevertheless, and is deleted later.
func (s *Service) EndSession(ctx context.Context, secret Secret) error {
	s.mu.Lock()
	x := s.sessions[secret.Digest()]
	s.mu.Unlock()
	if x == nil {
		return ErrSignedOut
	}
	return s.end(ctx, func(y *Session) bool { return y == x })
}

// SignOut ends every session of the actor's account, in all browsers; its tokens stay.
func (s *Service) SignOut(ctx context.Context, a Actor) error {
	s.tell(Record{What: DidSignOut, Account: a.Name, By: a.Name, Screen: a.Screen})
	return s.end(ctx, func(x *Session) bool { return x.Account == a.Account })
}

// EndOne ends one session of an account, by the id that [Service.Sessions] gave. The error
// wraps [ErrNotFound].
func (s *Service) EndOne(ctx context.Context, account int64, id string) error {
	n, err := strconv.ParseInt(strings.TrimPrefix(id, "s"), 10, 64)
	found := false
	if err == nil {
		err = s.end(ctx, func(x *Session) bool {
			hit := x.Account == account && x.ID == n && x.ID != 0
			found = found || hit
			return hit
		})
	}
	if !found {
		return fmt.Errorf("%w: %q", ErrNotFound, id)
	}
	return err
}

// end ends the sessions that which chooses, and cuts off what they do.
func (s *Service) end(ctx context.Context, which func(*Session) bool) error {
	s.mu.Lock()
	for digest, x := range s.sessions {
		if which(x) {
			delete(s.sessions, digest)
			if x.ID != 0 {
				s.undone[x.ID] = true
			}
		}
	}
	s.judge()
	s.mu.Unlock()
	return s.drop(context.WithoutCancel(ctx)) // the request's own context has just ended
}

// drop deletes ended sessions from the disk.
func (s *Service) drop(ctx context.Context) error {
	s.mu.Lock()
	ids := slices.Sorted(maps.Keys(s.undone))
	s.mu.Unlock()
	if len(ids) == 0 {
		return nil
	}
	if err := s.keep.DropSessions(ctx, ids...); err != nil {
		return fmt.Errorf("account: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range ids {
		delete(s.undone, id)
	}
	return nil
}

// Sessions returns an account's sessions, the newest first.
func (s *Service) Sessions(account int64) []Session {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Session
	for _, x := range s.sessions {
		if x.Account == account && s.live(x, s.now()) != nil {
			out = append(out, *x)
		}
	}
	slices.SortFunc(out, func(a, b Session) int { return b.Made.Compare(a.Made) })
	return out
}

// How often Run looks.
const (
	lookEvery = time.Second
	keepEvery = time.Minute
)

// Run ends sessions when their time is over, notices what another process has changed, and
// keeps when sessions were last seen, until ctx ends.
func (s *Service) Run(ctx context.Context) {
	look, keep := time.NewTicker(lookEvery), time.NewTicker(keepEvery)
	defer look.Stop()
	defer keep.Stop()
	kept := make(map[int64]time.Time)
	troubled := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-look.C:
			err := s.refresh(ctx)
			if err != nil && !troubled && ctx.Err() == nil {
				s.log.WarnContext(ctx, "accounts cannot be read; those known go on", "err", err)
			}
			troubled = err != nil
			s.mu.Lock()
			for u := range s.uses { // a stream that stays open is use
				if u.session != nil && s.live(u.session, s.now()) != nil {
					u.session.Seen = s.now()
				}
			}
			s.judge()
			s.mu.Unlock()
		case <-keep.C:
			s.keepSeen(ctx, kept)
		}
	}
}

// keepSeen keeps what has changed since the last time, so that a restart does not end a
// session that is in use.
func (s *Service) keepSeen(ctx context.Context, kept map[int64]time.Time) {
	s.mu.Lock()
	var due []Session
	for _, x := range s.sessions {
		if x.ID != 0 && x.Seen.After(kept[x.ID]) {
			due = append(due, *x)
		}
	}
	s.mu.Unlock()
	for _, x := range due {
		if _, err := s.keep.KeepSession(ctx, &x); err != nil {
			return // The next minute may be better.
		}
		kept[x.ID] = x.Seen
	}
	if err := s.drop(ctx); err != nil {
		s.log.WarnContext(ctx, "ended sessions could not be deleted yet", "err", err)
	}
	for id := range kept {
		if !slices.ContainsFunc(due, func(x Session) bool { return x.ID == id }) && s.now().Sub(kept[id]) > s.idle {
			delete(kept, id)
		}
	}
}
