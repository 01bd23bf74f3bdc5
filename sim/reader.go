package sim

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/fengsui/fengsui/firmware/fingerprint/fingerprinttest"
	"github.com/fengsui/fengsui/sim/tty"
)

// fingerFaults are the words for the faults of an emulated reader.
func fingerFaults() map[string]fingerprinttest.Fault {
	return map[string]fingerprinttest.Fault{
		"none": fingerprinttest.None, "silent": fingerprinttest.Silent, "sum": fingerprinttest.WrongSum, "length": fingerprinttest.HugeLength,
		"cut": fingerprinttest.Cut, "slow": fingerprinttest.Slow, "unsolicited": fingerprinttest.Unsolicited, "slot": fingerprinttest.SlotRange,
		"noise": fingerprinttest.Noise, "garbage": fingerprinttest.Garbage, "flash": fingerprinttest.FlashFails,
	}
}

// emulateReader plays a fingerprint sensor on a terminal of its own, for any
// driver to try, until ctx or the input ends. It prints the terminal's path,
// and does what the input says, a line each.
func emulateReader(ctx context.Context, args []string, stdin io.Reader, std streams) error {
	var slots string
	var password uint64
	rest, err := parse(args, func(f *flag.FlagSet) {
		f.StringVar(&slots, "slots", "", "")
		f.Uint64Var(&password, "password", 0, "")
	})
	if err != nil {
		return err
	}
	if len(rest) > 0 || password > 1<<32-1 {
		return fmt.Errorf("%w: reader wants --slots N,N… and --password from 0 to %d", errUsage, uint32(1<<32-1))
	}
	o := fingerprinttest.Options{Password: uint32(password)}
	for s := range strings.SplitSeq(slots, ",") {
		if s == "" {
			continue
		}
		n, err := strconv.Atoi(s)
		if err != nil || n < 0 || n > 199 {
			return fmt.Errorf("%w: --slots %q: want slots from 0 to 199", errUsage, s)
		}
		o.Slots = append(o.Slots, n)
	}
	port, err := tty.Open()
	if err != nil {
		return err
	}
	sensor := fingerprinttest.New(o)
	served := make(chan error, 1)
	go func() { served <- sensor.Serve(ctx, port) }()
	fmt.Fprintln(std.out, port.Path())
	stop := context.AfterFunc(ctx, func() { _ = port.Close() })
	for lines := bufio.NewScanner(stdin); ctx.Err() == nil && lines.Scan(); {
		if err := command(sensor, strings.Fields(lines.Text()), std.out); err != nil {
			fmt.Fprintln(std.err, "sim:", err)
		}
	}
	stop()
	err = port.Close()
	<-served // it ends with its port
	return err
}

// command does what a line says.
func command(s *fingerprinttest.Sensor, words []string, out io.Writer) error {
	want := errors.New("want lay N (0: a stranger's), lift, break FAULT, once FAULT or log")
	switch {
	case len(words) == 1 && words[0] == "lift":
		s.Lift()
	case len(words) == 1 && words[0] == "log":
		for _, op := range s.Instructions() {
			fmt.Fprintf(out, "0x%02X %v\n", byte(op), op)
		}
		fmt.Fprintln(out, ".")
	case len(words) == 2 && words[0] == "lay":
		n, err := strconv.Atoi(words[1])
		if err != nil || n < 0 {
			return want
		}
		if n == 0 {
			n = fingerprinttest.Stranger
		}
		s.Lay(n)
	case len(words) == 2 && (words[0] == "break" || words[0] == "once"):
		f, known := fingerFaults()[words[1]]
		if !known {
			return want
		}
		s.Break(f, words[0] == "once")
	default:
		return want
	}
	return nil
}
