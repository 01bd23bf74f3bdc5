package flash

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Buffer returns a buffer for [Copy] that lies at a page's beginning, as direct
// reading and writing want it.
func Buffer() []byte { return aligned(chunk) }

const page = 4096

func aligned(n int) []byte {
	b := make([]byte, n+page)
	off := int(-uintptr(unsafe.Pointer(&b[0])) & (page - 1))
	return b[off : off+n : off+n]
}

func alignedLike(b []byte) []byte { return aligned(len(b)) }

// Write writes the image's file to a disk that [Host.Inspect] found good: it
// opens the disk for itself alone, past the kernel's cache, copies, compares, and
// lets the kernel read the new partition table. Errors are those of [Copy],
// [ErrUse] where somebody else has the disk open after all, and [ErrGone].
func Write(ctx context.Context, d *Disk, image *os.File, progress func(s Stage, done, total int64)) (err error) {
	st, err := image.Stat()
	if err != nil {
		return err
	}
	f, err := os.OpenFile(d.Path, os.O_RDWR|unix.O_EXCL|unix.O_DIRECT|unix.O_CLOEXEC, 0)
	switch {
	case errors.Is(err, unix.EBUSY):
		return d.refuse(ErrUse, "")
	case err != nil:
		return fmt.Errorf("%w: %w", ErrWrite, err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	block, err := unix.IoctlGetInt(int(f.Fd()), unix.BLKSSZGET)
	if err != nil || block < sector || block > page {
		return fmt.Errorf("%w: %s: block size %d: %w", ErrWrite, d.Path, block, err)
	}
	if err := Copy(ctx, device{f}, image, st.Size(), Buffer(), block, progress); err != nil {
		if d.gone(Linux, err) {
			err = fmt.Errorf("%w: %w", ErrGone, err)
		}
		return err
	}
	// A disk without partitions of its own (a loop device, mostly) refuses this.
	_, _ = unix.IoctlRetInt(int(f.Fd()), unix.BLKRRPART)
	return nil
}

// gone reports whether an error came of a disk that is not there any more. A
// card reader stays when its card goes, with a size of 0.
func (d *Disk) gone(h Host, err error) bool {
	for _, e := range []error{unix.ENODEV, unix.ENXIO, unix.ENOMEDIUM} {
		if errors.Is(err, e) {
			return true
		}
	}
	if !errors.Is(err, unix.EIO) {
		return false
	}
	dir := filepath.Join(h.Sys, "dev/block", d.numbers[0])
	_, serr := os.Stat(dir)
	return errors.Is(serr, fs.ErrNotExist) || attr(dir, "size") == "0"
}

// A device is a disk that was opened past the kernel's cache.
type device struct{ *os.File }

// Drop drops what the kernel may keep all the same.
func (d device) Drop() error {
	_, err := unix.IoctlRetInt(int(d.Fd()), unix.BLKFLSBUF)
	if errors.Is(err, unix.EACCES) { // wants more rights than the disk itself; direct reads ask the disk anyway
		return nil
	}
	return err
}
