package uplink

import (
	"time"

	"github.com/fengsui/fengsui/firmware/spool"
	"github.com/fengsui/fengsui/firmware/wire"
)

// The window of a lane. What is in flight is in the way of a newer alarm, in
// the buffers of a modem or the broker. So its bytes follow the speed of the
// link: half as many when an Ack takes longer than slowAck, twice as many when
// it takes less than fastAck. Its events are as many as a broker passes on in a
// few milliseconds. A lane that has filled its window goes on when half of it is
// free: one at a time, each event would cost an Ack of its own.
const (
	mostRecords = 32
	windowFirst = 8 << 10
	windowLeast = 1 << 10 // one event is always allowed
	windowMost  = 64 << 10
	alarmWindow = 16 << 10
	fastAck     = 300 * time.Millisecond
	slowAck     = 1500 * time.Millisecond
)

// A sent is an event in flight.
type sent struct {
	seq  uint64
	hash wire.Hash
	size int
	at   time.Time
}

// A flight is a lane's part of a connection.
type flight struct {
	at    place
	next  uint64 // the number to send next
	told  uint64 // the oldest number that the centre knows of, by a hello or its own Ack
	fly   []sent // not acknowledged
	bytes int    // of fly

	full    bool      // until half of the window is free
	window  int       // for bytes
	fitted  time.Time // when window changed; younger events tell how it fits
	moved   time.Time // of the last Ack that moved something, or of the first in flight
	resent  time.Time
	resends int       // since moved
	blocked time.Time // not read before this: the store failed
}

func newFlight(at place) *flight {
	f := &flight{at: at, window: windowFirst}
	if at.lane == wire.Alarm {
		f.window = alarmWindow
	}
	return f
}

// restart puts the lane back to its oldest event.
func (f *flight) restart(oldest uint64, now time.Time) {
	f.next, f.fly, f.bytes, f.resent = oldest, nil, 0, now
}

// room returns how many events and bytes may be sent.
func (f *flight) room() (records, bytes int) {
	records, bytes = mostRecords-len(f.fly), f.window-f.bytes
	if f.full = f.full && (records < mostRecords/2 || bytes < f.window/2); f.full {
		return 0, 0
	}
	if len(f.fly) > 0 && (bytes <= 0 || records <= 0) {
		f.full = f.at.lane != wire.Alarm
		return 0, 0
	}
	return records, max(bytes, 1)
}

func (f *flight) sent(r spool.Record, now time.Time) {
	if len(f.fly) == 0 && f.resends == 0 {
		f.moved = now
	}
	f.fly = append(f.fly, sent{r.Seq, wire.HashOf(r.Data), len(r.Data), now})
	f.bytes += len(r.Data)
	f.next = r.Seq + 1
}

// landed takes from the flight what is older than oldest.
func (f *flight) landed(oldest uint64, now time.Time) {
	if f.next < oldest {
		f.next = oldest
	}
	n := 0
	var took time.Duration
	for n < len(f.fly) && f.fly[n].seq < oldest {
		if e := f.fly[n]; e.at.After(f.fitted) {
			took = now.Sub(e.at)
		}
		f.bytes -= f.fly[n].size
		n++
	}
	if n == 0 {
		return
	}
	f.fly = f.fly[n:]
	f.moved, f.resends = now, 0
	f.fit(took, now)
}

func (f *flight) fit(took time.Duration, now time.Time) {
	switch {
	case f.at.lane == wire.Alarm || took == 0:
	case took > slowAck:
		f.window, f.fitted = max(f.window/2, windowLeast), now
	case took < fastAck:
		f.window, f.fitted = min(f.window*2, windowMost), now
	}
}

// stalled reports whether the lane should be sent again: the wait doubles with
// each time that it did not help.
func (f *flight) stalled(now time.Time) bool {
	wait := min(resendAfter<<min(f.resends, 8), silentAfter)
	return len(f.fly) > 0 && now.Sub(f.moved) >= resendAfter && now.Sub(f.resent) >= wait
}
