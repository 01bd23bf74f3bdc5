// Package deb builds the Debian package for a board: the agent, its systemd unit
// with a watchdog and little else allowed to it, its own user, the groups and the
// udev rule for lines and ports, and the configuration as a conffile.
//
// It builds no program: it is given the firmware's, and checks that the board can
// run it.
package deb

import (
	"bytes"
	"context"
	"debug/elf"
	"embed"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/goreleaser/nfpm/v2"
	nfpmdeb "github.com/goreleaser/nfpm/v2/deb"
	"github.com/goreleaser/nfpm/v2/files"

	"github.com/fengsui/fengsui/boards"
)

// Errors of building.
var (
	// ErrBoard means that there is no package for the board.
	ErrBoard = errors.New("no package for this board")
	// ErrFirmware means that the firmware is not a program for the board.
	ErrFirmware = errors.New("firmware")
	// ErrVersion means that a version cannot be a Debian package's.
	ErrVersion = errors.New("version")
)

//go:embed files
var assets embed.FS

// Options say what a package is made of.
type Options struct {
	Name     string // the board's
	Board    *boards.Board
	Firmware string // path of the program
	Version  string
	Config   []byte // the device's configuration, as checked by whoever calls; nil: one to be filled in
	Example  []byte // the explained configuration, for the documentation
	Made     time.Time
}

// File returns the package's file name, with the board in it: two boards of one
// architecture may want different programs (ARMv6 and ARMv7 are both armhf).
func (o Options) File() (string, error) {
	info, err := o.info()
	if err != nil {
		return "", err
	}
	return strings.TrimSuffix(nfpmdeb.Default.ConventionalFileName(info), ".deb") + "_" + o.Name + ".deb", nil
}

// Build writes the package to a path. The error wraps [ErrBoard], [ErrFirmware]
// or [ErrVersion], or is that of a file.
func Build(ctx context.Context, o Options, out string) (err error) {
	info, err := o.info()
	if err != nil {
		return err
	}
	if err := o.checkFirmware(); err != nil {
		return err
	}
	// The builder takes contents from files alone.
	tmp, err := os.MkdirTemp("", "fengsui-deb-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()
	if err := o.contents(info, tmp); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := nfpm.Validate(info); err != nil {
		return fmt.Errorf("package: %w", err)
	}
	var b bytes.Buffer
	if err := nfpmdeb.Default.Package(info, &b); err != nil {
		return fmt.Errorf("package: %w", err)
	}
	return os.WriteFile(out, b.Bytes(), 0o644)
}

func (o Options) info() (*nfpm.Info, error) {
	if o.Board.Boot.Package == nil {
		return nil, fmt.Errorf("%w: %q", ErrBoard, o.Name)
	}
	version, err := Version(o.Version)
	if err != nil {
		return nil, err
	}
	return nfpm.WithDefaults(&nfpm.Info{
		Name:          "fengsui",
		Arch:          o.Board.Boot.Package.Deb,
		Platform:      "linux",
		Version:       version,
		VersionSchema: "none",
		Section:       "misc",
		Priority:      "optional",
		Maintainer:    "Fengsui <fengsui@localhost>",
		Description:   "agent of a rural emergency call device\nAlarm boxes and patrol vehicles report to a centre: a pressed alarm is kept\nuntil the centre has it, and lamps tell who presses how far it is.\nBuilt for the board " + o.Name + ".",
		License:       "Apache-2.0",
		MTime:         o.Made,
		Overridables: nfpm.Overridables{
			Depends: []string{"systemd"},
			Deb:     nfpm.Deb{Compression: "gzip"},
		},
	}), nil
}

// Version makes a Debian version of the firmware's: it must begin with a digit,
// and of git's own it takes what Debian allows.
func Version(v string) (string, error) {
	v = strings.TrimPrefix(v, "v")
	if v == "" {
		return "", fmt.Errorf("%w: want one, such as 0.2.0", ErrVersion)
	}
	if strings.ContainsFunc(v, func(r rune) bool {
		return !(r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || strings.ContainsRune(".+-~", r))
	}) {
		return "", fmt.Errorf("%w %q: want letters, digits and .+-~ (deb-version(7))", ErrVersion, v)
	}
	if v[0] < '0' || v[0] > '9' {
		v = "0~" + v // a commit without a tag
	}
	return v, nil
}

// checkFirmware checks that a program is one for the board's architecture.
func (o Options) checkFirmware() error {
	f, err := elf.Open(o.Firmware)
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrFirmware, o.Firmware, err)
	}
	defer f.Close()
	want := map[string]elf.Machine{"arm": elf.EM_ARM, "arm64": elf.EM_AARCH64, "amd64": elf.EM_X86_64}[o.Board.Arch]
	if f.Machine != want {
		return fmt.Errorf("%w: %s is for %s: want %s for %s", ErrFirmware, o.Firmware, f.Machine, want, o.Name)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return fmt.Errorf("%w: %s wants libraries of its own system: want a program without (CGO_ENABLED=0)", ErrFirmware, o.Firmware)
		}
	}
	return nil
}

// contents lists the package's files and scripts, and writes those that are made
// here to a folder.
func (o Options) contents(info *nfpm.Info, tmp string) error {
	var err error
	n := 0
	made := func(text []byte) string {
		path := fmt.Sprintf("%s/%d", tmp, n)
		n++
		err = errors.Join(err, os.WriteFile(path, text, 0o644))
		return path
	}
	asset := func(name string, values ...any) []byte {
		b, rerr := assets.ReadFile("files/" + name)
		err = errors.Join(err, rerr)
		if len(values) > 0 {
			b = fmt.Appendf(nil, string(b), values...)
		}
		return b
	}
	add := func(dst string, mode os.FileMode, kind, src string) {
		info.Contents = append(info.Contents, &files.Content{
			Source: src, Destination: dst, Type: kind,
			FileInfo: &files.ContentFileInfo{Mode: mode, Owner: "root", Group: "root", MTime: info.MTime},
		})
	}
	config := o.Config
	if config == nil {
		profile := o.Board.Profiles[0]
		rest := "gps: {}"
		if profile == "alarm-box" {
			rest = "buttons:\n  panic: {kind: panic}\nsiren: {}"
		}
		config = asset("config.yaml", profile, o.Name, rest)
	}
	notes := ""
	for _, role := range slices.Sorted(maps.Keys(o.Board.UARTs)) {
		if u := o.Board.UARTs[role]; u.Enable != "" {
			notes += "\n" + u.Port + " appears by: " + u.Enable
		}
	}
	add("/usr/bin/fengsui", 0o755, files.TypeFile, o.Firmware)
	add("/etc/fengsui/config.yaml", 0o640, files.TypeConfig, made(config))
	add("/usr/lib/systemd/system/fengsui.service", 0o644, files.TypeFile, made(asset("fengsui.service")))
	add("/usr/lib/sysusers.d/fengsui.conf", 0o644, files.TypeFile, made(asset("fengsui.sysusers")))
	add("/usr/lib/udev/rules.d/60-fengsui.rules", 0o644, files.TypeFile, made(asset("60-fengsui.rules")))
	if w := o.Board.Watchdog; w != nil {
		seconds := 30
		if w.MaxS > 0 {
			seconds = min(seconds, w.MaxS)
		}
		add("/usr/lib/systemd/system.conf.d/50-fengsui.conf", 0o644, files.TypeFile, made(asset("watchdog.conf", seconds)))
	}
	add("/usr/share/doc/fengsui/README", 0o644, files.TypeFile, made(asset("README", o.Name, o.Board.Name, notes)))
	if o.Example != nil {
		add("/usr/share/doc/fengsui/example.yaml", 0o644, files.TypeFile, made(o.Example))
	}
	info.Scripts.PostInstall = made(asset("postinst", o.Name))
	info.Scripts.PreRemove = made(asset("prerm"))
	info.Scripts.PostRemove = made(asset("postrm"))
	return err
}
