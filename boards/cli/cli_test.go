package cli_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/fengsui/fengsui/boards/cli"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"board": func() {
			os.Exit(cli.Run(context.Background(), "0.2.0", os.Args[1:], os.Getenv, os.Stdin, os.Stdout, os.Stderr))
		},
	})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata"})
}

// board runs the command in a language, with an answer to what it asks.
func board(t *testing.T, answer string, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	status = cli.Run(t.Context(), "0.2.0", args, func(string) string { return "" }, strings.NewReader(answer), &out, &err)
	return status, out.String(), err.String()
}

// absent skips aloud, and fails where everything must be there.
func absent(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(why)
	}
	t.Skip(why)
}

func loop(t *testing.T, size int64) (device, backing string) {
	t.Helper()
	if os.Getuid() != 0 {
		absent(t, "loop devices want root")
	}
	backing = filepath.Join(t.TempDir(), "card")
	if err := errors.Join(os.WriteFile(backing, nil, 0o600), os.Truncate(backing, size)); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("losetup", "--find", "--show", backing).CombinedOutput()
	if err != nil {
		absent(t, "no loop device here: "+string(out))
	}
	device = strings.TrimSpace(string(out))
	t.Cleanup(func() {
		if out, err := exec.Command("losetup", "--detach", device).CombinedOutput(); err != nil {
			t.Errorf("losetup: %v: %s", err, out)
		}
	})
	return device, backing
}

func image(t *testing.T, size int) (path string, data []byte) {
	t.Helper()
	data = make([]byte, size)
	for i := range data {
		data[i] = byte(i * 7 >> 3)
	}
	data[510], data[511] = 0x55, 0xaa
	path = filepath.Join(t.TempDir(), "x.img")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path, data
}

func TestFlash(t *testing.T) {
	device, backing := loop(t, 8<<20)
	img, data := image(t, 6<<20)
	for _, c := range []struct {
		answer string
		args   []string
		status int
		out    string
		stderr []string
	}{
		{"no\n", nil, 1, "", []string{device + ": a loop device, " + backing + ", 8.4 MB\n", "Write its name, " + filepath.Base(device) + ", or yes to go on: ", "board: not confirmed: nothing was written\n"}},
		{"", nil, 1, "", []string{"board: not confirmed"}},
		{"y\n", []string{"--lang", "zh-CN"}, 1, "", []string{device + "：回环设备，" + backing + "，8.4 MB\n", "输入设备名", "board: 未确认：没有写入任何内容\n"}},
	} {
		status, out, stderr := board(t, c.answer, append([]string{"flash", img, device}, c.args...)...)
		if status != c.status || out != c.out {
			t.Errorf("%q: %d, %s", c.answer, status, out)
		}
		for _, want := range c.stderr {
			if !strings.Contains(stderr, want) {
				t.Errorf("%q: no %q in %q", c.answer, want, stderr)
			}
		}
		if got, err := os.ReadFile(backing); err != nil || !bytes.Equal(got, make([]byte, 8<<20)) {
			t.Fatal("it wrote all the same")
		}
	}
	for _, c := range [][]string{
		{"yes\n", ""},
		{filepath.Base(device) + "\n", ""},
		{"", "--yes"},
	} {
		if err := errors.Join(os.Truncate(backing, 0), os.Truncate(backing, 8<<20)); err != nil {
			t.Fatal(err)
		}
		args := []string{"flash", img, device}
		if c[1] != "" {
			args = append(args, c[1])
		}
		status, out, stderr := board(t, c[0], args...)
		if status != 0 || out != device+" holds "+img+", read back and compared. Take it out and put it into the board.\n" {
			t.Fatalf("%d: %s%s", status, out, stderr)
		}
		if !strings.Contains(stderr, "writing    100 %  6.3 MB of 6.3 MB") || !strings.Contains(stderr, "comparing  100 %") {
			t.Errorf("progress: %q", stderr)
		}
		if got, err := os.ReadFile(backing); err != nil || !bytes.Equal(got[:len(data)], data) {
			t.Error("the card does not hold the image")
		}
	}
}

// A disk that fails under the work, by strace: one that refuses to write, to
// sync or to read, and one that takes everything and keeps nothing.
func TestFaultyDisk(t *testing.T) {
	strace, err := exec.LookPath("strace")
	if err != nil {
		absent(t, "missing: strace (package strace)")
	}
	device, backing := loop(t, 16<<20)
	img, _ := image(t, 12<<20)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	tool := filepath.Join(t.TempDir(), "board") // testscript's own way to call a command
	if err := os.Symlink(self, tool); err != nil {
		t.Fatal(err)
	}
	for inject, want := range map[string]string{
		"pwrite64:error=EIO":   "the disk did not take it, and is not to be used: writing failed at byte 0 of 12582912: write " + device + ": input/output error",
		"pwrite64:retval=4096": "the disk does not hold what was written: it is worn out or forged, and is not to be used: ", // it says so, and writes nothing
		"fsync:error=EIO":      "the disk did not take it, and is not to be used: writing failed at the end: sync " + device + ": input/output error",
		// Pulled out in writing, and in comparing.
		"pwrite64:error=ENODEV":   "the disk was taken out meanwhile: put it in again and begin anew (the disk was taken out: writing failed at byte 0 of 12582912: ",
		"pread64:error=ENOMEDIUM": "the disk was taken out meanwhile: put it in again and begin anew (the disk was taken out: reading back failed at byte 0 of 12582912: ",
		"pread64:error=EIO":       "the disk cannot be read back, and is not to be used: reading back failed at byte 0 of 12582912: read " + device + ": input/output error",
	} {
		if err := errors.Join(os.Truncate(backing, 0), os.Truncate(backing, 16<<20)); err != nil {
			t.Fatal(err)
		}
		name, _, _ := strings.Cut(inject, ":")
		// The image lies on a file system: only calls on the device are touched.
		cmd := exec.Command(strace, "-f", "-qq", "-o", "/dev/null", "-P", device, "-e", "trace="+name, "-e", "inject="+inject, tool, "flash", "--yes", img, device)
		cmd.Env = append(os.Environ(), "LC_ALL=C")
		if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), want) {
			t.Errorf("%s: %v: %s", inject, err, out)
		}
	}
}

// Every message that the command asks for is there, with the same values in both
// languages, and none is there for nothing.
func TestMessages(t *testing.T) {
	data, err := os.ReadFile("messages.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var source string
	for _, name := range []string{"cli.go", "show.go", "build.go", "flash.go"} {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		source += string(b)
	}
	there := make(map[string]bool)
	verbs := regexp.MustCompile(`%\d*\[\d\][a-z]`)
	for row := range strings.Lines(string(data)) {
		key, rest, ok := strings.Cut(row, ": {en: ")
		if !ok {
			continue
		}
		there[key] = true
		en, zh, _ := strings.Cut(rest, ", zh-CN: ")
		count := func(s string) map[string]int {
			n := make(map[string]int)
			for _, v := range verbs.FindAllString(s, -1) {
				n[v]++
			}
			return n
		}
		if fmt.Sprint(count(en)) != fmt.Sprint(count(zh)) {
			t.Errorf("%s: %v and %v", key, count(en), count(zh))
		}
		if !strings.Contains(source, `"`+key+`"`) && !strings.HasPrefix(key, "kind-") {
			t.Errorf("nobody says %s", key)
		}
	}
	for _, kind := range []string{"usb", "card", "removable", "loop"} {
		if !there["kind-"+kind] {
			t.Errorf("no kind-%s", kind)
		}
	}
	for _, m := range regexp.MustCompile(`(?:text\(|ErrX?[A-Z]\w+, |key :?= )"([a-z-]+)"`).FindAllStringSubmatch(source, -1) {
		if !there[m[1]] && m[1] != "kind-" {
			t.Errorf("no message %s", m[1])
		}
	}
}

// Both usages name the same commands and flags.
func TestUsages(t *testing.T) {
	words := regexp.MustCompile(`(?m)^  [a-z]+|--[a-z-]+|\b[A-Z]{3,}[./A-Z]*|-o\b`)
	var said [2][]string
	for i, name := range []string{"usage.txt", "usage.zh-CN.txt"} {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		said[i] = words.FindAllString(string(b), -1)
		slices.Sort(said[i])
		said[i] = slices.Compact(slices.DeleteFunc(said[i], func(w string) bool { return w == "COMMAND" }))
	}
	if !slices.Equal(said[0], said[1]) {
		t.Errorf("%q\n%q", said[0], said[1])
	}
	if status, _, stderr := board(t, "", "list", "--lang", "zh-CN", "x"); status != 2 || !strings.Contains(stderr, "用法：board") {
		t.Errorf("%d, %s", status, stderr)
	}
}
