package starter

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/fengsui/fengsui/firmware/internal/hw"
)

const (
	// boardLimit is how long the board's watchdog waits; the Raspberry Pi's waits
	// 15 s at most.
	boardLimit = 15 * time.Second
	// silence is how long the firmware may give no sign of life, over however many
	// starts, until the board is started anew. A start of it may take startLimit,
	// and be checking a spool.
	silence = 2 * startLimit
)

// A feeder is the board's watchdog.
type feeder interface{ Feed() error }

// A boardWatch feeds the board's watchdog for as long as the firmware gives
// signs of life. When this process hangs nobody feeds it, either.
type boardWatch struct {
	dog   feeder // nil: the board has none
	every time.Duration
	fired bool // it has started the board
	log   *slog.Logger
	last  atomic.Int64 // sign of life of the firmware, in nanoseconds since began
	began time.Time
	given atomic.Bool // up
}

func newBoardWatch(log *slog.Logger) *boardWatch {
	w := &boardWatch{log: log, began: time.Now()}
	dog, err := hw.OpenWatchdog(boardLimit)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		log.Warn("this board has no watchdog: nobody starts it when it hangs")
	case err != nil:
		log.Error("the board's watchdog is not there", "err", err)
	default:
		w.dog, w.every, w.fired = dog, dog.Timeout/4, dog.Fired()
		log.Info("watchdog", "driver", dog.Name, "timeout", dog.Timeout, "fired", w.fired)
	}
	return w
}

// fed notes a sign of life.
func (w *boardWatch) fed() { w.last.Store(int64(time.Since(w.began))) }

// giveUp lets the board be started anew: nothing less helps.
func (w *boardWatch) giveUp() { w.given.Store(true) }

// run feeds the watchdog until ctx ends, or until it is not fed any more.
func (w *boardWatch) run(ctx context.Context) {
	if w.dog == nil {
		return
	}
	tick := time.NewTicker(w.every)
	defer tick.Stop()
	for {
		if w.given.Load() || time.Since(w.began)-time.Duration(w.last.Load()) > silence {
			w.log.Error("the firmware does not live: the board is started anew by its watchdog")
			return
		}
		if err := w.dog.Feed(); err != nil {
			w.log.Error("watchdog", "err", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
