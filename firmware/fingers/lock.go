package fingers

import "time"

// A Lock keeps fingers from being tried out: after so many failures in a row no
// finger counts for a while, and after each time that this happens again for
// twice as long. A good match ends the count; so does quiet. Its times are
// those of a clock that counts from the device's start. The zero value of its
// state is unlocked.
type Lock struct {
	After int           // failures in a row that lock; 0: never
	For   time.Duration // the first time
	Max   time.Duration // at most

	Fails  int           // failures in a row
	Times  int           // how often it was locked since the last good match
	Until  time.Duration // when it ends
	Last   time.Duration // of the last failure
	locked bool
}

const (
	// forgetFails is how long after the last failure the next begins the count anew.
	forgetFails = 10 * time.Minute
	// forgetTimes is how long after it the next lock is the first again.
	forgetTimes = 2 * time.Hour
)

// Failed counts a failure, and reports whether that has locked it.
func (l *Lock) Failed(now time.Duration) bool {
	if l.After == 0 || l.Locked(now) {
		return false
	}
	if now-l.Last > forgetFails {
		l.Fails = 0
	}
	if now-l.Last > forgetTimes {
		l.Times = 0
	}
	l.Fails, l.Last = l.Fails+1, now
	if l.Fails < l.After {
		return false
	}
	l.Fails = 0
	l.Times++
	l.locked, l.Until = true, now+l.lasts()
	return true
}

// lasts is how long the present lock is.
func (l *Lock) lasts() time.Duration {
	d := l.For
	for i := 1; i < l.Times && d < l.Max; i++ {
		d *= 2
	}
	return min(d, l.Max)
}

// Locked reports whether no finger counts now.
func (l *Lock) Locked(now time.Duration) bool { return l.locked && now < l.Until }

// Ended reports, once, that a lock is over.
func (l *Lock) Ended(now time.Duration) bool {
	if !l.locked || now < l.Until {
		return false
	}
	l.locked = false
	return true
}

// Matched takes note of a good match.
func (l *Lock) Matched() { l.Fails, l.Times = 0, 0 }

// Restore takes the state from before a restart. Nobody knows how long that was
// ago: a lock begins anew, so that a power cut shortens none.
func (l *Lock) Restore(fails, times int, locked bool, now time.Duration) {
	l.Fails, l.Times, l.Last = fails, times, now
	if locked && l.After > 0 {
		l.locked, l.Until = true, now+l.lasts()
	}
}
