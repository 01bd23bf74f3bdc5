package console

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/fengsui/fengsui/cloud-bridge/store"
)

const (
	// streamBuffer is how many changes a reader may be behind before it is cut off.
	streamBuffer = 8192
	// beatEvery is how often the stream says something when nothing happens.
	beatEvery = 5 * time.Second
	// refusedEvery is how often refusals are told at most: they can come in floods.
	refusedEvery = time.Second
	// deviceEvery is how often one device is told at most: one that sends its
	// backlog changes with every commit.
	deviceEvery = time.Second
	// writeWithin is how long one write to a reader may take.
	writeWithin = 10 * time.Second
)

// stream answers with server-sent events (HTML Standard, section 9.2) until the reader
// goes, falls behind, or the Console is closed. An incident is told before any device. It watches before it says hello, so that
// what the reader fetches after hello misses nothing.
func (c *Console) stream(w http.ResponseWriter, r *http.Request) {
	values, err := query(r, "devices")
	if err == nil && values.Has("devices") && values.Get("devices") != "compact" {
		err = badField("devices", values.Get("devices"), "compact, or not to be there")
	}
	if err != nil {
		writeProblem(w, err.(*Problem))
		return
	}
	compact := values.Has("devices")
	watcher := c.options.Store.Watch(streamBuffer)
	defer watcher.Close()
	out := &eventWriter{w: w, control: http.NewResponseController(w)}
	// The server's limit on reading a request would end the stream too.
	if err := out.control.SetReadDeadline(time.Time{}); err != nil && !errors.Is(err, http.ErrNotSupported) {
		c.log.DebugContext(r.Context(), "stream: read deadline", "err", err)
	}
	header := w.Header()
	header.Set("Content-Type", "text/event-stream")
	header.Set("Cache-Control", "no-store")
	header.Set("X-Accel-Buffering", "no")
	beat := time.NewTicker(beatEvery)
	defer beat.Stop()
	calm := time.NewTicker(refusedEvery)
	defer calm.Stop()
	due := time.NewTimer(0)
	defer due.Stop()
	news := news{told: make(map[string]time.Time), waits: make(map[string]bool)}

	var sight map[string]bool
	if compact {
		if sight, err = c.sight(r.Context()); err != nil {
			c.internal(w, r, err)
			return
		}
	}
	err = out.write("hello", Hello{Time{time.Now()}, c.options.Version})
	if err == nil {
		err = out.write("storage", viewStorage(c.options.Store.Trouble()))
	}
	for err == nil {
		select {
		case <-c.closed:
			return
		default:
		}
		if open := news.collect(watcher); !open {
			return // It comes back and fetches everything.
		}
		if len(news.urgent) > 0 {
			if sight != nil && slices.ContainsFunc(news.urgent, func(x store.Change) bool { return x.Kind == store.GridChanged }) {
				if sight, err = c.sight(r.Context()); err != nil {
					break
				}
			}
			err = c.tell(r.Context(), out, news.urgent)
			news.urgent = nil
			continue
		}
		wait := beatEvery
		if compact {
			var ids []string
			if wait, ids = news.due(time.Now()); len(ids) > 0 {
				err = c.moves(r.Context(), out, ids, sight)
				continue
			}
		} else {
			var device string
			if device, wait = news.device(time.Now()); device != "" && wait <= 0 {
				news.tell(device, time.Now())
				err = c.tell(r.Context(), out, []store.Change{{Kind: store.DeviceChanged, Device: device}})
				continue
			}
		}
		due.Reset(wait)
		select {
		case <-r.Context().Done():
			return
		case <-c.closed:
			return
		case <-beat.C:
			err = out.write("beat", Hello{Time{time.Now()}, c.options.Version})
		case change, open := <-watcher.Changes():
			if !open {
				return
			}
			news.add(change)
		case <-due.C:
		case <-calm.C:
			if news.refused {
				news.refused = false
				err = c.tell(r.Context(), out, []store.Change{{Kind: store.RefusedChanged}})
			}
		}
	}
	c.log.DebugContext(r.Context(), "stream ended", "remote", r.RemoteAddr, "err", err)
}

// news is what a reader was not told yet.
type news struct {
	urgent  []store.Change       // each once, in order
	devices []string             // each once, in order
	waits   map[string]bool      // those
	told    map[string]time.Time // when devices were told last
	moved   time.Time            // when all were told last
	refused bool                 // messages were refused
}

// collect takes what has changed by now; open is false when the watcher was cut off.
func (n *news) collect(watcher *store.Watcher) (open bool) {
	for {
		select {
		case change, open := <-watcher.Changes():
			if !open {
				return false
			}
			n.add(change)
		default:
			return true
		}
	}
}

func (n *news) add(change store.Change) {
	switch change.Kind {
	case store.RefusedChanged:
		n.refused = true
	case store.DeviceChanged:
		if !n.waits[change.Device] {
			n.waits[change.Device] = true
			n.devices = append(n.devices, change.Device)
		}
	case store.NoticeChanged: // is the devices' business
	default:
		if !slices.Contains(n.urgent, change) {
			n.urgent = append(n.urgent, change)
		}
	}
}

// device returns the device that is to be told next, and in how long; "" and beatEvery
// when there is none.
func (n *news) device(now time.Time) (id string, wait time.Duration) {
	wait = beatEvery
	for _, d := range n.devices {
		if w := deviceEvery - now.Sub(n.told[d]); id == "" || w < wait {
			id, wait = d, w
		}
		if wait <= 0 {
			break
		}
	}
	return id, max(wait, 0)
}

// due returns all devices that have changed, once a second, or how long there is to wait.
func (n *news) due(now time.Time) (wait time.Duration, ids []string) {
	if len(n.devices) == 0 {
		return beatEvery, nil
	}
	if wait = deviceEvery - now.Sub(n.moved); wait > 0 {
		return wait, nil
	}
	ids, n.devices, n.moved = n.devices, nil, now
	clear(n.waits)
	return 0, ids
}

// tell notes that a device is told now.
func (n *news) tell(device string, now time.Time) {
	delete(n.waits, device)
	n.devices = slices.DeleteFunc(n.devices, func(d string) bool { return d == device })
	n.told[device] = now
}

// tell writes each changed thing as it is now.
func (c *Console) tell(ctx context.Context, out *eventWriter, changes []store.Change) error {
	for _, change := range changes {
		var value any
		name := string(change.Kind)
		switch change.Kind {
		case store.TroubleChanged:
			name, value = "storage", viewStorage(c.options.Store.Trouble())
		case store.IncidentChanged:
			i, err := c.incident(ctx, change.Incident)
			if errors.Is(err, store.ErrNotFound) {
				continue // elsewhere: this reader does not see it
			}
			if err != nil {
				return fmt.Errorf("incident %d: %w", change.Incident, err)
			}
			i.Timeline = nil
			value = viewIncident(i)
		case store.DeviceChanged:
			if err := c.seesDevice(ctx, change.Device); errors.Is(err, store.ErrNotFound) {
				continue
			} else if err != nil {
				return fmt.Errorf("device %s: %w", change.Device, err)
			}
			d, err := c.options.Store.Device(ctx, change.Device)
			if err != nil {
				return fmt.Errorf("device %s: %w", change.Device, err)
			}
			value = viewDevice(d, time.Now())
		case store.RefusedChanged:
			if !actorOf(ctx).Scope.Whole() {
				continue
			}
			refused, err := c.options.Store.Refused(ctx)
			if err != nil {
				return fmt.Errorf("refused: %w", err)
			}
			value = viewRefused(refused)
		case store.UnitChanged, store.GridChanged, store.GroupChanged, store.DrillChanged, store.RosterChanged, store.RoundChanged:
			if change.Device != "" {
				if err := c.seesDevice(ctx, change.Device); errors.Is(err, store.ErrNotFound) {
					continue
				} else if err != nil {
					return fmt.Errorf("device %s: %w", change.Device, err)
				}
			}
			value = Changed{change.Device}
		default:
			continue
		}
		if err := out.write(name, value); err != nil {
			return err
		}
	}
	return nil
}

// Changed names what is to be fetched again: the event says of which kind it is.
type Changed struct {
	Device string `json:"device"`
}

// eventWriter writes events, each within writeWithin.
type eventWriter struct {
	w       http.ResponseWriter
	control *http.ResponseController
}

func (e *eventWriter) write(event string, value any) error {
	data, err := json.Marshal(value) // On one line, as the format wants it.
	if err != nil {
		return err
	}
	if err := e.control.SetWriteDeadline(time.Now().Add(writeWithin)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	if _, err := fmt.Fprintf(e.w, "event: %s\ndata: %s\n\n", event, data); err != nil {
		return err
	}
	return e.control.Flush()
}
