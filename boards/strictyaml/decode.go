package strictyaml

import (
	"encoding"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v4"
)

// value decodes node n into v; tag holds the limits of the field that it fills.
func (d *decoder) value(path string, n *yaml.Node, v reflect.Value, tag reflect.StructTag, depth int) {
	if _, seen := d.lines[path]; !seen {
		d.lines[path] = n.Line
	}
	switch {
	case depth > maxDepth:
		d.add(n.Line, path, "", fmt.Sprintf("at most %d levels", maxDepth))
		return
	case !plain(n):
		d.add(n.Line, path, "", "a plain value, no anchor, alias or tag")
		return
	case isNull(n):
		d.add(n.Line, path, "", wants(tag, "a value")+"; the value is missing")
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
			want := "a single value"
			if err != nil {
				want = err.Error()
			}
			d.add(n.Line, path, excerpt(n), wants(tag, want))
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
			if d.full() {
				return
			}
			d.value(join(path, strconv.Itoa(i)), e, v.Index(i), tag, depth+1)
		}
	default:
		d.scalar(path, n, v, tag)
	}
}

func (d *decoder) structure(path string, n *yaml.Node, v reflect.Value, depth int) {
	keys := keysOf(v.Type())
	pairs, ok := pairsOf(n)
	if !ok {
		d.add(n.Line, path, excerpt(n), "a mapping with the keys "+strings.Join(keys, ", "))
		return
	}
	before := len(d.problems)
	seen := make(map[string]int) // lines
	for _, p := range pairs {
		if d.full() {
			return
		}
		key, ok := scalar(p.key)
		i, known := fieldOf(v.Type(), key)
		at := join(path, key)
		switch {
		case !plain(p.key) || !ok:
			d.add(p.key.Line, at, "", "a plain key: "+strings.Join(keys, ", "))
			continue
		case !known:
			d.add(p.key.Line, at, "", "a known key: "+strings.Join(keys, ", ")+nearest(key, keys))
			continue
		case seen[key] != 0:
			d.add(p.key.Line, at, "", twice(seen[key]))
			continue
		}
		seen[key] = p.key.Line
		d.lines[at] = p.key.Line
		d.value(at, p.value, v.Field(i), v.Type().Field(i).Tag, depth+1)
	}
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if key := f.Tag.Get("yaml"); key != "" && f.Tag.Get("required") == "true" && seen[key] == 0 {
			d.add(n.Line, join(path, key), "", wants(f.Tag, "a value")+"; the key is missing")
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
	lines := make(map[any]int)
	for _, p := range pairs {
		if d.full() {
			return
		}
		text, _ := scalar(p.key)
		at := join(path, text)
		key := reflect.New(v.Type().Key()).Elem()
		before := len(d.problems)
		d.value(at, p.key, key, reflect.StructTag(""), depth+1)
		switch first := lines[key.Interface()]; {
		case len(d.problems) > before:
			continue
		case first != 0:
			d.add(p.key.Line, at, "", twice(first))
			continue
		}
		lines[key.Interface()] = p.key.Line
		e := reflect.New(v.Type().Elem()).Elem()
		d.value(at, p.value, e, tag, depth+1)
		m.SetMapIndex(key, e)
	}
	v.Set(m)
}

func (d *decoder) scalar(path string, n *yaml.Node, v reflect.Value, tag reflect.StructTag) {
	text, ok := scalar(n)
	var err error
	switch v.Kind() {
	case reflect.String:
		ok = ok && strings.IndexFunc(text, control) < 0
		if ok && tag.Get("required") == "true" && strings.TrimSpace(text) == "" {
			ok = false
		}
		v.SetString(text)
	case reflect.Bool:
		ok = ok && bare(n) && (text == "true" || text == "false")
		v.SetBool(text == "true")
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		var i int64
		var base int
		base, ok = integer(n)
		if i, err = strconv.ParseInt(text, base, v.Type().Bits()); err == nil {
			v.SetInt(i)
		}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		var u uint64
		var base int
		base, ok = integer(n)
		if u, err = strconv.ParseUint(text, base, v.Type().Bits()); err == nil {
			v.SetUint(u)
		}
	case reflect.Float64:
		var f float64
		if f, err = strconv.ParseFloat(text, 64); err == nil && !(f > -1e300 && f < 1e300) {
			err = strconv.ErrRange // infinities, and what is not a number
		}
		v.SetFloat(f)
		ok = ok && bare(n)
	default:
		panic(fmt.Sprintf("strictyaml: %s: cannot decode into %s", path, v.Type()))
	}
	if !ok || err != nil {
		d.add(n.Line, path, excerpt(n), wants(tag, words(v.Type(), tag)))
		return
	}
	d.bounds(path, n, v, tag)
}

// integer returns the base of an integer that stands without quotes: 16 after
// 0x, else 10. YAML 1.1 takes 010 for eight and YAML 1.2 takes it for ten, so
// that here it is no integer; nor is 1_000.
func integer(n *yaml.Node) (base int, ok bool) {
	digits := strings.TrimLeft(n.Value, "+-")
	switch {
	case !bare(n) || strings.Contains(digits, "_"):
		return 0, false
	case strings.HasPrefix(digits, "0x"):
		return 0, true // strconv reads the prefix
	}
	return 10, len(digits) < 2 || digits[0] != '0'
}

// control reports whether a character has no place in a text: YAML's escapes
// can make them.
func control(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' }

// bare reports whether a scalar stands without quotes, as a number must.
func bare(n *yaml.Node) bool {
	return n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) == 0
}

// plain reports whether a node is without anchor, alias, tag and merge.
func plain(n *yaml.Node) bool {
	return n.Kind != yaml.AliasNode && n.Anchor == "" && n.Style&yaml.TaggedStyle == 0 && n.ShortTag() != "!!merge"
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// scalar returns a scalar node's text as it stands in the document.
func scalar(n *yaml.Node) (string, bool) { return n.Value, n.Kind == yaml.ScalarNode }

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

func join(path, key string) string {
	switch {
	case path == "":
		return key
	case key == "":
		return path
	}
	return path + "." + key
}
