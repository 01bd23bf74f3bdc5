// Package supervise judges which devices can be heard.
//
// A device says a hello every 30 s while it has a connection. One that is
// silent for a minute is suspect, and offline before a minute and a half have
// passed, the reporting time that EN 50136-1 asks of a dual path of class DP4
// and a single path of SP5. MQTT's last will has no part in it: a broker may be
// gone as well.
//
// A silence that is the centre's own is not the devices': after its start, and
// after its broker was away, devices have a grace in which to come back. When
// many fall silent at once, that is one trouble, of the district's link, and not
// many; those that stay silent after it are told one by one.
//
// [Supervisor] is pure: no clock, no database. [Run] drives it with a store. The
// package decides nothing about what people do with an offline device.
package supervise

import (
	"cmp"
	"slices"
	"time"

	"github.com/fengsui/fengsui/cloud-bridge/store"
)

// Times are how long things may take.
type Times struct {
	Suspect time.Duration // of silence
	Offline time.Duration // of silence; told within Every more
	Grace   time.Duration // for devices to come back to the centre
	Broker  time.Duration // for which the broker may be away before the district's link counts as lost
	Every   time.Duration // how often devices are judged
}

// DefaultTimes fit a hello every 30 s and a backoff of at most a minute.
func DefaultTimes() Times {
	return Times{
		Suspect: 60 * time.Second, Offline: 85 * time.Second, Grace: 120 * time.Second,
		Broker: 30 * time.Second, Every: 2 * time.Second,
	}
}

// A silence of many at once is one of the district's link: of at least so many
// devices, and of such a share of those that could be heard.
const (
	DistrictLeast = 5
	DistrictShare = 0.25
)

// together is how far apart the last signs of life of devices may be that fell
// silent at once: they say hello at different times.
const together = 45 * time.Second

// A Supervisor keeps the judgements. Make it with New.
type Supervisor struct {
	t        Times
	base     time.Time // silences are not counted from before: the centre could not hear
	grace    time.Time // until then nobody is offline
	awake    time.Time // since when the broker is away; zero: it is there
	district bool      // one trouble stands for all that are silent
	links    map[string]known
}

type known struct {
	link  store.Link
	since time.Time
}

// New returns a supervisor of a centre that starts now; signs are what it knew
// before, and district whether it had lost the district's link.
func New(t Times, now time.Time, signs []store.Sign, district bool) *Supervisor {
	s := &Supervisor{t: t, base: now, grace: now.Add(t.Grace), district: district, links: make(map[string]known)}
	for _, d := range signs {
		s.links[d.Device] = known{d.Link, d.LinkSince}
	}
	return s
}

// Judge compares the signs of life with the clock. It returns what has changed:
// alarm boxes before cars, each in the order of their ids.
func (s *Supervisor) Judge(now time.Time, signs []store.Sign, brokerUp bool) store.Supervision {
	var out store.Supervision
	s.broker(now, brokerUp, &out)
	var silent, heard []silence // that count as silent; that could be heard before
	for _, d := range signs {
		link, eff := s.judge(now, d, brokerUp)
		was := s.links[d.Device]
		if d.Alive.IsZero() || was.link == store.LinkOffline && link == store.LinkOffline {
			s.set(d, link, eff, &out)
			continue
		}
		heard = append(heard, silence{d, eff, link})
		if link == store.LinkSuspect || link == store.LinkOffline || link == store.LinkUnsure {
			silent = append(silent, silence{d, eff, link})
		}
		if link != store.LinkOffline {
			s.set(d, link, eff, &out)
		}
	}
	if brokerUp {
		s.fire(now, silent, len(heard), &out)
	}
	slices.SortFunc(out.Links, func(a, b store.LinkChange) int {
		return cmp.Or(cmp.Compare(boxFirst(a.Kind), boxFirst(b.Kind)), cmp.Compare(a.Device, b.Device))
	})
	return out
}

func boxFirst(k store.DeviceKind) int {
	if k == store.AlarmBox {
		return 0
	}
	return 1
}

// A silence is a device and since when it is silent.
type silence struct {
	store.Sign
	since time.Time
	link  store.Link
}

// broker follows the broker's coming and going.
func (s *Supervisor) broker(now time.Time, up bool, out *store.Supervision) {
	switch {
	case up && !s.awake.IsZero():
		s.awake = time.Time{}
		s.base, s.grace = now, now.Add(s.t.Grace)
	case !up && s.awake.IsZero():
		s.awake = now
	}
	if !up && !s.district && now.Sub(s.awake) >= s.t.Broker {
		s.district = true
		out.District = &store.DistrictChange{Lost: true, Since: s.awake}
	}
}

// judge returns the link of one device as its silence alone says, and its last
// sign of life or, if that is later, when the centre began to listen.
func (s *Supervisor) judge(now time.Time, d store.Sign, brokerUp bool) (store.Link, time.Time) {
	if d.Alive.IsZero() {
		return store.LinkNever, d.Alive
	}
	was := s.links[d.Device].link
	unsure := store.LinkUnsure
	if was == store.LinkOffline {
		unsure = was
	}
	if !brokerUp {
		return unsure, d.Alive
	}
	if d.Alive.Before(s.base) { // not heard since the centre listens again
		if now.Before(s.grace) || now.Sub(s.base) < s.t.Offline {
			return unsure, d.Alive
		}
		return store.LinkOffline, d.Alive
	}
	switch quiet := now.Sub(d.Alive); {
	case quiet < s.t.Suspect:
		return store.LinkLive, d.Alive
	case quiet < s.t.Offline:
		if was == store.LinkOffline {
			return was, d.Alive
		}
		return store.LinkSuspect, d.Alive
	}
	return store.LinkOffline, d.Alive
}

// fire decides what the silence of devices means: theirs, or the district's.
func (s *Supervisor) fire(now time.Time, silent []silence, heard int, out *store.Supervision) {
	many := func(n int) bool { return n >= DistrictLeast && float64(n) >= DistrictShare*float64(heard) }
	if s.district {
		if n := len(silent); n >= DistrictLeast && float64(n) >= DistrictShare/2*float64(heard) {
			s.cover(silent, out)
			return
		}
		s.district = false
		s.grace = now.Add(s.t.Grace)
		out.District = &store.DistrictChange{Since: now}
	}
	var due []silence
	for _, q := range silent {
		if q.link == store.LinkOffline {
			due = append(due, q)
		}
	}
	if len(due) == 0 {
		return
	}
	if now.Before(s.grace) {
		s.cover(due, out)
		return
	}
	first := slices.MinFunc(due, func(a, b silence) int { return a.since.Compare(b.since) })
	at := 0
	for _, q := range silent {
		if q.since.Sub(first.since) <= together || q.since.Before(s.base) && first.since.Before(s.base) {
			at++
		}
	}
	if many(at) {
		s.district = true
		out.District = &store.DistrictChange{Lost: true, Since: first.since, Silent: at, Of: heard}
		s.cover(due, out)
		return
	}
	for _, q := range due {
		s.set(q.Sign, store.LinkOffline, q.since, out)
	}
}

// cover keeps devices from being told one by one.
func (s *Supervisor) cover(silent []silence, out *store.Supervision) {
	for _, q := range silent {
		if q.link == store.LinkOffline {
			s.set(q.Sign, store.LinkUnsure, q.since, out)
		}
	}
}

// set notes a device's link, and whether that is new.
func (s *Supervisor) set(d store.Sign, link store.Link, since time.Time, out *store.Supervision) {
	if s.links[d.Device].link == link {
		return
	}
	s.links[d.Device] = known{link, since}
	out.Links = append(out.Links, store.LinkChange{Device: d.Device, Kind: d.Kind, Link: link, Since: since})
}
