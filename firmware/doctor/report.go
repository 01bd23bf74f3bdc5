package doctor

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"regexp"
	"runtime"
	"strings"
	"sync"

	"github.com/fengsui/fengsui/firmware/wire"
)

// Format names this form of report.
const Format = "fengsui-doctor/1"

// A Verdict is the outcome of all checks.
type Verdict string

// The verdicts.
const (
	Good       Verdict = "pass"       // nothing failed, nothing was skipped
	Bad        Verdict = "fail"       // something failed
	Incomplete Verdict = "incomplete" // nothing failed, and something was skipped
)

// A Report is what a run found. Its JSON, as encoding/json makes it, is what is
// signed.
type Report struct {
	Format   string         `json:"format"`
	Device   string         `json:"device"`
	Profile  string         `json:"profile"`
	Board    string         `json:"board"`
	Model    string         `json:"model"`  // as the board calls itself; "": it does not
	Serial   string         `json:"serial"` // of the board
	Card     string         `json:"card"`   // of the memory card
	System   string         `json:"system"` // operating system and processor
	Version  string         `json:"version"`
	Key      string         `json:"key"` // the device's public key; "": it has none
	By       string         `json:"by"`
	Lang     string         `json:"lang"`
	SelfTest bool           `json:"self_test"`
	Began    Moment         `json:"began"`
	Ended    Moment         `json:"ended"`
	Place    *Fix           `json:"place"` // null: not known
	Results  []Result       `json:"results"`
	Counts   map[Status]int `json:"counts"`
	Verdict  Verdict        `json:"verdict"`
}

// A Moment is a time of day as well as the device knew it.
type Moment struct {
	Time     string `json:"time"` // RFC 3339
	Source   string `json:"source"`
	WithinMS int64  `json:"within_ms"`
}

// A Signed is a report, its bytes and their signature.
type Signed struct {
	Report
	JSON      []byte
	Signature []byte // Ed25519 over domain and JSON; nil: there is no key
	// Stored and Acknowledged say whether its summary is on the way to the
	// centre, and whether the centre has it.
	Stored, Acknowledged bool
}

// domain keeps a signature over a report from being one over anything else.
const domain = "fengsui doctor report v1\n"

func (s *session) moment() Moment {
	w := s.clock.Wall()
	return Moment{w.Time().Format("2006-01-02T15:04:05Z"), w.Source.String(), w.Uncertainty.Milliseconds()}
}

func (s *session) begin() *Report {
	model, serial := s.Sensors.Model()
	return &Report{
		Format: Format, Device: s.Config.Device, Profile: s.Config.Profile, Board: s.Config.Board, Model: model, Serial: serial,
		Card: s.Sensors.Card(), System: runtime.GOOS + "/" + runtime.GOARCH, Version: s.Version, By: s.By, Lang: s.Lang,
		SelfTest: s.Person == nil, Began: s.moment(),
	}
}

// end judges, signs and tells the centre.
func (s *session) end(ctx context.Context, r *Report) (*Signed, error) {
	r.Ended, r.Key, r.Counts, r.Verdict = s.moment(), hexKey(s.key), make(map[Status]int), Good
	if r.Place = s.fix; s.Config.Place != nil {
		r.Place = &Fix{Lat: s.Config.Place.Lat, Lon: s.Config.Place.Lon}
	}
	var problems []string
	for _, res := range r.Results {
		r.Counts[res.Status]++
		if res.Status == Fail {
			problems = append(problems, res.ID)
		}
	}
	switch {
	case r.Counts[Fail] > 0:
		r.Verdict = Bad
	case r.Counts[Skip] > 0:
		r.Verdict = Incomplete
	}
	b, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("doctor: %w", err)
	}
	out := &Signed{Report: *r, JSON: b}
	if s.key != nil {
		out.Signature = ed25519.Sign(s.key, append([]byte(domain), b...))
	}
	out.Stored, out.Acknowledged, err = s.tellCentre(ctx, &wire.Commissioned{
		Verdict: map[Verdict]wire.CommissionVerdict{Good: wire.CommissionPass, Bad: wire.CommissionFail, Incomplete: wire.CommissionIncomplete}[r.Verdict],
		Passed:  uint64(r.Counts[Pass]), Failed: uint64(r.Counts[Fail]), Skipped: uint64(r.Counts[Skip]), Absent: uint64(r.Counts[Absent]),
		Problems: problems[:min(len(problems), wire.MaxProblems)], Report: sha256.Sum256(b), By: r.By, SelfTest: r.SelfTest, Firmware: r.Version,
	})
	if err != nil {
		s.Log.Error("the report is not on its way to the centre", "err", err)
	}
	return out, nil
}

//go:embed report.html
var reportHTML string

var page = sync.OnceValue(func() *template.Template {
	return template.Must(template.New("report").Funcs(template.FuncMap{
		"t":     func(lang, key string) string { return text(lang, key, nil) },
		"title": title,
		"trim":  strings.TrimSpace,
	}).Parse(reportHTML))
})

// HTML returns the report as one page that needs nothing else, with its JSON and
// signature inside.
func (s *Signed) HTML() ([]byte, error) {
	var b bytes.Buffer
	err := page().Execute(&b, map[string]any{
		"R": &s.Report, "JSON": template.JS(s.JSON), "Signature": hex.EncodeToString(s.Signature), //nolint // our own JSON, with < > & escaped
		"Hash": fmt.Sprintf("%x", sha256.Sum256(s.JSON)),
	})
	return b.Bytes(), err
}

// Errors of Verify.
var (
	// ErrReport means that a file is not a report of this format.
	ErrReport = errors.New("not a report of this program")
	// ErrSignature means that a report is not signed by the key, or was changed.
	ErrSignature = errors.New("the signature does not verify")
	// ErrChanged means that the page shows something else than was signed.
	ErrChanged = errors.New("the page is not what was signed")
)

var (
	jsonIn      = regexp.MustCompile(`(?s)<script type="application/json" id="report">(.*?)</script>`)
	signatureIn = regexp.MustCompile(`<meta name="signature" content="([0-9a-f]{128})">`)
)

// Verify checks a report's page against a device's public key: its signature,
// and that every word of the page follows from what was signed. Pages of another
// version of this program may differ in their words. The error wraps [ErrReport],
// [ErrSignature] or [ErrChanged].
func Verify(html []byte, key ed25519.PublicKey) (*Report, error) {
	j, sig := jsonIn.FindSubmatch(html), signatureIn.FindSubmatch(html)
	if j == nil {
		return nil, ErrReport
	}
	s := &Signed{JSON: j[1]}
	if err := json.Unmarshal(s.JSON, &s.Report); err != nil || s.Format != Format {
		return nil, fmt.Errorf("%w: format %q: want %q", ErrReport, s.Format, Format)
	}
	if sig == nil {
		return nil, fmt.Errorf("%w: there is none", ErrSignature)
	}
	var err error
	if s.Signature, err = hex.DecodeString(string(sig[1])); err != nil || len(key) != ed25519.PublicKeySize ||
		!ed25519.Verify(key, append([]byte(domain), s.JSON...), s.Signature) {
		return nil, ErrSignature
	}
	again, err := s.HTML()
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(again, html) {
		return nil, ErrChanged
	}
	return &s.Report, nil
}
