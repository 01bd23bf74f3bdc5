// Package audit is the centre's record of who did what, when, where and from
// which screen: entries chained by hash, so that none can be changed, taken out
// or put in without breaking all that follow.
//
//	sum  = SHA-256 of the entry's content, as [Entry.content] writes it
//	hash = SHA-256 of "fs/audit/1", the hash before, and sum
//
// A chain can be checked without the content of every entry: where an export
// leaves one out, for it concerns somebody else, its sum stands in its place.
// An export ends with a [Head] that the centre has signed, so that a shortened
// one is found out as well.
//
// It is pure. Package store keeps the entries and lets nothing change them.
package audit

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// ErrChain means that a record is not what was written; the error names the
// entry and what is wrong with it.
var ErrChain = errors.New("the audit record is not whole")

// A Hash is a SHA-256, in JSON 64 hexadecimal digits.
type Hash [sha256.Size]byte

// MarshalText writes 64 hexadecimal digits.
func (h Hash) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString(h[:])), nil }

// UnmarshalText reads 64 hexadecimal digits.
func (h *Hash) UnmarshalText(b []byte) error {
	if len(b) != hex.EncodedLen(len(h)) {
		return fmt.Errorf("hash of %d characters: want 64 hexadecimal digits", len(b))
	}
	_, err := hex.Decode(h[:], b)
	return err
}

// String returns 64 hexadecimal digits.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// An Entry is one line of the record.
type Entry struct {
	Seq     int64  `json:"seq"`               // from 1, without holes
	At      int64  `json:"at"`                // the centre's clock, milliseconds since 1970
	Given   int64  `json:"given,omitempty"`   // when it was said at a device; 0: at once
	Who     string `json:"who"`               // a person, a device, or "centre"
	Screen  string `json:"screen"`            // "desk", "unit", "device", "command", "centre"
	Where   string `json:"where,omitempty"`   // the address of the screen, or a position
	What    string `json:"what"`              // "acknowledged", "grid_loaded" …
	Subject string `json:"subject,omitempty"` // what it was done to: "incident/17", "device/box-01"
	Detail  string `json:"detail,omitempty"`
}

// Time returns At.
func (e *Entry) Time() time.Time { return time.UnixMilli(e.At).UTC() }

// content is what Sum is of: each field, with its length before it.
func (e *Entry) content() []byte {
	var b bytes.Buffer
	for _, n := range []int64{e.Seq, e.At, e.Given} {
		fmt.Fprintf(&b, "%d\n", n)
	}
	for _, s := range []string{e.Who, e.Screen, e.Where, e.What, e.Subject, e.Detail} {
		fmt.Fprintf(&b, "%d\n%s\n", len(s), s)
	}
	return b.Bytes()
}

// Sum returns the hash of the entry's content.
func (e *Entry) Sum() Hash { return sha256.Sum256(e.content()) }

// Next returns the hash of an entry of that sum that follows the hash before.
func Next(before, sum Hash) Hash {
	h := sha256.New()
	h.Write([]byte("fs/audit/1"))
	h.Write(before[:])
	h.Write(sum[:])
	return Hash(h.Sum(nil))
}

// A Line is one of an export: an entry, or the sum of one that is left out.
type Line struct {
	*Entry
	LeftOut int64 `json:"left_out,omitempty"` // its number; then there is no entry
	Sum     *Hash `json:"sum,omitempty"`      // of the entry that is left out
	Before  Hash  `json:"before"`
	Hash    Hash  `json:"hash"`
}

// A Head is the end of an export, signed by the centre.
type Head struct {
	First     int64  `json:"first"` // the number of the first line; 0: there are none
	Last      int64  `json:"last"`
	Hash      Hash   `json:"hash"` // of the last line
	At        int64  `json:"at"`   // when it was signed, milliseconds since 1970
	Key       string `json:"key"`  // the centre's Ed25519 key, hexadecimal
	Signature string `json:"signature"`
}

// signed is what a head's signature is over.
func (h *Head) signed() []byte {
	return fmt.Appendf(nil, "fs/audit/1/head\n%d\n%d\n%s\n%d\n", h.First, h.Last, h.Hash, h.At)
}

// Sign fills in the key and the signature.
func (h *Head) Sign(key ed25519.PrivateKey) {
	h.Key = hex.EncodeToString(key.Public().(ed25519.PublicKey))
	h.Signature = hex.EncodeToString(ed25519.Sign(key, h.signed()))
}

// Verify checks the signature; a key, unless nil, is the one that it must be
// of. The error wraps [ErrChain].
func (h *Head) Verify(key ed25519.PublicKey) error {
	own, err := hex.DecodeString(h.Key)
	if err != nil || len(own) != ed25519.PublicKeySize {
		return fmt.Errorf("%w: head: key %q: want 64 hexadecimal digits", ErrChain, h.Key)
	}
	if key != nil && !key.Equal(ed25519.PublicKey(own)) {
		return fmt.Errorf("%w: head: signed with the key %s: want that of the centre, %x", ErrChain, h.Key, []byte(key))
	}
	signature, err := hex.DecodeString(h.Signature)
	if err != nil || !ed25519.Verify(own, h.signed(), signature) {
		return fmt.Errorf("%w: head: the signature is not of this head", ErrChain)
	}
	return nil
}

// A Writer writes an export: JSON, one line an entry, and the head.
type Writer struct {
	w    *bufio.Writer
	head Head
}

// NewWriter returns a Writer to w.
func NewWriter(w io.Writer) *Writer { return &Writer{w: bufio.NewWriter(w)} }

// Write writes one line.
func (w *Writer) Write(l Line) error {
	n := l.LeftOut
	if l.Entry != nil {
		n = l.Seq
	}
	if w.head.First == 0 {
		w.head.First = n
	}
	w.head.Last, w.head.Hash = n, l.Hash
	return w.json(l)
}

// Close writes the head, signed at a time.
func (w *Writer) Close(key ed25519.PrivateKey, at time.Time) error {
	w.head.At = at.UnixMilli()
	w.head.Sign(key)
	if err := w.json(struct {
		Head Head `json:"head"`
	}{w.head}); err != nil {
		return err
	}
	return w.w.Flush()
}

func (w *Writer) json(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	if _, err := w.w.Write(append(b, '\n')); err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	return nil
}

// A Chain checks entries one after the other.
type Chain struct {
	Entries, LeftOut int
	First, Last      int64
	Hash             Hash // of the last
	begun            bool
}

// Add checks the next line. The error wraps [ErrChain].
func (c *Chain) Add(l *Line) error {
	seq, sum := l.LeftOut, l.Sum
	switch {
	case l.Entry != nil && (l.LeftOut != 0 || l.Sum != nil):
		return fmt.Errorf("%w: entry %d: it is there and left out: want one of both", ErrChain, l.Seq)
	case l.Entry != nil:
		own := l.Entry.Sum()
		seq, sum = l.Seq, &own
	case sum == nil:
		return fmt.Errorf("%w: entry %d: neither the entry nor its sum is there", ErrChain, seq)
	}
	switch {
	case !c.begun && seq == 1 && l.Before != Hash{}:
		return fmt.Errorf("%w: entry 1: the hash before it is %s: want zeros", ErrChain, l.Before)
	case !c.begun && seq < 1:
		return fmt.Errorf("%w: entry %d: want numbers from 1", ErrChain, seq)
	case c.begun && seq != c.Last+1:
		return fmt.Errorf("%w: entry %d follows entry %d: want %d", ErrChain, seq, c.Last, c.Last+1)
	case c.begun && l.Before != c.Hash:
		return fmt.Errorf("%w: entry %d: the hash before it is %s: want that of entry %d, %s", ErrChain, seq, l.Before, c.Last, c.Hash)
	}
	if want := Next(l.Before, *sum); l.Hash != want {
		return fmt.Errorf("%w: entry %d: its hash is %s, its content makes %s: the entry was changed", ErrChain, seq, l.Hash, want)
	}
	if !c.begun {
		c.First, c.begun = seq, true
	}
	c.Last, c.Hash = seq, l.Hash
	if l.Entry != nil {
		c.Entries++
	} else {
		c.LeftOut++
	}
	return nil
}

// Read checks an export and gives each of its entries to each, unless that is
// nil. The head must be there, be signed, with key unless that is nil, and be
// of the last line. The error wraps [ErrChain].
func Read(r io.Reader, key ed25519.PublicKey, each func(*Entry) error) (Chain, *Head, error) {
	var c Chain
	var head *Head
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for n := 1; lines.Scan(); n++ {
		if head != nil {
			return c, nil, fmt.Errorf("%w: line %d: something follows the head", ErrChain, n)
		}
		var l struct {
			Line
			Head *Head `json:"head"`
		}
		if err := strict(lines.Bytes(), &l); err != nil {
			return c, nil, fmt.Errorf("%w: line %d: %w", ErrChain, n, err)
		}
		if l.Head != nil {
			head = l.Head
			continue
		}
		if l.Entry != nil && l.LeftOut != 0 {
			l.Entry = nil // "seq" is absent in these
		}
		if err := c.Add(&l.Line); err != nil {
			return c, nil, err
		}
		if l.Entry != nil && each != nil {
			if err := each(l.Entry); err != nil {
				return c, nil, err
			}
		}
	}
	if err := lines.Err(); err != nil {
		return c, nil, fmt.Errorf("%w: %w", ErrChain, err)
	}
	switch {
	case head == nil:
		return c, nil, fmt.Errorf("%w: the head is missing: the end was cut off", ErrChain)
	case head.First != c.First || head.Last != c.Last || head.Hash != c.Hash:
		return c, nil, fmt.Errorf("%w: the head is of entries %d to %d, here are %d to %d", ErrChain, head.First, head.Last, c.First, c.Last)
	}
	return c, head, head.Verify(key)
}

// strict decodes one JSON value whose every member is known.
func strict(b []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if d.More() {
		return errors.New("more than one value")
	}
	return nil
}
