// Package escalate watches the clock over incidents: what nobody has taken, or
// sent a unit to, or reached in time goes to the next tier and rings louder.
// What is due when is package incident's to say, and kept by the store, so that
// a restart neither forgets nor repeats it; this package only wakes up.
package escalate

import (
	"context"
	"log/slog"
	"time"

	"github.com/fengsui/fengsui/cloud-bridge/incident"
	"github.com/fengsui/fengsui/cloud-bridge/store"
)

// A Store keeps incidents; it is a *[store.Store].
type Store interface {
	// Escalate counts what has overrun, and returns when the next thing will.
	Escalate(ctx context.Context, p incident.Policy) (next time.Time, err error)
	// MissedRounds notes which points of guard rounds nobody came by in time,
	// and returns when the next one is due.
	MissedRounds(ctx context.Context) (next time.Time, err error)
	// Watch tells of changes; the watcher is closed by the caller.
	Watch(buffer int) *store.Watcher
}

const (
	atLeast  = time.Minute            // it looks so often, whatever is due
	retry    = time.Second            // after an error
	rewatch  = 100 * time.Millisecond // after it fell behind
	buffered = 1024
	settle   = 50 * time.Millisecond // changes that come together are looked at once
)

// Run escalates until ctx is done.
func Run(ctx context.Context, s Store, p incident.Policy, log *slog.Logger) {
	for ctx.Err() == nil {
		watch := s.Watch(buffered)
		follow(ctx, s, p, log, watch.Changes())
		watch.Close()
		select {
		case <-ctx.Done():
		case <-time.After(rewatch):
		}
	}
}

// follow escalates until ctx is done or the watcher has fallen behind.
func follow(ctx context.Context, s Store, p incident.Policy, log *slog.Logger, changes <-chan store.Change) {
	due := time.NewTimer(0)
	defer due.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case c, open := <-changes:
			if !open {
				return
			}
			switch c.Kind {
			case store.IncidentChanged, store.RosterChanged:
				due.Reset(settle)
			}
		case <-due.C:
			due.Reset(look(ctx, s, p, log))
		}
	}
}

// look escalates once and returns how long there is to wait.
func look(ctx context.Context, s Store, p incident.Policy, log *slog.Logger) time.Duration {
	wait := atLeast
	for _, f := range []func() (time.Time, error){
		func() (time.Time, error) { return s.Escalate(ctx, p) },
		func() (time.Time, error) { return s.MissedRounds(ctx) },
	} {
		next, err := f()
		switch {
		case err != nil:
			if ctx.Err() == nil {
				log.Error("not escalated", "error", err)
			}
			wait = retry
		case !next.IsZero():
			wait = min(wait, max(time.Until(next), 0))
		}
	}
	return wait
}
