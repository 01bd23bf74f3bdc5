package wire

// A DropWhy says why a device gave events up.
type DropWhy uint64

// The reasons for giving events up.
const (
	DropThinned DropWhy = 1 // a full spool: their track goes on in later batches with fewer fixes
	DropFull    DropWhy = 2 // a full spool
	DropDamaged DropWhy = 3 // their bytes could no longer be read
)

// String returns "thinned", "full", "damaged" or "why(n)".
func (w DropWhy) String() string { return name("why", uint64(w), "", "thinned", "full", "damaged") }

// A DroppedRange is a run of numbers that a device gave up. Where Events is
// less than all of them, others of the run may still come.
type DroppedRange struct {
	Stream StreamID `cbor:"1,keyasint"`
	Lane   Lane     `cbor:"2,keyasint"`
	From   uint64   `cbor:"3,keyasint"` // the first number
	To     uint64   `cbor:"4,keyasint"` // the last
	Why    DropWhy  `cbor:"5,keyasint"`
	Events uint64   `cbor:"6,keyasint"`           // how many of them were given up
	Fixes  uint64   `cbor:"7,keyasint,omitempty"` // positions given up with them
	First  int64    `cbor:"8,keyasint,omitempty"` // when the first of them was captured, Unix milliseconds; 0: not known
	Last   int64    `cbor:"9,keyasint,omitempty"` // and the last
}

// MaxDroppedRanges is the most ranges that one record names.
const MaxDroppedRanges = 256

// Dropped reports what the device gave up, and why. Some of the numbers may
// have reached the centre before.
type Dropped struct {
	Ranges []DroppedRange `cbor:"1,keyasint"`
	Extra  Extra          `cbor:"-"`
}

// A StartWhy says why a device began a new stream.
type StartWhy uint64

// The reasons for a new stream.
const (
	StartDamaged    StartWhy = 1 // the file of the one before could not be trusted any more
	StartRolledBack StartWhy = 2 // the file had gone back in time: its numbers were taken
)

// String returns "damaged", "rolled_back" or "why(n)".
func (w StartWhy) String() string { return name("why", uint64(w), "", "damaged", "rolled_back") }

// StreamStarted reports that a stream stands in another one's place. What was
// saved of that one keeps its stream and its numbers.
type StreamStarted struct {
	Previous StreamID        `cbor:"1,keyasint"` // zero when not even that could be read
	Why      StartWhy        `cbor:"2,keyasint"`
	Salvaged map[Lane]uint64 `cbor:"3,keyasint"`           // events saved, of all earlier streams
	Detail   string          `cbor:"4,keyasint,omitempty"` // what was found
	Extra    Extra           `cbor:"-"`
}

// Type returns [TypeDropped].
func (*Dropped) Type() BodyType { return TypeDropped }

// Type returns [TypeStreamStarted].
func (*StreamStarted) Type() BodyType { return TypeStreamStarted }

func (b *Dropped) validate() error {
	if len(b.Ranges) == 0 || len(b.Ranges) > MaxDroppedRanges {
		return bad("ranges (1)", len(b.Ranges), "1 to 256")
	}
	for _, r := range b.Ranges {
		switch {
		case r.Lane < Alarm || r.Lane > Track:
			return bad("range lane (2)", uint8(r.Lane), "1, 2 or 3")
		case r.From == 0 || r.From > r.To || r.To >= 1<<63:
			return bad("range from (3) and to (4)", [2]uint64{r.From, r.To}, "1 ≤ from ≤ to < 2^63")
		case r.Why == 0:
			return bad("range why (5)", r.Why, "1 (thinned), 2 (full), 3 (damaged)")
		case r.Events > r.To-r.From+1:
			return bad("range events (6)", r.Events, "at most the numbers of the range")
		case r.First < 0 || r.First > maxWall || r.Last < 0 || r.Last > maxWall:
			return bad("range first (8) and last (9)", [2]int64{r.First, r.Last}, "0 to 253402300799999 milliseconds since 1970")
		}
	}
	return nil
}

func (b *StreamStarted) validate() error {
	if b.Why == 0 {
		return bad("why (2)", b.Why, "1 (damaged) or 2 (rolled back)")
	}
	return text("detail (4)", b.Detail, 512)
}
