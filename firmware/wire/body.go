package wire

import (
	"fmt"
	"strconv"

	"github.com/fxamacker/cbor/v2"
)

// A BodyType says what kind of thing an event reports.
type BodyType uint64

// The body types of this version.
const (
	TypeAlarmRaised   BodyType = 1
	TypeAlarmCleared  BodyType = 2
	TypeSignOn        BodyType = 16
	TypeSignOff       BodyType = 17
	TypeSignRefused   BodyType = 18
	TypeFault         BodyType = 19
	TypeHealth        BodyType = 20
	TypeNoticeShown   BodyType = 21
	TypeDropped       BodyType = 22
	TypeStreamStarted BodyType = 23
	TypeFingerChanged BodyType = 24
	TypeCommissioned  BodyType = 27
	TypeSecondPath    BodyType = 28
	TypeSounded       BodyType = 26
	TypeCheckIn       BodyType = 29
	TypeModeSet       BodyType = 30
	TypeTrackBatch    BodyType = 32

	TypeUnitAnswer     BodyType = 40
	TypeAttachmentPart BodyType = 41
	TypeNote           BodyType = 42
	TypeUnitState      BodyType = 43
)

// String returns the type's name as the centre's API gives it.
func (t BodyType) String() string {
	switch t {
	case TypeAlarmRaised:
		return "alarm_raised"
	case TypeAlarmCleared:
		return "alarm_cleared"
	case TypeSignOn:
		return "sign_on"
	case TypeSignOff:
		return "sign_off"
	case TypeSignRefused:
		return "sign_refused"
	case TypeFault:
		return "fault"
	case TypeHealth:
		return "health"
	case TypeNoticeShown:
		return "notice_shown"
	case TypeDropped:
		return "dropped"
	case TypeStreamStarted:
		return "stream_started"
	case TypeFingerChanged:
		return "finger_changed"
	case TypeCommissioned:
		return "commissioned"
	case TypeSecondPath:
		return "second_path"
	case TypeSounded:
		return "sounded"
	case TypeCheckIn:
		return "check_in"
	case TypeModeSet:
		return "mode_set"
	case TypeTrackBatch:
		return "track_batch"
	case TypeUnitAnswer:
		return "unit_answer"
	case TypeAttachmentPart:
		return "attachment_part"
	case TypeNote:
		return "note"
	case TypeUnitState:
		return "unit_state"
	}
	return fmt.Sprintf("body(%d)", uint64(t))
}

// A Body is what an event reports: one of the pointer types of this package.
type Body interface {
	Type() BodyType
	validate() error
}

// UnknownBody is the body of a type that this version does not know.
type UnknownBody struct {
	BodyType BodyType
	Raw      cbor.RawMessage // its CBOR, as it came
}

// Type returns the type that this version does not know.
func (b *UnknownBody) Type() BodyType { return b.BodyType }

func (b *UnknownBody) validate() error { return nil }

func encodeBody(b Body) (cbor.RawMessage, error) {
	if err := b.validate(); err != nil {
		return nil, fmt.Errorf("%v: %w", b.Type(), err)
	}
	switch b := b.(type) {
	case *UnknownBody:
		return b.Raw, nil
	case *TrackBatch:
		return encodeMap(b.pack(), b.Extra)
	}
	return encodeMap(b, *extraOf(b))
}

func decodeBody(t BodyType, raw cbor.RawMessage) (Body, error) {
	var b Body
	switch t {
	case TypeAlarmRaised:
		b = new(AlarmRaised)
	case TypeAlarmCleared:
		b = new(AlarmCleared)
	case TypeSignOn:
		b = new(SignOn)
	case TypeSignOff:
		b = new(SignOff)
	case TypeSignRefused:
		b = new(SignRefused)
	case TypeFault:
		b = new(Fault)
	case TypeHealth:
		b = new(Health)
	case TypeNoticeShown:
		b = new(NoticeShown)
	case TypeDropped:
		b = new(Dropped)
	case TypeStreamStarted:
		b = new(StreamStarted)
	case TypeFingerChanged:
		b = new(FingerChanged)
	case TypeCommissioned:
		b = new(Commissioned)
	case TypeSecondPath:
		b = new(SecondPath)
	case TypeSounded:
		b = new(Sounded)
	case TypeCheckIn:
		b = new(CheckIn)
	case TypeModeSet:
		b = new(ModeSet)
	case TypeUnitAnswer:
		b = new(UnitAnswer)
	case TypeAttachmentPart:
		b = new(AttachmentPart)
	case TypeNote:
		b = new(Note)
	case TypeUnitState:
		b = new(UnitState)
	case TypeTrackBatch:
		tb, err := decodeTrack(raw)
		if err != nil {
			return nil, fmt.Errorf("%v: %w", t, err)
		}
		return tb, nil
	default:
		if err := keepable(raw); err != nil {
			return nil, fmt.Errorf("body (14): %w", err)
		}
		return &UnknownBody{BodyType: t, Raw: append(cbor.RawMessage(nil), raw...)}, nil
	}
	extra, err := decodeMap(raw, b)
	if err == nil {
		*extraOf(b) = extra
		switch b := b.(type) { // an empty list says the same as none
		case *UnitAnswer:
			if len(b.Attachments) == 0 {
				b.Attachments = nil
			}
		case *Note:
			if len(b.Attachments) == 0 {
				b.Attachments = nil
			}
		}
		err = b.validate()
	}
	if err != nil {
		return nil, fmt.Errorf("%v: %w", t, err)
	}
	return b, nil
}

func extraOf(b Body) *Extra {
	switch b := b.(type) {
	case *AlarmRaised:
		return &b.Extra
	case *AlarmCleared:
		return &b.Extra
	case *SignOn:
		return &b.Extra
	case *SignOff:
		return &b.Extra
	case *SignRefused:
		return &b.Extra
	case *Fault:
		return &b.Extra
	case *Health:
		return &b.Extra
	case *NoticeShown:
		return &b.Extra
	case *Dropped:
		return &b.Extra
	case *StreamStarted:
		return &b.Extra
	case *FingerChanged:
		return &b.Extra
	case *Commissioned:
		return &b.Extra
	case *SecondPath:
		return &b.Extra
	case *Sounded:
		return &b.Extra
	case *CheckIn:
		return &b.Extra
	case *ModeSet:
		return &b.Extra
	case *UnitAnswer:
		return &b.Extra
	case *AttachmentPart:
		return &b.Extra
	case *Note:
		return &b.Extra
	case *UnitState:
		return &b.Extra
	}
	panic(fmt.Sprintf("wire: %T has no Extra", b)) // every Body but UnknownBody and TrackBatch is above
}

// name returns the n-th name, or what(n) where there is none.
func name(what string, n uint64, names ...string) string {
	if n < uint64(len(names)) && names[n] != "" {
		return names[n]
	}
	return what + "(" + strconv.FormatUint(n, 10) + ")"
}

func itoa(n int) string { return strconv.Itoa(n) }
