package strictyaml

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"
)

// bounds checks the limits that the tag names.
func (d *decoder) bounds(path string, n *yaml.Node, v reflect.Value, tag reflect.StructTag) {
	bad := false
	switch {
	case tag.Get("oneof") != "" && v.Kind() == reflect.String:
		allowed := strings.Split(tag.Get("oneof"), "|")
		if text := v.String(); !slices.Contains(allowed, text) {
			d.add(n.Line, path, excerpt(n), wants(tag, words(v.Type(), tag)+nearest(text, allowed)))
		}
		return
	case tag.Get("min") != "" || tag.Get("max") != "":
		lo, hi := tag.Get("min"), tag.Get("max")
		bad = lo != "" && compare(v, lo) < 0 || hi != "" && compare(v, hi) > 0
	}
	if bad {
		d.add(n.Line, path, excerpt(n), wants(tag, words(v.Type(), tag)))
	}
}

// compare compares a value, or a string's length in bytes, with a limit.
func compare(v reflect.Value, limit string) int {
	var l, f float64
	var err error
	if dur, ok := v.Interface().(Duration); ok {
		var limit64 time.Duration
		limit64, err = time.ParseDuration(limit)
		if err == nil {
			return cmp.Compare(time.Duration(dur), limit64)
		}
	} else {
		l, err = strconv.ParseFloat(limit, 64)
	}
	if err != nil {
		panic("strictyaml: bad limit in a tag: " + limit)
	}
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
	return cmp.Compare(f, l)
}

// words says what a field takes.
func words(t reflect.Type, tag reflect.StructTag) string {
	if tag.Get("oneof") != "" {
		return "one of " + strings.ReplaceAll(tag.Get("oneof"), "|", ", ")
	}
	kind, unit := "", ""
	switch t.Kind() {
	case reflect.String:
		kind, unit = "text", " bytes"
	case reflect.Bool:
		kind = "true or false"
	case reflect.Float64:
		kind = "a number"
	default:
		kind = "an integer"
		if t == reflect.TypeFor[Duration]() {
			kind = "a duration"
		}
	}
	lo, hi := tag.Get("min"), tag.Get("max")
	switch {
	case lo != "" && hi != "":
		return kind + " from " + lo + " to " + hi + unit
	case lo != "":
		return kind + " from " + lo + unit
	case hi != "":
		return kind + " up to " + hi + unit
	case t.Kind() >= reflect.Uint && t.Kind() <= reflect.Uint64:
		return fmt.Sprintf("an integer from 0 to %d", uint64(1)<<(t.Bits()-1)<<1-1)
	}
	return kind
}

func wants(tag reflect.StructTag, otherwise string) string {
	if w := tag.Get("want"); w != "" {
		return w
	}
	return otherwise
}

func twice(first int) string {
	return "the key once; it is on line " + strconv.Itoa(first) + " already"
}

// nearest returns words that name the candidate that is likely meant, or
// nothing.
func nearest(text string, candidates []string) string {
	best, least := "", 1+max(1, len(text)/3)
	for _, c := range candidates {
		if n := distance(text, c, least); n < least {
			best, least = c, n
		}
	}
	if best == "" {
		return ""
	}
	return "; the nearest is " + best
}

// distance counts the insertions, deletions, replacements and exchanges of
// neighbours that make b of a (optimal string alignment); beyond limit it may
// return any larger number.
func distance(a, b string, limit int) int {
	if len(a)-len(b) > limit || len(b)-len(a) > limit {
		return limit + 1
	}
	var before, last []int // the rows of the table above the one that is made
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		before, last, row = last, row, make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			same := 1
			if a[i-1] == b[j-1] {
				same = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+same)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
	}
	return row[len(b)]
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
