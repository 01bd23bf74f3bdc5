//go:build linux

package powercut

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// ext4Shutdown is EXT4_IOC_SHUTDOWN, _IOR('X', 125, __u32), and goingNoLogFlush
	// its argument EXT4_GOING_FLAGS_NOLOGFLUSH: stop at once, and let not even the
	// journal go to the disk (Linux, fs/ext4/ext4.h).
	ext4Shutdown    = 0x8004587d
	goingNoLogFlush = 2
)

// An Ext4 is an ext4 file system on a loop device over an image file. It keeps
// its content over any number of cuts. One goroutine may use it at a time.
type Ext4 struct {
	image, mount string
}

// NewExt4 makes an image file of so many bytes with a file system, and mounts it
// in a folder, which it makes. The error may be [errors.ErrUnsupported]: not
// root, or a part is missing.
func NewExt4(image, mount string, size int64) (*Ext4, error) {
	if os.Geteuid() != 0 {
		return nil, fmt.Errorf("ext4: not root: %w", errors.ErrUnsupported)
	}
	for _, tool := range []string{"mkfs.ext4", "mount"} {
		if _, err := exec.LookPath(tool); err != nil {
			return nil, fmt.Errorf("ext4: %w: %w", err, errors.ErrUnsupported)
		}
	}
	d := &Ext4{image, mount}
	f, err := os.Create(d.image)
	if err == nil {
		err = errors.Join(f.Truncate(size), f.Close(), os.Mkdir(d.mount, 0o700))
	}
	if err == nil {
		err = command("mkfs.ext4", "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0", d.image)
	}
	if err == nil {
		err = errors.Join(flush(d.image), flush(filepath.Dir(d.image)))
	}
	if err != nil {
		return nil, fmt.Errorf("ext4: %w", err)
	}
	if err := d.Mount(); err != nil {
		return nil, fmt.Errorf("%w: %w", err, errors.ErrUnsupported)
	}
	return d, nil
}

// Dir returns where the file system is mounted.
func (d *Ext4) Dir() string { return d.mount }

// Cut cuts the power: from here on everything fails with EIO. Programs that
// have files open must end before Restore.
func (d *Ext4) Cut() error {
	f, err := os.Open(d.mount)
	if err != nil {
		return fmt.Errorf("ext4: %w", err)
	}
	defer f.Close()
	if err := unix.IoctlSetPointerInt(int(f.Fd()), ext4Shutdown, goingNoLogFlush); err != nil {
		return fmt.Errorf("ext4: shutdown: %w", err)
	}
	return nil
}

// Restore mounts the file system again, which replays its journal.
func (d *Ext4) Restore() error { return errors.Join(d.Unmount(), d.Mount()) }

// Mount mounts the file system.
func (d *Ext4) Mount() error {
	// The command finds a loop device and has it freed when it is unmounted.
	if err := command("mount", "-n", "-t", "ext4", "-o", "loop", d.image, d.mount); err != nil {
		return fmt.Errorf("ext4: %w", err)
	}
	return nil
}

// Unmount unmounts the file system.
func (d *Ext4) Unmount() error {
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		err := unix.Unmount(d.mount, 0)
		// A process that another goroutine has just forked holds all of our files
		// until it executes.
		switch {
		case err == nil:
			return nil
		case !errors.Is(err, unix.EBUSY) || time.Now().After(end):
			return fmt.Errorf("ext4: unmount: %w", err)
		}
	}
}

// Close unmounts the file system if it is mounted. The image stays.
func (d *Ext4) Close() error {
	if err := unix.Unmount(d.mount, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("ext4: unmount: %w", err)
	}
	return nil
}

// flush makes a file or a folder durable.
func flush(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func command(name string, args ...string) error {
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, out)
	}
	return nil
}
