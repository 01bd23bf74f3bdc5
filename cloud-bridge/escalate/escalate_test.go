package escalate_test

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fengsui/fengsui/cloud-bridge/escalate"
	"github.com/fengsui/fengsui/cloud-bridge/incident"
	"github.com/fengsui/fengsui/cloud-bridge/store"
)

// clock is a store of one incident, whose timers it keeps as the real one does.
type clock struct {
	mu    sync.Mutex
	i     incident.Incident
	seen  []time.Duration // when an overrun was counted, since the press
	began time.Time
}

func (c *clock) Escalate(_ context.Context, p incident.Policy) (time.Time, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.i.Overrun(p, time.Now()) {
		c.seen = append(c.seen, time.Since(c.began))
	}
	next, _ := c.i.Due(p)
	return next, nil
}

func (c *clock) MissedRounds(context.Context) (time.Time, error) { return time.Time{}, nil }

// It wakes at each limit, to the second, whatever else happens or does not.
func TestRunWakesAtEachLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		c := &clock{began: now}
		c.i = incident.Incident{Kind: "panic", Priority: 1, Received: now}
		c.i.Opened(now)
		ctx, stop := context.WithCancel(t.Context())
		var run sync.WaitGroup
		run.Go(func() { escalate.Run(ctx, c, incident.DefaultPolicy(), slog.New(slog.DiscardHandler)) })
		time.Sleep(3*time.Minute + time.Second)
		stop()
		run.Wait()
		want := []time.Duration{15 * time.Second, 30 * time.Second, 45 * time.Second, time.Minute, 2 * time.Minute, 3 * time.Minute}
		if len(c.seen) != len(want) {
			t.Fatalf("overruns at %v, want %v", c.seen, want)
		}
		for n := range want {
			if d := c.seen[n] - want[n]; d < 0 || d > time.Second {
				t.Errorf("overrun %d at %v, want %v", n, c.seen[n], want[n])
			}
		}
		if c.i.Tier != incident.District || c.i.Level() != 6 {
			t.Errorf("%s, level %d", c.i.Tier, c.i.Level())
		}
	})
}

// Watch implements escalate.Store; nothing is ever stored here.
func (c *clock) Watch(buffer int) *store.Watcher { return new(store.Store).Watch(buffer) }
