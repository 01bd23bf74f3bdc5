// Package speech has the texts that a box says, in Chinese and English, and
// makes sound files of them for an image, by espeak-ng.
//
// The texts are data: texts.yaml. The package plays nothing (firmware/voice
// does), and records nobody.
package speech

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/fengsui/fengsui/boards/strictyaml"
)

//go:embed texts.yaml
var textsYAML []byte

type texts struct {
	Voices  map[string]string            `yaml:"voices" required:"true"`
	Prompts map[string]map[string]string `yaml:"prompts" required:"true"`
}

// Validate checks that every prompt is there in every language.
func (t *texts) Validate(r *strictyaml.Report) {
	for name, by := range t.Prompts {
		for lang := range t.Voices {
			if strings.TrimSpace(by[lang]) == "" {
				r.Add("prompts."+name+"."+lang, "", "a text")
			}
		}
	}
}

var shipped = sync.OnceValue(func() *texts {
	t := new(texts)
	if err := strictyaml.Decode("texts.yaml", textsYAML, t); err != nil {
		panic(err) // a test reads the same bytes
	}
	return t
})

// Langs returns the languages.
func Langs() []string { return slices.Sorted(maps.Keys(shipped().Voices)) }

// Prompts returns the prompts' names.
func Prompts() []string { return slices.Sorted(maps.Keys(shipped().Prompts)) }

// Text returns what a prompt says, or "".
func Text(lang, prompt string) string { return shipped().Prompts[prompt][lang] }

// File returns where in a folder a prompt's sound is.
func File(dir, lang, prompt string) string { return filepath.Join(dir, lang, prompt+".wav") }

// ErrTool means that espeak-ng is missing or failed.
var ErrTool = errors.New("speech")

// Make writes a sound file of each prompt in each language into a folder: WAV,
// 16 bits, one channel, 22,050 samples a second. It returns the files, in the
// order of their names.
func Make(ctx context.Context, dir string) (files []string, err error) {
	espeak, err := exec.LookPath("espeak-ng")
	if err != nil {
		return nil, fmt.Errorf("%w: espeak-ng is missing: install the package espeak-ng", ErrTool)
	}
	t := shipped()
	for _, lang := range Langs() {
		if err := os.MkdirAll(filepath.Join(dir, lang), 0o755); err != nil {
			return nil, err
		}
		for _, prompt := range Prompts() {
			file := File(dir, lang, prompt)
			cmd := exec.CommandContext(ctx, espeak, "-v", t.Voices[lang], "-s", "140", "-w", file, t.Prompts[prompt][lang])
			if out, err := cmd.CombinedOutput(); err != nil {
				return nil, fmt.Errorf("%w: %s in %s: %w: %s", ErrTool, prompt, lang, err, bytes.TrimSpace(out))
			}
			files = append(files, file)
		}
	}
	return files, nil
}
