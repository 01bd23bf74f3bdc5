package starter

import (
	"strconv"
	"strings"
	"time"
)

// A life is what a watched program owes: a word in time.
type life struct {
	feedLimit time.Duration
	until     time.Time // when the next word is due
	timer     *time.Timer
	ready     bool
}

// newLife begins a life; with feedLimit 0 nothing is owed.
func newLife(startLimit, feedLimit time.Duration) *life {
	return &life{feedLimit: feedLimit, until: time.Now().Add(startLimit), timer: time.NewTimer(startLimit)}
}

// late is when the program was silent for too long.
func (l *life) late() <-chan time.Time {
	if l.feedLimit == 0 {
		return nil
	}
	return l.timer.C
}

// longest is the most that a program may ask for at once.
const longest = 10 * time.Minute

// sign takes a word of sd_notify(3), and reports whether it is a sign of life. One
// that is not ready yet may ask for more time, again and again, as long as it lives:
// a firmware whose disk refuses the start holds what is pressed in its memory, and to
// start it again would lose that.
func (l *life) sign(word string) bool {
	now := time.Now()
	switch usec, extends := strings.CutPrefix(word, "EXTEND_TIMEOUT_USEC="); {
	case word == "READY=1" || word == "WATCHDOG=1":
		l.ready = true
		l.until = now.Add(l.feedLimit)
	case extends && !l.ready:
		n, err := strconv.ParseInt(usec, 10, 64)
		if err != nil || n <= 0 {
			return false
		}
		// Less than is left takes nothing away, as under systemd.
		if until := now.Add(time.Duration(min(n, longest.Microseconds())) * time.Microsecond); until.After(l.until) {
			l.until = until
		}
	default:
		return false
	}
	l.timer.Reset(l.until.Sub(now))
	return true
}

func (l *life) stop() { l.timer.Stop() }
