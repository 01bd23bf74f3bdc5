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

// unlock gives up the lock on a file (flock(2)).
func unlock(f *os.File) { syscall.Flock(int(f.Fd()), syscall.LOCK_UN) }

// limitMemory bounds the memory of this process (setrlimit(2), RLIMIT_DATA).
func limitMemory(bytes uint64) {
	_ = syscall.Setrlimit(syscall.RLIMIT_DATA, &syscall.Rlimit{Cur: bytes, Max: bytes})
}
