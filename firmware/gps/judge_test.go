package gps_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/fengsui/fengsui/firmware/gps"
)

// shared has receivers' logs of gpsd's own test suite, each with the JSON that
// gpsd makes of it.
const shared = "../../../shared/nmea"

// vectors has logs of receivers that never were, in testdata: orders, rates,
// talkers and losses of fix that shared lacks, and gpsd's answers to them
// (release 3.27.6~dev, TPV objects only).
const vectors = "testdata/gpsd"

type tpv struct {
	Class  string   `json:"class"`
	Time   string   `json:"time"`
	Mode   int      `json:"mode"`
	Lat    *float64 `json:"lat"`
	Lon    *float64 `json:"lon"`
	Speed  *float64 `json:"speed"`
	Track  *float64 `json:"track"`
	AltMSL *float64 `json:"altMSL"`
	AltHAE *float64 `json:"altHAE"`
}

// differs lists where we differ from gpsd: how many of gpsd's fixes we lack,
// and how many of ours gpsd lacks.
var differs = map[string]struct {
	lacking, extra int
	reason         string
}{
	"bu303-moving.log":         {12, 0, "SiRF binary: the log has no NMEA sentence"},
	"bu303-stillfix.log":       {11, 0, "SiRF binary: the log has no NMEA sentence"},
	"navisys-gr8013.log":       {43, 0, "UBX binary: the log has no NMEA sentence"},
	"bt451.log":                {0, 2, "the log breaks off within an epoch, twice: gpsd waits for the rest, we hand out what came"},
	"neo-m8n.log":              {0, 1, "the log ends within an epoch"},
	"ublox-lea-5h.log":         {0, 1, "the log ends within an epoch"},
	"midnight-gll-first.log":   {3, 0, "gpsd gives the first GLL after midnight the date of the day before, until RMC"},
	"rmc-v-beside-gga.log":     {22, 0, "gpsd takes RMC's word and then GGA's, as they come, and reports both: one that denies is enough for us"},
	"gga-quality-0-repeat.log": {8, 0, "gpsd passes a position of quality 0 on if the talker is GL, GA or GB"},
}

// positions are the fixes with a position in a stream of gpsd's JSON.
func positions(t *testing.T, r io.Reader) []tpv {
	t.Helper()
	b, err := io.ReadAll(r)
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

func TestAgainstGpsd(t *testing.T) {
	logs, err := filepath.Glob(filepath.Join(shared, "*.log"))
	if err != nil || len(logs) == 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("no receivers' logs at ../shared/nmea, and CI must judge by them")
		}
		t.Skip("no receivers' logs at ../shared/nmea: not judged against gpsd")
	}
	judge(t, logs)
}

func TestAgainstGpsdsAnswersToOurLogs(t *testing.T) {
	logs, err := filepath.Glob(filepath.Join(vectors, "*.log"))
	if err != nil || len(logs) == 0 {
		t.Fatalf("no logs in %s: %v", vectors, err)
	}
	judge(t, logs)
}

func judge(t *testing.T, logs []string) {
	for _, name := range logs {
		t.Run(filepath.Base(name), func(t *testing.T) {
			log, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			chk, err := os.Open(name + ".chk")
			if err != nil {
				t.Fatal(err)
			}
			defer chk.Close()
			theirs := positions(t, chk)
			var b bytes.Buffer
			if _, err := gps.WriteJSON(bytes.NewReader(log), &b); err != nil {
				t.Fatal(err)
			}
			ours := positions(t, &b)
			var lacking, extra []tpv
			for _, v := range theirs {
				if v.Time != "" && len(find(ours, v)) == 0 {
					lacking = append(lacking, v)
				}
			}
			for _, v := range ours {
				if same := find(theirs, v); len(same) > 0 {
					compare(t, v, same)
				} else if !known(theirs, v) {
					extra = append(extra, v)
				}
			}
			want := differs[filepath.Base(name)]
			if len(lacking) != want.lacking || len(extra) != want.extra {
				t.Errorf("%d fixes of gpsd's are lacking and %d of ours are not gpsd's, listed are %d and %d (%s)\nlacking %s\nextra %s",
					len(lacking), len(extra), want.lacking, want.extra, want.reason, show(lacking), show(extra))
			}
		})
	}
}

func show(v []tpv) string {
	b, _ := json.Marshal(v[:min(len(v), 3)])
	return string(b)
}

// find returns the fixes of that time within 1e-6 degrees.
func find(in []tpv, v tpv) (out []tpv) {
	for _, w := range in {
		if v.Time == w.Time && near(*v.Lat, *w.Lat) && near(*v.Lon, *w.Lon) {
			out = append(out, w)
		}
	}
	return out
}

// known reports whether a position is one of theirs, with whatever time: until
// gpsd knows how an epoch ends, it reports positions before their date.
func known(theirs []tpv, v tpv) bool {
	return slices.ContainsFunc(theirs, func(w tpv) bool { return near(*v.Lat, *w.Lat) && near(*v.Lon, *w.Lon) })
}

func near(a, b float64) bool { return math.Abs(a-b) <= 1e-6 }

// compare wants each value that gpsd gives for that fix to be ours; gpsd may
// report a fix more than once, as its sentences come.
func compare(t *testing.T, v tpv, theirs []tpv) {
	t.Helper()
	for _, c := range []struct {
		name string
		get  func(tpv) *float64
		tol  float64
	}{
		{"speed", func(v tpv) *float64 { return v.Speed }, 0.02},
		{"track", func(v tpv) *float64 { return v.Track }, 0.1},
		{"altMSL", func(v tpv) *float64 { return v.AltMSL }, 0.06},
		{"altHAE", func(v tpv) *float64 { return v.AltHAE }, 0.06},
	} {
		ours := c.get(v)
		if ours == nil {
			continue
		}
		var given []float64
		ok := false
		for _, w := range theirs {
			if g := c.get(w); g != nil {
				given = append(given, *g)
				ok = ok || math.Abs(*g-*ours) <= c.tol
			}
		}
		if !ok && len(given) > 0 {
			t.Errorf("%s: %s is %g, gpsd says %v", v.Time, c.name, *ours, given)
		}
	}
}
