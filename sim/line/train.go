package line

import (
	"context"
	"math/rand/v2"
	"time"
)

// A Move is a change of a line's outside, some time after the train's start.
type Move struct {
	After time.Duration `json:"after"` // nanoseconds in JSON
	Drive Drive         `json:"drive"`
}

// A Train is a sequence of moves in the order of their times.
type Train []Move

// Contact returns the train of a contact that goes to a drive at once.
func Contact(to Drive) Train { return Train{{0, to}} }

// Bounce returns the train of a contact that bounces before it rests at a
// drive: 3 to 20 further moves, each 20 µs to 1 ms after the one before, so
// that it rests after at most 20 ms. Measured switches bounce for 1.6 ms on
// average and 6.2 ms at worst, one odd switch left aside (J. Ganssle, "A Guide
// to Debouncing", 2004/2014).
func Bounce(rest, other Drive, rng *rand.Rand) Train {
	t := Train{{0, rest}}
	at := time.Duration(0)
	for range 2 + rng.IntN(9) {
		for _, d := range []Drive{other, rest} {
			at += 20*time.Microsecond + time.Duration(rng.Int64N(int64(980*time.Microsecond)))
			t = append(t, Move{at, d})
		}
	}
	return t
}

// Lasts returns when the train's last move is.
func (t Train) Lasts() time.Duration {
	if len(t) == 0 {
		return 0
	}
	return t[len(t)-1].After
}

// Play moves the line as the train says. It returns early, with the context's
// error, when ctx ends.
func (l *Line) Play(ctx context.Context, t Train) error {
	start := time.Now()
	for _, m := range t {
		if wait := m.After - time.Since(start); wait > 0 {
			timer := time.NewTimer(wait)
			select {
			case <-timer.C:
			case <-ctx.Done():
				timer.Stop()
				return ctx.Err()
			}
		}
		if err := l.Drive(m.Drive); err != nil {
			return err
		}
	}
	return nil
}
