package fat_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fengsui/fengsui/boards/image/fat"
)

const room = 12 << 20

// tool returns the path of one of dosfstools, or skips the test, aloud.
func tool(t testing.TB, name string) string {
	t.Helper()
	for _, p := range []string{"/usr/sbin/" + name, "/sbin/" + name} {
		if _, err := os.Stat(p); err == nil {
			return p
		}
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is missing (Debian: dosfstools)", name)
	}
	t.Skipf("not run: %s is missing (Debian: dosfstools)", name)
	return ""
}

// made makes a file system by another program than ours.
func made(t testing.TB) *os.File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "disk")
	if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Truncate(path, room)); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(tool(t, "mkfs.vfat"), "-F", "16", "-s", "4", path).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func TestFilesAreAddedReadAndErased(t *testing.T) {
	disk := made(t)
	f, err := fat.Open(disk, 0, room)
	if err != nil {
		t.Fatal(err)
	}
	long := bytes.Repeat([]byte("0123456789"), 1000)
	for name, b := range map[string][]byte{"a.txt": []byte("a"), "empty": {}, "long.bin": long} {
		if err := f.AddFile(name, b); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.AddFile("A.TXT", nil); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a name that is taken: %v", err)
	}
	for _, bad := range []string{"", ".txt", "nine-long.txt", "a.long", "a b", "ä", "a/b"} {
		if err := f.AddFile(bad, nil); !errors.Is(err, fat.ErrName) {
			t.Errorf("name %q: %v, want ErrName", bad, err)
		}
	}
	if err := f.AddFile("huge", make([]byte, room)); !errors.Is(err, fat.ErrFull) {
		t.Errorf("a file without room: %v, want ErrFull", err)
	}
	if err := f.Erase("none", func() error { return nil }); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("erasing nothing: %v", err)
	}
	flushed := 0
	if err := f.Erase("long.bin", func() error { flushed++; return nil }); err != nil || flushed == 0 {
		t.Errorf("%v after %d flushes", err, flushed)
	}
	if out, err := exec.Command(tool(t, "fsck.vfat"), "-n", disk.Name()).CombinedOutput(); err != nil {
		t.Errorf("fsck: %v: %s", err, out)
	}
	f, err = fat.Open(disk, 0, room) // as another start finds it
	if err != nil {
		t.Fatal(err)
	}
	if b, err := f.ReadFile("A.txt"); err != nil || string(b) != "a" {
		t.Errorf("a.txt: %q %v", b, err)
	}
	if b, err := f.ReadFile("empty"); err != nil || len(b) != 0 {
		t.Errorf("empty: %q %v", b, err)
	}
	if _, err := f.ReadFile("long.bin"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an erased file: %v", err)
	}
	raw, err := os.ReadFile(disk.Name())
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(raw, []byte("0123456789")) || bytes.Contains(raw, []byte("LONG")) {
		t.Error("something of an erased file is left")
	}
}

type memory []byte

func (m memory) ReadAt(b []byte, at int64) (int, error) { return bytes.NewReader(m).ReadAt(b, at) }

func (m memory) WriteAt(b []byte, at int64) (int, error) {
	if at < 0 || at > int64(len(m)) {
		return 0, fs.ErrInvalid
	}
	return copy(m[at:], b), nil
}

// A partition may hold anything: none of it makes the reader panic, hang, or read
// without end.
func FuzzOpen(f *testing.F) {
	good, err := os.ReadFile(made(f).Name())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good[:512], []byte{0xf8, 0xff, 0xff, 0xff, 0xff, 0xff}, []byte("FENGSUI YML"+strings.Repeat("\x00", 15)+"\x02\x00\x10\x00\x00\x00"))
	f.Add(good[:512], []byte{0xf8, 0xff, 0xff, 0xff, 0x02, 0x00}, []byte("FENGSUI YML"+strings.Repeat("\x00", 15)+"\x02\x00\xff\xff\xff\x00"))
	f.Fuzz(func(t *testing.T, boot, table, root []byte) {
		disk := make(memory, 8<<20)
		copy(disk, good[:len(disk)])
		copy(disk, boot[:min(len(boot), 512)])
		reserved := int(disk[14]) | int(disk[15])<<8
		size := int(disk[22]) | int(disk[23])<<8
		if at := reserved * 512; at < len(disk) {
			copy(disk[at:], table)
		}
		if at := (reserved + int(disk[16])*size) * 512; at < len(disk) {
			copy(disk[at:], root)
		}
		v, err := fat.Open(disk, 0, int64(len(disk)))
		if err != nil {
			return
		}
		if b, err := v.ReadFile("fengsui.yml"); err == nil && len(b) > len(disk) {
			t.Errorf("%d bytes of a partition of %d", len(b), len(disk))
		}
		_ = v.AddFile("new.txt", []byte("new"))
		_ = v.Erase("fengsui.yml", func() error { return nil })
	})
}
