package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"time"

	"github.com/fengsui/fengsui/firmware/lamp"
	"github.com/fengsui/fengsui/firmware/spool"
)

// extend asks whoever watches for as long as a try may take: checking a full spool
// of a slow card takes a while (sd_notify(3), in microseconds).
const extend = "EXTEND_TIMEOUT_USEC=300000000"

// oneLine makes a text fit for sd_notify(3), which takes a line for a word.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// The pause between two tries of a start that the disk refuses.
const (
	beginFirst = time.Second
	beginLast  = 30 * time.Second
)

// awaitDisk loads the key and opens the spool. While the disk refuses, the lamps
// show a fault, and it tries again and again until ctx ends: a box that is dark
// would look like one in order. Whoever watches the process is told that it lives
// and wants more time, after each try: what is pressed waits in its memory, and
// would be lost with it. A try that hangs gives no sign. It returns what the disk refused, or "". The
// error is one that no waiting helps against: another process has the spool, or
// the folder is not this user's.
func (a *Agent) awaitDisk(ctx context.Context) (refused string, err error) {
	began, tries := a.clock.Mono(), 0
	for pause := beginFirst; ctx.Err() == nil; pause = min(2*pause, beginLast) {
		err := a.openDisk(ctx)
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			return "", nil
		}
		if !diskRefuses(err) {
			return "", err
		}
		tries++
		a.log.Error("the disk refuses the start", "try", tries, "again_in", pause, "err", err)
		refused = err.Error()
		a.tell("STATUS=the disk refuses the start: " + oneLine(refused) + "\n" + extend)
		a.lamps.Show(lamp.State{Fault: true})
		a.status.Store(&Status{Device: a.cfg.Device, Step: lamp.Idle.String(), Faults: []string{faultRefused}})
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return "", nil
		}
	}
	if tries > 0 {
		refused = fmt.Sprintf("%d starts in %v: %s", tries, (a.clock.Mono() - began).Round(time.Second), refused)
	}
	return refused, nil
}

// openDisk does what a start needs of the disk.
func (a *Agent) openDisk(ctx context.Context) (err error) {
	if a.key == nil {
		if a.key, err = LoadOrCreateKey(a.cfg.Data); err != nil {
			return err
		}
	}
	a.spool, err = spool.Recover(SpoolPath(a.cfg), spool.Options{MaxSize: int64(a.cfg.Spool.LimitMiB) << 20, Log: a.log}, func(path string) error {
		return spool.CheckIn(ctx, a.opt.CheckSpool, path)
	})
	return err
}

// diskRefuses reports whether an error is the disk's, which may think better
// of it, and not one of how the device was set up.
func diskRefuses(err error) bool {
	var system syscall.Errno
	return (errors.As(err, &system) || errors.Is(err, spool.ErrDamaged) || errors.Is(err, spool.ErrRefused)) && !errors.Is(err, spool.ErrInUse) &&
		!errors.Is(err, fs.ErrPermission) && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR)
}
