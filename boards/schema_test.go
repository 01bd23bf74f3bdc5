package boards_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v4"

	"github.com/fengsui/fengsui/boards"
)

func schema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(schemaFile(t)))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("board.schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("board.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func schemaFile(t *testing.T) []byte {
	t.Helper()
	b, err := os.ReadFile("board.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// asJSON reads YAML as another reader of the schema would.
func asJSON(t *testing.T, data []byte) any {
	t.Helper()
	var v any
	if err := yaml.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	v, err = jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestEveryBoardFitsTheSchema(t *testing.T) {
	s := schema(t)
	for _, name := range boards.Names() {
		data, err := os.ReadFile(filepath.Join(name, "board.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Validate(asJSON(t, data)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What one field alone makes wrong is refused by the loader and by the schema;
// what is right is taken by both.
func TestSchemaAndLoaderAgree(t *testing.T) {
	s := schema(t)
	for _, c := range []struct {
		old, new string
		ok       bool
	}{
		{"", "", true},
		{"name: x\n", "", false},
		{"name: x", "name: ' '", false},
		{"arch: arm\n", "", false},
		{"arch: arm", "arch: mips", false},
		{"goarm: 7", "goarm: 5", false},
		{"goarm: 7", "goarm: seven", false},
		{"support: built", "support: great", false},
		{"support: built\n", "", false},
		{"[alarm-box]", "[boat]", false},
		{"[alarm-box]", "alarm-box", false},
		{"profiles: [alarm-box]\n", "", false},
		{"boot: ", "boat: ", false},
		{"deb: armhf", "deb: mips", false},
		{"{deb: armhf}", "{}", false},
		{"{deb: armhf}", "{rpm: x}", false},
		{"{deb: armhf}", "{deb: armhf}, image: {kernel: k}", false},
		{"{deb: armhf}", "{deb: armhf}, image: {kernel: k, console: c}", true},
		{"{deb: armhf}", "{deb: armhf}, image: {kernel: k, console: c, config: x}", false},
		{"chip: 6", "chip: 0", false},
		{"chip: 6", "chip: 513", false},
		{"name: J1, ", "", false},
		{"name: J1", "name: J1234567890123456", false},
		{"name: J1", "name: J1, rows: 2", false},
		{"line: A, ", "", false},
		{"line: A", "line: ''", false},
		{"line: B", "line: B, colour: red", false},
		{"active: low", "active: off", false},
		{"pull: up", "pull: hard", false},
		{"reset: down", "reset: sideways", false},
		{"notes: [opto]", "notes: [optics]", false},
		{"notes: [opto]", "notes: opto", false},
		{"pin: 2", "pin: '2'", true},
		{"pin: 2", "pin: two", false},
		{"pin: 2", "pin: 0", false},
		{"panic:", "panik:", false},
		{"gps:", "lora:", false},
		{"port: /dev/x", "baud: 3", false},
		{"notes: [usb]", "notes: [bus]", false},
		{"driver: w", "max_s: 3", false},
		{"driver: w", "driver: w, max_s: 0", false},
		{"driver: w", "driver: w, max_s: 15", true},
		{"zone: z", "zone: ''", false},
		{"machine: m, ", "", false},
		{"machine: m", "machine: ''", false},
		{"modules: [o]", "modules: o", false},
		{"firmware: [f]", "firmware: f", false},
		{"firmware: [f]", "firmware: [f], driver: d", false},
		{"pin_ma: 8", "pin_ma: 0.4", false},
		{"pin_ma: 8", "pin_ma: 41", false},
		{"pin_ma: 8", "pin_ma: 7.5", true},
		{"volts: '3.3'", "volts: '12'", false},
		{"total_ma: 50", "watts: 50", false},
		{"en: a, ", "", false},
		{"zh-CN: b", "fr: b", false},
		{"arch: s,", "arch: '',", false},
		{"sources:", "origins:", false},
	} {
		text := strings.Replace(whole, c.old, c.new, 1)
		if c.old != "" && text == whole {
			t.Errorf("%q is not in the document", c.old)
		}
		_, byLoader := boards.Parse("b", []byte(text))
		bySchema := s.Validate(asJSON(t, []byte(text)))
		if (byLoader == nil) != c.ok || (bySchema == nil) != c.ok {
			t.Errorf("%s → %s: want ok %v\nloader: %v\nschema: %v", c.old, c.new, c.ok, byLoader, bySchema)
		}
	}
}

const whole = `name: x
arch: arm
goarm: 7
support: built
profiles: [alarm-box]
boot: {package: {deb: armhf}}
chips: {chip: 6}
headers: [{name: J1, pins: [A, B, C, D, E, GND]}]
lines:
  panic: {line: A, pin: 1, ground: 6, active: low, pull: up, notes: [opto]}
  red: {line: B, pin: 2, reset: down}
  amber: {line: C, pin: 3}
  green: {line: D, pin: 4}
  siren: {line: E, pin: 5}
uarts: {gps: {port: /dev/x, notes: [usb]}}
watchdog: {device: /dev/w, driver: w}
temperature: {path: /t, zone: z}
radio: {modules: [o], machine: m, firmware: [f]}
limits: {volts: '3.3', pin_ma: 8, total_ma: 50}
notes: [{en: a, zh-CN: b}]
sources: {arch: s, boot: s, chips: s, headers: s, lines: s, uarts: s, watchdog: s, temperature: s, radio: s, limits: s}
`

// Each key of the loader's is one of the schema's, with the same duty, choices
// and limits, and the other way round.
func TestSchemaHasTheLoadersKeys(t *testing.T) {
	var doc map[string]any
	if err := json.Unmarshal(schemaFile(t), &doc); err != nil {
		t.Fatal(err)
	}
	compare(t, "", reflect.TypeFor[boards.Board](), doc, doc)
}

func compare(t *testing.T, path string, typ reflect.Type, node, doc map[string]any) {
	t.Helper()
	props, _ := node["properties"].(map[string]any)
	left := maps.Clone(props)
	for f := range typ.Fields() {
		key := f.Tag.Get("yaml")
		p, ok := props[key].(map[string]any)
		at := path + "." + key
		if !ok {
			t.Errorf("%s is not in the schema", at)
			continue
		}
		delete(left, key)
		required, _ := node["required"].([]any)
		if want := f.Tag.Get("required") == "true"; want != slices.Contains(required, any(key)) {
			t.Errorf("%s: required is %v in the loader alone or in the schema alone", at, want)
		}
		inner, typ := p, f.Type
		for typ.Kind() == reflect.Pointer {
			typ = typ.Elem()
		}
		switch typ.Kind() {
		case reflect.Slice:
			inner, _ = p["items"].(map[string]any)
			typ = typ.Elem()
		case reflect.Map:
			inner, _ = p["additionalProperties"].(map[string]any)
			typ = typ.Elem()
		}
		if ref, ok := inner["$ref"].(string); ok {
			inner = doc["$defs"].(map[string]any)[strings.TrimPrefix(ref, "#/$defs/")].(map[string]any)
		}
		if typ.Kind() == reflect.Struct {
			compare(t, at, typ, inner, doc)
			continue
		}
		var choices []string
		for _, e := range sliceOf(inner["enum"]) {
			choices = append(choices, e.(string))
		}
		if want := f.Tag.Get("oneof"); want != strings.Join(choices, "|") {
			t.Errorf("%s: the loader takes %s, the schema %s", at, want, choices)
		}
		lo, hi := "minimum", "maximum"
		if typ.Kind() == reflect.String {
			lo, hi = "minLength", "maxLength"
		}
		if tag := f.Tag.Get("max"); tag != number(inner[hi]) {
			t.Errorf("%s: at most %q in the loader, %q in the schema", at, tag, number(inner[hi]))
		}
		if tag := f.Tag.Get("min"); tag != number(inner[lo]) && !(tag == "" && lo == "minLength") {
			t.Errorf("%s: at least %q in the loader, %q in the schema", at, tag, number(inner[lo]))
		}
	}
	for key := range left {
		t.Errorf("%s.%s is not in the loader", path, key)
	}
}

func sliceOf(v any) []any { s, _ := v.([]any); return s }

func number(v any) string {
	if f, ok := v.(float64); ok {
		return strconv.FormatFloat(f, 'f', -1, 64)
	}
	return strings.TrimPrefix(fmt.Sprint(v), "<nil>")
}
