package sim

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"

	"github.com/fengsui/fengsui/sim/district"
	"github.com/fengsui/fengsui/sim/play"
	"github.com/fengsui/fengsui/sim/scenario"
)

func runScenario(ctx context.Context, version string, args []string, std streams) (err error) {
	var report, deskAddr, data string
	rest, err := parse(args, func(f *flag.FlagSet) {
		f.StringVar(&report, "report", "", "")
		f.StringVar(&deskAddr, "desk-addr", "127.0.0.1:0", "")
		f.StringVar(&data, "data", "", "")
	})
	if err == nil && len(rest) != 1 {
		err = fmt.Errorf("%w: run wants one scenario, got %d", errUsage, len(rest))
	}
	if err != nil {
		return err
	}
	devices, err := demo()
	if err != nil {
		return err
	}
	s, err := scenario.Load(rest[0], devices)
	if err != nil {
		return err
	}
	if err := free("desk-addr", deskAddr); err != nil {
		return err
	}
	var out *os.File
	if report != "" {
		if out, err = os.Create(report); err != nil {
			return fmt.Errorf("--report: %w", err)
		}
		defer func() { err = errors.Join(err, out.Close()) }()
	}
	dir, remove, err := dataFolder(data)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	d, err := startDistrict(ctx, district.Options{Data: dir, Devices: s.Devices, DeskAddr: deskAddr, Seed: s.Seed}, version, std)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	waiting, cancel := context.WithTimeout(ctx, touch)
	err = d.Ready(waiting)
	cancel()
	if err != nil {
		return err
	}
	r, err := play.Run(ctx, s, d, std.err)
	if err != nil {
		return err
	}
	if out != nil {
		if err := r.WriteJSON(out); err != nil {
			return fmt.Errorf("--report: %w", err)
		}
	}
	if err := r.WriteText(std.out); err != nil {
		return err
	}
	if !r.Passed {
		return errExpectations
	}
	return nil
}

func slogTo(std streams) *slog.Logger {
	return slog.New(slog.NewTextHandler(std.err, &slog.HandlerOptions{Level: slog.LevelWarn}))
}

// example returns the path of a press of a device's button.
func example(devices map[string]scenario.Device) string {
	for _, id := range slices.Sorted(maps.Keys(devices)) {
		for _, b := range slices.Sorted(maps.Keys(devices[id].Buttons)) {
			return id + "/button/" + b + "/press"
		}
	}
	return "ID/button/NAME/press"
}
