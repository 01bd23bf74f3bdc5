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
//	required:"true"    the key must be there
//	min:"1" max:"9"    bounds of an integer, a float, a Duration, or a length
//	oneof:"a|b"        the allowed strings
//	want:"words"       what would be right, in place of the words made from the above
package strictyaml

import (
	"bytes"
	"encoding"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// MaxSize is the size in bytes of the largest document.
const MaxSize = 1 << 20

const maxDepth = 32

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
	return &Error{d.problems}
}

func (d *decoder) add(line int, field, value, want string) {
	d.problems = append(d.problems, Problem{d.file, line, field, value, want})
}

func (d *decoder) document(data []byte, v reflect.Value) {
	switch {
	case len(data) > MaxSize:
		d.add(0, "", quote(fmt.Sprintf("%d bytes", len(data))), "at most 1 MiB")
		return
	case !utf8.Valid(data):
		d.add(0, "", "", "UTF-8 text")
		return
	}
	docs, err := parse(data)
	if err != nil {
		line, message := 0, err.Error()
		var at *yaml.LoadError
		if errors.As(err, &at) {
			line, message = at.Mark.Line, at.Message
		}
		d.add(line, "", "", "YAML: "+message)
		return
	}
	if len(docs) != 1 {
		d.add(0, "", quote(fmt.Sprintf("%d documents", len(docs))), "one YAML document")
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
	}
}

// value decodes node n into v; tag holds the limits of the field that it fills.
func (d *decoder) value(path string, n *yaml.Node, v reflect.Value, tag reflect.StructTag, depth int) {
	if _, seen := d.lines[path]; !seen {
		d.lines[path] = n.Line
	}
	if depth > maxDepth {
		d.add(n.Line, path, "", fmt.Sprintf("at most %d levels", maxDepth))
		return
	}
	if n.Kind == yaml.AliasNode || n.Anchor != "" || n.Style&yaml.TaggedStyle != 0 {
		d.add(n.Line, path, "", "a plain value, no anchor, alias or tag")
		return
	}
	if v.Kind() == reflect.Pointer {
		p := reflect.New(v.Type().Elem())
		d.value(path, n, p.Elem(), tag, depth)
		v.Set(p)
		return
	}
	if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		text, ok := scalar(n)
		if err := u.UnmarshalText([]byte(text)); !ok || err != nil {
			d.add(n.Line, path, excerpt(n), wants(tag, explain(err, "a single value")))
			return
		}
		d.bounds(path, n, v, tag)
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.structure(path, n, v, depth)
	case reflect.Map:
		d.mapping(path, n, v, tag, depth)
	case reflect.Slice:
		if n.Kind != yaml.SequenceNode {
			d.add(n.Line, path, excerpt(n), wants(tag, "a list"))
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
		for i, e := range n.Content {
			d.value(join(path, strconv.Itoa(i)), e, v.Index(i), tag, depth+1)
		}
	default:
		d.scalar(path, n, v, tag)
	}
}

func (d *decoder) structure(path string, n *yaml.Node, v reflect.Value, depth int) {
	pairs, ok := pairsOf(n)
	if !ok {
		d.add(n.Line, path, excerpt(n), "a mapping with the keys "+strings.Join(keysOf(v.Type()), ", "))
		return
	}
	before := len(d.problems)
	seen := make(map[string]bool)
	for _, p := range pairs {
		key, ok := scalar(p.key)
		i, known := fieldOf(v.Type(), key)
		switch {
		case !ok || !known:
			d.add(p.key.Line, join(path, key), "", "a known key: "+strings.Join(keysOf(v.Type()), ", "))
			continue
		case seen[key]:
			d.add(p.key.Line, join(path, key), "", "the key once")
			continue
		}
		seen[key] = true
		f := v.Type().Field(i)
		d.lines[join(path, key)] = p.key.Line
		if isNull(p.value) {
			d.add(p.key.Line, join(path, key), "", wants(f.Tag, "a value"))
			continue
		}
		d.value(join(path, key), p.value, v.Field(i), f.Tag, depth+1)
	}
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if key := f.Tag.Get("yaml"); key != "" && f.Tag.Get("required") == "true" && !seen[key] {
			d.add(n.Line, join(path, key), "", wants(f.Tag, "a value; the key is missing"))
		}
	}
	if val, ok := v.Addr().Interface().(Validator); ok && len(d.problems) == before {
		val.Validate(&Report{d, path})
	}
}

func (d *decoder) mapping(path string, n *yaml.Node, v reflect.Value, tag reflect.StructTag, depth int) {
	pairs, ok := pairsOf(n)
	if !ok {
		d.add(n.Line, path, excerpt(n), wants(tag, "a mapping"))
		return
	}
	m := reflect.MakeMap(v.Type())
	for _, p := range pairs {
		text, _ := scalar(p.key)
		at := join(path, text)
		key := reflect.New(v.Type().Key()).Elem()
		before := len(d.problems)
		d.value(at, p.key, key, reflect.StructTag(""), depth+1)
		if len(d.problems) > before {
			continue
		}
		if m.MapIndex(key).IsValid() {
			d.add(p.key.Line, at, "", "the key once")
			continue
		}
		if isNull(p.value) {
			d.add(p.key.Line, at, "", wants(tag, "a value"))
			continue
		}
		e := reflect.New(v.Type().Elem()).Elem()
		d.value(at, p.value, e, tag, depth+1)
		m.SetMapIndex(key, e)
	}
	v.Set(m)
}

func (d *decoder) scalar(path string, n *yaml.Node, v reflect.Value, tag reflect.StructTag) {
	text, ok := scalar(n)
	var err error
	want := ""
	switch v.Kind() {
	case reflect.String:
		want = "a string"
		v.SetString(text)
	case reflect.Bool:
		want = "true or false"
		ok = ok && n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) == 0 && (text == "true" || text == "false")
		v.SetBool(text == "true")
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		want = "an integer"
		var i int64
		if i, err = strconv.ParseInt(text, 0, v.Type().Bits()); err == nil {
			v.SetInt(i)
		}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		want = "an integer from 0"
		var u uint64
		if u, err = strconv.ParseUint(text, 0, v.Type().Bits()); err == nil {
			v.SetUint(u)
		}
	case reflect.Float64:
		want = "a number"
		var f float64
		if f, err = strconv.ParseFloat(text, 64); err == nil && (f != f || f > 1e300 || f < -1e300) {
			err = strconv.ErrRange
		}
		v.SetFloat(f)
	default:
		panic(fmt.Sprintf("strictyaml: %s: cannot decode into %s", path, v.Type()))
	}
	if !ok || err != nil {
		if limits := limitWords(tag); limits != "" {
			want = limits
		}
		d.add(n.Line, path, excerpt(n), wants(tag, want))
		return
	}
	d.bounds(path, n, v, tag)
}

// bounds checks the limits that the tag names.
func (d *decoder) bounds(path string, n *yaml.Node, v reflect.Value, tag reflect.StructTag) {
	bad := false
	switch {
	case tag.Get("oneof") != "" && v.Kind() == reflect.String:
		bad = !slices.Contains(strings.Split(tag.Get("oneof"), "|"), v.String())
	case tag.Get("min") != "" || tag.Get("max") != "":
		lo, hi := tag.Get("min"), tag.Get("max")
		bad = lo != "" && compare(v, lo) < 0 || hi != "" && compare(v, hi) > 0
	}
	if bad {
		d.add(n.Line, path, excerpt(n), wants(tag, limitWords(tag)))
	}
}

func compare(v reflect.Value, limit string) int {
	if dur, ok := v.Interface().(Duration); ok {
		l, err := time.ParseDuration(limit)
		if err != nil {
			panic("strictyaml: bad limit in a tag: " + limit)
		}
		return int(max(min(time.Duration(dur)-l, 1), -1))
	}
	l, err := strconv.ParseFloat(limit, 64)
	if err != nil {
		panic("strictyaml: bad limit in a tag: " + limit)
	}
	var f float64
	switch {
	case v.CanInt():
		f = float64(v.Int())
	case v.CanUint():
		f = float64(v.Uint())
	case v.CanFloat():
		f = v.Float()
	default:
		f = float64(v.Len())
	}
	switch {
	case f < l:
		return -1
	case f > l:
		return 1
	}
	return 0
}

func limitWords(tag reflect.StructTag) string {
	lo, hi := tag.Get("min"), tag.Get("max")
	switch {
	case tag.Get("oneof") != "":
		return "one of " + strings.ReplaceAll(tag.Get("oneof"), "|", ", ")
	case lo != "" && hi != "":
		return "a value from " + lo + " to " + hi
	case lo != "":
		return "a value of at least " + lo
	case hi != "":
		return "a value of at most " + hi
	}
	return ""
}

func wants(tag reflect.StructTag, otherwise string) string {
	if w := tag.Get("want"); w != "" {
		return w
	}
	return otherwise
}

func explain(err error, otherwise string) string {
	if err != nil {
		return err.Error()
	}
	return otherwise
}

type pair struct{ key, value *yaml.Node }

func pairsOf(n *yaml.Node) ([]pair, bool) {
	if n.Kind != yaml.MappingNode {
		return nil, false
	}
	var pairs []pair
	for i := 0; i+1 < len(n.Content); i += 2 {
		pairs = append(pairs, pair{n.Content[i], n.Content[i+1]})
	}
	return pairs, true
}

// scalar returns a scalar node's text as it stands in the document.
func scalar(n *yaml.Node) (string, bool) { return n.Value, n.Kind == yaml.ScalarNode }

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

func fieldOf(t reflect.Type, key string) (int, bool) {
	for i := range t.NumField() {
		if k := t.Field(i).Tag.Get("yaml"); k != "" && k == key {
			return i, true
		}
	}
	return 0, false
}

func keysOf(t reflect.Type) []string {
	var keys []string
	for i := range t.NumField() {
		if k := t.Field(i).Tag.Get("yaml"); k != "" {
			keys = append(keys, k)
		}
	}
	return keys
}

func excerpt(n *yaml.Node) string {
	if text, ok := scalar(n); ok {
		return quote(text)
	}
	if n.Kind == yaml.SequenceNode {
		return "a list"
	}
	return "a mapping"
}

func quote(v any) string {
	s := fmt.Sprint(v)
	if len(s) > 80 {
		s = s[:77] + "…"
	}
	return strconv.Quote(strings.ToValidUTF8(s, "…"))
}

func join(path, key string) string {
	switch {
	case path == "":
		return key
	case key == "":
		return path
	}
	return path + "." + key
}
