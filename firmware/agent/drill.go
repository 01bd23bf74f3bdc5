package agent

import "github.com/fengsui/fengsui/firmware/wire"

// drilling reports whether what is pressed now belongs to an exercise or a
// test.
func (a *Agent) drilling() bool { return a.cfg.Drill || a.testKey || a.mode.Drill }

// setDrill changes what drilling asks. When that ends an exercise, the alarms
// that were pressed in it are reset: whoever presses then means it, and their
// press must join no alarm that the desk knows as a drill.
func (a *Agent) setDrill(change func()) {
	before := a.drilling()
	change()
	now := a.drilling()
	if now == before {
		return
	}
	a.log.Info("drill", "on", now)
	a.resetDrills()
}

// resetDrills resets the alarms of an exercise that is over.
func (a *Agent) resetDrills() {
	if a.drilling() {
		return
	}
	for button, p := range a.latches {
		if p.Drill {
			a.clear(button, &wire.AlarmCleared{Alarm: p.Alarm, By: wire.ClearedByDrillEnd})
		}
	}
}
