package image_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fengsui/fengsui/boards"
	"github.com/fengsui/fengsui/boards/image"
)

const settings = "join: 7Q-one-time\nethernet: {address: 10.20.0.7/24, gateway: 10.20.0.1}\n"

// tool returns the path of an outside judge, or skips the test, aloud; with
// CI=true it fails.
func tool(t *testing.T, name, pkg string) string {
	t.Helper()
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/sbin", "/sbin") {
		if p := filepath.Join(dir, name); dir != "" {
			if _, err := os.Stat(p); err == nil {
				return p
			}
		}
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is missing (Debian: %s)", name, pkg)
	}
	t.Skipf("not run: %s is missing (Debian: %s)", name, pkg)
	return ""
}

func output(t *testing.T, name string, args ...string) string {
	t.Helper()
	b, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, b)
	}
	return string(b)
}

// build builds an image for a board; the firmware is built with it. With radio, the
// folder of that has what the board's radio needs.
func build(t *testing.T, board string, with []byte, radio string) string {
	t.Helper()
	tool(t, "mkfs.ext4", "e2fsprogs")
	source, err := image.FindSource(".")
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "image")
	_, noSpeech := exec.LookPath("espeak-ng")
	err = image.Build(t.Context(), image.Options{
		Board: board, Config: []byte("device: box-01\n"), Settings: with, Source: source, Version: "test", Out: out,
		RadioFirmware: radio, Speech: noSpeech == nil || os.Getenv("CI") != "",
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// part copies one partition of an image to a file.
func part(t *testing.T, path string, start, size int64) string {
	t.Helper()
	in, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.Create(filepath.Join(t.TempDir(), "part"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	if _, err := io.Copy(out, io.NewSectionReader(in, start, size)); err != nil {
		t.Fatal(err)
	}
	return out.Name()
}

// A table is what sfdisk says of an image.
type table struct {
	PartitionTable struct {
		Partitions []struct {
			Start, Size int64 // sectors
			Type, Name  string
		}
	}
}

func partitions(t *testing.T, path string) table {
	t.Helper()
	var tab table
	if err := json.Unmarshal([]byte(output(t, tool(t, "sfdisk", "fdisk"), "--json", path)), &tab); err != nil {
		t.Fatal(err)
	}
	return tab
}

// The image of the virtual board, as judged by programs that are not ours.
func TestAnImageByOutsideJudges(t *testing.T) {
	fsck, ext4, unsquash := tool(t, "fsck.vfat", "dosfstools"), tool(t, "fsck.ext4", "e2fsprogs"), tool(t, "unsquashfs", "squashfs-tools")
	tool(t, "sfdisk", "fdisk")
	path := build(t, "virt", []byte(settings), "")

	ps := partitions(t, path).PartitionTable.Partitions
	if len(ps) != 4 {
		t.Fatalf("%d partitions %+v, want boot, two roots, perm", len(ps), ps)
	}
	at := func(i int) string { return part(t, path, ps[i].Start*512, ps[i].Size*512) }
	if ps[3].Start*512 != image.PermStart {
		t.Errorf("perm begins at %d, want %d", ps[3].Start*512, int64(image.PermStart))
	}
	boot := at(0)
	output(t, fsck, "-n", boot)
	if b, err := os.ReadFile(boot); err != nil || !bytes.Contains(b, []byte(settings)) {
		t.Errorf("the settings are not on the boot partition: %v", err)
	}
	perm := at(3)
	output(t, ext4, "-f", "-n", perm)

	root := at(1)
	list := strings.Fields(output(t, unsquash, "-ls", "-no-progress", root))
	files := make(map[string]bool)
	for _, f := range list {
		files[strings.TrimPrefix(f, "squashfs-root")] = true
	}
	for _, want := range []string{"/user/fengsui", "/etc/fengsui/config.yaml", "/gokrazy/init", "/gokrazy/dhcp", "/perm"} {
		if !files[want] {
			t.Errorf("no %s in the root", want)
		}
	}
	if _, err := exec.LookPath("espeak-ng"); err == nil && (!files["/etc/fengsui/speech/zh-CN/stored.wav"] || !files["/etc/fengsui/speech/en/unit_coming.wav"]) {
		t.Error("the image has no speech")
	}
	dir := filepath.Join(t.TempDir(), "root")
	output(t, unsquash, "-no-progress", "-no-xattrs", "-d", dir, root)
	// What can be run is ours, gokrazy's init and its DHCP client, and nothing else.
	var programs []string
	err := filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, p)
		if bytes.HasPrefix(b, []byte("\x7fELF")) && filepath.Ext(p) != ".ko" || bytes.HasPrefix(b, []byte("#!")) {
			programs = append(programs, "/"+rel)
		}
		if bytes.Contains(b, []byte("PRIVATE KEY-----\n")) || bytes.Contains(b, []byte("7Q-one-time")) {
			t.Errorf("/%s holds a secret", rel)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(programs)
	if want := []string{"/gokrazy/dhcp", "/gokrazy/init", "/user/fengsui"}; !slices.Equal(programs, want) {
		t.Errorf("programs %v, want %v: no shell, and nothing that serves", programs, want)
	}
	other := at(2)
	if b, err := os.ReadFile(other); err != nil || len(bytes.Trim(b, "\x00")) > 0 {
		t.Errorf("the second root is not empty: %v", err)
	}
}

// Images for real boards are built, and looked at; they run nowhere here. That of
// another architecture compiles everything anew: it is for make torture.
func TestImagesOfRealBoards(t *testing.T) {
	tool(t, "sfdisk", "fdisk")
	names := []string{"rpi-zero-2w"}
	if os.Getenv("FENGSUI_TORTURE") == "long" {
		names = append(names, "rpi-3b-plus", "rpi-4b", "rpi-5", "rpi-cm4", "generic-arm64", "generic-amd64")
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			board, err := boards.Load(name)
			if err != nil {
				t.Fatal(err)
			}
			var with []byte
			var radio string
			if board.Radio != nil {
				with, radio = []byte(wireless), radioFolder(t, name)
			}
			path := build(t, name, with, radio)
			if board.Radio != nil {
				judgeRadio(t, path, board.Radio)
			}
			if n := len(partitions(t, path).PartitionTable.Partitions); n != 4 {
				t.Errorf("%d partitions, want 4", n)
			}
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			boot, err := image.Boot(f)
			if err != nil {
				t.Fatal(err)
			}
			want := []string{"vmlinuz", "cmdline.txt"}
			if board.Boot.Image.Firmware != "" {
				want = append(want, "config.txt", "start.elf", "bootcode.bin")
			}
			for _, file := range want {
				if b, err := boot.ReadFile(file); err != nil || len(b) == 0 {
					t.Errorf("%s: %v", file, err)
				}
			}
			for _, line := range board.Boot.Image.Config {
				if b, err := boot.ReadFile("config.txt"); err != nil || !strings.Contains(string(b), line) {
					t.Errorf("config.txt has no line %q: %v", line, err)
				}
			}
		})
	}
}

const wireless = "join: 7Q-one-time\nwifi: {ssid: 石桥村, passphrase: very-secret, country: CN}\n"

// chip4 are the files of a Raspberry Pi 4's radio, without content that matters.
var chip4 = []string{"brcm/brcmfmac43455-sdio.bin", "brcm/brcmfmac43455-sdio.clm_blob", "brcm/brcmfmac43455-sdio.txt"}

// folder makes a folder with files, each NAME or NAME=CONTENT.
func folder(t *testing.T, files ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, f := range files {
		name, content, ok := strings.Cut(f, "=")
		if !ok {
			content = "of " + name
		}
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func radioIn(t *testing.T, files ...string) func(*image.Options) {
	dir := folder(t, files...)
	return func(o *image.Options) { o.Board, o.Settings, o.RadioFirmware = "rpi-4b", []byte(wireless), dir }
}

// radioFolder makes a folder as Debian's packages do when they are unpacked: the
// program of each chip is a link, its wiring is by the board's name, and the
// countries are there twice, neither by the name that the kernel looks for.
func radioFolder(t *testing.T, name string) string {
	t.Helper()
	board, err := boards.Load(name)
	if err != nil {
		t.Fatal(err)
	}
	const countries = "RGDB\x00\x00\x00\x14CN\x00\x10\x00\x00\x00\x00"
	files := []string{
		"usr/lib/firmware/regulatory.db-upstream=" + countries, "usr/lib/firmware/regulatory.db.p7s-upstream=by wens",
		"usr/lib/firmware/regulatory.db-debian=" + countries, "usr/lib/firmware/regulatory.db.p7s-debian=by benh@debian.org",
	}
	for _, chip := range board.Radio.Firmware {
		files = append(files, "usr/lib/firmware/cypress/"+filepath.Base(chip)+".bin=the program of "+chip, "usr/lib/firmware/"+chip+".clm_blob", "usr/lib/firmware/"+chip+"."+board.Radio.Machine+".txt")
	}
	dir := folder(t, files...)
	for _, chip := range board.Radio.Firmware {
		at := filepath.Join(dir, "usr/lib/firmware", chip+".bin")
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink("../cypress/"+filepath.Base(chip)+".bin", at); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// judgeRadio checks with programs that are not ours that an image has what joins a
// wireless network: the settings on the boot partition and nowhere else, and in the
// root the kernel's modules and the radio's files.
func judgeRadio(t *testing.T, path string, radio *boards.Radio) {
	t.Helper()
	fsck, unsquash := tool(t, "fsck.vfat", "dosfstools"), tool(t, "unsquashfs", "squashfs-tools")
	ps := partitions(t, path).PartitionTable.Partitions
	at := func(i int) string { return part(t, path, ps[i].Start*512, ps[i].Size*512) }
	boot := at(0)
	output(t, fsck, "-n", boot)
	if b, err := os.ReadFile(boot); err != nil || !bytes.Contains(b, []byte(wireless)) {
		t.Errorf("the settings are not on the boot partition: %v", err)
	}
	dir := filepath.Join(t.TempDir(), "root")
	output(t, unsquash, "-no-progress", "-no-xattrs", "-d", dir, at(1), "lib", "etc", "user")
	deps, err := filepath.Glob(filepath.Join(dir, "lib/modules/*/modules.dep"))
	if err != nil || len(deps) != 1 {
		t.Fatalf("modules.dep: %q %v, want one", deps, err)
	}
	listed, err := os.ReadFile(deps[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, module := range append([]string{"brcmutil"}, radio.Modules...) {
		found := false
		for line := range strings.Lines(string(listed)) {
			file, _, _ := strings.Cut(line, ":")
			if filepath.Base(file) == module+".ko" {
				b, err := os.ReadFile(filepath.Join(filepath.Dir(deps[0]), file))
				found = err == nil && bytes.HasPrefix(b, []byte("\x7fELF"))
			}
		}
		if !found {
			t.Errorf("module %s is not in the root, or modules.dep does not name it", module)
		}
	}
	for name, want := range map[string]string{"regulatory.db": "RGDB", "regulatory.db.p7s": "by wens"} {
		if b, err := os.ReadFile(filepath.Join(dir, "lib/firmware", name)); err != nil || !strings.HasPrefix(string(b), want) {
			t.Errorf("%s: %q %v, want %q", name, b, err, want)
		}
	}
	for _, chip := range radio.Firmware {
		for name, want := range map[string]string{".bin": "the program of " + chip, ".clm_blob": "of ", "." + radio.Machine + ".txt": "of "} {
			if b, err := os.ReadFile(filepath.Join(dir, "lib/firmware", chip+name)); err != nil || !strings.HasPrefix(string(b), want) {
				t.Errorf("%s%s: %q %v, want %q", chip, name, b, err, want)
			}
		}
	}
	err = filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(p)
		if bytes.Contains(b, []byte("very-secret")) {
			t.Errorf("%s holds the passphrase", p)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestBuildNamesWhatIsWrong(t *testing.T) {
	source, err := image.FindSource(".")
	if err != nil {
		t.Fatal(err)
	}
	good := image.Options{Board: "virt", Source: source, Out: filepath.Join(t.TempDir(), "image")}
	for name, c := range map[string]struct {
		o    func(*image.Options)
		kind error
		want string
	}{
		"an unknown board":             {func(o *image.Options) { o.Board = "rpi-9" }, image.ErrBoard, "rpi-9"},
		"a board with a package":       {func(o *image.Options) { o.Board = "beaglebone-black" }, image.ErrBoard, "beaglebone-black"},
		"a small image":                {func(o *image.Options) { o.Size = 1 << 30 }, image.ErrTool, "size"},
		"no source":                    {func(o *image.Options) { o.Source = t.TempDir() }, image.ErrSource, ""},
		"settings that are wrong":      {func(o *image.Options) { o.Settings = []byte("jion: x") }, nil, "jion"},
		"wireless without a country":   {func(o *image.Options) { o.Settings = []byte("wifi: {ssid: a}") }, nil, "wifi.country"},
		"wireless without a radio":     {func(o *image.Options) { o.Settings = []byte(wireless) }, image.ErrSettings, `field "wifi.ssid": value "石桥村": want ethernet or cellular, since virt has no radio`},
		"files for no radio":           {func(o *image.Options) { o.RadioFirmware = "/x" }, image.ErrRadio, "virt has no radio that an image can drive; these have: rpi-3b-plus, rpi-4b"},
		"wireless without files":       {func(o *image.Options) { o.Board, o.Settings = "rpi-4b", []byte(wireless) }, image.ErrSettings, "want --radio-firmware DIR"},
		"an empty folder":              {radioIn(t), image.ErrRadio, "want in it brcm/brcmfmac43455-sdio.raspberrypi,4-model-b.bin or brcm/brcmfmac43455-sdio.bin, which the radio of rpi-4b needs"},
		"a folder without the board":   {radioIn(t, "brcm/brcmfmac43455-sdio.bin", "brcm/brcmfmac43455-sdio.clm_blob"), image.ErrRadio, "brcmfmac43455-sdio.raspberrypi,4-model-b.txt or"},
		"no countries":                 {radioIn(t, chip4...), image.ErrRadio, "want in it regulatory.db and regulatory.db.p7s"},
		"countries that nobody signed": {radioIn(t, append(chip4, "regulatory.db=RGDB", "regulatory.db.p7s=by somebody")...), image.ErrRadio, "signed by one whom the kernel takes"},
		"countries of another kind":    {radioIn(t, append(chip4, "regulatory.db=RGDB", "regulatory.db.p7s=wens")...), image.ErrRadio, "version 20"},
		"an unknown country":           {radioIn(t, append(chip4, "regulatory.db=RGDB\x00\x00\x00\x14AT\x00\x00\x00\x00\x00\x00CN", "regulatory.db.p7s=wens")...), image.ErrSettings, `field "wifi.country": value "CN"`},
		"no firmware":                  {func(o *image.Options) { o.Firmware = filepath.Join(t.TempDir(), "none") }, os.ErrNotExist, ""},
	} {
		t.Run(name, func(t *testing.T) {
			o := good
			c.o(&o)
			if name == "no firmware" {
				tool(t, "mkfs.ext4", "e2fsprogs")
			}
			err := image.Build(context.Background(), o)
			if err == nil || c.kind != nil && !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %v with %q", err, c.kind, c.want)
			}
			if _, err := os.Stat(o.Out); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("something was written: %v", err)
			}
		})
	}
	if _, err := image.FindSource("/"); !errors.Is(err, image.ErrSource) {
		t.Errorf("%v, want ErrSource", err)
	}
}
