package account_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fengsui/fengsui/cloud-bridge/account"
	"github.com/fengsui/fengsui/cloud-bridge/store"
)

var (
	cheap = account.Cost{MemoryKiB: 64, Passes: 1, Lanes: 1}
	all   = account.Scope{account.Everywhere}
	here  = account.From{Address: netip.MustParseAddr("192.0.2.1"), Agent: "test"}
)

const good = "seven quiet lanterns upstream"

// open is a service over a real store; change may be nil.
func open(t *testing.T, file string, change func(*account.Options)) *account.Service {
	t.Helper()
	db, err := store.Open(t.Context(), file, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Shut(); err != nil {
			t.Error(err)
		}
	})
	o := account.Options{Keeper: db, Cost: cheap}
	if change != nil {
		change(&o)
	}
	s, err := account.New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func create(t *testing.T, s *account.Service, name string, role account.Role) account.Account {
	t.Helper()
	a, _, err := s.Create(t.Context(), account.Actor{}, name, role, all, account.Opening{Password: good})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestPasswords(t *testing.T) {
	for _, c := range []struct {
		name, password string
		ok             bool
	}{
		{"li", good, true},
		{"li", "青石桥下三盏灯笼照夜归人", true},
		{"li", "X9$kQ2!vP7@w", true},
		{"li", "short-one", false},
		{"li", strings.Repeat("ab cd efgh ij", 12), false}, // too long
		{"li", "password1234567", false},
		{"li", "PASSWORDpassword", false},
		{"li", "123456789012", false},
		{"li", "aaaaaaaaaaaaaaaa", false},
		{"li", "abcabcabcabcabc", false},
		{"li", "qwertyuiop123456", false},
		{"li", "fengsui-admin-2026", false},
		{"wangxiaoming", "wangxiaoming123", false},
		{"li", "has a \x00 in it, really", false},
		{"li", "烽燧管理员密码123456", false},
	} {
		err := account.CheckPassword(c.name, c.password)
		var bad *account.FieldError
		if (err == nil) != c.ok || err != nil && (!errors.As(err, &bad) || strings.Contains(err.Error(), c.password)) {
			t.Errorf("%q for %s: %v: want ok %v, and the password nowhere", c.password, c.name, err, c.ok)
		}
	}
}

// The default is what OWASP recommends at least, and a hash says what it cost.
func TestCost(t *testing.T) {
	hash, err := account.Hash(good, account.DefaultCost)
	if err != nil || !strings.HasPrefix(hash, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Errorf("%q, %v", hash, err)
	}
	again, _ := account.Hash(good, account.DefaultCost)
	if again == hash {
		t.Error("two hashes with one salt")
	}
}

// A password that was hashed at another cost opens, and is hashed anew.
func TestRehash(t *testing.T) {
	file := filepath.Join(t.TempDir(), "centre.db")
	s := open(t, file, nil)
	a := create(t, s, "li", account.Viewer)
	dearer := account.Cost{MemoryKiB: 128, Passes: 2, Lanes: 1}
	s = open(t, file, func(o *account.Options) { o.Cost = dearer })
	for range 2 {
		if _, _, err := s.SignIn(t.Context(), "LI", good, here, ""); err != nil {
			t.Fatal(err)
		}
		kept, err := s.Account(a.ID)
		if err != nil || !strings.Contains(kept.Password, "$m=128,t=2,p=1$") || kept.Epoch != a.Epoch {
			t.Errorf("%+v, %v", kept, err)
		}
	}
}

// Two processes on one database: what one changes the other takes up, and neither writes over
// the other's change.
func TestTwoProcesses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "centre.db")
	centre, cli := open(t, file, nil), open(t, file, nil)
	name, oneTime, err := centre.FirstAdmin(t.Context())
	if name != "admin" || oneTime == "" || err != nil {
		t.Fatal(name, oneTime, err)
	}
	if name, _, err := cli.FirstAdmin(t.Context()); name != "" || err != nil {
		t.Errorf("a second first admin: %q, %v", name, err)
	}
	a := create(t, centre, "li", account.Dispatcher)
	b := create(t, cli, "wang", account.Dispatcher) // from a book that is old
	if a.ID == b.ID {
		t.Errorf("%+v and %+v", a, b)
	}
	secret, _, err := centre.SignIn(t.Context(), "li", good, here, "")
	if err != nil {
		t.Fatal(err)
	}
	ctx, _, leave, err := centre.Enter(t.Context(), secret, "")
	if err != nil {
		t.Fatal(err)
	}
	defer leave()
	running, stop := context.WithCancel(t.Context())
	defer stop()
	var runs sync.WaitGroup
	runs.Go(func() { centre.Run(running) })
	if _, err := cli.Disable(t.Context(), account.Actor{}, a.ID); err != nil {
		t.Fatal(err)
	}
	<-ctx.Done() // the test's own time bounds it
	if _, _, _, err := centre.Enter(t.Context(), secret, ""); !errors.Is(err, account.ErrSignedOut) {
		t.Errorf("a disabled account enters: %v", err)
	}
	// A token that another process has just made opens at once.
	_, token, err := cli.MakeToken(t.Context(), account.Actor{}, b.ID, "x", account.Dispatcher, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, leave, err := centre.Enter(t.Context(), token, ""); err != nil {
		t.Error(err)
	} else {
		leave()
	}
	stop()
	runs.Wait()
}

func TestLastAdmin(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "centre.db"), nil)
	a := create(t, s, "a", account.Admin)
	for name, do := range map[string]func() error{
		"disable": func() error { _, err := s.Disable(t.Context(), account.Actor{}, a.ID); return err },
		"demote":  func() error { _, err := s.Assign(t.Context(), account.Actor{}, a.ID, account.Viewer, all); return err },
		"bind": func() error {
			_, err := s.Assign(t.Context(), account.Actor{}, a.ID, account.Admin, account.Scope{"village-1"})
			return err
		},
	} {
		if err := do(); !errors.Is(err, account.ErrLastAdmin) {
			t.Errorf("%s: %v", name, err)
		}
	}
	b := create(t, s, "b", account.Admin)
	if _, err := s.Disable(t.Context(), account.Actor{}, a.ID); err != nil {
		t.Error(err)
	}
	if _, err := s.Disable(t.Context(), account.Actor{}, b.ID); !errors.Is(err, account.ErrLastAdmin) {
		t.Errorf("the other one: %v", err)
	}
}

// Sessions end when they were not used, and in any case; an open stream is use. They outlive
// a restart.
func TestTimes(t *testing.T) {
	file := filepath.Join(t.TempDir(), "centre.db")
	synctest.Test(t, func(t *testing.T) {
		s := open(t, file, func(o *account.Options) { o.Idle, o.Life = 30*time.Minute, 8*time.Hour })
		create(t, s, "li", account.Viewer)
		running, stop := context.WithCancel(t.Context())
		var runs sync.WaitGroup
		runs.Go(func() { s.Run(running) })
		sign := func() account.Secret {
			t.Helper()
			secret, _, err := s.SignIn(t.Context(), "li", good, here, "")
			if err != nil {
				t.Fatal(err)
			}
			return secret
		}
		in := func(s *account.Service, secret account.Secret) bool {
			_, _, leave, err := s.Enter(t.Context(), secret, "")
			if err == nil {
				leave()
			}
			return err == nil
		}
		idle, used, streaming := sign(), sign(), sign()
		stream, _, leave, err := s.Enter(t.Context(), streaming, "")
		if err != nil {
			t.Fatal(err)
		}
		defer leave()
		for range 3 {
			time.Sleep(20 * time.Minute)
			if !in(s, used) {
				t.Fatal("a session in use has ended")
			}
		}
		if in(s, idle) {
			t.Error("an idle session goes on")
		}
		if stream.Err() != nil || !in(s, streaming) {
			t.Error("a session with an open stream has ended")
		}
		time.Sleep(2 * time.Minute) // when it was seen is kept
		if again := open(t, file, func(o *account.Options) { o.Idle = 30 * time.Minute }); !in(again, streaming) || in(again, idle) {
			t.Error("after a restart: want the one that was in use, and not the idle one")
		}
		time.Sleep(7 * time.Hour)
		if stream.Err() == nil || in(s, streaming) {
			t.Error("it goes on after its life")
		}
		stop()
		runs.Wait()
	})
}

// A one-time password opens until it ends, and only to be changed.
func TestOneTime(t *testing.T) {
	now := time.Now()
	s := open(t, filepath.Join(t.TempDir(), "centre.db"), func(o *account.Options) { o.Now = func() time.Time { return now } })
	_, oneTime, err := s.Create(t.Context(), account.Actor{}, "li", account.Viewer, all, account.Opening{})
	if err != nil {
		t.Fatal(err)
	}
	secret, _, err := s.SignIn(t.Context(), "li", oneTime, here, "")
	if err != nil {
		t.Fatal(err)
	}
	_, actor, leave, err := s.Enter(t.Context(), secret, "")
	if err != nil || !actor.MustChange {
		t.Fatalf("%+v, %v", actor, err)
	}
	leave()
	for _, bad := range []string{oneTime, "short", "password12345678"} {
		if _, _, err := s.ChangePassword(t.Context(), actor, oneTime, bad, here); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
	if _, _, err := s.ChangePassword(t.Context(), actor, "wrong", good, here); !errors.Is(err, account.ErrRefused) {
		t.Errorf("with a wrong old password: %v", err)
	}
	fresh, _, err := s.ChangePassword(t.Context(), actor, oneTime, good, here)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := s.Enter(t.Context(), secret, ""); !errors.Is(err, account.ErrSignedOut) {
		t.Errorf("the former session: %v", err)
	}
	if _, actor, leave, err := s.Enter(t.Context(), fresh, ""); err != nil || actor.MustChange {
		t.Errorf("%+v, %v", actor, err)
	} else {
		leave()
	}
	a, err := s.ByName("li")
	if err != nil {
		t.Fatal(err)
	}
	if _, oneTime, err = s.Reset(t.Context(), account.Actor{}, a.ID); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.SignIn(t.Context(), "li", good, here, ""); !errors.Is(err, account.ErrRefused) {
		t.Errorf("the password from before: %v", err)
	}
	now = now.Add(account.OneTimeFor)
	if _, _, err := s.SignIn(t.Context(), "li", oneTime, here, ""); !errors.Is(err, account.ErrRefused) {
		t.Errorf("a one-time password that has ended: %v", err)
	}
}

// A flood of sign-ins takes no more memory than the few that run at once: the rest waits or
// is told to come again.
func TestFlood(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "centre.db"), func(o *account.Options) {
		o.Cost = account.Cost{MemoryKiB: 8 * 1024, Passes: 1, Lanes: 1}
		wide := account.Rate{Burst: 1000, Each: time.Second}
		o.Rates = account.Rates{NameAtAddress: wide, Address: wide, Name: wide}
	})
	var busy, refused, other int
	var mu sync.Mutex
	var all sync.WaitGroup
	for n := range 200 {
		all.Go(func() {
			_, _, err := s.SignIn(t.Context(), fmt.Sprint("x", n), "y", here, "")
			mu.Lock()
			defer mu.Unlock()
			switch {
			case errors.Is(err, account.ErrBusy):
				busy++
			case errors.Is(err, account.ErrRefused):
				refused++
			default:
				other++
			}
		})
	}
	all.Wait()
	if other > 0 || refused == 0 || busy+refused != 200 {
		t.Errorf("%d busy, %d refused, %d otherwise", busy, refused, other)
	}
}

func TestThrottle(t *testing.T) {
	th := account.NewThrottle(account.Rates{NameAtAddress: account.Rate{Burst: 3, Each: time.Minute}, Address: account.Rate{Burst: 5, Each: time.Minute}, Name: account.Rate{Burst: 8, Each: time.Minute}})
	now := time.Now()
	one, two := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2:3")
	for n := range 3 {
		if wait := th.Take(now, "li", one); wait != 0 {
			t.Fatalf("attempt %d waits %v", n, wait)
		}
	}
	if wait := th.Take(now, "li", one); wait <= 0 || wait > time.Minute {
		t.Errorf("the fourth waits %v", wait)
	}
	if wait := th.Take(now, "li", two); wait == 0 {
		t.Error("an address of the same /64 is another")
	}
	th.Succeeded("li", one)
	if wait := th.Take(now, "li", one); wait != 0 {
		t.Errorf("after a success: %v", wait)
	}
	now = now.Add(time.Hour)
	for n := range 5 {
		if wait := th.Take(now, fmt.Sprint(n), one); wait != 0 {
			t.Fatal(wait)
		}
	}
	if wait := th.Take(now, "another", one); wait == 0 {
		t.Error("the address is not bounded")
	}
	for n := range 8 {
		if wait := th.Take(now, "wang", netip.AddrFrom4([4]byte{192, 0, 2, byte(n)})); wait != 0 {
			t.Fatal(wait)
		}
	}
	if wait := th.Take(now, "wang", netip.MustParseAddr("198.51.100.1")); wait == 0 {
		t.Error("a name is not bounded from everywhere")
	}
}
