package gps_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/fengsui/fengsui/firmware/gps"
	"github.com/fengsui/fengsui/firmware/gps/gpstest"
)

// nmea adds '$', checksum and line end to each line.
func nmea(lines ...string) string {
	var b strings.Builder
	for _, s := range lines {
		var x byte
		for i := range len(s) {
			x ^= s[i]
		}
		fmt.Fprintf(&b, "$%s*%02X\r\n", s, x)
	}
	return b.String()
}

const good = "GPRMC,120000.00,A,3012.0000,N,10306.0000,E,10.0,90.0,231126,,,A"

func TestOneEpochOneFix(t *testing.T) {
	in := nmea(good, "GPVTG,90.0,T,,M,10.0,N,18.5,K,A", "GPGGA,120000.00,3012.0000,N,10306.0000,E,1,09,0.9,512.0,M,-30.0,M,,",
		"GPGSA,A,3,01,02,03,04,,,,,,,,,1.8,0.9,1.5", "GPGSV,1,1,02,01,40,083,46,02,17,308,41",
		"GPGLL,3012.0000,N,10306.0000,E,120000.00,A,A", "GPZDA,120000.00,23,11,2026,00,00")
	got := decode(t, strings.NewReader(in))
	if len(got) != 1 {
		t.Fatalf("%d fixes, want 1: %+v", len(got), got)
	}
	f := got[0]
	if !f.Time.Equal(time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)) || f.Mode != gps.Mode3D || !near(f.Lat, 30.2) || !near(f.Lon, 103.1) ||
		f.Alt != 512 || f.GeoidSep != -30 || math.Abs(f.Speed-5.1444) > 1e-3 || f.Course != 90 || f.HDOP != 0.9 || f.Used != 9 || f.Visible != 2 || !f.Active {
		t.Errorf("got %+v", f)
	}
}

func TestWhatNeverYieldsAFix(t *testing.T) {
	for name, in := range map[string]string{
		"nothing":              "",
		"a wrong checksum":     strings.Replace(nmea(good), "3012", "3013", 1),
		"a cut line":           nmea(good)[:40],
		"no checksum":          "$" + good + "\r\n",
		"a latitude of 95":     nmea(strings.Replace(good, "3012.0000", "9512.0000", 1)),
		"61 minutes":           nmea(strings.Replace(good, "3012.0000", "3061.0000", 1)),
		"a longitude of 181":   nmea(strings.Replace(good, "10306.0000", "18106.0000", 1)),
		"no hemisphere":        nmea(strings.Replace(good, ",N,", ",,", 1)),
		"no longitude":         nmea(strings.Replace(good, "10306.0000", "", 1)),
		"25 o'clock":           nmea(strings.Replace(good, "120000", "250000", 1)),
		"3,000 knots":          nmea(strings.Replace(good, "10.0,90.0", "3000.0,90.0", 1)),
		"a course of 400":      nmea(strings.Replace(good, "10.0,90.0", "10.0,400.0", 1)),
		"status V":             nmea(strings.Replace(good, ",A,", ",V,", 1)),
		"quality 0":            nmea("GPGGA,120000.00,3012.0000,N,10306.0000,E,0,00,99,,,,,,"),
		"90 km up":             nmea("GPGGA,120000.00,3012.0000,N,10306.0000,E,1,05,1,90000,M,,M,,"),
		"quality not told":     nmea("GPGGA,120000.00,3012.0000,N,10306.0000,E,,08,1.0,512,M,,M,,"),
		"two satellites":       nmea("GPGGA,120000.00,3012.0000,N,10306.0000,E,1,02,1.0,512,M,,M,,"),
		"RMC V beside GGA":     nmea("GPRMC,120000.00,V,3012.0000,N,10306.0000,E,,,231126,,,N", "GPGGA,120000.00,3012.0000,N,10306.0000,E,1,08,1.0,512,M,,M,,"),
		"GLL V beside GGA":     nmea("GPGGA,120000.00,3012.0000,N,10306.0000,E,1,08,1.0,512,M,,M,,", "GPGLL,3012.0000,N,10306.0000,E,120000.00,V,N"),
		"mode N":               nmea(strings.TrimSuffix(good, "A") + "N"),
		"GSA alone":            nmea("GPGSA,A,3,01,02,03,04,,,,,,,,,1.8,0.9,1.5"),
		"not a number":         nmea(strings.Replace(good, "3012.0000", "nan", 1)),
		"hexadecimal":          nmea(strings.Replace(good, "3012.0000", "0x1p3.", 1)),
		"no decimal point":     nmea(strings.Replace(good, "3012.0000", "3012", 1)),
		"a negative latitude":  nmea(strings.Replace(good, "3012.0000", "-3012.0000", 1)),
		"two sentences in one": nmea(strings.Repeat(good+",", 3)),
		"Garmin's own RMC":     nmea("PGRMC,120000.00,A,3012.0000,N,10306.0000,E,10.0,90.0,231126,,,A"),
		"GNS without a fix":    nmea("GNGNS,120000.00,3012.0000,N,10306.0000,E,NN,00,99,,,,"),
		"another talker":       nmea("XX" + good[2:]),
		"a ship's radio":       "!AIVDM,1,1,,A,14eG;o@034o8sd<L9i:a;WF>062D,0*7D\r\n",
		"a megabyte of noise":  strings.Repeat("$GPRMC,\xff\xfe\x00", 100_000),
		"a very long line":     "$" + strings.Repeat("A", 1<<20),
	} {
		if got := decode(t, strings.NewReader(in)); len(got) != 0 {
			t.Errorf("%s: %+v, want no fix", name, got)
		}
		// and the stream goes on
		if got := decode(t, strings.NewReader(in+"\r\n"+nmea(strings.Replace(good, "120000", "120001", 1)))); len(got) != 1 {
			t.Errorf("after %s: %d fixes, want 1", name, len(got))
		}
	}
}

func TestABadDateCostsOnlyTheDate(t *testing.T) {
	got := decode(t, strings.NewReader(nmea(strings.Replace(good, "231126", "321326", 1))))
	if len(got) != 1 || !got[0].Time.IsZero() {
		t.Errorf("got %+v, want one fix without a time", got)
	}
}

// Each is a variant that some receiver sends, and one fix with that altitude.
func TestVariants(t *testing.T) {
	gga := "GPGGA,120000.00,3012.0000,N,10306.0000,E,1,08,1.0,512.0,M,-30.0,M,,"
	for name, in := range map[string]string{
		"a lower-case checksum":    strings.ToLower(nmea(gga)[len(nmea(gga))-4:]),
		"no mode, no variation":    nmea("GPRMC,120000,A,3012.0000,N,10306.0000,E,0.0,,231126", gga),
		"a wrong date":             nmea("GPRMC,120000.00,A,3012.0000,N,10306.0000,E,0.0,0.0,2311-1,,,A", gga),
		"version 4.11":             nmea("GNRMC,120000.00,A,3012.0000,N,10306.0000,E,0.0,,231126,,,A,V", gga),
		"a strange status":         nmea("GNRMC,120000.00,A,3012.0000,N,10306.0000,E,0.0,,231126,,,A,X", gga),
		"a simulator":              nmea(strings.Replace(gga, "E,1,", "E,8,", 1)),
		"no reference station":     nmea(strings.TrimSuffix(gga, ",,")),
		"dead reckoning, no RMC":   nmea(strings.Replace(gga, "E,1,", "E,6,", 1)),
		"GLONASS counts its own":   nmea(strings.Replace(strings.Replace(gga, "GP", "GL", 1), ",08,", ",02,", 1)),
		"one system has no fix":    nmea(gga, "GLGGA,120000.00,,,,,0,00,99.99,,M,,M,,"),
		"GSA lags":                 nmea(gga, "GPGSA,A,1,,,,,,,,,,,,,99.99,99.99,99.99"),
		"a GSA of 24 satellites":   nmea(gga, "GPGSA,A,3,27,23,13,07,25,,,,,,,,,,,,,,,,,,,,07.9,06.0,05.2"),
		"GSA of a dead reckoner":   nmea(gga, "GPGSA,A,E,01,02,03,,,,,,,,,,1.8,0.9,1.5"),
		"no padding":               nmea(strings.Replace(gga, "10306.0000,E", "6.0000,E", 1)),
		"an empty ZDA":             nmea(gga, "GPZDA,120000.00,,,,,"),
		"a bad GSV":                nmea(gga, "GPGSV,x,y,z"),
		"two spaces before":        "  \r\r\n" + nmea(gga),
		"no line end between":      strings.ReplaceAll(nmea(gga, "GPGSV,1,1,02,01,40,083,46"), "\r\n", ""),
		"a sentence cut by it":     "$GPRMC,120000.0" + nmea(gga),
		"a sentence, then binary":  nmea(gga) + "\xb5\x62\x01\x07$$$\x00*",
		"GNS with V":               nmea("GNGNS,120000.00,3012.0000,N,10306.0000,E,AN,09,0.9,512.0,-30.0,,,V"),
		"Indian and Japanese GNS":  nmea("GNGNS,120000.00,3012.0000,N,10306.0000,E,AANNNA,09,0.9,512.0,-30.0,,"),
		"an integrated navigation": nmea(strings.Replace(gga, "GP", "IN", 1)),
	} {
		if len(in) == 4 { // a checksum alone
			in = nmea(gga)[:len(nmea(gga))-4] + in
		}
		got := decode(t, strings.NewReader(in))
		if len(got) != 1 || got[0].Alt != 512 || got[0].Mode < gps.Mode2D {
			t.Errorf("%s: %+v, want one fix", name, got)
		}
	}
}

func TestTalkers(t *testing.T) {
	for _, talker := range strings.Fields("GP GN GL GA GB BD QZ GI GQ") {
		if got := decode(t, strings.NewReader(nmea(talker+good[2:]))); len(got) != 1 {
			t.Errorf("%s: %d fixes, want 1", talker, len(got))
		}
	}
}

// Without a fix, RMC may tell any time and date; they must not stay.
func TestRMCWithoutAFixTellsNoDate(t *testing.T) {
	got := decode(t, strings.NewReader(nmea("GPRMC,235930.00,V,,,,,,,060180,,,N",
		"GPGGA,120000.00,3012.0000,N,10306.0000,E,1,08,1.0,512.0,M,-30.0,M,,")))
	if len(got) != 1 || !got[0].Time.IsZero() {
		t.Errorf("%+v, want one fix without a time", got)
	}
}

func TestDates(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{nmea(strings.Replace(good, "231126", "311298", 1)), "1998-12-31T12:00:00Z"},
		{nmea(strings.Replace(good, "231126", "010168", 1)), "2068-01-01T12:00:00Z"},
		{nmea("GPZDA,120000.00,29,02,2028,,", "GPGGA,120000.00,3012.0000,N,10306.0000,E,1,08,1.0,512.0,M,-30.0,M,,"), "2028-02-29T12:00:00Z"},
		{nmea(strings.Replace(strings.Replace(good, "120000.00", "235960.00", 1), "231126", "311216", 1)), "2017-01-01T00:00:00Z"},
		{nmea(strings.Replace(good, "120000.00", "120000.9996", 1)), "2026-11-23T12:00:01Z"},
		{nmea(strings.Replace(good, "120000.00", "120000.1", 1)), "2026-11-23T12:00:00.1Z"},
	} {
		got := decode(t, strings.NewReader(c.in))
		if len(got) != 1 || got[0].Time.Format(time.RFC3339Nano) != c.want {
			t.Errorf("%q: %+v, want %s", c.in, got, c.want)
		}
	}
	for _, bad := range []string{"GPZDA,120000.00,31,13,2026,00,00", "GPZDA,120000.00,30,02,2026,00,00", "GPZDA,120000.00,01,01,0026,00,00", "GPZDA,120000.00,1e,01,2026,00,00"} {
		got := decode(t, strings.NewReader(nmea(bad, "GPGGA,120000.00,3012.0000,N,10306.0000,E,1,08,1.0,512.0,M,-30.0,M,,")))
		if len(got) != 1 || !got[0].Time.IsZero() {
			t.Errorf("%s: %+v, want one fix without a time", bad, got)
		}
	}
}

func TestStats(t *testing.T) {
	d := gps.NewDecoder(strings.NewReader(nmea(good, "GPTXT,01,01,02,ANTSTATUS=OK", strings.Replace(good, "3012", "9912", 1)) +
		strings.Replace(nmea(good), "3012", "3013", 1) + "$GPRMC,12$GPRMC,\x00"))
	if _, err := d.Next(); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Next(); !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	if got, want := d.Stats(), (gps.Stats{Good: 1, Checksum: 1, Rejected: 1, Cut: 2, Other: 1, Fixes: 1}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestMidnight(t *testing.T) {
	gga := "GPGGA,%s,3012.0000,N,10306.0000,E,1,09,0.9,512.0,M,-30.0,M,,"
	got := decode(t, strings.NewReader(nmea(strings.Replace(good, "120000.00", "235958.00", 1),
		fmt.Sprintf(gga, "235959.00"), fmt.Sprintf(gga, "000000.00"), fmt.Sprintf(gga, "000001.00"))))
	want := []string{"23T23:59:58", "23T23:59:59", "24T00:00:00", "24T00:00:01"}
	for i, f := range got {
		if s := f.Time.Format("02T15:04:05"); s != want[i] {
			t.Errorf("fix %d at %s, want %s", i, s, want[i])
		}
	}
	if len(got) != 4 {
		t.Errorf("%d fixes, want 4", len(got))
	}
}

// Once the order of the sentences is known, a fix does not wait for the next
// epoch's first, whatever the order is.
func TestAFixDoesNotWaitASecond(t *testing.T) {
	const (
		rmc = "GPRMC,%s,A,3012.0000,N,10306.0000,E,10.0,90.0,231126,,,A"
		gga = "GPGGA,%s,3012.0000,N,10306.0000,E,1,08,1.0,512.0,M,-30.0,M,,"
		gll = "GPGLL,3012.0000,N,10306.0000,E,%s,A,A"
		gsa = "GPGSA,A,3,01,02,03,04,,,,,,,,,1.8,0.9,1.5"
		gsv = "GPGSV,1,1,02,01,40,083,46,02,17,308,41"
		vtg = "GPVTG,90.0,T,,M,10.0,N,18.5,K,A"
		zda = "GPZDA,%s,23,11,2026,,"
	)
	for name, order := range map[string][]string{
		"RMC alone":         {rmc},
		"u-blox":            {rmc, vtg, gga, gsa, gsa, gsv, gsv, gll},
		"MediaTek":          {gga, gsa, gsv, rmc, vtg},
		"SiRF":              {gga, gsa, gsv, rmc},
		"CASIC":             {gga, gll, gsa, gsv, rmc, vtg, zda},
		"untimed ones lead": {vtg, gsa, gga, rmc},
		"speed from VTG":    {gga, gsa, vtg},
		"twice RMC":         {rmc, gga, rmc},
	} {
		synctest.Test(t, func(t *testing.T) {
			r, w := io.Pipe()
			start := time.Now()
			go func() {
				for i := range 10 {
					at := start.Add(time.Duration(i) * time.Second).UTC().Format("150405.00")
					for _, s := range order {
						if strings.Contains(s, "%s") {
							s = fmt.Sprintf(s, at)
						}
						fmt.Fprint(w, nmea(s))
					}
					time.Sleep(time.Second)
				}
				w.Close()
			}()
			d := gps.NewDecoder(r)
			prompt, n := 0, 0
			for ; ; n++ {
				f, err := d.Next()
				if err != nil {
					break
				}
				if name != "speed from VTG" && f.Time.Second() != start.Add(time.Duration(n)*time.Second).Second() {
					t.Errorf("%s: fix %d is of %v: one was lost or doubled", name, n, f.Time)
				}
				if time.Since(start)%time.Second < 100*time.Millisecond && time.Since(start) < time.Duration(n)*time.Second+100*time.Millisecond {
					prompt++
				}
				if !f.HasSpeed || math.Abs(f.Speed-5.1444) > 1e-3 || !f.HasCourse {
					t.Errorf("%s: fix %d has no speed: %+v", name, n, f)
				}
			}
			if n != 10 || prompt < 7 {
				t.Errorf("%s: %d fixes and %d of them at once, want 10 and 7 or more", name, n, prompt)
			}
		})
	}
}

func TestMixedRates(t *testing.T) {
	var in strings.Builder
	for i := range 50 { // GGA at 10 Hz, RMC at 1 Hz, GSA every other second
		at := fmt.Sprintf("1200%02d.%d00", i/10, i%10)
		in.WriteString(nmea("GNGGA," + at + ",3012.0000,N,10306.0000,E,1,08,1.0,512.0,M,-30.0,M,,"))
		if i%10 == 0 {
			in.WriteString(nmea(strings.Replace(good, "120000.00", at, 1)))
		}
		if i%20 == 0 {
			in.WriteString(nmea("GNGSA,A,2,01,02,03,,,,,,,,,,1.8,0.9,1.5"))
		}
	}
	got := decode(t, strings.NewReader(in.String()))
	if len(got) != 50 {
		t.Fatalf("%d fixes, want 50", len(got))
	}
	for i, f := range got {
		if want := time.Date(2026, 11, 23, 12, 0, 0, i*100_000_000, time.UTC); !f.Time.Equal(want) || f.Active != (i%10 == 0) || f.HasSpeed != f.Active || f.Mode != gps.Mode2D {
			t.Errorf("fix %d: %+v, want it of %v", i, f, want)
		}
	}
}

func TestReaderErrorsComeThrough(t *testing.T) {
	boom := errors.New("unplugged")
	d := gps.NewDecoder(io.MultiReader(strings.NewReader(nmea(good)), iotest.ErrReader(boom)))
	if f, err := d.Next(); err != nil || f.Lat == 0 {
		t.Errorf("the fix before the error: %+v, %v", f, err)
	}
	for range 2 {
		if _, err := d.Next(); !errors.Is(err, boom) {
			t.Errorf("%v, want %v", err, boom)
		}
	}
}

func TestDriveComesBack(t *testing.T) {
	route := gpstest.Route{Points: []gpstest.Point{{Lat: 30, Lon: 103}, {Lat: 30.01, Lon: 103}, {Lat: 30.01, Lon: 103.01}}, Speed: 15}
	synctest.Test(t, func(t *testing.T) {
		var b bytes.Buffer
		var told []gpstest.Point
		ctx, stop := context.WithTimeout(t.Context(), 5*time.Minute)
		defer stop()
		if err := route.Drive(ctx, &b, func(_ time.Time, p gpstest.Point) { told = append(told, p) }); err != nil {
			t.Fatal(err)
		}
		got, err := gpstest.Read(&b)
		if err != nil || len(got) != len(told) || len(told) < 300 {
			t.Fatalf("%d fixes of %d, %v", len(got), len(told), err)
		}
		for i, f := range got {
			if !near(f.Lat, told[i].Lat) || !near(f.Lon, told[i].Lon) || f.Speed < 14.9 || f.Speed > 15.1 {
				t.Fatalf("fix %d: %+v, want %v", i, f, told[i])
			}
		}
	})
}

func TestReplayKeepsPaceAndBytes(t *testing.T) {
	at := func(clock string) string { return nmea(strings.Replace(good, "120000.00", clock, 1)) }
	for _, c := range []struct {
		log  string
		want time.Duration
	}{
		{"# a comment\n" + at("120000.00") + nmea("GPGSA,A,3,01,02,03,04,,,,,,,,,1.8,0.9,1.5") + at("120010"), 5 * time.Second},
		{at("120000.000") + at("120000.100") + at("120000.200"), 100 * time.Millisecond},
		{at("120000.00") + "\xb5\x62\x00\n$GPRMC,,V,,,,,,,,,,N*53\r\n" + at("130000.00") + at("130001.00"), 500 * time.Millisecond},
		{"no sentence, no line end", 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			var b bytes.Buffer
			start := time.Now()
			if err := gpstest.Replay(t.Context(), strings.NewReader(c.log), &b, 2); err != nil {
				t.Fatal(err)
			}
			if d := time.Since(start); d != c.want {
				t.Errorf("%q at double speed took %v, want %v", c.log, d, c.want)
			}
			if want := strings.TrimPrefix(c.log, "# a comment\n"); b.String() != want {
				t.Errorf("wrote %q, want %q", b.String(), want)
			}
		})
	}
}

func TestDriveAtTenHertz(t *testing.T) {
	route := gpstest.Route{Points: []gpstest.Point{{Lat: -0.0001, Lon: 179.9999}, {Lat: 0.0001, Lon: 179.9999}}, Speed: 5, Rate: 10}
	synctest.Test(t, func(t *testing.T) {
		var b bytes.Buffer
		ctx, stop := context.WithTimeout(t.Context(), 3*time.Second)
		defer stop()
		if err := route.Drive(ctx, &b, nil); err != nil {
			t.Fatal(err)
		}
		got, err := gpstest.Read(&b)
		if err != nil || len(got) < 29 || len(got) > 31 {
			t.Fatalf("%d fixes in three seconds, %v", len(got), err)
		}
		for i := range got[1:] {
			if d := got[i+1].Time.Sub(got[i].Time); d != 100*time.Millisecond {
				t.Errorf("%v from fix %d to the next, want 100 ms", d, i)
			}
		}
	})
	if err := (gpstest.Route{}).Drive(t.Context(), io.Discard, nil); !errors.Is(err, gpstest.ErrNoPoints) {
		t.Errorf("no route: %v, want %v", err, gpstest.ErrNoPoints)
	}
}

func TestThinner(t *testing.T) {
	start := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	count := func(hz int, seconds int, speed float64) int {
		var th gps.Thinner
		kept := 0
		for i := range hz * seconds {
			at := time.Duration(i) * time.Second / time.Duration(hz)
			if th.Keep(gps.Fix{Time: start.Add(at), Lat: 30 + speed*at.Seconds()/111195, Lon: 103, Speed: speed, HasSpeed: true}) {
				kept++
			}
		}
		return kept
	}
	for _, c := range []struct {
		hz    int
		speed float64
		want  int
	}{{1, 10, 120}, {10, 10, 120}, {1, 0, 5}, {5, 0.2, 6}} {
		if got := count(c.hz, 120, c.speed); got < c.want-1 || got > c.want+2 {
			t.Errorf("%d Hz at %g m/s: kept %d in two minutes, want about %d", c.hz, c.speed, got, c.want)
		}
	}
}

func TestThinnerKeepsTheStartAndTheShape(t *testing.T) {
	start := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	at := func(second, north, speed float64) gps.Fix {
		return gps.Fix{
			Time: start.Add(time.Duration(second * float64(time.Second))),
			Lat:  30 + north/111195, Lon: 103, Speed: speed, HasSpeed: true,
		}
	}
	var th gps.Thinner
	for _, c := range []struct {
		name string
		fix  gps.Fix
		want bool
	}{
		{"the first", at(0, 0, 10), true},
		{"too soon", at(0.1, 1, 10), false},
		{"a second on, a little early", at(0.98, 10, 10), true},
		{"of the second before", at(0.5, 5, 10), false},
		{"stops", at(2, 15, 0), true},
		{"stands", at(3, 15, 0.2), false},
		{"stands", at(31, 16, 0.3), false},
		{"half a minute later", at(32, 16, 0.3), true},
		{"stands", at(33, 16, 0.3), false},
		{"moves again", at(34, 17, 1.5), true},
		{"stops", at(35, 18, 0), true},
		{"creeps", at(36, 34, 0.5), true},
		{"jumps", at(37, 500_000, 0), true},
		{"the clock was set back", at(-3600, 500_000, 0), true},
	} {
		if got := th.Keep(c.fix); got != c.want {
			t.Errorf("%s: kept %t, want %t", c.name, got, c.want)
		}
	}
	slow := gps.Thinner{Interval: 10 * time.Second, Still: time.Minute}
	kept := 0
	for i := range 120 {
		if slow.Keep(at(float64(i), float64(i)*10, 10)) {
			kept++
		}
	}
	if kept != 12 {
		t.Errorf("kept %d in two minutes, want one every ten seconds", kept)
	}
}
