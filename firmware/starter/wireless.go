package starter

import (
	"context"
	"log/slog"

	"github.com/fengsui/fengsui/boards"
	"github.com/fengsui/fengsui/boards/image/settings"
	"github.com/fengsui/fengsui/firmware/internal/hw"
	"github.com/fengsui/fengsui/firmware/wifi"
)

// Of the environment's words to the firmware: the file with the state of the
// wireless network (see wifi.Read), where there is one, and the names of the
// networks' cards, separated by commas, in the order in which they are to be used.
const (
	WiFiVariable     = "FENGSUI_WIFI"
	NetworksVariable = "FENGSUI_NETWORKS"
)

// radioOf returns a board's radio. One that no board.yaml describes may be in the
// kernel all the same.
func radioOf(board, card string, log *slog.Logger) *hw.Radio {
	r := &hw.Radio{Interface: card, Warn: func(err error) { log.Warn("wireless network", "err", err) }}
	if b, err := boards.Load(board); err == nil && b.Radio != nil {
		r.Modules, r.Firmware = b.Radio.Modules, b.Radio.Files()
	}
	return r
}

// wireless keeps the card's wireless network until ctx ends, leaves its state in a
// file, and asks for an address anew whenever the radio has come into the network,
// or to another access point: one of the same name may belong to another network.
func wireless(ctx context.Context, radio wifi.Radio, w settings.WiFi, file string, dhcp func(context.Context), log *slog.Logger) {
	l := &lease{run: dhcp}
	defer l.end()
	tell := func(s wifi.State) {
		if err := wifi.Write(file, s); err != nil {
			log.Error("wireless network", "err", err)
		}
	}
	n := wifi.Network{SSID: w.SSID, Passphrase: w.Passphrase, Country: w.Country}
	wifi.Run(ctx, radio, n, tell, func(wifi.Link) { l.renew(ctx) }, log)
}

// A lease is a DHCP client that runs once at most. It goes on while the radio has
// lost its network: it gives the routes over it the last place then.
type lease struct {
	run   func(context.Context)
	stop  context.CancelFunc
	ended chan struct{}
}

func (l *lease) renew(ctx context.Context) {
	l.end()
	ctx, l.stop = context.WithCancel(ctx)
	ended := make(chan struct{})
	l.ended = ended
	go func() {
		defer close(ended)
		l.run(ctx)
	}()
}

func (l *lease) end() {
	if l.stop != nil {
		l.stop()
		<-l.ended
	}
}
