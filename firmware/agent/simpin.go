package agent

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/fengsui/fengsui/firmware/config"
	"github.com/fengsui/fengsui/firmware/internal/durable"
	"github.com/fengsui/fengsui/firmware/modem"
)

// simTries keeps, in a file of the data folder, which SIM did not accept the
// configured PIN: no restart gives it a wrong one again, for the third locks it.
// A try is written down before it is made, so that a power cut in the middle of
// it counts as well; the second such is the last.
//
// The file has a line for each try, "HASH CARD": the PIN's SHA-256 in hexadecimal
// and the SIM's number. A line without a card is of one whose number no modem told.
type simTries struct {
	path, mark string
	log        *slog.Logger
}

// most is how many tries in a row may stay without an answer.
const most = 2

// SIMTries returns what remembers the tries of the PIN of a device's modem.
func SIMTries(cfg *config.Config, log *slog.Logger) modem.PINs {
	sum := sha256.Sum256([]byte(cfg.Modem.PIN))
	return &simTries{filepath.Join(cfg.Data, "sim-pin-refused"), hex.EncodeToString(sum[:]), log}
}

// lines returns the file's lines, and how many of them are of the PIN and a card.
func (t *simTries) lines(card string) (all []string, n int) {
	b, err := os.ReadFile(t.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.log.Error("the tries of the SIM's PIN are not known", "err", err)
	}
	all = strings.FieldsFunc(string(b), func(c rune) bool { return c == '\n' })
	for _, l := range all {
		if l == t.line(card) {
			n++
		}
	}
	return all, n
}

func (t *simTries) line(card string) string { return strings.TrimSpace(t.mark + " " + card) }

func (t *simTries) write(lines []string) {
	if err := durable.WriteFile(t.path, []byte(strings.Join(lines, "\n")+"\n")); err != nil {
		t.log.Error("the tries of the SIM's PIN are not kept", "err", err)
	}
}

func (t *simTries) May(card string) bool {
	_, n := t.lines(card)
	return n < most
}

func (t *simTries) Giving(card string) {
	all, _ := t.lines(card)
	t.write(append(all, t.line(card)))
}

// Accepted forgets the card's tries, of whichever PIN.
func (t *simTries) Accepted(card string) {
	all, _ := t.lines(card)
	kept := slices.DeleteFunc(all, func(l string) bool {
		_, of, _ := strings.Cut(l, " ")
		return of == card
	})
	if len(kept) > 0 {
		t.write(kept)
	} else if err := os.Remove(t.path); err != nil {
		t.log.Error("the tries of the SIM's PIN are not kept", "err", err)
	}
}

func (t *simTries) Refused(card string) {
	all, n := t.lines(card)
	for ; n < most; n++ {
		all = append(all, t.line(card))
	}
	t.write(all)
}
