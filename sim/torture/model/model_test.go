package model

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/fengsui/fengsui/cloud-bridge/store"
	"github.com/fengsui/fengsui/firmware/spool"
	"github.com/fengsui/fengsui/firmware/wire"
	"github.com/fengsui/fengsui/sim/torture"
)

var signer = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32))

// TestHistories is rig 7.
func TestHistories(t *testing.T) {
	seed := torture.Seed(t)
	n := torture.N(250, 100_000)
	for name, value := range map[string]string{
		"rapid.checks": strconv.Itoa(n), "rapid.seed": strconv.FormatUint(seed, 10), "rapid.nofailfile": "true",
		"rapid.shrinktime": map[bool]string{true: "30s", false: "2s"}[torture.Long()],
	} {
		if err := flag.Set(name, value); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	if st, err := os.Stat("/dev/shm"); err == nil && st.IsDir() { // a file system in memory: nothing is cut here below the file
		if dir, err = os.MkdirTemp("/dev/shm", "fengsui-model"); err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
	}
	centre := &centre{dir: dir}
	defer centre.shut()
	var v torture.Verdict
	histories := 0
	defer func() { v.Report(t, "%d histories, %d deaths of the centre", histories, centre.deaths) }()
	rapid.Check(t, func(t *rapid.T) {
		if histories%perCentre == 0 {
			centre.begin(t)
		}
		histories++
		v = torture.Verdict{} // of the last history: a failing one is tried again, smaller
		w := newWorld(t, centre, dir, histories, &v)
		defer w.close()
		t.Repeat(map[string]func(*rapid.T){
			"append":        w.append,
			"send":          w.send,
			"deliver":       w.deliver,
			"answer":        w.answer,
			"lose":          w.lose,
			"crash":         w.crash,
			"restart":       w.reopen,
			"centre dies":   w.centreDies,
			"remember":      w.remember,
			"back in time":  w.back,
			"":              w.invariants,
			"append again":  w.append,
			"deliver again": w.deliver,
		})
		w.drain()
		w.judge()
		if !v.Clean() {
			t.Fatal("the verdict stands below")
		}
	})
}

func TestWithoutUniqueIndex(t *testing.T) { torture.Mutate(t, "unique-index-off", "TestHistories") }

func TestWithoutLaneOrder(t *testing.T) { torture.Mutate(t, "lane-order-off", "TestHistories") }

// A world is a device, a link and a centre.
type world struct {
	t       *rapid.T
	v       *torture.Verdict
	centre  *centre
	device  string
	dir     string
	files   int
	path    string
	s       *spool.Spool
	up      []message // on their way to the centre
	down    []wire.Ack
	made    map[wire.Hash]made
	held    map[wire.Hash]bool // by the device, before the last step
	stored  map[wire.Hash]bool // the centre said so
	copies  []snapshot
	boots   int
	restart int
}

type message struct {
	hello *wire.Hello
	msg   []byte
}

// A made is an event that Append said is stored.
type made struct {
	stream wire.StreamID
	lane   wire.Lane
	seq    uint64
	gone   bool // with a card that went back in time
}

// A snapshot is a copy of the card.
type snapshot struct{ path string }

func newWorld(t *rapid.T, centre *centre, dir string, n int, v *torture.Verdict) *world {
	w := &world{
		t: t, v: v, centre: centre, device: fmt.Sprintf("box-%d", n), dir: filepath.Join(dir, fmt.Sprint(n)),
		made: make(map[wire.Hash]made), stored: make(map[wire.Hash]bool),
	}
	if err := os.MkdirAll(w.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := centre.store.Register(t.Context(), store.Registration{ID: w.device, Kind: store.AlarmBox, Name: "x", Key: signer.Public().(ed25519.PublicKey)}); err != nil {
		t.Fatal(err)
	}
	w.path = w.file()
	w.open()
	return w
}

func (w *world) file() string {
	w.files++
	return filepath.Join(w.dir, fmt.Sprint(w.files))
}

func (w *world) open() {
	s, err := spool.Open(w.path, spool.Options{AckDelay: time.Hour})
	if err != nil {
		w.t.Fatalf("open: %v", err)
	}
	w.s = s
	w.boots++
	w.held = w.holds()
}

func (w *world) close() {
	_ = w.s.Close()
	os.RemoveAll(w.dir)
}

// holds returns what the device holds, and looks at each.
func (w *world) holds() map[wire.Hash]bool {
	held := make(map[wire.Hash]bool)
	for _, p := range w.s.Parts() {
		for _, l := range wire.Lanes() {
			recs, err := p.Read(l, 0, math.MaxInt, math.MaxInt)
			if err != nil {
				w.t.Fatalf("read: %v", err)
			}
			for i, r := range recs {
				h := wire.HashOf(r.Data)
				held[h] = true
				m, ok := w.made[h]
				if !ok || m.stream != p.Stream() || m.lane != l || m.seq != r.Seq {
					w.v.Wrong = append(w.v.Wrong, fmt.Sprintf("%s holds %v %v %d, which was not stored so", w.device, p.Stream(), l, r.Seq))
				}
				if i > 0 && r.Seq <= recs[i-1].Seq {
					w.v.Disorder = append(w.v.Disorder, fmt.Sprintf("%s %v: %d after %d", w.device, l, r.Seq, recs[i-1].Seq))
				}
			}
		}
	}
	return held
}

// invariants hold after each step: what the device no longer has, the centre
// has.
func (w *world) invariants(t *rapid.T) {
	now := w.holds()
	for h := range w.held {
		if !now[h] && !w.stored[h] {
			m := w.made[h]
			w.v.Lost = append(w.v.Lost, fmt.Sprintf("%s %v %v %d is deleted and not at the centre", w.device, m.stream, m.lane, m.seq))
		}
	}
	w.held = now
	if !w.v.Clean() {
		t.Fatal("the verdict stands below")
	}
}

func (w *world) append(t *rapid.T) {
	l := rapid.SampledFrom([]wire.Lane{wire.Alarm, wire.Duty, wire.Track}).Draw(t, "lane")
	var m made
	var hash wire.Hash
	_, err := w.s.Append(l, func(at spool.Slot) ([]byte, error) {
		msg, err := wire.Seal(&wire.Event{
			Device: w.device, Stream: at.Stream, Lane: l, Seq: at.Seq, Prev: at.Prev, Boot: at.Boot,
			Mono: time.Duration(len(w.made)) * time.Second, Body: &wire.Fault{Code: "x", Detail: fmt.Sprint(w.files, len(w.made)), Active: true},
		}, signer)
		m, hash = made{stream: at.Stream, lane: l, seq: at.Seq}, wire.HashOf(msg)
		return msg, err
	})
	if err != nil {
		t.Fatalf("append: %v", err)
	}
	w.made[hash] = m
	w.held[hash] = true
}

// send puts what the device would say on the link: its hellos and some events.
func (w *world) send(t *rapid.T) {
	w.say(rapid.IntRange(1, 4).Draw(t, "events"), rapid.Bool().Draw(t, "hello"))
}

func (w *world) say(events int, hello bool) {
	for _, p := range w.s.Parts() {
		if hello {
			w.up = append(w.up, message{hello: &wire.Hello{Device: w.device, Stream: p.Stream(), Boot: w.s.Boot(), Window: p.Window()}})
		}
		for _, l := range wire.Lanes() {
			recs, err := p.Read(l, 0, events, math.MaxInt)
			if err != nil {
				w.t.Fatalf("read: %v", err)
			}
			for _, r := range recs {
				w.up = append(w.up, message{msg: r.Data})
			}
		}
	}
	w.held = w.holds() // a read may give damaged events up; there are none here
}

// deliver brings some messages to the centre, in any order; some stay on the
// link, to come again.
func (w *world) deliver(t *rapid.T) {
	for range rapid.IntRange(1, 3).Draw(t, "messages") {
		if len(w.up) == 0 {
			return
		}
		i := rapid.IntRange(0, len(w.up)-1).Draw(t, "which")
		w.commit(w.up[i])
		if rapid.IntRange(0, 3).Draw(t, "again") > 0 {
			w.up = append(w.up[:i], w.up[i+1:]...)
		}
	}
}

func (w *world) commit(m message) {
	var b store.Batch
	if m.hello != nil {
		b.Greetings = []store.Greeting{{Hello: m.hello, Received: time.Now()}}
	} else {
		e, err := wire.Open(m.msg, signer.Public().(ed25519.PublicKey))
		if err != nil {
			w.t.Fatalf("open: %v", err)
		}
		b.Arrivals = []store.Arrival{{Event: e, Message: m.msg, Received: time.Now()}}
	}
	done, err := w.centre.store.Commit(w.t.Context(), b)
	if err != nil {
		w.t.Fatalf("commit: %v", err)
	}
	if m.msg != nil {
		w.stored[wire.HashOf(m.msg)] = true
	}
	for _, a := range done.Acks {
		w.down = append(w.down, a.Ack)
	}
}

// answer brings an acknowledgement to the device, perhaps an old one, perhaps
// not for the last time.
func (w *world) answer(t *rapid.T) {
	if len(w.down) == 0 {
		return
	}
	i := rapid.IntRange(0, len(w.down)-1).Draw(t, "which")
	w.take(w.down[i])
	if rapid.Bool().Draw(t, "once") {
		w.down = append(w.down[:i], w.down[i+1:]...)
	}
}

// take does with an Ack what the uplink and the agent do.
func (w *world) take(a wire.Ack) {
	for _, p := range w.s.Parts() {
		if p.Stream() != a.Stream {
			continue
		}
		for _, l := range wire.Lanes() {
			recs, err := p.Read(l, 0, math.MaxInt, math.MaxInt)
			if err != nil {
				w.t.Fatalf("read: %v", err)
			}
			for _, r := range recs {
				for _, h := range a.Kept {
					if h == wire.HashOf(r.Data) {
						p.Kept(l, r.Seq)
					}
				}
			}
			var hash *wire.Hash
			if h, ok := a.Hash[l]; ok {
				hash = &h
			}
			err = p.Ack(l, a.UpTo[l], hash)
			if errors.Is(err, spool.ErrOther) {
				if p.Stream() == w.s.Stream() && w.restart < 5 {
					w.restart++
					if err := w.s.Restart(wire.StartRolledBack, "x"); err != nil {
						w.t.Fatalf("restart: %v", err)
					}
				}
			} else if err != nil {
				w.t.Fatalf("ack: %v", err)
			}
		}
	}
}

// lose takes something off the link.
func (w *world) lose(t *rapid.T) {
	if len(w.up) > 0 {
		i := rapid.IntRange(0, len(w.up)-1).Draw(t, "which")
		w.up = append(w.up[:i], w.up[i+1:]...)
	}
}

// crash is a power cut between two commits.
func (w *world) crash(*rapid.T) {
	to := w.file()
	w.copy(w.path, to)
	_ = w.s.Close() // what it still writes is on another card
	w.path = to
	w.open()
}

// reopen is a device that is stopped in order, which writes what is put off.
func (w *world) reopen(*rapid.T) {
	_ = w.s.Close()
	w.open()
}

// centreDies is a SIGKILL of the centre between two commits: what was on the
// link is gone with the broker, what was committed is there.
func (w *world) centreDies(t *rapid.T) {
	if rapid.IntRange(0, 7).Draw(t, "dies") > 0 {
		t.Skip("it lives")
	}
	w.centre.die(t)
	w.up, w.down = nil, nil
}

// remember keeps the card as it is now.
func (w *world) remember(*rapid.T) {
	if len(w.copies) < 3 {
		to := w.file()
		w.copy(w.path, to)
		w.copies = append(w.copies, snapshot{to})
	}
}

// back is a card that has lost what was synced to it: all of it, or the second
// home is younger.
func (w *world) back(t *rapid.T) {
	if len(w.copies) == 0 {
		t.Skip("no older state")
	}
	old := rapid.SampledFrom(w.copies).Draw(t, "state")
	home := rapid.Bool().Draw(t, "second home too")
	to := w.file()
	w.copy(old.path, to)
	if !home {
		w.copyFile(w.path+".alarms", to+".alarms")
	}
	_ = w.s.Close()
	w.path = to
	w.open()
	now := w.holds()
	for h, m := range w.made {
		if now[h] || w.stored[h] || m.gone {
			continue
		}
		if m.lane == wire.Alarm && !home {
			w.v.Lost = append(w.v.Lost, fmt.Sprintf("%s alarm %d was in the second home", w.device, m.seq))
		}
		m.gone = true
		w.made[h] = m
	}
	// An older copy belongs to a life that is over.
	w.copies = nil
}

func (w *world) copy(from, to string) {
	w.copyFile(from, to)
	w.copyFile(from+".alarms", to+".alarms")
}

func (w *world) copyFile(from, to string) { copyFile(w.t, from, to) }

// drain lets the link be good until nothing is left.
func (w *world) drain() {
	w.up, w.down = nil, nil
	for range 30 {
		left := uint64(0)
		for _, n := range w.s.Depth() {
			left += n
		}
		if left == 0 {
			return
		}
		w.say(1000, true)
		for _, m := range w.up {
			w.commit(m)
		}
		for _, a := range w.down {
			w.take(a)
		}
		w.up, w.down = nil, nil
		w.invariants(w.t)
	}
	w.v.Lost = append(w.v.Lost, fmt.Sprintf("%s: %v never leave it", w.device, w.s.Depth()))
}

// judge compares the centre with what was made.
func (w *world) judge() {
	rows := make(map[wire.Hash]int)
	places := make(map[string]int)
	for after := int64(0); ; {
		got, err := w.centre.store.Events(w.t.Context(), w.device, store.EventQuery{After: after})
		if err != nil {
			w.t.Fatal(err)
		}
		for _, r := range got {
			h := wire.HashOf(r.Message)
			rows[h]++
			places[fmt.Sprint(r.Event.Stream, r.Event.Lane, r.Event.Seq)]++
			if _, ok := w.made[h]; !ok {
				w.v.Wrong = append(w.v.Wrong, fmt.Sprintf("the centre has %v %d, which was never made", r.Event.Lane, r.Event.Seq))
			}
			after = r.ID
		}
		if len(got) < store.MaxEvents {
			break
		}
	}
	for p, n := range places {
		if n > 1 {
			w.v.Twice = append(w.v.Twice, fmt.Sprintf("%s %s: %d rows", w.device, p, n))
		}
	}
	d, err := w.centre.store.Device(w.t.Context(), w.device)
	if err != nil {
		w.t.Fatal(err)
	}
	for h, m := range w.made {
		aside := false
		for _, g := range d.Gaps {
			aside = aside || g.Why == store.WhyTwice && g.Stream == m.stream && g.Lane == m.lane && g.From <= m.seq && m.seq <= g.To
		}
		if rows[h] == 0 && !m.gone && !(aside && w.stored[h]) {
			w.v.Lost = append(w.v.Lost, fmt.Sprintf("%s %v %v %d is not at the centre", w.device, m.stream, m.lane, m.seq))
		}
	}
	// Everything that was made is there or told of: nothing is open but numbers
	// that a card forgot to have given.
	for _, g := range d.Gaps {
		if g.Why == store.WhyNotYet && g.Stream == w.s.Stream() && g.From < w.s.Window()[g.Lane].Next {
			w.v.Wrong = append(w.v.Wrong, fmt.Sprintf("%s: %v %d to %d still open", w.device, g.Lane, g.From, g.To))
		}
	}
}
