package fingerprint_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
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

// wired runs f against a driver and an emulator that are joined by a wire.
func wired(t *testing.T, opt fingerprinttest.Options, f func(t *testing.T, s *fingerprinttest.Sensor, port io.ReadWriteCloser)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		s := fingerprinttest.New(opt)
		done := make(chan error, 1)
		go func() { done <- s.Serve(t.Context(), far) }()
		f(t, s, near)
		near.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestConnect(t *testing.T) {
	wired(t, fingerprinttest.Options{Slots: []int{1, 2, 9}, Library: 300, Password: 0xCAFE}, func(t *testing.T, _ *fingerprinttest.Sensor, port io.ReadWriteCloser) {
		s := fingerprint.New(port, fingerprint.Options{Password: 0xCAFE})
		defer s.Close()
		p, err := s.Connect(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if p.Library != 300 || p.Security != 3 || p.PacketSize != 128 || p.Baud != 57600 || p.Address != fingerprint.DefaultAddress {
			t.Errorf("got %+v", p)
		}
		if n, err := s.TemplateCount(t.Context()); n != 3 || err != nil {
			t.Errorf("%d templates, %v: want 3", n, err)
		}
	})
}

func TestWrongPassword(t *testing.T) {
	wired(t, fingerprinttest.Options{Password: 1}, func(t *testing.T, _ *fingerprinttest.Sensor, port io.ReadWriteCloser) {
		s := fingerprint.New(port, fingerprint.Options{Password: 2})
		defer s.Close()
		_, err := s.Connect(t.Context())
		var op *fingerprint.Error
		if !errors.Is(err, fingerprint.ErrPassword) || !errors.As(err, &op) || op.Op != fingerprint.OpVfyPwd {
			t.Errorf("%v, want ErrPassword of VfyPwd", err)
		}
	})
}

func capture(ctx context.Context, s *fingerprint.Sensor) (fingerprint.Match, error) {
	if err := s.GenImg(ctx); err != nil {
		return fingerprint.Match{}, err
	}
	if err := s.Img2Tz(ctx, 1); err != nil {
		return fingerprint.Match{}, err
	}
	return s.Search(ctx, 1)
}

func TestSearch(t *testing.T) {
	wired(t, fingerprinttest.Options{Slots: []int{5}, Score: 77}, func(t *testing.T, e *fingerprinttest.Sensor, port io.ReadWriteCloser) {
		s := fingerprint.New(port, fingerprint.Options{})
		defer s.Close()
		if _, err := s.Connect(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			finger int
			want   error
		}{
			{fingerprinttest.NoFinger, fingerprint.ErrNoFinger},
			{5, nil},
			{fingerprinttest.Stranger, fingerprint.ErrNotFound},
			{6, fingerprint.ErrNotFound},
			{fingerprinttest.Smudge, fingerprint.ErrFewFeatures},
			{5, nil},
		} {
			e.Lay(c.finger)
			m, err := capture(t.Context(), s)
			if !errors.Is(err, c.want) || c.want == nil && (m.Slot != 5 || m.Score != 77) {
				t.Errorf("finger %d: %+v, %v; want %v", c.finger, m, err, c.want)
			}
		}
	})
}

// Whatever the sensor or the wire does to one answer, no match comes of it,
// the call ends in time, and the exchange after it works.
func TestFaultsOfTheWire(t *testing.T) {
	for name, fault := range map[string]fingerprinttest.Fault{
		"silence": fingerprinttest.Silent, "wrong sum": fingerprinttest.WrongSum, "64 KiB": fingerprinttest.HugeLength,
		"cut": fingerprinttest.Cut, "a byte a second": fingerprinttest.Slow, "unsolicited match": fingerprinttest.Unsolicited,
		"slot out of range": fingerprinttest.SlotRange,
	} {
		t.Run(name, func(t *testing.T) {
			wired(t, fingerprinttest.Options{Slots: []int{5}}, func(t *testing.T, e *fingerprinttest.Sensor, port io.ReadWriteCloser) {
				s := fingerprint.New(port, fingerprint.Options{})
				defer s.Close()
				if _, err := s.Connect(t.Context()); err != nil {
					t.Fatal(err)
				}
				e.Lay(5)
				if err := errors.Join(s.GenImg(t.Context()), s.Img2Tz(t.Context(), 1)); err != nil {
					t.Fatal(err)
				}
				e.Break(fault, true)
				began := time.Now()
				m, err := s.Search(t.Context(), 1)
				if err == nil {
					t.Errorf("a match of slot %d, want an error", m.Slot)
				}
				if d := time.Since(began); d > 2*fingerprint.DefaultTimeout {
					t.Errorf("took %v", d)
				}
				time.Sleep(30 * time.Second) // a slow answer has come by now
				for range 3 {
					if m, err = capture(t.Context(), s); err == nil {
						break
					}
				}
				if err != nil || m.Slot != 5 {
					t.Errorf("afterwards: %+v, %v; want slot 5", m, err)
				}
			})
		})
	}
}

func TestNoiseBeforeAnAnswer(t *testing.T) {
	wired(t, fingerprinttest.Options{Slots: []int{5}}, func(t *testing.T, e *fingerprinttest.Sensor, port io.ReadWriteCloser) {
		s := fingerprint.New(port, fingerprint.Options{})
		defer s.Close()
		e.Break(fingerprinttest.Noise, false)
		if _, err := s.Connect(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// read collects the reader's events while f lays and lifts.
func read(t *testing.T, opt fingerprint.Options, sensor fingerprinttest.Options, f func(*fingerprinttest.Sensor)) (events []fingerprint.Event) {
	t.Helper()
	wired(t, sensor, func(t *testing.T, e *fingerprinttest.Sensor, port io.ReadWriteCloser) {
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			done <- fingerprint.NewReader(opt).Run(ctx, port, func(ev fingerprint.Event) { events = append(events, ev) })
		}()
		time.Sleep(time.Second)
		f(e)
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		for _, op := range e.Instructions() {
			if !op.Allowed() {
				t.Errorf("the reader sent %v", op)
			}
		}
	})
	return events
}

func kinds(events []fingerprint.Event) (out []string) {
	for _, e := range events {
		out = append(out, e.Kind.String())
	}
	return out
}

func TestReaderOneEventAFinger(t *testing.T) {
	lay := func(e *fingerprinttest.Sensor, finger int) {
		e.Lay(finger)
		time.Sleep(3 * time.Second)
		e.Lift()
		time.Sleep(2 * time.Second)
	}
	events := read(t, fingerprint.Options{}, fingerprinttest.Options{Slots: []int{1, 2}}, func(e *fingerprinttest.Sensor) {
		lay(e, 1)
		lay(e, fingerprinttest.Stranger)
		lay(e, 2)
		lay(e, 2)
	})
	want := []fingerprint.Kind{fingerprint.Ready, fingerprint.Matched, fingerprint.NoMatch, fingerprint.Matched, fingerprint.Matched}
	var got []fingerprint.Kind
	for _, e := range events {
		got = append(got, e.Kind)
	}
	if !slices.Equal(got, want) {
		t.Fatalf("%v, want %v", kinds(events), want)
	}
	if events[1].Match.Slot != 1 || events[3].Match.Slot != 2 {
		t.Errorf("matches %+v %+v, want slots 1 and 2", events[1].Match, events[3].Match)
	}
}

func TestReaderRefusesAWeakMatch(t *testing.T) {
	events := read(t, fingerprint.Options{MinScore: 100}, fingerprinttest.Options{Slots: []int{1}, Score: 99}, func(e *fingerprinttest.Sensor) {
		e.Lay(1)
		time.Sleep(2 * time.Second)
	})
	if len(events) != 2 || events[1].Kind != fingerprint.Weak {
		t.Errorf("%v, want a weak match", kinds(events))
	}
}

func TestReaderFindsASensorLost(t *testing.T) {
	wired(t, fingerprinttest.Options{}, func(t *testing.T, e *fingerprinttest.Sensor, port io.ReadWriteCloser) {
		done := make(chan error, 1)
		go func() {
			done <- fingerprint.NewReader(fingerprint.Options{}).Run(t.Context(), port, func(fingerprint.Event) {})
		}()
		time.Sleep(5 * time.Second)
		e.Break(fingerprinttest.Silent, false)
		time.Sleep(time.Minute)
		select {
		case err := <-done:
			if !errors.Is(err, fingerprint.ErrTimeout) {
				t.Errorf("%v, want ErrTimeout", err)
			}
		default:
			t.Error("still running a minute after the sensor fell silent")
			port.Close()
			<-done
		}
	})
}

// The allow-list is short, and nothing on it moves a template or an image.
func TestNothingExportsATemplate(t *testing.T) {
	var allowed []fingerprint.Opcode
	for op := range 256 {
		if fingerprint.Opcode(op).Allowed() {
			allowed = append(allowed, fingerprint.Opcode(op))
		}
	}
	want := []fingerprint.Opcode{0x01, 0x02, 0x04, 0x05, 0x06, 0x0C, 0x0F, 0x12, 0x13, 0x1D, 0x1F, 0x35}
	if !slices.Equal(allowed, want) {
		t.Errorf("allowed are %v, want %v", allowed, want)
	}
	// There is one place in the package that writes to a port.
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	writes := 0
	for _, f := range files {
		if strings.HasSuffix(f, "_test.go") {
			continue
		}
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		writes += strings.Count(string(b), ".Write(")
	}
	if writes != 1 {
		t.Errorf("%d calls of Write in the package, want the one behind the allow-list", writes)
	}
}

// recorder answers from a script and keeps what it is sent.
type recorder struct {
	io.Reader
	sent bytes.Buffer
}

func (r *recorder) Write(p []byte) (int, error) { return r.sent.Write(p) }

// The emulator's bytes, against exchanges written down by hand from the
// manual. The file is for other implementations too.
func TestVectors(t *testing.T) {
	b, err := os.ReadFile("testdata/exchanges.txt")
	if err != nil {
		t.Fatal(err)
	}
	s := fingerprinttest.New(fingerprinttest.Options{Slots: []int{1}, Library: 200, Score: 100})
	s.Lay(1)
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		name, bytesOf, _ := strings.Cut(line, ":")
		ask, want, _ := strings.Cut(bytesOf, ">")
		raw, err := hex.DecodeString(strings.ReplaceAll(ask, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		r := &recorder{Reader: bytes.NewReader(raw)}
		if err := s.Serve(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		if got, want := hex.EncodeToString(r.sent.Bytes()), strings.ReplaceAll(want, " ", ""); got != want {
			t.Errorf("%s: answered %s, want %s", name, got, want)
		}
	}
}

func FuzzEmulator(f *testing.F) {
	f.Add([]byte("\xef\x01\xff\xff\xff\xff\x01\x00\x03\x01\x00\x05"))
	f.Fuzz(func(t *testing.T, in []byte) {
		s := fingerprinttest.New(fingerprinttest.Options{Slots: []int{1}})
		s.Lay(1)
		if err := s.Serve(t.Context(), &recorder{Reader: bytes.NewReader(in)}); err != nil {
			t.Fatal(err)
		}
	})
}

func FuzzDriver(f *testing.F) {
	f.Add([]byte("\xef\x01\xff\xff\xff\xff\x07\x00\x03\x00\x00\x0a\xef\x01\xff\xff\xff\xff\x07\x00\x07\x00\x00\x01\x00\x64\x00\x73"))
	f.Fuzz(func(t *testing.T, in []byte) {
		synctest.Test(t, func(t *testing.T) {
			near, far := net.Pipe()
			go func() { _, _ = io.Copy(io.Discard, far) }()
			go func() { _, _ = far.Write(in) }()
			s := fingerprint.New(near, fingerprint.Options{})
			ctx, stop := context.WithTimeout(t.Context(), 20*time.Second)
			defer stop()
			if _, err := s.Connect(ctx); err == nil {
				if m, err := s.Search(ctx, 1); err == nil && m.Slot < 0 {
					t.Errorf("a match of slot %d", m.Slot)
				}
			}
			s.Close()
			far.Close()
		})
	})
}

// BenchmarkMatch tells a whole match as a ratio to bare round trips on the
// same wire.
func BenchmarkMatch(b *testing.B) {
	near, far := net.Pipe()
	e := fingerprinttest.New(fingerprinttest.Options{Slots: []int{5}})
	e.Lay(5)
	ctx, stop := context.WithCancel(b.Context())
	go func() { _ = e.Serve(ctx, far) }()
	s := fingerprint.New(near, fingerprint.Options{})
	defer stop()
	defer s.Close()
	if _, err := s.Connect(ctx); err != nil {
		b.Fatal(err)
	}
	x, y := net.Pipe()
	defer x.Close()
	go func() { _, _ = io.Copy(y, y) }()
	buf := make([]byte, 12)
	var ours, floor time.Duration
	for b.Loop() {
		at := time.Now()
		if _, err := capture(ctx, s); err != nil {
			b.Fatal(err)
		}
		ours += time.Since(at)
		at = time.Now()
		for range 3 { // a match is three exchanges
			if _, err := x.Write(buf); err != nil {
				b.Fatal(err)
			}
			if _, err := io.ReadFull(x, buf); err != nil {
				b.Fatal(err)
			}
		}
		floor += time.Since(at)
	}
	b.ReportMetric(float64(ours)/float64(floor), "x-floor")
}
