package account

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"
	"time"
)

// A Secret is what a session's cookie or a program's token carries: 256 random bits. Only
// its hash is kept.
type Secret string

// NewSecret makes one with a prefix that says what it is.
func NewSecret(prefix string) Secret {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails
	return Secret(prefix + hex.EncodeToString(b[:]))
}

// A Digest is a Secret's SHA-256: the secret is random, so no salt and no slow hash is
// needed.
type Digest [sha256.Size]byte

// Digest returns the secret's hash.
func (s Secret) Digest() Digest { return sha256.Sum256([]byte(s)) }

// TokenPrefix begins each token, so that scanners of files and logs recognise one.
const TokenPrefix = "fengsui_"

// A Session is one browser that is signed in.
type Session struct {
	ID      int64 // 0: not kept
	Account int64
	Epoch   int64 // of the account, when the session began
	Digest  Digest
	Made    time.Time
	Seen    time.Time
	Ends    time.Time // whatever happens
	Address string
	Agent   string // the browser's own word
}

// A Token lets a program act as its account.
type Token struct {
	ID      int64 // 0: not kept yet
	Account int64
	Label   string
	Role    Role // it may do what this and the account's role may both do
	Digest  Digest
	Made    time.Time
	Ends    time.Time // zero: never
	Revoked bool
}

// A Book is all accounts and tokens. Rev rises with each change of either.
type Book struct {
	Rev      int64
	Accounts map[int64]*Account
	Tokens   map[int64]*Token
}

// An Edit is one change of the book, made as a whole or not at all. Those with ID 0 are
// new; sessions of another epoch than their account's are deleted with it.
type Edit struct {
	Rev      int64 // of the book that it was made from
	Accounts []*Account
	Tokens   []*Token
}

// A Keeper keeps accounts over restarts; *store.Store is one. Errors wrap what the store
// says of itself.
type Keeper interface {
	// Book returns all accounts and tokens, and the sessions that have not been ended.
	Book(ctx context.Context) (Book, []Session, error)
	// BookRev returns the book's Rev, which another process may have raised.
	BookRev(ctx context.Context) (int64, error)
	// EditBook makes a change. The error wraps [ErrStale] when Rev is not the book's.
	EditBook(ctx context.Context, e Edit) error
	// KeepSession keeps a new session and returns its ID, or brings the Seen of one that
	// has an ID up to date.
	KeepSession(ctx context.Context, s *Session) (int64, error)
	// DropSessions deletes sessions; those that are not there are no error.
	DropSessions(ctx context.Context, ids ...int64) error
}

// byName returns the account of a name, or nil.
func (b *Book) byName(name string) *Account {
	key := NameKey(name)
	for _, a := range b.Accounts {
		if key != "" && NameKey(a.Name) == key {
			return a
		}
	}
	return nil
}

func (b *Book) bySubject(issuer, subject string) *Account {
	for _, a := range b.Accounts {
		if a.Issuer == issuer && a.Subject == subject {
			return a
		}
	}
	return nil
}

// keeps reports whether an account can keep the others.
func (a *Account) keeps() bool { return a.Role == Admin && a.Scope.Whole() && !a.Disabled }

// admins counts those who can keep the accounts.
func (b *Book) admins() (n int) {
	for _, a := range b.Accounts {
		if a.keeps() {
			n++
		}
	}
	return n
}

// sorted returns values in the order of their ids.
func sorted[V any](m map[int64]*V) []V {
	out := make([]V, 0, len(m))
	for _, id := range slices.Sorted(maps.Keys(m)) {
		out = append(out, *m[id])
	}
	return out
}
