package console_test

import (
	"archive/zip"
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/csv"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/html"

	"github.com/fengsui/fengsui/cloud-bridge/account"
	"github.com/fengsui/fengsui/cloud-bridge/audit"
	"github.com/fengsui/fengsui/cloud-bridge/console"
	"github.com/fengsui/fengsui/cloud-bridge/evidence"
	"github.com/fengsui/fengsui/cloud-bridge/store"
	"github.com/fengsui/fengsui/firmware/wire"
)

// safeName is what a file in an archive may be called, on any system.
var safeName = regexp.MustCompile(`^([a-z]+/)?[a-z0-9-]+\.(json|jsonl|sig|cose|gpx|geojson|bin|jpg|png|txt)$`)

// sendFile makes a car send a small file of some media type for an incident.
func (j *judge) sendFile(incident uint64, media string) (taken bool) {
	if len(media) > 64 || !utf8.ValidString(media) {
		return false
	}
	body := fmt.Appendf(nil, "file %d", incident)
	whole := sha256.Sum256(body)
	j.send("car-01", wire.Track, 0, &wire.AttachmentPart{Whole: whole[:], Size: uint64(len(body)), Count: 1, Bytes: body, MIME: media, Incident: incident})
	return true
}

// evidence fails unless the archive of an incident is whole, and holds text as text.
func (j *judge) evidence(incident, text string) {
	j.t.Helper()
	answer, raw := j.ask("GET", incident+"/evidence", "")
	if answer.StatusCode != 200 {
		j.t.Fatalf("evidence: %s", raw)
	}
	if _, err := evidence.Verify(bytes.NewReader(raw), int64(len(raw)), key.Public().(ed25519.PublicKey)); err != nil {
		j.t.Errorf("%s: evidence: %v", short(text), err)
	}
	z, err := zip.NewReader(bytes.NewReader(raw), int64(len(raw)))
	if err != nil {
		j.t.Fatal(err)
	}
	for _, f := range z.File {
		if !safeName.MatchString(f.Name) || f.Mode().Perm()&0o111 != 0 {
			j.t.Errorf("%s: a file %s of mode %v", short(text), short(f.Name), f.Mode())
		}
		in, err := f.Open()
		if err != nil {
			j.t.Fatal(err)
		}
		body := readAll(j.t, in)
		switch ext := f.Name[strings.LastIndexByte(f.Name, '.'):]; ext {
		case ".json", ".geojson":
			if !json.Valid(body) || !utf8.Valid(body) {
				j.t.Errorf("%s: %s is no JSON", short(text), f.Name)
			}
		case ".gpx":
			for d := xml.NewDecoder(bytes.NewReader(body)); err == nil; {
				var token xml.Token
				token, err = d.Token()
				if start, is := token.(xml.StartElement); is && !strings.Contains(" gpx trk name trkseg trkpt ele time ", " "+start.Name.Local+" ") {
					j.t.Errorf("%s: %s has an element %s", short(text), f.Name, start.Name.Local)
				}
			}
			if !errors.Is(err, io.EOF) {
				j.t.Errorf("%s: %s: %v", short(text), f.Name, err)
			}
		}
	}
}

// audited fails unless an export of the audit record is whole.
func (j *judge) audited(export []byte) {
	j.t.Helper()
	if _, _, err := audit.Read(bytes.NewReader(export), key.Public().(ed25519.PublicKey), nil); err != nil {
		j.t.Errorf("the exported audit record: %v", err)
	}
}

// What a technician or supervisor names, devices, areas, people, rounds and groups, is
// refused by field, or is text: in the API, and in a spreadsheet.
func TestHostileNames(t *testing.T) {
	j := newJudge(t)
	all := hostileStrings(t)
	names := make(map[string]string) // of devices, by id
	var register []store.Registration
	for n, text := range all {
		r := store.Registration{ID: fmt.Sprintf("n-%d", n), Kind: store.AlarmBox, Name: text, Key: key.Public().(ed25519.PublicKey)}
		if n%2 == 1 {
			r.Kind = store.PatrolCar
		}
		if err := r.Validate(); err != nil {
			if !errors.Is(err, store.ErrRegister) || !strings.Contains(err.Error(), "name") || !strings.Contains(err.Error(), "want") || len(err.Error()) > 700 || strings.ContainsFunc(err.Error(), unicode.IsControl) {
				t.Errorf("%s: %s", short(text), short(err.Error()))
			}
			j.denied["device"]++
			continue
		}
		names[r.ID] = text
		register = append(register, r)
		for _, bad := range []store.Registration{{ID: text}, {ID: "x", Kind: store.DeviceKind(text)}} {
			bad.Key = r.Key
			if err := bad.Validate(); !errors.Is(err, store.ErrRegister) || len(err.Error()) > 700 {
				if len(text) <= 32 && wire.ValidDevice(text) == nil {
					continue // what kind it is, is asked next
				}
				t.Errorf("%s: %v", short(text), err)
			}
		}
	}
	if err := j.db.Register(t.Context(), register...); err != nil {
		t.Fatal(err)
	}
	for _, r := range register {
		if r.Kind == store.AlarmBox {
			j.press(r.ID, wire.Panic, 0)
		}
	}
	_, raw := j.ask("GET", "/api/v1/devices", "")
	var devices struct{ Devices []console.Device }
	if err := json.Unmarshal(raw, &devices); err != nil {
		t.Fatal(err)
	}
	for _, d := range devices.Devices {
		if text, mine := names[d.ID]; mine {
			j.same("device", text, d.Name, false)
		}
	}
	_, raw = j.ask("GET", "/api/v1/summary", "")
	var summary struct{ Devices []console.Known }
	if err := json.Unmarshal(raw, &summary); err != nil {
		t.Fatal(err)
	}
	for _, d := range summary.Devices {
		if text, mine := names[d.ID]; mine && d.Name != text {
			t.Errorf("summary: %s is %s", short(text), short(d.Name))
		}
	}
	_, raw = j.ask("GET", "/api/v1/incidents?limit=1000", "")
	var incidents struct{ Incidents []console.Incident }
	if err := json.Unmarshal(raw, &incidents); err != nil {
		t.Fatal(err)
	}
	for _, i := range incidents.Incidents {
		j.same("device of an incident", names[i.Device], i.DeviceName, false)
	}
	if j.stored["device of an incident"] < 100 {
		t.Errorf("%d incidents", j.stored["device of an incident"])
	}

	// Groups, one at a time; a grid and a plan that hold all names which each takes alone.
	var villages, people, rounds []string
	for n, text := range all {
		put := func(field, target, media, body string) bool {
			answer, raw := j.ask("PUT", "/api/v1"+target, body, "Content-Type", media)
			if answer.StatusCode != 200 {
				var p console.Problem
				if err := json.Unmarshal(raw, &p); err != nil || p.Field == "" || p.Detail == "" || len(p.Detail) > 3000 {
					t.Errorf("%s %s: %s", field, short(text), raw)
				}
				j.denied[field]++
			}
			return answer.StatusCode == 200
		}
		if put("group", "/groups/g", "application/json", `{"name":`+quote(text)+`,"devices":["box-01","box-02"]}`) {
			_, raw := j.ask("GET", "/api/v1/groups", "")
			var list struct{ Groups []console.Group }
			if err := json.Unmarshal(raw, &list); err != nil || len(list.Groups) != 1 {
				t.Fatalf("groups: %s", raw)
			}
			j.same("group", text, list.Groups[0].Name, true)
		}
		if n%5 > 0 && len(text) < 60 && utf8.ValidString(text) && !strings.ContainsFunc(text, unicode.IsControl) {
			villages = append(villages, text) // most in one document below
		} else if put("grid", "/grid", "application/geo+json", gridOf(text)) {
			villages = append(villages, text)
		}
		if put("plan", "/roster", "application/json", planOf([]string{`{"id":"P-1","kind":"officer","name":` + quote(text) + `}`}, []string{round(0, text)})) {
			people = append(people, fmt.Sprintf(`{"id":"P-%d","kind":"officer","name":%s}`, len(people)+1, quote(text)))
			rounds = append(rounds, strings.ReplaceAll(text, "\u0085", " ")) // a line's end in YAML
		}
		if answer, raw := j.ask("POST", "/api/v1/drills", `{"on":true,"minutes":5,"area":`+quote(text)+`}`); answer.StatusCode == 200 {
			t.Errorf("a drill in %s", short(text))
		} else {
			j.refused("drill "+short(text), raw, "area", "devices")
		}
	}
	if answer, raw := j.ask("PUT", "/api/v1/grid", gridOf(villages...), "Content-Type", "application/geo+json"); answer.StatusCode != 200 {
		t.Fatalf("grid: %s", raw)
	}
	_, raw = j.ask("GET", "/api/v1/grid", "")
	var g struct {
		Features []struct {
			Properties struct{ ID, Name, Level string }
		}
	}
	if err := json.Unmarshal(raw, &g); err != nil {
		t.Fatal(err)
	}
	for _, f := range g.Features {
		if f.Properties.Level == "village" {
			var n int
			_, _ = fmt.Sscanf(f.Properties.ID, "v-%d", &n)
			j.same("grid", villages[n], f.Properties.Name, false)
		}
	}
	var listed []string
	for n, text := range rounds {
		listed = append(listed, round(n, text))
	}
	if answer, raw := j.ask("PUT", "/api/v1/roster", planOf(people, listed), "Content-Type", "application/json"); answer.StatusCode != 200 {
		t.Fatalf("plan: %s", raw)
	}
	_, raw = j.ask("GET", "/api/v1/rounds", "")
	var visits struct{ Visits []console.Visit }
	if err := json.Unmarshal(raw, &visits); err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	for _, v := range visits.Visits {
		var n int
		_, _ = fmt.Sscanf(v.Round, "r-%d", &n)
		if !seen[v.Round] {
			j.same("plan", rounds[n], v.Name, false)
		}
		seen[v.Round] = true
	}
	j.enough(200, "device", "group", "grid", "plan")
	// Each village has an alarm, and so a line of the statistics.
	register = nil
	for n := range villages {
		at := &store.Point{Lat: 0.5, Lon: float64(n)*0.01 + 0.005}
		register = append(register, store.Registration{ID: fmt.Sprintf("c-%d", n), Kind: store.AlarmBox, At: at, Key: key.Public().(ed25519.PublicKey)})
	}
	if err := j.db.Register(t.Context(), register...); err != nil {
		t.Fatal(err)
	}
	for _, r := range register {
		j.press(r.ID, wire.Panic, 0)
	}
	j.spreadsheet(villages)
}

// formula says whether a spreadsheet could take a cell for a formula: what it may pass over
// before the sign counts for nothing.
func formula(cell string) bool {
	first := strings.TrimLeftFunc(cell, func(r rune) bool {
		return unicode.IsSpace(r) || unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == '"'
	})
	return first != "" && strings.ContainsRune("=+-@＝＋－＠−﹢﹣﹦﹫", []rune(first)[0])
}

// A cell is the text, or the text behind an apostrophe, and never a formula.
func TestCell(t *testing.T) {
	apart := 0
	for _, text := range hostileStrings(t) {
		switch got := console.Cell(text); {
		case formula(got):
			t.Errorf("%s: %s is a formula", short(text), short(got))
		case got == "'"+text:
			apart++
			if !formula(text) {
				t.Errorf("%s is no formula, and has an apostrophe", short(text))
			}
		case got != text:
			t.Errorf("%s became %s", short(text), short(got))
		}
	}
	if apart < 20 {
		t.Errorf("%d of the strings are formulas", apart)
	}
}

// spreadsheet fails unless the statistics come as a table in which each text stands alone in
// its cell and none is a formula.
func (j *judge) spreadsheet(texts []string) {
	j.t.Helper()
	answer, raw := j.ask("GET", "/api/v1/stats.csv?tier=village&per=all", "")
	if answer.StatusCode != 200 {
		j.t.Fatalf("%s: %s", answer.Status, raw)
	}
	in := csv.NewReader(strings.NewReader(strings.TrimPrefix(string(raw), "\uFEFF")))
	in.FieldsPerRecord = -1
	rows, err := in.ReadAll()
	if err != nil {
		j.t.Fatal(err)
	}
	have := make(map[string]bool)
	for _, row := range rows {
		for _, cell := range row {
			have[cell] = true
			if formula(cell) {
				j.t.Errorf("a cell is a formula: %s", short(cell))
			}
		}
	}
	for _, text := range texts {
		if !have[text] && !have["'"+text] {
			j.t.Errorf("the table does not have %s", short(text))
		}
	}
}

// gridOf is a grid with a village of each name, side by side, each of one cell.
func gridOf(names ...string) string {
	var b strings.Builder
	b.WriteString(`{"type":"FeatureCollection","features":[
		{"type":"Feature","geometry":null,"properties":{"id":"d","name":"D","level":"district"}},
		{"type":"Feature","geometry":null,"properties":{"id":"t","name":"T","level":"township","parent":"d"}}`)
	for n, name := range names {
		west, east := float64(n)*0.01, float64(n+1)*0.01
		fmt.Fprintf(&b, `,{"type":"Feature","geometry":null,"properties":{"id":"v-%d","level":"village","parent":"t","name":%s}}`, n, quote(name))
		fmt.Fprintf(&b, `,{"type":"Feature","properties":{"id":"c-%d","level":"cell","parent":"v-%[1]d","name":"C"},
			"geometry":{"type":"Polygon","coordinates":[[[%.2[2]f,0],[%.2[3]f,0],[%.2[3]f,1],[%.2[2]f,1],[%.2[2]f,0]]]}}`, n, west, east)
	}
	b.WriteString("]}")
	return b.String()
}

// round is a guard round of that name; planOf is a plan of such.
func round(n int, name string) string {
	return fmt.Sprintf(`{"id":"r-%d","name":%s,"who":["P-1"],"points":["box-01"],"at":["00:00","06:00","12:00","18:00"],"within":"5h"}`, n, quote(name))
}

func planOf(people, rounds []string) string {
	return `{"zone":"UTC","people":[` + strings.Join(people, ",") + `],"rounds":[` + strings.Join(rounds, ",") + `]}`
}

// Names of accounts, labels of tokens and what a browser calls itself.
func TestHostileAccounts(t *testing.T) {
	j := newJudge(t)
	secret, err := j.session("Mei", account.Admin)
	if err != nil {
		t.Fatal(err)
	}
	// The pages that refuse a plain name: what they are made of, by their status.
	shapes := map[int][]string{http.StatusBadRequest: shape(t, nil)} // a problem document
	for range 30 {
		answer, raw := j.do("POST", "/login", "password=x&next=/&name=nobody", "Content-Type", "application/x-www-form-urlencoded", "Accept-Language", "en")
		shapes[answer.StatusCode] = shape(t, raw)
	}
	for n, text := range hostileStrings(t) {
		post := func(field, path, body string, out any) bool {
			answer, raw := j.ask("POST", "/api/v1"+path, body)
			if answer.StatusCode == 409 { // another spelling of a name that is taken
				return false
			}
			if answer.StatusCode != 200 {
				if field == "name" && bytes.Contains(raw, []byte("taken")) {
					return false
				}
				j.refused(field+" "+short(text), raw, field)
				return false
			}
			if err := json.Unmarshal(raw, out); err != nil {
				t.Fatal(err)
			}
			return true
		}
		var p console.Person
		if post("name", "/accounts", `{"role":"viewer","scope":"*","name":`+quote(text)+`}`, &p) {
			if want, _ := account.ParseName(text); p.Name != want {
				t.Errorf("%s became %s: want %s", short(text), short(p.Name), short(want))
			}
			j.stored["name"]++
			var again console.Person
			j.want(200, "GET", "/api/v1/accounts/"+p.ID, "", &again)
			if again.Name != p.Name {
				t.Errorf("%s became %s", short(p.Name), short(again.Name))
			}
		}
		post("role", "/accounts", `{"name":"x","scope":"*","role":`+quote(text)+`}`, &p)
		post("scope", "/accounts", fmt.Sprintf(`{"name":"person %d","role":"viewer","scope":%s}`, n, quote(text)), &p)
		var token console.Token
		if post("label", "/tokens", `{"label":`+quote(text)+`}`, &token) {
			j.same("label", text, token.Label, true)
			j.want(200, "POST", "/api/v1/tokens/"+token.ID+"/revoke", "", nil)
		}
		// A name that nobody has is refused, and stands on the page as text.
		form := strings.NewReplacer("%", "%25", "&", "%26", "+", "%2B", ";", "%3B", "=", "%3D").Replace(text)
		answer, raw := j.do("POST", "/login", "password=x&next=/&name="+form, "Content-Type", "application/x-www-form-urlencoded", "Accept-Language", "en")
		if answer.StatusCode < 400 {
			t.Errorf("signed in as %s", short(text))
		}
		if got := shape(t, raw); shapes[answer.StatusCode] == nil {
			t.Errorf("%s: %s %s", short(text), answer.Status, raw)
		} else if !slices.Equal(got, shapes[answer.StatusCode]) {
			t.Errorf("%s: the page has %q: want %q", short(text), got, shapes[answer.StatusCode])
		}
		if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
			continue // no header: net/http refuses the request
		}
		var sessions struct{ Sessions []console.Session }
		cookie := "fengsui-loopback=" + string(secret)
		_, raw = j.ask("GET", "/api/v1/sessions", "", "Cookie", cookie, "User-Agent", text, "X-Forwarded-For", text, "Accept-Language", text)
		if err := json.Unmarshal(raw, &sessions); err != nil || len(sessions.Sessions) != 1 {
			t.Errorf("sessions: %s", raw)
		}
		if answer, _ := j.do("GET", "/", "", "Cookie", "fengsui_lang="+text, "Accept-Language", text); answer.Header.Get("Content-Language") != "zh-CN" {
			t.Errorf("the language %s", short(text))
		}
		j.ask("POST", "/api/v1/incidents/1/note", `{"note":"x"}`, "Content-Type", text)
		j.ask("POST", "/api/v1/incidents/1/note", `{"note":"x"}`, "Origin", text)
		j.ask("GET", "/api/v1/session", "", "Authorization", "Bearer fengsui_"+text)
	}
	j.enough(100, "name", "label")
	if j.denied["role"] < 200 || j.denied["scope"] == 0 {
		t.Errorf("refused: %v", j.denied)
	}
	_, raw := j.do("GET", "/api/v1/audit", "")
	j.audited(raw)
}

// shape is a page's elements and attributes, in their order.
func shape(t testing.TB, page []byte) (all []string) {
	t.Helper()
	doc, err := html.Parse(bytes.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	for n := range doc.Descendants() {
		if n.Type == html.TextNode {
			continue
		}
		all = append(all, n.Data)
		for _, a := range n.Attr {
			all = append(all, a.Key)
		}
	}
	return all
}
