package uplink

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// overPatience is how long one network may take before the next is tried beside it.
const overPatience = time.Second

// Over returns a Dialer for a device with several networks: a broker is reached
// over whichever of them has it. The way that the kernel prefers is tried first,
// and when that fails, or has not answered within a second, the cards of those
// names in their order, a second apart. The first connection counts, the others are
// closed. A route that leads nowhere, as that of a wire to a dead switch does, so
// costs a second; the kernel would keep to it for as long as the wire has a carrier.
//
// dial reaches an address over a card, or as the kernel likes where that is "";
// nil: TCP.
func Over(cards []string, dial func(ctx context.Context, card, address string) (net.Conn, error)) Dialer {
	if dial == nil {
		dial = dialCard
	}
	ways := append([]string{""}, cards...)
	return func(ctx context.Context, address string) (net.Conn, error) {
		ctx, stop := context.WithCancel(ctx)
		defer stop()
		type outcome struct {
			conn net.Conn
			err  error
		}
		outcomes := make(chan outcome, len(ways))
		next, running := 0, 0
		start := func() {
			card := ways[next]
			next++
			running++
			go func() {
				conn, err := dial(ctx, card, address)
				if err != nil && card != "" {
					err = fmt.Errorf("over %s: %w", card, err)
				}
				outcomes <- outcome{conn, err}
			}()
		}
		start()
		t := time.NewTimer(overPatience)
		defer t.Stop()
		var won net.Conn
		var errs []error
		for running > 0 {
			select {
			case o := <-outcomes:
				running--
				switch {
				case o.err != nil:
					errs = append(errs, o.err)
				case won == nil:
					won = o.conn
					stop() // the others end, and are waited for
				default:
					_ = o.conn.Close() // it was too late
				}
			case <-t.C:
			}
			if won == nil && next < len(ways) && ctx.Err() == nil {
				start()
				t.Reset(overPatience)
			}
		}
		if won == nil {
			return nil, errors.Join(errs...)
		}
		return won, nil
	}
}

// dialCard dials by TCP over a card (socket(7), SO_BINDTODEVICE), whatever the
// routes prefer; names are asked for over it as well. Since Linux 5.7 that wants no
// capability.
func dialCard(ctx context.Context, card, address string) (net.Conn, error) {
	d := new(net.Dialer)
	if card == "" {
		return d.DialContext(ctx, "tcp", address)
	}
	if _, err := net.InterfaceByName(card); err != nil {
		return nil, err
	}
	bind := func(_, _ string, c syscall.RawConn) error {
		var err error
		if cerr := c.Control(func(fd uintptr) { err = unix.BindToDevice(int(fd), card) }); cerr != nil {
			return cerr
		}
		return err
	}
	d.Control = bind
	ask := &net.Dialer{Control: bind}
	d.Resolver = &net.Resolver{PreferGo: true, Dial: ask.DialContext}
	return d.DialContext(ctx, "tcp", address)
}
