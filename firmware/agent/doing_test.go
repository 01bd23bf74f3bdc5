package agent_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/fengsui/fengsui/firmware/terminal"
	"github.com/fengsui/fengsui/firmware/wire"
)

// What a unit says that it does is kept without a link and over a power cut, and goes in the
// order of saying; who signs off while busy leaves a unit that is free.
func TestAUnitSaysThatItIsBusy(t *testing.T) {
	inWorld(t, screenConfig(t), func(w *world) {
		t := w.t
		time.Sleep(time.Minute)
		if err := w.a.Screen().SetDoing(t.Context(), wire.DoingBusy, ""); !errors.Is(err, terminal.ErrSignedOff) {
			t.Errorf("nobody is signed on: %v", err)
		}
		w.signOn(goodPIN)
		if d := w.view().Doing; d != nil {
			t.Errorf("nothing was said: %+v", d)
		}
		w.link(false)
		say := func(d wire.Doing, reason string) {
			t.Helper()
			if err := w.a.Screen().SetDoing(t.Context(), d, reason); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
		}
		say(wire.DoingOutOfService, "tyre")
		say(wire.DoingBusy, "escort")
		w.off()
		w.power()
		if d := w.view().Doing; d == nil || d.State != "busy" || d.Reason != "escort" || d.Sent {
			t.Fatalf("after a power cut: %+v: want busy with an escort, not sent", d)
		}
		w.link(true)
		time.Sleep(2 * time.Minute)
		if d := w.view().Doing; d == nil || !d.Sent {
			t.Errorf("%+v: want it sent", d)
		}
		if err := w.a.Screen().SignOff(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		var got []string
		for _, b := range bodies[*wire.UnitState](w) {
			got = append(got, b.Doing.String()+" "+b.Reason)
		}
		if want := []string{"out_of_service tyre", "busy escort", "available "}; !slices.Equal(got, want) {
			t.Errorf("the centre has %q: want %q", got, want)
		}
	})
}
