package ingest

import (
	"log/slog"
	"sync"
	"time"

	"github.com/fengsui/fengsui/cloud-bridge/store"
)

const (
	keptTopic  = 128  // bytes of a topic that are kept
	keptDetail = 256  // bytes of an error that are kept
	keptWait   = 4096 // refusals that wait for the next commit
	logsASec   = 20   // lines of the log
)

// refusals wait for the next commit. What comes faster than that is counted
// in the metrics only.
type refusals struct {
	log     *slog.Logger
	metrics metrics

	mu     sync.Mutex
	wait   []store.Refusal
	second int64 // the second that logged counts
	logged int
}

// refuse counts, logs and keeps a message that is not accepted.
func (i *Ingester) refuse(m message, reason string, err error) {
	i.refusals.add(store.Refusal{
		At: m.received, Topic: cut(m.topic, keptTopic), Reason: reason, Detail: cut(err.Error(), keptDetail), Size: len(m.payload),
	})
}

func (r *refusals) add(ref store.Refusal) {
	r.metrics.refused.WithLabelValues(ref.Reason).Inc()
	r.mu.Lock()
	defer r.mu.Unlock()
	if sec := ref.At.Unix(); sec != r.second {
		if r.logged > logsASec {
			r.log.Warn("more messages refused", "count", r.logged-logsASec, "at", time.Unix(r.second, 0).UTC())
		}
		r.second, r.logged = sec, 0
	}
	if r.logged++; r.logged <= logsASec {
		r.log.Warn("message refused", "topic", ref.Topic, "reason", ref.Reason, "size", ref.Size, "error", ref.Detail)
	}
	if len(r.wait) < keptWait {
		r.wait = append(r.wait, ref)
	}
}

func (r *refusals) drain() []store.Refusal {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := r.wait
	r.wait = nil
	return out
}

// putBack returns what could not be kept.
func (r *refusals) putBack(refs []store.Refusal) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.wait = append(refs, r.wait...)
	r.wait = r.wait[:min(len(r.wait), keptWait)]
}

// cut shortens s to n bytes, valid as UTF-8 whatever s was.
func cut(s string, n int) string {
	out := make([]rune, 0, n)
	for _, c := range s {
		if n -= len(string(c)); n < 0 {
			break
		}
		out = append(out, c)
	}
	return string(out)
}
