package wire

// SecondPath reports how a press went by SMS, once that is over: the centre
// has answered, one way or the other. It is of the duty lane.
type SecondPath struct {
	Alarm    AlarmID `cbor:"1,keyasint"`
	Press    uint64  `cbor:"2,keyasint"`
	Sent     uint64  `cbor:"3,keyasint"`           // messages that the network took
	Failed   uint64  `cbor:"4,keyasint,omitempty"` // … that the modem or the network refused
	Answered bool    `cbor:"5,keyasint,omitempty"` // by SMS; otherwise the press got through the other way
	AfterMs  uint64  `cbor:"6,keyasint"`           // milliseconds from the press to that
	Extra    Extra   `cbor:"-"`
}

// Type returns [TypeSecondPath].
func (*SecondPath) Type() BodyType { return TypeSecondPath }

func (b *SecondPath) validate() error {
	switch {
	case b.Press == 0:
		return bad("press (2)", b.Press, "1 or more")
	case b.AfterMs > maxMilli:
		return bad("after (6)", b.AfterMs, "0 to 2^43 milliseconds")
	}
	return nil
}
