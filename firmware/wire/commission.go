package wire

// A CommissionVerdict is what came of commissioning a device.
type CommissionVerdict uint64

// The verdicts.
const (
	CommissionPass       CommissionVerdict = 1 // all that is there works
	CommissionFail       CommissionVerdict = 2 // something does not
	CommissionIncomplete CommissionVerdict = 3 // nothing failed, but something was not tried
)

// String returns "pass", "fail", "incomplete" or "verdict(n)".
func (v CommissionVerdict) String() string {
	return name("verdict", uint64(v), "", "pass", "fail", "incomplete")
}

// MaxProblems is the most failed checks that one summary names.
const MaxProblems = 32

// Commissioned is the summary of a device's commissioning report, which is a
// page of its own, signed by the device, that the technician keeps. Report tells
// that page from every other one. It is of the duty lane.
type Commissioned struct {
	Verdict  CommissionVerdict `cbor:"1,keyasint"`
	Passed   uint64            `cbor:"2,keyasint"` // checks
	Failed   uint64            `cbor:"3,keyasint"`
	Skipped  uint64            `cbor:"4,keyasint"`
	Absent   uint64            `cbor:"5,keyasint"`           // of parts that are not there
	Problems []string          `cbor:"6,keyasint,omitempty"` // which failed: "button:panic"
	Report   [32]byte          `cbor:"7,keyasint"`           // SHA-256 of the report's JSON
	By       string            `cbor:"8,keyasint,omitempty"` // who stood before the device
	SelfTest bool              `cbor:"9,keyasint,omitempty"` // nobody did
	Firmware string            `cbor:"10,keyasint"`
	Extra    Extra             `cbor:"-"`
}

// Type returns [TypeCommissioned].
func (*Commissioned) Type() BodyType { return TypeCommissioned }

func (b *Commissioned) validate() error {
	switch {
	case b.Verdict == 0:
		return bad("verdict (1)", uint64(b.Verdict), "1 (pass), 2 (fail) or 3 (incomplete)")
	case len(b.Problems) > MaxProblems:
		return bad("problems (6)", len(b.Problems), "at most 32")
	}
	for _, p := range b.Problems {
		if err := text("problems (6)", p, 64); err != nil {
			return err
		}
	}
	if err := text("by (8)", b.By, 64); err != nil {
		return err
	}
	return text("firmware (10)", b.Firmware, 64)
}
