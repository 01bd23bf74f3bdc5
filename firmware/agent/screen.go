package agent

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/fengsui/fengsui/firmware/spool"
	"github.com/fengsui/fengsui/firmware/terminal"
	"github.com/fengsui/fengsui/firmware/wire"
)

// A screen is the agent as the officer's terminal knows it; its methods are
// those of [terminal.Device], and any goroutine may call them.
type screen struct{ a *Agent }

// Screen returns the device that the officer's terminal shows.
func (a *Agent) Screen() terminal.Device { return screen{a} }

// serveTerminal serves the screen until ctx ends. An address that cannot be had
// is a fault, and is tried again: the rest of the device does not depend on it.
func (a *Agent) serveTerminal(ctx context.Context) {
	const again = 10 * time.Second
	for ctx.Err() == nil {
		l, err := a.ports.Terminal()
		if err == nil {
			a.post(ctx, a.other, func() { a.faultEnded(faultTerminal) })
			err = a.terminal.Serve(ctx, l)
		}
		if ctx.Err() != nil {
			return
		}
		a.post(ctx, a.other, func() { a.faultBegan(faultTerminal, err.Error()) })
		t := time.NewTimer(again)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
		}
	}
}

// ask runs f on the loop and waits for it.
func (a *Agent) ask(ctx context.Context, f func() error) error {
	done := make(chan error, 1)
	select {
	case a.other <- func() { done <- f() }:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// View returns what the screen shows, with all that is personal.
func (s screen) View(ctx context.Context) (v terminal.View, err error) {
	a := s.a
	err = a.ask(ctx, func() error {
		up := a.uplink.Status()
		wall := a.clock.Wall()
		v = terminal.View{
			Device: a.cfg.Device, Officer: a.officer, Reader: a.ports.Fingerprint != nil, PIN: a.cfg.Terminal != nil && len(a.cfg.Terminal.PINs) > 0,
			Now: wall.Time(), ClockSource: wall.Source.String(), Connected: up.Connected, Heard: up.Heard,
			Drill: a.drilling(), Locked: max(0, a.pins.until-a.clock.Mono()), Receiver: a.ports.GPS != nil,
			Faults: slices.Sorted(maps.Keys(a.faults)), Tasks: a.viewTasks(), Photos: a.viewPhotos(), Doing: a.viewDoing(),
		}
		for l, n := range a.spool.Depth() {
			switch l {
			case wire.Alarm:
				v.Queue.Alarm = n - min(n, uint64(len(a.veiled)))
			case wire.Duty:
				v.Queue.Duty = n
			case wire.Track:
				v.Queue.Track = n
			}
		}
		if f := a.batch.last; f != nil {
			v.Fix = &terminal.Fix{
				Lat: f.Lat, Lon: f.Lon, Age: a.clock.Mono() - a.batch.seen, Mode: int(f.Mode), HDOP: f.HDOP,
				Speed: f.Speed, Course: f.Course, HasCourse: f.HasCourse,
			}
		}
		if !up.Heard {
			v.Lost = a.clock.Mono() - a.lost
		}
		v.Path = a.path.view(a.clock.Mono())
		if p := a.latches[helpButton]; p != nil {
			v.Help = &terminal.Help{Step: p.Step.String(), Unit: p.Unit, Presses: p.Press}
		}
		return nil
	})
	return v, err
}

// Shows says how many screens show the device now.
func (s screen) Shows(ctx context.Context, screens int) error {
	return s.a.ask(ctx, func() error {
		s.a.screens = screens
		s.a.showTasks()
		return nil
	})
}

// SignOn signs an officer on by a PIN. The PIN is checked beside the loop.
func (s screen) SignOn(ctx context.Context, number, pin string) error {
	a := s.a
	if a.cfg.Terminal == nil {
		return terminal.ErrPIN
	}
	if err := a.ask(ctx, func() error {
		if left := a.pins.until - a.clock.Mono(); left > 0 {
			a.store(a.stamp(), wire.Duty, &wire.SignRefused{Reason: "locked"}, nil)
			return &terminal.LockedError{Left: left}
		}
		return nil
	}); err != nil {
		return err
	}
	officer, duress := a.cfg.Terminal.Check(number, pin)
	return a.ask(ctx, func() error {
		if officer == "" {
			a.pinFailed()
			return terminal.ErrPIN
		}
		a.pins = pinLock{}
		if a.officer != "" && a.officer != officer {
			a.signOff("relieved")
		}
		if a.officer != officer {
			a.officer = officer
			a.store(a.stamp(), wire.Duty, &wire.SignOn{Officer: officer, PIN: true}, nil,
				spool.KV{Key: officerState, Value: []byte(officer)}, a.pins.kv())
		}
		if duress {
			a.duress(officer)
		}
		a.showTasks()
		return nil
	})
}

// SignOff signs the officer off.
func (s screen) SignOff(ctx context.Context) error {
	return s.a.ask(ctx, func() error {
		if s.a.officer == "" {
			return terminal.ErrSignedOff
		}
		s.a.signOff("screen")
		return nil
	})
}

// Answer stores what the officer says to an assignment.
func (s screen) Answer(ctx context.Context, w terminal.Answer) error {
	return s.a.ask(ctx, func() error { return s.a.answer(w) })
}

// SetDoing stores what the officer says that the unit does.
func (s screen) SetDoing(ctx context.Context, doing wire.Doing, reason string) error {
	return s.a.ask(ctx, func() error {
		if s.a.officer == "" {
			return terminal.ErrSignedOff
		}
		s.a.setDoing(doing, reason)
		return nil
	})
}

// PutAway takes a task that is over from the screen.
func (s screen) PutAway(ctx context.Context, incident uint64) error {
	return s.a.ask(ctx, func() error { return s.a.putAway(incident) })
}

// Help raises an alarm; nobody needs to be signed on for that.
func (s screen) Help(ctx context.Context) error {
	done := make(chan struct{})
	s.a.post(ctx, s.a.urgent, func() {
		s.a.press(helpButton, wire.Panic, false, s.a.stamp())
		close(done)
	})
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Note stores what the officer wrote down.
func (s screen) Note(ctx context.Context, incident uint64, text string) error {
	return s.a.ask(ctx, func() error {
		if s.a.officer == "" {
			return terminal.ErrSignedOff
		}
		s.a.store(s.a.stamp(), wire.Duty, &wire.Note{Incident: incident, Text: text, Position: s.a.position()}, nil)
		return nil
	})
}

// Photo keeps a photo for the centre and returns its id.
func (s screen) Photo(ctx context.Context, incident uint64, jpeg []byte) (id string, err error) {
	whole, err := s.a.keepPhoto(jpeg)
	if err != nil {
		return "", err
	}
	err = s.a.ask(ctx, func() error {
		id, err = s.a.addPhoto(whole, len(jpeg), incident)
		return err
	})
	return id, err
}

// A pinLock makes guessing slow: after so many wrong PINs none is taken for a
// while, each time for twice as long. A restart does not shorten it.
type pinLock struct {
	fails uint64
	until time.Duration // Mono
}

const (
	pinState     = "pin_fails"
	pinTries     = 5
	pinFirst     = time.Minute
	pinLongest   = 15 * time.Minute
	pinForgotten = 10 // doublings that are counted
)

func (p pinLock) kv() spool.KV {
	if p.fails == 0 {
		return spool.KV{Key: pinState}
	}
	return spool.KV{Key: pinState, Value: strconv.AppendUint(nil, p.fails, 10)}
}

// lock sets until when no PIN is taken.
func (p *pinLock) lock(now time.Duration) {
	if over := p.fails / pinTries; p.fails > 0 && p.fails%pinTries == 0 {
		p.until = now + min(pinFirst<<min(over-1, pinForgotten), pinLongest)
	}
}

// pinFailed counts a wrong PIN.
func (a *Agent) pinFailed() {
	a.pins.fails++
	a.pins.lock(a.clock.Mono())
	a.store(a.stamp(), wire.Duty, &wire.SignRefused{Reason: "bad_pin"}, nil, a.pins.kv())
}
