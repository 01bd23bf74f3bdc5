package agent

import (
	"errors"
	"time"

	"github.com/fengsui/fengsui/firmware/spool"
)

const (
	// trustStore is how long a commit stands for a spool that can be written;
	// after that the next sign of life tries.
	trustStore = 45 * time.Second
	// refuseLimit is how long a spool may refuse before the agent gives no more
	// signs of life, so that it is started again, and the board after it. Until
	// then what happens waits in memory.
	refuseLimit = 5 * time.Minute
)

// tell says something of the agent to whoever watches it, in the words of
// sd_notify(3).
func (a *Agent) tell(state string) {
	if a.opt.Notify == nil {
		return
	}
	if err := a.opt.Notify(state); err != nil {
		a.log.Error("who watches this process is not told", "state", state, "err", err)
	}
}

// signOfLife tells that the agent is well: the loop that calls it turns, and the
// spool takes commits, or is full and says so.
func (a *Agent) signOfLife() {
	now := a.clock.Mono()
	if now-a.stored > trustStore {
		if err := a.spool.Try(); err == nil || errors.Is(err, spool.ErrFull) {
			a.stored = now
		} else {
			a.log.Error("the spool takes no commit", "since", now-a.stored, "err", err)
		}
	}
	if now-a.stored < refuseLimit {
		a.tell("WATCHDOG=1")
	}
}
