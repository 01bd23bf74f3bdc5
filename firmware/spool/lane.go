package spool

import "github.com/fengsui/fengsui/firmware/wire"

// A laneState is what the spool knows of a lane without asking the file.
type laneState struct {
	oldest uint64 // the lowest number that no Ack covers and that is not lost
	next   uint64
	prev   wire.Hash
	kept   uint64 // the lowest number that the file should still hold
	lost   []span // numbers found damaged that an Ack has yet to reach
}

// A span is the numbers from first to last.
type span struct{ first, last uint64 }

// ack moves oldest past what the centre has, and past what is lost behind it.
func (st *laneState) ack(upTo uint64) {
	st.oldest = max(st.oldest, upTo+1)
	st.skip()
}

func (st *laneState) skip() {
	for i := 0; i < len(st.lost); i++ {
		if s := st.lost[i]; s.first <= st.oldest {
			st.oldest = max(st.oldest, s.last+1)
			st.lost = append(st.lost[:i], st.lost[i+1:]...)
			i = -1
		}
	}
}

// lose notes numbers that cannot be read any more, and returns how many are
// news.
func (st *laneState) lose(s span) (news uint64) {
	for _, old := range st.lost {
		if old.first <= s.first && s.last <= old.last {
			return 0
		}
	}
	st.lost = append(st.lost, s)
	st.skip()
	return s.last - s.first + 1
}

// isLost reports whether a number is lost, or kept by the centre all the same.
func (st *laneState) isLost(seq uint64) bool {
	for _, s := range st.lost {
		if s.first <= seq && seq <= s.last {
			return true
		}
	}
	return false
}
