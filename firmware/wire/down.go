package wire

import (
	"crypto/ed25519"
	"fmt"

	"github.com/fxamacker/cbor/v2"
)

// A Window is what a device still holds of a lane: the numbers Oldest up to
// but not including Next. Equal numbers mean that it holds nothing.
type Window struct {
	_      struct{} `cbor:",toarray"`
	Oldest uint64   // the lowest number that the device may still send
	Next   uint64   // the number that the next event will take
}

// A Hello tells the centre what a device has, so that it can answer with an
// [Ack] and know what will never come. It is the device's heartbeat as well,
// every 30 s on a live connection, and a sign of life only when its Boot and
// MonoMs are past those of every earlier one of the stream.
//
// A device that saved events of an older stream says one for that stream too,
// which is no sign of life: Boot is then of the run that has it now, MonoMs 0.
type Hello struct {
	Device   string          `cbor:"1,keyasint"`
	Stream   StreamID        `cbor:"2,keyasint"`
	Boot     uint64          `cbor:"3,keyasint"`
	Firmware string          `cbor:"4,keyasint"`
	Window   map[Lane]Window `cbor:"5,keyasint"`
	MonoMs   uint64          `cbor:"6,keyasint,omitempty"` // milliseconds since the start of the boot; 0: not told
	Extra    Extra           `cbor:"-"`
}

// SealHello encodes and signs a hello.
func SealHello(h *Hello, key ed25519.PrivateKey) ([]byte, error) {
	if err := h.validate(); err != nil {
		return nil, err
	}
	return seal(h, h.Extra, aadHello, key)
}

// OpenHello verifies a sealed hello with the device's public key and decodes
// it. The error wraps [ErrEnvelope], [ErrSignature] or [ErrMessage].
func OpenHello(msg []byte, pub ed25519.PublicKey) (*Hello, error) {
	if len(pub) != ed25519.PublicKeySize {
		return nil, ErrSignature
	}
	payload, err := unseal(msg, aadHello, pub)
	if err != nil {
		return nil, err
	}
	h := new(Hello)
	if h.Extra, err = decodeMap(payload, h); err != nil {
		return nil, err
	}
	return h, h.validate()
}

func (h *Hello) validate() error {
	if err := ValidDevice(h.Device); err != nil {
		return bad("device (1)", h.Device, err.Error())
	}
	for l, w := range h.Window {
		switch {
		case w.Oldest == 0 || w.Oldest > w.Next:
			return bad("window (5) of "+l.String(), fmt.Sprintf("%d to %d", w.Oldest, w.Next), "1 ≤ oldest ≤ next")
		case w.Next >= 1<<63:
			return bad("window (5) of "+l.String(), w.Next, "less than 2^63")
		}
	}
	if h.MonoMs > maxMilli {
		return bad("mono (6)", h.MonoMs, "0 to 2^43 milliseconds")
	}
	return text("firmware (4)", h.Firmware, 64)
}

// A DownType says what kind of message the centre sent.
type DownType uint64

// The types of downlink messages.
const (
	TypeAck        DownType = 1
	TypeNotice     DownType = 2
	TypeSound      DownType = 3
	TypeAssignment DownType = 4
	TypeMode       DownType = 5
)

// A Down is a message from the centre to one device.
type Down struct {
	Device     string // whom it is for
	CentreTime int64  // the centre's clock at sending, Unix milliseconds
	Body       DownBody
	Extra      Extra
}

// A DownBody is *[Ack], *[Notice], *[Sound], *[Assignment], *[Mode] or
// *[UnknownDown].
type DownBody interface{ DownType() DownType }

// An Ack says that the centre's database holds every event of a stream up to
// a number in each lane, or that those it lacks will never come.
type Ack struct {
	Stream StreamID        `cbor:"1,keyasint"`
	UpTo   map[Lane]uint64 `cbor:"2,keyasint"`
	// Hash is of the stored event that UpTo names; a lane is absent when there is
	// none. A device that holds another event under that number deletes nothing:
	// its spool went back in time, or it has a twin.
	Hash map[Lane]Hash `cbor:"3,keyasint,omitempty"`
	Echo *Echo         `cbor:"4,keyasint,omitempty"` // of the hello that this answers; nil when it answers events
	// Kept names events that came again, or under a number that another event has
	// taken: they are stored, or kept aside, whatever UpTo and Hash say.
	Kept  []Hash `cbor:"5,keyasint,omitempty"`
	Extra Extra  `cbor:"-"`
}

// An Echo repeats the times of a hello, so that the device knows how long the
// answer took and how well it knows the centre's time.
type Echo struct {
	Boot   uint64 `cbor:"1,keyasint"`
	MonoMs uint64 `cbor:"2,keyasint"`
}

// A NoticeState is how far the centre has got with an alarm.
type NoticeState uint64

// The states of a notice, in their order.
const (
	NoticeAcknowledged NoticeState = 1 // a person at the centre has taken it
	NoticeDispatched   NoticeState = 2 // the unit it names is coming
	NoticeClosed       NoticeState = 3 // reset the alarm
)

// String returns "acknowledged", "dispatched", "closed" or "state(n)".
func (s NoticeState) String() string {
	return name("state", uint64(s), "", "acknowledged", "dispatched", "closed")
}

// A Notice tells a device what became of an alarm. A device ignores a notice
// whose revision is not higher than the last it has shown for that alarm, but
// answers it again with [NoticeShown].
type Notice struct {
	Alarm AlarmID     `cbor:"1,keyasint"`
	Rev   uint64      `cbor:"2,keyasint"` // rises with each change of the incident
	State NoticeState `cbor:"3,keyasint"`
	Unit  string      `cbor:"4,keyasint,omitempty"` // who is coming, when State is NoticeDispatched
	Extra Extra       `cbor:"-"`
}

// UnknownDown is a downlink message of a type that this version does not know.
type UnknownDown struct {
	Type DownType
	Raw  cbor.RawMessage
}

// DownType returns [TypeAck].
func (*Ack) DownType() DownType { return TypeAck }

// DownType returns [TypeNotice].
func (*Notice) DownType() DownType { return TypeNotice }

// DownType returns the type that this version does not know.
func (u *UnknownDown) DownType() DownType { return u.Type }

type downMap struct {
	Device string          `cbor:"1,keyasint"`
	Time   int64           `cbor:"2,keyasint"`
	Type   DownType        `cbor:"3,keyasint"`
	Body   cbor.RawMessage `cbor:"4,keyasint"`
}

// SealDown encodes and signs a message from the centre.
func SealDown(d *Down, key ed25519.PrivateKey) ([]byte, error) {
	if err := ValidDevice(d.Device); err != nil {
		return nil, bad("device (1)", d.Device, err.Error())
	}
	var raw cbor.RawMessage
	var err error
	switch b := d.Body.(type) {
	case *Ack:
		raw, err = encodeMap(b, b.Extra)
	case *Notice:
		if err = b.validate(); err == nil {
			raw, err = encodeMap(b, b.Extra)
		}
	case *Sound:
		if err = b.validate(); err == nil {
			raw, err = encodeMap(b, b.Extra)
		}
	case *Assignment:
		if err = b.validate(); err == nil {
			raw, err = encodeMap(b, b.Extra)
		}
	case *Mode:
		if err = b.validate(); err == nil {
			raw, err = encodeMap(b, b.Extra)
		}
	case *UnknownDown:
		raw = b.Raw
	default:
		err = bad("body (4)", fmt.Sprintf("%T", d.Body), "*Ack, *Notice, *Sound, *Assignment, *Mode or *UnknownDown")
	}
	if err != nil {
		return nil, err
	}
	m := downMap{d.Device, d.CentreTime, d.Body.DownType(), raw}
	if err := m.validate(); err != nil {
		return nil, err
	}
	return seal(m, d.Extra, aadDown, key)
}

// OpenDown verifies a message with the centre's public key, decodes it, and
// checks that it is for the device. The error wraps [ErrEnvelope],
// [ErrSignature] or [ErrMessage].
func OpenDown(msg []byte, pub ed25519.PublicKey, device string) (*Down, error) {
	if len(pub) != ed25519.PublicKeySize {
		return nil, ErrSignature
	}
	payload, err := unseal(msg, aadDown, pub)
	if err != nil {
		return nil, err
	}
	var m downMap
	extra, err := decodeMap(payload, &m)
	if err != nil {
		return nil, err
	}
	if m.Device != device {
		return nil, bad("device (1)", m.Device, device)
	}
	if err := m.validate(); err != nil {
		return nil, err
	}
	d := &Down{Device: m.Device, CentreTime: m.Time, Extra: extra}
	switch m.Type {
	case TypeAck:
		a := new(Ack)
		a.Extra, err = decodeMap(m.Body, a)
		d.Body = a
	case TypeNotice:
		n := new(Notice)
		if n.Extra, err = decodeMap(m.Body, n); err == nil {
			err = n.validate()
		}
		d.Body = n
	case TypeSound:
		b := new(Sound)
		if b.Extra, err = decodeMap(m.Body, b); err == nil {
			err = b.validate()
		}
		d.Body = b
	case TypeAssignment:
		b := new(Assignment)
		if b.Extra, err = decodeMap(m.Body, b); err == nil {
			err = b.validate()
		}
		d.Body = b
	case TypeMode:
		b := new(Mode)
		if b.Extra, err = decodeMap(m.Body, b); err == nil {
			err = b.validate()
		}
		d.Body = b
	default:
		err = keepable(m.Body)
		d.Body = &UnknownDown{Type: m.Type, Raw: append(cbor.RawMessage(nil), m.Body...)}
	}
	if err != nil {
		return nil, err
	}
	return d, nil
}

func (m *downMap) validate() error {
	switch {
	case m.Type == 0:
		return bad("type (3)", m.Type, "1 or more")
	case len(m.Body) == 0:
		return bad("body (4)", "absent", "a body")
	}
	return nil
}

func (n *Notice) validate() error {
	if n.Rev == 0 {
		return bad("rev (2)", n.Rev, "1 or more")
	}
	return text("unit (4)", n.Unit, 64)
}
