package group_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/fengsui/fengsui/firmware/group"
	"github.com/fengsui/fengsui/firmware/wire"
)

var (
	key    = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, 32))
	other  = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{2}, 32))
	first  = wire.StreamID{1}
	second = wire.StreamID{2}
)

func pub(k ed25519.PrivateKey) ed25519.PublicKey { return k.Public().(ed25519.PublicKey) }

// A world is a guard and its clocks.
type world struct {
	t    *testing.T
	now  time.Duration
	wall wire.Wall
	*group.Guard
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, now: time.Hour}
	w.Guard = &group.Guard{
		Device: "box-02", Group: "ten", Members: map[string]ed25519.PublicKey{"box-01": pub(key)},
		Now: func() time.Duration { return w.now }, Wall: func() wire.Wall { return w.wall },
	}
	return w
}

func packet(t *testing.T, k ed25519.PrivateKey, change func(*wire.GroupAlarm)) []byte {
	t.Helper()
	p := &wire.GroupAlarm{Device: "box-01", Group: "ten", Stream: first, Boot: 1, N: 1, Alarm: wire.AlarmID{7}, Kind: wire.Panic, Press: 1, On: true}
	if change != nil {
		change(p)
	}
	msg, err := wire.SealGroup(p, k)
	if err != nil {
		t.Fatal(err)
	}
	return msg
}

func (w *world) want(what string, msg []byte, fresh bool, want error) {
	w.t.Helper()
	_, got, err := w.Accept(msg)
	if !errors.Is(err, want) || got != fresh {
		w.t.Errorf("%s: fresh %v, %v; want %v, %v", what, got, err, fresh, want)
	}
}

func TestWhoIsBelieved(t *testing.T) {
	w := newWorld(t)
	w.want("a stranger", packet(t, other, func(p *wire.GroupAlarm) { p.Device = "box-99" }), false, wire.ErrSignature)
	w.want("a member's name under another key", packet(t, other, nil), false, wire.ErrSignature)
	w.want("another group", packet(t, key, func(p *wire.GroupAlarm) { p.Group = "twelve" }), false, group.ErrGroup)
	w.want("noise", []byte("x"), false, wire.ErrEnvelope)
	w.want("a press of long ago", packet(t, key, func(p *wire.GroupAlarm) { p.AgeMs = 11 * 60 * 1000 }), false, group.ErrOld)
	w.want("the real one", packet(t, key, nil), true, nil)
	if _, _, err := w.Accept(packet(t, other, func(p *wire.GroupAlarm) { p.Device = "box-02" })); err == nil {
		t.Error("its own packet is believed")
	}
}

// What was heard is not believed again: not at once, not after a restart with
// what was kept, not of an earlier boot or a former stream. No clock is asked.
func TestReplay(t *testing.T) {
	w := newWorld(t)
	n := func(stream wire.StreamID, boot, n, press uint64) []byte {
		return packet(t, key, func(p *wire.GroupAlarm) { p.Stream, p.Boot, p.N, p.Press = stream, boot, n, press })
	}
	recorded := [][]byte{n(first, 1, 1, 1), n(first, 1, 2, 1), n(first, 2, 1, 1), n(second, 1, 1, 2)}
	for i, fresh := range []bool{true, false, false, true} {
		w.want("once", recorded[i], fresh, nil)
	}
	replay := func() {
		t.Helper()
		for _, msg := range recorded {
			w.now += time.Second
			w.want("again", msg, false, group.ErrReplay)
		}
	}
	replay()
	kept, err := json.Marshal(w.Marks)
	if err != nil {
		t.Fatal(err)
	}
	w = newWorld(t)
	if err := json.Unmarshal(kept, &w.Marks); err != nil {
		t.Fatal(err)
	}
	replay()
	w.want("the next", n(second, 1, 2, 2), false, nil)
	w.want("the next press", n(second, 1, 3, 3), true, nil)
}

// An alarm of which the centre told first is not new when its box tells of it,
// after a restart neither; another press is, and so is another alarm.
func TestNote(t *testing.T) {
	w := newWorld(t)
	w.Note("box-01", wire.AlarmID{7})
	w.Note("box-99", wire.AlarmID{7})
	kept, err := json.Marshal(w.Marks)
	if err != nil {
		t.Fatal(err)
	}
	w = newWorld(t)
	if err := json.Unmarshal(kept, &w.Marks); err != nil || len(w.Marks) != 1 {
		t.Fatalf("marks %s, %v: want those of box-01", kept, err)
	}
	n := func(n, press uint64, alarm wire.AlarmID) []byte {
		return packet(t, key, func(p *wire.GroupAlarm) { p.N, p.Press, p.Alarm = n, press, alarm })
	}
	w.want("the press", n(1, 1, wire.AlarmID{7}), false, nil)
	w.want("another press", n(2, 2, wire.AlarmID{7}), true, nil)
	w.want("another alarm", n(3, 1, wire.AlarmID{8}), true, nil)
	w.Note("box-01", wire.AlarmID{8})
	w.want("the first one again", n(1, 1, wire.AlarmID{7}), false, group.ErrReplay)
}

// Two clocks that are known tell what was recorded elsewhere; one that is not
// known is not asked.
func TestClocks(t *testing.T) {
	sent := func(at int64, s wire.WallSource, n uint64) []byte {
		return packet(t, key, func(p *wire.GroupAlarm) { p.Wall, p.Source, p.N = at, s, n })
	}
	const noon = 1_795_435_200_000
	w := newWorld(t)
	w.wall = wire.Wall{UnixMilli: noon, Source: wire.WallNTP}
	w.want("an hour ago", sent(noon-3_600_000, wire.WallGNSS, 1), false, group.ErrOld)
	w.want("in an hour", sent(noon+3_600_000, wire.WallGNSS, 2), false, group.ErrOld)
	w.want("in 1970, by a clock that nothing has set", sent(0, wire.WallNone, 3), true, nil)
	w.want("a minute ago", sent(noon-60_000, wire.WallGNSS, 4), false, nil)
	w.wall = wire.Wall{}
	w.want("at any time, for a receiver that knows none", sent(noon-3_600_000, wire.WallGNSS, 5), false, nil)
}

// A flood costs a bounded number of verifications, and a stranger's none.
func TestFlood(t *testing.T) {
	w := newWorld(t)
	stranger := packet(t, other, func(p *wire.GroupAlarm) { p.Device = "box-99" })
	forged := packet(t, other, nil)
	for range 1000 {
		w.want("a stranger", stranger, false, wire.ErrSignature)
	}
	refused := 0
	for range 1000 {
		if _, _, err := w.Accept(forged); errors.Is(err, group.ErrBusy) {
			refused++
		}
	}
	if refused < 900 {
		t.Errorf("%d of 1000 forged packets were not looked at: want 900 or more", refused)
	}
	w.now += 2 * time.Second
	w.want("a member's, after it", packet(t, key, nil), true, nil)
}

// Real multicast on the loopback interface, and a single address beside it.
func TestLoopback(t *testing.T) {
	l, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	free, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := strings.Replace(free.LocalAddr().String(), "127.0.0.1", "239.255.70.83", 1)
	free.Close()
	a, err := group.Listen(address, "lo", []string{l.LocalAddr().String()})
	if err != nil {
		t.Fatal(err)
	}
	b, err := group.Listen(address, "lo", nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	heard, ended := make(chan string, 10), make(chan struct{}, 2)
	for _, c := range []*group.Conn{a, b} {
		go func() {
			_ = c.Run(ctx, func(msg []byte) { heard <- string(msg) })
			ended <- struct{}{}
		}()
	}
	if err := a.Send([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the sender hears it too
		if got := <-heard; got != "hello" {
			t.Errorf("heard %q", got)
		}
	}
	buf := make([]byte, 100)
	if n, _, err := l.ReadFrom(buf); err != nil || string(buf[:n]) != "hello" {
		t.Errorf("the single address has %q, %v", buf[:n], err)
	}
	cancel()
	<-ended
	<-ended
}

// FuzzAccept gives packets of anybody's making, signed by a member or not.
func FuzzAccept(f *testing.F) {
	p := &wire.GroupAlarm{Device: "box-01", Group: "ten", Stream: first, Boot: 1, N: 1, Alarm: wire.AlarmID{7}, Kind: wire.Panic, Press: 1, On: true}
	msg, err := wire.SealGroup(p, key)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(msg)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, msg []byte) {
		w := newWorld(t)
		for range 2 {
			p, _, err := w.Accept(msg)
			if err == nil && (p.Device != "box-01" || p.Group != "ten") {
				t.Fatalf("believed %+v", p)
			}
		}
		if m := w.Marks["box-01"]; m != nil && (len(m.Past) > 8 || len(m.Alarms) > 16) {
			t.Fatalf("kept %+v", m)
		}
	})
}
