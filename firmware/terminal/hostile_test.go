package terminal_test

import (
	"encoding/json"
	"os"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/fengsui/fengsui/firmware/terminal"
)

// hostileStrings reads the strings that do harm where text is taken for something else.
func hostileStrings(t *testing.T) (all []string) {
	t.Helper()
	b, err := os.ReadFile("../wire/testdata/hostile.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		literal, err := strconv.QuotedPrefix(line)
		if err != nil {
			continue // a comment
		}
		text, err := strconv.Unquote(literal)
		if err != nil {
			t.Fatal(err)
		}
		if _, times, more := strings.Cut(line[len(literal):], "* "); more {
			n, err := strconv.Atoi(strings.TrimSpace(times))
			if err != nil {
				t.Fatal(err)
			}
			text = strings.Repeat(text, n)
		}
		all = append(all, text)
	}
	if len(all) < 200 {
		t.Fatalf("%d strings: want 200 or more", len(all))
	}
	return all
}

// quote makes a JSON string that holds s byte for byte, UTF-8 or not.
func quote(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' {
			b.WriteString(`\u00` + string("0123456789abcdef"[c>>4]) + string("0123456789abcdef"[c&15]))
		} else {
			b.WriteByte(c)
		}
	}
	return `"` + b.String() + `"`
}

// What an officer types is refused by field, or reaches the device byte for byte; what the
// centre or the device calls something reaches the page as it is, in JSON that is no markup.
func TestHostileStrings(t *testing.T) {
	d := busy()
	s, c := serve(t, d)
	notes, refused := 0, 0
	for _, text := range hostileStrings(t) {
		post := func(path, body string, field ...string) bool {
			a, raw := send(t, c, "POST", s.URL+"/api/"+path, body)
			if a.StatusCode == 200 {
				return true
			}
			var p struct{ Detail, Field, Value, Want, Code string }
			if err := json.Unmarshal([]byte(raw), &p); err != nil || a.Header.Get("Content-Type") != "application/problem+json" || p.Want == "" && p.Code == "" ||
				len(p.Value) > 250 || strings.ContainsAny(strings.TrimSuffix(raw, "\n"), "<>\n\x1b\x00") {
				t.Errorf("%s %.100q: %s %.300s", path, text, a.Status, raw)
			}
			if p.Code == "" && p.Field != "body" && !strings.Contains(strings.Join(field, " "), p.Field) {
				t.Errorf("%s %.100q: refused for %q", path, text, p.Field)
			}
			refused++
			return false
		}
		if post("tasks/17/note", `{"text":`+quote(text)+`}`, "text") {
			d.mu.Lock()
			if got := d.notes[len(d.notes)-1]; got != text {
				t.Errorf("note %.100q: the device got %.100q", text, got)
			}
			d.mu.Unlock()
			notes++
		}
		if post("tasks/17/answer", `{"answer":"closed","code":"real","note":`+quote(text)+`}`, "note") {
			d.mu.Lock()
			if got := d.answers[len(d.answers)-1].Note; got != text {
				t.Errorf("answer %.100q: the device got %.100q", text, got)
			}
			d.mu.Unlock()
		}
		for path, body := range map[string]string{
			"tasks/17/answer": `{"answer":` + quote(text) + `}`, "sign-on": `{"number":` + quote(text) + `,"pin":` + quote(text) + `}`,
		} {
			if post(path, body, "answer") {
				t.Errorf("%s: %.100q was taken", path, text)
			}
		}
		if !utf8.ValidString(text) {
			continue // the contract refuses it
		}
		d.mu.Lock()
		d.view.Faults, d.view.Device = []string{text}, text
		d.view.Help = &terminal.Help{Step: "unit_coming", Unit: text}
		d.view.Tasks[0].Assignment.Name, d.view.Tasks[0].Assignment.Note, d.view.Tasks[0].Assignment.Kind = text, text, text
		d.view.Tasks[0].Said = []terminal.Said{{Answer: "accepted", Note: text, Officer: text}}
		d.mu.Unlock()
		a, raw := send(t, c, "GET", s.URL+"/api/state", "")
		var got struct {
			Device string
			Faults []string
			Help   terminal.Help
			Duty   struct {
				Tasks []struct {
					Name, Note, Kind string
					Said             []terminal.Said
				}
			}
		}
		if err := json.Unmarshal([]byte(raw), &got); err != nil || a.Header.Get("Content-Type") != "application/json" || strings.ContainsAny(raw, "<>\n\r\x00\x1b") {
			t.Fatalf("%.100q: %v in %.300s", text, err, raw)
		}
		x := got.Duty.Tasks[0]
		for _, back := range []string{got.Device, got.Faults[0], got.Help.Unit, x.Name, x.Note, x.Kind, x.Said[0].Note} {
			if back != text {
				t.Errorf("%.100q came back as %.100q", text, back)
			}
		}
	}
	if notes < 200 || refused < 500 {
		t.Errorf("%d notes were taken, %d requests refused", notes, refused)
	}
}
