package terminal

import (
	"embed"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/fengsui/fengsui/firmware/fingerprint"
	"github.com/fengsui/fengsui/firmware/fingers"
)

//go:embed i18n/*.json
var wordFiles embed.FS

// Languages are those of the page, the first by default.
func Languages() []string { return []string{"zh-CN", "en"} }

func loadWords() (map[string]map[string]string, error) {
	all := make(map[string]map[string]string)
	for _, lang := range Languages() {
		b, err := wordFiles.ReadFile("i18n/" + lang + ".json")
		if err != nil {
			return nil, err
		}
		words := make(map[string]string)
		if err := json.Unmarshal(b, &words); err != nil {
			return nil, fmt.Errorf("i18n/%s.json: %w", lang, err)
		}
		for step := fingerprint.StepAuthorise; step <= fingerprint.StepStored; step++ {
			words["step."+step.String()] = fingers.Words(step, lang)
		}
		all[lang] = words
	}
	return all, nil
}

const langCookie = "fengsui_lang"

// language is what the reader asked for now, has asked for before, or what the
// browser prefers.
func (t *Terminal) language(w http.ResponseWriter, r *http.Request) string {
	if lang := r.URL.Query().Get("lang"); t.words[lang] != nil {
		http.SetCookie(w, &http.Cookie{Name: langCookie, Value: lang, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode, MaxAge: 365 * 24 * 3600})
		return lang
	}
	if c, err := r.Cookie(langCookie); err == nil && t.words[c.Value] != nil {
		return c.Value
	}
	for part := range strings.SplitSeq(r.Header.Get("Accept-Language"), ",") {
		tag, _, _ := strings.Cut(strings.TrimSpace(part), ";")
		switch {
		case strings.HasPrefix(tag, "zh"):
			return "zh-CN"
		case strings.HasPrefix(tag, "en"):
			return "en"
		}
	}
	return Languages()[0]
}
