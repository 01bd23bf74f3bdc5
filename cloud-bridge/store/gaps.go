package store

import (
	"bytes"
	"cmp"
	"database/sql"
	"slices"
	"time"

	"github.com/fengsui/fengsui/firmware/wire"
)

// streamReader puts a stream together from its rows.
type streamReader struct {
	device int // index in deviceReader.out
	stream Stream
	lanes  map[wire.Lane]*laneReader
}

// laneReader is what the database keeps of a lane.
type laneReader struct {
	LaneState
	known, told, oldest uint64
	holes               []hole
	dropped             []Dropped
	wrong               []Gap
}

// hole is a run of numbers that are not stored.
type hole struct {
	from, to uint64
	since    time.Time
}

func (r *deviceReader) stream(scan func(...any) error) error {
	var device, num int64
	var id, previous []byte
	var heard, why, alarm, duty, track, wall, source, uncert, received sql.NullInt64
	var detail sql.NullString
	if err := scan(&device, &num, &id, &heard, &previous, &why, &alarm, &duty, &track, &detail, &wall, &source, &uncert, &received); err != nil {
		return err
	}
	s := &streamReader{device: r.at[device], lanes: make(map[wire.Lane]*laneReader)}
	s.stream = Stream{ID: wire.StreamID(id), Heard: fromMillis(heard), Lanes: make(map[wire.Lane]LaneState)}
	if why.Valid {
		s.stream.Start = &Start{Received: fromMillis(received)}
		s.stream.Start.Wall = wire.Wall{
			UnixMilli: wall.Int64, Source: wire.WallSource(source.Int64), Uncertainty: time.Duration(uncert.Int64) * time.Millisecond,
		}
		s.stream.Start.StreamStarted = wire.StreamStarted{
			Previous: wire.StreamID(previous), Why: wire.StartWhy(why.Int64), Detail: detail.String,
			Salvaged: map[wire.Lane]uint64{wire.Alarm: uint64(alarm.Int64), wire.Duty: uint64(duty.Int64), wire.Track: uint64(track.Int64)},
		}
	}
	r.streams[num] = s
	r.order = append(r.order, s)
	return nil
}

// of returns a lane of a stream.
func (r *deviceReader) of(stream int64, n wire.Lane) *laneReader {
	lanes := r.streams[stream].lanes
	if lanes[n] == nil {
		lanes[n] = new(laneReader)
	}
	return lanes[n]
}

func (r *deviceReader) lane(scan func(...any) error) error {
	var stream int64
	var n wire.Lane
	var l laneReader
	err := scan(&stream, &n, &l.UpTo, &l.Highest, &l.known, &l.told, &l.oldest, &l.Duplicates)
	if err == nil {
		*r.of(stream, n) = l
	}
	return err
}

func (r *deviceReader) hole(scan func(...any) error) error {
	var stream int64
	var n wire.Lane
	var h hole
	var since sql.NullInt64
	if err := scan(&stream, &n, &h.from, &h.to, &since); err != nil {
		return err
	}
	h.since = fromMillis(since)
	l := r.of(stream, n)
	l.holes = append(l.holes, h)
	return nil
}

func (r *deviceReader) dropped(scan func(...any) error) error {
	var stream int64
	var d Dropped
	var since sql.NullInt64
	if err := scan(&stream, &d.Lane, &d.From, &d.To, &d.Why, &d.Events, &d.Fixes, &d.First, &d.Last, &since); err != nil {
		return err
	}
	d.Stream, d.Received = r.streams[stream].stream.ID, fromMillis(since)
	l := r.of(stream, d.Lane)
	l.dropped = append(l.dropped, d)
	return nil
}

func (r *deviceReader) wrong(scan func(...any) error) error {
	var stream int64
	var g Gap
	var since sql.NullInt64
	if err := scan(&stream, &g.Lane, &g.From, &since, &g.Why); err != nil {
		return err
	}
	g.To, g.Since = g.From, fromMillis(since)
	l := r.of(stream, g.Lane)
	l.wrong = append(l.wrong, g)
	return nil
}

// finish works out what is missing and why, and gives it to the devices.
func (r *deviceReader) finish() {
	for _, s := range r.order {
		d := &r.out[s.device]
		for _, n := range wire.Lanes() {
			l := s.lanes[n]
			if l == nil {
				continue
			}
			for _, g := range l.account() {
				g.Stream, g.Lane = s.stream.ID, n
				d.Gaps = append(d.Gaps, g)
			}
			d.Dropped = append(d.Dropped, l.dropped...)
			s.stream.Lanes[n] = l.LaneState
		}
		d.Streams = append(d.Streams, s.stream)
	}
	for i := range r.out {
		d := &r.out[i]
		slices.SortStableFunc(d.Gaps, func(a, b Gap) int {
			return cmp.Or(bytes.Compare(a.Stream[:], b.Stream[:]), cmp.Compare(a.Lane, b.Lane), cmp.Compare(a.From, b.From))
		})
		slices.SortStableFunc(d.Dropped, func(a, b Dropped) int { return bytes.Compare(a.Stream[:], b.Stream[:]) })
	}
}

// account fills in the lane's state and returns its gaps by number.
func (l *laneReader) account() []Gap {
	var out []Gap
	add := func(from, to uint64, why string, since time.Time) {
		if from > to {
			return
		}
		*l.count(why) += to - from + 1
		if n := len(out); n > 0 && out[n-1].Why == why && out[n-1].To+1 == from {
			out[n-1].To = to
			return
		}
		out = append(out, Gap{From: from, To: to, Why: why, Since: since})
	}
	// share adds the numbers of a run under the reasons that the device gave for
	// them, and the rest under another; an empty one is left out.
	share := func(from, to uint64, named []segment, rest string, since time.Time) {
		for _, n := range named[firstOver(named, from):] {
			if n.from > to {
				break
			}
			if rest != "" {
				add(from, n.from-1, rest, since)
			}
			add(max(from, n.from), min(to, n.to), n.why, cmp.Or(since, n.since))
			from = n.to + 1
		}
		if rest != "" {
			add(from, to, rest, since)
		}
	}
	l.Expected, l.Stored, l.Waiting = l.told, l.known, l.told-l.known
	// What the device no longer holds is named by any range that it is in. What
	// it may still hold is given up only where all of a range is.
	gone := flatten(l.dropped)
	whole := flatten(slices.DeleteFunc(slices.Clone(l.dropped), func(d Dropped) bool { return d.Events != d.To-d.From+1 }))
	for _, h := range l.holes {
		l.Stored -= h.to - h.from + 1
		if h.from < l.oldest {
			share(h.from, min(h.to, l.oldest-1), gone, WhyNever, h.since)
		}
		if h.to >= l.oldest {
			share(max(h.from, l.oldest), h.to, whole, WhyNotYet, h.since)
		}
	}
	// What it gave up of that which is still to come.
	missing := l.Thinned + l.Full + l.Damaged + l.Other
	share(l.known+1, l.told, whole, "", time.Time{})
	l.Waiting -= l.Thinned + l.Full + l.Damaged + l.Other - missing
	l.Fixes = fixesGivenUp(l.dropped)
	for _, g := range l.wrong {
		*l.count(g.Why)++
	}
	out = append(out, l.wrong...)
	slices.SortStableFunc(out, func(a, b Gap) int { return cmp.Compare(a.From, b.From) })
	return out
}

// fixesGivenUp adds up the positions of ranges ordered by their first number. A
// range within another one of the same reason is counted with that: the device
// has summed them up since.
func fixesGivenUp(ranges []Dropped) (n uint64) {
	ranges = slices.Clone(ranges)
	slices.SortStableFunc(ranges, func(a, b Dropped) int { return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(b.To, a.To)) })
	last := make(map[wire.DropWhy]uint64) // the highest number so far
	for _, d := range ranges {
		if d.To > last[d.Why] {
			n += d.Fixes
			last[d.Why] = d.To
		}
	}
	return n
}

// firstOver returns the index of the first segment that does not end before a number.
func firstOver(segments []segment, n uint64) int {
	i, _ := slices.BinarySearchFunc(segments, n, func(s segment, n uint64) int { return cmp.Compare(s.to, n) })
	return i
}

// count is where gaps of a reason are counted.
func (l *LaneState) count(why string) *uint64 {
	switch why {
	case WhyNotYet:
		return &l.Open
	case WhyNever:
		return &l.Never
	case WhyThinned:
		return &l.Thinned
	case WhyFull:
		return &l.Full
	case WhyDamaged:
		return &l.Damaged
	case WhyChain:
		return &l.Breaks
	case WhyTwice:
		return &l.Twice
	}
	return &l.Other
}

// segment is a run of numbers that were given up for one reason.
type segment struct {
	from, to uint64
	why      string
	since    time.Time
}

// flatten makes runs that do not overlap, in order, of ranges ordered by
// their first number. Where ranges overlap the highest reason counts.
func flatten(ranges []Dropped) []segment {
	var out []segment
	var active []*Dropped
	for x := uint64(0); len(ranges) > 0 || len(active) > 0; {
		if len(active) == 0 {
			x = ranges[0].From
		}
		for len(ranges) > 0 && ranges[0].From <= x {
			active, ranges = append(active, &ranges[0]), ranges[1:]
		}
		active = slices.DeleteFunc(active, func(d *Dropped) bool { return d.To < x })
		if len(active) == 0 {
			continue
		}
		top, to := active[0], active[0].To
		for _, d := range active {
			if d.Why > top.Why {
				top = d
			}
			to = min(to, d.To)
		}
		if len(ranges) > 0 {
			to = min(to, ranges[0].From-1)
		}
		why := whyDropped(top.Why)
		if n := len(out); n > 0 && out[n-1].why == why && out[n-1].to+1 == x {
			out[n-1].to = to
		} else {
			out = append(out, segment{x, to, why, top.Received})
		}
		x = to + 1
	}
	return out
}

func whyDropped(w wire.DropWhy) string {
	switch w {
	case wire.DropThinned:
		return WhyThinned
	case wire.DropFull:
		return WhyFull
	case wire.DropDamaged:
		return WhyDamaged
	}
	return WhyOther
}
