// Package virtboard is a board that is not there: QEMU's virt machine, which
// boots the very image that board image virt builds. Its GPIO controller (a
// PL061, as on real boards of ARM's) is pressed and watched from outside, over
// QEMU's qtest socket; its serial ports are whatever terminal is given; its card
// forgets on a power cut what was not flushed.
//
// It does not know what the lines and ports mean, and runs without acceleration:
// everything is about ten times slower than on a Raspberry Pi.
package virtboard

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"github.com/fengsui/fengsui/boards/image"
)

// ErrNoQEMU means that the emulator is not installed.
var ErrNoQEMU = errors.New("qemu-system-aarch64 is missing (Debian: qemu-system-arm)")

// program emulates the machine.
const program = "qemu-system-aarch64"

// chip is the controller's label in Linux, and lines how many it has.
const (
	chip  = "9030000.pl061"
	lines = 8
)

// LineName returns a line's name in a configuration.
func LineName(n int) string { return fmt.Sprintf("%s:%d", chip, n) }

// LineNumber returns the number of a line of that name.
func LineNumber(name string) (int, error) {
	for n := range lines {
		if LineName(n) == name {
			return n, nil
		}
	}
	return 0, fmt.Errorf("line %q: want %s to %s", name, LineName(0), LineName(lines-1))
}

// Options say what a machine is made of.
type Options struct {
	Dir         string // for sockets and the kernel; its path is short
	Disk        *Disk
	High        []int                     // lines that are driven high from the start on
	GPS, Finger string                    // paths of terminals; "": no such port
	Console     io.Writer                 // what the machine says
	Edge        func(line int, high bool) // of a line that the machine drives; called in order
	Event       func(name string)         // of QEMU's: RESET, WATCHDOG, …; nil: not told
	Forward     map[int]int               // TCP ports of this machine's loopback address → the board's
}

// A Machine is one run of the board, from power on to power off.
type Machine struct {
	cmd    *exec.Cmd
	disk   *Disk
	export net.Listener
	qtest  *qtest
	qmp    *qmp
	gpio   string
	exited chan struct{} // closed once err is set
	err    error
}

// Available returns an error that wraps [ErrNoQEMU] where the board cannot run.
func Available() error {
	if _, err := exec.LookPath(program); err != nil {
		return ErrNoQEMU
	}
	return nil
}

// startLimit bounds how long QEMU takes to open its sockets.
const startLimit = 30 * time.Second

// Start gives the board power. The caller cuts it.
func Start(ctx context.Context, o Options) (_ *Machine, err error) {
	if err := Available(); err != nil {
		return nil, err
	}
	m := &Machine{disk: o.Disk, exited: make(chan struct{})}
	defer func() {
		if err != nil {
			m.PowerCut()
			err = fmt.Errorf("virtual board: %w", err)
		}
	}()
	at := func(name string) string { return filepath.Join(o.Dir, name) }
	for _, name := range []string{"disk", "qtest", "qmp"} { // of a machine that was killed
		if err := os.Remove(at(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	cmdline, err := kernel(o.Disk, at("kernel"))
	if err != nil {
		return nil, err
	}
	if m.export, err = net.Listen("unix", at("disk")); err != nil {
		return nil, err
	}
	go o.Disk.serve(m.export)
	m.cmd = exec.Command(program, arguments(o, at, cmdline)...)
	var said bytes.Buffer
	if o.Console == nil {
		o.Console = io.Discard
	}
	m.cmd.Stdout, m.cmd.Stderr = o.Console, &said
	if err := m.start(&said); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	if err := m.connect(ctx, o, at); err != nil {
		return nil, err
	}
	for _, n := range o.High {
		if err := m.Set(n, true); err != nil {
			return nil, err
		}
	}
	return m, m.qmp.do("cont", nil, nil)
}

// arguments returns QEMU's, for a machine that waits to be told to start.
func arguments(o Options, at func(string) string, cmdline string) []string {
	network := "user,id=net"
	for here, there := range o.Forward {
		network += fmt.Sprintf(",hostfwd=tcp:127.0.0.1:%d-:%d", here, there)
	}
	args := []string{
		"-S", "-M", "virt", "-accel", "tcg", "-cpu", "cortex-a72", "-m", "512", "-smp", "2", "-display", "none", "-nodefaults",
		"-serial", "stdio", "-kernel", at("kernel"), "-append", cmdline,
		"-drive", "file=nbd+unix:///card?socket=" + at("disk") + ",format=raw,if=virtio,cache=writeback",
		// No boot ROM of the network card: Debian has it in a package of its own.
		"-netdev", network, "-device", "virtio-net-pci,netdev=net,romfile=", "-device", "virtio-rng-pci",
		"-device", "i6300esb", "-action", "watchdog=reset",
		"-qtest", "unix:" + at("qtest") + ",server=on,wait=off", "-qtest-log", os.DevNull,
		"-qmp", "unix:" + at("qmp") + ",server=on,wait=off",
	}
	if o.GPS != "" {
		args = append(args, "-chardev", "serial,id=gps,path="+o.GPS, "-device", "pci-serial,chardev=gps")
	}
	if o.Finger != "" {
		args = append(args, "-chardev", "serial,id=finger,path="+o.Finger, "-device", "qemu-xhci",
			"-device", "usb-serial,chardev=finger,always-plugged=on")
	}
	return args
}

// kernel writes the kernel of an image to a file, and returns its command line.
func kernel(d *Disk, path string) (cmdline string, err error) {
	boot, err := image.Boot(d)
	if err != nil {
		return "", err
	}
	k, err := boot.ReadFile("vmlinuz")
	if err != nil {
		return "", err
	}
	line, err := boot.ReadFile("cmdline.txt")
	if err != nil {
		return "", err
	}
	return string(bytes.TrimSpace(line)), os.WriteFile(path, k, 0o600)
}

// start starts the process, which dies with this one: the kernel kills it when
// the thread that started it ends (prctl(2), PR_SET_PDEATHSIG), so that thread
// waits for it.
func (m *Machine) start(said *bytes.Buffer) error {
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := m.cmd.Start()
		started <- err
		if err != nil {
			close(m.exited)
			return
		}
		m.err = m.cmd.Wait()
		if b := bytes.TrimSpace(said.Bytes()); len(b) > 0 {
			m.err = errors.Join(m.err, errors.New(string(b)))
		}
		close(m.exited)
	}()
	return <-started
}

// connect takes hold of the machine's controls.
func (m *Machine) connect(ctx context.Context, o Options, at func(string) string) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-m.exited:
			cancel(fmt.Errorf("%s: %w", program, m.err))
		case <-ctx.Done():
		}
	}()
	c, err := dial(ctx, at("qmp"))
	if err != nil {
		return err
	}
	if m.qmp, err = newQMP(c, func(name string) {
		if o.Event != nil {
			o.Event(name)
		}
	}); err != nil {
		return err
	}
	if m.gpio, err = m.qmp.child("pl061"); err != nil {
		return err
	}
	if c, err = dial(ctx, at("qtest")); err != nil {
		return err
	}
	m.qtest = newQtest(c, func(line int, high bool) {
		if o.Edge != nil {
			o.Edge(line, high)
		}
	})
	return m.qtest.do("irq_intercept_out %s", m.gpio)
}

// Set drives one of the controller's lines from outside.
func (m *Machine) Set(line int, high bool) error {
	level := 0
	if high {
		level = 1
	}
	return m.qtest.do("set_irq_in %s unnamed-gpio-in %d %d", m.gpio, line, level)
}

// Exited is closed when the machine has ended.
func (m *Machine) Exited() <-chan struct{} { return m.exited }

// PowerCut kills the machine; its card loses what was not flushed. It waits,
// and returns how many bytes were lost. A second call does nothing.
func (m *Machine) PowerCut() int {
	if m.cmd != nil && m.cmd.Process != nil {
		_ = m.cmd.Process.Kill() // it may have ended by itself
		<-m.exited
	}
	if m.export != nil {
		_ = m.export.Close()
	}
	for _, c := range []func() error{m.closeQMP, m.closeQtest} {
		_ = c() // the far end is dead
	}
	return m.disk.Drop()
}

func (m *Machine) closeQMP() error {
	if m.qmp == nil {
		return nil
	}
	return m.qmp.conn.Close()
}

func (m *Machine) closeQtest() error {
	if m.qtest == nil {
		return nil
	}
	return m.qtest.conn.Close()
}
