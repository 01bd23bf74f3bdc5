package agent_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fengsui/fengsui/firmware/group"
	"github.com/fengsui/fengsui/firmware/wire"
)

var neighbourKey = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{3}, 32))

var traitorKey = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{4}, 32)) // box-03's

var inGroup = fmt.Sprintf("group: {name: ten, limit: 30s, members: {box-02: %x, box-03: %x}}\n", public(neighbourKey), public(traitorKey))

// An ether is a local network with one box on it.
type ether struct {
	in   chan []byte
	mu   sync.Mutex
	sent [][]byte // by the box
}

func (e *ether) Run(ctx context.Context, take func([]byte)) error {
	for {
		select {
		case msg := <-e.in:
			take(msg)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (e *ether) Send(msg []byte) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.sent = append(e.sent, msg)
	return nil
}

// since returns what the box has sent from the nth packet on.
func (e *ether) since(n int) [][]byte {
	synctest.Wait()
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.sent[n:])
}

// Neighbours are box-02 and the centre, which tell box-01 of box-02's alarms.
type neighbours struct {
	*world
	air   *ether
	n     uint64   // of box-02's last packet
	said  [][]byte // all of box-02's
	downs []*wire.Sound
}

var alarmA, alarmB = wire.AlarmID{0xa}, wire.AlarmID{0xb}

func inNeighbours(t *testing.T, f func(*neighbours)) {
	t.Helper()
	n := &neighbours{air: &ether{in: make(chan []byte)}}
	inWorldOf(t, inGroup, func(w *world) { n.world, w.air = w, n.air; n.air.in = make(chan []byte) }, func(*world) {
		time.Sleep(5 * time.Second)
		f(n)
	})
}

// tell is box-02's packet.
func (n *neighbours) tell(alarm wire.AlarmID, press uint64, on bool) {
	n.say(&wire.GroupAlarm{Device: "box-02", Alarm: alarm, Kind: wire.Fire, Press: press, On: on}, neighbourKey)
}

// say is anybody's packet.
func (n *neighbours) say(p *wire.GroupAlarm, key ed25519.PrivateKey) {
	n.n++
	p.Group, p.Stream, p.Boot, p.N = "ten", wire.StreamID{1}, 1, n.n
	msg, err := wire.SealGroup(p, key)
	if err != nil {
		n.t.Fatal(err)
	}
	n.said = append(n.said, msg)
	n.air.in <- msg
	time.Sleep(time.Second)
}

// sound is the centre's word.
func (n *neighbours) sound(alarm wire.AlarmID, rev uint64, on bool) {
	b := &wire.Sound{Alarm: alarm, Rev: rev, On: on, Device: "box-02", Kind: wire.Fire}
	if on {
		b.Until = (25 * time.Second).Milliseconds() // world.down says that it is 1970 at the centre
	}
	n.downs = append(n.downs, b)
	n.down(b)
	time.Sleep(time.Second)
}

// again has everything come once more: the packets, recorded by somebody, and
// the centre's words, as it repeats them.
func (n *neighbours) again() {
	for _, msg := range n.said {
		n.air.in <- msg
	}
	for _, b := range n.downs {
		n.down(b)
	}
	time.Sleep(time.Second)
}

// wants looks at the siren for three seconds.
func (n *neighbours) wants(what string, sounds bool) {
	n.t.Helper()
	on := false
	for range 30 {
		on = on || n.lamps()[3] == 'S'
		time.Sleep(100 * time.Millisecond)
	}
	if on != sounds {
		n.t.Errorf("%s: the siren sounds: %v, want %v", what, on, sounds)
	}
}

// reported wants these Sounded events of an alarm, and no others.
func (n *neighbours) reported(alarm wire.AlarmID, want ...string) {
	n.t.Helper()
	time.Sleep(5 * time.Second)
	var got []string
	for _, b := range bodies[*wire.Sounded](n.world) {
		if b.Alarm == alarm {
			got = append(got, strings.TrimSpace(fmt.Sprintf("%v %d %v %s", b.By, b.Rev, b.On, b.Why)))
		}
	}
	if !slices.Equal(got, want) {
		n.t.Errorf("reported %q, want %q", got, want)
	}
}

// A box that hears of one alarm both ways sounds once, for as long as it would
// for one, whichever way is first and however often either says it.
func TestBothWaysSoundOnce(t *testing.T) {
	t.Run("the group first", func(t *testing.T) {
		inNeighbours(t, func(n *neighbours) {
			n.tell(alarmA, 1, true)
			n.wants("told by the group", true)
			n.sound(alarmA, 1, true)
			n.again()
			n.tell(alarmA, 1, true)
			n.wants("told by both", true)
			time.Sleep(25 * time.Second)
			n.wants("after its time", false)
			n.tell(alarmA, 1, true)
			n.again()
			n.wants("told again after its time", false)
			n.reported(alarmA, "group 0 true", "centre 1 true", "group 1 false")
		})
	})
	t.Run("the group first, and for long before", func(t *testing.T) {
		inNeighbours(t, func(n *neighbours) {
			n.tell(alarmA, 1, true)
			time.Sleep(40 * time.Second)
			n.sound(alarmA, 1, true)
			n.wants("told by the centre at last", false)
			n.sound(alarmA, 2, true) // the desk wants it once more
			n.wants("asked by the desk", true)
			time.Sleep(30 * time.Second)
			n.reported(alarmA, "group 0 true", "group 0 false", "centre 1 false sounded_before", "centre 2 true", "centre 2 false")
		})
	})
	t.Run("the centre first", func(t *testing.T) {
		inNeighbours(t, func(n *neighbours) {
			n.sound(alarmA, 1, true)
			n.wants("told by the centre", true)
			n.tell(alarmA, 1, true)
			n.again()
			n.wants("told by both", true)
			time.Sleep(20 * time.Second) // the group's word makes it no longer
			n.wants("after its time", false)
			n.tell(alarmA, 1, true)
			n.again()
			n.wants("told again after its time", false)
			n.reported(alarmA, "centre 1 true", "centre 1 false")
		})
	})
	t.Run("the centre first, and for long before", func(t *testing.T) {
		inNeighbours(t, func(n *neighbours) {
			n.sound(alarmA, 1, true)
			time.Sleep(30 * time.Second)
			n.tell(alarmA, 1, true)
			n.wants("told by the group at last", false)
			n.tell(alarmA, 2, true)
			n.wants("pressed again", true)
			time.Sleep(30 * time.Second)
			n.wants("after its time", false)
			n.reported(alarmA, "centre 1 true", "centre 1 false", "group 0 true", "group 0 false")
		})
	})
}

// What either way says to be over is over, and begins again by neither.
func TestOverByOneWay(t *testing.T) {
	for _, first := range []string{"group", "centre"} {
		begin := func(n *neighbours) {
			if first == "group" {
				n.tell(alarmA, 1, true)
				n.sound(alarmA, 1, true)
			} else {
				n.sound(alarmA, 1, true)
				n.tell(alarmA, 1, true)
			}
			n.wants("told by both", true)
		}
		t.Run("over by the group, begun by the "+first, func(t *testing.T) {
			inNeighbours(t, func(n *neighbours) {
				begin(n)
				n.tell(alarmA, 1, false)
				n.wants("over at its box", false)
				n.again()
				n.wants("said again", false)
				n.sound(alarmA, 2, false)
				n.wants("over at both", false)
				n.again()
				n.wants("said again", false)
			})
		})
		t.Run("over by the centre, begun by the "+first, func(t *testing.T) {
			inNeighbours(t, func(n *neighbours) {
				begin(n)
				n.sound(alarmA, 2, false)
				n.wants("over at the centre", false)
				n.tell(alarmA, 1, true) // its box has not heard of it yet
				n.again()
				n.wants("told again", false)
				n.tell(alarmA, 2, true)
				n.wants("pressed again", true)
				n.tell(alarmA, 2, false)
				n.wants("over at both", false)
			})
		})
	}
	t.Run("before it began", func(t *testing.T) {
		inNeighbours(t, func(n *neighbours) {
			n.sound(alarmA, 2, false)
			n.tell(alarmA, 1, true)
			n.wants("told after the centre's stop", false)
			n.tell(alarmB, 1, false)
			n.sound(alarmB, 1, true)
			n.wants("told after its box's stop", false)
			n.reported(alarmA, "centre 2 false")
		})
	})
}

// A member speaks for itself alone: it neither ends another's alarm, nor makes
// this box deaf to it by telling of it first. What may not be heard is heard by
// nobody's word.
func TestAMemberSpeaksForItself(t *testing.T) {
	inNeighbours(t, func(n *neighbours) {
		n.tell(alarmA, 1, true)
		n.say(&wire.GroupAlarm{Device: "box-03", Alarm: alarmA, Kind: wire.Fire, Press: 1}, traitorKey)
		n.wants("ended by another member", true)
		n.tell(alarmA, 1, false)
		n.wants("ended by its own box", false)

		n.say(&wire.GroupAlarm{Device: "box-03", Alarm: alarmB, Kind: wire.Fire, Press: 1, On: true}, traitorKey)
		n.tell(alarmB, 1, true)
		n.say(&wire.GroupAlarm{Device: "box-03", Alarm: alarmB, Kind: wire.Fire, Press: 1}, traitorKey)
		n.wants("told and ended by another member before", true)
		n.tell(alarmB, 1, false)
		n.wants("ended by its own box", false)

		for i, kind := range []wire.AlarmKind{wire.Duress, 77} {
			n.say(&wire.GroupAlarm{Device: "box-02", Alarm: wire.AlarmID{byte(i + 1)}, Kind: kind, Press: 1, On: true}, neighbourKey)
			n.wants(kind.String(), false)
		}
		n.down(&wire.Sound{Alarm: wire.AlarmID{9}, Rev: 1, On: true, Device: "box-02", Kind: wire.Duress, Until: 25_000})
		n.wants("duress, by the centre", false)
		n.reported(wire.AlarmID{9}, "centre 1 false silent")
	})
}

// Presses for which this box has sounded, by the centre's word, are not heard
// again when the local network comes back: the villager pressed three times, and
// the dispatcher had the boxes stop.
func TestPressesThatWereHeard(t *testing.T) {
	inNeighbours(t, func(n *neighbours) {
		n.sound(alarmA, 1, true)
		n.wants("told by the centre", true)
		time.Sleep(5 * time.Second)
		n.sound(alarmA, 2, false)
		n.wants("stopped by the centre", false)
		n.say(&wire.GroupAlarm{Device: "box-02", Alarm: alarmA, Kind: wire.Fire, Press: 3, On: true, AgeMs: 12_000}, neighbourKey)
		n.wants("its third press, from before the stop", false)
		n.say(&wire.GroupAlarm{Device: "box-02", Alarm: alarmA, Kind: wire.Fire, Press: 4, On: true, AgeMs: 500}, neighbourKey)
		n.wants("a press after the stop", true)
		time.Sleep(30 * time.Second)
		n.reported(alarmA, "centre 1 true", "centre 2 false", "group 0 true", "group 0 false")
	})
}

// Two alarms at once are two: the end of one is not that of the other.
func TestASecondAlarmMeanwhile(t *testing.T) {
	inNeighbours(t, func(n *neighbours) {
		n.tell(alarmA, 1, true)
		n.sound(alarmB, 1, true)
		n.sound(alarmA, 1, true)
		n.tell(alarmB, 1, true)
		n.wants("both", true)
		n.sound(alarmA, 2, false)
		n.wants("one of two", true)
		n.again()
		n.tell(alarmB, 1, false)
		n.wants("none", false)
		n.again()
		n.wants("said again", false)
		n.reported(alarmA, "group 0 true", "centre 1 true", "centre 2 false")
		n.reported(alarmB, "centre 1 true", "centre 1 false")
	})
}

// After a restart nothing that was heard before sounds again, though all of it
// comes once more; another press does.
func TestNeighboursAfterARestart(t *testing.T) {
	for _, first := range []string{"group", "centre"} {
		t.Run(first, func(t *testing.T) {
			inNeighbours(t, func(n *neighbours) {
				if first == "group" {
					n.tell(alarmA, 1, true)
					n.tell(alarmA, 2, true)
				} else {
					n.sound(alarmA, 1, true)
				}
				n.wants("told", true)
				n.off()
				n.power()
				time.Sleep(5 * time.Second)
				n.again()
				n.wants("after a restart", false)
				n.sound(alarmA, 1, true)
				n.wants("told the other way after a restart", false)
				n.tell(alarmA, 3, true)
				n.wants("pressed again", true)
			})
		})
	}
}

// heardBy has another box take what the box sent, and returns which packets said
// something new, by "press on".
func heardBy(t *testing.T, w *world, marks map[string]*group.Mark, sent [][]byte) (fresh []string, last *wire.GroupAlarm) {
	t.Helper()
	began := time.Now()
	g := &group.Guard{
		Device: "box-02", Group: "ten", Members: map[string]ed25519.PublicKey{"box-01": w.pub}, Marks: marks,
		Now: func() time.Duration { return time.Since(began) }, Wall: func() wire.Wall { return wire.Wall{} },
	}
	for _, msg := range sent {
		p, is, err := g.Accept(msg)
		if err != nil {
			t.Errorf("not believed: %v", err)
			continue
		}
		if is {
			fresh = append(fresh, fmt.Sprintf("%d %v", p.Press, p.On))
		}
		last = p
	}
	for _, msg := range sent {
		if _, _, err := g.Accept(msg); !errors.Is(err, group.ErrReplay) {
			t.Errorf("heard again: %v", err)
		}
	}
	return fresh, last
}

// A box whose alarm stands goes on telling its group after a restart, be it one
// in order or a power cut: with a higher boot, so that it is believed and what
// was recorded before is not, as the press that it was, and that it is over. A
// silent alarm is not told.
func TestARestartGoesOnTelling(t *testing.T) {
	for _, cut := range []bool{false, true} {
		t.Run(fmt.Sprintf("cut %v", cut), func(t *testing.T) {
			inNeighbours(t, func(n *neighbours) {
				n.press("H")
				time.Sleep(5 * time.Second)
				if got := n.air.since(0); len(got) != 0 {
					t.Errorf("%d packets of a silent alarm", len(got))
				}
				n.press("P")
				n.press("P")
				time.Sleep(5 * time.Second)
				before := n.air.since(0)
				marks := make(map[string]*group.Mark)
				if fresh, _ := heardBy(t, n.world, marks, before); fmt.Sprint(fresh) != "[1 true 2 true]" {
					t.Errorf("told %q", fresh)
				}
				if cut { // what is on the disk now is what a power cut leaves
					disk := os.DirFS(n.cfg.Data)
					n.cfg.Data = t.TempDir()
					err := os.CopyFS(n.cfg.Data, disk)
					if err = errors.Join(err, os.Chmod(filepath.Join(n.cfg.Data, "device.key"), 0o600)); err != nil {
						t.Fatal(err)
					}
				}
				n.off()
				cutAt := len(n.air.since(0))
				n.power()
				time.Sleep(10 * time.Second)
				after := n.air.since(cutAt)
				if len(after) < 3 || len(after) > 6 {
					t.Errorf("%d packets in 10 s after the restart: want a few", len(after))
				}
				fresh, last := heardBy(t, n.world, marks, after)
				if fresh != nil {
					t.Errorf("told %q to who had heard it: want nothing new", fresh)
				}
				if last == nil || last.Boot != 2 || last.Press != 2 || !last.On || last.AgeMs < 5000 {
					t.Errorf("told %+v", last)
				}
				if fresh, _ := heardBy(t, n.world, make(map[string]*group.Mark), after); fmt.Sprint(fresh) != "[2 true]" {
					t.Errorf("told %q to who had not heard it", fresh)
				}
				from := len(n.air.since(0))
				var alarm wire.AlarmID
				for _, b := range bodies[*wire.AlarmRaised](n.world) {
					if !b.Silent {
						alarm = b.Alarm
					}
				}
				n.down(&wire.Notice{Alarm: alarm, Rev: 1, State: wire.NoticeClosed})
				time.Sleep(2 * time.Minute)
				over := n.air.since(from)
				if _, last := heardBy(t, n.world, marks, over); len(over) < 5 || last == nil || last.On || last.Alarm != alarm {
					t.Errorf("%d packets, the last %+v: want that it is over", len(over), last)
				}
			})
		})
	}
}

// An alarm that is reset in the restart is told to be over.
func TestOverInTheRestart(t *testing.T) {
	inNeighbours(t, func(n *neighbours) {
		n.off()
		n.cfg.Drill = true
		n.power()
		n.press("P")
		n.off()
		n.cfg.Drill = false
		from := len(n.air.since(0))
		n.power()
		time.Sleep(time.Minute)
		if _, last := heardBy(t, n.world, make(map[string]*group.Mark), n.air.since(from)); last == nil || last.On {
			t.Errorf("told %+v: want that it is over", last)
		}
	})
}

// It is told for no longer than others sound: from the press where the clock
// knows when that was, else from the start.
func TestARestartTellsForSoLong(t *testing.T) {
	for _, x := range []struct {
		knows      bool
		off, lasts time.Duration
	}{
		{true, 10 * time.Second, 18 * time.Second},
		{true, time.Hour, 0},
		{false, time.Hour, 30 * time.Second},
	} {
		t.Run(fmt.Sprint(x.knows, x.off), func(t *testing.T) {
			inNeighbours(t, func(n *neighbours) {
				n.off()
				n.knows = x.knows
				n.power()
				time.Sleep(2 * time.Second)
				n.press("P")
				time.Sleep(time.Second)
				n.off()
				time.Sleep(x.off)
				from := len(n.air.since(0))
				began := time.Now()
				n.power()
				var last time.Duration
				for count := from; time.Since(began) < 5*time.Minute; time.Sleep(100 * time.Millisecond) {
					if now := len(n.air.since(0)); now > count {
						count, last = now, time.Since(began)
					}
				}
				if last > x.lasts+time.Second || x.lasts > 0 && last < x.lasts-11*time.Second || x.lasts > 0 && last == 0 {
					t.Errorf("the last packet %v after the start: want about %v", last, x.lasts)
				}
			})
		})
	}
}
