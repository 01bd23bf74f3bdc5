package hw

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// A Partition is one that nobody has mounted.
type Partition struct {
	*os.File
	Size int64
}

// OpenPartition opens a partition, or a file that stands for one, to be read
// and written. Sync makes what was written durable.
func OpenPartition(path string) (*Partition, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
	}
	return &Partition{f, size}, nil
}
