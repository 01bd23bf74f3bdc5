// Package supervise judges which devices can be heard.
//
// A device says a hello every 30 s while it has a connection. One that is
// silent for a minute is suspect, and offline before a minute and a half have
// passed, the reporting time that EN 50136-1 asks of a dual path of class DP4
// and a single path of SP5. MQTT's last will has no part in it: a broker may be
// gone as well.
//
// A silence that is the centre's own is not the devices': after its start, after
// its broker was away, while its database takes nothing in, and when its clock
// was set or it stood still itself, devices have a grace in which to come back.
// When many fall silent at once, that is one trouble, of the district's link,
// and not many; those that stay silent after it are told one by one. A device
// that was never heard is not missed.
//
// [Supervisor] is pure: no clock, no database. [Run] drives it with a store,
// which opens and closes the incidents. The package decides nothing about what
// people do with an offline device.
package supervise

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/fengsui/fengsui/cloud-bridge/store"
)

// Limits are how long things may take, and how many devices are many.
type Limits struct {
	Suspect time.Duration // of silence
	Offline time.Duration // of silence; told within Every more
	Grace   time.Duration // for devices to come back to the centre
	Broker  time.Duration // for which the broker may be away before the district's link counts as lost
	Every   time.Duration // how often devices are judged

	// A silence of many at once is one of the district's link: of at least Least
	// devices, and of such a Share (0 to 1) of those that could be heard.
	Least int
	Share float64
}

// DefaultLimits fit a hello every 30 s and a backoff of at most a minute. A
// device is told at most 87 s after its last sign of life.
func DefaultLimits() Limits {
	return Limits{
		Suspect: 60 * time.Second, Offline: 85 * time.Second, Grace: 120 * time.Second,
		Broker: 30 * time.Second, Every: 2 * time.Second,
		Least: 3, Share: 0.20,
	}
}

// ErrLimits means that limits do not fit each other; the message says which.
var ErrLimits = errors.New("supervision")

// Validate names the first limit that is wrong, its value and what would be
// right. The error wraps [ErrLimits].
func (l *Limits) Validate() error {
	bad := func(what string, value, want any) error {
		return fmt.Errorf("%w: %s %v: want %v", ErrLimits, what, value, want)
	}
	switch {
	case l.Every <= 0:
		return bad("every", l.Every, "more than 0s")
	case l.Suspect < l.Every:
		return bad("suspect", l.Suspect, fmt.Sprintf("%v or more", l.Every))
	case l.Offline <= l.Suspect:
		return bad("offline", l.Offline, fmt.Sprintf("more than suspect, %v", l.Suspect))
	case l.Grace < l.Offline:
		return bad("grace", l.Grace, fmt.Sprintf("offline, %v, or more", l.Offline))
	case l.Least < 1:
		return bad("least", l.Least, "1 or more")
	case !(l.Share > 0 && l.Share <= 1):
		return bad("share", l.Share, "more than 0, at most 1")
	}
	return nil
}

// Hearing says whether what devices say reaches the centre's database.
type Hearing int

// Either it does, or one of these is why not.
const (
	Hears    Hearing = iota
	NoBroker         // messages do not arrive
	NoStore          // they arrive and cannot be stored
)

// A Supervisor keeps the judgements. Make it with New.
type Supervisor struct {
	l        Limits
	base     time.Time // silences are not counted from before: the centre could not hear
	grace    time.Time // until then nobody is offline
	deaf     bool      // it could not hear the last time
	away     time.Time // since when the broker is away; zero: it is there
	last     time.Time // of the judgements
	district bool      // one trouble stands for all that are silent
	links    map[string]known
}

type known struct {
	link  store.Link
	since time.Time
}

// New returns a supervisor of a centre that starts now; signs are what it knew
// before, and district whether it had lost the district's link.
func New(l Limits, now time.Time, signs []store.Sign, district bool) *Supervisor {
	s := &Supervisor{l: l, base: now, grace: now.Add(l.Grace), district: district, links: make(map[string]known)}
	for _, d := range signs {
		s.links[d.Device] = known{d.Link, d.LinkSince}
	}
	return s
}

// Judge compares the signs of life with the clock. It returns what has changed:
// alarm boxes before cars, each in the order of their ids. Times with a
// monotonic reading let it notice that the clock was set.
func (s *Supervisor) Judge(now time.Time, signs []store.Sign, hearing Hearing) store.Supervision {
	var out store.Supervision
	s.clock(now)
	s.ear(now, hearing, &out)
	var silent []silence // and those that are late
	heard := 0           // that could be heard before
	for _, d := range signs {
		link, eff := s.judge(now, d)
		was := s.links[d.Device]
		if d.Alive.IsZero() || was.link == store.LinkOffline && link == store.LinkOffline {
			s.set(d, link, eff, &out)
			continue
		}
		heard++
		if link != store.LinkLive || now.Sub(d.Alive) >= s.late() {
			silent = append(silent, silence{d, eff, link})
		}
		if link != store.LinkOffline {
			s.set(d, link, eff, &out)
		}
	}
	if !s.deaf {
		s.fire(now, silent, heard, &out)
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

// late is a silence that is longer than the pause between two hellos, and how
// far apart the last signs of life of devices may be that fell silent at once:
// they say hello at different times.
func (s *Supervisor) late() time.Duration { return s.l.Suspect * 3 / 4 }

// A silence is a device and since when it is silent.
type silence struct {
	store.Sign
	since time.Time
	link  store.Link
}

// clock notices that the centre stood still, or that its clock was set: what it
// then takes for silence may be its own.
func (s *Supervisor) clock(now time.Time) {
	passed, wall := now.Sub(s.last), now.Round(0).Sub(s.last.Round(0))
	if limit := s.step(); !s.last.IsZero() && (passed < 0 || passed > limit || (wall-passed).Abs() > limit) {
		s.listen(now)
	}
	s.last = now
}

// step is by how much the clock may jump, or a judgement be late on a busy
// machine, without a meaning.
func (s *Supervisor) step() time.Duration { return max(s.l.Suspect/4, 5*time.Second) }

// listen begins a grace: what was silent until now may have been unheard.
func (s *Supervisor) listen(now time.Time) { s.base, s.grace = now, now.Add(s.l.Grace) }

// ear follows whether the centre can hear, and tells when the broker is away.
func (s *Supervisor) ear(now time.Time, hearing Hearing, out *store.Supervision) {
	if s.deaf && hearing == Hears {
		s.listen(now)
	}
	s.deaf = hearing != Hears
	switch {
	case hearing != NoBroker:
		s.away = time.Time{}
	case s.away.IsZero():
		s.away = now
	}
	if !s.away.IsZero() && !s.district && now.Sub(s.away) >= s.l.Broker {
		s.district = true
		out.District = &store.DistrictChange{Lost: true, Since: s.away}
	}
}

// judge returns the link of one device as its silence alone says, and its last
// sign of life.
func (s *Supervisor) judge(now time.Time, d store.Sign) (store.Link, time.Time) {
	if d.Alive.IsZero() {
		return store.LinkNever, d.Alive
	}
	was := s.links[d.Device].link
	unsure := store.LinkUnsure
	if was == store.LinkOffline {
		unsure = was
	}
	if s.deaf {
		return unsure, d.Alive
	}
	ahead := d.Alive.Sub(now) > s.step() // the clock was set back since
	if d.Alive.Before(s.base) || ahead { // not heard since the centre listens again
		if now.Before(s.grace) || now.Sub(s.base) < s.l.Offline {
			return unsure, d.Alive
		}
		if ahead {
			return store.LinkOffline, s.base
		}
		return store.LinkOffline, d.Alive
	}
	switch quiet := now.Sub(d.Alive); {
	case quiet < s.l.Suspect:
		return store.LinkLive, d.Alive
	case quiet < s.l.Offline:
		if was == store.LinkOffline {
			return was, d.Alive
		}
		return store.LinkSuspect, d.Alive
	}
	return store.LinkOffline, d.Alive
}

// fire decides what the silence of devices means: theirs, or the district's.
func (s *Supervisor) fire(now time.Time, silent []silence, heard int, out *store.Supervision) {
	many := func(n int, share float64) bool { return n >= s.l.Least && float64(n) >= share*float64(heard) }
	if s.district {
		if many(len(silent), s.l.Share/2) {
			s.cover(silent, out)
			return
		}
		s.district = false
		s.grace = now.Add(s.l.Grace)
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
		if q.since.Sub(first.since) <= s.late() || q.since.Before(s.base) && first.since.Before(s.base) {
			at++
		}
	}
	if many(at, s.l.Share) {
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
