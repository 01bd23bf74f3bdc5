package district

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"syscall"
)

// A Starter makes the command of a child process: this binary again, with a
// first argument that says what it is to be.
type Starter func(what string, args ...string) *exec.Cmd

// Self returns a Starter of the running binary.
func Self() (Starter, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("district: %w", err)
	}
	return func(what string, args ...string) *exec.Cmd {
		return exec.Command(exe, append([]string{what}, args...)...)
	}, nil
}

// A spawner starts processes from one thread that lives as long as it does:
// the kernel kills a child with Pdeathsig when the thread that started it ends
// (prctl(2), PR_SET_PDEATHSIG).
type spawner struct {
	jobs chan func()
	done chan struct{}
}

func newSpawner() *spawner {
	s := &spawner{make(chan func()), make(chan struct{})}
	go func() {
		defer close(s.done)
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		for f := range s.jobs {
			f()
		}
	}()
	return s
}

func (s *spawner) close() {
	close(s.jobs)
	<-s.done
}

// A process is a child with its input and output.
type process struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stdout io.ReadCloser
	log    *os.File
	exited chan struct{} // closed once err is set
	err    error
}

// start starts a child whose standard error goes to the end of a file. read is
// run with its output, and must read to the end.
func (s *spawner) start(cmd *exec.Cmd, logPath string, read func(io.Reader)) (*process, error) {
	log, err := os.OpenFile(logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("district: %w", err)
	}
	p := &process{cmd: cmd, log: log, exited: make(chan struct{})}
	cmd.Stderr = log
	// A group of its own: Ctrl-C in a terminal is for the parent, who then asks.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	p.stdin, err = cmd.StdinPipe()
	if err == nil {
		p.stdout, err = cmd.StdoutPipe()
	}
	if err == nil {
		started := make(chan error)
		s.jobs <- func() { started <- cmd.Start() }
		err = <-started
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("district: start %s: %w", cmd.Path, err), log.Close())
	}
	go func() {
		read(p.stdout)
		err := cmd.Wait()
		p.err = errors.Join(err, log.Close())
		close(p.exited)
	}()
	return p, nil
}

// kill ends the child as a power cut does, and waits.
func (p *process) kill() {
	p.die()
	<-p.exited
}

// die sends SIGKILL to the child and to all that it started.
func (p *process) die() {
	select {
	case <-p.exited:
	default:
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) // it may have ended just now
	}
}

// ask closes the child's input, which asks it to end, and waits for give; then
// it kills.
func (p *process) ask(giveUp <-chan struct{}) {
	_ = p.stdin.Close()
	select {
	case <-p.exited:
	case <-giveUp:
		p.kill()
	}
}
