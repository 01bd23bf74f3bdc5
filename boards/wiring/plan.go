// Package wiring says how a board is wired, in Chinese and English: which part
// goes to which header pin, with which ground, and what stands between them. It
// makes a text and a drawing (SVG) of a board file, and knows no board itself.
package wiring

import (
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/fengsui/fengsui/boards"
	"github.com/fengsui/fengsui/boards/strictyaml"
)

// ErrLanguage means that there is no such language.
var ErrLanguage = errors.New("unknown language")

// Languages lists the languages that the wiring is said in.
func Languages() []string { return []string{"en", "zh-CN"} }

//go:embed texts.yaml
var textsYAML []byte

// texts is texts.yaml.
type texts struct {
	Parts map[string]part        `yaml:"parts" required:"true"`
	Notes map[string]boards.Text `yaml:"notes" required:"true"`
	Words map[string]boards.Text `yaml:"words" required:"true"`
}

// A part is what is known of a role.
type part struct {
	EN     string   `yaml:"en" required:"true"`
	ZH     string   `yaml:"zh-CN" required:"true"`
	Colour string   `yaml:"colour" required:"true"`
	Notes  []string `yaml:"notes"`
}

// A Plan is a board's wiring in one language.
type Plan struct {
	Board *boards.Board
	Name  string // the board's folder
	Parts []Part
	Notes []string // numbered from 1 by their place; the board's own stand last

	lang  string
	texts *texts
}

// A Part is one thing that is connected.
type Part struct {
	Role   string
	Title  string
	Colour string
	Wires  []Wire // none for a plug
	Port   string // of a serial port
	Line   string // of a line: Linux's name
	Enable string // what makes the port appear
	Notes  []int  // numbers of the plan's notes
}

// A Wire goes from a pin to a part.
type Wire struct {
	Kind string // signal, ground, power, TX or RX
	Pin  string // empty on a board without headers
	At   string // what is there, such as GPIO17
}

// New makes the wiring of a board. The error wraps [ErrLanguage] or tells a text
// that is missing.
func New(name string, b *boards.Board, lang string) (*Plan, error) {
	if !slices.Contains(Languages(), lang) {
		return nil, fmt.Errorf("%w %q: want one of %s", ErrLanguage, lang, strings.Join(Languages(), ", "))
	}
	p := &Plan{Board: b, Name: name, lang: lang, texts: new(texts)}
	if err := strictyaml.Decode("texts.yaml", textsYAML, p.texts); err != nil {
		return nil, err
	}
	numbers := make(map[string]int)
	note := func(part *Part, codes []string) error {
		for _, code := range codes {
			if numbers[code] == 0 {
				text, ok := p.texts.Notes[code]
				if !ok {
					return fmt.Errorf("wiring: no text for the note %q", code)
				}
				p.Notes = append(p.Notes, p.in(text))
				numbers[code] = len(p.Notes)
			}
			if n := numbers[code]; !slices.Contains(part.Notes, n) {
				part.Notes = append(part.Notes, n)
			}
		}
		slices.Sort(part.Notes)
		return nil
	}
	for _, role := range append(boards.InputRoles(), boards.OutputRoles()...) {
		l, ok := b.Lines[role]
		if !ok {
			continue
		}
		part, codes := p.part(role)
		part.Line = l.Line
		part.Wires = []Wire{{"signal", l.Pin, l.Label}}
		if l.Ground != "" {
			part.Wires = append(part.Wires, Wire{"ground", l.Ground, "GND"})
		}
		if err := note(&part, append(slices.Clone(codes), l.Notes...)); err != nil {
			return nil, err
		}
		p.Parts = append(p.Parts, part)
	}
	for _, role := range boards.UARTRoles() {
		u, ok := b.UARTs[role]
		if !ok {
			continue
		}
		part, codes := p.part(role)
		part.Port, part.Enable = u.Port, u.Enable
		for _, w := range []Wire{{Kind: "TX", Pin: u.TX}, {Kind: "RX", Pin: u.RX}, {Kind: "power", Pin: u.Power}, {Kind: "ground", Pin: u.Ground}} {
			if w.Pin != "" {
				w.At, _ = b.At(w.Pin)
				part.Wires = append(part.Wires, w)
			}
		}
		if u.TX == "" {
			codes = nil // a plug needs no crossing
		}
		if err := note(&part, append(slices.Clone(codes), u.Notes...)); err != nil {
			return nil, err
		}
		p.Parts = append(p.Parts, part)
	}
	for _, t := range b.Notes {
		p.Notes = append(p.Notes, p.in(t))
	}
	return p, nil
}

func (p *Plan) part(role string) (Part, []string) {
	t := p.texts.Parts[role]
	return Part{Role: role, Title: p.in(boards.Text{EN: t.EN, ZH: t.ZH}), Colour: t.Colour}, t.Notes
}

func (p *Plan) in(t boards.Text) string {
	if p.lang == "zh-CN" {
		return t.ZH
	}
	return t.EN
}

// word returns a word of the plan's language. A missing one is a mistake that
// the package's test finds.
func (p *Plan) word(key string) string {
	t, ok := p.texts.Words[key]
	if !ok {
		panic("wiring: no word " + key)
	}
	return p.in(t)
}

// wire says what a wire is.
func (p *Plan) wire(w Wire) string {
	switch w.Kind {
	case "TX", "RX":
		return w.Kind
	}
	return p.word(w.Kind)
}
