package gps

import (
	"fmt"
	"math"
	"strings"
	"time"
)

const (
	knot        = 1852.0 / 3600 // metres a second
	kilometreH  = 1.0 / 3.6
	maxSpeed    = 515 // m/s: civil receivers give nothing above 1,000 knots
	minAlt      = -1000
	maxAlt      = 50_000
	maxGeoidSep = 1000

	// sameEpoch is how far the times of one epoch's sentences may be apart:
	// receivers round them differently.
	sameEpoch = 10 * time.Millisecond
	// lasting is for how many epochs GSA and GSV hold: they may come more
	// rarely than positions do.
	lasting = 60
)

// A verdict is what the sentences of one kind say of an epoch's position. Some
// receivers send a kind once for each satellite system, so the best one holds.
type verdict int

const (
	untold verdict = iota
	void
	valid
)

// A tag tells a sentence from the others of its epoch: its kind, and which one
// of that kind it is.
type tag struct{ kind, nth int }

// An epoch gathers the sentences of one time of day.
type epoch struct {
	at       time.Duration // time of day; -1 until a sentence tells
	date     time.Time     // midnight, if a sentence of the epoch told
	position bool
	says     [kinds]verdict
	count    [kinds]int // sentences so far
	last     tag        // of the newest sentence that carries a time
	ended    bool       // the sentence that usually ends an epoch has come
	out      bool       // its fix has been handed out
	gsa      precision
	fix      Fix
}

// A precision is what the GSA sentences of an epoch say.
type precision struct {
	mode             Mode // the best, for a system without satellites says 1; 0: none
	pdop, hdop, vdop float64
	epoch            int // the number of the epoch
}

// An epochs divides sentences into epochs and makes a fix of each.
type epochs struct {
	ep    epoch
	n     int             // epochs begun before this one
	given time.Duration   // time of day of the newest fix, or -1
	date  time.Time       // midnight of the newest date that the receiver told, or zero
	told  time.Duration   // time of day at which it told it
	gsa   precision       // of the newest epoch that had one
	seen  map[string]view // by talker
	moved int             // the newest epoch with a speed
	ender tag             // ends an epoch, once learned
	guess tag             // ended the epoch before
}

// A view is how many satellites a talker saw.
type view struct{ satellites, epoch int }

func newEpochs() epochs {
	none := tag{-1, 0}
	return epochs{ep: epoch{at: -1}, given: -1, moved: -lasting - 1, ender: none, guess: none, seen: make(map[string]view)}
}

// take adds a sentence, and to ready the fixes that it completes: that of the
// epoch before, that of its own, both or none. On an error it changes nothing.
func (d *epochs) take(s sentence, ready *[]Fix) error {
	at, timed, err := s.clock()
	if err != nil {
		return err
	}
	begins := timed && d.ep.at >= 0 && (at-d.ep.at).Abs() > sameEpoch
	next := d.ep
	if begins {
		next = epoch{at: -1}
	}
	if timed {
		next.at = at
	}
	if err := next.add(s); err != nil {
		return err
	}
	if begins {
		d.flush(ready)
		// The sentence before this one ended an epoch. What did so twice running
		// is taken for what always does.
		if d.guess == d.ep.last {
			d.ender = d.guess
		}
		d.guess = d.ep.last
		d.n++
	}
	d.ep = next
	if d.ep.gsa.mode != 0 {
		d.gsa = d.ep.gsa
		d.gsa.epoch = d.n
	}
	if !d.ep.date.IsZero() && d.ep.at >= 0 {
		d.date, d.told = d.ep.date, d.ep.at
	}
	if satellites, ok := s.number(3); s.kind == gsv && ok && satellites >= 0 && satellites < 1000 {
		d.seen[s.talker] = view{int(satellites), d.n}
	}
	d.ep.count[s.kind]++
	if t := (tag{int(s.kind), d.ep.count[s.kind]}); s.kind < gsa {
		d.ep.last = t
		d.ep.ended = d.ep.ended || t == d.ender
	}
	if d.ep.fix.HasSpeed {
		d.moved = d.n
	}
	// The speed may come after the time, in a VTG or in an RMC of a lower rate.
	if d.ep.ended && (d.ep.fix.HasSpeed || d.n-d.moved > lasting) {
		d.flush(ready)
	}
	return nil
}

// flush makes ready the fix of the current epoch, once, if there is one.
func (d *epochs) flush(ready *[]Fix) {
	e := &d.ep
	if e.out || !e.position || e.at >= 0 && e.at == d.given || !e.believed() {
		return
	}
	f := e.fix
	p := d.gsa
	if d.n-p.epoch > lasting {
		p = precision{}
	}
	switch {
	case p.mode >= Mode2D:
		f.Mode = p.mode
	case f.HasAlt && f.Used != 3:
		f.Mode = Mode3D
	default:
		f.Mode = Mode2D
	}
	f.PDOP, f.VDOP = p.pdop, p.vdop
	if f.HDOP == 0 {
		f.HDOP = p.hdop
	}
	for _, v := range d.seen {
		if d.n-v.epoch <= lasting {
			f.Visible += v.satellites
		}
	}
	if !d.date.IsZero() && e.at >= 0 {
		if e.date.IsZero() && e.at < d.told-12*time.Hour {
			d.date, d.told = d.date.AddDate(0, 0, 1), e.at // past midnight, and no date yet
		}
		f.Time = d.date.Add(e.at)
	}
	e.out, d.given = true, e.at
	*ready = append(*ready, f)
}

// believed reports whether the epoch has a fix: a sentence vouches for the
// position and none denies it. GSA vouches but does not deny, as it may lag.
func (e *epoch) believed() bool {
	vouched := e.gsa.mode >= Mode2D
	for _, v := range e.says {
		if v == void {
			return false
		}
		vouched = vouched || v == valid
	}
	return vouched
}

// add adds a sentence.
func (e *epoch) add(s sentence) error {
	switch s.kind {
	case rmc:
		return e.addRMC(s)
	case gga:
		return e.addGGA(s)
	case gns:
		return e.addGNS(s)
	case gll:
		if s.text(6) != "A" || s.text(7) == "N" {
			e.say(gll, void)
			return nil
		}
		return e.place(s, 1, valid)
	case zda:
		return e.addZDA(s)
	case gsa:
		e.addGSA(s)
	case vtg:
		return e.addVTG(s)
	}
	return nil
}

func (e *epoch) say(k kind, v verdict) { e.says[k] = max(e.says[k], v) }

// place takes the position whose four fields begin at i.
func (e *epoch) place(s sentence, i int, v verdict) error {
	lat, lon, err := s.position(i)
	if err != nil {
		return err
	}
	e.fix.Lat, e.fix.Lon, e.position = lat, lon, true
	e.say(s.kind, v)
	return nil
}

func (e *epoch) addRMC(s sentence) error {
	// Field 12 is the mode, from version 2.3 on.
	if s.text(2) != "A" || s.text(12) == "N" {
		e.say(rmc, void)
		return nil
	}
	if err := e.move(s, 7, knot, 8); err != nil {
		return err
	}
	if d := s.date(9); !d.IsZero() {
		e.date = d
	}
	e.fix.Active = true
	return e.place(s, 3, valid)
}

func (e *epoch) addGGA(s sentence) error {
	quality, told := s.number(6)
	used, _ := s.number(7)
	v := valid
	switch {
	case told && quality == 0:
		e.say(gga, void)
		return nil
	case !told || quality < 0 || used < 3 && (s.talker == "GP" || s.talker == "GN"):
		// A position, but RMC or GSA must vouch for it: this GGA may repeat an
		// old one. Other talkers count their own system's satellites only.
		v = untold
	}
	if told && quality <= float64(QualitySimulation) {
		e.fix.Quality = Quality(quality)
	}
	return e.rich(s, [...]int{2, 9, 11, 8, 7}, v)
}

func (e *epoch) addGNS(s sentence) error {
	// Field 6 has a mode for each satellite system, field 13 the navigational
	// status: U is unsafe, and V only that the receiver does not tell.
	if strings.Trim(s.text(6), "N") == "" || s.text(13) == "U" {
		e.say(gns, void)
		return nil
	}
	return e.rich(s, [...]int{2, 9, 10, 8, 7}, valid)
}

// rich takes what GGA and GNS share; at holds the numbers of the fields of
// position, altitude, geoid separation, HDOP and satellites used.
func (e *epoch) rich(s sentence, at [5]int, v verdict) error {
	alt, hasAlt := s.number(at[1])
	if hasAlt && (alt < minAlt || alt > maxAlt) {
		return fmt.Errorf("%w: an altitude of %g m", errValue, alt)
	}
	if err := e.place(s, at[0], v); err != nil {
		return err
	}
	if hasAlt {
		e.fix.Alt, e.fix.HasAlt = alt, true
	}
	if sep, ok := s.number(at[2]); ok && math.Abs(sep) < maxGeoidSep {
		e.fix.GeoidSep, e.fix.HasGeoidSep = sep, true
	}
	if h, ok := s.dilution(at[3]); ok {
		e.fix.HDOP = h
	}
	if used, ok := s.number(at[4]); ok {
		e.fix.Used = int(max(0, min(used, 999)))
	}
	return nil
}

func (e *epoch) addZDA(s sentence) error {
	if s.text(2) == "" || s.text(3) == "" || s.text(4) == "" {
		return nil // the receiver does not know yet
	}
	dom, ok1 := s.number(2)
	month, ok2 := s.number(3)
	year, ok3 := s.number(4)
	if d := day(int(year), int(month), int(dom)); ok1 && ok2 && ok3 && !d.IsZero() && year >= 1900 && year <= 2200 {
		e.date = d
		return nil
	}
	return fmt.Errorf("%w: a date of %q", errValue, s.fields[1:4])
}

func (e *epoch) addGSA(s sentence) {
	e.gsa.mode = max(e.gsa.mode, 1)
	switch s.text(2) {
	case "2":
		e.gsa.mode = max(e.gsa.mode, Mode2D)
	case "3":
		e.gsa.mode = Mode3D
	}
	if len(s.fields) > 18 {
		return // more satellites than the standard allows: the fields are shifted
	}
	for i, v := range []*float64{&e.gsa.pdop, &e.gsa.hdop, &e.gsa.vdop} {
		if d, ok := s.dilution(15 + i); ok {
			*v = d
		}
	}
}

func (e *epoch) addVTG(s sentence) error {
	// RMC says it better: VTG has no time, and may be of the next epoch.
	if s.text(9) == "N" || e.fix.HasSpeed {
		return nil
	}
	if _, ok := s.number(5); ok {
		return e.move(s, 5, knot, 1)
	}
	return e.move(s, 7, kilometreH, 1)
}

// move takes a speed in a unit and, if there is one, the course.
func (e *epoch) move(s sentence, speedAt int, unit float64, courseAt int) error {
	speed, ok := s.number(speedAt)
	course, hasCourse := s.number(courseAt)
	if !ok {
		return nil
	}
	if speed *= unit; speed < 0 || speed > maxSpeed || hasCourse && (course < 0 || course > 360) {
		return fmt.Errorf("%w: a speed of %g m/s on a course of %g°", errValue, speed, course)
	}
	e.fix.Speed, e.fix.HasSpeed = speed, true
	if hasCourse {
		e.fix.Course, e.fix.HasCourse = math.Mod(course, 360), true
	}
	return nil
}
