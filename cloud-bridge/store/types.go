package store

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/fengsui/fengsui/cloud-bridge/incident"
	"github.com/fengsui/fengsui/firmware/wire"
)

// Errors of the store.
var (
	// ErrNotFound means that there is no such incident or device; the error
	// names it.
	ErrNotFound = errors.New("not found")
	// ErrRegister means that a registration is wrong; the error names the
	// field, the value and what would be right.
	ErrRegister = errors.New("bad registration")
)

// A DeviceKind says what a device is built into.
type DeviceKind string

// The kinds of device.
const (
	AlarmBox         DeviceKind = "alarm-box"  // stays where it was surveyed
	PatrolCar        DeviceKind = "patrol-car" // is where its receiver says
	PatrolMotorcycle DeviceKind = "patrol-motorcycle"
)

// Patrols reports whether a device of this kind is a unit that can be sent.
func (k DeviceKind) Patrols() bool { return k == PatrolCar || k == PatrolMotorcycle }

// A Registration is what the centre's register says of a device.
type Registration struct {
	ID   string // see [wire.ValidDevice]
	Kind DeviceKind
	Name string            // for people, one line of at most 64 bytes
	Key  ed25519.PublicKey // verifies what the device sends
	At   *Point            // surveyed position; nil when it has none
}

// Validate checks every field. The error wraps [ErrRegister].
func (r *Registration) Validate() error {
	bad := func(field string, value any, want string) error {
		return fmt.Errorf("%w: device %q: %s %v: want %s", ErrRegister, r.ID, field, value, want)
	}
	switch {
	case wire.ValidDevice(r.ID) != nil:
		return fmt.Errorf("%w: id %q: want 1 to 32 of a-z, 0-9 and '-', not beginning with '-'", ErrRegister, clip(r.ID, 80))
	case r.Kind != AlarmBox && r.Kind != PatrolCar && r.Kind != PatrolMotorcycle:
		return bad("kind", fmt.Sprintf("%q", clip(string(r.Kind), 80)), "alarm-box, patrol-car or patrol-motorcycle")
	case !oneLine(r.Name):
		return bad("name", fmt.Sprintf("%q", clip(r.Name, 80)), "at most 64 bytes of UTF-8 on one line")
	case len(r.Key) != ed25519.PublicKeySize:
		return bad("key", fmt.Sprintf("of %d bytes", len(r.Key)), "32 bytes: 64 hexadecimal digits")
	case r.At != nil && !(r.At.Lat >= -90 && r.At.Lat <= 90):
		return bad("lat", r.At.Lat, "-90 to 90")
	case r.At != nil && !(r.At.Lon >= -180 && r.At.Lon <= 180):
		return bad("lon", r.At.Lon, "-180 to 180")
	}
	return nil
}

// oneLine reports whether a name can stand in a list, in a message to a device and in a
// log: UTF-8 of at most incident.MaxName bytes without control characters.
func oneLine(name string) bool {
	return len(name) <= incident.MaxName && utf8.ValidString(name) && !strings.ContainsFunc(name, unicode.IsControl)
}

func (r *Registration) equal(o *Registration) bool {
	return r.ID == o.ID && r.Kind == o.Kind && r.Name == o.Name && r.Key.Equal(o.Key) &&
		(r.At == nil) == (o.At == nil) && (r.At == nil || *r.At == *o.At)
}

// A Point is a position in degrees, WGS 84.
type Point struct{ Lat, Lon float64 }

// A Fix is one position that a device's receiver gave.
type Fix struct {
	Time   time.Time     // UTC
	Within time.Duration // of a time that the centre worked out: the true one is within ± this; else 0
	Point                // degrees
	Mode   int           // 2: two-dimensional, 3: three-dimensional
	Alt    *float64      // metres above mean sea level; nil when not given
	Speed  *float64      // metres a second over ground
	Course *float64      // degrees from true north
	HDOP   *float64
	Jumped bool // the device does not believe it: nothing on a road can have come there
}

// A Device is what the centre knows of a device.
type Device struct {
	Registration
	LastFix      *Fix                 // the latest by its own time; nil before the first
	LastHeard    time.Time            // of the last new event or hello, at the centre; zero: never
	Link         Link                 // whether it can be heard, as it was last judged
	LinkSince    time.Time            // its last sign of life before that; zero: none
	Queue        map[wire.Lane]uint64 // events not yet acknowledged, as the last heartbeat said; nil before the first
	Firmware     string               // version, from the last hello or heartbeat
	GPS          string               // "none", "searching", "2d", "3d", from the last heartbeat
	Started      wire.Started         // why it last started, as it said then; "" when it has not
	StartedAt    time.Time            // when that was received
	Temperature  *float64             // of its board, °C, from the last heartbeat; nil: not said
	Supply       *wire.Supply         // of its board, from the last heartbeat; nil: not said
	Cellular     *Cellular            // the network of its modem, from the last heartbeat; nil: none that works
	Wireless     *Wireless            // the network of its radio, from the last heartbeat; nil: it has none
	Commissioned *Commissioned        // its newest commissioning report; nil: it has sent none
	Officer      string               // who is signed on, or ""
	Faults       []Fault              // active ones
	Streams      []Stream             // in the order in which the centre first heard of them
	Gaps         []Gap                // by stream, lane and number
	Dropped      []Dropped            // what it said that it gave up, by stream, lane and number
}

// A Cellular is how a device's modem is received.
type Cellular struct {
	Operator string // of the network
	RAT      string // "gsm", "umts", "lte", "nr"; "": not known
	DBm      int    // received power; 0: not known
}

// A Wireless is how it stands with a device's wireless network.
type Wireless struct {
	State string // "joined", "joining", "away", "refused", "no_driver", "no_interface", "failed"; devices may say others
	SSID  string
	DBm   int // received power; 0: not known
}

// A Fault is one that a device reported and has not taken back.
type Fault struct {
	Code, Detail string
	Since        time.Time // received at the centre
}

// A Stream is the life of one spool of a device.
type Stream struct {
	ID    wire.StreamID
	Heard time.Time // first, at the centre
	Start *Start    // why it stands in another one's place; nil when it does not, or has not said so yet
	Lanes map[wire.Lane]LaneState
}

// A Start is what a device said of the beginning of a stream.
type Start struct {
	wire.StreamStarted           // without Extra
	Wall               wire.Wall // when, by the device's clock
	Received           time.Time
}

// A LaneState says how far a lane has come in and accounts for its numbers:
// Expected is the sum of Stored, Open, Waiting, Never, Thinned, Full, Damaged
// and Other.
type LaneState struct {
	UpTo    uint64 // everything up to here is stored, or will never come
	Highest uint64 // the highest number stored

	Expected uint64 // numbers that the device has given to events, as far as the centre was told
	Stored   uint64 // events of the lane in the database, each number once
	Open     uint64 // below Highest and not yet arrived
	Waiting  uint64 // above it, and still on the device or on the way
	Never    uint64 // the device no longer holds them and did not say why
	Thinned  uint64 // given up by the device, which said why: see the constants of [Gap]
	Full     uint64
	Damaged  uint64
	Other    uint64 // … for a reason that this version does not know

	Fixes      uint64 // positions that the device said it gave up
	Duplicates uint64 // arrivals that were stored already
	Twice      uint64 // numbers that two different events came under
	Breaks     uint64 // events that do not follow from the one before
}

// A Gap is a run of numbers that are missing, or something wrong with them.
type Gap struct {
	Stream   wire.StreamID
	Lane     wire.Lane
	From, To uint64    // both included
	Why      string    // one of the constants below
	Since    time.Time // when the centre first knew that they were missing
}

// Why there is a gap. Of the reasons for which a device gave a number up the
// last in this list counts; WhyNever is a device's word too, that of a hello.
const (
	WhyNotYet  = "not_yet" // later ones are here; not acknowledged; the only one that may end
	WhyNever   = "never"   // the device no longer holds them and did not say why
	WhyThinned = "thinned" // given up for want of room; their track goes on in later batches with fewer fixes
	WhyFull    = "full"    // given up for want of room
	WhyDamaged = "damaged" // could no longer be read on the device
	WhyOther   = "other"   // given up for a reason that this version does not know
	WhyChain   = "chain"   // stored, but not the successor of the one before
	WhyTwice   = "twice"   // two different events of one number: the first is stored, the other kept aside
)

// Whys are all of them.
func Whys() []string {
	return []string{WhyNotYet, WhyNever, WhyThinned, WhyFull, WhyDamaged, WhyOther, WhyChain, WhyTwice}
}

// Missing says whether the numbers of the gap are not stored; otherwise they
// are, and something is wrong with them.
func (g *Gap) Missing() bool { return g.Why != WhyChain && g.Why != WhyTwice }

// Dropped is what a device said that it gave up. Some of the numbers may be
// stored all the same: those are in no gap.
type Dropped struct {
	wire.DroppedRange
	Received time.Time // at the centre, first
}

// An EventRow is a stored event. Message is what the device signed.
type EventRow struct {
	ID       int64 // rises in the order of storing; the cursor of [Store.Events]
	Event    *wire.Event
	When     incident.Moment // it happened
	Received time.Time
	Message  []byte
}

// A Refusal is a message that was not accepted.
type Refusal struct {
	At     time.Time
	Topic  string
	Reason string // short and stable: counted under it
	Detail string // the error
	Size   int    // of the message, bytes
}

// Refusals are all that were not accepted: numbers since the data folder was
// made, and the newest of them.
type Refusals struct {
	Total    uint64
	ByReason map[string]uint64
	Recent   []Refusal // newest first, at most [KeptRefusals]
}

// KeptRefusals is how many refusals are kept in full.
const KeptRefusals = 200

// A PendingNotice is one that a device has not yet answered.
type PendingNotice struct {
	Device string
	Notice wire.Notice
	Since  time.Time // when the incident took that step
}

// Filter chooses incidents. Its zero value chooses all.
type Filter struct {
	States []incident.State // any of these; empty: all
	Device string           // "": all
	Area   string           // in this cell, village, township or district; "": all
	Since  time.Time        // received then or later; zero: all
	Until  time.Time        // received before; zero: all
	Drill  DrillFilter
	Limit  int // at most so many, the newest; 0: all
}

// A DrillFilter tells exercises from the real.
type DrillFilter int

// The filters.
const (
	Everything DrillFilter = iota
	OnlyDrills
	NoDrills
)

// EventQuery chooses events of a device.
type EventQuery struct {
	Lane  wire.Lane // 0: all
	After int64     // the ID of the last row already seen; 0: from the start
	Limit int       // 1 to [MaxEvents]; 0: MaxEvents
}

// MaxEvents is the most rows that one query returns.
const MaxEvents = 1000

// An Arrival is a verified event with the bytes it came in.
type Arrival struct {
	Event    *wire.Event
	Message  []byte
	Received time.Time
}

// A Greeting is a verified hello.
type Greeting struct {
	Hello    *wire.Hello
	Received time.Time
}

// A Batch is what one transaction stores.
type Batch struct {
	Arrivals  []Arrival
	Greetings []Greeting
	Refusals  []Refusal
	// Urgent, unless nil, is asked before each of the Arrivals for others that
	// cannot wait. When there are any, they are stored and the transaction ends
	// with them: see Committed.Rest.
	Urgent func() []Arrival
	// Work, unless 0, is how long Arrivals may take: none begins after that.
	Work time.Duration
}

// Committed says what a batch did.
type Committed struct {
	Stored     int           // new events
	Duplicates int           // events that were there already
	Rest       int           // of the Arrivals, the last ones: not stored, for urgent ones came or they took too long
	Synced     time.Duration // what it took to make them durable
	// Acks holds the state of each stream that the batch touched, duplicates
	// included: an answer to send now that it is true.
	Acks []DeviceAck
}

// A DeviceAck is an Ack and whom it is for.
type DeviceAck struct {
	Device string
	Ack    wire.Ack
}
