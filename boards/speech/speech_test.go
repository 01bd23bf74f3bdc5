package speech_test

import (
	"errors"
	"os"
	"testing"
	"unicode"

	"github.com/fengsui/fengsui/boards/speech"
)

func TestEveryPromptInEveryLanguage(t *testing.T) {
	for _, p := range speech.Prompts() {
		for _, r := range speech.Text("en", p) {
			if r > unicode.MaxASCII {
				t.Errorf("%s in English has %q", p, r)
			}
		}
		han := 0
		for _, r := range speech.Text("zh-CN", p) {
			if unicode.Is(unicode.Han, r) {
				han++
			}
		}
		if han < 4 {
			t.Errorf("%s in Chinese: %q", p, speech.Text("zh-CN", p))
		}
	}
}

func TestMake(t *testing.T) {
	dir := t.TempDir()
	files, err := speech.Make(t.Context(), dir)
	if errors.Is(err, speech.ErrTool) && os.Getenv("CI") == "" {
		t.Skipf("skipped: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if want := len(speech.Langs()) * len(speech.Prompts()); len(files) != want {
		t.Errorf("%d files, want %d", len(files), want)
	}
	for _, f := range files {
		if st, err := os.Stat(f); err != nil || st.Size() < 20_000 || st.Size() > 400_000 { // half a second to nine
			t.Errorf("%s: %v, %v", f, st, err)
		}
	}
}
