package agent_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fengsui/fengsui/firmware/agent"
)

func TestKeyIsMadeOnceAndKeptPrivate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	first, err := agent.LoadOrCreateKey(dir)
	if err != nil {
		t.Fatal(err)
	}
	again, err := agent.LoadOrCreateKey(dir)
	if err != nil || !again.Equal(first) {
		t.Fatalf("second start: %v, want the same key", err)
	}
	st, err := os.Stat(filepath.Join(dir, "device.key"))
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v: want 0600", st.Mode(), err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".new-*")); left != nil {
		t.Errorf("left behind: %v", left)
	}
}

func TestKeyIsNeverReplaced(t *testing.T) {
	for name, c := range map[string]struct {
		content string
		mode    os.FileMode
		want    string
	}{
		"readable by others": {"x", 0o644, "mode 0644"},
		"empty":              {"", 0o600, "0 bytes without a PEM block"},
		"not PKCS 8":         {"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", 0o600, "device.key"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "device.key")
			if err := os.WriteFile(path, []byte(c.content), c.mode); err != nil {
				t.Fatal(err)
			}
			if _, err := agent.LoadOrCreateKey(filepath.Dir(path)); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
			if b, _ := os.ReadFile(path); string(b) != c.content {
				t.Errorf("file now %q, want it untouched", b)
			}
		})
	}
}
