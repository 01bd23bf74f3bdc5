package wire

import (
	"crypto/ed25519"
	"time"
)

// MaxGroupPacket is the size in bytes that no [GroupAlarm] exceeds, so that it
// is one packet on any Ethernet.
const MaxGroupPacket = 1200

// A GroupAlarm is what a device tells the others of its group on the local
// network, without the centre: that somebody has pressed here, or that it is
// over. It goes in a UDP datagram of its own, in the same kind of envelope as
// an event with the external_aad "fs/v1/group", to a multicast address and to
// whatever addresses the configuration names; nobody passes it on. It is
// repeated while the alarm stands, each time with a higher number, and after a
// restart of the sender with a higher boot.
//
// Silent alarms are never told.
type GroupAlarm struct {
	Device string   `cbor:"1,keyasint"`
	Group  string   `cbor:"2,keyasint"`
	Stream StreamID `cbor:"3,keyasint"` // Stream, Boot and N order the packets of a device:
	Boot   uint64   `cbor:"4,keyasint"` // a receiver believes none that is not past all that it has
	N      uint64   `cbor:"5,keyasint"` // heard, counted from 1 within the boot

	Alarm AlarmID   `cbor:"6,keyasint"`
	Kind  AlarmKind `cbor:"7,keyasint"`
	Press uint64    `cbor:"8,keyasint"`
	On    bool      `cbor:"9,keyasint,omitempty"`  // it stands; false: it is over, stop
	Drill bool      `cbor:"10,keyasint,omitempty"` // of an exercise
	// AgeMs is how many milliseconds ago the last press was, by the sender's
	// monotonic clock; or at least that, where the sender started anew since and
	// knows no better.
	AgeMs uint64 `cbor:"11,keyasint,omitempty"`

	Wall   int64      `cbor:"12,keyasint,omitempty"` // when it was sent, as well as the sender knows: as in an Event
	Source WallSource `cbor:"13,keyasint,omitempty"`
	Within uint64     `cbor:"14,keyasint,omitempty"` // ± milliseconds

	Extra Extra `cbor:"-"`
}

// Sent returns the time of day at which the packet was sent, as its sender
// knew it.
func (g *GroupAlarm) Sent() Wall {
	return Wall{g.Wall, g.Source, time.Duration(g.Within) * time.Millisecond}
}

// SealGroup encodes and signs a packet. The error wraps [ErrMessage].
func SealGroup(g *GroupAlarm, key ed25519.PrivateKey) ([]byte, error) {
	if err := g.validate(); err != nil {
		return nil, err
	}
	msg, err := seal(g, g.Extra, aadGroup, key)
	if err == nil && len(msg) > MaxGroupPacket {
		err = bad("packet of", len(msg), "at most "+itoa(MaxGroupPacket)+" bytes")
	}
	return msg, err
}

// OpenGroup verifies a packet with its sender's key, which keyOf returns for a
// device's id; nil means that there is no such member. The error wraps
// [ErrEnvelope], [ErrSignature] or [ErrMessage].
func OpenGroup(msg []byte, keyOf func(device string) ed25519.PublicKey) (*GroupAlarm, error) {
	if len(msg) > MaxGroupPacket {
		return nil, ErrEnvelope
	}
	payload, err := unseal(msg, aadGroup, nil)
	if err != nil {
		return nil, err
	}
	g := new(GroupAlarm)
	if g.Extra, err = decodeMap(payload, g); err != nil {
		return nil, err
	}
	if err := g.validate(); err != nil {
		return nil, err
	}
	pub := keyOf(g.Device)
	if len(pub) != ed25519.PublicKeySize {
		return nil, ErrSignature
	}
	if _, err := unseal(msg, aadGroup, pub); err != nil {
		return nil, err
	}
	return g, nil
}

func (g *GroupAlarm) validate() error {
	if err := ValidDevice(g.Device); err != nil {
		return bad("device (1)", g.Device, err.Error())
	}
	if err := ValidDevice(g.Group); err != nil {
		return bad("group (2)", g.Group, "1 to 32 of a-z, 0-9 and '-', not beginning with '-'")
	}
	switch {
	case g.Boot == 0 || g.Boot >= 1<<63:
		return bad("boot (4)", g.Boot, "1 to 2^63-1")
	case g.N == 0:
		return bad("n (5)", g.N, "1 or more")
	case g.Kind == 0:
		return bad("kind (7)", g.Kind, "1 (panic), 2 (fire), 3 (medical)")
	case g.Press == 0:
		return bad("press (8)", g.Press, "1 or more")
	case g.AgeMs > maxMilli:
		return bad("age (11)", g.AgeMs, "0 to 2^43 milliseconds")
	case g.Wall < 0 || g.Wall > maxWall:
		return bad("wall (12)", g.Wall, "0 to 253402300799999 milliseconds since 1970")
	case g.Within > maxMilli:
		return bad("wall uncertainty (14)", g.Within, "0 to 2^43 milliseconds")
	}
	return nil
}
