package fingerprint_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fengsui/fengsui/firmware/fingerprint"
	"github.com/fengsui/fengsui/firmware/fingerprint/fingerprinttest"
)

// reading runs f while a reader runs on an emulator, and sees afterwards that
// nothing was sent that moves a template or an image.
func reading(t *testing.T, opt fingerprint.Options, sensor fingerprinttest.Options, f func(*testing.T, *fingerprint.Reader, *fingerprinttest.Sensor)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		e := fingerprinttest.New(sensor)
		r := fingerprint.NewReader(opt)
		ctx, stop := context.WithCancel(t.Context())
		port, err := e.Open(ctx, 57600)
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- r.Run(ctx, port, func(fingerprint.Event) {}) }()
		time.Sleep(time.Second)
		f(t, r, e)
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		noExport(t, e)
	})
}

func noExport(t *testing.T, e *fingerprinttest.Sensor) {
	t.Helper()
	for _, op := range e.Instructions() {
		if op >= fingerprint.OpLoadChar && op <= fingerprint.OpDownImage || !op.Allowed() {
			t.Errorf("%v was sent", op)
		}
	}
}

// enrol enrols while a hand does what it is asked: fingers are laid one after
// another, the last again and again, each lifted when that is asked.
func enrol(t *testing.T, r *fingerprint.Reader, e *fingerprinttest.Sensor, slot int, fingers ...int) (steps []string, err error) {
	t.Helper()
	next := func() {
		f := fingers[0]
		if len(fingers) > 1 {
			fingers = fingers[1:]
		}
		time.AfterFunc(time.Second, func() { e.Lay(f) })
	}
	err = r.Enrol(t.Context(), slot, func(p fingerprint.Progress) {
		s := p.Step.String()
		if p.Capture != 0 {
			s = fmt.Sprint(s, p.Capture)
		}
		steps = append(steps, s)
		switch p.Step {
		case fingerprint.StepLift:
			time.AfterFunc(time.Second, e.Lift)
		case fingerprint.StepStored, fingerprint.StepMismatch:
		default:
			next()
		}
	})
	time.Sleep(2 * time.Second)
	e.Lift()
	time.Sleep(2 * time.Second)
	return steps, err
}

func TestEnrol(t *testing.T) {
	for name, c := range map[string]struct {
		fingers []int
		slot    int
		steps   string
		err     error
	}{
		"at once":            {[]int{40}, 7, "place1 lift again2 stored", nil},
		"slot 0":             {[]int{40}, 0, "place1 lift again2 stored", nil},
		"too dry, then well": {[]int{fingerprinttest.Dry, 40, 40}, 7, "place1 too_dry1 lift again2 stored", nil},
		"all qualities": {
			[]int{fingerprinttest.Dry, fingerprinttest.Wet, fingerprinttest.Messy, fingerprinttest.Smudge, fingerprinttest.Blurred, 40},
			7,
			"place1 too_dry1 too_wet1 messy1 few_features1 unclear1 lift again2 stored", nil,
		},
		"the second is bad":     {[]int{40, fingerprinttest.Messy, 40}, 7, "place1 lift again2 messy2 stored", nil},
		"two fingers":           {[]int{40, 41, 40, 40}, 7, "place1 lift again2 mismatch lift place1 lift again2 stored", nil},
		"never the same":        {[]int{40, 41, 40, 41, 40, 41, 40}, 7, "place1 lift again2 mismatch lift place1 lift again2 mismatch lift place1 lift again2", fingerprint.ErrCombine},
		"enrolled already":      {[]int{3}, 7, "place1", fingerprint.ErrEnrolled},
		"nobody comes":          {[]int{fingerprinttest.NoFinger}, 7, "place1", fingerprint.ErrNobody},
		"the slot is taken":     {[]int{40}, 3, "", fingerprint.ErrOccupied},
		"there is no such slot": {[]int{40}, 200, "", fingerprint.ErrNoSuchSlot},
		"a slot below 0":        {[]int{40}, -1, "", fingerprint.ErrNoSuchSlot},
	} {
		t.Run(name, func(t *testing.T) {
			reading(t, fingerprint.Options{}, fingerprinttest.Options{Slots: []int{3}}, func(t *testing.T, r *fingerprint.Reader, e *fingerprinttest.Sensor) {
				steps, err := enrol(t, r, e, c.slot, c.fingers...)
				if got := strings.Join(steps, " "); got != c.steps {
					t.Errorf("steps %q, want %q", got, c.steps)
				}
				want := map[int]int{3: 3}
				if c.err == nil {
					want[c.slot] = 40
				}
				if !errors.Is(err, c.err) || !maps.Equal(e.Library(), want) {
					t.Errorf("%v, library %v; want %v, %v", err, e.Library(), c.err, want)
				}
				slots, library, err := r.Slots(t.Context())
				if err != nil || !slices.Equal(slots, slices.Sorted(maps.Keys(want))) || library != 200 {
					t.Errorf("slots %v of %d, %v", slots, library, err)
				}
			})
		})
	}
}

// The finger that allowed an enrolment may lie there still: it is not the one
// to be enrolled.
func TestEnrolWaitsForALift(t *testing.T) {
	reading(t, fingerprint.Options{}, fingerprinttest.Options{}, func(t *testing.T, r *fingerprint.Reader, e *fingerprinttest.Sensor) {
		e.Lay(9)
		time.Sleep(time.Second)
		steps, err := enrol(t, r, e, 1, 40)
		if got := strings.Join(steps, " "); got != "lift place1 lift again2 stored" || err != nil || e.Library()[1] != 40 {
			t.Errorf("%q, %v, library %v", got, err, e.Library())
		}
	})
}

// Whatever goes wrong once on the line, an enrolment ends well or with an
// error, in time; a success is one, and the reader reads on, or is run again.
func TestEnrolOverABadLine(t *testing.T) {
	for fault := fingerprinttest.Silent; fault <= fingerprinttest.FlashFails; fault++ {
		t.Run(fmt.Sprint(fault), func(t *testing.T) {
			for after := range 14 {
				var events []fingerprint.Event
				synctest.Test(t, func(t *testing.T) {
					e := fingerprinttest.New(fingerprinttest.Options{Slots: []int{3}})
					r := fingerprint.NewReader(fingerprint.Options{})
					ctx, stop := context.WithCancel(t.Context())
					done := make(chan error, 1)
					go func() { // as the agent does: a reader that has lost its sensor is run again
						for ctx.Err() == nil {
							port, err := e.Open(ctx, 57600)
							if err == nil {
								err = r.Run(ctx, port, func(ev fingerprint.Event) {
									if ev.Kind != fingerprint.Ready {
										events = append(events, ev)
									}
								})
							}
							if err != nil && !errors.Is(err, fingerprint.ErrTimeout) {
								done <- err
								return
							}
						}
						done <- nil
					}()
					time.Sleep(time.Second)
					began := time.Now()
					time.AfterFunc(time.Duration(after)*317*time.Millisecond, func() { e.Break(fault, true) })
					_, err := enrol(t, r, e, 7, 40)
					if d := time.Since(began); d > 2*time.Minute {
						t.Errorf("fault %d after %d: it took %v", fault, after, d)
					}
					if there := e.Library()[7] == 40; err == nil && !there {
						t.Errorf("fault %d after %d: enrolled, and the library is %v", fault, after, e.Library())
					}
					e.Break(fingerprinttest.None, false)
					time.Sleep(2 * time.Minute) // a slow answer has come, and the sensor is found again
					events = nil
					e.Lay(3)
					time.Sleep(3 * time.Second)
					e.Lift()
					time.Sleep(time.Second)
					stop()
					if rerr := <-done; rerr != nil {
						t.Errorf("fault %d after %d: the reader ended: %v", fault, after, rerr)
					}
					noExport(t, e)
				})
				if len(events) != 1 || events[0].Kind != fingerprint.Matched || events[0].Match.Slot != 3 {
					t.Errorf("fault %d after %d: then %v, want a match of slot 3", fault, after, events)
				}
			}
		})
	}
}

func TestDelete(t *testing.T) {
	reading(t, fingerprint.Options{}, fingerprinttest.Options{Slots: []int{0, 3, 255, 256, 999}, Library: 1000}, func(t *testing.T, r *fingerprint.Reader, e *fingerprinttest.Sensor) {
		if err := r.Delete(t.Context(), 256); err != nil {
			t.Error(err)
		}
		if err := r.Delete(t.Context(), 1000); !errors.Is(err, fingerprint.ErrNoSuchSlot) {
			t.Errorf("slot 1000: %v, want ErrNoSuchSlot", err)
		}
		if slots, _, err := r.Slots(t.Context()); !slices.Equal(slots, []int{0, 3, 255, 999}) || err != nil {
			t.Errorf("left %v, %v", slots, err)
		}
		e.Break(fingerprinttest.FlashFails, false)
		if err := r.Delete(t.Context(), 3); !errors.Is(err, fingerprint.ErrDelete) || e.Library()[3] != 3 {
			t.Errorf("%v, want ErrDelete", err)
		}
	})
}

func TestWithoutASensor(t *testing.T) {
	r := fingerprint.NewReader(fingerprint.Options{})
	if err := r.Enrol(t.Context(), 1, nil); !errors.Is(err, fingerprint.ErrNotReady) {
		t.Errorf("%v, want ErrNotReady", err)
	}
}

// An enrolment that its caller gives up leaves a reader that reads on.
func TestEnrolGivenUp(t *testing.T) {
	reading(t, fingerprint.Options{}, fingerprinttest.Options{}, func(t *testing.T, r *fingerprint.Reader, e *fingerprinttest.Sensor) {
		ctx, stop := context.WithTimeout(t.Context(), 3*time.Second)
		defer stop()
		if err := r.Enrol(ctx, 1, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v, want DeadlineExceeded", err)
		}
		if steps, err := enrol(t, r, e, 1, 40); err != nil {
			t.Errorf("again: %v, %v", steps, err)
		}
	})
}

func TestOwnPassword(t *testing.T) {
	const own = 0xC0FFEE01
	for name, c := range map[string]struct {
		sensor, configured uint32
		given              bool
		err                error
		taken              int // how often Taken is called
		after              uint32
	}{
		"a new sensor":                    {0, 0, false, nil, 1, own},
		"one with a password of its past": {77, 77, false, nil, 1, own},
		"ours":                            {own, 0, true, nil, 0, own},
		"a cut before it was noted":       {own, 0, false, nil, 1, own},
		"another, fresh from its box":     {0, 0, true, fingerprint.ErrForeign, 0, 0},
		"another's":                       {77, 0, true, fingerprint.ErrPassword, 0, 77},
		"another's, from the start":       {77, 0, false, fingerprint.ErrPassword, 0, 77},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := fingerprinttest.New(fingerprinttest.Options{Password: c.sensor})
				ctx, stop := context.WithTimeout(t.Context(), 5*time.Second)
				defer stop()
				port, err := e.Open(t.Context(), 57600)
				if err != nil {
					t.Fatal(err)
				}
				taken := 0
				secret := &fingerprint.Secret{Password: own, Given: c.given, Taken: func() error { taken++; return nil }}
				err = fingerprint.NewReader(fingerprint.Options{Password: c.configured, Secret: secret}).Run(ctx, port, func(fingerprint.Event) {})
				if !errors.Is(err, c.err) || taken != c.taken || e.Password() != c.after || secret.Given != (c.given || c.err == nil) {
					t.Errorf("%v, taken %d times, password %08X; want %v, %d, %08X", err, taken, e.Password(), c.err, c.taken, c.after)
				}
				noExport(t, e)
			})
		})
	}
}

// A sensor that takes no password is used without.
func TestNoPasswordTaken(t *testing.T) {
	secret := &fingerprint.Secret{Password: 5}
	reading(t, fingerprint.Options{Secret: secret}, fingerprinttest.Options{}, func(t *testing.T, r *fingerprint.Reader, e *fingerprinttest.Sensor) {})
	synctest.Test(t, func(t *testing.T) {
		e := fingerprinttest.New(fingerprinttest.Options{})
		e.Break(fingerprinttest.FlashFails, false)
		ctx, stop := context.WithTimeout(t.Context(), 5*time.Second)
		defer stop()
		port, _ := e.Open(t.Context(), 57600)
		ready := false
		secret := &fingerprint.Secret{Password: 5}
		err := fingerprint.NewReader(fingerprint.Options{Secret: secret}).Run(ctx, port, func(ev fingerprint.Event) { ready = ready || ev.Kind == fingerprint.Ready })
		if err != nil || !ready || secret.Given {
			t.Errorf("%v, ready %v, given %v", err, ready, secret.Given)
		}
	})
}

func TestFindBaud(t *testing.T) {
	for _, baud := range []int{9600, 57600, 115200, 48000} {
		synctest.Test(t, func(t *testing.T) {
			e := fingerprinttest.New(fingerprinttest.Options{Baud: baud, Password: 99}) // a wrong password is an answer, too
			tried := 19200
			port, err := e.Open(t.Context(), tried)
			if err != nil {
				t.Fatal(err)
			}
			if err := fingerprint.NewReader(fingerprint.Options{}).Run(t.Context(), port, func(fingerprint.Event) {}); !errors.Is(err, fingerprint.ErrTimeout) {
				t.Errorf("at %d: %v, want ErrTimeout", tried, err)
			}
			began := time.Now()
			got, err := fingerprint.FindBaud(t.Context(), e.Open, tried, fingerprint.Options{})
			if got != baud || err != nil || time.Since(began) > 10*time.Second {
				t.Errorf("found %d, %v, in %v; want %d", got, err, time.Since(began), baud)
			}
			e.Break(fingerprinttest.Silent, false)
			if _, err := fingerprint.FindBaud(t.Context(), e.Open, tried, fingerprint.Options{}); !errors.Is(err, fingerprint.ErrTimeout) {
				t.Errorf("silent: %v, want ErrTimeout", err)
			}
			e.Plug(false)
			if _, err := fingerprint.FindBaud(t.Context(), e.Open, tried, fingerprint.Options{}); !errors.Is(err, fingerprinttest.ErrUnplugged) {
				t.Errorf("unplugged: %v, want what the port says", err)
			}
		})
	}
}

func TestRing(t *testing.T) {
	lights := fingerprint.Lights()
	reading(t, fingerprint.Options{}, fingerprinttest.Options{}, func(t *testing.T, r *fingerprint.Reader, e *fingerprinttest.Sensor) {
		is := func(want fingerprint.Signal) {
			t.Helper()
			if got := e.Light(); got != lights[want] {
				t.Errorf("the ring shows %+v, want %+v", got, lights[want])
			}
		}
		is(fingerprint.SignalReady)
		r.Show(fingerprint.SignalRefused)
		time.Sleep(time.Second)
		is(fingerprint.SignalRefused)
		time.Sleep(2 * time.Second)
		is(fingerprint.SignalReady)
		r.Show(fingerprint.SignalLocked)
		r.Show(fingerprint.SignalDone)
		time.Sleep(time.Second)
		is(fingerprint.SignalDone)
		time.Sleep(2 * time.Second)
		is(fingerprint.SignalLocked)
	})
	// Without a ring nothing else changes, and it is asked once.
	reading(t, fingerprint.Options{}, fingerprinttest.Options{NoRing: true}, func(t *testing.T, r *fingerprint.Reader, e *fingerprinttest.Sensor) {
		r.Show(fingerprint.SignalDone)
		if _, err := enrol(t, r, e, 1, 40); err != nil {
			t.Error(err)
		}
		asked := 0
		for _, op := range e.Instructions() {
			if op == fingerprint.OpAura {
				asked++
			}
		}
		if asked != 1 {
			t.Errorf("the ring was asked for %d times, want once", asked)
		}
	})
	seen := make(map[fingerprint.Light]bool)
	for s, l := range lights {
		if seen[l] || l.Control < 1 || l.Control > 6 || l.Colour < 1 || l.Colour > 3 {
			t.Errorf("signal %d: %+v is another's, or none that every revision has", s, l)
		}
		seen[l] = true
	}
}

func TestUnplugged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := fingerprinttest.New(fingerprinttest.Options{Slots: []int{1}})
		run := func() chan error {
			port, err := e.Open(t.Context(), 57600)
			if err != nil {
				t.Fatal(err)
			}
			done := make(chan error, 1)
			go func() {
				done <- fingerprint.NewReader(fingerprint.Options{}).Run(t.Context(), port, func(fingerprint.Event) {})
			}()
			return done
		}
		done := run()
		time.Sleep(3 * time.Second)
		e.Plug(false)
		if err := <-done; !errors.Is(err, fingerprint.ErrPort) {
			t.Errorf("%v, want ErrPort", err)
		}
		if _, err := e.Open(t.Context(), 57600); !errors.Is(err, fingerprinttest.ErrUnplugged) {
			t.Errorf("%v, want ErrUnplugged", err)
		}
		e.Plug(true)
		done = run()
		time.Sleep(3 * time.Second)
		e.Plug(false)
		<-done
	})
}

// The codes of the manuals, by number: R503 user manual 1.2.2, chapter V;
// those of R30x and ZFM-20 are among them.
func TestEveryCodeHasAName(t *testing.T) {
	for _, c := range []fingerprint.Code{
		0x01, 0x02, 0x03, 0x06, 0x07, 0x08, 0x09, 0x0A, 0x0B, 0x0C, 0x0D, 0x0E, 0x0F, 0x10, 0x11, 0x13, 0x15, 0x18, 0x19, 0x1A, 0x1B, 0x1C, 0x1D,
		0x1F, 0x20, 0x21, 0x22, 0x24, 0x26, 0x27, 0x29, 0xFC, 0xFD, 0xFE,
	} {
		if s := c.Error(); strings.Contains(s, "no manual") || !strings.Contains(s, fmt.Sprintf("0x%02X", byte(c))) {
			t.Errorf("%s: want a name and the number", s)
		}
	}
	if s := fingerprint.Code(0x77).Error(); !strings.Contains(s, "no manual") {
		t.Errorf("0x77: %s", s)
	}
}
