package console_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// document is openapi.yaml, and checks JSON against its schemas. It knows the keywords of
// JSON Schema 2020-12 that the document uses, and calls any other an error, so that none
// goes unchecked.
type document struct {
	t    *testing.T
	root map[string]any
}

func readDocument(t *testing.T) *document {
	t.Helper()
	raw, err := os.ReadFile("openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	d := &document{t: t}
	if err := yaml.Unmarshal(raw, &d.root); err != nil {
		t.Fatal(err)
	}
	return d
}

// at follows member names from the root, and references on the way.
func (d *document) at(names ...string) map[string]any {
	var here any = d.root
	for i, name := range names {
		next, there := d.deref(here)[name]
		if !there {
			d.t.Fatalf("openapi.yaml has no %s", strings.Join(names[:i+1], " / "))
		}
		here = next
	}
	return d.deref(here)
}

func (d *document) deref(node any) map[string]any {
	m, _ := node.(map[string]any)
	if ref, is := m["$ref"].(string); is {
		return d.at(strings.Split(strings.TrimPrefix(ref, "#/"), "/")...)
	}
	return m
}

// check returns what is wrong with a value, decoded from JSON, under a schema.
func (d *document) check(schema, value any, path string) (wrong []string) {
	bad := func(format string, args ...any) {
		wrong = append(wrong, path+": "+fmt.Sprintf(format, args...))
	}
	s, isObject := schema.(map[string]any)
	if !isObject {
		bad("the schema is %v", schema)
		return wrong
	}
	for _, keyword := range slices.Sorted(maps.Keys(s)) {
		want := s[keyword]
		switch keyword {
		case "description", "examples", "default":
		case "$ref":
			wrong = append(wrong, d.check(d.deref(s), value, path)...)
		case "type":
			if types, many := want.([]any); many {
				if !slices.ContainsFunc(types, func(t any) bool { return is(t, value) }) {
					bad("%v is none of %v", value, types)
				}
			} else if !is(want, value) {
				bad("%v is no %v", value, want)
			}
		case "const":
			if value != want {
				bad("%v is not %v", value, want)
			}
		case "enum":
			if !slices.Contains(want.([]any), value) {
				bad("%v is none of %v", value, want)
			}
		case "pattern":
			if text, ok := value.(string); ok && !regexp.MustCompile(want.(string)).MatchString(text) {
				bad("%q does not match %s", text, want)
			}
		case "format":
			if text, ok := value.(string); ok {
				if _, err := time.Parse(time.RFC3339, text); want != "date-time" || err != nil {
					bad("%q as %v: %v", text, want, err)
				}
			}
		case "minLength", "maxLength":
			if text, ok := value.(string); ok && (keyword == "minLength") == (float64(utf8.RuneCountInString(text)) < float(want)) {
				bad("%q: %s %v", text, keyword, want)
			}
		case "minimum":
			if n, ok := value.(float64); ok && n < float(want) {
				bad("%v is below %v", n, want)
			}
		case "maximum":
			if n, ok := value.(float64); ok && n > float(want) {
				bad("%v is above %v", n, want)
			}
		case "maxItems":
			if list, ok := value.([]any); ok && float64(len(list)) > float(want) {
				bad("%d items", len(list))
			}
		case "items":
			list, _ := value.([]any)
			for i, item := range list {
				wrong = append(wrong, d.check(want, item, fmt.Sprintf("%s[%d]", path, i))...)
			}
		case "required":
			if m, ok := value.(map[string]any); ok {
				for _, name := range want.([]any) {
					if _, there := m[name.(string)]; !there {
						bad("no %v", name)
					}
				}
			}
		case "properties", "additionalProperties":
		default:
			bad("the schema's keyword %s is unknown here", keyword)
		}
	}
	properties, _ := s["properties"].(map[string]any)
	members, _ := value.(map[string]any)
	for name, member := range members {
		if schema, there := properties[name]; there {
			wrong = append(wrong, d.check(schema, member, path+"."+name)...)
		} else if more, there := s["additionalProperties"]; there && more != true {
			if more == false {
				bad("member %s is not described", name)
			} else {
				wrong = append(wrong, d.check(more, member, path+"."+name)...)
			}
		}
	}
	return wrong
}

func is(name, value any) bool {
	switch v := value.(type) {
	case nil:
		return name == "null"
	case bool:
		return name == "boolean"
	case string:
		return name == "string"
	case float64:
		return name == "number" || name == "integer" && v == math.Trunc(v)
	case []any:
		return name == "array"
	case map[string]any:
		return name == "object"
	}
	return false
}

func float(number any) float64 {
	var f float64
	if _, err := fmt.Sscan(fmt.Sprint(number), &f); err != nil {
		panic(fmt.Sprintf("%v in a schema is no number", number))
	}
	return f
}

// valid fails the test unless raw is JSON that the schema allows.
func (d *document) valid(what string, schema any, raw []byte) {
	d.t.Helper()
	var value any
	if err := json.Unmarshal(raw, &value); err != nil {
		d.t.Errorf("%s: %v in %.200s", what, err, raw)
		return
	}
	if wrong := d.check(schema, value, "answer"); len(wrong) > 0 {
		d.t.Errorf("%s:\n  %s\n  in %.600s", what, strings.Join(wrong, "\n  "), raw)
	}
}
