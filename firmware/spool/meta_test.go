package spool_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/fengsui/fengsui/firmware/spool"
	"github.com/fengsui/fengsui/firmware/spool/spooltest"
	"github.com/fengsui/fengsui/firmware/wire"
)

// bbolt would go on with one of its two meta pages when the other is none, that
// is with the file as it may have been one commit earlier. A cut leaves such a
// page with a wrong checksum, and then nobody was told of the commit; a page of
// garbage may have been that of a commit whose event is stored. Its bytes are
// still there to be salvaged, and would be written over.
func TestOneMetaPageIsDamaged(t *testing.T) {
	const header, txid = 16, 48 // into a page: bbolt, internal/common
	for page := range int64(2) {
		for name, hurt := range map[string]func([]byte){
			"zeros":       func(b []byte) { clear(b) },
			"ones":        func(b []byte) { copy(b, bytes.Repeat([]byte{0xff}, len(b))) },
			"its header":  func(b []byte) { copy(b, "garbage of a card") },
			"torn by cut": func(b []byte) { clear(b[header+txid:]) },
		} {
			t.Run(fmt.Sprint(page, " ", name), func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "s")
				s, err := spool.Open(path, spool.Options{})
				if err != nil {
					t.Fatal(err)
				}
				was := s.Stream()
				for i := range 4 {
					for _, l := range wire.Lanes() {
						if _, err := s.Append(l, seal(l, fmt.Sprint(i))); err != nil {
							t.Fatal(err)
						}
					}
				}
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				b, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				id := func(page int64) uint64 { return binary.LittleEndian.Uint64(b[page*4096+header+txid:]) }
				newest := id(page) > id(1-page)
				hurt(b[page*4096 : (page+1)*4096])
				if err := os.WriteFile(path, b, 0o600); err != nil {
					t.Fatal(err)
				}
				s = spooltest.Recover(t, path, spool.Options{}, spool.Check)
				if name == "torn by cut" {
					if w := s.Window()[wire.Track]; s.Stream() != was || !newest && w.Next != 5 || newest && w.Next != 4 {
						t.Errorf("stream %v, %v, the newest %v: want the stream to go on without what that commit had", s.Stream(), w, newest)
					}
					return
				}
				held := 0
				for _, part := range s.Parts() {
					for _, l := range wire.Lanes() {
						recs, err := part.Read(l, 0, 100, 1<<20)
						if err != nil {
							t.Fatal(err)
						}
						held += len(recs)
					}
				}
				if held != 12 || s.Stream() == was {
					t.Errorf("%d events, stream %v: want all 12, and a new stream", held, s.Stream())
				}
			})
		}
	}
}
