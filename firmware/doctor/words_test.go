package doctor_test

import (
	"encoding/json"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/fengsui/fengsui/firmware/config"
)

func words(t *testing.T, lang string) map[string]string {
	t.Helper()
	b, err := os.ReadFile("i18n/" + lang + ".json")
	if err != nil {
		t.Fatal(err)
	}
	m := make(map[string]string)
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(b), "\": \""); n != len(m) {
		t.Errorf("%s: %d lines for %d messages", lang, n, len(m))
	}
	return m
}

// Every message is there in both languages, with the same values in it, and
// every code that the checks give has one.
func TestWords(t *testing.T) {
	en, zh := words(t, "en"), words(t, "zh-CN")
	value := regexp.MustCompile(`\{[a-z_]+\}`)
	for key := range en {
		a, b := value.FindAllString(en[key], -1), value.FindAllString(zh[key], -1)
		slices.Sort(a)
		slices.Sort(b)
		if zh[key] == "" || !slices.Equal(a, b) {
			t.Errorf("%s: %q and %q", key, en[key], zh[key])
		}
	}
	for key := range zh {
		if en[key] == "" {
			t.Errorf("%s is not there in English", key)
		}
	}
	used := make(map[string]bool)
	for _, file := range []string{"board.go", "ports.go", "centre.go", "doctor.go", "modem.go", "wifi.go"} {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, re := range []string{
			`found\((?:Pass|Fail|Skip|Absent), "([a-z_]+)"`, `failed\("([a-z_]+)"`, `: "((?:button|cable)_[a-z]+)",`, `"((?:not_)?seen)"`,
		} {
			for _, m := range regexp.MustCompile(re).FindAllStringSubmatch(string(b), -1) {
				used["found."+strings.TrimSuffix(m[1], "_")] = true
			}
		}
	}
	for _, role := range config.InputRoles() {
		used["found.input_"+role] = true
	}
	used["found.antenna_open"], used["found.antenna_short"] = true, true
	delete(used, "found.input")
	delete(used, "found.antenna")
	for key := range used {
		if en[key] == "" {
			t.Errorf("%s is used and has no message", key)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(en)) {
		if strings.HasPrefix(key, "found.") && !used[key] {
			t.Errorf("%s is not used", key)
		}
	}
}
