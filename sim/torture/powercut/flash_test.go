//go:build linux

package powercut

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"
)

// What was synced is there after a cut, but for what later writes touch; and a
// sector that one touched is as before, as after, or, once at most, garbage.
func TestTear(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const sectors = 8
		f := &file{}
		f.change(change{0, bytes.Repeat([]byte{1}, sectors*sector)})
		f.sync()
		touched := make(map[int]bool)
		for n := range rapid.IntRange(0, 6).Draw(t, "writes") {
			first := rapid.IntRange(0, sectors-1).Draw(t, "first")
			size := rapid.IntRange(1, sectors-first).Draw(t, "size")
			f.change(change{int64(first * sector), bytes.Repeat([]byte{byte(n + 2)}, size*sector)})
			for i := range size {
				touched[first+i] = true
			}
		}
		f.tear(rapidRand(t), sector, new(Tally))
		garbage := 0
		for i := range sectors {
			s := f.disk[i*sector : (i+1)*sector]
			switch {
			case !bytes.Equal(s, bytes.Repeat(s[:1], sector)):
				garbage++
				if !touched[i] {
					t.Errorf("sector %d is garbage, and nobody wrote there", i)
				}
			case s[0] != 1 && !touched[i]:
				t.Errorf("sector %d changed, and nobody wrote there", i)
			}
		}
		if garbage > 1 || len(f.disk) != sectors*sector || !bytes.Equal(f.now, f.disk) || len(f.pending) > 0 {
			t.Errorf("%d sectors of garbage, %d bytes, %d pending", garbage, len(f.disk), len(f.pending))
		}
	})
}

// A size is cut off or extended with zeros.
func TestChangeOfSize(t *testing.T) {
	f := &file{}
	f.change(change{0, []byte("abc")})
	f.change(change{at: 2})
	f.change(change{at: 4})
	if got := string(f.now); got != "ab\x00\x00" {
		t.Errorf("%q", got)
	}
	if f.sync(); string(f.disk) != string(f.now) {
		t.Errorf("%q on the disk, %q seen", f.disk, f.now)
	}
}

// Names come and go in their order, and stay once synced.
func TestNames(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := folder{now: make(map[string]*file), disk: make(map[string]*file)}
		d.change(naming{name: "a", file: &file{mode: 1}})
		d.sync()
		d.change(naming{name: "b", file: &file{mode: 2}})
		d.change(naming{gone: "b", name: "a", file: &file{mode: 2}})
		d.tear(rapidRand(t))
		a, b := d.now["a"], d.now["b"]
		if a == nil || b != nil && (a.mode != 1 || b.mode != 2) || len(d.now) > 2 {
			t.Errorf("a %+v, b %+v", a, b)
		}
	})
}

func rapidRand(t *rapid.T) *rand.Rand {
	return rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
}
