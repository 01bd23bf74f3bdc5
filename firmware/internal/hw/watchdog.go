package hw

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// A Watchdog starts the board anew when it is not fed in time: Linux's watchdog
// device (kernel.org, Documentation/watchdog/watchdog-api.rst). It goes on
// counting when the process that has it open ends.
type Watchdog struct {
	file *os.File
	// Name is what the driver calls it.
	Name string
	// Timeout is how long it waits for food.
	Timeout time.Duration
}

// watchdogPath is the first one of the board.
const watchdogPath = "/dev/watchdog"

// OpenWatchdog takes the board's watchdog and sets how long it waits, in whole
// seconds; a driver that cannot keeps what it has. It counts from then on. The
// error wraps fs.ErrNotExist where the board has none.
func OpenWatchdog(timeout time.Duration) (*Watchdog, error) {
	f, err := os.OpenFile(watchdogPath, os.O_WRONLY, 0)
	if err != nil {
		return nil, fmt.Errorf("watchdog: %w", err)
	}
	w := &Watchdog{file: f, Timeout: timeout}
	fd := int(f.Fd())
	if info, err := unix.IoctlGetWatchdogInfo(fd); err == nil {
		w.Name = unix.ByteSliceToString(info.Identity[:])
	}
	if err := unix.IoctlSetPointerInt(fd, unix.WDIOC_SETTIMEOUT, int(timeout/time.Second)); err != nil {
		s, gerr := unix.IoctlGetInt(fd, unix.WDIOC_GETTIMEOUT)
		if gerr != nil || s < 1 {
			return nil, errors.Join(fmt.Errorf("watchdog %s: its timeout cannot be set: %w", w.Name, err), f.Close())
		}
		w.Timeout = time.Duration(s) * time.Second
	}
	return w, nil
}

// Feed puts the end off.
func (w *Watchdog) Feed() error {
	if err := unix.IoctlWatchdogKeepalive(int(w.file.Fd())); err != nil {
		return fmt.Errorf("watchdog %s: %w", w.Name, err)
	}
	return nil
}

// Fired reports whether the driver knows that the watchdog started the board.
func (w *Watchdog) Fired() bool {
	status, err := unix.IoctlGetInt(int(w.file.Fd()), unix.WDIOC_GETBOOTSTATUS)
	return err == nil && status&unix.WDIOF_CARDRESET != 0
}
