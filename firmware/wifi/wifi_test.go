package wifi_test

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fengsui/fengsui/firmware/wifi"
	"github.com/fengsui/fengsui/firmware/wifi/wifitest"
)

const (
	one = "02:00:00:00:00:01"
	two = "02:00:00:00:00:02"
)

var village = wifi.Network{SSID: "石桥村", Passphrase: "fengsui 12", Country: "CN"}

// An ap is one of the village's.
func ap(dBm int) wifitest.AP {
	return wifitest.AP{SSID: village.SSID, Passphrase: village.Passphrase, MHz: 2412, SignalDBm: dBm}
}

// A rig is a Run in a bubble.
type rig struct {
	*testing.T
	radio  *wifitest.Radio
	states []wifi.State
	joined []string // access points
}

func run(t *testing.T, radio *wifitest.Radio, f func(*rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := &rig{T: t, radio: radio}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			wifi.Run(ctx, radio, village, func(s wifi.State) { r.states = append(r.states, s) }, func(l wifi.Link) { r.joined = append(r.joined, l.BSSID) }, slog.New(slog.DiscardHandler))
		}()
		f(r)
		stop()
		<-ended
		if at := radio.At(); at != "" {
			t.Errorf("it has ended, and is still associated with %s", at)
		}
	})
}

// after lets time pass and returns the newest state.
func (r *rig) after(d time.Duration) wifi.State {
	time.Sleep(d)
	synctest.Wait()
	if len(r.states) == 0 {
		r.Fatalf("nothing was told in %v", d)
	}
	return r.states[len(r.states)-1]
}

// is fails the test unless the newest state has a condition after some time.
func (r *rig) is(d time.Duration, want wifi.Condition) wifi.State {
	r.Helper()
	s := r.after(d)
	if s.Condition != want || s.SSID != village.SSID {
		r.Errorf("state %+v: want %s", s, want)
	}
	if (s.Error != "") != (want != wifi.Joined && want != wifi.Joining) {
		r.Errorf("state %+v: want a reason while it is not joined, and none else", s)
	}
	return s
}

func TestItJoins(t *testing.T) {
	radio := wifitest.New()
	radio.Put(one, ap(-61))
	radio.Put(two, wifitest.AP{SSID: "another", SignalDBm: -20})
	run(t, radio, func(r *rig) {
		s := r.is(3*time.Second, wifi.Joined)
		if want := (wifi.State{Condition: wifi.Joined, SSID: village.SSID, BSSID: one, MHz: 2412, SignalDBm: -61}); s != want {
			t.Errorf("state %+v: want %+v", s, want)
		}
		if radio.Country() != "CN" {
			t.Errorf("country %q: want that of the settings", radio.Country())
		}
		radio.Signal(one, -70)
		if s := r.is(6*time.Second, wifi.Joined); s.SignalDBm != -70 {
			t.Errorf("state %+v: want the signal of now", s)
		}
		r.is(time.Hour, wifi.Joined)
		if n := len(radio.Tries()); n != 1 || !slices.Equal(r.joined, []string{one}) {
			t.Errorf("%d tries, joined %q: want one of each", n, r.joined)
		}
	})
}

// A wrong passphrase is said, tried again with pauses that grow to half a minute,
// and mended at the access point it works.
func TestAWrongPassphrase(t *testing.T) {
	radio := wifitest.New()
	wrong := ap(-50)
	wrong.Passphrase = "another one"
	radio.Put(one, wrong)
	run(t, radio, func(r *rig) {
		r.is(25*time.Second, wifi.Joining) // it may have come on just now
		s := r.is(35*time.Second, wifi.Refused)
		if !strings.Contains(s.Error, "passphrase") || strings.Contains(s.Error, village.Passphrase) {
			t.Errorf("error %q: want a word about the passphrase, and not itself", s.Error)
		}
		r.after(time.Hour)
		tries := radio.Tries()
		if n := len(tries); n < 60 || n > 130 { // a try takes 17 s, and a pause 15 s to 30 s
			t.Errorf("%d tries in an hour", n)
		}
		pauses := make(map[time.Duration]bool)
		for i := 10; i < len(tries); i++ {
			pauses[tries[i].Sub(tries[i-1])] = true
		}
		if len(pauses) < 10 {
			t.Errorf("%d different pauses: want them drawn at random", len(pauses))
		}
		radio.Put(one, ap(-50))
		r.is(50*time.Second, wifi.Joined)
	})
}

func TestTheAccessPointIsAwayAndComesBack(t *testing.T) {
	radio := wifitest.New()
	run(t, radio, func(r *rig) {
		r.is(30*time.Second, wifi.Away)
		r.after(24 * time.Hour)
		radio.Put(one, ap(-80))
		r.is(50*time.Second, wifi.Joined)
		for _, s := range r.states {
			if s.Condition == wifi.Refused {
				t.Fatalf("state %+v of an access point that was not there", s)
			}
		}
		r.after(time.Minute)
		radio.Remove(one)
		r.is(6*time.Second, wifi.Joining)
		r.is(20*time.Second, wifi.Away)
		radio.Put(one, ap(-80))
		r.is(25*time.Second, wifi.Joined) // the pauses begin anew
		if !slices.Equal(r.joined, []string{one, one}) {
			t.Errorf("joined %q: want it told each time", r.joined)
		}
	})
}

// The access point is set to another channel, then another of the same name is the
// stronger one, then the radio roams by itself.
func TestTheAccessPointChanges(t *testing.T) {
	radio := wifitest.New()
	radio.Put(one, ap(-60))
	run(t, radio, func(r *rig) {
		r.is(3*time.Second, wifi.Joined)
		r.after(time.Minute)
		moved := ap(-60)
		moved.MHz = 2462
		radio.Put(one, moved) // drops everybody
		if s := r.is(10*time.Second, wifi.Joined); s.MHz != 2462 {
			t.Errorf("state %+v: want the new channel", s)
		}
		radio.Remove(one)
		radio.Put(two, ap(-55))
		if s := r.is(10*time.Second, wifi.Joined); s.BSSID != two {
			t.Errorf("state %+v: want the other access point", s)
		}
		radio.Put(one, ap(-40))
		radio.Roam(one)
		if s := r.is(6*time.Second, wifi.Joined); s.BSSID != one {
			t.Errorf("state %+v: want where the radio is now", s)
		}
		if !slices.Equal(r.joined, []string{one, one, two, one}) {
			t.Errorf("joined %q: want each access point told", r.joined)
		}
	})
}

func TestNoDriverAndNoInterface(t *testing.T) {
	radio := wifitest.New()
	radio.Driver(false)
	radio.Put(one, ap(-60))
	run(t, radio, func(r *rig) {
		if s := r.is(time.Minute, wifi.NoDriver); !strings.Contains(s.Error, "brcmfmac") {
			t.Errorf("error %q: want what is missing", s.Error)
		}
		before := radio.Opens()
		r.after(time.Hour)
		if n := radio.Opens() - before; n < 100 || n > 260 { // a pause is 15 s to 30 s
			t.Errorf("%d tries in an hour", n)
		}
		radio.Interface(false)
		radio.Driver(true)
		r.is(time.Minute, wifi.NoInterface)
		radio.Interface(true)
		r.is(40*time.Second, wifi.Joined)
		radio.Interface(false) // the radio's program has crashed
		r.is(10*time.Second, wifi.NoInterface)
		radio.Interface(true)
		r.is(20*time.Second, wifi.Joined)
		radio.Fail(errors.New("netlink is deaf"))
		if s := r.is(10*time.Second, wifi.Failed); !strings.Contains(s.Error, "netlink is deaf") {
			t.Errorf("error %q: want the cause", s.Error)
		}
		radio.Fail(nil)
		r.is(40*time.Second, wifi.Joined)
	})
}

// One that takes the station in and drops it at once does not make it ask without
// a pause.
func TestAnAccessPointThatDropsAtOnce(t *testing.T) {
	radio := wifitest.New()
	radio.Put(one, ap(-60))
	run(t, radio, func(r *rig) {
		drops := time.NewTicker(100 * time.Millisecond)
		defer drops.Stop()
		for range 10 * 60 * 10 {
			<-drops.C
			if radio.At() != "" {
				time.AfterFunc(time.Second, func() { radio.Put(one, ap(-60)) })
			}
		}
		if n := len(radio.Tries()); n > 40 {
			t.Errorf("%d tries in ten minutes", n)
		}
	})
}

func TestStatesAreReadAsWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "wifi.json")
	if s, err := wifi.Read(path); s != nil || err != nil {
		t.Errorf("before anything was written: %+v %v", s, err)
	}
	for _, want := range []wifi.State{
		{Condition: wifi.Joined, SSID: village.SSID, BSSID: one, MHz: 5180, SignalDBm: -71},
		{Condition: wifi.Away, SSID: "a", Error: "nothing heard"},
	} {
		if err := wifi.Write(path, want); err != nil {
			t.Fatal(err)
		}
		if got, err := wifi.Read(path); err != nil || *got != want {
			t.Errorf("got %+v %v, want %+v", got, err, want)
		}
	}
	if _, err := wifi.Read("wifi.go"); err == nil {
		t.Error("a file that is none of ours was read")
	}
}
