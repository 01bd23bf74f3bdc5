package tty_test

import (
	"bytes"
	"io"
	"os"
	"testing"
	"time"

	"go.bug.st/serial"
	"golang.org/x/sys/unix"

	"github.com/fengsui/fengsui/sim/tty"
)

func open(t *testing.T) *tty.Port {
	t.Helper()
	p, err := tty.Open()
	if err != nil {
		t.Skip("no pseudo-terminals here: ", err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

// device opens the near end as the shipping code does.
func device(t *testing.T, path string) serial.Port {
	t.Helper()
	d, err := serial.Open(path, &serial.Mode{BaudRate: 9600})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.SetReadTimeout(5 * time.Second); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestBytesPassUnchangedAcrossDevices(t *testing.T) {
	p := open(t)
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	for range 3 { // a device that dies is followed by another
		d := device(t, p.Path())
		if _, err := p.Write(all); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 256)
		if _, err := io.ReadFull(d, got); err != nil || !bytes.Equal(got, all) {
			t.Fatalf("down: got % x, %v", got, err)
		}
		if _, err := d.Write(all); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(p, got); err != nil || !bytes.Equal(got, all) {
			t.Fatalf("up: got % x, %v", got, err)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestWriteWithoutAReader(t *testing.T) {
	p := open(t)
	block := bytes.Repeat([]byte("x"), 1024)
	for range 20 { // 20 KiB; a pty holds about 4
		if n, err := p.Write(block); n != len(block) || err != nil {
			t.Fatal(n, err)
		}
	}
	if err := p.Reset(); err != nil {
		t.Fatal(err)
	}
	d := device(t, p.Path())
	defer d.Close()
	if _, err := p.Write([]byte("fresh")); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 5)
	if _, err := io.ReadFull(d, got); err != nil || string(got) != "fresh" {
		t.Errorf("got %q, %v: what was flushed came back", got, err)
	}
}

func TestResetFreesThePortOfADeadDevice(t *testing.T) {
	p := open(t)
	held := device(t, p.Path()) // left open, as SIGKILL leaves the flag
	t.Cleanup(func() { _ = held.Close() })
	f, err := os.OpenFile(p.Path(), os.O_RDWR|unix.O_NOCTTY, 0) // the superuser passes
	if err != nil && os.Geteuid() != 0 {
		if err := p.Reset(); err != nil {
			t.Fatal(err)
		}
		f, err = os.OpenFile(p.Path(), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := p.Reset(); err != nil {
		t.Fatal(err)
	}
	if held, err := unix.IoctlGetInt(int(f.Fd()), unix.TIOCGEXCL); err != nil || held != 0 {
		t.Errorf("exclusive is %d, %v: want 0", held, err)
	}
}

func TestCloseEndsARead(t *testing.T) {
	p := open(t)
	ended := make(chan error, 1)
	go func() {
		_, err := p.Read(make([]byte, 1))
		ended <- err
	}()
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if err == nil {
			t.Error("the read ended without an error")
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the read goes on")
	}
	if _, err := os.Stat(p.Path()); err == nil {
		t.Log("the path was given to somebody else")
	}
}
