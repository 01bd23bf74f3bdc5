package lamp

import (
	"os"
	"strings"
	"testing"
	"time"
)

// Each pattern looks unlike every other, and an alarm goes before all else.
func TestTheShippedPatterns(t *testing.T) {
	b, err := os.ReadFile("patterns.yaml")
	if err != nil {
		t.Fatal(err)
	}
	tab, err := parseTable("patterns.yaml", b)
	if err != nil {
		t.Fatal(err)
	}
	const tick = 20 * time.Millisecond
	film := func(name string) string { // what a camera sees in a minute
		var s strings.Builder
		ps := tab.Patterns[name].phases()
		for at, i := time.Duration(0), 0; at < time.Minute; i++ {
			p := ps[i%len(ps)]
			for end := min(at+p.lasts, time.Minute); at < end; at += tick {
				s.WriteByte('0' + p.lit)
			}
		}
		return s.String()
	}
	seen := make(map[string]string)
	for _, name := range names() {
		f := film(name)
		if other := seen[f]; other != "" {
			t.Errorf("%s looks like %s", name, other)
		}
		seen[f] = name
		if name != "idle" && f[0] == '0' {
			t.Errorf("%s begins dark: a change of it would be seen late", name)
		}
	}
	for s := Stored; s <= UnitComing; s++ {
		for _, l := range []look{{step: s}, {step: s, silent: true}, {step: s, drill: true}} {
			with := l
			with.fault, with.drilling = true, true
			if got := tab.pick(with); !strings.HasPrefix(got, s.String()) || got != tab.pick(l) {
				t.Errorf("%+v shows %s", with, got)
			}
			if s > Stored && tab.Patterns[tab.pick(l)].Priority >= tab.Patterns[(s-1).String()].Priority {
				t.Errorf("%s is no less urgent than the step before it", tab.pick(l))
			}
		}
	}
}

func TestBadPatterns(t *testing.T) {
	good := string(patternsYAML)
	for _, c := range [][3]string{
		{"red: steady, amber: 500ms 500ms", "red: steady, amber: 500ms", `field "patterns.centre_has.amber": value "500ms": want steady, or times of on and off by turns`},
		{"amber: 500ms 500ms}", "amber: 1ms 500ms}", `want steady, or times`},
		{"  stored: {", "  storred: {", `field "patterns": value "stored": want a pattern of this name`},
		{"  stored: {", "  storred: {", `field "patterns.storred": value "storred": want one of idle`},
		{"amber: 60ms 7940ms", "amber: 70ms 7940ms", `field "patterns.centre_has_silent": value "53m24s": want lamps that come together again within 20s`},
		{"gap: 80ms", "gap: 5s", `field "gap": value "5s": want a duration from 1ms to 1s`},
	} {
		bad := strings.Replace(good, c[0], c[1], 1)
		if bad == good {
			t.Fatalf("nothing to replace: %s", c[0])
		}
		if _, err := parseTable("p", []byte(bad)); err == nil || !strings.Contains(err.Error(), c[2]) {
			t.Errorf("%s:\n got %v\nwant %s", c[1], err, c[2])
		}
	}
}
