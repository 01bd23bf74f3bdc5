// Package child is what runs in the simulator's child processes: the shipping
// agent on emulated lines, and the shipping centre. A child is told what to do
// by JSON lines on its standard input and tells what its lines do on its
// standard output; when its input ends, so does the child, so that none
// outlives its parent.
//
// It emulates no peripheral behind a serial port: those belong to the parent,
// and outlive the child as a sensor's flash outlives a power cut.
package child

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"sync"
	"time"

	"periph.io/x/conn/v3/gpio"

	"github.com/fengsui/fengsui/firmware/agent"
	"github.com/fengsui/fengsui/firmware/config"
	"github.com/fengsui/fengsui/sim/line"
	"github.com/fengsui/fengsui/sim/mono"
)

// A Command is one line of a device's input: moves of a line's outside, what
// its system clock shows, or the word to start. Moves before the start are what the device finds.
type Command struct {
	Line  string     `json:"line,omitempty"`
	Train line.Train `json:"train,omitempty"`
	Start bool       `json:"start,omitempty"`
	Clock string     `json:"clock,omitempty"` // see Clock
	Disk  string     `json:"disk,omitempty"`  // of a virtual board: block or release its card, or lie: see virtboard.Disk
}

// A Report is one line of a device's output: an edge of an output, or the
// agent's status when it has changed.
type Report struct {
	At     time.Duration `json:"at"`              // of package mono, nanoseconds
	Began  bool          `json:"began,omitempty"` // an agent started then; its status comes along
	Key    string        `json:"key,omitempty"`   // of an agent that made its own, in hexadecimal digits
	Line   string        `json:"line,omitempty"`
	High   bool          `json:"high,omitempty"`
	Status *agent.Status `json:"status,omitempty"`
}

// statusEvery is how often the agent's status is looked at.
const statusEvery = 100 * time.Millisecond

// Device runs one device: args are --config FILE, version is its firmware's,
// check the command that checks its spool. It returns 0 when its input or ctx
// ended, 1 when the agent failed, 2 for bad arguments.
func Device(ctx context.Context, version string, check, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("device", flag.ContinueOnError)
	flags.SetOutput(stderr)
	path := flags.String("config", "", "the device's configuration `FILE`")
	if err := flags.Parse(args); err != nil || flags.NArg() > 0 || *path == "" {
		fmt.Fprintln(stderr, "device: want --config FILE")
		return 2
	}
	cfg, err := config.Load(*path)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 2
	}
	if err := device(ctx, version, check, cfg, stdin, stdout, stderr); err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	return 0
}

func device(ctx context.Context, version string, check []string, cfg *config.Config, stdin io.Reader, stdout, stderr io.Writer) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	out := newReporter(stdout)
	defer out.close()
	bank := line.NewBank(mono.Now, func(name string, level gpio.Level, at time.Duration) {
		out.tell(Report{At: at, Line: name, High: bool(level)})
	})
	start := make(chan struct{})
	commands := make(chan error, 1)
	wall := newSystemClock()
	go func() { commands <- obey(ctx, bank, wall, stdin, start) }()
	go func() {
		err := <-commands
		if err == nil {
			err = errInputEnded
		}
		cancel(err)
	}()
	select {
	case <-start:
	case <-ctx.Done():
		return ended(ctx)
	}

	ports, err := agent.OpenPorts(cfg, func(name string) (gpio.PinIO, error) { return bank.Line(name), nil })
	if err != nil {
		return err
	}
	ports.Clock.Now, ports.Clock.Disciplined = wall.now, wall.disciplined
	log := slog.New(slog.NewTextHandler(stderr, nil))
	began := mono.Now()
	root, err := boardRoot(cfg.Data)
	if err != nil { // a disk that refuses is the agent's to tell
		log.Warn("no board", "err", err)
	}
	a, err := agent.New(cfg, ports, agent.Options{Version: version, Log: log, CheckSpool: check, BoardRoot: root})
	if err != nil {
		return err
	}
	var watch sync.WaitGroup
	watching, stop := context.WithCancel(ctx)
	watch.Go(func() { status(watching, a, began, out) })
	err = a.Run(ctx)
	stop()
	watch.Wait()
	if err != nil && !errors.Is(err, errInputEnded) {
		return err
	}
	return ended(ctx)
}

// boardRoot makes the folder in which the agent finds what Linux tells of its
// board: no sensors, and a kernel that started with this process, since whoever
// kills the process cuts the board's power.
func boardRoot(data string) (string, error) {
	root := filepath.Join(data, "board")
	path := filepath.Join(root, "proc/sys/kernel/random/boot_id")
	return root, errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(rand.Text()+"\n"), 0o600))
}

// errInputEnded means that the parent has closed the input, or is dead.
var errInputEnded = errors.New("the input ended")

// ended returns why the device ended, nil when it was asked to.
func ended(ctx context.Context) error {
	if err := context.Cause(ctx); !errors.Is(err, errInputEnded) && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// obey carries out commands until the input ends, and closes start at the word.
func obey(ctx context.Context, bank *line.Bank, wall *systemClock, in io.Reader, start chan<- struct{}) error {
	var workers sync.WaitGroup
	defer workers.Wait()
	trains := make(map[string]chan line.Train)
	defer func() {
		for _, c := range trains {
			close(c)
		}
	}()
	started := false
	for dec := json.NewDecoder(bufio.NewReader(in)); ; {
		var c Command
		switch err := dec.Decode(&c); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("command: %w", err)
		case c.Start && !started:
			started = true
			close(start)
		case c.Clock != "":
			if err := wall.set(c.Clock); err != nil {
				return fmt.Errorf("command: %w", err)
			}
		case c.Line == "":
			return fmt.Errorf("command %+v: want a line and a train, a clock, or start once", c)
		case !started:
			if err := bank.Line(c.Line).Play(ctx, c.Train); err != nil {
				return fmt.Errorf("command: %w", err)
			}
		default:
			if trains[c.Line] == nil {
				queue := make(chan line.Train, 64)
				trains[c.Line] = queue
				l := bank.Line(c.Line)
				workers.Go(func() {
					for t := range queue {
						_ = l.Play(ctx, t) // the drives were made by package line; only ctx ends it
					}
				})
			}
			trains[c.Line] <- c.Train
		}
	}
}

// status tells the agent's status when it has changed, until ctx ends. Times
// of the first report are the agent's start.
func status(ctx context.Context, a *agent.Agent, began time.Duration, out *reporter) {
	var told agent.Status
	tick := time.NewTicker(20 * time.Millisecond) // soon, until the agent is up
	defer tick.Stop()
	for up := false; ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		s := a.Status()
		if s.Stream == "" {
			continue
		}
		first := !up
		if first {
			up = true
			tick.Reset(statusEvery)
		} else {
			began = mono.Now()
		}
		age := s.FixAge
		s.FixAge = 0 // it always changes
		if !reflect.DeepEqual(s, told) {
			told = s
			s.FixAge = age
			out.tell(Report{At: began, Began: first, Status: &s})
		}
	}
}

// A reporter writes reports in order without making their teller wait.
type reporter struct {
	mu      sync.Mutex
	waiting []Report
	wake    chan struct{}
	done    chan struct{}
	closed  bool
}

func newReporter(w io.Writer) *reporter {
	r := &reporter{wake: make(chan struct{}, 1), done: make(chan struct{})}
	go r.run(w)
	return r
}

func (r *reporter) tell(rep Report) {
	r.mu.Lock()
	r.waiting = append(r.waiting, rep)
	r.mu.Unlock()
	r.poke()
}

func (r *reporter) poke() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

func (r *reporter) run(w io.Writer) {
	defer close(r.done)
	enc := json.NewEncoder(w)
	for range r.wake {
		r.mu.Lock()
		batch, closed := r.waiting, r.closed
		r.waiting = nil
		r.mu.Unlock()
		for _, rep := range batch {
			if err := enc.Encode(rep); err != nil {
				return // nobody reads: the parent is gone, and the input ends too
			}
		}
		if closed {
			return
		}
	}
}

// close writes what waits and ends the reporter.
func (r *reporter) close() {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.poke()
	<-r.done
}
