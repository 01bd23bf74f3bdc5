package wire_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"math"
	"runtime/metrics"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/veraison/go-cose"

	"github.com/fengsui/fengsui/firmware/wire"
)

// costs fails the test when f allocates more than a message of so many bytes
// may make a receiver allocate. A length that a stranger claims is not believed
// before its bytes are there.
func costs(t *testing.T, bytes int, f func()) {
	t.Helper()
	most := uint64(2<<20 + 400*bytes)
	s := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(s)
	before := s[0].Value.Uint64()
	f()
	metrics.Read(s)
	if n := s[0].Value.Uint64() - before; n > most {
		t.Errorf("a message of %d bytes allocated %d: want at most %d", bytes, n, most)
	}
}

// sealed signs a payload of anybody's making, so that the fuzzer gets behind
// the signature: a device may be in the wrong hands, and so may a centre.
func sealed(t *testing.T, payload []byte, aad string, key ed25519.PrivateKey) []byte {
	t.Helper()
	signer, err := cose.NewSigner(cose.AlgorithmEdDSA, key)
	if err != nil {
		t.Fatal(err)
	}
	m := cose.Sign1Message{
		Headers: cose.Headers{Protected: cose.ProtectedHeader{cose.HeaderLabelAlgorithm: cose.AlgorithmEdDSA}},
		Payload: payload,
	}
	if err := m.Sign(rand.Reader, []byte(aad), signer); err != nil {
		t.Fatal(err)
	}
	msg, err := m.MarshalCBOR()
	if err != nil {
		t.Fatal(err)
	}
	return msg
}

// seeds adds the payloads of all vectors that pick wants.
func seeds(f *testing.F, pick func(v any) bool) {
	for _, v := range vectors(f) {
		if !pick(v) {
			continue
		}
		msg, _, _, _, err := sealAny(v)
		if err != nil {
			f.Fatal(err)
		}
		var m cose.Sign1Message
		if err := m.UnmarshalCBOR(msg); err != nil {
			f.Fatal(err)
		}
		f.Add(m.Payload)
	}
}

// refusal fails the test unless err is one that a receiver can count.
func refusal(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, wire.ErrMessage) && !errors.Is(err, wire.ErrEnvelope) {
		t.Fatalf("%v: want ErrMessage or ErrEnvelope", err)
	}
	if len(err.Error()) > 2*wire.MaxMessage {
		t.Fatalf("an error of %d bytes", len(err.Error()))
	}
}

// FuzzOpen gives whole messages: what is opened seals and opens again alike,
// and nothing that is not signed opens.
func FuzzOpen(f *testing.F) {
	for _, v := range vectors(f) {
		msg, _, _, _, err := sealAny(v)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(msg)
	}
	stranger := pub(ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
	f.Fuzz(func(t *testing.T, msg []byte) {
		costs(t, len(msg), func() {
			if _, err := wire.OpenHello(msg, stranger); err == nil {
				t.Error("a hello opens that nobody signed")
			}
			if _, err := wire.OpenDown(msg, stranger, "box-01"); err == nil {
				t.Error("a downlink message opens that nobody signed")
			}
			if _, err := wire.Open(msg, stranger); err == nil {
				t.Error("an event opens that nobody signed")
			}
		})
		e, err := wire.Peek(msg)
		if err != nil {
			refusal(t, err)
			return
		}
		eventAgain(t, e)
	})
}

// eventAgain seals and opens what was opened, and wants the same.
func eventAgain(t *testing.T, e *wire.Event) {
	t.Helper()
	again, err := wire.Seal(e, deviceKey)
	if err != nil {
		t.Fatalf("what was opened does not seal: %v", err)
	}
	back, err := wire.Open(again, pub(deviceKey))
	if err != nil {
		t.Fatalf("what was sealed does not open: %v", err)
	}
	if d := cmp.Diff(e, back); d != "" {
		t.Fatalf("opened, sealed and opened again:\n%s", d)
	}
}

// FuzzEvent gives the payload of an event that is signed as it should be.
func FuzzEvent(f *testing.F) {
	seeds(f, func(v any) bool { _, ok := v.(*wire.Event); return ok })
	f.Fuzz(func(t *testing.T, payload []byte) {
		msg := sealed(t, payload, "fs/v1/event", deviceKey)
		var e *wire.Event
		var err error
		costs(t, len(msg), func() { e, err = wire.Open(msg, pub(deviceKey)) })
		if err != nil {
			refusal(t, err)
			return
		}
		if wire.ValidDevice(e.Device) != nil || e.Lane < wire.Alarm || e.Lane > wire.Track || e.Seq == 0 || e.Seq > math.MaxInt64 ||
			e.Boot == 0 || e.Boot > math.MaxInt64 || e.Mono < 0 || e.Wall.Uncertainty < 0 || e.Wall.UnixMilli < 0 || e.Body == nil {
			t.Fatalf("accepted %+v", e)
		}
		if b, ok := e.Body.(*wire.Dropped); ok {
			for _, r := range b.Ranges {
				if r.From == 0 || r.From > r.To || r.Events > r.To-r.From+1 {
					t.Fatalf("accepted %+v", r)
				}
			}
		}
		eventAgain(t, e)
	})
}

// FuzzHello gives the payload of a hello that is signed as it should be.
func FuzzHello(f *testing.F) {
	seeds(f, func(v any) bool { _, ok := v.(*wire.Hello); return ok })
	f.Fuzz(func(t *testing.T, payload []byte) {
		msg := sealed(t, payload, "fs/v1/hello", deviceKey)
		var h *wire.Hello
		var err error
		costs(t, len(msg), func() { h, err = wire.OpenHello(msg, pub(deviceKey)) })
		if err != nil {
			refusal(t, err)
			return
		}
		for l, w := range h.Window {
			if w.Oldest == 0 || w.Oldest > w.Next || w.Next > math.MaxInt64 {
				t.Fatalf("accepted the window %+v of %v", w, l)
			}
		}
		again, err := wire.SealHello(h, deviceKey)
		if err != nil {
			t.Fatalf("what was opened does not seal: %v", err)
		}
		back, err := wire.OpenHello(again, pub(deviceKey))
		if err != nil {
			t.Fatalf("what was sealed does not open: %v", err)
		}
		if d := cmp.Diff(h, back); d != "" {
			t.Fatalf("opened, sealed and opened again:\n%s", d)
		}
	})
}

// FuzzDown gives the payload of an acknowledgement or a notice that is signed
// as it should be.
func FuzzDown(f *testing.F) {
	seeds(f, func(v any) bool { _, ok := v.(*wire.Down); return ok })
	f.Fuzz(func(t *testing.T, payload []byte) {
		msg := sealed(t, payload, "fs/v1/down", centreKey)
		var d *wire.Down
		var err error
		costs(t, len(msg), func() { d, err = wire.OpenDown(msg, pub(centreKey), "box-01") })
		if err != nil {
			refusal(t, err)
			return
		}
		if d.Device != "box-01" || d.Body == nil {
			t.Fatalf("accepted %+v", d)
		}
		if n, ok := d.Body.(*wire.Notice); ok && n.Rev == 0 {
			t.Fatalf("accepted %+v", n)
		}
		again, err := wire.SealDown(d, centreKey)
		if err != nil {
			t.Fatalf("what was opened does not seal: %v", err)
		}
		back, err := wire.OpenDown(again, pub(centreKey), "box-01")
		if err != nil {
			t.Fatalf("what was sealed does not open: %v", err)
		}
		if diff := cmp.Diff(d, back); diff != "" {
			t.Fatalf("opened, sealed and opened again:\n%s", diff)
		}
	})
}

// FuzzTopic wants of a topic that parses that it is what the device would use.
func FuzzTopic(f *testing.F) {
	for _, topic := range []string{"fs/v1/box-01/up/alarm", "fs/v1/b/up/hello", "fs/v1/box-01/down", "fs/v1//up/duty", "fs/v1/a/up/up/track", "fs/v1/+/up/#"} {
		f.Add(topic)
	}
	f.Fuzz(func(t *testing.T, topic string) {
		device, kind, err := wire.ParseUpTopic(topic)
		if err != nil {
			if !errors.Is(err, wire.ErrTopic) || device != "" || kind != "" {
				t.Fatalf("%q: %q %q %v", topic, device, kind, err)
			}
			return
		}
		want := wire.HelloTopic(device)
		for _, l := range wire.Lanes() {
			if l.String() == kind {
				want = wire.UpTopic(device, l)
			}
		}
		if wire.ValidDevice(device) != nil || topic != want {
			t.Fatalf("%q parses as %q of %q, whose topic is %q", topic, kind, device, want)
		}
	})
}
