package agent

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/fengsui/fengsui/firmware/spool"
	"github.com/fengsui/fengsui/firmware/wire"
)

// modeState is the key of the mode in the spool's state.
const modeState = "mode"

// A mode is the exercise that the desk has begun here, or none. It ends by
// itself: by the time of day, where the clock knows that, and by what was left
// of it when it was last kept.
type mode struct {
	Rev   uint64        `json:"rev"` // of the newest Mode; it counts on when there is no exercise
	Drill bool          `json:"drill"`
	Until int64         `json:"until"` // by the centre's clock, Unix milliseconds
	Left  int64         `json:"left"`  // milliseconds, when this was kept
	ends  time.Duration // Mono
}

// maxMode bounds an exercise: one that is forgotten must not make a drill of
// somebody's need.
const maxMode = 12 * time.Hour

// setMode takes the desk's word on an exercise. It is answered, once for each
// revision.
func (a *Agent) setMode(b *wire.Mode, left time.Duration) {
	if b.Rev <= a.mode.Rev {
		return // its answer is in the spool already
	}
	left = min(left, maxMode)
	next := mode{Rev: b.Rev, Drill: b.Drill && left > 0, Until: b.Until, ends: a.clock.Mono() + left}
	a.setDrill(func() { a.mode = next })
	a.store(a.stamp(), wire.Duty, &wire.ModeSet{Rev: b.Rev, Drill: next.Drill}, nil, a.modeKV())
}

// endMode ends an exercise whose time is over.
func (a *Agent) endMode() {
	if !a.mode.Drill {
		return
	}
	wall := a.clock.Wall()
	known := wall.Source == wire.WallGNSS || wall.Source == wire.WallNTP || wall.Source == wire.WallCentre
	if a.clock.Mono() < a.mode.ends && (!known || wall.UnixMilli < a.mode.Until) {
		return
	}
	a.setDrill(func() { a.mode.Drill = false })
	a.store(a.stamp(), wire.Duty, &wire.ModeSet{Rev: a.mode.Rev}, nil, a.modeKV())
}

// modeKV keeps the mode; the heartbeat's commits bring what is left of it up to
// date.
func (a *Agent) modeKV() spool.KV {
	kept := a.mode
	kept.Left = max(a.mode.ends-a.clock.Mono(), 0).Milliseconds()
	v, err := json.Marshal(kept)
	if err != nil {
		panic(fmt.Sprintf("agent: mode: %v", err)) // a struct of plain members
	}
	return spool.KV{Key: modeState, Value: v}
}

func (a *Agent) restoreMode(v []byte) error {
	if len(v) == 0 {
		return nil
	}
	var m mode
	if err := json.Unmarshal(v, &m); err != nil {
		return fmt.Errorf("mode: %w", err)
	}
	m.ends = a.clock.Mono() + min(time.Duration(m.Left)*time.Millisecond, maxMode)
	a.mode = m
	return nil
}
