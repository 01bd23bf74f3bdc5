package wire

// SignOn reports that an enrolled officer's finger matched inside the sensor,
// or that an officer typed a PIN.
type SignOn struct {
	Officer string `cbor:"1,keyasint"`
	Slot    uint64 `cbor:"2,keyasint"`           // the sensor's template number; 0 with PIN
	Score   uint64 `cbor:"3,keyasint"`           // the sensor's match score; 0 with PIN
	PIN     bool   `cbor:"4,keyasint,omitempty"` // no finger: a PIN at the device's screen
	Extra   Extra  `cbor:"-"`
}

// SignOff reports that an officer is no longer signed on.
type SignOff struct {
	Officer string `cbor:"1,keyasint"`
	Reason  string `cbor:"2,keyasint"` // "finger": a second match; "screen": at the device's screen; "relieved": another officer signed on
	Extra   Extra  `cbor:"-"`
}

// SignRefused reports a finger that signed nobody on.
type SignRefused struct {
	// Reason is "no_match", "weak_match", "unreadable", "unknown_slot" (a match
	// that no officer belongs to), "not_believed" (an answer that cannot be
	// true), "locked" (after too many failures), or "not_authorised" (a finger
	// that may not let another be enrolled or deleted).
	Reason string `cbor:"1,keyasint"`
	Slot   uint64 `cbor:"2,keyasint,omitempty"` // of a match that was refused
	Score  uint64 `cbor:"3,keyasint,omitempty"`
	Extra  Extra  `cbor:"-"`
}

// Type returns [TypeSignOn].
func (*SignOn) Type() BodyType { return TypeSignOn }

// Type returns [TypeSignOff].
func (*SignOff) Type() BodyType { return TypeSignOff }

// Type returns [TypeSignRefused].
func (*SignRefused) Type() BodyType { return TypeSignRefused }

func (b *SignOn) validate() error {
	if b.Officer == "" {
		return bad("officer (1)", `""`, "an officer's id")
	}
	return text("officer (1)", b.Officer, 64)
}

func (b *SignOff) validate() error {
	if err := text("reason (2)", b.Reason, 64); err != nil {
		return err
	}
	return text("officer (1)", b.Officer, 64)
}

func (b *SignRefused) validate() error { return text("reason (1)", b.Reason, 64) }
