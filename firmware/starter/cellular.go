package starter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/warthog618/modem/at"

	"github.com/fengsui/fengsui/boards/image/settings"
	"github.com/fengsui/fengsui/firmware/internal/hw"
)

const (
	cellularBaud   = 115200 // a USB port takes any
	cellularAnswer = 10 * time.Second
	cellularRetry  = 30 * time.Second
)

// cellular tells the modem which access point to use, again until it has taken
// that, each time that the image starts. The modem then is a network card (ECM or
// NCM) with a DHCP server of its own. There is no PPP: gokrazy's kernels have
// none.
func cellular(ctx context.Context, c settings.Cellular, log *slog.Logger) {
	open := func(ctx context.Context) (io.ReadWriteCloser, error) { return hw.Serial(ctx, c.Port, cellularBaud) }
	for ctx.Err() == nil {
		err := accessPoint(ctx, open, c)
		if err == nil {
			log.Info("the modem has its access point")
			return
		}
		log.Error("the modem has no access point yet", "err", err)
		wait(ctx, cellularRetry)
	}
}

// accessPoint sends the modem what it is to know, once.
func accessPoint(ctx context.Context, open func(context.Context) (io.ReadWriteCloser, error), c settings.Cellular) (err error) {
	port, err := open(ctx)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = port.Close() })() // it ends the reading
	defer func() { err = errors.Join(err, port.Close()) }()
	m := at.New(port, at.WithTimeout(cellularAnswer))
	if err := m.Init(at.WithCmds("Z", "E0")); err != nil {
		return fmt.Errorf("modem: %w", err)
	}
	for _, cmd := range cellularCommands(c) {
		if _, err := m.Command(cmd.text); err != nil {
			return fmt.Errorf("modem: AT%s: %w", cmd.shown, err)
		}
	}
	return nil
}

// A command may hold a secret; shown does not.
type command struct{ text, shown string }

// cellularCommands returns the commands: the packet data context and its log-in
// (3GPP TS 27.007, 10.1.1 and 10.1.31), and what the card's settings add.
func cellularCommands(c settings.Cellular) []command {
	apn := fmt.Sprintf(`+CGDCONT=1,"IP","%s"`, c.APN)
	out := []command{{apn, apn}}
	if c.User != "" || c.Password != "" {
		const papOrCHAP = 2
		out = append(out, command{fmt.Sprintf(`+CGAUTH=1,%d,"%s","%s"`, papOrCHAP, c.User, c.Password), "+CGAUTH"})
	}
	for _, more := range c.Commands {
		out = append(out, command{more, more})
	}
	return out
}
