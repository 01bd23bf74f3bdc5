package modem

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/warthog618/modem/at"
)

// sim returns the SIM's state, and gives it its PIN: each time that the modem
// has restarted and asks anew, but to a SIM that did not accept it never again.
func (s *session) sim(ctx context.Context) (string, error) {
	state, err := s.pinState()
	if err != nil || state != SIMPIN || s.o.PIN == "" {
		return state, err
	}
	card, err := s.card()
	if err != nil {
		return "", err
	}
	if s.refused[card] || s.o.PINs != nil && !s.o.PINs.May(card) {
		return SIMPIN, nil
	}
	left, err := s.triesLeft()
	if err != nil {
		return "", err
	}
	if left == 1 {
		if s.told.SIM != SIMPIN { // not at each look
			s.log.Error("the SIM has one try of its PIN left, which is a person's", "card", card)
		}
		return SIMPIN, nil
	}
	if s.o.PINs != nil {
		s.o.PINs.Giving(card)
	}
	_, refusal := s.ask(`+CPIN="`+s.o.PIN+`"`, at.WithTimeout(pinWithin))
	if errors.Is(refusal, ErrLost) {
		return "", refusal
	}
	// What the SIM then wants tells whether it accepted, also when the answer was
	// lost on the line. It takes a moment.
	for began := time.Now(); ; {
		if state, err = s.pinState(); err != nil {
			return state, err
		}
		if state == SIMReady || state == SIMPUK || isRefusal(refusal) || time.Since(began) >= simWithin {
			break
		}
		t := time.NewTimer(time.Second)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return state, ctx.Err()
		}
	}
	switch {
	case state == SIMReady:
		if s.o.PINs != nil {
			s.o.PINs.Accepted(card)
		}
		return state, nil
	case state == SIMAbsent: // it has failed, and said nothing of the PIN
		return state, nil
	}
	s.refused[card] = true
	s.log.Error("the SIM does not accept its PIN, which is not given to it again", "card", card, "sim", state, "err", refusal)
	if s.o.PINs != nil {
		s.o.PINs.Refused(card)
	}
	return state, nil
}

// isRefusal reports whether the modem itself said no.
func isRefusal(err error) bool {
	var cme at.CMEError
	return errors.As(err, &cme) || errors.Is(err, at.ErrError)
}

// card returns the SIM's number (ICCID), "" where the modem does not tell it.
// Each maker has a command of its own for it: SIMCom and u-blox, Quectel, ZTE
// and Sierra, Huawei.
func (s *session) card() (string, error) {
	for _, cmd := range []string{"+CCID", "+QCCID", "+ICCID", "^ICCID?"} {
		info, err := s.ask(cmd)
		if errors.Is(err, ErrLost) {
			return "", err
		}
		for _, line := range info {
			if _, v, ok := strings.Cut(line, ":"); ok {
				line = v
			}
			line = strings.TrimRight(strings.Trim(strings.TrimSpace(line), `"`), "Ff") // a filler of 19 digits
			if len(line) >= 18 && len(line) <= 20 && strings.Trim(line, "0123456789") == "" {
				return line, nil
			}
		}
	}
	return "", nil
}

// triesLeft returns how often the PIN may still be wrong (27.007, +CPINR), 0
// where the modem does not tell.
func (s *session) triesLeft() (int, error) {
	info, err := s.ask(`+CPINR="SIM PIN"`)
	if errors.Is(err, ErrLost) {
		return 0, err
	}
	for _, line := range info {
		if n, ok := number(fields(value(line, "+CPINR")), 1); ok {
			return n, nil
		}
	}
	return 0, nil
}

func (s *session) pinState() (string, error) {
	info, err := s.ask("+CPIN?")
	if errors.Is(err, ErrLost) {
		return "", err
	}
	var cme at.CMEError
	if errors.As(err, &cme) { // 27.007, 9.2
		switch string(cme) {
		case "11", "17":
			return SIMPIN, nil
		case "12", "18":
			return SIMPUK, nil
		}
		return SIMAbsent, nil
	}
	if err != nil {
		return SIMAbsent, nil
	}
	for _, line := range info {
		switch v := value(line, "+CPIN"); {
		case v == "READY":
			return SIMReady, nil
		case strings.HasSuffix(v, "PUK"), strings.HasSuffix(v, "PUK2"):
			return SIMPUK, nil
		case v != "":
			return SIMPIN, nil
		}
	}
	return SIMAbsent, nil
}
