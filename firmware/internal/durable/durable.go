// Package durable writes small files that a power cut leaves whole. It locks
// nothing, and reads nothing.
package durable

import (
	"errors"
	"os"
	"path/filepath"
)

// WriteFile writes a file of mode 0600, or another in the place of one, so that
// after a power cut the new one is there whole, or the old one or none is.
func WriteFile(path string, b []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), ".new-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(b)
	if err == nil {
		err = tmp.Sync()
	}
	if err := errors.Join(err, tmp.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
