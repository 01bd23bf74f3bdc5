package fingerprint_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fengsui/fengsui/firmware/fingerprint"
	"github.com/fengsui/fengsui/firmware/fingerprint/fingerprinttest"
)

// Whatever code a sensor answers an instruction with, defined or not: no finger is
// recognised by it, the sensor is not flooded, a reader that gives up says which
// code that was, and all is well again when the sensor is.
func TestEveryCodeFromEveryInstruction(t *testing.T) {
	for _, op := range []fingerprint.Opcode{
		fingerprint.OpVfyPwd, fingerprint.OpReadSysPara, fingerprint.OpTemplateCount, fingerprint.OpAura,
		fingerprint.OpGenImg, fingerprint.OpImg2Tz, fingerprint.OpSearch,
	} {
		for code := fingerprint.Code(1); code != 0; code++ {
			if code > 0x36 && code < 0xF0 && code%16 != 7 {
				continue // none of which a manual defines
			}
			synctest.Test(t, func(t *testing.T) {
				what := fmt.Sprintf("%v answered with 0x%02X", op, byte(code))
				e := fingerprinttest.New(fingerprinttest.Options{Slots: []int{5}})
				e.Deny(op, code)
				e.Lay(fingerprinttest.NoFinger)
				r := fingerprint.NewReader(fingerprint.Options{})
				ctx, stop := context.WithCancel(t.Context())
				done := make(chan struct{})
				var mu sync.Mutex // guards matched and ended
				var matched int
				var ended error
				got := func() error { mu.Lock(); defer mu.Unlock(); return ended }
				count := func() int { mu.Lock(); defer mu.Unlock(); n := matched; matched = 0; return n }
				go func() { // as the agent does: a reader that ended is run again after a while
					defer close(done)
					for ; ctx.Err() == nil; time.Sleep(2 * time.Second) {
						port, err := e.Open(ctx, 57600)
						if err != nil {
							t.Error(what, err)
							return
						}
						err = r.Run(ctx, port, func(ev fingerprint.Event) {
							if ev.Kind == fingerprint.Matched {
								mu.Lock()
								matched++
								mu.Unlock()
							}
						})
						if ctx.Err() == nil {
							mu.Lock()
							ended = err
							mu.Unlock()
						}
					}
				}()
				touch := func() {
					time.Sleep(5 * time.Second)
					e.Lay(5)
					time.Sleep(3 * time.Second)
					e.Lift()
					time.Sleep(2 * time.Second)
				}
				touch()
				touch()
				want := 0
				if op == fingerprint.OpAura { // a light is not what a sensor is for
					want = 2
				}
				if n := count(); n != want {
					t.Errorf("%s: %d fingers recognised, want %d", what, n, want)
				}
				// An answer to ReadSysPara that is a code only may be a late one to what was
				// asked before, and is told, not believed.
				var named fingerprint.Code
				if err := got(); err != nil && !strings.Contains(err.Error(), code.Error()) ||
					err != nil && op != fingerprint.OpReadSysPara && (!errors.As(err, &named) || named != code) {
					t.Errorf("%s: the reader ended: %v", what, err)
				}
				if n := len(e.Instructions()); n > 20*20 {
					t.Errorf("%s: %d instructions in 20 s", what, n)
				}
				e.Deny(op, fingerprint.OK)
				time.Sleep(10 * time.Second) // it is found again
				touch()
				if n := count(); n != 1 {
					t.Errorf("%s: then %d fingers recognised, want one", what, n)
				}
				stop()
				<-done
				noExport(t, e)
			})
		}
	}
}
