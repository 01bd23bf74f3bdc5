package doctor

import (
	"embed"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
)

//go:embed i18n/*.json
var i18n embed.FS

// Langs returns the languages, the default first.
func Langs() []string { return []string{"zh-CN", "en"} }

var words = sync.OnceValue(func() map[string]map[string]string {
	all := make(map[string]map[string]string)
	for _, lang := range Langs() {
		b, err := i18n.ReadFile("i18n/" + lang + ".json")
		m := make(map[string]string)
		if err == nil {
			err = json.Unmarshal(b, &m)
		}
		if err != nil {
			panic(fmt.Sprintf("doctor: %s: %v", lang, err)) // a test reads the same bytes
		}
		all[lang] = m
	}
	return all
})

// text returns a message with its values; a key without one is shown as it is.
func text(lang, key string, values map[string]string) string {
	s, ok := words()[lang][key]
	if !ok {
		return key
	}
	for k, v := range values {
		s = strings.ReplaceAll(s, "{"+k+"}", v)
	}
	return s
}

// Text returns a message of the program's own, by its key.
func Text(lang, key string, values map[string]string) string { return text(lang, key, values) }

// title names what a result is about: "button:panic" is a button called panic.
func title(lang, id string) string {
	kind, name, _ := strings.Cut(id, ":")
	s := text(lang, "title."+kind, nil)
	if name == "" {
		return s
	}
	if kind == "lamp" || kind == "input" {
		name = text(lang, kind+"."+name, nil)
	}
	return s + " " + name
}

// Title names what a result is about.
func Title(lang, id string) string { return title(lang, id) }
