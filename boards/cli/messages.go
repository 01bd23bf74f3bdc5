package cli

import (
	_ "embed"
	"fmt"
	"slices"
	"strings"

	"github.com/fengsui/fengsui/boards"
	"github.com/fengsui/fengsui/boards/strictyaml"
	"github.com/fengsui/fengsui/boards/wiring"
)

//go:embed messages.yaml
var messagesYAML []byte

// messages are the sentences of one language, by key.
type messages map[string]string

// load returns the messages of a language; the error wraps
// [wiring.ErrLanguage].
func load(lang string) (messages, error) {
	if !slices.Contains(wiring.Languages(), lang) {
		return nil, fmt.Errorf("%w %q: want one of %s", wiring.ErrLanguage, lang, strings.Join(wiring.Languages(), ", "))
	}
	var all map[string]boards.Text
	if err := strictyaml.Decode("messages.yaml", messagesYAML, &all); err != nil {
		return nil, err
	}
	m := make(messages)
	for key, t := range all {
		m[key] = t.EN
		if lang == "zh-CN" {
			m[key] = t.ZH
		}
	}
	return m, nil
}

// text fills a message in. That each key is there, a test checks.
func (m messages) text(key string, values ...any) string {
	t, ok := m[key]
	if !ok {
		panic("board: no message " + key)
	}
	return fmt.Sprintf(t, values...)
}
