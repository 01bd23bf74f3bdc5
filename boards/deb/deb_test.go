package deb_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fengsui/fengsui/boards"
	"github.com/fengsui/fengsui/boards/deb"
)

// program writes the header of a program for an architecture: what the package
// looks at.
func program(t *testing.T, arch string) string {
	t.Helper()
	var b bytes.Buffer
	class, machine := byte(2), uint16(62)
	switch arch {
	case "arm":
		class, machine = 1, 40
	case "arm64":
		machine = 183
	}
	b.Write([]byte{0x7f, 'E', 'L', 'F', class, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	le := func(v any) { _ = binary.Write(&b, binary.LittleEndian, v) }
	le(uint16(2)) // an executable
	le(machine)
	le(uint32(1))
	if class == 1 {
		le([3]uint32{})
		le(uint32(0))
		le([6]uint16{52, 32, 0, 40, 0, 0})
	} else {
		le([3]uint64{})
		le(uint32(0))
		le([6]uint16{64, 56, 0, 64, 0, 0})
	}
	path := filepath.Join(t.TempDir(), "fengsui")
	if err := os.WriteFile(path, b.Bytes(), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func tool(t *testing.T, name, pkg string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("missing: %s (package %s)", name, pkg)
		}
		t.Skipf("missing: %s (package %s)", name, pkg)
	}
	return path
}

func build(t *testing.T, name, firmware string, config []byte) string {
	t.Helper()
	b, err := boards.Load(name)
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "x.deb")
	o := deb.Options{Name: name, Board: b, Firmware: firmware, Version: "0.2.0", Config: config, Example: []byte("# example\n"), Made: time.Unix(1_700_000_000, 0)}
	if err := deb.Build(t.Context(), o, out); err != nil {
		t.Fatal(err)
	}
	return out
}

// A package for every board that takes one; Debian's own tool is the judge.
func TestEveryBoardsPackage(t *testing.T) {
	dpkg := tool(t, "dpkg-deb", "dpkg")
	for _, name := range boards.Names() {
		b, err := boards.Load(name)
		if err != nil {
			t.Fatal(err)
		}
		if b.Boot.Package == nil {
			err := deb.Build(t.Context(), deb.Options{Name: name, Board: b, Version: "1"}, "x")
			if !errors.Is(err, deb.ErrBoard) {
				t.Errorf("%s: %v", name, err)
			}
			if b.Support == boards.Built {
				t.Errorf("%s says that it is built", name)
			}
			continue
		}
		out := build(t, name, program(t, b.Arch), nil)
		fields, err := exec.Command(dpkg, "-f", out, "Package", "Version", "Architecture", "Depends").Output()
		want := "Package: fengsui\nVersion: 0.2.0\nArchitecture: " + b.Boot.Package.Deb + "\nDepends: systemd\n"
		if err != nil || string(fields) != want {
			t.Errorf("%s: %v: %s", name, err, fields)
		}
		list, err := exec.Command(dpkg, "-c", out).Output()
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range []string{
			"-rwxr-xr-x root/root ", " ./usr/bin/fengsui\n", " ./etc/fengsui/config.yaml\n", "-rw-r----- root/root ",
			" ./usr/lib/systemd/system/fengsui.service\n", " ./usr/lib/sysusers.d/fengsui.conf\n",
			" ./usr/lib/udev/rules.d/60-fengsui.rules\n", " ./usr/share/doc/fengsui/example.yaml\n",
		} {
			if !strings.Contains(string(list), row) {
				t.Errorf("%s: no %q in\n%s", name, row, list)
			}
		}
		if has := strings.Contains(string(list), "system.conf.d"); has != (b.Watchdog != nil) {
			t.Errorf("%s: the watchdog is there: %v", name, has)
		}
		dir := t.TempDir()
		if out, err := exec.Command(dpkg, "-R", out, dir).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		conffiles, _ := os.ReadFile(filepath.Join(dir, "DEBIAN/conffiles"))
		if string(conffiles) != "/etc/fengsui/config.yaml\n" {
			t.Errorf("%s: conffiles %q", name, conffiles)
		}
		config, _ := os.ReadFile(filepath.Join(dir, "etc/fengsui/config.yaml"))
		if !strings.Contains(string(config), "\nboard: "+name+"\n") || strings.Contains(string(config), "%!") {
			t.Errorf("%s: %s", name, config)
		}
	}
}

// The same input makes the same package.
func TestReproducible(t *testing.T) {
	fw := program(t, "arm")
	a, err := os.ReadFile(build(t, "beaglebone-black", fw, nil))
	if err != nil {
		t.Fatal(err)
	}
	for range 50 { // what has no order comes out alike now and then
		b, err := os.ReadFile(build(t, "beaglebone-black", fw, nil))
		if err != nil || !bytes.Equal(a, b) {
			t.Fatalf("%v: %d and %d bytes differ", err, len(a), len(b))
		}
	}
}

func TestRefusals(t *testing.T) {
	b, err := boards.Load("rpi-zero-w")
	if err != nil {
		t.Fatal(err)
	}
	text := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(text, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		o    deb.Options
		want error
		text string
	}{
		{deb.Options{Firmware: program(t, "amd64"), Version: "1"}, deb.ErrFirmware, "is for EM_X86_64: want EM_ARM for rpi-zero-w"},
		{deb.Options{Firmware: text, Version: "1"}, deb.ErrFirmware, text},
		{deb.Options{Firmware: text + ".no", Version: "1"}, deb.ErrFirmware, "no such file"},
		{deb.Options{Firmware: "/bin/sh", Version: "1"}, deb.ErrFirmware, "/bin/sh"},
		{deb.Options{}, deb.ErrVersion, "want one"},
		{deb.Options{Version: "1 2"}, deb.ErrVersion, `"1 2": want letters, digits and .+-~`},
	} {
		c.o.Name, c.o.Board = "rpi-zero-w", b
		out := filepath.Join(t.TempDir(), "x.deb")
		err := deb.Build(t.Context(), c.o, out)
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("got %v, want %s", err, c.text)
		}
		if _, err := os.Stat(out); err == nil {
			t.Error("there is a package all the same")
		}
	}
}

func TestVersion(t *testing.T) {
	for in, want := range map[string]string{"v0.2.0": "0.2.0", "0.2.0-3-gabcdef-dirty": "0.2.0-3-gabcdef-dirty", "abcdef1": "0~abcdef1", "1.0": "1.0"} {
		if got, err := deb.Version(in); err != nil || got != want {
			t.Errorf("%s: %s, %v", in, got, err)
		}
	}
}

// systemd takes the unit, and finds it well locked up.
func TestUnit(t *testing.T) {
	analyze := tool(t, "systemd-analyze", "systemd")
	dpkg := tool(t, "dpkg-deb", "dpkg")
	root := t.TempDir()
	pkg := build(t, "generic-amd64", program(t, "amd64"), nil)
	if out, err := exec.Command(dpkg, "-R", pkg, root).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	unit := filepath.Join(root, "usr/lib/systemd/system/fengsui.service")
	text, err := os.ReadFile(unit)
	if err != nil {
		t.Fatal(err)
	}
	text = bytes.ReplaceAll(text, []byte("/usr/bin/fengsui"), []byte(filepath.Join(root, "usr/bin/fengsui"))) // it must be there
	if err := os.WriteFile(unit, text, 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(analyze, "verify", "--man=no", "--recursive-errors=no", unit).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("verify: %v: %s", err, out)
	}
	// 0 is locked up wholly, 100 not at all.
	if out, err := exec.Command(analyze, "security", "--offline=true", "--threshold=25", unit).CombinedOutput(); err != nil {
		t.Errorf("security: %v: %s", err, out)
	}
}

// Debian's dpkg installs the package into this very system, of which an overlay
// keeps everything that changes; then it removes and purges it.
func TestInstall(t *testing.T) {
	dpkg := tool(t, "dpkg", "dpkg")
	tool(t, "systemd-sysusers", "systemd")
	absent := func(why string) {
		if os.Getenv("CI") == "true" {
			t.Fatal(why)
		}
		t.Skip(why)
	}
	if os.Getuid() != 0 {
		absent("an overlay wants root")
	}
	arch, err := exec.Command(dpkg, "--print-architecture").Output()
	if err != nil || strings.TrimSpace(string(arch)) != "amd64" {
		absent("no Debian on amd64")
	}
	pkg := build(t, "generic-amd64", real(t), nil)
	dir := t.TempDir()
	mount := func(args ...string) {
		if out, err := exec.Command("mount", args...).CombinedOutput(); err != nil {
			absent("no overlay here: " + string(out))
		}
		at := args[len(args)-1]
		t.Cleanup(func() {
			if out, err := exec.Command("umount", at).CombinedOutput(); err != nil {
				t.Errorf("umount: %v: %s", err, out)
			}
		})
	}
	mount("-t", "tmpfs", "tmpfs", dir)
	for _, d := range []string{"up", "work", "root"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	root := filepath.Join(dir, "root")
	mount("-t", "overlay", "overlay", "-o", "lowerdir=/,upperdir="+dir+"/up,workdir="+dir+"/work", root)
	data, err := os.ReadFile(pkg)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "tmp/x.deb"), data, 0o644); err != nil {
		t.Fatal(err)
	}
	in := func(script string) string {
		t.Helper()
		cmd := exec.Command("chroot", root, "/bin/sh", "-ec", script)
		cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C"}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v: %s", script, err, out)
		}
		return string(out)
	}
	// A package for another processor says so.
	other, err := os.ReadFile(build(t, "generic-amd64", program(t, "amd64"), nil))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "tmp/y.deb"), other, 0o644); err != nil {
		t.Fatal(err)
	}
	if out := in("! dpkg -i /tmp/y.deb 2>&1; dpkg -P fengsui"); !strings.Contains(out, "this package is for the board generic-amd64; its program does not run on this processor") {
		t.Errorf("a program that does not run: %s", out)
	}
	if out := in("dpkg -i /tmp/x.deb"); !strings.Contains(out, "fengsui: write /etc/fengsui/config.yaml") {
		t.Errorf("the first installation does not say what to do: %s", out)
	}
	for script, want := range map[string]string{
		"stat -c '%U:%G %a' /etc/fengsui/config.yaml":                     "root:fengsui 640\n",
		"id -nG fengsui | tr ' ' '\\n' | sort | tr '\\n' ' '":             "audio dialout fengsui gpio ",
		"getent passwd fengsui | cut -d: -f6,7":                           "/var/lib/fengsui:/usr/sbin/nologin\n",
		"systemctl is-enabled fengsui":                                    "enabled\n",
		"fengsui check --config /etc/fengsui/config.yaml 2>&1 | head -n1": "fengsui: /etc/fengsui/config.yaml:9: field \"centre.key\": value \"WRITE-THE-CENTRES-KEY\": want the centre's Ed25519 public key, 64 hexadecimal digits\n",
	} {
		if got := in(script); got != want {
			t.Errorf("%s: got %q, want %q", script, got, want)
		}
	}
	// An edited configuration outlives another installation.
	in("echo '# mine' >> /etc/fengsui/config.yaml; dpkg -i --force-confold /tmp/x.deb; grep -q '# mine' /etc/fengsui/config.yaml")
	in("mkdir -p /var/lib/fengsui; dpkg -r fengsui; test -e /etc/fengsui/config.yaml; test -e /var/lib/fengsui; dpkg -P fengsui; test ! -e /etc/fengsui/config.yaml; test ! -e /var/lib/fengsui")
}

// real builds the firmware for this machine.
func real(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "fengsui")
	cmd := exec.Command("go", "build", "-o", path, "../../firmware/cmd/fengsui")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return path
}
