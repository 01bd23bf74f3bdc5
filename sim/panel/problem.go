package panel

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"unicode/utf8"
)

// A problem is an RFC 9457 problem document; Field, Value and Want say what is
// wrong, what it was, and what would be right.
type problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	Field  string `json:"field,omitempty"`
	Value  string `json:"value,omitempty"`
	Want   string `json:"want,omitempty"`
}

// Error returns the detail.
func (p *problem) Error() string { return p.Detail }

func problemf(status int, format string, a ...any) *problem {
	return &problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: fmt.Sprintf(format, a...)}
}

// bad names a field, its value and what would be right.
func bad(status int, field, value, want string) *problem {
	const most = 80
	value = strings.ToValidUTF8(value, "\uFFFD")
	if utf8.RuneCountInString(value) > most {
		value = string([]rune(value)[:most]) + "…"
	}
	p := problemf(status, "%s %q: want %s", field, value, want)
	p.Type, p.Field, p.Value, p.Want = "urn:fengsui:problem:bad-field", field, value, want
	return p
}

func writeJSON(w http.ResponseWriter, kind string, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // plain structs
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(append(b, '\n')) // the reader may have gone; there is nobody to tell
}

func writeProblem(w http.ResponseWriter, p *problem) {
	writeJSON(w, "application/problem+json", p.Status, p)
}
