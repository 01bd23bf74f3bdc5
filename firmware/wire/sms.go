package wire

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"strings"
	"time"
	"unicode/utf8"
)

// The second path: an alarm that the centre has not acknowledged goes there in
// one SMS a press, of 8-bit data (3GPP TS 23.038, section 4), and the centre
// answers the same way. A message is a payload, whose bytes are laid out below,
// and behind it an Ed25519 signature (RFC 8032) of 64 bytes over
//
//	"fs/v1/sms/alarm" or "fs/v1/sms/answer", the device's id, a zero byte, the payload
//
// by the device, or by the centre. Numbers are unsigned and big-endian unless
// they say otherwise; one that does not fit its field is the field's highest.
//
//	alarm                                           answer
//	 0  1  0x11                                      0  1  0x12
//	 1  1  flags: 1 silent, 2 drill, 4 position,     1  1  0
//	       8 and 16 the position's source
//	 2  1  kind of alarm                             2  1  state: 0 stored, or a notice's
//	 3  6  tag of the device: SHA-256 of its id      3  6  tag of the device
//	 9  8  stream of the press's event               9  8  alarm
//	17  6  its number in the alarm lane             17  2  presses that are stored
//	23  8  its hash, the first half of Hash         19  4  revision of the notice; 0: none
//	31  8  alarm                                    23  6  the centre's clock, ms since 1970
//	39  2  press                                    29  1  length of the unit's name
//	41  4  boot                                     30  …  the name, 46 bytes at most
//	45  5  ms since the boot's start
//	50  6  wall time, ms since 1970
//	56  1  its source
//	57  4  its uncertainty, ± ms
//	61  4  latitude, signed, degrees × 10⁷
//	65  4  longitude, signed
//	69  3  age of the fix, s
//	72  1  HDOP × 10
//
// Of a later version, a payload may be longer, and more flags may be set: what
// is not known here is passed over.
const (
	// MaxSMS is what one SMS of 8-bit data carries (3GPP TS 23.040, section 9.2.3.24).
	MaxSMS = 140

	smsAlarm     = 0x11
	smsAnswer    = 0x12
	smsAlarmLen  = 73
	smsAnswerLen = 30
	smsPayload   = MaxSMS - ed25519.SignatureSize
	maxSMSUnit   = smsPayload - smsAnswerLen

	smsSilent, smsDrill, smsPosition = 1, 2, 4
)

// An SMSTag stands for a device's id where there is no room for it.
type SMSTag [6]byte

// SMSTagOf returns the tag of a device: the beginning of the SHA-256 of its id.
func SMSTagOf(device string) SMSTag {
	sum := sha256.Sum256([]byte(device))
	return SMSTag(sum[:6])
}

// An SMSAlarm is a press as the second path tells it: what the event of it
// says, as far as there is room. It says so beside that event, which comes as
// soon as it can.
type SMSAlarm struct {
	Device   string
	Stream   StreamID // Stream, Seq and Hash name the event of the press
	Seq      uint64
	Hash     [8]byte // the first half of the event's [Hash]
	Alarm    AlarmID
	Kind     AlarmKind
	Silent   bool
	Drill    bool
	Press    uint64 // 65535: that or more
	Boot     uint64
	Mono     time.Duration
	Wall     Wall
	Position *Position // its age in whole seconds
}

// SMSAlarmOf returns what the second path tells of an event that reports a
// press; msg is the event as it is sealed. The error wraps [ErrMessage].
func SMSAlarmOf(e *Event, msg []byte) (*SMSAlarm, error) {
	b, ok := e.Body.(*AlarmRaised)
	if !ok {
		return nil, bad("body", e.Body.Type(), "alarm_raised")
	}
	hash := HashOf(msg)
	return &SMSAlarm{
		Device: e.Device, Stream: e.Stream, Seq: e.Seq, Hash: [8]byte(hash[:8]),
		Alarm: b.Alarm, Kind: b.Kind, Silent: b.Silent, Drill: e.Drill, Press: b.Press,
		Boot: e.Boot, Mono: e.Mono, Wall: e.Wall, Position: b.Position,
	}, nil
}

// Event returns the event that an SMS stands for, as far as it says.
func (a *SMSAlarm) Event() *Event {
	return &Event{
		Device: a.Device, Stream: a.Stream, Lane: Alarm, Seq: a.Seq, Boot: a.Boot, Mono: a.Mono, Wall: a.Wall, Drill: a.Drill,
		Body: &AlarmRaised{Alarm: a.Alarm, Kind: a.Kind, Silent: a.Silent, Press: a.Press, Position: a.Position},
	}
}

// SealSMSAlarm lays out and signs a press. The error wraps [ErrMessage].
func SealSMSAlarm(a *SMSAlarm, key ed25519.PrivateKey) ([]byte, error) {
	if err := a.validate(); err != nil {
		return nil, err
	}
	p := make([]byte, smsAlarmLen)
	p[0], p[2] = smsAlarm, byte(a.Kind)
	tag := SMSTagOf(a.Device)
	copy(p[3:], tag[:])
	copy(p[9:], a.Stream[:])
	put(p[17:23], a.Seq)
	copy(p[23:], a.Hash[:])
	copy(p[31:], a.Alarm[:])
	put(p[39:41], a.Press)
	put(p[41:45], a.Boot)
	put(p[45:50], uint64(max(a.Mono, 0).Milliseconds()))
	put(p[50:56], uint64(max(a.Wall.UnixMilli, 0)))
	p[56] = byte(a.Wall.Source)
	put(p[57:61], uint64(max(a.Wall.Uncertainty, 0).Milliseconds()))
	if a.Silent {
		p[1] |= smsSilent
	}
	if a.Drill {
		p[1] |= smsDrill
	}
	if f := a.Position; f != nil {
		p[1] |= smsPosition | byte(f.Source&3)<<3
		binary.BigEndian.PutUint32(p[61:], uint32(int32(f.LatE7)))
		binary.BigEndian.PutUint32(p[65:], uint32(int32(f.LonE7)))
		put(p[69:72], (f.AgeMs+999)/1000)
		put(p[72:73], f.HDOP)
	}
	return signSMS(p, "alarm", a.Device, key)
}

func (a *SMSAlarm) validate() error {
	switch {
	case ValidDevice(a.Device) != nil:
		return bad("device", a.Device, "a device id")
	case a.Kind == 0 || a.Kind > 255:
		return bad("kind", a.Kind, "1 to 255")
	case a.Press == 0:
		return bad("press", a.Press, "1 or more")
	case a.Seq == 0:
		return bad("seq", a.Seq, "1 or more")
	case a.Boot == 0:
		return bad("boot", a.Boot, "1 or more")
	case a.Wall.UnixMilli > maxWall:
		return bad("wall", a.Wall.UnixMilli, "0 to 253402300799999 milliseconds since 1970")
	}
	return a.Position.validate()
}

// TagOfSMS tells whose alarm a message is, without believing it. The error
// wraps [ErrEnvelope].
func TagOfSMS(msg []byte) (SMSTag, error) {
	p, _, err := splitSMS(msg, smsAlarm, smsAlarmLen)
	if err != nil {
		return SMSTag{}, err
	}
	return SMSTag(p[3:9]), nil
}

// OpenSMSAlarm verifies a press with the key of the device that [TagOfSMS]
// names. The error wraps [ErrEnvelope], [ErrSignature] or [ErrMessage].
func OpenSMSAlarm(msg []byte, device string, pub ed25519.PublicKey) (*SMSAlarm, error) {
	p, err := openSMS(msg, smsAlarm, smsAlarmLen, "alarm", device, pub)
	if err != nil {
		return nil, err
	}
	a := &SMSAlarm{
		Device: device, Stream: StreamID(p[9:17]), Seq: get(p[17:23]), Hash: [8]byte(p[23:31]), Alarm: AlarmID(p[31:39]),
		Kind: AlarmKind(p[2]), Silent: p[1]&smsSilent != 0, Drill: p[1]&smsDrill != 0, Press: get(p[39:41]),
		Boot: get(p[41:45]), Mono: time.Duration(get(p[45:50])) * time.Millisecond,
		Wall: Wall{int64(get(p[50:56])), WallSource(p[56]), time.Duration(get(p[57:61])) * time.Millisecond},
	}
	if p[1]&smsPosition != 0 {
		a.Position = &Position{
			LatE7: int64(int32(binary.BigEndian.Uint32(p[61:]))), LonE7: int64(int32(binary.BigEndian.Uint32(p[65:]))),
			AgeMs: get(p[69:72]) * 1000, HDOP: get(p[72:73]), Source: PositionSource(p[1] >> 3 & 3),
		}
	}
	return a, a.validate()
}

// An SMSAnswer is the centre's word on an alarm that came by SMS: its database
// has it, and what became of it.
type SMSAnswer struct {
	Device     string
	Alarm      AlarmID
	Press      uint64      // presses up to this are stored; 65535: that or more
	State      NoticeState // 0: nothing beyond that
	Rev        uint64      // of the notice, when State is not 0
	CentreTime int64       // Unix milliseconds
	Unit       string      // who is coming; cut to 46 bytes
}

// Notice returns the notice that an answer carries, or nil.
func (a *SMSAnswer) Notice() *Notice {
	if a.State == 0 || a.Rev == 0 {
		return nil
	}
	return &Notice{Alarm: a.Alarm, Rev: a.Rev, State: a.State, Unit: a.Unit}
}

// SealSMSAnswer lays out and signs an answer. The error wraps [ErrMessage].
func SealSMSAnswer(a *SMSAnswer, key ed25519.PrivateKey) ([]byte, error) {
	switch {
	case ValidDevice(a.Device) != nil:
		return nil, bad("device", a.Device, "a device id")
	case a.State > 255:
		return nil, bad("state", a.State, "0 to 255")
	case a.Rev > math.MaxUint32:
		return nil, bad("rev", a.Rev, "0 to 4294967295")
	}
	p := make([]byte, smsAnswerLen, smsPayload)
	p[0], p[2] = smsAnswer, byte(a.State)
	tag := SMSTagOf(a.Device)
	copy(p[3:], tag[:])
	copy(p[9:], a.Alarm[:])
	put(p[17:19], a.Press)
	put(p[19:23], a.Rev)
	put(p[23:29], uint64(max(a.CentreTime, 0)))
	unit := cutText(a.Unit, maxSMSUnit)
	p[29] = byte(len(unit))
	return signSMS(append(p, unit...), "answer", a.Device, key)
}

// OpenSMSAnswer verifies an answer with the centre's key, and that it is for
// the device. The error wraps [ErrEnvelope], [ErrSignature] or [ErrMessage].
func OpenSMSAnswer(msg []byte, device string, pub ed25519.PublicKey) (*SMSAnswer, error) {
	p, err := openSMS(msg, smsAnswer, smsAnswerLen, "answer", device, pub)
	if err != nil {
		return nil, err
	}
	n := int(p[29])
	if n > len(p)-smsAnswerLen || !utf8.Valid(p[smsAnswerLen:smsAnswerLen+n]) {
		return nil, bad("unit of length", n, "UTF-8 that fits the message")
	}
	return &SMSAnswer{
		Device: device, Alarm: AlarmID(p[9:17]), Press: get(p[17:19]), State: NoticeState(p[2]), Rev: get(p[19:23]),
		CentreTime: int64(get(p[23:29])), Unit: string(p[smsAnswerLen : smsAnswerLen+n]),
	}, nil
}

func signSMS(p []byte, kind, device string, key ed25519.PrivateKey) ([]byte, error) {
	if len(key) != ed25519.PrivateKeySize {
		return nil, fmt.Errorf("seal: private key of %d bytes: want %d", len(key), ed25519.PrivateKeySize)
	}
	return append(p, ed25519.Sign(key, signedSMS(p, kind, device))...), nil
}

func signedSMS(p []byte, kind, device string) []byte {
	return append([]byte("fs/v1/sms/"+kind+device+"\x00"), p...)
}

// splitSMS parts payload and signature.
func splitSMS(msg []byte, first byte, least int) (p, sig []byte, err error) {
	n := len(msg) - ed25519.SignatureSize
	if n < least || len(msg) > MaxSMS {
		return nil, nil, fmt.Errorf("%w: SMS of %d bytes: want %d to %d", ErrEnvelope, len(msg), least+ed25519.SignatureSize, MaxSMS)
	}
	if msg[0] != first {
		return nil, nil, fmt.Errorf("%w: SMS that begins with %#02x: want %#02x", ErrEnvelope, msg[0], first)
	}
	return msg[:n], msg[n:], nil
}

func openSMS(msg []byte, first byte, least int, kind, device string, pub ed25519.PublicKey) ([]byte, error) {
	p, sig, err := splitSMS(msg, first, least)
	if err != nil {
		return nil, err
	}
	if tag := SMSTagOf(device); SMSTag(p[3:9]) != tag {
		return nil, bad("device's tag", fmt.Sprintf("%x", p[3:9]), fmt.Sprintf("%x, of %s", tag, device))
	}
	if len(pub) != ed25519.PublicKeySize || !ed25519.Verify(pub, signedSMS(p, kind, device), sig) {
		return nil, ErrSignature
	}
	return p, nil
}

// put writes n into all of b, or the highest number that fits.
func put(b []byte, n uint64) {
	if len(b) < 8 {
		n = min(n, 1<<(8*len(b))-1)
	}
	for i := len(b) - 1; i >= 0; i-- {
		b[i] = byte(n)
		n >>= 8
	}
}

func get(b []byte) (n uint64) {
	for _, c := range b {
		n = n<<8 | uint64(c)
	}
	return n
}

// cutText shortens a text to so many bytes, between two characters.
func cutText(s string, most int) string {
	s = strings.ToValidUTF8(s, "")
	if len(s) <= most {
		return s
	}
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most]
}
