package kill

import (
	"testing"

	"github.com/fengsui/fengsui/sim/torture"
)

// perRound is how many of each kill a round has. The desk's list of incidents is
// bounded, and a fresh start is a moment to be killed at as well.
const perRound = 25

// Devices and the centre are killed under flow. Whatever a red lamp or a log
// called stored is at the centre, all of it once and in order.
func TestKill(t *testing.T) {
	t.Parallel()
	seed := torture.Seed(t)
	var v torture.Verdict
	var sum counts
	for want := torture.N(8, 500); v.Clean() && (sum.devices < want || sum.centre < want); seed++ {
		n := min(perRound, want-min(sum.devices, sum.centre))
		sum.add(round(t, seed, n, &v))
	}
	v.Report(t, "%d kills of devices, %d of the centre: %+v", sum.devices, sum.centre, sum)
	if v.Clean() && (sum.reds < sum.centre/4 || sum.logged < sum.centre) {
		t.Errorf("too few promises to prove anything: %+v", sum)
	}
}

func TestKillAckBeforeCommit(t *testing.T) {
	t.Parallel()
	torture.Mutate(t, "ack-before-commit", "TestKill")
}

func TestKillNoUniqueIndex(t *testing.T) {
	t.Parallel()
	if !torture.Long() {
		t.Skip("only in the long rigs: building a mutant takes most of the time of a short one")
	}
	torture.Mutate(t, "unique-index-off", "TestKill")
}
