package supervise

import (
	"context"
	"log/slog"
	"time"

	"github.com/fengsui/fengsui/cloud-bridge/store"
)

// A Store keeps the signs of life and what was made of them; it is a
// *[store.Store].
type Store interface {
	// Signs returns each registered device's last sign of life and its link, and
	// whether an incident says that the district's link is lost.
	Signs(ctx context.Context) (signs []store.Sign, district bool, err error)
	// Supervise keeps what has changed, with the incidents that follow, in one
	// transaction.
	Supervise(ctx context.Context, s store.Supervision) error
}

// Run judges the devices again and again until ctx is done. hearing says whether
// what they say reaches the store.
func Run(ctx context.Context, st Store, l Limits, hearing func() Hearing, log *slog.Logger) {
	tick := time.NewTicker(l.Every)
	defer tick.Stop()
	var s *Supervisor
	var late store.Supervision // changes that could not be kept
	failing := false
	for {
		signs, district, err := st.Signs(ctx)
		if err == nil {
			if s == nil {
				s = New(l, time.Now(), signs, district)
			}
			late.Add(s.Judge(time.Now(), signs, hearing()))
			if !late.Empty() {
				if err = st.Supervise(ctx, late); err == nil {
					late = store.Supervision{}
				}
			}
		}
		if ctx.Err() == nil && failing != (err != nil) {
			if failing = !failing; failing {
				log.Error("devices are not supervised now", "error", err)
			} else {
				log.Info("devices are supervised again")
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
