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
	t.Cleanup(func() { finish(t, s) })
	return s
}

// Recover is like Open for a file that may be damaged.
func Recover(t testing.TB, path string, opt spool.Options, check func(string) error) *spool.Spool {
	t.Helper()
	s, err := spool.Recover(path, opt, check)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { finish(t, s) })
	return s
}

func finish(t testing.TB, s *spool.Spool) {
	t.Helper()
	Check(t, s)
	if err := s.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}

// Check fails the test unless each lane of an undamaged spool holds exactly
// the numbers of its window, with right checksums, sealed for their slots, each
// chained to the one before it, and as many as Depth says. Nothing may be
// appended or acknowledged meanwhile.
func Check(t TB, s *spool.Spool) {
	t.Helper()
	depth := make(map[wire.Lane]uint64) // without the former streams
	for l, n := range s.Depth() {
		depth[l] = n
	}
	for _, p := range s.Parts() {
		if p.Stream() == s.Stream() {
			continue
		}
		for l, w := range p.Window() {
			depth[l] -= w.Next - w.Oldest
		}
	}
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

// Ack acknowledges events of the current stream as a centre does that has them.
func Ack(s *spool.Spool, l wire.Lane, upTo uint64) error {
	parts := s.Parts()
	var hash *wire.Hash
	if recs, err := s.Read(l, upTo, 1, 1); err == nil && len(recs) == 1 && recs[0].Seq == upTo {
		h := wire.HashOf(recs[0].Data)
		hash = &h
	}
	return parts[len(parts)-1].Ack(l, upTo, hash)
}
