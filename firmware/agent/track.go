package agent

import (
	"math"
	"time"

	"github.com/fengsui/fengsui/firmware/gps"
	"github.com/fengsui/fengsui/firmware/wire"
)

// A batcher gathers fixes into the batches of the track lane.
type batcher struct {
	thin   gps.Thinner
	fixes  []wire.TrackFix // not dated yet
	monos  []time.Duration // of the fixes
	said   []time.Time     // by the receiver; zero: no date
	at     stamp           // of the newest of them
	since  time.Duration   // Mono of the oldest of them
	doubts bool            // the newest kept fix was not believed
	last   *gps.Fix        // the newest fix, thinned or not, believed or not
	seen   time.Duration   // Mono at which it came
	heard  time.Duration   // Mono at which the receiver was heard, with a fix or without
}

// fixed takes a fix from the receiver.
func (a *Agent) fixed(f gps.Fix) {
	if f.Active && !f.Time.IsZero() {
		a.clock.OfferGNSS(f.Time)
	}
	a.faultEnded(faultGPS)
	a.faultEnded(faultNoFix)
	b, at := &a.batch, a.stamp()
	b.last, b.seen, b.heard = &f, at.mono, at.mono
	believed := a.place(f, at.mono)
	if believed && a.cfg.Terminal != nil {
		a.path.add(f.Lat, f.Lon, at.mono)
	}
	b.thin.Still = time.Duration(a.cfg.Track.Still)
	paced := f
	if f.Time.IsZero() {
		paced.Time = time.Unix(0, int64(at.mono)) // only what lies between fixes matters
	}
	if keep := b.thin.Keep(paced); !keep && believed == !b.doubts {
		return
	}
	b.doubts = !believed
	if len(b.fixes) == 0 {
		b.since = at.mono
	}
	t := trackFix(&f)
	if !believed {
		t.Flags |= wire.Jumped
	}
	b.fixes = append(b.fixes, t)
	b.monos, b.said, b.at = append(b.monos, at.mono), append(b.said, f.Time), at
	a.flushTrack(false)
}

// date gives the fixes of a batch their times, now that the clock knows as
// much as it will before they leave. One that is not believed is marked, and
// the centre dates it by its monotonic time.
func (a *Agent) date(b *batcher) {
	for i := range b.fixes {
		f := &b.fixes[i]
		t, ok := a.clock.Date(b.monos[i], b.said[i])
		if !ok {
			f.Flags |= wire.DoubtTime
			f.Mono = b.monos[i].Milliseconds()
		}
		f.Time = max(t.UnixMilli(), 0)
	}
}

func trackFix(f *gps.Fix) wire.TrackFix {
	t := wire.TrackFix{
		LatE6: int64(math.Round(f.Lat * 1e6)), LonE6: int64(math.Round(f.Lon * 1e6)),
		Alt: int64(math.Round(f.Alt)), Speed: int64(math.Round(f.Speed * 10)),
		Course: int64(math.Round(f.Course)) % 360, HDOP: int64(math.Round(f.HDOP * 10)),
	}
	for flag, has := range map[wire.TrackFlag]bool{
		wire.Fix3D: f.Mode == gps.Mode3D, wire.HasAlt: f.HasAlt, wire.HasSpeed: f.HasSpeed,
		wire.HasCourse: f.HasCourse, wire.HasHDOP: f.HDOP > 0,
	} {
		if has {
			t.Flags |= flag
		}
	}
	return t
}

// flushTrack closes the batch when it is full, when the link is up and it is
// old enough, or when it must be.
func (a *Agent) flushTrack(must bool) {
	b := &a.batch
	full := len(b.fixes) >= a.cfg.Track.Batch
	due := a.uplink.Status().Heard && a.clock.Mono()-b.since >= time.Duration(a.cfg.Track.CloseAfter)
	if len(b.fixes) == 0 || !must && !full && !due {
		return
	}
	a.date(b)
	a.store(b.at, wire.Track, &wire.TrackBatch{Fixes: b.fixes}, nil)
	b.fixes, b.monos, b.said = nil, nil, nil
}
