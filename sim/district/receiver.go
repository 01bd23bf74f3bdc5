package district

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/fengsui/fengsui/firmware/gps/gpstest"
	"github.com/fengsui/fengsui/sim/ledger"
	"github.com/fengsui/fengsui/sim/mono"
	"github.com/fengsui/fengsui/sim/scenario"
)

// A receiver plays a satellite receiver on a serial port. One feed at a time
// writes; what is written while the device has no power is lost.
type receiver struct {
	device string
	out    io.Writer
	fixes  *ledger.Ledger
	change sync.Mutex // one change of the feed at a time

	mu      sync.Mutex
	powered bool
	stop    context.CancelFunc
	done    chan struct{}
	feeding string        // what the feed is, for people
	at      gpstest.Point // where the car is
	told    bool          // the feed keeps at
	scan    rmcScanner
	antenna string        // the sentence that tells of it, each second; "": none
	astray  gpstest.Point // what it says in place of where it is, until then
	until   time.Duration // of package mono
}

func newReceiver(device string, out io.Writer, start *scenario.Place, fixes *ledger.Ledger) *receiver {
	r := &receiver{device: device, out: out, fixes: fixes, done: make(chan struct{})}
	close(r.done)
	if start != nil {
		r.at = gpstest.Point(*start)
	}
	return r
}

// Write passes sentences on while there is power, and enters the fixes in them.
func (r *receiver) Write(b []byte) (int, error) {
	r.mu.Lock()
	powered := r.powered
	found := r.scan.scan(b)
	for _, f := range found {
		if !r.told {
			r.at = gpstest.Point{Lat: f.Lat, Lon: f.Lon}
		}
	}
	antenna := ""
	if bytes.Contains(b, []byte("RMC,")) {
		antenna = r.antenna
	}
	r.mu.Unlock()
	if !powered {
		return len(b), nil
	}
	at := mono.Now()
	for _, f := range found {
		f.Device, f.At = r.device, at
		r.fixes.Fixed(f)
	}
	if _, err := io.WriteString(r.out, antenna); err != nil {
		return 0, err
	}
	return r.out.Write(b)
}

// setAntenna has it say this of its antenna with each epoch.
func (r *receiver) setAntenna(sentence string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.antenna = sentence
}

// teleport has it say for a while that it is elsewhere, while it drives or is
// parked.
func (r *receiver) teleport(to gpstest.Point, lasts time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.astray, r.until = to, mono.Now()+lasts
}

// said returns what it says of where it is.
func (r *receiver) said(p gpstest.Point) gpstest.Point {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.at, r.told = p, true
	if mono.Now() < r.until {
		return r.astray
	}
	return p
}

func (r *receiver) power(on bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.powered = on
}

// feed replaces what the receiver says.
func (r *receiver) feed(what string, run func(ctx context.Context)) {
	r.change.Lock()
	defer r.change.Unlock()
	r.halt()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	r.mu.Lock()
	r.stop, r.done, r.feeding, r.told = cancel, done, what, false
	r.mu.Unlock()
	go func() {
		defer close(done)
		run(ctx)
	}()
}

// halt ends the feed.
func (r *receiver) halt() {
	r.mu.Lock()
	stop, done := r.stop, r.done
	r.mu.Unlock()
	if stop != nil {
		stop()
	}
	<-done
}

func (r *receiver) place() gpstest.Point {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.at
}

func (r *receiver) doing() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.feeding
}

// drive goes round a route.
func (r *receiver) drive(d scenario.Drive) {
	route := gpstest.Route{Speed: d.Speed, Said: r.said}
	for _, p := range d.Route {
		route.Points = append(route.Points, gpstest.Point(p))
	}
	r.feed("driving", func(ctx context.Context) { _ = route.Drive(ctx, r, nil) }) // only ctx ends it: Write passes on what a pty takes
}

// park stands still.
func (r *receiver) park() {
	p := r.place()
	route := gpstest.Route{Points: []gpstest.Point{p, p}, Said: r.said}
	r.feed("parked", func(ctx context.Context) { _ = route.Drive(ctx, r, nil) })
}

// blind has no fix.
func (r *receiver) blind() {
	r.feed("no fix", func(ctx context.Context) {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			if _, err := io.WriteString(r, gpstest.NoFix(time.Now())); err != nil {
				return
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	})
}

// replay feeds a log, then nothing.
func (r *receiver) replay(path string, speed float64) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("replay: %w", err)
	}
	r.feed("replay of "+filepath.Base(path), func(ctx context.Context) {
		_ = gpstest.Replay(ctx, bytes.NewReader(b), r, speed)
		r.mu.Lock()
		defer r.mu.Unlock()
		if ctx.Err() == nil {
			r.feeding = "the replay has ended"
		}
	})
	return nil
}

// An rmcScanner finds the fixes in NMEA 0183 sentences: each RMC of status A
// whose checksum is right, in its own words, apart from the firmware's decoder.
type rmcScanner struct{ rest []byte }

const maxSentence = 1024 // bytes; the standard says 82

func (s *rmcScanner) scan(b []byte) []ledger.Fix {
	s.rest = append(s.rest, b...)
	var found []ledger.Fix
	for {
		line, rest, ok := bytes.Cut(s.rest, []byte("\n"))
		if !ok {
			if len(s.rest) > maxSentence {
				s.rest = nil
			}
			return found
		}
		s.rest = rest
		if f, ok := parseRMC(string(line)); ok {
			found = append(found, f)
		}
	}
}

// parseRMC reads $xxRMC,hhmmss.ss,A,ddmm.mm,N,dddmm.mm,E,knots,course,ddmmyy,…*hh.
func parseRMC(line string) (ledger.Fix, bool) {
	i := strings.LastIndexByte(line, '$')
	if i < 0 {
		return ledger.Fix{}, false
	}
	body, sum, ok := strings.Cut(strings.TrimSpace(line[i+1:]), "*")
	var x byte
	for i := range len(body) {
		x ^= body[i]
	}
	if want, err := strconv.ParseUint(sum, 16, 8); !ok || err != nil || byte(want) != x {
		return ledger.Fix{}, false
	}
	f := strings.Split(body, ",")
	if len(f) < 10 || len(f[0]) != 5 || f[0][2:] != "RMC" || f[2] != "A" {
		return ledger.Fix{}, false
	}
	lat, ok1 := angle(f[3], f[4], "N", "S", 90)
	lon, ok2 := angle(f[5], f[6], "E", "W", 180)
	at, err := time.Parse("020106150405", f[9]+strings.SplitN(f[1], ".", 2)[0])
	if !ok1 || !ok2 || err != nil {
		return ledger.Fix{}, false
	}
	if _, frac, ok := strings.Cut(f[1], "."); ok {
		d, err := strconv.ParseFloat("0."+frac, 64)
		if err != nil {
			return ledger.Fix{}, false
		}
		at = at.Add(time.Duration(math.Round(d*1e3)) * time.Millisecond)
	}
	return ledger.Fix{Time: at, Lat: lat, Lon: lon}, true
}

func angle(v, side, plus, minus string, most float64) (float64, bool) {
	x, err := strconv.ParseFloat(v, 64)
	if err != nil || x < 0 || side != plus && side != minus {
		return 0, false
	}
	degrees := math.Floor(x / 100)
	a := degrees + (x-100*degrees)/60
	if side == minus {
		a = -a
	}
	return a, math.Abs(a) <= most
}
