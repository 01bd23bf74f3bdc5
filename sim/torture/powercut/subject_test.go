//go:build linux

package powercut_test

import (
	"bufio"
	"bytes"
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
	"github.com/fengsui/fengsui/firmware/spool/spooltest"
	"github.com/fengsui/fengsui/firmware/wire"
)

// subjectArg is the first argument of a subject: a process that opens a spool,
// tells what it finds, and then stores and acknowledges events until it dies.
const subjectArg = "__subject"

// A line is one line of a subject's output, in JSON. Each says what the subject
// knows at that moment; the judge believes it only where it must.
type line struct {
	What   string // one of the words below
	Lane   wire.Lane
	Seq    uint64
	Hash   string // of the sealed event
	Data   []byte // held: the sealed event
	Oldest uint64
	Next   uint64
	Stream string
	Boot   uint64
	Latch  *string // the state that goes with the event
	Error  string
}

// What a line says. The order of a life is opened, any number of window, held
// and state, ready, and then the flow.
const (
	saysOpened = "opened" // Stream, Boot
	saysWindow = "window" // Lane, Oldest, Next
	saysHeld   = "held"   // Lane, Seq, Data
	saysState  = "state"  // Latch
	saysReady  = "ready"
	saysTry    = "try"    // Lane, Seq, Hash, Latch: it is about to be committed
	saysStored = "stored" // Lane, Seq: Append has returned
	saysRefuse = "refuse" // Error
	saysAcking = "acking" // Lane, Seq: the centre has so far
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
	s := &storer{out: out, rng: rand.New(rand.NewPCG(*seed, 1))}
	if err := s.open(*path); err != nil {
		s.say(line{What: saysFailed, Error: err.Error()})
		return 1
	}
	s.flow()
	return 0
}

// A storer is a subject at work.
type storer struct {
	out   io.Writer
	rng   *rand.Rand
	spool *spool.Spool
	latch string
}

// say writes a line in one write, so that what was said before a kill is whole.
func (s *storer) say(l line) {
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
	s.spool, err = spool.Open(path, spool.Options{AckDelay: delays[s.rng.IntN(len(delays))]})
	if err != nil {
		return err
	}
	out := s.out
	buffer := bufio.NewWriter(out)
	s.out = buffer
	defer func() { s.out = out }()
	s.say(line{What: saysOpened, Stream: s.spool.Stream().String(), Boot: s.spool.Boot()})
	for _, l := range wire.Lanes() {
		w := s.spool.Window()[l]
		s.say(line{What: saysWindow, Lane: l, Oldest: w.Oldest, Next: w.Next})
		recs, err := s.spool.Read(l, 0, math.MaxInt, math.MaxInt)
		if err != nil {
			return err
		}
		for _, r := range recs {
			s.say(line{What: saysHeld, Lane: l, Seq: r.Seq, Data: r.Data})
		}
	}
	state, err := s.spool.State()
	if err != nil {
		return err
	}
	s.latch = string(state["latch"])
	s.say(line{What: saysState, Latch: &s.latch})
	s.say(line{What: saysReady})
	return buffer.Flush()
}

// flow stores and acknowledges until the process is killed.
func (s *storer) flow() {
	lanes := wire.Lanes()
	for {
		l := lanes[s.rng.IntN(len(lanes))]
		body, latch := s.event(l)
		var state []spool.KV
		if latch != nil {
			state = append(state, spool.KV{Key: "latch", Value: []byte(*latch)})
		}
		seq, err := s.spool.Append(l, func(at spool.Slot) ([]byte, error) {
			msg, err := wire.Seal(&wire.Event{
				Device: "box-01", Stream: at.Stream, Lane: l, Seq: at.Seq, Prev: at.Prev, Boot: at.Boot, Body: body,
			}, signer)
			if err == nil {
				s.say(line{What: saysTry, Lane: l, Seq: at.Seq, Hash: wire.HashOf(msg).String(), Latch: latch})
			}
			return msg, err
		}, state...)
		if err != nil {
			s.say(line{What: saysRefuse, Error: err.Error()})
			time.Sleep(time.Millisecond) // the disk is gone: until the process is, too
			continue
		}
		s.say(line{What: saysStored, Lane: l, Seq: seq})
		if latch != nil {
			s.latch = *latch
		}
		s.acknowledge()
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
	for l, w := range s.spool.Window() {
		depth := w.Next - w.Oldest
		if depth == 0 || s.rng.Uint64N(200) > depth/4 {
			continue
		}
		upTo := w.Oldest + s.rng.Uint64N(depth)
		s.say(line{What: saysAcking, Lane: l, Seq: upTo})
		if err := spooltest.Ack(s.spool, l, upTo); err != nil {
			s.say(line{What: saysRefuse, Error: err.Error()})
		}
	}
}
