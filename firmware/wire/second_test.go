package wire_test

import (
	"crypto/ed25519"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/fengsui/fengsui/firmware/wire"
)

func anyAlarm(t *rapid.T) *wire.SMSAlarm {
	bytes := func(n int, what string) []byte { return rapid.SliceOfN(rapid.Byte(), n, n).Draw(t, what) }
	a := &wire.SMSAlarm{
		Device: rapid.StringMatching(`[a-z0-9][a-z0-9-]{0,31}`).Draw(t, "device"),
		Stream: wire.StreamID(bytes(8, "stream")), Hash: [8]byte(bytes(8, "hash")), Alarm: wire.AlarmID(bytes(8, "alarm")),
		Seq: rapid.Uint64Range(1, math.MaxInt64).Draw(t, "seq"), Kind: wire.AlarmKind(rapid.Uint64Range(1, 255).Draw(t, "kind")),
		Silent: rapid.Bool().Draw(t, "silent"), Drill: rapid.Bool().Draw(t, "drill"),
		Press: rapid.Uint64Min(1).Draw(t, "press"), Boot: rapid.Uint64Range(1, math.MaxInt64).Draw(t, "boot"),
		Mono: time.Duration(rapid.Int64Range(0, 1<<43).Draw(t, "mono")) * time.Millisecond,
		Wall: wire.Wall{
			UnixMilli: rapid.Int64Range(0, 253402300799999).Draw(t, "wall"), Source: wire.WallSource(rapid.Byte().Draw(t, "source")),
			Uncertainty: time.Duration(rapid.Int64Range(0, 1<<43).Draw(t, "within")) * time.Millisecond,
		},
	}
	if rapid.Bool().Draw(t, "has position") {
		a.Position = &wire.Position{
			LatE7: rapid.Int64Range(-90e7, 90e7).Draw(t, "lat"), LonE7: rapid.Int64Range(-180e7, 180e7).Draw(t, "lon"),
			AgeMs: rapid.Uint64Range(0, 1<<43).Draw(t, "age"), HDOP: rapid.Uint64().Draw(t, "hdop"),
			Source: wire.PositionSource(rapid.Uint64Range(0, 3).Draw(t, "how")), Spread: rapid.Uint64Range(0, 100).Draw(t, "spread"),
		}
	}
	return a
}

// Whatever a device can have to say of a press fits one SMS, and comes back as
// it was but for what the layout says that it rounds.
func TestEveryPressFitsOneSMS(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := anyAlarm(t)
		msg, err := wire.SealSMSAlarm(a, deviceKey)
		if err != nil {
			t.Fatal(err)
		}
		if len(msg) > wire.MaxSMS {
			t.Fatalf("%d bytes: want at most %d", len(msg), wire.MaxSMS)
		}
		got, err := wire.OpenSMSAlarm(msg, a.Device, pub(deviceKey))
		if err != nil {
			t.Fatal(err)
		}
		want := *a
		want.Seq, want.Press, want.Boot = min(a.Seq, 1<<48-1), min(a.Press, 1<<16-1), min(a.Boot, 1<<32-1)
		want.Mono = min(a.Mono, (1<<40-1)*time.Millisecond)
		want.Wall.Uncertainty = min(a.Wall.Uncertainty, (1<<32-1)*time.Millisecond)
		if p := a.Position; p != nil {
			want.Position = &wire.Position{LatE7: p.LatE7, LonE7: p.LonE7, AgeMs: min((p.AgeMs+999)/1000, 1<<24-1) * 1000, HDOP: min(p.HDOP, 255), Source: p.Source}
		}
		if d := cmp.Diff(&want, got); d != "" {
			t.Fatalf("opened (-want +got):\n%s", d)
		}
	})
}

func TestEveryAnswerFitsOneSMS(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := &wire.SMSAnswer{
			Device: "box-01", Press: rapid.Uint64Range(0, 1<<16-1).Draw(t, "press"), State: wire.NoticeState(rapid.Uint64Range(0, 255).Draw(t, "state")),
			Rev: rapid.Uint64Range(0, 1<<32-1).Draw(t, "rev"), CentreTime: rapid.Int64Range(0, 1<<48-1).Draw(t, "time"), Unit: rapid.String().Draw(t, "unit"),
		}
		msg, err := wire.SealSMSAnswer(a, centreKey)
		if err != nil {
			t.Fatal(err)
		}
		if len(msg) > wire.MaxSMS {
			t.Fatalf("%d bytes: want at most %d", len(msg), wire.MaxSMS)
		}
		got, err := wire.OpenSMSAnswer(msg, "box-01", pub(centreKey))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(strings.ToValidUTF8(a.Unit, ""), got.Unit) || len(got.Unit) < min(len(a.Unit), 43) && got.Unit != strings.ToValidUTF8(a.Unit, "") {
			t.Fatalf("unit %q of %q", got.Unit, a.Unit)
		}
		a.Unit = got.Unit
		if d := cmp.Diff(a, got); d != "" {
			t.Fatalf("opened (-want +got):\n%s", d)
		}
	})
}

// A message that is changed anywhere, cut, of another device, another kind or
// another key does not open.
func TestSMSSignatureBinds(t *testing.T) {
	all := vectors(t)
	alarm, err := wire.SealSMSAlarm(all["sms_alarm"].(*wire.SMSAlarm), deviceKey)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := wire.SealSMSAnswer(all["sms_answer"].(*wire.SMSAnswer), centreKey)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		msg  []byte
		open func(msg []byte, device string, key ed25519.PublicKey) error
		key  ed25519.PrivateKey
	}{
		"alarm":  {alarm, func(m []byte, d string, k ed25519.PublicKey) error { _, err := wire.OpenSMSAlarm(m, d, k); return err }, deviceKey},
		"answer": {answer, func(m []byte, d string, k ed25519.PublicKey) error { _, err := wire.OpenSMSAnswer(m, d, k); return err }, centreKey},
	} {
		if err := c.open(c.msg, "box-01", pub(c.key)); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for i := range c.msg {
			b := append([]byte(nil), c.msg...)
			b[i] ^= 0x40
			if c.open(b, "box-01", pub(c.key)) == nil {
				t.Errorf("%s: byte %d changed: opens", name, i)
			}
			if c.open(c.msg[:i], "box-01", pub(c.key)) == nil {
				t.Errorf("%s: cut to %d bytes: opens", name, i)
			}
		}
		other := deviceKey
		if name == "alarm" {
			other = centreKey
		}
		if err := c.open(c.msg, "box-01", pub(other)); !errors.Is(err, wire.ErrSignature) {
			t.Errorf("%s: another's key: %v, want ErrSignature", name, err)
		}
		if err := c.open(c.msg, "box-02", pub(c.key)); !errors.Is(err, wire.ErrMessage) {
			t.Errorf("%s: as another device's: %v, want ErrMessage", name, err)
		}
		if err := c.open(c.msg, "box-01", nil); !errors.Is(err, wire.ErrSignature) {
			t.Errorf("%s: no key: %v, want ErrSignature", name, err)
		}
	}
	if _, err := wire.OpenSMSAnswer(alarm, "box-01", pub(deviceKey)); !errors.Is(err, wire.ErrEnvelope) {
		t.Errorf("an alarm as an answer: %v, want ErrEnvelope", err)
	}
}

func TestGroupRefuses(t *testing.T) {
	good := vectors(t)["group_alarm"].(*wire.GroupAlarm)
	for want, change := range map[string]func(*wire.GroupAlarm){
		"device (1)": func(g *wire.GroupAlarm) { g.Device = "Box" }, "group (2)": func(g *wire.GroupAlarm) { g.Group = "" },
		"boot (4) 0": func(g *wire.GroupAlarm) { g.Boot = 0 }, "n (5) 0": func(g *wire.GroupAlarm) { g.N = 0 },
		"kind (7)": func(g *wire.GroupAlarm) { g.Kind = 0 }, "press (8) 0": func(g *wire.GroupAlarm) { g.Press = 0 },
		"age (11)": func(g *wire.GroupAlarm) { g.AgeMs = math.MaxUint64 }, "wall (12)": func(g *wire.GroupAlarm) { g.Wall = -1 },
		"wall uncertainty (14)": func(g *wire.GroupAlarm) { g.Within = math.MaxUint64 },
	} {
		g := *good
		change(&g)
		if _, err := wire.SealGroup(&g, deviceKey); !errors.Is(err, wire.ErrMessage) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want an ErrMessage that names it", want, err)
		}
	}
	msg, err := wire.SealGroup(good, deviceKey)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := wire.OpenGroup(msg, func(string) ed25519.PublicKey { return nil }); !errors.Is(err, wire.ErrSignature) {
		t.Errorf("a stranger: %v, want ErrSignature", err)
	}
	if _, err := wire.Open(msg, pub(deviceKey)); !errors.Is(err, wire.ErrSignature) {
		t.Errorf("a packet as an event: %v, want ErrSignature", err)
	}
}

// FuzzGroup gives the payload of a packet that is signed as it should be.
func FuzzGroup(f *testing.F) {
	seeds(f, func(v any) bool { _, ok := v.(*wire.GroupAlarm); return ok })
	f.Fuzz(func(t *testing.T, payload []byte) {
		msg := sealed(t, payload, "fs/v1/group", deviceKey)
		var g *wire.GroupAlarm
		var err error
		costs(t, len(msg), func() {
			g, err = wire.OpenGroup(msg, func(string) ed25519.PublicKey { return pub(deviceKey) })
		})
		if err != nil {
			refusal(t, err)
			return
		}
		if wire.ValidDevice(g.Device) != nil || wire.ValidDevice(g.Group) != nil || g.Boot == 0 || g.N == 0 || g.Kind == 0 || g.Press == 0 {
			t.Fatalf("accepted %+v", g)
		}
		again, err := wire.SealGroup(g, deviceKey)
		if err != nil {
			if len(msg) < wire.MaxGroupPacket-8 { // keys in another order make it no longer
				t.Fatalf("what was opened does not seal: %v", err)
			}
			return
		}
		back, err := wire.OpenGroup(again, func(string) ed25519.PublicKey { return pub(deviceKey) })
		if err != nil {
			t.Fatalf("what was sealed does not open: %v", err)
		}
		if d := cmp.Diff(g, back); d != "" {
			t.Fatalf("opened, sealed and opened again:\n%s", d)
		}
	})
}

// FuzzSMS gives whole messages, which nobody signed, and payloads that are
// signed as they should be: what opens seals and opens again alike.
func FuzzSMS(f *testing.F) {
	for _, name := range []string{"sms_alarm", "sms_answer"} {
		msg, _, _, _, err := sealAny(vectors(f)[name])
		if err != nil {
			f.Fatal(err)
		}
		f.Add(msg)
		f.Add(msg[:len(msg)-ed25519.SignatureSize])
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		stranger := pub(ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
		costs(t, len(p), func() {
			if _, err := wire.OpenSMSAlarm(p, "box-01", stranger); err == nil {
				t.Error("an alarm opens that nobody signed")
			}
			if _, err := wire.OpenSMSAnswer(p, "box-01", stranger); err == nil {
				t.Error("an answer opens that nobody signed")
			}
			_, _ = wire.TagOfSMS(p)
		})
		sign := func(kind string, key ed25519.PrivateKey) []byte {
			data := append([]byte("fs/v1/sms/"+kind+"box-01\x00"), p...)
			return append(append([]byte(nil), p...), ed25519.Sign(key, data)...)
		}
		if a, err := wire.OpenSMSAlarm(sign("alarm", deviceKey), "box-01", pub(deviceKey)); err == nil {
			msg, err := wire.SealSMSAlarm(a, deviceKey)
			if err != nil {
				t.Fatalf("what was opened does not seal: %v", err)
			}
			back, err := wire.OpenSMSAlarm(msg, "box-01", pub(deviceKey))
			if d := cmp.Diff(a, back); err != nil || d != "" {
				t.Fatalf("opened, sealed and opened again: %v\n%s", err, d)
			}
			if _, err := wire.Seal(a.Event(), deviceKey); err != nil {
				t.Fatalf("the event of it is none: %v", err)
			}
		} else {
			refusal(t, err)
		}
		if a, err := wire.OpenSMSAnswer(sign("answer", centreKey), "box-01", pub(centreKey)); err == nil {
			msg, err := wire.SealSMSAnswer(a, centreKey)
			if err != nil {
				t.Fatalf("what was opened does not seal: %v", err)
			}
			back, err := wire.OpenSMSAnswer(msg, "box-01", pub(centreKey))
			if d := cmp.Diff(a, back); err != nil || d != "" {
				t.Fatalf("opened, sealed and opened again: %v\n%s", err, d)
			}
		} else {
			refusal(t, err)
		}
	})
}
