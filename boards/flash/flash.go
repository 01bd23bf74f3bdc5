// Package flash writes an image to a card or a USB disk, reads it back and
// compares. It refuses what a technician would regret: a disk that is mounted,
// that holds the running system, swap, or a member of a volume group or RAID, an
// internal disk, a partition, a file. Linux's own lock (O_EXCL) stands behind
// these checks.
//
// It asks nobody and prints nothing: package cli does. It knows no format but
// that a disk's image ends its first sector with 55 AA.
package flash

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
)

// Errors of writing.
var (
	// ErrImage means that a file is no disk image.
	ErrImage = errors.New("not a disk image")
	// ErrWrite means that the disk did not take what was written.
	ErrWrite = errors.New("writing failed")
	// ErrRead means that the disk could not be read back.
	ErrRead = errors.New("reading back failed")
	// ErrDiffers means that the disk holds something else than was written: it is
	// worn out, or smaller than it says.
	ErrDiffers = errors.New("the disk does not hold what was written")
	// ErrGone means that the disk was taken out meanwhile.
	ErrGone = errors.New("the disk was taken out")
)

// A Stage is a part of the work.
type Stage int

// The stages, in their order.
const (
	Writing Stage = iota
	Comparing
)

// A Target is an open disk. Offsets and lengths are multiples of its block.
type Target interface {
	io.ReaderAt
	io.WriterAt
	// Sync returns when everything is on the disk itself.
	Sync() error
	// Drop forgets what was read or written, so that a ReadAt asks the disk.
	Drop() error
}

// chunk is how much is written at once.
const chunk = 4 << 20

// sector is what images are made of.
const sector = 512

// CheckImage checks that a file of a size looks like a disk's image; the error
// wraps [ErrImage].
func CheckImage(image io.ReaderAt, size int64) error {
	if size < 1<<20 || size%sector != 0 {
		return fmt.Errorf("%w: it has %d bytes: want 1 MiB at least, and whole sectors of %d bytes", ErrImage, size, sector)
	}
	var first [sector]byte
	if _, err := image.ReadAt(first[:], 0); err != nil {
		return fmt.Errorf("%w: %w", ErrImage, err)
	}
	if first[sector-2] != 0x55 || first[sector-1] != 0xaa {
		return fmt.Errorf("%w: its first sector ends in %02x %02x: want 55 aa; a packed image must be unpacked first", ErrImage, first[sector-2], first[sector-1])
	}
	return nil
}

// Copy writes an image, waits until it is on the disk, reads it back and
// compares. buf is as long as a chunk, and lies where the target wants it;
// block is the target's unit: the image's last part is filled up with zeros to
// it. The error wraps [ErrWrite], [ErrRead] or [ErrDiffers], is that of reading
// the image, or ctx's. Whatever it is, the disk is not to be used.
func Copy(ctx context.Context, t Target, image io.ReaderAt, size int64, buf []byte, block int, progress func(s Stage, done, total int64)) error {
	step := func(s Stage, each func(off int64, part []byte) error) error {
		for off := int64(0); off < size; off += int64(len(buf)) {
			if err := ctx.Err(); err != nil {
				return err
			}
			n := int(min(int64(len(buf)), size-off))
			if _, err := image.ReadAt(buf[:n], off); err != nil {
				return fmt.Errorf("image at byte %d: %w", off, err)
			}
			full := (n + block - 1) / block * block
			clear(buf[n:full])
			if err := each(off, buf[:full]); err != nil {
				return err
			}
			progress(s, off+int64(n), size)
		}
		return nil
	}
	err := step(Writing, func(off int64, part []byte) error {
		n, err := t.WriteAt(part, off)
		if err == nil && n < len(part) {
			err = io.ErrShortWrite
		}
		if err != nil {
			return fmt.Errorf("%w at byte %d of %d: %w", ErrWrite, off+int64(n), size, err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := t.Sync(); err != nil {
		return fmt.Errorf("%w at the end: %w", ErrWrite, err)
	}
	if err := t.Drop(); err != nil {
		return fmt.Errorf("%w: %w", ErrRead, err)
	}
	back := alignedLike(buf)
	return step(Comparing, func(off int64, part []byte) error {
		got := back[:len(part)]
		if n, err := t.ReadAt(got, off); err != nil || n < len(got) {
			return fmt.Errorf("%w at byte %d of %d: %w", ErrRead, off+int64(n), size, cmp.Or(err, shortRead(n, len(got))))
		}
		if !bytes.Equal(got, part) {
			at := 0
			for got[at] == part[at] {
				at++
			}
			return fmt.Errorf("%w: byte %d is %02x, was written as %02x", ErrDiffers, off+int64(at), got[at], part[at])
		}
		return nil
	})
}

func shortRead(n, want int) error {
	if n < want {
		return io.ErrUnexpectedEOF
	}
	return nil
}
