package child

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/fengsui/fengsui/firmware/agent"
	"github.com/fengsui/fengsui/sim/line"
	"github.com/fengsui/fengsui/sim/mono"
	"github.com/fengsui/fengsui/sim/virtboard"
)

// Board runs a virtual board and obeys the same commands as Device; the clock
// it cannot set. What the board says goes to stderr, and is where the status
// comes from: the log of the firmware, which is all that is seen of a real
// board. Killing the process with its group is a power cut. The status is that
// of Device.
func Board(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("board", flag.ContinueOnError)
	flags.SetOutput(stderr)
	card := flags.String("card", "", "the `FILE` that is its card")
	o := virtboard.Options{}
	flags.StringVar(&o.Dir, "dir", "", "a folder for sockets")
	flags.StringVar(&o.GPS, "gps", "", "the terminal of its receiver")
	flags.StringVar(&o.Finger, "finger", "", "the terminal of its reader")
	if err := flags.Parse(args); err != nil || flags.NArg() > 0 || *card == "" || o.Dir == "" {
		fmt.Fprintln(stderr, "board: want --card FILE --dir DIR")
		return 2
	}
	if err := board(ctx, *card, o, stdin, stdout, stderr); err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	return 0
}

func board(ctx context.Context, card string, o virtboard.Options, stdin io.Reader, stdout, stderr io.Writer) (err error) {
	if o.Disk, err = virtboard.OpenDisk(card); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, o.Disk.Close()) }()
	out := newReporter(stdout)
	defer out.close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	commands := json.NewDecoder(bufio.NewReader(stdin))
	if o.High, err = found(commands); err != nil {
		return err
	}
	o.Edge = func(n int, high bool) {
		out.tell(Report{At: mono.Now(), Line: virtboard.LineName(n), High: high})
	}
	console := &console{tell: out.tell, out: stderr}
	o.Console = console
	o.Event = func(name string) {
		fmt.Fprintf(stderr, "\n[QEMU: %s]\n", name)
		if name == "WATCHDOG" { // the emulator resets the card, and waits for what that was asked
			o.Disk.Release()
		}
	}
	m, err := virtboard.Start(ctx, o)
	if err != nil {
		return err
	}
	defer m.PowerCut()
	go func() { cancel(obeyBoard(ctx, m, o.Disk, commands)) }()
	select {
	case <-ctx.Done():
	case <-m.Exited():
		cancel(errors.New("the virtual board ended by itself"))
	}
	return ended(ctx)
}

// found takes the commands until the start, and returns the lines that the
// board finds driven.
func found(commands *json.Decoder) ([]int, error) {
	level := make(map[int]bool)
	for {
		var c Command
		if err := commands.Decode(&c); err != nil {
			return nil, fmt.Errorf("command: %w", err)
		}
		if c.Start {
			var high []int
			for n, on := range level {
				if on {
					high = append(high, n)
				}
			}
			return high, nil
		}
		n, err := virtboard.LineNumber(c.Line)
		if err != nil {
			return nil, fmt.Errorf("command: %w", err)
		}
		for _, m := range c.Train {
			level[n] = pressed(m.Drive)
		}
	}
}

// pressed reports whether a drive closes a contact, whose other side is the
// supply here: the controller has no pulls.
func pressed(d line.Drive) bool { return d == line.Low }

// obeyBoard carries out commands until the input ends, which is no error.
func obeyBoard(ctx context.Context, m *virtboard.Machine, disk *virtboard.Disk, commands *json.Decoder) error {
	for {
		var c Command
		if err := commands.Decode(&c); err != nil {
			return errInputEnded
		}
		switch c.Disk {
		case "block":
			disk.Block()
			continue
		case "release":
			disk.Release()
			continue
		case "lie":
			disk.Lie()
			continue
		}
		n, err := virtboard.LineNumber(c.Line)
		if err != nil {
			return fmt.Errorf("command: %w", err)
		}
		for began, i := time.Now(), 0; i < len(c.Train); i++ {
			if !sleep(ctx, c.Train[i].After-time.Since(began)) {
				return context.Cause(ctx)
			}
			if err := m.Set(n, pressed(c.Train[i].Drive)); err != nil {
				return err
			}
		}
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// A console passes on what a board says, and reads the firmware's log in it.
type console struct {
	tell func(Report)
	out  io.Writer
	rest []byte
	now  agent.Status
}

// Write takes what came; lines may be cut anywhere.
func (c *console) Write(b []byte) (int, error) {
	c.rest = append(c.rest, b...)
	for {
		text, rest, ok := strings.Cut(string(c.rest), "\n")
		if !ok {
			break
		}
		c.rest = []byte(rest)
		c.line(strings.TrimRight(text, "\r"))
	}
	return c.out.Write(b)
}

// line looks for the lines of agent and uplink that a status is made of; they
// are written by slog's text handler.
func (c *console) line(text string) {
	at := mono.Now()
	r := Report{At: at}
	switch {
	case strings.Contains(text, "msg=running "):
		boot, err := strconv.ParseUint(value(text, "boot"), 10, 64)
		up, uerr := time.ParseDuration(value(text, "up"))
		if err != nil || uerr != nil {
			return
		}
		r.At, r.Began, r.Key = at-up, true, value(text, "key")
		c.now = agent.Status{Device: value(text, "device"), Stream: value(text, "stream"), Boot: boot}
	case strings.Contains(text, `msg="uplink connected"`):
		c.now.Connected = true
	case strings.Contains(text, `msg="the centre answers"`):
		c.now.Heard = true
	case strings.Contains(text, `msg="uplink down"`):
		c.now.Connected, c.now.Heard = false, false
	default:
		return
	}
	s := c.now
	r.Status = &s
	c.tell(r)
}

// value returns what stands behind a key in a line of slog's.
func value(text, key string) string {
	_, rest, _ := strings.Cut(text, " "+key+"=")
	v, _, _ := strings.Cut(rest, " ")
	return v
}
