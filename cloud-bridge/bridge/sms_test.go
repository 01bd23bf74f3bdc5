package bridge_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fengsui/fengsui/cloud-bridge/bridge"
)

// What is wrong with a flag of the second path is said before anything starts.
func TestSMSFlags(t *testing.T) {
	dir := t.TempDir()
	open, short := filepath.Join(dir, "open"), filepath.Join(dir, "short")
	for name, mode := range map[string]os.FileMode{open: 0o644, short: 0o600} {
		if err := os.WriteFile(name, []byte("secret"), mode); err != nil {
			t.Fatal(err)
		}
	}
	for want, args := range map[string][]string{
		`--sms-baud "9": want 1200 to 921600`:                  {"--sms-modem", "p", "--sms-baud", "9"},
		`--sms-pin "****": want --sms-modem beside it`:         {"--sms-pin", "1234"},
		`--sms-pin "***": want 4 to 8 digits`:                  {"--sms-modem", "p", "--sms-pin", "12x"},
		`--sms-gateway "http://g": want --sms-secret beside`:   {"--sms-gateway", "http://g"},
		`--sms-gateway "ftp://g": want an http or https addr`:  {"--sms-secret", short, "--sms-gateway", "ftp://g"},
		`SMS secret ` + open + `: mode 0644: want 0600`:        {"--sms-secret", open},
		`SMS secret ` + short + `: 6 bytes: want 16 or more`:   {"--sms-secret", short},
		`SMS secret: stat ` + filepath.Join(dir, "none") + `:`: {"--sms-secret", filepath.Join(dir, "none")},
	} {
		var out, errs bytes.Buffer
		code := bridge.Run(t.Context(), "test", append([]string{"serve", "--data", t.TempDir(), "--http-addr", "127.0.0.1:0", "--mqtt-addr", "127.0.0.1:0"}, args...), strings.NewReader(""), &out, &errs)
		if code == 0 || !strings.Contains(errs.String(), want) {
			t.Errorf("%q: exit %d, %s: want %q", args, code, &errs, want)
		}
	}
}
