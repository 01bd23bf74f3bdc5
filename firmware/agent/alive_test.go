package agent_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/fengsui/fengsui/firmware/agent"
	"github.com/fengsui/fengsui/firmware/wifi"
	"github.com/fengsui/fengsui/firmware/wire"
)

// A watcher keeps what an agent says of itself, and when.
type watcher struct {
	mu   sync.Mutex
	said []string
	last time.Time // of a sign of life
}

func (w *watcher) notify(state string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.said = append(w.said, state)
	if state == "WATCHDOG=1" {
		w.last = time.Now()
	}
	return nil
}

func (w *watcher) silent() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Since(w.last)
}

func TestSignsOfLife(t *testing.T) {
	inWorld(t, "health: {every: 5m}\n", func(w *world) {
		w.off()
		var seen watcher
		w.opt.Notify, w.opt.NotifyEvery = seen.notify, 10*time.Second
		w.power()
		time.Sleep(20 * time.Minute)
		if d := seen.silent(); d > 10*time.Second {
			t.Errorf("a sound agent was last heard %v ago", d)
		}
		w.off()
		if first, last := seen.said[0], seen.said[len(seen.said)-1]; first != "READY=1" || last != "STOPPING=1" {
			t.Errorf("said %s at first and %s at last", first, last)
		}
		w.power()
		// A spool that takes nothing any more is no process that runs.
		if err := agent.Spool(w.a).Close(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(4 * time.Minute)
		if d := seen.silent(); d > 10*time.Second {
			t.Errorf("after four minutes, in which what happens waits in memory, it was last heard %v ago", d)
		}
		time.Sleep(3 * time.Minute)
		if d := seen.silent(); d < time.Minute {
			t.Errorf("the spool has refused for seven minutes, and there was a sign of life %v ago", d)
		}
	})
}

// starts returns why the agent said that it started, each time.
func starts(w *world) (out []wire.Started) {
	for _, h := range bodies[*wire.Health](w) {
		if h.Started != "" {
			out = append(out, h.Started)
		}
	}
	return out
}

func TestWhyItStarted(t *testing.T) {
	inWorld(t, "", func(w *world) {
		root := w.opt.BoardRoot
		file := func(path, text string) {
			t.Helper()
			path = filepath.Join(root, path)
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		kernel := func(id string) { file("proc/sys/kernel/random/boot_id", id+"\n") }
		// cut ends a run as a cut does: without a word.
		cut := func() {
			t.Helper()
			was, err := os.ReadFile(filepath.Join(w.cfg.Data, "run.json"))
			if err != nil {
				t.Fatal(err)
			}
			w.off()
			if err := os.WriteFile(filepath.Join(w.cfg.Data, "run.json"), was, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		next := func(was string) { w.opt.Was = was; w.power(); time.Sleep(time.Second) }
		time.Sleep(time.Second)
		cut() // the first run had no kernel's name
		kernel("one")
		next("")
		cut()
		next("")
		cut()
		next(agent.WasHung)
		cut()
		kernel("two")
		next(agent.WasReset)
		cut()
		kernel("three")
		file("sys/class/watchdog/watchdog0/bootstatus", "32\n") // WDIOF_CARDRESET
		next("")
		cut()
		kernel("four")
		file("sys/fs/pstore/dmesg-ramoops-0", "Kernel panic")
		next("")
		w.off()
		kernel("five")
		next("")
		cut()
		file("sys/class/watchdog/watchdog0/bootstatus", "0\n")
		if err := os.Remove(filepath.Join(root, "sys/fs/pstore/dmesg-ramoops-0")); err != nil {
			t.Fatal(err)
		}
		kernel("six")
		file("proc/device-tree/chosen/bootloader/pm_rsts", "\x00\x00\x10\x00")
		next("")
		cut()
		kernel("seven")
		file("proc/device-tree/chosen/bootloader/pm_rsts", "\x00\x00\x00\x20")
		next("")
		w.off()
		if err := os.WriteFile(filepath.Join(w.cfg.Data, "run.json"), []byte("{"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(filepath.Join(root, "proc/device-tree/chosen/bootloader/pm_rsts")); err != nil {
			t.Fatal(err)
		}
		next("")
		want := []wire.Started{
			"unknown", "power", "crashed", "hung", "watchdog", "watchdog", "panic", "commanded", "power", "watchdog", "unknown",
		}
		if got := starts(w); !slices.Equal(got, want) {
			t.Errorf("got  %v\nwant %v", got, want)
		}
	})
}

// How it stands with the wireless network is in each heartbeat; a device without one
// says nothing, and one that cannot tell does not fail for it.
func TestTheWirelessNetworkIsTold(t *testing.T) {
	var mu sync.Mutex
	var st *wifi.State
	var failed error
	inWorldOf(t, "", func(w *world) {
		w.opt.WiFi = func() (*wifi.State, error) {
			mu.Lock()
			defer mu.Unlock()
			return st, failed
		}
	}, func(w *world) {
		for _, c := range []struct {
			st   *wifi.State
			err  error
			want wire.Health
		}{
			{nil, nil, wire.Health{}},
			{&wifi.State{Condition: wifi.Joined, SSID: "石桥村", SignalDBm: -61}, nil, wire.Health{WiFi: "joined", SSID: "石桥村", RadioDBm: -61}},
			{&wifi.State{Condition: wifi.Refused, SSID: "a\xff", Error: "no"}, nil, wire.Health{WiFi: "refused", SSID: "a\ufffd"}},
			{nil, errors.New("netlink"), wire.Health{}},
		} {
			mu.Lock()
			st, failed = c.st, c.err
			mu.Unlock()
			time.Sleep(40 * time.Second)
			all := bodies[*wire.Health](w)
			if h := all[len(all)-1]; h.WiFi != c.want.WiFi || h.SSID != c.want.SSID || h.RadioDBm != c.want.RadioDBm {
				t.Errorf("%+v: told %q %q %d", c.st, h.WiFi, h.SSID, h.RadioDBm)
			}
		}
	})
}

func TestTheBoardsSensors(t *testing.T) {
	inWorld(t, "", func(w *world) {
		root := w.opt.BoardRoot
		set := func(temp, throttled string) {
			t.Helper()
			for path, text := range map[string]string{
				"sys/class/thermal/thermal_zone0/temp": "1000\n", "sys/class/thermal/thermal_zone1/temp": temp,
				"sys/devices/platform/soc/soc:firmware/get_throttled": throttled,
			} {
				path = filepath.Join(root, path)
				if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(40 * time.Second)
		}
		last := func() *wire.Health {
			all := bodies[*wire.Health](w)
			return all[len(all)-1]
		}
		if h := last(); h.Temperature != nil || h.Supply != nil {
			t.Errorf("without sensors: %+v", h)
		}
		set("48312\n", "50005\n")
		h := last()
		if h.Temperature == nil || *h.Temperature != 483 || h.Supply == nil ||
			*h.Supply != wire.UnderVoltage|wire.UnderVoltageWas|wire.Throttled|wire.ThrottledWas {
			t.Errorf("warm and starved: %+v", h)
		}
		if !slices.Contains(h.Faults, "under_voltage") {
			t.Errorf("faults %v, want under_voltage", h.Faults)
		}
		set("-300000\n", "0x50000\n")
		if h := last(); *h.Temperature != 10 || *h.Supply != wire.UnderVoltageWas|wire.ThrottledWas || slices.Contains(h.Faults, "under_voltage") {
			t.Errorf("a broken sensor, and enough to eat again: %+v", h)
		}
	})
}
