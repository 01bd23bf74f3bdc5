package district

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/fengsui/fengsui/sim/child"
	"github.com/fengsui/fengsui/sim/virtboard"
)

// hostSeen is where a machine of QEMU's user network reaches this one's
// loopback address.
const hostSeen = "10.0.2.2"

// What bounds a virtual board's first start: how long it takes, and how often
// the emulator ends by itself.
const (
	firstStart   = 3 * time.Minute
	firstCrashes = 3
)

// ErrBoard means that a virtual board does not start; its log says why.
var ErrBoard = errors.New("the virtual board does not start")

// A Card is what the card of a virtual board does.
type Card string

// What a card can do. The board's watchdog lets one answer that was blocked; a
// liar is one until the power is cut.
const (
	CardBlocks  Card = "block"   // it answers nothing any more, as a card does that hangs
	CardAnswers Card = "release" // … and answers again
	CardLies    Card = "lie"     // it says that it has flushed, and has not
)

// SetCard says what the card of a virtual board does from now on.
func (d *Device) SetCard(c Card) error {
	if !d.Spec.Virtual() {
		return fmt.Errorf("%w: %s has no card", ErrNoPart, d.ID)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return ErrClosed
	}
	d.send(child.Command{Disk: string(c)})
	return nil
}

// makeBoard builds a virtual board's image, writes its card, gives it power and
// waits for the key that it makes at its first start, or has made before.
func (d *Device) makeBoard(ctx context.Context, o Options, w wiring) (key string, err error) {
	if o.Image == nil {
		return "", fmt.Errorf("%w: %s: nobody builds images here", ErrBoard, d.ID)
	}
	_, port, err := net.SplitHostPort(w.server)
	if err != nil {
		return "", fmt.Errorf("district: %s: %w", d.ID, err)
	}
	inside := w
	inside.data, inside.server, inside.gps, inside.reader = "/perm/fengsui", net.JoinHostPort(hostSeen, port), "", ""
	yaml, err := configuration(d.ID, d.Spec, inside)
	if err != nil {
		return "", err
	}
	if _, err := writeFile(o.Data, d.ID+".yaml", yaml); err != nil {
		return "", err
	}
	if d.sockets, err = os.MkdirTemp("", "fengsui-qemu-"); err != nil {
		return "", fmt.Errorf("district: %w", err)
	}
	built, card := filepath.Join(d.sockets, "image"), filepath.Join(o.Data, d.ID+".card")
	if err := o.Image(ctx, d.Spec.Board, yaml, built); err != nil {
		return "", err
	}
	if err := errors.Join(virtboard.WriteCard(built, card), os.Remove(built)); err != nil {
		return "", err
	}
	d.args = []string{"__board", "--card", card, "--dir", d.sockets}
	if w.gps != "" {
		d.args = append(d.args, "--gps", w.gps)
	}
	if w.reader != "" {
		d.args = append(d.args, "--finger", w.reader)
	}
	if err := d.PowerRestore(); err != nil {
		return "", err
	}
	late := time.NewTimer(firstStart)
	defer late.Stop()
	look := time.NewTicker(time.Second)
	defer look.Stop()
	for {
		select {
		case key := <-d.key:
			return key, nil
		case <-look.C:
			if d.Crashes() < firstCrashes {
				continue
			}
			return "", fmt.Errorf("%w: %s: the emulator ends by itself; see %s", ErrBoard, d.ID, d.logPath)
		case <-late.C:
			return "", fmt.Errorf("%w: %s has not said its key after %v; see %s", ErrBoard, d.ID, firstStart, d.logPath)
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
}
