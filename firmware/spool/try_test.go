package spool_test

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/fengsui/fengsui/firmware/spool"
)

func TestTry(t *testing.T) {
	s, err := spool.Open(filepath.Join(t.TempDir(), "spool.db"), spool.Options{})
	if err != nil {
		t.Fatal(err)
	}
	before := s.Window()
	if err := s.Try(); err != nil {
		t.Error(err)
	}
	for l, w := range s.Window() {
		if w != before[l] {
			t.Errorf("lane %v: %+v, want %+v: nothing was stored", l, w, before[l])
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Try(); !errors.Is(err, spool.ErrClosed) {
		t.Errorf("%v, want ErrClosed", err)
	}
}
