// Package gps turns a satellite receiver's NMEA 0183 stream into fixes, one an
// epoch, and thins them for a track.
//
// It reads RMC, GGA, GSA, GSV, VTG, ZDA, GLL and GNS of the talkers GP, GN, GL,
// GA, GB, BD, QZ and a few rarer ones, and passes over everything else: other
// sentences, binary protocols on the same line, noise, cut lines and wrong
// checksums. A sentence with an impossible value is passed over whole. Where
// receivers differ in what they mean, gpsd's reading is followed.
//
// A [Believer] tells jumps from movement, and a [Survey] learns where a box that
// never moves stands. What a receiver is told at the start, a faster rate and
// BeiDou beside GPS, is data: receivers.yaml.
//
// It does not decide whether the receiver's clock is to be believed (package
// clock does), decodes no binary protocol but its acknowledgements, needs no
// pulse per second, and reports the date as the receiver gave it, week rollover
// and all.
package gps

import (
	"errors"
	"io"
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

// A Quality is how a fix was made, as GGA numbers it (NMEA 0183, GGA field 6).
type Quality int

// The qualities that receivers report.
const (
	QualityUntold     Quality = 0 // no GGA, or one that does not say
	QualityGNSS       Quality = 1
	QualityDGNSS      Quality = 2
	QualityPPS        Quality = 3
	QualityRTK        Quality = 4
	QualityFloatRTK   Quality = 5
	QualityEstimated  Quality = 6 // dead reckoning
	QualityManual     Quality = 7 // a surveyed position, typed in
	QualitySimulation Quality = 8
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
	VDOP     float64 // 0 when not given; of the epoch before where GSA comes last
	PDOP     float64 // as VDOP
	Used     int     // satellites used, as GGA or GNS says; 0 when not given
	Visible  int     // satellites in view; 0 when not given
	Quality  Quality
	Active   bool // an RMC of the epoch says status A: its time may be believed

	HasAlt, HasGeoidSep, HasSpeed, HasCourse bool
}

// Stats counts what a Decoder has seen.
type Stats struct {
	Good     int // sentences that were used
	Checksum int // sentences whose checksum is wrong
	Rejected int // sentences with a value that cannot be, or with too few fields
	Cut      int // sentences that broke off, or that noise or another sentence broke into
	Other    int // sentences of other kinds or talkers
	Fixes    int // fixes handed out
}

// maxSentence bounds a sentence in bytes, without its line end. NMEA 0183
// allows 82 and receivers exceed that; gpsd takes 128, because some receivers
// lose the end of one sentence and the start of the next and sum up the rest.
const maxSentence = 128

// A Decoder reads fixes from a stream. Its memory is bounded whatever comes.
// It is not safe for concurrent use.
type Decoder struct {
	r     io.Reader
	buf   [4096]byte
	have  []byte // the part of buf that was read and not yet scanned
	err   error  // of the last Read
	line  []byte // the sentence being gathered, from '$'; empty outside of one
	ready []Fix  // fixes to be handed out, at most two
	nmea  nmea.SentenceParser
	stats Stats
	heard func(Heard) // nil: nobody listens
	acks  ackScanner
	epochs
}

// NewDecoder returns a decoder of r. A Read of r that returns 0, nil is tried
// again, so that a serial port with a read timeout may be given.
func NewDecoder(r io.Reader) *Decoder {
	return &Decoder{r: r, nmea: newParser(), epochs: newEpochs()}
}

// Stats returns the counts so far.
func (d *Decoder) Stats() Stats { return d.stats }

// Next returns the next fix. It comes as soon as the sentence that usually
// ends an epoch has been read, else with the next epoch's first. After the
// reader's error, or io.EOF, Next returns the fix that was being gathered, if
// any, then that error for ever.
func (d *Decoder) Next() (Fix, error) {
	for {
		for len(d.ready) == 0 && len(d.have) > 0 {
			c := d.have[0]
			d.have = d.have[1:]
			if d.heard != nil {
				if a := d.acks.take(c); a != nil {
					d.heard(Heard{Answer: a})
				}
			}
			if raw, ok := d.gather(c); ok {
				d.sentence(raw)
			}
		}
		if len(d.ready) == 0 && d.err != nil {
			d.flush(&d.ready)
		}
		if len(d.ready) > 0 {
			f := d.ready[0]
			d.ready = append(d.ready[:0], d.ready[1:]...)
			d.stats.Fixes++
			return f, nil
		}
		if d.err != nil {
			return Fix{}, d.err
		}
		n, err := d.r.Read(d.buf[:])
		d.have, d.err = d.buf[:n], err
	}
}

// gather takes one byte and returns a sentence when it is whole, from '$' to
// the second digit of the checksum.
func (d *Decoder) gather(c byte) (raw string, whole bool) {
	n := len(d.line)
	switch {
	case c == '$':
		if n > 0 {
			d.stats.Cut++
		}
		d.line = append(d.line[:0], c)
		return "", false
	case n == 0:
		return "", false
	case c < ' ' || c > '~' || n == maxSentence:
		d.stats.Cut++
		d.line = d.line[:0]
		return "", false
	}
	d.line = append(d.line, c)
	if n < 4 || d.line[n-2] != '*' {
		return "", false
	}
	raw = string(d.line)
	d.line = d.line[:0]
	return raw, true
}

// sentence takes a sentence, from '$' to the checksum, and makes ready the
// fixes that it completes.
func (d *Decoder) sentence(raw string) {
	if d.heard != nil {
		d.listen(raw)
	}
	s, err := parse(&d.nmea, raw)
	if err == nil {
		err = d.take(s, &d.ready)
	}
	switch {
	case err == nil:
		d.stats.Good++
	case errors.Is(err, errChecksum):
		d.stats.Checksum++
	case errors.Is(err, errOther):
		d.stats.Other++
	default:
		d.stats.Rejected++
	}
}
