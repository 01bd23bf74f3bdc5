package panel_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A tab is a page in a headless Chromium, driven by the DevTools protocol over
// a pipe (--remote-debugging-pipe: JSON messages that end in NUL).
type tab struct {
	t       *testing.T
	in      *os.File
	out     *bufio.Reader
	session string
	id      int
	errors  []string // what the page threw or logged as an error
}

type message struct {
	ID        int             `json:"id,omitempty"`
	Session   string          `json:"sessionId,omitempty"`
	Method    string          `json:"method,omitempty"`
	Params    json.RawMessage `json:"params,omitempty"`
	Result    json.RawMessage `json:"result,omitempty"`
	Exception json.RawMessage `json:"error,omitempty"`
}

func open(t *testing.T, url string) *tab {
	t.Helper()
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("chromium is not installed: apt-get install chromium")
		}
		t.Skip("chromium is not installed: apt-get install chromium")
	}
	theirIn, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	out, theirOut, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
		"--user-data-dir="+t.TempDir(), "--window-size=1400,1000", "--remote-debugging-pipe", "about:blank")
	cmd.ExtraFiles = []*os.File{theirIn, theirOut}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_, _ = theirIn.Close(), theirOut.Close()
	b := &tab{t: t, in: in, out: bufio.NewReader(out)}
	t.Cleanup(func() {
		b.session = ""
		b.call("Browser.close", nil, nil)
		_, _ = in.Close(), out.Close()
		_ = cmd.Wait() // it was asked to end
	})
	var target struct{ TargetID string }
	b.call("Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	var attached struct{ SessionID string }
	b.call("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached)
	b.session = attached.SessionID
	b.call("Runtime.enable", nil, nil)
	b.call("Log.enable", nil, nil)
	b.call("Page.navigate", map[string]any{"url": url}, nil)
	return b
}

// call sends a command and waits for its answer; what comes between is noted.
func (b *tab) call(method string, params, result any) {
	b.t.Helper()
	b.id++
	raw, err := json.Marshal(params)
	if err != nil {
		b.t.Fatal(err)
	}
	if params == nil {
		raw = []byte("{}")
	}
	msg, err := json.Marshal(message{ID: b.id, Session: b.session, Method: method, Params: raw})
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.in.Write(append(msg, 0)); err != nil {
		b.t.Fatal(err)
	}
	for {
		text, err := b.out.ReadBytes(0)
		if err != nil {
			if method == "Browser.close" {
				return
			}
			b.t.Fatalf("chromium: %s: %v", method, err)
		}
		var m message
		if err := json.Unmarshal(text[:len(text)-1], &m); err != nil {
			b.t.Fatal(err)
		}
		switch {
		case m.Method == "Runtime.exceptionThrown",
			m.Method == "Log.entryAdded" && strings.Contains(string(m.Params), `"level":"error"`):
			b.errors = append(b.errors, string(m.Params))
		case m.ID == b.id && m.Exception != nil:
			b.t.Fatalf("chromium: %s: %s", method, m.Exception)
		case m.ID == b.id:
			if result != nil {
				if err := json.Unmarshal(m.Result, result); err != nil {
					b.t.Fatal(err)
				}
			}
			return
		}
	}
}

// eval returns what an expression is in the page, as text.
func (b *tab) eval(expression string) string {
	b.t.Helper()
	var r struct {
		Result struct{ Value any }
	}
	b.call("Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true}, &r)
	return fmt.Sprint(r.Result.Value)
}

// until waits until an expression is true in the page.
func (b *tab) until(expression string) {
	b.t.Helper()
	for deadline := time.Now().Add(15 * time.Second); b.eval(expression) != "true"; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			b.t.Fatalf("not within 15 s: %s; the page says: %s", expression, b.eval("document.body?.innerText"))
		}
	}
}

// shoot keeps a picture of the page in .build/screenshots at the top of the
// repository.
func (b *tab) shoot(name string) {
	b.t.Helper()
	var shot struct{ Data []byte }
	b.call("Page.captureScreenshot", map[string]any{"format": "png"}, &shot)
	dir := filepath.Join("..", "..", ".build", "screenshots")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name), shot.Data, 0o644); err != nil {
		b.t.Fatal(err)
	}
}

// A person in a real browser, in both languages: every device has its card, a
// press lights the lamp, a switch cuts the power, a finger signs on.
func TestBrowser(t *testing.T) {
	for lang, words := range map[string][]string{
		"zh-CN": {"紧急求助", "静默", "陌生手指", "与中心连通", "无警情", "停放", "打开接警调度台"},
		"en":    {"Panic", "silent", "Unknown finger", "In touch with the desk", "No alarm", "parked", "Open the dispatch desk"},
	} {
		t.Run(lang, func(t *testing.T) {
			b := open(t, serve(t)+"/?lang="+lang)
			b.until(`document.querySelectorAll(".card").length === 2 && document.getElementById("live").dataset.state === "live"`)
			const box, car = `document.getElementById("card-box-1")`, `document.getElementById("card-car-1")`
			b.until(box + `.querySelector(".touch").dataset.on === "true" && ` + car + `.querySelector(".facts").innerText.includes("30.0")`)
			page := b.eval("document.body.innerText")
			for _, w := range append(words, `<b>"村口"</b>`) {
				if !strings.Contains(page, w) {
					t.Errorf("the page lacks %q:\n%s", w, page)
				}
			}
			if got := b.eval("document.documentElement.lang + document.documentElement.scrollWidth"); got != lang+"1400" {
				t.Errorf("language and width are %s, want %s1400: nothing sticks out", got, lang)
			}
			b.eval(box + `.querySelector("[data-kind=panic][data-silent=false] .push-button").click()`)
			b.until(box + `.querySelector(".lamp.red").dataset.lit === "true" && ` + box + `.querySelector(".siren").dataset.on === "true"`)
			b.shoot("panel-" + lang + ".png")
			b.eval(car + `.querySelector(".finger").click()`)
			b.until(car + `.querySelector(".facts").innerText.includes("P-1")`)
			b.eval(box + `.querySelectorAll(".switch")[0].click()`)
			b.until(box + `.dataset.power === "off" && ` + box + `.querySelector(".lamp.red").dataset.lit === "false"`)
			b.eval(box + `.querySelectorAll(".switch")[0].click()`)
			b.until(box + `.querySelector(".touch").dataset.on === "true"`)
			if len(b.errors) > 0 {
				t.Errorf("the page complains: %s", b.errors)
			}
		})
	}
}
