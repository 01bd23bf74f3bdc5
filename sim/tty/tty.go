// Package tty makes pseudo-terminals that stand for serial ports: the near end
// is a path that a device opens as it opens a UART, the far end is what an
// emulated peripheral reads and writes.
//
// A port outlives the devices that open it. It knows no speed (bytes pass at
// once), no parity and no modem lines.
package tty

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// patience is how long a write waits for room before bytes that nobody reads
// are thrown away, as a UART without a reader would do.
const patience = 100 * time.Millisecond

// A Port is a pseudo-terminal. Its Read and Write are the far end's and may be
// called at the same time.
type Port struct {
	master *os.File
	slave  *os.File // kept open: without it the master hangs up when a device dies
	path   string
}

// Open makes a port in raw mode.
func Open() (*Port, error) {
	m, s, err := pty.Open()
	if err != nil {
		return nil, fmt.Errorf("tty: %w", err)
	}
	defer m.Close()
	p := &Port{slave: s, path: s.Name()}
	if err := raw(int(s.Fd())); err != nil {
		return nil, errors.Join(fmt.Errorf("tty: raw mode: %w", err), s.Close())
	}
	// pty.Open leaves the master blocking, so that Close could not end a Read.
	fd, err := unix.FcntlInt(m.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("tty: %w", err), s.Close())
	}
	p.master = os.NewFile(uintptr(fd), m.Name())
	return p, nil
}

// raw sets a terminal as cfmakeraw(3) does.
func raw(fd int) error {
	t, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return err
	}
	t.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON
	t.Oflag &^= unix.OPOST
	t.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
	t.Cflag = t.Cflag&^(unix.CSIZE|unix.PARENB) | unix.CS8
	t.Cc[unix.VMIN], t.Cc[unix.VTIME] = 1, 0
	return unix.IoctlSetTermios(fd, unix.TCSETS, t)
}

// Path returns the near end's path.
func (p *Port) Path() string { return p.path }

// Read waits for what the device writes. It ends when the port is closed.
func (p *Port) Read(b []byte) (int, error) { return p.master.Read(b) }

// Write sends to the device. When nobody reads for a while, the oldest bytes
// are lost, and it is no error.
func (p *Port) Write(b []byte) (int, error) {
	for sent := 0; sent < len(b); {
		if err := p.master.SetWriteDeadline(time.Now().Add(patience)); err != nil {
			return sent, fmt.Errorf("tty: %w", err)
		}
		n, err := p.master.Write(b[sent:])
		sent += n
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			if err := p.flush(); err != nil {
				return sent, err
			}
		case err != nil:
			return sent, fmt.Errorf("tty: %w", err)
		}
	}
	return len(b), nil
}

// Reset brings the port to what a device finds that has just been given power:
// nothing waits to be read, and no dead device holds the port for itself
// (tty_ioctl(4), TIOCEXCL, which go.bug.st/serial sets and SIGKILL leaves set).
func (p *Port) Reset() error {
	if err := unix.IoctlSetInt(int(p.slave.Fd()), unix.TIOCNXCL, 0); err != nil {
		return fmt.Errorf("tty: %w", err)
	}
	return p.flush()
}

func (p *Port) flush() error {
	if err := unix.IoctlSetInt(int(p.slave.Fd()), unix.TCFLSH, unix.TCIFLUSH); err != nil {
		return fmt.Errorf("tty: flush: %w", err)
	}
	return nil
}

// Close ends the port and a Read in progress.
func (p *Port) Close() error { return errors.Join(p.master.Close(), p.slave.Close()) }

var _ io.ReadWriteCloser = (*Port)(nil)
