package console

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/fengsui/fengsui/cloud-bridge/incident"
	"github.com/fengsui/fengsui/cloud-bridge/store"
)

// maxBody bounds a request body, in bytes.
const maxBody = 16 << 10

// Problem is an RFC 9457 problem document. Field, Value and Want are extension
// members: what was wrong, what it was, and what would be right.
type Problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	Field  string `json:"field,omitempty"`
	Value  string `json:"value,omitempty"`
	Want   string `json:"want,omitempty"`
	State  string `json:"state,omitempty"`
	By     string `json:"by,omitempty"`    // of a 409: who has the incident in hand
	Cause  string `json:"cause,omitempty"` // of a 503: one of store.Causes
	// Code is one of problemCodes: a screen says in its own language what Detail says in
	// English.
	Code  string `json:"code,omitempty"`
	Step  string `json:"step,omitempty"`  // of a 409: that was refused
	Asked string `json:"asked,omitempty"` // with code "pending": the step that waits …
	Who   string `json:"who,omitempty"`   // … and who asked for it
}

// Codes of refusals that are the console's own.
const (
	codeName     = "bad_name"
	codeText     = "bad_text"
	codeSigned   = "not_oneself"
	codeNotFound = "not_found"
	codeRole     = "role"
	codeScope    = "scope"
	codeSlow     = "slow"
	codeAdmin    = "last_admin"
	codeStale    = "stale"
	codeNoArea   = "no_devices"
	codePeriod   = "bad_period"
	codeDocument = "document_" // and its name
	codeAccount  = "account_"  // and its field
)

// problemCodes lists all codes of problems.
func problemCodes() []string {
	all := []string{codeName, codeText, codeSigned, codeNotFound, codeRole, codeScope, codeSlow, codeAdmin, codeStale, codeNoArea, codePeriod}
	for _, name := range [...]string{"grid", "roster"} {
		all = append(all, codeDocument+name)
	}
	for _, field := range [...]string{"name", "role", "scope", "label", "password", "old"} {
		all = append(all, codeAccount+field)
	}
	return slices.Concat(all, incident.RefusalCodes(), store.SoundCodes(), store.GroupCodes())
}

// coded gives a problem its code.
func (p *Problem) coded(code string) *Problem {
	p.Code = code
	return p
}

// Error is the detail, so that a Problem can travel as an error.
func (p *Problem) Error() string { return p.Detail }

// problemf makes a problem of status with the status's own name as its title.
func problemf(status int, format string, args ...any) *Problem {
	return &Problem{
		Type:   "about:blank",
		Title:  http.StatusText(status),
		Status: status,
		Detail: fmt.Sprintf(format, args...),
	}
}

// badField is a 422 that names a member or parameter, its value and what would be right.
func badField(field, value, want string) *Problem {
	p := problemf(http.StatusUnprocessableEntity, "%s %q: want %s", field, shorten(value), want)
	p.Type = "urn:fengsui:problem:bad-field"
	p.Field, p.Value, p.Want = field, shorten(value), want
	return p
}

// shorten keeps a quoted value from filling an answer or a log line.
func shorten(s string) string {
	const most = 80
	s = strings.ToValidUTF8(s, "\uFFFD")
	if utf8.RuneCountInString(s) <= most {
		return s
	}
	return string([]rune(s)[:most]) + "…"
}

func writeProblem(w http.ResponseWriter, p *Problem) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Cache-Control", "no-store")
	body, err := json.Marshal(p)
	if err != nil { // A Problem is strings and an int.
		panic(err)
	}
	w.WriteHeader(p.Status)
	_, _ = w.Write(append(body, '\n')) // The reader may have gone; there is nobody to tell.
}

// readMembers reads a JSON object of strings from r's body. Every member must be in
// known and appear once. The error is always a *Problem.
func readMembers(w http.ResponseWriter, r *http.Request, known ...string) (map[string]string, error) {
	ct := r.Header.Get("Content-Type")
	if media, _, err := mime.ParseMediaType(ct); err != nil || media != "application/json" {
		p := problemf(http.StatusUnsupportedMediaType, "Content-Type %q: want application/json", shorten(ct))
		p.Field, p.Value, p.Want = "Content-Type", shorten(ct), "application/json"
		return nil, p
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if tooBig, ok := errors.AsType[*http.MaxBytesError](err); ok {
		p := problemf(http.StatusRequestEntityTooLarge, "the body is larger than %d bytes", tooBig.Limit)
		p.Field, p.Want = "body", "at most "+strconv.FormatInt(tooBig.Limit, 10)+" bytes"
		return nil, p
	}
	if err != nil {
		return nil, problemf(http.StatusBadRequest, "the body could not be read: %v", err)
	}
	if !utf8.Valid(body) {
		return nil, malformed("the body is not UTF-8")
	}
	return parseMembers(body, known)
}

func malformed(why string) *Problem {
	p := problemf(http.StatusBadRequest, "%s: want one JSON object", why)
	p.Field, p.Want = "body", "one JSON object"
	return p
}

func parseMembers(body []byte, known []string) (map[string]string, error) {
	dec := json.NewDecoder(strings.NewReader(string(body)))
	if t, err := dec.Token(); err != nil {
		return nil, malformed(fmt.Sprintf("the body is not JSON (%v)", err))
	} else if t != json.Delim('{') {
		return nil, malformed("the body is JSON but no object")
	}
	got := make(map[string]string, len(known))
	for dec.More() {
		t, err := dec.Token()
		if err != nil {
			return nil, malformed(fmt.Sprintf("the body is not JSON (%v)", err))
		}
		name := t.(string) // The decoder lets nothing else stand here.
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return nil, malformed(fmt.Sprintf("the body is not JSON (%v)", err))
		}
		if !slices.Contains(known, name) {
			if len(known) == 0 {
				return nil, badField(shorten(name), string(raw), "no members")
			}
			p := badField(name, string(raw), "one of the members "+strings.Join(known, ", "))
			p.Detail = fmt.Sprintf("unknown member %q: this takes %s", shorten(name), strings.Join(known, ", "))
			p.Field = shorten(name)
			return nil, p
		}
		if _, twice := got[name]; twice {
			return nil, badField(name, string(raw), "each member once")
		}
		var value string
		if raw[0] != '"' || json.Unmarshal(raw, &value) != nil {
			return nil, badField(name, string(raw), "a string")
		}
		got[name] = value
	}
	if _, err := dec.Token(); err != nil {
		return nil, malformed(fmt.Sprintf("the body is not JSON (%v)", err))
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, malformed("something follows the object")
	}
	return got, nil
}

// nameOf checks a person's or unit's name: one line of printable characters, of at most
// incident.MaxName bytes.
func nameOf(members map[string]string, field string) (string, error) {
	want := fmt.Sprintf("1 to %d bytes of printable text on one line", incident.MaxName)
	value := strings.TrimSpace(members[field])
	if value == "" || len(value) > incident.MaxName || strings.ContainsFunc(value, func(c rune) bool { return !unicode.IsPrint(c) }) {
		return "", badField(field, members[field], want).coded(codeName)
	}
	return value, nil
}

// noteOf checks free text of at most incident.MaxNote bytes, with no control character
// but line feed, carriage return and tab.
func noteOf(members map[string]string, field string) (string, error) {
	value := strings.TrimSpace(members[field])
	control := func(c rune) bool { return unicode.IsControl(c) && !strings.ContainsRune("\n\r\t", c) }
	if len(value) > incident.MaxNote || strings.ContainsFunc(value, control) {
		return "", badField(field, value, fmt.Sprintf("at most %d bytes of text without control characters", incident.MaxNote)).coded(codeText)
	}
	return value, nil
}
