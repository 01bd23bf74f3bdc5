package spool

import (
	"os"
	"syscall"
)

// reserve has the file system set aside blocks for the first n bytes of a
// file, without changing its size (fallocate(2), FALLOC_FL_KEEP_SIZE).
func reserve(f *os.File, n int64) error {
	const keepSize = 1
	for {
		if err := syscall.Fallocate(int(f.Fd()), keepSize, 0, n); err != syscall.EINTR {
			return err
		}
	}
}
