package gps

import (
	"encoding/json"
	"errors"
	"io"
	"math"
)

// A TPV is a fix in the names and units of gpsd's TPV object (gpsd_json(5)).
type TPV struct {
	Class    string   `json:"class"`
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

// TPV returns the fix as gpsd names things.
func (f *Fix) TPV() TPV {
	t := TPV{
		Class: "TPV", Mode: f.Mode, Lat: round(f.Lat, 9), Lon: round(f.Lon, 9),
		HDOP: f.HDOP, VDOP: f.VDOP, PDOP: f.PDOP, Used: f.Used, Visible: f.Visible,
	}
	if !f.Time.IsZero() {
		t.Time = f.Time.UTC().Format("2006-01-02T15:04:05.000Z")
	}
	if f.HasAlt && f.Mode == Mode3D {
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

// WriteJSON decodes r to its end and writes one JSON object a fix, a line
// each. The error is r's or w's; a stream without a fix is none.
func WriteJSON(r io.Reader, w io.Writer) error {
	d, out := NewDecoder(r), json.NewEncoder(w)
	for {
		f, err := d.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := out.Encode(f.TPV()); err != nil {
			return err
		}
	}
}
