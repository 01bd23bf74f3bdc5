package hw_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"github.com/fengsui/fengsui/firmware/internal/hw"
)

// open returns the far end of a pty and a port on its near end.
func open(t *testing.T) (far *os.File, p io.ReadWriteCloser) {
	t.Helper()
	far, near, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer near.Close()
	p, err = hw.Serial(t.Context(), near.Name(), 9600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close(); far.Close() })
	return far, p
}

func TestSerialOverAPty(t *testing.T) {
	far, p := open(t)
	buf := make([]byte, 16)
	if n, err := p.Read(buf); n != 0 || err != nil {
		t.Errorf("an idle port: %d, %v; want 0, nil after the timeout", n, err)
	}
	// Every byte, as it is: no echo, no translation, no flow control.
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	if _, err := far.Write(all); err != nil {
		t.Fatal(err)
	}
	var got []byte
	for len(got) < len(all) {
		n, err := p.Read(buf)
		if n == 0 || err != nil {
			t.Fatalf("after %d bytes: %d, %v", len(got), n, err)
		}
		got = append(got, buf[:n]...)
	}
	if !bytes.Equal(got, all) {
		t.Errorf("read %x", got)
	}
	if n, err := p.Write(all); n != len(all) || err != nil {
		t.Fatal(n, err)
	}
	if got := make([]byte, len(all)); func() error { _, err := io.ReadFull(far, got); return err }() != nil || !bytes.Equal(got, all) {
		t.Errorf("the far end read %x", got)
	}
}

func TestCloseEndsARead(t *testing.T) {
	_, p := open(t)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			n, err := p.Read(make([]byte, 16))
			if errors.Is(err, fs.ErrClosed) {
				return
			}
			if n != 0 || err != nil {
				t.Errorf("%d, %v", n, err)
				return
			}
		}
	})
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	wg.Wait()
	if err := p.Close(); err != nil {
		t.Errorf("closed again: %v", err)
	}
	if n, err := p.Write([]byte{1}); n != 0 || !errors.Is(err, fs.ErrClosed) {
		t.Errorf("a write after Close: %d, %v", n, err)
	}
	if n, err := p.Read([]byte{1}); n != 0 || !errors.Is(err, fs.ErrClosed) {
		t.Errorf("a read after Close: %d, %v", n, err)
	}
}

// The number of a closed port's descriptor is soon another file's; a late write
// must not reach it.
func TestALateWriteReachesNoOtherFile(t *testing.T) {
	dir := t.TempDir()
	for i := range 50 {
		_, p := open(t)
		stop := make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					p.Write([]byte("x"))
				}
			}
		})
		go p.Read(make([]byte, 1))
		p.Close()
		var files []*os.File
		for j := range 8 {
			f, err := os.Create(filepath.Join(dir, strconv.Itoa(i*8+j)))
			if err != nil {
				t.Fatal(err)
			}
			files = append(files, f)
		}
		close(stop)
		wg.Wait()
		for _, f := range files {
			if st, err := f.Stat(); err != nil || st.Size() != 0 {
				t.Fatalf("%s: %d bytes, %v", f.Name(), st.Size(), err)
			}
			f.Close()
		}
	}
}

// A far end that takes nothing holds a write up. Close does not wait for it for
// ever, and the write ends at the latest when the far end goes.
func TestCloseDoesNotWaitForAWrite(t *testing.T) {
	far, p := open(t)
	began, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		close(began)
		_, err := p.Write(make([]byte, 1<<20))
		ended <- err
	}()
	<-began
	p.Read(make([]byte, 1)) // 100 ms, in which the pty fills
	if err := p.Close(); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want that the write is held up", err)
	}
	far.Close()
	if err := <-ended; err == nil {
		t.Error("a megabyte went nowhere without an error")
	}
}

func TestAVanishedPort(t *testing.T) {
	far, p := open(t)
	if err := far.Close(); err != nil {
		t.Fatal(err)
	}
	if n, err := p.Read(make([]byte, 1)); n != 0 || !errors.Is(err, hw.ErrGone) {
		t.Errorf("read %d, %v; want ErrGone", n, err)
	}
	if _, err := p.Write([]byte{1}); !errors.Is(err, unix.EIO) {
		t.Errorf("write: %v; want an I/O error", err)
	}
}

func TestErrorsTellWhatToDo(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	none := filepath.Join(dir, "ttyNONE")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range []struct {
		ctx        context.Context
		path, want string
	}{
		{t.Context(), none, "serial port " + none + " at 9600 baud: no such file or directory: is the adapter plugged in?"},
		{t.Context(), file, "want a serial port"},
		{t.Context(), dir, "is a directory"},
		{ended, none, "context canceled"},
	} {
		if _, err := hw.Serial(c.ctx, c.path, 9600); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", c.path, err, c.want)
		}
	}
	for _, name := range []string{"GPIO_NONE", "nochip:4", "", ":", "x:-1"} {
		if _, err := hw.Line(name); !errors.Is(err, hw.ErrNoLine) || !strings.Contains(err.Error(), strconv.Quote(name)) {
			t.Errorf("line %q: %v", name, err)
		}
	}
}
