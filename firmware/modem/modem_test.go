package modem_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fengsui/fengsui/firmware/modem"
	"github.com/fengsui/fengsui/firmware/modem/modemtest"
)

const (
	ours   = "+8613800000001"
	theirs = "+8613900000009"
)

// A rig is the driver on an emulated modem, and a phone beside them.
type rig struct {
	t      *testing.T
	net    *modemtest.Network
	emu    *modemtest.Modem
	m      *modem.Modem
	cancel context.CancelFunc
	ended  chan error
	far    net.Conn
	mu     sync.Mutex
	states []modem.State
	got    []string
	phone  []string
	refuse bool // messages are not taken
}

func newRig(t *testing.T, o modem.Options, prepare func(*modemtest.Modem)) *rig {
	r := &rig{t: t, net: modemtest.NewNetwork()}
	r.emu = modemtest.New(ours, r.net)
	r.net.Attach(theirs, func(from string, data []byte) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.phone = append(r.phone, from+" "+string(data))
	})
	if prepare != nil {
		prepare(r.emu)
	}
	o.OnState = func(s modem.State) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.states = append(r.states, s)
	}
	o.OnSMS = func(number string, data []byte) bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.refuse {
			return false
		}
		r.got = append(r.got, number+" "+string(data))
		return true
	}
	r.m = modem.New(o)
	r.plug()
	t.Cleanup(r.stop)
	return r
}

func (r *rig) plug() {
	near, far := net.Pipe()
	r.far = far
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel, r.ended = cancel, make(chan error, 1)
	go func() { _ = r.emu.Serve(far); far.Close() }()
	go func() { r.ended <- r.m.Run(ctx, near) }()
}

func (r *rig) stop() {
	r.cancel()
	r.pass(10 * time.Second)
	select {
	case <-r.ended:
	default:
		if r.ended != nil {
			r.t.Error("Run does not end with its context")
		}
	}
	r.far.Close()
}

func (r *rig) pass(d time.Duration) { time.Sleep(d); synctest.Wait() } // in a bubble

func (r *rig) received() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.got)
}

func TestStateAndBothDirections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, modem.Options{}, func(m *modemtest.Modem) { m.Operator = "中国移动" })
		r.pass(time.Second)
		want := modem.State{SIM: modem.SIMReady, Registered: true, Operator: "中国移动", RAT: "lte", SignalDBm: -87}
		if got := r.m.State(); got != want {
			t.Errorf("state %+v, want %+v", got, want)
		}
		data := bytes.Repeat([]byte{0x1a, 0x1b, '>', 0, 0xff, '\r', '\n'}, 20) // 140 bytes, of the kind that upsets serial lines
		if err := r.m.Send(t.Context(), theirs, data); err != nil {
			t.Fatal(err)
		}
		if err := r.net.Send(theirs, ours, []byte("\x00answer\xff")); err != nil {
			t.Fatal(err)
		}
		r.pass(time.Second)
		if want := []string{ours + " " + string(data)}; !slices.Equal(r.phone, want) {
			t.Errorf("the phone has %q", r.phone)
		}
		if got, want := r.received(), []string{theirs + " \x00answer\xff"}; !slices.Equal(got, want) {
			t.Errorf("received %q, want %q", got, want)
		}
		if r.emu.Kept() != 0 {
			t.Errorf("%d messages stay on the SIM", r.emu.Kept())
		}
		if err := r.m.Send(t.Context(), theirs, make([]byte, 141)); err == nil {
			t.Error("141 bytes are sent")
		}
	})
}

// What was not taken stays on the SIM and comes again, also to the next run.
func TestNotTakenComesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, modem.Options{}, nil)
		r.pass(time.Second)
		r.refuse = true
		if err := r.net.Send(theirs, ours, []byte("one")); err != nil {
			t.Fatal(err)
		}
		r.pass(time.Minute)
		r.stop()
		r.refuse = false
		r.plug()
		r.pass(time.Second)
		if got, want := r.received(), []string{theirs + " one"}; !slices.Equal(got, want) {
			t.Errorf("received %q, want %q", got, want)
		}
	})
}

// More messages than the SIM has places all come, each once.
func TestFullSIM(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, modem.Options{}, nil)
		var want []string
		for i := range 3*modemtest.Places + 1 {
			text := fmt.Sprintf("message %02d", i)
			want = append(want, theirs+" "+text)
			if err := r.net.Send(theirs, ours, []byte(text)); err != nil {
				t.Fatal(err)
			}
		}
		r.pass(2 * time.Minute)
		got := r.received()
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("received %q, want %q", got, want)
		}
	})
}

func TestFaults(t *testing.T) {
	for name, c := range map[string]struct {
		f       modemtest.Faults
		send    error // of a message after a while; nil: it goes
		receive bool
		lost    bool
		within  time.Duration // that it takes to receive
	}{
		"none":               {receive: true},
		"no SIM":             {f: modemtest.Faults{SIM: "absent"}, send: modem.ErrNoSIM},
		"a SIM that failed":  {f: modemtest.Faults{SIM: "failed"}, send: modem.ErrNoSIM},
		"a SIM with a PIN":   {f: modemtest.Faults{SIM: "pin"}, send: modem.ErrPIN},
		"a locked SIM":       {f: modemtest.Faults{SIM: "puk"}, send: modem.ErrPUK},
		"no network":         {f: modemtest.Faults{NoNetwork: true}, send: modem.ErrNotRegistered},
		"refusal":            {f: modemtest.Faults{Refuse: 500}, send: modem.ErrRefused, receive: true},
		"garbage":            {f: modemtest.Faults{Garbage: true}, receive: true},
		"slow":               {f: modemtest.Faults{Delay: 2 * time.Second}, receive: true, within: time.Minute},
		"no indication":      {f: modemtest.Faults{LoseCMTI: true}, receive: true, within: time.Minute},
		"not through a SIM":  {f: modemtest.Faults{Direct: true}, receive: true},
		"no prompt":          {f: modemtest.Faults{NoPrompt: true}, send: modem.ErrRefused, receive: true},
		"it answers nothing": {f: modemtest.Faults{Mute: true}, lost: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, modem.Options{}, func(m *modemtest.Modem) { m.Set(c.f) })
				if c.lost {
					r.pass(time.Minute)
					select {
					case err := <-r.ended:
						if !errors.Is(err, modem.ErrLost) {
							t.Errorf("Run: %v, want ErrLost", err)
						}
						r.ended = nil
					default:
						t.Error("Run goes on with a modem that answers nothing")
					}
					return
				}
				r.pass(time.Minute)
				if err := r.m.Send(t.Context(), theirs, []byte("help")); !errors.Is(err, c.send) {
					t.Errorf("Send: %v, want %v", err, c.send)
				}
				r.pass(time.Second)
				if sent := len(r.phone) == 1; sent != (c.send == nil) {
					t.Errorf("the phone has %q", r.phone)
				}
				if err := r.net.Send(theirs, ours, []byte("word")); err != nil {
					t.Fatal(err)
				}
				r.pass(max(c.within, time.Second))
				if got := r.received(); (len(got) == 1) != c.receive {
					t.Errorf("received %q", got)
				}
			})
		})
	}
}

// A fault that ends is seen to end, and what waited comes then.
func TestRegistersAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, modem.Options{}, nil)
		r.pass(time.Second)
		r.emu.Set(modemtest.Faults{NoNetwork: true})
		if err := r.net.Send(theirs, ours, []byte("later")); err != nil {
			t.Fatal(err)
		}
		r.pass(time.Minute)
		if s := r.m.State(); s.Registered || s.Operator != "" || s.SignalDBm != 0 {
			t.Errorf("state %+v: want no network", s)
		}
		r.emu.Set(modemtest.Faults{})
		r.pass(10 * time.Second)
		if s := r.m.State(); !s.Registered || s.SignalDBm == 0 {
			t.Errorf("state %+v: want a network", s)
		}
		if got := r.received(); len(got) != 1 {
			t.Errorf("received %q", got)
		}
	})
}

func TestUnpluggedAndPluggedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, modem.Options{}, nil)
		r.pass(time.Second)
		r.far.Close()
		synctest.Wait()
		if err := <-r.ended; !errors.Is(err, modem.ErrLost) {
			t.Errorf("Run: %v, want ErrLost", err)
		}
		if s := r.m.State(); s != (modem.State{}) {
			t.Errorf("state %+v of a modem that is gone", s)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := r.m.Send(ctx, theirs, []byte("x")); !errors.Is(err, modem.ErrLost) {
			t.Errorf("Send: %v, want ErrLost", err)
		}
		r.emu.Restart()
		r.plug()
		r.pass(time.Second)
		if err := r.m.Send(t.Context(), theirs, []byte("x")); err != nil {
			t.Error(err)
		}
	})
}

// A port that reads nothing for a while, as serial ports do, is not broken.
type blinking struct{ io.ReadWriteCloser }

func (b blinking) Read(p []byte) (int, error) {
	if len(p) > 0 && time.Now().UnixNano()%3 != 0 {
		time.Sleep(100 * time.Millisecond) // in a bubble
		return 0, nil
	}
	return b.ReadWriteCloser.Read(p)
}

func TestEmptyReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := modemtest.NewNetwork()
		emu := modemtest.New(ours, n)
		near, far := net.Pipe()
		go func() { _ = emu.Serve(far) }()
		ctx, cancel := context.WithCancel(t.Context())
		m := modem.New(modem.Options{})
		ended := make(chan error, 1)
		go func() { ended <- m.Run(ctx, blinking{near}) }()
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if s := m.State(); s.Err() != nil {
			t.Errorf("state %+v", s)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		far.Close()
	})
}

// FuzzHostile is a modem that says anything at all: the driver ends or goes on,
// and hands over no message that is longer than one can be.
func FuzzHostile(f *testing.F) {
	f.Add([]byte("\r\nOK\r\n\r\nOK\r\n\r\nOK\r\n+CPIN: READY\r\nOK\r\n"))
	f.Add([]byte("+CMT: ,30\r\n0004039999F00004\r\n+CMTI: \"SM\",1\r\n+CMGL: 1,0,,4\r\nzz\r\n> > >\x1a"))
	f.Add([]byte("+CME ERROR: 11\r\n+CMS ERROR:\r\n+COPS: ,,\"\",\r\n+CESQ: ,,,,,\r\n+CSQ: -1\r\n"))
	f.Fuzz(func(t *testing.T, says []byte) {
		synctest.Test(t, func(t *testing.T) {
			near, far := net.Pipe()
			go func() { _, _ = io.Copy(io.Discard, far) }()
			go func() {
				for i := range says {
					if i%7 == 0 {
						time.Sleep(time.Second)
					}
					if _, err := far.Write(says[i : i+1]); err != nil {
						return
					}
				}
			}()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			m := modem.New(modem.Options{OnSMS: func(_ string, data []byte) bool {
				if len(data) > 140 {
					t.Errorf("a message of %d bytes", len(data))
				}
				return true
			}})
			if err := m.Run(ctx, near); err != nil && !errors.Is(err, modem.ErrLost) {
				t.Errorf("Run: %v, want ErrLost", err)
			}
			far.Close()
			time.Sleep(time.Second) // the far end notices
		})
	})
}
