package child

import (
	"fmt"
	"sync"
	"time"
)

// timeServer is how exact the simulated time server keeps a device's clock.
const timeServer = 10 * time.Millisecond

// A systemClock is what a device's system has for a clock. The simulated
// district has a time server: this machine's clock, which is the centre's as
// well, whether or not something disciplines it here.
type systemClock struct {
	mu   sync.Mutex
	off  time.Duration // from this machine's
	kept bool          // by a time server, right or wrong
}

func newSystemClock() *systemClock { return &systemClock{kept: true} }

// set takes a word of the scenario's verb "set clock".
func (c *systemClock) set(word string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	since := func(year int) time.Duration { return time.Until(time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC)) }
	switch word {
	case "right":
		c.off, c.kept = 0, true
	case "free":
		c.off, c.kept = 0, false
	case "in 1970":
		c.off, c.kept = since(1970), false
	case "in 2080":
		c.off, c.kept = since(2080), false
	case "hour ahead":
		c.off, c.kept = time.Hour, true
	case "hour behind":
		c.off, c.kept = -time.Hour, true
	default:
		return fmt.Errorf("clock %q: want right, free, in 1970, in 2080, hour ahead or hour behind", word)
	}
	return nil
}

func (c *systemClock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.off)
}

func (c *systemClock) disciplined() (bool, time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.kept, timeServer
}
