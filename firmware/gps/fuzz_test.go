package gps_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/fengsui/fengsui/firmware/gps"
	"github.com/fengsui/fengsui/firmware/gps/gpstest"
)

// possible fails the test if a fix has a value that cannot be.
func possible(t *testing.T, f gps.Fix) {
	t.Helper()
	within := func(name string, v, low, high float64) {
		if !(v >= low && v <= high) { // also of what is not a number
			t.Errorf("%s of %v, want %v to %v: %+v", name, v, low, high, f)
		}
	}
	within("a latitude", f.Lat, -90, 90)
	within("a longitude", f.Lon, -180, 180)
	within("an altitude", f.Alt, -1000, 50_000)
	within("a geoid separation", f.GeoidSep, -1000, 1000)
	within("a speed", f.Speed, 0, 515)
	within("a course", f.Course, 0, math.Nextafter(360, 0))
	within("a mode", float64(f.Mode), float64(gps.Mode2D), float64(gps.Mode3D))
	within("a quality", float64(f.Quality), 0, float64(gps.QualitySimulation))
	within("satellites used", float64(f.Used), 0, 999)
	within("satellites in view", float64(f.Visible), 0, 999*13)
	for _, dop := range []float64{f.HDOP, f.PDOP, f.VDOP} {
		within("a dilution", dop, 0, 90)
	}
	if !f.Time.IsZero() {
		within("a year", float64(f.Time.Year()), 1900, 2201)
	}
}

// FuzzDecoder wants every fix to be possible, the same fixes however the bytes
// come, and the stream to go on after whatever came.
func FuzzDecoder(f *testing.F) {
	f.Add([]byte(nmea(good, "GPGSA,A,3,01,02,03,04,,,,,,,,,1.8,0.9,1.5", "GNGNS,120000.00,3012.0000,N,10306.0000,E,AN,09,0.9,512.0,-30.0,,")))
	f.Add([]byte(gpstest.Sentences(time.Unix(1.8e9, 0), gpstest.Point{Lat: -30, Lon: -103}, 5, 90) + gpstest.NoFix(time.Unix(1.8e9, 0))))
	f.Add([]byte("$GPZDA,235960.00,31,12,2016,00,00*67\r\n$GPRMC\xb5\x62$$$GPGGA,,,,,,0,,,,,,,,*66"))
	f.Fuzz(func(t *testing.T, in []byte) {
		fixes := decode(t, bytes.NewReader(in))
		for _, x := range fixes {
			possible(t, x)
		}
		slow := decode(t, iotest.OneByteReader(bytes.NewReader(in)))
		if len(slow) != len(fixes) {
			t.Fatalf("%d fixes at once, %d byte by byte", len(fixes), len(slow))
		}
		for i := range slow {
			if slow[i] != fixes[i] {
				t.Fatalf("fix %d is %+v at once, %+v byte by byte", i, fixes[i], slow[i])
			}
		}
		// One of these two epochs must come through, the input's last may hide
		// the other.
		after := decode(t, io.MultiReader(bytes.NewReader(in), strings.NewReader("\r\n"+
			nmea(strings.Replace(good, "120000", "034512", 1), strings.Replace(good, "120000", "034513", 1)))))
		if len(after) <= len(fixes) {
			t.Fatalf("%d fixes, and %d after two good sentences more", len(fixes), len(after))
		}
	})
}

// FuzzSentence gives the decoder fields whose checksum is right, so that the
// fuzzer reaches what is behind it.
func FuzzSentence(f *testing.F) {
	f.Add(good, "GPGSA,A,3,01,02,03,04,,,,,,,,,1.8,0.9,1.5", "GPVTG,90.0,T,,M,10.0,N,18.5,K,A")
	f.Add("GNGNS,120000.00,3012.0000,N,10306.0000,E,AN,09,0.9,512.0,-30.0,,", "GPGLL,3012.0000,N,10306.0000,E,120000.00,A,A", "GPZDA,120000.00,29,02,2028,,")
	f.Add("GLGGA,235960,0000.0000,S,18000.0000,W,8,99,0.01,-999,M,999,M,,", "PQGSV,1,1,999", "GPRMC,,A,,,,,,,,,,")
	f.Fuzz(func(t *testing.T, a, b, c string) {
		for _, x := range decode(t, strings.NewReader(nmea(a, b, c, a))) {
			possible(t, x)
		}
	})
}

// A megabyte of what never ends costs a decoder its own few kilobytes.
func TestMemoryIsBounded(t *testing.T) {
	for name, unit := range map[string]string{
		"no line end": "$GPRMC,AAAAAAAAAAAAAAAAAAAAAAAA",
		"one field":   "A",
		"dollars":     "$",
		"noise":       "\xb5\x62\x00*",
	} {
		in := []byte("$" + strings.Repeat(unit, 1<<20/len(unit)))
		allocs := testing.AllocsPerRun(2, func() {
			if _, err := gps.NewDecoder(bytes.NewReader(in)).Next(); !errors.Is(err, io.EOF) {
				t.Errorf("%s: %v, want the end", name, err)
			}
		})
		if allocs > 50 {
			t.Errorf("%s: %v allocations, want next to none", name, allocs)
		}
	}
}

// realLog is a receiver's log for benchmarks: a real one where there is one.
func realLog() []byte {
	if b, err := os.ReadFile(filepath.Join(shared, "st-teseo-liv3f.log")); err == nil {
		return bytes.Repeat(b, 20)
	}
	return bytes.Repeat([]byte(gpstest.Sentences(time.Unix(1.8e9, 0), gpstest.Point{Lat: 30, Lon: 103}, 5, 90)), 2000)
}

// BenchmarkDecoder is to be read beside BenchmarkFloor.
func BenchmarkDecoder(b *testing.B) {
	log := realLog()
	b.SetBytes(int64(len(log)))
	b.ReportAllocs()
	for b.Loop() {
		d := gps.NewDecoder(bytes.NewReader(log))
		for {
			if _, err := d.Next(); err != nil {
				break
			}
		}
		if s := d.Stats(); s.Fixes == 0 {
			b.Fatalf("no fix: %+v", s)
		}
	}
}

// BenchmarkFloor is what any line protocol costs: finding the line ends.
func BenchmarkFloor(b *testing.B) {
	log := realLog()
	b.SetBytes(int64(len(log)))
	b.ReportAllocs()
	for b.Loop() {
		for s := bufio.NewScanner(bytes.NewReader(log)); s.Scan(); {
		}
	}
}
