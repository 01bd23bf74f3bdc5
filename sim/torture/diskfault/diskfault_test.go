package diskfault

import (
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fengsui/fengsui/sim/district"
	"github.com/fengsui/fengsui/sim/torture"
	"github.com/fengsui/fengsui/sim/torture/witness"
)

// Devices whose disk fails at the k-th call: what they called stored is there
// after a start without faults, and they do start.
func TestDevice(t *testing.T) {
	t.Parallel()
	seed := torture.Seed(t)
	rng := rand.New(rand.NewPCG(seed, 1))
	faults := spread(rng, []string{"pwrite64", "fdatasync", "ftruncate", "fallocate", "fsync"}, torture.N(18, 920))
	const perRound = 6
	var v torture.Verdict
	var sum counts
	for v.Clean() && len(faults) > 0 {
		// A district at a time: the desk's list of incidents is bounded.
		n := min(len(faults), torture.N(18, 10*perRound))
		r := newRig(t, perRound, seed)
		r.devices(t, slices.Collect(slices.Chunk(faults[:n], perRound)), rng)
		v, faults = r.v, faults[n:]
		sum.add(r.n)
		r.close(t)
	}
	v.Report(t, "disks of devices that fail: %+v", sum)
	// Calls are counted by thread, and no short life makes 200 of a kind in one:
	// the full counts of all k are mostly above that, and those of TestSpool are not.
	if v.Clean() && (sum.hit < sum.faults/torture.N(4, 20) || sum.logged < sum.faults) {
		t.Errorf("too little failed, or was promised, to prove anything: %+v", sum)
	}
}

// devices runs rounds, each with a fault for every device.
func (r *rig) devices(t *testing.T, rounds [][]fault, rng *rand.Rand) {
	t.Helper()
	ids := r.d.IDs()
	for _, faults := range rounds {
		var all sync.WaitGroup
		for i, f := range faults {
			seed := rng.Uint64()
			all.Go(func() { r.device(t, ids[i], f, rand.New(rand.NewPCG(seed, 2))) })
		}
		all.Wait()
		r.closeAll(t)
		if !r.v.Clean() {
			break
		}
	}
	r.drained()
	r.judge(t)
}

// device gives a device's disk a fault, lets people press, and starts it again
// without.
func (r *rig) device(t *testing.T, id string, f fault, rng *rand.Rand) {
	dev, err := r.d.Device(id)
	if err != nil {
		t.Error(err)
		return
	}
	before := dev.Crashes()
	dev.PowerCut()
	r.arm(id, f)
	if err := dev.PowerRestore(); err != nil {
		t.Error(err)
		return
	}
	up := r.up(dev, 3*time.Second)
	began := dev.Crashes() // a start that the disk refused is tried again
	dumb := false
	if up {
		time.Sleep(150 * time.Millisecond)
		r.press(t, id, 1200*time.Millisecond, rng)
		dumb = !r.goesOn(t, dev)
	}
	told := troubled(dev)
	dev.PowerCut()
	crashes, late := dev.Crashes()-before, dev.Crashes()-began
	hit := r.disarm(t, id)
	r.mu.Lock()
	r.n.ended += crashes
	if !up {
		r.n.refused++
	}
	if told {
		r.n.told++
	}
	r.mu.Unlock()
	if !up || crashes > 0 {
		t.Logf("%s with %v: up %v, ended %d times, %d calls failed", id, f, up, crashes, hit)
	}
	if hit == 0 && (crashes > 0 || !up) {
		r.find(&r.v.Wrong, "%s with %v: no call failed, and it ended %d times, up %v", id, f, crashes, up)
	}
	if dumb && hit > 0 {
		r.find(&r.v.Wrong, "%s with %v: it stores nothing, and says nothing of it", id, f)
	}
	if up && late > 0 {
		r.find(&r.v.Wrong, "%s with %v: it was up and ended %d times", id, f, late)
	}
	if err := dev.PowerRestore(); err != nil {
		t.Error(err)
		return
	}
	if !r.up(dev, 20*time.Second) {
		r.find(&r.v.Lost, "%s after %v: it does not start without faults", id, f)
	}
}

// goesOn presses until the box calls a press stored, or tells of its storage,
// and reports whether it came to that.
func (r *rig) goesOn(t *testing.T, dev *district.Device) bool {
	stored := func() int {
		list, err := witness.ReadLog(dev.ID, filepath.Join(r.data, dev.ID+".log"))
		if err != nil {
			t.Error(err)
		}
		return len(list)
	}
	for range 4 {
		n := stored()
		if _, err := dev.Press(t.Context(), "panic", district.PressOptions{For: 300 * time.Millisecond}); err != nil {
			t.Error(err)
			return false
		}
		if wait(3*time.Second, func() bool { return stored() > n || troubled(dev) }) {
			return true
		}
	}
	return false
}

// troubled reports whether a device tells of its storage.
func troubled(dev *district.Device) bool {
	return slices.ContainsFunc(dev.View().Faults, func(code string) bool { return strings.HasPrefix(code, "storage") })
}

func (c *counts) add(o counts) {
	c.faults += o.faults
	c.hit += o.hit
	c.calls += o.calls
	c.ended += o.ended
	c.refused += o.refused
	c.presses += o.presses
	c.logged += o.logged
	c.told += o.told
	c.compared += o.compared
	c.events += o.events
	c.incidents += o.incidents
}

// The centre's disk fails at the k-th call: no device deletes what the centre
// does not have after its death, and all of it comes in the end.
func TestCentre(t *testing.T) {
	t.Parallel()
	seed := torture.Seed(t)
	rng := rand.New(rand.NewPCG(seed, 3))
	faults := spread(rng, []string{"pwrite64", "fdatasync", "fsync", "ftruncate"}, torture.N(5, 880))
	var v torture.Verdict
	var sum counts
	for v.Clean() && len(faults) > 0 {
		n := min(len(faults), torture.N(5, 40))
		r := newRig(t, 3, seed)
		r.centre(t, faults[:n], rng)
		v, faults = r.v, faults[n:]
		sum.add(r.n)
		r.close(t)
	}
	v.Report(t, "a disk of the centre that fails: %+v", sum)
	if v.Clean() && (sum.hit < sum.faults/4 || sum.logged < sum.faults) {
		t.Errorf("too little failed, or was promised, to prove anything: %+v", sum)
	}
}

func (r *rig) centre(t *testing.T, faults []fault, rng *rand.Rand) {
	t.Helper()
	ids := r.d.IDs()
	for _, f := range faults {
		r.d.Centre.Kill()
		r.arm(theCentre, f)
		up := r.d.Centre.Start(t.Context()) == nil
		var all sync.WaitGroup
		for _, id := range ids {
			seed := rng.Uint64()
			all.Go(func() { r.press(t, id, 1200*time.Millisecond, rand.New(rand.NewPCG(seed, 4))) })
		}
		all.Wait()
		ended := up && !r.d.Centre.Running()
		r.d.Centre.Kill()
		hit := r.disarm(t, theCentre)
		if ended {
			r.n.ended++
		}
		if !up {
			r.n.refused++
		}
		if hit == 0 && (ended || !up) {
			r.find(&r.v.Wrong, "the centre with %v: no call failed, and it ended %v, up %v", f, ended, up)
		}
		r.compare(t, ids[rng.IntN(len(ids))])
		if err := r.d.Centre.Start(t.Context()); err != nil {
			r.find(&r.v.Lost, "after %v: %v", f, err)
			return
		}
		if !r.v.Clean() {
			break
		}
		r.closeAll(t)
	}
	r.drained()
	r.judge(t)
}

// compare kills a device and compares its spool with the dead centre's database.
func (r *rig) compare(t *testing.T, id string) {
	dev, err := r.d.Device(id)
	if err != nil {
		t.Fatal(err)
	}
	dev.PowerCut()
	centre, err := witness.ReadCentre(t.Context(), filepath.Join(r.data, "centre"))
	if err != nil {
		t.Fatal(err)
	}
	held, err := witness.ReadSpool(id, filepath.Join(r.data, id))
	if err != nil {
		t.Fatal(err)
	}
	centre.Deleted(held, &r.v)
	r.n.compared++
	if err := dev.PowerRestore(); err != nil {
		t.Fatal(err)
	}
}

func TestDeviceThatIgnoresErrors(t *testing.T) {
	t.Parallel()
	torture.Mutate(t, "commit-error-ignored", "TestDevice")
}

func TestCentreThatAcknowledgesFirst(t *testing.T) {
	t.Parallel()
	if !torture.Long() {
		t.Skip("only in the long rigs: building a mutant takes most of the time of a short one")
	}
	torture.Mutate(t, "ack-before-commit", "TestCentre")
}
