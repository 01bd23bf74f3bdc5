// Package mono reads the clock that all processes of one host share, so that
// a time taken in a device's process can be compared with one taken in the
// simulator's. It is no time of day.
package mono

import (
	"time"

	"golang.org/x/sys/unix"
)

// Now returns CLOCK_MONOTONIC (clock_gettime(2)): the time since an arbitrary
// point that is the same in every process of this host.
func Now() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		panic("clock_gettime(CLOCK_MONOTONIC): " + err.Error()) // POSIX lets it fail only where there is none
	}
	return time.Duration(ts.Nano())
}
