package starter

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/fengsui/fengsui/boards/image/fat"
	"github.com/fengsui/fengsui/boards/image/settings"
	"github.com/fengsui/fengsui/firmware/internal/hw"
)

// storedSettings is the name of the card's settings in the device's folder,
// once they were taken from the boot partition.
const storedSettings = "settings.yaml"

// takeSettings takes the settings that wait on the boot partition into a folder,
// with mode 0600, and erases them where they were, and returns those that are in
// the folder then; none are no error. The partition is left alone when the file
// on it is wrong: whoever wrote it may want to mend it.
func takeSettings(partition, folder string) (*settings.Settings, error) {
	err := takeFrom(partition, folder)
	b, rerr := os.ReadFile(filepath.Join(folder, storedSettings))
	if errors.Is(rerr, fs.ErrNotExist) {
		return new(settings.Settings), err
	}
	s := new(settings.Settings)
	if rerr == nil {
		var perr error
		if s, perr = settings.Parse(storedSettings, b); perr != nil {
			s, rerr = new(settings.Settings), perr
		}
	}
	return s, errors.Join(err, rerr)
}

func takeFrom(partition, folder string) (err error) {
	if partition == "" {
		return nil
	}
	disk, err := hw.OpenPartition(partition)
	if err != nil {
		return fmt.Errorf("boot partition: %w", err)
	}
	defer func() { err = errors.Join(err, disk.Close()) }()
	boot, err := fat.Open(disk, 0, disk.Size)
	if err != nil {
		return fmt.Errorf("boot partition: %w", err)
	}
	b, err := boot.ReadFile(settings.File)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("boot partition: %w", err)
	}
	// A power cut while the file was erased leaves zeros in it, and what it said
	// was stored before.
	if half := bytes.IndexByte(b, 0) >= 0 && exists(filepath.Join(folder, storedSettings)); !half {
		if _, err := settings.Parse(settings.File, b); err != nil {
			return fmt.Errorf("boot partition: %w", err)
		}
		if err := storeSettings(folder, b); err != nil {
			return err
		}
	}
	if err := boot.Erase(settings.File, disk.Sync); err != nil {
		return fmt.Errorf("boot partition: %w", err)
	}
	return nil
}

// storeSettings writes the file so that after a power cut the old one is there,
// or the new one.
func storeSettings(folder string, b []byte) error {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return fmt.Errorf("settings: %w", err)
	}
	tmp, err := os.CreateTemp(folder, ".new-*") // mode 0600
	if err != nil {
		return fmt.Errorf("settings: %w", err)
	}
	_, err = tmp.Write(b)
	if err == nil {
		err = tmp.Sync()
	}
	if err = errors.Join(err, tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), filepath.Join(folder, storedSettings))
	}
	if err != nil {
		return errors.Join(fmt.Errorf("settings: %w", err), os.Remove(tmp.Name()))
	}
	dir, err := os.Open(folder)
	if err != nil {
		return fmt.Errorf("settings: %w", err)
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// ethernetOf returns the settings of the wire, which every image uses.
func ethernetOf(s *settings.Settings) settings.Ethernet {
	if s.Ethernet != nil {
		return *s.Ethernet
	}
	return settings.Ethernet{Interface: "eth0"}
}

// cards returns the names of the network cards, in the order in which they are to
// be used: the wire, the radio, and the modem, which costs money.
func cards(s *settings.Settings) []string {
	out := []string{ethernetOf(s).Interface}
	if s.WiFi != nil {
		out = append(out, s.WiFi.Interface)
	}
	if s.Cellular != nil {
		out = append(out, s.Cellular.Interface)
	}
	return out
}

// dhcp returns gokrazy's DHCP client for a card, which takes a fixed address as
// well. It prefers a route over a card called eth… to others, and while a card has
// no carrier takes its route last.
func (o Options) dhcp(card string, args ...string) *program {
	return &program{name: "dhcp " + card, path: o.Programs + "/dhcp", args: append([]string{"-interface", card}, args...)}
}

// networks returns the programs that bring the networks up from the start.
func (o Options) networks(s *settings.Settings) ([]*program, error) {
	ethernet := ethernetOf(s)
	var args []string
	if ethernet.Address != "" {
		fixed, err := fixedAddress(ethernet)
		if err != nil {
			return nil, err
		}
		args = append(args, "-static_network_config", fixed)
	}
	out := []*program{o.dhcp(ethernet.Interface, args...)}
	if c := s.Cellular; c != nil {
		const last = "10" // after the wire and the radio: it costs money
		out = append(out, o.dhcp(c.Interface, "-extra_route_priority", last))
	}
	return out, nil
}

// fixedAddress returns an address as gokrazy's DHCP client takes it.
func fixedAddress(e settings.Ethernet) (string, error) {
	p, err := netip.ParsePrefix(e.Address)
	if err != nil {
		return "", fmt.Errorf("settings: ethernet.address: %w", err)
	}
	lease := struct {
		IP, Router net.IP
		Netmask    net.IPMask // in base 64
		DNS        []net.IP
	}{IP: p.Addr().AsSlice(), Netmask: net.CIDRMask(p.Bits(), 32), Router: net.ParseIP(e.Gateway)}
	for _, d := range e.DNS {
		lease.DNS = append(lease.DNS, net.ParseIP(d))
	}
	b, err := json.Marshal(lease)
	return string(b), err
}
