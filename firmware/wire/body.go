package wire

import (
	"fmt"
	"strconv"
	"time"

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
	}
	return fmt.Sprintf("body(%d)", uint64(t))
}

// A Body is what an event reports: one of the pointer types of this package.
type Body interface {
	Type() BodyType
	validate() error
}

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

// Fault reports that a fault began or ended.
type Fault struct {
	Code   string `cbor:"1,keyasint"` // what and where: "button_stuck:panic", "gps_lost"
	Active bool   `cbor:"2,keyasint"` // began, or ended
	Detail string `cbor:"3,keyasint,omitempty"`
	Extra  Extra  `cbor:"-"`
}

// Health is the heartbeat.
type Health struct {
	UptimeMs    uint64          `cbor:"1,keyasint"`           // milliseconds since the agent's start
	Queue       map[Lane]uint64 `cbor:"2,keyasint"`           // events in the spool that no Ack covers
	Firmware    string          `cbor:"3,keyasint"`           // version
	MemoryKiB   uint64          `cbor:"4,keyasint,omitempty"` // resident
	DiskFreeKiB uint64          `cbor:"5,keyasint,omitempty"` // on the spool's file system
	GPS         string          `cbor:"6,keyasint,omitempty"` // "none", "searching", "2d", "3d"
	Faults      []string        `cbor:"7,keyasint,omitempty"` // codes of the active faults
	// Started says why the device runs, in its first heartbeat after each start.
	Started     Started `cbor:"8,keyasint,omitempty"`
	Temperature *int64  `cbor:"9,keyasint,omitempty"`  // of the board, tenths of a degree Celsius; nil: not known
	Supply      *Supply `cbor:"10,keyasint,omitempty"` // nil: the board does not watch it
	// Of the cellular modem, where there is one that works.
	SignalDBm int64  `cbor:"20,keyasint,omitempty"` // received power; 0: not known
	Operator  string `cbor:"21,keyasint,omitempty"` // of the network
	RAT       string `cbor:"22,keyasint,omitempty"` // "gsm", "umts", "lte", "nr"
	// Of the wireless network, where there is a radio.
	WiFi     string `cbor:"23,keyasint,omitempty"` // "joining", "joined", "away", "refused", "no_driver", "no_interface", "failed"
	SSID     string `cbor:"24,keyasint,omitempty"` // its name
	RadioDBm int64  `cbor:"25,keyasint,omitempty"` // received power; 0: not known
	Extra    Extra  `cbor:"-"`
}

// Started is why a device runs. A receiver may meet words that it does not know.
type Started string

// Why a device started.
const (
	StartedPower     Started = "power"     // the power came, or came back after a cut or a brown-out
	StartedWatchdog  Started = "watchdog"  // the board's watchdog, as nothing worked any more
	StartedPanic     Started = "panic"     // of the kernel
	StartedCommanded Started = "commanded" // it was ended in order
	StartedHung      Started = "hung"      // the firmware hung, and was started again
	StartedCrashed   Started = "crashed"   // the firmware ended, and was started again
	StartedUnknown   Started = "unknown"   // nothing tells
)

// Supply is what a board says of its supply and of what that did to it.
type Supply uint64

// The bits of a Supply.
const (
	UnderVoltage    Supply = 1 << 0 // now
	UnderVoltageWas Supply = 1 << 1 // since the power came
	Throttled       Supply = 1 << 2 // slowed down for its supply or its heat, now
	ThrottledWas    Supply = 1 << 3 // since the power came
)

// NoticeShown reports that the device's lamps show a Notice.
type NoticeShown struct {
	Alarm AlarmID     `cbor:"1,keyasint"`
	Rev   uint64      `cbor:"2,keyasint"`
	State NoticeState `cbor:"3,keyasint"`
	Extra Extra       `cbor:"-"`
}

// UnknownBody is the body of a type that this version does not know.
type UnknownBody struct {
	BodyType BodyType
	Raw      cbor.RawMessage // its CBOR, as it came
}

// Type returns [TypeAlarmRaised].
func (*AlarmRaised) Type() BodyType { return TypeAlarmRaised }

// Type returns [TypeAlarmCleared].
func (*AlarmCleared) Type() BodyType { return TypeAlarmCleared }

// Type returns [TypeSignOn].
func (*SignOn) Type() BodyType { return TypeSignOn }

// Type returns [TypeSignOff].
func (*SignOff) Type() BodyType { return TypeSignOff }

// Type returns [TypeSignRefused].
func (*SignRefused) Type() BodyType { return TypeSignRefused }

// Type returns [TypeFault].
func (*Fault) Type() BodyType { return TypeFault }

// Type returns [TypeHealth].
func (*Health) Type() BodyType { return TypeHealth }

// Type returns [TypeNoticeShown].
func (*NoticeShown) Type() BodyType { return TypeNoticeShown }

// Type returns the type that this version does not know.
func (b *UnknownBody) Type() BodyType { return b.BodyType }

// NewHealth fills the times of a heartbeat.
func NewHealth(uptime time.Duration, firmware string, queue map[Lane]uint64) *Health {
	return &Health{UptimeMs: uint64(uptime.Milliseconds()), Firmware: firmware, Queue: queue}
}

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

func (b *Fault) validate() error {
	if b.Code == "" {
		return bad("code (1)", `""`, "a fault code")
	}
	if err := text("code (1)", b.Code, 64); err != nil {
		return err
	}
	return text("detail (3)", b.Detail, 512)
}

func (b *Health) validate() error {
	if b.UptimeMs > maxMilli {
		return bad("uptime (1)", b.UptimeMs, "0 to 2^43 milliseconds")
	}
	for _, c := range b.Faults {
		if err := text("faults (7)", c, 64); err != nil {
			return err
		}
	}
	for _, f := range []struct{ name, s string }{{"gps (6)", b.GPS}, {"operator (21)", b.Operator}, {"rat (22)", b.RAT}, {"wifi (23)", b.WiFi}} {
		if err := text(f.name, f.s, 32); err != nil {
			return err
		}
	}
	if b.SignalDBm < -200 || b.SignalDBm > 0 {
		return bad("signal (20)", b.SignalDBm, "-200 to 0 dBm")
	}
	if b.RadioDBm < -200 || b.RadioDBm > 0 {
		return bad("radio (25)", b.RadioDBm, "-200 to 0 dBm")
	}
	// A name has 32 bytes, of which each may be no UTF-8, and become three.
	if err := text("ssid (24)", b.SSID, 96); err != nil {
		return err
	}
	return text("firmware (3)", b.Firmware, 64)
}

func (b *NoticeShown) validate() error {
	if b.Rev == 0 {
		return bad("rev (2)", b.Rev, "1 or more")
	}
	return nil
}

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
