package play

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/fengsui/fengsui/sim/desk"
	"github.com/fengsui/fengsui/sim/ledger"
	"github.com/fengsui/fengsui/sim/mono"
)

// A seen is an incident as the desk last told it, and when its presses were
// first told.
type seen struct {
	desk.Incident
	presses []time.Duration // the i-th was told then
}

// A watcher follows the desk's stream.
type watcher struct {
	client *desk.Client
	stop   context.CancelFunc
	done   chan struct{}

	mu    sync.Mutex
	old   map[string]bool // incidents from before the timeline
	seen  []seen          // in the order in which they came
	wakes map[chan struct{}]struct{}
}

// watch starts a watcher and returns when the stream runs.
func watch(ctx context.Context, c *desk.Client) (*watcher, error) {
	before, err := c.Incidents(ctx)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(ctx)
	w := &watcher{client: c, stop: stop, done: make(chan struct{}), old: make(map[string]bool), wakes: make(map[chan struct{}]struct{})}
	for _, i := range before {
		w.old[i.ID] = true
	}
	ready := make(chan struct{})
	var once sync.Once
	go func() {
		defer close(w.done)
		for ctx.Err() == nil {
			err := c.Watch(ctx, func() { w.catchUp(ctx); once.Do(func() { close(ready) }) }, w.told)
			if err != nil && ctx.Err() == nil {
				sleepUntil(ctx, mono.Now()+100*time.Millisecond) // the centre is away: it comes back, or the scenario fails
			}
		}
	}()
	select {
	case <-ready:
		return w, nil
	case <-ctx.Done():
		w.close()
		return nil, fmt.Errorf("play: the desk's stream: %w", context.Cause(ctx))
	}
}

// catchUp fetches what changed while there was no stream.
func (w *watcher) catchUp(ctx context.Context) {
	all, err := w.client.Incidents(ctx)
	if err != nil {
		return // the stream breaks too, and begins again
	}
	for _, i := range all {
		w.told(i)
	}
}

func (w *watcher) told(i desk.Incident) {
	now := mono.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.old[i.ID] {
		return
	}
	at := slices.IndexFunc(w.seen, func(s seen) bool { return s.ID == i.ID })
	if at < 0 {
		at = len(w.seen)
		w.seen = append(w.seen, seen{})
	}
	s := &w.seen[at]
	s.Incident = i
	for uint64(len(s.presses)) < i.Presses {
		s.presses = append(s.presses, now)
	}
	for c := range w.wakes {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

func (w *watcher) all() []seen {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.seen)
}

// until calls f with all incidents, again at each change, until it is true
// (and returns true), or until the deadline or ctx's end.
func (w *watcher) until(ctx context.Context, deadline time.Duration, f func([]seen) bool) bool {
	wake := make(chan struct{}, 1)
	w.mu.Lock()
	w.wakes[wake] = struct{}{}
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.wakes, wake)
	}()
	t := time.NewTimer(deadline - mono.Now())
	defer t.Stop()
	for {
		if f(w.all()) {
			return true
		}
		select {
		case <-wake:
		case <-t.C:
			return false
		case <-ctx.Done():
			return false
		}
	}
}

func (w *watcher) close() {
	w.stop()
	<-w.done
}

// A log is what is known of a device's events at the desk.
type log struct {
	events []ledger.Event
	next   string // cursor
}

// events returns all events of all devices; it fetches what is new.
func (p *player) events(ctx context.Context) ([]ledger.Event, error) {
	p.fetch.Lock()
	defer p.fetch.Unlock()
	var all []ledger.Event
	for _, id := range p.d.IDs() {
		if p.known[id] == nil {
			p.known[id] = new(log)
		}
		for l := p.known[id]; ; {
			page, next, err := p.d.Desk.Events(ctx, id, l.next)
			if err != nil {
				return nil, err
			}
			for _, e := range page {
				ev, err := entry(id, e)
				if err != nil {
					return nil, err
				}
				l.events = append(l.events, ev)
			}
			if len(page) == 0 || next == l.next {
				break
			}
			l.next = next
		}
		all = append(all, p.known[id].events...)
	}
	return all, nil
}

// entry turns a row of the API into what the ledger compares.
func entry(device string, e desk.Event) (ledger.Event, error) {
	var b struct {
		Button string
		By     string
		Fixes  []struct {
			Time     time.Time
			Lat, Lon float64
			Jumped   bool
		}
	}
	if err := json.Unmarshal(e.Body, &b); err != nil {
		return ledger.Event{}, fmt.Errorf("play: event %s of %s: %w", e.ID, device, err)
	}
	ev := ledger.Event{
		Device: device, Stream: e.Stream, Lane: e.Lane, Seq: e.Seq, Boot: e.Boot,
		Mono: time.Duration(e.MonoMS) * time.Millisecond, Type: e.Type, Button: b.Button, By: b.By,
	}
	for _, f := range b.Fixes {
		ev.Fixes = append(ev.Fixes, ledger.Fix{Time: f.Time, Lat: f.Lat, Lon: f.Lon})
		if f.Jumped {
			ev.Jumped++
		}
	}
	return ev, nil
}
