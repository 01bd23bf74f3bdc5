package strictyaml_test

import (
	"errors"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"

	"github.com/fengsui/fengsui/boards/strictyaml"
)

type port struct {
	Path string `yaml:"port" required:"true" want:"a device path"`
	Baud int    `yaml:"baud" min:"1200" max:"921600"`
}

type doc struct {
	Name  string              `yaml:"name" required:"true"`
	Mode  string              `yaml:"mode" oneof:"red|green"`
	On    bool                `yaml:"on"`
	Ratio float64             `yaml:"ratio" min:"0" max:"1"`
	Wait  strictyaml.Duration `yaml:"wait" min:"1s"`
	GPS   *port               `yaml:"gps"`
	Ports map[string]port     `yaml:"ports"`
	Slots map[int]string      `yaml:"slots"`
	List  []string            `yaml:"list"`
	ID    uint16              `yaml:"id"`
	A, B  int                 // never decoded
}

func (d *doc) Validate(r *strictyaml.Report) {
	if d.Mode == "green" && d.GPS == nil {
		r.Add("gps", "", "a port when mode is green")
	}
	if d.Slots[7] != "" {
		r.Add("slots.7", d.Slots[7], "no slot 7")
	}
}

func TestDecode(t *testing.T) {
	var got doc
	err := strictyaml.Decode("a.yaml", []byte(`# a comment
name: 箱 1   # and another
mode: green
on: true
ratio: 0.25
wait: 1m30s
gps: {port: /dev/x, baud: 0x2580}
ports:
  a: {port: "p"}
slots: {1: P-1, 2: "7"}
list: [x, "1", 2]
`), &got)
	if err != nil {
		t.Fatal(err)
	}
	want := doc{
		Name: "箱 1", Mode: "green", On: true, Ratio: 0.25, Wait: strictyaml.Duration(90 * time.Second),
		GPS: &port{"/dev/x", 9600}, Ports: map[string]port{"a": {Path: "p"}},
		Slots: map[int]string{1: "P-1", 2: "7"}, List: []string{"x", "1", "2"},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestDefaultsStay(t *testing.T) {
	got := doc{Mode: "red", GPS: &port{Baud: 9600}}
	if err := strictyaml.Decode("a.yaml", []byte("name: x"), &got); err != nil {
		t.Fatal(err)
	}
	if got.Mode != "red" || got.GPS.Baud != 9600 {
		t.Errorf("got %+v", got)
	}
}

const known = "name, mode, on, ratio, wait, gps, ports, slots, list, id"

// Every message, word for word.
func TestProblems(t *testing.T) {
	for in, want := range map[string]string{
		"":                          `f: value "0 documents": want one YAML document`,
		"# only a comment\n":        `f: value "0 documents": want one YAML document`,
		"---\n...\n":                `f: value "0 documents": want one YAML document`,
		"name: x\n---\nname: y\n":   `f:3: value "2 documents": want one YAML document`,
		"name: x\nnmae: y\n":        `f:2: field "nmae": want a known key: ` + known + `; the nearest is name`,
		"name: x\nzebra: y\n":       `f:2: field "zebra": want a known key: ` + known,
		"mode: red\n":               `f:1: field "name": want a value; the key is missing`,
		"name:\n":                   `f:1: field "name": want a value; the value is missing`,
		"name: ~\n":                 `f:1: field "name": want a value; the value is missing`,
		"name: ' '\n":               `f:1: field "name": value " ": want text`,
		"name: \"a\\0b\"\n":         `f:1: field "name": value "a\x00b": want text`,
		"name: x\nname: y\n":        `f:2: field "name": want the key once; it is on line 1 already`,
		"name: x\nmode: gren\n":     `f:2: field "mode": value "gren": want one of red, green; the nearest is green`,
		"name: x\nmode: blue\n":     `f:2: field "mode": value "blue": want one of red, green`,
		"name: x\non: yes please\n": `f:2: field "on": value "yes please": want true or false`,
		"name: x\non: 'true'\n":     `f:2: field "on": value "true": want true or false`,
		"name: x\nratio: 1.5\n":     `f:2: field "ratio": value "1.5": want a number from 0 to 1`,
		"name: x\nratio: .nan\n":    `f:2: field "ratio": value ".nan": want a number from 0 to 1`,
		"name: x\nratio: NaN\n":     `f:2: field "ratio": value "NaN": want a number from 0 to 1`,
		"name: x\nwait: 5\n":        `f:2: field "wait": value "5": want a duration such as "5s", "1m30s" or "80ms"`,
		"name: x\nwait: 5ms\n":      `f:2: field "wait": value "5ms": want a duration from 1s`,
		"name: x\nwait: -2562047h47m16.854775808s\n":   `f:2: field "wait": value "-2562047h47m16.854775808s": want a duration from 1s`,
		"name: x\nwait: 2562048h\n":                    `f:2: field "wait": value "2562048h": want a duration such as "5s", "1m30s" or "80ms"`,
		"name: x\ngps:\n  port: p\n  baud: fast\n":     `f:4: field "gps.baud": value "fast": want an integer from 1200 to 921600`,
		"name: x\ngps:\n  port: p\n  baud: 5\n":        `f:4: field "gps.baud": value "5": want an integer from 1200 to 921600`,
		"name: x\ngps:\n  port: p\n  baud: 011000\n":   `f:4: field "gps.baud": value "011000": want an integer from 1200 to 921600`,
		"name: x\ngps:\n  port: p\n  baud: 9_600\n":    `f:4: field "gps.baud": value "9_600": want an integer from 1200 to 921600`,
		"name: x\ngps:\n  port: p\n  baud: '9600'\n":   `f:4: field "gps.baud": value "9600": want an integer from 1200 to 921600`,
		"name: x\ngps:\n  port: p\n  baud: 9600.0\n":   `f:4: field "gps.baud": value "9600.0": want an integer from 1200 to 921600`,
		"name: x\ngps:\n  port: p\n  baud: [9600]\n":   `f:4: field "gps.baud": value a list: want an integer from 1200 to 921600`,
		"name: x\ngps: {baud: 9600}\n":                 `f:2: field "gps.port": want a device path; the key is missing`,
		"name: x\ngps: {port: }\n":                     `f:2: field "gps.port": want a device path; the value is missing`,
		"name: x\ngps:\n":                              `f:2: field "gps": want a value; the value is missing`,
		"name: x\ngps: [1]\n":                          `f:2: field "gps": value a list: want a mapping with the keys port, baud`,
		"name: x\nlist: 3\n":                           `f:2: field "list": value "3": want a list`,
		"name: x\nlist:\n- a\n-\n":                     `f:4: field "list.1": want a value; the value is missing`,
		"name: [1]\n":                                  `f:1: field "name": value a list: want text`,
		"name: x\nid: 70000\n":                         `f:2: field "id": value "70000": want an integer from 0 to 65535`,
		"name: x\nid: -1\n":                            `f:2: field "id": value "-1": want an integer from 0 to 65535`,
		"name: x\nslots: {one: P-1}\n":                 `f:2: field "slots.one": value "one": want an integer`,
		"name: x\nslots: {1: a, 0x1: b}\n":             `f:2: field "slots.0x1": want the key once; it is on line 2 already`,
		"name: x\nslots: 7\n":                          `f:2: field "slots": value "7": want a mapping`,
		"name: x\nports: {<<: {port: p}}\n":            `f:2: field "ports.<<": want a plain value, no anchor, alias or tag`,
		"name: x\nports: {[a]: {port: p}}\n":           `f:2: field "ports": value a list: want text`,
		"name: x\nmode: green\n":                       `f:1: field "gps": value "": want a port when mode is green`,
		"name: x\nslots:\n  7: a\n":                    `f:3: field "slots.7": value "a": want no slot 7`,
		"name: &a x\n":                                 `f:1: field "name": want a plain value, no anchor, alias or tag`,
		"name: x\nmode: !!str red\n":                   `f:2: field "mode": want a plain value, no anchor, alias or tag`,
		"name: x\n&a mode: red\n":                      `f:2: field "mode": want a plain key: ` + known,
		"name: x\n? [a]\n: b\n":                        `f:2: want a plain key: ` + known,
		"- name\n":                                     `f:1: value a list: want a mapping with the keys ` + known,
		"name\n":                                       `f:1: value "name": want a mapping with the keys ` + known,
		"# ok\nname: \xff\n":                           `f:2: want UTF-8 text`,
		"name: x\ngps:\n\tport: p\n":                   `f:3: value "\tport: p": want spaces before the first word, no tab`,
		"name: x\n  \ton: true\n":                      `f:2: value "  \ton: true": want spaces before the first word, no tab`,
		"name: [x\n":                                   `f:2: want YAML; the parser says: did not find expected ',' or ']'`,
		"name: \"x\n":                                  `f:2: want YAML; the parser says: found unexpected end of stream`,
		"name: x\n  mode: red\n":                       `f:2: value "  mode: red": want YAML; the parser says: mapping values are not allowed in this context`,
		"name: x\x01\n":                                `f: want YAML; the parser says: control characters are not allowed (value: 1)`,
		"name: *a\n":                                   `f:1: value "name: *a": want YAML; the parser says: unknown anchor 'a' referenced`,
		strings.Repeat("[", 1<<16):                     `f:1: value "` + strings.Repeat("[", 77) + `…": want YAML; the parser says: exceeded max depth of 10000`,
		"name: x\nlist: " + strings.Repeat("#", 4<<20): `f: value "4194318 bytes": want at most 4 MiB`,
	} {
		err := strictyaml.Decode("f", []byte(in), new(doc))
		if err == nil || err.Error() != want {
			t.Errorf("%q:\n got %v\nwant %s", in[:min(len(in), 100)], err, want)
		}
	}
}

// Aliases that would multiply are not followed, and nothing is told for ever.
func TestBombs(t *testing.T) {
	in := "name: x\nlist: &a [x,x,x,x,x,x,x,x,x]\nmode: &b [*a,*a,*a,*a,*a,*a]\nports: [*b,*b,*b,*b,*b]\n"
	var e *strictyaml.Error
	if err := strictyaml.Decode("f", []byte(in), new(doc)); !errors.As(err, &e) || len(e.Problems) != 3 {
		t.Errorf("got %v, want three problems", err)
	}
	err := strictyaml.Decode("f", []byte("name: x\n"+strings.Repeat("z: 1\n", 100000)), new(doc))
	if !errors.As(err, &e) || len(e.Problems) != strictyaml.MaxProblems+1 || !strings.HasSuffix(err.Error(), "\nf: want these mended first; there are more") {
		t.Errorf("%d problems, want the first hundred and a word that there are more", len(e.Problems))
	}
}

func TestAllProblemsAtOnceInOrder(t *testing.T) {
	err := strictyaml.Decode("f", []byte("mode: blue\nx: 1\nratio: 9\n"), new(doc))
	var e *strictyaml.Error
	if !errors.As(err, &e) || len(e.Problems) != 4 || e.Problems[3].Line != 3 || strings.Count(err.Error(), "\n") != 3 {
		t.Fatalf("got %v, want four problems, the last on line 3", err)
	}
}

// Whatever comes: an error that can be shown, or a document within its limits.
func FuzzDecode(f *testing.F) {
	f.Add([]byte("name: x\ngps: {port: p, baud: 9600}\nslots: {1: a}\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		var d doc
		err := strictyaml.Decode("f", in, &d)
		if err == nil {
			if strings.TrimSpace(d.Name) == "" || d.Mode != "" && d.Mode != "red" && d.Mode != "green" || !(d.Ratio >= 0 && d.Ratio <= 1) ||
				d.Wait != 0 && d.Wait < strictyaml.Duration(time.Second) || d.GPS != nil && d.GPS.Baud != 0 && (d.GPS.Baud < 1200 || d.GPS.Baud > 921600) {
				t.Errorf("accepted %+v", d)
			}
			return
		}
		var e *strictyaml.Error
		if !errors.As(err, &e) || len(e.Problems) == 0 || len(e.Problems) > strictyaml.MaxProblems+1 {
			t.Fatalf("%v: want an *Error with problems", err)
		}
		lines := 1 + strings.Count(string(in), "\n") + strings.Count(string(in), "\r") + strings.Count(string(in), "\u0085") +
			strings.Count(string(in), "\u2028") + strings.Count(string(in), "\u2029") // what YAML counts as line breaks
		for _, p := range e.Problems {
			if p.Line < 0 || p.Line > lines+1 || p.Want == "" || strings.ContainsFunc(p.Error(), unicode.IsControl) {
				t.Errorf("%q", p.Error())
			}
		}
	})
}
