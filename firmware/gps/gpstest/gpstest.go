// Package gpstest plays a satellite receiver: it makes the sentences of a
// drive along a route, and replays logs at the pace at which they were
// captured. It is for tests and for the simulator, and knows nothing of what
// reads the sentences.
package gpstest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"github.com/fengsui/fengsui/firmware/gps"
)

// A Point is a place in degrees, WGS 84.
type Point struct{ Lat, Lon float64 }

// A Route is a closed way that a car drives round and round.
type Route struct {
	Points []Point // two or more; a car stands at a single one
	Speed  float64 // metres a second
	Rate   int     // epochs a second, 0 for 1
	// Said, if not nil, makes of a place what the receiver says of it.
	Said func(Point) Point
}

// ErrNoPoints means that a route leads nowhere.
var ErrNoPoints = errors.New("gps: a route needs a point")

const degree = 111_195 // metres, on a sphere of 6,371 km

func leg(a, b Point) (metres, course float64) {
	dy := (b.Lat - a.Lat) * degree
	dx := (b.Lon - a.Lon) * degree * math.Cos(a.Lat*math.Pi/180)
	return math.Hypot(dx, dy), math.Mod(math.Atan2(dx, dy)*180/math.Pi+360, 360)
}

// At returns where a car is after a while, and its course in degrees.
func (r Route) At(after time.Duration) (Point, float64) {
	total := 0.0
	for i := range r.Points {
		m, _ := leg(r.Points[i], r.Points[(i+1)%len(r.Points)])
		total += m
	}
	left := math.Mod(after.Seconds()*r.Speed, max(total, 1))
	for i := range r.Points {
		a, b := r.Points[i], r.Points[(i+1)%len(r.Points)]
		m, course := leg(a, b)
		if left <= m && m > 0 {
			return Point{a.Lat + (b.Lat-a.Lat)*left/m, a.Lon + (b.Lon-a.Lon)*left/m}, course
		}
		left -= m
	}
	return r.Points[0], 0
}

// Sentences returns RMC, GGA and GSA of one epoch, with their line ends.
func Sentences(at time.Time, p Point, speed, course float64) string {
	at = at.UTC()
	clock := at.Format("150405.00")
	lat, ns := angle(p.Lat, 2, "N", "S")
	lon, ew := angle(p.Lon, 3, "E", "W")
	return line("GNRMC,%s,A,%s,%s,%s,%s,%.2f,%.1f,%s,,,A", clock, lat, ns, lon, ew, speed*3600/1852, course, at.Format("020106")) +
		line("GNGGA,%s,%s,%s,%s,%s,1,11,0.9,512.3,M,-32.1,M,,", clock, lat, ns, lon, ew) +
		line("GNGSA,A,3,02,05,12,15,18,24,25,29,,,,,1.6,0.9,1.3")
}

// NoFix returns what a receiver says while it searches.
func NoFix(at time.Time) string {
	clock := at.UTC().Format("150405.00")
	return line("GNRMC,%s,V,,,,,,,%s,,,N", clock, at.UTC().Format("020106")) +
		line("GNGGA,%s,,,,,0,00,99.9,,,,,,", clock) + line("GNGSA,A,1,,,,,,,,,,,,,99.9,99.9,99.9")
}

// Antenna returns what a u-blox receiver says of its antenna: OK, OPEN, SHORT.
func Antenna(state string) string { return line("GNTXT,01,01,02,ANTSTATUS=%s", state) }

// AntennaAs returns what a receiver says of its antenna in the words of its
// maker: u-blox, casic or quectel (LC76G and its kin; the L80 speaks as u-blox).
// The state is OK, OPEN or SHORT.
func AntennaAs(maker, state string) string {
	switch maker {
	case "casic":
		return line("GPTXT,01,01,01,ANTENNA %s", state)
	case "quectel":
		return line("PQTMANTENNASTATUS,3,%d", map[string]int{"OK": 1, "OPEN": 2, "SHORT": 3}[state])
	}
	return Antenna(state)
}

func angle(v float64, digits int, plus, minus string) (string, string) {
	side := plus
	if v < 0 {
		v, side = -v, minus
	}
	n := int64(math.Round(v * 60 * 1e5))
	return fmt.Sprintf("%0*d%02d.%05d", digits, n/60e5, n/1e5%60, n%1e5), side
}

func line(format string, a ...any) string {
	s := fmt.Sprintf(format, a...)
	var x byte
	for i := range len(s) {
		x ^= s[i]
	}
	return fmt.Sprintf("$%s*%02X\r\n", s, x)
}

// Drive writes epochs to w until ctx ends, beginning at the route's start at
// the time of the call. fixed, if not nil, is told of each fix after it was
// written.
func (r Route) Drive(ctx context.Context, w io.Writer, fixed func(at time.Time, p Point)) error {
	if len(r.Points) == 0 {
		return ErrNoPoints
	}
	start, step := time.Now(), time.Second/time.Duration(max(r.Rate, 1))
	for n := time.Duration(0); ; n++ {
		at := start.Add(n * step)
		if err := sleep(ctx, time.Until(at)); err != nil {
			return nil
		}
		p, course := r.At(n * step)
		if r.Said != nil {
			p = r.Said(p)
		}
		at = at.Truncate(10 * time.Millisecond)
		if _, err := io.WriteString(w, Sentences(at, p, r.Speed, course)); err != nil {
			return fmt.Errorf("gps: %w", err)
		}
		if fixed != nil {
			fixed(at, p)
		}
	}
}

// Replay writes a log to w, line by line as it is but without its comments,
// epoch by epoch at speed times the pace of its own times. It makes no pause
// for a gap of a minute or more. It returns nil at the log's end, or when ctx
// ends.
func Replay(ctx context.Context, log io.Reader, w io.Writer, speed float64) error {
	lines := bufio.NewReader(log)
	var before string
	var last time.Time
	for {
		text, err := lines.ReadString('\n')
		if at, ok := clockOf(text); ok && at != before {
			if t, perr := time.Parse("150405", at); perr == nil { // takes a fraction too
				if gap := t.Sub(last); before != "" && gap > 0 && gap < time.Minute {
					if sleep(ctx, time.Duration(float64(gap)/speed)) != nil {
						return nil
					}
				}
				before, last = at, t
			}
		}
		if text != "" && !strings.HasPrefix(text, "#") {
			if _, err := io.WriteString(w, text); err != nil {
				return fmt.Errorf("gps: %w", err)
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("gps: %w", err)
		}
	}
}

// clockOf returns the time of day of a sentence that carries one.
func clockOf(s string) (string, bool) {
	f := strings.Split(s, ",")
	if len(f) < 6 || len(f[0]) != 6 {
		return "", false
	}
	i := map[string]int{"RMC": 1, "GGA": 1, "GNS": 1, "ZDA": 1, "GLL": 5}[f[0][3:]]
	if i == 0 || len(f[i]) < 6 {
		return "", false
	}
	return f[i], true
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(max(d, 0))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Read decodes what was written, for tests of writers.
func Read(r io.Reader) ([]gps.Fix, error) {
	d := gps.NewDecoder(r)
	var out []gps.Fix
	for {
		f, err := d.Next()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return out, err
		}
		out = append(out, f)
	}
}
