package wire

// A FingerAction says what became of an enrolled finger.
type FingerAction uint64

// The actions.
const (
	FingerEnrolled FingerAction = 1
	FingerDeleted  FingerAction = 2
)

// String returns "enrolled", "deleted" or "action(n)".
func (a FingerAction) String() string { return name("action", uint64(a), "", "enrolled", "deleted") }

// A FingerRole says what an enrolled finger may do at the device.
type FingerRole uint64

// The roles. A supervisor's or technician's finger also lets others be enrolled
// and deleted.
const (
	RoleOfficer    FingerRole = 1
	RoleSupervisor FingerRole = 2
	RoleTechnician FingerRole = 3
)

// String returns "officer", "supervisor", "technician" or "role(n)".
func (r FingerRole) String() string {
	return name("role", uint64(r), "", "officer", "supervisor", "technician")
}

// FingerChanged reports that a finger was enrolled at the device's reader, or
// that one was deleted. It names the slot and whose finger it is; what the
// finger looks like stays inside the sensor.
type FingerChanged struct {
	Action  FingerAction `cbor:"1,keyasint"`
	Slot    uint64       `cbor:"2,keyasint"` // the sensor's template number
	Officer string       `cbor:"3,keyasint"` // whose finger
	Role    FingerRole   `cbor:"4,keyasint"`
	Duress  bool         `cbor:"5,keyasint,omitempty"` // it raises a silent alarm, see Duress
	// By is whose finger allowed it; "local" for the command on the device
	// itself, "test_key" for the technician's key switch.
	By    string `cbor:"6,keyasint"`
	Extra Extra  `cbor:"-"`
}

// Type returns [TypeFingerChanged].
func (*FingerChanged) Type() BodyType { return TypeFingerChanged }

func (b *FingerChanged) validate() error {
	switch {
	case b.Action == 0:
		return bad("action (1)", b.Action, "1 (enrolled) or 2 (deleted)")
	case b.Slot > 65535:
		return bad("slot (2)", b.Slot, "0 to 65535")
	case b.Officer == "":
		return bad("officer (3)", `""`, "an officer's id")
	case b.Role == 0:
		return bad("role (4)", b.Role, "1 (officer), 2 (supervisor) or 3 (technician)")
	}
	if err := text("officer (3)", b.Officer, 64); err != nil {
		return err
	}
	return text("by (6)", b.By, 64)
}
