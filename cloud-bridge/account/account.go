// Package account says who may do what at the centre: local accounts with their roles and
// the part of the grid that each is bound to, their passwords, the sessions of browsers and
// the tokens of programs.
//
// The rules are pure: [Role], [Scope], [CheckPassword], [Throttle]. [Service] keeps in memory
// who is signed in, so that every request is judged without a query and a session's end cuts
// its open streams at once; what must outlast the process goes through a [Keeper], which is
// the centre's database.
//
// It serves nothing: package console has the pages and the routes. It knows officers and
// staff only by the accounts that an admin made; it holds nothing of residents.
package account

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"golang.org/x/text/secure/precis"
)

// Errors of this package.
var (
	// ErrNotFound means that there is no such account, session or token.
	ErrNotFound = errors.New("there is no such account, session or token")
	// ErrRefused means that a name and password do not go together, or that the account
	// is disabled: which of them, the person is not told.
	ErrRefused = errors.New("the name or the password is wrong")
	// ErrSignedOut means that a session or token is unknown, has ended or was revoked.
	ErrSignedOut = errors.New("not signed in")
	// ErrBusy means that too many passwords are being checked already: try again.
	ErrBusy = errors.New("too many people are signing in at once")
	// ErrLastAdmin means that no enabled admin would remain.
	ErrLastAdmin = errors.New("at least one enabled admin of the whole district must remain")
	// ErrStale means that another process has changed the accounts meanwhile.
	ErrStale = errors.New("the accounts have changed meanwhile")
)

// A FieldError names a field, its value and what would be right. A password is never
// its value.
type FieldError struct{ Field, Value, Want string }

func (e *FieldError) Error() string {
	if e.Value == "" {
		return fmt.Sprintf("%s: want %s", e.Field, e.Want)
	}
	return fmt.Sprintf("%s %q: want %s", e.Field, e.Value, e.Want)
}

// A Role says what an account may do.
type Role string

// The roles. Viewer reads; a dispatcher takes the steps of incidents as well; a
// supervisor approves and plans; a technician reads and keeps devices, and takes no step;
// an admin may do everything, and alone keeps the accounts.
const (
	Viewer     Role = "viewer"
	Dispatcher Role = "dispatcher"
	Supervisor Role = "supervisor"
	Technician Role = "technician"
	Admin      Role = "admin"
)

// covers says of each role which others' routes it may take.
var covers = map[Role][]Role{
	Viewer:     {Viewer},
	Dispatcher: {Viewer, Dispatcher},
	Supervisor: {Viewer, Dispatcher, Supervisor},
	Technician: {Viewer, Technician},
	Admin:      {Viewer, Dispatcher, Supervisor, Technician, Admin},
}

// Roles returns all roles.
func Roles() []Role { return []Role{Viewer, Dispatcher, Supervisor, Technician, Admin} }

// ParseRole returns the role of that name; the error is a [*FieldError].
func ParseRole(s string) (Role, error) {
	if slices.Contains(Roles(), Role(s)) {
		return Role(s), nil
	}
	return "", &FieldError{"role", s, "viewer, dispatcher, supervisor, technician or admin"}
}

// Covers reports whether r may do what least may.
func (r Role) Covers(least Role) bool { return slices.Contains(covers[r], least) }

// And is the role that may do only what both may, as a token that was bounded does.
func (r Role) And(other Role) Role {
	switch {
	case r.Covers(other):
		return other
	case other.Covers(r):
		return r
	}
	return Viewer // technician and dispatcher have only that in common
}

// Everywhere is the one member of a Scope that is bound to no part of the grid.
const Everywhere = "*"

// A Scope is the part of the grid that an account sees and acts on: ids of the grid's
// nodes (cells, villages, townships, districts), or [Everywhere] alone. The empty one is
// nowhere.
type Scope []string

// Whole reports whether the scope is bound to no part of the grid.
func (s Scope) Whole() bool { return len(s) == 1 && s[0] == Everywhere }

// MaxScope is the most nodes of a Scope.
const MaxScope = 200

// ParseScope checks and sorts nodes; the error is a [*FieldError].
func ParseScope(nodes []string) (Scope, error) {
	const want = "one id of a grid node or more, or * alone for everywhere"
	out := make(Scope, 0, len(nodes))
	for _, n := range nodes {
		n = strings.TrimSpace(n)
		if n == "" || len(n) > 64 || strings.ContainsFunc(n, func(c rune) bool { return !unicode.IsGraphic(c) || c == ',' }) {
			return nil, &FieldError{"scope", n, want}
		}
		out = append(out, n)
	}
	slices.Sort(out)
	out = slices.Compact(out)
	if len(out) == 0 || len(out) > MaxScope || slices.Contains(out, Everywhere) && len(out) > 1 {
		return nil, &FieldError{"scope", strings.Join(nodes, ","), want}
	}
	return out, nil
}

// MaxName bounds a name, in bytes. It is the same as an incident's for who did something.
const MaxName = 64

// taken are names that stand in timelines for somebody else than a person.
var taken = []string{"centre", "drill_end", "system"}

// ParseName returns a name as it is kept: 1 to [MaxName] bytes of printable text on one
// line, spaces run together. Names are compared by [NameKey]. The error is a [*FieldError].
func ParseName(s string) (string, error) {
	bad := func(want string) error { return &FieldError{"name", s, want} }
	name, err := precis.Nickname.String(s) // RFC 8266: NFKC, spaces trimmed and run together
	if err != nil || name == "" || len(name) > MaxName || strings.ContainsFunc(name, func(c rune) bool { return !unicode.IsPrint(c) }) {
		return "", bad(fmt.Sprintf("1 to %d bytes of printable text on one line", MaxName))
	}
	if slices.Contains(taken, NameKey(name)) {
		return "", bad("another name: this one is the centre's own")
	}
	return name, nil
}

// NameKey is equal for names that people would take for the same; "" for one that no
// account can have.
func NameKey(s string) string {
	key, err := precis.Nickname.CompareKey(s)
	if err != nil {
		return ""
	}
	return key
}

// An Account is one person, or one program.
type Account struct {
	ID    int64 // 0: not kept yet
	Name  string
	Role  Role
	Scope Scope

	Password   string    // its hash as [Hash] made it; "": no password opens the account
	MustChange bool      // the password is a one-time one
	Until      time.Time // when a one-time password ends; zero: never
	Issuer     string    // of the OpenID provider that vouches for the account; "": local
	Subject    string    // at the issuer

	Disabled bool
	Epoch    int64 // sessions of another epoch have ended
	Made     time.Time
	Changed  time.Time // of the password
}

// Opens says how an account can be opened: "password", "one-time", "oidc", or "token"
// when it has nothing but tokens.
func (a *Account) Opens() string {
	switch {
	case a.Issuer != "":
		return "oidc"
	case a.Password == "":
		return "token"
	case a.MustChange:
		return "one-time"
	}
	return "password"
}

// An Actor is who makes a request.
type Actor struct {
	Account int64
	Name    string
	Role    Role
	Scope   Scope
	Session string // which session ("s12") or token ("t3"); safe to be shown
	Screen  string // the address and program that it came from
	Ends    time.Time
	// MustChange means that the password is a one-time one: nothing but changing it is
	// allowed.
	MustChange bool
}

type actorKey struct{}

// WithActor returns a context that carries who makes the request.
func WithActor(ctx context.Context, a Actor) context.Context {
	return context.WithValue(ctx, actorKey{}, a)
}

// ActorOf returns who makes the request; ok is false where nobody is signed in.
func ActorOf(ctx context.Context) (a Actor, ok bool) {
	a, ok = ctx.Value(actorKey{}).(Actor)
	return a, ok
}
