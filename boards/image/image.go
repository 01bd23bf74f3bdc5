// Package image builds the image that a board's card is written with: a boot
// partition, a read-only root and room for a second one (A and B, of which B is
// empty: nothing writes it yet), a partition for what the device keeps (/perm),
// gokrazy's kernel, the firmware and its configuration. It has no shell and opens
// no port; the device's key is made at its first start and is never in the image.
// What one card is given beside it is in package settings.
//
// It runs the Go tool and mkfs.ext4, and takes everything else through the Go
// module proxy, at versions that the module in gokrazy/ pins. Two builds differ in
// a time that gokrazy's builder writes. It writes no card: board flash does.
//
// An image joins a wireless network only with files that are not ours to pass on:
// the radio's own program and the rules of the countries. The technician's machine
// has them (see Options.RadioFirmware); board.yaml names them, and the driver,
// which the kernel for the Raspberry Pi brings as modules.
package image

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/fengsui/fengsui/boards"
	"github.com/fengsui/fengsui/boards/image/fat"
	"github.com/fengsui/fengsui/boards/image/settings"
)

// Errors of building.
var (
	// ErrBoard means that the board cannot start from an image.
	ErrBoard = errors.New("no image for this board")
	// ErrSource means that the folder holds no source of Fengsui.
	ErrSource = errors.New("want a folder with the source of Fengsui")
	// ErrSettings means that no image can do what the settings ask for.
	ErrSettings = errors.New("settings")
	// ErrTool means that a program that is needed is missing or failed.
	ErrTool = errors.New("image")
)

// Options say what an image is made of.
type Options struct {
	Board    string
	Config   []byte // the device's configuration, as checked by whoever calls
	Settings []byte // of one card, see package settings; the device erases them at its first start; nil: none
	Source   string // the folder of go.mod
	Version  string // of the firmware, when it is built here
	Speech   bool   // what a box says, made by espeak-ng: for a configuration with audio
	// RadioFirmware is a folder with what the board's radio needs, such as
	// /usr/lib/firmware, or an unpacked package; "": none, and no wireless network.
	RadioFirmware string
	Firmware      string // path of a firmware that was built before; "": it is built from Source
	Out           string // path of the image
	Size          int64  // bytes of the image; 0: DefaultSize
}

// FindSource returns the folder of Fengsui's go.mod that a folder is in.
func FindSource(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	for d := dir; ; d = filepath.Dir(d) {
		if exists(filepath.Join(d, buildModule, "go.mod")) {
			return d, nil
		}
		if d == filepath.Dir(d) {
			return "", fmt.Errorf("%w: %s is in none", ErrSource, dir)
		}
	}
}

// DefaultSize fits a card of 2 GB and what a device keeps for years.
const DefaultSize = 1_900 << 20

// The partitions' places, which gokrazy's builder fixes: a boot partition of
// 100 MiB at 4 MiB, two roots of 500 MiB, and what is left.
const (
	// PermStart is where the partition begins that outlives another image.
	PermStart = bootStart + 1100<<20

	bootStart = 8192 * 512
	bootSize  = 100 << 20
	gptEnd    = 33 * 512 // a GPT's second copy, at the end
	minSize   = PermStart + 64<<20
)

// A machine is what boards have in common that start from the same image.
type machine struct {
	arch, kernel, firmware, console string
	config                          []string // of the boot loader
}

// machineOf returns how a board starts.
func machineOf(board string) (machine, error) {
	b, err := boards.Load(board)
	if err != nil {
		return machine{}, fmt.Errorf("%w: %w", ErrBoard, err)
	}
	if b.Boot.Image == nil {
		return machine{}, fmt.Errorf("%w: %q", ErrBoard, board)
	}
	i := b.Boot.Image
	return machine{b.Arch, i.Kernel, i.Firmware, i.Console, i.Config}, nil
}

// Build builds an image. The error wraps [ErrBoard], [ErrSource], [ErrSettings],
// [ErrRadio] or [ErrTool], or is a *strictyaml.Error of the settings, or that of a file.
func Build(ctx context.Context, o Options) (err error) {
	m, err := machineOf(o.Board)
	if err != nil {
		return err
	}
	extra, err := o.checkSettings()
	if err != nil {
		return err
	}
	if o.Size == 0 {
		o.Size = DefaultSize
	}
	if o.Size < minSize {
		return fmt.Errorf("%w: size %d: want at least %d bytes", ErrTool, o.Size, minSize)
	}
	if o.Source, err = filepath.Abs(o.Source); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(o.Source, buildModule, "go.mod")); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrSource, o.Source, err)
	}
	mkfs, err := find("mkfs.ext4", "e2fsprogs")
	if err != nil {
		return err
	}
	tmp, err := os.MkdirTemp("", "fengsui-image-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()
	if o.Firmware == "" {
		o.Firmware = filepath.Join(tmp, "fengsui")
		if err := o.firmware(ctx, m); err != nil {
			return err
		}
	}
	gok := filepath.Join(tmp, "gok")
	if err := run(ctx, filepath.Join(o.Source, buildModule), nil, "go", "build", "-o", gok, "github.com/gokrazy/tools/cmd/gok"); err != nil {
		return err
	}
	speech, err := o.speech(ctx, tmp)
	if err != nil {
		return err
	}
	maps.Copy(speech, extra)
	if err := o.instance(m, tmp, speech); err != nil {
		return err
	}
	out, err := filepath.Abs(o.Out)
	if err != nil {
		return err
	}
	err = run(ctx, tmp, m.env(), gok, "--parent_dir", tmp, "-i", instance, "overwrite", "--full", out, "--target_storage_bytes", fmt.Sprint(o.Size))
	if err != nil {
		return err
	}
	if err := o.addSettings(out); err != nil {
		return err
	}
	return run(ctx, tmp, nil, mkfs, "-q", "-F", "-L", "perm", "-E", fmt.Sprintf("offset=%d,nodiscard", PermStart), out, fmt.Sprintf("%dk", (o.Size-PermStart-gptEnd)/1024))
}

const (
	buildModule = "boards/image/gokrazy" // in the source
	instance    = "device"
	dhcp        = "github.com/gokrazy/gokrazy/cmd/dhcp"
)

func (m machine) env() []string {
	return []string{"GOOS=linux", "GOARCH=" + m.arch, "CGO_ENABLED=0", "GOFLAGS=-trimpath -buildvcs=false"}
}

// firmware builds the program as make build does.
func (o Options) firmware(ctx context.Context, m machine) error {
	return run(ctx, o.Source, m.env(), "go", "build", "-trimpath", "-buildvcs=false",
		"-ldflags", "-s -w -buildid= -X main.version="+o.Version, "-o", o.Firmware, "./firmware/cmd/fengsui")
}

// instance writes what gokrazy's builder wants to know into a folder; extra are
// files of the image, and where they are now.
func (o Options) instance(m machine, dir string, extra map[string]string) error {
	dir = filepath.Join(dir, instance)
	build := filepath.Join(dir, "builddir") // a copy: the Go tool may write to it
	if err := os.CopyFS(build, os.DirFS(filepath.Join(o.Source, buildModule))); err != nil {
		return err
	}
	config := filepath.Join(dir, "config.yaml")
	if err := os.WriteFile(config, o.Config, 0o644); err != nil {
		return err
	}
	firmware, err := filepath.Abs(o.Firmware)
	if err != nil {
		return err
	}
	if _, err := os.Stat(firmware); err != nil {
		return err
	}
	files := map[string]string{"/user/fengsui": firmware, "/etc/fengsui/config.yaml": config}
	maps.Copy(files, extra)
	b, err := json.Marshal(map[string]any{
		"Hostname":        "fengsui",
		"Update":          map[string]any{"NoPassword": true, "UseTLS": "off"},
		"Environment":     m.env(),
		"Packages":        []string{},
		"GokrazyPackages": []string{dhcp},
		"PackageConfig": map[string]any{
			dhcp: map[string]any{"ExtraFilePaths": files},
		},
		"SerialConsole":              m.console,
		"BootloaderExtraLines":       m.config,
		"KernelPackage":              m.kernel,
		"FirmwarePackage":            m.firmware,
		"EEPROMPackage":              "", // the boot loader in a board's own memory stays as it is
		"InternalCompatibilityFlags": map[string]any{"InitPkg": "github.com/fengsui/fengsui/" + buildModule + "/init"},
	})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "config.json"), b, 0o644)
}

// find returns a program's path; Debian keeps some outside a user's PATH.
func find(name, pkg string) (string, error) {
	if p, err := exec.LookPath(name); err == nil {
		return p, nil
	}
	for _, dir := range []string{"/usr/sbin", "/sbin"} {
		if p := filepath.Join(dir, name); exists(p) {
			return p, nil
		}
	}
	return "", fmt.Errorf("%w: %s is missing: install the package %s", ErrTool, name, pkg)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// run runs a program to its end; its output is part of the error.
func run(ctx context.Context, dir string, env []string, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	var out bytes.Buffer
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = dir, append(os.Environ(), env...), &out, &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%w: %s %s: %w:\n%s", ErrTool, filepath.Base(name), strings.Join(args, " "), err, bytes.TrimSpace(out.Bytes()))
	}
	return nil
}

// checkSettings finds mistakes before anything is built, and returns the files
// that the settings want in the image.
func (o Options) checkSettings() (map[string]string, error) {
	s := new(settings.Settings)
	if o.Settings != nil {
		var err error
		if s, err = settings.Parse("settings", o.Settings); err != nil {
			return nil, err
		}
	}
	return o.radio(s)
}

// addSettings puts the settings on the boot partition of an image.
func (o Options) addSettings(path string) (err error) {
	if o.Settings == nil {
		return nil
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	boot, err := Boot(f)
	if err != nil {
		return err
	}
	return boot.AddFile(settings.File, o.Settings)
}

// Boot opens the file system of an image's boot partition.
func Boot(disk fat.Disk) (*fat.FS, error) { return fat.Open(disk, bootStart, bootSize) }
