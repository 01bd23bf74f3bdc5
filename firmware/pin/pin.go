// Package pin keeps officers' PINs as hashes and checks them.
//
// A hash is argon2id (RFC 9106) in the PHC string format, with 19 MiB, two
// passes and one lane, the least that OWASP's Password Storage Cheat Sheet
// gives: a check takes some tenths of a second on a small board, and checks are
// made one at a time. A PIN is short, so whoever has the hash finds it all the
// same; the hash belongs in a file that only the device reads, and it is the
// lock-out (package agent) that makes guessing at the screen slow.
package pin

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync"

	"golang.org/x/crypto/argon2"
)

// The parameters of new hashes.
const (
	memory = 19 << 10 // KiB
	passes = 2
	lanes  = 1
	salt   = 16 // bytes
	length = 32
)

// Bounds of a PIN, in digits.
const (
	Min = 6
	Max = 12
)

// Errors of a PIN and of a hash.
var (
	// ErrPIN means that a PIN is none.
	ErrPIN = errors.New("want 6 to 12 digits, not all alike and not in a row")
	// ErrHash means that a hash is none.
	ErrHash = errors.New("the line that `fengsui pin` printed, $argon2id$v=19$…")
)

// Valid checks a new PIN.
func Valid(p string) error {
	if len(p) < Min || len(p) > Max {
		return ErrPIN
	}
	same, up, down := true, true, true
	for i := range len(p) {
		if p[i] < '0' || p[i] > '9' {
			return ErrPIN
		}
		if i > 0 {
			step := int(p[i]) - int(p[i-1])
			same, up, down = same && step == 0, up && step == 1, down && step == -1
		}
	}
	if same || up || down {
		return ErrPIN
	}
	return nil
}

// A Hash is a PIN's hash; the zero Hash matches nothing.
type Hash struct {
	salt, sum []byte
	text      string
}

// New hashes a PIN. The error wraps [ErrPIN].
func New(p string) (Hash, error) {
	if err := Valid(p); err != nil {
		return Hash{}, err
	}
	h := Hash{salt: make([]byte, salt)}
	rand.Read(h.salt) // never fails
	h.sum = derive(p, h.salt)
	enc := base64.RawStdEncoding
	h.text = fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, memory, passes, lanes, enc.EncodeToString(h.salt), enc.EncodeToString(h.sum))
	return h, nil
}

// String returns the PHC string.
func (h Hash) String() string { return h.text }

// UnmarshalText parses a PHC string of this package's parameters. The error is
// [ErrHash].
func (h *Hash) UnmarshalText(b []byte) error {
	prefix := fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$", argon2.Version, memory, passes, lanes)
	rest, ok := strings.CutPrefix(string(b), prefix)
	if !ok {
		return ErrHash
	}
	s, d, ok := strings.Cut(rest, "$")
	if !ok {
		return ErrHash
	}
	var err1, err2 error
	h.salt, err1 = base64.RawStdEncoding.DecodeString(s)
	h.sum, err2 = base64.RawStdEncoding.DecodeString(d)
	if err1 != nil || err2 != nil || len(h.salt) != salt || len(h.sum) != length {
		*h = Hash{}
		return ErrHash
	}
	h.text = string(b)
	return nil
}

// Match reports whether a PIN is the one. It takes the same time for the zero
// Hash.
func (h Hash) Match(p string) bool {
	s := h.salt
	if s == nil {
		s = make([]byte, salt)
	}
	return subtle.ConstantTimeCompare(derive(p, s), h.sum) == 1
}

// one lets one check run at a time: a small board has little memory.
var one sync.Mutex

func derive(p string, s []byte) []byte {
	one.Lock()
	defer one.Unlock()
	return argon2.IDKey([]byte(p), s, passes, memory, lanes, length)
}
