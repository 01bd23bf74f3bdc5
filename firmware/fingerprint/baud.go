package fingerprint

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
)

// probeTimeout is how long a sensor has to answer at a speed that is tried.
const probeTimeout = 400 * time.Millisecond

// Bauds are the speeds that a sensor of the family can be set to, 9600 times 1
// to 12 (ZFM-20 user manual, system parameters; the R503 is sold at 57600),
// those that are sold first.
func Bauds() []int {
	bauds := []int{57600, 115200, 9600, 19200, 38400}
	for n := 1; n <= 12; n++ {
		if b := 9600 * n; !slices.Contains(bauds, b) {
			bauds = append(bauds, b)
		}
	}
	return bauds
}

// FindBaud looks at which speed a sensor answers that does not at the one that
// was tried: it shows it the password at every other speed. Whatever it
// answers, it has been found. The error wraps ErrTimeout when it answers at
// none, or is what open said at all of them, or the context's.
func FindBaud(ctx context.Context, open func(ctx context.Context, baud int) (io.ReadWriteCloser, error), tried int, opt Options) (int, error) {
	opt.Timeout = probeTimeout
	var failed error
	opened := false
	for _, baud := range Bauds() {
		if baud == tried {
			continue
		}
		port, err := open(ctx, baud)
		if err != nil { // such as a speed that the port cannot have
			if failed = err; ctx.Err() != nil {
				return 0, ctx.Err()
			}
			continue
		}
		opened = true
		s := New(port, opt)
		err = s.VerifyPassword(ctx)
		_ = s.Close() // nothing is to come of it
		var code Code
		switch {
		case err == nil, errors.As(err, &code) && code != ErrPacket:
			return baud, nil
		case ctx.Err() != nil:
			return 0, ctx.Err()
		}
	}
	if !opened && failed != nil {
		return 0, fmt.Errorf("fingerprint: at any speed: %w", failed)
	}
	return 0, fmt.Errorf("fingerprint: %w at any speed", ErrTimeout)
}
