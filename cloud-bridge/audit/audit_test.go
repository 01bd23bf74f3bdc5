package audit_test

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/fengsui/fengsui/cloud-bridge/audit"
)

var key = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32))

// export writes n entries, of which every third is left out.
func export(t *testing.T, n int, leave bool) []byte {
	t.Helper()
	var b bytes.Buffer
	w := audit.NewWriter(&b)
	var before audit.Hash
	for i := range n {
		e := audit.Entry{
			Seq: int64(i + 1), At: 1_795_435_200_000 + int64(i), Who: "李", Screen: "desk", Where: "10.0.0.7", What: "acknowledged",
			Subject: fmt.Sprintf("incident/%d", i), Detail: "a\nb\"c",
		}
		sum := e.Sum()
		l := audit.Line{Entry: &e, Before: before, Hash: audit.Next(before, sum)}
		if leave && i%3 == 1 {
			l.Entry, l.LeftOut, l.Sum = nil, e.Seq, &sum
		}
		if err := w.Write(l); err != nil {
			t.Fatal(err)
		}
		before = l.Hash
	}
	if err := w.Close(key, time.UnixMilli(1_795_435_300_000)); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestRead(t *testing.T) {
	for _, leave := range []bool{false, true} {
		c, head, err := audit.Read(bytes.NewReader(export(t, 10, leave)), key.Public().(ed25519.PublicKey), nil)
		want := 10
		if leave {
			want = 7
		}
		if err != nil || c.Entries != want || c.Entries+c.LeftOut != 10 || head.Last != 10 {
			t.Errorf("%+v, %+v, %v", c, head, err)
		}
	}
	if c, _, err := audit.Read(bytes.NewReader(export(t, 0, false)), nil, nil); err != nil || c.Entries != 0 {
		t.Errorf("an empty record: %+v, %v", c, err)
	}
}

// Whatever is done to an export is found out: each changed byte, each line
// taken out, put twice or swapped, each shortening.
func TestReadRefuses(t *testing.T) {
	whole := export(t, 6, true)
	refused := func(what string, b []byte) {
		t.Helper()
		if _, _, err := audit.Read(bytes.NewReader(b), key.Public().(ed25519.PublicKey), nil); !errors.Is(err, audit.ErrChain) {
			t.Errorf("%s: %v, want ErrChain", what, err)
		}
	}
	for i := range whole {
		b := bytes.Clone(whole)
		b[i] ^= 1
		if strings.EqualFold(string(b), string(whole)) { // a hexadecimal digit in the other case is the same digit
			continue
		}
		refused(fmt.Sprintf("byte %d of %d: %q", i, len(whole), b[max(0, i-10):i+1]), b)
	}
	lines := bytes.SplitAfter(whole, []byte("\n"))
	lines = lines[:len(lines)-1]
	join := func(ls ...[]byte) []byte { return bytes.Join(ls, nil) }
	for i := range lines {
		refused(fmt.Sprintf("line %d taken out", i), append(join(lines[:i]...), join(lines[i+1:]...)...))
		refused(fmt.Sprintf("line %d twice", i), append(join(lines[:i+1]...), join(lines[i:]...)...))
		refused(fmt.Sprintf("cut before line %d", i), join(lines[:i]...))
	}
	other := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{8}, 32))
	if _, _, err := audit.Read(bytes.NewReader(whole), other.Public().(ed25519.PublicKey), nil); !errors.Is(err, audit.ErrChain) {
		t.Errorf("another centre's key: %v", err)
	}
}

// Two entries whose fields run into each other are not of one sum.
func TestSumTellsFieldsApart(t *testing.T) {
	a, b := audit.Entry{Who: "li", Screen: "desk"}, audit.Entry{Who: "lid", Screen: "esk"}
	if a.Sum() == b.Sum() {
		t.Error("one sum for two entries")
	}
}
