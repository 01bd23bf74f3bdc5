package flash_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fengsui/fengsui/boards/flash"
)

// loop makes a loop device of a new file of a size, and returns both; it is
// skipped aloud where that cannot be.
func loop(t *testing.T, size int64) (device, file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "backing")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Truncate(size), f.Close()); err != nil {
		t.Fatal(err)
	}
	return attach(t, file), file
}

func attach(t *testing.T, file string) string {
	t.Helper()
	absent := func(why string) {
		if os.Getenv("CI") == "true" {
			t.Fatal(why)
		}
		t.Skip(why)
	}
	if os.Getuid() != 0 {
		absent("loop devices want root")
	}
	losetup, err := exec.LookPath("losetup")
	if err != nil {
		absent("missing: losetup (package mount)")
	}
	out, err := exec.Command(losetup, "--find", "--show", file).CombinedOutput()
	if err != nil {
		absent("no loop device here: " + string(out))
	}
	device := strings.TrimSpace(string(out))
	t.Cleanup(func() {
		if out, err := exec.Command(losetup, "--detach", device).CombinedOutput(); err != nil {
			t.Errorf("losetup: %v: %s", err, out)
		}
	})
	return device
}

// A real loop device takes an image, and holds it; only the image's own sectors
// are touched.
func TestLoopDevice(t *testing.T) {
	device, backing := loop(t, 12<<20)
	name := filepath.Join(t.TempDir(), "x.img")
	img := image(size)
	if err := os.WriteFile(name, img, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	d, err := flash.Linux.Inspect(device, st)
	if err != nil || d.Kind != "loop" || d.Size != 12<<20 {
		t.Fatalf("%+v, %v", d, err)
	}
	var last int64
	if err := flash.Write(t.Context(), d, f, func(s flash.Stage, done, _ int64) { last = done + int64(s) }); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(backing)
	if err != nil || !bytes.Equal(got[:size], img) || !bytes.Equal(got[size+3584:], make([]byte, len(got)-size-3584)) {
		t.Errorf("%v: the disk does not hold the image and zeros", err)
	}
	if last != size+int64(flash.Comparing) {
		t.Errorf("the last progress is %d", last)
	}
	big := filepath.Join(t.TempDir(), "big")
	if err := os.WriteFile(big, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(big, 12<<20+512); err != nil {
		t.Fatal(err)
	}
	st, err = os.Stat(big)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := flash.Linux.Inspect(device, st); !errors.Is(err, flash.ErrTooSmall) {
		t.Errorf("a bigger image: %v", err)
	}
	st, err = os.Stat(backing)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := flash.Linux.Inspect(device, st); !errors.Is(err, flash.ErrSelf) {
		t.Errorf("onto its own file: %v", err)
	}
}

// A loop device that is mounted is refused; so is one that becomes mounted after
// it was looked at, by the kernel.
func TestMountedLoopDevice(t *testing.T) {
	device, _ := loop(t, 16<<20)
	small := filepath.Join(t.TempDir(), "x.img")
	if err := os.WriteFile(small, image(1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(small)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	before, err := flash.Linux.Inspect(device, st)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range [][]string{{"mkfs.ext4", "-q", device}, {"mount", device, t.TempDir()}} {
		cmd := exec.Command(c[0], c[1:]...)
		if cmd.Err != nil {
			cmd = exec.Command("/usr/sbin/"+c[0], c[1:]...)
		}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v: %s", c, err, out)
		}
	}
	t.Cleanup(func() { _ = exec.Command("umount", device).Run() })
	var r *flash.Refusal
	if _, err := flash.Linux.Inspect(device, st); !errors.Is(err, flash.ErrMounted) || !errors.As(err, &r) || r.Detail == "" {
		t.Errorf("mounted: %v", err)
	}
	if err := flash.Write(t.Context(), before, f, func(flash.Stage, int64, int64) { t.Error("it writes") }); !errors.Is(err, flash.ErrUse) {
		t.Errorf("mounted meanwhile: %v", err)
	}
}
