package console

import (
	"embed"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

//go:embed i18n/*.json
var catalogueFiles embed.FS

// languages are the desk's languages, the default first.
var languages = [...]string{"zh-CN", "en"}

// langCookie remembers a language that was chosen by ?lang=.
const langCookie = "fengsui_lang"

// catalogue is one language's messages by key. Messages hold {name} where a value goes.
type catalogue map[string]string

func loadCatalogues() (map[string]catalogue, error) {
	all := make(map[string]catalogue, len(languages))
	for _, lang := range languages {
		raw, err := catalogueFiles.ReadFile("i18n/" + lang + ".json")
		if err != nil {
			return nil, fmt.Errorf("read messages: %w", err)
		}
		var c catalogue
		if err := json.Unmarshal(raw, &c); err != nil {
			return nil, fmt.Errorf("read messages in %s: %w", lang, err)
		}
		all[lang] = c
	}
	return all, nil
}

// text is the message of key; an unknown key shows itself, so that it is noticed.
func (c catalogue) text(key string) string {
	if s, ok := c[key]; ok {
		return s
	}
	return key
}

// chooseLanguage takes ?lang=, then the cookie, then Accept-Language (RFC 9110,
// section 12.5.4), then the default. explicit says that ?lang= named it.
func chooseLanguage(r *http.Request) (lang string, explicit bool) {
	if lang := matchLanguage(r.URL.Query().Get("lang")); lang != "" {
		return lang, true
	}
	if cookie, err := r.Cookie(langCookie); err == nil {
		if lang := matchLanguage(cookie.Value); lang != "" {
			return lang, false
		}
	}
	best, bestQ := languages[0], 0.0
	for part := range strings.SplitSeq(r.Header.Get("Accept-Language"), ",") {
		tag, params, _ := strings.Cut(part, ";")
		q := 1.0
		if v, ok := strings.CutPrefix(strings.TrimSpace(params), "q="); ok {
			var err error
			if q, err = strconv.ParseFloat(v, 64); err != nil {
				continue
			}
		}
		if lang := matchLanguage(strings.TrimSpace(tag)); lang != "" && q > bestQ {
			best, bestQ = lang, q
		}
	}
	return best, false
}

// matchLanguage is the desk's language for a language tag, by its primary subtag; empty
// when there is none.
func matchLanguage(tag string) string {
	primary, _, _ := strings.Cut(strings.ToLower(tag), "-")
	for _, lang := range languages {
		if have, _, _ := strings.Cut(strings.ToLower(lang), "-"); have == primary {
			return lang
		}
	}
	return ""
}
