package flash

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
)

// member refuses a disk that belongs to a volume group or a RAID which is not
// running just now: to the disk's owner it is no empty disk.
func (d *Disk) member(dir string) error {
	f, err := os.Open(d.Path)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return d.refuse(ErrRights, "")
	case err != nil:
		return nil // no medium: told by its size
	}
	defer f.Close()
	if what := memberOf(f, 0, d.Size); what != "" {
		return d.refuse(ErrMember, what)
	}
	for _, p := range d.parts {
		start, err1 := strconv.ParseInt(attr(filepath.Join(dir, p), "start"), 10, 64)
		size, err2 := strconv.ParseInt(attr(filepath.Join(dir, p), "size"), 10, 64)
		if err1 != nil || err2 != nil {
			continue
		}
		if what := memberOf(f, start*sector, size*sector); what != "" {
			return d.refuse(ErrMember, p+", "+what)
		}
	}
	return nil
}

// memberOf looks for the marks of LVM2 (a label in one of the first four
// sectors: lvm2, lib/label/label.h) and of Linux's RAID (Linux,
// include/uapi/linux/raid/md_p.h: 0xa92b4efc, at the end for versions 0.90 and
// 1.0, at the beginning for 1.1, at 4 KiB for 1.2).
func memberOf(f *os.File, at, size int64) string {
	var b [8]byte
	for i := range int64(4) {
		if _, err := f.ReadAt(b[:], at+i*sector); err == nil && string(b[:]) == "LABELONE" {
			return "LVM"
		}
	}
	last090 := (size &^ (64<<10 - 1)) - 64<<10
	last10 := (size - 8<<10) &^ (4<<10 - 1)
	for _, off := range []int64{0, 4096, last090, last10} {
		if off < 0 {
			continue
		}
		if _, err := f.ReadAt(b[:4], at+off); err == nil && (binary.LittleEndian.Uint32(b[:]) == mdMagic || binary.BigEndian.Uint32(b[:]) == mdMagic) {
			return "RAID"
		}
	}
	return ""
}

const mdMagic = 0xa92b4efc
