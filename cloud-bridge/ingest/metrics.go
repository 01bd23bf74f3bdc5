package ingest

import (
	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	stored, duplicates, overflow, commitErrors, acks, notices prometheus.Counter
	refused                                                   *prometheus.CounterVec
	commitSeconds, batch                                      prometheus.Histogram
}

func newMetrics(reg prometheus.Registerer) metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "fengsui", Name: name, Help: help})
	}
	histogram := func(name, help string, buckets []float64) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "fengsui", Name: name, Help: help, Buckets: buckets,
		})
	}
	m := metrics{
		stored:       counter("events_stored_total", "Events committed for the first time."),
		duplicates:   counter("events_duplicate_total", "Events that were committed before."),
		overflow:     counter("messages_overflow_total", "Messages dropped because a queue was full; devices send them again."),
		commitErrors: counter("commit_errors_total", "Transactions that failed."),
		acks:         counter("acks_sent_total", "Acknowledgements published."),
		notices:      counter("notices_sent_total", "Notices published, repetitions included."),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "fengsui", Name: "messages_refused_total", Help: "Messages not accepted, by reason.",
		}, []string{"reason"}),
		commitSeconds: histogram("commit_seconds", "Time of a transaction.", prometheus.ExponentialBuckets(0.0005, 2, 13)),
		batch:         histogram("commit_events", "Messages that shared a transaction.", prometheus.ExponentialBuckets(1, 2, 9)),
	}
	reg.MustRegister(
		m.stored, m.duplicates, m.overflow, m.commitErrors, m.acks, m.notices, m.refused, m.commitSeconds, m.batch,
	)
	return m
}
