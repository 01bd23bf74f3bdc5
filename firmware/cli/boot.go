package cli

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/fengsui/fengsui/firmware/config"
	"github.com/fengsui/fengsui/firmware/internal/hw"
	"github.com/fengsui/fengsui/firmware/starter"
)

// bootImage is process 1 of an image; its own init starts it so.
func bootImage(ctx context.Context, args []string, std streams) error {
	o := starter.Options{Log: slog.New(slog.NewTextHandler(std.err, nil))}
	f := flag.NewFlagSet("fengsui", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.StringVar(&o.ConfigPath, "config", "", "")
	f.StringVar(&o.Programs, "programs", "/gokrazy", "")
	f.StringVar(&o.Run, "run", "/run", "")
	if err := f.Parse(args); err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	if err := none(f.Args()); err != nil {
		return err
	}
	var err error
	if o.Config, err = config.Load(o.ConfigPath); err != nil {
		return err
	}
	if o.Self, err = os.Executable(); err != nil {
		return err
	}
	if err := os.MkdirAll(o.Config.Data, 0o700); err != nil {
		return err
	}
	if o.Boot, err = hw.BootPartition(o.Config.Data); err != nil {
		o.Log.Warn("no boot partition: settings of this card are not looked for", "err", err)
	}
	return starter.Run(ctx, o)
}
