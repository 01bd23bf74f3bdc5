// Package starter is process 1 of an image: it brings the network up, runs the
// firmware as a child, and starts it again when it ends or hangs. It speaks the
// part of systemd's notification protocol that the firmware knows (sd_notify(3):
// READY=1, WATCHDOG=1, STOPPING=1, EXTEND_TIMEOUT_USEC=), so that the firmware is the same under both.
//
// It also takes the card's own settings (package settings) from the boot
// partition, joins their wireless network (package wifi), and feeds the board's watchdog while the firmware lives.
//
// It mounts no file system (the image's own init did), opens no port, and has no
// shell. It stores nothing of the device's work: the firmware does.
package starter

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/fengsui/fengsui/boards/image/settings"
	"github.com/fengsui/fengsui/firmware/config"
)

// Options say what an image is made of.
type Options struct {
	Self       string // path of the firmware's program
	ConfigPath string
	Config     *config.Config
	Programs   string // the folder of the image's other programs
	Boot       string // the device of the boot partition; "": none
	Run        string // a folder in memory, for what other processes are told
	Log        *slog.Logger
}

const (
	// startLimit is how long the firmware may take until it says that it is
	// ready; checking a full spool of a slow card takes a while.
	startLimit = 5 * time.Minute
	// feedLimit is how long the firmware may be silent after that.
	feedLimit = 30 * time.Second
	// respawn is the pause before a program that ended is started again.
	respawn = time.Second
)

// Run runs the image until ctx ends, then ends its programs.
func Run(ctx context.Context, o Options) error {
	signal.Ignore(syscall.SIGHUP) // gokrazy's DHCP client tells process 1 of new addresses so
	c := &children{pids: make(map[int]bool)}
	w := newBoardWatch(o.Log)
	var programs sync.WaitGroup
	programs.Go(func() { c.reap(ctx) })
	programs.Go(func() { w.run(ctx) })
	card, err := takeSettings(o.Boot, o.Config.Data)
	if err != nil {
		o.Log.Error("settings of the card", "err", err)
	}
	if w := card.WiFi; w != nil {
		client := func(ctx context.Context) {
			p := o.dhcp(w.Interface)
			p.children, p.out = c, os.Stderr
			p.supervise(ctx, o.Log.With("program", p.name))
		}
		radio := radioOf(o.Config.Board, w.Interface, o.Log)
		programs.Go(func() { wireless(ctx, radio, *w, o.wifiState(), client, o.Log) })
	}
	if card.Cellular != nil {
		programs.Go(func() { cellular(ctx, *card.Cellular, o.Log) })
	}
	for _, p := range o.programs(w, card) {
		p.children, p.out = c, os.Stderr
		programs.Go(func() { p.supervise(ctx, o.Log.With("program", p.name)) })
	}
	programs.Wait()
	return nil
}

// programs returns what is to run.
func (o Options) programs(w *boardWatch, card *settings.Settings) []*program {
	firmware := &program{
		name: "fengsui", path: o.Self, args: []string{"run", "--config", o.ConfigPath},
		startLimit: startLimit, feedLimit: feedLimit, fed: w.fed, stuck: w.giveUp,
	}
	if w.fired {
		firmware.was = "watchdog"
	}
	firmware.env = []string{NetworksVariable + "=" + strings.Join(cards(card), ",")}
	if card.WiFi != nil {
		firmware.env = append(firmware.env, WiFiVariable+"="+o.wifiState())
	}
	nets, err := o.networks(card)
	if err != nil {
		o.Log.Error("no network", "err", err)
	}
	return append(nets, firmware)
}

func (o Options) wifiState() string { return filepath.Join(o.Run, "fengsui-wifi.json") }
