package spool

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/fengsui/fengsui/firmware/wire"
)

// fuzzed returns a sealed event, always the same for the same arguments.
func fuzzed(tb testing.TB, l wire.Lane, seq uint64) []byte {
	tb.Helper()
	msg, err := wire.Seal(&wire.Event{
		Device: "box-01", Stream: wire.StreamID{1, 2, 3}, Lane: l, Seq: seq, Boot: 1,
		Body: &wire.Fault{Code: "x", Detail: "sample", Active: true},
	}, ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
	if err != nil {
		tb.Fatal(err)
	}
	return msg
}

// FuzzHome reads any bytes as the second home of alarms, as they are and with
// the checksum that they would need. What was read is written and read again.
func FuzzHome(f *testing.F) {
	alarm := item(nil, itemEvent, fuzzed(f, wire.Alarm, 5))
	f.Add(stateItem(alarm, "latch", []byte("panic")))
	f.Add(stateItem(nil, "", nil))
	f.Add([]byte{itemEvent, 0xff, 0xff, 0xff, 0xff, 1})
	f.Add([]byte{itemState, 0, 0, 0, 2, 0xff, 0xff})
	frame := func(payload []byte) []byte {
		b := binary.BigEndian.AppendUint32([]byte(homeMagic), 7)
		b = binary.BigEndian.AppendUint32(b, uint32(len(payload)))
		return append(binary.BigEndian.AppendUint32(b, homeSum(b[4:12], payload)), payload...)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		var torn home
		torn.state = make(map[string][]byte)
		torn.parse(in)
		if torn.end < 0 || torn.end > int64(len(in)) || torn.held != len(torn.found) {
			t.Fatalf("end %d of %d, %d held, %d found", torn.end, len(in), torn.held, len(torn.found))
		}
		whole := home{state: make(map[string][]byte)}
		file := append(frame(in), in...) // the last entry is torn
		whole.parse(file)
		if n := int64(homeHead + len(in)); whole.end < n {
			t.Fatalf("end %d: want %d or more", whole.end, n)
		}
		var payload []byte
		for k, v := range whole.state {
			payload = stateItem(payload, k, v)
		}
		for _, e := range whole.found {
			if ev, err := wire.Peek(e.msg); err != nil || ev.Seq != e.seq || ev.Lane != e.lane || ev.Stream != e.stream {
				t.Fatalf("found %v %d, which is %+v: %v", e.place, e.seq, ev, err)
			}
			payload = item(payload, itemEvent, e.msg)
		}
		again := home{state: make(map[string][]byte)}
		again.parse(frame(payload))
		same := func(a, b homeEvent) bool {
			return a.place == b.place && a.seq == b.seq && bytes.Equal(a.msg, b.msg)
		}
		if !slices.EqualFunc(again.found, whole.found, same) || len(again.state) != len(whole.state) {
			t.Fatalf("%d events and %d states, written and read again: %d and %d", len(whole.found), len(whole.state), len(again.found), len(again.state))
		}
		for k, v := range whole.state {
			if !bytes.Equal(again.state[k], v) {
				t.Fatalf("state %q is %q, written and read again %q", k, v, again.state[k])
			}
		}
	})
}

// FuzzSalvage looks for events in a file of ruins. An event that is whole is
// found, whatever is before and behind it; one with a wrong byte is not.
func FuzzSalvage(f *testing.F) {
	msg := fuzzed(f, wire.Duty, 9)
	place := place{wire.StreamID{1, 2, 3}, wire.Duty}
	record := append(key(9), pack(place.bucket(), key(9), msg)...)
	f.Add([]byte(nil), []byte(nil), uint16(20), byte(1))
	f.Add([]byte("\x00\x00\x00"), bytes.Repeat([]byte{0xff}, 300), uint16(0), byte(0x80))
	f.Add(sealed, sealed, uint16(9), byte(0xff))
	f.Add([]byte("head/0102030000000000"), []byte("head/"), uint16(200), byte(7))
	f.Add(record, record[:len(record)-1], uint16(12), byte(0))
	path := filepath.Join(f.TempDir(), "spool.db")
	f.Fuzz(func(t *testing.T, before, behind []byte, at uint16, flip byte) {
		ruin := bytes.Clone(record)
		ruin[int(at)%len(ruin)] ^= flip
		intact := flip == 0 || bytes.Contains(before, record) || bytes.Contains(behind, record)
		file := slices.Concat(before, ruin, behind)
		if err := os.WriteFile(path, file, 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := scan(path)
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for _, e := range got.events {
			b := file[e.at : e.at+int64(e.size)]
			if ev, err := wire.Peek(b); err != nil || ev.Seq != e.seq || ev.Lane != e.lane || ev.Stream != e.stream {
				t.Fatalf("found %v %d, which is %+v: %v", e.place, e.seq, ev, err)
			}
			if e.place == place && e.seq == 9 {
				if found = true; !bytes.Equal(b, msg) {
					t.Fatalf("found %x in place of %x", b, msg)
				}
			}
		}
		if found != intact {
			t.Fatalf("found is %v, whole is %v", found, intact)
		}
	})
}
