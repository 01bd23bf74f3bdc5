package wire

import "time"

// The messages of this file are levels, as a [Notice] is: the centre repeats
// the newest one to a connected device until an event that answers it is
// committed. A device ignores a lower revision than it has, and answers the
// same one again.

// A Sound tells a device to sound for the alarm of another one of its group,
// or to stop. It is answered by [Sounded]. Revisions count within an alarm.
type Sound struct {
	Alarm AlarmID `cbor:"1,keyasint"`
	Rev   uint64  `cbor:"2,keyasint"` // rises with each change
	On    bool    `cbor:"3,keyasint,omitempty"`
	// Until is when the sound ends by itself, by the centre's clock, in
	// milliseconds since 1970; 0 when On is false. What is left of it is Until
	// minus the CentreTime of the message: a device needs no clock for that.
	Until  int64     `cbor:"4,keyasint,omitempty"`
	Device string    `cbor:"5,keyasint"` // whose alarm it is
	Name   string    `cbor:"6,keyasint,omitempty"`
	Kind   AlarmKind `cbor:"7,keyasint"`
	Drill  bool      `cbor:"8,keyasint,omitempty"` // an exercise: no real siren where the device has a softer sound
	Extra  Extra     `cbor:"-"`
}

// An AssignmentState says whether a unit still has an incident.
type AssignmentState uint64

// The states of an assignment.
const (
	Assigned        AssignmentState = 1 // go there
	Withdrawn       AssignmentState = 2 // somebody else does, or nobody
	AssignmentEnded AssignmentState = 3 // the incident is closed
)

// String returns "assigned", "withdrawn", "ended" or "state(n)".
func (s AssignmentState) String() string {
	return name("state", uint64(s), "", "assigned", "withdrawn", "ended")
}

// A PlaceSource says where a place came from.
type PlaceSource uint64

// The sources of a place.
const (
	PlaceSurveyed PlaceSource = 1 // the register of devices
	PlaceGNSS     PlaceSource = 2 // a receiver, AgeMs before the press
)

// A Place is where an incident is.
type Place struct {
	LatE7  int64       `cbor:"1,keyasint"` // degrees × 10⁷, WGS 84
	LonE7  int64       `cbor:"2,keyasint"`
	Source PlaceSource `cbor:"3,keyasint"`
	AgeMs  uint64      `cbor:"4,keyasint,omitempty"` // milliseconds from the fix to the press
	Within uint64      `cbor:"5,keyasint,omitempty"` // metres, ±; 0: not known
}

// MaxLandmarks is the most landmarks of an assignment.
const MaxLandmarks = 16

// A Landmark is a place that a unit's map shows for orientation: another box.
type Landmark struct {
	Name  string `cbor:"1,keyasint"`
	LatE7 int64  `cbor:"2,keyasint"` // degrees × 10⁷, WGS 84
	LonE7 int64  `cbor:"3,keyasint"`
}

func (l *Landmark) validate() error {
	switch {
	case l.Name == "":
		return bad("near.name (1)", `""`, "a name")
	case l.LatE7 < -90e7 || l.LatE7 > 90e7:
		return bad("near.lat (2)", l.LatE7, "-900000000 to 900000000")
	case l.LonE7 < -180e7 || l.LonE7 > 180e7:
		return bad("near.lon (3)", l.LonE7, "-1800000000 to 1800000000")
	}
	return text("near.name (1)", l.Name, 64)
}

// A PressTime is when an alarm was pressed, as well as the centre knows it.
type PressTime struct {
	UnixMilli int64      `cbor:"1,keyasint"`
	Source    WallSource `cbor:"2,keyasint"`
	WithinMs  uint64     `cbor:"3,keyasint,omitempty"` // ±
}

// An Assignment tells a unit's device which incident it is sent to. There may
// be several at once; each has its own revisions, which rise with every change
// of what it says. It is answered by a [UnitAnswer] that names the incident
// and this or a later revision.
type Assignment struct {
	Incident uint64          `cbor:"1,keyasint"` // the centre's number
	Rev      uint64          `cbor:"2,keyasint"`
	State    AssignmentState `cbor:"3,keyasint"`
	Stage    string          `cbor:"4,keyasint,omitempty"` // the incident's state: "dispatched", "on_scene" …
	Alarm    AlarmID         `cbor:"5,keyasint"`           // zero when nobody pressed
	Kind     string          `cbor:"6,keyasint"`           // "panic", "fire", "medical", "tamper" …
	Priority uint64          `cbor:"7,keyasint,omitempty"` // 1 is the most urgent
	Drill    bool            `cbor:"8,keyasint,omitempty"`
	Device   string          `cbor:"9,keyasint,omitempty"`  // where it was pressed
	Name     string          `cbor:"10,keyasint,omitempty"` // of that device, for people
	Place    *Place          `cbor:"11,keyasint,omitempty"` // nil: not known
	Pressed  *PressTime      `cbor:"12,keyasint,omitempty"` // nil: not known
	Note     string          `cbor:"13,keyasint,omitempty"` // from the desk
	Given    int64           `cbor:"14,keyasint,omitempty"` // when the unit was sent, by the centre's clock, ms since 1970
	Silent   bool            `cbor:"15,keyasint,omitempty"` // the presser asked for no sound
	Code     string          `cbor:"16,keyasint,omitempty"` // when it ended: what it turned out to be: "real", "false_alarm" …
	By       string          `cbor:"17,keyasint,omitempty"` // who withdrew or ended it, for people
	Near     []Landmark      `cbor:"18,keyasint,omitempty"` // what is around the place, at most [MaxLandmarks]
	Extra    Extra           `cbor:"-"`
}

// A Mode tells a device that an exercise begins or ends. Each event that it
// captures meanwhile carries the drill flag. Revisions count within a device.
// It is answered by [ModeSet].
type Mode struct {
	Rev   uint64 `cbor:"1,keyasint"`
	Drill bool   `cbor:"2,keyasint,omitempty"`
	Until int64  `cbor:"3,keyasint,omitempty"` // the exercise ends by itself then, as in [Sound]; 0 when Drill is false
	Extra Extra  `cbor:"-"`
}

// Left returns how long it is until a moment of the centre's clock, as seen
// from the message that names it. It is never negative.
func (d *Down) Left(until int64) time.Duration {
	return max(0, time.Duration(min(until, maxWall)-min(max(d.CentreTime, 0), maxWall))*time.Millisecond)
}

// DownType returns [TypeSound].
func (*Sound) DownType() DownType { return TypeSound }

// DownType returns [TypeAssignment].
func (*Assignment) DownType() DownType { return TypeAssignment }

// DownType returns [TypeMode].
func (*Mode) DownType() DownType { return TypeMode }

func (b *Sound) validate() error {
	if err := ValidDevice(b.Device); err != nil {
		return bad("device (5)", b.Device, err.Error())
	}
	switch {
	case b.Rev == 0:
		return bad("rev (2)", b.Rev, "1 or more")
	case b.Kind == 0:
		return bad("kind (7)", b.Kind, "1 (panic), 2 (fire), 3 (medical)")
	case b.On && (b.Until <= 0 || b.Until > maxWall):
		return bad("until (4)", b.Until, "1 to 253402300799999 milliseconds since 1970")
	case !b.On && b.Until != 0:
		return bad("until (4)", b.Until, "0 when the sound is off")
	}
	return text("name (6)", b.Name, 64)
}

func (b *Mode) validate() error {
	switch {
	case b.Rev == 0:
		return bad("rev (1)", b.Rev, "1 or more")
	case b.Drill && (b.Until <= 0 || b.Until > maxWall):
		return bad("until (3)", b.Until, "1 to 253402300799999 milliseconds since 1970")
	case !b.Drill && b.Until != 0:
		return bad("until (3)", b.Until, "0 when there is no exercise")
	}
	return nil
}

func (b *Assignment) validate() error {
	switch {
	case b.Incident == 0 || b.Incident >= 1<<63:
		return bad("incident (1)", b.Incident, "1 to 2^63-1")
	case b.Rev == 0:
		return bad("rev (2)", b.Rev, "1 or more")
	case b.State == 0:
		return bad("state (3)", uint64(b.State), "1 (assigned), 2 (withdrawn), 3 (ended)")
	case b.Kind == "":
		return bad("kind (6)", `""`, "a kind of incident")
	case len(b.Near) > MaxLandmarks:
		return bad("near (18)", len(b.Near), "at most 16")
	case b.Given < 0 || b.Given > maxWall:
		return bad("given (14)", b.Given, "0 to 253402300799999 milliseconds since 1970")
	}
	for i := range b.Near {
		if err := b.Near[i].validate(); err != nil {
			return err
		}
	}
	if b.Device != "" {
		if err := ValidDevice(b.Device); err != nil {
			return bad("device (9)", b.Device, err.Error())
		}
	}
	if p := b.Place; p != nil {
		switch {
		case p.LatE7 < -90e7 || p.LatE7 > 90e7:
			return bad("place.lat (1)", p.LatE7, "-900000000 to 900000000")
		case p.LonE7 < -180e7 || p.LonE7 > 180e7:
			return bad("place.lon (2)", p.LonE7, "-1800000000 to 1800000000")
		case p.AgeMs > maxMilli:
			return bad("place.age (4)", p.AgeMs, "0 to 2^43 milliseconds")
		}
	}
	if p := b.Pressed; p != nil {
		switch {
		case p.UnixMilli < 0 || p.UnixMilli > maxWall:
			return bad("pressed.time (1)", p.UnixMilli, "0 to 253402300799999 milliseconds since 1970")
		case p.WithinMs > maxMilli:
			return bad("pressed.within (3)", p.WithinMs, "0 to 2^43 milliseconds")
		}
	}
	for _, f := range []struct {
		name, s string
		most    int
	}{{"stage (4)", b.Stage, 32}, {"kind (6)", b.Kind, 32}, {"name (10)", b.Name, 64}, {"note (13)", b.Note, MaxNote}, {"code (16)", b.Code, 32}, {"by (17)", b.By, 64}} {
		if err := text(f.name, f.s, f.most); err != nil {
			return err
		}
	}
	return nil
}
