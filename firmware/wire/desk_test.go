package wire_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/fengsui/fengsui/firmware/wire"
)

// part is a part of n bytes of a file.
func part(size, index, count uint64, n int) wire.Body {
	return &wire.AttachmentPart{Whole: make([]byte, 32), Size: size, Index: index, Count: count, Bytes: make([]byte, n)}
}

// Every way of cutting a file into parts of one length is accepted, whichever
// part is looked at, and no other.
func TestAttachmentPartsAreOfOneLength(t *testing.T) {
	for size := 1; size <= 40; size++ {
		for n := 1; n <= size; n++ {
			count := (size + n - 1) / n
			for index := range count {
				for length := 1; length <= size+1; length++ {
					_, err := wire.Seal(event(wire.Track, part(uint64(size), uint64(index), uint64(count), length)), deviceKey)
					fits := false
					for m := 1; m <= size; m++ { // some length of parts makes it
						fits = fits || (size+m-1)/m == count && length == min(m, size-index*m)
					}
					if (err == nil) != fits {
						t.Fatalf("%d bytes in %d parts, part %d of %d bytes: %v", size, count, index, length, err)
					}
				}
			}
		}
	}
}

func TestLeftNeedsNoClock(t *testing.T) {
	d := wire.Down{CentreTime: 5000}
	for until, want := range map[int64]time.Duration{8000: 3 * time.Second, 5000: 0, 1000: 0, 0: 0} {
		if got := d.Left(until); got != want {
			t.Errorf("until %d at 5000: %v left, want %v", until, got, want)
		}
	}
}

func TestSealRefusesWhatADeskCannotUse(t *testing.T) {
	for want, e := range map[string]*wire.Event{
		"device (5)":                           event(2, &wire.Sounded{By: wire.SoundedByGroup}),
		"rev (2) 0: want 1 or more when by":    event(2, &wire.Sounded{By: wire.SoundedByCentre, Device: "box-02"}),
		"officer (2)":                          event(2, &wire.CheckIn{By: wire.CheckInFinger}),
		"by (1) 0":                             event(2, &wire.CheckIn{}),
		"rev (1) 0":                            event(2, &wire.ModeSet{}),
		"incident (1) 0":                       event(2, &wire.UnitAnswer{Rev: 1, Answer: wire.AnswerAccepted}),
		"answer (3) 0":                         event(2, &wire.UnitAnswer{Incident: 1, Rev: 1}),
		"code (4) 0":                           event(2, &wire.UnitAnswer{Incident: 1, Rev: 1, Answer: wire.AnswerClosed}),
		"attachments (6) 17":                   event(2, &wire.UnitAnswer{Incident: 1, Rev: 1, Answer: wire.AnswerChecked, Attachments: make([]wire.Hash, 17)}),
		"text (2)":                             event(2, &wire.Note{}),
		"doing (1) 0":                          event(2, &wire.UnitState{}),
		"reason (2)":                           event(2, &wire.UnitState{Doing: wire.DoingBusy, Reason: strings.Repeat("x", 201)}),
		"whole (1)":                            event(3, &wire.AttachmentPart{}),
		"index (3) 2":                          event(3, part(7, 2, 2, 3)),
		"size (2) 2097153":                     event(3, part(2<<20+1, 0, 200, 3)),
		"bytes (5) of length 3: want a length": event(3, part(7, 0, 2, 3)),
		"bytes (5) of length 4: want the last": event(3, part(7, 1, 2, 4)),
		"bytes (5) of length 16385":            event(3, part(20000, 0, 2, 16385)),
	} {
		_, err := wire.Seal(e, deviceKey)
		if !errors.Is(err, wire.ErrMessage) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "want ") {
			t.Errorf("%s: %v, want an ErrMessage that names it and what would be right", want, err)
		}
	}
}
