package fingers_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/fengsui/fengsui/firmware/fingerprint"
	"github.com/fengsui/fengsui/firmware/fingers"
)

func open(t *testing.T, dir string, configured map[int]string) *fingers.Roster {
	t.Helper()
	r, err := fingers.Open(dir, configured)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func TestRoster(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	r := open(t, dir, map[int]string{1: "P-1001", 2: "P-1002"})
	if _, err := fingers.Open(dir, nil); !errors.Is(err, fingers.ErrBusy) {
		t.Errorf("a second: %v, want ErrBusy", err)
	}
	li := fingers.Finger{Officer: "P-0007", Role: fingers.Technician, By: fingers.ByLocal}
	for _, err := range []error{r.Add(3, li), r.Add(2, li), r.Remove(3, "P-0007"), r.Add(2, fingers.Finger{Officer: "P-2", Role: fingers.Officer, By: "P-0007"})} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for err, want := range map[error]error{r.Remove(1, "x"): fingers.ErrConfigured, r.Remove(8, "x"): fingers.ErrNoFinger} {
		if !errors.Is(err, want) {
			t.Errorf("%v, want %v", err, want)
		}
	}
	for _, bad := range []fingers.Finger{{Officer: " ", Role: fingers.Officer}, {Officer: "x", Role: "boss"}, {Officer: strings.Repeat("x", 65), Role: fingers.Officer}} {
		if err := r.Add(4, bad); err == nil || !strings.Contains(err.Error(), "want ") {
			t.Errorf("%+v: %v, want what would be right", bad, err)
		}
	}
	r.Close()
	r = open(t, dir, map[int]string{1: "P-1001", 2: "P-1002"})
	if f, ok := r.Lookup(1); !ok || f.Officer != "P-1001" || f.By != fingers.ByConfig || f.Role != fingers.Officer {
		t.Errorf("slot 1 is %+v", f)
	}
	if f, _ := r.Lookup(2); f.Officer != "P-2" {
		t.Errorf("slot 2 is %+v, want the roster's", f)
	}
	if _, ok := r.Lookup(3); ok || r.AnyMayEnrol() {
		t.Error("slot 3 was deleted")
	}
	var told []string
	for i, c := range r.Untold(0) {
		told = append(told, c.Finger.Officer)
		if c.N != uint64(i+1) {
			t.Errorf("change %d has number %d", i, c.N)
		}
	}
	if !slices.Equal(told, []string{"P-0007", "P-0007", "P-0007", "P-0007", "P-2"}) { // 3, 2, 3 deleted, 2 deleted, 2
		t.Errorf("changes %v", told)
	}
	if err := r.Told(4); err != nil || len(r.Untold(0)) != 1 {
		t.Errorf("%v, left %+v", err, r.Untold(0))
	}
	for _, name := range []string{"fingers.json", "fingers.lock"} {
		if st, err := os.Stat(filepath.Join(dir, name)); err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v; want mode 0600", name, st.Mode(), err)
		}
	}
}

func TestADamagedRoster(t *testing.T) {
	for _, text := range []string{"", "{", `{"fingers": {"x": {}}}`, `{"fingers": {"1": {"officer": "a", "role": "king"}}}`} {
		dir := t.TempDir()
		path := filepath.Join(dir, "fingers.json")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := fingers.Open(dir, nil); !errors.Is(err, fingers.ErrRoster) || !strings.Contains(err.Error(), path) {
			t.Errorf("%q: %v, want ErrRoster and the path", text, err)
		}
		if b, _ := os.ReadFile(path); string(b) != text {
			t.Errorf("%q was replaced by %q", text, b)
		}
	}
}

func TestSecret(t *testing.T) {
	dir := t.TempDir()
	r := open(t, dir, nil)
	a, err := r.Secret()
	if err != nil || a.Password == 0 || a.Given {
		t.Fatalf("%+v, %v", a, err)
	}
	path := filepath.Join(dir, "fingerprint.password")
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v; want mode 0600", st.Mode(), err)
	}
	if err := a.Taken(); err != nil {
		t.Fatal(err)
	}
	if b, err := r.Secret(); err != nil || b.Password != a.Password || !b.Given {
		t.Errorf("%+v, %v; want the same, given", b, err)
	}
	if err := errors.Join(r.Add(1, fingers.Finger{Officer: "x", Role: fingers.Officer}), r.Clear(fingers.ByLocal)); err != nil {
		t.Fatal(err)
	}
	if b, err := r.Secret(); err != nil || b.Password != a.Password || b.Given || len(r.All()) != 0 {
		t.Errorf("cleared: %+v, %v, %v", b, err, r.All())
	}
	for _, text := range []string{"", "zz", "00000000", "1234567", "12345678 no", "12345678 given x"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if s, err := r.Secret(); err == nil || !strings.Contains(err.Error(), "want ") {
			t.Errorf("%q: %+v, %v; want an error", text, s, err)
		}
	}
}

func TestLock(t *testing.T) {
	l := fingers.Lock{After: 3, For: time.Minute, Max: 5 * time.Minute}
	now := time.Hour
	var lasts []time.Duration
	for range 5 {
		for i := range 3 {
			now += time.Second
			if got := l.Failed(now); got != (i == 2) {
				t.Fatalf("failure %d at %v locks: %v", i, now, got)
			}
		}
		if l.Failed(now) || !l.Locked(now) {
			t.Fatal("a failure while it is locked counts")
		}
		lasts = append(lasts, l.Until-now)
		if now = l.Until; l.Locked(now) || !l.Ended(now) || l.Ended(now) {
			t.Fatal("it does not end, or twice")
		}
	}
	if want := []time.Duration{time.Minute, 2 * time.Minute, 4 * time.Minute, 5 * time.Minute, 5 * time.Minute}; !slices.Equal(lasts, want) {
		t.Errorf("locked for %v, want %v", lasts, want)
	}
	l.Matched()
	for _, pause := range []time.Duration{0, time.Second, 11 * time.Minute, time.Second} { // the third begins anew
		if now += pause; l.Failed(now) {
			t.Errorf("locked after a pause of %v", pause)
		}
	}
	if now += time.Second; !l.Failed(now) || l.Until-now != time.Minute {
		t.Errorf("after a good match: locked until %v, at %v", l.Until, now)
	}
	var again fingers.Lock
	again.After, again.For, again.Max = 3, time.Minute, time.Hour
	again.Restore(0, 3, true, 5*time.Second)
	if !again.Locked(4*time.Minute) || again.Locked(4*time.Minute+5*time.Second) {
		t.Error("a lock that was restored lasts as long as before")
	}
	off := fingers.Lock{}
	for range 100 {
		if off.Failed(0) {
			t.Fatal("locked, and should never be")
		}
	}
}

// Every step has words in both languages.
func TestWords(t *testing.T) {
	for step := fingerprint.StepAuthorise; step <= fingerprint.StepStored; step++ {
		en, zh := fingers.Words(step, fingers.English), fingers.Words(step, "zh_CN.UTF-8")
		if en == "" || zh == "" || strings.ContainsFunc(en, func(r rune) bool { return r > 127 }) || !strings.ContainsFunc(zh, func(r rune) bool { return unicode.Is(unicode.Han, r) }) {
			t.Errorf("%v: %q, %q", step, en, zh)
		}
	}
}
