package panel

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"strings"
)

//go:embed page.html words.json static
var files embed.FS

// policy lets the page run its own script and style and nothing else.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// page registers the page and its parts.
func (p *Panel) page(route func(method, pattern string, h http.HandlerFunc)) error {
	var texts map[string]map[string]string // language → key → text
	b, err := files.ReadFile("words.json")
	if err == nil {
		err = json.Unmarshal(b, &texts)
	}
	if err != nil {
		return fmt.Errorf("panel: words: %w", err)
	}
	src, err := files.ReadFile("page.html")
	if err != nil {
		return fmt.Errorf("panel: %w", err)
	}
	rendered := make(map[string][]byte)
	for lang, words := range texts {
		t, err := template.New("page").Funcs(template.FuncMap{"t": func(key string) (string, error) {
			if s, ok := words[key]; ok {
				return s, nil
			}
			return "", fmt.Errorf("no text %q in %s", key, lang)
		}}).Parse(string(src))
		if err != nil {
			return fmt.Errorf("panel: %w", err)
		}
		var out bytes.Buffer
		if err := t.Execute(&out, struct {
			Lang  string
			Words map[string]string
		}{lang, words}); err != nil {
			return fmt.Errorf("panel: %w", err)
		}
		rendered[lang] = out.Bytes()
	}
	static, err := fs.Sub(files, "static")
	if err != nil {
		return fmt.Errorf("panel: %w", err)
	}
	route(http.MethodGet, "/{$}", func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Type", "text/html; charset=utf-8")
		h.Set("Content-Security-Policy", policy)
		h.Set("Cache-Control", "no-store")
		h.Set("Vary", "Accept-Language")
		_, _ = w.Write(rendered[language(r)]) // the reader may have gone
	})
	serve := http.StripPrefix("/static/", http.FileServerFS(static))
	route(http.MethodGet, "/static/", func(w http.ResponseWriter, r *http.Request) {
		if _, err := fs.Stat(static, strings.TrimPrefix(r.URL.Path, "/static/")); err != nil || strings.HasSuffix(r.URL.Path, "/") {
			writeProblem(w, bad(http.StatusNotFound, "path", r.URL.Path, "a part of the page"))
			return
		}
		w.Header().Set("Cache-Control", "no-cache")
		serve.ServeHTTP(w, r)
	})
	return nil
}

// language returns the page's language: ?lang=, else the first that the
// browser names, else English.
func language(r *http.Request) string {
	for _, tag := range append([]string{r.URL.Query().Get("lang")}, strings.Split(r.Header.Get("Accept-Language"), ",")...) {
		tag, _, _ = strings.Cut(strings.ToLower(strings.TrimSpace(tag)), ";")
		switch base, _, _ := strings.Cut(tag, "-"); base {
		case "zh":
			return "zh-CN"
		case "en":
			return "en"
		}
	}
	return "en"
}
