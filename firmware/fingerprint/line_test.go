package fingerprint_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fengsui/fengsui/firmware/fingerprint"
	"github.com/fengsui/fengsui/firmware/fingerprint/fingerprinttest"
)

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(strings.TrimSpace(s), " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// captures are the exchanges of testdata/captures.txt by name: what was asked
// and what was answered.
func captures(t *testing.T) map[string][2][]byte {
	t.Helper()
	b, err := os.ReadFile("testdata/captures.txt")
	if err != nil {
		t.Fatal(err)
	}
	m := make(map[string][2][]byte)
	for line := range strings.Lines(string(b)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		name, both, _ := strings.Cut(line, ":")
		ask, answer, _ := strings.Cut(both, ">")
		m[name] = [2][]byte{unhex(t, ask), unhex(t, answer)}
	}
	return m
}

// An exchange is a command that is expected, byte for byte, and what is
// answered to it; a nil answer is silence.
type exchange struct{ ask, answer []byte }

// scripted runs f against a driver whose sensor follows a script.
func scripted(t *testing.T, script []exchange, f func(*testing.T, *fingerprint.Sensor)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		done := make(chan struct{})
		go func() {
			defer close(done)
			for i, x := range script {
				got := make([]byte, len(x.ask))
				if _, err := io.ReadFull(far, got); err != nil || !bytes.Equal(got, x.ask) {
					t.Errorf("command %d: % X, %v; want % X", i, got, err, x.ask)
					return
				}
				if _, err := far.Write(x.answer); err != nil {
					t.Errorf("answer %d: %v", i, err)
					return
				}
			}
			if rest, err := io.ReadAll(far); len(rest) > 0 || err != nil {
				t.Errorf("more commands than expected: % X, %v", rest, err)
			}
		}()
		s := fingerprint.New(near, fingerprint.Options{})
		f(t, s)
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		<-done
	})
}

// The driver against the bytes of a real sensor.
func TestCaptures(t *testing.T) {
	c := captures(t)
	for name, want := range map[string]struct {
		match fingerprint.Match
		err   error
	}{
		"search":         {fingerprint.Match{Slot: 1, Score: 96}, nil},
		"search in vain": {fingerprint.Match{}, fingerprint.ErrNotFound},
	} {
		t.Run(name, func(t *testing.T) {
			x := func(name string) exchange { return exchange{c[name][0], c[name][1]} }
			script := []exchange{x("verify password"), x("read parameters"), x(name)}
			if want.err == nil {
				script = append(script, x("read parameters")) // a match is believed only after it
			}
			scripted(t, script, func(t *testing.T, s *fingerprint.Sensor) {
				p, err := s.Connect(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				if w := (fingerprint.Parameters{Status: 4, Library: 200, Security: 3, Address: 0xFFFFFFFF, PacketSize: 128, Baud: 57600}); p != w {
					t.Errorf("parameters %+v, want %+v", p, w)
				}
				if m, err := s.Search(t.Context(), 1); m != want.match || !errors.Is(err, want.err) {
					t.Errorf("%+v, %v; want %+v, %v", m, err, want.match, want.err)
				}
			})
		})
	}
}

// A code that answers an earlier command is not what became of the command in
// hand: a sensor that falls silent must not look like one without a finger.
func TestLateCodeIsNoAnswer(t *testing.T) {
	c := captures(t)
	genImg := unhex(t, "EF01 FFFFFFFF 01 0003 01 0005")
	noFinger := unhex(t, "EF01 FFFFFFFF 07 0003 02 000C")
	params := c["read parameters"]
	scripted(t, []exchange{
		{c["verify password"][0], c["verify password"][1]},
		{params[0], params[1]},
		{genImg, nil},
		{params[0], noFinger},
	}, func(t *testing.T, s *fingerprint.Sensor) {
		if _, err := s.Connect(t.Context()); err != nil {
			t.Error(err)
			return
		}
		for i := range 2 {
			if err := s.GenImg(t.Context()); !errors.Is(err, fingerprint.ErrTimeout) || errors.Is(err, fingerprint.ErrNoFinger) {
				t.Errorf("try %d: %v; want ErrTimeout and not ErrNoFinger", i, err)
			}
		}
	})
}

// Every instruction that is not on the list is stopped before the port, and in
// the source only send writes, only pump reads, only New closes.
func TestOnlySendNamesThePortForWriting(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var uses []string
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			ast.Inspect(fn, func(n ast.Node) bool {
				outer, ok := n.(*ast.SelectorExpr)
				if !ok {
					return true
				}
				if inner, ok := outer.X.(*ast.SelectorExpr); ok && inner.Sel.Name == "port" {
					uses = append(uses, fn.Name.Name+" "+outer.Sel.Name)
					return false
				}
				if outer.Sel.Name == "port" { // handed on, stored or compared
					uses = append(uses, fn.Name.Name+" port itself")
				}
				return true
			})
		}
	}
	slices.Sort(uses)
	if want := []string{"New Close", "pump Read", "send Write"}; !slices.Equal(uses, want) {
		t.Errorf("the port is used as %q, want %q", uses, want)
	}
}

// deaf is a port that takes nothing and gives nothing until it is closed.
type deaf struct{ closed chan struct{} }

func (d deaf) Read([]byte) (int, error)  { <-d.closed; return 0, io.ErrClosedPipe }
func (d deaf) Write([]byte) (int, error) { <-d.closed; return 0, io.ErrClosedPipe }
func (d deaf) Close() error              { close(d.closed); return nil }

// idle is a port whose Read returns nothing at once, for ever.
type idle struct{ io.Writer }

func (idle) Read([]byte) (int, error) { return 0, nil }
func (idle) Close() error             { return nil }

// No port can hold Run up, whichever way it fails, and ctx always ends it.
func TestRunEndsOnAnyPort(t *testing.T) {
	for name, c := range map[string]struct {
		port func() io.ReadWriteCloser
		want error
	}{
		"blocks for ever": {func() io.ReadWriteCloser { return deaf{make(chan struct{})} }, fingerprint.ErrPort},
		"reads nothing":   {func() io.ReadWriteCloser { return idle{io.Discard} }, fingerprint.ErrTimeout},
		"unplugged": {func() io.ReadWriteCloser {
			near, far := net.Pipe()
			far.Close()
			return near
		}, fingerprint.ErrPort},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				err := fingerprint.NewReader(fingerprint.Options{}).Run(t.Context(), c.port(), func(fingerprint.Event) {})
				if !errors.Is(err, c.want) || time.Since(began) > 4*fingerprint.DefaultTimeout {
					t.Errorf("%v after %v, want %v", err, time.Since(began), c.want)
				}
				ctx, stop := context.WithTimeout(t.Context(), time.Millisecond)
				defer stop()
				err = fingerprint.NewReader(fingerprint.Options{}).Run(ctx, c.port(), func(fingerprint.Event) {})
				if name != "unplugged" && err != nil {
					t.Errorf("ended by ctx: %v, want nil", err)
				}
			})
		})
	}
}

// What a single finger can lead to, besides a match.
func TestReaderOddFingers(t *testing.T) {
	opt := fingerprinttest.Options{Slots: []int{1}}
	for _, c := range []struct {
		name string
		do   func(*fingerprinttest.Sensor)
		want []string
	}{
		{"smudge that stays", func(e *fingerprinttest.Sensor) {
			e.Lay(fingerprinttest.Smudge)
			time.Sleep(10 * time.Second)
		}, []string{"unreadable"}},
		{"smudge that goes at once", func(e *fingerprinttest.Sensor) {
			e.Lay(fingerprinttest.Smudge)
			time.Sleep(300 * time.Millisecond)
			e.Lift()
			time.Sleep(time.Second)
		}, []string{"unreadable"}},
		{"flicker is no lift", func(e *fingerprinttest.Sensor) {
			e.Lay(1)
			time.Sleep(time.Second)
			e.Lift()
			time.Sleep(fingerprint.DefaultPoll * 3 / 4) // one look at most falls into it
			e.Lay(1)
			time.Sleep(time.Second)
		}, []string{"matched"}},
		{"slot out of range", func(e *fingerprinttest.Sensor) {
			e.Break(fingerprinttest.SlotRange, false)
			e.Lay(1)
			time.Sleep(5 * time.Second)
		}, []string{"refused"}},
		{"left lying", func(e *fingerprinttest.Sensor) {
			e.Lay(1)
			time.Sleep(2 * fingerprint.DefaultStuck)
			e.Lift()
			time.Sleep(time.Second)
			e.Lay(1)
			time.Sleep(time.Second)
		}, []string{"matched", "stuck", "freed", "matched"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := kinds(read(t, fingerprint.Options{}, opt, c.do)); !slices.Equal(got, append([]string{"ready"}, c.want...)) {
				t.Errorf("%v, want ready and %v", got, c.want)
			}
		})
	}
}

// A finger that lies there when Run starts, such as after the port was
// reopened, counts only when it has been lifted and laid again.
func TestFingerThatLayBeforeDoesNotCount(t *testing.T) {
	wired(t, fingerprinttest.Options{Slots: []int{1}}, func(t *testing.T, e *fingerprinttest.Sensor, port io.ReadWriteCloser) {
		e.Lay(1)
		ctx, stop := context.WithTimeout(t.Context(), 10*time.Second)
		defer stop()
		var got []fingerprint.Event
		if err := fingerprint.NewReader(fingerprint.Options{}).Run(ctx, port, func(ev fingerprint.Event) { got = append(got, ev) }); err != nil {
			t.Error(err)
		}
		if !slices.Equal(kinds(got), []string{"ready"}) {
			t.Errorf("%v, want only ready", kinds(got))
		}
	})
}
