package hw

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The files are as Linux's mcp320x (a scale for all) and ti-ads1015 (one for
// each channel) drivers make them.
func TestADC(t *testing.T) {
	root := t.TempDir()
	write := func(file, text string) {
		t.Helper()
		path := filepath.Join(root, file)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := adc(root, "iio:device0/in_voltage0"); !errors.Is(err, ErrNoADC) || !strings.Contains(err.Error(), "shows none") {
		t.Errorf("an empty host: %v", err)
	}
	write("iio:device0/name", "mcp3008\n")
	write("iio:device0/in_voltage0_raw", "697\n")
	write("iio:device0/in_voltage1_raw", "100\n")
	write("iio:device0/in_voltage_scale", "3.222656250\n")
	write("iio:device1/in_voltage0_raw", "500\n")
	write("iio:device1/in_voltage0_scale", "2\n")
	write("iio:device1/in_voltage_scale", "7\n")
	write("iio:device1/in_voltage0_offset", "-100\n")
	for name, want := range map[string]float64{"iio:device0/in_voltage0": 2246.19, "mcp3008/in_voltage1": 322.27, "iio:device1/in_voltage0": 800} {
		read, err := adc(root, name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got, err := read(); err != nil || got < want-0.01 || got > want+0.01 {
			t.Errorf("%s: %v mV, %v; want %v", name, got, err, want)
		}
	}
	for _, name := range []string{"iio:device0/in_voltage7", "mcp3208/in_voltage0", "in_voltage0", "iio:device0/../x"} {
		if _, err := adc(root, name); !errors.Is(err, ErrNoADC) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := adc(root, "iio:device0/in_voltage7"); !strings.Contains(err.Error(), "iio:device0/in_voltage1") {
		t.Errorf("%v does not name what there is", err)
	}
	read, err := adc(root, "mcp3008/in_voltage0")
	if err != nil {
		t.Fatal(err)
	}
	write("iio:device0/in_voltage0_raw", "broken\n")
	if _, err := read(); err == nil {
		t.Error("what is no number was measured")
	}
	if err := os.RemoveAll(filepath.Join(root, "iio:device0")); err != nil {
		t.Fatal(err)
	}
	if _, err := read(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("gone: %v", err)
	}
}
