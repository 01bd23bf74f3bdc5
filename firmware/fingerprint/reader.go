package fingerprint

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync/atomic"
	"time"
)

const (
	// DefaultPoll is the time between two looks for a finger.
	DefaultPoll = 200 * time.Millisecond
	// DefaultMinScore is the weakest match score that counts.
	DefaultMinScore = 50
	// DefaultStuck is how long a finger may lie.
	DefaultStuck = time.Minute
	// DefaultWait is how long an enrolment waits for a finger.
	DefaultWait = 30 * time.Second

	// liftPolls is how many looks in a row must find no finger before the next
	// one counts: a dry finger flickers.
	liftPolls = 2
	// readTries is how many images of one finger are taken before it is given
	// up as unreadable.
	readTries = 5
	// lineTries is how many exchanges in a row may fail before the sensor is
	// given up as lost.
	lineTries = 3
)

// Options adjust a Sensor and a Reader. The zero value of a member stands for
// the default.
type Options struct {
	Address  uint32        // module address; default DefaultAddress
	Password uint32        // default 0, which a sensor without a password takes
	Timeout  time.Duration // of one exchange; default DefaultTimeout
	Poll     time.Duration // between two looks for a finger; default DefaultPoll
	MinScore int           // a weaker match is refused; default DefaultMinScore
	Stuck    time.Duration // how long a finger may lie; default DefaultStuck
	Wait     time.Duration // how long an enrolment waits for a finger to come or go; default DefaultWait
	Secret   *Secret       // the device's own password; nil: it has none, and Password is what there is
	NoRing   bool          // the light ring is left alone
	Log      *slog.Logger  // default: discarded
}

func (o Options) withDefaults() Options {
	if o.Address == 0 {
		o.Address = DefaultAddress
	}
	if o.Timeout <= 0 {
		o.Timeout = DefaultTimeout
	}
	if o.Poll <= 0 {
		o.Poll = DefaultPoll
	}
	if o.MinScore <= 0 {
		o.MinScore = DefaultMinScore
	}
	if o.Stuck <= 0 {
		o.Stuck = DefaultStuck
	}
	if o.Wait <= 0 {
		o.Wait = DefaultWait
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

// A Kind is what happened at the reader.
type Kind uint8

// What can happen. A finger that is laid makes exactly one event of Matched to
// Refused; it must be lifted before the next one counts.
const (
	Ready      Kind = iota + 1 // the sensor answers; once, at the start of Run
	Matched                    // a finger of the library, well enough
	NoMatch                    // a finger that is not in the library
	Weak                       // a finger of the library, but below Options.MinScore
	Unreadable                 // a finger of which no usable image could be had
	Refused                    // an answer that cannot be believed; Err says why
	Stuck                      // a finger, or dirt, lies for longer than Options.Stuck
	Freed                      // what was Stuck is gone
)

// String returns the kind's name.
func (k Kind) String() string {
	return [...]string{"none", "ready", "matched", "no match", "weak", "unreadable", "refused", "stuck", "freed"}[min(k, 9)%9]
}

// An Event is something that happened at the reader.
type Event struct {
	Kind  Kind
	Match Match // of Matched and Weak
	Err   error // of NoMatch, Unreadable and Refused: what the sensor said
}

// A Reader waits for fingers. Make it with NewReader.
type Reader struct {
	opt    Options
	sensor *Sensor // of the Run in progress
	jobs   chan job
	live   atomic.Pointer[chan struct{}] // of the Run in progress, from Ready on; closed at its end
	adopt  atomic.Bool                   // see Adopt
	ring   ring

	// What the loop knows of the finger that lies; reset by Run.
	armed bool      // the next finger counts
	seen  time.Time // since when a finger lies; zero: none does
	stuck bool      // Stuck has been told
	empty int       // looks in a row that found no finger
	tries int       // images of this finger that were of no use
	bad   error     // what was wrong with the last of them
}

// NewReader returns a reader; Run does the work.
func NewReader(opt Options) *Reader {
	return &Reader{opt: opt.withDefaults(), jobs: make(chan job)}
}

// Run connects to the sensor behind a port and tells events until ctx ends,
// and then returns nil, or until the sensor is lost or refuses us, and then
// returns the reason, which wraps ErrTimeout, ErrPort, ErrPassword or another
// Code; the caller opens the port anew after a while and runs again. Run owns
// the port and has closed it when it returns. The function events is called
// from Run's goroutine, one event at a time, and must not block for long. A
// finger that lies already when Run starts does not count. Runs of one Reader
// must not overlap.
func (r *Reader) Run(ctx context.Context, port io.ReadWriteCloser, events func(Event)) (err error) {
	r.sensor = New(port, r.opt)
	defer func() {
		cerr := r.sensor.Close()
		switch {
		case ctx.Err() != nil:
			err = nil
		case err != nil && cerr != nil:
			err = errors.Join(err, fmt.Errorf("fingerprint: closing the port: %w", cerr))
		}
	}()
	if err := r.connect(ctx); err != nil {
		return err
	}
	live := make(chan struct{})
	r.live.Store(&live)
	defer func() {
		r.live.Store(nil)
		close(live)
	}()
	r.ring.begin(!r.opt.NoRing)
	events(Event{Kind: Ready})

	r.armed, r.seen, r.stuck, r.empty, r.tries, r.bad = false, time.Time{}, false, 0, 0, nil
	failed := 0
	next := time.NewTimer(0)
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case j := <-r.jobs:
			err := j.run(ctx, r.sensor)
			j.done <- err
			if errors.Is(err, ErrPort) {
				return err
			}
			r.armed, r.seen, r.empty, r.tries, r.bad = false, time.Time{}, 0, 0, nil // a finger that lies now has done its work
			next.Reset(r.opt.Poll)
			continue
		case <-next.C:
		}
		began := time.Now()
		before := r.sensor.Stats()
		r.ring.update(ctx, r.sensor, r.opt.Log)
		switch err := r.look(ctx, events); {
		case err == nil:
			failed = 0
		case ctx.Err() != nil, errors.Is(err, ErrPort), errors.Is(err, ErrUnverified):
			return err
		default:
			failed++
			r.opt.Log.Warn("fingerprint reader: exchange failed", "err", err, "in_a_row", failed)
			if failed == lineTries {
				return err
			}
		}
		if after := r.sensor.Stats(); after.Stray != before.Stray {
			r.opt.Log.Warn("fingerprint reader: packets that nobody asked for", "count", after.Stray-before.Stray)
		}
		next.Reset(max(r.opt.Poll-time.Since(began), r.opt.Poll/10))
	}
}

// Adopt makes the next Run take a sensor in the place of the one that has the
// device's own password.
func (r *Reader) Adopt() { r.adopt.Store(true) }

func (r *Reader) connect(ctx context.Context) error {
	if r.adopt.Swap(false) && r.opt.Secret != nil {
		r.opt.Secret.Given = false
	}
	p, err := r.sensor.unlock(ctx, r.opt)
	if err != nil {
		return err
	}
	n, err := r.sensor.TemplateCount(ctx)
	if err != nil {
		return err
	}
	r.opt.Log.Info("fingerprint reader: ready", "library", p.Library, "templates", n, "security", p.Security,
		"system", fmt.Sprintf("%04X", p.System), "password", r.sensor.password != 0)
	return nil
}

// look looks for a finger once. It returns an error when the exchange with the
// sensor failed; what is wrong with a finger is an event, not an error.
func (r *Reader) look(ctx context.Context, events func(Event)) error {
	err := r.sensor.GenImg(ctx)
	switch {
	case errors.Is(err, ErrNoFinger):
		r.lifted(events)
		return nil
	case err != nil && !badImage(err):
		return err
	}
	r.laid(events)
	if !r.armed {
		return nil
	}
	if err == nil {
		err = r.sensor.Img2Tz(ctx, 1)
	}
	if err != nil {
		if !badImage(err) {
			return err
		}
		r.tries++
		r.bad = err
		if r.tries == readTries {
			r.tell(events, Event{Kind: Unreadable, Err: r.bad})
		}
		return nil
	}
	m, err := r.sensor.Search(ctx, 1)
	switch {
	case err == nil && m.Score < r.opt.MinScore:
		r.tell(events, Event{Kind: Weak, Match: m})
	case err == nil:
		r.tell(events, Event{Kind: Matched, Match: m})
	case noMatch(err):
		r.tell(events, Event{Kind: NoMatch, Err: err})
	case errors.Is(err, ErrAnswer), errors.Is(err, ErrUnsolicited) && !errors.Is(err, ErrTimeout):
		r.tell(events, Event{Kind: Refused, Match: m, Err: err})
	default:
		return err
	}
	return nil
}

// tell ends what there is to say of this finger.
func (r *Reader) tell(events func(Event), e Event) {
	r.armed, r.tries, r.bad = false, 0, nil
	events(e)
}

// laid takes note that something lies on the sensor.
func (r *Reader) laid(events func(Event)) {
	r.empty = 0
	if r.seen.IsZero() {
		r.seen = time.Now()
	}
	if !r.stuck && time.Since(r.seen) >= r.opt.Stuck {
		r.stuck = true
		events(Event{Kind: Stuck})
	}
}

// lifted takes note that nothing lies on the sensor.
func (r *Reader) lifted(events func(Event)) {
	if r.empty++; r.empty < liftPolls {
		return
	}
	if r.tries > 0 { // it was there and went before it could be read
		r.tell(events, Event{Kind: Unreadable, Err: r.bad})
	}
	if r.stuck {
		r.stuck = false
		events(Event{Kind: Freed})
	}
	r.armed, r.seen = true, time.Time{}
}

// badImage reports whether the error says that the image of a finger is of no
// use, so that another one should be taken.
func badImage(err error) bool {
	return isAny(err, ErrImage, ErrTooDry, ErrTooWet, ErrDisordered, ErrFewFeatures, ErrNoImage, ErrResidual)
}

func noMatch(err error) bool {
	return isAny(err, ErrNotFound, ErrMismatch, ErrEmptyLibrary, ErrEmptyTemplate)
}

func isAny(err error, codes ...Code) bool {
	for _, c := range codes {
		if errors.Is(err, c) {
			return true
		}
	}
	return false
}
