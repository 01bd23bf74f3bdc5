package agent

import (
	"fmt"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/fengsui/fengsui/firmware/spool"
	"github.com/fengsui/fengsui/firmware/terminal"
	"github.com/fengsui/fengsui/firmware/wire"
)

// doing is what the unit's people said last that it does, and the event that
// carries it. It is kept in the spool's state as CBOR under doingState, in the
// commit of that event.
type doing struct {
	Doing  wire.Doing // 0: nothing was said
	Reason string
	At     time.Time // by the device's clock
	Stream wire.StreamID
	Seq    uint64
}

const doingState = "doing"

// setDoing stores what the unit does.
func (a *Agent) setDoing(d wire.Doing, reason string) {
	a.doing = doing{Doing: d, Reason: reason, At: a.clock.Wall().Time(), Stream: a.spool.Stream(), Seq: a.spool.Window()[wire.Duty].Next}
	v, err := taskMode.Marshal(a.doing)
	if err != nil {
		panic(fmt.Sprintf("agent: doing: %v", err)) // a struct of plain members
	}
	a.store(a.stamp(), wire.Duty, &wire.UnitState{Doing: d, Reason: reason, Position: a.position()}, func(seq uint64) {
		a.doing.Stream, a.doing.Seq = a.spool.Stream(), seq
	}, spool.KV{Key: doingState, Value: v})
}

// restoreDoing reads back what was said before a power cut.
func (a *Agent) restoreDoing(state map[string][]byte) error {
	v := state[doingState]
	if len(v) == 0 {
		return nil
	}
	if err := cbor.Unmarshal(v, &a.doing); err != nil {
		return fmt.Errorf("doing: %w", err)
	}
	return nil
}

func (a *Agent) viewDoing() *terminal.Doing {
	d := a.doing
	if d.Doing == 0 {
		return nil
	}
	return &terminal.Doing{State: d.Doing.String(), Reason: d.Reason, At: d.At, Sent: a.acked(d.Stream, wire.Duty, d.Seq)}
}
