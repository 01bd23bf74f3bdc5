package hw

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Sensors read what a board says of itself below Root; "": below "/".
type Sensors struct{ Root string }

func (s Sensors) text(path string) (string, bool) {
	b, err := os.ReadFile(filepath.Join("/", s.Root, path))
	return strings.TrimSpace(string(b)), err == nil
}

// Temperature returns the hottest of the kernel's thermal zones in tenths of a
// degree Celsius (kernel.org, Documentation/ABI/testing/sysfs-class-thermal);
// false where there is none that can be read.
func (s Sensors) Temperature() (tenths int64, ok bool) {
	zones, err := filepath.Glob(filepath.Join("/", s.Root, "sys/class/thermal/thermal_zone*/temp"))
	if err != nil {
		return 0, false // the pattern is right
	}
	for _, zone := range zones {
		b, err := os.ReadFile(zone)
		if err != nil {
			continue // a zone that sleeps says so
		}
		n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 32)
		if err == nil && (!ok || n/100 > tenths) {
			tenths, ok = n/100, true
		}
	}
	return tenths, ok
}

// Supply is what a board's power management has seen; the bits are those of the
// Raspberry Pi's get_throttled.
type Supply uint64

// The bits of a Supply: now, and at any time since power-on.
const (
	UnderVoltage    Supply = 1 << 0
	Throttled       Supply = 1<<1 | 1<<2 | 1<<3 // slowed down for its supply or its heat
	UnderVoltageWas Supply = 1 << 16
	ThrottledWas    Supply = 1<<17 | 1<<18 | 1<<19
)

// Supply returns what a Raspberry Pi's firmware says of its supply (Raspberry
// Pi documentation, vcgencmd, get_throttled); false on other boards.
func (s Sensors) Supply() (Supply, bool) {
	text, ok := s.text("sys/devices/platform/soc/soc:firmware/get_throttled")
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(strings.TrimPrefix(text, "0x"), 16, 32)
	return Supply(n), err == nil
}

// Model returns what a board calls itself, and its serial number, by the device
// tree or by DMI; each is "" where the system does not say.
func (s Sensors) Model() (model, serial string) {
	first := func(paths ...string) string {
		for _, p := range paths {
			if text, ok := s.text(p); ok {
				if text = strings.TrimSpace(strings.Trim(text, "\x00")); text != "" {
					return text
				}
			}
		}
		return ""
	}
	return first("proc/device-tree/model", "sys/class/dmi/id/product_name"),
		first("proc/device-tree/serial-number", "sys/class/dmi/id/product_serial")
}

// Card returns the name and the serial number of the first memory card or eMMC,
// or "" where there is none (Documentation/driver-api/mmc/mmc-dev-attrs.rst).
func (s Sensors) Card() string {
	cards, err := filepath.Glob(filepath.Join("/", s.Root, "sys/block/mmcblk*/device/serial"))
	if err != nil || len(cards) == 0 {
		return ""
	}
	dir := filepath.Dir(cards[0])
	number, err := os.ReadFile(cards[0])
	name, nerr := os.ReadFile(filepath.Join(dir, "name"))
	if err != nil || nerr != nil {
		return ""
	}
	return strings.TrimSpace(string(name)) + " " + strings.TrimSpace(string(number))
}

// BootID names the kernel's run, anew at each start (random(4)); "" where the
// system has no such name.
func (s Sensors) BootID() string {
	id, _ := s.text("proc/sys/kernel/random/boot_id")
	return id
}

// A Cause is why a board started.
type Cause string

// Causes; Unsaid where nothing on the board tells.
const (
	Unsaid        Cause = ""
	Power         Cause = "power"
	WatchdogFired Cause = "watchdog"
	Panic         Cause = "panic"
)

// BootCause returns why the board started, as far as it can tell: by a panic
// that the kernel kept (pstore), by the watchdog driver's word, or by the reset
// register that a Raspberry Pi 4 or 5 hands over (Raspberry Pi documentation,
// chosen/bootloader/pm_rsts; bits as in Linux's bcm2835_wdt.c). On a Pi the
// kernel's own restart is the watchdog's as well.
func (s Sensors) BootCause() Cause {
	records, err := filepath.Glob(filepath.Join("/", s.Root, "sys/fs/pstore/dmesg-*"))
	if err == nil && len(records) > 0 {
		return Panic
	}
	if text, ok := s.text("sys/class/watchdog/watchdog0/bootstatus"); ok {
		if n, err := strconv.ParseUint(text, 0, 32); err == nil && n&unix.WDIOF_CARDRESET != 0 {
			return WatchdogFired
		}
	}
	const hadPower, hadWatchdog = 0x1000, 0x70
	b, err := os.ReadFile(filepath.Join("/", s.Root, "proc/device-tree/chosen/bootloader/pm_rsts"))
	if err == nil && len(b) == 4 {
		switch rsts := binary.BigEndian.Uint32(b); {
		case rsts&hadPower != 0:
			return Power
		case rsts&hadWatchdog != 0:
			return WatchdogFired
		}
	}
	return Unsaid
}

// ErrNoPartition means that the disk of a folder has no first partition.
var ErrNoPartition = errors.New("no boot partition")

// BootPartition returns the device of the first partition of the disk that a
// folder's file system is on: an image's boot partition, when the folder is on
// another one of it.
func BootPartition(folder string) (string, error) {
	var st unix.Stat_t
	if err := unix.Stat(folder, &st); err != nil {
		return "", fmt.Errorf("%s: %w", folder, err)
	}
	self, err := filepath.EvalSymlinks(fmt.Sprintf("/sys/dev/block/%d:%d", unix.Major(st.Dev), unix.Minor(st.Dev)))
	if err != nil {
		return "", fmt.Errorf("%w: %s is on no partition: %w", ErrNoPartition, folder, err)
	}
	parts, err := filepath.Glob(filepath.Join(filepath.Dir(self), "*", "partition"))
	if err != nil {
		return "", err
	}
	for _, p := range parts {
		if b, err := os.ReadFile(p); err == nil && strings.TrimSpace(string(b)) == "1" {
			return "/dev/" + filepath.Base(filepath.Dir(p)), nil
		}
	}
	return "", fmt.Errorf("%w: the disk of %s", ErrNoPartition, folder)
}
