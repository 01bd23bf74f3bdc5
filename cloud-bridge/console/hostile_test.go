package console_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/fengsui/fengsui/cloud-bridge/console"
	"github.com/fengsui/fengsui/cloud-bridge/store"
	"github.com/fengsui/fengsui/firmware/wire"
)

// hostileStrings reads the strings that do harm where text is taken for something else.
func hostileStrings(t testing.TB) []string {
	t.Helper()
	b, err := os.ReadFile("../../firmware/wire/testdata/hostile.txt")
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for line := range strings.Lines(string(b)) {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		literal, err := strconv.QuotedPrefix(line)
		if err != nil {
			t.Fatalf("hostile.txt: %q: %v", line, err)
		}
		text, err := strconv.Unquote(literal)
		if err != nil {
			t.Fatalf("hostile.txt: %q: %v", line, err)
		}
		if times, more := strings.CutPrefix(strings.TrimSpace(line[len(literal):]), "* "); more {
			n, err := strconv.Atoi(times)
			if err != nil {
				t.Fatalf("hostile.txt: %q: %v", line, err)
			}
			text = strings.Repeat(text, n)
		}
		all = append(all, text)
	}
	if len(all) < 200 {
		t.Fatalf("hostile.txt: %d strings: want 200 or more", len(all))
	}
	return all
}

// short is a string as a failed test shows it.
func short(s string) string {
	if len(s) > 100 {
		s = s[:100] + "…"
	}
	return strconv.Quote(s)
}

// quote makes a JSON string that holds s byte for byte, UTF-8 or not.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c < ' ':
			fmt.Fprintf(&b, `\u%04x`, c)
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// A judge asks a desk with hostile strings and holds each answer to what all must be.
type judge struct {
	*world
	log            *bytes.Buffer
	stored, denied map[string]int // by field
}

func newJudge(t *testing.T) *judge {
	j := &judge{log: new(bytes.Buffer), stored: make(map[string]int), denied: make(map[string]int)}
	j.world = newWorld(t, func(o *console.Options) {
		o.Key = key
		o.Log = slog.New(slog.NewTextHandler(j.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	t.Cleanup(j.logs)
	return j
}

// logs fails unless each line of the log is one that the desk wrote.
func (j *judge) logs() {
	for line := range strings.Lines(j.log.String()) {
		line = strings.TrimSuffix(line, "\n")
		if !strings.HasPrefix(line, "time=") || strings.HasPrefix(line, "time=2026-01-01T00:00:00Z") || strings.ContainsFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }) {
			j.t.Errorf("the log has %s", short(line))
		}
	}
}

// ask asks, and fails on an answer that somebody could take for something else than text.
func (j *judge) ask(method, target, body string, header ...string) (*http.Response, []byte) {
	j.t.Helper()
	if !slices.Contains(header, "Authorization") && !slices.Contains(header, "Cookie") {
		header = append(header, "Authorization", "Bearer "+string(j.token("tester")))
	}
	answer, raw := j.do(method, target, body, header...)
	where := method + " " + short(target) + " " + short(body)
	for name, values := range answer.Header {
		for _, v := range values {
			if strings.ContainsFunc(v, func(r rune) bool { return r < ' ' || r > '~' }) {
				j.t.Errorf("%s: header %s: %s", where, name, short(v))
			}
		}
	}
	if answer.Header.Get("Set-Cookie") == "a=b" || answer.Header.Get("X-Injected") != "" || answer.Header.Get("X-Content-Type-Options") != "nosniff" {
		j.t.Errorf("%s: headers %v", where, answer.Header)
	}
	if answer.StatusCode >= 500 {
		j.t.Errorf("%s: %s %s", where, answer.Status, raw)
	}
	if media := answer.Header.Get("Content-Type"); strings.HasSuffix(media, "json") {
		text := strings.TrimSuffix(string(raw), "\n")
		if !utf8.ValidString(text) || !json.Valid(raw) || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || strings.ContainsRune("<>&\u2028\u2029", r) }) {
			j.t.Errorf("%s: %s", where, short(text))
		}
	} else if answer.StatusCode >= 400 {
		j.t.Errorf("%s: a refusal of type %q", where, media)
	}
	return answer, raw
}

// refused fails unless the answer names one of the fields, shows the value shortened, and
// says what would be right.
func (j *judge) refused(what string, raw []byte, fields ...string) {
	j.t.Helper()
	var p console.Problem
	if err := json.Unmarshal(raw, &p); err != nil {
		j.t.Fatalf("%s: %v in %s", what, err, raw)
	}
	named := false
	for _, f := range append(fields, "body") {
		named = named || p.Field == f
	}
	if !named || p.Want == "" || p.Detail == "" || utf8.RuneCountInString(p.Value) > 81 || len(p.Detail) > 2000 {
		j.t.Errorf("%s: refused with %+v: want one of the fields %q, its value in short, and what would be right", what, p, fields)
	}
	j.denied[fields[0]]++
}

// same counts a string that was taken, and fails unless it came back: whole, but for white
// space around it where trimmed.
func (j *judge) same(field, sent, got string, trimmed bool) {
	j.t.Helper()
	if got != sent && !(trimmed && got == strings.TrimSpace(sent)) {
		j.t.Errorf("%s: sent %s, got back %s", field, short(sent), short(got))
	}
	j.stored[field]++
}

// enough fails unless of these fields so many strings were taken, and some refused.
func (j *judge) enough(least int, fields ...string) {
	j.t.Helper()
	for _, f := range fields {
		if j.stored[f] < least || j.denied[f] == 0 {
			j.t.Errorf("%s: %d strings taken and %d refused: want %d or more, and some", f, j.stored[f], j.denied[f], least)
		}
	}
}

// What a device can say is refused by the contract, or comes out of the API as it went in.
func TestHostileEvents(t *testing.T) {
	j := newJudge(t)
	lanes := make(map[wire.Lane]*lane)
	var batch store.Batch
	// send adds an event to the batch unless the contract refuses its text.
	send := func(field string, l wire.Lane, body wire.Body, officer string) bool {
		if lanes[l] == nil {
			lanes[l] = &lane{stream: wire.StreamID{7, 7}}
		}
		at, now := lanes[l], time.Now()
		e := &wire.Event{
			Device: "box-01", Stream: at.stream, Lane: l, Seq: at.seq + 1, Prev: at.prev, Boot: 1, Mono: now.Sub(j.booted),
			Wall: wire.Wall{UnixMilli: now.UnixMilli(), Source: wire.WallGNSS, Uncertainty: time.Millisecond}, Officer: officer, Body: body,
		}
		message, err := wire.Seal(e, key)
		if err != nil {
			if !errors.Is(err, wire.ErrMessage) || !strings.Contains(err.Error(), "want") || len(err.Error()) > 300 || strings.ContainsFunc(err.Error(), unicode.IsControl) {
				t.Errorf("%s: %s", field, short(err.Error()))
			}
			j.denied[field]++
			return false
		}
		at.seq, at.prev = e.Seq, wire.HashOf(message)
		batch.Arrivals = append(batch.Arrivals, store.Arrival{Event: e, Message: message, Received: now})
		return true
	}
	// Each text stands in a body of its own; where says how the API shows it.
	type said struct{ lane, field, member, text string }
	var want []said
	for _, text := range hostileStrings(t) {
		for _, c := range []struct {
			field, member string
			lane          wire.Lane
			body          wire.Body
		}{
			{"button", "button", wire.Alarm, &wire.AlarmRaised{Alarm: wire.NewAlarmID(), Kind: wire.Panic, Button: text, Press: 1}},
			{"fault code", "code", wire.Duty, &wire.Fault{Code: text, Active: true}},
			{"fault detail", "detail", wire.Duty, &wire.Fault{Code: "x", Active: true, Detail: text}},
			{"firmware", "firmware", wire.Duty, wire.NewHealth(time.Hour, text, nil)},
			{"sign_on officer", "officer", wire.Duty, &wire.SignOn{Officer: text, Slot: 1, Score: 1}},
			{"sign_off reason", "reason", wire.Duty, &wire.SignOff{Officer: "P-1", Reason: text}},
			{"sign_refused reason", "reason", wire.Duty, &wire.SignRefused{Reason: text}},
			{"commissioned by", "by", wire.Duty, &wire.Commissioned{Verdict: wire.CommissionFail, By: text, Firmware: "1"}},
			{"stream detail", "detail", wire.Duty, &wire.StreamStarted{Why: wire.StartRolledBack, Detail: text}},
			{"check_in button", "button", wire.Duty, &wire.CheckIn{By: wire.CheckInButton, Button: text}},
			{"answer note", "note", wire.Duty, &wire.UnitAnswer{Incident: 1, Rev: 1, Answer: wire.AnswerEnRoute, Note: text}},
			{"note", "text", wire.Duty, &wire.Note{Incident: 1, Text: text}},
			{"mime", "mime", wire.Track, &wire.AttachmentPart{Whole: make([]byte, 32), Size: 1, Count: 1, Bytes: []byte{1}, MIME: text}},
		} {
			if send(c.field, c.lane, c.body, "") {
				want = append(want, said{c.lane.String(), c.field, c.member, text})
			}
		}
		if send("officer", wire.Duty, &wire.CheckIn{By: wire.CheckInButton}, text) {
			want = append(want, said{"duty", "officer", "", text})
		}
	}
	if _, err := j.db.Commit(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	var got []console.Event
	for after := "0"; ; {
		_, raw := j.ask("GET", "/api/v1/devices/box-01/events?limit=1000&after="+after, "")
		var page struct {
			Events []console.Event
			Next   string
		}
		if err := json.Unmarshal(raw, &page); err != nil {
			t.Fatal(err)
		}
		got = append(got, page.Events...)
		if after = page.Next; len(page.Events) == 0 {
			break
		}
	}
	if len(got) != len(want) {
		t.Fatalf("%d events came back of %d", len(got), len(want))
	}
	for n, e := range got {
		text := e.Officer
		if want[n].member != "" {
			var body map[string]any
			if err := json.Unmarshal(e.Body, &body); err != nil {
				t.Fatal(err)
			}
			text, _ = body[want[n].member].(string)
		}
		j.same(want[n].field, want[n].text, text, false)
	}
	j.enough(150, "button", "fault code", "fault detail", "firmware", "sign_on officer", "sign_off reason", "sign_refused reason", "commissioned by", "stream detail", "check_in button", "answer note", "note", "mime", "officer")
	for _, target := range []string{"/incidents?limit=1000", "/devices", "/devices/box-01", "/devices/box-01/gaps", "/devices/box-01/fingers", "/summary", "/units", "/duty", "/rounds", "/gaps"} {
		if answer, raw := j.ask("GET", "/api/v1"+target, ""); answer.StatusCode != 200 {
			t.Errorf("%s: %s", target, raw)
		}
	}
}

// What a person does with an incident is refused by field, or is text for ever after: in the
// API, in the audit record, and in the evidence.
func TestHostileSteps(t *testing.T) {
	j := newJudge(t)
	for n, text := range hostileStrings(t) {
		j.press("box-01", wire.Panic, 0)
		at := fmt.Sprintf("/api/v1/incidents/%d", n+1)
		do := func(step, members string, field ...string) *console.Incident {
			answer, raw := j.ask("POST", at+"/"+step, members)
			if answer.StatusCode != 200 {
				j.refused(step+" "+short(text), raw, field...)
				return nil
			}
			var i console.Incident
			if err := json.Unmarshal(raw, &i); err != nil {
				t.Fatal(err)
			}
			return &i
		}
		last := func(i *console.Incident) string { return i.Timeline[len(i.Timeline)-1].Detail }
		do("acknowledge", `{"by":`+quote(text)+`}`, "by")
		j.ask("POST", at+"/acknowledge", `{}`)
		if answer, raw := j.ask("POST", at+"/take_over", `{"from":`+quote(text)+`}`); answer.StatusCode != 409 { // nobody of that name has it
			j.refused("take_over "+short(text), raw, "from")
		}
		if i := do("dispatch", `{"unit":`+quote(text)+`}`, "unit"); i != nil {
			j.same("unit", text, i.Dispatched.Unit, true)
		} else {
			j.ask("POST", at+"/dispatch", `{"unit":"car-01"}`)
		}
		if i := do("note", `{"note":`+quote(text)+`}`, "note"); i != nil {
			j.same("note", text, last(i), true)
		}
		if i := do("suspend", `{"reason":`+quote(text)+`}`, "reason"); i != nil {
			j.same("reason", text, i.Request.Reason, true)
		}
		do("close", `{"code":`+quote(text)+`,"note":""}`, "code")
		if i := do("close", `{"code":"test","note":`+quote(text)+`}`, "close note", "note"); i != nil {
			j.same("close note", text, i.Closed.Note, true)
		} else {
			j.want(200, "POST", at+"/close", `{"code":"test","note":""}`, nil)
		}
		if answer, raw := j.ask("POST", "/api/v1/units/car-01/state", `{"state":"busy","reason":`+quote(text)+`}`); answer.StatusCode == 200 {
			var u console.Unit
			if err := json.Unmarshal(raw, &u); err != nil {
				t.Fatal(err)
			}
			j.same("unit reason", text, u.Reason, true)
		} else {
			j.refused("unit reason "+short(text), raw, "unit reason", "reason")
		}
		if j.sendFile(uint64(n+1), text) {
			_, raw := j.ask("GET", at+"/attachments", "")
			var files struct{ Attachments []console.Attachment }
			if err := json.Unmarshal(raw, &files); err != nil || len(files.Attachments) != 1 {
				t.Fatalf("%s: attachments: %s", short(text), raw)
			}
			j.same("media type", text, files.Attachments[0].MIME, false)
			answer, _ := j.ask("GET", "/api/v1/attachments/"+files.Attachments[0].ID, "")
			if media := answer.Header.Get("Content-Type"); media != "application/octet-stream" {
				t.Errorf("a file of type %s is given out as %s", short(text), media)
			}
		}
		j.evidence(at, text)
	}
	j.enough(200, "note", "reason", "close note", "unit reason")
	j.enough(150, "unit")
	answer, raw := j.do("GET", "/api/v1/audit", "")
	if answer.StatusCode != 200 || !utf8.Valid(raw) || bytes.ContainsAny(raw, "\x00\x1b\r<>") {
		t.Errorf("audit: %s", answer.Status)
	}
	j.audited(raw)
}

// What stands in an address is refused by its name, or finds nothing.
func TestHostileAddresses(t *testing.T) {
	j := newJudge(t)
	for _, text := range hostileStrings(t) {
		if len(text) > 8000 {
			continue // the server refuses such a head before the desk sees it
		}
		in := url.QueryEscape(text)
		for _, c := range []struct{ target, field string }{
			{"/incidents?state=" + in, "state"},
			{"/incidents?area=" + in, "area"},
			{"/incidents?drill=" + in, "drill"},
			{"/incidents?since=" + in, "since"},
			{"/incidents?until=" + in, "until"},
			{"/incidents?limit=" + in, "limit"},
			{"/incidents?" + in + "=x", ""},
			{"/devices/box-01/events?lane=" + in, "lane"},
			{"/devices/box-01/events?after=" + in, "after"},
			{"/devices/box-01/track?from=" + in, "from"},
			{"/gaps?device=" + in, "device"},
			{"/gaps?why=" + in, "why"},
			{"/stats?per=" + in, "per"},
			{"/stats?tier=" + in, "tier"},
			{"/stats?zone=" + in, "zone"},
			{"/stats.csv?zone=" + in, "zone"},
			{"/stream?devices=" + in, "devices"},
			{"/grid?by=" + in, "by"},
		} {
			answer, raw := j.ask("GET", "/api/v1"+c.target, "")
			switch {
			case answer.StatusCode == 200 && c.field != "area" && c.field != "device" && text != "true":
				t.Errorf("%s: taken", short(c.target))
			case answer.StatusCode >= 400:
				field := c.field
				if field == "" || field == "by" {
					var p console.Problem
					_ = json.Unmarshal(raw, &p)
					if field = p.Field; field == "" { // a query that cannot be read
						field = "body"
						continue
					}
				}
				if answer.StatusCode != 404 {
					j.refused(c.target, raw, field)
				}
			}
		}
		path := url.PathEscape(text)
		if text == "." || text == ".." {
			continue
		}
		for _, target := range []string{"/incidents/", "/devices/", "/attachments/", "/accounts/"} {
			if answer, raw := j.ask("GET", "/api/v1"+target+path, ""); answer.StatusCode < 300 {
				t.Errorf("%s%s: %s %s", target, short(text), answer.Status, raw)
			}
		}
		for _, target := range []string{"/incidents/" + path + "/evidence", "/devices/" + path + "/track", "/incidents/" + path + "/audit"} {
			if answer, raw := j.ask("GET", "/api/v1"+target, ""); answer.StatusCode < 300 {
				t.Errorf("%s: %s %s", short(target), answer.Status, raw)
			}
		}
		if answer, raw := j.ask("PUT", "/api/v1/groups/"+path, `{"name":"x","devices":["box-01","box-02"]}`); answer.StatusCode < 300 {
			if wire.ValidDevice(text) != nil {
				t.Errorf("group %s: %s", short(text), raw)
			}
			j.ask("DELETE", "/api/v1/groups/"+path, "")
		}
		// Where a browser goes after signing in is a path of ours.
		form := url.Values{"name": {text}, "password": {text}, "next": {text}}
		answer, _ := j.do("POST", "/login", form.Encode(), "Content-Type", "application/x-www-form-urlencoded")
		if to := answer.Header.Get("Location"); to != "" {
			t.Errorf("signed in as %s, to %s", short(text), to)
		}
	}
	if j.denied["state"] < 200 || j.denied["zone"] < 200 {
		t.Errorf("refused: %v", j.denied)
	}
}

// readAll is for what a test reads to its end.
func readAll(t testing.TB, r io.Reader) []byte {
	t.Helper()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
