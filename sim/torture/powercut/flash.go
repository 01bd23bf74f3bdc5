//go:build linux

package powercut

import (
	"bytes"
	"maps"
	"math/rand/v2"
)

// sector is what a disk writes as one: torn writes tear between sectors.
const sector = 512

// A file is a file's content as programs see it and as a power cut leaves it.
type file struct {
	mode    uint32
	now     []byte
	disk    []byte   // what was synced
	pending []change // since then, in their order
}

// A change is a write, or with no data a change of the size.
type change struct {
	at   int64
	data []byte
}

func (c change) applyTo(b []byte) []byte {
	if c.data == nil {
		if n := int64(len(b)); n >= c.at {
			return b[:c.at:c.at]
		}
		return append(b, make([]byte, c.at-int64(len(b)))...)
	}
	if end := c.at + int64(len(c.data)); end > int64(len(b)) {
		b = append(b, make([]byte, end-int64(len(b)))...)
	}
	copy(b[c.at:], c.data)
	return b
}

func (f *file) change(c change) {
	f.now = c.applyTo(f.now)
	f.pending = append(f.pending, c)
}

func (f *file) sync() {
	for _, c := range f.pending {
		f.disk = c.applyTo(f.disk)
	}
	f.pending = nil
}

// tear is the power cut: of what was not synced, some gets to the disk. For
// page see [FlashOptions].
func (f *file) tear(rng *rand.Rand, page int64, tally *Tally) {
	tally.Files++
	if len(f.pending) > 0 {
		tally.Unsynced++
	}
	before := bytes.Clone(f.disk)
	var done []change
	switch rng.IntN(4) {
	case 0: // nothing got there
	case 1: // what came first, up to somewhere
		done = f.pending[:rng.IntN(len(f.pending)+1)]
	case 2: // some writes, in any order
		for _, i := range rng.Perm(len(f.pending))[:rng.IntN(len(f.pending)+1)] {
			done = append(done, f.pending[i])
		}
	case 3: // some sectors, in any order
		for _, c := range f.pending {
			if c.data == nil {
				done = append(done, c)
				continue
			}
			for from := int64(0); from < int64(len(c.data)); from += sector {
				to := min(from+sector, int64(len(c.data)))
				done = append(done, change{c.at + from, c.data[from:to]})
			}
		}
		rng.Shuffle(len(done), func(i, k int) { done[i], done[k] = done[k], done[i] })
		done = done[:rng.IntN(len(done)+1)]
	}
	for _, c := range done {
		f.disk = c.applyTo(f.disk)
	}
	// The write that was under way tears between two sectors, and may leave
	// anything in the page where it stopped.
	if i := rng.IntN(len(f.pending) + 1); i < len(f.pending) && len(f.pending[i].data) > 0 {
		c := f.pending[i]
		at := rng.Int64N((int64(len(c.data))+sector-1)/sector) * sector
		f.disk = change{c.at, c.data[:at:at]}.applyTo(f.disk)
		if page > 0 && rng.IntN(2) == 0 {
			from := (c.at + at) / page * page
			garbage := make([]byte, max(0, min(page, int64(len(f.disk))-from)))
			for k := range garbage {
				garbage[k] = byte(rng.Uint32())
			}
			if len(garbage) > 0 {
				f.disk = change{from, garbage}.applyTo(f.disk)
				tally.Garbage++
			}
		}
	}
	if !bytes.Equal(f.disk, before) && !bytes.Equal(f.disk, f.now) {
		tally.Torn++
	}
	f.now, f.pending = bytes.Clone(f.disk), nil
}

// A naming is a change of a folder: a name goes, another comes, or both.
type naming struct {
	gone, name string
	file       *file
}

func (n naming) applyTo(names map[string]*file) {
	if n.gone != "" {
		delete(names, n.gone)
	}
	if n.name != "" {
		names[n.name] = n.file
	}
}

// A folder is what the names in it stand for, likewise.
type folder struct {
	now, disk map[string]*file
	pending   []naming
}

func (d *folder) change(n naming) {
	n.applyTo(d.now)
	d.pending = append(d.pending, n)
}

func (d *folder) sync() {
	d.disk = maps.Clone(d.now)
	d.pending = nil
}

// tear keeps the names up to some change: file systems journal them in order.
func (d *folder) tear(rng *rand.Rand) {
	for _, n := range d.pending[:rng.IntN(len(d.pending)+1)] {
		n.applyTo(d.disk)
	}
	d.now, d.pending = maps.Clone(d.disk), nil
}

// A Tally counts what cuts did.
type Tally struct {
	Files    int // there at a cut
	Unsynced int // of them, had writes that were not synced
	Torn     int // of those, got some but not all of that
	Garbage  int // of those, got a page of garbage
}
