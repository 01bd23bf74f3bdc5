package agent_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fengsui/fengsui/firmware/pin"
	"github.com/fengsui/fengsui/firmware/terminal"
	"github.com/fengsui/fengsui/firmware/wire"
)

const (
	goodPIN   = "284913"
	duressPIN = "319482"
)

// screenConfig is the configuration of a screen with one officer.
func screenConfig(t *testing.T) string {
	t.Helper()
	good, err := pin.New(goodPIN)
	if err != nil {
		t.Fatal(err)
	}
	duress, err := pin.New(duressPIN)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("terminal: {pins: {P-1001: %q}, duress_pins: {P-1001: %q}}", good, duress)
}

func (w *world) view() terminal.View {
	w.t.Helper()
	v, err := w.a.Screen().View(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return v
}

func assignment(rev uint64) *wire.Assignment {
	return &wire.Assignment{Incident: 17, Rev: rev, State: wire.Assigned, Kind: "panic", Priority: 1, Device: "box-09", Name: "Well Lane"}
}

func (w *world) signOn(p string) {
	w.t.Helper()
	if err := w.a.Screen().SignOn(w.t.Context(), "1001", p); err != nil {
		w.t.Fatal(err)
	}
}

func TestAnAssignmentIsAnsweredWhenSomebodySeesIt(t *testing.T) {
	inWorld(t, screenConfig(t), func(w *world) {
		t := w.t
		time.Sleep(time.Minute)
		w.down(assignment(3))
		time.Sleep(10 * time.Second)
		if n := len(bodies[*wire.UnitAnswer](w)); n != 0 {
			t.Fatalf("%d answers with no screen: want none", n)
		}
		if err := w.a.Screen().Shows(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		if n := len(bodies[*wire.UnitAnswer](w)); n != 0 {
			t.Fatalf("%d answers with nobody signed on: want none", n)
		}
		w.signOn(goodPIN)
		w.down(assignment(3)) // again, as the centre does
		w.down(assignment(2)) // and late
		time.Sleep(10 * time.Second)
		answers := bodies[*wire.UnitAnswer](w)
		if len(answers) != 1 || answers[0].Answer != wire.AnswerShown || answers[0].Rev != 3 || answers[0].Incident != 17 {
			t.Fatalf("answers %+v: want that revision 3 is shown, once", answers)
		}
		signed := bodies[*wire.SignOn](w)
		if len(signed) != 1 || !signed[0].PIN || signed[0].Officer != "P-1001" {
			t.Errorf("sign-ons %+v: want one of P-1001 by PIN", signed)
		}
		ended := assignment(4)
		ended.State = wire.AssignmentEnded
		w.down(ended)
		time.Sleep(10 * time.Second)
		if v := w.view(); len(v.Tasks) != 1 || v.Tasks[0].Assignment.State != wire.AssignmentEnded {
			t.Errorf("tasks %+v: want the one that is over", v.Tasks)
		}
		if err := w.a.Screen().Answer(t.Context(), terminal.Answer{Incident: 17, Answer: wire.AnswerOnScene}); err == nil {
			t.Error("an answer to what is over was taken")
		}
		time.Sleep(11 * time.Minute)
		if v := w.view(); len(v.Tasks) != 0 {
			t.Errorf("tasks %+v: want none after ten minutes", v.Tasks)
		}
	})
}

// What is over says which one it was, by whom, and with what code, and can be
// put away; what is not over cannot.
func TestWhatIsOverCanBePutAway(t *testing.T) {
	inWorld(t, screenConfig(t), func(w *world) {
		t := w.t
		w.says(time.Minute, stands(30)) // it knows the time
		w.signOn(goodPIN)
		w.down(assignment(1))
		time.Sleep(time.Second)
		if err := w.a.Screen().PutAway(t.Context(), 17); err == nil {
			t.Error("a task that is not over was put away")
		}
		w.down(&wire.Assignment{Incident: 17, Rev: 2, State: wire.AssignmentEnded, Kind: "panic", Code: "false_alarm", By: "李梅"})
		time.Sleep(time.Second)
		v := w.view()
		if len(v.Tasks) != 1 || v.Tasks[0].Over.IsZero() {
			t.Errorf("tasks %+v: want one that is over", v.Tasks)
			return
		}
		if a := v.Tasks[0].Assignment; a.Name != "Well Lane" || a.Priority != 1 || a.By != "李梅" || a.Code != "false_alarm" || a.State != wire.AssignmentEnded || a.Rev != 2 {
			t.Errorf("%+v: want what it was, and how it ended", a)
		}
		for range 2 { // a second touch is no error
			if err := w.a.Screen().PutAway(t.Context(), 17); err != nil {
				t.Error(err)
			}
		}
		time.Sleep(time.Minute)
		if v := w.view(); len(v.Tasks) != 0 {
			t.Errorf("tasks %+v: want none", v.Tasks)
		}
		w.off()
		w.power()
		if v := w.view(); len(v.Tasks) != 0 {
			t.Errorf("tasks %+v after a power cut: want none", v.Tasks)
		}
	})
}

// For how long the centre is not heard is the device's word, from its start on.
func TestSinceWhenTheCentreIsNotHeard(t *testing.T) {
	inWorld(t, screenConfig(t), func(w *world) {
		t := w.t
		time.Sleep(time.Minute)
		if v := w.view(); !v.Heard || v.Lost != 0 {
			t.Errorf("heard %v, lost for %v: want it heard", v.Heard, v.Lost)
		}
		w.link(false)
		time.Sleep(5 * time.Minute)
		if v := w.view(); v.Heard || v.Lost < 5*time.Minute-time.Second || v.Lost > 5*time.Minute+3*time.Second {
			t.Errorf("heard %v, lost for %v: want 5m", v.Heard, v.Lost)
		}
		w.off()
		w.power()
		time.Sleep(time.Minute)
		if v := w.view(); v.Lost < time.Minute || v.Lost > time.Minute+3*time.Second {
			t.Errorf("lost for %v: want since the start", v.Lost)
		}
	})
}

// The screen has where the car was in the last hour, without the hours that it stood.
func TestThePathOfTheLastHour(t *testing.T) {
	inWorld(t, screenConfig(t), func(w *world) {
		t := w.t
		lat := 30.0
		drive := func(d time.Duration, by float64) {
			w.says(d, func(at time.Time) string {
				lat += by
				return stands(lat)(at)
			})
		}
		drive(10*time.Minute, 0.0001) // 11 m a second
		v := w.view()
		if n := len(v.Path); n < 55 || n > 62 {
			t.Errorf("%d points of ten minutes: want one in ten seconds", n)
		}
		drive(20*time.Minute, 0)
		if n := len(w.view().Path); n > 63 {
			t.Errorf("%d points: want none of standing", n)
		}
		drive(45*time.Minute, 0)
		if n := len(w.view().Path); n > 2 {
			t.Errorf("%d points after an hour and a quarter: want what is older than an hour forgotten", n)
		}
	})
}

func TestAnswersGivenWithoutALinkAreKeptInOrder(t *testing.T) {
	inWorld(t, screenConfig(t), func(w *world) {
		t := w.t
		time.Sleep(time.Minute)
		if err := w.a.Screen().Shows(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		w.signOn(goodPIN)
		w.down(assignment(1))
		time.Sleep(10 * time.Second)
		w.link(false)
		want := []wire.Answer{wire.AnswerShown, wire.AnswerAccepted, wire.AnswerOnScene, wire.AnswerChecked, wire.AnswerClosed}
		for _, a := range want[1:] {
			said := terminal.Answer{Incident: 17, Answer: a, Note: "note of " + a.String()}
			if a == wire.AnswerClosed {
				said.Code = wire.CloseFalseAlarm
			}
			if err := w.a.Screen().Answer(t.Context(), said); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
		}
		if v := w.view(); len(v.Tasks[0].Said) != 4 || v.Tasks[0].Said[0].Sent {
			t.Errorf("said %+v: want four that are not sent", v.Tasks[0].Said)
		}
		w.off()
		w.power()
		v := w.view()
		if v.Officer != "P-1001" || len(v.Tasks) != 1 || len(v.Tasks[0].Said) != 4 || v.Tasks[0].Said[3].Note != "note of closed" {
			t.Fatalf("after a power cut: officer %q, tasks %+v: want all as before", v.Officer, v.Tasks)
		}
		w.link(true)
		time.Sleep(2 * time.Minute)
		var answers []wire.Answer
		for _, b := range bodies[*wire.UnitAnswer](w) {
			answers = append(answers, b.Answer)
		}
		if !slices.Equal(answers, want) {
			t.Errorf("the centre has %v: want %v", answers, want)
		}
		for _, s := range w.view().Tasks[0].Said {
			if !s.Sent {
				t.Errorf("%s is not shown as sent", s.Answer)
			}
		}
	})
}

func TestAPhotoGoesInPartsThroughCuts(t *testing.T) {
	inWorld(t, screenConfig(t), func(w *world) {
		t := w.t
		time.Sleep(time.Minute)
		if _, err := w.a.Screen().Photo(t.Context(), 17, []byte("x")); !errors.Is(err, terminal.ErrSignedOff) {
			t.Errorf("with nobody signed on: %v: want ErrSignedOff", err)
		}
		w.signOn(goodPIN)
		w.down(assignment(1))
		time.Sleep(time.Second)
		jpeg := make([]byte, 300_001)
		random := rand.NewChaCha8([32]byte{7})
		if _, err := random.Read(jpeg); err != nil {
			t.Fatal(err)
		}
		id, err := w.a.Screen().Photo(t.Context(), 17, jpeg)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := w.a.Screen().Photo(t.Context(), 17, jpeg); err != nil || again != id {
			t.Errorf("the same photo again: %s, %v: want %s", again, err, id)
		}
		if again, err := w.a.Screen().Photo(t.Context(), 18, jpeg); err != nil || again != id {
			t.Errorf("the same photo for another incident: %s, %v: want %s", again, err, id)
		}
		if err := w.a.Screen().Answer(t.Context(), terminal.Answer{Incident: 17, Answer: wire.AnswerChecked, Photos: []string{id}}); err != nil {
			t.Fatal(err)
		}
		if err := w.a.Screen().Answer(t.Context(), terminal.Answer{Incident: 17, Answer: wire.AnswerChecked, Photos: []string{strings.Repeat("0", 32)}}); err == nil {
			t.Error("a photo that was never taken was named")
		}
		for range 4 { // it goes on wherever it was cut
			time.Sleep(3 * time.Second)
			w.link(false)
			time.Sleep(20 * time.Second)
			w.off()
			w.power()
			w.link(true)
		}
		time.Sleep(3 * time.Minute)
		parts := bodies[*wire.AttachmentPart](w)
		whole := make([][]byte, 19)
		for _, p := range parts {
			if p.Count != 19 || p.Incident != 17 || p.MIME != "image/jpeg" {
				t.Fatalf("part %d of %d for incident %d, %s", p.Index, p.Count, p.Incident, p.MIME)
			}
			whole[p.Index] = p.Bytes
		}
		if !bytes.Equal(bytes.Join(whole, nil), jpeg) {
			t.Errorf("%d parts do not make the photo", len(parts))
		}
		sum := sha256.Sum256(jpeg)
		var named []uint64
		for _, n := range bodies[*wire.Note](w) {
			if slices.Equal(n.Attachments, []wire.Hash{wire.Hash(sum[:16])}) {
				named = append(named, n.Incident)
			}
		}
		if !slices.Equal(named, []uint64{17, 18}) {
			t.Errorf("the photo is named for the incidents %d: want it once for each of the two", named)
		}
		answers := bodies[*wire.UnitAnswer](w)
		if last := answers[len(answers)-1]; len(last.Attachments) != 1 || last.Attachments[0] != wire.Hash(sum[:16]) {
			t.Errorf("answers %+v: want one that names the photo by its hash", answers)
		}
		if v := w.view(); len(v.Photos) != 0 || len(v.Tasks[0].Photos) != 1 {
			t.Errorf("photos %+v: want none that waits", v.Photos)
		}
	})
}

func TestUnderDuressAllLooksTheSame(t *testing.T) {
	inWorld(t, screenConfig(t), func(w *world) {
		t := w.t
		time.Sleep(time.Minute)
		w.link(false)
		w.signOn(goodPIN)
		time.Sleep(5 * time.Second)
		plain := w.view()
		if err := w.a.Screen().SignOff(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.signOn(duressPIN)
		time.Sleep(5 * time.Second)
		forced := w.view()
		if forced.Officer != plain.Officer || forced.Queue.Alarm != 0 || forced.Help != nil || !slices.Equal(forced.Faults, plain.Faults) {
			t.Errorf("under duress the screen shows %+v: want %+v", forced, plain)
		}
		if lamps := w.lamps(); lamps != "----" {
			t.Errorf("lamps %s: want ----", lamps)
		}
		w.link(true)
		time.Sleep(time.Minute)
		alarms := bodies[*wire.AlarmRaised](w)
		if len(alarms) != 1 || alarms[0].Kind != wire.Duress || !alarms[0].Silent {
			t.Errorf("alarms %+v: want one silent of duress", alarms)
		}
	})
}

func TestWrongPINsLock(t *testing.T) {
	inWorld(t, screenConfig(t), func(w *world) {
		t := w.t
		try := func(p string) error { return w.a.Screen().SignOn(t.Context(), "1001", p) }
		for range 5 {
			if err := try("000001"); !errors.Is(err, terminal.ErrPIN) {
				t.Fatalf("a wrong PIN: %v", err)
			}
		}
		var locked *terminal.LockedError
		if err := try(goodPIN); !errors.As(err, &locked) || locked.Left > time.Minute {
			t.Fatalf("after five: %v: want locked for a minute", err)
		}
		w.off()
		w.power() // a restart does not help
		if err := try(goodPIN); !errors.As(err, &locked) {
			t.Fatalf("after a restart: %v: want locked", err)
		}
		time.Sleep(time.Minute)
		if err := try(goodPIN); err != nil {
			t.Fatalf("after a minute: %v", err)
		}
		if v := w.view(); v.Officer != "P-1001" || v.Locked != 0 {
			t.Errorf("officer %q, locked %v", v.Officer, v.Locked)
		}
		time.Sleep(time.Minute)
		var reasons []string
		for _, b := range bodies[*wire.SignRefused](w) {
			reasons = append(reasons, b.Reason)
		}
		if want := []string{"bad_pin", "bad_pin", "bad_pin", "bad_pin", "bad_pin", "locked", "locked"}; !slices.Equal(reasons, want) {
			t.Errorf("the centre learns %v: want %v", reasons, want)
		}
	})
}

func TestACallForHelpIsAnAlarm(t *testing.T) {
	inWorld(t, screenConfig(t), func(w *world) {
		t := w.t
		time.Sleep(time.Minute)
		if err := w.a.Screen().Help(t.Context()); err != nil { // nobody needs to be signed on
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		alarms := bodies[*wire.AlarmRaised](w)
		if len(alarms) != 1 || alarms[0].Kind != wire.Panic {
			t.Fatalf("alarms %+v: want one", alarms)
		}
		if v := w.view(); v.Help == nil || v.Help.Step != "centre_has" {
			t.Errorf("help %+v: want that the centre has it", v.Help)
		}
		w.down(&wire.Notice{Alarm: alarms[0].Alarm, Rev: 2, State: wire.NoticeDispatched, Unit: "car-02"})
		time.Sleep(5 * time.Second)
		if v := w.view(); v.Help == nil || v.Help.Unit != "car-02" {
			t.Errorf("help %+v: want that car-02 is coming", v.Help)
		}
		w.down(&wire.Notice{Alarm: alarms[0].Alarm, Rev: 3, State: wire.NoticeClosed})
		time.Sleep(5 * time.Second)
		if v := w.view(); v.Help != nil {
			t.Errorf("help %+v after it was closed", v.Help)
		}
	})
}
