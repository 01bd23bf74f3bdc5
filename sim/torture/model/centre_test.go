package model

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"pgregory.net/rapid"

	"github.com/fengsui/fengsui/cloud-bridge/store"
)

// perCentre is how many histories share a database: it is copied whole when the
// centre dies.
const perCentre = 200

// A centre is the store, with a database that outlives it.
type centre struct {
	dir    string
	files  int
	deaths int
	store  *store.Store
}

func (c *centre) file() string { return filepath.Join(c.dir, "centre-"+strconv.Itoa(c.files)) }

func (c *centre) shut() {
	if c.store != nil {
		_ = c.store.Shut()
		c.store = nil
	}
}

// begin begins another database.
func (c *centre) begin(t *rapid.T) {
	c.shut()
	c.remove()
	c.files++
	c.open(t)
}

func (c *centre) open(t *rapid.T) {
	var err error
	if c.store, err = store.Open(t.Context(), c.file(), nil); err != nil {
		t.Fatalf("open the centre: %v", err)
	}
}

func (c *centre) remove() {
	for _, part := range []string{"", "-wal", "-shm"} {
		_ = os.Remove(c.file() + part)
	}
}

// die opens the files as they are now, the log not yet moved into the database.
func (c *centre) die(t *rapid.T) {
	c.deaths++
	old := *c
	c.files++
	for _, part := range []string{"-wal", ""} { // in this order a copy is never older than its log
		copyFile(t, old.file()+part, c.file()+part)
	}
	old.shut() // what it still writes is in other files
	old.remove()
	c.open(t)
}

// copyFile copies a file that may be absent.
func copyFile(t *rapid.T, from, to string) {
	in, err := os.Open(from)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	if _, err := io.Copy(out, in); err != nil {
		t.Fatal(err)
	}
}
