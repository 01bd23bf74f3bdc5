package screens_test

import (
	"bufio"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/fengsui/fengsui/sim"
)

func TestMain(m *testing.M) {
	if sim.IsChild(os.Args[1:]) {
		os.Exit(sim.Run(context.Background(), "test", os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// absent skips a test for want of a part, or fails it where all parts must be
// there.
func absent(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(what)
	}
	t.Skip(what)
}

// line waits for a line that matches and returns its groups.
func line(t *testing.T, lines <-chan string, re *regexp.Regexp) []string {
	t.Helper()
	limit := time.NewTimer(2 * time.Minute)
	defer limit.Stop()
	for {
		select {
		case l, open := <-lines:
			if m := re.FindStringSubmatch(l); m != nil {
				return m
			}
			if !open {
				t.Fatalf("the simulator ended without %v", re)
			}
		case <-limit.C:
			t.Fatalf("the simulator does not say %v", re)
		}
	}
}

func TestScreens(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		absent(t, "node is not installed: apt-get install nodejs")
	}
	browser, err := exec.LookPath("chromium")
	if err != nil {
		absent(t, "chromium is not installed: apt-get install chromium")
	}
	if _, err := os.Stat("../../cloud-bridge/console/web/node_modules/playwright-core"); err != nil {
		absent(t, "playwright-core is not installed: run npm ci in cloud-bridge/console/web")
	}
	shots, err := filepath.Abs("../../.build/screenshots")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	out, said := io.Pipe()
	ended := make(chan int, 1)
	go func() {
		ended <- sim.Run(ctx, "test", []string{"up", "--desk-addr", "127.0.0.1:0", "--sim-addr", "127.0.0.1:0"}, nil, said, said)
		_ = said.Close()
	}()
	defer func() {
		stop()
		if code := <-ended; code != 0 {
			t.Errorf("sim up ended with %d", code)
		}
	}()
	lines := make(chan string, 1000)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			select {
			case lines <- s.Text():
			default: // nobody reads the log
			}
		}
		_, _ = io.Copy(io.Discard, out)
	}()
	who := line(t, lines, regexp.MustCompile(`sign in: name=(\S+) password=(\S+)`))
	where := line(t, lines, regexp.MustCompile(`^ready desk=(\S+) sim=(\S+)`))
	run := exec.CommandContext(t.Context(), node, "screens.mjs", where[1], where[2], who[1], who[2], shots)
	run.Env = append(os.Environ(), "CHROMIUM="+browser)
	told, err := run.CombinedOutput()
	t.Logf("%s", told)
	if err != nil {
		t.Errorf("the browser's run: %v", err)
	}
}
