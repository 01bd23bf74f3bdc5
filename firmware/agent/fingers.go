package agent

import (
	"context"
	"strconv"
	"time"

	"github.com/fengsui/fengsui/firmware/fingerprint"
	"github.com/fengsui/fengsui/firmware/fingers"
	"github.com/fengsui/fengsui/firmware/spool"
	"github.com/fengsui/fengsui/firmware/wire"
)

const (
	// authoriseWait is how long a finger that may allow a change is awaited.
	authoriseWait = time.Minute
	// permitLasts is for how long one such finger allows changes: time for an
	// officer's finger and their duress finger.
	permitLasts = 3 * time.Minute
)

// Fingers enrols, deletes and lists fingers on the running device. Each change
// wants the finger of a supervisor or technician, which is asked for with
// fingerprint.StepAuthorise and lasts for a while. While nobody is enrolled who
// may allow it, the technician's key switch does, which is within the closed
// box. Each change becomes an event for the centre. Its methods may be called
// from any goroutine while Run runs; progress is called one call at a time and
// must not block. fingers.Words says each step in both languages. They are those
// of terminal.Fingers, too.
type Fingers struct{ a *Agent }

// Fingers returns the device's fingers.
func (a *Agent) Fingers() Fingers { return Fingers{a} }

func (f Fingers) clerk() (fingers.Clerk, error) {
	if c := f.a.clerk.Load(); c != nil {
		return *c, nil
	}
	return fingers.Clerk{}, fingers.ErrNoReader
}

// Enrol enrols a finger and returns its slot. The error wraps one of those of a
// change in package fingers, or is that of fingers.Clerk.Enrol.
func (f Fingers) Enrol(ctx context.Context, q fingers.Request, progress func(fingerprint.Progress)) (slot int, err error) {
	if progress == nil {
		progress = func(fingerprint.Progress) {}
	}
	err = f.change(ctx, progress, func(c fingers.Clerk, by string) error {
		slot, err = c.Enrol(ctx, q, by, progress)
		return err
	})
	return slot, err
}

// Delete deletes a finger, or a template that is nobody's.
func (f Fingers) Delete(ctx context.Context, slot int, progress func(fingerprint.Progress)) error {
	return f.change(ctx, progress, func(c fingers.Clerk, by string) error { return c.Delete(ctx, slot, by) })
}

// List compares the device's list with the sensor's. It tells duress fingers: a
// screen draws it only while Allowed says so.
func (f Fingers) List(ctx context.Context) (fingers.Listing, error) {
	c, err := f.clerk()
	if err != nil {
		return fingers.Listing{}, err
	}
	return c.List(ctx)
}

// Authorise waits for a finger that may allow changes, unless they are allowed
// already. The error wraps one of those of a change in package fingers, or
// fingerprint.ErrNotReady.
func (f Fingers) Authorise(ctx context.Context, progress func(fingerprint.Progress)) error {
	c, err := f.clerk()
	if err != nil {
		return err
	}
	if _, _, err := c.Reader.Slots(ctx); err != nil { // no finger can be laid on a sensor that is not there
		return err
	}
	return f.change(ctx, progress, func(fingers.Clerk, string) error { return nil })
}

// Allowed returns who allows changes now, or "", and for how long; 0 is as long
// as the technician's key is turned.
func (f Fingers) Allowed(ctx context.Context) (by string, left time.Duration, err error) {
	a := f.a
	err = a.ask(ctx, func() error {
		left = a.finger.until - a.clock.Mono()
		switch {
		case a.finger.permit != "" && left > 0:
			by = a.finger.permit
			return nil
		case a.testKey && a.roster != nil && !a.roster.AnyMayEnrol():
			by = fingers.ByTestKey
		}
		left = 0
		return nil
	})
	return by, left, err
}

// Leave ends what a finger has allowed.
func (f Fingers) Leave(ctx context.Context) error {
	return f.a.ask(ctx, func() error {
		f.a.finger.permit = ""
		return nil
	})
}

// Adopt takes the sensor that was put in the place of this device's own, and
// empties the list of fingers, which were those of the other. No finger counts
// then, so that the technician's key must be turned. The error wraps
// fingers.ErrNoReader, ErrEnrolling, ErrNotReplaced or ErrKeyNotTurned.
func (f Fingers) Adopt(ctx context.Context) error {
	c, err := f.clerk()
	if err != nil {
		return err
	}
	a := f.a
	if !a.enrolling.TryLock() {
		return fingers.ErrEnrolling
	}
	defer a.enrolling.Unlock()
	if err := a.ask(ctx, func() error {
		switch _, replaced := a.faults[faultReplaced]; {
		case !replaced:
			return fingers.ErrNotReplaced
		case !a.testKey:
			return fingers.ErrKeyNotTurned
		}
		return nil
	}); err != nil {
		return err
	}
	if err := c.Roster.Clear(fingers.ByTestKey); err != nil {
		return err
	}
	c.Reader.Adopt()
	a.post(context.WithoutCancel(ctx), a.other, a.tellFingers)
	return nil
}

func (f Fingers) change(ctx context.Context, progress func(fingerprint.Progress), do func(c fingers.Clerk, by string) error) error {
	c, err := f.clerk()
	if err != nil {
		return err
	}
	a := f.a
	if progress == nil {
		progress = func(fingerprint.Progress) {}
	}
	if !a.enrolling.TryLock() {
		return fingers.ErrEnrolling
	}
	defer a.enrolling.Unlock()
	by, err := f.authorise(ctx, progress)
	if err != nil {
		return err
	}
	err = do(c, by)
	a.post(context.WithoutCancel(ctx), a.other, a.tellFingers)
	return err
}

// authorise returns who allows a change.
func (f Fingers) authorise(ctx context.Context, progress func(fingerprint.Progress)) (string, error) {
	a := f.a
	granted := make(chan string, 1)
	failed := make(chan error, 1)
	a.post(ctx, a.other, func() {
		switch {
		case a.finger.permit != "" && a.clock.Mono() < a.finger.until:
			granted <- a.finger.permit
		case a.roster.AnyMayEnrol():
			a.finger.asked = granted
			failed <- nil
		case a.testKey:
			granted <- fingers.ByTestKey
		default:
			failed <- fingers.ErrNobodyMay
		}
	})
	t := time.NewTimer(authoriseWait)
	defer t.Stop()
	for {
		select {
		case by := <-granted:
			return by, nil
		case err := <-failed:
			if err != nil {
				return "", err
			}
			a.reader.Show(fingerprint.SignalPlace)
			progress(fingerprint.Progress{Step: fingerprint.StepAuthorise})
			continue
		case <-t.C:
		case <-ctx.Done():
		}
		a.post(context.WithoutCancel(ctx), a.other, func() {
			a.finger.asked = nil
			a.showReady()
		})
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		return "", fingers.ErrNotAuthorised
	}
}

// allow lets whoever waits for it go on.
func (a *Agent) allow(by string) {
	a.finger.permit, a.finger.until = by, a.clock.Mono()+permitLasts
	a.finger.asked <- by // it has room for one, and is asked once
	a.finger.asked = nil
	a.showReady()
}

// showReady makes the ring tell whether fingers count.
func (a *Agent) showReady() {
	if a.finger.lock.Locked(a.clock.Mono()) {
		a.reader.Show(fingerprint.SignalLocked)
	} else {
		a.reader.Show(fingerprint.SignalReady)
	}
}

// tellFingers makes events of the roster's changes, each once: the number of
// the last is in the event's own commit.
func (a *Agent) tellFingers() {
	for _, c := range a.roster.Untold(a.finger.told) {
		body := &wire.FingerChanged{
			Action: wire.FingerEnrolled, Slot: uint64(max(c.Slot, 0)), Officer: c.Finger.Officer, Role: wireRole(c.Finger.Role),
			Duress: c.Finger.Duress, By: c.Finger.By,
		}
		if c.Deleted {
			body.Action = wire.FingerDeleted
		}
		a.finger.told = c.N
		a.store(a.stamp(), wire.Duty, body, nil, spool.KV{Key: fingerToldState, Value: strconv.AppendUint(nil, c.N, 10)})
	}
}

func wireRole(r fingers.Role) wire.FingerRole {
	switch r {
	case fingers.Supervisor:
		return wire.RoleSupervisor
	case fingers.Technician:
		return wire.RoleTechnician
	}
	return wire.RoleOfficer
}
