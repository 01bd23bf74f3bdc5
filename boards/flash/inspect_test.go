package flash

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

type info int64

func (i info) Name() string       { return "x.img" }
func (i info) Size() int64        { return int64(i) }
func (i info) Mode() fs.FileMode  { return 0 }
func (i info) ModTime() time.Time { return time.Time{} }
func (i info) IsDir() bool        { return false }
func (i info) Sys() any           { return nil }

// tree writes a kernel's folders: a path that ends in " -> X" is a link to X.
func tree(t *testing.T, files map[string]string) Host {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		path, target, link := strings.Cut(name, " -> ")
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if link {
			err = os.Symlink(target, path)
		} else {
			err = os.WriteFile(path, []byte(text+"\n"), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return Host{Proc: filepath.Join(root, "proc"), Sys: filepath.Join(root, "sys")}
}

// A stick on USB with two partitions, a card, an internal disk, and what can be
// wrong with them.
func TestInspect(t *testing.T) {
	const usb, sata, mmc = "sys/devices/pci0000:00/0000:00:14.0/usb1/1-2/1-2:1.0/host2/block/sdb", "sys/devices/pci0000:00/ata1/host0/block/sda", "sys/devices/platform/mmc/mmc_host/mmc0/mmc0:1234/block/mmcblk0"
	base := map[string]string{
		"sys/dev/block/8:16 -> ../../../" + usb:           "",
		"sys/dev/block/8:17 -> ../../../" + usb + "/sdb1": "",
		"sys/dev/block/8:0 -> ../../../" + sata:           "",
		"sys/dev/block/179:0 -> ../../../" + mmc:          "",
		usb + "/size":                                     "8000000", usb + "/ro": "0", usb + "/removable": "1",
		usb + "/device/vendor": "SanDisk ", usb + "/device/model": "Ultra   ",
		usb + "/sdb1/partition": "1", usb + "/sdb1/dev": "8:17", usb + "/sdb1/start": "2048", usb + "/sdb1/size": "4000",
		sata + "/size": "8000000", sata + "/ro": "0", sata + "/removable": "0", sata + "/device/model": "WDC",
		mmc + "/size": "8000000", mmc + "/ro": "0", mmc + "/removable": "0", mmc + "/device/name": "SC32G",
		"sys/block/dm-0/dev": "252:0", "sys/block/dm-0/dm/name": "vg-root",
		"proc/self/mountinfo": "22 1 0:20 / /proc rw - proc proc rw",
		"proc/swaps":          "Filename Type Size Used Priority",
	}
	for name, c := range map[string]struct {
		number string
		size   int64
		with   map[string]string
		why    error
		detail string
	}{
		"stick":     {"8:16", 4 << 30 / 2, nil, nil, "usb SanDisk Ultra"},
		"card":      {"179:0", 1 << 30, nil, nil, "card SC32G"},
		"partition": {"8:17", 1 << 20, nil, ErrPartition, "sdb"},
		"internal":  {"8:0", 1 << 20, nil, ErrInternal, "WDC"},
		"eMMC":      {"179:0", 1 << 20, map[string]string{mmc + "/device/type": "MMC"}, ErrInternal, "SC32G"},
		"SD":        {"179:0", 1 << 20, map[string]string{mmc + "/device/type": "SD"}, nil, "card SC32G"},
		"unknown":   {"9:9", 1 << 20, nil, ErrNotBlock, "the kernel has no disk 9:9"},
		"mounted":   {"8:16", 1 << 20, map[string]string{"proc/self/mountinfo": `30 1 8:17 / /media/my\040stick rw - vfat /dev/sdb1 rw`}, ErrMounted, "/media/my stick"},
		"system":    {"8:16", 1 << 20, map[string]string{"proc/self/mountinfo": "30 1 8:17 / /media/x rw - ext4 x rw\n31 1 8:16 / / rw shared:1 - ext4 x rw"}, ErrSystem, "/"},
		"system on a volume": {"8:16", 1 << 20, map[string]string{
			usb + "/sdb1/holders/dm-0": "", "proc/self/mountinfo": "31 1 252:0 / / rw - ext4 /dev/mapper/vg-root rw",
		}, ErrSystem, "/"},
		"volume":   {"8:16", 1 << 20, map[string]string{usb + "/sdb1/holders/dm-0": ""}, ErrUse, "dm-0 vg-root"},
		"whole":    {"8:16", 1 << 20, map[string]string{usb + "/holders/dm-0": ""}, ErrUse, "dm-0 vg-root"},
		"locked":   {"8:16", 1 << 20, map[string]string{usb + "/ro": "1"}, ErrReadOnly, ""},
		"no card":  {"8:16", 1 << 20, map[string]string{usb + "/size": "0"}, ErrNoMedium, ""},
		"small":    {"8:16", 8000001 * 512, nil, ErrTooSmall, "4096000000 bytes, the image has 4096000512"},
		"just big": {"8:16", 8000000 * 512, nil, nil, "usb SanDisk Ultra"},
	} {
		t.Run(name, func(t *testing.T) {
			files := make(map[string]string)
			for _, m := range []map[string]string{base, c.with} {
				for k, v := range m {
					files[k] = v
				}
			}
			h := tree(t, files)
			path := filepath.Join(t.TempDir(), "disk") // where marks of LVM and RAID are looked for
			if err := os.WriteFile(path, make([]byte, 64<<10), 0o600); err != nil {
				t.Fatal(err)
			}
			d, err := h.inspect(&Disk{Path: path}, c.number, info(c.size))
			if c.why == nil {
				if err != nil || d.Kind+" "+d.Model != c.detail {
					t.Fatalf("got %+v, %v", d, err)
				}
				return
			}
			var r *Refusal
			if !errors.Is(err, c.why) || !errors.As(err, &r) || r.Detail != c.detail {
				t.Errorf("got %v, want %v: %s", err, c.why, c.detail)
			}
		})
	}
}

// The marks of a volume group and of a RAID, in the disk and in a partition.
func TestMembers(t *testing.T) {
	const size = 1 << 20
	magic := "\xfc\x4e\x2b\xa9"
	for _, c := range []struct {
		at   int64
		mark string
		want string
	}{
		{512, "LABELONE", "LVM"},
		{1536, "LABELONE", "LVM"},
		{2048, "LABELONE", ""},
		{0, magic, "RAID"},
		{4096, magic, "RAID"},
		{size - 64<<10, magic, "RAID"},
		{size - 8<<10, magic, "RAID"},
		{size - 8<<10, "\xa9\x2b\x4e\xfc", "RAID"},
		{100, magic, ""},
	} {
		for _, at := range []int64{0, 64 << 10} {
			f, err := os.Create(filepath.Join(t.TempDir(), "d"))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if err := f.Truncate(at + size); err != nil {
				t.Fatal(err)
			}
			if _, err := f.WriteAt([]byte(c.mark), at+c.at); err != nil {
				t.Fatal(err)
			}
			if got := memberOf(f, at, size); got != c.want {
				t.Errorf("%q at %d: got %q, want %q", c.mark, c.at, got, c.want)
			}
		}
	}
}

// What is no disk at all, on this machine.
func TestNotADisk(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, why := range map[string]error{file: ErrNotBlock, filepath.Dir(file): ErrNotBlock, os.DevNull: ErrNotBlock, file + "x": ErrMissing} {
		var r *Refusal
		if _, err := Linux.Inspect(path, info(1)); !errors.Is(err, why) || !errors.As(err, &r) || r.Path != path {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// A disk that was pulled out is told from one that is broken: by the error, or
// by what the kernel still has of it.
func TestGone(t *testing.T) {
	h := tree(t, map[string]string{"sys/dev/block/8:16/size": "100", "sys/dev/block/8:32/size": "0"})
	for _, c := range []struct {
		number string
		err    error
		want   bool
	}{
		{"8:16", syscall.EIO, false},
		{"8:16", syscall.ENOSPC, false},
		{"8:16", ErrDiffers, false},
		{"8:16", syscall.ENODEV, true},
		{"8:16", syscall.ENOMEDIUM, true},
		{"8:32", syscall.EIO, true}, // the reader's card
		{"8:48", syscall.EIO, true}, // the stick
		{"8:48", ErrDiffers, false},
	} {
		d := &Disk{numbers: []string{c.number}}
		if got := d.gone(h, fmt.Errorf("%w: %w", ErrWrite, c.err)); got != c.want {
			t.Errorf("%s, %v: %v, want %v", c.number, c.err, got, c.want)
		}
	}
}
