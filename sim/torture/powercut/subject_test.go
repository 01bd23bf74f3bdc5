//go:build linux

package powercut_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"strings"
	"time"

	"github.com/fengsui/fengsui/firmware/spool"
	"github.com/fengsui/fengsui/firmware/wire"
)

// subjectArg is the first argument of a subject: a process that opens a spool,
// tells what it finds, and then stores and acknowledges events until it dies.
// checkArg is that of the process that checks its spool first.
const (
	subjectArg = "__subject"
	checkArg   = "__check"
)

// A report is one line of a subject's output, in JSON. Each says what the subject
// knows at that moment; the judge believes it only where it must.
type report struct {
	What   string // one of the words below
	Stream string
	Lane   wire.Lane
	Seq    uint64
	Hash   string // of the sealed event
	Data   []byte // held: the sealed event
	Oldest uint64
	Next   uint64
	Boot   uint64
	Latch  *string // the state that goes with the event
	Error  string
}

// What a report says. The order of a life is opened, any number of window, held
// and given, state, ready, and then the flow.
const (
	saysOpened = "opened" // Stream, Boot; Error: why the stream is a fresh one
	saysWindow = "window" // Stream, Lane, Oldest, Next
	saysHeld   = "held"   // Stream, Lane, Seq, Data
	saysGiven  = "given"  // Stream, Lane, Oldest, Next: these numbers are given up
	saysState  = "state"  // Latch
	saysReady  = "ready"
	saysTry    = "try"    // Stream, Lane, Seq, Hash, Latch: it is about to be committed
	saysStored = "stored" // Stream, Lane, Seq: Append has returned
	saysRefuse = "refuse" // Error
	saysAcking = "acking" // Stream, Lane, Seq: the centre has so far
	saysFailed = "failed" // Error: the spool does not open, or not give back what it holds
)

var signer = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32))

// subject is the process: it returns its exit status.
func subject(args []string, in io.Reader, out, stderr io.Writer) int {
	flags := flag.NewFlagSet("subject", flag.ContinueOnError)
	flags.SetOutput(stderr)
	path := flags.String("spool", "", "the spool's `file`")
	seed := flags.Uint64("seed", 0, "of what it does")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	go func() {
		_, _ = io.Copy(io.Discard, in) // it ends when the rig does
		os.Exit(3)
	}()
	s := &storer{began: time.Now(), out: out, rng: rand.New(rand.NewPCG(*seed, 1))}
	if err := s.open(*path); err != nil {
		s.say(report{What: saysFailed, Error: err.Error()})
		return 1
	}
	s.flow()
	return 0
}

// A storer is a subject at work.
type storer struct {
	out   io.Writer
	rng   *rand.Rand
	began time.Time
	spool *spool.Spool
	latch string
}

// say writes a line in one write, so that what was said before a kill is whole.
func (s *storer) say(l report) {
	b, err := json.Marshal(l)
	if err != nil {
		panic(err) // plain members
	}
	if _, err := s.out.Write(append(b, '\n')); err != nil {
		os.Exit(3)
	}
}

// open opens the spool and tells all that it holds.
func (s *storer) open(path string) (err error) {
	delays := []time.Duration{time.Millisecond, 20 * time.Millisecond, time.Hour}
	opt := spool.Options{AckDelay: delays[s.rng.IntN(len(delays))]}
	s.spool, err = spool.Recover(path, opt, func(path string) error {
		return spool.CheckIn(context.Background(), []string{"/proc/self/exe", checkArg}, path)
	})
	if err != nil {
		return err
	}
	out := s.out
	var told bytes.Buffer // in one piece at the end: what is cut off is not said
	s.out = &told
	defer func() { s.out = out }()
	opened := report{What: saysOpened, Stream: s.spool.Stream().String(), Boot: s.spool.Boot()}
	if started, err := s.spool.Started(); err == nil && started != nil {
		opened.Error = fmt.Sprintf("%v: %s", started.Why, started.Detail)
	}
	s.say(opened)
	for _, p := range s.spool.Parts() {
		for l, w := range p.Window() {
			s.say(report{What: saysWindow, Stream: p.Stream().String(), Lane: l, Oldest: w.Oldest, Next: w.Next})
			recs, err := p.Read(l, 0, math.MaxInt, math.MaxInt)
			if err != nil {
				return err
			}
			for _, r := range recs {
				s.say(report{What: saysHeld, Stream: p.Stream().String(), Lane: l, Seq: r.Seq, Data: r.Data})
			}
		}
	}
	for _, g := range s.spool.Given() { // after Read, which finds damage
		s.say(report{What: saysGiven, Stream: g.Stream.String(), Lane: g.Lane, Oldest: g.From, Next: g.To + 1})
	}
	state, err := s.spool.State()
	if err != nil {
		return err
	}
	s.latch = string(state["latch"])
	s.say(report{What: saysState, Latch: &s.latch})
	s.say(report{What: saysReady})
	_, err = told.WriteTo(out)
	return err
}

// flow stores and acknowledges until the process is killed.
func (s *storer) flow() {
	s.tell()
	lanes := wire.Lanes()
	for {
		l := lanes[s.rng.IntN(len(lanes))]
		body, latch := s.event(l)
		var state []spool.KV
		if latch != nil {
			state = append(state, spool.KV{Key: "latch", Value: []byte(*latch)})
		}
		seq, err := s.spool.Append(l, func(at spool.Slot) ([]byte, error) { return s.seal(at, l, body, latch) }, state...)
		if err != nil {
			s.say(report{What: saysRefuse, Error: err.Error()})
			time.Sleep(time.Millisecond) // the disk is gone: until the process is, too
			continue
		}
		s.say(report{What: saysStored, Stream: s.spool.Stream().String(), Lane: l, Seq: seq})
		if latch != nil {
			s.latch = *latch
		}
		s.acknowledge()
	}
}

// seal seals an event for its slot, and says so.
func (s *storer) seal(at spool.Slot, l wire.Lane, body wire.Body, latch *string) ([]byte, error) {
	msg, err := wire.Seal(&wire.Event{
		Device: "box-01", Stream: at.Stream, Lane: l, Seq: at.Seq, Prev: at.Prev, Boot: at.Boot, Mono: time.Since(s.began), Body: body,
	}, signer)
	if err == nil {
		s.say(report{What: saysTry, Stream: at.Stream.String(), Lane: l, Seq: at.Seq, Hash: wire.HashOf(msg).String(), Latch: latch})
	}
	return msg, err
}

// tell stores what the spool has to tell of itself, as the agent does.
func (s *storer) tell() {
	started, err := s.spool.Started()
	if err == nil && started != nil {
		err = s.spool.TellStarted(func(at spool.Slot) ([]byte, error) { return s.seal(at, wire.Duty, started, nil) })
	}
	if err == nil {
		err = s.spool.Tell(func(at spool.Slot, given []wire.DroppedRange) ([]byte, error) {
			return s.seal(at, wire.Duty, &wire.Dropped{Ranges: given}, nil)
		})
	}
	if err != nil {
		s.say(report{What: saysRefuse, Error: err.Error()})
	}
}

// event makes an event; for those that latch or reset an alarm, with the state.
func (s *storer) event(l wire.Lane) (wire.Body, *string) {
	switch {
	case l == wire.Track:
		b := &wire.TrackBatch{Fixes: make([]wire.TrackFix, 1+s.rng.IntN(60))}
		for i := range b.Fixes {
			b.Fixes[i] = wire.TrackFix{Time: 1_800_000_000_000 + int64(i)*1000, LatE6: s.rng.Int64N(90e6), LonE6: s.rng.Int64N(180e6)}
		}
		return b, nil
	case l == wire.Duty:
		detail := strings.Repeat("x", s.rng.IntN(200))
		return &wire.Fault{Code: "test", Active: true, Detail: fmt.Sprintf("%x %s", s.rng.Uint64(), detail)}, nil
	case s.latch != "" && s.rng.IntN(2) == 0:
		var id wire.AlarmID
		fmt.Sscanf(s.latch, "%x", &id)
		latch := ""
		return &wire.AlarmCleared{Alarm: id, By: wire.ClearedByCentre}, &latch
	}
	id := wire.NewAlarmID()
	latch := id.String()
	return &wire.AlarmRaised{Alarm: id, Kind: 1, Button: "panic", Press: 1}, &latch
}

// acknowledge is the centre that has some of it, now and then.
func (s *storer) acknowledge() {
	for _, p := range s.spool.Parts() {
		for l, w := range p.Window() {
			depth := w.Next - w.Oldest
			if depth == 0 || s.rng.Uint64N(200) > depth/4 {
				continue
			}
			recs, err := p.Read(l, w.Oldest+s.rng.Uint64N(depth), 1, math.MaxInt)
			if err != nil || len(recs) == 0 {
				continue
			}
			hash := wire.HashOf(recs[0].Data)
			s.say(report{What: saysAcking, Stream: p.Stream().String(), Lane: l, Seq: recs[0].Seq})
			if err := p.Ack(l, recs[0].Seq, &hash); err != nil {
				s.say(report{What: saysRefuse, Error: err.Error()})
			}
		}
	}
}
