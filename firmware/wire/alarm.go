package wire

import "fmt"

// An AlarmKind is what a villager or an officer asked help for.
type AlarmKind uint64

// The kinds of alarm.
const (
	Panic   AlarmKind = 1
	Fire    AlarmKind = 2
	Medical AlarmKind = 3
	// Duress is asked for with an officer's duress finger, under the eyes of
	// whoever forces them: it is always silent, and the device shows nothing of
	// it, neither that it was raised nor what becomes of it.
	Duress AlarmKind = 4
)

// String returns "panic", "fire", "medical", "duress" or "kind(n)".
func (k AlarmKind) String() string {
	return name("kind", uint64(k), "", "panic", "fire", "medical", "duress")
}

// ParseAlarmKind is the inverse of [AlarmKind.String] for the kinds that a
// button may have.
func ParseAlarmKind(s string) (AlarmKind, error) {
	for _, k := range []AlarmKind{Panic, Fire, Medical} {
		if k.String() == s {
			return k, nil
		}
	}
	return 0, fmt.Errorf("alarm kind %q: want panic, fire or medical", s)
}

// A Position is where a device last knew itself to be.
type Position struct {
	LatE7 int64  `cbor:"1,keyasint"`           // degrees × 10⁷, north positive, WGS 84
	LonE7 int64  `cbor:"2,keyasint"`           // degrees × 10⁷, east positive, WGS 84
	AgeMs uint64 `cbor:"3,keyasint"`           // milliseconds from the fix to the event
	HDOP  uint64 `cbor:"4,keyasint,omitempty"` // × 10; 0 when the receiver gave none
	// Source says how the device knows it, where that is not its receiver's fix.
	Source PositionSource `cbor:"5,keyasint,omitempty"`
	Spread uint64         `cbor:"6,keyasint,omitempty"` // metres around it of a place that was learned; 0: not measured
}

// A PositionSource says how a device knows where it is.
type PositionSource uint64

// The sources of a position.
const (
	PositionFix     PositionSource = 0 // its receiver's newest fix
	PositionGiven   PositionSource = 1 // surveyed, and written into its configuration
	PositionLearned PositionSource = 2 // the mean of its receiver's fixes over a long time
	PositionHeld    PositionSource = 3 // its receiver's newest fix before it jumped, which is not believed
)

// String returns "fix", "given", "learned", "held" or "position(n)".
func (s PositionSource) String() string {
	return name("position", uint64(s), "fix", "given", "learned", "held")
}

// Lat and Lon return degrees.
func (p *Position) Lat() float64 { return float64(p.LatE7) / 1e7 }

// Lon returns the longitude in degrees.
func (p *Position) Lon() float64 { return float64(p.LonE7) / 1e7 }

func (p *Position) validate() error {
	switch {
	case p == nil:
		return nil
	case p.LatE7 < -90e7 || p.LatE7 > 90e7:
		return bad("position.lat (1)", p.LatE7, "-900000000 to 900000000")
	case p.LonE7 < -180e7 || p.LonE7 > 180e7:
		return bad("position.lon (2)", p.LonE7, "-1800000000 to 1800000000")
	case p.AgeMs > maxMilli:
		return bad("position.age (3)", p.AgeMs, "0 to 2^43 milliseconds")
	case p.Spread > 100_000:
		return bad("position.spread (6)", p.Spread, "0 to 100000 metres")
	}
	return nil
}

// AlarmRaised reports a press. The first press latches an alarm under a new
// id; presses that follow while it is latched carry that id and count on.
type AlarmRaised struct {
	Alarm    AlarmID   `cbor:"1,keyasint"`
	Kind     AlarmKind `cbor:"2,keyasint"`
	Silent   bool      `cbor:"3,keyasint,omitempty"` // the box makes no sound
	Button   string    `cbor:"4,keyasint"`           // the button's name in the device's configuration; "duress" of a finger or PIN under duress
	Press    uint64    `cbor:"5,keyasint"`           // 1 latched the alarm, 2 … came after
	Position *Position `cbor:"6,keyasint,omitempty"` // nil when the device does not know
	Extra    Extra     `cbor:"-"`
}

// ClearedBy says what reset a latched alarm.
type ClearedBy uint64

// What can reset an alarm.
const (
	ClearedByCentre  ClearedBy = 1 // a Notice with state closed
	ClearedByOfficer ClearedBy = 2 // an enrolled finger at the device
	// ClearedByDrillEnd resets what was pressed in an exercise or a test when
	// that ends, so that a press that comes after it is an alarm of its own.
	ClearedByDrillEnd ClearedBy = 3
)

// String returns "centre", "officer", "drill_end" or "by(n)".
func (c ClearedBy) String() string {
	return name("by", uint64(c), "", "centre", "officer", "drill_end")
}

// AlarmCleared reports that a latched alarm was reset at the device.
type AlarmCleared struct {
	Alarm   AlarmID   `cbor:"1,keyasint"`
	By      ClearedBy `cbor:"2,keyasint"`
	Officer string    `cbor:"3,keyasint,omitempty"` // whose finger, when By is ClearedByOfficer
	Extra   Extra     `cbor:"-"`
}

// NoticeShown reports that the device's lamps show a Notice.
type NoticeShown struct {
	Alarm AlarmID     `cbor:"1,keyasint"`
	Rev   uint64      `cbor:"2,keyasint"`
	State NoticeState `cbor:"3,keyasint"`
	Extra Extra       `cbor:"-"`
}

// Type returns [TypeAlarmRaised].
func (*AlarmRaised) Type() BodyType { return TypeAlarmRaised }

// Type returns [TypeAlarmCleared].
func (*AlarmCleared) Type() BodyType { return TypeAlarmCleared }

// Type returns [TypeNoticeShown].
func (*NoticeShown) Type() BodyType { return TypeNoticeShown }

func (b *AlarmRaised) validate() error {
	switch {
	case b.Kind == 0:
		return bad("kind (2)", b.Kind, "1 (panic), 2 (fire), 3 (medical), 4 (duress)")
	case b.Press == 0:
		return bad("press (5)", b.Press, "1 or more")
	}
	if err := b.Position.validate(); err != nil {
		return err
	}
	return text("button (4)", b.Button, 32)
}

func (b *AlarmCleared) validate() error {
	if b.By == 0 {
		return bad("by (2)", b.By, "1 (centre), 2 (officer) or 3 (drill end)")
	}
	return text("officer (3)", b.Officer, 64)
}

func (b *NoticeShown) validate() error {
	if b.Rev == 0 {
		return bad("rev (2)", b.Rev, "1 or more")
	}
	return nil
}
