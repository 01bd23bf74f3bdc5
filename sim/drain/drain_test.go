package drain_test

import (
	"bufio"
	"database/sql"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"
)

var (
	backlog = flag.Int("backlog", 100_000, "events of a device's backlog")
	killed  = flag.Int("killed", 3000, "events of a backlog in whose drain processes are killed")
	within  = flag.Duration("within", 20*time.Second, "of which the rate is taken, when the drain takes longer")
)

// A side is one way for a backlog: ours, or the peer's.
type side struct {
	begin         func()
	count         func() (n, again int) // at the final consumer
	source, other func()                // killed and started again
}

// ours is the shipping spool and uplink, in one process, and the shipping
// centre in another. What counts is a row in the centre's database.
func ours(b *testing.B, file string) *side {
	c := newCentre(b, "car-01")
	device := func() *child { return start(b, self("device", "car-01", file, c.mqtt, c.key)) }
	d := device()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(c.data, "centre.db")+"?mode=ro&_pragma=busy_timeout(5000)")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { db.Close() })
	return &side{
		begin: func() { d.say(b, "go") },
		count: func() (n, again int) {
			if err := db.QueryRow(`SELECT count(DISTINCT hash), count(*) + (SELECT count(*) FROM twice) - count(DISTINCT hash) FROM events WHERE lane = 3`).Scan(&n, &again); err != nil {
				b.Fatal(err)
			}
			return n, again
		},
		source: func() { d.kill(); d = device(); d.say(b, "go") },
		other:  func() { c.kill(); c.start(b) },
	}
}

// peers is a mosquitto that is a bridge to another, both with persistence that
// saves on every change, and a subscriber with a session there.
func peers(b *testing.B, file string) *side {
	program := mosquitto(b)
	far := &broker{program: program, dir: b.TempDir(), address: free(b)}
	near := &broker{program: program, dir: b.TempDir(), address: free(b), to: far.address}
	near.run(b, false)
	n := near.feed(b, "car-01", file)
	_ = near.cmd.Process.Signal(syscall.SIGTERM) // which saves
	_ = near.cmd.Wait()
	far.run(b, true)
	c := newCounter(b, far.address)
	b.Logf("mosquitto's bridge holds %d events", n)
	return &side{
		begin:  func() { near.run(b, true) },
		count:  c.count,
		source: func() { near.kill(); near.run(b, true) },
		other:  func() { far.kill(); far.run(b, true) },
	}
}

// BenchmarkDrain tells how fast a backlog of 100,000 full batches of a track
// gets from a device into the centre, beside the same events through a
// mosquitto bridge whose persistence saves on every change: in the first twenty
// seconds, or until it is done. And, with a smaller backlog, how many events are
// lost and how many come twice to the end of the way when, in mid-drain, SIGKILL
// meets first the sending process and then the receiving one.
//
//	go test -run '^$' -bench Drain -benchtime 1x ./sim/drain
func BenchmarkDrain(b *testing.B) {
	sides := map[string]func(*testing.B, string) *side{"ours": ours, "mosquitto": peers}
	names := []string{"mosquitto", "ours"}
	b.Run("rate", func(b *testing.B) {
		rates := make(map[string]float64)
		for b.Loop() {
			for _, name := range names {
				file := filepath.Join(b.TempDir(), "s")
				fill(b, "car-01", file, *backlog)
				s := sides[name](b, file)
				s.begin()
				first, n := time.Now(), 0
				for n < *backlog && (n == 0 || time.Since(first) < *within) && time.Since(first) < 5**within {
					time.Sleep(50 * time.Millisecond)
					if was := n; was == 0 {
						if n, _ = s.count(); n == 0 && time.Since(first) < *within {
							first = time.Now() // it connects
						}
						continue
					}
					n, _ = s.count()
				}
				rates[name] = float64(n) / time.Since(first).Seconds()
				b.Logf("%s: %d of %d events in %.1f s: %.0f events/s", name, n, *backlog, time.Since(first).Seconds(), rates[name])
			}
		}
		b.ReportMetric(rates["ours"], "events/s")
		b.ReportMetric(rates["mosquitto"], "mosquitto-events/s")
		b.ReportMetric(rates["ours"]/rates["mosquitto"], "x-mosquitto")
	})
	b.Run("kill", func(b *testing.B) {
		file := filepath.Join(b.TempDir(), "s")
		fill(b, "car-01", file, *killed)
		for b.Loop() {
			for _, name := range []string{"mosquitto", "ours"} { // ours empties the file
				s := sides[name](b, file)
				s.begin()
				begun, changed, n := time.Now(), time.Now(), 0
				kills := []func(){s.source, s.other}
				for n < *killed && time.Since(changed) < 20*time.Second {
					time.Sleep(5 * time.Millisecond)
					now, _ := s.count()
					if now != n {
						n, changed = now, time.Now()
					}
					if done := 2 - len(kills); len(kills) > 0 && n > (done+1)**killed/3 {
						kills[0]()
						kills, changed = kills[1:], time.Now()
					}
				}
				time.Sleep(2 * time.Second) // for what comes again
				n, again := s.count()
				b.Logf("%s: of %d events %d lost, %d twice, %d of 2 kills, %.1f s", name, *killed, *killed-n, again, 2-len(kills), time.Since(begun).Seconds())
				b.ReportMetric(float64(*killed-n), name+"-lost")
				b.ReportMetric(float64(again), name+"-twice")
			}
		}
	})
}

// BenchmarkPressOnBacklog tells how long a press takes from a device's spool to
// the desk's stream, on a device that has nothing else to send, and on one
// that sends a backlog of 100,000 batches meanwhile. The two take turns.
//
//	go test -run '^$' -bench PressOnBacklog -benchtime 1x ./sim/drain
func BenchmarkPressOnBacklog(b *testing.B) {
	const rounds, presses = 10, 40
	c := newCentre(b, "car-01", "car-02")
	dir := b.TempDir()
	full, empty := filepath.Join(dir, "full"), filepath.Join(dir, "empty")
	fill(b, "car-02", full, *backlog)
	quiet := start(b, self("device", "car-01", empty, c.mqtt, c.key))
	busy := start(b, self("device", "car-02", full, c.mqtt, c.key))
	db, err := sql.Open("sqlite", "file:"+filepath.Join(c.data, "centre.db")+"?mode=ro&_pragma=busy_timeout(5000)")
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	stored := func() (n int) {
		if err := db.QueryRow(`SELECT coalesce(max(up_to), 0) FROM lanes WHERE lane = 3`).Scan(&n); err != nil {
			b.Fatal(err)
		}
		return n
	}
	ask, err := http.NewRequestWithContext(b.Context(), "GET", c.desk+"/api/v1/stream", nil)
	if err != nil {
		b.Fatal(err)
	}
	ask.Header.Set("Authorization", "Bearer "+c.token)
	r, err := http.DefaultClient.Do(ask)
	if err != nil {
		b.Fatal(err)
	}
	defer r.Body.Close()
	told := make(chan time.Time, 100)
	go func() {
		lines := bufio.NewScanner(r.Body)
		for lines.Buffer(nil, 1<<20); lines.Scan(); {
			if lines.Text() == "event: incident" {
				told <- time.Now()
			}
		}
	}()
	press := func(d *child) time.Duration {
		time.Sleep(rand.N(20 * time.Millisecond))
		at := time.Now()
		if _, err := fmt.Fprintln(d.in, "press"); err != nil {
			b.Fatal(err)
		}
		var took time.Duration
		select {
		case t := <-told:
			took = t.Sub(at)
		case <-time.After(20 * time.Second):
			b.Fatal("a press did not reach the desk")
		}
		if _, err := d.out.ReadString('\n'); err != nil {
			b.Fatal(err)
		}
		return took
	}
	var idle, loaded []time.Duration
	quiet.say(b, "go")
	press(quiet)
	for b.Loop() {
		for n := 0; n < rounds && stored() < *backlog*9/10; n++ {
			for range presses {
				idle = append(idle, press(quiet))
			}
			from := stored()
			busy.say(b, "go")
			for end := time.Now().Add(20 * time.Second); stored() < from+200; time.Sleep(5 * time.Millisecond) {
				if time.Now().After(end) {
					b.Fatal("the backlog does not drain")
				}
			}
			for range presses {
				loaded = append(loaded, press(busy))
			}
			busy.say(b, "stop")
			time.Sleep(300 * time.Millisecond) // for what is on the way
		}
	}
	var line strings.Builder
	ms := func(ds []time.Duration, q float64) float64 {
		ds = slices.Sorted(slices.Values(ds))
		return float64(ds[int(q*float64(len(ds)-1))].Microseconds()) / 1000
	}
	for name, q := range map[string]float64{"p50": 0.5, "p99": 0.99} {
		fmt.Fprintf(&line, " %s idle %.2f ms, backlog %.2f ms, ratio %.2f;", name, ms(idle, q), ms(loaded, q), ms(loaded, q)/ms(idle, q))
		b.ReportMetric(ms(idle, q), "idle-"+name+"-ms")
		b.ReportMetric(ms(loaded, q), "backlog-"+name+"-ms")
		b.ReportMetric(ms(loaded, q)/ms(idle, q), name+"-ratio")
	}
	b.Logf("press to desk, %d presses each:%s %d of %d events left", len(idle), line.String(), *backlog-stored(), *backlog)
}
