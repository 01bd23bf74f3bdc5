package sim_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/fengsui/fengsui/firmware/cli"
	"github.com/fengsui/fengsui/sim"
)

// A handed writer takes what the command asks for, and lays fingers.
type handed struct {
	mu   sync.Mutex
	said []string
	do   func(line string)
}

func (h *handed) Write(b []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for line := range strings.Lines(string(b)) {
		h.said = append(h.said, strings.TrimSpace(line))
		h.do(line)
	}
	return len(b), nil
}

// The command on the device enrols the first technician at a sensor behind a
// real terminal, and everything after it.
func TestFingerCommand(t *testing.T) {
	hand, word := io.Pipe()
	out, path := io.Pipe()
	ended := make(chan int, 1)
	go func() {
		ended <- sim.Run(t.Context(), "test", []string{"reader", "--slots", "150"}, hand, path, io.Discard)
		path.Close()
	}()
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		t.Fatal("no path")
	}
	dir := t.TempDir()
	data, config := filepath.Join(dir, "data"), filepath.Join(dir, "box.yaml")
	if err := os.WriteFile(config, []byte(fmt.Sprintf(`device: car-01
profile: patrol-car
data: %s
centre: {servers: [mqtt://127.0.0.1], key: 8139770ea87d175f56a35466c34c7ecccb8d8a91b4ee37a25df60f5b8fc9b394}
gps: {port: none}
fingerprint: {port: %s}
`, data, lines.Text())), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(finger int, args ...string) (code int, stdout string, said []string) {
		h := &handed{do: func(line string) {
			switch {
			case strings.Contains(line, "Lift") || strings.Contains(line, "抬起"):
				fmt.Fprintln(word, "lift")
			case strings.Contains(line, "Lay") || strings.Contains(line, "按"):
				fmt.Fprintln(word, "lay", finger)
			}
		}}
		var b bytes.Buffer
		args = append([]string{"finger", args[0], "--config", config}, args[1:]...)
		code = cli.Run(t.Context(), "test", args, strings.NewReader(""), &b, h)
		fmt.Fprintln(word, "lift")
		return code, b.String(), h.said
	}
	want := func(code int, stdout string, said []string, wantCode int, wantOut, wantSaid string) {
		t.Helper()
		if code != wantCode || stdout != wantOut || !regexp.MustCompile(wantSaid).MatchString(strings.Join(said, " ")) {
			t.Errorf("status %d, %q, %q; want %d, %q, %s", code, stdout, said, wantCode, wantOut, wantSaid)
		}
	}
	code, stdout, said := run(40, "enrol", "--officer", "P-0007", "--role", "technician", "--lang", "en")
	want(code, stdout, said, 0, "1\n", `^Lay the finger.*Lift.*same finger.*Enrolled\.$`)
	code, stdout, said = run(41, "enrol", "--officer", "P-1001", "--slot", "12", "--duress", "--lang", "zh-CN")
	want(code, stdout, said, 0, "12\n", `^请按下.*抬起.*登记完成。$`)
	code, stdout, said = run(40, "enrol", "--officer", "P-1002", "--lang", "en")
	want(code, stdout, said, 1, "", `enrolled already .*, in slot 1$`)
	code, stdout, said = run(0, "list")
	want(code, stdout, said, 0, "1 P-0007 technician by local\n12 P-1001 officer by local duress\n150 - nobody's: a match is refused; delete it\n", `^$`)
	for _, slot := range []string{"150", "12"} {
		code, stdout, said = run(0, "delete", "--slot", slot)
		want(code, stdout, said, 0, "", `^$`)
	}
	code, stdout, said = run(0, "delete", "--slot", "99")
	want(code, stdout, said, 1, "", `slot 99: nobody is enrolled`)
	code, stdout, said = run(0, "enrol", "--officer", "P-1", "--role", "chief")
	want(code, stdout, said, 2, "", `--role "chief": want officer, supervisor or technician`)
	if code, stdout, _ = run(0, "password"); code != 0 || !regexp.MustCompile(`^[1-9][0-9]*\n$`).MatchString(stdout) {
		t.Errorf("password: status %d, %q", code, stdout)
	}
	code, stdout, said = run(0, "list")
	want(code, stdout, said, 0, "1 P-0007 technician by local\n", `^$`)
	fmt.Fprintln(word, "log")
	for lines.Scan() && lines.Text() != "." {
		if op := lines.Text(); regexp.MustCompile(`^0x0[789AB]`).MatchString(op) {
			t.Errorf("%s was sent", op)
		}
	}
	word.Close()
	if code := <-ended; code != 0 {
		t.Errorf("the reader ended with status %d", code)
	}
}
