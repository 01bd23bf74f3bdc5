// Package ingest takes devices' messages in: it verifies each, commits them to
// the store in batches, and acknowledges them to the device after the commit
// and not before. It also repeats notices to devices until they answer.
//
// A message that is refused is counted, logged with its reason, kept for the
// desk, and never acknowledged. Alarms and hellos are committed before
// anything else that waits. The package knows no incident and serves nothing.
package ingest

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fengsui/fengsui/cloud-bridge/store"
	"github.com/fengsui/fengsui/firmware/wire"
)

// A Store is what ingest needs of the store. *store.Store has its methods.
type Store interface {
	// Key returns a device's public key; the error wraps store.ErrNotFound.
	Key(ctx context.Context, device string) (ed25519.PublicKey, error)
	// Commit stores a batch durably, or nothing of it. It is idempotent.
	Commit(ctx context.Context, b store.Batch) (store.Committed, error)
	// Pending returns the notices that a device, or "" any, has not answered.
	Pending(ctx context.Context, device string) ([]store.PendingNotice, error)
	// Watch tells of changes.
	Watch(buffer int) *store.Watcher
}

// Options are what an Ingester is made of.
type Options struct {
	Store    Store
	Source   Source
	Key      ed25519.PrivateKey // the centre's
	Registry prometheus.Registerer
	Log      *slog.Logger
}

const (
	maxBatch   = 512  // events that share a commit
	queueSize  = 4096 // verified messages that wait for one
	retryFirst = 100 * time.Millisecond
	retryLimit = 5 * time.Second
)

// An Ingester runs the intake. Make it with New.
type Ingester struct {
	opt    Options
	log    *slog.Logger
	urgent chan item // alarms and hellos
	other  chan item

	mu   sync.Mutex
	keys map[string]ed25519.PublicKey

	failing sync.Map // "commit" → the error of the last commit, while it lasts

	stored, duplicates prometheus.Counter
	refused            *prometheus.CounterVec
	commits, batches   prometheus.Histogram
}

// An item is one message after verification: exactly one member is set.
type item struct {
	arrival  *store.Arrival
	greeting *store.Greeting
	refusal  *store.Refusal
}

// New returns an ingester that does nothing until Run.
func New(opt Options) *Ingester {
	i := &Ingester{
		opt: opt, log: opt.Log, urgent: make(chan item, queueSize), other: make(chan item, queueSize),
		keys:       make(map[string]ed25519.PublicKey),
		stored:     prometheus.NewCounter(prometheus.CounterOpts{Name: "fengsui_events_stored_total", Help: "Events committed for the first time."}),
		duplicates: prometheus.NewCounter(prometheus.CounterOpts{Name: "fengsui_events_duplicate_total", Help: "Events that were stored already."}),
		refused:    prometheus.NewCounterVec(prometheus.CounterOpts{Name: "fengsui_messages_refused_total", Help: "Messages that were not accepted, by reason."}, []string{"reason"}),
		commits:    prometheus.NewHistogram(prometheus.HistogramOpts{Name: "fengsui_commit_seconds", Help: "Time of a commit.", Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14)}),
		batches:    prometheus.NewHistogram(prometheus.HistogramOpts{Name: "fengsui_commit_events", Help: "Messages in a commit.", Buckets: prometheus.ExponentialBuckets(1, 2, 10)}),
	}
	opt.Registry.MustRegister(i.stored, i.duplicates, i.refused, i.commits, i.batches)
	return i
}

// Run subscribes, calls started, and takes messages in until ctx ends; then it
// returns nil when everything that it started has stopped.
func (i *Ingester) Run(ctx context.Context, started func()) error {
	if err := i.opt.Source.Subscribe(func(topic string, msg []byte) { i.take(ctx, topic, msg) }); err != nil {
		return fmt.Errorf("ingest: %w", err)
	}
	started()
	var parts sync.WaitGroup
	parts.Go(func() { i.commitLoop(ctx) })
	parts.Go(func() { i.noticeLoop(ctx) })
	parts.Wait()
	return nil
}

// Ready says why events are not stored now, or nil.
func (i *Ingester) Ready() error {
	if err, failing := i.failing.Load("commit"); failing {
		return fmt.Errorf("events cannot be stored: %w", err.(error))
	}
	return i.opt.Source.Ready()
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

// take verifies a message and queues it.
func (i *Ingester) take(ctx context.Context, topic string, msg []byte) {
	it, err := i.verify(ctx, topic, msg)
	if err != nil {
		var no refusalError
		if !errors.As(err, &no) {
			i.log.Error("message dropped: it will come again", "topic", topic, "err", err)
			return
		}
		i.refused.WithLabelValues(no.reason).Inc()
		i.log.Warn("message refused", "topic", clip(topic), "reason", no.reason, "err", no.err, "bytes", len(msg))
		it.refusal = &store.Refusal{At: time.Now(), Topic: clip(topic), Reason: no.reason, Detail: clip(no.err.Error()), Size: len(msg)}
	}
	to := i.other
	if it.greeting != nil || it.arrival != nil && it.arrival.Event.Lane == wire.Alarm {
		to = i.urgent
	}
	select {
	case to <- it:
	case <-ctx.Done():
	}
}

func clip(s string) string { return s[:min(len(s), 300)] }

type refusalError struct {
	reason string
	err    error
}

func (e refusalError) Error() string { return e.reason + ": " + e.err.Error() }

func (i *Ingester) verify(ctx context.Context, topic string, msg []byte) (item, error) {
	device, kind, err := wire.ParseUpTopic(topic)
	if err != nil {
		return item{}, refusalError{badTopic, err}
	}
	key, err := i.key(ctx, device, false)
	if err != nil {
		return item{}, err
	}
	now := time.Now()
	it, err := open(device, kind, msg, key, now)
	if errors.Is(err, wire.ErrSignature) {
		// The register may have been given another key since.
		fresh, kerr := i.key(ctx, device, true)
		if kerr != nil {
			return item{}, kerr
		}
		if !fresh.Equal(key) {
			it, err = open(device, kind, msg, fresh, now)
		}
	}
	switch {
	case err == nil:
		return it, nil
	case errors.As(err, new(refusalError)):
		return item{}, err
	case errors.Is(err, wire.ErrSignature):
		return item{}, refusalError{badSignature, err}
	case errors.Is(err, wire.ErrMessage):
		return item{}, refusalError{badMessage, err}
	}
	return item{}, refusalError{badEnvelope, err}
}

func open(device, kind string, msg []byte, key ed25519.PublicKey, now time.Time) (item, error) {
	if kind == wire.HelloKind {
		h, err := wire.OpenHello(msg, key)
		if err != nil {
			return item{}, err
		}
		if h.Device != device {
			return item{}, refusalError{wrongTopic, fmt.Errorf("hello of %s on the topic of %s", h.Device, device)}
		}
		return item{greeting: &store.Greeting{Hello: h, Received: now}}, nil
	}
	e, err := wire.Open(msg, key)
	if err != nil {
		return item{}, err
	}
	if e.Device != device || e.Lane.String() != kind {
		return item{}, refusalError{wrongTopic, fmt.Errorf("event of %s, lane %v on the topic of %s, lane %s", e.Device, e.Lane, device, kind)}
	}
	return item{arrival: &store.Arrival{Event: e, Message: append([]byte(nil), msg...), Received: now}}, nil
}

// key returns a device's key, from memory unless fresh.
func (i *Ingester) key(ctx context.Context, device string, fresh bool) (ed25519.PublicKey, error) {
	i.mu.Lock()
	key, ok := i.keys[device]
	i.mu.Unlock()
	if ok && !fresh {
		return key, nil
	}
	key, err := i.opt.Store.Key(ctx, device)
	if errors.Is(err, store.ErrNotFound) {
		return nil, refusalError{unknownDevice, err}
	}
	if err != nil {
		return nil, err
	}
	i.mu.Lock()
	i.keys[device] = key
	i.mu.Unlock()
	return key, nil
}

// commitLoop commits what waits, and acknowledges it.
func (i *Ingester) commitLoop(ctx context.Context) {
	for {
		b, ok := i.gather(ctx)
		if !ok {
			return
		}
		done, err := i.commit(ctx, b)
		if err != nil {
			return // ctx ended: the devices send it again
		}
		i.stored.Add(float64(done.Stored))
		i.duplicates.Add(float64(done.Duplicates))
		for _, a := range done.Acks {
			i.send(a.Device, &a.Ack)
		}
		for _, g := range b.Greetings {
			i.sendPending(ctx, g.Hello.Device)
		}
	}
}

// gather waits for a message and takes what else waits, the urgent first.
func (i *Ingester) gather(ctx context.Context) (b store.Batch, ok bool) {
	add := func(it item) {
		switch {
		case it.arrival != nil:
			b.Arrivals = append(b.Arrivals, *it.arrival)
		case it.greeting != nil:
			b.Greetings = append(b.Greetings, *it.greeting)
		case it.refusal != nil:
			b.Refusals = append(b.Refusals, *it.refusal)
		}
	}
	select {
	case it := <-i.urgent:
		add(it)
	default:
		select {
		case it := <-i.urgent:
			add(it)
		case it := <-i.other:
			add(it)
		case <-ctx.Done():
			return b, false
		}
	}
	for n := 1; n < maxBatch; n++ {
		select {
		case it := <-i.urgent:
			add(it)
			continue
		default:
		}
		if len(b.Arrivals) > 0 && b.Arrivals[0].Event.Lane == wire.Alarm {
			return b, true // an alarm does not wait for a large commit
		}
		select {
		case it := <-i.other:
			add(it)
		default:
			return b, true
		}
	}
	return b, true
}

// commit tries until it succeeds or ctx ends.
func (i *Ingester) commit(ctx context.Context, b store.Batch) (store.Committed, error) {
	for wait := retryFirst; ; wait = min(2*wait, retryLimit) {
		began := time.Now()
		done, err := i.opt.Store.Commit(ctx, b)
		if err == nil {
			i.failing.Delete("commit")
			i.commits.Observe(time.Since(began).Seconds())
			i.batches.Observe(float64(len(b.Arrivals) + len(b.Greetings) + len(b.Refusals)))
			return done, nil
		}
		if ctx.Err() != nil {
			return done, ctx.Err()
		}
		i.failing.Store("commit", err)
		i.log.Error("commit failed: nothing of it is acknowledged", "events", len(b.Arrivals), "retry_in", wait, "err", err)
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return done, ctx.Err()
		}
	}
}

// send seals a message for a device and publishes it. Whatever is lost on the
// way is asked for again, or sent again.
func (i *Ingester) send(device string, body wire.DownBody) {
	msg, err := wire.SealDown(&wire.Down{Device: device, CentreTime: time.Now().UnixMilli(), Body: body}, i.opt.Key)
	if err == nil {
		err = i.opt.Source.Publish(wire.DownTopic(device), msg)
	}
	if err != nil {
		i.log.Warn("message to a device not sent", "device", device, "err", err)
	}
}
