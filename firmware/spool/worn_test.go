package spool

import (
	"bytes"
	"errors"
	"io"
	"testing"
)

var errSector = errors.New("a bad sector")

// worn cannot read some pages.
type worn struct {
	b   []byte
	bad map[int64]bool // by page
}

func (w *worn) ReadAt(p []byte, at int64) (n int, err error) {
	for n < len(p) && at+int64(n) < int64(len(w.b)) {
		page := (at + int64(n)) / pageSize
		if w.bad[page] {
			return n, errSector
		}
		n += copy(p[n:], w.b[at+int64(n):min(int64(len(w.b)), (page+1)*pageSize)])
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func TestWornFileIsReadAroundItsBadPages(t *testing.T) {
	whole := bytes.Repeat([]byte("fengsui "), 3*(1<<20)/8)
	whole = append(whole, "its end"...)
	last := int64(len(whole)-1) / pageSize
	for name, bad := range map[string][]int64{
		"none": nil, "the first": {0}, "some": {1, 5, 6, 300}, "the last": {last},
	} {
		t.Run(name, func(t *testing.T) {
			w, want := &worn{whole, make(map[int64]bool)}, bytes.Clone(whole)
			for _, p := range bad {
				w.bad[p] = true
				clear(want[p*pageSize : min((p+1)*pageSize, int64(len(want)))])
			}
			r := &wornFile{f: w}
			got, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			if got = got[:min(len(got), len(want))]; !bytes.Equal(got, want) { // a last page may seem longer
				t.Errorf("%d bytes: want %d, zeros in the bad pages and nothing else changed", len(got), len(want))
			}
			if !r.read || (r.unread != nil) != (bad != nil) {
				t.Errorf("read %v, unread %v with bad pages %v", r.read, r.unread, bad)
			}
		})
	}
	t.Run("all", func(t *testing.T) {
		w := &worn{whole, make(map[int64]bool)}
		for p := range last + 1 {
			w.bad[p] = true
		}
		if _, err := io.ReadAll(&wornFile{f: w}); !errors.Is(err, errSector) {
			t.Errorf("error %v: want the disk's", err)
		}
	})
}
