package modem

import (
	"errors"
	"fmt"
	"strings"

	"github.com/warthog618/modem/at"
	"github.com/warthog618/modem/gsm"
	"github.com/warthog618/sms/encoding/pdumode"
	"github.com/warthog618/sms/encoding/tpdu"
)

// maxData is what one SMS of 8-bit data carries, without a header (3GPP
// TS 23.040, section 9.2.3.24).
const maxData = 140

// send sends one message.
func (s *session) send(msg message) error {
	if err := s.told.Err(); err != nil {
		return err
	}
	tp, err := tpdu.NewSubmit(tpdu.WithDA(tpdu.NewAddress(tpdu.FromNumber(msg.number))), tpdu.Dcs8BitData)
	if err != nil {
		return fmt.Errorf("SMS: %w", err)
	}
	tp.SetUD(msg.data)
	b, err := tp.MarshalBinary()
	if err != nil {
		return fmt.Errorf("SMS to %q: %w", msg.number, err)
	}
	_, err = s.gsm.SendPDU(b, at.WithTimeout(sendWithin))
	var cms at.CMSError
	var cme at.CMEError
	switch {
	case err == nil:
		s.missed = 0
		return nil
	case errors.As(err, &cms), errors.As(err, &cme), errors.Is(err, gsm.ErrMalformedResponse), errors.Is(err, at.ErrError):
		s.missed = 0
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	if err = s.judge("+CMGS", err); errors.Is(err, ErrLost) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrRefused, err)
}

// collect reads all messages that the SIM has, hands them over and deletes
// them (27.005, 3.4.2 and 3.5.4).
func (s *session) collect() error {
	info, err := s.ask("+CMGL=4")
	if err != nil {
		if errors.Is(err, ErrLost) {
			return err
		}
		s.log.Debug("messages not listed", "err", err)
		return nil
	}
	for i, line := range info {
		f := fields(value(line, "+CMGL"))
		place, ok := number(f, 0)
		if !ok {
			continue
		}
		length, _ := number(f, len(f)-1)
		if pdu := find(info[i+1:], length); pdu == "" {
			if s.garbled[place]++; s.garbled[place] < most { // noise on the line: it may read better
				continue
			}
		} else if !s.take(pdu) {
			continue
		}
		delete(s.garbled, place)
		if _, err := s.ask(fmt.Sprintf("+CMGD=%d", place)); errors.Is(err, ErrLost) {
			return err
		}
	}
	return nil
}

// find returns the PDU behind a line of +CMGL, which is so many bytes long
// behind the address of the service centre; "" when there is none. What comes
// in between is no part of it.
func find(info []string, length int) string {
	for _, line := range info {
		if strings.HasPrefix(line, "+CMGL") {
			break
		}
		line = strings.TrimSpace(line)
		if p, err := pdumode.UnmarshalHexString(line); err == nil && len(p.TPDU) == length {
			return line
		}
	}
	return ""
}

// received takes a message that did not go to the SIM.
func (s *session) received(info []string) {
	if len(info) > 1 {
		s.take(info[1])
	}
}

// take hands a message over, if it may be one for us, and reports whether it is
// done with.
func (s *session) take(pdu string) bool {
	number, data, err := decode(pdu)
	if err != nil {
		s.log.Debug("SMS that is none of ours", "err", err)
		return true
	}
	return s.o.OnSMS == nil || s.o.OnSMS(number, data)
}

// decode takes an SMS-DELIVER of 8-bit data apart. A message of several parts
// is none of ours.
func decode(s string) (number string, data []byte, err error) {
	p, err := pdumode.UnmarshalHexString(strings.TrimSpace(s))
	if err != nil {
		return "", nil, fmt.Errorf("PDU: %w", err)
	}
	var tp tpdu.TPDU // from the network: SMS-DELIVER
	if err := tp.UnmarshalBinary(p.TPDU); err != nil {
		return "", nil, fmt.Errorf("TPDU: %w", err)
	}
	if tp.SmsType() != tpdu.SmsDeliver {
		return "", nil, fmt.Errorf("TPDU: %v: want a message", tp.SmsType())
	}
	if a, err := tp.Alphabet(); err != nil || a != tpdu.Alpha8Bit || len(tp.UDH) > 0 {
		return "", nil, errors.New("TPDU: want 8-bit data in one part")
	}
	return tp.OA.Number(), tp.UD, nil
}
