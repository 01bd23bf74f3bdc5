package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/fengsui/fengsui/firmware/config"
	"github.com/fengsui/fengsui/firmware/fingerprint"
	"github.com/fengsui/fengsui/firmware/fingers"
	"github.com/fengsui/fengsui/firmware/internal/hw"
)

// readyWait is how long a sensor may take to be found.
const readyWait = 20 * time.Second

// finger changes fingers while the device is stopped. Whoever can run it is at
// the device, as its user or root: no other finger needs to allow it. What it
// changes reaches the centre when the device runs.
func finger(ctx context.Context, args []string, std streams) error {
	want := fmt.Errorf("%w: want finger enrol, delete, list, password or adopt", errUsage)
	if len(args) == 0 {
		return want
	}
	q := fingers.Request{Slot: fingers.AnySlot}
	var path, role, lang string
	f := flag.NewFlagSet("fengsui finger", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.StringVar(&path, "config", "", "")
	switch args[0] {
	case "enrol":
		f.StringVar(&q.Officer, "officer", "", "")
		f.StringVar(&role, "role", string(fingers.Officer), "")
		f.BoolVar(&q.Duress, "duress", false, "")
		f.StringVar(&lang, "lang", os.Getenv("LANG"), "")
		f.IntVar(&q.Slot, "slot", fingers.AnySlot, "")
	case "delete":
		f.IntVar(&q.Slot, "slot", fingers.AnySlot, "")
	case "list", "password", "adopt":
	default:
		return want
	}
	if err := f.Parse(args[1:]); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	if err := none(f.Args()); err != nil {
		return err
	}
	switch {
	case path == "":
		return fmt.Errorf("%w: --config FILE is missing", errUsage)
	case args[0] == "enrol" && q.Officer == "":
		return fmt.Errorf("%w: --officer ID is missing", errUsage)
	case args[0] == "delete" && q.Slot < 0:
		return fmt.Errorf("%w: --slot N is missing", errUsage)
	}
	if args[0] == "enrol" {
		var err error
		if q.Role, err = fingers.ParseRole(role); err != nil {
			return fmt.Errorf("%w: --%w", errUsage, err)
		}
	}
	cfg, err := config.Load(path)
	if err != nil {
		return err
	}
	if cfg.Fingerprint == nil {
		return fmt.Errorf("%s: field \"fingerprint\": want a fingerprint reader; the key is missing", path)
	}
	roster, err := fingers.Open(cfg.Data, cfg.Fingerprint.Officers)
	if err != nil {
		return err
	}
	defer roster.Close()
	switch args[0] {
	case "password":
		s, err := roster.Secret()
		if err != nil {
			return err
		}
		fmt.Fprintf(std.out, "%d\n", s.Password)
		return nil
	case "adopt":
		if err := roster.Clear(fingers.ByLocal); err != nil {
			return err
		}
		fmt.Fprintln(std.out, "the list of fingers is empty; the next sensor with the configuration's password is this device's")
		return nil
	}
	return atSensor(ctx, cfg, roster, std, func(ctx context.Context, c fingers.Clerk) error {
		switch args[0] {
		case "enrol":
			slot, err := c.Enrol(ctx, q, fingers.ByLocal, func(p fingerprint.Progress) { fmt.Fprintln(std.err, fingers.Words(p.Step, lang)) })
			if err != nil {
				return err
			}
			fmt.Fprintf(std.out, "%d\n", slot)
			return nil
		case "delete":
			return c.Delete(ctx, q.Slot, fingers.ByLocal)
		}
		return listFingers(ctx, c, std.out)
	})
}

// listFingers prints a line a slot.
func listFingers(ctx context.Context, c fingers.Clerk, out io.Writer) error {
	l, err := c.List(ctx)
	if err != nil {
		return err
	}
	for _, slot := range slices.Sorted(maps.Keys(l.Fingers)) {
		f, note := l.Fingers[slot], ""
		if f.Duress {
			note += " duress"
		}
		if slices.Contains(l.Empty, slot) {
			note += " missing-in-sensor"
		}
		fmt.Fprintf(out, "%d %s %s by %s%s\n", slot, plain(f.Officer), f.Role, plain(f.By), note)
	}
	for _, slot := range l.Nobodys {
		fmt.Fprintf(out, "%d - nobody's: a match is refused; delete it\n", slot)
	}
	return nil
}

// atSensor does something with the sensor, which is looked for at other speeds
// when it does not answer at the configured one.
func atSensor(ctx context.Context, cfg *config.Config, roster *fingers.Roster, std streams, do func(context.Context, fingers.Clerk) error) error {
	f := cfg.Fingerprint
	opt := fingerprint.Options{Password: f.Password, MinScore: f.MinScore, NoRing: !*f.Ring, Log: slog.New(slog.NewTextHandler(std.err, &slog.HandlerOptions{Level: slog.LevelWarn}))}
	if *f.OwnPassword {
		var err error
		if opt.Secret, err = roster.Secret(); err != nil {
			return err
		}
	}
	open := func(ctx context.Context, baud int) (io.ReadWriteCloser, error) { return hw.Serial(ctx, f.Port, baud) }
	err := runReader(ctx, opt, f.Baud, open, roster, do)
	if !errors.Is(err, fingerprint.ErrTimeout) {
		return err
	}
	baud, ferr := fingerprint.FindBaud(ctx, open, f.Baud, fingerprint.Options{Password: f.Password})
	if ferr != nil {
		return err
	}
	fmt.Fprintf(std.err, "fengsui: the sensor answers at %d baud, and not at %d as configured\n", baud, f.Baud)
	return runReader(ctx, opt, baud, open, roster, do)
}

func runReader(ctx context.Context, opt fingerprint.Options, baud int, open func(context.Context, int) (io.ReadWriteCloser, error), roster *fingers.Roster, do func(context.Context, fingers.Clerk) error) error {
	port, err := open(ctx, baud)
	if err != nil {
		return err
	}
	run, stop := context.WithCancel(ctx)
	defer stop()
	reader := fingerprint.NewReader(opt)
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- reader.Run(run, port, func(e fingerprint.Event) {
			if e.Kind == fingerprint.Ready {
				close(ready)
			}
		})
	}()
	t := time.NewTimer(readyWait)
	defer t.Stop()
	select {
	case <-ready:
	case err := <-ended:
		if err == nil {
			err = ctx.Err()
		}
		return err
	case <-t.C:
		stop()
		<-ended
		return fingerprint.ErrNotReady
	}
	err = do(run, fingers.Clerk{Reader: reader, Roster: roster})
	stop()
	<-ended
	return err
}
