//go:build linux

package powercut_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/fengsui/fengsui/sim/link"
	"github.com/fengsui/fengsui/sim/torture"
	"github.com/fengsui/fengsui/sim/torture/powercut"
)

// A presser is who pressed, and what the box has promised: by its red lamp, and
// by its log for alarms beside the first, which light no other lamp.
type presser struct {
	torture.Verdict
	presses map[string]int        // by button, all that were made
	reds    []redPromise          // lit by a press
	stored  map[storedAlarm]int64 // number, by what the log calls stored
	latched map[string]string     // alarm, by button: stored and not reset
	cuts    int
	damages bool // the disk destroys what was synced: the box may begin other streams
	streams int  // that the centre has heard of
}

// A redPromise is the red lamp that a press has lit in a boot.
type redPromise struct {
	boot    uint64
	buttons []string // the presses that it may be for
}

type storedAlarm struct {
	alarm string
	press uint64
}

var (
	storedLog = regexp.MustCompile(`msg="alarm stored".* button=(\S+) alarm=(\S+) press=(\d+) seq=(\d+)`)
	resetLog  = regexp.MustCompile(`msg="alarm reset".* button=(\S+) alarm=(\S+)`)
)

// read enters a life's log.
func (p *presser) read(log []string) {
	for _, l := range log {
		if m := storedLog.FindStringSubmatch(l); m != nil {
			press, _ := strconv.ParseUint(m[3], 10, 64)
			seq, _ := strconv.ParseInt(m[4], 10, 64)
			p.stored[storedAlarm{m[2], press}] = seq
			p.latched[m[1]] = m[2]
		}
		if m := resetLog.FindStringSubmatch(l); m != nil && p.latched[m[1]] == m[2] {
			delete(p.latched, m[1])
		}
	}
}

// The shipping agent on a disk whose power is cut while people press: every
// alarm that the red lamp or the log called stored reaches the centre, once,
// and its lamp is lit again after the cut, until the centre closes it.
func TestAgentOnExt4(t *testing.T) {
	t.Parallel()
	disk := newExt4(t)
	cutAgent(t, new(presser), disk, filepath.Join(disk.Dir(), "box"), torture.Seed(t), torture.N(20, 300))
}

// The same on a disk that tears and reorders what was not synced.
func TestAgentOnFlash(t *testing.T) {
	t.Parallel()
	seed := torture.Seed(t)
	disk := newFlash(t, powercut.FlashOptions{Seed: seed})
	cutAgent(t, new(presser), disk, disk.Dir(), seed, torture.N(10, 200))
}

// And on one whose torn pages take others with them: whatever becomes of the
// file, alarms and latches are there.
func TestAgentOnLargePages(t *testing.T) {
	t.Parallel()
	if !torture.Long() {
		t.Skip("only in the long rigs: of the short ones the spool's own is on such a disk")
	}
	seed := torture.Seed(t)
	disk := newFlash(t, powercut.FlashOptions{Seed: seed, Page: 8192})
	p := &presser{damages: true}
	cutAgent(t, p, disk, disk.Dir(), seed, 200)
	t.Logf("%d streams; %+v", p.streams, disk.Tally())
}

// A disk is one whose power can be cut.
type disk interface {
	Cut() error
	Restore() error
}

// cutInAChange cuts a disk's power in one of its next n changes, where it can
// do that. It returns a channel that is closed then.
func cutInAChange(d disk, n int) <-chan struct{} {
	if f, ok := d.(*powercut.Flash); ok {
		return f.CutAfter(n)
	}
	return nil
}

// await waits until the power is gone, or for a while.
func await(gone <-chan struct{}, most time.Duration) {
	select {
	case <-gone:
	case <-time.After(most):
	}
}

func cutAgent(t *testing.T, p *presser, disk disk, data string, seed uint64, cuts int) {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 3))
	s := newSite(t, torture.Build(t, "./sim/cmd/sim", ""), data)
	p.presses, p.stored, p.latched = make(map[string]int), make(map[storedAlarm]int64), make(map[string]string)
	for p.Clean() && p.cuts < cuts {
		if err := s.link.Set(link.Cut); err != nil {
			t.Fatal(err)
		}
		for n := 2 + rng.IntN(4); n > 0 && p.Clean(); n-- {
			offline(t, s, disk, p, rng)
		}
		if err := s.link.Set(link.Up); err != nil {
			t.Fatal(err)
		}
		for p.Clean() && !online(t, s, disk, p, rng) {
			continue
		}
	}
	if p.Clean() {
		s.account(t, p)
	}
	n := 0
	for _, k := range p.presses {
		n += k
	}
	t.Logf("%d presses, %d lit a lamp, %d called stored", n, len(p.reds), len(p.stored))
	p.Report(t, "%d power cuts of a box", p.cuts)
	if p.Clean() && (len(p.reds) < cuts/20 || len(p.stored) < cuts/10) {
		t.Error("too few to prove anything")
	}
}

// cut cuts the power of a life, and restores the disk's.
func cut(t *testing.T, r *run, disk disk, p *presser, rng *rand.Rand) {
	t.Helper()
	steps := []func(){r.kill, func() {
		if err := disk.Cut(); err != nil {
			t.Fatal(err)
		}
	}}
	if rng.IntN(2) == 0 {
		slices.Reverse(steps)
	}
	steps[0]()
	time.Sleep(time.Duration(rng.IntN(3)) * time.Millisecond)
	steps[1]()
	p.read(r.end(t))
	p.cuts++
	if err := disk.Restore(); err != nil {
		t.Fatal(err)
	}
}

// booted waits until the box runs, and judges that it remembers.
func booted(r *run, p *presser) bool {
	if !r.wait(20*time.Second, func() bool { return r.status != nil }) {
		p.Lost = append(p.Lost, fmt.Sprintf("cut %d: the box does not start", p.cuts))
		return false
	}
	if len(p.latched) > 0 && !r.wait(5*time.Second, func() bool { return r.red }) {
		p.Lost = append(p.Lost, fmt.Sprintf("cut %d: boot %d is dark, latched are %v", p.cuts, r.status.Boot, p.latched))
		return false
	}
	return true
}

// offline is a life without the centre, in which people press.
func offline(t *testing.T, s *site, disk disk, p *presser, rng *rand.Rand) {
	t.Helper()
	if rng.IntN(4) == 0 { // in the midst of the start
		if gone := cutInAChange(disk, 1+rng.IntN(12)); gone != nil {
			r := s.start(t)
			await(gone, 200*time.Millisecond)
			cut(t, r, disk, p, rng)
			return
		}
	}
	r := s.start(t)
	if booted(r, p) {
		r.mu.Lock()
		dark, before, boot := !r.red && len(p.latched) == 0 && r.status.Step == "idle", r.lit, r.status.Boot
		r.mu.Unlock()
		buttons := slices.Sorted(maps.Keys(buttonLines()))
		rng.Shuffle(len(buttons), func(i, k int) { buttons[i], buttons[k] = buttons[k], buttons[i] })
		buttons = buttons[:1+rng.IntN(2)]
		time.Sleep(time.Duration(30+rng.IntN(40)) * time.Millisecond) // what is pressed at the start is called stuck
		most := time.Duration(15+rng.IntN(45)) * time.Millisecond     // a press counts after 20 ms
		gone := cutInAChange(disk, 1+rng.IntN(20))
		if gone != nil {
			most = 200 * time.Millisecond
		}
		for _, b := range buttons {
			p.presses[b]++
			r.press(b)
			time.Sleep(time.Duration(rng.IntN(25)) * time.Millisecond)
		}
		await(gone, most)
		defer func() {
			if dark && r.lit > before { // all of its output has been read by then
				p.reds = append(p.reds, redPromise{boot, buttons})
			}
		}()
	}
	cut(t, r, disk, p, rng)
}

// online is a life with the centre, which gets it all and closes it; some are
// cut in the midst of that. It reports whether it came to the end.
func online(t *testing.T, s *site, disk disk, p *presser, rng *rand.Rand) bool {
	t.Helper()
	r := s.start(t)
	defer cut(t, r, disk, p, rng)
	if rng.IntN(3) == 0 {
		time.Sleep(time.Duration(rng.IntN(250)) * time.Millisecond)
		return false
	}
	if !booted(r, p) {
		return false
	}
	missing := ""
	if !r.wait(30*time.Second, func() bool { missing = s.missing(t, p); return missing == "" }) {
		p.Lost = append(p.Lost, fmt.Sprintf("cut %d: %s is not at the centre", p.cuts, missing))
		return false
	}
	empty := func() bool { return r.status.Heard && r.status.Queue["alarm"] == 0 }
	if !r.wait(30*time.Second, empty) {
		p.Lost = append(p.Lost, fmt.Sprintf("cut %d: the box does not get rid of its alarms: %+v", p.cuts, r.status))
		return false
	}
	if rng.IntN(3) == 0 {
		s.closeAll(t)
		clear(p.latched) // the log may not come to say so
		time.Sleep(time.Duration(rng.IntN(40)) * time.Millisecond)
		return false
	}
	clear(p.latched)
	if !r.wait(30*time.Second, func() bool { s.closeAll(t); return r.status.Step == "idle" && !r.red }) {
		p.Wrong = append(p.Wrong, fmt.Sprintf("cut %d: closed, and the lamp is lit: %+v", p.cuts, r.status))
		return false
	}
	return true
}

// closeAll closes all incidents.
func (s *site) closeAll(t *testing.T) {
	t.Helper()
	all, err := s.desk.Incidents(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range all {
		if i.State != "closed" {
			if err := s.desk.CloseIncident(t.Context(), i.ID, "rig", "test", ""); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// raised is an alarm event at the centre.
type raised struct {
	stream string
	seq    uint64
	boot   uint64
	alarm  string
	button string
	press  uint64
}

// events returns all alarm events at the centre, and of those the presses.
func (s *site) events(t *testing.T) (numbers map[string][]uint64, presses []raised) {
	t.Helper()
	numbers = make(map[string][]uint64)
	for after := ""; ; {
		list, next, err := s.desk.Events(t.Context(), boxID, after)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range list {
			if e.Lane != "alarm" {
				continue
			}
			numbers[e.Stream] = append(numbers[e.Stream], e.Seq)
			var b struct {
				Alarm, Button string
				Press         uint64
			}
			if err := json.Unmarshal(e.Body, &b); err != nil {
				t.Fatal(err)
			}
			if b.Press > 0 {
				presses = append(presses, raised{e.Stream, e.Seq, e.Boot, b.Alarm, b.Button, b.Press})
			}
		}
		if len(list) == 0 || next == "" || next == after {
			return numbers, presses
		}
		after = next
	}
}

// missing returns a promise that the centre does not have yet, or "".
func (s *site) missing(t *testing.T, p *presser) string {
	t.Helper()
	_, presses := s.events(t)
	have := make(map[storedAlarm]bool)
	for _, e := range presses {
		have[storedAlarm{e.alarm, e.press}] = true
	}
	for a, seq := range p.stored {
		if !have[a] {
			return fmt.Sprintf("press %d of alarm %s, stored as %d,", a.press, a.alarm, seq)
		}
	}
	for _, red := range p.reds {
		if !slices.ContainsFunc(presses, func(e raised) bool { return e.boot == red.boot && slices.Contains(red.buttons, e.button) }) {
			return fmt.Sprintf("what lit the lamp in boot %d, of %v,", red.boot, red.buttons)
		}
	}
	return ""
}

// account compares all that the centre has with all that was done.
func (s *site) account(t *testing.T, p *presser) {
	t.Helper()
	numbers, presses := s.events(t)
	if p.streams = len(numbers); p.streams > 1 && !p.damages {
		p.Lost = append(p.Lost, fmt.Sprintf("%d streams from one box", len(numbers)))
	}
	for stream, list := range numbers {
		slices.Sort(list)
		for i, n := range list {
			if n != uint64(i+1) && !p.damages {
				p.Wrong = append(p.Wrong, fmt.Sprintf("stream %s has number %d in place %d", stream, n, i+1))
				break
			}
		}
	}
	made := make(map[string]int)
	seen := make(map[storedAlarm]bool)
	for _, e := range presses {
		made[e.button]++
		a := storedAlarm{e.alarm, e.press}
		if seen[a] {
			p.Twice = append(p.Twice, fmt.Sprintf("press %d of alarm %s", a.press, a.alarm))
		}
		seen[a] = true
		if seq, ok := p.stored[a]; ok && uint64(seq) != e.seq {
			p.Wrong = append(p.Wrong, fmt.Sprintf("press %d of alarm %s is number %d, was stored as %d", a.press, a.alarm, e.seq, seq))
		}
	}
	for b, n := range made {
		if n > p.presses[b] {
			p.Wrong = append(p.Wrong, fmt.Sprintf("%d presses of %s are at the centre, %d were made", n, b, p.presses[b]))
		}
	}
	devices, err := s.desk.Devices(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range devices {
		for _, g := range d.Gaps {
			if p.damages && g.Lane != "alarm" {
				continue
			}
			p.Lost = append(p.Lost, fmt.Sprintf("gap %+v", g))
		}
	}
}

func TestAgentOnExt4WithoutSync(t *testing.T) {
	t.Parallel()
	if !torture.Long() {
		t.Skip("only in the long rigs: the spool's own control is the short one")
	}
	newExt4(t)
	torture.Mutate(t, "fsync-off", "TestAgentOnExt4")
}
