package drain_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/fengsui/fengsui/firmware/spool"
	"github.com/fengsui/fengsui/firmware/wire"
	"github.com/fengsui/fengsui/sim/torture"
)

// mosquitto returns the broker's path.
func mosquitto(b *testing.B) string {
	path, err := exec.LookPath("mosquitto")
	if err != nil {
		path = "/usr/sbin/mosquitto"
		_, err = os.Stat(path)
	}
	torture.Need(b, err == nil, "mosquitto is not installed: apt-get install mosquitto")
	return path
}

func free(b *testing.B) string {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// A broker is a mosquitto with persistence.
type broker struct {
	*child
	program, dir, address, to string
}

// run starts it; with autosave it saves on every change, as far as it can.
func (k *broker) run(b *testing.B, autosave bool) {
	b.Helper()
	_, port, err := net.SplitHostPort(k.address)
	if err != nil {
		b.Fatal(err)
	}
	text := fmt.Sprintf("user root\nlistener %s 127.0.0.1\nallow_anonymous true\nlog_type error\nmax_queued_messages 0\npersistence true\npersistence_location %s/\n", port, k.dir)
	if autosave {
		text += "autosave_on_changes true\nautosave_interval 1\n"
	} else {
		text += "autosave_interval 0\n"
	}
	if k.to != "" {
		text += fmt.Sprintf("connection out\naddress %s\ntopic # out 1\ncleansession false\nnotifications false\nrestart_timeout 1\nbridge_protocol_version mqttv311\n", k.to)
	}
	file := filepath.Join(k.dir, "conf")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(k.program, "-c", file)
	cmd.Stderr = os.Stderr
	k.child = start(b, cmd)
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if c, err := net.Dial("tcp", k.address); err == nil {
			c.Close()
			return
		}
		if time.Now().After(end) {
			b.Fatal("mosquitto does not listen")
		}
	}
}

// feed queues a spool's events in a broker whose bridge is down.
func (k *broker) feed(b *testing.B, id, file string) (n int) {
	b.Helper()
	s, err := spool.Open(file, options)
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	c := mqtt.NewClient(mqtt.NewClientOptions().AddBroker("tcp://" + k.address).SetClientID("feed"))
	if t := c.Connect(); !t.WaitTimeout(10*time.Second) || t.Error() != nil {
		b.Fatal(t.Error())
	}
	defer c.Disconnect(100)
	for from := uint64(1); ; {
		recs, err := s.Read(wire.Track, from, 500, 1<<20)
		if err != nil {
			b.Fatal(err)
		}
		if len(recs) == 0 {
			return n
		}
		var last mqtt.Token
		for _, r := range recs {
			last = c.Publish(wire.UpTopic(id, wire.Track), 1, false, r.Data)
			from = r.Seq + 1
		}
		if !last.WaitTimeout(30*time.Second) || last.Error() != nil {
			b.Fatalf("feed: %v", last.Error())
		}
		n += len(recs)
	}
}

// A counter is the final consumer behind a broker: a subscriber with a session.
type counter struct {
	client mqtt.Client
	mu     sync.Mutex
	seen   map[wire.Hash]int
}

func newCounter(b *testing.B, address string) *counter {
	b.Helper()
	c := &counter{seen: make(map[wire.Hash]int)}
	filter := "fs/#"
	take := func(_ mqtt.Client, m mqtt.Message) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.seen[wire.HashOf(m.Payload())]++
	}
	c.client = mqtt.NewClient(mqtt.NewClientOptions().AddBroker("tcp://" + address).SetClientID("counter").SetCleanSession(false).
		SetAutoReconnect(true).SetMaxReconnectInterval(200 * time.Millisecond).
		SetOnConnectHandler(func(c mqtt.Client) { c.Subscribe(filter, 1, take) }))
	if t := c.client.Connect(); !t.WaitTimeout(10*time.Second) || t.Error() != nil {
		b.Fatal(t.Error())
	}
	time.Sleep(200 * time.Millisecond) // its subscription
	b.Cleanup(func() { c.client.Disconnect(0) })
	return c
}

// count returns how many different events came, and how many came again.
func (c *counter) count() (n, again int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, times := range c.seen {
		n, again = n+1, again+times-1
	}
	return n, again
}
