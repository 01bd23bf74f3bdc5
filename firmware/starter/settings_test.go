package starter

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fengsui/fengsui/boards/image/fat"
	"github.com/fengsui/fengsui/boards/image/settings"
	"github.com/fengsui/fengsui/firmware/internal/hw"
)

// The second card's file takes three clusters, so that its end can outlive its
// beginning.
var card = []byte("join: 7Q-abcdef\nwifi: {ssid: shiqiao, passphrase: very-secret, country: CN}\n#" + strings.Repeat(" filler", 500) + "\n# the end\n")

// bootPartition makes a FAT16 file system as an image has it.
func bootPartition(t *testing.T, content []byte) string {
	t.Helper()
	mkfs, err := exec.LookPath("mkfs.vfat")
	if err != nil {
		if mkfs = "/usr/sbin/mkfs.vfat"; !exists(mkfs) {
			if os.Getenv("CI") == "true" {
				t.Fatal("mkfs.vfat is missing (Debian: dosfstools)")
			}
			t.Skip("not run: mkfs.vfat is missing (Debian: dosfstools)")
		}
	}
	path := filepath.Join(t.TempDir(), "boot")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 16<<20); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(mkfs, "-F", "16", "-s", "4", path).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	disk, boot := openBoot(t, path)
	defer disk.Close()
	for name, b := range map[string][]byte{"cmdline.txt": []byte("root=x"), settings.File: content} {
		if content == nil && name == settings.File {
			continue
		}
		if err := boot.AddFile(name, b); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

func openBoot(t *testing.T, path string) (*hw.Partition, *fat.FS) {
	t.Helper()
	disk, err := hw.OpenPartition(path)
	if err != nil {
		t.Fatal(err)
	}
	boot, err := fat.Open(disk, 0, disk.Size)
	if err != nil {
		t.Fatal(err)
	}
	return disk, boot
}

// erased checks that nothing of the settings is on the partition, and that the
// rest of it is sound.
func erased(t *testing.T, path string) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, what := range []string{"7Q-abcdef", "very-secret", "shiqiao", "filler", "FENGSUI ", "# the end"} {
		if bytes.Contains(raw, []byte(what)) {
			t.Errorf("%q is still on the partition", what)
		}
	}
	disk, boot := openBoot(t, path)
	defer disk.Close()
	if b, err := boot.ReadFile("cmdline.txt"); err != nil || string(b) != "root=x" {
		t.Errorf("another file: %q %v", b, err)
	}
	if out, err := exec.Command("/usr/sbin/fsck.vfat", "-n", path).CombinedOutput(); err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("fsck: %v: %s", err, out)
	}
}

func TestTheSettingsAreTakenAndErased(t *testing.T) {
	boot, folder := bootPartition(t, card), filepath.Join(t.TempDir(), "perm", "fengsui")
	for range 2 { // the second start finds them in the folder
		s, err := takeSettings(boot, folder)
		if err != nil || s.Join != "7Q-abcdef" || s.WiFi.Passphrase != "very-secret" {
			t.Fatalf("%+v %v", s, err)
		}
		erased(t, boot)
	}
	st, err := os.Stat(filepath.Join(folder, storedSettings))
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v %v, want mode 0600", st, err)
	}
	// A card that is given new ones uses these.
	disk, fs16 := openBoot(t, boot)
	if err := fs16.AddFile(settings.File, []byte("join: other\n")); err != nil {
		t.Fatal(err)
	}
	disk.Close()
	if s, err := takeSettings(boot, folder); err != nil || s.Join != "other" || s.WiFi != nil {
		t.Errorf("%+v %v", s, err)
	}
	erased(t, boot)
}

func TestACardWithoutSettings(t *testing.T) {
	s, err := takeSettings(bootPartition(t, nil), t.TempDir())
	if err != nil || *s != (settings.Settings{}) {
		t.Errorf("%+v %v", s, err)
	}
	if s, err := takeSettings("", t.TempDir()); err != nil || *s != (settings.Settings{}) {
		t.Errorf("no partition: %+v %v", s, err)
	}
	if s, err := takeSettings("/nowhere", t.TempDir()); !errors.Is(err, fs.ErrNotExist) || s == nil {
		t.Errorf("%+v %v", s, err)
	}
}

// Whoever wrote a wrong file may mend it: it stays, and what was stored before
// counts.
func TestWrongSettingsStay(t *testing.T) {
	for _, wrong := range []string{"jion: x\n", "join: \x00x\n"} {
		boot, folder := bootPartition(t, []byte(wrong)), t.TempDir()
		s, err := takeSettings(boot, folder)
		if err == nil || *s != (settings.Settings{}) {
			t.Errorf("%q: %+v %v", wrong, s, err)
		}
		disk, fs16 := openBoot(t, boot)
		if b, err := fs16.ReadFile(settings.File); err != nil || string(b) != wrong {
			t.Errorf("the file: %q %v", b, err)
		}
		disk.Close()
	}
}

// A writer stops for ever after so many writes, as a power cut does, and notes
// what was durable then.
type cutDisk struct {
	*hw.Partition
	left int
	sync []byte // as of the last flush
}

var errCut = errors.New("the power is gone")

func (c *cutDisk) WriteAt(b []byte, at int64) (int, error) {
	if c.left--; c.left < 0 {
		return 0, errCut
	}
	return c.Partition.WriteAt(b, at)
}

// Between any two writes of the erasing the power may go, with or without what
// was not flushed: the next start ends what was begun, and nothing is lost.
func TestPowerCutsWhileErasing(t *testing.T) {
	fresh := bootPartition(t, card)
	whole, err := os.ReadFile(fresh)
	if err != nil {
		t.Fatal(err)
	}
	cuts := 0
	for n := 0; ; n++ {
		if err := os.WriteFile(fresh, whole, 0o600); err != nil {
			t.Fatal(err)
		}
		folder := t.TempDir()
		if err := storeSettings(folder, card); err != nil {
			t.Fatal(err)
		}
		disk, err := hw.OpenPartition(fresh)
		if err != nil {
			t.Fatal(err)
		}
		c := &cutDisk{Partition: disk, left: n, sync: bytes.Clone(whole)}
		boot, err := fat.Open(c, 0, disk.Size)
		if err != nil {
			t.Fatal(err)
		}
		err = boot.Erase(settings.File, func() (err error) {
			c.sync, err = os.ReadFile(fresh)
			return err
		})
		disk.Close()
		if err == nil {
			break
		}
		if !errors.Is(err, errCut) {
			t.Fatal(err)
		}
		cuts++
		for _, kept := range []bool{true, false} { // what was not flushed
			if !kept {
				if err := os.WriteFile(fresh, c.sync, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			s, err := takeSettings(fresh, folder)
			if err != nil || s.Join != "7Q-abcdef" || s.WiFi == nil {
				t.Fatalf("after %d writes, the rest kept %v: %+v %v", n, kept, s, err)
			}
			raw, err := os.ReadFile(fresh)
			if err != nil {
				t.Fatal(err)
			}
			for _, secret := range []string{"7Q-abcdef", "very-secret", "filler", "# the end"} {
				if bytes.Contains(raw, []byte(secret)) {
					t.Fatalf("after %d writes, the rest kept %v: %q is still on the partition", n, kept, secret)
				}
			}
		}
	}
	if cuts < 5 {
		t.Errorf("%d cuts, want one at each write", cuts)
	}
}

func TestNetworks(t *testing.T) {
	lines := func(s *settings.Settings) (out []string) {
		t.Helper()
		ps, err := (Options{Programs: "/gokrazy"}).networks(s)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range ps {
			out = append(out, p.path+" "+strings.Join(p.args, " "))
		}
		return out
	}
	if got := lines(new(settings.Settings)); !slices.Equal(got, []string{"/gokrazy/dhcp -interface eth0"}) {
		t.Errorf("nothing said: %q", got)
	}
	got := lines(&settings.Settings{
		Ethernet: &settings.Ethernet{Interface: "enp1s0", Address: "10.20.0.7/16", Gateway: "10.20.0.1", DNS: []string{"10.20.0.2"}},
		WiFi:     &settings.WiFi{Interface: "wlan0"}, // its client starts once it is joined
		Cellular: &settings.Cellular{Interface: "usb0"},
	})
	want := []string{ // the mask is 255.255.0.0 in base 64
		`/gokrazy/dhcp -interface enp1s0 -static_network_config {"IP":"10.20.0.7","Router":"10.20.0.1","Netmask":"//8AAA==","DNS":["10.20.0.2"]}`,
		"/gokrazy/dhcp -interface usb0 -extra_route_priority 10",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// A modem answers OK to all but what holds a word, and keeps what it was sent.
type modem struct {
	io.Reader
	w      *io.PipeWriter
	refuse string
	got    []string
	rest   string
}

func (m *modem) Write(b []byte) (int, error) {
	for m.rest += string(b); ; {
		line, rest, ok := strings.Cut(m.rest, "\r")
		if !ok {
			return len(b), nil
		}
		m.rest = rest
		line = strings.TrimLeft(line, "\n\x1b")
		m.got = append(m.got, line)
		answer := "\r\nOK\r\n"
		if m.refuse != "" && strings.Contains(line, m.refuse) {
			answer = "\r\n+CME ERROR: 30\r\n"
		}
		go func() { fmt.Fprint(m.w, answer) }()
	}
}

func (m *modem) Close() error { return m.w.Close() }

func TestTheModemGetsItsAccessPoint(t *testing.T) {
	c := settings.Cellular{APN: "cmnet", User: "box", Password: "geheim", Commands: []string{`+QCFG="usbnet",1`}}
	for refuse, want := range map[string]string{"": "", "CGDCONT": "AT+CGDCONT=1", "CGAUTH": "AT+CGAUTH:", "usbnet": "usbnet"} {
		r, w := io.Pipe()
		m := &modem{Reader: r, w: w, refuse: refuse}
		err := accessPoint(t.Context(), func(context.Context) (io.ReadWriteCloser, error) { return m, nil }, c)
		if want == "" {
			sent := strings.Join(m.got, "|")
			if err != nil || !strings.HasSuffix(sent, `AT+CGDCONT=1,"IP","cmnet"|AT+CGAUTH=1,2,"box","geheim"|AT+QCFG="usbnet",1`) {
				t.Errorf("%v: sent %s", err, sent)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "geheim") {
			t.Errorf("refused %s: %v, want a word of it, and no secret", refuse, err)
		}
	}
}
