package virtboard_test

import (
	"context"
	"io"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/fengsui/fengsui/boards/image"
	"github.com/fengsui/fengsui/cloud-bridge/bridge"
	"github.com/fengsui/fengsui/sim"
	"github.com/fengsui/fengsui/sim/district"
	"github.com/fengsui/fengsui/sim/lampwatch"
	"github.com/fengsui/fengsui/sim/scenario"
	"github.com/fengsui/fengsui/sim/virtboard"
)

func TestMain(m *testing.M) {
	if sim.IsChild(os.Args[1:]) {
		os.Exit(sim.Run(context.Background(), "test", os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// need skips a test, aloud, where the board cannot run; where CI=true it fails.
func need(t *testing.T) {
	t.Helper()
	err := virtboard.Available()
	switch {
	case err == nil:
	case os.Getenv("CI") == "true":
		t.Fatal(err)
	default:
		t.Skipf("not run: %v", err)
	}
}

// patience is for what must come; the board is slow, and the machine may be busy.
const patience = time.Minute

// eventually waits until something holds; it is asked often.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !f() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}

// start starts a centre and one virtual board.
func start(t *testing.T, box scenario.Device) (*district.District, *district.Device) {
	t.Helper()
	need(t)
	self, err := district.Self()
	if err != nil {
		t.Fatal(err)
	}
	source, err := image.FindSource(".")
	if err != nil {
		t.Fatal(err)
	}
	box.Board = "virt"
	d, err := district.Start(t.Context(), district.Options{
		Data: t.TempDir(), Devices: map[string]scenario.Device{"box-01": box}, DeskAddr: "127.0.0.1:0", Seed: 1,
		Centre: func(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
			return bridge.Run(ctx, "test", args, stdin, stdout, stderr)
		},
		Starter: self,
		Image: func(ctx context.Context, board string, config []byte, out string) error {
			return image.Build(ctx, image.Options{Board: board, Config: config, Source: source, Version: "test", Out: out})
		},
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	box1, err := d.Device("box-01")
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "in touch with the centre", box1.Connected)
	return d, box1
}

func TestAPressReachesTheDeskAndTheAnswerTheLamp(t *testing.T) {
	d, box := start(t, scenario.Device{Kind: "alarm-box", Buttons: map[string]scenario.Button{"panic": {Kind: "panic"}}, Siren: true})
	at, err := box.Press(t.Context(), "panic", district.PressOptions{Bounce: true})
	if err != nil {
		t.Fatal(err)
	}
	shows := func(want lampwatch.Shows) func() bool {
		return func() bool {
			history, _ := box.Lamps(at)
			return len(history) > 0 && history[len(history)-1].View.Certain() == want
		}
	}
	var id string
	eventually(t, "the incident at the desk", func() bool {
		all, err := d.Desk.Incidents(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range all {
			if i.Device == "box-01" && i.Kind == "panic" {
				id = i.ID
			}
		}
		return id != ""
	})
	red, ok := box.Red(at)
	if !ok {
		t.Fatal("the desk has the alarm, and the red lamp is dark")
	}
	t.Logf("the red lamp was lit %v after the press", red-at)
	eventually(t, "red, amber blinking", shows(lampwatch.CentreHas))
	if err := d.Desk.Acknowledge(t.Context(), id, "li"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "red, amber", shows(lampwatch.Acknowledged))
	if err := d.Desk.Dispatch(t.Context(), id, "li", "car-01"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "red, amber, green", shows(lampwatch.UnitComing))
}
