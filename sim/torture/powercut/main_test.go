//go:build linux

package powercut_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"

	"github.com/fengsui/fengsui/firmware/spool"
)

// The test binary is also what the rigs cut off. The rigs run in a mount
// namespace of their own, so that nothing stays mounted when they are killed.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case subjectArg:
			os.Exit(subject(os.Args[2:], os.Stdin, os.Stdout, os.Stderr))
		case checkArg:
			os.Exit(spool.CheckMain(os.Args[2], os.Stderr))
		}
	}
	const inside = "FENGSUI_POWERCUT_INSIDE"
	if os.Geteuid() != 0 || os.Getenv(inside) != "" {
		os.Exit(m.Run())
	}
	runtime.LockOSThread() // the child dies with the thread that starts it
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	err := cmd.Start()
	if errors.Is(err, syscall.EPERM) { // in a container: each rig will say what it lacks
		os.Exit(m.Run())
	}
	if err == nil {
		err = cmd.Wait()
	}
	var exit *exec.ExitError
	switch {
	case err == nil:
	case errors.As(err, &exit) && exit.Exited():
		os.Exit(exit.ExitCode())
	default:
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
}
