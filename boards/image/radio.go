package image

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/fengsui/fengsui/boards"
	"github.com/fengsui/fengsui/boards/image/settings"
)

// ErrRadio means that the folder with the radio's files lacks one, or that the
// board has no radio.
var ErrRadio = errors.New("radio firmware")

// firmwareDir is where the kernel looks for what drivers send to their hardware.
const firmwareDir = "/lib/firmware"

// radio finds what a board's radio needs in the technician's folder: its own
// program, which may not be passed on from here, and the rules of the countries.
// It returns where each file is to be in the image, and where it is now. Without
// wireless settings and folder nothing is wanted.
func (o Options) radio(s *settings.Settings) (map[string]string, error) {
	if s.WiFi == nil && o.RadioFirmware == "" {
		return nil, nil
	}
	b, err := boards.Load(o.Board)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBoard, err)
	}
	switch {
	case b.Radio == nil && s.WiFi != nil:
		return nil, fmt.Errorf("%w: field \"wifi.ssid\": value %q: want ethernet or cellular, since %s has no radio that an image can drive; these have: %s", ErrSettings, s.WiFi.SSID, o.Board, withRadio())
	case b.Radio == nil:
		return nil, fmt.Errorf("%w: value %q: want none, since %s has no radio that an image can drive; these have: %s", ErrRadio, o.RadioFirmware, o.Board, withRadio())
	case o.RadioFirmware == "":
		return nil, fmt.Errorf("%w: field \"wifi.ssid\": value %q: want --radio-firmware DIR beside it, a folder with %s and regulatory.db (Debian: firmware-brcm80211 of non-free-firmware, and wireless-regdb): the radio of %s does nothing without these files, and they may not come with this source",
			ErrSettings, s.WiFi.SSID, oneOf(b.Radio.Files()[0]), o.Board)
	}
	roots := []string{o.RadioFirmware, filepath.Join(o.RadioFirmware, "lib/firmware"), filepath.Join(o.RadioFirmware, "usr/lib/firmware")}
	files := make(map[string]string)
	for _, names := range b.Radio.Files() {
		found := false
		for _, name := range names {
			if path, ok := findIn(roots, name); ok {
				files[firmwareDir+"/"+name], found = path, true // the kernel knows which of both it likes better
			}
		}
		if !found {
			return nil, fmt.Errorf("%w: value %q: want in it %s, which the radio of %s needs", ErrRadio, o.RadioFirmware, oneOf(names), o.Board)
		}
	}
	db, signature, err := o.countries(roots)
	if err != nil {
		return nil, err
	}
	files[firmwareDir+"/regulatory.db"], files[firmwareDir+"/regulatory.db.p7s"] = db, signature
	if s.WiFi != nil {
		if err := hasCountry(db, s.WiFi.Country); err != nil {
			return nil, err
		}
	}
	return files, nil
}

func oneOf(names []string) string { return strings.Join(names, " or ") }

// withRadio lists the boards that have a radio.
func withRadio() string {
	var names []string
	for _, name := range boards.Names() {
		if b, err := boards.Load(name); err == nil && b.Radio != nil {
			names = append(names, name)
		}
	}
	return strings.Join(names, ", ")
}

// findIn returns the file itself where a name is a link, as many of Debian's are.
func findIn(roots []string, name string) (string, bool) {
	for _, root := range roots {
		path, err := filepath.EvalSymlinks(filepath.Join(root, name))
		if err != nil {
			continue
		}
		if st, err := os.Stat(path); err == nil && st.Mode().IsRegular() && st.Size() > 0 {
			if path, err = filepath.Abs(path); err == nil {
				return path, true
			}
		}
	}
	return "", false
}

// signers are those whose signature the pinned kernel for the Raspberry Pi accepts
// (CONFIG_CFG80211_USE_KERNEL_REGDB_KEYS): as it starts it names them, the
// maintainers of wireless-regdb and those of Debian's package.
var signers = []string{"sforshee", "wens", "benh@debian.org", "romain.perier@gmail.com"}

// countries finds the rules of the countries and their signature. Debian's package
// has both twice, and what they are called is a link that its installation makes.
func (o Options) countries(roots []string) (db, signature string, err error) {
	for _, variant := range []string{"", "-upstream", "-debian"} {
		db, ok1 := findIn(roots, "regulatory.db"+variant)
		signature, ok2 := findIn(roots, "regulatory.db.p7s"+variant)
		if !ok1 || !ok2 {
			continue
		}
		b, err := os.ReadFile(signature)
		if err != nil {
			return "", "", err
		}
		if !slices.ContainsFunc(signers, func(s string) bool { return bytes.Contains(b, []byte(s)) }) {
			return "", "", fmt.Errorf("%w: value %q: want a regulatory.db.p7s that is signed by one whom the kernel takes: %s", ErrRadio, signature, oneOf(signers))
		}
		return db, signature, nil
	}
	return "", "", fmt.Errorf("%w: value %q: want in it regulatory.db and regulatory.db.p7s, or both with -upstream (Debian: wireless-regdb)", ErrRadio, o.RadioFirmware)
}

// hasCountry reads the file as the kernel does (Linux, net/wireless/reg.c, struct
// fwdb_header): "RGDB", a version, and four bytes a country, of which the first two
// are its code, until they are 0.
func hasCountry(path, country string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	const magic, version, header, entry = "RGDB", 20, 8, 4
	if len(b) < header || string(b[:4]) != magic || binary.BigEndian.Uint32(b[4:]) != version {
		return fmt.Errorf("%w: value %q: want a regulatory database of version %d", ErrRadio, path, version)
	}
	for at := header; at+entry <= len(b) && b[at] != 0; at += entry {
		if string(b[at:at+2]) == country {
			return nil
		}
	}
	return fmt.Errorf("%w: field \"wifi.country\": value %q: want the code of a country whose rules are in %s, such as CN", ErrSettings, country, path)
}
