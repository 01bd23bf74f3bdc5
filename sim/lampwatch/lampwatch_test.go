package lampwatch_test

import (
	"context"
	"io"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"periph.io/x/conn/v3/gpio"

	"github.com/fengsui/fengsui/firmware/lamp"
	"github.com/fengsui/fengsui/sim/lampwatch"
	"github.com/fengsui/fengsui/sim/line"
)

// box runs the shipping lamp driver on emulated lines in front of a watcher.
type box struct {
	*lampwatch.Watcher
	start time.Time
	*lamp.Driver
}

func (b *box) now() time.Duration { return time.Since(b.start) }

func newBox(t *testing.T) *box {
	t.Helper()
	b := &box{start: time.Now(), Watcher: lampwatch.New(0, lampwatch.Silent, lampwatch.Drill)}
	lit := uint8(0)
	bank := line.NewBank(b.now, func(name string, l gpio.Level, at time.Duration) {
		if bit := lampwatch.Bit(name); l {
			lit |= bit
		} else {
			lit &^= bit
		}
		b.Edge(lit, at)
	})
	out := func(name string) lamp.Output { return lamp.Output{Pin: bank.Line(name)} }
	b.Driver = lamp.New(lamp.Outputs{Red: out("red"), Amber: out("amber"), Green: out("green")}, slog.New(slog.NewTextHandler(io.Discard, nil)))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = b.Run(ctx)
	}()
	t.Cleanup(func() { cancel(); <-done })
	synctest.Wait()
	return b
}

// Every state that the driver shows is recognised, for as long as it shows,
// with the time of the edge that began it.
func TestTheDriversPatterns(t *testing.T) {
	shows := map[lamp.Step]lampwatch.Shows{
		lamp.Idle: lampwatch.Idle, lamp.Stored: lampwatch.Stored, lamp.CentreHas: lampwatch.CentreHas,
		lamp.Acknowledged: lampwatch.Acknowledged, lamp.UnitComing: lampwatch.UnitComing,
	}
	for step, want := range shows {
		for name, state := range map[string]lamp.State{"plain": {Step: step}, "silent": {Step: step, Silent: true}, "drill": {Step: step, Drill: true}} {
			t.Run(step.String()+" "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					b := newBox(t)
					time.Sleep(time.Second)
					began := b.now()
					b.Show(state)
					synctest.Wait()
					if v := b.View(b.now()); !slices.Contains(v.Shows, want) {
						t.Fatalf("at once: %+v, want %s among them", v, want)
					}
					for range 20 {
						time.Sleep(5 * time.Second)
						synctest.Wait()
						v := b.View(b.now())
						if v.Certain() != want || step != lamp.Idle && v.Since != began {
							t.Fatalf("after %v: %+v, want %s since %v", b.now()-began, v, want, began)
						}
						if step != lamp.Idle && (len(v.Styles) != 1 || string(v.Styles[0]) != name) {
							t.Fatalf("after %v: styles %v, want %s", b.now()-began, v.Styles, name)
						}
					}
				})
			})
		}
	}
}

func TestFaultAndLampWords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBox(t)
		for _, c := range []struct {
			state             lamp.State
			red, amber, green string
		}{
			{lamp.State{Fault: true}, lampwatch.Off, lampwatch.Flashing, lampwatch.Off},
			{lamp.State{Drilling: true}, lampwatch.Off, lampwatch.Off, lampwatch.Flashing},
			{lamp.State{Visit: lamp.Stored, Drilling: true}, lampwatch.Off, lampwatch.Off, lampwatch.Blinking},
			{lamp.State{Visit: lamp.CentreHas, Drilling: true}, lampwatch.Off, lampwatch.Off, lampwatch.Steady},
			{lamp.State{Step: lamp.CentreHas}, lampwatch.Steady, lampwatch.Blinking, lampwatch.Off},
			{lamp.State{Step: lamp.CentreHas, Drill: true}, lampwatch.Winking, lampwatch.Blinking, lampwatch.Off},
			{lamp.State{Step: lamp.UnitComing, Drill: true}, lampwatch.Winking, lampwatch.Winking, lampwatch.Winking},
			{lamp.State{Step: lamp.UnitComing}, lampwatch.Steady, lampwatch.Steady, lampwatch.Steady},
			{lamp.State{Step: lamp.Stored, Silent: true}, lampwatch.Flashing, lampwatch.Off, lampwatch.Off},
			{lamp.State{}, lampwatch.Off, lampwatch.Off, lampwatch.Off},
		} {
			b.Show(c.state)
			time.Sleep(10 * time.Second)
			synctest.Wait()
			v := b.View(b.now())
			got := [3]string{v.Lamp(lampwatch.Red), v.Lamp(lampwatch.Amber), v.Lamp(lampwatch.Green)}
			if got != [3]string{c.red, c.amber, c.green} {
				t.Errorf("%+v: lamps %v, view %+v", c.state, got, v)
			}
		}
	})
}

// A whole alarm as it happens: what showed for a moment only is in the history
// with its times.
func TestHistoryOfAnAlarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBox(t)
		time.Sleep(time.Second)
		type step struct {
			shows lampwatch.Shows
			since time.Duration
		}
		want := []step{{lampwatch.Idle, 0}}
		for _, s := range []struct {
			step  lamp.Step
			shows lampwatch.Shows
			lasts time.Duration
			gap   time.Duration
		}{
			{lamp.Stored, lampwatch.Stored, 15 * time.Millisecond, 0},
			{lamp.CentreHas, lampwatch.CentreHas, 3300 * time.Millisecond, 0},
			{lamp.Acknowledged, lampwatch.Acknowledged, 2 * time.Second, 80 * time.Millisecond},
			{lamp.UnitComing, lampwatch.UnitComing, 2 * time.Second, 0},
			{lamp.Idle, lampwatch.Idle, 2 * time.Second, 0},
		} {
			if s.gap > 0 {
				want = append(want, step{lampwatch.Idle, b.now()})
			}
			want = append(want, step{s.shows, b.now() + s.gap})
			b.Show(lamp.State{Step: s.step})
			time.Sleep(s.lasts)
			synctest.Wait()
		}
		var got []step
		for _, s := range b.History(0, b.now()) {
			got = append(got, step{s.Certain(), s.Since})
		}
		if !slices.Equal(got, want) {
			t.Errorf("got  %v\nwant %v", got, want)
		}
		if h := b.History(b.now(), b.now()); len(h) != 1 {
			t.Errorf("history from now on has %d spans, want 1", len(h))
		}
	})
}

func TestSloppyLamps(t *testing.T) {
	ms := time.Millisecond
	for name, c := range map[string]struct {
		edges []any // lit, at, lit, at …
		now   time.Duration
		want  lampwatch.Shows
		since time.Duration
	}{
		"late blink":              {[]any{3, 0, 1, 620, 3, 1190, 1, 1800}, 1900 * ms, lampwatch.CentreHas, 0},
		"one lamp after another":  {[]any{1, 0, 3, 2, 7, 4}, 3000 * ms, lampwatch.UnitComing, 4 * ms},
		"a silent flash in parts": {[]any{3, 0, 2, 60, 0, 64, 1, 4000, 0, 4060, 1, 8000, 3, 8001, 2, 8060, 0, 8061}, 9000 * ms, lampwatch.CentreHas, 0},
		"red and green":           {[]any{5, 0}, 1000 * ms, lampwatch.Unknown, 0},
		"amber steady":            {[]any{2, 0}, 1000 * ms, lampwatch.Unknown, 0},
		"a blink that stops":      {[]any{3, 0, 1, 500, 3, 1000}, 3000 * ms, lampwatch.Acknowledged, 1000 * ms},
		"too fast to be a blink":  {[]any{3, 0, 1, 100, 3, 200, 1, 300}, 400 * ms, lampwatch.Stored, 300 * ms},
	} {
		w := lampwatch.New(-time.Second, lampwatch.Silent, lampwatch.Drill)
		for i := 0; i < len(c.edges); i += 2 {
			w.Edge(uint8(c.edges[i].(int)), time.Duration(c.edges[i+1].(int))*ms)
		}
		if v := w.View(c.now); v.Certain() != c.want || v.Since != c.since {
			t.Errorf("%s: got %+v, want %s since %v", name, v, c.want, c.since)
		}
	}
}

func TestResetInTheDarkPhase(t *testing.T) {
	ms := time.Millisecond
	w := lampwatch.New(-time.Second, lampwatch.Silent)
	w.Edge(lampwatch.Red, 0)
	w.Edge(0, 60*ms)
	if v := w.View(time.Second); v.Certain() != lampwatch.Stored {
		t.Errorf("got %+v, want stored", v)
	}
	d := w.Doubts(time.Second)
	if len(d) != 1 || d[0].Certain() != lampwatch.Idle || d[0].Since != 60*ms {
		t.Errorf("doubts %+v, want idle since 60ms", d)
	}
	if v := w.View(5 * time.Second); v.Certain() != lampwatch.Idle || v.Since != 60*ms {
		t.Errorf("after the flash that did not come: %+v, want idle since 60ms", v)
	}
}

// A box that has no silent button shows no silent alarm.
func TestOnlyTheBoxesStyles(t *testing.T) {
	ms := time.Millisecond
	w := lampwatch.New(-time.Second)
	w.Edge(lampwatch.Red, 0)
	w.Edge(0, 60*ms)
	if v := w.View(100 * ms); v.Certain() != lampwatch.Idle {
		t.Errorf("got %+v, want idle", v)
	}
}
