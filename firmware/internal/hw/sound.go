package hw

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/yobert/alsa"
)

// ErrNoSound means that this host has no sound card of that name.
var ErrNoSound = errors.New("no such sound card")

// Sound plays one channel of 16-bit samples on a sound card of Linux (ALSA,
// /dev/snd), and returns when they have been handed over, but for the last
// tenth of a second, or when ctx has ended. The card is called by its number or
// a part of its name; "" is the first one with a playback device. The error
// wraps [ErrNoSound] and names what there is.
func Sound(ctx context.Context, card string, rate int, samples []int16) (err error) {
	cards, err := alsa.OpenCards()
	defer alsa.CloseCards(cards)
	if err != nil {
		return fmt.Errorf("%w: %q: %w", ErrNoSound, card, err)
	}
	var there []string
	for _, c := range cards {
		there = append(there, fmt.Sprintf("%d %s", c.Number, c.Title))
		if card != "" && card != strconv.Itoa(c.Number) && !strings.Contains(c.Title, card) {
			continue
		}
		devices, err := c.Devices()
		if err != nil {
			return fmt.Errorf("sound card %s: %w", c.Title, err)
		}
		for _, d := range devices {
			if d.Type == alsa.PCM && d.Play {
				return play(ctx, d, rate, samples)
			}
		}
	}
	return fmt.Errorf("%w: %q: this host has %s", ErrNoSound, card, strings.Join(there, ", "))
}

// piece is how many frames are handed over at a time.
const piece = 1024

func play(ctx context.Context, d *alsa.Device, rate int, samples []int16) error {
	fail := func(err error) error { return fmt.Errorf("sound card %s: %w", d, err) }
	if err := d.Open(); err != nil {
		return fail(err)
	}
	defer d.Close()
	channels, err := d.NegotiateChannels(1, 2)
	if err != nil {
		return fail(err)
	}
	times := 1
	if _, err := d.NegotiateRate(rate); err != nil { // many know only 44,100 and 48,000
		if times = 2; rate > 24_000 {
			return fail(err)
		}
		if _, err := d.NegotiateRate(2 * rate); err != nil {
			return fail(err)
		}
	}
	if _, err := d.NegotiateFormat(alsa.S16_LE); err != nil {
		return fail(err)
	}
	if _, err := d.NegotiatePeriodSize(piece, 2048, 4096); err != nil {
		return fail(err)
	}
	if _, err := d.NegotiateBufferSize(4*piece, 8192, 16384); err != nil {
		return fail(err)
	}
	if err := d.Prepare(); err != nil {
		return fail(err)
	}
	frames := spread(samples, channels, times)
	for size := 2 * channels; len(frames) > 0 && ctx.Err() == nil; {
		n := min(len(frames), piece*size)
		if err := d.Write(frames[:n], n/size); err != nil {
			return fail(err)
		}
		frames = frames[n:]
	}
	return ctx.Err()
}

// spread repeats each sample on all channels, and so many times in a row, and
// adds quiet that fills the card's buffer: what is before it is heard.
func spread(samples []int16, channels, times int) []byte {
	b := make([]byte, 0, (len(samples)+4*piece)*channels*times*2)
	for _, s := range samples {
		for range channels * times {
			b = append(b, byte(s), byte(uint16(s)>>8))
		}
	}
	return append(b, make([]byte, 4*piece*channels*2)...)
}
