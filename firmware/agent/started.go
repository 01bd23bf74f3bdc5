package agent

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/fengsui/fengsui/firmware/internal/durable"
	"github.com/fengsui/fengsui/firmware/internal/hw"
	"github.com/fengsui/fengsui/firmware/wire"
)

// runFile is in the data folder and says what became of the run before.
const runFile = "run.json"

// A run is what the file says: which run of the kernel it was, and whether it
// was ended in order.
type run struct {
	Kernel  string `json:"kernel"`
	Ordered bool   `json:"ordered"`
}

// begin finds out why the agent starts, and leaves word for the next start.
// What whoever started it knows of the run before goes before what is found.
func (a *Agent) begin() wire.Started {
	now := run{Kernel: a.board.BootID()}
	before, err := a.readRun()
	if werr := a.writeRun(now); werr != nil {
		a.log.Error("no word left for the next start", "err", werr)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist): // a new device, or a new card
	case err != nil:
		a.log.Error("no word of the run before", "err", err)
	case before.Ordered:
		return wire.StartedCommanded
	case before.Kernel == now.Kernel && now.Kernel != "":
		if a.opt.Was == WasHung {
			return wire.StartedHung
		}
		return wire.StartedCrashed
	}
	switch cause := a.board.BootCause(); {
	case cause == hw.Panic:
		return wire.StartedPanic
	case cause == hw.WatchdogFired || a.opt.Was == WasReset:
		return wire.StartedWatchdog
	case cause == hw.Power || err == nil && now.Kernel != "":
		return wire.StartedPower
	}
	return wire.StartedUnknown
}

// What whoever starts the agent may know of the run before.
const (
	WasHung  = "hung"     // this process hung, and was killed
	WasReset = "watchdog" // the board's watchdog fired
)

// end leaves word that the agent was ended in order.
func (a *Agent) end() {
	if err := a.writeRun(run{Kernel: a.board.BootID(), Ordered: true}); err != nil {
		a.log.Error("no word left for the next start", "err", err)
	}
}

func (a *Agent) readRun() (r run, err error) {
	b, err := os.ReadFile(filepath.Join(a.cfg.Data, runFile))
	if err != nil {
		return r, err
	}
	return r, json.Unmarshal(b, &r)
}

func (a *Agent) writeRun(r run) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return durable.WriteFile(filepath.Join(a.cfg.Data, runFile), append(b, '\n'))
}

// sense adds to a heartbeat what the board's sensors say, and makes a fault of
// a supply that is too weak.
func (a *Agent) sense(h *wire.Health) {
	const coldest, hottest = -500, 2000 // a sensor that says else is not believed
	if t, ok := a.board.Temperature(); ok && t >= coldest && t <= hottest {
		h.Temperature = &t
	}
	seen, ok := a.board.Supply()
	if !ok {
		return
	}
	h.Supply = new(wire.Supply)
	for from, to := range map[hw.Supply]wire.Supply{
		hw.UnderVoltage: wire.UnderVoltage, hw.UnderVoltageWas: wire.UnderVoltageWas,
		hw.Throttled: wire.Throttled, hw.ThrottledWas: wire.ThrottledWas,
	} {
		if seen&from != 0 {
			*h.Supply |= to
		}
	}
	if seen&hw.UnderVoltage != 0 {
		a.faultBegan(faultVoltage, "the supply is too weak: below what the board wants")
	} else {
		a.faultEnded(faultVoltage)
	}
}
