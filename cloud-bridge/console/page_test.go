package console_test

import (
	"compress/gzip"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/fengsui/fengsui/cloud-bridge/console"
)

func TestLanguage(t *testing.T) {
	w := newWorld(t, nil)
	for _, c := range []struct{ query, cookie, accept, want string }{
		{"", "", "", "zh-CN"},
		{"", "", "en-GB,en;q=0.9", "en"},
		{"", "", "de, zh-Hant;q=0.4, en;q=0.6", "en"},
		{"", "", "de, zh;q=0.7, en;q=0.6", "zh-CN"},
		{"", "", "en;q=0, fr", "zh-CN"},
		{"", "", "en;q=x, *", "zh-CN"},
		{"", "en", "zh-CN", "en"},
		{"", "xx", "en", "en"},
		{"zh-CN", "en", "en", "zh-CN"},
		{"EN", "", "zh", "en"},
		{"fr", "", "en", "en"},
	} {
		header := []string{"Accept-Language", c.accept}
		if c.cookie != "" {
			header = append(header, "Cookie", "fengsui_lang="+c.cookie)
		}
		target := "/"
		if c.query != "" {
			target += "?lang=" + c.query
		}
		answer, body := w.do("GET", target, "", header...)
		if got := answer.Header.Get("Content-Language"); got != c.want || !strings.Contains(string(body), `<html lang="`+c.want+`"`) {
			t.Errorf("%+v: %s", c, got)
		}
		if set := answer.Header.Get("Set-Cookie"); (set != "") != (c.query == "zh-CN" || c.query == "EN") {
			t.Errorf("%+v: cookie %q", c, set)
		}
	}
}

// The page has no script or style but in files of ours, and every text is there.
func TestPageIsClean(t *testing.T) {
	w := newWorld(t, nil)
	for _, lang := range []string{"en", "zh-CN"} {
		answer, raw := w.do("GET", "/?lang="+lang, "")
		page := string(raw)
		if answer.StatusCode != 200 || answer.Header.Get("Content-Type") != "text/html; charset=utf-8" {
			t.Fatalf("%s %s", answer.Status, answer.Header.Get("Content-Type"))
		}
		if m := regexp.MustCompile(`(?i)<style|\sstyle=|\son[a-z]+=|javascript:|ZgotmplZ`).FindString(page); m != "" {
			t.Errorf("%s: the page has %q", lang, m)
		}
		for _, script := range regexp.MustCompile(`<script[^>]*>`).FindAllString(page, -1) {
			if !strings.Contains(script, `src="/assets/`) && !strings.Contains(script, `type="application/json"`) {
				t.Errorf("%s: %s", lang, script)
			}
		}
		if other := map[string]string{"en": `>受理<`, "zh-CN": `>Acknowledge<`}[lang]; strings.Contains(page, other) {
			t.Errorf("%s: the page has %s", lang, other)
		}
		for _, src := range regexp.MustCompile(`(?:src|href)="(/assets/[^"]+)"`).FindAllStringSubmatch(page, -1) {
			file, _ := w.do("GET", src[1], "")
			if file.StatusCode != 200 || !strings.Contains(file.Header.Get("Cache-Control"), "immutable") {
				t.Errorf("%s: %s %s", src[1], file.Status, file.Header.Get("Cache-Control"))
			}
		}
	}
}

func TestSecurityHeaders(t *testing.T) {
	w := newWorld(t, nil)
	for _, target := range []string{"/", "/api/v1/incidents", "/nothing", "/healthz"} {
		answer, _ := w.do("GET", target, "")
		policy := answer.Header.Get("Content-Security-Policy")
		if !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") || strings.Contains(policy, "blob:") {
			t.Errorf("%s: policy %q", target, policy)
		}
		if answer.Header.Get("X-Content-Type-Options") != "nosniff" || answer.Header.Get("Referrer-Policy") != "same-origin" {
			t.Errorf("%s: %v", target, answer.Header)
		}
	}
	w = newWorld(t, func(o *console.Options) { o.MapStyle = "https://maps.example:8443/style.json?key=1" })
	answer, page := w.do("GET", "/", "")
	if policy := answer.Header.Get("Content-Security-Policy"); !strings.Contains(policy, "connect-src 'self' https://maps.example:8443;") {
		t.Errorf("policy %q", policy)
	}
	if !strings.Contains(string(page), `"map_style":"https://maps.example:8443/style.json?key=1"`) {
		t.Error("the page does not know its map style")
	}
}

func TestAssetsGzip(t *testing.T) {
	w := newWorld(t, nil)
	_, page := w.do("GET", "/", "")
	script := regexp.MustCompile(`/assets/[^"]+/desk\.js`).FindString(string(page))
	plain, body := w.do("GET", script, "", "Accept-Encoding", "gzip;q=0, identity")
	packed, small := w.do("GET", script, "", "Accept-Encoding", "br, gzip")
	if plain.Header.Get("Content-Encoding") != "" || packed.Header.Get("Content-Encoding") != "gzip" || len(small) >= len(body) {
		t.Fatalf("%d bytes plain %v, %d bytes packed %v", len(body), plain.Header, len(small), packed.Header)
	}
	z, err := gzip.NewReader(strings.NewReader(string(small)))
	if err != nil {
		t.Fatal(err)
	}
	if unpacked, err := io.ReadAll(z); err != nil || string(unpacked) != string(body) {
		t.Errorf("packed and plain differ: %v", err)
	}
}

// No script parses a string as markup, so nothing that came from outside can.
func TestScriptsMakeNoMarkup(t *testing.T) {
	w := newWorld(t, nil)
	_, page := w.do("GET", "/", "")
	root := regexp.MustCompile(`/assets/[^/"]+/static/`).FindString(string(page))
	forbidden := regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|eval\(|new Function|setHTML|createContextualFragment|srcdoc`)
	for _, name := range []string{"account", "api", "desk", "detail", "devices", "dom", "duty", "filter", "gaps", "map", "model", "queue", "sound", "stats", "steps", "text"} {
		answer, body := w.do("GET", root+name+".js", "")
		if answer.StatusCode != http.StatusOK {
			t.Errorf("%s: %s", name, answer.Status)
		}
		if m := forbidden.Find(body); m != nil {
			t.Errorf("%s.js has %s", name, m)
		}
	}
}
