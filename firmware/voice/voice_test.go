package voice_test

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fengsui/fengsui/boards/speech"
	"github.com/fengsui/fengsui/firmware/voice"
)

// wav is a file as espeak-ng writes it: 44 bytes, then samples.
func wav(samples int, edit func(b []byte)) []byte {
	b := append([]byte("RIFF\x00\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\x22\x56\x00\x00\x44\xac\x00\x00\x02\x00\x10\x00data\xff\xff\xff\x7f"), make([]byte, 2*samples)...)
	if edit != nil {
		edit(b)
	}
	return b
}

func write(t *testing.T, b []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.wav")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLoad(t *testing.T) {
	s, err := voice.Load(write(t, wav(300, func(b []byte) { b[44], b[45] = 0xff, 0xff })))
	if err != nil || s.Rate != 22050 || len(s.Samples) != 300 || s.Samples[0] != -1 || s.Samples[1] != 0 {
		t.Errorf("%d a second, %d samples, %v", s.Rate, len(s.Samples), err)
	}
	for name, edit := range map[string]func(b []byte){
		"stereo": func(b []byte) { b[22] = 2 }, "8 bits": func(b []byte) { b[34] = 8 }, "mp3": func(b []byte) { b[20] = 0x55 },
		"no riff": func(b []byte) { b[0] = 'X' }, "no samples": func(b []byte) { b[36] = 'X' }, "too fast": func(b []byte) { b[26] = 1 },
	} {
		if _, err := voice.Load(write(t, wav(10, edit))); !errors.Is(err, voice.ErrFile) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := voice.Load(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

func FuzzLoad(f *testing.F) {
	f.Add(wav(10, nil))
	f.Add([]byte("RIFF\x00\x00\x00\x00WAVEfmt \xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, b []byte) { _, _ = voice.Load(write(t, b)) })
}

// What espeak-ng makes can be played.
func TestWhatWasMadeCanBeSaid(t *testing.T) {
	dir := t.TempDir()
	files, err := speech.Make(t.Context(), dir)
	if errors.Is(err, speech.ErrTool) && os.Getenv("CI") == "" {
		t.Skipf("skipped: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		s, err := voice.Load(f)
		if lasts := time.Duration(len(s.Samples)) * time.Second / time.Duration(max(s.Rate, 1)); err != nil || lasts < time.Second/2 || lasts > 9*time.Second {
			t.Errorf("%s: %v, %v", f, lasts, err)
		}
	}
}

// The newest prompt is said when the one before has ended; one that waits is
// forgotten for it.
func TestTheNewestPromptIsSaid(t *testing.T) {
	dir := t.TempDir()
	for i, p := range speech.Prompts() {
		path := speech.File(dir, "en", p)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, wav(100+i, nil), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		var said []string
		play := func(ctx context.Context, s voice.Sound) error {
			said = append(said, speech.Prompts()[len(s.Samples)-100])
			time.Sleep(3 * time.Second)
			return nil
		}
		var errs []error
		s := voice.New(dir, "en", play, slog.New(slog.DiscardHandler), func(err error) { errs = append(errs, err) })
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		s.Say("stored")
		synctest.Wait()
		s.Say("centre_has")
		s.Say("unit_coming")
		time.Sleep(5 * time.Second)
		s.Say("nonsense")
		s.Say("closed")
		s.Hush()
		time.Sleep(5 * time.Second)
		s.Say("nonsense")
		time.Sleep(5 * time.Second)
		stop()
		if err := <-done; err != nil || !slices.Equal(said, []string{"stored", "unit_coming"}) {
			t.Errorf("said %q, %v", said, err)
		}
		if len(errs) != 3 || errs[0] != nil || errs[1] != nil || !errors.Is(errs[2], fs.ErrNotExist) {
			t.Errorf("errors %v", errs)
		}
	})
}
