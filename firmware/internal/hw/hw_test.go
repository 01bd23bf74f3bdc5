package hw_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/creack/pty"

	"github.com/fengsui/fengsui/firmware/internal/hw"
)

func TestSerialOverAPty(t *testing.T) {
	far, near, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	defer near.Close()
	p, err := hw.Serial(t.Context(), near.Name(), 9600)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	buf := make([]byte, 16)
	if n, err := p.Read(buf); n != 0 || err != nil {
		t.Errorf("an idle port: %d, %v; want 0, nil after the timeout", n, err)
	}
	if _, err := far.Write([]byte("$GP\r\n")); err != nil {
		t.Fatal(err)
	}
	n, err := p.Read(buf)
	if err != nil || !strings.HasPrefix("$GP\r\n", string(buf[:n])) || n == 0 {
		t.Errorf("read %q, %v; want the start of $GP\\r\\n unchanged", buf[:n], err)
	}
	if _, err := p.Write([]byte{0xef, 0x01, 0x0a}); err != nil {
		t.Fatal(err)
	}
	if n, err := far.Read(buf); err != nil || string(buf[:n]) != "\xef\x01\x0a" {
		t.Errorf("the far end read %x, %v; want ef010a unchanged", buf[:n], err)
	}
}

func TestErrorsTellWhatToDo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ttyNONE")
	if _, err := hw.Serial(t.Context(), path, 9600); err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "plugged in") {
		t.Errorf("missing port: %v", err)
	}
	if _, err := hw.Line("GPIO_NONE"); err == nil || !strings.Contains(err.Error(), `"GPIO_NONE"`) {
		t.Errorf("missing line: %v", err)
	}
}
