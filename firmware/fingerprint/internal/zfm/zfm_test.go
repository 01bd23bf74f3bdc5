package zfm_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/fengsui/fengsui/firmware/fingerprint/internal/zfm"
)

// decode feeds in pieces of n bytes and returns what came out.
func decode(in []byte, n, limit int) (packets []zfm.Packet, bad []error) {
	d := zfm.Decoder{MaxPayload: limit}
	for len(in) > 0 {
		k := min(n, len(in))
		d.Feed(in[:k])
		in = in[k:]
		for {
			p, err := d.Next()
			if errors.Is(err, zfm.ErrIncomplete) {
				break
			}
			if err != nil {
				bad = append(bad, err)
				continue
			}
			packets = append(packets, p)
		}
	}
	return packets, bad
}

func TestDecoderResynchronises(t *testing.T) {
	good := []byte("\xEF\x01\xFF\xFF\xFF\xFF\x07\x00\x03\x00\x00\x0A")
	for name, c := range map[string]struct {
		before string
		want   error
	}{
		"nothing":         {"", nil},
		"power-on byte":   {"\x55", nil},
		"half a header":   {"\xEF", nil},
		"wrong sum":       {"\xEF\x01\xFF\xFF\xFF\xFF\x07\x00\x03\x00\x00\x0B", zfm.ErrSum},
		"64 KiB":          {"\xEF\x01\xFF\xFF\xFF\xFF\x07\xFF\xFF\x00\x00\x0A", zfm.ErrLength},
		"length of 1":     {"\xEF\x01\xFF\xFF\xFF\xFF\x07\x00\x01\x00\x00\x0A", zfm.ErrLength},
		"length past 256": {"\xEF\x01\xFF\xFF\xFF\xFF\x02\x01\x03\x00", zfm.ErrLength},
		"unknown packet":  {"\xEF\x01\xFF\xFF\xFF\xFF\x03\x00\x03\x00\x00\x06", zfm.ErrPID},
		"cut":             {"\xEF\x01\xFF\xFF\xFF\xFF\x07\x00\x07\x00", zfm.ErrSum},
		"header in one":   {"\xEF\x01\xEF\x01\xFF", zfm.ErrLength},
	} {
		for _, n := range []int{1, 2, 7, 1000} {
			in := append([]byte(c.before), good...)
			in = append(in, good...)
			got, bad := decode(in, n, 0)
			if len(got) != 2 || got[0].PID != zfm.Ack || got[0].Address != 0xFFFFFFFF || !bytes.Equal(got[0].Payload, []byte{0}) {
				t.Errorf("%s, %d bytes at a time: %+v %v, want the two packets behind it", name, n, got, bad)
			}
			if c.want == nil && len(bad) > 0 || c.want != nil && (len(bad) == 0 || !errors.Is(bad[0], c.want)) {
				t.Errorf("%s, %d bytes at a time: %v, want %v", name, n, bad, c.want)
			}
		}
	}
}

func TestAppendRefusesALongPayload(t *testing.T) {
	for n, ok := range map[int]bool{0: true, zfm.MaxPayload: true, zfm.MaxPayload + 1: false} {
		b, err := zfm.Packet{PID: zfm.Data, Payload: make([]byte, n)}.Append(nil)
		if (err == nil) != ok {
			t.Errorf("%d bytes: %v", n, err)
		}
		if got, _ := decode(b, 1000, 0); ok && (len(got) != 1 || len(got[0].Payload) != n) {
			t.Errorf("%d bytes: came back as %v", n, got)
		}
	}
}

// Whatever comes, in whichever pieces: the same packets, each of which frames
// back to bytes that were in the stream; and a packet behind it all is found
// once enough bytes have followed it.
func FuzzDecoder(f *testing.F) {
	f.Fuzz(func(t *testing.T, in []byte) {
		whole, _ := decode(in, len(in)+1, 0)
		single, _ := decode(in, 1, 0)
		if len(whole) != len(single) {
			t.Fatalf("%d packets at once, %d byte by byte", len(whole), len(single))
		}
		for i, p := range whole {
			b, err := p.Append(nil)
			if err != nil || !bytes.Contains(in, b) {
				t.Fatalf("packet %+v, %v: not in the stream", p, err)
			}
			if q := single[i]; q.PID != p.PID || q.Address != p.Address || !bytes.Equal(q.Payload, p.Payload) {
				t.Fatalf("packet %d: %+v at once, %+v byte by byte", i, p, q)
			}
		}
		mark, err := zfm.Packet{Address: 0xA5A5A5A5, PID: zfm.Ack, Payload: []byte("mark")}.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		at := len(in)
		in = append(bytes.Clone(in), mark...)
		in = append(in, make([]byte, 300)...) // more than a ruin can wait for
		got, _ := decode(in, 64, 0)
		pos := 0
		for _, p := range got {
			if p.Address == 0xA5A5A5A5 && string(p.Payload) == "mark" {
				return
			}
			frame, err := p.Append(nil)
			if err != nil {
				t.Fatal(err)
			}
			pos += bytes.Index(in[pos:], frame)
			if pos <= at && at < pos+len(frame) {
				return // a true packet, sum and all, reaches into it
			}
			pos += len(frame)
		}
		t.Fatal("the packet behind it was swallowed")
	})
}
