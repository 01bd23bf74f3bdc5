package hw

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fengsui/fengsui/firmware/wifi"
)

const brcm = "kernel/drivers/net/wireless/broadcom/brcm80211/"

// moduleTree writes what depmod writes for the driver of a Raspberry Pi's radio.
func moduleTree(t *testing.T) (root string, calls *[]string, m Modules) {
	t.Helper()
	root, calls = t.TempDir(), new([]string)
	dir := filepath.Join(root, "lib/modules/6.12.47-v8")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	util, fmac := brcm+"brcmutil/brcmutil.ko", brcm+"brcmfmac/brcmfmac.ko"
	for name, text := range map[string]string{
		"modules.dep":     util + ":\n" + fmac + ": " + util + "\n" + brcm + "brcmfmac/wcc/brcmfmac-wcc.ko: " + fmac + " " + util + "\n",
		"modules.builtin": "kernel/net/wireless/cfg80211.ko\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	m = Modules{
		Root: root, Release: "6.12.47-v8",
		insert: func(path string) error { *calls = append(*calls, "+"+filepath.Base(path)); return nil },
		remove: func(name string) error { *calls = append(*calls, "-"+name); return nil },
	}
	return root, calls, m
}

func TestModulesAreLoadedInTheirOrder(t *testing.T) {
	_, calls, m := moduleTree(t)
	if err := m.Load("cfg80211", "brcmfmac", "brcmfmac-wcc"); err != nil {
		t.Fatal(err)
	}
	if want := "+brcmutil.ko +brcmfmac.ko +brcmutil.ko +brcmfmac.ko +brcmfmac-wcc.ko"; strings.Join(*calls, " ") != want {
		t.Errorf("got %q, want %q", *calls, want)
	}
	*calls = nil
	if err := m.Unload("brcmfmac", "brcmfmac-wcc"); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(*calls, []string{"-brcmfmac_wcc", "-brcmfmac"}) {
		t.Errorf("got %q, want the last first, by the kernel's name", *calls)
	}
	m.remove = func(string) error { return unix.ENOENT }
	if err := m.Unload("brcmfmac"); err != nil {
		t.Errorf("one that is not loaded: %v", err)
	}
}

func TestModulesNameWhatIsWrong(t *testing.T) {
	_, _, m := moduleTree(t)
	if err := m.Load("rtl8xxxu"); !errors.Is(err, ErrNoModule) || !strings.Contains(err.Error(), "rtl8xxxu") {
		t.Errorf("%v, want ErrNoModule with the name", err)
	}
	m.insert = func(string) error { return unix.ENOEXEC }
	if err := m.Load("brcmfmac"); !errors.Is(err, unix.ENOEXEC) || !strings.Contains(err.Error(), "brcmutil") {
		t.Errorf("%v, want the module that the kernel refuses", err)
	}
	if err := (Modules{Root: t.TempDir()}).Load("brcmfmac"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v, want that there is no folder", err)
	}
	if err := insertModule(filepath.Join(t.TempDir(), "none.ko")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v, want that there is no file", err)
	}
}

// Without its own program, or its driver, a radio is not waited for.
func TestARadioWithoutItsParts(t *testing.T) {
	root, calls, m := moduleTree(t)
	r := &Radio{Interface: "wlan-none", Modules: []string{"brcmfmac"}, Firmware: [][]string{{"brcm/a.b.bin", "brcm/a.bin"}}, kernel: m}
	_, err := r.Open(t.Context(), "CN")
	if !errors.Is(err, wifi.ErrNoDriver) || !strings.Contains(err.Error(), "brcm/a.b.bin or brcm/a.bin") || len(*calls) > 0 {
		t.Errorf("%v, want ErrNoDriver with the files, and nothing loaded", err)
	}
	if err := os.MkdirAll(filepath.Join(root, "lib/firmware/brcm"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "lib/firmware/brcm/a.bin"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	r.kernel.insert = func(path string) error { return fmt.Errorf("%s: %w", path, unix.EINVAL) }
	if _, err := r.Open(t.Context(), "CN"); !errors.Is(err, wifi.ErrNoDriver) || !strings.Contains(err.Error(), "brcmutil") {
		t.Errorf("%v, want ErrNoDriver with the module", err)
	}
}

// This machine may have a radio or none: either is an answer.
func TestWirelessOfThisMachine(t *testing.T) {
	s, err := Wireless()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("state %+v", s)
	if _, err := openStation("wlan-none"); !errors.Is(err, wifi.ErrNoInterface) {
		t.Errorf("%v, want ErrNoInterface", err)
	}
	if err := setUp("wlan-none"); !errors.Is(err, unix.ENODEV) {
		t.Errorf("%v, want ENODEV", err)
	}
	if err := setUp("lo"); err != nil {
		t.Errorf("one that is up: %v", err)
	}
}
