//go:build linux

package powercut_test

import (
	"fmt"
	"testing"

	"github.com/fengsui/fengsui/sim/torture"
	"github.com/fengsui/fengsui/sim/torture/powercut"
)

// A torn write takes the rest of its flash page with it, which may be larger
// than the database's: both meta pages, or innocent neighbours. The file is set
// aside then and what it holds is salvaged; alarms have a second home. What else
// is gone is named, where anything is left that knows of it.
func TestSpoolOnLargePages(t *testing.T) {
	t.Parallel()
	sizes := []int64{8192}
	if torture.Long() {
		sizes = []int64{512, 4096, 8192, 16384, 65536}
	}
	for _, size := range sizes {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			j := newJudge()
			j.damages = true
			cutOnFlash(t, j, powercut.FlashOptions{Page: size}, torture.N(60, 500))
			t.Logf("%d times a fresh stream; %d duty and track events gone, %d of them unnamed", j.streams, j.excused, j.unnamed)
			if j.Clean() && j.streams == 0 {
				t.Error("no file was damaged: too few to prove anything")
			}
		})
	}
}

func TestSpoolOnLargePagesWithoutSecondHome(t *testing.T) {
	t.Parallel()
	newFlash(t, powercut.FlashOptions{})
	torture.Mutate(t, "second-home-off", "TestSpoolOnLargePages")
}
