package sim

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
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
	if st, err := os.Stat(filepath.Dir(report)); err != nil || !st.IsDir() {
		return fmt.Errorf("--report %q: want a file in a folder that is there", report)
	}
	dir, remove, err := dataFolder(data)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	d, err := startDistrict(ctx, district.Options{Data: dir, Devices: s.Devices, Supervise: s.Supervise, DeskAddr: deskAddr, Seed: s.Seed}, version, std)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	if err := ready(ctx, d); err != nil {
		return err
	}
	r, err := play.Run(ctx, s, d, std.err)
	if err != nil {
		return err
	}
	return conclude(r, report, std)
}

// conclude writes and tells a report; the error says when the scenario does not
// hold.
func conclude(r *play.Report, report string, std streams) error {
	if report != "" {
		var b bytes.Buffer
		if err := r.WriteJSON(&b); err != nil {
			return fmt.Errorf("--report: %w", err)
		}
		if err := os.WriteFile(report, b.Bytes(), 0o644); err != nil {
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
