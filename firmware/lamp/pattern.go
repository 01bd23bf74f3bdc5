package lamp

import (
	_ "embed"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fengsui/fengsui/boards/strictyaml"
)

//go:embed patterns.yaml
var patternsYAML []byte

// A table is what patterns.yaml says.
type table struct {
	Gap      strictyaml.Duration `yaml:"gap" required:"true" min:"1ms" max:"1s"`
	Patterns map[string]pattern  `yaml:"patterns" required:"true"`
}

// A pattern is what the three lamps do.
type pattern struct {
	Priority int  `yaml:"priority" required:"true" min:"0" max:"100"`
	Red      wave `yaml:"red"`
	Amber    wave `yaml:"amber"`
	Green    wave `yaml:"green"`
}

// A wave is for how long a lamp is on, off, on, off …; none: it is dark. A
// single one is steady.
type wave []time.Duration

// Lamps in a phase.
const (
	red = 1 << iota
	amber
	green
)

// A phase lights some lamps for a while; a pattern repeats its phases.
type phase struct {
	lit   uint8
	lasts time.Duration
}

const (
	steady = time.Hour
	// shortest is what an eye and a lamp can follow, longest what somebody who
	// looks once will wait for.
	shortest = 40 * time.Millisecond
	longest  = 10 * time.Second
)

// UnmarshalText parses "steady", or times of on and off by turns.
func (w *wave) UnmarshalText(b []byte) error {
	if string(b) == "steady" {
		*w = wave{steady}
		return nil
	}
	want := errors.New("steady, or times of on and off by turns, such as 500ms 500ms, each from 40ms to 10s")
	words := strings.Fields(string(b))
	if len(words) == 0 || len(words)%2 != 0 {
		return want
	}
	for _, s := range words {
		d, err := time.ParseDuration(s)
		if err != nil || d < shortest || d > longest {
			return want
		}
		*w = append(*w, d)
	}
	return nil
}

// at reports whether the lamp is on so long after the pattern's beginning, and
// until when it stays so.
func (w wave) at(t time.Duration) (on bool, until time.Duration) {
	if len(w) < 2 {
		return len(w) == 1, steady
	}
	for i, end := 0, time.Duration(0); ; i++ {
		if end += w[i%len(w)]; t < end {
			return i%2 == 0, end
		}
	}
}

func (w wave) period() time.Duration {
	if len(w) < 2 {
		return 0
	}
	var sum time.Duration
	for _, d := range w {
		sum += d
	}
	return sum
}

// phases makes one list of the three.
func (p pattern) phases() []phase {
	waves := []wave{p.Red, p.Amber, p.Green}
	period := time.Duration(0)
	for _, w := range waves {
		period = together(period, w.period())
	}
	if period == 0 {
		period = steady
	}
	var out []phase
	for t := time.Duration(0); t < period; {
		next, lit := period, uint8(0)
		for i, w := range waves {
			on, until := w.at(t)
			if on {
				lit |= 1 << i
			}
			next = min(next, until)
		}
		out = append(out, phase{lit, next - t})
		t = next
	}
	return out
}

// together is the least common multiple of two periods; 0 is none.
func together(a, b time.Duration) time.Duration {
	if a == 0 || b == 0 {
		return a + b
	}
	x, y := a, b
	for y != 0 {
		x, y = y, x%y
	}
	return a / x * b
}

// names lists the patterns that there must be.
func names() []string {
	out := []string{"idle", "fault", "drill_mode", "visit_stored", "visit_centre_has"}
	for s := Stored; s <= UnitComing; s++ {
		out = append(out, s.String(), s.String()+"_silent", s.String()+"_drill")
	}
	return out
}

// Validate checks that all patterns are there, and no other.
func (t *table) Validate(r *strictyaml.Report) {
	for _, name := range names() {
		if _, ok := t.Patterns[name]; !ok {
			r.Add("patterns", name, "a pattern of this name")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(t.Patterns)) {
		p := t.Patterns[name]
		if !slices.Contains(names(), name) {
			r.Add("patterns."+name, name, "one of "+strings.Join(names(), ", "))
		}
		if most := together(together(p.Red.period(), p.Amber.period()), p.Green.period()); most > 2*longest {
			r.Add("patterns."+name, most, "lamps that come together again within 20s")
		}
	}
}

func parseTable(file string, data []byte) (*table, error) {
	t := new(table)
	if err := strictyaml.Decode(file, data, t); err != nil {
		return nil, err
	}
	return t, nil
}

// shipped is the table that is part of the program.
var shipped = sync.OnceValue(func() *table {
	t, err := parseTable("patterns.yaml", patternsYAML)
	if err != nil {
		panic(err) // a test reads the same bytes
	}
	return t
})

// pick returns the name of the pattern that shows s: the most urgent of those
// that could.
func (t *table) pick(s look) string {
	could := []string{"idle"}
	if s.fault {
		could = append(could, "fault")
	}
	if s.drilling {
		could = append(could, "drill_mode")
	}
	if s.visit != Idle {
		could = append(could, "visit_"+s.visit.String())
	}
	switch {
	case s.step == Idle:
	case s.silent:
		could = append(could, s.step.String()+"_silent")
	case s.drill:
		could = append(could, s.step.String()+"_drill")
	default:
		could = append(could, s.step.String())
	}
	return slices.MaxFunc(could, func(a, b string) int { return t.Patterns[a].Priority - t.Patterns[b].Priority })
}
