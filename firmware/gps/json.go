package gps

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"time"
)

// A TPV is a fix in the names and units of gpsd's TPV object (gpsd_json(5)).
type TPV struct {
	Class    string   `json:"class"`
	Status   int      `json:"status,omitempty"`
	Time     string   `json:"time,omitempty"`
	Mode     Mode     `json:"mode"`
	Lat      float64  `json:"lat"`
	Lon      float64  `json:"lon"`
	Alt      *float64 `json:"alt,omitempty"`
	AltMSL   *float64 `json:"altMSL,omitempty"`
	AltHAE   *float64 `json:"altHAE,omitempty"`
	GeoidSep *float64 `json:"geoidSep,omitempty"`
	Speed    *float64 `json:"speed,omitempty"`
	Track    *float64 `json:"track,omitempty"`
	HDOP     float64  `json:"hdop,omitempty"`
	VDOP     float64  `json:"vdop,omitempty"`
	PDOP     float64  `json:"pdop,omitempty"`
	Used     int      `json:"uSat,omitempty"`
	Visible  int      `json:"nSat,omitempty"`
}

// statuses are gpsd's numbers for GGA's qualities. Like gpsd, TPV leaves out
// that of a plain fix.
var statuses = [...]int{
	QualityDGNSS: 2, QualityRTK: 3, QualityFloatRTK: 4, QualityEstimated: 5,
	QualityManual: 7, QualitySimulation: 8, QualityPPS: 9,
}

// TPV returns the fix as gpsd names things.
func (f *Fix) TPV() TPV {
	t := TPV{
		Class: "TPV", Mode: f.Mode, Lat: round(f.Lat, 9), Lon: round(f.Lon, 9),
		HDOP: f.HDOP, VDOP: f.VDOP, PDOP: f.PDOP, Used: f.Used, Visible: f.Visible,
	}
	if f.Quality < Quality(len(statuses)) {
		t.Status = statuses[max(f.Quality, 0)]
	}
	if !f.Time.IsZero() {
		t.Time = f.Time.UTC().Format("2006-01-02T15:04:05.000Z")
	}
	if f.HasAlt {
		t.Alt, t.AltMSL = rounded(f.Alt, 4), rounded(f.Alt, 4)
		if f.HasGeoidSep {
			t.AltHAE = rounded(f.Alt+f.GeoidSep, 4)
		}
	}
	if f.HasGeoidSep {
		t.GeoidSep = rounded(f.GeoidSep, 3)
	}
	if f.HasSpeed {
		t.Speed = rounded(f.Speed, 3)
	}
	if f.HasCourse {
		t.Track = rounded(f.Course, 4)
	}
	return t
}

func round(v float64, digits int) float64 {
	p := math.Pow10(digits)
	return math.Round(v*p) / p
}

func rounded(v float64, digits int) *float64 { v = round(v, digits); return &v }

// The GPS week number returns to 0 every 1,024 weeks (IS-GPS-200, section
// 20.3.3.3.1.1).
const rollover = 1024 * 7 * 24 * time.Hour

// WriteJSON decodes r to its end and writes one JSON object a fix, a line
// each, and returns what it has seen. The error is r's or w's; a stream
// without a fix is none.
//
// As gpsd does, it takes a date before 2017 for one of a receiver that missed
// a rollover of the week number, and adds 1,024 weeks: since 2017 there are 18
// leap seconds. A comment line "# Date: 2015-03-18", as gpsd's logs have it,
// says when a log was captured, and then all dates stay as they are.
func WriteJSON(r io.Reader, w io.Writer) (Stats, error) {
	in := &dated{r: r}
	d, out := NewDecoder(in), json.NewEncoder(w)
	eighteen := time.Date(2017, 1, 1, 0, 0, 0, 0, time.UTC)
	for {
		f, err := d.Next()
		if errors.Is(err, io.EOF) {
			return d.Stats(), nil
		}
		if err != nil {
			return d.Stats(), fmt.Errorf("gps: %w", err)
		}
		if !f.Time.IsZero() && f.Time.Before(eighteen) && !in.seen {
			f.Time = f.Time.Add(rollover)
		}
		if err := out.Encode(f.TPV()); err != nil {
			return d.Stats(), fmt.Errorf("gps: %w", err)
		}
	}
}

// A dated is a reader that looks for the line that says when a log was made.
type dated struct {
	r    io.Reader
	line []byte // the start of the line
	seen bool
}

func (d *dated) Read(p []byte) (int, error) {
	n, err := d.r.Read(p)
	mark := []byte("# Date: ")
	for _, c := range p[:n] {
		switch {
		case d.seen:
			return n, err
		case c == '\n':
			d.line = d.line[:0]
		case len(d.line) < len(mark):
			d.line = append(d.line, c)
		case bytes.Equal(d.line, mark) && '0' <= c && c <= '9':
			d.seen = true
		}
	}
	return n, err
}
