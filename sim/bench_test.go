package sim_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"

	"github.com/fengsui/fengsui/firmware/gps/gpstest"
	"github.com/fengsui/fengsui/sim"
	"github.com/fengsui/fengsui/sim/play"
)

// BenchmarkPressToDesk presses 120 times on six idle boxes of a district, while
// three cars send their tracks, and tells what a person outside would measure.
// The button's debouncing is within: 20 ms of confirmed contact.
func BenchmarkPressToDesk(b *testing.B) {
	const boxes, rounds = 6, 20
	var s strings.Builder
	s.WriteString("name: presses\ndevices:\n")
	for i := range boxes {
		fmt.Fprintf(&s, "  box-%d: {kind: alarm-box, name: b, at: {lat: 30, lon: 103}, buttons: {panic: {kind: panic}}}\n", i)
	}
	for i := range 3 {
		fmt.Fprintf(&s, "  car-%d: {kind: patrol-car, name: c, at: {lat: 30, lon: 103}, drive: {route: [{lat: 30, lon: 103}, {lat: 30.02, lon: 103.01}], speed: 12}}\n", i)
	}
	s.WriteString("timeline:\n")
	for r := range rounds {
		for i := range boxes {
			at := time.Duration(r*boxes+i)*150*time.Millisecond + time.Second
			fmt.Fprintf(&s, "  - {at: %v, do: press, device: box-%d, button: panic}\n", at, i)
			fmt.Fprintf(&s, "  - {at: %v, do: acknowledge, device: box-%d, by: bench}\n", at+350*time.Millisecond, i)
			fmt.Fprintf(&s, "  - {at: %v, do: close, device: box-%d, by: bench, code: test}\n", at+600*time.Millisecond, i)
		}
	}
	dir := b.TempDir()
	file, out := filepath.Join(dir, "s.yaml"), filepath.Join(dir, "out.json")
	if err := os.WriteFile(file, []byte(sorted(s.String())), 0o600); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		var stdout, stderr bytes.Buffer
		if code := sim.Run(b.Context(), "bench", []string{"run", file, "--report", out}, strings.NewReader(""), &stdout, &stderr); code != 0 {
			b.Fatalf("status %d\n%s%s", code, stderr.String(), stdout.String())
		}
	}
	raw, err := os.ReadFile(out)
	if err != nil {
		b.Fatal(err)
	}
	var r play.Report
	if err := json.Unmarshal(raw, &r); err != nil {
		b.Fatal(err)
	}
	for name, l := range map[string]play.Latency{"durable": r.Latency.PressToDurable, "desk": r.Latency.PressToDesk, "lamp": r.Latency.AcknowledgeToLamp} {
		b.ReportMetric(l.P50MS, name+"-p50-ms")
		b.ReportMetric(l.P99MS, name+"-p99-ms")
	}
	b.ReportMetric(float64(r.Lost+r.Duplicated), "lost+dup")
}

// sorted puts the timeline's steps into the order of their times, which a
// scenario must have.
func sorted(s string) string {
	head, steps, _ := strings.Cut(s, "timeline:\n")
	lines := strings.Split(strings.TrimSuffix(steps, "\n"), "\n")
	at := func(l string) time.Duration {
		d, err := time.ParseDuration(strings.TrimPrefix(strings.Split(l, ",")[0], "  - {at: "))
		if err != nil {
			panic(err)
		}
		return d
	}
	for i := range lines { // few, and nearly in order
		for j := i; j > 0 && at(lines[j]) < at(lines[j-1]); j-- {
			lines[j], lines[j-1] = lines[j-1], lines[j]
		}
	}
	return head + "timeline:\n" + strings.Join(lines, "\n") + "\n"
}

// BenchmarkAgentMemory tells the resident memory of the fengsui program, as it
// ships, in a car that drives without a link, and as a ratio to a Go program
// that does nothing.
func BenchmarkAgentMemory(b *testing.B) {
	dir := b.TempDir()
	idle := filepath.Join(dir, "idle.go")
	if err := os.WriteFile(idle, []byte("package main\n\nimport \"time\"\n\nfunc main() { time.Sleep(time.Hour) }\n"), 0o600); err != nil {
		b.Fatal(err)
	}
	build := func(out, what string) string {
		cmd := exec.CommandContext(b.Context(), "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", filepath.Join(dir, out), what)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if msg, err := cmd.CombinedOutput(); err != nil {
			b.Fatalf("%v\n%s", err, msg)
		}
		return filepath.Join(dir, out)
	}
	fengsui, nothing := build("fengsui", "../firmware/cmd/fengsui"), build("idle", idle)
	far, near, err := pty.Open()
	if err != nil {
		b.Fatal(err)
	}
	defer far.Close()
	defer near.Close()
	cfg := filepath.Join(dir, "car.yaml")
	text := fmt.Sprintf("device: car-1\nprofile: patrol-car\ndata: %s\ngps: {port: %s}\ncentre: {servers: [mqtt://127.0.0.1:1], key: %s}\n",
		filepath.Join(dir, "data"), near.Name(), strings.Repeat("ab", 32))
	if err := os.WriteFile(cfg, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(b.Context())
	defer stop()
	route := gpstest.Route{Points: []gpstest.Point{{Lat: 30, Lon: 103}, {Lat: 30.01, Lon: 103}}, Speed: 10}
	go func() { _ = route.Drive(ctx, far, nil) }()
	resident := func(name string, args ...string) float64 {
		cmd := exec.CommandContext(ctx, name, args...)
		if err := cmd.Start(); err != nil {
			b.Fatal(err)
		}
		defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
		time.Sleep(15 * time.Second) // a benchmark may wait: what is measured is memory
		f, err := os.ReadFile("/proc/" + strconv.Itoa(cmd.Process.Pid) + "/statm")
		if err != nil {
			b.Fatal(err)
		}
		pages, err := strconv.Atoi(strings.Fields(string(f))[1])
		if err != nil {
			b.Fatal(err)
		}
		return float64(pages*os.Getpagesize()) / (1 << 20)
	}
	var ours, floor float64
	for b.Loop() {
		ours, floor = resident(fengsui, "run", "--config", cfg), resident(nothing)
	}
	b.ReportMetric(ours, "resident-MiB")
	b.ReportMetric(floor, "floor-MiB")
	b.ReportMetric(ours/floor, "x-floor")
}
