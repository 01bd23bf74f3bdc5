package hw

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrNoModule means that the kernel's folder has no module of that name.
var ErrNoModule = errors.New("no such kernel module")

// Modules loads kernel modules where nothing else does: an image has neither udev
// nor modprobe. Release is the kernel's, Root the folder below which lib/modules
// is; both may be "", for this machine's.
type Modules struct {
	Root, Release string
	// insert and remove are the system's; tests have others.
	insert func(path string) error
	remove func(name string) error
}

// Load loads modules in that order, what each depends on before it (modules.dep,
// see depmod(8)). One that is loaded, or part of the kernel, is no error.
func (m Modules) Load(names ...string) error {
	dir, err := m.dir()
	if err != nil {
		return err
	}
	deps, builtin, err := readDeps(dir)
	if err != nil {
		return err
	}
	insert := m.insert
	if insert == nil {
		insert = insertModule
	}
	for _, name := range names {
		file, ok := deps.byName[name]
		switch {
		case !ok && builtin[name]:
			continue
		case !ok:
			return fmt.Errorf("%w: %s in %s", ErrNoModule, name, dir)
		}
		// The file lists the nearest first, and what these depend on after them.
		order := slices.Clone(deps.of[file])
		slices.Reverse(order)
		for _, f := range append(order, file) {
			if err := insert(filepath.Join(dir, filepath.FromSlash(f))); err != nil {
				return fmt.Errorf("kernel module %s: %w", moduleName(f), err)
			}
		}
	}
	return nil
}

// Unload takes modules out again, the last first. One that is not there is no
// error.
func (m Modules) Unload(names ...string) error {
	remove := m.remove
	if remove == nil {
		remove = func(name string) error { return unix.DeleteModule(name, 0) }
	}
	var errs []error
	for _, name := range slices.Backward(names) {
		// In the kernel a module's name has no hyphen.
		if err := remove(strings.ReplaceAll(name, "-", "_")); err != nil && !errors.Is(err, unix.ENOENT) {
			errs = append(errs, fmt.Errorf("kernel module %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

func (m Modules) dir() (string, error) {
	release := m.Release
	if release == "" {
		var u unix.Utsname
		if err := unix.Uname(&u); err != nil {
			return "", fmt.Errorf("uname: %w", err)
		}
		release = unix.ByteSliceToString(u.Release[:])
	}
	return filepath.Join("/", m.Root, "lib/modules", release), nil
}

// A depList is modules.dep: files by a module's name, and what each file needs.
type depList struct {
	byName map[string]string
	of     map[string][]string
}

func readDeps(dir string) (depList, map[string]bool, error) {
	d := depList{make(map[string]string), make(map[string][]string)}
	b, err := os.ReadFile(filepath.Join(dir, "modules.dep"))
	if err != nil {
		return d, nil, fmt.Errorf("kernel modules: %w", err)
	}
	for line := range strings.Lines(string(b)) {
		file, needs, ok := strings.Cut(strings.TrimSpace(line), ":")
		if !ok {
			continue
		}
		d.byName[moduleName(file)] = file
		d.of[file] = strings.Fields(needs)
	}
	builtin := make(map[string]bool)
	b, err = os.ReadFile(filepath.Join(dir, "modules.builtin"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return d, nil, fmt.Errorf("kernel modules: %w", err)
	}
	for line := range strings.Lines(string(b)) {
		builtin[moduleName(strings.TrimSpace(line))] = true
	}
	return d, builtin, nil
}

func moduleName(file string) string { return strings.TrimSuffix(path.Base(file), ".ko") }

// insertModule loads a file (finit_module(2)). The gokrazy kernels' modules are
// neither packed nor signed.
func insertModule(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.FinitModule(int(f.Fd()), "", 0); err != nil && !errors.Is(err, unix.EEXIST) {
		return err
	}
	return nil
}
