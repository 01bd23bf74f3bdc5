// Package ingest brings what devices send into the store and answers them.
//
// Each message is verified against the device's registered key, committed
// together with whatever else is waiting, and only then acknowledged. A
// message that is not accepted is counted under its reason, logged, kept for
// people to see, and never acknowledged. An event that could not be committed
// is not acknowledged either: the device still has it and sends it again.
// Alarms go their own way past everything else.
//
// It is no broker and no database: it reads a [Source] and writes a [Store].
package ingest

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fengsui/fengsui/cloud-bridge/store"
	"github.com/fengsui/fengsui/firmware/wire"
)

// A Store keeps events; it is a *[store.Store].
type Store interface {
	// Key returns a device's public key; the error wraps [store.ErrNotFound]
	// when there is no such device.
	Key(ctx context.Context, device string) (ed25519.PublicKey, error)
	// Commit stores a batch durably, or nothing of it. It is idempotent.
	Commit(ctx context.Context, b store.Batch) (store.Committed, error)
	Notices
}

// Notices are what devices have not answered yet.
type Notices interface {
	// Pending returns those of one device or, for "", of all.
	Pending(ctx context.Context, device string) ([]store.PendingNotice, error)
	// Levels returns what else they have not answered.
	Levels(ctx context.Context, device string) ([]store.Level, error)
	// Watch tells of changes; the watcher is closed by the caller.
	Watch(buffer int) *store.Watcher
}

// Options are what an Ingester is made of; all are required.
type Options struct {
	Store    Store
	Source   Source
	Key      ed25519.PrivateKey    // the centre's; signs what goes to the devices
	Registry prometheus.Registerer // gets the metrics; an Ingester registers them once
	Log      *slog.Logger
}

// Sizes of the queues, in messages. What does not fit is dropped: the device
// sends it again.
const (
	urgentQueue = 1024
	bulkQueue   = 8192
	shards      = 2 // goroutines that verify what is not urgent
)

// An Ingester takes in events while it runs.
type Ingester struct {
	o       Options
	metrics metrics
	seed    maphash.Seed

	urgent   chan message         // alarms, as they came
	bulk     [shards]chan message // all else, a device always in the same
	alarms   chan item            // verified
	others   chan item
	refusals refusals
	down     *down
	failing  atomic.Pointer[error] // of the last commit, while they fail

	// Only touched by commit.
	rest     []item        // of the last batch: alarms took its place
	resume   time.Time     // when the next batch without alarms may begin
	took     time.Duration // what the last of those took
	synced   time.Duration // and the disk of that
	alarmed  time.Time     // when an alarm was last committed
	refusing bool          // the store refuses everything, whatever it is
	cause    store.Cause   // for that
	logged   time.Time
}

// message is an uplink message as it came.
type message struct {
	topic, device, kind string
	payload             []byte
	received            time.Time
}

// item is a verified message: an event or a hello.
type item struct {
	arrival  store.Arrival
	greeting store.Greeting
	tries    int // commits that failed
}

// New makes an Ingester that does nothing until Run.
func New(o Options) *Ingester {
	m := newMetrics(o.Registry)
	i := &Ingester{
		o: o, metrics: m, seed: maphash.MakeSeed(),
		urgent: make(chan message, urgentQueue),
		alarms: make(chan item, urgentQueue), others: make(chan item, maxBatch),
		refusals: refusals{log: o.Log, metrics: m},
	}
	for n := range i.bulk {
		i.bulk[n] = make(chan message, bulkQueue/shards)
	}
	i.down = newDown(o, m)
	return i
}

// Run subscribes, calls started, and takes events in until ctx is done; then
// it finishes the commit that is under way and returns nil. It is called once.
func (i *Ingester) Run(ctx context.Context, started func()) error {
	if err := i.o.Source.Subscribe(func(topic string, payload []byte) { i.take(ctx, topic, payload) }); err != nil {
		return fmt.Errorf("ingest: %w", err)
	}
	started()
	var parts sync.WaitGroup
	parts.Go(func() { i.verify(ctx, i.urgent, i.alarms) })
	for n := range i.bulk {
		parts.Go(func() { i.verify(ctx, i.bulk[n], i.others) })
	}
	parts.Go(func() { i.commit(ctx) })
	parts.Go(func() { i.down.run(ctx) })
	parts.Wait()
	return nil
}

// Ready says why events are not stored now, or nil.
func (i *Ingester) Ready() error {
	if err := i.failing.Load(); err != nil {
		return fmt.Errorf("events cannot be stored: %w", *err)
	}
	return i.o.Source.Ready()
}

// take puts a message into its queue. It is what the source calls.
func (i *Ingester) take(ctx context.Context, topic string, payload []byte) {
	if ctx.Err() != nil {
		return
	}
	m := message{topic: topic, payload: append([]byte(nil), payload...), received: time.Now()}
	var err error
	if m.device, m.kind, err = wire.ParseUpTopic(topic); err != nil {
		i.refuse(m, badTopic, err)
		return
	}
	queue := i.urgent
	if m.kind != wire.Alarm.String() {
		queue = i.bulk[maphash.String(i.seed, m.device)%shards]
	}
	select {
	case queue <- m:
	default:
		i.metrics.overflow.Inc()
	}
}

// verify opens messages of one queue and passes on what is genuine.
func (i *Ingester) verify(ctx context.Context, in <-chan message, out chan<- item) {
	for {
		select {
		case <-ctx.Done():
			return
		case m := <-in:
			it, reason, err := i.open(ctx, m)
			switch {
			case reason != "":
				i.refuse(m, reason, err)
				continue
			case err != nil: // the centre's own trouble
				if ctx.Err() == nil {
					i.o.Log.Error("event not taken in; the device will send it again", "device", m.device, "error", err)
				}
				continue
			}
			select {
			case out <- it:
			case <-ctx.Done():
				return
			}
		}
	}
}

// open verifies a message. The reason is "" unless the message is at fault.
func (i *Ingester) open(ctx context.Context, m message) (it item, reason string, err error) {
	key, err := i.o.Store.Key(ctx, m.device)
	if err != nil {
		if errors.Is(err, store.ErrNotFound) {
			reason = unknownDevice
		}
		return it, reason, err
	}
	var device, lane string
	if m.kind == wire.HelloKind {
		h, err := wire.OpenHello(m.payload, key)
		if err != nil {
			return it, why(err), err
		}
		device, lane = h.Device, wire.HelloKind
		it.greeting = store.Greeting{Hello: h, Received: m.received}
	} else {
		e, err := wire.Open(m.payload, key)
		if err != nil {
			return it, why(err), err
		}
		device, lane = e.Device, e.Lane.String()
		it.arrival = store.Arrival{Event: e, Message: m.payload, Received: m.received}
	}
	switch {
	case device != m.device:
		return it, wrongTopic, fmt.Errorf("of device %s, on the topic of %s", device, m.device)
	case lane != m.kind:
		return it, wrongTopic, fmt.Errorf("of lane %s, on the topic of %s", lane, m.kind)
	}
	return it, "", nil
}

// Reasons of refusal. They are counted under these words.
const (
	badTopic      = "bad topic"
	unknownDevice = "unknown device"
	badSignature  = "bad signature"
	badEnvelope   = "bad envelope"
	badMessage    = "bad message"
	wrongTopic    = "topic of another device or lane"
)

// why names the reason of an error of package wire.
func why(err error) string {
	switch {
	case errors.Is(err, wire.ErrSignature):
		return badSignature
	case errors.Is(err, wire.ErrMessage):
		return badMessage
	}
	return badEnvelope
}
