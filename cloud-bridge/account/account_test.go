package account_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/fengsui/fengsui/cloud-bridge/account"
)

// Each role against each: who may do what whom may.
func TestRoles(t *testing.T) {
	want := map[account.Role]string{
		account.Viewer:     "viewer",
		account.Dispatcher: "viewer dispatcher",
		account.Supervisor: "viewer dispatcher supervisor",
		account.Technician: "viewer technician",
		account.Admin:      "viewer dispatcher supervisor technician admin",
	}
	for _, r := range account.Roles() {
		var may []string
		for _, least := range account.Roles() {
			if r.Covers(least) {
				may = append(may, string(least))
			}
		}
		if got := strings.Join(may, " "); got != want[r] {
			t.Errorf("%s may what %q may, want %q", r, got, want[r])
		}
	}
	if account.Role("").Covers(account.Viewer) || account.Role("root").Covers(account.Viewer) || account.Admin.Covers("root") {
		t.Error("an unknown role covers something")
	}
}

func TestNames(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"李梅", "李梅"},
		{"  J.  Moore ", "J. Moore"},
		{"ｌｉ", "li"},
		{"", ""},
		{"   ", ""},
		{"a\nb", ""},
		{"a\u202eb", ""},
		{strings.Repeat("x", 65), ""},
		{strings.Repeat("x", 64), strings.Repeat("x", 64)},
		{"centre", ""},
		{"Centre", ""},
		{"DRILL_END", ""},
		{"\xff", ""},
		{"<b>", "<b>"},
	} {
		got, err := account.ParseName(c.in)
		var bad *account.FieldError
		if got != c.want || (c.want == "") != errors.As(err, &bad) {
			t.Errorf("%q: %q, %v: want %q", c.in, got, err, c.want)
		}
	}
	for _, same := range [][2]string{{"Li Mei", "li  mei"}, {"ＬＩ", "li"}} {
		if account.NameKey(same[0]) != account.NameKey(same[1]) {
			t.Errorf("%q and %q are two", same[0], same[1])
		}
	}
}

func TestScopes(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"*", "*"}, {"b,a,b", "a,b"}, {"", ""}, {"a,*", ""}, {"a,,b", ""}, {" a , 村 ", "a,村"}, {"a\x00", ""},
	} {
		got, err := account.ParseScope(strings.Split(c.in, ","))
		if strings.Join(got, ",") != c.want || (err != nil) != (c.want == "") {
			t.Errorf("%q: %q, %v: want %q", c.in, got, err, c.want)
		}
	}
	if (account.Scope{}).Whole() || (account.Scope{"a"}).Whole() || !(account.Scope{"*"}).Whole() {
		t.Error("Whole is wrong")
	}
}
