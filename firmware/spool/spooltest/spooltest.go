// Package spooltest opens spools in tests and checks, at the end of each, what
// must hold of every spool at any time. It contains no fake spool: the real one
// is fast enough.
package spooltest

import (
	"errors"
	"math"
	"testing"

	"github.com/fengsui/fengsui/firmware/spool"
	"github.com/fengsui/fengsui/firmware/wire"
)

// TB is the part of testing.TB that Check needs; rapid's T has it too.
type TB interface {
	Helper()
	Errorf(format string, args ...any)
}

// Open opens a spool, and at the end of the test checks and closes it. A spool
// that the test has closed by then is left alone.
func Open(t testing.TB, path string, opt spool.Options) *spool.Spool {
	t.Helper()
	s, err := spool.Open(path, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		Check(t, s)
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

// Check fails the test unless each lane of an undamaged spool holds exactly
// the numbers of its window, with right checksums, sealed for their slots, each
// chained to the one before it, and as many as Depth says. Nothing may be
// appended or acknowledged meanwhile.
func Check(t TB, s *spool.Spool) {
	t.Helper()
	depth := s.Depth()
	for l, w := range s.Window() {
		recs, err := s.Read(l, 0, math.MaxInt, math.MaxInt)
		if errors.Is(err, spool.ErrClosed) {
			return
		}
		if err != nil {
			t.Errorf("lane %v: %v", l, err)
			continue
		}
		if n := uint64(len(recs)); n != w.Next-w.Oldest || n != depth[l] {
			t.Errorf("lane %v: %d events, depth %d, window %d to %d", l, n, depth[l], w.Oldest, w.Next)
			continue
		}
		for i, r := range recs {
			e, err := wire.Peek(r.Data)
			switch {
			case err != nil:
				t.Errorf("lane %v seq %d: %v", l, r.Seq, err)
			case r.Seq != w.Oldest+uint64(i) || e.Seq != r.Seq || e.Stream != s.Stream() || e.Lane != l:
				t.Errorf("lane %v: place %d has seq %d with event %v %v %d", l, i, r.Seq, e.Stream, e.Lane, e.Seq)
			case i > 0 && e.Prev != wire.HashOf(recs[i-1].Data):
				t.Errorf("lane %v seq %d is not chained to the one before", l, r.Seq)
			case r.Seq == 1 && e.Prev != (wire.Hash{}):
				t.Errorf("lane %v seq 1 is chained to %v: want nothing", l, e.Prev)
			}
		}
	}
	if st := s.Status(); st.Damaged > 0 || st.Suspect {
		t.Errorf("spool: %d damaged, suspect %v", st.Damaged, st.Suspect)
	}
}
