// Package gps turns a satellite receiver's NMEA 0183 stream into fixes, one an
// epoch, and thins them for a track.
//
// It reads RMC, GGA, GSA, GSV, VTG, ZDA, GLL and GNS of the talkers GP, GN, GL,
// GA, GB, BD and QZ, and passes over everything else: other sentences, binary
// protocols on the same line, noise, cut lines and wrong checksums. A sentence
// with an impossible value is passed over whole.
//
// It does not decide whether the receiver's clock is to be believed (package
// clock does), sends nothing to the receiver, and reports the date as the
// receiver gave it, week rollover and all.
package gps

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/adrianmo/go-nmea"
)

// A Mode is how many dimensions a fix has, as GSA numbers them.
type Mode int

// The modes of a fix.
const (
	Mode2D Mode = 2
	Mode3D Mode = 3
)

// A Fix is what a receiver said of one epoch. It always has a position.
type Fix struct {
	Time     time.Time // UTC; zero while the receiver has not told the date
	Mode     Mode
	Lat, Lon float64 // degrees, WGS 84, north and east positive
	Alt      float64 // metres above mean sea level, if HasAlt
	GeoidSep float64 // metres from the ellipsoid up to mean sea level, if HasGeoidSep
	Speed    float64 // metres a second over ground, if HasSpeed
	Course   float64 // degrees from true north, 0 to below 360, if HasCourse
	HDOP     float64 // 0 when not given
	VDOP     float64 // 0 when not given
	PDOP     float64 // 0 when not given
	Used     int     // satellites used; 0 when not given
	Visible  int     // satellites in view; 0 when not given
	Active   bool    // an RMC of the epoch says status A: its time may be believed

	HasAlt, HasGeoidSep, HasSpeed, HasCourse bool
}

// Stats counts what a Decoder has seen.
type Stats struct {
	Good     int // sentences that were used
	Checksum int // sentences whose checksum is wrong
	Rejected int // sentences with a value that cannot be
	Other    int // sentences of other kinds
}

const (
	knot        = 1852.0 / 3600 // metres a second
	kilometreH  = 1.0 / 3.6
	maxSentence = 200 // bytes; NMEA 0183 allows 82, receivers exceed it
	maxSpeed    = 515 // m/s: civil receivers give nothing above 1,000 knots
	minAlt      = -1000
	maxAlt      = 50_000
)

// A Decoder reads fixes from a stream.
type Decoder struct {
	r     io.Reader
	buf   [4096]byte
	have  []byte // the part of buf that was read and not yet scanned
	err   error  // of the last Read
	line  []byte // the sentence being gathered, from '$'; empty outside of one
	stats Stats

	ep     epoch
	date   time.Time     // midnight of the newest date that the receiver told, or zero
	told   time.Duration // time of day at which it told it
	ender  string        // the sentence that ends an epoch, once learned
	last   string        // the newest sentence's tag
	guess  string        // the tag that ended the epoch before
	closed time.Duration // the epoch that was handed out, or -1
	seen   map[string]int
}

// An epoch gathers the sentences of one time of day.
type epoch struct {
	at       time.Duration // time of day; -1 until a sentence tells
	date     time.Time     // midnight, if a sentence of the epoch told
	position bool
	invalid  bool // a sentence says that there is no fix
	gsa      Mode // 0: none yet, 1: GSA says no fix
	fix      Fix
}

// NewDecoder returns a decoder of r. A Read of r that returns 0, nil is tried
// again, so that a serial port with a read timeout may be given.
func NewDecoder(r io.Reader) *Decoder {
	return &Decoder{r: r, ep: epoch{at: -1}, closed: -1, seen: make(map[string]int)}
}

// Stats returns the counts so far.
func (d *Decoder) Stats() Stats { return d.stats }

// Next returns the next fix. After the reader's error, or io.EOF, it returns
// the fix that was being gathered, if any, then the error for ever.
func (d *Decoder) Next() (Fix, error) {
	for {
		for i, c := range d.have {
			if s, ok := d.gather(c); ok {
				if f, ok := d.sentence(s); ok {
					d.have = d.have[i+1:]
					return f, nil
				}
			}
		}
		if d.have = nil; d.err != nil {
			if f, ok := d.finish(); ok {
				return f, nil
			}
			return Fix{}, d.err
		}
		n, err := d.r.Read(d.buf[:])
		d.have, d.err = d.buf[:n], err
	}
}

// gather takes one byte and returns a sentence when it is whole, from '$' to
// the second digit of the checksum.
func (d *Decoder) gather(c byte) (string, bool) {
	switch {
	case c == '$':
		d.line = append(d.line[:0], c)
		return "", false
	case len(d.line) == 0:
		return "", false
	case c < ' ' || c > '~' || len(d.line) == maxSentence:
		d.line = d.line[:0]
		return "", false
	}
	d.line = append(d.line, c)
	if n := len(d.line); n < 4 || d.line[n-3] != '*' {
		return "", false
	}
	s := string(d.line)
	d.line = d.line[:0]
	want, err := strconv.ParseUint(s[len(s)-2:], 16, 8)
	if err != nil || byte(want) != checksum(s[1:len(s)-3]) {
		d.stats.Checksum++
		return "", false
	}
	return s[1 : len(s)-3], true
}

func checksum(s string) (x byte) {
	for i := range len(s) {
		x ^= s[i]
	}
	return x
}

var errValue = errors.New("impossible value")

// sentence takes a sentence without '$' and checksum; it returns a fix when
// the sentence begins a new epoch or ends the current one.
func (d *Decoder) sentence(s string) (Fix, bool) {
	fields := strings.Split(s, ",")
	tag := fields[0]
	if len(tag) != 5 || !strings.Contains("GP GN GL GA GB BD QZ", tag[:2]) || !strings.Contains("RMC GGA GSA GSV VTG ZDA GLL GNS", tag[2:]) {
		d.stats.Other++
		return Fix{}, false
	}
	fields = clean(tag[2:], fields)
	body := strings.Join(fields, ",")
	m, err := nmea.Parse(fmt.Sprintf("$%s*%02X", body, checksum(body)))
	if err != nil {
		d.stats.Rejected++
		return Fix{}, false
	}
	next := epoch{at: -1}
	if at, ok := timeOfDay(m); ok {
		if d.ep.at >= 0 && at != d.ep.at {
			next.at = at
		}
	}
	// Try the sentence on a copy, so that a bad one changes nothing.
	trial := d.ep
	if next.at >= 0 {
		trial = next
	}
	if err := trial.take(m, fields); err != nil {
		d.stats.Rejected++
		return Fix{}, false
	}
	d.stats.Good++
	if gsv, ok := m.(nmea.GSV); ok {
		tag += "/" + strconv.FormatInt(gsv.MessageNumber, 10) + "/" + strconv.FormatInt(gsv.TotalMessages, 10)
		d.seen[fields[0]] = int(gsv.NumberSVsInView)
	}
	var out Fix
	var ok bool
	if next.at >= 0 {
		// A new epoch: the sentence before it ended the old one. Believe that
		// when it has happened twice running.
		if d.guess == d.last {
			d.ender = d.last
		} else {
			d.ender = ""
		}
		d.guess = d.last
		out, ok = d.finish()
	}
	d.ep, d.last = trial, tag
	if !d.ep.date.IsZero() {
		d.date, d.told = d.ep.date, d.ep.at
	}
	if !ok && tag == d.ender && d.ep.at >= 0 && d.ep.at != d.closed {
		out, ok = d.finish()
	}
	return out, ok
}

// clean takes away what go-nmea would refuse a good sentence for: dates that
// are none, and fields that some receivers add.
func clean(kind string, f []string) []string {
	switch kind {
	case "RMC":
		if len(f) > 9 && !isDate(f[9]) {
			f[9] = ""
		}
		return f[:min(len(f), 13)]
	case "GSA":
		return f[:min(len(f), 18)]
	}
	return f
}

func isDate(s string) bool {
	_, err := time.Parse("020106", s)
	return err == nil
}

func timeOfDay(m nmea.Sentence) (time.Duration, bool) {
	var t nmea.Time
	switch m := m.(type) {
	case nmea.RMC:
		t = m.Time
	case nmea.GGA:
		t = m.Time
	case nmea.GLL:
		t = m.Time
	case nmea.GNS:
		t = m.Time
	case nmea.ZDA:
		t = m.Time
	}
	if !t.Valid {
		return 0, false
	}
	return time.Duration(t.Hour)*time.Hour + time.Duration(t.Minute)*time.Minute +
		time.Duration(t.Second)*time.Second + time.Duration(t.Millisecond)*time.Millisecond, true
}

// take adds a sentence to the epoch.
func (e *epoch) take(m nmea.Sentence, f []string) error {
	if at, ok := timeOfDay(m); ok {
		// 23:59:60 is a leap second, and the next day's first for us.
		if at > 24*time.Hour+time.Second {
			return errValue
		}
		e.at = at
	}
	switch m := m.(type) {
	case nmea.RMC:
		return e.rmc(m, f)
	case nmea.GGA:
		return e.gga(m, f)
	case nmea.GNS:
		return e.gns(m, f)
	case nmea.GLL:
		if m.Validity != "A" || len(f) > 7 && f[7] == "N" {
			return nil // RMC and GGA say it better
		}
		return e.place(m.Latitude, m.Longitude, f, 1)
	case nmea.GSA:
		return e.gsaTake(m, f)
	case nmea.VTG:
		if given(f, 5) && !e.fix.HasSpeed {
			return e.motion(m.GroundSpeedKnots*knot, m.TrueTrack, given(f, 1))
		}
		if given(f, 7) && !e.fix.HasSpeed {
			return e.motion(m.GroundSpeedKPH*kilometreH, m.TrueTrack, given(f, 1))
		}
	case nmea.ZDA:
		if m.Day < 1 || m.Day > 31 || m.Month < 1 || m.Month > 12 || m.Year < 1980 || m.Year > 2200 {
			if given(f, 2) || given(f, 3) || given(f, 4) {
				return errValue
			}
			return nil
		}
		e.date = time.Date(int(m.Year), time.Month(m.Month), int(m.Day), 0, 0, 0, 0, time.UTC)
	}
	return nil
}

func given(f []string, i int) bool { return i < len(f) && f[i] != "" }

func (e *epoch) rmc(m nmea.RMC, f []string) error {
	if m.Date.Valid {
		year := 2000 + m.Date.YY
		if m.Date.YY >= 80 { // GPS time begins in 1980
			year = 1900 + m.Date.YY
		}
		e.date = time.Date(year, time.Month(m.Date.MM), m.Date.DD, 0, 0, 0, 0, time.UTC)
	}
	if m.Validity != "A" || given(f, 12) && f[12] == "N" {
		e.invalid = true
		return nil
	}
	if given(f, 7) {
		if err := e.motion(m.Speed*knot, m.Course, given(f, 8)); err != nil {
			return err
		}
	}
	e.fix.Active = true
	return e.place(m.Latitude, m.Longitude, f, 3)
}

func (e *epoch) gga(m nmea.GGA, f []string) error {
	if m.FixQuality == "0" || m.FixQuality == "" {
		e.invalid = e.invalid || m.FixQuality == "0"
		return nil
	}
	return e.rich(m.Latitude, m.Longitude, m.Altitude, m.Separation, m.HDOP, m.NumSatellites, f, [5]int{2, 9, 11, 8, 7})
}

func (e *epoch) gns(m nmea.GNS, f []string) error {
	if !given(f, 6) || strings.Trim(f[6], "N") == "" {
		e.invalid = true
		return nil
	}
	return e.rich(m.Latitude, m.Longitude, m.Altitude, m.Separation, m.HDOP, m.SVs, f, [5]int{2, 9, 10, 8, 7})
}

// rich takes what GGA and GNS share; at holds the numbers of their fields.
func (e *epoch) rich(lat, lon, alt, sep, hdop float64, used int64, f []string, at [5]int) error {
	if given(f, at[1]) {
		if alt < minAlt || alt > maxAlt {
			return errValue
		}
		e.fix.Alt, e.fix.HasAlt = alt, true
	}
	if given(f, at[2]) && math.Abs(sep) < 1000 {
		e.fix.GeoidSep, e.fix.HasGeoidSep = sep, true
	}
	if given(f, at[3]) && hdop > 0 && hdop < 1000 {
		e.fix.HDOP = hdop
	}
	e.fix.Used = int(max(0, min(used, 999)))
	return e.place(lat, lon, f, at[0])
}

func (e *epoch) gsaTake(m nmea.GSA, f []string) error {
	switch m.FixType {
	case "1":
		e.gsa = max(e.gsa, 1)
	case "2":
		e.gsa = max(e.gsa, Mode2D)
	case "3":
		e.gsa = Mode3D
	}
	for i, v := range []*float64{&e.fix.PDOP, &e.fix.HDOP, &e.fix.VDOP} {
		dop := [...]float64{m.PDOP, m.HDOP, m.VDOP}[i]
		if given(f, 15+i) && dop > 0 && dop < 1000 && *v == 0 {
			*v = dop
		}
	}
	return nil
}

// place takes a position whose latitude stands in field at.
func (e *epoch) place(lat, lon float64, f []string, at int) error {
	for i := range 4 {
		if !given(f, at+i) {
			return errValue
		}
	}
	if !isAngle(f[at], 2) || !isAngle(f[at+2], 3) || math.Abs(lat) > 90 || math.Abs(lon) > 180 {
		return errValue
	}
	e.fix.Lat, e.fix.Lon, e.position = lat, lon, true
	return nil
}

// isAngle reports whether s is degrees and minutes, with at most so many
// digits of degrees and minutes below 60.
func isAngle(s string, degrees int) bool {
	whole, _, _ := strings.Cut(s, ".")
	if len(whole) < 3 || len(whole) > degrees+3 { // some pad with one zero more
		return false
	}
	minutes, err := strconv.ParseFloat(s[len(whole)-2:], 64)
	return err == nil && minutes >= 0 && minutes < 60
}

func (e *epoch) motion(speed, course float64, hasCourse bool) error {
	if speed < 0 || speed > maxSpeed || hasCourse && (course < 0 || course > 360) {
		return errValue
	}
	e.fix.Speed, e.fix.HasSpeed = speed, true
	if hasCourse {
		e.fix.Course, e.fix.HasCourse = math.Mod(course, 360), true
	}
	return nil
}

// finish hands out the current epoch, once, if it has a fix.
func (d *Decoder) finish() (Fix, bool) {
	e := d.ep
	if e.at == d.closed && e.at >= 0 {
		d.ep = epoch{at: e.at}
		return Fix{}, false
	}
	d.ep = epoch{at: e.at}
	if e.at >= 0 {
		d.closed = e.at
	}
	if !e.position || e.invalid || e.gsa == 1 {
		return Fix{}, false
	}
	f := e.fix
	switch {
	case e.gsa != 0:
		f.Mode = e.gsa
	case f.HasAlt:
		f.Mode = Mode3D
	default:
		f.Mode = Mode2D
	}
	for _, n := range d.seen {
		f.Visible += n
	}
	if !d.date.IsZero() && e.at >= 0 {
		if e.date.IsZero() && e.at < d.told-12*time.Hour {
			d.date, d.told = d.date.AddDate(0, 0, 1), e.at // past midnight, and no date yet
		}
		f.Time = d.date.Add(e.at)
	}
	return f, true
}
