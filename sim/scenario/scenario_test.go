package scenario_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/fengsui/fengsui/boards/strictyaml"
	"github.com/fengsui/fengsui/sim/scenario"
)

func district() map[string]scenario.Device {
	return map[string]scenario.Device{
		"box-01": {Kind: "alarm-box", Buttons: map[string]scenario.Button{"panic": {Kind: "panic"}, "fire": {Kind: "fire"}}, Siren: true},
		"car-01": {Kind: "patrol-car", GPS: true, Siren: true, Fingers: map[int]string{1: "P-1001"}},
	}
}

func TestBadScenarios(t *testing.T) {
	a, err := txtar.ParseFile("testdata/bad.txtar")
	if err != nil {
		t.Fatal(err)
	}
	want := make(map[string]string)
	for _, f := range a.Files {
		if name, ok := strings.CutSuffix(f.Name, ".txt"); ok {
			want[name] = string(f.Data)
		}
	}
	if 2*len(want) != len(a.Files) {
		t.Fatalf("%d files, %d of them with words: want pairs", len(a.Files), len(want))
	}
	for _, f := range a.Files {
		name, ok := strings.CutSuffix(f.Name, ".yaml")
		if !ok {
			continue
		}
		_, err := scenario.Parse(f.Name, f.Data, district())
		if err == nil {
			t.Errorf("%s: accepted", name)
		} else if got := err.Error() + "\n"; got != want[name] {
			t.Errorf("%s:\n got %swant %s", name, got, want[name])
		}
	}
}

func TestGoodScenario(t *testing.T) {
	s, err := scenario.Parse("dir/x.yaml", []byte(`
name: 一次按压
timeline:
  - {do: press, device: box-01, button: panic, bounce: true}
  - {expect: lamp, device: box-01, shows: stored, within: 500ms}
  - {at: 2s, do: link cut, device: all}
  - {do: finger, device: car-01, slot: 0}
  - {expect: all events stored}
`), district())
	if err != nil {
		t.Fatal(err)
	}
	if s.Seed != 1 || s.Dir != "dir" || len(s.Devices) != 2 || time.Duration(s.Limit) != 2*time.Minute {
		t.Errorf("got %+v", s)
	}
	last := s.Timeline[len(s.Timeline)-1]
	if last.Start() != 2*time.Second || time.Duration(*last.Within) != scenario.DefaultStored {
		t.Errorf("the last step is %+v", last)
	}
	for i, want := range []string{"press box-01 panic bounce: true", "expect lamp box-01 stored within: 500ms", "link cut all", "finger car-01 slot: 0", "expect all events stored within: 30s"} {
		if got := s.Timeline[i].String(); got != want {
			t.Errorf("step %d: got %q, want %q", i, got, want)
		}
	}
}

// Every verb and expectation of the package comment is accepted with all that
// it needs, and the shipped scenarios are.
func TestShippedScenarios(t *testing.T) {
	files, err := filepath.Glob("../scenarios/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if _, err := scenario.Load(f, district()); err != nil {
			t.Error(err)
		}
	}
}

func TestLoadNamesTheFile(t *testing.T) {
	_, err := scenario.Load(filepath.Join(t.TempDir(), "none.yaml"), nil)
	if err == nil || !strings.Contains(err.Error(), "none.yaml: no such file") {
		t.Errorf("got %v", err)
	}
}

func FuzzParse(f *testing.F) {
	a, err := txtar.ParseFile("testdata/bad.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range a.Files {
		f.Add(file.Data)
	}
	files, err := filepath.Glob("../scenarios/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		s, err := scenario.Parse("f", in, district())
		var e *strictyaml.Error
		if err != nil {
			if !errors.As(err, &e) || len(e.Problems) == 0 {
				t.Errorf("%v: want an *Error with problems", err)
			}
			return
		}
		last := time.Duration(0)
		for i := range s.Timeline {
			st := &s.Timeline[i]
			if (st.Do == "") == (st.Expect == "") || st.Start() < last || st.String() == "" {
				t.Errorf("accepted step %d: %+v", i, st)
			}
			last = st.Start()
		}
	})
}
