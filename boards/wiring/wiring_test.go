package wiring

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/fengsui/fengsui/boards"
)

// Every board renders in both languages; the drawing is well formed, and says
// each pin, part and note.
func TestEveryBoardRenders(t *testing.T) {
	for _, name := range boards.Names() {
		b, err := boards.Load(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, lang := range Languages() {
			p, err := New(name, b, lang)
			if err != nil {
				t.Fatal(err)
			}
			var text, svg strings.Builder
			if err := errors.Join(p.Text(&text), p.SVG(&svg)); err != nil {
				t.Fatal(err)
			}
			said := textOf(t, svg.String())
			for _, part := range p.Parts {
				for _, where := range []string{text.String(), said} {
					if !strings.Contains(where, part.Title) {
						t.Errorf("%s in %s: no %s", name, lang, part.Title)
					}
				}
				for _, w := range part.Wires {
					if w.Pin != "" && !strings.Contains(said, w.Pin+" "+w.At) {
						t.Errorf("%s in %s: no wire to pin %s %s", name, lang, w.Pin, w.At)
					}
				}
			}
			for _, h := range b.Headers {
				for _, pin := range h.Pins {
					if !strings.Contains(said, pin) || !strings.Contains(text.String(), pin) {
						t.Errorf("%s in %s: no pin %s", name, lang, pin)
					}
				}
			}
			if lang == "en" && strings.ContainsFunc(text.String()+said, func(r rune) bool { return r >= 0x3000 }) {
				t.Errorf("%s: Chinese in the English text", name)
			}
		}
	}
}

// textOf returns a drawing's texts; it must be XML.
func textOf(t *testing.T, svg string) string {
	t.Helper()
	var said strings.Builder
	d := xml.NewDecoder(strings.NewReader(svg))
	for {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			return said.String()
		}
		if err != nil {
			t.Fatal(err)
		}
		if c, ok := tok.(xml.CharData); ok {
			said.Write(c)
		}
	}
}

// Nothing stands outside the drawing, and no box on another.
func TestNothingOverlaps(t *testing.T) {
	for _, name := range boards.Names() {
		b, err := boards.Load(name)
		if err != nil {
			t.Fatal(err)
		}
		p, err := New(name, b, "en")
		if err != nil {
			t.Fatal(err)
		}
		d := &drawing{p: p}
		d.layout()
		lanes := make(map[int]bool)
		for _, s := range []*side{&d.left, &d.right} {
			y := 0
			for _, b := range s.boxes {
				if b.y < y {
					t.Errorf("%s: %s stands on another", name, b.part.Role)
				}
				y = b.y + b.height()
			}
			if y > d.bottom {
				t.Errorf("%s: a box below the bottom", name)
			}
			for _, r := range s.wires {
				if r.laneX < margin || r.laneX > d.width-margin || lanes[r.laneX] {
					t.Errorf("%s: a wire at %d, where another is or nothing should be", name, r.laneX)
				}
				lanes[r.laneX] = true
				for _, x := range d.x {
					if r.laneX > x-labelX && r.laneX < x+columnX+labelX {
						t.Errorf("%s: a wire at %d runs over the header", name, r.laneX)
					}
				}
			}
		}
	}
}

// The texts are complete: a part for each role and a note for each code that a
// board file may use, in both languages; and none is there for nothing.
func TestTexts(t *testing.T) {
	b, err := boards.Load("sim")
	if err != nil {
		t.Fatal(err)
	}
	p, err := New("sim", b, "zh-CN")
	if err != nil {
		t.Fatal(err)
	}
	roles := slices.Concat(boards.InputRoles(), boards.OutputRoles(), boards.UARTRoles())
	slices.Sort(roles)
	if got := slices.Sorted(maps.Keys(p.texts.Parts)); !slices.Equal(got, roles) {
		t.Errorf("parts %q, want %q", got, roles)
	}
	for role, part := range p.texts.Parts {
		if !regexp.MustCompile("^#[0-9a-f]{6}$").MatchString(part.Colour) {
			t.Errorf("%s: colour %s", role, part.Colour)
		}
		for _, n := range part.Notes {
			if _, ok := p.texts.Notes[n]; !ok {
				t.Errorf("%s: no note %s", role, n)
			}
		}
	}
	for _, typ := range []reflect.Type{reflect.TypeFor[boards.Line](), reflect.TypeFor[boards.UART]()} {
		f, _ := typ.FieldByName("Notes")
		for n := range strings.SplitSeq(f.Tag.Get("oneof"), "|") {
			if _, ok := p.texts.Notes[n]; !ok {
				t.Errorf("no text for the note %q", n)
			}
		}
	}
	source, err := os.ReadFile("plan.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{"text.go", "svg.go"} {
		more, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		source = append(source, more...)
	}
	for word := range p.texts.Words {
		quoted := strings.Contains(string(source), fmt.Sprintf("%q", word))
		data := slices.Contains([]string{"run-here", "built", "described", "alarm-box", "patrol-car", "patrol-motorcycle", "low", "high", "up", "down", "none"}, word)
		if !quoted && !data {
			t.Errorf("nobody says %q", word)
		}
	}
}

func TestNoSuchLanguage(t *testing.T) {
	if _, err := New("x", new(boards.Board), "fr"); !errors.Is(err, ErrLanguage) || !strings.Contains(err.Error(), `"fr": want one of en, zh-CN`) {
		t.Errorf("got %v", err)
	}
}

func TestWrap(t *testing.T) {
	for _, c := range []struct {
		in   string
		n    int
		want string
	}{
		{"one two three", 8, "one two|three"},
		{"one", 8, "one"},
		{"板子的TX接模块。", 8, "板子的TX|接模块。"},
		{"一二三四，五六", 8, "一二三|四，五六"},
	} {
		if got := strings.Join(wrap(c.in, c.n), "|"); got != c.want {
			t.Errorf("%q: got %q, want %q", c.in, got, c.want)
		}
	}
}
