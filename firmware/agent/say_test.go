package agent_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fengsui/fengsui/boards/speech"
	"github.com/fengsui/fengsui/firmware/config"
	"github.com/fengsui/fengsui/firmware/voice"
	"github.com/fengsui/fengsui/firmware/wire"
)

// speaks gives the world a loudspeaker, and returns what it said.
func (w *world) speaks(dir string) *[]string {
	w.t.Helper()
	said := new([]string)
	for i, p := range speech.Prompts() {
		path := speech.File(dir, "en", p)
		b := append([]byte("RIFF\x00\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\x22\x56\x00\x00\x44\xac\x00\x00\x02\x00\x10\x00data\xff\xff\xff\x7f"), make([]byte, 2*i+2)...)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, b, 0o600)); err != nil {
			w.t.Fatal(err)
		}
	}
	w.cfg.Audio = &config.Audio{Lang: "en", Dir: dir}
	w.voice = func(_ context.Context, s voice.Sound) error {
		w.mu.Lock()
		defer w.mu.Unlock()
		*said = append(*said, speech.Prompts()[len(s.Samples)-1])
		return nil
	}
	return said
}

// A box says what its lamps show, each once, and in a silent alarm nothing.
func TestABoxSaysWhatItsLampsShow(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, dir, withInputs)
		said := w.speaks(t.TempDir())
		w.power()
		time.Sleep(5 * time.Second)
		w.press("P")
		time.Sleep(5 * time.Second)
		alarm := bodies[*wire.AlarmRaised](w)[0].Alarm
		w.down(&wire.Notice{Alarm: alarm, Rev: 1, State: wire.NoticeAcknowledged})
		time.Sleep(time.Second)
		w.down(&wire.Notice{Alarm: alarm, Rev: 2, State: wire.NoticeDispatched, Unit: "car-01"})
		time.Sleep(time.Second)
		w.press("P")
		w.down(&wire.Notice{Alarm: alarm, Rev: 3, State: wire.NoticeClosed})
		time.Sleep(time.Second)
		loud := []string{"stored", "centre_has", "acknowledged", "unit_coming", "closed"}
		if !slices.Equal(*said, loud) {
			t.Errorf("said %q, want %q", *said, loud)
		}
		*said = nil
		w.press("H") // silent
		time.Sleep(5 * time.Second)
		w.press("P") // beside it
		time.Sleep(5 * time.Second)
		for _, a := range bodies[*wire.AlarmRaised](w) {
			w.down(&wire.Notice{Alarm: a.Alarm, Rev: 1, State: wire.NoticeClosed})
			time.Sleep(time.Second)
		}
		if len(*said) != 0 && !slices.Equal(*said, []string{"centre_has", "closed"}) { // once the silent one is closed, the other is heard
			t.Errorf("in a silent alarm it said %q", *said)
		}
		w.off()
		w.link(false)
		w.broker.Close()
	})
}

func TestABoxWithoutItsWords(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, dir, "")
		w.speaks(t.TempDir())
		w.cfg.Audio.Dir = dir
		w.power()
		w.press("P")
		time.Sleep(10 * time.Second)
		if got := w.faults("voice_failed"); !slices.Equal(got, []string{"voice_failed true"}) || len(bodies[*wire.AlarmRaised](w)) != 1 {
			t.Errorf("faults %q", got)
		}
		w.off()
		w.link(false)
		w.broker.Close()
	})
}
