package gps

import (
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/adrianmo/go-nmea"
)

var (
	errChecksum = errors.New("wrong checksum")
	errOther    = errors.New("not a sentence for us")
	errValue    = errors.New("impossible value")
)

// A kind is a sentence that is read. Those before gsa carry a time.
type kind int

const (
	rmc kind = iota
	gga
	gns
	gll
	zda
	gsa
	gsv
	vtg
	kinds
)

// A format tells how many fields a kind has at least, the address included,
// and which of them is the time.
type format struct {
	name        string
	least, time int
}

// Early versions of NMEA 0183 have fewer fields than go-nmea's own parsers
// want; these are gpsd's minima.
var formats = [kinds]format{
	rmc: {nmea.TypeRMC, 8, 1},
	gga: {nmea.TypeGGA, 13, 1},
	gns: {nmea.TypeGNS, 13, 1},
	gll: {nmea.TypeGLL, 7, 5},
	zda: {nmea.TypeZDA, 5, 1},
	gsa: {nmea.TypeGSA, 18, 0},
	gsv: {nmea.TypeGSV, 4, 0},
	vtg: {nmea.TypeVTG, 6, 0},
}

// talkers are those that gpsd reads, and GI and GQ for NavIC and QZSS (NMEA
// 0183, version 4.11). PQ is some modems' address for GSA and GSV of BeiDou.
// Proprietary addresses are none, or PGRMC would be an RMC.
const talkers = "GP GN GL GA GB BD QZ GI GQ PQ IN II EC"

// newParser returns go-nmea's parser, which takes a sentence apart. The fields
// are read here: go-nmea's own parsers refuse what many receivers send, such
// as a date of "2208-1", a quality of 8 or a GSA without a system's number.
func newParser() nmea.SentenceParser {
	fields := func(s nmea.BaseSentence) (nmea.Sentence, error) { return s, nil }
	p := nmea.SentenceParser{
		CheckCRC: func(s nmea.BaseSentence, raw string) error {
			want, err := hex.DecodeString(s.Checksum)
			if err != nil || len(want) != 1 || want[0] != checksum(raw) {
				return errChecksum
			}
			return nil
		},
		CustomParsers: make(map[string]nmea.ParserFunc, kinds),
	}
	for _, f := range formats {
		p.CustomParsers[f.name] = fields
	}
	return p
}

func checksum(s string) (x byte) {
	for i := range len(s) {
		x ^= s[i]
	}
	return x
}

// A sentence has its fields as text, numbered from 1 as in NMEA 0183.
type sentence struct {
	kind   kind
	talker string
	fields []string
}

// parse takes a sentence apart; errors are errChecksum, errOther or errValue.
func parse(p *nmea.SentenceParser, raw string) (sentence, error) {
	m, err := p.Parse(raw)
	if errors.Is(err, errChecksum) {
		return sentence{}, err
	}
	b, ok := m.(nmea.BaseSentence)
	if err != nil || !ok {
		return sentence{}, errOther
	}
	if b.Talker == "P" && len(b.Type) == 4 && b.Type[0] == 'Q' {
		b.Talker, b.Type = "PQ", b.Type[1:] // go-nmea takes each P for proprietary
	}
	k := slices.IndexFunc(formats[:], func(f format) bool { return f.name == b.Type })
	s := sentence{kind(k), b.Talker, b.Fields}
	if s.kind < 0 || len(b.Talker) != 2 || !strings.Contains(talkers, b.Talker) {
		return sentence{}, errOther
	}
	if have := len(s.fields) + 1; have < formats[s.kind].least {
		return sentence{}, fmt.Errorf("%w: %s has %d fields, not %d", errValue, b.Type, have, formats[s.kind].least)
	}
	return s, nil
}

// text returns a field, or "" if the sentence ends before it.
func (s *sentence) text(i int) string {
	if i > len(s.fields) {
		return ""
	}
	return s.fields[i-1]
}

// number returns a field that is a decimal number.
func (s *sentence) number(i int) (v float64, ok bool) {
	t := s.text(i)
	if strings.Trim(t, "+-.0123456789") != "" { // no "inf", "nan" or "0x1p3"
		return 0, false
	}
	v, err := strconv.ParseFloat(t, 64)
	return v, err == nil
}

// dilution returns a field that is a dilution of precision. 99.99 and 0 stand
// for none.
func (s *sentence) dilution(i int) (v float64, ok bool) {
	v, ok = s.number(i)
	return v, ok && v >= 0.01 && v < 90
}

// clock returns the sentence's time of day. A time that cannot be is an error.
func (s *sentence) clock() (at time.Duration, ok bool, err error) {
	field := formats[s.kind].time
	if field == 0 || s.text(field) == "" {
		return 0, false, nil
	}
	// 23:59:60 is a leap second, and the next day's first for us.
	t, err := nmea.ParseTime(s.text(field))
	if err != nil || t.Hour > 23 || t.Minute > 59 || t.Second > 60 {
		return 0, false, fmt.Errorf("%w: a time of %q", errValue, s.text(field))
	}
	return time.Duration(t.Hour)*time.Hour + time.Duration(t.Minute)*time.Minute +
		time.Duration(t.Second)*time.Second + time.Duration(t.Millisecond)*time.Millisecond, true, nil
}

// date returns midnight of a field ddmmyy, or the zero time.
func (s *sentence) date(i int) time.Time {
	d, err := nmea.ParseDate(s.text(i))
	if err != nil || !d.Valid || d.YY < 0 {
		return time.Time{}
	}
	year := 2000 + d.YY
	if d.YY >= 69 { // as POSIX divides the centuries (strptime, %y)
		year = 1900 + d.YY
	}
	return day(year, d.MM, d.DD)
}

// day returns midnight, or the zero time if there is no such day.
func day(year, month, dom int) time.Time {
	t := time.Date(year, time.Month(month), dom, 0, 0, 0, 0, time.UTC)
	if t.Day() != dom || int(t.Month()) != month {
		return time.Time{}
	}
	return t
}

// position returns latitude and longitude, whose four fields begin at i.
func (s *sentence) position(i int) (lat, lon float64, err error) {
	lat, err = s.angle(i, 90, nmea.North, nmea.South)
	if err == nil {
		lon, err = s.angle(i+2, 180, nmea.East, nmea.West)
	}
	return lat, lon, err
}

// angle returns degrees of a field dddmm.mmm and the field of its side.
func (s *sentence) angle(i int, most float64, plus, minus string) (float64, error) {
	text, side := s.text(i), s.text(i+1)
	v, ok := s.number(i)
	degrees := math.Trunc(v / 100)
	minutes := v - 100*degrees
	v = degrees + minutes/60
	if !ok || v < 0 || v > most || minutes >= 60 || side != plus && side != minus || !strings.Contains(text, ".") {
		return 0, fmt.Errorf("%w: a position of %q %q", errValue, text, side)
	}
	if side == minus {
		v = -v
	}
	return v, nil
}
