// Package fat reads files from the root folder of a FAT16 file system, and adds
// some to it: as much as an image's boot partition asks for. The format is that
// of Microsoft's "FAT: General Overview of On-Disk Format", version 1.03.
//
// It knows no other folders, no long names, no FAT12 and no FAT32. A name is
// that of the short form, "CMDLINE.TXT", in any case of letters.
package fat

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
)

// Errors of a file system.
var (
	ErrFormat = errors.New("fat: no FAT16 file system")
	ErrFull   = errors.New("fat: no room")
	ErrName   = errors.New("fat: want a name of 8 letters or digits, a dot and 3 more at most")
)

// A Disk holds a file system.
type Disk interface {
	io.ReaderAt
	io.WriterAt
}

// An FS is an open file system. One goroutine uses it.
type FS struct {
	disk Disk
	at   int64 // where it begins
	room int64 // bytes of its partition

	cluster  int64 // bytes
	tables   []int64
	table    []uint16 // entry → next; entries 0 and 1 stand for no cluster
	root     int64
	entries  int
	data     int64 // where cluster 2 begins
	clusters int   // cluster numbers are below clusters+2
	sectors  int64 // of the file system
}

const (
	sector  = 512
	entry   = 32
	last    = 0xffff // ends a file's chain
	minFAT  = 4085   // with fewer clusters it is FAT12 (page 14)
	maxFAT  = 65524
	deleted = 0xe5
)

// Open opens the file system in a partition of so many bytes.
func Open(disk Disk, at, room int64) (*FS, error) {
	var b [sector]byte
	if _, err := disk.ReadAt(b[:], at); err != nil {
		return nil, fmt.Errorf("fat: %w", err)
	}
	u16 := func(i int) int64 { return int64(binary.LittleEndian.Uint16(b[i:])) }
	f := &FS{disk: disk, at: at, room: room, cluster: int64(b[13]) * sector, entries: int(u16(17))}
	reserved, tables, tableSize := u16(14), int64(b[16]), u16(22)
	f.sectors = u16(19)
	if f.sectors == 0 {
		f.sectors = int64(binary.LittleEndian.Uint32(b[32:]))
	}
	if u16(11) != sector || b[13] == 0 || tables == 0 || tableSize == 0 || b[510] != 0x55 || b[511] != 0xaa || f.sectors*sector > room {
		return nil, ErrFormat
	}
	for i := range tables {
		f.tables = append(f.tables, at+(reserved+i*tableSize)*sector)
	}
	f.root = at + (reserved+tables*tableSize)*sector
	f.data = f.root + (int64(f.entries)*entry+sector-1)/sector*sector
	f.clusters = int((at + f.sectors*sector - f.data) / f.cluster)
	if f.clusters < minFAT || f.clusters > maxFAT || int64(f.clusters+2) > tableSize*sector/2 {
		return nil, fmt.Errorf("%w: %d clusters", ErrFormat, f.clusters)
	}
	raw := make([]byte, tableSize*sector)
	if _, err := disk.ReadAt(raw, f.tables[0]); err != nil {
		return nil, fmt.Errorf("fat: %w", err)
	}
	for i := 0; i < len(raw); i += 2 {
		f.table = append(f.table, binary.LittleEndian.Uint16(raw[i:]))
	}
	return f, nil
}

// short returns a name as a folder's entry holds it.
func short(name string) (n [11]byte, err error) {
	base, ext, _ := strings.Cut(strings.ToUpper(name), ".")
	if len(base) < 1 || len(base) > 8 || len(ext) > 3 || strings.Trim(base+ext, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") != "" {
		return n, fmt.Errorf("%w: %q", ErrName, name)
	}
	copy(n[:], fmt.Sprintf("%-8s%-3s", base, ext))
	return n, nil
}

// slot finds a name's entry in the root folder, and the first free one.
func (f *FS) slot(name [11]byte) (found, free int64, e []byte, err error) {
	b := make([]byte, f.entries*entry)
	if _, err := f.disk.ReadAt(b, f.root); err != nil {
		return 0, 0, nil, fmt.Errorf("fat: %w", err)
	}
	for i := 0; i < len(b); i += entry {
		e, at := b[i:i+entry], f.root+int64(i)
		if e[0] == 0 || e[0] == deleted {
			if free == 0 {
				free = at
			}
			if e[0] == 0 {
				break // and all behind it
			}
			continue
		}
		const longName, label, folder = 0x0f, 0x08, 0x10
		if e[11]&longName != longName && e[11]&(label|folder) == 0 && bytes.EqualFold(e[:11], name[:]) { // some writers keep small letters
			return at, free, e, nil
		}
	}
	return 0, free, nil, nil
}

// ReadFile returns a file's bytes. The error wraps fs.ErrNotExist when there is
// none of that name.
func (f *FS) ReadFile(name string) ([]byte, error) {
	n, err := short(name)
	if err != nil {
		return nil, err
	}
	_, _, e, err := f.slot(n)
	if err != nil {
		return nil, err
	}
	if e == nil {
		return nil, fmt.Errorf("fat: %s: %w", name, fs.ErrNotExist)
	}
	size := int64(binary.LittleEndian.Uint32(e[28:]))
	if size > f.room {
		return nil, fmt.Errorf("%w: %s of %d bytes", ErrFormat, name, size)
	}
	b := make([]byte, 0, size)
	for c := binary.LittleEndian.Uint16(e[26:]); int64(len(b)) < size; c = f.table[c] {
		if c < 2 || int(c) >= f.clusters+2 {
			return nil, fmt.Errorf("%w: %s ends early", ErrFormat, name)
		}
		part := make([]byte, min(f.cluster, size-int64(len(b))))
		if _, err := f.disk.ReadAt(part, f.data+int64(c-2)*f.cluster); err != nil {
			return nil, fmt.Errorf("fat: %s: %w", name, err)
		}
		b = append(b, part...)
	}
	return b, nil
}

// AddFile adds a file to the root folder. A file system without a free cluster
// grows into its partition as far as its table goes. The error wraps [ErrFull]
// when that is not enough, and fs.ErrExist when the name is taken.
func (f *FS) AddFile(name string, data []byte) error {
	n, err := short(name)
	if err != nil {
		return err
	}
	found, free, _, err := f.slot(n)
	switch {
	case err != nil:
		return err
	case found != 0:
		return fmt.Errorf("fat: %s: %w", name, fs.ErrExist)
	case free == 0:
		return fmt.Errorf("%w: the root folder is full", ErrFull)
	}
	need := (int64(len(data)) + f.cluster - 1) / f.cluster
	chain := f.free(need)
	if int64(len(chain)) < need {
		if err := f.grow(); err != nil {
			return err
		}
		chain = f.free(need)
	}
	if int64(len(chain)) < need {
		return fmt.Errorf("%w: %s wants %d clusters, %d are free", ErrFull, name, need, len(chain))
	}
	e := make([]byte, entry)
	copy(e, n[:])
	const lowerCase = 0x18 // show the name in small letters, as Windows and Linux do
	e[12] = lowerCase
	binary.LittleEndian.PutUint16(e[16:], 1<<5|1) // 1980-01-01, as an image has no date
	binary.LittleEndian.PutUint16(e[18:], 1<<5|1)
	binary.LittleEndian.PutUint16(e[24:], 1<<5|1)
	binary.LittleEndian.PutUint32(e[28:], uint32(len(data)))
	for i, c := range chain {
		part := make([]byte, f.cluster)
		copy(part, data[int64(i)*f.cluster:])
		if _, err := f.disk.WriteAt(part, f.data+int64(c-2)*f.cluster); err != nil {
			return fmt.Errorf("fat: %s: %w", name, err)
		}
		next := uint16(last)
		if i+1 < len(chain) {
			next = chain[i+1]
		}
		if err := f.link(c, next); err != nil {
			return err
		}
	}
	if len(chain) > 0 {
		binary.LittleEndian.PutUint16(e[26:], chain[0])
	}
	if _, err := f.disk.WriteAt(e, free); err != nil {
		return fmt.Errorf("fat: %s: %w", name, err)
	}
	return nil
}

// free returns the first free clusters, as many as there are.
func (f *FS) free(n int64) (chain []uint16) {
	for c := 2; c < f.clusters+2 && int64(len(chain)) < n; c++ {
		if f.table[c] == 0 {
			chain = append(chain, uint16(c))
		}
	}
	return chain
}

func (f *FS) link(c, next uint16) error {
	f.table[c] = next
	for _, t := range f.tables {
		if _, err := f.disk.WriteAt(binary.LittleEndian.AppendUint16(nil, next), t+2*int64(c)); err != nil {
			return fmt.Errorf("fat: %w", err)
		}
	}
	return nil
}

// grow lets the file system reach as far as its table and its partition go.
func (f *FS) grow() error {
	most := min(len(f.table)-2, maxFAT, int((f.at+f.room-f.data)/f.cluster))
	if most <= f.clusters {
		return nil
	}
	sectors := (f.data - f.at + int64(most)*f.cluster) / sector
	field := make([]byte, 2)
	if _, err := f.disk.WriteAt(field, f.at+19); err != nil {
		return fmt.Errorf("fat: %w", err)
	}
	if _, err := f.disk.WriteAt(binary.LittleEndian.AppendUint32(nil, uint32(sectors)), f.at+32); err != nil {
		return fmt.Errorf("fat: %w", err)
	}
	f.clusters, f.sectors = most, sectors
	return nil
}

// Erase overwrites a file's bytes with zeros, and then removes it; flush makes
// what was written durable, and is called in between. After a power cut the file
// is whole, or has zeros in it, or is gone. The error wraps fs.ErrNotExist when
// there is none of that name.
func (f *FS) Erase(name string, flush func() error) error {
	n, err := short(name)
	if err != nil {
		return err
	}
	at, _, e, err := f.slot(n)
	if err != nil {
		return err
	}
	if e == nil {
		return fmt.Errorf("fat: %s: %w", name, fs.ErrNotExist)
	}
	var chain []uint16
	for c := binary.LittleEndian.Uint16(e[26:]); c >= 2 && int(c) < f.clusters+2 && len(chain) < f.clusters; c = f.table[c] {
		chain = append(chain, c)
	}
	zeros := make([]byte, f.cluster)
	for _, c := range chain {
		if _, err := f.disk.WriteAt(zeros, f.data+int64(c-2)*f.cluster); err != nil {
			return fmt.Errorf("fat: %s: %w", name, err)
		}
	}
	if err := flush(); err != nil {
		return fmt.Errorf("fat: %s: %w", name, err)
	}
	gone := make([]byte, entry)
	gone[0] = deleted
	if _, err := f.disk.WriteAt(gone, at); err != nil {
		return fmt.Errorf("fat: %s: %w", name, err)
	}
	if err := flush(); err != nil { // clusters that are taken by no file do no harm
		return fmt.Errorf("fat: %s: %w", name, err)
	}
	for _, c := range chain {
		if err := f.link(c, 0); err != nil {
			return err
		}
	}
	if err := flush(); err != nil {
		return fmt.Errorf("fat: %s: %w", name, err)
	}
	return nil
}
