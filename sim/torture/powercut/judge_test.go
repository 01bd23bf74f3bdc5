//go:build linux

package powercut_test

import (
	"crypto/ed25519"
	"fmt"

	"github.com/fengsui/fengsui/firmware/wire"
	"github.com/fengsui/fengsui/sim/torture"
)

// A judge keeps the ledger of a subject's lives and finds what each broke of
// the promises before it. It lives outside of the process and the disk that are
// cut, and reads no spool itself.
type judge struct {
	torture.Verdict
	pub     ed25519.PublicKey
	life    int
	stream  string
	boot    uint64
	latch   string // of the last event that is known durable
	pending *line  // a try that was neither stored nor refused: it may be there
	lanes   map[wire.Lane]*laneLedger

	stored, held, acked, survivors int // counts of what was judged
}

// A laneLedger is what the judge knows of a lane.
type laneLedger struct {
	hash  map[uint64]string // of each number that was durable once
	top   uint64            // the highest of them
	acked uint64            // what the centre has

	// Of the life that has just begun:
	window line
	last   uint64 // the last number that was held
}

func newJudge() *judge {
	j := &judge{pub: signer.Public().(ed25519.PublicKey), lanes: make(map[wire.Lane]*laneLedger)}
	for _, l := range wire.Lanes() {
		j.lanes[l] = &laneLedger{hash: make(map[uint64]string)}
	}
	return j
}

func (j *judge) find(list *[]string, format string, args ...any) {
	*list = append(*list, fmt.Sprintf("life %d: ", j.life)+fmt.Sprintf(format, args...))
}

// hear takes one line of a subject.
func (j *judge) hear(m line) {
	g := j.lanes[m.Lane]
	switch m.What {
	case saysOpened:
		j.life++
		if j.stream != "" && m.Stream != j.stream {
			j.find(&j.Lost, "a fresh stream %s in place of %s", m.Stream, j.stream)
		}
		if m.Boot <= j.boot {
			j.find(&j.Twice, "boot %d after boot %d", m.Boot, j.boot)
		}
		j.stream, j.boot = m.Stream, m.Boot
		for _, g := range j.lanes {
			g.window, g.last = line{}, 0
		}
	case saysWindow:
		g.window = m
		if m.Oldest > g.acked+1 {
			j.find(&j.Lost, "lane %v begins at %d, the centre has %d", m.Lane, m.Oldest, g.acked)
		}
		g.last = m.Oldest - 1
	case saysHeld:
		j.hold(g, m)
	case saysState:
		j.judgeState(*m.Latch)
	case saysReady:
		j.pending = nil
	case saysTry:
		j.pending = &m
		if m.Seq <= g.top {
			j.find(&j.Twice, "lane %v seq %d is given to %s, was %s", m.Lane, m.Seq, m.Hash, g.hash[m.Seq])
		}
	case saysStored:
		j.stored++
		if p := j.pending; p == nil || p.Lane != m.Lane || p.Seq != m.Seq {
			j.find(&j.Wrong, "lane %v seq %d stored, tried was %+v", m.Lane, m.Seq, p)
			return
		}
		j.durable(g)
	case saysAcking:
		j.acked++
		g.acked = max(g.acked, m.Seq)
	case saysFailed:
		j.find(&j.Lost, "the spool does not open: %s", m.Error)
	case saysRefuse: // of what was tried last: it may be there all the same
	default:
		j.find(&j.Wrong, "it says %+v", m)
	}
}

// durable notes that the pending event is on the disk, with its state.
func (j *judge) durable(g *laneLedger) {
	p := j.pending
	g.hash[p.Seq], g.top = p.Hash, max(g.top, p.Seq)
	if p.Latch != nil {
		j.latch = *p.Latch
	}
	j.pending = nil
}

// hold judges an event that was found after a cut.
func (j *judge) hold(g *laneLedger, m line) {
	j.held++
	e, err := wire.Open(m.Data, j.pub)
	if err != nil {
		j.find(&j.Wrong, "lane %v seq %d: %v", m.Lane, m.Seq, err)
		return
	}
	if e.Stream.String() != j.stream || e.Lane != m.Lane || e.Seq != m.Seq {
		j.find(&j.Wrong, "lane %v seq %d holds an event of %v %v %d", m.Lane, m.Seq, e.Stream, e.Lane, e.Seq)
		return
	}
	switch {
	case m.Seq == g.last+1:
	case m.Seq <= g.last:
		j.find(&j.Disorder, "lane %v seq %d comes after %d", m.Lane, m.Seq, g.last)
	default:
		j.missing(g, m.Lane, g.last+1, m.Seq-1)
	}
	g.last = max(g.last, m.Seq)
	hash := wire.HashOf(m.Data).String()
	known, ok := g.hash[m.Seq]
	p := j.pending
	switch {
	case ok && known != hash:
		j.find(&j.Wrong, "lane %v seq %d holds %s, was %s", m.Lane, m.Seq, hash, known)
	case !ok && p != nil && p.Lane == m.Lane && p.Seq == m.Seq && p.Hash == hash:
		j.survivors++
		j.durable(g) // the cut came between the commit and the word
	case !ok:
		j.find(&j.Wrong, "lane %v seq %d: %s was never made", m.Lane, m.Seq, hash)
	}
	if prev := g.hash[m.Seq-1]; m.Seq > 1 && prev != "" && prev != e.Prev.String() {
		j.find(&j.Disorder, "lane %v seq %d is chained to %v, before it is %s", m.Lane, m.Seq, e.Prev, prev)
	}
}

// missing notes numbers that are not held.
func (j *judge) missing(g *laneLedger, l wire.Lane, from, to uint64) {
	for n := max(from, g.acked+1); n <= to; n++ {
		if _, ok := g.hash[n]; ok {
			j.find(&j.Lost, "lane %v seq %d", l, n)
		}
	}
}

// judgeState judges what a life has found, once it has told all.
func (j *judge) judgeState(latch string) {
	for l, g := range j.lanes {
		j.missing(g, l, g.last+1, g.top)
		if want := max(g.top, g.last) + 1; g.window.Next != want {
			j.find(&j.Wrong, "lane %v goes on at %d, want %d", l, g.window.Next, want)
		}
	}
	if latch != j.latch {
		j.find(&j.Wrong, "the latch is %q, the last event left it at %q", latch, j.latch)
	}
}
