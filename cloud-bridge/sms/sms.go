// Package sms is the centre's end of the second path: alarms that come by SMS,
// because a device's own way to the centre is broken, and the answers to them.
//
// A message comes by one of two routes, the centre's own modem ([Modem]) or a
// gateway that calls a webhook ([Webhook]). It is believed by the device's
// signature, not by the number that it comes from, stored, and only then
// answered, by the route and to the number that it came from. One that is not
// believed is counted among the centre's refusals. Until the device has said
// over its own way that its lamps show what the desk did, that goes by SMS as
// well, once for each step.
//
// It decides nothing about incidents: package store does.
package sms

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

// ErrRefused means that a message is not one of a device's, or not for this
// centre. It is done with: it would be refused again.
var ErrRefused = errors.New("SMS refused")

// A Store keeps what comes; it is a *[store.Store].
type Store interface {
	Key(ctx context.Context, device string) (ed25519.PublicKey, error)
	Tags(ctx context.Context) (map[wire.SMSTag][]string, error)
	Text(ctx context.Context, x store.Text) (store.Texted, error)
	PendingTexts(ctx context.Context) ([]store.PendingText, error)
	Commit(ctx context.Context, b store.Batch) (store.Committed, error)
	Watch(buffer int) *store.Watcher
}

// Options are what a Desk is made of.
type Options struct {
	Store    Store
	Key      ed25519.PrivateKey    // the centre's; signs answers
	Registry prometheus.Registerer // gets the metrics
	Log      *slog.Logger
	// Patience is how long a device may take to answer a step of the desk before
	// it goes by SMS; 0: 10 s.
	Patience time.Duration
}

// A Sender sends one SMS of 8-bit data and returns when the network, or the
// gateway, has taken it.
type Sender func(ctx context.Context, number string, data []byte) error

// A Desk takes in alarms that come by SMS and answers them. Its methods may be
// called from any goroutine.
type Desk struct {
	o        Options
	received *prometheus.CounterVec
	answered *prometheus.CounterVec
	modem    *prometheus.GaugeVec

	mu      sync.Mutex
	senders map[string]Sender // by route
	state   ModemState        // of the centre's modem; "" without one
}

// New returns a desk without routes.
func New(o Options) *Desk {
	if o.Patience == 0 {
		o.Patience = 10 * time.Second
	}
	d := &Desk{
		o: o, senders: make(map[string]Sender),
		received: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fengsui_sms_received_total", Help: "SMS that came, by route and by what became of them.",
		}, []string{"route", "result"}),
		answered: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fengsui_sms_sent_total", Help: "SMS to devices, by route and by whether the network took them.",
		}, []string{"route", "result"}),
		modem: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "fengsui_sms_modem", Help: "1 for the state that the centre's own modem is in; none without one.",
		}, []string{"state"}),
	}
	o.Registry.MustRegister(d.received, d.answered, d.modem)
	return d
}

// route has messages sent by a route.
func (d *Desk) route(name string, send Sender) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.senders[name] = send
}

// Take takes a message in and returns the answer to it, signed. The error wraps
// [ErrRefused] when the message is at fault; any other is the centre's own
// trouble, and the message is to be given again.
func (d *Desk) Take(ctx context.Context, route, sender string, data []byte) ([]byte, error) {
	now := time.Now()
	a, reason, err := d.open(ctx, data)
	switch {
	case reason != "":
		d.received.WithLabelValues(route, "refused").Inc()
		d.refuse(ctx, sender, reason, err, len(data), now)
		return nil, fmt.Errorf("%w: %s: %w", ErrRefused, reason, err)
	case err != nil:
		d.received.WithLabelValues(route, "failed").Inc()
		return nil, err
	}
	done, err := d.o.Store.Text(ctx, store.Text{Alarm: a, Message: data, Sender: sender, Route: route, Received: now})
	if err != nil {
		d.received.WithLabelValues(route, "failed").Inc()
		return nil, err
	}
	result := "again"
	if done.Fresh {
		result = "stored"
	}
	d.received.WithLabelValues(route, result).Inc()
	d.o.Log.Info("alarm by SMS", "device", a.Device, "alarm", a.Alarm, "press", a.Press, "route", route, "result", result)
	return wire.SealSMSAnswer(&done.Answer, d.o.Key)
}

// Reasons of refusal, as package ingest counts them.
const (
	unknownDevice = "unknown device"
	badSignature  = "bad signature"
	badEnvelope   = "bad envelope"
	badMessage    = "bad message"
)

// open verifies a message. The reason is "" unless the message is at fault.
func (d *Desk) open(ctx context.Context, data []byte) (a *wire.SMSAlarm, reason string, err error) {
	tag, err := wire.TagOfSMS(data)
	if err != nil {
		return nil, badEnvelope, err
	}
	tags, err := d.o.Store.Tags(ctx)
	if err != nil {
		return nil, "", err
	}
	if len(tags[tag]) == 0 {
		return nil, unknownDevice, fmt.Errorf("no device has the tag %x", tag)
	}
	for _, id := range tags[tag] {
		key, err := d.o.Store.Key(ctx, id)
		if err != nil {
			if errors.Is(err, store.ErrNotFound) {
				return nil, unknownDevice, err
			}
			return nil, "", err
		}
		a, err := wire.OpenSMSAlarm(data, id, key)
		switch {
		case err == nil:
			return a, "", nil
		case errors.Is(err, wire.ErrMessage):
			return nil, badMessage, err
		}
		reason = badSignature
	}
	return nil, reason, wire.ErrSignature
}

// refuse keeps a refusal for people to see.
func (d *Desk) refuse(ctx context.Context, sender, reason string, err error, size int, at time.Time) {
	d.o.Log.Warn("SMS refused", "from", sender, "reason", reason, "size", size, "error", err)
	_, cerr := d.o.Store.Commit(ctx, store.Batch{Refusals: []store.Refusal{{
		At: at, Topic: "sms/" + cut(sender, 32), Reason: reason, Detail: cut(err.Error(), 256), Size: size,
	}}})
	if cerr != nil && ctx.Err() == nil {
		d.o.Log.Error("refusal not kept", "error", cerr)
	}
}

// cut shortens s to n bytes, valid as UTF-8 whatever s was.
func cut(s string, n int) string {
	var out []rune
	for _, c := range s {
		if n -= len(string(c)); n < 0 {
			break
		}
		out = append(out, c)
	}
	return string(out)
}

// send sends a message by a route.
func (d *Desk) send(ctx context.Context, route, number string, data []byte) error {
	d.mu.Lock()
	send := d.senders[route]
	d.mu.Unlock()
	err := fmt.Errorf("no route %q", route)
	if send != nil {
		err = send(ctx, number, data)
	}
	result := "sent"
	if err != nil {
		result = "failed"
		d.o.Log.Warn("SMS not sent", "route", route, "to", number, "error", err)
	}
	d.answered.WithLabelValues(route, result).Inc()
	return err
}

// A told names a step of the desk that went by SMS.
type told struct {
	device string
	alarm  wire.AlarmID
}

// Run sends by SMS what the desk did and the devices have not answered, until
// ctx ends.
func (d *Desk) Run(ctx context.Context) {
	const every = time.Second
	tick := time.NewTicker(every)
	defer tick.Stop()
	watch := d.o.Store.Watch(256)
	defer func() { watch.Close() }()
	sent := make(map[told]uint64) // the revision that went; kept in memory, for once more does no harm
	waits := true
	for {
		select {
		case <-ctx.Done():
			return
		case c, ok := <-watch.Changes():
			if !ok { // it fell behind
				watch = d.o.Store.Watch(256)
				waits = true
				if !sleep(ctx, every) { // or the store is closed
					return
				}
			}
			waits = waits || c.Kind == store.NoticeChanged
		case <-tick.C:
			if waits {
				waits = d.tell(ctx, sent)
			}
		}
	}
}

// tell sends the notices whose time has come, and reports whether others wait.
func (d *Desk) tell(ctx context.Context, sent map[told]uint64) (more bool) {
	pending, err := d.o.Store.PendingTexts(ctx)
	if err != nil {
		if ctx.Err() == nil {
			d.o.Log.Error("pending notices not read", "error", err)
		}
		return true
	}
	for _, p := range pending {
		k := told{p.Device, p.Notice.Alarm}
		switch {
		case sent[k] >= p.Notice.Rev:
			continue
		case time.Since(p.Since) < d.o.Patience:
			more = true
			continue
		}
		msg, err := wire.SealSMSAnswer(&wire.SMSAnswer{
			Device: p.Device, Alarm: p.Notice.Alarm, Press: p.Press, State: p.Notice.State, Rev: p.Notice.Rev,
			CentreTime: time.Now().UnixMilli(), Unit: p.Notice.Unit,
		}, d.o.Key)
		if err != nil {
			d.o.Log.Error("notice by SMS", "device", p.Device, "error", err)
			sent[k] = p.Notice.Rev
			continue
		}
		if d.send(ctx, p.Route, p.Sender, msg) != nil {
			more = true // in a second
			continue
		}
		sent[k] = p.Notice.Rev
	}
	return more
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
