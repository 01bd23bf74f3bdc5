package strictyaml_test

import (
	"errors"
	"strings"
	"testing"
	"time"

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
	Wait  strictyaml.Duration `yaml:"wait" min:"1s" max:"1h"`
	GPS   *port               `yaml:"gps"`
	Ports map[string]port     `yaml:"ports"`
	Slots map[int]string      `yaml:"slots"`
	List  []string            `yaml:"list"`
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

func TestProblems(t *testing.T) {
	for in, want := range map[string]string{
		"":                          `f: value "0 documents": want one YAML document`,
		"# only a comment\n":        `f: value "0 documents": want one YAML document`,
		"name: x\n---\nname: y\n":   `f: value "2 documents": want one YAML document`,
		"name: x\nnmae: y\n":        `f:2: field "nmae": want a known key: name, mode, on, ratio, wait, gps, ports, slots, list`,
		"mode: red\n":               `f:1: field "name": want a value; the key is missing`,
		"name:\n":                   `f:1: field "name": want a value`,
		"name: x\nmode: blue\n":     `f:2: field "mode": value "blue": want one of red, green`,
		"name: x\non: yes please\n": `f:2: field "on": value "yes please": want true or false`,
		"name: x\nratio: 1.5\n":     `f:2: field "ratio": value "1.5": want a value from 0 to 1`,
		"name: x\nratio: .nan\n":    `f:2: field "ratio": value ".nan": want a value from 0 to 1`,
		"name: x\nwait: 5\n":        `f:2: field "wait": value "5": want a duration such as "5s", "1m30s" or "80ms"`,
		"name: x\nwait: 5ms\n":      `f:2: field "wait": value "5ms": want a value from 1s to 1h`,
		"name: x\ngps:\n  port: p\n  baud: fast\n": `f:4: field "gps.baud": value "fast": want a value from 1200 to 921600`,
		"name: x\ngps:\n  port: p\n  baud: 5\n":    `f:4: field "gps.baud": value "5": want a value from 1200 to 921600`,
		"name: x\ngps: {baud: 9600}\n":             `f:2: field "gps.port": want a device path`,
		"name: x\ngps: [1]\n":                      `f:2: field "gps": value a list: want a mapping with the keys port, baud`,
		"name: x\nlist: 3\n":                       `f:2: field "list": value "3": want a list`,
		"name: [1]\n":                              `f:1: field "name": value a list: want a string`,
		"name: x\nslots: {one: P-1}\n":             `f:2: field "slots.one": value "one": want an integer`,
		"name: x\nmode: green\n":                   `f:1: field "gps": value "": want a port when mode is green`,
		"name: x\nslots:\n  7: a\n":                `f:3: field "slots.7": value "a": want no slot 7`,
		"name: &a x\n":                             `f:1: field "name": want a plain value, no anchor, alias or tag`,
		"- name\n":                                 `f:1: value a list: want a mapping with the keys name, mode, on, ratio, wait, gps, ports, slots, list`,
		"name: \xff\n":                             `f: want UTF-8 text`,
	} {
		err := strictyaml.Decode("f", []byte(in), new(doc))
		if err == nil || err.Error() != want {
			t.Errorf("%q:\n got %v\nwant %s", in, err, want)
		}
	}
}

func TestSyntaxAndDuplicates(t *testing.T) {
	for _, in := range []string{"name: x\nname: y\n", "name: [x\n", "name: \"x\n", "\tname: x\n", "name: x\n  mode: red\n"} {
		var e *strictyaml.Error
		if err := strictyaml.Decode("f", []byte(in), new(doc)); !errors.As(err, &e) || !strings.HasPrefix(err.Error(), "f:") {
			t.Errorf("%q: %v, want an *Error with a line", in, err)
		}
	}
}

func TestAllProblemsAtOnceInOrder(t *testing.T) {
	err := strictyaml.Decode("f", []byte("mode: blue\nx: 1\nratio: 9\n"), new(doc))
	var e *strictyaml.Error
	if !errors.As(err, &e) || len(e.Problems) != 4 || e.Problems[3].Line != 3 {
		t.Fatalf("got %v, want four problems, the last on line 3", err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte("name: x\ngps: {port: p, baud: 9600}\nslots: {1: a}\n"))
	f.Add([]byte("name: &a [*a]\n? {}\n: -"))
	f.Add([]byte("<<: {name: x}\nlist: [a, [b]]\nwait: |\n  5s\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		var d doc
		err := strictyaml.Decode("f", in, &d)
		var e *strictyaml.Error
		switch {
		case err == nil && d.Ratio > 1:
			t.Errorf("accepted ratio %v", d.Ratio)
		case err != nil && (!errors.As(err, &e) || len(e.Problems) == 0):
			t.Errorf("%v: want an *Error with problems", err)
		}
	})
}
