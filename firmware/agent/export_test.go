package agent

import "github.com/fengsui/fengsui/firmware/spool"

// Spool returns the spool of an agent that runs, for tests that break it.
func Spool(a *Agent) *spool.Spool { return a.spool }
