package scenario

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The tables of the package comment are the rules that the code keeps.
func TestTheDocumentedTables(t *testing.T) {
	src, err := os.ReadFile("scenario.go")
	if err != nil {
		t.Fatal(err)
	}
	doc, _, _ := strings.Cut(string(src), "\npackage scenario")
	name := regexp.MustCompile(`[a-z_]+`)
	for head, rules := range map[string]map[string]rule{"do ": verbs(), "expect ": expectations()} {
		found := make(map[string]bool)
		in := false
		for line := range strings.Lines(doc) {
			row, ok := strings.CutPrefix(strings.TrimRight(line, "\n"), "//\t")
			switch {
			case ok && strings.HasPrefix(row, head) && strings.Contains(row, "needs"):
				in = true
				continue
			case !ok:
				in = false
			}
			if !in {
				continue
			}
			// Columns are apart by two spaces or more; the second may be empty.
			cols := regexp.MustCompile(`\s{2,}`).Split(row, 3)
			word := cols[0]
			r, known := rules[word]
			if !known {
				t.Errorf("the comment has %q, the code does not", word)
				continue
			}
			found[word] = true
			var keys []string
			for _, col := range cols[1:] {
				for _, part := range strings.Split(strings.ReplaceAll(col, "(or all)", ""), ",") {
					key, _, _ := strings.Cut(part, ":") // "bounce: true" shows a value
					if k := name.FindString(key); k != "" {
						keys = append(keys, k)
					}
				}
			}
			want := append(slices.Clone(r.needs), r.takes...)
			slices.Sort(want)
			slices.Sort(keys)
			if !slices.Equal(keys, want) {
				t.Errorf("%s: the comment says %v, the code %v", word, keys, want)
			}
		}
		for word := range rules {
			if !found[word] {
				t.Errorf("the comment lacks %q", word)
			}
		}
	}
}
