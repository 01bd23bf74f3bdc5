package gaps

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"periph.io/x/conn/v3/gpio"
	"periph.io/x/conn/v3/gpio/gpiotest"

	"github.com/fengsui/fengsui/cloud-bridge/account"
	"github.com/fengsui/fengsui/cloud-bridge/console"
	"github.com/fengsui/fengsui/cloud-bridge/ingest"
	"github.com/fengsui/fengsui/cloud-bridge/store"
	"github.com/fengsui/fengsui/firmware/agent"
	"github.com/fengsui/fengsui/firmware/config"
	"github.com/fengsui/fengsui/firmware/spool"
	"github.com/fengsui/fengsui/firmware/uplink/uplinktest"
	"github.com/fengsui/fengsui/firmware/wire"
	"github.com/fengsui/fengsui/sim/torture"
)

var centreKey = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{2}, 32))

// made is what the device has made: the highest number of each lane of each
// stream, and the fixes put in.
type made struct {
	highest map[string]uint64
	fixes   int
}

func name(stream wire.StreamID, l wire.Lane) string { return stream.String() + " " + l.String() }

// device is the data folder of a box and what was put into its spool.
type device struct {
	t    *testing.T
	dir  string
	key  ed25519.PrivateKey
	made made
}

func newDevice(t *testing.T) *device {
	t.Helper()
	d := &device{t: t, dir: t.TempDir(), made: made{highest: make(map[string]uint64)}}
	var err error
	if d.key, err = agent.LoadOrCreateKey(d.dir); err != nil {
		t.Fatal(err)
	}
	return d
}

func (d *device) file() string { return filepath.Join(d.dir, "spool.db") }

// fill stores events of a lane: so many, or until no more fit.
func (d *device) fill(size int64, l wire.Lane, most int) {
	d.t.Helper()
	s, err := spool.Open(d.file(), spool.Options{MaxSize: size})
	if err != nil {
		d.t.Fatal(err)
	}
	for range most {
		fixes := 0
		_, err := s.Append(l, func(at spool.Slot) ([]byte, error) {
			var b wire.Body = &wire.Fault{Code: "filler", Detail: strings.Repeat("x", 400)}
			switch l {
			case wire.Alarm:
				b = &wire.AlarmRaised{Alarm: wire.NewAlarmID(), Kind: wire.Fire, Button: "b", Press: 1}
			case wire.Track:
				track := &wire.TrackBatch{}
				for fixes = range 60 {
					n := int64(d.made.fixes + fixes)
					track.Fixes = append(track.Fixes, wire.TrackFix{Time: 946_700_000_000 + n*1000, LatE6: 30e6 + n%7919*n%997, LonE6: 103e6 + n*n%4999})
				}
				fixes++
				b = track
			}
			return wire.Seal(&wire.Event{Device: "box-01", Stream: at.Stream, Lane: l, Seq: at.Seq, Prev: at.Prev, Boot: at.Boot, Body: b}, d.key)
		})
		if errors.Is(err, spool.ErrFull) {
			break
		}
		if err != nil {
			d.t.Fatal(err)
		}
		d.made.fixes += fixes
	}
	d.note(s)
	if err := s.Close(); err != nil {
		d.t.Fatal(err)
	}
}

// note takes down which numbers the spool has given out.
func (d *device) note(s *spool.Spool) {
	for _, p := range s.Parts() {
		for l, w := range p.Window() {
			k := name(p.Stream(), l)
			d.made.highest[k] = max(d.made.highest[k], w.Next-1)
		}
	}
}

// run lets the agent work in a bubble: for a time without a link, with presses
// and a restart, and for another with one. Then the report is judged.
func (d *device) run(offline time.Duration, more string) (r console.GapReport) {
	t, db := d.t, filepath.Join(d.t.TempDir(), "centre.db")
	synctest.Test(t, func(t *testing.T) {
		b := uplinktest.New(t)
		b.Link(false)
		st, err := store.Open(t.Context(), db, nil)
		if err != nil {
			t.Fatal(err)
		}
		err = st.Register(t.Context(), store.Registration{ID: "box-01", Kind: store.AlarmBox, Key: d.key.Public().(ed25519.PublicKey)})
		if err != nil {
			t.Fatal(err)
		}
		in := ingest.New(ingest.Options{Store: st, Source: b, Key: centreKey, Registry: prometheus.NewRegistry(), Log: slog.New(slog.DiscardHandler)})
		ctx, stop := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- in.Run(ctx, func() {}) }()

		box := newBox(t, d, b, more)
		box.power()
		for at := time.Duration(0); at < offline; at += time.Minute {
			box.press()
			time.Sleep(time.Minute)
			if at == offline/2 {
				box.off()
				box.power()
			}
		}
		b.Link(true)
		time.Sleep(10 * time.Minute)
		if q := box.a.Status().Queue; q["alarm"]+q["duty"]+q["track"] != 0 {
			t.Errorf("%v wait on the device", q)
		}
		box.off()
		b.Link(false)
		accounts, err := account.New(t.Context(), account.Options{Keeper: st})
		if err != nil {
			t.Fatal(err)
		}
		a, _, err := accounts.Create(t.Context(), account.Actor{}, "rig", account.Viewer, account.Scope{account.Everywhere}, account.Opening{TokenOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		_, token, err := accounts.MakeToken(t.Context(), account.Actor{}, a.ID, "rig", account.Viewer, 0)
		if err != nil {
			t.Fatal(err)
		}
		desk, err := console.New(console.Options{Store: st, Accounts: accounts})
		if err != nil {
			t.Fatal(err)
		}
		answer := httptest.NewRecorder()
		ask := httptest.NewRequestWithContext(t.Context(), "GET", "https://desk/api/v1/devices/box-01/gaps", nil)
		ask.Header.Set("Authorization", "Bearer "+string(token))
		desk.ServeHTTP(answer, ask)
		if err := json.Unmarshal(answer.Body.Bytes(), &r); err != nil || answer.Code != 200 {
			t.Errorf("gaps: %d, %v: %s", answer.Code, err, answer.Body)
		}
		stop()
		if err := errors.Join(<-done, st.Shut(), desk.Close(), b.Close()); err != nil {
			t.Error(err)
		}
	})
	s, err := spool.Open(d.file(), spool.Options{})
	if err != nil {
		t.Fatal(err)
	}
	d.note(s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	d.judge(&r, db)
	return r
}

// judge counts what the database holds and what the report says, number by
// number, against what the device made.
func (d *device) judge(r *console.GapReport, file string) {
	t := d.t
	t.Helper()
	db, err := sql.Open("sqlite", file)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	stored := make(map[string]map[uint64]bool)
	rows, err := db.Query(`SELECT s.id, e.lane, e.seq FROM events e JOIN streams s ON s.stream = e.stream`)
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		var id []byte
		var l wire.Lane
		var seq uint64
		if err := rows.Scan(&id, &l, &seq); err != nil {
			t.Fatal(err)
		}
		k := name(wire.StreamID(id), l)
		if stored[k] == nil {
			stored[k] = make(map[uint64]bool)
		}
		if stored[k][seq] {
			t.Errorf("%s %d is stored twice", k, seq)
		}
		stored[k][seq] = true
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	missing := make(map[string]map[uint64]string)
	for _, g := range r.Gaps {
		k := g.Stream + " " + g.Lane
		if missing[k] == nil {
			missing[k] = make(map[uint64]string)
		}
		for n := g.From; n <= g.To; n++ {
			missing[k][n] = g.Why
		}
	}
	for k, highest := range d.made.highest {
		for n := uint64(1); n <= highest; n++ {
			why, gone := missing[k][n]
			switch {
			case stored[k][n] && gone:
				t.Errorf("%s %d is stored, and reported as %s", k, n, why)
			case !stored[k][n] && !gone:
				t.Errorf("%s %d is neither stored nor reported missing", k, n)
			case gone && why != store.WhyThinned && why != store.WhyFull && why != store.WhyDamaged:
				t.Errorf("%s %d is reported as %s: want the device's own reason", k, n, why)
			case gone && strings.HasSuffix(k, " alarm"):
				t.Errorf("alarm %d is gone: %s", n, why)
			}
		}
	}
	for _, s := range r.Streams {
		for l, a := range s.Lanes {
			k := s.Stream + " " + l
			if a.Account.Expected != d.made.highest[k] || a.Account.Stored != uint64(len(stored[k])) || a.Account.Waiting != 0 {
				t.Errorf("%s: %+v: want %d made, %d stored, none on the way", k, a.Account, d.made.highest[k], len(stored[k]))
			}
		}
	}
	var fixes int
	if err := db.QueryRow(`SELECT count(*) FROM undated`).Scan(&fixes); err != nil {
		t.Fatal(err)
	}
	if rows, err = db.Query(`SELECT e.message FROM tracks t JOIN events e ON e.event = t.event`); err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		var msg []byte
		if err := rows.Scan(&msg); err != nil {
			t.Fatal(err)
		}
		e, err := wire.Peek(msg)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range e.Body.(*wire.TrackBatch).Fixes {
			if f.Flags&wire.DoubtTime == 0 {
				fixes++
			}
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	if told := int(r.Totals.Track.Fixes); fixes+told != d.made.fixes {
		t.Errorf("of %d fixes %d are stored and %d reported as given up", d.made.fixes, fixes, told)
	}
	t.Logf("made %v, %d fixes; track %+v, duty %+v", d.made.highest, d.made.fixes, r.Totals.Track, r.Totals.Duty)
}

// box is the hardware around an agent.
type box struct {
	t    *testing.T
	cfg  *config.Config
	b    *uplinktest.Broker
	pins map[string]*gpiotest.Pin
	a    *agent.Agent
	stop func()
	done chan error
}

func newBox(t *testing.T, d *device, b *uplinktest.Broker, more string) *box {
	t.Helper()
	cfg, err := config.Parse("test", fmt.Appendf(nil, `device: box-01
profile: alarm-box
data: %s
centre: {servers: [mqtt://centre], key: %x}
buttons: {panic: {line: P, kind: panic}}
lamps: {red: {line: R}, amber: {line: Y}, green: {line: G}}
gps: {port: none}
%s`, d.dir, centreKey.Public(), more))
	if err != nil {
		t.Fatal(err)
	}
	x := &box{t: t, cfg: cfg, b: b, pins: make(map[string]*gpiotest.Pin)}
	for _, n := range []string{"P", "R", "Y", "G"} {
		x.pins[n] = &gpiotest.Pin{N: n, EdgesChan: make(chan gpio.Level, 8)}
	}
	x.pins["P"].L = gpio.High
	return x
}

func (x *box) power() {
	x.t.Helper()
	ports, err := agent.OpenPorts(x.cfg, func(name string) (gpio.PinIO, error) { return x.pins[name], nil })
	if err != nil {
		x.t.Fatal(err)
	}
	ports.Dial = x.b.Dial
	ports.Clock.Disciplined = func() (bool, time.Duration) { return false, 0 }
	ports.Clock.Earliest = time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC) // a bubble begins in 2000
	silent, _ := io.Pipe()
	ports.GPS = func(context.Context) (io.ReadWriteCloser, error) {
		return struct {
			io.ReadCloser
			io.Writer
		}{silent, io.Discard}, nil
	}
	if x.a, err = agent.New(x.cfg, ports, agent.Options{Version: "test"}); err != nil {
		x.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	x.stop, x.done = stop, make(chan error, 1)
	go func() { x.done <- x.a.Run(ctx) }()
	time.Sleep(time.Second)
}

func (x *box) off() {
	x.t.Helper()
	x.stop()
	if err := <-x.done; err != nil {
		x.t.Error(err)
	}
}

func (x *box) press() {
	x.pins["P"].EdgesChan <- gpio.Low
	time.Sleep(300 * time.Millisecond)
	x.pins["P"].EdgesChan <- gpio.High
	time.Sleep(300 * time.Millisecond)
}

// A spool that was full before the link was lost for an hour: what the box gave
// up is named, by number and reason, and its fixes are counted.
func TestFullSpool(t *testing.T) {
	for name, lanes := range map[string][]wire.Lane{
		"track":          {wire.Track},
		"duty":           {wire.Duty},
		"track and duty": {wire.Track, wire.Duty},
	} {
		if len(lanes) == 1 && !torture.Long() {
			continue
		}
		t.Run(name, func(t *testing.T) {
			d := newDevice(t)
			for _, l := range lanes {
				most := 1 << 30
				if len(lanes) > 1 && l == wire.Track {
					most = 300
				}
				d.fill(4<<20, l, most)
			}
			r := d.run(time.Hour, "spool: {limit_mib: 4}\n")
			if r.Totals.Track.Dropped+r.Totals.Duty.Dropped == 0 {
				t.Error("nothing was given up: the spool was not full")
			}
		})
	}
}

// A spool of which pages were lost: what could not be read is named, what
// could comes under its old numbers, and the report says that another stream
// began.
func TestDamagedSpool(t *testing.T) {
	d := newDevice(t)
	d.fill(4<<20, wire.Alarm, 30)
	d.fill(4<<20, wire.Track, 60)
	d.fill(4<<20, wire.Duty, 300)
	f, err := os.OpenFile(d.file(), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	page := int64(os.Getpagesize())
	for n := range 3 { // in the middle of what is in use
		if _, err := f.WriteAt(bytes.Repeat([]byte{0xff}, int(page)), (info.Size()/page*int64(n+3)/8)*page); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	r := d.run(2*time.Minute, "")
	restarted := false
	for _, s := range r.Streams {
		restarted = restarted || s.Start != nil && s.Start.Why == "damaged"
	}
	if !restarted {
		t.Errorf("no stream is reported as begun anew: %+v", r.Streams)
	}
}
