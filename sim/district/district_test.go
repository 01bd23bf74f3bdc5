package district_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fengsui/fengsui/cloud-bridge/bridge"
	"github.com/fengsui/fengsui/sim"
	"github.com/fengsui/fengsui/sim/desk"
	"github.com/fengsui/fengsui/sim/district"
	"github.com/fengsui/fengsui/sim/link"
	"github.com/fengsui/fengsui/sim/scenario"
)

func TestMain(m *testing.M) {
	if sim.IsChild(os.Args[1:]) {
		os.Exit(sim.Run(context.Background(), "test", os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// start starts a district whose children's pids are told.
func start(t *testing.T, data string, devices map[string]scenario.Device) (*district.District, func() []int) {
	t.Helper()
	self, err := district.Self()
	if err != nil {
		t.Fatal(err)
	}
	var cmds []*exec.Cmd
	d, err := district.Start(t.Context(), district.Options{
		Data: data, Devices: devices, DeskAddr: "127.0.0.1:0", Seed: 1,
		Centre: func(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
			return bridge.Run(ctx, "test", args, stdin, stdout, stderr)
		},
		Starter: func(what string, args ...string) *exec.Cmd {
			c := self(what, args...)
			cmds = append(cmds, c)
			return c
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
		for _, c := range cmds {
			if err := unix.Kill(c.Process.Pid, 0); !errors.Is(err, unix.ESRCH) {
				t.Errorf("process %d is still there: %v", c.Process.Pid, err)
			}
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := d.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	return d, func() (pids []int) {
		for _, c := range cmds {
			pids = append(pids, c.Process.Pid)
		}
		return pids
	}
}

func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(15 * time.Second); !f(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 15 s: %s", what)
		}
	}
}

func box() map[string]scenario.Device {
	return map[string]scenario.Device{"box-1": {
		Kind: "alarm-box", Siren: true, Buttons: map[string]scenario.Button{"panic": {Kind: "panic"}},
		At: &scenario.Place{Lat: 30, Lon: 103},
	}}
}

func incidents(t *testing.T, d *district.District) []desk.Incident {
	t.Helper()
	all, err := d.Desk.Incidents(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// A folder is taken up again by the next district: keys, spools, incidents.
func TestAFolderIsTakenUpAgain(t *testing.T) {
	data := t.TempDir()
	for i := range 2 {
		t.Run("", func(t *testing.T) {
			d, _ := start(t, data, box())
			if n := len(incidents(t, d)); n != i {
				t.Errorf("%d incidents, want %d", n, i)
			}
			dev, err := d.Device("box-1")
			if err != nil {
				t.Fatal(err)
			}
			if i == 0 {
				if _, err := dev.Press(t.Context(), "panic", district.PressOptions{}); err != nil {
					t.Fatal(err)
				}
				eventually(t, "an incident", func() bool { return len(incidents(t, d)) == 1 })
			} else {
				eventually(t, "the latched alarm", func() bool { return dev.View().Lamps.Shows == "centre_has" })
			}
		})
	}
	if st, err := os.Stat(filepath.Join(data, "box-1", "device.key")); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("the key: %v, %v", st, err)
	}
}

// A button that is held while the power comes back is no alarm, but a fault;
// one that is pressed while there is no power is seen by nobody.
func TestButtonsAndPower(t *testing.T) {
	d, _ := start(t, t.TempDir(), box())
	dev, err := d.Device("box-1")
	if err != nil {
		t.Fatal(err)
	}
	dev.PowerCut()
	dev.PowerCut()
	if v := dev.View(); v.Power != "off" || v.Desk || v.Queue != nil {
		t.Errorf("without power: %+v", v)
	}
	if _, err := dev.Press(t.Context(), "panic", district.PressOptions{Hold: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := dev.Press(t.Context(), "panic", district.PressOptions{}); !errors.Is(err, district.ErrHeld) {
		t.Errorf("pressing a held button: %v, want ErrHeld", err)
	}
	for range 2 {
		if err := dev.PowerRestore(); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the fault", func() bool { return slices.Contains(dev.View().Faults, "button_stuck:panic") })
	if err := dev.Release("panic", true); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the end of the fault", func() bool { return len(dev.View().Faults) == 0 && dev.View().Power == "on" })
	if n := len(incidents(t, d)); n != 0 {
		t.Errorf("%d incidents, want none", n)
	}
	if _, err := dev.Press(t.Context(), "panic", district.PressOptions{Bounce: true}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "an incident", func() bool { return len(incidents(t, d)) == 1 })
	// A process that was killed is a board without power, and says so.
	dev.PowerCut()
	if err := dev.PowerRestore(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the centre knows why it started", func() bool {
		events, _, err := d.Desk.Events(t.Context(), "box-1", "")
		if err != nil {
			t.Fatal(err)
		}
		return slices.ContainsFunc(events, func(e desk.Event) bool { return bytes.Contains(e.Body, []byte(`"started":"power"`)) })
	})
	if _, err := dev.Press(t.Context(), "nothing", district.PressOptions{}); !errors.Is(err, district.ErrNoButton) {
		t.Errorf("got %v, want ErrNoButton", err)
	}
	if err := errors.Join(dev.Park(), dev.Link(link.Up)); !errors.Is(err, district.ErrNoPart) {
		t.Errorf("got %v, want ErrNoPart", err)
	}
	if _, err := d.Device("box-2"); !errors.Is(err, district.ErrNoDevice) {
		t.Errorf("got %v, want ErrNoDevice", err)
	}
}

// A device whose process dies by itself comes back as a service does.
func TestAProcessThatDiesIsStartedAgain(t *testing.T) {
	d, pids := start(t, t.TempDir(), box())
	dev, err := d.Device("box-1")
	if err != nil {
		t.Fatal(err)
	}
	all := pids()
	if err := unix.Kill(all[len(all)-1], unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a crash", func() bool { return dev.Crashes() == 1 })
	eventually(t, "the device again", dev.Connected)
	if runs := d.Ledger.Entries().Runs; len(runs) != 2 || runs[0].Ended == 0 || runs[1].Boot != runs[0].Boot+1 {
		t.Errorf("runs %+v, want two with one boot after the other", runs)
	}
}

// A centre that cannot start says why and where to look.
func TestACentreThatDoesNotStart(t *testing.T) {
	self, err := district.Self()
	if err != nil {
		t.Fatal(err)
	}
	_, err = district.Start(t.Context(), district.Options{
		Data: t.TempDir(), Devices: box(), DeskAddr: "256.0.0.1:0", Starter: self,
		Centre: func(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
			return bridge.Run(ctx, "test", args, stdin, stdout, stderr)
		},
	})
	if !errors.Is(err, district.ErrCentre) {
		t.Errorf("got %v, want ErrCentre", err)
	}
}

// A killed centre starts again on its data and its addresses.
func TestTheCentreIsKilled(t *testing.T) {
	d, _ := start(t, t.TempDir(), box())
	dev, err := d.Device("box-1")
	if err != nil {
		t.Fatal(err)
	}
	url := d.Centre.URL()
	for range 2 {
		d.Centre.Kill()
	}
	if _, err := d.Desk.Incidents(t.Context()); !errors.Is(err, desk.ErrAway) || d.Centre.Running() {
		t.Errorf("running %v, asked for incidents: %v, want desk.ErrAway", d.Centre.Running(), err)
	}
	if _, err := dev.Press(t.Context(), "panic", district.PressOptions{}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := d.Centre.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if !d.Centre.Running() || d.Centre.URL() != url {
		t.Errorf("running %v at %s, want it at %s", d.Centre.Running(), d.Centre.URL(), url)
	}
	eventually(t, "an incident", func() bool { return len(incidents(t, d)) == 1 })
	links := d.Ledger.Entries().Links
	var ups []bool
	for _, l := range links {
		ups = append(ups, l.Up)
	}
	if !slices.Equal(ups, []bool{true, false, true}) {
		t.Errorf("the ledger has %+v, want up, down, up", links)
	}
}
