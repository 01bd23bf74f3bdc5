package account

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"
	"golang.org/x/text/secure/precis"
)

// Cost is what one password costs to check, in argon2id's terms.
type Cost struct {
	MemoryKiB uint32
	Passes    uint32
	Lanes     uint8
}

// DefaultCost is the least that OWASP's Password Storage Cheat Sheet recommends for
// argon2id: 19 MiB, two passes, one lane.
var DefaultCost = Cost{MemoryKiB: 19 * 1024, Passes: 2, Lanes: 1}

const (
	saltBytes, hashBytes = 16, 32 // RFC 9106, section 3.1
	// maxMemoryKiB bounds what a hash that was read may ask for.
	maxMemoryKiB = 1 << 20
)

// MinPassword and MaxPassword bound a password, in characters. NIST SP 800-63B asks for no
// mixture of kinds of characters, and for no regular change; neither do we.
const (
	MinPassword = 12
	MaxPassword = 128
)

// tidy brings a password into the one form in which it is hashed (RFC 8265, section 4).
func tidy(password string) (string, bool) {
	s, err := precis.OpaqueString.String(password)
	return s, err == nil
}

// common are the parts that most guessed passwords are made of; what is left of a password
// without them must be worth something.
var common = []string{
	"password", "passw0rd", "p@ssw0rd", "qwertyuiop", "qwerty", "asdfghjkl", "asdfgh", "zxcvbnm", "1q2w3e4r5t6y", "1q2w3e4r", "1qaz2wsx", "qazwsx",
	"1234567890", "123456789", "12345678", "123456", "0987654321", "987654321", "654321", "147258369", "5201314", "520520", "888888", "666666",
	"abcdefgh", "abcdef", "abc123", "abcd1234", "iloveyou", "woaini", "letmein", "welcome", "dragon", "monkey", "football", "baseball", "sunshine",
	"princess", "superman", "master", "trustno1", "changeme", "default", "secret", "guanliyuan", "mima", "admin", "administrator", "root", "user", "login",
	"test", "fengsui", "beacon", "centre", "center", "dispatcher", "dispatch", "police", "110110", "112112", "密码", "管理员", "烽燧", "派出所",
}

// CheckPassword says whether a person may choose a password. The error is a [*FieldError]
// that does not repeat it.
func CheckPassword(name, password string) error {
	bad := func(want string) error { return &FieldError{Field: "password", Want: want} }
	tidied, ok := tidy(password)
	if n := utf8.RuneCountInString(tidied); !ok || n < MinPassword || n > MaxPassword {
		return bad(fmt.Sprintf("%d to %d characters, of any kind but control characters", MinPassword, MaxPassword))
	}
	rest := strings.ToLower(tidied)
	for _, part := range append(strings.Fields(strings.ToLower(name)), common...) {
		if utf8.RuneCountInString(part) > 1 {
			rest = strings.ReplaceAll(rest, part, "\n")
		}
	}
	if worth([]rune(rest)) < MinPassword/2 {
		return bad("one that is harder to guess: not a common word, your name, a row of keys or a repetition")
	}
	return nil
}

// worth counts the characters that do not simply go on from what was before: repeated,
// next in a row, or part of a period of up to four.
func worth(s []rune) (n int) {
	for i, c := range s {
		dull := c == '\n' || c == ' '
		for period := 1; period <= 4 && !dull && i >= period; period++ {
			dull = s[i-period] == c
		}
		if i > 0 && !dull {
			dull = c-s[i-1] == 1 || c-s[i-1] == -1
		}
		if !dull {
			n++
		}
	}
	return n
}

// OneTimePassword makes a password of 100 random bits, easy to copy by hand.
func OneTimePassword() string {
	t := rand.Text()
	return t[:5] + "-" + t[5:10] + "-" + t[10:15] + "-" + t[15:20]
}

// Hash hashes a password with a new salt, into PHC's string format.
func Hash(password string, c Cost) (string, error) {
	tidied, ok := tidy(password)
	if !ok {
		return "", &FieldError{Field: "password", Want: "text without control characters"}
	}
	salt := make([]byte, saltBytes)
	_, _ = rand.Read(salt) // never fails
	sum := argon2.IDKey([]byte(tidied), salt, c.Passes, c.MemoryKiB, c.Lanes, hashBytes)
	b64 := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, c.MemoryKiB, c.Passes, c.Lanes, b64.EncodeToString(salt), b64.EncodeToString(sum)), nil
}

// errHash means that a kept hash is none.
var errHash = errors.New("account: the kept hash of a password cannot be read")

type parsed struct {
	cost      Cost
	salt, sum []byte
}

func parseHash(s string) (p parsed, err error) {
	parts := strings.Split(s, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return p, errHash
	}
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &p.cost.MemoryKiB, &p.cost.Passes, &p.cost.Lanes); err != nil {
		return p, errHash
	}
	if c := p.cost; c.MemoryKiB > maxMemoryKiB || c.Passes == 0 || c.Passes > 64 || c.Lanes == 0 {
		return p, errHash
	}
	if p.salt, err = base64.RawStdEncoding.DecodeString(parts[4]); err != nil {
		return p, errHash
	}
	if p.sum, err = base64.RawStdEncoding.DecodeString(parts[5]); err != nil || len(p.sum) < hashBytes/2 {
		return p, errHash
	}
	return p, nil
}

// verify reports whether a password is the one of a hash, and whether the hash was made at
// another cost than c.
func verify(hash, password string, c Cost) (same, outdated bool, err error) {
	p, err := parseHash(hash)
	if err != nil {
		return false, false, err
	}
	tidied, ok := tidy(password)
	if !ok || len(tidied) > 4*MaxPassword {
		tidied = "" // costs the same; it is nobody's
	}
	sum := argon2.IDKey([]byte(tidied), p.salt, p.cost.Passes, p.cost.MemoryKiB, p.cost.Lanes, uint32(len(p.sum)))
	return tidied != "" && subtle.ConstantTimeCompare(sum, p.sum) == 1, p.cost != c, nil
}

// A hasher lets so many hash at once, and so many wait; each takes [Cost].MemoryKiB, and a
// flood of sign-ins must not take all memory.
type hasher struct {
	cost    Cost
	running chan struct{}
	waiting chan struct{}
	nobody  string // the hash that an unknown name is checked against
}

func newHasher(c Cost, running, waiting int) (*hasher, error) {
	nobody, err := Hash(OneTimePassword(), c)
	return &hasher{c, make(chan struct{}, running), make(chan struct{}, running+waiting), nobody}, err
}

// do runs f when there is room. The error is [ErrBusy], or ctx's.
func (h *hasher) do(ctx context.Context, f func() error) error {
	select {
	case h.waiting <- struct{}{}:
		defer func() { <-h.waiting }()
	default:
		return ErrBusy
	}
	select {
	case h.running <- struct{}{}:
		defer func() { <-h.running }()
	case <-ctx.Done():
		return ctx.Err()
	}
	return f()
}
