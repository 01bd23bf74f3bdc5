package hw_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/fengsui/fengsui/firmware/internal/hw"
)

func TestSensorsThatAreNotThere(t *testing.T) {
	s := hw.Sensors{Root: t.TempDir()}
	if n, ok := s.Temperature(); ok {
		t.Errorf("temperature %d of nothing", n)
	}
	if n, ok := s.Supply(); ok {
		t.Errorf("supply %x of nothing", n)
	}
	if id, c := s.BootID(), s.BootCause(); id != "" || c != hw.Unsaid {
		t.Errorf("boot %q by %q of nothing", id, c)
	}
}

func TestSensorsThatSayNonsense(t *testing.T) {
	root := t.TempDir()
	for path, text := range map[string]string{
		"sys/class/thermal/thermal_zone0/temp":                "hot\n",
		"sys/class/thermal/thermal_zone1/temp":                "41000\n",
		"sys/class/thermal/thermal_zone2/temp":                "99999999999999999999\n",
		"sys/devices/platform/soc/soc:firmware/get_throttled": "none\n",
		"sys/class/watchdog/watchdog0/bootstatus":             "x\n",
		"proc/device-tree/chosen/bootloader/pm_rsts":          "\x10",
	} {
		path = filepath.Join(root, path)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	s := hw.Sensors{Root: root}
	if n, ok := s.Temperature(); !ok || n != 410 {
		t.Errorf("temperature %d %v, want that of the zone that has one", n, ok)
	}
	if n, ok := s.Supply(); ok {
		t.Errorf("supply %x", n)
	}
	if c := s.BootCause(); c != hw.Unsaid {
		t.Errorf("boot by %q", c)
	}
}

func TestNoWatchdogAndNoPartition(t *testing.T) {
	if _, err := os.Stat("/dev/watchdog"); errors.Is(err, fs.ErrNotExist) { // never armed here by accident
		if _, err := hw.OpenWatchdog(0); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%v, want fs.ErrNotExist", err)
		}
	}
	if _, err := hw.BootPartition("/proc"); !errors.Is(err, hw.ErrNoPartition) {
		t.Errorf("%v, want ErrNoPartition", err)
	}
	if _, err := hw.BootPartition(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v, want fs.ErrNotExist", err)
	}
	path := filepath.Join(t.TempDir(), "part")
	if err := os.WriteFile(path, make([]byte, 1000), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := hw.OpenPartition(path)
	if err != nil || p.Size != 1000 {
		t.Fatalf("%+v %v", p, err)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}
