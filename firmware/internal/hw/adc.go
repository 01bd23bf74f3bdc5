package hw

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// ErrNoADC means that this host has no analogue input of that name.
var ErrNoADC = errors.New("no such analogue input")

// iioDevices is where Linux shows converters (Documentation/ABI/testing/sysfs-bus-iio).
const iioDevices = "/sys/bus/iio/devices"

// ADC returns a function that measures an analogue input of Linux's industrial
// I/O, in millivolts. The input is called DEVICE/CHANNEL, where the device is
// the kernel's name or the converter's, such as "iio:device0/in_voltage2" or
// "ads1015/in_voltage2". The error wraps [ErrNoADC] and names what there is.
func ADC(name string) (func() (float64, error), error) { return adc(iioDevices, name) }

func adc(root, name string) (func() (float64, error), error) {
	device, channel, ok := strings.Cut(name, "/")
	if !ok || channel == "" || strings.ContainsRune(channel, '/') {
		return nil, fmt.Errorf("%w: %q: want DEVICE/CHANNEL, such as iio:device0/in_voltage0", ErrNoADC, name)
	}
	inputs, err := filepath.Glob(filepath.Join(root, "*", "in_voltage*_raw"))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoADC, err)
	}
	var there []string
	for _, raw := range inputs {
		dir := filepath.Dir(raw)
		called, _ := os.ReadFile(filepath.Join(dir, "name")) // a converter need not have one
		this := strings.TrimSuffix(filepath.Base(raw), "_raw")
		there = append(there, filepath.Base(dir)+"/"+this)
		if this != channel || filepath.Base(dir) != device && strings.TrimSpace(string(called)) != device {
			continue
		}
		return func() (float64, error) { return millivolts(dir, channel) }, nil
	}
	if len(there) == 0 {
		return nil, fmt.Errorf("%w: %q: this host shows none", ErrNoADC, name)
	}
	return nil, fmt.Errorf("%w: %q: this host has %s", ErrNoADC, name, strings.Join(there, ", "))
}

// millivolts measures: (raw + offset) × scale, the last two of the channel or of
// all, by default 0 and 1.
func millivolts(dir, channel string) (float64, error) {
	raw, err := number(dir, channel+"_raw")
	if err != nil {
		return 0, err
	}
	of := func(what string, otherwise float64) (float64, error) {
		for _, name := range []string{channel + "_" + what, "in_voltage_" + what} {
			v, err := number(dir, name)
			if !errors.Is(err, fs.ErrNotExist) {
				return v, err
			}
		}
		return otherwise, nil
	}
	offset, err := of("offset", 0)
	if err != nil {
		return 0, err
	}
	scale, err := of("scale", 1)
	return (raw + offset) * scale, err
}

func number(dir, name string) (float64, error) {
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return 0, fmt.Errorf("analogue input: %w", err)
	}
	v, err := strconv.ParseFloat(strings.TrimSpace(string(b)), 64)
	if err != nil {
		return 0, fmt.Errorf("analogue input: %s: %w", name, err)
	}
	return v, nil
}
