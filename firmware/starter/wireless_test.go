package starter

import (
	"context"
	"log/slog"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fengsui/fengsui/boards/image/settings"
	"github.com/fengsui/fengsui/firmware/config"
	"github.com/fengsui/fengsui/firmware/wifi"
	"github.com/fengsui/fengsui/firmware/wifi/wifitest"
)

// What goes wrong in the air is in package wifi's tests; here a radio is driven as
// the image does it: its state is left for the firmware, and an address is asked
// for anew each time.
func TestTheWirelessNetwork(t *testing.T) {
	file := filepath.Join(t.TempDir(), "wifi.json")
	synctest.Test(t, func(t *testing.T) {
		radio := wifitest.New()
		radio.Driver(false)
		running, started := 0, 0
		dhcp := func(ctx context.Context) {
			running++
			started++
			if running > 1 {
				t.Error("two DHCP clients run at once")
			}
			<-ctx.Done()
			time.Sleep(time.Second) // it takes a while to die
			running--
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			w := settings.WiFi{Interface: "wlan0", SSID: "石桥村", Passphrase: "very-secret", Country: "CN"}
			wireless(ctx, radio, w, file, dhcp, slog.New(slog.DiscardHandler))
		}()
		is := func(after time.Duration, want wifi.Condition, clients, starts int) {
			t.Helper()
			time.Sleep(after)
			synctest.Wait()
			s, err := wifi.Read(file)
			if err != nil || s == nil || s.Condition != want || s.SSID != "石桥村" {
				t.Fatalf("state %+v %v: want %s", s, err, want)
			}
			if running != clients || started != starts {
				t.Errorf("%d DHCP clients run, %d were started: want %d and %d", running, started, clients, starts)
			}
		}
		const one, two = "02:00:00:00:00:01", "02:00:00:00:00:02"
		ap := wifitest.AP{SSID: "石桥村", Passphrase: "very-secret", MHz: 2412, SignalDBm: -60}
		is(time.Minute, wifi.NoDriver, 0, 0)
		radio.Driver(true)
		is(time.Minute, wifi.Away, 0, 0)
		radio.Put(one, ap)
		is(time.Minute, wifi.Joined, 1, 1)
		if radio.Country() != "CN" {
			t.Errorf("country %q: want that of the settings", radio.Country())
		}
		radio.Put(two, ap)
		radio.Roam(two)
		is(10*time.Second, wifi.Joined, 1, 2)
		radio.Remove(one)
		radio.Remove(two)
		is(time.Minute, wifi.Away, 1, 2) // it keeps the routes in their place
		ap.Passphrase = "another"
		radio.Put(one, ap)
		is(time.Minute, wifi.Refused, 1, 2)
		ap.Passphrase = "very-secret"
		radio.Put(one, ap)
		is(time.Minute, wifi.Joined, 1, 3)
		stop()
		<-ended
		if running != 0 {
			t.Errorf("%d DHCP clients outlive it", running)
		}
	})
}

// The firmware is told which cards there are, and where the radio's state is.
func TestTheFirmwareIsToldOfItsNetworks(t *testing.T) {
	o := Options{Self: "/user/fengsui", Programs: "/gokrazy", Run: "/run", Config: &config.Config{}, Log: slog.New(slog.DiscardHandler)}
	told := func(card *settings.Settings) []string {
		ps := o.programs(new(boardWatch), card)
		return ps[len(ps)-1].env
	}
	if got := told(new(settings.Settings)); !slices.Equal(got, []string{"FENGSUI_NETWORKS=eth0"}) {
		t.Errorf("nothing said: %q", got)
	}
	got := told(&settings.Settings{
		Ethernet: &settings.Ethernet{Interface: "enp1s0"}, WiFi: &settings.WiFi{Interface: "wlan0"}, Cellular: &settings.Cellular{Interface: "usb0"},
	})
	if want := []string{"FENGSUI_NETWORKS=enp1s0,wlan0,usb0", "FENGSUI_WIFI=/run/fengsui-wifi.json"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// Each board's radio is told to the driver as board.yaml has it.
func TestTheBoardsRadio(t *testing.T) {
	r := radioOf("rpi-4b", "wlan0", slog.New(slog.DiscardHandler))
	if r.Interface != "wlan0" || !slices.Equal(r.Modules, []string{"brcmfmac", "brcmfmac-wcc"}) || len(r.Firmware) != 3 || !slices.Contains(r.Firmware[0], "brcm/brcmfmac43455-sdio.raspberrypi,4-model-b.bin") {
		t.Errorf("got %+v", r)
	}
	if r := radioOf("virt", "wlan0", slog.New(slog.DiscardHandler)); len(r.Modules)+len(r.Firmware) != 0 {
		t.Errorf("a board without: %+v", r)
	}
}
