package wire

import (
	"crypto/sha256"
	"fmt"
)

// A SoundedBy says what made a device sound.
type SoundedBy uint64

// What can make a device sound for another's alarm.
const (
	SoundedByCentre SoundedBy = 1 // a [Sound]
	SoundedByGroup  SoundedBy = 2 // its neighbours, without the centre
)

// String returns "centre", "group" or "by(n)".
func (s SoundedBy) String() string { return name("by", uint64(s), "", "centre", "group") }

// Sounded reports that a device sounds for another one's alarm, has stopped,
// or cannot. It is of the duty lane.
type Sounded struct {
	Alarm  AlarmID   `cbor:"1,keyasint"`
	Rev    uint64    `cbor:"2,keyasint,omitempty"` // of the [Sound] that it answers; 0 when By is SoundedByGroup
	On     bool      `cbor:"3,keyasint,omitempty"` // it sounds now
	By     SoundedBy `cbor:"4,keyasint"`
	Device string    `cbor:"5,keyasint"`           // whose alarm it is
	Why    string    `cbor:"6,keyasint,omitempty"` // it was to sound and does not: "no_siren", "expired", "sounded_before" …
	Extra  Extra     `cbor:"-"`
}

// ModeSet reports that a device is in the mode of a [Mode]. It is of the duty
// lane.
type ModeSet struct {
	Rev   uint64 `cbor:"1,keyasint"`
	Drill bool   `cbor:"2,keyasint,omitempty"`
	Extra Extra  `cbor:"-"`
}

// A CheckInBy says how somebody on a guard round was known.
type CheckInBy uint64

// How a check-in can be made.
const (
	CheckInFinger CheckInBy = 1 // an enrolled finger, matched inside the sensor
	CheckInButton CheckInBy = 2 // a button or a key switch of the box
)

// String returns "finger", "button" or "by(n)".
func (c CheckInBy) String() string { return name("by", uint64(c), "", "finger", "button") }

// CheckIn reports that a guard round came by. The place is the device itself,
// or Position for one that moves. It is of the duty lane.
type CheckIn struct {
	By       CheckInBy `cbor:"1,keyasint"`
	Officer  string    `cbor:"2,keyasint,omitempty"` // whose finger, when By is CheckInFinger
	Button   string    `cbor:"3,keyasint,omitempty"` // its name in the configuration, when By is CheckInButton
	Position *Position `cbor:"4,keyasint,omitempty"` // nil when the device does not know
	Extra    Extra     `cbor:"-"`
}

// An Answer is what a unit says to an [Assignment].
type Answer uint64

// The answers. When one was given is the event's own time.
const (
	AnswerShown    Answer = 1 // nobody has touched it: the unit's screen shows it
	AnswerAccepted Answer = 2 // somebody has taken it
	AnswerRefused  Answer = 3 // the unit cannot go; Note says why
	AnswerEnRoute  Answer = 4 // the unit moves
	AnswerOnScene  Answer = 5 // the unit is there
	AnswerNeedHelp Answer = 6 // the unit needs help; the alarm itself is an [AlarmRaised]
	AnswerChecked  Answer = 7 // what there was to see has been seen; Note and Attachments are the evidence
	AnswerClosed   Answer = 8 // done, with a Code
)

// String returns "shown", "accepted", "refused", "en_route", "on_scene",
// "need_help", "checked", "closed" or "answer(n)".
func (a Answer) String() string {
	return name("answer", uint64(a), "", "shown", "accepted", "refused", "en_route", "on_scene", "need_help", "checked", "closed")
}

// A CloseCode says what an incident turned out to be.
type CloseCode uint64

// The codes.
const (
	CloseReal       CloseCode = 1
	CloseFalseAlarm CloseCode = 2
	CloseTest       CloseCode = 3
	CloseDrill      CloseCode = 4
	CloseDuplicate  CloseCode = 5
	CloseUnfounded  CloseCode = 6
)

// String returns "real", "false_alarm", "test", "drill", "duplicate",
// "unfounded" or "code(n)".
func (c CloseCode) String() string {
	return name("code", uint64(c), "", "real", "false_alarm", "test", "drill", "duplicate", "unfounded")
}

// MaxNote is the longest note, in bytes.
const MaxNote = 2000

// MaxNoteAttachments is the most attachments that one event names.
const MaxNoteAttachments = 16

// UnitAnswer reports what the people of a unit say to an assignment. It is of
// the duty lane.
type UnitAnswer struct {
	Incident    uint64    `cbor:"1,keyasint"`
	Rev         uint64    `cbor:"2,keyasint"` // of the assignment that was shown when it was given
	Answer      Answer    `cbor:"3,keyasint"`
	Code        CloseCode `cbor:"4,keyasint,omitempty"` // when Answer is AnswerClosed
	Note        string    `cbor:"5,keyasint,omitempty"`
	Attachments []Hash    `cbor:"6,keyasint,omitempty"` // the [AttachmentPart.ID] of each
	Position    *Position `cbor:"7,keyasint,omitempty"`
	Extra       Extra     `cbor:"-"`
}

// Note is what somebody at a device wrote down. It is of the duty lane.
type Note struct {
	Incident    uint64    `cbor:"1,keyasint,omitempty"` // 0: of none
	Text        string    `cbor:"2,keyasint,omitempty"`
	Attachments []Hash    `cbor:"3,keyasint,omitempty"`
	Position    *Position `cbor:"4,keyasint,omitempty"`
	Extra       Extra     `cbor:"-"`
}

// Limits of attachments, in bytes.
const (
	MaxAttachment     = 2 << 20
	MaxAttachmentPart = 16 << 10
	maxParts          = 1 << 10
)

// AttachmentPart carries a part of a photograph or another file. Each part
// says what the whole is, so that one is enough to know what is missing. All
// parts but the last are of one length.
//
// It is of the track lane, behind everything else. A device appends the next
// part when the one before is acknowledged, so that its track keeps flowing.
type AttachmentPart struct {
	Whole    []byte `cbor:"1,keyasint"` // SHA-256 of the whole file
	Size     uint64 `cbor:"2,keyasint"` // of the whole file, bytes
	Index    uint64 `cbor:"3,keyasint"` // from 0
	Count    uint64 `cbor:"4,keyasint"`
	Bytes    []byte `cbor:"5,keyasint"`
	MIME     string `cbor:"6,keyasint"`           // as the device believes: "image/jpeg"
	Incident uint64 `cbor:"7,keyasint,omitempty"` // 0: of none
	Extra    Extra  `cbor:"-"`
}

// ID returns the attachment's name: the first 16 bytes of Whole.
func (b *AttachmentPart) ID() Hash { return Hash(b.Whole[:len(Hash{})]) }

// Type returns [TypeSounded].
func (*Sounded) Type() BodyType { return TypeSounded }

// Doing says what a unit does beside the incidents that it is sent to.
type Doing uint64

// What a unit can say that it does.
const (
	DoingNothing      Doing = 1 // it is free again, whatever was said or set before
	DoingBusy         Doing = 2 // it has something else to do
	DoingOutOfService Doing = 3 // it cannot be sent: car trouble, say
)

// String returns "available", "busy", "out_of_service" or "doing(n)".
func (d Doing) String() string {
	return name("doing", uint64(d), "", "available", "busy", "out_of_service")
}

// UnitState reports what a unit's people say that it does; the newest word
// counts, theirs or the desk's. It is of the duty lane.
type UnitState struct {
	Doing    Doing     `cbor:"1,keyasint"`
	Reason   string    `cbor:"2,keyasint,omitempty"`
	Position *Position `cbor:"3,keyasint,omitempty"`
	Extra    Extra     `cbor:"-"`
}

// MaxReason is the most bytes of a [UnitState]'s reason.
const MaxReason = 200

// Type returns [TypeUnitState].
func (*UnitState) Type() BodyType { return TypeUnitState }

func (b *UnitState) validate() error {
	if b.Doing == 0 {
		return bad("doing (1)", uint64(b.Doing), "1 (available), 2 (busy) or 3 (out of service)")
	}
	if err := b.Position.validate(); err != nil {
		return err
	}
	return text("reason (2)", b.Reason, MaxReason)
}

// Type returns [TypeModeSet].
func (*ModeSet) Type() BodyType { return TypeModeSet }

// Type returns [TypeCheckIn].
func (*CheckIn) Type() BodyType { return TypeCheckIn }

// Type returns [TypeUnitAnswer].
func (*UnitAnswer) Type() BodyType { return TypeUnitAnswer }

// Type returns [TypeAttachmentPart].
func (*AttachmentPart) Type() BodyType { return TypeAttachmentPart }

// Type returns [TypeNote].
func (*Note) Type() BodyType { return TypeNote }

func (b *Sounded) validate() error {
	if err := ValidDevice(b.Device); err != nil {
		return bad("device (5)", b.Device, err.Error())
	}
	switch {
	case b.By == 0:
		return bad("by (4)", uint64(b.By), "1 (centre) or 2 (group)")
	case b.By == SoundedByCentre && b.Rev == 0:
		return bad("rev (2)", b.Rev, "1 or more when by (4) is 1")
	}
	return text("why (6)", b.Why, 64)
}

func (b *ModeSet) validate() error {
	if b.Rev == 0 {
		return bad("rev (1)", b.Rev, "1 or more")
	}
	return nil
}

func (b *CheckIn) validate() error {
	switch {
	case b.By == 0:
		return bad("by (1)", uint64(b.By), "1 (finger) or 2 (button)")
	case b.By == CheckInFinger && b.Officer == "":
		return bad("officer (2)", `""`, "an officer's id when by (1) is 1")
	}
	if err := b.Position.validate(); err != nil {
		return err
	}
	if err := text("officer (2)", b.Officer, 64); err != nil {
		return err
	}
	return text("button (3)", b.Button, 32)
}

func (b *UnitAnswer) validate() error {
	switch {
	case b.Incident == 0 || b.Incident >= 1<<63:
		return bad("incident (1)", b.Incident, "1 to 2^63-1")
	case b.Rev == 0:
		return bad("rev (2)", b.Rev, "1 or more")
	case b.Answer == 0:
		return bad("answer (3)", uint64(b.Answer), "1 to 8")
	case b.Answer == AnswerClosed && b.Code == 0:
		return bad("code (4)", uint64(b.Code), "1 to 6 when answer (3) is 8")
	}
	return evidence(b.Position, b.Note, "note (5)", b.Attachments, "attachments (6)")
}

func (b *Note) validate() error {
	switch {
	case b.Incident >= 1<<63:
		return bad("incident (1)", b.Incident, "0 to 2^63-1")
	case b.Text == "" && len(b.Attachments) == 0:
		return bad("text (2)", `""`, "a text, or attachments (3)")
	}
	return evidence(b.Position, b.Text, "text (2)", b.Attachments, "attachments (3)")
}

func evidence(p *Position, note, noteField string, attachments []Hash, field string) error {
	if len(attachments) > MaxNoteAttachments {
		return bad(field, len(attachments), "at most 16")
	}
	if err := p.validate(); err != nil {
		return err
	}
	return text(noteField, note, MaxNote)
}

func (b *AttachmentPart) validate() error {
	switch {
	case len(b.Whole) != sha256.Size:
		return bad("whole (1) of length", len(b.Whole), "32 bytes")
	case b.Size == 0 || b.Size > MaxAttachment:
		return bad("size (2)", b.Size, "1 to 2097152 bytes")
	case b.Count == 0 || b.Count > maxParts:
		return bad("count (4)", b.Count, "1 to 1024")
	case b.Index >= b.Count:
		return bad("index (3)", b.Index, fmt.Sprintf("0 to %d, below count (4)", b.Count-1))
	case len(b.Bytes) == 0 || len(b.Bytes) > MaxAttachmentPart:
		return bad("bytes (5) of length", len(b.Bytes), "1 to 16384 bytes")
	case b.Incident >= 1<<63:
		return bad("incident (7)", b.Incident, "0 to 2^63-1")
	}
	// All parts but the last are of one length, so the whole's size and the
	// number of parts leave each part no choice of it.
	if n := uint64(len(b.Bytes)); b.Index+1 < b.Count {
		if n*(b.Count-1) >= b.Size || n*b.Count < b.Size {
			return bad("bytes (5) of length", n, fmt.Sprintf("a length that makes %d bytes in %d parts", b.Size, b.Count))
		}
	} else if rest := b.Size - min(n, b.Size); n > b.Size || b.Count > 1 && (rest%(b.Count-1) != 0 || rest/(b.Count-1) < n) || b.Count == 1 && rest != 0 {
		return bad("bytes (5) of length", n, fmt.Sprintf("the last part of %d bytes in %d", b.Size, b.Count))
	}
	return text("mime (6)", b.MIME, 64)
}
