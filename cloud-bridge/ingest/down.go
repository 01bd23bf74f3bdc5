package ingest

import (
	"context"
	"sync"
	"time"

	"github.com/fengsui/fengsui/cloud-bridge/store"
	"github.com/fengsui/fengsui/firmware/wire"
)

// How often a notice is repeated until its device answers.
const (
	repeatFirst = time.Second
	repeatLast  = 30 * time.Second
)

// down is the way to the devices: acknowledgements of what was committed, and
// notices, sounds, assignments and modes until they are answered.
type down struct {
	o       Options
	metrics metrics

	mu      sync.Mutex
	acks    map[ackKey]wire.Ack // not sent yet; a later one replaces an earlier
	greeted map[string]bool     // devices that get their notices at once
	wake    chan struct{}

	repeats map[levelKey]*repeat // only touched by run
}

type ackKey struct {
	device string
	stream wire.StreamID
}

type levelKey struct{ device, what string }

// maxKept bounds an Ack's list of kept events.
const maxKept = 256

// repeat is a level that waits for its answer.
type repeat struct {
	rev   uint64
	body  wire.DownBody
	next  time.Time
	pause time.Duration // after next
}

func newDown(o Options, m metrics) *down {
	return &down{
		o: o, metrics: m, acks: make(map[ackKey]wire.Ack), greeted: make(map[string]bool),
		wake: make(chan struct{}, 1), repeats: make(map[levelKey]*repeat),
	}
}

// send has acknowledgements sent, now that what they say is committed, and
// greetings answered.
func (d *down) send(acks []store.DeviceAck, greetings []store.Greeting) {
	d.mu.Lock()
	echoes := make(map[ackKey]*wire.Echo)
	for _, g := range greetings {
		d.greeted[g.Hello.Device] = true
		echoes[ackKey{g.Hello.Device, g.Hello.Stream}] = &wire.Echo{Boot: g.Hello.Boot, MonoMs: g.Hello.MonoMs}
	}
	for _, a := range acks {
		k := ackKey{a.Device, a.Ack.Stream}
		if a.Ack.Echo = echoes[k]; a.Ack.Echo == nil {
			a.Ack.Echo = d.acks[k].Echo // of a hello that was not answered yet
		}
		a.Ack.Kept = append(d.acks[k].Kept, a.Ack.Kept...)
		a.Ack.Kept = a.Ack.Kept[:min(len(a.Ack.Kept), maxKept)] // the rest will come again
		d.acks[k] = a.Ack
	}
	d.mu.Unlock()
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// run sends until ctx is done.
func (d *down) run(ctx context.Context) {
	const (
		buffer = 1024
		again  = 100 * time.Millisecond // until it watches again when it fell behind
	)
	var watch *store.Watcher
	var changes <-chan store.Change
	begin := time.NewTimer(0)
	defer begin.Stop()
	due := time.NewTimer(repeatLast)
	defer due.Stop()
	for {
		due.Reset(d.due())
		select {
		case <-ctx.Done():
			if watch != nil {
				watch.Close()
			}
			return
		case <-d.wake:
			d.answer()
		case <-due.C:
			d.repeat()
		case <-begin.C:
			watch = d.o.Store.Watch(buffer)
			changes = watch.Changes()
			d.load(ctx, "")
		case c, ok := <-changes:
			switch {
			case !ok: // everything may have changed
				changes = nil
				begin.Reset(again)
			case c.Kind == store.NoticeChanged:
				d.load(ctx, c.Device)
			}
		}
	}
}

// answer sends what send has put down.
func (d *down) answer() {
	d.mu.Lock()
	acks, greeted := d.acks, d.greeted
	d.acks, d.greeted = make(map[ackKey]wire.Ack), make(map[string]bool)
	d.mu.Unlock()
	for k, a := range acks {
		if d.publish(k.device, &a) {
			d.metrics.acks.Inc()
		}
	}
	for device := range greeted {
		for k, r := range d.repeats {
			if k.device == device {
				r.next, r.pause = time.Time{}, repeatFirst
			}
		}
	}
	if len(greeted) > 0 {
		d.repeat()
	}
}

// load reads what a device, or for "" any, has not answered, sends what is new
// of it and forgets what was answered or has ended.
func (d *down) load(ctx context.Context, device string) {
	pending, err := d.o.Store.Pending(ctx, device)
	var levels []store.Level
	if err == nil {
		levels, err = d.o.Store.Levels(ctx, device)
	}
	if err != nil {
		if ctx.Err() == nil {
			d.o.Log.Error("what is to be told was not read", "device", device, "error", err)
		}
		return
	}
	for _, p := range pending {
		levels = append(levels, store.Level{Device: p.Device, Key: "notice/" + p.Notice.Alarm.String(), Rev: p.Notice.Rev, Body: &p.Notice})
	}
	have := make(map[levelKey]bool)
	for _, l := range levels {
		k := levelKey{l.Device, l.Key}
		have[k] = true
		if r := d.repeats[k]; r == nil || r.rev != l.Rev {
			d.repeats[k] = &repeat{rev: l.Rev, body: l.Body, pause: repeatFirst}
		}
	}
	for k := range d.repeats {
		if !have[k] && (device == "" || k.device == device) {
			delete(d.repeats, k)
		}
	}
	d.repeat()
}

// ended reports whether a level says nothing any more by itself.
func ended(b wire.DownBody, now time.Time) bool {
	switch b := b.(type) {
	case *wire.Sound:
		return b.On && b.Until <= now.UnixMilli()
	case *wire.Mode:
		return b.Drill && b.Until <= now.UnixMilli()
	}
	return false
}

// repeat sends what has come due.
func (d *down) repeat() {
	now := time.Now()
	for k, r := range d.repeats {
		if r.next.After(now) {
			continue
		}
		if ended(r.body, now) {
			delete(d.repeats, k)
			continue
		}
		if d.publish(k.device, r.body) {
			d.metrics.notices.Inc()
		}
		r.next = now.Add(r.pause)
		r.pause = min(2*r.pause, repeatLast)
	}
}

// due returns the time until the next repetition.
func (d *down) due() time.Duration {
	wait := repeatLast
	for _, r := range d.repeats {
		wait = min(wait, time.Until(r.next))
	}
	return max(wait, 0)
}

func (d *down) publish(device string, b wire.DownBody) bool {
	msg, err := wire.SealDown(&wire.Down{Device: device, CentreTime: time.Now().UnixMilli(), Body: b}, d.o.Key)
	if err == nil {
		err = d.o.Source.Publish(wire.DownTopic(device), msg)
	}
	if err != nil {
		d.o.Log.Warn("not sent", "device", device, "type", b.DownType(), "error", err)
		return false
	}
	return true
}
