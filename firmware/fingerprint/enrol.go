package fingerprint

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// A Step is what an enrolment asks for, or what it says of a capture.
type Step uint8

// The steps.
const (
	StepAuthorise   Step = iota + 1 // a finger that may allow it is awaited; told by whoever asks for one, not here
	StepPlace                       // lay the finger
	StepLift                        // lift it
	StepAgain                       // lay the same finger again
	StepTooDry                      // the finger is too dry, or too lightly laid: it is looked at again
	StepTooWet                      // too wet, or pressed too hard
	StepMessy                       // the image is a mess: wipe finger and sensor
	StepFewFeatures                 // too little of the finger is seen: lay its middle
	StepUnclear                     // the image was not usable for another reason
	StepMismatch                    // the two captures are not of one finger: from the beginning
	StepStored                      // the template is in its slot
)

// String returns the step's name, as messages in all languages are keyed.
func (s Step) String() string {
	names := [...]string{
		"none", "authorise", "place", "lift", "again", "too_dry", "too_wet", "messy", "few_features", "unclear", "mismatch", "stored",
	}
	if int(s) < len(names) {
		return names[s]
	}
	return fmt.Sprintf("step(%d)", uint8(s))
}

// Progress is told while an enrolment goes on.
type Progress struct {
	Step    Step
	Capture int   // 1 or 2: which of the two it concerns; 0: neither
	Err     error // what the sensor said, of the steps that judge a capture
}

// enrolRounds is how often two captures may fail to match.
const enrolRounds = 3

// A job is something that is done with the sensor between two looks.
type job struct {
	run  func(context.Context, *Sensor) error
	done chan error // has room for one
}

// with does something with the sensor of the Run in progress, in its
// goroutine. The error wraps ErrNotReady when there is none.
func (r *Reader) with(ctx context.Context, f func(context.Context, *Sensor) error) error {
	live := r.live.Load()
	if live == nil {
		return ErrNotReady
	}
	// An exchange is never given up in its middle: f has the context of Run, and
	// looks in its pauses whether ctx has ended.
	j := job{done: make(chan error, 1), run: func(run context.Context, s *Sensor) error {
		err := f(run, s)
		if err != nil && ctx.Err() != nil {
			return ctx.Err()
		}
		return err
	}}
	select {
	case r.jobs <- j:
	case <-*live:
		return ErrNotReady
	case <-ctx.Done():
		return ctx.Err()
	}
	return <-j.done // Run never leaves a job that it has taken
}

// Slots returns the slots that hold a template.
func (r *Reader) Slots(ctx context.Context) (slots []int, library int, err error) {
	err = r.with(ctx, func(ctx context.Context, s *Sensor) error {
		slots, err = s.Index(ctx)
		library = s.params.Library
		return err
	})
	return slots, library, err
}

// Delete deletes the template of one slot, and sees that it is gone.
func (r *Reader) Delete(ctx context.Context, slot int) error {
	return r.with(ctx, func(ctx context.Context, s *Sensor) error {
		if err := again(ctx, func() error { return s.Delete(ctx, slot) }); err != nil {
			return err
		}
		there, err := s.Index(ctx)
		if err == nil && slices.Contains(there, slot) {
			err = &Error{OpDelete, fmt.Errorf("%w: slot %d is still there", ErrAnswer, slot)}
		}
		return err
	})
}

// Enrol enrols a finger into an empty slot: it is captured twice, and a
// template is made and stored, all inside the sensor. The function progress is
// called from Run's goroutine and must not block. Meanwhile no finger counts
// as laid. Errors wrap ErrNotReady, ErrNoSuchSlot, ErrOccupied, ErrNobody,
// ErrEnrolled (the finger is in the library already; the message names its
// slot), ErrCombine (the captures did not match three times over) or another
// Code or line error. When the sensor fails in mid-Store, whether the slot
// holds a template is unknown: Slots tells.
func (r *Reader) Enrol(ctx context.Context, slot int, progress func(Progress)) error {
	if progress == nil {
		progress = func(Progress) {}
	}
	gone := ctx.Done()
	return r.with(ctx, func(ctx context.Context, s *Sensor) error {
		e := enrolment{opt: r.opt, sensor: s, ring: &r.ring, progress: progress, gone: gone}
		err := e.run(ctx, slot)
		if err != nil {
			r.Show(SignalRefused)
		} else {
			r.Show(SignalDone)
		}
		return err
	})
}

// An enrolment is one call of Enrol.
type enrolment struct {
	opt      Options
	sensor   *Sensor
	ring     *ring
	progress func(Progress)
	gone     <-chan struct{} // closed when its caller no longer wants it
}

func (e *enrolment) run(ctx context.Context, slot int) error {
	s := e.sensor
	if err := s.inLibrary(OpStore, slot); err != nil {
		return err
	}
	there, err := s.Index(ctx)
	if err != nil {
		return err
	}
	if slices.Contains(there, slot) {
		return &Error{OpStore, fmt.Errorf("%w: slot %d", ErrOccupied, slot)}
	}
	if err := e.lifted(ctx); err != nil { // the finger that allowed it may lie there
		return err
	}
	if err := e.capture(ctx, 1, StepPlace); err != nil {
		return err
	}
	if err := e.unknown(ctx); err != nil {
		return err
	}
	for round := 1; ; round++ {
		// Whatever Search leaves in the buffer, and after a mismatch: the first
		// capture once more, of the finger that still lies, or lies again.
		if err := e.capture(ctx, 1, StepPlace); err != nil {
			return err
		}
		if err := e.lifted(ctx); err != nil {
			return err
		}
		if err := e.capture(ctx, 2, StepAgain); err != nil {
			return err
		}
		err := again(ctx, func() error { return s.RegModel(ctx) })
		if err == nil {
			break
		}
		if !isAny(err, ErrCombine, ErrMismatch) || round == enrolRounds {
			return err
		}
		e.progress(Progress{Step: StepMismatch, Err: err})
		if err := e.lifted(ctx); err != nil {
			return err
		}
	}
	if err := again(ctx, func() error { return s.Store(ctx, 1, slot) }); err != nil {
		return err
	}
	if there, err = s.Index(ctx); err != nil {
		return err
	}
	if !slices.Contains(there, slot) {
		return &Error{OpStore, fmt.Errorf("%w: slot %d is empty after it", ErrAnswer, slot)}
	}
	e.progress(Progress{Step: StepStored})
	return nil
}

// unknown fails when the finger of the first capture is enrolled: one finger
// in two slots could be known as either.
func (e *enrolment) unknown(ctx context.Context) error {
	m, err := e.sensor.Search(ctx, 1)
	switch {
	case err == nil:
		return &Error{OpSearch, fmt.Errorf("%w, in slot %d", ErrEnrolled, m.Slot)}
	case noMatch(err):
		return nil
	}
	return err
}

// capture waits for a finger and takes its features into a buffer; what is
// wrong with a capture is told, once each time that it changes.
func (e *enrolment) capture(ctx context.Context, buffer byte, step Step) error {
	deadline := time.Now().Add(e.opt.Wait)
	said, seen := Step(0), false
	for {
		err := again(ctx, func() error { return e.sensor.GenImg(ctx) })
		if err == nil {
			seen = true
			if err = again(ctx, func() error { return e.sensor.Img2Tz(ctx, buffer) }); err == nil {
				return nil
			}
		}
		switch tell := quality(err); {
		case errors.Is(err, ErrNoFinger):
			if said == 0 || seen {
				said, seen = step, false
				e.progress(Progress{Step: step, Capture: int(buffer)})
				e.ring.show(ctx, e.sensor, SignalPlace, e.opt.Log)
			}
		case tell == 0:
			return err
		case tell != said:
			said = tell
			e.progress(Progress{Step: tell, Capture: int(buffer), Err: err})
		}
		if err := e.pause(ctx, deadline, step); err != nil {
			return err
		}
	}
}

// lifted waits until no finger lies, and asks for that if one does.
func (e *enrolment) lifted(ctx context.Context) error {
	deadline := time.Now().Add(e.opt.Wait)
	said := false
	for empty := 0; empty < liftPolls; {
		err := again(ctx, func() error { return e.sensor.GenImg(ctx) })
		switch {
		case errors.Is(err, ErrNoFinger):
			empty++
		case err == nil, quality(err) != 0:
			empty = 0
			if !said {
				said = true
				e.progress(Progress{Step: StepLift})
				e.ring.show(ctx, e.sensor, SignalLift, e.opt.Log)
			}
		default:
			return err
		}
		if err := e.pause(ctx, deadline, StepLift); err != nil {
			return err
		}
	}
	return nil
}

// pause waits until the next look.
func (e *enrolment) pause(ctx context.Context, deadline time.Time, step Step) error {
	if !time.Now().Before(deadline) {
		return &Error{OpGenImg, fmt.Errorf("%w: %v, in %v", ErrNobody, step, e.opt.Wait)}
	}
	t := time.NewTimer(e.opt.Poll)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-e.gone:
		return context.Canceled
	case <-ctx.Done():
		return ctx.Err()
	}
}

// quality returns what an error says of a capture, or 0.
func quality(err error) Step {
	switch {
	case errors.Is(err, ErrTooDry):
		return StepTooDry
	case errors.Is(err, ErrTooWet):
		return StepTooWet
	case errors.Is(err, ErrDisordered):
		return StepMessy
	case errors.Is(err, ErrFewFeatures):
		return StepFewFeatures
	case badImage(err):
		return StepUnclear
	}
	return 0
}

// again repeats an exchange whose answer was lost. Everything that an
// enrolment does can be done twice.
func again(ctx context.Context, f func() error) (err error) {
	for range lineTries {
		if err = f(); err == nil || ctx.Err() != nil || !errors.Is(err, ErrTimeout) {
			return err
		}
	}
	return err
}
