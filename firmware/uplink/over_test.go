package uplink

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A net with cards: how long each takes, and whether it has the broker.
type cards struct {
	mu    sync.Mutex
	takes map[string]time.Duration // less than 0: it fails at once; a day: it never answers
	tried []string
	open  int // connections
}

type counted struct {
	net.Conn
	c *cards
}

func (c counted) Close() error {
	c.c.mu.Lock()
	defer c.c.mu.Unlock()
	c.c.open--
	return nil
}

func (c *cards) dial(ctx context.Context, card, _ string) (net.Conn, error) {
	c.mu.Lock()
	c.tried = append(c.tried, card)
	d := c.takes[card]
	c.mu.Unlock()
	if d < 0 {
		return nil, errors.New("no route to host")
	}
	select {
	case <-time.After(d):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open++
	return counted{nil, c}, nil
}

func TestWhicheverNetworkHasTheCentre(t *testing.T) {
	const never, at = 24 * time.Hour, 20 * time.Millisecond
	for name, c := range map[string]struct {
		takes map[string]time.Duration // by card; "" is the kernel's choice
		tried []string
		limit time.Duration
		fails bool
	}{
		"the wire has it":                {map[string]time.Duration{"": at, "eth0": at, "wlan0": at}, []string{""}, 100 * time.Millisecond, false},
		"the wire leads nowhere":         {map[string]time.Duration{"": never, "eth0": never, "wlan0": at}, []string{"", "eth0", "wlan0"}, 2100 * time.Millisecond, false},
		"the wire refuses":               {map[string]time.Duration{"": -1, "eth0": -1, "wlan0": at}, []string{"", "eth0", "wlan0"}, 100 * time.Millisecond, false},
		"only the modem has it":          {map[string]time.Duration{"": never, "eth0": -1, "wlan0": never, "usb0": time.Second}, []string{"", "eth0", "wlan0", "usb0"}, 4 * time.Second, false},
		"two are slow, and come at once": {map[string]time.Duration{"": 1500 * time.Millisecond, "eth0": 500 * time.Millisecond, "wlan0": at}, []string{"", "eth0"}, 1600 * time.Millisecond, false},
		"none has it":                    {map[string]time.Duration{"": -1, "eth0": -1, "wlan0": -1}, []string{"", "eth0", "wlan0"}, time.Second, true},
		"none answers":                   {map[string]time.Duration{"": never, "eth0": never, "wlan0": never}, []string{"", "eth0", "wlan0"}, dialTimeout, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := &cards{takes: c.takes}
				names := []string{"eth0", "wlan0"}
				if _, ok := c.takes["usb0"]; ok {
					names = append(names, "usb0")
				}
				ctx, stop := context.WithTimeout(t.Context(), dialTimeout)
				defer stop()
				began := time.Now()
				conn, err := Over(names, n.dial)(ctx, "centre:1883")
				if took := time.Since(began); took > c.limit {
					t.Errorf("it took %v, want at most %v", took, c.limit)
				}
				if (err != nil) != c.fails || (conn == nil) != c.fails {
					t.Fatalf("connection %v, error %v", conn, err)
				}
				if c.fails && !strings.Contains(err.Error(), "over wlan0") {
					t.Errorf("error %v: want each way named", err)
				}
				if !slices.Equal(n.tried, c.tried) {
					t.Errorf("tried %q, want %q", n.tried, c.tried)
				}
				if want := 1; !c.fails && n.open != want {
					t.Errorf("%d connections are open, want one", n.open)
				}
			})
		})
	}
}

// The card's name reaches the kernel: over the loopback card a listener there is
// reached, and over a card that there is not nothing is.
func TestDialOverACard(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := dialCard(t.Context(), "lo", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if _, err := dialCard(t.Context(), "none0", l.Addr().String()); err == nil {
		t.Error("a card that there is not reached it")
	}
}
