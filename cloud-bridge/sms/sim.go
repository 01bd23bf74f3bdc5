package sms

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/warthog618/modem/at"
)

// A ModemState is what keeps the centre's modem from its work. The metric
// fengsui_sms_modem{state} is 1 for the one that holds.
type ModemState string

// The states of the centre's modem.
const (
	ModemReady     ModemState = "ready"
	ModemLost      ModemState = "lost"       // it does not answer, or its port is gone
	ModemNoNetwork ModemState = "no_network" // no network has taken it
	ModemNoSIM     ModemState = "no_sim"     // none, or it has failed
	ModemPIN       ModemState = "pin"        // the SIM wants a PIN, or did not accept the one that it got
	ModemPUK       ModemState = "puk"        // the SIM is locked
)

var modemStates = []ModemState{ModemReady, ModemLost, ModemNoNetwork, ModemNoSIM, ModemPIN, ModemPUK}

// modemIs notes the modem's state.
func (d *Desk) modemIs(state ModemState) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.state = state
	for _, s := range modemStates {
		v := 0.0
		if s == state {
			v = 1
		}
		d.modem.WithLabelValues(string(s)).Set(v)
	}
}

// ModemState returns the state of the centre's modem, "" without one.
func (d *Desk) ModemState() ModemState {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.state
}

const (
	pinWithin = 20 * time.Second // of a PIN: the SIM itself answers
	simWithin = 15 * time.Second // until it is ready after that
)

// unlock sees that the SIM is ready, and gives it its PIN if it wants one.
func (s *modem) unlock(ctx context.Context, pins *tries) (ModemState, error) {
	state, err := s.sim()
	if state != ModemPIN {
		return state, err
	}
	if pins.pin == "" {
		return state, fmt.Errorf("%w; --sms-pin gives it", err)
	}
	card := s.card()
	if !pins.may(card) {
		return state, errors.New("the SIM did not accept its PIN, which is not given to it again: the third that is wrong locks it")
	}
	if info, err := s.gsm.Command(`+CPINR="SIM PIN"`); err == nil { // 3GPP TS 27.007: how many tries are left
		for _, line := range info {
			if f := strings.Split(line, ","); len(f) > 1 && strings.TrimSpace(f[1]) == "1" {
				return state, errors.New("the SIM has one try of its PIN left, which is a person's")
			}
		}
	}
	pins.giving(card)
	_, refusal := s.gsm.Command(`+CPIN="`+pins.pin+`"`, at.WithTimeout(pinWithin))
	var cme at.CMEError
	refused := errors.As(refusal, &cme) || errors.Is(refusal, at.ErrError)
	// What the SIM then wants tells whether it accepted, also when the answer was
	// lost on the line. It takes a moment.
	for began := time.Now(); ; {
		if state, err = s.sim(); state == ModemReady || state == ModemPUK || refused || time.Since(began) >= simWithin {
			break
		}
		if !sleep(ctx, time.Second) {
			return state, ctx.Err()
		}
	}
	switch state {
	case ModemReady:
		pins.accepted(card)
		return state, nil
	case ModemPIN, ModemPUK:
		pins.refused(card)
		return state, fmt.Errorf("the SIM does not accept its PIN, which is not given to it again: %w", errors.Join(err, refusal))
	}
	return state, err
}

// sim asks what the SIM wants (27.007, 8.3 and 9.2). The error is nil when it is
// ready.
func (s *modem) sim() (ModemState, error) {
	info, err := s.gsm.Command("+CPIN?")
	var cme at.CMEError
	switch {
	case errors.As(err, &cme) && (cme == "11" || cme == "17"):
		return ModemPIN, errors.New("the SIM wants a PIN")
	case errors.As(err, &cme) && (cme == "12" || cme == "18"):
		return ModemPUK, errors.New("the SIM is locked and wants its PUK")
	case errors.As(err, &cme), errors.Is(err, at.ErrError):
		return ModemNoSIM, fmt.Errorf("no SIM: AT+CPIN: %w", err)
	case err != nil:
		return ModemLost, fmt.Errorf("AT+CPIN: %w", err)
	}
	switch v := strings.Join(info, " "); {
	case strings.Contains(v, "READY"):
		return ModemReady, nil
	case strings.Contains(v, "PUK"):
		return ModemPUK, errors.New("the SIM is locked and wants its PUK")
	case strings.Contains(v, "PIN"):
		return ModemPIN, errors.New("the SIM wants a PIN")
	default:
		return ModemNoSIM, fmt.Errorf("no SIM: AT+CPIN: %q", v)
	}
}

// card returns the SIM's number (ICCID), "" where the modem does not tell it.
// Each maker has a command of its own for it.
func (s *modem) card() string {
	for _, cmd := range []string{"+CCID", "+QCCID", "+ICCID", "^ICCID?"} {
		info, err := s.gsm.Command(cmd)
		if err != nil {
			continue
		}
		for _, line := range info {
			if _, v, ok := strings.Cut(line, ":"); ok {
				line = v
			}
			line = strings.TrimRight(strings.Trim(strings.TrimSpace(line), `"`), "Ff") // a filler of 19 digits
			if len(line) >= 18 && len(line) <= 20 && strings.Trim(line, "0123456789") == "" {
				return line
			}
		}
	}
	return ""
}

// restarted returns an error when the modem has forgotten what it was told: it
// was without power for a moment, or its SIM was changed, while its port stayed.
func (s *modem) restarted() error {
	info, _ := s.gsm.Command("+CMEE?") // some do not tell
	for _, line := range info {
		if v, ok := strings.CutPrefix(line, "+CMEE:"); ok && strings.TrimSpace(v) == "0" {
			return errors.New("it has restarted")
		}
	}
	return nil
}

// network tells whether a network has the modem (27.007, 7.2 and 10.1); one that
// does not tell has.
func (s *modem) network() ModemState {
	state := ModemReady
	for _, cmd := range []string{"+CREG", "+CGREG", "+CEREG"} {
		info, err := s.gsm.Command(cmd + "?")
		if err != nil {
			continue
		}
		for _, line := range info {
			v, ok := strings.CutPrefix(line, cmd+":")
			f := strings.Split(v, ",")
			if !ok || len(f) < 2 {
				continue
			}
			switch n, _ := strconv.Atoi(strings.TrimSpace(f[1])); n {
			case 1, 5, 6, 7:
				return ModemReady
			}
			state = ModemNoNetwork
		}
	}
	return state
}

// tries remembers which SIM did not accept the PIN, over restarts too if it has
// a file: the third PIN that is wrong locks a SIM, and only its owner's PUK
// unlocks it. A try is written down before it is made, so that one that was cut
// short counts; the second such is the last.
//
// The file has a line for each try, "HASH CARD": the PIN's SHA-256 in hexadecimal
// and the SIM's number, which is empty where no modem told it.
type tries struct {
	pin, mark, path string
	lines           []string
	log             *slog.Logger
}

const mostTries = 2

func newTries(pin, path string, log *slog.Logger) *tries {
	sum := sha256.Sum256([]byte(pin))
	t := &tries{pin: pin, mark: hex.EncodeToString(sum[:]), path: path, log: log}
	if path == "" {
		return t
	}
	b, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		log.Error("the tries of the SIM's PIN are not known", "error", err)
	}
	t.lines = strings.FieldsFunc(string(b), func(c rune) bool { return c == '\n' })
	return t
}

func (t *tries) line(card string) string { return strings.TrimSpace(t.mark + " " + card) }

func (t *tries) count(card string) (n int) {
	for _, l := range t.lines {
		if l == t.line(card) {
			n++
		}
	}
	return n
}

func (t *tries) may(card string) bool { return t.count(card) < mostTries }

func (t *tries) giving(card string) {
	t.lines = append(t.lines, t.line(card))
	t.keep()
}

// accepted forgets the card's tries, of whichever PIN.
func (t *tries) accepted(card string) {
	t.lines = slices.DeleteFunc(t.lines, func(l string) bool {
		_, of, _ := strings.Cut(l, " ")
		return of == card
	})
	t.keep()
}

func (t *tries) refused(card string) {
	for t.count(card) < mostTries {
		t.lines = append(t.lines, t.line(card))
	}
	t.keep()
}

// keep writes the file so that a power cut leaves it or the earlier one whole.
func (t *tries) keep() {
	if t.path == "" {
		return
	}
	err := func() error {
		f, err := os.CreateTemp(filepath.Dir(t.path), ".new-*") // mode 0600
		if err != nil {
			return err
		}
		defer os.Remove(f.Name())
		_, err = f.WriteString(strings.Join(append(slices.Clone(t.lines), ""), "\n"))
		if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
			return err
		}
		if err := os.Rename(f.Name(), t.path); err != nil {
			return err
		}
		dir, err := os.Open(filepath.Dir(t.path))
		if err != nil {
			return err
		}
		return errors.Join(dir.Sync(), dir.Close())
	}()
	if err != nil {
		t.log.Error("the tries of the SIM's PIN are not kept", "error", err)
	}
}
