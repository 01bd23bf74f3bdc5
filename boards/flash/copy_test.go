package flash_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"

	"github.com/fengsui/fengsui/boards/flash"
)

// A disk in memory, with faults.
type disk struct {
	data     []byte
	synced   bool
	dropped  bool
	writeErr map[int64]error // by offset
	short    int64           // the write at this offset takes half and says so to nobody
	rot      int64           // this byte reads wrong
	readErr  error
	syncErr  error
	block    int
}

func (d *disk) WriteAt(b []byte, off int64) (int, error) {
	if len(b)%d.block != 0 || off%int64(d.block) != 0 {
		return 0, syscall.EINVAL
	}
	if err := d.writeErr[off]; err != nil {
		return 0, err
	}
	if off+int64(len(b)) > int64(len(d.data)) {
		return 0, syscall.ENOSPC
	}
	d.synced = false
	n := copy(d.data[off:], b)
	if d.short == off && off > 0 {
		return n / 2, nil
	}
	return n, nil
}

func (d *disk) ReadAt(b []byte, off int64) (int, error) {
	if !d.synced || !d.dropped {
		return 0, errors.New("read from the cache")
	}
	if d.readErr != nil {
		return 0, d.readErr
	}
	n := copy(b, d.data[off:])
	if i := d.rot - off; d.rot > 0 && i >= 0 && i < int64(n) {
		b[i] ^= 0x10
	}
	return n, nil
}

func (d *disk) Sync() error { d.synced = true; return d.syncErr }
func (d *disk) Drop() error { d.dropped = true; return nil }

func image(size int) []byte {
	b := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(b)
	b[510], b[511] = 0x55, 0xaa
	return b
}

const size = 9<<20 + 512 // neither whole chunks nor whole blocks of 4 KiB

func TestCopy(t *testing.T) {
	for _, block := range []int{512, 4096} {
		img := image(size)
		d := &disk{data: bytes.Repeat([]byte{0xee}, 10<<20), block: block}
		var told []int64
		stages := make(map[flash.Stage]int64)
		err := flash.Copy(t.Context(), d, bytes.NewReader(img), size, flash.Buffer(), block, func(s flash.Stage, done, total int64) {
			if total != size || done <= stages[s] {
				t.Errorf("stage %d: %d of %d after %d", s, done, total, stages[s])
			}
			stages[s] = done
			told = append(told, done)
		})
		if err != nil || !bytes.Equal(d.data[:size], img) {
			t.Fatalf("block %d: %v", block, err)
		}
		if stages[flash.Writing] != size || stages[flash.Comparing] != size || len(told) != 6 {
			t.Errorf("told %v", told)
		}
		if block == 4096 && !bytes.Equal(d.data[size:size+3584], make([]byte, 3584)) || d.data[size+4096] != 0xee {
			t.Error("the rest of the last block is not zeros, or more was written")
		}
	}
}

func TestFaults(t *testing.T) {
	for name, c := range map[string]struct {
		d    disk
		want error
		text string
	}{
		"refused write":        {disk{writeErr: map[int64]error{4 << 20: syscall.EIO}}, flash.ErrWrite, "writing failed at byte 4194304 of 9437696: input/output error"},
		"short write":          {disk{short: 4 << 20}, flash.ErrWrite, "writing failed at byte 6291456 of 9437696: short write"},
		"no sync":              {disk{syncErr: syscall.EIO}, flash.ErrWrite, "writing failed at the end: input/output error"},
		"bad read":             {disk{readErr: syscall.EIO}, flash.ErrRead, "reading back failed at byte 0 of 9437696: input/output error"},
		"other bytes":          {disk{rot: 5<<20 + 7}, flash.ErrDiffers, "the disk does not hold what was written: byte 5242887 is "},
		"smaller than it says": {disk{data: make([]byte, 5<<20)}, flash.ErrWrite, "no space left on device"},
	} {
		d := c.d
		if d.data == nil {
			d.data = make([]byte, 10<<20)
		}
		d.block = 512
		err := flash.Copy(t.Context(), &d, bytes.NewReader(image(size)), size, flash.Buffer(), 512, func(flash.Stage, int64, int64) {})
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: got %v, want %s", name, err, c.text)
		}
	}
}

// An image that grows shorter under the work is told as such.
func TestImageCutShort(t *testing.T) {
	d := &disk{data: make([]byte, 10<<20), block: 512}
	err := flash.Copy(t.Context(), d, bytes.NewReader(image(size-512)), size, flash.Buffer(), 512, func(flash.Stage, int64, int64) {})
	if !errors.Is(err, io.EOF) || !strings.HasPrefix(err.Error(), "image at byte 8388608") {
		t.Errorf("got %v", err)
	}
}

func TestCancel(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	d := &disk{data: make([]byte, 10<<20), block: 512}
	err := flash.Copy(ctx, d, bytes.NewReader(image(size)), size, flash.Buffer(), 512, func(flash.Stage, int64, int64) { cancel() })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestCheckImage(t *testing.T) {
	good := image(1 << 20)
	if err := flash.CheckImage(bytes.NewReader(good), int64(len(good))); err != nil {
		t.Error(err)
	}
	zip := append([]byte("PK\x03\x04"), make([]byte, 1<<20-4)...)
	for _, c := range []struct {
		data []byte
		want string
	}{
		{zip, "not a disk image: its first sector ends in 00 00: want 55 aa; a packed image must be unpacked first"},
		{good[:1<<20-512], "not a disk image: it has 1048064 bytes: want 1 MiB at least, and whole sectors of 512 bytes"},
		{append(good, 0), "not a disk image: it has 1048577 bytes"},
		{nil, "not a disk image: it has 0 bytes"},
	} {
		err := flash.CheckImage(bytes.NewReader(c.data), int64(len(c.data)))
		if !errors.Is(err, flash.ErrImage) || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("got %v, want %s", err, c.want)
		}
	}
}
