package gps_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fengsui/fengsui/firmware/gps"
)

const shared = "../../../shared/nmea"

type tpv struct {
	Class string   `json:"class"`
	Time  string   `json:"time"`
	Mode  int      `json:"mode"`
	Lat   *float64 `json:"lat"`
	Lon   *float64 `json:"lon"`
	Speed *float64 `json:"speed"`
	Track *float64 `json:"track"`
	Alt   *float64 `json:"altMSL"`
}

// judged are the fixes with a position that gpsd made of a log.
func judged(t *testing.T, file string) []tpv {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var out []tpv
	for line := range bytes.Lines(b) {
		var v tpv
		if json.Unmarshal(line, &v) == nil && v.Class == "TPV" && v.Lat != nil && v.Lon != nil {
			out = append(out, v)
		}
	}
	return out
}

func decode(t testing.TB, r io.Reader) []gps.Fix {
	t.Helper()
	d := gps.NewDecoder(r)
	var out []gps.Fix
	for {
		f, err := d.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, f)
	}
}

// differs lists the logs with fixes of gpsd's that we do not have, and why. A
// reason covers the fixes that the func accepts.
var differs = map[string]struct {
	reason string
	covers func(tpv) bool
}{
	"bu303-moving.log":   {"SiRF binary: the log has no NMEA sentence, gpsd decodes both", all},
	"bu303-stillfix.log": {"SiRF binary: the log has no NMEA sentence, gpsd decodes both", all},
	"navisys-gr8013.log": {"UBX binary: the log has no NMEA sentence, gpsd decodes both", all},
	"neo-m8n.log": {
		"gpsd moves 2015 by 1,024 weeks to 2034; the receiver's own date is right",
		func(v tpv) bool { return strings.HasPrefix(v.Time, "2034-11-01T17:19:") },
	},
}

func all(tpv) bool { return true }

func TestAgainstGpsd(t *testing.T) {
	logs, err := filepath.Glob(filepath.Join(shared, "*.log"))
	if err != nil || len(logs) == 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("no receivers' logs at ../shared/nmea, and CI must judge by them")
		}
		t.Skip("no receivers' logs at ../shared/nmea: not judged against gpsd")
	}
	for _, file := range logs {
		name := filepath.Base(file)
		t.Run(name, func(t *testing.T) {
			f, err := os.Open(file)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			ours := decode(t, f)
			theirs := judged(t, file+".chk")
			used := make(map[int]bool)
			for _, want := range theirs {
				if want.Time == "" {
					continue
				}
				if i := find(ours, want); i >= 0 {
					used[i] = true
					continue
				}
				if d, ok := differs[name]; ok && d.covers(want) {
					continue
				}
				t.Errorf("gpsd has %s %.9f %.9f, we have nothing like it (%s)", want.Time, *want.Lat, *want.Lon, nearTime(ours, want.Time))
			}
			for i, f := range ours {
				if !used[i] && !known(f, theirs) && !cut(ours, i) {
					t.Errorf("we have %v %.9f %.9f mode %d, gpsd has no such position", f.Time, f.Lat, f.Lon, f.Mode)
				}
			}
		})
	}
}

func find(ours []gps.Fix, want tpv) int {
	for i, f := range ours {
		if f.Time.Format("2006-01-02T15:04:05.000Z") == want.Time && near(f.Lat, *want.Lat) && near(f.Lon, *want.Lon) {
			return i
		}
	}
	return -1
}

func near(a, b float64) bool { return math.Abs(a-b) <= 1e-6 }

func nearTime(ours []gps.Fix, at string) string {
	for _, f := range ours {
		if s := f.Time.Format("2006-01-02T15:04:05.000Z"); s == at || strings.HasSuffix(s, at[10:]) {
			b, _ := json.Marshal(f.TPV())
			return string(b)
		}
	}
	return "nothing at that time"
}

func known(f gps.Fix, theirs []tpv) bool {
	for _, v := range theirs {
		if near(f.Lat, *v.Lat) && near(f.Lon, *v.Lon) {
			return true
		}
	}
	return false
}

// cut reports whether the log breaks off within the epoch of fix i: gpsd waits
// for the rest, we hand out what came.
func cut(ours []gps.Fix, i int) bool {
	return i == len(ours)-1 || ours[i+1].Time.Sub(ours[i].Time).Abs() > 10*time.Second
}
