package flash_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

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

func attach(t *testing.T, file string, how ...string) string {
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
	out, err := exec.Command(losetup, append(how, "--find", "--show", file)...).CombinedOutput()
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

// imageFile makes an image's file of a size and opens it.
func imageFile(t *testing.T, size int) (*os.File, os.FileInfo) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "x.img")
	if err := os.WriteFile(name, image(size), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	st, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	return f, st
}

// A real loop device takes an image, and holds it; only the image's own sectors
// are touched.
func TestLoopDevice(t *testing.T) {
	device, backing := loop(t, 12<<20)
	img := image(size)
	f, st := imageFile(t, size)
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
	f, st := imageFile(t, 1<<20)
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

// A part of a real disk and a write-protected one are refused, and nothing is
// written.
func TestRefusedLoopDevices(t *testing.T) {
	file := filepath.Join(t.TempDir(), "backing")
	disk := make([]byte, 8<<20)
	copy(disk[446:], []byte{0, 0, 0, 0, 0x83, 0, 0, 0, 0, 8, 0, 0, 0, 8, 0, 0}) // sectors 2048 to 4095
	disk[510], disk[511] = 0x55, 0xaa
	if err := os.WriteFile(file, disk, 0o600); err != nil {
		t.Fatal(err)
	}
	device := attach(t, file)
	if out, err := exec.Command("partx", "--add", device).CombinedOutput(); err != nil { // a kernel may read no partition tables itself
		t.Fatalf("partx: %v: %s", err, out)
	}
	defer func() { _ = exec.Command("partx", "--delete", device).Run() }()
	number, err := os.ReadFile("/sys/block/" + filepath.Base(device) + "/" + filepath.Base(device) + "p1/dev")
	if err != nil {
		t.Fatal(err)
	}
	var major, minor uint32
	if _, err := fmt.Sscanf(string(number), "%d:%d", &major, &minor); err != nil {
		t.Fatal(err)
	}
	part := filepath.Join(t.TempDir(), "part") // there may be no udev that makes one
	if err := unix.Mknod(part, unix.S_IFBLK|0o600, int(unix.Mkdev(major, minor))); err != nil {
		t.Fatal(err)
	}
	locked := attach(t, file, "--read-only")
	_, st := imageFile(t, 1<<20)
	for path, want := range map[string]error{part: flash.ErrPartition, locked: flash.ErrReadOnly} {
		if d, err := flash.Linux.Inspect(path, st); !errors.Is(err, want) {
			t.Errorf("%s: %+v, %v: want %v", path, d, err, want)
		}
	}
	if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, disk) {
		t.Error("a disk that is refused is written")
	}
	// A disk of which a part is mounted is refused whole.
	at := t.TempDir()
	mkfs, err := exec.LookPath("mkfs.ext4")
	if err != nil {
		mkfs = "/usr/sbin/mkfs.ext4"
	}
	for _, c := range [][]string{{mkfs, "-q", part}, {"mount", part, at}} {
		if out, err := exec.Command(c[0], c[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v: %s", c, err, out)
		}
	}
	defer func() { _ = exec.Command("umount", at).Run() }()
	var r *flash.Refusal
	if _, err := flash.Linux.Inspect(device, st); !errors.Is(err, flash.ErrMounted) || !errors.As(err, &r) || r.Detail != at {
		t.Errorf("a part is mounted: %v", err)
	}
}

// A real disk that is gone half-way: what lies under it takes no more.
func TestDiskGoneHalfWay(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=5m"); err != nil {
		t.Skipf("no file system can be mounted here, a disk that goes half-way is not tested: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	file := filepath.Join(dir, "backing")
	if err := errors.Join(os.WriteFile(file, nil, 0o600), os.Truncate(file, 12<<20)); err != nil {
		t.Fatal(err)
	}
	device := attach(t, file)
	f, st := imageFile(t, size)
	d, err := flash.Linux.Inspect(device, st)
	if err != nil {
		t.Fatal(err)
	}
	compared := false
	err = flash.Write(t.Context(), d, f, func(s flash.Stage, _, _ int64) { compared = compared || s == flash.Comparing })
	if !errors.Is(err, flash.ErrWrite) || compared || !strings.Contains(err.Error(), "of 9437696: ") {
		t.Errorf("compared %v: %v: want where writing failed", compared, err)
	}
}

// The disk of this machine's own system is refused, as far as it has one.
func TestOwnDisk(t *testing.T) {
	var root unix.Stat_t
	if err := unix.Stat("/", &root); err != nil {
		t.Fatal(err)
	}
	dir, err := filepath.EvalSymlinks(fmt.Sprintf("/sys/dev/block/%d:%d", unix.Major(root.Dev), unix.Minor(root.Dev)))
	if err != nil {
		t.Skip("the system is on no disk here")
	}
	if _, err := os.Stat(filepath.Join(dir, "partition")); err == nil {
		dir = filepath.Dir(dir)
	}
	device := "/dev/" + filepath.Base(dir)
	st, err := os.Stat("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(device); err != nil {
		t.Skip(err)
	}
	// It is looked at, and never written.
	var r *flash.Refusal
	if _, err := flash.Linux.Inspect(device, st); !errors.Is(err, flash.ErrSystem) || !errors.As(err, &r) || r.Detail == "" {
		t.Errorf("%s: %v", device, err)
	}
}
