package ingest

import (
	"context"
	"time"

	"github.com/fengsui/fengsui/cloud-bridge/store"
	"github.com/fengsui/fengsui/firmware/wire"
)

const (
	repeatFirst = time.Second
	repeatLimit = 30 * time.Second
)

// A repeat is when a notice goes out next.
type repeat struct {
	rev  uint64
	due  time.Time
	wait time.Duration
}

type noticeKey struct {
	device string
	alarm  wire.AlarmID
}

// noticeLoop sends each notice when it arises, and again after 1, 2, 4 … 30
// seconds until the device has answered it.
func (i *Ingester) noticeLoop(ctx context.Context) {
	due := make(map[noticeKey]*repeat)
	tick := time.NewTicker(repeatFirst / 2)
	defer tick.Stop()
	w := i.opt.Store.Watch(1024)
	defer func() { w.Close() }()
	i.repeatNotices(ctx, "", due)
	for {
		select {
		case <-ctx.Done():
			return
		case c, ok := <-w.Changes():
			if !ok { // fell behind: the ticks find what was missed
				if ctx.Err() != nil {
					return
				}
				w = i.opt.Store.Watch(1024)
				continue
			}
			if c.Kind == store.NoticeChanged {
				i.repeatNotices(ctx, c.Device, due)
			}
		case <-tick.C:
			i.repeatNotices(ctx, "", due)
		}
	}
}

// repeatNotices sends what is due of a device's pending notices, or of all.
func (i *Ingester) repeatNotices(ctx context.Context, device string, due map[noticeKey]*repeat) {
	pending, err := i.opt.Store.Pending(ctx, device)
	if err != nil {
		if ctx.Err() == nil {
			i.log.Error("notices not read", "err", err)
		}
		return
	}
	now := time.Now()
	waiting := make(map[noticeKey]bool)
	for _, p := range pending {
		k := noticeKey{p.Device, p.Notice.Alarm}
		waiting[k] = true
		r := due[k]
		if r == nil || r.rev != p.Notice.Rev {
			r = &repeat{rev: p.Notice.Rev, wait: repeatFirst}
			due[k] = r
		} else if now.Before(r.due) {
			continue
		} else {
			r.wait = min(2*r.wait, repeatLimit)
		}
		r.due = now.Add(r.wait)
		i.send(p.Device, &p.Notice)
	}
	for k := range due {
		if !waiting[k] && (device == "" || k.device == device) {
			delete(due, k)
		}
	}
}

// sendPending sends a device's notices at once, because it has just said hello.
func (i *Ingester) sendPending(ctx context.Context, device string) {
	pending, err := i.opt.Store.Pending(ctx, device)
	if err != nil {
		i.log.Error("notices not read", "device", device, "err", err)
		return
	}
	for _, p := range pending {
		i.send(device, &p.Notice)
	}
}
