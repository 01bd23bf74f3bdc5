// Package strictyaml decodes the project's YAML files (configurations, boards,
// scenarios, registers) so strictly that a mistake is found by the machine and
// told to the person: every problem names the file, the line, the field, the
// value and what would be right, and all problems are told at once.
//
// It decodes one document of mappings, sequences and plain scalars into Go
// structs. It does not know anchors, aliases or tags (each is an
// error), and it writes no YAML. The parser is go.yaml.in/yaml/v4.
//
// Struct tags say what is right:
//
//	yaml:"name"        the key; fields without it are not decoded
//	required:"true"    the key must be there, and a string must not be blank
//	min:"1" max:"9"    bounds of an integer, a float, a Duration, or of a
//	                   string's length in bytes
//	oneof:"a|b"        the allowed strings
//	want:"words"       what would be right, in place of the words made from the above
package strictyaml

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"sort"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

const (
	// MaxSize is the size in bytes of the largest document: a register of
	// twenty thousand devices.
	MaxSize = 4 << 20
	// MaxProblems is how many problems are told; one more then counts the rest.
	MaxProblems = 100

	maxDepth = 32
)

// A Problem is one thing that is wrong with a document.
type Problem struct {
	File  string
	Line  int    // from 1; 0 when it concerns the whole document
	Field string // dotted path, "" for the whole document
	Value string // as it stands in the document, quoted; "" when there is none
	Want  string // what would be right
}

// Error returns file:line: field "…": value "…": want ….
func (p Problem) Error() string {
	s := p.File
	if p.Line > 0 {
		s += ":" + strconv.Itoa(p.Line)
	}
	if p.Field != "" {
		s += fmt.Sprintf(": field %q", p.Field)
	}
	if p.Value != "" {
		s += ": value " + p.Value
	}
	return s + ": want " + p.Want
}

// An Error holds all problems of a document, in the order of their lines.
type Error struct{ Problems []Problem }

// Error returns a line a problem.
func (e *Error) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.Error()
	}
	return strings.Join(lines, "\n")
}

// A Duration is a time.Duration written as "5s", "1m30s" or "80ms".
type Duration time.Duration

// UnmarshalText parses what time.ParseDuration does.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	if err != nil {
		return errors.New(`a duration such as "5s", "1m30s" or "80ms"`)
	}
	*d = Duration(v)
	return nil
}

// String returns the duration as it may be written.
func (d Duration) String() string { return time.Duration(d).String() }

// A Validator checks what tags cannot say. It is called on every struct that
// was decoded without a problem of its own.
type Validator interface {
	Validate(r *Report)
}

// A Report takes problems from a Validator.
type Report struct {
	d    *decoder
	path string
}

// Add reports a problem with a field, named by its dotted path from the struct
// being validated ("" for the struct itself).
func (r *Report) Add(field string, value any, want string) {
	path := join(r.path, field)
	at := path
	for r.d.lines[at] == 0 && at != "" {
		at = at[:max(strings.LastIndexByte(at, '.'), 0)]
	}
	r.d.add(r.d.lines[at], path, quote(value), want)
}

type decoder struct {
	file     string
	lines    map[string]int
	problems []Problem
}

// Decode decodes one document into the struct that v points to, whose members
// keep their values where the document has no key for them. A text unmarshaler's
// error is what would be right ("a duration such as …"). The error is an *Error.
func Decode(file string, data []byte, v any) error {
	d := &decoder{file: file, lines: make(map[string]int)}
	d.document(data, reflect.ValueOf(v).Elem())
	if len(d.problems) == 0 {
		return nil
	}
	sort.SliceStable(d.problems, func(i, j int) bool { return d.problems[i].Line < d.problems[j].Line })
	if d.full() {
		d.problems = append(d.problems[:MaxProblems], Problem{File: file, Want: "these mended first; there are more"})
	}
	return &Error{d.problems}
}

func (d *decoder) add(line int, field, value, want string) {
	d.problems = append(d.problems, Problem{d.file, line, field, value, want})
}

// full reports whether there are more problems than will be told.
func (d *decoder) full() bool { return len(d.problems) > MaxProblems }

func (d *decoder) document(data []byte, v reflect.Value) {
	switch {
	case len(data) > MaxSize:
		d.add(0, "", quote(fmt.Sprintf("%d bytes", len(data))), fmt.Sprintf("at most %d MiB", MaxSize>>20))
		return
	case !utf8.Valid(data):
		d.add(badUTF8(data), "", "", "UTF-8 text")
		return
	}
	docs, err := parse(data)
	if err != nil {
		d.syntax(data, err)
		return
	}
	if len(docs) != 1 {
		line := 0
		if len(docs) > 1 {
			line = docs[1].Line
		}
		d.add(line, "", quote(fmt.Sprintf("%d documents", len(docs))), "one YAML document")
		return
	}
	d.value("", docs[0], v, "", 0)
}

// parse returns the roots of the documents that are not empty.
func parse(data []byte) (docs []*yaml.Node, err error) {
	for dec := yaml.NewDecoder(bytes.NewReader(data)); ; {
		var doc yaml.Node
		switch err := dec.Decode(&doc); {
		case errors.Is(err, io.EOF):
			return docs, nil
		case err != nil:
			return nil, err
		case len(doc.Content) == 1 && !isNull(doc.Content[0]):
			docs = append(docs, doc.Content[0])
		}
		if len(docs) > 1 {
			return docs, nil // too many: the rest need not be read
		}
	}
}

// syntax reports what the parser says, with the line that it stumbled over.
func (d *decoder) syntax(data []byte, err error) {
	line, message := 0, err.Error()
	var at *yaml.LoadError
	if errors.As(err, &at) {
		line, message = at.Mark.Line, at.Message
	}
	lines := strings.Split(string(data), "\n")
	if line < 1 || line > len(lines) {
		d.add(line, "", "", "YAML; the parser says: "+message)
		return
	}
	text := strings.TrimRight(lines[line-1], "\r")
	indent := text[:len(text)-len(strings.TrimLeft(text, " \t"))]
	switch {
	case strings.Contains(indent, "\t"):
		d.add(line, "", quote(text), "spaces before the first word, no tab")
	case strings.TrimSpace(text) == "": // the end, mostly: something stays open
		d.add(line, "", "", "YAML; the parser says: "+message)
	default:
		d.add(line, "", quote(text), "YAML; the parser says: "+message)
	}
}

// badUTF8 returns the line of the first byte that is not UTF-8.
func badUTF8(data []byte) int {
	line := 1
	for len(data) > 0 {
		r, n := utf8.DecodeRune(data)
		if r == utf8.RuneError && n == 1 {
			break
		}
		if r == '\n' {
			line++
		}
		data = data[n:]
	}
	return line
}
