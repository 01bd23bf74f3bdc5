package agent

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/fengsui/fengsui/firmware/fingerprint"
	"github.com/fengsui/fengsui/firmware/fingers"
	"github.com/fengsui/fengsui/firmware/spool"
	"github.com/fengsui/fengsui/firmware/wire"
)

// Errors of Fingers.
var (
	// ErrNoReader means that the device has no fingerprint reader, or that its
	// list of fingers cannot be read.
	ErrNoReader = errors.New("no fingerprint reader here that fingers can be enrolled at")
	// ErrEnrolling means that somebody else is changing fingers at the moment.
	ErrEnrolling = errors.New("fingers are being changed already")
	// ErrNotAuthorised means that no finger that may allow it was laid in time.
	ErrNotAuthorised = errors.New("nobody who may allow it laid a finger in time")
	// ErrNobodyMay means that nobody is enrolled who may allow it: turn the
	// technician's key, or use the command on the device, and enrol a technician.
	ErrNobodyMay = errors.New("no technician or supervisor is enrolled here yet")
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
// must not block. fingers.Words says each step in both languages.
type Fingers struct{ a *Agent }

// Fingers returns the device's fingers.
func (a *Agent) Fingers() Fingers { return Fingers{a} }

func (f Fingers) clerk() (fingers.Clerk, error) {
	if c := f.a.clerk.Load(); c != nil {
		return *c, nil
	}
	return fingers.Clerk{}, ErrNoReader
}

// Enrol enrols a finger and returns its slot. The error wraps one of this
// package, or is that of fingers.Clerk.Enrol.
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
	if progress == nil {
		progress = func(fingerprint.Progress) {}
	}
	return f.change(ctx, progress, func(c fingers.Clerk, by string) error { return c.Delete(ctx, slot, by) })
}

// List compares the device's list with the sensor's. It tells duress fingers:
// what is drawn on a screen must leave that out.
func (f Fingers) List(ctx context.Context) (fingers.Listing, error) {
	c, err := f.clerk()
	if err != nil {
		return fingers.Listing{}, err
	}
	return c.List(ctx)
}

func (f Fingers) change(ctx context.Context, progress func(fingerprint.Progress), do func(c fingers.Clerk, by string) error) error {
	c, err := f.clerk()
	if err != nil {
		return err
	}
	a := f.a
	if !a.enrolling.TryLock() {
		return ErrEnrolling
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
			failed <- ErrNobodyMay
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
		return "", ErrNotAuthorised
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
