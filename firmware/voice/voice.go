// Package voice says prompts: it reads their sound files and hands the samples
// to a loudspeaker, one prompt at a time, the newest first.
//
// It decides nothing: whoever calls Say knows that the alarm may be heard. It
// opens no device (firmware/internal/hw does), and makes no speech: that is
// made with the image (boards/speech).
package voice

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/fengsui/fengsui/boards/speech"
)

// A Sound is one channel of signed samples.
type Sound struct {
	Rate    int // samples a second
	Samples []int16
}

// A Player plays a sound and returns when it has been heard, or ctx has ended.
type Player func(ctx context.Context, s Sound) error

// maxFile bounds a sound file: half a minute.
const maxFile = 2 << 20

// ErrFile means that a file is no sound that can be played here.
var ErrFile = errors.New("sound file")

// Load reads a WAV file (RIFF, PCM, 16 bits, one channel). The error wraps
// [ErrFile] or is that of the file.
func Load(path string) (Sound, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return Sound{}, err
	}
	s, err := parse(b)
	if err != nil {
		return Sound{}, fmt.Errorf("%w %s: %w", ErrFile, path, err)
	}
	return s, nil
}

// parse reads the chunks of a WAV file (Microsoft, Multimedia Programming
// Interface and Data Specifications 1.0, 1991, "Waveform Audio File Format").
func parse(b []byte) (s Sound, err error) {
	if len(b) > maxFile {
		return s, fmt.Errorf("%d bytes: want at most %d", len(b), maxFile)
	}
	if len(b) < 12 || string(b[:4]) != "RIFF" || string(b[8:12]) != "WAVE" {
		return s, errors.New("want a RIFF file of the form WAVE")
	}
	for b = b[12:]; len(b) >= 8; {
		id, n := string(b[:4]), int(binary.LittleEndian.Uint32(b[4:]))
		b = b[8:]
		if n < 0 || n > len(b) {
			n = len(b) // of a stream whose length was not known when it began
		}
		switch id {
		case "fmt ":
			if n < 16 {
				return s, fmt.Errorf("a format of %d bytes: want 16", n)
			}
			kind, channels, bits := binary.LittleEndian.Uint16(b), binary.LittleEndian.Uint16(b[2:]), binary.LittleEndian.Uint16(b[14:])
			s.Rate = int(binary.LittleEndian.Uint32(b[4:]))
			if kind != 1 || channels != 1 || bits != 16 || s.Rate < 8000 || s.Rate > 48_000 {
				return s, fmt.Errorf("format %d, %d channels, %d bits, %d a second: want PCM, 1, 16, 8000 to 48000", kind, channels, bits, s.Rate)
			}
		case "data":
			if s.Rate == 0 {
				return s, errors.New("the samples come before their format")
			}
			s.Samples = make([]int16, n/2)
			for i := range s.Samples {
				s.Samples[i] = int16(binary.LittleEndian.Uint16(b[2*i:]))
			}
			return s, nil
		}
		b = b[min(n+n%2, len(b)):]
	}
	return s, errors.New("want a chunk of samples")
}

// A Speaker says prompts. Make it with New.
type Speaker struct {
	dir, lang string
	play      Player
	log       *slog.Logger
	failed    func(error)
	next      chan string // the newest prompt that was not said yet
}

// New returns a speaker of the files in a folder, in a language. failed is
// called by Run when a prompt cannot be said, and with nil when one was.
func New(dir, lang string, play Player, log *slog.Logger, failed func(error)) *Speaker {
	return &Speaker{dir: dir, lang: lang, play: play, log: log, failed: failed, next: make(chan string, 1)}
}

// Say says a prompt when the one that is being said has ended. One that still
// waits is forgotten: what it tells is no longer new. It never blocks, and only
// one goroutine may call it.
func (s *Speaker) Say(prompt string) {
	select {
	case <-s.next:
	default:
	}
	s.next <- prompt
}

// Hush forgets a prompt that still waits.
func (s *Speaker) Hush() {
	select {
	case <-s.next:
	default:
	}
}

// Run says prompts until ctx ends. It returns nil.
func (s *Speaker) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case prompt := <-s.next:
			err := s.say(ctx, prompt)
			if ctx.Err() != nil {
				return nil
			}
			if err != nil {
				s.log.Error("prompt not said", "prompt", prompt, "err", err)
			}
			s.failed(err)
		}
	}
}

func (s *Speaker) say(ctx context.Context, prompt string) error {
	sound, err := Load(speech.File(s.dir, s.lang, prompt))
	if err != nil {
		return err
	}
	return s.play(ctx, sound)
}
