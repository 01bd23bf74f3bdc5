package gps_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fengsui/fengsui/firmware/gps"
	"github.com/fengsui/fengsui/firmware/gps/gpstest"
)

// Messages as others have published them, byte for byte.
func TestCommandsAsTheyAreSent(t *testing.T) {
	for want, c := range map[string]gps.Command{
		"$PCAS04,3*1A\r\n":           {NMEA: "PCAS04,3"},
		"$PCAS02,100*1E\r\n":         {NMEA: "PCAS02,100"},
		"$PMTK220,100*2F\r\n":        {NMEA: "PMTK220,100"},
		"$PAIR864,0,0,115200*1B\r\n": {NMEA: "PAIR864,0,0,115200"},
		"\xb5b\x06\x08\x06\x00\x64\x00\x01\x00\x01\x00\x7a\x12": {UBX: gps.Hex{6, 8, 0x64, 0, 1, 0, 1, 0}},
		"\xb5b\x06\x01\x03\x00\xf0\x01\x00\xfb\x11":             {UBX: gps.Hex{6, 1, 0xf0, 1, 0}},
	} {
		if got := string(c.Bytes()); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// Every receiver can be set to each of its rates and speeds, and every command
// says where its manual describes it.
func TestEveryReceiverIsWhole(t *testing.T) {
	for _, name := range gps.Receivers() {
		r := gps.ReceiverByName(name)
		if !slices.Equal(r.Rates(), []int{1, 5, 10}) || !slices.Equal(r.Speeds(), []int{9600, 38400, 115200}) {
			t.Errorf("%s: rates %v, speeds %v", name, r.Rates(), r.Speeds())
		}
		for baud, c := range r.Speed {
			if !strings.Contains(c.NMEA, fmt.Sprint(baud)) && len(c.UBX) == 0 && r.Ack != "none" {
				t.Errorf("%s at %d: %s", name, baud, c.NMEA)
			}
			if u := c.UBX; len(u) > 0 {
				at := bytes.Index(u, []byte{byte(baud), byte(baud >> 8), byte(baud >> 16), 0}) // little-endian
				if at < 0 {
					t.Errorf("%s at %d: % x", name, baud, []byte(u))
				}
			}
		}
		for rate, c := range r.Rate {
			ms := 1000 / rate
			if u := c.UBX; len(u) > 0 && !bytes.Contains(u, []byte{byte(ms), byte(ms >> 8)}) || len(u) == 0 && !strings.HasSuffix(c.NMEA, fmt.Sprint(",", ms)) {
				t.Errorf("%s at %d a second: %q % x", name, rate, c.NMEA, []byte(u))
			}
		}
	}
}

// A chip is a receiver on the far end of a port: it speaks at its speed, takes
// commands, and answers them in its way.
type chip struct {
	name   string
	baud   int // that it speaks at
	port   int // that the port is opened at
	deaf   bool
	refuse string // a command that it refuses, by its beginning
	got    []string
	out    bytes.Buffer
	said   int
}

func (c *chip) open(_ context.Context, baud int) (io.ReadWriteCloser, error) {
	c.port = baud
	return c, nil
}

func (c *chip) Close() error { return nil }

func (c *chip) Read(p []byte) (int, error) {
	if c.out.Len() == 0 {
		time.Sleep(100 * time.Millisecond)
		if c.said++; c.said%10 == 0 {
			c.out.WriteString(gpstest.NoFix(time.Now()))
		}
	}
	n, _ := c.out.Read(p)
	if c.port != c.baud { // at the wrong speed all is noise
		for i := range p[:n] {
			p[i] |= 0x80
		}
	}
	return n, nil
}

func (c *chip) Write(p []byte) (int, error) {
	if c.port != c.baud || c.deaf {
		return len(p), nil
	}
	c.got = append(c.got, string(p))
	ok := c.refuse == "" || !strings.HasPrefix(string(p), c.refuse)
	r := gps.ReceiverByName(c.name)
	for baud, s := range r.Speed {
		if bytes.Equal(s.Bytes(), p) {
			c.baud = baud
		}
	}
	switch {
	case r.Ack == "none":
	case p[0] == 0xb5:
		a := byte(1)
		if !ok {
			a = 0
		}
		c.out.Write(gps.Command{UBX: gps.Hex{5, a, p[2], p[3]}}.Bytes())
	case strings.HasPrefix(string(p), "$PQ"):
		c.out.Write(gps.Command{NMEA: "PQTXT,W,OK"}.Bytes())
	default:
		id, result := string(p[5:8]), map[bool]string{true: "0", false: "2"}[ok]
		if strings.HasPrefix(string(p), "$PMTK") {
			result = map[bool]string{true: "3", false: "2"}[ok]
		} else {
			c.out.Write(gps.Command{NMEA: "PAIR001," + id + ",1"}.Bytes()) // at work
		}
		c.out.Write(gps.Command{NMEA: string(p[1:5]) + "001," + id + "," + result}.Bytes())
	}
	return len(p), nil
}

// start finds the chip and sets it up, as an agent does.
func (c *chip) start(t *testing.T, want, rate int) []gps.Command {
	t.Helper()
	r := gps.ReceiverByName(c.name)
	if c.baud != want {
		if _, err := r.Hurry(t.Context(), c.open, want); err != nil {
			t.Fatal(err)
		}
	}
	port, _ := c.open(t.Context(), want)
	answers := make(chan gps.Answer, 16)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		d := gps.NewListener(readUntil{ctx, port}, func(h gps.Heard) {
			if h.Answer != nil {
				answers <- *h.Answer
			}
		})
		_, _ = d.Next()
	}()
	failed, err := r.SetUp(t.Context(), port, rate, answers)
	if err != nil {
		t.Fatal(err)
	}
	stop()
	<-done
	return failed
}

type readUntil struct {
	ctx context.Context
	io.Reader
}

func (r readUntil) Read(p []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, io.EOF
	}
	return r.Reader.Read(p)
}

func TestEveryReceiverIsFoundAndSetUp(t *testing.T) {
	for _, name := range gps.Receivers() {
		r := gps.ReceiverByName(name)
		for _, factory := range r.Baud {
			synctest.Test(t, func(t *testing.T) {
				c := &chip{name: name, baud: factory}
				if failed := c.start(t, 38400, 10); len(failed) > 0 {
					t.Errorf("%s from %d baud: not taken: %v", name, factory, failed)
				}
				if last := c.got[len(c.got)-1]; c.baud != 38400 || last != string(r.Rate[10].Bytes()) {
					t.Errorf("%s from %d baud: at %d, told last %q", name, factory, c.baud, last)
				}
			})
		}
	}
}

func TestACommandThatIsNotTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &chip{name: "ublox-m8", baud: 38400, refuse: "\xb5b\x06\x3e"}
		if failed := c.start(t, 38400, 5); len(failed) != 1 || !strings.Contains(failed[0].Section, "UBX-CFG-GNSS") {
			t.Errorf("not taken: %v", failed)
		}
		c = &chip{name: "quectel-lc", baud: 38400, deaf: true}
		if failed := c.start(t, 38400, 5); len(failed) != 5 {
			t.Errorf("a deaf one took all but %d", len(failed))
		}
		c = &chip{name: "casic", baud: 4800}
		if _, err := gps.ReceiverByName("casic").Hurry(t.Context(), c.open, 9600); !errors.Is(err, gps.ErrMute) {
			t.Errorf("at an odd speed: %v", err)
		}
	})
}

func TestAntennas(t *testing.T) {
	for text, want := range map[string]gps.Antenna{
		"$GPTXT,01,01,02,ANTSTATUS=OK*3B\r\n":             gps.AntennaGood,
		"$GPTXT,01,01,01,ANTENNA OPEN*25\r\n":             gps.AntennaOpen,
		"$GPTXT,01,01,02,ANTSUPERV=AC SD PDoS SR*20":      gps.AntennaUntold,
		"$PQTMANTENNASTATUS,3,1,2,1*52\r\n":               gps.AntennaGood,
		"$PQTMANTENNASTATUS,2,2,2,2,2*4D\r\n":             gps.AntennaOpen,
		gpstest.Antenna("SHORT"):                          gps.AntennaShort,
		gpstest.Antenna("OPEN"):                           gps.AntennaOpen,
		"$GPTXT,01,01,02,ANTSTATUS=OPEN*00\r\n":           gps.AntennaUntold, // the checksum is wrong
		"$GNTXT,01,01,02,ANTSTATUS=DONTKNOW*2D\r\n":       gps.AntennaUntold,
		"$PQTMANTENNASTATUS*19\r\n$GPTXT,01,01,01*4C\r\n": gps.AntennaUntold,
	} {
		got := gps.AntennaUntold
		d := gps.NewListener(strings.NewReader(text), func(h gps.Heard) { got = max(got, h.Antenna) })
		if _, err := d.Next(); !errors.Is(err, io.EOF) {
			t.Error(err)
		}
		if got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

// Binary messages between the sentences cost no fix, wherever a '$' is in them.
func TestBinaryBetweenSentences(t *testing.T) {
	at := time.Date(2026, 11, 26, 1, 2, 3, 0, time.UTC)
	ubx := gps.Command{UBX: append(gps.Hex{1, 7}, bytes.Repeat([]byte("$GNRMC,\x00\xb5b"), 9)...)}.Bytes()
	casic := append([]byte{0xba, 0xce, 8, 0, 1, 3}, []byte("$$*3\r\n$G\x01\x02\x03\x04")...)
	var plain, mixed bytes.Buffer
	for n := range 20 {
		s := gpstest.Sentences(at.Add(time.Duration(n)*time.Second), gpstest.Point{Lat: 30, Lon: 103}, 0, 0)
		plain.WriteString(s)
		for line := range strings.Lines(s) {
			mixed.WriteString(line)
			mixed.Write(ubx)
			mixed.Write(casic)
		}
	}
	want, err := gpstest.Read(&plain)
	if err != nil {
		t.Fatal(err)
	}
	got, err := gpstest.Read(&mixed)
	if err != nil || !slices.Equal(got, want) || len(got) != 20 {
		t.Errorf("%d fixes of %d, %v", len(got), len(want), err)
	}
}
