package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fengsui/fengsui/firmware/cli"
)

// A target is a program of make build, and the processor that QEMU lends it.
type target struct{ name, arch, arm, emulator, cpu string }

var targets = []target{
	{"armv6", "arm", "6", "qemu-arm-static", "arm1176"},         // Raspberry Pi Zero W
	{"armv7", "arm", "7", "qemu-arm-static", "cortex-a8"},       // BeagleBone Black
	{"arm64", "arm64", "", "qemu-aarch64-static", "cortex-a53"}, // Raspberry Pi Zero 2 W, 3
}

// commands are run by each program.
var commands = []struct {
	differs bool // from run to run, so that only the exit status is compared, which is 0
	args    []string
}{
	{args: []string{"version"}},
	{args: []string{"check", "--config", "../../config/example.yaml"}},
	{args: []string{"gps", "decode", "../../gps/testdata/gpsd/gga-zda.log"}},
	{args: []string{"gps", "decode", "../../gps/testdata/gpsd/casic-order-beidou.log"}},
	{differs: true, args: []string{"doctor", "--self-test", "--board", "sim"}},
	{args: []string{"check", "--config", "main.go"}}, // no configuration: an error, in the same words
}

// The programs for real boards start, under an emulation of their processors,
// and say what the one says that runs here.
func TestTheProgramsOfRealBoards(t *testing.T) {
	for _, at := range targets {
		t.Run(at.name, func(t *testing.T) {
			emulator, err := exec.LookPath(at.emulator)
			if err != nil {
				if os.Getenv("CI") == "true" {
					t.Fatalf("%s is missing (Debian: qemu-user-static)", at.emulator)
				}
				t.Skipf("not run: %s is missing (Debian: qemu-user-static)", at.emulator)
			}
			program := filepath.Join(t.TempDir(), "fengsui")
			build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w -buildid= -X main.version=test", "-o", program, ".")
			build.Env = append(os.Environ(), "GOOS=linux", "GOARCH="+at.arch, "GOARM="+at.arm, "CGO_ENABLED=0")
			if out, err := build.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			for _, c := range commands {
				args := c.args
				var out, said, wantOut, wantSaid bytes.Buffer
				cmd := exec.CommandContext(t.Context(), emulator, append([]string{"-cpu", at.cpu, program}, args...)...)
				cmd.Stdout, cmd.Stderr = &out, &said
				err := cmd.Run()
				var exit *exec.ExitError
				if err != nil && !errors.As(err, &exit) {
					t.Fatal(err)
				}
				if c.differs {
					if err != nil || out.Len() == 0 {
						t.Errorf("%s: %v\n%.4000s%.2000s", strings.Join(args, " "), err, &out, &said)
					}
					continue
				}
				want := cli.Run(t.Context(), "test", args, strings.NewReader(""), &wantOut, &wantSaid)
				if got := cmd.ProcessState.ExitCode(); got != want || !bytes.Equal(out.Bytes(), wantOut.Bytes()) || !bytes.Equal(said.Bytes(), wantSaid.Bytes()) {
					t.Errorf("%s: exit %d, want %d\n%.2000s%.2000s\nwant\n%.2000s%.2000s", strings.Join(args, " "), got, want, &out, &said, &wantOut, &wantSaid)
				}
				if wantOut.Len()+wantSaid.Len() == 0 {
					t.Errorf("%s says nothing", strings.Join(args, " "))
				}
			}
		})
	}
}
