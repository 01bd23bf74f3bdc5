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
	// damages says that the disk destroys also what was synced. Then a fresh
	// stream may take the place of one whose file was set aside, and duty and
	// track events may be gone, if the spool names them or has forgotten where the
	// lane began or ended. Alarms may not.
	damages bool

	pub      ed25519.PublicKey
	life     int
	stream   string // the current one
	boot     uint64
	latch    string  // of the last event that is known durable
	before   string  // the latch before that
	pending  *report // a try that was neither stored nor refused: it may be there
	survived bool    // in this life one was
	lanes    map[place]*laneLedger
	tried    map[place]map[uint64][]string // hashes of all tries, durable or not

	stored, held, acked, survivors, streams, excused, unnamed int // counts of what was judged
}

// A place is a lane of a stream.
type place struct {
	stream string
	lane   wire.Lane
}

func (p place) String() string { return fmt.Sprintf("%s/%v", p.stream, p.lane) }

// A laneLedger is what the judge knows of a lane.
type laneLedger struct {
	place
	hash  map[uint64]string // of each number that was durable once
	top   uint64            // the highest of them
	acked uint64            // what the centre has
	given map[uint64]bool   // numbers that the spool said are given up

	// Of the life that has just begun:
	window *report // nil: the spool holds nothing of the lane
	last   uint64  // the last number that was held
	gone   []uint64
}

func newJudge() *judge {
	return &judge{
		pub:   signer.Public().(ed25519.PublicKey),
		lanes: make(map[place]*laneLedger), tried: make(map[place]map[uint64][]string),
	}
}

func (j *judge) find(list *[]string, format string, args ...any) {
	*list = append(*list, fmt.Sprintf("life %d: ", j.life)+fmt.Sprintf(format, args...))
}

// lane returns the ledger of a report's lane.
func (j *judge) lane(m report) *laneLedger {
	p := place{m.Stream, m.Lane}
	g := j.lanes[p]
	if g == nil {
		g = &laneLedger{place: p, hash: make(map[uint64]string), given: make(map[uint64]bool)}
		j.lanes[p] = g
	}
	return g
}

// hear takes one report of a subject.
func (j *judge) hear(m report) {
	switch m.What {
	case saysOpened:
		j.opened(m)
	case saysWindow:
		g := j.lane(m)
		g.window, g.last = &m, m.Oldest-1
		j.missing(g, 0, m.Oldest-1)
	case saysHeld:
		j.hold(j.lane(m), m)
	case saysGiven:
		for n := m.Oldest; n < m.Next; n++ {
			j.lane(m).given[n] = true
		}
	case saysState:
		j.found(*m.Latch)
	case saysReady:
		j.pending = nil
	case saysTry:
		g := j.lane(m)
		j.pending = &m
		if j.tried[g.place] == nil {
			j.tried[g.place] = make(map[uint64][]string)
		}
		j.tried[g.place][m.Seq] = append(j.tried[g.place][m.Seq], m.Hash)
		if m.Seq <= g.top {
			j.find(&j.Twice, "%v seq %d is given to %s, was %s", g, m.Seq, m.Hash, g.hash[m.Seq])
		}
	case saysStored:
		j.stored++
		if p := j.pending; p == nil || p.Stream != m.Stream || p.Lane != m.Lane || p.Seq != m.Seq {
			j.find(&j.Wrong, "%v seq %d stored, tried was %+v", j.lane(m), m.Seq, p)
			return
		}
		j.durable(j.lane(m))
	case saysAcking:
		j.acked++
		j.lane(m).acked = max(j.lane(m).acked, m.Seq)
	case saysFailed:
		j.find(&j.Lost, "the spool does not open: %s", m.Error)
	case saysRefuse: // of what was tried last: it may be there all the same
	default:
		j.find(&j.Wrong, "it says %+v", m)
	}
}

func (j *judge) opened(m report) {
	j.life++
	j.survived = false
	switch {
	case j.stream != "" && m.Stream != j.stream:
		j.streams++
		if !j.damages {
			j.find(&j.Lost, "a fresh stream %s in place of %s: %s", m.Stream, j.stream, m.Error)
		}
	case m.Boot <= j.boot:
		j.find(&j.Twice, "boot %d after boot %d", m.Boot, j.boot)
	}
	j.stream, j.boot = m.Stream, m.Boot
	for _, g := range j.lanes {
		g.window, g.last, g.gone = nil, 0, nil
	}
}

// durable notes that the pending event is on the disk, with its state.
func (j *judge) durable(g *laneLedger) {
	p := j.pending
	g.hash[p.Seq], g.top = p.Hash, max(g.top, p.Seq)
	if p.Latch != nil {
		j.before, j.latch = j.latch, *p.Latch
	}
	j.pending = nil
}

// hold judges an event that was found after a cut.
func (j *judge) hold(g *laneLedger, m report) {
	j.held++
	e, err := wire.Open(m.Data, j.pub)
	if err != nil {
		j.find(&j.Wrong, "%v seq %d: %v", g, m.Seq, err)
		return
	}
	if e.Stream.String() != m.Stream || e.Lane != m.Lane || e.Seq != m.Seq {
		j.find(&j.Wrong, "%v seq %d holds an event of %v %v %d", g, m.Seq, e.Stream, e.Lane, e.Seq)
		return
	}
	if m.Seq <= g.last {
		j.find(&j.Disorder, "%v seq %d comes after %d", g, m.Seq, g.last)
	}
	j.missing(g, g.last+1, m.Seq-1)
	g.last = max(g.last, m.Seq)
	hash := wire.HashOf(m.Data).String()
	known, ok := g.hash[m.Seq]
	p := j.pending
	switch {
	case ok && known != hash:
		j.find(&j.Wrong, "%v seq %d holds %s, was %s", g, m.Seq, hash, known)
	case ok:
	case p != nil && p.Stream == m.Stream && p.Lane == m.Lane && p.Seq == m.Seq && p.Hash == hash:
		j.survivors++
		j.survived = true
		j.durable(g) // the cut came between the commit and the word
	case j.damages && j.wasTried(g, m.Seq, hash):
		// Salvage cannot tell it from one that was stored, and nothing else was.
		g.hash[m.Seq], g.top = hash, max(g.top, m.Seq)
	default:
		j.find(&j.Wrong, "%v seq %d: %s was never made", g, m.Seq, hash)
	}
	if prev := g.hash[m.Seq-1]; m.Seq > 1 && prev != "" && prev != e.Prev.String() {
		j.find(&j.Disorder, "%v seq %d is chained to %v, before it is %s", g, m.Seq, e.Prev, prev)
	}
}

func (j *judge) wasTried(g *laneLedger, seq uint64, hash string) bool {
	for _, h := range j.tried[g.place][seq] {
		if h == hash {
			return true
		}
	}
	return false
}

// missing notes numbers that are not held.
func (j *judge) missing(g *laneLedger, from, to uint64) {
	for n := max(from, g.acked+1); n <= to; n++ {
		if _, ok := g.hash[n]; ok {
			g.gone = append(g.gone, n)
		}
	}
}

// found judges what a life has found, once it has told all.
func (j *judge) found(latch string) {
	for _, g := range j.lanes {
		j.missing(g, g.last+1, g.top)
		for _, n := range g.gone {
			// What is below the window the device's hello tells the centre.
			if known := g.window != nil && n >= g.window.Oldest && n < g.window.Next; j.damages && g.lane != wire.Alarm && (g.given[n] || !known) {
				j.excused++
				if !g.given[n] {
					j.unnamed++
				}
				g.acked = max(g.acked, n) // once is enough
				continue
			}
			j.find(&j.Lost, "%v seq %d", g, n)
		}
		if w, want := g.window, max(g.top, g.last)+1; w != nil && w.Next != want && !(j.damages && g.stream != j.stream) {
			j.find(&j.Wrong, "%v goes on at %d, want %d", g, w.Next, want)
		}
	}
	// Salvage may find the event that the cut came in without its state, which it
	// takes from the second home, and the other way round.
	p := j.pending
	switch {
	case latch == j.latch:
	case j.damages && j.survived && latch == j.before,
		j.damages && p != nil && p.Latch != nil && latch == *p.Latch:
		j.latch = latch
	default:
		j.find(&j.Wrong, "the latch is %q, the last event left it at %q", latch, j.latch)
	}
}
