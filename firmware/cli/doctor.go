package cli

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/fengsui/fengsui/firmware/config"
	"github.com/fengsui/fengsui/firmware/doctor"
)

// The exit statuses of doctor beside those of every command.
const incomplete exitCode = 3

type doctorFlags struct {
	config, board, lang, report, by string
	json, selfTest                  bool
}

// commission runs the checks of package doctor. What is said to a person is
// bilingual by --lang; with --json, a line of JSON for each thing that is said:
//
//	{"ask": {"id": …, "text": …}}     what the person is asked, or told to do
//	{"result": {…}}                   of one check, see doctor.Result
//	{"report": {…}, "stored": …, "acknowledged": …, "signature": …}
//
// Answers are lines of standard input: y, n, or s to skip.
func commission(ctx context.Context, version string, args []string, std streams) error {
	if len(args) > 0 && args[0] == "verify" {
		return verifyReport(args[1:], std)
	}
	var d doctorFlags
	f := flag.NewFlagSet("fengsui", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.StringVar(&d.config, "config", "", "")
	f.StringVar(&d.board, "board", "", "")
	f.StringVar(&d.lang, "lang", doctor.Langs()[0], "")
	f.StringVar(&d.report, "report", "", "")
	f.StringVar(&d.by, "by", "", "")
	f.BoolVar(&d.json, "json", false, "")
	f.BoolVar(&d.selfTest, "self-test", false, "")
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	if err := none(f.Args()); err != nil {
		return err
	}
	switch {
	case d.config == "" && d.board == "":
		return fmt.Errorf("%w: want doctor --config FILE, or --board NAME for a board on which nothing is set up yet", errUsage)
	case !slices.Contains(doctor.Langs(), d.lang):
		return fmt.Errorf("%w: --lang %q: want one of %s", errUsage, d.lang, strings.Join(doctor.Langs(), ", "))
	case len(d.by) > 64:
		return fmt.Errorf("%w: --by of %d bytes: want at most 64", errUsage, len(d.by))
	}
	o := doctor.Options{Version: version, Lang: d.lang, By: d.by, Log: slog.New(slog.DiscardHandler), WiFi: wireless()}
	if err := d.device(&o); err != nil {
		return err
	}
	if o.Bare {
		defer os.RemoveAll(o.Config.Data)
	}
	out := &told{w: std.out, json: d.json, lang: d.lang}
	o.Done = out.result
	if !d.selfTest {
		answers, stop := listen(std.in)
		defer stop()
		o.Person = &doctor.Person{Tell: out.ask, Answers: answers, Hasty: typed(std.in)}
	}
	signed, err := doctor.Run(ctx, o)
	if err != nil {
		return err
	}
	if err := d.write(signed, out); err != nil {
		return err
	}
	switch signed.Verdict {
	case doctor.Bad:
		return exitCode(1)
	case doctor.Incomplete:
		return incomplete
	}
	return nil
}

// device fills in what is looked at.
func (d *doctorFlags) device(o *doctor.Options) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	o.CheckSpool = []string{self, "spool", "check"}
	switch {
	case d.config == "":
		dir, err := os.MkdirTemp("", "fengsui-doctor-")
		if err != nil {
			return err
		}
		o.Bare = true
		if o.Config, err = doctor.Bare(d.board, dir); err != nil {
			return errors.Join(fmt.Errorf("%w: --board: %w", errUsage, err), os.RemoveAll(dir))
		}
	default:
		if o.Config, err = config.Load(d.config); err != nil {
			return err
		}
		if d.board != "" && d.board != o.Config.Board {
			return fmt.Errorf("%w: --board %q: %s is of the board %q", errUsage, d.board, d.config, o.Config.Board)
		}
	}
	if o.Config.Board == "sim" {
		o.Line = doctor.Emulated()
	}
	return nil
}

// write writes the report's page, and says what became of it.
func (d *doctorFlags) write(s *doctor.Signed, out *told) error {
	if d.report != "" {
		html, err := s.HTML()
		if err != nil {
			return err
		}
		if err := os.WriteFile(d.report, html, 0o644); err != nil {
			return err
		}
	}
	out.report(s, d.report)
	return nil
}

// told writes what is said, for a person or as JSON.
type told struct {
	w    io.Writer
	json bool
	lang string
	mu   sync.Mutex
}

func (t *told) line(v any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := json.NewEncoder(t.w).Encode(v); err != nil {
		fmt.Fprintln(t.w, `{"error": "not told"}`) // whoever reads is gone
	}
}

func (t *told) ask(id, text string) {
	if t.json {
		t.line(map[string]any{"ask": map[string]string{"id": id, "text": text}})
		return
	}
	fmt.Fprintf(t.w, "  → %s\n", text)
}

func (t *told) result(r doctor.Result) {
	if t.json {
		t.line(map[string]any{"result": r})
		return
	}
	mark := map[doctor.Status]string{doctor.Pass: "✓", doctor.Fail: "✗", doctor.Skip: "–", doctor.Absent: "·"}[r.Status]
	fmt.Fprintf(t.w, "%s %s [%s] %s\n", mark, doctor.Title(t.lang, r.ID), doctor.Text(t.lang, "status."+string(r.Status), nil), r.Text[t.lang])
}

func (t *told) report(s *doctor.Signed, file string) {
	if t.json {
		t.line(map[string]any{
			"report": json.RawMessage(s.JSON), "signature": hex.EncodeToString(s.Signature), "stored": s.Stored, "acknowledged": s.Acknowledged,
		})
		return
	}
	fmt.Fprintf(t.w, "%s\n", doctor.Text(t.lang, "verdict."+string(s.Verdict), nil))
	if file != "" {
		fmt.Fprintln(t.w, doctor.Text(t.lang, "report.written", map[string]string{"file": file}))
	}
	switch {
	case s.Acknowledged:
		fmt.Fprintln(t.w, doctor.Text(t.lang, "report.acknowledged", nil))
	case s.Stored:
		fmt.Fprintln(t.w, doctor.Text(t.lang, "report.stored", nil))
	}
}

// typed reports whether somebody types.
func typed(in io.Reader) bool {
	f, ok := in.(*os.File)
	if !ok {
		return false
	}
	st, err := f.Stat()
	return err == nil && st.Mode()&os.ModeCharDevice != 0
}

// listen turns lines into answers, until stop is called or the input ends. A
// Read in progress ends with the process: a terminal cannot be told to.
func listen(in io.Reader) (_ <-chan doctor.Answer, stop func()) {
	answers, over := make(chan doctor.Answer), make(chan struct{})
	go func() {
		defer close(answers)
		for lines := bufio.NewScanner(in); lines.Scan(); {
			a := doctor.Later
			switch strings.ToLower(strings.TrimSpace(lines.Text())) {
			case "y", "yes", "", "是":
				a = doctor.Yes
			case "n", "no", "否":
				a = doctor.No
			}
			select {
			case answers <- a:
			case <-over:
				return
			}
		}
	}()
	return answers, sync.OnceFunc(func() { close(over) })
}

// verifyReport checks a report's page.
func verifyReport(args []string, std streams) error {
	var hexKey, lang string
	f := flag.NewFlagSet("fengsui", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.StringVar(&hexKey, "key", "", "")
	f.StringVar(&lang, "lang", doctor.Langs()[0], "")
	var path string
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") { // the flags may come after the file
		path, args = args[0], args[1:]
	}
	if err := f.Parse(args); err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	rest := f.Args()
	if path == "" && len(rest) > 0 {
		path, rest = rest[0], rest[1:]
	}
	if err := none(rest); err != nil {
		return err
	}
	key, err := hex.DecodeString(hexKey)
	if path == "" || err != nil || len(key) != ed25519.PublicKeySize || !slices.Contains(doctor.Langs(), lang) {
		return fmt.Errorf("%w: want doctor verify REPORT --key HEX, the device's public key of 64 digits", errUsage)
	}
	html, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	r, err := doctor.Verify(html, key)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	fmt.Fprintln(std.out, doctor.Text(lang, "report.good", map[string]string{
		"file": filepath.Base(path), "device": r.Device, "time": r.Ended.Time, "verdict": doctor.Text(lang, "verdict."+string(r.Verdict), nil),
	}))
	return nil
}
