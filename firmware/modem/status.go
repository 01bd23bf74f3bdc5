package modem

import (
	"context"
	"encoding/hex"
	"errors"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// look asks for everything that State tells, and tells it.
func (s *session) look(ctx context.Context) error {
	was := s.told
	restarted, err := s.restarted()
	if err != nil {
		return err
	}
	st, err := s.status(ctx)
	if err != nil {
		return err
	}
	if st.SIM == SIMReady && (restarted || was.SIM != SIMReady) {
		if err := s.receive(); err != nil {
			return err
		}
	}
	s.told = st
	s.state.Store(&st)
	if st != was {
		s.log.Info("modem", "sim", st.SIM, "registered", st.Registered, "operator", st.Operator, "rat", st.RAT, "dbm", st.SignalDBm)
	}
	if s.o.OnState != nil {
		s.o.OnState(st)
	}
	if st.SIM == SIMReady { // an indication may have been lost
		return s.collect()
	}
	return nil
}

// restarted reports whether the modem has forgotten what it was told: it was
// without power for a moment, or its SIM was changed, while its port stayed. It
// is told again.
func (s *session) restarted() (bool, error) {
	info, err := s.ask("+CMEE?")
	if errors.Is(err, ErrLost) {
		return false, err
	}
	for _, line := range info {
		if value(line, "+CMEE") == "0" {
			s.log.Warn("the modem has restarted")
			return true, s.reset()
		}
	}
	return false, nil
}

// receive has messages kept and told of, and forgets none that came before.
func (s *session) receive() error {
	for _, cmd := range []string{
		"+CMGF=0",            // PDU mode (27.005, 3.2.3)
		"+CNMI=2,1,0,0,0",    // to the SIM, and say so (3.4.1): what a crash interrupts is read again
		"+COPS=3,0",          // names of operators in letters (27.007, 7.3)
		"+CREG=0", "+CSMS=0", // no other indications; refused by some modems
	} {
		if _, err := s.ask(cmd); err != nil {
			if errors.Is(err, ErrLost) {
				return err
			}
			s.log.Debug("modem refuses", "command", cmd, "err", err)
		}
	}
	return nil
}

func (s *session) status(ctx context.Context) (State, error) {
	sim, err := s.sim(ctx)
	st := State{SIM: sim}
	if err != nil || sim != SIMReady {
		return st, err
	}
	steps := []struct {
		cmd  string
		take func(info []string)
	}{
		{"+CREG?", st.registration},
		{"+CGREG?", st.registration},
		{"+CEREG?", st.registration},
		{"+COPS?", st.operator},
		{"+CESQ", st.extended},
		{"+CSQ", st.quality},
	}
	for _, step := range steps {
		info, err := s.ask(step.cmd)
		switch {
		case errors.Is(err, ErrLost):
			return st, err
		case err == nil:
			step.take(info)
		}
	}
	if !st.Registered {
		st.Operator, st.Roaming = "", false
	}
	return st, nil
}

// value returns what stands behind "cmd:" in a line, or "".
func value(line, cmd string) string {
	v, ok := strings.CutPrefix(line, cmd+":")
	if !ok {
		return ""
	}
	return strings.TrimSpace(v)
}

// fields splits a list at the commas outside of quotes, and takes those away.
func fields(v string) []string {
	var out []string
	var b strings.Builder
	quoted := false
	for _, c := range v {
		switch {
		case c == '"':
			quoted = !quoted
		case c == ',' && !quoted:
			out = append(out, strings.TrimSpace(b.String()))
			b.Reset()
		default:
			b.WriteRune(c)
		}
	}
	return append(out, strings.TrimSpace(b.String()))
}

func number(list []string, i int) (int, bool) {
	if i >= len(list) {
		return 0, false
	}
	n, err := strconv.Atoi(list[i])
	return n, err == nil
}

// registration reads +CREG, +CGREG and +CEREG: mode, state (27.007, 7.2).
func (s *State) registration(info []string) {
	for _, line := range info {
		for _, cmd := range []string{"+CREG", "+CGREG", "+CEREG"} {
			n, ok := number(fields(value(line, cmd)), 1)
			if !ok {
				continue
			}
			switch n {
			case 1, 6: // 6: for SMS only
				s.Registered, s.Roaming = true, false
			case 5, 7:
				if !s.Registered {
					s.Registered, s.Roaming = true, true
				}
			}
		}
	}
}

// operator reads +COPS: mode, format, name, access technology (27.007, 7.3).
func (s *State) operator(info []string) {
	for _, line := range info {
		f := fields(value(line, "+COPS"))
		if len(f) < 3 {
			continue
		}
		s.Operator = short(letters(f[2]))
		switch n, ok := number(f, 3); {
		case !ok:
		case n == 0 || n == 1 || n == 3 || n == 8:
			s.RAT = "gsm"
		case n == 2 || n >= 4 && n <= 6:
			s.RAT = "umts"
		case n == 7 || n == 9:
			s.RAT = "lte"
		case n >= 10 && n <= 13:
			s.RAT = "nr"
		}
	}
}

// letters undoes UCS2 in hexadecimal digits, which some modems give for names
// that have no Latin letters.
func letters(name string) string {
	b, err := hex.DecodeString(name)
	if err != nil || len(b) == 0 || len(b)%2 != 0 || len(name) < 8 {
		return name
	}
	units := make([]uint16, 0, len(b)/2)
	for i := 0; i < len(b); i += 2 {
		units = append(units, uint16(b[i])<<8|uint16(b[i+1]))
	}
	return string(utf16.Decode(units))
}

// short bounds a name to what health may carry.
func short(name string) string {
	name = strings.ToValidUTF8(name, "")
	for len(name) > 32 {
		_, n := utf8.DecodeLastRuneInString(name)
		name = name[:len(name)-n]
	}
	return name
}

// extended reads +CESQ: rxlev, ber, rscp, ecno, rsrq, rsrp (27.007, 8.69).
func (s *State) extended(info []string) {
	for _, line := range info {
		f := fields(value(line, "+CESQ"))
		for _, q := range []struct{ at, most, zero int }{{5, 97, -141}, {2, 96, -121}, {0, 63, -111}} {
			if n, ok := number(f, q.at); ok && n >= 0 && n <= q.most {
				s.SignalDBm = q.zero + n
				return
			}
		}
	}
}

// quality reads +CSQ: rssi, ber (27.007, 8.5), where +CESQ told nothing.
func (s *State) quality(info []string) {
	for _, line := range info {
		if n, ok := number(fields(value(line, "+CSQ")), 0); ok && s.SignalDBm == 0 && n >= 0 && n <= 31 {
			s.SignalDBm = -113 + 2*n
		}
	}
}
