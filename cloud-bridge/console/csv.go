package console

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A table is made line by line, for spreadsheets (RFC 4180).
type table struct {
	b   bytes.Buffer
	out *csv.Writer
}

func newTable() *table {
	t := new(table)
	t.b.WriteString("\uFEFF") // spreadsheets take UTF-8 for what it is with a byte order mark
	t.out = csv.NewWriter(&t.b)
	return t
}

// line adds a line of values; see cell.
func (t *table) line(fields ...any) {
	text := make([]string, len(fields))
	for i, f := range fields {
		text[i] = cell(f)
	}
	_ = t.out.Write(text) // to memory
}

// send answers with the table as a file of that name.
func (t *table) send(w http.ResponseWriter, name string) {
	t.out.Flush()
	header := w.Header()
	header.Set("Content-Type", "text/csv; charset=utf-8")
	header.Set("Content-Disposition", `attachment; filename="`+name+`"`)
	header.Set("Cache-Control", "no-store")
	_, _ = w.Write(t.b.Bytes()) // The reader may have gone; there is nobody to tell.
}

// formulaSigns begin a formula in one spreadsheet or another: = + - @, full-width, small and
// mathematical ones among them.
const formulaSigns = "=+-@\uff1d\uff0b\uff0d\uff20\u2212\ufe62\ufe63\ufe66\ufe6b"

// passedOver are characters before a sign that a spreadsheet may not count: white space, what
// cannot be seen, and quotes.
func passedOver(r rune) bool {
	return unicode.IsSpace(r) || unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == '"'
}

// cell is a value as it stands in the table. A text that a spreadsheet would take for a
// formula gets an apostrophe before it.
func cell(f any) string {
	switch v := f.(type) {
	case string:
		sign := strings.TrimLeftFunc(v, passedOver)
		if first, _ := utf8.DecodeRuneInString(sign); sign != "" && strings.ContainsRune(formulaSigns, first) {
			return "'" + v
		}
		return v
	case Time:
		if v.IsZero() {
			return ""
		}
		return v.UTC().Format(timeLayout)
	case *float64:
		if v == nil {
			return ""
		}
		return strconv.FormatFloat(*v, 'f', -1, 64)
	}
	return fmt.Sprint(f)
}
