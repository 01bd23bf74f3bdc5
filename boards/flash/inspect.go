package flash

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Why a disk is refused; a [*Refusal] wraps one of these.
var (
	ErrMissing   = errors.New("is not there")
	ErrNotBlock  = errors.New("is no disk")                      // a file, a terminal
	ErrPartition = errors.New("is a part of a disk, not a disk") // detail: the disk
	ErrMounted   = errors.New("is mounted")                      // detail: where
	ErrSystem    = errors.New("holds the running system")        // detail: where
	ErrUse       = errors.New("is in use")                       // detail: by what: swap, a volume, a RAID …
	ErrMember    = errors.New("is a member of a volume group")   // or RAID; detail: which
	ErrInternal  = errors.New("is an internal disk")             // neither removable nor on USB nor a memory card
	ErrReadOnly  = errors.New("is write-protected")              // a card's slider
	ErrNoMedium  = errors.New("holds no card")                   // a card reader's
	ErrTooSmall  = errors.New("is too small")                    // detail: its size and the image's
	ErrSelf      = errors.New("is made of the image's own file") // a loop device
	ErrRights    = errors.New("cannot be opened: want root's rights")
)

// A Refusal says why a disk is not written.
type Refusal struct {
	Why    error // one of the above
	Path   string
	Detail string
}

func (r *Refusal) Error() string {
	s := r.Path + " " + r.Why.Error()
	if r.Detail != "" {
		s += ": " + r.Detail
	}
	return s
}

func (r *Refusal) Unwrap() error { return r.Why }

// A Disk is what the kernel says of a disk.
type Disk struct {
	Path  string // as it was asked for
	Name  string // the kernel's, such as sdb
	Model string // what it calls itself; may be empty
	Kind  string // "usb", "card", "loop", "removable" or "internal"
	Size  int64  // bytes

	parts    []string // the kernel's names of its partitions
	numbers  []string // MAJOR:MINOR of the disk, its partitions and what stands on them
	readOnly bool
	backing  string // a loop device's file
}

func (d *Disk) refuse(why error, detail string) error { return &Refusal{why, d.Path, detail} }

// A Host is where the kernel tells of disks: its folders of proc(5) and
// sysfs(5).
type Host struct{ Proc, Sys string }

// Linux is this machine.
var Linux = Host{Proc: "/proc", Sys: "/sys"}

// Inspect looks at the disk of a path, and refuses it with a [*Refusal] when it
// must not be written with an image of a file and a size.
func (h Host) Inspect(path string, image os.FileInfo) (*Disk, error) {
	d := &Disk{Path: path}
	st, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, d.refuse(ErrMissing, "")
	}
	if err != nil {
		return nil, err
	}
	if st.Mode()&fs.ModeDevice == 0 || st.Mode()&fs.ModeCharDevice != 0 {
		return nil, d.refuse(ErrNotBlock, "")
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	return h.inspect(d, numberOf(abs), image)
}

// inspect looks at the disk of a number, MAJOR:MINOR.
func (h Host) inspect(d *Disk, number string, image os.FileInfo) (*Disk, error) {
	dir, err := filepath.EvalSymlinks(filepath.Join(h.Sys, "dev/block", number))
	if err != nil {
		return nil, d.refuse(ErrNotBlock, "the kernel has no disk "+number)
	}
	d.Name = filepath.Base(dir)
	if _, err := os.Stat(filepath.Join(dir, "partition")); err == nil {
		return nil, d.refuse(ErrPartition, filepath.Base(filepath.Dir(dir)))
	}
	if err := h.describe(d, dir, number); err != nil {
		return nil, err
	}
	if err := h.refused(d, dir); err != nil {
		return nil, err
	}
	switch {
	case d.Size == 0:
		return nil, d.refuse(ErrNoMedium, "")
	case d.readOnly:
		return nil, d.refuse(ErrReadOnly, "")
	case d.Size < image.Size():
		return nil, d.refuse(ErrTooSmall, fmt.Sprintf("%d bytes, the image has %d", d.Size, image.Size()))
	}
	if d.backing != "" {
		if b, err := os.Stat(d.backing); err == nil && os.SameFile(b, image) {
			return nil, d.refuse(ErrSelf, d.backing)
		}
	}
	return d, nil
}

// describe reads what the kernel says of a disk whose folder in sysfs is dir.
func (h Host) describe(d *Disk, dir, number string) error {
	sectors, err := strconv.ParseInt(attr(dir, "size"), 10, 64) // of 512 bytes, whatever the disk's own
	if err != nil {
		return fmt.Errorf("%s: size: %w", d.Path, err)
	}
	d.Size = sectors * sector
	d.readOnly = attr(dir, "ro") == "1"
	d.Model = strings.TrimSpace(attr(dir, "device/vendor") + " " + cmp.Or(attr(dir, "device/model"), attr(dir, "device/name")))
	d.backing = attr(dir, "loop/backing_file")
	switch {
	case strings.HasPrefix(d.Name, "loop"):
		d.Kind, d.Model = "loop", d.backing
		if d.backing == "" {
			d.Size = 0
		}
	case strings.HasPrefix(d.Name, "mmcblk") && attr(dir, "device/type") == "MMC":
		d.Kind = "internal" // an eMMC is soldered; a card says SD (Linux, drivers/mmc/core/bus.c)
	case strings.HasPrefix(d.Name, "mmcblk"):
		d.Kind = "card"
	case slices.ContainsFunc(strings.Split(dir, "/"), func(s string) bool { return strings.HasPrefix(s, "usb") }):
		d.Kind = "usb"
	case attr(dir, "removable") == "1":
		d.Kind = "removable"
	default:
		d.Kind = "internal"
	}
	d.numbers = []string{number}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if n := attr(filepath.Join(dir, e.Name()), "partition"); n != "" {
			d.parts = append(d.parts, e.Name())
			d.numbers = append(d.numbers, attr(filepath.Join(dir, e.Name()), "dev"))
		}
	}
	return nil
}

// refused checks what a disk is used for, the gravest first.
func (h Host) refused(d *Disk, dir string) error {
	holders := h.holders(d, dir, 0)
	mounts, err := h.mounts()
	if err != nil {
		return err
	}
	var places []string
	for _, m := range mounts {
		if slices.Contains(d.numbers, m.number) || slices.Contains(d.numbers, numberOf(m.source)) {
			places = append(places, m.at)
		}
	}
	for _, at := range places {
		if slices.Contains(systemPlaces, at) {
			return d.refuse(ErrSystem, at)
		}
	}
	if len(places) > 0 {
		return d.refuse(ErrMounted, strings.Join(places, ", "))
	}
	swaps, err := h.swaps()
	if err != nil {
		return err
	}
	for _, path := range swaps {
		if slices.Contains(d.numbers, numberOf(path)) {
			return d.refuse(ErrUse, "swap "+path)
		}
	}
	if len(holders) > 0 {
		return d.refuse(ErrUse, strings.Join(holders, ", "))
	}
	if d.Kind == "internal" || !slices.ContainsFunc([]string{"sd", "mmcblk", "loop"}, func(p string) bool { return strings.HasPrefix(d.Name, p) }) {
		return d.refuse(ErrInternal, d.Model)
	}
	if strings.Contains(d.Name, "boot") || strings.Contains(d.Name, "rpmb") {
		return d.refuse(ErrPartition, "the card's own boot area")
	}
	return d.member(dir)
}

// systemPlaces are where the running system lives.
var systemPlaces = []string{"/", "/usr", "/boot", "/boot/efi", "/boot/firmware", "/perm", "/var"}

// holders returns what stands on a disk (a volume, an encrypted disk, a RAID)
// and adds its numbers to the disk's.
func (h Host) holders(d *Disk, dir string, depth int) (names []string) {
	dirs := []string{dir}
	if depth == 0 {
		for _, p := range d.parts {
			dirs = append(dirs, filepath.Join(dir, p))
		}
	}
	for _, dir := range dirs {
		entries, err := os.ReadDir(filepath.Join(dir, "holders"))
		if err != nil {
			continue // an old kernel, or a partition that has just gone
		}
		for _, e := range entries {
			on := filepath.Join(h.Sys, "block", e.Name())
			names = append(names, strings.TrimSpace(e.Name()+" "+attr(on, "dm/name")))
			d.numbers = append(d.numbers, attr(on, "dev"))
			if depth < 4 {
				names = append(names, h.holders(d, on, depth+1)...)
			}
		}
	}
	return names
}

type mount struct{ number, at, source string }

// mounts reads mountinfo: ID parent MAJOR:MINOR root place options … - type
// source options (proc_pid_mountinfo(5)).
func (h Host) mounts() ([]mount, error) {
	f, err := os.Open(filepath.Join(h.Proc, "self/mountinfo"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var all []mount
	s := bufio.NewScanner(f)
	for s.Scan() {
		before, after, ok := strings.Cut(s.Text(), " - ")
		a, b := strings.Fields(before), strings.Fields(after)
		if ok && len(a) > 4 && len(b) > 1 {
			all = append(all, mount{a[2], unescape(a[4]), unescape(b[1])})
		}
	}
	return all, s.Err()
}

// swaps reads the paths of proc/swaps.
func (h Host) swaps() ([]string, error) {
	b, err := os.ReadFile(filepath.Join(h.Proc, "swaps"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // a kernel without swap
	}
	if err != nil {
		return nil, err
	}
	var paths []string
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] != "Filename" {
			paths = append(paths, unescape(f[0]))
		}
	}
	return paths, nil
}

// unescape undoes the kernel's octal escapes for spaces and the like.
func unescape(s string) string {
	for _, r := range [][2]string{{`\040`, " "}, {`\011`, "\t"}, {`\012`, "\n"}, {`\134`, `\`}} {
		s = strings.ReplaceAll(s, r[0], r[1])
	}
	return s
}

// numberOf returns MAJOR:MINOR of a disk's path, or nothing.
func numberOf(path string) string {
	var st unix.Stat_t
	if !filepath.IsAbs(path) || unix.Stat(path, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFBLK {
		return ""
	}
	return fmt.Sprintf("%d:%d", unix.Major(st.Rdev), unix.Minor(st.Rdev))
}

// attr reads a value of sysfs; a missing one is empty.
func attr(dir, name string) string {
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}
