package bridge_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/fengsui/fengsui/cloud-bridge/account"
	"github.com/fengsui/fengsui/cloud-bridge/bridge"
	"github.com/fengsui/fengsui/cloud-bridge/incident"
	"github.com/fengsui/fengsui/cloud-bridge/store"
	"github.com/fengsui/fengsui/firmware/wire"
)

var (
	kills = flag.Int("kills", 8, "how often TestKill kills the centre")
	seed  = flag.Uint64("seed", 0, "of TestKill; 0 draws one")
)

// asCentre makes this test's program the centre.
const asCentre = "FENGSUI_TEST_CENTRE"

func TestMain(m *testing.M) {
	if os.Getenv(asCentre) != "" {
		os.Exit(bridge.Run(context.Background(), "test", os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
	// What a disk refuses is tried again after a while: mostly these tests wait.
	if err := flag.Set("test.parallel", "6"); err != nil {
		panic(err)
	}
	http.DefaultClient.Transport = signedIn{}
	os.Exit(m.Run())
}

// tokens are those of the centres of these tests, by host and port; granted, by data folder.
var tokens, granted sync.Map

// signedIn makes each request to a centre of these tests come from somebody who may do all.
type signedIn struct{}

func (signedIn) RoundTrip(r *http.Request) (*http.Response, error) {
	if token, ok := tokens.Load(r.URL.Host); ok && r.Header.Get("Authorization") == "" && r.Header.Get("Cookie") == "" {
		r = r.Clone(r.Context())
		r.Header.Set("Authorization", "Bearer "+token.(string))
	}
	return http.DefaultTransport.RoundTrip(r)
}

// grant makes an account before a centre starts, and returns what remembers its token once
// the desk's address is known.
func grant(t testing.TB, args []string) (at func(desk string)) {
	t.Helper()
	data := args[slices.Index(args, "--data")+1]
	token, known := granted.Load(data)
	if !known {
		made, err := bridge.Grant(t.Context(), data, account.Admin, "li")
		if err != nil {
			t.Fatal(err)
		}
		token = made["li"]
		granted.Store(data, token)
	}
	return func(desk string) { tokens.Store(strings.TrimPrefix(desk, "http://"), token) }
}

// sender is a device as the contract wants it: it keeps what is not
// acknowledged, and sends it again, in order, until it is.
type sender struct {
	id string

	mu    sync.Mutex
	queue [][]byte // not acknowledged; the first is number acked+1
	acked uint64
	all   []wire.Hash // what it ever made, in order
	prev  wire.Hash
	wrong error
}

func (s *sender) make(alarm bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b wire.Body = &wire.Fault{Code: fmt.Sprint("f", len(s.all)%5), Active: len(s.all)%2 == 0}
	if alarm {
		b = &wire.AlarmRaised{Alarm: wire.NewAlarmID(), Kind: wire.Panic, Button: "b", Press: 1}
	}
	e := &wire.Event{Device: s.id, Stream: wire.StreamID{1}, Lane: wire.Alarm, Seq: uint64(len(s.all) + 1), Prev: s.prev, Boot: 1, Body: b}
	msg, err := wire.Seal(e, deviceKey)
	if err != nil {
		s.wrong = err
		return
	}
	s.prev = wire.HashOf(msg)
	s.all, s.queue = append(s.all, s.prev), append(s.queue, msg)
}

func (s *sender) take(msg []byte, centre ed25519.PublicKey) {
	d, err := wire.OpenDown(msg, centre, s.id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.wrong = err
		return
	}
	a, ok := d.Body.(*wire.Ack)
	if !ok || a.UpTo[wire.Alarm] <= s.acked {
		return
	}
	n := a.UpTo[wire.Alarm] - s.acked
	if n > uint64(len(s.queue)) {
		s.wrong = fmt.Errorf("%s: acknowledged up to %d, made %d", s.id, a.UpTo[wire.Alarm], len(s.all))
		return
	}
	s.queue, s.acked = s.queue[n:], a.UpTo[wire.Alarm]
}

func (s *sender) send(c mqtt.Client) (left int) {
	s.mu.Lock()
	msgs := append([][]byte(nil), s.queue[:min(len(s.queue), 100)]...)
	left = len(s.queue)
	s.mu.Unlock()
	for _, m := range msgs {
		c.Publish(wire.UpTopic(s.id, wire.Alarm), 1, false, m)
	}
	return left
}

// The centre is killed at random moments under flow. Whatever it acknowledged
// it has, each event once; a device that deletes what was acknowledged loses
// nothing.
func TestKill(t *testing.T) {
	if *seed == 0 {
		*seed = rand.Uint64()
	}
	t.Logf("-seed %d", *seed)
	random := rand.New(rand.NewPCG(*seed, 1))
	data := t.TempDir()
	centreKey, err := hex.DecodeString(strings.TrimSpace(must(t, "key", "--data", data)))
	if err != nil {
		t.Fatal(err)
	}
	senders := []*sender{{id: "box-01"}, {id: "box-02"}, {id: "box-03"}}
	grant(t, []string{"--data", data})
	for _, s := range senders {
		must(t, "device", "add", "--data", data, "--id", s.id, "--kind", "alarm-box", "--key", publicHex(deviceKey))
	}
	// life runs the centre once: until the time is up, or, for 0, until it has
	// acknowledged everything.
	life := func(killAfter time.Duration) {
		cmd := exec.Command(os.Args[0], "serve", "--data", data, "--http-addr", "127.0.0.1:0", "--mqtt-addr", "127.0.0.1:0")
		cmd.Env = append(os.Environ(), asCentre+"=1")
		var log bytes.Buffer
		cmd.Stderr = &log
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
		var desk, addr string
		line, err := bufio.NewReader(out).ReadString('\n')
		if _, serr := fmt.Sscanf(line, "ready desk=%s mqtt=%s\n", &desk, &addr); err != nil || serr != nil {
			t.Fatalf("no ready line but %q, %v: %s", line, err, log.String())
		}
		client := mqtt.NewClient(mqtt.NewClientOptions().AddBroker("tcp://" + addr).SetClientID("devices").
			SetAutoReconnect(false).SetConnectTimeout(patience))
		if tok := client.Connect(); !tok.WaitTimeout(patience) || tok.Error() != nil {
			t.Fatalf("connect: %v", tok.Error())
		}
		defer client.Disconnect(0)
		for _, s := range senders {
			client.Subscribe(wire.DownTopic(s.id), 0, func(_ mqtt.Client, m mqtt.Message) { s.take(m.Payload(), centreKey) }).WaitTimeout(patience)
		}
		end := time.After(killAfter)
		if killAfter == 0 {
			end = time.After(3 * patience)
		}
		resend := time.NewTicker(20 * time.Millisecond)
		defer resend.Stop()
		for {
			select {
			case <-end:
				if killAfter == 0 {
					t.Errorf("not everything is acknowledged: %s", log.String())
				}
				return
			case <-resend.C:
			}
			left := 0
			for n, s := range senders {
				if killAfter > 0 {
					for range 5 {
						s.make(n == 0)
					}
				}
				left += s.send(client)
			}
			if killAfter == 0 && left == 0 {
				return
			}
		}
	}
	for range *kills {
		life(time.Duration(20+random.IntN(200)) * time.Millisecond)
	}
	life(0)

	st, err := store.Open(t.Context(), filepath.Join(data, "centre.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer st.Shut()
	made := 0
	for _, s := range senders {
		if s.wrong != nil {
			t.Error(s.wrong)
		}
		made += len(s.all)
		seq := 0
		for after := int64(0); ; {
			rows, err := st.Events(t.Context(), s.id, store.EventQuery{After: after})
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range rows {
				after = r.ID
				n := int(r.Event.Seq) - 1
				if n >= len(s.all) || wire.HashOf(r.Message) != s.all[n] {
					t.Fatalf("%s: event %d is not what was sent", s.id, r.Event.Seq)
				}
				seq++
			}
			if len(rows) == 0 {
				break
			}
		}
		d, err := st.Device(t.Context(), s.id)
		if err != nil || seq != len(s.all) || len(d.Gaps) != 0 {
			t.Errorf("%s: %d events stored, gaps %v, %v: want %d and none", s.id, seq, d.Gaps, err, len(s.all))
		}
	}
	is, err := st.Incidents(t.Context(), store.Filter{})
	is = slices.DeleteFunc(is, func(i incident.Incident) bool { return !i.Kind.Pressed() }) // a device may have been silent
	if err != nil || len(is) != len(senders[0].all) {
		t.Errorf("%d incidents, %v: want %d", len(is), err, len(senders[0].all))
	}
	t.Logf("%d kills, %d events", *kills, made)
}
